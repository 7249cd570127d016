//! The interfaces' connections to their collectors. They are opened before a configuration is in
//! force. The export loop feeds them and checks them now and then.
//!
//! ```text
//! messages --> feed: waits, is numbered --> connection --> collector
//!                                               \--> taps, counters, and a line for the log
//! ```
//! In a live capture the parent makes the connections, and only to collectors that the
//! configuration's files name. No turn takes longer than [`SPELL`]. A replay makes its connections
//! itself and waits for them.

mod backlog;
mod feed;
mod in_doubt;
pub(super) mod security;
mod turn;

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::Outside;
use super::parent::Parent;
use super::spools;
use crate::config::Config;
use crate::engine::Engine;
use crate::export::{Amount, Carrier, Connection, Rdomain, Settings, Templates, Transmit, Way};
use crate::io::log::Level;
use crate::io::transport::dtls::Dtls;
#[cfg(any(target_os = "linux", target_os = "freebsd"))]
use crate::io::transport::sctp;
use crate::io::transport::secure::Secure;
use crate::io::transport::{self, Transport, WhenFull, source_address, tcp};
use crate::time::{Now, Uptime};
use backlog::Backlog;
use feed::{Attempt, Feed, OpenedFor};
use security::Security;
use turn::Turn;

/// How long the end of the program goes on sending.
const DRAIN: Duration = Duration::from_secs(2);
/// Longest work for connections in a turn of the export loop.
const SPELL: Duration = Duration::from_millis(4);
/// How long a replay waits for a connection before it looks at signals and clients.
const REST: Duration = Duration::from_millis(20);

/// All of them.
pub(super) struct Collectors {
    when_full: WhenFull,
    feeds: BTreeMap<u32, Feed>,
    /// The interface whose turn is next.
    next: u32,
}

/// Connections opened for a configuration that is not in force yet.
#[derive(Default)]
pub(super) struct OpenedFeeds {
    prepared: BTreeMap<u32, Prepared>,
    spools: BTreeMap<u32, Backlog>,
}

/// What a configuration wants of an interface.
struct Prepared {
    opened_for: OpenedFor,
    /// `None`: the connection that is open already serves.
    attempt: Option<Attempt>,
}

impl Collectors {
    /// None yet.
    pub(super) fn new(when_full: WhenFull) -> Self {
        Self {
            when_full,
            feeds: BTreeMap::new(),
            next: 0,
        }
    }

    /// Whether interface `unit` sends by connections.
    pub(super) fn has(&self, unit: u32) -> bool {
        self.feeds.contains_key(&unit)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.feeds.len()
    }

    /// Whether messages wait.
    pub(super) fn is_waiting(&self) -> bool {
        self.feeds.values().any(Feed::is_waiting)
    }

    /// Whether some collector of a replay did not get all its messages.
    pub(super) fn has_given_up(&self) -> bool {
        let mut feeds = self.feeds.values();
        feeds.any(|feed| feed.is_given_up() && !feed.stream.has_spool())
    }

    /// Begins the connections that `config` needs and that are not there.
    pub(super) fn prepare(
        &self,
        config: &Config,
        parent: Option<&Parent>,
    ) -> Result<OpenedFeeds, String> {
        let mut opened = OpenedFeeds::default();
        for (unit, settings) in &config.interfaces {
            let Some(Way::Connection(to)) = settings.way() else {
                continue;
            };
            let security = Security::load(settings, parent)
                .map_err(|problem| format!("pflow{unit}: {problem}"))?;
            let opened_for = OpenedFor::new(settings, security);
            let feed = self.feeds.get(unit);
            if feed.is_some_and(|feed| feed.opened_for == opened_for) {
                let attempt = None;
                opened.prepared.insert(
                    *unit,
                    Prepared {
                        opened_for,
                        attempt,
                    },
                );
                continue;
            }
            if let Some(parent) = parent {
                for collector in &opened_for.collectors {
                    parent
                        .may_connect(opened_for.carrier, *collector, opened_for.rdomain.as_ref())
                        .map_err(|problem| format!("pflow{unit}: {collector}: {problem}"))?;
                }
            }
            let is_open = feed.is_some_and(|feed| feed.stream.directory() == opened_for.spool);
            if let Some(spool) = settings.spool()
                && !is_open
            {
                let spooled = spools::open(*unit, spool, parent).map_err(|problem| {
                    format!("pflow{unit}: spool: {}: {problem}", spool.directory)
                })?;
                let spooled = Backlog::Spool(Box::new(spooled));
                opened.spools.insert(*unit, spooled);
            }
            let attempt = open(&opened_for, to, parent)
                .map_err(|problem| format!("pflow{unit}: {to}: {problem}"))?;
            let attempt = Some(attempt);
            opened.prepared.insert(
                *unit,
                Prepared {
                    opened_for,
                    attempt,
                },
            );
        }
        Ok(opened)
    }
}

