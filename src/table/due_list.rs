//! Places that all wait equally long: a list in the order of their due times.
//!
//! ```text
//! enlist --> tail ... head --> due when its wait is over
//! ```
//! A place that is put in goes to the tail, so that no search is needed. A place has an entry once
//! that place or a higher one was named.

use std::time::Duration;

use crate::slab::{NONE, Slab};
use crate::time::Uptime;

/// A place, and what its owner keeps beside it.
#[derive(Clone, Copy, Debug)]
struct Entry<T> {
    /// When it began to wait.
    since: Uptime,
    prev: u32,
    next: u32,
    beside: T,
    is_listed: bool,
}

/// The places that wait.
pub(super) struct DueList<T> {
    wait: Duration,
    /// By place.
    entries: Slab<Entry<T>>,
    head: u32,
    tail: u32,
    /// What stands beside a place at first.
    nothing: T,
}

impl<T: Copy> DueList<T> {
    /// An empty list, with nothing to wait for.
    pub(super) fn new(nothing: T) -> Self {
        Self {
            wait: Duration::ZERO,
            entries: Slab::default(),
            head: NONE,
            tail: NONE,
            nothing,
        }
    }

    /// How long each waits.
    pub(super) fn wait(&self) -> Duration {
        self.wait
    }

    /// Changes how long each waits. Those in the list have waited as long as before.
    pub(super) fn set_wait(&mut self, wait: Duration) {
        self.wait = wait;
    }

    /// Octets of memory taken.
    pub(super) fn octets(&self) -> usize {
        self.entries.octets()
    }

    /// What [`Self::octets`] never exceed with so many chunks of places.
    pub(super) fn octets_of(chunks: usize) -> usize {
        Slab::<Entry<T>>::octets_of(chunks)
    }

    /// Whether any place has an entry.
    pub(super) fn has_entries(&self) -> bool {
        self.entries.places() > 0
    }

    /// What stands beside a place.
    pub(super) fn beside(&self, place: u32) -> T {
        self.look(place).map_or(self.nothing, |entry| entry.beside)
    }

    /// Changes that.
    pub(super) fn set_beside(&mut self, place: u32, beside: T) {
        self.reach(place);
        self.entries[place].beside = beside;
    }

    /// When the first is due.
    pub(super) fn due(&self) -> Option<Uptime> {
        Some(self.look(self.head)?.since.after(self.wait))
    }

    /// When one that is in the list is due.
    pub(super) fn due_of(&self, place: u32) -> Option<Uptime> {
        let entry = self.look(place).filter(|entry| entry.is_listed)?;
        Some(entry.since.after(self.wait))
    }

    /// When one began to wait that is due at `due`.
    pub(super) fn since(&self, due: Uptime) -> Uptime {
        let wait = i64::try_from(self.wait.as_nanos()).unwrap_or(i64::MAX);
        Uptime::from_nanos(due.nanos().saturating_sub(wait))
    }

    /// Puts one at the end that is not in the list.
    pub(super) fn enlist(&mut self, place: u32, since: Uptime) {
        self.reach(place);
        let tail = self.tail;
        let entry = &mut self.entries[place];
        if entry.is_listed {
            return;
        }
        (entry.since, entry.prev, entry.next) = (since, tail, NONE);
        entry.is_listed = true;
        self.tail = place;
        match self.entry(tail) {
            Some(entry) => entry.next = place,
            None => self.head = place,
        }
    }

    /// Takes one out, if it is in the list.
    pub(super) fn unlist(&mut self, place: u32) {
        let Some(entry) = self.entry(place).filter(|entry| entry.is_listed) else {
            return;
        };
        entry.is_listed = false;
        let (prev, next) = (entry.prev, entry.next);
        match self.entry(prev) {
            Some(entry) => entry.next = next,
            None => self.head = next,
        }
        match self.entry(next) {
            Some(entry) => entry.prev = prev,
            None => self.tail = prev,
        }
    }

    /// Takes the first out if it is due, with the time it was due at.
    pub(super) fn pop_due(&mut self, now: Uptime) -> Option<(u32, Uptime)> {
        let due = self.due().filter(|due| *due <= now)?;
        let place = self.head;
        self.unlist(place);
        Some((place, due))
    }

    /// Puts what was read back into the order of the due times. None began to wait after `now`.
    pub(super) fn sort(&mut self, now: Uptime) {
        let mut listed = Vec::new();
        while let Some(since) = self.look(self.head).map(|entry| entry.since) {
            listed.push((since, self.head));
            self.unlist(self.head);
        }
        listed.sort_by_key(|(since, _)| *since);
        for (since, place) in listed {
            self.enlist(place, since.min(now));
        }
    }

    fn entry(&mut self, place: u32) -> Option<&mut Entry<T>> {
        (place < self.entries.places()).then(|| &mut self.entries[place])
    }

    fn look(&self, place: u32) -> Option<&Entry<T>> {
        (place < self.entries.places()).then(|| &self.entries[place])
    }

    /// Makes an entry for each place up to `place`.
    fn reach(&mut self, place: u32) {
        while place >= self.entries.places() {
            self.entries.insert(Entry {
                since: Uptime::from_nanos(0),
                prev: NONE,
                next: NONE,
                beside: self.nothing,
                is_listed: false,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: i64) -> Uptime {
        Uptime::new(secs, 0)
    }

    fn waiting(secs: u64) -> DueList<u32> {
        let mut list = DueList::new(7);
        list.set_wait(Duration::from_secs(secs));
        list
    }

    #[test]
    fn those_that_wait_come_out_in_their_order_each_at_its_own_time() {
        let mut list = waiting(10);
        for (place, since) in [(5, 1), (2, 2), (9, 3)] {
            list.enlist(place, at(since));
        }
        list.enlist(5, at(4));
        list.unlist(2);
        list.unlist(2);
        assert_eq!((list.due_of(2), list.due_of(9)), (None, Some(at(13))));
        assert_eq!(list.pop_due(at(10)), None);
        assert_eq!(list.pop_due(at(99)), Some((5, at(11))));
        assert_eq!(list.pop_due(at(99)), Some((9, at(13))));
        assert_eq!(list.due(), None);
    }

    #[test]
    fn what_is_read_back_in_any_order_is_due_in_that_of_time_and_none_later_than_anew() {
        let mut list = waiting(10);
        for (place, since) in [(1, 30), (2, 5), (3, 20)] {
            list.enlist(place, at(since));
        }
        list.sort(at(20));
        let due = std::iter::from_fn(|| list.pop_due(at(99)));
        assert_eq!(
            due.collect::<Vec<_>>(),
            [(2, at(15)), (3, at(30)), (1, at(30))]
        );
    }

    #[test]
    fn what_stands_beside_a_place_stays_whether_it_waits_or_not() {
        let mut list = waiting(10);
        list.set_beside(3, 8);
        assert_eq!([list.beside(2), list.beside(3), list.beside(4)], [7, 8, 7]);
        list.enlist(3, at(1));
        list.unlist(3);
        assert_eq!(list.beside(3), 8);
    }
}
