//! A UDP datagram as the IP packet that carries it.
//!
//! ```text
//! IPv4   0 0x45 | 1 TOS 0 | 2 total length 2 | 4 id 2 | 6 DF, offset 0 | 8 TTL 64 | 9 protocol 17
//!        10 header checksum 2 | 12 source 4 | 16 destination 4                        20 octets
//! IPv6   0 0x60, flow label 0 | 4 payload length 2 | 6 next header 17 | 7 hop limit 64
//!        8 source 16 | 24 destination 16                                              40 octets
//! UDP    source port 2 | destination port 2 | length 2 | checksum 2 | payload          8 octets
//! ```
//! Sources: RFC 791, RFC 8200, RFC 768; the checksum and its pseudo headers RFC 1071, RFC 768 and
//! RFC 8200 8.1. DF and TTL are those of OpenBSD 4.9's pflow(4), which showed its packets to bpf
//! (if_pflow.c). Its TOS was 0x10. Here it is 0, which today's socket sends.
//!
//! The caller chooses the address that a socket sends from, and the id.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// Octets of an IPv4 header without options.
pub const IPV4_HEADER: usize = 20;
/// Octets of an IPv6 header.
pub const IPV6_HEADER: usize = 40;
/// Octets of a UDP header.
pub const UDP_HEADER: usize = 8;

/// IP protocol number of UDP.
const UDP: u8 = 17;
/// TTL and hop limit.
const TTL: u8 = 64;
/// The flag that forbids fragments, beside an offset of 0.
const DONT_FRAGMENT: u16 = 0x4000;

/// The two ends of a datagram, of one family.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ends {
    /// Over IPv4.
    V4 {
        /// Source.
        from: SocketAddrV4,
        /// Destination.
        to: SocketAddrV4,
    },
    /// Over IPv6.
    V6 {
        /// Source.
        from: SocketAddrV6,
        /// Destination.
        to: SocketAddrV6,
    },
}

impl Ends {
    /// The ends of what a socket at `from` sends to `to`, in the address family of the packet. An
    /// IPv6 socket that sends to a mapped address (`::ffff:192.0.2.1`) sends IPv4. `None` if one
    /// end is of the other family.
    pub fn new(from: SocketAddr, to: SocketAddr) -> Option<Self> {
        match (from.ip().to_canonical(), to.ip().to_canonical()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => Some(Self::V4 {
                from: SocketAddrV4::new(source, from.port()),
                to: SocketAddrV4::new(destination, to.port()),
            }),
            (IpAddr::V6(source), IpAddr::V6(destination)) => Some(Self::V6 {
                from: SocketAddrV6::new(source, from.port(), 0, 0),
                to: SocketAddrV6::new(destination, to.port(), 0, 0),
            }),
            _ => None,
        }
    }

    /// Most octets of payload that the 16 bits of the lengths allow.
    const fn most(&self) -> usize {
        let most = u16::MAX as usize - UDP_HEADER;
        match self {
            Self::V4 { .. } => most - IPV4_HEADER,
            Self::V6 { .. } => most,
        }
    }
}

/// A payload longer than an IP packet can carry.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TooLong {
    /// Its octets.
    pub octets: usize,
    /// Most that fit.
    pub most: usize,
}

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { octets, most } = self;
        write!(f, "{octets} octets do not fit a UDP packet, at most {most}")
    }
}

impl std::error::Error for TooLong {}

/// Appends the packet that carries `payload` between `ends` to `out`, all checksums right. `id` is
/// the IPv4 identification; IPv6 has none.
///
/// # Errors
/// The payload is too long; `out` is as it was.
pub fn packet(ends: &Ends, id: u16, payload: &[u8], out: &mut Vec<u8>) -> Result<(), TooLong> {
    let too_long = TooLong {
        octets: payload.len(),
        most: ends.most(),
    };
    if payload.len() > too_long.most {
        return Err(too_long);
    }
    let udp_len = u16::try_from(UDP_HEADER + payload.len()).map_err(|_| too_long)?;
    match ends {
        Ends::V4 { from, to } => {
            let (source, destination) = (*from.ip(), *to.ip());
            let header = ipv4_header(source, destination, id, udp_len);
            out.extend_from_slice(&header);
            let addresses = [source.octets(), destination.octets()];
            let ports = [from.port(), to.port()];
            udp(addresses.as_flattened(), ports, udp_len, payload, out);
        }
        Ends::V6 { from, to } => {
            let (source, destination) = (*from.ip(), *to.ip());
            out.extend_from_slice(&ipv6_header(source, destination, udp_len));
            let addresses = [source.octets(), destination.octets()];
            let ports = [from.port(), to.port()];
            udp(addresses.as_flattened(), ports, udp_len, payload, out);
        }
    }
    Ok(())
}

