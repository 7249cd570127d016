//! The system calls that the parsing process may still make on Linux. The filter exists on the
//! machines that the library supports. Any other call fails with EPERM and does not kill the
//! process. So a new call of the C library costs an error, but not the export.
//!
//! ```text
//! not on the list    open, stat, execve, fork, ptrace, kill, mount, bpf, bind, listen ...
//! socket             UDP over IPv4 and IPv6; socketpair(2) of streams
//! setsockopt         buffer sizes and timeouts; the ring of a capture, to give it back
//! fcntl              duplicates and flags; not F_SETOWN, which makes signals
//! clone              threads only (clone3, whose flags cannot be seen, "does not exist")
//! mmap, mprotect     without PROT_EXEC, and no files
//! ioctl              FIONBIO; SIOCOUTQ, what of a connection is not acknowledged
//! tgkill             SIGABRT to this process: abort(3) is to look like what it is
//! ```
//! A filter sees numbers and no memory, so it cannot see the address of a bind(2) or connect(2).
//! With bind(2) a UNIX socket could take any abstract name. So bind(2) is not on the list, and the
//! parent binds.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, apply_filter,
};

/// Why the kernel, or the library that writes the filter, refuses.
pub(super) type Refused = Box<dyn std::error::Error>;

/// System calls that are allowed whatever their arguments.
const ALLOWED: &[libc::c_long] = &[
    // descriptors
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_close,
    libc::SYS_fstat,
    libc::SYS_lseek,
    libc::SYS_ftruncate,
    libc::SYS_fsync,
    // sockets that are there; which can be made is below
    libc::SYS_accept4,
    libc::SYS_connect,
    libc::SYS_getsockname,
    libc::SYS_getsockopt,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_sendmmsg,
    libc::SYS_shutdown,
    // memory; with conditions below
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    // threads and signals
    libc::SYS_futex,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_sigaltstack,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_restart_syscall,
    libc::SYS_exit,
    libc::SYS_exit_group,
    // clocks
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_getrandom,
];

/// What the C library calls poll(2) and dup2(2) by.
#[cfg(target_arch = "x86_64")]
const ALLOWED_HERE: &[libc::c_long] = &[libc::SYS_poll, libc::SYS_dup2];
#[cfg(not(target_arch = "x86_64"))]
const ALLOWED_HERE: &[libc::c_long] = &[libc::SYS_ppoll, libc::SYS_dup3];

/// Socket options that are set in the cage.
const OPTIONS: &[(libc::c_int, libc::c_int)] = &[
    (libc::SOL_SOCKET, libc::SO_RCVTIMEO),
    (libc::SOL_SOCKET, libc::SO_SNDTIMEO),
    // pcap_close(3).
    (libc::SOL_PACKET, libc::PACKET_RX_RING),
];

/// Commands of fcntl(2).
const COMMANDS: &[libc::c_int] = &[
    libc::F_DUPFD_CLOEXEC,
    libc::F_GETFD,
    libc::F_SETFD,
    libc::F_GETFL,
    libc::F_SETFL,
];

/// Requests of ioctl(2). TIOCOUTQ has the number of SIOCOUTQ, which tells what a connection has not
/// sent yet.
const IOCTLS: &[libc::Ioctl] = &[libc::FIONBIO, libc::TIOCOUTQ];

/// Lower four bits of socket(2)'s type; the rest is flags.
const TYPE: u64 = 0xf;

fn number(value: impl TryInto<u64>) -> u64 {
    value.try_into().unwrap_or(u64::MAX)
}

/// The lower 32 bits of argument `at` under `mask` are `value`.
fn is(at: u8, mask: u64, value: u64) -> Result<SeccompCondition, Refused> {
    let compare = SeccompCmpOp::MaskedEq(mask);
    Ok(SeccompCondition::new(
        at,
        SeccompCmpArgLen::Dword,
        compare,
        value,
    )?)
}

