//! Connections: the two states of what a firewall forwards, as one flow.
//!
//! ```text
//! first packet --> IN state --> OUT state --> on its way
//!                  ends as they are inside: its STACK key = the other's STACK key
//!
//! one ends   its other is not held             alone
//!            its other is held                 waits
//! waits      its other ends                    both as one flow
//!            a minute passed, or no room       both as one flow, the other as it is then; what it
//!                                              counts later is a flow by itself
//! ```
//! Each state has an entry by the hash of its inner ends, but only while somebody exports
//! connections. Of states with the same ends only [`MAX_ALIKE`] have an entry, because a message
//! must not cost more the more states there are.
//!
//! Interfaces with an active timeout get parts of a connection. A part goes out when the half that
//! was learned first is due. Both halves note what went out.

use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher;

use foldhash::quality::SeedableRandomState;
use hashbrown::HashTable;

use super::active::ToldParts;
use super::index::{self, PARTS};
use super::slot::{Counts, KeyPair, Slots};
use crate::flow::Flow;
use crate::slab::Slab;
use crate::state::{Direction, IfName, StateKey};
use crate::time::{Now, Uptime};

/// States with the same inner ends that can be found.
pub(super) const MAX_ALIKE: usize = 8;

/// A flow of a connection, or a part of one.
#[derive(Clone, Copy, Debug)]
pub struct Connection {
    /// The time that it ended at.
    pub now: Now,
    /// What is known of both its states.
    pub flow: Flow,
    /// The interface that its OUT state has; `None`: it is of one state.
    pub egress: Option<IfName>,
}

/// A state that ended and waits for the other of its connection.
#[derive(Debug)]
pub(super) struct Half {
    pub(super) flow: Flow,
    /// What of it went out in parts.
    pub(super) told: Vec<ToldParts>,
    /// What went out of it to all others.
    pub(super) exported: Counts,
    pub(super) until: Uptime,
    /// When it ended.
    pub(super) now: Now,
}

/// What is kept for whoever exports connections.
pub(super) struct Connections {
    /// The interfaces that do, in the order of their numbers.
    pub(super) units: Vec<u32>,
    pub(super) parts: Box<[HashTable<u32>; PARTS]>,
    pub(super) hasher: SeedableRandomState,
    /// While states held before are entered: the next place.
    pub(super) sweep: Option<u32>,
    /// By the place of the state that they wait for.
    pub(super) waiting: HashMap<u32, Half>,
    /// When they have waited long enough, with the place. Some are not waiting any more.
    pub(super) order: VecDeque<(Uptime, u32)>,
    /// What was exported of the connections of states whose other waited long enough, by place.
    pub(super) exported: HashMap<u32, Counts>,
    /// Flows that are ready: what is left of those exported in parts, then the whole.
    pub(super) ready: Vec<Connection>,
}

/// The inner ends of a state, as its IN half has them.
pub(super) fn inner(direction: Direction, keys: &KeyPair) -> StateKey {
    let stack = keys.stack;
    let ([far, near], [far_port, near_port]) = (stack.addr, stack.port);
    match direction {
        Direction::In => stack,
        // What is far from an IN state is near to an OUT state.
        Direction::Out => StateKey {
            addr: [near, far],
            port: [near_port, far_port],
            ..stack
        },
    }
}

pub(super) fn hash(hasher: &SeedableRandomState, ends: &StateKey) -> u64 {
    let StateKey {
        proto,
        rdomain,
        addr: [far, near],
        port,
        ..
    } = ends;
    hasher.hash_one((far.0, near.0, port, proto, rdomain))
}

impl Connections {
    pub(super) fn new(units: Vec<u32>) -> Self {
        Self {
            units,
            parts: Box::new([const { HashTable::new() }; PARTS]),
            hasher: SeedableRandomState::random(),
            sweep: Some(0),
            waiting: HashMap::new(),
            order: VecDeque::new(),
            exported: HashMap::new(),
            ready: Vec::new(),
        }
    }

    pub(super) fn hash(&self, ends: &StateKey) -> u64 {
        hash(&self.hasher, ends)
    }

    /// Enters the state at `place`, unless it is there or too many are like it.
    #[expect(clippy::indexing_slicing, reason = "there is a part for every octet")]
    pub(super) fn enter(&mut self, place: u32, slots: &Slots, keys: &Slab<KeyPair>) {
        let Self { hasher, parts, .. } = self;
        let hash_of = |place: &u32| {
            let slot = &slots[*place];
            hash(hasher, &inner(slot.direction, &slot.key_pair(keys)))
        };
        let hash = hash_of(&place);
        let part = &mut parts[index::part(hash)];
        let mut alike = part.iter_hash(hash);
        if alike.clone().count() < MAX_ALIKE && alike.all(|other| *other != place) {
            part.insert_unique(hash, place, hash_of);
        }
    }

    /// Takes the state at `place` out.
    #[expect(clippy::indexing_slicing, reason = "there is a part for every octet")]
    pub(super) fn leave(&mut self, place: u32, ends: &StateKey) {
        let hash = self.hash(ends);
        let part = &mut self.parts[index::part(hash)];
        if let Ok(entry) = part.find_entry(hash, |other| *other == place) {
            entry.remove();
        }
    }

    /// Octets of memory taken by entries.
    pub(super) fn octets(&self) -> usize {
        let parts = self.parts.iter().map(HashTable::allocation_size);
        size_of::<[HashTable<u32>; PARTS]>() + parts.sum::<usize>()
    }

    /// What [`Self::octets`] never exceed with so many states.
    pub(super) fn octets_of(states: usize) -> usize {
        index::octets_of_parts(states)
    }

    pub(super) fn poll_timeout(&self) -> Option<Uptime> {
        match self.sweep {
            Some(_) => Some(Uptime::from_nanos(i64::MIN)),
            None => self.order.front().map(|(until, _)| *until),
        }
    }

    pub(super) fn has_unit(&self, unit: u32) -> bool {
        self.units.binary_search(&unit).is_ok()
    }
}
