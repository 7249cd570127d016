//! The transports of messages. `tcp.rs` has connections. This file has datagrams: each interface
//! has one connected UDP socket, which keeps its source port.
//!
//! ```text
//! open --bind--> no route yet --connect--> connected --send--> collector
//!                     ^  retried with a send     |  ^             |
//!                     +--------------------------+  +--report-----+   ICMP: nobody listens, unreachable
//! ```
//! ICMP may report that an earlier datagram did not arrive. The system reports this on a connected
//! socket: the next send fails and sends nothing. So that send is tried once more, and the report
//! is counted. On Linux every report is counted (ip(7), IP_RECVERR). Elsewhere only those count
//! that a send or the end of the program meets.
//!
//! Without `flowsrc` the route gives the source address, and connecting fixes it. So the route is
//! checked now and then, and after a change the socket is connected again.
//!
//! On Linux one sendmmsg(2) sends many datagrams. Neighbours of one length are one message, which
//! the kernel cuts (UDP_SEGMENT). This is fast because most of a datagram's cost is its own way
//! through the kernel.
//!
//! The kernel refuses to cut in some cases, such as a smaller mtu or IPsec. Then each datagram is a
//! message of its own. So it is at the beginning and after a report, too, because a message that
//! was cut may give only one report.
//!
//! Other systems make one call for each datagram: FreeBSD's sendmmsg is a loop in libc, and
//! OpenBSD's and NetBSD's save little.

#[cfg(target_os = "linux")]
mod batch;
pub mod dtls;
mod icmp;
#[cfg(target_os = "linux")]
mod reports;
#[cfg(any(target_os = "linux", target_os = "freebsd"))]
pub mod sctp;
pub mod secure;
pub mod tcp;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use crate::counters::Reports;
use crate::export::{Rdomain, Source};
use crate::time::Uptime;
use icmp::is_report;

/// Octets of send buffer to ask for: what a burst of full datagrams needs.
const SEND_BUFFER: usize = 1 << 20;

/// How long a route is taken to stay as it was.
const ROUTE: Duration = Duration::from_secs(10);
/// How long a socket that has no route, or whose source address may be gone, is left alone.
const RETRY: Duration = Duration::from_secs(1);

/// Datagrams share messages only after so long without a report. A report in a local network takes
/// less.
#[cfg(target_os = "linux")]
const QUIET: Duration = Duration::from_millis(10);

/// Something that takes messages.
///
/// ```text
/// datagrams      go at once, each for itself; what becomes of them is reported later, or never
/// a connection   is made first, is full at times, and ends: then nothing more goes
/// ```
pub trait Transport {
    /// Goes on with the setup that comes before the first message. Returns whether the setup is
    /// done.
    ///
    /// # Errors
    /// There is no connection, or none any more.
    fn establish(&mut self, _now: Uptime) -> io::Result<bool> {
        Ok(true)
    }

    /// Sends one or more of `messages` in their order, and returns how many. Of datagrams it sends
    /// at least one, and the caller calls again for the rest. A full connection takes none, or only
    /// some. A message that it took in part must come first the next time.
    ///
    /// # Errors
    /// What the system reports. With datagrams, the first one is lost. A connection has ended.
    fn send(&mut self, now: Uptime, messages: &[&[u8]]) -> io::Result<usize>;

    /// Octets of the last messages taken that the peer's system has not acknowledged; `None`: nobody
    /// tells.
    fn unacknowledged(&self) -> Option<usize> {
        None
    }

    /// Waits at most so long until it goes on.
    fn wait(&self, _longest: Duration) {}

    /// Tells the peer that nothing more comes.
    fn shut_down(&mut self) {}

    /// What was reported of datagrams sent earlier, since this was asked last.
    fn take_reports(&mut self) -> Reports {
        Reports::default()
    }

    /// Sends datagrams to another address of the same family from now on. No route yet is no error.
    fn redirect(&mut self, _now: Uptime, _to: SocketAddr) {}

