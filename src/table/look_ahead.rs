//! Finds and reads the states of the next UPD_C before their turn: see [`super::ahead`].

use super::store::Table;
use crate::slab::NONE;
use crate::state::StateId;

impl Table {
    /// UPD_C come. What was found before is forgotten, because states may have ended since.
    #[inline(always)]
    pub fn begin_ahead(&mut self) {
        (self.ahead.told, self.ahead.next) = (0, 0);
    }

    /// A UPD_C about `id` is one of the next.
    #[inline(always)]
    pub fn look_ahead(&mut self, id: StateId) {
        let ahead = &mut self.ahead;
        if ahead.next > 0 {
            (ahead.next, ahead.told) = (0, 0);
        }
        let place = self.index.find(id).unwrap_or(NONE);
        if let Some(at) = ahead.places.get_mut(ahead.told) {
            *at = place;
            ahead.told += 1;
        }
        if place != NONE {
            touch(self.slots[place].shares);
        }
    }

    /// Those that are next were all told of: reads what their slots name.
    #[inline(always)]
    pub fn fetch_beside(&self) {
        let is_large = self.is_large();
        let places = self.ahead.places.iter().take(self.ahead.told);
        for place in places.filter(|place| **place != NONE) {
            let slot = &self.slots[*place];
            if let Some(share) = slot.shares.share() {
                touch(self.shares[share].sender);
            }
            // A list's neighbours are only written to. If there are many states, the processor
            // waits for that.
            if is_large && slot.prev != NONE && slot.next != NONE {
                touch(self.slots[slot.prev].next);
                touch(self.slots[slot.next].prev);
            }
        }
    }

    /// The place of the state that a UPD_C is about.
    #[inline(always)]
    pub(super) fn find_ahead(&mut self, id: StateId) -> Option<u32> {
        let ahead = &mut self.ahead;
        if ahead.next < ahead.told {
            let place = ahead.places.get(ahead.next).copied().unwrap_or(NONE);
            ahead.next += 1;
            if place != NONE && self.slots[place].state_id() == id {
                return Some(place);
            }
        }
        self.index.find(id)
    }
}

/// Reads a value so that it is in the cache. Nothing waits for it.
#[inline(always)]
fn touch<T>(value: T) {
    std::hint::black_box(value);
}
