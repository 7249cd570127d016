//! The only `unsafe` of the crate: system calls that std and the crates in use do not wrap.

#![expect(unsafe_code, reason = "system calls; each block says why it holds")]

use std::ffi::CString;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use crate::export::Rdomain;

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

/// Processor time that children used which were waited for.
pub fn children_cpu() -> Duration {
    let mut usage = MaybeUninit::<libc::rusage>::uninit();
    // SAFETY: `usage` is an rusage that getrusage fills; it is read only if the call succeeded.
    let usage = unsafe {
        if libc::getrusage(libc::RUSAGE_CHILDREN, usage.as_mut_ptr()) != 0 {
            return Duration::ZERO;
        }
        usage.assume_init()
    };
    let spent = |time: libc::timeval| {
        let secs = Duration::from_secs(u64::try_from(time.tv_sec).unwrap_or(0));
        secs + Duration::from_micros(u64::try_from(time.tv_usec).unwrap_or(0))
    };
    spent(usage.ru_utime) + spent(usage.ru_stime)
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

/// How long to let be what has just failed and may work in a moment.
const PAUSE: Duration = Duration::from_millis(20);

/// Waits a moment, because what failed would fail at once again.
pub fn pause() {
    std::thread::sleep(PAUSE);
}

/// Whether a call failed for want of something that may be there in a moment.
pub(super) fn is_passing(error: &io::Error) -> bool {
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
pub(super) fn poll_or_pause(polled: &mut [Polled], timeout: Duration) -> io::Result<Option<usize>> {
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
pub(super) fn wait_readable(fd: &impl AsRawFd, timeout: Duration) -> io::Result<bool> {
    let ready = poll_or_pause(&mut [Polled::new(fd, true, false)], timeout)?;
    Ok(matches!(ready, Some(1..)))
}

/// Sets a socket option whose value is one octet.
///
/// # Errors
/// What setsockopt(2) reports.
pub(super) fn set_octet_option(
    socket: &impl AsRawFd,
    level: libc::c_int,
    option: libc::c_int,
    value: u8,
) -> io::Result<()> {
    // SAFETY: the kernel reads the one octet that the length names.
    let outcome = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            1,
        )
    };
    match outcome {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Has a socket look for its routes elsewhere.
///
/// # Errors
/// What setsockopt(2) reports: there is no such domain, or the caller may not choose it.
pub(super) fn set_rdomain(socket: &socket2::Socket, rdomain: &Rdomain) -> io::Result<()> {
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

/// Sets an option of a socket whose value is an int.
#[cfg(any(target_os = "openbsd", target_os = "freebsd"))]
fn set_int_option(socket: &impl AsRawFd, option: libc::c_int, value: u32) -> io::Result<()> {
    let value = libc::c_int::try_from(value).map_err(|_| io::ErrorKind::InvalidInput)?;
    let len = libc::socklen_t::try_from(size_of_val(&value)).unwrap_or(0);
    // SAFETY: the kernel reads the one int that the length names.
    let outcome = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            (&raw const value).cast(),
            len,
        )
    };
    match outcome {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Whether the system tells what of a connection is not acknowledged.
pub(super) const TELLS_UNACKNOWLEDGED: bool = cfg!(any(
    target_os = "linux",
    target_os = "freebsd",
    target_os = "netbsd"
));

/// Octets of a connection that were taken and that the peer's system has not acknowledged, unless
/// the system does not tell. Linux tells it after a reset, too (tcp(7), SIOCOUTQ); FreeBSD and NetBSD
/// tell it while the connection lasts (tty(4), FIONWRITE); OpenBSD's pledge(2) knows no such call.
pub(super) fn unacknowledged(socket: &impl AsRawFd) -> Option<usize> {
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
#[cfg(any(target_os = "linux", target_os = "freebsd"))]
pub(super) fn set_sctp_nodelay(socket: &impl AsRawFd) -> io::Result<()> {
    let on: libc::c_int = 1;
    let len = libc::socklen_t::try_from(size_of_val(&on)).unwrap_or(0);
    // SAFETY: the kernel reads the one int that the length names.
    let outcome = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_SCTP,
            libc::SCTP_NODELAY,
            (&raw const on).cast(),
            len,
        )
    };
    match outcome {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Octets that an SCTP association was given and that the peer has not acknowledged, or more, as long
/// as there is an association. Linux tells what they take of its memory, which is more (SO_MEMINFO,
/// SK_MEMINFO_WMEM_QUEUED). SCTP_STATUS does not serve: its sstat_unackdata leaves out what was not
/// sent yet, and its sstat_penddata is about what comes in (RFC 6458 8.2.1).
#[cfg(target_os = "linux")]
pub(super) fn sctp_unacknowledged(socket: &impl AsRawFd) -> Option<usize> {
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
pub(super) fn sctp_unacknowledged(socket: &impl AsRawFd) -> Option<usize> {
    unacknowledged(socket)
}

/// Whether an SCTP socket has an association.
#[cfg(any(target_os = "linux", target_os = "freebsd"))]
pub(super) fn is_associated(socket: &impl AsRawFd) -> bool {
    // `struct sctp_status` is shorter.
    socket_option(socket, libc::IPPROTO_SCTP, libc::SCTP_STATUS, &mut [0; 64]).is_some()
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

/// What `file` is. Not by the C library: some of its versions ask stat(2) with an empty path, which
/// a sandbox cannot tell from one with a path.
///
/// # Errors
/// What fstat(2) reports.
pub(super) fn fstat(file: &impl AsRawFd) -> io::Result<libc::stat> {
    let mut stat = MaybeUninit::<libc::stat>::uninit();
    // SAFETY: the kernel fills a struct stat, which on 64-bit machines is the C library's; `stat` is
    // read only if the call succeeded.
    unsafe {
        #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
        let outcome = libc::syscall(libc::SYS_fstat, file.as_raw_fd(), stat.as_mut_ptr());
        #[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
        let outcome = libc::fstat(file.as_raw_fd(), stat.as_mut_ptr());
        match outcome {
            0 => Ok(stat.assume_init()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// Whether `file` is a regular file; its octets, if it is.
///
/// # Errors
/// What fstat(2) reports.
pub(super) fn regular_len(file: &impl AsRawFd) -> io::Result<Option<u64>> {
    let stat = fstat(file)?;
    let is_regular = stat.st_mode & libc::S_IFMT == libc::S_IFREG;
    Ok(is_regular.then(|| u64::try_from(stat.st_size).unwrap_or(0)))
}

/// Locks `file` for whoever has this descriptor or one that is passed on from it.
///
/// # Errors
/// `WouldBlock`: somebody else has it locked.
pub(super) fn lock(file: &impl AsRawFd) -> io::Result<()> {
    // SAFETY: flock(2) touches no memory.
    match unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
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

/// The size of a bpf device's buffer, which on OpenBSD is also what each read must ask for. Asked
/// before pledge(2), which refuses it.
///
/// # Errors
/// What ioctl(2) reports.
#[cfg(not(target_os = "linux"))]
pub(super) fn bpf_buffer_len(fd: &impl AsRawFd) -> io::Result<usize> {
    /// `_IOR('B', 102, u_int)` of net/bpf.h, the same on all BSDs.
    const BIOCGBLEN: libc::c_ulong = 0x4004_4266;
    let mut len: libc::c_uint = 0;
    // SAFETY: BIOCGBLEN writes one u_int.
    if unsafe { libc::ioctl(fd.as_raw_fd(), BIOCGBLEN, &raw mut len) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(usize::try_from(len).unwrap_or(usize::MAX))
}

/// Characters in a line of the terminal at `fd`; `None`: it is none.
pub(super) fn columns(fd: &impl AsRawFd) -> Option<u16> {
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

/// Makes a bpf device readable when its oldest packet has waited for `millis` milliseconds, where
/// the system can. Asked before pledge(2), which refuses it.
///
/// # Errors
/// What ioctl(2) reports: ENOTTY where it is not known.
#[cfg(target_os = "openbsd")]
pub(super) fn set_bpf_write_timeout(fd: &impl AsRawFd, millis: i32) -> io::Result<()> {
    /// `_IOW('B', 126, struct timeval)` of net/bpf.h.
    const BIOCSWTIMEOUT: libc::c_ulong = 0x8010_427e;
    const _: () = assert!(size_of::<libc::timeval>() == 16);
    let timeout = libc::timeval {
        tv_sec: 0,
        tv_usec: libc::suseconds_t::from(millis) * 1000,
    };
    // SAFETY: BIOCSWTIMEOUT reads one struct timeval.
    match unsafe { libc::ioctl(fd.as_raw_fd(), BIOCSWTIMEOUT, &raw const timeout) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Reads a bpf device: `buffer` is cut to `len`, just the size that bpf insists on.
///
/// # Errors
/// What read(2) reports.
#[cfg(target_os = "openbsd")]
pub(super) fn read_bpf(fd: &impl AsRawFd, len: usize, buffer: &mut [u8]) -> io::Result<usize> {
    let buffer = buffer.get_mut(..len).ok_or(io::ErrorKind::InvalidInput)?;
    // SAFETY: the kernel writes at most `len` octets into a buffer of that length.
    let read = unsafe { libc::read(fd.as_raw_fd(), buffer.as_mut_ptr().cast(), len) };
    usize::try_from(read).map_err(|_| io::Error::last_os_error())
}

/// Messages of one [`send_runs`] at most.
#[cfg(target_os = "linux")]
pub(super) const MAX_RUNS: usize = 64;

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
pub(super) fn send_runs(fd: &impl AsRawFd, runs: &[&[io::IoSlice<'_>]]) -> io::Result<usize> {
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

/// Takes a UDP socket's peer away (connect(2), AF_UNSPEC), and with it the local address unless the
/// socket was bound to one.
///
/// # Errors
/// What connect(2) reports.
#[cfg(target_os = "linux")]
pub(super) fn disconnect(fd: &impl AsRawFd) -> io::Result<()> {
    // SAFETY: a sockaddr is integers, and all of those may be zero.
    let mut nobody: libc::sockaddr = unsafe { std::mem::zeroed() };
    nobody.sa_family = libc::sa_family_t::try_from(libc::AF_UNSPEC).unwrap_or(0);
    let len = libc::socklen_t::try_from(size_of_val(&nobody)).unwrap_or(0);
    // SAFETY: the kernel reads a sockaddr of the length that goes with it.
    match unsafe { libc::connect(fd.as_raw_fd(), &raw const nobody, len) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Whether the kernel cuts messages, which Linux does since 4.18. An older one would send a run as
/// one datagram.
#[cfg(target_os = "linux")]
pub(super) fn can_cut(fd: &impl AsRawFd) -> bool {
    let mut segment: libc::c_int = 0;
    let mut len = libc::socklen_t::try_from(size_of_val(&segment)).unwrap_or(0);
    // SAFETY: the kernel writes one int and its length.
    let outcome = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_UDP,
            libc::UDP_SEGMENT,
            (&raw mut segment).cast(),
            &raw mut len,
        )
    };
    outcome == 0
}

/// Makes a socket send without checksums, so that the kernel refuses to cut.
#[cfg(all(test, target_os = "linux"))]
pub(super) fn forbid_checksums(fd: &impl AsRawFd) -> io::Result<()> {
    let yes: libc::c_int = 1;
    let len = libc::socklen_t::try_from(size_of_val(&yes)).unwrap_or(0);
    // SAFETY: the kernel reads one int.
    let outcome = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_NO_CHECK,
            (&raw const yes).cast(),
            len,
        )
    };
    match outcome {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Has signals about `fd` sent to this process.
#[cfg(all(test, target_os = "linux"))]
pub(super) fn set_owner(fd: &impl AsRawFd) -> io::Result<()> {
    // SAFETY: fcntl(2) with plain numbers.
    match unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETOWN, libc::getpid()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Maps a page of `file`, which stays there.
#[cfg(all(test, target_os = "linux"))]
pub(super) fn map(file: &impl AsRawFd) -> io::Result<()> {
    let at = std::ptr::null_mut();
    let (access, flags) = (libc::PROT_READ, libc::MAP_SHARED);
    // SAFETY: the kernel chooses a place that nobody uses, and nobody reads it.
    match unsafe { libc::mmap(at, 4096, access, flags, file.as_raw_fd(), 0) } {
        libc::MAP_FAILED => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Makes a second process. The child gets `None`, the parent the child's number.
///
/// # Errors
/// What fork(2) reports.
pub(super) fn fork() -> io::Result<Option<nix::unistd::Pid>> {
    // SAFETY: callers fork while the program has one thread only (run/start.rs: no thread is
    // started before the last fork), so the child may go on as if nothing had happened.
    match unsafe { nix::unistd::fork() }? {
        nix::unistd::ForkResult::Parent { child } => Ok(Some(child)),
        nix::unistd::ForkResult::Child => Ok(None),
    }
}

/// Gives up all capabilities, which a program that was not started as root may have been handed.
///
/// # Errors
/// What capset(2) reports.
#[cfg(target_os = "linux")]
pub(super) fn drop_capabilities() -> io::Result<()> {
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
    let outcome = unsafe { libc::syscall(libc::SYS_capset, &raw const header, none.as_ptr()) };
    match outcome {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Landlock: denies all of the file system, TCP, and signals to others and their abstract sockets,
/// as far as the kernel knows how; its version of Landlock, 0 if it has none.
///
/// # Errors
/// The kernel has Landlock but refuses the rules.
#[cfg(target_os = "linux")]
pub(super) fn landlock() -> io::Result<u32> {
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
        if libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0
            || libc::syscall(libc::SYS_landlock_restrict_self, rules.as_raw_fd(), 0) != 0
        {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(version)
}

/// Gives up all but `promises`, and all of the file system.
///
/// # Errors
/// What unveil(2) or pledge(2) reports.
#[cfg(target_os = "openbsd")]
pub(super) fn pledge(promises: &std::ffi::CStr) -> io::Result<()> {
    // SAFETY: NUL-terminated strings that outlive the calls; no second list of promises.
    unsafe {
        if libc::unveil(c"/".as_ptr(), c"".as_ptr()) != 0 {
            return Err(io::Error::last_os_error());
        }
        if libc::pledge(promises.as_ptr(), std::ptr::null()) != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Leaves a capture's descriptor nothing but reading, waiting and counting.
///
/// # Errors
/// What cap_rights_limit(2) or cap_ioctls_limit(2) reports.
#[cfg(target_os = "freebsd")]
pub(super) fn limit_capture(fd: &impl AsRawFd) -> io::Result<()> {
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
        if libc::cap_rights_limit(fd.as_raw_fd(), rights.as_ptr()) != 0
            || libc::cap_ioctls_limit(fd.as_raw_fd(), commands.as_ptr(), commands.len()) != 0
        {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// syslog(3), which on OpenBSD needs neither a socket nor a file: it is sendsyslog(2).
#[cfg(target_os = "openbsd")]
pub(super) fn syslog(severity: libc::c_int, line: &str) {
    static OPENED: std::sync::Once = std::sync::Once::new();
    let Ok(line) = CString::new(line) else { return };
    // SAFETY: the name is static; the line is NUL-terminated, outlives the call, and is an
    // argument of the format, not the format.
    unsafe {
        OPENED.call_once(|| libc::openlog(c"pflow".as_ptr(), libc::LOG_PID, libc::LOG_DAEMON));
        libc::syslog(severity, c"%s".as_ptr(), line.as_ptr());
    }
}

/// Reads from `socket` without waiting, with the descriptor that came along.
///
/// # Errors
/// What recvmsg(2) reports.
pub(super) fn receive(socket: &impl AsRawFd, octets: &mut [u8]) -> io::Result<(usize, Passed)> {
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

/// What a process does with a signal.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Disposition {
    /// What the system does by default.
    Default,
    /// Nothing.
    Ignore,
}

/// Has this process do so with `signal`, whatever it did before.
///
/// # Errors
/// What sigaction(2) reports.
pub(super) fn set_disposition(
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
