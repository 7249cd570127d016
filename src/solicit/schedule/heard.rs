//! What the schedule makes of what is heard: activity, whole states, ends, and others' requests.

use super::super::wheel::Tick;
use super::entry::{
    ASKED, DONE, EARLY, EVER, Entry, HELD, OWED, REPEATED, RESUMED, SHARED, WAITING,
};
use super::{ASKED_PAYS, FRESH, Schedule, TICKS_A_SECOND, UNASKED_PAYS, lead, next_beat};
use crate::counters::SolicitCounters;
use crate::table::{Event, SenderId};
use crate::time::Uptime;

impl Schedule {
    /// Takes in what happened to a state.
    pub(in super::super) fn handle(
        &mut self,
        now: Uptime,
        event: Event,
        counters: &mut SolicitCounters,
    ) {
        match event {
            Event::Activity {
                place,
                sender,
                pftm,
            } => {
                self.activity(place, sender, pftm, self.tick_after(now), counters);
                self.reschedule(place);
            }
            Event::Full { place, .. } => {
                self.full(event, self.tick_after(now), counters);
                self.reschedule(place);
            }
            Event::Ended { place } => self.ended(place, counters),
            Event::Requested { place, .. } => self.requested(place, now, counters),
            Event::RequestedOther { .. }
            | Event::Unknown { .. }
            | Event::UnknownEnded { .. }
            | Event::Bus { .. } => {}
        }
    }

    fn activity(
        &mut self,
        place: u32,
        sender: SenderId,
        pftm: u8,
        tick: Tick,
        counters: &mut SolicitCounters,
    ) {
        while self.entries.places() <= place {
            self.entries.insert(Entry::default());
        }
        let (period, delay) = (self.active, self.delay(sender));
        let entry = &mut self.entries[place];
        if !entry.has(HELD) {
            entry.flags = HELD;
            entry.timeout = 0;
            entry.active = period.map_or(0, |period| tick.saturating_add(lead(period, delay)));
        } else if entry.has(OWED) && entry.sender != sender {
            entry.flags |= SHARED;
        }
        let (was_asked, was_early) = (entry.has(ASKED), entry.has(EARLY));
        let asked_pftm = entry.pftm;
        entry.flags &= !(DONE | ASKED | EARLY);
        entry.set_pftm(pftm);
        if let Some(period) = period
            && !entry.has(OWED)
        {
            // What was due while there was nothing new is over.
            entry.active = next_beat(entry.active, period, tick);
        }
        entry.flags |= OWED;
        (entry.sender, entry.last) = (sender, tick);
        if was_asked {
            counters.resumed += 1;
            entry.flags |= RESUMED;
            if was_early && let Some(class) = self.classes.get_mut(usize::from(asked_pftm)) {
                class.note(true);
            }
        }
    }

    fn full(&mut self, event: Event, tick: Tick, counters: &mut SolicitCounters) {
        let Event::Full {
            place,
            sender,
            pftm,
            expire,
            is_activity,
            has_counters,
        } = event
        else {
            return;
        };
        let is_known = self.entries.places() > place && self.entries[place].has(HELD);
        if is_activity || !is_known {
            self.activity(place, sender, pftm, tick, counters);
        }
        let entry = &mut self.entries[place];
        if entry.sender != sender {
            return;
        }
        entry.set_pftm(pftm);
        let known = self.lifetime(place);
        let entry = &mut self.entries[place];
        // If a state is new here, the time of its last packet is not known.
        if expire > 0 && (is_activity || is_known) {
            let silent = tick.saturating_sub(entry.last) / TICKS_A_SECOND;
            // A state with all of its time left has seen packets just now, and no message told of
            // them.
            let is_fresh = expire.saturating_add(FRESH) >= known;
            entry.timeout = if is_fresh {
                expire
            } else {
                // A state that shows more than its life had packets whose message was lost, not a
                // longer life.
                expire.saturating_add(silent).min(known)
            };
            if let Some(class) = self.classes.get_mut(usize::from(pftm)) {
                class.timeout = entry.timeout;
            }
        }
        if !has_counters {
            return;
        }
        if entry.has(WAITING) {
            counters.answered += 1;
            entry.flags &= !(WAITING | REPEATED | OWED | SHARED);
            if let Some(misses) = self.misses.get_mut(sender.index()) {
                *misses = 0;
            }
        } else if !entry.has(SHARED) {
            entry.flags &= !OWED;
        }
    }

    fn ended(&mut self, place: u32, counters: &mut SolicitCounters) {
        if self.entries.places() <= place || !self.entries[place].has(HELD) {
            return;
        }
        let entry = self.entries[place];
        counters.overtaken += u64::from(entry.has(WAITING));
        counters.deferred += u64::from(entry.link.is_ready());
        if entry.has(EARLY)
            && let Some(class) = self.classes.get_mut(usize::from(entry.pftm))
        {
            class.note(false);
        }
        let pays = if entry.has(EVER) {
            ASKED_PAYS
        } else {
            UNASKED_PAYS
        };
        self.credit = self.credit.saturating_add(pays);
        self.wheel.remove(&mut self.entries, place);
        self.entries[place].flags = 0;
    }

    /// Somebody else asked. The answer to that request is as good as an answer to ours.
    fn requested(&mut self, place: u32, now: Uptime, counters: &mut SolicitCounters) {
        let asked = self.tick_after(now);
        if self.entries.places() <= place {
            return;
        }
        let entry = &mut self.entries[place];
        if !entry.has(OWED) || entry.has(WAITING) {
            return;
        }
        counters.adopted += 1;
        entry.flags |= WAITING;
        entry.asked = asked;
        self.wheel.remove(&mut self.entries, place);
        self.reschedule(place);
    }

    /// pf does not know a state any more. That is an answer, and no better one will come.
    pub(in super::super) fn gone(&mut self, place: u32, counters: &mut SolicitCounters) {
        if self.entries.places() <= place || !self.entries[place].has(WAITING) {
            return;
        }
        counters.gone += 1;
        let entry = &mut self.entries[place];
        entry.flags &= !(WAITING | REPEATED | OWED | SHARED);
        self.wheel.remove(&mut self.entries, place);
    }
}
