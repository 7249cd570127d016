//! Savefiles, pcap and pcapng, read piece by piece as they come from a file or a pipe.
//!
//! ```text
//! pcap      magic 4 | major 2 | minor 2 | 8 unused | snaplen 4 | link type 4       24 octets
//! a record  seconds 4 | fraction 4 | captured 4 | on the wire 4 | octets           16 + captured
//!           a1b2c3d4 fraction = us; a1b23c4d ns; a1b2cd34 us, and 8 more octets before the data
//!
//! pcapng    [type 4 | total 4 | body, padded to 4 | total 4] ...
//!   0a0d0d0a section    magic 1a2b3c4d | major 2 | minor 2 | length 8 | options
//!   1        interface  link type 2 | 0 2 | snaplen 4 | options: resolution 9, offset 14
//!   6        packet     interface 4        | ticks high 4 | low 4 | captured 4 | on the wire 4 | octets
//!   2        packet     interface 2, drops 2 | the same
//!   3        packet     on the wire 4 | octets
//! ```
//!
//! Sources: draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng; the third magic is Kuznetzov's
//! modified format as libpcap reads it. The byte order of either format is its magic's.
//!
//! Left to others: reading the file and keeping the buffer ([`Savefile::scan`] tells what it has
//! used up, [`Savefile::wanted`] what it needs), and what is inside a frame (`wire/link.rs`).
//! Nothing is believed about stamps: they may go back, and they may be nonsense.

#![allow(
    clippy::indexing_slicing,
    reason = "each slice is cut to a length that was checked before its fields are read"
)]

use std::fmt;

use byteorder::{BigEndian, ByteOrder, LittleEndian};

use crate::time::{NANOS, Wall};
use crate::wire::link::LinkType;

/// The longest record in octets, its header included: a pcap packet, or a pcapng block. A file
/// with a longer one is refused, so that a damaged length cannot ask for all memory; the greatest
/// snaplen of tcpdump(8) is a quarter of this.
pub const MAX_RECORD: usize = 1 << 20;

/// Interfaces in one section of a pcapng file.
const MAX_INTERFACES: usize = 1024;

const FILE_HEADER: usize = 24;
const SECTION: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];

/// One captured packet inside the buffer that was scanned.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Frame {
    /// When it was captured. A pcapng packet without a stamp has that of the last one with a
    /// stamp, and the epoch before any.
    pub stamp: Wall,
    /// What its first octets are.
    pub link: LinkType,
    /// Where it begins: offset into the scanned buffer.
    pub start: usize,
    /// How many octets of it are there; `start + captured` never exceeds the buffer.
    pub captured: usize,
    /// How many octets it had on the wire, by the file; usually `captured` or more.
    pub wire_len: usize,
}

/// What is wrong with a file, and where.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Error {
    /// Offset into the file of the record that is at fault; all before it is whole.
    pub offset: u64,
    /// What is wrong with that record.
    pub kind: ErrorKind,
}

/// What is wrong with a file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ErrorKind {
    /// The file has no octets at all.
    Empty,
    /// It begins with no magic number we know.
    NotSavefile,
    /// The major and minor version in its header.
    Version(u16, u16),
    /// A record of so many octets, more than [`MAX_RECORD`].
    TooLarge(u64),
    /// The file ends inside a record.
    CutOff {
        /// Octets of the record that are there.
        have: usize,
        /// Octets it needs, as far as that is known.
        need: usize,
    },
    /// A block's length is less than its fields need, or no multiple of four.
    BlockLength(u32),
    /// The length at the end of a block is not the one at its beginning.
    BlockTrailer {
        /// The length at the beginning.
        first: u32,
        /// The length at the end.
        last: u32,
    },
    /// A section's byte-order magic is none.
    ByteOrder,
    /// An option, or a packet's captured length, reaches beyond its block.
    Overrun,
    /// A packet names an interface that its section did not describe.
    UnknownInterface(u32),
    /// One section describes more interfaces than we keep.
    TooManyInterfaces,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.offset;
        match self.kind {
            ErrorKind::Empty => write!(f, "empty file"),
            ErrorKind::NotSavefile => write!(f, "not a pcap or pcapng file"),
            ErrorKind::Version(major, minor) => {
                write!(
                    f,
                    "file format version {major}.{minor} at offset {at} is not supported"
                )
            }
            ErrorKind::TooLarge(octets) => {
                write!(
                    f,
                    "record of {octets} octets at offset {at} is larger than {MAX_RECORD}"
                )
            }
            ErrorKind::CutOff { have, need } => {
                write!(
                    f,
                    "file ends inside a record: {have} of {need} octets at offset {at}"
                )
            }
            ErrorKind::BlockLength(octets) => {
                write!(f, "impossible pcapng block length {octets} at offset {at}")
            }
            ErrorKind::BlockTrailer { first, last } => write!(
                f,
                "pcapng block at offset {at} has length {first} in front and {last} at its end"
            ),
            ErrorKind::ByteOrder => write!(f, "no byte order in pcapng section at offset {at}"),
            ErrorKind::Overrun => write!(f, "contents of pcapng block at offset {at} exceed it"),
            ErrorKind::UnknownInterface(number) => {
                write!(
                    f,
                    "unknown pcapng interface {number} in packet at offset {at}"
                )
            }
            ErrorKind::TooManyInterfaces => {
                write!(
                    f,
                    "more than {MAX_INTERFACES} pcapng interfaces at offset {at}"
                )
            }
        }
    }
}

