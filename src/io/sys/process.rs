//! Processes and signals, and syslog(3).

#[cfg(target_os = "openbsd")]
use std::ffi::CString;
use std::io;
#[cfg(all(test, target_os = "linux"))]
use std::os::fd::AsRawFd;

#[cfg(all(test, target_os = "linux"))]
use super::outcome;

/// Makes a second process. The child gets `None`, the parent the child's number.
///
/// # Errors
/// What fork(2) reports.
pub(in crate::io) fn fork() -> io::Result<Option<nix::unistd::Pid>> {
    // SAFETY: callers fork while the program has one thread only (run/start.rs: no thread is
    // started before the last fork), so the child may go on as if nothing had happened.
    match unsafe { nix::unistd::fork() }? {
        nix::unistd::ForkResult::Parent { child } => Ok(Some(child)),
        nix::unistd::ForkResult::Child => Ok(None),
    }
}

/// What a process does with a signal.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::io) enum Disposition {
    /// What the system does by default.
    Default,
    /// Nothing.
    Ignore,
}

/// Has this process do so with `signal`, whatever it did before.
///
/// # Errors
/// What sigaction(2) reports.
pub(in crate::io) fn set_disposition(
    signal: nix::sys::signal::Signal,
    disposition: Disposition,
) -> io::Result<()> {
    use nix::sys::signal::{SigHandler, signal as set};
    let handler = match disposition {
        Disposition::Default => SigHandler::SigDfl,
        Disposition::Ignore => SigHandler::SigIgn,
    };
    // SAFETY: neither handler is a function of this program.
    unsafe { set(signal, handler) }?;
    Ok(())
}

/// Has signals about `fd` sent to this process.
#[cfg(all(test, target_os = "linux"))]
pub(in crate::io) fn set_owner(fd: &impl AsRawFd) -> io::Result<()> {
    // SAFETY: fcntl(2) with plain numbers.
    outcome(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETOWN, libc::getpid()) })
}

/// syslog(3), which on OpenBSD needs neither a socket nor a file: it is sendsyslog(2).
#[cfg(target_os = "openbsd")]
pub(in crate::io) fn syslog(severity: libc::c_int, line: &str) {
    static OPENED: std::sync::Once = std::sync::Once::new();
    let Ok(line) = CString::new(line) else { return };
    // SAFETY: the name is static; the line is NUL-terminated, outlives the call, and is an
    // argument of the format, not the format.
    unsafe {
        OPENED.call_once(|| libc::openlog(c"pflow".as_ptr(), libc::LOG_PID, libc::LOG_DAEMON));
        libc::syslog(severity, c"%s".as_ptr(), line.as_ptr());
    }
}
