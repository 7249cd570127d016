//! `show metrics`: all that is counted, and what there is now, as text for programs that watch.
//!
//! ```text
//! OpenMetrics 1.0                                    Prometheus text 0.0.4
//! # HELP pflow_flows_exported Flows exported.        # HELP pflow_flows_exported_total Flows exported.
//! # TYPE pflow_flows_exported counter                # TYPE pflow_flows_exported_total counter
//! pflow_flows_exported_total 7                       pflow_flows_exported_total 7
//! # UNIT pflow_flows_octets octets                   (none)
//! # EOF                                              (none)
//! ```
//! Counters come from the parts of `show statistics` and are named `pflow_PART_NAME`. Of several
//! parts of a kind each has a label. A counter that is added there is here, too. Both forms want the
//! samples of one name together, so that a step makes all of one name.
//!
//! Source: prometheus.io, OpenMetrics 1.0 (ABNF, "MetricFamily"), "Exposition formats".

use super::statistics::{KINDS, Part, sender};
use super::view::{Progress, View, put};
use crate::counters::{Counter, Kind};
use crate::export::{Connection, Interface};
use crate::table::SenderRecord;
use crate::wire::pfsync::Dialect;

/// The forms.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Exposition {
    /// OpenMetrics 1.0.
    #[default]
    OpenMetrics,
    /// Prometheus text 0.0.4.
    Prometheus,
}

