//! The translations of states, as they begin and end: see [`super::nat_events`].

use super::nat_events::{KeptTranslation, NatEvent, NatEvents, NatLane};
use super::slot::KeyPair;
use super::store::{PIECE, Table};
use crate::flow::{End, Flow, Translation};
use crate::slab::NONE;
use crate::time::{Now, Uptime};
use std::time::Duration;

/// How long one waits at least that is listed again: its interface may have no delay any more.
const AGAIN: Duration = Duration::from_secs(1);

impl Table {
    /// Sets which interfaces are told of NAT events, by number, and after how many seconds. Of one
    /// that is not named any more nothing is known.
    pub fn set_nat_events(&mut self, interfaces: &[(u32, u32)]) {
        let (mut old, ready) = match self.nat_events.take() {
            Some(events) => (events.lanes, events.ready),
            None => (Vec::new(), Vec::new()),
        };
        let lanes = interfaces.iter().map(|(unit, delay)| {
            let place = old.iter().position(|lane| lane.unit == *unit);
            let mut lane = place.map_or_else(|| NatLane::new(*unit), |at| old.swap_remove(at));
            lane.list.set_wait(Duration::from_secs((*delay).into()));
            lane
        });
        let lanes: Vec<_> = lanes.collect();
        self.nat_events = (!lanes.is_empty()).then(|| Box::new(NatEvents { lanes, ready }));
        self.note_asides();
        self.measure();
    }

