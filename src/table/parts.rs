//! Parts of flows that go on, as they fall due: of states, and of connections.

use std::time::Duration;

use super::active::{Lane, ShownParts, ToldParts, part, parts_with, rounds_up};
use super::connections::Connection;
use super::slot::{Counts, Second, Slot};
use super::store::{PIECE, Table};
use crate::flow::{End, Flow, Times};
use crate::time::{Now, Uptime};

/// Places that are looked at in one step when an active timeout is switched on or off.
const SWEEP: u32 = 1 << 12;

impl Table {
    /// Sets the active timeouts: interfaces by number, each with its seconds, 0 for none.
    /// Interfaces that are not named are gone.
    pub fn set_active(&mut self, now: Uptime, interfaces: &[(u32, u32)]) {
        let mut old = std::mem::take(&mut self.active.lanes);
        for &(unit, seconds) in interfaces {
            let period = Duration::from_secs(seconds.into());
            let place = old.iter().position(|lane| lane.unit == unit);
            let mut lane = match place {
                Some(place) => old.swap_remove(place),
                None if seconds == 0 => continue,
                None => Lane::new(unit),
            };
            lane.set_period(period, now);
            self.active.lanes.push(lane);
        }
        self.measure();
        self.note_asides();
        self.sweep();
    }

    /// What went out of a state to interfaces that export connections.
    pub(super) fn told_of(&self, place: u32) -> Vec<ToldParts> {
        let epoch = self.epoch_of(self.slots[place].sender);
        let lanes = self.active.lanes.iter();
        let lanes = lanes.filter(|lane| self.has_connection_parts(lane.unit));
        let told = lanes.filter_map(|lane| {
            let shown = lane.shown(place)?;
            Some(ToldParts {
                unit: lane.unit,
                counts: shown.counts,
                last: shown.last.uptime(epoch),
                parts: shown.parts,
                rounds_up: shown.rounds_up,
            })
        });
        told.collect()
    }

    /// So much of the connection of the state at `place` has gone out to all that export connections:
    /// `told` with their parts, `exported` without.
    pub(super) fn note_all_told(
        &mut self,
        place: u32,
        told: &[ToldParts],
        exported: Counts,
        last: i64,
    ) {
        let last = Second::new(last, self.epoch_of(self.slots[place].sender));
        let mut lanes = std::mem::take(&mut self.active.lanes);
        for lane in &mut lanes {
            if self.has_connection_parts(lane.unit) {
                let shown = lane.shown(place);
                let rounds_up = shown.and_then(|shown| shown.rounds_up);
                let told = told.iter().find(|told| told.unit == lane.unit);
                let counts = told.map_or(exported, |told| told.counts);
                let parts = shown.map_or(0, |shown| shown.parts);
                lane.set_shown(
                    place,
                    ShownParts {
                        counts,
                        last,
                        parts,
                        rounds_up,
                    },
                );
            }
        }
        self.active.lanes = lanes;
    }

    /// [`Self::told_of`] to one interface.
    fn told_to(&self, unit: u32, place: u32) -> Vec<ToldParts> {
        let mut told = self.told_of(place);
        told.retain(|told| told.unit == unit);
        told
    }

    /// The state at `place` is due in the lane of an interface that exports connections. If there
    /// is something new, the part of its connection goes out, and both halves note it.
    fn part_of_connection(
        &mut self,
        n: usize,
        place: u32,
        due: Uptime,
        now: Now,
    ) -> Option<Connection> {
        let unit = self.active.lanes.get(n)?.unit;
        let other = self.other_of(place);
        let mut halves = std::iter::once(place).chain(other);
        if halves.any(|half| self.is_waited_for(half)) {
            // Its end is a minute away at most.
            self.active.enlist_in(unit, place, due);
            return None;
        }
        let mine = self.told_to(unit, place);
        let others = other.map_or_else(Vec::new, |other| self.told_to(unit, other));
        let begun = mine.iter().chain(&others).next();
        let rounds_up = rounds_up(begun.map(ToldParts::shown), now.at(due));
        let then = now.at(due).rounded(rounds_up);
        let so_far = self.connection_so_far(place, other, &then);
        let (flow, egress) = (so_far.flow, so_far.egress);
        let [told_mine, told_others] = [(&mine, &others), (&others, &mine)].map(|(one, other)| {
            ToldParts::of_both(one, other, so_far.are_twins)
                .first()
                .copied()
        });
        let told = match so_far.is_of_other {
            true => told_others,
            false => told_mine,
        };
        let shown = told.map(|told| told.shown());
        let times = |_| match told {
            Some(told) => flow.times.since(told.last, then),
            None => flow.times,
        };
        let part = part(&flow, unit, shown, times);
        if part.is_empty() {
            return None;
        }
        for (half, told) in [(Some(place), told_mine), (other, told_others)] {
            if let Some(half) = half {
                let before = told.map_or_else(Counts::default, |told| told.counts);
                let last = Second::new(
                    flow.times.last_second(),
                    self.epoch_of(self.slots[half].sender),
                );
                let lane = self.active.lanes.get_mut(n)?;
                lane.set_shown(half, with_part(before, &part, last, shown, rounds_up));
                lane.unlist(half);
                lane.enlist(half, due);
            }
        }
        Some(Connection {
            now: now.at(due),
            flow: part,
            egress,
        })
    }

