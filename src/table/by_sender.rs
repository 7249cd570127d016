//! Messages of creators whose states are told apart by sender: see [`super::host_ids`].

use super::arrival::Arrival;
use super::arrival::FullKind;
use super::held::Held;
use super::host_ids::{Creator, FURTHER, HostIds, MAX_SENDERS_APART, SharedHostId, Stage};
use super::senders::{Sender, SenderId};
use super::slot::DELETED;
use super::slot::Moment;
use super::store::{Clearing, Table};
use crate::flow::Flow;
use crate::state::StateId;
use crate::time::{Now, Uptime};
use crate::wire::pfsync::{Clear, Compressed, Message, State, Values};
use std::time::Duration;

/// How long a suspicion lasts that nothing confirms.
const SUSPICION: Duration = Duration::from_secs(3600);

/// Where the search for an alias begins. It is the same in every run, because a replay must be the
/// same. What a keep file says of states that are gone is found again, too.
fn first_alias(creatorid: u32, sender: Sender) -> u32 {
    // FNV-1a, 32 bits.
    let step = |hash: u32, octet: &u8| (hash ^ u32::from(*octet)).wrapping_mul(0x0100_0193);
    let hash = creatorid.to_be_bytes().iter().fold(0x811c_9dc5, step);
    match sender {
        Sender::Local | Sender::Other => hash,
        Sender::Address(address) => match address {
            std::net::IpAddr::V4(address) => address.octets().iter().fold(hash, step),
            std::net::IpAddr::V6(address) => address.octets().iter().fold(hash, step),
        },
    }
}

impl Table {
    /// Whether the states of any creator are kept by sender.
    #[inline(always)]
    pub fn tells_senders_apart(&self) -> bool {
        !self.host_ids.is_empty()
    }

