//! What one message costs, by its kind and by the table that it meets: `cargo bench --bench messages`.
//!
//! Every message is alone in its packet, the dearest way to send it, and is about another state than
//! the one before, far from it. So each is found out of the cache. Only INS come in the order of
//! their ids, as firewalls count. A number is the mean of many messages in nanoseconds of processor
//! time; `cargo bench --bench messages -- 1000000` takes tables of another size.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    missing_docs,
    reason = "a test that is wrong may panic"
)]

mod capture;

use std::time::Duration;

use pflow::config::{Config, apply_text};
use pflow::engine::{Engine, Packet, Settings};
use pflow::export::Order;
use pflow::flow::Boot;
use pflow::io::thread_cpu;
use pflow::output::messages::Detail;
use pflow::output::{Form, Output};
use pflow::solicit;
use pflow::state::Timeouts;
use pflow::time::{Now, Wall};
use pflow::wire::link::LinkType;

/// States of a table, unless the command line says.
const MANY: u64 = 1_000_000;
/// Messages of a kind at most.
const MESSAGES: u64 = 20_000;
/// An interface that exports, so that what flows cost is in the numbers.
const EXPORTER: &str = "pflow0 flowdst 127.0.0.1:9995 pflowproto 10\n";
/// Creator of nobody's states.
const STRANGER: [u8; 4] = [1, 2, 3, 4];
/// Ids of nobody's states.
const UNKNOWN: u64 = 1 << 40;

