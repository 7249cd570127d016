//! When a flow is exact, and when it is partial.

use super::*;

#[test]
fn activity_without_a_full_state_after_it_is_not_exact() {
    for d in D::MODERN {
        let end = |messages: &[(i64, M)], at: i64| {
            let mut run = Run::new();
            run.send(0, A, d, &[M::Ins(udp(1))]);
            for (at, message) in messages {
                run.send(*at, A, d, &[*message]);
            }
            run.send(at, A, d, &[M::del_c(&udp(1))]);
            ended(&mut run).1
        };
        let active = (5000, M::upd_c(&udp(1)));
        let full = (8000, M::Upd(udp(1).aged(8).count([4, 4], [320, 800])));
        assert_eq!(end(&[], 65_000), "exact", "{d:?}");
        assert_eq!(end(&[active], 70_000), "partial", "{d:?}");
        assert_eq!(end(&[active, full], 70_000), "exact", "{d:?}");
        assert_eq!(
            end(&[active, full, (9000, active.1)], 74_000),
            "partial",
            "{d:?}"
        );
    }
}

#[test]
fn a_delete_at_another_time_than_a_timeout_after_the_last_activity_shows_a_loss() {
    let end = |st: St, at: i64| {
        let mut run = Run::new();
        run.send(0, A, D::Obsd74, &[M::Ins(st)]);
        run.send(at * 1000, A, D::Obsd74, &[M::del_c(&st)]);
        ended(&mut run).1
    };
    // udp.multiple is a minute.
    for (at, quality) in [
        (30, "partial"),
        (57, "partial"),
        (59, "exact"),
        (72, "exact"),
        (75, "partial"),
    ] {
        assert_eq!(end(udp(1), at), quality, "{at}");
    }
    let closed = St {
        timeout: 5,
        ..connection(1)
    };
    for (at, quality) in [
        (1, "exact"),
        (90, "exact"),
        (102, "exact"),
        (104, "partial"),
    ] {
        assert_eq!(end(closed, at), quality, "{at}");
    }
}

#[test]
fn a_late_delete_shows_no_loss_behind_a_full_state() {
    let end = |full: i64| {
        let mut run = Run::new();
        run.send(0, A, D::Obsd74, &[M::Ins(udp(1))]);
        let told = udp(1)
            .aged(u32::try_from(full).unwrap())
            .count([4, 4], [320, 800]);
        run.send(full * 1000, A, D::Obsd74, &[M::Upd(told)]);
        run.send(79_000, A, D::Obsd74, &[M::del_c(&udp(1))]);
        ended(&mut run).1
    };
    // The last activity was between seconds 6 and 20, so that it is in the later one.
    assert_eq!((&*end(5), &*end(40)), ("partial", "exact"));
}

#[test]
fn a_shorter_timeout_that_the_sender_shows_is_believed() {
    let mut run = Run::new();
    let shown = St {
        expire: 25,
        ..udp(1)
    };
    run.send(0, A, D::Obsd74, &[M::Ins(shown)]);
    run.send(30_000, A, D::Obsd74, &[M::del_c(&shown)]);
    assert_eq!(ended(&mut run).1, "exact");
}

#[test]
fn a_copy_of_the_last_full_state_settles_nothing() {
    let mut run = Run::new();
    run.send(0, A, D::Obsd74, &[M::Ins(udp(1))]);
    run.send(1000, A, D::Obsd74, &[M::upd_c(&udp(1))]);
    run.send(1100, A, D::Obsd74, &[M::Ins(udp(1))]);
    run.send(63_000, A, D::Obsd74, &[M::del_c(&udp(1))]);
    assert_eq!(ended(&mut run).1, "partial");
}

#[test]
fn what_a_sender_counted_before_it_began_again_is_not_known_to_the_end() {
    let mut run = Run::new();
    run.send(0, A, D::Obsd74, &[M::Ins(udp(1))]);
    run.send(1000, A, D::Obsd74, &[M::upd_c(&udp(1))]);
    run.send(
        9000,
        A,
        D::Obsd74,
        &[M::Upd(udp(1).aged(9).count([1, 0], [70, 0]))],
    );
    run.send(70_000, A, D::Obsd74, &[M::del_c(&udp(1))]);
    let (flow, quality) = ended(&mut run);
    assert_eq!((flow.octets, &*quality), ([150, 200], "partial"));
}

#[test]
fn before_v5_only_a_full_delete_is_exact() {
    for d in [D::V2, D::V3, D::V4] {
        let st = udp(1).count([5, 5], [500, 500]);
        let mut run = Run::new();
        run.send(0, PFSYNC0, d, &[M::Ins(udp(1)), M::Upd(udp(1)), M::Del(st)]);
        let (flow, quality) = ended(&mut run);
        assert_eq!((flow.octets, &*quality), ([500, 500], "exact"), "{d:?}");
        run.send(20_000, PFSYNC0, d, &[M::Ins(udp(2)), M::Upd(udp(2))]);
        run.send(80_000, PFSYNC0, d, &[M::del_c(&udp(2))]);
        assert_eq!(ended(&mut run).1, "partial", "{d:?}");
    }
}

#[test]
fn flows_are_counted_by_quality() {
    let mut run = Run::new();
    run.send(
        0,
        A,
        D::Obsd74,
        &[M::Ins(udp(1)), M::Ins(udp(2)), M::Ins(connection(3))],
    );
    let down = down(connection(3), 1000);
    run.send(1000, A, D::Obsd74, &[M::upd_c(&udp(2)), M::upd_c(&down)]);
    run.send(
        61_000,
        A,
        D::Obsd74,
        &[1, 2, 3].map(|id| M::del_c(&udp(id))),
    );
    let counters = run.engine.flow_counters();
    assert_eq!(
        (counters.exact, counters.estimated, counters.partial),
        (1, 1, 1)
    );
    assert_eq!((counters.exact_octets, counters.partial_octets), (280, 280));
    assert_eq!(counters.octets, 560 + counters.estimated_octets);
}
