//! Sockets: their options, what they have not got rid of, and descriptors that come by them.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use super::outcome;
use crate::export::Rdomain;

/// Sets a socket option whose value is one octet.
///
/// # Errors
/// What setsockopt(2) reports.
pub(in crate::io) fn set_octet_option(
    socket: &impl AsRawFd,
    level: libc::c_int,
    option: libc::c_int,
    value: u8,
) -> io::Result<()> {
    set_option(socket, level, option, value)
}

/// Sets an option of a socket to a value of the type that the kernel takes, which is a number.
fn set_option<T: Copy>(
    socket: &impl AsRawFd,
    level: libc::c_int,
    option: libc::c_int,
    value: T,
) -> io::Result<()> {
    let len = libc::socklen_t::try_from(size_of::<T>()).unwrap_or(0);
    let value = (&raw const value).cast();
    // SAFETY: the kernel reads a number of the length that goes with it.
    outcome(unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, value, len) })
}

/// Sets an option of a socket whose value is an int.
#[cfg(any(target_os = "openbsd", target_os = "freebsd"))]
fn set_int_option(socket: &impl AsRawFd, option: libc::c_int, value: u32) -> io::Result<()> {
    let value = libc::c_int::try_from(value).map_err(|_| io::ErrorKind::InvalidInput)?;
    set_option(socket, libc::SOL_SOCKET, option, value)
}

/// Fills `told` with an option of a socket as far as it goes, unless the system does not tell it.
#[cfg(any(target_os = "linux", target_os = "freebsd"))]
fn socket_option(
    socket: &impl AsRawFd,
    level: libc::c_int,
    option: libc::c_int,
    told: &mut [u32],
) -> Option<()> {
    let mut len = libc::socklen_t::try_from(size_of_val(told)).ok()?;
    // SAFETY: the kernel writes at most as much as the length names, and any octets are a u32.
    let outcome = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            level,
            option,
            told.as_mut_ptr().cast(),
            &raw mut len,
        )
    };
    (outcome == 0).then_some(())
}

/// Has a socket look for its routes elsewhere.
///
/// # Errors
/// What setsockopt(2) reports: there is no such domain, or the caller may not choose it.
pub(in crate::io) fn set_rdomain(socket: &socket2::Socket, rdomain: &Rdomain) -> io::Result<()> {
    match rdomain {
        #[cfg(target_os = "linux")]
        Rdomain::Device(name) => socket.bind_device(Some(name.as_bytes())),
        #[cfg(target_os = "openbsd")]
        Rdomain::Table(number) => set_int_option(socket, libc::SO_RTABLE, *number),
        #[cfg(target_os = "freebsd")]
        Rdomain::Table(number) => set_int_option(socket, libc::SO_SETFIB, *number),
        // The configuration refuses the others.
        _ => {
            let _ = socket;
            Err(io::ErrorKind::Unsupported.into())
        }
    }
}

/// Whether the system tells what of a connection is not acknowledged.
pub(in crate::io) const TELLS_UNACKNOWLEDGED: bool = cfg!(any(
    target_os = "linux",
    target_os = "freebsd",
    target_os = "netbsd"
));

/// Octets of a connection that were taken and that the peer's system has not acknowledged, unless
/// the system does not tell. Linux tells it after a reset, too (tcp(7), SIOCOUTQ); FreeBSD and NetBSD
/// tell it while the connection lasts (tty(4), FIONWRITE); OpenBSD's pledge(2) knows no such call.
pub(in crate::io) fn unacknowledged(socket: &impl AsRawFd) -> Option<usize> {
    #[cfg(target_os = "linux")]
    const FIONWRITE: libc::Ioctl = libc::TIOCOUTQ;
    /// `_IOR('f', 119, int)` of sys/filio.h.
    #[cfg(target_os = "freebsd")]
    const FIONWRITE: libc::c_ulong = 0x4004_6677;
    /// `_IOR('f', 121, int)` of sys/filio.h.
    #[cfg(target_os = "netbsd")]
    const FIONWRITE: libc::c_ulong = 0x4004_6679;
    #[cfg(any(target_os = "linux", target_os = "freebsd", target_os = "netbsd"))]
    {
        let mut octets: libc::c_int = 0;
        // SAFETY: the call writes one int.
        let outcome = unsafe { libc::ioctl(socket.as_raw_fd(), FIONWRITE, &raw mut octets) };
        (outcome == 0).then(|| usize::try_from(octets).ok())?
    }
    #[cfg(not(any(target_os = "linux", target_os = "freebsd", target_os = "netbsd")))]
    {
        let _ = socket;
        None
    }
}

/// Has an SCTP socket send each message at once (RFC 6458 8.1.5).
///
/// # Errors
/// What setsockopt(2) reports.
#[cfg(any(target_os = "linux", target_os = "freebsd"))]
pub(in crate::io) fn set_sctp_nodelay(socket: &impl AsRawFd) -> io::Result<()> {
    let on: libc::c_int = 1;
    set_option(socket, libc::IPPROTO_SCTP, libc::SCTP_NODELAY, on)
}

