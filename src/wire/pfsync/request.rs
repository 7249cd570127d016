//! UPD_REQ: the message that asks the firewalls for whole states.
//!
//! ```text
//! v2      02 00 08 n                                     n x  id u64 | creatorid u32 | pad 4
//! v3, v4  vv 00 08 n | pf_chksum[16]                     n x  id u64 | creatorid u32 | pad 4
//! v5      05 00 len | pfcksum[16] | 05 00 n u16          n x  id u64 | creatorid u32 | 0c 00 00 01
//! v6      06 00 len | pfcksum[16] | 05 03 n u16          n x  id u64 | creatorid u32
//! ```
//! All numbers are big-endian. The checksum is zero, because it only decides which rule a state
//! belongs to, and not whether a request is answered. FreeBSD 9 has twenty octets behind its EOF.
//! Id 0 of creator 0 asks for all states. Sources: `pfsync_in_ureq` and `pfsync_request_update` of
//! sys/net/if_pfsync.c.
//!
//! The IP header is the system's: protocol 240, TTL or hop limit 255.

use super::dialect::Dialect;
use super::error::{HEADER, HEADER_V2, SUBHEADER};
use super::message::Action;
use crate::state::StateId;

/// Asks for all states.
pub const EVERYTHING: StateId = StateId {
    id: 0,
    creatorid: 0,
};

/// Action number before v5.
const UREQ: u8 = 8;
/// Action number since.
const UPD_REQ: u8 = 5;
/// v5's end of a packet.
const EOF: [u8; SUBHEADER] = [12, 0, 0, 1];
/// `struct pfsync_eof` of FreeBSD 9.
const EOF_DATA: [u8; 20] = [0; 20];

/// What stands behind the requests.
fn trailer(dialect: Dialect) -> &'static [&'static [u8]] {
    match dialect {
        Dialect::FreeBsd9 => &[&EOF, &EOF_DATA],
        _ if dialect.version() == 5 => &[&EOF],
        _ => &[],
    }
}

/// What stands before the requests, octets.
fn front(dialect: Dialect) -> usize {
    match dialect {
        Dialect::V2 => HEADER_V2,
        _ if dialect.is_modern() => HEADER + SUBHEADER,
        _ => HEADER,
    }
}

/// How many states one packet of at most `room` octets behind the IP header can ask for. The size
/// of its count is a bound, too.
pub fn capacity(dialect: Dialect, room: usize) -> usize {
    let trailer: usize = trailer(dialect).iter().map(|part| part.len()).sum();
    let most = if dialect.is_modern() {
        usize::from(u16::MAX)
    } else {
        usize::from(u8::MAX)
    };
    let size = Action::UpdateRequest.size_in(dialect);
    // Whatever `room` is, the length field holds it.
    let room = room.min(usize::from(u16::MAX));
    (room.saturating_sub(front(dialect) + trailer) / size).min(most)
}

