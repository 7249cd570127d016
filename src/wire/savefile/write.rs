//! Savefiles, pcap, written: the file's header, and record by record.
//!
//! The layout is `pcap.rs`'s, little-endian on every machine, so that the same packets make the
//! same file everywhere. Stamps are microseconds, as tcpdump(8) writes them if it is not asked
//! otherwise: older readers do not know the magic of nanoseconds.

use super::frame::FILE_HEADER;
use crate::time::Wall;
use crate::wire::link::LinkType;

/// Most octets of a packet that a record holds, told in the file's header: more than any IPv4
/// packet.
pub const SNAPLEN: u32 = 65_535;

/// The magic of pcap with stamps in microseconds.
const MICROSECONDS: u32 = 0xa1b2_c3d4;
/// Version 2.4: the major number in the lower 16 bits, which come first.
const VERSION: u32 = 2 | 4 << 16;

/// Octets of a record's header.
pub const RECORD_HEADER: usize = 16;

/// The header of a file whose packets begin as `link` says.
pub fn file_header(link: LinkType) -> [u8; FILE_HEADER] {
    let mut header = [0; FILE_HEADER];
    let fields = [MICROSECONDS, VERSION, 0, 0, SNAPLEN, link.0];
    for (octets, field) in header.as_chunks_mut().0.iter_mut().zip(fields) {
        *octets = field.to_le_bytes();
    }
    header
}

/// Appends the record of `packet`, captured at `stamp`, to `out`; what is behind [`SNAPLEN`] is cut
/// off. A stamp outside of what the field holds, 1970 to 2106, becomes the nearer end of that.
pub fn record(stamp: Wall, packet: &[u8], out: &mut Vec<u8>) {
    let wire_len = u32::try_from(packet.len()).unwrap_or(u32::MAX);
    let captured = wire_len.min(SNAPLEN);
    let (seconds, micros) = match u32::try_from(stamp.secs()) {
        Ok(seconds) => (seconds, stamp.subsec_nanos() / 1000),
        Err(_) if stamp < Wall::default() => (0, 0),
        Err(_) => (u32::MAX, 999_999),
    };
    for field in [seconds, micros, captured, wire_len] {
        out.extend_from_slice(&field.to_le_bytes());
    }
    out.extend_from_slice(packet.get(..SNAPLEN as usize).unwrap_or(packet));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::time::NANOS;
    use crate::wire::savefile::Savefile;

    /// What our own reader makes of a file: stamp, link type, octets, length on the wire.
    fn read(file: &[u8]) -> Vec<(Wall, LinkType, Vec<u8>, usize)> {
        let mut packets = Vec::new();
        let mut reader = Savefile::new();
        let used = reader.scan(file, &mut |frame| {
            let octets = file[frame.start..frame.start + frame.captured].to_vec();
            packets.push((frame.stamp, frame.link, octets, frame.wire_len));
        });
        assert_eq!(used, Ok(file.len()));
        packets
    }

    #[test]
    fn a_file_octet_by_octet() {
        let mut file = file_header(LinkType::RAW).to_vec();
        record(Wall::new(0x6553_f100, 900_000_999), &[1, 2, 3], &mut file);
        #[rustfmt::skip]
        let expected = [
            0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0,
            0xff, 0xff, 0, 0, 101, 0, 0, 0,
            0x00, 0xf1, 0x53, 0x65, 0xa0, 0xbb, 0x0d, 0, 3, 0, 0, 0, 3, 0, 0, 0, 1, 2, 3,
        ];
        assert_eq!(file, expected);
    }

    #[test]
    fn a_stamp_that_32_bits_do_not_hold_becomes_the_nearest_that_they_do() {
        let end = i64::from(u32::MAX);
        for (stamp, want) in [
            (Wall::from_nanos(-1), Wall::default()),
            (Wall::from_nanos(i64::MIN), Wall::default()),
            (Wall::new(end, 999_999_999), Wall::new(end, 999_999_000)),
            (Wall::new(end + 1, 0), Wall::new(end, 999_999_000)),
        ] {
            let mut file = file_header(LinkType::RAW).to_vec();
            record(stamp, &[], &mut file);
            assert_eq!(read(&file), [(want, LinkType::RAW, vec![], 0)]);
        }
    }

    #[test]
    fn a_packet_longer_than_the_snaplen_is_cut_and_tells_its_length() {
        let mut file = file_header(LinkType::RAW).to_vec();
        record(Wall::default(), &[7; 65_575], &mut file);
        let want = (Wall::default(), LinkType::RAW, vec![7; 65_535], 65_575);
        assert_eq!(read(&file), [want]);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            packets in prop::collection::vec(
                (0..i64::from(u32::MAX) * NANOS, prop::collection::vec(any::<u8>(), 0..100)),
                0..20,
            ),
        ) {
            let mut file = file_header(LinkType::RAW).to_vec();
            let mut want = Vec::new();
            for (nanos, packet) in packets {
                record(Wall::from_nanos(nanos), &packet, &mut file);
                let stamp = Wall::from_nanos(nanos / 1000 * 1000);
                let len = packet.len();
                want.push((stamp, LinkType::RAW, packet, len));
            }
            prop_assert_eq!(read(&file), want);
        }
    }
}
