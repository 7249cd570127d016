//! What is exported: protocols, sets of templates, and sizes that they share.

use crate::time::Wall;
use crate::wire;
use crate::wire::layout::Layout;

/// Octets of an IPv4 and a UDP header (`struct udpiphdr`).
pub(crate) const IPV4_UDP: usize = 28;
/// Octets of an IPv6 and a UDP header.
pub(crate) const IPV6_UDP: usize = 48;
/// Most records in a datagram of either protocol (PFLOW_MAXFLOWS).
pub(super) const MAX_RECORDS: usize = wire::netflow5::MAX_RECORDS;

/// Octets of a message of templates for a connection or a spool. Any path takes a datagram of so
/// many.
pub(super) const USUAL_LEN: usize = 496;

/// An export protocol (ifconfig's `pflowproto`).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Format {
    /// NetFlow version 5.
    NetFlow5,
    /// NetFlow version 9.
    NetFlow9,
    /// IPFIX.
    Ipfix,
}

impl Format {
    /// Every protocol with ifconfig's word for it.
    pub const VALUES: &'static [(&'static str, Self)] = &[
        ("5", Self::NetFlow5),
        ("9", Self::NetFlow9),
        ("10", Self::Ipfix),
    ];
}

/// Which templates: a kernel's, or those that tell all.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TemplateSet {
    /// OpenBSD 7.9 and later: 256 IPv4, 257 IPv4 with NAT, 258 IPv6.
    OpenBsd,
    /// OpenBSD up to 7.8: 256 IPv4, 257 IPv6.
    OpenBsd78,
    /// FreeBSD: 256 IPv4, 257 IPv6, 258 NAT44 events of RFC 8158.
    FreeBsd,
    /// Everything that is known, see `wire::full`.
    Full,
}

impl TemplateSet {
    /// Every set with its name.
    pub const VALUES: &'static [(&'static str, Self)] = &[
        ("openbsd", Self::OpenBsd),
        ("openbsd78", Self::OpenBsd78),
        ("freebsd", Self::FreeBsd),
        ("full", Self::Full),
    ];

    /// Template ids and layouts of a kernel's, in the order they are announced in.
    pub const fn templates(self) -> &'static [(u16, Layout)] {
        match self {
            Self::OpenBsd => &[
                (256, Layout::Ipv4),
                (257, Layout::Ipv4Nat),
                (258, Layout::Ipv6),
            ],
            Self::OpenBsd78 => &[(256, Layout::Ipv4), (257, Layout::Ipv6)],
            Self::FreeBsd => &[
                (256, Layout::Ipv4),
                (257, Layout::Ipv6),
                (258, Layout::Nat44Event),
            ],
            Self::Full => &[],
        }
    }

    /// The template of a layout; 0, which is none, if the set has not got it.
    pub(super) fn id_of(self, layout: Layout) -> u16 {
        let mut templates = self.templates().iter();
        let template = templates.find(|(_, other)| *other == layout);
        template.map_or(0, |(id, _)| *id)
    }

    /// Octets of the records that the kernel works its mtu out from, IPv4's and IPv6's: OpenBSD
    /// 7.9 takes the larger NAT record for both IPv4 buffers.
    pub(super) const fn sizes_for_mtu(self) -> [usize; 2] {
        match self {
            Self::OpenBsd => [Layout::Ipv4Nat.record_len(), Layout::Ipv6.record_len()],
            _ => [Layout::Ipv4.record_len(), Layout::Ipv6.record_len()],
        }
    }
}

/// What packing a flow came to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Packed {
    /// Records packed.
    pub(super) records: u32,
    /// Whether the flow claimed more octets than can be split.
    pub(super) is_clipped: bool,
}

/// Seconds since 1970 as headers have them. They wrap in 2106.
pub(super) fn seconds_32(at: Wall) -> u32 {
    u32::try_from(at.secs().rem_euclid(1 << 32)).unwrap_or(0)
}
