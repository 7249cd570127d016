//! Which state has been silent longest, and which ends next.
//!
//! States of one sender in one PFTM live equally long after their last message, so a list of them
//! in the order of that message is also in the order of their deadlines:
//!
//! ```text
//! (sender, PFTM, overdue or not)   head <-> ... <-> ... <-> tail
//!                                  longest silent           just heard of
//! ```
//! A state that is heard of moves to its list's tail. Only a head can be due or longest silent, so
//! a heap holds one entry a list. An entry may be older than its head, because the head of a list
//! only gets younger. The entry is put right when it comes up.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::slot::DELETED;
use super::slot::{Slot, Slots};
use crate::slab::NONE;
use crate::state::PFTM_COUNT;
use crate::time::Uptime;

/// What the states of a list have in common: they are due equally long after their last message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Class {
    /// Who sent the last message.
    pub(super) sender: u16,
    /// The timeout they are in.
    pub(super) pftm: u8,
    /// Whether they are overdue already.
    pub(super) is_overdue: bool,
}

/// Where a state is in its list.
#[derive(Clone, Copy)]
pub(super) struct Links {
    class: Class,
    prev: u32,
    next: u32,
}

impl Links {
    #[inline(always)]
    pub(super) fn of(slot: &Slot) -> Self {
        Self {
            class: Class::of(slot),
            prev: slot.prev,
            next: slot.next,
        }
    }
}

/// Number of a class's list.
type ListId = u32;

/// PFTM numbers that states can have, and [`DELETED`], in a power of two: a list's number is then
/// made of bits.
const PFTMS: u32 = 32;
const _: () = assert!(PFTMS as usize > PFTM_COUNT && DELETED as u32 % PFTMS == PFTMS - 1);
/// Lists of one sender.
const LISTS: u32 = 2 * PFTMS;

impl Class {
    #[inline(always)]
    pub(super) fn of(slot: &Slot) -> Self {
        Self {
            sender: slot.sender,
            pftm: slot.pftm,
            is_overdue: slot.is_overdue,
        }
    }

    #[inline(always)]
    fn list(self) -> ListId {
        // Cut to its bits DELETED is the last, and others are as they were.
        let pftm = u32::from(self.pftm) % PFTMS;
        // Nothing here can overflow, and nothing asks whether it did.
        u32::from(self.sender) << LISTS.ilog2() | pftm << 1 | u32::from(self.is_overdue)
    }

    fn of_list(id: ListId) -> Self {
        let rest = id % LISTS;
        Self {
            sender: u16::try_from(id / LISTS).unwrap_or(u16::MAX),
            pftm: u8::try_from(rest / 2)
                .ok()
                .filter(|pftm| usize::from(*pftm) < PFTM_COUNT)
                .unwrap_or(DELETED),
            is_overdue: rest % 2 == 1,
        }
    }
}

#[derive(Clone, Copy)]
struct List {
    head: u32,
    tail: u32,
    /// Whether the heaps have an entry of it.
    is_due_queued: bool,
    is_idle_queued: bool,
}

const EMPTY: List = List {
    head: NONE,
    tail: NONE,
    is_due_queued: false,
    is_idle_queued: false,
};

/// All lists.
#[derive(Default)]
pub(super) struct ExpiryLists {
    lists: Vec<List>,
    /// Earliest deadline first, each a lower bound of its list's.
    due: BinaryHeap<Reverse<(Uptime, ListId)>>,
    /// Longest silent first, likewise.
    idle: BinaryHeap<Reverse<(Uptime, ListId)>>,
}

