//! What ICMP told, as errors of a socket.

use std::io;

/// Whether an error is what ICMP told of an earlier datagram.
pub(super) fn is_report(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
    )
}
