//! The two processes of a live capture: the parent, which keeps its rights and opens what the
//! configuration names, and the child, which does everything else and asks it.
//!
//! ```text
//! child  --config--------> parent    reads the configuration's files, answers with its lines
//!        --tap FILE------>           if the configuration names it: opens it, passes the descriptor
//!        --bind ADDRESS--->          if anybody may bind its port, or it is a flowsrc of the
//!                                    configuration: a UDP socket. RDOMAIN behind it, and
//!                                    behind the next two, is one of the configuration
//!        --connect tcp TO FROM>      if the configuration exports to TO by tcp, tls ...: a socket
//!                                    that is being connected, or why it cannot be
//!        --reach tcp TO--->          whether it does
//!        --pem FILE------->          if the configuration has it as ca, cert or key: what is in it
//!        --addresses------>          this host's addresses
//!        --trouble NAME--->          if the configuration captures there: what is wrong with it
//!        --raw4, raw6 IF->           if the configuration solicits there: the same, with the
//!                                    number of the interface for raw6
//!        --capture NAME--->          if the configuration names it: a process that reads it, and
//!                                    what that writes to
//!        --keep read, new->          opens the keep file, or the one beside it: the same
//!        --keep install--->          puts the new one in the place of the old one
//!        --files open N P->          if pflowN's file is P: its directory, by a number
//!        --files new, left->         makes the file of a time there, or looks for one that was
//!                                    left: passes the descriptor
//!        --files done, close->       gives that file its name, or closes the directory
//!        --spool N .. ---->          if the configuration has pflowN spool: a file of it by number,
//!                                    made, opened, renamed or removed
//!        --log------------>          a socket to syslogd
//!        --ready---------->          no answer: lets the shell go
//! child <-signals--------- parent
//! ```
//! The parent believes nothing that the child says: what may be opened it takes from the files it
//! read itself. It sees no packet and no client. When the child ends, it removes the files of the
//! control sockets and of the process number, and ends as the child did. If the parent ends, the
//! child sees the end of its lifeline and stops.

mod files;
mod spool;

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::collectors::{self, security};
use super::{live_config, start, taps};
use crate::config::{Config, apply_text};
use crate::export::{Carrier, Rdomain, Settings};
use crate::io::capture::{self, Relay, Relayed, local_addresses, local_interfaces};
use crate::io::clock::Clock;
use crate::io::daemon::{self, Ended, Null, Waiting, status_of};
use crate::io::keep::{Files, Place};
use crate::io::link::{self, Link, Message, PATIENCE, Passed, Pulled};
use crate::io::log::{self, Log, Trouble};
use crate::io::privileges::User;
use crate::io::raw::{self, Raw};
use crate::io::signals::{LONGEST, Waiter};
use crate::io::transport::{self, WhenFull, source_address};
use crate::options::Options;
use crate::state::IfName;
use crate::time::Uptime;
pub(super) use files::Directories;
use files::FILES;
pub(super) use spool::SpoolFiles;

