//! How good counters are: pflow, listening alone or asking, beside a model of pf firewalls whose
//! traffic is known (examples/pfsim).
//!
//! ```text
//! World --packets--> Engine --records--> Outcome, compared with World::truth()
//!   ^                   |
//!   +---- requests -----+
//! ```
//! The small scenarios run always; the full ones, of 20 000 states in 20 simulated minutes, are
//! ignored here and run with optimization in .ci/run. Nothing waits.

#![allow(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    clippy::unwrap_used,
    reason = "a test that is wrong may panic"
)]

mod common;
#[path = "../examples/pfsim/model/mod.rs"]
mod model;

use std::collections::HashMap;
use std::net::Ipv4Addr;

use common::{Run, T0, settings};
use model::dialect::Dialect;
use model::firewall::Ended;
use model::state::{Micros, SECOND, TCP, UDP};
use model::wire;
use model::world::{Incident, Settings, World};
use pflow::config::{Config, apply_text};
use pflow::counters::SolicitCounters;
use pflow::wire::link::LinkType;

/// How often the listener's clock is looked at.
const STEP: Micros = SECOND / 10;

/// What pflow said of a record.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Quality {
    Exact,
    Estimated,
    Partial,
}

/// What was exported of one direction of a state.
#[derive(Clone, Copy, Debug)]
struct Export {
    packets: u64,
    octets: u64,
    /// The worst of its records.
    quality: Quality,
}

/// One direction of a state that ended: what passed, and what was exported of it.
#[derive(Clone, Copy, Debug)]
struct Record {
    /// Id and creator.
    state: (u64, u32),
    proto: u8,
    ended: Ended,
    nodes: u32,
    packets: u64,
    octets: u64,
    export: Option<Export>,
}

impl Record {
    fn is_right(&self) -> bool {
        self.export
            .is_some_and(|export| (export.packets, export.octets) == (self.packets, self.octets))
    }

    fn is(&self, quality: Quality) -> bool {
        self.export.is_some_and(|export| export.quality == quality)
    }

    /// Octets exported for one that passed.
    fn ratio(&self) -> f64 {
        self.exported() as f64 / self.octets.max(1) as f64
    }

    /// Octets exported.
    fn exported(&self) -> u64 {
        self.export.map_or(0, |export| export.octets)
    }
}

/// What came of a scenario.
struct Outcome {
    records: Vec<Record>,
    /// States that ended.
    states: usize,
    /// Records of states that passed nothing.
    invented: usize,
    /// States that were exported more than once.
    counters: SolicitCounters,
}

/// How a scenario is listened to.
#[derive(Clone, Copy, Debug)]
struct Listener {
    /// Whether it asks.
    is_asking: bool,
    /// When it starts, seconds.
    from: u64,
}

const PASSIVE: Listener = Listener {
    is_asking: false,
    from: 0,
};

const ASKING: Listener = Listener {
    is_asking: true,
    from: 0,
};

/// Plays a scenario to a listener, and an hour of silence after it.
fn play(scenario: &Settings, listener: Listener) -> Outcome {
    let mut world = World::new(scenario.clone());
    let mut config = Config::default();
    apply_text(&mut config, "test", "solicit on em1\n").unwrap();
    let soliciting = config.soliciting().filter(|_| listener.is_asking);
    let mut run = Run::with(settings(), config);
    run.advance((listener.from * 1000) as i64);
    run.engine.set_soliciting(run.now(), soliciting);
    let mut exports = HashMap::new();
    let mut ident = 0;
    for step in 1..=scenario.seconds * SECOND / STEP {
        let now = step * STEP;
        world.run_until(now);
        while let Some((at, packet)) = world.poll_packet() {
            if at >= listener.from * SECOND {
                run.frame((at / 1000) as i64, LinkType::RAW, &packet, packet.len());
            }
        }
        if now >= listener.from * SECOND {
            run.advance((now / 1000) as i64);
        }
        if let Some(solicitor) = run.engine.solicitor() {
            for (_, packet) in solicitor.requests().iter() {
                ident += 1;
                world.inject(wire::ip(Ipv4Addr::new(192, 0, 2, 9), ident, packet), now);
            }
            solicitor.requests().clear();
        }
        take(&mut run, &mut exports);
    }
    let counters = run.engine.solicit_counters().copied().unwrap_or_default();
    run.advance((scenario.seconds * 1000) as i64 + 7_200_000);
    let now = run.now();
    run.engine.finish(now);
    take(&mut run, &mut exports);
    outcome(scenario, listener, &world, exports, counters)
}

