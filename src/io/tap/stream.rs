//! A tap into a socket, for whoever asked for it.

use std::io;
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use socket2::SockRef;

use super::queue::{Gathered, QueueEnd, header, put};

/// Reads of [`READ`] octets at a time to throw away what a reader sends.
const READS: usize = 16;
const READ: usize = 512;
/// Times [`READS`] at the end: more than a socket holds.
const LAST_LOOKS: usize = 1024;

/// How long what is waited for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// A reader that takes nothing for so long is gone.
    pub(super) patience: Duration,
    /// How often it is looked whether the reader is there while there is nothing to write.
    pub(super) look: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            patience: Duration::from_secs(30),
            look: Duration::from_secs(1),
        }
    }
}

/// Has writes to `stream` wait for its reader, but not for ever.
///
/// # Errors
/// What the system reports.
pub(super) fn prepare(stream: &UnixStream, limits: Limits) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_write_timeout(Some(limits.patience))
}

/// The thread: writes until the tap is closed or the reader is gone.
pub(super) fn run(mut stream: UnixStream, mut feed: QueueEnd, limits: Limits) {
    let (_, mut outcome) = put(&mut stream, &header());
    while outcome.is_ok() {
        match feed.gather(Some(limits.look)) {
            Gathered::Batch => {
                let put = put(&mut stream, &feed.batch.octets);
                let whole = feed.batch.whole_in(put.0);
                feed.count_written(whole);
                feed.count_failed(feed.batch.count() - whole);
                outcome = put.1;
            }
            Gathered::Nothing if is_gone(&stream) => break,
            Gathered::Nothing => {}
            Gathered::End => break,
        }
    }
    match outcome {
        Err(error) if is_timeout(&error) => {
            let seconds = limits.patience.as_secs();
            feed.report(format!("its reader took nothing for {seconds} seconds"));
        }
        Err(error) if !is_closed(&error) => feed.report(error.to_string()),
        _ => {}
    }
    // It may be shut down already. If octets of the reader were left unread, some systems would
    // report a reset to it where the stream ends; no more can come now.
    let _ = stream.shutdown(Shutdown::Both);
    let _ = (0..LAST_LOOKS).any(|_| is_gone(&stream));
}

/// A write timeout, as the systems report it.
fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}

/// The reader closed its end.
fn is_closed(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
    )
}

/// Whether the reader has closed its end. What it has sent stands before that, and is thrown away.
fn is_gone(stream: &UnixStream) -> bool {
    let socket = SockRef::from(stream);
    let mut octets = [MaybeUninit::uninit(); READ];
    for _ in 0..READS {
        match socket.recv_with_flags(&mut octets, libc::MSG_DONTWAIT) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => {
                return !is_timeout(&error) && error.kind() != io::ErrorKind::Interrupted;
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::super::tests::{record, records};
    use super::super::{Pushed, RECORDS, Tap};
    use super::*;
    use crate::io::transport::WhenFull;

    /// Waits for nothing that a test would have to wait for.
    const SHORT: Limits = Limits {
        patience: Duration::from_millis(20),
        look: Duration::from_millis(1),
    };

    fn pair(limits: Limits) -> (Tap, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        prepare(&ours, limits).unwrap();
        let run = move |feed| run(ours, feed, limits);
        (Tap::start("client", WhenFull::Wait, run).unwrap(), theirs)
    }

    fn read_all(mut stream: UnixStream) -> std::thread::JoinHandle<Vec<u8>> {
        std::thread::spawn(move || {
            let mut read = Vec::new();
            stream.read_to_end(&mut read).unwrap();
            read
        })
    }

    #[test]
    fn a_stream_begins_at_once_and_each_record_comes_as_it_is_pushed() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        // As the control socket's are.
        ours.set_nonblocking(true).unwrap();
        let mut tap = Tap::to_stream(ours, "client").unwrap();
        let mut read = vec![0; 24];
        theirs.read_exact(&mut read).unwrap();
        for number in 0..3 {
            assert_eq!(tap.push(record(number, 100)), Pushed::Taken);
            let mut octets = [0; 116];
            theirs.read_exact(&mut octets).unwrap();
            read.extend(octets);
        }
        assert_eq!(tap.finish(None), 0);
        theirs.read_to_end(&mut read).unwrap();
        assert_eq!(records(&read), [(0, 100), (1, 100), (2, 100)]);
    }

    #[test]
    fn a_slow_reader_loses_packets_and_the_rest_is_in_order() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut tap = Tap::to_stream(ours, "client").unwrap();
        let (mut taken, mut dropped) = (Vec::new(), 0);
        for number in 0.. {
            match tap.push(record(number, 2000)) {
                Pushed::Taken => taken.push((number, 2000)),
                Pushed::Dropped => dropped += 1,
                Pushed::Gone => panic!("gone"),
            }
            if dropped == 10 {
                break;
            }
        }
        assert!(taken.len() >= RECORDS);
        assert_eq!(tap.lost(), 10);
        let reading = read_all(theirs);
        assert_eq!(tap.finish(None), 10);
        assert_eq!(records(&reading.join().unwrap()), taken);
    }

    #[test]
    fn a_reader_that_closed_is_noticed_without_a_record() {
        let (mut tap, theirs) = pair(SHORT);
        drop(theirs);
        assert!(tap.ended.recv().is_err());
        assert_eq!(tap.push(record(1, 5)), Pushed::Gone);
        assert_eq!((tap.take_problem(), tap.lost()), (None, 1));
        assert_eq!(tap.finish(None), 1);
    }

    #[test]
    fn a_reader_that_closed_behind_octets_it_sent_is_noticed() {
        let (tap, mut theirs) = pair(SHORT);
        theirs.write_all(&[b'x'; 20_000]).unwrap();
        drop(theirs);
        assert!(tap.ended.recv().is_err());
        assert!(tap.is_gone());
    }

    #[test]
    fn a_reader_that_only_sends_is_kept() {
        let (mut tap, mut theirs) = pair(SHORT);
        // More than the socket holds: it is read, or this would not come to an end.
        theirs.write_all(&[b'x'; 2_000_000]).unwrap();
        assert_eq!(tap.push(record(1, 5)), Pushed::Taken);
        let reading = read_all(theirs);
        assert_eq!(tap.finish(None), 0);
        assert_eq!(records(&reading.join().unwrap()), [(1, 5)]);
    }

    #[test]
    fn a_reader_that_closes_under_load_is_gone_and_all_is_counted() {
        let limits = Limits {
            patience: Duration::from_secs(3600),
            look: Duration::from_secs(3600),
        };
        let (mut tap, mut theirs) = pair(limits);
        let mut read = [0; 24 + 116];
        assert_eq!(tap.push(record(0, 100)), Pushed::Taken);
        theirs.read_exact(&mut read).unwrap();
        drop(theirs);
        let mut pushed = 1;
        while tap.push(record(1, 2000)) == Pushed::Taken {
            pushed += 1;
        }
        assert!(tap.ended.recv().is_err());
        assert_eq!((tap.written(), tap.lost()), (1, pushed));
        assert_eq!(tap.take_problem(), None);
    }

    #[test]
    fn a_reader_that_takes_nothing_is_closed() {
        let (mut tap, mut theirs) = pair(SHORT);
        while tap.push(record(1, 2000)) == Pushed::Taken {}
        let problem = tap.take_problem().unwrap();
        assert_eq!(problem, "client: its reader took nothing for 0 seconds");
        // What it did not take before is there still, and then the end.
        let mut read = Vec::new();
        theirs.read_to_end(&mut read).unwrap();
        assert!(read.len() > 24);
    }
}
