//! What a session tells its collector of the records that come.

use super::format::{Format, TemplateSet, USUAL_LEN};
use super::settings::{Events, Settings};
use crate::wire::full::{self, Kind};
use crate::wire::ipfix::{self, HEADER_LEN};
use crate::wire::{netflow9, options};

const USUAL_ROOM: usize = USUAL_LEN - HEADER_LEN;

/// Templates, and which options go with them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Templates {
    set: TemplateSet,
    /// Of [`TemplateSet::Full`].
    kind: Kind,
    /// Whether they are NetFlow v9's: then the others mean nothing.
    is_netflow9: bool,
}

impl From<TemplateSet> for Templates {
    fn from(set: TemplateSet) -> Self {
        Self {
            set,
            kind: Kind::default(),
            is_netflow9: false,
        }
    }
}

impl From<&Settings> for Templates {
    fn from(settings: &Settings) -> Self {
        let is_full = settings.templates == TemplateSet::Full;
        let kind = Kind {
            enterprise: settings.enterprise.filter(|_| is_full),
            is_biflow: settings.is_biflow && is_full,
            has_events: settings.events == Events::Nat && is_full,
        };
        Self {
            set: settings.templates,
            kind,
            is_netflow9: settings.format == Format::NetFlow9,
        }
    }
}

impl Templates {
    /// Which records of [`TemplateSet::Full`] there are; `None`: they are a kernel's.
    pub(super) fn full(self) -> Option<Kind> {
        (self.set == TemplateSet::Full).then_some(self.kind)
    }

    /// The sets that tell them, each in a message of its own that has so much room behind its
    /// header; with the data records that are in each, which tell types.
    pub(super) fn sets_in(self, room: usize) -> Vec<(Vec<u8>, u16)> {
        match self.full() {
            Some(kind) => full::template_sets(kind, room),
            None => vec![(ipfix::template_set(self.set.templates()), 0)],
        }
    }

    /// The same for a stream, a file, or a spool; of NetFlow v9 with all records in each.
    pub(super) fn sets(self) -> Vec<(Vec<u8>, u16)> {
        match self.is_netflow9 {
            true => netflow9::announcement(USUAL_LEN - netflow9::HEADER_LEN),
            false => self.sets_in(USUAL_ROOM),
        }
    }

    #[cfg(test)]
    pub(super) fn set(self) -> TemplateSet {
        self.set
    }

    /// Whether they are NetFlow v9's.
    pub(super) fn is_netflow9(self) -> bool {
        self.is_netflow9
    }

    /// Octets of the header of messages that go with them.
    pub(super) fn header_len(self) -> usize {
        match self.is_netflow9 {
            true => netflow9::HEADER_LEN,
            false => HEADER_LEN,
        }
    }

    /// The sets that withdraw them all.
    pub(super) fn withdrawal(self) -> Vec<u8> {
        let mut octets = ipfix::all_templates_withdrawn().to_vec();
        if self.full().is_some() {
            octets.extend(ipfix::all_options_withdrawn());
        }
        octets
    }

    /// Whether `set` is one of [`Self::sets`].
    pub(super) fn has(self, set: &[u8]) -> bool {
        self.sets().iter().any(|(one, _)| one == set)
    }

    /// The templates that the first set of [`Self::sets`], or the first of flows, is of.
    pub(super) fn recognise(set: &[u8]) -> Option<Self> {
        let mut kernels = TemplateSet::VALUES.iter().map(|(_, set)| Self::from(*set));
        let kernel = kernels.find(|one| one.full().is_none() && one.has(set));
        kernel.or_else(|| {
            Some(Self {
                kind: full::recognise(set, USUAL_ROOM)?,
                ..Self::from(TemplateSet::Full)
            })
        })
    }

    /// Octets of a data record of a template.
    fn record_len(self, id: u16) -> Option<usize> {
        match self.full() {
            Some(kind) => full::record_len(id, kind),
            None => {
                let mut all = self.set.templates().iter();
                let layout = all.find(|(number, _)| *number == id);
                layout.map(|(_, layout)| layout.record_len())
            }
        }
    }

    /// Data records of a set of template `id`, given without its header. `None` if it has none, or
    /// anything else.
    pub(super) fn records_of(self, id: u16, records: &[u8]) -> Option<u16> {
        if let Some(kind) = self.full()
            && options::is_options(id)
        {
            return options::records_in(id, records, kind);
        }
        self.records_of_len(id, records.len())
    }

    /// Data records of template `id` in so many octets. `None` if they are options, or do not fill
    /// the octets.
    pub(super) fn records_of_len(self, id: u16, len: usize) -> Option<u16> {
        let record_len = self.record_len(id)?;
        let records = u16::try_from(len / record_len).ok()?;
        (records > 0 && len.is_multiple_of(record_len)).then_some(records)
    }

    /// Records that count in a message of one set. Templates do not count, nor do options that are
    /// told again and again.
    pub(super) fn records_in(self, message: &[u8]) -> u64 {
        let Some(([high, low, ..], records)) = message
            .get(HEADER_LEN..)
            .and_then(<[u8]>::split_first_chunk::<{ ipfix::SET_HEADER_LEN }>)
        else {
            return 0;
        };
        let id = u16::from_be_bytes([*high, *low]);
        match options::is_options(id) && !options::is_statistics(id) {
            true => 0,
            false => self.records_of(id, records).map_or(0, u64::from),
        }
    }
}
