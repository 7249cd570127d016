//! Records whose layout is a list of elements: one writer for all of them.
//!
//! The kernels' layouts have writers of their own (`layout.rs`), which know every offset when they
//! are compiled. These are longer and have more shapes than is worth that.

use super::elements as ie;
use super::elements::{Element, Registry};
use crate::state::{Address, Af};

/// Everything that a record of one direction of a flow may tell.
#[derive(Clone, Copy, Debug, Default)]
pub struct Record {
    /// Where it was sent from, before translation.
    pub src: Address,
    /// Where it was sent to.
    pub dst: Address,
    /// Port it was sent from.
    pub sport: u16,
    /// Port it was sent to.
    pub dport: u16,
    /// The same after translation.
    pub post_src: Address,
    /// Where it went.
    pub post_dst: Address,
    /// Port after translation.
    pub post_sport: u16,
    /// Port it went to.
    pub post_dport: u16,
    /// Indexes of the interfaces that it came in on and left through.
    pub ifindexes: [u32; 2],
    /// Packets.
    pub packets: u64,
    /// IP octets.
    pub octets: u64,
    /// Uptime of the first packet, milliseconds by the clock of the message.
    pub first: u32,
    /// Uptime of the last.
    pub last: u32,
    /// IP protocol.
    pub proto: u8,
    /// Type of an ICMP message times 256, and its code.
    pub icmp: u16,
    /// 0: the packets came in on the state's interface, 1: they left through it (flowDirection).
    pub direction: u8,
    /// flowEndReason.
    pub end_reason: u8,
    /// flowId.
    pub flow_id: u64,
    /// First packet, milliseconds since the epoch.
    pub start_ms: u64,
    /// Last packet.
    pub end_ms: u64,
    /// Creatorid: originalObservationDomainId.
    pub creatorid: u32,
    /// Who sent the state, if that is an IPv4 address.
    pub exporter: [u8; 4],
    /// The same of IPv6.
    pub exporter6: [u8; 16],
    /// Type of service that pf sets.
    pub post_tos: u8,
    /// Where pf's route-to sends it.
    pub next_hop: Address,
    /// Routing domains that it came in in and left in.
    pub rdomains: [u16; 2],
    /// Packets of the way back, in a record of both.
    pub reverse_packets: u64,
    /// IP octets of the way back.
    pub reverse_octets: u64,
    /// Type and code of the answer, as [`Self::icmp`].
    pub reverse_icmp: u16,
    /// biflowDirection.
    pub biflow_direction: u8,
    /// What the counters are worth: 1 exact, 2 estimated, 3 partial.
    pub quality: u8,
    /// Which part of a flow: 0 all of it.
    pub part: u32,
    /// Numbers of the rule, its anchor and the NAT rule.
    pub rules: [u32; 3],
    /// pf's flags of the state.
    pub state_flags: u16,
    /// Protocol states of the initiator and the responder.
    pub peers: [u8; 2],
    /// Number of the pfsync dialect.
    pub dialect: u8,
}

/// Writes the value of the one of the elements named that `element` is; zeros of any other.
macro_rules! write_one {
    ($element:ident, $to:ident: $($constant:ident = $octets:expr;)*) => {{
        // Told apart by number: names are not compared.
        $(const $constant: (Registry, u16) = (ie::$constant.registry, ie::$constant.id);)*
        match ($element.registry, $element.id) {
            $($constant => $to.extend_from_slice(&$octets[..]),)*
            _ => $to.resize($to.len() + usize::from($element.len), 0),
        }
    }};
}

impl Record {
    /// Appends the record as `elements` lay it out. What it has no value for is zeros.
    pub fn write(&self, elements: &[Element], to: &mut Vec<u8>) {
        for element in elements {
            self.write_field(*element, to);
        }
    }

