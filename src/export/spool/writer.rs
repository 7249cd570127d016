//! What a segment gets: numbered messages, the templates of each domain before its first.

use std::collections::BTreeMap;

use crate::export::{Outgoing, TemplateSet};
use crate::wire::ipfix;

/// What the reader of a file knows of an observation domain.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told {
    pub(super) templates: TemplateSet,
    pub(super) sequence: u32,
}

/// The session of one file (RFC 5655 7.2).
#[derive(Debug, Default)]
pub(super) struct Writer {
    domains: BTreeMap<u32, Told>,
    /// The latest export time: it never goes back.
    export_time: u32,
}

/// What [`Writer::encode`] changed.
pub(super) struct Undo {
    domain: u32,
    before: Option<Told>,
}

impl Writer {
    /// Appends `message`, and its templates if they are to be told, to `octets`.
    pub(super) fn encode(
        &mut self,
        secs: u32,
        message: &Outgoing<'_>,
        templates: TemplateSet,
        octets: &mut Vec<u8>,
    ) -> Undo {
        self.export_time = self.export_time.max(secs);
        let domain = message.domain;
        let before = self.domains.get(&domain).copied();
        let sequence = before.map_or(0, |told| told.sequence);
        if before.is_none_or(|told| told.templates != templates) {
            let told = ipfix::template_message(templates.templates(), before.is_some());
            self.put(domain, sequence, &told, octets);
        }
        self.put(domain, sequence, message.octets, octets);
        let sequence = sequence.wrapping_add(message.records.into());
        let told = Told {
            templates,
            sequence,
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

    fn put(&self, domain: u32, sequence: u32, message: &[u8], octets: &mut Vec<u8>) {
        let header = ipfix::Header {
            length: u16::try_from(message.len()).unwrap_or(u16::MAX),
            export_time: self.export_time,
            sequence,
            domain,
        };
        octets.extend(header.octets());
        octets.extend(message.get(ipfix::HEADER_LEN..).unwrap_or_default());
    }
}