type Exports = HashMap<(u64, u32, bool), Export>;

/// Adds up the records that were printed.
fn take(run: &mut Run, exports: &mut Exports) {
    let printed = run.engine.printed();
    for line in printed
        .split(|b| *b == b'\n')
        .filter(|line| !line.is_empty())
    {
        let record: serde_json::Value = serde_json::from_slice(line).unwrap();
        let hex = |name: &str| u64::from_str_radix(record[name].as_str().unwrap(), 16).unwrap();
        let number = |name: &str| record[name].as_u64().unwrap();
        let key = (
            hex("stateId"),
            hex("creatorId") as u32,
            record["reverse"].as_bool().unwrap(),
        );
        let export = exports.entry(key).or_insert(Export {
            packets: 0,
            octets: 0,
            quality: Quality::Exact,
        });
        export.packets += number("packetDeltaCount");
        export.octets += number("octetDeltaCount");
        export.quality = export
            .quality
            .max(match record["quality"].as_str().unwrap() {
                "exact" => Quality::Exact,
                "estimated" => Quality::Estimated,
                _ => Quality::Partial,
            });
    }
    printed.clear();
}

/// Puts truth and exports side by side: of states that ended, and long enough before the end for
/// it to be heard.
fn outcome(
    scenario: &Settings,
    listener: Listener,
    world: &World,
    mut exports: Exports,
    counters: SolicitCounters,
) -> Outcome {
    let end = (scenario.seconds - 3) * SECOND;
    let (mut records, mut states) = (Vec::new(), 0);
    for truth in world.truth() {
        let account = &truth.account;
        // what was over before it listened is not its business
        let is_over = account
            .removed
            .is_some_and(|at| at < end && at >= (listener.from + 3) * SECOND);
        states += usize::from(is_over);
        for side in [0, 1] {
            let export = exports.remove(&(account.id, account.creator, side == 1));
            let was_told = account.is_announced && account.ended != Ended::Alive && is_over;
            if !was_told || (account.octets[side] == 0 && export.is_none()) {
                continue;
            }
            records.push(Record {
                state: (account.id, account.creator),
                proto: account.path.proto,
                ended: account.ended,
                nodes: truth.nodes,
                packets: account.packets[side],
                octets: account.octets[side],
                export,
            });
        }
    }
    Outcome {
        records,
        states,
        invented: exports.len(),
        counters,
    }
}

impl Outcome {
    fn share(&self, is: impl Fn(&Record) -> bool) -> f64 {
        let some = self.records.iter().filter(|record| is(record)).count();
        some as f64 / self.records.len() as f64
    }

    /// Octets exported for one that passed, of some of the records.
    fn octets(&self, of: impl Fn(&Record) -> bool) -> f64 {
        let of: Vec<_> = self.records.iter().filter(|record| of(record)).collect();
        let exported: u64 = of.iter().map(|record| record.exported()).sum();
        let truth: u64 = of.iter().map(|record| record.octets).sum();
        exported as f64 / truth as f64
    }

