//! What both forms say of every kind of message; captures by hand that their own tests share.

use serde_json::{Value, json};

use super::*;
use crate::wire::pfsync::tests::builder::{D, St};
use crate::wire::pfsync::tests::octets;
use crate::wire::pfsync::{self, Message};

pub(super) use crate::wire::pfsync::tests::WORKED;

pub(super) fn context(dialect: Dialect) -> Context<'static> {
    Context {
        stamp: Wall::new(1_700_000_000, 900_000_000),
        packet: 7,
        sender: Some([192, 0, 2, 1].into()),
        dialect,
        is_any: false,
        held: None,
    }
}

pub(super) fn as_text(dialect: Dialect, message: &Message<'_>, detail: Detail) -> String {
    let mut out = Vec::new();
    text(&mut out, &context(dialect), message, detail);
    let line = String::from_utf8(out).unwrap();
    assert!(
        line.bytes()
            .all(|octet| (b' '..=b'~').contains(&octet) || octet == b'\n')
    );
    assert_eq!(line.find('\n'), Some(line.len() - 1));
    line.trim_end().to_owned()
}

pub(super) fn as_json(dialect: Dialect, message: &Message<'_>) -> Value {
    let mut out = Vec::new();
    json(&mut out, &context(dialect), message, Detail::VeryVerbose);
    assert_eq!(
        out.iter().position(|octet| *octet == b'\n'),
        Some(out.len() - 1)
    );
    serde_json::from_slice(&out).unwrap()
}

/// The text, from the message's name on, and the JSON of every message of `packet`.
pub(super) fn read(packet: &str, detail: Detail) -> Vec<(String, Value)> {
    let mut all = Vec::new();
    let outcome = pfsync::decode(&octets(packet), 0, None, &mut |dialect, message| {
        let line = as_text(dialect, &message, detail);
        let start = line.find(message.action().name()).unwrap();
        all.push((line[start..].to_owned(), as_json(dialect, &message)));
    });
    outcome.result.unwrap();
    all
}

/// A section of v6 alone in its packet.
fn section(subheader: &str, messages: &str) -> (String, Value) {
    let len = 20 + octets(subheader).len() + octets(messages).len();
    let packet = format!("0600{len:04x} {} {subheader} {messages}", "0".repeat(32));
    read(&packet, Detail::Brief).remove(0)
}

/// A state of creator 5f3a9c01, `direction` and `proto`, with `fields` laid over it.
pub(super) fn state(
    dialect: Dialect,
    direction: u8,
    proto: u8,
    fields: &[(usize, &[u8])],
) -> Vec<u8> {
    let (writer, len) = match dialect {
        Dialect::V2 => (D::V2, 224),
        Dialect::V3 => (D::V3, 240),
        Dialect::V4 | Dialect::DragonFly2 => (D::V4, 240),
        Dialect::OpenBsd45 => (D::Obsd45, 240),
        Dialect::FreeBsd9 => (D::Fbsd9, 242),
        Dialect::FreeBsd1301 => (D::Fbsd1301, 242),
        Dialect::FreeBsd1400 => (D::Fbsd1400, 277),
        Dialect::FreeBsd1500 => (D::Fbsd1500, 360),
        Dialect::DragonFly4 => (D::V4, 300),
        Dialect::OpenBsd47 => (D::Obsd47, 264),
    };
    let blank = St {
        proto,
        direction,
        timeout: timeout_of(proto),
        ..St::blank(0, 0x5f3a_9c01)
    };
    let mut state = blank.write(writer);
    state.resize(len, 0);
    for (at, octets) in fields {
        state[*at..at + octets.len()].copy_from_slice(octets);
    }
    state
}

fn timeout_of(proto: u8) -> u8 {
    match proto {
        ICMP | ICMPV6 => 9,
        TCP => 2,
        _ => 6,
    }
}

pub(super) fn insert(dialect: Dialect, state: &[u8]) -> Message<'_> {
    Message::Insert(State::new(dialect, state).unwrap())
}

