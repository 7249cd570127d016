//! The interfaces' UDP sockets, one for each. They are opened before a configuration is in force.
//! This module also counts what becomes of the datagrams.
//!
//! ```text
//! datagrams --queue, if there is a rate--> socket --> collector
//!                                              \--> taps, counters, and a line for the log
//!                                                   where somebody must be told
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use super::Outside;
use super::parent::Parent;
use crate::config::Config;
use crate::counters::Reports;
use crate::engine::{Engine, Sent};
use crate::export::{Carrier, Rate, Rdomain, Settings, Source};
use crate::io::pacer::Pacer;
use crate::io::transport::{self, Transport, Udp, WhenFull, source_address};
use crate::time::Uptime;

/// Most octets that wait for their turn at a live interface with a `rate`. Further datagrams are
/// dropped.
const QUEUE: usize = 4 << 20;
/// After so long without a report, a collector counts as listening again.
const QUIET: Duration = Duration::from_secs(60);
/// How long a replay waits at its end for reports about its last datagrams.
const LATE: Duration = Duration::from_millis(100);

/// All of them.
pub(super) struct Ports {
    when_full: WhenFull,
    ports: BTreeMap<u32, Port>,
    /// Datagrams that wait for their turn, of all interfaces together.
    waiting: usize,
}

/// An interface's socket. The interface keeps it, unless its source address changes.
struct Port {
    transport: Box<dyn Transport>,
    opened_for: OpenedFor,
    to: SocketAddr,
    /// `None`: nothing waits.
    pacer: Option<Pacer>,
    queue: Queue,
    trouble: Option<SendTrouble>,
}

/// The settings that decide which socket is opened. The destination is none of them.
#[derive(Clone, Debug, Eq, PartialEq)]
struct OpenedFor {
    flowsrc: Option<Source>,
    rdomain: Option<Rdomain>,
    is_ipv6: bool,
}

/// Sockets opened for a configuration that is not in force yet.
pub(super) struct OpenedPorts(BTreeMap<u32, Port>);

/// Datagrams that wait for their turn.
#[derive(Default)]
struct Queue {
    datagrams: VecDeque<Vec<u8>>,
    octets: usize,
}

/// A collector that does not get what is sent to it.
struct SendTrouble {
    /// When the last report came.
    latest: Uptime,
    /// Reports since it began.
    reports: u64,
}

impl Queue {
    fn push(&mut self, datagram: &[u8]) {
        self.octets += datagram.len();
        self.datagrams.push_back(datagram.to_vec());
    }

    /// The first `count`.
    fn take(&mut self, count: usize) -> Vec<Vec<u8>> {
        let count = count.min(self.datagrams.len());
        let taken: Vec<_> = self.datagrams.drain(..count).collect();
        self.octets -= taken.iter().map(Vec::len).sum::<usize>();
        taken
    }
}

impl Ports {
    /// None yet.
    pub(super) fn new(when_full: WhenFull) -> Self {
        Self {
            when_full,
            ports: BTreeMap::new(),
            waiting: 0,
        }
    }

    /// Whether datagrams wait for their turn.
    #[inline]
    pub(super) fn is_waiting(&self) -> bool {
        self.waiting > 0
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.ports.len()
    }

    /// Opens the sockets that `config` needs and that are not there.
    pub(super) fn prepare(
        &self,
        config: &Config,
        parent: Option<&Parent>,
        now: Uptime,
    ) -> Result<OpenedPorts, String> {
        let mut opened = BTreeMap::new();
        for (unit, settings) in &config.interfaces {
            let Some(to) = settings.datagrams_to() else {
                continue;
            };
            let opened_for = OpenedFor::new(settings, to);
            if let Some(port) = self.ports.get(unit)
                && port.opened_for == opened_for
                && (port.to == to
                    || transport::can_redirect(settings.flowsrc, settings.rdomain.as_ref()))
            {
                continue;
            }
            let udp = self.open(settings, to, parent, now).map_err(|problem| {
                let source = settings.flowsrc.map(|source| format!("flowsrc {source}"));
                format!(
                    "pflow{unit}: {}: {problem}",
                    source.unwrap_or_else(|| "socket".to_owned())
                )
            })?;
            let port = Port {
                transport: Box::new(udp),
                opened_for,
                to,
                pacer: None,
                queue: Queue::default(),
                trouble: None,
            };
            opened.insert(*unit, port);
        }
        Ok(OpenedPorts(opened))
    }

    /// Opens a socket to send to `to`. A process that has a parent does not bind it itself, because
    /// a sandbox that allows bind(2) allows it for any family.
    fn open(
        &self,
        settings: &Settings,
        to: SocketAddr,
        parent: Option<&Parent>,
        now: Uptime,
    ) -> Result<Udp, String> {
        let from = source_address(settings.flowsrc, to.is_ipv6());
        let rdomain = settings.rdomain.as_ref();
        let socket = match parent {
            Some(parent) => parent.bind(from, rdomain)?,
            None => {
                transport::bind(from, rdomain, self.when_full).map_err(|error| error.to_string())?
            }
        };
        let udp = Udp::new(socket, settings.flowsrc, rdomain, to, now);
        udp.map_err(|error| error.to_string())
    }

