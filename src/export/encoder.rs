//! The encoder of an interface: flows in, messages without numbers out.

use super::by_creator::ByCreator;
use super::netflow5::NetFlow5;
use super::outbox::To;
use super::{Domain, Format, Ipfix, Settings};
use crate::time::{Now, Uptime};

/// What packing a flow came to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Packed {
    /// Records packed.
    pub(super) records: u32,
    /// Whether the flow claimed more octets than can be split.
    pub(super) is_clipped: bool,
}

/// One of the encoders. Which one stands in an octet of its own: each flow asks, and it is sooner
/// read than worked out from what the compiler finds unused in the encoders.
#[derive(Debug)]
#[repr(u8)]
pub(super) enum Encoder {
    /// NetFlow version 5.
    NetFlow5(NetFlow5),
    /// IPFIX.
    Ipfix(Ipfix),
    /// IPFIX, with a domain for each firewall.
    ByCreator(ByCreator),
}

impl Encoder {
    /// The one that `settings` ask for. It holds nothing.
    pub(super) fn new(settings: &Settings) -> Self {
        match (settings.format, settings.domain) {
            (Format::NetFlow5, _) => Self::NetFlow5(NetFlow5::new(settings)),
            (Format::Ipfix, Domain::Number(domain)) => Self::Ipfix(Ipfix::new(domain)),
            (Format::Ipfix, Domain::Creatorid) => Self::ByCreator(ByCreator::default()),
        }
    }

    /// Begins a turn: what one packet or one timer may make is bounded.
    pub(super) fn begin_turn(&mut self) {
        if let Self::NetFlow5(netflow5) = self {
            netflow5.begin_turn();
        }
    }

    /// Whether what is held must go now.
    #[inline]
    pub(super) fn is_due(&self, now: Uptime) -> bool {
        match self {
            Self::NetFlow5(netflow5) => now.is_past(netflow5.poll_timeout()),
            Self::Ipfix(ipfix) => ipfix.is_due(now),
            Self::ByCreator(all) => all.iter().any(|ipfix| ipfix.is_due(now)),
        }
    }

    /// When what is held must go.
    pub(super) fn poll_timeout(&self) -> Option<Uptime> {
        match self {
            Self::NetFlow5(netflow5) => netflow5.poll_timeout(),
            Self::Ipfix(ipfix) => ipfix.poll_timeout(),
            Self::ByCreator(all) => {
                let due = all.iter().map(Ipfix::poll_timeout);
                due.fold(None, Uptime::earliest)
            }
        }
    }

    /// Sends what is held long enough.
    pub(super) fn handle_timeout(&mut self, now: Now, settings: &Settings, to: &mut To<'_>) {
        match self {
            Self::NetFlow5(netflow5) => netflow5.handle_timeout(now, to),
            Self::Ipfix(ipfix) => ipfix.handle_timeout(now, settings, to),
            Self::ByCreator(all) => {
                for ipfix in all.iter_mut() {
                    ipfix.handle_timeout(now, settings, to);
                }
            }
        }
    }

    /// Sends what is held.
    pub(super) fn flush(&mut self, now: Now, settings: &Settings, to: &mut To<'_>) {
        match self {
            Self::NetFlow5(netflow5) => netflow5.flush(now, to),
            Self::Ipfix(ipfix) => ipfix.flush(now, settings, to),
            Self::ByCreator(all) => {
                for ipfix in all.iter_mut() {
                    ipfix.flush(now, settings, to);
                }
            }
        }
    }

    /// Records held.
    pub(super) fn held(&self) -> usize {
        match self {
            Self::NetFlow5(netflow5) => netflow5.held(),
            Self::Ipfix(ipfix) => ipfix.held(),
            Self::ByCreator(all) => all.iter().map(Ipfix::held).sum(),
        }
    }
}
