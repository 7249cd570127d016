//! A tap into a file. The file holds only whole records, even if the disk fails.
//!
//! After a failed write the file is cut back to its last whole record. The failed record is lost,
//! and the next one is tried. So the file goes on when the disk has room again.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};

use super::queue::{Gathered, Joined, QueueEnd, header, put};
use crate::io::sys;

/// Cuts a file to a length and goes on writing there.
type Cut<W> = fn(&mut W, u64) -> io::Result<()>;

/// A file and how far it is whole.
pub(super) struct Sink<W> {
    out: W,
    /// `None`: what is written stays written, as in a pipe.
    cut: Option<Cut<W>>,
    /// Octets of the file header and of the records behind it.
    whole: u64,
    is_begun: bool,
}

/// What an error costs.
enum Failure {
    /// A record; what is in the file is whole.
    Record(io::Error),
    /// Everything: a part of a record stays in the file.
    Sink(io::Error),
}

impl Sink<File> {
    /// # Errors
    /// The system does not tell what `file` is.
    pub(super) fn new(file: File) -> io::Result<Self> {
        let cut: Cut<File> = |file, len| {
            file.set_len(len)?;
            file.seek(SeekFrom::Start(len)).map(drop)
        };
        let cut = sys::regular_len(&file)?.map(|_| cut);
        Ok(Self {
            out: file,
            cut,
            whole: 0,
            is_begun: false,
        })
    }
}

impl<W: Write> Sink<W> {
    /// Writes what can be written of a batch and counts all of it.
    ///
    /// # Errors
    /// Nothing can be written any more.
    fn write(&mut self, batch: &Joined, feed: &QueueEnd) -> io::Result<()> {
        // Records that are written or lost.
        let mut done = 0;
        loop {
            let before = done;
            let outcome = self.records(batch, &mut done);
            feed.count_written(done - before);
            match outcome {
                Ok(()) => return Ok(()),
                Err(Failure::Sink(error)) => {
                    feed.count_failed(batch.count() - done);
                    return Err(error);
                }
                Err(Failure::Record(error)) => feed.report(error.to_string()),
            }
            if done < batch.count() {
                feed.count_failed(1);
                done += 1;
            }
            if done == batch.count() {
                return Ok(());
            }
        }
    }

    /// Writes the records behind the first `done`, which it moves behind those that are written.
    fn records(&mut self, batch: &Joined, done: &mut usize) -> Result<(), Failure> {
        self.begin()?;
        let begin = batch.octets_of(*done);
        let octets = batch.octets.get(begin..).unwrap_or_default();
        let (put, outcome) = put(&mut self.out, octets);
        *done = batch.whole_in(begin + put);
        let whole = batch.octets_of(*done);
        self.whole += (whole - begin) as u64;
        outcome.map_err(|error| self.cut_back(begin + put - whole, error))
    }

    /// Empties the file and writes its header, if that is not done yet.
    fn begin(&mut self) -> Result<(), Failure> {
        if self.is_begun {
            return Ok(());
        }
        if let Some(cut) = self.cut {
            cut(&mut self.out, 0).map_err(Failure::Sink)?;
        }
        let header = header();
        let (put, outcome) = put(&mut self.out, &header);
        outcome.map_err(|error| self.cut_back(put, error))?;
        self.whole = header.len() as u64;
        self.is_begun = true;
        Ok(())
    }

    /// Takes `stray` octets that are not whole back from the end of the file.
    fn cut_back(&mut self, stray: usize, error: io::Error) -> Failure {
        let outcome = match self.cut {
            _ if stray == 0 => Ok(()),
            Some(cut) => cut(&mut self.out, self.whole),
            None => Err(io::ErrorKind::Unsupported.into()),
        };
        match outcome {
            Ok(()) => Failure::Record(error),
            Err(cut) => Failure::Sink(io::Error::new(
                error.kind(),
                format!("{error}, and what was written of a packet cannot be cut off: {cut}"),
            )),
        }
    }
}

