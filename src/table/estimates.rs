//! How much of a state's counters is known. This module notes which activity no full state followed
//! yet, and what TCP carried in it as far as sequence numbers tell.
//!
//! ```text
//! full state of S    S is settled, its estimate goes, sequence numbers are taken
//! activity of S      S is not; what sequence numbers advanced adds to its estimate
//! the end            all settled: exact. Something estimated: estimated. Else partial
//! ```
//! A mark in the slot says that the sender counted there is unsettled. For other senders an
//! estimate among the shares says so, even an empty one. An INS and a DEL_C leave nothing to do
//! here.

use std::time::Duration;

use super::arrival::{Arrival, FullKind};
use super::counting::{LATE, MAX_SHARES};
use super::slot::{Counts, Moment, SETTLED, Second, Share, ShareLink, Shares, Slot, UNSETTLED};
use super::store::Table;
use crate::accounting::{Before, Head, Model, Position, Segments, Sent, TCP, with_rounds};
use crate::flow::{End, Quality};
use crate::slab::{Handle, NONE};
use crate::state::Af;
use crate::time::Uptime;
use crate::wire::pfsync::{Compressed, Values};

/// How late a DEL_C may be after a state's timeout, seconds: a purge pass of 10, a second in the
/// sender's queue, and one for times cut to seconds.
const DELETE_SLACK: i64 = 13;
/// How early: activity is told up to a second late, and times are cut to seconds.
const DELETE_LEAD: i64 = 2;

/// PFTM_TCP_CLOSED: both ends are done, and pf may drop the state before its time to make another
/// of the same addresses.
const TCP_CLOSED: u8 = 5;

/// A sender tells of an active state once a second. Silences below this are messages lost, seconds.
const HEARTBEAT: u64 = 5;
/// After so many refused messages in a row, a state's windows are not looked at any more. A damaged
/// message comes alone.
const MOST_REFUSALS: u8 = 8;
/// Steps of sequence numbers that are expected to be shorter than this need no expectation, octets.
const LONG_STEP: u64 = 1 << 30;

impl Table {
    /// Whether a full state says again what its sender said just now: a copy that was overtaken by
    /// news of activity, and settles nothing.
    pub(super) fn is_copy(&self, place: u32, arrival: &Arrival, state: &Values<'_>) -> bool {
        let sender = arrival.sender.0;
        let now = arrival.now.uptime;
        let slot = &self.slots[place];
        let is_recent = if slot.counted_by == sender {
            slot.full.until(Moment::new(now)) <= LATE
        } else {
            let share = self.find_share(place, sender);
            share.is_some_and(|at| now.since(self.shares[at].full) <= LATE)
        };
        let counts = Counts {
            packets: state.packets,
            octets: state.octets,
        };
        is_recent
            && self.is_unsettled(place, sender)
            && self.counts_of(place, sender) == Some(counts)
    }

    /// Notes what a full state whose counters were taken says of its sender's activity.
    pub(super) fn note_full(
        &mut self,
        place: u32,
        arrival: &Arrival,
        state: &Values<'_>,
        kind: FullKind,
    ) {
        let sender = arrival.sender.0;
        let is_modern = state.dialect.is_modern();
        if !is_modern && kind == FullKind::Insert {
            // Before v5 a firewall builds an INS before it counts the first packet.
            self.unsettle(place, sender, arrival.now.uptime);
            return;
        }
        let is_first = self.slots[place].counted_by == sender;
        if is_first {
            self.slots[place].marks &= !UNSETTLED;
        }
        if !self.slots[place].shares.is_none() {
            self.drop_estimate(place, sender);
        }
        let slot = &mut self.slots[place];
        if slot.proto == TCP {
            let told = position(state);
            let position = if is_first {
                told
            } else {
                told.not_behind(slot.position())
            };
            slot.set_position(position);
            self.forget_segments(place);
        }
        // Before v5 pfsync0 shows a full update of each packet, built before that was counted. One
        // that was asked for, or that answers an old one, is no packet's.
        if !is_modern && kind == FullKind::Update && arrival.is_pfsync0 {
            self.unsettle(place, sender, arrival.now.uptime);
        }
    }

    /// Notes activity that a UPD_C told of, and what it carried.
    pub(super) fn note_compressed(
        &mut self,
        place: u32,
        arrival: &Arrival,
        update: &Compressed<'_>,
    ) {
        self.unsettle(place, arrival.sender.0, arrival.now.uptime);
        let Self { slots, shares, .. } = self;
        if !slots[place].add_data(shares, arrival, update) {
            self.note_advance(place, arrival, update);
        }
    }

