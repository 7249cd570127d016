//! The end of a state: its flow is handed over, and its place is free.

use super::expiry_lists::Links;
use super::slot::{ShareLink, Slot};
use super::store::{PIECE, Table};
use super::watch::Event;
use crate::flow::{End, Flow, Times};
use crate::slab::NONE;
use crate::state::StateId;
use crate::time::Now;

/// What a state has elsewhere than in its slot.
struct Belongings {
    ifname: u16,
    keys: u32,
    shares: ShareLink,
}

impl Belongings {
    #[inline(always)]
    fn of(slot: &Slot) -> Self {
        Self {
            ifname: slot.ifname,
            keys: slot.keys,
            shares: slot.shares,
        }
    }
}

impl Table {
    /// Takes a state out, counts what ended it, and hands its flow over. A doubtful state is
    /// dropped, because nobody knows whether its flow was exported before.
    #[inline(never)]
    pub(super) fn end(
        &mut self,
        place: u32,
        now: Now,
        cause: End,
        done: &mut impl FnMut(&Now, &Flow),
    ) {
        self.index.take(self.slots[place].state_id());
        if !self.doubtful.is_empty() && self.doubtful.take(place) {
            self.counters.unconfirmed += 1;
            self.active.forget(place);
            self.forget_connection(place);
            self.forget_translation(place);
            self.remove(place);
            return;
        }
        self.count_end(cause);
        let end = self.end_of(place, cause);
        let sent = self.wire_id(self.slots[place].state_id());
        self.finish_confirmed(place, |_| sent, &now, end, done);
    }

    /// Ends the states that are deleted or overdue, because nothing more will be heard of them, and
    /// with `is_active` all others, too; in the order of their places. Looks at [`PIECE`] places
    /// from `cursor` on and moves it behind them; true if there are more.
    pub fn flush(
        &mut self,
        now: Now,
        is_active: bool,
        cursor: &mut u32,
        done: &mut impl FnMut(&Now, &Flow),
    ) -> bool {
        let end = cursor.saturating_add(PIECE).min(self.slots.places());
        for place in std::mem::replace(cursor, end)..end {
            if !self.is_held(place) {
                continue;
            }
            let end = match self.is_over(place) {
                true => self.end_of_over(place),
                false if is_active => End::Flushed,
                false => continue,
            };
            self.end(place, now, end, done);
        }
        *cursor < self.slots.places()
    }

    /// Ends a state that is in the index no more and is not doubtful, whose identity `sent` tells.
    #[inline(always)]
    pub(super) fn finish_confirmed(
        &mut self,
        place: u32,
        sent: impl Fn(&Slot) -> StateId,
        now: &Now,
        end: End,
        done: &mut impl FnMut(&Now, &Flow),
    ) {
        let slot = &self.slots[place];
        let offset = self.offset(slot.sender);
        let mut flow = self.bare_flow(slot, sent(slot), now, end, offset);
        let identity = slot.write_keys(&self.keys, &mut flow);
        let counts = self.unexported(slot);
        (flow.packets, flow.octets) = (counts.packets, counts.octets);
        let creation = slot.creation.moved(offset);
        if matches!(end, End::Deleted | End::Cleared | End::Replaced) {
            self.recently_ended
                .deleted(identity, creation, now.seconds().uptime);
        }
        // A CLR may overtake what was said of states before it.
        if matches!(end, End::Expired | End::Evicted | End::Cleared) {
            let slot = &self.slots[place];
            let (total, exported) = self.total(slot);
            let exported = total.at_least(&exported);
            self.recently_ended.dropped(identity, creation, exported);
        }
        if self.has_asides {
            flow.detail = self.detail_of(place);
            self.end_asides(place, *now, &flow, done);
        }
        self.remove(place);
        done(now, &flow);
    }

    /// The flow of a state whose identity is `sent`, as of `now`. Its sender's clock is ahead by
    /// `offset`. The keys and counters are written later, each straight into its place, because
    /// there are not registers enough to keep them all.
    #[inline(always)]
    pub(super) fn bare_flow(
        &self,
        slot: &Slot,
        sent: StateId,
        now: &Now,
        end: End,
        offset: i64,
    ) -> Flow {
        let epoch = self.epoch.unwrap_or(0) + offset;
        let (creation, last) = (
            slot.creation.uptime(epoch),
            slot.last_packet().uptime(epoch),
        );
        Flow {
            id: sent,
            direction: slot.direction,
            ifname: self.ifnames.name(slot.ifname),
            pflow: slot.is_pflow(),
            times: Times::new(creation, last, *now, self.boot_of(slot.sender)),
            end,
            quality: self.quality(slot, end),
            ..Flow::default()
        }
    }

    #[inline(always)]
    pub(super) fn remove(&mut self, place: u32) {
        let slot = &self.slots[place];
        let (links, belongings) = (Links::of(slot), Belongings::of(slot));
        self.expiry_lists.unlink_between(&mut self.slots, links);
        self.free(place, &belongings);
    }

    /// [`Self::remove`] of a state that is in no list.
    pub(super) fn remove_unlisted(&mut self, place: u32) {
        let belongings = Belongings::of(&self.slots[place]);
        self.free(place, &belongings);
    }

    /// Frees a place and what the state in it had elsewhere.
    #[inline(always)]
    fn free(&mut self, place: u32, belongings: &Belongings) {
        let Belongings {
            ifname,
            keys,
            mut shares,
        } = *belongings;
        self.ifnames.release(ifname);
        if keys != NONE {
            self.keys.free(keys);
        }
        while let Some(share) = shares.share() {
            shares = self.shares[share].next;
            self.shares.free(share);
        }
        self.slots.free(place);
        if !self.told_by_another.is_empty() {
            self.told_by_another.take(place);
        }
        self.tell(Event::Ended { place });
    }
}
