//! States that ended of late, and what was exported of them, so that a message that comes after
//! the end, from the other node or late, neither brings a state back nor has its octets counted
//! twice.
//!
//! One entry a hash: a newer end takes the place of an older one. That costs one write an end, no
//! allocation, and now and then forgets an end early.

use std::time::Duration;

use super::slot::{Counts, Second};
use crate::state::StateId;
use crate::time::Uptime;

/// Entries: 4.7 MB once the first state has ended.
const ENTRIES: usize = 1 << 16;

/// A full state that comes within this after its state was deleted was under way then.
const LATE: Duration = Duration::from_secs(60);

/// A state that ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Departure {
    pub(super) id: StateId,
    pub(super) creation: Second,
    pub(super) at: Uptime,
    /// Fingerprint of its key.
    pub(super) key: u64,
    /// Whether its firewall said that it is gone.
    pub(super) is_deleted: bool,
    /// Everything its senders had counted.
    pub(super) exported: Counts,
}

impl Departure {
    /// Whether a full state at `now` is old news.
    pub(super) fn is_late(&self, now: Uptime) -> bool {
        self.is_deleted && now.since(self.at) <= LATE
    }
}

/// Those remembered.
#[derive(Default)]
pub(super) struct Departed {
    entries: Vec<Option<Departure>>,
}

impl Departed {
    /// Remembers `departure`, whose id has this `hash`.
    pub(super) fn put(&mut self, hash: u64, departure: Departure) {
        if self.entries.is_empty() {
            self.entries.resize(ENTRIES, None);
        }
        if let Some(entry) = self.entries.get_mut(place(hash)) {
            *entry = Some(departure);
        }
    }

    /// The end of `id`, if it is remembered.
    pub(super) fn find(&self, hash: u64, id: StateId) -> Option<&Departure> {
        let entry = self.entries.get(place(hash))?.as_ref();
        entry.filter(|departure| departure.id == id)
    }
}

/// The index takes the low bits of a hash and the topmost.
fn place(hash: u64) -> usize {
    usize::try_from((hash >> 32) % ENTRIES as u64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newer_end_of_two_with_one_hash_is_remembered() {
        let departure = |id, at| Departure {
            id: StateId { id, creatorid: 1 },
            creation: Second::new(0, 0),
            at: Uptime::new(at, 0),
            key: 0,
            is_deleted: true,
            exported: Counts::default(),
        };
        let mut departed = Departed::default();
        assert!(departed.find(7, departure(1, 0).id).is_none());
        departed.put(7, departure(1, 10));
        departed.put(7, departure(2, 20));
        assert!(departed.find(7, departure(1, 0).id).is_none());
        let found = departed.find(7, departure(2, 0).id).unwrap();
        assert!(found.is_late(Uptime::new(80, 0)));
        assert!(!found.is_late(Uptime::new(81, 0)));
    }
}
