//! Opens files whose names pflow was given. A file is opened from the descriptor of its directory.
//!
//! ```text
//! /var/db/pflow/keep     / --openat--> var --openat--> db --openat--> pflow --openat--> keep
//! ```
//! Anybody who can write to a directory can put a link there, and a program with more rights may
//! follow it. So a link as the last name is never followed. A link on the way is followed only if
//! nobody but root and the user who runs pflow could have made it. Linux's /var/run is such a link.
//! A file with a second name is refused for the same reason. Once the directory is open, names are
//! looked up in that directory only, even if the path changes.
//!
//! Configurations and savefiles (`-r`) are only read, and links to them are followed.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};

use nix::dir::Dir;
use nix::fcntl::{AtFlags, OFlag, openat, readlinkat, renameat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat};
use nix::unistd::{UnlinkatFlags, geteuid, unlinkat};

/// Most links on the way to a file.
const MAX_LINKS: usize = 16;

/// Longest configuration file, octets.
const MAX_CONFIG: u64 = 1 << 20;

/// How a directory on the way is opened. Linux does not ask for the right to list it.
#[cfg(target_os = "linux")]
const WAY: OFlag = OFlag::O_PATH;
#[cfg(not(target_os = "linux"))]
const WAY: OFlag = OFlag::O_RDONLY;

/// A name in a directory that is open. A file may or may not be there.
#[derive(Debug)]
pub struct Entry {
    directory: OwnedFd,
    name: OsString,
}

impl Entry {
    /// The entry that `path` names.
    ///
    /// # Errors
    /// A directory on the way cannot be opened, or is a link that somebody else could have made.
    pub fn find(path: &Path) -> io::Result<Self> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let start = match path.is_absolute() {
            true => "/",
            false => ".",
        };
        let mut directory = open_directory(nix::fcntl::AT_FDCWD, OsStr::new(start))?;
        let mut way = VecDeque::new();
        push_front(&mut way, path.parent().unwrap_or(Path::new("")));
        let mut links = 0;
        while let Some(step) = way.pop_front() {
            match open_directory(&directory, &step) {
                Ok(next) => directory = next,
                Err(error) => {
                    let Some(target) = link_in(&directory, &step)? else {
                        return Err(error);
                    };
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(io::Error::other(format!("more than {MAX_LINKS} links")));
                    }
                    if target.is_absolute() {
                        directory = open_directory(&directory, OsStr::new("/"))?;
                    }
                    push_front(&mut way, &target);
                }
            }
        }
        let name = name.to_owned();
        Ok(Self { directory, name })
    }

    /// The entry beside, whose name has `ending` behind this one's.
    ///
    /// # Errors
    /// The system has no descriptor for it.
    pub fn beside(&self, ending: &str) -> io::Result<Self> {
        let mut name = self.name.clone();
        name.push(ending);
        let directory = self.directory.try_clone()?;
        Ok(Self { directory, name })
    }

    /// The entry of another name in the same directory.
    ///
    /// # Errors
    /// `name` is no name of a file, or the system has no descriptor for it.
    pub fn sibling(&self, name: &str) -> io::Result<Self> {
        if matches!(name, "" | "." | "..") || name.contains('/') {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let directory = self.directory.try_clone()?;
        Ok(Self {
            directory,
            name: name.into(),
        })
    }

    /// The names in the directory, in no order; those that are no text are left out.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn siblings(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in Dir::from_fd(self.open_listing()?)?.iter() {
            names.extend(entry?.file_name().to_str().map(str::to_owned));
        }
        Ok(names)
    }

    /// Opens the regular file that is there, or makes one of mode 0600 if `flags` have O_CREAT.
    ///
    /// # Errors
    /// The system refuses it, it is a link, or something else, or has a second name.
    pub fn open(&self, flags: OFlag) -> io::Result<File> {
        self.open_with_mode(flags, 0o600)
    }

    /// [`Self::open`], with the mode that a new file gets.
    ///
    /// # Errors
    /// See there.
    pub fn open_with_mode(&self, flags: OFlag, mode: libc::mode_t) -> io::Result<File> {
        // O_NONBLOCK: the open must not wait for the other end of a FIFO.
        let flags = flags | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let mode = Mode::from_bits_truncate(mode);
        let opened = openat(&self.directory, &*self.name, flags, mode);
        let file = File::from(opened.map_err(|error| match self.kind() {
            Ok(SFlag::S_IFLNK) => io::Error::other("a link, which is not followed"),
            Ok(SFlag::S_IFREG) | Err(_) => error.into(),
            Ok(_) => io::Error::other("not a regular file"),
        })?);
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::other("not a regular file"));
        }
        if metadata.nlink() > 1 {
            return Err(io::Error::other("has a second name (a hard link)"));
        }
        Ok(file)
    }

    /// What is there, no link followed.
    ///
    /// # Errors
    /// What fstatat(2) reports: nothing, as a rule.
    pub fn stat(&self) -> io::Result<FileStat> {
        let stat = fstatat(&self.directory, &*self.name, AtFlags::AT_SYMLINK_NOFOLLOW);
        Ok(stat?)
    }

    /// The kind of file that is there.
    ///
    /// # Errors
    /// See [`Self::stat`].
    pub fn kind(&self) -> io::Result<SFlag> {
        Ok(SFlag::from_bits_truncate(self.stat()?.st_mode) & SFlag::S_IFMT)
    }

    /// Gives the file that is there the name of `other`, whose file goes.
    ///
    /// # Errors
    /// What renameat(2) reports.
    pub fn rename(&self, other: &Self) -> io::Result<()> {
        let (from, to) = (&*self.name, &*other.name);
        Ok(renameat(&self.directory, from, &other.directory, to)?)
    }

    /// Removes the file that is there.
    ///
    /// # Errors
    /// What unlinkat(2) reports.
    pub fn remove(&self) -> io::Result<()> {
        let flag = UnlinkatFlags::NoRemoveDir;
        Ok(unlinkat(&self.directory, &*self.name, flag)?)
    }

    /// What the directory is.
    ///
    /// # Errors
    /// What fstat(2) reports: nothing, as a rule.
    pub fn stat_directory(&self) -> io::Result<FileStat> {
        Ok(fstat(&self.directory)?)
    }

    /// The names in the directory.
    ///
    /// # Errors
    /// The system refuses them, or there are more than `most`.
    pub fn names_beside(&self, most: usize) -> io::Result<Vec<OsString>> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let mut directory = Dir::openat(&self.directory, ".", flags, Mode::empty())?;
        let mut names = Vec::new();
        for entry in directory.iter() {
            if names.len() >= most {
                return Err(io::Error::other(format!("more than {most} files")));
            }
            names.push(OsStr::from_bytes(entry?.file_name().to_bytes()).to_owned());
        }
        Ok(names)
    }

    /// Puts the directory's names on the disk.
    ///
    /// # Errors
    /// What fsync(2) reports.
    pub fn sync_directory(&self) -> io::Result<()> {
        File::from(self.open_listing()?).sync_all()
    }

    /// The directory, opened to be read.
    fn open_listing(&self) -> io::Result<OwnedFd> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        Ok(openat(&self.directory, ".", flags, Mode::empty())?)
    }
}

