//! `show statistics`: what netstat -s -p pflow shows, then everything else that is counted.
//!
//! Names and help texts are those of [`crate::counters`]. In JSON each part is an object of its
//! own on a line, which its first member names.
//!
//! All but the senders are of one instant, so that these sums hold, whenever it is asked:
//!
//! ```text
//! packets captured, all sources     packets read whole + those of every reason + waiting
//! states learned + read back        held + ended, by what ended them + unconfirmed
//! states ended but the unconfirmed  flows exported + those left out
//! records packed                    sent + refused + held by the interface
//! ```

use super::interfaces;
use super::view::{AnswerForm, Progress, View, put};
use crate::counters::{Counter, QualityCounters};
use crate::export::Interface;
use crate::output::json::Object;
use crate::table::SenderRecord;
use crate::troubles::Source;

/// Counters that belong together.
pub(super) struct Part {
    /// What they are of.
    pub(super) kind: &'static str,
    /// Of which one of these, if there are several.
    pub(super) of: Option<String>,
    pub(super) counters: Vec<Counter>,
}

impl Part {
    fn new(kind: &'static str, counters: impl IntoIterator<Item = Counter>) -> Self {
        Self {
            kind,
            of: None,
            counters: counters.into_iter().collect(),
        }
    }

    fn of(self, of: impl ToString) -> Self {
        let of = Some(of.to_string());
        Self { of, ..self }
    }
}

/// Whatever is of one kind.
pub(super) type Kind = fn(&View<'_>) -> Vec<Part>;

/// All kinds but the senders', in order: one look at these is of one instant.
pub(super) const KINDS: [Kind; 12] = [
    pflow, sources, packets, messages, table, flows, protocols, solicit, pf, keep, control,
    interfaces,
];

/// Appends all parts, then the senders', one a step.
pub(super) fn step(
    view: &View<'_>,
    next: &mut u32,
    form: AnswerForm,
    out: &mut Vec<u8>,
) -> Progress {
    let number = *next as usize;
    *next += 1;
    let Some(number) = number.checked_sub(1) else {
        for part in KINDS.iter().flat_map(|kind| kind(view)) {
            write(&part, form, out);
        }
        return Progress::More;
    };
    match view.engine.table().senders().get(number) {
        Some(record) => {
            if record.packets.packets() > 0 {
                let mut part = sender(record);
                let reasons: Vec<_> = record.packets.reasons().map(|reason| reason.name).collect();
                let is_reason = |counter: &Counter| reasons.contains(&counter.name);
                part.counters
                    .retain(|counter| counter.value > 0 || !is_reason(counter));
                write(&part, form, out);
            }
            Progress::More
        }
        None => Progress::Done,
    }
}

fn write(part: &Part, form: AnswerForm, out: &mut Vec<u8>) {
    match form {
        AnswerForm::Text => text(part, out),
        AnswerForm::Json => {
            let mut object = Object::new(out);
            object.string("part", part.kind);
            if let Some(name) = &part.of {
                object.string("of", name);
            }
            for Counter { name, value, .. } in &part.counters {
                object.number(name, *value);
            }
            object.end();
            out.push(b'\n');
        }
    }
}

fn text(part: &Part, out: &mut Vec<u8>) {
    let is_empty = || part.counters.iter().all(|counter| counter.value == 0);
    match &part.of {
        // Protocols without flows are left out.
        Some(_) if part.kind == "protocol" && is_empty() => return,
        Some(name) => put!(out, "{} {name}:\n", part.kind),
        None => put!(out, "{}:\n", part.kind),
    }
    for Counter {
        name, help, value, ..
    } in &part.counters
    {
        // As netstat has it.
        let more = if name.starts_with('o') && part.kind == "pflow" {
            "\t"
        } else {
            ""
        };
        put!(out, "\t{more}{value} {help}\n");
    }
}

/// The four counters of `struct pflowstats`, as netstat -s -p pflow prints them (inet.c,
/// `pflow_stats`).
fn pflow(view: &View<'_>) -> Vec<Part> {
    let total = |of: fn(&Interface) -> u64| view.engine.interfaces().iter().map(of).sum::<u64>();
    let gone = view.engine.gone_counters();
    let flows = total(|interface| interface.counters.records) + gone.records;
    let packets = total(|interface| interface.counters.built()) + gone.built();
    let no_memory = total(|interface| interface.counters.no_memory) + gone.no_memory;
    let errors = total(|interface| interface.counters.send_errors) + gone.send_errors;
    let flows_word = plural(flows, "flow sent", "flows sent");
    let packets_word = plural(packets, "packet sent", "packets sent");
    let counters = [
        ("flows", flows_word, flows),
        ("packets", packets_word, packets),
        ("onomem", "send failed due to mbuf memory error", no_memory),
        ("oerrors", "send error", errors),
    ];
    vec![Part::new("pflow", counters.map(Counter::total))]
}

/// netstat's plural.
fn plural(count: u64, one: &'static str, many: &'static str) -> &'static str {
    if count == 1 { one } else { many }
}

