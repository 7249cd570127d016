//! The raw sockets of protocol 240 that send requests for states. They are opened once and bound to
//! one interface.
//!
//! The kernel writes the IP header: TTL and hop limit 255, which firewalls insist on, and the
//! type of service of pfsync(4). Nothing is ever read from them; answers come by the captures.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::OwnedFd;

use socket2::{Domain, Protocol, Socket, Type};

use super::capture::{GROUP_V4, GROUP_V6, addresses_of};
use super::sys;
use crate::solicit::Destination;

/// IPPROTO_PFSYNC.
const PFSYNC: i32 = 240;
/// PFSYNC_DFLTTL; receivers drop anything else.
const TTL: u8 = 255;
/// IPTOS_LOWDELAY.
const TOS: u32 = 0x10;

/// A raw socket of each IP version.
pub struct Raw {
    v4: Socket,
    /// Not where the host has no IPv6.
    v6: Option<SocketV6>,
}

struct SocketV6 {
    socket: Socket,
    /// The interface, for addresses that mean a link.
    index: u32,
}

impl Raw {
    /// Opens them on the interface called `name`, which has an IPv4 address.
    ///
    /// # Errors
    /// There is no such interface or address, or the system refuses a socket: it takes root.
    pub fn open(name: &str) -> io::Result<Self> {
        let v4 = open_v4(name)?;
        Ok(Self::new(v4, open_v6(name).ok()))
    }

    /// Takes sockets that [`open_v4`] and [`open_v6`] opened, maybe in another process. The number
    /// of the interface comes with the second. It is not asked of the socket, because pledge(2)
    /// with "inet" would kill the process for that.
    pub fn new(v4: OwnedFd, v6: Option<(OwnedFd, u32)>) -> Self {
        let v6 = v6.map(|(socket, index)| SocketV6 {
            socket: Socket::from(socket),
            index,
        });
        Self {
            v4: Socket::from(v4),
            v6,
        }
    }

    /// Sends one packet of pfsync.
    ///
    /// # Errors
    /// What the system reports; the packet is lost.
    pub fn send(&self, to: Destination, packet: &[u8]) -> io::Result<()> {
        let address = match to {
            Destination::Group4 => GROUP_V4.into(),
            Destination::Group6 => GROUP_V6.into(),
            Destination::Address(address) => address,
        };
        match address {
            IpAddr::V4(address) => {
                let to = SocketAddr::from((address, 0)).into();
                self.v4.send_to(packet, &to)
            }
            IpAddr::V6(address) => {
                let no_ipv6 = || io::Error::other("no raw socket of IPv6");
                let SocketV6 { socket, index } = self.v6.as_ref().ok_or_else(no_ipv6)?;
                // Only addresses that mean a link have an interface.
                let scope = match address.segments() {
                    [0xfe80..=0xfebf, ..] => *index,
                    _ if address.is_multicast() => *index,
                    _ => 0,
                };
                socket.send_to(packet, &SocketAddrV6::new(address, 0, 0, scope).into())
            }
        }
        .map(drop)
    }
}

fn open(domain: Domain, name: &str) -> io::Result<Socket> {
    let socket = Socket::new(domain, Type::RAW, Some(Protocol::from(PFSYNC)))?;
    // The kernel gives the socket a copy of every pfsync packet. The smallest receive buffer makes
    // it drop them.
    let _ = socket.set_recv_buffer_size(1);
    socket.set_nonblocking(true)?;
    bind_device(&socket, name)?;
    Ok(socket)
}

/// Opens the IPv4 socket on the interface called `name`.
///
/// # Errors
/// There is no such interface, it has no IPv4 address, or the system refuses the socket.
pub fn open_v4(name: &str) -> io::Result<OwnedFd> {
    let address = addresses_of(name)
        .into_iter()
        .find_map(|address| match address {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        })
        .ok_or_else(|| io::Error::other("no such interface with an IPv4 address"))?;
    let socket = open(Domain::IPV4, name)?;
    socket.set_ttl_v4(TTL.into())?;
    socket.set_tos_v4(TOS)?;
    // Not by socket2, which passes ints: OpenBSD takes one octet only (ip_output.c,
    // ip_setmoptions), and every other system takes one octet, too.
    sys::set_octet_option(&socket, libc::IPPROTO_IP, libc::IP_MULTICAST_TTL, TTL)?;
    sys::set_octet_option(&socket, libc::IPPROTO_IP, libc::IP_MULTICAST_LOOP, 0)?;
    socket.set_multicast_if_v4(&address)?;
    socket.bind(&SocketAddr::from((address, 0)).into())?;
    Ok(socket.into())
}

/// Opens the IPv6 socket on the interface called `name`, and tells the interface's number.
///
/// # Errors
/// There is no such interface, or the system refuses the socket.
pub fn open_v6(name: &str) -> io::Result<(OwnedFd, u32)> {
    let index = sys::interface_index(name)?;
    let socket = open(Domain::IPV6, name)?;
    socket.set_unicast_hops_v6(TTL.into())?;
    socket.set_multicast_hops_v6(TTL.into())?;
    socket.set_multicast_loop_v6(false)?;
    socket.set_multicast_if_v6(index)?;
    socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)).into())?;
    Ok((socket.into(), index))
}

/// Keeps a peer's packets on the interface, too. Elsewhere the routes decide.
#[cfg(target_os = "linux")]
fn bind_device(socket: &Socket, name: &str) -> io::Result<()> {
    socket.bind_device(Some(name.as_bytes()))
}

#[cfg(not(target_os = "linux"))]
fn bind_device(_socket: &Socket, _name: &str) -> io::Result<()> {
    Ok(())
}
