//! The schedule alone: events in, states asked for out, with a clock that the test moves.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::Settings;
use super::schedule::Schedule;
use crate::counters::SolicitCounters;
use crate::flow::Boot;
use crate::state::Timeouts;
use crate::table::{self, Event, Sender, SenderId, Table};
use crate::time::Uptime;

const ESTABLISHED: u8 = 2;
const CLOSING: u8 = 3;
const FIN_WAIT: u8 = 4;
const UDP_MULTIPLE: u8 = 8;
const ICMP_FIRST: u8 = 9;
const ICMP_ERROR: u8 = 10;

fn settings(rate: u32) -> Settings {
    Settings {
        is_network: true,
        is_pf: true,
        rate,
        peers: Vec::new(),
        timeouts: Timeouts::default(),
        active: None,
    }
}

/// Two senders that are not this host.
fn senders() -> [SenderId; 2] {
    let mut table = Table::new(table::Settings {
        states: table::Bound::States(1),
        timeouts: Timeouts::default(),
        boot: Boot::Known,
        counting: crate::accounting::Counting::Estimate,
    });
    [1, 2].map(|n| table.sender(Sender::Address([192, 0, 2, n].into())))
}

/// A schedule and what it asked for: milliseconds and place.
struct Run {
    schedule: Schedule,
    counters: SolicitCounters,
    now: i64,
    asked: Vec<(i64, u32)>,
    sender: SenderId,
    other: SenderId,
}

fn at(ms: i64) -> Uptime {
    Uptime::from_nanos(ms * 1_000_000)
}

impl Run {
    fn with(settings: &Settings) -> Self {
        let [sender, other] = senders();
        Self {
            schedule: Schedule::new(at(0), settings),
            counters: SolicitCounters::default(),
            now: 0,
            asked: Vec::new(),
            sender,
            other,
        }
    }

    fn new() -> Self {
        Self::with(&settings(1000))
    }

    /// Lets time pass, doing what is due when it is due.
    fn to(&mut self, ms: i64) {
        while let Some(due) = self.schedule.poll_timeout().filter(|due| *due <= at(ms)) {
            let now = due.max(at(self.now));
            self.now = now.nanos() / 1_000_000;
            let (stamp, asked) = (self.now, &mut self.asked);
            self.schedule
                .handle_timeout(now, &mut self.counters, &mut |place, _| {
                    asked.push((stamp, place));
                    true
                });
            let next = self.schedule.poll_timeout();
            assert!(next.is_none_or(|next| next > now), "{next:?} at {now:?}");
        }
        self.now = ms;
    }

    fn event(&mut self, ms: i64, event: Event) {
        self.to(ms);
        self.schedule.handle(at(ms), event, &mut self.counters);
    }

    fn activity(&mut self, ms: i64, place: u32, pftm: u8) {
        let sender = self.sender;
        self.event(
            ms,
            Event::Activity {
                place,
                sender,
                pftm,
            },
        );
    }

    fn full_of(&mut self, ms: i64, place: u32, pftm: u8, expire: u32, is_activity: bool) {
        let event = Event::Full {
            place,
            sender: self.sender,
            pftm,
            expire,
            is_activity,
            has_counters: true,
        };
        self.event(ms, event);
    }

    /// An INS, then an update.
    fn owed(&mut self, ms: i64, place: u32, pftm: u8) {
        self.full_of(ms, place, pftm, 0, true);
        self.activity(ms, place, pftm);
    }

    /// The answer to a request.
    fn answer(&mut self, ms: i64, place: u32, pftm: u8) {
        self.full_of(ms, place, pftm, 0, false);
    }

    fn end(&mut self, ms: i64, place: u32) {
        self.event(ms, Event::Ended { place });
    }

    /// When `place` was asked for, in whole seconds rounded down.
    fn asked_in(&self, place: u32) -> Vec<i64> {
        let of_place = self.asked.iter().filter(|(_, other)| *other == place);
        of_place.map(|(ms, _)| ms / 1000).collect()
    }