impl Exposition {
    /// Their names.
    pub const VALUES: [(&'static str, Self); 2] = [
        ("openmetrics", Self::OpenMetrics),
        ("prometheus", Self::Prometheus),
    ];

    /// The one with a name of [`Self::VALUES`].
    pub fn named(name: &str) -> Self {
        let found = Self::VALUES.iter().find(|(known, _)| *known == name);
        found.map_or_else(Self::default, |(_, exposition)| *exposition)
    }
}

/// Senders whose messages by creator are told in a step.
const SENDERS: usize = 16;

/// Counters whose name does not end with their unit: the name that does, the unit, and how many of
/// what is counted make one.
const UNITS: [(&str, &str, &str, u64); 4] = [
    ("longest_step", "longest_step_seconds", "seconds", 1_000_000),
    ("spool_behind", "spool_behind_seconds", "seconds", 1),
    ("octets_waiting", "waiting_octets", "octets", 1),
    ("octets_bound", "bound_octets", "octets", 1),
];

/// Labels and their values.
type Labels = Vec<(&'static str, String)>;

/// Samples of one name.
struct Family {
    /// Without `_total`.
    name: String,
    help: String,
    /// Empty: none.
    unit: &'static str,
    kind: Kind,
    samples: Vec<(Labels, String)>,
}

/// Appends the next families, or a part of the last.
pub(super) fn step(
    view: &View<'_>,
    exposition: Exposition,
    next: &mut u32,
    out: &mut Vec<u8>,
) -> Progress {
    let number = *next as usize;
    *next += 1;
    let Some(later) = number.checked_sub(1) else {
        // One instant, as in `show statistics`.
        let parts = KINDS.iter().map(|kind| kind(view));
        let families = parts.flat_map(|parts| of_parts(&parts));
        for family in families.chain(of_now(view)) {
            family.write(exposition, out);
        }
        return Progress::More;
    };
    let senders = view.engine.table().senders();
    let columns = senders
        .first()
        .map_or(0, |first| sender(first).counters.len());
    match later.checked_sub(columns) {
        None => {
            if let Some(family) = of_senders(senders, later) {
                family.write(exposition, out);
            }
        }
        Some(0) => {
            for family in senders_now(senders) {
                family.write(exposition, out);
            }
            creators(&[]).write(exposition, out);
        }
        Some(more) => {
            let rest = senders.get((more - 1) * SENDERS..).unwrap_or_default();
            if rest.is_empty() {
                if exposition == Exposition::OpenMetrics {
                    put!(out, "# EOF\n");
                }
                return Progress::Done;
            }
            creators(rest.get(..SENDERS).unwrap_or(rest)).write_samples(out);
        }
    }
    Progress::More
}

/// The name of a part's counters in metrics.
fn prefix(part: &str) -> &str {
    match part {
        // `struct pflowstats`.
        "pflow" => "stats",
        part => part,
    }
}

/// A counter as the samples of a family that is named after it.
fn family(part: &str, counter: &Counter) -> Family {
    let Counter { name, kind, .. } = *counter;
    let known = UNITS.iter().find(|(of, ..)| *of == name);
    let (name, unit) = match known {
        Some((_, name, unit, _)) => (*name, *unit),
        None if name == "octets" || name.ends_with("_octets") => (name, "octets"),
        None => (name, ""),
    };
    let name = format!("pflow_{}_{name}", prefix(part));
    Family::new(name, counter.help, unit, kind)
}

fn value(counter: &Counter) -> String {
    let known = UNITS.iter().find(|(of, ..)| *of == counter.name);
    match known.map_or(1, |(.., many)| *many) {
        1 => counter.value.to_string(),
        // Microseconds in seconds.
        many => format!("{}.{:06}", counter.value / many, counter.value % many),
    }
}

/// Parts of one kind, which have the same counters.
fn of_parts(parts: &[Part]) -> Vec<Family> {
    let Some(first) = parts.first() else {
        return Vec::new();
    };
    if first.kind == "messages" {
        return vec![messages(first)];
    }
    let column = |(place, counter): (usize, &Counter)| {
        let mut family = family(first.kind, counter);
        for part in parts {
            if let Some(counter) = part.counters.get(place) {
                let labels = part.of.iter().map(|of| (part.kind, of.clone()));
                family.add(labels.collect(), value(counter));
            }
        }
        family
    };
    first.counters.iter().enumerate().map(column).collect()
}

fn messages(part: &Part) -> Family {
    let help = "messages of pfsync read";
    let mut family = Family::new("pflow_messages".to_owned(), help, "", Kind::Counter);
    for counter in &part.counters {
        let labels = vec![("action", counter.name.to_owned())];
        family.add(labels, value(counter));
    }
    family
}

/// The counter of all senders that stands at `place`; `None`: there is none.
fn of_senders(senders: &[SenderRecord], place: usize) -> Option<Family> {
    let part = sender(senders.first()?);
    let mut family = family(part.kind, part.counters.get(place)?);
    for record in senders.iter().filter(|record| is_heard(record)) {
        if let Some(counter) = sender(record).counters.get(place) {
            let labels = vec![("sender", record.sender.to_string())];
            family.add(labels, value(counter));
        }
    }
    Some(family)
}

fn is_heard(record: &SenderRecord) -> bool {
    record.packets.packets() > 0
}

fn gauge(name: &str, help: &str, unit: &'static str) -> Family {
    Family::new(format!("pflow_{name}"), help, unit, Kind::Gauge)
}

/// What senders are at.
fn senders_now(senders: &[SenderRecord]) -> [Family; 3] {
    let mut info = gauge("sender_info", "dialect of pfsync that it speaks", "");
    let help = "seconds that its clock stepped in all";
    let mut offset = gauge("sender_clock_offset_seconds", help, "seconds");
    let help = "when its last packet came";
    let mut last = gauge("sender_last_packet_timestamp_seconds", help, "seconds");
    for record in senders.iter().filter(|record| is_heard(record)) {
        let labels = || vec![("sender", record.sender.to_string())];
        let dialect = record.dialect.map_or("unknown", Dialect::name).to_owned();
        let mut of_info = labels();
        of_info.push(("dialect", dialect));
        info.add(of_info, "1".to_owned());
        offset.add(labels(), record.clock_offset().to_string());
        last.add(labels(), record.last.secs().to_string());
    }
    [info, offset, last]
}

/// Messages by sender, by creatorid of their states and by kind. Kinds that did not come are left out.
fn creators(senders: &[SenderRecord]) -> Family {
    let help = "messages of pfsync about the states of a creatorid";
    let mut family = Family::new("pflow_creator_messages".to_owned(), help, "", Kind::Counter);
    for record in senders.iter().filter(|record| is_heard(record)) {
        for creator in record.creators() {
            for (action, count) in creator.actions().filter(|(_, count)| *count > 0) {
                let labels = vec![
                    ("sender", record.sender.to_string()),
                    ("creatorid", format!("{:08x}", creator.creatorid)),
                    ("action", action.name().to_owned()),
                ];
                family.add(labels, count.to_string());
            }
        }
    }
    family
}

/// What there is now beside counters.
fn of_now(view: &View<'_>) -> Vec<Family> {
    let mut build = gauge("build_info", "which pflow this is", "");
    let version = env!("CARGO_PKG_VERSION").to_owned();
    build.add(vec![("version", version)], "1".to_owned());
    let mut count = gauge("troubles", "troubles that last, as in show health", "");
    let troubles = view.troubles.lasting().count() + view.troubles.beyond();
    count.add(Labels::new(), troubles.to_string());
    let mut trouble = gauge("trouble", "a trouble that lasts", "");
    for lasting in view.troubles.lasting() {
        let labels = vec![
            ("cause", lasting.cause().name().to_owned()),
            ("subject", lasting.subject().to_owned()),
        ];
        trouble.add(labels, "1".to_owned());
    }
    let mut up = gauge("source_up", "whether it is captured from", "");
    for source in view.sources {
        let is_up = u8::from(source.problem.is_none());
        up.add(vec![("source", source.name.clone())], is_up.to_string());
    }
    let mut families = vec![build, count, trouble, up];
    families.extend(interfaces_now(view));
    families
}

fn interfaces_now(view: &View<'_>) -> [Family; 3] {
    let mut info = gauge("interface_info", "where it sends to, and by what", "");
    let mut running = gauge("interface_running", "whether it is RUNNING", "");
    let help = "whether its collector takes what it sends, as far as that is known";
    let mut up = gauge("interface_collector_up", help, "");
    for interface in view.engine.interfaces() {
        let name = format!("pflow{}", interface.unit());
        let labels = || vec![("interface", name.clone())];
        let flag = |is_set: bool| u8::from(is_set).to_string();
        let settings = interface.settings();
        let receiver = match (&settings.file, settings.flowdst) {
            (Some(file), _) => file.clone(),
            (None, Some(to)) => to.to_string(),
            (None, None) => String::new(),
        };
        let mut of_info = labels();
        of_info.push(("receiver", receiver));
        of_info.push(("transport", settings.carrier.name().to_owned()));
        info.add(of_info, "1".to_owned());
        running.add(labels(), flag(interface.is_running()));
        up.add(labels(), flag(interface.is_running() && is_up(interface)));
    }
    [info, running, up]
}

fn is_up(interface: &Interface) -> bool {
    match interface.connection() {
        Some(connection) => matches!(connection, Connection::Connected(_)),
        None => {
            let is_taken = interface.session().state().problem().is_none();
            is_taken && interface.send_problem().is_none() && interface.file().problem.is_none()
        }
    }
}

/// A label's value: what would end it is escaped.
struct Quoted<'a>(&'a str);

impl std::fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for c in self.0.chars() {
            match c {
                '\\' => f.write_str("\\\\")?,
                '"' => f.write_str("\\\"")?,
                '\n' => f.write_str("\\n")?,
                c => std::fmt::Write::write_char(f, c)?,
            }
        }
        Ok(())
    }
}

