//! Keep files: the table, and the numbers with which interfaces go on after a restart.

use super::export::Exporter;
use super::parts::Engine;
use crate::counters::KeepCounters;
use crate::export::{self, Domain, Interface, Order};
use crate::table::{KeepCursor, Restore};
use crate::time::Now;
use crate::wire::keep::{Record, Records};

impl Engine {
    /// Takes back what a keep file holds, before [`Self::start`].
    pub fn restore(&mut self, now: Now, is_clean: bool, records: Records<'_>) {
        self.sync_table(now);
        let mut restore = Restore::new(now, is_clean);
        for record in records {
            self.table.restore(&mut restore, &record);
            self.restore_export(&record);
        }
        self.table.end_restore(restore);
    }

    /// Restores the numbers of an interface, or of an interface's name.
    fn restore_export(&mut self, record: &Record) {
        match *record {
            Record::Interface {
                unit,
                packed,
                sequence,
            } => {
                if let Some(interface) = self.interface(unit) {
                    let domain = interface.settings().domain;
                    let session = interface.session_mut();
                    session.set_records(packed);
                    if let Domain::Number(domain) = domain {
                        session.set_sequence(domain, sequence);
                    }
                }
            }
            Record::Domain {
                unit,
                domain,
                sequence,
            } => {
                if let Some(interface) = self.interface(unit)
                    && interface.settings().domain == Domain::Creatorid
                {
                    interface.session_mut().set_sequence(domain, sequence);
                }
            }
            Record::Source {
                unit,
                source,
                messages,
            } => {
                if let Some(interface) = self.interface(unit) {
                    interface.session_mut().set_messages(source, messages);
                }
            }
            Record::IfIndex { name, index } if self.exporter.config.is_ifindex_auto => {
                self.exporter.ifindexes.restore(name, index);
            }
            _ => {}
        }
    }

    /// Appends the next records of a keep file to `out`. Returns true if they are the last. With
    /// the last ones the records that interfaces hold are sent, so that none is missing from both.
    pub fn keep_step(&mut self, now: Now, cursor: &mut KeepCursor, out: &mut Vec<u8>) -> bool {
        if !self.table.keep_step(cursor, now, out) {
            return false;
        }
        for (name, index) in self.exporter.ifindexes.given() {
            Record::IfIndex { name, index }.encode(out);
        }
        let Exporter {
            interfaces, outbox, ..
        } = &mut self.exporter;
        for interface in interfaces.iter_mut() {
            interface.flush(now, outbox);
        }
        // The messages are numbered now, so that the file's numbers are behind them.
        export::stamp(outbox, interfaces, Order::Packed);
        for interface in interfaces {
            keep_interface(interface, out);
        }
        true
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

    /// What was counted of keep files, to count more.
    pub fn keep_counters_mut(&mut self) -> &mut KeepCounters {
        &mut self.keep
    }
}

/// Appends the numbers with which `interface` goes on.
fn keep_interface(interface: &Interface, out: &mut Vec<u8>) {
    let (unit, session) = (interface.unit(), interface.session());
    let own_domain = interface.settings().domain;
    let interface = Record::Interface {
        unit,
        packed: session.records(),
        sequence: match own_domain {
            Domain::Number(domain) => session.sequence(domain),
            Domain::Creatorid => 0,
        },
    };
    interface.encode(out);
    for &(source, messages) in session.messages() {
        let source = Record::Source {
            unit,
            source,
            messages,
        };
        source.encode(out);
    }
    if own_domain != Domain::Creatorid {
        return;
    }
    for &(domain, sequence) in session.sequences() {
        let domain = Record::Domain {
            unit,
            domain,
            sequence,
        };
        domain.encode(out);
    }
}
