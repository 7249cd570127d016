//! `pfsim compare truth.json flows.json [collected.json]`: what passed beside what was exported.
//!
//! `flows.json` is what `pflow -o json` printed, one record a line; records of one state and
//! direction are added up. `collected.json` is what `pfsim collect` printed. A state that still
//! lives at the end, or that no firewall ever told of, is not compared, but counted.

use std::collections::HashMap;
use std::fs;

use serde_json::Value;

use crate::Outcome;

/// States by protocol, in the order of the table.
const ROWS: [(&str, &[u64]); 4] = [
    ("TCP", &[6]),
    ("UDP", &[17]),
    ("ICMP", &[1, 58]),
    ("other", &[]),
];

/// What a record says its counters are worth.
const QUALITIES: [&str; 3] = ["exact", "estimated", "partial"];

/// One row.
#[derive(Clone, Copy, Debug, Default)]
struct Row {
    states: u64,
    /// Octets that passed.
    truth: u64,
    /// Octets that were exported.
    exported: u64,
    /// Octets by what they are said to be worth.
    by_quality: [u64; 3],
    /// Directions with packets, and those of them exported with the very numbers.
    directions: u64,
    right: u64,
    /// Directions marked exact that are not.
    wrong: u64,
    /// What the collector got.
    collected: u64,
}

fn row(proto: u64) -> usize {
    let known = ROWS.iter().position(|(_, protos)| protos.contains(&proto));
    known.unwrap_or(ROWS.len() - 1)
}

/// What was exported of one direction of a state.
#[derive(Clone, Debug, Default)]
struct Exported {
    packets: u64,
    octets: u64,
    /// The worst of its records.
    quality: Option<usize>,
}

type Key = (String, String, bool);

pub(crate) fn lines(path: &str) -> Result<Vec<Value>, Box<dyn std::error::Error>> {
    let text = fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
    let values: Result<Vec<Value>, _> = text.lines().map(serde_json::from_str).collect();
    values.map_err(|error| format!("{path}: {error}").into())
}

pub(crate) fn count(value: &Value, name: &str) -> u64 {
    value[name].as_u64().unwrap_or(0)
}

pub(crate) fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or("").to_owned()
}

/// Exported records by state and direction.
fn exported(flows: &[Value]) -> HashMap<Key, Exported> {
    let mut all: HashMap<Key, Exported> = HashMap::new();
    for flow in flows {
        let is_reverse = flow["reverse"] == true;
        let key = (text(flow, "creatorId"), text(flow, "stateId"), is_reverse);
        let sum = all.entry(key).or_default();
        sum.packets += count(flow, "packetDeltaCount");
        sum.octets += count(flow, "octetDeltaCount");
        let quality = flow["quality"].as_str();
        let quality = QUALITIES.iter().position(|name| quality == Some(*name));
        sum.quality = sum.quality.max(quality);
    }
    all
}

pub(crate) fn run(words: &[&str]) -> Outcome {
    let (truth, flows, collected) = match words {
        [truth, flows] => (lines(truth)?, lines(flows)?, None),
        [truth, flows, collected] => (lines(truth)?, lines(flows)?, Some(lines(collected)?)),
        _ => return Err("usage: pfsim compare truth.json flows.json [collected.json]".into()),
    };
    let mut exported = exported(&flows);
    let mut rows = [Row::default(); ROWS.len()];
    let (mut alive, mut invisible) = (0, 0);
    for state in truth.iter().filter(|line| line["type"] == "state") {
        alive += u64::from(state["ended"] == "alive");
        invisible += u64::from(state["invisible"] == true);
        if state["ended"] == "alive" || state["invisible"] == true {
            continue;
        }
        let row = &mut rows[row(count(state, "proto"))];
        row.states += 1;
        for (side, is_reverse) in [(0, false), (1, true)] {
            let key = (text(state, "creatorid"), text(state, "id"), is_reverse);
            let packets = state["packets"][side].as_u64().unwrap_or(0);
            let octets = state["octets"][side].as_u64().unwrap_or(0);
            row.add(packets, octets, &exported.remove(&key).unwrap_or_default());
        }
    }
    for line in collected.iter().flatten() {
        rows[row(count(line, "protocolIdentifier"))].collected += count(line, "octets");
    }
    print(&rows, collected.is_some());
    println!("not compared: {alive} states alive at the end, {invisible} never announced");
    let wrong: u64 = rows.iter().map(|row| row.wrong).sum();
    if wrong > 0 {
        println!("{wrong} records are marked exact and are not");
    }
    if !exported.is_empty() {
        println!("{} records of other states", exported.len());
    }
    Ok(())
}

impl Row {
    fn add(&mut self, packets: u64, octets: u64, export: &Exported) {
        self.truth += octets;
        self.exported += export.octets;
        let is_right = (packets, octets) == (export.packets, export.octets);
        if packets > 0 {
            self.directions += 1;
            self.right += u64::from(is_right);
        }
        if let Some(quality) = export.quality {
            self.by_quality[quality] += export.octets;
            self.wrong += u64::from(quality == 0 && !is_right);
        }
    }
}

/// A share in per cent.
fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "-".to_owned();
    }
    format!("{:.2}%", 100.0 * part as f64 / whole as f64)
}

fn print(rows: &[Row], has_collector: bool) {
    let has_quality = rows.iter().any(|row| row.by_quality != [0; 3]);
    print!(
        "{:6}{:>8}{:>16}{:>16}{:>9}",
        "", "states", "octets", "exported", ""
    );
    if has_quality {
        for quality in QUALITIES {
            print!("{quality:>11}");
        }
    }
    print!("{:>14}", "right records");
    println!(
        "{}",
        if has_collector {
            "       collected"
        } else {
            ""
        }
    );
    for ((name, _), row) in ROWS.iter().zip(rows) {
        let share = percent(row.exported, row.truth);
        print!(
            "{name:6}{:>8}{:>16}{:>16}{share:>9}",
            row.states, row.truth, row.exported
        );
        if has_quality {
            for octets in row.by_quality {
                print!("{:>11}", percent(octets, row.exported));
            }
        }
        print!("{:>14}", percent(row.right, row.directions));
        if has_collector {
            print!("{:>16}", row.collected);
        }
        println!();
    }
}
