//! What a spool knows, and what it hands out.

use std::collections::{BTreeMap, VecDeque};
use std::io;

use super::reader::Reader;
use super::writer::Writer;
use crate::export::kept_options::KeptOptions;
use crate::export::{Outgoing, Templates};
use crate::time::Uptime;
use crate::wire::spool::Position;

/// Octets after which a segment is not written to any more: a sixteenth of the spool, at least so
/// many.
pub(super) const MIN_SEGMENT: u64 = 64 << 10;
/// Most octets of a segment. To count the records that are lost with one it is read through, which
/// takes a millisecond.
pub(super) const MAX_SEGMENT: u64 = 1 << 20;
/// Octets that are written at a time.
pub(super) const PIECE: usize = 1 << 16;
/// Reads of a segment that may fail one after the other before the rest of it is given up.
pub(super) const READS: u32 = 10;
/// Seconds without a refusal after which the disk takes what is written again.
const OVER: u32 = 2;

/// A file of the spool.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    pub(super) number: u32,
    /// Octets that make sense, as far as is known.
    pub(super) len: u64,
    /// Octets on the disk.
    pub(super) octets: u64,
    pub(super) is_damaged: bool,
}

/// Something refused that lasts.
#[derive(Debug)]
pub(super) struct Trouble {
    /// Data records that it cost.
    pub(super) records: u64,
    /// When it was met last, seconds since the epoch.
    pub(super) latest: u32,
}

/// A message that is read back.
#[derive(Clone, Copy, Debug)]
pub struct Unspooled<'a> {
    /// The message, without number.
    pub message: Outgoing<'a>,
    /// What its records are described by.
    pub templates: Templates,
    /// When it was written, seconds since the epoch.
    pub export_time: u32,
    /// Where it ends: acknowledged with it.
    pub end: Position,
    /// Whether an earlier run of the program wrote it, and it was not read since.
    pub is_found: bool,
}

/// Data records that are lost: by domain, and how many of them were never counted before.
#[derive(Debug, Default)]
pub(in crate::export) struct Lost {
    pub(in crate::export) domains: BTreeMap<u32, u32>,
    pub(in crate::export) records: u64,
    /// Those of an earlier run among them.
    pub(in crate::export) found: u64,
}

/// Segments, and how far they are read and sent.
#[derive(Debug)]
pub struct Spool<S> {
    pub(super) store: S,
    pub(super) bound: u64,
    /// The oldest first.
    pub(super) segments: VecDeque<Segment>,
    /// Octets of all of them.
    pub(super) octets: u64,
    /// What writes to the last of them.
    pub(super) writer: Option<Writer>,
    /// Options that each of them is told.
    pub(super) options: KeptOptions,
    /// A segment that is made and empty.
    pub(super) spare: Option<u32>,
    /// The number of the next to be made.
    pub(super) next: u32,
    pub(super) acked: Position,
    pub(super) reader: Reader,
    /// From here on this run of the program writes.
    pub(super) own_from: u32,
    /// Up to here what an earlier run wrote has been read.
    pub(super) found_until: Position,
    /// When the oldest message that is not acknowledged was written.
    pub(super) oldest: Option<u32>,
    /// To be removed; damaged ones to be set aside.
    pub(super) retired: Vec<(u32, bool)>,
    /// When what was refused is tried again.
    pub(super) retry: Option<Uptime>,
    pub(super) lost: Lost,
    /// The bound has been met and not all is sent since.
    pub(super) full: Option<Trouble>,
    /// The store refuses to write.
    pub(super) refusing: Option<Trouble>,
    /// The store refuses something else.
    pub(super) failing: bool,
    /// Reading waits for the next try.
    pub(super) is_held: bool,
    /// Reads refused one after the other.
    pub(super) read_failures: u32,
    pub(super) lines: Vec<String>,
    pub(super) buffer: Vec<u8>,
}

impl<S> Spool<S> {
    /// Whether all of it is acknowledged.
    pub fn is_drained(&self) -> bool {
        self.acked >= self.end()
    }

    /// Where it ends.
    pub(super) fn end(&self) -> Position {
        self.segments.back().map_or(self.acked, |last| Position {
            segment: last.number,
            offset: last.len,
        })
    }

    pub(super) fn segment_len(&self) -> u64 {
        (self.bound / 16).clamp(MIN_SEGMENT, MAX_SEGMENT)
    }

    pub(super) fn begin_failing(&mut self, what: &str, error: &io::Error) {
        if error.kind() != io::ErrorKind::WouldBlock && !self.failing {
            self.failing = true;
            self.lines.push(format!("{what}: {error}; tried again"));
        }
    }

    pub(super) fn end_full(&mut self) {
        if let Some(Trouble { records, .. }) = self.full.take() {
            let line = format!("all is sent; {records} records were dropped");
            self.lines.push(line);
        }
    }

    pub(super) fn begin_refusing(&mut self, secs: u32, error: &io::Error) {
        if let Some(refusing) = &mut self.refusing {
            refusing.latest = secs;
        } else {
            self.refusing = Some(Trouble {
                records: 0,
                latest: secs,
            });
            let line = format!("{error}: what the collector does not take is dropped");
            self.lines.push(line);
        }
    }

    /// What fits into the last block of a full disk is no end of it.
    pub(super) fn end_refusing(&mut self, secs: u32) {
        let is_over = |trouble: &mut Trouble| secs >= trouble.latest.saturating_add(OVER);
        if let Some(Trouble { records, .. }) = self.refusing.take_if(is_over) {
            let line = format!("written again; {records} records were dropped");
            self.lines.push(line);
        }
    }

    pub(super) fn begin_full(&mut self) {
        if self.full.is_none() {
            self.full = Some(Trouble {
                records: 0,
                latest: 0,
            });
            let line = format!(
                "full, {} octets: the oldest records are dropped",
                self.octets
            );
            self.lines.push(line);
        }
    }
}
