//! Flows exported in parts while they go on.

use super::*;

fn parts_of(run: &mut Run, unit: u32) -> Vec<(bool, (i64, i64), u64, u64)> {
    records(run)
        .into_iter()
        .filter(|record| record.unit == unit)
        .map(|r| (r.reverse, r.times, r.packets, r.octets))
        .collect()
}

#[test]
fn a_long_flow_is_exported_in_parts_to_the_interface_that_asks() {
    let lines = [
        format!("pflow0 {COLLECTOR} active 10"),
        format!("pflow1 {COLLECTOR}"),
    ];
    let mut run = Run::with(settings(), config(&lines.each_ref().map(|line| &**line)));
    run.send(0, A, D::Obsd74, &[M::Ins(udp(1))]);
    run.send(
        5000,
        A,
        D::Obsd74,
        &[M::Upd(udp(1).aged(5).count([3, 1], [240, 200]))],
    );
    run.send(5000, A, D::Obsd74, &[M::upd_c(&udp(1))]);
    run.advance(12_000);
    assert_eq!(
        parts_of(&mut run, 0),
        [(false, (0, 5), 3, 240), (true, (0, 5), 1, 200)]
    );
    // Nothing new at 20 seconds; at 25 there is, and it is due ten seconds later.
    run.send(
        25_000,
        A,
        D::Obsd74,
        &[
            M::upd_c(&udp(1)),
            M::Upd(udp(1).aged(25).count([5, 1], [400, 200])),
        ],
    );
    run.advance(34_500);
    assert_eq!(parts_of(&mut run, 0), []);
    run.advance(37_000);
    assert_eq!(parts_of(&mut run, 0), [(false, (5, 25), 2, 160)]);
    run.send(
        40_000,
        A,
        D::Obsd74,
        &[
            M::Upd(udp(1).aged(40).count([6, 2], [480, 300])),
            M::del_c(&udp(1)),
        ],
    );
    run.advance(42_000);
    let last = records(&mut run);
    let of = |unit| last.iter().filter(move |record| record.unit == unit);
    assert_eq!(
        of(0)
            .map(|r| (r.reverse, r.packets, r.octets))
            .collect::<Vec<_>>(),
        [(false, 1, 80), (true, 1, 100)]
    );
    assert_eq!(
        of(1)
            .map(|r| (r.reverse, r.packets, r.octets))
            .collect::<Vec<_>>(),
        [(false, 6, 480), (true, 2, 300)]
    );
    assert_eq!(run.flow().octets, [480, 300], "printed whole");
    assert_eq!(run.engine.interfaces()[0].counters.parts, 3);
}

#[test]
fn each_part_begins_in_the_second_in_which_the_one_before_ended() {
    let line = format!("pflow0 {COLLECTOR} active 10");
    // The boot is at some fraction of a second, parts go out before and behind it.
    for ends in [42_000, 42_300, 42_400, 42_900] {
        let mut run = Run::with(settings(), config(&[&line]));
        run.send(0, A, D::Obsd74, &[M::Ins(udp(1))]);
        let told = |s: u32| {
            let told = udp(1)
                .aged(s)
                .count([3 + u64::from(s), 1], [240 + u64::from(s), 200]);
            [M::upd_c(&udp(1)), M::Upd(told)]
        };
        run.send(5000, A, D::Obsd74, &told(5));
        run.send(25_700, A, D::Obsd74, &told(25));
        run.advance(38_000);
        run.send(ends, A, D::Obsd74, &told(42));
        run.send(ends, A, D::Obsd74, &[M::del_c(&udp(1))]);
        run.advance(50_000);
        let parts = parts_of(&mut run, 0);
        let ahead: Vec<_> = parts.iter().filter(|part| !part.0).collect();
        assert!(ahead.len() >= 3, "{ahead:?}");
        for pair in ahead.windows(2) {
            assert_eq!(pair[0].1.1, pair[1].1.0, "{ends} {ahead:?}");
        }
    }
}

#[test]
fn a_flow_that_has_nothing_left_at_its_end_makes_no_record() {
    let line = format!("pflow0 {COLLECTOR} active 10");
    let mut run = Run::with(settings(), config(&[&line]));
    run.send(0, A, D::Obsd74, &[M::Ins(udp(1))]);
    run.advance(12_000);
    assert_eq!(parts_of(&mut run, 0).len(), 2);
    run.send(60_000, A, D::Obsd74, &[M::del_c(&udp(1))]);
    run.advance(63_000);
    assert_eq!(parts_of(&mut run, 0), []);
    assert_eq!(run.flow().octets, [80, 200]);
}

