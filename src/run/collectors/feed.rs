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

use std::net::SocketAddr;
use std::time::Duration;

use super::backlog::{ACKNOWLEDGED, Backlog};
use super::in_doubt::InDoubt;
use super::security::Security;
use super::turn::{Turn, add};
use crate::export::{
    Amount, Carrier, Connection, Outgoing, Rdomain, Settings, Source, SpoolState, Stream, Templates,
};
use crate::io::log::Level;
use crate::io::transport::{Transport, WhenFull, tcp};
use crate::time::{Now, Uptime};

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a connection may acknowledge nothing while something waits for it.
const STALL: Duration = Duration::from_secs(60);
/// How long a connection lasts before a trouble counts as over.
const STEADY: Duration = Duration::from_secs(2);
/// Between two lines about a trouble that lasts.
const TELL: Duration = Duration::from_secs(60);
/// Shortest and longest wait before a connection that is full or not made is looked at again.
const LOOK: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(50)];
/// How soon a parent that is busy is asked again.
const BUSY: Duration = Duration::from_millis(50);
/// Octets that are numbered at a time.
const BATCH: usize = 1 << 16;
/// Most octets that one turn sends.
const BUDGET: usize = 1 << 20;
/// Most messages in doubt; until some of them are acknowledged no more are sent, if anybody tells.
const DOUBTFUL: usize = 1 << 16;

/// What a connection is opened for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct OpenedFor {
    pub(super) flowsrc: Option<Source>,
    pub(super) rdomain: Option<Rdomain>,
    pub(super) collectors: Vec<SocketAddr>,
    pub(super) carrier: Carrier,
    pub(super) security: Option<Security>,
    /// Where what they do not take is kept.
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
    /// Who opens it is busy.
    Busy,
}

enum State {
    /// For the time of a collector.
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
    /// A replay waits for nobody for ever.
    GivenUp,
}

/// No connection, or one that is lost soon after it is made.
struct Trouble {
    since: Uptime,
    told: Option<Uptime>,
    /// Failures since it was told.
    failures: u64,
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
    /// When something was acknowledged last, or nothing waited to be.
    progress: Uptime,
    /// When the connection is to be looked at.
    look: Uptime,
    /// When it was looked at whether there still is a connection.
    checked: Uptime,
    /// How long to wait before the next look.
    wait: Duration,
    /// Failures since a message was taken.
    failures: usize,
    /// Whether there was a connection.
    was_up: bool,
    trouble: Option<Trouble>,
    /// Whether the next session follows one that was ended for its age.
    is_renewing: bool,
    /// When templates were told over datagrams.
    told: Uptime,
}

/// What sessions over datagrams need, because nobody tells what becomes of them.
#[derive(Clone, Copy)]
struct Datagrams {
    renew: Duration,
    refresh: Duration,
}

impl Feed {
    /// One that has nothing yet but an attempt to connect to its first collector.
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
            trouble: None,
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
        // A replay waits where a live capture drops.
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

    /// Whether messages wait for a collector: what a spool has can wait for the next run.
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

    fn start(&mut self, at: usize, attempt: Attempt, now: Uptime, turn: &mut Turn) {
        match attempt {
            Attempt::Begun(transport) => {
                self.state = State::Connecting {
                    transport,
                    at,
                    until: now.after(CONNECT),
                };
                self.look_at_once(now);
                turn.connection = self.address(at).map(Connection::Connecting);
            }
            Attempt::Failed(problem) => self.fail(at, &problem, now, turn),
            Attempt::Busy => {
                if let Some(due) = self.due.get_mut(at) {
                    *due = now.after(BUSY);
                }
            }
        }
    }

    fn look_at_once(&mut self, now: Uptime) {
        (self.look, self.wait) = (now, LOOK[0]);
    }

    fn look_later(&mut self, now: Uptime) {
        self.look = now.after(self.wait);
        self.wait = (self.wait * 2).min(LOOK[1]);
    }

    /// A connection could not be made.
    fn fail(&mut self, at: usize, problem: &str, now: Uptime, turn: &mut Turn) {
        turn.connections.failed += 1;
        self.fall(at, problem, now, turn);
    }

    /// A connection was lost.
    fn lose(&mut self, at: usize, problem: &str, now: Uptime, turn: &mut Turn) {
        self.stream.end();
        let doubt = std::mem::take(&mut self.doubt);
        turn.connections.lost += 1;
        turn.connections.in_doubt += doubt.records();
        self.fall(at, problem, now, turn);
    }

