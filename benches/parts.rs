//! What the parts cost, each alone, by criterion: decoding by dialect (the captures of testdata/), the
//! table's insert, update and delete at several sizes, and the encoders. `cargo bench --bench parts`;
//! `cargo bench --bench parts -- encode` measures encoders only.
//!
//! It is the thread's processor time that is measured, so that what else runs on the machine counts
//! less. For each size of the table a line tells the memory that a state takes, and the longest that
//! one insert took while the table grew to it.

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

use capture::CREATOR;
use capture::pfsync::{M, St};
use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{BenchmarkId, Criterion};

use pflow::accounting::Counting;
use pflow::export::{Format, Interface, Order, Outbox, Settings, TemplateSet, transmit};
use pflow::flow::{Boot, End, Flow, Quality, Times, Tuple};
use pflow::io::thread_cpu;
use pflow::state::{Address, Af, Direction, IfName, StateId, Timeouts};
use pflow::table::{self, Sender, Table};
use pflow::time::{Now, Wall};
use pflow::wire::link;
use pflow::wire::pfsync;
use pflow::wire::savefile::Savefile;

fn main() {
    let mut criterion = Criterion::default()
        .with_measurement(Cpu(WallTime))
        .sample_size(10)
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(500))
        .without_plots()
        .configure_from_args();
    decode(&mut criterion);
    encode(&mut criterion);
    for size in [10_000, 100_000, 1_000_000, 10_000_000] {
        table(&mut criterion, size);
    }
    criterion.final_summary();
}

/// The processor time of this thread, told as other times are.
struct Cpu(WallTime);

impl Measurement for Cpu {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        thread_cpu()
    }

    fn end(&self, start: Duration) -> Duration {
        thread_cpu() - start
    }

    fn add(&self, a: &Duration, b: &Duration) -> Duration {
        *a + *b
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        self.0.to_f64(value)
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        self.0.formatter()
    }
}

/// Captures of testdata/, one a layout of states that is spoken today.
const CAPTURES: [&str; 4] = ["openbsd-v6", "openbsd45-v5", "freebsd-1301", "freebsd-1500"];

fn decode(criterion: &mut Criterion<Cpu>) {
    let mut group = criterion.benchmark_group("decode a message");
    for name in CAPTURES {
        let path = format!("{}/testdata/mix200.{name}.pcap", env!("CARGO_MANIFEST_DIR"));
        let file = std::fs::read(path).unwrap();
        let mut frames = Vec::new();
        let mut parser = Savefile::new();
        parser.scan(&file, &mut |frame| frames.push(frame)).unwrap();
        let datagrams = frames.iter().map(|frame| {
            let octets = &file[frame.start..frame.start + frame.captured];
            let datagram = link::datagram(frame.link, octets, frame.wire_len);
            datagram.unwrap().payload
        });
        let datagrams: Vec<&[u8]> = datagrams.collect();
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|messages| decode_at_least(messages, &datagrams));
        });
    }
    group.finish();
}

