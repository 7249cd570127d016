//! The layouts of data records. Each layout is one list of its elements and their values. Template,
//! length and writer come from that list.
//!
//! The layouts are the kernels' (if_pflow.c, `pflow_clone_create`, `copy_flow_ipfix_4_data`;
//! FreeBSD's pflow.c, `copy_nat_ipfix_4_to_m`). Every field has a fixed length and is big-endian;
//! a value of another length than its element's does not compile.

use super::elements as ie;
use super::elements::Element;

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

impl Layout {
    /// Its elements, in order.
    pub const fn elements(self) -> &'static [Element] {
        match self {
            Self::Ipv4 => IPV4,
            Self::Ipv4Nat => IPV4_NAT,
            Self::Ipv6 => IPV6,
            Self::Nat44Event => NAT44_EVENT,
        }
    }

    /// Octets of a record.
    pub const fn record_len(self) -> usize {
        match self {
            Self::Ipv4 => FlowRecord::<4>::LEN,
            Self::Ipv4Nat => NatRecord::LEN,
            Self::Ipv6 => FlowRecord::<16>::LEN,
            Self::Nat44Event => EventRecord::LEN,
        }
    }
}

/// The ends of a record, its sender first, with addresses of `LEN` octets.
#[derive(Clone, Copy, Debug)]
pub struct Ends<const LEN: usize> {
    /// Source address.
    pub src: [u8; LEN],
    /// Destination address.
    pub dst: [u8; LEN],
    /// Source port.
    pub sport: u16,
    /// Destination port.
    pub dport: u16,
}

impl<const LEN: usize> Ends<LEN> {
    /// The same ends as the destination sees them.
    #[inline(always)]
    #[must_use]
    pub fn reversed(self) -> Self {
        Self {
            src: self.dst,
            dst: self.src,
            sport: self.dport,
            dport: self.sport,
        }
    }
}

/// A record of one direction of a flow.
#[derive(Clone, Copy, Debug)]
pub struct FlowRecord<const LEN: usize> {
    /// Before translation.
    pub ends: Ends<LEN>,
    /// Indexes of the interfaces that it came in on and left through.
    pub ifindexes: [u32; 2],
    /// Packets.
    pub packets: u64,
    /// IP octets.
    pub octets: u64,
    /// First packet, milliseconds since the epoch.
    pub start_ms: u64,
    /// Last packet.
    pub end_ms: u64,
    /// IP protocol.
    pub proto: u8,
}

impl<const LEN: usize> FlowRecord<LEN> {
    /// The same between other ends.
    #[inline(always)]
    #[must_use]
    pub fn between<const OTHER: usize>(self, ends: Ends<OTHER>) -> FlowRecord<OTHER> {
        FlowRecord {
            ends,
            ifindexes: self.ifindexes,
            packets: self.packets,
            octets: self.octets,
            start_ms: self.start_ms,
            end_ms: self.end_ms,
            proto: self.proto,
        }
    }
}

/// A record of one direction of a translated flow.
#[derive(Clone, Copy, Debug)]
pub struct NatRecord {
    /// Before translation.
    pub flow: FlowRecord<4>,
    /// After translation.
    pub post: Ends<4>,
}

/// An event of RFC 8158.
#[derive(Clone, Copy, Debug)]
pub struct EventRecord {
    /// When, milliseconds since the epoch.
    pub at_ms: u64,
    /// natEvent.
    pub event: u8,
    /// IP protocol.
    pub proto: u8,
    /// Before translation.
    pub pre: Ends<4>,
    /// After translation.
    pub post: Ends<4>,
}

const fn octets_of(elements: &[Element]) -> usize {
    let (mut sum, mut rest) = (0, elements);
    while let [first, others @ ..] = rest {
        sum += first.len as usize;
        rest = others;
    }
    sum
}

