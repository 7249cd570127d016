//! How firewalls are asked.

use std::net::IpAddr;
use std::time::Duration;

use crate::state::Timeouts;

/// Requests a second, unless set.
pub const DEFAULT_RATE: u32 = 1000;
/// Most requests a second that can be set.
pub const MAX_RATE: u32 = 100_000;

/// How to ask.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Settings {
    /// Whether firewalls are asked by the network.
    pub is_network: bool,
    /// Whether this host's pf is asked.
    pub is_pf: bool,
    /// States asked for in a second at most.
    pub rate: u32,
    /// Firewalls that do not hear the group: pfsync(4)'s syncpeer. Where there are any, no others
    /// are asked.
    pub peers: Vec<IpAddr>,
    /// pf's timeouts.
    pub timeouts: Timeouts,
    /// How often to ask for states that go on.
    pub active: Option<Duration>,
}
