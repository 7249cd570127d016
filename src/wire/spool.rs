//! The files of a spool: IPFIX files (RFC 5655) as pflow writes them, and the position up to which
//! they are sent.
//!
//! ```text
//! file     = *( message )                    each as over TCP: the length in its header frames it
//! message  = header ( [ withdrawal ] template set | options template set | one data set )
//! position = segment, 10 digits | " " | offset, 20 digits | " " | CRC-32 of both, 8 digits | "\n"
//! ```
//! The first message of each observation domain in a file has its templates (RFC 5655, 7.2). So
//! each file can be read alone. Each octet is walked once, even in a damaged file.

use std::fmt;

use byteorder::{BigEndian, ByteOrder};

use super::ipfix::{self, HEADER_LEN, Header, OPTIONS_TEMPLATE_SET, SET_HEADER_LEN, TEMPLATE_SET};

/// Octets of a [`Position`] as it is noted.
pub const POSITION_LEN: usize = 41;

/// Least id of data sets.
const FIRST_DATA_SET: u16 = 256;

/// A place in a spool: a file, and octets from its beginning.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Position {
    /// Number of the file.
    pub segment: u32,
    /// Octets.
    pub offset: u64,
}

impl Position {
    /// As it is noted.
    pub fn encode(self) -> [u8; POSITION_LEN] {
        let text = format!("{:010} {:020}", self.segment, self.offset);
        let crc = crc32fast::hash(text.as_bytes());
        let mut octets = [b' '; POSITION_LEN];
        let line = format!("{text} {crc:08x}\n");
        for (octet, written) in octets.iter_mut().zip(line.bytes()) {
            *octet = written;
        }
        octets
    }

    /// What was noted; `None`: something else.
    pub fn decode(octets: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(octets.first_chunk::<POSITION_LEN>()?).ok()?;
        let (segment, rest) = text.split_once(' ')?;
        let (offset, _) = rest.split_once(' ')?;
        let position = Self {
            segment: segment.parse().ok()?,
            offset: offset.parse().ok()?,
        };
        (position.encode() == *octets).then_some(position)
    }
}

/// What is wrong with a message of a file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Damage {
    /// Its version is another than IPFIX's.
    Version(u16),
    /// It is shorter than its headers.
    Length(u16),
    /// Its sets are not those of a message that pflow writes.
    Sets,
    /// Its templates are none that pflow knows, or its records belong to no template of its domain.
    Templates(u32),
    /// Its number is not the one that follows.
    Sequence(u32),
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(version) => write!(f, "version {version}, not IPFIX's 10"),
            Self::Length(length) => write!(f, "a message of {length} octets"),
            Self::Sets => f.write_str("sets that pflow does not write"),
            Self::Templates(domain) => {
                write!(f, "templates of domain {domain} that pflow does not know")
            }
            Self::Sequence(sequence) => write!(f, "sequence number {sequence} is not the next"),
        }
    }
}

/// What a message has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Content<'a> {
    /// The whole template set.
    Templates(&'a [u8]),
    /// Data records.
    Data {
        /// Their template.
        id: u16,
        /// All of them.
        records: &'a [u8],
    },
}

/// A message of a file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Message<'a> {
    /// Its header.
    pub header: Header,
    /// What it has.
    pub content: Content<'a>,
    /// All of it.
    pub octets: &'a [u8],
}

/// What the octets from some place on begin with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Next<'a> {
    /// A message.
    Message(Message<'a>),
    /// A part of one: so many octets are needed to go on.
    Part(usize),
}

/// The message that `octets` begin with.
///
/// # Errors
/// What is wrong with it.
pub fn next(octets: &[u8]) -> Result<Next<'_>, Damage> {
    let Some((front, _)) = octets.split_first_chunk::<HEADER_LEN>() else {
        return Ok(Next::Part(HEADER_LEN));
    };
    let (header, version) = parse_header(front);
    if version != ipfix::VERSION {
        return Err(Damage::Version(version));
    }
    let len = usize::from(header.length);
    if len < HEADER_LEN + SET_HEADER_LEN {
        return Err(Damage::Length(header.length));
    }
    let Some(octets) = octets.get(..len) else {
        return Ok(Next::Part(len));
    };
    let content = octets.get(HEADER_LEN..).and_then(content);
    Ok(Next::Message(Message {
        header,
        content: content.ok_or(Damage::Sets)?,
        octets,
    }))
}

