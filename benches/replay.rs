//! States per CPU-second of the whole replay path, of decoding alone, and of reading the file, in
//! one run: `cargo bench`. Figures of one machine compare within a run only, so each is also told
//! as a multiple of reading the file once.
//!
//! The capture is OpenBSD v6 as a busy firewall sends it: five INS and five DEL_C a packet, 20 000
//! states alive at a time, half of them translated, a quarter IPv6. `PFLOW_BENCH_STATES` sets how
//! many (default a million).

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    missing_docs,
    reason = "a test that is wrong may panic"
)]

use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::net::UdpSocket;
use std::time::Duration;

use pflow::io::process_cpu;
use pflow::options::{self, Action};
use pflow::wire::savefile::Savefile;
use pflow::wire::{link, pfsync};

/// States alive at a time.
const ALIVE: u64 = 20_000;
/// States and deletes a packet.
const A_PACKET: u64 = 5;
/// Octets of a v6 state.
const STATE: usize = 264;

fn main() {
    let states: u64 = std::env::var("PFLOW_BENCH_STATES")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(1_000_000);
    let path = std::env::temp_dir().join(format!("pflow-bench-{}.pcap", std::process::id()));
    let path = path.to_string_lossy().into_owned();
    write_capture(&path, states);
    let reading = best(|| read_only(&path));
    report("reading the file", states, reading, reading);
    report(
        "reading and decoding",
        states,
        best(|| decode_only(&path)),
        reading,
    );
    report(
        "replay, nothing sent",
        states,
        best(|| replay(&path, "")),
        reading,
    );
    let sink = UdpSocket::bind("127.0.0.1:0").unwrap();
    let to = sink.local_addr().unwrap();
    for form in ["5", "10", "10 template openbsd78", "10 template freebsd"] {
        let words = format!("pflow0 flowdst {to} pflowproto {form}");
        let name = format!("replay, pflowproto {form}");
        report(&name, states, best(|| replay(&path, &words)), reading);
    }
    std::fs::remove_file(&path).unwrap();
}

fn report(name: &str, states: u64, cpu: Duration, reading: Duration) {
    let seconds = cpu.as_secs_f64();
    println!(
        "{name:<36} {seconds:7.3} CPU s {:6.2} M states/CPU s {:6.1} x reading",
        states as f64 / seconds / 1e6,
        seconds / reading.as_secs_f64()
    );
}

/// The least CPU time of three runs.
fn best(run: impl Fn()) -> Duration {
    let once = || {
        let before = process_cpu();
        run();
        process_cpu() - before
    };
    (0..3).map(|_| once()).min().unwrap_or_default()
}

fn frames(path: &str, mut each: impl FnMut(&[u8])) {
    let mut file = File::open(path).unwrap();
    let mut buffer = vec![0; 1 << 20];
    let mut parser = Savefile::new();
    let mut kept = 0;
    loop {
        let read = file.read(&mut buffer[kept..]).unwrap();
        if read == 0 {
            return;
        }
        let filled = &buffer[..kept + read];
        let consumed = parser
            .scan(filled, &mut |frame| {
                each(&filled[frame.start..frame.start + frame.captured])
            })
            .unwrap();
        let end = kept + read;
        buffer.copy_within(consumed..end, 0);
        kept = end - consumed;
    }
}

fn read_only(path: &str) {
    let mut octets = 0;
    frames(path, |frame| octets += frame.len());
    assert!(octets > 0);
}

fn decode_only(path: &str) {
    let mut messages = 0_u64;
    let mut sum = 0_u64;
    frames(path, |frame| {
        let datagram = link::datagram(link::LinkType::EN10MB, frame, frame.len()).unwrap();
        let outcome = pfsync::decode(datagram.payload, 0, None, &mut |_, message| {
            messages += 1;
            if let pfsync::Message::Insert(state) = message {
                sum += state.octets()[0] + u64::from(state.wire_key().port[0]);
            }
        });
        assert!(outcome.result.is_ok());
    });
    assert!(messages > 0 && sum > 0);
}

fn replay(path: &str, words: &str) {
    let line = format!("-o none -r {path} {words}");
    let arguments: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    let Ok(Action::Run(options)) = options::parse(&arguments) else {
        panic!("{line}")
    };
    assert_eq!(pflow::run::run(&options), std::process::ExitCode::SUCCESS);
}

/// One state of the capture.
fn state(n: u64) -> [u8; STATE] {
    let mut b = [0; STATE];
    let is_v6 = n % 4 == 3;
    let is_translated = n % 4 == 1;
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
    b[128] = 4;
    b[160] = 4;
    b[207..212].copy_from_slice(&[0, 0, 0, 0, 9]);
    b[219] = 7;
    b[226..228].copy_from_slice(&[3, 0xe8]);
    b[234..236].copy_from_slice(&[9, 0xc4]);
    b[236..240].copy_from_slice(&[0x7a, 0x11, 0xc0, 0xde]);
    b[250] = af;
    b[251] = 6;
    b[252] = if is_translated { 2 } else { 1 };
    b[255] = 2;
    b[261] = 4;
    b
}

fn write_capture(path: &str, states: u64) {
    let mut out = BufWriter::new(File::create(path).unwrap());
    for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65535, 1] {
        out.write_all(&word.to_le_bytes()).unwrap();
    }
    let mut n = 0;
    while n < states + ALIVE {
        let mut sections = Vec::new();
        if n >= ALIVE {
            sections.extend([7, 3, 0, 5]);
            for gone in n - ALIVE..n - ALIVE + A_PACKET {
                sections.extend((0x6800_0000_0000_0000 + gone).to_be_bytes());
                sections.extend([0x7a, 0x11, 0xc0, 0xde]);
            }
        }
        if n < states {
            sections.extend([13, 66, 0, 5]);
            for new in n..n + A_PACKET {
                sections.extend(state(new));
            }
        }
        write_packet(&mut out, n / 20, &sections);
        n += A_PACKET;
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
        out.write_all(&word.to_le_bytes()).unwrap();
    }
    out.write_all(&packet).unwrap();
}
