//! The processes that read captures that were lost and are opened again.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::guardian::Guardian;
use crate::config::Config;
use crate::io::capture::Relay;
use crate::io::daemon;
use crate::io::link::Link;
use crate::io::privileges::User;
use crate::run::start;

/// How captures are opened, and which processes read those that were opened again.
pub(in crate::run) struct Captures {
    pub(in crate::run) names: Vec<String>,
    pub(in crate::run) joins: bool,
    pub(in crate::run) user: Option<User>,
    /// The process of each capture that was opened again.
    pub(super) readers: BTreeMap<String, Pid>,
}

impl Captures {
    pub(in crate::run) fn new(config: &Config, user: Option<User>) -> Self {
        Self {
            names: config.captures.clone(),
            joins: !config.is_join_off,
            user,
            readers: BTreeMap::new(),
        }
    }

    pub(super) fn check(&self, name: &str) -> Result<(), String> {
        match self.names.iter().any(|other| other == name) {
            true => Ok(()),
            false => Err("only captures that the configuration names can be opened".to_owned()),
        }
    }

    /// Whether no process reads the capture `name`. The child asks for a new reader only if it has
    /// lost the old one. So an old one that still runs is killed, and has ended by the next
    /// request.
    pub(super) fn is_free(&mut self, name: &str) -> bool {
        self.readers
            .retain(|_, reader| daemon::ended(*reader).is_none());
        match self.readers.get(name) {
            None => true,
            Some(reader) => {
                let _ = kill(*reader, Signal::SIGKILL);
                false
            }
        }
    }
}

impl Guardian<'_> {
    /// Starts a process that opens the capture, gives up its rights, and reads packets.
    pub(super) fn open_capture(&mut self, name: &str) -> Result<OwnedFd, String> {
        self.captures.check(name)?;
        if !self.captures.is_free(name) {
            return Err("the process that read it has not ended yet".to_owned());
        }
        let process = |error: io::Error| format!("process: {error}");
        let (stream, theirs) = UnixStream::pair().map_err(process)?;
        if let Some(reader) = daemon::fork_apart().map_err(process)? {
            self.captures.readers.insert(name.to_owned(), reader);
            return Ok(theirs.into());
        }
        drop(theirs);
        // The new process must not hold the link or the lifeline, because their closing tells each
        // process of the other's end.
        self.life = None;
        if let Ok((unused, _)) = Link::pair() {
            self.link = unused;
        }
        if let Ok(mut relay) = Relay::new(stream) {
            match start::open_capture(name, &self.captures, &mut self.log) {
                Ok(mut live) => relay.run(&mut live),
                Err(problem) => relay.fail(&problem),
            }
        }
        // Exit at once: the destructors would remove files that belong to the parent.
        std::process::exit(0)
    }
}
