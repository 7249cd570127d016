//! Two firewalls with one host id: whose state a message is about.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that is wrong may panic"
)]

mod common;

use common::{A, B, CREATOR, D, From, Key, M, Out, PFLOW, Run, St, settings, wall};
use pflow::config::{Config, apply_text};
use pflow::state::StateId;
use pflow::table::KeepCursor;
use pflow::wire::keep;
use pflow::wire::pfsync::{Message, decode};

const C: From = From::Ether([10, 0, 0, 3]);

/// The dialects in which an INS has counters.
const MODERN: [D; 5] = [D::Obsd46, D::Fbsd1301, D::Fbsd1400, D::Fbsd1500, D::Obsd74];

/// The state of firewall `n` with this id, after so many packets either way. Those of two firewalls
/// differ in their keys.
fn state(n: u16, id: u64, packets: u64) -> St {
    let key = Key::new("192.0.2.1", 40000 + n, "198.51.100.7", 443);
    let octets = packets * 100;
    St {
        flags: PFLOW,
        ..St::udp(id)
    }
    .keyed(key)
    .count([packets; 2], [octets; 2])
}

/// Whose state each flow was, and its packets.
fn told(flows: &[Out]) -> Vec<(&str, u64)> {
    let mut told: Vec<_> = flows
        .iter()
        .map(|flow| {
            assert_eq!(flow.creator, CREATOR);
            (flow.src.as_str(), flow.packets[0])
        })
        .collect();
    told.sort_unstable();
    told
}

const ONE: &str = "192.0.2.1:40001";
const TWO: &str = "192.0.2.1:40002";

/// Two firewalls of which each has shown its state 7, in turn.
fn shared(d: D) -> Run {
    let mut run = Run::new();
    run.send(0, A, d, &[M::Ins(state(1, 7, 1))]);
    run.send(1000, B, d, &[M::Ins(state(2, 7, 1))]);
    run.send(2000, A, d, &[M::Upd(state(1, 7, 10).aged(2))]);
    assert_eq!(
        (run.counters().host_ids_shared, run.alive()),
        (1, 2),
        "{d:?}"
    );
    run
}

#[test]
fn each_message_is_about_the_state_of_its_sender() {
    for d in MODERN {
        let mut run = shared(d);
        run.send(3000, B, d, &[M::upd_c(&state(2, 7, 0))]);
        run.send(30_000, A, d, &[M::upd_c(&state(1, 7, 0))]);
        run.send(40_000, A, d, &[M::Upd(state(1, 7, 99).aged(40))]);
        run.send(41_000, B, d, &[M::Upd(state(2, 7, 55).aged(40))]);
        run.send(95_000, A, d, &[M::DelC(7, CREATOR)]);
        let flows = run.flows();
        assert_eq!(told(&flows), [(ONE, 99)], "{d:?}");
        assert_eq!(flows[0].times(), (0, 30));
        run.send(96_000, B, d, &[M::DelC(7, CREATOR)]);
        let flows = run.flows();
        assert_eq!(told(&flows), [(TWO, 55)], "{d:?}");
        assert_eq!(flows[0].times(), (1, 3));
        let counters = run.counters();
        assert_eq!((counters.replaced, counters.late), (0, 0), "{d:?}");
        assert_eq!((counters.unknown_update, counters.unknown_delete), (0, 0));
    }
}

#[test]
fn it_is_said_once_in_the_log() {
    let mut run = shared(D::Fbsd1400);
    let line =
        "10.0.0.1 and 10.0.0.2 both use host id 5f3a9c01: its states are told apart by sender";
    assert_eq!(run.engine.notices(), [line]);
    for n in 0..10_u32 {
        let (ms, id) = (3000 + 1000 * i64::from(n), 8 + u64::from(n));
        run.send(ms, A, D::Fbsd1400, &[M::Ins(state(1, id, 1))]);
        run.send(ms, B, D::Fbsd1400, &[M::Ins(state(2, id, 1))]);
        run.send(ms, C, D::Fbsd1400, &[M::Ins(state(3, id, 1))]);
    }
    assert!(run.engine.notices().is_empty());
    assert_eq!((run.counters().host_ids_shared, run.alive()), (1, 32));
}

#[test]
fn ids_that_meet_one_after_the_other_tell_without_a_second_look_at_any() {
    for d in MODERN {
        let mut run = Run::new();
        for n in 0..4_u32 {
            let (ms, id) = (i64::from(n) * 3000, u64::from(n) + 7);
            run.send(ms, A, d, &[M::Ins(state(1, id, 1))]);
            run.send(ms + 1000, B, d, &[M::Ins(state(2, id, 1))]);
        }
        assert_eq!(
            (run.counters().host_ids_shared, run.alive()),
            (1, 8),
            "{d:?}"
        );
        assert_eq!(run.counters().replaced, 0);
    }
}

