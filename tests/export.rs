//! What goes out, octet for octet: the real export of 2016, and the kernel's own for mix200.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    missing_docs,
    reason = "a test that is wrong may panic"
)]

use std::collections::HashMap;
use std::net::UdpSocket;
use std::path::PathBuf;
use std::process::{Command, Output};

use pflow::export::{Format, Interface, Order, Outbox, Settings, TemplateSet, transmit};
use pflow::flow::{Boot, End, Flow, Quality, Times, Tuple};
use pflow::state::{Address, Af, Direction, IfName, StateId};
use pflow::time::{Now, Wall};

/// When the firewall of the mix200 captures came up.
const BOOT: &str = "1699900000";

fn testdata(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("testdata")
        .join(name)
}

fn u16_at(b: &[u8], at: usize) -> u16 {
    u16::from_be_bytes(b[at..at + 2].try_into().unwrap())
}

fn u32_at(b: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(b[at..at + 4].try_into().unwrap())
}

fn u64_at(b: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(b[at..at + 8].try_into().unwrap())
}

/// The flow of two adjacent records of template 256, and its interface index.
fn flow_of(forward: &[u8], reverse: &[u8]) -> (Flow, u16) {
    let address = |at: usize| {
        Address::from(std::net::IpAddr::from(
            <[u8; 4]>::try_from(&forward[at..at + 4]).unwrap(),
        ))
    };
    let seconds = |at| i64::try_from(u64_at(forward, at) / 1000).unwrap();
    let (start, end) = (seconds(32), seconds(40));
    let now = Now::with_boot(Wall::new(end, 0), Wall::default());
    let times = Times::new(start, end, now, Boot::Known);
    let flow = Flow {
        id: StateId::default(),
        direction: Direction::In,
        ifname: IfName::default(),
        pflow: true,
        tuple: Tuple {
            af: Af::Inet,
            proto: forward[53],
            src: address(0),
            dst: address(4),
            sport: u16_at(forward, 48),
            dport: u16_at(forward, 50),
        },
        translated: None,
        packets: [u64_at(forward, 16), u64_at(reverse, 16)],
        octets: [u64_at(forward, 24), u64_at(reverse, 24)],
        times,
        end: End::Deleted,
        quality: Quality::Exact,
        detail: None,
        only: None,
    };
    (flow, u16::try_from(u32_at(forward, 8)).unwrap())
}

#[test]
fn the_real_export_of_2016_comes_out_again_octet_for_octet() {
    let template = std::fs::read(testdata("ipfix_test_openbsd_pflow_tpl.dat")).unwrap();
    let data = std::fs::read(testdata("ipfix_test_openbsd_pflow_data.dat")).unwrap();
    let now = |message: &[u8]| {
        Now::with_boot(
            Wall::new(i64::from(u32_at(message, 4)), 0),
            Wall::new(1_469_000_000, 0),
        )
    };
    let mut outbox = Outbox::default();
    let settings = Settings {
        flowdst: Some("127.0.0.1:9996".parse().unwrap()),
        format: Format::Ipfix,
        templates: TemplateSet::OpenBsd78,
        ..Settings::default()
    };
    let mut interface = Interface::new(0, settings.clone());
    interface.configure(now(&template), settings, &mut outbox);
    let records: Vec<&[u8]> = data[20..].chunks(54).collect();
    for pair in records.chunks(2) {
        let (flow, ifindex) = flow_of(pair[0], pair[1]);
        interface.offer(now(&data), &flow, ifindex, &mut outbox);
    }
    let interfaces = std::slice::from_mut(&mut interface);
    let transmit = transmit(&mut outbox, interfaces, Order::Packed);
    let sent: Vec<&[u8]> = transmit.iter().map(|(_, payload)| payload).collect();
    assert_eq!(records.len(), 26);
    assert_eq!(sent, [&template[..], &data[..]]);
}

