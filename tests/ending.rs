//! A DEL_C of one firewall for a state that passes another: its end is held back, and what then
//! comes is defined.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    missing_docs,
    reason = "a test that is wrong may panic"
)]

mod common;

use common::{A, B, D, M, Out, Run, St};
use pflow::table::KeepCursor;
use pflow::wire::keep;

fn udp() -> St {
    St::udp(1).count([2, 3], [160, 600])
}

/// What came out: flows and, of each record, its quality.
fn out(run: &mut Run) -> (Vec<Out>, Vec<String>) {
    let qualities = run.qualities();
    (run.flows(), qualities)
}

/// B has it from A, and carries it from then on; A deletes it 60 s after the last that it heard.
fn after_failover(d: D, then: &[(i64, M)]) -> Run {
    let mut run = Run::new();
    run.send(0, A, d, &[M::Ins(udp())]);
    run.send(1000, B, d, &[M::upd_c(&udp())]);
    run.send(4000, B, d, &[M::Upd(udp().aged(4))]);
    run.send(62_000, A, d, &[M::del_c(&udp())]);
    for (at, message) in then {
        run.send(*at, B, d, &[*message]);
    }
    run
}

#[test]
fn the_end_of_a_state_that_passes_another_firewall_is_held_back_for_two_seconds() {
    for d in D::MODERN {
        let mut run = after_failover(d, &[]);
        run.advance(63_999);
        assert_eq!(run.flows().len(), 0, "{d:?}");
        run.advance(64_000);
        let (flows, qualities) = out(&mut run);
        assert_eq!(flows.len(), 1, "{d:?}");
        assert_eq!((flows[0].packets, flows[0].octets), ([4, 6], [320, 1200]));
        // Its last packet, not the delete, ends it.
        assert_eq!(flows[0].times(), (0, 1), "{d:?}");
        assert_eq!(qualities, ["exact", "exact"], "{d:?}");
        assert_eq!(run.engine.table().counters.deleted, 1, "{d:?}");
    }
}

#[test]
fn activity_that_crossed_the_delete_on_its_way_shows_that_more_passed() {
    for d in D::MODERN {
        let mut run = after_failover(d, &[(62_001, M::upd_c(&udp()))]);
        run.advance(64_000);
        let (flows, qualities) = out(&mut run);
        assert_eq!(flows.len(), 1, "{d:?}");
        assert_eq!(flows[0].times().1, 62, "{d:?}");
        assert_eq!(qualities, ["partial", "partial"], "{d:?}");
    }
}

#[test]
fn an_answer_that_crossed_the_delete_is_taken_in() {
    for d in D::MODERN {
        let active = M::upd_c(&udp());
        let answer = M::Upd(udp().aged(62).count([9, 9], [900, 900]));
        let mut run = after_failover(d, &[(62_001, active), (62_100, answer)]);
        run.advance(64_000);
        let (flows, qualities) = out(&mut run);
        assert_eq!(flows.len(), 1, "{d:?}");
        assert_eq!(flows[0].packets, [11, 12], "{d:?}");
        assert_eq!(qualities, ["exact", "exact"], "{d:?}");
    }
}

#[test]
fn what_was_queued_at_the_end_and_is_sent_as_of_a_dead_state_shows_that_more_passed() {
    let mut dead = udp();
    dead.timeout = D::Obsd74.pftm_max() + 2;
    let mut run = after_failover(D::Obsd74, &[(62_900, M::upd_c(&dead))]);
    run.advance(64_000);
    let (flows, qualities) = out(&mut run);
    assert_eq!(flows.len(), 1);
    assert_eq!(qualities, ["partial", "partial"]);
    assert_eq!(run.engine.table().counters.dead, 1);
}

