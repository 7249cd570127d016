//! Whom to ask when.
//!
//! ```text
//!             activity                silent long enough, its turn           full state
//!   (exact) ------------> owed ---------------------------------> waiting ------------> (exact)
//!      ^                   ^ |  full state                          |  |
//!      +-------------------|-+        2 s: asked once more          +--+
//!                          +----------- activity comes   2 s more: unanswered
//! ```
//! A state is owed while a sender showed activity and sent no full state since. How long the state
//! has to be silent depends on its PFTM. A TCP state that is closing has to be silent for 3 s. All
//! others have to be silent for half of their timeout, but at most 30 s if established and 10 s if
//! not. A state is asked for once in a silence, and never if it is not owed.
//!
//! A request for a state that goes on afterwards was in vain. Three things keep that rare:
//!
//! - The state's next silence has to last 8 s less than the state can live.
//! - If a quarter of the states of a PFTM went on, others' first silence has to last as long, too.
//!   One state in sixteen is still asked early, which keeps measuring.
//! - Each request beyond a state's first is paid from an account. So are repetitions, and requests
//!   for states that are not known. A state that ends pays in half a request, or one and a half if
//!   it was never asked for. So there are at most 64 requests, plus 1.5 for each state that ended,
//!   plus one for each that lives. The requests of `active` are extra.
//!
//! The `expire` of a state tells how long it can live, better than the configuration does.
//!
//! pf may answer only when it reads all states the next time ([`super::pf`]). So pf is asked
//! earlier by that time, and its answer is waited for longer by that time.

mod entry;
mod heard;

use std::time::Duration;

use super::settings::Settings;
use super::wheel::{Tick, Wheel};
use crate::counters::SolicitCounters;
use crate::slab::Slab;
use crate::state::{PFTM_COUNT, Timeouts};
use crate::table::SenderId;
use crate::time::{NANOS, Uptime};
use entry::{ASKED, Class, DONE, EARLY, EVER, Entry, OWED, REPEATED, RESUMED, WAITING};

/// The clock's step.
const TICK: Duration = Duration::from_millis(100);
/// Nanoseconds of it.
const TICK_NANOS: i64 = NANOS / TICKS_A_SECOND as i64;
/// Ticks in a second.
const TICKS_A_SECOND: Tick = 10;

/// How long a TCP state that is closing has to be silent.
const CLOSING: Tick = 3 * TICKS_A_SECOND;
/// How long one that is established has to be at most: less than it would live if it was closed.
const ESTABLISHED: Tick = 30 * TICKS_A_SECOND;
/// How long all others have to be at most.
const SILENT: Tick = 10 * TICKS_A_SECOND;
/// How long before the end of its timeout a state is asked for that went on once already: time for
/// an answer, a repetition, and a second that its last update may have been under way.
const MARGIN: Tick = 8 * TICKS_A_SECOND;
/// Seconds that a firewall may keep activity to itself.
const FRESH: u32 = 2;
/// How long to wait for an answer.
const ANSWER_WAIT: Tick = 2 * TICKS_A_SECOND;
/// How long before the end of an active timeout to ask: time for an answer and a repetition.
const LEAD: Tick = 5 * TICKS_A_SECOND;
/// Requests in a row that a sender did not answer before none of them is repeated any more.
const DEAF: u8 = 32;
/// What the account holds at first, in halves of a request.
const CREDIT: i64 = 2 * 64;
/// What a request costs.
const COST: i64 = 2;
/// What a state that was asked for pays in when it ends.
const ASKED_PAYS: i64 = 1;
/// What one pays in that was not.
const UNASKED_PAYS: i64 = 3;
/// Of how many states one is asked early though most go on.
const PROBE: u32 = 16;

/// Why a state is asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Reason {
    First,
    Again,
    Repeat,
    Active,
}

/// What is to be done about a state now.
enum Verdict {
    Nothing,
    Wait(Tick),
    Ask(Reason),
    GiveUp,
    Withhold,
}

