//! Ends states that a transfer did not have: see [`super::transfers`].

use super::arrival::Arrival;
use super::deadlines::deadline;
use super::expiry_lists::Class;
use super::senders::SenderId;
use super::store::{PIECE, Table};
use super::transfers::{Look, Transfer};
use crate::flow::{End, Flow};
use crate::time::{Now, Uptime};
use crate::wire::pfsync::{Action, Bus, BusStatus};
use std::time::Duration;

/// How long after END the last states of a transfer may come.
const SETTLE: Duration = Duration::from_secs(2);

/// Between the beginnings of two looks through the table.
const INTERVAL: Duration = Duration::from_secs(10);

impl Table {
    /// A sender says where its transfer is.
    pub(super) fn note_bus(&mut self, arrival: &Arrival, bus: &Bus) {
        let updates = self.updates_of(arrival.sender);
        let now = arrival.clock.uptime;
        let transfer = &mut self.senders[arrival.sender.0].transfer;
        let is_told = transfer.is_some_and(|transfer| transfer.due.is_some());
        match bus.status {
            BusStatus::Start if !is_told => {
                *transfer = Some(Transfer {
                    creatorid: bus.creatorid,
                    began: now,
                    updates,
                    due: None,
                });
            }
            BusStatus::End => {
                let running = transfer.as_mut().filter(|running| running.due.is_none());
                if let Some(running) = running.filter(|running| running.creatorid == bus.creatorid)
                {
                    running.due = Some(now.after(SETTLE));
                    self.plan_look();
                }
            }
            BusStatus::Start | BusStatus::Other(_) => {}
        }
    }

    fn updates_of(&self, sender: SenderId) -> u64 {
        let mut actions = self.senders[sender.0].packets.actions();
        let updates = actions.find(|(action, _)| *action == Action::Update);
        updates.map_or(0, |(_, updates)| updates)
    }

    /// Packets may have been lost: what runs is not complete.
    pub fn note_loss(&mut self) {
        for record in self.senders.all_mut() {
            record.transfer = None;
        }
        self.plan_look();
    }

    /// A packet of this sender was not read whole.
    #[cold]
    pub fn note_damage(&mut self, sender: SenderId) {
        if self.senders[sender.0].transfer.take().is_some() {
            self.plan_look();
        }
    }

    fn plan_look(&mut self) {
        let transfers = self
            .senders
            .all()
            .iter()
            .filter_map(|record| record.transfer);
        let due = transfers.filter_map(|transfer| transfer.due).min();
        let earliest = self.transfers.looked.map(|looked| looked.after(INTERVAL));
        self.transfers.due = match self.transfers.look {
            Some(_) => self.transfers.due,
            None => due.map(|due| earliest.map_or(due, |earliest| due.max(earliest))),
        };
    }

    /// Begins to look what a transfer did not have that is due.
    fn begin_look(&mut self, now: Now) {
        for number in 0..self.senders.all().len() {
            let Ok(number) = u16::try_from(number) else {
                break;
            };
            let Some(transfer) = self.senders[number].transfer else {
                continue;
            };
            if transfer.due.is_none_or(|due| due > now.uptime) {
                continue;
            }
            self.senders[number].transfer = None;
            let had_states = self.updates_of(SenderId(number)) > transfer.updates;
            if had_states && !self.is_by_sender(transfer.creatorid) {
                self.transfers.looked = Some(now.uptime);
                self.transfers.look = Some(Look {
                    creatorid: transfer.creatorid,
                    began: transfer.began,
                    place: 0,
                });
                return;
            }
        }
    }

    /// Ends some of what transfers did not have, if that is due; true if nothing more is.
    pub(super) fn handle_transfers(
        &mut self,
        now: Now,
        done: &mut impl FnMut(&Now, &Flow),
    ) -> bool {
        if self.transfers.due.is_none_or(|due| due > now.uptime) {
            return true;
        }
        if self.transfers.look.is_none() {
            self.begin_look(now);
        }
        let Some(mut look) = self.transfers.look.take() else {
            self.plan_look();
            return true;
        };
        let end = look.place.saturating_add(PIECE).min(self.slots.places());
        for place in std::mem::replace(&mut look.place, end)..end {
            if self.is_held(place) && self.is_missing(place, &look) {
                self.end(place, now, End::Expired, done);
            }
        }
        if end < self.slots.places() {
            self.transfers.look = Some(look);
            return false;
        }
        self.plan_look();
        true
    }

    /// Whether a transfer shows that the state has ended.
    fn is_missing(&self, place: u32, look: &Look) -> bool {
        let slot = &self.slots[place];
        let seen = slot.seen.moved(self.offset(slot.sender));
        if slot.creatorid != look.creatorid || seen >= look.began || self.is_deleted(place) {
            return false;
        }
        let is_before = |restored: Uptime| seen < restored && restored <= look.began;
        let class = Class {
            is_overdue: false,
            ..Class::of(slot)
        };
        let due = || deadline(&self.settings.timeouts, &self.senders, class, slot.seen);
        self.transfers.restored.is_some_and(is_before) || slot.is_overdue && due() <= look.began
    }
}
