//! Thirty-five traps of pfsync, and the rules that keep out of them, from octets on the wire to flows.
//! Each test is named in [`TRAPS`] or stands under what it protects.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    missing_docs,
    reason = "a test that is wrong may panic"
)]

mod common;

use std::net::IpAddr;

use common::{
    A, B, CREATOR, D, From, IN, Key, M, OTHER_CREATOR, OUT, Out, PFSYNC0, Peer, Run, St, T0, UpdC,
    eof, modern, name, packets, section, sections, settings,
};
use pflow::config::Config;
use pflow::engine::{Engine, Settings};
use pflow::export::{self, Format, Order};
use pflow::output::messages::Detail;
use pflow::output::{Form, Output};
use pflow::state::Direction;
use pflow::table::{MAX_SENDERS, Sender};
use pflow::wire::link::LinkType;
use pflow::wire::pfsync::{Action, BusStatus};
use serde_json::Value;

/// Number, what it is, tests.
const TRAPS: [(u32, &str, &[&str]); 35] = [
    (
        1,
        "0x45 on DLT_PFSYNC; 18, 121, 246",
        &["pfsync0_comes_bare_or_with_an_ip_header_under_three_numbers"],
    ),
    (
        2,
        "pfsync0 and the wire duplicate",
        &[
            "pfsync0_and_the_wire_together_count_once",
            "the_partner_on_the_wire_counts_beside_pfsync0",
        ],
    ),
    (
        3,
        "v5 is two families; 13-16 clash",
        &[
            "both_families_of_v5_are_told_apart",
            "a_cut_v5_packet_is_read_as_its_sender_wrote_before",
            "actions_13_to_16_are_states_in_v5_and_v6_alike",
        ],
    ),
    (
        4,
        "CLR and BUS with count 0",
        &["clr_and_bus_before_v5_carry_one_message_at_count_0"],
    ),
    (5, "20 octets after EOF", &["what_follows_eof_is_nothing"]),
    (
        6,
        "1400: u16 at 235, stride 277",
        &["freebsd_1400_has_flags_at_an_odd_place_and_states_of_277_octets"],
    ),
    (
        7,
        "AF_INET6 differs; key.af 0",
        &[
            "every_systems_inet6_is_ipv6",
            "an_empty_key_af_is_the_states",
        ],
    ),
    (
        8,
        "af-to",
        &["af_to_swaps_the_ends_and_the_icmp", "af_to_of_an_out_state"],
    ),
    (
        9,
        "nat_rule says nothing",
        &["nat_is_in_the_keys_whatever_nat_rule_says"],
    ),
    (
        10,
        "ifname all; two states a connection",
        &["a_forwarded_connection_is_two_floating_states"],
    ),
    (
        11,
        "identity is (id, creatorid)",
        &[
            "one_tuple_with_a_new_id_before_the_old_one_is_deleted",
            "the_same_id_of_two_creators_is_two_states",
            "an_id_with_another_key_ends_the_old_state",
            "a_late_copy_of_an_ids_former_state_does_not_end_its_present_one",
            "an_id_with_another_age_ends_the_old_state",
        ],
    ),
    (
        12,
        "INS after UPD; unknown ids",
        &[
            "ins_after_upd_is_one_state",
            "compressed_messages_of_unknown_ids_make_no_flow",
        ],
    ),
    (
        13,
        "duplicates",
        &[
            "a_duplicate_ins_and_two_del_c_are_one_flow",
            "full_updates_of_two_nodes_are_added_once_each",
            "a_late_copy_of_a_full_state_does_not_bring_it_back",
            "a_second_full_del_is_not_a_second_flow",
        ],
    ),
    (
        14,
        "ghosts",
        &["a_ghost_ends_after_its_timeout_20_seconds_and_an_hour"],
    ),
    (
        15,
        "dead states",
        &[
            "timeouts_from_pftm_max_on_are_dead_states",
            "sctp_timeouts_of_freebsd_14_are_alive",
        ],
    ),
    (
        16,
        "CLR's meaning",
        &[
            "clr_ends_a_creators_states_in_every_dialect",
            "clr_by_interface_ends_only_what_is_bound_to_it",
            "a_clr_of_one_creator_leaves_the_others_to_expire",
        ],
    ),
    (
        17,
        "reboot sends nothing",
        &["a_firewall_that_falls_silent_loses_its_states_to_their_timeouts"],
    ),
    (
        18,
        "short states are invisible",
        &["a_state_that_was_never_announced_is_a_counted_delete"],
    ),
    (
        19,
        "no-sync states in bulk",
        &[
            "a_no_sync_state_in_a_bulk_is_a_state",
            "pfsyncs_own_traffic_is_a_protocol_like_others",
        ],
    ),
    (
        20,
        "creation is relative",
        &[
            "creation_is_fixed_by_the_first_full_state",
            "absurd_ages_are_zero",
            "ages_below_zero_do_not_split_a_state",
            "an_age_beyond_the_epoch_is_cut",
        ],
    ),
    (
        21,
        "expire 0",
        &["an_expire_of_zero_says_nothing_of_the_last_packet"],
    ),
    (
        22,
        "UPD_C.expire 0",
        &["a_upd_c_with_expire_zero_keeps_its_state"],
    ),
    (
        23,
        "v2 u32, v3+ u64",
        &[
            "counters_of_v2_have_32_bits_and_begin_again",
            "counters_since_v3_have_64_bits_high_word_first",
            "v5_records_split_what_32_bits_do_not_hold",
        ],
    ),
    (
        24,
        "INS of v<=4 is zero",
        &[
            "a_state_without_octets_makes_no_record",
            "an_ins_before_v5_counts_nothing",
        ],
    ),
    (
        25,
        "sequence numbers",
        &["sequence_numbers_add_nothing_to_exact_counters"],
    ),
    (
        26,
        "rule numbers differ",
        &["rule_numbers_of_two_nodes_do_not_split_a_state"],
    ),
    (
        27,
        "sync_flags, state_flags re-used",
        &[
            "sync_flags_say_nothing",
            "dragonflys_flags_of_v4_do_not_hide_a_state",
        ],
    ),
    (
        28,
        "garbage behind names and in UPD_C",
        &["a_name_ends_at_its_nul", "stale_memory_in_upd_c_is_nothing"],
    ),
    (
        29,
        "unaligned sections",
        &["sections_behind_odd_states_are_read"],
    ),
    (
        30,
        "several CLR",
        &["several_clr_of_one_section_are_all_read"],
    ),
    (
        31,
        "v6 strides and unknown actions",
        &[
            "v6_passes_over_unknown_actions_and_short_messages",
            "v6_reads_the_front_of_longer_messages",
            "v6_stops_at_a_length_or_count_of_zero",
        ],
    ),
    (
        32,
        "len beyond the capture",
        &[
            "a_truncated_capture_is_read_as_far_as_it_goes",
            "a_len_beyond_the_packet_itself_is_refused",
        ],
    ),
    (33, "ICMP ports", &["icmp_ports_go_out_as_the_key_has_them"]),
    (
        34,
        "enc0 and lo0",
        &["states_on_enc0_and_lo0_are_like_any_other"],
    ),
    (
        35,
        "bulk after a reboot",
        &["a_bulk_of_old_states_starts_at_their_creation"],
    ),
];

