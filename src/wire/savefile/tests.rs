//! Whole files of both formats, whole and in pieces, good and damaged.

use super::frame::MAX_SECTION_INTERFACES;
use super::pcapng::Resolution;
use super::*;
use crate::time::NANOS;

/// Fields of either byte order, appended one after the other.
struct Writer {
    big: bool,
    out: Vec<u8>,
}

impl Writer {
    fn new(big: bool) -> Self {
        Self {
            big,
            out: Vec::new(),
        }
    }

    fn u16s(&mut self, fields: &[u16]) -> &mut Self {
        for field in fields {
            let octets = if self.big {
                field.to_be_bytes()
            } else {
                field.to_le_bytes()
            };
            self.out.extend_from_slice(&octets);
        }
        self
    }

    fn u32s(&mut self, fields: &[u32]) -> &mut Self {
        for field in fields {
            let octets = if self.big {
                field.to_be_bytes()
            } else {
                field.to_le_bytes()
            };
            self.out.extend_from_slice(&octets);
        }
        self
    }

    fn octets(&mut self, octets: &[u8]) -> &mut Self {
        self.out.extend_from_slice(octets);
        self
    }

    fn block(&mut self, kind: u32, body: impl FnOnce(&mut Self)) -> &mut Self {
        let begin = self.out.len();
        self.u32s(&[kind, 0]);
        body(self);
        self.out.resize(self.out.len().next_multiple_of(4), 0);
        let total = u32::try_from(self.out.len() - begin + 4).unwrap();
        self.u32s(&[total]);
        let length = self.out[self.out.len() - 4..].to_vec();
        self.out[begin + 4..begin + 8].copy_from_slice(&length);
        self
    }

    fn section(&mut self) -> &mut Self {
        let body = |w: &mut Self| {
            w.u32s(&[0x1a2b_3c4d]).u16s(&[1, 0]).octets(&[0xff; 8]);
        };
        self.block(0x0a0d_0d0a, body)
    }

    fn interface(&mut self, link: u16, snaplen: u32, options: &[(u16, &[u8])]) -> &mut Self {
        self.block(1, |w| {
            w.u16s(&[link, 0]).u32s(&[snaplen]);
            for (code, value) in options {
                w.u16s(&[*code, u16::try_from(value.len()).unwrap()])
                    .octets(value);
                w.out.resize(w.out.len().next_multiple_of(4), 0);
            }
        })
    }

    fn packet(&mut self, interface: u32, ticks: u64, data: &[u8]) -> &mut Self {
        self.block(6, |w| {
            let halves = [ticks >> 32, ticks & 0xffff_ffff];
            let [high, low] = halves.map(|half| u32::try_from(half).unwrap());
            let captured = u32::try_from(data.len()).unwrap();
            w.u32s(&[interface, high, low, captured, 1500]).octets(data);
        })
    }
}

fn pcap_header(big: bool, magic: u32, link: u32) -> Writer {
    let mut writer = Writer::new(big);
    writer
        .u32s(&[magic])
        .u16s(&[2, 4])
        .u32s(&[0, 0, 65535, link]);
    writer
}

fn pcap(big: bool, magic: u32, extra: &[u8]) -> Vec<u8> {
    let mut writer = pcap_header(big, magic, 1);
    for (seconds, data) in [(1_700_000_000, &b"first"[..]), (1_700_000_001, b"two")] {
        let captured = u32::try_from(data.len()).unwrap();
        writer
            .u32s(&[seconds, 123_456, captured, 1500])
            .octets(extra)
            .octets(data);
    }
    writer.out
}

/// Two sections of different byte order, all kinds of packet blocks, three kinds of clock.
fn pcapng(big: bool) -> Vec<u8> {
    let mut writer = Writer::new(big);
    writer
        .section()
        .interface(1, 0, &[])
        .interface(246, 0, &[(2, b"em0"), (9, &[9])]);
    writer.packet(0, 1_700_000_000_123_456, b"first");
    writer.block(5, |w| _ = w.octets(&[0xee; 40]));
    writer.packet(1, 1_700_000_001_000_000_007, b"two");
    writer.block(3, |w| _ = w.u32s(&[6]).octets(b"simple"));
    writer.big = !big;
    writer
        .section()
        .interface(101, 3, &[(9, &[0x80 | 10]), (0, b"")]);
    writer.block(2, |w| {
        _ = w.u16s(&[0, 9]).u32s(&[0, 1536, 3, 1500]).octets(b"old")
    });
    writer.block(3, |w| _ = w.u32s(&[6]).octets(b"sim"));
    writer.out
}

/// What became of a packet: stamp, link type, octets, length on the wire.
type Packet = (i64, u32, Vec<u8>, usize);

