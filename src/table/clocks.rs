//! Each sender's clock against ours.
//!
//! A state's age is told by its sender's uptime clock, the stamp of the packet by the clock of the
//! machine that captured it. Their difference drifts, and it steps: a clock is set, a virtual
//! machine stands still, two captures are joined.
//!
//! ```text
//! uptime (the stamps')      = time of a sender's states + its offset
//! creation told by a state  = uptime - age
//!
//! stamps of a sender jump        the jump is remembered: a pause or a step
//! a state told before fits       it was a pause: the jump is forgotten
//! a state told before is off     by as much as the jump: it was a step. By less: it was one if
//!                                another state is off alike
//! a step                         moves the offset, and so all times of the sender's states at once
//! ```
//! The times in a slot are on the clock of the state's last sender. When that clock moves, no slot
//! is touched. Drift is not learned, because each state's creation is what its latest full message
//! says.
//!
//! Nothing here decides what a state counts. An age alone never makes another state: see
//! [`Table::is_another`].

use std::time::Duration;

use super::arrival::Arrival;
use super::clock::{AGE_SLACK, Hold, Unsure};
use super::senders::SenderId;
use super::slot::{EXPORTED, Moment, Second, Share};
use super::store::Table;
use crate::time::{Now, Uptime};
use crate::wire::pfsync::Dialect;

/// What cutting to seconds alone makes.
pub(super) const CUT: i64 = 1;

/// An age of so many seconds may be a second off by drift: 500 parts in a million.
pub(super) const DRIFT: i64 = 2000;

/// A silence of more than this may be a step of the capture's clock. No state ends because of it
/// before the ages tell. It is shorter than [`super::deadlines::DOUBT`], because an overdue state
/// is kept for that long.
const HOLD: Duration = Duration::from_secs(1800);

/// How long expiry waits after such a silence.
const WAIT: Duration = Duration::from_secs(60);

/// Largest offset, seconds: the stamps believed span less.
const MAX_OFFSET: i64 = 1 << 33;

/// `now` with the uptime so many seconds later.
fn moved(now: Now, secs: i64) -> Now {
    Now::new(now.wall, now.uptime.moved(secs))
}

impl Arrival {
    /// The clock, which never goes back.
    pub fn clock(&self) -> Now {
        self.clock
    }

    /// Moves what it says to the clock of its sender after that made a step.
    fn step(&mut self, by: i64, epoch: i64) {
        self.secs = self.secs.saturating_sub(by);
        self.second = Second::new(self.secs, epoch);
        self.now = moved(self.now, by.saturating_neg());
        self.moment = Moment::new(self.now.uptime);
    }
}

impl Table {
    /// What the messages of a packet of `sender` come with: its stamp is the uptime `at`, and the
    /// clock, which never goes back, says `now`.
    #[inline(always)]
    pub fn arrival(&mut self, now: Now, at: Uptime, sender: SenderId, is_pfsync0: bool) -> Arrival {
        let secs = at.secs();
        let clock = &mut self.senders[sender.0].clock;
        clock.note_packet(at);
        self.stamps.note_packet(now.uptime);
        let offset = clock.offset;
        let mut arrival = Arrival {
            clock: now,
            now,
            at,
            secs,
            second: Second::new(secs, self.epoch.unwrap_or(secs)),
            moment: Moment::new(now.uptime),
            sender,
            dialect: Dialect::OpenBsd47,
            is_pfsync0,
        };
        if offset != 0 {
            arrival.step(offset, self.epoch.unwrap_or(secs));
        }
        arrival
    }

    /// Likewise of the times in a share.
    pub(super) fn share_offset(&self, share: &Share) -> i64 {
        match share.sender {
            EXPORTED.. => 0,
            sender => self.offset(sender),
        }
    }

    /// Notes that nothing is heard before `horizon`. If that is long, no state ends because of it
    /// for a minute, unless the ages tell sooner what the silence was.
    #[inline]
    pub fn note_horizon(&mut self, horizon: Uptime) {
        let last = self.horizon.replace(horizon);
        if last.is_some_and(|last| horizon > last.after(HOLD)) {
            self.hold(last.unwrap_or(horizon), horizon);
        }
    }

    #[cold]
    fn hold(&mut self, from: Uptime, to: Uptime) {
        let until = to.after(WAIT);
        for record in self.senders.all_mut() {
            record.clock.hold = Some(Hold { from, to, until });
        }
        // What waited for the ages after a silence before this has waited long enough.
        self.requeue();
    }