    /// The state that a message of `sender` calls `id`, if it is held.
    pub fn held_as(&self, id: StateId, sender: SenderId) -> Option<Held<'_>> {
        let host_ids = &self.host_ids;
        let alias = host_ids.alias(id.creatorid, sender.0);
        let own = alias.and_then(|creatorid| self.index.find(StateId { creatorid, ..id }));
        let is_apart = host_ids.stage(id.creatorid) == Some(Stage::ToldApart);
        let is_own = |place: &u32| !is_apart || self.slots[*place].counted_by == sender.0;
        let place = own.or_else(|| self.index.find(id).filter(is_own));
        self.held(place?)
    }

    /// Host ids that two firewalls were found to use since the last call.
    pub fn take_shared_host_ids(&mut self) -> Vec<SharedHostId> {
        let HostIds { shared, told, .. } = &mut self.host_ids;
        let news = shared.get(*told..).unwrap_or_default().to_vec();
        *told = shared.len();
        news
    }

    /// Host ids that two firewalls were found to use.
    pub fn shared_host_ids(&self) -> &[SharedHostId] {
        &self.host_ids.shared
    }

    /// [`Self::apply`] of a message about a creator whose states are kept by sender.
    #[cold]
    pub fn apply_by_sender(
        &mut self,
        arrival: &mut Arrival,
        message: &Message<'_>,
        done: &mut impl FnMut(&Now, &Flow),
    ) {
        let Some(creatorid) = message.creatorid() else {
            return self.apply(arrival, *message, done);
        };
        // States may end here.
        self.begin_ahead();
        self.end_suspicion(creatorid, arrival.now.uptime);
        match message {
            Message::Insert(state) => self.full_by_sender(arrival, state, FullKind::Insert, done),
            Message::Update(state) => self.full_by_sender(arrival, state, FullKind::Update, done),
            Message::Delete(state) => self.full_by_sender(arrival, state, FullKind::Delete, done),
            Message::UpdateCompressed(update) => {
                let state = self.id_by_sender(arrival, update.state, done);
                self.update_compressed(arrival, &Compressed { state, ..*update });
            }
            Message::DeleteCompressed(sent) => {
                let id = self.id_by_sender(arrival, *sent, done);
                self.delete_compressed(arrival, id, |_| *sent, done);
            }
            Message::Clear(clear) => self.clear_by_sender(arrival, clear, done),
            message => self.apply(arrival, *message, done),
        }
    }

    fn has_states_of(&self, creatorid: u32) -> bool {
        let ifname = self.ifnames.first_of(creatorid);
        self.index.oldest_of(creatorid, ifname).next().is_some()
    }

    /// Forgets a suspicion that nothing confirmed.
    fn end_suspicion(&mut self, creatorid: u32, now: Uptime) {
        let Some(creator) = self.host_ids.creators.get(&creatorid) else {
            return;
        };
        let Stage::Suspected { since } = creator.stage else {
            return;
        };
        let is_used = |(_, alias): &(u16, u32)| self.has_states_of(*alias);
        if now.since(since) <= SUSPICION || creator.aliases.iter().any(is_used) {
            return;
        }
        let HostIds {
            creators, aliases, ..
        } = &mut self.host_ids;
        let forgotten = creators.remove(&creatorid).map(|creator| creator.aliases);
        for (_, alias) in forgotten.unwrap_or_default() {
            creators.remove(&alias);
            aliases.remove(&alias);
        }
        self.host_ids.changes += 1;
    }

    /// What the table knows as the state that the sender of a message calls `id`.
    fn id_by_sender(
        &mut self,
        arrival: &Arrival,
        id: StateId,
        done: &mut impl FnMut(&Now, &Flow),
    ) -> StateId {
        let sender = arrival.sender.0;
        let host_ids = &self.host_ids;
        let alias = host_ids.alias(id.creatorid, sender);
        let own = alias.map(|creatorid| StateId { creatorid, ..id });
        if let Some(own) = own.filter(|own| self.index.find(*own).is_some()) {
            return own;
        }
        if host_ids.stage(id.creatorid) != Some(Stage::ToldApart) {
            return id;
        }
        let creatorid = self.alias(id.creatorid, sender);
        let own = StateId { creatorid, ..id };
        if let Some(place) = self.index.find(id)
            && self.slots[place].counted_by == sender
        {
            self.move_to_alias(place, arrival.clock, done);
        }
        own
    }

    /// The alias of a creator's `sender`, a new one if it has none.
    fn alias(&mut self, creatorid: u32, sender: u16) -> u32 {
        if let Some(alias) = self.host_ids.alias(creatorid, sender) {
            return alias;
        }
        let aliases = self.host_ids.creators.get(&creatorid);
        let is_full = aliases.is_some_and(|creator| creator.aliases.len() >= MAX_SENDERS_APART);
        let sender = if is_full { FURTHER } else { sender };
        let who = match sender {
            FURTHER => Sender::Other,
            sender => self.senders[sender].sender,
        };
        let mut alias = first_alias(creatorid, who);
        while alias == 0 || self.is_by_sender(alias) || self.has_states_of(alias) {
            alias = alias.wrapping_add(1);
        }
        let HostIds {
            creators, aliases, ..
        } = &mut self.host_ids;
        if let Some(creator) = creators.get_mut(&creatorid) {
            creator.aliases.push((sender, alias));
        }
        aliases.insert(alias, creatorid);
        // Should a firewall have that very number, its states get another.
        creators.insert(
            alias,
            Creator {
                stage: Stage::ToldApart,
                aliases: Vec::new(),
            },
        );
        alias
    }

    fn full_by_sender(
        &mut self,
        arrival: &mut Arrival,
        state: &State<'_>,
        kind: FullKind,
        done: &mut impl FnMut(&Now, &Flow),
    ) {
        let values = state.values();
        let sent = values.id;
        let id = self.id_by_sender(arrival, sent, done);
        let values = Values { id, ..values };
        if id == sent
            && let Some(place) = self.index.find(id)
            && self.has_key(place, &values)
            && let Some(other) = self.other_holder(id)
        {
            self.tell_apart(id.creatorid, [arrival.sender.0, other]);
        }
        // It may have been told apart by now.
        let id = self.id_by_sender(arrival, sent, done);
        self.full_as(arrival, state, Values { id, ..values }, kind, done);
    }

    /// A sender by whom a state with this `id` is kept, which is the one that was sent.
    fn other_holder(&self, id: StateId) -> Option<u16> {
        let creator = self.host_ids.creators.get(&id.creatorid)?;
        let holds = |(_, creatorid): &&(u16, u32)| {
            let id = StateId {
                creatorid: *creatorid,
                ..id
            };
            self.index.find(id).is_some()
        };
        creator
            .aliases
            .iter()
            .find(holds)
            .map(|(sender, _)| *sender)
    }

    /// Whether a full state is of another firewall than the state held at `place`, which has its id
    /// and another key. It is not if its sender told of the state held: that sender has used its id
    /// again.
    #[cold]
    pub(super) fn is_anothers(
        &self,
        place: u32,
        arrival: &Arrival,
        state: &Values<'_>,
        kind: FullKind,
    ) -> bool {
        let (slot, sender) = (&self.slots[place], arrival.sender.0);
        let is_known = |number: u16| self.senders[number].sender != Sender::Other;
        kind != FullKind::Delete
            && !slot.is_overdue
            && slot.pftm != DELETED
            && slot.counted_by != sender
            && is_known(sender)
            && is_known(slot.counted_by)
            && self.find_share(place, sender).is_none()
            && !self.has_key(place, state)
    }

    /// Suspects that the creator of the state held at `place` is two, of which `arrival` shows the
    /// other's. What that one's state is to be known as; `None` if there is no room for one more.
    #[cold]
    pub(super) fn suspect(
        &mut self,
        place: u32,
        arrival: &Arrival,
        id: StateId,
    ) -> Option<StateId> {
        let (now, sender) = (arrival.now.uptime, arrival.sender.0);
        let slot = &self.slots[place];
        let (holder, told) = (slot.counted_by, slot.full);
        match self.host_ids.stage(id.creatorid) {
            // The one held was told after the other's was: they take turns.
            Some(Stage::Suspected { since }) if is_after(told, since, now) => {
                self.tell_apart(id.creatorid, [holder, sender]);
            }
            Some(_) => {}
            None => {
                if self.host_ids.is_full() {
                    self.counters.host_ids_refused += 1;
                    return None;
                }
                let creator = Creator {
                    stage: Stage::Suspected { since: now },
                    aliases: Vec::new(),
                };
                self.host_ids.creators.insert(id.creatorid, creator);
                self.host_ids.changes += 1;
            }
        }
        let creatorid = self.alias(id.creatorid, sender);
        Some(StateId { creatorid, ..id })
    }

    /// From now on all states of a creator are kept by sender.
    fn tell_apart(&mut self, creatorid: u32, senders: [u16; 2]) {
        let Some(creator) = self.host_ids.creators.get_mut(&creatorid) else {
            return;
        };
        if creator.stage == Stage::ToldApart {
            return;
        }
        creator.stage = Stage::ToldApart;
        self.host_ids.changes += 1;
        self.counters.host_ids_shared += 1;
        let senders = senders.map(SenderId);
        self.host_ids
            .shared
            .push(SharedHostId { creatorid, senders });
    }

    /// Moves the state at `place`, which is known by its creator, to its sender's alias. The state
    /// may be evicted to make room.
    fn move_to_alias(&mut self, place: u32, now: Now, done: &mut impl FnMut(&Now, &Flow)) {
        let slot = &self.slots[place];
        let (old, sender, number) = (slot.state_id(), slot.counted_by, slot.ifname);
        let creatorid = self.alias(old.creatorid, sender);
        let id = StateId { creatorid, ..old };
        debug_assert!(self.index.find(id).is_none());
        let name = self.ifnames.name(number);
        let ifname = self.ifnames.acquire(creatorid, name.into());
        if self.index.may_take_chunk_for(id, ifname) {
            self.make_page_room(id, ifname, now, done);
        }
        if self.index.find(old) != Some(place) {
            self.ifnames.release(ifname);
            return;
        }
        self.index.take(old);
        self.ifnames.release(number);
        let slot = &mut self.slots[place];
        (slot.creatorid, slot.ifname) = (creatorid, ifname);
        self.index.insert(id, ifname, place);
    }

    /// Moves the next states of a creator, the oldest page first. Returns true if there are more.
    pub(super) fn separate_some(
        &mut self,
        creatorid: u32,
        most: u32,
        now: Now,
        done: &mut impl FnMut(&Now, &Flow),
    ) -> bool {
        let mut moved = 0;
        while moved < most {
            let ifname = self.ifnames.first_of(creatorid);
            let before = moved;
            for place in self.index.oldest_of(creatorid, ifname) {
                if self.slots[place].creatorid == creatorid && self.is_held(place) {
                    self.move_to_alias(place, now, done);
                }
                moved += 1;
            }
            if moved == before {
                return false;
            }
        }
        true
    }

    /// CLR ends the states that its sender showed. While a creator is only suspected, it ends those
    /// of the creator, too.
    fn clear_by_sender(
        &mut self,
        arrival: &Arrival,
        clear: &Clear,
        done: &mut impl FnMut(&Now, &Flow),
    ) {
        let now = arrival.clock;
        let alias = self.host_ids.alias(clear.creatorid, arrival.sender.0);
        let own = |creatorid| Clear {
            creatorid,
            ..*clear
        };
        match self.host_ids.stage(clear.creatorid) {
            Some(Stage::ToldApart) => {
                let creatorid = self.alias(clear.creatorid, arrival.sender.0);
                self.clearing = Some(Clearing::Separate {
                    creatorid: clear.creatorid,
                    clear: own(creatorid),
                });
                self.continue_clear(now, done);
            }
            _ => {
                self.clear(now, clear, done);
                match (alias.map(own), self.is_clearing()) {
                    (None, _) => {}
                    (Some(own), true) => self.next_clear = Some(own),
                    (Some(own), false) => self.clear(now, &own, done),
                }
            }
        }
    }

    /// Takes back that a creator was suspected or told apart when a keep file was written.
    pub(super) fn restore_host_id(&mut self, creatorid: u32, is_told_apart: bool, now: Uptime) {
        let stage = match is_told_apart {
            true => Stage::ToldApart,
            false => Stage::Suspected { since: now },
        };
        let is_known = self.is_by_sender(creatorid);
        if !is_known && self.host_ids.is_full() {
            return;
        }
        let creator = self.host_ids.creators.entry(creatorid);
        let creator = creator.or_insert(Creator {
            stage,
            aliases: Vec::new(),
        });
        creator.stage = stage;
        self.counters.host_ids_shared += u64::from(is_told_apart);
    }

    /// What a state is to be known as that is read back and was first told by `sender`.
    pub(super) fn restored_id(&mut self, id: StateId, sender: u16) -> StateId {
        let is_anothers = |table: &Self| {
            let place = table.index.find(id);
            place.is_some_and(|place| table.slots[place].counted_by != sender)
        };
        let is_apart = match self.host_ids.stage(id.creatorid) {
            None => false,
            Some(Stage::ToldApart) => true,
            Some(Stage::Suspected { .. }) => is_anothers(self),
        };
        if !is_apart {
            return id;
        }
        let creatorid = self.alias(id.creatorid, sender);
        StateId { creatorid, ..id }
    }
}

/// Whether `moment`, which is not long ago, is after `since`.
fn is_after(moment: Moment, since: Uptime, now: Uptime) -> bool {
    moment.until(Moment::new(now)) < now.since(since)
}
