//! The way of a finished flow: a filter leaves it out, or it is counted, offered to interfaces and
//! printed.

use super::handed::Settings;
use crate::config::Config;
use crate::counters::{FlowCounters, InterfaceCounters, ProtocolCounters, count};
use crate::export::{Interface, Outbox, TemplateSet};
use crate::filter::{Filter, Subject};
use crate::flow::{End, Flow, Passage, Records};
use crate::ifindexes::IfIndexes;
use crate::output::Printer;
use crate::state::{Direction, IfName};
use crate::table::{self, NatEvent, Table};
use crate::time::Now;

/// So many octets that wait to be sent or printed are much.
const MUCH: usize = 1 << 20;

/// The numbers that `config` sets.
pub(super) fn set_in(config: &Config) -> impl Iterator<Item = (IfName, u16)> {
    let set = config.ifindexes.iter();
    set.map(|(name, index)| (IfName::from_bytes(name), *index))
}

/// The numbers of interfaces, as `config` has them.
fn ifindexes_of(config: &Config) -> IfIndexes {
    let mut ifindexes = IfIndexes::default();
    ifindexes.configure(set_in(config), config.is_ifindex_auto);
    ifindexes
}

/// The filters, the interfaces, and what prints.
pub(super) struct Exporter {
    pub(super) config: Config,
    pub(super) ifindexes: IfIndexes,
    pub(super) is_all: bool,
    pub(super) direction: Option<Direction>,
    /// Whether -S or -F leaves flows out.
    pub(super) is_choosy: bool,
    /// The filter of -F, with its times of day resolved.
    pub(super) filter: Option<Filter>,
    pub(super) interfaces: Vec<Interface>,
    pub(super) outbox: Outbox,
    pub(super) printer: Printer,
    /// Counts records and flows left out. `protocols` counts the flows exported.
    pub(super) counters: FlowCounters,
    /// Flows exported by protocol and quality.
    pub(super) protocols: ProtocolCounters,
    /// The counters of interfaces that are gone.
    pub(super) gone: InterfaceCounters,
    /// Interfaces that exported parts of the next flow, and have just exported the rest of it.
    pub(super) served: Vec<u32>,
}

impl Exporter {
    /// Makes the interfaces and the printer.
    pub(super) fn new(settings: &Settings, config: Config) -> Self {
        let interfaces = config.interfaces.iter();
        Self {
            interfaces: interfaces
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
        }
    }

    /// Whether anybody wants all that full states tell.
    pub(super) fn wants_details(&self) -> bool {
        let asks = |filter: &Option<Filter>| filter.as_ref().is_some_and(Filter::needs_details);
        let mut interfaces = self.config.interfaces.values();
        self.printer.shows_details()
            || asks(&self.filter)
            || interfaces.any(|of| of.templates == TemplateSet::Full || asks(&of.only))
    }

    /// Whether it is time to send and to print.
    pub(super) fn has_much(&mut self) -> bool {
        self.outbox.len() + self.printer.buffer().len() >= MUCH
    }

    pub(super) fn begin_turn(&mut self) {
        match self.interfaces.as_mut_slice() {
            // Mostly there is one interface, and one needs no loop.
            [interface] => interface.begin_turn(),
            interfaces => {
                for interface in interfaces {
                    interface.begin_turn();
                }
            }
        }
    }

    /// Takes a flow, or a part of one, to its interfaces. Everything that ends states calls this
    /// one function. So the functions that it calls are inlined only once.
    #[inline(never)]
    pub(super) fn flow(&mut self, now: &Now, flow: &Flow) {
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

    /// Counts a part of a flow for an interface with an active timeout. Returns whether the part
    /// goes out.
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
        // A flow without octets is counted as empty, and not as left out by -F.
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

    /// Counts a flow. Returns whether it goes out.
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
        // Each direction with octets has a record. Here at least one direction has octets.
        let is_both = octets > 0 && octets_back > 0;
        count(&mut counters.records, 1 + u64::from(is_both));
        true
    }

    /// Takes a connection, or a part of one, to the interfaces that export connections.
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
        // Mostly a flow is for all interfaces, and then nothing has to be searched.
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

    /// Takes connections and NAT events that are ready out of `table`.
    #[inline(always)]
    pub(super) fn take_more(&mut self, now: Now, table: &mut Table) {
        if table.has_more_than_flows() {
            self.take_connections(table);
            self.take_nat_events(now, table);
        }
    }

    #[cold]
    pub(super) fn take_connections(&mut self, table: &mut Table) {
        for connection in table.take_connections() {
            self.connection(&connection);
        }
    }

    /// Takes NAT events to their interfaces. If -S or -F leaves a flow out, it leaves out the
    /// flow's events, too. An event needs no octets.
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
