//! pflowctl against a pflow that runs: what OpenBSD's regress/sys/net/pflow and FreeBSD's
//! tests/sys/netpfil/pf/pflow.sh ask of ifconfig(8) and pflowctl(8), and what is ours.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test that is wrong may panic"
)]

mod common;
mod running;

use std::io::Write;
use std::process::{Command, Output, Stdio};

use common::{Key, M, St};
use pflow::control::request::SHOWN;
use pflow::ctl::SHELLS;
use running::{Collectors, Directory, Pflow, testdata};
use serde_json::Value;

/// What ifconfig.ok of the regress suite shows, with the lines that newer systems add left out.
fn status(flags: &str, mtu: u32, line: &str) -> String {
    format!("pflow0: flags={flags} mtu {mtu}\n\tpriority: 0\n\tpflow: {line}\n\tgroups: pflow\n")
}

#[test]
fn openbsds_ifconfig_transcript() {
    let pflow = Pflow::start(&[]);
    let collectors = Collectors::new();
    let collector = collectors.add("127.0.0.1:0");
    let shows = |expected: String| assert_eq!(pflow.good(&["pflow0"]), expected);
    let silent = |words: &[&str]| {
        let words = [&["pflow0"], words].concat();
        assert_eq!(pflow.good(&words), "", "{words:?}");
    };
    let fresh = status("1<UP>", 1492, "receiver: INVALID:INVALID version: 5");
    silent(&["create"]);
    shows(fresh.clone());
    silent(&["flowdst", &collector.to_string()]);
    let receiver = &format!("receiver: {collector}");
    let running = "41<UP,RUNNING>";
    shows(status(running, 1492, &format!("{receiver} version: 5")));
    silent(&["flowsrc", "127.0.0.1"]);
    let both = format!("sender: 127.0.0.1 {receiver}");
    shows(status(running, 1492, &format!("{both} version: 5")));
    silent(&["pflowproto", "10"]);
    shows(status(running, 1448, &format!("{both} version: 10")));
    // RUNNING is UP and a socket.
    silent(&["down"]);
    shows(status("0<>", 1448, &format!("{both} version: 10")));
    silent(&["up"]);
    shows(status(running, 1448, &format!("{both} version: 10")));
    silent(&["pflowproto", "5"]);
    silent(&["-flowdst"]);
    let line = "sender: 127.0.0.1 receiver: INVALID:INVALID version: 5";
    shows(status("1<UP>", 1492, line));
    silent(&["-flowsrc"]);
    shows(fresh);
    silent(&["destroy"]);
    assert_eq!(
        pflow.bad(&["pflow0"]),
        "pflowctl: pflow0: no such interface\n"
    );
    assert_eq!(
        pflow.bad(&["pflow0", "destroy"]),
        "pflowctl: pflow0: no such interface\n"
    );
}

#[test]
fn openbsds_bad_values_are_refused_and_change_nothing() {
    let pflow = Pflow::start(&["pflow0", "flowdst", "127.0.0.1:9"]);
    let before = pflow.good(&["pflow0"]);
    for words in [
        // ifconfig of today takes an address without a port, stores port 0 and sends nothing. The
        // regress suite of 2014 expects `bad value`, and so do we: it is never meant.
        "flowdst 127.0.0.1",
        "flowdst host:9996",
        "flowdst 127.0.0.1:65536",
        "flowdst 127.0.0.1:x",
        "flowdst 127.0.0.1.1:9996",
        "flowdst ::1:9996",
        "flowsrc 127.0.0.256",
        "pflowproto 7",
        "pflowproto 23",
        "pflowproto x",
        "mtu 71",
        "flowdst",
    ] {
        let words: Vec<_> = ["pflow0"]
            .into_iter()
            .chain(words.split_whitespace())
            .collect();
        let problem = pflow.bad(&words);
        assert!(
            problem.starts_with(&format!("pflowctl: {}: ", words[1])),
            "{words:?}: {problem}"
        );
        assert_eq!(pflow.good(&["pflow0"]), before, "{words:?}");
    }
    // The address is of no interface here: EADDRNOTAVAIL, before anything has changed. The kernel
    // keeps the new flowsrc, and no socket.
    let problem = pflow.bad(&["pflow0", "flowsrc", "192.0.2.99"]);
    assert!(
        problem.starts_with("pflowctl: pflow0: flowsrc 192.0.2.99: "),
        "{problem}"
    );
    assert_eq!(pflow.good(&["pflow0"]), before);
}

