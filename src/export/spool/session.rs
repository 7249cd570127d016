//! A session with a spool. What the collector's system has not acknowledged is remembered. What the
//! socket does not take is written to the disk in the same turn.
//!
//! ```text
//!  push -----------------------> stream ---> taken ---> acknowledged, gone
//!    |  the socket is full,        |           |
//!    |  no connection, or          |           |  the connection breaks; not acknowledged
//!    |  the spool is not read yet  |           |  for 200 ms; the end
//!    v                             v           v
//!  spool <-------------------------+-----------+   what is in the spool already stays there
//!    +------> read ahead ----> stream
//! ```
//! As long as the collector takes everything, the disk is not used. The system acknowledges octets
//! of the connection, so a message is acknowledged with its last octet.

use std::collections::VecDeque;
use std::time::Duration;

use super::parts::{Lost, Spool};
use super::store::Store;
use crate::export::{Amount, Outgoing, Stream, Templates, seconds_32};
use crate::time::{Now, Uptime, Wall};
use crate::wire::spool::Position;

/// Octets that are read ahead of the socket.
const READ_AHEAD: usize = 1 << 17;
/// Most octets that are remembered in memory; more go to the disk.
const REMEMBERED: usize = 1 << 20;
/// How long a message may stay unacknowledged in memory. Then it is written to the disk. If the
/// program is killed while the collector goes away, the messages of so long are lost. Most
/// collectors acknowledge sooner.
const LONGEST_IN_MEMORY: Duration = Duration::from_millis(200);
/// Some systems do not tell what is acknowledged. There what the system took counts as acknowledged
/// after so long.
const TAKEN_IS_SENT: Duration = Duration::from_secs(1);
/// A last segment of so many octets is removed as soon as it is sent, because a disk may be short
/// of them.
const RETIRED_AT_ONCE: u64 = 1 << 16;
/// A smaller last segment is removed when the whole spool has been sent for so long.
const RETIRED_AFTER: Duration = Duration::from_secs(10);

/// What happened since it was asked last.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct SpoolTally {
    /// Data records handed over by the encoder.
    pub queued: u64,
    /// Records of an earlier run that turned up.
    pub found: u64,
    /// Records that the collector's system acknowledged.
    pub sent: u64,
    /// Those of them that came from the disk.
    pub unspooled: u64,
    /// Records written to the disk.
    pub spooled: u64,
    /// Records lost.
    pub lost: u64,
    /// Records that stay in the spool, which is given up.
    pub left: u64,
    /// Records sent again because the connection broke before they were acknowledged.
    pub again: u64,
}

impl SpoolTally {
    /// Adds what happened after it.
    pub fn add(&mut self, other: &Self) {
        self.queued += other.queued;
        self.found += other.found;
        self.sent += other.sent;
        self.unspooled += other.unspooled;
        self.spooled += other.spooled;
        self.lost += other.lost;
        self.left += other.left;
        self.again += other.again;
    }
}

/// Where a message is kept until it is acknowledged.
#[derive(Debug)]
enum Origin {
    /// Here.
    Memory {
        templates: Templates,
        octets: Vec<u8>,
    },
    /// In the spool, up to there.
    Spool { end: Position, export_time: u32 },
}

/// A message that was handed to the stream and is not acknowledged.
#[derive(Debug)]
struct Unacknowledged {
    domain: u32,
    records: u16,
    origin: Origin,
    since: Uptime,
    /// Octets of the connection up to its end, and when, if the socket has taken it.
    taken: Option<(u64, Uptime)>,
}

/// A message for the disk.
#[derive(Debug)]
struct Fresh {
    domain: u32,
    records: u16,
    templates: Templates,
    octets: Vec<u8>,
}

