//! Whose counters are whose: each sender's last word for a state, and their sum.
//!
//! The first sender's counts stand in the slot, those of others in shares beside it. A sender that
//! begins again leaves its old counts behind for good, in one share of its own.

use std::time::Duration;

use super::arrival::{Arrival, FullKind};
use super::slot::{Counts, EXPORTED, Moment, SETTLED, Share, ShareLink, Slot};
use super::store::Table;
use crate::slab::Handle;
use crate::time::Uptime;
use crate::wire::pfsync::{Dialect, Values};

/// Counters that go down within this after a full state came are an old message's.
pub(super) const LATE: Duration = Duration::from_secs(2);

/// Most further senders that are counted for one state. The counts of others are left out, because
/// they could not be told from what was counted before. A state that lacks something, because of
/// this bound or of memory, is never exact and never estimated.
pub(super) const MAX_SHARES: usize = 8;

impl Table {
    /// Takes a full state's counters in; false if the message is older than what is known.
    pub(super) fn count(
        &mut self,
        place: u32,
        arrival: &Arrival,
        state: &Values<'_>,
        kind: FullKind,
    ) -> bool {
        // Before v5 an INS is built before its packet is counted.
        if kind == FullKind::Insert && !state.dialect.is_modern() {
            return true;
        }
        let mut counts = Counts {
            packets: state.packets,
            octets: state.octets,
        };
        let sender = arrival.sender.0;
        if state.dialect == Dialect::V2
            && let Some(before) = self.counts_of(place, sender)
        {
            counts = counts.unwrapped(&before);
        }
        let now = arrival.now.uptime;
        let slot = &mut self.slots[place];
        if slot.counted_by == sender {
            if counts.went_down(&slot.counts) {
                if slot.full.until(Moment::new(now)) <= LATE {
                    return false;
                }
                let settled = slot.counts;
                (slot.counts, slot.full) = (counts, Moment::new(now));
                self.settle(place, settled, now);
                self.forgo_estimate(place, sender);
                self.counters.restarted += 1;
                return true;
            }
            (slot.counts, slot.full) = (counts, Moment::new(now));
            return true;
        }
        self.count_share(place, arrival, counts)
    }

    /// What `sender` last counted for a state.
    pub(super) fn counts_of(&self, place: u32, sender: u16) -> Option<Counts> {
        let slot = &self.slots[place];
        if slot.counted_by == sender {
            return Some(slot.counts);
        }
        self.find_share(place, sender)
            .map(|at| self.shares[at].counts)
    }

    /// [`Self::count`] for a state that another sender was counted for first.
    fn count_share(&mut self, place: u32, arrival: &Arrival, counts: Counts) -> bool {
        let (sender, now) = (arrival.sender.0, arrival.now.uptime);
        let Some(at) = self.find_share(place, sender) else {
            if self.is_full_of_shares(place) {
                self.counters.shares_refused += 1;
                self.leave_out(place);
                return true;
            }
            self.add_share(place, Share::new(sender, counts, now));
            return true;
        };
        let share = &mut self.shares[at];
        if counts.went_down(&share.counts) {
            if now.since(share.full) <= LATE {
                return false;
            }
            let settled = share.counts;
            (share.counts, share.full) = (counts, now);
            self.settle(place, settled, now);
            self.forgo_estimate(place, sender);
            self.counters.restarted += 1;
            return true;
        }
        (share.counts, share.full) = (counts, now);
        true
    }

    /// A step that is not learned yet may be all that a state is off by. Such a step moves the time
    /// at which the state was told. So what was said before the step and comes late is no later
    /// because of it. Nobody told the state since, or its creation would have followed.
    #[inline(always)]
    pub(super) fn move_told(&mut self, place: u32, by: i64) {
        if by > 0 {
            self.move_told_by(place, by);
        }
    }