/// Where connections to `to` leave from.
fn source(opened_for: &OpenedFor, to: SocketAddr) -> SocketAddr {
    source_address(opened_for.flowsrc, to.is_ipv6())
}

/// Makes a socket for `carrier` and begins to connect it. The inner error says why connecting
/// failed at once.
///
/// # Errors
/// The system has no socket of that kind.
pub(super) fn begin(
    carrier: Carrier,
    from: SocketAddr,
    to: SocketAddr,
    rdomain: Option<&Rdomain>,
) -> Result<Result<TcpStream, String>, String> {
    let begun = match carrier {
        Carrier::Tcp | Carrier::Tls => tcp::begin(from, to, rdomain),
        #[cfg(any(target_os = "linux", target_os = "freebsd"))]
        Carrier::Sctp => sctp::begin(from, to, rdomain),
        other => return Err(format!("{} has no connections", other.name())),
    };
    let begun = begun.map_err(|error| match error.raw_os_error() {
        Some(libc::EPROTONOSUPPORT) => "this system has no SCTP".to_owned(),
        _ => error.to_string(),
    })?;
    Ok(begun.map_err(|error| tcp::words_of(&error)))
}

/// Begins a connection.
///
/// # Errors
/// The system has no socket of that kind.
fn open(
    opened_for: &OpenedFor,
    to: SocketAddr,
    parent: Option<&Parent>,
) -> Result<Attempt, String> {
    let (from, rdomain) = (source(opened_for, to), opened_for.rdomain.as_ref());
    let carrier = opened_for.carrier;
    if carrier == Carrier::Dtls {
        return open_dtls(opened_for, to, parent);
    }
    let stream = match parent {
        Some(parent) => parent.connect(carrier, to, from, rdomain)?,
        None => begin(carrier, from, to, rdomain)?,
    };
    let stream = match stream {
        Ok(stream) => stream,
        Err(problem) => return Ok(Attempt::Failed(problem)),
    };
    let transport: Box<dyn Transport> = match (&opened_for.security, carrier) {
        (Some(security), _) => {
            let tcp = tcp::Tcp::new(stream, to);
            Box::new(Secure::new(
                tcp,
                to,
                security.client.clone(),
                security.peer(to),
            ))
        }
        #[cfg(any(target_os = "linux", target_os = "freebsd"))]
        (None, Carrier::Sctp) => Box::new(sctp::Sctp::new(stream, to)),
        (None, _) => Box::new(tcp::Tcp::new(stream, to)),
    };
    Ok(Attempt::Begun(transport))
}

/// Begins a session with DTLS. Each session has a socket of its own, with a new port unless
/// `flowsrc` has one.
fn open_dtls(
    opened_for: &OpenedFor,
    to: SocketAddr,
    parent: Option<&Parent>,
) -> Result<Attempt, String> {
    let (from, rdomain) = (source(opened_for, to), opened_for.rdomain.as_ref());
    let socket = match parent {
        Some(parent) => parent.bind(from, rdomain)?,
        None => {
            transport::bind(from, rdomain, WhenFull::Drop).map_err(|error| error.to_string())?
        }
    };
    let security = opened_for.security.as_ref().ok_or("no certificates")?;
    if let Err(error) = socket.connect(to) {
        return Ok(Attempt::Failed(tcp::words_of(&error)));
    }
    let dtls = Dtls::new(socket, to, &security.client, &security.peer(to))?;
    Ok(Attempt::Begun(Box::new(dtls)))
}

