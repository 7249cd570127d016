//! TLS over a TCP connection to a collector, which never blocks (RFC 7011 11).
//!
//! ```text
//! TCP connecting --> handshake --> verdict on our certificate --> up
//! ```
//! A record of TLS has several messages. The peer's system acknowledges octets of records. So each
//! write notes how many octets the connection had taken by then.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use socket2::SockRef;

use super::Transport;
use super::tcp::Tcp;
use crate::io::sys::{self, Polled};
use crate::io::tls::{TlsClient, TlsPeer, TlsSession};
use crate::time::Uptime;

/// Octets that one record of TLS carries at most (RFC 8446 5.1).
const MAX_RECORD: usize = 1 << 14;

/// A TLS session and the TCP connection below it.
#[derive(Debug)]
pub struct Secure {
    state: State,
    to: SocketAddr,
    client: Arc<TlsClient>,
    peer: TlsPeer,
    /// What OpenSSL has begun to write and must be given again.
    pending: Pending,
    /// Writes that the peer's system may not have acknowledged yet, the oldest first.
    written: VecDeque<Written>,
    /// How the session ended, while the caller has to hear first what was written before.
    failed: Option<io::Error>,
}

#[derive(Debug)]
enum State {
    Connecting(Tcp),
    TlsSession(TlsSession<Counted>),
    /// It could not be made, or is being changed.
    Over,
}

/// Whole messages in one record.
#[derive(Debug, Default)]
struct Pending {
    octets: Vec<u8>,
    messages: usize,
}

/// One write of messages.
#[derive(Clone, Copy, Debug)]
struct Written {
    /// Octets of messages in it.
    octets: usize,
    /// Octets that the connection had taken with it.
    until: u64,
}

/// A connection that counts what it takes.
#[derive(Debug)]
struct Counted {
    stream: TcpStream,
    taken: u64,
}

impl Read for Counted {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        self.stream.read(room)
    }
}

impl Write for Counted {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        // Not SIGPIPE, whatever the process does with it.
        let sent = SockRef::from(&self.stream).send_with_flags(octets, libc::MSG_NOSIGNAL)?;
        self.taken += sent as u64;
        Ok(sent)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Secure {
    /// A session with `peer` over the connection to `to`, which need not be made yet.
    pub fn new(tcp: Tcp, to: SocketAddr, client: Arc<TlsClient>, peer: TlsPeer) -> Self {
        Self {
            state: State::Connecting(tcp),
            to,
            client,
            peer,
            pending: Pending::default(),
            written: VecDeque::new(),
            failed: None,
        }
    }

    fn stream(&self) -> Option<&TcpStream> {
        match &self.state {
            State::Connecting(tcp) => Some(tcp.stream()),
            State::TlsSession(session) => Some(&session.stream().stream),
            State::Over => None,
        }
    }

    /// Fills the next record with the first of `messages`, at least one.
    fn fill(&mut self, messages: &[&[u8]]) {
        let Pending {
            octets,
            messages: count,
        } = &mut self.pending;
        for message in messages {
            if *count > 0 && octets.len() + message.len() > MAX_RECORD {
                break;
            }
            octets.extend_from_slice(message);
            *count += 1;
        }
    }
}

impl Transport for Secure {
    fn establish(&mut self, now: Uptime) -> io::Result<bool> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        if let State::Connecting(tcp) = &mut self.state {
            // What the collector says is for TLS to read.
            match super::tcp::is_made(tcp.stream()) {
                Ok(true) => {}
                Ok(false) => return Ok(false),
                // The system had no room for a look.
                Err(error) if sys::is_passing(&error) => return Ok(false),
                Err(error) => return Err(error),
            }
            if let State::Connecting(tcp) = std::mem::replace(&mut self.state, State::Over) {
                let stream = Counted {
                    stream: tcp.into_stream(),
                    taken: 0,
                };
                let session = self.client.open(&self.peer, stream);
                self.state = State::TlsSession(session.map_err(io::Error::other)?);
            }
        }
        match &mut self.state {
            State::TlsSession(session) => {
                let is_ready = session.advance(now)?;
                if is_ready {
                    session.hear()?;
                }
                Ok(is_ready)
            }
            State::Connecting(_) | State::Over => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    fn send(&mut self, _: Uptime, messages: &[&[u8]]) -> io::Result<usize> {
        let mut sent = 0;
        while let Some(rest) = messages.get(sent..)
            && !rest.is_empty()
        {
            if self.pending.messages == 0 {
                self.fill(rest);
            }
            let State::TlsSession(session) = &mut self.state else {
                return Err(io::ErrorKind::NotConnected.into());
            };
            match session.write(&self.pending.octets) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(sent),
                Err(error) if sent == 0 => return Err(error),
                Err(error) => {
                    self.failed = Some(error);
                    return Ok(sent);
                }
            }
            self.written.push_back(Written {
                octets: self.pending.octets.len(),
                until: session.stream().taken,
            });
            sent += self.pending.messages;
            self.pending.octets.clear();
            self.pending.messages = 0;
        }
        self.forget();
        Ok(sent)
    }

    fn unacknowledged(&self) -> Option<usize> {
        let State::TlsSession(session) = &self.state else {
            return Some(0);
        };
        let stream = session.stream();
        let octets = sys::unacknowledged(&stream.stream)?;
        let acknowledged = stream.taken.saturating_sub(octets as u64);
        let open = self.written.iter().rev();
        let open = open.take_while(|written| written.until > acknowledged);
        Some(open.map(|written| written.octets).sum())
    }

    fn wait(&self, longest: Duration) {
        if let Some(stream) = self.stream() {
            // Before the session is there both ends speak in turn.
            let is_up = matches!(&self.state, State::TlsSession(session) if session.is_ready());
            let is_writing = is_up || matches!(self.state, State::Connecting(_));
            // What it would tell, the next call tells as well.
            let _ = sys::poll(&mut [Polled::new(stream, !is_up, is_writing)], longest);
        }
    }

    fn shut_down(&mut self) {
        if let State::TlsSession(session) = &mut self.state {
            session.close();
        }
        if let Some(stream) = self.stream() {
            // A connection that is gone needs no end.
            let _ = stream.shutdown(std::net::Shutdown::Write);
        }
    }

    fn ends(&self) -> (SocketAddr, SocketAddr) {
        let unknown = super::source_address(None, self.to.is_ipv6());
        let local = self.stream().and_then(|stream| stream.local_addr().ok());
        (local.unwrap_or(unknown), self.to)
    }
}

impl Secure {
    /// Forgets the writes that the peer's system has acknowledged, now and then.
    fn forget(&mut self) {
        /// Writes that are remembered before it is worth a system call.
        const ENOUGH: usize = 64;
        if self.written.len() < ENOUGH {
            return;
        }
        let State::TlsSession(session) = &self.state else {
            return;
        };
        let stream = session.stream();
        // Where the system does not tell, the caller goes by time, and needs none of them.
        let octets = sys::unacknowledged(&stream.stream).unwrap_or(0);
        let acknowledged = stream.taken.saturating_sub(octets as u64);
        while let Some(oldest) = self.written.front()
            && oldest.until <= acknowledged
        {
            self.written.pop_front();
        }
    }
}