    /// Adds to the estimate whatever a UPD_C of TCP tells.
    #[inline(never)]
    fn note_advance(&mut self, place: u32, arrival: &Arrival, update: &Compressed<'_>) {
        let sender = arrival.sender.0;
        let now = arrival.now.uptime;
        let slot = self.slots[place];
        let mut position = slot.position();
        let peers = [update.src, update.dst];
        let estimate = self.find_estimate(place, sender);
        let expected = self.expected(&slot, sender, estimate, now);
        let advance = position.follow(peers, expected);
        self.slots[place].set_position(position);
        let Some(mut advance) = advance else {
            if position.refuses(peers) {
                self.note_refused(place, sender, now);
            }
            return;
        };
        let Some(at) = estimate.or_else(|| self.estimate(place, sender, now)) else {
            // Until its sender's next full state, in which it is, what passed now stays unknown.
            self.slots[place].marks |= Position::HEADLESS;
            return;
        };
        let counted = if slot.counted_by == sender {
            slot.counts
        } else {
            self.counts_of(place, sender).unwrap_or_default()
        };
        let offers = peers.map(|peer| peer.mss());
        let model = self.model(&slot, offers, &counted);
        if self.shares[at].segments.is_unknown() {
            self.shares[at].segments = self.model(&slot, [0; 2], &counted).segments();
        }
        let share = &mut self.shares[at];
        if share.refusals > 0 {
            for (sent, expected) in advance.iter_mut().zip(expected) {
                sent.payload = with_rounds(sent.payload, expected);
            }
        }
        let [_, back] = advance;
        if back.options > 0 {
            self.headless.push(slot.state_id());
        }
        let grown = share.full;
        share.head.complete(&mut advance, || Before {
            full: slot.full.until(Moment::new(now)),
            seen: now.since(slot.seen),
            grown: now.since(grown),
        });
        let (packets, octets) = model.traffic(advance);
        share.counts = share.counts.plus(&Counts { packets, octets });
        share.full = now;
        if share.refusals > 0 {
            share.end_refusals(octets);
        }
    }

    /// The shape of a state's packets was told anew: other senders' estimates go on by that.
    #[inline(always)]
    fn forget_segments(&mut self, place: u32) {
        let mut next = self.slots[place].shares;
        while let Some(at) = next.share() {
            self.shares[at].segments = Segments::UNKNOWN;
            next = self.shares[at].next;
        }
    }

    /// Notes that a message was refused. If many are refused in a row, the messages are not what is
    /// wrong. From then on their windows are not looked at.
    #[cold]
    fn note_refused(&mut self, place: u32, sender: u16, now: Uptime) {
        let Some(at) = self.estimate(place, sender, now) else {
            return;
        };
        let share = &mut self.shares[at];
        share.refusals = share.refusals.saturating_add(1);
        if share.refusals >= MOST_REFUSALS {
            self.slots[place].shape.loosen();
        }
    }

    /// What a state takes to send that much more, by what was `counted` of it and its partner.
    #[cold]
    pub(super) fn estimated(&self, slot: &Slot, counted: &Counts, sent: [Sent; 2]) -> Counts {
        let (packets, octets) = self.model(slot, [0; 2], counted).traffic(sent);
        Counts { packets, octets }
    }

    #[inline(always)]
    fn model(&self, slot: &Slot, offers: [u16; 2], counted: &Counts) -> Model {
        let af = if slot.keys == NONE {
            Af::Inet
        } else {
            self.keys[slot.keys].wire.af
        };
        Model::new(af, slot.shape, offers, counted.packets, counted.octets)
    }

    /// How many octets each way should have passed since the last message, at the pace of the
    /// estimate so far; 0 where that does not matter.
    fn expected(
        &self,
        slot: &Slot,
        sender: u16,
        estimate: Option<Handle<Share>>,
        now: Uptime,
    ) -> [u64; 2] {
        let Some(at) = estimate.filter(|_| slot.counted_by == sender) else {
            return [0, 0];
        };
        // What was refused told nothing: the last message that was taken counts.
        let share = &self.shares[at];
        let (taken, longest) = if share.refusals > 0 {
            (share.full, MOST_REFUSALS.into())
        } else {
            (slot.seen, 0)
        };
        // No pace makes more of so little.
        let [ahead, back] = share.counts.octets;
        if ahead.max(back) < LONG_STEP / (u64::from(MOST_REFUSALS) + HEARTBEAT) {
            return [0, 0];
        }
        let silence = now.since(taken);
        if !(1..longest + HEARTBEAT).contains(&silence.as_secs()) {
            return [0, 0];
        }
        let all = slot
            .full
            .until(Moment::new(taken))
            .max(Duration::from_secs(1));
        let ahead = |octets: u64| {
            let octets = u128::from(octets) * silence.as_millis() / all.as_millis().max(1);
            u64::try_from(octets)
                .ok()
                .filter(|octets| *octets >= LONG_STEP)
                .unwrap_or(0)
        };
        self.shares[at].counts.octets.map(ahead)
    }

