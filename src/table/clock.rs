//! What is known of one sender's clock: its offset, and the jumps of its stamps that may have been
//! steps.
//!
//! Stamps that jump are remembered. What a state tells afterwards shows whether that was a pause or a
//! step of the clock.

use crate::state::StateId;
use crate::time::{NANOS, Uptime};

/// Seconds by which the ages of one state may differ between messages. Ages are cut to seconds on
/// one machine and put on another clock here.
pub(super) const AGE_SLACK: i64 = 2;

/// Stamps of a sender that are so many nanoseconds apart, or go back, have jumped.
const USUAL_GAP: std::ops::Range<i64> = 0..3 * NANOS / 2;

/// Most jumps remembered of a sender. Beyond that, the jump least like a step is joined with the
/// next.
const MAX_JUMPS: usize = 8;

/// A sender says something every so many seconds, mostly.
const MAX_PASSED: i64 = 60;

/// Stamps that were further apart than usual, or went back. Seconds of uptime.
#[derive(Clone, Copy, Debug)]
pub(super) struct Jump {
    /// The lower and the higher stamp.
    pub(super) low: i64,
    pub(super) high: i64,
    /// How far apart they are, and so how far a clock may have stepped, in whole seconds: what
    /// passed between two packets besides is mostly less than one.
    pub(super) step: i64,
    /// At most, of all that this stands for, forward and back.
    pub(super) forward: i64,
    backward: i64,
}

impl Jump {
    /// Whether the jump was after uptime `secs`, which may be a second off. The clock stands while
    /// stamps are behind.
    fn is_since(&self, secs: i64) -> bool {
        let high = self.high;
        secs < if self.step < 0 {
            high + AGE_SLACK
        } else {
            high
        }
    }

    /// Whether the jump must have been a step. Only a clock's step makes time go back, but packets
    /// may come a little late.
    fn is_certain(&self) -> bool {
        self.step < -AGE_SLACK
    }

    /// How much like a step it is.
    fn likeness(&self) -> i64 {
        if self.is_certain() {
            i64::MAX
        } else {
            self.step
        }
    }

    /// How far the clock stepped if a state is off by `by` seconds because of it. Some time also
    /// passed between the two packets.
    fn step_of(&self, by: i64) -> Option<i64> {
        let passed = self.step.saturating_sub(by);
        match passed {
            -1..=1 => Some(self.step),
            2..=MAX_PASSED if self.is_certain() => Some(by),
            _ => None,
        }
    }
}

/// Jumps that may have been pauses or steps, the oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Jumps(pub(super) Vec<Jump>);

impl Jumps {
    #[cold]
    pub(super) fn note(&mut self, from: Uptime, to: Uptime) {
        if self.0.len() >= MAX_JUMPS {
            self.merge();
        }
        let apart = to.nanos().saturating_sub(from.nanos());
        let step = apart.div_euclid(NANOS);
        self.0.push(Jump {
            low: from.min(to).secs(),
            high: from.max(to).secs(),
            step,
            forward: apart.saturating_add(NANOS - 1).div_euclid(NANOS).max(0),
            backward: step.saturating_neg().max(0),
        });
    }

    /// Makes one of that which is least a step and the next.
    fn merge(&mut self) {
        let places = 0..self.0.len().saturating_sub(1);
        let likeness = |place: &usize| self.0.get(*place).map(Jump::likeness);
        let Some(place) = places.min_by_key(likeness) else {
            return;
        };
        let least = self.0.remove(place);
        if let Some(next) = self.0.get_mut(place) {
            next.low = next.low.min(least.low);
            next.forward = next.forward.saturating_add(least.forward);
            next.backward = next.backward.saturating_add(least.backward);
        }
    }

    /// Those after uptime `secs`.
    pub(super) fn since(&self, secs: i64) -> impl Iterator<Item = &Jump> {
        self.0.iter().filter(move |jump| jump.is_since(secs))
    }

    /// How far a clock may have stepped forward since, and back, seconds.
    pub(super) fn reach_since(&self, secs: i64) -> (i64, i64) {
        self.since(secs).fold((0, 0), |(forward, backward), jump| {
            (
                forward.saturating_add(jump.forward),
                backward.saturating_add(jump.backward),
            )
        })
    }

