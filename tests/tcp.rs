//! TCP that loses nothing it does not count: collectors that go and come back, refuse, do not read.

#![allow(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    missing_docs,
    reason = "a test that is wrong may panic"
)]

mod common;
mod running;

use std::collections::BTreeMap;
use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use common::{Key, M, St};
use running::{Directory, Pflow};

/// Longer than anything takes that works.
const PATIENCE: Duration = Duration::from_secs(30);

/// Words of an interface that exports to `to` by TCP.
fn tcp(unit: u32, to: SocketAddr) -> String {
    format!("pflow{unit} flowdst {to} pflowproto 10 transport tcp")
}

/// A replay of a small capture.
fn replay(lines: &[String]) -> Command {
    let capture = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/mix200.openbsd-v6.pcap");
    let mut command = Command::new(env!("CARGO_BIN_EXE_pflow"));
    command.args(["-a", "-o", "none", "-r"]).arg(capture);
    for line in lines {
        command.args(["-e", line]);
    }
    command
}

fn log(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// An address at which nobody listens any more.
fn closed() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap();
    (listener, to)
}

/// What a session said, read as RFC 7011 has it.
#[derive(Default)]
struct Session {
    /// Record lengths by domain and template.
    templates: BTreeMap<(u32, u16), usize>,
    records: u64,
    /// Records that sequences of numbers say were lost.
    missed: u64,
    expected: BTreeMap<u32, u32>,
    messages: u64,
}

impl Session {
    fn u16_at(octets: &[u8], at: usize) -> u16 {
        u16::from_be_bytes([octets[at], octets[at + 1]])
    }

    fn u32_at(octets: &[u8], at: usize) -> u32 {
        u32::from_be_bytes(octets[at..at + 4].try_into().unwrap())
    }

    /// Reads whole messages; the octets of one that is not.
    fn read(&mut self, mut octets: &[u8]) -> usize {
        while octets.len() >= 16 {
            assert_eq!(Self::u16_at(octets, 0), 10);
            let len = usize::from(Self::u16_at(octets, 2));
            let Some(message) = octets.get(..len) else {
                break;
            };
            self.message(message);
            octets = &octets[len..];
        }
        octets.len()
    }

    fn message(&mut self, message: &[u8]) {
        self.messages += 1;
        let (sequence, domain) = (Self::u32_at(message, 8), Self::u32_at(message, 12));
        let expected = self.expected.entry(domain).or_default();
        self.missed += u64::from(sequence.wrapping_sub(*expected));
        *expected = sequence;
        let (id, set) = (Self::u16_at(message, 16), &message[20..]);
        if id != 2 {
            let len = self.templates[&(domain, id)];
            assert_eq!(set.len() % len, 0);
            let records = set.len() / len;
            self.records += records as u64;
            *expected += u32::try_from(records).unwrap();
            return;
        }
        let mut set = set;
        while !set.is_empty() {
            let (id, fields) = (Self::u16_at(set, 0), usize::from(Self::u16_at(set, 2)));
            let lens = (0..fields).map(|n| usize::from(Self::u16_at(set, 4 * n + 6)));
            let told = self.templates.insert((domain, id), lens.sum());
            assert!(told.is_none(), "a template is told once a session");
            set = &set[4 + 4 * fields..];
        }
    }

    /// All that comes by `stream` until its end.
    fn of(mut stream: TcpStream) -> Self {
        let mut octets = Vec::new();
        stream.read_to_end(&mut octets).unwrap();
        let mut session = Self::default();
        assert_eq!(session.read(&octets), 0, "half a message");
        session
    }
}

/// Flows that end, with numbers from `ids`: each has two records.
fn end_states(pflow: &mut Pflow, ids: std::ops::Range<u64>) {
    for id in ids {
        let [.., a, b] = id.to_be_bytes();
        let key = Key::new(&format!("198.51.{a}.{b}"), 40_000, "192.0.2.7", 443);
        let state = St::udp(id).keyed(key).count([1, 2], [100, 200]);
        pflow.send(&[M::Ins(state), M::del_c(&state)]);
    }
    pflow.settle();
    pflow.ask("flush").unwrap();
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        std::thread::yield_now();
    }
}

fn count(pflow: &mut Pflow, name: &str) -> u64 {
    pflow.counter("interface", Some("pflow0"), name)
}

