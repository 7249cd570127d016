//! States that ended of late. A message may come after the end, from the other node or late. It
//! must not bring the state back, nor have the state's octets counted twice.
//!
//! ```text
//! deleted, cleared, replaced   a full state within ten seconds is old news
//! overdue, evicted, cleared    a full state goes on, less what was exported
//! ```
//! The number of an id says which set of four places is its own. The oldest of the four makes room.
//! So an end writes to one place and allocates nothing. Only a very busy firewall makes the table
//! forget early. Every run forgets the same ends, because a replay must end alike.

use super::identity::{Identity, SPREAD};
use super::slot::{Counts, Second};
use crate::state::StateId;

/// Sets of each kind, allocated with the first end of the kind.
pub(super) const SETS: usize = 1 << 13;
/// Ends in a set.
const WAYS: usize = 4;

/// A full state that comes so many seconds after its state was deleted was under way then.
pub(super) const LATE: u32 = 10;

/// An end that its firewall told of.
#[derive(Clone, Copy, Debug)]
struct Deleted {
    /// [`Identity::tag`]; 0 in a place never used.
    tag: u64,
    creation: Second,
    /// Uptime, whole seconds, modulo 2^32.
    at: u32,
}

const NONE_DELETED: Deleted = Deleted {
    tag: 0,
    creation: Second::NEVER,
    at: 0,
};

/// An end of our own.
#[derive(Clone, Copy, Debug)]
struct Dropped {
    identity: Identity,
    creation: Second,
    exported: Counts,
}

/// What is known of a state that is not held.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum RecentEnd {
    /// It was deleted a moment ago.
    Late,
    /// It was dropped, and this much of it was exported.
    Exported(Counts),
}

/// The ends remembered.
#[derive(Default)]
pub(super) struct RecentlyEnded {
    /// The first of each set, then the second of each, and so on: states that follow each other are
    /// deleted about in that order, and four share a line of the cache.
    deleted: Vec<Deleted>,
    /// Which place of each set comes next, modulo [`WAYS`]: the oldest one's.
    oldest: Vec<u8>,
    dropped: Vec<[Option<Dropped>; WAYS]>,
}

impl RecentlyEnded {
    /// Remembers that a state was deleted at `now`, seconds of uptime.
    #[inline(always)]
    pub(super) fn deleted(&mut self, identity: Identity, creation: Second, now: i64) {
        let at = modulo(now);
        let tag = identity.tag();
        self.put_deleted(place(identity.id), Deleted { tag, creation, at });
    }

    #[inline(always)]
    fn put_deleted(&mut self, place: usize, deleted: Deleted) {
        if self.deleted.is_empty() {
            self.deleted.resize(SETS * WAYS, NONE_DELETED);
            self.oldest.resize(SETS, 0);
        }
        let Some(oldest) = self.oldest.get_mut(place) else {
            return;
        };
        let way = usize::from(*oldest) % WAYS;
        *oldest = oldest.wrapping_add(1);
        if let Some(oldest) = self.deleted.get_mut(way * SETS + place) {
            *oldest = deleted;
        }
    }

    /// Remembers that a state was dropped, and how much of it was exported.
    pub(super) fn dropped(&mut self, identity: Identity, creation: Second, exported: Counts) {
        put(
            &mut self.dropped,
            identity.id,
            Dropped {
                identity,
                creation,
                exported,
            },
        );
    }

    /// What became of the state of `identity`, if that is remembered. Whether it is the same one and
    /// old news, `is_late` says by its creation and the seconds since it was deleted. Whether it goes
    /// on, `goes_on` says by its creation and what was exported.
    #[inline(always)]
    pub(super) fn find(
        &self,
        identity: impl FnOnce() -> Identity,
        now: i64,
        is_late: impl Fn(Second, u32) -> bool,
        goes_on: impl Fn(Second, &Counts) -> bool,
    ) -> Option<RecentEnd> {
        if self.deleted.is_empty() && self.dropped.is_empty() {
            return None;
        }
        let identity = identity();
        if self.was_deleted(identity, now, is_late) {
            return Some(RecentEnd::Late);
        }
        self.find_dropped(identity, goes_on)
    }

    #[inline(never)]
    fn was_deleted(
        &self,
        identity: Identity,
        now: i64,
        is_late: impl Fn(Second, u32) -> bool,
    ) -> bool {
        let tag = identity.tag();
        let mut deleted = self.set(place(identity.id), 0);
        deleted.any(|deleted| {
            let elapsed = modulo(now).wrapping_sub(deleted.at);
            deleted.tag == tag && is_late(deleted.creation, elapsed)
        })
    }

    /// A set of deletes, from the `first` on.
    fn set(&self, set: usize, first: usize) -> impl Iterator<Item = &Deleted> {
        let ways = if set < SETS { 0..WAYS } else { 0..0 };
        let ways = ways.map(move |way| (first + way) % WAYS);
        ways.filter_map(move |way| self.deleted.get(way * SETS + set))
    }

