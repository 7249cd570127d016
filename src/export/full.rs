//! `template full`: a buffer for each shape of records, one set a message.

use super::format::Packed;
use super::mtu::{Capacity, records_that_fit};
use super::outbox::{Stamp, To};
use super::settings::Settings;
use super::templates::Templates;
use crate::flow::{Detail, Flow, Passage, Quality, Record, Translation, Tuple};
use crate::icmp::{self, Icmp};
use crate::state::{Address, Af, Direction};
use crate::time::{Now, Uptime};
use crate::wire::elements::Element;
use crate::wire::full::{EVENT_SHAPES, Event, EventShape, FullShape, Kind, SHAPES};
use crate::wire::ipfix as wire;
use crate::wire::record;

/// Octets before the records of a message.
const FRONT_LEN: usize = wire::HEADER_LEN + wire::SET_HEADER_LEN;
/// pf's number for no rule.
const NO_RULE: u32 = u32::MAX;
/// biflowDirection of a record whose source is who began (RFC 5103 6.3).
const BY_INITIATOR: u8 = 1;

/// The encoder of one observation domain.
#[derive(Debug)]
pub(super) struct Full {
    domain: u32,
    /// By the number of their shapes, those of events last; made when they are needed.
    buffers: Box<[Option<Box<Buffer>>; SHAPES + EVENT_SHAPES]>,
    /// The earliest deadline of them.
    deadline: Option<Uptime>,
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
    deadline: Option<Uptime>,
}

impl Buffer {
    fn new(template: u16, elements: Vec<Element>) -> Self {
        Self {
            template,
            record_len: elements.iter().map(|one| usize::from(one.len)).sum(),
            elements,
            full: 0,
            records: 0,
            octets: Vec::new(),
            deadline: None,
        }
    }

    fn begin(&mut self, now: Now, settings: &Settings) {
        let capacity = Capacity {
            header: FRONT_LEN,
            record: self.record_len,
        };
        self.full = records_that_fit(settings, capacity, capacity);
        self.octets.resize(FRONT_LEN, 0);
        self.deadline = Some(now.uptime.after(settings.hold()));
    }

    fn send(&mut self, now: Now, domain: u32, to: &mut To<'_>) {
        if self.records == 0 {
            return;
        }
        let len = u16::try_from(self.octets.len() - wire::HEADER_LEN).unwrap_or(u16::MAX);
        let header = wire::set_header(self.template, len);
        if let Some(place) = self.octets.get_mut(wire::HEADER_LEN..FRONT_LEN) {
            place.copy_from_slice(&header);
        }
        let count = u16::try_from(self.records).unwrap_or(u16::MAX);
        to.push(Stamp::Ipfix { domain }, now, count, &self.octets);
        self.octets.clear();
        self.records = 0;
        self.deadline = None;
    }
}

impl Full {
    /// An encoder for `domain`.
    pub(super) fn new(domain: u32) -> Self {
        Self {
            domain,
            buffers: Box::new([const { None }; SHAPES + EVENT_SHAPES]),
            deadline: None,
        }
    }

    /// Its domain.
    pub(super) fn domain(&self) -> u32 {
        self.domain
    }

    /// Packs a flow's records.
    pub(super) fn push(
        &mut self,
        now: Now,
        settings: &Settings,
        flow: &Flow,
        passage: &Passage,
        to: &mut To<'_>,
    ) -> Packed {
        let kind = Templates::from(settings).full().unwrap_or_default();
        let shape = shape_of(flow);
        let of_flow = values(flow);
        let mut packed = Packed {
            records: 0,
            is_clipped: false,
        };
        if kind.is_biflow {
            let (shape, record) = biflow(of_flow, flow, shape, passage);
            self.pack((now, settings, kind), shape, &record, to);
            packed.records += 1;
            return packed;
        }
        for one in flow.records() {
            let record = of_direction(of_flow, flow, &one, passage);
            self.pack((now, settings, kind), shape, &record, to);
            packed.records += 1;
        }
        packed
    }

    /// Packs a NAT event, which was noticed at `observed`.
    pub(super) fn push_event(
        &mut self,
        (now, settings): (Now, &Settings),
        (observed, what): (Now, Translation),
        flow: &Flow,
        to: &mut To<'_>,
    ) {
        let (shape, event, record) = event(observed, what, flow);
        self.pack_into(
            (now, settings),
            SHAPES + shape.number(),
            || Buffer::new(shape.template(), shape.elements()),
            |elements, octets| event.write(&record, elements, octets),
            to,
        );
    }

