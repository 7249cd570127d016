//! One pflow interface: its settings, whether it runs, its encoder, what its collector knows, and
//! its counters.
//!
//! ```text
//!            flowdst with address and port, up
//!   UP  ------------------------------------------->  UP,RUNNING     flows are packed
//!       <-------------------------------------------
//!                down, -flowdst                       flows are counted, nothing else
//! ```
//! The flags, and what makes an interface RUNNING, are pflow(4)'s (if_pflow.c, `pflow_set`,
//! `pflowioctl`). Sequence numbers live as long as the interface.

mod offer;
#[cfg(test)]
mod tests;

use std::io;

use super::encoder::Encoder;
use super::outbox::{Stamp, To};
use super::per_domain::COMMON;
use super::session::{Reachability, Session};
use super::statistics::Statistics;
use super::{
    Connection, Domain, FileState, Format, IcmpPorts, Order, Outbox, Settings, SpoolState,
    Templates, Transmit, Way,
};
use crate::counters::{InterfaceCounters, Reports};
use crate::flow::Records;
use crate::time::{Now, Uptime};
use crate::wire;

/// Which flows an interface packs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Takes {
    /// It does not run.
    Nothing,
    States,
    Connections,
}

/// One pflowN.
#[derive(Debug)]
pub struct Interface {
    unit: u32,
    settings: Settings,
    /// Which flows are packed.
    takes: Takes,
    /// Whether templates are sent from here.
    is_told: bool,
    /// Whether some flows are left out, or have NetFlow's ports of ICMP.
    is_choosy: bool,
    /// Records of statistics made, and when records were lost as those were made.
    statistics: Statistics,
    encoder: Encoder,
    /// What its collector knows.
    session: Session,
    /// Data records in datagrams that wait for their turn.
    pub(crate) delayed: u64,
    /// Octets of messages that wait for a connection.
    pub(crate) octets_waiting: u64,
    /// What its connection is at, if it has one.
    pub(crate) connection: Option<Connection>,
    /// Of one that writes files.
    pub(crate) file: FileState,
    /// What its spool is at, if it has one.
    pub(crate) spool: Option<SpoolState>,
    /// Why its last datagram could not be sent.
    pub(crate) send_problem: Option<(io::ErrorKind, String)>,
    /// What it did.
    pub counters: InterfaceCounters,
}

impl Interface {
    /// A new pflow`unit`, which [`Self::configure`] starts.
    pub fn new(unit: u32, settings: Settings) -> Self {
        Self {
            unit,
            encoder: Encoder::new(&settings),
            settings,
            takes: Takes::Nothing,
            is_told: false,
            is_choosy: false,
            statistics: Statistics::default(),
            session: Session::default(),
            delayed: 0,
            octets_waiting: 0,
            connection: None,
            file: FileState::default(),
            spool: None,
            send_problem: None,
            counters: InterfaceCounters::default(),
        }
    }

    /// N of pflowN.
    pub fn unit(&self) -> u32 {
        self.unit
    }

    /// What it is set to.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Whether flows are packed.
    pub fn is_running(&self) -> bool {
        self.takes != Takes::Nothing
    }

    /// Whether it exports connections, where `default` says what an interface does that is not told.
    pub fn has_connections(&self, default: Records) -> bool {
        self.settings.records.unwrap_or(default) == Records::Connection
    }

    /// Whether what it sends is datagrams, which are numbered at once.
    pub fn has_datagrams(&self) -> bool {
        self.settings.datagrams_to().is_some()
    }

    /// What its connection is at, if it has one.
    pub fn connection(&self) -> Option<&Connection> {
        self.connection.as_ref()
    }

    /// Why its last datagram could not be sent.
    pub fn send_problem(&self) -> Option<(io::ErrorKind, &str)> {
        let (kind, problem) = self.send_problem.as_ref()?;
        Some((*kind, problem))
    }

    /// What its spool is at, if it has one.
    pub fn spool(&self) -> Option<SpoolState> {
        self.spool
    }

    /// Octets of messages that wait for a connection.
    pub fn octets_waiting(&self) -> u64 {
        self.octets_waiting
    }

    /// How it stands with its files.
    pub fn file(&self) -> &FileState {
        &self.file
    }

    /// Records held now.
    pub fn held(&self) -> usize {
        self.encoder.held()
    }

    /// What its collector knows.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Data records in a datagram that it made.
    pub fn records_in(&self, datagram: &[u8]) -> u64 {
        match self.settings.format {
            Format::NetFlow5 => wire::netflow5::records_in(datagram),
            Format::NetFlow9 => wire::netflow9::records_in(datagram),
            Format::Ipfix => Templates::from(&self.settings).records_in(datagram),
        }
    }

    /// What its collector knows, to go on from a keep file.
    pub(crate) fn session_mut(&mut self) -> &mut Session {
        &mut self.session
    }

