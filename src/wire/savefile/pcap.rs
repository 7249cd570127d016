//! The pcap format.
//!
//! ```text
//! file      magic 4 | major 2 | minor 2 | 8 unused | snaplen 4 | link type 4       24 octets
//! a record  seconds 4 | fraction 4 | captured 4 | on the wire 4 | octets           16 + captured
//!           a1b2c3d4 fraction = us; a1b23c4d ns; a1b2cd34 us, and 8 more octets before the data
//! ```
//!
//! Sources: draft-ietf-opsawg-pcap; the third magic is Kuznetzov's modified format as libpcap reads
//! it.

use byteorder::{BigEndian, ByteOrder, LittleEndian};

use super::frame::{ErrorKind, FILE_HEADER, Frame, MAX_RECORD};
use crate::time::{NANOS, Wall};
use crate::wire::link::LinkType;

/// A pcap file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Classic {
    pub(super) big: bool,
    /// Octets of a record's header.
    pub(super) header: usize,
    /// Nanoseconds in a unit of a record's fraction field.
    pub(super) unit: i64,
    pub(super) link: LinkType,
}

impl Classic {
    pub(super) fn with_header(self, header: &[u8; FILE_HEADER]) -> Result<Self, ErrorKind> {
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
        let link = LinkType(B::read_u32(&header[20..]) & 0x03ff_ffff);
        if !link.is_known() {
            return Err(ErrorKind::LinkType(link));
        }
        Ok(Self { link, ..self })
    }

    /// The loop that a big file is read by: one turn a packet, no branch on the format.
    pub(super) fn records<B: ByteOrder>(
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

    pub(super) fn wanted(self, rest: &[u8]) -> usize {
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
