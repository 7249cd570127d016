//! A spool's directory. The process that may open its files opens them by number.
//!
//! ```text
//! pflow0.000012.ipfix      a segment (RFC 5655)
//! pflow0.000011.damaged    one that could not be sent to its end, left to be looked at
//! pflow0.position          how far the spool is sent; locked by the process that uses the spool
//! ```
//! The directory belongs to the user who opens it, and nobody else has rights there (0700). So its
//! files are trusted. Its path is followed as `files` says, and symbolic links in it are refused.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use nix::unistd::geteuid;

use super::files::Entry;
use super::sys;

/// The endings of the names of segments, of damaged segments and of the position.
const SEGMENT: &str = "ipfix";
const DAMAGED: &str = "damaged";
const POSITION: &str = "position";

/// Most entries of the directory that are looked at.
const MAX_FILES: usize = 1 << 17;

/// The files of one interface.
#[derive(Clone, Debug)]
pub struct SpoolDirectory {
    path: PathBuf,
    unit: u32,
}

/// The name of a segment of pflow`unit`.
pub fn segment_name(unit: u32, number: u32) -> String {
    format!("pflow{unit}.{number:06}.{SEGMENT}")
}

/// The number of the segment called `name`, if it is one of pflow`unit`.
fn number_of(unit: u32, name: &OsStr) -> Option<u32> {
    let name = name.to_str()?;
    let rest = name.strip_prefix("pflow")?;
    let (of, rest) = rest.split_once('.')?;
    let (number, _) = rest.split_once('.')?;
    let (of, number) = (of.parse::<u32>().ok()?, number.parse().ok()?);
    (of == unit && segment_name(unit, number) == name).then_some(number)
}

impl SpoolDirectory {
    /// The files of pflow`unit` in the directory at `path`.
    pub fn new(path: &str, unit: u32) -> Self {
        let path = PathBuf::from(path);
        Self { path, unit }
    }

    /// The entry of this name. Fails if anybody else has rights in the directory.
    fn entry(&self, name: &str) -> io::Result<Entry> {
        let entry = Entry::find(&self.path.join(name))?;
        let stat = entry.stat_directory()?;
        let own = geteuid().as_raw();
        if stat.st_uid != own {
            let text = format!("the directory is user {}'s, not user {own}'s", stat.st_uid);
            return Err(io::Error::other(text));
        }
        let mode = stat.st_mode & 0o777;
        if mode & 0o077 != 0 {
            let text =
                format!("the directory has mode {mode:o}: others have rights in it, not 700");
            return Err(io::Error::other(text));
        }
        Ok(entry)
    }

    fn segment(&self, number: u32) -> io::Result<Entry> {
        self.entry(&segment_name(self.unit, number))
    }