impl Family {
    fn new(name: String, help: &str, unit: &'static str, kind: Kind) -> Self {
        // Other help texts are sentences, too.
        let mut chars = help.chars();
        let first: String = chars
            .next()
            .into_iter()
            .flat_map(char::to_uppercase)
            .collect();
        let help = format!("{first}{}.", chars.as_str());
        Self {
            name,
            help,
            unit,
            kind,
            samples: Vec::new(),
        }
    }

    fn add(&mut self, labels: Labels, value: String) {
        self.samples.push((labels, value));
    }

    /// What stands behind the name in samples.
    fn suffix(&self) -> &'static str {
        match self.kind {
            Kind::Counter => "_total",
            Kind::Gauge => "",
        }
    }

    fn write(&self, exposition: Exposition, out: &mut Vec<u8>) {
        let kind = match self.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        let name = match exposition {
            Exposition::OpenMetrics => self.name.clone(),
            Exposition::Prometheus => format!("{}{}", self.name, self.suffix()),
        };
        put!(out, "# HELP {name} {}\n# TYPE {name} {kind}\n", self.help);
        if exposition == Exposition::OpenMetrics && !self.unit.is_empty() {
            put!(out, "# UNIT {name} {}\n", self.unit);
        }
        self.write_samples(out);
    }

    fn write_samples(&self, out: &mut Vec<u8>) {
        for (labels, value) in &self.samples {
            put!(out, "{}{}", self.name, self.suffix());
            for (number, (name, value)) in labels.iter().enumerate() {
                let before = if number == 0 { '{' } else { ',' };
                put!(out, "{before}{name}=\"{}\"", Quoted(value));
            }
            let after = if labels.is_empty() { "" } else { "}" };
            put!(out, "{after} {value}\n");
        }
    }
}

#[cfg(test)]
mod tests;