    /// Forgets those that a state told at `told` shows to have been pauses.
    pub(super) fn forget_since(&mut self, told: i64) {
        self.0.retain(|jump| told.saturating_add(1) >= jump.high);
    }
}

/// A state that is off by less than a jump: one more that is off alike makes it a step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Suspect {
    pub(super) id: StateId,
    pub(super) by: i64,
}

/// Expiry waits: what is due between the two is due at the later.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hold {
    pub(super) from: Uptime,
    pub(super) to: Uptime,
    pub(super) until: Uptime,
}

/// Times of states that were noted between the last step and when it was learned. They moved with
/// the others, but should not have moved.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unsure {
    pub(super) from: i64,
    pub(super) to: i64,
    pub(super) by: i64,
}

/// What is known of a sender's clock.
#[derive(Clone, Debug, Default)]
pub(super) struct SenderClock {
    /// Seconds that uptime is ahead of the times of its states.
    pub(super) offset: i64,
    /// Its last packet's stamp.
    pub(super) last: Option<Uptime>,
    pub(super) jumps: Jumps,
    /// All there were, whatever they turned out to be: what was noted of a state that ended keeps
    /// to the clock of then.
    pub(super) past: Jumps,
    pub(super) suspect: Option<Suspect>,
    pub(super) hold: Option<Hold>,
    pub(super) unsure: Option<Unsure>,
}

impl SenderClock {
    /// Notes a packet stamped `at`.
    #[inline(always)]
    pub(super) fn note_packet(&mut self, at: Uptime) {
        let Some(last) = self.last.replace(at) else {
            return;
        };
        if !USUAL_GAP.contains(&at.nanos().wrapping_sub(last.nanos())) {
            self.jumps.note(last, at);
            self.past.note(last, at);
        }
    }

    /// When what is due at `due` of its states' time is due.
    #[inline(always)]
    pub(super) fn due(&self, due: Uptime) -> Uptime {
        if self.offset == 0 && self.hold.is_none() {
            return due;
        }
        let due = due.moved(self.offset);
        match self.hold {
            Some(hold) if hold.from < due && due < hold.until => hold.until,
            _ => due,
        }
    }

    /// Whether a time of its states was noted between the last step and when that was learned.
    #[inline(never)]
    pub(super) fn is_unsure(&self, secs: i64) -> bool {
        self.unsure
            .is_some_and(|unsure| (unsure.from..=unsure.to).contains(&secs))
    }

    /// How far its clock stepped since a time of its states if the only jump since was a step.
    #[inline(never)]
    pub(super) fn only_step_since(&self, secs: i64) -> Option<i64> {
        let mut jumps = self.jumps.since(secs.saturating_add(self.offset));
        let only = jumps.next().map(|jump| jump.step);
        only.filter(|_| jumps.next().is_none())
    }

    /// A state last told at uptime `told` is off by `by` seconds, more than drift and rounding
    /// make: the step that its sender's clock made, if this shows it. `all` are the jumps between
    /// packets of all senders, which are less far apart.
    pub(super) fn learn(&mut self, id: StateId, told: i64, by: i64, all: &Jumps) -> Option<i64> {
        // The state was told after the step. No other step puts it right.
        if self.is_unsure(told.saturating_sub(self.offset))
            && self
                .unsure
                .is_some_and(|unsure| unsure.by.saturating_add(by).abs() <= AGE_SLACK)
        {
            return None;
        }
        let mut jumps = all.since(told).chain(self.jumps.since(told));
        if let Some(by) = jumps.find_map(|jump| jump.step_of(by)) {
            return Some(by);
        }
        // A step back may hide in a pause, a step forward only lengthens it.
        let hides = |jump: &Jump| (1..=MAX_PASSED).contains(&jump.step.saturating_sub(by));
        let is_hidden = (-MAX_PASSED..0).contains(&by) || self.jumps.since(told).any(hides);
        if !is_hidden {
            return None;
        }
        let other = self.suspect.filter(|other| other.id != id);
        if other.is_some_and(|other| other.by.abs_diff(by) <= AGE_SLACK.unsigned_abs()) {
            return Some(by);
        }
        self.suspect = Some(Suspect { id, by });
        None
    }
}

impl Uptime {
    /// So many seconds later, or earlier.
    pub(super) fn moved(self, secs: i64) -> Self {
        Self::from_nanos(self.nanos().saturating_add(secs.saturating_mul(NANOS)))
    }
}
