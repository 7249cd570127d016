//! Floor 6: everything between a captured packet and a datagram to send.
//!
//! ```text
//! packet -> link, pfsync -> table --flow--> filters -> every pflowN -> Outbox
//!                |                    |
//!                +-> messages --------+-> Printer (-o)
//! ```
//! The engine is handed packets, commands and the time; it reads no clock and touches no socket.
//! After any call, what there is to send is had by [`Engine::transmit`], what there is to print in
//! [`Engine::printed`], what there is to log in [`Engine::notices`], and
//! [`Engine::poll_timeout`] says when to come back.

mod meant;

use std::net::IpAddr;
use std::time::Duration;

use jiff::tz::TimeZone;

use crate::config::Config;
use crate::counters::{
    FlowCounters, InterfaceCounters, KeepCounters, PacketCounters, ProtocolCounters, Reason,
    Reports, SolicitCounters, count,
};
use crate::export::spool::SpoolTally;
use crate::export::{
    self, Amount, Connection, Connections, Domain, Events, FileState, Interface, Order, Outbox,
    SpoolState, TemplateSet, Transmit,
};
use crate::filter::{Filter, Subject};
use crate::flow::{Boot, End, Flow, Passage, Records};
use crate::ifindexes::IfIndexes;
use crate::output::page::Page;
use crate::output::{Output, Printer};
use crate::solicit::{self, Solicitor};
use crate::state::{Direction, IfName, StateId};
use crate::table::{self, Arrival, Bound, KeepCursor, NatEvent, Restore, Sender, SenderId, Table};
use crate::time::{Now, Uptime, Wall};
use crate::wire::keep as kept;
use crate::wire::link::{self, LinkType};
use crate::wire::pfsync::{self, Action, Dialect, Error, Listener, Message};

/// A silence of more than this is a gap: templates are sent once in it.
const GAP: Duration = Duration::from_secs(3600);

/// Most lines for the log that wait; further ones are dropped.
const MAX_NOTICES: usize = 64;

/// What the command line says of the engine.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Most states held, unless the configuration says.
    pub states: u32,
    /// Whether states whose rule does not say pflow are exported too (-a).
    pub is_all: bool,
    /// Export states of this direction only (-S).
    pub direction: Option<Direction>,
    /// Whether it is known when the machine came up.
    pub boot: Boot,
    /// Addresses of this host: what comes from them is `local`. Empty in a replay.
    pub local_addresses: Vec<IpAddr>,
    /// What to print.
    pub output: Output,
}

/// A packet as captured.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// When.
    pub stamp: Wall,
    /// On what.
    pub link: LinkType,
    /// What was captured of it.
    pub frame: &'a [u8],
    /// How long it was.
    pub wire_len: usize,
}

/// The whole of pflow but for its descriptors and clocks.
pub struct Engine {
    table: Table,
    exporter: Exporter,
    /// Asks firewalls for states, if told to.
    solicitor: Option<Solicitor>,
    is_flush_active: bool,
    /// Most states held if the configuration says nothing.
    default_states: u32,
    local_addresses: Vec<IpAddr>,
    /// The latest time heard of.
    latest: Option<Now>,
    /// When all was done that was due by then.
    settled: Uptime,
    /// The end of a silence of more than [`GAP`].
    gap_until: Option<Uptime>,
    /// All packets and messages.
    packets: PacketCounters,
    notices: Vec<String>,
    /// Keep files written.
    keep: KeepCounters,
    /// Why the last one could not be.
    keep_problem: Option<String>,
    /// The packet that is being read, while a CLR in it has states to end.
    paused: Option<Box<Paused>>,
    /// Where [`Self::finish_some`] goes on.
    flushed: u32,
    /// The zone of times that have none.
    zone: TimeZone,
}

/// What a flow goes through once it is made.
struct Exporter {
    config: Config,
    ifindexes: IfIndexes,
    is_all: bool,
    direction: Option<Direction>,
    /// Whether -S or -F leaves flows out.
    is_choosy: bool,
    /// Which flows and messages are meant (-F), with its times of day resolved.
    filter: Option<Filter>,
    interfaces: Vec<Interface>,
    outbox: Outbox,
    printer: Printer,
    /// Records, and flows left out. Those exported are counted below.
    counters: FlowCounters,
    /// Flows exported by protocol and quality.
    protocols: ProtocolCounters,
    /// What interfaces that are gone counted.
    gone: InterfaceCounters,
    /// Interfaces that exported parts of the flow that comes next, and the rest of it just now.
    served: Vec<u32>,
}

/// What became of a datagram.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Sent {
    /// The system took it.
    Yes,
    /// There was no buffer for it.
    NoMemory,
    /// It could not be sent.
    Failed,
    /// Too many wait for their turn.
    Overtaken,
}

/// Pieces of [`table::PIECE`] states that take some milliseconds.
const PIECES: u32 = 16;

/// So many octets to send and to print are much.
const MUCH: usize = 1 << 20;

/// The numbers that `config` sets.
fn set_in(config: &Config) -> impl Iterator<Item = (IfName, u16)> {
    let set = config.ifindexes.iter();
    set.map(|(name, index)| (IfName::from_bytes(name), *index))
}

fn ifindexes_of(config: &Config) -> IfIndexes {
    let mut ifindexes = IfIndexes::default();
    ifindexes.configure(set_in(config), config.is_ifindex_auto);
    ifindexes
}

impl Exporter {
    /// Whether it is time to send and to print.
    fn has_much(&mut self) -> bool {
        self.outbox.len() + self.printer.buffer().len() >= MUCH
    }

    fn begin_turn(&mut self) {
        match self.interfaces.as_mut_slice() {
            // Mostly there is one. It needs no loop.
            [interface] => interface.begin_turn(),
            interfaces => {
                for interface in interfaces {
                    interface.begin_turn();
                }
            }
        }
    }

    /// Takes a flow, or a part of one, to the interfaces that it is for. One function for all that
    /// ends states, so that what it calls is inlined into it.
    #[inline(never)]
    fn flow(&mut self, now: &Now, flow: &Flow) {
        let is_wanted = match flow.only {
            Some(unit) => self.note_part(flow, unit),
            None => self.note_whole(flow),
        };
        if is_wanted {
            self.offer(now, flow);
        }
        if flow.only.is_none() {
            self.served.clear();
        }
    }

