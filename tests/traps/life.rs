//! How states end: timeouts, clears, deletes, silence, eviction.

use super::*;

#[test]
fn a_ghost_ends_after_its_timeout_20_seconds_and_an_hour() {
    let mut run = Run::new();
    let closed = St {
        timeout: 5,
        ..counted(1)
    };
    run.send(0, A, RICH, &[M::Ins(counted(1))]);
    run.send(10_000, A, RICH, &[M::upd_c(&closed)]);
    pass(&mut run, 10, 10 + 90 + 20 + 3600 - 1);
    assert_eq!((run.flows(), run.alive()), (vec![], 1));
    run.advance(3_720_000);
    let flow = run.flow();
    assert_eq!((flow.octets, flow.times()), ([300, 2000], (0, 10)));
    assert_eq!((run.counters().expired, run.alive()), (1, 0));
}

#[test]
fn timeouts_from_pftm_max_on_are_dead_states() {
    for d in D::ALL {
        for timeout in d.pftm_max()..=d.pftm_max() + 3 {
            let mut run = Run::new();
            let dead = |id| St {
                timeout,
                ..counted(id)
            };
            run.send(0, A, d, &[M::Upd(counted(1))]);
            run.send(1000, A, d, &[M::clr(CREATOR)]);
            run.send(
                1100,
                A,
                d,
                &[M::Ins(dead(1)), M::upd_c(&dead(1)), M::Upd(dead(2))],
            );
            assert_eq!(
                (run.alive(), run.counters().dead),
                (0, 2),
                "{d:?} {timeout}"
            );
            assert_eq!(run.counters().unknown_update, 1);
            assert_eq!(run.finish().len(), 1);

            let mut run = Run::new();
            run.send(0, A, d, &[M::Upd(counted(1))]);
            let more = dead(1).aged(5).count([9, 9], [9000, 9000]);
            run.send(5000, A, d, &[M::upd_c(&dead(1)), M::Upd(more)]);
            assert_eq!(run.counters().dead, 2, "{d:?} {timeout}");
            run.send(6000, A, d, &[M::del_c(&dead(1))]);
            let flow = run.flow();
            assert_eq!((flow.octets, flow.end), ([300, 2000], 0), "{d:?} {timeout}");
        }
    }
}

#[test]
fn sctp_timeouts_of_freebsd_14_are_alive() {
    for d in [D::Fbsd1301, D::Fbsd1400, D::Fbsd1500] {
        for timeout in 20..25 {
            let mut run = Run::new();
            let sctp = St {
                timeout,
                proto: 132,
                ..counted(1)
            };
            run.send(0, A, d, &[M::Upd(sctp)]);
            run.send(7000, A, d, &[M::upd_c(&sctp)]);
            run.send(8000, A, d, &[M::del_c(&sctp)]);
            assert_eq!(run.flow().times(), (0, 7), "{d:?} {timeout}");
            assert_eq!(run.counters().dead, 0);
        }
    }
}

#[test]
fn clr_ends_a_creators_states_in_every_dialect() {
    for d in D::ALL {
        let mut run = Run::new();
        let other = St {
            creator: OTHER_CREATOR,
            ..counted(1)
        };
        let mine = [counted(1), counted(2).named("em0")];
        run.send(0, A, d, &[M::Upd(mine[0]), M::Upd(mine[1]), M::Upd(other)]);
        run.send(4000, A, d, &[M::clr(CREATOR)]);
        let flows = run.flows();
        assert_eq!(flows.len(), 2, "{d:?}");
        assert!(flows.iter().all(|flow| flow.creator == CREATOR));
        assert_eq!((run.counters().cleared, run.alive()), (2, 1));
    }
}

#[test]
fn clr_by_interface_ends_only_what_is_bound_to_it() {
    for d in D::ALL {
        let mut run = Run::new();
        let other = St {
            creator: OTHER_CREATOR,
            ..counted(5).named("em0")
        };
        let all = [
            counted(1),
            counted(2).named("em0"),
            counted(3).named("em1"),
            counted(4).named("em00"),
            other,
        ];
        run.send(0, A, d, &all.map(M::Upd));
        run.send(1000, A, d, &[M::clr_if("em7", CREATOR)]);
        assert_eq!(run.alive(), 5, "{d:?}: no state is bound to it");
        run.send(2000, A, d, &[M::clr_if("em0", CREATOR)]);
        assert_eq!(ids(&run.flows()), [2], "{d:?}");
        run.send(3000, A, d, &[M::clr_if("all", CREATOR)]);
        assert_eq!(ids(&run.flows()), [1], "{d:?}");
        assert_eq!((run.counters().cleared, run.alive()), (2, 3));
    }
}