const CONFIG: &str = "config";
const LOG: &str = "log";
const READY: &str = "ready";
const TAP: &str = "tap ";
const BIND: &str = "bind ";
const CONNECT: &str = "connect ";
const REACH: &str = "reach ";
const PEM: &str = "pem ";
const ADDRESSES: &str = "addresses";
const INTERFACES: &str = "interfaces";
const TROUBLE: &str = "trouble ";
const RAW4: &str = "raw4 ";
const RAW6: &str = "raw6 ";
const CAPTURE: &str = "capture ";
const KEEP: &str = "keep ";
const KEEP_READ: &str = "keep read";
const KEEP_NEW: &str = "keep new";
const KEEP_INSTALL: &str = "keep install";
const KEEP_DISCARD: &str = "keep discard";
/// Ports below are root's (IPPORT_RESERVED of netinet/in.h).
const RESERVED: u16 = 1024;
/// How long an answer is waited for that a disk has to give.
const DISK: Duration = Duration::from_secs(20);
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
    pub(super) fn bind(
        &self,
        from: SocketAddr,
        rdomain: Option<&Rdomain>,
    ) -> Result<UdpSocket, String> {
        let request = with_rdomain(format!("{BIND}{from}"), rdomain);
        self.asking().open(&request).map(UdpSocket::from)
    }

    /// A socket that is being connected, or why it cannot be.
    ///
    /// # Errors
    /// It may not be, or there can be no such socket.
    pub(super) fn connect(
        &self,
        carrier: Carrier,
        to: SocketAddr,
        from: SocketAddr,
        rdomain: Option<&Rdomain>,
    ) -> Result<Result<TcpStream, String>, String> {
        let request = with_rdomain(format!("{CONNECT}{} {to} {from}", carrier.name()), rdomain);
        let (problem, socket) = self.asking().ask(&request)?;
        Ok(socket.map(TcpStream::from).ok_or(problem))
    }

    /// What is in a file of certificates or a key.
    ///
    /// # Errors
    /// It may not be read, or cannot be.
    pub(super) fn read_pem(&self, file: &str) -> Result<String, String> {
        self.asking()
            .ask(&format!("{PEM}{file}"))
            .map(|(text, _)| text)
    }

    /// Whether a collector may be connected to.
    pub(super) fn may_connect(
        &self,
        carrier: Carrier,
        to: SocketAddr,
        rdomain: Option<&Rdomain>,
    ) -> Result<(), String> {
        let request = with_rdomain(format!("{REACH}{} {to}", carrier.name()), rdomain);
        self.asking().ask(&request).map(drop)
    }

    /// Whether a request would have to wait.
    pub(super) fn is_busy(&self) -> bool {
        self.asking_now().is_err()
    }

    /// This host's addresses.
    pub(super) fn addresses(&self) -> Result<Vec<IpAddr>, String> {
        let (text, _) = self.asking_now()?.ask(ADDRESSES)?;
        let addresses = text.split_whitespace().map(str::parse);
        addresses
            .collect::<Result<_, _>>()
            .map_err(|error| format!("parent process: {error}"))
    }

    /// This host's interfaces with their numbers, as far as those have 16 bits.
    pub(super) fn interfaces(&self) -> Result<Vec<(IfName, u16)>, String> {
        let (text, _) = self.asking_now()?.ask(INTERFACES)?;
        let mut words = text.split_whitespace();
        let mut interfaces = Vec::new();
        while let (Some(name), Some(index)) = (words.next(), words.next()) {
            let index = index.parse::<u32>();
            let index = index.map_err(|error| format!("parent process: {error}"))?;
            interfaces.extend(u16::try_from(index).map(|index| (IfName::from(name), index)));
        }
        Ok(interfaces)
    }

    /// What is wrong with the interface `name`, if something is and can be learned now.
    pub(super) fn trouble(&self, name: &str) -> Option<String> {
        let (text, _) = self
            .asking_now()
            .ok()?
            .ask(&format!("{TROUBLE}{name}"))
            .ok()?;
        (!text.is_empty()).then_some(text)
    }

    /// For what is asked again later: the disk of the keep file may keep the parent busy.
    fn asking_now(&self) -> Result<MutexGuard<'_, Asking>, String> {
        let asking = self.0.try_lock();
        asking.map_err(|_| "the parent process is busy".to_owned())
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
        let stream = self.asking_now()?.open(&format!("{CAPTURE}{name}"))?;
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
        let outcome = self.asking().link.tell(READY.as_bytes(), PATIENCE);
        outcome.map_err(|error| format!("parent process: {error}"))
    }
}

/// A request with the routing domain that it is for.
fn with_rdomain(request: String, rdomain: Option<&Rdomain>) -> String {
    match rdomain {
        Some(rdomain) => format!("{request} {rdomain}"),
        None => request,
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
        self.ask_patiently(request, PATIENCE)
    }

    /// Asks, and waits so long for the answer. What fails costs this request; the next one may
    /// work, unless the parent has gone or talks nonsense.
    fn ask_patiently(
        &mut self,
        request: &str,
        patience: Duration,
    ) -> Result<(String, Option<OwnedFd>), String> {
        if self.is_broken {
            return Err("the parent process does not answer any more".to_owned());
        }
        self.number = self.number.wrapping_add(1);
        let answer = self.link.ask(self.number, request.as_bytes(), patience);
        answer
            .map_err(|error| self.explain(&error))
            .and_then(parse_answer)
    }

    fn explain(&mut self, error: &io::Error) -> String {
        self.is_broken = link::is_fatal(error);
        match error.kind() {
            io::ErrorKind::UnexpectedEof => "the parent process has gone".to_owned(),
            io::ErrorKind::TimedOut => "the parent process does not answer in time".to_owned(),
            _ => format!("parent process: {error}"),
        }
    }
}