/// A session of IPFIX, and the spool behind it.
#[derive(Debug)]
pub struct Spooled<S> {
    stream: Stream,
    spool: Spool<S>,
    /// In the stream's order.
    entries: VecDeque<Unacknowledged>,
    /// How many of the first the socket has taken.
    taken: usize,
    /// Octets of entries that are kept in memory.
    remembered: usize,
    /// What goes to the disk in this turn.
    fresh: Vec<Fresh>,
    /// Octets of whole messages taken since the connection began.
    wire: u64,
    drained_since: Option<Uptime>,
    is_stopping: bool,
    /// The latest time that was given.
    now: Now,
    tally: SpoolTally,
    /// Records that were neither sent nor lost when the tally was taken last.
    held: u64,
}

impl<S: Store> Spooled<S> {
    /// A session that is not begun, with `spool` behind it.
    pub fn new(spool: Spool<S>) -> Self {
        Self {
            stream: Stream::new(usize::MAX),
            spool,
            entries: VecDeque::new(),
            taken: 0,
            remembered: 0,
            fresh: Vec::new(),
            wire: 0,
            drained_since: None,
            is_stopping: false,
            now: Now::new(Wall::default(), Uptime::default()),
            tally: SpoolTally::default(),
            held: 0,
        }
    }

    /// The spool.
    pub fn spool(&self) -> &Spool<S> {
        &self.spool
    }

    /// Changes how many octets the spool may have.
    pub fn set_bound(&mut self, bound: u64) {
        self.spool.set_bound(bound);
    }

    /// Whether there is a session.
    pub fn is_begun(&self) -> bool {
        self.stream.is_begun()
    }

    /// Whether nothing waits for the socket or for an acknowledgement.
    pub fn is_settled(&self) -> bool {
        self.entries.is_empty() && self.spool.is_read()
    }

    /// Whether nothing waits for the socket.
    pub fn is_sent(&self) -> bool {
        let is_read = self.is_stopping || self.spool.is_read();
        self.stream.is_empty() && self.fresh.is_empty() && is_read
    }

    /// Octets that wait for the socket.
    pub fn octets(&self) -> usize {
        let unread = usize::try_from(self.spool.unread()).unwrap_or(usize::MAX);
        self.stream.octets().saturating_add(unread)
    }

    /// Whether something that the socket has taken is not acknowledged.
    pub fn is_awaited(&self) -> bool {
        self.taken > 0
    }

    /// Reads no more of the spool: the program ends.
    pub fn stop(&mut self) {
        self.is_stopping = true;
    }

    /// Takes a message of an interface that exports by `templates`.
    pub fn push(&mut self, now: Now, message: &Outgoing<'_>, templates: impl Into<Templates>) {
        let templates = templates.into();
        self.now = now;
        if message.options > 0 {
            self.spool.options.keep(message, templates);
            self.stream.push(message, templates);
            return;
        }
        self.tally.queued += u64::from(message.records);
        let octets = message.octets.to_vec();
        let (domain, records) = (message.domain, message.records);
        let is_direct = self.stream.is_begun()
            && self.spool.is_read()
            && self.fresh.is_empty()
            && self.stream.octets() < READ_AHEAD
            && self.remembered < REMEMBERED;
        if !is_direct {
            self.fresh.push(Fresh {
                domain,
                records,
                templates,
                octets,
            });
            return;
        }
        self.stream.push(message, templates);
        self.remembered += octets.len();
        self.entries.push_back(Unacknowledged {
            domain,
            records,
            origin: Origin::Memory { templates, octets },
            since: now.uptime,
            taken: None,
        });
    }

    /// A connection is there.
    pub fn begin(&mut self) {
        self.end();
        self.stream.begin();
    }

    /// Says that the session is over datagrams.
    pub fn set_by_datagrams(&mut self) {
        self.stream.set_by_datagrams();
    }

    /// Has the templates told again before the next data.
    pub fn tell_again(&mut self) {
        self.stream.tell_again();
    }

    /// The connection is gone: what was not acknowledged is sent again by the next.
    pub fn end(&mut self) {
        self.secure();
        self.stream.end();
        self.stream.clear();
        let acked = self.spool.acked;
        for entry in std::mem::take(&mut self.entries) {
            let records = u64::from(entry.records);
            match entry.origin {
                Origin::Spool { end, .. } if end > acked => {
                    self.tally.again += if entry.taken.is_some() { records } else { 0 };
                }
                // The disk did not take it, or it had to make room.
                _ => self.spool.drop_refused(entry.domain, entry.records),
            }
        }
        (self.taken, self.remembered, self.wire) = (0, 0, 0);
        self.spool.rewind();
        self.collect();
    }

