//! The ways to ask for states, and the requests that go out by the network.

use std::net::IpAddr;

use super::settings::Settings;
use crate::state::StateId;
use crate::table::{Sender, SenderRecord};
use crate::wire::pfsync::{Dialect, request};

/// Octets of the largest packet, IP header included: an Ethernet's.
const MTU: usize = 1500;
/// Octets of an IPv4 header.
const IPV4: usize = 20;
/// Octets of an IPv6 header.
const IPV6: usize = 40;

/// Where a packet of requests goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Destination {
    /// 224.0.0.240.
    Group4,
    /// ff12::f0 on the interface (FreeBSD 14 and later).
    Group6,
    /// A firewall.
    Address(IpAddr),
}

impl Destination {
    /// Octets that the IP header leaves.
    fn room(self) -> usize {
        match self {
            Self::Group4 | Self::Address(IpAddr::V4(_)) => MTU - IPV4,
            Self::Group6 | Self::Address(IpAddr::V6(_)) => MTU - IPV6,
        }
    }
}

/// How a sender is asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Route {
    /// What it reads.
    pub dialect: Dialect,
    /// Where it listens.
    pub to: Destination,
}

impl Route {
    /// How to ask the sender of `record` by the network. This host's own firewall cannot be asked
    /// so: it does not hear what its host sends (if_pfsync.c, `pfsync_input`).
    pub(super) fn to(record: &SenderRecord, settings: &Settings) -> Option<Self> {
        if !settings.is_network {
            return None;
        }
        let peers = &settings.peers;
        let Sender::Address(address) = record.sender else {
            return None;
        };
        let to = match address {
            _ if peers.contains(&address) => Destination::Address(address),
            _ if !peers.is_empty() => return None,
            IpAddr::V4(_) => Destination::Group4,
            IpAddr::V6(_) => Destination::Group6,
        };
        let dialect = record.dialect?;
        Some(Self { dialect, to })
    }
}

/// The ways to ask.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Way {
    /// By UPD_REQ on the sync network.
    Network(Route),
    /// This host's pf, by ioctl(2).
    Pf,
}

impl Way {
    /// How to ask the sender of `record`, if there is a way.
    pub(super) fn to(record: &SenderRecord, settings: &Settings) -> Option<Self> {
        match record.sender {
            Sender::Local => settings.is_pf.then_some(Self::Pf),
            _ => Route::to(record, settings).map(Self::Network),
        }
    }
}

/// Octets that requests keep room for.
const USUAL_OCTETS: usize = 1 << 18;

/// Packets ready to be sent, from the pfsync header on, in order.
#[derive(Debug, Default)]
pub struct Requests {
    octets: Vec<u8>,
    packets: Vec<(Destination, usize)>,
}

impl Requests {
    /// Appends packets that ask for `ids`.
    pub(super) fn push(&mut self, route: Route, mut ids: &[StateId]) {
        while !ids.is_empty() {
            let start = self.octets.len();
            let written = request::write(route.dialect, ids, route.to.room(), &mut self.octets);
            let Some(rest) = ids.get(written.max(1)..) else {
                return;
            };
            self.packets.push((route.to, self.octets.len() - start));
            ids = rest;
        }
    }

    /// The packets, each with where it goes.
    pub fn iter(&self) -> impl Iterator<Item = (Destination, &[u8])> {
        let mut start = 0;
        self.packets.iter().map(move |(to, len)| {
            let packet = self.octets.get(start..start + len).unwrap_or_default();
            start += len;
            (*to, packet)
        })
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// Forgets what was sent, and gives back what a burst took.
    pub fn clear(&mut self) {
        self.octets.clear();
        self.packets.clear();
        self.octets.shrink_to(USUAL_OCTETS);
        self.packets.shrink_to(USUAL_OCTETS / 1024);
    }
}
