//! Floor 7: what is wrong, since when, and what an operator does about it. The log and `show health`
//! both read it.
//!
//! ```text
//! engine, sources --Senses--> signs of now --Troubles--> begun, lasting, over --> log, show health
//!
//!            a sign                   lasts for `begins`
//!   (none) ----------> suspected ------------------------> lasting: one line
//!      ^                   |  no sign                        |  no sign for `ends`: one line
//!      +-------------------+---------------------------------+
//! ```
//! Signs are read off counters once a second, so that nothing is counted for this a state. Troubles
//! that a system call reports are logged where they are met, in the system's words and at once
//! ([`Told`]): here they only last.

mod rates;
mod senses;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::counters::SourceCounters;
use crate::engine::Engine;
use crate::time::{Now, Uptime};
use senses::Senses;

/// Most troubles told apart; of more it is only known how many there are.
pub const MAX_TROUBLES: usize = 64;

/// Where packets come from.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// Interface or savefile.
    pub name: String,
    /// What it counted.
    pub counters: SourceCounters,
    /// When its last packet came; `None` in a replay, too.
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
const CAUSES: [(Cause, &str, &str, u64, u64); 22] = [
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
    fn over(self) -> &'static str {
        self.row().map_or("", |(_, _, over, ..)| over)
    }

    /// For how long there is a sign before it begins.
    fn begins(self) -> Duration {
        Duration::from_secs(self.row().map_or(0, |(.., begins, _)| *begins))
    }

    /// For how long there is none before it ends.
    fn ends(self) -> Duration {
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
struct Sign {
    cause: Cause,
    /// What it is about: an interface, a firewall, a host id.
    subject: String,
    /// What is wrong.
    what: String,
    /// What to do about it.
    remedy: String,
    told: Told,
}

/// A trouble.
#[derive(Clone, Debug)]
pub struct Trouble {
    sign: Sign,
    /// Of the first sign.
    since: Uptime,
    /// Of the latest.
    seen: Uptime,
    is_begun: bool,
}

impl Trouble {
    /// Why.
    pub fn cause(&self) -> Cause {
        self.sign.cause
    }

    /// What it is about: an interface, a firewall, a host id.
    pub fn subject(&self) -> &str {
        &self.sign.subject
    }

    /// What is wrong.
    pub fn what(&self) -> &str {
        &self.sign.what
    }

    /// What to do about it.
    pub fn remedy(&self) -> &str {
        &self.sign.remedy
    }

    /// How long there have been signs of it.
    pub fn lasts(&self, now: Uptime) -> Duration {
        now.since(self.since)
    }
}

/// How a line for the log is meant.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum News {
    /// Something is wrong.
    Begun(String),
    /// It is no more.
    Over(String),
}

/// All troubles.
#[derive(Debug, Default)]
pub struct Troubles {
    senses: Senses,
    troubles: BTreeMap<(Cause, String), Trouble>,
    /// Signs of the last look for which there was no room.
    beyond: usize,
}

impl Troubles {
    /// Looks at what there is at `now`; lines for the log.
    pub fn look(&mut self, engine: &Engine, sources: &[Source], now: Now) -> Vec<News> {
        let signs = self.senses.signs(engine, sources, now);
        self.take(signs, now.uptime)
    }

    /// Those that have begun and are not over, what matters most first.
    pub fn lasting(&self) -> impl Iterator<Item = &Trouble> {
        self.troubles.values().filter(|trouble| trouble.is_begun)
    }

    /// How many there are beside those told apart.
    pub fn beyond(&self) -> usize {
        self.beyond
    }

    /// When interface `unit` sent something last, as far as that was seen.
    pub fn last_sent(&self, unit: u32) -> Option<Uptime> {
        self.senses.last_sent(unit)
    }

    /// What was wrong with the way to the collector of interface `unit` last, and when.
    pub fn last_problem(&self, unit: u32) -> Option<(&str, Uptime)> {
        self.senses.last_problem(unit)
    }

    /// How much of a sender's latest updates were of states not known, percent.
    pub fn unknown_share(&self, sender: usize) -> Option<u64> {
        self.senses.unknown_share(sender)
    }

    fn take(&mut self, signs: Vec<Sign>, now: Uptime) -> Vec<News> {
        let mut news = Vec::new();
        self.beyond = 0;
        for sign in signs {
            let key = (sign.cause, sign.subject.clone());
            if let Some(trouble) = self.troubles.get_mut(&key) {
                (trouble.sign, trouble.seen) = (sign, now);
            } else if self.troubles.len() < MAX_TROUBLES {
                let trouble = Trouble {
                    sign,
                    since: now,
                    seen: now,
                    is_begun: false,
                };
                self.troubles.insert(key, trouble);
            } else {
                self.beyond += 1;
            }
        }
        self.troubles.retain(|(cause, _), trouble| {
            let sign = &trouble.sign;
            if trouble.seen == now {
                if !trouble.is_begun && trouble.lasts(now) >= cause.begins() {
                    trouble.is_begun = true;
                    if sign.told == Told::Nothing {
                        news.push(News::Begun(format!("{}: {}", sign.what, sign.remedy)));
                    }
                }
                return true;
            }
            if trouble.is_begun && now.since(trouble.seen) < cause.ends() {
                return true;
            }
            if trouble.is_begun && sign.told != Told::Both {
                let (subject, over) = (&sign.subject, cause.over());
                let secs = trouble.lasts(now).as_secs();
                news.push(News::Over(format!("{subject}: {over}, after {secs} s")));
            }
            false
        });
        news
    }
}

#[cfg(test)]
mod tests;