    /// Nothing more is heard: what waits for ages is due.
    pub fn release(&mut self) {
        for record in self.senders.all_mut() {
            record.clock.hold = None;
        }
        self.requeue();
    }

    /// Works out again what is due first, after deadlines became earlier.
    fn requeue(&mut self) {
        let timeouts = self.settings.timeouts;
        self.set_timeouts(timeouts);
    }

    /// Steps of senders' clocks since the last call, seconds.
    pub fn take_steps(&mut self) -> Vec<(SenderId, i64)> {
        std::mem::take(&mut self.steps)
    }

    /// Whether there are any.
    #[inline(always)]
    pub fn has_steps(&self) -> bool {
        !self.steps.is_empty()
    }

    /// A message about the state at `place` comes from another sender than the last. The state's
    /// times go on the new sender's clock.
    #[inline(always)]
    pub(super) fn adopt(&mut self, place: u32, arrival: &Arrival) {
        if self.is_any_off && self.slots[place].sender != arrival.sender.0 {
            self.adopt_from(place, arrival.sender.0);
        }
    }

    #[cold]
    fn adopt_from(&mut self, place: u32, sender: u16) {
        let by = self.offset(self.slots[place].sender) - self.offset(sender);
        if by == 0 {
            return;
        }
        self.expiry_lists.unlink(&mut self.slots, place);
        let slot = &mut self.slots[place];
        slot.creation = slot.creation.moved(by);
        slot.last = slot.last.moved(by);
        slot.seen = slot.seen.moved(by);
        slot.sender = sender;
        self.active.move_shown(place, by);
        self.told_by_another.set(place);
        self.push(place);
    }

    /// When the state was told last in full, seconds of uptime, if that is known of its last
    /// sender.
    fn told(&self, place: u32, arrival: &Arrival) -> Option<i64> {
        let slot = &self.slots[place];
        let is_known = slot.counted_by == arrival.sender.0;
        let ago = || i64::try_from(slot.full.until(arrival.moment).as_secs()).unwrap_or(i64::MAX);
        is_known.then(|| arrival.clock.seconds().uptime.saturating_sub(ago()))
    }

    /// How far ahead of the creation known that told now is, seconds, and how much of that a step
    /// of a clock not learned yet may explain.
    pub(super) fn shift(&self, place: u32, arrival: &Arrival, creation: Second) -> (i64, i64) {
        let slot = &self.slots[place];
        let by = creation.since(slot.creation);
        if by <= CUT {
            return (by, 0);
        }
        let told = self.told(place, arrival);
        let told = told.unwrap_or_else(|| slot.creation.uptime(self.epoch_of(slot.sender)));
        if self.told_by_another.has(place) {
            // A step may explain all of it, if the other's clock did not make it with this one's.
            return (by, self.past_reach_since(arrival.sender, told - by));
        }
        (by, self.reach_since(arrival.sender, told))
    }

    /// How far a clock may have stepped forward since uptime `secs` for a sender, with nobody
    /// having told yet.
    pub(super) fn reach_since(&self, sender: SenderId, secs: i64) -> i64 {
        let (own, _) = self.senders[sender.0].clock.jumps.reach_since(secs);
        let (all, _) = self.stamps.jumps.reach_since(secs);
        own.max(all)
    }

    /// How far a clock may have stepped forward since uptime `secs` for a sender, whether that was
    /// learned or not: another sender's states, and what is no state any more, may not know of it.
    pub(super) fn past_reach_since(&self, sender: SenderId, secs: i64) -> i64 {
        let (own, _) = self.senders[sender.0].clock.past.reach_since(secs);
        let (all, _) = self.stamps.past.reach_since(secs);
        own.max(all)
    }

    /// Whether the clock is unsure of a time of a sender's states in seconds of uptime.
    pub(super) fn is_unsure_of(&self, sender: SenderId, secs: i64) -> bool {
        let clock = &self.senders[sender.0].clock;
        clock.is_unsure(secs.saturating_sub(clock.offset))
    }

    /// How far forward the last step of a sender's clock that was learned went since uptime `secs`.
    pub(super) fn stepped_since(&self, sender: SenderId, secs: i64) -> i64 {
        let clock = &self.senders[sender.0].clock;
        let before = |unsure: &Unsure| unsure.to.saturating_add(clock.offset - unsure.by);
        let step = clock.unsure.filter(|unsure| secs <= before(unsure));
        step.map_or(0, |step| step.by.max(0))
    }

