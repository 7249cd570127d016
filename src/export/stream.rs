//! What a collector gets on a transport that keeps order and loses nothing while it lasts, such as
//! TCP or a file.
//!
//! ```text
//!              push                  prepare                     take
//! messages  --------->  waiting  ---------------->  prepared  --------->  gone
//! without numbers       at most `bound` octets      numbered
//!                          ^                            |  end: the numbers are void
//!                          +----------------------------+
//! ```
//! A session lasts from [`Stream::begin`] to [`Stream::end`]. It tells each observation domain's
//! templates before the first data, and never again (RFC 7011 8.1). It begins with sequence 0. Where
//! too much waits the oldest messages go. Their records are added to the sequence, so that the
//! collector sees a gap for each. NetFlow v9's sequence counts messages instead (RFC 3954 5.1).
//!
//! Options are kept, because each session is told them behind the templates.

mod queued;
mod session;
#[cfg(test)]
pub(super) mod tests;

use std::collections::{BTreeMap, VecDeque};

use super::kept_options::KeptOptions;
use super::{Amount, Outgoing, Templates, seconds_32};
use crate::time::{Now, Wall};
use crate::wire::ipfix;
use queued::{Queued, SequenceKey};
use session::StreamSession;

/// A session of IPFIX and what waits for it.
#[derive(Debug)]
pub struct Stream {
    messages: VecDeque<Queued>,
    /// How many of the first are numbered.
    prepared: usize,
    /// Octets of data messages.
    octets: usize,
    /// Most of them that wait.
    bound: usize,
    /// What the sequence misses before the next message of each.
    gaps: BTreeMap<SequenceKey, u32>,
    options: KeptOptions,
    session: Option<StreamSession>,
}

impl Stream {
    /// A stream without a session. At most `bound` octets of data messages wait in it.
    pub fn new(bound: usize) -> Self {
        Self {
            messages: VecDeque::new(),
            prepared: 0,
            octets: 0,
            bound,
            gaps: BTreeMap::new(),
            options: KeptOptions::default(),
            session: None,
        }
    }

    /// Changes how many octets wait at most, from the next message on.
    pub fn set_bound(&mut self, bound: usize) {
        self.bound = bound;
    }

    /// Whether there is a session.
    pub fn is_begun(&self) -> bool {
        self.session.is_some()
    }