#[test]
fn every_trap_has_its_tests() {
    let source = include_str!("traps.rs");
    for (number, trap) in (1..).zip(&TRAPS) {
        assert_eq!(trap.0, number);
        assert!(!trap.2.is_empty(), "{}", trap.1);
        for test in trap.2 {
            let function = format!("#[test]\nfn {test}() {{");
            assert!(source.contains(&function), "trap {number}: no {test}");
        }
    }
}

fn sum(flows: &[Out]) -> [u64; 2] {
    flows.iter().fold([0, 0], |[a, b], flow| {
        [a + flow.octets[0], b + flow.octets[1]]
    })
}

fn ids(flows: &[Out]) -> Vec<u64> {
    flows.iter().map(|flow| flow.id).collect()
}

/// 3 packets of 300 octets, 2 of 2000.
fn counted(id: u64) -> St {
    St::tcp(id).count([3, 2], [300, 2000])
}

const RICH: D = D::Obsd74;

// ---- Traps ----

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
fn pfsync0_comes_bare_or_with_an_ip_header_under_three_numbers() {
    for link in [18, 121, 246] {
        for from in [From::Bare(link), From::Header(link)] {
            for d in D::ALL {
                let mut run = Run::new();
                run.send(0, from, d, &[M::Upd(counted(1)), M::del_c(&counted(1))]);
                assert_eq!(run.flow().octets, [300, 2000], "{from:?} {d:?}");
                let senders = run.engine.table().senders();
                assert_eq!(senders.len(), 1, "{from:?}: all of it is local");
                assert_eq!(senders[0].sender, Sender::Local);
            }
        }
    }
    // Nothing but 1 to 6 and 0x45 is an answer.
    let mut run = Run::new();
    run.frame(0, LinkType(18), &[0x46; 40], 40);
    assert_eq!((run.reason("bad_version"), run.alive()), (1, 0));
}

/// Live, on the host 10.0.0.1.
fn live() -> Run {
    let settings = Settings {
        local_addresses: vec![IpAddr::from([10, 0, 0, 1])],
        ..settings()
    };
    Run::with(settings, Config::default())
}

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
fn both_families_of_v5_are_told_apart() {
    for d in [D::Obsd45, D::Obsd46, D::Fbsd9, D::Fbsd1301] {
        for states in 1..=6 {
            let mut run = Run::new();
            let all: Vec<St> = (1..=states).map(counted).collect();
            let upd: Vec<M> = all.iter().copied().map(M::Upd).collect();
            let del: Vec<M> = all.iter().map(M::del_c).collect();
            run.send(0, A, d, &[upd, del].concat());
            let flows = run.flows();
            assert_eq!(ids(&flows), (1..=states).collect::<Vec<_>>(), "{d:?}");
            assert!(flows.iter().all(|flow| flow.octets == [300, 2000]));
            assert!(flows.iter().all(|flow| flow.dst == "198.51.100.7:443"));
        }
    }
}