    /// Both records of each state as one.
    fn flows(&self) -> Vec<Record> {
        let mut flows: Vec<Record> = Vec::new();
        for record in &self.records {
            match flows.last_mut().filter(|flow| flow.state == record.state) {
                None => flows.push(*record),
                Some(flow) => {
                    flow.packets += record.packets;
                    flow.octets += record.octets;
                    flow.export = flow.export.map_or(record.export, |mut export| {
                        if let Some(more) = record.export {
                            export.packets += more.packets;
                            export.octets += more.octets;
                            export.quality = export.quality.max(more.quality);
                        }
                        Some(export)
                    });
                }
            }
        }
        flows
    }

    /// Of the records marked exact, how many are not.
    fn wrong(&self) -> f64 {
        let marked = self
            .records
            .iter()
            .filter(|record| record.is(Quality::Exact));
        let wrong = marked.clone().filter(|record| !record.is_right()).count();
        wrong as f64 / marked.count() as f64
    }

    /// Requests for each state that ended.
    fn requests(&self) -> f64 {
        let asked = &self.counters;
        let requests =
            asked.requested + asked.again + asked.repeated + asked.unknown + asked.active;
        requests as f64 / self.states as f64
    }

    fn print(&self, name: &str) {
        println!(
            "{name}: {} records, right {:.4}, octets {:.5}, marked exact {:.4} of them wrong {:.5}; \
             requests {:.3}, invented {}, missing {:.4}",
            self.records.len(),
            self.share(Record::is_right),
            self.octets(|_| true),
            self.share(|record| record.is(Quality::Exact)),
            self.wrong(),
            self.requests(),
            self.invented,
            self.share(|record| record.export.is_none()),
        );
        let mut bad: HashMap<_, u64> = HashMap::new();
        for record in self.records.iter().filter(|record| !record.is_right()) {
            let quality = record.export.map(|export| export.quality);
            *bad.entry(format!("{} {:?} {quality:?}", record.proto, record.ended))
                .or_default() += 1;
        }
        println!("  {bad:?}");
        println!("  {:?}", self.counters);
        if std::env::var("WRONG").is_ok() {
            for r in self
                .records
                .iter()
                .filter(|r| r.is(Quality::Exact) && !r.is_right())
            {
                println!("    {r:?}");
            }
        }
        let tcp = |record: &Record| record.proto == TCP;
        let flows = self.flows();
        let big: Vec<_> = flows
            .iter()
            .filter(|flow| flow.proto == TCP && flow.octets > 100_000)
            .collect();
        let near = big.iter().filter(|flow| (flow.ratio() - 1.0).abs() <= 0.1);
        let most = flows.iter().map(Record::ratio).fold(0.0, f64::max);
        println!(
            "  tcp {:.4}, big {} near {:.4}, most {most:.3}",
            self.octets(tcp),
            big.len(),
            near.count() as f64 / big.len() as f64,
        );
    }
}

fn scenario(name: &str, seed: u64, states: usize) -> Settings {
    Settings {
        seed,
        states,
        wall: T0 as u64,
        ..Settings::new(Dialect::named(name).unwrap())
    }
}

#[test]
#[ignore = "exploration"]
fn explore() {
    let seeds = std::env::var("SEEDS").unwrap_or("1".into());
    let names = std::env::var("DIALECTS").unwrap_or("obsd74".into());
    for name in names.split(',') {
        for seed in seeds.split(',') {
            let base = scenario(name, seed.parse().unwrap(), 20_000);
            play(&base, PASSIVE).print(&format!("{name} {seed} passive"));
            play(&base, ASKING).print(&format!("{name} {seed} asking"));
            let lossy = Settings {
                loss: 0.01,
                ..base.clone()
            };
            play(&lossy, ASKING).print(&format!("{name} {seed} asking loss"));
            let fail = Settings {
                nodes: 2,
                incidents: vec![(400 * SECOND, Incident::Failover)],
                ..base.clone()
            };
            play(&fail, ASKING).print(&format!("{name} {seed} failover"));
            let late = Listener {
                from: 300,
                ..ASKING
            };
            play(&base, late).print(&format!("{name} {seed} late"));
        }
    }
}