fn sources(view: &View<'_>) -> Vec<Part> {
    let part = |source: &Source| Part::new("source", source.counters.iter()).of(&source.name);
    view.sources.iter().map(part).collect()
}

fn packets(view: &View<'_>) -> Vec<Part> {
    let packets = view.engine.packet_counters();
    let whole = Counter::total(("whole", "packets read whole", packets.whole));
    let waiting = "packets captured that wait to be read";
    let waiting = Counter::gauge(("waiting", waiting, view.waiting));
    let counters = [whole, waiting].into_iter().chain(packets.reasons());
    vec![Part::new("packets", counters)]
}

fn messages(view: &View<'_>) -> Vec<Part> {
    let actions = view.engine.packet_counters().actions();
    let counters = actions.map(|(action, value)| (action.name(), action.name(), value));
    vec![Part::new("messages", counters.map(Counter::total))]
}

fn table(view: &View<'_>) -> Vec<Part> {
    let table = view.engine.table();
    let held = [
        ("held", "states held", table.len() as u64),
        ("bound", "states held at most", table.bound().into()),
    ];
    let octets = (
        "octets",
        "octets of memory taken for them",
        view.engine.state_octets(),
    );
    let bound = table.octets_bound().map(|octets| {
        let help = "octets of memory taken for them at most";
        ("octets_bound", help, octets)
    });
    let held = held.into_iter().chain([octets]).chain(bound);
    let counters = held.map(Counter::gauge).chain(table.counters.iter());
    vec![Part::new("table", counters)]
}

fn flows(view: &View<'_>) -> Vec<Part> {
    vec![Part::new("flows", view.engine.flow_counters().iter())]
}

fn protocols(view: &View<'_>) -> Vec<Part> {
    let protocols = view.engine.protocol_counters().iter();
    let part =
        |(name, counters): (&str, QualityCounters)| Part::new("protocol", counters.iter()).of(name);
    protocols.map(part).collect()
}

fn solicit(view: &View<'_>) -> Vec<Part> {
    let counters = view.engine.solicit_counters().into_iter();
    let part = counters.map(|counters| Part::new("solicit", counters.iter()));
    part.collect()
}

fn pf(view: &View<'_>) -> Vec<Part> {
    let counters = view.engine.pf_counters().into_iter();
    let part = counters.map(|counters| Part::new("pf", counters.iter()));
    part.collect()
}

fn keep(view: &View<'_>) -> Vec<Part> {
    let counters = view.engine.keep_counters().into_iter();
    let part = counters.map(|counters| Part::new("keep", counters.iter()));
    part.collect()
}

fn control(view: &View<'_>) -> Vec<Part> {
    vec![Part::new("control", view.control.iter())]
}

fn interfaces(view: &View<'_>) -> Vec<Part> {
    let interfaces = view.engine.interfaces().iter();
    interfaces.map(|one| interface(view, one)).collect()
}

fn interface(view: &View<'_>, interface: &Interface) -> Part {
    let held = interface.held() as u64 + view.engine.records_waiting(interface);
    let held = ("held", "records held now", held);
    let waiting = (
        "octets_waiting",
        "octets that wait for the collector now",
        interface.octets_waiting(),
    );
    let spool = (
        "spool_octets",
        "octets of the spool now",
        interface.spool().map_or(0, |spool| spool.octets),
    );
    let behind = (
        "spool_behind",
        "seconds since the oldest record in the spool was written",
        interfaces::spool_behind(view, interface).unwrap_or(0),
    );
    let gauges = [held, waiting, spool, behind].map(Counter::gauge);
    let counters = interface.counters.iter().chain(gauges);
    Part::new("interface", counters).of(format_args!("pflow{}", interface.unit()))
}

/// The counters of a sender.
pub(super) fn sender(record: &SenderRecord) -> Part {
    let packets = &record.packets;
    let heads = [
        ("whole", "packets read whole", packets.whole),
        ("messages", "messages", packets.messages()),
    ];
    let heads = heads.into_iter().map(Counter::total);
    let counters = heads.chain(record.counters.iter()).chain(packets.reasons());
    Part::new("sender", counters).of(record.sender)
}