    /// The address that messages leave with and the one they go to. Where the system does not tell
    /// it, or has no route, the first is unspecified (0.0.0.0 or ::).
    fn ends(&self) -> (SocketAddr, SocketAddr);
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
    /// Whether the source address is the route's.
    is_routed: bool,
    is_connected: bool,
    /// Whether its routes are another domain's, which only the parent can set: then it stays as it
    /// was connected first.
    has_rdomain: bool,
    /// When the route is to be looked at next.
    route_due: Uptime,
    reports: Reports,
    /// From when on datagrams may go in messages that the kernel cuts: each report is of a whole
    /// message.
    #[cfg(target_os = "linux")]
    cut_from: Option<Uptime>,
    #[cfg(target_os = "linux")]
    batcher: batch::Batcher,
}

impl Udp {
    /// Sends to `to` by `socket`, which [`bind`] made for `flowsrc`. No route yet is no error.
    ///
    /// # Errors
    /// The system refuses the address.
    pub fn new(
        socket: UdpSocket,
        flowsrc: Option<Source>,
        rdomain: Option<&Rdomain>,
        to: SocketAddr,
        now: Uptime,
    ) -> io::Result<Self> {
        let mut udp = Self {
            #[cfg(target_os = "linux")]
            batcher: batch::Batcher::new(&socket),
            #[cfg(target_os = "linux")]
            cut_from: None,
            socket,
            to,
            is_routed: flowsrc.is_none_or(|source| source.address.is_unspecified()),
            is_connected: false,
            has_rdomain: rdomain.is_some(),
            route_due: now,
            reports: Reports::default(),
        };
        match udp.connect(now) {
            Err(error) if !is_routeless(&error) => Err(error),
            _ => Ok(udp),
        }
    }

    /// Sends each datagram as a message of its own from now on, as where the kernel does not cut.
    pub fn forbid_cutting(&mut self) {
        #[cfg(target_os = "linux")]
        self.batcher.forbid_cutting();
    }

    /// Connects the socket, which may be connected already: its source is the route's of now.
    fn connect(&mut self, now: Uptime) -> io::Result<()> {
        self.is_connected = false;
        self.route_due = now.after(RETRY);
        // Linux keeps the source address of the first connection; the others let it go. It lets a
        // device that the socket is bound to go, too.
        #[cfg(target_os = "linux")]
        if self.is_routed && !self.has_rdomain {
            super::sys::disconnect(&self.socket)?;
        }
        self.socket.connect(self.to)?;
        self.is_connected = true;
        self.route_due = now.after(ROUTE);
        Ok(())
    }

    /// Looks at the route if that is due. A socket without one stays as it is.
    fn follow_route(&mut self, now: Uptime) -> io::Result<()> {
        if now < self.route_due {
            return match self.is_connected {
                true => Ok(()),
                // The error has the system's words, so that the log tells it once.
                false => Err(io::Error::from_raw_os_error(libc::ENETUNREACH)),
            };
        }
        if !self.is_connected {
            return self.connect(now);
        }
        self.route_due = now.after(ROUTE);
        if self.is_routed
            && !self.has_rdomain
            && let Ok(source) = self.source_by_route()
            && source != self.socket.local_addr()?.ip()
        {
            return self.connect(now);
        }
        Ok(())
    }

    /// The source address that the route gives.
    fn source_by_route(&self) -> io::Result<IpAddr> {
        let domain = Domain::for_address(self.to);
        let probe = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
        // Connecting a UDP socket sends nothing.
        probe.connect(&self.to.into())?;
        Ok(UdpSocket::from(probe).local_addr()?.ip())
    }

    #[cfg(target_os = "linux")]
    fn send_some(&mut self, now: Uptime, datagrams: &[&[u8]]) -> io::Result<usize> {
        let cut_from = *self.cut_from.get_or_insert_with(|| now.after(QUIET));
        let way = match now >= cut_from {
            true => batch::Way::Together,
            false => batch::Way::OneByOne,
        };
        let outcome = self.batcher.send(&self.socket, datagrams, way);
        let before = self.reports;
        reports::take(&self.socket, &mut self.reports);
        if self.reports != before {
            self.cut_from = Some(now.after(QUIET));
        }
        outcome
    }