    fn pack(
        &mut self,
        (now, settings, kind): (Now, &Settings, Kind),
        shape: FullShape,
        record: &record::Record,
        to: &mut To<'_>,
    ) {
        self.pack_into(
            (now, settings),
            shape.number(),
            || Buffer::new(shape.template(), shape.elements(kind)),
            |elements, octets| record.write(elements, octets),
            to,
        );
    }

    /// Packs a record that `write` writes into the buffer with a number, which `make` makes.
    #[inline(always)]
    fn pack_into(
        &mut self,
        (now, settings): (Now, &Settings),
        number: usize,
        make: impl Fn() -> Buffer,
        write: impl Fn(&[Element], &mut Vec<u8>),
        to: &mut To<'_>,
    ) {
        let Some(place) = self.buffers.get_mut(number) else {
            return;
        };
        let buffer = place.get_or_insert_with(|| Box::new(make()));
        let is_begun = buffer.records > 0;
        if !is_begun {
            buffer.begin(now, settings);
        }
        write(&buffer.elements, &mut buffer.octets);
        buffer.records += 1;
        let is_full = buffer.records >= buffer.full;
        if is_full {
            buffer.send(now, self.domain, to);
        }
        if is_full || !is_begun {
            self.note_deadline();
        }
    }

    fn note_deadline(&mut self) {
        let buffers = self.buffers.iter().flatten();
        self.deadline = buffers
            .map(|buffer| buffer.deadline)
            .fold(None, Uptime::earliest);
    }

    /// Sends what is held.
    pub(super) fn flush(&mut self, now: Now, to: &mut To<'_>) {
        for buffer in self.buffers.iter_mut().flatten() {
            buffer.send(now, self.domain, to);
        }
        self.note_deadline();
    }

    /// When something must go.
    #[inline]
    pub(super) fn poll_timeout(&self) -> Option<Uptime> {
        self.deadline
    }

    /// Sends what is held long enough.
    pub(super) fn handle_timeout(&mut self, now: Now, to: &mut To<'_>) {
        for buffer in self.buffers.iter_mut().flatten() {
            if buffer.deadline.is_some_and(|at| at <= now.uptime) {
                buffer.send(now, self.domain, to);
            }
        }
        self.note_deadline();
    }

    /// Records held.
    pub(super) fn held(&self) -> usize {
        let buffers = self.buffers.iter().flatten();
        buffers.map(|buffer| buffer.records).sum()
    }
}

/// Whether a state has values that few states have, so that they cost octets in few records.
fn has_extras(detail: Detail) -> bool {
    detail.route.is_some()
        || detail.tos != 0
        || detail.rdomains != [0, 0]
        || detail.sender.is_some_and(|sender| sender.is_ipv6())
}

/// The shape of a flow's records, and the record of one direction.
pub(crate) fn record_of(
    flow: &Flow,
    one: &Record,
    passage: &Passage,
) -> (FullShape, record::Record) {
    (
        shape_of(flow),
        of_direction(values(flow), flow, one, passage),
    )
}

/// The shape of a flow's records of one direction.
fn shape_of(flow: &Flow) -> FullShape {
    FullShape {
        base: record::Shape {
            af: flow.tuple.af,
            post: flow.translated.map(|translated| translated.af),
            is_icmp: icmp::is_icmp(flow.tuple.proto),
        },
        has_extras: flow.detail.is_some_and(has_extras),
        is_biflow: false,
    }
}

/// What all records of a flow have.
fn values(flow: &Flow) -> record::Record {
    let mut values = record::Record {
        start_ms: flow.times.start_ms(),
        end_ms: flow.times.end_ms(),
        proto: flow.tuple.proto,
        end_reason: flow.end_reason(),
        flow_id: flow.flow_id(),
        creatorid: flow.id.creatorid,
        biflow_direction: BY_INITIATOR,
        quality: match flow.quality {
            Quality::Exact => 1,
            Quality::Estimated => 2,
            Quality::Partial => 3,
        },
        rules: [NO_RULE; 3],
        ..record::Record::default()
    };
    let Some(detail) = &flow.detail else {
        return values;
    };
    match detail.sender {
        Some(std::net::IpAddr::V4(address)) => values.exporter = address.octets(),
        Some(std::net::IpAddr::V6(address)) => values.exporter6 = address.octets(),
        None => {}
    }
    values.part = detail.part;
    values.rules = [detail.rule, detail.anchor, detail.nat_rule];
    values.state_flags = detail.state_flags;
    values.peers = detail.peers;
    values.dialect = detail.dialect;
    values.post_tos = detail.tos;
    values
}

