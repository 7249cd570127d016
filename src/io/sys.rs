//! The only `unsafe` of the crate: system calls that std and the crates in use do not wrap.

#![expect(unsafe_code, reason = "system calls; each block says why it holds")]

use std::ffi::CString;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::time::Duration;

/// The clock that counts from boot, sleep included where the system has one that does.
#[cfg(any(target_os = "linux", target_os = "openbsd"))]
const BOOT_CLOCK: libc::clockid_t = libc::CLOCK_BOOTTIME;
/// FreeBSD, NetBSD and DragonFly: CLOCK_MONOTONIC counts from boot.
#[cfg(not(any(target_os = "linux", target_os = "openbsd")))]
const BOOT_CLOCK: libc::clockid_t = libc::CLOCK_MONOTONIC;

fn read_clock(clock: libc::clockid_t) -> (i64, u32) {
    let mut time = MaybeUninit::<libc::timespec>::uninit();
    // SAFETY: `time` is a timespec that clock_gettime fills; it is read only if the call succeeded.
    let time = unsafe {
        if libc::clock_gettime(clock, time.as_mut_ptr()) != 0 {
            return (0, 0);
        }
        time.assume_init()
    };
    #[allow(
        clippy::useless_conversion,
        reason = "time_t is narrower on some systems"
    )]
    (
        i64::from(time.tv_sec),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}

/// Seconds and nanoseconds since this host came up.
pub(super) fn since_boot() -> (i64, u32) {
    read_clock(BOOT_CLOCK)
}

/// Seconds and nanoseconds since the epoch.
pub(super) fn since_epoch() -> (i64, u32) {
    read_clock(libc::CLOCK_REALTIME)
}

/// Processor time that this process used.
pub fn process_cpu() -> Duration {
    let (secs, nanos) = read_clock(libc::CLOCK_PROCESS_CPUTIME_ID);
    Duration::new(u64::try_from(secs).unwrap_or(0), nanos)
}

/// What to wait for on a descriptor, and what came.
#[repr(transparent)]
pub(super) struct Polled(libc::pollfd);

impl Polled {
    /// Waits for `fd` to be readable or writable, or neither: an error or a hangup always counts.
    pub(super) fn new(fd: &impl AsRawFd, read: bool, write: bool) -> Self {
        let read = if read { libc::POLLIN } else { 0 };
        let write = if write { libc::POLLOUT } else { 0 };
        Self(libc::pollfd {
            fd: fd.as_raw_fd(),
            events: read | write,
            revents: 0,
        })
    }

    /// Whether it can be read, if only to see its end.
    pub(super) fn is_readable(&self) -> bool {
        self.0.revents & libc::POLLIN != 0
    }

    /// Whether it can be written.
    pub(super) fn is_writable(&self) -> bool {
        self.0.revents & libc::POLLOUT != 0
    }

    /// Whether nobody is at the other end any more, or the descriptor is not good.
    pub(super) fn is_dead(&self) -> bool {
        self.0.revents & (libc::POLLHUP | libc::POLLERR | libc::POLLNVAL) != 0
    }
}

/// Processor time that this thread used.
pub fn thread_cpu() -> Duration {
    let (secs, nanos) = read_clock(libc::CLOCK_THREAD_CPUTIME_ID);
    Duration::new(u64::try_from(secs).unwrap_or(0), nanos)
}

/// Waits until something comes on one of `polled` or `timeout` is over; how many have something.
///
/// # Errors
/// What poll(2) reports.
pub(super) fn poll(polled: &mut [Polled], timeout: Duration) -> io::Result<usize> {
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

/// Waits until `fd` can be read or `timeout` is over; true if it can be.
///
/// # Errors
/// What poll(2) reports.
pub(super) fn wait_readable(fd: &impl AsRawFd, timeout: Duration) -> io::Result<bool> {
    Ok(poll(&mut [Polled::new(fd, true, false)], timeout)? > 0)
}

/// The index of interface `name`.
///
/// # Errors
/// No such interface.
pub(super) fn interface_index(name: &str) -> io::Result<u32> {
    let name = CString::new(name)?;
    // SAFETY: a NUL-terminated string that outlives the call.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => Err(io::Error::last_os_error()),
        index => Ok(index),
    }
}

/// Reads a bpf device: `buffer` is cut to just the size that bpf insists on (BIOCGBLEN).
///
/// # Errors
/// What read(2) or ioctl(2) reports.
#[cfg(target_os = "openbsd")]
pub(super) fn read_bpf(fd: &impl AsRawFd, buffer: &mut [u8]) -> io::Result<usize> {
    /// `_IOR('B', 102, u_int)` of net/bpf.h.
    const BIOCGBLEN: libc::c_ulong = 0x4004_4266;
    let mut len: libc::c_uint = 0;
    // SAFETY: BIOCGBLEN writes one u_int.
    if unsafe { libc::ioctl(fd.as_raw_fd(), BIOCGBLEN, &raw mut len) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let len = usize::try_from(len).unwrap_or(usize::MAX);
    let buffer = buffer.get_mut(..len).ok_or(io::ErrorKind::InvalidInput)?;
    // SAFETY: the kernel writes at most `len` octets into a buffer of that length.
    let read = unsafe { libc::read(fd.as_raw_fd(), buffer.as_mut_ptr().cast(), len) };
    usize::try_from(read).map_err(|_| io::Error::last_os_error())
}
