//! The directories that interfaces write files in. The child asks, and the parent makes the files.
//!
//! ```text
//! open UNIT WORDS  --> a number        if the configuration has these words for pflowUNIT
//! new NUMBER SECS  --> a descriptor    makes the file that begins then, by the pattern
//! left NUMBER      --> a descriptor    a file that a program left that was killed, if there is one
//! done NUMBER      --> files removed   gives that file its name
//! close NUMBER
//! ```
//! The child names no file. It sends the words of its own configuration, and the parent compares
//! them with the configuration that it read itself.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

use super::{DISK_TIMEOUT, Opened, Parent};
use crate::config::{Config, MAX_INTERFACES};
use crate::export::Settings;
use crate::io::flow_files::{Directory, Place};

/// What requests begin with.
pub(super) const FILES: &str = "files";

impl Parent {
    /// Opens the directory that pflow`unit` writes files in.
    pub(in crate::run) fn open_files(
        &self,
        unit: u32,
        settings: &Settings,
    ) -> Result<FilesPlace, String> {
        let request = format!("{FILES} open {unit} {}", files_words(settings));
        let (number, _) = self.asking().ask(&request)?;
        Ok(FilesPlace {
            parent: self.clone(),
            number,
        })
    }
}

/// A directory of flow files that the parent holds open.
pub(in crate::run) struct FilesPlace {
    parent: Parent,
    /// The parent's number for the directory.
    number: String,
}

impl FilesPlace {
    fn ask(&self, request: &str) -> io::Result<(String, Option<OwnedFd>)> {
        let request = format!("{FILES} {request}");
        let answer = self.parent.asking().ask_patiently(&request, DISK_TIMEOUT);
        answer.map_err(io::Error::other)
    }
}

impl Place for FilesPlace {
    fn create(&mut self, begin: i64) -> io::Result<(File, String)> {
        let (name, file) = self.ask(&format!("new {} {begin}", self.number))?;
        let nothing = || io::Error::other("the parent process passed nothing");
        Ok((File::from(file.ok_or_else(nothing)?), name))
    }

    fn left(&mut self) -> io::Result<Option<(File, String)>> {
        let (name, file) = self.ask(&format!("left {}", self.number))?;
        Ok(file.map(|file| (File::from(file), name)))
    }

    fn finish(&mut self) -> io::Result<u64> {
        let (removed, _) = self.ask(&format!("done {}", self.number))?;
        removed.parse().map_err(io::Error::other)
    }
}

impl Drop for FilesPlace {
    fn drop(&mut self) {
        // If this fails, the parent has ended, and the directory is closed.
        let _ = self.ask(&format!("close {}", self.number));
    }
}

/// Directories of flow files that are open.
#[derive(Default)]
pub(in crate::run) struct Directories {
    open: BTreeMap<u32, Directory>,
    next: u32,
}

/// The words of `settings` that decide which files are made and removed.
pub(super) fn files_words(settings: &Settings) -> String {
    let mut of_files = Settings::default();
    of_files.file.clone_from(&settings.file);
    (of_files.compression, of_files.retain) = (settings.compression, settings.retain);
    of_files.to_string()
}

/// Most directories that are open: one for each interface, and as many again that are still to be
/// closed.
pub(super) const MAX_DIRECTORIES: usize = 2 * MAX_INTERFACES;

impl Directories {
    pub(super) fn handle(&mut self, config: &Config, request: &str) -> Result<Opened, String> {
        let (what, rest) = request.split_once(' ').unwrap_or((request, ""));
        let (number, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        let number: u32 = number.parse().map_err(|_| "no number")?;
        if what == "open" {
            return self.open(config, number, rest).map(Opened::Text);
        }
        if what == "close" {
            self.open.remove(&number);
            return Ok(Opened::Nothing);
        }
        let directory = self.open.get_mut(&number).ok_or("no such directory")?;
        let opened = match what {
            "new" => {
                let begin = rest.parse().map_err(|_| "no time")?;
                directory.create(begin).map(Some)
            }
            "left" => directory.left(),
            "done" => {
                let removed = directory.finish().map_err(|error| error.to_string())?;
                return Ok(Opened::Text(removed.to_string()));
            }
            _ => return Err("unknown request".to_owned()),
        };
        Ok(match opened.map_err(|error| error.to_string())? {
            Some((file, name)) => Opened::Both(name, file.into()),
            None => Opened::Nothing,
        })
    }

    /// Opens the directory of pflow`unit`. `words` are what the child's configuration says about
    /// the interface's files.
    fn open(&mut self, config: &Config, unit: u32, words: &str) -> Result<String, String> {
        let settings = config.interfaces.get(&unit);
        let settings = settings
            .filter(|settings| settings.file.is_some() && files_words(settings) == words)
            .ok_or("only files that the configuration names can be opened, as it has them")?;
        if self.open.len() >= MAX_DIRECTORIES {
            return Err(format!("{MAX_DIRECTORIES} directories are open"));
        }
        let directory = Directory::open(settings).map_err(|error| error.to_string())?;
        self.next = self.next.wrapping_add(1);
        self.open.insert(self.next, directory);
        Ok(self.next.to_string())
    }
}