impl std::error::Error for Error {}

/// The reader of one savefile: what must be remembered between two pieces of it.
#[derive(Clone, Debug, Default)]
pub struct Savefile {
    /// Octets of the file behind us.
    offset: u64,
    format: Format,
    failed: Option<Error>,
}

#[derive(Clone, Debug, Default)]
enum Format {
    /// The first octets are still to come.
    #[default]
    Unknown,
    Classic(Classic),
    Blocks(Blocks),
}

impl Savefile {
    /// A reader at the beginning of a file.
    pub fn new() -> Self {
        Self::default()
    }

    /// Octets of the file that [`Self::scan`] has used up.
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// Hands every packet that is whole in `buffer` to `each`, in the order of the file, and says
    /// how many octets of `buffer` are used up. The caller drops those, keeps the rest, appends
    /// more of the file and calls again.
    ///
    /// # Errors
    /// When the file is damaged or no savefile. The frames handed out before that are good, and
    /// [`Self::offset`] is where the damage begins. Nothing can be read behind it: from then on
    /// every call returns the same error, and hands out nothing.
    pub fn scan(&mut self, buffer: &[u8], each: &mut impl FnMut(Frame)) -> Result<usize, Error> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let (used, outcome) = self.records(buffer, each);
        self.offset = self.offset.saturating_add(used as u64);
        match outcome {
            Ok(()) => Ok(used),
            Err(kind) => {
                let error = Error {
                    offset: self.offset,
                    kind,
                };
                self.failed = Some(error);
                Err(error)
            }
        }
    }

    /// How many octets from the record at the beginning of `rest` on must be in the buffer before
    /// [`Self::scan`] gets any further: more than `rest` if `scan` left it over, never more than
    /// [`MAX_RECORD`]. When only a part of the record's header is there, it is that header's
    /// length; ask again then.
    pub fn wanted(&self, rest: &[u8]) -> usize {
        match &self.format {
            Format::Unknown => match Start::of(rest) {
                Some(Start::Classic(_)) => FILE_HEADER,
                Some(Start::Blocks) => Blocks::default().wanted(rest),
                _ => 4,
            },
            Format::Classic(format) => format.wanted(rest),
            Format::Blocks(format) => format.wanted(rest),
        }
    }

    /// Whether the file may end here: to be called at its end with the octets that
    /// [`Self::scan`] left over.
    ///
    /// # Errors
    /// When the file ends inside a record or has no octets at all; the error of `scan`, if there
    /// was one.
    pub fn finish(&self, rest: &[u8]) -> Result<(), Error> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let kind = match (&self.format, rest) {
            (Format::Unknown, []) => ErrorKind::Empty,
            (_, []) => return Ok(()),
            _ => ErrorKind::CutOff {
                have: rest.len(),
                need: self.wanted(rest),
            },
        };
        Err(Error {
            offset: self.offset,
            kind,
        })
    }

    fn records(
        &mut self,
        buffer: &[u8],
        each: &mut impl FnMut(Frame),
    ) -> (usize, Result<(), ErrorKind>) {
        let mut at = 0;
        if matches!(self.format, Format::Unknown) {
            match Start::of(buffer) {
                None => return (0, Ok(())),
                Some(Start::Other) => return (0, Err(ErrorKind::NotSavefile)),
                Some(Start::Blocks) => self.format = Format::Blocks(Blocks::default()),
                Some(Start::Classic(format)) => {
                    let Some(header) = buffer.first_chunk() else {
                        return (0, Ok(()));
                    };
                    match format.with_header(header) {
                        Err(kind) => return (0, Err(kind)),
                        Ok(format) => self.format = Format::Classic(format),
                    }
                    at = FILE_HEADER;
                }
            }
        }
        match &mut self.format {
            Format::Unknown => (0, Ok(())),
            Format::Classic(format) if format.big => format.records::<BigEndian>(buffer, at, each),
            Format::Classic(format) => format.records::<LittleEndian>(buffer, at, each),
            Format::Blocks(format) => {
                let outcome = format.blocks(buffer, &mut at, each);
                (at, outcome)
            }
        }
    }
}

