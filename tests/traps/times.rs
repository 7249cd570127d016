//! Start and end of flows: ages, expire, boot, and clocks that are set.

use super::*;

#[test]
fn creation_is_fixed_by_the_first_full_state() {
    for d in D::ALL {
        let mut run = Run::new();
        run.send(0, A, d, &[M::Upd(counted(1).aged(100))]);
        run.send(10_000, A, d, &[M::Upd(counted(1).aged(109))]);
        run.send(21_000, B, d, &[M::Upd(counted(1).aged(122))]);
        run.send(21_000, A, d, &[M::del_c(&counted(1))]);
        assert_eq!(run.flow().start, -100, "{d:?}");
    }
}

#[test]
fn absurd_ages_are_zero() {
    for d in D::ALL {
        for age in [u32::MAX, u32::MAX - 100, 1 << 31] {
            let mut run = Run::new();
            run.send(5000, A, d, &[M::Upd(counted(1).aged(age))]);
            run.send(6000, A, d, &[M::del_c(&counted(1))]);
            assert_eq!(run.flow().start, 5, "{d:?} {age:#x}");
        }
    }
}

#[test]
fn ages_below_zero_do_not_split_a_state() {
    // OpenBSD 3.5 adds the age of an imported state to its clock: now - creation is below zero
    // for as long again as the state was old.
    for d in D::ALL {
        let mut run = Run::new();
        for s in 0..20_u32 {
            let age = s.wrapping_sub(3600);
            let st = counted(1).count([3 + u64::from(s), 2], [300 + u64::from(s), 2000]);
            run.send(i64::from(s) * 1000, A, d, &[M::Upd(st.aged(age))]);
        }
        run.send(20_000, A, d, &[M::del_c(&counted(1))]);
        let flows = run.flows();
        assert_eq!(sum(&flows), [319, 2000], "{d:?}: {} flows", flows.len());
        assert_eq!(flows[0].start, 0, "{d:?}");
    }
}

#[test]
fn an_age_beyond_the_epoch_is_cut() {
    let mut run = Run::new();
    let old = counted(1).aged(i32::MAX.unsigned_abs());
    run.send(0, A, RICH, &[M::Upd(old), M::del_c(&old)]);
    assert_eq!(run.flow().start, -T0, "nothing is before 1970 in IPFIX");
    let mut run = Run::booted(-100);
    run.send(0, A, RICH, &[M::Upd(old), M::del_c(&old)]);
    assert_eq!(run.flow().start, -100);
}

#[test]
fn an_expire_of_zero_says_nothing_of_the_last_packet() {
    for d in D::ALL {
        let mut run = Run::new();
        run.send(0, A, d, &[M::Ins(counted(1))]);
        run.send(3000, A, d, &[M::upd_c(&counted(1))]);
        run.send(
            200_000,
            A,
            d,
            &[M::Upd(St {
                timeout: 3,
                ..counted(1).aged(200)
            })],
        );
        run.send(201_000, A, d, &[M::del_c(&counted(1))]);
        assert_eq!(run.flow().end, 3, "{d:?}");
    }
}

#[test]
fn numbers_that_a_wrong_walk_stumbles_over_do_not_mislead() {
    // The third octet of the id, or a creatorid's, is 13 where a walk of the other size sees an
    // action of FreeBSD 14.
    for d in [D::Obsd46, D::Obsd45, D::Fbsd9, D::Fbsd1301] {
        for odd in 0..256_u64 {
            let mut run = Run::new();
            let id = |n: u64| n << 40 | odd << 32 | 13 << 24 | odd << 16 | 13 << 8 | 1;
            let mut messages: Vec<M> = (0..3).map(|n| M::Ins(counted(id(n)))).collect();
            messages.push(M::upd_c(&counted(id(3))));
            run.packet(0, A, &modern(5, &[sections(d, &messages), eof(d)].concat()));
            assert_eq!(
                (run.alive(), run.reason("bad_value")),
                (3, 0),
                "{d:?} {odd}"
            );
            assert_eq!(run.counters().unknown_update, 1, "{d:?} {odd}");
        }
    }
}

