//! The tap: it writes what a bpf listener on pflowN saw, to a savefile or to a client of a socket.
//!
//! ```text
//! export loop --push--> queue, bounded --> thread --> file.rs     cut back to whole records if full
//!                  full: drop, or wait            \-> stream.rs   closed if its reader is gone
//! ```
//! The export loop never waits for a disk or a reader. Only a replay waits, because it must lose
//! nothing. Records that find the queue full are dropped and counted. A record is written whole or
//! not at all. The thread takes all waiting records at once. So under load one system call writes
//! many records, and otherwise each is written as it comes.
//!
//! Left to others: the records (`wire/savefile/write.rs`, `wire/udp.rs`), opening the file, and the
//! log.

mod file;
mod queue;
mod stream;

use std::convert::Infallible;
use std::fs::File;
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TryRecvError, TrySendError, bounded};

use super::transport::WhenFull;
pub(super) use queue::put;
use queue::{Joined, QueueEnd, Tally};

/// Records that may wait to be written; more are dropped, or waited for.
const RECORDS: usize = 1024;

/// What became of a record.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Pushed {
    /// It waits to be written.
    Taken,
    /// No room: it is lost.
    Dropped,
    /// Nothing is written any more: it is lost, and so is all that comes.
    Gone,
}

/// One tap, seen from the export loop.
pub struct Tap {
    name: String,
    when_full: WhenFull,
    /// `None`: it was closed.
    records: Option<Sender<Vec<u8>>>,
    problems: Receiver<String>,
    /// Disconnected when the thread has ended.
    ended: Receiver<Infallible>,
    tally: Arc<Tally>,
    /// Records handed over, whatever became of them.
    pushed: u64,
    /// Records that found no room or no thread.
    dropped: u64,
    /// Records taken and then lost that [`Self::take_failed`] has told of.
    told: u64,
    /// Nobody waits any more for what is not written yet.
    is_given_up: bool,
}

impl Tap {
    /// A tap that writes to `file`, which messages call `name`. If it is a regular file, it is
    /// emptied by [`Self::begin`] or the first record, not before: until then a configuration may
    /// still be refused. It belongs to this tap alone and is not written to by others.
    ///
    /// # Errors
    /// The system refuses the thread, or to tell what `file` is.
    pub fn to_file(file: File, name: &str, when_full: WhenFull) -> io::Result<Self> {
        let sink = file::Sink::new(file)?;
        Self::start(name, when_full, |feed| file::run(sink, feed))
    }

    /// A tap that writes to `stream`, which messages call `name`; it begins at once. A slow reader
    /// loses packets. One that takes nothing for 30 seconds, has closed its end or shut down its
    /// sending half is gone, which shows within about a second; what it sends is thrown away. At
    /// the end the socket is shut down, duplicates of the descriptor included.
    ///
    /// # Errors
    /// The system refuses the thread or the socket's options.
    pub fn to_stream(stream: UnixStream, name: &str) -> io::Result<Self> {
        let limits = stream::Limits::default();
        stream::prepare(&stream, limits)?;
        Self::start(name, WhenFull::Drop, move |feed| {
            stream::run(stream, feed, limits);
        })
    }

    fn start(
        name: &str,
        when_full: WhenFull,
        run: impl FnOnce(QueueEnd) + Send + 'static,
    ) -> io::Result<Self> {
        let (records, to_write) = bounded(RECORDS);
        let (report, problems) = bounded(1);
        let (end, ended) = bounded(0);
        let tally = Arc::new(Tally::default());
        let feed = QueueEnd {
            records: to_write,
            problems: report,
            tally: Arc::clone(&tally),
            batch: Joined::default(),
        };
        std::thread::Builder::new()
            .name("tap".to_owned())
            .spawn(move || {
                run(feed);
                drop(end);
            })?;
        Ok(Self {
            name: name.to_owned(),
            when_full,
            records: Some(records),
            problems,
            ended,
            tally,
            pushed: 0,
            dropped: 0,
            told: 0,
            is_given_up: false,
        })
    }

