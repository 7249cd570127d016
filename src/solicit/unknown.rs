//! Asks for states of which only an update was heard. Their insert was lost, or they began before
//! this program did. Firewalls ask each other likewise (if_pfsync.c, `pfsync_request_update`).
//!
//! ```text
//!           UPD_C               1 s               2 s               2 s
//! (unknown) ------> held back ------> asked once ------> asked twice ------> forgotten, 10 min
//!                       |  ^  |
//!                       +--+  +---> left alone: not heard of again for 30 s
//!                        a transfer of all states is under way, or too many were asked for
//! ```
//! A state leaves every stage once it is known or has ended. Each request is paid from the account
//! of [`super::schedule`].
//!
//! Anyone on the sync network can send updates of states that do not exist. So each sender has its
//! own queue, and senders take turns. Of one sender's states, those heard of more than once go
//! first, because a state that lives is heard of again. If there is no room, the longest queue
//! gives way, first with states that nobody told of.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
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
const ANSWER_WAIT: Duration = Duration::from_secs(2);
/// How long a state that nobody told of is not asked for again.
const SHUNNED: Duration = Duration::from_secs(600);
/// How long a state is remembered that cannot be asked for yet and is not heard of again.
const REMEMBERED: Duration = Duration::from_secs(30);
/// Most states, those that have just left included.
const MAX_UNKNOWN: usize = 1 << 16;
/// Most states looked at in one call.
const TURN: usize = 1 << 12;
/// Oldest states of a queue among which one is looked for that was heard of once.
const OLDEST: usize = 16;
/// Requests in a row that a sender did not answer before none of them is repeated any more.
const DEAF: u8 = 32;

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
            Self::Once | Self::Twice => ANSWER_WAIT,
            Self::Forgotten => SHUNNED,
        }
    }
}

/// A state that is not known.
#[derive(Clone, Copy, Debug)]
struct Stranger {
    /// Whose queue it is in: who told of it first.
    owner: SenderId,
    /// Who told of it last.
    sender: SenderId,
    stage: Stage,
    /// When the stage ends.
    due: Uptime,
    /// When it was heard of last.
    heard: Uptime,
    /// Whether that was not the only time.
    is_heard_again: bool,
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

/// The states that one sender told of first.
#[derive(Debug, Default)]
struct Queue {
    /// The ends of stages, in order, for each length of one. What a state has left since is passed
    /// over.
    ends: [VecDeque<(Uptime, StateId)>; 3],
    /// Requests in a row that nobody answered.
    misses: u8,
}

impl Queue {
    fn len(&self) -> usize {
        self.ends.iter().map(VecDeque::len).sum()
    }

    fn due(&self) -> Option<Uptime> {
        let firsts = self.ends.iter().filter_map(VecDeque::front);
        firsts.map(|(due, _)| *due).min()
    }

    fn pop_due(&mut self, now: Uptime) -> Option<(Uptime, StateId)> {
        let is_due = |ends: &&mut VecDeque<(Uptime, StateId)>| {
            ends.front().is_some_and(|(due, _)| *due <= now)
        };
        self.ends.iter_mut().find(is_due)?.pop_front()
    }

    fn push(&mut self, stage: Stage, due: Uptime, id: StateId) {
        let [delays, patiences, shunned] = &mut self.ends;
        let ends = match stage {
            Stage::HeldBack => delays,
            Stage::Once | Stage::Twice => patiences,
            Stage::Forgotten => shunned,
        };
        ends.push_back((due, id));
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Unknown {
    strangers: HashMap<StateId, Stranger, RandomState>,
    queues: BTreeMap<SenderId, Queue>,
    /// How long each queue is.
    lens: BTreeSet<(usize, SenderId)>,
    /// States in all queues, those that have left included.
    len: usize,
    /// Nothing is due before this.
    due: Option<Uptime>,
    /// Whose turn was last.
    latest: SenderId,
    /// How long pf may take to answer.
    pf_delay: Duration,
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
            (stranger.sender, stranger.heard) = (sender, now);
            stranger.is_heard_again = true;
            return;
        }
        if self.len >= MAX_UNKNOWN && !self.make_room(sender) {
            counters.unknown_refused += 1;
            return;
        }
        let stranger = Stranger {
            owner: sender,
            sender,
            stage: Stage::HeldBack,
            due: now,
            heard: now,
            is_heard_again: false,
        };
        self.enter(now, id, stranger, Stage::HeldBack);
    }

