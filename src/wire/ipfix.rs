//! IPFIX (RFC 7011) as pflow(4) writes it: one set a message, no padding, no options.
//!
//! ```text
//! message header, 16 octets: version 10 | length | export time, s | sequence | observation domain
//! set header, 4 octets:      set id | length
//! then template records (set 2) or data records (set id = template id)
//! ```
//! A record's layout stands once, as a list of elements; the template is written from that list
//! and the record in its order (if_pflow.c, `pflow_clone_create`, `copy_flow_ipfix_4_data`).

use std::ops::Range;

use byteorder::{BigEndian, ByteOrder};

use super::elements as ie;
use super::elements::Element;

/// Octets of the message header.
pub const HEADER_LEN: usize = 16;
/// Octets of a set header.
pub const SET_HEADER_LEN: usize = 4;
/// Where a message has its sequence number.
const SEQUENCE: Range<usize> = 8..12;
/// Set id of template sets.
const TEMPLATE_SET: u16 = 2;

/// A layout of data records.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Layout {
    /// IPv4.
    Ipv4,
    /// IPv4 with the addresses after translation (OpenBSD 7.9).
    Ipv4Nat,
    /// IPv6.
    Ipv6,
    /// A NAT44 event of RFC 8158 (FreeBSD).
    Nat44Event,
}

const IPV4: [Element; 12] = [
    ie::SOURCE_IPV4,
    ie::DESTINATION_IPV4,
    ie::INGRESS_INTERFACE,
    ie::EGRESS_INTERFACE,
    ie::PACKET_DELTA_COUNT,
    ie::OCTET_DELTA_COUNT,
    ie::FLOW_START,
    ie::FLOW_END,
    ie::SOURCE_PORT,
    ie::DESTINATION_PORT,
    ie::CLASS_OF_SERVICE,
    ie::PROTOCOL,
];

const IPV4_NAT: [Element; 16] = [
    ie::SOURCE_IPV4,
    ie::DESTINATION_IPV4,
    ie::INGRESS_INTERFACE,
    ie::EGRESS_INTERFACE,
    ie::PACKET_DELTA_COUNT,
    ie::OCTET_DELTA_COUNT,
    ie::FLOW_START,
    ie::FLOW_END,
    ie::POST_NAT_SOURCE_IPV4,
    ie::POST_NAT_DESTINATION_IPV4,
    ie::POST_NAPT_SOURCE_PORT,
    ie::POST_NAPT_DESTINATION_PORT,
    ie::SOURCE_PORT,
    ie::DESTINATION_PORT,
    ie::CLASS_OF_SERVICE,
    ie::PROTOCOL,
];

const IPV6: [Element; 12] = [
    ie::SOURCE_IPV6,
    ie::DESTINATION_IPV6,
    ie::INGRESS_INTERFACE,
    ie::EGRESS_INTERFACE,
    ie::PACKET_DELTA_COUNT,
    ie::OCTET_DELTA_COUNT,
    ie::FLOW_START,
    ie::FLOW_END,
    ie::SOURCE_PORT,
    ie::DESTINATION_PORT,
    ie::CLASS_OF_SERVICE,
    ie::PROTOCOL,
];

const NAT44_EVENT: [Element; 11] = [
    ie::OBSERVATION_TIME,
    ie::NAT_EVENT,
    ie::PROTOCOL,
    ie::SOURCE_IPV4,
    ie::SOURCE_PORT,
    ie::POST_NAT_SOURCE_IPV4,
    ie::POST_NAPT_SOURCE_PORT,
    ie::DESTINATION_IPV4,
    ie::DESTINATION_PORT,
    ie::POST_NAT_DESTINATION_IPV4,
    ie::POST_NAPT_DESTINATION_PORT,
];

const fn octets_of(elements: &[Element]) -> usize {
    let (mut sum, mut rest) = (0, elements);
    while let [first, others @ ..] = rest {
        sum += first.len as usize;
        rest = others;
    }
    sum
}

impl Layout {
    /// Its elements, in order.
    pub const fn elements(self) -> &'static [Element] {
        match self {
            Self::Ipv4 => &IPV4,
            Self::Ipv4Nat => &IPV4_NAT,
            Self::Ipv6 => &IPV6,
            Self::Nat44Event => &NAT44_EVENT,
        }
    }

    /// Octets of a record.
    pub const fn record_len(self) -> usize {
        match self {
            Self::Ipv4 => const { octets_of(&IPV4) },
            Self::Ipv4Nat => const { octets_of(&IPV4_NAT) },
            Self::Ipv6 => const { octets_of(&IPV6) },
            Self::Nat44Event => const { octets_of(&NAT44_EVENT) },
        }
    }
}

/// The fields of a message header that vary.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Header {
    /// Octets of the message.
    pub length: u16,
    /// Wall clock, seconds.
    pub export_time: u32,
    /// Data records sent before this message.
    pub sequence: u32,
    /// Observation domain.
    pub domain: u32,
}