#[test]
fn an_id_that_its_own_sender_uses_again_is_no_second_firewall() {
    for d in MODERN {
        let mut run = Run::new();
        run.send(0, A, d, &[M::Ins(state(1, 7, 5))]);
        run.send(1000, B, d, &[M::Upd(state(1, 7, 0).aged(1))]);
        run.send(2000, B, d, &[M::Ins(state(2, 7, 1))]);
        assert_eq!(run.counters().replaced, 1, "{d:?}");
        run.send(3000, A, d, &[M::Ins(state(3, 7, 1))]);
        assert_eq!(run.counters().host_ids_shared, 0, "{d:?}");
    }
}

#[test]
fn one_firewall_alone_that_shows_another_key_ends_nobody_elses_state_and_is_only_suspected() {
    for d in MODERN {
        let mut run = Run::new();
        run.send(0, A, d, &[M::Ins(state(1, 7, 5))]);
        run.send(1000, B, d, &[M::Ins(state(2, 7, 1))]);
        run.send(2000, B, d, &[M::Upd(state(2, 7, 9).aged(1))]);
        assert_eq!(
            (run.counters().host_ids_shared, run.alive()),
            (0, 2),
            "{d:?}"
        );
        assert!(run.engine.notices().is_empty());
        // What is not in question is the creator's, whoever tells of it: B carries a state of A.
        run.send(3000, A, d, &[M::Ins(state(1, 9, 5))]);
        run.send(4000, B, d, &[M::Upd(state(1, 9, 4).aged(1))]);
        assert_eq!(run.alive(), 3);
        run.send(5000, A, d, &[M::DelC(7, CREATOR)]);
        run.send(6000, B, d, &[M::DelC(7, CREATOR)]);
        assert_eq!(told(&run.flows()), [(ONE, 5), (TWO, 9)], "{d:?}");
    }
}

#[test]
fn a_suspicion_that_nothing_confirms_is_forgotten() {
    let d = D::Obsd74;
    let mut run = Run::new();
    run.send(0, A, d, &[M::Ins(state(1, 7, 5))]);
    run.send(1000, B, d, &[M::Ins(state(2, 7, 1))]);
    run.send(2000, B, d, &[M::DelC(7, CREATOR)]);
    run.send(2000, A, d, &[M::DelC(7, CREATOR)]);
    assert!(run.engine.table().tells_senders_apart());
    run.send(3_700_000, A, d, &[M::Ins(state(1, 8, 5))]);
    assert!(!run.engine.table().tells_senders_apart());
}

#[test]
fn states_known_before_are_their_senders_too() {
    for d in MODERN {
        let mut run = Run::new();
        run.send(0, A, d, &[M::Ins(state(1, 100, 1))]);
        run.send(0, B, d, &[M::Ins(state(2, 200, 1))]);
        run.send(0, A, d, &[M::Ins(state(1, 7, 1))]);
        run.send(1000, B, d, &[M::Ins(state(2, 7, 1))]);
        run.send(2000, A, d, &[M::Upd(state(1, 7, 10).aged(2))]);
        // The ids of the one mean nothing to the other.
        run.send(
            3000,
            A,
            d,
            &[M::DelC(200, CREATOR), M::upd_c(&state(2, 200, 0))],
        );
        run.send(
            3000,
            B,
            d,
            &[M::DelC(100, CREATOR), M::upd_c(&state(1, 100, 0))],
        );
        let counters = run.counters();
        assert_eq!(
            (counters.unknown_update, counters.unknown_delete),
            (2, 2),
            "{d:?}"
        );
        run.send(4000, A, d, &[M::Upd(state(1, 100, 4).aged(4))]);
        run.send(4000, B, d, &[M::Upd(state(2, 200, 5).aged(4))]);
        run.send(5000, A, d, &[M::DelC(100, CREATOR)]);
        run.send(5000, B, d, &[M::DelC(200, CREATOR)]);
        assert_eq!(told(&run.flows()), [(ONE, 4), (TWO, 5)], "{d:?}");
        assert_eq!(run.alive(), 2);
    }
}