    /// Counts a part of a flow, for an interface with an active timeout: whether it goes out.
    #[inline(never)]
    fn note_part(&mut self, flow: &Flow, unit: u32) -> bool {
        if flow.end != End::Active {
            self.served.push(unit);
        }
        let is_left_out = !flow.pflow && !self.is_all
            || self
                .direction
                .is_some_and(|direction| direction != flow.direction);
        if is_left_out || flow.is_empty() || !self.admits(flow, None) {
            return false;
        }
        if let Some(counters) = self.counters_of(unit) {
            counters.parts += 1;
        }
        true
    }

    /// Counts a flow that -S or -F leaves out.
    #[cold]
    #[inline(never)]
    fn passes_over(&mut self, flow: &Flow) -> bool {
        if self
            .direction
            .is_some_and(|direction| direction != flow.direction)
        {
            self.counters.direction += 1;
            return true;
        }
        // One without octets is counted as that.
        let is_other = !flow.is_empty() && !self.admits(flow, None);
        self.counters.filtered += u64::from(is_other);
        is_other
    }

    /// Whether -F takes a flow; `egress` is the interface that a connection left through.
    fn admits(&self, flow: &Flow, egress: Option<IfName>) -> bool {
        let Some(filter) = &self.filter else {
            return true;
        };
        let passage = &Passage {
            ifindex: 0,
            egress: egress.map(|egress| (egress, 0)),
        };
        filter.admits(&Subject::of_flow(flow, passage))
    }

    fn counters_of(&mut self, unit: u32) -> Option<&mut InterfaceCounters> {
        let mut interfaces = self.interfaces.iter_mut();
        let interface = interfaces.find(|interface| interface.unit() == unit);
        interface.map(|interface| &mut interface.counters)
    }

    /// Counts a flow: whether it goes out.
    #[inline(always)]
    fn note_whole(&mut self, flow: &Flow) -> bool {
        let counters = &mut self.counters;
        if !flow.pflow && !self.is_all {
            counters.unflagged += 1;
            return false;
        }
        if self.is_choosy && self.passes_over(flow) {
            return false;
        }
        let counters = &mut self.counters;
        if flow.is_empty() {
            counters.empty += 1;
            return false;
        }
        let [octets, octets_back] = flow.octets;
        let all_octets = octets.saturating_add(octets_back);
        let quality = flow.quality as usize;
        self.protocols.add(flow.tuple.proto, quality, all_octets);
        if flow.times.is_clamped() {
            counters.clamped += 1;
        }
        // A record for each direction with octets, of which one has some.
        let is_both = octets > 0 && octets_back > 0;
        count(&mut counters.records, 1 + u64::from(is_both));
        true
    }

    /// Takes a connection, or a part of one, to the interfaces that export those: it counts for what
    /// both its states say.
    fn connection(&mut self, connection: &table::Connection) {
        let table::Connection { now, flow, egress } = connection;
        match flow.only {
            Some(unit) if flow.end != End::Active => self.served.push(unit),
            _ => {}
        }
        let is_other = self.direction.is_some_and(|d| d != flow.direction);
        let is_left_out = !flow.pflow && !self.is_all
            || is_other && egress.is_none()
            || flow.is_empty()
            || !self.admits(flow, *egress);
        if !is_left_out {
            if let Some(unit) = flow.only
                && let Some(counters) = self.counters_of(unit)
            {
                counters.parts += 1;
            }
            let ifindexes = &mut self.ifindexes;
            let passage = &Passage {
                ifindex: ifindexes.number(flow.ifname),
                egress: egress.map(|egress| (egress, ifindexes.number(egress))),
            };
            for interface in &mut self.interfaces {
                let unit = interface.unit();
                let is_for = match flow.only {
                    Some(only) => only == unit,
                    None => !self.served.contains(&unit),
                };
                if is_for {
                    interface.offer_connection(*now, flow, passage, &mut self.outbox);
                }
            }
            if flow.only.is_none() && self.config.records == Records::Connection {
                self.printer.flow(flow, passage);
            }
        }
        if flow.only.is_none() {
            self.served.clear();
        }
    }

    #[inline(always)]
    fn offer(&mut self, now: &Now, flow: &Flow) {
        let ifindex = self.ifindexes.number(flow.ifname);
        let served = &self.served;
        // Mostly it is for all, and nothing is searched.
        let is_for_all = flow.only.is_none() && served.is_empty();
        let is_for = |unit| match flow.only {
            Some(only) => only == unit,
            None => !served.contains(&unit),
        };
        for interface in &mut self.interfaces {
            if is_for_all || is_for(interface.unit()) {
                interface.offer(*now, flow, ifindex, &mut self.outbox);
            }
        }
        if flow.only.is_none() && self.config.records == Records::State {
            self.printer.flow(flow, &Passage::of_state(ifindex));
        }
    }

    /// Takes what is ready beside flows out of `table` at `now`: connections and NAT events.
    #[inline(always)]
    fn take_more(&mut self, now: Now, table: &mut Table) {
        if table.has_more_than_flows() {
            self.take_connections(table);
            self.take_nat_events(now, table);
        }
    }

    #[cold]
    fn take_connections(&mut self, table: &mut Table) {
        for connection in table.take_connections() {
            self.connection(&connection);
        }
    }

    /// Takes NAT events to their interfaces. What is left out is what would be of flows, but that an
    /// event needs no octets.
    #[cold]
    fn take_nat_events(&mut self, now: Now, table: &mut Table) {
        for event in table.drain_nat_events() {
            let NatEvent {
                now: observed,
                what,
                flow,
            } = &event;
            let is_other = self.direction.is_some_and(|d| d != flow.direction);
            if !flow.pflow && !self.is_all || is_other || !self.admits(flow, None) {
                continue;
            }
            let mut interfaces = self.interfaces.iter_mut();
            if let Some(interface) = interfaces.find(|one| Some(one.unit()) == flow.only) {
                interface.offer_event(now, (*observed, *what), flow, &mut self.outbox);
            }
        }
    }
}

/// What is known of a packet beside its messages.
#[derive(Clone, Copy)]
struct Reading {
    now: Now,
    arrival: Arrival,
    stamp: Wall,
    /// Which packet it is, if messages are printed.
    number: u64,
    source: Option<IpAddr>,
    sender: SenderId,
    /// Octets that the capture cut off.
    missing: usize,
    /// What its sender's earlier packets were written in.
    remembered: Option<Dialect>,
    /// The first error in it.
    error: Option<Error>,
    /// Where to go on.
    from: pfsync::Position,
}