/// Like `open`, but an error counts as a failed attempt.
fn open_again(opened_for: &OpenedFor, to: SocketAddr, parent: Option<&Parent>) -> Attempt {
    if parent.is_some_and(Parent::is_busy) {
        return Attempt::Busy;
    }
    open(opened_for, to, parent).unwrap_or_else(Attempt::Failed)
}

impl Collectors {
    /// Closes the feeds that `config` does not have, and those that were opened anew. Returns by
    /// interface what waited in them, and what became of that.
    fn close_old(
        &mut self,
        config: &Config,
        opened: &OpenedFeeds,
        now: Uptime,
    ) -> (BTreeMap<u32, Backlog>, Vec<(u32, Turn)>) {
        let (mut left, mut turns) = (BTreeMap::new(), Vec::new());
        for (unit, mut feed) in std::mem::take(&mut self.feeds) {
            let settings = config.interfaces.get(&unit);
            let prepared = opened.prepared.get(&unit);
            let is_same = |_: &&Settings| prepared.is_some_and(|one| one.attempt.is_none());
            if let Some(settings) = settings.filter(is_same) {
                feed.set(settings);
                self.feeds.insert(unit, feed);
                continue;
            }
            let mut turn = Turn::default();
            let waiting = feed.close(false, now, &mut turn);
            left.insert(unit, waiting);
            turns.push((unit, turn));
        }
        (left, turns)
    }
}

impl Outside {
    /// Takes into use what [`Collectors::prepare`] opened, and ends connections that are not needed
    /// any more. What their collectors do not take at once waits for the interface's next
    /// collector. Without one it is lost.
    pub(super) fn commit_feeds(
        &mut self,
        config: &Config,
        mut opened: OpenedFeeds,
        engine: Option<&mut Engine>,
    ) {
        let clock = self.clock.now();
        let now = clock.uptime;
        let (mut left, mut turns) = self.collectors.close_old(config, &opened, now);
        for (unit, settings) in &config.interfaces {
            let Some(Prepared {
                opened_for,
                attempt: Some(attempt),
            }) = opened.prepared.remove(unit)
            else {
                continue;
            };
            let when_full = self.collectors.when_full;
            let mut feed = Feed::new(settings, opened_for, attempt, when_full, now);
            if let Some(spool) = opened.spools.remove(unit) {
                feed.set_spool(spool);
            }
            if let Some(stream) = left.remove(unit) {
                left.extend(feed.inherit(clock, stream).map(|stream| (*unit, stream)));
                feed.set(settings);
            }
            self.collectors.feeds.insert(*unit, feed);
        }
        for (unit, stream) in left {
            let turn = self.lose(unit, stream);
            turns.push((unit, turn));
        }
        if let Some(engine) = engine {
            for (unit, turn) in turns {
                engine.handle_waiting(unit, 0);
                self.note_turn(unit, turn, engine);
            }
        }
    }

    /// Drops what waited for the collector of interface `unit`, which has no collector any more.
    fn lose(&mut self, unit: u32, mut waiting: Backlog) -> Turn {
        let lost = waiting.clear();
        if lost.records > 0 {
            let records = lost.records;
            let line = format!("{records} records that waited for the collector are lost");
            self.log.warn(&format!("pflow{unit}: {line}"));
        }
        let mut turn = Turn {
            lost,
            ..Turn::default()
        };
        turn.note_spool(waiting.finish());
        turn
    }