fn parse_answer(message: Message) -> Result<(String, Option<OwnedFd>), String> {
    let text = String::from_utf8_lossy(message.octets.get(1..).unwrap_or_default()).into_owned();
    match message.octets.first() {
        Some(&DONE) => match message.passed {
            Passed::One(descriptor) => Ok((text, Some(descriptor))),
            Passed::Nothing => Ok((text, None)),
            Passed::Lost => Err(
                "the descriptor that the parent process passed was lost: too many are open"
                    .to_owned(),
            ),
        },
        _ => Err(text),
    }
}

/// How long the parent waits for a child that is to end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// One whose end of the link is closed, which the system does first when a process ends.
    pub(super) closed: Duration,
    /// One that was told to: it sends what it holds, and a disk takes the keep file.
    pub(super) told: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            closed: Duration::from_secs(2),
            told: Duration::from_secs(60),
        }
    }
}

/// Between two looks at a child that is to end.
const LOOK: Duration = Duration::from_millis(10);

/// What the parent waits for: signals, the link, the child's end. It never waits for the child
/// alone, whatever that does or does not.
struct Watch {
    child: Pid,
    waiter: Waiter,
    clock: Clock,
    /// Whether the child knows signals: until then it would end by them.
    is_ready: bool,
    /// Signals for a child that is not ready.
    waiting: Vec<Signal>,
    /// When it was first told to end.
    asked: Option<Uptime>,
    waits: Trouble,
    talks: Trouble,
}

impl Watch {
    fn new(child: Pid, waiter: Waiter) -> Self {
        Self {
            child,
            waiter,
            clock: Clock::new(None),
            is_ready: false,
            waiting: Vec::new(),
            asked: None,
            waits: Trouble::new("poll"),
            talks: Trouble::new("link to the child process"),
        }
    }

    fn now(&self) -> Uptime {
        self.clock.now().uptime
    }

    /// Waits for a signal or for `link`, at most so long, and passes signals on; whether the link is
    /// to be looked at.
    fn wait(&mut self, link: Option<&Link>, longest: Duration, log: &mut Log) -> bool {
        let woken = self.waiter.wait(link, longest);
        let now = self.now();
        let line = match &woken.problem {
            Some(problem) => self.waits.begin(now, problem),
            None => self.waits.end(now),
        };
        line.into_iter().for_each(|line| log.warn(&line));
        let signals = woken.signals.into_iter();
        for signal in signals.filter_map(|signal| Signal::try_from(signal).ok()) {
            let is_end = matches!(signal, Signal::SIGTERM | Signal::SIGINT);
            if is_end {
                self.asked.get_or_insert(now);
            }
            if self.is_ready || is_end {
                // One that has ended shows in a moment.
                let _ = kill(self.child, signal);
            } else if !self.waiting.contains(&signal) {
                self.waiting.push(signal);
            }
        }
        woken.is_link_ready
    }

    /// How long until the child must have ended, if it was told to.
    fn left(&self, told: Duration) -> Duration {
        let left = |asked: Uptime| told.saturating_sub(self.now().since(asked));
        self.asked.map_or(LONGEST, left)
    }

    /// Passes on what has waited until the child knows signals.
    fn set_ready(&mut self) {
        self.is_ready = true;
        for signal in self.waiting.drain(..) {
            let _ = kill(self.child, signal);
        }
    }

    /// Waits so long for the child to end.
    fn end_within(&mut self, patience: Duration, log: &mut Log) -> Option<Ended> {
        let until = self.now().after(patience);
        loop {
            let ended = daemon::ended(self.child);
            if ended.is_some() || self.now() >= until {
                return ended;
            }
            self.wait(None, LOOK, log);
        }
    }
}

/// Why the parent serves no more.
enum Over {
    /// The child's end of the link is closed.
    Closed,
    /// The link is of no use any more.
    Broken(String),
    /// The child was told to end and did not.
    Late,
}

