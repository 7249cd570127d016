//! Datagrams that the kernel cuts from longer messages, which Linux does (udp(7), UDP_SEGMENT).

use std::io;
use std::os::fd::AsRawFd;

/// Messages of one [`send_runs`] at most.
#[cfg(target_os = "linux")]
pub(in crate::io) const MAX_RUNS: usize = 64;

/// Octets of control data that carry one u16, aligned as a cmsghdr has to be.
#[cfg(target_os = "linux")]
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Control([u8; 32]);

/// Sends `runs` by a connected socket, in order, by one sendmmsg(2); how many of them went. A run is datagrams of
/// equal length, but for the last, which may be shorter: a run of several goes as one message that
/// the kernel cuts again (udp(7), UDP_SEGMENT). At most [`MAX_RUNS`] are looked at.
///
/// # Errors
/// What the system reports of the first run: nothing was sent.
#[cfg(target_os = "linux")]
pub(in crate::io) fn send_runs(
    fd: &impl AsRawFd,
    runs: &[&[io::IoSlice<'_>]],
) -> io::Result<usize> {
    // SAFETY: CMSG_LEN and CMSG_SPACE only compute.
    let (control_len, control_space) = unsafe { (libc::CMSG_LEN(2), libc::CMSG_SPACE(2)) };
    let mut controls = [Control([0; 32]); MAX_RUNS];
    // SAFETY: an mmsghdr is integers and pointers, and all of those may be zero.
    let mut messages: [libc::mmsghdr; MAX_RUNS] = unsafe { std::mem::zeroed() };
    for ((run, message), control) in runs.iter().zip(&mut messages).zip(&mut controls) {
        let header = &mut message.msg_hdr;
        header.msg_iov = run.as_ptr().cast_mut().cast();
        header.msg_iovlen = run.len() as _;
        let Some((first, [_, ..])) = run.split_first() else {
            continue;
        };
        header.msg_control = control.0.as_mut_ptr().cast();
        header.msg_controllen = control_space as _;
        let segment = u16::try_from(first.len()).unwrap_or(u16::MAX);
        // SAFETY: the control data has room for a cmsghdr and a u16 (CMSG_SPACE(2) is 24 at most)
        // and is aligned for both.
        unsafe {
            let carrier = libc::CMSG_FIRSTHDR(header);
            (*carrier).cmsg_level = libc::SOL_UDP;
            (*carrier).cmsg_type = libc::UDP_SEGMENT;
            (*carrier).cmsg_len = control_len as _;
            libc::CMSG_DATA(carrier)
                .cast::<u16>()
                .write_unaligned(segment);
        }
    }
    let count = runs.len().min(MAX_RUNS);
    let count = libc::c_uint::try_from(count).unwrap_or(0);
    // SAFETY: the first `count` messages are filled in; what they point to (`runs`,
    // `controls`) outlives the call, IoSlice is an iovec by its contract, and the kernel writes
    // nothing but msg_len.
    let sent = unsafe { libc::sendmmsg(fd.as_raw_fd(), messages.as_mut_ptr(), count, 0) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}
