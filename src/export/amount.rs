//! How much a stream or a file took or lost, and what an interface counts of it.

use std::ops::AddAssign;

use crate::counters::InterfaceCounters;

/// Messages and what they hold.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Amount {
    /// Messages, templates included.
    pub messages: u64,
    /// Those of them that are templates or options.
    pub templates: u64,
    /// Data records.
    pub records: u64,
    /// Octets.
    pub octets: u64,
}

impl Amount {
    /// Adds a message of so many data records and octets; one without data records is of templates
    /// or options.
    pub(super) fn add(&mut self, records: u16, octets: usize) {
        self.messages += 1;
        self.templates += u64::from(records == 0);
        self.records += u64::from(records);
        self.octets += octets as u64;
    }
}

impl InterfaceCounters {
    /// Adds what a stream or a file took.
    pub(crate) fn add_taken(&mut self, taken: Amount) {
        self.datagrams += taken.messages;
        self.templates += taken.templates;
        self.octets += taken.octets;
        self.records_sent += taken.records;
    }

    /// Adds what no stream and no file took.
    pub(crate) fn add_lost(&mut self, lost: Amount) {
        self.unqueued += lost.messages;
        self.records_refused += lost.records;
    }
}

impl AddAssign for Amount {
    fn add_assign(&mut self, other: Self) {
        self.messages += other.messages;
        self.templates += other.templates;
        self.records += other.records;
        self.octets += other.octets;
    }
}
