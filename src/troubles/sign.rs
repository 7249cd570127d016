//! A sign of a trouble: what is wrong with what, and why.

use std::time::Duration;

use crate::counters::SourceCounters;
use crate::time::Uptime;

/// Where packets come from.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// Interface or savefile.
    pub name: String,
    /// What it counted.
    pub counters: SourceCounters,
    /// When its last packet came. `None`: none came, or it is a replay.
    pub last: Option<Uptime>,
    /// Why it is lost, if it is.
    pub problem: Option<String>,
}

/// What can be wrong, what matters most first.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Cause {
    /// A capture is lost.
    CaptureLost,
    /// Nothing is heard.
    Silent,
    /// What is heard has passed a router.
    Ttl,
    /// What is heard cannot be read.
    Unreadable,
    /// No interface is configured.
    NoInterface,
    /// An interface does not run.
    Idle,
    /// There is no route to a collector.
    NoRoute,
    /// `flowsrc` is no address of this host.
    BadSource,
    /// Datagrams cannot be sent for another reason.
    SendFails,
    /// Nobody listens at a collector.
    Refused,
    /// A collector cannot be reached.
    Unreachable,
    /// There is no connection to a collector.
    NotConnected,
    /// A disk takes nothing.
    Disk,
    /// A spool fills up.
    SpoolFilling,
    /// Messages are dropped before they are sent.
    Losing,
    /// This host's pf does not answer.
    Pf,
    /// No state is marked `pflow`.
    Unmarked,
    /// Nearly all updates are of states not known.
    Unknown,
    /// Packets are dropped before they are read.
    Dropping,
    /// There is no room for more states.
    TableFull,
    /// Two firewalls have one host id.
    HostId,
    /// Clocks differ.
    Clocks,
}

/// Of each cause: its name, what is said when it is over, and for how many seconds there must be a
/// sign of it before it begins, and none before it ends.
pub(super) const CAUSES: [(Cause, &str, &str, u64, u64); 22] = [
    (Cause::CaptureLost, "capture_lost", "capturing again", 0, 0),
    (Cause::Silent, "silent", "pfsync packets come", 0, 0),
    (
        Cause::Ttl,
        "ttl",
        "no more pfsync of another TTL than 255",
        0,
        20,
    ),
    (
        Cause::Unreadable,
        "unreadable",
        "its packets can be read",
        0,
        20,
    ),
    (
        Cause::NoInterface,
        "no_interface",
        "there is an interface",
        5,
        0,
    ),
    (Cause::Idle, "idle", "it runs", 5, 0),
    (Cause::NoRoute, "no_route", "there is a route", 0, 0),
    (Cause::BadSource, "bad_source", "flowsrc serves", 0, 0),
    (Cause::SendFails, "send_fails", "datagrams are sent", 0, 0),
    (Cause::Refused, "refused", "no reports any more", 0, 0),
    (
        Cause::Unreachable,
        "unreachable",
        "no reports any more",
        0,
        0,
    ),
    (Cause::NotConnected, "not_connected", "connected", 3, 2),
    (Cause::Disk, "disk", "the disk takes what is written", 0, 0),
    (
        Cause::SpoolFilling,
        "spool_filling",
        "there is room in the spool",
        0,
        0,
    ),
    (Cause::Losing, "losing", "nothing more is dropped", 0, 20),
    (Cause::Pf, "pf", "pf answers again", 0, 0),
    (Cause::Unmarked, "unmarked", "states are marked pflow", 0, 0),
    (
        Cause::Unknown,
        "unknown",
        "most updates are of states known",
        0,
        0,
    ),
    (
        Cause::Dropping,
        "dropping",
        "no more packets are dropped",
        0,
        20,
    ),
    (
        Cause::TableFull,
        "table_full",
        "there is room for states",
        0,
        20,
    ),
    (
        Cause::HostId,
        "host_id",
        "one firewall is heard with it",
        0,
        0,
    ),
    (
        Cause::Clocks,
        "clocks",
        "they agree, or states have followed",
        0,
        0,
    ),
];

impl Cause {
    fn row(self) -> Option<&'static (Self, &'static str, &'static str, u64, u64)> {
        CAUSES.iter().find(|(cause, ..)| *cause == self)
    }

    /// Its name, as in JSON and metrics.
    pub fn name(self) -> &'static str {
        self.row().map_or("", |(_, name, ..)| name)
    }

    /// What is said when it is over.
    pub(super) fn over(self) -> &'static str {
        self.row().map_or("", |(_, _, over, ..)| over)
    }

    /// For how long there is a sign before it begins.
    pub(super) fn begins(self) -> Duration {
        Duration::from_secs(self.row().map_or(0, |(.., begins, _)| *begins))
    }

    /// For how long there is none before it ends.
    pub(super) fn ends(self) -> Duration {
        Duration::from_secs(self.row().map_or(0, |(.., ends)| *ends))
    }
}

/// What of a trouble is logged where it is met.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Told {
    /// Nothing: this module says when it begins and ends.
    Nothing,
    /// That it began.
    Begin,
    /// That it began and that it is over.
    Both,
}

/// A sign of a trouble.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Sign {
    pub(super) cause: Cause,
    /// What it is about: an interface, a firewall, a host id.
    pub(super) subject: String,
    /// What is wrong.
    pub(super) what: String,
    /// What to do about it.
    pub(super) remedy: String,
    pub(super) told: Told,
}
