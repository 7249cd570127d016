//! `pfsim connections truth.json flows.json`: each connection beside the flows that were made of it.
//!
//! `flows.json` is what `pflow -o json -e 'records connection'` printed. The truth has the states, and
//! which of them one connection made. Of every connection all packets and octets are counted once,
//! however many states it had. One whose two states were made by one packet, and ended within a
//! minute of each other, is one flow: with the ends that came in and those that went out, with both
//! interfaces, from the earlier first packet to the later last. A state without another is a flow by
//! itself.
//!
//! Not compared are connections of which a state is alive at the end, or was never told of; those
//! whose states two firewalls made, which pflow does not join; and those with a flow that is not marked
//! exact, which may be one in ten: see `-q`. Something wrong ends it with a failure.

use std::collections::{BTreeMap, HashMap};
use std::error::Error;

use serde_json::Value;

use crate::Outcome;
use crate::compare::{count, lines, text};

/// How far a time may be from the truth: states tell them in whole seconds.
const SECONDS: f64 = 2.0;
/// How far apart one packet makes two states.
const TWINS: f64 = 0.01;
/// How far the end may be where two firewalls answer: that of one puts off the other's time-out.
const ANSWERED: f64 = 6.0;
/// The last message about a state is sent so long after it ended.
const QUEUED: f64 = 2.0;
/// Of so many connections one may have flows that are not exact.
const EXACT: u64 = 10;
/// How long pflow waits for the other state of a connection.
const PATIENCE: f64 = 60.0;

/// Of one kind of connection.
#[derive(Clone, Copy, Debug, Default)]
struct Row {
    connections: u64,
    states: u64,
    records: u64,
    packets: u64,
    octets: u64,
}

fn pair(state: &Value, name: &str) -> [u64; 2] {
    [0, 1].map(|side| state[name][side].as_u64().unwrap_or(0))
}

fn sums<'a>(states: impl Iterator<Item = &'a Value>, name: &str) -> [u64; 2] {
    states.fold([0; 2], |[a, b], state| {
        let [c, d] = pair(state, name);
        [a + c, b + d]
    })
}

/// What a connection that came in as `first` and left as `last` is, in a word.
fn kind(first: &Value, last: &Value) -> &'static str {
    let is_moved = |state: &Value, end: &str| state[end] != state[&*format!("nat_{end}")];
    if first == last {
        return match (
            version(&first["src"]) == version(&first["nat_src"]),
            first["dir"] == "in",
        ) {
            (false, _) => "af-to",
            (true, true) => "to the firewall",
            (true, false) => "from the firewall",
        };
    }
    match (is_moved(first, "dst"), is_moved(last, "src")) {
        (true, true) => "rdr-to, nat-to",
        (true, false) => "rdr-to",
        (false, true) => "nat-to",
        (false, false) => "forwarded",
    }
}

/// `IPv4` or `IPv6`.
fn version(address: &Value) -> &'static str {
    match address.as_str() {
        Some(text) if text.contains(':') => "IPv6",
        _ => "IPv4",
    }
}

/// What the record of one direction has to say of the ends of a connection that came in as `first`
/// and left as `last`.
fn ends(first: &Value, last: &Value, is_back: bool) -> Vec<(String, Value)> {
    let has_ports = matches!(first["proto"].as_u64(), Some(6 | 17));
    let is_moved = ["src", "dst"].iter().any(|end| {
        let (port, after) = (
            end.replace("src", "s").replace("dst", "d"),
            format!("nat_{end}"),
        );
        let (port, after_port) = (format!("{port}port"), format!("nat_{port}port"));
        first[*end] != last[&*after] || first[&*port] != last[&*after_port]
    });
    let mut roles = ["Source", "Destination"];
    if is_back {
        roles.reverse();
    }
    let mut all = Vec::new();
    for (role, [end, port]) in roles.into_iter().zip([["src", "sport"], ["dst", "dport"]]) {
        let moved = |name: &str| match is_moved {
            true => last[&*format!("nat_{name}")].clone(),
            false => Value::Null,
        };
        let plain = role.to_lowercase();
        let (before, after) = (first[end].clone(), moved(end));
        all.push((format!("{plain}{}Address", version(&before)), before));
        all.push((format!("postNAT{role}{}Address", version(&after)), after));
        if has_ports {
            all.push((format!("{plain}TransportPort"), first[port].clone()));
            all.push((format!("postNAPT{role}TransportPort"), moved(port)));
        }
    }
    all
}

