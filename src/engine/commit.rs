//! The configuration: which interfaces a new one changes, and the change itself, which cannot fail.

use super::export::{Exporter, set_in};
use super::parts::Engine;
use crate::config::Config;
use crate::export::{Events, Interface};
use crate::flow::Records;
use crate::solicit::{self, Solicitor};
use crate::table::Bound;
use crate::time::Now;

impl Engine {
    /// Configures every interface. Templates go out at `now`. Times of day in -F are of the day of
    /// `now`.
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

    /// The interfaces that `config` would change, and `touched`, which a command named.
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

    /// Sends the records that `units` hold to their present destinations.
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

    /// Puts `config` in force. This cannot fail. `units` are the interfaces that `config` changes;
    /// they must hold no records ([`Self::flush_interfaces`]). Interfaces that stay keep their
    /// sequence numbers. Those not in `units` keep everything.
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
        let soliciting = config.soliciting();
        *old = config;
        self.sync_table(now);
        if self.solicitor.is_some() {
            self.set_soliciting(now, soliciting);
        }
    }

    /// Tells the table what the configuration needs: details of full states, parts of long flows,
    /// NAT events, connections.
    pub(super) fn sync_table(&mut self, now: Now) {
        self.table.set_details(self.exporter.wants_details());
        let Exporter {
            interfaces,
            config,
            printer,
            ..
        } = &mut self.exporter;
        let settings = config.interfaces.iter();
        let active: Vec<_> = settings.map(|(unit, of)| (*unit, of.active)).collect();
        self.table.set_active(now.uptime, &active);
        let settings = config.interfaces.iter();
        let asking = settings.filter(|(_, of)| of.events == Events::Nat);
        let asking: Vec<_> = asking.map(|(unit, of)| (*unit, of.delay)).collect();
        self.table.set_nat_events(&asking);
        let default = config.records;
        let units = interfaces.iter_mut().filter_map(|interface| {
            interface.set_records(default);
            interface.has_connections(default).then(|| interface.unit())
        });
        let units = units.collect();
        let is_printed = default == Records::Connection && printer.prints_flows();
        self.table.set_connections(is_printed, units);
        self.exporter.take_connections(&mut self.table);
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
}
