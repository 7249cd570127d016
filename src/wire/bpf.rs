//! The buffer that read(2) on a BSD bpf(4) device returns: packets, each behind a header in host
//! byte order.
//!
//! ```text
//! stamps of 32 bits           | stamps of 64 bits
//!  0  4 seconds               |  0  8 seconds
//!  4  4 microseconds          |  8  8 microseconds
//!  8  4 captured              | 16  4 captured
//! 12  4 on the wire           | 20  4 on the wire
//! 16  2 octets to the packet  | 24  2 octets to the packet
//!     (OpenBSD: more fields)  |
//! then the packet; the next header begins at the next multiple of 4 | of 8
//! ```
//!
//! Source: net/bpf.h of each system. Left: OpenBSD, macOS, and 32-bit systems with `long` stamps.
//! Right: FreeBSD, NetBSD and DragonFly on 64-bit machines, where a stamp is two `long` and so is
//! the alignment: one number tells both.
//!
//! This module does not open the device, set its filter or read its statistics. `wire/link.rs`
//! reads what is inside a frame.

use std::fmt;

use crate::time::{NANOS, Wall};
use crate::wire::link::LinkType;
use crate::wire::savefile::Frame;

/// What is wrong with a buffer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Error {
    /// The system's alignment is neither 4 nor 8.
    Alignment(usize),
    /// A header that begins at this offset is not whole.
    Header(usize),
    /// The header at this offset puts its packet into itself or beyond the buffer.
    Length(usize),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Alignment(octets) => write!(f, "bpf alignment of {octets} octets"),
            Self::Header(at) => write!(f, "bpf buffer ends inside a header at offset {at}"),
            Self::Length(at) => write!(f, "impossible length in bpf header at offset {at}"),
        }
    }
}

impl std::error::Error for Error {}

/// The fields of one header.
struct Header {
    stamp: Wall,
    captured: usize,
    wire_len: usize,
    /// Octets from the header's beginning to the packet's.
    length: usize,
}

/// Hands every packet in `buffer` to `each`. `alignment` is the system's `BPF_ALIGNMENT`: 4 on
/// OpenBSD and macOS, `sizeof(long)` on the others.
///
/// # Errors
/// When the buffer is not what a kernel writes. The frames handed out before that are good; the
/// rest of this buffer is lost, the next one starts afresh.
pub fn walk(
    buffer: &[u8],
    link: LinkType,
    alignment: usize,
    each: &mut impl FnMut(Frame),
) -> Result<(), Error> {
    let (is_wide, least) = match alignment {
        4 => (false, 18),
        8 => (true, 26),
        _ => return Err(Error::Alignment(alignment)),
    };
    let mut at = 0;
    while let Some(rest @ [_, ..]) = buffer.get(at..) {
        let header = if is_wide { wide(rest) } else { narrow(rest) }.ok_or(Error::Header(at))?;
        // `least` makes each step go forward, even in a damaged buffer.
        let total = header
            .length
            .checked_add(header.captured)
            .ok_or(Error::Length(at))?;
        if header.length < least || total > rest.len() {
            return Err(Error::Length(at));
        }
        each(Frame {
            stamp: header.stamp,
            link,
            start: at + header.length,
            captured: header.captured,
            wire_len: header.wire_len,
        });
        // This cannot overflow, because a slice is no longer than isize::MAX. The last packet may
        // have no padding; then `at` is beyond the buffer.
        at += total.next_multiple_of(alignment);
    }
    Ok(())
}

/// A header with stamps of 32 bits.
fn narrow(rest: &[u8]) -> Option<Header> {
    let (seconds, rest) = rest.split_first_chunk()?;
    let (micros, rest) = rest.split_first_chunk()?;
    let stamp = stamp(
        u32::from_ne_bytes(*seconds).into(),
        u32::from_ne_bytes(*micros).into(),
    );
    lengths(stamp, rest)
}

/// A header with stamps of 64 bits.
fn wide(rest: &[u8]) -> Option<Header> {
    let (seconds, rest) = rest.split_first_chunk()?;
    let (micros, rest) = rest.split_first_chunk()?;
    lengths(
        stamp(i64::from_ne_bytes(*seconds), i64::from_ne_bytes(*micros)),
        rest,
    )
}

fn stamp(seconds: i64, micros: i64) -> Wall {
    Wall::from_nanos(
        seconds
            .saturating_mul(NANOS)
            .saturating_add(micros.saturating_mul(1000)),
    )
}

