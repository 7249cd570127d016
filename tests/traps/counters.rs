//! What flows count: totals, late copies, and counters that begin again.

use super::*;

#[test]
fn messages_count_for_the_creators_whose_states_they_are_about() {
    let of = |creator, id| St {
        creator,
        ..St::udp(id)
    };
    let mut run = Run::new();
    let first: Vec<M> = (1..=5).map(|id| M::Ins(of(7, id))).collect();
    run.send(0, A, D::Obsd74, &first);
    // In one section: of the first and of a third by turns.
    let turns = [(9, 11), (7, 12), (9, 13)].map(|(creator, id)| M::Ins(of(creator, id)));
    run.send(5, A, D::Obsd74, &turns);
    // In one go: of the other, of the first, of the other again.
    run.send(
        10,
        A,
        D::Obsd74,
        &[
            M::Ins(of(8, 6)),
            M::del_c(&of(7, 1)),
            M::del_c(&of(7, 2)),
            M::Bus(7, 1),
            M::del_c(&of(8, 6)),
        ],
    );
    let record = &run.engine.table().senders()[1];
    let counts = record.creators().iter().map(|creator| {
        let actions = creator.actions().filter(|(_, count)| *count > 0);
        (creator.creatorid, actions.collect::<Vec<_>>())
    });
    assert_eq!(
        counts.collect::<Vec<_>>(),
        [
            (
                7,
                vec![
                    (Action::Insert, 6),
                    (Action::DeleteCompressed, 2),
                    (Action::Bus, 1)
                ]
            ),
            (9, vec![(Action::Insert, 2)]),
            (8, vec![(Action::Insert, 1), (Action::DeleteCompressed, 1)]),
        ]
    );
    assert_eq!(record.packets.messages(), 13);
    assert_eq!(run.engine.packet_counters().messages(), 13);
}

#[test]
fn counters_of_v2_have_32_bits_and_begin_again() {
    let most = u64::from(u32::MAX);
    let mut run = Run::new();
    run.send(
        0,
        PFSYNC0,
        D::V2,
        &[M::Upd(counted(1).count([most, 5], [most, most - 1]))],
    );
    run.send(
        10_000,
        PFSYNC0,
        D::V2,
        &[M::Upd(counted(1).aged(10).count([most, 6], [most, 7]))],
    );
    run.send(11_000, PFSYNC0, D::V2, &[M::del_c(&counted(1))]);
    assert_eq!(run.counters().restarted, 0, "a step over 2^32 is a wrap");
    assert_eq!(run.flow().octets, [most, (1 << 32) + 7]);
    run.send(20_000, PFSYNC0, D::V2, &[M::Upd(counted(2))]);
    let less = counted(2).aged(10).count([1, 1], [60, 70]);
    run.send(30_000, PFSYNC0, D::V2, &[M::Upd(less)]);
    run.send(31_000, PFSYNC0, D::V2, &[M::del_c(&counted(2))]);
    assert_eq!(
        run.counters().restarted,
        1,
        "a large step down is a new beginning"
    );
    assert_eq!(
        run.flow().octets,
        [360, 2070],
        "the old value stays in the sum"
    );
}

#[test]
fn a_full_del_ends_its_state_whatever_it_counts() {
    for d in D::ALL.into_iter().filter(|d| d.is_flat()) {
        let mut run = Run::new();
        run.send(0, PFSYNC0, d, &[M::Upd(counted(1))]);
        let less = counted(1).count([1, 1], [60, 60]);
        run.send(1000, PFSYNC0, d, &[M::Del(less)]);
        assert_eq!(run.flow().octets, [300, 2000], "{d:?}");
        assert_eq!((run.counters().late, run.alive()), (1, 0));
    }
}

#[test]
fn counters_since_v3_have_64_bits_high_word_first() {
    for d in D::ALL.into_iter().filter(|d| *d != D::V2) {
        let mut run = Run::new();
        let st = counted(1).count([1 << 32, 3], [(7 << 32) + 9, (1 << 40) + 1]);
        run.send(0, A, d, &[M::Upd(st), M::del_c(&st)]);
        let flow = run.flow();
        assert_eq!(flow.packets, [1 << 32, 3], "{d:?}");
        assert_eq!(flow.octets, [(7 << 32) + 9, (1 << 40) + 1], "{d:?}");
    }
}

#[test]
fn v5_records_split_what_32_bits_do_not_hold() {
    let mut run = exporting(Format::NetFlow5);
    let octets = (3 << 32) + 77;
    let st = counted(1).count([1000, 0], [octets, 0]);
    run.send(0, A, RICH, &[M::Upd(st), M::del_c(&st)]);
    run.finish();
    let datagrams = sent(&mut run);
    let records: Vec<_> = datagrams.iter().flat_map(|d| d[24..].chunks(48)).collect();
    let pieces: Vec<_> = records
        .iter()
        .map(|r| (u32_at(r, 16), u32_at(r, 20)))
        .collect();
    assert_eq!(pieces.len(), 4);
    assert!(pieces[..3].iter().all(|(_, octets)| *octets == 0xffff_ffff));
    assert_eq!(pieces.iter().map(|(_, octets)| octets).sum::<u64>(), octets);
    assert_eq!(pieces.iter().map(|(packets, _)| packets).sum::<u64>(), 1000);
    assert!(pieces.iter().all(|(packets, _)| *packets > 0));
}

