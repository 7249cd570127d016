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

mod frame;
mod pcap;
mod pcapng;
#[cfg(test)]
mod tests;
pub mod write;

use byteorder::{BigEndian, LittleEndian};

use self::pcap::Classic;
use self::pcapng::Blocks;
use crate::wire::link::LinkType;
use frame::SECTION;
pub use frame::{Error, ErrorKind, FILE_HEADER, Frame, MAX_RECORD};

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
