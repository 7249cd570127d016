//! What else is told of a flow where somebody asks.

use std::net::IpAddr;

use crate::state::Route;

/// What full states tell beside addresses, counters and times. Rules have pf's numbers; 0xffffffff
/// stands for none.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Detail {
    /// Who spoke of the state last; `None`: this host, or a capture without addresses.
    pub sender: Option<IpAddr>,
    /// Number of the dialect that told it; 0: it was not told whole.
    pub dialect: u8,
    /// Rule that made it.
    pub rule: u32,
    /// Anchor of that; none is the main ruleset.
    pub anchor: u32,
    /// NAT rule.
    pub nat_rule: u32,
    /// pf's flags of the state.
    pub state_flags: u16,
    /// Protocol states of the initiator and the responder.
    pub peers: [u8; 2],
    /// Type of service that pf sets; 0: it does not.
    pub tos: u8,
    /// Where pf sends its packets.
    pub route: Option<Route>,
    /// Routing domains before and after.
    pub rdomains: [u16; 2],
    /// 0: the whole flow; else which part of one that went on.
    pub part: u32,
}

impl Detail {
    /// What is known of a connection whose IN state told this and whose OUT state `out`.
    pub(super) fn joined(&self, out: &Self) -> Self {
        let ([before, _], [_, after]) = (self.rdomains, out.rdomains);
        Self {
            tos: if self.tos == 0 { out.tos } else { self.tos },
            route: self.route.or(out.route),
            rdomains: [before, after],
            ..*self
        }
    }
}
