//! Segments read back, message by message. Another run may have written them, and they may be
//! damaged.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;

use super::store::Store;
use super::writer::SegmentDomain;
use crate::export::Templates;
use crate::wire::ipfix;
use crate::wire::options::{is_options, is_statistics, is_type};
use crate::wire::spool::{self as wire, Content, Damage, Message, Next, Position};

/// Octets read at a time.
const PIECE: usize = 1 << 16;

/// What one step of reading finds.
#[derive(Debug)]
pub(super) enum Step {
    /// A message of data records.
    Data(Found),
    /// A message of options that each session is told.
    Options(Found),
    /// No more in this segment.
    End,
    /// The segment ends within a message. So many data records of it are known to be lost.
    Cut { lost: u64 },
    /// The message at the reader's place makes no sense.
    Damaged(Damage),
    /// The segment cannot be read.
    Failed(io::Error),
}

/// A message of data records.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) domain: u32,
    pub(super) records: u16,
    /// Records of options.
    pub(super) options: u16,
    pub(super) templates: Templates,
    pub(super) export_time: u32,
    /// Where the next message begins.
    pub(super) end: Position,
    /// Its place in the reader's buffer.
    range: Range<usize>,
}

/// A place in the spool, and what was told up to there.
#[derive(Debug, Default)]
pub(super) struct Reader {
    at: Position,
    domains: BTreeMap<u32, SegmentDomain>,
    /// Octets from `at` on, behind `used` that were read before.
    buffer: Vec<u8>,
    used: usize,
    /// Messages that end at or before it are passed over.
    from: u64,
}

impl Reader {
    /// Goes to `to`. Templates are learned from the beginning of its segment.
    pub(super) fn seek(&mut self, to: Position) {
        *self = Self {
            at: Position {
                segment: to.segment,
                offset: 0,
            },
            from: to.offset,
            ..Self::default()
        };
    }

    /// Where the next message begins.
    pub(super) fn at(&self) -> Position {
        Position {
            segment: self.at.segment,
            offset: self.at.offset.max(self.from),
        }
    }

    /// Where the message begins that [`Step::Cut`] or [`Step::Damaged`] is about.
    pub(super) fn place(&self) -> Position {
        self.at
    }

    /// The octets of what was found last.
    pub(super) fn octets(&self, found: &Found) -> &[u8] {
        self.buffer.get(found.range.clone()).unwrap_or_default()
    }

    /// The next message of data records in the segment, of which `len` octets are there.
    pub(super) fn step(&mut self, store: &mut impl Store, len: u64) -> Step {
        loop {
            let rest = self.buffer.get(self.used..).unwrap_or_default();
            let message = match wire::next(rest) {
                Ok(Next::Message(message)) => message,
                Ok(Next::Part(needed)) => {
                    let have = rest.len() as u64;
                    if self.at.offset >= len {
                        return Step::End;
                    }
                    if self.at.offset + have >= len {
                        let lost = self.records_of_part();
                        return Step::Cut { lost };
                    }
                    match self.fill(store, needed, len) {
                        Ok(()) => continue,
                        Err(error) => return Step::Failed(error),
                    }
                }
                Err(damage) => return Step::Damaged(damage),
            };
            let size = message.octets.len();
            let (message_domain, export_time) = (message.header.domain, message.header.export_time);
            let found = match understand(&mut self.domains, &message) {
                Ok(found) => found,
                Err(damage) => return Step::Damaged(damage),
            };
            let begin = self.used;
            self.used += size;
            self.at.offset += size as u64;
            let Some(told) = found else { continue };
            let found = Found {
                domain: message_domain,
                records: told.records,
                options: told.options,
                templates: told.templates,
                export_time,
                end: self.at,
                range: begin..self.used,
            };
            if found.options > 0 {
                return Step::Options(found);
            }
            if self.at.offset > self.from {
                return Step::Data(found);
            }
        }
    }

    /// Has at least `needed` octets in the buffer, or all up to `len`.
    fn fill(&mut self, store: &mut impl Store, needed: usize, len: u64) -> io::Result<()> {
        self.buffer.drain(..self.used);
        self.used = 0;
        let have = self.buffer.len();
        let from = self.at.offset + have as u64;
        let left = usize::try_from(len - from).unwrap_or(usize::MAX);
        let more = needed.saturating_sub(have).max(PIECE).min(left);
        self.buffer.resize(have + more, 0);
        let room = self.buffer.get_mut(have..).unwrap_or_default();
        let read = store.read_at(self.at.segment, from, room);
        self.buffer
            .truncate(have + read.as_ref().map_or(0, |read| (*read).min(more)));
        match read? {
            0 => Err(io::Error::other("it is shorter than it was")),
            _ => Ok(()),
        }
    }

    /// Data records of the message of which the buffer has a part, as far as its headers tell.
    fn records_of_part(&self) -> u64 {
        let rest = self.buffer.get(self.used..).unwrap_or_default();
        let Some((front, rest)) = rest.split_first_chunk::<{ ipfix::HEADER_LEN }>() else {
            return 0;
        };
        let [.., d0, d1, d2, d3] = *front;
        let Some([i0, i1, l0, l1]) = rest.first_chunk() else {
            return 0;
        };
        let told = self.domains.get(&u32::from_be_bytes([d0, d1, d2, d3]));
        let (id, len) = (
            u16::from_be_bytes([*i0, *i1]),
            u16::from_be_bytes([*l0, *l1]),
        );
        let len = usize::from(len).saturating_sub(ipfix::SET_HEADER_LEN);
        told.and_then(|told| told.templates.records_of_len(id, len))
            .map_or(0, u64::from)
    }
}

/// Counts records that go with the templates of a domain.
fn told_types(domains: &mut BTreeMap<u32, SegmentDomain>, domain: u32, records: u16) {
    if let Some(told) = domains.get_mut(&domain) {
        told.sequence = told.sequence.wrapping_add(records.into());
    }
}

/// The records of a message.
struct Records {
    records: u16,
    options: u16,
    templates: Templates,
}

/// Takes a message in: the records of one that has some.
fn understand(
    domains: &mut BTreeMap<u32, SegmentDomain>,
    message: &Message<'_>,
) -> Result<Option<Records>, Damage> {
    let header = message.header;
    let domain = header.domain;
    let unknown = Damage::Templates(domain);
    let told = domains.get(&domain).copied();
    let sequence = told.map_or(0, |told| told.sequence);
    if header.sequence != sequence {
        return Err(Damage::Sequence(header.sequence));
    }
    let (templates, count, is_told_again) = match message.content {
        Content::Templates(set) => {
            let is_further = |told: &SegmentDomain| told.templates.has(set);
            let known = told.filter(is_further).map(|told| told.templates);
            let known = known.or_else(|| Templates::recognise(set));
            (known.ok_or(unknown)?, 0, false)
        }
        Content::Data { id, records } => {
            let templates = told.ok_or(unknown)?.templates;
            let count = templates.records_of(id, records).ok_or(unknown)?;
            if is_type(id) {
                // It goes with the templates, and is told with them.
                told_types(domains, domain, count);
                return Ok(None);
            }
            (templates, count, is_options(id) && !is_statistics(id))
        }
    };
    let told = SegmentDomain {
        templates,
        sequence: sequence.wrapping_add(count.into()),
        options: 0,
    };
    domains.insert(domain, told);
    let (records, options) = if is_told_again {
        (0, count)
    } else {
        (count, 0)
    };
    let found = Records {
        records,
        options,
        templates,
    };
    Ok((count > 0).then_some(found))
}