/// A packet of which some messages wait for a CLR before them.
struct Paused {
    reading: Reading,
    payload: Vec<u8>,
}

/// A packet on its way into the table.
struct Reception<'a> {
    arrival: Arrival,
    stamp: Wall,
    /// Which packet it is, if messages are printed.
    number: u64,
    is_printing: bool,
    source: Option<IpAddr>,
    sender: SenderId,
    /// Whose states the latest messages were about, and how many there were: they come in runs.
    run: (Option<u32>, u64),
    packets: &'a mut PacketCounters,
    table: &'a mut Table,
    exporter: &'a mut Exporter,
}

impl Reception<'_> {
    /// Counts the latest messages, which were of `action`; the next are about the states of
    /// `creatorid`.
    #[cold]
    fn begin_run(&mut self, creatorid: Option<u32>, action: Action) {
        self.end(action);
        self.run.0 = creatorid;
    }

    /// Takes in a message about the states of a creator that are kept by sender; false if it is of
    /// another.
    #[cold]
    #[inline(never)]
    fn take_by_sender(&mut self, dialect: Dialect, message: Message<'_>) -> bool {
        let creatorid = message.creatorid();
        if !creatorid.is_some_and(|creatorid| self.table.is_by_sender(creatorid)) {
            return false;
        }
        self.begin_run(creatorid, message.action());
        self.run.1 = 1;
        // No run: the next one comes here, too.
        self.begin_run(None, message.action());
        self.print(dialect, message);
        let exporter = &mut *self.exporter;
        let done = &mut |now: &Now, flow: &Flow| exporter.flow(now, flow);
        self.table
            .apply_by_sender(&mut self.arrival, &message, done);
        true
    }

    #[cold]
    #[inline(never)]
    fn print(&mut self, dialect: Dialect, message: Message<'_>) {
        let id = message.named_state();
        let held = id.and_then(|id| self.table.held_as(id, self.sender));
        if let Some(filter) = &self.exporter.filter {
            let told = (self.arrival.clock(), self.stamp, self.source);
            if !meant::takes(filter, &message, held.as_ref(), told) {
                return;
            }
        }
        let from = (self.source, dialect);
        let printer = &mut self.exporter.printer;
        printer.message(self.stamp, self.number, from, &message, held.as_ref());
    }
}

impl Listener for Reception<'_> {
    #[cold]
    fn any_v5(&mut self) {
        self.exporter.printer.begin_packet(true);
    }

    #[inline(always)]
    fn begin(&mut self, dialect: Dialect, action: Action) -> bool {
        self.arrival.dialect = dialect;
        if self.table.tells_senders_apart() {
            self.run.0 = None;
        }
        if action == Action::UpdateCompressed {
            self.table.begin_ahead();
            return true;
        }
        self.table.is_large()
    }

    #[inline(always)]
    fn coming(&mut self, action: Action, id: StateId) {
        match action {
            Action::UpdateCompressed => self.table.look_ahead(id),
            _ => self.table.fetch(id),
        }
    }

    #[inline(always)]
    fn told(&mut self, action: Action) {
        if action == Action::UpdateCompressed {
            self.table.fetch_beside();
        }
    }

    /// Inlined into the loops over messages, each of which knows which kind they are. A message is
    /// handed on by value, so that it need not stand in memory.
    #[inline(always)]
    fn message(&mut self, dialect: Dialect, message: Message<'_>) {
        let creatorid = message.creatorid();
        if creatorid != self.run.0 {
            if self.table.tells_senders_apart() && self.take_by_sender(dialect, message) {
                return;
            }
            self.begin_run(creatorid, message.action());
        }
        count(&mut self.run.1, 1);
        if self.is_printing {
            self.print(dialect, message);
        }
        let Self {
            arrival,
            table,
            exporter,
            ..
        } = self;
        table.apply(arrival, message, &mut |now, flow| exporter.flow(now, flow));
    }

    fn is_paused(&self) -> bool {
        self.table.is_clearing()
    }

    fn end(&mut self, action: Action) {
        let (creatorid, messages) = self.run;
        self.run.1 = 0;
        self.packets.add_messages(action, messages);
        let sender = self.table.sender_record(self.sender);
        sender.add_messages(creatorid, action, messages);
    }
}

impl Engine {
    /// An engine for `config`; [`Self::start`] comes next.
    pub fn new(settings: Settings, config: Config) -> Self {
        let table = Table::new(table::Settings {
            states: config.states.unwrap_or(Bound::States(settings.states)),
            timeouts: config.timeouts,
            boot: settings.boot,
            counting: config.counting,
        });
        Self {
            table,
            solicitor: None,
            is_flush_active: config.is_flush_active,
            default_states: settings.states,
            exporter: Exporter {
                interfaces: config
                    .interfaces
                    .iter()
                    .map(|(unit, settings)| Interface::new(*unit, settings.clone()))
                    .collect(),
                ifindexes: ifindexes_of(&config),
                config,
                is_all: settings.is_all,
                direction: settings.direction,
                is_choosy: settings.direction.is_some(),
                filter: None,
                outbox: Outbox::default(),
                printer: Printer::new(settings.output),
                counters: FlowCounters::default(),
                protocols: ProtocolCounters::default(),
                gone: InterfaceCounters::default(),
                served: Vec::new(),
            },
            local_addresses: settings.local_addresses,
            latest: None,
            settled: Uptime::from_nanos(0),
            gap_until: None,
            packets: PacketCounters::default(),
            notices: Vec::new(),
            keep: KeepCounters::default(),
            keep_problem: None,
            paused: None,
            flushed: 0,
            zone: TimeZone::UTC,
        }
    }

    /// Leaves out flows and messages that `filter` does not take (-F). Times without a zone in it,
    /// and in what control sockets ask, are of `zone`.
    pub fn set_filter(&mut self, filter: Option<Filter>, zone: TimeZone) {
        self.exporter.is_choosy = self.exporter.direction.is_some() || filter.is_some();
        self.exporter.filter = filter;
        self.zone = zone;
    }