    /// Has the file header written, without a record yet.
    pub fn begin(&mut self) {
        // With no room for it there are records, whose first will do the same.
        let _ = self.records.as_ref().map(|to| to.try_send(Vec::new()));
    }

    /// Has a savefile's record written, its header included.
    pub fn push(&mut self, record: Vec<u8>) -> Pushed {
        self.pushed += 1;
        let pushed = match (&self.records, self.when_full) {
            (None, _) => Pushed::Gone,
            (Some(records), WhenFull::Drop) => match records.try_send(record) {
                Ok(()) => Pushed::Taken,
                Err(TrySendError::Full(_)) => Pushed::Dropped,
                Err(TrySendError::Disconnected(_)) => Pushed::Gone,
            },
            (Some(records), WhenFull::Wait) => match records.send(record) {
                Ok(()) => Pushed::Taken,
                Err(_) => Pushed::Gone,
            },
        };
        self.dropped += u64::from(pushed != Pushed::Taken);
        pushed
    }

    /// Whether nothing is written any more: the reader is gone, or the file beyond repair.
    pub fn is_gone(&self) -> bool {
        self.ended.try_recv() == Err(TryRecvError::Disconnected)
    }

    /// Why records could not be written, as a line for the log: the first reason since this was
    /// asked last. [`Self::lost`] tells how many. A reader that closes is no problem.
    pub fn take_problem(&mut self) -> Option<String> {
        let problem = self.problems.try_recv().ok()?;
        Some(format!("{}: {problem}", self.name))
    }

    /// Records written so far.
    pub fn written(&self) -> u64 {
        self.tally.written.load(Ordering::Relaxed)
    }

    /// Records lost so far: no room, an error, or no reader any more.
    pub fn lost(&self) -> u64 {
        if self.is_given_up || self.is_gone() {
            // Nothing that waited will be written.
            self.pushed.saturating_sub(self.written())
        } else {
            self.dropped + self.tally.failed.load(Ordering::Relaxed)
        }
    }

    /// Records that were taken and could not be written, since this was asked last.
    pub fn take_failed(&mut self) -> u64 {
        let failed = self.lost().saturating_sub(self.dropped);
        let news = failed.saturating_sub(self.told);
        self.told += news;
        news
    }

    /// Takes no more records. What waits is written meanwhile, and then the tap is gone.
    pub fn close(&mut self) {
        self.records = None;
    }

