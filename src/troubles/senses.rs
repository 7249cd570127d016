//! What there are signs of now, read off counters; and what has to be remembered for that between
//! two looks.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use super::rates::{Portion, Rise};
use super::sign::{Cause, Sign, Source, Told};
use crate::counters::{InterfaceCounters, Reason};
use crate::engine::Engine;
use crate::export::{Connection, Interface};
use crate::table::SenderRecord;
use crate::time::{Now, Uptime};
use crate::wire::link::Skip;
use crate::wire::pfsync::Action;

/// How long nothing is heard at the start before that is a trouble, and later on.
const UNHEARD: Duration = Duration::from_secs(10);
const SILENCE: Duration = Duration::from_secs(30);
/// What counted up within this is a sign still.
const RECENT: Duration = Duration::from_secs(10);
/// States of a firewall none of which is marked, from the start on.
const UNMARKED: u64 = 10;
/// The same, and for how long, once some were.
const UNMARKED_LATER: (u64, Duration) = (100, Duration::from_secs(60));
/// Updates by which the share of those not known is told, and how long they are waited for.
const UPDATES: u64 = 10;
const UPDATES_WITHIN: Duration = Duration::from_secs(10);
/// Percent of updates not known with which that trouble begins, and with fewer of which it ends.
const UNKNOWN: [u64; 2] = [90, 50];
/// Packets by which a sender is judged, and the percent of them that cannot be read.
const PACKETS: u64 = 5;
const UNREADABLE: u64 = 90;
/// How long a step of a clock is told of.
const STEPPED: Duration = Duration::from_secs(600);
/// How long ago both firewalls with one host id must have used it.
const BOTH: Duration = Duration::from_secs(30);
/// Percent of a spool's size with which it is filling, and with fewer of which it is not.
const FILLING: [u64; 2] = [80, 60];

/// Whether this host's pf answers.
fn sign_of_pf(engine: &Engine) -> Option<Sign> {
    let problem = engine.pf_problem()?;
    Some(Sign {
        cause: Cause::Pf,
        subject: "pf".to_owned(),
        what: format!("pf does not tell its states: {problem}"),
        remedy: "flows have what pfsync tells until then; it is asked again".to_owned(),
        told: Told::Nothing,
    })
}

/// Of a sender.
#[derive(Clone, Copy, Debug, Default)]
struct SenderSense {
    /// States marked, and how many were learned when the last one was.
    marked: Rise,
    learned_then: u64,
    updates: Portion,
    is_unknown: bool,
    packets: Portion,
    /// The offset of its clock, and when it changed.
    offset: i64,
    stepped: Option<Uptime>,
}

/// Of an interface.
#[derive(Clone, Debug, Default)]
struct InterfaceSense {
    sent: Rise,
    dropped: Rise,
    problem: Option<(String, Uptime)>,
    is_filling: bool,
}

/// What is remembered.
#[derive(Debug, Default)]
pub(super) struct Senses {
    begun: Option<Uptime>,
    messages: Rise,
    ttl: Rise,
    evicted: Rise,
    sources: Vec<Rise>,
    senders: Vec<SenderSense>,
    interfaces: BTreeMap<u32, InterfaceSense>,
    host_ids: Vec<[Rise; 2]>,
}

impl Senses {
    /// What there are signs of.
    pub(super) fn signs(&mut self, engine: &Engine, sources: &[Source], now: Now) -> Vec<Sign> {
        let mut signs = Vec::new();
        self.hear(engine, sources, now.uptime, &mut signs);
        self.watch_sources(sources, now.uptime, &mut signs);
        self.watch_interfaces(engine, now.uptime, &mut signs);
        self.watch_senders(engine, now.uptime, &mut signs);
        self.watch_host_ids(engine, now.uptime, &mut signs);
        self.watch_table(engine, now.uptime, &mut signs);
        signs.extend(sign_of_pf(engine));
        signs
    }

    pub(super) fn last_sent(&self, unit: u32) -> Option<Uptime> {
        self.interfaces.get(&unit)?.sent.rose
    }

    pub(super) fn last_problem(&self, unit: u32) -> Option<(&str, Uptime)> {
        let (problem, at) = self.interfaces.get(&unit)?.problem.as_ref()?;
        Some((problem, *at))
    }

    pub(super) fn unknown_share(&self, sender: usize) -> Option<u64> {
        self.senders.get(sender)?.updates.percent
    }