    /// The zone of times that have none.
    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// Configures every interface; templates go out at `now`. Times of day in -F are of that day.
    pub fn start(&mut self, now: Now) {
        let filter = self.exporter.filter.take();
        self.exporter.filter = filter.map(|filter| filter.resolved(now.wall, &self.zone));
        self.latest = Some(now);
        self.settled = now.uptime;
        self.table.note_horizon(now.uptime);
        self.exporter.printer.begin(now.wall);
        let Exporter {
            interfaces,
            config,
            outbox,
            ..
        } = &mut self.exporter;
        for interface in interfaces {
            if let Some(settings) = config.interfaces.get(&interface.unit()) {
                interface.configure(now, settings.clone(), outbox);
            }
        }
        self.sync_table(now);
    }

    /// Tells the table which interfaces export flows before they end, and whether anybody wants all
    /// that full states tell.
    fn sync_table(&mut self, now: Now) {
        let Exporter {
            config,
            printer,
            filter,
            ..
        } = &self.exporter;
        let mut interfaces = config.interfaces.values();
        let is_asked = |filter: &Option<Filter>| {
            let filter = filter.as_ref();
            filter.is_some_and(Filter::needs_details)
        };
        let is_full = interfaces
            .any(|settings| settings.templates == TemplateSet::Full || is_asked(&settings.only));
        let is_asked = is_full || is_asked(filter);
        self.table.set_details(is_asked || printer.shows_details());
        let interfaces = self.exporter.config.interfaces.iter();
        let active: Vec<_> = interfaces
            .map(|(unit, settings)| (*unit, settings.active))
            .collect();
        self.table.set_active(now.uptime, &active);
        let Exporter {
            interfaces,
            config,
            printer,
            ..
        } = &mut self.exporter;
        let default = config.records;
        let units = interfaces.iter_mut().filter_map(|interface| {
            interface.set_records(default);
            interface.has_connections(default).then(|| interface.unit())
        });
        let units = units.collect();
        let is_printed = default == Records::Connection && printer.prints_flows();
        let asking = config.interfaces.iter();
        let asking = asking.filter(|(_, settings)| settings.events == Events::Nat);
        let asking: Vec<_> = asking.map(|(unit, of)| (*unit, of.delay)).collect();
        self.table.set_nat_events(&asking);
        self.table.set_connections(is_printed, units);
        self.exporter.take_connections(&mut self.table);
    }

    /// Takes back what a keep file holds, before [`Self::start`].
    pub fn restore(&mut self, now: Now, is_clean: bool, records: kept::Records<'_>) {
        self.sync_table(now);
        let mut restore = Restore::new(now, is_clean);
        for record in records {
            self.table.restore(&mut restore, &record);
            if let kept::Record::Interface {
                unit,
                packed,
                sequence,
            } = record
            {
                let mut interfaces = self.exporter.interfaces.iter_mut();
                if let Some(interface) = interfaces.find(|interface| interface.unit() == unit) {
                    let domain = interface.settings().domain;
                    let session = interface.session_mut();
                    session.set_records(packed);
                    if let Domain::Number(domain) = domain {
                        session.set_sequence(domain, sequence);
                    }
                }
            }
            if let kept::Record::Domain {
                unit,
                domain,
                sequence,
            } = record
                && let Some(interface) = self.interface(unit)
                && interface.settings().domain == Domain::Creatorid
            {
                interface.session_mut().set_sequence(domain, sequence);
            }
            if let kept::Record::Source {
                unit,
                source,
                messages,
            } = record
                && let Some(interface) = self.interface(unit)
            {
                interface.session_mut().set_messages(source, messages);
            }
            if let kept::Record::IfIndex { name, index } = record
                && self.exporter.config.is_ifindex_auto
            {
                self.exporter.ifindexes.restore(name, index);
            }
        }
        self.table.end_restore(restore);
    }

    /// Appends the next records of a keep file to `out`; true if they are the last. With those
    /// goes what the interfaces hold: no record is in neither.
    pub fn keep_step(&mut self, now: Now, cursor: &mut KeepCursor, out: &mut Vec<u8>) -> bool {
        if !self.table.keep_step(cursor, now, out) {
            return false;
        }
        for (name, index) in self.exporter.ifindexes.given() {
            kept::Record::IfIndex { name, index }.encode(out);
        }
        let Exporter {
            interfaces, outbox, ..
        } = &mut self.exporter;
        for interface in interfaces.iter_mut() {
            interface.flush(now, outbox);
        }
        // Numbered now, so that the file goes on behind them.
        export::stamp(outbox, interfaces, Order::Packed);
        for interface in interfaces {
            let session = interface.session();
            let unit = interface.unit();
            let sequence = match interface.settings().domain {
                Domain::Number(domain) => session.sequence(domain),
                Domain::Creatorid => 0,
            };
            let packed = session.records();
            kept::Record::Interface {
                unit,
                packed,
                sequence,
            }
            .encode(out);
            for &(source, messages) in session.messages() {
                kept::Record::Source {
                    unit,
                    source,
                    messages,
                }
                .encode(out);
            }
            if interface.settings().domain != Domain::Creatorid {
                continue;
            }
            for &(domain, sequence) in session.sequences() {
                kept::Record::Domain {
                    unit,
                    domain,
                    sequence,
                }
                .encode(out);
            }
        }
        true
    }

    /// Whether [`Self::poll_timeout`] is not later than `now`: that is sooner known, and asked for
    /// each packet.
    #[inline(always)]
    fn is_due(&self, now: Uptime) -> bool {
        let solicitor = self.solicitor.as_ref();
        let mut interfaces = self.exporter.interfaces.iter();
        self.table.is_due(now)
            || solicitor.is_some_and(|solicitor| now.is_past(solicitor.poll_timeout()))
            || interfaces.any(|interface| interface.is_due(now))
    }

    /// When [`Self::handle_timeout`] has something to do.
    pub fn poll_timeout(&self) -> Option<Uptime> {
        let solicitor = self.solicitor.as_ref().and_then(Solicitor::poll_timeout);
        let due = Uptime::earliest(self.table.poll_timeout(), solicitor);
        let interfaces = self.exporter.interfaces.iter();
        interfaces
            .map(Interface::poll_timeout)
            .fold(due, Uptime::earliest)
    }

    /// Does what is due up to `now`, in order, each at its own due time. Nothing will be heard
    /// before `horizon`, which is `now` unless the future is known, as in a replay.
    pub fn handle_timeout(&mut self, now: Now, horizon: Uptime) {
        while self.handle_some_timeouts(now, horizon) {}
    }

