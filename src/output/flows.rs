//! Exported flows, one line or one JSON object a record.
//!
//! ```text
//! 2023-11-14 22:13:21.000      12 tcp   out >        10          1234 10.1.2.3:4000 > 192.0.2.1:443 nat 198.51.100.1:61952 > ...
//! first packet, UTC       seconds proto dir    packets        octets source > destination
//! ```
//! `>` behind the direction marks the record of the initiator, `<` the one of the way back. In
//! JSON, what IANA has an information element for has its name, times are integer milliseconds.

use std::io::Write;

use super::json::Object;
use super::words::{Endpoint, Protocol};
use crate::flow::{Flow, Quality, Record, Tuple};
use crate::icmp::{ICMP, ICMPV6, Icmp};
use crate::state::Af;
use crate::time::Wall;
use crate::wire::elements as ie;

/// Appends the records of `flow`, a line each.
pub fn text(out: &mut Vec<u8>, flow: &Flow) {
    for record in flow.records() {
        // Writing to a Vec does not fail.
        let _ = line(out, flow, &record);
    }
}

fn line(out: &mut Vec<u8>, flow: &Flow, record: &Record) -> std::io::Result<()> {
    let times = flow.times;
    let start = i64::try_from(times.start_ms()).unwrap_or(i64::MAX);
    let tuple = &record.tuple;
    let (src, dst) = ends(tuple);
    write!(
        out,
        "{} {:>7} {:<9} {:<3} {} {:>9} {:>13} {src} > {dst}",
        Wall::from_nanos(start.saturating_mul(1_000_000)),
        times.end_ms().saturating_sub(times.start_ms()) / 1000,
        Protocol(tuple.proto),
        flow.direction.name(),
        if record.reverse { '<' } else { '>' },
        record.packets,
        record.octets,
    )?;
    if let Some(icmp) = icmp(flow) {
        write!(out, " icmp-id {}", icmp.id)?;
        if let Some(kind) = icmp.kind {
            write!(out, " icmp-type {kind}")?;
        }
    }
    if let Some(translated) = &record.translated {
        let (src, dst) = ends(translated);
        write!(out, " nat {src} > {dst}")?;
    }
    if flow.quality != Quality::Exact {
        write!(out, " {}", flow.quality.name())?;
    }
    writeln!(out)
}

fn ends(tuple: &Tuple) -> (Endpoint, Endpoint) {
    (
        Endpoint::new(tuple.af, tuple.src, tuple.sport),
        Endpoint::new(tuple.af, tuple.dst, tuple.dport),
    )
}

fn icmp(flow: &Flow) -> Option<Icmp> {
    let tuple = &flow.tuple;
    matches!(tuple.proto, ICMP | ICMPV6)
        .then(|| Icmp::of_ports(tuple.proto, tuple.sport, tuple.dport))
        .flatten()
}

/// Appends the records of `flow`, a JSON object a line each.
pub fn json(out: &mut Vec<u8>, flow: &Flow, ifindex: u16) {
    for record in flow.records() {
        object(out, flow, &record, ifindex);
        out.push(b'\n');
    }
}

fn object(out: &mut Vec<u8>, flow: &Flow, record: &Record, ifindex: u16) {
    let mut object = Object::new(out);
    let tuple = &record.tuple;
    object.number(ie::FLOW_START.name, flow.times.start_ms());
    object.number(ie::FLOW_END.name, flow.times.end_ms());
    let (src, dst) = ends(tuple);
    let (source, destination) = match tuple.af {
        Af::Inet => (ie::SOURCE_IPV4.name, ie::DESTINATION_IPV4.name),
        Af::Inet6 => (ie::SOURCE_IPV6.name, ie::DESTINATION_IPV6.name),
    };
    object.string(source, src.ip);
    object.string(destination, dst.ip);
    let [input, output] = flow.interfaces(ifindex, record.reverse);
    object.number(ie::SOURCE_PORT.name, src.port);
    object.number(ie::DESTINATION_PORT.name, dst.port);
    object.number(ie::PROTOCOL.name, tuple.proto);
    object.number(ie::CLASS_OF_SERVICE.name, 0u8);
    object.number(ie::PACKET_DELTA_COUNT.name, record.packets);
    object.number(ie::OCTET_DELTA_COUNT.name, record.octets);
    object.number(ie::INGRESS_INTERFACE.name, input);
    object.number(ie::EGRESS_INTERFACE.name, output);
    if let Some(icmp) = icmp(flow) {
        if let Some(kind) = icmp.kind {
            let name = if tuple.proto == ICMP {
                ie::ICMP_TYPE_IPV4.name
            } else {
                ie::ICMP_TYPE_IPV6.name
            };
            object.number(name, kind);
        }
        object.number("icmpId", icmp.id);
    }
    if let Some(translated) = &record.translated {
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
        object.string(source, src.ip);
        object.string(destination, dst.ip);
        object.number(ie::POST_NAPT_SOURCE_PORT.name, src.port);
        object.number(ie::POST_NAPT_DESTINATION_PORT.name, dst.port);
    }
    object.string(ie::INTERFACE_NAME.name, flow.ifname);
    object.string("stateId", format_args!("{:016x}", flow.id.id));
    object.string("creatorId", format_args!("{:08x}", flow.id.creatorid));
    object.string("direction", flow.direction.name());
    object.boolean("reverse", record.reverse);
    object.string("quality", flow.quality.name());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::{Boot, End, Quality, Times};
    use crate::state::{Address, Direction, IfName, StateId};
    use crate::time::Now;

    fn flow() -> Flow {
        let v4 = |a: [u8; 4]| Address::from(std::net::IpAddr::from(a));
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
            only: None,
        }
    }

    #[test]
    fn a_record_is_one_aligned_line() {
        let mut out = Vec::new();
        text(&mut out, &flow());
        let expected = "\
2023-11-14 22:13:21.000      12 tcp       out >        10          1234 10.1.2.3:4000 > \
192.0.2.1:443 nat 198.51.100.1:61952 > 192.0.2.1:443
2023-11-14 22:13:21.000      12 tcp       out <         7         56789 192.0.2.1:443 > \
10.1.2.3:4000 nat 192.0.2.1:443 > 198.51.100.1:61952
";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn a_record_is_one_json_object_with_ianas_names() {
        let mut out = Vec::new();
        json(&mut out, &flow(), 3);
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
        });
        assert_eq!((lines.len(), &lines[1]), (2, &expected));
        assert_eq!(lines[0]["reverse"], false);
    }

    #[test]
    fn icmp_ports_are_told_as_id_and_type() {
        let mut icmp = flow();
        icmp.tuple = Tuple {
            proto: 1,
            sport: 4660,
            dport: 8,
            ..icmp.tuple
        };
        icmp.translated = None;
        let mut out = Vec::new();
        text(&mut out, &icmp);
        let out = String::from_utf8(out).unwrap();
        assert!(
            out.lines()
                .all(|line| line.ends_with(" icmp-id 4660 icmp-type 8")),
            "{out}"
        );
    }
}
