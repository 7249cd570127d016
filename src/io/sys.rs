//! The only `unsafe` of the crate: system calls that std and the crates in use do not wrap.

#![expect(unsafe_code, reason = "system calls; each block says why it holds")]

#[cfg(not(target_os = "linux"))]
mod bpf;
mod clocks;
#[cfg(any(target_os = "linux", target_os = "openbsd", target_os = "freebsd"))]
mod confine;
mod file;
mod process;
#[cfg(target_os = "linux")]
mod segments;
mod socket;
mod wait;

use std::io;

#[cfg(not(target_os = "linux"))]
pub(super) use bpf::*;
pub use clocks::*;
#[cfg(any(target_os = "linux", target_os = "openbsd", target_os = "freebsd"))]
pub(super) use confine::*;
pub(super) use file::*;
pub(super) use process::*;
#[cfg(target_os = "linux")]
pub(super) use segments::*;
pub use socket::*;
pub use wait::*;

/// What a system call reports that gives 0 if it succeeds.
fn outcome(returned: impl Into<libc::c_long>) -> io::Result<()> {
    match returned.into() {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