    /// Compares the creation that a full message tells with the creation known. The difference
    /// shows what the sender's clock did, and the creation follows. Only a state whose creation the
    /// same sender told before shows anything.
    pub(super) fn follow(&mut self, place: u32, arrival: &mut Arrival, age: u32) {
        let creation = arrival.second.before(age);
        let (by, reach) = self.shift(place, arrival, creation);
        let is_anothers = self.slots[place].sender != arrival.sender.0;
        if is_anothers {
            let is_off = by.abs() > AGE_SLACK;
            self.senders[arrival.sender.0].apart.note(by, is_off);
        }
        if is_anothers || self.told_by_another.take(place) {
            self.set_creation(place, creation);
            self.move_told(place, by.min(reach));
            return;
        }
        let is_off = by.abs() > AGE_SLACK;
        let clock = &self.senders[arrival.sender.0].clock;
        if is_off || !clock.jumps.0.is_empty() || clock.hold.is_some() {
            let steps = self.counters.steps;
            self.learn(place, arrival, by);
            if self.counters.steps != steps {
                self.set_creation(place, arrival.second.before(age));
                return;
            }
        }
        self.set_creation(place, creation);
        self.move_told(place, by.min(reach));
    }

    /// No packet was before the first.
    fn set_creation(&mut self, place: u32, creation: Second) {
        let slot = &mut self.slots[place];
        // Cutting to seconds makes a difference of one. So the first creation is as good as the
        // latest.
        if creation.since(slot.creation).abs() <= CUT {
            return;
        }
        slot.creation = creation;
        if slot.last != Second::NEVER {
            slot.last = slot.last.max(creation);
        }
    }

    #[inline(never)]
    fn learn(&mut self, place: u32, arrival: &mut Arrival, by: i64) {
        let Some(told) = self.told(place, arrival) else {
            return;
        };
        let id = self.slots[place].state_id();
        let elapsed = arrival.clock.seconds().uptime.saturating_sub(told);
        let clock = &mut self.senders[arrival.sender.0].clock;
        if by.abs() <= CUT {
            let was_held = clock.hold.is_some();
            let is_before = |hold: Hold| told.saturating_add(1) < hold.to.secs();
            clock.jumps.forget_since(told);
            self.stamps.jumps.forget_since(told);
            if clock.suspect.is_some_and(|suspect| suspect.id != id) && clock.jumps.0.is_empty() {
                clock.suspect = None;
            }
            if was_held && clock.hold.is_some_and(is_before) {
                clock.hold = None;
                self.requeue();
            }
            return;
        }
        if by.abs() <= AGE_SLACK + elapsed / DRIFT {
            return;
        }
        if let Some(by) = clock.learn(id, told, by, &self.stamps.jumps) {
            self.step(arrival, told, by);
        }
    }

    /// A sender's clock made a step after uptime `told`.
    #[cold]
    fn step(&mut self, arrival: &mut Arrival, told: i64, by: i64) {
        let now = arrival.clock.seconds().uptime;
        let clock = &mut self.senders[arrival.sender.0].clock;
        let from = clock.jumps.0.iter().map(|jump| jump.low).min();
        clock.unsure = Some(Unsure {
            from: from.unwrap_or(told).saturating_sub(clock.offset),
            to: now.saturating_sub(clock.offset).saturating_add(AGE_SLACK),
            by,
        });
        if let Some(suspect) = clock.suspect.take()
            && let Some(place) = self.index.find(suspect.id)
            && self.slots[place].sender == arrival.sender.0
        {
            // The creation followed before the sender's clock was known to have made a step.
            let slot = &mut self.slots[place];
            slot.creation = slot.creation.moved(by.saturating_neg());
        }
        clock.offset = clock
            .offset
            .saturating_add(by)
            .clamp(-MAX_OFFSET, MAX_OFFSET);
        clock.jumps.0.clear();
        clock.hold = None;
        self.is_any_off = true;
        self.counters.steps += 1;
        self.steps.push((arrival.sender, by));
        arrival.step(by, self.epoch.unwrap_or(0));
        self.requeue();
    }

    /// Whether the time of a state's last packet is too uncertain to call a DEL_C early or late by
    /// it: it was noted before a step was learned, or the only jump since then, if it was a step,
    /// makes the DEL_C timely.
    #[inline(always)]
    pub(super) fn is_doubtful_time(
        &self,
        sender: u16,
        last: Second,
        is_timely_after: impl Fn(i64) -> bool,
    ) -> bool {
        let clock = &self.senders[sender].clock;
        if clock.jumps.0.is_empty() && clock.unsure.is_none() {
            return false;
        }
        let secs = last.uptime(self.epoch.unwrap_or(0));
        clock.is_unsure(secs) || clock.only_step_since(secs).is_some_and(is_timely_after)
    }
}
