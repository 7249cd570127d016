//! The system calls that are left to the process that parses on Linux, on the machines that the
//! library writes filters for. What is not on the list fails with EPERM rather than kill: a C
//! library that tries something new costs an error, not the export.
//!
//! ```text
//! not on the list    open, execve, fork, ptrace, kill, mount, bpf, raw and packet sockets ...
//! socket             UDP; netlink's routes, to list this host's addresses
//! clone              threads only (clone3, whose flags cannot be seen, "does not exist")
//! mmap, mprotect     without PROT_EXEC
//! ioctl              FIONBIO, and whether it is a terminal
//! ```

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
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_close,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_fcntl,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_lseek,
    libc::SYS_ftruncate,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_ppoll,
    // sockets that are there; which can be made is below
    libc::SYS_accept4,
    libc::SYS_bind,
    libc::SYS_connect,
    libc::SYS_getpeername,
    libc::SYS_getsockname,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_recvmmsg,
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
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_getrandom,
    libc::SYS_getuid,
    libc::SYS_geteuid,
];

/// What older architectures have besides.
#[cfg(target_arch = "x86_64")]
const ALLOWED_HERE: &[libc::c_long] = &[
    libc::SYS_poll,
    libc::SYS_time,
    libc::SYS_accept,
    libc::SYS_dup2,
];
#[cfg(not(target_arch = "x86_64"))]
const ALLOWED_HERE: &[libc::c_long] = &[];

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

/// What is allowed.
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
    sockets.push(SeccompRule::new(vec![
        is(0, ALL, number(libc::AF_NETLINK))?,
        is(2, ALL, number(libc::NETLINK_ROUTE))?,
    ])?);
    rules.insert(libc::SYS_socket, sockets);
    let one = |condition| -> Result<Vec<SeccompRule>, Refused> {
        Ok(vec![SeccompRule::new(vec![condition])?])
    };
    let unix = one(is(0, ALL, number(libc::AF_UNIX))?)?;
    rules.insert(libc::SYS_socketpair, unix);
    let thread = number(libc::CLONE_THREAD);
    rules.insert(libc::SYS_clone, one(is(0, thread, thread)?)?);
    let executable = number(libc::PROT_EXEC);
    rules.insert(libc::SYS_mmap, one(is(2, executable, 0)?)?);
    rules.insert(libc::SYS_mprotect, one(is(2, executable, 0)?)?);
    rules.insert(
        libc::SYS_prctl,
        one(is(0, ALL, number(libc::PR_SET_NAME))?)?,
    );
    let ioctls = [libc::FIONBIO, libc::TCGETS];
    let ioctls = ioctls.map(|request| Ok(SeccompRule::new(vec![is(1, ALL, number(request))?])?));
    let ioctls: Result<Vec<_>, Refused> = ioctls.into_iter().collect();
    rules.insert(libc::SYS_ioctl, ioctls?);
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
    // glibc then uses clone, whose flags can be seen.
    let absent = Rules::from([(libc::SYS_clone3, Vec::new())]);
    let absent = filter(absent, SeccompAction::Allow, errno(libc::ENOSYS), arch)?;
    let mut allowed = rules()?;
    allowed.insert(libc::SYS_clone3, Vec::new()); // decided by the other filter
    let allowed = filter(allowed, errno(libc::EPERM), SeccompAction::Allow, arch)?;
    apply_filter(&absent)?;
    Ok(apply_filter(&allowed)?)
}