    /// [`Self::handle_timeout`] until there is much to send or some milliseconds were worked: then
    /// true, and there may be more to do.
    #[must_use]
    #[inline(always)]
    pub fn handle_some_timeouts(&mut self, now: Now, horizon: Uptime) -> bool {
        if self.is_behind() {
            self.go_on();
            return true;
        }
        let latest = self.latest.replace(now);
        if latest.is_some_and(|then| horizon > then.uptime.after(GAP)) {
            self.gap_until = Some(horizon);
        }
        self.table.note_horizon(horizon);
        let is_more = self.is_due(now.uptime) && self.handle_due(now, horizon);
        if !is_more {
            self.settled = now.uptime;
        }
        is_more
    }

    /// Does some of what is due: whether there may be more to do.
    #[inline(never)]
    fn handle_due(&mut self, now: Now, horizon: Uptime) -> bool {
        // What waited to be due is sent at the clock, which does not go back.
        let earliest = self.settled.min(now.uptime);
        let mut pieces = 0;
        while let Some(due) = self.poll_timeout().filter(|due| *due <= now.uptime) {
            pieces += 1;
            let is_gap = self.gap_until.is_some_and(|until| until >= horizon);
            let then = now.at(due.max(earliest));
            self.exporter.begin_turn();
            let Self {
                table, exporter, ..
            } = self;
            let later = |now: &Now| if now.uptime < then.uptime { then } else { *now };
            table.handle_timeout(then, horizon, &mut |now, flow| {
                exporter.flow(&later(now), flow);
            });
            exporter.take_more(then, table);
            // What is due at one time goes before the timers of the interfaces at that time.
            while table.poll_timeout().is_some_and(|next| next <= due) {
                if exporter.has_much() || pieces >= PIECES {
                    self.take_events(then);
                    return true;
                }
                pieces += 1;
                table.handle_timeout(then, horizon, &mut |now, flow| {
                    exporter.flow(&later(now), flow);
                });
                exporter.take_more(then, table);
            }
            let Exporter {
                interfaces, outbox, ..
            } = exporter;
            for interface in interfaces {
                let templates = interface.counters.templates;
                interface.handle_timeout(then, outbox);
                if is_gap && interface.counters.templates != templates {
                    interface.skip_templates(horizon);
                }
            }
            if let Some(solicitor) = &mut self.solicitor {
                solicitor.take(then, &mut self.table);
                solicitor.handle_timeout(then, &self.table);
            }
            if self.exporter.has_much() || pieces >= PIECES {
                return true;
            }
        }
        false
    }

    /// Takes a packet in. A CLR in it may end more states than should wait to be sent at once: then
    /// [`Self::is_behind`], and the caller sends and calls [`Self::go_on`]. The next packet, the
    /// next timers and the end wait until this one is read.
    pub fn handle_packet(&mut self, now: Now, packet: &Packet<'_>) {
        while self.is_behind() {
            self.go_on();
        }
        let datagram = match link::datagram(packet.link, packet.frame, packet.wire_len) {
            Ok(datagram) => datagram,
            Err(skip) => {
                self.packets.note(skip.into());
                return;
            }
        };
        let sender = match datagram.source {
            Some(address) if !self.local_addresses.contains(&address) => Sender::Address(address),
            _ => Sender::Local,
        };
        let id = self.table.sender(sender);
        let record = self.table.sender_record(id);
        let (remembered, creatorid) = (record.dialect, record.latest_creator());
        let Self {
            table,
            exporter,
            packets,
            ..
        } = self;
        exporter.begin_turn();
        exporter.printer.begin_packet(false);
        let at = now.uptime_at(packet.stamp);
        let arrival = table.arrival(now, at, id, datagram.source.is_none());
        let number = if exporter.printer.prints_messages() {
            packets.packets() + 1
        } else {
            0
        };
        let mut reception = Reception {
            arrival,
            stamp: packet.stamp,
            number,
            is_printing: number > 0,
            source: datagram.source,
            sender: id,
            run: (creatorid, 0),
            packets,
            table,
            exporter,
        };
        let (payload, missing) = (datagram.payload, datagram.missing);
        let from = pfsync::Position::default();
        let outcome = pfsync::decode_to(payload, missing, remembered, from, &mut reception);
        if let Some(from) = outcome.paused {
            let reading = Reading {
                now,
                arrival: reception.arrival,
                stamp: packet.stamp,
                number: reception.number,
                source: reception.source,
                sender: reception.sender,
                missing,
                remembered,
                error: outcome.result.err(),
                from,
            };
            self.pause(reading, payload);
            return;
        }
        self.note_outcome(now, packet.stamp, id, outcome);
    }

    /// Whether a packet is half read: [`Self::go_on`].
    #[inline]
    pub fn is_behind(&self) -> bool {
        self.paused.is_some()
    }

    /// Ends the next states of the CLR that a packet paused for, or reads what follows it.
    pub fn go_on(&mut self) {
        let Some(paused) = self.paused.take() else {
            return;
        };
        let Self {
            table, exporter, ..
        } = self;
        table.continue_clear(paused.reading.now, &mut |now, flow| {
            exporter.flow(now, flow)
        });
        exporter.take_more(paused.reading.now, table);
        if table.is_clearing() {
            self.take_events(paused.reading.now);
            self.paused = Some(paused);
        } else {
            let Paused { reading, payload } = *paused;
            self.read_on(reading, &payload);
        }
    }

    /// Tells whoever asks firewalls what happened in the table.
    fn take_events(&mut self, now: Now) {
        if let Some(solicitor) = &mut self.solicitor {
            solicitor.take(now, &mut self.table);
        }
    }

    /// Reads the rest of a packet of pfsync, from where [`Reading::from`] says.
    fn read_on(&mut self, mut reading: Reading, payload: &[u8]) {
        let id = reading.sender;
        let creatorid = self.table.sender_record(id).latest_creator();
        let mut reception = Reception {
            arrival: reading.arrival,
            stamp: reading.stamp,
            number: reading.number,
            is_printing: reading.number > 0,
            source: reading.source,
            sender: id,
            run: (creatorid, 0),
            packets: &mut self.packets,
            table: &mut self.table,
            exporter: &mut self.exporter,
        };
        let mut outcome = pfsync::decode_to(
            payload,
            reading.missing,
            reading.remembered,
            reading.from,
            &mut reception,
        );
        if let Some(error) = reading.error {
            outcome.result = Err(error);
        }
        if let Some(from) = outcome.paused {
            reading.from = from;
            reading.error = outcome.result.err();
            self.pause(reading, payload);
            return;
        }
        self.note_outcome(reading.now, reading.stamp, id, outcome);
    }

