//! States that were not heard of for their timeout: when they are due, and what is done then.
//!
//! ```text
//! held      its timeout and 20 s of silence     overdue
//! overdue   an hour more                        Flow, expired
//!           a message about the state           held
//! ```

use super::arrival::Arrival;
use super::deadlines::{DOUBT, deadline};
use super::expiry_lists::{Class, Links};
use super::slot::DELETED;
use super::slot::Slot;
use super::store::{PIECE, Table};
use crate::flow::{End, Flow};
use crate::slab::NONE;
use crate::state::Timeouts;
use crate::time::{Now, Uptime};

impl Table {
    /// Changes pf's timeouts.
    pub fn set_timeouts(&mut self, timeouts: Timeouts) {
        self.settings.timeouts = timeouts;
        let Self {
            expiry_lists,
            slots,
            senders,
            ..
        } = self;
        expiry_lists.rebuild(slots, |class, seen| {
            deadline(&timeouts, senders, class, seen)
        });
    }

    /// Whether [`Self::poll_timeout`] is not later than `now`.
    #[inline(always)]
    pub fn is_due(&self, now: Uptime) -> bool {
        now.is_past(self.expiry_lists.poll_timeout())
            || self.has_asides && now.is_past(self.asides_due())
            || now.is_past(self.transfers.poll_timeout())
    }

    /// No state ends by its timeout, and none is exported in part, before this.
    pub fn poll_timeout(&self) -> Option<Uptime> {
        let due = Uptime::earliest(self.expiry_lists.poll_timeout(), self.asides_due());
        Uptime::earliest(due, self.transfers.poll_timeout())
    }

    /// Exports parts of flows that are due at `now`. Gives up the states that are due then, the
    /// earliest first, each at its own due time. `horizon` is how far the clock is about to move
    /// with nothing to be heard in between. A state that will not be heard of for an hour has ended
    /// when it was due. Any other due state is kept for that hour.
    /// At most [`PIECE`] states are looked at; then [`Self::poll_timeout`] is still not later than `now`.
    pub fn handle_timeout(
        &mut self,
        now: Now,
        horizon: Uptime,
        done: &mut impl FnMut(&Now, &Flow),
    ) {
        if !self.handle_connections(now.uptime)
            || !self.handle_active(now, done)
            || !self.handle_translations(now)
            || !self.handle_transfers(now, done)
        {
            return;
        }
        for _ in 0..PIECE {
            let Self {
                expiry_lists,
                slots,
                senders,
                settings,
                ..
            } = self;
            let due = expiry_lists.pop_due(slots, now.uptime, |class, seen| {
                deadline(&settings.timeouts, senders, class, seen)
            });
            let Some((place, due)) = due else { return };
            if self.is_over(place) || horizon.since(due) > DOUBT {
                self.end(place, now.at(due), self.end_of_over(place), done);
            } else {
                self.expiry_lists.unlink(&mut self.slots, place);
                self.slots[place].is_overdue = true;
                self.push(place);
            }
        }
    }

    pub(super) fn evict(&mut self, now: Now, done: &mut impl FnMut(&Now, &Flow)) {
        if let Some(place) = self.expiry_lists.longest_idle(&self.slots) {
            self.end(place, now, End::Evicted, done);
        }
    }

    /// Notes that a message about the state came, which now is in `pftm`.
    pub(super) fn refresh(&mut self, place: u32, arrival: &Arrival, pftm: u8) {
        self.confirm(place);
        self.active.enlist(place, arrival.clock.uptime);
        let slot = &mut self.slots[place];
        let stays = slot.sender == arrival.sender.0 && slot.pftm == pftm && !slot.is_overdue;
        if stays && pftm != DELETED {
            slot.seen = arrival.now.uptime;
            let links = Links::of(slot);
            self.expiry_lists
                .move_to_tail(&mut self.slots, place, links);
        } else {
            self.change_class(place, arrival, pftm);
        }
    }

    /// [`Self::refresh`] of a state that may change its list.
    #[inline(never)]
    fn change_class(&mut self, place: u32, arrival: &Arrival, pftm: u8) {
        if self.overlaps(place, arrival.now.uptime) {
            return;
        }
        self.expiry_lists.unlink(&mut self.slots, place);
        let slot = &mut self.slots[place];
        if slot.sender != arrival.sender.0 {
            self.told_by_another.set(place);
        }
        let was_overdue = std::mem::replace(&mut slot.is_overdue, false);
        (slot.sender, slot.pftm, slot.seen) = (arrival.sender.0, pftm, arrival.now.uptime);
        self.counters.ended_too_early += u64::from(was_overdue);
        self.push(place);
    }

    /// A message about the state came: it did not end before pflow crashed.
    pub(super) fn confirm(&mut self, place: u32) {
        if !self.doubtful.is_empty() {
            self.doubtful.take(place);
        }
    }

    /// Puts the state at `place` at the end of its list.
    pub(super) fn push(&mut self, place: u32) {
        let slot = &self.slots[place];
        let prev = self.append(place, Class::of(slot), slot.seen);
        let slot = &mut self.slots[place];
        (slot.prev, slot.next) = (prev, NONE);
    }

    /// Puts a new state into its place and at the end of its list.
    #[inline(always)]
    pub(super) fn place(&mut self, mut slot: Slot) -> u32 {
        let place = self.slots.upcoming();
        slot.prev = self.append(place, Class::of(&slot), slot.seen);
        self.slots.insert(slot)
    }

    #[inline(always)]
    pub(super) fn append(&mut self, place: u32, class: Class, seen: Uptime) -> u32 {
        let Self {
            expiry_lists,
            slots,
            senders,
            settings,
            ..
        } = self;
        expiry_lists.append(slots, place, class, seen, |class, seen| {
            deadline(&settings.timeouts, senders, class, seen)
        })
    }
}
