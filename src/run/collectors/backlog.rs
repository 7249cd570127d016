//! What waits for an interface's collector: in memory, or with a spool behind it.

use std::time::Duration;

use super::super::spools::Segments;
use crate::export::spool::{SpoolTally, Spooled};
use crate::export::{Amount, Outgoing, SpoolState, Stream, Templates};
use crate::time::{Now, Uptime};

/// How soon acknowledgements are looked for again, if there is a spool.
pub(super) const ACKNOWLEDGED: Duration = Duration::from_millis(50);

/// See above.
pub(super) enum Backlog {
    Queue(Stream),
    Spool(Box<Spooled<Segments>>),
}

impl Backlog {
    /// Where its spool is, if it has one.
    pub(super) fn directory(&self) -> Option<String> {
        match self {
            Self::Queue(_) => None,
            Self::Spool(spooled) => Some(spooled.spool().name()),
        }
    }

    pub(super) fn has_spool(&self) -> bool {
        matches!(self, Self::Spool(_))
    }

    /// Octets that wait.
    pub(super) fn octets(&self) -> usize {
        match self {
            Self::Queue(stream) => stream.octets(),
            Self::Spool(spooled) => spooled.octets(),
        }
    }

    /// Whether nothing waits for the socket.
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Queue(stream) => stream.is_empty(),
            Self::Spool(spooled) => spooled.is_sent(),
        }
    }

    /// Whether acknowledgements must be looked for soon.
    pub(super) fn is_awaited(&self) -> bool {
        match self {
            Self::Queue(_) => false,
            Self::Spool(spooled) => spooled.is_awaited(),
        }
    }

    /// What its spool is at.
    pub(super) fn state(&self) -> Option<SpoolState> {
        match self {
            Self::Queue(_) => None,
            Self::Spool(spooled) => Some(SpoolState {
                octets: spooled.spool().octets(),
                oldest: spooled.spool().oldest(),
                is_refused: spooled.spool().is_refused(),
            }),
        }
    }

    /// Appends a message. What had to go for it is lost.
    pub(super) fn push(
        &mut self,
        now: Now,
        message: &Outgoing<'_>,
        templates: Templates,
    ) -> Amount {
        match self {
            Self::Queue(stream) => stream.push(message, templates),
            Self::Spool(spooled) => {
                spooled.push(now, message, templates);
                Amount::default()
            }
        }
    }

    /// Drops what waits in memory. Returns how much that was.
    pub(super) fn clear(&mut self) -> Amount {
        match self {
            Self::Queue(stream) => stream.clear(),
            Self::Spool(_) => Amount::default(),
        }
    }

    pub(super) fn begin(&mut self) {
        match self {
            Self::Queue(stream) => stream.begin(),
            Self::Spool(spooled) => spooled.begin(),
        }
    }

    pub(super) fn end(&mut self) {
        match self {
            Self::Queue(stream) => stream.end(),
            Self::Spool(spooled) => spooled.end(),
        }
    }

    /// Says that the session is over datagrams.
    pub(super) fn set_by_datagrams(&mut self) {
        match self {
            Self::Queue(stream) => stream.set_by_datagrams(),
            Self::Spool(spooled) => spooled.set_by_datagrams(),
        }
    }

    /// Has the templates told again before the next data.
    pub(super) fn tell_again(&mut self) {
        match self {
            Self::Queue(stream) => stream.tell_again(),
            Self::Spool(spooled) => spooled.tell_again(),
        }
    }

    pub(super) fn prepare(&mut self, now: Now, octets: usize) {
        match self {
            Self::Queue(stream) => stream.prepare(now, octets),
            Self::Spool(spooled) => spooled.prepare(now, octets),
        }
    }

    /// The first of the prepared messages.
    pub(super) fn prepared(&self, most: usize) -> Vec<&[u8]> {
        match self {
            Self::Queue(stream) => stream.prepared().take(most).collect(),
            Self::Spool(spooled) => spooled.prepared().take(most).collect(),
        }
    }

    pub(super) fn take(&mut self, count: usize) -> Amount {
        match self {
            Self::Queue(stream) => stream.take(count),
            Self::Spool(spooled) => spooled.take(count),
        }
    }

    /// The part of `taken` that the counters get now. With a spool, records count only when they
    /// are acknowledged.
    pub(super) fn counted(&self, taken: Amount) -> Amount {
        match self {
            Self::Queue(_) => taken,
            Self::Spool(_) => Amount {
                records: 0,
                ..taken
            },
        }
    }

    /// Notes that all but the last `octets` that the socket took are acknowledged. `None`: the
    /// system does not tell.
    pub(super) fn acknowledge(&mut self, octets: Option<usize>, now: Uptime) {
        if let Self::Spool(spooled) = self {
            spooled.acknowledge(octets, now);
        }
    }

    /// The end of a turn: what happened to its spool, and what there is to log.
    pub(super) fn settle(&mut self, now: Now) -> Option<(SpoolTally, Vec<String>)> {
        match self {
            Self::Queue(_) => None,
            Self::Spool(spooled) => {
                spooled.settle(now);
                Some((spooled.take_tally(), spooled.take_lines()))
            }
        }
    }

    /// Stops reading a spool, because the program ends.
    pub(super) fn stop(&mut self) {
        if let Self::Spool(spooled) = self {
            spooled.stop();
        }
    }

    /// Takes over what waits in memory in `old`, whose connection has ended.
    pub(super) fn inherit(&mut self, now: Now, old: Stream) {
        match self {
            Self::Queue(stream) => *stream = old,
            Self::Spool(spooled) => old.into_waiting(&mut |message, templates| {
                spooled.push(now, message, templates);
            }),
        }
    }

    /// Ends the use of a spool. What is not acknowledged stays in its files.
    pub(super) fn finish(&mut self) -> Option<(SpoolTally, Vec<String>)> {
        let Self::Spool(spooled) = self else {
            return None;
        };
        spooled.finish();
        let mut lines = spooled.take_lines();
        let (octets, name) = (spooled.spool().octets(), spooled.spool().name());
        if octets > 0 {
            lines.push(format!("{octets} octets stay in {name}"));
        }
        Some((spooled.take_tally(), lines))
    }
}
