//! What the collector of a stream knows: templates, options and numbers of each domain.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};

use super::queued::{Queued, SequenceKey};
use crate::export::Templates;
use crate::export::kept_options::KeptOptions;
use crate::time::Now;
use crate::wire::ipfix;

/// What the collector knows.
#[derive(Debug, Default)]
pub(super) struct StreamSession {
    domains: BTreeMap<SequenceKey, ToldDomain>,
    /// The latest export time: it never goes back.
    export_time: u32,
    /// Whether it is over datagrams.
    is_by_datagrams: bool,
}

/// What it knows of an observation domain.
#[derive(Debug)]
struct ToldDomain {
    templates: Templates,
    sequence: u32,
    /// Whether they are to be told again.
    is_due: bool,
    /// Sets of templates that are still to be told. Each has the number of its records that count
    /// in the header: of IPFIX those that tell types, of NetFlow v9 all.
    rest: VecDeque<(Vec<u8>, u16)>,
    /// How many of the options kept are told.
    options: usize,
}

impl StreamSession {
    /// It is over datagrams.
    pub(super) fn set_by_datagrams(&mut self) {
        self.is_by_datagrams = true;
    }

    /// The templates of all domains are to be told again.
    pub(super) fn tell_again(&mut self) {
        for told in self.domains.values_mut() {
            told.is_due = true;
        }
    }

    /// Messages leave at this time from now on, if it is not earlier than before.
    pub(super) fn set_export_time(&mut self, secs: u32) {
        self.export_time = self.export_time.max(secs);
    }

    /// What is to be told before a message of `domain`: its templates, then options. Over a
    /// connection, other templates that were told are withdrawn first.
    pub(super) fn tell(
        &mut self,
        domain: u32,
        templates: Templates,
        at: Now,
        options: &KeptOptions,
    ) -> Option<Queued> {
        let key = SequenceKey {
            domain,
            is_netflow9: templates.is_netflow9(),
        };
        let mut octets = vec![0; templates.header_len()];
        let told = self.domains.entry(key);
        let is_new = matches!(told, Entry::Vacant(_));
        let told = told.or_insert_with(|| ToldDomain {
            templates,
            sequence: 0,
            is_due: true,
            rest: VecDeque::new(),
            options: 0,
        });
        if told.is_due || told.templates != templates {
            if !is_new && told.templates != templates && !self.is_by_datagrams {
                octets.extend(told.templates.withdrawal());
            }
            (told.templates, told.is_due) = (templates, false);
            (told.rest, told.options) = (templates.sets().into(), 0);
        }
        let records = if let Some((set, count)) = told.rest.pop_front() {
            octets.extend(set);
            count
        } else {
            let (set, count, behind) = options.next(domain, templates, told.options)?;
            octets.extend_from_slice(set);
            told.options = behind;
            count
        };
        let mut message = Queued {
            domain,
            records: 0,
            options: records,
            templates,
            octets,
            at,
            gap: 0,
        };
        self.stamp(&mut message);
        Some(message)
    }

    /// Fills in the header of a message whose domain is told.
    pub(super) fn stamp(&mut self, message: &mut Queued) {
        let Some(told) = self.domains.get_mut(&message.sequence_key()) else {
            return;
        };
        told.sequence = told.sequence.wrapping_add(message.gap);
        let sequence = told.sequence;
        told.sequence = sequence.wrapping_add(message.steps());
        if message.templates.is_netflow9() {
            return message.number_netflow9(sequence);
        }
        let header = ipfix::Header {
            length: u16::try_from(message.octets.len()).unwrap_or(u16::MAX),
            export_time: self.export_time,
            sequence,
            domain: message.domain,
        };
        if let Some(front) = message.octets.first_chunk_mut() {
            *front = header.octets();
        }
    }
}