/// A kind of message, and how one about state `n` is written: action, octets.
type Kind = (&'static str, fn(u64) -> (u8, Vec<u8>));

const KINDS: [Kind; 16] = [
    ("INS, new", |n| (13, capture::state(n).to_vec())),
    ("INS, known", |n| (13, capture::state(n).to_vec())),
    ("UPD", |n| (14, counted(n))),
    ("UPD_C", |n| (4, update(capture::identity(n)))),
    ("UPD_C, unknown", |n| {
        (4, update(capture::identity(UNKNOWN + n)))
    }),
    ("UREQ", |n| (5, capture::identity(n).to_vec())),
    ("IACK", |n| (2, capture::identity(n).to_vec())),
    ("DEL, unknown", |n| {
        (6, capture::state(UNKNOWN + n).to_vec())
    }),
    ("DEL_C, unknown", |n| {
        (7, capture::identity(UNKNOWN + n).to_vec())
    }),
    ("CLR of nothing", |_| (0, clear([0; 16], STRANGER))),
    ("CLR of no interface", |_| {
        let mut name = [0; 16];
        name[..3].copy_from_slice(b"em9");
        (0, clear(name, [0x7a, 0x11, 0xc0, 0xde]))
    }),
    ("BUS", |n| {
        (
            10,
            [&capture::identity(n)[8..], &[0; 4], &[1, 0, 0, 0]].concat(),
        )
    }),
    ("TDB", |_| (15, vec![1; 52])),
    ("not known", |_| (99, vec![0; 8])),
    // The states that are held go with these.
    ("DEL", |n| (6, counted(n))),
    ("DEL_C", |n| (7, capture::identity(n).to_vec())),
];

/// A table: its name, further lines of the configuration, whether firewalls are asked, whether it is
/// as full as it may be.
struct Case {
    name: &'static str,
    lines: String,
    asks: bool,
    is_full: bool,
    states: u64,
}

fn main() {
    let many = std::env::args().find_map(|word| word.parse().ok());
    let many = many.unwrap_or(MANY);
    let case = |name, lines: &str| Case {
        name,
        lines: lines.to_owned(),
        asks: false,
        is_full: false,
        states: many,
    };
    let cases = [
        Case {
            states: many / 100,
            ..case("few", "")
        },
        case("many", ""),
        Case {
            is_full: true,
            ..case("bound", &format!("states {many}\n"))
        },
        Case {
            is_full: true,
            ..case("octets", "states 64M\n")
        },
        case("active", "pflow0 active 60\n"),
        Case {
            asks: true,
            ..case("asked", "")
        },
    ];
    print!("{:<20}", "nanoseconds");
    cases.iter().for_each(|case| print!("{:>9}", case.name));
    println!();
    let columns: Vec<Vec<f64>> = cases.iter().map(column).collect();
    for (row, (name, _)) in KINDS.iter().enumerate() {
        print!("{name:<20}");
        columns
            .iter()
            .for_each(|column| print!("{:>9.0}", column[row]));
        println!();
    }
}

/// What each kind costs with one table.
fn column(case: &Case) -> Vec<f64> {
    let mut bench = Bench::new(case);
    let mut new = 0;
    let insert = KINDS[0].1;
    while new < case.states {
        bench.feed((new..new + 1).map(insert));
        new += 1;
    }
    let held = |bench: &Bench| u64::try_from(bench.engine.table().len()).unwrap();
    let some = MESSAGES.min(case.states / 4);
    let per = |spent: Duration| spent.as_secs_f64() * 1e9 / f64::from(u32::try_from(some).unwrap());
    let mut gone = 0;
    let numbers = KINDS.iter().map(|(name, write)| {
        if *name == "INS, new" {
            let spent = bench.feed((new..new + some).map(write));
            new += some;
            assert!(!case.is_full || held(&bench) < new);
            return per(spent);
        }
        // The latest are held, whatever was evicted. What was deleted is not asked for again.
        let among = held(&bench).min(case.states) - some;
        let step = 7_919;
        let first = gone;
        if name.starts_with("DEL") && !name.ends_with("unknown") {
            gone += some;
        }
        let picked = (first..first + some).map(|n| new - 1 - n * step % among);
        per(bench.feed(picked.map(write)))
    });
    numbers.collect()
}

struct Bench {
    engine: Engine,
    packets: u64,
}

impl Bench {
    fn new(case: &Case) -> Self {
        let mut config = Config::default();
        let text = format!("{EXPORTER}{}", case.lines);
        apply_text(&mut config, "bench", &text).unwrap();
        let settings = Settings {
            states: u32::MAX,
            is_all: true,
            direction: None,
            boot: Boot::Known,
            local_addresses: Vec::new(),
            output: Output {
                form: Form::None,
                detail: Detail::Brief,
            },
        };
        let mut bench = Self {
            engine: Engine::new(settings, config),
            packets: 0,
        };
        let now = bench.now();
        bench.engine.start(now);
        if case.asks {
            let settings = solicit::Settings {
                is_network: true,
                is_pf: false,
                rate: solicit::DEFAULT_RATE,
                peers: Vec::new(),
                timeouts: Timeouts::default(),
                active: Some(Duration::from_secs(60)),
            };
            bench.engine.set_soliciting(now, Some(settings));
        }
        bench
    }

    /// The clock moves on by 10 us a packet.
    fn now(&self) -> Now {
        let uptime = 1_000_000_000_000 + i64::try_from(self.packets).unwrap() * 10_000;
        let boot = Wall::new(1_750_000_000, 0);
        let wall = Wall::from_nanos(boot.nanos() + uptime);
        Now::with_boot(wall, boot)
    }

    /// Hands each message over in a packet of its own; the processor time that took.
    fn feed(&mut self, messages: impl Iterator<Item = (u8, Vec<u8>)>) -> Duration {
        let packets: Vec<_> = messages
            .map(|(action, octets)| packet(action, &octets))
            .collect();
        let before = thread_cpu();
        for frame in &packets {
            self.packets += 1;
            let now = self.now();
            self.engine.handle_timeout(now, now.uptime);
            let packet = Packet {
                stamp: now.wall,
                link: LinkType::RAW_12,
                frame,
                wire_len: frame.len(),
            };
            self.engine.handle_packet(now, &packet);
            while self.engine.is_behind() {
                self.engine.go_on();
            }
            let transmit = self.engine.transmit(Order::Packed);
            self.engine.recycle(transmit);
            if let Some(solicitor) = self.engine.solicitor() {
                solicitor.requests().clear();
            }
        }
        thread_cpu() - before
    }
}

/// An IPv4 packet with one message.
fn packet(action: u8, message: &[u8]) -> Vec<u8> {
    let len = u16::try_from(24 + message.len()).unwrap();
    let mut packet = vec![0x45, 0];
    packet.extend((len + 20).to_be_bytes());
    packet.extend([0, 1, 0x40, 0, 255, 240, 0, 0, 192, 0, 2, 1, 224, 0, 0, 240]);
    packet.extend([6, 0]);
    packet.extend(len.to_be_bytes());
    packet.extend([0; 16]);
    packet.extend([action, u8::try_from(message.len() / 4).unwrap(), 0, 1]);
    packet.extend(message);
    packet
}

/// A state as [`capture::state`] has it, with more octets.
fn counted(n: u64) -> Vec<u8> {
    let mut state = capture::state(n);
    // Packets and octets, forwards and back.
    for at in [211, 219, 227, 235] {
        state[at] = state[at].wrapping_add(1);
    }
    state.to_vec()
}

fn update(identity: [u8; 12]) -> Vec<u8> {
    let (id, creatorid) = identity.split_at(8);
    let mut update = [0; 84];
    update[..8].copy_from_slice(id);
    update[72..76].copy_from_slice(creatorid);
    // Both peers ESTABLISHED, PFTM likewise.
    (update[32], update[64], update[80]) = (4, 4, 2);
    update.to_vec()
}

fn clear(name: [u8; 16], creatorid: [u8; 4]) -> Vec<u8> {
    [&name[..], &creatorid[..]].concat()
}
