//! The two states of a connection, as they begin, wait for each other, and end.

use super::active::ToldParts;
use super::connections::{Connection, Connections, Half, inner};
use super::index::{self};
use super::joined::Joined;
use super::slot::Counts;
use super::store::{PIECE, Table};
use crate::counters::count;
use crate::flow::{End, Flow};
use crate::state::{Direction, IfName, StateKey};
use crate::time::{Now, Uptime};
use std::time::Duration;

/// How long a state that ended waits for the other of its connection.
const OTHER_HALF_WAIT: Duration = Duration::from_secs(60);

/// Most that wait at a time: 25 MB at most.
const MAX_WAITING: usize = 1 << 16;

/// Places that are looked at in one step when connections are switched on.
const SWEEP: u32 = 1 << 12;

impl Table {
    /// Has the states of connections joined for the interfaces `units`, and for others that ask if
    /// `is_wanted`. Without either, nothing is kept. What waited is given up if nobody asks any
    /// more.
    pub fn set_connections(&mut self, is_wanted: bool, mut units: Vec<u32>) {
        units.sort_unstable();
        match &mut self.connections {
            Some(connections) if is_wanted || !units.is_empty() => connections.units = units,
            Some(_) => {
                while self.give_up_connections() {}
                let ready = self.take_connections();
                self.connections = None;
                self.left_connections = ready;
            }
            None if is_wanted || !units.is_empty() => {
                self.connections = Some(Box::new(Connections::new(units)));
            }
            None => {}
        }
        self.note_asides();
        self.measure();
    }

    /// Whether connections are exported by anybody.
    pub fn has_connections(&self) -> bool {
        self.connections.is_some()
    }

    /// Takes out the flows of connections that are ready. If interfaces exported a connection in
    /// parts, what they lack comes before the whole of it.
    pub fn take_connections(&mut self) -> Vec<Connection> {
        let mut ready = std::mem::take(&mut self.left_connections);
        if let Some(connections) = &mut self.connections {
            ready.append(&mut connections.ready);
        }
        ready
    }

    /// Exports some of what waits for the other half of its connection, which ends in its time: true
    /// if there is more.
    pub fn give_up_connections(&mut self) -> bool {
        for _ in 0..PIECE {
            let Some(place) = self.first_waiting() else {
                return false;
            };
            self.give_up_waiting(place);
        }
        true
    }

    fn first_waiting(&mut self) -> Option<u32> {
        let connections = self.connections.as_mut()?;
        while let Some((until, place)) = connections.order.pop_front() {
            let half = connections.waiting.get(&place);
            if half.is_some_and(|half| half.until == until) {
                return Some(place);
            }
        }
        None
    }

    /// When there is something to do about connections.
    pub(super) fn connections_due(&self) -> Option<Uptime> {
        self.connections.as_ref()?.poll_timeout()
    }

    /// Does it, in pieces: whether that was all.
    pub(super) fn handle_connections(&mut self, now: Uptime) -> bool {
        let Self {
            connections: Some(connections),
            slots,
            ..
        } = self
        else {
            return true;
        };
        if let Some(begin) = connections.sweep {
            let places = slots.places();
            let end = begin.saturating_add(SWEEP).min(places);
            for place in begin..end {
                if self.is_held(place) {
                    self.enter_connection(place);
                }
            }
            let is_more = end < places;
            if let Some(connections) = &mut self.connections {
                connections.sweep = is_more.then_some(end);
            }
            return !is_more;
        }
        for _ in 0..PIECE {
            match &self.connections {
                Some(connections) if connections.poll_timeout().is_some_and(|due| due <= now) => {}
                _ => return true,
            }
            match self.first_waiting_until(now) {
                Some(place) => self.give_up_waiting(place),
                None => return true,
            }
        }
        false
    }

    /// [`Self::first_waiting`] of those that waited long enough.
    fn first_waiting_until(&mut self, now: Uptime) -> Option<u32> {
        let connections = self.connections.as_mut()?;
        while let Some((until, place)) = connections.order.front().copied()
            && until <= now
        {
            connections.order.pop_front();
            let half = connections.waiting.get(&place);
            if half.is_some_and(|half| half.until == until) {
                return Some(place);
            }
        }
        None
    }

    /// Enters a state that was learned, or read back.
    pub(super) fn enter_connection(&mut self, place: u32) {
        let Self {
            connections,
            slots,
            keys,
            ..
        } = self;
        if let Some(connections) = connections {
            connections.enter(place, slots, keys);
        }
    }

