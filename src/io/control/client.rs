//! One client: what it said, what it is told, and what it is at.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;

use super::asks::{ClientId, MAX_LINE};
use crate::control::{Access, Listing};
use crate::time::Uptime;

/// What a client is at.
#[derive(Debug)]
pub(super) enum Stage {
    /// It may say something.
    Listening,
    /// The export loop has its line.
    Asked,
    /// It is being written to; then comes this.
    Writing(After),
}

/// What comes when a client has taken what there is.
#[derive(Debug)]
pub(super) enum After {
    Listen,
    Ask(Listing),
    Stream(u32),
    Close,
}

pub(super) struct Client {
    pub(super) id: ClientId,
    pub(super) stream: UnixStream,
    pub(super) access: Access,
    /// What it said and was not looked at.
    pub(super) input: Vec<u8>,
    /// What it is to be told, and how much of that is written.
    pub(super) output: Vec<u8>,
    pub(super) written: usize,
    pub(super) stage: Stage,
    /// When it last did what it was waited for.
    pub(super) since: Uptime,
    /// Whether it will say nothing more.
    pub(super) is_ended: bool,
    pub(super) is_gone: bool,
}

impl Client {
    pub(super) fn new(id: ClientId, stream: UnixStream, access: Access, now: Uptime) -> Self {
        Self {
            id,
            stream,
            access,
            input: Vec::new(),
            output: Vec::new(),
            written: 0,
            stage: Stage::Listening,
            since: now,
            is_ended: false,
            is_gone: false,
        }
    }

    pub(super) fn start_writing(&mut self, after: After, now: Uptime) {
        self.since = now;
        self.stage = Stage::Writing(after);
    }

    pub(super) fn may_speak(&self) -> bool {
        matches!(self.stage, Stage::Listening) && !self.is_ended
    }

    pub(super) fn is_written_to(&self) -> bool {
        matches!(self.stage, Stage::Writing(_))
    }

    /// Takes what came, no more than a line may be long.
    pub(super) fn read(&mut self, now: Uptime) {
        let mut octets = [0; MAX_LINE];
        let room = MAX_LINE.saturating_sub(self.input.len());
        let Some(octets) = octets.get_mut(..room).filter(|octets| !octets.is_empty()) else {
            return;
        };
        match self.stream.read(octets) {
            Ok(0) => self.is_ended = true,
            Ok(read) => {
                if self.input.is_empty() {
                    self.since = now;
                }
                self.input
                    .extend_from_slice(octets.get(..read).unwrap_or(&[]));
            }
            Err(error) => {
                let again = [io::ErrorKind::WouldBlock, io::ErrorKind::Interrupted];
                self.is_gone |= !again.contains(&error.kind());
            }
        }
    }

    /// The next line without its end, if it is whole.
    pub(super) fn take_line(&mut self) -> Option<Result<String, &'static str>> {
        let end = self.input.iter().position(|octet| *octet == b'\n')?;
        let mut line: Vec<u8> = self.input.drain(..=end).collect();
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Some(String::from_utf8(line).map_err(|_| "not UTF-8"))
    }

    pub(super) fn refuse(&mut self, problem: &str) {
        self.output.extend_from_slice(b"error: ");
        // An answer's end is one line.
        let octets = problem.bytes().map(|octet| match octet {
            octet if octet.is_ascii_control() => b' ',
            octet => octet,
        });
        self.output.extend(octets);
        self.output.push(b'\n');
    }
}
