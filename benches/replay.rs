//! The whole program against its floors and against others, in one run: `cargo bench --bench replay`.
//!
//! - Replays of a capture of INS and DEL_C, and of one with four UPD_C a state between them: nothing
//!   sent, NetFlow v5, and each of IPFIX's templates to a loopback socket that nobody reads.
//! - The same by TCP, TLS and DTLS to a peer that reads. The peer's time does not count.
//!   `openssl speed -evp aes-256-gcm` tells what the ciphers alone take.
//! - The floors: reading the file once; decoding it; sending the same datagrams by send(2), by
//!   sendmmsg(2), and by our calls, sendmmsg with UDP_SEGMENT on Linux.
//! - softflowd and nfpcapd, where they are installed, with packets that make as many flows.
//!
//! Processor time of whole processes, the least of five runs. Times of one machine compare within a run
//! only, so that the table at the end tells ratios: to reading the file; to the floor, which is
//! reading it and sending what the replay sends by our calls, the least that any program with this
//! transport would take; to softflowd exporting IPFIX. `PFLOW_BENCH_STATES` sets how many states
//! (default two million).

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    missing_docs,
    reason = "a test that is wrong may panic"
)]

mod capture;
mod rivals;
mod secure;

use std::fs::File;
use std::io::Read;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::process::{Command, Stdio};
use std::time::Duration;

use pflow::io::transport::{Transport, Udp, WhenFull, bind, source_address};
use pflow::io::{children_cpu, process_cpu};
use pflow::time::Uptime;
use pflow::wire::savefile::Savefile;
use pflow::wire::{link, pfsync};

/// What `pflowproto` is set to.
const FORMS: [&str; 5] = [
    "5",
    "10",
    "10 template openbsd78",
    "10 template freebsd",
    "10 template full",
];

fn main() {
    let states: u64 = std::env::var("PFLOW_BENCH_STATES")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(2_000_000);
    let files = Files::new();
    // Bound, and never read.
    let sink = UdpSocket::bind("127.0.0.1:0").unwrap();
    let to = sink.local_addr().unwrap();
    let mut table = Table::default();
    for (title, updates) in [("INS, DEL_C", 0), ("INS, 4 UPD_C, DEL_C", 4)] {
        let path = files.path("states");
        capture::write(&path, states, updates);
        replays(&mut table, title, states, &path, &files.path("tap"), to);
    }
    let packets = files.path("packets");
    capture::packets::write(&packets, states);
    table.title(format!("{states} flows of two packets"));
    for protocol in ["5", "10"] {
        let outcome = rivals::softflowd(&packets, states, protocol, to);
        table.rival(&format!("softflowd -v {protocol}"), states, outcome);
    }
    let outcome = rivals::nfpcapd(&packets, states, &files.path("nfdump"));
    table.rival("nfpcapd, to its own files", states, outcome);
    table.print();
}