    /// Takes out what there is to tell, in the order in which it happened.
    pub fn drain_nat_events(&mut self) -> impl Iterator<Item = NatEvent> + '_ {
        let events = self.nat_events.iter_mut();
        events.flat_map(|events| events.ready.drain(..))
    }

    /// The key pair of a state whose addresses or ports are translated.
    fn translation_of(&self, place: u32) -> Option<u32> {
        let keys = self.slots[place].keys;
        if keys == NONE {
            return None;
        }
        let KeyPair { wire, stack, .. } = &self.keys[keys];
        // Another routing domain is no translation.
        let is_translated = (wire.af, wire.addr, wire.port) != (stack.af, stack.addr, stack.port);
        is_translated.then_some(keys)
    }

    /// A state was learned.
    pub(super) fn begin_translation(&mut self, place: u32, now: Now) {
        if self.nat_events.is_none() {
            return;
        }
        let Some(keys) = self.translation_of(place) else {
            return;
        };
        let slot = &self.slots[place];
        let made = slot.creation.uptime(self.epoch_of(slot.sender));
        let age = u64::try_from(now.seconds().uptime.saturating_sub(made)).unwrap_or(0);
        let is_due = |lane: &NatLane| lane.list.wait() <= Duration::from_secs(age);
        let Some(events) = &mut self.nat_events else {
            return;
        };
        let mut is_any_due = false;
        for lane in &mut events.lanes {
            if is_due(lane) {
                is_any_due = true;
            } else {
                lane.list.enlist(keys, now.uptime);
            }
        }
        if is_any_due {
            self.tell_translation(place, keys, now, is_due);
        }
    }

    /// Tells of a translation to the interfaces that are due.
    fn tell_translation(
        &mut self,
        place: u32,
        keys: u32,
        now: Now,
        is_due: impl Fn(&NatLane) -> bool,
    ) {
        let flow = self.flow_so_far(place, &now);
        let Some(NatEvents { lanes, ready, .. }) = self.nat_events.as_deref_mut() else {
            return;
        };
        for lane in lanes.iter_mut().filter(|lane| is_due(lane)) {
            lane.told.set(keys);
            let only = Some(lane.unit);
            ready.push(NatEvent {
                now,
                what: Translation::Created,
                flow: Flow { only, ..flow },
            });
        }
    }

    /// The state at `place` ends and makes `flow`. One that is exported because the program stops goes
    /// on, and so does its translation.
    pub(super) fn end_translation(&mut self, place: u32, now: Now, flow: &Flow) {
        let keys = self.slots[place].keys;
        let Some(events) = &mut self.nat_events else {
            return;
        };
        if keys == NONE {
            return;
        }
        for lane in &mut events.lanes {
            lane.list.unlist(keys);
            if lane.told.take(keys) && flow.end != End::Flushed {
                let only = Some(lane.unit);
                events.ready.push(NatEvent {
                    now,
                    what: Translation::Deleted,
                    flow: Flow { only, ..*flow },
                });
            }
        }
    }

    /// The state at `place` goes without a flow.
    pub(super) fn forget_translation(&mut self, place: u32) {
        let keys = self.slots[place].keys;
        if let Some(events) = self.nat_events.as_mut().filter(|_| keys != NONE) {
            events.forget(keys);
        }
    }

    /// When a translation is to be told.
    pub(super) fn translations_due(&self) -> Option<Uptime> {
        self.nat_events.as_ref()?.poll_timeout()
    }

    /// Tells of translations whose delay is over, of [`PIECE`] at most. Returns whether those were
    /// all. A translation that may have ended waits once more, at least [`AGAIN`].
    pub(super) fn handle_translations(&mut self, now: Now) -> bool {
        for _ in 0..PIECE {
            let Some(events) = &mut self.nat_events else {
                return true;
            };
            let lanes = events.lanes.iter().enumerate();
            let dues = lanes.filter_map(|(n, lane)| Some((lane.list.due()?, n)));
            let Some((_, n)) = dues.min().filter(|(due, _)| *due <= now.uptime) else {
                return true;
            };
            let Some(lane) = events.lanes.get_mut(n) else {
                return true;
            };
            let Some((keys, due)) = lane.list.pop_due(now.uptime) else {
                return true;
            };
            let unit = lane.unit;
            let place = self.keys[keys].owner;
            if self.doubtful.has(place) || self.is_over(place) {
                self.list_translation_again(n, keys, now.uptime);
                continue;
            }
            self.tell_translation(place, keys, now.at(due), |lane| lane.unit == unit);
        }
        false
    }

    fn list_translation_again(&mut self, n: usize, keys: u32, now: Uptime) {
        let events = self.nat_events.as_mut();
        if let Some(lane) = events.and_then(|events| events.lanes.get_mut(n)) {
            let since = now.after(AGAIN.saturating_sub(lane.list.wait()));
            lane.list.enlist(keys, since);
        }
    }

    /// What is known of the translation of the state at `place`.
    pub(super) fn kept_translation(
        &self,
        place: u32,
    ) -> impl Iterator<Item = KeptTranslation> + '_ {
        let keys = self.slots[place].keys;
        let events = self.nat_events.as_deref().filter(|_| keys != NONE);
        let lanes = events.into_iter().flat_map(|events| &events.lanes);
        lanes.filter_map(move |lane| {
            let due = lane.list.due_of(keys);
            (due.is_some() || lane.told.has(keys)).then_some(KeptTranslation {
                unit: lane.unit,
                due,
            })
        })
    }

    /// Takes that back.
    pub(super) fn restore_translation(&mut self, place: u32, kept: KeptTranslation) {
        let Some(keys) = self.translation_of(place) else {
            return;
        };
        let lanes = self.nat_events.iter_mut();
        let mut lanes = lanes.flat_map(|events| &mut events.lanes);
        let Some(lane) = lanes.find(|lane| lane.unit == kept.unit) else {
            return;
        };
        match kept.due {
            Some(due) => lane.list.enlist(keys, lane.list.since(due)),
            None => lane.told.set(keys),
        }
    }

    /// Puts what was read back into the order of the due times. No delay is longer than its
    /// interface's is now.
    pub(super) fn end_restore_translations(&mut self, now: Uptime) {
        let lanes = self.nat_events.iter_mut();
        for lane in lanes.flat_map(|events| &mut events.lanes) {
            lane.list.sort(now);
        }
    }
}