#[test]
fn a_clr_of_one_creator_leaves_the_others_to_expire() {
    let mut run = Run::new();
    let other = St {
        creator: OTHER_CREATOR,
        ..St::udp(2).count([1, 0], [60, 0])
    };
    run.send(0, A, RICH, &[M::Ins(counted(1)), M::Ins(other)]);
    run.send(1000, A, RICH, &[M::clr(CREATOR)]);
    assert_eq!(ids(&run.flows()), [1]);
    pass(&mut run, 1, 60 + 20 + 3600);
    let flow = run.flow();
    assert_eq!((flow.creator, run.counters().expired), (OTHER_CREATOR, 1));
}

#[test]
fn a_firewall_that_falls_silent_loses_its_states_to_their_timeouts() {
    let mut run = Run::new();
    run.send(
        0,
        A,
        RICH,
        &[
            M::Ins(counted(1)),
            M::Ins(St {
                id: 2,
                ..St::udp(2).count([1, 1], [50, 60])
            }),
        ],
    );
    // It comes up again, with new ids for the old tuples.
    run.send(
        120_000,
        A,
        RICH,
        &[M::Ins(counted(100)), M::Bus(CREATOR, 1)],
    );
    pass(&mut run, 120, 80 + 3600);
    let flow = run.flow();
    assert_eq!((flow.id, flow.octets), (2, [50, 60]));
    pass(&mut run, 80 + 3600, 86_400 + 20 + 3600);
    let flow = run.flow();
    assert_eq!(
        (flow.id, flow.octets, flow.times()),
        (1, [300, 2000], (0, 0))
    );
    assert_eq!(run.alive(), 1);
}

#[test]
fn a_state_that_was_never_announced_is_a_counted_delete() {
    let mut run = Run::new();
    run.send(0, A, RICH, &[M::del_c(&counted(1)), M::Iack(1, CREATOR)]);
    assert_eq!((run.counters().unknown_delete, run.finish()), (1, vec![]));
}

#[test]
fn a_no_sync_state_in_a_bulk_is_a_state() {
    let mut run = Run::new();
    let nosync = St {
        flags: 0x000c,
        sync_flags: 1,
        ..counted(1).aged(30)
    };
    run.send(
        0,
        A,
        D::Obsd74,
        &[M::Bus(CREATOR, 1), M::Upd(nosync), M::Bus(CREATOR, 2)],
    );
    run.send(1000, A, D::Obsd74, &[M::clr(CREATOR)]);
    assert_eq!(run.flow().start, -30);
}

#[test]
fn pfsyncs_own_traffic_is_a_protocol_like_others() {
    let mut run = Run::new();
    let st = St {
        proto: 240,
        timeout: 13,
        ..counted(1)
    };
    run.send(0, A, RICH, &[M::Upd(st), M::del_c(&st)]);
    assert_eq!(run.flow().proto, 240);
}

#[test]
fn a_full_del_carries_the_final_counters() {
    for d in [D::V2, D::V3, D::V4] {
        let mut run = Run::new();
        run.send(0, PFSYNC0, d, &[M::Ins(St::tcp(1))]);
        run.send(
            3000,
            PFSYNC0,
            d,
            &[M::Upd(counted(1).aged(3).count([2, 2], [200, 2000]))],
        );
        run.send(9000, PFSYNC0, d, &[M::Del(counted(1).aged(9))]);
        let flow = run.flow();
        assert_eq!((flow.octets, flow.times()), ([300, 2000], (0, 3)), "{d:?}");
        // Of a state that dies already, and of one never seen before.
        let dying = St {
            timeout: 21,
            ..counted(2).aged(40)
        };
        run.send(10_000, PFSYNC0, d, &[M::Del(dying)]);
        assert_eq!((run.flow().start, run.alive()), (-30, 0), "{d:?}");
    }
}

#[test]
fn a_message_within_the_hour_shows_that_a_state_was_given_up_too_early() {
    let mut run = Run::new();
    run.send(0, A, RICH, &[M::Ins(St::udp(1).count([1, 0], [60, 0]))]);
    pass(&mut run, 0, 80 + 3599);
    run.send((80 + 3599) * 1000, A, RICH, &[M::upd_c(&St::udp(1))]);
    assert_eq!((run.counters().ended_too_early, run.alive()), (1, 1));
    let more = St::udp(1).aged(3689).count([2, 0], [120, 0]);
    run.send(3_689_000, A, RICH, &[M::Upd(more), M::del_c(&more)]);
    assert_eq!(run.flow().octets, [120, 0], "one flow, all of it");
    assert_eq!(
        (run.counters().ended_too_early, run.counters().expired),
        (1, 0)
    );
}