    /// Lists the segments and their octets, the lowest number first.
    ///
    /// # Errors
    /// Why the directory cannot be read.
    pub fn list(&self) -> io::Result<Vec<(u32, u64)>> {
        let names = self.entry(".list")?.names_beside(MAX_FILES)?;
        let mut numbers: Vec<u32> = names
            .iter()
            .filter_map(|name| number_of(self.unit, name))
            .collect();
        numbers.sort_unstable();
        let mut segments = Vec::with_capacity(numbers.len());
        for number in numbers {
            match self.segment(number)?.stat() {
                Ok(stat) => segments.push((number, u64::try_from(stat.st_size).unwrap_or(0))),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(segments)
    }

    /// Makes a segment.
    ///
    /// # Errors
    /// Why not.
    pub fn create(&self, number: u32) -> io::Result<File> {
        let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL;
        self.segment(number)?.open(flags)
    }

    /// Opens a segment that is there.
    ///
    /// # Errors
    /// Why not.
    pub fn open(&self, number: u32) -> io::Result<File> {
        self.segment(number)?.open(OFlag::O_RDWR)
    }

    /// Removes a segment.
    ///
    /// # Errors
    /// Why not.
    pub fn remove(&self, number: u32) -> io::Result<()> {
        self.segment(number)?.remove()
    }

    /// Renames a segment, so that it no longer counts as one. Returns the new name.
    ///
    /// # Errors
    /// Why not.
    pub fn set_aside(&self, number: u32) -> io::Result<String> {
        let name = format!("pflow{}.{number:06}.{DAMAGED}", self.unit);
        let aside = self.entry(&name)?;
        self.segment(number)?.rename(&aside)?;
        Ok(name)
    }

    /// Opens the file of the position and locks it. The lock keeps other processes off the spool as
    /// long as the file is open.
    ///
    /// # Errors
    /// Another process uses the spool, or the system refuses.
    pub fn position(&self) -> io::Result<File> {
        let name = format!("pflow{}.{POSITION}", self.unit);
        let file = self.entry(&name)?.open(OFlag::O_RDWR | OFlag::O_CREAT)?;
        // The lock goes with the descriptor if that is passed on.
        match sys::lock(&file) {
            Ok(()) => Ok(file),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                Err(io::Error::other("another process uses this spool"))
            }
            Err(error) => Err(error),
        }
    }

    /// The directory's path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A directory of this test alone, removed at its end.
    struct Place(PathBuf);

    impl Place {
        fn new(name: &str, mode: u32) -> Self {
            let path = std::env::temp_dir().join(format!("pflow-{name}-{}", std::process::id()));
            fs::create_dir(&path).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            Self(path)
        }

        fn directory(&self, unit: u32) -> SpoolDirectory {
            SpoolDirectory::new(self.0.to_str().unwrap(), unit)
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    #[test]
    fn an_interface_has_its_own_files_and_no_others() {
        let place = Place::new("spool-files", 0o700);
        let directory = place.directory(1);
        for name in [
            "pflow1.ipfix",
            "pflow1.7.ipfix",
            "pflow1.-00007.ipfix",
            "pflow11.000007.ipfix",
        ] {
            fs::write(place.0.join(name), "x").unwrap();
        }
        directory.create(1_234_567).unwrap();
        let made = directory.create(12).unwrap();
        fs::write(place.0.join("pflow1.000012.ipfix"), "four").unwrap();
        assert_eq!(made.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(directory.list().unwrap(), [(12, 4), (1_234_567, 0)]);
        let again = directory.create(12).unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(
            directory.open(13).unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
        assert_eq!(directory.set_aside(12).unwrap(), "pflow1.000012.damaged");
        directory.remove(1_234_567).unwrap();
        assert_eq!(directory.list().unwrap(), []);
        assert!(place.0.join("pflow1.000012.damaged").exists());
    }

    #[test]
    fn a_link_is_not_followed_and_a_directory_with_rights_of_others_is_refused() {
        let place = Place::new("spool-rights", 0o700);
        let directory = place.directory(0);
        std::os::unix::fs::symlink("/etc/passwd", place.0.join("pflow0.000001.ipfix")).unwrap();
        let problem = directory.open(1).unwrap_err().to_string();
        assert_eq!(problem, "a link, which is not followed");
        for mode in [0o750, 0o701, 0o1777] {
            fs::set_permissions(&place.0, Permissions::from_mode(mode)).unwrap();
            let problem = directory.create(2).unwrap_err().to_string();
            assert!(
                problem.ends_with("others have rights in it, not 700"),
                "{problem}"
            );
            assert!(directory.list().is_err() && directory.position().is_err());
        }
        fs::set_permissions(&place.0, Permissions::from_mode(0o700)).unwrap();
        if geteuid().is_root() {
            std::os::unix::fs::chown(&place.0, Some(12), None).unwrap();
            let problem = directory.create(2).unwrap_err().to_string();
            assert_eq!(problem, "the directory is user 12's, not user 0's");
        }
    }

    #[test]
    fn one_has_a_spool_as_long_as_its_position_is_open() {
        let place = Place::new("spool-lock", 0o700);
        let first = place.directory(0).position().unwrap();
        let problem = place.directory(0).position().unwrap_err().to_string();
        assert_eq!(problem, "another process uses this spool");
        place.directory(1).position().unwrap();
        // Passed on, as the parent does.
        let passed = first.try_clone().unwrap();
        drop(first);
        assert!(place.directory(0).position().is_err());
        drop(passed);
        place.directory(0).position().unwrap();
    }
}
