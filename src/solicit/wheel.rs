//! When each state is due: lists of states by the tick they are due in, and a queue of those that
//! are due and wait for their turn.
//!
//! ```text
//! near   a slot for each of the next 128 ticks      now |#| | |#| ... | |    due in this very tick
//! far    a slot for each of the next 255 turns of near  | |#|#| ... | |      put into near at its turn
//! ready  first come, first served
//! ```
//! The lists run through the entries themselves. So a state is in one list at most, no operation
//! allocates, and none takes longer the more states there are. What is due beyond the last far slot
//! waits in that slot and is put off again.

use crate::slab::{NONE, Slab};

/// A time in ticks since the wheel was made.
pub(super) type Tick = u32;

/// Slots of one tick.
const NEAR: u32 = 128;
/// Slots of `NEAR` ticks.
const FAR: u32 = 256;
/// The list of what is ready.
const READY: u32 = NEAR + FAR;
/// How many lists there are.
const LISTS: u32 = READY + 1;
/// The list of what is in none.
const NO_LIST: u32 = u32::MAX;

/// An entry's place in a list.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    /// When it is due.
    due: Tick,
    prev: u32,
    next: u32,
    list: u32,
}

impl Default for Link {
    fn default() -> Self {
        Self {
            due: 0,
            prev: NONE,
            next: NONE,
            list: NO_LIST,
        }
    }
}

impl Link {
    /// When it is due, if it is in a list of what is due later.
    pub(super) fn due(&self) -> Option<Tick> {
        (self.list < READY).then_some(self.due)
    }

    /// When it became ready, if it is.
    pub(super) fn since(&self) -> Tick {
        self.due
    }

    /// Whether it is in the queue of what is ready.
    pub(super) fn is_ready(&self) -> bool {
        self.list == READY
    }
}

/// What a wheel turns.
pub(super) trait Linked {
    fn link(&mut self) -> &mut Link;
}

#[derive(Clone, Copy)]
struct List {
    head: u32,
    tail: u32,
}

/// All lists; the entries are the caller's.
pub(super) struct Wheel {
    lists: Vec<List>,
    now: Tick,
    /// How many entries are in `near` and `far`.
    waiting: usize,
}

impl Wheel {
    pub(super) fn new() -> Self {
        let empty = List {
            head: NONE,
            tail: NONE,
        };
        Self {
            lists: vec![empty; LISTS as usize],
            now: 0,
            waiting: 0,
        }
    }

    /// Puts an entry where it comes up at `due`, or in the next tick if that is over.
    pub(super) fn insert(&mut self, entries: &mut Slab<impl Linked>, place: u32, due: Tick) {
        self.put(entries, place, due.max(self.now.saturating_add(1)));
    }

    /// Puts an entry that is ready since `now` behind the others.
    pub(super) fn insert_ready(&mut self, entries: &mut Slab<impl Linked>, place: u32, now: Tick) {
        entries[place].link().due = now;
        self.append(entries, place, READY);
    }

    /// Takes an entry out of the list it is in, if it is in one.
    pub(super) fn remove(&mut self, entries: &mut Slab<impl Linked>, place: u32) {
        let link = std::mem::take(entries[place].link());
        if link.list == NO_LIST {
            return;
        }
        self.waiting -= usize::from(link.list < READY);
        let list = self.list(link.list);
        if link.prev == NONE {
            list.head = link.next;
        }
        if link.next == NONE {
            list.tail = link.prev;
        }
        if link.prev != NONE {
            entries[link.prev].link().next = link.next;
        }
        if link.next != NONE {
            entries[link.next].link().prev = link.prev;
        }
    }

    /// Takes the next entry out that is due at `to` or before, in the order of ticks.
    pub(super) fn pop_due(&mut self, entries: &mut Slab<impl Linked>, to: Tick) -> Option<u32> {
        loop {
            let place = self.list(self.now % NEAR).head;
            if place != NONE {
                self.remove(entries, place);
                return Some(place);
            }
            if self.now >= to {
                return None;
            }
            if self.waiting == 0 {
                self.now = to;
                return None;
            }
            self.now += 1;
            if self.now.is_multiple_of(NEAR) {
                self.refill(entries);
            }
        }
    }

    /// The entry that is ready and came first.
    pub(super) fn first_ready(&self) -> Option<u32> {
        let head = self.lists.last().map_or(NONE, |list| list.head);
        (head != NONE).then_some(head)
    }

    /// No entry is due before this.
    pub(super) fn next_due(&self) -> Option<Tick> {
        if self.waiting == 0 {
            return None;
        }
        let is_filled = |list: u32| {
            let list = self.lists.get(list as usize);
            list.is_some_and(|list| list.head != NONE)
        };
        let near = (0..NEAR).map(|ahead| self.now.saturating_add(ahead));
        let near = near.filter(|tick| is_filled(tick % NEAR)).min();
        let turn = self.now / NEAR;
        let far = (1..FAR).map(|ahead| turn.saturating_add(ahead));
        let far = far.filter(|turn| is_filled(NEAR + turn % FAR)).min();
        let far = far.map(|turn| turn.saturating_mul(NEAR));
        near.into_iter().chain(far).min()
    }

