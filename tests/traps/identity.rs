//! Which messages are about one state: ids, creators, keys, ages.

use super::*;

/// rdr-to on IN: 203.0.113.5:80 is 192.168.1.20:8080.
fn rdr_in(id: u64) -> St {
    St {
        wire: Key::new("198.51.100.9", 5555, "203.0.113.5", 80),
        stack: Key::new("198.51.100.9", 5555, "192.168.1.20", 8080),
        ..counted(id)
    }
}

#[test]
fn nat_is_in_the_keys_whatever_nat_rule_says() {
    for d in D::ALL {
        for nat_rule in [0, 5, u32::MAX] {
            let mut run = Run::new();
            let all = [nat_out(1), rdr_in(2), counted(3)].map(|st| St { nat_rule, ..st });
            run.send(0, A, d, &all.map(M::Upd));
            run.send(1000, A, d, &all.map(|st| M::del_c(&st)));
            let flows = run.flows();
            let ends = |n: usize| (flows[n].src.as_str(), flows[n].dst.as_str());
            assert_eq!(ends(0), ("192.168.1.10:40000", "198.51.100.7:443"), "{d:?}");
            let nat = (
                "203.0.113.5:51000".to_owned(),
                "198.51.100.7:443".to_owned(),
            );
            assert_eq!(flows[0].nat, Some(nat), "{d:?}");
            assert_eq!(ends(1), ("198.51.100.9:5555", "203.0.113.5:80"), "{d:?}");
            let nat = (
                "198.51.100.9:5555".to_owned(),
                "192.168.1.20:8080".to_owned(),
            );
            assert_eq!(flows[1].nat, Some(nat), "{d:?}");
            assert_eq!(flows[2].nat, None, "{d:?}");
        }
    }
}

#[test]
fn a_forwarded_connection_is_two_floating_states() {
    for d in D::ALL {
        let mut run = Run::new();
        let (ingress, egress) = (
            counted(1),
            St {
                direction: OUT,
                ..counted(2).keyed(Key::new("198.51.100.7", 443, "192.0.2.1", 40000))
            },
        );
        run.send(0, A, d, &[M::Upd(ingress), M::Upd(egress)]);
        run.send(1000, A, d, &[M::del_c(&ingress), M::del_c(&egress)]);
        let flows = run.flows();
        assert_eq!(flows.len(), 2, "{d:?}");
        for (flow, direction) in flows.iter().zip(["in", "out"]) {
            assert_eq!(
                (flow.ifname.as_str(), flow.direction.as_str()),
                ("all", direction)
            );
            assert_eq!(flow.src, "192.0.2.1:40000");
            assert_eq!(flow.octets, [300, 2000]);
        }
    }
}

#[test]
fn one_tuple_with_a_new_id_before_the_old_one_is_deleted() {
    for d in D::ALL {
        let mut run = Run::new();
        run.send(0, A, d, &[M::Upd(counted(1))]);
        let new = counted(2).count([1, 0], [60, 0]);
        run.send(5000, A, d, &[M::Upd(new), M::del_c(&counted(1))]);
        let flow = run.flow();
        assert_eq!((flow.id, flow.octets), (1, [300, 2000]), "{d:?}");
        run.send(6000, A, d, &[M::del_c(&new)]);
        let flow = run.flow();
        assert_eq!((flow.id, flow.octets, flow.start), (2, [60, 0], 5), "{d:?}");
    }
}

#[test]
fn the_same_id_of_two_creators_is_two_states() {
    let mut run = Run::new();
    let other = St {
        creator: OTHER_CREATOR,
        ..counted(1).count([1, 0], [60, 0])
    };
    run.send(0, A, RICH, &[M::Ins(counted(1)), M::Ins(other)]);
    run.send(1000, A, RICH, &[M::del_c(&other)]);
    assert_eq!(run.flow().octets, [60, 0]);
    run.send(1000, A, RICH, &[M::del_c(&counted(1))]);
    assert_eq!(run.flow().octets, [300, 2000]);
}