/// Runs the real binary over a capture and gives what its interface sent.
fn replay(capture: &str, words: &str) -> (Vec<Vec<u8>>, Output) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let to = socket.local_addr().unwrap().to_string();
    let receiver = std::thread::spawn(move || {
        let mut datagrams = Vec::new();
        let mut buffer = vec![0; 65536];
        // An empty datagram says that the binary has ended.
        while let Ok(len) = socket.recv(&mut buffer) {
            if len == 0 {
                break;
            }
            datagrams.push(buffer[..len].to_vec());
        }
        datagrams
    });
    let output = Command::new(env!("CARGO_BIN_EXE_pflow"))
        .args(["-a", "-b", BOOT, "-r"])
        .arg(testdata(capture))
        .args(["pflow0", "flowdst", &to])
        .args(words.split_whitespace())
        .output()
        .unwrap();
    UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .send_to(&[], &to)
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    (receiver.join().unwrap(), output)
}

/// The UDP payloads of a kernel's export: nanosecond pcap, little-endian, LINKTYPE_RAW, IPv4.
fn kernel_export(name: &str) -> Vec<Vec<u8>> {
    let file = std::fs::read(testdata(name)).unwrap();
    let mut payloads = Vec::new();
    let mut at = 24;
    while at < file.len() {
        let len = u32::from_le_bytes(file[at + 8..at + 12].try_into().unwrap()) as usize;
        payloads.push(file[at + 16 + 28..at + 16 + len].to_vec());
        at += 16 + len;
    }
    payloads
}

/// A record apart from its times and interface indexes, and its start and end in seconds.
type Record = (Vec<u8>, i64, i64);

/// Where what stands in a record: interface indexes, start and end are cut out of the rest.
struct Layout {
    len: usize,
    indexes: std::ops::Range<usize>,
    times: std::ops::Range<usize>,
}

fn layout(set: u16, ids: &HashMap<u16, usize>) -> Option<Layout> {
    let len = *ids.get(&set)?;
    let addresses = if len == 78 { 32 } else { 8 };
    Some(Layout {
        len,
        indexes: addresses..addresses + 8,
        times: addresses + 24..addresses + 40,
    })
}

fn records(payloads: &[Vec<u8>], ids: &HashMap<u16, usize>) -> Vec<Record> {
    let mut records = Vec::new();
    for payload in payloads {
        if payload[1] == 5 {
            let base = i64::from(u32_at(payload, 8)) - i64::from(u32_at(payload, 4) / 1000);
            for b in payload[24..].chunks(48) {
                let rest = [&b[..12], &b[16..24], &b[32..]].concat();
                let seconds = |at| base + i64::from(u32_at(b, at) / 1000);
                records.push((rest, seconds(24), seconds(28)));
            }
        } else if let Some(layout) = layout(u16_at(payload, 16), ids) {
            for b in payload[20..].chunks(layout.len) {
                let (start, end) = (layout.times.start, layout.times.end);
                let rest = [
                    &b[..layout.indexes.start],
                    &b[layout.indexes.end..start],
                    &b[end..],
                ];
                let seconds = |at| i64::try_from(u64_at(b, at) / 1000).unwrap();
                records.push((rest.concat(), seconds(start), seconds(start + 8)));
            }
        }
    }
    records
}

/// Fails unless both have the same records, started within a second of each other and not ended
/// later than the kernel says. (The last packets of some states of the scenario are told by no
/// message: those end earlier.)
fn assert_same(ours: Vec<Record>, kernels: Vec<Record>, what: &str) {
    let mut left: HashMap<Vec<u8>, Vec<(i64, i64)>> = HashMap::new();
    let count = kernels.len();
    for (rest, start, end) in kernels {
        left.entry(rest).or_default().push((start, end));
    }
    let mut early = 0;
    for (rest, start, end) in ours {
        let times = left
            .get_mut(&rest)
            .unwrap_or_else(|| panic!("{what}: {rest:02x?}"));
        let near = |&(s, e): &(i64, i64)| (s - start).abs() <= 1 && start <= end && end <= e + 1;
        let best = times.iter().position(near);
        let best = best.unwrap_or_else(|| panic!("{what}: {rest:02x?} {start} {end} {times:?}"));
        early += usize::from(end < times.remove(best).1 - 1);
    }
    assert!(
        left.values().all(Vec::is_empty),
        "{what}: records are missing"
    );
    assert!(early * 5 < count, "{what}: {early} of {count} end early");
}