    /// Numbers messages until so many octets are prepared or nothing waits.
    pub fn prepare(&mut self, now: Now, octets: usize) {
        self.now = now;
        let missing = READ_AHEAD.saturating_sub(self.stream.octets());
        if self.stream.is_begun() && missing > READ_AHEAD / 2 && !self.is_stopping {
            let Self {
                stream,
                spool,
                entries,
                tally,
                ..
            } = self;
            spool.read(missing, &mut |read| {
                let records = u64::from(read.message.records);
                if read.message.options > 0 {
                    stream.push(&read.message, read.templates);
                    return;
                }
                tally.found += if read.is_found { records } else { 0 };
                stream.push(&read.message, read.templates);
                entries.push_back(Unacknowledged {
                    domain: read.message.domain,
                    records: read.message.records,
                    origin: Origin::Spool {
                        end: read.end,
                        export_time: read.export_time,
                    },
                    since: now.uptime,
                    taken: None,
                });
            });
        }
        self.stream.prepare(now, octets);
    }

    /// The messages that are prepared, in order.
    pub fn prepared(&self) -> impl Iterator<Item = &[u8]> {
        self.stream.prepared()
    }

    /// The socket has taken the first `count` of the prepared messages.
    pub fn take(&mut self, count: usize) -> Amount {
        for message in self.stream.prepared_amounts().take(count) {
            self.wire += message.octets;
            if message.records == 0 {
                continue;
            }
            if let Some(entry) = self.entries.get_mut(self.taken) {
                entry.taken = Some((self.wire, self.now.uptime));
                self.taken += 1;
            }
        }
        self.stream.take(count)
    }

    /// The collector's system has acknowledged all that the socket took but so many octets. `None`:
    /// the system does not tell. Then what was taken long enough ago counts as acknowledged.
    pub fn acknowledge(&mut self, octets: Option<usize>, now: Uptime) {
        let until = octets.map(|octets| self.wire.saturating_sub(octets as u64));
        let mut to = None;
        while let Some(front) = self.entries.front() {
            let is_acknowledged = |(end, at): (u64, Uptime)| match until {
                Some(until) => end <= until,
                None => now.since(at) > TAKEN_IS_SENT,
            };
            if !front.taken.is_some_and(is_acknowledged) {
                break;
            }
            let records = u64::from(front.records);
            self.tally.sent += records;
            match &front.origin {
                Origin::Spool { end, .. } => {
                    self.tally.unspooled += records;
                    to = Some(*end);
                }
                Origin::Memory { octets, .. } => self.remembered -= octets.len(),
            }
            self.entries.pop_front();
            self.taken -= 1;
        }
        let Some(to) = to else { return };
        self.spool.acknowledge(to);
        if let Some(Unacknowledged {
            origin: Origin::Spool { export_time, .. },
            ..
        }) = self.entries.front()
        {
            self.spool.set_oldest(*export_time);
        }
    }

    /// The end of a turn: what the socket did not take goes to the disk.
    pub fn settle(&mut self, now: Now) {
        self.now = now;
        // What is sent makes room first.
        if self.spool.is_drained() && self.entries.is_empty() {
            let since = *self.drained_since.get_or_insert(now.uptime);
            // A small one is written to again rather than made anew each time.
            if self.spool.octets() >= RETIRED_AT_ONCE || now.uptime.since(since) >= RETIRED_AFTER {
                self.spool.retire();
            }
        } else {
            self.drained_since = None;
        }
        self.spool.tend(now.uptime);
        let untaken = self.entries.get(self.taken);
        let is_late = |entry: &Unacknowledged| now.uptime.since(entry.since) >= LONGEST_IN_MEMORY;
        let oldest = self.entries.get(self.first_in_memory());
        let oldest = oldest.filter(|entry| is_late(entry));
        if !self.fresh.is_empty()
            || untaken.is_some_and(is_in_memory)
            || self.remembered > REMEMBERED
            || oldest.is_some()
        {
            self.secure();
        }
        self.collect();
    }