    #[inline(never)]
    fn find_dropped(
        &self,
        identity: Identity,
        goes_on: impl Fn(Second, &Counts) -> bool,
    ) -> Option<RecentEnd> {
        dropped(&self.dropped, identity.id)
            .find(|dropped| {
                dropped.identity == identity && goes_on(dropped.creation, &dropped.exported)
            })
            .map(|dropped| RecentEnd::Exported(dropped.exported))
    }
}

impl RecentlyEnded {
    /// The ends in a set that a late message may still be about: the tag, when the state began,
    /// and how long ago it ended in seconds, the oldest first.
    pub(super) fn kept_deleted(
        &self,
        set: usize,
        now: i64,
    ) -> impl Iterator<Item = (u64, Second, u32)> + '_ {
        let oldest = self.oldest.get(set).copied().unwrap_or(0);
        self.set(set, oldest.into())
            .filter(|end| end.tag != 0)
            .map(move |end| (end.tag, end.creation, modulo(now).wrapping_sub(end.at)))
            .filter(|(_, _, age)| *age <= LATE)
    }

    /// Takes back what [`Self::kept_deleted`] gave.
    pub(super) fn restore_deleted(&mut self, set: usize, tag: u64, creation: Second, at: i64) {
        let at = modulo(at);
        self.put_deleted(set, Deleted { tag, creation, at });
    }

    /// The ends of our own in a set, with what was exported, the oldest first.
    pub(super) fn kept_dropped(
        &self,
        set: usize,
    ) -> impl Iterator<Item = (Identity, Second, Counts)> + '_ {
        let ends = self.dropped.get(set).into_iter().flatten().rev().flatten();
        ends.map(|end| (end.identity, end.creation, end.exported))
    }
}

/// Puts `value` at the head of its set.
fn put<T: Copy>(sets: &mut Vec<[Option<T>; WAYS]>, id: StateId, value: T) {
    if sets.is_empty() {
        sets.resize(SETS, [None; WAYS]);
    }
    if let Some(set) = sets.get_mut(place(id)) {
        set.rotate_right(1);
        if let Some(head) = set.first_mut() {
            *head = Some(value);
        }
    }
}

/// The set of `id` among those of our own ends, the newest first.
fn dropped<T>(sets: &[[Option<T>; WAYS]], id: StateId) -> impl Iterator<Item = &T> {
    sets.get(place(id)).into_iter().flatten().flatten()
}

/// Where an id's set is. Ids are counted up, and states end about in the order they began in. So
/// consecutive sets are used one after the other, and the cache holds them sooner than random sets.
/// Each creator begins elsewhere.
fn place(id: StateId) -> usize {
    let begin = u64::from(id.creatorid).wrapping_mul(SPREAD) >> 32;
    usize::try_from(id.id.wrapping_add(begin) % SETS as u64).unwrap_or(0)
}

/// Seconds modulo 2^32.
fn modulo(secs: i64) -> u32 {
    u32::try_from(secs.rem_euclid(1 << 32)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(id: u64) -> Identity {
        Identity::kept(StateId { id, creatorid: 1 }, 3)
    }

    #[test]
    fn a_deleted_state_is_old_news_for_ten_seconds() {
        let mut ended = RecentlyEnded::default();
        let (then, age) = (10, Second::new(0, 0));
        ended.deleted(identity(1), age, then);
        let is_late = |then, elapsed| then == age && elapsed <= LATE;
        let find = |at, id| {
            let identity = identity(id);
            ended.find(|| identity, at, is_late, |_, _| true)
        };
        assert_eq!(find(20, 1), Some(RecentEnd::Late));
        assert_eq!(find(21, 1), None);
        assert_eq!(find(12, 2), None);
    }

    #[test]
    fn ids_that_creators_count_alike_do_not_fall_together_however_creators_are_numbered() {
        for step in [1, 0x2000, 0x10000, 0x0100_0000] {
            let places = (1..=64).map(|n| {
                place(StateId {
                    id: 0x6553_f100_0000_0064,
                    creatorid: n * step,
                })
            });
            let places: std::collections::HashSet<_> = places.collect();
            assert!(places.len() > 48, "{step:#x}: {}", places.len());
        }
    }

    #[test]
    fn the_oldest_end_of_a_set_makes_room() {
        let mut ended = RecentlyEnded::default();
        let age = Second::new(0, 0);
        let same_set: Vec<u64> = (0..)
            .filter(|id| place(identity(*id).id) == place(identity(0).id))
            .take(5)
            .collect();
        for id in &same_set {
            ended.dropped(identity(*id), age, Counts::default());
        }
        let find = |id: u64| {
            let identity = identity(id);
            let is_age = |then, _| then == age;
            ended.find(|| identity, 0, is_age, |then, _| then == age)
        };
        assert_eq!(find(same_set[0]), None);
        for id in &same_set[1..] {
            assert_eq!(find(*id), Some(RecentEnd::Exported(Counts::default())));
        }
        for id in &same_set {
            ended.deleted(identity(*id), age, 0);
        }
        let find = |id: u64| {
            let identity = identity(id);
            let is_age = |then, _| then == age;
            ended.find(|| identity, 0, is_age, |then, _| then == age)
        };
        assert_eq!(find(same_set[0]), None);
        for id in &same_set[1..] {
            assert_eq!(find(*id), Some(RecentEnd::Late));
        }
    }
}
