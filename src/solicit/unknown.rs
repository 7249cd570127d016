//! Asking for states that only an update was heard of: their insert was lost, or they began before
//! this program did. Firewalls ask each other likewise (pfsync.md 5.3).
//!
//! ```text
//!           UPD_C               1 s               2 s               2 s
//! (unknown) ------> held back ------> asked once ------> asked twice ------> forgotten, 10 min
//!                       |  ^
//!                       +--+  a transfer of all states is under way, or too many were asked for
//! ```
//! A state that is known by the time, or that has ended, leaves from everywhere. Each request is
//! paid from the account of [`super::schedule`].

use std::collections::VecDeque;
use std::time::Duration;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::counters::SolicitCounters;
use crate::state::StateId;
use crate::table::SenderId;
use crate::time::Uptime;

/// How long to wait for the whole state, which may be on its way.
const DELAY: Duration = Duration::from_secs(1);
/// How long to wait for an answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a state that nobody told of is not asked for again.
const SHUNNED: Duration = Duration::from_secs(600);
/// Most states, those that have just left included.
const MAX_UNKNOWN: usize = 1 << 16;

/// How far it has come with a state.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stage {
    HeldBack,
    Once,
    Twice,
    Forgotten,
}

impl Stage {
    /// How long it lasts.
    fn length(self) -> Duration {
        match self {
            Self::HeldBack => DELAY,
            Self::Once | Self::Twice => PATIENCE,
            Self::Forgotten => SHUNNED,
        }
    }
}

/// A state that is not known.
#[derive(Clone, Copy, Debug)]
struct Stranger {
    sender: SenderId,
    stage: Stage,
    /// When the stage ends.
    due: Uptime,
}

/// What is to become of a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Outcome {
    /// It is made.
    Asked,
    /// Not now, perhaps later.
    NotYet,
    /// Its sender cannot be asked.
    Unaskable,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Unknown {
    strangers: HashMap<StateId, Stranger, RandomState>,
    /// The ends of stages, in order, for each length of one. What a state has left since is passed
    /// over.
    ends: [VecDeque<(Uptime, StateId)>; 3],
}

impl Unknown {
    /// A sender showed activity of a state that is not known.
    pub(super) fn heard(
        &mut self,
        now: Uptime,
        id: StateId,
        sender: SenderId,
        counters: &mut SolicitCounters,
    ) {
        if let Some(stranger) = self.strangers.get_mut(&id) {
            stranger.sender = sender;
        } else if self.ends.iter().map(VecDeque::len).sum::<usize>() >= MAX_UNKNOWN {
            counters.unknown_refused += 1;
        } else {
            self.enter(now, id, sender, Stage::HeldBack);
        }
    }

    /// A state that is not known ended.
    pub(super) fn ended(&mut self, id: StateId) {
        self.strangers.remove(&id);
    }

    /// When [`Self::handle_timeout`] has something to do.
    pub(super) fn poll_timeout(&self) -> Option<Uptime> {
        let firsts = self.ends.iter().filter_map(VecDeque::front);
        firsts.map(|(due, _)| *due).min()
    }

    /// Does what is due: hands the states to `ask` that are to be asked for, unless `is_known`.
    pub(super) fn handle_timeout(
        &mut self,
        now: Uptime,
        counters: &mut SolicitCounters,
        is_known: &dyn Fn(StateId) -> bool,
        ask: &mut dyn FnMut(StateId, SenderId) -> Outcome,
    ) {
        for number in 0..self.ends.len() {
            while let Some((due, id)) = self.pop(number, now) {
                let Some(stranger) = self.strangers.get(&id).copied() else {
                    continue;
                };
                if stranger.due != due {
                    continue;
                }
                let is_asked = matches!(stranger.stage, Stage::Once | Stage::Twice);
                if is_known(id) {
                    counters.answered += u64::from(is_asked);
                    self.strangers.remove(&id);
                    continue;
                }
                let next = match stranger.stage {
                    Stage::HeldBack | Stage::Once => ask(id, stranger.sender),
                    Stage::Twice => {
                        counters.unanswered += 1;
                        self.enter(now, id, stranger.sender, Stage::Forgotten);
                        continue;
                    }
                    Stage::Forgotten => {
                        self.strangers.remove(&id);
                        continue;
                    }
                };
                self.went(now, id, stranger, next, counters);
            }
        }
    }

    /// Puts a state where the outcome of a request for it belongs.
    fn went(
        &mut self,
        now: Uptime,
        id: StateId,
        stranger: Stranger,
        outcome: Outcome,
        counters: &mut SolicitCounters,
    ) {
        let stage = match (outcome, stranger.stage) {
            (Outcome::Asked, Stage::HeldBack) => {
                counters.unknown += 1;
                Stage::Once
            }
            (Outcome::Asked, _) => {
                counters.repeated += 1;
                Stage::Twice
            }
            (Outcome::NotYet, stage) => stage,
            (Outcome::Unaskable, _) => {
                counters.unaskable += 1;
                Stage::Forgotten
            }
        };
        self.enter(now, id, stranger.sender, stage);
    }