/// Octets that an SCTP association was given and that the peer has not acknowledged, or more, as long
/// as there is an association. Linux tells what they take of its memory, which is more (SO_MEMINFO,
/// SK_MEMINFO_WMEM_QUEUED). SCTP_STATUS does not serve: its sstat_unackdata leaves out what was not
/// sent yet, and its sstat_penddata is about what comes in (RFC 6458 8.2.1).
#[cfg(target_os = "linux")]
pub(in crate::io) fn sctp_unacknowledged(socket: &impl AsRawFd) -> Option<usize> {
    /// `SO_MEMINFO` of asm-generic/socket.h.
    const SO_MEMINFO: libc::c_int = 55;
    /// Its index in what is told, of linux/sock_diag.h.
    const SK_MEMINFO_WMEM_QUEUED: usize = 5;
    let mut told = [0_u32; 16];
    socket_option(socket, libc::SOL_SOCKET, SO_MEMINFO, &mut told)?;
    usize::try_from(*told.get(SK_MEMINFO_WMEM_QUEUED)?).ok()
}

/// The same by FIONWRITE, which counts the messages' octets.
#[cfg(target_os = "freebsd")]
pub(in crate::io) fn sctp_unacknowledged(socket: &impl AsRawFd) -> Option<usize> {
    unacknowledged(socket)
}

/// Whether an SCTP socket has an association.
#[cfg(any(target_os = "linux", target_os = "freebsd"))]
pub(in crate::io) fn is_associated(socket: &impl AsRawFd) -> bool {
    // `struct sctp_status` is shorter.
    socket_option(socket, libc::IPPROTO_SCTP, libc::SCTP_STATUS, &mut [0; 64]).is_some()
}

/// Whether the kernel cuts messages, which Linux does since 4.18. An older one would send a run as
/// one datagram.
#[cfg(target_os = "linux")]
pub(in crate::io) fn can_cut(fd: &impl AsRawFd) -> bool {
    socket_option(fd, libc::SOL_UDP, libc::UDP_SEGMENT, &mut [0]).is_some()
}

/// Makes a socket send without checksums, so that the kernel refuses to cut.
#[cfg(all(test, target_os = "linux"))]
pub(in crate::io) fn forbid_checksums(fd: &impl AsRawFd) -> io::Result<()> {
    let yes: libc::c_int = 1;
    set_option(fd, libc::SOL_SOCKET, libc::SO_NO_CHECK, yes)
}

/// Takes a UDP socket's peer away (connect(2), AF_UNSPEC), and with it the local address unless the
/// socket was bound to one.
///
/// # Errors
/// What connect(2) reports.
#[cfg(target_os = "linux")]
pub(in crate::io) fn disconnect(fd: &impl AsRawFd) -> io::Result<()> {
    // SAFETY: a sockaddr is integers, and all of those may be zero.
    let mut nobody: libc::sockaddr = unsafe { std::mem::zeroed() };
    nobody.sa_family = libc::sa_family_t::try_from(libc::AF_UNSPEC).unwrap_or(0);
    let len = libc::socklen_t::try_from(size_of_val(&nobody)).unwrap_or(0);
    // SAFETY: the kernel reads a sockaddr of the length that goes with it.
    outcome(unsafe { libc::connect(fd.as_raw_fd(), &raw const nobody, len) })
}

/// The index of interface `name`.
///
/// # Errors
/// No such interface.
pub(in crate::io) fn interface_index(name: &str) -> io::Result<u32> {
    let name = CString::new(name)?;
    // SAFETY: a NUL-terminated string that outlives the call.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => Err(io::Error::last_os_error()),
        index => Ok(index),
    }
}

/// A descriptor that another process passed.
#[derive(Debug)]
pub enum Passed {
    /// None came.
    Nothing,
    /// This one.
    One(OwnedFd),
    /// One came and this process had no room for it.
    Lost,
}

/// Reads from `socket` without waiting, with the descriptor that came along.
///
/// # Errors
/// What recvmsg(2) reports.
pub(in crate::io) fn receive(
    socket: &impl AsRawFd,
    octets: &mut [u8],
) -> io::Result<(usize, Passed)> {
    use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
    let mut room = nix::cmsg_space!([std::os::fd::RawFd; 1]);
    let mut parts = [io::IoSliceMut::new(octets)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC | MsgFlags::MSG_DONTWAIT;
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut room), flags)?;
    if message.flags.contains(MsgFlags::MSG_CTRUNC) {
        // The octets came, the descriptor did not: this process has no room for another one.
        return Ok((message.bytes, Passed::Lost));
    }
    let mut passed = Passed::Nothing;
    for part in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(descriptors) = part {
            for descriptor in descriptors {
                // SAFETY: the kernel has just made this descriptor for us; nobody else owns it.
                passed = Passed::One(unsafe { OwnedFd::from_raw_fd(descriptor) });
            }
        }
    }
    Ok((message.bytes, passed))
}