    /// Octets of data messages that wait.
    pub fn octets(&self) -> usize {
        self.octets
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Appends a message of an interface that exports by `templates`. What had to go to make room
    /// is lost.
    pub fn push(&mut self, message: &Outgoing<'_>, templates: impl Into<Templates>) -> Amount {
        let templates = templates.into();
        if message.options > 0 {
            self.options.keep(message, templates);
            return Amount::default();
        }
        self.octets += message.octets.len();
        self.messages.push_back(Queued {
            domain: message.domain,
            records: message.records,
            options: 0,
            templates,
            octets: message.octets.to_vec(),
            at: message.at,
            gap: 0,
        });
        let mut lost = Amount::default();
        while self.octets > self.bound {
            // What is numbered may have gone in part.
            let Some(oldest) = self.messages.remove(self.prepared) else {
                break;
            };
            self.octets -= oldest.octets.len();
            oldest.add_to(&mut lost);
            let gap = self.gaps.entry(oldest.sequence_key()).or_default();
            *gap = gap.wrapping_add(oldest.steps());
        }
        lost
    }

    /// Data records of `domain`, which is IPFIX's, were lost elsewhere: its next message tells the
    /// collector.
    pub fn note_lost(&mut self, domain: u32, records: u32) {
        let of_ipfix = SequenceKey {
            domain,
            is_netflow9: false,
        };
        let gap = self.gaps.entry(of_ipfix).or_default();
        *gap = gap.wrapping_add(records);
    }

    /// Gives up all that waits; what that was.
    pub fn clear(&mut self) -> Amount {
        let mut lost = Amount::default();
        for message in self.messages.drain(..) {
            if message.records > 0 {
                message.add_to(&mut lost);
            }
        }
        (self.prepared, self.octets) = (0, 0);
        lost
    }

    /// Hands on what waits, without a session.
    pub fn into_waiting(mut self, take: &mut dyn FnMut(&Outgoing<'_>, Templates)) {
        self.end();
        self.options.each(&mut |domain, templates, options, set| {
            let mut octets = vec![0; ipfix::HEADER_LEN];
            octets.extend_from_slice(set);
            let outgoing = Outgoing {
                domain,
                records: 0,
                options,
                at: Now::with_boot(Wall::default(), Wall::default()),
                octets: &octets,
            };
            take(&outgoing, templates);
        });
        for message in &self.messages {
            let outgoing = Outgoing {
                domain: message.domain,
                records: message.records,
                options: 0,
                at: message.at,
                octets: &message.octets,
            };
            take(&outgoing, message.templates);
        }
    }

    /// Begins a session: nothing is told yet.
    pub fn begin(&mut self) {
        self.end();
        self.session = Some(StreamSession::default());
    }

    /// Says that the session is over datagrams: there no template is withdrawn (RFC 7011 8.4).
    pub fn set_by_datagrams(&mut self) {
        if let Some(session) = &mut self.session {
            session.set_by_datagrams();
        }
    }

    /// Has the templates told again before the next data, as over datagrams must be done.
    pub fn tell_again(&mut self) {
        if let Some(session) = &mut self.session {
            session.tell_again();
        }
    }

    /// Ends the session. What was prepared and not taken waits again.
    pub fn end(&mut self) {
        self.session = None;
        let rest = self.messages.split_off(self.prepared);
        let mut messages = std::mem::replace(&mut self.messages, rest);
        self.prepared = 0;
        while let Some(mut message) = messages.pop_back() {
            if message.records == 0 {
                continue;
            }
            let gap = self.gaps.entry(message.sequence_key()).or_default();
            *gap = gap.wrapping_add(std::mem::take(&mut message.gap));
            self.messages.push_front(message);
        }
    }

    /// Numbers messages until `octets` are prepared or nothing waits. They leave at `now`. The
    /// prepared ones are [`Self::prepared`].
    pub fn prepare(&mut self, now: Now, octets: usize) {
        self.prepare_while(octets, |_| Some(now));
    }

    /// The same, but each message carries the time at which it was made. So the times in a file do
    /// not depend on when it was written. Messages wait until `is_now` says yes to their time.
    /// Returns the octets that are prepared.
    pub fn prepare_as_made(&mut self, octets: usize, is_now: impl Fn(Wall) -> bool) -> usize {
        self.prepare_while(octets, |at| is_now(at.wall).then_some(at))
    }

    /// When the first message that is not prepared was made.
    pub fn next_made(&self) -> Option<Wall> {
        Some(self.messages.get(self.prepared)?.at.wall)
    }

    fn prepare_while(&mut self, octets: usize, time: impl Fn(Now) -> Option<Now>) -> usize {
        let prepared = self.messages.iter().take(self.prepared);
        let mut ready: usize = prepared.map(|message| message.octets.len()).sum();
        let Some(session) = &mut self.session else {
            return ready;
        };
        while ready < octets
            && let Some(next) = self.messages.get_mut(self.prepared)
            && let Some(now) = time(next.at)
        {
            session.set_export_time(seconds_32(now.wall));
            let told = session.tell(next.domain, next.templates, next.at, &self.options);
            if let Some(told) = told {
                ready += told.octets.len();
                self.messages.insert(self.prepared, told);
                self.prepared += 1;
                continue;
            }
            next.gap = self.gaps.remove(&next.sequence_key()).unwrap_or(0);
            session.stamp(next);
            ready += next.octets.len();
            self.prepared += 1;
        }
        ready
    }

    /// The messages that are prepared, in order.
    pub fn prepared(&self) -> impl Iterator<Item = &[u8]> {
        let messages = self.messages.iter().take(self.prepared);
        messages.map(|message| &*message.octets)
    }

    /// What each of the prepared messages holds, in order.
    pub fn prepared_amounts(&self) -> impl Iterator<Item = Amount> {
        self.messages.iter().take(self.prepared).map(|message| {
            let mut amount = Amount::default();
            message.add_to(&mut amount);
            amount
        })
    }

    /// Takes the first `count` of the prepared messages out: the transport has them.
    pub fn take(&mut self, count: usize) -> Amount {
        let count = count.min(self.prepared);
        self.prepared -= count;
        let mut taken = Amount::default();
        for message in self.messages.drain(..count) {
            if message.records > 0 {
                self.octets -= message.octets.len();
            }
            message.add_to(&mut taken);
        }
        taken
    }
}