#[test]
fn a_cut_v5_packet_is_read_as_its_sender_wrote_before() {
    for d in [D::Obsd45, D::Obsd46, D::Fbsd9, D::Fbsd1301] {
        let mut run = Run::new();
        run.send(0, A, d, &[M::Ins(counted(1)), M::Ins(counted(2))]);
        let three = [M::Upd(counted(3)), M::Upd(counted(4)), M::Upd(counted(5))];
        let (link, frame) = A.frame(&packets(d, &three)[0]);
        let cut = 14 + 20 + 20 + 4 + 2 * d.state_len() + 100;
        run.frame(1000, link, &frame[..cut], frame.len());
        assert_eq!((run.alive(), run.reason("cut")), (4, 1), "{d:?}");
        run.send(2000, A, d, &[M::del_c(&counted(4))]);
        assert_eq!(run.flow().octets, [300, 2000], "{d:?}");
        // One whole state makes sense in either size: only memory tells what its flags are.
        let plain = St {
            flags: 0,
            ..counted(6)
        };
        let (link, frame) = A.frame(&packets(d, &[M::Upd(plain), M::Upd(plain)])[0]);
        run.frame(
            3000,
            link,
            &frame[..34 + 24 + d.state_len() + 9],
            frame.len(),
        );
        run.send(4000, A, d, &[M::del_c(&plain)]);
        let is_exported = !d.carries_pflow();
        assert_eq!(run.flows().len(), usize::from(is_exported), "{d:?}");
        assert_eq!(run.counters().deleted, 2, "{d:?}");
    }
}

#[test]
fn actions_13_to_16_are_states_in_v5_and_v6_alike() {
    for d in [D::Fbsd1400, D::Fbsd1500, D::Obsd47, D::Obsd74] {
        let mut run = Run::new();
        let other = counted(2);
        run.send(
            0,
            A,
            d,
            &[M::Ins(counted(1)), M::Upd(other), M::Upd(counted(3))],
        );
        assert_eq!(run.messages(Action::Insert), 1, "{d:?}");
        assert_eq!(run.messages(Action::Update), 2, "{d:?}");
        run.send(1000, A, d, &[M::del_c(&other)]);
        assert_eq!(run.flow().octets, [300, 2000], "{d:?}");
    }
    // 15 is a state of 360 octets in v5 and a TDB of 52 in v6.
    let mut run = Run::new();
    run.send(0, A, D::Obsd74, &[M::Tdb]);
    assert_eq!(
        (run.messages(Action::Tdb), run.messages(Action::Insert)),
        (1, 0)
    );
}

#[test]
fn clr_and_bus_before_v5_carry_one_message_at_count_0() {
    for d in [D::V2, D::V3, D::V4] {
        let mut run = Run::new();
        run.send(0, A, d, &[M::Upd(counted(1))]);
        let (bus, clr) = (
            packets(d, &[M::Bus(CREATOR, 2)]),
            packets(d, &[M::clr(CREATOR)]),
        );
        assert_eq!((bus[0][3], clr[0][3]), (0, 0));
        run.packet(1000, A, &bus[0]);
        run.packet(2000, A, &clr[0]);
        assert_eq!(run.flow().octets, [300, 2000], "{d:?}");
        assert_eq!(
            (run.messages(Action::Clear), run.messages(Action::Bus)),
            (1, 1)
        );
        let (bus, _) = run.engine.table().senders()[1].bus.unwrap();
        assert_eq!(
            (bus.status, bus.creatorid, bus.endtime),
            (BusStatus::End, CREATOR, 7)
        );
    }
}

#[test]
fn what_follows_eof_is_nothing() {
    for d in [D::Obsd45, D::Fbsd9] {
        let mut run = Run::new();
        run.send(0, A, d, &[M::Upd(counted(1)), M::Iack(1, CREATOR)]);
        let counters = run.engine.packet_counters();
        assert_eq!((counters.whole, counters.messages()), (1, 2), "{d:?}");
        assert_eq!(run.alive(), 1);
        assert_eq!(eof(d).len(), 24);
    }
}

fn messages_json(detail: Detail) -> Run {
    let output = Output {
        form: Form::MessagesJson,
        detail,
    };
    Run::with(
        Settings {
            output,
            ..settings()
        },
        Config::default(),
    )
}

fn printed(run: &mut Run) -> Vec<Value> {
    let lines = run.engine.printed().split(|b| *b == b'\n');
    lines
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}

#[test]
fn freebsd_1400_has_flags_at_an_odd_place_and_states_of_277_octets() {
    let mut run = messages_json(Detail::VeryVerbose);
    let states = [0x4321, 0x8004].map(|flags| St {
        flags,
        log: 3,
        ..counted(u64::from(flags))
    });
    run.send(0, A, D::Fbsd1400, &states.map(M::Upd));
    let printed = printed(&mut run);
    let flags: Vec<_> = printed.iter().map(|m| m["state_flags"].as_u64()).collect();
    assert_eq!(flags, [Some(0x4321), Some(0x8004)]);
    assert!(printed.iter().all(|m| m["log"] == 3 && m["timeout"] == 2));
    run.send(1000, A, D::Fbsd1400, &states.map(|st| M::del_c(&st)));
    assert_eq!(run.engine.flow_counters().octets, 4600);
}

fn v6_key() -> Key {
    Key::new("2001:db8::1", 1000, "2001:db8:1::2", 53)
}

#[test]
fn every_systems_inet6_is_ipv6() {
    for d in D::ALL {
        for af in [24, 28, 30] {
            let mut run = Run::new();
            let st = St {
                af: Some(af),
                ..counted(1).keyed(v6_key())
            };
            run.send(0, A, d, &[M::Upd(st), M::del_c(&st)]);
            let flow = run.flow();
            assert_eq!(flow.src, "2001:db8::1:1000", "{d:?} {af}");
            assert_eq!((flow.dst.as_str(), flow.nat), ("2001:db8:1::2:53", None));
        }
        let mut run = Run::new();
        let linux = St {
            af: Some(10),
            ..counted(1).keyed(v6_key())
        };
        run.send(0, A, d, &[M::Upd(linux), M::Upd(counted(2))]);
        assert_eq!(
            run.alive(),
            1,
            "{d:?}: the one of no known family is passed over"
        );
    }
}

