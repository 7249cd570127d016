//! The thread's side of the queue: records that wait, taken together, and what became of them.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

use crate::wire::link::LinkType;
use crate::wire::savefile::{FILE_HEADER, write};

/// What is written at once, octets, but for the last record of it.
pub(super) const BATCH: usize = 1 << 16;

/// What the thread has counted.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Records written whole.
    pub(super) written: AtomicU64,
    /// Records that could not be written.
    pub(super) failed: AtomicU64,
}

/// The thread's side of the queue.
pub(super) struct QueueEnd {
    pub(super) records: Receiver<Vec<u8>>,
    pub(super) problems: Sender<String>,
    pub(super) tally: Arc<Tally>,
    pub(super) batch: Joined,
}

/// What [`QueueEnd::gather`] came back with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Gathered {
    /// A batch, perhaps empty.
    Batch,
    /// Nothing in time.
    Nothing,
    /// Nothing more will come.
    End,
}

impl QueueEnd {
    /// Waits for a record, for `wait` at most, and takes what else is there.
    pub(super) fn gather(&mut self, wait: Option<Duration>) -> Gathered {
        self.batch.clear();
        let first = match wait {
            None => self.records.recv().map_err(Into::into),
            Some(wait) => self.records.recv_timeout(wait),
        };
        match first {
            Ok(record) => self.batch.add(&record),
            Err(RecvTimeoutError::Timeout) => return Gathered::Nothing,
            Err(RecvTimeoutError::Disconnected) => return Gathered::End,
        }
        while self.batch.octets.len() < BATCH
            && let Ok(record) = self.records.try_recv()
        {
            self.batch.add(&record);
        }
        Gathered::Batch
    }

    pub(super) fn count_written(&self, records: usize) {
        let counter = &self.tally.written;
        counter.fetch_add(records as u64, Ordering::Relaxed);
    }

    pub(super) fn count_failed(&self, records: usize) {
        let counter = &self.tally.failed;
        counter.fetch_add(records as u64, Ordering::Relaxed);
    }

    /// Leaves a problem to be asked for, unless there is one already.
    pub(super) fn report(&self, problem: String) {
        let _ = self.problems.try_send(problem);
    }
}

/// Records one after the other, and where each ends.
#[derive(Clone, Debug, Default)]
pub(super) struct Joined {
    pub(super) octets: Vec<u8>,
    pub(super) ends: Vec<usize>,
}

impl Joined {
    pub(super) fn clear(&mut self) {
        self.octets.clear();
        self.ends.clear();
    }

    pub(super) fn add(&mut self, record: &[u8]) {
        if !record.is_empty() {
            self.octets.extend_from_slice(record);
            self.ends.push(self.octets.len());
        }
    }

    /// How many records there are.
    pub(super) fn count(&self) -> usize {
        self.ends.len()
    }

    /// Octets of the first `count` records.
    pub(super) fn octets_of(&self, count: usize) -> usize {
        let last = count.checked_sub(1).and_then(|last| self.ends.get(last));
        last.copied().unwrap_or(0)
    }

    /// How many records are whole in the first `octets`.
    pub(super) fn whole_in(&self, octets: usize) -> usize {
        self.ends.partition_point(|end| *end <= octets)
    }
}

/// What every savefile and stream begins with.
pub(super) fn header() -> [u8; FILE_HEADER] {
    write::file_header(LinkType::RAW)
}

/// Writes all of `octets`, or tells how many were written before the error.
pub(in crate::io) fn put(out: &mut impl Write, octets: &[u8]) -> (usize, io::Result<()>) {
    let mut put = 0;
    while let Some(rest) = octets.get(put..).filter(|rest| !rest.is_empty()) {
        match out.write(rest) {
            Ok(0) => return (put, Err(io::ErrorKind::WriteZero.into())),
            Ok(written) => put += written,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (put, Err(error)),
        }
    }
    (put, Ok(()))
}
