//! What an exporter tells of itself: what it did not hear, and what it could not send.

use crate::counters::InterfaceCounters;
use crate::time::Now;
use crate::wire::options::Options;

/// Statistics of one interface.
#[derive(Debug, Default)]
pub(super) struct Statistics {
    /// Records of it that were made.
    records: u64,
    /// Packets of pfsync that were lost before they could be read.
    ignored: Loss,
    /// Data records that could not be sent.
    lost: Loss,
}

/// How many, and when the first and the last of them were noticed, milliseconds since the epoch.
#[derive(Debug, Default)]
struct Loss {
    count: u64,
    times: Option<[u64; 2]>,
}

impl Loss {
    /// There are so many by now.
    fn note(&mut self, count: u64, now: Now) {
        if count > self.count {
            let at_ms = u64::try_from(now.wall.nanos().div_euclid(1_000_000)).unwrap_or(0);
            let [first, _] = self.times.unwrap_or([at_ms; 2]);
            (self.count, self.times) = (count, Some([first, at_ms]));
        }
    }
}

impl Statistics {
    /// So many packets more were lost before they could be read.
    pub(super) fn note_ignored(&mut self, packets: u64, now: Now) {
        self.ignored
            .note(self.ignored.count.saturating_add(packets), now);
    }

    /// The records of statistics of interface `unit`, which counted `counters`.
    pub(super) fn options(
        &mut self,
        now: Now,
        domain: u32,
        unit: u32,
        counters: &InterfaceCounters,
    ) -> Vec<Options> {
        self.lost.note(counters.records_refused, now);
        let records = counters.records_sent.saturating_sub(self.records);
        let (messages, octets) = (counters.datagrams, counters.octets);
        let mut all = vec![Options::metering(domain, messages, records, octets)];
        all.extend(self.reliability(domain, unit));
        self.records += all.len() as u64;
        all
    }

    /// The records of losses, if there were any (RFC 7011 4.2, 4.3).
    fn reliability(&self, domain: u32, unit: u32) -> impl Iterator<Item = Options> {
        let Self { ignored, lost, .. } = self;
        let ignored = ignored
            .times
            .map(|times| Options::ignored(domain, ignored.count, times));
        let lost = lost
            .times
            .map(|times| Options::exporting(unit, lost.count, times));
        ignored.into_iter().chain(lost)
    }
}
