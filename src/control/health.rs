//! `show health`: why a collector shows nothing, in at most [`LINES`] lines of [`COLUMNS`] columns.
//!
//! ```text
//! 2 troubles                                                     or: ok
//! ! 192.0.2.1: none of ...: say "set state-defaults pflow" ...   what is wrong, and what to do
//! em1: 120 packets, 0 dropped, last 0 s ago                      each source
//! 192.0.2.1: openbsd-4.7, 24 states, 0% pflow, clock +0 s, ...   each firewall
//! flows: 7 exported; left out: 2 unmarked                        and why
//! octets: 80% exact, 15% estimated, 5% known to be short         what they are worth
//! udp: 98% of flows, 93% of octets are short, ...                where it is little
//! pflow0: nobody listens, last 3 s ago, 0 lost: udp 192...       each interface, records lost
//! ```
//! If there is not room for all sources, firewalls and interfaces, those with troubles come first,
//! and a line says how many are left out. States are counted by sender in steps, as for `show
//! senders`. Everything else is counted already.

use std::fmt::Write;
use std::time::Duration;

use super::interfaces;
use super::senders::{self, SenderCount};
use super::view::{AnswerForm, Progress, View, put};
use crate::counters::{FlowCounters, QualityCounters};
use crate::export::{Carrier, Connection, Interface};
use crate::output::json::Object;
use crate::table::SenderRecord;
use crate::time::Uptime;
use crate::troubles::{self, Source};
use crate::wire::pfsync::Dialect;

/// Most lines.
const LINES: usize = 15;
/// Most columns of each.
const COLUMNS: usize = 80;
/// Most lines about troubles; the rest is for what there is.
const TROUBLE_LINES: usize = 6;

/// Appends the answer, once states are counted.
pub(super) fn step(
    view: &View<'_>,
    states: &mut SenderCount,
    form: AnswerForm,
    out: &mut Vec<u8>,
) -> Progress {
    match states {
        SenderCount::Counting(place, counts) => {
            *states = senders::count(view, *place, std::mem::take(counts));
            Progress::More
        }
        SenderCount::Counted(next, counts) => match form {
            AnswerForm::Text => {
                text(view, counts, out);
                Progress::Done
            }
            AnswerForm::Json => json_step(view, next, counts, out),
        },
    }
}

/// Cuts a line to the columns there are: names and problems come from elsewhere.
fn fit(line: &str) -> String {
    if line.chars().count() <= COLUMNS {
        return line.to_owned();
    }
    let cut: String = line.chars().take(COLUMNS - 3).collect();
    cut + "..."
}

/// A text in lines, all but the first of them indented.
fn wrapped(text: &str) -> Vec<String> {
    let (mut lines, mut line) = (Vec::new(), String::new());
    for word in text.split(' ') {
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > COLUMNS {
            lines.push(fit(&line));
            line = "  ".to_owned();
        } else if !line.is_empty() {
            line.push(' ');
        }
        line += word;
    }
    lines.push(fit(&line));
    lines
}

/// How many lines each gets of `room`, fairly, and no more than it wants.
fn shared<const N: usize>(mut room: usize, wants: [usize; N]) -> [usize; N] {
    let mut given = [0; N];
    loop {
        let before = room;
        for (given, wanted) in given.iter_mut().zip(wants) {
            if *given < wanted && room > 0 {
                *given += 1;
                room -= 1;
            }
        }
        if room == before {
            return given;
        }
    }
}

/// The lines about things of one kind that fit; the last says how many do not.
fn cut(mut lines: Vec<String>, room: usize, what: &str, out: &mut Vec<String>) {
    if lines.len() > room {
        let shown = room.saturating_sub(1);
        let left = lines.len() - shown;
        lines.truncate(shown);
        lines.push(format!("... and {left} more {what}"));
    }
    out.extend(lines.iter().map(|line| fit(line)));
}

fn text(view: &View<'_>, counts: &[u64], out: &mut Vec<u8>) {
    let troubles: Vec<_> = view.troubles.lasting().collect();
    let count = troubles.len() + view.troubles.beyond();
    let mut lines = vec![match count {
        0 => "ok".to_owned(),
        1 => "1 trouble".to_owned(),
        count => format!("{count} troubles"),
    }];
    lines.extend(trouble_lines(&troubles, count));
    let firewalls = firewalls(view, counts);
    let [sources, heard, ways] = [
        source_lines(view),
        firewalls.iter().map(|one| one.line(view)).collect(),
        interface_lines(view),
    ];
    let worth = worth_lines(view);
    let room = LINES.saturating_sub(lines.len() + 1 + worth.len());
    let wants = [sources.len(), heard.len(), ways.len()];
    let [of_sources, of_firewalls, of_interfaces] = shared(room, wants);
    cut(sources, of_sources, "sources", &mut lines);
    cut(heard, of_firewalls, "firewalls", &mut lines);
    lines.push(fit(&flow_line(&view.engine.flow_counters())));
    lines.extend(worth.iter().map(|line| fit(line)));
    cut(ways, of_interfaces, "interfaces", &mut lines);
    for line in lines {
        put!(out, "{line}\n");
    }
}

