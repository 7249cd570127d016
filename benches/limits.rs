//! What must not grow with a capture, of the program as it is run: `cargo bench --bench limits`.
//!
//! - How long after its start the first record of a capture of 1 GB is out: as a line of -o json, and
//!   as a NetFlow v5 datagram of 30 records, with its 20 000 states alive at a time.
//! - The most memory that replays of 100 MB, 1 GB and 10 GB take; what is of 10 GB comes through
//!   standard input and is on no disk. `PFLOW_BENCH_GB` is another number of them.
//! - How much more a state costs, and how much memory it takes, with ten million alive than with
//!   20 000: half of them translated or IPv6.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    missing_docs,
    reason = "a test that is wrong may panic"
)]

mod capture;

use std::io::{BufRead, BufReader, BufWriter, Write};
use std::net::{SocketAddr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use pflow::io::children_cpu;
use pflow::io::clock::Clock;

/// Octets of a capture that a state takes: an INS, a DEL_C, a fifth of what is around them.
const A_STATE: u64 = 299;

/// States alive at a time where they are many.
const MANY: u64 = 10_000_000;

fn main() {
    let gigabytes = std::env::var("PFLOW_BENCH_GB").ok();
    let gigabytes: u64 = gigabytes.and_then(|n| n.parse().ok()).unwrap_or(10);
    // Bound, and never read but for the first datagram.
    let sink = UdpSocket::bind("127.0.0.1:0").unwrap();
    let to = sink.local_addr().unwrap();
    let name = format!("pflow-limits-{}.pcap", std::process::id());
    let path = std::env::temp_dir().join(name);
    let path = path.to_str().unwrap();
    let mut peaks = Vec::new();
    for megabytes in [100, 1000] {
        let states = megabytes * 1_000_000 / A_STATE / 5 * 5;
        capture::write(path, states, 0);
        peaks.push((megabytes, states, peak(replay(path, to))));
    }
    let (line, datagram) = (first_line(path), first_datagram(path, &sink));
    std::fs::remove_file(path).unwrap();
    println!(
        "first record of 1 GB as JSON        {:7.1} ms",
        millis(line)
    );
    println!(
        "first 30 records of 1 GB as v5      {:7.1} ms",
        millis(datagram)
    );
    let states = gigabytes * 1_000_000_000 / A_STATE / 5 * 5;
    peaks.push((gigabytes * 1000, states, piped(to, states, capture::ALIVE)));
    for (megabytes, states, (memory, cpu)) in peaks {
        let speed = f64::from(u32::try_from(states).unwrap()) / cpu.as_secs_f64() / 1e6;
        let memory = match memory {
            Some(memory) => format!("{memory:>6} kB of memory"),
            None => "memory is not told here".to_owned(),
        };
        println!("replay of {megabytes:>6} MB: at most {memory}, {speed:.2} M states/CPU s");
    }
    many_alive(to);
}

/// What a state costs with many alive beside what it costs with few.
fn many_alive(to: SocketAddr) {
    let [(_, few), (memory, many)] =
        [capture::ALIVE, MANY].map(|alive| piped(to, MANY + MANY / 10, alive));
    let times = many.as_secs_f64() / few.as_secs_f64();
    let octets = memory.map_or("?".to_owned(), |kb| (kb * 1024 / MANY).to_string());
    println!(
        "a state with {MANY} alive: {times:.1} times the cost of one with {}, {octets} octets of memory",
        capture::ALIVE
    );
}

/// [`peak`] of a replay of a capture that is on no disk.
fn piped(to: SocketAddr, states: u64, alive: u64) -> (Option<u64>, Duration) {
    let mut child = replay("-", to);
    let stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || {
        let mut out = BufWriter::with_capacity(1 << 20, stdin);
        capture::write_with(&mut out, states, alive, 0);
        out.flush().unwrap();
    });
    let peak = peak(child);
    writer.join().unwrap();
    peak
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn pflow(path: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pflow"));
    command.args(["-r", path]).stderr(Stdio::null());
    command
}

fn exporting(path: &str, to: SocketAddr) -> Command {
    let mut command = pflow(path);
    command.args([
        "-o",
        "none",
        "-m",
        "20000000",
        "pflow0",
        "flowdst",
        &to.to_string(),
        "rate",
        "none",
    ]);
    command
}

fn replay(path: &str, to: SocketAddr) -> Child {
    let mut command = exporting(path, to);
    command.stdin(Stdio::piped()).spawn().unwrap()
}

/// How long after the start of `command` the first record is there, as `wait` tells.
fn first(command: &mut Command, wait: impl FnOnce(&mut Child)) -> Duration {
    let clock = Clock::new(None);
    let start = clock.now().uptime;
    let mut child = command.spawn().unwrap();
    wait(&mut child);
    let time = clock.now().uptime.since(start);
    child.kill().unwrap();
    child.wait().unwrap();
    time
}

fn first_line(path: &str) -> Duration {
    let mut command = pflow(path);
    command.args(["-o", "json"]).stdout(Stdio::piped());
    first(&mut command, |child| {
        let mut line = String::new();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        output.read_line(&mut line).unwrap();
        assert!(line.starts_with('{') && line.ends_with("}\n"));
    })
}

fn first_datagram(path: &str, sink: &UdpSocket) -> Duration {
    let mut buffer = [0; 2048];
    // What earlier replays left in its queue.
    sink.set_nonblocking(true).unwrap();
    while sink.recv(&mut buffer).is_ok() {}
    sink.set_nonblocking(false).unwrap();
    first(&mut exporting(path, sink.local_addr().unwrap()), |_| {
        assert_eq!(sink.recv(&mut buffer).unwrap(), 24 + 30 * 48);
    })
}

/// The most memory that a process ever had, kB, if the system tells, and its processor time.
fn peak(mut child: Child) -> (Option<u64>, Duration) {
    let status = format!("/proc/{}/status", child.id());
    let before = children_cpu();
    let mut most = None;
    loop {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let number = line.and_then(|line| line.split_whitespace().next());
        most = number.and_then(|n| n.parse().ok()).max(most);
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success());
            return (most, children_cpu() - before);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
