//! IPFIX (RFC 7011) as pflow(4) writes it: one set a message, no padding.
//!
//! ```text
//! message header, 16 octets: version 10 | length | export time, s | sequence | observation domain
//! set header, 4 octets:      set id | length
//! then template records (set 2) or data records (set id = template id)
//! ```
//! `layout` has the fields of records and writes them.

use byteorder::{BigEndian, ByteOrder};

use super::layout::Layout;

/// The version number of every message.
pub const VERSION: u16 = 10;
/// Octets of the message header.
pub const HEADER_LEN: usize = 16;
/// Octets of a set header.
pub const SET_HEADER_LEN: usize = 4;
/// Set id of template sets.
pub const TEMPLATE_SET: u16 = 2;
/// Set id of options template sets.
pub const OPTIONS_TEMPLATE_SET: u16 = 3;

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
        BigEndian::write_u16(&mut b, VERSION);
        let [_, _, l0, l1, rest @ ..] = &mut b;
        [*l0, *l1] = self.length.to_be_bytes();
        BigEndian::write_u32_into(&[self.export_time, self.sequence, self.domain], rest);
        b
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

/// The set that withdraws every template of an observation domain (RFC 7011 8.1).
pub fn all_templates_withdrawn() -> [u8; 2 * SET_HEADER_LEN] {
    let [a, b, c, d] = set_header(TEMPLATE_SET, 8);
    let [e, f, g, h] = set_header(TEMPLATE_SET, 0);
    [a, b, c, d, e, f, g, h]
}

/// The set that withdraws every template of options.
pub fn all_options_withdrawn() -> [u8; 2 * SET_HEADER_LEN] {
    let [a, b, c, d] = set_header(OPTIONS_TEMPLATE_SET, 8);
    let [e, f, g, h] = set_header(OPTIONS_TEMPLATE_SET, 0);
    [a, b, c, d, e, f, g, h]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(octets: &[u8]) -> String {
        octets.iter().map(|octet| format!("{octet:02x}")).collect()
    }

    // The kernels' template sets, octet for octet (if_pflow.c).
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
    fn a_message_header_is_rfc_7011s() {
        let header = Header {
            length: 0x0102,
            export_time: 3,
            sequence: 4,
            domain: 42,
        };
        assert_eq!(hex(&header.octets()), "000a010200000003000000040000002a");
    }
}
