//! The two processes of a live capture: the parent, which keeps its rights and opens what the
//! configuration names, and the child, which does everything else and asks it.
//!
//! ```text
//! child  --config--------> parent    reads the configuration's files, answers with its lines
//!        --tap FILE------>           if the configuration names it: opens it, passes the descriptor
//!        --bind ADDRESS--->          if it is a flowsrc of the configuration: the same
//!        --raw4, raw6 IF->           if the configuration solicits there: the same, with the
//!                                    number of the interface for raw6
//!        --capture NAME--->          if the configuration names it: a process that reads it, and
//!                                    what that writes to
//!        --keep read, new->          opens the keep file, or the one beside it: the same
//!        --keep install--->          puts the new one in the place of the old one
//!        --log------------>          a socket to syslogd
//!        --ready---------->          no answer: lets the shell go
//! child <-signals--------- parent
//! ```
//! The parent believes nothing that the child says: what may be opened it takes from the files it
//! read itself. It sees no packet and no client. When the child ends, it removes the files of the
//! control sockets and of the process number, and ends as the child did. If the parent ends, the
//! child sees the end of its lifeline and stops.

use std::fs::File;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{live_config, start, taps};
use crate::config::{Config, apply_text};
use crate::io::capture::{Relay, Relayed};
use crate::io::daemon::{self, Ended, Null, Waiting, status_of};
use crate::io::keep::{Files, Place};
use crate::io::link::{Link, Message};
use crate::io::log::{self, Log};
use crate::io::privileges::User;
use crate::io::raw::{self, Raw};
use crate::io::signals::Waiter;
use crate::io::transport::{self, WhenFull, source_address};
use crate::options::Options;

const CONFIG: &str = "config";
const LOG: &str = "log";
const READY: &str = "ready";
const TAP: &str = "tap ";
const BIND: &str = "bind ";
const RAW4: &str = "raw4 ";
const RAW6: &str = "raw6 ";
const CAPTURE: &str = "capture ";
const KEEP: &str = "keep ";
const KEEP_READ: &str = "keep read";
const KEEP_NEW: &str = "keep new";
const KEEP_INSTALL: &str = "keep install";
const KEEP_DISCARD: &str = "keep discard";
/// A disk may take so many times as long to answer as anything else: 20 s.
const DISK: u32 = 10;
/// First octet of an answer, before what was asked for or what is wrong.
const DONE: u8 = b'+';
const REFUSED: u8 = b'-';

/// The parent, as the child sees it: its export loop and the thread that writes the keep file.
#[derive(Clone)]
pub(super) struct Parent(Arc<Mutex<Asking>>);

struct Asking {
    link: Link,
    number: u32,
    is_broken: bool,
}

impl Parent {
    pub(super) fn new(link: Link) -> Self {
        Self(Arc::new(Mutex::new(Asking {
            link,
            number: 0,
            is_broken: false,
        })))
    }

    fn asking(&self) -> MutexGuard<'_, Asking> {
        // A thread that panicked has ended the process.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the configuration again.
    pub(super) fn config(&self) -> Result<Config, String> {
        let (text, _) = self.asking().ask(CONFIG)?;
        let mut config = Config::default();
        apply_text(&mut config, "configuration", &text).map_err(|error| error.to_string())?;
        Ok(config)
    }

    /// Opens the file of a tap.
    pub(super) fn open_tap(&self, name: &str) -> Result<File, String> {
        self.asking().open(&format!("{TAP}{name}")).map(File::from)
    }

    /// A UDP socket that is bound.
    pub(super) fn bind(&self, from: SocketAddr) -> Result<UdpSocket, String> {
        self.asking()
            .open(&format!("{BIND}{from}"))
            .map(UdpSocket::from)
    }

    /// Sockets to ask firewalls by.
    pub(super) fn open_raw(&self, name: &str) -> Result<Raw, String> {
        let mut asking = self.asking();
        let v4 = asking.open(&format!("{RAW4}{name}"))?;
        // The answer is the number of the interface.
        let v6 = match asking.ask(&format!("{RAW6}{name}")) {
            Ok((index, Some(socket))) => index.parse().ok().map(|index| (socket, index)),
            Ok((_, None)) | Err(_) => None,
        };
        Ok(Raw::new(v4, v6))
    }

    /// A capture that was lost, read by another process.
    pub(super) fn open_capture(&self, name: &str) -> Result<Relayed, String> {
        // The disk of the keep file may keep it busy; there will be another try.
        let mut asking = self
            .0
            .try_lock()
            .map_err(|_| "the parent process is busy")?;
        let stream = asking.open(&format!("{CAPTURE}{name}"))?;
        Relayed::new(UnixStream::from(stream)).map_err(|error| error.to_string())
    }