#[expect(
    clippy::indexing_slicing,
    reason = "append makes a list before its number is used"
)]
impl ExpiryLists {
    /// Appends the state at `place`, which need not be there yet, to the list of `class`: the
    /// neighbour that it has to name before it, and none after. `deadline` tells when a state of a
    /// class last heard of at a time is due.
    #[inline(always)]
    pub(super) fn append(
        &mut self,
        slots: &mut Slots,
        place: u32,
        class: Class,
        seen: Uptime,
        deadline: impl Fn(Class, Uptime) -> Uptime,
    ) -> u32 {
        let id = class.list();
        if id as usize >= self.lists.len() {
            self.lists.resize(id as usize + 1, EMPTY);
        }
        let list = &mut self.lists[id as usize];
        let tail = std::mem::replace(&mut list.tail, place);
        if tail == NONE {
            list.head = place;
        } else {
            slots[tail].next = place;
        }
        if !list.is_due_queued {
            list.is_due_queued = true;
            self.due.push(Reverse((deadline(class, seen), id)));
        }
        if !list.is_idle_queued {
            list.is_idle_queued = true;
            self.idle.push(Reverse((seen, id)));
        }
        tail
    }

    /// Takes the state at `place` out of its list.
    pub(super) fn unlink(&mut self, slots: &mut Slots, place: u32) {
        let links = Links::of(&slots[place]);
        self.unlink_between(slots, links);
    }

    /// [`Self::unlink`] of a state with these links.
    #[inline(always)]
    pub(super) fn unlink_between(&mut self, slots: &mut Slots, links: Links) {
        let Links { class, prev, next } = links;
        if prev == NONE || next == NONE {
            let list = &mut self.lists[class.list() as usize];
            if prev == NONE {
                list.head = next;
            }
            if next == NONE {
                list.tail = prev;
            }
        }
        if prev != NONE {
            slots[prev].next = next;
        }
        if next != NONE {
            slots[next].prev = prev;
        }
    }

    /// Moves the state at `place`, which has these links, to the end of its list: it was heard of just
    /// now.
    #[inline(always)]
    pub(super) fn move_to_tail(&mut self, slots: &mut Slots, place: u32, links: Links) {
        let Links { class, prev, next } = links;
        if next == NONE {
            return;
        }
        let list = &mut self.lists[class.list() as usize];
        let tail = std::mem::replace(&mut list.tail, place);
        if prev == NONE {
            list.head = next;
        } else {
            slots[prev].next = next;
        }
        slots[next].prev = prev;
        slots[tail].next = place;
        let slot = &mut slots[place];
        (slot.prev, slot.next) = (tail, NONE);
    }

    /// No state ends before this.
    #[inline]
    pub(super) fn poll_timeout(&self) -> Option<Uptime> {
        self.due.peek().map(|Reverse((deadline, _))| *deadline)
    }

    /// The state that is due at or before `now`, the earliest first, with its deadline.
    pub(super) fn pop_due(
        &mut self,
        slots: &Slots,
        now: Uptime,
        deadline: impl Fn(Class, Uptime) -> Uptime,
    ) -> Option<(u32, Uptime)> {
        while let Some(&Reverse((bound, id))) = self.due.peek() {
            if bound > now {
                return None;
            }
            let list = &mut self.lists[id as usize];
            if list.head == NONE {
                list.is_due_queued = false;
                self.due.pop();
                continue;
            }
            let exact = deadline(Class::of_list(id), slots[list.head].seen);
            if exact <= bound {
                return Some((list.head, bound));
            }
            self.due.pop();
            self.due.push(Reverse((exact, id)));
        }
        None
    }

    /// The state that has been silent longest.
    pub(super) fn longest_idle(&mut self, slots: &Slots) -> Option<u32> {
        while let Some(&Reverse((bound, id))) = self.idle.peek() {
            let list = &mut self.lists[id as usize];
            if list.head == NONE {
                list.is_idle_queued = false;
                self.idle.pop();
                continue;
            }
            let exact = slots[list.head].seen;
            if exact <= bound {
                return Some(list.head);
            }
            self.idle.pop();
            self.idle.push(Reverse((exact, id)));
        }
        None
    }

    /// Makes all entries anew, after timeouts became shorter.
    pub(super) fn rebuild(&mut self, slots: &Slots, deadline: impl Fn(Class, Uptime) -> Uptime) {
        self.due.clear();
        for (id, list) in (0..).zip(&mut self.lists) {
            list.is_due_queued = list.head != NONE;
            if list.head != NONE {
                let class = Class::of_list(id);
                self.due
                    .push(Reverse((deadline(class, slots[list.head].seen), id)));
            }
        }
    }
}