    fn enter(&mut self, now: Uptime, id: StateId, sender: SenderId, stage: Stage) {
        let due = now.after(stage.length());
        let stranger = Stranger { sender, stage, due };
        self.strangers.insert(id, stranger);
        let [delays, patiences, shunned] = &mut self.ends;
        let ends = match stage {
            Stage::HeldBack => delays,
            Stage::Once | Stage::Twice => patiences,
            Stage::Forgotten => shunned,
        };
        ends.push_back((due, id));
    }

    fn pop(&mut self, number: usize, now: Uptime) -> Option<(Uptime, StateId)> {
        let ends = self.ends.get_mut(number)?;
        let is_due = ends.front().is_some_and(|(due, _)| *due <= now);
        if is_due { ends.pop_front() } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounting::Counting;
    use crate::flow::Boot;
    use crate::state::Timeouts;
    use crate::table::{Sender, Settings, Table};

    fn sender() -> SenderId {
        let mut table = Table::new(Settings {
            states: crate::table::Bound::States(1),
            timeouts: Timeouts::default(),
            boot: Boot::Known,
            counting: Counting::Estimate,
        });
        table.sender(Sender::Address([192, 0, 2, 1].into()))
    }

    fn id(id: u64) -> StateId {
        StateId { id, creatorid: 1 }
    }

    /// When a state is asked for that is heard of each second, until and unless it is known.
    fn asked(
        outcome: &dyn Fn(i64) -> Outcome,
        known: i64,
        counters: &mut SolicitCounters,
    ) -> Vec<i64> {
        let (mut unknown, sender) = (Unknown::default(), sender());
        let mut asked = Vec::new();
        for secs in 0..1500 {
            let now = Uptime::new(secs, 0);
            if secs < known {
                unknown.heard(now, id(1), sender, counters);
            }
            unknown.handle_timeout(now, counters, &|_| secs >= known, &mut |_, _| {
                let outcome = outcome(secs);
                if outcome == Outcome::Asked {
                    asked.push(secs);
                }
                outcome
            });
            assert!(unknown.poll_timeout().is_none_or(|due| due > now));
        }
        asked
    }

    #[test]
    fn a_state_that_nobody_tells_of_is_asked_for_twice_in_ten_minutes() {
        let mut counters = SolicitCounters::default();
        let times = asked(&|_| Outcome::Asked, 1500, &mut counters);
        assert_eq!(times, [1, 3, 607, 609, 1213, 1215]);
        assert_eq!(
            (counters.unknown, counters.repeated, counters.unanswered),
            (3, 3, 3)
        );
    }

    #[test]
    fn an_answer_ends_it_and_one_that_came_by_itself_leaves_nothing_to_ask() {
        let mut counters = SolicitCounters::default();
        assert_eq!(asked(&|_| Outcome::Asked, 2, &mut counters), [1]);
        assert_eq!(counters.answered, 1);
        assert_eq!(asked(&|_| Outcome::Asked, 1, &mut counters), [0; 0]);
        assert_eq!((counters.answered, counters.unanswered), (1, 0));
    }

    #[test]
    fn what_cannot_be_asked_yet_is_asked_later_and_what_never_can_is_left_alone() {
        let mut counters = SolicitCounters::default();
        let later = |secs| match secs {
            0..50 => Outcome::NotYet,
            _ => Outcome::Asked,
        };
        assert_eq!(asked(&later, 51, &mut counters), [50]);
        assert_eq!(asked(&|_| Outcome::Unaskable, 100, &mut counters), [0; 0]);
        assert_eq!(counters.unaskable, 1);
    }

    #[test]
    fn a_state_that_ended_is_not_asked_for() {
        let (mut unknown, mut counters) = (Unknown::default(), SolicitCounters::default());
        unknown.heard(Uptime::new(0, 0), id(1), sender(), &mut counters);
        unknown.ended(id(1));
        unknown.handle_timeout(Uptime::new(9, 0), &mut counters, &|_| false, &mut |_, _| {
            panic!("asked")
        });
        assert_eq!(unknown.poll_timeout(), None);
    }

    #[test]
    fn states_beyond_the_bound_are_counted() {
        let (mut unknown, mut counters) = (Unknown::default(), SolicitCounters::default());
        let sender = sender();
        for number in 0..=MAX_UNKNOWN as u64 {
            unknown.heard(Uptime::new(0, 0), id(number), sender, &mut counters);
            unknown.ended(id(number));
        }
        assert_eq!(counters.unknown_refused, 1);
    }
}
