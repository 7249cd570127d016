//! Floor 4: asking firewalls for what pfsync leaves out: whole states, with their counters.
//!
//! ```text
//! Table --events--> Schedule: whom to ask when --ready--> rate --+--> packets --> Requests
//!                   Unknown: states never seen whole ---> rate --+--> pf: states to ask it for
//!                   Bulk: everything, at the start and after a gap -> packets
//! ```
//! Every firewall that knows the state hears a request. Each answers with what it counted itself,
//! to the group or to its syncpeer (if_pfsync.c, `pfsync_in_ureq`). The request goes out in the
//! dialect of the sender that showed activity last, because a firewall takes no version but its
//! own.
//!
//! The firewall that this program runs on is asked another way: pf itself, by ioctl(2).
//!
//! Nothing here sends. What there is to send stands in [`Requests`]. What pf is to be asked for
//! stands in [`Solicitor::pf_requests`].

mod bulk;
pub mod pf;
mod schedule;
mod settings;
#[cfg(test)]
mod tests;
mod unknown;
mod way;
mod wheel;

use std::time::Duration;

use crate::counters::{PfCounters, SolicitCounters};
use crate::state::StateId;
use crate::table::{Event, Sender, SenderRecord, Table};
use crate::time::{Now, Uptime};
use crate::wire::pfsync::request;
use bulk::Bulk;
use schedule::Schedule;
pub use settings::{DEFAULT_RATE, MAX_RATE, Settings};
use unknown::{Outcome, Unknown};
use way::Way;
pub use way::{Destination, Requests, Route};

/// Whom to ask, when, and what came of it.
pub struct Solicitor {
    settings: Settings,
    schedule: Schedule,
    unknown: Unknown,
    bulk: Bulk,
    requests: Requests,
    /// States to ask pf for.
    pf_requests: Vec<StateId>,
    /// States to ask for, by route, for the packets of one turn.
    batches: Vec<(Route, Vec<StateId>)>,
    events: Vec<Event>,
    /// What was asked.
    pub counters: SolicitCounters,
    /// What pf was asked.
    pub pf: PfCounters,
    /// Why pf does not answer.
    pub pf_problem: Option<String>,
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
            pf_requests: Vec::new(),
            batches: Vec::new(),
            events: Vec::new(),
            counters: SolicitCounters::default(),
            pf: PfCounters::default(),
            pf_problem: None,
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
                    let route = Route::to(table.record_of(sender), &self.settings);
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
        if let Some(route) = Route::to(record, &self.settings) {
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
            pf_requests,
            ..
        } = self;
        bulk.handle_timeout(now.uptime, counters, &mut |route| {
            requests.push(route, &[request::EVERYTHING]);
        });
        let way = |sender| Way::to(table.record_of(sender), settings);
        let mut add = |way, id| match way {
            Way::Network(route) => add(batches, route, id),
            Way::Pf => pf_requests.push(id),
        };
        let mut ask = |place, sender| {
            let way = way(sender);
            if let Some(way) = way {
                add(way, table.state_at(place));
            }
            way.is_some()
        };
        schedule.handle_timeout(now.uptime, counters, &mut ask);
        let is_known = |id| table.holds(id);
        let mut ask = |id, sender| {
            let Some(way) = way(sender) else {
                return match table.record_of(sender).dialect {
                    None => Outcome::NotYet,
                    Some(_) => Outcome::Unaskable,
                };
            };
            let is_coming = match way {
                Way::Network(route) => bulk.is_under_way(now.uptime, route),
                Way::Pf => false,
            };
            if is_coming || !schedule.take_turn(now.uptime) {
                return Outcome::NotYet;
            }
            add(way, table.wire_id(id));
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

    /// Whether this host's pf is asked.
    pub fn asks_pf(&self) -> bool {
        self.settings.is_pf
    }

    /// States to ask pf for; the caller takes them out.
    pub fn pf_requests(&mut self) -> &mut Vec<StateId> {
        &mut self.pf_requests
    }

    /// pf does not know a state that it was asked for.
    pub fn handle_gone(&mut self, table: &Table, id: StateId) {
        self.pf.gone += 1;
        match table.place_of_local(id) {
            Some(place) => self.schedule.gone(place, &mut self.counters),
            None => self.unknown.gone(id, &mut self.counters),
        }
    }

    /// All states were read for what pf was asked for, so many and in such a time: how long it may
    /// take until they are read the next time.
    pub fn note_pf_read(&mut self, states: u64, cost: Duration) {
        self.pf.reads += 1;
        self.pf.read_states = states;
        let micros = u64::try_from(cost.as_micros()).unwrap_or(u64::MAX);
        self.pf.read_micros = self.pf.read_micros.saturating_add(micros);
        let pause = pf::pause_after(cost);
        self.schedule.set_pf_delay(pause);
        self.unknown.set_pf_delay(pause);
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