    /// All requests for states, and how many of them wait.
    fn requests(&self) -> u64 {
        let counters = &self.counters;
        counters.requested + counters.again + counters.active + counters.repeated
    }
}

#[test]
fn a_state_is_asked_for_once_when_it_was_silent_long_enough() {
    for (pftm, wait) in [
        (CLOSING, 3),
        (FIN_WAIT, 3),
        (0, 10),
        (UDP_MULTIPLE, 10),
        (ICMP_FIRST, 10),
        (ICMP_ERROR, 5),
        (ESTABLISHED, 30),
    ] {
        let mut run = Run::new();
        run.owed(0, 7, pftm);
        run.activity(2050, 7, pftm);
        run.to(100_000_000);
        let first = run.asked[0].0;
        let expected = 2050 + wait * 1000;
        assert!(
            (expected..=expected + 100).contains(&first),
            "{pftm}: {first}"
        );
        let mut run = Run::new();
        run.owed(0, 7, pftm);
        run.to(wait * 1000 + 500);
        run.answer(wait * 1000 + 500, 7, pftm);
        run.to(100_000_000);
        assert_eq!(run.asked.len(), 1, "{pftm}");
        assert_eq!((run.counters.requested, run.counters.answered), (1, 1));
    }
}

#[test]
fn an_answer_with_all_its_time_left_does_not_make_others_live_longer() {
    let mut run = Run::new();
    // It went on, so that it is late the next time, and its firewall keeps that to itself.
    run.owed(0, 1, UDP_MULTIPLE);
    run.to(10_200);
    run.full_of(10_200, 1, UDP_MULTIPLE, 50, false);
    run.activity(12_000, 1, UDP_MULTIPLE);
    run.to(64_500);
    run.full_of(64_500, 1, UDP_MULTIPLE, 60, false);
    run.activity(65_000, 1, UDP_MULTIPLE);
    run.to(118_500);
    assert_eq!(run.asked_in(1), [10, 64, 117]);
}

#[test]
fn an_answer_after_activity_whose_word_was_lost_does_not_make_others_live_longer() {
    let mut run = Run::new();
    run.owed(0, 1, UDP_MULTIPLE);
    run.answer(10_500, 1, UDP_MULTIPLE);
    run.activity(20_000, 1, UDP_MULTIPLE);
    // Silent for 50 s as far as is known, and yet with nearly all of its time left.
    run.owed(0, 2, UDP_MULTIPLE);
    run.full_of(50_000, 2, UDP_MULTIPLE, 55, false);
    run.to(72_500);
    assert_eq!(run.asked_in(1), [10, 72]);
}

#[test]
fn a_state_whose_counters_are_exact_and_one_that_ended_are_not_asked_for() {
    let mut run = Run::new();
    run.full_of(0, 1, UDP_MULTIPLE, 60, true);
    run.owed(0, 2, UDP_MULTIPLE);
    run.owed(0, 3, UDP_MULTIPLE);
    run.answer(2000, 2, UDP_MULTIPLE);
    run.end(9000, 3);
    run.to(1_000_000);
    assert!(run.asked.is_empty());
}

#[test]
fn an_insert_without_counters_owes_them() {
    let mut run = Run::new();
    let event = Event::Full {
        place: 1,
        sender: run.sender,
        pftm: UDP_MULTIPLE,
        expire: 0,
        is_activity: true,
        has_counters: false,
    };
    run.event(0, event);
    run.to(11_000);
    assert_eq!(run.asked_in(1), [10]);
}

#[test]
fn a_request_is_repeated_once_and_then_given_up_until_there_is_news() {
    let mut run = Run::new();
    run.owed(0, 1, CLOSING);
    run.to(1_000_000);
    assert_eq!(run.asked_in(1), [3, 5]);
    let counters = run.counters;
    assert_eq!(
        (counters.requested, counters.repeated, counters.unanswered),
        (1, 1, 1)
    );
    run.activity(1_000_000, 1, FIN_WAIT);
    run.to(1_040_000);
    // It went on, so it is asked for 8 s before the end of its 45.
    assert_eq!(run.asked_in(1), [3, 5, 1037, 1039]);
}

