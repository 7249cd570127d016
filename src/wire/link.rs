//! The link layer and the outer IP header: from a captured frame to the pfsync packet in it.
//!
//! ```text
//! EN10MB            dst 6 | src 6 | [tag type 2 | tag 2] x 0..4 | type 2 | IP ...
//! NULL, LOOP        family 4 | IP ...             (NULL: the writer's byte order, LOOP: network)
//! RAW, IPV4, IPV6   IP ...
//! ENC               family 4 | spi 4 | flags 4 | IP ...    (family: the writer's byte order)
//! LINUX_SLL         14 octets | type 2 | [tag 2 | type 2] x 0..4 | IP ...
//! LINUX_SLL2        type 2 | 18 octets | [tag 2 | type 2] x 0..4 | IP ...
//! PFSYNC            pfsync ...                    OpenBSD up to 7.3, FreeBSD, NetBSD, DragonFly
//!                   IPv4 header | pfsync ...      OpenBSD 7.4 and later, same number
//!
//! IPv4   0 version, IHL | 2 total length | 6 flags, fragment offset | 8 TTL | 9 protocol | 12 source
//! IPv6   0 version | 4 payload length | 6 next header | 7 hop limit | 8 source | 40 headers ...
//! ```
//!
//! Sources: RFC 791, RFC 8200, IEEE 802.1Q. The numbers of link types are those of tcpdump.org's
//! list, and of net/bpf.h where systems differ. 12 is LOOP on OpenBSD and RAW elsewhere; the first
//! octet tells them apart. What the kernels demand of a packet is in `pfsync_input` of if_pfsync.c.
//!
//! This module reads neither the pfsync header nor anything behind it. It does not put fragments
//! together. It verifies no checksum, because OpenBSD writes 0 on pfsync0 and senders with offload
//! leave the field unfinished.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// IP protocol number of pfsync.
const PFSYNC: u8 = 240;
/// The TTL or hop limit of a packet that crossed no router. Receivers drop a packet with any other.
const TTL: u8 = 255;
/// Octets of `struct enchdr` behind its family: spi and flags (OpenBSD's sys/net/if_enc.h).
const ENC_REST: usize = 8;
/// VLAN tags followed in one frame.
const MAX_TAGS: usize = 4;
/// Extension headers followed in one IPv6 packet.
const MAX_EXTENSIONS: usize = 8;

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;

/// What stands before the IP header of a frame: a number of libpcap's LINKTYPE or DLT list.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct LinkType(pub u32);

impl LinkType {
    /// BSD loopback: the address family in the byte order of the machine that captured.
    pub const NULL: Self = Self(0);
    /// Ethernet, with or without VLAN tags.
    pub const EN10MB: Self = Self(1);
    /// `DLT_RAW` of most systems, `DLT_LOOP` of OpenBSD: decided by the first octet.
    pub const RAW_12: Self = Self(12);
    /// `DLT_ENC` of OpenBSD: an enc(4) interface. Where pfsync goes over IPsec, enc(4) is the
    /// syncdev.
    pub const ENC_13: Self = Self(13);
    /// `DLT_RAW` of OpenBSD.
    pub const RAW_14: Self = Self(14);
    /// `DLT_PFSYNC` of OpenBSD, NetBSD, DragonFly and macOS.
    pub const PFSYNC_18: Self = Self(18);
    /// IPv4 or IPv6 with nothing in front, as savefiles number it.
    pub const RAW: Self = Self(101);
    /// OpenBSD loopback: the address family in network byte order.
    pub const LOOP: Self = Self(108);
    /// `LINKTYPE_ENC`, and `DLT_ENC` of all but OpenBSD.
    pub const ENC: Self = Self(109);
    /// Linux "any" device, first layout.
    pub const LINUX_SLL: Self = Self(113);
    /// `DLT_PFSYNC` of FreeBSD.
    pub const PFSYNC_121: Self = Self(121);
    /// IPv4 with nothing in front.
    pub const IPV4: Self = Self(228);
    /// IPv6 with nothing in front.
    pub const IPV6: Self = Self(229);
    /// `LINKTYPE_PFSYNC`, which today's libpcap writes on every system.
    pub const PFSYNC: Self = Self(246);
    /// Linux "any" device, second layout.
    pub const LINUX_SLL2: Self = Self(276);

