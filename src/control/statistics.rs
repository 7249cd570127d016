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

use super::{At, Form, Progress, View, interfaces, put};
use crate::counters::{Counter, QualityCounters};
use crate::export::Interface;
use crate::output::json::Object;

/// The parts, in order.
const PARTS: [fn(&View<'_>, &mut Writer<'_>); 10] = [
    pflow, sources, packets, messages, table, flows, protocols, solicit, keep, control,
];

/// Appends all parts and the interfaces, then the senders, one a step.
pub(super) fn step(view: &View<'_>, at: &mut At, form: Form, out: &mut Vec<u8>) -> Progress {
    let At::Item(next) = at else {
        return Progress::Done;
    };
    let number = *next as usize;
    *next += 1;
    let mut writer = Writer { form, out };
    let Some(number) = number.checked_sub(1) else {
        for part in PARTS {
            part(view, &mut writer);
        }
        for interface in view.engine.interfaces() {
            self::interface(view, interface, &mut writer);
        }
        return Progress::More;
    };
    match view.engine.table().senders().get(number) {
        Some(record) => {
            if record.packets.packets() > 0 {
                let name = record.sender.to_string();
                let packets = &record.packets;
                let heads = [
                    ("whole", "packets read whole", packets.whole),
                    ("messages", "messages", packets.messages()),
                ];
                let heads = heads.into_iter().map(counter);
                let reasons = packets.reasons().filter(|counter| counter.value > 0);
                writer.part("sender", Some(&name), heads.chain(reasons));
            }
            Progress::More
        }
        None => Progress::Done,
    }
}

fn counter((name, help, value): (&'static str, &'static str, u64)) -> Counter {
    Counter { name, help, value }
}

/// Writes parts.
struct Writer<'a> {
    form: Form,
    out: &'a mut Vec<u8>,
}

impl Writer<'_> {
    fn part(&mut self, kind: &str, of: Option<&str>, counters: impl Iterator<Item = Counter>) {
        match self.form {
            Form::Text => {
                match of {
                    Some(name) => put!(self.out, "{kind} {name}:\n"),
                    None => put!(self.out, "{kind}:\n"),
                }
                for Counter { help, value, .. } in counters {
                    put!(self.out, "\t{value} {help}\n");
                }
            }
            Form::Json => {
                let mut object = Object::new(self.out);
                object.string("part", kind);
                if let Some(name) = of {
                    object.string("of", name);
                }
                for Counter { name, value, .. } in counters {
                    object.number(name, value);
                }
                object.end();
                self.out.push(b'\n');
            }
        }
    }
}

/// The four counters of `struct pflowstats`, as netstat -s -p pflow prints them (inet.c,
/// `pflow_stats`).
fn pflow(view: &View<'_>, writer: &mut Writer<'_>) {
    let total = |of: fn(&Interface) -> u64| view.engine.interfaces().iter().map(of).sum::<u64>();
    let gone = view.engine.gone_counters();
    let flows = total(|interface| interface.counters.records) + gone.records;
    let packets = total(|interface| interface.counters.built()) + gone.built();
    let no_memory = total(|interface| interface.counters.no_memory) + gone.no_memory;
    let errors = total(|interface| interface.counters.send_errors) + gone.send_errors;
    let lines = [
        (
            "flows",
            packets_word(flows, "flow sent", "flows sent"),
            flows,
        ),
        (
            "packets",
            packets_word(packets, "packet sent", "packets sent"),
            packets,
        ),
        ("onomem", "send failed due to mbuf memory error", no_memory),
        ("oerrors", "send error", errors),
    ];
    match writer.form {
        Form::Json => writer.part("pflow", None, lines.into_iter().map(counter)),
        Form::Text => {
            let [flows, packets, no_memory, errors] = lines.map(|(_, help, value)| (value, help));
            put!(
                writer.out,
                "pflow:\n\t{} {}\n\t{} {}\n\t\t{} {}\n\t\t{} {}\n",
                flows.0,
                flows.1,
                packets.0,
                packets.1,
                no_memory.0,
                no_memory.1,
                errors.0,
                errors.1
            );
        }
    }
}

/// netstat's plural.
fn packets_word(count: u64, one: &'static str, many: &'static str) -> &'static str {
    if count == 1 { one } else { many }
}

fn sources(view: &View<'_>, writer: &mut Writer<'_>) {
    for source in view.sources {
        writer.part("source", Some(&source.name), source.counters.iter());
    }
}

fn packets(view: &View<'_>, writer: &mut Writer<'_>) {
    let packets = view.engine.packet_counters();
    let heads = [
        ("whole", "packets read whole", packets.whole),
        (
            "waiting",
            "packets captured that wait to be read",
            view.waiting,
        ),
    ];
    let heads = heads.into_iter().map(counter);
    writer.part("packets", None, heads.chain(packets.reasons()));
}

fn messages(view: &View<'_>, writer: &mut Writer<'_>) {
    let actions = view.engine.packet_counters().actions();
    let counters = actions.map(|(action, value)| counter((action.name(), action.name(), value)));
    writer.part("messages", None, counters);
}

fn table(view: &View<'_>, writer: &mut Writer<'_>) {
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
    let held = held.into_iter().chain([octets]).chain(bound).map(counter);
    writer.part("table", None, held.chain(table.counters.iter()));
}

fn flows(view: &View<'_>, writer: &mut Writer<'_>) {
    writer.part("flows", None, view.engine.flow_counters().iter());
}

/// The flows by protocol, of those that there were some of; in JSON of all.
fn protocols(view: &View<'_>, writer: &mut Writer<'_>) {
    for (name, counters) in view.engine.protocol_counters().iter() {
        if writer.form == Form::Json || counters != QualityCounters::default() {
            writer.part("protocol", Some(name), counters.iter());
        }
    }
}

fn solicit(view: &View<'_>, writer: &mut Writer<'_>) {
    if let Some(counters) = view.engine.solicit_counters() {
        writer.part("solicit", None, counters.iter());
    }
}

fn keep(view: &View<'_>, writer: &mut Writer<'_>) {
    if let Some(counters) = view.engine.keep_counters() {
        writer.part("keep", None, counters.iter());
    }
}

fn control(view: &View<'_>, writer: &mut Writer<'_>) {
    writer.part("control", None, view.control.iter());
}

fn interface(view: &View<'_>, interface: &Interface, writer: &mut Writer<'_>) {
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
    let gauges = [held, waiting, spool, behind].map(counter);
    let counters = interface.counters.iter().chain(gauges);
    writer.part(
        "interface",
        Some(&format!("pflow{}", interface.unit())),
        counters,
    );
}