    /// Makes room for one more state of `sender`; false if it has its share already.
    fn make_room(&mut self, sender: SenderId) -> bool {
        let own = self.queues.get(&sender).map_or(0, Queue::len);
        let Some(&(len, longest)) = self.lens.last() else {
            return false;
        };
        let Some(queue) = self.queues.get_mut(&longest) else {
            return false;
        };
        let has_share = longest == sender || len <= own + 1;
        let strangers = &self.strangers;
        let is_heard_again = |(due, id): &(Uptime, StateId)| {
            let stranger = strangers.get(id).filter(|stranger| stranger.due == *due);
            stranger.is_some_and(|stranger| stranger.is_heard_again)
        };
        let [delays, patiences, shunned] = &mut queue.ends;
        // Those that nobody told of first, then those heard of once.
        let left = shunned.pop_front().or_else(|| {
            let mut oldest = delays.iter().take(OLDEST);
            let once = oldest.position(|end| !is_heard_again(end));
            once.and_then(|place| delays.remove(place))
        });
        let left = match left {
            None if !has_share => delays.pop_back().or_else(|| patiences.pop_back()),
            left => left,
        };
        let Some((due, id)) = left else { return false };
        if strangers
            .get(&id)
            .is_some_and(|stranger| stranger.due == due)
        {
            self.strangers.remove(&id);
        }
        self.note_len(longest, len, len - 1);
        true
    }

    /// Notes how long a queue is now.
    fn note_len(&mut self, sender: SenderId, before: usize, now: usize) {
        self.lens.remove(&(before, sender));
        if now > 0 {
            self.lens.insert((now, sender));
        }
        self.len = self.len + now - before;
    }

    /// A state that is not known ended.
    pub(super) fn ended(&mut self, id: StateId) {
        self.strangers.remove(&id);
    }

    /// pf does not know a state: nothing will be told of it.
    pub(super) fn gone(&mut self, id: StateId, counters: &mut SolicitCounters) {
        let stranger = self.strangers.remove(&id);
        let is_asked = stranger.is_some_and(|one| matches!(one.stage, Stage::Once | Stage::Twice));
        counters.gone += u64::from(is_asked);
    }

    /// pf may take so long to answer.
    pub(super) fn set_pf_delay(&mut self, delay: Duration) {
        self.pf_delay = delay;
    }

    /// When [`Self::handle_timeout`] has something to do.
    pub(super) fn poll_timeout(&self) -> Option<Uptime> {
        self.due
    }

    /// Does what is due, or a part of it: hands the states to `ask` that are to be asked for, unless
    /// `is_known`.
    pub(super) fn handle_timeout(
        &mut self,
        now: Uptime,
        counters: &mut SolicitCounters,
        is_known: &dyn Fn(StateId) -> bool,
        ask: &mut dyn FnMut(StateId, SenderId) -> Outcome,
    ) {
        if self.due.is_none_or(|due| due > now) {
            return;
        }
        let mut heard_once = Vec::new();
        for _ in 0..TURN {
            let Some((due, id)) = self.pop_due(now) else {
                break;
            };
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
                if is_asked {
                    self.queues.entry(stranger.owner).or_default().misses = 0;
                }
            } else if stranger.stage == Stage::HeldBack && !stranger.is_heard_again {
                heard_once.push((id, stranger));
            } else {
                self.go_on(now, id, stranger, counters, ask);
            }
        }
        for (id, stranger) in heard_once {
            self.go_on(now, id, stranger, counters, ask);
        }
        self.queues.retain(|_, queue| queue.len() > 0);
        self.due = self.queues.values().filter_map(Queue::due).min();
    }

