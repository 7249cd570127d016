//! Floor 4: asking firewalls for what pfsync leaves out: whole states, with their counters.
//!
//! ```text
//! Table --events--> Schedule: whom to ask when --ready--> rate --> packets --> Requests
//!                   Unknown: states never seen whole ---> rate -->
//!                   Bulk: everything, at the start and after a gap ----------->
//! ```
//! A request is heard by every firewall that knows the state, and each answers with what itself
//! counted, to the group or to its syncpeer (if_pfsync.c, `pfsync_in_ureq`). It goes out in the dialect of
//! the sender that showed activity last, because a firewall takes no version but its own.
//!
//! Nothing here sends: what there is to send stands in [`Requests`].

mod bulk;
mod schedule;
#[cfg(test)]
mod tests;
mod unknown;
mod wheel;

use std::net::IpAddr;
use std::time::Duration;

use crate::counters::SolicitCounters;
use crate::state::{StateId, Timeouts};
use crate::table::{Event, Sender, SenderRecord, Table};
use crate::time::{Now, Uptime};
use crate::wire::pfsync::{Dialect, request};
use bulk::Bulk;
use schedule::Schedule;
use unknown::{Outcome, Unknown};

/// Requests a second, unless set.
pub const DEFAULT_RATE: u32 = 1000;
/// Most requests a second that can be set.
pub const MAX_RATE: u32 = 100_000;

/// Octets of the largest packet, IP header included: an Ethernet's.
const MTU: usize = 1500;
/// Octets of an IPv4 header.
const IPV4: usize = 20;
/// Octets of an IPv6 header.
const IPV6: usize = 40;

/// How to ask.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Settings {
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

/// Where a packet of requests goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Destination {
    /// 224.0.0.240.
    Group4,
    /// ff12::f0 on the interface (FreeBSD 14 and later).
    Group6,
    /// A firewall.
    Address(IpAddr),
}

impl Destination {
    /// Octets that the IP header leaves.
    fn room(self) -> usize {
        match self {
            Self::Group4 | Self::Address(IpAddr::V4(_)) => MTU - IPV4,
            Self::Group6 | Self::Address(IpAddr::V6(_)) => MTU - IPV6,
        }
    }
}

/// How a sender is asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Route {
    /// What it reads.
    pub dialect: Dialect,
    /// Where it listens.
    pub to: Destination,
}

impl Route {
    /// How to ask the sender of `record`. This host's own firewall cannot be asked: it does not
    /// hear what its host sends (if_pfsync.c, `pfsync_input`).
    fn to(record: &SenderRecord, peers: &[IpAddr]) -> Option<Self> {
        let Sender::Address(address) = record.sender else {
            return None;
        };
        let to = match address {
            _ if peers.contains(&address) => Destination::Address(address),
            _ if !peers.is_empty() => return None,
            IpAddr::V4(_) => Destination::Group4,
            IpAddr::V6(_) => Destination::Group6,
        };
        let dialect = record.dialect?;
        Some(Self { dialect, to })
    }
}

/// Octets that requests keep room for.
const USUAL_OCTETS: usize = 1 << 18;

/// Packets ready to be sent, from the pfsync header on, in order.
#[derive(Debug, Default)]
pub struct Requests {
    octets: Vec<u8>,
    packets: Vec<(Destination, usize)>,
}

impl Requests {
    /// Appends packets that ask for `ids`.
    fn push(&mut self, route: Route, mut ids: &[StateId]) {
        while !ids.is_empty() {
            let start = self.octets.len();
            let written = request::write(route.dialect, ids, route.to.room(), &mut self.octets);
            let Some(rest) = ids.get(written.max(1)..) else {
                return;
            };
            self.packets.push((route.to, self.octets.len() - start));
            ids = rest;
        }
    }

    /// The packets, each with where it goes.
    pub fn iter(&self) -> impl Iterator<Item = (Destination, &[u8])> {
        let mut start = 0;
        self.packets.iter().map(move |(to, len)| {
            let packet = self.octets.get(start..start + len).unwrap_or_default();
            start += len;
            (*to, packet)
        })
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// Forgets what was sent, and gives back what a burst took.
    pub fn clear(&mut self) {
        self.octets.clear();
        self.packets.clear();
        self.octets.shrink_to(USUAL_OCTETS);
        self.packets.shrink_to(USUAL_OCTETS / 1024);
    }
}

/// Whom to ask, when, and what came of it.
pub struct Solicitor {
    settings: Settings,
    schedule: Schedule,
    unknown: Unknown,
    bulk: Bulk,
    requests: Requests,
    /// States to ask for, by route, for the packets of one turn.
    batches: Vec<(Route, Vec<StateId>)>,
    events: Vec<Event>,
    /// What was asked.
    pub counters: SolicitCounters,
}

impl Solicitor {
    /// One that knows no state yet, at `now`.
    pub fn new(now: Now, settings: Settings) -> Self {
        Self {
            schedule: Schedule::new(now.uptime, &settings),
            settings,
            unknown: Unknown::default(),
            bulk: Bulk::default(),
            requests: Requests::default(),
            batches: Vec::new(),
            events: Vec::new(),
            counters: SolicitCounters::default(),
        }
    }