    #[cold]
    fn move_told_by(&mut self, place: u32, by: i64) {
        let slot = &mut self.slots[place];
        slot.full = slot.full.moved(by);
        let shares: Vec<_> = self.shares_of(place).collect();
        for at in shares {
            let share = &mut self.shares[at];
            share.full = share.full.moved(by);
        }
    }

    /// Adds what a sender counted before it began again.
    fn settle(&mut self, place: u32, counts: Counts, now: Uptime) {
        match self.find_share(place, SETTLED) {
            Some(at) => self.shares[at].counts = self.shares[at].counts.plus(&counts),
            None => self.add_share(place, Share::new(SETTLED, counts, now)),
        }
    }

    pub(super) fn find_share(&self, place: u32, sender: u16) -> Option<Handle<Share>> {
        self.shares_of(place)
            .find(|at| !self.shares[*at].is_estimate && self.shares[*at].sender == sender)
    }

    /// Whether a state has as many shares of a kind as it may have.
    fn is_full_of_shares(&self, place: u32) -> bool {
        let shares = self
            .shares_of(place)
            .filter(|at| !self.shares[*at].is_estimate);
        shares.count() >= MAX_SHARES
    }

    pub(super) fn shares_of(&self, place: u32) -> impl Iterator<Item = Handle<Share>> + '_ {
        self.shares_of_slot(&self.slots[place])
    }

    pub(super) fn shares_of_slot(&self, slot: &Slot) -> impl Iterator<Item = Handle<Share>> + '_ {
        std::iter::successors(slot.shares.share(), |at| self.shares[*at].next.share())
    }

    /// Adds a share or, if there is no memory for it, leaves it out.
    pub(super) fn add_share(&mut self, place: u32, share: Share) {
        if !self.has_room_for_share() {
            self.counters.shares_refused += 1;
            self.leave_out(place);
            return;
        }
        let next = self.slots[place].shares;
        let at = self.shares.insert(Share { next, ..share });
        self.slots[place].shares = ShareLink::to(at);
    }

    /// Notes that the shares of a state lack something that was counted. That holds until it ends.
    pub(super) fn leave_out(&mut self, place: u32) {
        match self.shares_of(place).last() {
            Some(last) => self.shares[last].next = ShareLink::LEFT_OUT,
            None => self.slots[place].shares = ShareLink::LEFT_OUT,
        }
    }

    /// Whether something is.
    pub(super) fn is_left_out(&self, slot: &Slot) -> bool {
        let last = self.shares_of_slot(slot).last();
        last.map_or(slot.shares, |last| self.shares[last].next) == ShareLink::LEFT_OUT
    }

    /// What all senders counted together, with what was estimated if that is wanted, and how much
    /// of it was exported before.
    #[inline]
    pub(super) fn total(&self, slot: &Slot) -> (Counts, Counts) {
        if slot.shares.is_none() {
            (slot.counts, Counts::default())
        } else {
            self.total_of_shares(slot)
        }
    }

    /// What of [`Self::total`] was not exported before.
    #[inline]
    pub(super) fn unexported(&self, slot: &Slot) -> Counts {
        if slot.shares.is_none() {
            return slot.counts;
        }
        let (total, exported) = self.total_of_shares(slot);
        total.minus(&exported)
    }

    fn total_of_shares(&self, slot: &Slot) -> (Counts, Counts) {
        let (mut total, mut exported) = (slot.counts, Counts::default());
        for at in self.shares_of_slot(slot) {
            let share = &self.shares[at];
            if share.sender == EXPORTED {
                exported = share.counts;
            } else if !share.is_estimate || self.settings.counting.has_estimates() {
                total = total.plus(&share.counts);
            }
        }
        (total, exported)
    }
}

impl Slot {
    /// [`Table::count`] of the first full state.
    #[inline(always)]
    pub(super) fn count_first(&mut self, state: &Values<'_>, kind: FullKind) {
        if kind != FullKind::Insert || state.dialect.is_modern() {
            self.counts = Counts {
                packets: state.packets,
                octets: state.octets,
            };
        }
    }
}