/// The states and when each is due.
pub(super) struct Schedule {
    /// Tick 0.
    base: Uptime,
    entries: Slab<Entry>,
    wheel: Wheel,
    timeouts: Timeouts,
    active: Option<Tick>,
    /// Nanoseconds a request takes by the rate.
    pace: Duration,
    /// When the requests made so far have taken theirs.
    free: Uptime,
    credit: i64,
    classes: [Class; PFTM_COUNT],
    /// Requests that each sender left unanswered since its last answer.
    misses: Vec<u8>,
    /// How long pf may take to answer.
    pf_delay: Tick,
}

impl Schedule {
    pub(super) fn new(now: Uptime, settings: &Settings) -> Self {
        let mut schedule = Self {
            base: now,
            entries: Slab::default(),
            wheel: Wheel::new(),
            timeouts: settings.timeouts,
            active: None,
            pace: Duration::ZERO,
            free: now,
            credit: CREDIT,
            classes: Default::default(),
            misses: Vec::new(),
            pf_delay: 0,
        };
        schedule.set(settings);
        schedule
    }

    pub(super) fn set(&mut self, settings: &Settings) {
        self.timeouts = settings.timeouts;
        self.pace = Duration::from_secs(1) / settings.rate.max(1);
        let ticks = |period: Duration| {
            let secs = Tick::try_from(period.as_secs()).unwrap_or(Tick::MAX);
            secs.saturating_mul(TICKS_A_SECOND).max(1)
        };
        self.active = settings.active.map(ticks);
    }

    /// pf may take so long to answer.
    pub(super) fn set_pf_delay(&mut self, delay: Duration) {
        let ticks = delay.as_nanos().div_ceil(TICK.as_nanos());
        self.pf_delay = Tick::try_from(ticks).unwrap_or(Tick::MAX);
    }

    /// How long a sender may take to answer, beside what the network takes.
    fn delay(&self, sender: SenderId) -> Tick {
        match sender.is_local() {
            true => self.pf_delay,
            false => 0,
        }
    }

    /// Octets of memory taken for states.
    pub(super) fn octets(&self) -> usize {
        self.entries.octets()
    }

    /// When [`Self::handle_timeout`] has something to do.
    pub(super) fn poll_timeout(&self) -> Option<Uptime> {
        let due = self.wheel.next_due().map(|tick| self.uptime(tick));
        // What waits for its turn goes a tick's worth at a time, in as few packets as that takes.
        let ready = self.wheel.first_ready();
        let ready = ready.map(|_| self.uptime(self.tick_after(self.next_turn())));
        due.into_iter().chain(ready).min()
    }

    /// Hands the states to `ask` that are due and have their turn. It says whether that state's
    /// sender can be asked.
    pub(super) fn handle_timeout(
        &mut self,
        now: Uptime,
        counters: &mut SolicitCounters,
        ask: &mut dyn FnMut(u32, SenderId) -> bool,
    ) {
        let to = self.tick(now);
        while let Some(place) = self.wheel.pop_due(&mut self.entries, to) {
            self.judge_until_settled(place, to, counters);
        }
        while let Some(place) = self.wheel.first_ready() {
            if self.next_turn() > now {
                return;
            }
            let is_deferred = self.entries[place].link.since() < to;
            self.wheel.remove(&mut self.entries, place);
            match self.verdict(place, to) {
                Verdict::Ask(reason) => {
                    counters.deferred += u64::from(is_deferred);
                    self.ask(place, now, reason, counters, ask);
                }
                _ => self.judge_until_settled(place, to, counters),
            }
        }
    }

    /// Takes a turn for a request for a state that is not known here, and pays for it; whether
    /// that could be.
    pub(super) fn take_turn(&mut self, now: Uptime) -> bool {
        let can = self.credit >= COST && self.next_turn() <= now;
        if can {
            self.credit -= COST;
            self.free = self.free.max(now).after(self.pace);
        }
        can
    }

