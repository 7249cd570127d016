//! Packets by hand, octet by octet. Offsets were counted in the kernels' headers, not in the layouts
//! under test. The state is the same in every dialect: TCP out through NAT, every field with a
//! value of its own.

use super::*;

pub(super) const CREATOR: &str = "5f3a9c01";
pub(super) const ID: &str = "0102030405060708";
/// em1, and what a kernel may leave behind the NUL.
pub(super) const IFNAME: &str = "656d3100 deadbeef 00000000 00000000";
pub(super) const OUTSIDE: &str = "c6336407 00000000 00000000 00000000";
pub(super) const INSIDE: &str = "c0a8010a 00000000 00000000 00000000";
pub(super) const NAT: &str = "cb007105 00000000 00000000 00000000";
pub(super) const RT_ADDR: &str = "c0000201 00000000 00000000 00000000";
/// ESTABLISHED with scrub memory; FIN_WAIT_2 without.
pub(super) const SRC: &str =
    "00014001 01020304 11111111 22222222 33333333 ffff05b4 04860000 00000000";
pub(super) const DST: &str =
    "00000000 00000000 44444444 55555555 00000000 000105dc 09000000 00000000";
/// rule, anchor, nat_rule, creation, expire.
pub(super) const RULE: &str = "0000000c 00000003 ffffffff 0000004d 00000077";
pub(super) const COUNTERS: &str =
    "00000001 00000002 00000000 00000003 00000004 00000005 00000000 00000006";

pub(crate) fn octets(hex: &str) -> Vec<u8> {
    let digits: Vec<_> = hex.chars().filter_map(|c| c.to_digit(16)).collect();
    digits
        .chunks_exact(2)
        .map(|pair| u8::try_from(pair[0] * 16 + pair[1]).unwrap())
        .collect()
}

/// `len` octets of 0 with `fields` laid over them.
pub(super) fn lay(len: usize, fields: &[(usize, &str)]) -> Vec<u8> {
    let mut out = vec![0; len];
    for (at, hex) in fields {
        let field = octets(hex);
        out[*at..at + field.len()].copy_from_slice(&field);
    }
    out
}

pub(super) fn over(mut octets: Vec<u8>, fields: &[(usize, &str)]) -> Vec<u8> {
    for (at, hex) in fields {
        let field = self::octets(hex);
        octets[*at..at + field.len()].copy_from_slice(&field);
    }
    octets
}

/// What v2 and v3 begin with: lan, gwy and ext, each with its port.
pub(super) fn hosts(len: usize) -> Vec<u8> {
    let head = [(0, ID), (8, IFNAME), (96, SRC), (128, DST), (160, RT_ADDR)];
    let hosts = [(24, INSIDE), (40, "9c40"), (48, NAT), (64, "c738")];
    let rest = [(72, OUTSIDE), (88, "01bb"), (176, RULE)];
    lay(len, &[&head[..], &hosts, &rest].concat())
}

/// What v4 and v5 begin with: WIRE and STACK of 36 octets.
pub(super) fn keys(len: usize) -> Vec<u8> {
    let head = [(0, ID), (8, IFNAME), (96, SRC), (128, DST), (160, RT_ADDR)];
    let wire = [(24, OUTSIDE), (40, NAT), (56, "01bbc738")];
    let stack = [(60, OUTSIDE), (76, INSIDE), (92, "01bb9c40")];
    let rest = [(176, RULE), (196, COUNTERS), (228, CREATOR)];
    lay(len, &[&head[..], &wire, &stack, &rest].concat())
}

pub(super) fn state_v2() -> Vec<u8> {
    let counters = "00000002 00000003 00000005 00000006";
    let tail = "02 06 02 01 01 02 04 05";
    over(hosts(224), &[(196, counters), (212, CREATOR), (216, tail)])
}

pub(super) fn state_v3() -> Vec<u8> {
    let tail = "02 06 02 01 01 02 04 05";
    over(hosts(240), &[(196, COUNTERS), (228, CREATOR), (232, tail)])
}

