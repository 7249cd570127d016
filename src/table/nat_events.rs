//! NAT events: which translations an interface was told of, so that it is told of their end.
//!
//! ```text
//! a translated state is learned --> told at once, or listed for the interface's delay
//! the delay is over             --> told
//! the state ends                --> told of: its end goes out     listed: nothing does
//! ```
//! All states of a list wait equally long. So the list is in the order of their due times, and no
//! search is needed. What is kept stands beside the key pairs, which every translated state has and
//! few others do. States that were learned before an interface asked are not told of.
//!
//! If no interface asks, this module takes neither memory nor time.

use std::time::Duration;

use super::due_list::DueList;
use super::places::Places;
use crate::flow::{Flow, Translation};
use crate::slab::CHUNK;
use crate::time::{Now, Uptime};

/// What happened to a translation, for one interface.
#[derive(Clone, Copy, Debug)]
pub struct NatEvent {
    /// When that was noticed.
    pub now: Now,
    /// Which of the two.
    pub what: Translation,
    /// The translated state as it is then; [`Flow::only`] is the interface.
    pub flow: Flow,
}

/// What one interface was told of, and what waits for its delay. Places are those of key pairs.
pub(super) struct NatLane {
    /// N of pflowN.
    pub(super) unit: u32,
    pub(super) told: Places,
    pub(super) list: DueList<()>,
}

impl NatLane {
    pub(super) fn new(unit: u32) -> Self {
        Self {
            unit,
            told: Places::default(),
            list: DueList::new(()),
        }
    }
}

/// What is known of a translation for one interface, to be kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct KeptTranslation {
    pub(super) unit: u32,
    /// When it is to be told; `None`: it was.
    pub(super) due: Option<Uptime>,
}

/// What is kept for the interfaces that ask.
pub(super) struct NatEvents {
    pub(super) lanes: Vec<NatLane>,
    pub(super) ready: Vec<NatEvent>,
}

impl NatEvents {
    /// Octets of memory taken.
    pub(super) fn octets(&self) -> usize {
        let lanes = self.lanes.iter();
        lanes
            .map(|lane| lane.told.octets() + lane.list.octets())
            .sum()
    }

    /// What [`Self::octets`] never exceed with so many chunks of key pairs.
    pub(super) fn octets_of(&self, keys: usize) -> usize {
        let lane = |lane: &NatLane| {
            let waits = lane.list.wait() > Duration::ZERO || lane.list.has_entries();
            let entries = match waits {
                true => DueList::<()>::octets_of(keys),
                false => 0,
            };
            // A bit each, in a list that doubles.
            keys * CHUNK / 4 + entries
        };
        self.lanes.iter().map(lane).sum()
    }

    pub(super) fn poll_timeout(&self) -> Option<Uptime> {
        self.lanes.iter().filter_map(|lane| lane.list.due()).min()
    }

    /// Nothing is known any more of a translation.
    pub(super) fn forget(&mut self, keys: u32) {
        for lane in &mut self.lanes {
            lane.told.take(keys);
            lane.list.unlist(keys);
        }
    }
}