/// Measures everything that one capture is for.
fn replays(table: &mut Table, title: &str, states: u64, path: &str, tap: &str, to: SocketAddr) {
    table.title(format!("{states} states: {title}"));
    let reading = best(|| read_only(path));
    let mut add = |name: &str, cpu, floor| {
        table.rows.push(Row::Measured(Measured {
            name: name.to_owned(),
            flows: states,
            cpu,
            reading: Some(reading),
            floor,
        }));
    };
    add("reading the file", reading, None);
    add("reading and decoding", best(|| decode_only(path)), None);
    add("replay, nothing sent", best(|| replay(path, "")), None);
    for form in FORMS {
        let words = format!("pflow0 flowdst {to} rate none pflowproto {form}");
        let lens = lens_of_datagrams(path, &words, tap);
        let sending = best(|| send_many(&lens, to, Cutting::AsOurs));
        if form == "5" {
            add(
                "v5's datagrams, by send",
                best(|| send_each(&lens, to)),
                None,
            );
            let sendmmsg = best(|| send_many(&lens, to, Cutting::Never));
            add("v5's datagrams, by sendmmsg", sendmmsg, None);
        }
        add(&format!("datagrams of {form}, by our calls"), sending, None);
        let floor = Some(reading + sending);
        let name = format!("replay, pflowproto {form}");
        add(&name, best(|| replay(path, &words)), floor);
    }
    let to = reading_peer();
    let words = format!("pflow0 flowdst {to} pflowproto 10 transport tcp");
    let cpu = best_of_children(|| replay(path, &words));
    add("replay, TCP to a reading peer", cpu, None);
    let words = format!("pflow0 flowdst {to} pflowproto 10 template full transport tcp");
    let cpu = best_of_children(|| replay(path, &words));
    add("replay, TCP, template full", cpu, None);
    if !secure::is_here() {
        return;
    }
    for (name, transport, option) in [
        ("replay, TLS 1.3 to a reading peer", "tls", "-tls1_3"),
        ("replay, DTLS 1.2 to a reading peer", "dtls", "-dtls1_2"),
    ] {
        let peer = secure::collector(&format!("{tap}-{transport}"), option);
        let words = format!(
            "pflow0 flowdst {} pflowproto 10 transport {transport} ca {}",
            peer.to, peer.ca
        );
        let cpu = best_of_children(|| replay(path, &words));
        add(name, cpu, None);
    }
}

/// A collector that reads what comes and does nothing with it, in threads of this process.
fn reading_peer() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut buffer = vec![0; 1 << 20];
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            while stream.read(&mut buffer).unwrap() > 0 {}
        }
    });
    to
}

/// Files that are gone at the end.
struct Files(std::path::PathBuf);