const DIALECTS: [&str; 4] = [
    "mix200.openbsd-v6.pcap",
    "mix200.openbsd45-v5.pcap",
    "mix200.freebsd-1301.pcap",
    "mix200.freebsd-1500.pcap",
];

#[test]
fn netflow5_has_the_kernels_records_in_every_dialect() {
    let kernels = records(&kernel_export("mix200.pflow-v5.pcap"), &HashMap::new());
    assert_eq!(kernels.len(), 245);
    for dialect in DIALECTS {
        let (sent, _) = replay(dialect, "pflowproto 5");
        assert_same(records(&sent, &HashMap::new()), kernels.clone(), dialect);
    }
}

#[test]
fn ipfix_has_the_kernels_records_in_every_dialect() {
    for (words, kernel, ids) in [
        (
            "pflowproto 10",
            "mix200.pflow-v10-obsd79.pcap",
            vec![(256, 54), (257, 66), (258, 78)],
        ),
        (
            "pflowproto 10 template openbsd78",
            "mix200.pflow-v10-obsd77.pcap",
            vec![(256, 54), (257, 78)],
        ),
    ] {
        let ids = HashMap::from_iter(ids);
        let kernels = records(&kernel_export(kernel), &ids);
        assert_eq!(kernels.len(), 305);
        for dialect in DIALECTS {
            let (sent, _) = replay(dialect, words);
            assert_same(
                records(&sent, &ids),
                kernels.clone(),
                &format!("{dialect} {words}"),
            );
        }
    }
}

#[test]
fn the_kernels_template_message_is_ours() {
    let kernels = kernel_export("mix200.pflow-v10-obsd79.pcap");
    let (sent, _) = replay("mix200.openbsd-v6.pcap", "pflowproto 10");
    assert_eq!(u16_at(&sent[0], 16), 2, "templates come first");
    let without_time = |message: &[u8]| [&message[..4], &message[8..]].concat();
    assert_eq!(without_time(&sent[0]), without_time(&kernels[0]));
}

#[test]
fn two_replays_send_the_same_datagrams() {
    for words in [
        "pflowproto 5",
        "pflowproto 10",
        "pflowproto 10 template freebsd",
    ] {
        let (first, _) = replay("mix200.openbsd-v6.pcap", words);
        let (second, _) = replay("mix200.openbsd-v6.pcap", words);
        assert!(!first.is_empty());
        assert_eq!(first, second, "{words}");
    }
}

#[test]
fn the_packet_clock_drives_every_header() {
    let (sent, _) = replay("mix200.openbsd-v6.pcap", "pflowproto 10");
    let times: Vec<u32> = sent.iter().map(|message| u32_at(message, 4)).collect();
    assert!(times.is_sorted());
    // The capture runs from 1700000001.7 to 1700000248.8.
    assert_eq!(times.first(), Some(&1_700_000_001));
    assert_eq!(times.last(), Some(&1_700_000_248));
    let templates = sent.iter().filter(|message| u16_at(message, 16) == 2);
    let times: Vec<u32> = templates.map(|message| u32_at(message, 4)).collect();
    assert!(
        times.windows(2).all(|pair| pair[1] - pair[0] == 30),
        "{times:?}"
    );
    assert_eq!(times.len(), 9);
}

#[test]
fn the_sequence_has_no_gap_and_counts_data_records() {
    let ids = HashMap::from([(256, 54), (257, 66), (258, 78)]);
    let (sent, _) = replay("mix200.openbsd-v6.pcap", "pflowproto 10");
    let mut expected = 0;
    for message in &sent {
        assert_eq!(u32_at(message, 8), expected);
        let count = layout(u16_at(message, 16), &ids).map_or(0, |l| (message.len() - 20) / l.len);
        expected += u32::try_from(count).unwrap();
    }
    assert_eq!(expected, 305);
}