    /// Where the keep file is.
    pub(super) fn keep_place(&self, name: &str) -> Kept {
        Kept {
            parent: self.clone(),
            name: name.to_owned(),
        }
    }

    /// A socket to syslogd, if it is there.
    pub(super) fn log(&self) -> Option<UnixDatagram> {
        // The log may be written to while something else is asked.
        let descriptor = self.0.try_lock().ok()?.open(LOG).ok()?;
        Some(UnixDatagram::from(descriptor))
    }

    /// Tells that the program runs.
    pub(super) fn tell_ready(&self) -> Result<(), String> {
        let outcome = self.asking().link.send(0, READY.as_bytes(), None);
        outcome.map_err(|error| format!("parent process: {error}"))
    }
}

/// The keep file, by the parent.
pub(super) struct Kept {
    parent: Parent,
    name: String,
}

impl Kept {
    fn ask(&self, request: &str) -> io::Result<Option<OwnedFd>> {
        let answer = self.parent.asking().ask_patiently(request, DISK);
        answer
            .map(|(_, descriptor)| descriptor)
            .map_err(io::Error::other)
    }
}

impl Place for Kept {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn read(&self) -> io::Result<Option<File>> {
        Ok(self.ask(KEEP_READ)?.map(File::from))
    }

    fn create(&self) -> io::Result<File> {
        let nothing = || io::Error::other("the parent process passed nothing");
        self.ask(KEEP_NEW)?.map(File::from).ok_or_else(nothing)
    }

    fn install(&self) -> io::Result<()> {
        self.ask(KEEP_INSTALL).map(drop)
    }

    fn discard(&self) -> io::Result<()> {
        self.ask(KEEP_DISCARD).map(drop)
    }
}

impl Asking {
    fn open(&mut self, request: &str) -> Result<OwnedFd, String> {
        let (_, descriptor) = self.ask(request)?;
        descriptor.ok_or_else(|| "the parent process passed nothing".to_owned())
    }

    fn ask(&mut self, request: &str) -> Result<(String, Option<OwnedFd>), String> {
        self.ask_patiently(request, 1)
    }

    /// Asks, and waits for the answer so many times as long as the link does.
    fn ask_patiently(
        &mut self,
        request: &str,
        mut turns: u32,
    ) -> Result<(String, Option<OwnedFd>), String> {
        if self.is_broken {
            return Err("the parent process does not answer any more".to_owned());
        }
        self.number = self.number.wrapping_add(1);
        let asked = self.link.send(self.number, request.as_bytes(), None);
        let answer = asked.and_then(|()| {
            loop {
                match self.link.receive() {
                    // One that was not waited for any more.
                    Ok(Some(message)) if message.number != self.number => {}
                    Ok(message) => return Ok(message),
                    Err(error) if is_late(&error) && turns > 1 => turns -= 1,
                    Err(error) => return Err(error),
                }
            }
        });
        match answer {
            Ok(Some(message)) => parse_answer(message),
            Ok(None) => {
                self.is_broken = true;
                Err("the parent process has gone".to_owned())
            }
            Err(error) => {
                self.is_broken = !is_late(&error);
                Err(match self.is_broken {
                    false => "the parent process does not answer in time".to_owned(),
                    true => format!("parent process: {error}"),
                })
            }
        }
    }
}

/// Whether there was no answer yet.
fn is_late(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}

fn parse_answer(message: Message) -> Result<(String, Option<OwnedFd>), String> {
    let text = String::from_utf8_lossy(message.octets.get(1..).unwrap_or_default()).into_owned();
    match message.octets.first() {
        Some(&DONE) => Ok((text, message.descriptor)),
        _ => Err(text),
    }
}

/// The parent's side.
pub(super) struct Guardian<'a> {
    pub(super) options: &'a Options,
    /// What was read last: what may be opened.
    pub(super) config: Config,
    /// The keep file, which stays the same.
    pub(super) keep: Option<Files>,
    pub(super) captures: Captures,
    pub(super) link: Link,
    /// Its end tells the child that this process has ended.
    pub(super) life: Option<UnixStream>,
    pub(super) child: Pid,
    pub(super) log: Log,
    /// The shell, and what takes its terminal's place.
    pub(super) background: Option<(Waiting, Null)>,
}