/// v4, and v5 of OpenBSD.
pub(super) fn state_240() -> Vec<u8> {
    over(keys(240), &[(232, "02 06 02 01 04 02 04 05")])
}

/// DragonFly 2 and 3: v4 with a responder in TIME_WAIT, which is 11 there.
pub(super) fn state_dragonfly() -> Vec<u8> {
    over(state_240(), &[(128 + 24, "0b")])
}

/// DragonFly 4: pickup_mode, cpuid and spare octets behind v4's.
pub(super) fn state_300() -> Vec<u8> {
    let mut state = state_240();
    state.resize(300, 0);
    over(state, &[(240, "01 00 0003")])
}

pub(super) fn state_242() -> Vec<u8> {
    over(keys(242), &[(232, "02 06 02 00 00 01 04 02 04 05")])
}

pub(super) fn state_1400() -> Vec<u8> {
    let tail = "02 06 02 8004 01 00 02 04 05 0007 0008 0009 000a 00000003 40 10 05a0 0102 02
        656d32 00";
    over(keys(277), &[(232, tail)])
}

pub(super) fn state_1500() -> Vec<u8> {
    let names = [(232, "746167 00 ff"), (296, "656d3200"), (312, "656d3300")];
    let tail = "00000003 8004 0007 0008 0009 000a 05a0 02 02 02 06 06 01 02 02 02 40 10 0102";
    over(keys(360), &[&names[..], &[(328, tail)]].concat())
}

/// v6 as OpenBSD 6.9 and later send it.
pub(super) fn state_v6() -> Vec<u8> {
    let head = [(0, ID), (8, IFNAME), (104, SRC), (136, DST), (168, RT_ADDR)];
    let wire = [(24, OUTSIDE), (40, NAT), (56, "01bbc738 0000 02 00")];
    let stack = [(64, OUTSIDE), (80, INSIDE), (96, "01bb9c40 0003 02 00")];
    let rest = [(184, RULE), (204, COUNTERS), (236, CREATOR)];
    let tail = "00000001 00000002 05a0 02 06 02 01 02 02 04 05 40 10 0204 0102";
    lay(
        264,
        &[&head[..], &wire, &stack, &rest, &[(240, tail)]].concat(),
    )
}

/// A packet of v2 to v4.
pub(super) fn flat(version: u8, action: u8, count: u8, messages: &[Vec<u8>]) -> Vec<u8> {
    let mut packet = vec![version, 0, action, count];
    if version > 2 {
        packet.extend([0xc5; 16]);
    }
    packet.extend(messages.concat());
    packet
}

/// A packet of v5 or v6: each section is a subheader in hex and its messages.
pub(super) fn sections(version: u8, sections: &[(&str, &[Vec<u8>])]) -> Vec<u8> {
    let mut packet = vec![version, 0, 0, 0];
    packet.extend([0xc5; 16]);
    for (subheader, messages) in sections {
        packet.extend(octets(subheader));
        packet.extend(messages.concat());
    }
    relen(packet)
}

/// Sets the length of a v5 or v6 packet to what it is.
pub(super) fn relen(mut packet: Vec<u8>) -> Vec<u8> {
    let len = u16::try_from(packet.len()).unwrap();
    packet[2..4].copy_from_slice(&len.to_be_bytes());
    packet
}

/// A packet of v5 with `messages` of one action and an EOF with `stale` octets behind it.
pub(super) fn v5(action: u8, messages: &[Vec<u8>], stale: usize) -> Vec<u8> {
    let subheader = format!("{action:02x} 00 {:04x}", messages.len());
    let eof = [vec![0xee; stale]];
    sections(5, &[(&subheader, messages), ("0c 00 0001", &eof)])
}

/// UPD_C of v5 and v6; v2 to v4 have four more octets.
pub(super) fn compressed() -> Vec<u8> {
    let rest = [(72, CREATOR), (76, "00000077"), (80, "02")];
    lay(84, &[&[(0, ID), (8, SRC), (40, DST)], &rest[..]].concat())
}