#[test]
fn a_port_or_an_address_of_zero_is_stored_and_not_running() {
    let pflow = Pflow::start(&["pflow0", "flowdst", "127.0.0.1:0"]);
    let line = "receiver: 127.0.0.1:INVALID version: 5";
    assert_eq!(pflow.good(&["pflow0"]), status("1<UP>", 1492, line));
    pflow.good(&["pflow0", "flowdst", "0.0.0.0:1234"]);
    let line = "receiver: INVALID:1234 version: 5";
    assert_eq!(pflow.good(&["pflow0"]), status("1<UP>", 1492, line));
    pflow.good(&["pflow0", "flowdst", "[::1]:9996"]);
    let line = "receiver: [::1]:9996 version: 5";
    let shown = pflow.good(&["pflow0"]);
    assert!(shown.contains(line), "{shown}");
}

/// The arguments that set pflow0.
fn set<'a>(words: &[&'a str]) -> Vec<&'a str> {
    [&["-s", "pflow0"], words].concat()
}

#[test]
fn freebsds_basic() {
    let pflow = Pflow::start(&[]);
    let name = pflow.good(&["-c"]);
    assert_eq!(name, "pflow0\n");
    assert_eq!(
        pflow.good(&["-l"]),
        "pflow0: version 5 domain 42\n",
        "the default domain is the kernel's"
    );
    pflow.bad(&set(&["dst", "256.0.0.1:4000"]));
    pflow.bad(&set(&["dst", "192.0.0.2:400000"]));
    pflow.good(&set(&["dst", "192.0.2.2:4000"]));
    pflow.bad(&set(&["proto", "7"]));
    pflow.good(&set(&["proto", "5"]));
    pflow.good(&set(&["proto", "10"]));
    pflow.good(&set(&["domain", "13"]));
    assert_eq!(
        pflow.good(&["-l"]),
        "pflow0: version 10 domain 13 dst 192.0.2.2:4000\n"
    );
    // The rest of its grammar: a number instead of a name, many settings at once, -v, -d.
    assert_eq!(pflow.good(&["-c"]), "pflow1\n");
    pflow.good(&[
        "-s",
        "1",
        "src",
        "[::1]",
        "dst",
        "[::1]:4739",
        "proto",
        "10",
    ]);
    // Nobody listens there, which may have been reported already.
    let told = [", nobody listens", ", cannot be reached"];
    let shown = pflow.good(&["-l", "-v"]);
    assert_eq!(
        told.iter()
            .fold(shown, |shown, told| shown.replace(told, "")),
        "pflow0: version 10 domain 13 dst 192.0.2.2:4000\n\tsocket: connected\n\
         pflow1: version 10 domain 42 src [::1] dst [::1]:4739\n\tsocket: connected\n"
    );
    pflow.good(&["-d", "0"]);
    let problem = pflow.bad(&["-d", "pflow0"]);
    assert_eq!(problem, "pflowctl: pflow0: no such interface\n");
    // What is set has to be there.
    let problem = pflow.bad(&set(&["proto", "5"]));
    assert_eq!(problem, "pflowctl: pflow0: no such interface\n");
    // The lowest number that is free.
    assert_eq!(pflow.good(&["-c"]), "pflow0\n");
    let list = pflow.good(&["-lv"]);
    let first = "pflow0: version 5 domain 42\n\tsocket: disconnected\n";
    assert!(list.starts_with(first), "{list}");
}