    /// Puts the states of the next places into the lanes that were switched on, and takes them out of
    /// those that were switched off: whether those were all.
    fn sweep(&mut self) -> bool {
        let mut lanes = std::mem::take(&mut self.active.lanes);
        let mut is_done = true;
        for lane in &mut lanes {
            let Some((begin, begun)) = lane.sweep else {
                continue;
            };
            let end = begin.saturating_add(SWEEP).min(self.slots.places());
            for place in begin..end {
                lane.unlist(place);
                if self.is_held(place) {
                    lane.enlist(place, begun);
                }
            }
            lane.sweep = (end < self.slots.places()).then_some((end, begun));
            is_done &= lane.sweep.is_none();
        }
        self.active.lanes = lanes;
        is_done
    }

    /// Hands over parts of the flows whose time it is, of [`PIECE`] states at most: whether those
    /// were all.
    pub(super) fn handle_active(&mut self, now: Now, done: &mut impl FnMut(&Now, &Flow)) -> bool {
        if !self.sweep() {
            return false;
        }
        for _ in 0..PIECE {
            let Some((n, place, due)) = self.active.pop_due(now.uptime) else {
                return true;
            };
            if self.is_connection_lane(n) {
                if let Some(part) = self.part_of_connection(n, place, due, now) {
                    self.hand_over_part(part);
                }
                continue;
            }
            if let Some(part) = self.part_of_state(n, place, due, now) {
                done(&now.at(due), &part);
            }
        }
        false
    }

    /// The state at `place` is due in the lane of an interface that exports states: the part of its
    /// flow that goes out, if there is something new.
    fn part_of_state(&mut self, n: usize, place: u32, due: Uptime, now: Now) -> Option<Flow> {
        let lane = self.active.lanes.get(n)?;
        let (unit, shown) = (lane.unit, lane.shown(place));
        let rounds_up = rounds_up(shown, now.at(due));
        let told = now.at(due).rounded(rounds_up);
        let slot = &self.slots[place];
        let (total, exported) = self.total(slot);
        let counts = total.minus(&exported);
        let sent = self.wire_id(slot.state_id());
        let offset = self.offset(slot.sender);
        let mut flow = self.bare_flow(slot, sent, &told, End::Active, offset);
        slot.write_keys(&self.keys, &mut flow);
        flow.detail = self.detail_of(place);
        (flow.packets, flow.octets) = (counts.packets, counts.octets);
        let last = slot.last_packet();
        let part = part(&flow, unit, shown, self.times_of_part(slot, told));
        if part.is_empty() {
            return None;
        }
        let before = shown.map_or_else(Counts::default, |shown| shown.counts);
        let lane = self.active.lanes.get_mut(n)?;
        lane.set_shown(place, with_part(before, &part, last, shown, rounds_up));
        lane.enlist(place, due);
        Some(part)
    }

    /// The times of a part that goes out at `now`, which begins where what was shown ended.
    fn times_of_part(&self, slot: &Slot, now: Now) -> impl Fn(ShownParts) -> Times + use<> {
        let epoch = self.epoch_of(slot.sender);
        let (last, boot) = (slot.last_packet().uptime(epoch), self.boot_of(slot.sender));
        move |shown| Times::new(shown.last.uptime(epoch), last, now, boot)
    }

    fn is_connection_lane(&self, n: usize) -> bool {
        let lane = self.active.lanes.get(n);
        lane.is_some_and(|lane| self.has_connection_parts(lane.unit))
    }

    /// Hands over what interfaces that exported parts of a flow that ends did not export yet.
    #[cold]
    pub(super) fn end_parts(
        &mut self,
        place: u32,
        now: Now,
        flow: &Flow,
        done: &mut impl FnMut(&Now, &Flow),
    ) {
        let slot = &self.slots[place];
        for lane in &self.active.lanes {
            if let Some(shown) = lane.shown(place)
                && !self.has_connection_parts(lane.unit)
            {
                let told = now.rounded(rounds_up(Some(shown), now));
                let times = self.times_of_part(slot, told);
                done(&now, &part(flow, lane.unit, Some(shown), times));
            }
        }
        self.active.forget(place);
    }
}

/// What has gone out, `part` included. `before` and `shown` are what had gone out without it.
fn with_part(
    before: Counts,
    part: &Flow,
    last: Second,
    shown: Option<ShownParts>,
    rounds_up: bool,
) -> ShownParts {
    let news = Counts {
        packets: part.packets,
        octets: part.octets,
    };
    ShownParts {
        counts: before.plus(&news),
        last,
        parts: parts_with(shown),
        rounds_up: Some(rounds_up),
    }
}