impl Guardian<'_> {
    /// Serves the child until it ends.
    pub(super) fn run(mut self) -> Result<ExitCode, String> {
        let waiter = Waiter::new().map_err(|error| format!("signals: {error}"));
        let outcome = waiter.and_then(|mut waiter| self.serve(&mut waiter));
        // Without an end of the link, or without signals, it is of no use.
        if outcome.is_err() {
            let _ = kill(self.child, Signal::SIGTERM);
        }
        let ended = status_of(self.child);
        let is_asked_to = outcome? == Stop::Asked;
        Ok(match ended {
            // It had no time yet to take the signal as a request.
            Ended::Signal(libc::SIGTERM | libc::SIGINT) if is_asked_to => ExitCode::SUCCESS,
            Ended::Signal(signal) => {
                self.log.warn(&format!("ended by signal {signal}"));
                ended.code()
            }
            Ended::Status(_) => ended.code(),
        })
    }

    fn serve(&mut self, waiter: &mut Waiter) -> Result<Stop, String> {
        let mut stop = Stop::OfItself;
        // A child that does not know a signal yet would end by it.
        let mut is_ready = false;
        let mut waiting: Vec<Signal> = Vec::new();
        loop {
            let woken = waiter
                .wait(&self.link)
                .map_err(|error| format!("poll: {error}"))?;
            let signals = woken.signals.into_iter();
            for signal in signals.filter_map(|signal| Signal::try_from(signal).ok()) {
                let is_end = matches!(signal, Signal::SIGTERM | Signal::SIGINT);
                if is_end {
                    stop = Stop::Asked;
                }
                if is_ready || is_end {
                    // One that has ended shows in a moment.
                    let _ = kill(self.child, signal);
                } else {
                    waiting.push(signal);
                }
            }
            if !woken.is_link_ready {
                continue;
            }
            let Ok(Some(message)) = self.link.receive() else {
                return Ok(stop);
            };
            if message.octets == READY.as_bytes() {
                is_ready = true;
                for signal in waiting.drain(..) {
                    let _ = kill(self.child, signal);
                }
                self.release_shell();
            } else if self.answer(&message).is_err() {
                return Ok(stop);
            }
        }
    }

    fn release_shell(&mut self) {
        if let Some((shell, null)) = self.background.take() {
            if let Err(error) = null.replace_standard() {
                self.log.warn(&format!("/dev/null: {error}"));
            }
            shell.release();
        }
    }

    fn answer(&mut self, message: &Message) -> io::Result<()> {
        let request = String::from_utf8_lossy(&message.octets);
        let (octets, descriptor) = match self.handle(&request) {
            Ok(Opened::Text(text)) => (text, None),
            Ok(Opened::Descriptor(descriptor)) => (String::new(), Some(descriptor)),
            Ok(Opened::Both(text, descriptor)) => (text, Some(descriptor)),
            Ok(Opened::Nothing) => (String::new(), None),
            Err(problem) => {
                let octets = [&[REFUSED], problem.as_bytes()].concat();
                return self.link.send(message.number, &octets, None);
            }
        };
        let octets = [&[DONE], octets.as_bytes()].concat();
        let descriptor = descriptor.as_ref().map(std::os::fd::AsFd::as_fd);
        self.link.send(message.number, &octets, descriptor)
    }

    /// Starts a process that opens the capture, gives up its rights, and reads.
    fn open_capture(&mut self, name: &str) -> Result<OwnedFd, String> {
        if !self.captures.names.iter().any(|other| other == name) {
            return Err("only captures that the configuration names can be opened".to_owned());
        }
        self.captures.reap();
        let process = |error: io::Error| format!("process: {error}");
        let (stream, theirs) = UnixStream::pair().map_err(process)?;
        if let Some(reader) = daemon::fork().map_err(process)? {
            self.captures.readers.push(reader);
            return Ok(theirs.into());
        }
        drop(theirs);
        // It must not hold what tells the two processes of each other's end.
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
        // Nothing that this process has from its parent is its own to clear away.
        std::process::exit(0)
    }

    fn handle(&mut self, request: &str) -> Result<Opened, String> {
        if request == CONFIG {
            self.config = live_config(self.options)?;
            return Ok(Opened::Text(self.config.to_string()));
        }
        if request.starts_with(KEEP) {
            let keep = self.keep.as_ref().ok_or("no keep file is named")?;
            return handle_keep(keep, request).map_err(|error| error.to_string());
        }
        if let Some(name) = request.strip_prefix(CAPTURE) {
            return self.open_capture(name).map(Opened::Descriptor);
        }
        let opened = if request == LOG {
            log::connect().ok_or("syslogd is not there")?.into()
        } else if let Some(name) = request.strip_prefix(TAP) {
            check_tap(&self.config, name)?;
            taps::open(name).map_err(|error| error.to_string())?.into()
        } else if let Some(address) = request.strip_prefix(BIND) {
            let address = check_source(&self.config, address)?;
            let socket = transport::bind(address, WhenFull::Drop);
            socket.map_err(|error| error.to_string())?.into()
        } else if let Some(name) = request.strip_prefix(RAW4) {
            check_solicit(&self.config, name)?;
            raw::open_v4(name).map_err(|error| error.to_string())?
        } else if let Some(name) = request.strip_prefix(RAW6) {
            check_solicit(&self.config, name)?;
            let (socket, index) = raw::open_v6(name).map_err(|error| error.to_string())?;
            return Ok(Opened::Both(index.to_string(), socket));
        } else {
            return Err("unknown request".to_owned());
        };
        Ok(Opened::Descriptor(opened))
    }
}

