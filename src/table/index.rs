//! Where each state is, by its id.
//!
//! A hash table has to grow from time to time, and then moves all it holds at once, looking at the
//! slot of each: that of seven million states took 0.7 s, in which nothing else was done. So there
//! are [`PARTS`] of them, each of which grows by itself in a few milliseconds. They are of unequal
//! size, for equal ones would fill up at the same time: ids are counted up, and their hashes are
//! more even than chance.
//!
//! A table that fills up with places left behind by states that went is made twice as large, too,
//! unless it is less than half full: in the long run each is of the least size of which its states
//! take half. What that comes to is known from their number ([`Index::octets_of`]), but for chance:
//! an index that is larger will not be seen, as long as nobody knows what hashes are made of.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::slot::Slots;
use crate::state::StateId;

/// Hash tables. Their heads, 32 octets each, should stay in the cache.
const PARTS: usize = 256;

/// Ids that are neighbours in their hash table: a firewall counts its states up, so that what comes
/// next is in the cache, and what came together mostly goes together.
const BLOCK: u32 = 16;

/// Octets of a hash table of `buckets`: place and tag of each, a group of tags more, and what is
/// left out between.
fn octets_of_part(buckets: usize) -> usize {
    buckets * (size_of::<u32>() + 1) + 32
}

/// Most creators whose highest id is known.
const MAX_CREATORS: usize = 64;

/// The highest id that each creator's states had: what is beyond that is not held.
#[derive(Default)]
struct Highest {
    /// Creators and their highest ids, all that ever had a state until there are too many.
    creators: Vec<(u32, u64)>,
    /// Place of the one whose state came last: they come in runs.
    latest: usize,
}

impl Highest {
    #[inline(always)]
    fn is_below(&self, id: StateId) -> bool {
        let latest = self.creators.get(self.latest);
        latest.is_some_and(|(creatorid, highest)| *creatorid == id.creatorid && *highest < id.id)
    }

    #[inline(always)]
    fn note(&mut self, id: StateId) {
        match self.creators.get_mut(self.latest) {
            Some((creatorid, highest)) if *creatorid == id.creatorid => {
                *highest = id.id.max(*highest);
            }
            _ => self.note_other(id),
        }
    }

    #[cold]
    fn note_other(&mut self, id: StateId) {
        let mut creators = self.creators.iter_mut();
        if let Some(place) = creators.position(|(creatorid, _)| *creatorid == id.creatorid) {
            self.latest = place;
            self.note(id);
        } else if self.creators.len() < MAX_CREATORS {
            self.latest = self.creators.len();
            self.creators.push((id.creatorid, id.id));
        }
    }
}

/// Places of states by id.
pub(super) struct Index {
    parts: Box<[HashTable<u32>; PARTS]>,
    len: usize,
    hasher: RandomState,
    highest: Highest,
}

impl Default for Index {
    fn default() -> Self {
        Self {
            parts: Box::new([const { HashTable::new() }; PARTS]),
            len: 0,
            hasher: RandomState::default(),
            highest: Highest::default(),
        }
    }
}

/// A block's place is chance, and its ids follow each other from there, in the low bits, where a
/// hash table takes the bucket from. It tells them apart by the seven highest.
#[inline(always)]
fn hash(hasher: &RandomState, id: StateId) -> u64 {
    let block = hasher.hash_one((id.id / u64::from(BLOCK), id.creatorid));
    block.wrapping_add(id.id.wrapping_mul(1 << 57 | 1))
}

/// The part that a hash is in: part n has n shares of the whole, as the greater of two octets is n
/// that often. They are octets that a hash table makes no use of itself.
#[inline(always)]
fn part(hash: u64) -> usize {
    let [.., one, other, _, _] = hash.to_le_bytes();
    one.max(other).into()
}

#[expect(clippy::indexing_slicing, reason = "there is a part for every octet")]
impl Index {
    /// States held.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Octets of memory taken.
    pub(super) fn octets(&self) -> usize {
        let parts = self.parts.iter().map(HashTable::allocation_size);
        parts.sum::<usize>() + size_of::<[HashTable<u32>; PARTS]>()
    }