fn trouble_lines(troubles: &[&troubles::Trouble], count: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for (shown, trouble) in troubles.iter().enumerate() {
        let more = wrapped(&format!("! {}: {}", trouble.what(), trouble.remedy()));
        let is_last = shown + 1 == count;
        if lines.len() + more.len() + usize::from(!is_last) > TROUBLE_LINES {
            let left = count - shown;
            lines.push(format!("! ... and {left} more: pflowctl -j show health"));
            break;
        }
        lines.extend(more);
    }
    lines
}

/// `3 s ago`.
fn ago(since: Duration) -> String {
    format!("{} s ago", since.as_secs())
}

fn since(view: &View<'_>, then: Uptime) -> Duration {
    view.now
        .map_or(Duration::ZERO, |now| now.uptime.since(then))
}

fn last(view: &View<'_>, then: Option<Uptime>) -> String {
    match then {
        Some(then) => format!("last {}", ago(since(view, then))),
        None => "none yet".to_owned(),
    }
}

fn dropped(source: &Source) -> u64 {
    source.counters.kernel_dropped + source.counters.interface_dropped
}

fn source_lines(view: &View<'_>) -> Vec<String> {
    let mut sources: Vec<_> = view.sources.iter().collect();
    sources.sort_by_key(|source| (source.problem.is_none(), dropped(source) == 0));
    let line = |source: &Source| {
        let Source { name, counters, .. } = source;
        let (packets, dropped) = (counters.packets, dropped(source));
        let mut line = format!("{name}: {packets} packets, {dropped} dropped");
        let _ = match &source.problem {
            Some(problem) => write!(line, ", lost: {problem}"),
            None if packets == 0 || source.last.is_some() => {
                write!(line, ", {}", last(view, source.last))
            }
            None => Ok(()),
        };
        line
    };
    sources.into_iter().map(line).collect()
}

/// A firewall that was heard.
struct Firewall<'a> {
    record: &'a SenderRecord,
    states: u64,
    /// Percent of its states that are marked, where its dialect tells.
    marked: Option<u64>,
    /// Percent of its latest updates that were of states not known.
    unknown: Option<u64>,
    is_troubled: bool,
}

/// Those heard, the troubled ones first.
fn firewalls<'a>(view: &View<'a>, counts: &[u64]) -> Vec<Firewall<'a>> {
    let records = view.engine.table().senders().iter().enumerate();
    let heard = records.filter(|(_, record)| record.packets.packets() > 0);
    let mut firewalls: Vec<_> = heard
        .map(|(number, record)| Firewall::new(view, number, record, counts))
        .collect();
    firewalls.sort_by_key(|one| !one.is_troubled);
    firewalls
}

impl<'a> Firewall<'a> {
    fn new(view: &View<'_>, number: usize, record: &'a SenderRecord, counts: &[u64]) -> Self {
        let counters = &record.counters;
        let tells = record.dialect.is_some_and(Dialect::carries_pflow) && counters.learned > 0;
        let marked = counters.learned.saturating_sub(counters.unmarked);
        let name = record.sender.to_string();
        let clock = format!("clock of {name}");
        let is_about = |trouble: &troubles::Trouble| [&*name, &*clock].contains(&trouble.subject());
        Self {
            record,
            states: counts.get(number).copied().unwrap_or(0),
            marked: tells.then(|| marked.saturating_mul(100) / counters.learned.max(1)),
            unknown: view.troubles.unknown_share(number),
            is_troubled: view.troubles.lasting().any(is_about),
        }
    }

    fn line(&self, view: &View<'_>) -> String {
        let Self { record, states, .. } = self;
        let dialect = record.dialect.map_or("unknown", Dialect::name);
        let mut line = format!("{}: {dialect}, {states} states", record.sender);
        if let Some(percent) = self.marked {
            let _ = write!(line, ", {percent}% pflow");
        }
        let _ = write!(line, ", clock {:+} s", record.clock_offset());
        if let Some(percent) = self.unknown {
            let _ = write!(line, ", {percent}% not known");
        }
        if let Some(now) = view.now {
            let _ = write!(line, ", {}", ago(now.wall.since(record.last)));
        }
        line
    }
}