    /// Does what is to be done about a state that is in no list.
    fn judge_until_settled(&mut self, place: u32, to: Tick, counters: &mut SolicitCounters) {
        loop {
            match self.verdict(place, to) {
                Verdict::Nothing => return,
                Verdict::Wait(due) => return self.wheel.insert(&mut self.entries, place, due),
                Verdict::Ask(_) => {
                    return self.wheel.insert_ready(&mut self.entries, place, to);
                }
                Verdict::GiveUp => self.give_up(place, counters),
                Verdict::Withhold => {
                    counters.withheld += 1;
                    self.entries[place].flags |= DONE;
                }
            }
        }
    }

    fn verdict(&self, place: u32, now: Tick) -> Verdict {
        let entry = &self.entries[place];
        match self.due(place) {
            None => return Verdict::Nothing,
            Some(due) if due > now => return Verdict::Wait(due),
            Some(_) => {}
        }
        let can_pay = self.credit >= COST;
        if entry.has(WAITING) {
            let misses = self.misses.get(entry.sender.index()).copied();
            let is_deaf = misses.is_some_and(|misses| misses >= DEAF);
            return if entry.has(REPEATED) || is_deaf || !can_pay {
                Verdict::GiveUp
            } else {
                Verdict::Ask(Reason::Repeat)
            };
        }
        if self.active.is_some() && entry.active <= now {
            return Verdict::Ask(Reason::Active);
        }
        match (entry.has(EVER), can_pay) {
            (false, _) => Verdict::Ask(Reason::First),
            (true, true) => Verdict::Ask(Reason::Again),
            (true, false) => Verdict::Withhold,
        }
    }

    /// When there is something to be done about a state, if nothing happens.
    fn due(&self, place: u32) -> Option<Tick> {
        let entry = &self.entries[place];
        if !entry.has(OWED) {
            return None;
        }
        if entry.has(WAITING) {
            let wait = ANSWER_WAIT.saturating_add(self.delay(entry.sender));
            return Some(entry.asked.saturating_add(wait));
        }
        let silent = (!entry.has(DONE)).then(|| entry.last.saturating_add(self.patience(place)));
        let active = self.active.map(|_| entry.active);
        silent.into_iter().chain(active).min()
    }

    /// How long a state has to be silent.
    fn patience(&self, place: u32) -> Tick {
        let entry = &self.entries[place];
        let timeout = self.lifetime(place).saturating_mul(TICKS_A_SECOND);
        let early = Self::early(entry.pftm, timeout);
        if self.is_late(place) {
            let margin = MARGIN.saturating_add(self.delay(entry.sender));
            early.max(timeout.saturating_sub(margin))
        } else {
            early
        }
    }

    /// How long a state lives after its last packet, seconds, as far as is known.
    fn lifetime(&self, place: u32) -> u32 {
        let entry = &self.entries[place];
        match (entry.timeout, self.class(entry.pftm).timeout) {
            (0, 0) => self.timeouts.seconds(entry.pftm),
            (0, told) | (told, _) => told,
        }
    }

    /// Whether a state is not asked for before it nearly ends.
    fn is_late(&self, place: u32) -> bool {
        let entry = &self.entries[place];
        let is_probe = place.is_multiple_of(PROBE);
        entry.has(RESUMED) || (self.class(entry.pftm).is_early_vain() && !is_probe)
    }

    /// How long the states of a PFTM have to be silent at first.
    fn early(pftm: u8, timeout: Tick) -> Tick {
        match pftm {
            // TCP and SCTP that are closing or closed.
            3..=5 | 23 | 24 => CLOSING.min(timeout / 2),
            // Established: the message that it began to close may be lost.
            2 | 22 => ESTABLISHED.min(timeout / 2),
            _ => SILENT.min(timeout / 2),
        }
    }