/// The thread: writes to `sink` until the tap is closed, or nothing can be written any more.
pub(super) fn run<W: Write>(mut sink: Sink<W>, mut feed: QueueEnd) {
    while feed.gather(None) == Gathered::Batch {
        let batch = std::mem::take(&mut feed.batch);
        if let Err(error) = sink.write(&batch, &feed) {
            feed.report(error.to_string());
            return;
        }
        feed.batch = batch;
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use crossbeam_channel::{Receiver, bounded};
    use proptest::prelude::*;

    use super::super::queue::{BATCH, Tally};
    use super::super::tests::{record, records};
    use super::super::{Pushed, RECORDS, Tap};
    use super::*;
    use crate::io::transport::WhenFull;

    /// A file on a disk of its own.
    #[derive(Default)]
    struct Disk {
        file: Vec<u8>,
        size: usize,
    }

    impl Write for Disk {
        /// As much as there is room for; not more than 700 octets, as a system may.
        fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
            match octets.len().min(self.size.saturating_sub(self.file.len())) {
                0 => Err(io::ErrorKind::StorageFull.into()),
                room => {
                    let room = room.min(700);
                    self.file.extend_from_slice(&octets[..room]);
                    Ok(room)
                }
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn sink(size: usize) -> Sink<Disk> {
        Sink {
            out: Disk { file: vec![], size },
            cut: Some(|disk, len| {
                disk.file.truncate(usize::try_from(len).unwrap());
                Ok(())
            }),
            whole: 0,
            is_begun: false,
        }
    }

    fn feed() -> (QueueEnd, Receiver<String>) {
        let (problems, reported) = bounded(1);
        let feed = QueueEnd {
            records: bounded(1).1,
            problems,
            tally: Arc::new(Tally::default()),
            batch: Joined::default(),
        };
        (feed, reported)
    }

    fn counts(feed: &QueueEnd) -> (u64, u64) {
        let Tally { written, failed } = &*feed.tally;
        (
            written.load(Ordering::Relaxed),
            failed.load(Ordering::Relaxed),
        )
    }

    fn batch(of: &[(usize, usize)]) -> Joined {
        let mut batch = Joined::default();
        for (number, len) in of {
            batch.add(&record(*number, *len));
        }
        batch
    }

    #[test]
    fn a_full_disk_costs_the_records_that_do_not_fit_and_the_file_goes_on_when_there_is_room() {
        let (feed, reported) = feed();
        // The header, two records of 84 + 16 octets, and half of one.
        let mut sink = sink(24 + 250);
        sink.write(&batch(&[(1, 84), (2, 84), (3, 84), (4, 84), (5, 9)]), &feed)
            .unwrap();
        assert_eq!(records(&sink.out.file), [(1, 84), (2, 84), (5, 9)]);
        assert_eq!(counts(&feed), (3, 2));
        assert!(reported.try_recv().is_ok());
        sink.write(&batch(&[(6, 84)]), &feed).unwrap();
        assert_eq!(counts(&feed), (3, 3));
        sink.out.size = 10_000;
        sink.write(&batch(&[(7, 84), (8, 2000)]), &feed).unwrap();
        let want = [(1, 84), (2, 84), (5, 9), (7, 84), (8, 2000)];
        assert_eq!(records(&sink.out.file), want);
        assert_eq!(counts(&feed), (5, 3));
    }

    #[test]
    fn a_header_that_did_not_fit_is_written_before_the_first_record_that_does() {
        let (feed, reported) = feed();
        let mut sink = sink(10);
        sink.write(&Joined::default(), &feed).unwrap();
        assert_eq!((counts(&feed), reported.len()), ((0, 0), 1));
        sink.write(&batch(&[(1, 5)]), &feed).unwrap();
        assert_eq!((counts(&feed), sink.out.file.len()), ((0, 1), 0));
        sink.out.size = 1000;
        sink.write(&batch(&[(2, 5)]), &feed).unwrap();
        assert_eq!(records(&sink.out.file), [(2, 5)]);
    }

    #[test]
    fn where_nothing_can_be_cut_off_a_part_of_a_record_is_the_end_and_nothing_of_one_is_not() {
        let (feed, _reported) = feed();
        let mut sink = sink(24 + 25);
        sink.cut = None;
        sink.write(&batch(&[(1, 9), (2, 9)]), &feed).unwrap();
        assert_eq!(counts(&feed), (1, 1));
        sink.out.size += 5;
        let error = sink.write(&batch(&[(3, 9), (4, 9)]), &feed).unwrap_err();
        assert!(error.to_string().contains("cannot be cut off"), "{error}");
        assert_eq!(counts(&feed), (1, 3));
    }

    proptest! {
        #[test]
        fn the_file_is_whole_after_every_batch_and_every_record_counted(
            turns in prop::collection::vec(
                (0..600_usize, prop::collection::vec(0..300_usize, 0..8)),
                1..20,
            ),
        ) {
            let (feed, _reported) = feed();
            let mut sink = sink(0);
            let mut number = 0;
            for (room, lens) in turns {
                sink.out.size += room;
                let pushed: Vec<_> = lens.iter().map(|len| {
                    number += 1;
                    (number, *len)
                }).collect();
                let before = counts(&feed);
                let there = sink.whole;
                sink.write(&batch(&pushed), &feed).unwrap();
                let (written, failed) = counts(&feed);
                let count = pushed.len() as u64;
                prop_assert_eq!(written - before.0 + failed - before.1, count);
                prop_assert_eq!(sink.out.file.len() as u64, sink.whole);
                prop_assert!(sink.whole >= there);
                if sink.is_begun {
                    let records = records(&sink.out.file);
                    prop_assert_eq!(records.len() as u64, written);
                    prop_assert!(records.is_sorted());
                }
            }
        }
    }

    /// A path of this test alone.
    fn path() -> PathBuf {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        std::env::temp_dir().join(format!("pflow-tap-{}-{number}", std::process::id()))
    }

    fn open(path: &PathBuf) -> File {
        let mut options = File::options();
        options.write(true).create(true).truncate(false);
        options.open(path).unwrap()
    }

    #[test]
    fn a_file_stays_as_it_was_until_the_tap_begins() {
        let path = path();
        std::fs::write(&path, [7; 1000]).unwrap();
        let mut tap = Tap::to_file(open(&path), "file", WhenFull::Drop).unwrap();
        assert_eq!(tap.finish(None), 0);
        assert_eq!(std::fs::read(&path).unwrap(), [7; 1000]);
        let mut tap = Tap::to_file(open(&path), "file", WhenFull::Drop).unwrap();
        tap.begin();
        assert_eq!(tap.finish(None), 0);
        assert_eq!(records(&std::fs::read(&path).unwrap()), []);
        std::fs::write(&path, [7; 1000]).unwrap();
        let mut tap = Tap::to_file(open(&path), "file", WhenFull::Drop).unwrap();
        assert_eq!(tap.push(record(1, 5)), Pushed::Taken);
        assert_eq!((tap.take_problem(), tap.finish(None)), (None, 0));
        assert_eq!(records(&std::fs::read(&path).unwrap()), [(1, 5)]);
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_regular_file_can_be_cut_back_and_goes_on_there() {
        let path = path();
        let (feed, _reported) = feed();
        let mut sink = Sink::new(open(&path)).unwrap();
        sink.write(&batch(&[(1, 5)]), &feed).unwrap();
        // What a write leaves that fails half way.
        sink.out.write_all(&record(2, 50)[..30]).unwrap();
        let error = io::ErrorKind::StorageFull.into();
        assert!(matches!(sink.cut_back(30, error), Failure::Record(_)));
        sink.write(&batch(&[(3, 5)]), &feed).unwrap();
        assert_eq!(records(&std::fs::read(&path).unwrap()), [(1, 5), (3, 5)]);
        std::fs::remove_file(&path).unwrap();
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_device_that_is_full_loses_every_record_and_says_why() {
        let mut options = File::options();
        let full = options.write(true).open("/dev/full").unwrap();
        let mut tap = Tap::to_file(full, "/dev/full", WhenFull::Wait).unwrap();
        for number in 0..3000 {
            assert_eq!(tap.push(record(number, 100)), Pushed::Taken);
        }
        // The queue holds a third of them, and the thread a batch: an error was seen.
        let problem = tap.take_problem().unwrap();
        assert!(problem.starts_with("/dev/full: No space left"), "{problem}");
        assert!(!tap.is_gone());
        // Each is told of once.
        let failed = tap.take_failed();
        let waiting = RECORDS + BATCH / record(0, 100).len() + 1;
        assert!(failed >= 3000 - waiting as u64, "{failed}");
        assert!(failed + tap.take_failed() <= 3000);
        assert_eq!(tap.finish(None), 3000);
    }
}