#[test]
fn an_empty_key_af_is_the_states() {
    for d in [D::Obsd47, D::Obsd50] {
        let st = counted(1).keyed(v6_key());
        let octets = M::Upd(st).write(d);
        assert_eq!((octets[24 + 38], octets[64 + 38], octets[250]), (0, 0, 24));
        let mut run = Run::new();
        run.send(0, A, d, &[M::Upd(st), M::del_c(&st)]);
        assert_eq!(run.flow().src, "2001:db8::1:1000");
    }
}

#[test]
fn af_to_swaps_the_ends_and_the_icmp() {
    for d in [D::Obsd51, D::Obsd53, D::Obsd74, D::Fbsd1500] {
        let mut run = Run::new();
        // IN: WIRE[0] is the source; STACK[1] the new source, STACK[0] the new destination.
        let tcp = St {
            wire: Key::new("2001:db8::1", 1000, "64:ff9b::c000:201", 80),
            stack: Key::new("192.0.2.1", 80, "203.0.113.5", 61000),
            ..counted(1)
        };
        let ping = St {
            id: 2,
            proto: 58,
            timeout: 9,
            wire: Key::new("2001:db8::1", 77, "64:ff9b::c000:201", 128),
            stack: Key::new("192.0.2.1", 8, "203.0.113.5", 78),
            ..counted(2)
        };
        run.send(
            0,
            A,
            d,
            &[M::Upd(tcp), M::Upd(ping), M::del_c(&tcp), M::del_c(&ping)],
        );
        let flows = run.flows();
        assert_eq!(flows.len(), 2);
        assert_eq!(flows[0].src, "2001:db8::1:1000");
        let nat = ("203.0.113.5:61000".to_owned(), "192.0.2.1:80".to_owned());
        assert_eq!(flows[0].nat, Some(nat), "{d:?}");
        assert_eq!((flows[1].proto, flows[1].icmp), (58, (Some(77), Some(128))));
        let nat = ("203.0.113.5:78".to_owned(), "192.0.2.1:8".to_owned());
        assert_eq!(flows[1].nat, Some(nat), "{d:?}");
    }
}

#[test]
fn af_to_of_an_out_state() {
    // OUT: STACK is before translation, its source at 1; WIRE is translated, its source at 0.
    let mut run = Run::new();
    let st = St {
        direction: OUT,
        stack: Key::new("192.0.2.80", 80, "10.1.1.1", 4000),
        wire: Key::new("2001:db8::5", 61000, "2001:db8::80", 80),
        ..counted(1)
    };
    run.send(0, A, RICH, &[M::Upd(st), M::del_c(&st)]);
    let flow = run.flow();
    assert_eq!(
        (flow.src.as_str(), flow.dst.as_str()),
        ("10.1.1.1:4000", "192.0.2.80:80")
    );
    let nat = ("2001:db8::5:61000".to_owned(), "2001:db8::80:80".to_owned());
    assert_eq!(flow.nat, Some(nat));
}

/// nat-to on OUT: 192.168.1.10:40000 as 203.0.113.5:51000.
fn nat_out(id: u64) -> St {
    St {
        direction: OUT,
        wire: Key::new("198.51.100.7", 443, "203.0.113.5", 51000),
        stack: Key::new("198.51.100.7", 443, "192.168.1.10", 40000),
        ..counted(id)
    }
}

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

/// Moves the clock on in steps that are no gap.
fn pass(run: &mut Run, from: i64, to: i64) {
    for s in (from..to).step_by(1800) {
        run.advance(s * 1000);
    }
    run.advance(to * 1000);
}

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

fn exporting(format: Format) -> Run {
    let mut config = Config::default();
    let interface = export::Settings {
        flowdst: Some("127.0.0.1:2055".parse().unwrap()),
        format,
        ..export::Settings::default()
    };
    config.interfaces.insert(0, interface);
    Run::with(settings(), config)
}

fn u32_at(octets: &[u8], at: usize) -> u64 {
    u64::from(u32::from_be_bytes(octets[at..at + 4].try_into().unwrap()))
}

/// The export time of an IPFIX message, seconds after [`T0`].
fn export_time(message: &[u8]) -> i64 {
    i64::try_from(u32_at(message, 4)).unwrap() - T0
}