    #[cfg(not(target_os = "linux"))]
    fn send_some(&mut self, _: Uptime, datagrams: &[&[u8]]) -> io::Result<usize> {
        let Some(first) = datagrams.first() else {
            return Ok(0);
        };
        self.socket.send(first).map(|_| 1)
    }

    /// Does again what met a report of an earlier datagram.
    fn send_again(
        &mut self,
        report: &io::Error,
        now: Uptime,
        datagrams: &[&[u8]],
    ) -> io::Result<usize> {
        let outcome = self.send_some(now, datagrams);
        // A host without a route refuses the second send, too. That is not a report about another
        // datagram.
        if cfg!(not(target_os = "linux")) && !outcome.as_ref().is_err_and(is_report) {
            self.reports.note(report);
        }
        outcome
    }
}

/// Whether a socket that is bound for `flowsrc` can be connected to another collector. The BSDs let
/// the address that it was bound to go with the connection.
pub fn can_redirect(flowsrc: Option<Source>, rdomain: Option<&Rdomain>) -> bool {
    let is_routed = flowsrc.is_none_or(|source| source.address.is_unspecified());
    match rdomain {
        // Its source would stay the old route's.
        Some(_) if cfg!(target_os = "linux") => !is_routed,
        _ => cfg!(target_os = "linux") || is_routed,
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

/// How often another port is tried where somebody else took the one that was found free.
#[cfg(target_os = "linux")]
const TRIES: u32 = 8;

/// A socket for datagrams that leave from `from`.
///
/// # Errors
/// The system refuses the socket, the address, or the routing domain.
pub fn bind(
    from: SocketAddr,
    rdomain: Option<&Rdomain>,
    when_full: WhenFull,
) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(from), Type::DGRAM, Some(Protocol::UDP))?;
    if let Some(rdomain) = rdomain {
        super::sys::set_rdomain(&socket, rdomain)?;
    }
    // A smaller buffer than asked for works, too.
    let _ = socket.set_send_buffer_size(SEND_BUFFER);
    // The socket for another collector is there before the one that it replaces is closed.
    #[cfg(not(target_os = "linux"))]
    if from.port() != 0 {
        socket.set_reuse_port(true)?;
    }
    socket.bind(&from.into())?;
    #[cfg(target_os = "linux")]
    if from.ip().is_unspecified() && from.port() == 0 {
        keep_port(&socket)?;
        // It let the device go.
        if let Some(rdomain) = rdomain {
            super::sys::set_rdomain(&socket, rdomain)?;
        }
    }
    socket.set_nonblocking(when_full == WhenFull::Drop)?;
    let socket = socket.into();
    #[cfg(target_os = "linux")]
    reports::ask_for(&socket, from.is_ipv6())?;
    Ok(socket)
}

/// Binds a socket to the port that it was given: one that was not asked for is lost when the
/// socket is connected again.
#[cfg(target_os = "linux")]
fn keep_port(socket: &Socket) -> io::Result<()> {
    for _ in 0..TRIES {
        let given = socket.local_addr()?;
        super::sys::disconnect(socket)?;
        match socket.bind(&given) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            outcome => return outcome,
        }
        let any = given
            .as_socket()
            .map(|given| SocketAddr::new(given.ip(), 0));
        socket.bind(&any.ok_or(io::ErrorKind::AddrNotAvailable)?.into())?;
    }
    Ok(())
}

/// Whether an error says that there is no way to the collector, or no address to send from.
fn is_routeless(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::NetworkDown
            | io::ErrorKind::AddrNotAvailable
    )
}

impl Transport for Udp {
    fn send(&mut self, now: Uptime, datagrams: &[&[u8]]) -> io::Result<usize> {
        self.follow_route(now)?;
        let mut outcome = self.send_some(now, datagrams);
        if let Err(error) = &outcome
            && is_report(error)
        {
            outcome = self.send_again(error, now, datagrams);
        }
        if let Err(error) = &outcome
            && (is_routeless(error) || error.kind() == io::ErrorKind::InvalidInput)
        {
            // The source address may be gone.
            self.route_due = self.route_due.min(now.after(RETRY));
        }
        outcome
    }

