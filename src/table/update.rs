//! Messages: which function takes each in, and the ways of UPD_C and DEL_C.

use super::arrival::{Arrival, FullKind};
use super::expiry_lists::Links;
use super::slot::{Slot, UNSETTLED};
use super::store::Table;
use super::watch::Event;
use crate::accounting::TCP;
use crate::counters::count;
use crate::flow::{End, Flow};
use crate::state::StateId;
use crate::time::Now;
use crate::wire::pfsync::{Compressed, Message};

impl Table {
    /// Takes a message in; `done` gets the flows that end with it. Inlined into the loop over a
    /// section's messages, which knows which kind they are.
    #[inline(always)]
    pub fn apply(
        &mut self,
        arrival: &mut Arrival,
        message: Message<'_>,
        done: &mut impl FnMut(&Now, &Flow),
    ) {
        match message {
            Message::Insert(state) => self.insert_state(arrival, &state, done),
            Message::Update(state) => self.full_state(arrival, &state, FullKind::Update, done),
            Message::Delete(state) => self.full_state(arrival, &state, FullKind::Delete, done),
            Message::UpdateCompressed(update) => self.update_compressed(arrival, &update),
            Message::DeleteCompressed(id) => {
                self.delete_compressed(arrival, id, Slot::state_id, done);
            }
            Message::Clear(clear) => self.clear(arrival.clock, &clear, done),
            Message::Bus(bus) => {
                let stamp = arrival.clock.at(arrival.at).wall;
                self.senders[arrival.sender.0].bus = Some((bus, stamp));
                self.note_bus(arrival, &bus);
                let (sender, status) = (arrival.sender, bus.status);
                self.tell(Event::Bus { sender, status });
            }
            Message::UpdateRequest(id) => self.tell_request(arrival, id),
            Message::InsertAck(_) | Message::Tdb(_) | Message::Unknown { .. } => {}
        }
    }

    /// Takes a DEL_C of the state `id` in, whose identity as it was sent `sent` tells.
    #[inline(always)]
    pub(super) fn delete_compressed(
        &mut self,
        arrival: &Arrival,
        id: StateId,
        sent: impl Fn(&Slot) -> StateId,
        done: &mut impl FnMut(&Now, &Flow),
    ) {
        match self.index.take(id) {
            Some(place) => {
                self.confirm(place);
                self.adopt(place, arrival);
                if self.is_ended_by(place, arrival) {
                    count(&mut self.counters.deleted, 1);
                    self.finish_confirmed(place, sent, &arrival.clock, End::Deleted, done);
                } else {
                    let ifname = self.slots[place].ifname;
                    self.index.insert(id, ifname, place);
                }
            }
            None => {
                self.counters.unknown_delete += 1;
                self.tell(Event::UnknownEnded { id });
            }
        }
    }

    /// Takes a UPD_C in. Most UPD_C tell only that a state goes on as before. Then its sender told
    /// of it before, and counted it; its timeout is the same; nobody watches; and of TCP there is
    /// more data.
    #[inline(always)]
    pub(super) fn update_compressed(&mut self, arrival: &Arrival, update: &Compressed<'_>) {
        let Some(place) = self.find_ahead(update.state) else {
            return self.update_unknown(arrival, update);
        };
        let is_alone = !self.is_observed && !self.has_asides && self.doubtful.is_empty();
        let Self {
            slots,
            shares,
            expiry_lists,
            ..
        } = self;
        let slot = &mut slots[place];
        let sender = arrival.sender.0;
        let goes_on = slot.pftm == update.timeout
            && slot.sender == sender
            && slot.counted_by == sender
            && !slot.is_overdue
            && !arrival.dialect.is_dead(update.timeout, slot.proto);
        if !(is_alone && goes_on && slot.add_data(shares, arrival, update)) {
            return self.update_any(place, arrival, update);
        }
        slot.marks |= UNSETTLED;
        slot.last = slot.last.max(arrival.second);
        slot.seen = arrival.now.uptime;
        let links = Links::of(slot);
        expiry_lists.move_to_tail(slots, place, links);
    }

    /// Takes in a UPD_C of a state that is not held.
    #[cold]
    #[inline(never)]
    fn update_unknown(&mut self, arrival: &Arrival, update: &Compressed<'_>) {
        self.counters.unknown_update += 1;
        self.senders[arrival.sender.0].counters.unknown_updates += 1;
        // The protocol, which is not known, matters for SCTP only.
        if !arrival.dialect.is_dead(update.timeout, TCP) {
            self.tell(Event::Unknown {
                id: update.state,
                sender: arrival.sender,
            });
        }
    }

    /// Takes in whatever a UPD_C tells of the state at `place`.
    #[inline(never)]
    fn update_any(&mut self, place: u32, arrival: &Arrival, update: &Compressed<'_>) {
        let proto = self.slots[place].proto;
        if arrival.dialect.is_dead(update.timeout, proto) {
            self.counters.dead += 1;
            // From 7.4 on it was queued before its sender learned of the end.
            if self.is_deleted(place) {
                self.note_compressed(place, arrival, update);
            }
            return;
        }
        self.adopt(place, arrival);
        self.note_compressed(place, arrival, update);
        let slot = &mut self.slots[place];
        slot.last = slot.last.max(arrival.second);
        self.refresh(place, arrival, update.timeout);
        if self.is_observed {
            self.note_peers(place, update);
            self.tell(Event::Activity {
                place,
                sender: arrival.sender,
                pftm: update.timeout,
            });
        }
    }
}
