//! What ICMP says of datagrams that were sent, on Linux: the error queue of their socket (ip(7),
//! IP_RECVERR).

use std::net::UdpSocket;
use std::os::fd::AsRawFd;

use libc::sock_extended_err;
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt,
};

use crate::counters::Reports;

/// ICMP's codes of "destination unreachable" that say that nobody listens.
const PORT_UNREACHABLE: (u8, u8) = (3, 3);
/// ICMPv6's.
const PORT_UNREACHABLE_6: (u8, u8) = (1, 4);

/// Has reports queued from now on.
pub(super) fn ask_for(socket: &UdpSocket, is_ipv6: bool) -> std::io::Result<()> {
    match is_ipv6 {
        false => setsockopt(socket, sockopt::Ipv4RecvErr, &true)?,
        true => setsockopt(socket, sockopt::Ipv6RecvErr, &true)?,
    }
    Ok(())
}

/// Adds the reports that are queued to `reports`.
pub(super) fn take(socket: &UdpSocket, reports: &mut Reports) {
    let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
    let mut control = nix::cmsg_space!(sock_extended_err, libc::sockaddr_in6);
    // The datagram itself is not wanted.
    while let Ok(message) =
        recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut [], Some(&mut control), flags)
    {
        let Ok(messages) = message.cmsgs() else { break };
        for message in messages {
            match message {
                ControlMessageOwned::Ipv4RecvErr(error, _) => note(reports, &error),
                ControlMessageOwned::Ipv6RecvErr(error, _) => note(reports, &error),
                _ => {}
            }
        }
    }
}

/// Counts a report of ICMP, and nothing that this host says itself.
fn note(reports: &mut Reports, error: &sock_extended_err) {
    let of = (error.ee_type, error.ee_code);
    match (error.ee_origin, of) {
        (libc::SO_EE_ORIGIN_ICMP, PORT_UNREACHABLE)
        | (libc::SO_EE_ORIGIN_ICMP6, PORT_UNREACHABLE_6) => reports.refused += 1,
        (libc::SO_EE_ORIGIN_ICMP | libc::SO_EE_ORIGIN_ICMP6, _) => {
            reports.unreachable += 1;
        }
        _ => {}
    }
}
