//! Flows in files, by the program as it is: rotation, gzip, a crash, a full disk, a time zone.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    missing_docs,
    reason = "a test that is wrong may panic"
)]

mod common;
mod running;

use std::collections::BTreeMap;
use std::io::Read;
use std::process::{Command, Output};

use running::{Collectors, Directory, Pflow};

/// What a reader of IPFIX makes of messages in order. It knows RFC 7011 and nothing of pflow.
#[derive(Debug, Default, Eq, PartialEq)]
struct Totals {
    records: u64,
    octets: u64,
    packets: u64,
}

const OCTETS: u16 = 1;
const PACKETS: u16 = 2;

fn u16_at(octets: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([octets[at], octets[at + 1]])
}

fn u32_at(octets: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(octets[at..at + 4].try_into().unwrap())
}

/// Reads one session: messages that begin with templates, in which none is missing.
fn session(mut octets: &[u8]) -> Totals {
    let mut templates: BTreeMap<u16, Vec<(u16, usize)>> = BTreeMap::new();
    let (mut read, mut export_time) = (Totals::default(), 0);
    assert_eq!(u16_at(octets, 16), 2, "templates come first");
    while !octets.is_empty() {
        assert_eq!(u16_at(octets, 0), 10);
        let len = usize::from(u16_at(octets, 2));
        assert!(
            u32_at(octets, 4) >= export_time,
            "the export time went back"
        );
        export_time = u32_at(octets, 4);
        assert_eq!(u64::from(u32_at(octets, 8)), read.records, "the sequence");
        let (message, rest) = octets.split_at(len);
        octets = rest;
        let mut sets = &message[16..];
        while !sets.is_empty() {
            let (id, len) = (u16_at(sets, 0), usize::from(u16_at(sets, 2)));
            let (set, rest) = sets.split_at(len);
            sets = rest;
            let mut body = &set[4..];
            while !body.is_empty() {
                body = match id {
                    2 => {
                        let count = usize::from(u16_at(body, 2));
                        let field = |n: usize| {
                            let at = 4 + 4 * n;
                            (u16_at(body, at), usize::from(u16_at(body, at + 2)))
                        };
                        let fields = (0..count).map(field).collect();
                        assert!(templates.insert(u16_at(body, 0), fields).is_none());
                        &body[4 + 4 * count..]
                    }
                    id => {
                        let mut at = 0;
                        for (element, len) in &templates[&id] {
                            let value = &body[at..at + len];
                            let number = value.iter().fold(0_u64, |n, b| n << 8 | u64::from(*b));
                            match *element {
                                OCTETS => read.octets += number,
                                PACKETS => read.packets += number,
                                _ => {}
                            }
                            at += len;
                        }
                        read.records += 1;
                        &body[at..]
                    }
                };
            }
        }
    }
    read
}

/// The files of a directory by name, as they are after gunzip(1).
fn files(directory: &Directory) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(directory.file("")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let mut octets = std::fs::read(&path).unwrap();
        if name.contains(".gz") && !octets.is_empty() {
            let packed = std::mem::take(&mut octets);
            let mut reader = flate2::read::MultiGzDecoder::new(&*packed);
            reader.read_to_end(&mut octets).unwrap();
        }
        files.insert(name, octets);
    }
    files
}

/// All that can be read in files of whole messages.
fn total(files: &BTreeMap<String, Vec<u8>>) -> Totals {
    let mut total = Totals::default();
    for octets in files.values() {
        let read = session(octets);
        total.records += read.records;
        total.octets += read.octets;
        total.packets += read.packets;
    }
    total
}

fn replay_command(words: &str) -> Command {
    let capture = running::testdata("mix200.openbsd-v6.pcap");
    let mut command = Command::new(env!("CARGO_BIN_EXE_pflow"));
    command.args(["-a", "-r"]).arg(capture);
    command.args(words.split_whitespace());
    command
}

fn replay(words: &str) -> Output {
    let output = replay_command(words).output().unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{log}");
    output
}

/// What a collector over UDP reads of the same capture.
fn over_udp() -> Totals {
    let collectors = Collectors::new();
    let to = collectors.add("127.0.0.1:0");
    replay(&format!("pflow0 pflowproto 10 flowdst {to} refresh 86400"));
    let mut octets = collectors.next().payload;
    // Loopback delivers before send(2) returns. Only the reader may be behind.
    std::thread::sleep(std::time::Duration::from_millis(300));
    for datagram in collectors.rest() {
        // The templates are told again after the silence of the capture's end.
        if u16_at(&datagram.payload, 16) != 2 {
            octets.extend(datagram.payload);
        }
    }
    session(&octets)
}