fn open_directory(at: impl std::os::fd::AsFd, name: &OsStr) -> io::Result<OwnedFd> {
    let flags = WAY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    Ok(openat(at, name, flags, Mode::empty())?)
}

/// Puts the steps of `path` before those of `way`.
fn push_front(way: &mut VecDeque<OsString>, path: &Path) {
    for step in path.components().rev() {
        match step {
            Component::Normal(_) | Component::ParentDir => {
                way.push_front(step.as_os_str().to_owned());
            }
            _ => {}
        }
    }
}

/// Where the link `name` of `directory` leads to, if it is one.
///
/// # Errors
/// It is one that is not followed.
fn link_in(directory: &OwnedFd, name: &OsStr) -> io::Result<Option<PathBuf>> {
    let Ok(target) = readlinkat(directory, name) else {
        return Ok(None);
    };
    let stat = fstat(directory)?;
    let is_own = stat.st_uid == 0 || stat.st_uid == geteuid().as_raw();
    if !is_own || stat.st_mode & 0o022 != 0 {
        let name = Path::new(name).display();
        let text = format!("{name} is a link in a directory that others can write, not followed");
        return Err(io::Error::other(text));
    }
    Ok(Some(target.into()))
}

/// The text of the configuration file `name`: a regular file, or a character device such as
/// /dev/null.
///
/// # Errors
/// The system refuses it, or it is something else, too long, or no text.
pub fn read_config(name: &str) -> io::Result<String> {
    read_text(name, MAX_CONFIG)
}