/// The record of one direction.
fn of_direction(
    values: record::Record,
    flow: &Flow,
    one: &Record,
    passage: &Passage,
) -> record::Record {
    let Tuple { src, dst, .. } = one.tuple;
    // Ports that stay stand for themselves.
    let post = one.translated.unwrap_or(one.tuple);
    let is_in = (flow.direction == Direction::In) != one.reverse;
    let is_icmp = icmp::is_icmp(flow.tuple.proto);
    let port = |port| if is_icmp { 0 } else { port };
    let mut rdomains = flow.detail.map_or([0, 0], |detail| detail.rdomains);
    if one.reverse {
        rdomains.reverse();
    }
    record::Record {
        src,
        dst,
        sport: port(one.tuple.sport),
        dport: port(one.tuple.dport),
        post_src: post.src,
        post_dst: post.dst,
        post_sport: port(post.sport),
        post_dport: port(post.dport),
        ifindexes: flow.interfaces(passage, one.reverse).map(u32::from),
        packets: one.packets,
        octets: one.octets,
        icmp: flow.icmp_type_code(one.reverse),
        direction: u8::from(!is_in),
        next_hop: next_hop(flow, one.reverse),
        rdomains,
        ..values
    }
}

/// Where pf sends what goes in one direction. A route of another family than the record's layout
/// has no place in it.
fn next_hop(flow: &Flow, reverse: bool) -> Address {
    let af: Af = flow
        .translated
        .map_or(flow.tuple.af, |translated| translated.af);
    let route = flow.detail.and_then(|detail| detail.route);
    let route = route.filter(|route| route.is_reply == reverse && route.af == af);
    route.map_or(Address::default(), |route| route.address)
}

/// The record of what happened to the translation of the state that `flow` is of, seen from the
/// initiator, and its shape.
///
/// An event's time is when pf made the state, or when its end was noticed. A translation with IPv6
/// on either side counts as NAT64, because the registry has no event for NAT66. ICMP has no ports,
/// so the query's identifier stands in the source port.
fn event(observed: Now, what: Translation, flow: &Flow) -> (EventShape, Event, record::Record) {
    let (pre, post) = (flow.tuple, flow.translated.unwrap_or(flow.tuple));
    let [pre, post] = [pre, post].map(|tuple| match icmp::is_icmp(tuple.proto) {
        true => {
            let query = Icmp::of_ports(tuple.proto, tuple.sport, tuple.dport);
            Tuple {
                sport: query.map_or(0, |query| query.id),
                dport: 0,
                ..tuple
            }
        }
        false => tuple,
    });
    let is_nat44 = (pre.af, post.af) == (Af::Inet, Af::Inet);
    let detail = flow.detail;
    let shape = EventShape {
        af: pre.af,
        post: post.af,
        has_extras: detail.is_some_and(|detail| {
            detail.rdomains != [0, 0] || detail.sender.is_some_and(|sender| sender.is_ipv6())
        }),
    };
    let observed_ms = match what {
        Translation::Created => flow.times.start_ms(),
        Translation::Deleted => {
            u64::try_from(observed.wall.nanos().div_euclid(1_000_000)).unwrap_or(0)
        }
    };
    let event = Event {
        observed_ms,
        nat_event: match (what, is_nat44) {
            (Translation::Created, true) => 4,
            (Translation::Deleted, true) => 5,
            (Translation::Created, false) => 6,
            (Translation::Deleted, false) => 7,
        },
    };
    let record = record::Record {
        src: pre.src,
        dst: pre.dst,
        sport: pre.sport,
        dport: pre.dport,
        post_src: post.src,
        post_dst: post.dst,
        post_sport: post.sport,
        post_dport: post.dport,
        rdomains: detail.map_or([0, 0], |detail| detail.rdomains),
        ..values(flow)
    };
    (shape, event, record)
}

/// The record of both directions, or of that of the initiator alone if nothing came back.
fn biflow(
    values: record::Record,
    flow: &Flow,
    shape: FullShape,
    passage: &Passage,
) -> (FullShape, record::Record) {
    let ([packets, packets_back], [octets, octets_back]) = (flow.packets, flow.octets);
    let forward = Record {
        reverse: false,
        tuple: flow.tuple,
        translated: flow.translated,
        packets,
        octets,
    };
    let record = record::Record {
        reverse_packets: packets_back,
        reverse_octets: octets_back,
        reverse_icmp: flow.icmp_type_code(true),
        ..of_direction(values, flow, &forward, passage)
    };
    let is_biflow = octets_back > 0;
    (FullShape { is_biflow, ..shape }, record)
}

#[cfg(test)]
mod tests;