#[test]
fn an_answer_to_another_senders_word_is_none() {
    let mut run = Run::new();
    run.owed(0, 1, CLOSING);
    run.to(3500);
    let event = Event::Full {
        place: 1,
        sender: run.other,
        pftm: ESTABLISHED,
        expire: 0,
        is_activity: false,
        has_counters: true,
    };
    run.event(3600, event);
    assert_eq!(run.counters.answered, 0);
    run.answer(3700, 1, CLOSING);
    assert_eq!(run.counters.answered, 1);
}

#[test]
fn a_state_that_two_senders_carried_is_asked_for_though_the_last_said_all() {
    let mut run = Run::new();
    run.owed(0, 1, CLOSING);
    let sender = std::mem::replace(&mut run.sender, run.other);
    run.activity(100, 1, CLOSING);
    run.answer(200, 1, CLOSING); // nobody asked the first one
    run.to(4000);
    assert_eq!(run.asked_in(1), [3]);
    run.answer(4000, 1, CLOSING);
    run.sender = sender;
    run.answer(4000, 1, CLOSING);
    run.to(100_000);
    assert_eq!(run.asked_in(1), [3]);
}

#[test]
fn a_state_that_went_on_is_asked_for_again_shortly_before_it_would_end() {
    let mut run = Run::new();
    run.owed(0, 1, UDP_MULTIPLE);
    run.answer(10_500, 1, UDP_MULTIPLE);
    for pause in 1..30 {
        run.activity(pause * 50_000, 1, UDP_MULTIPLE);
    }
    run.to(29 * 50_000 + 53_500);
    assert_eq!(run.asked_in(1), [10, 29 * 50 + 52]);
    assert_eq!((run.counters.again, run.counters.resumed), (1, 1));
}

#[test]
fn a_shorter_timeout_than_configured_shows_in_what_a_state_has_left() {
    let mut run = Run::new();
    run.full_of(0, 1, UDP_MULTIPLE, 12, true);
    run.activity(0, 1, UDP_MULTIPLE);
    run.to(7000);
    assert_eq!(run.asked_in(1), [6]);
    // Another of its kind, which has not told.
    run.owed(7000, 2, UDP_MULTIPLE);
    run.to(20_000);
    assert_eq!(run.asked_in(2), [13, 15]);
}

#[test]
fn the_rate_holds_and_nothing_held_back_is_forgotten() {
    let mut run = Run::with(&settings(100));
    for place in 0..1000 {
        run.owed(0, place, CLOSING);
    }
    let (mut most, mut before) = (0, 0);
    for ms in (3000..14_000).step_by(100) {
        run.to(ms);
        let fresh = run.asked[before..].to_vec();
        for (_, place) in fresh {
            run.answer(ms, place, CLOSING);
        }
        before = run.asked.len();
        let lately = run.asked.iter().filter(|(then, _)| *then > ms - 1000);
        most = lately.count().max(most);
    }
    assert_eq!(run.asked.len(), 1000);
    assert!((100..=111).contains(&most), "{most} in a second");
    assert!(
        (985..=999).contains(&run.counters.deferred),
        "{:?}",
        run.counters
    );
    assert_eq!(run.counters.answered, 1000);
}

#[test]
fn what_ends_or_goes_on_before_its_turn_is_not_asked_for() {
    let mut run = Run::with(&settings(1));
    for place in 0..4 {
        run.owed(0, place, CLOSING);
    }
    run.to(3100);
    run.end(3200, 1);
    run.activity(3200, 2, CLOSING);
    run.to(4500);
    run.answer(4600, 0, CLOSING);
    run.answer(4600, 3, CLOSING);
    run.to(6500);
    assert_eq!(
        run.asked
            .iter()
            .map(|(_, place)| *place)
            .collect::<Vec<_>>(),
        [0, 3, 2]
    );
}

