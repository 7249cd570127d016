//! Floor 0: names of IP protocols.

use std::fmt::{self, Display};

use crate::icmp::{ICMP, ICMPV6};

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
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Protocol(pub(crate) u8);

impl Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match PROTOCOLS.iter().find(|(number, _)| *number == self.0) {
            Some((_, name)) => f.pad(name),
            None => f.pad(&format!("proto-{}", self.0)),
        }
    }
}

/// The number of the protocol that `text` names or is. `icmp6` is tcpdump's and pf's name.
pub(crate) fn protocol_number(text: &str) -> Option<u8> {
    if text == "icmp6" {
        return Some(ICMPV6);
    }
    let named = PROTOCOLS.iter().find(|(_, name)| *name == text);
    named.map_or_else(|| text.parse().ok(), |(number, _)| Some(*number))
}

/// Names of ports (IANA's, as /etc/services has them), of what pf's users look for. They are the
/// same on every system, also where no file can be read.
const SERVICES: [(u16, &str); 36] = [
    (20, "ftp-data"),
    (21, "ftp"),
    (22, "ssh"),
    (23, "telnet"),
    (25, "smtp"),
    (53, "domain"),
    (67, "bootps"),
    (68, "bootpc"),
    (69, "tftp"),
    (80, "http"),
    (88, "kerberos"),
    (110, "pop3"),
    (123, "ntp"),
    (143, "imap"),
    (161, "snmp"),
    (162, "snmptrap"),
    (179, "bgp"),
    (389, "ldap"),
    (443, "https"),
    (445, "microsoft-ds"),
    (465, "submissions"),
    (500, "isakmp"),
    (514, "syslog"),
    (587, "submission"),
    (636, "ldaps"),
    (853, "domain-s"),
    (873, "rsync"),
    (993, "imaps"),
    (995, "pop3s"),
    (1194, "openvpn"),
    (1812, "radius"),
    (3389, "ms-wbt-server"),
    (4500, "ipsec-nat-t"),
    (5060, "sip"),
    (5353, "mdns"),
    (5432, "postgresql"),
];

/// The number of the port that `text` names or is.
pub(crate) fn port_number(text: &str) -> Option<u16> {
    let named = SERVICES.iter().find(|(_, name)| *name == text);
    named.map_or_else(|| text.parse().ok(), |(number, _)| Some(*number))
}
