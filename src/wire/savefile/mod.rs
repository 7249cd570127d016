//! Savefiles, pcap and pcapng, read piece by piece as they come from a file or a pipe; pcap is
//! written, too (`write.rs`).
//!
//! The two formats are drawn in `pcap.rs` and `pcapng.rs`; the first four octets tell which it is,
//! and the byte order of either is its magic's.
//!
//! Left to others: reading the file, keeping the buffer, and what is inside a frame
//! (`wire/link.rs`). [`Savefile::scan`] tells what it has used up, and [`Savefile::wanted`] what it
//! needs. Stamps are not trusted: they may go back, and they may be nonsense.

#![allow(
    clippy::indexing_slicing,
    reason = "each slice is cut to a length that was checked before its fields are read"
)]

mod pcap;
mod pcapng;
#[cfg(test)]
mod tests;
pub mod write;

use std::fmt;

use byteorder::{BigEndian, LittleEndian};

use self::pcap::Classic;
use self::pcapng::Blocks;
use crate::time::Wall;
use crate::wire::link::LinkType;

/// The longest record in octets, its header included: a pcap packet, or a pcapng block. A file
/// with a longer one is refused, so that a damaged length cannot ask for all memory; the greatest
/// snaplen of tcpdump(8) is a quarter of this.
pub const MAX_RECORD: usize = 1 << 20;

/// Interfaces in one section of a pcapng file.
const MAX_INTERFACES: usize = 1024;

/// Octets of the header of a pcap file.
pub const FILE_HEADER: usize = 24;
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
    /// Frames of a link type that [`LinkType::is_known`] denies: in a pcap file all of them, in a
    /// pcapng file that packet's.
    LinkType(LinkType),
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
            ErrorKind::LinkType(link) => {
                write!(f, "link type {link} at offset {at} carries no pfsync")
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

    /// Hands every packet that is whole in `buffer` to `each`, in the order of the file. Returns
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

    /// How many octets must be in the buffer before [`Self::scan`] gets any further, from the
    /// beginning of `rest` on. That is more than `rest` has if `scan` left it over, and never more
    /// than [`MAX_RECORD`]. If the record's header is cut, it is that header's length. Ask again
    /// then.
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