/// What the first four octets of a file say.
enum Start {
    Classic(Classic),
    Blocks,
    Other,
}

impl Start {
    /// `None` while there are fewer than four octets.
    fn of(buffer: &[u8]) -> Option<Self> {
        let magic = *buffer.first_chunk::<4>()?;
        let (big, number) = match magic[0] {
            0xa1 => (true, u32::from_be_bytes(magic)),
            _ => (false, u32::from_le_bytes(magic)),
        };
        let (header, unit) = match number {
            0xa1b2_c3d4 => (16, 1000),
            0xa1b2_3c4d => (16, 1),
            0xa1b2_cd34 => (24, 1000),
            _ if magic == SECTION => return Some(Self::Blocks),
            _ => return Some(Self::Other),
        };
        Some(Self::Classic(Classic {
            big,
            header,
            unit,
            link: LinkType::NULL,
        }))
    }
}

/// A pcap file.
#[derive(Clone, Copy, Debug)]
struct Classic {
    big: bool,
    /// Octets of a record's header.
    header: usize,
    /// Nanoseconds in a unit of a record's fraction field.
    unit: i64,
    link: LinkType,
}

impl Classic {
    fn with_header(self, header: &[u8; FILE_HEADER]) -> Result<Self, ErrorKind> {
        if self.big {
            self.with_fields::<BigEndian>(header)
        } else {
            self.with_fields::<LittleEndian>(header)
        }
    }

    fn with_fields<B: ByteOrder>(self, header: &[u8; FILE_HEADER]) -> Result<Self, ErrorKind> {
        let (major, minor) = (B::read_u16(&header[4..]), B::read_u16(&header[6..]));
        if major != 2 {
            return Err(ErrorKind::Version(major, minor));
        }
        // The upper bits tell of a frame check sequence behind each frame. The IP header's length
        // cuts it off like any padding.
        Ok(Self {
            link: LinkType(B::read_u32(&header[20..]) & 0x03ff_ffff),
            ..self
        })
    }

    /// The loop that a big file is read by: one turn a packet, no branch on the format.
    fn records<B: ByteOrder>(
        self,
        buffer: &[u8],
        mut at: usize,
        each: &mut impl FnMut(Frame),
    ) -> (usize, Result<(), ErrorKind>) {
        while let Some(header) = buffer[at..].first_chunk::<16>() {
            let captured = B::read_u32(&header[8..12]) as usize;
            let total = self.header.saturating_add(captured);
            if total > MAX_RECORD {
                return (at, Err(ErrorKind::TooLarge(total as u64)));
            }
            if total > buffer.len() - at {
                break;
            }
            // No overflow: 2^32 seconds are less than half of what 63 bits of nanoseconds hold.
            let seconds = i64::from(B::read_u32(&header[0..4]));
            let fraction = i64::from(B::read_u32(&header[4..8]));
            each(Frame {
                stamp: Wall::from_nanos(seconds * NANOS + fraction * self.unit),
                link: self.link,
                start: at + self.header,
                captured,
                wire_len: B::read_u32(&header[12..16]) as usize,
            });
            at += total;
        }
        (at, Ok(()))
    }

    fn wanted(self, rest: &[u8]) -> usize {
        let Some(header) = rest.first_chunk::<16>() else {
            return self.header;
        };
        let captured = if self.big {
            BigEndian::read_u32(&header[8..12])
        } else {
            LittleEndian::read_u32(&header[8..12])
        };
        self.header
            .saturating_add(captured as usize)
            .min(MAX_RECORD)
    }
}

