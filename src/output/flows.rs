//! Exported flows as data: one JSON object or one line of CSV a record.
//!
//! A member has the name of IANA's information element, if there is one. Times are integer
//! milliseconds.

use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::json::Object;
use super::words::Endpoint;
use crate::export::full::record_of;
use crate::flow::{Flow, Passage, Record, Tuple};
use crate::icmp::{ICMP, ICMPV6, Icmp};
use crate::state::Af;
use crate::wire::elements as ie;
use crate::wire::elements::{Element, Registry};
use crate::wire::full::Kind;

/// Both ends, the first of the tuple first.
pub(super) fn ends(tuple: &Tuple) -> (Endpoint, Endpoint) {
    (
        Endpoint::new(tuple.af, tuple.src, tuple.sport),
        Endpoint::new(tuple.af, tuple.dst, tuple.dport),
    )
}

/// What the ports of a flow of ICMP mean.
pub(super) fn icmp(flow: &Flow) -> Option<Icmp> {
    let tuple = &flow.tuple;
    matches!(tuple.proto, ICMP | ICMPV6)
        .then(|| Icmp::of_ports(tuple.proto, tuple.sport, tuple.dport))
        .flatten()
}

/// A value of a record.
enum Value<'a> {
    Number(u64),
    Text(&'a dyn Display),
    Boolean(bool),
}

/// Takes a record's values by their names.
type Take<'a> = dyn FnMut(&'static str, Value<'_>) + 'a;

/// Appends the records of `flow`, a JSON object a line each.
pub fn json(out: &mut Vec<u8>, flow: &Flow, passage: &Passage) {
    for record in flow.records() {
        let mut object = Object::new(out);
        members(flow, &record, passage, &mut |name, value| match value {
            Value::Number(number) => object.number(name, number),
            Value::Text(text) => object.string(name, text),
            Value::Boolean(is_so) => object.boolean(name, is_so),
        });
        object.end();
        out.push(b'\n');
    }
}

/// Names of the columns of CSV, in their order.
const COLUMNS: &[&str] = &[
    "flowStartMilliseconds",
    "flowEndMilliseconds",
    "sourceIPv4Address",
    "destinationIPv4Address",
    "sourceIPv6Address",
    "destinationIPv6Address",
    "sourceTransportPort",
    "destinationTransportPort",
    "protocolIdentifier",
    "ipClassOfService",
    "packetDeltaCount",
    "octetDeltaCount",
    "ingressInterface",
    "egressInterface",
    "icmpTypeIPv4",
    "icmpTypeIPv6",
    "icmpId",
    "postNATSourceIPv4Address",
    "postNATDestinationIPv4Address",
    "postNATSourceIPv6Address",
    "postNATDestinationIPv6Address",
    "postNAPTSourceTransportPort",
    "postNAPTDestinationTransportPort",
    "interfaceName",
    "egressInterfaceName",
    "stateId",
    "creatorId",
    "direction",
    "reverse",
    "quality",
    "flowId",
    "originalObservationDomainId",
    "originalExporterIPv4Address",
    "originalExporterIPv6Address",
    "flowDirection",
    "flowEndReason",
    "icmpTypeCodeIPv4",
    "icmpTypeCodeIPv6",
    "postIpClassOfService",
    "ipNextHopIPv4Address",
    "ipNextHopIPv6Address",
    "ingressVRFID",
    "egressVRFID",
    "flowQuality",
    "flowPart",
    "pfRule",
    "pfAnchor",
    "pfNatRule",
    "pfStateFlags",
    "pfInitiatorState",
    "pfResponderState",
    "pfsyncDialect",
];

/// Appends the line with the names of the columns (RFC 4180).
pub fn csv_header(out: &mut Vec<u8>) {
    out.extend(COLUMNS.join(",").bytes());
    out.extend(b"\r\n");
}

