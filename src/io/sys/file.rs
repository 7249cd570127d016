//! Files and terminals.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;

use super::outcome;

/// What `file` is. Not by the C library: some of its versions ask stat(2) with an empty path, which
/// a sandbox cannot tell from one with a path.
///
/// # Errors
/// What fstat(2) reports.
pub(in crate::io) fn fstat(file: &impl AsRawFd) -> io::Result<libc::stat> {
    let mut stat = MaybeUninit::<libc::stat>::uninit();
    // SAFETY: the kernel fills a struct stat, which on 64-bit machines is the C library's; `stat` is
    // read only if the call succeeded.
    unsafe {
        #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
        let returned = libc::syscall(libc::SYS_fstat, file.as_raw_fd(), stat.as_mut_ptr());
        #[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
        let returned = libc::fstat(file.as_raw_fd(), stat.as_mut_ptr());
        outcome(returned)?;
        Ok(stat.assume_init())
    }
}

/// Whether `file` is a regular file; its octets, if it is.
///
/// # Errors
/// What fstat(2) reports.
pub(in crate::io) fn regular_len(file: &impl AsRawFd) -> io::Result<Option<u64>> {
    let stat = fstat(file)?;
    let is_regular = stat.st_mode & libc::S_IFMT == libc::S_IFREG;
    Ok(is_regular.then(|| u64::try_from(stat.st_size).unwrap_or(0)))
}

/// Locks `file` for whoever has this descriptor or one that is passed on from it.
///
/// # Errors
/// `WouldBlock`: somebody else has it locked.
pub(in crate::io) fn lock(file: &impl AsRawFd) -> io::Result<()> {
    // SAFETY: flock(2) touches no memory.
    outcome(unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) })
}

/// Characters in a line of the terminal at `fd`; `None`: it is none.
pub(in crate::io) fn columns(fd: &impl AsRawFd) -> Option<u16> {
    let mut size = libc::winsize {
        ws_row: 0,
        ws_col: 0,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    let fd = fd.as_raw_fd();
    // SAFETY: the descriptor is open as long as it is borrowed, and TIOCGWINSZ writes a winsize.
    let outcome = unsafe { libc::ioctl(fd, libc::TIOCGWINSZ, &raw mut size) };
    (outcome == 0).then_some(size.ws_col)
}

/// Maps a page of `file`, which stays there.
#[cfg(all(test, target_os = "linux"))]
pub(in crate::io) fn map(file: &impl AsRawFd) -> io::Result<()> {
    let at = std::ptr::null_mut();
    let (access, flags) = (libc::PROT_READ, libc::MAP_SHARED);
    // SAFETY: the kernel chooses a place that nobody uses, and nobody reads it.
    match unsafe { libc::mmap(at, 4096, access, flags, file.as_raw_fd(), 0) } {
        libc::MAP_FAILED => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}