/// Reads a file that comes in pieces, with a buffer that grows only as asked for.
fn read(file: &[u8], piece: usize) -> (Vec<Packet>, Result<(), Error>) {
    let mut reader = Savefile::new();
    let mut packets = Vec::new();
    let (mut begin, mut end) = (0, 0);
    loop {
        let buffer = &file[begin..end];
        let scanned = reader.scan(buffer, &mut |frame| {
            let octets = buffer[frame.start..frame.start + frame.captured].to_vec();
            packets.push((frame.stamp.nanos(), frame.link.0, octets, frame.wire_len));
        });
        match scanned {
            Err(error) => return (packets, Err(error)),
            Ok(used) => begin += used,
        }
        assert_eq!(reader.offset(), begin as u64);
        let wanted = reader.wanted(&file[begin..end]);
        assert!(
            wanted > end - begin && wanted <= MAX_RECORD,
            "wanted {wanted}"
        );
        if end == file.len() {
            return (packets, reader.finish(&file[begin..end]));
        }
        end = (end + piece.min(wanted - (end - begin))).min(file.len());
    }
}

/// The packets of a file, which do not depend on how it is cut into pieces.
#[track_caller]
fn whole(file: &[u8]) -> Vec<Packet> {
    let (packets, outcome) = read(file, usize::MAX);
    assert_eq!(outcome, Ok(()));
    for piece in [1, 3, 16, 31] {
        assert_eq!(read(file, piece), (packets.clone(), Ok(())));
    }
    let mut reader = Savefile::new();
    let mut frames = 0;
    assert_eq!(reader.scan(file, &mut |_| frames += 1), Ok(file.len()));
    assert_eq!(frames, packets.len());
    packets
}

#[track_caller]
fn broken(file: &[u8]) -> Error {
    let (_, outcome) = read(file, usize::MAX);
    assert_eq!(read(file, 1).1, outcome);
    outcome.unwrap_err()
}

#[test]
fn pcap_is_read_in_both_byte_orders_and_all_layouts() {
    for big in [false, true] {
        for (magic, extra, nanos) in [
            (0xa1b2_c3d4, &[][..], 123_456_000),
            (0xa1b2_3c4d, &[], 123_456),
            (0xa1b2_cd34, &[0xee; 8], 123_456_000),
        ] {
            let want = vec![
                (1_700_000_000 * NANOS + nanos, 1, b"first".to_vec(), 1500),
                (1_700_000_001 * NANOS + nanos, 1, b"two".to_vec(), 1500),
            ];
            assert_eq!(whole(&pcap(big, magic, extra)), want);
        }
    }
}

#[test]
fn the_upper_bits_of_a_link_type_are_not_its_number() {
    let mut writer = pcap_header(true, 0xa1b2_c3d4, 0x5400_00f6);
    writer.u32s(&[1, 0, 0, 0]);
    assert_eq!(whole(&writer.out), vec![(NANOS, 246, vec![], 0)]);
}

#[test]
fn frames_of_a_link_type_that_carries_no_pfsync_end_a_file_where_they_begin() {
    let told = |file: &[u8]| broken(file).to_string();
    let mut pflog = pcap_header(false, 0xa1b2_c3d4, 117);
    assert_eq!(
        told(&pflog.out),
        "link type 117 (PFLOG) at offset 0 carries no pfsync"
    );
    pflog.u32s(&[1, 0, 0, 0]);
    assert_eq!(read(&pflog.out, usize::MAX).0, vec![]);
    let unnamed = pcap_header(true, 0xa1b2_3c4d, 300).out;
    assert_eq!(
        told(&unnamed),
        "link type 300 at offset 0 carries no pfsync"
    );
    // An interface of which there is no packet does no harm.
    let mut mixed = Writer::new(false);
    mixed
        .section()
        .interface(1, 0, &[])
        .interface(117, 0, &[])
        .packet(0, 7, b"first");
    assert_eq!(whole(&mixed.out).len(), 1);
    let at = mixed.out.len();
    mixed.packet(1, 8, b"second").packet(0, 9, b"third");
    let (packets, outcome) = read(&mixed.out, usize::MAX);
    assert_eq!(packets.len(), 1);
    let line = format!("link type 117 (PFLOG) at offset {at} carries no pfsync");
    assert_eq!(outcome.unwrap_err().to_string(), line);
    let mut simple = Writer::new(true);
    simple.section().interface(300, 0, &[]);
    let at = simple.out.len();
    simple.block(3, |w| _ = w.u32s(&[6]).octets(b"simple"));
    let line = format!("link type 300 at offset {at} carries no pfsync");
    assert_eq!(told(&simple.out), line);
}