/// Appends the records of `flow`, one line of CSV each. A value that a record does not have is
/// empty.
pub fn csv(out: &mut Vec<u8>, flow: &Flow, passage: &Passage) {
    for record in flow.records() {
        let mut columns = vec![String::new(); COLUMNS.len()];
        members(flow, &record, passage, &mut |name, value| {
            let place = COLUMNS.iter().position(|column| *column == name);
            if let Some(column) = place.and_then(|place| columns.get_mut(place)) {
                *column = match value {
                    Value::Number(number) => number.to_string(),
                    Value::Text(text) => quoted(&text.to_string()),
                    Value::Boolean(is_so) => is_so.to_string(),
                };
            }
        });
        out.extend(columns.join(",").bytes());
        out.extend(b"\r\n");
    }
}

/// A text in quotes if it needs them.
fn quoted(text: &str) -> String {
    match text.contains([',', '"']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    }
}

fn members(flow: &Flow, record: &Record, passage: &Passage, take: &mut Take<'_>) {
    let tuple = &record.tuple;
    let mut number = |name, number| take(name, Value::Number(number));
    number(ie::FLOW_START.name, flow.times.start_ms());
    number(ie::FLOW_END.name, flow.times.end_ms());
    let (src, dst) = ends(tuple);
    let (source, destination) = match tuple.af {
        Af::Inet => (ie::SOURCE_IPV4.name, ie::DESTINATION_IPV4.name),
        Af::Inet6 => (ie::SOURCE_IPV6.name, ie::DESTINATION_IPV6.name),
    };
    take(source, Value::Text(&src.ip));
    take(destination, Value::Text(&dst.ip));
    let [input, output] = flow.interfaces(passage, record.reverse);
    let mut number = |name, number| take(name, Value::Number(number));
    number(ie::SOURCE_PORT.name, src.port.into());
    number(ie::DESTINATION_PORT.name, dst.port.into());
    number(ie::PROTOCOL.name, tuple.proto.into());
    number(ie::CLASS_OF_SERVICE.name, 0);
    number(ie::PACKET_DELTA_COUNT.name, record.packets);
    number(ie::OCTET_DELTA_COUNT.name, record.octets);
    number(ie::INGRESS_INTERFACE.name, input.into());
    number(ie::EGRESS_INTERFACE.name, output.into());
    if let Some(icmp) = icmp(flow) {
        if let Some(kind) = icmp.kind {
            let name = if tuple.proto == ICMP {
                ie::ICMP_TYPE_IPV4.name
            } else {
                ie::ICMP_TYPE_IPV6.name
            };
            number(name, kind.into());
        }
        number("icmpId", icmp.id.into());
    }
    if let Some(translated) = &record.translated {
        translated_members(translated, take);
    }
    take(ie::INTERFACE_NAME.name, Value::Text(&flow.ifname));
    if let Some((ifname, _)) = &passage.egress {
        take("egressInterfaceName", Value::Text(ifname));
    }
    take("stateId", Value::Text(&format_args!("{:016x}", flow.id.id)));
    let creatorid = flow.id.creatorid;
    take("creatorId", Value::Text(&format_args!("{creatorid:08x}")));
    if passage.egress.is_none() {
        take("direction", Value::Text(&flow.direction.name()));
    }
    take("reverse", Value::Boolean(record.reverse));
    take("quality", Value::Text(&flow.quality.name()));
    further_members(flow, record, passage, take);
}

fn translated_members(translated: &Tuple, take: &mut Take<'_>) {
    let (src, dst) = ends(translated);
    let (source, destination) = match translated.af {
        Af::Inet => (
            ie::POST_NAT_SOURCE_IPV4.name,
            ie::POST_NAT_DESTINATION_IPV4.name,
        ),
        Af::Inet6 => (
            ie::POST_NAT_SOURCE_IPV6.name,
            ie::POST_NAT_DESTINATION_IPV6.name,
        ),
    };
    take(source, Value::Text(&src.ip));
    take(destination, Value::Text(&dst.ip));
    let mut number = |name, number| take(name, Value::Number(number));
    number(ie::POST_NAPT_SOURCE_PORT.name, src.port.into());
    number(ie::POST_NAPT_DESTINATION_PORT.name, dst.port.into());
}