    /// Has the messages of interface `unit` wait for its collector.
    pub(super) fn queue(&mut self, unit: u32, transmit: &Transmit, engine: &mut Engine) {
        let mut interfaces = engine.interfaces().iter();
        let Some(interface) = interfaces.find(|interface| interface.unit() == unit) else {
            return;
        };
        let templates = Templates::from(interface.settings());
        let bound = usize::try_from(interface.settings().queue).unwrap_or(usize::MAX);
        let mut lost = 0;
        let now = self.header_time(engine);
        for message in transmit.messages_of(unit) {
            let feed = self.collectors.feeds.get(&unit);
            if feed.is_some_and(|feed| feed.is_crowded(message.octets.len(), bound)) {
                self.turn_of(unit, engine);
            }
            let Some(feed) = self.collectors.feeds.get_mut(&unit) else {
                return;
            };
            engine.handle_queued(unit, message.records.into());
            let gone = feed.push(now, &message, templates);
            if gone != Amount::default() {
                engine.handle_lost(unit, gone);
                lost += gone.records;
            }
        }
        let is_given_up = self
            .collectors
            .feeds
            .get(&unit)
            .is_some_and(Feed::is_given_up);
        if lost > 0 && !is_given_up {
            let line = format!("pflow{unit}: the queue is full: its oldest messages are dropped");
            self.complain(&line);
        }
        let feed = self.collectors.feeds.get(&unit);
        if feed.is_some_and(|feed| feed.stream.has_spool()) {
            // With a spool, what the collector does not take at once is on the disk before anything
            // else is done.
            self.turn_of(unit, engine);
        }
        self.note_waiting(unit, engine);
    }

    fn note_waiting(&self, unit: u32, engine: &mut Engine) {
        if let Some(feed) = self.collectors.feeds.get(&unit) {
            engine.handle_waiting(unit, feed.stream.octets());
            engine.handle_spool_state(unit, feed.spool());
        }
    }

    /// The time in headers. In a replay it is the packets' time.
    fn header_time(&self, engine: &Engine) -> Now {
        let now = self.clock.now();
        match self.collectors.when_full {
            WhenFull::Drop => now,
            // The wall clock is the packets'. The uptime is the system's, because collectors live
            // by it.
            WhenFull::Wait => Now::new(engine.latest().unwrap_or(now).wall, now.uptime),
        }
    }

    /// Does what there is to do for interface `unit`.
    fn turn_of(&mut self, unit: u32, engine: &mut Engine) {
        let now = self.header_time(engine);
        let Some(feed) = self.collectors.feeds.get_mut(&unit) else {
            return;
        };
        let mut turn = Turn {
            messages: self.taps.wants(unit).then(Vec::new),
            ..Turn::default()
        };
        let parent = self.parent.as_ref();
        feed.turn(
            now,
            &mut |opened_for, to| open_again(opened_for, to, parent),
            &mut turn,
        );
        self.note_turn(unit, turn, engine);
    }

    /// Counts and tells what a turn came to.
    fn note_turn(&mut self, unit: u32, turn: Turn, engine: &mut Engine) {
        if turn.taken != Amount::default() {
            engine.handle_taken(unit, turn.taken);
        }
        if turn.lost != Amount::default() {
            engine.handle_lost(unit, turn.lost);
        }
        if let Some(tally) = turn.spool {
            engine.handle_spool(unit, tally);
        }
        engine.handle_connections(unit, turn.connections);
        if let Some(connection) = turn.connection {
            engine.handle_connection(unit, connection);
        }
        self.note_waiting(unit, engine);
        let stamp = engine.latest().map(|now| now.wall).unwrap_or_default();
        for (ends, message) in turn.messages.into_iter().flatten() {
            let tapped = self.taps.push(unit, ends, stamp, &message);
            engine.handle_tapped(unit, tapped.taken, tapped.dropped);
        }
        for (level, line) in turn.lines {
            self.log.line(level, &format!("pflow{unit}: {line}"));
        }
    }

