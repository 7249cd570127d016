#![allow(clippy::indexing_slicing, reason = "a test that is wrong may panic")]

use std::collections::{BTreeMap, HashMap};

use super::*;
use crate::export::{
    Domain, Events, Format, IcmpPorts, Interface, Order, Outbox, Stream, TemplateSet, transmit,
};
use crate::flow::{Boot, End, Times};
use crate::state::Route;
use crate::state::{IfName, StateId};
use crate::time::Wall;

const BOOT: i64 = 1_700_000_000;
const OWN: u32 = 32473;
const REVERSE: u32 = 29305;

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
        dport: if proto == 58 { 128 } else { 8 },
    }
}

fn detail() -> Detail {
    Detail {
        sender: Some([192, 0, 2, 9].into()),
        dialect: 9,
        rule: 12,
        anchor: u32::MAX,
        nat_rule: 7,
        state_flags: 0x0104,
        peers: [10, 4],
        tos: 0,
        route: None,
        rdomains: [0, 0],
        part: 3,
    }
}

fn flow(af: Af, post: Option<Af>, proto: u8) -> Flow {
    Flow {
        id: StateId {
            id: 5,
            creatorid: 6,
        },
        direction: Direction::In,
        ifname: IfName::from("em0"),
        pflow: true,
        tuple: tuple(af, 1, proto),
        translated: post.map(|af| Tuple {
            sport: 50_000,
            ..tuple(af, 3, proto)
        }),
        packets: [1, 2],
        octets: [100, 200],
        times: Times::new(45, 50, now(50), Boot::Known),
        end: End::Deleted,
        quality: Quality::Estimated,
        detail: Some(detail()),
        only: None,
    }
}

fn full() -> Settings {
    Settings {
        flowdst: Some("127.0.0.1:4739".parse().unwrap()),
        format: Format::Ipfix,
        templates: TemplateSet::Full,
        enterprise: Some(OWN),
        ..Settings::default()
    }
}

