//! The child's side of the link: its requests, and how it reads the answers.

use std::fs::File;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{
    ADDRESSES, BIND, CAPTURE, CONFIG, CONNECT, DISCARD, DISK_TIMEOUT, DONE, INSTALL, INTERFACES,
    KEEP, LOG, NEW, PEM, PF, RAW4, RAW6, REACH, READ, READY, TAP, TROUBLE,
};
use crate::config::{Config, apply_text};
use crate::export::{Carrier, Rdomain};
use crate::io::capture::Relayed;
use crate::io::keep::Place;
use crate::io::link::{self, ANSWER_TIMEOUT, Link, Message, Passed};
use crate::io::pf::Client;
use crate::io::raw::Raw;
use crate::state::IfName;

/// The parent, as the child sees it. The child's export loop and the thread that writes the keep
/// file share the link.
#[derive(Clone)]
pub(in crate::run) struct Parent(Arc<Mutex<Asking>>);

pub(super) struct Asking {
    link: Link,
    number: u32,
    is_broken: bool,
}

impl Parent {
    pub(in crate::run) fn new(link: Link) -> Self {
        Self(Arc::new(Mutex::new(Asking {
            link,
            number: 0,
            is_broken: false,
        })))
    }

    pub(super) fn asking(&self) -> MutexGuard<'_, Asking> {
        // A thread that panicked has ended the process.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the configuration again.
    pub(in crate::run) fn config(&self) -> Result<Config, String> {
        let (text, _) = self.asking().ask(CONFIG)?;
        let mut config = Config::default();
        apply_text(&mut config, "configuration", &text).map_err(|error| error.to_string())?;
        Ok(config)
    }

    /// Opens the file of a tap.
    pub(in crate::run) fn open_tap(&self, name: &str) -> Result<File, String> {
        self.asking().open(&format!("{TAP} {name}")).map(File::from)
    }

    /// Gets a bound UDP socket.
    pub(in crate::run) fn bind(
        &self,
        from: SocketAddr,
        rdomain: Option<&Rdomain>,
    ) -> Result<UdpSocket, String> {
        let request = with_rdomain(format!("{BIND} {from}"), rdomain);
        self.asking().open(&request).map(UdpSocket::from)
    }

    /// Gets a socket that is being connected, or the reason why it cannot be.
    ///
    /// # Errors
    /// The parent refuses this connection, or the system has no such socket.
    pub(in crate::run) fn connect(
        &self,
        carrier: Carrier,
        to: SocketAddr,
        from: SocketAddr,
        rdomain: Option<&Rdomain>,
    ) -> Result<Result<TcpStream, String>, String> {
        let request = with_rdomain(format!("{CONNECT} {} {to} {from}", carrier.name()), rdomain);
        let (problem, socket) = self.asking().ask(&request)?;
        Ok(socket.map(TcpStream::from).ok_or(problem))
    }

    /// Reads a file of certificates or a key.
    ///
    /// # Errors
    /// The parent refuses the file, or the file cannot be read.
    pub(in crate::run) fn read_pem(&self, file: &str) -> Result<String, String> {
        self.asking()
            .ask(&format!("{PEM} {file}"))
            .map(|(text, _)| text)
    }

    /// Whether a collector may be connected to.
    pub(in crate::run) fn may_connect(
        &self,
        carrier: Carrier,
        to: SocketAddr,
        rdomain: Option<&Rdomain>,
    ) -> Result<(), String> {
        let request = with_rdomain(format!("{REACH} {} {to}", carrier.name()), rdomain);
        self.asking().ask(&request).map(drop)
    }

    /// Whether a request would have to wait for another one.
    pub(in crate::run) fn is_busy(&self) -> bool {
        self.asking_now().is_err()
    }

    /// This host's addresses.
    pub(in crate::run) fn addresses(&self) -> Result<Vec<IpAddr>, String> {
        let (text, _) = self.asking_now()?.ask(ADDRESSES)?;
        let addresses = text.split_whitespace().map(str::parse);
        addresses
            .collect::<Result<_, _>>()
            .map_err(|error| format!("parent process: {error}"))
    }