    /// Has what waits written, for as long as that takes or at most `limit`; how many records were
    /// lost, those included that are not written by then.
    pub fn finish(&mut self, limit: Option<Duration>) -> u64 {
        self.close();
        // Nothing is ever received: it is the end either way, or not in time.
        let _ = match limit {
            Some(limit) => self.ended.recv_timeout(limit).is_err(),
            None => self.ended.recv().is_err(),
        };
        self.is_given_up = true;
        self.lost()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::OwnedFd;

    use super::*;
    use crate::time::Wall;
    use crate::wire::savefile::Savefile;
    use crate::wire::savefile::{FILE_HEADER, write};

    /// A record whose packet tells its number, `len` octets of packet.
    pub(super) fn record(number: usize, len: usize) -> Vec<u8> {
        let mut out = Vec::new();
        let octet = u8::try_from(number % 251).unwrap();
        let stamp = Wall::new(i64::try_from(number).unwrap(), 0);
        write::record(stamp, &vec![octet; len], &mut out);
        out
    }

    /// The numbers and lengths of the records of a file, which must be whole.
    #[track_caller]
    pub(super) fn records(file: &[u8]) -> Vec<(usize, usize)> {
        let mut reader = Savefile::new();
        let mut records = Vec::new();
        let used = reader.scan(file, &mut |frame| {
            let number = usize::try_from(frame.stamp.secs()).unwrap();
            let octets = &file[frame.start..][..frame.captured];
            assert!(
                octets
                    .iter()
                    .all(|octet| usize::from(*octet) == number % 251)
            );
            records.push((number, frame.captured));
        });
        assert_eq!(reader.finish(&file[used.unwrap()..]), Ok(()));
        records
    }

    /// A file that is one end of a pair: what is written to it can be waited for.
    fn watched_file() -> (File, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (File::from(OwnedFd::from(ours)), theirs)
    }

    #[test]
    fn a_record_is_written_while_the_tap_is_open() {
        let (file, mut reader) = watched_file();
        let mut tap = Tap::to_file(file, "watched", WhenFull::Drop).unwrap();
        let mut read = vec![0; FILE_HEADER];
        tap.begin();
        reader.read_exact(&mut read).unwrap();
        assert_eq!(records(&read), []);
        for number in 0..3 {
            assert_eq!(tap.push(record(number, 100)), Pushed::Taken);
            read.resize(read.len() + 116, 0);
            let begin = read.len() - 116;
            reader.read_exact(&mut read[begin..]).unwrap();
        }
        assert_eq!(records(&read), [(0, 100), (1, 100), (2, 100)]);
        assert_eq!(tap.finish(None), 0);
    }

    #[test]
    fn a_full_queue_drops_and_counts_and_what_was_taken_is_written_in_order() {
        let (file, mut reader) = watched_file();
        let mut tap = Tap::to_file(file, "slow", WhenFull::Drop).unwrap();
        let mut taken = Vec::new();
        let mut number = 0;
        // Nobody reads: sooner or later there is no room.
        let mut dropped = 0;
        while dropped < 10 {
            match tap.push(record(number, 2000)) {
                Pushed::Taken => taken.push((number, 2000)),
                Pushed::Dropped => dropped += 1,
                Pushed::Gone => panic!("gone"),
            }
            number += 1;
        }
        assert_eq!(tap.lost(), 10);
        let reading = std::thread::spawn(move || {
            let mut read = Vec::new();
            reader.read_to_end(&mut read).unwrap();
            read
        });
        assert_eq!(tap.finish(None), 10);
        assert_eq!(records(&reading.join().unwrap()), taken);
    }

    #[test]
    fn a_replay_waits_and_loses_nothing() {
        let (file, mut reader) = watched_file();
        let mut tap = Tap::to_file(file, "replay", WhenFull::Wait).unwrap();
        let reading = std::thread::spawn(move || {
            let mut read = Vec::new();
            reader.read_to_end(&mut read).unwrap();
            read
        });
        let count = 10 * RECORDS;
        for number in 0..count {
            assert_eq!(tap.push(record(number, number % 200)), Pushed::Taken);
        }
        assert_eq!(tap.finish(None), 0);
        let want: Vec<_> = (0..count).map(|number| (number, number % 200)).collect();
        assert_eq!(records(&reading.join().unwrap()), want);
    }

    #[test]
    fn the_end_does_not_wait_longer_than_it_is_told() {
        let (file, _reader) = watched_file();
        let mut tap = Tap::to_file(file, "stuck", WhenFull::Drop).unwrap();
        let mut pushed = 0;
        loop {
            pushed += 1;
            if tap.push(record(pushed, 2000)) == Pushed::Dropped {
                break;
            }
        }
        // One found no room, and a socket holds less than what waits.
        let lost = tap.finish(Some(Duration::from_millis(1)));
        assert!(lost > 1, "{lost} of {pushed}");
    }

    #[test]
    fn a_batch_counts_whole_records() {
        let mut batch = Joined::default();
        for record in [&[1; 10][..], &[], &[2; 5], &[3; 1]] {
            batch.add(record);
        }
        assert_eq!(batch.count(), 3);
        let octets: Vec<_> = (0..=3).map(|count| batch.octets_of(count)).collect();
        assert_eq!(octets, [0, 10, 15, 16]);
        let whole: Vec<_> = [0, 9, 10, 14, 15, 16].map(|n| batch.whole_in(n)).to_vec();
        assert_eq!(whole, [0, 0, 1, 1, 2, 3]);
    }
}
