//! What full states tell beside addresses and counters, in the flows that they become.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    missing_docs,
    reason = "a test that is wrong may panic"
)]

mod common;

use common::{A, D, From, IN, Key, M, Peer, Run, St};
use serde_json::{Value, json};

/// The records that came out.
fn records(run: &mut Run) -> Vec<Value> {
    let lines = std::mem::take(run.engine.printed());
    let lines = lines.split(|b| *b == b'\n').filter(|line| !line.is_empty());
    lines
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}

fn state() -> St {
    St {
        rule: 31,
        anchor: 2,
        nat_rule: 5,
        ..St::tcp(7).count([3, 4], [300, 400]).named("em0")
    }
}

/// Place of `set_tos` in struct pfsync_state.
const SET_TOS: usize = 259;

const TOLD: [&str; 7] = [
    "pfRule",
    "pfAnchor",
    "pfNatRule",
    "pfStateFlags",
    "pfInitiatorState",
    "pfResponderState",
    "pfsyncDialect",
];

fn told(record: &Value) -> Vec<u64> {
    TOLD.iter()
        .map(|name| record[name].as_u64().unwrap())
        .collect()
}

#[test]
fn a_flow_has_the_rules_and_flags_of_its_last_full_state_and_the_peers_of_its_last_message() {
    let mut run = Run::new();
    let st = state();
    run.send(0, A, D::Obsd74, &[M::Ins(st)]);
    let later = St {
        rule: 32,
        ..st.count([5, 6], [500, 600])
    };
    run.send(1000, A, D::Obsd74, &[M::Upd(later)]);
    let closing = St {
        src: Peer {
            state: 9,
            ..Peer::default()
        },
        ..later
    };
    run.send(2000, A, D::Obsd74, &[M::upd_c(&closing)]);
    run.send(3000, A, D::Obsd74, &[M::del_c(&st)]);
    let records = records(&mut run);
    assert_eq!(records.len(), 2);
    for record in &records {
        assert_eq!(told(record), [32, 2, 5, 4, 9, 4, 9]);
        assert_eq!(record["originalExporterIPv4Address"], "10.0.0.1");
        assert_eq!(record["flowEndReason"], 3);
    }
    assert_eq!(records[0]["flowId"], records[1]["flowId"]);
    assert_eq!(
        [&records[0]["flowDirection"], &records[1]["flowDirection"]],
        [&json!(0), &json!(1)]
    );
}

#[test]
fn a_place_that_another_state_takes_tells_nothing_of_the_one_before() {
    let mut run = Run::new();
    let st = state();
    run.send(0, A, D::Obsd74, &[M::Ins(st)]);
    run.send(1000, A, D::Obsd74, &[M::del_c(&st)]);
    let other = St {
        id: 8,
        rule: 1,
        anchor: u32::MAX,
        nat_rule: u32::MAX,
        ..st
    };
    run.send(20_000, A, D::Fbsd1500, &[M::Ins(other)]);
    run.send(21_000, A, D::Fbsd1500, &[M::del_c(&other)]);
    let records = records(&mut run);
    let none = u64::from(u32::MAX);
    assert_eq!(told(&records[3]), [1, none, none, 4, 4, 4, 8]);
}

#[test]
fn routes_routing_domains_and_types_of_service_are_told_where_they_are_set() {
    // OpenBSD's rt: 1 route-to, 2 dup-to, 3 reply-to.
    for (rt, next_hops) in [
        (0, ["0.0.0.0", "0.0.0.0"]),
        (1, ["192.0.2.254", "0.0.0.0"]),
        (2, ["0.0.0.0", "0.0.0.0"]),
        (3, ["0.0.0.0", "192.0.2.254"]),
    ] {
        let key = Key::new("192.0.2.1", 40000, "198.51.100.7", 443);
        let st = St {
            wire: Key { rdomain: 3, ..key },
            stack: Key { rdomain: 4, ..key },
            direction: IN,
            flags: 0x0044,
            rt,
            ..state()
        };
        let mut packet = common::packets(D::Obsd74, &[M::Ins(st)]).remove(0);
        // Behind the packet's header and the subheader: rt_addr and set_tos of struct pfsync_state.
        let state = 20 + 4;
        packet[state + 168..state + 172].copy_from_slice(&[192, 0, 2, 254]);
        packet[state + SET_TOS] = 0x28;
        let mut run = Run::new();
        run.packet(0, A, &packet);
        run.send(1000, A, D::Obsd74, &[M::del_c(&st)]);
        let records = records(&mut run);
        for (record, next_hop) in records.iter().zip(next_hops) {
            assert_eq!(record["ipNextHopIPv4Address"], next_hop, "rt {rt}");
            assert_eq!(record["postIpClassOfService"], 0x28);
        }
        let rdomains = |n: usize| [&records[n]["ingressVRFID"], &records[n]["egressVRFID"]];
        assert_eq!(rdomains(0), [&json!(3), &json!(4)]);
        assert_eq!(rdomains(1), [&json!(4), &json!(3)]);
    }
}

#[test]
fn the_same_state_has_the_same_flow_id_at_whoever_heard_of_it() {
    let ids: Vec<Value> = [A, common::B, From::Bare(246)]
        .into_iter()
        .map(|from| {
            let mut run = Run::new();
            let st = state();
            run.send(0, from, D::Obsd74, &[M::Ins(st)]);
            run.send(5000, from, D::Obsd74, &[M::del_c(&st)]);
            records(&mut run)[0]["flowId"].clone()
        })
        .collect();
    assert_eq!(ids[0], ids[1]);
    assert_eq!(ids[0], ids[2]);
}
