//! Where each state is, by its id, and which states a CLR is about.
//!
//! ```text
//! id, creatorid --> block of 16 ids --hash table--> page --> place of each of them
//! number of an interface name of a creator --> list of its pages
//! ```
//! A page has states of one interface name only. A block whose states bear several has a page for
//! each, in a ring. So a CLR, which names a creator and perhaps an interface, walks pages of states
//! that it ends and no others, and what that needs is kept once a page, not once a state.
//!
//! Firewalls count their states up. So the next state is mostly of the block that came last, and
//! states that came together mostly go together. An insert and a delete therefore begin with the
//! page of the last one, and only one of 16 has to search. A hash table of states took 100
//! instructions more to learn a state and delete it. With a million alive it took half as much time
//! again. A page with one state left takes as much memory as a full page, about 110 octets. If
//! states end at random, that comes to 23 octets a state.
//!
//! A hash table has to grow from time to time, and then moves all that it holds at once. So there
//! are [`PARTS`] tables. Each grows by itself in a few milliseconds, even if every state has a page
//! of its own. Hashes spread evenly, so tables of equal size would all fill up at the same time.
//! Therefore their sizes differ.
//!
//! Pages that went leave places behind in their table. A table that fills up with such places is
//! made twice as large, too, unless it is less than half full. In the long run each table is of the
//! least size of which its pages take half. The number of pages tells what that comes to
//! ([`Index::octets_of`]). Chance alone makes no larger index. Nobody can choose ids that do,
//! because the hashes have a secret seed.
//!
//! The sizes hold only if hashes of ids that are counted up look random. Those of foldhash's fast
//! hasher do not: each is the last hash plus a constant that the seed makes. With one seed in a
//! thousand some parts got several times their share, and the index became larger than told. The
//! quality hasher multiplies once more and has no such seeds.

use std::collections::HashMap;
use std::hash::BuildHasher;

use foldhash::quality::SeedableRandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::ifnames::FORGOTTEN;
use crate::slab::{CHUNK, NONE, Slab};
use crate::state::StateId;

/// Hash tables. Their heads, 32 octets each, should stay in the cache.
pub(super) const PARTS: usize = 256;

/// Ids in a block. With 8 the million alive takes a tenth more time, with 32 a page for one state
/// takes too much memory.
const IDS: usize = 16;

/// Octets of a hash table of `buckets`: page and tag of each, a group of tags more, and what is
/// left out between.
fn octets_of_part(buckets: usize) -> usize {
    buckets * (size_of::<u32>() + 1) + 32
}

/// What the parts never take with so many entries, the one that just grew counted twice. Part n has
/// those of its share, (2n + 1) / 2^16, and five standard deviations more for chance.
pub(super) fn octets_of_parts(entries: usize) -> usize {
    let (mut all, mut largest) = (size_of::<[HashTable<u32>; PARTS]>(), 0);
    for n in 0..PARTS {
        let share = (entries * (2 * n + 1)) >> 16;
        let most = share + 5 * share.isqrt() + 2;
        // Seven of eight buckets are used, and half of those are enough.
        let part = octets_of_part((most * 16).div_ceil(7).next_power_of_two());
        all += part;
        largest = part.max(largest);
    }
    all + largest
}

/// Ids of one creator that follow each other.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Block {
    /// What they begin with.
    number: u64,
    creatorid: u32,
}

impl Block {
    /// The block of `id`, and which of its ids that is.
    #[inline(always)]
    fn of(id: StateId) -> (Self, usize) {
        let block = Self {
            number: id.id / IDS as u64,
            creatorid: id.creatorid,
        };
        let [last, ..] = id.id.to_le_bytes();
        (block, usize::from(last) % IDS)
    }
}

/// Where those states of a block are that bear one interface name. The block's parts are fields of
/// their own, so that `held` takes octets that would be padding.
#[derive(Clone, Copy, Debug)]
struct Page {
    number: u64,
    creatorid: u32,
    /// How many of them are held.
    held: u32,
    /// Place of each, or NONE.
    places: [u32; IDS],
    /// Neighbours in the list of its name, a ring; NONE: it is in none.
    before: u32,
    behind: u32,
    /// The next page of the same block, a ring.
    sibling: u32,
    /// Number of the name.
    ifname: u16,
}

const _: () = assert!(size_of::<Page>() == 96);