impl Header {
    /// Its octets.
    pub fn octets(&self) -> [u8; HEADER_LEN] {
        let mut b = [0; HEADER_LEN];
        BigEndian::write_u16(&mut b, 10);
        let [_, _, l0, l1, rest @ ..] = &mut b;
        [*l0, *l1] = self.length.to_be_bytes();
        BigEndian::write_u32_into(&[self.export_time, self.sequence, self.domain], rest);
        b
    }
}

/// The sequence number of a message; 0 if it is too short to have one.
pub fn sequence(message: &[u8]) -> u32 {
    message.get(SEQUENCE).map_or(0, BigEndian::read_u32)
}

/// Numbers a message again.
pub fn set_sequence(message: &mut [u8], sequence: u32) {
    if let Some(field) = message.get_mut(SEQUENCE) {
        BigEndian::write_u32(field, sequence);
    }
}

/// The octets of a set header.
pub fn set_header(id: u16, length: u16) -> [u8; SET_HEADER_LEN] {
    let ([a, b], [c, d]) = (id.to_be_bytes(), length.to_be_bytes());
    [a, b, c, d]
}

/// One template set with the given templates, in order.
pub fn template_set(templates: &[(u16, Layout)]) -> Vec<u8> {
    let records: usize = templates
        .iter()
        .map(|(_, l)| 4 + 4 * l.elements().len())
        .sum();
    let length = u16::try_from(SET_HEADER_LEN + records).unwrap_or(u16::MAX);
    let mut set = Vec::with_capacity(usize::from(length));
    set.extend(set_header(TEMPLATE_SET, length));
    for &(id, layout) in templates {
        let count = u16::try_from(layout.elements().len()).unwrap_or(u16::MAX);
        set.extend(set_header(id, count));
        for element in layout.elements() {
            set.extend(set_header(element.id, element.len));
        }
    }
    set
}

/// Data records in a message of one set, whose template is one of `templates`; 0 if it has none.
pub fn records_in(message: &[u8], templates: &[(u16, Layout)]) -> u64 {
    let Some((set, records)) = message
        .get(HEADER_LEN..)
        .and_then(<[u8]>::split_first_chunk::<SET_HEADER_LEN>)
    else {
        return 0;
    };
    let [high, low, ..] = *set;
    let id = u16::from_be_bytes([high, low]);
    let layout = templates.iter().find(|(number, _)| *number == id);
    layout.map_or(0, |(_, layout)| {
        (records.len() / layout.record_len()) as u64
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(octets: &[u8]) -> String {
        octets.iter().map(|octet| format!("{octet:02x}")).collect()
    }

    // The kernels' template sets, octet for octet (pflow.md 2).
    const OPENBSD78: &str = concat!(
        "0002006c0100000c00080004000c0004000a0004000e000400020008000100080098000800990008",
        "00070002000b000200050001000400010101000c001b0010001c0010000a0004000e000400020008",
        "00010008009800080099000800070002000b00020005000100040001",
    );
    const OPENBSD: &str = concat!(
        "000200b00100000c00080004000c0004000a0004000e000400020008000100080098000800990008",
        "00070002000b000200050001000400010101001000080004000c0004000a0004000e000400020008",
        "00010008009800080099000800e1000400e2000400e3000200e4000200070002000b000200050001",
        "000400010102000c001b0010001c0010000a0004000e000400020008000100080098000800990008",
        "00070002000b00020005000100040001",
    );
    const FREEBSD: &str = concat!(
        "0002009c0100000c00080004000c0004000a0004000e000400020008000100080098000800990008",
        "00070002000b000200050001000400010101000c001b0010001c0010000a0004000e000400020008",
        "00010008009800080099000800070002000b000200050001000400010102000b0143000800e60001",
        "00040001000800040007000200e1000400e30002000c0004000b000200e2000400e40002",
    );

    #[test]
    fn template_sets_are_the_kernels_octet_for_octet() {
        use Layout::{Ipv4, Ipv4Nat, Ipv6, Nat44Event};
        assert_eq!(hex(&template_set(&[(256, Ipv4), (257, Ipv6)])), OPENBSD78);
        assert_eq!(
            hex(&template_set(&[(256, Ipv4), (257, Ipv4Nat), (258, Ipv6)])),
            OPENBSD
        );
        assert_eq!(
            hex(&template_set(&[
                (256, Ipv4),
                (257, Ipv6),
                (258, Nat44Event)
            ])),
            FREEBSD
        );
    }

    #[test]
    fn record_lengths_are_the_kernels() {
        let lengths = [
            Layout::Ipv4,
            Layout::Ipv4Nat,
            Layout::Ipv6,
            Layout::Nat44Event,
        ]
        .map(Layout::record_len);
        assert_eq!(lengths, [54, 66, 78, 34]);
    }

    #[test]
    fn a_message_header_is_rfc_7011s() {
        let header = Header {
            length: 0x0102,
            export_time: 3,
            sequence: 4,
            domain: 42,
        };
        assert_eq!(hex(&header.octets()), "000a010200000003000000040000002a");
    }

    #[test]
    fn no_element_stands_twice() {
        for (n, a) in ie::ALL.iter().enumerate() {
            assert!(
                ie::ALL[n + 1..]
                    .iter()
                    .all(|b| a.id != b.id && a.name != b.name)
            );
        }
    }
}
