//! The options that were told so far, because each new session and each file is told them again,
//! behind the templates.

use std::collections::BTreeMap;

use super::{Outgoing, Templates};
use crate::wire::ipfix;

/// Options of each observation domain, a set a message, in the order that they came in.
#[derive(Debug, Default)]
pub(super) struct KeptOptions(BTreeMap<u32, Vec<KeptOption>>);

/// A set of options records.
#[derive(Debug, Eq, PartialEq)]
struct KeptOption {
    templates: Templates,
    records: u16,
    set: Vec<u8>,
}

/// Takes a set of options: its domain, what they go with, its records, and itself.
type TakeOption<'a> = dyn FnMut(u32, Templates, u16, &[u8]) + 'a;

impl KeptOptions {
    /// Keeps what a message tells, once.
    pub(super) fn keep(&mut self, message: &Outgoing<'_>, templates: Templates) {
        let kept = KeptOption {
            templates,
            records: message.options,
            set: message
                .octets
                .get(ipfix::HEADER_LEN..)
                .unwrap_or_default()
                .to_vec(),
        };
        let all = self.0.entry(message.domain).or_default();
        if !all.contains(&kept) {
            all.push(kept);
        }
    }

    /// The next set of `domain` behind the first `told`, with the number of its records and how many
    /// are told then.
    pub(super) fn next(
        &self,
        domain: u32,
        templates: Templates,
        told: usize,
    ) -> Option<(&[u8], u16, usize)> {
        let all = self.0.get(&domain)?.iter().enumerate().skip(told);
        let mut own = all.filter(|(_, one)| one.templates == templates);
        own.next().map(|(n, one)| (&*one.set, one.records, n + 1))
    }

    /// All of them, as they came in.
    pub(super) fn each(&self, take: &mut TakeOption<'_>) {
        for (domain, all) in &self.0 {
            for one in all {
                take(*domain, one.templates, one.records, &one.set);
            }
        }
    }
}