#[test]
fn a_firewall_that_goes_on_speaking_of_a_state_did_not_learn_of_its_end() {
    for d in D::MODERN {
        let mut run = after_failover(d, &[(62_500, M::upd_c(&udp()))]);
        run.advance(70_000);
        assert_eq!(run.flows().len(), 0, "{d:?}");
        let more = udp().aged(71).count([5, 5], [500, 900]);
        run.send(71_000, B, d, &[M::Upd(more)]);
        run.send(123_000, B, d, &[M::del_c(&udp())]);
        run.advance(125_000);
        let (flows, qualities) = out(&mut run);
        assert_eq!(flows.len(), 1, "{d:?}");
        assert_eq!(flows[0].packets, [7, 8], "{d:?}");
        assert_eq!(qualities, ["exact", "exact"], "{d:?}");
        assert_eq!(run.engine.table().counters.deleted, 1, "{d:?}");
    }
}

#[test]
fn a_second_delete_ends_it_at_once() {
    for d in D::MODERN {
        let mut run = after_failover(d, &[(62_300, M::del_c(&udp()))]);
        let (flows, qualities) = out(&mut run);
        assert_eq!(flows.len(), 1, "{d:?}");
        assert_eq!(qualities, ["exact", "exact"], "{d:?}");
        assert_eq!(run.engine.table().counters.deleted, 1, "{d:?}");
    }
}

#[test]
fn a_clear_the_end_of_the_program_and_the_id_again_end_it_as_deleted() {
    let check = |mut run: Run| {
        let (flows, qualities) = out(&mut run);
        assert_eq!(flows.len(), 1);
        assert_eq!(qualities, ["exact", "exact"]);
    };
    check(after_failover(
        D::Obsd74,
        &[(62_300, M::clr(udp().creator))],
    ));
    let mut again = St::udp(1).aged(0);
    again.wire.port = [7, 8];
    again.stack.port = [7, 8];
    check(after_failover(D::Obsd74, &[(62_300, M::Ins(again))]));
    let mut run = after_failover(D::Obsd74, &[]);
    let now = run.now();
    run.engine.finish(now);
    check(run);
}

#[test]
fn a_full_table_takes_its_place_and_it_ends_as_deleted() {
    let mut run = Run::bounded(1);
    run.send(0, A, D::Obsd74, &[M::Ins(udp())]);
    run.send(1000, B, D::Obsd74, &[M::Upd(udp().aged(1))]);
    run.send(60_000, A, D::Obsd74, &[M::del_c(&udp())]);
    run.send(60_500, A, D::Obsd74, &[M::Ins(St::udp(2).aged(0))]);
    let (flows, qualities) = out(&mut run);
    assert_eq!((flows.len(), flows[0].id), (1, 1));
    assert_eq!(qualities, ["exact", "exact"]);
    assert_eq!(run.engine.table().counters.evicted, 1);
}

#[test]
fn a_state_that_passed_one_firewall_only_ends_with_its_delete() {
    for d in D::MODERN {
        let mut run = Run::new();
        run.send(0, A, d, &[M::Ins(udp())]);
        // The partner was asked, too, and counted nothing.
        run.send(4000, A, d, &[M::Upd(udp().aged(4))]);
        let nothing = udp().aged(4).count([0, 0], [0, 0]);
        run.send(4001, B, d, &[M::Upd(nothing)]);
        run.send(60_000, A, d, &[M::del_c(&udp())]);
        assert_eq!(run.flows().len(), 1, "{d:?}");
    }
}

#[test]
fn an_end_that_is_held_back_outlives_a_restart() {
    let mut run = after_failover(D::Obsd74, &[]);
    let (now, mut cursor, mut body) = (run.now(), KeepCursor::default(), Vec::new());
    while !run.engine.keep_step(now, &mut cursor, &mut body) {}
    let file = keep::file(true, now.wall, &body);
    let (header, records) = keep::parse(&file).unwrap();
    let mut next = Run::new();
    next.advance(62_000);
    let now = next.now();
    next.engine.restore(now, header.is_clean, records);
    next.advance(63_900);
    assert_eq!((next.alive(), next.flows().len()), (1, 0));
    next.advance(64_100);
    assert_eq!(next.flows().len(), 1);
    assert_eq!(next.engine.table().counters.deleted, 1);
}
