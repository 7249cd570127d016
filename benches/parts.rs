//! What the parts cost, each alone, in nanoseconds of processor time: decoding by dialect (the
//! captures of testdata/), the table's insert, update and delete at several sizes with the memory a
//! state takes, and the encoders. `cargo bench --bench parts`; `PFLOW_BENCH_ALIVE=10000000` adds a
//! size to the table's.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    missing_docs,
    reason = "a test that is wrong may panic"
)]

mod capture;

use std::hint::black_box;
use std::net::IpAddr;
use std::time::Duration;

use pflow::accounting::Counting;
use pflow::export::{Format, Outbox, TemplateSet};
use pflow::flow::{Boot, End, Flow, Quality, Times, Tuple};
use pflow::interface::{Interface, Settings};
use pflow::io::thread_cpu;
use pflow::state::{Address, Af, Direction, IfName, StateId, Timeouts};
use pflow::table::{self, Arrival, Sender, Table};
use pflow::time::{Now, Wall};
use pflow::wire::link;
use pflow::wire::pfsync::{self, Dialect};
use pflow::wire::savefile::Savefile;

fn main() {
    println!("decoding                         ns/message");
    for dialect in CAPTURES {
        decode(dialect);
    }
    println!("table, decoding included         ns insert  update  delete  octets/state");
    let more = std::env::var("PFLOW_BENCH_ALIVE").ok();
    let more = more.and_then(|size| size.parse().ok());
    for size in [10_000, 100_000, 1_000_000].into_iter().chain(more) {
        table(size);
    }
    println!("encoding a flow of two records   ns/flow");
    for (name, format, templates) in [
        ("netflow5", Format::NetFlow5, TemplateSet::OpenBsd),
        ("ipfix openbsd", Format::Ipfix, TemplateSet::OpenBsd),
        ("ipfix openbsd78", Format::Ipfix, TemplateSet::OpenBsd78),
        ("ipfix freebsd", Format::Ipfix, TemplateSet::FreeBsd),
    ] {
        encode(name, format, templates);
    }
}

/// What `run` costs each time of `times`, nanoseconds.
fn cost(times: u64, run: impl FnOnce()) -> f64 {
    let before = thread_cpu();
    run();
    (thread_cpu() - before).as_secs_f64() * 1e9 / f64::from(u32::try_from(times).unwrap())
}

/// Captures of testdata/, one a layout of states that is spoken today.
const CAPTURES: [&str; 4] = ["openbsd-v6", "openbsd45-v5", "freebsd-1301", "freebsd-1500"];

fn decode(name: &str) {
    let file = std::fs::read(format!(
        "{}/testdata/mix200.{name}.pcap",
        env!("CARGO_MANIFEST_DIR")
    ))
    .unwrap();
    let mut frames = Vec::new();
    Savefile::new()
        .scan(&file, &mut |frame| frames.push(frame))
        .unwrap();
    let datagrams: Vec<&[u8]> = frames
        .iter()
        .map(|frame| {
            let octets = &file[frame.start..frame.start + frame.captured];
            link::datagram(frame.link, octets, frame.wire_len)
                .unwrap()
                .payload
        })
        .collect();
    let mut messages = 0;
    let mut once = || {
        for datagram in &datagrams {
            pfsync::decode(datagram, 0, None, &mut |_, message| {
                messages += 1;
                if let pfsync::Message::Insert(state) | pfsync::Message::Update(state) = &message {
                    black_box((state.state_id(), state.wire_key(), state.octets()));
                }
                black_box(&message);
            });
        }
    };
    let before = thread_cpu();
    for _ in 0..2000 {
        once();
    }
    let spent = (thread_cpu() - before).as_secs_f64();
    println!("  {name:<30} {:8.1}", spent * 1e9 / f64::from(messages));
}

/// Octets of memory that this process has; 0 where that cannot be told.
fn memory() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split_whitespace().nth(1);
    pages
        .and_then(|pages| pages.parse::<u64>().ok())
        .unwrap_or(0)
        * 4096
}

/// A packet of one section: `size` is that of a message in four octets.
fn packet(action: u8, size: u8, messages: &[u8], count: u16) -> Vec<u8> {
    let len = u16::try_from(24 + messages.len()).unwrap();
    let mut packet = vec![6, 0];
    packet.extend(len.to_be_bytes());
    packet.extend([0; 16]);
    packet.extend([action, size]);
    packet.extend(count.to_be_bytes());
    packet.extend(messages);
    packet
}

/// IPv4 without translation, as spec and README count memory.
fn plain(n: u64) -> [u8; capture::STATE] {
    let mut state = capture::state(n / 65536 * 4);
    state[..12].copy_from_slice(&[0; 12]);
    state[..8].copy_from_slice(&capture::identity(n)[..8]);
    state[8..11].copy_from_slice(b"all");
    let port = u16::try_from(n % 65536).unwrap().to_be_bytes();
    for key in [24, 64] {
        state[key + 34..key + 36].copy_from_slice(&port);
    }
    state
}

