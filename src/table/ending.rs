//! A DEL_C of one firewall for a state that another carries: its end is held back a little.
//!
//! ```text
//!              DEL_C of A, B counted packets         2 s, DEL_C, CLR, DEL, no room, stop
//!   held ------------------------------------> ended ------------------------------------> Flow
//!     ^                                        |   ^ |  heard of within 200 ms: taken in
//!     +----------------------------------------+   +-+
//!              heard of later
//! ```
//! After a failover the idle firewall holds a copy of each state. The copy learns of a packet up to
//! a second late. So the idle firewall's purge can delete the state just as packets pass the other
//! firewall. What the other firewall says of those packets was under way when it learned of the
//! end. If it goes on speaking of the state, it did not learn of the end, and the state lives.
//!
//! A state that is held back stays in its place, in a list of its own, and counts against -m as
//! before. Source: if_pfsync.c, `pfsync_delete_state`, `pfsync_in_del_c`, `pfsync_in_updates`.

use std::time::Duration;

use super::arrival::Arrival;
use super::slot::{Counts, DELETED, EXPORTED, SETTLED};
use super::store::Table;
use crate::counters::count;
use crate::flow::End;
use crate::time::Uptime;

/// A message that comes so long after a DEL_C was sent before its sender had learned of the DEL_C.
const OVERLAP: Duration = Duration::from_millis(200);

impl Table {
    /// Takes a DEL_C in: whether the state ends with it.
    #[inline(always)]
    pub(super) fn is_ended_by(&mut self, place: u32, arrival: &Arrival) -> bool {
        let slot = &self.slots[place];
        if slot.pftm == DELETED {
            return true;
        }
        let is_alone = slot.counted_by == arrival.sender.0 && slot.shares.is_none();
        if self.is_untimely(slot, arrival) {
            self.note_missed(place);
        }
        if is_alone || !self.is_carried_by_another(place, arrival) {
            return true;
        }
        self.refresh(place, arrival, DELETED);
        false
    }

    /// How a state ends that is over, or that has been silent for longer than its timeout.
    pub(super) fn end_of_over(&self, place: u32) -> End {
        self.end_of(place, End::Expired)
    }

    /// `end`, or a delete if that came before.
    pub(super) fn end_of(&self, place: u32, end: End) -> End {
        if self.is_deleted(place) {
            End::Deleted
        } else {
            end
        }
    }

    /// Counts a state that `cause` ended.
    pub(super) fn count_end(&mut self, cause: End) {
        let counters = &mut self.counters;
        let counter = match cause {
            End::Deleted => &mut counters.deleted,
            End::Cleared => &mut counters.cleared,
            End::Expired => &mut counters.expired,
            End::Evicted => &mut counters.evicted,
            End::Replaced => &mut counters.replaced,
            End::Flushed => &mut counters.flushed,
            End::Active => return,
        };
        count(counter, 1);
    }

    /// Whether a message about a deleted state says no more than that the state was there.
    pub(super) fn overlaps(&self, place: u32, now: Uptime) -> bool {
        self.is_deleted(place) && now.since(self.slots[place].seen) <= OVERLAP
    }

    /// Whether packets of a state passed at another firewall than the one that deletes it, and its
    /// dialect has an end that is no firewall's alone.
    #[cold]
    fn is_carried_by_another(&self, place: u32, arrival: &Arrival) -> bool {
        let slot = &self.slots[place];
        let nothing = Counts::default();
        let is_another = |sender: u16| ![arrival.sender.0, SETTLED, EXPORTED].contains(&sender);
        arrival.dialect.is_modern()
            && !slot.is_overdue
            && (is_another(slot.counted_by) && slot.counts != nothing
                || self.shares_of(place).any(|at| {
                    let share = &self.shares[at];
                    is_another(share.sender) && (share.is_estimate || share.counts != nothing)
                }))
    }
}
