//! A TCP connection to a collector, which never blocks (RFC 7011 10.4).
//!
//! ```text
//! begin --socket, bind, connect--> connecting --establish--> up --send--> up
//!                                      |                      |  closed or reset by the peer
//!                                      +--> error             +--> error
//! ```
//! Messages follow each other directly, because each tells its length. A message that the system
//! takes in part does not count as taken. The caller passes it first the next time, and its rest is
//! sent.

use std::io::{self, IoSlice, Read};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

#[cfg(not(target_os = "openbsd"))]
use socket2::TcpKeepalive;
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::{Transport, source_address};
use crate::export::Rdomain;
use crate::io::sys::{self, Polled};
use crate::time::Uptime;

/// Most messages a call (IOV_MAX is 1024 everywhere).
pub const MAX_MESSAGES: usize = 64;
/// After so long a silence the peer's system is asked whether it is there.
#[cfg(not(target_os = "openbsd"))]
const KEEPALIVE: Duration = Duration::from_secs(30);
/// Between two such questions; the third without an answer ends the connection.
#[cfg(not(target_os = "openbsd"))]
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// How often what the collector says, which is nothing, is read at once.
const MAX_READS: usize = 16;

/// A connection.
#[derive(Debug)]
pub struct Tcp {
    stream: TcpStream,
    to: SocketAddr,
    is_up: bool,
    /// Octets of the next message that the system has taken.
    begun: usize,
}

/// Makes a socket that leaves from `from` and begins to connect it to `to`, which goes on without
/// anybody waiting. The inner error is what connect(2) reports at once.
///
/// # Errors
/// The system refuses the socket, the address, or the routing domain.
pub fn begin(
    from: SocketAddr,
    to: SocketAddr,
    rdomain: Option<&Rdomain>,
) -> io::Result<io::Result<TcpStream>> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    if let Some(rdomain) = rdomain {
        sys::set_rdomain(&socket, rdomain)?;
    }
    // A message need not wait for the acknowledgement of the one before.
    socket.set_tcp_nodelay(true)?;
    set_keepalive(&socket)?;
    // The connection before this one may have ended a moment ago, or go on until this one is up.
    if from.port() != 0 {
        socket.set_reuse_address(true)?;
        #[cfg(not(target_os = "linux"))]
        socket.set_reuse_port(true)?;
    }
    if from != source_address(None, from.is_ipv6()) {
        socket.bind(&from.into())?;
    }
    Ok(match socket.connect(&to.into()) {
        Err(error) if !is_under_way(&error) => Err(error),
        _ => Ok(socket.into()),
    })
}

#[cfg(not(target_os = "openbsd"))]
fn set_keepalive(socket: &Socket) -> io::Result<()> {
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE)
        .with_interval(KEEPALIVE_INTERVAL)
        .with_retries(3);
    socket.set_tcp_keepalive(&keepalive)
}

/// OpenBSD has the times for all sockets together (sysctl(2), net.inet.tcp.keepidle).
#[cfg(target_os = "openbsd")]
fn set_keepalive(socket: &Socket) -> io::Result<()> {
    socket.set_keepalive(true)
}

pub(super) fn is_under_way(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock || error.raw_os_error() == Some(libc::EINPROGRESS)
}

/// Whether a connection that was begun is made by now.
pub(super) fn is_made(stream: &TcpStream) -> io::Result<bool> {
    let mut polled = [Polled::new(stream, false, true)];
    sys::poll(&mut polled, Duration::ZERO)?;
    let [polled] = polled;
    if !polled.is_writable() && !polled.is_dead() {
        return Ok(false);
    }
    match stream.take_error()? {
        Some(error) => Err(error),
        None => Ok(true),
    }
}

/// What went wrong, in words.
pub fn words_of(error: &io::Error) -> String {
    let words = match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused",
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => "connection reset",
        io::ErrorKind::UnexpectedEof => "closed by the collector",
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => "cannot be reached",
        io::ErrorKind::TimedOut => "no answer",
        _ => return error.to_string(),
    };
    words.to_owned()
}

impl Tcp {
    /// The connection to `to` that [`begin`] began with `stream`.
    pub fn new(stream: TcpStream, to: SocketAddr) -> Self {
        Self {
            stream,
            to,
            is_up: false,
            begun: 0,
        }
    }