    /// libpcap's name of the type. Some types that pflow cannot read have a name here, too, because
    /// messages name them.
    pub const fn name(self) -> Option<&'static str> {
        Some(match self {
            Self::NULL => "NULL",
            Self::EN10MB => "EN10MB",
            Self::RAW_12 | Self::RAW_14 | Self::RAW => "RAW",
            Self::LOOP => "LOOP",
            Self::ENC_13 | Self::ENC => "ENC",
            Self::LINUX_SLL => "LINUX_SLL",
            Self::LINUX_SLL2 => "LINUX_SLL2",
            Self::IPV4 => "IPV4",
            Self::IPV6 => "IPV6",
            Self::PFSYNC_18 | Self::PFSYNC_121 | Self::PFSYNC => "PFSYNC",
            Self(9) => "PPP",
            Self(50) => "PPP_SERIAL",
            Self(51) => "PPP_ETHER",
            Self(105) => "IEEE802_11",
            Self(117) => "PFLOG",
            Self(127) => "IEEE802_11_RADIO",
            Self(239) => "NFLOG",
            Self(253) => "NETLINK",
            _ => return None,
        })
    }

    /// Whether [`datagram`] reads this type. For any other type it returns [`Skip::UnknownLink`].
    pub const fn is_known(self) -> bool {
        matches!(
            self,
            Self::NULL
                | Self::EN10MB
                | Self::RAW_12
                | Self::ENC_13
                | Self::RAW_14
                | Self::PFSYNC_18
                | Self::RAW
                | Self::LOOP
                | Self::ENC
                | Self::LINUX_SLL
                | Self::PFSYNC_121
                | Self::IPV4
                | Self::IPV6
                | Self::PFSYNC
                | Self::LINUX_SLL2
        )
    }

    /// The pcap-filter(7) expression that lets pfsync through in a live capture.
    ///
    /// `None` on a pfsync interface, where every packet is pfsync and libpcap knows no filter.
    /// `None`, too, for a type that pflow cannot read.
    ///
    /// The filter is only a first check: [`datagram`] checks each packet again. On Ethernet the
    /// filter passes frames with up to two VLAN tags. It matches the tags by their offsets. The
    /// word `vlan` would move the offsets of all terms behind it, by rules that differ between
    /// versions of libpcap. Some drivers take the tag out of the frame; then the terms without a
    /// tag match.
    pub const fn filter(self) -> Option<&'static str> {
        match self {
            Self::EN10MB => Some(ETHERNET_FILTER),
            Self::IPV4 => Some("ip proto 240"),
            Self::IPV6 => Some("ip6 proto 240"),
            Self::PFSYNC | Self::PFSYNC_18 | Self::PFSYNC_121 => None,
            _ if self.is_known() => Some("ip proto 240 or ip6 proto 240"),
            _ => None,
        }
    }
}

impl fmt::Display for LinkType {
    /// Writes the number, and the name if the type has one: `117 (PFLOG)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{} ({name})", self.0),
            None => self.0.fmt(f),
        }
    }
}

/// The Ethernet type is at offset 12, 16 or 20, and the IP header follows it. The protocol is octet
/// 9 of an IPv4 header and octet 6 of an IPv6 header.
const ETHERNET_FILTER: &str = "ip proto 240 or ip6 proto 240 or \
     ((ether[12:2] = 0x8100 or ether[12:2] = 0x88a8 or ether[12:2] = 0x9100) and \
     ((ether[16:2] = 0x0800 and ether[27] = 240) or (ether[16:2] = 0x86dd and ether[24] = 240) or \
     ((ether[16:2] = 0x8100 or ether[16:2] = 0x88a8 or ether[16:2] = 0x9100) and \
     ((ether[20:2] = 0x0800 and ether[31] = 240) or (ether[20:2] = 0x86dd and ether[28] = 240)))))";

/// A pfsync packet without its link and IP layers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Datagram<'a> {
    /// The sender. `None` without an IP header, and for 0.0.0.0 and `::`. A capture on the sender's
    /// own pfsync0 shows these two.
    pub source: Option<IpAddr>,
    /// The octets from the pfsync header on, without the padding of the link layer.
    pub payload: &'a [u8],
    /// Octets of the payload that the capture cut off, because of its snaplen.
    pub missing: usize,
}