    /// The first entry that is not on the disk: those after it are not, either.
    fn first_in_memory(&self) -> usize {
        self.entries.partition_point(|entry| !is_in_memory(entry))
    }

    /// Writes what is only in memory.
    fn secure(&mut self) {
        let first = self.first_in_memory();
        let kept = self.entries.iter().skip(first);
        let kept = kept.filter_map(|entry| match &entry.origin {
            Origin::Memory { templates, octets } => {
                Some((outgoing(entry.domain, entry.records, octets), *templates))
            }
            Origin::Spool { .. } => None,
        });
        let fresh = self.fresh.iter().map(|fresh| {
            let message = outgoing(fresh.domain, fresh.records, &fresh.octets);
            (message, fresh.templates)
        });
        let messages: Vec<_> = kept.chain(fresh).collect();
        if messages.is_empty() {
            return;
        }
        let secs = seconds_32(self.now.wall);
        let ends = self.spool.append(secs, &messages);
        let written = messages.iter().take(ends.len());
        let records = written.map(|(message, _)| u64::from(message.records));
        self.tally.spooled += records.sum::<u64>();
        let count = self.entries.len() - first;
        let entries = self.entries.iter_mut().skip(first);
        let mut last = None;
        for (entry, end) in entries.zip(&ends) {
            if let Origin::Memory { octets, .. } = &entry.origin {
                self.remembered -= octets.len();
            }
            let (end, export_time) = (*end, secs);
            entry.origin = Origin::Spool { end, export_time };
            last = Some(end);
        }
        if let Some(last) = last {
            // The stream has them: they are read.
            self.spool.skip_to(last);
        }
        let written = ends.len().saturating_sub(count);
        for fresh in std::mem::take(&mut self.fresh).iter().skip(written) {
            self.spool.drop_refused(fresh.domain, fresh.records);
        }
    }

    /// Takes over what was lost: later numbers of its domain tell the collector.
    fn collect(&mut self) {
        let Lost {
            domains,
            records,
            found,
        } = self.spool.take_lost();
        self.tally.lost += records;
        self.tally.found += found;
        for (domain, records) in domains {
            self.stream.note_lost(domain, records);
        }
    }

    /// The end of the program: all that is not acknowledged is on the disk.
    pub fn finish(&mut self) {
        self.end();
        self.spool.finish();
        self.collect();
        self.tally.left = self.held_now();
    }

    /// Records that are neither sent nor lost.
    fn held_now(&self) -> u64 {
        let SpoolTally {
            queued,
            found,
            sent,
            lost,
            left,
            ..
        } = self.tally;
        (self.held + queued + found).saturating_sub(sent + lost + left)
    }

    /// Messages that no disk has.
    #[cfg(test)]
    pub(super) fn in_memory(&self) -> impl Iterator<Item = &[u8]> {
        let kept = self.entries.iter().filter_map(|entry| match &entry.origin {
            Origin::Memory { octets, .. } => Some(&**octets),
            Origin::Spool { .. } => None,
        });
        kept.chain(self.fresh.iter().map(|fresh| &*fresh.octets))
    }

    /// What happened since this was asked last.
    pub fn take_tally(&mut self) -> SpoolTally {
        self.held = self.held_now();
        std::mem::take(&mut self.tally)
    }

    /// What there is to log.
    pub fn take_lines(&mut self) -> Vec<String> {
        self.spool.take_lines()
    }
}

fn is_in_memory(entry: &Unacknowledged) -> bool {
    matches!(entry.origin, Origin::Memory { .. })
}

/// A message for the spool, which writes the time of writing into it.
fn outgoing(domain: u32, records: u16, octets: &[u8]) -> Outgoing<'_> {
    Outgoing {
        domain,
        records,
        options: 0,
        at: Now::with_boot(Wall::default(), Wall::default()),
        octets,
    }
}
