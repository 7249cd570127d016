//! Segments read back, message by message, whoever wrote them and whatever became of them.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;

use super::Store;
use super::writer::Told;
use crate::export::TemplateSet;
use crate::wire::ipfix;
use crate::wire::spool::{self as wire, Content, Damage, Message, Next, Position};

/// Octets read at a time.
const PIECE: usize = 1 << 16;

/// What one step of reading finds.
#[derive(Debug)]
pub(super) enum Step {
    /// A message of data records.
    Data(Found),
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
    pub(super) templates: TemplateSet,
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
    domains: BTreeMap<u32, Told>,
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
            let found = match understand(&mut self.domains, &message) {
                Ok(found) => found,
                Err(damage) => return Step::Damaged(damage),
            };
            let begin = self.used;
            self.used += size;
            self.at.offset += size as u64;
            if let Some((domain, records, templates, export_time)) = found
                && self.at.offset > self.from
            {
                return Step::Data(Found {
                    domain,
                    records,
                    templates,
                    export_time,
                    end: self.at,
                    range: begin..self.used,
                });
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
        told.and_then(|told| records_of(told.templates, id, len))
            .map_or(0, u64::from)
    }
}

/// Takes a message in: domain, data records, templates and export time of one with data.
fn understand(
    domains: &mut BTreeMap<u32, Told>,
    message: &Message<'_>,
) -> Result<Option<(u32, u16, TemplateSet, u32)>, Damage> {
    let header = message.header;
    let domain = header.domain;
    let told = domains.get(&domain).copied();
    let sequence = told.map_or(0, |told| told.sequence);
    if header.sequence != sequence {
        return Err(Damage::Sequence(header.sequence));
    }
    let templates = match message.content {
        Content::Templates(set) => known(set).ok_or(Damage::Templates(domain))?,
        Content::Data { .. } => told.ok_or(Damage::Templates(domain))?.templates,
    };
    let records = match message.content {
        Content::Templates(_) => 0,
        Content::Data { id, len } => {
            records_of(templates, id, len).ok_or(Damage::Templates(domain))?
        }
    };
    let told = Told {
        templates,
        sequence: sequence.wrapping_add(records.into()),
    };
    domains.insert(domain, told);
    Ok((records > 0).then_some((domain, records, templates, header.export_time)))
}

/// The known templates that `set` tells.
fn known(set: &[u8]) -> Option<TemplateSet> {
    let mut all = TemplateSet::VALUES.iter().map(|(_, templates)| *templates);
    all.find(|templates| ipfix::template_set(templates.templates()) == set)
}

/// Data records in `len` octets of template `id`, at least one and nothing else.
fn records_of(templates: TemplateSet, id: u16, len: usize) -> Option<u16> {
    let mut all = templates.templates().iter();
    let (_, layout) = all.find(|(number, _)| *number == id)?;
    let records = u16::try_from(len / layout.record_len()).ok()?;
    (records > 0 && len.is_multiple_of(layout.record_len())).then_some(records)
}
