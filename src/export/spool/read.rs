//! How messages are read from a spool, and let go when they are acknowledged.

use std::io;

use super::parts::{READS, Segment, Spool, Unspooled};
use super::reader::{Found, Step};
use super::store::Store;
use crate::export::Outgoing;
use crate::time::{Now, Wall};
use crate::wire::spool::Position;

impl<S: Store> Spool<S> {
    /// Hands on messages, at least `octets` of them if there are so many.
    pub fn read(&mut self, octets: usize, take: &mut dyn FnMut(Unspooled<'_>)) {
        let mut handed = 0;
        while handed < octets && !self.is_held {
            if !self.step_into_next() {
                return;
            }
            let at = self.reader.at().segment;
            let Some(segment) = self.segments.iter_mut().find(|other| other.number == at) else {
                return;
            };
            let problem = match self.reader.step(&mut self.store, segment.len) {
                Step::Options(found) => {
                    take(unspooled(&found, self.reader.octets(&found), false));
                    continue;
                }
                Step::Data(found) => {
                    let (end, records) = (found.end, found.records.into());
                    let is_found = self.note_found(end, records, false);
                    self.read_failures = 0;
                    let octets = self.reader.octets(&found);
                    handed += octets.len();
                    take(unspooled(&found, octets, is_found));
                    continue;
                }
                Step::End => return,
                Step::Failed(error) => {
                    let is_gone = error.kind() == io::ErrorKind::NotFound;
                    if !is_gone && self.read_failures < READS {
                        self.hold_reading(&error);
                        return;
                    }
                    error.to_string()
                }
                Step::Cut { lost } => {
                    self.lost.records += lost;
                    self.lost.found += lost;
                    "it ends within a message".to_owned()
                }
                Step::Damaged(damage) => damage.to_string(),
            };
            self.leave_segment(&problem);
        }
    }

    /// Reads no more for a while.
    pub(super) fn hold_reading(&mut self, error: &io::Error) {
        self.is_held = true;
        if error.kind() != io::ErrorKind::WouldBlock {
            self.read_failures += 1;
            let name = self.store.name_of(self.reader.place().segment);
            self.begin_failing(&name, error);
        }
    }

    /// Goes to the next segment if the reader is at the end of one; whether there is something to
    /// read.
    pub(super) fn step_into_next(&mut self) -> bool {
        loop {
            let at = self.reader.at();
            let mut segments = self.segments.iter();
            let Some(segment) = segments.find(|segment| segment.number >= at.segment) else {
                return false;
            };
            if segment.number > at.segment {
                self.reader.seek(Position {
                    segment: segment.number,
                    offset: 0,
                });
                continue;
            }
            if at.offset < segment.len {
                return true;
            }
            let Some(next) = at.segment.checked_add(1) else {
                return false;
            };
            if segments.next().is_none() {
                return false;
            }
            self.reader.seek(Position {
                segment: next,
                offset: 0,
            });
        }
    }

    /// Goes on behind a segment of which the rest is of no use.
    pub(super) fn leave_segment(&mut self, problem: &str) {
        let place = self.reader.place();
        let is_last = self
            .segments
            .back()
            .is_some_and(|last| last.number == place.segment);
        let mut segments = self.segments.iter_mut();
        let Some(segment) = segments.find(|segment| segment.number == place.segment) else {
            return;
        };
        let rest = segment.octets.saturating_sub(place.offset);
        segment.len = place.offset;
        segment.is_damaged = true;
        if is_last {
            self.writer = None;
        }
        let name = self.store.name_of(place.segment);
        self.lines.push(format!(
            "{name}: offset {}: {problem}; the rest of it, {rest} octets, is not sent",
            place.offset
        ));
        // Nothing of it may be on its way.
        self.sweep();
    }

    /// Notes that records up to `end` have been read or are lost; whether they are an earlier run's
    /// and read for the first time.
    pub(super) fn note_found(&mut self, end: Position, records: u64, is_lost: bool) -> bool {
        let is_found = end.segment < self.own_from && end > self.found_until;
        if is_found {
            self.found_until = end;
            if is_lost {
                self.lost.found += records;
            }
        }
        is_found
    }

    /// Reads again from what is acknowledged on.
    pub fn rewind(&mut self) {
        self.reader.seek(self.acked);
    }

    /// Goes on reading at `to`.
    pub(super) fn skip_to(&mut self, to: Position) {
        self.reader.seek(to);
    }

    /// Notes that the collector's system has all up to `to`, and lets go what is not needed any
    /// more.
    pub fn acknowledge(&mut self, to: Position) {
        if to <= self.acked {
            return;
        }
        self.acked = to;
        self.sweep();
        self.note();
    }

    /// Notes when the oldest message that is not acknowledged was written.
    pub(super) fn set_oldest(&mut self, export_time: u32) {
        self.oldest = Some(export_time);
    }

    pub(super) fn note(&mut self) {
        if let Err(error) = self.store.note(&self.acked.encode()) {
            self.begin_failing("the note of what was sent", &error);
        }
    }

    /// Retires the segments at the front of which all is acknowledged.
    pub(super) fn sweep(&mut self) {
        while let Some(front) = self.segments.front().copied() {
            let is_written = self.writer.is_some() && self.segments.len() == 1;
            let end = Position {
                segment: front.number,
                offset: front.len,
            };
            if self.acked < end || (is_written && self.acked.segment == front.number) {
                break;
            }
            self.retire_front(front);
        }
        if self.is_drained() {
            self.oldest = None;
            self.end_full();
        }
    }

    pub(super) fn retire_front(&mut self, front: Segment) {
        self.segments.pop_front();
        if self.segments.is_empty() {
            self.writer = None;
        }
        self.octets -= front.octets;
        self.retired.push((front.number, front.is_damaged));
        let next = Position {
            segment: front.number + 1,
            offset: 0,
        };
        self.acked = self.acked.max(next);
        if self.reader.at() < self.acked {
            self.reader.seek(self.acked);
        }
    }

    /// Lets go of the segment that is written to if all of it is acknowledged. Then the directory
    /// has no more than a spare.
    pub fn retire(&mut self) {
        if self.is_drained()
            && let Some(front) = self.segments.front().copied()
        {
            self.retire_front(front);
            self.note();
        }
    }
}

/// What was found, to be handed on.
fn unspooled<'a>(found: &Found, octets: &'a [u8], is_found: bool) -> Unspooled<'a> {
    Unspooled {
        message: Outgoing {
            domain: found.domain,
            records: found.records,
            options: found.options,
            at: written_at(found.export_time),
            octets,
        },
        templates: found.templates,
        export_time: found.export_time,
        end: found.end,
        is_found,
    }
}

/// The reading of the clock that a message of the spool tells: it says when it was written.
fn written_at(export_time: u32) -> Now {
    let wall = Wall::new(export_time.into(), 0);
    Now::with_boot(wall, wall)
}