/// What was left out, and the words for why.
fn left_out(flows: &FlowCounters) -> impl Iterator<Item = (&'static str, u64)> {
    let reasons = [
        ("not marked pflow", flows.unflagged),
        ("of another direction", flows.direction),
        ("without octets", flows.empty),
    ];
    reasons.into_iter().filter(|(_, count)| *count > 0)
}

fn flow_line(flows: &FlowCounters) -> String {
    let mut line = format!("flows: {} exported", flows.exported);
    for (number, (why, count)) in left_out(flows).enumerate() {
        let before = if number == 0 { "; left out: " } else { ", " };
        let _ = write!(line, "{before}{count} {why}");
    }
    line
}

fn percent(part: u64, of: u64) -> u64 {
    u64::try_from(u128::from(part) * 100 / u128::from(of.max(1))).unwrap_or(100)
}

/// What the octets exported are worth. Of UDP a firewall that nobody asks tells little: what is
/// missed there must not hide behind TCP.
fn worth_lines(view: &View<'_>) -> Vec<String> {
    let all = view.engine.protocol_counters().all();
    let octets = all.octets();
    if octets == 0 {
        return vec!["octets: none yet".to_owned()];
    }
    let mut lines = vec![format!(
        "octets: {}% exact, {}% estimated, {}% known to be short",
        percent(all.exact_octets, octets),
        percent(all.estimated_octets, octets),
        percent(all.partial_octets, octets),
    )];
    if let Some(udp) = udp(view).filter(|udp| udp.partial > 0) {
        lines.push(format!(
            "udp: {}% of flows, {}% of octets are short, passively heard: see counters and solicit",
            percent(udp.partial, udp.flows()),
            percent(udp.partial_octets, udp.octets()),
        ));
    }
    if let Some(pf) = view.engine.pf_counters() {
        lines.push(format!(
            "pf: asked for {} states, told {}, {} were gone; all were read {} times",
            pf.asked, pf.answered, pf.gone, pf.reads,
        ));
    }
    lines
}

fn udp(view: &View<'_>) -> Option<QualityCounters> {
    let mut protocols = view.engine.protocol_counters().iter();
    let udp = protocols.find(|(name, _)| *name == "udp");
    udp.map(|(_, counters)| counters)
}

fn is_troubled(view: &View<'_>, interface: &Interface) -> bool {
    let name = format!("pflow{}", interface.unit());
    view.troubles
        .lasting()
        .any(|trouble| trouble.subject() == name)
}

fn interface_lines(view: &View<'_>) -> Vec<String> {
    let mut interfaces: Vec<_> = view.engine.interfaces().iter().collect();
    interfaces.sort_by_key(|interface| !is_troubled(view, interface));
    interfaces
        .into_iter()
        .map(|interface| interface_line(view, interface))
        .collect()
}

/// What its state is, in a word or some.
fn state(interface: &Interface) -> String {
    let settings = interface.settings();
    if !interface.is_running() {
        return if settings.is_up { "no flowdst" } else { "down" }.to_owned();
    }
    match interface.connection() {
        Some(Connection::Connected(_)) => return "connected".to_owned(),
        Some(Connection::Connecting(_)) => return "connecting".to_owned(),
        Some(Connection::Down { .. }) => return "not connected".to_owned(),
        None => {}
    }
    match (interface.file(), interface.session().state().problem()) {
        (file, _) if file.problem.is_some() => "cannot be written".to_owned(),
        _ if interface.send_problem().is_some() => "cannot send".to_owned(),
        (_, Some(problem)) => problem.to_owned(),
        _ if settings.file.is_some() => "written".to_owned(),
        _ if settings.carrier == Carrier::Udp => "nothing tells if it arrives".to_owned(),
        _ => "up".to_owned(),
    }
}

/// What carries its records, and where to.
fn way(interface: &Interface) -> String {
    let settings = interface.settings();
    match (&settings.file, settings.flowdst) {
        (Some(file), _) => format!("file {file}"),
        (None, Some(to)) => format!("{} {to}", settings.carrier.name()),
        (None, None) => settings.carrier.name().to_owned(),
    }
}

