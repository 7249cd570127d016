//! The traffic itself, for programs that count packets: each flow a UDP request and its reply, with
//! ends of its own.

use std::fs::File;
use std::io::{BufWriter, Write};

/// Writes a capture of `flows` flows, 20 000 of them a second, two packets each.
pub(crate) fn write(path: &str, flows: u64) {
    let mut out = BufWriter::new(File::create(path).unwrap());
    for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65535, 1] {
        out.write_all(&word.to_le_bytes()).unwrap();
    }
    for n in 0..u32::try_from(flows).unwrap() {
        let client = ([10, 0, 0, 0], n, u16::try_from(1024 + n % 60_000).unwrap());
        let server = ([192, 0, 2, 0], n % 250, 53);
        let micros = u64::from(n) * 50;
        write_packet(&mut out, micros, client, server);
        write_packet(&mut out, micros + 10, server, client);
    }
    out.flush().unwrap();
}

/// An end: a network, the host in it, a port.
type End = ([u8; 4], u32, u16);

fn address((network, host, _): End) -> [u8; 4] {
    (u32::from_be_bytes(network) + host).to_be_bytes()
}

/// A UDP packet over Ethernet, `micros` into the capture.
fn write_packet(out: &mut impl Write, micros: u64, from: End, to: End) {
    const PAYLOAD: u16 = 60;
    let mut packet = vec![0; 12];
    packet.extend([8, 0, 0x45, 0]);
    packet.extend((28 + PAYLOAD).to_be_bytes());
    packet.extend([0, 0, 0, 0, 64, 17, 0, 0]);
    packet.extend(address(from));
    packet.extend(address(to));
    for word in [from.2, to.2, 8 + PAYLOAD, 0] {
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
