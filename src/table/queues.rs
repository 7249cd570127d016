//! Which state has been silent longest, and which ends next.
//!
//! States of one sender in one PFTM live equally long after their last message, so a list of them
//! in the order of that message is also in the order of their deadlines:
//!
//! ```text
//! (sender, PFTM)   head <-> ... <-> ... <-> tail
//!                  longest silent           just heard of
//! ```
//! Refreshing a state moves it to its list's tail. Only heads can be due or longest silent, and a
//! heap holds one entry a list. An entry may be older than its head, for lists only get younger at
//! the head; it is put right when it comes up.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::slot::Slots;
use crate::slab::NONE;
use crate::state::PFTM_COUNT;
use crate::time::Uptime;

/// A list, by sender and PFTM.
pub(super) type ListId = u32;

/// The list of `sender`'s states in `pftm`.
pub(super) fn list_of(sender: u16, pftm: u8) -> ListId {
    let pftm = u32::from(pftm).min(PFTM_COUNT as u32 - 1);
    u32::from(sender) * PFTM_COUNT as u32 + pftm
}

#[derive(Clone, Copy)]
struct List {
    head: u32,
    tail: u32,
    /// Whether the heaps have an entry of it.
    is_due_queued: bool,
    is_idle_queued: bool,
}

const EMPTY: List = List { head: NONE, tail: NONE, is_due_queued: false, is_idle_queued: false };

/// All lists.
#[derive(Default)]
pub(super) struct Queues {
    lists: Vec<List>,
    /// Earliest deadline first, each a lower bound of its list's.
    due: BinaryHeap<Reverse<(Uptime, ListId)>>,
    /// Longest silent first, likewise.
    idle: BinaryHeap<Reverse<(Uptime, ListId)>>,
}

#[expect(clippy::indexing_slicing, reason = "push makes a list before its number is used")]
impl Queues {
    /// Appends the state at `place`, heard of just now, to its list. `lifetime` gives a list's
    /// time from last message to deadline.
    pub(super) fn push(
        &mut self,
        slots: &mut Slots,
        place: u32,
        deadline: impl Fn(ListId, Uptime) -> Uptime,
    ) {
        let slot = &mut slots[place];
        let id = list_of(slot.sender, slot.pftm);
        let seen = slot.seen;
        if id as usize >= self.lists.len() {
            self.lists.resize(id as usize + 1, EMPTY);
        }
        let list = &mut self.lists[id as usize];
        slot.prev = list.tail;
        slot.next = NONE;
        let tail = std::mem::replace(&mut list.tail, place);
        if tail == NONE {
            list.head = place;
        } else {
            slots[tail].next = place;
        }
        if !list.is_due_queued {
            list.is_due_queued = true;
            self.due.push(Reverse((deadline(id, seen), id)));
        }
        if !list.is_idle_queued {
            list.is_idle_queued = true;
            self.idle.push(Reverse((seen, id)));
        }
    }

    /// Takes the state at `place` out of its list.
    pub(super) fn unlink(&mut self, slots: &mut Slots, place: u32) {
        let slot = &slots[place];
        let (prev, next) = (slot.prev, slot.next);
        let list = &mut self.lists[list_of(slot.sender, slot.pftm) as usize];
        if prev == NONE {
            list.head = next;
        } else {
            slots[prev].next = next;
        }
        if next == NONE {
            list.tail = prev;
        } else {
            slots[next].prev = prev;
        }
    }

    /// Whether the state at `place` is its list's youngest, so that a refresh need not move it.
    pub(super) fn is_tail(&self, slots: &Slots, place: u32) -> bool {
        slots[place].next == NONE
    }

    /// No state ends before this.
    pub(super) fn poll_timeout(&self) -> Option<Uptime> {
        self.due.peek().map(|Reverse((deadline, _))| *deadline)
    }

    /// The state that is due at or before `now`, the earliest first, with its deadline.
    pub(super) fn pop_due(
        &mut self,
        slots: &Slots,
        now: Uptime,
        deadline: impl Fn(ListId, Uptime) -> Uptime,
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
            let exact = deadline(id, slots[list.head].seen);
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
    pub(super) fn rebuild(
        &mut self,
        slots: &Slots,
        deadline: impl Fn(ListId, Uptime) -> Uptime,
    ) {
        self.due.clear();
        for (id, list) in (0..).zip(&mut self.lists) {
            list.is_due_queued = list.head != NONE;
            if list.head != NONE {
                self.due.push(Reverse((deadline(id, slots[list.head].seen), id)));
            }
        }
    }
}