    /// Whether pfsync comes at all, and from the next link.
    fn hear(&mut self, engine: &Engine, sources: &[Source], now: Uptime, signs: &mut Vec<Sign>) {
        let begun = *self.begun.get_or_insert(now);
        let packets = engine.packet_counters();
        self.messages.note(packets.messages(), now);
        let bad_ttl = Reason::from(Skip::BadTtl).name();
        let bad_ttl = packets.reasons().find(|reason| reason.name == bad_ttl);
        self.ttl.note(bad_ttl.map_or(0, |reason| reason.value), now);
        let names: Vec<_> = sources.iter().map(|source| &*source.name).collect();
        let names = names.join(", ");
        if self.ttl.is_within(now, RECENT) {
            signs.push(Sign {
                cause: Cause::Ttl,
                what: "pfsync with a TTL that is not 255 is left out".to_owned(),
                remedy: "it passed a router, or no pf sent it: listen on the sync network itself"
                    .to_owned(),
                subject: names,
                told: Told::Nothing,
            });
            return;
        }
        let (last, longest) = match self.messages.rose {
            Some(rose) => (rose, SILENCE),
            None => (begun, UNHEARD),
        };
        let silent = now.since(last);
        if silent < longest || sources.iter().any(|source| source.problem.is_some()) {
            return;
        }
        let secs = silent.as_secs();
        let captured = match sources.iter().map(|source| source.counters.packets).sum() {
            0 => "no packets at all".to_owned(),
            packets => format!("{packets} packets came since the start"),
        };
        signs.push(Sign {
            cause: Cause::Silent,
            what: format!("no pfsync packets on {names} for {secs} seconds"),
            remedy: format!(
                "is it the sync network, does pfsync run on the firewall with it as syncdev? \
                 ({captured})"
            ),
            subject: names,
            told: Told::Nothing,
        });
    }

    fn watch_sources(&mut self, sources: &[Source], now: Uptime, signs: &mut Vec<Sign>) {
        self.sources.resize(sources.len(), Rise::default());
        for (source, rise) in sources.iter().zip(&mut self.sources) {
            let Source { name, counters, .. } = source;
            let dropped = counters.kernel_dropped + counters.interface_dropped;
            rise.note(dropped, now);
            if rise.is_within(now, RECENT) {
                signs.push(Sign {
                    cause: Cause::Dropping,
                    subject: name.clone(),
                    what: format!("{name}: {dropped} packets were dropped before they were read"),
                    remedy: "pflow gets too little processor time, or the capture buffer is small"
                        .to_owned(),
                    told: Told::Nothing,
                });
            }
            if let Some(problem) = &source.problem {
                signs.push(Sign {
                    cause: Cause::CaptureLost,
                    subject: name.clone(),
                    what: format!("{name}: capture lost: {problem}"),
                    remedy: "bring the interface up again: it is tried every second".to_owned(),
                    told: Told::Both,
                });
            }
        }
    }

    fn watch_senders(&mut self, engine: &Engine, now: Uptime, signs: &mut Vec<Sign>) {
        let senders = engine.table().senders();
        self.senders.resize(senders.len(), SenderSense::default());
        for (record, sense) in senders.iter().zip(&mut self.senders) {
            if record.packets.packets() == 0 {
                continue;
            }
            sense.watch_packets(record, now, signs);
            if !engine.exports_all() {
                sense.watch_marks(record, now, signs);
            }
            sense.watch_updates(record, now, signs);
            sense.watch_clock(record, now, signs);
        }
    }

    fn watch_host_ids(&mut self, engine: &Engine, now: Uptime, signs: &mut Vec<Sign>) {
        let shared = engine.table().shared_host_ids();
        self.host_ids.resize(shared.len(), <[Rise; 2]>::default());
        let senders = engine.table().senders();
        for (shared, rises) in shared.iter().zip(&mut self.host_ids) {
            let records = shared.senders.map(|id| senders.get(id.index()));
            let [Some(one), Some(other)] = records else {
                continue;
            };
            for (record, rise) in [one, other].into_iter().zip(rises.iter_mut()) {
                let mut creators = record.creators().iter();
                let creator = creators.find(|one| one.creatorid == shared.creatorid);
                let messages = creator.map_or(0, |one| one.actions().map(|(_, count)| count).sum());
                rise.note(messages, now);
            }
            if rises.iter().all(|rise| rise.is_within(now, BOTH)) {
                let (one, other) = (one.sender, other.sender);
                let creatorid = shared.creatorid;
                signs.push(Sign {
                    cause: Cause::HostId,
                    subject: format!("host id {creatorid:08x}"),
                    what: format!("{one} and {other} both use host id {creatorid:08x}"),
                    remedy: "give one of them another hostid in its pf.conf".to_owned(),
                    told: Told::Begin,
                });
            }
        }
    }

