//! Words that several outputs share: protocols, ends of a connection, ICMP's.

use std::fmt::{self, Display};
use std::net::IpAddr;

use crate::state::{Address, Af};

pub(crate) const ICMP: u8 = 1;
pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;
pub(crate) const ICMPV6: u8 = 58;
pub(crate) const SCTP: u8 = 132;

/// Names of /etc/protocols, which pfctl prints, of what pf is likely to keep states of.
const PROTOCOLS: [(u8, &str); 20] = [
    (ICMP, "icmp"),
    (2, "igmp"),
    (4, "ipencap"),
    (TCP, "tcp"),
    (UDP, "udp"),
    (41, "ipv6"),
    (46, "rsvp"),
    (47, "gre"),
    (50, "esp"),
    (51, "ah"),
    (ICMPV6, "ipv6-icmp"),
    (89, "ospf"),
    (97, "etherip"),
    (103, "pim"),
    (108, "ipcomp"),
    (112, "carp"),
    (SCTP, "sctp"),
    (136, "udplite"),
    (137, "mpls"),
    (240, "pfsync"),
];

/// An IP protocol by name, `proto-N` if it has none here.
pub(crate) struct Protocol(pub(crate) u8);

impl Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match PROTOCOLS.iter().find(|(number, _)| *number == self.0) {
            Some((_, name)) => f.pad(name),
            None => f.pad(&format!("proto-{}", self.0)),
        }
    }
}

/// The number of the protocol that `text` names or is.
pub(crate) fn protocol_number(text: &str) -> Option<u8> {
    let named = PROTOCOLS.iter().find(|(_, name)| *name == text);
    named.map_or_else(|| text.parse().ok(), |(number, _)| Some(*number))
}

/// One end of a connection. Prints as pfctl does: `192.0.2.1:80`, `2001:db8::1[80]`, no port 0.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) struct Endpoint {
    pub(crate) ip: IpAddr,
    pub(crate) port: u16,
}

impl Endpoint {
    pub(crate) fn new(af: Af, address: Address, port: u16) -> Self {
        Self {
            ip: address.ip(af),
            port,
        }
    }
}

impl Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ip {
            ip if self.port == 0 => write!(f, "{ip}"),
            IpAddr::V4(ip) => write!(f, "{ip}:{}", self.port),
            IpAddr::V6(ip) => write!(f, "{ip}[{}]", self.port),
        }
    }
}

/// ICMP types of queries that pf maps answers to (pf.c, `pf_icmp_mapping`): echo, router
/// solicitation, time stamp, information, address mask, where are you, mobile registration.
const QUERIES: &[u8] = &[8, 10, 13, 15, 17, 33, 35];
/// The same of ICMPv6: echo, listener query, router and neighbour solicitation, node information.
const QUERIES6: &[u8] = &[128, 130, 133, 135, 139];

/// What the ports of an ICMP state hold (pfsync.md 3.3).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Icmp {
    /// Identifier of the query.
    pub(crate) id: u16,
    /// Type of the request, where it was kept.
    pub(crate) kind: Option<u8>,
}

impl Icmp {
    /// Of a dialect that keeps nothing but the id.
    pub(crate) fn of_id(id: u16) -> Self {
        Self { id, kind: None }
    }

    /// From the initiator's and the responder's port, where the one keeps the id and the other the
    /// type of the request: the responder's, or the initiator's if a reply made the state (pf.c,
    /// `pf_icmp_mapping`). A query's type is taken for one wherever it stands, and 0 never is.
    pub(crate) fn of_query(proto: u8, src: u16, dst: u16) -> Option<Self> {
        let queries = if proto == ICMPV6 { QUERIES6 } else { QUERIES };
        let is_query = |port: u16| queries.iter().any(|kind| u16::from(*kind) == port);
        let is_type = |port: u16| (1..=0xff).contains(&port);
        let (id, kind) = match (is_query(dst), is_query(src)) {
            (true, _) => (src, dst),
            (false, true) => (dst, src),
            _ if is_type(dst) => (src, dst),
            _ if is_type(src) => (dst, src),
            // OpenBSD 3.8 to 4.3 have the id on one side only.
            _ if src == 0 || dst == 0 => return Some(Self::of_id(src.max(dst))),
            _ => return None,
        };
        Some(Self {
            id,
            kind: u8::try_from(kind).ok(),
        })
    }

    /// The same of a state whose sender may be older than that: OpenBSD 4.4, 4.5 and FreeBSD to
    /// 13 have the id in both ports.
    pub(crate) fn of_ports(proto: u8, src: u16, dst: u16) -> Option<Self> {
        if src == dst {
            Some(Self::of_id(src))
        } else {
            Self::of_query(proto, src, dst)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_type_of_a_query_is_told_from_its_id_on_either_side() {
        let told = |proto, src, dst| {
            Icmp::of_query(proto, src, dst).map(|icmp| (icmp.kind.unwrap_or(0), icmp.id))
        };
        for (proto, src, dst, expected) in [
            (ICMP, 4660, 8, (8, 4660)),
            (ICMP, 8, 4660, (8, 4660)),
            // Ids below 256 look like types: a query's type is one, and 0 is not.
            (ICMP, 5, 8, (8, 5)),
            (ICMP, 8, 5, (8, 5)),
            (ICMP, 0, 8, (8, 0)),
            (ICMP, 8, 0, (8, 0)),
            (ICMP, 17, 0, (17, 0)),
            // Neighbour discovery has id 0; who answered made the state.
            (ICMPV6, 135, 0, (135, 0)),
            (ICMPV6, 0, 135, (135, 0)),
            (ICMPV6, 128, 8, (128, 8)),
            (ICMPV6, 8, 128, (128, 8)),
            // Others keep the type in the responder's place.
            (ICMPV6, 0, 143, (143, 0)),
            (ICMPV6, 143, 0, (143, 0)),
        ] {
            assert_eq!(told(proto, src, dst), Some(expected), "{proto} {src} {dst}");
        }
        assert_eq!(told(ICMP, 4660, 4661), None);
        assert_eq!(told(ICMP, 0, 0), Some((0, 0)));
        assert_eq!(Icmp::of_query(ICMP, 0, 4660), Some(Icmp::of_id(4660)));
    }
}
