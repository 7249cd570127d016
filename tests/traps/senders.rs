//! Who tells: pfsync0 and the wire, partners, and senders apart.

use super::*;

#[test]
fn pfsync0_and_the_wire_together_count_once() {
    let mut run = live();
    let (half, whole) = (counted(1).count([2, 1], [200, 1000]), counted(1));
    for from in [PFSYNC0, A] {
        run.send(0, from, RICH, &[M::Ins(half)]);
    }
    for from in [A, PFSYNC0] {
        run.send(3000, from, RICH, &[M::Upd(whole.aged(3))]);
    }
    for from in [PFSYNC0, A] {
        run.send(4000, from, RICH, &[M::del_c(&whole)]);
    }
    let flow = run.flow();
    assert_eq!((flow.packets, flow.octets), ([3, 2], [300, 2000]));
    assert_eq!(run.counters().unknown_delete, 1);
}

#[test]
fn the_partner_on_the_wire_counts_beside_pfsync0() {
    let mut run = live();
    run.send(0, PFSYNC0, RICH, &[M::Ins(counted(1))]);
    run.send(5000, B, RICH, &[M::Upd(counted(1).aged(5))]);
    run.send(6000, B, RICH, &[M::del_c(&counted(1))]);
    assert_eq!(run.flow().octets, [600, 4000]);
}

#[test]
fn version_1_and_unknown_versions_are_logged_once_a_sender() {
    let mut run = Run::new();
    for ms in 0..5 {
        run.packet(ms, A, &[1, 0, 1, 1, 0, 0, 0, 0]);
        run.packet(ms, B, &modern(9, &[]));
    }
    assert_eq!(
        (run.reason("old_version"), run.reason("bad_version")),
        (5, 5)
    );
    assert_eq!(run.engine.notices().len(), 2);
}

#[test]
fn late_and_new_beginnings_are_each_senders_own() {
    let mut run = Run::new();
    let low = |age| M::Upd(counted(1).aged(age).count([1, 0], [10, 0]));
    run.send(0, A, RICH, &[M::Ins(counted(1))]);
    run.send(1000, B, RICH, &[M::Upd(counted(1).aged(1))]);
    run.send(2500, B, RICH, &[low(2)]);
    assert_eq!(run.counters().late, 1, "within 2 s of B's last");
    run.send(2900, A, RICH, &[low(3)]);
    assert_eq!(run.counters().restarted, 1, "A's last is 3 s ago");
    run.send(3000, A, RICH, &[M::del_c(&counted(1))]);
    assert_eq!(run.flow().octets, [300 + 10 + 300, 4000]);
}

#[test]
fn a_failover_adds_what_the_other_node_counts_from_zero() {
    for d in D::ALL {
        let mut run = Run::new();
        run.send(0, A, d, &[M::Upd(counted(1))]);
        run.send(
            10_000,
            A,
            d,
            &[M::Upd(counted(1).aged(10).count([10, 10], [1000, 9000]))],
        );
        for (ms, n) in [(20_000, 1), (30_000, 50)] {
            let st = counted(1).aged(u32::try_from(ms / 1000).unwrap());
            run.send(ms, B, d, &[M::Upd(st.count([n, n], [n * 40, n * 100]))]);
        }
        run.send(
            40_000,
            A,
            d,
            &[M::Upd(counted(1).aged(40).count([11, 10], [1060, 9000]))],
        );
        run.send(41_000, A, d, &[M::del_c(&counted(1))]);
        let flow = run.flow();
        assert_eq!(flow.packets, [61, 60], "{d:?}");
        assert_eq!(flow.octets, [1060 + 2000, 9000 + 5000], "{d:?}");
        assert_eq!(run.counters().restarted, 0);
    }
}

#[test]
fn input_without_an_address_is_one_sender_in_a_replay() {
    let mut run = Run::new();
    run.send(0, From::Bare(18), D::Obsd69, &[M::Ins(counted(1))]);
    run.send(
        5000,
        From::Header(121),
        D::Obsd74,
        &[M::Upd(counted(1).aged(5))],
    );
    run.send(
        9000,
        From::Raw([0; 4]),
        D::Obsd74,
        &[M::Upd(counted(1).aged(9))],
    );
    run.send(9000, PFSYNC0, D::Obsd74, &[M::del_c(&counted(1))]);
    assert_eq!(run.flow().octets, [300, 2000]);
}
