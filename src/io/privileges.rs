//! Gives up rights once everything is open. The process gets an empty directory as its root, and
//! another user's rights. Then it enters the sandbox that the system has.
//!
//! ```text
//! open everything -> chroot -> setgroups, setresgid, setresuid -> sandbox -> threads that parse
//! ```
//! | system  | sandbox                                                                     |
//! |---------|-----------------------------------------------------------------------------|
//! | Linux   | Landlock; seccomp(2), a list of system calls, where the library has the machine |
//! | OpenBSD | unveil(2) of nothing, pledge(2) "stdio inet recvfd bpf"                       |
//! | FreeBSD | Capsicum rights on the captures: read, wait, count. Not capability mode: in it |
//! |         | sendto(2) takes no address, and collectors change while the program runs      |
//! | others  | none                                                                          |
//!
//! The parent gives up nothing, because it opens lost captures again, and OpenBSD's pledge(2) has
//! no promise for that. The parent reads only the configuration and the child's short requests.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Uid, chdir, chroot, geteuid, setgroups};

/// The user to run as once everything is open.
#[derive(Clone, Debug)]
pub struct User {
    /// Its name.
    pub name: String,
    uid: Uid,
    gid: Gid,
}

/// Whether the program may become another user.
pub fn is_root() -> bool {
    geteuid().is_root()
}

impl User {
    /// The user called `name`.
    ///
    /// # Errors
    /// There is none.
    pub fn find(name: &str) -> Result<Self, String> {
        match nix::unistd::User::from_name(name) {
            Ok(Some(user)) => Ok(Self {
                name: name.to_owned(),
                uid: user.uid,
                gid: user.gid,
            }),
            Ok(None) => Err(format!("user {name}: no such user")),
            Err(error) => Err(format!("user {name}: {error}")),
        }
    }

    /// Whether the program runs as this user already.
    pub fn is_current(&self) -> bool {
        geteuid() == self.uid
    }
}

/// The new root, if this directory exists and only root can write to it.
const EMPTY: &str = "/var/empty";
/// Otherwise a new directory is made in one of these. It is removed at once, so that nobody can use
/// it.
const MAKE_IN: [&str; 3] = ["/run", "/var/run", "/tmp"];

/// Becomes `user` in a root without files.
///
/// # Errors
/// What is refused: the program must not go on.
pub fn become_user(user: &User) -> Result<(), String> {
    let failed = |what: &str| {
        let what = what.to_owned();
        move |error: nix::errno::Errno| format!("{what}: {error}")
    };
    enter_empty().map_err(|error| format!("empty directory: {error}"))?;
    chroot(".").map_err(failed("chroot"))?;
    chdir("/").map_err(failed("chroot"))?;
    setgroups(&[user.gid]).map_err(failed("setgroups"))?;
    #[cfg(not(target_os = "netbsd"))]
    {
        use nix::unistd::{setresgid, setresuid};
        setresgid(user.gid, user.gid, user.gid).map_err(failed("setresgid"))?;
        setresuid(user.uid, user.uid, user.uid).map_err(failed("setresuid"))?;
    }
    // NetBSD has no setresuid(2); from root these set all three.
    #[cfg(target_os = "netbsd")]
    {
        use nix::unistd::{setgid, setuid};
        setgid(user.gid).map_err(failed("setgid"))?;
        setuid(user.uid).map_err(failed("setuid"))?;
    }
    if !user.uid.is_root() && nix::unistd::setuid(Uid::from_raw(0)).is_ok() {
        return Err("setuid: root's rights came back".to_owned());
    }
    Ok(())
}

/// Goes to a directory that is empty and stays so.
fn enter_empty() -> io::Result<()> {
    if is_empty_of_root(Path::new(EMPTY)) {
        return Ok(chdir(EMPTY)?);
    }
    // A removed directory takes no new files, but it can still be the root.
    let name = format!(".pflow-empty-{}", std::process::id());
    let mut refused = io::Error::from(io::ErrorKind::NotFound);
    for place in MAKE_IN {
        let path: PathBuf = Path::new(place).join(&name);
        match fs::DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => {
                let entered = chdir(&path);
                fs::remove_dir(&path)?;
                return Ok(entered?);
            }
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

fn is_empty_of_root(path: &Path) -> bool {
    let is_roots = fs::symlink_metadata(path)
        .is_ok_and(|data| data.is_dir() && data.uid() == 0 && data.mode() & 0o022 == 0);
    is_roots && fs::read_dir(path).is_ok_and(|mut files| files.next().is_none())
}

/// Gives up all rights that the program does not need from now on. Returns how, for the log. No
/// thread may have been started, because on Linux each has rights of its own.
///
/// # Errors
/// The system refuses its own sandbox. The program must not go on.
#[cfg(target_os = "linux")]
pub fn enter_sandbox() -> Result<String, String> {
    super::sandbox::enter()
}

/// See Linux.
///
/// # Errors
/// The system refuses it.
#[cfg(target_os = "openbsd")]
pub fn enter_sandbox() -> Result<String, String> {
    let promises = c"stdio inet recvfd bpf";
    super::sys::pledge(promises).map_err(|error| format!("pledge: {error}"))?;
    Ok("unveil, pledge".to_owned())
}

/// See Linux.
///
/// # Errors
/// Never.
#[cfg(not(any(target_os = "linux", target_os = "openbsd")))]
pub fn enter_sandbox() -> Result<String, String> {
    Ok(match cfg!(target_os = "freebsd") {
        true => "Capsicum rights on captures".to_owned(),
        false => "no sandbox on this system".to_owned(),
    })
}