    fn is_unsettled(&self, place: u32, sender: u16) -> bool {
        let slot = &self.slots[place];
        if slot.counted_by == sender {
            slot.marks & UNSETTLED != 0
        } else {
            self.find_estimate(place, sender).is_some()
        }
    }

    fn unsettle(&mut self, place: u32, sender: u16, now: Uptime) {
        let slot = &mut self.slots[place];
        if slot.counted_by == sender {
            slot.marks |= UNSETTLED;
        } else {
            self.estimate(place, sender, now);
        }
    }

    /// Notes that something of a state was missed.
    pub(super) fn note_missed(&mut self, place: u32) {
        self.slots[place].marks |= UNSETTLED;
    }

    pub(super) fn find_estimate(&self, place: u32, sender: u16) -> Option<Handle<Share>> {
        self.shares_of(place)
            .find(|at| self.shares[*at].is_estimate && self.shares[*at].sender == sender)
    }

    /// The place of a sender's estimate, a new one if there is none; of those beyond the bound,
    /// who then can never be settled, together.
    fn estimate(&mut self, place: u32, sender: u16, now: Uptime) -> Option<Handle<Share>> {
        if let Some(at) = self.find_estimate(place, sender) {
            return Some(at);
        }
        let estimates = self
            .shares_of(place)
            .filter(|at| self.shares[*at].is_estimate);
        let sender = if estimates.count() >= MAX_SHARES {
            self.counters.shares_refused += 1;
            SETTLED
        } else {
            sender
        };
        if self.find_estimate(place, sender).is_none() {
            // The one counted for in the slot has a mark there, and settles all with a full state.
            if self.slots[place].counted_by == sender && !self.has_room_for_share() {
                self.counters.shares_refused += 1;
                return None;
            }
            let share = Share::new(sender, Counts::default(), now);
            self.add_share(
                place,
                Share {
                    is_estimate: true,
                    ..share
                },
            );
        }
        self.find_estimate(place, sender)
    }

    /// Takes a sender's estimate out: it counted itself.
    fn drop_estimate(&mut self, place: u32, sender: u16) {
        let Some(at) = self.find_estimate(place, sender) else {
            return;
        };
        let next = self.shares[at].next;
        let before = self
            .shares_of(place)
            .find(|before| self.shares[*before].next == ShareLink::to(at));
        match before {
            Some(before) => self.shares[before].next = next,
            None => self.slots[place].shares = next,
        }
        self.shares.free(at);
    }

    /// A sender began again. It will never tell what it carried since its last full state.
    pub(super) fn forgo_estimate(&mut self, place: u32, sender: u16) {
        if !self.is_unsettled(place, sender) {
            return;
        }
        let at = self.find_estimate(place, sender);
        let lost = at.map(|at| self.shares[at]);
        let now = self.slots[place].seen;
        if let Some(at) = self.estimate(place, SETTLED, now) {
            let counts = lost.map(|share| share.counts).unwrap_or_default();
            self.shares[at].counts = self.shares[at].counts.plus(&counts);
        }
    }

    /// Whether a DEL_C comes when it should not: that is one timeout after the last activity known.
    /// Then there was activity that is not; but what was before the last full state is in that.
    #[inline(always)]
    pub(super) fn is_untimely(&self, slot: &Slot, arrival: &Arrival) -> bool {
        if slot.last == Second::NEVER {
            return false;
        }
        let idle = arrival.second.since(slot.last);
        let configured = self.settings.timeouts.seconds(slot.pftm);
        let seen = self.senders[slot.sender].largest_expire(usize::from(slot.pftm));
        let least = if seen > 0 {
            configured.min(seen)
        } else {
            configured
        };
        let is_early = idle + DELETE_LEAD < i64::from(least) && slot.pftm != TCP_CLOSED;
        let is_late = idle > i64::from(configured.max(seen)) + DELETE_SLACK;
        let is_untimely = is_early || is_late && !was_told_within(slot, arrival.moment, least);
        let timely =
            i64::from(least) - DELETE_LEAD..=i64::from(configured.max(seen)) + DELETE_SLACK;
        is_untimely
            && !self.is_doubtful_time(slot.sender, slot.last, |step| {
                timely.contains(&(idle - step))
            })
    }

