//! What a segment gets: numbered messages, the templates of each domain before its first.

use std::collections::BTreeMap;

use crate::export::kept_options::KeptOptions;
use crate::export::{Outgoing, Templates};
use crate::wire::ipfix;

/// What the reader of a file knows of an observation domain.
#[derive(Clone, Copy, Debug)]
pub(super) struct SegmentDomain {
    pub(super) templates: Templates,
    pub(super) sequence: u32,
    /// How many of the options kept it has been told; a reader does not ask.
    pub(super) options: usize,
}

/// The session of one file (RFC 5655 7.2).
#[derive(Debug, Default)]
pub(super) struct Writer {
    domains: BTreeMap<u32, SegmentDomain>,
    /// The latest export time: it never goes back.
    export_time: u32,
}

/// What [`Writer::encode`] changed.
pub(super) struct Undo {
    domain: u32,
    before: Option<SegmentDomain>,
}

impl Writer {
    /// Appends `message`, and its templates if they are to be told, to `octets`.
    pub(super) fn encode(
        &mut self,
        secs: u32,
        message: &Outgoing<'_>,
        templates: Templates,
        options: &KeptOptions,
        octets: &mut Vec<u8>,
    ) -> Undo {
        self.export_time = self.export_time.max(secs);
        let domain = message.domain;
        let before = self.domains.get(&domain).copied();
        let mut sequence = before.map_or(0, |told| told.sequence);
        let mut told = before.filter(|told| told.templates == templates);
        if told.is_none() {
            let mut withdrawal = before.map(|told| told.templates.withdrawal());
            for (set, records) in templates.sets() {
                let mut sets = withdrawal.take().unwrap_or_default();
                sets.extend(set);
                self.put(domain, sequence, &sets, octets);
                sequence = sequence.wrapping_add(records.into());
            }
        }
        let mut behind = told.take().map_or(0, |told| told.options);
        while let Some((set, records, next)) = options.next(domain, templates, behind) {
            self.put(domain, sequence, set, octets);
            sequence = sequence.wrapping_add(records.into());
            behind = next;
        }
        let sets = message.octets.get(ipfix::HEADER_LEN..).unwrap_or_default();
        self.put(domain, sequence, sets, octets);
        let told = SegmentDomain {
            templates,
            sequence: sequence.wrapping_add(message.records.into()),
            options: behind,
        };
        self.domains.insert(domain, told);
        Undo { domain, before }
    }

    /// Takes back the last that was encoded.
    pub(super) fn undo(&mut self, undo: &Undo) {
        match undo.before {
            Some(told) => drop(self.domains.insert(undo.domain, told)),
            None => drop(self.domains.remove(&undo.domain)),
        }
    }

    /// Appends a message of `sets`.
    fn put(&self, domain: u32, sequence: u32, sets: &[u8], octets: &mut Vec<u8>) {
        let header = ipfix::Header {
            length: u16::try_from(ipfix::HEADER_LEN + sets.len()).unwrap_or(u16::MAX),
            export_time: self.export_time,
            sequence,
            domain,
        };
        octets.extend(header.octets());
        octets.extend(sets);
    }
}