/// The text of the file `name`, of at most so many octets.
///
/// # Errors
/// The system refuses it, or it is something else, too long, or no text.
pub fn read_text(name: &str, most: u64) -> io::Result<String> {
    // The open must not wait until somebody writes to a FIFO.
    let mut options = File::options();
    let file = options
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(name)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() && !metadata.file_type().is_char_device() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut octets = Vec::new();
    file.take(most + 1).read_to_end(&mut octets)?;
    if octets.len() as u64 > most {
        let text = format!("larger than {most} octets");
        return Err(io::Error::other(text));
    }
    let text = |_| io::Error::new(io::ErrorKind::InvalidData, "not text in UTF-8");
    String::from_utf8(octets).map_err(text)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// A directory of this test alone, which only its owner can write.
    struct Place(PathBuf);

    impl Place {
        fn new() -> Self {
            static COUNTER: AtomicU32 = AtomicU32::new(0);
            let number = COUNTER.fetch_add(1, Ordering::Relaxed);
            let name = format!("pflow-files-{}-{number}", std::process::id());
            let path = std::env::temp_dir().join(name);
            fs::create_dir(&path).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            Self(path)
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.join(name)
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    const CREATE: OFlag = OFlag::O_WRONLY.union(OFlag::O_CREAT);

    fn open(path: &Path) -> Result<File, String> {
        let opened = Entry::find(path).and_then(|entry| entry.open(CREATE));
        opened.map_err(|error| error.to_string())
    }

    #[test]
    fn a_link_a_second_name_and_what_is_no_file_are_refused_and_stay_as_they_were() {
        let place = Place::new();
        let victim = place.path("victim");
        fs::write(&victim, "secret").unwrap();
        symlink(&victim, place.path("link")).unwrap();
        let refused = |name: &str| open(&place.path(name)).unwrap_err();
        assert_eq!(refused("link"), "a link, which is not followed");
        fs::hard_link(&victim, place.path("second")).unwrap();
        assert_eq!(refused("second"), "has a second name (a hard link)");
        fs::create_dir(place.path("directory")).unwrap();
        assert_eq!(refused("directory"), "not a regular file");
        nix::unistd::mkfifo(&place.path("fifo"), Mode::S_IRWXU).unwrap();
        assert_eq!(refused("fifo"), "not a regular file");
        symlink(place.path("nowhere"), place.path("dangling")).unwrap();
        assert_eq!(refused("dangling"), "a link, which is not followed");
        assert!(!place.path("nowhere").exists());
        assert_eq!(fs::read_to_string(&victim).unwrap(), "secret");
        let made = open(&place.path("new")).unwrap();
        assert_eq!(made.metadata().unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_link_on_the_way_is_followed_only_where_nobody_else_can_write() {
        let place = Place::new();
        fs::create_dir(place.path("real")).unwrap();
        fs::create_dir(place.path("shared")).unwrap();
        for (link, to) in [
            ("absolute", place.path("real")),
            ("relative", PathBuf::from("shared/../real")),
            ("shared/link", place.path("real")),
            ("loop", place.path("loop")),
        ] {
            symlink(to, place.path(link)).unwrap();
        }
        for mode in [0o777, 0o1777, 0o775] {
            let mode = fs::Permissions::from_mode(mode);
            fs::set_permissions(place.path("shared"), mode).unwrap();
            let problem = open(&place.path("shared/link/file")).unwrap_err();
            let expected = "link is a link in a directory that others can write, not followed";
            assert_eq!(problem, expected);
        }
        for way in ["absolute/a", "relative/b", "shared/../real/c"] {
            open(&place.path(way)).unwrap();
        }
        let problem = open(&place.path("loop/file")).unwrap_err();
        assert_eq!(problem, "more than 16 links");
        assert!(open(&place.path("none/file")).is_err());
        assert_eq!(fs::read_dir(place.path("real")).unwrap().count(), 3);
    }

    #[test]
    fn what_is_done_in_a_directory_stays_there_when_its_path_leads_elsewhere() {
        let place = Place::new();
        let (here, there) = (place.path("here"), place.path("there"));
        fs::create_dir(&here).unwrap();
        fs::create_dir(&there).unwrap();
        fs::write(there.join("keep"), "old").unwrap();
        let whole = Entry::find(&here.join("keep")).unwrap();
        let beside = whole.beside(".new").unwrap();
        beside.open(CREATE | OFlag::O_EXCL).unwrap();
        fs::rename(&here, place.path("moved")).unwrap();
        symlink(&there, &here).unwrap();
        beside.rename(&whole).unwrap();
        whole.sync_directory().unwrap();
        assert_eq!(fs::read_to_string(there.join("keep")).unwrap(), "old");
        assert!(place.path("moved/keep").exists());
        whole.remove().unwrap();
        assert!(!place.path("moved/keep").exists() && there.join("keep").exists());
    }

    #[test]
    fn a_configuration_has_a_bound_and_nobody_waits_for_one() {
        let place = Place::new();
        let file = place.path("conf");
        let name = file.to_str().unwrap();
        let most = usize::try_from(MAX_CONFIG).unwrap();
        fs::write(&file, vec![b'#'; most]).unwrap();
        assert_eq!(read_config(name).unwrap().len(), most);
        fs::write(&file, vec![b'#'; most + 1]).unwrap();
        let problem = |name: &str| read_config(name).unwrap_err().to_string();
        assert_eq!(problem(name), "larger than 1048576 octets");
        assert_eq!(problem("/dev/zero"), "larger than 1048576 octets");
        assert_eq!(read_config("/dev/null").unwrap(), "");
        assert_eq!(problem(place.0.to_str().unwrap()), "not a regular file");
        fs::remove_file(&file).unwrap();
        nix::unistd::mkfifo(&file, Mode::S_IRWXU).unwrap();
        assert_eq!(problem(name), "not a regular file");
        fs::remove_file(&file).unwrap();
        fs::write(&file, [0xff]).unwrap();
        assert_eq!(problem(name), "not text in UTF-8");
    }
}