#[test]
fn the_last_second_of_32_bits_is_a_stamp() {
    let mut writer = pcap_header(false, 0xa1b2_c3d4, 1);
    writer.u32s(&[u32::MAX, u32::MAX, 0, 0]);
    let want = i64::from(u32::MAX) * (NANOS + 1000);
    assert_eq!(whole(&writer.out)[0].0, want);
}

#[test]
fn pcapng_is_read_with_several_sections_interfaces_and_clocks() {
    for big in [false, true] {
        let want = vec![
            (1_700_000_000_123_456_000, 1, b"first".to_vec(), 1500),
            (1_700_000_001_000_000_007, 246, b"two".to_vec(), 1500),
            (1_700_000_001_000_000_007, 1, b"simple".to_vec(), 6),
            (1_500_000_000, 101, b"old".to_vec(), 1500),
            (1_500_000_000, 101, b"sim".to_vec(), 6),
        ];
        assert_eq!(whole(&pcapng(big)), want);
    }
}

#[test]
fn every_resolution_of_a_clock_saturates() {
    let nanos = |option, ticks| Resolution::new(option).nanos(ticks);
    assert_eq!(nanos(0, 7), 7 * NANOS);
    assert_eq!(nanos(0, u64::MAX), i64::MAX);
    assert_eq!(nanos(6, 7), 7_000);
    assert_eq!(nanos(9, 7), 7);
    assert_eq!(nanos(12, 7_999), 7);
    assert_eq!(nanos(28, u64::MAX), 1);
    assert_eq!(nanos(127, u64::MAX), 0);
    assert_eq!(nanos(0x80, 7), 7 * NANOS);
    assert_eq!(nanos(0x80, u64::MAX), i64::MAX);
    assert_eq!(nanos(0x80 | 32, 3 << 31), 1_500_000_000);
    assert_eq!(nanos(0xff, u64::MAX), 0);
}

#[test]
fn the_offset_of_a_clock_is_added_in_seconds() {
    for (offset, want) in [
        (-5_i64, -3 * NANOS),
        (5, 7 * NANOS),
        (i64::MAX, i64::MAX),
        (i64::MIN, i64::MIN + 2 * NANOS),
    ] {
        let mut writer = Writer::new(false);
        writer
            .section()
            .interface(1, 0, &[(14, &offset.to_le_bytes())]);
        writer.packet(0, 2_000_000, b"");
        assert_eq!(whole(&writer.out)[0].0, want);
    }
}

#[test]
fn the_interfaces_of_a_section_end_with_it() {
    let mut writer = Writer::new(true);
    writer.section().interface(1, 0, &[]).section();
    let offset = writer.out.len() as u64;
    writer.packet(0, 0, b"lost");
    let error = broken(&writer.out);
    assert_eq!(
        error,
        Error {
            offset,
            kind: ErrorKind::UnknownInterface(0)
        }
    );
    let mut writer = Writer::new(true);
    writer.section().block(3, |w| _ = w.u32s(&[0]));
    assert_eq!(broken(&writer.out).kind, ErrorKind::UnknownInterface(0));
}

#[test]
fn the_number_of_interfaces_is_bounded() {
    let mut writer = Writer::new(false);
    writer.section();
    for _ in 0..=MAX_SECTION_INTERFACES {
        writer.interface(1, 0, &[]);
    }
    assert_eq!(broken(&writer.out).kind, ErrorKind::TooManyInterfaces);
}

#[test]
fn a_record_too_large_is_refused_and_what_came_before_is_kept() {
    let mut file = pcap(false, 0xa1b2_c3d4, &[]);
    file[24 + 16 + 5 + 8..][..4].copy_from_slice(&4_000_000_u32.to_le_bytes());
    let (packets, outcome) = read(&file, usize::MAX);
    assert_eq!(packets.len(), 1);
    let text = outcome.unwrap_err().to_string();
    assert_eq!(
        text,
        "record of 4000016 octets at offset 45 is larger than 1048576"
    );
    let mut writer = Writer::new(false);
    writer.section().u32s(&[6, 4_000_000]);
    assert_eq!(
        broken(&writer.out),
        Error {
            offset: 28,
            kind: ErrorKind::TooLarge(4_000_000)
        }
    );
}

#[test]
fn the_largest_record_is_read() {
    let captured = MAX_RECORD - 16;
    let mut writer = pcap_header(false, 0xa1b2_c3d4, 1);
    writer.u32s(&[1, 0, u32::try_from(captured).unwrap(), 0]);
    writer.out.resize(24 + MAX_RECORD, 0);
    let (packets, outcome) = read(&writer.out, usize::MAX);
    assert_eq!((packets[0].2.len(), outcome), (captured, Ok(())));
}