/// A pcapng file, at some place in one of its sections.
#[derive(Clone, Debug, Default)]
struct Blocks {
    big: bool,
    interfaces: Vec<Interface>,
    /// The stamp of the last packet that had one.
    last: Wall,
}

#[derive(Clone, Copy, Debug)]
struct Interface {
    link: LinkType,
    /// The most octets captured of a packet; 0 = no limit.
    snaplen: usize,
    resolution: Resolution,
    /// Nanoseconds to add to each stamp.
    offset: i64,
}

/// What a tick of an interface's clock is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Resolution {
    /// So many nanoseconds.
    Nanos(u64),
    /// This part of a nanosecond; 0 = too small for a `u64` of them to fill one.
    Part(u64),
    /// 2 to the minus this seconds.
    Binary(u32),
}

impl Resolution {
    fn new(option: u8) -> Self {
        let exponent = u32::from(option & 0x7f);
        match (option & 0x80, exponent) {
            (0, 0..=9) => Self::Nanos(10_u64.pow(9 - exponent)),
            (0, _) => Self::Part(10_u64.checked_pow(exponent - 9).unwrap_or(0)),
            _ => Self::Binary(exponent),
        }
    }

    fn nanos(self, ticks: u64) -> i64 {
        let nanos = match self {
            Self::Nanos(each) => ticks.saturating_mul(each),
            Self::Part(part) => ticks.checked_div(part).unwrap_or(0),
            // 64 bits times 30 bits fit, and the exponent is below 128.
            Self::Binary(exponent) => {
                let nanos = (u128::from(ticks) * 1_000_000_000) >> exponent;
                u64::try_from(nanos).unwrap_or(u64::MAX)
            }
        };
        i64::try_from(nanos).unwrap_or(i64::MAX)
    }
}

impl Blocks {
    /// Reads whole blocks from `at` on and moves it behind them.
    fn blocks(
        &mut self,
        buffer: &[u8],
        at: &mut usize,
        each: &mut impl FnMut(Frame),
    ) -> Result<(), ErrorKind> {
        while let Some((big, total)) = self.measure(&buffer[*at..])? {
            let Some(block) = buffer[*at..].get(..total) else {
                break;
            };
            self.big = big;
            let frame = if big {
                self.block::<BigEndian>(block)?
            } else {
                self.block::<LittleEndian>(block)?
            };
            if let Some(frame) = frame {
                each(Frame {
                    start: *at + frame.start,
                    ..frame
                });
            }
            *at += total;
        }
        Ok(())
    }

    /// The byte order of the block at the beginning of `rest`, and its length: at least 12 and at
    /// most [`MAX_RECORD`]. `None` until enough of it is there to tell.
    fn measure(&self, rest: &[u8]) -> Result<Option<(bool, usize)>, ErrorKind> {
        let Some(head) = rest.first_chunk::<8>() else {
            return Ok(None);
        };
        let mut big = self.big;
        if head[..4] == SECTION {
            let Some(magic) = rest.get(8..12) else {
                return Ok(None);
            };
            big = match BigEndian::read_u32(magic) {
                0x1a2b_3c4d => true,
                0x4d3c_2b1a => false,
                _ => return Err(ErrorKind::ByteOrder),
            };
        }
        let length = &head[4..];
        let total = if big {
            BigEndian::read_u32(length)
        } else {
            LittleEndian::read_u32(length)
        };
        if total as usize > MAX_RECORD {
            return Err(ErrorKind::TooLarge(u64::from(total)));
        }
        if total < 12 || total % 4 != 0 {
            return Err(ErrorKind::BlockLength(total));
        }
        Ok(Some((big, total as usize)))
    }

    fn wanted(&self, rest: &[u8]) -> usize {
        match self.measure(rest) {
            Ok(Some((_, total))) => total,
            _ if rest.len() < 8 => 8,
            _ => 12,
        }
    }

