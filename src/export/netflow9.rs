//! NetFlow v9: a buffer for each shape of records, one flowset a message (RFC 3954).

use super::format::Packed;
use super::mtu::{Capacity, records_that_fit};
use super::outbox::{Stamp, To};
use super::session::Session;
use super::settings::Settings;
use crate::flow::{Flow, Passage, Record, Tuple};
use crate::icmp::{self, Icmp};
use crate::state::{Direction, IfName};
use crate::time::{Now, Uptime};
use crate::wire::elements::Element;
use crate::wire::ipfix::HEADER_LEN;
use crate::wire::netflow9 as wire;
use crate::wire::netflow9::Clock;
use crate::wire::record::{self, SHAPES, Shape};

/// Octets before the records of a message.
const FRONT_LEN: usize = wire::HEADER_LEN + wire::SET_HEADER_LEN;

/// The encoder of one source id.
#[derive(Debug)]
pub(super) struct NetFlow9 {
    source: u32,
    /// By the number of their shapes; made when they are needed.
    buffers: [Option<Box<Buffer>>; SHAPES],
    /// The earliest deadline of them.
    deadline: Option<Uptime>,
    /// Messages since the collector was told the templates.
    since_told: u32,
}

/// The message being filled with records of one shape.
#[derive(Debug)]
struct Buffer {
    template: u16,
    elements: Vec<Element>,
    /// Octets of a record.
    record_len: usize,
    /// Records it has when it is full, worked out when it was begun.
    full: usize,
    records: usize,
    octets: Vec<u8>,
    /// What its times count from.
    clock: Clock,
    deadline: Option<Uptime>,
}

impl Buffer {
    fn new(shape: Shape) -> Self {
        let elements = wire::elements_of(shape);
        Self {
            template: wire::template_of(shape),
            record_len: elements.iter().map(|one| usize::from(one.len)).sum(),
            elements,
            full: 0,
            records: 0,
            octets: Vec::new(),
            clock: Clock::default(),
            deadline: None,
        }
    }

    fn begin(&mut self, now: Now, settings: &Settings) {
        // Up to three zeros may follow the records.
        let capacity = Capacity {
            header: FRONT_LEN + 3,
            record: self.record_len,
        };
        self.full = records_that_fit(settings, capacity, capacity);
        self.octets.resize(wire::HEADER_LEN, 0);
        self.octets.extend(wire::pair(self.template, 0));
        self.clock = Clock::at(now.uptime.secs());
        // The header must count by the same clock as the records.
        let last = Uptime::new(self.clock.last(), 0);
        self.deadline = Some(now.uptime.after(settings.hold()).min(last));
    }

    fn send(&mut self, now: Now, source: u32, to: &mut To<'_>) {
        wire::close_set(&mut self.octets, wire::HEADER_LEN);
        let count = u16::try_from(self.records).unwrap_or(u16::MAX);
        let header = Stamp::NetFlow9 {
            source,
            count,
            clock: self.clock,
        };
        // If the program slept beyond the end of the clock, the header has the clock's last second.
        let last = Uptime::new(self.clock.last(), 0);
        let at = if self.clock == Clock::at(now.uptime.secs()) {
            now
        } else {
            now.at(last)
        };
        to.push(header, at, count, &self.octets);
        self.octets.clear();
        self.records = 0;
        self.deadline = None;
    }
}

impl NetFlow9 {
    /// An encoder for source id `source`.
    pub(super) fn new(source: u32) -> Self {
        Self {
            source,
            buffers: [const { None }; SHAPES],
            deadline: None,
            since_told: 0,
        }
    }

    /// Whether a flow began before what its records can tell.
    pub(super) fn is_cut(now: Now, flow: &Flow) -> bool {
        Clock::at(now.uptime.secs()).is_before(flow.times.seconds().0)
    }

    /// Packs a flow's records.
    pub(super) fn push(
        &mut self,
        now: Now,
        (settings, session): (&Settings, &Session),
        flow: &Flow,
        passage: &Passage,
        to: &mut To<'_>,
    ) -> Packed {
        let shape = Shape {
            af: flow.tuple.af,
            post: flow.translated.map(|translated| translated.af),
            is_icmp: icmp::is_icmp(flow.tuple.proto),
        };
        let mut packed = Packed {
            records: 0,
            is_clipped: false,
        };
        let of_flow = values(now, flow);
        for one in flow.records() {
            let record = of_direction(of_flow, flow, &one, passage);
            self.pack(now, settings, shape, &record, to);
            self.tell_if_due(now, settings, session, to);
            packed.records += 1;
        }
        packed
    }

    /// Tells the templates again after as many messages as are set (RFC 3954 7.3).
    fn tell_if_due(&mut self, now: Now, settings: &Settings, session: &Session, to: &mut To<'_>) {
        if self.since_told >= settings.refresh_packets {
            session.tell_again(now, settings, self.source, to);
            self.since_told = 0;
        }
    }