#[test]
fn a_replay_into_files_has_what_udp_has_and_the_same_octets_each_time() {
    let udp = over_udp();
    assert!(udp.records > 200, "{udp:?}");
    let run = |name: &str, more: &str| {
        let directory = Directory::new();
        let pattern = directory.file(name);
        replay(&format!("pflow0 pflowproto 10 file {pattern} {more}"));
        files(&directory)
    };
    let first = run("f.%s.ipfix", "rotate 30");
    assert!(first.len() > 2, "{:?}", first.keys());
    assert_eq!(total(&first), udp);
    for (name, octets) in &first {
        let begin: u32 = name[2..12].parse().unwrap();
        assert_eq!(begin % 30, 0, "{name}");
        let export_time = u32_at(octets, 4);
        assert!((begin..begin + 30).contains(&export_time), "{name}");
    }
    assert_eq!(run("f.%s.ipfix", "rotate 30"), first);
    let packed = run("f.%s.ipfix", "rotate 30 compress gzip");
    let names: Vec<_> = first.keys().map(|name| format!("{name}.gz")).collect();
    assert!(packed.keys().eq(&names), "{:?}", packed.keys());
    assert!(packed.values().eq(first.values()));
    let one = run("all.ipfix", "");
    assert_eq!((one.len(), total(&one)), (1, udp));
    let last = run("f.%s.ipfix", "rotate 30 retain 2");
    let names: Vec<_> = first.keys().skip(first.len() - 2).collect();
    assert_eq!(last.keys().collect::<Vec<_>>(), names);
}

