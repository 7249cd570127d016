//! The sandbox on Linux: Landlock denies all of the file system and TCP, capabilities are given up,
//! and seccomp(2) leaves a list of system calls (`seccomp.rs`).

use super::sys;

/// Enters the sandbox, for good.
pub(super) fn enter() -> Result<String, String> {
    sys::drop_capabilities().map_err(|error| format!("capabilities: {error}"))?;
    let landlock = sys::landlock().map_err(|error| format!("Landlock: {error}"))?;
    let landlock = match landlock {
        0 => "no Landlock in this kernel".to_owned(),
        version => format!("Landlock {version}"),
    };
    Ok(format!("{landlock}, {}", list()?))
}

#[cfg(any(
    target_arch = "x86_64",
    target_arch = "aarch64",
    target_arch = "riscv64"
))]
fn list() -> Result<&'static str, String> {
    super::seccomp::enter().map_err(|error| format!("seccomp: {error}"))?;
    Ok("seccomp")
}

#[cfg(not(any(
    target_arch = "x86_64",
    target_arch = "aarch64",
    target_arch = "riscv64"
)))]
fn list() -> Result<&'static str, String> {
    Ok("no seccomp for this machine")
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::fs::File;
    use std::io::{self, Read, Write};
    use std::net::{SocketAddr, TcpStream, UdpSocket};
    use std::os::unix::net::UnixStream;
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Command, Stdio};

    use nix::fcntl::FcntlArg;
    use socket2::{Domain, Protocol, SockAddr, Socket, Type};

    use super::*;
    use crate::io::transport::{self, Transport, Udp, WhenFull, source_address};
    use crate::time::Uptime;

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

    /// What must fail for want of permission, and for nothing else. `file` is open from before.
    fn try_what_is_forbidden(file: &File) {
        refused("open", File::open("/etc/passwd"));
        refused("create", File::create("/tmp/pflow-sandbox"));
        refused("open a device", File::open("/dev/null"));
        refused("list", std::fs::read_dir("/"));
        refused("stat", std::fs::metadata("/etc/passwd"));
        refused("remove", std::fs::remove_file("/tmp/pflow-sandbox"));
        refused("exec", Command::new("/bin/true").status());
        refused("tcp", TcpStream::connect("127.0.0.1:9"));
        refused("a file in memory", sys::map(file));
        let signal = nix::sys::signal::Signal::SIGCONT;
        let kill = nix::sys::signal::kill(nix::unistd::Pid::parent(), signal);
        refused("kill", kill.map_err(io::Error::from));
        refused("fork", sys::fork());
        let chroot = nix::unistd::chroot("/");
        refused("chroot", chroot.map_err(io::Error::from));
        let setuid = nix::unistd::setuid(nix::unistd::Uid::from_raw(65534));
        refused("setuid", setuid.map_err(io::Error::from));
        try_forbidden_sockets();
    }

    fn try_forbidden_sockets() {
        let sockets = [
            ("raw", Domain::IPV4, Type::RAW, 240),
            ("icmp", Domain::IPV4, Type::DGRAM, libc::IPPROTO_ICMP),
            ("packet", Domain::PACKET, Type::RAW, 0),
            ("unix", Domain::UNIX, Type::DGRAM, 0),
            ("netlink", Domain::from(libc::AF_NETLINK), Type::RAW, 0),
        ];
        for (what, domain, kind, protocol) in sockets {
            let protocol = Some(Protocol::from(protocol));
            refused(what, Socket::new(domain, kind, protocol));
        }
        refused("datagrams", Socket::pair(Domain::UNIX, Type::DGRAM, None));
        let (one, _other) = Socket::pair(Domain::UNIX, Type::STREAM, None).unwrap();
        // A name that has no file, which Landlock does not see being taken.
        let name = SockAddr::unix("\0pflow-sandbox").unwrap();
        refused("an abstract name", one.bind(&name));
        let udp = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
        refused(
            "a port",
            udp.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()),
        );
        refused("listen", one.listen(1));
        refused("an option", udp.set_mark(1));
        refused("a filter", udp.attach_filter(&[]));
        let owner = nix::fcntl::fcntl(&one, FcntlArg::F_GETPIPE_SZ);
        refused("fcntl", owner.map_err(io::Error::from));
        refused("signals of a descriptor", sys::set_owner(&one));
    }

    /// What the program goes on doing, with `file` open from before.
    fn try_what_is_needed(mut file: &File, socket: UdpSocket) {
        allowed("write", file.write_all(b"x").and_then(|()| file.set_len(0)));
        allowed("what it is", sys::regular_len(file));
        let to = SocketAddr::from(([127, 0, 0, 1], 9));
        let [now, later] = [0, 60].map(|secs| Uptime::new(secs, 0));
        let udp = Udp::new(socket, None, None, to, now);
        // Later the route is looked at.
        let sent = udp.and_then(|mut udp| {
            udp.send(now, &[b"x"])?;
            udp.take_reports();
            udp.redirect(now, to);
            udp.send(later, &[b"x"])
        });
        allowed("UDP", sent);
        let (mut one, other) = UnixStream::pair().unwrap();
        allowed("duplicate", other.try_clone());
        let timeout = Some(std::time::Duration::from_secs(1));
        allowed(
            "timeouts",
            one.set_read_timeout(timeout)
                .and_then(|()| one.set_write_timeout(timeout)),
        );
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
            let socket =
                transport::bind(source_address(None, false), None, WhenFull::Drop).unwrap();
            println!("entered: {}", enter().unwrap());
            try_what_is_needed(&file, socket);
            try_what_is_forbidden(&file);
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
    fn abort_ends_the_process_by_its_own_signal() {
        const NAME: &str = "abort_ends_the_process_by_its_own_signal";
        if std::env::var_os(INSIDE).is_some() {
            enter().unwrap();
            std::process::abort();
        }
        let test = format!("io::sandbox::tests::{NAME}");
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", &test, "--nocapture"])
            .env(INSIDE, "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert_eq!(status.signal(), Some(libc::SIGABRT), "{status}");
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