    /// What it is made of.
    pub(super) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// The same, taken out.
    pub(super) fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// Reads what came. A collector says nothing, but its end is read so, too.
    fn read(&mut self) -> io::Result<()> {
        let mut buffer = [0; 512];
        for _ in 0..MAX_READS {
            match self.stream.read(&mut buffer) {
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

impl Transport for Tcp {
    fn establish(&mut self, _: Uptime) -> io::Result<bool> {
        let outcome = match self.is_up {
            true => Ok(true),
            false => is_made(&self.stream),
        };
        if let Ok(is_up) = outcome {
            self.is_up = is_up;
        }
        match outcome.and_then(|is_up| if is_up { self.read() } else { Ok(()) }) {
            // The system had no room for a look.
            Err(error) if sys::is_passing(&error) => Ok(self.is_up),
            outcome => outcome.map(|()| self.is_up),
        }
    }

    fn send(&mut self, _: Uptime, messages: &[&[u8]]) -> io::Result<usize> {
        let mut begun = self.begun;
        let slices: Vec<_> = messages
            .iter()
            .take(MAX_MESSAGES)
            .map(|message| {
                let rest = message.get(std::mem::take(&mut begun)..);
                IoSlice::new(rest.unwrap_or_default())
            })
            .collect();
        // Not SIGPIPE, whatever the process does with it.
        let sent =
            SockRef::from(&self.stream).send_vectored_with_flags(&slices, libc::MSG_NOSIGNAL);
        let mut sent = match sent {
            Ok(sent) => sent,
            Err(error) if is_for_later(&error) => return Ok(0),
            Err(error) => return Err(error),
        };
        let mut whole = 0;
        for slice in &slices {
            if sent < slice.len() {
                break;
            }
            sent -= slice.len();
            whole += 1;
        }
        self.begun = if whole == 0 { self.begun + sent } else { sent };
        Ok(whole)
    }

    fn unacknowledged(&self) -> Option<usize> {
        if !sys::TELLS_UNACKNOWLEDGED {
            return None;
        }
        // Where it does not tell this time, nothing is.
        let octets = sys::unacknowledged(&self.stream).unwrap_or(usize::MAX);
        Some(octets.saturating_sub(self.begun))
    }

    fn wait(&self, longest: Duration) {
        // What it would tell, the next call tells as well.
        let _ = sys::poll(&mut [Polled::new(&self.stream, false, true)], longest);
    }

    fn shut_down(&mut self) {
        // A connection that is gone needs no end.
        let _ = self.stream.shutdown(std::net::Shutdown::Write);
    }

    fn ends(&self) -> (SocketAddr, SocketAddr) {
        let unknown = source_address(None, self.to.is_ipv6());
        (self.stream.local_addr().unwrap_or(unknown), self.to)
    }
}

/// Whether a send took nothing and the next may.
pub(super) fn is_for_later(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    ) || matches!(error.raw_os_error(), Some(libc::ENOBUFS | libc::ENOMEM))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    const NOW: Uptime = Uptime::from_nanos(0);

    fn connected() -> (Tcp, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = listener.local_addr().unwrap();
        let from = source_address(None, false);
        let mut tcp = Tcp::new(begin(from, to, None).unwrap().unwrap(), to);
        let (peer, _) = listener.accept().unwrap();
        tcp.wait(Duration::from_secs(5));
        assert!(tcp.establish(NOW).unwrap());
        (tcp, peer)
    }

    #[test]
    fn messages_arrive_whole_whatever_pieces_the_system_takes() {
        let (mut tcp, mut peer) = connected();
        // Longer than the socket's buffer, so that most calls take a part of one.
        let small = SockRef::from(&tcp.stream).set_send_buffer_size(8192);
        small.unwrap();
        let lens = [300_001, 7, 90_000, 1, 400_000, 50, 50];
        let long: Vec<Vec<u8>> = (0..).zip(lens).map(|(n, len)| vec![n; len]).collect();
        let messages: Vec<&[u8]> = long.iter().map(Vec::as_slice).collect();
        let reader = std::thread::spawn(move || {
            let mut all = Vec::new();
            peer.read_to_end(&mut all).unwrap();
            all
        });
        let (mut taken, mut parts) = (0, 0);
        while taken < messages.len() {
            let whole = tcp.send(NOW, &messages[taken..]).unwrap();
            taken += whole;
            parts += u32::from(whole == 0 && tcp.begun > 0);
            assert!(parts < 10_000, "it comes to no end");
            tcp.wait(Duration::from_secs(5));
        }
        assert!(parts > 10, "{parts}: all went whole");
        tcp.shut_down();
        assert!(reader.join().unwrap() == long.concat());
    }

    #[test]
    fn the_end_of_an_idle_connection_is_seen() {
        let (mut tcp, peer) = connected();
        assert!(tcp.establish(NOW).unwrap());
        drop(peer);
        tcp.wait(Duration::from_secs(5));
        let error = tcp.establish(NOW).unwrap_err();
        assert_eq!(words_of(&error), "closed by the collector");
    }

    #[test]
    fn a_port_that_nobody_listens_at_refuses() {
        let to = {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            listener.local_addr().unwrap()
        };
        let stream = begin(source_address(None, false), to, None).unwrap();
        let outcome = stream.and_then(|stream| {
            let mut tcp = Tcp::new(stream, to);
            tcp.wait(Duration::from_secs(5));
            tcp.establish(NOW)
        });
        assert_eq!(words_of(&outcome.unwrap_err()), "connection refused");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_was_not_acknowledged_is_known_after_a_reset() {
        let (mut tcp, peer) = connected();
        let message = [7; 1000];
        let mut taken = 0;
        loop {
            match tcp.send(NOW, &[&message[..]; MAX_MESSAGES]).unwrap() {
                0 => break,
                count => taken += count,
            }
        }
        // A peer that has not read what came resets.
        drop(peer);
        tcp.wait(Duration::from_secs(5));
        assert!(tcp.establish(NOW).is_err());
        let unacknowledged = tcp.unacknowledged().unwrap();
        assert!(unacknowledged > 0 && unacknowledged < taken * message.len());
    }
}