/// A ping: its state learned and ended, and time enough for what it makes to be sent.
fn ping(pflow: &mut Pflow, id: u64, flags: u16, key: Key) {
    let ping = St {
        proto: if key.addr[0].is_ipv4() { 1 } else { 58 },
        timeout: 10,
        flags,
        ..St::udp(id)
    };
    let ping = ping.keyed(key).count([1, 1], [84, 84]);
    pflow.send(&[M::Ins(ping), M::del_c(&ping)]);
    pflow.pass(2000);
    pflow.settle();
}

/// The version in a datagram's header.
fn version(payload: &[u8]) -> u16 {
    u16::from_be_bytes([payload[0], payload[1]])
}

/// The first data message of version 10: templates are not flows.
fn next_flows(collectors: &Collectors) -> Vec<u8> {
    loop {
        let payload = collectors.next().payload;
        if version(&payload) != 10 || payload[16..18] != [0, 2] {
            return payload;
        }
    }
}

#[test]
fn freebsds_state_defaults() {
    let collectors = Collectors::new();
    let to = collectors.add("127.0.0.1:0").to_string();
    let mut pflow = Pflow::start(&[]);
    assert_eq!(pflow.good(&["-c"]), "pflow0\n");
    pflow.good(&["-s", "pflow0", "dst", &to, "hold", "1"]);
    let key = Key::new("192.0.2.1", 8, "192.0.2.2", 4711);
    // `pass` alone: no data.
    ping(&mut pflow, 1, 0, key);
    let counted = pflow.statistics();
    assert_eq!(counted.get("interface", Some("pflow0"), "datagrams"), 0);
    assert_eq!(counted.get("table", None, "held"), 0);
    assert_eq!(collectors.rest(), []);
    // `set state-defaults pflow`: v=5.
    ping(&mut pflow, 2, common::PFLOW, key);
    let flows = collectors.next().payload;
    assert_eq!((version(&flows), flows.len()), (5, 24 + 2 * 48));
    // `proto 10`: v=10.
    pflow.good(&["-s", "pflow0", "proto", "10"]);
    ping(&mut pflow, 3, common::PFLOW, key);
    let flows = next_flows(&collectors);
    assert_eq!((version(&flows), flows.len()), (10, 20 + 2 * 54));
    pflow.finish();
}

#[test]
fn freebsds_v6() {
    let collectors = Collectors::new();
    let to = collectors.add("[::1]:0").to_string();
    let mut pflow = Pflow::start(&[]);
    assert_eq!(pflow.good(&["-c"]), "pflow0\n");
    pflow.good(&["-s", "pflow0", "dst", &to, "proto", "10", "hold", "1"]);
    let key = Key::new("2001:db8::1", 128, "2001:db8::2", 4711);
    ping(&mut pflow, 1, common::PFLOW, key);
    let flows = next_flows(&collectors);
    assert_eq!((version(&flows), flows.len()), (10, 20 + 2 * 78));
    pflow.finish();
}

#[test]
fn records_held_go_to_where_they_were_meant_to() {
    let collectors = Collectors::new();
    let [old, new] = [(); 2].map(|()| collectors.add("127.0.0.1:0"));
    let mut pflow = Pflow::start(&[]);
    pflow.good(&["pflow0", "flowdst", &old.to_string()]);
    let key = Key::new("192.0.2.1", 8, "192.0.2.2", 4711);
    ping(&mut pflow, 1, common::PFLOW, key);
    assert_eq!(pflow.counter("interface", Some("pflow0"), "held"), 2);
    pflow.good(&["pflow0", "flowdst", &new.to_string()]);
    assert_eq!(
        collectors.next().to,
        old,
        "held when it was meant for the old one"
    );
    ping(&mut pflow, 2, common::PFLOW, key);
    pflow.good(&["flush"]);
    assert_eq!(collectors.next().to, new);
    // As many again wait when the interface goes, and still go to its collector.
    ping(&mut pflow, 3, common::PFLOW, key);
    pflow.good(&["pflow0", "destroy"]);
    assert_eq!(collectors.next().to, new);
    assert_eq!(collectors.rest(), []);
    pflow.finish();
}