    /// What was exported of the connection of the state at `place`, though it did not end.
    pub(super) fn exported_of_connection(&self, place: u32) -> Option<Counts> {
        let connections = self.connections.as_ref()?;
        connections.exported.get(&place).copied()
    }

    /// The same, read back.
    pub(super) fn restore_exported(&mut self, place: u32, counts: Counts) {
        if let Some(connections) = &mut self.connections {
            connections.exported.insert(place, counts);
        }
    }

    /// The state at `place` goes without a flow.
    pub(super) fn forget_connection(&mut self, place: u32) {
        let ends = self.ends_of(place);
        let Some(connections) = &mut self.connections else {
            return;
        };
        connections.leave(place, &ends);
        connections.exported.remove(&place);
        if let Some(half) = connections.waiting.remove(&place) {
            self.counters.unjoined += 1;
            self.hand_over(half.now, (&half.flow, None), &half.told, half.exported);
        }
    }

    fn ends_of(&self, place: u32) -> StateKey {
        let slot = &self.slots[place];
        inner(slot.direction, &slot.key_pair(&self.keys))
    }

    /// The other state of the connection of the state at `place`. Of the states held, it is the one
    /// with the nearest id, because pf makes both while it forwards one packet.
    #[expect(clippy::indexing_slicing, reason = "there is a part for every octet")]
    pub(super) fn other_of(&self, place: u32) -> Option<u32> {
        let connections = self.connections.as_ref()?;
        let slot = &self.slots[place];
        let ends = self.ends_of(place);
        let hash = connections.hash(&ends);
        let alike = connections.parts[index::part(hash)].iter_hash(hash);
        let others = alike.copied().filter(|other| {
            let other_slot = &self.slots[*other];
            other_slot.direction != slot.direction
                && other_slot.creatorid == slot.creatorid
                && self.ends_of(*other) == ends
        });
        others.min_by_key(|other| self.slots[*other].id.abs_diff(slot.id))
    }

    /// The state at `place` ends and makes `flow`: it is joined, or waits, or goes alone.
    pub(super) fn end_half(&mut self, place: u32, now: Now, flow: &Flow) {
        let told = self.told_of(place);
        let ends = self.ends_of(place);
        let Some(connections) = &mut self.connections else {
            return;
        };
        connections.leave(place, &ends);
        let exported = connections.exported.remove(&place).unwrap_or_default();
        let waiting = connections.waiting.remove(&place);
        let other = self.other_of(place);
        let half = Half {
            flow: *flow,
            told,
            exported,
            until: now.uptime.after(OTHER_HALF_WAIT),
            now,
        };
        match (waiting, other) {
            (Some(first), other) => {
                count(&mut self.counters.joined, 1);
                // A third state took the first one's place, and counts what this state counted
                // since.
                let counted_by = match other {
                    Some(_) => first.flow.direction,
                    None => Direction::In,
                };
                let joined = Joined::new(&first.flow, flow, counted_by);
                self.hand_over_joined(now, &joined, &first, &half);
                if joined.is_of_other
                    && let Some(third) = other
                {
                    self.note_all_exported(third, &now);
                }
            }
            (None, Some(other)) => self.wait_for(other, half),
            (None, None) => {
                count(&mut self.counters.unjoined, 1);
                self.hand_over(now, (flow, None), &half.told, exported);
            }
        }
    }

    /// Has a half wait for the state at `other`.
    fn wait_for(&mut self, other: u32, half: Half) {
        let is_full = match &self.connections {
            Some(connections) => connections.waiting.len() >= MAX_WAITING,
            None => return,
        };
        // One that waits for the same was of an earlier connection.
        self.give_up_waiting(other);
        if is_full && let Some(oldest) = self.first_waiting() {
            self.give_up_waiting(oldest);
        }
        if let Some(connections) = &mut self.connections {
            connections.order.push_back((half.until, other));
            connections.waiting.insert(other, half);
        }
    }

