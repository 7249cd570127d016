//! Thirty-five traps of pfsync, and the rules that keep out of them, from octets on the wire to flows.
//! Each test is named in [`TRAPS`] or stands under what it protects.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    missing_docs,
    reason = "a test that is wrong may panic"
)]

#[path = "../common/mod.rs"]
mod common;

mod bounds;
mod counters;
mod dialects;
mod exports;
mod identity;
mod life;
mod senders;
mod times;
mod walk;

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
    let sources = [
        include_str!("bounds.rs"),
        include_str!("counters.rs"),
        include_str!("dialects.rs"),
        include_str!("exports.rs"),
        include_str!("identity.rs"),
        include_str!("life.rs"),
        include_str!("senders.rs"),
        include_str!("times.rs"),
        include_str!("walk.rs"),
    ];
    for (number, trap) in (1..).zip(&TRAPS) {
        assert_eq!(trap.0, number);
        assert!(!trap.2.is_empty(), "{}", trap.1);
        for test in trap.2 {
            let function = format!("#[test]\nfn {test}() {{");
            let has = sources.iter().any(|source| source.contains(&function));
            assert!(has, "trap {number}: no {test}");
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

/// Live, on the host 10.0.0.1.
fn live() -> Run {
    let settings = Settings {
        local_addresses: vec![IpAddr::from([10, 0, 0, 1])],
        ..settings()
    };
    Run::with(settings, Config::default())
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

fn v6_key() -> Key {
    Key::new("2001:db8::1", 1000, "2001:db8:1::2", 53)
}

/// Moves the clock on in steps that are no gap.
fn pass(run: &mut Run, from: i64, to: i64) {
    for s in (from..to).step_by(1800) {
        run.advance(s * 1000);
    }
    run.advance(to * 1000);
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

/// nat-to on OUT: 192.168.1.10:40000 as 203.0.113.5:51000.
fn nat_out(id: u64) -> St {
    St {
        direction: OUT,
        wire: Key::new("198.51.100.7", 443, "203.0.113.5", 51000),
        stack: Key::new("198.51.100.7", 443, "192.168.1.10", 40000),
        ..counted(id)
    }
}
