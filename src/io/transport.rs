//! Where datagrams go: one unconnected UDP socket an interface.
//!
//! A connected socket would fail its next send after each ICMP unreachable (the kernel's pflow
//! does not connect either). Errors that send reports are the caller's to count; nothing is
//! repeated.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use crate::interface::Settings;
use crate::time::Uptime;

/// Octets of send buffer to ask for: what a burst of full datagrams needs.
const SEND_BUFFER: usize = 1 << 20;

/// How long a route is taken to stay as it was.
const ROUTE: Duration = Duration::from_secs(10);

/// Something that takes datagrams.
pub trait Transport {
    /// Sends one datagram.
    ///
    /// # Errors
    /// What the system reports; the datagram is lost.
    fn send(&mut self, datagram: &[u8]) -> io::Result<()>;

    /// Sends to another address of the same family from now on.
    fn redirect(&mut self, to: SocketAddr);

    /// The address that datagrams leave with at `now`, as far as can be known, and the one they go
    /// to.
    ///
    /// # Errors
    /// The system does not tell, or has no route.
    fn ends(&mut self, now: Uptime) -> io::Result<(SocketAddr, SocketAddr)>;
}

/// Whether a full socket buffer holds the sender up.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum WhenFull {
    /// Live: drop and count.
    Drop,
    /// Replay: wait.
    Wait,
}

/// A UDP socket and where it sends to.
#[derive(Debug)]
pub struct Udp {
    socket: UdpSocket,
    to: SocketAddr,
    /// Where datagrams come from, and when that was found out.
    from: Option<(SocketAddr, Uptime)>,
}

impl Udp {
    /// A socket for an interface with `settings`, sending to `to`.
    ///
    /// # Errors
    /// The system refuses the socket or the address.
    pub fn open(settings: &Settings, to: SocketAddr, when_full: WhenFull) -> io::Result<Self> {
        let any: IpAddr = match to {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let from = settings.flowsrc.map_or(SocketAddr::new(any, 0), |source| {
            SocketAddr::new(source.address, source.port.unwrap_or(0))
        });
        let socket = Socket::new(Domain::for_address(to), Type::DGRAM, Some(Protocol::UDP))?;
        // A smaller buffer than asked for works, too.
        let _ = socket.set_send_buffer_size(SEND_BUFFER);
        socket.bind(&from.into())?;
        socket.set_nonblocking(when_full == WhenFull::Drop)?;
        Ok(Self {
            socket: socket.into(),
            to,
            from: None,
        })
    }

    /// The local address: the one the socket is bound to or, as routes tell, would have if it were
    /// connected.
    fn find_source(&self) -> io::Result<SocketAddr> {
        let bound = self.socket.local_addr()?;
        if !bound.ip().is_unspecified() {
            return Ok(bound);
        }
        let probe = UdpSocket::bind(SocketAddr::new(bound.ip(), 0))?;
        // Connecting a UDP socket sends nothing.
        probe.connect(self.to)?;
        Ok(SocketAddr::new(probe.local_addr()?.ip(), bound.port()))
    }
}

impl Transport for Udp {
    fn send(&mut self, datagram: &[u8]) -> io::Result<()> {
        self.socket.send_to(datagram, self.to).map(drop)
    }

    fn redirect(&mut self, to: SocketAddr) {
        self.to = to;
        self.from = None;
    }

    fn ends(&mut self, now: Uptime) -> io::Result<(SocketAddr, SocketAddr)> {
        let known = self.from.filter(|(_, then)| now.since(*then) < ROUTE);
        let from = match known {
            Some((from, _)) => from,
            None => self.find_source()?,
        };
        if known.is_none() {
            self.from = Some((from, now));
        }
        Ok((from, self.to))
    }
}