#[test]
fn every_other_kind_of_message_has_its_line() {
    let id = "6553f100 00000009 5f3a9c01";
    let name = |name: &str| format!("{name:0<32} 5f3a9c01");
    let cases = [
        (
            "05030001",
            id.to_owned(),
            "UREQ id 6553f10000000009 creatorid 5f3a9c01",
        ),
        ("05030001", "0".repeat(24), "UREQ bulk request"),
        (
            "02030001",
            id.to_owned(),
            "IACK id 6553f10000000009 creatorid 5f3a9c01",
        ),
        (
            "07030001",
            id.to_owned(),
            "DEL_C id 6553f10000000009 creatorid 5f3a9c01",
        ),
        (
            "00050001",
            name(""),
            "CLR creatorid 5f3a9c01 on every interface",
        ),
        ("00050001", name("656d31"), "CLR creatorid 5f3a9c01 on em1"),
        (
            "0a030001",
            "5f3a9c01 00000e10 01000000".to_owned(),
            "BUS start creatorid 5f3a9c01 endtime 01:00:00",
        ),
        (
            "0a030001",
            "5f3a9c01 00000000 09000000".to_owned(),
            "BUS 9 creatorid 5f3a9c01 endtime 00:00:00",
        ),
        ("63020001", "0".repeat(16), "unknown action 99, 8 octets"),
    ];
    for (subheader, message, line) in cases {
        assert_eq!(section(subheader, &message).0, line);
    }
    let (_, bulk) = section("05030001", &"0".repeat(24));
    assert_eq!(
        (&bulk["bulk"], &bulk["id"]),
        (&json!(true), &json!("0000000000000000"))
    );
    let (_, clear) = section("00050001", &name(""));
    assert_eq!(
        (&clear["msg"], &clear["ifname"]),
        (&json!("CLR"), &json!(""))
    );
    let (_, bus) = section("0a030001", "5f3a9c01 00000000 02000000");
    assert_eq!(
        (&bus["status"], &bus["endtime"]),
        (&json!("end"), &json!(0))
    );
    let (_, unknown) = section("63020001", &"0".repeat(16));
    assert_eq!(
        (&unknown["action"], &unknown["len"]),
        (&json!(99), &json!(8))
    );
}

#[test]
fn a_replay_counter_of_ipsec_has_its_line() {
    let (line, tdb) = section(
        "0f0d0001",
        "00001000 1c020000 c0000209 00000000 00000000 00000000 00000000 00000000
         00000000 00000099 00000001 00000000 32010002",
    );
    assert_eq!(
        line,
        "TDB esp spi 00001000 dst 192.0.2.9 rpl 153 4294967296 bytes"
    );
    assert_eq!(
        (&tdb["spi"], &tdb["rpl"]),
        (&json!("00001000"), &json!(153))
    );
    assert_eq!(
        (&tdb["dst"], &tdb["rdomain"]),
        (&json!("192.0.2.9"), &json!(2))
    );
}

#[test]
fn hostile_names_stay_inside_their_field() {
    let name = b"em0\" \\\n\x1b[2J\xff{}";
    for &dialect in Dialect::ALL {
        let octets = state(dialect, 1, UDP, &[(8, name)]);
        let escaped = r"em0\x22\x20\x5c\x0a\x1b[2J\xff{}";
        let line = as_text(dialect, &insert(dialect, &octets), Detail::VeryVerbose);
        assert_eq!(line.split_whitespace().nth(5), Some(escaped), "{line}");
        assert_eq!(
            as_json(dialect, &insert(dialect, &octets))["ifname"],
            escaped
        );
    }
    let tag = state(Dialect::FreeBsd1500, 1, UDP, &[(232, b"a b\xc3\0c")]);
    let insert = insert(Dialect::FreeBsd1500, &tag);
    assert!(as_text(Dialect::FreeBsd1500, &insert, Detail::Verbose).contains(r" tag a\x20b\xc3 "));
    assert_eq!(as_json(Dialect::FreeBsd1500, &insert)["tag"], r"a\x20b\xc3");
}

#[test]
fn whatever_octets_a_state_has_each_dialect_prints_it() {
    let mut seed = 1u32;
    for &dialect in Dialect::ALL {
        for _ in 0..200 {
            let octets: Vec<u8> = std::iter::repeat_with(|| {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                seed.to_be_bytes()[0]
            })
            .take(400)
            .collect();
            let message = insert(dialect, &octets);
            for detail in [Detail::Brief, Detail::Verbose, Detail::VeryVerbose] {
                as_text(dialect, &message, detail);
            }
            assert_eq!(as_json(dialect, &message)["dialect"], dialect.name());
        }
    }
}