    /// Spreads the far slot whose turn it is over the near ones.
    fn refill(&mut self, entries: &mut Slab<impl Linked>) {
        let far = NEAR + self.now / NEAR % FAR;
        let mut place = std::mem::replace(
            self.list(far),
            List {
                head: NONE,
                tail: NONE,
            },
        )
        .head;
        while place != NONE {
            let link = std::mem::take(entries[place].link());
            self.waiting -= 1;
            self.put(entries, place, link.due);
            place = link.next;
        }
    }

    /// Puts an entry into its slot; `due` is not over.
    fn put(&mut self, entries: &mut Slab<impl Linked>, place: u32, due: Tick) {
        let list = if due.saturating_sub(self.now) < NEAR {
            due % NEAR
        } else {
            let turn = (due / NEAR).min((self.now / NEAR).saturating_add(FAR - 1));
            NEAR + turn % FAR
        };
        entries[place].link().due = due;
        self.waiting += 1;
        self.append(entries, place, list);
    }

    fn append(&mut self, entries: &mut Slab<impl Linked>, place: u32, number: u32) {
        let list = self.list(number);
        let tail = std::mem::replace(&mut list.tail, place);
        if tail == NONE {
            list.head = place;
        } else {
            entries[tail].link().next = place;
        }
        let link = entries[place].link();
        (link.prev, link.next, link.list) = (tail, NONE, number);
    }

    #[expect(
        clippy::indexing_slicing,
        reason = "numbers are remainders of the counts of lists"
    )]
    fn list(&mut self, number: u32) -> &mut List {
        &mut self.lists[number as usize]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    impl Linked for Link {
        fn link(&mut self) -> &mut Link {
            self
        }
    }

    /// A wheel of `n` entries that are in no list.
    fn wheel(n: u32) -> (Wheel, Slab<Link>) {
        let mut entries = Slab::default();
        for _ in 0..n {
            entries.insert(Link::default());
        }
        (Wheel::new(), entries)
    }

    #[test]
    fn what_is_ready_comes_in_order_whoever_leaves() {
        let (mut wheel, mut entries) = wheel(4);
        for place in 0..4 {
            wheel.insert_ready(&mut entries, place, 0);
        }
        wheel.remove(&mut entries, 0);
        wheel.remove(&mut entries, 2);
        assert_eq!(wheel.first_ready(), Some(1));
        wheel.remove(&mut entries, 1);
        wheel.insert_ready(&mut entries, 0, 0);
        assert_eq!(wheel.first_ready(), Some(3));
        wheel.remove(&mut entries, 3);
        assert_eq!(wheel.first_ready(), Some(0));
        wheel.remove(&mut entries, 0);
        assert_eq!(wheel.first_ready(), None);
        assert_eq!(wheel.next_due(), None);
    }

    #[test]
    fn a_day_is_further_than_the_last_slot_and_still_comes_in_its_tick() {
        let (mut wheel, mut entries) = wheel(1);
        wheel.insert(&mut entries, 0, 864_000);
        assert_eq!(wheel.pop_due(&mut entries, 863_999), None);
        assert_eq!(wheel.next_due(), Some(864_000));
        assert_eq!(wheel.pop_due(&mut entries, 864_000), Some(0));
    }

    proptest! {
        #[test]
        fn each_entry_comes_up_once_in_its_tick_unless_it_was_taken_out(
            steps in prop::collection::vec((0_u32..50, 0_u32..60_000, 0_u32..500), 1..300),
        ) {
            let (mut wheel, mut entries) = wheel(50);
            let mut expected = BTreeMap::new();
            let mut now = 0;
            for (place, delay, step) in steps {
                wheel.remove(&mut entries, place);
                expected.remove(&place);
                if delay % 7 != 0 {
                    wheel.insert(&mut entries, place, now + delay);
                    expected.insert(place, (now + delay).max(now + 1));
                }
                let first = expected.values().min().copied();
                prop_assert_eq!(wheel.next_due().is_none(), first.is_none());
                prop_assert!(wheel.next_due() <= first);
                now += step;
                let mut latest = 0;
                while let Some(place) = wheel.pop_due(&mut entries, now) {
                    let due = expected.remove(&place);
                    prop_assert!(due.is_some_and(|due| due <= now && due >= latest), "{due:?}");
                    latest = due.unwrap_or(0);
                }
                prop_assert!(expected.values().all(|due| *due > now));
                prop_assert!(wheel.next_due().is_none_or(|due| due > now));
            }
        }
    }
}