    /// One whole block; `start` of its frame counts from the block's beginning.
    fn block<B: ByteOrder>(&mut self, block: &[u8]) -> Result<Option<Frame>, ErrorKind> {
        let (kind, first) = (B::read_u32(block), B::read_u32(&block[4..]));
        let (contents, trailer) = block.split_at(block.len() - 4);
        let last = B::read_u32(trailer);
        if first != last {
            return Err(ErrorKind::BlockTrailer { first, last });
        }
        let short = ErrorKind::BlockLength(first);
        let body = &contents[8..];
        match kind {
            0x0a0d_0d0a => self.section::<B>(body.first_chunk().ok_or(short)?)?,
            1 => self.describe::<B>(body.split_at_checked(8).ok_or(short)?)?,
            2 => {
                let (fields, data) = body.split_first_chunk().ok_or(short)?;
                let interface = u32::from(B::read_u16(fields));
                return self.packet::<B>(interface, fields, data).map(Some);
            }
            3 => {
                return self
                    .simple::<B>(body.split_at_checked(4).ok_or(short)?)
                    .map(Some);
            }
            6 => {
                let (fields, data) = body.split_first_chunk().ok_or(short)?;
                let interface = B::read_u32(fields);
                return self.packet::<B>(interface, fields, data).map(Some);
            }
            // Names, statistics, secrets, comments, other people's inventions.
            _ => {}
        }
        Ok(None)
    }

    /// A section begins: its interfaces are counted from 0 again.
    fn section<B: ByteOrder>(&mut self, fields: &[u8; 16]) -> Result<(), ErrorKind> {
        match (B::read_u16(&fields[4..]), B::read_u16(&fields[6..])) {
            (1, _) => {
                self.interfaces.clear();
                Ok(())
            }
            (major, minor) => Err(ErrorKind::Version(major, minor)),
        }
    }

    /// The description of an interface.
    fn describe<B: ByteOrder>(&mut self, body: (&[u8], &[u8])) -> Result<(), ErrorKind> {
        let (fields, mut options) = body;
        let mut interface = Interface {
            link: LinkType(u32::from(B::read_u16(fields))),
            snaplen: B::read_u32(&fields[4..]) as usize,
            resolution: Resolution::Nanos(1000),
            offset: 0,
        };
        while let Some((head, rest)) = options.split_first_chunk::<4>() {
            let (code, length) = (B::read_u16(head), usize::from(B::read_u16(&head[2..])));
            let value = rest.get(..length).ok_or(ErrorKind::Overrun)?;
            match (code, value) {
                (0, _) => break,
                (9, &[resolution]) => interface.resolution = Resolution::new(resolution),
                (14, _) if length == 8 => {
                    interface.offset = B::read_i64(value).saturating_mul(NANOS);
                }
                _ => {}
            }
            // Blocks are padded as their options are, so that the padding is always there.
            options = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
        if self.interfaces.len() == MAX_INTERFACES {
            return Err(ErrorKind::TooManyInterfaces);
        }
        self.interfaces.push(interface);
        Ok(())
    }

    /// A packet block of either kind: but for the interface they are laid out alike.
    fn packet<B: ByteOrder>(
        &mut self,
        interface: u32,
        fields: &[u8; 20],
        data: &[u8],
    ) -> Result<Frame, ErrorKind> {
        let Some(described) = self.interfaces.get(interface as usize) else {
            return Err(ErrorKind::UnknownInterface(interface));
        };
        let captured = B::read_u32(&fields[12..]) as usize;
        if captured > data.len() {
            return Err(ErrorKind::Overrun);
        }
        let high = u64::from(B::read_u32(&fields[4..]));
        let ticks = high << 32 | u64::from(B::read_u32(&fields[8..]));
        let nanos = described
            .resolution
            .nanos(ticks)
            .saturating_add(described.offset);
        self.last = Wall::from_nanos(nanos);
        Ok(Frame {
            stamp: self.last,
            link: described.link,
            start: 8 + fields.len(),
            captured,
            wire_len: B::read_u32(&fields[16..]) as usize,
        })
    }

    /// A packet block that leaves out all it can: the interface is the first, the captured length
    /// follows from its snaplen.
    fn simple<B: ByteOrder>(&self, body: (&[u8], &[u8])) -> Result<Frame, ErrorKind> {
        let (fields, data) = body;
        let Some(interface) = self.interfaces.first() else {
            return Err(ErrorKind::UnknownInterface(0));
        };
        let wire_len = B::read_u32(fields) as usize;
        let captured = match interface.snaplen {
            0 => wire_len,
            snaplen => wire_len.min(snaplen),
        };
        if captured > data.len() {
            return Err(ErrorKind::Overrun);
        }
        Ok(Frame {
            stamp: self.last,
            link: interface.link,
            start: 12,
            captured,
            wire_len,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        for _ in 0..=MAX_INTERFACES {
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
}