    /// Takes out the end of a stage that is due. Senders take turns.
    fn pop_due(&mut self, now: Uptime) -> Option<(Uptime, StateId)> {
        let latest = self.latest;
        let behind = (Bound::Excluded(latest), Bound::Unbounded);
        let popped = self.queues.range_mut(behind).find_map(|(sender, queue)| {
            let popped = queue.pop_due(now)?;
            Some((*sender, popped))
        });
        let popped = popped.or_else(|| {
            let mut queues = self.queues.range_mut(..=latest);
            queues.find_map(|(sender, queue)| Some((*sender, queue.pop_due(now)?)))
        });
        let (sender, popped) = popped?;
        self.latest = sender;
        let len = self.queues.get(&sender).map_or(0, Queue::len);
        self.note_len(sender, len + 1, len);
        Some(popped)
    }

    /// Takes a state on from a stage that has ended.
    fn go_on(
        &mut self,
        now: Uptime,
        id: StateId,
        stranger: Stranger,
        counters: &mut SolicitCounters,
        ask: &mut dyn FnMut(StateId, SenderId) -> Outcome,
    ) {
        let queue = self.queues.entry(stranger.owner).or_default();
        let is_last = match stranger.stage {
            Stage::HeldBack => false,
            Stage::Once => queue.misses >= DEAF,
            Stage::Twice => true,
            Stage::Forgotten => {
                self.strangers.remove(&id);
                return;
            }
        };
        if is_last {
            queue.misses = queue.misses.saturating_add(1);
            counters.unanswered += 1;
            self.enter(now, id, stranger, Stage::Forgotten);
            return;
        }
        let stage = match (ask(id, stranger.sender), stranger.stage) {
            (Outcome::Asked, Stage::HeldBack) => {
                counters.unknown += 1;
                Stage::Once
            }
            (Outcome::Asked, _) => {
                counters.repeated += 1;
                Stage::Twice
            }
            (Outcome::NotYet, _) if now.since(stranger.heard) >= REMEMBERED => {
                counters.unknown_expired += 1;
                self.strangers.remove(&id);
                return;
            }
            (Outcome::NotYet, stage) => stage,
            (Outcome::Unaskable, _) => {
                counters.unaskable += 1;
                Stage::Forgotten
            }
        };
        self.enter(now, id, stranger, stage);
    }

    fn enter(&mut self, now: Uptime, id: StateId, stranger: Stranger, stage: Stage) {
        let is_waiting = matches!(stage, Stage::Once | Stage::Twice);
        let delay = match is_waiting && stranger.sender.is_local() {
            true => self.pf_delay,
            false => Duration::ZERO,
        };
        let due = now.after(stage.length() + delay);
        self.strangers.insert(
            id,
            Stranger {
                stage,
                due,
                ..stranger
            },
        );
        let queue = self.queues.entry(stranger.owner).or_default();
        let len = queue.len();
        queue.push(stage, due, id);
        self.note_len(stranger.owner, len, len + 1);
        self.due = Uptime::earliest(self.due, Some(due));
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
        senders().0
    }