/// `id` and `creatorid`: INS_ACK, UPD_REQ, DEL_C; v2 to v4 have four more octets.
pub(super) fn id() -> Vec<u8> {
    lay(12, &[(0, ID), (8, CREATOR)])
}

pub(super) fn clear(name: &str) -> Vec<u8> {
    lay(20, &[(0, name), (16, CREATOR)])
}

pub(super) fn bus(status: &str) -> Vec<u8> {
    lay(12, &[(0, CREATOR), (4, "00000e10"), (8, status)])
}

pub(super) fn tdb(len: usize) -> Vec<u8> {
    let sockaddr = "10 02 0000 c0000209";
    let tail = match len {
        52 => "0000000200000003 0000000100000004 32 05 0006",
        _ => "00000003 0000000100000004 32 05 0006",
    };
    lay(len, &[(0, "00001000"), (4, sockaddr), (32, tail)])
}

pub(super) fn pad(mut message: Vec<u8>, len: usize) -> Vec<u8> {
    message.resize(message.len() + len, 0xee);
    message
}

/// A packet with the dialect and the actions that it holds.
type Case = (Vec<u8>, Dialect, &'static [Action]);

/// Every packet of these tests.
pub(super) fn packets() -> Vec<Case> {
    let mut all = flat_packets();
    all.extend(v5_packets());
    all.extend(v6_packets());
    all
}

fn flat_packets() -> Vec<Case> {
    use Action::{
        Bus, Clear, Delete, DeleteCompressed, Insert, Tdb, Update, UpdateCompressed, UpdateRequest,
    };
    use Dialect::{DragonFly2, DragonFly4, V2, V3, V4};
    let (v2, v3, v4) = (state_v2, state_v3, state_240);
    let long = |message| vec![pad(message, 4)];
    let cases: Vec<(_, u8, u8, Vec<_>, &[_])> = vec![
        (V2, 1, 2, vec![v2(), v2()], &[Insert, Insert]),
        (V2, 2, 1, vec![v2()], &[Update]),
        (V2, 3, 1, vec![v2()], &[Delete]),
        (V2, 9, 0, long(bus("01")), &[Bus]),
        (V3, 1, 2, vec![v3(), v3()], &[Insert, Insert]),
        (V3, 3, 1, vec![v3()], &[Delete]),
        (V3, 4, 1, long(compressed()), &[UpdateCompressed]),
        (V3, 10, 1, vec![tdb(48)], &[Tdb]),
        (V4, 2, 2, vec![v4(), v4()], &[Update, Update]),
        (V4, 5, 1, long(id()), &[DeleteCompressed]),
        (V4, 8, 1, long(id()), &[UpdateRequest]),
        (V4, 0, 0, long(clear("")), &[Clear]),
        (DragonFly2, 2, 1, vec![state_dragonfly()], &[Update]),
        (
            DragonFly2,
            3,
            2,
            vec![v4(), state_dragonfly()],
            &[Delete; 2],
        ),
        (DragonFly4, 1, 2, vec![state_300(); 2], &[Insert, Insert]),
        (DragonFly4, 2, 1, vec![state_300()], &[Update]),
    ];
    let cases = cases.into_iter();
    let packets = cases.map(|(dialect, action, count, messages, actions)| {
        let packet = flat(dialect.version(), action, count, &messages);
        (packet, dialect, actions)
    });
    packets.collect()
}

fn v5_packets() -> Vec<Case> {
    use Action::{
        Bus, Clear, DeleteCompressed, Insert, InsertAck, Tdb, Update, UpdateCompressed,
        UpdateRequest,
    };
    let states: Vec<(u8, _, _, _, &[_])> = vec![
        (1, state_240(), 20, Dialect::OpenBsd45, &[Insert, Insert]),
        (3, state_240(), 0, Dialect::OpenBsd45, &[Update, Update]),
        (1, state_242(), 20, Dialect::FreeBsd9, &[Insert, Insert]),
        (3, state_242(), 0, Dialect::FreeBsd1301, &[Update, Update]),
        (13, state_1400(), 0, Dialect::FreeBsd1400, &[Insert, Insert]),
        (14, state_1400(), 0, Dialect::FreeBsd1400, &[Update, Update]),
        (15, state_1500(), 0, Dialect::FreeBsd1500, &[Insert, Insert]),
        (16, state_1500(), 0, Dialect::FreeBsd1500, &[Update, Update]),
    ];
    let mut all: Vec<Case> = Vec::new();
    for (action, state, stale, dialect, actions) in states {
        all.push((v5(action, &[state.clone(), state], stale), dialect, actions));
    }
    let mixed = sections(
        5,
        &[
            ("01 00 0001", &[state_240()]),
            ("02 00 0001", &[id()]),
            ("04 00 0002", &[compressed(), compressed()]),
            ("07 00 0001", &[id()]),
            ("05 00 0001", &[id()]),
            ("00 00 0001", &[clear(IFNAME)]),
            ("0a 00 0001", &[bus("02")]),
            ("0b 00 0001", &[tdb(48)]),
            ("0c 00 0001", &[vec![0xee; 20]]),
        ],
    );
    let actions = &[
        Insert,
        InsertAck,
        UpdateCompressed,
        UpdateCompressed,
        DeleteCompressed,
        UpdateRequest,
        Clear,
        Bus,
        Tdb,
    ];
    all.push((mixed, Dialect::OpenBsd45, actions));
    all
}

fn v6_packets() -> Vec<Case> {
    use Action::{
        Bus, Clear, Delete, DeleteCompressed, Insert, InsertAck, Tdb, Unknown, Update,
        UpdateCompressed, UpdateRequest,
    };
    let everything = &[
        UpdateRequest,
        Clear,
        Tdb,
        Tdb,
        Unknown,
        Unknown,
        InsertAck,
        UpdateCompressed,
        DeleteCompressed,
        DeleteCompressed,
        Insert,
        Update,
        Delete,
        Bus,
    ];
    let worked = &[UpdateCompressed, DeleteCompressed, Insert];
    vec![
        (v6(), Dialect::OpenBsd47, everything),
        (octets(WORKED), Dialect::OpenBsd47, worked),
    ]
}

/// One of everything, some longer than known.
pub(super) fn v6() -> Vec<u8> {
    sections(
        6,
        &[
            ("05 03 0001", &[id()]),
            ("00 05 0001", &[clear("")]),
            ("0b 0c 0001", &[tdb(48)]),
            ("0f 0d 0001", &[tdb(52)]),
            ("63 02 0002", &[vec![0xee; 16]]),
            ("02 03 0001", &[id()]),
            ("04 16 0001", &[pad(compressed(), 4)]),
            ("07 04 0002", &[pad(id(), 4), pad(id(), 4)]),
            ("0d 44 0001", &[pad(state_v6(), 8)]),
            ("0e 42 0001", &[state_v6()]),
            ("06 42 0001", &[state_v6()]),
            ("0a 03 0001", &[bus("01")]),
        ],
    )
}

/// UPD_C, DEL_C, INS of v6.
pub(crate) const WORKED: &str = "
    06000188 00000000 00000000 00000000 00000000 04150001 6553f100 00000002
    00000000 00000000 00000000 00000000 00000000 00000000 02000000 00000000
    00000000 00000000 00000000 00000000 00000000 00000000 02000000 00000000
    5f3a9c01 00000000 08000000 07030001 6553f100 00000003 5f3a9c01 0d420001
    6553f100 00000001 616c6c00 00000000 00000000 00000000 c6336407 00000000
    00000000 00000000 cb007105 00000000 00000000 00000000 01bbc738 00000200
    c6336407 00000000 00000000 00000000 c0a8010a 00000000 00000000 00000000
    01bb9c40 00000200 00014001 01020304 11111111 11112222 00000000 ffff05b4
    02860000 00000000 00000000 00000000 00000000 00000001 00000000 00010000
    00000000 00000000 00000000 00000000 00000000 00000000 0000000c ffffffff
    ffffffff 00000001 00000077 00000000 00000001 00000000 00000000 00000000
    0000003c 00000000 00000000 5f3a9c01 ffffffff ffffffff 05a00206 02000000
    00000000 00040000";