    /// Makes the option that names an interface. A stream tells it in each of its sessions.
    pub(super) fn tell_interface(&self, now: Now, index: u16, name: IfName, to: &mut To<'_>) {
        let mut message = vec![0; HEADER_LEN];
        message.extend(wire::interfaces(std::iter::once((index, name.as_bytes()))));
        let header = Stamp::Options {
            domain: self.source,
            count: 1,
        };
        to.push(header, now, 0, &message);
    }

    /// The collector was told the templates.
    pub(super) fn note_told(&mut self) {
        self.since_told = 0;
    }

    fn pack(
        &mut self,
        now: Now,
        settings: &Settings,
        shape: Shape,
        record: &record::Record,
        to: &mut To<'_>,
    ) {
        let Some(place) = self.buffers.get_mut(shape.number()) else {
            return;
        };
        let buffer = place.get_or_insert_with(|| Box::new(Buffer::new(shape)));
        if buffer.records > 0 && buffer.clock != Clock::at(now.uptime.secs()) {
            buffer.send(now, self.source, to);
            self.since_told += 1;
        }
        if buffer.records == 0 {
            buffer.begin(now, settings);
        }
        record.write(&buffer.elements, &mut buffer.octets);
        buffer.records += 1;
        let is_full = buffer.records >= buffer.full;
        if is_full {
            buffer.send(now, self.source, to);
            self.since_told += 1;
        }
        self.note_deadline();
    }

    fn note_deadline(&mut self) {
        let buffers = self.buffers.iter().flatten();
        self.deadline = buffers
            .map(|buffer| buffer.deadline)
            .fold(None, Uptime::earliest);
    }

    /// Sends what is held.
    pub(super) fn flush(
        &mut self,
        now: Now,
        settings: &Settings,
        session: &Session,
        to: &mut To<'_>,
    ) {
        self.send_where(|_| true, now, (settings, session), to);
    }

    /// Sends those buffers that hold something and are chosen.
    fn send_where(
        &mut self,
        is_chosen: impl Fn(&Buffer) -> bool,
        now: Now,
        (settings, session): (&Settings, &Session),
        to: &mut To<'_>,
    ) {
        let source = self.source;
        for number in 0..SHAPES {
            if let Some(Some(buffer)) = self.buffers.get_mut(number)
                && buffer.records > 0
                && is_chosen(buffer)
            {
                buffer.send(now, source, to);
                self.since_told += 1;
                self.tell_if_due(now, settings, session, to);
            }
        }
        self.note_deadline();
    }

    /// When something must go.
    #[inline]
    pub(super) fn poll_timeout(&self) -> Option<Uptime> {
        self.deadline
    }

    /// Sends what is held long enough.
    pub(super) fn handle_timeout(
        &mut self,
        now: Now,
        settings: &Settings,
        session: &Session,
        to: &mut To<'_>,
    ) {
        let is_due = |buffer: &Buffer| now.uptime.is_past(buffer.deadline);
        self.send_where(is_due, now, (settings, session), to);
    }

    /// Records held.
    pub(super) fn held(&self) -> usize {
        let buffers = self.buffers.iter().flatten();
        buffers.map(|buffer| buffer.records).sum()
    }
}

/// What both records of a flow have. First is never later than last, and last never later than the
/// header's uptime.
fn values(now: Now, flow: &Flow) -> record::Record {
    let now = now.uptime.secs();
    let clock = Clock::at(now);
    let (first, last) = flow.times.seconds();
    let last = last.min(now);
    record::Record {
        first: clock.millis(first.min(last)),
        last: clock.millis(last),
        proto: flow.tuple.proto,
        end_reason: flow.end_reason(),
        flow_id: flow.flow_id(),
        ..record::Record::default()
    }
}

/// The record of one direction.
fn of_direction(
    values: record::Record,
    flow: &Flow,
    one: &Record,
    passage: &Passage,
) -> record::Record {
    let Tuple {
        src,
        dst,
        sport,
        dport,
        ..
    } = one.tuple;
    // Ports that stay stand for themselves.
    let post = one.translated.unwrap_or(one.tuple);
    let is_in = (flow.direction == Direction::In) != one.reverse;
    let icmp = Icmp::of_ports(flow.tuple.proto, flow.tuple.sport, flow.tuple.dport);
    record::Record {
        src,
        dst,
        sport,
        dport,
        post_src: post.src,
        post_dst: post.dst,
        post_sport: post.sport,
        post_dport: post.dport,
        ifindexes: flow.interfaces(passage, one.reverse).map(u32::from),
        packets: one.packets,
        octets: one.octets,
        icmp: icmp.map_or(0, |icmp| icmp.type_code(flow.tuple.proto, one.reverse)),
        direction: u8::from(!is_in),
        ..values
    }
}
#[cfg(test)]
mod tests;