/// `udp_len` is at most what an IPv4 packet can carry.
fn ipv4_header(source: Ipv4Addr, destination: Ipv4Addr, id: u16, udp_len: u16) -> [u8; 20] {
    let with_checksum = |checksum: u16| {
        let [len_high, len_low] = udp_len.saturating_add(20).to_be_bytes();
        let [id_high, id_low] = id.to_be_bytes();
        let [flags, offset] = DONT_FRAGMENT.to_be_bytes();
        let [sum_high, sum_low] = checksum.to_be_bytes();
        let [s0, s1, s2, s3] = source.octets();
        let [d0, d1, d2, d3] = destination.octets();
        #[rustfmt::skip]
        let header = [
            0x45, 0, len_high, len_low, id_high, id_low, flags, offset,
            TTL, UDP, sum_high, sum_low, s0, s1, s2, s3, d0, d1, d2, d3,
        ];
        header
    };
    let mut sum = Sum::default();
    sum.add(&with_checksum(0));
    with_checksum(sum.checksum())
}

fn ipv6_header(source: Ipv6Addr, destination: Ipv6Addr, udp_len: u16) -> [u8; 40] {
    let [len_high, len_low] = udp_len.to_be_bytes();
    let mut header = [0; IPV6_HEADER];
    let fields = [0x60, 0, 0, 0, len_high, len_low, UDP, TTL];
    let octets = fields
        .into_iter()
        .chain(source.octets())
        .chain(destination.octets());
    for (field, octet) in header.iter_mut().zip(octets) {
        *field = octet;
    }
    header
}

/// The UDP header and the payload. The pseudo headers of both families have the same sum: their
/// fields are the same, and zeros between them count for nothing.
fn udp(addresses: &[u8], ports: [u16; 2], len: u16, payload: &[u8], out: &mut Vec<u8>) {
    let mut sum = Sum::default();
    sum.add(addresses);
    sum.add(&u16::from(UDP).to_be_bytes());
    sum.add(&len.to_be_bytes());
    let [from, to] = ports;
    let fields = [from.to_be_bytes(), to.to_be_bytes(), len.to_be_bytes()];
    sum.add(fields.as_flattened());
    sum.add(payload);
    // 0 would say that there is no checksum.
    let checksum = match sum.checksum() {
        0 => 0xffff,
        checksum => checksum,
    };
    out.extend_from_slice(fields.as_flattened());
    out.extend_from_slice(&checksum.to_be_bytes());
    out.extend_from_slice(payload);
}

/// The sum of 16-bit words that the Internet checksum is made of. 64 bits hold that of any packet.
#[derive(Clone, Copy, Debug, Default)]
struct Sum(u64);

impl Sum {
    /// Adds octets; an odd last one is the high half of a word, so nothing can follow it.
    fn add(&mut self, octets: &[u8]) {
        let (words, odd) = octets.as_chunks();
        let words = words
            .iter()
            .map(|word| u64::from(u16::from_be_bytes(*word)));
        let odd = odd.iter().map(|octet| u64::from(*octet) << 8);
        self.0 += words.chain(odd).sum::<u64>();
    }