    /// Puts a state where it is due, unless it comes up before anyway.
    fn reschedule(&mut self, place: u32) {
        let link = self.entries[place].link;
        match self.due(place) {
            None => self.wheel.remove(&mut self.entries, place),
            Some(_) if link.is_ready() => {}
            Some(due) if link.due().is_some_and(|earlier| earlier <= due) => {}
            Some(due) => {
                self.wheel.remove(&mut self.entries, place);
                self.wheel.insert(&mut self.entries, place, due);
            }
        }
    }

    fn ask(
        &mut self,
        place: u32,
        now: Uptime,
        reason: Reason,
        counters: &mut SolicitCounters,
        ask: &mut dyn FnMut(u32, SenderId) -> bool,
    ) {
        let (to, asked) = (self.tick(now), self.tick_after(now));
        let sender = self.entries[place].sender;
        if !ask(place, sender) {
            counters.unaskable += 1;
            if reason == Reason::Repeat {
                self.give_up(place, counters);
            }
            self.entries[place].flags &= !OWED;
            return;
        }
        self.free = self.free.max(now).after(self.pace);
        let is_early = !self.is_late(place);
        let period = self.active.unwrap_or(Tick::MAX);
        let entry = &mut self.entries[place];
        match reason {
            Reason::First => counters.requested += 1,
            Reason::Again => counters.again += 1,
            Reason::Repeat => counters.repeated += 1,
            Reason::Active => counters.active += 1,
        }
        match reason {
            Reason::First | Reason::Again => {
                entry.flags |= DONE | ASKED | EVER | if is_early { EARLY } else { 0 };
            }
            Reason::Repeat => entry.flags |= REPEATED,
            Reason::Active => entry.active = next_beat(entry.active, period, to.saturating_add(1)),
        }
        if matches!(reason, Reason::Again | Reason::Repeat) {
            self.credit -= COST;
        }
        entry.flags |= WAITING;
        entry.asked = asked;
        self.reschedule(place);
    }

    /// No answer came.
    fn give_up(&mut self, place: u32, counters: &mut SolicitCounters) {
        counters.unanswered += 1;
        let entry = &mut self.entries[place];
        entry.flags &= !(WAITING | REPEATED);
        let sender = entry.sender.index();
        if sender >= self.misses.len() {
            self.misses.resize(sender + 1, 0);
        }
        if let Some(misses) = self.misses.get_mut(sender) {
            *misses = misses.saturating_add(1);
        }
    }

    fn class(&self, pftm: u8) -> Class {
        let class = self.classes.get(usize::from(pftm));
        class.copied().unwrap_or_default()
    }

    /// When the rate lets the next request out: those of one tick may go together.
    fn next_turn(&self) -> Uptime {
        Uptime::from_nanos(self.free.nanos().saturating_sub(TICK_NANOS))
    }

    /// The tick that `now` is in.
    fn tick(&self, now: Uptime) -> Tick {
        let ticks = now.since(self.base).as_nanos() / TICK.as_nanos();
        Tick::try_from(ticks).unwrap_or(Tick::MAX)
    }

    /// The first tick that begins at `now` or later.
    fn tick_after(&self, now: Uptime) -> Tick {
        let ticks = now.since(self.base).as_nanos().div_ceil(TICK.as_nanos());
        Tick::try_from(ticks).unwrap_or(Tick::MAX)
    }

    fn uptime(&self, tick: Tick) -> Uptime {
        self.base.after(TICK.saturating_mul(tick))
    }
}

/// The first of the beats from `active` on, each `period` later, that is not before `tick`.
fn next_beat(active: Tick, period: Tick, tick: Tick) -> Tick {
    let missed = tick.saturating_sub(active).div_ceil(period.max(1));
    active.saturating_add(period.saturating_mul(missed))
}

/// How long after the beginning of an active timeout to ask whoever may take `delay` to answer.
fn lead(period: Tick, delay: Tick) -> Tick {
    let lead = LEAD.saturating_add(delay);
    period.saturating_sub(lead).max(period / 2)
}