#[test]
fn a_state_without_octets_makes_no_record() {
    for d in D::ALL {
        let mut run = Run::new();
        run.send(0, A, d, &[M::Ins(St::tcp(1)), M::del_c(&St::tcp(1))]);
        assert_eq!((run.flows(), run.counters().deleted), (vec![], 1), "{d:?}");
        let counters = run.engine.flow_counters();
        assert_eq!((counters.empty, counters.exported), (1, 0), "{d:?}");
    }
    let mut run = Run::new();
    let odd = St::tcp(1).count([0, 0], [0, 9]);
    run.send(0, A, RICH, &[M::Ins(odd), M::del_c(&odd)]);
    let flow = run.flow();
    assert_eq!(
        (flow.packets, flow.octets),
        ([0, 0], [0, 9]),
        "octets without packets count"
    );
}

#[test]
fn an_ins_before_v5_counts_nothing() {
    for d in [D::V2, D::V3, D::V4] {
        let mut run = Run::new();
        run.send(0, PFSYNC0, d, &[M::Upd(counted(1))]);
        // Seen again, all zero: neither late nor a new beginning.
        run.send(5000, PFSYNC0, d, &[M::Ins(St::tcp(1).aged(5))]);
        run.send(
            6000,
            PFSYNC0,
            d,
            &[M::Upd(counted(1).aged(6)), M::del_c(&counted(1))],
        );
        assert_eq!(run.flow().octets, [300, 2000], "{d:?}");
        assert_eq!((run.counters().late, run.counters().restarted), (0, 0));
    }
}

#[test]
fn sequence_numbers_add_nothing_to_exact_counters() {
    for d in D::ALL {
        let mut run = Run::new();
        let mut st = counted(1);
        run.send(0, A, d, &[M::Upd(st)]);
        for s in 1..10_u32 {
            st.src.seqlo = 0xf000_0000_u32.wrapping_add(s * 0x1000_0000);
            st.dst.seqlo = s;
            run.send(i64::from(s) * 1000, A, d, &[M::upd_c(&st)]);
        }
        let last = st.aged(10).count([5, 4], [500, 4000]);
        run.send(10_000, A, d, &[M::Upd(last), M::del_c(&last)]);
        let flow = run.flow();
        assert_eq!((flow.packets, flow.octets), ([5, 4], [500, 4000]), "{d:?}");
    }
}

#[test]
fn rule_numbers_of_two_nodes_do_not_split_a_state() {
    let mut run = Run::new();
    run.send(0, A, RICH, &[M::Ins(counted(1))]);
    let theirs = St {
        rule: 99,
        anchor: 3,
        log: 1,
        ..counted(1).aged(5).count([1, 0], [40, 0])
    };
    run.send(5000, B, RICH, &[M::Upd(theirs), M::del_c(&theirs)]);
    assert_eq!(run.flow().octets, [340, 2000]);
}

#[test]
fn sync_flags_say_nothing() {
    for d in D::ALL {
        let mut run = Run::new();
        for (n, sync_flags) in (0_u32..).zip([0x01, 0x04, 0x08, 0xff]) {
            let st = St {
                sync_flags,
                ..counted(1).aged(5 * n)
            };
            run.send(5000 * i64::from(n), A, d, &[M::Upd(st)]);
        }
        run.send(20_000, A, d, &[M::del_c(&counted(1))]);
        assert_eq!(run.flow().octets, [300, 2000], "{d:?}");
    }
}

#[test]
fn lower_counters_within_two_seconds_are_late() {
    for d in D::ALL {
        let mut run = Run::new();
        run.send(0, A, d, &[M::Upd(counted(1))]);
        run.send(
            2000,
            A,
            d,
            &[M::Upd(counted(1).aged(2).count([1, 1], [100, 1000]))],
        );
        assert_eq!(
            (run.counters().late, run.counters().restarted),
            (1, 0),
            "{d:?}"
        );
        run.send(2500, A, d, &[M::del_c(&counted(1))]);
        assert_eq!(run.flow().octets, [300, 2000], "{d:?}");
    }
}

#[test]
fn lower_counters_later_begin_again_and_the_old_value_stays() {
    for d in D::ALL {
        let mut run = Run::new();
        run.send(0, A, d, &[M::Upd(counted(1))]);
        run.send(
            2001,
            A,
            d,
            &[M::Upd(counted(1).aged(2).count([1, 1], [100, 1000]))],
        );
        run.send(
            9000,
            A,
            d,
            &[M::Upd(counted(1).aged(9).count([2, 2], [150, 1500]))],
        );
        run.send(
            20_000,
            A,
            d,
            &[M::Upd(counted(1).aged(20).count([1, 0], [7, 0]))],
        );
        assert_eq!(
            (run.counters().late, run.counters().restarted),
            (0, 2),
            "{d:?}"
        );
        run.send(21_000, A, d, &[M::del_c(&counted(1))]);
        let flow = run.flow();
        assert_eq!((flow.packets, flow.octets), ([6, 4], [457, 3500]), "{d:?}");
    }
}
