//! NetFlow v9: a buffer for each shape of records, one flowset a message (RFC 3954).

use super::encoder::Packed;
use super::outbox::{Header, To};
use super::{Capacity, Settings, records_that_fit};
use crate::flow::{Flow, Record, Tuple};
use crate::icmp::{self, Icmp};
use crate::state::Direction;
use crate::time::{Now, Uptime};
use crate::wire::elements::Element;
use crate::wire::netflow5::millis_mod_32;
use crate::wire::netflow9 as wire;
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
    fn new(shape: Shape) -> Self {
        let elements = wire::elements_of(shape);
        Self {
            template: wire::template_of(shape),
            record_len: elements.iter().map(|one| usize::from(one.len)).sum(),
            elements,
            full: 0,
            records: 0,
            octets: Vec::new(),
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
        self.deadline = Some(now.uptime.after(settings.hold()));
    }

    fn send(&mut self, now: Now, source: u32, to: &mut To<'_>) {
        if self.records == 0 {
            return;
        }
        wire::close_set(&mut self.octets, wire::HEADER_LEN);
        let count = u16::try_from(self.records).unwrap_or(u16::MAX);
        to.push(Header::NetFlow9 { source, count }, now, count, &self.octets);
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
        }
    }

    /// Packs a flow's records.
    pub(super) fn push(
        &mut self,
        now: Now,
        settings: &Settings,
        flow: &Flow,
        ifindex: u16,
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
        let of_flow = values(flow);
        for one in flow.records() {
            let record = of_direction(of_flow, flow, &one, ifindex);
            self.pack(now, settings, shape, &record, to);
            packed.records += 1;
        }
        packed
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
        if buffer.records == 0 {
            buffer.begin(now, settings);
        }
        record.write(&buffer.elements, &mut buffer.octets);
        buffer.records += 1;
        let is_full = buffer.records >= buffer.full;
        if is_full {
            buffer.send(now, self.source, to);
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
    pub(super) fn flush(&mut self, now: Now, to: &mut To<'_>) {
        for buffer in self.buffers.iter_mut().flatten() {
            buffer.send(now, self.source, to);
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
                buffer.send(now, self.source, to);
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

/// What both records of a flow have.
fn values(flow: &Flow) -> record::Record {
    let (first, last) = flow.times.uptimes();
    record::Record {
        first: millis_mod_32(first),
        last: millis_mod_32(last),
        proto: flow.tuple.proto,
        end_reason: flow.end_reason(),
        flow_id: flow.flow_id(),
        ..record::Record::default()
    }
}

/// The record of one direction.
fn of_direction(values: record::Record, flow: &Flow, one: &Record, ifindex: u16) -> record::Record {
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
        ifindexes: flow.interfaces(ifindex, one.reverse).map(u32::from),
        packets: one.packets,
        octets: one.octets,
        icmp: icmp.map_or(0, |icmp| icmp.type_code(flow.tuple.proto, one.reverse)),
        direction: u8::from(!is_in),
        ..values
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::export::{Format, Interface, Order, Outbox, transmit};
    use crate::flow::{Boot, End, Quality, Times};
    use crate::state::{Address, Af, IfName, StateId};
    use crate::time::Wall;

    const BOOT: i64 = 1_700_000_000;

    fn now(uptime: i64) -> Now {
        Now::with_boot(Wall::new(BOOT + uptime, 250_000_000), Wall::new(BOOT, 0))
    }

    fn tuple(af: Af, n: u8, proto: u8) -> Tuple {
        Tuple {
            af,
            proto,
            src: Address([n; 16]).of(af),
            dst: Address([n + 1; 16]).of(af),
            sport: 4660,
            dport: 8,
        }
    }

    fn flow(at: i64, proto: u8, af: Af, post: Option<Af>) -> Flow {
        Flow {
            id: StateId {
                id: 5,
                creatorid: 6,
            },
            direction: Direction::In,
            ifname: IfName::from("em0"),
            pflow: true,
            tuple: tuple(af, 1, proto),
            translated: post.map(|af| tuple(af, 3, proto)),
            packets: [1, 2],
            octets: [100, 200],
            times: Times::new(at - 5, at, now(at), Boot::Known),
            end: End::Deleted,
            quality: Quality::Exact,
            only: None,
        }
    }

    fn running(mtu: u16) -> (Interface, Outbox) {
        let mut outbox = Outbox::default();
        let mut interface = Interface::new(0, Settings::default());
        let settings = Settings {
            flowdst: Some("127.0.0.1:9995".parse().unwrap()),
            format: Format::NetFlow9,
            mtu,
            ..Settings::default()
        };
        interface.configure(now(1), settings, &mut outbox);
        (interface, outbox)
    }

    fn sent(interface: &mut Interface, outbox: &mut Outbox) -> Vec<Vec<u8>> {
        let interfaces = std::slice::from_mut(interface);
        let transmit = transmit(outbox, interfaces, Order::ByLength);
        transmit.iter().map(|(_, octets)| octets.to_vec()).collect()
    }

    fn number(octets: &[u8]) -> u64 {
        octets.iter().fold(0, |n, octet| n << 8 | u64::from(*octet))
    }

    /// What a collector makes of messages: records by type of field.
    #[derive(Default)]
    struct Collector {
        templates: HashMap<u64, Vec<(u64, usize)>>,
        records: Vec<HashMap<u64, u64>>,
        names: HashMap<u64, String>,
        next: u64,
    }

    impl Collector {
        fn read(&mut self, message: &[u8]) {
            assert_eq!(number(&message[..2]), 9);
            assert_eq!(number(&message[12..16]), self.next, "a message is missing");
            self.next += 1;
            let (mut count, uptime) = (number(&message[2..4]), number(&message[4..8]));
            let mut rest = &message[20..];
            while !rest.is_empty() {
                let (id, len) = (number(&rest[..2]), number(&rest[2..4]));
                let (set, others) = rest.split_at(usize::try_from(len).unwrap());
                count -= self.read_set(id, &set[4..], uptime);
                rest = others;
            }
            assert_eq!(count, 0, "the header tells of others");
        }

        /// The records that were in it.
        fn read_set(&mut self, id: u64, mut set: &[u8], uptime: u64) -> u64 {
            let mut count = 0;
            loop {
                let (kind, fields) = match (id, set.len()) {
                    (0 | 1, ..6) => return count,
                    (0, _) => (4, usize::try_from(number(&set[2..4])).unwrap()),
                    (1, _) => (6, usize::try_from(number(&set[4..6])).unwrap() / 4 + 1),
                    _ => (0, self.templates[&id].len()),
                };
                if kind > 0 {
                    let of = |n: usize| {
                        let field = &set[kind + 4 * n..][..4];
                        (
                            number(&field[..2]),
                            usize::try_from(number(&field[2..])).unwrap(),
                        )
                    };
                    self.templates
                        .insert(number(&set[..2]), (0..fields).map(of).collect());
                    set = &set[kind + 4 * fields..];
                } else {
                    let template = self.templates[&id].clone();
                    if set.len() < template.iter().map(|(_, len)| len).sum() {
                        assert!(set.len() < 4 && set.iter().all(|octet| *octet == 0));
                        return count;
                    }
                    let mut record = HashMap::new();
                    for (field, len) in template {
                        record.insert(field, number(&set[..len]));
                        if field == 82 {
                            let name = String::from_utf8(set[..len].to_vec()).unwrap();
                            let name = name.trim_end_matches('\0').to_owned();
                            self.names.insert(record[&2], name);
                        }
                        set = &set[len..];
                    }
                    if id < 400 {
                        assert!(record[&22] <= record[&21] && record[&21] <= uptime);
                        self.records.push(record);
                    }
                }
                count += 1;
            }
        }
    }

    #[test]
    fn a_collector_reads_every_shape_and_misses_no_message() {
        let (mut interface, mut outbox) = running(1500);
        let mut collector = Collector::default();
        for shape in Shape::all() {
            let proto = if shape.is_icmp { 1 } else { 17 };
            let flow = flow(50, proto, shape.af, shape.post);
            interface.offer(now(50), &flow, 7, &mut outbox);
        }
        interface.handle_timeout(now(80), &mut outbox);
        let messages = sent(&mut interface, &mut outbox);
        messages.iter().for_each(|message| collector.read(message));
        assert_eq!(collector.records.len(), 2 * SHAPES);
        assert_eq!(collector.names[&7], "em0");
        let first = &collector.records[0];
        let expected = [
            (8, 0x0101_0101),
            (12, 0x0202_0202),
            (7, 4660),
            (11, 8),
            (4, 17),
            (1, 100),
            (2, 1),
            (10, 7),
            (14, 7),
            (22, 45_000),
            (21, 50_000),
            (61, 0),
            (136, 1),
        ];
        for (field, value) in expected {
            assert_eq!(first[&field], value, "{field}");
        }
        let icmp: Vec<_> = collector
            .records
            .iter()
            .filter_map(|one| one.get(&32))
            .collect();
        assert_eq!(icmp[..2], [&0x0800, &0]);
        let ids: Vec<_> = collector.records.iter().map(|one| one[&148]).collect();
        assert_eq!(ids[0], ids[1], "both directions are one flow");
        assert_ne!(ids[0], 0);
    }

    #[test]
    fn no_message_is_longer_than_the_mtu_holds() {
        for mtu in [600, 1280, 1500, 2048] {
            let (mut interface, mut outbox) = running(mtu);
            let first = sent(&mut interface, &mut outbox);
            for n in 0..200_u16 {
                let mut flow = flow(50, 17, Af::Inet6, Some(Af::Inet6));
                flow.ifname = IfName::from(&*format!("vlan{n}"));
                interface.offer(now(50), &flow, 1 + n, &mut outbox);
            }
            interface.handle_timeout(now(80), &mut outbox);
            let mut collector = Collector::default();
            for message in first.into_iter().chain(sent(&mut interface, &mut outbox)) {
                // Templates stay together.
                assert!(
                    message.len() + 28 <= usize::from(mtu.max(1100)),
                    "{}",
                    message.len()
                );
                collector.read(&message);
            }
            assert_eq!((collector.records.len(), collector.names.len()), (400, 200));
        }
    }

    #[test]
    fn times_are_those_of_a_clock_that_wraps() {
        // 49.7 days and a little.
        let at = (1_i64 << 32) / 1000 + 10;
        let (mut interface, mut outbox) = running(1500);
        let mut collector = Collector::default();
        interface.offer(now(at), &flow(at, 6, Af::Inet, None), 0, &mut outbox);
        interface.flush(now(at), &mut outbox);
        for message in sent(&mut interface, &mut outbox) {
            collector.read(&message);
        }
        let record = &collector.records[0];
        assert_eq!(record[&21], u64::try_from(at * 1000).unwrap() % (1 << 32));
        assert_eq!(record[&136], 3);
    }
}