#[test]
fn a_wrong_word_is_answered_with_those_there_are() {
    let pflow = Pflow::start(&[]);
    for (words, problem) in [
        ("show stat", "stat: ambiguous, one of: states statistics"),
        (
            "show nothing",
            "nothing: unknown word, expected one of: config health interfaces metrics senders sources states statistics timeouts top",
        ),
        (
            "show",
            "show: expected one of: config health interfaces metrics senders sources states statistics timeouts top",
        ),
        (
            "show states port 70000",
            "70000: not a port, as 443, 1024:65535 or https",
        ),
        ("tap", "tap: expected an interface"),
        ("tap pflow7", "pflow7: no such interface"),
        ("reload", "a replay is not configured again"),
        ("reload now", "now: nothing may follow here"),
    ] {
        let words: Vec<_> = words.split_whitespace().collect();
        assert_eq!(pflow.bad(&words), format!("pflowctl: {problem}\n"));
    }
    let problem = pflow.bad(&["pflow0", "flowdest", "127.0.0.1:1"]);
    assert!(problem.contains("flowdst"), "{problem}");
    // A word may be cut while only one can be meant.
    assert_eq!(pflow.good(&["sh", "ti"]), pflow.good(&["show", "timeouts"]));
    pflow.good(&["pflow0", "flowd", "127.0.0.1:9", "pflowp", "10"]);
    assert_eq!(
        pflow.good(&["li", "pflow0"]),
        "pflow0: version 10 domain 42 dst 127.0.0.1:9\n"
    );
}