/// All bits of an argument.
const ALL: u64 = 0xffff_ffff;

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// A rule of which all conditions must hold.
fn one<const N: usize>(
    conditions: [Result<SeccompCondition, Refused>; N],
) -> Result<SeccompRule, Refused> {
    let conditions = conditions.into_iter().collect::<Result<_, _>>()?;
    Ok(SeccompRule::new(conditions)?)
}

/// What is allowed to this process.
fn rules() -> Result<Rules, Refused> {
    let mut rules = Rules::new();
    for call in ALLOWED.iter().chain(ALLOWED_HERE) {
        rules.insert(*call, Vec::new());
    }
    let mut sockets = Vec::new();
    for domain in [libc::AF_INET, libc::AF_INET6] {
        for protocol in [0, libc::IPPROTO_UDP] {
            sockets.push(SeccompRule::new(vec![
                is(0, ALL, number(domain))?,
                is(1, TYPE, number(libc::SOCK_DGRAM))?,
                is(2, ALL, number(protocol))?,
            ])?);
        }
    }
    rules.insert(libc::SYS_socket, sockets);
    let options = OPTIONS.iter().map(|(level, option)| {
        let level = is(1, ALL, number(*level))?;
        Ok(SeccompRule::new(vec![level, is(2, ALL, number(*option))?])?)
    });
    rules.insert(
        libc::SYS_setsockopt,
        options.collect::<Result<_, Refused>>()?,
    );
    let commands = COMMANDS
        .iter()
        .map(|command| one([is(1, ALL, number(*command))]));
    rules.insert(libc::SYS_fcntl, commands.collect::<Result<_, Refused>>()?);
    let ioctls = IOCTLS
        .iter()
        .map(|request| one([is(1, ALL, number(*request))]));
    rules.insert(libc::SYS_ioctl, ioctls.collect::<Result<_, Refused>>()?);
    let thread = number(libc::CLONE_THREAD);
    let executable = number(libc::PROT_EXEC);
    let anonymous = number(libc::MAP_ANONYMOUS);
    let of_unix = is(0, ALL, number(libc::AF_UNIX));
    let of_streams = is(1, TYPE, number(libc::SOCK_STREAM));
    let to_itself = is(0, ALL, number(std::process::id()));
    let abort = is(2, ALL, number(libc::SIGABRT));
    for (call, rule) in [
        (libc::SYS_socketpair, one([of_unix, of_streams])?),
        (libc::SYS_clone, one([is(0, thread, thread)])?),
        (
            libc::SYS_mmap,
            one([is(2, executable, 0), is(3, anonymous, anonymous)])?,
        ),
        (libc::SYS_mprotect, one([is(2, executable, 0)])?),
        (
            libc::SYS_prctl,
            one([is(0, ALL, number(libc::PR_SET_NAME))])?,
        ),
        (libc::SYS_tgkill, one([to_itself, abort])?),
    ] {
        rules.insert(call, vec![rule]);
    }
    Ok(rules)
}

fn filter(
    rules: Rules,
    other: SeccompAction,
    listed: SeccompAction,
    arch: TargetArch,
) -> Result<BpfProgram, Refused> {
    Ok(SeccompFilter::new(rules, other, listed, arch)?.try_into()?)
}

/// What a call that is refused returns, as an errno.
fn errno(code: libc::c_int) -> SeccompAction {
    SeccompAction::Errno(u32::try_from(code).unwrap_or(0))
}

/// Puts the list in force, for good.
pub(super) fn enter() -> Result<(), Refused> {
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    // clone3 "does not exist", so glibc uses clone, whose flags the filter can see.
    let absent = Rules::from([(libc::SYS_clone3, Vec::new())]);
    let absent = filter(absent, SeccompAction::Allow, errno(libc::ENOSYS), arch)?;
    let mut allowed = rules()?;
    allowed.insert(libc::SYS_clone3, Vec::new()); // decided by the other filter
    let allowed = filter(allowed, errno(libc::EPERM), SeccompAction::Allow, arch)?;
    apply_filter(&absent)?;
    Ok(apply_filter(&allowed)?)
}
