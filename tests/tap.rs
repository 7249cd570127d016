//! The tap: what a savefile and a client of `tap` get is what collectors got, one packet for each
//! datagram, in order, with the addresses, ports and checksums that were on the wire.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    missing_docs,
    reason = "a test that is wrong may panic"
)]

mod common;
mod running;

use std::io::Read;
use std::net::{IpAddr, SocketAddr};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use common::{Key, M, St};
use running::{Collectors, Datagram, Pflow};

/// How long a machine may take that has much to do.
const PATIENCE: Duration = Duration::from_secs(60);

/// The ones' complement sum of RFC 1071, which is 0xffff over data with its own checksum.
fn sum(parts: &[&[u8]]) -> u16 {
    let octets = parts.concat();
    let mut sum: u32 = 0;
    for pair in octets.chunks(2) {
        let low = pair.get(1).copied().unwrap_or(0);
        sum += u32::from(u16::from_be_bytes([pair[0], low]));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

fn be16(octets: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([octets[at], octets[at + 1]])
}

fn address<const N: usize>(octets: &[u8]) -> IpAddr
where
    IpAddr: From<[u8; N]>,
{
    <[u8; N]>::try_from(octets).unwrap().into()
}

/// A packet of LINKTYPE_RAW as the datagram it is, its lengths and checksums verified.
fn datagram(packet: &[u8]) -> Datagram {
    let (from, to, udp) = match packet[0] >> 4 {
        4 => {
            assert_eq!(packet[0], 0x45, "no options");
            assert_eq!(usize::from(be16(packet, 2)), packet.len());
            assert_eq!(packet[9], 17);
            assert_eq!(sum(&[&packet[..20]]), 0xffff, "IPv4 checksum");
            let (from, to) = (&packet[12..16], &packet[16..20]);
            let [from, to] = [from, to].map(address::<4>);
            (from, to, &packet[20..])
        }
        6 => {
            assert_eq!(usize::from(be16(packet, 4)) + 40, packet.len());
            assert_eq!(packet[6], 17);
            let (from, to) = (&packet[8..24], &packet[24..40]);
            let [from, to] = [from, to].map(address::<16>);
            (from, to, &packet[40..])
        }
        version => panic!("IP version {version}"),
    };
    assert_eq!(usize::from(be16(udp, 4)), udp.len());
    assert_ne!(be16(udp, 6), 0, "a checksum there is");
    let ends = match packet[0] >> 4 {
        4 => &packet[12..20],
        _ => &packet[8..40],
    };
    let len = (udp.len() as u16).to_be_bytes();
    assert_eq!(
        sum(&[ends, &[0, 17], &len, udp]),
        0xffff,
        "UDP checksum over the pseudo-header"
    );
    Datagram {
        from: SocketAddr::new(from, be16(udp, 0)),
        to: SocketAddr::new(to, be16(udp, 2)),
        payload: udp[8..].to_vec(),
    }
}

/// The packets of a savefile in microseconds of LINKTYPE_RAW, whose stamps never go back.
fn packets(file: &[u8]) -> Vec<&[u8]> {
    let word = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap());
    assert_eq!((word(0), word(20)), (0xa1b2_c3d4, 101));
    let (mut packets, mut at, mut last) = (Vec::new(), 24, (0, 0));
    while at < file.len() {
        let stamp = (word(at), word(at + 4));
        assert!(stamp >= last);
        last = stamp;
        let len = word(at + 8) as usize;
        assert_eq!(word(at + 12) as usize, len);
        packets.push(&file[at + 16..at + 16 + len]);
        at += 16 + len;
    }
    packets
}

/// `pflowctl tap pflow0`, read to its end by a thread that tells how many octets each read gave. It
/// follows when this returns: the file's header has come.
fn follow(pflow: &Pflow) -> (Child, JoinHandle<Vec<u8>>, Receiver<usize>) {
    let mut command = pflow.command(&["tap", "pflow0"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut output = child.stdout.take().unwrap();
    let mut file = vec![0; 24];
    output.read_exact(&mut file).unwrap();
    let (tell, told) = channel();
    let reader = std::thread::spawn(move || {
        let mut some = [0; 1 << 16];
        loop {
            let count = output.read(&mut some).unwrap();
            if count == 0 {
                return file;
            }
            file.extend(&some[..count]);
            // Nobody needs to know in the end.
            let _ = tell.send(count);
        }
    });
    (child, reader, told)
}

/// States that end, `count` of them in packets of 20; two records each.
fn traffic(pflow: &mut Pflow, next: &mut u64, count: u64, key: Key) {
    for _ in 0..count / 20 {
        let states = *next..*next + 20;
        *next += 20;
        let states = states.map(|id| St::udp(id).keyed(key).count([1, 2], [id, 1]));
        let (learned, ended): (Vec<_>, Vec<_>) =
            states.map(|st| (M::Ins(st), M::del_c(&st))).unzip();
        pflow.send(&[learned, ended].concat());
    }
    pflow.settle();
}

/// What collectors get of a pflow while everything about its interface is changed.
struct Watch {
    pflow: Pflow,
    collectors: Collectors,
    received: Vec<Datagram>,
    next: u64,
    taps: Option<Taps>,
}

/// A savefile, how many of its octets a client has, and news of more of them.
struct Taps {
    file: String,
    followed: usize,
    follows: Receiver<usize>,
}

impl Taps {
    /// Waits until both taps have so many octets.
    fn catch_up(&mut self, octets: usize) {
        while self.followed < octets {
            self.followed += self.follows.recv_timeout(PATIENCE).unwrap();
        }
        // The other is written beside it.
        while std::fs::metadata(&self.file).unwrap().len() < octets as u64 {
            std::thread::yield_now();
        }
    }
}

impl Watch {
    fn set(&mut self, words: &str) {
        let line = format!("pflow0 {words}");
        assert_eq!(self.pflow.ask(&line), Ok(String::new()), "{line}");
        self.catch_up();
    }

    /// Reads until as many datagrams have come as were sent, and the taps have them: what is under
    /// way fits the sockets' buffers and the taps' queues, so that nothing is lost.
    fn catch_up(&mut self) {
        let sent = self.pflow.counter("interface", Some("pflow0"), "datagrams");
        while (self.received.len() as u64) < sent {
            self.received.push(self.collectors.next());
        }
        let packets = self.received.iter().map(|datagram| {
            let ip = if datagram.to.is_ipv4() { 20 } else { 40 };
            16 + ip + 8 + datagram.payload.len()
        });
        let octets = 24 + packets.sum::<usize>();
        if let Some(taps) = &mut self.taps {
            taps.catch_up(octets);
        }
    }

    fn traffic(&mut self, rounds: u64, key: Key) {
        for _ in 0..rounds {
            traffic(&mut self.pflow, &mut self.next, 40, key);
            self.catch_up();
        }
    }
}

#[test]
fn a_savefile_and_a_client_get_what_collectors_got_over_ten_thousand_datagrams() {
    let collectors = Collectors::new();
    let v4 = collectors.add("127.0.0.1:0");
    let other = collectors.add("127.0.0.1:0");
    let v6 = collectors.add("[::1]:0");
    let mut pflow = Pflow::start(&["pflow0", "create"]);
    let file = pflow.directory.file("tap.pcap");
    assert_eq!(pflow.ask(&format!("pflow0 tap {file}")), Ok(String::new()));
    let (mut client, reader, follows) = follow(&pflow);
    let mut watch = Watch {
        pflow,
        collectors,
        received: Vec::new(),
        next: 1,
        taps: Some(Taps {
            file: file.clone(),
            followed: 24,
            follows,
        }),
    };
    let key = Key::new("192.0.2.1", 40_000, "198.51.100.7", 443);
    let key6 = Key::new("2001:db8::1", 40_000, "2001:db8::7", 443);
    // The smallest mtu: a record a datagram.
    for _ in 0..3 {
        watch.set(&format!("flowdst {v4} mtu 72"));
        watch.traffic(13, key);
        watch.set("pflowproto 10");
        watch.traffic(13, key);
        watch.set(&format!("flowdst {other} mtu 1500"));
        watch.traffic(5, key);
        watch.set("flowsrc 127.0.0.1 mtu 72");
        watch.traffic(13, key6);
        watch.set("-flowsrc");
        watch.set(&format!("flowdst {v6} template freebsd mtu 72"));
        watch.traffic(13, key6);
        watch.set("flowsrc [::1] template openbsd");
        watch.traffic(2, key);
        watch.set("down");
        watch.traffic(1, key);
        watch.set("up");
        watch.set("-flowsrc -flowdst pflowproto 5");
    }
    let Watch {
        mut pflow,
        received,
        ..
    } = watch;
    assert!(received.len() > 10_000, "{}", received.len());
    let statistics = pflow.statistics();
    let count = |name| statistics.get("interface", Some("pflow0"), name);
    let sent = received.len() as u64;
    assert_eq!(count("tapped"), 2 * sent);
    assert_eq!(count("tap_dropped"), 0);
    pflow.ask("pflow0 destroy").unwrap();
    // The file is whole when its interface is gone, and the client's connection ends with it.
    let tapped = std::fs::read(&file).unwrap();
    let followed = reader.join().unwrap();
    assert!(client.wait().unwrap().success());
    let tapped = packets(&tapped);
    assert!(tapped == packets(&followed), "the client's is the file's");
    assert_eq!(tapped.len(), received.len());
    let tapped: Vec<_> = tapped.into_iter().map(datagram).collect();
    for to in [v4, other, v6] {
        let of = |all: &[Datagram]| -> Vec<_> {
            let all = all.iter().filter(|datagram| datagram.to == to);
            all.cloned().collect()
        };
        let (tapped, received) = (of(&tapped), of(&received));
        assert!(received.len() > 100);
        let same = tapped.iter().zip(&received).position(|(a, b)| a != b);
        assert_eq!((same, tapped.len()), (None, received.len()), "{to}");
    }
    pflow.finish();
}

#[test]
fn a_client_that_reads_nothing_loses_packets_and_holds_up_nothing() {
    let collectors = Collectors::new();
    let to = collectors.add("127.0.0.1:0");
    let to = to.to_string();
    let words = ["pflow0", "flowdst", &to, "mtu", "72", "rate", "none"];
    let mut pflow = Pflow::start(&words);
    let mut client = pflow.connect();
    assert_eq!(client.ask("tap pflow0"), Ok(String::new()));
    // It follows when the file's header has come, and takes nothing from now on.
    client.read::<24>();
    let mut watch = Watch {
        pflow,
        collectors,
        received: Vec::new(),
        next: 1,
        taps: None,
    };
    let key = Key::new("192.0.2.1", 40_000, "198.51.100.7", 443);
    let mut dropped = 0;
    while dropped == 0 {
        watch.traffic(5, key);
        let statistics = watch.pflow.statistics();
        let count = |name| statistics.get("interface", Some("pflow0"), name);
        dropped = count("tap_dropped");
        assert_eq!(count("tapped") + dropped, count("datagrams"));
        assert!(watch.received.len() < 50_000, "something must be full");
    }
    let ended = watch.next - 1;
    assert_eq!(watch.received.len() as u64, 2 * ended, "a record each");
    drop(client);
    watch.pflow.finish();
}

/// A savefile of states that make records of three lengths, one after the other, and end.
fn mixed_savefile(states: u64) -> Vec<u8> {
    let plain = Key::new("192.0.2.1", 40_000, "198.51.100.7", 443);
    let before = Key::new("10.0.0.1", 50_000, "198.51.100.7", 443);
    let six = Key::new("2001:db8::1", 40_000, "2001:db8::7", 443);
    let mut file = running::file_header();
    for (ms, first) in (0..).zip((1..=states).step_by(20)) {
        let states = (first..first + 20).map(|id| {
            let key = [plain, plain, plain, six][id as usize % 4];
            let state = St::udp(id).keyed(key).count([1, 2], [id, id + 1]);
            let stack = if id % 4 == 2 { before } else { key };
            St { stack, ..state }
        });
        let (learned, ended): (Vec<_>, Vec<_>) =
            states.map(|st| (M::Ins(st), M::del_c(&st))).unzip();
        for packet in common::packets(common::D::Obsd74, &[learned, ended].concat()) {
            let (_, frame) = common::A.frame(&packet);
            file.extend(running::record(ms, &frame));
        }
    }
    file
}

/// Payloads of what a replay of `input` sends, in order.
fn replayed(name: &str, input: Option<Vec<u8>>, directory: &running::Directory) -> Vec<Vec<u8>> {
    let sink = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let to = sink.local_addr().unwrap();
    let tap = directory.file("order.pcap");
    let line = format!("pflow0 flowdst {to} pflowproto 10 tap {tap}");
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_pflow"))
        .args(["-r", name, "-o", "none", "-e", &line])
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // What is not read breaks the pipe.
    let writer = std::thread::spawn(move || {
        input.map(|input| std::io::Write::write_all(&mut stdin, &input));
    });
    assert!(child.wait().unwrap().success());
    writer.join().unwrap();
    let tapped = std::fs::read(&tap).unwrap();
    std::fs::remove_file(&tap).unwrap();
    let payloads = packets(&tapped).into_iter();
    payloads.map(|packet| datagram(packet).payload).collect()
}

/// A message but for its number, which is 0 instead.
fn unnumbered(message: &[u8]) -> Vec<u8> {
    let mut message = message.to_vec();
    message[8..12].fill(0);
    message
}

/// Each message is numbered by the data records before it.
fn assert_numbered(messages: &[Vec<u8>]) {
    let mut sequence = 0_u32;
    for message in messages {
        assert_eq!(&message[8..12], sequence.to_be_bytes());
        let records = match be16(message, 16) {
            256 => (message.len() - 20) / 54,
            257 => (message.len() - 20) / 66,
            258 => (message.len() - 20) / 78,
            _ => 0,
        };
        sequence += records as u32;
    }
}

#[test]
fn a_replay_of_much_puts_messages_of_one_length_together_and_numbers_them_so() {
    let directory = running::Directory::new();
    let octets = mixed_savefile(60_000);
    let file = directory.file("mixed.pcap");
    std::fs::write(&file, &octets).unwrap();
    let grouped = replayed(&file, None, &directory);
    assert!(grouped == replayed(&file, None, &directory), "always alike");
    // What comes through a pipe goes as it comes.
    let ordered = replayed("-", Some(octets), &directory);
    assert_numbered(&ordered);
    assert_numbered(&grouped);
    let changed = ordered.iter().zip(&grouped).position(|(a, b)| a != b);
    let before: usize = ordered[..changed.unwrap()].iter().map(Vec::len).sum();
    assert!(before >= 4 << 20, "{before}");
    let [mut a, mut b] = [&ordered, &grouped]
        .map(|messages| messages.iter().map(|m| unnumbered(m)).collect::<Vec<_>>());
    a.sort();
    b.sort();
    assert!(a == b, "the same messages");
    let runs = |messages: &[Vec<u8>]| messages.chunk_by(|a, b| a.len() == b.len()).count();
    let after = changed.unwrap()..;
    let few = runs(&grouped[after.clone()]) * 10 < runs(&ordered[after]);
    assert!(few, "put together");
}
