//! The keep file: what pflow knows, from one run to the next.
//!
//! ```text
//!  0        8        10     12        16       24         32       36
//! +--------+--------+------+---------+--------+----------+--------+----------------------
//! | magic  | version| flags| CRC-32  | length | written  | CRC-32 | records, `length` octets
//! |        |        |      | records | records| at       | of 0-31|
//! +--------+--------+------+---------+--------+----------+--------+----------------------
//! record = kind (1) | length (2) | fields
//!
//! 1 sender      who | dialect | largest expire by PFTM          numbered in their order
//! 2 state       identity, keys, counters, times                 39 IPv4 or two whole keys behind
//! 3 share       of the state before: another sender's counters
//! 4 part        of the state before: what went to an interface with an active timeout
//! 5 deleted     a state that ended a moment ago, as the table remembers it: set and tag
//! 6 dropped     a state of our own ending, and what was exported of it
//! 7 interface   N of pflowN | records packed | IPFIX sequence
//! 8 host id     before its states: a host id that two firewalls use, or seem to
//! 9 domain      N of pflowN | observation domain | its sequence, where an interface has many
//! 10 source     N of pflowN | source id of NetFlow v9 | its messages
//! 11 ifindex    the number that an interface's name was given
//! 12 connection what was exported of the connection of the state before, whose other state ended
//! 13 translation of the state before: an interface was told of it, or when it will be
//! 14 detail     of the state before: rules, flags, peers; where it has one, the route
//! ```
//! All numbers are big-endian, all times nanoseconds since 1970 as a signed number, CRC-32 is IEEE
//! 802.3's. Each record has the one length that its kind says; states and details have one of two.
//! The flag, 1, says that pflow stopped in good order and everything goes on from here. It stands
//! apart from the records, so that the program that reads the file clears it in one write.
//!
//! A file is read whole or refused whole. Refused are another version, a wrong checksum, a wrong
//! length and a value that cannot be. What was decoded encodes to the same octets.

mod fields;
mod record;

use std::fmt;

use crate::time::Wall;
use fields::{Get, Put};
pub use record::{
    Counts, KeptDetail, KeptPart, KeptSender, KeptShare, KeptState, OWN_SENDERS, Record, Who,
};

/// Octets before the records.
pub const HEADER_LEN: usize = 36;
/// Octets of a record before its fields.
const RECORD_HEADER: usize = 3;
/// What the file begins with.
const MAGIC: [u8; 8] = *b"pflowkp\n";
/// The version written, and the only one read.
pub const VERSION: u16 = 1;
/// The flag of a file written when pflow stopped in good order.
const CLEAN: u16 = 1;

/// What is wrong with a file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Error {
    /// It is something else.
    Magic,
    /// It is of another version.
    Version(u16),
    /// Its header is damaged.
    Header,
    /// It is shorter or longer than it says, octets.
    Length {
        /// What it should have.
        expected: u64,
        /// What it has.
        have: u64,
    },
    /// Its records are damaged.
    Checksum,
    /// A record makes no sense, at this offset of the file.
    Record(usize),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Magic => f.write_str("not a file that pflow kept"),
            Self::Version(version) if *version > VERSION => {
                write!(
                    f,
                    "version {version}, of a newer pflow; this one reads {VERSION}"
                )
            }
            Self::Version(version) => {
                write!(
                    f,
                    "version {version}, of an older pflow; this one reads {VERSION}"
                )
            }
            Self::Header => f.write_str("damaged: its header's checksum is wrong"),
            Self::Length { expected, have } => {
                write!(f, "damaged: {have} octets where it should have {expected}")
            }
            Self::Checksum => f.write_str("damaged: its checksum is wrong"),
            Self::Record(offset) => write!(f, "damaged: the record at octet {offset}"),
        }
    }
}

/// A file's header.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Header {
    /// Whether pflow stopped in good order.
    pub is_clean: bool,
    /// CRC-32 of the records.
    pub checksum: u32,
    /// Octets of records.
    pub length: u64,
    /// When it was written.
    pub written: Wall,
}