    /// What a state's counters are worth if it ends so.
    #[inline]
    pub(super) fn quality(&self, slot: &Slot, end: End) -> Quality {
        // The id came again. So the end was missed, and perhaps more before it.
        let has_ended = end != End::Replaced;
        if !slot.shares.is_none() {
            return self.quality_of_shares(slot, has_ended);
        }
        // Nothing was estimated and nothing left out.
        if slot.marks & UNSETTLED == 0 && has_ended {
            Quality::Exact
        } else {
            Quality::Partial
        }
    }

    fn quality_of_shares(&self, slot: &Slot, has_ended: bool) -> Quality {
        if self.is_left_out(slot) {
            return Quality::Partial;
        }
        let (mut is_settled, mut is_estimated) = (slot.marks & UNSETTLED == 0, false);
        let mut is_doubtful = false;
        for share in self.shares_of_slot(slot).map(|at| &self.shares[at]) {
            is_settled &= !share.is_estimate;
            is_estimated |= share.is_estimate && share.counts != Counts::default();
            is_doubtful |= share.is_estimate && share.is_doubtful();
        }
        if is_settled && has_ended {
            return Quality::Exact;
        }
        let unknown = Position::UNTRACKED | Position::UNSURE | Position::HEADLESS;
        if is_doubtful {
            Quality::Partial
        } else if is_estimated
            && slot.marks & unknown == 0
            && self.settings.counting.has_estimates()
        {
            Quality::Estimated
        } else {
            Quality::Partial
        }
    }
}

impl Share {
    /// A message was taken again, with what passed since the last that was: `octets`.
    #[cold]
    fn end_refusals(&mut self, [ahead, back]: [u64; 2]) {
        let octets = ahead.saturating_add(back).div_ceil(1024);
        self.refused = self
            .refused
            .saturating_add(u32::try_from(octets).unwrap_or(u32::MAX));
        self.refusals = 0;
    }
}

impl Slot {
    /// Adds what a UPD_C tells to the estimate that its sender's last UPD_C added to. That is done
    /// only if it tells of data and nothing else; other protocols than TCP add nothing. If it may
    /// tell more, nothing is added and the result is false.
    #[inline(always)]
    pub(super) fn add_data(
        &mut self,
        shares: &mut Shares,
        arrival: &Arrival,
        update: &Compressed<'_>,
    ) -> bool {
        if self.proto != TCP {
            return true;
        }
        let Some(at) = self.shares.share() else {
            return false;
        };
        let share = &mut shares[at];
        if !share.is_estimate || share.sender != arrival.sender.0 || share.refusals > 0 {
            return false;
        }
        let mut position = self.position();
        let Some(data) = position.follow_data([update.src, update.dst]) else {
            return false;
        };
        let [ahead, back] = data;
        if ahead | back > 0 {
            let is_headless = back > 0 && share.head != Head::default();
            let is_counted = self.counted_by == arrival.sender.0;
            if is_headless || !is_counted || share.segments.is_unknown() {
                return false;
            }
            let offers = [update.src.mss(), update.dst.mss()];
            let counted = (self.counts.packets, self.counts.octets);
            let (packets, octets) = share.segments.traffic(offers, data, counted);
            share.counts = share.counts.plus(&Counts { packets, octets });
            share.full = arrival.now.uptime;
        }
        self.set_position(position);
        true
    }

    /// [`Table::note_full`] of the first full state.
    #[inline(always)]
    pub(super) fn note_first(&mut self, arrival: &Arrival, state: &Values<'_>, kind: FullKind) {
        if !state.dialect.is_modern()
            && (kind == FullKind::Insert || kind == FullKind::Update && arrival.is_pfsync0)
        {
            self.marks |= UNSETTLED;
        }
        if self.proto == TCP {
            self.set_position(position(state));
        }
    }
}

/// Whether so short a time ago, seconds, all there is to a state was told in full that activity
/// since then would have kept it.
fn was_told_within(slot: &Slot, now: Moment, timeout: u32) -> bool {
    let age = slot.full.until(now).as_secs();
    slot.shares.is_none() && age + DELETE_LEAD.unsigned_abs() < u64::from(timeout)
}

/// Where a full state's peers are.
#[inline(always)]
fn position(state: &Values<'_>) -> Position {
    let [forward, _] = state.packets;
    Position::new(state.peers, state.max_mss, state.state_flags, forward)
}