/// Why the child ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stop {
    OfItself,
    /// A signal told it to.
    Asked,
}

enum Opened {
    Text(String),
    Descriptor(OwnedFd),
    Both(String, OwnedFd),
    /// It is done, or there is nothing.
    Nothing,
}

/// What captures are opened by, and who reads those that were opened again.
pub(super) struct Captures {
    pub(super) names: Vec<String>,
    pub(super) joins: bool,
    pub(super) user: Option<User>,
    readers: Vec<Pid>,
}

impl Captures {
    pub(super) fn new(config: &Config, user: Option<User>) -> Self {
        Self {
            names: config.captures.clone(),
            joins: !config.is_join_off,
            user,
            readers: Vec::new(),
        }
    }

    /// Forgets those that have ended.
    fn reap(&mut self) {
        self.readers.retain(|reader| daemon::is_running(*reader));
    }
}

fn handle_keep(keep: &Files, request: &str) -> io::Result<Opened> {
    let file = match request {
        KEEP_READ => keep.read()?,
        KEEP_NEW => Some(keep.create()?),
        KEEP_INSTALL => {
            keep.install()?;
            None
        }
        KEEP_DISCARD => {
            keep.discard()?;
            None
        }
        _ => return Err(io::Error::other("unknown request")),
    };
    Ok(file.map_or(Opened::Nothing, |file| Opened::Descriptor(file.into())))
}

fn check_tap(config: &Config, name: &str) -> Result<(), String> {
    match config.taps().any(|(_, tap)| tap == name) {
        true => Ok(()),
        false => Err("only files that the configuration names can be opened".to_owned()),
    }
}

fn check_solicit(config: &Config, name: &str) -> Result<(), String> {
    match config.solicit.interface.as_deref() == Some(name) {
        true => Ok(()),
        false => Err("only where the configuration's files solicit can it be done".to_owned()),
    }
}

fn check_source(config: &Config, address: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr = address.parse().map_err(|_| "not an address")?;
    let mut sources = config
        .interfaces
        .values()
        .filter_map(|settings| settings.flowsrc);
    match sources.any(|source| source_address(Some(source), address.is_ipv6()) == address) {
        true => Ok(address),
        false => Err("only a port that the configuration names can be bound".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parent_opens_what_its_own_configuration_names_and_nothing_else() {
        let mut config = Config::default();
        let text = "pflow0 flowsrc 10.0.0.1:500 flowdst 10.0.0.2:9995 tap /var/tmp/a\n\
                    pflow1 flowsrc [::1]:7 flowdst [::1]:9995\n";
        apply_text(&mut config, "test", text).unwrap();
        assert_eq!(check_tap(&config, "/var/tmp/a"), Ok(()));
        assert!(check_solicit(&config, "em0").is_err());
        config.solicit.interface = Some("em0".to_owned());
        assert_eq!(check_solicit(&config, "em0"), Ok(()));
        for name in ["em1", "em0 ", ""] {
            assert!(check_solicit(&config, name).is_err(), "{name:?}");
        }
        for name in [
            "/etc/passwd",
            "/var/tmp/a/",
            "/var/tmp/../tmp/a",
            "",
            "/var/tmp/a\n",
        ] {
            assert!(check_tap(&config, name).is_err(), "{name:?}");
        }
        for address in ["10.0.0.1:500", "[::1]:7"] {
            assert!(check_source(&config, address).is_ok(), "{address}");
        }
        for address in [
            "10.0.0.1:501",
            "10.0.0.2:500",
            "0.0.0.0:500",
            "[::1]:8",
            "x",
        ] {
            assert!(check_source(&config, address).is_err(), "{address}");
        }
    }
}