#[test]
fn a_replay_reaches_its_collector_whole_and_in_one_session() {
    let (listener, to) = listener();
    let reader = std::thread::spawn(move || Session::of(listener.accept().unwrap().0));
    let output = replay(&[tcp(0, to)]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let session = reader.join().unwrap();
    assert_eq!((session.records, session.missed), (305, 0));
    assert_eq!(session.templates.len(), 3);
    let log = log(&output);
    assert!(
        log.contains(&format!("pflow0: connected to {to}\n")),
        "{log}"
    );
    let sent = format!(
        "305 records, 1 template messages, {} datagrams",
        session.messages
    );
    assert!(log.contains(&sent), "{log}");
}

#[test]
fn a_replay_to_a_collector_that_is_not_there_says_so_and_fails() {
    let to = closed();
    let output = replay(&[tcp(0, to)]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let expected = format!("pflow: pflow0: {to}: connection refused\n");
    assert_eq!(log(&output), expected);
}

#[test]
fn the_backup_is_connected_to_at_once_where_the_first_refuses() {
    let (dead, (listener, to)) = (closed(), listener());
    let reader = std::thread::spawn(move || Session::of(listener.accept().unwrap().0));
    let line = format!("{} backup {} backup {to}", tcp(0, dead), closed());
    let begun = Instant::now();
    let output = replay(&[line]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(begun.elapsed() < Duration::from_secs(30), "not at once");
    assert_eq!(reader.join().unwrap().records, 305);
    let log = log(&output);
    assert!(
        log.contains(&format!("pflow0: {dead}: connection refused; ")),
        "{log}"
    );
}

#[test]
fn a_replay_whose_collector_goes_in_the_middle_goes_on_with_it_later() {
    let (listener, to) = listener();
    let reader = std::thread::spawn(move || {
        let (mut first, _) = listener.accept().unwrap();
        let mut octets = vec![0; 3000];
        first.read_exact(&mut octets).unwrap();
        drop(first);
        Session::of(listener.accept().unwrap().0)
    });
    // Slow enough that it is in the middle.
    let mut command = replay(&[format!("{} reconnect 1 hold 1", tcp(0, to))]);
    let output = command.args(["-x", "40"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let log = log(&output);
    assert!(log.contains("tried again in 1 s"), "{log}");
    let session = reader.join().unwrap();
    assert!(session.records > 0 && session.records < 305);
    assert_eq!(session.missed, 0, "a session begins with 0");
}

#[test]
fn a_replay_whose_collector_stays_away_gives_up_counts_and_fails() {
    let (listener, to) = listener();
    let reader = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.read_exact(&mut [0; 1000]).unwrap();
    });
    let mut command = replay(&[format!("{} reconnect 1 hold 1", tcp(0, to))]);
    let output = command.args(["-x", "40"]).output().unwrap();
    reader.join().unwrap();
    let log = log(&output);
    assert_eq!(output.status.code(), Some(1), "{log}");
    assert!(
        log.contains("; given up\n") || log.contains("; given up ("),
        "{log}"
    );
    assert!(
        log.contains(" messages that waited for a collector and were dropped"),
        "{log}"
    );
}

#[test]
fn sigterm_ends_a_replay_that_waits_for_a_connection() {
    // Nobody accepts, and the queue of connections is full: the next one waits.
    let socket = socket2::Socket::new(
        socket2::Domain::IPV4,
        socket2::Type::STREAM,
        Some(socket2::Protocol::TCP),
    )
    .unwrap();
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    socket.bind(&any.into()).unwrap();
    socket.listen(0).unwrap();
    let to = socket.local_addr().unwrap().as_socket().unwrap();
    let _first = TcpStream::connect(to).unwrap();
    let mut child = replay(&[tcp(0, to)])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It must have begun to listen for signals: try until it ends.
    let begun = Instant::now();
    std::thread::sleep(Duration::from_millis(300));
    terminate(&child);
    let status = child.wait().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(8), "it waited on");
    assert_eq!(status.code(), Some(0));
}

/// Without kill(1), which not every machine has.
fn terminate(child: &std::process::Child) {
    let pid = nix::unistd::Pid::from_raw(child.id().try_into().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
}

#[test]
fn what_waits_for_a_collector_is_held_and_the_sums_hold() {
    let (listener, to) = listener();
    let mut pflow = Pflow::start(&["-a", "-e", &format!("{} reconnect 2", tcp(0, to))]);
    let (stream, _) = listener.accept().unwrap();
    end_states(&mut pflow, 0..50);
    until("sent", || count(&mut pflow, "records_sent") == 100);
    let statistics = pflow.statistics();
    statistics.check_sums();
    for (name, value) in [("connected", 1), ("disconnected", 0), ("octets_waiting", 0)] {
        assert_eq!(
            statistics.get("interface", Some("pflow0"), name),
            value,
            "{name}"
        );
    }
    let shown = pflow.good(&["pflow0"]);
    assert!(
        shown.contains(&format!("\tcollector: connected to {to}\n")),
        "{shown}"
    );
    // The collector goes, without having read: what it had not taken is in doubt.
    drop((stream, listener));
    end_states(&mut pflow, 50..60);
    until("lost", || count(&mut pflow, "disconnected") == 1);
    // It is back in time, and gets what waited.
    let listener = TcpListener::bind(to).unwrap();
    let statistics = pflow.statistics();
    statistics.check_sums();
    let shown = pflow.good(&["-l", "-v"]);
    assert!(
        shown.contains(&format!("\tsocket: disconnected, {to}: c")),
        "{shown}"
    );
    assert!(shown.ends_with("; tried again in 2 s\n"), "{shown}");
    let (stream, _) = listener.accept().unwrap();
    let reader = std::thread::spawn(move || Session::of(stream));
    until("sent", || count(&mut pflow, "records_sent") >= 120);
    pflow.statistics().check_sums();
    assert_eq!(count(&mut pflow, "held"), 0);
    pflow.finish();
    let session = reader.join().unwrap();
    assert_eq!((session.records, session.missed), (20, 0));
}

#[test]
fn another_collector_gets_what_waited_for_the_one_before() {
    let (listener, to) = listener();
    let dead = closed();
    // The first is there at the start, or the replay would not begin.
    let first = TcpListener::bind(dead).unwrap();
    let mut pflow = Pflow::start(&["-a", "-e", &tcp(0, dead)]);
    drop(first.accept().unwrap());
    drop(first);
    end_states(&mut pflow, 0..1);
    until("lost", || count(&mut pflow, "disconnected") == 1);
    let reader = std::thread::spawn(move || Session::of(listener.accept().unwrap().0));
    let held = count(&mut pflow, "held");
    pflow.good(&["pflow0", "flowdst", &to.to_string()]);
    until("sent", || count(&mut pflow, "held") == 0);
    pflow.statistics().check_sums();
    assert!(
        pflow
            .good(&["pflow0"])
            .contains(&format!("connected to {to}"))
    );
    pflow.finish();
    assert_eq!(reader.join().unwrap().records, held);
}

#[test]
fn a_tap_has_each_message_as_a_datagram() {
    let (listener, to) = listener();
    let reader = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut octets = Vec::new();
        stream.read_to_end(&mut octets).unwrap();
        octets
    });
    let directory = Directory::new();
    let tap = directory.file("tap");
    let output = replay(&[format!("{} tap {tap}", tcp(0, to))])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let octets = reader.join().unwrap();
    let file = std::fs::read(&tap).unwrap();
    let (mut payloads, mut at) = (Vec::new(), 24);
    while at < file.len() {
        let len = usize::try_from(u32::from_le_bytes(
            file[at + 8..at + 12].try_into().unwrap(),
        ));
        let packet = &file[at + 16..at + 16 + len.unwrap()];
        assert_eq!((packet[0], packet[9]), (0x45, 17), "IPv4, UDP");
        assert_eq!(packet[22..24], to.port().to_be_bytes());
        payloads.extend_from_slice(&packet[28..]);
        at += 16 + packet.len();
    }
    assert!(
        payloads == octets,
        "{} and {} octets",
        payloads.len(),
        octets.len()
    );
}

#[test]
fn words_that_do_nothing_are_worth_a_warning_and_tcp_is_for_ipfix() {
    let check = |line: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pflow"));
        command.args(["-n", "-f", "/dev/null", "-e", line]);
        let output = command.output().unwrap();
        (output.status.success(), log(&output))
    };
    let (is_good, told) = check("pflow0 flowdst 192.0.2.1:1 reconnect 5");
    assert!(is_good);
    let expected = "pflow: warning: pflow0: reconnect: only transport tcp, tls, dtls or sctp has a use for it\n";
    assert_eq!(told, expected);
    let (is_good, told) = check("pflow0 flowdst 192.0.2.1:1 transport tcp");
    assert!(!is_good && told.contains("transport: IPFIX only"), "{told}");
    let nine: String = (1..=9).map(|n| format!(" backup 192.0.2.{n}:1")).collect();
    let (is_good, told) = check(&format!("pflow0{nine}"));
    assert!(!is_good && told.contains("backup: more than 8"), "{told}");
}

#[test]
fn an_interface_that_goes_down_loses_what_waited_and_counts_it() {
    let (listener, to) = listener();
    let mut pflow = Pflow::start(&["-a", "-e", &tcp(0, to)]);
    drop(listener.accept().unwrap());
    drop(listener);
    end_states(&mut pflow, 0..2);
    until("lost", || count(&mut pflow, "disconnected") == 1);
    let held = count(&mut pflow, "held");
    assert!(held > 0 && count(&mut pflow, "octets_waiting") > 0);
    pflow.good(&["pflow0", "down"]);
    let statistics = pflow.statistics();
    statistics.check_sums();
    for (name, value) in [
        ("held", 0),
        ("octets_waiting", 0),
        ("records_refused", held),
    ] {
        let counted = statistics.get("interface", Some("pflow0"), name);
        assert_eq!(counted, value, "{name}");
    }
    assert!(!pflow.good(&["pflow0"]).contains("collector:"));
}
