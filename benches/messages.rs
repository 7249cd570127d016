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

use capture::CREATOR;
use capture::pfsync::{self, M, St};
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
const STRANGER: u32 = 0x0102_0304;
/// Who sends.
const SENDER: [u8; 4] = [192, 0, 2, 1];
/// Ids of nobody's states.
const UNKNOWN: u64 = 1 << 40;

/// A kind of message, and how one about state `n` is written: the packet that it is alone in.
type Kind = (&'static str, fn(u64) -> Vec<u8>);

const KINDS: [Kind; 16] = [
    ("INS, new", |n| packet(M::Ins(capture::state(n)))),
    ("INS, known", |n| packet(M::Ins(capture::state(n)))),
    ("UPD", |n| packet(M::Upd(counted(n)))),
    ("UPD_C", |n| packet(update(n))),
    ("UPD_C, unknown", |n| packet(update(UNKNOWN + n))),
    ("UREQ", |n| packet(M::Ureq(capture::id(n), CREATOR))),
    ("IACK", |n| packet(M::Iack(capture::id(n), CREATOR))),
    ("DEL, unknown", |n| {
        packet(M::Del(capture::state(UNKNOWN + n)))
    }),
    ("DEL_C, unknown", |n| {
        packet(M::DelC(capture::id(UNKNOWN + n), CREATOR))
    }),
    ("CLR of nothing", |_| packet(M::clr(STRANGER))),
    ("CLR of no interface", |_| packet(M::clr_if("em9", CREATOR))),
    ("BUS", |_| packet(M::Bus(CREATOR, 1))),
    ("TDB", |_| packet(M::Tdb)),
    ("not known", |_| {
        let section = pfsync::section(99, 2, 1, &[0; 8]);
        pfsync::ipv4(SENDER, &pfsync::modern(6, &section))
    }),
    // The states that are held go with these.
    ("DEL", |n| packet(M::Del(counted(n)))),
    ("DEL_C", |n| packet(M::DelC(capture::id(n), CREATOR))),
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

    /// Hands each packet over; the processor time that took.
    fn feed(&mut self, packets: impl Iterator<Item = Vec<u8>>) -> Duration {
        let packets: Vec<_> = packets.collect();
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
fn packet(message: M) -> Vec<u8> {
    pfsync::ipv4(SENDER, &capture::packet(&[message]))
}

/// A state as [`capture::state`] has it, with more octets.
fn counted(n: u64) -> St {
    let state = capture::state(n);
    state.count(
        state.packets.map(|packets| packets + 1),
        state.octets.map(|octets| octets + 1),
    )
}

/// Both peers ESTABLISHED, PFTM likewise.
fn update(n: u64) -> M {
    M::upd_c(&St {
        timeout: 2,
        ..St::blank(capture::id(n), CREATOR).established()
    })
}
