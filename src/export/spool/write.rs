//! How messages get to the end of a spool, and what makes room for them.

use std::io;

use super::parts::{PIECE, Segment, Spool};
use super::reader::Step;
use super::store::Store;
use super::writer::{Undo, Writer};
use crate::export::{Outgoing, Templates};
use crate::wire::spool::Position;

impl<S: Store> Spool<S> {
    /// Writes the first of `messages` at the end: where each of them ends then. What is not
    /// written, the store refuses.
    pub fn append(&mut self, secs: u32, messages: &[(Outgoing<'_>, Templates)]) -> Vec<Position> {
        let mut ends = Vec::new();
        while let Some(rest) = messages.get(ends.len()..).filter(|rest| !rest.is_empty()) {
            let before = ends.len();
            self.append_some(secs, rest, &mut ends);
            if ends.len() == before {
                break;
            }
        }
        ends
    }

    /// Writes as many of `messages` as go into one piece of one segment.
    pub(super) fn append_some(
        &mut self,
        secs: u32,
        messages: &[(Outgoing<'_>, Templates)],
        ends: &mut Vec<Position>,
    ) {
        let was_drained = self.is_drained();
        if let Err(error) = self.begin_segment() {
            self.begin_refusing(secs, &error);
            return;
        }
        let begin = self.end();
        let room = self.segment_len().saturating_sub(begin.offset);
        let room = usize::try_from(room).unwrap_or(0);
        let mut octets = std::mem::take(&mut self.buffer);
        octets.clear();
        let mut undos: Vec<(Undo, usize)> = Vec::new();
        let Some(writer) = &mut self.writer else {
            return;
        };
        for (message, templates) in messages {
            if !undos.is_empty() && octets.len() >= room.min(PIECE) {
                break;
            }
            let undo = writer.encode(secs, message, *templates, &self.options, &mut octets);
            undos.push((undo, octets.len()));
        }
        let whole = match self.make_room(octets.len() as u64) {
            true => self.write(secs, &octets, &undos),
            false => 0,
        };
        self.buffer = octets;
        if whole == 0 || whole < undos.len() {
            if let Some(writer) = &mut self.writer {
                let undone = undos.iter().skip(whole).rev();
                undone.for_each(|(undo, _)| writer.undo(undo));
            }
        } else {
            self.end_refusing(secs);
        }
        if was_drained && whole > 0 {
            self.oldest = Some(secs);
        }
        ends.extend(undos.iter().take(whole).map(|(_, end)| Position {
            offset: begin.offset + *end as u64,
            ..begin
        }));
    }

    /// Writes `octets`, of which messages end at the second of `ends`: how many messages whole.
    pub(super) fn write(&mut self, secs: u32, octets: &[u8], ends: &[(Undo, usize)]) -> usize {
        let Some(last) = self.segments.back_mut() else {
            return 0;
        };
        let (number, begin) = (last.number, last.len);
        let mut written = 0;
        let error = loop {
            let rest = octets.get(written..).unwrap_or_default();
            if rest.is_empty() {
                break None;
            }
            match self.store.write_at(number, begin + written as u64, rest) {
                Ok(0) => break Some(io::Error::from(io::ErrorKind::WriteZero)),
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break Some(error),
            }
        };
        let whole = ends.iter().take_while(|(_, end)| *end <= written).count();
        let kept = whole.checked_sub(1).and_then(|last| ends.get(last));
        let kept = kept.map_or(0, |(_, end)| *end) as u64;
        last.len = begin + kept;
        last.octets = last.len;
        self.octets += kept;
        if let Some(error) = error {
            if written as u64 > kept && self.store.cut(number, begin + kept).is_err() {
                // What is behind the last whole message is read as damage: nothing comes after it.
                self.writer = None;
            }
            self.begin_refusing(secs, &error);
        }
        whole
    }

    /// Has a segment that can be written to.
    pub(super) fn begin_segment(&mut self) -> io::Result<()> {
        let segment_len = self.segment_len();
        let is_full = self
            .segments
            .back()
            .is_none_or(|last| last.len >= segment_len);
        if self.writer.is_some() && !is_full {
            return Ok(());
        }
        if self.spare.is_none()
            && let Err(error) = self.make_spare()
        {
            // Better a segment that is too long than none.
            return if self.writer.is_some() {
                Ok(())
            } else {
                Err(error)
            };
        }
        let Some(number) = self.spare.take() else {
            return Err(io::ErrorKind::NotFound.into());
        };
        self.writer = Some(Writer::default());
        self.segments.push_back(Segment {
            number,
            len: 0,
            octets: 0,
            is_damaged: false,
        });
        self.sweep();
        Ok(())
    }

    pub(super) fn make_spare(&mut self) -> io::Result<()> {
        if self.spare.is_some() {
            return Ok(());
        }
        let number = self.next;
        if number == u32::MAX {
            return Err(io::Error::other("the numbers of its files are used up"));
        }
        self.store.create(number)?;
        self.next = number + 1;
        self.spare = Some(number);
        Ok(())
    }

    /// Lets the oldest segments go until `more` octets may be written; false if the last one alone
    /// is too large.
    pub(super) fn make_room(&mut self, more: u64) -> bool {
        while self.octets + more > self.bound {
            if self.segments.len() < 2 {
                self.begin_full();
                return false;
            }
            self.drop_oldest();
        }
        true
    }

    /// Lets the oldest segment go and counts what was not read of it. What was read and is not
    /// acknowledged is on its way.
    pub(super) fn drop_oldest(&mut self) {
        let Some(front) = self.segments.front().copied() else {
            return;
        };
        self.begin_full();
        self.step_into_next();
        let mut records = 0;
        while self.reader.at().segment == front.number {
            match self.reader.step(&mut self.store, front.len) {
                Step::Data(found) => {
                    let count = u64::from(found.records);
                    records += count;
                    self.note_found(found.end, count, true);
                    let lost = self.lost.domains.entry(found.domain).or_default();
                    *lost = lost.wrapping_add(found.records.into());
                }
                Step::Options(_) => {}
                // What cannot be read cannot be counted.
                _ => break,
            }
        }
        self.lost.records += records;
        if let Some(full) = &mut self.full {
            full.records += records;
        }
        let next = Position {
            segment: front.number + 1,
            offset: 0,
        };
        if self.reader.at() < next {
            self.reader.seek(next);
        }
        self.acknowledge(next);
        self.oldest = self.peek_behind();
    }

    /// When the message that the reader comes to next was written, if that is known cheaply: by the
    /// first of its segment.
    pub(super) fn peek_behind(&mut self) -> Option<u32> {
        let at = self.reader.at();
        let segment = self
            .segments
            .iter()
            .find(|segment| segment.number >= at.segment)?;
        let mut front = [0; crate::wire::ipfix::HEADER_LEN];
        let read = self.store.read_at(segment.number, 0, &mut front).ok()?;
        let [_, _, _, _, a, b, c, d, ..] = front;
        (read == front.len()).then_some(u32::from_be_bytes([a, b, c, d]))
    }
}
