//! A pflow that runs: its standard input is a savefile that the test goes on writing, so that the
//! test's packets are its clock; its control socket, pflowctl, and collectors on loopback.
//!
//! Nothing here sleeps: what is waited for is an answer, a datagram or the end of a process.

#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a test that is wrong may panic, and each test crate uses a part of this"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use serde_json::Value;

use crate::common::{A, D, Key, M, St, T0, packets};

/// Longer than anything takes that works.
const PATIENCE: Duration = Duration::from_secs(30);

/// A directory that goes with the test.
pub struct Directory(PathBuf);

impl Directory {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("pflow-test-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A savefile's record, microseconds, `ms` after [`T0`].
pub fn record(ms: i64, frame: &[u8]) -> Vec<u8> {
    let (seconds, micros) = (T0 + ms.div_euclid(1000), ms.rem_euclid(1000) * 1000);
    let len = frame.len() as u32;
    let mut octets = Vec::new();
    for word in [seconds as u32, micros as u32, len, len] {
        octets.extend(word.to_le_bytes());
    }
    octets.extend(frame);
    octets
}

/// The header of a savefile of Ethernet frames.
pub fn file_header() -> Vec<u8> {
    let words = [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 262_144, 1];
    words.into_iter().flat_map(u32::to_le_bytes).collect()
}

pub fn testdata(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    root.join("testdata").join(name)
}

/// A pflow that runs.
pub struct Pflow {
    child: Child,
    input: Option<ChildStdin>,
    pub directory: Directory,
    pub socket: String,
    /// Packets written so far.
    written: u64,
    /// Milliseconds after [`T0`] of the last of them.
    pub ms: i64,
}

impl Pflow {
    /// Starts it with further arguments and gives it a first packet: its clock shows [`T0`].
    pub fn start(arguments: &[&str]) -> Self {
        let directory = Directory::new();
        Self::start_in(directory, arguments)
    }

    pub fn start_in(directory: Directory, arguments: &[&str]) -> Self {
        let socket = directory.file("sock");
        let mut command = Command::new(env!("CARGO_BIN_EXE_pflow"));
        command.args(["-r", "-", "-o", "none", "-s", &socket]);
        let mut child = command
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take();
        input.as_mut().unwrap().write_all(&file_header()).unwrap();
        let mut pflow = Self {
            child,
            input,
            directory,
            socket,
            written: 0,
            ms: 0,
        };
        pflow.send(&[M::Tdb]);
        pflow.settle();
        pflow
    }

    /// Writes a packet with `messages`.
    pub fn send(&mut self, messages: &[M]) {
        let mut octets = Vec::new();
        for packet in packets(D::Obsd74, messages) {
            let (_, frame) = A.frame(&packet);
            octets.extend(record(self.ms, &frame));
            self.written += 1;
        }
        let input = self.input.as_mut().unwrap();
        input.write_all(&octets).unwrap();
    }

    /// Moves its clock on.
    pub fn pass(&mut self, ms: i64) {
        self.ms += ms;
        self.send(&[M::Tdb]);
    }

    /// Waits until it has taken in every packet. It takes one ask between two batches.
    pub fn settle(&mut self) {
        while self.counter("packets", None, "whole") < self.written {
            self.check_alive();
        }
    }

    fn check_alive(&mut self) {
        if let Some(status) = self.child.try_wait().unwrap() {
            let mut text = String::new();
            let mut log = self.child.stderr.take().unwrap();
            log.read_to_string(&mut text).unwrap();
            panic!("{status}: {text}");
        }
    }

    /// Ends states, as many as there are ids; what they make is sent.
    pub fn end_states(&mut self, ids: std::ops::Range<u64>) {
        let key = Key::new("192.0.2.1", 40_000, "198.51.100.7", 443);
        for id in ids {
            let state = St::udp(id).keyed(key).count([1, 1], [84, 84]);
            self.send(&[M::Ins(state), M::del_c(&state)]);
        }
        self.pass(2000);
        self.settle();
        self.ask("flush").unwrap();
    }

    pub fn connect(&mut self) -> Client {
        // The socket is there once the program listens, and not before.
        loop {
            if let Ok(stream) = UnixStream::connect(&self.socket) {
                return Client::new(stream);
            }
            self.check_alive();
            std::thread::yield_now();
        }
    }

    /// What the control socket answers.
    pub fn ask(&mut self, line: &str) -> Result<String, String> {
        self.connect().ask(line)
    }

    pub fn statistics(&mut self) -> Statistics {
        self.connect().statistics()
    }

    /// A counter of `show statistics`.
    pub fn counter(&mut self, part: &str, of: Option<&str>, name: &str) -> u64 {
        self.statistics().get(part, of, name)
    }

    /// Ends its input and waits for its end; its log.
    pub fn finish(mut self) -> String {
        drop(self.input.take());
        let mut text = String::new();
        let mut log = self.child.stderr.take().unwrap();
        log.read_to_string(&mut text).unwrap();
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}: {text}");
        text
    }

    /// Kills it with SIGKILL.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// pflowctl with this socket.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pflowctl"));
        command.args(["-s", &self.socket]).args(arguments);
        command
    }

