//! The pcapng format.
//!
//! ```text
//! [type 4 | total 4 | body, padded to 4 | total 4] ...
//!   0a0d0d0a section    magic 1a2b3c4d | major 2 | minor 2 | length 8 | options
//!   1        interface  link type 2 | 0 2 | snaplen 4 | options: resolution 9, offset 14
//!   6        packet     interface 4        | ticks high 4 | low 4 | captured 4 | on the wire 4 | octets
//!   2        packet     interface 2, drops 2 | the same
//!   3        packet     on the wire 4 | octets
//! ```
//!
//! Source: draft-ietf-opsawg-pcapng.

use byteorder::{BigEndian, ByteOrder, LittleEndian};

use super::frame::{ErrorKind, Frame, MAX_RECORD, MAX_SECTION_INTERFACES, SECTION};
use crate::time::{NANOS, Wall};
use crate::wire::link::LinkType;

/// A pcapng file, at some place in one of its sections.
#[derive(Clone, Debug, Default)]
pub(super) struct Blocks {
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
pub(super) enum Resolution {
    /// So many nanoseconds.
    Nanos(u64),
    /// This part of a nanosecond; 0 = too small for a `u64` of them to fill one.
    Part(u64),
    /// 2 to the minus this seconds.
    Binary(u32),
}

impl Resolution {
    pub(super) fn new(option: u8) -> Self {
        let exponent = u32::from(option & 0x7f);
        match (option & 0x80, exponent) {
            (0, 0..=9) => Self::Nanos(10_u64.pow(9 - exponent)),
            (0, _) => Self::Part(10_u64.checked_pow(exponent - 9).unwrap_or(0)),
            _ => Self::Binary(exponent),
        }
    }

    pub(super) fn nanos(self, ticks: u64) -> i64 {
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
    pub(super) fn blocks(
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

    pub(super) fn wanted(&self, rest: &[u8]) -> usize {
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
        if self.interfaces.len() == MAX_SECTION_INTERFACES {
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
        if !described.link.is_known() {
            return Err(ErrorKind::LinkType(described.link));
        }
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
        if !interface.link.is_known() {
            return Err(ErrorKind::LinkType(interface.link));
        }
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
