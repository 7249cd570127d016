//! Waiting for descriptors, and for what is short for a moment.

use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

/// What to wait for on a descriptor, and what came.
#[repr(transparent)]
pub(in crate::io) struct Polled(libc::pollfd);

impl Polled {
    /// Waits for `fd` to be readable or writable, or neither: an error or a hangup always counts.
    pub(in crate::io) fn new(fd: &impl AsRawFd, read: bool, write: bool) -> Self {
        let read = if read { libc::POLLIN } else { 0 };
        let write = if write { libc::POLLOUT } else { 0 };
        Self(libc::pollfd {
            fd: fd.as_raw_fd(),
            events: read | write,
            revents: 0,
        })
    }

    /// Whether it can be read, if only to see its end.
    pub(in crate::io) fn is_readable(&self) -> bool {
        self.0.revents & libc::POLLIN != 0
    }

    /// Whether it can be written.
    pub(in crate::io) fn is_writable(&self) -> bool {
        self.0.revents & libc::POLLOUT != 0
    }

    /// Whether nobody is at the other end any more, or the descriptor is not good.
    pub(in crate::io) fn is_dead(&self) -> bool {
        self.0.revents & (libc::POLLHUP | libc::POLLERR | libc::POLLNVAL) != 0
    }
}

/// Waits until something comes on one of `polled` or `timeout` is over; how many have something.
///
/// # Errors
/// What poll(2) reports.
pub(in crate::io) fn poll(polled: &mut [Polled], timeout: Duration) -> io::Result<usize> {
    let millis = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    let count = libc::nfds_t::try_from(polled.len()).unwrap_or(0);
    // SAFETY: Polled is a pollfd and nothing else (repr(transparent)), there are `count` of them,
    // and the kernel writes their `revents`.
    let ready = unsafe { libc::poll(polled.as_mut_ptr().cast(), count, millis) };
    match usize::try_from(ready) {
        Ok(ready) => Ok(ready),
        Err(_) => match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::Interrupted => Ok(0),
            error => Err(error),
        },
    }
}

/// How long to let be what has just failed and may work in a moment.
const PAUSE: Duration = Duration::from_millis(20);

/// Waits a moment, because what failed would fail at once again.
pub fn pause() {
    std::thread::sleep(PAUSE);
}

/// Whether a call failed for want of something that may be there in a moment.
pub(in crate::io) fn is_passing(error: &io::Error) -> bool {
    let passing = [
        libc::EINTR,
        libc::EAGAIN,
        libc::ENOMEM,
        libc::ENOBUFS,
        libc::EMFILE,
        libc::ENFILE,
    ];
    error
        .raw_os_error()
        .is_some_and(|code| passing.contains(&code))
}

/// [`poll`] for descriptors that do not block. If it fails for want of memory this waits a moment
/// and gives `None`: nothing is known, and every descriptor is to be looked at.
///
/// # Errors
/// What poll(2) reports and will report again.
pub(in crate::io) fn poll_or_pause(
    polled: &mut [Polled],
    timeout: Duration,
) -> io::Result<Option<usize>> {
    match poll(polled, timeout) {
        Ok(ready) => Ok(Some(ready)),
        Err(error) if is_passing(&error) => {
            pause();
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Waits until `fd` can be read or `timeout` is over; true if it can be. For want of memory it waits
/// a moment, and does not know.
///
/// # Errors
/// What poll(2) reports and will report again.
pub(in crate::io) fn wait_readable(fd: &impl AsRawFd, timeout: Duration) -> io::Result<bool> {
    let ready = poll_or_pause(&mut [Polled::new(fd, true, false)], timeout)?;
    Ok(matches!(ready, Some(1..)))
}