    /// The complement of the sum, carries added in (RFC 1071).
    fn checksum(self) -> u16 {
        let mut sum = self.0;
        while let Some(carries) = Some(sum >> 16).filter(|carries| *carries != 0) {
            sum = (sum & 0xffff) + carries;
        }
        // What is left has no bits above 16.
        !u16::try_from(sum).unwrap_or(u16::MAX)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ends(from: &str, to: &str) -> Ends {
        Ends::new(from.parse().unwrap(), to.parse().unwrap()).unwrap()
    }

    fn made(ends: &Ends, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        packet(ends, 0x1234, payload, &mut out).unwrap();
        out
    }

    #[test]
    fn an_ipv4_packet_octet_by_octet() {
        let ends = ends("192.0.2.1:4096", "198.51.100.2:9995");
        #[rustfmt::skip]
        let expected = [
            0x45, 0, 0, 31, 0x12, 0x34, 0x40, 0, 64, 17, 0x3c, 0x63,
            192, 0, 2, 1, 198, 51, 100, 2,
            0x10, 0x00, 0x27, 0x0b, 0, 11, 0xd8, 0x93, 1, 2, 3,
        ];
        assert_eq!(made(&ends, &[1, 2, 3]), expected);
    }

    #[test]
    fn an_ipv6_packet_octet_by_octet() {
        let ends = ends("[2001:db8::1]:4096", "[2001:db8::2]:4739");
        #[rustfmt::skip]
        let expected = [
            0x60, 0, 0, 0, 0, 11, 17, 64,
            0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
            0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2,
            0x10, 0x00, 0x12, 0x83, 0, 11, 0x7d, 0xde, 1, 2, 3,
        ];
        assert_eq!(made(&ends, &[1, 2, 3]), expected);
    }

    #[test]
    fn a_checksum_of_zero_is_sent_as_all_ones() {
        for ends in [
            ends("192.0.2.1:4096", "198.51.100.2:9995"),
            ends("[2001:db8::1]:4096", "[2001:db8::2]:4739"),
        ] {
            // With its own checksum as payload, the sum of all but the checksum comes out as ones.
            let mut checksum = [0; 2];
            for _ in 0..2 {
                let packet = made(&ends, &checksum);
                let field = packet.len() - 4;
                checksum.copy_from_slice(&packet[field..field + 2]);
                if checksum == [0xff; 2] {
                    break;
                }
            }
            assert_eq!(checksum, [0xff; 2]);
        }
    }

    #[test]
    fn a_payload_that_no_length_field_holds_is_refused_and_the_longest_is_not() {
        for (ends, most) in [
            (ends("192.0.2.1:1", "192.0.2.2:2"), 65_507),
            (ends("[2001:db8::1]:1", "[2001:db8::2]:2"), 65_527),
        ] {
            let mut out = vec![7];
            let payload = vec![0; most + 1];
            let octets = most + 1;
            assert_eq!(
                packet(&ends, 0, &payload, &mut out),
                Err(TooLong { octets, most })
            );
            assert_eq!(out, [7]);
            let whole = made(&ends, &payload[..most]);
            let field = if most == 65_507 { 2 } else { 4 };
            assert_eq!(whole[field..field + 2], [0xff; 2]);
        }
    }

    #[test]
    fn two_families_have_no_packet_and_a_mapped_address_is_ipv4() {
        let parse = |text: &str| text.parse::<SocketAddr>().unwrap();
        let (v4, v6) = (parse("192.0.2.1:1"), parse("[2001:db8::1]:2"));
        assert_eq!(Ends::new(v4, v6), None);
        assert_eq!(Ends::new(v6, v4), None);
        let mapped = Ends::new(parse("[::ffff:192.0.2.1]:1"), parse("[::ffff:192.0.2.2]:2"));
        assert_eq!(mapped, Some(ends("192.0.2.1:1", "192.0.2.2:2")));
    }

    /// The sum as RFC 1071 has it, word by word with the carry around.
    fn folded(octets: &[u8]) -> u16 {
        octets.chunks(2).fold(0, |sum: u16, word| {
            let word = u16::from_be_bytes([word[0], word.get(1).copied().unwrap_or(0)]);
            let (sum, carry) = sum.overflowing_add(word);
            sum + u16::from(carry)
        })
    }

    proptest! {
        #[test]
        fn every_checksum_is_right_to_a_receiver(
            from: SocketAddrV4,
            to: SocketAddrV4,
            from6: SocketAddrV6,
            to6: SocketAddrV6,
            id: u16,
            payload in prop::collection::vec(any::<u8>(), 0..2000),
        ) {
            for (ends, header) in [(Ends::V4 { from, to }, 20), (Ends::V6 { from: from6, to: to6 }, 40)] {
                let mut out = Vec::new();
                packet(&ends, id, &payload, &mut out).unwrap();
                prop_assert_eq!(&out[header + 8..], &payload);
                let (ip, udp) = out.split_at(header);
                if header == 20 {
                    prop_assert_eq!(folded(ip), 0xffff);
                }
                // The pseudo header: both addresses, the protocol, the UDP length.
                let mut covered = ip[if header == 20 { 12 } else { 8 }..].to_vec();
                covered.extend([0, 17, udp[4], udp[5]]);
                covered.extend(udp);
                prop_assert_eq!(usize::from(u16::from_be_bytes([udp[4], udp[5]])), udp.len());
                prop_assert_ne!(&udp[6..8], &[0, 0]);
                prop_assert_eq!(folded(&covered), 0xffff);
            }
        }
    }
}
