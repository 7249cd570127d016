//! Reads a packet: its link layer, its sender and its messages. Notes how it was read. A CLR in the
//! packet may make the rest wait.

use super::handed::Packet;
use super::parts::Engine;
use super::reception::{Paused, Reading, Reception};
use crate::counters::Reason;
use crate::table::{Sender, SenderId};
use crate::time::{Now, Wall};
use crate::wire::link;
use crate::wire::pfsync::{self, Error};

impl Engine {
    /// Takes a packet in. A CLR in it may end more flows than should wait to be sent at once. Then
    /// [`Self::is_behind`] is true, and the caller sends and calls [`Self::go_on`]. The next packet,
    /// the next timers and the end wait until this packet is read.
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
        let reading = Reading {
            now,
            arrival,
            stamp: packet.stamp,
            number,
            source: datagram.source,
            sender: id,
            missing: datagram.missing,
            remembered,
            error: None,
            from: pfsync::Position::default(),
        };
        self.read(reading, creatorid, datagram.payload);
    }

    /// Whether a packet is half read, and [`Self::go_on`] reads on.
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

    /// Reads the rest of a packet of pfsync, from where [`Reading::from`] says.
    fn read_on(&mut self, reading: Reading, payload: &[u8]) {
        let sender = self.table.sender_record(reading.sender);
        let creatorid = sender.latest_creator();
        self.read(reading, creatorid, payload);
    }

    /// Reads a packet of pfsync up to its end, or to a CLR that ends many states. The first
    /// messages are probably about states of `creatorid`.
    #[inline(always)]
    fn read(&mut self, reading: Reading, creatorid: Option<u32>, payload: &[u8]) {
        // Taken apart, so that its fields can stay in registers.
        let Reading {
            now,
            arrival,
            stamp,
            number,
            source,
            sender,
            missing,
            remembered,
            error,
            from,
        } = reading;
        let mut reception = Reception {
            arrival,
            stamp,
            number,
            is_printing: number > 0,
            source,
            sender,
            run: (creatorid, 0),
            packets: &mut self.packets,
            table: &mut self.table,
            exporter: &mut self.exporter,
        };
        let mut outcome = pfsync::decode_to(payload, missing, remembered, from, &mut reception);
        if let Some(error) = error {
            outcome.result = Err(error);
        }
        if let Some(from) = outcome.paused {
            let reading = Reading {
                now,
                arrival: reception.arrival,
                stamp,
                number,
                source,
                sender,
                missing,
                remembered,
                error: outcome.result.err(),
                from,
            };
            self.pause(reading, payload);
            return;
        }
        self.note_outcome(now, stamp, sender, outcome);
    }

    #[cold]
    fn pause(&mut self, reading: Reading, payload: &[u8]) {
        self.exporter.take_more(reading.now, &mut self.table);
        let payload = payload.to_vec();
        self.paused = Some(Box::new(Paused { reading, payload }));
    }

    /// Notes how a packet was read, after all its messages were taken in.
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

    /// Logs the steps that senders' clocks made.
    #[cold]
    fn tell_steps(&mut self) {
        for (id, by) in self.table.take_steps() {
            let sender = self.table.record_of(id).sender;
            self.notice(format!("clock of {sender} moved by {by} s"));
        }
    }

    /// Notes that packets were lost before they could be read. `packets` is as many as are known
    /// of.
    pub fn note_loss(&mut self, now: Now, packets: u64) {
        for interface in &mut self.exporter.interfaces {
            interface.note_ignored(now, packets);
        }
        self.table.note_loss();
        if let Some(solicitor) = &mut self.solicitor {
            solicitor.lost(now);
        }
    }
}
