//! Words that several outputs share: protocols, ends of a connection.

use std::fmt::{self, Display};
use std::net::IpAddr;

use crate::icmp::{ICMP, ICMPV6};
use crate::state::{Address, Af};

pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;
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
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
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