/// What it takes to decode as many messages: the capture is decoded until there were enough.
fn decode_at_least(wanted: u64, datagrams: &[&[u8]]) -> Duration {
    let mut messages = 0;
    let before = thread_cpu();
    while messages < wanted {
        for datagram in datagrams {
            pfsync::decode(datagram, 0, None, &mut |_, message| {
                messages += 1;
                if let pfsync::Message::Insert(state) | pfsync::Message::Update(state) = &message {
                    black_box((state.state_id(), state.wire_key(), state.octets()));
                }
                black_box(&message);
            });
        }
    }
    let [wanted, messages] = [wanted, messages].map(|n| f64::from(u32::try_from(n).unwrap()));
    (thread_cpu() - before).mul_f64(wanted / messages)
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

/// IPv4 without translation, as docs/performance.md counts memory.
fn plain(n: u64) -> St {
    let state = capture::state(n / 65536 * 4);
    let mut key = state.wire;
    key.port[1] = u16::try_from(n % 65536).unwrap();
    St {
        id: capture::id(n),
        ..state.keyed(key)
    }
}

/// A table with as many states as asked for, and which they are.
struct Filled {
    table: Table,
    alive: Vec<u64>,
    /// States made so far; the next one's number.
    made: u64,
    /// How often [`Filled::pick`] was asked.
    picked: usize,
}

impl Filled {
    fn new() -> Self {
        let settings = table::Settings {
            states: table::Bound::States(u32::MAX),
            timeouts: Timeouts::default(),
            boot: Boot::Known,
            counting: Counting::default(),
        };
        Self {
            table: Table::new(settings),
            alive: Vec::new(),
            made: 0,
            picked: 0,
        }
    }

    /// Hands packets to the table, decoding included; the processor time it took.
    fn feed(&mut self, packets: &[Vec<u8>]) -> Duration {
        let uptime = i64::try_from(1000 + self.made / 100_000).unwrap();
        let wall = |secs| Wall::new(1_750_000_000 + secs, 0);
        let now = Now::with_boot(wall(uptime), wall(0));
        let sender = Sender::Address(IpAddr::from([192, 0, 2, 1]));
        let sender = self.table.sender(sender);
        let mut arrival = self.table.arrival(now, now.uptime, sender, false);
        let table = &mut self.table;
        let before = thread_cpu();
        for packet in packets {
            let outcome = pfsync::decode(packet, 0, None, &mut |dialect, message| {
                arrival.dialect = dialect;
                table.apply(&mut arrival, message, &mut |_, flow| {
                    black_box(flow);
                });
            });
            assert!(outcome.result.is_ok());
        }
        thread_cpu() - before
    }

    /// Packets of `count` new states, `a_packet` each.
    fn inserts(&mut self, count: u64, a_packet: usize) -> Vec<Vec<u8>> {
        let new: Vec<u64> = (self.made..self.made + count).collect();
        self.made += count;
        self.alive.extend(&new);
        let packets = new.chunks(a_packet).map(|some| {
            let states: Vec<M> = some.iter().map(|n| M::Ins(plain(*n))).collect();
            capture::packet(&states)
        });
        packets.collect()
    }

    /// Where the next state to touch stands in `alive`: far from the last one, so that each is
    /// found out of the cache.
    fn pick(&mut self) -> usize {
        self.picked += 1;
        self.picked * 7_919 % self.alive.len()
    }

    /// UPD_C of `count` states.
    fn updates(&mut self, count: u64) -> Vec<Vec<u8>> {
        let picked = (0..count).map(|_| {
            let place = self.pick();
            // Both peers ESTABLISHED, PFTM likewise.
            M::upd_c(&St {
                timeout: 2,
                ..St::blank(capture::id(self.alive[place]), CREATOR).established()
            })
        });
        packets(picked)
    }

    /// DEL_C of `count` states.
    fn deletes(&mut self, count: u64) -> Vec<Vec<u8>> {
        let picked = (0..count).map(|_| {
            let place = self.pick();
            M::DelC(capture::id(self.alive.swap_remove(place)), CREATOR)
        });
        packets(picked)
    }
}

/// Packets of ten messages.
fn packets(messages: impl Iterator<Item = M>) -> Vec<Vec<u8>> {
    let messages: Vec<M> = messages.collect();
    messages.chunks(10).map(capture::packet).collect()
}

fn table(criterion: &mut Criterion<Cpu>, size: u64) {
    let before = memory();
    let mut filled = Filled::new();
    let mut longest = Duration::ZERO;
    while filled.made < size {
        for insert in filled.inserts(5000, 1) {
            longest = longest.max(filled.feed(&[insert]));
        }
    }
    assert_eq!(filled.table.len() as u64, size);
    // What the benchmark itself remembers of a state is not the table's.
    let own = u64::try_from(filled.alive.capacity() * size_of::<u64>()).unwrap();
    let octets = memory().saturating_sub(before + own) / size;
    println!(
        "table of {size} states: {octets} octets of memory a state, longest insert {:.3} ms",
        longest.as_secs_f64() * 1e3
    );
    table_messages(criterion, size, &mut filled);
    let counters = &filled.table.counters;
    assert_eq!(
        (counters.unknown_update, filled.table.len() as u64),
        (0, size)
    );
}

/// INS, UPD and DEL_C of a table of that size.
fn table_messages(criterion: &mut Criterion<Cpu>, size: u64, filled: &mut Filled) {
    // Few enough at a time that the table is of that size.
    let some = (size / 20).min(5000);
    let chunks = |iterations: u64| (0..iterations).step_by(usize::try_from(some).unwrap());
    let mut group = criterion.benchmark_group("table, decoding included");
    group.bench_function(BenchmarkId::new("insert", size), |bencher| {
        bencher.iter_custom(|iterations| {
            let mut spent = Duration::ZERO;
            for done in chunks(iterations) {
                let count = some.min(iterations - done);
                let inserts = filled.inserts(count, 5);
                spent += filled.feed(&inserts);
                let deletes = filled.deletes(count);
                filled.feed(&deletes);
            }
            spent
        });
    });
    group.bench_function(BenchmarkId::new("update", size), |bencher| {
        bencher.iter_custom(|iterations| {
            let mut spent = Duration::ZERO;
            for done in chunks(iterations) {
                let updates = filled.updates(some.min(iterations - done));
                spent += filled.feed(&updates);
            }
            spent
        });
    });
    group.bench_function(BenchmarkId::new("delete", size), |bencher| {
        bencher.iter_custom(|iterations| {
            let mut spent = Duration::ZERO;
            for done in chunks(iterations) {
                let count = some.min(iterations - done);
                let deletes = filled.deletes(count);
                spent += filled.feed(&deletes);
                let inserts = filled.inserts(count, 5);
                filled.feed(&inserts);
            }
            spent
        });
    });
    group.finish();
}

fn encode(criterion: &mut Criterion<Cpu>) {
    let mut group = criterion.benchmark_group("encode a flow of two records");
    for (name, format, templates) in [
        ("netflow5", Format::NetFlow5, TemplateSet::OpenBsd),
        ("ipfix openbsd", Format::Ipfix, TemplateSet::OpenBsd),
        ("ipfix openbsd78", Format::Ipfix, TemplateSet::OpenBsd78),
        ("ipfix freebsd", Format::Ipfix, TemplateSet::FreeBsd),
    ] {
        let mut outbox = Outbox::default();
        let now = Now::with_boot(Wall::new(1_750_000_000, 0), Wall::new(1_740_000_000, 0));
        let settings = Settings {
            flowdst: Some("127.0.0.1:9995".parse().unwrap()),
            format,
            templates,
            ..Settings::default()
        };
        let mut interface = Interface::new(0, settings.clone());
        interface.configure(now, settings, &mut outbox);
        let flows = flows();
        let mut flows = flows.iter().cycle();
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let flow = flows.next().unwrap();
                interface.offer(now, black_box(flow), 1, &mut outbox);
                if outbox.len() >= 1 << 18 {
                    let interfaces = std::slice::from_mut(&mut interface);
                    let sent = transmit(&mut outbox, interfaces, Order::Packed);
                    outbox.recycle(sent);
                }
            });
        });
    }
    group.finish();
}

/// As captures of capture/ have them: one in four translated, one in four IPv6.
fn flows() -> [Flow; 4] {
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
        times: Times::new(
            1,
            2,
            Now::with_boot(Wall::new(2, 0), Wall::default()),
            Boot::Known,
        ),
        end: End::Deleted,
        quality: Quality::Exact,
        detail: None,
        only: None,
    };
    let src = Address::from_v4([198, 51, 100, 1]);
    let translated = Flow {
        translated: Some(Tuple { src, ..tuple }),
        ..flow
    };
    let af = Af::Inet6;
    let ipv6 = Flow {
        tuple: Tuple { af, ..tuple },
        ..flow
    };
    [flow, translated, flow, ipv6]
}