    /// What waits for the state at `place` goes, together with that state as it is now. If the
    /// waiting half's counters are worth as much, they are taken, because the state at `place` may
    /// have gone on with a third.
    fn give_up_waiting(&mut self, place: u32) {
        let Some(connections) = &mut self.connections else {
            return;
        };
        let Some(half) = connections.waiting.remove(&place) else {
            return;
        };
        count(&mut self.counters.waited_out, 1);
        let other = Half {
            flow: self.flow_so_far(place, &half.now),
            told: self.told_of(place),
            exported: self.exported_of_connection(place).unwrap_or_default(),
            ..half
        };
        let joined = Joined::new(&half.flow, &other.flow, half.flow.direction);
        let (told, exported) = self.hand_over_joined(half.now, &joined, &half, &other);
        if let Some(connections) = &mut self.connections {
            connections.exported.insert(place, exported);
        }
        self.note_all_told(place, &told, exported, joined.flow.times.last_second());
        if joined.is_of_other
            && let Some(third) = self.other_of(place)
        {
            self.note_all_exported(third, &half.now);
        }
    }
    /// The flow that the state at `place` would make if it ended at `now`.
    pub(super) fn flow_so_far(&self, place: u32, now: &Now) -> Flow {
        let slot = &self.slots[place];
        let sent = self.wire_id(slot.state_id());
        let offset = self.offset(slot.sender);
        let mut flow = self.bare_flow(slot, sent, now, End::Active, offset);
        slot.write_keys(&self.keys, &mut flow);
        flow.detail = self.detail_of(place);
        let counts = self.unexported(slot);
        (flow.packets, flow.octets) = (counts.packets, counts.octets);
        flow
    }

    /// Hands over what did not go out before of two halves that are one. What then has gone out, in
    /// the counters of `other`: to interfaces in parts, and to all others.
    fn hand_over_joined(
        &mut self,
        now: Now,
        joined: &Joined,
        one: &Half,
        other: &Half,
    ) -> (Vec<ToldParts>, Counts) {
        let gone_out = |one: &Half, other: &Half| {
            let exported = match joined.are_twins {
                true => one.exported.at_least(&other.exported),
                false => one.exported,
            };
            let told = ToldParts::of_both(&one.told, &other.told, joined.are_twins);
            (told, exported)
        };
        let (mut told_other, exported_other) = gone_out(other, one);
        let (told, exported) = match joined.is_of_other {
            true => (told_other.clone(), exported_other),
            false => gone_out(one, other),
        };
        self.hand_over(now, (&joined.flow, joined.egress), &told, exported);
        let counts = counts_of(&joined.flow);
        for after in &mut told_other {
            let before = told.iter().find(|told| told.unit == after.unit);
            let before = before.map_or(after.counts, |told| told.counts);
            after.counts = after.counts.plus(&counts.minus(&before));
        }
        let exported = exported_other.plus(&counts.minus(&exported));
        (told_other, exported)
    }

    /// All that the state at `place` has counted has gone out.
    fn note_all_exported(&mut self, place: u32, now: &Now) {
        let flow = self.flow_so_far(place, now);
        let counts = counts_of(&flow);
        if let Some(connections) = &mut self.connections {
            connections.exported.insert(place, counts);
        }
        self.note_all_told(place, &[], counts, flow.times.last_second());
    }

    /// Hands a flow of a connection over. Interfaces that had parts of it get the rest. All others
    /// get what was not `exported` of it before.
    fn hand_over(
        &mut self,
        now: Now,
        (flow, egress): (&Flow, Option<IfName>),
        told: &[ToldParts],
        exported: Counts,
    ) {
        let Some(connections) = &mut self.connections else {
            return;
        };
        for told in told {
            if connections.has_unit(told.unit) {
                let flow = told.rest_of(flow, now);
                connections.ready.push(Connection { now, flow, egress });
            }
        }
        let mut flow = *flow;
        let Counts { packets, octets } = counts_of(&flow).minus(&exported);
        (flow.packets, flow.octets) = (packets, octets);
        connections.ready.push(Connection { now, flow, egress });
    }

    /// Whether parts for the interface `unit` are of connections.
    pub(super) fn has_connection_parts(&self, unit: u32) -> bool {
        let connections = self.connections.as_ref();
        connections.is_some_and(|connections| connections.has_unit(unit))
    }

    /// Whether the other half of the connection of the state at `place` has ended.
    pub(super) fn is_waited_for(&self, place: u32) -> bool {
        let connections = self.connections.as_ref();
        connections.is_some_and(|connections| connections.waiting.contains_key(&place))
    }

    /// What the connection of a state and the other one would make if it ended at `now`.
    pub(super) fn connection_so_far(&self, place: u32, other: Option<u32>, now: &Now) -> Joined {
        let flow = self.flow_so_far(place, now);
        match other {
            Some(other) => Joined::new(&flow, &self.flow_so_far(other, now), Direction::In),
            None => Joined {
                flow,
                egress: None,
                is_of_other: false,
                are_twins: false,
            },
        }
    }

    /// Hands a part of a connection over.
    pub(super) fn hand_over_part(&mut self, part: Connection) {
        if let Some(connections) = &mut self.connections {
            connections.ready.push(part);
        }
    }
}

fn counts_of(flow: &Flow) -> Counts {
    Counts {
        packets: flow.packets,
        octets: flow.octets,
    }
}
