//! Makes the program a daemon: it detaches from the terminal. The pidfile tells its process number,
//! and keeps a second daemon from starting.
//!
//! ```text
//! started from a shell --fork--> daemon, a session of its own
//!        waits <---- one octet, or its end ---- when it runs, or does not
//! ```

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{self, ExitCode};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag};
use nix::sys::signal::{SigSet, SigmaskHow};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, dup2_stderr, dup2_stdin, dup2_stdout, setsid};

use super::files::Entry;
pub use super::sys::pause;
use super::{signals, sys};

/// Which process this is after [`detach`].
pub enum Detached {
    /// The process that the shell started. The daemon runs, or has ended with this status.
    Shell(ExitCode),
    /// The daemon.
    Daemon(Waiting),
}

/// A shell that waits.
pub struct Waiting(UnixStream);

impl Waiting {
    /// Tells that the daemon runs.
    pub fn release(mut self) {
        // If it was killed, nobody waits.
        let _ = self.0.write_all(&[0]);
    }
}

/// Goes to the background. Standard input, output and error stay as they are for now, so that
/// whoever started the program sees why it does not run.
///
/// # Errors
/// The system refuses a process or a session.
pub fn detach() -> io::Result<Detached> {
    let (mut shell, daemon) = UnixStream::pair()?;
    if let Some(child) = sys::fork()? {
        drop(daemon);
        let mut octet = [0];
        let is_running = shell.read_exact(&mut octet).is_ok();
        return Ok(Detached::Shell(match is_running {
            true => ExitCode::SUCCESS,
            false => status_of(child).code(),
        }));
    }
    drop(shell);
    setsid()?;
    Ok(Detached::Daemon(Waiting(daemon)))
}

/// Makes a second process, while the program has one thread only. The child gets `None`, the
/// parent the child's number.
///
/// # Errors
/// What fork(2) reports.
pub fn fork() -> io::Result<Option<Pid>> {
    sys::fork()
}

/// Like [`fork`], for a process that must not react to this one's signals (`signals::leave`).
///
/// # Errors
/// What fork(2) or sigprocmask(2) reports.
pub fn fork_apart() -> io::Result<Option<Pid>> {
    let all: SigSet = signals::wanted().collect();
    // A handler that ran in the new process would write to this one's pipes.
    let before = all.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
    let forked = fork();
    let left = match forked {
        Ok(None) => signals::leave(),
        _ => Ok(()),
    };
    before.thread_set_mask()?;
    left?;
    forked
}

/// How a process ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ended {
    /// With this status.
    Status(u8),
    /// By this signal.
    Signal(i32),
}

impl Ended {
    /// The status to end with after a process that ended so.
    pub fn code(self) -> ExitCode {
        match self {
            Self::Status(status) => ExitCode::from(status),
            Self::Signal(_) => ExitCode::FAILURE,
        }
    }
}

/// Waits until `child` has ended.
pub fn status_of(child: Pid) -> Ended {
    loop {
        match waitpid(child, None) {
            Ok(WaitStatus::Exited(_, status)) => {
                return Ended::Status(u8::try_from(status).unwrap_or(1));
            }
            Ok(WaitStatus::Signaled(_, signal, _)) => return Ended::Signal(signal as i32),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return Ended::Status(1),
        }
    }
}

/// How `child` ended, if it has.
pub fn ended(child: Pid) -> Option<Ended> {
    match waitpid(child, Some(WaitPidFlag::WNOHANG)) {
        Ok(WaitStatus::Exited(_, status)) => Some(Ended::Status(u8::try_from(status).unwrap_or(1))),
        Ok(WaitStatus::Signaled(_, signal, _)) => Some(Ended::Signal(signal as i32)),
        Ok(_) | Err(Errno::EINTR) => None,
        // The process is no child any more, so how it ended is unknown.
        Err(_) => Some(Ended::Status(1)),
    }
}

/// /dev/null, opened while it can be.
pub struct Null(File);

impl Null {
    /// Opens it.
    ///
    /// # Errors
    /// The system has none.
    pub fn open() -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open("/dev/null");
        file.map(Self)
    }

    /// Puts it in place of standard input, output and error.
    ///
    /// # Errors
    /// What dup2(2) reports.
    pub fn replace_standard(&self) -> io::Result<()> {
        dup2_stdin(&self.0)?;
        dup2_stdout(&self.0)?;
        dup2_stderr(&self.0)?;
        Ok(())
    }
}