impl Header {
    /// As in the file.
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let mut octets = Vec::with_capacity(HEADER_LEN);
        octets.extend(MAGIC);
        octets.extend(VERSION.to_be_bytes());
        octets.extend((if self.is_clean { CLEAN } else { 0 }).to_be_bytes());
        octets.extend(self.checksum.to_be_bytes());
        octets.extend(self.length.to_be_bytes());
        octets.extend(self.written.nanos().to_be_bytes());
        octets.extend(crc32fast::hash(&octets).to_be_bytes());
        octets.try_into().unwrap_or([0; HEADER_LEN])
    }

    /// The header that `octets` begin with.
    ///
    /// # Errors
    /// It is none of this version, or damaged.
    pub fn decode(octets: &[u8]) -> Result<Self, Error> {
        let mut get = Get(octets);
        if get.take().ok_or(Error::Magic)? != MAGIC {
            return Err(Error::Magic);
        }
        match get.u16() {
            Some(VERSION) => {}
            Some(version) => return Err(Error::Version(version)),
            None => return Err(Error::Header),
        }
        let (Some(flags), Some(checksum), Some(length), Some(written), Some(own)) =
            (get.u16(), get.u32(), get.u64(), get.wall(), get.u32())
        else {
            return Err(Error::Header);
        };
        let covered = octets.get(..HEADER_LEN - 4).unwrap_or_default();
        if flags & !CLEAN != 0 || own != crc32fast::hash(covered) {
            return Err(Error::Header);
        }
        Ok(Self {
            is_clean: flags == CLEAN,
            checksum,
            length,
            written,
        })
    }
}

impl Record {
    fn kind(&self) -> u8 {
        match self {
            Self::Sender(_) => 1,
            Self::State(_) => 2,
            Self::Share(_) => 3,
            Self::Part(_) => 4,
            Self::Deleted { .. } => 5,
            Self::Dropped { .. } => 6,
            Self::Interface { .. } => 7,
            Self::HostId { .. } => 8,
            Self::Domain { .. } => 9,
            Self::Source { .. } => 10,
            Self::IfIndex { .. } => 11,
            Self::Connection { .. } => 12,
            Self::Translation { .. } => 13,
            Self::Detail(_) => 14,
        }
    }

    /// Appends it to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let begin = out.len();
        out.extend([self.kind(), 0, 0]);
        Put(out).fields(self);
        let length = out.len() - begin - RECORD_HEADER;
        let octets = u16::try_from(length).unwrap_or(0).to_be_bytes();
        if let Some(field) = out.get_mut(begin + 1..begin + RECORD_HEADER) {
            field.copy_from_slice(&octets);
        }
    }

    /// Takes the first record off `octets`.
    fn decode(octets: &[u8]) -> Option<(Self, &[u8])> {
        let mut get = Get(octets);
        let (kind, length) = (get.u8()?, get.u16()?);
        let (fields, rest) = get.0.split_at_checked(length.into())?;
        let mut get = Get(fields);
        let record = get.record(kind)?;
        get.0.is_empty().then_some((record, rest))
    }
}

/// The records of a file that was checked.
#[derive(Clone, Debug)]
pub struct Records<'a>(&'a [u8]);

impl Iterator for Records<'_> {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        let (record, rest) = Record::decode(self.0)?;
        self.0 = rest;
        Some(record)
    }
}

/// Reads a file: all of it makes sense, or an error.
///
/// # Errors
/// What is wrong with it.
pub fn parse(file: &[u8]) -> Result<(Header, Records<'_>), Error> {
    let header = Header::decode(file)?;
    let body = file.get(HEADER_LEN..).unwrap_or_default();
    if body.len() as u64 != header.length {
        return Err(Error::Length {
            expected: header.length.saturating_add(HEADER_LEN as u64),
            have: file.len() as u64,
        });
    }
    if crc32fast::hash(body) != header.checksum {
        return Err(Error::Checksum);
    }
    check(body).map_err(|offset| Error::Record(HEADER_LEN + offset))?;
    Ok((header, Records(body)))
}

/// Checks every record, and that those that belong to another follow it; else the offset of one
/// that does not.
fn check(body: &[u8]) -> Result<(), usize> {
    let (mut rest, mut senders, mut has_state) = (body, 0_u32, false);
    while !rest.is_empty() {
        let offset = body.len() - rest.len();
        let (record, after) = Record::decode(rest).ok_or(offset)?;
        let is_known = |sender: u16| u32::from(sender) < senders;
        let fits = match &record {
            Record::State(state) => is_known(state.sender) && is_known(state.counted_by),
            Record::Share(share) => {
                has_state && (share.sender >= OWN_SENDERS || is_known(share.sender))
            }
            Record::Part(_)
            | Record::Connection { .. }
            | Record::Translation { .. }
            | Record::Detail(_) => has_state,
            _ => true,
        };
        if !fits {
            return Err(offset);
        }
        senders += u32::from(matches!(record, Record::Sender(_)));
        has_state = match record {
            Record::State(_) => true,
            Record::Share(_)
            | Record::Part(_)
            | Record::Connection { .. }
            | Record::Translation { .. }
            | Record::Detail(_) => has_state,
            _ => false,
        };
        rest = after;
    }
    Ok(())
}

/// A whole file of `records`, encoded.
pub fn file(is_clean: bool, written: Wall, records: &[u8]) -> Vec<u8> {
    let header = Header {
        is_clean,
        checksum: crc32fast::hash(records),
        length: records.len() as u64,
        written,
    };
    [&header.encode(), records].concat()
}