    fn fall(&mut self, at: usize, problem: &str, now: Uptime, turn: &mut Turn) {
        self.state = State::Waiting;
        self.failures += 1;
        if let Some(due) = self.due.get_mut(at) {
            *due = now.after(Duration::from_secs(self.reconnect.into()));
        }
        if self.when_full == WhenFull::Wait && self.failures >= self.most_failures() {
            self.state = State::GivenUp;
            turn.lost = add(turn.lost, self.stream.clear());
        }
        let Some(to) = self.address(at) else { return };
        let next = self.next(now).and_then(|next| self.address(next));
        let connection = Connection::Down {
            to,
            problem: problem.to_owned(),
            reconnect: (!self.is_given_up()).then_some(self.reconnect),
        };
        let mut line = match next {
            Some(next) if !self.is_given_up() => format!("{to}: {problem}; {next} is tried"),
            _ => connection.to_string(),
        };
        turn.connection = Some(connection);
        let is_last = self.is_given_up();
        if is_last && !self.was_up {
            // The replay ends with the problem.
            return;
        }
        let trouble = self.trouble.get_or_insert(Trouble {
            since: now,
            told: None,
            failures: 0,
        });
        let is_told = |told: Uptime| now.since(told) < TELL;
        if trouble.told.is_some_and(is_told) && !is_last {
            trouble.failures += 1;
            return;
        }
        if trouble.failures > 0 {
            line += &format!(" (and {} times more since the last line)", trouble.failures);
        }
        (trouble.told, trouble.failures) = (Some(now), 0);
        turn.line(Level::Warning, line);
    }

    /// How often a replay fails without a message taken before it gives up: once with each collector
    /// at the start, twice once there was a connection.
    fn most_failures(&self) -> usize {
        let rounds = if self.was_up { 2 } else { 1 };
        rounds * self.opened_for.collectors.len()
    }

    /// The collector to try, if the time of one has come.
    fn next(&self, now: Uptime) -> Option<usize> {
        self.due.iter().position(|due| *due <= now)
    }

    /// Does what there is to do at `now`: tries collectors, sends.
    pub(super) fn turn(
        &mut self,
        now: Now,
        open: &mut dyn FnMut(&OpenedFor, SocketAddr) -> Attempt,
        turn: &mut Turn,
    ) {
        let at = now.uptime;
        if let Some(first) = self.first.take() {
            self.start(0, first, at, turn);
        }
        // Each failure moves a collector's time: this ends.
        while matches!(self.state, State::Waiting)
            && let Some(next) = self.next(at)
            && let Some(to) = self.address(next)
        {
            let attempt = open(&self.opened_for, to);
            let is_busy = matches!(attempt, Attempt::Busy);
            self.start(next, attempt, at, turn);
            if is_busy {
                break;
            }
            self.connect(at, turn);
        }
        self.connect(at, turn);
        self.renew(at, turn);
        let is_idle = self.stream.is_empty() && at.since(self.checked) < LOOK[1];
        if self.is_up() && at >= self.look && !is_idle {
            self.send(now, turn);
        }
        self.settle(now, turn);
    }

    /// Has what the collector did not take in its spool.
    fn settle(&mut self, now: Now, turn: &mut Turn) {
        turn.note_spool(self.stream.settle(now));
    }

    /// Over datagrams: tells the templates again when it is time, and ends a session that is old. A
    /// new one begins in the next turn.
    fn renew(&mut self, now: Uptime, turn: &mut Turn) {
        let (
            Some(datagrams),
            State::Up {
                transport,
                at,
                since,
            },
        ) = (self.datagrams, &mut self.state)
        else {
            return;
        };
        if now.since(*since) >= datagrams.renew {
            transport.shut_down();
            let at = *at;
            self.state = State::Waiting;
            self.stream.end();
            self.doubt = InDoubt::default();
            self.is_renewing = true;
            if let Some(due) = self.due.get_mut(at) {
                *due = now;
            }
            turn.connections.renewed += 1;
        } else if now.since(self.told) >= datagrams.refresh {
            self.stream.tell_again();
            self.told = now;
        }
    }

    /// Goes on with a connection that is being made.
    fn connect(&mut self, now: Uptime, turn: &mut Turn) {
        if now < self.look {
            return;
        }
        let outcome = match &mut self.state {
            State::Connecting {
                transport,
                at,
                until,
            } => (*at, *until, transport.establish(now)),
            _ => return,
        };
        match outcome {
            (at, _, Err(error)) => self.fail(at, &tcp::words_of(&error), now, turn),
            (at, until, Ok(false)) if now >= until => {
                let problem = format!("no answer in {} s", CONNECT.as_secs());
                self.fail(at, &problem, now, turn);
            }
            (_, _, Ok(false)) => self.look_later(now),
            (at, _, Ok(true)) => self.rise(at, now, turn),
        }
    }

    /// A connection is made.
    fn rise(&mut self, at: usize, now: Uptime, turn: &mut Turn) {
        if let State::Connecting { transport, .. } =
            std::mem::replace(&mut self.state, State::Waiting)
        {
            self.state = State::Up {
                transport,
                at,
                since: now,
            };
        }
        self.was_up = true;
        self.stream.begin();
        if self.datagrams.is_some() {
            self.stream.set_by_datagrams();
        }
        self.doubt = InDoubt::default();
        self.progress = now;
        self.look_at_once(now);
        turn.connections.made += 1;
        let Some(to) = self.address(at) else { return };
        turn.connection = Some(Connection::Connected(to));
        self.told = now;
        let is_renewed = std::mem::take(&mut self.is_renewing);
        if self.trouble.is_none() && !is_renewed {
            turn.line(Level::Info, format!("connected to {to}"));
        }
    }

