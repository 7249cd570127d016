//! One turn at a capture's descriptor: it waits a little and then reads, whatever the wait said.
//!
//! Systems do not agree on when a bpf descriptor is readable (bpf(4)):
//!
//! | system | poll(2) says readable |
//! |---|---|
//! | OpenBSD with BIOCSWTIMEOUT | the buffer is full, or its oldest packet has waited so long |
//! | OpenBSD without | the buffer is full; BIOCSRTIMEOUT ends blocking reads only (bpf.c, `filt_bpfread`) |
//! | FreeBSD, NetBSD, DragonFly | the buffer is full, or BIOCSRTIMEOUT is over |
//! | Linux | a block of the ring is full or old enough |
//!
//! On OpenBSD a read that does not block gives what the buffer holds, full or not (`bpfread`). So
//! the wait decides only how soon packets are read. No packet depends on its result.

#[cfg(any(test, target_os = "openbsd"))]
use std::io;
use std::time::Duration;

/// How long the kernel may hold packets back, in milliseconds. On Linux a longer time makes the
/// buffer last longer (see `live`), and the kernel's timer adds a few milliseconds.
pub(super) const BUFFER_MS: i32 = if cfg!(target_os = "linux") { 40 } else { 20 };

/// Longest wait of a turn on a BSD. Packets may wait so long, and they must not wait 50 ms.
const LONGEST_TURN_BSD: Duration = Duration::from_millis(40);
/// Longest wait of a turn on Linux, where poll(2) reports packets in time. The wait ends only so
/// that the thread can see a request to stop.
const LONGEST_TURN_LINUX: Duration = Duration::from_millis(200);
/// Longest wait of a turn here.
pub(super) const LONGEST_TURN: Duration = if cfg!(target_os = "linux") {
    LONGEST_TURN_LINUX
} else {
    LONGEST_TURN_BSD
};

/// Waits by `wait` for at most `longest`, then reads by `read`. `None`: there was nothing to read.
///
/// # Errors
/// What `wait` or `read` reports. That there is nothing to read is no error.
#[cfg(any(test, target_os = "openbsd"))] // elsewhere libpcap reads
pub(super) fn take<T>(
    longest: Duration,
    wait: impl FnOnce(Duration) -> io::Result<bool>,
    read: impl FnOnce() -> io::Result<T>,
) -> io::Result<Option<T>> {
    wait(longest)?;
    match read() {
        Ok(read) => Ok(Some(read)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: usize = 32768;
    const PACKET: usize = 300;

    /// Stands in for a system's descriptor, with a clock of its own.
    struct StandIn {
        now: Duration,
        /// The times at which packets come, the next one last.
        coming: Vec<Duration>,
        /// The times at which the packets in the buffer came.
        held: Vec<Duration>,
        /// After how long the oldest packet makes the descriptor readable, if ever.
        write_timeout: Option<Duration>,
        /// How long each packet waited that was read.
        waited: Vec<Duration>,
    }

    impl StandIn {
        fn new(coming: &[u64], write_timeout: Option<Duration>) -> Self {
            let mut coming: Vec<_> = coming.iter().copied().map(Duration::from_millis).collect();
            coming.reverse();
            Self {
                now: Duration::ZERO,
                coming,
                held: Vec::new(),
                write_timeout,
                waited: Vec::new(),
            }
        }

        fn is_readable(&self) -> bool {
            let is_old = |oldest: &Duration| {
                let timeout = self.write_timeout;
                timeout.is_some_and(|timeout| self.now - *oldest >= timeout)
            };
            self.held.len() * PACKET >= FULL || self.held.first().is_some_and(is_old)
        }

        /// poll(2): a millisecond at a time.
        fn wait(&mut self, longest: Duration) -> bool {
            let end = self.now + longest;
            while !self.is_readable() && self.now < end {
                self.now += Duration::from_millis(1);
                while self.coming.last().is_some_and(|next| *next <= self.now) {
                    self.held.extend(self.coming.pop());
                }
            }
            self.is_readable()
        }

        /// read(2) that does not block.
        fn read(&mut self) -> io::Result<usize> {
            if self.held.is_empty() {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let now = self.now;
            let read = self.held.len();
            self.waited
                .extend(self.held.drain(..).map(|came| now - came));
            Ok(read)
        }

        /// Makes turns until a second after the last packet. Returns the longest wait of a packet.
        fn run(mut self) -> Option<Duration> {
            let sent = self.coming.len();
            let end = self.coming[0] + Duration::from_secs(1);
            let mut turns = 0;
            while self.now < end {
                let this = std::cell::RefCell::new(&mut self);
                take(
                    LONGEST_TURN_BSD,
                    |longest| Ok(this.borrow_mut().wait(longest)),
                    || this.borrow_mut().read(),
                )
                .unwrap();
                turns += 1;
                assert!(turns < 10_000, "it spins");
            }
            (self.waited.len() == sent).then(|| self.waited.into_iter().max().unwrap())
        }
    }

    #[test]
    fn a_lone_packet_is_read_in_time_where_only_a_full_buffer_is_readable() {
        for timeout in [None, Some(Duration::from_millis(20))] {
            let waited = StandIn::new(&[5, 1000, 1001, 2500], timeout).run();
            let waited = waited.expect("packets stay in the kernel");
            assert!(
                waited <= Duration::from_millis(50),
                "{timeout:?} {waited:?}"
            );
        }
    }

    #[test]
    fn nothing_to_read_and_a_signal_are_no_errors() {
        for kind in [io::ErrorKind::WouldBlock, io::ErrorKind::Interrupted] {
            let taken = take(
                Duration::ZERO,
                |_| Ok(true),
                || -> io::Result<usize> { Err(kind.into()) },
            );
            assert_eq!(taken.unwrap(), None);
        }
        let taken = take(
            Duration::ZERO,
            |_| Ok(false),
            || -> io::Result<usize> { Err(io::ErrorKind::NotConnected.into()) },
        );
        assert!(taken.is_err(), "a device that has gone");
    }
}
