//! The traffic itself, for programs that count packets: each flow a UDP request and its reply, with
//! ends of its own.

use std::fs::File;
use std::hash::BuildHasher;
use std::io::{BufWriter, Write};

use foldhash::fast::FixedState;

/// Writes a capture of `flows` flows, 20 000 of them a second, two packets each, the reply up to
/// 50 ms after its request. Ends are chance, as they are on the Internet: a program that keeps its
/// flows in the order of their addresses has it easy with addresses that are counted up.
pub(crate) fn write(path: &str, flows: u64) {
    let mut out = BufWriter::with_capacity(1 << 22, File::create(path).unwrap());
    for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65535, 1] {
        out.write_all(&word.to_le_bytes()).unwrap();
    }
    // The same in every run.
    let chance = FixedState::with_seed(1);
    let mut packets: Vec<(u64, End, End)> = Vec::new();
    for n in 0..flows {
        let [a, b, c, d, e, .., f, g] = chance.hash_one(n).to_be_bytes();
        let client = ([10, a, b, c], u16::from_be_bytes([d, e]) | 1024);
        let [a, b, c, d, ..] = chance.hash_one((n, "server")).to_be_bytes();
        let server = ([a, b, c, d], 53);
        let micros = n * 50;
        let delay = 200 + u64::from(u16::from_be_bytes([f, g])) * 3 / 4;
        packets.push((micros, client, server));
        packets.push((micros + delay, server, client));
    }
    packets.sort_unstable();
    for (micros, from, to) in packets {
        write_packet(&mut out, micros, from, to);
    }
    out.flush().unwrap();
}

/// An address and a port.
type End = ([u8; 4], u16);

/// A UDP packet over Ethernet, `micros` into the capture.
fn write_packet(out: &mut impl Write, micros: u64, from: End, to: End) {
    const PAYLOAD: u16 = 60;
    let mut packet = vec![0; 12];
    packet.extend([8, 0, 0x45, 0]);
    packet.extend((28 + PAYLOAD).to_be_bytes());
    packet.extend([0, 0, 0, 0, 64, 17, 0, 0]);
    packet.extend(from.0);
    packet.extend(to.0);
    for word in [from.1, to.1, 8 + PAYLOAD, 0] {
        packet.extend(word.to_be_bytes());
    }
    packet.resize(packet.len() + usize::from(PAYLOAD), 0);
    let size = u32::try_from(packet.len()).unwrap();
    let seconds = 1_750_000_000 + u32::try_from(micros / 1_000_000).unwrap();
    let micros = u32::try_from(micros % 1_000_000).unwrap();
    for word in [seconds, micros, size, size] {
        out.write_all(&word.to_le_bytes()).unwrap();
    }
    out.write_all(&packet).unwrap();
}