    /// Gives each connection a turn. Returns how long they may be left alone, if something waits.
    pub(super) fn pump_feeds(&mut self, engine: &mut Engine) -> Option<Duration> {
        if self.collectors.feeds.is_empty() {
            return None;
        }
        let begun = self.clock.now().uptime;
        let next = self.collectors.next;
        let feeds = &self.collectors.feeds;
        let units = feeds.range(next..).chain(feeds.range(..next));
        let units: Vec<u32> = units.map(|(unit, _)| *unit).collect();
        for unit in units {
            if self.clock.now().uptime.since(begun) >= SPELL {
                self.collectors.next = unit;
                return Some(Duration::ZERO);
            }
            self.turn_of(unit, engine);
        }
        let now = self.clock.now().uptime;
        let feeds = self.collectors.feeds.values();
        let waits = feeds.filter_map(|feed| feed.idle_for(now));
        waits.min()
    }

    /// Sends messages of a replay, and waits a moment for the connections. If messages still wait,
    /// returns how long the caller may do other things.
    pub(super) fn wait_for_feeds(&mut self, engine: &mut Engine) -> Option<Duration> {
        let idle = self.pump_feeds(engine);
        let mut waiting = self
            .collectors
            .feeds
            .values()
            .filter(|feed| feed.is_waiting());
        let first = waiting.next()?;
        if first.is_trying() {
            first.rest(REST);
            return Some(Duration::ZERO);
        }
        // The bound matters, because a client may name another collector meanwhile.
        idle.map(|idle| idle.clamp(Duration::from_millis(1), REST))
    }

    /// Whether a replay has to wait for the first connection of a collector still.
    ///
    /// # Errors
    /// A collector cannot be connected to.
    pub(super) fn is_connecting(&mut self, engine: &mut Engine) -> Result<bool, String> {
        self.pump_feeds(engine);
        for (unit, feed) in &self.collectors.feeds {
            if feed.is_given_up() && feed.stream.has_spool() {
                continue;
            }
            if feed.is_given_up() {
                let interface = engine.interfaces().iter().find(|one| one.unit() == *unit);
                return Err(match interface.and_then(|one| one.connection()) {
                    Some(Connection::Down { to, problem, .. }) => {
                        format!("pflow{unit}: {to}: {problem}")
                    }
                    _ => format!("pflow{unit}: no connection"),
                });
            }
            if !feed.is_up() {
                feed.rest(REST);
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Sends what goes within [`DRAIN`], and ends the connections. The rest is lost.
    pub(super) fn finish_feeds(&mut self, engine: &mut Engine) {
        let until = self.clock.now().uptime.after(DRAIN);
        for feed in self.collectors.feeds.values_mut() {
            feed.stream.stop();
        }
        loop {
            self.pump_feeds(engine);
            let left = until.since(self.clock.now().uptime);
            let feeds = self.collectors.feeds.values();
            let mut waiting = feeds.filter(|feed| feed.is_trying() && !feed.is_done());
            let Some(feed) = waiting.next() else { break };
            if left.is_zero() {
                break;
            }
            match feed.stream.is_empty() {
                // The system does not wake anybody when something is acknowledged.
                true => std::thread::sleep(Duration::from_millis(1).min(left)),
                false => feed.rest(REST.min(left)),
            }
        }
        let now = self.clock.now().uptime;
        for unit in self.collectors.feeds.keys().copied().collect::<Vec<_>>() {
            let Some(mut feed) = self.collectors.feeds.remove(&unit) else {
                continue;
            };
            let mut turn = Turn::default();
            let mut stream = feed.close(true, now, &mut turn);
            turn.lost = stream.clear();
            turn.note_spool(stream.finish());
            if turn.lost.records > 0 {
                let records = turn.lost.records;
                let line = format!("{records} records that waited for the collector are lost");
                turn.lines.push((Level::Warning, line));
            }
            self.note_turn(unit, turn, engine);
            engine.handle_waiting(unit, 0);
        }
    }
}

#[cfg(test)]
#[allow(
    clippy::cast_possible_truncation,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that is wrong may panic"
)]
mod tests;
