//! The sockets' files: made with their mode, put in the place of a dead program's, removed at the
//! end.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use nix::sys::stat::{Mode, SFlag, umask};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::control::Access;
use crate::io::files::Entry;

/// Connections waiting to be let in.
const BACKLOG: i32 = 16;

/// Control sockets that nobody serves yet: clients wait to be let in.
pub struct Listening {
    pub(super) listeners: Vec<(UnixListener, Access)>,
    pub(super) files: Vec<SocketFile>,
}

/// Why a control socket could not be opened.
#[derive(Debug)]
pub struct NotOpened {
    /// Which and why.
    pub problem: String,
    /// Whether another program listens there, perhaps one that is about to end.
    pub is_taken: bool,
}

impl Listening {
    /// Opens the sockets of `files`, each with what may be asked there.
    ///
    /// # Errors
    /// Which socket could not be opened and why; then none is.
    pub fn open(files: &[(&str, Access)]) -> Result<Self, NotOpened> {
        let mut listening = Self {
            listeners: Vec::new(),
            files: Vec::new(),
        };
        for (name, access) in files {
            let (listener, file) = listen(Path::new(name), *access).map_err(|error| NotOpened {
                problem: format!("{name}: {error}"),
                is_taken: error.kind() == io::ErrorKind::AddrInUse,
            })?;
            listening.files.push(file);
            listening.listeners.push((listener, *access));
        }
        Ok(listening)
    }

    /// Leaves the sockets to the other process and keeps their files, which it may not remove.
    pub fn into_files(self) -> Vec<SocketFile> {
        self.files
    }

    /// Leaves the files to the other process and keeps the sockets. After this nothing here looks
    /// at a file any more: a process that gave up its rights would be killed for it (pledge(2)).
    #[must_use]
    pub fn without_files(mut self) -> Self {
        for file in &mut self.files {
            file.remover = Remover::OtherProcess;
        }
        self
    }
}

/// A socket's file, removed with it unless another has taken its place.
pub struct SocketFile {
    pub(super) path: PathBuf,
    inode: u64,
    remover: Remover,
}

/// Who removes a socket's file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Remover {
    ThisProcess,
    OtherProcess,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.remover == Remover::OtherProcess {
            return;
        }
        if fs::symlink_metadata(&self.path).is_ok_and(|data| data.ino() == self.inode) {
            // The program ends: there is nobody to tell.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Who may connect: the owner, or everybody who can reach the file.
fn mode(access: Access) -> libc::mode_t {
    match access {
        Access::Full => 0o600,
        Access::ReadOnly => 0o666,
    }
}

/// Listens on `path`, whose place a dead program's socket may hold.
fn listen(path: &Path, access: Access) -> io::Result<(UnixListener, SocketFile)> {
    let entry = Entry::find(path)?;
    match entry.kind() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
        Ok(SFlag::S_IFSOCK) => {
            if is_listened_to(path)? {
                let problem = "another program listens there";
                return Err(io::Error::new(io::ErrorKind::AddrInUse, problem));
            }
        }
        Ok(_) => return Err(io::Error::other("exists and is not a socket")),
    }
    // Nobody can connect before it listens, which it does when its mode is right and under a name
    // of its own; rename(2) then takes the old one's place at once.
    let ending = format!(".{}.tmp", std::process::id());
    let own = entry.beside(&ending)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    let made = (|| {
        let mut name = path.as_os_str().to_owned();
        name.push(&ending);
        bind(&socket, Path::new(&name), access)?;
        // bind(2) takes no directory's descriptor: what it made must be found in this one.
        let stat = own.stat()?;
        if own.kind()? != SFlag::S_IFSOCK || stat.st_mode & 0o777 != mode(access) {
            return Err(io::Error::other("its mode is not what it was made with"));
        }
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        own.rename(&entry)?;
        Ok(stat.st_ino)
    })();
    match made {
        Ok(inode) => Ok((
            socket.into(),
            SocketFile {
                path: path.to_owned(),
                inode,
                remover: Remover::ThisProcess,
            },
        )),
        Err(error) => {
            // It may not have been made.
            let _ = own.remove();
            Err(error)
        }
    }
}

/// Binds `socket`, whose file has its mode from its first instant. The mask is the process's:
/// nothing else makes files meanwhile, because no thread has been started yet.
fn bind(socket: &Socket, path: &Path, access: Access) -> io::Result<()> {
    let address = SockAddr::unix(path)?;
    let before = umask(Mode::from_bits_truncate(0o777 & !mode(access)));
    let outcome = socket.bind(&address);
    umask(before);
    outcome
}

/// Whether a program listens on `path`, even one that lets nobody in.
fn is_listened_to(path: &Path) -> io::Result<bool> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    match socket.connect(&SockAddr::unix(path)?) {
        Ok(()) => Ok(true),
        Err(error) => Ok(error.kind() == io::ErrorKind::WouldBlock),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
    use std::sync::{Mutex, PoisonError};

    use super::*;

    /// umask(2) is of the whole process: tests that bind take turns.
    static MASK: Mutex<()> = Mutex::new(());

    #[test]
    fn a_socket_has_its_mode_when_it_is_bound_and_the_mask_stays() {
        let _turn = MASK.lock().unwrap_or_else(PoisonError::into_inner);
        let mask = umask(Mode::from_bits_truncate(0o022));
        for access in [Access::Full, Access::ReadOnly] {
            let name = format!("pflow-bound-{}-{access:?}", std::process::id());
            let path = std::env::temp_dir().join(name);
            let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
            bind(&socket, &path, access).unwrap();
            let data = fs::symlink_metadata(&path).unwrap();
            fs::remove_file(&path).unwrap();
            assert_eq!(data.permissions().mode() & 0o777, mode(access));
        }
        assert_eq!(umask(mask).bits(), 0o022);
    }

    #[test]
    fn a_link_at_a_sockets_place_is_neither_followed_nor_replaced() {
        let _turn = MASK.lock().unwrap_or_else(PoisonError::into_inner);
        let name = format!("pflow-listen-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        symlink("/nowhere", &path).unwrap();
        let refused = listen(&path, Access::Full).err().unwrap();
        assert_eq!(refused.to_string(), "exists and is not a socket");
        assert!(fs::symlink_metadata(&path).unwrap().is_symlink());
        fs::remove_file(&path).unwrap();
        let (listener, file) = listen(&path, Access::Full).unwrap();
        let refused = listen(&path, Access::Full).err().unwrap();
        assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
        drop(listener);
        // What a program left that was killed is replaced.
        let (_again, other) = listen(&path, Access::Full).unwrap();
        drop(file);
        assert!(fs::symlink_metadata(&path).unwrap().file_type().is_socket());
        drop(other);
        assert!(!path.exists());
    }
}
