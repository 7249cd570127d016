//! An SCTP association with a collector, which never blocks (RFC 7011 10.2).
//!
//! The socket is a one-to-one one: each send is a message of SCTP, on stream 0, in order and
//! repeated until it is acknowledged. So messages of IPFIX need no framing, and one that the system
//! takes it takes whole. An association with a collector of several addresses survives the loss of
//! one: the collector tells its others as the association is made, and the system changes over.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::{Transport, source_address};
use crate::export::Rdomain;
use crate::io::sys::{self, Polled};
use crate::time::Uptime;

/// Messages that are remembered until the peer has acknowledged them: more than fit into a socket.
const MAX_OPEN: usize = 1 << 14;

/// An association.
#[derive(Debug)]
pub struct Sctp {
    /// Not of TCP, but with the same calls.
    stream: TcpStream,
    to: SocketAddr,
    is_up: bool,
    /// Octets of the messages sent last.
    sent: VecDeque<usize>,
    /// Messages that were not acknowledged when that was asked last: after the association has
    /// ended nobody tells.
    open: usize,
}

/// Makes a socket that leaves from `from` and begins to connect it to `to`, which goes on without
/// anybody waiting. The inner error is what connect(2) reports at once.
///
/// # Errors
/// The system has no SCTP, or refuses the address or the routing domain.
pub fn begin(
    from: SocketAddr,
    to: SocketAddr,
    rdomain: Option<&Rdomain>,
) -> io::Result<io::Result<TcpStream>> {
    let protocol = Protocol::from(libc::IPPROTO_SCTP);
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(protocol))?;
    socket.set_nonblocking(true)?;
    if let Some(rdomain) = rdomain {
        sys::set_rdomain(&socket, rdomain)?;
    }
    sys::set_sctp_nodelay(&socket)?;
    if from.port() != 0 {
        socket.set_reuse_address(true)?;
    }
    if from != source_address(None, from.is_ipv6()) {
        socket.bind(&from.into())?;
    }
    Ok(match socket.connect(&to.into()) {
        Err(error) if !super::tcp::is_under_way(&error) => Err(error),
        _ => Ok(socket.into()),
    })
}

impl Sctp {
    /// The association with `to` that [`begin`] began with `stream`.
    pub fn new(stream: TcpStream, to: SocketAddr) -> Self {
        Self {
            stream,
            to,
            is_up: false,
            sent: VecDeque::new(),
            open: 0,
        }
    }

    /// Asks what is not acknowledged yet.
    fn note_open(&mut self) {
        if let Some(open) = sys::sctp_unacknowledged(&self.stream) {
            self.open = open;
            while self.sent.len() > open {
                self.sent.pop_front();
            }
        }
    }
}

impl Transport for Sctp {
    fn establish(&mut self, _: Uptime) -> io::Result<bool> {
        if !self.is_up {
            if !super::tcp::is_made(&self.stream)? {
                return Ok(false);
            }
            self.is_up = true;
        }
        let mut ignored = [0; 512];
        loop {
            match self.stream.read(&mut ignored) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        self.note_open();
        Ok(true)
    }

    fn send(&mut self, _: Uptime, messages: &[&[u8]]) -> io::Result<usize> {
        let socket = SockRef::from(&self.stream);
        let mut taken = 0;
        for message in messages {
            match socket.send_with_flags(message, libc::MSG_NOSIGNAL) {
                Ok(_) => {}
                Err(error) if super::tcp::is_for_later(&error) => break,
                Err(error) if taken == 0 => return Err(error),
                // The next call meets it again.
                Err(_) => break,
            }
            taken += 1;
            self.sent.push_back(message.len());
        }
        self.open += taken;
        if self.sent.len() > MAX_OPEN {
            self.note_open();
        }
        Ok(taken)
    }

    fn unacknowledged(&self) -> Option<usize> {
        let open = sys::sctp_unacknowledged(&self.stream).unwrap_or(self.open);
        Some(self.sent.iter().rev().take(open).sum())
    }

    fn wait(&self, longest: Duration) {
        // What it would tell, the next call tells as well.
        let _ = sys::poll(&mut [Polled::new(&self.stream, false, true)], longest);
    }

    fn shut_down(&mut self) {
        // An association that is gone needs no end.
        let _ = self.stream.shutdown(std::net::Shutdown::Write);
    }

    fn ends(&self) -> (SocketAddr, SocketAddr) {
        let unknown = source_address(None, self.to.is_ipv6());
        (self.stream.local_addr().unwrap_or(unknown), self.to)
    }
}
