//! States as they are while the table holds them, for whoever lists them.

use super::{SenderId, SenderRecord, Table, deadline};
use crate::state::{Direction, IfName, StateId, StateKey};
use crate::table::queues::Class;
use crate::table::slot::Second;
use crate::time::Uptime;

/// A state that the table holds.
#[derive(Clone, Debug)]
pub struct Held<'a> {
    /// Identity.
    pub id: StateId,
    /// Interface it is bound to.
    pub ifname: IfName,
    /// Direction of the packet that made it.
    pub direction: Direction,
    /// Key of the wire's side.
    pub wire: StateKey,
    /// Key of the stack's side.
    pub stack: StateKey,
    /// Packets from the initiator and back, as last heard from every sender, and estimated since.
    pub packets: [u64; 2],
    /// Octets likewise.
    pub octets: [u64; 2],
    /// Uptime in whole seconds of its first packet.
    pub creation: i64,
    /// Uptime in whole seconds of its last packet, where one is known.
    pub last: Option<i64>,
    /// When the last message about it came.
    pub seen: Uptime,
    /// When it is given up if nothing more is heard.
    pub due: Uptime,
    /// PFTM number of the timeout it is in.
    pub pftm: u8,
    /// Who sent the last message about it.
    pub sender: &'a SenderRecord,
    /// Whether its rule says pflow, or its sender cannot tell.
    pub pflow: bool,
    /// Whether its timeout is over and its delete seems lost.
    pub is_overdue: bool,
    /// Whether its counters have something estimated in them.
    pub is_estimated: bool,
}

impl Table {
    /// Numbers below this are places, each of which may hold a state.
    pub fn places(&self) -> u32 {
        self.slots.places()
    }

    /// The state at `place`, if one is held there.
    pub fn held(&self, place: u32) -> Option<Held<'_>> {
        if place >= self.slots.places() || !self.is_held(place) {
            return None;
        }
        let slot = &self.slots[place];
        let epoch = self.epoch_of(slot.sender);
        let keys = slot.key_pair(&self.keys);
        let (total, exported) = self.total(&self.slots[place]);
        let counts = total.minus(&exported);
        let class = Class {
            sender: slot.sender,
            pftm: slot.pftm,
            is_overdue: slot.is_overdue,
        };
        Some(Held {
            id: self.wire_id(slot.state_id()),
            ifname: self.names.name(slot.ifname),
            direction: slot.direction,
            wire: keys.wire,
            stack: keys.stack,
            packets: counts.packets,
            octets: counts.octets,
            creation: slot.creation.uptime(epoch),
            last: (slot.last != Second::NEVER).then(|| slot.last.uptime(epoch)),
            seen: slot.seen.moved(self.offset(slot.sender)),
            due: deadline(&self.settings.timeouts, &self.senders, class, slot.seen),
            pftm: slot.pftm,
            sender: &self.senders[slot.sender],
            pflow: slot.is_pflow(),
            is_overdue: slot.is_overdue,
            is_estimated: self.has_estimate(slot),
        })
    }

    /// Who last spoke of the state at `place`, if one is held there. Cheaper than [`Self::held`].
    pub fn sender_at(&self, place: u32) -> Option<SenderId> {
        let is_place = place < self.slots.places() && self.is_held(place);
        is_place.then(|| SenderId(self.slots[place].sender))
    }
}