    /// Sends what goes at once.
    fn send(&mut self, now: Now, turn: &mut Turn) {
        let State::Up {
            transport,
            at,
            since,
        } = &mut self.state
        else {
            return;
        };
        let (at, since) = (*at, *since);
        let outcome = send(
            transport.as_mut(),
            &mut self.stream,
            &mut self.doubt,
            now,
            turn,
        );
        let now = now.uptime;
        match outcome {
            Err(error) => {
                if TELLS_AFTER_THE_END {
                    let octets = transport.unacknowledged();
                    self.doubt.acknowledge(octets, now);
                    self.stream.acknowledge(octets, now);
                }
                self.lose(at, &tcp::words_of(&error), now, turn);
                return;
            }
            Ok(sent) => {
                if sent.messages > 0 {
                    self.failures = 0;
                }
                if sent.messages > 0 || sent.is_acknowledged || self.is_done() {
                    self.progress = now;
                }
                if sent.messages > 0 || self.stream.is_empty() {
                    // What is pushed next goes at once, and so does what one turn did not send.
                    self.look_at_once(now);
                }
                if sent.is_full {
                    self.look_later(now);
                }
                self.checked = now;
            }
        }
        if now.since(self.progress) >= STALL {
            let problem = format!("nothing acknowledged for {} s", STALL.as_secs());
            self.lose(at, &problem, now, turn);
        } else if now.since(since) >= STEADY
            && let Some(trouble) = self.trouble.take()
            && let Some(to) = self.address(at)
        {
            let seconds = since.since(trouble.since).as_secs();
            turn.line(Level::Info, format!("connected to {to} after {seconds} s"));
        }
    }

    /// Ends the connection in good order. What waits still is lost, unless another feed inherits the
    /// stream; what is not acknowledged is in doubt if `is_over`.
    pub(super) fn close(&mut self, is_over: bool, now: Uptime, turn: &mut Turn) -> Backlog {
        if let State::Up { transport, .. } = &mut self.state {
            self.stream.acknowledge(transport.unacknowledged(), now);
            transport.shut_down();
            if is_over {
                self.doubt.acknowledge(transport.unacknowledged(), now);
                turn.connections.in_doubt += self.doubt.records();
            }
        }
        self.state = State::GivenUp;
        std::mem::replace(&mut self.stream, Backlog::Queue(Stream::new(0)))
    }
}

/// Whether the system tells what was not acknowledged of a connection that has ended.
const TELLS_AFTER_THE_END: bool = !cfg!(any(target_os = "freebsd", target_os = "netbsd"));

/// What a transport took.
struct Sent {
    messages: u64,
    /// Whether it takes no more now.
    is_full: bool,
    /// Whether something was acknowledged.
    is_acknowledged: bool,
}

/// Sends what `transport` takes at once of `stream`, at most [`BUDGET`] octets.
fn send(
    transport: &mut dyn Transport,
    stream: &mut Backlog,
    doubt: &mut InDoubt,
    now: Now,
    turn: &mut Turn,
) -> std::io::Result<Sent> {
    // Asked before it is seen whether there still is a connection: then it is true.
    let unacknowledged = match doubt.len() {
        0 => None,
        _ => Some(transport.unacknowledged()),
    };
    transport.establish(now.uptime)?;
    if let Some(octets) = unacknowledged {
        stream.acknowledge(octets, now.uptime);
    }
    let mut sent = Sent {
        messages: 0,
        is_full: false,
        is_acknowledged: unacknowledged.is_some_and(|some| doubt.acknowledge(some, now.uptime)),
    };
    let is_told = matches!(unacknowledged, Some(Some(_)));
    let mut octets = 0;
    while octets < BUDGET {
        if is_told && doubt.len() >= DOUBTFUL {
            sent.is_full = true;
            break;
        }
        stream.prepare(now, BATCH);
        let messages = stream.prepared(tcp::MAX_MESSAGES);
        if messages.is_empty() {
            break;
        }
        let count = transport.send(now.uptime, &messages)?;
        if let Some(taken) = &mut turn.messages {
            let ends = transport.ends();
            let copies = messages.iter().take(count);
            taken.extend(copies.map(|message| (ends, message.to_vec())));
        }
        sent.is_full = count < messages.len();
        for _ in 0..count {
            let taken = stream.take(1);
            doubt.take(taken.octets, taken.records, now.uptime);
            turn.taken = add(turn.taken, stream.counted(taken));
            sent.messages += 1;
            octets += usize::try_from(taken.octets).unwrap_or(usize::MAX);
        }
        if sent.is_full {
            break;
        }
    }
    Ok(sent)
}
