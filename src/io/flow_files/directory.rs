//! The directory that flow files are in, for whoever may write there: makes files, gives them
//! their names, removes old ones.
//!
//! ```text
//! NAME.current   is written to, and locked (flock(2)) by whoever writes
//! NAME           is whole and never touched again, until it is one of too many
//! ```
//! So who looks for names by the pattern finds whole files only. A file NAME.current that nobody
//! has locked was left by a program that was killed.
//!
//! Others may have files in the directory. Nothing is overwritten. What is renamed or removed has
//! a name by the pattern, is a regular file with no second name, and of the user who runs this.

use std::cmp::Reverse;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use jiff::tz::TimeZone;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag};
use nix::sys::stat::{FileStat, SFlag};
use nix::unistd::geteuid;

use super::Place;
use crate::config::{MAX_NUMBER, Pattern, numbered};
use crate::export::{Compression, Settings};
use crate::io::files::Entry;

/// Behind the name of a file that is written to.
const CURRENT: &str = ".current";
/// Who may read the files: their owner, and the group that the directory gives them.
const MODE: libc::mode_t = 0o640;

/// A directory, and the file in it that is written to.
pub struct Directory {
    pattern: Pattern,
    is_gzip: bool,
    /// Most files that are kept.
    retain: Option<usize>,
    zone: TimeZone,
    directory: Entry,
    current: Option<Current>,
}

/// A file that is written to.
struct Current {
    entry: Entry,
    /// Name and number that it is to have.
    base: String,
    number: u32,
    is_gzip: bool,
    /// Ends with this value, and keeps other programs away until then.
    lock: Flock<File>,
}

impl Directory {
    /// The directory of the pattern of `settings`, with the times of this system's time zone.
    ///
    /// # Errors
    /// There is no pattern, or the directory cannot be opened.
    pub fn open(settings: &Settings) -> io::Result<Self> {
        let pattern = settings.file.as_deref().unwrap_or_default();
        let pattern = Pattern::new(pattern).map_err(io::Error::other)?;
        let mut path = PathBuf::from(pattern.directory());
        path.push("any");
        Ok(Self {
            is_gzip: settings.compression == Compression::Gzip,
            retain: usize::try_from(settings.retain).ok().filter(|n| *n > 0),
            zone: TimeZone::system(),
            directory: Entry::find(&path)?,
            current: None,
            pattern,
        })
    }

    fn path(&self, name: &str) -> String {
        self.pattern.directory().join(name).display().to_string()
    }

    /// Whether nothing has a name.
    fn is_free(&self, name: &str) -> io::Result<bool> {
        match self.directory.sibling(name)?.stat() {
            Ok(_) => Ok(false),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Removes the oldest files so that so many are left. `latest` is not among the oldest, whatever
    /// the clock said.
    fn remove_old(&self, retain: usize, latest: &str) -> io::Result<u64> {
        let mut others = Vec::new();
        for name in self.directory.siblings()? {
            let Some(rank) = self.pattern.recognize(&name).filter(|_| name != latest) else {
                continue;
            };
            let entry = self.directory.sibling(&name)?;
            // It may have gone meanwhile.
            if let Ok(stat) = entry.stat()
                && is_ours(&stat)
            {
                others.push((modified(&stat), rank, entry));
            }
        }
        others.sort_by_key(|(modified, rank, _)| Reverse((*modified, rank.clone())));
        let mut removed = 0;
        for (.., entry) in others.drain(..).skip(retain.saturating_sub(1)) {
            entry.remove()?;
            removed += 1;
        }
        Ok(removed)
    }
}

/// Whether a file is one that a program of this user made and nobody gave another name.
fn is_ours(stat: &FileStat) -> bool {
    let kind = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT;
    kind == SFlag::S_IFREG && stat.st_nlink == 1 && stat.st_uid == geteuid().as_raw()
}

/// When a file was written last: seconds, nanoseconds.
fn modified(stat: &FileStat) -> (libc::time_t, libc::c_long) {
    #[cfg(not(target_os = "netbsd"))]
    return (stat.st_mtime, stat.st_mtime_nsec);
    #[cfg(target_os = "netbsd")]
    return (stat.st_mtime, stat.st_mtimensec);
}

/// Locks a file, if nobody else has.
fn lock(mut file: File) -> io::Result<Option<Flock<File>>> {
    loop {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Ok(Some(lock)),
            Err((_, Errno::EWOULDBLOCK)) => return Ok(None),
            Err((again, Errno::EINTR)) => file = again,
            Err((_, error)) => return Err(error.into()),
        }
    }
}

impl Place for Directory {
    fn create(&mut self, begin: i64) -> io::Result<(File, String)> {
        if self.current.is_some() {
            return Err(io::Error::other("a file is written already"));
        }
        let base = self.pattern.name(begin, &self.zone);
        let base = base.ok_or(io::ErrorKind::InvalidInput)?;
        for number in 0..=MAX_NUMBER {
            let name = numbered(&base, number, self.is_gzip);
            if !self.is_free(&name)? {
                continue;
            }
            let written = format!("{name}{CURRENT}");
            let entry = self.directory.sibling(&written)?;
            let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL;
            let file = match entry.open_with_mode(flags, MODE) {
                Ok(file) => file,
                // Whatever is there.
                Err(_) if !self.is_free(&written)? => continue,
                Err(error) => return Err(error),
            };
            // Another program that starts may take it for one that was left.
            let Some(lock) = lock(file)?.filter(|lock| is_linked(lock)) else {
                continue;
            };
            let file = lock.try_clone()?;
            self.current = Some(Current {
                entry,
                base,
                number,
                is_gzip: self.is_gzip,
                lock,
            });
            return Ok((file, self.path(&written)));
        }
        let problem = format!("{MAX_NUMBER} files are called {base}");
        Err(io::Error::other(problem))
    }