/// The flows of a capture as JSON lines, sorted.
fn flows(capture: &std::path::Path) -> Vec<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_pflow"))
        .args(["-a", "-o", "json", "-r"])
        .arg(capture)
        .output()
        .unwrap();
    assert!(output.status.success(), "{capture:?}: {output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    // Without a source address, who sent a state is not known.
    let lines = text.lines();
    let mut lines: Vec<_> = lines.map(|line| line.replace(SENDER, LOCAL)).collect();
    lines.sort();
    lines
}

const SENDER: &str = r#""originalExporterIPv4Address":"192.0.2.1""#;
const LOCAL: &str = r#""originalExporterIPv4Address":"0.0.0.0""#;

/// A copy of an Ethernet capture (nanoseconds, little-endian) under another link type, big-endian,
/// each frame's first `cut` octets replaced by `front`.
fn reframed(capture: &str, link: u32, cut: usize, front: &[u8]) -> Vec<u8> {
    let file = std::fs::read(testdata(capture)).unwrap();
    let mut out = Vec::new();
    for word in [0xa1b2_3c4d_u32, 0x0002_0004, 0, 0, 65535, link] {
        out.extend(word.to_be_bytes());
    }
    let mut at = 24;
    while at < file.len() {
        let word = |n: usize| u32::from_le_bytes(file[at + n..at + n + 4].try_into().unwrap());
        let len = word(8) as usize;
        let frame = [front, &file[at + 16 + cut..at + 16 + len]].concat();
        for word in [word(0), word(4), frame.len() as u32, frame.len() as u32] {
            out.extend(word.to_be_bytes());
        }
        out.extend(frame);
        at += 16 + len;
    }
    out
}

#[test]
fn every_framing_of_a_capture_gives_the_same_flows() {
    let ether = flows(&testdata("mix200.openbsd-v6.pcap"));
    assert_eq!(ether.len(), 305);
    let sll = [0, 0, 0, 1, 0, 6, 0, 0, 0x5e, 0, 1, 1, 0, 0, 8, 0];
    let vlan = [
        1, 0, 0x5e, 0, 0, 0xf0, 0, 0, 0x5e, 0, 1, 1, 0x81, 0, 0, 7, 8, 0,
    ];
    let framings: [(&str, u32, usize, &[u8]); 8] = [
        ("RAW", 101, 14, &[]),
        ("PFSYNC with an IPv4 header", 246, 14, &[]),
        ("PFSYNC", 246, 34, &[]),
        ("PFSYNC of OpenBSD", 18, 34, &[]),
        ("PFSYNC of FreeBSD", 121, 34, &[]),
        ("NULL", 0, 14, &[2, 0, 0, 0]),
        ("LINUX_SLL", 113, 14, &sll),
        ("Ethernet with a VLAN tag", 1, 14, &vlan),
    ];
    for (name, link, cut, front) in framings {
        let path = std::env::temp_dir().join(format!("pflow-{}-{link}-{cut}", std::process::id()));
        std::fs::write(&path, reframed("mix200.openbsd-v6.pcap", link, cut, front)).unwrap();
        let lines = flows(&path);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(lines, ether, "{name}");
    }
}

#[test]
fn the_summary_tells_what_was_read_and_sent() {
    let (sent, output) = replay("mix200.openbsd-v6.pcap", "pflowproto 5");
    let text = String::from_utf8(output.stderr).unwrap();
    for part in [
        "161 packets, 161 read whole, 694 messages: 200 INS, 208 UPD, 86 UPD_C, 200 DEL_C",
        "from 192.0.2.1: v6",
        "200 states learned, 200 states ended by DEL or DEL_C",
        "200 flows, 305 records, 1618165 octets",
        &format!(
            "pflow0: 245 records, 0 template messages, {} datagrams sent",
            sent.len()
        ),
    ] {
        assert!(text.contains(part), "{part} is not in:\n{text}");
    }
}
