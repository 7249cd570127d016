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

/// The process that holds /dev/pf, if there is one. There is one at most.
#[derive(Debug, Default)]
pub(in crate::run) struct Holder(Option<Pid>);

impl Holder {
    /// Whether no process holds /dev/pf. The child asks for a new process only if it has lost the
    /// old one. So an old one that still runs is killed, and has ended by the next request.
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
    /// Starts a process that holds /dev/pf and gives up its rights. The process asks pf for the
    /// child.
    pub(super) fn open_pf(&mut self) -> Result<OwnedFd, String> {
        check_pf(&self.config)?;
        if !self.holder.is_free() {
            return Err("the process that asked pf has not ended yet".to_owned());
        }
        // The parent opens the device, so that it can tell the child what is wrong.
        let device = Device::open()?;
        let process = |error: io::Error| format!("process: {error}");
        let (stream, theirs) = UnixStream::pair().map_err(process)?;
        if let Some(holder) = daemon::fork_apart().map_err(process)? {
            self.holder.0 = Some(holder);
            return Ok(theirs.into());
        }
        drop(theirs);
        // The new process must not hold the link or the lifeline, because their closing tells each
        // process of the other's end.
        self.life = None;
        if let Ok((unused, _)) = Link::pair() {
            self.link = unused;
        }
        match self.confine(&device) {
            Ok(()) => pf::run(stream, device),
            Err(problem) => self.log.warn(&format!("counters pf: {problem}")),
        }
        // Exit at once: the destructors would remove files that belong to the parent.
        std::process::exit(0)
    }

    /// Gives up all rights but to ask pf. It does not use OpenBSD's pledge(2), because no promise
    /// allows that ioctl.
    fn confine(&self, device: &Device) -> Result<(), String> {
        if let Some(user) = &self.captures.user {
            privileges::become_user(user)?;
        }
        device
            .confine()
            .map_err(|error| format!("rights of /dev/pf: {error}"))
    }
}
