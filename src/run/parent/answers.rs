//! What the parent answers: it opens what its own configuration names.

use std::io;
use std::os::fd::OwnedFd;

use super::allowed::{
    check_collector, check_pem, check_rdomain, check_solicit, check_source, check_tap,
};
use super::files::FILES;
use super::guardian::Guardian;
use super::spool::{self, SPOOL};
use super::{
    ADDRESSES, BIND, CAPTURE, CONFIG, CONNECT, DISCARD, DONE, INSTALL, INTERFACES, KEEP, LOG, NEW,
    PEM, PF, RAW4, RAW6, REACH, READ, TAP, TROUBLE,
};
use crate::config::Config;
use crate::io::capture::{self, local_addresses, local_interfaces};
use crate::io::keep::{Files, Place};
use crate::io::link::Message;
use crate::io::transport::{self, WhenFull};
use crate::io::{log, raw};
use crate::run::collectors::{self, security};
use crate::run::{live_config, taps};

/// The answer to a request whose first word is unknown.
const UNKNOWN: &str = "unknown request";

/// What a request gives.
pub(super) enum Opened {
    Text(String),
    Descriptor(OwnedFd),
    Both(String, OwnedFd),
    /// The request is done, or there is nothing to give.
    Nothing,
}

impl Guardian<'_> {
    /// Puts the answer to `message` on the link.
    pub(super) fn answer(&mut self, message: &Message) -> io::Result<()> {
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

    /// Does what `request` asks for, if the configuration names it.
    fn handle(&mut self, request: &str) -> Result<Opened, String> {
        let (word, rest) = match request.split_once(' ') {
            Some((word, rest)) => (word, Some(rest)),
            None => (request, None),
        };
        match (word, rest) {
            (CONFIG, None) => {
                self.config = live_config(self.options)?;
                Ok(Opened::Text(self.config.to_string()))
            }
            (LOG, None) => {
                let socket = log::connect().ok_or("syslogd is not there")?;
                Ok(Opened::Descriptor(socket.into()))
            }
            (ADDRESSES, None) => {
                let addresses = local_addresses().map_err(text_of)?;
                let texts: Vec<_> = addresses.iter().map(ToString::to_string).collect();
                Ok(Opened::Text(texts.join(" ")))
            }
            (INTERFACES, None) => local_interfaces().map(Opened::Text).map_err(text_of),
            (PF, None) => self.open_pf().map(Opened::Descriptor),
            (KEEP, Some(step)) => {
                let keep = self.keep.as_ref().ok_or("no keep file is named")?;
                handle_keep(keep, step).map_err(text_of)
            }
            (CAPTURE, Some(name)) => self.open_capture(name).map(Opened::Descriptor),
            (TROUBLE, Some(name)) => {
                self.captures.check(name)?;
                let trouble = capture::problem_of(name).map(|problem| problem.to_string());
                Ok(Opened::Text(trouble.unwrap_or_default()))
            }
            (FILES, Some(rest)) => self.directories.handle(&self.config, rest),
            (word, Some(rest)) => handle_by_config(&self.config, word, rest),
            _ => Err(UNKNOWN.to_owned()),
        }
    }
}

/// Answers a request that the configuration alone decides.
fn handle_by_config(config: &Config, word: &str, rest: &str) -> Result<Opened, String> {
    match word {
        SPOOL => spool::handle(config, rest),
        REACH => {
            let mut words = rest.split(' ');
            check_collector(config, words.next(), words.next(), words.next())?;
            Ok(Opened::Nothing)
        }
        CONNECT => connect(config, rest),
        PEM => {
            check_pem(config, rest)?;
            security::read(rest).map(Opened::Text)
        }
        TAP => {
            check_tap(config, rest)?;
            let file = taps::open(rest).map_err(text_of)?;
            Ok(Opened::Descriptor(file.into()))
        }
        BIND => {
            let mut words = rest.split(' ');
            let address = check_source(config, words.next().unwrap_or_default())?;
            let rdomain = check_rdomain(config, words.next())?;
            let socket = transport::bind(address, rdomain, WhenFull::Drop).map_err(text_of)?;
            Ok(Opened::Descriptor(socket.into()))
        }
        RAW4 => {
            check_solicit(config, rest)?;
            raw::open_v4(rest).map(Opened::Descriptor).map_err(text_of)
        }
        RAW6 => {
            check_solicit(config, rest)?;
            let (socket, index) = raw::open_v6(rest).map_err(text_of)?;
            Ok(Opened::Both(index.to_string(), socket))
        }
        _ => Err(UNKNOWN.to_owned()),
    }
}

/// The error as the text that the child gets.
#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn text_of(error: io::Error) -> String {
    error.to_string()
}

fn handle_keep(keep: &Files, request: &str) -> io::Result<Opened> {
    let file = match request {
        READ => keep.read()?,
        NEW => Some(keep.create()?),
        INSTALL => {
            keep.install()?;
            None
        }
        DISCARD => {
            keep.discard()?;
            None
        }
        _ => return Err(io::Error::other(UNKNOWN)),
    };
    Ok(file.map_or(Opened::Nothing, |file| Opened::Descriptor(file.into())))
}

/// Begins a connection that the child asks for.
pub(super) fn connect(config: &Config, request: &str) -> Result<Opened, String> {
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
