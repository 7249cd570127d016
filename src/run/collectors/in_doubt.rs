//! Messages in doubt: the system took them for a connection, but the collector's system has not
//! acknowledged them.

use std::collections::VecDeque;
use std::time::Duration;

use crate::time::Uptime;

/// Some systems do not tell what was acknowledged. There a message counts as acknowledged after so
/// long.
const YOUNG: Duration = Duration::from_secs(1);

/// A message that the system took.
#[derive(Debug)]
struct Taken {
    /// Octets taken up to its end.
    end: u64,
    records: u64,
    at: Uptime,
}

/// Messages in doubt, the oldest first.
#[derive(Debug, Default)]
pub(super) struct InDoubt {
    messages: VecDeque<Taken>,
    /// Octets taken since the connection began.
    octets: u64,
    records: u64,
}

impl InDoubt {
    /// The system took a message.
    pub(super) fn take(&mut self, octets: u64, records: u64, at: Uptime) {
        self.octets += octets;
        self.records += records;
        let end = self.octets;
        self.messages.push_back(Taken { end, records, at });
    }

    /// Notes that all but the last `octets` are acknowledged. `None`: the system does not tell.
    /// Returns whether anything was newly acknowledged.
    pub(super) fn acknowledge(&mut self, octets: Option<usize>, now: Uptime) -> bool {
        let is_known = |message: &Taken| match octets {
            Some(octets) => message.end.saturating_add(octets as u64) <= self.octets,
            None => now.since(message.at) > YOUNG,
        };
        let count = self.messages.partition_point(is_known);
        let known = self.messages.drain(..count);
        self.records -= known.map(|message| message.records).sum::<u64>();
        count > 0
    }

    /// Messages.
    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    /// Records in them.
    pub(super) fn records(&self) -> u64 {
        self.records
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Uptime {
        Uptime::from_nanos(millis * 1_000_000)
    }

    #[test]
    fn a_message_is_in_doubt_until_its_last_octet_is_acknowledged() {
        let mut doubt = InDoubt::default();
        for _ in 0..3 {
            doubt.take(100, 7, at(0));
        }
        assert!(doubt.acknowledge(Some(150), at(0)));
        assert_eq!((doubt.len(), doubt.records()), (2, 14));
        assert!(!doubt.acknowledge(Some(101), at(0)));
        assert!(doubt.acknowledge(Some(0), at(0)));
        assert_eq!((doubt.len(), doubt.records()), (0, 0));
    }

    #[test]
    fn where_nobody_tells_the_last_second_is_in_doubt() {
        let mut doubt = InDoubt::default();
        for millis in [0, 500, 1500] {
            doubt.take(100, 7, at(millis));
        }
        assert!(doubt.acknowledge(None, at(1501)));
        assert_eq!(doubt.records(), 7);
    }
}