#[test]
fn an_id_with_another_key_ends_the_old_state() {
    for d in D::ALL {
        let mut run = Run::new();
        run.send(0, A, d, &[M::Upd(counted(1))]);
        let again = counted(1)
            .keyed(Key::new("192.0.2.1", 40001, "198.51.100.7", 443))
            .count([1, 0], [60, 0]);
        run.send(1000, A, d, &[M::Upd(again)]);
        let flow = run.flow();
        assert_eq!(
            (flow.octets, flow.src.as_str()),
            ([300, 2000], "192.0.2.1:40000"),
            "{d:?}"
        );
        assert_eq!((run.counters().replaced, run.alive()), (1, 1));
        run.send(2000, A, d, &[M::del_c(&again)]);
        let flow = run.flow();
        assert_eq!(
            (flow.octets, flow.src.as_str()),
            ([60, 0], "192.0.2.1:40001"),
            "{d:?}"
        );
    }
}

#[test]
fn a_late_copy_of_an_ids_former_state_does_not_end_its_present_one() {
    for d in D::ALL {
        let mut run = Run::new();
        run.send(0, A, d, &[M::Upd(counted(1).aged(100))]);
        let key = Key::new("192.0.2.1", 40001, "198.51.100.7", 443);
        let new = counted(1).keyed(key).count([1, 1], [60, 80]);
        run.send(5000, A, d, &[M::Upd(new)]);
        run.send(5300, A, d, &[M::Upd(counted(1).aged(105))]);
        run.send(9000, A, d, &[M::Upd(new.aged(4)), M::del_c(&new)]);
        let flows = run.flows();
        assert_eq!(sum(&flows), [360, 2080], "{d:?}: {} flows", flows.len());
    }
}

#[test]
fn an_id_with_another_age_ends_the_old_state() {
    for d in D::ALL {
        let mut run = Run::new();
        run.send(0, A, d, &[M::Upd(counted(1).aged(100))]);
        run.send(50_000, A, d, &[M::Upd(counted(1).aged(152))]);
        assert_eq!(
            (run.flows(), run.alive()),
            (vec![], 1),
            "{d:?}: 2 s are no other age"
        );
        run.send(
            60_000,
            A,
            d,
            &[M::Upd(counted(1).aged(3).count([1, 0], [60, 0]))],
        );
        let flow = run.flow();
        assert_eq!((flow.octets, flow.start), ([300, 2000], -102), "{d:?}");
        run.send(61_000, A, d, &[M::del_c(&counted(1))]);
        let flow = run.flow();
        assert_eq!((flow.octets, flow.start), ([60, 0], 57), "{d:?}");
    }
}

#[test]
fn ins_after_upd_is_one_state() {
    for d in D::ALL {
        let mut run = Run::new();
        run.send(0, A, d, &[M::Upd(counted(1))]);
        run.send(500, A, d, &[M::Ins(counted(1)), M::del_c(&counted(1))]);
        assert_eq!(run.flow().octets, [300, 2000], "{d:?}");
        assert_eq!(run.counters().inserted, 1);
    }
}

#[test]
fn compressed_messages_of_unknown_ids_make_no_flow() {
    for d in D::ALL {
        let mut run = Run::new();
        run.send(0, A, d, &[M::upd_c(&counted(1)), M::del_c(&counted(1))]);
        let counters = run.counters();
        assert_eq!(
            (counters.unknown_update, counters.unknown_delete),
            (1, 1),
            "{d:?}"
        );
        assert_eq!((run.alive(), run.finish()), (0, vec![]), "{d:?}");
    }
}

#[test]
fn a_duplicate_ins_and_two_del_c_are_one_flow() {
    let mut run = Run::new();
    run.send(0, A, RICH, &[M::Ins(counted(1))]);
    run.send(100, A, RICH, &[M::Ins(counted(1))]);
    run.send(1000, A, RICH, &[M::del_c(&counted(1))]);
    run.send(1100, B, RICH, &[M::del_c(&counted(1))]);
    run.send(1200, A, RICH, &[M::del_c(&counted(1))]);
    assert_eq!(run.flow().octets, [300, 2000]);
    let counters = run.counters();
    assert_eq!(
        (counters.inserted, counters.deleted, counters.unknown_delete),
        (1, 1, 2)
    );
}

