//! Words that several outputs share: protocols, ends of a connection.

use std::fmt::{self, Display};
use std::net::IpAddr;

pub(crate) use crate::protocols::{Protocol, SCTP, TCP, UDP};
use crate::state::{Address, Af};

/// One end of a connection. Prints as pfctl does: `192.0.2.1:80`, `2001:db8::1[80]`, no port 0.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Endpoint {
    pub(crate) ip: IpAddr,
    pub(crate) port: u16,
}

impl Endpoint {
    pub(crate) fn new(af: Af, address: Address, port: u16) -> Self {
        Self {
            ip: address.ip(af),
            port,
        }
    }
}

impl Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ip {
            ip if self.port == 0 => write!(f, "{ip}"),
            IpAddr::V4(ip) => write!(f, "{ip}:{}", self.port),
            IpAddr::V6(ip) => write!(f, "{ip}[{}]", self.port),
        }
    }
}
