//! `show senders`, `show sources` and `show timeouts`.

use super::view::{AnswerForm, Progress, STEP_PLACES, View, put};
use crate::counters::Counter;
use crate::output::json::Object;
use crate::table::SenderRecord;
use crate::wire::pfsync::Dialect;

/// States by sender.
#[derive(Clone, Debug)]
pub(super) enum SenderCount {
    /// They are being counted, and this place of the table comes next.
    Counting(u32, Vec<u64>),
    /// They are counted, and this sender comes next.
    Counted(u32, Vec<u64>),
}

impl Default for SenderCount {
    fn default() -> Self {
        Self::Counting(0, Vec::new())
    }
}

/// Appends the next senders, or counts the next states.
pub(super) fn step(
    view: &View<'_>,
    states: &mut SenderCount,
    form: AnswerForm,
    out: &mut Vec<u8>,
) -> Progress {
    let table = view.engine.table();
    match states {
        SenderCount::Counting(place, counts) => {
            *states = count(view, *place, std::mem::take(counts));
            Progress::More
        }
        SenderCount::Counted(next, counts) => {
            let number = *next as usize;
            *next += 1;
            let Some(record) = table.senders().get(number) else {
                return Progress::Done;
            };
            let states = counts.get(number).copied().unwrap_or(0);
            if record.packets.packets() > 0 {
                match form {
                    AnswerForm::Text => text(record, states, out),
                    AnswerForm::Json => json(record, states, out),
                }
            }
            Progress::More
        }
    }
}

/// Counts the states of the next places, from `place` on, and adds them to `counts`.
pub(super) fn count(view: &View<'_>, place: u32, mut counts: Vec<u64>) -> SenderCount {
    let table = view.engine.table();
    counts.resize(table.senders().len(), 0);
    let end = table.places().min(place.saturating_add(STEP_PLACES));
    for sender in (place..end).filter_map(|place| table.sender_at(place)) {
        if let Some(count) = counts.get_mut(sender.index()) {
            *count += 1;
        }
    }
    match end < table.places() {
        true => SenderCount::Counting(end, counts),
        false => SenderCount::Counted(0, counts),
    }
}

fn dialect(record: &SenderRecord) -> &'static str {
    record.dialect.map_or("unknown", Dialect::name)
}

fn text(record: &SenderRecord, states: u64, out: &mut Vec<u8>) {
    let packets = &record.packets;
    put!(
        out,
        "{}: {}, {states} states\n\tlast packet {}\n\t{} packets, {} read whole, {} messages\n",
        record.sender,
        dialect(record),
        record.last,
        packets.packets(),
        packets.whole,
        packets.messages(),
    );
    if let Some((bus, stamp)) = record.bus {
        put!(
            out,
            "\tbulk update {} of creatorid {:08x}, {stamp}\n",
            bus.status,
            bus.creatorid
        );
    }
    for counter in packets.reasons().filter(|counter| counter.value > 0) {
        put!(
            out,
            "\t{} not read whole: {}\n",
            counter.value,
            counter.help
        );
    }
    for creator in record.creators() {
        put!(out, "\tcreatorid {:08x}:", creator.creatorid);
        for (action, count) in creator.actions().filter(|(_, count)| *count > 0) {
            put!(out, " {count} {}", action.name());
        }
        out.push(b'\n');
    }
}

fn json(record: &SenderRecord, states: u64, out: &mut Vec<u8>) {
    let packets = &record.packets;
    let mut object = Object::new(out);
    object.string("sender", record.sender);
    object.string("dialect", dialect(record));
    object.number("states", states);
    object.string("last", record.last);
    object.number("packets", packets.packets());
    object.number("whole", packets.whole);
    if let Some((bus, stamp)) = record.bus {
        object.object("bulk", |object| {
            object.string("status", bus.status);
            object.string("creatorid", format_args!("{:08x}", bus.creatorid));
            object.string("at", stamp);
        });
    }
    object.object("errors", |object| {
        for counter in packets.reasons().filter(|counter| counter.value > 0) {
            object.number(counter.name, counter.value);
        }
    });
    object.object("creators", |object| {
        for creator in record.creators() {
            object.object(&format!("{:08x}", creator.creatorid), |object| {
                for (action, count) in creator.actions().filter(|(_, count)| *count > 0) {
                    object.number(action.name(), count);
                }
            });
        }
    });
    object.end();
    out.push(b'\n');
}

/// Appends where packets come from.
pub(super) fn sources(view: &View<'_>, form: AnswerForm, out: &mut Vec<u8>) {
    for source in view.sources {
        match form {
            AnswerForm::Text => {
                put!(out, "{}:\n", source.name);
                for Counter { help, value, .. } in source.counters.iter() {
                    put!(out, "\t{value} {help}\n");
                }
            }
            AnswerForm::Json => {
                let mut object = Object::new(out);
                object.string("source", &source.name);
                for Counter { name, value, .. } in source.counters.iter() {
                    object.number(name, value);
                }
                object.end();
                out.push(b'\n');
            }
        }
    }
}

/// Appends pf's timeouts, as pfctl -st does.
pub(super) fn timeouts(view: &View<'_>, form: AnswerForm, out: &mut Vec<u8>) {
    let timeouts = view.engine.config().timeouts;
    match form {
        AnswerForm::Text => {
            for (name, seconds) in timeouts.iter() {
                put!(out, "{name:<20}{seconds:>10}s\n");
            }
        }
        AnswerForm::Json => {
            let mut object = Object::new(out);
            for (name, seconds) in timeouts.iter() {
                object.number(name, seconds);
            }
            object.end();
            out.push(b'\n');
        }
    }
}