impl Files {
    fn new() -> Self {
        let name = format!("pflow-bench-{}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir(&directory).unwrap();
        Self(directory)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_string_lossy().into_owned()
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        // Files in a directory for temporary ones: nothing more can be done about them.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What was measured, printed as it comes and once more as ratios.
#[derive(Default)]
struct Table {
    rows: Vec<Row>,
}

enum Row {
    Title(String),
    Measured(Measured),
    Skipped(String),
}

struct Measured {
    name: String,
    flows: u64,
    cpu: Duration,
    /// Of the file that it is of, if that is ours.
    reading: Option<Duration>,
    /// Reading and sending, of what sends.
    floor: Option<Duration>,
}

impl Measured {
    /// Flows a second of processor time.
    fn speed(&self) -> f64 {
        f64::from(u32::try_from(self.flows).unwrap()) / self.cpu.as_secs_f64()
    }
}

/// What everything is compared with.
const RIVAL: &str = "softflowd -v 10";

impl Table {
    fn title(&mut self, title: String) {
        eprintln!("measuring {title}");
        self.rows.push(Row::Title(title));
    }

    fn rival(&mut self, name: &str, flows: u64, outcome: rivals::Outcome) {
        self.rows.push(match outcome {
            Ok(cpu) => Row::Measured(Measured {
                name: name.to_owned(),
                flows,
                cpu,
                reading: None,
                floor: None,
            }),
            Err(why) => Row::Skipped(format!("{name}: skipped, {why}")),
        });
    }

    fn print(&self) {
        let measured = || {
            self.rows.iter().filter_map(|row| match row {
                Row::Measured(measured) => Some(measured),
                _ => None,
            })
        };
        let rival = measured().find(|measured| measured.name == RIVAL);
        println!(
            "{:<50} {:>8} {:>14} {:>10} {:>8} {:>12}",
            "", "CPU s", "M flows/CPU s", "x reading", "x floor", "x softflowd"
        );
        for row in &self.rows {
            let row = match row {
                Row::Title(text) | Row::Skipped(text) => {
                    println!("{text}");
                    continue;
                }
                Row::Measured(measured) => measured,
            };
            let times = |than: Option<Duration>| match than {
                Some(than) => format!("{:.1}", row.cpu.as_secs_f64() / than.as_secs_f64()),
                None => "-".to_owned(),
            };
            let faster = match rival {
                Some(rival) => format!("{:.2}", row.speed() / rival.speed()),
                None => "-".to_owned(),
            };
            println!(
                "  {:<48} {:>8.3} {:>14.2} {:>10} {:>8} {:>12}",
                row.name,
                row.cpu.as_secs_f64(),
                row.speed() / 1e6,
                times(row.reading),
                times(row.floor),
                faster
            );
        }
    }
}

/// The least CPU time of five runs, that of children included.
fn best(run: impl Fn()) -> Duration {
    let spent = || process_cpu() + children_cpu();
    let once = || {
        let before = spent();
        run();
        spent() - before
    };
    (0..5).map(|_| once()).min().unwrap_or_default()
}

/// The same without what this process, which reads, takes.
fn best_of_children(run: impl Fn()) -> Duration {
    let once = || {
        let before = children_cpu();
        run();
        children_cpu() - before
    };
    (0..5).map(|_| once()).min().unwrap_or_default()
}

/// Octets of each datagram that a replay sends, in order, as its tap has them.
fn lens_of_datagrams(path: &str, words: &str, tap: &str) -> Vec<usize> {
    replay(path, &format!("{words} tap {tap}"));
    let mut lens = Vec::new();
    // An IPv4 and a UDP header come first.
    frames(tap, |frame| lens.push(frame.len() - 28));
    std::fs::remove_file(tap).unwrap();
    lens
}

/// Datagrams put one behind the other before they are sent, octets: as many as in a replay. All at
/// one place they would be nearer to the processor than any program has what it wrote.
const BUFFER: usize = 1 << 17;

/// Datagrams of these lengths, as many as fit into a buffer.
fn buffered(lens: &[usize]) -> impl Iterator<Item = Vec<&[u8]>> {
    static OCTETS: [u8; BUFFER] = [1; BUFFER];
    let mut rest = lens;
    std::iter::from_fn(move || {
        let mut octets = &OCTETS[..];
        let mut datagrams = Vec::new();
        while let Some((len, others)) = rest.split_first()
            && let Some((datagram, behind)) = octets.split_at_checked(*len)
        {
            datagrams.push(datagram);
            (octets, rest) = (behind, others);
        }
        Some(datagrams).filter(|datagrams| !datagrams.is_empty())
    })
}

fn send_each(lens: &[usize], to: SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for datagram in buffered(lens).flatten() {
        socket.send_to(datagram, to).unwrap();
    }
}

/// Whether the kernel may cut messages into datagrams.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Cutting {
    AsOurs,
    Never,
}

/// When nothing was reported for so long that the kernel may cut.
const LATER: Uptime = Uptime::new(1, 0);

/// Sends datagrams of these lengths as replays do, as many at a time as their buffer holds.
fn send_many(lens: &[usize], to: SocketAddr, cutting: Cutting) {
    let from = source_address(None, to.is_ipv6());
    let socket = bind(from, None, WhenFull::Wait).unwrap();
    let mut udp = Udp::new(socket, None, None, to, Uptime::default()).unwrap();
    if cutting == Cutting::Never {
        udp.forbid_cutting();
    }
    let mut now = Uptime::default();
    for some in buffered(lens) {
        let mut rest = &some[..];
        while !rest.is_empty() {
            rest = &rest[udp.send(now, rest).unwrap()..];
            now = LATER;
        }
    }
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

/// Runs the program itself, as the rivals are run.
fn replay(path: &str, words: &str) {
    let status = Command::new(env!("CARGO_BIN_EXE_pflow"))
        .args(["-o", "none", "-r", path])
        .args(words.split_whitespace())
        .stderr(Stdio::null())
        .status();
    assert!(status.unwrap().success());
}
