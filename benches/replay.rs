//! States per CPU-second of the whole replay path, of decoding alone, and of reading the file, in
//! one run: `cargo bench`. Figures of one machine compare within a run only, so each is also told
//! as a multiple of reading the file once.
//!
//! The floors come in the same run: reading the file once, and sending the datagrams of the NetFlow
//! v5 replay one a call and by the transport's own calls (sendmmsg and UDP_SEGMENT on Linux) to the
//! same socket, which nobody reads. `floor` is reading and sending together, the least that any
//! program with this transport would take. `PFLOW_BENCH_STATES` sets how many states (default a
//! million).

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    missing_docs,
    reason = "a test that is wrong may panic"
)]

mod capture;

use std::fs::File;
use std::io::Read;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use pflow::interface::Settings;
use pflow::io::process_cpu;
use pflow::io::transport::{Transport, Udp, WhenFull};
use pflow::options::{self, Action};
use pflow::wire::savefile::Savefile;
use pflow::wire::{link, pfsync};

fn main() {
    let states: u64 = std::env::var("PFLOW_BENCH_STATES")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(1_000_000);
    let path = std::env::temp_dir().join(format!("pflow-bench-{}.pcap", std::process::id()));
    let path = path.to_string_lossy().into_owned();
    capture::write(&path, states);
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
    // Two records a state, a quarter of the states IPv6.
    let datagrams = usize::try_from(states).unwrap() * 3 / 2 / RECORDS;
    report(
        "sending v5, a call each",
        states,
        best(|| send_each(datagrams, to)),
        reading,
    );
    let sending = best(|| send_many(datagrams, to));
    report("sending v5, our calls", states, sending, reading);
    report(
        "floor: reading and that",
        states,
        reading + sending,
        reading,
    );
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

/// Records of a full NetFlow v5 datagram, and its octets.
const RECORDS: usize = 30;
const DATAGRAM: [u8; 1464] = [0; 1464];

fn send_each(datagrams: usize, to: SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for _ in 0..datagrams {
        socket.send_to(&DATAGRAM, to).unwrap();
    }
}

fn send_many(datagrams: usize, to: SocketAddr) {
    let mut udp = Udp::open(&Settings::default(), to, WhenFull::Wait).unwrap();
    let all = vec![&DATAGRAM[..]; datagrams];
    for some in all.chunks(180) {
        let mut rest = some;
        while !rest.is_empty() {
            rest = &rest[udp.send(rest).unwrap()..];
        }
    }
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
