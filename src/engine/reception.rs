//! Takes a packet's messages into the table. They come in runs, each about the states of one
//! creator.

use std::net::IpAddr;

use super::export::Exporter;
use super::meant;
use crate::counters::{PacketCounters, count};
use crate::flow::Flow;
use crate::state::StateId;
use crate::table::{Arrival, SenderId, Table};
use crate::time::{Now, Wall};
use crate::wire::pfsync::{self, Action, Dialect, Error, Listener, Message};

/// What is known of a packet beside its messages.
#[derive(Clone, Copy)]
pub(super) struct Reading {
    pub(super) now: Now,
    pub(super) arrival: Arrival,
    pub(super) stamp: Wall,
    /// Which packet it is, if messages are printed.
    pub(super) number: u64,
    pub(super) source: Option<IpAddr>,
    pub(super) sender: SenderId,
    /// Octets that the capture cut off.
    pub(super) missing: usize,
    /// The dialect of the sender's earlier packets.
    pub(super) remembered: Option<Dialect>,
    /// The first error in it.
    pub(super) error: Option<Error>,
    /// Where reading goes on.
    pub(super) from: pfsync::Position,
}

/// A packet with messages that wait for a CLR before them.
pub(super) struct Paused {
    pub(super) reading: Reading,
    pub(super) payload: Vec<u8>,
}

/// A packet on its way into the table.
pub(super) struct Reception<'a> {
    pub(super) arrival: Arrival,
    pub(super) stamp: Wall,
    /// Which packet it is, if messages are printed.
    pub(super) number: u64,
    pub(super) is_printing: bool,
    pub(super) source: Option<IpAddr>,
    pub(super) sender: SenderId,
    /// The run: whose states the latest messages were about, and how many messages there were.
    pub(super) run: (Option<u32>, u64),
    pub(super) packets: &'a mut PacketCounters,
    pub(super) table: &'a mut Table,
    pub(super) exporter: &'a mut Exporter,
}

impl Reception<'_> {
    /// Ends a run and counts its messages, which were of `action`. The next run is about states of
    /// `creatorid`.
    #[cold]
    fn begin_run(&mut self, creatorid: Option<u32>, action: Action) {
        self.end(action);
        self.run.0 = creatorid;
    }

    /// Takes in a message about a creator whose states are kept by sender. Returns false if the
    /// creator is another.
    #[cold]
    #[inline(never)]
    fn take_by_sender(&mut self, dialect: Dialect, message: Message<'_>) -> bool {
        let creatorid = message.creatorid();
        if !creatorid.is_some_and(|creatorid| self.table.is_by_sender(creatorid)) {
            return false;
        }
        self.begin_run(creatorid, message.action());
        self.run.1 = 1;
        // No run begins here, so that the next message is looked at, too.
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

    /// Inlined into each loop, because a loop knows the kind of its messages. A message is passed
    /// by value, so that it can stay in registers.
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