#[test]
fn an_error_stays_and_hands_out_nothing_twice() {
    let mut file = pcap(false, 0xa1b2_c3d4, &[]);
    file[24 + 16 + 5 + 8..][..4].fill(0xff);
    let mut reader = Savefile::new();
    let mut frames = 0;
    let first = reader.scan(&file, &mut |_| frames += 1);
    assert_eq!((reader.offset(), frames), (45, 1));
    assert_eq!(reader.scan(&file, &mut |_| frames += 1), first);
    assert_eq!((reader.offset(), frames), (45, 1));
    assert_eq!(reader.finish(&[]).unwrap_err(), first.unwrap_err());
}

#[test]
fn a_file_that_ends_inside_a_record_says_so() {
    let file = pcap(false, 0xa1b2_c3d4, &[]);
    let text = |length: usize| broken(&file[..length]).to_string();
    assert_eq!(text(0), "empty file");
    assert_eq!(
        text(3),
        "file ends inside a record: 3 of 4 octets at offset 0"
    );
    assert_eq!(
        text(23),
        "file ends inside a record: 23 of 24 octets at offset 0"
    );
    assert_eq!(
        text(30),
        "file ends inside a record: 6 of 16 octets at offset 24"
    );
    assert_eq!(
        text(42),
        "file ends inside a record: 18 of 21 octets at offset 24"
    );
    assert_eq!(read(&file[..24], 1), (vec![], Ok(())));
    let file = pcapng(false);
    let text = |length: usize| broken(&file[..length]).to_string();
    assert_eq!(
        text(7),
        "file ends inside a record: 7 of 8 octets at offset 0"
    );
    assert_eq!(
        text(11),
        "file ends inside a record: 11 of 12 octets at offset 0"
    );
    assert_eq!(
        text(29),
        "file ends inside a record: 1 of 8 octets at offset 28"
    );
}

#[test]
fn other_files_are_refused() {
    for file in [&b"\x1f\x8b\x08\x00"[..], b"GET / HTTP/1.1", &[0; 100]] {
        assert_eq!(broken(file).to_string(), "not a pcap or pcapng file");
    }
    let mut old = pcap(true, 0xa1b2_c3d4, &[]);
    old[5] = 1;
    assert_eq!(broken(&old).kind, ErrorKind::Version(1, 4));
    let mut new = pcapng(true);
    new[13] = 2;
    assert_eq!(broken(&new).kind, ErrorKind::Version(2, 0));
    new[8] = 0;
    assert_eq!(broken(&new).kind, ErrorKind::ByteOrder);
}

#[test]
fn damaged_blocks_are_refused() {
    let packet = |fields: &[u32]| {
        let mut writer = Writer::new(false);
        writer
            .section()
            .interface(1, 0, &[])
            .block(6, |w| _ = w.u32s(fields));
        broken(&writer.out).kind
    };
    assert_eq!(packet(&[0, 0, 0, 1, 1]), ErrorKind::Overrun);
    assert_eq!(packet(&[0, 0, 0, u32::MAX, 1, 9]), ErrorKind::Overrun);
    assert_eq!(packet(&[0, 0, 0, 0]), ErrorKind::BlockLength(28));
    assert_eq!(packet(&[3, 0, 0, 0, 0]), ErrorKind::UnknownInterface(3));
    let mut simple = Writer::new(false);
    simple
        .section()
        .interface(1, 0, &[])
        .block(3, |w| _ = w.u32s(&[5, 0]));
    assert_eq!(broken(&simple.out).kind, ErrorKind::Overrun);
    let mut option = Writer::new(false);
    option
        .section()
        .block(1, |w| _ = w.u32s(&[1, 0]).u16s(&[9, 1]));
    assert_eq!(broken(&option.out).kind, ErrorKind::Overrun);
    let mut trailer = Writer::new(false);
    trailer.section().u32s(&[77, 12, 16]);
    let kind = ErrorKind::BlockTrailer {
        first: 12,
        last: 16,
    };
    assert_eq!(broken(&trailer.out), Error { offset: 28, kind });
    for length in [0, 4, 8, 14] {
        let mut writer = Writer::new(false);
        writer.section().u32s(&[77, length, 0, 0]);
        assert_eq!(broken(&writer.out).kind, ErrorKind::BlockLength(length));
    }
}

#[test]
fn any_octets_come_to_an_end() {
    let mut files = vec![pcapng(false), pcapng(true)];
    for magic in [0xa1b2_c3d4, 0xa1b2_3c4d, 0xa1b2_cd34] {
        files.push(pcap(false, magic, &[]));
        files.push(pcap(true, magic, &[]));
    }
    for mut file in files {
        for length in 0..file.len() {
            read(&file[..length], usize::MAX).1.ok();
        }
        for at in 0..file.len() {
            for flip in 1..=255 {
                file[at] ^= flip;
                read(&file, usize::MAX).1.ok();
                file[at] ^= flip;
            }
        }
    }
}