    #[cold]
    fn pause(&mut self, reading: Reading, payload: &[u8]) {
        self.exporter.take_more(reading.now, &mut self.table);
        let payload = payload.to_vec();
        self.paused = Some(Box::new(Paused { reading, payload }));
    }

    /// Notes how a packet was read, whose messages are all taken in.
    #[inline(always)]
    fn note_outcome(&mut self, now: Now, stamp: Wall, id: SenderId, outcome: pfsync::Outcome) {
        let Self {
            table,
            packets,
            exporter,
            ..
        } = self;
        table.end_packet(now.uptime);
        table.note_learned(id);
        exporter.take_more(now, table);
        let record = table.sender_record(id);
        for counters in [packets, &mut record.packets] {
            match outcome.result {
                Ok(()) => counters.whole += 1,
                Err(error) => counters.note(Reason::from(error)),
            }
        }
        record.last = stamp;
        if outcome.is_certain {
            record.dialect = outcome.dialect;
        }
        if let Err(error @ (Error::OldVersion | Error::Version(_))) = outcome.result
            && !record.is_version_logged
        {
            record.is_version_logged = true;
            let sender = record.sender;
            self.notice(format!("pfsync from {sender}: {error}"));
        }
        if outcome.result.is_err() {
            self.table.note_damage(id);
        }
        if self.table.tells_senders_apart() {
            self.log_shared_host_ids();
        }
        if self.table.has_steps() {
            self.tell_steps();
        }
        if let Some(solicitor) = &mut self.solicitor {
            solicitor.take(now, &mut self.table);
            solicitor.heard(now, self.table.record_of(id));
        }
    }

    /// Says which host ids were found to be used twice.
    #[cold]
    fn log_shared_host_ids(&mut self) {
        for shared in self.table.take_shared_host_ids() {
            let [one, other] = shared.senders.map(|id| self.table.record_of(id).sender);
            self.notice(format!(
                "{one} and {other} both use host id {:08x}: its states are told apart by sender",
                shared.creatorid
            ));
        }
    }

    /// Tells of the steps that senders' clocks made.
    #[cold]
    fn tell_steps(&mut self) {
        for (id, by) in self.table.take_steps() {
            let sender = self.table.record_of(id).sender;
            self.notice(format!("clock of {sender} moved by {by} s"));
        }
    }

    /// Begins to ask firewalls for states, changes how, or stops. A replay never begins.
    pub fn set_soliciting(&mut self, now: Now, settings: Option<solicit::Settings>) {
        match (&mut self.solicitor, settings) {
            (Some(solicitor), Some(settings)) => solicitor.set(settings),
            (None, Some(settings)) => {
                self.table.watch(true);
                self.solicitor = Some(Solicitor::new(now, settings));
            }
            (_, None) => {
                self.table.watch(false);
                self.solicitor = None;
            }
        }
    }

    /// Packets were lost before they could be read, so many as far as that is known.
    pub fn note_loss(&mut self, now: Now, packets: u64) {
        for interface in &mut self.exporter.interfaces {
            interface.note_ignored(now, packets);
        }
        self.table.note_loss();
        if let Some(solicitor) = &mut self.solicitor {
            solicitor.lost(now);
        }
    }

    /// Who asks firewalls for states, and what came of it.
    pub fn solicitor(&mut self) -> Option<&mut Solicitor> {
        self.solicitor.as_mut()
    }

    /// What was asked of firewalls, if anything was to be.
    pub fn solicit_counters(&self) -> Option<&SolicitCounters> {
        self.solicitor.as_ref().map(|solicitor| &solicitor.counters)
    }

    /// Octets of memory taken for states.
    pub fn state_octets(&self) -> u64 {
        self.table.octets() + self.solicitor.as_ref().map_or(0, Solicitor::octets)
    }

    /// Keep files written, if there is to be one.
    pub fn keep_counters(&self) -> Option<&KeepCounters> {
        self.config().keep.file.is_some().then_some(&self.keep)
    }

    /// Why the last keep file could not be written.
    pub fn keep_problem(&self) -> Option<&str> {
        self.keep_problem.as_deref()
    }

    /// A keep file was written, or could not be, for this reason.
    pub fn handle_kept(&mut self, outcome: Result<u64, String>) {
        match outcome {
            Ok(octets) => {
                self.keep.written += 1;
                self.keep.octets = octets;
                self.keep_problem = None;
            }
            Err(problem) => {
                self.keep.failed += 1;
                self.keep_problem = Some(problem);
            }
        }
    }

    /// Whether states whose rule does not say pflow are exported, too.
    pub fn exports_all(&self) -> bool {
        self.exporter.is_all
    }

    /// Whether anything is printed.
    pub fn is_printing(&self) -> bool {
        self.exporter.printer.is_printing()
    }

    /// The same, for whoever writes them.
    pub fn keep_counters_mut(&mut self) -> &mut KeepCounters {
        &mut self.keep
    }

    /// The latest time heard of.
    pub fn latest(&self) -> Option<Now> {
        self.latest
    }

    /// What everything is set to.
    pub fn config(&self) -> &Config {
        &self.exporter.config
    }

    /// The interfaces that `config` would change, or that `touched`, named in a command, is.
    pub fn changed_interfaces(&self, config: &Config, touched: Option<u32>) -> Vec<u32> {
        let old = &self.exporter.config.interfaces;
        let units = old.keys().chain(config.interfaces.keys());
        let mut changed: Vec<u32> = units
            .copied()
            .filter(|unit| old.get(unit) != config.interfaces.get(unit) || touched == Some(*unit))
            .collect();
        changed.sort_unstable();
        changed.dedup();
        changed
    }

    /// Sends what `units` hold, to where they send now.
    pub fn flush_interfaces(&mut self, now: Now, units: &[u32]) {
        let Exporter {
            interfaces, outbox, ..
        } = &mut self.exporter;
        for interface in interfaces {
            if units.contains(&interface.unit()) {
                interface.flush(now, outbox);
            }
        }
    }