    /// What [`Self::octets`] never exceed while at most `states` are held, the one part that just
    /// grows counted twice. Part n has the states of a share of (2n + 1) / 2^16 and, by chance, five
    /// standard deviations more: those of whole blocks.
    pub(super) fn octets_of(states: usize) -> usize {
        let (mut all, mut largest) = (size_of::<[HashTable<u32>; PARTS]>(), 0);
        for n in 0..PARTS {
            let share = (states * (2 * n + 1)) >> 16;
            let most = share + 5 * (share * BLOCK as usize).isqrt() + 17;
            // Seven of eight buckets are used, and half of those are enough.
            let part = octets_of_part((most * 16).div_ceil(7).next_power_of_two());
            all += part;
            largest = part.max(largest);
        }
        all + largest
    }

    /// The place of `id`.
    #[inline(always)]
    pub(super) fn find(&self, id: StateId, slots: &Slots) -> Option<u32> {
        let hash = hash(&self.hasher, id);
        let is_it = |place: &u32| slots[*place].state_id() == id;
        self.parts[part(hash)].find(hash, is_it).copied()
    }

    /// [`Self::find`] of what most likely is not held: an id beyond all that its creator counted up
    /// to so far needs no search.
    #[inline(always)]
    pub(super) fn find_new(&self, id: StateId, slots: &Slots) -> Option<u32> {
        if self.highest.is_below(id) {
            return None;
        }
        self.find(id, slots)
    }

    /// Adds a state that is not held yet.
    #[inline(always)]
    pub(super) fn insert(&mut self, id: StateId, place: u32, slots: &Slots) {
        let hasher = &self.hasher;
        let hash_of = hash(hasher, id);
        self.parts[part(hash_of)].insert_unique(hash_of, place, |place| {
            hash(hasher, slots[*place].state_id())
        });
        self.len += 1;
        self.highest.note(id);
    }

    /// Takes `id` out; the place that it had.
    #[inline(always)]
    pub(super) fn take(&mut self, id: StateId, slots: &Slots) -> Option<u32> {
        let hash = hash(&self.hasher, id);
        let is_it = |place: &u32| slots[*place].state_id() == id;
        let entry = self.parts[part(hash)].find_entry(hash, is_it).ok()?;
        self.len -= 1;
        Some(entry.remove().0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::slot::{Birth, Moment, Second, Slot};
    use super::*;
    use crate::slab::NONE;
    use crate::state::{Address, Af, Direction, StateKey};
    use crate::time::Uptime;

    #[test]
    fn few_states_move_at_a_time_when_ids_are_counted_up() {
        const A_TIME: usize = 1000;
        let hasher = RandomState::default();
        let mut parts = [0_usize; PARTS];
        let mut moved_lately = 0;
        for n in 0..1_000_000 {
            let id = 0x6800_0000_0000_0000 + n as u64;
            let states = &mut parts[part(hash(&hasher, StateId { id, creatorid: 1 }))];
            // A table is made anew, twice as large, when seven of eight buckets are taken.
            if (*states * 8).is_multiple_of(7) && (*states * 8 / 7).is_power_of_two() {
                moved_lately += *states;
            }
            *states += 1;
            if n % A_TIME == 0 {
                assert!(moved_lately <= 10_000 + n / 20, "{moved_lately} of {n}");
                moved_lately = 0;
            }
        }
    }

    #[test]
    fn an_id_is_new_only_if_it_is_not_held_whoever_counts_and_however() {
        let key = StateKey {
            af: Af::Inet,
            proto: 17,
            rdomain: 0,
            addr: [Address::default(); 2],
            port: [0; 2],
        };
        let (mut index, mut slots) = (Index::default(), Slots::default());
        // More creators than are known, in turn and in runs, counting up, down, and to and fro.
        let creators = u32::try_from(MAX_CREATORS).unwrap() + 3;
        for step in 0..40_000_u32 {
            let id = StateId {
                id: u64::from(match step % 3 {
                    0 => step,
                    1 => 100_000 - step,
                    _ => step.wrapping_mul(0x9e37_79b9) >> 16,
                }),
                creatorid: step / 7 % creators,
            };
            let held = index.find(id, &slots);
            assert_eq!(index.find_new(id, &slots), held, "{id}");
            if held.is_none() {
                let place = slots.insert(Slot::new(Birth {
                    id,
                    wire: &key,
                    direction: Direction::In,
                    pflow: true,
                    ifname: 0,
                    creation: Second::NEVER,
                    sender: 0,
                    pftm: 0,
                    seen: Uptime::default(),
                    full: Moment::new(Uptime::default()),
                    keys: NONE,
                }));
                index.insert(id, place, &slots);
            } else if step % 2 == 0 {
                index.take(id, &slots);
            }
        }
        assert!(index.len() > 10_000);
    }
}
