//! What a turn of an interface's connection comes to.

use std::net::SocketAddr;

use crate::export::spool::SpoolTally;
use crate::export::{Amount, Connection, Connections};
use crate::io::log::Level;

/// What turns came to, for the counters, the log and the taps.
#[derive(Default)]
pub(super) struct Turn {
    pub(super) taken: Amount,
    pub(super) lost: Amount,
    pub(super) connections: Connections,
    pub(super) lines: Vec<(Level, String)>,
    /// If it is wanted: what was taken, and between whom.
    pub(super) messages: Option<Vec<Message>>,
    pub(super) connection: Option<Connection>,
    /// What happened to its spool.
    pub(super) spool: Option<SpoolTally>,
}

/// A message that was taken, and its ends.
pub(super) type Message = ((SocketAddr, SocketAddr), Vec<u8>);

impl Turn {
    pub(super) fn line(&mut self, level: Level, line: String) {
        self.lines.push((level, line));
    }

    /// Takes over what happened to a spool.
    pub(super) fn note_spool(&mut self, happened: Option<(SpoolTally, Vec<String>)>) {
        let Some((tally, lines)) = happened else {
            return;
        };
        self.spool.get_or_insert_default().add(&tally);
        for line in lines {
            self.line(Level::Warning, format!("spool: {line}"));
        }
    }
}

/// Both.
pub(super) fn add(one: Amount, other: Amount) -> Amount {
    Amount {
        messages: one.messages + other.messages,
        templates: one.templates + other.templates,
        records: one.records + other.records,
        octets: one.octets + other.octets,
    }
}