#[test]
fn stamps_at_the_end_of_the_scale_do_not_run_away() {
    // What the savefile reader may hand over is made sane before it drives the clock.
    let stamps = [i64::MIN, -1, 0, 1 << 62, i64::MAX].map(pflow::time::Wall::from_nanos);
    let mut config = Config::default();
    let line = "pflow0 flowdst 127.0.0.1:1 pflowproto 10";
    pflow::config::apply_line(&mut config, line, || pflow::config::Place::CommandLine).unwrap();
    for boot in [0, 1_700_000_000_000_000_000] {
        let mut engine = Engine::new(settings(), config.clone());
        let boot = pflow::time::Wall::from_nanos(boot);
        let mut clock = pflow::time::Wall::from_nanos(0);
        engine.start(pflow::time::Now::with_boot(clock, boot));
        for stamp in stamps {
            clock = clock.max(stamp.sane());
            let now = pflow::time::Now::with_boot(clock, boot);
            engine.handle_timeout(now, now.uptime);
            assert!(engine.poll_timeout().is_none_or(|due| due > now.uptime));
        }
        assert!(engine.transmit(Order::Packed).iter().count() < 10);
    }
}

#[test]
fn a_upd_c_with_expire_zero_keeps_its_state() {
    for d in D::ALL {
        let mut run = Run::new();
        run.send(0, A, d, &[M::Upd(counted(1))]);
        run.send(5000, A, d, &[M::upd_c(&counted(1))]);
        run.advance(80_000_000);
        assert_eq!((run.alive(), run.flows()), (1, vec![]), "{d:?}");
        run.send(80_001_000, A, d, &[M::del_c(&counted(1))]);
        assert_eq!(run.flow().end, 5, "{d:?}");
    }
}

#[test]
fn a_bulk_of_old_states_starts_at_their_creation() {
    for d in D::ALL {
        let mut run = Run::new();
        let old = [counted(1).aged(5000), counted(2).aged(70_000)];
        run.send(0, A, d, &[M::Bus(CREATOR, 1)]);
        run.send(100, A, d, &old.map(M::Upd));
        run.send(200, A, d, &[M::Bus(CREATOR, 2)]);
        run.send(2000, A, d, &old.map(|st| M::upd_c(&st)));
        run.send(3000, A, d, &old.map(|st| M::del_c(&st)));
        let times: Vec<_> = run.flows().iter().map(Out::times).collect();
        assert_eq!(times, [(-5000, 2), (-70_000, 2)], "{d:?}");
    }
}

#[test]
fn ins_and_upd_c_are_activity_and_a_full_update_is_only_on_pfsync0_before_v5() {
    for d in D::ALL {
        for from in [A, PFSYNC0] {
            let mut run = Run::new();
            run.send(0, from, d, &[M::Ins(counted(1))]);
            run.send(7000, from, d, &[M::upd_c(&counted(1))]);
            run.send(20_000, from, d, &[M::Upd(counted(1).aged(20))]);
            run.send(30_000, from, d, &[M::del_c(&counted(1))]);
            let end = if d.is_flat() && from == PFSYNC0 {
                20
            } else {
                7
            };
            assert_eq!(run.flow().times(), (0, end), "{d:?} {from:?}");
        }
        let mut run = Run::new();
        run.send(0, A, d, &[M::Upd(counted(1))]);
        run.send(9000, A, d, &[M::Ins(counted(1).aged(9))]);
        run.send(30_000, A, d, &[M::del_c(&counted(1))]);
        assert_eq!(run.flow().end, 9, "{d:?}: an INS is activity");
    }
}

#[test]
fn the_expire_of_a_v5_or_v6_full_state_tells_the_last_packet() {
    for d in D::ALL {
        let mut run = Run::new();
        let st = |age, expire| St {
            expire,
            ..St::udp(1).count([1, 0], [60, 0]).aged(age)
        };
        run.send(0, A, d, &[M::Ins(st(0, 60))]);
        run.send(20_000, A, d, &[M::Upd(st(20, 55))]);
        // Before what is known, and after now: nothing.
        run.send(21_000, A, d, &[M::Upd(st(21, 20))]);
        run.send(22_000, A, d, &[M::Upd(st(22, 61))]);
        run.send(23_000, A, d, &[M::del_c(&st(0, 0))]);
        let end = if d.is_flat() { 0 } else { 15 };
        assert_eq!(run.flow().end, end, "{d:?}");
    }
}

