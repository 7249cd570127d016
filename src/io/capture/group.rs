//! Membership of pfsync's multicast groups. It makes switches and the network card pass pfsync's
//! packets.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nix::net::if_::InterfaceFlags;
use socket2::{Domain, Socket, Type};

use crate::io::sys;

/// INADDR_PFSYNC_GROUP.
pub(in crate::io) const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 240);
/// in6addr_linklocal_pfsync_group of FreeBSD 14.
pub(in crate::io) const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff12, 0, 0, 0, 0, 0, 0, 0xf0);

/// The host is a member of the groups as long as this value lives.
pub(super) struct Membership {
    _v4: Option<Socket>,
    _v6: Option<Socket>,
    /// Why the IPv4 group, which all firewalls use, was not joined.
    pub(super) problem: Option<io::Error>,
}

impl Membership {
    /// Joins both groups on interface `name`. It leaves out a family that the interface or the host
    /// does not have; the handle is promiscuous anyway.
    ///
    /// # Errors
    /// There is no such interface.
    pub(super) fn join(name: &str) -> io::Result<Self> {
        let index = sys::interface_index(name)?;
        let v4 = Socket::new(Domain::IPV4, Type::DGRAM, None)
            .and_then(|socket| join_v4(&socket, name, index).map(|()| socket));
        let v6 = Socket::new(Domain::IPV6, Type::DGRAM, None)
            .and_then(|socket| socket.join_multicast_v6(&GROUP_V6, index).map(|()| socket));
        let (v4, problem) = match v4 {
            Ok(socket) => (Some(socket), None),
            Err(error) => (None, Some(error)),
        };
        Ok(Self {
            _v4: v4,
            _v6: v6.ok(),
            problem,
        })
    }
}

#[cfg(not(any(target_os = "openbsd", target_os = "netbsd")))]
fn join_v4(socket: &Socket, _name: &str, index: u32) -> io::Result<()> {
    socket.join_multicast_v4_n(&GROUP_V4, &socket2::InterfaceIndexOrAddress::Index(index))
}

/// On these systems a group is joined by the interface's address.
#[cfg(any(target_os = "openbsd", target_os = "netbsd"))]
fn join_v4(socket: &Socket, name: &str, _index: u32) -> io::Result<()> {
    let address = addresses_of(name)
        .into_iter()
        .find_map(|address| match address {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        })
        .ok_or(io::ErrorKind::AddrNotAvailable)?;
    socket.join_multicast_v4(&GROUP_V4, &address)
}

/// Addresses of interface `name`.
pub(in crate::io) fn addresses_of(name: &str) -> Vec<IpAddr> {
    let devices = pcap::Device::list().unwrap_or_default().into_iter();
    devices
        .filter(|device| device.name == name)
        .flat_map(|device| device.addresses)
        .map(|address| address.addr)
        .collect()
}

/// Why a handle on interface `name` fails. libpcap cannot ask in a sandbox, so its message misleads
/// there. So a process outside the sandbox asks.
pub fn problem_of(name: &str) -> Option<io::Error> {
    let mut found = nix::ifaddrs::getifaddrs().ok()?;
    // A capture of all interfaces does not depend on any single one.
    if name == "any" {
        return None;
    }
    match found.find(|interface| interface.interface_name == name) {
        None => Some(io::Error::other("the interface has gone")),
        Some(interface) if !interface.flags.contains(InterfaceFlags::IFF_UP) => {
            Some(io::Error::other("the interface is down"))
        }
        Some(_) => None,
    }
}

/// The interfaces of this host: names and numbers, with a blank before each.
///
/// # Errors
/// The system does not list them.
pub fn local_interfaces() -> io::Result<String> {
    let interfaces = nix::net::if_::if_nameindex()?;
    let texts = interfaces
        .iter()
        .map(|one| format!("{} {}", one.name().to_string_lossy(), one.index()));
    Ok(texts.collect::<Vec<_>>().join(" "))
}

/// The addresses of this host. Packets from them are its own.
///
/// libpcap is not used, because it looks for much more, and in places that a sandbox may forbid.
///
/// # Errors
/// The system does not list its interfaces.
pub fn local_addresses() -> io::Result<Vec<IpAddr>> {
    let addresses = nix::ifaddrs::getifaddrs()?.filter_map(|interface| interface.address);
    Ok(addresses
        .filter_map(|address| match address.as_sockaddr_in() {
            Some(address) => Some(IpAddr::V4(address.ip())),
            None => address.as_sockaddr_in6().map(|address| address.ip().into()),
        })
        .collect())
}
