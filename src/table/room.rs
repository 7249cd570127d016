//! Room for one more state, key pair, share or page is taken or made: see [`super::memory`].

use super::connections::Connections;
use super::index::Index;
use super::memory::{Bound, Chunks};
use super::slot::{KeyPair, Share, Slot};
use super::store::Table;
use super::watch::{Event, WATCHER_OCTETS};
use crate::flow::{End, Flow};
use crate::slab::{CHUNK, Slab};
use crate::state::StateId;
use crate::time::Now;

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

    /// Makes room for one more state than the ceiling allows. After the bound was lowered, each new
    /// state takes two out until the bound is reached.
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
