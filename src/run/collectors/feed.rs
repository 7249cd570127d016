//! What one interface sends by connections: its stream, its collectors, and the connection to one of
//! them (RFC 7011 10.4.4).
//!
//! ```text
//!            a collector's time has come                 made
//!   Waiting ----------------------------> Connecting ------------> Up
//!      ^                                      |  refused, or        |  closed, reset, nothing
//!      |                                      |  no answer in 10 s  |  acknowledged for 60 s
//!      +--------------------------------------+---------------------+
//!        this one's time comes in `reconnect` seconds; another whose time has come is next
//! ```
//! Collectors are tried in their order, flowdst first. Messages wait in the stream meanwhile.

mod connecting;
mod losing;
mod outage;
mod sending;

use std::net::SocketAddr;
use std::time::Duration;

use super::backlog::{ACKNOWLEDGED, Backlog};
use super::in_doubt::InDoubt;
use super::security::Security;
use crate::export::{
    Amount, Carrier, Outgoing, Rdomain, Settings, Source, SpoolState, Stream, Templates,
};
use crate::io::transport::{Transport, WhenFull};
use crate::time::{Now, Uptime};
use outage::Outage;

/// Shortest and longest wait before a connection is looked at again that is full or not made yet.
const LOOK: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(50)];

/// What a connection is opened for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct OpenedFor {
    pub(super) flowsrc: Option<Source>,
    pub(super) rdomain: Option<Rdomain>,
    pub(super) collectors: Vec<SocketAddr>,
    pub(super) carrier: Carrier,
    pub(super) security: Option<Security>,
    /// The spool, which keeps what the collectors do not take.
    pub(super) spool: Option<String>,
}

impl OpenedFor {
    pub(super) fn new(settings: &Settings, security: Option<Security>) -> Self {
        Self {
            flowsrc: settings.flowsrc,
            rdomain: settings.rdomain.clone(),
            collectors: settings.collectors().collect(),
            carrier: settings.carrier,
            security,
            spool: settings.spool().map(|spool| spool.directory.clone()),
        }
    }
}

/// What an attempt to connect came to at once.
pub(super) enum Attempt {
    /// It is under way.
    Begun(Box<dyn Transport>),
    /// It failed.
    Failed(String),
    /// The parent, which opens the connection, is busy.
    Busy,
}

enum State {
    /// Waits until a collector may be tried.
    Waiting,
    Connecting {
        transport: Box<dyn Transport>,
        at: usize,
        until: Uptime,
    },
    Up {
        transport: Box<dyn Transport>,
        at: usize,
        since: Uptime,
    },
    /// A replay has given up, because it does not wait for ever.
    GivenUp,
}

/// See above.
pub(super) struct Feed {
    pub(super) opened_for: OpenedFor,
    reconnect: u32,
    /// How long a session lasts, and how often its templates are told, where that is needed.
    datagrams: Option<Datagrams>,
    when_full: WhenFull,
    pub(super) stream: Backlog,
    /// When each collector may be tried.
    due: Vec<Uptime>,
    /// What was opened before this was in force.
    first: Option<Attempt>,
    state: State,
    doubt: InDoubt,
    /// When something was acknowledged last, or when nothing waited for it last.
    progress: Uptime,
    /// When the connection is to be looked at.
    look: Uptime,
    /// When the connection was last checked for its end.
    checked: Uptime,
    /// How long to wait before the next look.
    wait: Duration,
    /// Failures since a message was taken.
    failures: usize,
    /// Whether there was a connection.
    was_up: bool,
    outage: Option<Outage>,
    /// Whether the next session follows one that was ended for its age.
    is_renewing: bool,
    /// When templates were told over datagrams.
    told: Uptime,
}

/// What sessions over datagrams need, because no system tells what becomes of datagrams.
#[derive(Clone, Copy)]
struct Datagrams {
    renew: Duration,
    refresh: Duration,
}

impl Feed {
    /// A feed that has nothing yet but an attempt to connect to its first collector.
    pub(super) fn new(
        settings: &Settings,
        opened_for: OpenedFor,
        first: Attempt,
        when_full: WhenFull,
        now: Uptime,
    ) -> Self {
        let mut feed = Self {
            due: vec![now; opened_for.collectors.len()],
            opened_for,
            reconnect: 0,
            datagrams: None,
            is_renewing: false,
            told: now,
            when_full,
            stream: Backlog::Queue(Stream::new(0)),
            first: Some(first),
            state: State::Waiting,
            doubt: InDoubt::default(),
            progress: now,
            look: now,
            checked: now,
            wait: LOOK[0],
            failures: 0,
            was_up: false,
            outage: None,
        };
        feed.set(settings);
        feed
    }