    fn senders() -> (SenderId, SenderId) {
        let mut table = Table::new(Settings {
            states: crate::table::Bound::States(1),
            timeouts: Timeouts::default(),
            boot: Boot::Known,
            counting: Counting::Estimate,
        });
        let mut sender = |n| table.sender(Sender::Address([192, 0, 2, n].into()));
        (sender(1), sender(2))
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
    fn requests_of_a_sender_that_never_answers_are_not_repeated_for_ever() {
        let (mut unknown, mut counters) = (Unknown::default(), SolicitCounters::default());
        for (secs, number) in (0..1000).zip(0..) {
            let now = Uptime::new(secs, 0);
            unknown.heard(now, id(number), sender(), &mut counters);
            unknown.handle_timeout(now, &mut counters, &|_| false, &mut |_, _| Outcome::Asked);
        }
        assert!(counters.unknown > 990);
        assert!(
            counters.repeated < u64::from(DEAF) + 4,
            "{}",
            counters.repeated
        );
    }

    /// Asks for 20 states that `honest` tells of each second, while `flood` new ones a second come
    /// from `forger` and 100 requests a second can be made: how many of the 20 were asked for within
    /// ten seconds.
    fn honest_asked(honest: SenderId, forger: SenderId, flood: u64) -> usize {
        let (mut unknown, mut counters) = (Unknown::default(), SolicitCounters::default());
        let mut asked = BTreeSet::new();
        let mut forged = 1 << 32;
        // The forger is there first.
        for tenth in 0..200_u64 {
            let now = Uptime::new(0, 0).after(Duration::from_millis(100 * tenth));
            for _ in 0..flood / 10 {
                forged += 1;
                unknown.heard(now, id(forged), forger, &mut counters);
            }
            if tenth >= 100 && tenth % 10 == 0 {
                (0..20).for_each(|n| unknown.heard(now, id(n), honest, &mut counters));
            }
            let mut left = 10;
            while unknown.poll_timeout().is_some_and(|due| due <= now) {
                unknown.handle_timeout(now, &mut counters, &|_| false, &mut |id, _| {
                    if left == 0 {
                        return Outcome::NotYet;
                    }
                    left -= 1;
                    asked.insert(id.id);
                    Outcome::Asked
                });
            }
            let queued: usize = unknown.queues.values().map(Queue::len).sum();
            assert_eq!(queued, unknown.len);
            assert!(unknown.lens.iter().map(|(len, _)| len).sum::<usize>() == queued);
            assert!(unknown.len <= MAX_UNKNOWN && unknown.strangers.len() <= unknown.len);
        }
        asked.range(..20).count()
    }

    #[test]
    fn forged_states_crowd_out_no_honest_one() {
        let (one, other) = senders();
        for flood in [0, 1000, 20_000] {
            assert_eq!(honest_asked(one, other, flood), 20, "{flood} from another");
            assert_eq!(honest_asked(other, one, flood), 20, "{flood} from another");
            assert_eq!(honest_asked(one, one, flood), 20, "{flood} from the same");
        }
    }

    #[test]
    fn states_that_cannot_be_asked_for_leave_when_they_are_not_heard_of_again() {
        let (mut unknown, mut counters) = (Unknown::default(), SolicitCounters::default());
        for number in 0..5000 {
            unknown.heard(Uptime::new(0, 0), id(number), sender(), &mut counters);
        }
        let mut last = 0;
        for secs in 1..100 {
            let now = Uptime::new(secs, 0);
            while unknown.poll_timeout().is_some_and(|due| due <= now) {
                last = secs;
                unknown.handle_timeout(now, &mut counters, &|_| false, &mut |_, _| Outcome::NotYet);
            }
        }
        assert_eq!((counters.unknown_expired, last), (5000, 30));
        assert_eq!((unknown.len, unknown.strangers.len()), (0, 0));
        assert!(unknown.queues.is_empty());
    }

    #[test]
    fn a_sender_beyond_its_share_makes_room_for_others_but_not_for_itself() {
        let (mut unknown, mut counters) = (Unknown::default(), SolicitCounters::default());
        let (one, other) = senders();
        let now = Uptime::new(0, 0);
        // Heard of twice, so that none gives way to its like.
        for number in 0..MAX_UNKNOWN as u64 {
            unknown.heard(now, id(number), one, &mut counters);
            unknown.heard(now, id(number), one, &mut counters);
        }
        assert_eq!(counters.unknown_refused, 0);
        unknown.heard(now, id(1 << 20), one, &mut counters);
        assert_eq!(counters.unknown_refused, 1);
        for number in 1 << 21..(1 << 21) + MAX_UNKNOWN as u64 {
            unknown.heard(now, id(number), other, &mut counters);
            unknown.heard(now, id(number), other, &mut counters);
        }
        let lens: Vec<usize> = unknown.queues.values().map(Queue::len).collect();
        assert_eq!(lens.iter().sum::<usize>(), MAX_UNKNOWN);
        assert!(
            lens.iter().all(|len| len.abs_diff(MAX_UNKNOWN / 2) <= 1),
            "{lens:?}"
        );
    }
}