    fn take_reports(&mut self) -> Reports {
        #[cfg(target_os = "linux")]
        reports::take(&self.socket, &mut self.reports);
        #[cfg(not(target_os = "linux"))]
        if let Ok(Some(error)) = self.socket.take_error() {
            self.reports.note(&error);
        }
        std::mem::take(&mut self.reports)
    }

    fn redirect(&mut self, now: Uptime, to: SocketAddr) {
        self.to = to;
        // Another way may be one on which the kernel cuts.
        #[cfg(target_os = "linux")]
        {
            self.batcher = batch::Batcher::new(&self.socket);
            self.cut_from = None;
        }
        // Reports of the old one are nobody's.
        self.take_reports();
        // If it cannot be connected, the next datagram tries again.
        let _ = self.connect(now);
    }

    fn ends(&self) -> (SocketAddr, SocketAddr) {
        let unknown = source_address(None, self.to.is_ipv6());
        let mut from = self.socket.local_addr().unwrap_or(unknown);
        if !self.is_connected && self.is_routed {
            from.set_ip(unknown.ip());
        }
        (from, self.to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: i64) -> Uptime {
        Uptime::new(secs, 0)
    }

    fn udp(to: SocketAddr) -> Udp {
        let from = source_address(None, to.is_ipv6());
        let socket = bind(from, None, WhenFull::Wait).unwrap();
        Udp::new(socket, None, None, to, at(0)).unwrap()
    }

    /// An address at which nobody listens any more.
    fn closed(host: &str) -> SocketAddr {
        let socket = UdpSocket::bind((host, 0)).unwrap();
        socket.local_addr().unwrap()
    }

    #[test]
    fn every_datagram_to_a_closed_port_meets_one_report() {
        for host in ["127.0.0.1", "::1"] {
            let mut udp = udp(closed(host));
            let datagrams: Vec<&[u8]> = vec![&[1; 100]; 10];
            let mut sent = 0;
            while sent < datagrams.len() {
                sent += udp.send(at(0), &datagrams[sent..]).unwrap();
            }
            let reports = udp.take_reports();
            assert_eq!((reports.refused, reports.unreachable), (10, 0), "{host}");
            assert_eq!(udp.take_reports(), Reports::default(), "told twice");
        }
    }

    #[test]
    fn the_datagram_that_meets_a_report_is_sent_again() {
        let to = closed("127.0.0.1");
        let mut udp = udp(to);
        assert_eq!(udp.send(at(0), &[&[1]]).unwrap(), 1);
        // Now there is a report on the socket, and somebody who listens.
        let sink = UdpSocket::bind(to).unwrap();
        assert_eq!(udp.send(at(0), &[&[2]]).unwrap(), 1);
        assert_eq!(udp.take_reports().refused, 1);
        let mut buffer = [0; 8];
        assert_eq!(sink.recv(&mut buffer).unwrap(), 1);
        assert_eq!(buffer[0], 2);
    }

    #[test]
    fn a_socket_that_is_connected_again_keeps_its_port() {
        let sinks = [
            UdpSocket::bind("127.0.0.1:0"),
            UdpSocket::bind("127.0.0.1:0"),
        ];
        let [first, second] = sinks.map(Result::unwrap);
        let mut udp = udp(first.local_addr().unwrap());
        let (from, _) = udp.ends();
        udp.redirect(at(1), second.local_addr().unwrap());
        udp.send(at(1), &[&[3]]).unwrap();
        let (_, source) = second.recv_from(&mut [0; 8]).unwrap();
        assert_eq!(source, from);
        assert_eq!(udp.ends(), (from, udp.to));
    }

    #[test]
    fn without_a_route_nothing_is_sent_and_the_route_is_looked_for_again() {
        let sink = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut udp = udp(sink.local_addr().unwrap());
        udp.is_connected = false;
        udp.route_due = at(5);
        let error = udp.send(at(4), &[&[1]]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NetworkUnreachable);
        let (from, _) = udp.ends();
        assert!(from.ip().is_unspecified(), "{from}");
        assert_ne!(from.port(), 0, "the port is known");
        assert_eq!(udp.send(at(5), &[&[1]]).unwrap(), 1);
        assert!(!udp.ends().0.ip().is_unspecified());
    }
}