    fn watch_table(&mut self, engine: &Engine, now: Uptime, signs: &mut Vec<Sign>) {
        let table = engine.table();
        self.evicted.note(table.counters.evicted, now);
        if self.evicted.is_within(now, RECENT) {
            let held = table.len();
            signs.push(Sign {
                cause: Cause::TableFull,
                subject: "states".to_owned(),
                what: format!("states are ended to make room, {held} are held"),
                remedy: "raise -m, or states in pflow.conf".to_owned(),
                told: Told::Nothing,
            });
        }
        if let Some(problem) = engine.keep_problem() {
            let file = engine.config().keep.file.as_deref().unwrap_or_default();
            signs.push(Sign {
                cause: Cause::Disk,
                subject: format!("keep file {file}"),
                what: format!("keep file {file}: {problem}"),
                remedy: "make room, or keep it elsewhere".to_owned(),
                told: Told::Begin,
            });
        }
    }

    fn watch_interfaces(&mut self, engine: &Engine, now: Uptime, signs: &mut Vec<Sign>) {
        let interfaces = engine.interfaces();
        if interfaces.is_empty() && !engine.is_printing() {
            signs.push(Sign {
                cause: Cause::NoInterface,
                subject: "pflow".to_owned(),
                what: "no pflowN is there: flows go nowhere".to_owned(),
                remedy: "say where: pflowctl pflow0 flowdst address:port".to_owned(),
                told: Told::Nothing,
            });
        }
        let is_there = |unit| interfaces.iter().any(|one| one.unit() == unit);
        self.interfaces.retain(|unit, _| is_there(*unit));
        for interface in interfaces {
            let sense = self.interfaces.entry(interface.unit()).or_default();
            let before = signs.len();
            sense.watch_running(interface, signs);
            sense.watch_sending(interface, signs);
            sense.watch_connection(interface, signs);
            sense.watch_disk(interface, signs);
            let of_way = signs.get(before..).unwrap_or_default();
            if let Some(sign) = of_way.first().filter(|sign| sign.cause != Cause::Idle) {
                sense.problem = Some((sign.what.clone(), now));
            }
            let is_known = !of_way.is_empty();
            sense.watch_losses(interface, is_known, now, signs);
        }
    }
}

impl SenderSense {
    fn watch_packets(&mut self, record: &SenderRecord, now: Uptime, signs: &mut Vec<Sign>) {
        let all = record.packets.packets();
        let unread = all.saturating_sub(record.packets.whole);
        self.packets.note(unread, all, PACKETS, RECENT, now);
        if self
            .packets
            .percent
            .is_some_and(|percent| percent >= UNREADABLE)
        {
            let sender = record.sender;
            let most = record.packets.reasons().max_by_key(|reason| reason.value);
            let why = most.map_or("", |reason| reason.help);
            signs.push(Sign {
                cause: Cause::Unreadable,
                subject: sender.to_string(),
                what: format!("most packets of {sender} cannot be read: {why}"),
                remedy: "is it pf? pflowctl show senders counts why".to_owned(),
                told: match record.is_version_logged {
                    true => Told::Begin,
                    false => Told::Nothing,
                },
            });
        }
    }

    fn watch_marks(&mut self, record: &SenderRecord, now: Uptime, signs: &mut Vec<Sign>) {
        let learned = record.counters.learned;
        let marked = learned.saturating_sub(record.counters.unmarked);
        let before = self.marked.rose;
        self.marked.note(marked, now);
        if self.marked.rose != before {
            self.learned_then = learned;
        }
        let streak = learned - self.learned_then;
        let (many, long) = UNMARKED_LATER;
        let is_unmarked = match self.marked.rose {
            None => streak >= UNMARKED,
            Some(rose) => streak >= many && now.since(rose) >= long,
        };
        if is_unmarked {
            let sender = record.sender;
            signs.push(Sign {
                cause: Cause::Unmarked,
                subject: sender.to_string(),
                what: format!("none of the last {streak} states of {sender} is marked pflow"),
                remedy: "say \"set state-defaults pflow\" in its pf.conf, or start pflow with -a"
                    .to_owned(),
                told: Told::Nothing,
            });
        }
    }

