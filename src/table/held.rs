//! States as they are while the table holds them, for whoever lists them.

use super::deadlines::deadline;
use super::senders::{Sender, SenderId, SenderRecord};
use super::store::Table;
use crate::filter::{Firewall, Subject};
use crate::flow::{self, Detail, End, Quality};
use crate::state::{Direction, IfName, StateId, StateKey};
use crate::table::expiry_lists::Class;
use crate::table::slot::Second;
use crate::time::{Now, Uptime, Wall};

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
    /// What its counters would be worth if it ended now.
    pub quality: Quality,
    /// What else full states told, where somebody asks for it.
    pub detail: Option<Detail>,
}

impl Held<'_> {
    /// Hands `with` what a filter is asked about this state at `now`.
    pub fn with_subject<T>(&self, now: Now, with: impl FnOnce(&Subject<'_>) -> T) -> T {
        let (before, after) = flow::tuples(self.direction, &self.wire, &self.stack);
        let wall = |uptime| Wall::from_millis(now.seconds().epoch_millis(uptime));
        let is = |direction| self.direction == direction;
        let age = now.uptime.secs().saturating_sub(self.creation);
        with(&Subject {
            before: Some(&before),
            after: after.as_ref(),
            directions: [is(Direction::In), is(Direction::Out)],
            interfaces: [Some(self.ifname), None],
            rule: self.detail.map(|detail| detail.rule),
            firewall: Some(match self.sender.sender {
                Sender::Address(address) => Firewall::Address(address),
                Sender::Local | Sender::Other => Firewall::Local,
            }),
            creatorid: Some(self.id.creatorid),
            quality: Some(self.quality),
            octets: Some(self.octets),
            packets: Some(self.packets),
            duration: Some(u64::try_from(age).unwrap_or(0)),
            span: Some((wall(self.creation), wall(self.seen.secs()))),
        })
    }
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
            ifname: self.ifnames.name(slot.ifname),
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
            quality: self.quality(slot, End::Active),
            detail: self.detail_of(place),
        })
    }

    /// Whether what only full states tell is kept.
    pub fn has_details(&self) -> bool {
        self.details.is_on()
    }

    /// Who last spoke of the state at `place`, if one is held there. Cheaper than [`Self::held`].
    pub fn sender_at(&self, place: u32) -> Option<SenderId> {
        let is_place = place < self.slots.places() && self.is_held(place);
        is_place.then(|| SenderId(self.slots[place].sender))
    }
}