/// Time between two tries to lock a file.
const BETWEEN_TRIES: Duration = Duration::from_millis(50);

/// A file with the number of the process, locked as long as any process has it; removed with this
/// value.
pub struct PidFile {
    path: PathBuf,
    inode: u64,
    lock: Option<Flock<File>>,
}

impl PidFile {
    /// Takes the file called `name`. If it is locked, `tries` more tries follow, 50 ms apart,
    /// because a killed program may have a child that is about to end.
    ///
    /// # Errors
    /// Another program has it, or the system refuses it.
    pub fn take(name: &str, mut tries: u32) -> Result<Self, String> {
        let located = |error: io::Error| format!("{name}: {error}");
        let path = Path::new(name);
        // The owner may remove the file between open and lock. Then the name belongs to another
        // file.
        loop {
            let entry = Entry::find(path).map_err(located)?;
            let file = entry.open_with_mode(OFlag::O_RDWR | OFlag::O_CREAT, 0o644);
            let file = file.map_err(located)?;
            let data = file.metadata().map_err(located)?;
            let mut lock = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(lock) => lock,
                Err((mut file, Errno::EWOULDBLOCK)) => {
                    let mut text = String::new();
                    // Only to tell which.
                    let _ = Read::by_ref(&mut file).take(32).read_to_string(&mut text);
                    if tries > 0 {
                        tries -= 1;
                        std::thread::sleep(BETWEEN_TRIES);
                        continue;
                    }
                    return Err(format!(
                        "{name}: pflow runs already, process {}",
                        text.trim()
                    ));
                }
                Err((_, Errno::EINTR)) => continue,
                Err((_, error)) => return Err(located(error.into())),
            };
            if fs::symlink_metadata(path).is_ok_and(|now| now.ino() == data.ino()) {
                let written = lock
                    .set_len(0)
                    .and_then(|()| writeln!(lock, "{}", process::id()));
                let taken = Self {
                    path: path.to_owned(),
                    inode: data.ino(),
                    lock: Some(lock),
                };
                return written.map(|()| taken).map_err(located);
            }
        }
    }

    /// Leaves the file to the other process: it stays, and stays locked, until both have ended.
    pub fn leave(mut self) {
        // Dropping the lock would unlock the file for both processes.
        if let Some(lock) = self.lock.take() {
            std::mem::forget(lock);
        }
        self.path.clear();
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        let is_ours = |data: fs::Metadata| data.ino() == self.inode;
        if fs::symlink_metadata(&self.path).is_ok_and(is_ours) {
            // The program ends: there is nobody to tell.
            let _ = fs::remove_file(&self.path);
        }
        // A lock that cannot be removed ends with the process. It must not panic here.
        if let Some(Err((lock, _))) = self.lock.take().map(Flock::unlock) {
            std::mem::forget(lock);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pidfile_is_one_programs_and_goes_with_it() {
        let name = std::env::temp_dir().join(format!("pflow-pid-{}", process::id()));
        let name = name.to_str().unwrap();
        fs::write(name, "999999999 left by a program that was killed\n").unwrap();
        let taken = PidFile::take(name, 0).unwrap();
        let own = format!("{}\n", process::id());
        assert_eq!(fs::read_to_string(name).unwrap(), own);
        let refused = PidFile::take(name, 0).err().unwrap();
        let expected = format!("{name}: pflow runs already, process {}", process::id());
        assert_eq!(refused, expected);
        assert_eq!(
            fs::read_to_string(name).unwrap(),
            own,
            "the refused one changed it"
        );
        drop(taken);
        assert!(!Path::new(name).exists());
        drop(PidFile::take(name, 0).unwrap());
    }

    #[test]
    fn a_pidfile_that_another_put_there_stays() {
        let name = std::env::temp_dir().join(format!("pflow-pid-other-{}", process::id()));
        let name = name.to_str().unwrap();
        let taken = PidFile::take(name, 0).unwrap();
        fs::remove_file(name).unwrap();
        fs::write(name, "another").unwrap();
        drop(taken);
        assert_eq!(fs::read_to_string(name).unwrap(), "another");
        fs::remove_file(name).unwrap();
    }
}