fn lengths(stamp: Wall, rest: &[u8]) -> Option<Header> {
    let (captured, rest) = rest.split_first_chunk()?;
    let (wire_len, rest) = rest.split_first_chunk()?;
    let length = rest.first_chunk()?;
    Some(Header {
        stamp,
        captured: u32::from_ne_bytes(*captured) as usize,
        wire_len: u32::from_ne_bytes(*wire_len) as usize,
        length: u16::from_ne_bytes(*length).into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// OpenBSD's header: 24 octets with its own fields, then the packet and its padding.
    fn openbsd(stamp: (u32, u32), packet: &[u8], wire_len: u32) -> Vec<u8> {
        let mut out = Vec::new();
        let captured = u32::try_from(packet.len()).unwrap();
        for field in [stamp.0, stamp.1, captured, wire_len] {
            out.extend_from_slice(&field.to_ne_bytes());
        }
        out.extend_from_slice(&24_u16.to_ne_bytes());
        out.extend_from_slice(&[0xee; 6]);
        out.extend_from_slice(packet);
        out.resize(out.len().next_multiple_of(4), 0);
        out
    }

    /// The 64-bit header of FreeBSD and NetBSD: 26 octets and padding to `length`.
    fn freebsd(stamp: (i64, i64), packet: &[u8], wire_len: u32, length: u16) -> Vec<u8> {
        let mut out = [stamp.0.to_ne_bytes(), stamp.1.to_ne_bytes()].concat();
        let captured = u32::try_from(packet.len()).unwrap();
        out.extend_from_slice(&captured.to_ne_bytes());
        out.extend_from_slice(&wire_len.to_ne_bytes());
        out.extend_from_slice(&length.to_ne_bytes());
        out.resize(usize::from(length), 0xee);
        out.extend_from_slice(packet);
        out.resize(out.len().next_multiple_of(8), 0);
        out
    }

    fn collect(buffer: &[u8], alignment: usize) -> (Vec<Frame>, Result<(), Error>) {
        let mut frames = Vec::new();
        let outcome = walk(buffer, LinkType::EN10MB, alignment, &mut |frame| {
            frames.push(frame)
        });
        for frame in &frames {
            assert!(frame.start + frame.captured <= buffer.len());
        }
        (frames, outcome)
    }

    #[test]
    fn packets_of_openbsd_are_found_at_multiples_of_four() {
        let mut buffer = openbsd((1_700_000_000, 900_000), &[7; 5], 1500);
        buffer.extend(openbsd((1_700_000_001, 5), &[8; 3], 3));
        let frame = |stamp, start, captured, wire_len| Frame {
            stamp,
            link: LinkType::EN10MB,
            start,
            captured,
            wire_len,
        };
        let want = vec![
            frame(Wall::new(1_700_000_000, 900_000_000), 24, 5, 1500),
            frame(Wall::new(1_700_000_001, 5_000), 56, 3, 3),
        ];
        assert_eq!(collect(&buffer, 4), (want.clone(), Ok(())));
        // The kernel need not pad the last one.
        assert_eq!(collect(&buffer[..59], 4), (want, Ok(())));
    }

    #[test]
    fn packets_of_64_bit_systems_are_found_at_multiples_of_eight() {
        let mut buffer = freebsd((1_700_000_000, 900_000), &[7; 5], 1500, 26);
        buffer.extend(freebsd((-1, 1), &[8; 9], 9, 32));
        let (frames, outcome) = collect(&buffer, 8);
        assert_eq!(outcome, Ok(()));
        assert_eq!(frames[0].stamp, Wall::new(1_700_000_000, 900_000_000));
        assert_eq!(
            (frames[0].start, frames[0].captured, frames[0].wire_len),
            (26, 5, 1500)
        );
        assert_eq!(frames[1].stamp, Wall::from_nanos(-999_999_000));
        assert_eq!(
            (frames[1].start, frames[1].captured, frames[1].wire_len),
            (64, 9, 9)
        );
    }

    #[test]
    fn an_empty_read_holds_no_packet() {
        assert_eq!(collect(&[], 4), (vec![], Ok(())));
    }

    #[test]
    fn a_header_length_of_zero_does_not_loop() {
        for length in [0_u16, 17] {
            let mut buffer = openbsd((1, 1), &[], 0);
            buffer[16..18].copy_from_slice(&length.to_ne_bytes());
            assert_eq!(collect(&buffer, 4), (vec![], Err(Error::Length(0))));
        }
    }

    #[test]
    fn a_length_beyond_the_buffer_is_an_error_after_the_good_packets() {
        for captured in [9_u32, u32::MAX] {
            let mut buffer = openbsd((1, 1), &[7; 8], 8);
            buffer.extend(openbsd((1, 1), &[8; 8], 8));
            buffer[40..44].copy_from_slice(&captured.to_ne_bytes());
            let (frames, outcome) = collect(&buffer, 4);
            assert_eq!((frames.len(), outcome), (1, Err(Error::Length(32))));
        }
    }

    #[test]
    fn an_unheard_of_alignment_is_an_error() {
        for alignment in [0, 1, 3, 16, usize::MAX] {
            assert_eq!(
                collect(&[0; 64], alignment),
                (vec![], Err(Error::Alignment(alignment)))
            );
        }
    }

    #[test]
    fn any_octets_come_to_an_end() {
        let mut narrow = openbsd((1, 2), &[7; 5], 5);
        narrow.extend(openbsd((3, 4), &[8; 30], 30));
        let mut wide = freebsd((1, 2), &[7; 5], 5, 26);
        wide.extend(freebsd((3, 4), &[8; 30], 30, 32));
        for (mut buffer, alignment) in [(narrow, 4), (wide, 8)] {
            for length in 0..buffer.len() {
                collect(&buffer[..length], alignment).1.ok();
            }
            for at in 0..buffer.len() {
                for flip in 1..=255 {
                    buffer[at] ^= flip;
                    collect(&buffer, alignment).1.ok();
                    buffer[at] ^= flip;
                }
            }
            collect(&vec![0xff; 4096], alignment).1.unwrap_err();
        }
    }

    #[test]
    fn errors_say_what_and_where() {
        let (_, outcome) = collect(&openbsd((1, 1), &[7; 8], 8)[..10], 4);
        let text = outcome.unwrap_err().to_string();
        assert_eq!(text, "bpf buffer ends inside a header at offset 0");
    }
}