fn running(settings: Settings) -> (Interface, Outbox) {
    let mut outbox = Outbox::default();
    let mut interface = Interface::new(3, Settings::default());
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

/// A field: enterprise number, 0 for IANA's, and element.
type Field = (u32, u16);
/// A record by its fields; of one that stands twice the last.
type Values = HashMap<Field, Vec<u8>>;

/// Fields with their lengths, and how many of them are scopes.
type Layout = (Vec<(Field, usize)>, usize);

/// A collector that takes nothing on trust.
#[derive(Default)]
struct Collector {
    /// Fields and their lengths by domain and template; scopes are counted apart.
    templates: BTreeMap<(u32, u16), Layout>,
    sequences: BTreeMap<u32, u32>,
    flows: Vec<(u16, Values)>,
    options: Vec<(u16, Values)>,
}

impl Collector {
    fn read_all(&mut self, messages: &[Vec<u8>]) {
        messages.iter().for_each(|message| self.read(message));
    }

    fn read(&mut self, message: &[u8]) {
        assert_eq!(number(&message[..4]), 10 << 16 | message.len() as u64);
        let domain = u32::from_be_bytes(message[12..16].try_into().unwrap());
        let sequence = self.sequences.entry(domain).or_default();
        assert_eq!(number(&message[8..12]), u64::from(*sequence), "of {domain}");
        let mut rest = &message[16..];
        while !rest.is_empty() {
            let id = u16::from_be_bytes([rest[0], rest[1]]);
            let len = usize::from(u16::from_be_bytes([rest[2], rest[3]]));
            let (set, others) = rest.split_at(len);
            match id {
                2 | 3 => self.read_templates(domain, &set[4..], id == 3),
                _ => self.read_records(domain, id, &set[4..]),
            }
            rest = others;
        }
    }

    fn read_templates(&mut self, domain: u32, mut set: &[u8], is_options: bool) {
        let mut take = |n: usize| {
            let (head, rest) = set.split_at(n);
            set = rest;
            (number(head), set.is_empty())
        };
        loop {
            let id = u16::try_from(take(2).0).unwrap();
            let count = take(2).0;
            let scopes = if is_options { take(2).0 } else { 0 };
            let mut fields = Vec::new();
            let mut is_last = false;
            for _ in 0..count {
                let element = u16::try_from(take(2).0).unwrap();
                let (len, end) = take(2);
                is_last = end;
                let enterprise = match element >> 15 {
                    0 => 0,
                    _ => {
                        let (enterprise, end) = take(4);
                        is_last = end;
                        u32::try_from(enterprise).unwrap()
                    }
                };
                let field = (enterprise, element & 0x7fff);
                fields.push((field, usize::try_from(len).unwrap()));
            }
            let told = (fields, usize::try_from(scopes).unwrap());
            let before = self.templates.insert((domain, id), told.clone());
            assert!(before.is_none_or(|before| before == told), "{id} changed");
            if is_last {
                return;
            }
        }
    }

    fn read_records(&mut self, domain: u32, id: u16, mut set: &[u8]) {
        let (fields, _) = self.templates[&(domain, id)].clone();
        while !set.is_empty() {
            let mut record = Values::new();
            for (field, len) in &fields {
                let len = if *len == 65535 {
                    let len = usize::from(set[0]);
                    set = &set[1..];
                    len
                } else {
                    *len
                };
                let (value, rest) = set.split_at(len);
                record.insert(*field, value.to_vec());
                set = rest;
            }
            *self.sequences.get_mut(&domain).unwrap() += 1;
            match id {
                300..400 => self.flows.push((id, record)),
                _ => self.options.push((id, record)),
            }
        }
    }

    fn options_of(&self, id: u16) -> Vec<&Values> {
        let own = self.options.iter().filter(|(of, _)| *of == id);
        own.map(|(_, record)| record).collect()
    }
}

fn value(record: &Values, id: u16) -> u64 {
    number(&record[&(0, id)])
}

/// What a collector makes of `flows`.
fn collected(settings: Settings, flows: &[Flow]) -> Collector {
    let (mut interface, mut outbox) = running(settings);
    for flow in flows {
        interface.offer(now(50), flow, 7, &mut outbox);
    }
    interface.flush(now(51), &mut outbox);
    let mut collector = Collector::default();
    collector.read_all(&sent(&mut interface, &mut outbox));
    collector
}

#[test]
fn a_collector_finds_every_value_under_its_element() {
    let flow = flow(Af::Inet, Some(Af::Inet), 6);
    let collector = collected(full(), &[flow]);
    let [(id, forward), (other, back)] = &collector.flows[..] else {
        panic!("{} records", collector.flows.len());
    };
    assert_eq!(id, other);
    let address = |n: u8| u64::from(u32::from_be_bytes([n; 4]));
    let expected: &[(u16, u64)] = &[
        (148, flow.flow_id()),
        (405, 6),
        (403, 0xc000_0209),
        (152, 1_700_000_045_000),
        (153, 1_700_000_050_000),
        (8, address(1)),
        (12, address(2)),
        (7, 4660),
        (11, 8),
        (4, 6),
        (5, 0),
        (2, 1),
        (1, 100),
        (10, 7),
        (14, 7),
        (61, 0),
        (136, 3),
        (225, address(3)),
        (226, address(4)),
        (227, 50_000),
        (228, 8),
    ];
    for (id, expected) in expected {
        assert_eq!(value(forward, *id), *expected, "{id}");
    }
    let own = [2, 3, 12, 0xffff_ffff, 7, 0x0104, 10, 4, 9];
    for (id, expected) in (1..).zip(own) {
        assert_eq!(number(&forward[&(OWN, id)]), expected, "own {id}");
    }
    assert_eq!(
        forward.len(),
        expected.len() + own.len(),
        "and nothing else"
    );
    let back_expected = [
        (8, address(2)),
        (11, 4660),
        (225, address(4)),
        (228, 50_000),
        (1, 200),
        (61, 1),
    ];
    for (id, expected) in back_expected {
        assert_eq!(value(back, id), expected, "{id} back");
    }
    assert_eq!(back[&(0, 148)], forward[&(0, 148)], "both are one flow");
}

#[test]
fn every_shape_has_a_template_that_its_records_fit() {
    let mut flows = Vec::new();
    for base in record::Shape::all() {
        let proto = match (base.is_icmp, base.af) {
            (false, _) => 17,
            (true, Af::Inet) => 1,
            (true, Af::Inet6) => 58,
        };
        let plain = flow(base.af, base.post, proto);
        let mut routed = plain;
        let af = base.post.unwrap_or(base.af);
        routed.detail = Some(Detail {
            sender: Some("2001:db8::9".parse().unwrap()),
            tos: 0x10,
            rdomains: [4, 5],
            route: Some(Route {
                address: Address([0xee; 16]).of(af),
                af,
                is_reply: false,
            }),
            ..detail()
        });
        flows.extend([plain, routed]);
    }
    for (is_biflow, enterprise) in [(false, None), (false, Some(OWN)), (true, Some(OWN))] {
        let settings = Settings {
            is_biflow,
            enterprise,
            ..full()
        };
        let collector = collected(settings, &flows);
        let ids: std::collections::BTreeSet<_> =
            collector.flows.iter().map(|(id, _)| *id).collect();
        assert_eq!(ids.len(), 24, "{is_biflow} {enterprise:?}");
        let per_flow = if is_biflow { 1 } else { 2 };
        assert_eq!(collector.flows.len(), per_flow * flows.len());
        let routed: Vec<_> = collector
            .flows
            .iter()
            .filter(|(_, record)| record.contains_key(&(0, 234)))
            .collect();
        assert_eq!(routed.len(), per_flow * 12);
        for (_, record) in routed {
            assert_eq!(value(record, 55), 0x10);
            assert_eq!(record[&(0, 404)][..4], [0x20, 0x01, 0x0d, 0xb8]);
            let is_back = value(record, 61) == 1;
            let rdomains = [value(record, 234), value(record, 235)];
            assert_eq!(rdomains, if is_back { [5, 4] } else { [4, 5] });
            let next_hop = record.get(&(0, 15)).or(record.get(&(0, 62))).unwrap();
            let expected = if is_back { 0 } else { 0xee };
            assert!(next_hop.iter().all(|octet| *octet == expected));
        }
        let icmp = |id| {
            let all = collector.flows.iter();
            all.filter_map(move |(_, record)| Some(number(record.get(&(0, id))?)))
                .collect::<std::collections::BTreeSet<_>>()
        };
        let answers = if is_biflow { vec![] } else { vec![0x8100] };
        assert_eq!(
            icmp(139).into_iter().collect::<Vec<_>>(),
            [vec![0x8000], answers].concat()
        );
        let has_own = collector
            .flows
            .iter()
            .any(|(_, record)| record.contains_key(&(OWN, 1)));
        assert_eq!(has_own, enterprise.is_some());
    }
}

#[test]
fn a_biflow_has_the_initiator_as_its_source_and_the_way_back_beside_it() {
    let settings = Settings {
        is_biflow: true,
        ..full()
    };
    let mut alone = flow(Af::Inet, None, 1);
    alone.octets = [300, 0];
    let mut answer = flow(Af::Inet, None, 17);
    (answer.octets, answer.packets) = ([0, 200], [0, 2]);
    let collector = collected(settings, &[flow(Af::Inet, None, 1), alone, answer]);
    let of = |proto, octets| {
        let is_it = |record: &&Values| value(record, 4) == proto && value(record, 1) == octets;
        let mut records = collector.flows.iter().map(|(_, record)| record);
        records.find(is_it).unwrap()
    };
    let (one, back) = (of(1, 300), of(17, 0));
    let both = of(1, 100);
    for record in [both, one, back] {
        assert_eq!(value(record, 239), 1);
        assert_eq!(value(record, 8), 0x0101_0101);
    }
    let reverse = |record: &Values, id| number(&record[&(REVERSE, id)]);
    assert_eq!(
        (value(both, 1), reverse(both, 1), reverse(both, 2)),
        (100, 200, 2)
    );
    assert_eq!((value(both, 32), reverse(both, 32)), (0x0800, 0));
    assert!(one.keys().all(|(enterprise, _)| *enterprise != REVERSE));
    assert_eq!((value(back, 1), reverse(back, 1)), (0, 200));
}

#[test]
fn options_say_who_exports_and_what_things_are_called() {
    let (mut interface, mut outbox) = running(full());
    let mut collector = Collector::default();
    collector.read_all(&sent(&mut interface, &mut outbox));
    let exporter = collector.options_of(400)[0];
    let of_exporter = [149, 305, 306, 304, 160].map(|id| value(exporter, id));
    assert_eq!(of_exporter, [42, 1, 0, 1, 1_700_000_000_000]);
    assert_eq!(exporter[&(0, 300)], b"pflow3");
    let types = collector.options_of(407);
    assert_eq!(types.len(), 9);
    let quality = types[0];
    let of_quality = [346, 303, 339, 344, 345, 342, 343].map(|id| value(quality, id));
    assert_eq!(of_quality, [u64::from(OWN), 1, 1, 4, 0, 1, 3]);
    assert_eq!(quality[&(0, 341)], b"flowQuality");
    // The bits of a flow's keys are those of its template's fields.
    for keys in collector.options_of(406) {
        let id = u16::try_from(value(keys, 145)).unwrap();
        let (fields, _) = &collector.templates[&(42, id)];
        let of_key: Vec<_> = fields
            .iter()
            .enumerate()
            .filter(|(n, _)| value(keys, 173) >> n & 1 == 1)
            .map(|(_, ((_, element), _))| *element)
            .collect();
        assert_eq!(of_key[..2], [148, 405], "{id}");
        assert!(of_key.contains(&4) && !of_key.contains(&1));
    }
    assert!(collector.options_of(401).is_empty());
    for (ifname, ifindex) in [("em0", 7), ("em1", 8), ("em0", 7)] {
        let mut flow = flow(Af::Inet, None, 6);
        flow.ifname = IfName::from(ifname);
        interface.offer(now(50), &flow, ifindex, &mut outbox);
    }
    interface.flush(now(50), &mut outbox);
    collector.read_all(&sent(&mut interface, &mut outbox));
    let names = |collector: &Collector| -> Vec<(u64, Vec<u8>)> {
        let told = collector.options_of(401).into_iter();
        told.map(|one| (value(one, 10), one[&(0, 82)].clone()))
            .collect()
    };
    assert_eq!(
        names(&collector),
        [(7, b"em0".to_vec()), (8, b"em1".to_vec())]
    );
    let firewall = collector.options_of(402);
    assert_eq!(firewall.len(), 1);
    assert_eq!(
        [405, 403].map(|id| value(firewall[0], id)),
        [6, 0xc000_0209]
    );
    assert_eq!(firewall[0][&(OWN, 9)], [9]);
    // All of it again with the templates.
    interface.handle_timeout(now(81), &mut outbox);
    let again = sent(&mut interface, &mut outbox);
    let before = collector.options.len();
    collector.read_all(&again);
    assert_eq!(collector.options.len(), 2 * before);
    assert!(again.iter().all(|message| message.len() + 28 <= 1500));
}

#[test]
fn an_interfaces_name_is_told_before_the_flow_that_needs_it() {
    let (mut interface, mut outbox) = running(full());
    interface.offer(now(50), &flow(Af::Inet, None, 6), 7, &mut outbox);
    interface.flush(now(50), &mut outbox);
    let messages = sent(&mut interface, &mut outbox);
    let sets: Vec<_> = messages
        .iter()
        .map(|m| u16::from_be_bytes([m[16], m[17]]))
        .collect();
    let place = |id: u16| sets.iter().position(|set| *set == id).unwrap();
    assert!(
        place(401) < place(300) && place(402) < place(300),
        "{sets:?}"
    );
}

#[test]
fn statistics_count_what_was_sent_and_what_was_not() {
    let settings = Settings {
        statistics: 60,
        ..full()
    };
    let (mut interface, mut outbox) = running(settings);
    let mut collector = Collector::default();
    interface.offer(now(50), &flow(Af::Inet, None, 6), 0, &mut outbox);
    interface.flush(now(50), &mut outbox);
    collector.read_all(&sent(&mut interface, &mut outbox));
    let counters = &mut interface.counters;
    (counters.datagrams, counters.records_sent, counters.octets) = (9, 2, 4000);
    let statistics = |interface: &mut Interface, outbox: &mut Outbox, at| {
        interface.handle_timeout(now(at), outbox);
        sent(interface, outbox)
    };
    collector.read_all(&statistics(&mut interface, &mut outbox, 62));
    let told: Vec<_> = [149, 41, 42, 40]
        .map(|id| value(collector.options_of(404)[0], id))
        .to_vec();
    assert_eq!(told, [42, 9, 2, 4000]);
    assert!(collector.options_of(405).is_empty(), "nothing was lost");
    assert!(collector.options_of(408).is_empty(), "likewise");
    interface.counters.records_refused = 5;
    interface.note_ignored(now(70), 4);
    interface.note_ignored(now(80), 3);
    interface.note_ignored(now(90), 0);
    // The record of statistics before counts as one that was sent, and is no flow.
    interface.counters.records_sent = 3;
    collector.read_all(&statistics(&mut interface, &mut outbox, 123));
    assert_eq!(value(collector.options_of(404)[1], 42), 2);
    let ignored = collector.options_of(408);
    assert_eq!([149, 164].map(|id| value(ignored[0], id)), [42, 7]);
    let lost = collector.options_of(405);
    assert_eq!([144, 166].map(|id| value(lost[0], id)), [3, 5]);
    assert_eq!(value(lost[0], 323), 1_700_000_123_250);
    assert_eq!(
        interface.counters.records, 6,
        "two of a flow, four of statistics"
    );
}

#[test]
fn each_firewall_has_a_domain_with_templates_and_options_of_its_own() {
    let settings = Settings {
        domain: Domain::Creatorid,
        statistics: 10,
        ..full()
    };
    let (mut interface, mut outbox) = running(settings);
    for creatorid in [7, 9, 7] {
        let mut flow = flow(Af::Inet, None, 6);
        flow.id.creatorid = creatorid;
        interface.offer(now(5), &flow, 7, &mut outbox);
    }
    interface.handle_timeout(now(12), &mut outbox);
    interface.flush(now(13), &mut outbox);
    let mut collector = Collector::default();
    collector.read_all(&sent(&mut interface, &mut outbox));
    let names: Vec<_> = collector
        .options_of(400)
        .iter()
        .map(|one| one[&(0, 300)].clone())
        .collect();
    assert_eq!(
        names,
        [
            b"creatorid 00000007".to_vec(),
            b"creatorid 00000009".to_vec(),
            b"pflow3".to_vec()
        ]
    );
    assert_eq!(collector.options_of(401).len(), 2, "of each");
    // Statistics are of no firewall (RFC 7011 3.1).
    assert_eq!(value(collector.options_of(404)[0], 149), 0);
    assert_eq!(collector.flows.len(), 6);
}

#[test]
fn each_session_of_a_stream_is_told_templates_and_options_first() {
    let settings = Settings {
        carrier: crate::export::Carrier::Tcp,
        ..full()
    };
    let templates = Templates::from(&settings);
    let (mut interface, mut outbox) = running(settings);
    interface.offer(now(50), &flow(Af::Inet, None, 6), 7, &mut outbox);
    interface.flush(now(50), &mut outbox);
    let mut stream = Stream::new(1 << 20);
    let push = |interface: &mut Interface, outbox: &mut Outbox, stream: &mut Stream| {
        let transmit = transmit(outbox, std::slice::from_mut(interface), Order::Packed);
        for message in transmit.messages_of(3) {
            stream.push(&message, templates);
        }
    };
    push(&mut interface, &mut outbox, &mut stream);
    let session = |stream: &mut Stream| {
        let mut collector = Collector::default();
        stream.prepare(now(60), 1 << 20);
        let messages: Vec<_> = stream.prepared().map(<[u8]>::to_vec).collect();
        collector.read_all(&messages);
        (collector, messages.len())
    };
    stream.begin();
    let (collector, _) = session(&mut stream);
    assert_eq!(collector.flows.len(), 2);
    assert_eq!(collector.options_of(401).len(), 1);
    assert_eq!(collector.options_of(407).len(), 9);
    // It broke before anything was taken: the next is told all of it again.
    stream.begin();
    let (again, count) = session(&mut stream);
    assert_eq!(again.flows.len(), 2);
    assert_eq!(again.options, collector.options);
    let taken = stream.take(count);
    assert_eq!(taken.records, 2, "options are no records that were packed");
    // What is new within a session is told in it, once.
    let mut other = flow(Af::Inet, None, 6);
    other.ifname = IfName::from("em1");
    interface.offer(now(70), &other, 8, &mut outbox);
    interface.flush(now(70), &mut outbox);
    push(&mut interface, &mut outbox, &mut stream);
    stream.prepare(now(71), 1 << 20);
    let more: Vec<_> = stream.prepared().map(<[u8]>::to_vec).collect();
    let mut whole = again;
    whole.options.clear();
    whole.read_all(&more);
    assert_eq!((more.len(), whole.options.len()), (2, 1));
}

#[test]
fn whoever_wants_iana_icmp_gets_type_and_code_as_the_port() {
    for format in [Format::NetFlow5, Format::Ipfix] {
        for domain in [Domain::Number(42), Domain::Creatorid] {
            let settings = Settings {
                format,
                domain,
                templates: TemplateSet::OpenBsd,
                icmp: IcmpPorts::Iana,
                ..full()
            };
            let (mut interface, mut outbox) = running(settings);
            for proto in [1, 17] {
                interface.offer(now(50), &flow(Af::Inet, None, proto), 7, &mut outbox);
            }
            interface.flush(now(50), &mut outbox);
            let messages = sent(&mut interface, &mut outbox);
            let (front, len, ports, interfaces) = match format {
                Format::NetFlow5 => (24, 48, 32, 12),
                _ => (20, 54, 48, 8),
            };
            let data = messages.last().unwrap();
            let record = |n: usize| &data[front + n * len..][..len];
            let told = |n| number(&record(n)[ports..ports + 4]);
            assert_eq!([told(0), told(1)], [0x0800, 0], "{format:?} {domain}");
            let udp = 4660 << 16 | 8;
            assert_eq!([told(2), told(3)], [udp, 8 << 16 | 4660]);
            // Both ways passed, so that both interfaces are known.
            let of_interfaces = |n| record(n)[interfaces..interfaces + 4].to_vec();
            assert_eq!(of_interfaces(0), of_interfaces(2), "{format:?}");
            assert_eq!(interface.counters.records, 4);
        }
    }
}

#[test]
fn a_set_of_templates_tells_what_it_is_of() {
    for (is_biflow, events) in [
        (false, Events::None),
        (true, Events::None),
        (false, Events::Nat),
        (true, Events::Nat),
    ] {
        for enterprise in [None, Some(OWN), Some(1)] {
            let settings = Settings {
                is_biflow,
                enterprise,
                events,
                ..full()
            };
            let templates = Templates::from(&settings);
            let flows = templates.sets();
            let flows = flows.iter().find(|(set, _)| set[1] == 2).unwrap();
            assert_eq!(Templates::recognise(&flows.0), Some(templates));
            let first = Templates::recognise(&templates.sets()[0].0).unwrap();
            assert_eq!(
                first.full().unwrap().enterprise.is_some(),
                enterprise.is_some()
            );
        }
    }
    for (_, set) in TemplateSet::VALUES {
        let templates = Templates::from(*set);
        assert_eq!(
            Templates::recognise(&templates.sets()[0].0),
            Some(templates)
        );
    }
    assert_eq!(Templates::recognise(&[0, 2, 0, 8, 1, 44, 0, 0]), None);
}

fn with_events() -> Settings {
    Settings {
        events: Events::Nat,
        ..full()
    }
}

/// What is sent of what happened to the translations of `flows` at 50 s.
fn told(settings: Settings, flows: &[(Translation, Flow)]) -> Vec<Vec<u8>> {
    let (mut interface, mut outbox) = running(settings);
    for (what, flow) in flows {
        interface.offer_event(now(50), (now(50), *what), flow, &mut outbox);
    }
    interface.flush(now(51), &mut outbox);
    let packed = interface.counters;
    assert_eq!(
        [packed.events, packed.records],
        [flows.len() as u64; 2],
        "all of the records are events"
    );
    sent(&mut interface, &mut outbox)
}

#[test]
fn events_have_the_octets_of_rfc_8158() {
    let flow = flow(Af::Inet, Some(Af::Inet), 6);
    let messages = told(
        with_events(),
        &[(Translation::Created, flow), (Translation::Deleted, flow)],
    );
    let records = |what: u8, ms: u64| {
        let mut octets = ms.to_be_bytes().to_vec();
        octets.push(what);
        octets.extend(flow.flow_id().to_be_bytes());
        octets.extend([0, 0, 0, 6, 192, 0, 2, 9]);
        // Source, destination, and both after translation.
        octets.extend([[1; 4], [2; 4], [3; 4], [4; 4]].concat());
        octets.extend([6, 0x12, 0x34, 0, 8, 0xc3, 0x50, 0, 8]);
        octets
    };
    let both = [records(4, 1_700_000_045_000), records(5, 1_700_000_050_250)].concat();
    assert_eq!(messages.last().unwrap()[16..20], [1, 124, 0, 104]);
    assert_eq!(messages.last().unwrap()[20..], both);
    let template: Vec<u8> = [
        [1, 124, 0, 14],
        [1, 67, 0, 8],
        [0, 230, 0, 1],
        [0, 148, 0, 8],
        [1, 149, 0, 4],
        [1, 147, 0, 4],
        [0, 8, 0, 4],
        [0, 12, 0, 4],
        [0, 225, 0, 4],
        [0, 226, 0, 4],
        [0, 4, 0, 1],
        [0, 7, 0, 2],
        [0, 11, 0, 2],
        [0, 227, 0, 2],
        [0, 228, 0, 2],
    ]
    .concat();
    let is_told = |message: &Vec<u8>| message.windows(template.len()).any(|at| at == template);
    assert!(messages.iter().any(is_told));
}

#[test]
fn every_shape_of_events_has_a_template_that_its_records_fit_beside_those_of_flows() {
    let mut events = Vec::new();
    for shape in EventShape::all(Templates::from(&with_events()).full().unwrap()) {
        let mut flow = flow(shape.af, Some(shape.post), 17);
        if shape.has_extras {
            flow.detail = Some(Detail {
                sender: Some("2001:db8::9".parse().unwrap()),
                rdomains: [4, 5],
                ..detail()
            });
        }
        events.push((Translation::Deleted, flow));
    }
    assert_eq!(events.len(), EVENT_SHAPES);
    for (is_biflow, mtu) in [(false, 1500), (true, 72)] {
        let settings = Settings {
            is_biflow,
            mtu,
            ..with_events()
        };
        let mut collector = Collector::default();
        collector.read_all(&told(settings, &events));
        let ids: std::collections::BTreeSet<_> =
            collector.flows.iter().map(|(id, _)| *id).collect();
        assert_eq!(ids, (380..388).collect());
        for (_, record) in &collector.flows {
            let is_nat44 = record.contains_key(&(0, 8)) && record.contains_key(&(0, 225));
            assert_eq!(value(record, 230), if is_nat44 { 5 } else { 7 });
            if record.contains_key(&(0, 404)) {
                assert_eq!([value(record, 234), value(record, 235)], [4, 5]);
                assert_eq!(record[&(0, 404)][..4], [0x20, 0x01, 0x0d, 0xb8]);
            }
        }
    }
    let collector = collected(with_events(), &[flow(Af::Inet, None, 6)]);
    assert_eq!(collector.flows.len(), 2, "flows are as before");
}

#[test]
fn the_identifier_of_a_query_is_the_port_of_icmp() {
    let mut query = flow(Af::Inet, Some(Af::Inet), 1);
    if let Some(after) = &mut query.translated {
        (after.sport, after.dport) = (5555, 8);
    }
    let mut collector = Collector::default();
    collector.read_all(&told(with_events(), &[(Translation::Created, query)]));
    let ports = [7, 11, 227, 228].map(|id| value(&collector.flows[0].1, id));
    assert_eq!(ports, [4660, 0, 5555, 0]);
}

#[test]
fn an_interface_that_does_not_run_packs_no_event() {
    let (mut interface, mut outbox) = running(Settings {
        is_up: false,
        ..with_events()
    });
    let flow = flow(Af::Inet, Some(Af::Inet), 6);
    interface.offer_event(now(50), (now(50), Translation::Created), &flow, &mut outbox);
    interface.flush(now(51), &mut outbox);
    assert!(sent(&mut interface, &mut outbox).is_empty());
    assert_eq!(interface.counters.events, 0);
}