/// Why a frame holds no pfsync packet for us.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Skip {
    /// The frame is neither IPv4 nor IPv6, or it has more VLAN tags than [`datagram`] follows.
    NotIp,
    /// The packet is IP, but of another protocol.
    NotPfsync,
    /// Part of a fragmented pfsync packet.
    Fragment,
    /// The IP header is malformed, or its lengths contradict the frame's length.
    BadIp,
    /// The TTL or hop limit is not 255: the packet crossed a router, and every kernel drops it.
    BadTtl,
    /// A link type that [`LinkType::is_known`] denies.
    UnknownLink,
    /// The captured octets end inside the link or the IP header.
    Truncated,
}

/// Finds the pfsync packet in `frame`, the captured octets of a frame that had `wire_len` octets.
///
/// # Errors
/// The reason why there is none.
pub fn datagram(link: LinkType, frame: &[u8], wire_len: usize) -> Result<Datagram<'_>, Skip> {
    // Octets that the capture cut off the end of the frame. The number is the same for each layer,
    // because headers are taken off the front: a layer's captured octets plus `cut` are its octets
    // on the wire.
    let cut = wire_len.saturating_sub(frame.len());
    match link {
        LinkType::EN10MB => {
            let (header, rest) = frame.split_first_chunk::<14>().ok_or(Skip::Truncated)?;
            by_ethertype(u16::from_be_bytes([header[12], header[13]]), rest, cut)
        }
        LinkType::PFSYNC | LinkType::PFSYNC_18 | LinkType::PFSYNC_121 => pfsync0(frame, cut),
        // OpenBSD's LOOP begins with a family. A family is below 256, so its first octet is 0. The
        // first octet of an IP header never is.
        LinkType::RAW_12 if frame.first() == Some(&0) => by_family(frame, 0, cut),
        LinkType::RAW | LinkType::RAW_12 | LinkType::RAW_14 => by_version(frame, cut),
        LinkType::IPV4 => ipv4(frame, cut),
        LinkType::IPV6 => ipv6(frame, cut),
        LinkType::NULL | LinkType::LOOP => by_family(frame, 0, cut),
        LinkType::ENC_13 | LinkType::ENC => by_family(frame, ENC_REST, cut),
        LinkType::LINUX_SLL => {
            let (header, rest) = frame.split_first_chunk::<16>().ok_or(Skip::Truncated)?;
            by_ethertype(u16::from_be_bytes([header[14], header[15]]), rest, cut)
        }
        LinkType::LINUX_SLL2 => {
            let (header, rest) = frame.split_first_chunk::<20>().ok_or(Skip::Truncated)?;
            by_ethertype(u16::from_be_bytes([header[0], header[1]]), rest, cut)
        }
        _ => Err(Skip::UnknownLink),
    }
}

/// Reads a frame of pfsync0. The frame begins with the pfsync header, whose first octet is a small
/// version number, or with a whole IP header.
fn pfsync0(frame: &[u8], cut: usize) -> Result<Datagram<'_>, Skip> {
    match frame.first() {
        // A bare pfsync header may have any octet 0, so the IP version alone shows nothing. With
        // 240 at the place of the IP protocol, too, the frame has an IP header.
        Some(0x45..=0x4f) if frame.get(9) == Some(&PFSYNC) => ipv4(frame, cut),
        Some(0x60..=0x6f) if frame.get(6) == Some(&PFSYNC) => ipv6(frame, cut),
        _ => Ok(Datagram {
            source: None,
            payload: frame,
            missing: cut,
        }),
    }
}

/// Reads `rest`, which follows the Ethernet type. A VLAN tag has a type of its own; two octets of
/// tag and the next type follow it.
fn by_ethertype(mut ethertype: u16, mut rest: &[u8], cut: usize) -> Result<Datagram<'_>, Skip> {
    for _ in 0..=MAX_TAGS {
        match ethertype {
            ETHERTYPE_IPV4 => return ipv4(rest, cut),
            ETHERTYPE_IPV6 => return ipv6(rest, cut),
            0x8100 | 0x88a8 | 0x9100 => {
                let (tag, behind) = rest.split_first_chunk::<4>().ok_or(Skip::Truncated)?;
                ethertype = u16::from_be_bytes([tag[2], tag[3]]);
                rest = behind;
            }
            _ => break,
        }
    }
    Err(Skip::NotIp)
}