/// The other values of `template full`, as its records have them.
const FURTHER: &[Element] = &[
    ie::FLOW_ID,
    ie::ORIGINAL_DOMAIN,
    ie::ORIGINAL_EXPORTER_IPV4,
    ie::ORIGINAL_EXPORTER_IPV6,
    ie::FLOW_DIRECTION,
    ie::FLOW_END_REASON,
    ie::ICMP_TYPE_CODE_IPV4,
    ie::ICMP_TYPE_CODE_IPV6,
    ie::POST_CLASS_OF_SERVICE,
    ie::NEXT_HOP_IPV4,
    ie::NEXT_HOP_IPV6,
    ie::INGRESS_VRF,
    ie::EGRESS_VRF,
];

fn further_members(flow: &Flow, record: &Record, passage: &Passage, take: &mut Take<'_>) {
    let (shape, values) = record_of(flow, record, passage);
    let kind = Kind {
        enterprise: Some(0),
        ..Kind::default()
    };
    let mut octets = Vec::new();
    for element in shape.elements(kind) {
        if element.registry == Registry::Iana && !FURTHER.contains(&element) {
            continue;
        }
        octets.clear();
        values.write(&[element], &mut octets);
        match element {
            ie::ORIGINAL_EXPORTER_IPV4
            | ie::ORIGINAL_EXPORTER_IPV6
            | ie::NEXT_HOP_IPV4
            | ie::NEXT_HOP_IPV6 => {
                let address: IpAddr = match (octets.first_chunk(), octets.first_chunk()) {
                    (_, Some(octets)) => Ipv6Addr::from(*octets).into(),
                    (Some(octets), None) => Ipv4Addr::from(*octets).into(),
                    (None, None) => continue,
                };
                take(element.name, Value::Text(&address));
            }
            _ => {
                let number = octets.iter().fold(0, |n, octet| n << 8 | u64::from(*octet));
                take(element.name, Value::Number(number));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::{Boot, Detail, End, Quality, Times};
    use crate::state::Route;
    use crate::state::{Address, Direction, IfName, StateId};
    use crate::time::{Now, Wall};

    fn flow() -> Flow {
        let v4 = |a: [u8; 4]| Address::from(IpAddr::from(a));
        let tuple = Tuple {
            af: Af::Inet,
            proto: 6,
            src: v4([10, 1, 2, 3]),
            dst: v4([192, 0, 2, 1]),
            sport: 4000,
            dport: 443,
        };
        let boot = Wall::new(1_700_000_000, 0);
        let now = Now::with_boot(boot.after(std::time::Duration::from_secs(20)), boot);
        Flow {
            id: StateId {
                id: 0x6553_f100_0000_0001,
                creatorid: 0x5f3a_9c01,
            },
            direction: Direction::Out,
            ifname: IfName::from("all"),
            pflow: true,
            tuple,
            translated: Some(Tuple {
                src: v4([198, 51, 100, 1]),
                sport: 61952,
                ..tuple
            }),
            packets: [10, 7],
            octets: [1234, 56789],
            times: Times::new(1, 13, now, Boot::Known),
            end: End::Deleted,
            quality: Quality::Exact,
            detail: Some(Detail {
                sender: Some([192, 0, 2, 7].into()),
                dialect: 9,
                rule: 12,
                anchor: u32::MAX,
                nat_rule: 7,
                state_flags: 4,
                peers: [10, 9],
                tos: 0,
                route: None,
                rdomains: [0, 0],
                part: 0,
            }),
            only: None,
        }
    }

    #[test]
    fn a_record_is_one_json_object_with_ianas_names() {
        let mut out = Vec::new();
        json(&mut out, &flow(), &Passage::of_state(3));
        let lines: Vec<serde_json::Value> = out
            .split(|b| *b == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).unwrap())
            .collect();
        let expected = serde_json::json!({
            "flowStartMilliseconds": 1_700_000_001_000u64, "flowEndMilliseconds": 1_700_000_013_000u64,
            "sourceIPv4Address": "192.0.2.1", "destinationIPv4Address": "10.1.2.3",
            "sourceTransportPort": 443, "destinationTransportPort": 4000,
            "protocolIdentifier": 6, "ipClassOfService": 0,
            "packetDeltaCount": 7, "octetDeltaCount": 56789,
            "ingressInterface": 3, "egressInterface": 3,
            "postNATSourceIPv4Address": "192.0.2.1",
            "postNATDestinationIPv4Address": "198.51.100.1",
            "postNAPTSourceTransportPort": 443, "postNAPTDestinationTransportPort": 61952,
            "interfaceName": "all", "stateId": "6553f10000000001", "creatorId": "5f3a9c01",
            "direction": "out", "reverse": true, "quality": "exact",
            "flowId": flow().flow_id(), "originalObservationDomainId": 0x5f3a_9c01,
            "originalExporterIPv4Address": "192.0.2.7", "flowDirection": 0, "flowEndReason": 3,
            "flowQuality": 1, "flowPart": 0, "pfRule": 12, "pfAnchor": 0xffff_ffff_u32,
            "pfNatRule": 7, "pfStateFlags": 4, "pfInitiatorState": 10, "pfResponderState": 9,
            "pfsyncDialect": 9,
        });
        assert_eq!((lines.len(), &lines[1]), (2, &expected));
        assert_eq!(lines[0]["reverse"], false);
    }

    #[test]
    fn csv_has_each_member_of_json_in_a_column_of_its_name() {
        let mut flows = vec![flow(), flow(), flow()];
        for (flow, proto) in flows.iter_mut().skip(1).zip([1, 58]) {
            flow.tuple.proto = proto;
            flow.tuple.af = if proto == 58 { Af::Inet6 } else { Af::Inet };
            (flow.tuple.sport, flow.tuple.dport) = (9, if proto == 58 { 128 } else { 8 });
            flow.translated = Some(flow.tuple.reversed());
            flow.ifname = IfName::from("a,b");
            let af = flow.tuple.af;
            flow.detail = flow.detail.map(|detail| Detail {
                sender: Some("2001:db8::7".parse().unwrap()),
                route: Some(Route {
                    address: Address([7; 16]).of(af),
                    af,
                    is_reply: false,
                }),
                ..detail
            });
        }
        let passage = Passage::of_state(3);
        let mut flows: Vec<_> = flows.into_iter().map(|flow| (flow, passage)).collect();
        let egress = Some((IfName::default(), 0));
        flows.push((flow(), Passage { egress, ..passage }));
        let mut names = std::collections::BTreeSet::new();
        for (flow, passage) in &flows {
            let (mut header, mut lines, mut objects) = (Vec::new(), Vec::new(), Vec::new());
            csv_header(&mut header);
            csv(&mut lines, flow, passage);
            json(&mut objects, flow, passage);
            let header = String::from_utf8(header).unwrap();
            let header: Vec<_> = header.trim_end().split(',').collect();
            let lines = String::from_utf8(lines).unwrap().replace("\"a,b\"", "a;b");
            let objects = String::from_utf8(objects).unwrap().replace("a,b", "a;b");
            assert_eq!(lines.matches("\r\n").count(), 2);
            for (line, object) in lines.lines().zip(objects.lines()) {
                let mut object: serde_json::Map<String, serde_json::Value> =
                    serde_json::from_str(object).unwrap();
                for (name, value) in header.iter().zip(line.split(',')) {
                    let member = object.remove(*name);
                    names.extend(member.is_some().then(|| (*name).to_owned()));
                    let member = member.map_or(String::new(), |member| match member {
                        serde_json::Value::String(text) => text,
                        other => other.to_string(),
                    });
                    assert_eq!(value, member, "{name}");
                }
                assert!(object.is_empty(), "no column for {object:?}");
            }
        }
        assert_eq!(names.len(), COLUMNS.len(), "{names:?}");
    }
}