#[test]
fn a_silent_state_ends_at_its_due_time_in_a_gap() {
    let mut run = exporting(Format::Ipfix);
    let long = counted(2);
    run.send(
        0,
        A,
        RICH,
        &[M::Ins(St::udp(1).count([1, 0], [60, 0])), M::Ins(long)],
    );
    run.advance((80 + 3601) * 1000);
    assert_eq!(
        (run.counters().expired, run.alive()),
        (0, 2),
        "it may have been a step of a clock"
    );
    run.send(3_681_000, A, RICH, &[M::Upd(long.aged(3681))]);
    run.advance(3_681_001);
    assert_eq!((run.counters().expired, run.alive()), (1, 1));
    run.advance(3_712_000);
    let data: Vec<_> = sent(&mut run).into_iter().filter(|d| d[17] != 2).collect();
    // Held 30 s after it was sent, at a clock that does not go back.
    assert_eq!(
        data.iter().map(|d| export_time(d)).collect::<Vec<_>>(),
        [3711]
    );
    assert_eq!(run.flow().times(), (0, 0));
}

#[test]
fn the_largest_expire_seen_lengthens_a_timeout() {
    let mut run = Run::new();
    let udp = |id, expire| St {
        expire,
        ..St::udp(id).count([1, 0], [60, 0])
    };
    run.send(0, A, RICH, &[M::Upd(udp(1, 600)), M::Ins(udp(2, 60))]);
    run.send(0, B, RICH, &[M::Ins(udp(3, 60))]);
    pass(&mut run, 0, 80 + 3600);
    assert_eq!(ids(&run.flows()), [3], "B never showed more than 60 s");
    pass(&mut run, 80 + 3600, 620 + 3600 - 1);
    assert_eq!(run.alive(), 2);
    run.advance((620 + 3600) * 1000);
    assert_eq!(run.flows().len(), 2);
}

#[test]
fn overdue_states_are_exported_at_the_end_and_others_are_not() {
    let mut run = Run::new();
    run.send(
        0,
        A,
        RICH,
        &[
            M::Ins(St::udp(1).count([1, 0], [60, 0])),
            M::Ins(counted(2)),
        ],
    );
    run.advance(81_000);
    assert_eq!(run.flows(), []);
    assert_eq!(ids(&run.finish()), [1]);
    assert_eq!((run.counters().expired, run.alive()), (1, 1));
}

#[test]
fn eviction_exports_the_longest_idle_and_counts_it() {
    let mut run = Run::bounded(3);
    run.send(0, A, RICH, &[M::Ins(counted(1))]);
    run.send(
        1000,
        A,
        RICH,
        &[M::Ins(St {
            timeout: 5,
            ..counted(2)
        })],
    );
    run.send(2000, B, RICH, &[M::Ins(counted(3))]);
    run.send(3000, A, RICH, &[M::upd_c(&counted(1))]);
    run.send(4000, A, RICH, &[M::Ins(counted(4))]);
    assert_eq!(
        (run.flow().id, run.counters().evicted, run.alive()),
        (2, 1, 3)
    );
    run.send(5000, A, RICH, &[M::Ins(counted(5))]);
    assert_eq!(run.flow().id, 3);
    run.send(6000, A, RICH, &[M::Ins(counted(6))]);
    assert_eq!(
        (run.flow().id, run.counters().evicted, run.alive()),
        (1, 3, 3)
    );
}

#[test]
fn acks_requests_bulk_status_and_tdb_change_nothing() {
    for d in D::ALL {
        let mut run = Run::new();
        run.send(0, A, d, &[M::Upd(counted(1))]);
        let mut rest = vec![M::Ureq(1, CREATOR), M::Ureq(0, 0), M::Bus(CREATOR, 1)];
        if !d.is_flat() {
            rest.push(M::Iack(1, CREATOR));
        }
        if d != D::V2 && !d.is_freebsd() {
            rest.push(M::Tdb);
        }
        run.send(60_000, A, d, &rest);
        assert_eq!(run.messages(Action::UpdateRequest), 2, "{d:?}");
        run.send(61_000, A, d, &[M::del_c(&counted(1))]);
        assert_eq!(run.flow().times(), (0, 0), "{d:?}");
        let counters = run.engine.packet_counters();
        assert_eq!(counters.whole, counters.packets(), "{d:?}");
    }
}