    /// This host's interfaces with their numbers. Interfaces whose number does not fit 16 bits are
    /// left out.
    pub(in crate::run) fn interfaces(&self) -> Result<Vec<(IfName, u16)>, String> {
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

    /// What is wrong with the interface `name`. `None` if nothing is wrong, or if the parent is
    /// busy.
    pub(in crate::run) fn trouble(&self, name: &str) -> Option<String> {
        let (text, _) = self
            .asking_now()
            .ok()?
            .ask(&format!("{TROUBLE} {name}"))
            .ok()?;
        (!text.is_empty()).then_some(text)
    }

    /// For requests that can be repeated later. It does not wait, because a disk may keep the
    /// parent busy.
    pub(super) fn asking_now(&self) -> Result<MutexGuard<'_, Asking>, String> {
        let asking = self.0.try_lock();
        asking.map_err(|_| "the parent process is busy".to_owned())
    }

    /// Gets the sockets by which firewalls are asked for states.
    pub(in crate::run) fn open_raw(&self, name: &str) -> Result<Raw, String> {
        let mut asking = self.asking();
        let v4 = asking.open(&format!("{RAW4} {name}"))?;
        // The answer is the number of the interface.
        let v6 = match asking.ask(&format!("{RAW6} {name}")) {
            Ok((index, Some(socket))) => index.parse().ok().map(|index| (socket, index)),
            Ok((_, None)) | Err(_) => None,
        };
        Ok(Raw::new(v4, v6))
    }

    /// Has another process started that asks this host's pf.
    pub(in crate::run) fn open_pf(&self) -> Result<Client, String> {
        let stream = self.asking_now()?.open(PF)?;
        Client::start(UnixStream::from(stream)).map_err(|error| error.to_string())
    }

    /// Has another process started that reads a capture that was lost.
    pub(in crate::run) fn open_capture(&self, name: &str) -> Result<Relayed, String> {
        let stream = self.asking_now()?.open(&format!("{CAPTURE} {name}"))?;
        Relayed::new(UnixStream::from(stream)).map_err(|error| error.to_string())
    }

    /// Where the keep file is.
    pub(in crate::run) fn keep_place(&self, name: &str) -> Kept {
        Kept {
            parent: self.clone(),
            name: name.to_owned(),
        }
    }

    /// Gets a socket to syslogd, if syslogd is there.
    pub(in crate::run) fn log(&self) -> Option<UnixDatagram> {
        // The log may be written while another request has the lock.
        let descriptor = self.0.try_lock().ok()?.open(LOG).ok()?;
        Some(UnixDatagram::from(descriptor))
    }

    /// Tells the parent that the program runs.
    pub(in crate::run) fn tell_ready(&self) -> Result<(), String> {
        let outcome = self.asking().link.tell(READY.as_bytes(), ANSWER_TIMEOUT);
        outcome.map_err(|error| format!("parent process: {error}"))
    }
}

/// Appends the routing domain to a request.
fn with_rdomain(request: String, rdomain: Option<&Rdomain>) -> String {
    match rdomain {
        Some(rdomain) => format!("{request} {rdomain}"),
        None => request,
    }
}

/// The keep file, which the parent opens and installs.
pub(in crate::run) struct Kept {
    parent: Parent,
    name: String,
}

impl Kept {
    fn ask(&self, step: &str) -> io::Result<Option<OwnedFd>> {
        let request = format!("{KEEP} {step}");
        let answer = self.parent.asking().ask_patiently(&request, DISK_TIMEOUT);
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
        Ok(self.ask(READ)?.map(File::from))
    }

    fn create(&self) -> io::Result<File> {
        let nothing = || io::Error::other("the parent process passed nothing");
        self.ask(NEW)?.map(File::from).ok_or_else(nothing)
    }

    fn install(&self) -> io::Result<()> {
        self.ask(INSTALL).map(drop)
    }

    fn discard(&self) -> io::Result<()> {
        self.ask(DISCARD).map(drop)
    }
}

impl Asking {
    fn open(&mut self, request: &str) -> Result<OwnedFd, String> {
        let (_, descriptor) = self.ask(request)?;
        descriptor.ok_or_else(|| "the parent process passed nothing".to_owned())
    }

    pub(super) fn ask(&mut self, request: &str) -> Result<(String, Option<OwnedFd>), String> {
        self.ask_patiently(request, ANSWER_TIMEOUT)
    }

    /// Asks, and waits for the answer, but not longer than `patience`. After a failure the next
    /// request may work, unless the parent has ended or its octets are no message.
    pub(super) fn ask_patiently(
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