    /// Makes `config` the configuration; `units` are the interfaces it changes, which hold nothing
    /// (see [`Self::flush_interfaces`]). It cannot fail. Interfaces that stay keep their sequence
    /// numbers, those not in `units` everything.
    pub fn commit(&mut self, now: Now, config: Config, units: &[u32]) {
        let Exporter {
            interfaces,
            outbox,
            config: old,
            ifindexes,
            gone,
            ..
        } = &mut self.exporter;
        ifindexes.configure(set_in(&config), config.is_ifindex_auto);
        interfaces.retain(|interface| {
            let stays = config.interfaces.contains_key(&interface.unit());
            if !stays {
                gone.add(&interface.counters);
            }
            stays
        });
        for (&unit, settings) in &config.interfaces {
            if !units.contains(&unit) {
                continue;
            }
            let place = interfaces.binary_search_by_key(&unit, Interface::unit);
            let place = place.unwrap_or_else(|place| {
                interfaces.insert(place, Interface::new(unit, settings.clone()));
                place
            });
            if let Some(interface) = interfaces.get_mut(place) {
                interface.configure(now, settings.clone(), outbox);
            }
        }
        if old.timeouts != config.timeouts {
            self.table.set_timeouts(config.timeouts);
        }
        self.table.set_counting(config.counting);
        if old.states != config.states {
            let bound = config.states;
            self.table
                .set_bound(bound.unwrap_or(Bound::States(self.default_states)));
        }
        self.is_flush_active = config.is_flush_active;
        let soliciting = config.soliciting();
        *old = config;
        self.sync_table(now);
        if self.solicitor.is_some() {
            self.set_soliciting(now, soliciting);
        }
    }

    /// Ends what the end of the program ends: states that are overdue, those alive if `flush active`
    /// asks for them, then records held.
    pub fn finish(&mut self, now: Now) {
        while self.finish_some(now) {}
    }

    /// [`Self::finish`] until there is much to send: then true, and there is more to do.
    #[must_use]
    pub fn finish_some(&mut self, now: Now) -> bool {
        if self.is_behind() {
            self.go_on();
            return true;
        }
        if self.flushed == 0 {
            self.table.release();
            if self.handle_some_timeouts(now, now.uptime) {
                return true;
            }
        }
        let Self {
            table, exporter, ..
        } = self;
        exporter.begin_turn();
        let is_active = self.is_flush_active;
        let done = &mut |now: &Now, flow: &Flow| exporter.flow(now, flow);
        let is_more = table.flush(now, is_active, &mut self.flushed, done);
        exporter.take_more(now, table);
        if is_more {
            return true;
        }
        let is_more = table.give_up_connections();
        exporter.take_more(now, table);
        if is_more {
            return true;
        }
        self.flushed = 0;
        let Exporter {
            interfaces, outbox, ..
        } = exporter;
        for interface in interfaces {
            interface.flush(now, outbox);
        }
        false
    }

    /// The interfaces, in the order of their numbers.
    pub fn interfaces(&self) -> &[Interface] {
        &self.exporter.interfaces
    }

    /// What comes from this host is of a machine whose boot is known so.
    pub fn set_local_boot(&mut self, boot: Boot) {
        self.table.set_local_boot(boot);
    }

    /// Changes which interfaces this host has, and their numbers.
    pub fn set_local_interfaces(&mut self, interfaces: impl Iterator<Item = (IfName, u16)>) {
        self.exporter.ifindexes.set_system(interfaces);
    }

    /// Whether names of interfaces get numbers as they are heard.
    pub fn is_ifindex_auto(&self) -> bool {
        self.exporter.config.is_ifindex_auto
    }

    /// Changes which addresses are this host's.
    pub fn set_local_addresses(&mut self, addresses: Vec<IpAddr>) {
        self.local_addresses = addresses;
    }

    /// Octets that wait to be sent.
    pub fn waiting(&self) -> usize {
        self.exporter.outbox.len()
    }

    /// Takes out the datagrams that wait to be sent. [`Self::recycle`] gives their room back.
    pub fn transmit(&mut self, order: Order) -> Transmit {
        let Exporter {
            interfaces, outbox, ..
        } = &mut self.exporter;
        export::transmit(outbox, interfaces, order)
    }

    /// Takes back the room of datagrams that are done with.
    pub fn recycle(&mut self, transmit: Transmit) {
        self.exporter.outbox.recycle(transmit);
    }

    /// Notes what became of a datagram of interface `unit`.
    pub fn handle_sent(&mut self, unit: u32, datagram: &[u8], outcome: Sent) {
        let Some(interface) = self.interface(unit) else {
            return;
        };
        let records = interface.records_in(datagram);
        let counters = &mut interface.counters;
        match outcome {
            Sent::Yes => {
                counters.datagrams += 1;
                counters.octets += datagram.len() as u64;
                counters.records_sent += records;
                interface.send_problem.take();
                return;
            }
            Sent::NoMemory => counters.no_memory += 1,
            Sent::Failed => counters.send_errors += 1,
            Sent::Overtaken => counters.overtaken += 1,
        }
        counters.records_refused += records;
    }

    /// Notes that a datagram of interface `unit` waits for its turn.
    pub fn handle_delayed(&mut self, unit: u32, datagram: &[u8]) {
        if let Some(interface) = self.interface(unit) {
            interface.delayed += interface.records_in(datagram);
        }
    }

    /// Notes that a datagram of interface `unit` has waited.
    pub fn handle_released(&mut self, unit: u32, datagram: &[u8]) {
        if let Some(interface) = self.interface(unit) {
            interface.delayed -= interface.records_in(datagram);
        }
    }

    /// Notes that so many data records of interface `unit` wait for a stream or a file.
    pub fn handle_queued(&mut self, unit: u32, records: u64) {
        if let Some(interface) = self.interface(unit) {
            interface.delayed += records;
        }
    }

    /// Notes that a stream or a file took messages of interface `unit`.
    pub fn handle_taken(&mut self, unit: u32, taken: Amount) {
        if let Some(interface) = self.interface(unit) {
            interface.delayed -= taken.records;
            interface.counters.add_taken(taken);
        }
    }

    /// Notes that messages of interface `unit` that waited for a stream or a file are lost.
    pub fn handle_lost(&mut self, unit: u32, lost: Amount) {
        if let Some(interface) = self.interface(unit) {
            interface.delayed -= lost.records;
            interface.counters.add_lost(lost);
        }
    }