    fn left(&mut self) -> io::Result<Option<(File, String)>> {
        if self.current.is_some() {
            return Err(io::Error::other("a file is written already"));
        }
        for written in self.directory.siblings()? {
            let Some(name) = written.strip_suffix(CURRENT) else {
                continue;
            };
            let entry = self.directory.sibling(&written)?;
            let is_one = |stat: FileStat| is_ours(&stat);
            if self.pattern.recognize(name).is_none() || !entry.stat().is_ok_and(is_one) {
                continue;
            }
            let Some(lock) = lock(entry.open(OFlag::O_RDWR)?)?.filter(|lock| is_linked(lock))
            else {
                continue;
            };
            let file = lock.try_clone()?;
            let plain = numbered("", 0, true);
            let (base, is_gzip) = match name.strip_suffix(&plain) {
                Some(base) => (base, true),
                None => (name, false),
            };
            self.current = Some(Current {
                entry,
                base: base.to_owned(),
                number: 0,
                is_gzip,
                lock,
            });
            return Ok(Some((file, self.path(&written))));
        }
        Ok(None)
    }

    fn finish(&mut self) -> io::Result<u64> {
        let Some(current) = self.current.take() else {
            return Err(io::Error::other("no file is written"));
        };
        if current.lock.metadata()?.len() == 0 {
            return current.entry.remove().map(|()| 0);
        }
        for number in current.number..=MAX_NUMBER {
            let name = numbered(&current.base, number, current.is_gzip);
            if self.is_free(&name)? {
                current.entry.rename(&self.directory.sibling(&name)?)?;
                let retain = self.retain;
                return retain.map_or(Ok(0), |retain| self.remove_old(retain, &name));
            }
        }
        let problem = format!("{MAX_NUMBER} files are called {}", current.base);
        Err(io::Error::other(problem))
    }
}

/// Whether a file still has its name.
fn is_linked(file: &File) -> bool {
    file.metadata().is_ok_and(|data| data.nlink() == 1)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;
    use std::os::unix::fs::symlink;
    use std::path::Path;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// A directory of this test alone.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new() -> Self {
            static COUNTER: AtomicU32 = AtomicU32::new(0);
            let number = COUNTER.fetch_add(1, Ordering::Relaxed);
            let name = format!("pflow-flow-files-{}-{number}", std::process::id());
            let path = std::env::temp_dir().join(name);
            fs::create_dir(&path).unwrap();
            Self(path)
        }

        fn directory(&self, retain: u32, compression: Compression) -> Directory {
            let settings = Settings {
                file: Some(self.0.join("f.%s").to_str().unwrap().to_owned()),
                retain,
                compression,
                ..Settings::default()
            };
            Directory::open(&settings).unwrap()
        }

        fn names(&self) -> Vec<String> {
            let names = fs::read_dir(&self.0).unwrap();
            let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name();
            let mut names: Vec<_> = names.map(|e| name(e).into_string().unwrap()).collect();
            names.sort();
            names
        }