#[test]
fn a_clear_ends_the_states_of_its_sender() {
    for d in MODERN {
        // Also those learned before, more than are ended at a time, and of one interface only.
        for ifname in ["", "em0"] {
            let mut run = Run::new();
            for id in 1000..2000 {
                let n = if id % 3 == 0 { 1 } else { 2 };
                let st = state(n, id, 1).named(if id % 2 == 0 { "em0" } else { "em1" });
                run.send(0, if n == 1 { A } else { B }, d, &[M::Ins(st)]);
            }
            run.send(0, A, d, &[M::Ins(state(1, 7, 1).named("em0"))]);
            run.send(1000, B, d, &[M::Ins(state(2, 7, 1).named("em0"))]);
            run.send(2000, A, d, &[M::Upd(state(1, 7, 10).aged(2).named("em0"))]);
            run.send(3000, A, d, &[M::clr_if(ifname, CREATOR)]);
            let flows = run.flows();
            let is_its =
                |flow: &Out| flow.src == ONE && (ifname.is_empty() || flow.ifname == ifname);
            assert!(flows.iter().all(is_its), "{d:?}");
            let expected = if ifname.is_empty() { 334 } else { 168 };
            assert_eq!(
                (flows.len(), run.alive()),
                (expected, 1002 - expected),
                "{d:?}"
            );
            run.send(4000, B, d, &[M::clr(CREATOR)]);
            let flows = run.flows();
            assert_eq!(flows.len(), 668, "{d:?}");
            assert!(flows.iter().all(|flow| flow.src == TWO));
        }
    }
}

#[test]
fn a_clear_of_a_creator_that_is_only_suspected_ends_its_states_and_its_senders() {
    let d = D::Fbsd1400;
    let mut run = Run::new();
    run.send(0, A, d, &[M::Ins(state(1, 7, 5)), M::Ins(state(1, 8, 5))]);
    run.send(1000, B, d, &[M::Ins(state(2, 7, 1))]);
    run.send(2000, A, d, &[M::clr(CREATOR)]);
    assert_eq!((run.flows().len(), run.alive()), (2, 1));
    run.send(3000, A, d, &[M::Ins(state(1, 9, 5))]);
    run.send(4000, B, d, &[M::clr(CREATOR)]);
    assert_eq!((run.flows().len(), run.alive()), (2, 0));
}

/// The table after a restart in good order, `ms` after the beginning.
fn restarted(mut run: Run, ms: i64) -> Run {
    run.advance(ms);
    let (mut cursor, mut body) = (KeepCursor::default(), Vec::new());
    let now = run.now();
    while !run.engine.keep_step(now, &mut cursor, &mut body) {}
    let file = keep::file(true, wall(ms), &body);
    let (header, records) = keep::parse(&file).unwrap();
    let mut next = Run::new();
    next.advance(ms);
    let now = next.now();
    next.engine.restore(now, header.is_clean, records);
    next
}

#[test]
fn it_survives_a_restart() {
    for d in MODERN {
        let mut run = shared(d);
        run.send(2000, A, d, &[M::Ins(state(1, 100, 1))]);
        run.send(2000, B, d, &[M::Ins(state(2, 200, 1))]);
        let mut run = restarted(run, 5000);
        assert_eq!((run.alive(), run.counters().restored), (4, 4), "{d:?}");
        run.send(
            6000,
            B,
            d,
            &[M::Upd(state(2, 7, 55).aged(5)), M::DelC(100, CREATOR)],
        );
        run.send(
            6000,
            A,
            d,
            &[M::Upd(state(1, 7, 99).aged(6)), M::DelC(200, CREATOR)],
        );
        assert_eq!(run.counters().unknown_delete, 2);
        run.send(7000, A, d, &[M::DelC(7, CREATOR)]);
        run.send(7000, B, d, &[M::DelC(7, CREATOR)]);
        assert_eq!(told(&run.flows()), [(ONE, 99), (TWO, 55)], "{d:?}");
        assert_eq!(run.counters().replaced, 0);
        // Nor is it news.
        assert!(run.engine.notices().is_empty());
    }
}

#[test]
fn a_suspicion_survives_a_restart() {
    let d = D::Fbsd1400;
    let mut run = Run::new();
    run.send(0, A, d, &[M::Ins(state(1, 7, 5))]);
    run.send(1000, B, d, &[M::Ins(state(2, 7, 1))]);
    let mut run = restarted(run, 5000);
    assert_eq!((run.alive(), run.counters().host_ids_shared), (2, 0));
    run.send(6000, A, d, &[M::Upd(state(1, 7, 99).aged(6))]);
    assert_eq!(run.counters().host_ids_shared, 1);
    run.send(
        7000,
        B,
        d,
        &[M::Upd(state(2, 7, 55).aged(6)), M::DelC(7, CREATOR)],
    );
    assert_eq!(told(&run.flows()), [(TWO, 55)]);
}

