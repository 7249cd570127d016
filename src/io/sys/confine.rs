//! What a process gives up: capabilities, Landlock, pledge(2), Capsicum.

use std::io;
#[cfg(target_os = "freebsd")]
use std::mem::MaybeUninit;
#[cfg(any(target_os = "linux", target_os = "freebsd"))]
use std::os::fd::AsRawFd;
#[cfg(target_os = "linux")]
use std::os::fd::{FromRawFd, OwnedFd};

use super::outcome;

/// Gives up all capabilities, which a program that was not started as root may have been handed.
///
/// # Errors
/// What capset(2) reports.
#[cfg(target_os = "linux")]
pub(in crate::io) fn drop_capabilities() -> io::Result<()> {
    /// `struct __user_cap_header_struct` of linux/capability.h; 0 is this thread.
    #[repr(C)]
    struct Header {
        version: u32,
        pid: libc::c_int,
    }
    /// _LINUX_CAPABILITY_VERSION_3.
    const VERSION: u32 = 0x2008_0522;
    let header = Header {
        version: VERSION,
        pid: 0,
    };
    // Twice effective, permitted and inheritable.
    let none = [0_u32; 6];
    // SAFETY: both structures, which this version gives these sizes, outlive the call.
    outcome(unsafe { libc::syscall(libc::SYS_capset, &raw const header, none.as_ptr()) })
}

/// Landlock: denies all of the file system, TCP, and signals to others and their abstract sockets,
/// as far as the kernel knows how; its version of Landlock, 0 if it has none.
///
/// # Errors
/// The kernel has Landlock but refuses the rules.
#[cfg(target_os = "linux")]
pub(in crate::io) fn landlock() -> io::Result<u32> {
    /// `struct landlock_ruleset_attr` of linux/landlock.h.
    #[repr(C)]
    struct Attributes {
        handled_access_fs: u64,
        handled_access_net: u64,
        scoped: u64,
    }
    const VERSION: libc::c_ulong = 1;
    /// Bits 0 to 12; REFER, TRUNCATE and IOCTL_DEV came with versions 2, 3 and 5.
    const FS: u64 = 0x1fff;
    // SAFETY: with this flag there is no structure, and nothing is changed.
    let version = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<Attributes>(),
            0_usize,
            VERSION,
        )
    };
    let Ok(version @ 1..) = u32::try_from(version) else {
        return Ok(0);
    };
    let since = |first: u32, bits: u64| if version >= first { bits } else { 0 };
    let attributes = Attributes {
        handled_access_fs: FS | since(2, 1 << 13) | since(3, 1 << 14) | since(5, 1 << 15),
        handled_access_net: since(4, 0b11),
        scoped: since(6, 0b11),
    };
    // What the kernel does not know of the structure is 0, which it accepts.
    // SAFETY: the structure lives longer than the call and its size goes with it.
    let rules = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            &raw const attributes,
            size_of::<Attributes>(),
            0,
        )
    };
    let Some(rules) = libc::c_int::try_from(rules).ok().filter(|fd| *fd >= 0) else {
        return Err(io::Error::last_os_error());
    };
    // SAFETY: the call just gave this descriptor, which nobody else owns.
    let rules = unsafe { OwnedFd::from_raw_fd(rules) };
    // SAFETY: prctl(2) with plain numbers, then a call with a descriptor that is open.
    unsafe {
        outcome(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))?;
        outcome(libc::syscall(
            libc::SYS_landlock_restrict_self,
            rules.as_raw_fd(),
            0,
        ))?;
    }
    Ok(version)
}

/// Gives up all but `promises`, and all of the file system.
///
/// # Errors
/// What unveil(2) or pledge(2) reports.
#[cfg(target_os = "openbsd")]
pub(in crate::io) fn pledge(promises: &std::ffi::CStr) -> io::Result<()> {
    // SAFETY: NUL-terminated strings that outlive the call.
    outcome(unsafe { libc::unveil(c"/".as_ptr(), c"".as_ptr()) })?;
    // SAFETY: a NUL-terminated string that outlives the call; no second list of promises.
    outcome(unsafe { libc::pledge(promises.as_ptr(), std::ptr::null()) })
}

/// Leaves a capture's descriptor nothing but reading, waiting and counting.
///
/// # Errors
/// What cap_rights_limit(2) or cap_ioctls_limit(2) reports.
#[cfg(target_os = "freebsd")]
pub(in crate::io) fn limit_capture(fd: &impl AsRawFd) -> io::Result<()> {
    /// `_IOR('B', 111, struct bpf_stat)` of net/bpf.h.
    const BIOCGSTATS: libc::u_long = 0x4008_426f;
    let mut rights = MaybeUninit::<libc::cap_rights_t>::uninit();
    let commands = [BIOCGSTATS];
    // SAFETY: __cap_rights_init fills `rights`, told by the 0 behind the rights where they end;
    // the limits read it and an array whose length goes with it.
    unsafe {
        libc::__cap_rights_init(
            libc::CAP_RIGHTS_VERSION,
            rights.as_mut_ptr(),
            libc::CAP_READ,
            libc::CAP_EVENT,
            libc::CAP_IOCTL,
            0_u64,
        );
        outcome(libc::cap_rights_limit(fd.as_raw_fd(), rights.as_ptr()))?;
        outcome(libc::cap_ioctls_limit(
            fd.as_raw_fd(),
            commands.as_ptr(),
            commands.len(),
        ))
    }
}