fn interface_line(view: &View<'_>, interface: &Interface) -> String {
    let unit = interface.unit();
    let lost = interface.counters.records_refused;
    let sent = last(view, view.troubles.last_sent(unit));
    let (way, state) = (way(interface), state(interface));
    let mut line = format!("pflow{unit}: {state}, {sent}, {lost} lost: {way}");
    if let Some(spool) = interface.spool() {
        let _ = write!(line, ", spool {} octets", spool.octets);
    }
    line
}

/// What the next line of JSON is about.
fn json_step(view: &View<'_>, next: &mut u32, counts: &[u64], out: &mut Vec<u8>) -> Progress {
    if *next == 0 {
        json_head(view, out);
        for source in view.sources {
            json_source(view, source, out);
        }
        json_flows(view, out);
        for interface in view.engine.interfaces() {
            json_interface(view, interface, out);
        }
    }
    let number = *next as usize;
    *next += 1;
    match view.engine.table().senders().get(number) {
        Some(record) if record.packets.packets() > 0 => {
            json_firewall(view, &Firewall::new(view, number, record, counts), out);
            Progress::More
        }
        Some(_) => Progress::More,
        None => Progress::Done,
    }
}

fn json_head(view: &View<'_>, out: &mut Vec<u8>) {
    let troubles = view.troubles.lasting().count() + view.troubles.beyond();
    line(out, "health", |object| {
        object.boolean("ok", troubles == 0);
        object.number("troubles", troubles);
    });
    for trouble in view.troubles.lasting() {
        line(out, "trouble", |object| {
            object.string("cause", trouble.cause().name());
            object.string("subject", trouble.subject());
            object.string("what", trouble.what());
            object.string("remedy", trouble.remedy());
            if let Some(now) = view.now {
                object.number("lasts", trouble.lasts(now.uptime).as_secs());
            }
        });
    }
}

fn line(out: &mut Vec<u8>, part: &str, fill: impl FnOnce(&mut Object<'_>)) {
    let mut object = Object::new(out);
    object.string("part", part);
    fill(&mut object);
    object.end();
    out.push(b'\n');
}

fn json_source(view: &View<'_>, source: &Source, out: &mut Vec<u8>) {
    line(out, "source", |object| {
        object.string("of", &source.name);
        object.number("packets", source.counters.packets);
        object.number("dropped", dropped(source));
        if let Some(then) = source.last {
            object.number("secondsAgo", since(view, then).as_secs());
        }
        if let Some(problem) = &source.problem {
            object.string("problem", problem);
        }
    });
}

fn json_firewall(view: &View<'_>, firewall: &Firewall<'_>, out: &mut Vec<u8>) {
    let record = firewall.record;
    line(out, "firewall", |object| {
        object.string("of", record.sender);
        object.string("dialect", record.dialect.map_or("unknown", Dialect::name));
        object.number("states", firewall.states);
        if let Some(percent) = firewall.marked {
            object.number("percentMarked", percent);
        }
        object.number("clockOffset", record.clock_offset());
        if let Some(percent) = firewall.unknown {
            object.number("percentNotKnown", percent);
        }
        if let Some(now) = view.now {
            object.number("secondsAgo", now.wall.since(record.last).as_secs());
        }
    });
}

fn json_flows(view: &View<'_>, out: &mut Vec<u8>) {
    let flows = view.engine.flow_counters();
    line(out, "flows", |object| {
        object.number("exported", flows.exported);
        object.number("unflagged", flows.unflagged);
        object.number("direction", flows.direction);
        object.number("empty", flows.empty);
    });
    for (protocol, counters) in view.engine.protocol_counters().iter() {
        line(out, "quality", |object| {
            object.string("of", protocol);
            for counter in counters.iter() {
                object.number(counter.name, counter.value);
            }
        });
    }
}

fn json_interface(view: &View<'_>, interface: &Interface, out: &mut Vec<u8>) {
    let unit = interface.unit();
    line(out, "interface", |object| {
        object.string("of", format_args!("pflow{unit}"));
        object.string("way", way(interface));
        object.string("state", state(interface));
        if let Some(then) = view.troubles.last_sent(unit) {
            object.number("secondsAgo", since(view, then).as_secs());
        }
        object.number("recordsLost", interface.counters.records_refused);
        if let Some((problem, at)) = view.troubles.last_problem(unit) {
            object.string("lastProblem", problem);
            object.number("lastProblemSecondsAgo", since(view, at).as_secs());
        }
        if let Some(spool) = interface.spool() {
            object.number("spoolOctets", spool.octets);
            let behind = interfaces::spool_behind(view, interface);
            object.number("spoolSecondsBehind", behind.unwrap_or(0));
        }
    });
}

#[cfg(test)]
mod tests;