/// Reads a frame that begins with an address family, in either byte order. The IP header follows
/// `between` octets behind the family. `AF_INET6` has another number on each system.
fn by_family(frame: &[u8], between: usize, cut: usize) -> Result<Datagram<'_>, Skip> {
    let (family, rest) = frame.split_first_chunk::<4>().ok_or(Skip::Truncated)?;
    let rest = rest.get(between..).ok_or(Skip::Truncated)?;
    let family = match u32::from_be_bytes(*family) {
        swapped @ 0x0001_0000.. => swapped.swap_bytes(),
        straight => straight,
    };
    match family {
        2 => ipv4(rest, cut),
        10 | 24 | 28 | 30 => ipv6(rest, cut),
        _ => Err(Skip::NotIp),
    }
}

fn by_version(frame: &[u8], cut: usize) -> Result<Datagram<'_>, Skip> {
    match frame.first().ok_or(Skip::Truncated)? >> 4 {
        4 => ipv4(frame, cut),
        6 => ipv6(frame, cut),
        _ => Err(Skip::NotIp),
    }
}

/// Checks the protocol before anything else that may be wrong with the packet. So the other reasons
/// count pfsync packets only.
fn ipv4(ip: &[u8], cut: usize) -> Result<Datagram<'_>, Skip> {
    let header = ip.first_chunk::<20>().ok_or(Skip::Truncated)?;
    if header[0] >> 4 != 4 {
        return Err(Skip::BadIp);
    }
    if header[9] != PFSYNC {
        return Err(Skip::NotPfsync);
    }
    let header_len = usize::from(header[0] & 0x0f) * 4;
    if header_len < header.len() {
        return Err(Skip::BadIp);
    }
    // The flag "more fragments" and the offset count. DF (0x4000) and the reserved bit do not.
    if u16::from_be_bytes([header[6], header[7]]) & 0x3fff != 0 {
        return Err(Skip::Fragment);
    }
    if header[8] != TTL {
        return Err(Skip::BadTtl);
    }
    // The length is 0 in a packet that the network card has yet to segment. Then the packet reaches
    // to the end of the frame.
    let stated = match u16::from_be_bytes([header[2], header[3]]) {
        0 => None,
        length => Some(usize::from(length)),
    };
    let (payload, missing) = payload(ip, header_len, stated, cut)?;
    let source = Ipv4Addr::new(header[12], header[13], header[14], header[15]);
    let source = if source.is_unspecified() {
        None
    } else {
        Some(IpAddr::V4(source))
    };
    Ok(Datagram {
        source,
        payload,
        missing,
    })
}

fn ipv6(ip: &[u8], cut: usize) -> Result<Datagram<'_>, Skip> {
    let header = ip.first_chunk::<40>().ok_or(Skip::Truncated)?;
    if header[0] >> 4 != 6 {
        return Err(Skip::BadIp);
    }
    let header_len = ipv6_header_len(ip, header[6], cut)?;
    if header[7] != TTL {
        return Err(Skip::BadTtl);
    }
    // The length is 0 in a packet that the network card has yet to segment, and in a jumbogram.
    let stated = match u16::from_be_bytes([header[4], header[5]]) {
        0 => None,
        length => Some(header.len() + usize::from(length)),
    };
    let (payload, missing) = payload(ip, header_len, stated, cut)?;
    let [
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        source @ ..,
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        _,
    ] = *header;
    let source = Ipv6Addr::from(source);
    let source = if source.is_unspecified() {
        None
    } else {
        Some(IpAddr::V6(source))
    };
    Ok(Datagram {
        source,
        payload,
        missing,
    })
}