fn parse_header(front: &[u8; HEADER_LEN]) -> (Header, u16) {
    let [.., l0, l1, t0, t1, t2, t3, s0, s1, s2, s3, d0, d1, d2, d3] = *front;
    let header = Header {
        length: u16::from_be_bytes([l0, l1]),
        export_time: u32::from_be_bytes([t0, t1, t2, t3]),
        sequence: u32::from_be_bytes([s0, s1, s2, s3]),
        domain: u32::from_be_bytes([d0, d1, d2, d3]),
    };
    (header, BigEndian::read_u16(front))
}

/// What the sets of a message are; `None`: none that pflow writes.
fn content(sets: &[u8]) -> Option<Content<'_>> {
    let of_flows = ipfix::all_templates_withdrawn();
    let of_options = ipfix::all_options_withdrawn();
    let sets = match sets.strip_prefix(&of_flows) {
        Some(rest) => rest.strip_prefix(&of_options).unwrap_or(rest),
        None => sets,
    };
    let (set, records) = sets.split_first_chunk::<SET_HEADER_LEN>()?;
    let [i0, i1, l0, l1] = *set;
    let (id, len) = (u16::from_be_bytes([i0, i1]), u16::from_be_bytes([l0, l1]));
    if usize::from(len) != sets.len() {
        return None;
    }
    match id {
        TEMPLATE_SET | OPTIONS_TEMPLATE_SET => Some(Content::Templates(sets)),
        FIRST_DATA_SET.. => Some(Content::Data { id, records }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_position_is_read_as_it_was_noted_and_damaged_ones_are_none() {
        let position = Position {
            segment: 12,
            offset: 48_213,
        };
        let octets = position.encode();
        let text = std::str::from_utf8(&octets).unwrap();
        assert!(
            text.starts_with("0000000012 00000000000000048213 "),
            "{text}"
        );
        assert!(text.ends_with('\n'));
        assert_eq!(Position::decode(&octets), Some(position));
        for at in 0..octets.len() {
            assert_eq!(Position::decode(&octets[..at]), None);
            for bit in 0..8 {
                let mut flipped = octets;
                flipped[at] ^= 1 << bit;
                assert_eq!(Position::decode(&flipped), None, "octet {at} bit {bit}");
            }
        }
        let last = Position {
            segment: u32::MAX,
            offset: u64::MAX,
        };
        assert_eq!(Position::decode(&last.encode()), Some(last));
    }

    #[test]
    fn what_is_wrong_with_a_message_is_said() {
        let message = |version: u16, length: u16, set: [u8; 4]| {
            let header = Header {
                length,
                export_time: 1,
                sequence: 2,
                domain: 3,
            };
            let mut octets = header.octets().to_vec();
            octets[..2].copy_from_slice(&version.to_be_bytes());
            octets.extend(set);
            octets
        };
        let problem = |octets: &[u8]| next(octets).unwrap_err().to_string();
        let data = ipfix::set_header(256, 4);
        assert!(matches!(next(&message(10, 20, data)), Ok(Next::Message(_))));
        assert_eq!(next(&message(10, 21, data)), Ok(Next::Part(21)));
        assert_eq!(next(&message(10, 20, data)[..15]), Ok(Next::Part(16)));
        assert_eq!(problem(&message(9, 20, data)), "version 9, not IPFIX's 10");
        assert_eq!(problem(&message(10, 19, data)), "a message of 19 octets");
        let sets = "sets that pflow does not write";
        assert_eq!(problem(&message(10, 20, ipfix::set_header(256, 5))), sets);
        assert_eq!(problem(&message(10, 20, ipfix::set_header(4, 4))), sets);
    }

    proptest! {
        #[test]
        fn any_octets_are_a_message_a_part_or_damage(octets in prop::collection::vec(any::<u8>(), 0..200)) {
            match next(&octets) {
                Ok(Next::Message(message)) => prop_assert!(message.octets.len() >= HEADER_LEN),
                Ok(Next::Part(needed)) => prop_assert!(needed > octets.len()),
                Err(damage) => prop_assert!(!damage.to_string().is_empty()),
            }
            prop_assert_eq!(Position::decode(&octets), None);
        }
    }
}
