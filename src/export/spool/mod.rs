//! A spool: what a collector did not take, in files, in order.
//!
//! ```text
//!            acked          reader                    writer
//!  gone        |   read, not   |    to be read          |
//!              |   acknowledged|                        |
//!  +-----------v------+--------v---------+--------------v--+   +-------+
//!  | segment 3        | segment 4        | segment 5       |   | spare |
//!  +------------------+------------------+-----------------+   +-------+
//! ```
//! A segment is an IPFIX file of its own (RFC 5655). Octets are only ever added at the end of the
//! last one. What the collector's system has acknowledged is noted; a segment goes when all of it
//! is. Where the segments together would have more than the bound, the oldest goes, as in a queue.
//!
//! Nothing here opens a file: a [`Store`] does. What the store refuses to write is lost. The
//! refusal is told once when it begins and once when it is over, and writing is tried again.

mod parts;
mod read;
mod reader;
mod session;
mod store;
#[cfg(test)]
mod tests;
mod write;
mod writer;

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use parts::{Lost, MIN_SEGMENT, Segment};
pub use parts::{Spool, Unspooled};
use reader::{Reader, Step};
pub use session::{SpoolTally, Spooled};
pub use store::Store;

use super::kept_options::KeptOptions;
use crate::time::Uptime;
pub use crate::wire::spool::Position;

/// Least octets of a spool: sixteen of the smallest segments.
pub const MIN_SPOOL: u64 = 16 * MIN_SEGMENT;
/// Most octets of a spool.
pub const MAX_SPOOL: u64 = 64 << 30;
/// Time between two tries of what was refused.
const RETRY: Duration = Duration::from_secs(1);

impl<S: Store> Spool<S> {
    /// The spool of `store`, of at most `bound` octets, as an earlier run left it.
    ///
    /// # Errors
    /// It cannot be read, or nothing can be made there.
    pub fn open(mut store: S, bound: u64) -> io::Result<Self> {
        let listed = store.list()?;
        let noted = store.noted()?;
        let position = Position::decode(&noted);
        let first = listed.first().map_or(0, |(number, _)| *number);
        let last = listed.last().map_or(0, |(number, _)| *number);
        let acked = position.unwrap_or(Position {
            segment: first,
            offset: 0,
        });
        let next = last.max(acked.segment).saturating_add(1);
        let mut spool = Self {
            store,
            bound,
            segments: VecDeque::new(),
            octets: 0,
            writer: None,
            options: KeptOptions::default(),
            spare: None,
            next,
            acked,
            reader: Reader::default(),
            own_from: next,
            found_until: acked,
            oldest: None,
            retired: Vec::new(),
            retry: None,
            lost: Lost::default(),
            full: None,
            refusing: None,
            failing: false,
            is_held: false,
            read_failures: 0,
            lines: Vec::new(),
            buffer: Vec::new(),
        };
        spool.take_listed(&listed);
        if position.is_none() && !(noted.is_empty() && spool.segments.is_empty()) {
            let line = "the note of what was sent is damaged or not there: all is sent again";
            spool.lines.push(line.to_owned());
        }
        spool.mend_last();
        spool.reader.seek(spool.acked);
        spool.oldest = spool.peek();
        spool.make_spare()?;
        if position.is_none() {
            spool.note();
        }
        Ok(spool)
    }

    /// Takes in the segments of an earlier run; those that are sent go.
    fn take_listed(&mut self, listed: &[(u32, u64)]) {
        let acked = self.acked;
        for &(number, octets) in listed {
            let is_sent =
                number < acked.segment || (number == acked.segment && octets <= acked.offset);
            if is_sent || octets == 0 {
                self.retired.push((number, false));
                continue;
            }
            self.octets += octets;
            self.segments.push_back(Segment {
                number,
                len: octets,
                octets,
                is_damaged: false,
            });
        }
    }

    /// Cuts off the message that the end of an earlier run left half written.
    fn mend_last(&mut self) {
        let Some(last) = self.segments.back_mut() else {
            return;
        };
        self.reader.seek(Position {
            segment: last.number,
            offset: 0,
        });
        let lost = loop {
            match self.reader.step(&mut self.store, last.len) {
                Step::Data(_) | Step::Options(_) => {}
                Step::Cut { lost } => break lost,
                // What else is wrong is told when it is read to be sent.
                Step::End | Step::Damaged(_) | Step::Failed(_) => return,
            }
        };
        let at = self.reader.place().offset;
        let name = self.store.name_of(last.number);
        let octets = last.octets - at;
        self.lines.push(format!(
            "{name}: the last message is cut off at offset {at}: \
             {octets} octets, {lost} records are lost"
        ));
        self.lost.records += lost;
        self.lost.found += lost;
        last.len = at;
        if self.store.cut(last.number, at).is_ok() {
            last.octets = at;
            self.octets -= octets;
        }
    }

