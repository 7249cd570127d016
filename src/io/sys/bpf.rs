//! What the bpf(4) of the BSDs is asked and told.

use std::io;
use std::os::fd::AsRawFd;

use super::outcome;

/// The size of a bpf device's buffer, which on OpenBSD is also what each read must ask for. Asked
/// before pledge(2), which refuses it.
///
/// # Errors
/// What ioctl(2) reports.
#[cfg(not(target_os = "linux"))]
pub(in crate::io) fn bpf_buffer_len(fd: &impl AsRawFd) -> io::Result<usize> {
    /// `_IOR('B', 102, u_int)` of net/bpf.h, the same on all BSDs.
    const BIOCGBLEN: libc::c_ulong = 0x4004_4266;
    let mut len: libc::c_uint = 0;
    // SAFETY: BIOCGBLEN writes one u_int.
    outcome(unsafe { libc::ioctl(fd.as_raw_fd(), BIOCGBLEN, &raw mut len) })?;
    Ok(usize::try_from(len).unwrap_or(usize::MAX))
}

/// Makes a bpf device readable when its oldest packet has waited for `millis` milliseconds, where
/// the system can. Asked before pledge(2), which refuses it.
///
/// # Errors
/// What ioctl(2) reports: ENOTTY where it is not known.
#[cfg(target_os = "openbsd")]
pub(in crate::io) fn set_bpf_write_timeout(fd: &impl AsRawFd, millis: i32) -> io::Result<()> {
    /// `_IOW('B', 126, struct timeval)` of net/bpf.h.
    const BIOCSWTIMEOUT: libc::c_ulong = 0x8010_427e;
    const _: () = assert!(size_of::<libc::timeval>() == 16);
    let timeout = libc::timeval {
        tv_sec: 0,
        tv_usec: libc::suseconds_t::from(millis) * 1000,
    };
    // SAFETY: BIOCSWTIMEOUT reads one struct timeval.
    outcome(unsafe { libc::ioctl(fd.as_raw_fd(), BIOCSWTIMEOUT, &raw const timeout) })
}

/// Reads a bpf device: `buffer` is cut to `len`, just the size that bpf insists on.
///
/// # Errors
/// What read(2) reports.
#[cfg(target_os = "openbsd")]
pub(in crate::io) fn read_bpf(
    fd: &impl AsRawFd,
    len: usize,
    buffer: &mut [u8],
) -> io::Result<usize> {
    let buffer = buffer.get_mut(..len).ok_or(io::ErrorKind::InvalidInput)?;
    // SAFETY: the kernel writes at most `len` octets into a buffer of that length.
    let read = unsafe { libc::read(fd.as_raw_fd(), buffer.as_mut_ptr().cast(), len) };
    usize::try_from(read).map_err(|_| io::Error::last_os_error())
}
