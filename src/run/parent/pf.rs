//! The process that holds /dev/pf.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::guardian::Guardian;
use crate::accounting::Counting;
use crate::config::Config;
use crate::io::daemon;
use crate::io::link::Link;
use crate::io::pf::{self, Device};
use crate::io::privileges;

/// Who holds /dev/pf: one process at most.
#[derive(Debug, Default)]
pub(in crate::run) struct Holder(Option<Pid>);

impl Holder {
    /// Whether there is none. One that still runs when the child asks for another is of no use to
    /// anybody: it is killed, and has ended by the next time.
    fn is_free(&mut self) -> bool {
        self.0 = self.0.filter(|holder| daemon::ended(*holder).is_none());
        if let Some(holder) = self.0 {
            let _ = kill(holder, Signal::SIGKILL);
        }
        self.0.is_none()
    }
}

pub(super) fn check_pf(config: &Config) -> Result<(), String> {
    match config.counting == Counting::Pf {
        true => Ok(()),
        false => {
            Err("only where the configuration's files have counters pf is it asked".to_owned())
        }
    }
}

impl Guardian<'_> {
    /// Starts a process that holds /dev/pf, gives up its rights, and asks pf what it is asked.
    pub(super) fn open_pf(&mut self) -> Result<OwnedFd, String> {
        check_pf(&self.config)?;
        if !self.holder.is_free() {
            return Err("the process that asked pf has not ended yet".to_owned());
        }
        // Here, so that what is wrong is told.
        let device = Device::open()?;
        let process = |error: io::Error| format!("process: {error}");
        let (stream, theirs) = UnixStream::pair().map_err(process)?;
        if let Some(holder) = daemon::fork_apart().map_err(process)? {
            self.holder.0 = Some(holder);
            return Ok(theirs.into());
        }
        drop(theirs);
        // It must not hold what tells the two processes of each other's end.
        self.life = None;
        if let Ok((unused, _)) = Link::pair() {
            self.link = unused;
        }
        match self.confine(&device) {
            Ok(()) => pf::run(stream, device),
            Err(problem) => self.log.warn(&format!("counters pf: {problem}")),
        }
        // Nothing that this process has from its parent is its own to clear away.
        std::process::exit(0)
    }

    /// Gives up all but asking pf. OpenBSD's pledge(2) has no promise that allows it.
    fn confine(&self, device: &Device) -> Result<(), String> {
        if let Some(user) = &self.captures.user {
            privileges::become_user(user)?;
        }
        device
            .confine()
            .map_err(|error| format!("rights of /dev/pf: {error}"))
    }
}