    /// When the next message to be read was written.
    fn peek(&mut self) -> Option<u32> {
        let acked = self.acked;
        let first = self.segments.front()?;
        self.reader.seek(acked.max(Position {
            segment: first.number,
            offset: 0,
        }));
        let found = match self.reader.step(&mut self.store, first.len) {
            Step::Data(found) | Step::Options(found) => Some(found.export_time),
            _ => None,
        };
        self.reader.seek(acked);
        found
    }

    /// Where its segments are.
    pub fn store_mut(&mut self) -> &mut S {
        &mut self.store
    }

    /// Changes how many octets there may be, from the next that is written on.
    pub fn set_bound(&mut self, bound: u64) {
        self.bound = bound;
    }

    /// Octets on the disk.
    pub fn octets(&self) -> u64 {
        self.octets
    }

    /// Whether the disk refuses what is written.
    pub fn is_refused(&self) -> bool {
        self.refusing.is_some()
    }

    /// When the oldest message that is not acknowledged was written, seconds since the epoch.
    pub fn oldest(&self) -> Option<u32> {
        self.oldest.filter(|_| !self.is_drained())
    }

    /// Where it is.
    pub fn name(&self) -> String {
        self.store.name()
    }

    /// Whether all of it is read.
    pub fn is_read(&self) -> bool {
        self.reader.at() >= self.end()
    }

    /// Octets of the segments that are not read to their end.
    pub fn unread(&self) -> u64 {
        if self.is_read() { 0 } else { self.octets }
    }

    /// What there is to log.
    pub(super) fn take_lines(&mut self) -> Vec<String> {
        std::mem::take(&mut self.lines)
    }

    /// What is lost since this was asked last.
    pub(super) fn take_lost(&mut self) -> Lost {
        std::mem::take(&mut self.lost)
    }

    /// Removes what is retired and has a segment ready.
    pub fn tend(&mut self, now: Uptime) {
        if self.retry.is_some_and(|at| now < at) {
            return;
        }
        self.retry = None;
        let mut has_failed = std::mem::take(&mut self.is_held) && self.read_failures > 0;
        let mut is_busy = false;
        for (number, is_damaged) in std::mem::take(&mut self.retired) {
            let outcome = match (is_busy, is_damaged) {
                (true, _) => Err(io::ErrorKind::WouldBlock.into()),
                (_, false) => self.store.remove(number),
                (_, true) => self.set_aside(number),
            };
            match outcome {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    (has_failed, is_busy) = (true, true);
                    self.retired.push((number, is_damaged));
                    let name = self.store.name_of(number);
                    self.begin_failing(&name, &error);
                }
                _ => {}
            }
        }
        if let Err(error) = self.make_spare() {
            has_failed = true;
            let name = self.store.name_of(self.next);
            self.begin_failing(&name, &error);
        }
        match has_failed {
            true => self.retry = Some(now.after(RETRY)),
            false if self.failing => {
                self.failing = false;
                self.lines.push("works again".to_owned());
            }
            false => {}
        }
    }

    /// Has nothing of its own left on the disk that holds no records: the end of the program.
    pub(super) fn finish(&mut self) {
        self.retire();
        let spare = self.spare.take();
        self.retired.extend(spare.map(|number| (number, false)));
        for (number, is_damaged) in std::mem::take(&mut self.retired) {
            // The next start tries again.
            let _ = match is_damaged {
                true => self.set_aside(number),
                false => self.store.remove(number),
            };
        }
    }

    fn set_aside(&mut self, number: u32) -> io::Result<()> {
        let name = self.store.name_of(number);
        let aside = self.store.set_aside(number)?;
        self.lines
            .push(format!("{name} is damaged and now called {aside}"));
        Ok(())
    }

    /// Counts data records that could not be written.
    pub(super) fn drop_refused(&mut self, domain: u32, records: u16) {
        let trouble = self.refusing.as_mut().or(self.full.as_mut());
        if let Some(trouble) = trouble {
            trouble.records += u64::from(records);
        }
        self.lost.records += u64::from(records);
        let lost = self.lost.domains.entry(domain).or_default();
        *lost = lost.wrapping_add(records.into());
    }
}