#[test]
fn without_a_pflow_it_says_so() {
    let directory = Directory::new();
    let socket = directory.file("none");
    let output = Command::new(env!("CARGO_BIN_EXE_pflowctl"))
        .args(["-s", &socket, "show", "config"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let problem = String::from_utf8(output.stderr).unwrap();
    assert!(problem.contains("is pflow running?"), "{problem}");
    let output = Command::new(env!("CARGO_BIN_EXE_pflowctl"))
        .arg("-Z")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
}

/// A pflow that holds 50 states, TCP and UDP by turns.
fn busy() -> Pflow {
    let mut pflow = Pflow::start(&["-a", "pflow3", "flowdst", "127.0.0.1:9", "hold", "7"]);
    for id in 0..50 {
        let far = format!("198.51.100.{id}");
        let key = Key::new(&far, 40_000, "192.0.2.7", 443);
        let st = if id % 2 == 0 {
            St::tcp(id)
        } else {
            St::udp(id)
        };
        let st = st.keyed(key).count([3, 4], [500, 600]).named("em0");
        pflow.send(&[M::Ins(st)]);
    }
    pflow.settle();
    pflow
}

#[test]
fn what_is_shown_as_json_parses() {
    let pflow = busy();
    let json = |words: &[&str]| -> Vec<Value> {
        let text = pflow.good(&[&["-j"], words].concat());
        let lines = text.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}")))
            .collect()
    };
    let are_text = ["config", "metrics"];
    for (name, ..) in SHOWN.iter().filter(|(name, ..)| !are_text.contains(name)) {
        let values = json(&["show", name]);
        assert!(!values.is_empty(), "{name}");
        assert!(values.iter().all(Value::is_object), "{name}");
    }
    let states = json(&["show", "states", "proto", "udp"]);
    assert_eq!(states.len(), 25);
    assert_eq!(states[0]["interface"], "em0");
    assert_eq!(states[0]["octets"], serde_json::json!([500, 600]));
    let interfaces = json(&["pflow3"]);
    assert_eq!(interfaces[0]["flowdst"], "127.0.0.1:9");
    assert_eq!(interfaces[0]["hold"], 7);
    assert_eq!(json(&["-l"]), interfaces);
    let senders = json(&["show", "senders"]);
    assert_eq!(senders[0]["sender"], "10.0.0.1");
    assert_eq!(senders[0]["states"], 50);
    assert_eq!(json(&["-c"])[0]["interface"], "pflow0");
}

#[test]
fn what_is_shown_to_people_has_what_they_look_for() {
    let pflow = busy();
    for (name, parts) in [
        ("config", &["pflow3 ", "flowdst 127.0.0.1:9", "hold 7"][..]),
        (
            "health",
            &["-: ", "10.0.0.1: v6", ", 50 states", "flows: 0 exported"],
        ),
        (
            "metrics",
            &["pflow_table_held 50\n", "interface=\"pflow3\"", "# EOF\n"],
        ),
        ("interfaces", &["pflow3: flags=41<UP,RUNNING>", "hold 7"]),
        ("senders", &["10.0.0.1: ", "50 states", "5f3a9c01"]),
        ("sources", &["-:"]),
        (
            "states",
            &["em0 tcp 192.0.2.7:443 <- 198.51.100.2:40000", "3:4 pkts"],
        ),
        ("statistics", &["50 states held", "interface pflow3:"]),
        ("timeouts", &["tcp.first", "udp.multiple"]),
    ] {
        let text = pflow.good(&["show", name]);
        for part in parts {
            assert!(
                text.contains(part),
                "show {name}: {part} is not in:\n{text}"
            );
        }
    }
    // netstat -s -p pflow comes first (inet.c, `pflow_stats`).
    let text = pflow.good(&["show", "statistics"]);
    let begin = "pflow:\n\t0 flows sent\n\t0 packets sent\n\t\t0 send failed due to mbuf memory error\n\t\t0 send error\n";
    assert!(text.starts_with(begin), "{text}");
    let help = pflow.good(&["help"]);
    for (name, ..) in SHOWN {
        assert!(help.contains(&format!("show {name}")), "{name}");
    }
}

#[test]
fn states_are_filtered_by_everything_there_is_a_word_for() {
    let pflow = busy();
    let count = |filter: &str| {
        let words = ["show", "states"].into_iter();
        let words: Vec<_> = words.chain(filter.split_whitespace()).collect();
        let text = pflow.good(&words);
        text.matches("creatorid").count()
    };
    assert_eq!(count(""), 50);
    assert_eq!(count("proto tcp"), 25);
    assert_eq!(count("address 198.51.100.7"), 1);
    assert_eq!(count("address 198.51.100.0/28"), 16);
    assert_eq!(count("port 443"), 50);
    assert_eq!(count("port 80"), 0);
    assert_eq!(count("interface em0 direction in"), 50);
    assert_eq!(count("interface em1"), 0);
    assert_eq!(count("direction out"), 0);
    assert_eq!(count("sender 10.0.0.1"), 50);
    assert_eq!(count("sender 10.0.0.2"), 0);
    assert_eq!(count("age 0"), 50);
    assert_eq!(count("age 3600"), 0);
}

/// `pflow -n -f` of a configuration.
fn checked(directory: &Directory, config: &str) -> Output {
    let file = directory.file("conf");
    std::fs::write(&file, config).unwrap();
    Command::new(env!("CARGO_BIN_EXE_pflow"))
        .args(["-n", "-f", &file])
        .output()
        .unwrap()
}

#[test]
fn the_configuration_shown_reads_back_as_itself() {
    let mut pflow = Pflow::start(&["pflow0", "flowdst", "127.0.0.1:9"]);
    let tap = pflow.directory.file("a tap");
    let quoted = format!("\"{tap}\"");
    for line in [
        "pflow0 flowsrc 127.0.0.1:4000 pflowproto 10 mtu 600 template freebsd domain 7 hold 3",
        "pflow12 flowdst [::1]:4739 refresh 60 direction out down",
        &format!("pflow12 tap {quoted}"),
        "pflow3 create",
        "timeout udp.multiple 77",
        "ifindex em0 4",
        "states 5000",
        "flush active",
    ] {
        assert_eq!(pflow.ask(line), Ok(String::new()), "{line}");
    }
    let shown = pflow.good(&["show", "config"]);
    for part in ["mtu 600", "refresh 60", "udp.multiple 77", &quoted] {
        assert!(shown.contains(part), "{part} is not in:\n{shown}");
    }
    let output = checked(&pflow.directory, &shown);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), shown);
}