#[test]
fn a_configured_timeout_is_what_expire_is_taken_from() {
    let mut config = Config::default();
    assert!(config.timeouts.set("udp.multiple", 100));
    let mut run = Run::with(settings(), config);
    let st = St {
        expire: 90,
        ..St::udp(1).count([1, 0], [60, 0]).aged(50)
    };
    run.send(0, A, RICH, &[M::Upd(st), M::del_c(&st)]);
    assert_eq!(run.flow().times(), (-50, -10));
}

/// A state of age `age` whose last packet was `idle` seconds ago, at second 0 and gone.
fn bulk(mut run: Run, age: u32, idle: u32) -> (i64, i64) {
    let st = St {
        expire: 86_400 - idle,
        ..counted(1).aged(age)
    };
    run.send(0, A, RICH, &[M::Upd(st), M::del_c(&st)]);
    run.flow().times()
}

#[test]
fn a_known_boot_clamps() {
    assert_eq!(bulk(Run::booted(-100), 90, 50), (-90, -50));
    assert_eq!(bulk(Run::booted(-100), 500, 50), (-100, -50));
    assert_eq!(bulk(Run::booted(-100), 7000, 6400), (-100, -100));
    assert_eq!(
        bulk(Run::booted(-100), 10, 50),
        (-10, 0),
        "no packet was before the first"
    );
}

#[test]
fn an_unknown_boot_clamps_nothing() {
    assert_eq!(bulk(Run::new(), 500, 50), (-500, -50));
    assert_eq!(bulk(Run::new(), 7000, 6400), (-7000, -6400));
    let (start, end) = bulk(Run::new(), 10, 50);
    assert!(start <= end && end <= 0, "{start} {end}");
}

#[test]
fn times_are_whole_seconds_of_an_uptime_whose_zero_is_inside_a_second() {
    // Boot at -99.7 s, a packet at 0.2 s: uptime 99; and the wall clock's second at the end is 10.
    let mut run = Run::booted_at(-99_700);
    run.send(200, A, RICH, &[M::Ins(counted(1).aged(4))]);
    run.send(10_100, A, RICH, &[M::del_c(&counted(1))]);
    // floor(10.1) - (floor(109.8) - (99 - 4)), and likewise with 99.
    assert_eq!(run.flow().times(), (10 - (109 - 95), 10 - (109 - 99)));
}

#[test]
fn a_clock_that_is_set_moves_no_timer_and_ends_no_state() {
    const HOURS: i64 = 3_600_000;
    let mut run = Run::booted(-1000);
    run.send(0, A, RICH, &[M::Ins(counted(1).aged(0))]);
    let mut set = 0;
    for (turn, step) in [(1, 30 * HOURS), (2, -72 * HOURS), (3, 50 * HOURS)] {
        run.set_clock(step);
        set += step;
        run.send(set + turn * 10_000, A, RICH, &[M::upd_c(&counted(1))]);
        assert_eq!((run.alive(), run.flows()), (1, vec![]), "after {step} ms");
    }
    run.send(set + 31_000, A, RICH, &[M::del_c(&counted(1))]);
    // By the clock as it is at the end.
    let end = (set + 30_000) / 1000;
    assert_eq!(run.flow().times(), (end - 30, end));
    assert_eq!(run.counters().expired, 0);
}

#[test]
fn a_packet_with_an_earlier_stamp_does_not_turn_the_clock_back() {
    let mut run = Run::new();
    run.send(10_000, A, RICH, &[M::Ins(counted(1))]);
    run.send(4000, B, RICH, &[M::Ins(counted(2)), M::del_c(&counted(2))]);
    assert_eq!(run.flow().times(), (4, 4));
    run.send(
        3000,
        A,
        RICH,
        &[M::upd_c(&counted(1)), M::del_c(&counted(1))],
    );
    assert_eq!(
        run.flow().times(),
        (10, 10),
        "the latest arrival, not the last"
    );
}