#[test]
fn a_request_of_another_node_is_as_good_as_ours() {
    let mut run = Run::new();
    let sender = run.other;
    run.owed(0, 1, CLOSING);
    run.event(2900, Event::Requested { place: 1, sender });
    run.to(3500);
    assert!(run.asked.is_empty());
    run.answer(3600, 1, CLOSING);
    run.to(100_000);
    assert!(run.asked.is_empty());
    assert_eq!((run.counters.adopted, run.counters.answered), (1, 1));
    // One that gets no answer is repeated, by us.
    run.owed(100_000, 2, CLOSING);
    run.event(102_900, Event::Requested { place: 2, sender });
    run.to(106_000);
    assert_eq!(run.asked_in(2), [104]);
    // One for a state that owes nothing means nothing.
    run.event(106_000, Event::Requested { place: 1, sender });
    assert_eq!(run.counters.adopted, 2);
}

#[test]
fn requests_of_a_sender_that_never_answers_are_not_repeated_for_ever() {
    let mut run = Run::new();
    for place in 0..200 {
        run.owed(i64::from(place) * 10_000, place, CLOSING);
        run.to(i64::from(place) * 10_000 + 9000);
        run.end(i64::from(place) * 10_000 + 9000, place);
    }
    assert_eq!((run.counters.requested, run.counters.repeated), (200, 32));
}

#[test]
fn a_long_flow_is_asked_for_before_each_active_timeout_and_only_if_there_is_news() {
    let active = Some(Duration::from_secs(60));
    let mut run = Run::with(&Settings {
        active,
        ..settings(1000)
    });
    run.full_of(0, 1, ESTABLISHED, 86400, true);
    for secs in 1..300 {
        if !(100..200).contains(&secs) {
            run.activity(secs * 1000, 1, ESTABLISHED);
        }
        run.to(secs * 1000 + 100);
        if run.asked.last().is_some_and(|(ms, _)| ms / 1000 == secs) {
            run.answer(secs * 1000 + 100, 1, ESTABLISHED);
        }
    }
    assert_eq!(run.asked_in(1), [55, 115, 235, 295]);
    assert_eq!((run.counters.active, run.counters.requested), (4, 0));
}

/// A flow of UDP that pauses.
fn bursty(n: u32, seed: &mut u64) -> (i64, Vec<i64>) {
    let mut random = |most: u64| {
        *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        i64::try_from((*seed >> 33) % most).unwrap()
    };
    let start = i64::from(n) * 300 + random(300);
    let mut bursts = vec![start];
    for _ in 0..1 + random(6) {
        bursts.push(bursts.last().unwrap() + 12_000 + random(40_000));
    }
    let end = bursts.last().unwrap() + 60_000 + random(10_000);
    (end, bursts)
}

#[test]
fn flows_that_pause_cost_under_one_and_a_half_requests_and_end_exact() {
    let flows = 4000;
    let mut steps: BTreeMap<(i64, u32, u8), ()> = BTreeMap::new();
    let mut seed = 1;
    for place in 0..flows {
        let (end, bursts) = bursty(place, &mut seed);
        steps.extend(bursts.into_iter().map(|ms| ((ms, place, 0), ())));
        steps.insert((end, place, 1), ());
    }
    let mut run = Run::new();
    let (mut exact, mut is_exact) = (0, vec![false; flows as usize]);
    let mut answered = 0;
    for ((ms, place, kind), ()) in steps {
        // Every request is answered before the next step.
        run.to(ms);
        let fresh = run.asked[answered..].to_vec();
        for (_, asked) in fresh {
            run.answer(ms, asked, UDP_MULTIPLE);
            is_exact[asked as usize] = true;
        }
        answered = run.asked.len();
        if kind == 0 {
            run.activity(ms, place, UDP_MULTIPLE);
            is_exact[place as usize] = false;
        } else {
            exact += u32::from(is_exact[place as usize]);
            run.end(ms, place);
        }
    }
    assert!(exact * 1000 >= flows * 999, "{exact} of {flows} exact");
    let ratio = run.requests() * 100 / u64::from(flows);
    assert!(ratio <= 150, "{ratio} % of requests, {:?}", run.counters);
    assert_eq!(run.counters.withheld, 0);
}