    /// Takes over what changes no connection.
    pub(super) fn set(&mut self, settings: &Settings) {
        self.reconnect = settings.reconnect;
        let seconds = |seconds: u32| Duration::from_secs(seconds.into());
        self.datagrams = (settings.carrier == Carrier::Dtls).then(|| Datagrams {
            renew: seconds(settings.renew),
            refresh: seconds(settings.refresh),
        });
        // If the queue is full, a replay waits, and a live capture drops.
        let queue = usize::try_from(settings.queue).unwrap_or(usize::MAX);
        match &mut self.stream {
            Backlog::Queue(stream) => stream.set_bound(match self.when_full {
                WhenFull::Drop => queue,
                WhenFull::Wait => usize::MAX,
            }),
            Backlog::Spool(spooled) => {
                if let Some(spool) = settings.spool() {
                    spooled.set_bound(spool.octets);
                }
            }
        }
    }

    /// Takes over what waited for another connection of the interface, before [`Self::set`]. A
    /// spool that is not this one's is given back.
    pub(super) fn inherit(&mut self, now: Now, mut old: Backlog) -> Option<Backlog> {
        old.end();
        match old {
            Backlog::Queue(stream) => self.stream.inherit(now, stream),
            spool if self.stream.has_spool() || self.opened_for.spool != spool.directory() => {
                return Some(spool);
            }
            spool => self.stream = spool,
        }
        None
    }

    /// Has `spool` behind the connection.
    pub(super) fn set_spool(&mut self, spool: Backlog) {
        self.stream = spool;
    }

    /// Octets after which a message should find room made for it.
    pub(super) fn is_crowded(&self, more: usize, bound: usize) -> bool {
        !self.stream.has_spool() && self.stream.octets() + more > bound
    }

    /// Appends a message. What had to go for it is lost.
    pub(super) fn push(
        &mut self,
        now: Now,
        message: &Outgoing<'_>,
        templates: Templates,
    ) -> Amount {
        let lost = self.stream.push(now, message, templates);
        match self.state {
            State::GivenUp => self.stream.clear(),
            _ => lost,
        }
    }

    /// Whether nothing waits and nothing is in doubt.
    pub(super) fn is_done(&self) -> bool {
        self.stream.is_empty() && (self.doubt.len() == 0 || !self.is_up())
    }

    /// Whether messages wait for a collector. Messages in a spool do not count, because they can
    /// wait for the next run.
    pub(super) fn is_waiting(&self) -> bool {
        !self.stream.is_empty() && (self.is_up() || !self.stream.has_spool())
    }

    /// What its spool is at.
    pub(super) fn spool(&self) -> Option<SpoolState> {
        self.stream.state()
    }

    /// Whether there is a connection, or one is being made.
    pub(super) fn is_trying(&self) -> bool {
        matches!(self.state, State::Connecting { .. } | State::Up { .. })
    }

    pub(super) fn is_up(&self) -> bool {
        matches!(self.state, State::Up { .. })
    }

    pub(super) fn is_given_up(&self) -> bool {
        matches!(self.state, State::GivenUp)
    }

    /// Waits at most so long until the connection goes on.
    pub(super) fn rest(&self, longest: Duration) {
        match &self.state {
            State::Connecting { transport, .. } | State::Up { transport, .. } => {
                transport.wait(longest);
            }
            State::Waiting | State::GivenUp => {}
        }
    }

    /// How long it may be left alone; `None`: until there is something to send.
    pub(super) fn idle_for(&self, now: Uptime) -> Option<Duration> {
        match self.state {
            State::GivenUp => None,
            State::Waiting => {
                let due = self.due.iter().min()?;
                Some(due.since(now))
            }
            State::Up { .. } if self.stream.is_empty() => {
                let is_awaited = self.stream.is_awaited();
                is_awaited.then(|| self.checked.after(ACKNOWLEDGED).since(now))
            }
            State::Connecting { .. } | State::Up { .. } => Some(self.look.since(now)),
        }
    }

    fn address(&self, at: usize) -> Option<SocketAddr> {
        self.opened_for.collectors.get(at).copied()
    }

    fn look_at_once(&mut self, now: Uptime) {
        (self.look, self.wait) = (now, LOOK[0]);
    }

    fn look_later(&mut self, now: Uptime) {
        self.look = now.after(self.wait);
        self.wait = (self.wait * 2).min(LOOK[1]);
    }
}