#[test]
fn ports_of_icmp_are_read_by_era() {
    // Ports of the outside host and of the inside one, of a state that goes out.
    let icmp = |dialect, far: u16, near: u16| {
        let (far, near) = (far.to_be_bytes(), near.to_be_bytes());
        let at = match dialect {
            Dialect::V2 | Dialect::V3 => [88, 40],
            Dialect::OpenBsd47 => [96, 98],
            _ => [92, 94],
        };
        let octets = state(dialect, 2, ICMP, &[(at[0], &far), (at[1], &near)]);
        let object = as_json(dialect, &insert(dialect, &octets));
        (object["icmp_id"].as_u64(), object["icmp_type"].as_u64())
    };
    for dialect in [Dialect::V2, Dialect::V3] {
        assert_eq!(icmp(dialect, 0, 4660), (Some(4660), None));
    }
    for dialect in [
        Dialect::V4,
        Dialect::FreeBsd9,
        Dialect::OpenBsd45,
        Dialect::FreeBsd1301,
    ] {
        assert_eq!(icmp(dialect, 4660, 4660), (Some(4660), None));
    }
    for dialect in [
        Dialect::OpenBsd45,
        Dialect::FreeBsd1301,
        Dialect::FreeBsd1400,
        Dialect::FreeBsd1500,
        Dialect::OpenBsd47,
    ] {
        assert_eq!(icmp(dialect, 8, 4660), (Some(4660), Some(8)));
        assert_eq!(icmp(dialect, 4660, 8), (Some(4660), Some(8)));
    }
    assert_eq!(icmp(Dialect::OpenBsd47, 4660, 4661), (None, None));
}

#[test]
fn af_to_turns_the_translated_key_round() {
    let (wire, stack) = (24, 64);
    let octets = state(
        Dialect::OpenBsd47,
        1,
        ICMPV6,
        &[
            (
                wire,
                &octets("20010db8 00010000 00000000 00000010 0064ff9b 00000000 00000000 c0000221"),
            ),
            (wire + 32, &[0x12, 0x34, 0, 128, 0, 0, 24]),
            (stack, &[192, 0, 2, 33]),
            (stack + 16, &[203, 0, 113, 5]),
            (stack + 32, &[0, 128, 0x12, 0x34, 0, 3, 2]),
            (250, &[24]),
        ],
    );
    let line = as_text(
        Dialect::OpenBsd47,
        &insert(Dialect::OpenBsd47, &octets),
        Detail::Verbose,
    );
    let ends = " - ipv6-icmp in 2001:db8:1::10[4660] (203.0.113.5:4660) -> \
                64:ff9b::c000:221[128] (192.0.2.33:128) icmp-id 4660 icmp-type 128 0:0 age";
    assert!(line.contains(ends), "{line}");
    assert!(line.contains(" nat-rdomain 3 "), "{line}");
    let object = as_json(Dialect::OpenBsd47, &insert(Dialect::OpenBsd47, &octets));
    assert_eq!(
        (&object["af"], &object["nat_af"]),
        (&json!("inet6"), &json!("inet"))
    );
    assert_eq!(
        (&object["proto"], &object["nat_proto"]),
        (&json!(58), &json!(1))
    );
}

#[test]
fn flags_and_routing_have_the_names_of_the_system_that_sent_them() {
    let object = |dialect, at: usize, octets: &[u8]| {
        let octets = state(dialect, 1, TCP, &[(at, octets)]);
        as_json(dialect, &insert(dialect, &octets))
    };
    let flags = |dialect, at, octets: &[u8]| object(dialect, at, octets)["flags"].clone();
    assert_eq!(
        flags(Dialect::OpenBsd47, 260, &[0x02, 0x05]),
        json!(["allow-opts", "pflow", "set-prio"])
    );
    assert_eq!(
        flags(Dialect::FreeBsd1400, 235, &[0x88, 0x04]),
        json!(["0x0004", "0x0800", "dn-queue"])
    );
    assert_eq!(
        flags(Dialect::DragonFly2, 236, &[0x0c]),
        json!(["stack-global", "createinprog"])
    );
    assert_eq!(object(Dialect::OpenBsd47, 254, &[3])["rt"], "none");
    let routed = [(168, &[192, 0, 2, 7][..]), (254, &[3])];
    let routed = state(Dialect::OpenBsd47, 1, TCP, &routed);
    let line = as_text(
        Dialect::OpenBsd47,
        &insert(Dialect::OpenBsd47, &routed),
        Detail::Verbose,
    );
    assert!(line.contains(" reply-to rt-addr 192.0.2.7 "), "{line}");
    assert_eq!(object(Dialect::FreeBsd1400, 260, &[3])["rt"], "dup-to");
    assert_eq!(
        object(Dialect::OpenBsd47, 168, &[192, 0, 2, 7])["rt_addr"],
        "192.0.2.7"
    );
    let tables = state(
        Dialect::OpenBsd47,
        1,
        TCP,
        &[(240, &[0, 0, 0, 1, 0, 0, 0, 2])],
    );
    let line = as_text(
        Dialect::OpenBsd47,
        &insert(Dialect::OpenBsd47, &tables),
        Detail::Verbose,
    );
    assert!(line.contains(" rtable 1:2 "), "{line}");
}