fn table(size: u64) {
    let before = memory();
    let mut table = Table::new(table::Settings {
        states: u32::MAX,
        timeouts: Timeouts::default(),
        boot: Boot::Known,
        counting: Counting::default(),
    });
    let arrival = |table: &mut Table, n: u64| {
        let uptime = i64::try_from(1000 + n / 100_000).unwrap();
        let now = Now::with_boot(
            Wall::new(1_750_000_000 + uptime, 0),
            Wall::new(1_750_000_000, 0),
        );
        Arrival {
            now,
            at: now.uptime,
            sender: table.sender(Sender::Address(IpAddr::from([192, 0, 2, 1]))),
            dialect: Dialect::OpenBsd47,
            is_pfsync0: false,
        }
    };
    let mut flows = 0_u64;
    // Packets are made beforehand, some at a time; `a_packet` messages each.
    let mut feed = |table: &mut Table, start: u64, a_packet: u64, make: &dyn Fn(u64) -> Vec<u8>| {
        let mut spent = Duration::ZERO;
        for first in (0..size).step_by(5000) {
            let numbers = (first..first + 5000).step_by(usize::try_from(a_packet).unwrap());
            let packets: Vec<Vec<u8>> = numbers.map(make).collect();
            let arrival = arrival(table, start + first);
            let before = thread_cpu();
            for packet in &packets {
                let outcome = pfsync::decode(packet, 0, None, &mut |_, message| {
                    table.apply(arrival, &message, &mut |_, flow| {
                        flows += 1;
                        black_box(flow);
                    });
                });
                assert!(outcome.result.is_ok());
            }
            spent += thread_cpu() - before;
        }
        spent.as_secs_f64() * 1e9 / f64::from(u32::try_from(size).unwrap())
    };
    let insert = feed(&mut table, 0, 5, &|first| {
        let states: Vec<u8> = (first..first + 5).flat_map(plain).collect();
        packet(13, 66, &states, 5)
    });
    assert_eq!(table.len() as u64, size);
    let octets = memory().saturating_sub(before) / size;
    // In another order than they came in, as states end.
    let shuffled = |n: u64| capture::identity((n * 7_919 + 13) % size);
    let update = feed(&mut table, size, 10, &|first| {
        let mut updates = Vec::new();
        for n in first..first + 10 {
            let mut update = [0; 84];
            let identity = shuffled(n);
            let (id, creatorid) = identity.split_at(8);
            update[..8].copy_from_slice(id);
            update[72..76].copy_from_slice(creatorid);
            // Both peers ESTABLISHED, PFTM likewise.
            (update[32], update[64], update[80]) = (4, 4, 2);
            updates.extend(update);
        }
        packet(4, 21, &updates, 10)
    });
    assert_eq!(table.counters.unknown_update, 0);
    let delete = feed(&mut table, 2 * size, 10, &|first| {
        let ids: Vec<u8> = (first..first + 10).flat_map(shuffled).collect();
        packet(7, 3, &ids, 10)
    });
    assert!(table.is_empty() && flows == size);
    println!("  {size:<30} {insert:8.1} {update:7.1} {delete:7.1} {octets:8}");
}

fn encode(name: &str, format: Format, templates: TemplateSet) {
    const FLOWS: u64 = 2_000_000;
    let mut outbox = Outbox::default();
    let mut interface = Interface::new(0);
    let now = Now::with_boot(Wall::new(1_750_000_000, 0), Wall::new(1_740_000_000, 0));
    let settings = Settings {
        flowdst: Some("127.0.0.1:9995".parse().unwrap()),
        format,
        templates,
        ..Settings::default()
    };
    interface.configure(now, settings, &mut outbox);
    let tuple = Tuple {
        af: Af::Inet,
        proto: 6,
        src: Address::from_v4([10, 0, 0, 1]),
        dst: Address::from_v4([192, 0, 2, 1]),
        sport: 32768,
        dport: 443,
    };
    let flow = Flow {
        id: StateId::default(),
        direction: Direction::Out,
        ifname: IfName::default(),
        pflow: true,
        tuple,
        translated: None,
        packets: [9, 7],
        octets: [1000, 2500],
        times: Times {
            start: 1,
            end: 2,
            start_ms: 1000,
            end_ms: 2000,
        },
        end: End::Deleted,
        quality: Quality::Exact,
        only: None,
    };
    let flow_cost = cost(FLOWS, || {
        for _ in 0..FLOWS {
            interface.offer(now, black_box(&flow), 1, &mut outbox);
            if outbox.len() >= 1 << 18 {
                outbox.clear();
            }
        }
    });
    println!("  {name:<30} {flow_cost:8.1}");
}