/// Most creators that have a list of states whose name was forgotten. A CLR of a further creator
/// does not end such states.
const MAX_FORGOTTEN: usize = 1 << 14;

impl Page {
    #[inline(always)]
    fn block(&self) -> Block {
        Block {
            number: self.number,
            creatorid: self.creatorid,
        }
    }
}

/// A block that has a page, and its page.
#[derive(Clone, Copy)]
struct Opened {
    block: Block,
    ifname: u16,
    page: u32,
}

impl Opened {
    /// None: no id has this number.
    const NONE: Self = Self {
        block: Block {
            number: u64::MAX,
            creatorid: 0,
        },
        ifname: FORGOTTEN,
        page: NONE,
    };
}

/// Places of states by id.
pub(super) struct Index {
    parts: Box<[HashTable<u32>; PARTS]>,
    pages: Slab<Page>,
    /// The first page of each name, or NONE, by the name's number.
    named: Vec<u32>,
    /// The first page of the states whose name was forgotten, by creator.
    forgotten: HashMap<u32, u32>,
    len: usize,
    hasher: SeedableRandomState,
    /// What the last insert was about.
    inserted: Opened,
    /// What was last taken.
    taken: Opened,
}

impl Default for Index {
    fn default() -> Self {
        Self::with_hasher(SeedableRandomState::random())
    }
}

impl Index {
    fn with_hasher(hasher: SeedableRandomState) -> Self {
        Self {
            parts: Box::new([const { HashTable::new() }; PARTS]),
            pages: Slab::default(),
            named: Vec::new(),
            forgotten: HashMap::new(),
            len: 0,
            hasher,
            inserted: Opened::NONE,
            taken: Opened::NONE,
        }
    }
}

#[inline(always)]
fn hash(hasher: &SeedableRandomState, block: Block) -> u64 {
    hasher.hash_one((block.number, block.creatorid))
}

/// The part that a hash is in: part n has n shares of the whole, as the greater of two octets is n
/// that often. They are octets that a hash table makes no use of itself.
#[inline(always)]
pub(super) fn part(hash: u64) -> usize {
    let [.., one, other, _, _] = hash.to_le_bytes();
    one.max(other).into()
}

#[expect(
    clippy::indexing_slicing,
    reason = "there is a part for every octet, and in a page a place for every id of a block"
)]
impl Index {
    /// States held.
    #[inline(always)]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Octets of memory taken.
    pub(super) fn octets(&self) -> usize {
        let parts = self.parts.iter().map(HashTable::allocation_size);
        size_of::<[HashTable<u32>; PARTS]>() + parts.sum::<usize>() + self.pages.octets()
    }

    /// What [`Self::octets`] never exceed with at most so many chunks of pages.
    pub(super) fn octets_of(chunks: usize) -> usize {
        octets_of_parts(chunks * CHUNK) + Slab::<Page>::octets_of(chunks)
    }

    /// Chunks of pages taken.
    pub(super) fn chunks(&self) -> usize {
        self.pages.chunks()
    }

    /// Whether inserting `id` of `ifname` may take a new chunk of pages. It takes none if the id
    /// continues what came last, or if another page is free.
    #[inline(always)]
    pub(super) fn may_take_chunk_for(&self, id: StateId, ifname: u16) -> bool {
        self.pages.is_out() && !self.continues(Block::of(id).0, ifname)
    }

    /// Whether a state of this block and name goes where the last one went.
    #[inline(always)]
    fn continues(&self, block: Block, ifname: u16) -> bool {
        self.inserted.block == block && self.inserted.ifname == ifname
    }

    /// Whether there is a page for `id` of `ifname`, whoever else is in it.
    pub(super) fn has_page(&self, id: StateId, ifname: u16) -> bool {
        let first = self.page(Block::of(id).0);
        first.is_some_and(|first| self.sibling_of(first, ifname).is_some())
    }

    /// The page of `ifname` among the siblings of `first`.
    fn sibling_of(&self, first: u32, ifname: u16) -> Option<u32> {
        let mut siblings = self.siblings(first);
        siblings.find(|page| self.pages[*page].ifname == ifname)
    }