    /// Takes what [`Self::prepare`] opened into use and closes what is not needed any more.
    pub(super) fn commit(&mut self, config: &Config, opened: OpenedPorts, now: Uptime) {
        let has_port = |settings: &Settings| settings.carrier == Carrier::Udp;
        self.ports
            .retain(|unit, _| config.interfaces.get(unit).is_some_and(has_port));
        self.ports.extend(opened.0);
        for (unit, settings) in &config.interfaces {
            let Some(port) = self.ports.get_mut(unit) else {
                continue;
            };
            if let Some(to) = settings.datagrams_to()
                && to != port.to
            {
                port.transport.redirect(now, to);
                port.to = to;
                port.trouble = None;
            }
            port.set_rate(self.when_full, settings.rate, now);
        }
    }

    /// Sends everything at once from now on, because the program ends.
    fn hurry(&mut self) {
        for port in self.ports.values_mut() {
            port.pacer = None;
        }
    }

    #[cfg(test)]
    pub(super) fn replace(&mut self, unit: u32, transport: Box<dyn Transport>) {
        self.ports.get_mut(&unit).unwrap().transport = transport;
    }
}

impl OpenedFor {
    fn new(settings: &Settings, to: SocketAddr) -> Self {
        Self {
            flowsrc: settings.flowsrc,
            rdomain: settings.rdomain.clone(),
            is_ipv6: to.is_ipv6(),
        }
    }
}

impl Port {
    fn set_rate(&mut self, when_full: WhenFull, rate: Rate, now: Uptime) {
        let rate = match (rate, when_full) {
            (Rate::PerSecond(rate), _) => Some(rate),
            (Rate::Usual, WhenFull::Wait) => Some(Rate::USUAL),
            (Rate::Usual, WhenFull::Drop) | (Rate::Unlimited, _) => None,
        };
        match (rate, &mut self.pacer) {
            (Some(rate), Some(pacer)) if pacer.rate() == rate => {}
            (Some(rate), pacer) => *pacer = Some(Pacer::new(rate, now)),
            (None, pacer) => *pacer = None,
        }
    }
}

impl Outside {
    /// Sends the datagrams of one interface, or has them wait for their turn.
    pub(super) fn send_from(&mut self, unit: u32, datagrams: &[&[u8]], engine: &mut Engine) {
        let when_full = self.ports.when_full;
        let Some(port) = self.ports.ports.get_mut(&unit) else {
            for datagram in datagrams {
                engine.handle_sent(unit, datagram, Sent::Failed);
            }
            return;
        };
        if port.pacer.is_none() && port.queue.datagrams.is_empty() {
            self.send_now(unit, datagrams, engine);
            return;
        }
        let mut dropped = 0;
        for datagram in datagrams {
            if when_full == WhenFull::Drop && port.queue.octets + datagram.len() > QUEUE {
                engine.handle_sent(unit, datagram, Sent::Overtaken);
                dropped += 1;
            } else {
                port.queue.push(datagram);
                engine.handle_delayed(unit, datagram);
                self.ports.waiting += 1;
            }
        }
        if dropped > 0 {
            let line = format!("pflow{unit}: more than its rate lets go: datagrams are dropped");
            self.complain(&line);
        }
    }

    /// Sends waiting datagrams that may go now. Returns how long the next one has to wait, if there
    /// is one.
    pub(super) fn pump(&mut self, engine: &mut Engine) -> Option<Duration> {
        if !self.ports.is_waiting() {
            return None;
        }
        let units: Vec<u32> = self.ports.ports.keys().copied().collect();
        let mut wait = None;
        for unit in units {
            let now = self.clock.now().uptime;
            let Some(port) = self.ports.ports.get_mut(&unit) else {
                continue;
            };
            let waiting = port.queue.datagrams.len();
            if waiting == 0 {
                continue;
            }
            let may_go = port.pacer.as_mut().map(|pacer| pacer.allow(now, waiting));
            let taken = port.queue.take(may_go.unwrap_or(waiting));
            self.ports.waiting -= taken.len();
            if let Some(pacer) = port.pacer.as_ref().filter(|_| taken.len() < waiting) {
                let next = pacer.wait(now);
                wait = Some(wait.map_or(next, |wait: Duration| wait.min(next)));
            }
            self.release(unit, &taken, engine);
        }
        wait
    }

    /// Sends what waits at `units` as fast as possible, because their destination is about to
    /// change.
    pub(super) fn pump_units(&mut self, units: &[u32], engine: &mut Engine) {
        for unit in units {
            let Some(port) = self.ports.ports.get_mut(unit) else {
                continue;
            };
            let taken = port.queue.take(usize::MAX);
            self.ports.waiting -= taken.len();
            self.release(*unit, &taken, engine);
        }
    }

