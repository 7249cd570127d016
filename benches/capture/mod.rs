//! A capture as a busy OpenBSD firewall makes it: five INS and five DEL_C a packet, 20 000 states
//! alive at a time, of eight kinds in turn: five of TCP and three of UDP, half of them with something
//! beside an IPv4 key: a quarter translated, a quarter IPv6. Each makes two records. In packets of
//! their own come as many UPD_C of each as are asked for. Beside it, in packets.rs, what a meter
//! would have to see to tell of as many flows.

#![allow(dead_code, reason = "each benchmark takes what it needs")]

pub(crate) mod packets;

use std::fs::File;
use std::io::{BufWriter, Write};

/// States alive at a time.
pub(crate) const ALIVE: u64 = 20_000;
/// States and deletes a packet.
const A_PACKET: u64 = 5;
/// UPD_C a packet.
const A_PACKET_OF_UPDATES: usize = 15;
/// Octets of a UPD_C.
const UPDATE: usize = 84;
/// The first sequence number of both peers.
const SEQLO: u32 = 1000;
/// Octets of a v6 state.
pub(crate) const STATE: usize = 264;

/// The id and creatorid of a state, as DEL_C has them.
pub(crate) fn identity(n: u64) -> [u8; 12] {
    let mut b = [0; 12];
    b[..8].copy_from_slice(&(0x6800_0000_0000_0000 + n).to_be_bytes());
    b[8..].copy_from_slice(&[0x7a, 0x11, 0xc0, 0xde]);
    b
}

/// One state.
pub(crate) fn state(n: u64) -> [u8; STATE] {
    let mut b = [0; STATE];
    let kind = n % 8;
    let (is_translated, is_udp, is_v6) =
        (kind == 1 || kind == 3, [2, 3, 7].contains(&kind), kind > 5);
    let af = if is_v6 { 24 } else { 2 };
    b[..8].copy_from_slice(&(0x6800_0000_0000_0000 + n).to_be_bytes());
    b[8..11].copy_from_slice(b"all");
    for key in [24, 64] {
        let host = u32::try_from(n & 0xffff).unwrap().to_be_bytes();
        b[key..key + 4].copy_from_slice(&if is_v6 {
            [0x20, 1, 0xd, 0xb8]
        } else {
            [192, 0, 2, 1]
        });
        b[key + 16..key + 20].copy_from_slice(&[10, host[1], host[2], host[3]]);
        b[key + 32..key + 36].copy_from_slice(&[1, 0xbb, host[2] | 0x80, host[3]]);
        b[key + 38] = af;
    }
    if is_translated {
        b[40..44].copy_from_slice(&[198, 51, 100, 1]);
    }
    for peer in [104, 136] {
        b[peer + 24] = if is_udp { 2 } else { 4 };
        if !is_udp {
            b[peer + 8..peer + 12].copy_from_slice(&SEQLO.to_be_bytes());
            b[peer + 12..peer + 16].copy_from_slice(&(SEQLO + 65535).to_be_bytes());
        }
    }
    let expire: u32 = if is_udp { 60 } else { 86400 };
    b[200..204].copy_from_slice(&expire.to_be_bytes());
    b[207..212].copy_from_slice(&[0, 0, 0, 0, 9]);
    b[219] = 7;
    b[226..228].copy_from_slice(&[3, 0xe8]);
    b[234..236].copy_from_slice(&[9, 0xc4]);
    b[236..240].copy_from_slice(&[0x7a, 0x11, 0xc0, 0xde]);
    b[250] = af;
    b[251] = if is_udp { 17 } else { 6 };
    b[252] = if is_translated { 2 } else { 1 };
    // PFTM_UDP_MULTIPLE and PFTM_TCP_ESTABLISHED.
    b[255] = if is_udp { 8 } else { 2 };
    b[261] = 4;
    b
}

/// UPD_C `number` of state `n`: both peers as [`state`] has them, 5000 octets on each time.
fn update(n: u64, number: u32) -> [u8; UPDATE] {
    let (state, identity) = (state(n), identity(n));
    let mut b = [0; UPDATE];
    b[..8].copy_from_slice(&identity[..8]);
    b[8..40].copy_from_slice(&state[104..136]);
    b[40..72].copy_from_slice(&state[136..168]);
    let is_tcp = state[251] == 6;
    for seqlo in [16, 48].into_iter().filter(|_| is_tcp) {
        b[seqlo..seqlo + 4].copy_from_slice(&(SEQLO + 5000 * number).to_be_bytes());
    }
    b[72..76].copy_from_slice(&identity[8..]);
    b[80] = state[255];
    b
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
        let mut sections = Vec::new();
        if n >= alive {
            sections.extend([7, 3, 0, 5]);
            for gone in n - alive..n - alive + A_PACKET {
                sections.extend(identity(gone));
            }
        }
        if n < states {
            sections.extend([13, 66, 0, 5]);
            for new in n..n + A_PACKET {
                sections.extend(state(new));
            }
        }
        write_packet(out, n / 20, &sections);
        for (number, waiting) in (1..).zip(&mut waiting) {
            // A multiple of A_PACKET, as n is.
            let age = alive / A_PACKET * u64::from(number) / u64::from(updates + 1) * A_PACKET;
            if n < age || n >= states + age {
                continue;
            }
            let updated = n - age..n - age + A_PACKET;
            waiting.extend(updated.flat_map(|old| update(old, number)));
            if waiting.len() == A_PACKET_OF_UPDATES * UPDATE || n + A_PACKET >= states + age {
                let count = u16::try_from(waiting.len() / UPDATE).unwrap().to_be_bytes();
                let mut section = vec![4, 21, count[0], count[1]];
                section.append(waiting);
                write_packet(out, n / 20, &section);
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
fn write_packet(out: &mut impl Write, time: u64, sections: &[u8]) {
    let len = u16::try_from(20 + sections.len()).unwrap();
    let mut packet = vec![
        1, 0, 0x5e, 0, 0, 0xf0, 0, 0, 0x5e, 0, 1, 1, 8, 0, 0x45, 0x10,
    ];
    packet.extend((len + 20).to_be_bytes());
    packet.extend([
        0, 1, 0x40, 0, 255, 240, 0, 0, 192, 0, 2, 1, 224, 0, 0, 240, 6, 0,
    ]);
    packet.extend(len.to_be_bytes());
    packet.extend([0; 16]);
    packet.extend(sections);
    let size = u32::try_from(packet.len()).unwrap();
    let seconds = 1_750_000_000 + u32::try_from(time / 1000).unwrap();
    let micros = u32::try_from(time % 1000).unwrap() * 1000;
    for word in [seconds, micros, size, size] {
        put(out, &word.to_le_bytes());
    }
    put(out, &packet);
}