/// Fills the next field; what is still to be filled behind it.
#[inline(always)]
fn put<const LEN: usize>(to: &mut [u8], octets: [u8; LEN]) -> &mut [u8] {
    // There is room: a record is as long as its elements together.
    match to.split_first_chunk_mut() {
        Some((field, rest)) => {
            *field = octets;
            rest
        }
        None => &mut [],
    }
}

/// Defines the list of a layout's elements, and the writer of its records from the same lines.
macro_rules! layout {
    ($elements:ident, |$record:ident: $type:ty| { $($element:ident = $octets:expr;)* }) => {
        const $elements: &[Element] = &[$(ie::$element),*];

        impl $type {
            /// Octets of the record.
            pub const LEN: usize = octets_of($elements);

            /// Writes the record.
            // Inlined: its length is then a constant, and no field is asked whether it fits.
            #[inline(always)]
            pub fn write(&self, to: &mut [u8; Self::LEN]) {
                let $record = self;
                let to = &mut to[..];
                $(let to = put::<{ ie::$element.len as usize }>(to, $octets);)*
                let _full = to;
            }
        }
    };
}

layout! { IPV4, |r: FlowRecord<4>| {
    SOURCE_IPV4 = r.ends.src;
    DESTINATION_IPV4 = r.ends.dst;
    INGRESS_INTERFACE = r.ifindexes[0].to_be_bytes();
    EGRESS_INTERFACE = r.ifindexes[1].to_be_bytes();
    PACKET_DELTA_COUNT = r.packets.to_be_bytes();
    OCTET_DELTA_COUNT = r.octets.to_be_bytes();
    FLOW_START = r.start_ms.to_be_bytes();
    FLOW_END = r.end_ms.to_be_bytes();
    SOURCE_PORT = r.ends.sport.to_be_bytes();
    DESTINATION_PORT = r.ends.dport.to_be_bytes();
    CLASS_OF_SERVICE = [0];
    PROTOCOL = [r.proto];
}}

layout! { IPV4_NAT, |r: NatRecord| {
    SOURCE_IPV4 = r.flow.ends.src;
    DESTINATION_IPV4 = r.flow.ends.dst;
    INGRESS_INTERFACE = r.flow.ifindexes[0].to_be_bytes();
    EGRESS_INTERFACE = r.flow.ifindexes[1].to_be_bytes();
    PACKET_DELTA_COUNT = r.flow.packets.to_be_bytes();
    OCTET_DELTA_COUNT = r.flow.octets.to_be_bytes();
    FLOW_START = r.flow.start_ms.to_be_bytes();
    FLOW_END = r.flow.end_ms.to_be_bytes();
    POST_NAT_SOURCE_IPV4 = r.post.src;
    POST_NAT_DESTINATION_IPV4 = r.post.dst;
    POST_NAPT_SOURCE_PORT = r.post.sport.to_be_bytes();
    POST_NAPT_DESTINATION_PORT = r.post.dport.to_be_bytes();
    SOURCE_PORT = r.flow.ends.sport.to_be_bytes();
    DESTINATION_PORT = r.flow.ends.dport.to_be_bytes();
    CLASS_OF_SERVICE = [0];
    PROTOCOL = [r.flow.proto];
}}

layout! { IPV6, |r: FlowRecord<16>| {
    SOURCE_IPV6 = r.ends.src;
    DESTINATION_IPV6 = r.ends.dst;
    INGRESS_INTERFACE = r.ifindexes[0].to_be_bytes();
    EGRESS_INTERFACE = r.ifindexes[1].to_be_bytes();
    PACKET_DELTA_COUNT = r.packets.to_be_bytes();
    OCTET_DELTA_COUNT = r.octets.to_be_bytes();
    FLOW_START = r.start_ms.to_be_bytes();
    FLOW_END = r.end_ms.to_be_bytes();
    SOURCE_PORT = r.ends.sport.to_be_bytes();
    DESTINATION_PORT = r.ends.dport.to_be_bytes();
    CLASS_OF_SERVICE = [0];
    PROTOCOL = [r.proto];
}}

