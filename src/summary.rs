//! Floor 7: what pflow did, in a few lines: behind a replay, and to the log when asked.

use std::fmt::Write;

use crate::counters::{Counter, SourceCounters};
use crate::engine::Engine;
use crate::output::quality;
use crate::wire::pfsync::Dialect;

/// The lines.
pub fn lines(engine: &Engine, sources: &SourceCounters) -> Vec<String> {
    let mut lines = vec![packets(engine, sources)];
    lines.extend(skipped(engine));
    lines.extend(senders(engine));
    lines.push(states(engine));
    lines.extend(solicited(engine));
    lines.extend(kept(engine));
    lines.push(flows(engine));
    lines.extend(quality::lines(engine.protocol_counters()));
    lines.extend(interfaces(engine));
    lines
}

/// Joins what is not 0: `3 lost, 2 late`.
fn nonzero(counters: impl Iterator<Item = Counter>) -> String {
    let mut text = String::new();
    for counter in counters.filter(|counter| counter.value > 0) {
        let comma = if text.is_empty() { "" } else { ", " };
        let _ = write!(text, "{comma}{} {}", counter.value, counter.help);
    }
    text
}

fn packets(engine: &Engine, sources: &SourceCounters) -> String {
    let counters = engine.packet_counters();
    let mut actions = String::new();
    for (action, count) in counters.actions().filter(|(_, count)| *count > 0) {
        let comma = if actions.is_empty() { ": " } else { ", " };
        let _ = write!(actions, "{comma}{count} {}", action.name());
    }
    let mut line = format!(
        "{} packets, {} read whole, {} messages{actions}",
        sources.packets,
        counters.whole,
        counters.messages()
    );
    let dropped = SourceCounters {
        packets: 0,
        octets: 0,
        ..*sources
    };
    let dropped = nonzero(dropped.iter());
    if !dropped.is_empty() {
        let _ = write!(line, "; {dropped}");
    }
    line
}

/// Why packets were not read, or not whole.
fn skipped(engine: &Engine) -> Option<String> {
    let reasons = nonzero(engine.packet_counters().reasons());
    (!reasons.is_empty()).then(|| format!("packets not read whole: {reasons}"))
}

fn senders(engine: &Engine) -> impl Iterator<Item = String> + '_ {
    let heard = engine
        .table()
        .senders()
        .iter()
        .filter(|sender| sender.packets.packets() > 0);
    heard.map(|record| {
        let dialect = record.dialect.map_or("unknown dialect", Dialect::name);
        let packets = &record.packets;
        format!(
            "from {}: {dialect}, {} packets, {} messages",
            record.sender,
            packets.packets(),
            packets.messages()
        )
    })
}

fn states(engine: &Engine) -> String {
    let table = engine.table();
    let counters = nonzero(table.counters.iter());
    match counters.as_str() {
        "" => "no states".to_owned(),
        counters => format!("{counters}; {} alive", table.len()),
    }
}

/// Keep files written, if there was to be one.
fn kept(engine: &Engine) -> Option<String> {
    let counters = engine.keep_counters()?;
    Some(match nonzero(counters.iter()).as_str() {
        "" => "no keep files written".to_owned(),
        counters => counters.to_owned(),
    })
}

/// What firewalls were asked for, if they were to be.
fn solicited(engine: &Engine) -> Option<String> {
    let counters = engine.solicit_counters()?;
    Some(match nonzero(counters.iter()).as_str() {
        "" => "no states asked for".to_owned(),
        counters => format!("soliciting: {counters}"),
    })
}

fn flows(engine: &Engine) -> String {
    let counters = engine.flow_counters();
    let is_reason = |name| matches!(name, "unflagged" | "direction" | "filtered" | "empty");
    let left_out = nonzero(counters.iter().filter(|counter| is_reason(counter.name)));
    let mut line = format!(
        "{} flows, {} records, {} octets",
        counters.exported, counters.records, counters.octets
    );
    line.push_str(&quality::by_quality(&engine.protocol_counters().all()));
    if !left_out.is_empty() {
        let _ = write!(line, "; {left_out}");
    }
    let clamped = nonzero(counters.iter().filter(|counter| counter.name == "clamped"));
    if !clamped.is_empty() {
        let _ = write!(line, "; {clamped}");
    }
    line
}

fn interfaces(engine: &Engine) -> impl Iterator<Item = String> + '_ {
    engine.interfaces().iter().map(|interface| {
        let counters = interface.counters;
        let rest = nonzero(counters.iter().filter(|c| {
            matches!(
                c.name,
                "idle"
                    | "direction"
                    | "ipv6"
                    | "clipped"
                    | "clamped"
                    | "send_errors"
                    | "no_memory"
                    | "crowded"
                    | "overtaken"
                    | "unqueued"
                    | "disconnected"
                    | "unconnected"
                    | "in_doubt"
                    | "refused"
                    | "unreachable"
                    | "tap_dropped"
            )
        }));
        let mut line = format!(
            "pflow{}: {} records, {} template messages, {} datagrams sent, {} octets",
            interface.unit(),
            counters.records,
            counters.templates,
            counters.datagrams,
            counters.octets
        );
        if !rest.is_empty() {
            let _ = write!(line, "; {rest}");
        }
        line
    })
}