#[test]
fn names_have_local_time_and_a_name_that_is_taken_gets_a_number() {
    let directory = Directory::new();
    let words = format!(
        "pflow0 pflowproto 10 file {} rotate 86400",
        directory.file("%Y%m%d%H%z")
    );
    for _ in 0..2 {
        let mut command = replay_command(&words);
        let output = command.env("TZ", "XYZ-5:30").output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    let files = files(&directory);
    let names: Vec<_> = files.keys().collect();
    let [first, second] = names[..] else {
        panic!("{names:?}");
    };
    // A period begins at midnight of UTC.
    assert!(first.ends_with("05+0530"), "{first}");
    assert_eq!(*second, format!("{first}.1"));
    assert_eq!(files[first], files[second]);
}

#[test]
fn what_cannot_be_is_refused_with_the_reason() {
    let refused = |words: &str| {
        let output = replay_command(words).output().unwrap();
        assert!(!output.status.success(), "{words}");
        String::from_utf8(output.stderr).unwrap()
    };
    let problem = refused("pflow0 pflowproto 10 file /nonexistent/f.%s");
    let told = "pflow0: file: /nonexistent/f.%s: No such file or directory";
    assert!(problem.contains(told), "{problem}");
    for (words, told) in [
        ("file /f flowdst 127.0.0.1:9", "file: there is a flowdst"),
        ("file /f pflowproto 5", "file: IPFIX only"),
        ("file /f tap /t", "tap: there is a file already"),
        ("file /%Y/f", "file: only the name of the file"),
    ] {
        let problem = refused(&format!("pflow0 pflowproto 10 {words}"));
        assert!(problem.contains(told), "{words}: {problem}");
    }
    let check = |words: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pflow"));
        let output = command
            .args(["-n", "-f", "/dev/null", "-e", words])
            .output();
        let output = output.unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let warned = check("pflow0 rotate 60 retain 2 compress gzip");
    for word in ["rotate", "retain", "compress"] {
        let line = format!("pflow: warning: pflow0: {word}: means nothing without file\n");
        assert!(warned.contains(&line), "{warned}");
    }
    let warned = check("pflow0 pflowproto 10 file /f rotate 60 rate none");
    assert!(
        warned.contains("rate: means nothing with file\n"),
        "{warned}"
    );
    let told = "rotate: means nothing in a file whose name has no time\n";
    assert!(warned.contains(told), "{warned}");
    assert_eq!(
        check("pflow0 pflowproto 10 file /f-%s rotate 60 retain 2"),
        ""
    );
}

#[test]
fn what_a_killed_program_wrote_can_be_read_and_the_next_one_finishes_it() {
    for more in ["", " compress gzip"] {
        let directory = Directory::new();
        let pattern = directory.file("f.%s");
        let line = format!("pflow0 pflowproto 10 file {pattern}{more}");
        let mut pflow = Pflow::start(&["-e", &line]);
        pflow.end_states(1..40);
        // The thread has opened it, and written to it, when pflowctl says so.
        while !pflow.good(&["pflow0"]).contains("\tfile: ") {}
        if more.is_empty() {
            while pflow.counter("interface", Some("pflow0"), "records_sent") < 78 {}
        }
        pflow.kill();
        let left = files(&directory);
        assert_eq!(left.len(), 1);
        let (name, octets) = left.iter().next().unwrap();
        assert!(name.ends_with(".current"), "{name}");
        if more.is_empty() {
            assert_eq!(session(octets).records, 78);
            // As if the system had written a part of a message more.
            let torn = [&octets[..], &octets[..50]].concat();
            std::fs::write(directory.file(name), torn).unwrap();
        }
        let mut pflow = Pflow::start(&["-e", &line]);
        pflow.end_states(40..50);
        pflow.statistics().check_sums();
        let log = pflow.finish();
        let files = files(&directory);
        assert!(
            !files.keys().any(|name| name.contains("current")),
            "{files:?}"
        );
        if more.is_empty() {
            assert!(
                log.contains("left by a program that was killed, finished"),
                "{log}"
            );
            let read: Vec<_> = files.values().map(|file| session(file).records).collect();
            assert_eq!(read, [78, 20]);
        } else {
            // Nothing was written yet that could be compressed with other messages.
            assert_eq!(total(&files).records, 20);
        }
    }
}

#[test]
fn a_full_disk_leaves_whole_messages_and_what_is_lost_is_counted_and_told() {
    let udp = over_udp();
    for more in ["", "compress gzip"] {
        let directory = Directory::new();
        let pattern = directory.file("f.%s");
        let capture = running::testdata("mix200.openbsd-v6.pcap");
        let script = format!(
            "trap '' XFSZ; ulimit -f 8; exec {} -a -r {} pflow0 pflowproto 10 file {pattern} {more}",
            env!("CARGO_BIN_EXE_pflow"),
            capture.display()
        );
        let output = Command::new("sh").args(["-c", &script]).output().unwrap();
        let log = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{log}");
        assert_eq!(log.matches("File too large").count(), 1, "{log}");
        assert_eq!(log.matches("; flows wait\n").count(), 1, "{log}");
        let read = total(&files(&directory));
        let (before, _) = log.split_once(" records not written").unwrap();
        let lost: u64 = before.rsplit(' ').next().unwrap().parse().unwrap();
        assert!(
            lost > 0 && (more.is_empty() == (read.records > 0)),
            "{read:?}"
        );
        assert_eq!(read.records + lost, udp.records, "{log}");
    }
}

#[test]
fn pflowctl_shows_the_file_and_changes_to_another() {
    let directory = Directory::new();
    let pattern = directory.file("f.%s");
    let line = format!("pflow0 pflowproto 10 file {pattern}");
    let mut pflow = Pflow::start(&["-e", &line]);
    pflow.end_states(1..10);
    while pflow.counter("interface", Some("pflow0"), "records_sent") < 18 {}
    pflow.statistics().check_sums();
    let shown = pflow.good(&["pflow0"]);
    let begin = common::T0 - common::T0.rem_euclid(3600);
    let current = format!("{}.current", directory.file(&format!("f.{begin}")));
    let len = std::fs::metadata(&current).unwrap().len();
    let line = format!("\tfile: {current}, {len} octets\n");
    assert!(shown.contains(&line), "{shown}");
    assert!(shown.contains("<UP,RUNNING>"), "{shown}");
    let json: serde_json::Value = serde_json::from_str(&pflow.good(&["-j", "pflow0"])).unwrap();
    assert_eq!(json["currentFile"], current);
    assert_eq!(json["currentFileOctets"], len);
    let refused = pflow.bad(&["tap", "pflow0"]);
    assert!(refused.contains("writes files"), "{refused}");
    let other = directory.file("g.%s");
    pflow.good(&["pflow0", "file", &other]);
    pflow.end_states(10..15);
    pflow.good(&["pflow0", "-file"]);
    let statistics = pflow.statistics();
    statistics.check_sums();
    let of = |name: &str| statistics.get("interface", Some("pflow0"), name);
    assert_eq!((of("files"), of("records_sent"), of("held")), (2, 28, 0));
    let files = files(&directory);
    let names: Vec<_> = files.keys().cloned().collect();
    assert_eq!(names, [format!("f.{begin}"), format!("g.{begin}")]);
    let read: Vec<_> = files.values().map(|file| session(file).records).collect();
    assert_eq!(read, [18, 10]);
}