/// What is to be sent, and clears it.
fn sent(run: &mut Run) -> Vec<Vec<u8>> {
    let transmit = run.engine.transmit(Order::Packed);
    transmit.iter().map(|(_, octets)| octets.to_vec()).collect()
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
fn dragonflys_flags_of_v4_do_not_hide_a_state() {
    for (n, flags) in [0, 0x04, 0x08, 0x0c].into_iter().enumerate() {
        let mut run = Run::new();
        let st = St {
            flags,
            ..counted(n as u64)
        };
        run.send(0, A, D::V4, &[M::Upd(st), M::del_c(&st)]);
        assert_eq!(run.flow().octets, [300, 2000]);
    }
}

#[test]
fn a_name_ends_at_its_nul() {
    for d in D::ALL {
        let mut run = Run::new();
        let mut state_name = name("em0");
        state_name[5..].copy_from_slice(b"stack trash");
        let st = St {
            ifname: state_name,
            ..counted(1)
        };
        run.send(0, A, d, &[M::Upd(st), M::Upd(counted(2).named("em1"))]);
        let mut clr_name = name("em0");
        clr_name[4..].copy_from_slice(&[0xde; 12]);
        run.send(1000, A, d, &[M::Clr(clr_name, CREATOR)]);
        let flow = run.flow();
        assert_eq!((flow.id, flow.ifname.as_str()), (1, "em0"), "{d:?}");
        // No name at all, and garbage behind it: everything.
        let mut empty = [0xde; 16];
        empty[0] = 0;
        run.send(2000, A, d, &[M::Clr(empty, CREATOR)]);
        assert_eq!(run.flow().id, 2, "{d:?}");
    }
}

#[test]
fn stale_memory_in_upd_c_is_nothing() {
    for d in D::ALL {
        let mut run = Run::new();
        run.send(0, A, d, &[M::Upd(counted(1))]);
        let peer = Peer {
            scrub: [0xff, 0xff, 0xff, 1, 0xff, 0xff, 0xff, 0xff],
            pad: [0xff; 6],
            ..counted(1).src
        };
        let stale = UpdC {
            id: 1,
            creator: CREATOR,
            src: peer,
            dst: peer,
            expire: 0xffff_ffff,
            timeout: 2,
            rest: [0xff; 7],
        };
        run.send(9000, A, d, &[M::UpdC(stale)]);
        // An expire that is no more than garbage keeps nothing alive for ever.
        run.send(10_000, A, d, &[M::del_c(&counted(1))]);
        let flow = run.flow();
        assert_eq!((flow.octets, flow.times()), ([300, 2000], (0, 9)), "{d:?}");
        assert_eq!(run.reason("bad_value"), 0);
    }
}

#[test]
fn sections_behind_odd_states_are_read() {
    for d in [
        D::Fbsd9,
        D::Fbsd1301,
        D::Fbsd1400,
        D::Obsd46,
        D::Fbsd1500,
        D::Obsd47,
    ] {
        let mut run = Run::new();
        let (a, b) = (counted(1), counted(2));
        run.send(
            0,
            A,
            d,
            &[
                M::Ins(a),
                M::Iack(9, CREATOR),
                M::Upd(b),
                M::upd_c(&a),
                M::del_c(&a),
                M::del_c(&b),
                M::Ureq(0, 0),
                M::clr(7),
            ],
        );
        assert_eq!(ids(&run.flows()), [1, 2], "{d:?}");
        let counters = run.engine.packet_counters();
        assert_eq!((counters.whole, counters.messages()), (1, 8), "{d:?}");
    }
}

#[test]
fn several_clr_of_one_section_are_all_read() {
    for d in [D::Obsd46, D::Fbsd1301, D::Fbsd1500, D::Obsd69] {
        let mut run = Run::new();
        let states = [1, 2, 3].map(|n| St {
            creator: n,
            ..counted(u64::from(n))
        });
        run.send(0, A, d, &states.map(M::Upd));
        run.send(1000, A, d, &[1, 2, 3].map(M::clr));
        assert_eq!(ids(&run.flows()), [1, 2, 3], "{d:?}");
    }
}

#[test]
fn v6_passes_over_unknown_actions_and_short_messages() {
    let mut run = Run::new();
    let body = [
        section(99, 3, 2, &[0xaa; 24]),
        // A state of 260 octets is none; DEL_C of 8 neither.
        section(13, 65, 1, &M::Ins(counted(9)).write(RICH)[..260]),
        section(7, 2, 1, &[0; 8]),
        section(1, 66, 1, &M::Ins(counted(8)).write(RICH)),
        sections(RICH, &[M::Ins(counted(1)), M::del_c(&counted(1))]),
    ];
    run.packet(0, A, &modern(6, &body.concat()));
    assert_eq!(run.flow().id, 1);
    assert_eq!((run.alive(), run.counters().unknown_delete), (0, 0));
    assert_eq!(run.messages(Action::Unknown), 3);
    assert_eq!(run.reason("bad_size"), 1);
}

#[test]
fn v6_reads_the_front_of_longer_messages() {
    let mut run = Run::new();
    let longer = |message: M, by: usize| {
        let mut octets = message.write(RICH);
        octets.resize(octets.len() + by, 0xff);
        octets
    };
    let states = [
        longer(M::Ins(counted(1)), 16),
        longer(M::Ins(counted(2)), 16),
    ];
    let deletes = [
        longer(M::del_c(&counted(1)), 4),
        longer(M::del_c(&counted(2)), 4),
    ];
    let body = [
        section(13, 70, 2, &states.concat()),
        section(7, 4, 2, &deletes.concat()),
    ];
    run.packet(0, A, &modern(6, &body.concat()));
    assert_eq!(ids(&run.flows()), [1, 2]);
    assert_eq!(run.engine.packet_counters().whole, 1);
}

#[test]
fn v6_stops_at_a_length_or_count_of_zero() {
    for (len, count) in [(0, 1), (3, 0)] {
        let mut run = Run::new();
        let body = [
            sections(RICH, &[M::Ins(counted(1))]),
            section(7, len, count, &[]),
            sections(RICH, &[M::del_c(&counted(1))]),
        ];
        run.packet(0, A, &modern(6, &body.concat()));
        assert_eq!(
            (run.alive(), run.reason("bad_subheader")),
            (1, 1),
            "{len} {count}"
        );
    }
}

#[test]
fn a_truncated_capture_is_read_as_far_as_it_goes() {
    for d in D::ALL {
        let mut run = Run::new();
        let messages = [M::Upd(counted(1)), M::Upd(counted(2)), M::Upd(counted(3))];
        let packet = packets(d, &messages).concat();
        let (link, frame) = A.frame(&packet);
        let header = if d == D::V2 { 4 } else { 20 };
        let subheader = if d.is_flat() { 0 } else { 4 };
        let two = 34 + header + subheader + 2 * d.state_len();
        run.frame(0, link, &frame[..two + 50], frame.len());
        assert_eq!((run.alive(), run.reason("cut")), (2, 1), "{d:?}");
        // Inside the headers, too.
        run.frame(1000, link, &frame[..34 + 2], frame.len());
        run.frame(1000, link, &frame[..20], frame.len());
        assert_eq!((run.alive(), run.reason("short_frame")), (2, 1), "{d:?}");
        assert_eq!(run.engine.packet_counters().packets(), 3);
    }
}

#[test]
fn a_len_beyond_the_packet_itself_is_refused() {
    for d in [D::Obsd46, D::Fbsd1301, D::Obsd74] {
        let mut run = Run::new();
        let mut packet = packets(d, &[M::Upd(counted(1))])[0].clone();
        packet[3] += 1;
        run.packet(0, A, &packet);
        assert_eq!((run.alive(), run.reason("bad_length")), (0, 1), "{d:?}");
        // Longer than its len: what follows is not looked at.
        let mut packet = packets(d, &[M::Upd(counted(1))])[0].clone();
        packet.extend(sections(d, &[M::Upd(counted(2))]));
        run.packet(0, A, &packet);
        assert_eq!((run.alive(), run.reason("bad_length")), (1, 1), "{d:?}");
    }
}

#[test]
fn icmp_ports_go_out_as_the_key_has_them() {
    let ping = |ports: [u16; 2]| St {
        proto: 1,
        timeout: 9,
        ..counted(1).keyed(Key::new("192.0.2.1", ports[0], "198.51.100.7", ports[1]))
    };
    let exported = |d: D, st: St| {
        let mut run = Run::new();
        run.send(0, A, d, &[M::Upd(st), M::del_c(&st)]);
        run.flow()
    };
    for d in [D::Obsd46, D::Obsd74, D::Fbsd1400, D::Fbsd1500] {
        let flow = exported(d, ping([4660, 8]));
        assert_eq!(
            (flow.src.as_str(), flow.dst.as_str()),
            ("192.0.2.1:4660", "198.51.100.7:8")
        );
        assert_eq!(flow.icmp, (Some(4660), Some(8)), "{d:?}");
        // A state that a reply made.
        assert_eq!(
            exported(d, ping([8, 4660])).icmp,
            (Some(4660), Some(8)),
            "{d:?}"
        );
    }
    for d in [D::V4, D::Obsd45, D::Fbsd9, D::Fbsd1301] {
        let flow = exported(d, ping([4660, 4660]));
        assert_eq!(
            (flow.src.as_str(), flow.dst.as_str()),
            ("192.0.2.1:4660", "198.51.100.7:4660")
        );
        assert_eq!(flow.icmp, (Some(4660), None), "{d:?}");
    }
    // OpenBSD 3.8 to 4.3: ext.port is 0, the id in lan and gwy.
    for d in [D::V2, D::V3] {
        let flow = exported(d, ping([0, 4660]));
        assert_eq!(
            (flow.src.as_str(), flow.dst.as_str()),
            ("192.0.2.1:0", "198.51.100.7:4660")
        );
        assert_eq!(flow.icmp.0, Some(4660), "{d:?}");
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

// ---- Spec 1: the same file gives the same bytes ----

/// Many states end, and late copies of all of them come.
fn many_ends() -> (u64, u64, u64) {
    let mut run = Run::new();
    let ids: Vec<u64> = (1..=40_000).collect();
    for chunk in ids.chunks(200) {
        let whole: Vec<M> = chunk.iter().map(|id| M::Upd(counted(*id))).collect();
        let gone: Vec<M> = chunk.iter().map(|id| M::DelC(*id, CREATOR)).collect();
        run.send(0, A, RICH, &whole);
        run.send(0, A, RICH, &gone);
    }
    for chunk in ids.chunks(200) {
        let late: Vec<M> = chunk
            .iter()
            .map(|id| M::Upd(counted(*id).aged(1)))
            .collect();
        run.send(1000, A, RICH, &late);
    }
    run.send(2000, A, RICH, &[M::clr(CREATOR)]);
    let counters = run.counters();
    let octets = run.engine.flow_counters().octets;
    (counters.late, counters.inserted, octets)
}

#[test]
fn the_same_messages_give_the_same_flows_every_time() {
    let first = many_ends();
    assert_eq!(many_ends(), first);
    assert_eq!(many_ends(), first);
}

// ---- Spec 3.1, 3.2 ----

#[test]
fn every_framing_of_a_dialect_gives_the_same_flow() {
    for d in D::ALL {
        let mut flows = Vec::new();
        for from in [
            A,
            From::Vlan([10, 0, 0, 1]),
            From::Ether6,
            From::Raw([10, 0, 0, 1]),
            From::Raw6,
            PFSYNC0,
            From::Header(18),
        ] {
            let mut run = Run::new();
            run.send(0, from, d, &[M::Upd(nat_out(1)), M::del_c(&nat_out(1))]);
            flows.push(run.flow());
        }
        flows.dedup();
        assert_eq!(flows.len(), 1, "{d:?}: {flows:#?}");
    }
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

// ---- Spec 3.4: counters ----

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

// ---- Spec 3.5: which states ----

#[test]
fn only_marked_states_are_exported_where_the_dialect_tells() {
    for d in D::ALL {
        let mut run = Run::new();
        let plain = St {
            flags: 0x00fb,
            ..counted(1)
        };
        // 254 is rt since 6.9; before, it is the flags' low octet.
        let plain = St { rt: 3, ..plain };
        run.send(0, A, d, &[M::Upd(plain), M::Upd(counted(2))]);
        run.send(1000, A, d, &[M::clr(CREATOR)]);
        let flows = run.flows();
        if d.carries_pflow() {
            assert_eq!(ids(&flows), [2], "{d:?}");
            assert_eq!(run.engine.flow_counters().unflagged, 1);
        } else {
            assert_eq!(ids(&flows), [1, 2], "{d:?}");
        }
        let all = Settings {
            is_all: true,
            ..settings()
        };
        let mut run = Run::with(all, Config::default());
        run.send(0, A, d, &[M::Upd(plain), M::clr(CREATOR)]);
        assert_eq!(ids(&run.flows()), [1], "{d:?}");
    }
}

#[test]
fn s_exports_one_direction() {
    for (direction, id) in [(Direction::In, 1), (Direction::Out, 2)] {
        let only = Settings {
            direction: Some(direction),
            ..settings()
        };
        let mut run = Run::with(only, Config::default());
        run.send(
            0,
            A,
            RICH,
            &[M::Ins(counted(1)), M::Ins(nat_out(2)), M::clr(CREATOR)],
        );
        assert_eq!(run.flow().id, id);
        assert_eq!(run.engine.flow_counters().direction, 1);
    }
    assert_eq!((counted(1).direction, nat_out(1).direction), (IN, OUT));
}

// ---- Spec 3.7: life ----

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

// ---- Spec 3.8: time ----

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

// ---- Spec 3.9, 3.10 ----

#[test]
fn in_a_gap_of_over_an_hour_templates_go_once_and_data_in_order() {
    let mut run = exporting(Format::Ipfix);
    run.send(
        0,
        A,
        RICH,
        &[
            M::Ins(counted(1)),
            M::Ins(St::udp(2).count([1, 0], [60, 0])),
        ],
    );
    run.send(1000, A, RICH, &[M::del_c(&counted(1))]);
    assert_eq!(sent(&mut run).len(), 1, "the templates of the start");
    run.advance(100_000_000);
    // Nothing told whether it was a step: for a minute none ends by it.
    assert_eq!(run.alive(), 1);
    run.advance(100_060_000);
    assert_eq!(run.alive(), 0);
    run.advance(100_091_000);
    let messages: Vec<_> = sent(&mut run)
        .iter()
        .map(|d| (export_time(d), d[17] == 2))
        .collect();
    let templates: Vec<_> = messages.iter().filter(|m| m.1).collect();
    let data: Vec<_> = messages.iter().filter(|m| !m.1).map(|m| m.0).collect();
    let first: Vec<_> = templates.iter().take_while(|m| m.0 < 100_000).collect();
    assert_eq!(first, [&&(30, true)], "{messages:?}");
    assert_eq!(data, [31, 100_090], "{messages:?}");
    assert!(messages.is_sorted_by_key(|m| m.0), "{messages:?}");
    assert!(templates.len() > first.len(), "and on as before");
}

/// A savefile of one state that ends before a gap of two hours, and a packet after it.
fn savefile_with_a_gap() -> Vec<u8> {
    let mut file = 0xa1b2_c3d4_u32.to_be_bytes().to_vec();
    file.extend([0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1]);
    let said = [
        (0, M::Ins(counted(1))),
        (1, M::del_c(&counted(1))),
        (7201, M::Bus(CREATOR, 1)),
    ];
    for (s, message) in said {
        let (_, frame) = A.frame(&packets(RICH, &[message])[0]);
        let len = frame.len() as u32;
        for word in [u32::try_from(T0 + s).unwrap(), 0, len, len] {
            file.extend(word.to_be_bytes());
        }
        file.extend(frame);
    }
    file
}

#[test]
fn a_gap_gives_the_same_datagrams_at_any_speed() {
    let directory = std::env::temp_dir().join(format!("pflow-traps-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let file = directory.join("gap.pcap");
    std::fs::write(&file, savefile_with_a_gap()).unwrap();
    let sent_at = |speed: &str| {
        let collector = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        collector.set_nonblocking(true).unwrap();
        let to = collector.local_addr().unwrap().to_string();
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_pflow"))
            .args(["-x", speed, "-r"])
            .arg(&file)
            .args(["pflow0", "flowdst", &to, "pflowproto", "10"])
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let mut octets = [0; 2048];
        let mut datagrams = Vec::new();
        while let Ok(len) = collector.recv(&mut octets) {
            datagrams.push(octets[..len].to_vec());
        }
        datagrams
    };
    let (fast, paced) = (sent_at("0"), sent_at("1000000000"));
    std::fs::remove_dir_all(&directory).unwrap();
    assert_eq!(
        fast.len(),
        3,
        "templates at the start and in the gap, and the data"
    );
    assert_eq!(paced.len(), fast.len());
    assert_eq!(paced, fast);
}

#[test]
fn states_alive_at_the_end_are_exported_only_if_asked_for() {
    for is_flush_active in [false, true] {
        let config = Config {
            is_flush_active,
            ..Config::default()
        };
        let mut run = Run::with(settings(), config);
        run.send(0, A, RICH, &[M::Ins(counted(1))]);
        run.send(9000, A, RICH, &[M::upd_c(&counted(1))]);
        let flows = run.finish();
        if is_flush_active {
            assert_eq!((sum(&flows), flows[0].times()), ([300, 2000], (0, 9)));
            assert_eq!(run.alive(), 0);
        } else {
            assert_eq!((flows, run.alive()), (vec![], 1));
        }
    }
}

#[test]
fn records_held_at_the_end_go_out_with_the_last_clock() {
    let mut run = exporting(Format::Ipfix);
    run.send(0, A, RICH, &[M::Ins(counted(1))]);
    run.send(5000, A, RICH, &[M::del_c(&counted(1))]);
    run.advance(7000);
    sent(&mut run);
    run.finish();
    let times: Vec<_> = sent(&mut run).iter().map(|d| export_time(d)).collect();
    assert_eq!(times, [7]);
}

// ---- Bounds ----

#[test]
fn senders_beyond_the_bound_are_one_and_their_states_are_kept() {
    let mut run = Run::new();
    for n in 0..1500_u16 {
        let [high, low] = n.to_be_bytes();
        let st = counted(u64::from(n) + 1);
        run.send(0, From::Ether([10, 1, high, low]), RICH, &[M::Ins(st)]);
    }
    assert!(run.engine.table().senders().len() <= MAX_SENDERS + 1);
    assert!(run.counters().senders_refused > 0);
    run.send(1000, From::Ether([10, 1, 0, 0]), RICH, &[M::clr(CREATOR)]);
    let flows = run.flows();
    assert_eq!((flows.len(), sum(&flows)), (1500, [450_000, 3_000_000]));
}

#[test]
fn a_clear_of_many_states_leaves_in_pieces_and_what_follows_it_in_its_packet_waits() {
    const STATES: u64 = 3000;
    let mut run = Run::new();
    for n in 1..=STATES {
        run.send(0, A, RICH, &[M::Ins(counted(n))]);
    }
    // The same ids come again behind the CLR: those states are new ones, and stay.
    let again = [1, 2, 3].map(|n| M::Ins(counted(n)));
    let messages: Vec<M> = [M::clr(CREATOR)].into_iter().chain(again).collect();
    let all = packets(RICH, &messages);
    assert_eq!(all.len(), 1, "one packet");
    // A firewall that spoke all the time shows that no clock made a step: the ages began anew.
    for second in 1..=20 {
        run.send(second * 1000, A, RICH, &[M::DelC(STATES + 1, CREATOR)]);
    }
    let (link, frame) = A.frame(&all[0]);
    let packet = pflow::engine::Packet {
        stamp: pflow::time::Wall::from_nanos(run.now().wall.nanos()),
        link,
        frame: &frame,
        wire_len: frame.len(),
    };
    let now = run.now();
    run.engine.handle_packet(now, &packet);
    let (mut pieces, mut ended) = (0, 0);
    while run.engine.is_behind() {
        let flows = run.flows();
        assert!(flows.len() <= 300, "{} at a time", flows.len());
        ended += flows.len();
        pieces += 1;
        run.engine.go_on();
    }
    ended += run.flows().len();
    assert_eq!((ended as u64, run.alive()), (STATES, 3));
    assert!(pieces >= 10);
    assert_eq!(run.counters().cleared, STATES);
}

#[test]
fn names_beyond_the_bound_are_counted_and_their_states_kept() {
    let mut run = Run::new();
    for n in 1..=5000 {
        run.send(0, A, RICH, &[M::Ins(counted(n).named(&format!("vlan{n}")))]);
    }
    assert_eq!(
        (run.alive(), run.counters().names_refused),
        (5000, 5000 - 4096)
    );
    run.send(1000, A, RICH, &[M::clr_if("vlan7", CREATOR)]);
    assert_eq!(run.flow().ifname, "vlan7");
    run.send(1000, A, RICH, &[M::clr_if("vlan4999", CREATOR)]);
    assert_eq!(run.flows(), [], "a name that was forgotten is no other's");
    // Room again.
    run.send(
        1000,
        A,
        RICH,
        &[
            M::Ins(counted(6000).named("em0")),
            M::clr_if("em0", CREATOR),
        ],
    );
    assert_eq!(run.flow().ifname, "em0");
}

#[test]
fn many_senders_of_one_state_are_not_counted_twice() {
    let mut run = Run::new();
    let senders = 12;
    for round in 0..10_u32 {
        for n in 0..senders {
            let st = counted(1).aged(round * 10);
            run.send(
                i64::from(round) * 10_000,
                From::Ether([10, 2, 0, n]),
                RICH,
                &[M::Upd(st)],
            );
        }
    }
    run.send(100_000, A, RICH, &[M::del_c(&counted(1))]);
    let [forward, reverse] = run.flow().octets;
    let most = [300, 2000].map(|octets| octets * u64::from(senders));
    assert!(
        forward <= most[0] && reverse <= most[1],
        "{forward} {reverse} of {most:?}"
    );
}