#[test]
fn full_updates_of_two_nodes_are_added_once_each() {
    for d in D::ALL {
        let mut run = Run::new();
        run.send(0, A, d, &[M::Upd(counted(1))]);
        for ms in [5000, 6000, 9000] {
            let age = u32::try_from(ms / 1000).unwrap();
            run.send(
                ms,
                B,
                d,
                &[M::Upd(counted(1).aged(age).count([1, 1], [40, 50]))],
            );
            run.send(ms, A, d, &[M::Upd(counted(1).aged(age))]);
        }
        run.send(9500, B, d, &[M::del_c(&counted(1))]);
        let flow = run.flow();
        assert_eq!((flow.packets, flow.octets), ([4, 3], [340, 2050]), "{d:?}");
    }
}

#[test]
fn a_late_copy_of_a_full_state_does_not_bring_it_back() {
    for d in D::ALL {
        let mut run = Run::new();
        run.send(0, A, d, &[M::Upd(counted(1))]);
        run.send(1000, A, d, &[M::del_c(&counted(1))]);
        run.send(1300, A, d, &[M::Upd(counted(1).aged(1))]);
        run.advance(40 * 86_400_000);
        let flows = run.finish();
        assert_eq!(sum(&flows), [300, 2000], "{d:?}: {flows:#?}");
    }
}

#[test]
fn a_late_copy_is_late_in_whatever_order_ids_were_counted_and_whoever_else_counts() {
    let other = |id| St {
        creator: 8,
        ..counted(id)
    };
    for d in D::ALL {
        let mut run = Run::new();
        // The highest comes first and goes first.
        run.send(0, A, d, &[M::Upd(counted(9)), M::Upd(counted(5))]);
        run.send(100, A, d, &[M::Upd(other(20)), M::Upd(other(3))]);
        run.send(1000, A, d, &[M::del_c(&counted(9)), M::del_c(&other(20))]);
        run.send(1100, A, d, &[M::Upd(counted(7).aged(1))]);
        run.send(1300, A, d, &[M::Upd(counted(9).aged(1))]);
        run.send(1300, A, d, &[M::Upd(other(20).aged(1))]);
        let counters = run.counters();
        assert_eq!((counters.late, counters.inserted), (2, 5), "{d:?}");
        // What is held is not learned again.
        run.send(1400, A, d, &[M::Upd(counted(5).aged(1))]);
        run.send(1400, A, d, &[M::Upd(other(3).aged(1))]);
        assert_eq!(run.counters().inserted, 5, "{d:?}");
        assert_eq!(run.engine.table().len(), 3);
    }
}

#[test]
fn a_second_full_del_is_not_a_second_flow() {
    for d in [D::V2, D::V3, D::V4] {
        let mut run = Run::new();
        run.send(0, PFSYNC0, d, &[M::Ins(St::tcp(1))]);
        for ms in [1000, 1200] {
            run.send(ms, PFSYNC0, d, &[M::Del(counted(1).aged(1))]);
        }
        let flows = run.finish();
        assert_eq!(sum(&flows), [300, 2000], "{d:?}: {flows:#?}");
    }
}

#[test]
fn states_on_enc0_and_lo0_are_like_any_other() {
    for d in D::ALL {
        let mut run = Run::new();
        let all = [nat_out(1).named("enc0"), nat_out(2).named("lo0")];
        run.send(0, A, d, &all.map(M::Upd));
        run.send(1000, A, d, &all.map(|st| M::del_c(&st)));
        let names: Vec<_> = run.flows().into_iter().map(|flow| flow.ifname).collect();
        assert_eq!(names, ["enc0", "lo0"], "{d:?}");
    }
}