/// What is wrong with the records of the one flow of a connection that came in as `first` and left as
/// `last`, which are the same if it has one state.
fn difference(records: &[&Value], first: &Value, last: &Value, late: f64) -> Option<String> {
    let of = |name: &str| [first, last].map(|state| state[name].as_f64().unwrap_or(0.0));
    let ([a, b], [c, d]) = (of("start_s"), of("last_s"));
    let egress = match first == last {
        true => Value::Null,
        false => last["interface"].clone(),
    };
    for (n, record) in records.iter().enumerate() {
        let is_back = record["reverse"] == true;
        if records
            .iter()
            .take(n)
            .any(|other| other["reverse"] == is_back)
        {
            return Some("more than one flow".to_owned());
        }
        let mut wanted = ends(first, last, is_back);
        wanted.push(("interfaceName".to_owned(), first["interface"].clone()));
        wanted.push(("egressInterfaceName".to_owned(), egress.clone()));
        wanted.push(("stateId".to_owned(), first["id"].clone()));
        for (name, value) in wanted {
            if record[&*name] != value {
                return Some(format!("{name} is {}, not {value}", record[&*name]));
            }
        }
        let told = |name: &str| record[name].as_f64().unwrap_or(0.0) / 1000.0;
        let (start, end) = (told("flowStartMilliseconds"), told("flowEndMilliseconds"));
        let is_late = end - c.max(d) > late;
        if (start - a.min(b)).abs() > SECONDS || c.max(d) - end > SECONDS || is_late {
            return Some(format!(
                "from {start} to {end}, not {a} or {b} to {c} or {d}"
            ));
        }
    }
    None
}

/// Counters that the flows of a connection may have: all that passed. Where a packet came in and did
/// not leave, either will do.
fn is_counted_once(counted: [u64; 2], into: [u64; 2], out: [u64; 2]) -> bool {
    (0..2).all(|side| {
        (into[side].min(out[side])..=into[side].max(out[side])).contains(&counted[side])
    })
}

/// What was made of a connection: its row, or what is wrong.
fn judge(states: &[&Value], records: &[&Value], late: f64) -> Result<(&'static str, Row), String> {
    let is = |dir: &'static str| move |state: &&&Value| state["dir"] == dir;
    let into: Vec<&Value> = states.iter().filter(is("in")).copied().collect();
    let out: Vec<&Value> = states.iter().filter(is("out")).copied().collect();
    let mut row = Row {
        connections: 1,
        states: states.len() as u64,
        records: records.len() as u64,
        ..Row::default()
    };
    for (name, told, sum) in [
        ("packets", "packetDeltaCount", &mut row.packets),
        ("octets", "octetDeltaCount", &mut row.octets),
    ] {
        let of = |some: &[&Value], others: &[&Value]| match some.is_empty() {
            true => sums(others.iter().copied(), name),
            false => sums(some.iter().copied(), name),
        };
        let (came, left) = (of(&into, &out), of(&out, &into));
        let mut counted = [0; 2];
        for record in records {
            counted[usize::from(record["reverse"] == true)] += count(record, told);
        }
        if !is_counted_once(counted, came, left) {
            return Err(format!("{counted:?} {name}, not {came:?} or {left:?}"));
        }
        *sum = counted.iter().sum();
    }
    let start = |state: &Value| state["start_s"].as_f64().unwrap_or(0.0);
    let removed = |state: &Value| state["removed_s"].as_f64().unwrap_or(f64::MAX);
    let ends = match (&*into, &*out) {
        ([one], [other])
            if (start(one) - start(other)).abs() < TWINS
                && (removed(one) - removed(other)).abs() < PATIENCE =>
        {
            Some((*one, *other))
        }
        ([one], []) | ([], [one]) => Some((*one, *one)),
        _ => None,
    };
    let Some((first, last)) = ends else {
        return Ok(("made anew", row));
    };
    match difference(records, first, last, late) {
        Some(difference) => Err(difference),
        None => Ok((kind(first, last), row)),
    }
}