proptest! {
    /// Any events in any order: nothing is asked for that is not owed, every request has one
    /// outcome, and there are not more of them than the account allows.
    #[test]
    fn requests_are_owed_counted_and_bounded(
        steps in prop::collection::vec((0_u8..8, 0_u32..12, 0_i64..70_000), 1..400),
        rate in prop::sample::select(vec![1, 50, 1000]),
        is_active in any::<bool>(),
    ) {
        let active = is_active.then_some(Duration::from_secs(120));
        let mut run = Run::with(&Settings { active, ..settings(rate) });
        let (mut ended, mut alive, mut now) = (0_u64, BTreeMap::new(), 0);
        let mut seen = 0;
        for (kind, place, step) in steps {
            now += step;
            run.to(now);
            for (_, place) in &run.asked[seen..] {
                prop_assert_eq!(alive.get(place), Some(&true), "place {}", place);
            }
            seen = run.asked.len();
            let sender = run.other;
            match kind {
                0 => { run.full_of(now, place, ESTABLISHED, 86400, true); alive.insert(place, false); }
                1 | 2 => { run.activity(now, place, CLOSING); alive.insert(place, true); }
                3 | 4 => { run.activity(now, place, UDP_MULTIPLE); alive.insert(place, true); }
                5 if alive.contains_key(&place) => {
                    run.answer(now, place, UDP_MULTIPLE);
                    alive.insert(place, false);
                }
                6 if alive.remove(&place).is_some() => { run.end(now, place); ended += 1; }
                7 => run.event(now, Event::Requested { place, sender }),
                _ => {}
            }
        }
        for place in 0..12 {
            if alive.remove(&place).is_some() {
                run.end(now, place);
                ended += 1;
            }
        }
        let counters = run.counters;
        prop_assert_eq!(
            counters.requested + counters.again + counters.active + counters.adopted,
            counters.answered + counters.unanswered + counters.overtaken
        );
        prop_assert!(2 * (run.requests() - counters.active) <= 3 * ended + 2 * 64);
        run.to(now + 1_000_000);
        prop_assert_eq!(run.asked.len(), seen, "something was asked for after all ended");
    }
}

/// A run whose sender is this host.
fn local(pf_delay: u64) -> Run {
    let mut run = Run::new();
    run.sender = SenderId::default();
    assert!(run.sender.is_local());
    run.schedule.set_pf_delay(Duration::from_secs(pf_delay));
    run
}

#[test]
fn pf_that_answers_late_is_waited_for_and_asked_earlier() {
    let mut run = local(15);
    run.owed(0, 1, CLOSING);
    run.to(1_000_000);
    // 2 s and 15 s later, once.
    assert_eq!(run.asked_in(1), [3, 20]);
    assert_eq!(run.counters.unanswered, 1);
    run.owed(1_000_000, 2, UDP_MULTIPLE);
    run.to(1_024_000);
    run.answer(1_024_000, 2, UDP_MULTIPLE);
    assert_eq!(run.counters.answered, 1);
    // It went on: the next time it is asked for 8 s and 15 s before the end of its 60.
    run.activity(1_030_000, 2, UDP_MULTIPLE);
    run.to(1_069_000);
    assert_eq!(run.asked_in(2), [1010, 1067]);
}

#[test]
fn a_state_that_pf_does_not_know_is_not_asked_for_again() {
    let mut run = local(0);
    run.owed(0, 1, CLOSING);
    run.to(3500);
    run.schedule.gone(1, &mut run.counters);
    run.to(1_000_000);
    assert_eq!(run.asked_in(1), [3]);
    let counters = &run.counters;
    assert_eq!((counters.gone, counters.unanswered), (1, 0));
    // One that nobody asked for is none.
    run.schedule.gone(1, &mut run.counters);
    run.schedule.gone(77, &mut run.counters);
    assert_eq!(run.counters.gone, 1);
    // Its packets show that it is there after all.
    run.activity(1_000_000, 1, FIN_WAIT);
    run.to(1_038_500);
    assert_eq!(run.asked_in(1), [3, 1037]);
}
