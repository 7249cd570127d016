//! The encoder of an interface: flows in, messages without numbers out.

use super::by_creator::ByCreator;
use super::full::Full;
use super::netflow5::NetFlow5;
use super::netflow9::NetFlow9;
use super::outbox::To;
use super::session::Session;
use super::{Domain, Format, Ipfix, Settings, TemplateSet};
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
    /// NetFlow version 9.
    NetFlow9(NetFlow9),
    /// The same, with a source id for each firewall.
    NetFlow9ByCreator(ByCreator<NetFlow9>),
    /// IPFIX.
    Ipfix(Ipfix),
    /// IPFIX, with a domain for each firewall.
    ByCreator(ByCreator<Ipfix>),
    /// IPFIX with all that is known.
    Full(Full),
    /// The same, with a domain for each firewall.
    FullByCreator(ByCreator<Full>),
}

impl Encoder {
    /// The one that `settings` ask for. It holds nothing.
    pub(super) fn new(settings: &Settings) -> Self {
        match (settings.format, settings.domain) {
            (Format::NetFlow5, _) => Self::NetFlow5(NetFlow5::new(settings)),
            (Format::NetFlow9, Domain::Number(source)) => Self::NetFlow9(NetFlow9::new(source)),
            (Format::NetFlow9, Domain::Creatorid) => {
                Self::NetFlow9ByCreator(ByCreator::new(NetFlow9::new))
            }
            (Format::Ipfix, domain) if settings.templates == TemplateSet::Full => match domain {
                Domain::Number(domain) => Self::Full(Full::new(domain)),
                Domain::Creatorid => Self::FullByCreator(ByCreator::new(Full::new)),
            },
            (Format::Ipfix, Domain::Number(domain)) => Self::Ipfix(Ipfix::new(domain)),
            (Format::Ipfix, Domain::Creatorid) => Self::ByCreator(ByCreator::new(Ipfix::new)),
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
            Self::NetFlow9(netflow9) => now.is_past(netflow9.poll_timeout()),
            Self::NetFlow9ByCreator(all) => all.iter().any(|one| now.is_past(one.poll_timeout())),
            Self::Full(full) => now.is_past(full.poll_timeout()),
            Self::FullByCreator(all) => all.iter().any(|one| now.is_past(one.poll_timeout())),
            Self::Ipfix(ipfix) => ipfix.is_due(now),
            Self::ByCreator(all) => all.iter().any(|ipfix| ipfix.is_due(now)),
        }
    }

    /// When what is held must go.
    pub(super) fn poll_timeout(&self) -> Option<Uptime> {
        match self {
            Self::NetFlow5(netflow5) => netflow5.poll_timeout(),
            Self::NetFlow9(netflow9) => netflow9.poll_timeout(),
            Self::NetFlow9ByCreator(all) => {
                let due = all.iter().map(NetFlow9::poll_timeout);
                due.fold(None, Uptime::earliest)
            }
            Self::Full(full) => full.poll_timeout(),
            Self::FullByCreator(all) => {
                let due = all.iter().map(Full::poll_timeout);
                due.fold(None, Uptime::earliest)
            }
            Self::Ipfix(ipfix) => ipfix.poll_timeout(),
            Self::ByCreator(all) => {
                let due = all.iter().map(Ipfix::poll_timeout);
                due.fold(None, Uptime::earliest)
            }
        }
    }

    /// Sends what is held long enough.
    pub(super) fn handle_timeout(
        &mut self,
        now: Now,
        (settings, session): (&Settings, &Session),
        to: &mut To<'_>,
    ) {
        match self {
            Self::NetFlow5(netflow5) => netflow5.handle_timeout(now, to),
            Self::NetFlow9(netflow9) => netflow9.handle_timeout(now, settings, session, to),
            Self::NetFlow9ByCreator(all) => {
                for netflow9 in all.iter_mut() {
                    netflow9.handle_timeout(now, settings, session, to);
                }
            }
            Self::Full(full) => full.handle_timeout(now, to),
            Self::FullByCreator(all) => {
                for full in all.iter_mut() {
                    full.handle_timeout(now, to);
                }
            }
            Self::Ipfix(ipfix) => ipfix.handle_timeout(now, settings, to),
            Self::ByCreator(all) => {
                for ipfix in all.iter_mut() {
                    ipfix.handle_timeout(now, settings, to);
                }
            }
        }
    }

    /// Sends what is held.
    pub(super) fn flush(
        &mut self,
        now: Now,
        (settings, session): (&Settings, &Session),
        to: &mut To<'_>,
    ) {
        match self {
            Self::NetFlow5(netflow5) => netflow5.flush(now, to),
            Self::NetFlow9(netflow9) => netflow9.flush(now, settings, session, to),
            Self::NetFlow9ByCreator(all) => {
                for netflow9 in all.iter_mut() {
                    netflow9.flush(now, settings, session, to);
                }
            }
            Self::Full(full) => full.flush(now, to),
            Self::FullByCreator(all) => {
                for full in all.iter_mut() {
                    full.flush(now, to);
                }
            }
            Self::Ipfix(ipfix) => ipfix.flush(now, settings, to),
            Self::ByCreator(all) => {
                for ipfix in all.iter_mut() {
                    ipfix.flush(now, settings, to);
                }
            }
        }
    }

    /// The collector was told the templates.
    pub(super) fn note_told(&mut self) {
        match self {
            Self::NetFlow9(netflow9) => netflow9.note_told(),
            Self::NetFlow9ByCreator(all) => all.iter_mut().for_each(NetFlow9::note_told),
            Self::NetFlow5(_)
            | Self::Ipfix(_)
            | Self::ByCreator(_)
            | Self::Full(_)
            | Self::FullByCreator(_) => {}
        }
    }

    /// Records held.
    pub(super) fn held(&self) -> usize {
        match self {
            Self::NetFlow5(netflow5) => netflow5.held(),
            Self::NetFlow9(netflow9) => netflow9.held(),
            Self::NetFlow9ByCreator(all) => all.iter().map(NetFlow9::held).sum(),
            Self::Full(full) => full.held(),
            Self::FullByCreator(all) => all.iter().map(Full::held).sum(),
            Self::Ipfix(ipfix) => ipfix.held(),
            Self::ByCreator(all) => all.iter().map(Ipfix::held).sum(),
        }
    }
}
