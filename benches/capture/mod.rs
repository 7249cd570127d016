//! A capture as a busy OpenBSD firewall makes it: five INS and five DEL_C a packet, 20 000 states
//! alive at a time, of eight kinds in turn: five of TCP and three of UDP, half of them with something
//! beside an IPv4 key: a quarter translated, a quarter IPv6. Each makes two records. In packets of
//! their own come as many UPD_C of each as are asked for. Beside it, in packets.rs, what a meter
//! would have to see to tell of as many flows.

#![allow(dead_code, reason = "each benchmark takes what it needs")]

pub(crate) mod packets;
#[path = "../../tests/common/pfsync/mod.rs"]
pub(crate) mod pfsync;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::net::IpAddr;

use pfsync::{D, IN, Key, M, OUT, PFLOW, Peer, St, name};

/// States alive at a time.
pub(crate) const ALIVE: u64 = 20_000;
/// States and deletes a packet.
const A_PACKET: u64 = 5;
/// UPD_C a packet.
const A_PACKET_OF_UPDATES: usize = 15;
/// The first sequence number of both peers.
const SEQLO: u32 = 1000;
/// The firewall that made all states.
pub(crate) const CREATOR: u32 = 0x7a11_c0de;
/// Who writes: OpenBSD.
const WRITER: D = D::Obsd74;

/// The id of a state.
pub(crate) fn id(n: u64) -> u64 {
    0x6800_0000_0000_0000 + n
}

/// One state.
pub(crate) fn state(n: u64) -> St {
    let kind = n % 8;
    let (is_translated, is_udp, is_v6) =
        (kind == 1 || kind == 3, [2, 3, 7].contains(&kind), kind > 5);
    let [.., a, b] = n.to_be_bytes();
    let (far, near) = if is_v6 {
        let near = u16::from_be_bytes([10, 0]);
        (
            IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0]),
            IpAddr::from([near, u16::from_be_bytes([a, b]), 0, 0, 0, 0, 0, 0]),
        )
    } else {
        (IpAddr::from([192, 0, 2, 1]), IpAddr::from([10, 0, a, b]))
    };
    let stack = Key {
        addr: [far, near],
        port: [443, u16::from_be_bytes([a | 0x80, b])],
        rdomain: 0,
    };
    let mut wire = stack;
    if is_translated {
        wire.addr[1] = IpAddr::from([198, 51, 100, 1]);
    }
    let peer = if is_udp {
        Peer {
            state: 2,
            ..Peer::default()
        }
    } else {
        Peer {
            state: 4,
            seqlo: SEQLO,
            seqhi: SEQLO + 65535,
            ..Peer::default()
        }
    };
    St {
        ifname: name("all"),
        wire,
        stack,
        src: peer,
        dst: peer,
        expire: if is_udp { 60 } else { 86400 },
        packets: [9, 7],
        octets: [1000, 2500],
        proto: if is_udp { 17 } else { 6 },
        direction: if is_translated { OUT } else { IN },
        // PFTM_UDP_MULTIPLE and PFTM_TCP_ESTABLISHED.
        timeout: if is_udp { 8 } else { 2 },
        flags: PFLOW,
        ..St::blank(id(n), CREATOR)
    }
}

/// UPD_C `number` of state `n`: both peers as [`state`] has them, 5000 octets on each time.
fn update(n: u64, number: u32) -> M {
    let mut state = state(n);
    if state.proto == 6 {
        (state.src.seqlo, state.dst.seqlo) = (SEQLO + 5000 * number, SEQLO + 5000 * number);
    }
    M::upd_c(&state)
}

/// The only packet of these messages, which are few.
pub(crate) fn packet(messages: &[M]) -> Vec<u8> {
    pfsync::packets(WRITER, messages).remove(0)
}

/// Writes a capture of `states` states, each with `updates` UPD_C evenly over its life.
pub(crate) fn write(path: &str, states: u64, updates: u32) {
    let mut out = BufWriter::with_capacity(1 << 22, File::create(path).unwrap());
    write_to(&mut out, states, updates);
    out.flush().unwrap();
}

/// [`write`] to wherever `out` leads; a reader that goes away ends it.
pub(crate) fn write_to(out: &mut impl Write, states: u64, updates: u32) {
    write_with(out, states, ALIVE, updates);
}

/// [`write_to`] with as many states `alive` at a time, a multiple of five.
pub(crate) fn write_with(out: &mut impl Write, states: u64, alive: u64, updates: u32) {
    for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65535, 1] {
        put(out, &word.to_le_bytes());
    }
    let mut waiting = vec![Vec::new(); usize::try_from(updates).unwrap()];
    let mut n = 0;
    while n < states + alive {
        let mut messages = Vec::new();
        if n >= alive {
            let gone = n - alive..n - alive + A_PACKET;
            messages.extend(gone.map(|gone| M::DelC(id(gone), CREATOR)));
        }
        if n < states {
            messages.extend((n..n + A_PACKET).map(|new| M::Ins(state(new))));
        }
        write_packet(out, n / 20, &messages);
        for (number, waiting) in (1..).zip(&mut waiting) {
            // A multiple of A_PACKET, as n is.
            let age = alive / A_PACKET * u64::from(number) / u64::from(updates + 1) * A_PACKET;
            if n < age || n >= states + age {
                continue;
            }
            let updated = n - age..n - age + A_PACKET;
            waiting.extend(updated.map(|old| update(old, number)));
            if waiting.len() == A_PACKET_OF_UPDATES || n + A_PACKET >= states + age {
                write_packet(out, n / 20, waiting);
                waiting.clear();
            }
        }
        n += A_PACKET;
    }
}

fn put(out: &mut impl Write, octets: &[u8]) {
    if let Err(error) = out.write_all(octets) {
        assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
    }
}

/// A packet `time` milliseconds into the capture.
fn write_packet(out: &mut impl Write, time: u64, messages: &[M]) {
    let packet = pfsync::ipv4([192, 0, 2, 1], &packet(messages));
    let packet = pfsync::ether(&[8, 0], &packet);
    let size = u32::try_from(packet.len()).unwrap();
    let seconds = 1_750_000_000 + u32::try_from(time / 1000).unwrap();
    let micros = u32::try_from(time % 1000).unwrap() * 1000;
    for word in [seconds, micros, size, size] {
        put(out, &word.to_le_bytes());
    }
    put(out, &packet);
}
