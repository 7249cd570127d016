//! Records whose layout is a list of elements: one writer for all of them.
//!
//! The kernels' layouts have writers of their own (`layout.rs`), which know every offset when they
//! are compiled. These are longer and have more shapes than is worth that.

use super::elements as ie;
use super::elements::Element;
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
}

impl Record {
    /// Appends the record as `elements` lay it out. What it has no value for is zeros.
    pub fn write(&self, elements: &[Element], to: &mut Vec<u8>) {
        for element in elements {
            self.write_field(*element, to);
        }
    }

    fn write_field(&self, element: Element, to: &mut Vec<u8>) {
        match element {
            ie::SOURCE_IPV4 => to.extend(self.src.v4()),
            ie::DESTINATION_IPV4 => to.extend(self.dst.v4()),
            ie::SOURCE_IPV6 => to.extend(self.src.0),
            ie::DESTINATION_IPV6 => to.extend(self.dst.0),
            ie::SOURCE_PORT => to.extend(self.sport.to_be_bytes()),
            ie::DESTINATION_PORT => to.extend(self.dport.to_be_bytes()),
            ie::POST_NAT_SOURCE_IPV4 => to.extend(self.post_src.v4()),
            ie::POST_NAT_DESTINATION_IPV4 => to.extend(self.post_dst.v4()),
            ie::POST_NAT_SOURCE_IPV6 => to.extend(self.post_src.0),
            ie::POST_NAT_DESTINATION_IPV6 => to.extend(self.post_dst.0),
            ie::POST_NAPT_SOURCE_PORT => to.extend(self.post_sport.to_be_bytes()),
            ie::POST_NAPT_DESTINATION_PORT => to.extend(self.post_dport.to_be_bytes()),
            ie::INGRESS_INTERFACE => to.extend(self.ifindexes[0].to_be_bytes()),
            ie::EGRESS_INTERFACE => to.extend(self.ifindexes[1].to_be_bytes()),
            ie::PACKET_DELTA_COUNT => to.extend(self.packets.to_be_bytes()),
            ie::OCTET_DELTA_COUNT => to.extend(self.octets.to_be_bytes()),
            ie::FLOW_START_UPTIME => to.extend(self.first.to_be_bytes()),
            ie::FLOW_END_UPTIME => to.extend(self.last.to_be_bytes()),
            ie::PROTOCOL => to.push(self.proto),
            ie::ICMP_TYPE_CODE_IPV4 => to.extend(self.icmp.to_be_bytes()),
            ie::FLOW_DIRECTION => to.push(self.direction),
            ie::FLOW_END_REASON => to.push(self.end_reason),
            ie::FLOW_ID => to.extend(self.flow_id.to_be_bytes()),
            other => to.resize(to.len() + usize::from(other.len), 0),
        }
    }
}

/// Which of several layouts a record has: what its addresses are, before and after translation, and
/// whether it has ports or an ICMP type.
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