#[test]
fn parts_go_out_at_their_due_time_however_late_the_next_packet_is() {
    let line = format!("pflow0 {COLLECTOR} active 10");
    let mut run = Run::with(settings(), config(&[&line]));
    run.send(0, A, D::Obsd74, &[M::Ins(connection(1))]);
    run.engine.transmit(Order::Packed);
    run.advance(500_000);
    let first = run
        .engine
        .transmit(Order::Packed)
        .iter()
        .map(|(_, payload)| payload.to_vec())
        .find(|payload| payload[16..18] == [1, 0])
        .unwrap();
    let sent = i64::from(u32::from_be_bytes(first[4..8].try_into().unwrap()));
    assert_eq!(sent - common::T0, 11, "ten seconds, and held for one");
}

#[test]
fn what_an_estimate_had_too_much_is_not_exported_again() {
    let line = format!("pflow0 {COLLECTOR} active 10");
    let mut run = Run::with(settings(), config(&[&line]));
    let st = connection(1);
    run.send(0, A, D::Obsd74, &[M::Ins(st)]);
    let st = down(st, 146_000);
    run.send(9000, A, D::Obsd74, &[M::upd_c(&st)]);
    run.advance(12_000);
    let (packets, octets) = with_download(&[146_000]);
    let first = parts_of(&mut run, 0);
    assert_eq!((first[1].2, first[1].3), (packets[1], octets[1]));
    // The estimate was 1000 octets too high; then 5000 more are counted.
    let full = st.aged(13).count(packets, [octets[0], octets[1] - 1000]);
    run.send(13_000, A, D::Obsd74, &[M::Upd(full)]);
    let more = full
        .aged(29)
        .count([packets[0], packets[1] + 4], [octets[0], octets[1] + 4000]);
    run.send(29_000, A, D::Obsd74, &[M::Upd(more), M::del_c(&st)]);
    run.advance(31_000);
    let rest: u64 = parts_of(&mut run, 0)
        .iter()
        .filter(|part| part.0)
        .map(|part| part.3)
        .sum();
    assert_eq!(rest, 4000, "so that parts add up to what was counted");
}

#[test]
fn switching_the_timeout_off_leaves_the_rest_for_the_end() {
    let on = config(&[&format!("pflow0 {COLLECTOR} active 10")]);
    let off = config(&[&format!("pflow0 {COLLECTOR}")]);
    let mut run = Run::with(settings(), on);
    run.send(0, A, D::Obsd74, &[M::Ins(udp(1)), M::Ins(connection(2))]);
    run.advance(12_000);
    assert_eq!(parts_of(&mut run, 0).len(), 4);
    let now = pflow::time::Now::with_boot(common::wall(12_000), common::wall(-(1 << 31)));
    run.engine.commit(now, off, &[0]);
    let more = udp(1).aged(20).count([9, 9], [800, 900]);
    run.send(20_000, A, D::Obsd74, &[M::Upd(more)]);
    run.advance(40_000);
    assert_eq!(parts_of(&mut run, 0), []);
    run.send(41_000, A, D::Obsd74, &[M::del_c(&udp(1))]);
    run.advance(43_000);
    let octets: Vec<u64> = parts_of(&mut run, 0).iter().map(|part| part.3).collect();
    assert_eq!(octets, [720, 700]);
}

#[test]
fn a_timeout_switched_on_and_off_reaches_every_state_though_not_at_once() {
    const STATES: u64 = 10_000;
    let on = || config(&[&format!("pflow0 {COLLECTOR} active 10")]);
    let off = || config(&[&format!("pflow0 {COLLECTOR}")]);
    let mut run = Run::with(settings(), off());
    for begin in (0..STATES).step_by(100) {
        let some: Vec<M> = (begin..begin + 100).map(|id| M::Ins(udp(id))).collect();
        run.send(0, A, D::Obsd74, &some);
    }
    let commit = |run: &mut Run, config, ms| {
        run.advance(ms);
        let now = run.now();
        run.engine.commit(now, config, &[0]);
        let is_more_to_do = run
            .engine
            .poll_timeout()
            .is_some_and(|due| due <= now.uptime);
        assert!(is_more_to_do, "not all at once");
        while run.engine.handle_some_timeouts(now, now.uptime) {}
    };
    commit(&mut run, on(), 1000);
    assert_eq!(parts_of(&mut run, 0), []);
    run.advance(10_500);
    assert_eq!(parts_of(&mut run, 0), [], "none waited for ten seconds");
    run.advance(12_100);
    let parts = parts_of(&mut run, 0);
    assert_eq!(parts.len() as u64, 2 * STATES);
    // Each has something new, and none is asked for it any more.
    for begin in (0..STATES).step_by(100) {
        let more = |id| M::Upd(udp(id).aged(13).count([9, 9], [800, 900]));
        let some: Vec<M> = (begin..begin + 100).map(more).collect();
        run.send(13_000, A, D::Obsd74, &some);
    }
    commit(&mut run, off(), 13_500);
    run.advance(50_000);
    assert_eq!(parts_of(&mut run, 0), []);
}
