//! Messages to send, and the counters of what became of them, by interface.

use super::export::Exporter;
use super::parts::Engine;
use crate::counters::{InterfaceCounters, Reports};
use crate::export::spool::SpoolTally;
use crate::export::{
    self, Amount, Connection, Connections, FileState, Interface, Order, SpoolState, Transmit,
};

/// What became of a datagram.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Sent {
    /// The system took it.
    Yes,
    /// There was no buffer for it.
    NoMemory,
    /// It could not be sent.
    Failed,
    /// It was dropped, because too many datagrams waited for their turn.
    Overtaken,
}

impl Engine {
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

    /// Takes back the memory of datagrams that were sent, so that it is used again.
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

    /// Notes the state of the files of interface `unit`, how many more are whole, and how many were
    /// removed.
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
            // The number behind the words helps no operator, so it is cut off.
            let words = problem.to_string();
            let words = words.split(" (os error").next().unwrap_or_default();
            interface.send_problem = Some((problem.kind(), words.to_owned()));
        }
    }

    /// Notes what was reported of earlier datagrams of interface `unit`. No report means that the
    /// trouble is over.
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

    /// Notes how many datagrams the taps of interface `unit` took and then lost. They now count as
    /// dropped and not as tapped.
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

    pub(super) fn interface_counters(&mut self, unit: u32) -> Option<&mut InterfaceCounters> {
        Some(&mut self.interface(unit)?.counters)
    }
}