    fn ctl(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// What pflowctl prints if it ends with 0.
    pub fn good(&self, arguments: &[&str]) -> String {
        let output = self.ctl(arguments);
        let text = String::from_utf8(output.stdout).unwrap();
        let problem = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{arguments:?}: {problem}");
        assert_eq!(problem, "", "{arguments:?}");
        text
    }

    /// What pflowctl complains about if it ends with 1.
    pub fn bad(&self, arguments: &[&str]) -> String {
        let output = self.ctl(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {output:?}");
        assert_eq!(output.stdout, b"", "{arguments:?}");
        String::from_utf8(output.stderr).unwrap()
    }
}

impl Drop for Pflow {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One connection to a control socket.
pub struct Client {
    pub stream: UnixStream,
    reader: BufReader<UnixStream>,
}

impl Client {
    pub fn new(stream: UnixStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let reader = BufReader::new(stream.try_clone().unwrap());
        Self { stream, reader }
    }

    pub fn say(&mut self, octets: &[u8]) {
        self.stream.write_all(octets).unwrap();
    }

    /// Reads one answer.
    pub fn hear(&mut self) -> Result<String, String> {
        let mut text = String::new();
        loop {
            let mut line = String::new();
            self.reader.read_line(&mut line).unwrap();
            if let Some(line) = line.strip_prefix(' ') {
                text += line;
            } else if line == "ok\n" {
                return Ok(text);
            } else {
                let problem = line.strip_prefix("error: ");
                return Err(problem.expect("an end of the answer").trim_end().to_owned());
            }
        }
    }

    /// Reads octets that are no answer.
    pub fn read<const N: usize>(&mut self) -> [u8; N] {
        let mut octets = [0; N];
        self.reader.read_exact(&mut octets).unwrap();
        octets
    }

    pub fn ask(&mut self, line: &str) -> Result<String, String> {
        self.say(format!("{line}\n").as_bytes());
        self.hear()
    }

    pub fn statistics(&mut self) -> Statistics {
        let lines = self.ask("json show statistics").unwrap();
        let parts = lines
            .lines()
            .map(|line| serde_json::from_str(line).unwrap());
        Statistics(parts.collect())
    }
}

/// `show statistics`, a part each.
pub struct Statistics(pub Vec<Value>);

impl Statistics {
    pub fn get(&self, part: &str, of: Option<&str>, name: &str) -> u64 {
        let mut parts = self.0.iter();
        let part = parts.find(|value| value["part"] == part && value["of"].as_str() == of);
        // Nothing is counted for what is not there yet.
        part.map_or(0, |part| part[name].as_u64().unwrap())
    }

    /// All of one instant: what came in is somewhere.
    pub fn check_sums(&self) {
        let number = |value: &Value| value.as_u64().unwrap_or(0);
        let parts = |name| self.0.iter().filter(move |value| value["part"] == name);
        let captured: u64 = parts("source")
            .map(|source| number(&source["packets"]))
            .sum();
        let packets = parts("packets").flat_map(|part| part.as_object().unwrap().values());
        assert_eq!(
            captured,
            packets.map(number).sum::<u64>(),
            "packets captured"
        );
        let sum = |part: &'static str, names: &[&str]| {
            let of = |name: &&str| self.get(part, None, name);
            names.iter().map(of).sum::<u64>()
        };
        let ended = [
            "deleted", "cleared", "expired", "evicted", "replaced", "flushed",
        ];
        let made_flows = sum("table", &ended);
        assert_eq!(
            sum("table", &["inserted", "restored"]),
            made_flows + sum("table", &["unconfirmed", "held"]),
            "states"
        );
        assert_eq!(
            made_flows,
            sum("flows", &["exported", "unflagged", "direction", "empty"]),
            "flows"
        );
        for part in parts("interface") {
            let of = |name: &str| number(&part[name]);
            let left = of("records_sent") + of("records_refused") + of("held");
            assert_eq!(of("records"), left, "records of {}", part["of"]);
        }
    }
}

/// A datagram as a collector gets it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Datagram {
    pub from: SocketAddr,
    pub to: SocketAddr,
    pub payload: Vec<u8>,
}

/// Collectors, read all the time.
pub struct Collectors {
    sender: Sender<Datagram>,
    receiver: Receiver<Datagram>,
}

impl Collectors {
    pub fn new() -> Self {
        let (sender, receiver) = channel();
        Self { sender, receiver }
    }

    /// A further one, at a free port of `address`.
    pub fn add(&self, address: &str) -> SocketAddr {
        let socket = UdpSocket::bind(address).unwrap();
        // As much as the system gives.
        let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(4 << 20);
        let to = socket.local_addr().unwrap();
        let sender = self.sender.clone();
        std::thread::spawn(move || {
            let mut buffer = vec![0; 65536];
            while let Ok((len, from)) = socket.recv_from(&mut buffer) {
                let payload = buffer[..len].to_vec();
                let datagram = Datagram { from, to, payload };
                if sender.send(datagram).is_err() {
                    break;
                }
            }
        });
        to
    }

    /// The next datagram.
    pub fn next(&self) -> Datagram {
        self.receiver.recv_timeout(PATIENCE).expect("a datagram")
    }

    /// What came and was not looked at.
    pub fn rest(&self) -> Vec<Datagram> {
        self.receiver.try_iter().collect()
    }
}
