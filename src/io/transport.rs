//! Where datagrams go: one unconnected UDP socket an interface.
//!
//! A connected socket would fail its next send after each ICMP unreachable (the kernel's pflow
//! does not connect either). Errors that send reports are the caller's to count; nothing that was
//! refused is sent again.
//!
//! On Linux datagrams go many a call: sendmmsg(2), in which datagrams of one length that follow
//! each other are one message that the kernel cuts (UDP_SEGMENT), for most of what a datagram costs
//! is its own way through the kernel. Where the kernel does not want to cut (the outgoing
//! interface's mtu is smaller, IPsec, ...) each goes as a message of its own. Elsewhere there is one
//! call a datagram: FreeBSD's sendmmsg is a loop in libc, OpenBSD's and NetBSD's save little.

#[cfg(target_os = "linux")]
mod batch;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use crate::export::{Settings, Source};
use crate::time::Uptime;

/// Octets of send buffer to ask for: what a burst of full datagrams needs.
const SEND_BUFFER: usize = 1 << 20;

/// How long a route is taken to stay as it was.
const ROUTE: Duration = Duration::from_secs(10);

/// Something that takes datagrams.
pub trait Transport {
    /// Sends the first of `datagrams`, or some more in their order: how many, at least one if there
    /// is one. The caller calls again for the rest.
    ///
    /// # Errors
    /// What the system reports of the first, which is lost.
    fn send(&mut self, datagrams: &[&[u8]]) -> io::Result<usize>;

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
    #[cfg(target_os = "linux")]
    batcher: batch::Batcher,
}

impl Udp {
    /// A socket for an interface with `settings`, sending to `to`.
    ///
    /// # Errors
    /// The system refuses the socket or the address.
    pub fn open(settings: &Settings, to: SocketAddr, when_full: WhenFull) -> io::Result<Self> {
        let from = source_address(settings.flowsrc, to.is_ipv6());
        Ok(Self::new(bind(from, when_full)?, to))
    }

    /// Sends to `to` by `socket`, which [`bind`] made.
    pub fn new(socket: UdpSocket, to: SocketAddr) -> Self {
        Self {
            #[cfg(target_os = "linux")]
            batcher: batch::Batcher::new(&socket),
            socket,
            to,
            from: None,
        }
    }

    /// Sends each datagram as a message of its own from now on, as where the kernel does not cut.
    pub fn forbid_cutting(&mut self) {
        #[cfg(target_os = "linux")]
        self.batcher.forbid_cutting();
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

/// What to bind to for `flowsrc`.
pub fn source_address(flowsrc: Option<Source>, is_ipv6: bool) -> SocketAddr {
    let any: IpAddr = match is_ipv6 {
        false => Ipv4Addr::UNSPECIFIED.into(),
        true => Ipv6Addr::UNSPECIFIED.into(),
    };
    flowsrc.map_or(SocketAddr::new(any, 0), |source| {
        SocketAddr::new(source.address, source.port.unwrap_or(0))
    })
}

/// A socket for datagrams that leave from `from`.
///
/// # Errors
/// The system refuses the socket or the address.
pub fn bind(from: SocketAddr, when_full: WhenFull) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(from), Type::DGRAM, Some(Protocol::UDP))?;
    // A smaller buffer than asked for works, too.
    let _ = socket.set_send_buffer_size(SEND_BUFFER);
    socket.bind(&from.into())?;
    socket.set_nonblocking(when_full == WhenFull::Drop)?;
    Ok(socket.into())
}

impl Transport for Udp {
    #[cfg(target_os = "linux")]
    fn send(&mut self, datagrams: &[&[u8]]) -> io::Result<usize> {
        self.batcher.send(&self.socket, self.to, datagrams)
    }

    #[cfg(not(target_os = "linux"))]
    fn send(&mut self, datagrams: &[&[u8]]) -> io::Result<usize> {
        let Some(first) = datagrams.first() else {
            return Ok(0);
        };
        self.socket.send_to(first, self.to).map(|_| 1)
    }

    fn redirect(&mut self, to: SocketAddr) {
        #[cfg(target_os = "linux")]
        if to != self.to {
            // Another way may be one on which the kernel cuts.
            self.batcher = batch::Batcher::new(&self.socket);
        }
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