pub(crate) fn run(words: &[&str]) -> Outcome {
    let [truth, flows] = words else {
        return Err("usage: pfsim connections truth.json flows.json".into());
    };
    let (truth, flows) = (lines(truth)?, lines(flows)?);
    let connections = connections(&truth, &flows)?;
    let meta = truth.first().ok_or("an empty truth")?;
    let of_meta = |name: &str| meta[name].as_f64().unwrap_or(0.0);
    let end = of_meta("wall0") + of_meta("seconds") - QUEUED;
    let late = if meta["nodes"] == 1 {
        SECONDS
    } else {
        ANSWERED
    };
    let (mut skipped, mut apart, mut inexact, mut compared, mut wrong) = (0, 0, 0, 0, 0);
    let mut rows: BTreeMap<&'static str, Row> = BTreeMap::new();
    for (states, records) in connections.values() {
        match worth(states, records, end) {
            Worth::Untold => skipped += 1,
            Worth::Apart => apart += 1,
            Worth::Inexact => inexact += 1,
            Worth::Compared => {
                compared += 1;
                match judge(states, records, late) {
                    Ok((kind, row)) => rows.entry(kind).or_default().add(&row),
                    Err(problem) => {
                        wrong += 1;
                        if wrong <= 3 {
                            show(&problem, states, records);
                        }
                    }
                }
            }
        }
    }
    print(&rows);
    println!(
        "not compared: {skipped} with a state that is alive at the end, or never announced, \
         {apart} with states of two firewalls, {inexact} that are not exact"
    );
    match wrong {
        0 if inexact * EXACT <= compared => Ok(()),
        0 => Err(format!("{inexact} of {} are not exact", compared + inexact).into()),
        _ => Err(format!("{wrong} connections are wrong").into()),
    }
}

/// The states and the flows of each connection, by its number.
type Connections<'a> = BTreeMap<u64, (Vec<&'a Value>, Vec<&'a Value>)>;

fn connections<'a>(
    truth: &'a [Value],
    flows: &'a [Value],
) -> Result<Connections<'a>, Box<dyn Error>> {
    let mut connections = Connections::new();
    // an id may have been used by one state after another
    let mut numbers: HashMap<(String, String), Vec<(f64, u64)>> = HashMap::new();
    for state in truth.iter().filter(|line| line["type"] == "state") {
        let number = state["connection"]
            .as_u64()
            .ok_or("a state of no connection")?;
        let start = state["start_s"].as_f64().unwrap_or(0.0);
        let key = (text(state, "creatorid"), text(state, "id"));
        numbers.entry(key).or_default().push((start, number));
        connections.entry(number).or_default().0.push(state);
    }
    for flow in flows {
        let number = numbers.get(&(text(flow, "creatorId"), text(flow, "stateId")));
        let number = number.ok_or_else(|| format!("a flow of no state: {flow}"))?;
        let told = flow["flowStartMilliseconds"].as_f64().unwrap_or(0.0) / 1000.0;
        let apart = |(start, _): &&(f64, u64)| (start - told).abs();
        let nearest = number.iter().min_by(|a, b| apart(a).total_cmp(&apart(b)));
        let (_, number) = nearest.ok_or("a state of no connection")?;
        connections.entry(*number).or_default().1.push(flow);
    }
    Ok(connections)
}

/// Whether a connection can be compared.
enum Worth {
    Compared,
    /// Not all of its states ended, or were announced.
    Untold,
    /// What two firewalls made is not joined.
    Apart,
    /// Its counters are not exact.
    Inexact,
}

fn worth(states: &[&Value], records: &[&Value], end: f64) -> Worth {
    let is_untold = |state: &&Value| {
        let is_late = state["removed_s"]
            .as_f64()
            .is_none_or(|removed| removed > end);
        state["ended"] == "alive" || state["invisible"] == true || is_late
    };
    if states.iter().any(is_untold) {
        return Worth::Untold;
    }
    let is_other = |state: &&Value| state["creatorid"] != states[0]["creatorid"];
    if states.iter().any(is_other) {
        return Worth::Apart;
    }
    match records.iter().any(|record| record["quality"] != "exact") {
        true => Worth::Inexact,
        false => Worth::Compared,
    }
}

fn show(problem: &str, states: &[&Value], records: &[&Value]) {
    println!("{problem}:");
    for line in states.iter().chain(records) {
        println!("  {line}");
    }
}

impl Row {
    fn add(&mut self, other: &Self) {
        self.connections += other.connections;
        self.states += other.states;
        self.records += other.records;
        self.packets += other.packets;
        self.octets += other.octets;
    }
}

fn print(rows: &BTreeMap<&'static str, Row>) {
    println!(
        "{:18}{:>12}{:>9}{:>9}{:>12}{:>16}",
        "", "connections", "states", "records", "packets", "octets"
    );
    for (kind, row) in rows {
        println!(
            "{kind:18}{:>12}{:>9}{:>9}{:>12}{:>16}",
            row.connections, row.states, row.records, row.packets, row.octets
        );
    }
}
