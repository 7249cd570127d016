//! States that ended by their timeout, remembered for an hour: a UPD_C that comes after all says
//! that the end came too early.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crate::state::StateId;
use crate::time::Uptime;

/// Most ends remembered.
const MAX_DEPARTED: usize = 1 << 16;

/// How long.
const REMEMBERED: Duration = Duration::from_secs(3600);

/// Ends by timeout.
#[derive(Default)]
pub(super) struct Departed {
    order: VecDeque<(Uptime, StateId)>,
    ended: HashMap<StateId, Uptime>,
}

impl Departed {
    /// Remembers that `id` ended at `now`; false if an older end had to be forgotten for it.
    pub(super) fn add(&mut self, id: StateId, now: Uptime) -> bool {
        self.forget(now);
        let has_room = self.order.len() < MAX_DEPARTED;
        if !has_room && let Some((at, oldest)) = self.order.pop_front() {
            self.remove_if(oldest, at);
        }
        self.order.push_back((now, id));
        self.ended.insert(id, now);
        has_room
    }

    /// Whether `id` ended by its timeout within the hour; asked once an end.
    pub(super) fn take(&mut self, id: StateId, now: Uptime) -> bool {
        if self.ended.is_empty() {
            return false;
        }
        self.forget(now);
        self.ended.remove(&id).is_some()
    }

    fn forget(&mut self, now: Uptime) {
        while let Some(&(at, id)) = self.order.front()
            && now.since(at) > REMEMBERED
        {
            self.order.pop_front();
            self.remove_if(id, at);
        }
    }

    fn remove_if(&mut self, id: StateId, at: Uptime) {
        if self.ended.get(&id) == Some(&at) {
            self.ended.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_remembered_for_an_hour_and_told_once() {
        let id = StateId { id: 1, creatorid: 2 };
        let mut departed = Departed::default();
        departed.add(id, Uptime::new(100, 0));
        assert!(departed.take(id, Uptime::new(3700, 0)));
        assert!(!departed.take(id, Uptime::new(3700, 0)));
        departed.add(id, Uptime::new(5000, 0));
        assert!(!departed.take(id, Uptime::new(8601, 0)));
    }

    #[test]
    fn ends_are_bounded() {
        let mut departed = Departed::default();
        let id = |n| StateId { id: n, creatorid: 0 };
        let forgotten =
            (0..MAX_DEPARTED as u64 + 3).filter(|&n| !departed.add(id(n), Uptime::default())).count();
        assert_eq!(forgotten, 3);
        assert!(!departed.take(id(2), Uptime::default()));
        assert!(departed.take(id(3), Uptime::default()));
    }
}