    /// Notes the same of messages of an interface that is gone.
    pub fn handle_left(&mut self, taken: Amount, lost: Amount) {
        self.exporter.gone.add_taken(taken);
        self.exporter.gone.add_lost(lost);
    }

    /// Notes how it stands with the files of interface `unit`: so many more are whole, and so many
    /// gone.
    pub fn handle_files(&mut self, unit: u32, files: u64, removed: u64, state: FileState) {
        if let Some(interface) = self.interface(unit) {
            interface.counters.files += files;
            interface.counters.files_removed += removed;
            interface.file = state;
        }
    }

    /// Notes what became of connections of interface `unit`.
    pub fn handle_connections(&mut self, unit: u32, connections: Connections) {
        if let Some(counters) = self.interface_counters(unit) {
            counters.connected += connections.made;
            counters.disconnected += connections.lost;
            counters.unconnected += connections.failed;
            counters.renewed += connections.renewed;
            counters.in_doubt += connections.in_doubt;
        }
    }

    /// Notes what the connection of interface `unit` is at.
    pub fn handle_connection(&mut self, unit: u32, connection: Connection) {
        if let Some(interface) = self.interface(unit) {
            interface.connection = Some(connection);
        }
    }

    /// Notes what happened to records of interface `unit` that has a spool.
    pub fn handle_spool(&mut self, unit: u32, tally: SpoolTally) {
        if let Some(interface) = self.interface(unit) {
            let gone = tally.sent + tally.lost + tally.left;
            interface.delayed = (interface.delayed + tally.found).saturating_sub(gone);
            let counters = &mut interface.counters;
            counters.records_sent += tally.sent;
            counters.records_refused += tally.lost;
            counters.spool_found += tally.found;
            counters.spooled += tally.spooled;
            counters.unspooled += tally.unspooled;
            counters.spool_dropped += tally.lost;
            counters.spool_left += tally.left;
        }
    }

    /// Notes what the spool of interface `unit` is at.
    pub fn handle_spool_state(&mut self, unit: u32, state: Option<SpoolState>) {
        if let Some(interface) = self.interface(unit) {
            interface.spool = state;
        }
    }

    /// Notes how many octets of interface `unit` wait for a connection.
    pub fn handle_waiting(&mut self, unit: u32, octets: usize) {
        if let Some(interface) = self.interface(unit) {
            interface.octets_waiting = octets as u64;
        }
    }

    /// A datagram of an interface could not be sent, for this reason.
    pub fn handle_send_problem(&mut self, unit: u32, problem: &std::io::Error) {
        if let Some(interface) = self.interface(unit) {
            // The number behind the words is for programmers.
            let words = problem.to_string();
            let words = words.split(" (os error").next().unwrap_or_default();
            interface.send_problem = Some((problem.kind(), words.to_owned()));
        }
    }

    /// Notes what was reported of datagrams of interface `unit` sent earlier; nothing: no longer.
    pub fn handle_reports(&mut self, unit: u32, reports: Reports) {
        if let Some(interface) = self.interface(unit) {
            interface.handle_reports(reports);
        }
    }

    /// Notes how many datagrams of interface `unit` were handed to taps, and how many found no room
    /// there.
    pub fn handle_tapped(&mut self, unit: u32, taken: u64, dropped: u64) {
        if let Some(counters) = self.interface_counters(unit) {
            counters.tapped += taken;
            counters.tap_dropped += dropped;
        }
    }

    /// Data records of `interface` in datagrams that are made and not sent yet.
    pub fn records_waiting(&self, interface: &Interface) -> u64 {
        self.exporter.outbox.records_of(interface.unit()) + interface.delayed
    }

    /// Notes how many datagrams that taps of interface `unit` had taken were lost there: they count
    /// as dropped, and not as tapped any more.
    pub fn handle_tap_lost(&mut self, unit: u32, lost: u64) {
        if let Some(counters) = self.interface_counters(unit) {
            let lost = lost.min(counters.tapped);
            counters.tapped -= lost;
            counters.tap_dropped += lost;
        }
    }

    /// Notes that a datagram of interface `unit` was tapped without its source address.
    pub fn handle_sourceless(&mut self, unit: u32) {
        if let Some(counters) = self.interface_counters(unit) {
            counters.tap_sourceless += 1;
        }
    }

    fn interface_counters(&mut self, unit: u32) -> Option<&mut InterfaceCounters> {
        Some(&mut self.interface(unit)?.counters)
    }

    fn interface(&mut self, unit: u32) -> Option<&mut Interface> {
        let interfaces = &mut self.exporter.interfaces;
        let place = interfaces.binary_search_by_key(&unit, Interface::unit);
        interfaces.get_mut(place.ok()?)
    }

    /// What interfaces that are gone counted, all together.
    pub fn gone_counters(&self) -> &InterfaceCounters {
        &self.exporter.gone
    }

    /// What standard output is.
    pub fn set_page(&mut self, page: Page) {
        self.exporter.printer.set_page(page);
    }

    /// Prints the next piece of what is printed at the end, behind [`Self::finish`]; whether there is
    /// more.
    #[must_use]
    pub fn finish_printing_some(&mut self) -> bool {
        self.exporter.printer.finish_some()
    }

    /// Output for standard output; the caller clears it.
    pub fn printed(&mut self) -> &mut Vec<u8> {
        self.exporter.printer.buffer()
    }

    /// Lines for the log since the last call.
    pub fn notices(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notices)
    }

    fn notice(&mut self, line: String) {
        if self.notices.len() < MAX_NOTICES {
            self.notices.push(line);
        }
    }

    /// The states.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// Packets and messages of all senders.
    pub fn packet_counters(&self) -> &PacketCounters {
        &self.packets
    }

    /// Flows on their way out.
    pub fn flow_counters(&self) -> FlowCounters {
        let all = self.exporter.protocols.all();
        FlowCounters {
            exported: all.flows(),
            octets: all.octets(),
            exact: all.exact,
            exact_octets: all.exact_octets,
            estimated: all.estimated,
            estimated_octets: all.estimated_octets,
            partial: all.partial,
            partial_octets: all.partial_octets,
            ..self.exporter.counters
        }
    }

    /// The flows exported, by protocol and quality.
    pub fn protocol_counters(&self) -> &ProtocolCounters {
        &self.exporter.protocols
    }
}