/// The parent's side.
pub(super) struct Guardian<'a> {
    pub(super) options: &'a Options,
    /// What was read last: what may be opened.
    pub(super) config: Config,
    /// The keep file, which stays the same.
    pub(super) keep: Option<Files>,
    pub(super) captures: Captures,
    pub(super) directories: Directories,
    pub(super) link: Link,
    /// Its end tells the child that this process has ended.
    pub(super) life: Option<UnixStream>,
    pub(super) child: Pid,
    pub(super) log: Log,
    /// The shell, and what takes its terminal's place.
    pub(super) background: Option<(Waiting, Null)>,
    pub(super) limits: Limits,
}

impl Guardian<'_> {
    /// Serves the child until it ends.
    pub(super) fn run(self) -> Result<ExitCode, String> {
        match Waiter::new() {
            Ok(waiter) => Ok(self.serve(waiter)),
            Err(error) => {
                // The child has begun nothing that would be worth keeping.
                let _ = kill(self.child, Signal::SIGKILL);
                status_of(self.child);
                Err(format!("signals: {error}"))
            }
        }
    }

    fn serve(mut self, waiter: Waiter) -> ExitCode {
        let mut watch = Watch::new(self.child, waiter);
        let why = loop {
            let left = watch.left(self.limits.told);
            if left.is_zero() {
                break Over::Late;
            }
            if !watch.wait(Some(&self.link), left, &mut self.log) {
                continue;
            }
            match self.talk(&mut watch) {
                Ok(true) => {}
                Ok(false) => break Over::Closed,
                Err(problem) => break Over::Broken(problem),
            }
        };
        self.see_off(watch, &why)
    }

    /// Goes on with the child's request or with the answer to it, as far as that goes at once; false
    /// if its end of the link is closed.
    ///
    /// # Errors
    /// The link is of no use any more.
    fn talk(&mut self, watch: &mut Watch) -> Result<bool, String> {
        let outcome = self.step(watch);
        let now = watch.now();
        let line = match &outcome {
            Ok(_) => watch.talks.end(now),
            Err(error) => watch.talks.begin(now, error),
        };
        match outcome {
            Err(error) if is_closed(&error) => return Ok(false),
            Err(error) if link::is_fatal(&error) => return Err(error.to_string()),
            _ => line.into_iter().for_each(|line| self.log.warn(&line)),
        }
        match outcome {
            Ok(is_open) => Ok(is_open),
            // What fails all the time is no link.
            Err(error) if watch.talks.lasts(now) >= self.limits.told => Err(error.to_string()),
            Err(_) => {
                daemon::pause();
                Ok(true)
            }
        }
    }

    fn step(&mut self, watch: &mut Watch) -> io::Result<bool> {
        if !self.push()? {
            return Ok(true);
        }
        match self.link.pull()? {
            Pulled::Ended => return Ok(false),
            Pulled::Nothing => {}
            Pulled::Message(message) if message.octets == READY.as_bytes() => {
                watch.set_ready();
                self.release_shell();
            }
            // One at a time: signals are looked at in between.
            Pulled::Message(message) => {
                self.answer(&message)?;
                self.push()?;
            }
        }
        Ok(true)
    }

    /// Sends what goes of an answer; whether that was all. A descriptor that cannot be passed costs
    /// the child this request.
    fn push(&mut self) -> io::Result<bool> {
        let error = match self.link.push() {
            Err(error) if !link::is_fatal(&error) => error,
            outcome => return outcome,
        };
        let Some(message) = self.link.take_back() else {
            return Err(error);
        };
        if let Passed::Nothing = message.passed {
            self.link.put(message.number, &message.octets, None)?;
            return Err(error);
        }
        let problem = format!("the descriptor cannot be passed: {error}");
        self.log.warn(&format!("child process: {problem}"));
        self.refuse(message.number, &problem)?;
        self.link.push()
    }

    fn refuse(&mut self, number: u32, problem: &str) -> io::Result<()> {
        let octets = [&[REFUSED], problem.as_bytes()].concat();
        self.link.put(number, &octets, None)
    }

    /// Waits for the child's end, and brings it about if need be.
    fn see_off(self, mut watch: Watch, why: &Over) -> ExitCode {
        let Self {
            link,
            mut log,
            child,
            limits,
            life,
            ..
        } = self;
        // A child that asks still must not wait for an answer.
        drop(link);
        let mut ended = None;
        if let Over::Closed = why {
            ended = watch.end_within(limits.closed, &mut log);
        }
        match why {
            Over::Broken(problem) => log.warn(&format!(
                "link to the child process: {problem}; both processes end"
            )),
            Over::Closed if ended.is_none() => {
                log.warn("the child process closed its link and did not end: it is told to");
            }
            Over::Closed | Over::Late => {}
        }
        if ended.is_none() && !matches!(why, Over::Late) {
            let _ = kill(child, Signal::SIGTERM);
            ended = watch.end_within(limits.told, &mut log);
        }
        let Some(ended) = ended else {
            let secs = limits.told.as_secs();
            log.warn(&format!(
                "the child process was told to end and did not within {secs} s: it is killed"
            ));
            let _ = kill(child, Signal::SIGKILL);
            status_of(child);
            return ExitCode::FAILURE;
        };
        // Until now its end would have told the child to stop.
        drop(life);
        match (ended, why) {
            (_, Over::Broken(_)) => ExitCode::FAILURE,
            // It had no time yet to take the signal as a request.
            (Ended::Signal(libc::SIGTERM | libc::SIGINT), _) if watch.asked.is_some() => {
                ExitCode::SUCCESS
            }
            (Ended::Signal(signal), _) => {
                log.warn(&format!("ended by signal {signal}"));
                ended.code()
            }
            (Ended::Status(_), _) => ended.code(),
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
        let (text, descriptor) = match self.handle(&request) {
            Ok(Opened::Text(text)) => (text, None),
            Ok(Opened::Descriptor(descriptor)) => (String::new(), Some(descriptor)),
            Ok(Opened::Both(text, descriptor)) => (text, Some(descriptor)),
            Ok(Opened::Nothing) => (String::new(), None),
            Err(problem) => return self.refuse(message.number, &problem),
        };
        let octets = [&[DONE], text.as_bytes()].concat();
        match self.link.put(message.number, &octets, descriptor) {
            Ok(()) => Ok(()),
            Err(error) => self.refuse(message.number, &error.to_string()),
        }
    }

    /// Starts a process that opens the capture, gives up its rights, and reads.
    fn open_capture(&mut self, name: &str) -> Result<OwnedFd, String> {
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
        if let Some(request) = request.strip_prefix(FILES) {
            return self.directories.handle(&self.config, request);
        }
        if let Some(name) = request.strip_prefix(CAPTURE) {
            return self.open_capture(name).map(Opened::Descriptor);
        }
        if let Some(request) = request.strip_prefix(spool::SPOOL) {
            return spool::handle(&self.config, request);
        }
        if request == ADDRESSES {
            let addresses = local_addresses().map_err(|error| error.to_string())?;
            let texts: Vec<_> = addresses.iter().map(ToString::to_string).collect();
            return Ok(Opened::Text(texts.join(" ")));
        }
        if request == INTERFACES {
            let interfaces = local_interfaces().map_err(|error| error.to_string())?;
            return Ok(Opened::Text(interfaces));
        }
        if let Some(name) = request.strip_prefix(TROUBLE) {
            self.captures.check(name)?;
            let trouble = capture::problem_of(name).map(|problem| problem.to_string());
            return Ok(Opened::Text(trouble.unwrap_or_default()));
        }
        if let Some(collector) = request.strip_prefix(REACH) {
            let mut words = collector.split(' ');
            check_collector(&self.config, words.next(), words.next(), words.next())?;
            return Ok(Opened::Nothing);
        }
        if let Some(file) = request.strip_prefix(PEM) {
            check_pem(&self.config, file)?;
            return security::read(file).map(Opened::Text);
        }
        if let Some(request) = request.strip_prefix(CONNECT) {
            return connect(&self.config, request);
        }
        let opened = if request == LOG {
            log::connect().ok_or("syslogd is not there")?.into()
        } else if let Some(name) = request.strip_prefix(TAP) {
            check_tap(&self.config, name)?;
            taps::open(name).map_err(|error| error.to_string())?.into()
        } else if let Some(address) = request.strip_prefix(BIND) {
            let mut words = address.split(' ');
            let address = check_source(&self.config, words.next().unwrap_or_default())?;
            let rdomain = check_rdomain(&self.config, words.next())?;
            let socket = transport::bind(address, rdomain, WhenFull::Drop);
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
    /// One a capture at most.
    readers: BTreeMap<String, Pid>,
}

impl Captures {
    pub(super) fn new(config: &Config, user: Option<User>) -> Self {
        Self {
            names: config.captures.clone(),
            joins: !config.is_join_off,
            user,
            readers: BTreeMap::new(),
        }
    }

    fn check(&self, name: &str) -> Result<(), String> {
        match self.names.iter().any(|other| other == name) {
            true => Ok(()),
            false => Err("only captures that the configuration names can be opened".to_owned()),
        }
    }

    /// Whether nobody reads `name`. A reader that still runs when the child asks for another is of no
    /// use to anybody: it is killed, and has ended by the next time.
    fn is_free(&mut self, name: &str) -> bool {
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

/// Whether the other side has closed its end, which is how a process ends.
fn is_closed(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
    )
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

fn check_pem(config: &Config, file: &str) -> Result<(), String> {
    let mut files = config.interfaces.values().flat_map(security::files_of);
    match files.any(|(_, named)| named == file) {
        true => Ok(()),
        false => Err("only files that the configuration's files name can be read".to_owned()),
    }
}

/// Begins a connection that the child asks for.
fn connect(config: &Config, request: &str) -> Result<Opened, String> {
    let mut words = request.split(' ');
    let (carrier, to) = (words.next(), words.next());
    let (from, rdomain) = (words.next(), words.next());
    let (to, settings) = check_collector(config, carrier, to, rdomain)?;
    let from = check_source(config, from.unwrap_or_default())?;
    let begun = collectors::begin(settings.carrier, from, to, settings.rdomain.as_ref())?;
    Ok(match begun {
        Ok(socket) => Opened::Descriptor(socket.into()),
        Err(problem) => Opened::Text(problem),
    })
}

/// A connection may go to a collector of an interface that has connections, by that interface's
/// routing domain.
fn check_collector<'a>(
    config: &'a Config,
    carrier: Option<&str>,
    to: Option<&str>,
    rdomain: Option<&str>,
) -> Result<(SocketAddr, &'a Settings), String> {
    let to: SocketAddr = to.and_then(|to| to.parse().ok()).ok_or("not an address")?;
    let named = config.interfaces.values().filter(|settings| {
        let is_named = settings.flowdst == Some(to) || settings.backups.contains(&to);
        let is_same = Some(settings.carrier.name()) == carrier;
        is_same && settings.carrier != Carrier::Udp && is_named
    });
    let is_same = |settings: &&Settings| {
        let own = settings.rdomain.as_ref().map(ToString::to_string);
        own.as_deref() == rdomain
    };
    let mut named = named.peekable();
    if named.peek().is_none() {
        return Err(
            "only a collector that the configuration's files name can be connected to".to_owned(),
        );
    }
    match named.find(is_same) {
        Some(settings) => Ok((to, settings)),
        None => Err("only by the rdomain of the configuration's files".to_owned()),
    }
}

/// A socket may look for its routes where the configuration has one do so.
fn check_rdomain<'a>(
    config: &'a Config,
    rdomain: Option<&str>,
) -> Result<Option<&'a Rdomain>, String> {
    let Some(rdomain) = rdomain else {
        return Ok(None);
    };
    let named = config.interfaces.values();
    let mut named = named.filter_map(|settings| settings.rdomain.as_ref());
    match named.find(|named| named.to_string() == rdomain) {
        Some(named) => Ok(Some(named)),
        None => Err(format!(
            "only an rdomain that the configuration's files name can be used, not {rdomain}"
        )),
    }
}

/// A UDP socket may be bound as whoever runs the child could bind it; a port below 1024 only as the
/// configuration has it.
fn check_source(config: &Config, address: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr = address.parse().map_err(|_| "not an address")?;
    let mut sources = config
        .interfaces
        .values()
        .filter_map(|settings| settings.flowsrc);
    let is_anybodys = address.port() == 0 || address.port() >= RESERVED;
    let is = |source| source_address(Some(source), address.is_ipv6()) == address;
    match is_anybodys || sources.any(is) {
        true => Ok(address),
        false => Err("only a port below 1024 that the configuration names can be bound".to_owned()),
    }
}

#[cfg(test)]
mod tests;
