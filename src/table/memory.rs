//! How many states there may be: a number, or as many as fit into an amount of memory.
//!
//! ```text
//! -m 256M   slots + key pairs + shares + index + what watchers and active timeouts keep <= 256M
//!
//! an insert   below the ceiling                             nothing is looked at
//!             at it, one more chunk of slots fits           the ceiling rises by a chunk
//!             at it, none fits                              the longest silent state goes
//! pages       none free, one more chunk does not fit        the longest silent state goes, and with
//!                                                           it those that share its page
//! key pairs   none free, one more chunk does not fit        the longest silent of 64 that have one goes
//! shares      none free, one more chunk does not fit        the share is left out, its flow is partial
//! ```
//! The memory of a [`Slab`] is known to the octet, and changes only when it takes a chunk. The index's
//! hash tables are counted with the most that so many pages can make them take. So is what grows by
//! the place: entries of active timeouts, and what the solicitor keeps. The sum depends on the input
//! alone, not on the hashes of this run, because a replay must end the same states each time.
//!
//! No chunk becomes one of another kind. Slots that came first leave room for some pages, key pairs
//! and shares ([`SLOTS_TO_PAGES`], [`SLOTS_TO_KEYS`], [`SLOTS_TO_SHARES`]); beyond that whoever comes
//! first has it. At least one chunk of each kind is taken, whatever the bound.
//!
//! Some memory has bounds of its own, whatever the number of states, and is not counted: senders and
//! their lists, interface names, states that ended recently, together about 6 MB. Nor is what a keep file takes
//! while it is read back at the start.

use std::fmt;

use super::connections::Connections;
use super::index::Index;
use super::slot::{KeyPair, Share, Slot};
use super::store::Table;
use super::watch::{Event, WATCHER_OCTETS};
use crate::flow::{End, Flow};
use crate::slab::{CHUNK, Slab};
use crate::state::StateId;
use crate::time::Now;

/// The least amount of memory that makes sense as a bound, octets.
pub const MIN_OCTETS: u64 = 4 << 20;

/// Most states under a bound that is an amount: places are numbered in 32 bits.
const MAX_STATES: usize = 1 << 30;

/// For so many chunks of slots there is room for one of the index's pages: about as many as there
/// are of states that last as chance has it, see [`super::index`].
const SLOTS_TO_PAGES: usize = 4;
/// For so many there is room for one of key pairs.
const SLOTS_TO_KEYS: usize = 4;
/// For so many there is room for one of shares.
const SLOTS_TO_SHARES: usize = 8;

/// Key pairs looked at for the one whose state has been silent longest.
const LOOKED_AT: u32 = 64;

/// What bounds the table.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Bound {
    /// This many states; at least 1.
    States(u32),
    /// This much memory, octets; at least [`MIN_OCTETS`].
    Octets(u64),
}

/// As it is written: octets with the largest of k, M and G of which there is a whole number.
impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::States(states) => write!(f, "{states}"),
            Self::Octets(octets) => match octets.trailing_zeros() {
                30.. => write!(f, "{}G", octets >> 30),
                20..30 => write!(f, "{}M", octets >> 20),
                _ => write!(f, "{}k", octets >> 10),
            },
        }
    }
}

/// Chunks by what is in them.
#[derive(Clone, Copy, Debug, Default)]
struct Chunks {
    slots: usize,
    pages: usize,
    keys: usize,
    shares: usize,
}

/// What the table has taken and may take.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Memory {
    /// Chunks taken, or about to be.
    taken: Chunks,
    /// Most states: in whole chunks unless that is the bound.
    most: usize,
    /// Whether one more chunk of pages would not fit: what was taken stays, so that none will.
    is_out_of_pages: bool,
}

impl Table {
    /// Changes how many states are held at most. Those beyond a lower bound go as new ones come.
    pub fn set_bound(&mut self, bound: Bound) {
        self.settings.states = bound;
        self.measure();
    }

    /// Most states held; under a bound in octets, as far as what is held now tells.
    pub fn bound(&self) -> u32 {
        u32::try_from(self.memory.most).unwrap_or(u32::MAX)
    }

    /// The bound in octets, if it is one.
    pub fn octets_bound(&self) -> Option<u64> {
        match self.settings.states {
            Bound::States(_) => None,
            Bound::Octets(octets) => Some(octets),
        }
    }

    /// Octets of memory taken for states.
    pub fn octets(&self) -> u64 {
        let octets = self.slots.octets()
            + self.keys.octets()
            + self.shares.octets()
            + self.index.octets()
            + self.active.octets()
            + self.connections.as_ref().map_or(0, |all| all.octets())
            + self.nat_events.as_ref().map_or(0, |all| all.octets())
            + self.details.octets()
            + self.doubtful.octets()
            + self.told_by_another.octets();
        octets as u64
    }

    /// Works out anew how many states there may be, after something other than states changed.
    pub(super) fn measure(&mut self) {
        self.memory.taken = Chunks {
            slots: self.slots.chunks(),
            pages: self.index.chunks(),
            keys: self.keys.chunks(),
            shares: self.shares.chunks(),
        };
        self.memory.is_out_of_pages = false;
        self.memory.most = self.most();
        self.ceiling = match self.settings.states {
            Bound::States(_) => self.memory.most,
            Bound::Octets(_) => self.memory.most.min(self.slots.capacity()),
        };
    }

    /// Most states that the bound allows, with chunks of pages, keys and shares as taken; of more
    /// than it allows, in proportion.
    fn most(&self) -> usize {
        let octets = match self.settings.states {
            Bound::States(states) => return states.max(1) as usize,
            Bound::Octets(octets) => octets,
        };
        let (mut least, mut most) = (1, MAX_STATES / CHUNK);
        while least < most {
            let middle = (least + most).div_ceil(2);
            if self.need(middle) <= octets {
                least = middle;
            } else {
                most = middle - 1;
            }
        }
        least * CHUNK
    }

