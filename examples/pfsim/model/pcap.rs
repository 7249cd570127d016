//! Savefiles: writing them, and reading what was written or what tools like it wrote.
//!
//! ```text
//! magic u32 | 2 u16 | 4 u16 | 0 | 0 | snaplen u32 | link type u32     microseconds a1b2c3d4
//! seconds u32 | fraction u32 | captured u32 | length u32 | octets     nanoseconds  a1b23c4d
//! ```
//! Source: draft-ietf-opsawg-pcap. Both byte orders are read, little endian is written.

use std::io::{self, Write};

/// Link types.
pub const ETHERNET: u32 = 1;
pub const RAW: u32 = 101;

/// Writes the head of a file.
pub fn header(out: &mut dyn Write, link: u32) -> io::Result<()> {
    out.write_all(&0xa1b2_c3d4_u32.to_le_bytes())?;
    out.write_all(&[2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0])?;
    out.write_all(&65_535_u32.to_le_bytes())?;
    out.write_all(&link.to_le_bytes())
}

/// Writes a packet; `stamp` is in microseconds since 1970.
pub fn record(out: &mut dyn Write, stamp: u64, frame: &[u8]) -> io::Result<()> {
    let len = (frame.len() as u32).to_le_bytes();
    out.write_all(&((stamp / 1_000_000) as u32).to_le_bytes())?;
    out.write_all(&((stamp % 1_000_000) as u32).to_le_bytes())?;
    out.write_all(&len)?;
    out.write_all(&len)?;
    out.write_all(frame)
}

/// A packet of a file: nanoseconds since 1970, octets.
pub type Record<'a> = (u64, &'a [u8]);

/// The link type and the packets of a file; a damaged one gives what is whole.
pub fn read(file: &[u8]) -> Option<(u32, Vec<Record<'_>>)> {
    let magic = u32::from_le_bytes(file.get(..4)?.try_into().ok()?);
    let (is_big, scale) = match magic {
        0xa1b2_c3d4 => (false, 1000),
        0xa1b2_3c4d => (false, 1),
        0xd4c3_b2a1 => (true, 1000),
        0x4d3c_b2a1 => (true, 1),
        _ => return None,
    };
    let word = |at: usize| -> Option<u32> {
        let octets = file.get(at..at + 4)?.try_into().ok()?;
        Some(if is_big {
            u32::from_be_bytes(octets)
        } else {
            u32::from_le_bytes(octets)
        })
    };
    let link = word(20)?;
    let mut records = Vec::new();
    let mut at = 24;
    while let (Some(seconds), Some(fraction), Some(captured)) =
        (word(at), word(at + 4), word(at + 8))
    {
        let start = at + 16;
        let Some(frame) = file.get(start..start + captured as usize) else {
            break;
        };
        let stamp = u64::from(seconds) * 1_000_000_000 + u64::from(fraction) * scale;
        records.push((stamp, frame));
        at = start + captured as usize;
    }
    Some((link, records))
}
