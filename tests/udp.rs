//! UDP that tells what became of the datagrams: closed ports, a rate, several collectors.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    missing_docs,
    reason = "a test that is wrong may panic"
)]

mod common;
mod running;

use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use running::{Collectors, Pflow};

/// Runs a replay of a small capture; its log.
fn replay(words: &str) -> (Output, String) {
    let capture = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/mix200.openbsd-v6.pcap");
    let mut command = Command::new(env!("CARGO_BIN_EXE_pflow"));
    command.args(["-a", "-r"]).arg(capture);
    let output = command.args(words.split_whitespace()).output().unwrap();
    let log = String::from_utf8(output.stderr.clone()).unwrap();
    (output, log)
}

/// An address at which nobody listens any more.
fn closed() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.local_addr().unwrap()
}

/// The number before `what` in a log.
fn number(log: &str, what: &str) -> u64 {
    let (before, _) = log.split_once(what).unwrap_or_else(|| panic!("{log}"));
    before.rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn a_replay_to_a_closed_port_says_so_and_fails() {
    let to = closed();
    let (output, log) = replay(&format!("pflow0 flowdst {to}"));
    assert_eq!(output.status.code(), Some(1), "{log}");
    let told = format!("pflow0: nobody listens at {to}\n");
    assert_eq!(log.matches(&told).count(), 1, "once a minute: {log}");
    let sent = number(&log, " datagrams sent");
    assert_eq!(number(&log, " reports that nobody listens"), sent, "{log}");
}

#[test]
fn a_replay_that_one_of_two_collectors_takes_succeeds() {
    let sink = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (dead, live) = (closed(), sink.local_addr().unwrap());
    let words = format!("-e pflow1\tflowdst\t{dead} pflow0 flowdst {live}");
    let capture = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/mix200.openbsd-v6.pcap");
    let mut command = Command::new(env!("CARGO_BIN_EXE_pflow"));
    command.args(["-a", "-r"]).arg(capture);
    command.args(words.split(' ').map(|word| word.replace('\t', " ")));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(
        log.contains(&format!("pflow1: nobody listens at {dead}")),
        "{log}"
    );
}

#[test]
fn a_replay_sends_no_faster_than_its_rate() {
    let sink = UdpSocket::bind("127.0.0.1:0").unwrap();
    let to = sink.local_addr().unwrap();
    let took = |rate: &str| {
        let begun = Instant::now();
        let (output, log) = replay(&format!("pflow0 flowdst {to} mtu 72 rate {rate}"));
        assert!(output.status.success(), "{log}");
        (number(&log, " datagrams sent"), begun.elapsed())
    };
    let (sent, elapsed) = took("500");
    assert!(sent > 100, "{sent}");
    let least = Duration::from_millis(2) * u32::try_from(sent - 1).unwrap();
    assert!(elapsed >= least, "{sent} datagrams in {elapsed:?}");
    // Without a rate as many go at once.
    assert_eq!(took("none").0, sent);
}

#[test]
fn pflowctl_shows_that_nobody_listens() {
    let collectors = Collectors::new();
    let (dead, live) = (closed(), collectors.add("127.0.0.1:0"));
    let mut pflow = Pflow::start(&["pflow0", "flowdst", &dead.to_string()]);
    // The second datagram meets the report of the first.
    for id in [1, 2] {
        pflow.end_states(id..id + 1);
        pflow.settle();
    }
    let shown = pflow.good(&["-l", "-v"]);
    assert!(
        shown.ends_with("socket: connected, nobody listens\n"),
        "{shown}"
    );
    let status = pflow.good(&["pflow0"]);
    assert!(status.contains("\tcollector: nobody listens\n"), "{status}");
    assert!(pflow.counter("interface", Some("pflow0"), "refused") > 0);
    let json = pflow.good(&["-j", "pflow0"]);
    assert!(json.contains("\"collector\":\"nobody listens\""), "{json}");
    // Another collector is another matter.
    pflow.good(&["pflow0", "flowdst", &live.to_string()]);
    let status = pflow.good(&["pflow0"]);
    assert!(!status.contains("collector:"), "{status}");
}

/// Warnings of `pflow -n` for lines.
fn warnings(lines: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pflow"));
    command.args(["-n", "-f", "/dev/null"]);
    for line in lines {
        command.args(["-e", line]);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn two_interfaces_that_a_collector_takes_for_one_are_worth_a_warning() {
    let first = "pflow0 flowdst 192.0.2.1:9995";
    let same = warnings(&[first, "pflow7 flowdst 192.0.2.1:9995"]);
    let expected = "pflow: warning: pflow7: the same collector and engine as pflow0: \
                    most collectors cannot tell them apart\n";
    assert_eq!(same, expected);
    for other in [
        "pflow7 flowdst 192.0.2.1:9995 engine 42 43",
        "pflow7 flowdst 192.0.2.1:9996",
        "pflow7 flowdst 192.0.2.1:9995 pflowproto 10",
        "pflow7 flowdst 192.0.2.1:9995 down",
    ] {
        assert_eq!(warnings(&[first, other]), "", "{other}");
    }
    let both = "flowdst 192.0.2.1:9995 pflowproto 10 domain creatorid";
    let lines = [format!("pflow0 {both}"), format!("pflow1 {both}")];
    let same = warnings(&[&lines[0], &lines[1]]);
    assert!(same.contains("collector and domain as pflow0"), "{same}");
    let lines = lines.map(|line| line.replace("pflowproto 10", "pflowproto 9"));
    let same = warnings(&[&lines[0], &lines[1]]);
    assert!(same.contains("collector and domain as pflow0"), "{same}");
}

#[test]
fn netflow_goes_where_messages_are_kept_apart_and_v9_has_a_word_of_its_own() {
    for (words, told) in [
        (
            "pflowproto 9 transport tcp",
            "transport: IPFIX only (pflowproto 10): other messages do not tell",
        ),
        (
            "pflowproto 9 transport tls ca /c",
            "transport: IPFIX only (pflowproto 10): other messages do not tell",
        ),
        (
            "pflowproto 9 transport dtls ca /c spool /d 1M",
            "spool: IPFIX only (pflowproto 10)",
        ),
        (
            "transport dtls ca /c",
            "transport: not with pflowproto 5, which goes over UDP",
        ),
        (
            "transport sctp",
            "transport: not with pflowproto 5, which goes over UDP",
        ),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pflow"));
        let line = format!("pflow0 flowdst 192.0.2.1:1 {words}");
        command.args(["-n", "-f", "/dev/null", "-e", &line]);
        let output = command.output().unwrap();
        let problem = String::from_utf8(output.stderr).unwrap();
        assert!(
            !output.status.success() && problem.contains(told),
            "{words}: {problem}"
        );
    }
    let told = "pflow: warning: pflow0: refreshpackets: means nothing without pflowproto 9\n";
    assert_eq!(warnings(&["pflow0 refreshpackets 9 pflowproto 10"]), told);
    assert_eq!(warnings(&["pflow0 refreshpackets 9 pflowproto 9"]), "");
    let told = "pflow: warning: pflow0: refreshpackets: only transport udp has a use for it\n";
    let line = "pflow0 refreshpackets 9 pflowproto 9 transport sctp flowdst 192.0.2.1:1";
    assert_eq!(warnings(&[line]), told);
}