/// Appends one packet to `out` that asks for the first of `ids`, as many as fit into `room` octets.
/// Returns how many those are. With room for none nothing is written.
pub fn write(dialect: Dialect, ids: &[StateId], room: usize, out: &mut Vec<u8>) -> usize {
    let fit = ids.len().min(capacity(dialect, room));
    let Some(ids) = ids.get(..fit).filter(|ids| !ids.is_empty()) else {
        return 0;
    };
    let size = Action::UpdateRequest.size_in(dialect);
    let trailer = trailer(dialect);
    let rest: usize = trailer.iter().map(|part| part.len()).sum();
    let len = front(dialect) + ids.len() * size + rest;
    // `capacity` saw to it that both fit.
    let count = u16::try_from(ids.len()).unwrap_or(u16::MAX).to_be_bytes();
    let len = u16::try_from(len).unwrap_or(u16::MAX).to_be_bytes();
    let version = dialect.version();
    if dialect.is_modern() {
        out.extend([version, 0, len[0], len[1]]);
        out.extend([0; HEADER - 4]);
        let words = if version == 6 { 3 } else { 0 };
        out.extend([UPD_REQ, words, count[0], count[1]]);
    } else {
        out.extend([version, 0, UREQ, count[1]]);
        out.extend(std::iter::repeat_n(0, front(dialect) - HEADER_V2));
    }
    for id in ids {
        out.extend(id.id.to_be_bytes());
        out.extend(id.creatorid.to_be_bytes());
        out.extend(std::iter::repeat_n(0, size - 12));
    }
    for part in trailer {
        out.extend_from_slice(part);
    }
    ids.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Message, decode};
    use super::*;

    /// Octets of an Ethernet packet without its IPv4 header.
    const ROOM: usize = 1480;

    fn packet(dialect: Dialect, ids: &[StateId]) -> Vec<u8> {
        let mut out = Vec::new();
        assert_eq!(write(dialect, ids, ROOM, &mut out), ids.len());
        out
    }

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text
            .chars()
            .filter_map(|c| u8::try_from(c.to_digit(16)?).ok())
            .collect();
        digits
            .chunks(2)
            .map(|pair| pair[0] << 4 | pair[1])
            .collect()
    }

    /// What our own decoder makes of it.
    fn read(dialect: Dialect, packet: &[u8]) -> Vec<StateId> {
        let mut ids = Vec::new();
        let outcome = decode(packet, 0, Some(dialect), &mut |_, message| match message {
            Message::UpdateRequest(id) => ids.push(id),
            other => panic!("{:?}", other.action()),
        });
        assert_eq!(outcome.result, Ok(()), "{}", dialect.name());
        ids
    }

    #[test]
    fn requests_are_the_octets_that_the_facts_list() {
        let cksum = "00".repeat(16);
        let nothing = |n| "00".repeat(n);
        let (one, creator) = ("6553f10000000001", "5f3a9c01");
        let flat = |version: &str, cksum: &str| {
            (
                format!("{version}000801 {cksum} {}", nothing(16)),
                format!("{version}000801 {cksum} {one} {creator} 00000000"),
            )
        };
        let v5 = |len: &str, after: &str| {
            let front = format!("0500{len} {cksum} 05000001");
            (
                format!("{front} {} 0c000001 {after}", nothing(12)),
                format!("{front} {one} {creator} 0c000001 {after}"),
            )
        };
        let expected = [
            (Dialect::V2, flat("02", "")),
            (Dialect::V3, flat("03", &cksum)),
            (Dialect::V4, flat("04", &cksum)),
            (Dialect::DragonFly2, flat("04", &cksum)),
            (Dialect::DragonFly4, flat("04", &cksum)),
            (Dialect::OpenBsd45, v5("0028", "")),
            (Dialect::FreeBsd9, v5("003c", &nothing(20))),
            (Dialect::FreeBsd1301, v5("0028", "")),
            (Dialect::FreeBsd1400, v5("0028", "")),
            (Dialect::FreeBsd1500, v5("0028", "")),
            (
                Dialect::OpenBsd47,
                (
                    format!("06000024 {cksum} 05030001 {}", nothing(12)),
                    format!("06000024 {cksum} 05030001 {one} {creator}"),
                ),
            ),
        ];
        assert_eq!(expected.len(), Dialect::ALL.len());
        let id = StateId {
            id: 0x6553_f100_0000_0001,
            creatorid: 0x5f3a_9c01,
        };
        for (dialect, (everything, single)) in expected {
            let name = dialect.name();
            assert_eq!(packet(dialect, &[EVERYTHING]), hex(&everything), "{name}");
            assert_eq!(packet(dialect, &[id]), hex(&single), "{name}");
        }
    }

    #[test]
    fn a_packet_of_an_ethernet_holds_as_many_as_the_kernels_take() {
        let fits = |dialect| capacity(dialect, ROOM);
        assert_eq!(fits(Dialect::OpenBsd47), 121);
        assert_eq!(fits(Dialect::FreeBsd1400), 121);
        assert_eq!(fits(Dialect::FreeBsd9), 119);
        assert_eq!(fits(Dialect::V4), 91);
        // A jumbo frame: the count has one octet only.
        assert_eq!(capacity(Dialect::V2, 9000), 255);
        assert_eq!(capacity(Dialect::OpenBsd47, 9000), 748);
    }

    #[test]
    fn with_room_for_none_nothing_is_written() {
        for dialect in Dialect::ALL {
            let mut out = Vec::new();
            assert_eq!(write(*dialect, &[EVERYTHING], 19, &mut out), 0);
            assert_eq!(write(*dialect, &[], ROOM, &mut out), 0);
            assert!(out.is_empty());
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back_and_no_packet_exceeds_its_room(
            ids in prop::collection::vec((any::<u64>(), any::<u32>()), 1..400),
            room in 60_usize..70_000,
            number in 0..Dialect::ALL.len(),
        ) {
            let dialect = Dialect::ALL[number];
            let ids: Vec<_> = ids.iter().map(|&(id, creatorid)| StateId { id, creatorid }).collect();
            let (mut rest, mut back) = (&ids[..], Vec::new());
            while !rest.is_empty() {
                let mut packet = Vec::new();
                let written = write(dialect, rest, room, &mut packet);
                prop_assert!((1..=rest.len()).contains(&written));
                prop_assert!(packet.len() <= room);
                back.extend(read(dialect, &packet));
                rest = &rest[written..];
            }
            prop_assert_eq!(back, ids);
        }
    }
}