    /// Changes how to ask.
    pub fn set(&mut self, settings: Settings) {
        self.schedule.set(&settings);
        self.settings = settings;
    }

    /// Octets of memory taken for states that are held.
    pub fn octets(&self) -> u64 {
        self.schedule.octets() as u64
    }

    /// Takes in what happened in the table.
    pub fn take(&mut self, now: Now, table: &mut Table) {
        let mut events = std::mem::take(&mut self.events);
        table.take_events(&mut events);
        for event in events.drain(..) {
            match event {
                Event::Bus { sender, status } => {
                    let route = Route::to(table.record_of(sender), &self.settings.peers);
                    if let Some(route) = route {
                        self.bulk.bus(now.uptime, route, status, &mut self.counters);
                    }
                }
                Event::Unknown { id, sender } => {
                    self.unknown
                        .heard(now.uptime, id, sender, &mut self.counters);
                }
                Event::UnknownEnded { id } => self.unknown.ended(id),
                Event::Requested { sender, .. } | Event::RequestedOther { sender } => {
                    let is_own = table.record_of(sender).sender == Sender::Local;
                    if is_own {
                        self.counters.heard_own += 1;
                        continue;
                    }
                    self.counters.heard_others += 1;
                    self.schedule.handle(now.uptime, event, &mut self.counters);
                }
                event => self.schedule.handle(now.uptime, event, &mut self.counters),
            }
        }
        self.events = events;
    }

    /// A packet came from the sender of `record`.
    pub fn heard(&mut self, now: Now, record: &SenderRecord) {
        if let Some(route) = Route::to(record, &self.settings.peers) {
            self.bulk.heard(now.uptime, route, &mut self.counters);
        }
    }

    /// Packets were lost on their way here.
    pub fn lost(&mut self, now: Now) {
        self.bulk.lost(now.uptime);
    }

    /// When [`Self::handle_timeout`] has something to do.
    pub fn poll_timeout(&self) -> Option<Uptime> {
        let timeouts = [
            self.schedule.poll_timeout(),
            self.unknown.poll_timeout(),
            self.bulk.poll_timeout(),
        ];
        timeouts.into_iter().flatten().min()
    }

    /// Makes the requests that are due.
    pub fn handle_timeout(&mut self, now: Now, table: &Table) {
        let Self {
            settings,
            schedule,
            unknown,
            bulk,
            batches,
            counters,
            requests,
            ..
        } = self;
        bulk.handle_timeout(now.uptime, counters, &mut |route| {
            requests.push(route, &[request::EVERYTHING]);
        });
        let route = |sender| Route::to(table.record_of(sender), &settings.peers);
        let mut ask = |place, sender| {
            let Some(route) = route(sender) else {
                return false;
            };
            add(batches, route, table.state_at(place));
            true
        };
        schedule.handle_timeout(now.uptime, counters, &mut ask);
        let is_known = |id| table.holds(id);
        let mut ask = |id, sender| {
            let Some(route) = route(sender) else {
                return match table.record_of(sender).dialect {
                    None => Outcome::NotYet,
                    Some(_) => Outcome::Unaskable,
                };
            };
            if bulk.is_under_way(now.uptime, route) || !schedule.take_turn(now.uptime) {
                return Outcome::NotYet;
            }
            add(batches, route, table.wire_id(id));
            Outcome::Asked
        };
        unknown.handle_timeout(now.uptime, counters, &is_known, &mut ask);
        for (route, ids) in batches.drain(..) {
            requests.push(route, &ids);
        }
    }

    /// Notes what became of a packet.
    pub fn handle_sent(&mut self, octets: usize, is_sent: bool) {
        let counters = &mut self.counters;
        if is_sent {
            counters.packets += 1;
            counters.octets += octets as u64;
        } else {
            counters.send_errors += 1;
        }
    }

    /// Packets to send; the caller clears it.
    pub fn requests(&mut self) -> &mut Requests {
        &mut self.requests
    }
}

/// Adds a state to those that are asked for by one route.
fn add(batches: &mut Vec<(Route, Vec<StateId>)>, route: Route, id: StateId) {
    match batches.iter_mut().find(|(other, _)| *other == route) {
        Some((_, ids)) => ids.push(id),
        None => batches.push((route, vec![id])),
    }
}