        fn put(&self, name: &str) -> PathBuf {
            let path = self.0.join(name);
            fs::write(&path, name).unwrap();
            path
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    fn write(directory: &mut Directory, begin: i64) -> io::Result<u64> {
        let (mut file, _) = directory.create(begin)?;
        file.write_all(b"flows")?;
        directory.finish()
    }

    #[test]
    fn a_name_is_there_when_the_file_is_whole_and_none_is_overwritten() {
        let scratch = Scratch::new();
        let mut directory = scratch.directory(0, Compression::None);
        let (mut file, name) = directory.create(60).unwrap();
        assert_eq!(Path::new(&name), scratch.0.join("f.60.current"));
        assert!(directory.create(60).is_err(), "one at a time");
        file.write_all(b"first").unwrap();
        assert_eq!(file.metadata().unwrap().mode() & 0o777, 0o640);
        // Somebody takes the name meanwhile.
        scratch.put("f.60");
        directory.finish().unwrap();
        write(&mut directory, 60).unwrap();
        // What has nothing in it gets no name.
        directory.create(60).unwrap();
        directory.finish().unwrap();
        assert!(directory.finish().is_err());
        let mut other = scratch.directory(0, Compression::Gzip);
        write(&mut other, 60).unwrap();
        assert_eq!(scratch.names(), ["f.60", "f.60.1", "f.60.2", "f.60.gz"]);
        assert_eq!(fs::read(scratch.0.join("f.60.1")).unwrap(), b"first");
    }

    #[test]
    fn the_oldest_files_of_the_pattern_go_and_nothing_else() {
        let scratch = Scratch::new();
        let target = scratch.put("precious");
        symlink(&target, scratch.0.join("f.1")).unwrap();
        fs::hard_link(&target, scratch.0.join("f.2")).unwrap();
        fs::create_dir(scratch.0.join("f.3")).unwrap();
        let kept = ["f.4~", "f.5.current", "g.6", "f.", "f.7.bak"];
        kept.iter().for_each(|name| drop(scratch.put(name)));
        let mut directory = scratch.directory(2, Compression::None);
        let removed: u64 = (10..15).map(|n| write(&mut directory, n).unwrap()).sum();
        assert_eq!(removed, 3);
        let all = [
            "f.",
            "f.1",
            "f.13",
            "f.14",
            "f.2",
            "f.3",
            "f.4~",
            "f.5.current",
            "f.7.bak",
            "g.6",
            "precious",
        ];
        assert_eq!(scratch.names(), all);
        // A clock that went back has its file, too.
        let future = fs::FileTimes::new().set_modified(
            fs::metadata(scratch.0.join("f.14"))
                .unwrap()
                .modified()
                .unwrap()
                + std::time::Duration::from_secs(60),
        );
        for name in ["f.13", "f.14"] {
            let file = File::options()
                .write(true)
                .open(scratch.0.join(name))
                .unwrap();
            file.set_times(future).unwrap();
        }
        assert_eq!(write(&mut directory, 9).unwrap(), 1);
        let names = scratch.names();
        assert!(names.contains(&"f.9".to_owned()) && names.contains(&"f.14".to_owned()));
        assert!(!names.contains(&"f.13".to_owned()));
    }

    #[test]
    fn what_a_program_left_that_was_killed_gets_its_name() {
        let scratch = Scratch::new();
        for name in ["f.1", "f.1.current", "f.2.3.gz.current", "g.1.current"] {
            scratch.put(name);
        }
        File::create(scratch.0.join("f.4.current")).unwrap();
        symlink("precious", scratch.0.join("f.5.current")).unwrap();
        // Somebody writes to this one.
        let mut busy = scratch.directory(0, Compression::None);
        let (mut file, _) = busy.create(7).unwrap();
        file.write_all(b"flows").unwrap();
        let mut directory = scratch.directory(0, Compression::None);
        let mut found = Vec::new();
        while let Some((_, name)) = directory.left().unwrap() {
            found.push(Path::new(&name).file_name().unwrap().to_owned());
            directory.finish().unwrap();
        }
        found.sort();
        assert_eq!(found, ["f.1.current", "f.2.3.gz.current", "f.4.current"]);
        busy.finish().unwrap();
        let all = [
            "f.1",
            "f.1.1",
            "f.2.3.gz",
            "f.5.current",
            "f.7",
            "g.1.current",
        ];
        assert_eq!(scratch.names(), all);
    }

    #[test]
    fn a_link_where_a_file_is_to_be_is_passed_over() {
        let scratch = Scratch::new();
        let target = scratch.put("precious");
        symlink(&target, scratch.0.join("f.60.current")).unwrap();
        symlink(scratch.0.join("none"), scratch.0.join("f.60.1")).unwrap();
        write(&mut scratch.directory(1, Compression::None), 60).unwrap();
        let all = ["f.60.1", "f.60.2", "f.60.current", "precious"];
        assert_eq!(scratch.names(), all);
        assert_eq!(fs::read_to_string(&target).unwrap(), "precious");
        let nowhere = Settings {
            file: Some(scratch.0.join("none/f").to_str().unwrap().to_owned()),
            ..Settings::default()
        };
        let problem = Directory::open(&nowhere).err().unwrap();
        assert_eq!(problem.kind(), io::ErrorKind::NotFound);
    }
}