    fn watch_updates(&mut self, record: &SenderRecord, now: Uptime, signs: &mut Vec<Sign>) {
        let is_update = |action: &Action| *action == Action::UpdateCompressed;
        let mut actions = record.packets.actions();
        let updates = actions.find(|(action, _)| is_update(action));
        let updates = updates.map_or(0, |(_, count)| count);
        let unknown = record.counters.unknown_updates;
        self.updates
            .note(unknown, updates, UPDATES, UPDATES_WITHIN, now);
        let [begins, ends] = UNKNOWN;
        let percent = self.updates.percent.unwrap_or(0);
        self.is_unknown = percent >= if self.is_unknown { ends } else { begins };
        if self.is_unknown {
            let sender = record.sender;
            signs.push(Sign {
                cause: Cause::Unknown,
                subject: sender.to_string(),
                what: format!("{percent}% of the updates of {sender} are of states not known"),
                remedy: "they began before pflow, which learns them anew as they end and begin; \
                         solicit asks for them now"
                    .to_owned(),
                told: Told::Nothing,
            });
        }
    }

    fn watch_clock(&mut self, record: &SenderRecord, now: Uptime, signs: &mut Vec<Sign>) {
        let offset = record.clock_offset();
        if std::mem::replace(&mut self.offset, offset) != offset {
            self.stepped = Some(now);
        }
        let sender = record.sender;
        let remedy = "run ntpd(8) on all, and let no virtual machine pause".to_owned();
        let is_recent = |stepped: Uptime| now.since(stepped) < STEPPED;
        if offset != 0 && self.stepped.is_some_and(is_recent) {
            signs.push(Sign {
                cause: Cause::Clocks,
                subject: format!("clock of {sender}"),
                what: format!("clock of {sender} moved by {offset} s"),
                remedy,
                told: Told::Begin,
            });
        } else if let Some(by) = record.seconds_apart() {
            let (secs, which) = (by.abs(), if by < 0 { "earlier" } else { "later" });
            signs.push(Sign {
                cause: Cause::Clocks,
                subject: format!("clock of {sender}"),
                what: format!(
                    "clocks differ: {sender} has states begin {secs} s {which} than its peer"
                ),
                remedy,
                told: Told::Nothing,
            });
        }
    }
}

impl InterfaceSense {
    fn watch_running(&self, interface: &Interface, signs: &mut Vec<Sign>) {
        let (unit, settings) = (interface.unit(), interface.settings());
        if interface.is_running() {
            return;
        }
        let (what, word) = match settings.is_up {
            true => ("has no flowdst", "flowdst address:port"),
            false => ("is down", "up"),
        };
        signs.push(Sign {
            cause: Cause::Idle,
            subject: format!("pflow{unit}"),
            what: format!("pflow{unit} {what}: it sends nothing"),
            remedy: format!("pflowctl pflow{unit} {word}"),
            told: Told::Nothing,
        });
    }

    /// What a datagram met, and what is reported of those sent.
    fn watch_sending(&self, interface: &Interface, signs: &mut Vec<Sign>) {
        let (unit, settings) = (interface.unit(), interface.settings());
        let Some(to) = settings.flowdst.filter(|_| interface.is_running()) else {
            return;
        };
        let (cause, what, remedy, told) = if let Some((kind, problem)) = interface.send_problem() {
            let from = settings.flowsrc;
            let (cause, problem, remedy) = unsent(kind, problem, from, to);
            (cause, problem, remedy, Told::Begin)
        } else if let Some(problem) = interface.session().state().problem() {
            match interface.session().state() == crate::export::Reachability::Refused {
                true => (
                    Cause::Refused,
                    format!("{problem} at {to}"),
                    "start the collector there, or correct flowdst",
                    Told::Both,
                ),
                false => (
                    Cause::Unreachable,
                    format!("{to} {problem}"),
                    "a router, or a packet filter there, says so",
                    Told::Both,
                ),
            }
        } else {
            return;
        };
        signs.push(Sign {
            cause,
            subject: format!("pflow{unit}"),
            what: format!("pflow{unit}: {what}"),
            remedy: remedy.to_owned(),
            told,
        });
    }

