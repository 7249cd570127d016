//! The engine's parts, and the functions that read them.

use std::net::IpAddr;

use jiff::tz::TimeZone;

use super::export::Exporter;
use super::handed::Settings;
use super::reception::Paused;
use crate::config::Config;
use crate::counters::{
    FlowCounters, InterfaceCounters, KeepCounters, PacketCounters, ProtocolCounters,
    SolicitCounters,
};
use crate::export::Interface;
use crate::filter::Filter;
use crate::flow::Boot;
use crate::output::page::Page;
use crate::solicit::Solicitor;
use crate::state::IfName;
use crate::table::{self, Bound, Table};
use crate::time::{Now, Uptime};

/// Most lines that wait for the log. Further lines are dropped.
const MAX_NOTICES: usize = 64;

/// All of pflow except its descriptors and clocks.
pub struct Engine {
    pub(super) table: Table,
    pub(super) exporter: Exporter,
    /// Asks firewalls for states, if told to.
    pub(super) solicitor: Option<Solicitor>,
    /// Most states held if the configuration says nothing.
    pub(super) default_states: u32,
    pub(super) local_addresses: Vec<IpAddr>,
    /// The latest time heard of.
    pub(super) latest: Option<Now>,
    /// All that was due up to this time is done.
    pub(super) settled: Uptime,
    /// The end of a silence of more than an hour.
    pub(super) gap_until: Option<Uptime>,
    /// All packets and messages.
    pub(super) packets: PacketCounters,
    pub(super) notices: Vec<String>,
    /// Keep files written.
    pub(super) keep: KeepCounters,
    /// Why the last keep file could not be written.
    pub(super) keep_problem: Option<String>,
    /// The packet that is being read, while a CLR in it has states to end.
    pub(super) paused: Option<Box<Paused>>,
    /// Where [`Self::finish_some`] goes on.
    pub(super) flushed: u32,
    /// The zone of times that have none.
    pub(super) zone: TimeZone,
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
            default_states: settings.states,
            exporter: Exporter::new(&settings, config),
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

    /// The solicitor, which asks firewalls for states, if that is on.
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

    /// Whether states whose rule does not say pflow are exported, too.
    pub fn exports_all(&self) -> bool {
        self.exporter.is_all
    }

    /// Whether anything is printed.
    pub fn is_printing(&self) -> bool {
        self.exporter.printer.is_printing()
    }

    /// The latest time heard of.
    pub fn latest(&self) -> Option<Now> {
        self.latest
    }

    /// What everything is set to.
    pub fn config(&self) -> &Config {
        &self.exporter.config
    }

    /// The interfaces, in the order of their numbers.
    pub fn interfaces(&self) -> &[Interface] {
        &self.exporter.interfaces
    }

    /// Sets what is known of this host's boot time, for states that come from this host.
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

    pub(super) fn interface(&mut self, unit: u32) -> Option<&mut Interface> {
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

    /// After [`Self::finish`]: prints the next piece of the end of the output. Returns whether
    /// there is more.
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

    pub(super) fn notice(&mut self, line: String) {
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

    /// Tells the solicitor what happened in the table.
    pub(super) fn take_events(&mut self, now: Now) {
        if let Some(solicitor) = &mut self.solicitor {
            solicitor.take(now, &mut self.table);
        }
    }
}
