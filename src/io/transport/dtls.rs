//! DTLS 1.2 over datagrams to a collector, which never blocks (RFC 7011 11, RFC 6347).
//!
//! A client does not learn that its collector was started again, and the new collector cannot read
//! the old session. So the owner of a session begins a new one now and then, from a new port. It
//! does so at once after any report about the session.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use super::Transport;
use crate::io::sys::{self, Polled};
use crate::io::tls::{Datagrams, TlsClient, TlsPeer, TlsSession};
use crate::time::Uptime;

/// A DTLS session and its socket.
#[derive(Debug)]
pub struct Dtls {
    session: TlsSession<Datagrams>,
    to: SocketAddr,
}

impl Dtls {
    /// A session with `peer` over `socket`, which is connected to `to`.
    ///
    /// # Errors
    /// The name cannot be one.
    pub fn new(
        socket: UdpSocket,
        to: SocketAddr,
        client: &Arc<TlsClient>,
        peer: &TlsPeer,
    ) -> Result<Self, String> {
        Ok(Self {
            session: client.open(peer, Datagrams(socket))?,
            to,
        })
    }

    fn socket(&self) -> &UdpSocket {
        &self.session.stream().0
    }
}

impl Transport for Dtls {
    fn establish(&mut self, now: Uptime) -> io::Result<bool> {
        let is_ready = self.session.advance(now)?;
        if is_ready {
            self.session.hear()?;
        }
        Ok(is_ready)
    }

    fn send(&mut self, _: Uptime, messages: &[&[u8]]) -> io::Result<usize> {
        for (sent, message) in messages.iter().enumerate() {
            match self.session.write(message) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(sent),
                Err(error) => return Err(error),
            }
        }
        Ok(messages.len())
    }

    fn wait(&self, longest: Duration) {
        let is_ready = self.session.is_ready();
        // What it would tell, the next call tells as well. A flight that is lost is sent again
        // by the next call, too.
        let _ = sys::poll(
            &mut [Polled::new(self.socket(), !is_ready, is_ready)],
            longest,
        );
    }

    fn shut_down(&mut self) {
        self.session.close();
    }

    fn ends(&self) -> (SocketAddr, SocketAddr) {
        let unknown = super::source_address(None, self.to.is_ipv6());
        (self.socket().local_addr().unwrap_or(unknown), self.to)
    }
}