layout! { NAT44_EVENT, |r: EventRecord| {
    OBSERVATION_TIME = r.at_ms.to_be_bytes();
    NAT_EVENT = [r.event];
    PROTOCOL = [r.proto];
    SOURCE_IPV4 = r.pre.src;
    SOURCE_PORT = r.pre.sport.to_be_bytes();
    POST_NAT_SOURCE_IPV4 = r.post.src;
    POST_NAPT_SOURCE_PORT = r.post.sport.to_be_bytes();
    DESTINATION_IPV4 = r.pre.dst;
    DESTINATION_PORT = r.pre.dport.to_be_bytes();
    POST_NAT_DESTINATION_IPV4 = r.post.dst;
    POST_NAPT_DESTINATION_PORT = r.post.dport.to_be_bytes();
}}

#[cfg(test)]
mod tests {
    use super::*;

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

    /// The fields of a record by the names of its layout's elements.
    fn fields(layout: Layout, record: &[u8]) -> Vec<(&'static str, u128)> {
        let mut rest = record;
        let number = |octets: &[u8]| octets.iter().fold(0, |n, b| n << 8 | u128::from(*b));
        let elements = layout.elements().iter();
        elements
            .map(|element| {
                let (field, others) = rest.split_at(element.len.into());
                rest = others;
                (element.name, number(field))
            })
            .collect()
    }

    fn ends(n: u8) -> Ends<4> {
        Ends {
            src: [n; 4],
            dst: [n + 1; 4],
            sport: u16::from(n) + 2,
            dport: u16::from(n) + 3,
        }
    }

    #[test]
    fn every_value_stands_in_the_field_of_its_name() {
        let address = |n: u8| u128::from(u32::from_be_bytes([n; 4]));
        let flow = FlowRecord {
            ends: ends(1),
            ifindexes: [20, 26],
            packets: 21,
            octets: 22,
            start_ms: 23,
            end_ms: 24,
            proto: 25,
        };
        let post = ends(11);
        let mut octets = [0xff; NatRecord::LEN];
        NatRecord { flow, post }.write(&mut octets);
        let mut expected = [
            ("sourceIPv4Address", address(1)),
            ("destinationIPv4Address", address(2)),
            ("ingressInterface", 20),
            ("egressInterface", 26),
            ("packetDeltaCount", 21),
            ("octetDeltaCount", 22),
            ("flowStartMilliseconds", 23),
            ("flowEndMilliseconds", 24),
            ("postNATSourceIPv4Address", address(11)),
            ("postNATDestinationIPv4Address", address(12)),
            ("postNAPTSourceTransportPort", 13),
            ("postNAPTDestinationTransportPort", 14),
            ("sourceTransportPort", 3),
            ("destinationTransportPort", 4),
            ("ipClassOfService", 0),
            ("protocolIdentifier", 25),
        ]
        .to_vec();
        assert_eq!(fields(Layout::Ipv4Nat, &octets), expected);
        let mut octets = [0xff; FlowRecord::<4>::LEN];
        flow.write(&mut octets);
        expected.drain(8..12);
        assert_eq!(fields(Layout::Ipv4, &octets), expected);
        let event = EventRecord {
            at_ms: 30,
            event: 4,
            proto: 25,
            pre: ends(1),
            post: post.reversed(),
        };
        let mut octets = [0xff; EventRecord::LEN];
        event.write(&mut octets);
        let expected = [
            ("observationTimeMilliseconds", 30),
            ("natEvent", 4),
            ("protocolIdentifier", 25),
            ("sourceIPv4Address", address(1)),
            ("sourceTransportPort", 3),
            ("postNATSourceIPv4Address", address(12)),
            ("postNAPTSourceTransportPort", 14),
            ("destinationIPv4Address", address(2)),
            ("destinationTransportPort", 4),
            ("postNATDestinationIPv4Address", address(11)),
            ("postNAPTDestinationTransportPort", 13),
        ];
        assert_eq!(fields(Layout::Nat44Event, &octets), expected);
    }
}
