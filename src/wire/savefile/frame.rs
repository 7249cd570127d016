//! Both formats of savefiles share these: frames, bounds and errors.

use std::fmt;

use crate::time::Wall;
use crate::wire::link::LinkType;

/// The longest record in octets, its header included: a pcap packet, or a pcapng block. A file
/// with a longer one is refused, so that a damaged length cannot ask for all memory; the greatest
/// snaplen of tcpdump(8) is a quarter of this.
pub const MAX_RECORD: usize = 1 << 20;

/// Interfaces in one section of a pcapng file.
pub(super) const MAX_SECTION_INTERFACES: usize = 1024;

/// Octets of the header of a pcap file.
pub const FILE_HEADER: usize = 24;
pub(super) const SECTION: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];

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
    /// Offset into the file of the wrong record. All records before it are whole.
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
    /// Frames of a link type that pflow cannot read ([`LinkType::is_known`]): in a pcap file all of
    /// them, in a pcapng file that packet's.
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
                    "more than {MAX_SECTION_INTERFACES} pcapng interfaces at offset {at}"
                )
            }
        }
    }
}

impl std::error::Error for Error {}