    /// Octets that so many chunks of slots take with all that belongs to them.
    fn need(&self, slots: usize) -> u64 {
        let Chunks {
            slots: taken,
            pages,
            keys,
            shares,
        } = self.memory.taken;
        let of_those = |chunks: usize| match taken {
            0 => chunks,
            taken => chunks.min((chunks * slots).div_ceil(taken)),
        };
        let pages = of_those(pages).max(slots.div_ceil(SLOTS_TO_PAGES));
        let keys = of_those(keys).max(slots.div_ceil(SLOTS_TO_KEYS));
        let shares = of_those(shares).max(slots.div_ceil(SLOTS_TO_SHARES));
        let places = slots * CHUNK;
        let watcher = match self.is_watched() {
            // With what it keeps, an event for the end of each, in a list that doubled.
            true => {
                Slab::<[u8; WATCHER_OCTETS]>::octets_of(slots) + places * 2 * size_of::<Event>()
            }
            false => 0,
        };
        let connections = match self.connections {
            Some(_) => Connections::octets_of(places),
            None => 0,
        };
        // Two bits for each that may be doubtful, or told by another sender, in lists that double.
        let doubtful = places;
        let octets = Slab::<Slot>::octets_of(slots)
            + Slab::<KeyPair>::octets_of(keys)
            + Slab::<Share>::octets_of(shares)
            + Index::octets_of(pages)
            + self.active.octets_of(slots)
            + connections
            + self
                .nat_events
                .as_ref()
                .map_or(0, |all| all.octets_of(keys))
            + self.details.octets_of(slots)
            + watcher
            + doubtful;
        octets as u64
    }

    /// Octets that count against the bound: those taken, and those kept free for what is held.
    pub fn counted_octets(&self) -> u64 {
        self.need(self.memory.taken.slots)
    }

    /// Makes room for one more state than the ceiling allows. A lowered bound takes two for one
    /// until it is reached.
    #[cold]
    #[inline(never)]
    pub(super) fn make_room(&mut self, now: Now, done: &mut impl FnMut(&Now, &Flow)) {
        if self.has_room_for_state() {
            return;
        }
        for _ in 0..2 {
            if self.index.len() >= self.ceiling {
                self.evict(now, done);
            }
        }
    }

    /// Whether one more state may be held, if need be in a new chunk.
    pub(super) fn has_room_for_state(&mut self) -> bool {
        if let Bound::Octets(_) = self.settings.states {
            self.ceiling = self.memory.most.min(self.slots.capacity() + CHUNK);
            self.memory.taken.slots = self.ceiling.div_ceil(CHUNK).max(self.slots.chunks());
        }
        self.index.len() < self.ceiling
    }

    /// Makes room for the page of `id`.
    #[cold]
    #[inline(never)]
    pub(super) fn make_page_room(
        &mut self,
        id: StateId,
        ifname: u16,
        now: Now,
        done: &mut impl FnMut(&Now, &Flow),
    ) {
        if self.has_room_for_page(id, ifname) {
            return;
        }
        let Some(longest) = self.expiry_lists.longest_idle(&self.slots) else {
            return;
        };
        for place in self.index.neighbours(self.slots[longest].state_id()) {
            self.end(place, now, End::Evicted, done);
        }
    }

    /// Whether `id` of `ifname` has a page or there is room for one more, if need be in a new chunk.
    pub(super) fn has_room_for_page(&mut self, id: StateId, ifname: u16) -> bool {
        if !self.index.may_take_chunk_for(id, ifname) || self.index.has_page(id, ifname) {
            return true;
        }
        let chunks = self.index.chunks();
        if !self.memory.is_out_of_pages && self.takes(|taken| &mut taken.pages, chunks) {
            return true;
        }
        self.memory.is_out_of_pages = true;
        false
    }

    /// Makes room for one more key pair.
    #[cold]
    #[inline(never)]
    pub(super) fn make_key_room(&mut self, now: Now, done: &mut impl FnMut(&Now, &Flow)) {
        if self.has_room_for_keys() {
            return;
        }
        let owners = (0..LOOKED_AT.min(self.keys.places())).map(|_| {
            self.key_hand = (self.key_hand + 1) % self.keys.places();
            self.keys[self.key_hand].owner
        });
        // None is free: each is some state's.
        if let Some(place) = owners.min_by_key(|owner| self.slots[*owner].seen) {
            self.end(place, now, End::Evicted, done);
        }
    }

    /// Whether there is room for one more key pair, if need be in a new chunk.
    pub(super) fn has_room_for_keys(&mut self) -> bool {
        let chunks = self.keys.chunks();
        !self.keys.is_out() || self.takes(|taken| &mut taken.keys, chunks)
    }

    /// Whether there is room for one more share, if need be in a new chunk.
    pub(super) fn has_room_for_share(&mut self) -> bool {
        let chunks = self.shares.chunks();
        !self.shares.is_out() || self.takes(|taken| &mut taken.shares, chunks)
    }

    /// Whether one more chunk than `chunks` of a kind may be taken, which then counts as taken.
    fn takes(&mut self, kind: impl Fn(&mut Chunks) -> &mut usize, chunks: usize) -> bool {
        let Bound::Octets(octets) = self.settings.states else {
            return true;
        };
        let before = self.memory;
        *kind(&mut self.memory.taken) = chunks + 1;
        if chunks > 0 && self.need(self.memory.taken.slots) > octets {
            self.memory = before;
            return false;
        }
        self.memory.most = self.most();
        true
    }
}