#[test]
fn what_timed_out_of_one_goes_on_less_what_was_exported_also_after_a_restart() {
    let d = D::Fbsd1400;
    for restarts in [false, true] {
        let mut run = shared(d);
        run.send(3000, B, d, &[M::Upd(state(2, 7, 20).aged(2))]);
        run.send(4_000_000, A, d, &[M::Ins(state(1, 9, 1))]);
        assert_eq!(told(&run.flows()), [(ONE, 10), (TWO, 20)]);
        if restarts {
            run = restarted(run, 4_001_000);
        }
        run.send(4_002_000, A, d, &[M::Upd(state(1, 7, 13).aged(4002))]);
        run.send(4_002_000, B, d, &[M::Upd(state(2, 7, 25).aged(4001))]);
        run.send(4_003_000, A, d, &[M::DelC(7, CREATOR)]);
        run.send(4_003_000, B, d, &[M::DelC(7, CREATOR)]);
        assert_eq!(told(&run.flows()), [(ONE, 3), (TWO, 5)], "{restarts}");
    }
}

/// The states asked for since the last call, and of whom.
fn asked(run: &mut Run) -> Vec<(String, StateId)> {
    let mut asked = Vec::new();
    let requests = run.engine.solicitor().unwrap().requests();
    for (to, packet) in requests.iter() {
        decode(packet, 0, None, &mut |_, message| {
            if let Message::UpdateRequest(id) = message
                && id.creatorid != 0
            {
                asked.push((format!("{to:?}"), id));
            }
        });
    }
    requests.clear();
    asked
}

#[test]
fn each_firewall_is_asked_for_its_state_by_the_id_that_it_gave_it() {
    let d = D::Fbsd1400;
    let mut config = Config::default();
    apply_text(
        &mut config,
        "test",
        "solicit on em1\nsolicit peer 10.0.0.1\nsolicit peer 10.0.0.2",
    )
    .unwrap();
    let soliciting = config.soliciting();
    let mut run = Run::with(settings(), config);
    run.advance(0);
    let now = run.now();
    run.engine.set_soliciting(now, soliciting);
    run.send(0, A, d, &[M::Ins(state(1, 7, 1))]);
    run.send(1000, B, d, &[M::Ins(state(2, 7, 1))]);
    run.send(2000, A, d, &[M::Upd(state(1, 7, 10).aged(2))]);
    let wire = StateId {
        id: 7,
        creatorid: CREATOR,
    };
    asked(&mut run);
    run.send(3000, A, d, &[M::upd_c(&state(1, 7, 0))]);
    run.send(3000, B, d, &[M::upd_c(&state(2, 7, 0))]);
    // One that nothing but an update was heard of: of A's state with that id it is not.
    run.send(3000, A, d, &[M::Ins(state(1, 8, 1))]);
    run.send(3000, B, d, &[M::upd_c(&state(2, 8, 0))]);
    let mut all = Vec::new();
    for ms in (3100..20_000).step_by(100) {
        run.advance(ms);
        all.extend(asked(&mut run));
    }
    let of = |id: u64| {
        let id = StateId { id, ..wire };
        let mut hosts: Vec<_> = all
            .iter()
            .filter(|(_, one)| *one == id)
            .map(|(to, _)| to.as_str())
            .collect();
        hosts.sort_unstable();
        hosts.dedup();
        hosts.len()
    };
    assert_eq!((of(7), of(8)), (2, 1), "{all:?}");
    assert!(all.iter().all(|(_, id)| id.creatorid == CREATOR));
    run.send(
        20_000,
        B,
        d,
        &[M::Upd(state(2, 8, 6).aged(18)), M::DelC(8, CREATOR)],
    );
    assert_eq!(told(&run.flows()), [(TWO, 6)]);
}

#[test]
fn creators_beyond_the_bound_replace_each_other_as_before() {
    let d = D::Obsd74;
    let mut run = Run::new();
    for creator in 1..=100 {
        let of = |st: St| St { creator, ..st };
        run.send(0, A, d, &[M::Ins(of(state(1, 7, 1)))]);
        run.send(1000, B, d, &[M::Ins(of(state(2, 7, 1)))]);
        run.send(2000, A, d, &[M::Upd(of(state(1, 7, 10).aged(2)))]);
    }
    let counters = run.counters();
    assert_eq!(counters.host_ids_shared, 64);
    assert_eq!(counters.host_ids_refused, 36 + 36);
    assert_eq!(run.alive(), 64 * 2 + 36);
}