    /// Sends all that waits, as fast as possible.
    pub(super) fn pump_all(&mut self, engine: &mut Engine) {
        self.ports.hurry();
        self.pump(engine);
    }

    /// Sends what has waited.
    fn release(&mut self, unit: u32, taken: &[Vec<u8>], engine: &mut Engine) {
        let datagrams: Vec<&[u8]> = taken.iter().map(Vec::as_slice).collect();
        for datagram in &datagrams {
            engine.handle_released(unit, datagram);
        }
        self.send_now(unit, &datagrams, engine);
    }

    /// Sends datagrams of one interface, counts what becomes of each, and hands those that went to
    /// its taps.
    fn send_now(&mut self, unit: u32, mut datagrams: &[&[u8]], engine: &mut Engine) {
        let now = self.clock.now().uptime;
        while !datagrams.is_empty() {
            let Some(port) = self.ports.ports.get_mut(&unit) else {
                return;
            };
            let outcome = port.transport.send(now, datagrams);
            let reports = port.transport.take_reports();
            let (count, sent) = match &outcome {
                Ok(count) => (*count, Sent::Yes),
                Err(error) if is_want_of_memory(error) => (1, Sent::NoMemory),
                Err(_) => (1, Sent::Failed),
            };
            let (done, rest) = datagrams.split_at(count.clamp(1, datagrams.len()));
            datagrams = rest;
            let is_tapped = sent == Sent::Yes && self.taps.wants(unit);
            let ends = is_tapped.then(|| port.transport.ends());
            let stamp = engine.latest().map(|now| now.wall).unwrap_or_default();
            for datagram in done {
                engine.handle_sent(unit, datagram, sent);
                if let Some(ends) = ends {
                    let tapped = self.taps.push(unit, ends, stamp, datagram);
                    engine.handle_tapped(unit, tapped.taken, tapped.dropped);
                    if tapped.taken > 0 && ends.0.ip().is_unspecified() {
                        engine.handle_sourceless(unit);
                    }
                }
            }
            if let Err(error) = outcome {
                engine.handle_send_problem(unit, &error);
                self.complain(&format!("pflow{unit}: send: {error}"));
            }
            self.note_reports(unit, reports, now, engine);
        }
    }

    /// Counts reports about datagrams, and tells the log when a trouble begins, now and then while
    /// it lasts, and when it is over.
    fn note_reports(&mut self, unit: u32, reports: Reports, now: Uptime, engine: &mut Engine) {
        let Some(port) = self.ports.ports.get_mut(&unit) else {
            return;
        };
        let to = port.to;
        if reports == Reports::default() {
            let is_over = |trouble: &mut SendTrouble| now.since(trouble.latest) >= QUIET;
            if let Some(trouble) = port.trouble.take_if(is_over) {
                let count = trouble.reports;
                let line = format!("pflow{unit}: no reports from {to} any more, {count} in all");
                self.log.info(&line);
                engine.handle_reports(unit, reports);
            }
            return;
        }
        engine.handle_reports(unit, reports);
        let trouble = port.trouble.get_or_insert(SendTrouble {
            latest: now,
            reports: 0,
        });
        trouble.latest = now;
        trouble.reports += reports.refused + reports.unreachable;
        if reports.refused > 0 {
            self.complain(&format!("pflow{unit}: nobody listens at {to}"));
        }
        if reports.unreachable > 0 {
            self.complain(&format!("pflow{unit}: {to} cannot be reached"));
        }
    }

    /// Asks for reports of what was sent last.
    pub(super) fn collect_reports(&mut self, engine: &mut Engine) {
        let now = self.clock.now().uptime;
        let units: Vec<u32> = self.ports.ports.keys().copied().collect();
        for unit in units {
            let port = self.ports.ports.get_mut(&unit);
            let reports = port.map(|port| port.transport.take_reports());
            self.note_reports(unit, reports.unwrap_or_default(), now, engine);
        }
    }

    /// Whether there were datagrams for collectors and none could be sent, by the reports that come
    /// within [`LATE`].
    pub(super) fn has_sent_nothing(&mut self, engine: &mut Engine) -> bool {
        let is_anything_sent = |engine: &Engine| {
            let interfaces = engine.interfaces().iter();
            interfaces.fold((0, 0), |(made, arrived), interface| {
                let counters = &interface.counters;
                (made + counters.built(), arrived + counters.unreported())
            })
        };
        if is_anything_sent(engine).0 == 0 {
            return false;
        }
        std::thread::sleep(LATE);
        self.collect_reports(engine);
        is_anything_sent(engine).1 == 0
    }

    /// Tells the log of a problem, at a limited rate.
    pub(super) fn complain(&mut self, problem: &str) {
        let now = self.clock.now().uptime;
        if let Some(line) = self.limiter.admit(now, problem) {
            self.log.warn(&line);
        }
    }
}

/// Whether the system had no room for a datagram.
fn is_want_of_memory(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock || error.raw_os_error() == Some(libc::ENOBUFS)
}