    fn watch_connection(&self, interface: &Interface, signs: &mut Vec<Sign>) {
        let unit = interface.unit();
        let what = match interface.connection() {
            None | Some(Connection::Connected(_)) => return,
            Some(Connection::Down { to, problem, .. }) => format!("pflow{unit}: {to}: {problem}"),
            Some(Connection::Connecting(to)) => match &self.problem {
                Some((problem, _)) => problem.clone(),
                None => format!("pflow{unit}: {to} does not answer"),
            },
        };
        signs.push(Sign {
            cause: Cause::NotConnected,
            subject: format!("pflow{unit}"),
            what,
            remedy: "is the collector up there, and does no packet filter stand between?"
                .to_owned(),
            told: Told::Both,
        });
    }

    fn watch_disk(&mut self, interface: &Interface, signs: &mut Vec<Sign>) {
        let unit = interface.unit();
        let remedy = || "make room on that disk".to_owned();
        if let Some(problem) = &interface.file().problem {
            signs.push(Sign {
                cause: Cause::Disk,
                subject: format!("pflow{unit}"),
                what: format!("pflow{unit}: file: {problem}"),
                remedy: remedy(),
                told: Told::Both,
            });
        }
        let (Some(spool), Some(set)) = (interface.spool(), interface.settings().spool()) else {
            return;
        };
        let directory = &set.directory;
        if spool.is_refused {
            signs.push(Sign {
                cause: Cause::Disk,
                subject: format!("pflow{unit}"),
                what: format!("pflow{unit}: spool {directory} cannot be written"),
                remedy: remedy(),
                told: Told::Both,
            });
        }
        let percent = spool.octets.saturating_mul(100) / set.octets.max(1);
        let [begins, ends] = FILLING;
        self.is_filling = percent >= if self.is_filling { ends } else { begins };
        if self.is_filling {
            signs.push(Sign {
                cause: Cause::SpoolFilling,
                subject: format!("pflow{unit}"),
                what: format!("pflow{unit}: spool {directory} is filled to {percent}%"),
                remedy: "records are lost once it is full: see to the collector".to_owned(),
                told: Told::Nothing,
            });
        }
    }

    /// What was sent, and what was dropped though nothing else is known to be wrong.
    fn watch_losses(
        &mut self,
        interface: &Interface,
        is_known: bool,
        now: Uptime,
        signs: &mut Vec<Sign>,
    ) {
        let InterfaceCounters {
            datagrams,
            unqueued,
            overtaken,
            no_memory,
            ..
        } = interface.counters;
        self.sent.note(datagrams, now);
        self.dropped.note(unqueued + overtaken + no_memory, now);
        if is_known || !self.dropped.is_within(now, RECENT) {
            return;
        }
        let unit = interface.unit();
        let remedy = match (overtaken, no_memory) {
            (1.., _) => "raise its rate",
            (_, 1..) => "the system has no buffers for so much at once",
            _ => "the collector reads too slowly, or raise its queue",
        };
        signs.push(Sign {
            cause: Cause::Losing,
            subject: format!("pflow{unit}"),
            what: format!("pflow{unit}: messages are dropped before they are sent"),
            remedy: remedy.to_owned(),
            told: Told::Begin,
        });
    }
}

/// Why a datagram to `to` could not be sent, and what to do about it.
fn unsent(
    kind: io::ErrorKind,
    problem: &str,
    from: Option<crate::export::Source>,
    to: SocketAddr,
) -> (Cause, String, &'static str) {
    let is_way = matches!(
        kind,
        io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::InvalidInput
            | io::ErrorKind::AddrNotAvailable
    );
    match from.filter(|from| !from.address.is_unspecified()) {
        // Systems do not tell a wrong source from a missing route.
        Some(from) if is_way => (
            Cause::BadSource,
            format!("no way from flowsrc {from} to {to}: {problem}"),
            "is it an address of this host still, is there a route?",
        ),
        None if is_way => (
            Cause::NoRoute,
            format!("no route to {to}: {problem}"),
            "add one",
        ),
        _ => (
            Cause::SendFails,
            format!("send to {to}: {problem}"),
            "the system says so",
        ),
    }
}