    /// Takes new settings: sends what is held under the old ones, then templates if they are to
    /// be sent at all.
    pub fn configure(&mut self, now: Now, settings: Settings, outbox: &mut Outbox) {
        self.flush(now, outbox);
        self.encoder = Encoder::new(&settings);
        self.takes = match settings.way() {
            Some(_) => Takes::States,
            None => Takes::Nothing,
        };
        self.settings = settings;
        if !matches!(self.settings.way(), Some(Way::Connection(_))) {
            self.connection = None;
            self.spool = None;
        }
        self.session.stop_templates();
        self.session.clear_announcements();
        self.session.set_state(Reachability::Up);
        self.is_choosy = self.settings.direction.is_some()
            || self.settings.only.is_some()
            || self.settings.icmp != IcmpPorts::Kernel;
        if self.is_running() {
            self.session.begin_statistics(now, &self.settings);
        }
        // A stream or a file is told its templates when it begins.
        self.is_told = self.settings.format != Format::NetFlow5 && self.has_datagrams();
        if self.is_told {
            let to = &mut To::new(self.unit, outbox);
            self.counters.templates += self.session.begin_templates(now, &self.settings, to);
            if let (Format::Ipfix, Domain::Number(domain)) =
                (self.settings.format, self.settings.domain)
            {
                let told = self
                    .session
                    .announce_domain(now, &self.settings, domain, to);
                self.counters.templates += told;
            }
        }
    }

    /// Has it pack connections in place of states, if its settings say so.
    pub(crate) fn set_records(&mut self, default: Records) {
        self.takes = match self.takes {
            Takes::Nothing => Takes::Nothing,
            _ if self.has_connections(default) => Takes::Connections,
            _ => Takes::States,
        };
    }

    /// Begins a turn: what one packet or one timer may make is bounded.
    pub fn begin_turn(&mut self) {
        self.encoder.begin_turn();
    }

    /// So many packets of pfsync were lost before they could be read, as far as that is known.
    pub(crate) fn note_ignored(&mut self, now: Now, packets: u64) {
        self.statistics.note_ignored(packets, now);
    }

    /// Sends the records of statistics.
    fn send_statistics(&mut self, now: Now, outbox: &mut Outbox) {
        let to = &mut To::new(self.unit, outbox);
        let domain = match self.settings.domain {
            Domain::Number(domain) => domain,
            Domain::Creatorid => COMMON,
        };
        if self.is_told {
            self.counters.templates += self.session.tell_new(now, &self.settings, domain, to);
        }
        let told = self
            .session
            .announce_domain(now, &self.settings, domain, to);
        self.counters.templates += if self.is_told { told } else { 0 };
        for options in self
            .statistics
            .options(now, domain, self.unit, &self.counters)
        {
            let mut message = vec![0; wire::ipfix::HEADER_LEN];
            message.extend(options.set());
            to.push(Stamp::Ipfix { domain }, now, 1, &message);
            self.counters.records += 1;
        }
    }

    /// Whether [`Self::poll_timeout`] is not later than `now`.
    #[inline]
    pub fn is_due(&self, now: Uptime) -> bool {
        self.encoder.is_due(now) || now.is_past(self.session.poll_timeout())
    }

    /// When [`Self::handle_timeout`] has something to do.
    #[inline]
    pub fn poll_timeout(&self) -> Option<Uptime> {
        Uptime::earliest(self.encoder.poll_timeout(), self.session.poll_timeout())
    }

    /// Sends what is due: records held long enough, then templates.
    pub fn handle_timeout(&mut self, now: Now, outbox: &mut Outbox) {
        let to = &mut To::new(self.unit, outbox);
        let first = to.messages();
        let of_interface = (&self.settings, &self.session);
        self.encoder.handle_timeout(now, of_interface, to);
        if self.session.handle_timeout(now, &self.settings, to) > 0 {
            self.encoder.note_told();
        }
        self.counters.templates += to.templates_behind(first);
        if self.session.take_statistics(now, &self.settings) {
            self.send_statistics(now, outbox);
        }
    }

    /// Moves templates that are due before `until` behind it: after a long silence they go once.
    pub fn skip_templates(&mut self, until: Uptime) {
        self.session.skip_templates(until, &self.settings);
    }

    /// Notes what was reported of datagrams sent earlier. No report means that the collector is
    /// reached again.
    pub(crate) fn handle_reports(&mut self, reports: Reports) {
        self.counters.refused += reports.refused;
        self.counters.unreachable += reports.unreachable;
        self.session.set_state(match reports {
            Reports { refused: 1.., .. } => Reachability::Refused,
            Reports {
                unreachable: 1.., ..
            } => Reachability::Unreachable,
            _ => Reachability::Up,
        });
    }

    /// Sends what is held.
    pub fn flush(&mut self, now: Now, outbox: &mut Outbox) {
        let to = &mut To::new(self.unit, outbox);
        let first = to.messages();
        self.encoder.flush(now, (&self.settings, &self.session), to);
        self.counters.templates += to.templates_behind(first);
    }
}

/// Has the sessions of `interfaces` stamp what `outbox` has for them. The interfaces are in the
/// order of their numbers. Messages of an interface that is gone are dropped, because nobody
/// numbers them.
pub fn stamp(outbox: &mut Outbox, interfaces: &mut [Interface], order: Order) {
    outbox.stamp(order, |message, octets| {
        let place = interfaces.binary_search_by_key(&message.unit(), Interface::unit);
        let Some(interface) = place.ok().and_then(|place| interfaces.get_mut(place)) else {
            return false;
        };
        if interface.has_datagrams() {
            interface.session.stamp(message, octets);
        } else {
            Session::stamp_for_stream(message, octets);
        }
        true
    });
}

/// [`stamp`]s what `outbox` has and takes it out, to be sent.
pub fn transmit(outbox: &mut Outbox, interfaces: &mut [Interface], order: Order) -> Transmit {
    stamp(outbox, interfaces, order);
    Transmit::from(std::mem::take(outbox))
}
