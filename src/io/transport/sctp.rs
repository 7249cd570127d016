//! An SCTP association with a collector, which never blocks (RFC 7011 10.2).
//!
//! The socket is of the one-to-one style. Each send is a message of SCTP on stream 0, in order, and
//! repeated until it is acknowledged. So messages of IPFIX need no framing, and the system takes
//! only whole ones. A collector with several addresses tells them when the association is made. If
//! one address fails, the system changes to another.
//!
//! ```text
//! sent --> waits for room at the peer --> on the way --> acknowledged
//!          \________________ open ________________/
//! ```
//! The system tells what is open as long as the association lives. After its end pflow adds what
//! was sent since the last answer to that answer. The sum is never too small.

use std::io::{self, Read};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::{Transport, source_address};
use crate::export::Rdomain;
use crate::io::sys::{self, Polled};
use crate::time::Uptime;

/// How often what the collector says, which is nothing, is read at once.
const MAX_READS: usize = 16;

/// An association.
#[derive(Debug)]
pub struct Sctp {
    /// Not of TCP, but with the same calls.
    stream: TcpStream,
    to: SocketAddr,
    is_up: bool,
    /// Octets of the messages sent last that may not be acknowledged.
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
            open: 0,
        }
    }

    /// Octets of the messages sent last that may not be acknowledged, as the system has it now.
    fn open(&self) -> usize {
        let told = sys::sctp_unacknowledged(&self.stream);
        // Asked in this order: of an association that has ended the system tells that all went well.
        match told.filter(|_| sys::is_associated(&self.stream)) {
            Some(told) => told.min(self.open),
            None => self.open,
        }
    }

    /// Reads what came. A collector says nothing, but the end is read so, too.
    fn read(&mut self) -> io::Result<()> {
        let mut ignored = [0; 512];
        for _ in 0..MAX_READS {
            match self.stream.read(&mut ignored) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl Transport for Sctp {
    fn establish(&mut self, _: Uptime) -> io::Result<bool> {
        let outcome = match self.is_up {
            true => Ok(true),
            false => super::tcp::is_made(&self.stream),
        };
        if let Ok(is_up) = outcome {
            self.is_up = is_up;
        }
        self.open = self.open();
        match outcome.and_then(|is_up| if is_up { self.read() } else { Ok(()) }) {
            // The system had no room for a look.
            Err(error) if sys::is_passing(&error) => Ok(self.is_up),
            outcome => outcome.map(|()| self.is_up),
        }
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
            self.open += message.len();
        }
        Ok(taken)
    }

    fn unacknowledged(&self) -> Option<usize> {
        Some(self.open())
    }

    fn wait(&self, longest: Duration) {
        // What it would tell, the next call tells as well.
        let _ = sys::poll(&mut [Polled::new(&self.stream, false, true)], longest);
    }

    fn shut_down(&mut self) {
        self.open = self.open();
        // An association that is gone needs no end.
        let _ = self.stream.shutdown(std::net::Shutdown::Write);
    }

    fn ends(&self) -> (SocketAddr, SocketAddr) {
        let unknown = source_address(None, self.to.is_ipv6());
        (self.stream.local_addr().unwrap_or(unknown), self.to)
    }
}
