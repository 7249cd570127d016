//! The sandbox on Linux: what the process that parses may still ask the kernel for.
//!
//! seccomp(2) has a list of system calls, some with conditions on their arguments; Landlock denies
//! all of the file system and TCP besides. What is not on the list fails with EPERM rather than
//! kill: a C library that tries something new costs an error, not the export.
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

use super::sys;

type Refused = Box<dyn std::error::Error>;

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

fn seccomp(arch: TargetArch) -> Result<(), Refused> {
    // glibc then uses clone, whose flags can be seen.
    let absent = Rules::from([(libc::SYS_clone3, Vec::new())]);
    let absent = filter(absent, SeccompAction::Allow, errno(libc::ENOSYS), arch)?;
    let mut allowed = rules()?;
    allowed.insert(libc::SYS_clone3, Vec::new()); // decided by the other filter
    let allowed = filter(allowed, errno(libc::EPERM), SeccompAction::Allow, arch)?;
    apply_filter(&absent)?;
    Ok(apply_filter(&allowed)?)
}

/// Enters the sandbox, for good.
pub(super) fn enter() -> Result<String, String> {
    sys::drop_capabilities().map_err(|error| format!("capabilities: {error}"))?;
    let landlock = sys::landlock().map_err(|error| format!("Landlock: {error}"))?;
    let landlock = match landlock {
        0 => "no Landlock in this kernel".to_owned(),
        version => format!("Landlock {version}"),
    };
    let Ok(arch) = TargetArch::try_from(std::env::consts::ARCH) else {
        return Ok(format!("{landlock}, no seccomp for this machine"));
    };
    seccomp(arch).map_err(|error| format!("seccomp: {error}"))?;
    Ok(format!("{landlock}, seccomp"))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::fs::File;
    use std::io::{self, Read, Write};
    use std::net::{TcpStream, UdpSocket};
    use std::os::unix::net::UnixStream;
    use std::process::{Command, Stdio};

    use socket2::{Domain, Protocol, Socket, Type};

    use super::*;

    /// Set in the process that enters the sandbox: nobody gets out of it again.
    const INSIDE: &str = "PFLOW_TEST_INSIDE";

    fn refused<T>(what: &str, outcome: io::Result<T>) {
        match outcome {
            Ok(_) => println!("allowed: {what}"),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
            Err(error) => println!("{what}: {error}"),
        }
    }

    fn allowed<T>(what: &str, outcome: io::Result<T>) {
        if let Err(error) = outcome {
            println!("refused: {what}: {error}");
        }
    }

    /// What must fail for want of permission, and for nothing else.
    fn try_what_is_forbidden() {
        refused("open", File::open("/etc/passwd"));
        refused("create", File::create("/tmp/pflow-sandbox"));
        refused("open a device", File::open("/dev/null"));
        refused("list", std::fs::read_dir("/"));
        refused("remove", std::fs::remove_file("/tmp/pflow-sandbox"));
        refused("exec", Command::new("/bin/true").status());
        let sockets = [
            ("raw", Domain::IPV4, Type::RAW, 240),
            ("icmp", Domain::IPV4, Type::DGRAM, libc::IPPROTO_ICMP),
            ("packet", Domain::PACKET, Type::RAW, 0),
            ("unix", Domain::UNIX, Type::DGRAM, 0),
        ];
        for (what, domain, kind, protocol) in sockets {
            let protocol = Some(Protocol::from(protocol));
            refused(what, Socket::new(domain, kind, protocol));
        }
        refused("tcp", TcpStream::connect("127.0.0.1:9"));
        let signal = nix::sys::signal::Signal::SIGCONT;
        let kill = nix::sys::signal::kill(nix::unistd::Pid::parent(), signal);
        refused("kill", kill.map_err(io::Error::from));
        refused("fork", sys::fork());
        let chroot = nix::unistd::chroot("/");
        refused("chroot", chroot.map_err(io::Error::from));
        let setuid = nix::unistd::setuid(nix::unistd::Uid::from_raw(65534));
        refused("setuid", setuid.map_err(io::Error::from));
    }

    /// What the program goes on doing, with `file` open from before.
    fn try_what_is_needed(mut file: &File) {
        allowed("write", file.write_all(b"x").and_then(|()| file.set_len(0)));
        let socket = UdpSocket::bind("127.0.0.1:0");
        let sent = socket.and_then(|socket| {
            socket.set_nonblocking(true)?;
            socket.send_to(b"x", socket.local_addr()?)
        });
        allowed("UDP", sent);
        let addresses = nix::ifaddrs::getifaddrs().map_err(io::Error::from);
        allowed("addresses", addresses);
        let (mut one, other) = UnixStream::pair().unwrap();
        let thread = std::thread::Builder::new().name("x".to_owned());
        let thread = thread.spawn(move || (&other).write_all(b"x"));
        allowed("thread", thread.map(|thread| thread.join().is_ok()));
        allowed("read", one.read(&mut [0]));
        let large = vec![1_u8; 64 << 20];
        assert_eq!(large.last(), Some(&1));
    }

    /// Runs `name` of this module in a process of its own with `inside` set.
    fn run_again(name: &str, inside: &str) -> String {
        let test: OsString = format!("io::sandbox::tests::{name}").into();
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact".into(), test, "--nocapture".into()])
            .env(INSIDE, inside)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{text}\n{output:?}");
        text
    }

    #[test]
    fn what_the_program_does_not_do_is_refused_and_what_it_does_goes_on() {
        const NAME: &str = "what_the_program_does_not_do_is_refused_and_what_it_does_goes_on";
        if std::env::var_os(INSIDE).is_some() {
            let file = tempfile();
            println!("entered: {}", enter().unwrap());
            try_what_is_needed(&file);
            try_what_is_forbidden();
            println!("done");
            // The harness would go on to do what harnesses do.
            std::process::exit(0);
        }
        let text = run_again(NAME, "1");
        assert!(
            text.contains("entered: ") && text.contains("seccomp"),
            "{text}"
        );
        assert!(text.contains("done"), "{text}");
        assert!(
            !text.contains("allowed: ") && !text.contains("refused: "),
            "{text}"
        );
        let others: Vec<_> = text.lines().filter(|line| line.contains(": ")).collect();
        assert_eq!(
            others.len(),
            1,
            "failed, but not for the sandbox: {others:?}"
        );
    }

    #[test]
    fn landlock_alone_refuses_files() {
        const NAME: &str = "landlock_alone_refuses_files";
        if std::env::var_os(INSIDE).is_some() {
            let version = sys::landlock().unwrap();
            println!("version {version}");
            if version > 0 {
                refused("open", File::open("/etc/passwd"));
                refused("exec", Command::new("/bin/true").status());
            }
            println!("done");
            std::process::exit(0);
        }
        let text = run_again(NAME, "1");
        assert!(
            text.contains("done") && !text.contains("allowed: "),
            "{text}"
        );
    }

    fn tempfile() -> File {
        let path = std::env::temp_dir().join(format!("pflow-sandbox-{}", std::process::id()));
        let file = File::create(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        file
    }
}