/// The length of the IPv6 header with its extension headers, up to pfsync.
fn ipv6_header_len(ip: &[u8], mut next: u8, cut: usize) -> Result<usize, Skip> {
    let mut at = 40;
    for _ in 0..=MAX_EXTENSIONS {
        if next == PFSYNC {
            return Ok(at);
        }
        // Hop-by-hop options, routing, fragment and destination options all begin alike.
        if !matches!(next, 0 | 43 | 44 | 60) {
            return Err(Skip::NotPfsync);
        }
        let Some(&[behind, units]) = ip.get(at..at + 2) else {
            return Err(if cut == 0 {
                Skip::BadIp
            } else {
                Skip::Truncated
            });
        };
        if next == 44 {
            return Err(if behind == PFSYNC {
                Skip::Fragment
            } else {
                Skip::NotPfsync
            });
        }
        next = behind;
        at += (usize::from(units) + 1) * 8;
    }
    Err(Skip::BadIp)
}

/// Returns the octets between the header and the end of the IP packet, and how many of them were
/// not captured. `stated` is the packet's length by its header.
fn payload(
    ip: &[u8],
    header_len: usize,
    stated: Option<usize>,
    cut: usize,
) -> Result<(&[u8], usize), Skip> {
    let on_wire = ip.len().saturating_add(cut);
    let total = stated.unwrap_or(on_wire);
    if total < header_len || total > on_wire {
        return Err(Skip::BadIp);
    }
    let end = total.min(ip.len());
    let payload = ip.get(header_len..end).ok_or(Skip::Truncated)?;
    Ok((payload, total - end))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: [u8; 24] = [
        6, 0, 0, 24, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 9, 2, 0, 1,
    ];

    fn v4_options(options: &[u8]) -> Vec<u8> {
        let total = u8::try_from(20 + options.len() + BODY.len()).unwrap();
        let first = 0x45 + u8::try_from(options.len() / 4).unwrap();
        let mut ip = vec![first, 0x10, 0, total, 1, 2, 0x40, 0, 255, 240, 0, 0];
        ip.extend_from_slice(&[10, 0, 0, 1, 224, 0, 0, 240]);
        ip.extend_from_slice(options);
        ip.extend_from_slice(&BODY);
        ip
    }

    fn v4() -> Vec<u8> {
        v4_options(&[])
    }

    fn v6_extensions(next: u8, extensions: &[u8]) -> Vec<u8> {
        let length = u8::try_from(extensions.len() + BODY.len()).unwrap();
        let mut ip = vec![0x60, 0, 0, 0, 0, length, next, 255];
        ip.extend_from_slice(&[0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        ip.extend_from_slice(&[0xff, 0x12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xf0]);
        ip.extend_from_slice(extensions);
        ip.extend_from_slice(&BODY);
        ip
    }

    fn v6() -> Vec<u8> {
        v6_extensions(240, &[])
    }

    fn v4_source() -> Option<IpAddr> {
        Some("10.0.0.1".parse().unwrap())
    }

    fn v6_source() -> Option<IpAddr> {
        Some("fe80::1".parse().unwrap())
    }

    fn behind(header: &[u8], packet: &[u8]) -> Vec<u8> {
        [header, packet].concat()
    }

    fn ethernet(types: &[u8], packet: &[u8]) -> Vec<u8> {
        let addresses = [1, 0, 0x5e, 0, 0, 0xf0, 2, 0, 0, 0, 0, 1];
        [&addresses[..], types, packet].concat()
    }

    /// The pfsync packet in the whole frame is found. Prefixes of the frame and changes of one
    /// octet do no harm.
    #[track_caller]
    fn found(link: LinkType, frame: &[u8], source: Option<IpAddr>) {
        let want = Datagram {
            source,
            payload: &BODY,
            missing: 0,
        };
        assert_eq!(datagram(link, frame, frame.len()), Ok(want));
        for length in 0..frame.len() {
            let prefix = &frame[..length];
            match datagram(link, prefix, frame.len()) {
                Ok(part) => assert_eq!(part.payload.len() + part.missing, BODY.len()),
                Err(reason) => assert_eq!(reason, Skip::Truncated, "prefix of {length}"),
            }
            // The frame on the wire may also be as short as the prefix, or shorter.
            for wire_len in [0, length, usize::MAX] {
                let _ = datagram(link, prefix, wire_len);
            }
        }
        let mut changed = frame.to_vec();
        for at in 0..frame.len() {
            for flip in 1..=255 {
                changed[at] ^= flip;
                if let Ok(part) = datagram(link, &changed, frame.len()) {
                    assert!(part.payload.len() + part.missing <= frame.len());
                }
                changed[at] ^= flip;
            }
        }
    }

    #[track_caller]
    fn skipped(link: LinkType, frame: &[u8], reason: Skip) {
        assert_eq!(datagram(link, frame, frame.len()), Err(reason));
    }

    #[test]
    fn ethernet_carries_both_ip_versions() {
        found(LinkType::EN10MB, &ethernet(&[8, 0], &v4()), v4_source());
        found(
            LinkType::EN10MB,
            &ethernet(&[0x86, 0xdd], &v6()),
            v6_source(),
        );
        skipped(LinkType::EN10MB, &ethernet(&[8, 6], &v4()), Skip::NotIp);
    }

    #[test]
    fn up_to_four_vlan_tags_are_followed() {
        let tags = [
            0x88, 0xa8, 0, 1, 0x91, 0, 0, 2, 0x81, 0, 0, 3, 0x81, 0, 0, 4, 8, 0,
        ];
        for skip in [0, 4, 8, 12] {
            found(
                LinkType::EN10MB,
                &ethernet(&tags[skip..], &v4()),
                v4_source(),
            );
        }
        let five = behind(&[0x81, 0, 0, 9], &tags);
        skipped(LinkType::EN10MB, &ethernet(&five, &v4()), Skip::NotIp);
        found(
            LinkType::EN10MB,
            &ethernet(&[0x81, 0, 0, 7, 0x86, 0xdd], &v6()),
            v6_source(),
        );
    }

    #[test]
    fn raw_types_decide_by_the_ip_version() {
        for link in [LinkType::RAW, LinkType::RAW_12, LinkType::RAW_14] {
            found(link, &v4(), v4_source());
            found(link, &v6(), v6_source());
            skipped(link, &[0x55; 60], Skip::NotIp);
        }
        found(LinkType::IPV4, &v4(), v4_source());
        found(LinkType::IPV6, &v6(), v6_source());
        skipped(LinkType::IPV4, &v6(), Skip::BadIp);
        skipped(LinkType::IPV6, &v4_options(&[1; 20]), Skip::BadIp);
    }

    #[test]
    fn loopback_types_take_the_family_in_both_byte_orders() {
        for link in [LinkType::NULL, LinkType::LOOP] {
            found(link, &behind(&[0, 0, 0, 2], &v4()), v4_source());
            found(link, &behind(&[2, 0, 0, 0], &v4()), v4_source());
            for family in [10, 24, 28, 30] {
                found(link, &behind(&[0, 0, 0, family], &v6()), v6_source());
                found(link, &behind(&[family, 0, 0, 0], &v6()), v6_source());
            }
            skipped(link, &behind(&[0, 0, 0, 7], &v4()), Skip::NotIp);
        }
    }

    #[test]
    fn enc_has_spi_and_flags_behind_the_family() {
        let rest = [0, 0, 0x10, 1, 0, 0, 8, 0];
        for link in [LinkType::ENC_13, LinkType::ENC] {
            for family in [[2, 0, 0, 0], [0, 0, 0, 2]] {
                let frame = [&family[..], &rest, &v4()].concat();
                found(link, &frame, v4_source());
            }
            for family in [[24, 0, 0, 0], [0, 0, 0, 28]] {
                let frame = [&family[..], &rest, &v6()].concat();
                found(link, &frame, v6_source());
            }
            let clear = [&[0; 4][..], &rest, &v4()].concat();
            skipped(link, &clear, Skip::NotIp);
        }
    }

    #[test]
    fn link_type_12_of_openbsd_is_loopback() {
        let frame = behind(&[0, 0, 0, 2], &v4());
        let want = Datagram {
            source: v4_source(),
            payload: &BODY,
            missing: 0,
        };
        assert_eq!(datagram(LinkType::RAW_12, &frame, frame.len()), Ok(want));
    }

    #[test]
    fn linux_cooked_frames_carry_both_ip_versions_and_tags() {
        let mut sll = [0, 1, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0, 8, 0].to_vec();
        found(LinkType::LINUX_SLL, &behind(&sll, &v4()), v4_source());
        sll[14..].copy_from_slice(&[0x86, 0xdd]);
        found(LinkType::LINUX_SLL, &behind(&sll, &v6()), v6_source());
        sll[14..].copy_from_slice(&[0x81, 0]);
        found(
            LinkType::LINUX_SLL,
            &[&sll, &[0, 5, 8, 0][..], &v4()].concat(),
            v4_source(),
        );
        let mut sll2 = [8, 0, 0, 0, 0, 0, 0, 3, 0, 1, 1, 6, 2, 0, 0, 0, 0, 1, 0, 0];
        found(LinkType::LINUX_SLL2, &behind(&sll2, &v4()), v4_source());
        sll2[..2].copy_from_slice(&[0x86, 0xdd]);
        found(LinkType::LINUX_SLL2, &behind(&sll2, &v6()), v6_source());
    }

    #[test]
    fn pfsync0_is_read_with_and_without_an_ip_header() {
        for link in [LinkType::PFSYNC, LinkType::PFSYNC_18, LinkType::PFSYNC_121] {
            let bare = datagram(link, &BODY, BODY.len() + 5);
            assert_eq!(
                bare,
                Ok(Datagram {
                    source: None,
                    payload: &BODY,
                    missing: 5
                })
            );
            let mut ip = v4();
            assert_eq!(datagram(link, &ip, ip.len()).unwrap().source, v4_source());
            ip[12..16].fill(0);
            let want = Datagram {
                source: None,
                payload: &BODY,
                missing: 0,
            };
            assert_eq!(datagram(link, &ip, ip.len()), Ok(want));
            assert_eq!(datagram(link, &v6(), v6().len()).unwrap().payload, BODY);
            let empty = datagram(link, &[], 0);
            assert_eq!(
                empty,
                Ok(Datagram {
                    source: None,
                    payload: &[],
                    missing: 0
                })
            );
        }
    }

    #[test]
    fn a_first_octet_alone_makes_no_ip_header_on_pfsync0() {
        for first in [0x41, 0x45, 0x60] {
            let mut bare = BODY.to_vec();
            bare[0] = first;
            assert_eq!(datagram(LinkType::PFSYNC, &bare, 24).unwrap().payload, bare);
        }
        let mut impossible = v4();
        impossible[0] = 0x44;
        assert_eq!(
            datagram(LinkType::PFSYNC, &impossible, 44).unwrap().payload,
            impossible
        );
        skipped(LinkType::PFSYNC, &v4()[..12], Skip::Truncated);
    }

    #[test]
    fn unspecified_senders_are_none() {
        let mut ip = v6();
        ip[8..24].fill(0);
        assert_eq!(datagram(LinkType::RAW, &ip, ip.len()).unwrap().source, None);
    }

    #[test]
    fn ipv4_options_are_stepped_over() {
        for words in 1..=10 {
            let options = vec![1; words * 4];
            found(LinkType::RAW, &v4_options(&options), v4_source());
        }
        let mut short = v4();
        short[0] = 0x44;
        skipped(LinkType::RAW, &short, Skip::BadIp);
    }

    #[test]
    fn link_padding_is_cut_off() {
        let padded = behind(&v4(), &[0xee; 9]);
        let want = Datagram {
            source: v4_source(),
            payload: &BODY,
            missing: 0,
        };
        assert_eq!(datagram(LinkType::RAW, &padded, padded.len()), Ok(want));
        let padded = behind(&v6(), &[0xee; 9]);
        assert_eq!(
            datagram(LinkType::RAW, &padded, padded.len())
                .unwrap()
                .payload,
            BODY
        );
    }

    #[test]
    fn what_the_snaplen_cut_off_is_counted_without_the_padding() {
        let padded = behind(&v4(), &[0xee; 9]);
        let part = datagram(LinkType::RAW, &padded[..30], padded.len()).unwrap();
        assert_eq!((part.payload, part.missing), (&BODY[..10], 14));
        let part = datagram(LinkType::RAW, &padded[..46], padded.len()).unwrap();
        assert_eq!((part.payload, part.missing), (&BODY[..], 0));
    }

    #[test]
    fn a_length_of_zero_means_all_that_is_there() {
        let mut ip = v4();
        ip[2..4].fill(0);
        let want = Datagram {
            source: v4_source(),
            payload: &BODY,
            missing: 3,
        };
        assert_eq!(datagram(LinkType::RAW, &ip, ip.len() + 3), Ok(want));
        let mut ip = v6();
        ip[4..6].fill(0);
        let want = Datagram {
            source: v6_source(),
            payload: &BODY,
            missing: 3,
        };
        assert_eq!(datagram(LinkType::RAW, &ip, ip.len() + 3), Ok(want));
    }

    #[test]
    fn lengths_that_contradict_the_frame_are_bad() {
        for total in [45, 255, 19, 1] {
            let mut ip = v4();
            ip[3] = total;
            skipped(LinkType::RAW, &ip, Skip::BadIp);
        }
        let mut ip = v6();
        ip[5] += 1;
        skipped(LinkType::RAW, &ip, Skip::BadIp);
        // Options beyond the end of the packet.
        let mut ip = v4();
        ip[0] = 0x4f;
        skipped(LinkType::RAW, &ip, Skip::BadIp);
    }

    #[test]
    fn fragments_are_told_apart_from_df() {
        for (flags, offset) in [(0x20, 0), (0, 1), (0x1f, 0xff), (0x60, 0)] {
            let mut ip = v4();
            ip[6..8].copy_from_slice(&[flags, offset]);
            skipped(LinkType::RAW, &ip, Skip::Fragment);
        }
        for flags in [0x00, 0x40, 0x80] {
            let mut ip = v4();
            ip[6] = flags;
            assert!(datagram(LinkType::RAW, &ip, ip.len()).is_ok());
        }
        let fragment = v6_extensions(44, &[240, 0, 0, 1, 0, 0, 0, 9]);
        skipped(LinkType::RAW, &fragment, Skip::Fragment);
        let foreign = v6_extensions(44, &[17, 0, 0, 1, 0, 0, 0, 9]);
        skipped(LinkType::RAW, &foreign, Skip::NotPfsync);
    }

    #[test]
    fn a_routed_packet_is_refused() {
        let mut ip = v4();
        ip[8] = 254;
        skipped(LinkType::RAW, &ip, Skip::BadTtl);
        let mut ip = v6();
        ip[7] = 1;
        skipped(LinkType::RAW, &ip, Skip::BadTtl);
    }

    #[test]
    fn other_protocols_are_not_pfsync_whatever_else_is_wrong() {
        let mut ip = v4();
        ip[9] = 6;
        ip[8] = 64;
        ip[6] = 0x20;
        skipped(LinkType::RAW, &ip, Skip::NotPfsync);
        let mut ip = v6();
        ip[6] = 58;
        ip[7] = 1;
        skipped(LinkType::RAW, &ip, Skip::NotPfsync);
    }

    #[test]
    fn ipv6_extension_headers_are_walked() {
        let padding = [1, 4, 0, 0, 0, 0];
        let hop = behind(&[60, 0], &padding);
        let destination = [&[43, 1][..], &padding, &[0; 8]].concat();
        let routing = behind(&[240, 0], &padding);
        let chain = [hop, destination, routing].concat();
        found(LinkType::RAW, &v6_extensions(0, &chain), v6_source());
    }

    #[test]
    fn endless_extension_headers_are_bad() {
        let chain = [0_u8, 0, 1, 4, 0, 0, 0, 0].repeat(20);
        skipped(LinkType::RAW, &v6_extensions(0, &chain), Skip::BadIp);
        // An extension header that reaches beyond the packet.
        skipped(
            LinkType::RAW,
            &v6_extensions(0, &[240, 200, 0, 0, 0, 0, 0, 0]),
            Skip::BadIp,
        );
        skipped(
            LinkType::RAW,
            &v6_extensions(0, &[0, 200, 0, 0, 0, 0, 0, 0]),
            Skip::BadIp,
        );
    }

    #[test]
    fn known_types_are_exactly_those_that_are_read() {
        for number in 0..1000 {
            let link = LinkType(number);
            let unknown = datagram(link, &v4(), 44) == Err(Skip::UnknownLink);
            assert_eq!(link.is_known(), !unknown, "{number}");
            assert!(!link.is_known() || link.name().is_some());
            assert!(link.is_known() || link.filter().is_none());
        }
    }

    #[test]
    fn every_known_type_but_pfsync_has_a_filter() {
        for number in (0..1000).filter(|&number| LinkType(number).is_known()) {
            let link = LinkType(number);
            assert_eq!(link.filter().is_none(), link.name() == Some("PFSYNC"));
        }
    }
}