#[test]
fn the_read_only_socket_answers_show_only() {
    let directory = Directory::new();
    let readonly = directory.file("ro");
    let line = format!("socket ro {readonly}");
    let mut pflow = Pflow::start_in(directory, &["-e", &line, "pflow0"]);
    let full = std::mem::replace(&mut pflow.socket, readonly);
    let shown = pflow.good(&["pflow0"]);
    assert!(shown.contains("flags=1<UP>"), "{shown}");
    for (name, ..) in SHOWN {
        pflow.good(&["show", name]);
    }
    pflow.good(&["-l"]);
    pflow.good(&["help"]);
    for words in [
        "pflow0 down",
        "pflow create",
        "flush",
        "flush active",
        "reload",
        "log verbose",
        "tap pflow0",
        "states 10",
    ] {
        let words: Vec<_> = words.split_whitespace().collect();
        assert_eq!(
            pflow.bad(&words),
            "pflowctl: this socket answers show only\n",
            "{words:?}"
        );
    }
    pflow.socket = full;
    assert_eq!(pflow.good(&["pflow0"]), shown);
}

#[test]
fn completions_know_every_word_and_suit_their_shell() {
    for (shell, _) in SHELLS {
        let output = Command::new(env!("CARGO_BIN_EXE_pflowctl"))
            .args(["-C", shell])
            .output()
            .unwrap();
        assert!(output.status.success());
        let script = String::from_utf8(output.stdout).unwrap();
        for (name, ..) in SHOWN {
            assert!(script.contains(name), "{shell}: {name}");
        }
        assert!(
            script.contains("flowdst") && script.contains("pflowctl"),
            "{shell}"
        );
        // Every shell that is there reads its own; bash is everywhere this is developed.
        let reader = Command::new(shell)
            .arg("-n")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let Ok(mut reader) = reader else {
            println!("no {shell} here");
            continue;
        };
        let mut input = reader.stdin.take().unwrap();
        input.write_all(script.as_bytes()).unwrap();
        drop(input);
        let output = reader.wait_with_output().unwrap();
        assert!(output.status.success(), "{shell}: {output:?}");
    }
}

#[test]
fn a_capture_that_ends_takes_the_socket_with_it() {
    let directory = Directory::new();
    let socket = directory.file("sock");
    let output = Command::new(env!("CARGO_BIN_EXE_pflow"))
        .args(["-o", "none", "-s", &socket, "-r"])
        .arg(testdata("mix200.openbsd-v6.pcap"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(!std::path::Path::new(&socket).exists());
}

#[test]
fn top_without_a_terminal_is_one_answer() {
    let mut pflow = Pflow::start(&["-a"]);
    let big = St {
        octets: [5_000_000, 1],
        ..St::tcp(2)
    };
    pflow.send(&[M::Ins(St::tcp(1)), M::Ins(big), M::Ins(St::tcp(3))]);
    pflow.settle();
    let lines =
        |words: &[&str]| -> Vec<String> { pflow.good(words).lines().map(str::to_owned).collect() };
    let listed = lines(&["top", "by", "octets", "2"]);
    assert_eq!(listed.len(), 4, "{listed:?}");
    assert!(
        listed[0].starts_with("2 of 3 states by octets; in all "),
        "{listed:?}"
    );
    let heads: Vec<_> = listed[1].split_whitespace().collect();
    assert_eq!(
        heads.join(" "),
        "PR DIR SRC DEST STATE AGE EXP PKTS BYTES RATE"
    );
    assert!(listed[2].contains(" 5000001 "), "{listed:?}");
    assert_eq!(lines(&["show", "top", "by", "octets", "2"]), listed);
    // One argument may be the whole line, and the word may be cut.
    assert_eq!(lines(&["to by octets 2"]), listed);
    let objects = lines(&["-j", "top", "by", "-octets"]);
    let first: Value = serde_json::from_str(&objects[0]).unwrap();
    assert_eq!((first["by"].as_str(), objects.len()), (Some("-octets"), 4));
    assert_eq!(
        pflow.bad(&["top", "by", "size"]),
        "pflowctl: size: unknown word, expected one of: rate octets packets age silent expiry\n"
    );
}
