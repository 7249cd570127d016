//! The encoder of an interface: flows in, messages without numbers out.

use super::format::{Format, TemplateSet};
use super::full::Full;
use super::ipfix::Ipfix;
use super::netflow5::NetFlow5;
use super::netflow9::NetFlow9;
use super::outbox::To;
use super::per_domain::PerDomain;
use super::session::Session;
use super::settings::Settings;
use crate::time::{Now, Uptime};

/// The encoders of one export format.
///
/// Each flow asks which format it is. The octet of `repr(u8)` is read sooner than the compiler's own
/// choice, a value that a field of an encoder never has.
#[derive(Debug)]
#[repr(u8)]
pub(super) enum Encoder {
    /// NetFlow version 5.
    NetFlow5(NetFlow5),
    /// NetFlow version 9.
    NetFlow9(PerDomain<NetFlow9>),
    /// IPFIX with a kernel's templates.
    Ipfix(PerDomain<Ipfix>),
    /// IPFIX with all that is known: `template full`.
    Full(PerDomain<Full>),
}

impl Encoder {
    /// The one that `settings` ask for. It holds nothing.
    pub(super) fn new(settings: &Settings) -> Self {
        let domain = settings.domain;
        match settings.format {
            Format::NetFlow5 => Self::NetFlow5(NetFlow5::new(settings)),
            Format::NetFlow9 => Self::NetFlow9(PerDomain::new(domain, NetFlow9::new)),
            Format::Ipfix if settings.templates == TemplateSet::Full => {
                Self::Full(PerDomain::new(domain, Full::new))
            }
            Format::Ipfix => Self::Ipfix(PerDomain::new(domain, Ipfix::new)),
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
            Self::NetFlow9(all) => all.any(|one| now.is_past(one.poll_timeout())),
            Self::Ipfix(all) => all.any(|one| one.is_due(now)),
            Self::Full(all) => all.any(|one| now.is_past(one.poll_timeout())),
        }
    }

    /// When what is held must go.
    pub(super) fn poll_timeout(&self) -> Option<Uptime> {
        match self {
            Self::NetFlow5(netflow5) => netflow5.poll_timeout(),
            Self::NetFlow9(all) => all.earliest(NetFlow9::poll_timeout),
            Self::Ipfix(all) => all.earliest(Ipfix::poll_timeout),
            Self::Full(all) => all.earliest(Full::poll_timeout),
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
            Self::NetFlow9(all) => {
                for netflow9 in all.iter_mut() {
                    netflow9.handle_timeout(now, settings, session, to);
                }
            }
            Self::Ipfix(all) => {
                for ipfix in all.iter_mut() {
                    ipfix.handle_timeout(now, settings, to);
                }
            }
            Self::Full(all) => {
                for full in all.iter_mut() {
                    full.handle_timeout(now, to);
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
            Self::NetFlow9(all) => {
                for netflow9 in all.iter_mut() {
                    netflow9.flush(now, settings, session, to);
                }
            }
            Self::Ipfix(all) => {
                for ipfix in all.iter_mut() {
                    ipfix.flush(now, settings, to);
                }
            }
            Self::Full(all) => {
                for full in all.iter_mut() {
                    full.flush(now, to);
                }
            }
        }
    }

    /// The collector was told the templates.
    pub(super) fn note_told(&mut self) {
        match self {
            Self::NetFlow9(all) => all.iter_mut().for_each(NetFlow9::note_told),
            Self::NetFlow5(_) | Self::Ipfix(_) | Self::Full(_) => {}
        }
    }

    /// Records held.
    pub(super) fn held(&self) -> usize {
        match self {
            Self::NetFlow5(netflow5) => netflow5.held(),
            Self::NetFlow9(all) => all.iter().map(NetFlow9::held).sum(),
            Self::Ipfix(all) => all.iter().map(Ipfix::held).sum(),
            Self::Full(all) => all.iter().map(Full::held).sum(),
        }
    }
}