    /// All pages of the block of `first`, `first` first.
    fn siblings(&self, first: u32) -> impl Iterator<Item = u32> + '_ {
        let next = move |page: &u32| Some(self.pages[*page].sibling).filter(|next| *next != first);
        std::iter::successors(Some(first), next)
    }

    /// The states in the page where `id` is held: their places.
    pub(super) fn neighbours(&self, id: StateId) -> impl Iterator<Item = u32> + use<> {
        let (block, nth) = Block::of(id);
        let mut siblings = self
            .page(block)
            .into_iter()
            .flat_map(|first| self.siblings(first));
        let page = siblings.find(|page| self.pages[*page].places[nth] != NONE);
        self.held_of(page)
    }

    /// The places of the states in a page.
    fn held_of(&self, page: Option<u32>) -> impl Iterator<Item = u32> + use<> {
        let places = page.map_or([NONE; IDS], |page| self.pages[page].places);
        places.into_iter().filter(|place| *place != NONE)
    }

    /// The states in the oldest page of `ifname`, a creator's; nothing if no state bears it.
    pub(super) fn oldest_of(
        &self,
        creatorid: u32,
        ifname: u16,
    ) -> impl Iterator<Item = u32> + use<> {
        let first = match ifname {
            FORGOTTEN => self.forgotten.get(&creatorid),
            _ => self.named.get(usize::from(ifname)),
        };
        self.held_of(first.copied().filter(|first| *first != NONE))
    }

    /// Where the first page of a list stands; `None`: there is no room for one more list.
    fn first_of(&mut self, creatorid: u32, ifname: u16) -> Option<&mut u32> {
        if ifname == FORGOTTEN {
            if self.forgotten.len() >= MAX_FORGOTTEN && !self.forgotten.contains_key(&creatorid) {
                return None;
            }
            return Some(self.forgotten.entry(creatorid).or_insert(NONE));
        }
        let number = usize::from(ifname);
        if number >= self.named.len() {
            self.named.resize(number + 1, NONE);
        }
        self.named.get_mut(number)
    }

    /// Appends a page to the list of its name.
    fn enlist(&mut self, page: u32) {
        let Page {
            creatorid, ifname, ..
        } = self.pages[page];
        let Some(first) = self.first_of(creatorid, ifname) else {
            return;
        };
        if *first == NONE {
            *first = page;
            let page_at = &mut self.pages[page];
            (page_at.before, page_at.behind) = (page, page);
            return;
        }
        let first = *first;
        let last = self.pages[first].before;
        let new = &mut self.pages[page];
        (new.before, new.behind) = (last, first);
        self.pages[last].behind = page;
        self.pages[first].before = page;
    }

    /// Takes a page out of the list of its name.
    fn delist(&mut self, page: u32) {
        let Page {
            creatorid,
            ifname,
            before,
            behind,
            ..
        } = self.pages[page];
        if before == NONE {
            return;
        }
        self.pages[before].behind = behind;
        self.pages[behind].before = before;
        let is_last = behind == page;
        if is_last && ifname == FORGOTTEN {
            self.forgotten.remove(&creatorid);
        } else if let Some(first) = self.first_of(creatorid, ifname)
            && *first == page
        {
            *first = if is_last { NONE } else { behind };
        }
    }

    /// The place of `id`.
    #[inline(always)]
    pub(super) fn find(&self, id: StateId) -> Option<u32> {
        let (block, nth) = Block::of(id);
        self.held(self.search(block)?, nth)
    }

    /// [`Self::find`] of an id that most likely is the neighbour of the last inserted or taken.
    #[inline(always)]
    pub(super) fn find_nearby(&self, id: StateId) -> Option<u32> {
        let (block, nth) = Block::of(id);
        self.held(self.page(block)?, nth)
    }

    /// The place that the `nth` id of a page or of one of its siblings has.
    #[inline(always)]
    fn held(&self, page: u32, nth: usize) -> Option<u32> {
        let Page {
            places, sibling, ..
        } = &self.pages[page];
        match places[nth] {
            NONE if *sibling == page => None,
            NONE => self.held_by_sibling(page, nth),
            place => Some(place),
        }
    }

    #[cold]
    fn held_by_sibling(&self, page: u32, nth: usize) -> Option<u32> {
        let mut places = self.siblings(page).map(|page| self.pages[page].places[nth]);
        places.find(|place| *place != NONE)
    }

    /// Adds a state that is not held yet and bears the name with number `ifname`.
    #[inline(always)]
    pub(super) fn insert(&mut self, id: StateId, ifname: u16, place: u32) {
        let (block, nth) = Block::of(id);
        if !self.continues(block, ifname) {
            self.inserted = self.page_to_be(block, ifname);
        }
        let page = &mut self.pages[self.inserted.page];
        page.places[nth] = place;
        // Neither can be more than there are places.
        page.held = page.held.wrapping_add(1);
        self.len = self.len.wrapping_add(1);
    }

    /// Takes `id` out; the place that it had.
    #[inline(always)]
    pub(super) fn take(&mut self, id: StateId) -> Option<u32> {
        let (block, nth) = Block::of(id);
        if self.taken.block != block {
            self.taken = self.opened(block, self.page(block)?);
        }
        let page = &mut self.pages[self.taken.page];
        let place = std::mem::replace(&mut page.places[nth], NONE);
        if place == NONE {
            return self.take_from_sibling(id, nth);
        }
        // It was counted when it came.
        self.len = self.len.wrapping_sub(1);
        page.held = page.held.wrapping_sub(1);
        if page.held == 0 {
            self.free(self.taken);
        }
        Some(place)
    }

    #[inline(always)]
    fn opened(&self, block: Block, page: u32) -> Opened {
        let ifname = self.pages[page].ifname;
        Opened {
            block,
            ifname,
            page,
        }
    }

    /// [`Self::take`] of the `nth` id of its block that is not in the page that was looked at.
    #[cold]
    #[inline(never)]
    fn take_from_sibling(&mut self, id: StateId, nth: usize) -> Option<u32> {
        let Opened { block, page, .. } = self.taken;
        let page = self
            .siblings(page)
            .find(|page| self.pages[*page].places[nth] != NONE)?;
        self.taken = self.opened(block, page);
        self.take(id)
    }

    /// A page of `block`, if it has one.
    #[inline(always)]
    fn page(&self, block: Block) -> Option<u32> {
        if self.inserted.block == block {
            return Some(self.inserted.page);
        }
        if self.taken.block == block {
            return Some(self.taken.page);
        }
        self.search(block)
    }

    #[inline(never)]
    fn search(&self, block: Block) -> Option<u32> {
        let hash = hash(&self.hasher, block);
        let is_it = |page: &u32| self.pages[*page].block() == block;
        self.parts[part(hash)].find(hash, is_it).copied()
    }

    /// The page of `block` for `ifname`, a new one if it has none.
    #[inline(never)]
    fn page_to_be(&mut self, block: Block, ifname: u16) -> Opened {
        let page = self.page_of_block(block, ifname);
        Opened {
            block,
            ifname,
            page,
        }
    }

    fn page_of_block(&mut self, block: Block, ifname: u16) -> u32 {
        let next = self.pages.upcoming();
        let new = Page {
            number: block.number,
            creatorid: block.creatorid,
            held: 0,
            places: [NONE; IDS],
            before: NONE,
            behind: NONE,
            sibling: next,
            ifname,
        };
        let (hasher, pages) = (&self.hasher, &self.pages);
        let is_it = |page: &u32| pages[*page].block() == block;
        let hash_of = |page: &u32| hash(hasher, pages[*page].block());
        let hash = hash(hasher, block);
        match self.parts[part(hash)].entry(hash, is_it, hash_of) {
            Entry::Occupied(first) => {
                let first = *first.get();
                if let Some(page) = self.sibling_of(first, ifname) {
                    return page;
                }
                let sibling = std::mem::replace(&mut self.pages[first].sibling, next);
                self.pages.insert(Page { sibling, ..new });
            }
            Entry::Vacant(vacant) => {
                self.pages.insert(new);
                vacant.insert(next);
            }
        }
        self.enlist(next);
        next
    }

    /// Frees a page in which no state is left.
    #[inline(never)]
    fn free(&mut self, Opened { block, page, .. }: Opened) {
        let hash = hash(&self.hasher, block);
        let is_it = |other: &u32| *other == page;
        let sibling = self.pages[page].sibling;
        let is_alone = sibling == page;
        let before = self
            .siblings(sibling)
            .find(|one| self.pages[*one].sibling == page);
        if let Some(before) = before {
            self.pages[before].sibling = sibling;
        }
        // Of several siblings one stands for all.
        match self.parts[part(hash)].find_entry(hash, is_it) {
            Ok(entry) if is_alone => {
                entry.remove();
            }
            Ok(mut entry) => *entry.get_mut() = sibling,
            Err(_) => debug_assert!(!is_alone),
        }
        self.delist(page);
        self.pages.free(page);
        for opened in [&mut self.inserted, &mut self.taken] {
            if opened.page == page {
                *opened = Opened::NONE;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use foldhash::SharedSeed;

    use super::*;

    /// A hasher that is the same each time.
    fn hasher(seed: u64) -> SeedableRandomState {
        let shared = Box::leak(Box::new(SharedSeed::from_u64(seed)));
        SeedableRandomState::with_seed(seed, shared)
    }

    /// With the first three seeds the fast hasher's index becomes larger than told.
    const SEEDS: [u64; 8] = [2, 1240, 2771, 10, 11, 12, 13, 14];

    fn block(number: u64) -> Block {
        Block {
            number: 0x0680_0000_0000_0000 + number,
            creatorid: 1,
        }
    }

    #[test]
    fn few_pages_move_at_a_time_when_ids_are_counted_up() {
        const A_TIME: usize = 1000;
        for seed in SEEDS {
            let hasher = hasher(seed);
            let mut parts = [0_usize; PARTS];
            let mut moved_lately = 0;
            for n in 0..1_000_000 {
                let pages = &mut parts[part(hash(&hasher, block(n as u64)))];
                // A table is made anew, twice as large, when seven of eight buckets are taken.
                if (*pages * 8).is_multiple_of(7) && (*pages * 8 / 7).is_power_of_two() {
                    moved_lately += *pages;
                }
                *pages += 1;
                if n % A_TIME == 0 {
                    assert!(
                        moved_lately <= 10_000 + n / 20,
                        "{seed}: {moved_lately} of {n}"
                    );
                    moved_lately = 0;
                }
            }
        }
    }

    #[test]
    fn parts_are_filled_by_chance_in_whatever_steps_ids_are_counted() {
        const PAGES: usize = 8192;
        let steps = [1, 1 << 12, 1 << 32, 1 << 48, 0x9e37_79b1];
        for seed in SEEDS.into_iter().chain(100..130) {
            let hasher = hasher(seed);
            for step in steps {
                let mut parts = [0_usize; PARTS];
                for n in 0..PAGES as u64 {
                    parts[part(hash(&hasher, block(n * step)))] += 1;
                }
                for (n, pages) in parts.into_iter().enumerate() {
                    let share = (PAGES * (2 * n + 1)) >> 16;
                    let most = 6 + share + 5 * share.isqrt();
                    assert!(pages <= most, "{seed}, {step}: {pages} in part {n}");
                }
            }
        }
    }

    /// What an index should say.
    #[derive(Default)]
    struct Model {
        places: HashMap<(u32, u64), u32>,
        names: HashMap<u32, u16>,
    }

    impl Model {
        fn blocks(&self) -> usize {
            let blocks = self.places.keys();
            let blocks = blocks.map(|(creatorid, id)| (*creatorid, id / IDS as u64));
            blocks.collect::<std::collections::HashSet<_>>().len()
        }

        /// Every list has just the states of its name.
        fn check_lists(&self, index: &Index) {
            let mut listed = 0;
            for (number, &first) in index.named.iter().enumerate() {
                let mut page = first;
                while page != NONE {
                    for place in index.held_of(Some(page)) {
                        assert_eq!(usize::from(self.names[&place]), number);
                        listed += 1;
                    }
                    page = index.pages[page].behind;
                    assert_eq!(index.pages[index.pages[page].before].behind, page);
                    if page == first {
                        break;
                    }
                }
            }
            assert_eq!(listed, self.places.len());
        }
    }

    #[test]
    fn a_state_is_found_from_its_insert_until_it_is_taken_whoever_counts_and_however() {
        let (mut index, mut model) = (Index::default(), Model::default());
        for step in 0..60_000_u32 {
            // Counted up, counted down, and to and fro; creators in turn and in runs; the greatest id.
            let id = StateId {
                id: match step % 4 {
                    0 => u64::from(step / 3),
                    1 => u64::from(100_000 - step),
                    2 => u64::from(step.wrapping_mul(0x9e37_79b9) >> 20),
                    _ => u64::MAX - u64::from(step % 50),
                },
                creatorid: step / 7 % 5,
            };
            let key = (id.creatorid, id.id);
            // Two names of each creator, in no order.
            let name = u16::try_from(2 * id.creatorid + 1 + (step >> 3) % 2).unwrap();
            assert_eq!(index.find(id), model.places.get(&key).copied(), "{id}");
            assert_eq!(index.find_nearby(id), index.find(id), "{id}");
            if step % 5 == 4 || model.places.contains_key(&key) {
                assert_eq!(index.take(id), model.places.remove(&key), "{id}");
                assert_eq!(index.take(id), None);
                assert_eq!(index.find(id), None);
            } else {
                index.insert(id, name, step);
                model.places.insert(key, step);
                model.names.insert(step, name);
            }
            assert_eq!(index.len(), model.places.len());
            if step % 1000 == 0 {
                let pages: usize = index.parts.iter().map(HashTable::len).sum();
                assert_eq!(pages, model.blocks());
                model.check_lists(&index);
                for (&(creatorid, id), &place) in &model.places {
                    assert_eq!(index.find(StateId { id, creatorid }), Some(place));
                }
            }
        }
        assert!(index.len() > 10_000);
    }

    #[test]
    fn a_page_that_was_freed_is_nobodys_until_it_is_used_again() {
        let mut index = Index::default();
        let id = |id| StateId { id, creatorid: 1 };
        index.insert(id(3), 1, 7);
        assert_eq!(index.take(id(3)), Some(7));
        // The same block, after its page went.
        index.insert(id(4), 1, 8);
        assert_eq!(index.find(id(4)), Some(8));
        assert_eq!(index.take(id(4)), Some(8));
        // Another block gets that page.
        index.insert(id(20), 1, 9);
        assert_eq!(index.find_nearby(id(4)), None);
        assert_eq!(index.take(id(4)), None);
        assert_eq!(index.find(id(20)), Some(9));
        assert_eq!(index.len(), 1);
    }

    #[test]
    fn neighbours_are_the_states_of_one_block_that_are_held() {
        let mut index = Index::default();
        let id = |id, creatorid| StateId { id, creatorid };
        let all = [(31, 1), (32, 1), (47, 1), (40, 1), (48, 1), (40, 2)];
        for (place, (number, creatorid)) in (0..).zip(all) {
            index.insert(
                id(number, creatorid),
                u16::try_from(creatorid).unwrap(),
                place,
            );
        }
        let of = |index: &Index, number| index.neighbours(id(number, 1)).collect::<Vec<_>>();
        assert_eq!(of(&index, 32), [1, 3, 2]);
        assert_eq!(of(&index, 31), [0]);
        index.take(id(32, 1));
        assert_eq!(of(&index, 40), [3, 2]);
        assert!(of(&index, 64).is_empty() && of(&index, 35).is_empty());
    }

    #[test]
    fn states_whose_name_was_forgotten_are_listed_by_creator() {
        let mut index = Index::default();
        let id = |id, creatorid| StateId { id, creatorid };
        for (place, creatorid) in [(0, 1), (1, 2), (2, 1)] {
            index.insert(id(100 * u64::from(place), creatorid), FORGOTTEN, place);
        }
        let of = |index: &Index, creator| index.oldest_of(creator, FORGOTTEN).collect::<Vec<_>>();
        assert_eq!((of(&index, 1), of(&index, 2)), (vec![0], vec![1]));
        index.take(id(0, 1));
        assert_eq!(of(&index, 1), [2]);
        index.take(id(200, 1));
        assert!(of(&index, 1).is_empty() && index.forgotten.len() == 1);
    }

    #[test]
    fn an_index_takes_no_more_than_its_pages_tell_however_long_they_come_and_go() {
        for seed in SEEDS {
            takes_no_more_than_its_pages_tell(hasher(seed), 8);
        }
        takes_no_more_than_its_pages_tell(SeedableRandomState::random(), 40);
    }

    /// States of which two chunks of pages are held at a time come and go that often.
    fn takes_no_more_than_its_pages_tell(hasher: SeedableRandomState, times: u64) {
        let mut index = Index::with_hasher(hasher);
        let id = |n: u64| StateId {
            // Each has a page of its own.
            id: n * IDS as u64,
            creatorid: 1,
        };
        let held = 2 * CHUNK as u64;
        let most = Index::octets_of(2);
        for n in 0..times * held {
            index.insert(id(n), 1, 0);
            if let Some(old) = (n + 1).checked_sub(held) {
                index.take(id(old));
            }
            if n % 512 == 0 {
                let octets = index.octets();
                assert!(octets <= most, "{n}: {octets} octets, at most {most}");
            }
        }
        assert_eq!(index.chunks(), 2);
    }
}
