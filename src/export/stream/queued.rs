//! A message that waits in a stream, and what its number is.

use crate::export::session::netflow9_header;
use crate::export::{Amount, Templates};
use crate::time::Now;
use crate::wire::netflow9::{self, Clock};

/// What has a sequence of its own.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct SequenceKey {
    /// An observation domain, or a source id of NetFlow v9.
    pub(super) domain: u32,
    /// Whether it is a source id.
    pub(super) is_netflow9: bool,
}

/// A message in a stream.
#[derive(Debug)]
pub(super) struct Queued {
    pub(super) domain: u32,
    /// Data records; 0: templates or options.
    pub(super) records: u16,
    /// Records of options; of NetFlow v9 of templates, too.
    pub(super) options: u16,
    /// What its records are described by.
    pub(super) templates: Templates,
    pub(super) octets: Vec<u8>,
    /// When it was made.
    pub(super) at: Now,
    /// What the sequence misses before it, while it is numbered.
    pub(super) gap: u32,
}

impl Queued {
    /// Which sequence numbers it.
    pub(super) fn sequence_key(&self) -> SequenceKey {
        SequenceKey {
            domain: self.domain,
            is_netflow9: self.templates.is_netflow9(),
        }
    }

    /// By how much it moves the sequence on: IPFIX counts records, and NetFlow v9 messages.
    pub(super) fn steps(&self) -> u32 {
        match self.templates.is_netflow9() {
            true => 1,
            false => u32::from(self.records) + u32::from(self.options),
        }
    }

    /// Adds it to `amount`.
    pub(super) fn add_to(&self, amount: &mut Amount) {
        amount.add(self.records, self.octets.len());
    }

    /// Puts its number into its header, and of templates and options the whole header. The encoder
    /// has filled in the rest of a header of data.
    pub(super) fn number_netflow9(&mut self, sequence: u32) {
        let Some(front) = self.octets.first_chunk_mut() else {
            return;
        };
        if self.records == 0 {
            let clock = Clock::at(self.at.uptime.secs());
            let fields = (self.domain, self.options, clock);
            *front = netflow9_header(self.at, fields, sequence).octets();
        } else {
            netflow9::number(front, sequence);
        }
    }
}