    fn write_field(&self, element: Element, to: &mut Vec<u8>) {
        let [rule, anchor, nat_rule] = self.rules;
        write_one! { element, to:
            SOURCE_IPV4 = self.src.v4();
            DESTINATION_IPV4 = self.dst.v4();
            SOURCE_IPV6 = self.src.0;
            DESTINATION_IPV6 = self.dst.0;
            SOURCE_PORT = self.sport.to_be_bytes();
            DESTINATION_PORT = self.dport.to_be_bytes();
            POST_NAT_SOURCE_IPV4 = self.post_src.v4();
            POST_NAT_DESTINATION_IPV4 = self.post_dst.v4();
            POST_NAT_SOURCE_IPV6 = self.post_src.0;
            POST_NAT_DESTINATION_IPV6 = self.post_dst.0;
            POST_NAPT_SOURCE_PORT = self.post_sport.to_be_bytes();
            POST_NAPT_DESTINATION_PORT = self.post_dport.to_be_bytes();
            INGRESS_INTERFACE = self.ifindexes[0].to_be_bytes();
            EGRESS_INTERFACE = self.ifindexes[1].to_be_bytes();
            PACKET_DELTA_COUNT = self.packets.to_be_bytes();
            OCTET_DELTA_COUNT = self.octets.to_be_bytes();
            FLOW_START_UPTIME = self.first.to_be_bytes();
            FLOW_END_UPTIME = self.last.to_be_bytes();
            FLOW_START = self.start_ms.to_be_bytes();
            FLOW_END = self.end_ms.to_be_bytes();
            PROTOCOL = [self.proto];
            ICMP_TYPE_CODE_IPV4 = self.icmp.to_be_bytes();
            ICMP_TYPE_CODE_IPV6 = self.icmp.to_be_bytes();
            FLOW_DIRECTION = [self.direction];
            FLOW_END_REASON = [self.end_reason];
            FLOW_ID = self.flow_id.to_be_bytes();
            ORIGINAL_DOMAIN = self.creatorid.to_be_bytes();
            ORIGINAL_EXPORTER_IPV4 = self.exporter;
            ORIGINAL_EXPORTER_IPV6 = self.exporter6;
            POST_CLASS_OF_SERVICE = [self.post_tos];
            NEXT_HOP_IPV4 = self.next_hop.v4();
            NEXT_HOP_IPV6 = self.next_hop.0;
            INGRESS_VRF = u32::from(self.rdomains[0]).to_be_bytes();
            EGRESS_VRF = u32::from(self.rdomains[1]).to_be_bytes();
            BIFLOW_DIRECTION = [self.biflow_direction];
            REVERSE_PACKETS = self.reverse_packets.to_be_bytes();
            REVERSE_OCTETS = self.reverse_octets.to_be_bytes();
            REVERSE_ICMP_IPV4 = self.reverse_icmp.to_be_bytes();
            REVERSE_ICMP_IPV6 = self.reverse_icmp.to_be_bytes();
            QUALITY = [self.quality];
            PART = self.part.to_be_bytes();
            RULE = rule.to_be_bytes();
            ANCHOR = anchor.to_be_bytes();
            NAT_RULE = nat_rule.to_be_bytes();
            STATE_FLAGS = self.state_flags.to_be_bytes();
            INITIATOR_STATE = [self.peers[0]];
            RESPONDER_STATE = [self.peers[1]];
            DIALECT = [self.dialect];
        }
    }
}

/// Which of several layouts a record has. It depends on the families of its addresses, before and
/// after translation, and on whether it has ports or an ICMP type.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Shape {
    /// Family of the addresses before translation.
    pub af: Af,
    /// Family after translation, if anything is translated.
    pub post: Option<Af>,
    /// Whether it is ICMP's.
    pub is_icmp: bool,
}

impl Shape {
    /// Every shape there is, in the order of [`Self::number`].
    pub fn all() -> impl Iterator<Item = Self> {
        let families = [Af::Inet, Af::Inet6];
        let posts = [None, Some(Af::Inet), Some(Af::Inet6)];
        families.into_iter().flat_map(move |af| {
            posts
                .into_iter()
                .flat_map(move |post| [false, true].map(|is_icmp| Self { af, post, is_icmp }))
        })
    }

    /// Which one it is.
    pub fn number(self) -> usize {
        let post = match self.post {
            None => 0,
            Some(Af::Inet) => 1,
            Some(Af::Inet6) => 2,
        };
        let af = usize::from(self.af == Af::Inet6);
        (af * 3 + post) * 2 + usize::from(self.is_icmp)
    }
}

/// Shapes there are.
pub const SHAPES: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_has_its_own_number() {
        let numbers: Vec<_> = Shape::all().map(Shape::number).collect();
        assert_eq!(numbers, (0..SHAPES).collect::<Vec<_>>());
    }
}
