//! Tells whoever watches what happens: see [`super::watch`].

use super::arrival::{Arrival, FullKind};
use super::senders::{LOCAL, SenderId, SenderRecord};
use super::store::Table;
use super::watch::Event;
use crate::state::{Af, StateId};
use crate::wire::pfsync::State;

/// Events that the buffer keeps room for; a CLR can end a million states at once.
const USUAL_EVENTS: usize = 1 << 16;

impl Table {
    /// Begins or stops to keep events for [`Self::take_events`].
    pub fn watch(&mut self, is_watched: bool) {
        self.events = is_watched.then(Vec::new);
        self.measure();
        self.note_asides();
    }

    /// Moves what happened since the last call to `events`, which is empty.
    pub fn take_events(&mut self, events: &mut Vec<Event>) {
        if let Some(mine) = &mut self.events {
            events.shrink_to(USUAL_EVENTS);
            std::mem::swap(mine, events);
        }
    }

    /// The state at a place that an event named and that has not ended since, as it is asked for.
    pub fn state_at(&self, place: u32) -> StateId {
        self.wire_id(self.slots[place].state_id())
    }

    /// Whether a state is held, as an event named it.
    pub fn holds(&self, id: StateId) -> bool {
        self.find(id).is_some()
    }

    /// The place of the state that `local` calls `id`, if it is held.
    pub fn place_of_local(&self, id: StateId) -> Option<u32> {
        let alias = self.host_ids.alias(id.creatorid, LOCAL);
        let own = alias.and_then(|creatorid| self.find(StateId { creatorid, ..id }));
        own.or_else(|| self.find(id))
    }

    /// The family of the key STACK of the state at a place.
    pub fn stack_family(&self, place: u32) -> Af {
        self.slots[place].key_pair(&self.keys).stack.af
    }

    /// What is known of a sender.
    pub fn record_of(&self, sender: SenderId) -> &SenderRecord {
        &self.senders[sender.0]
    }

    /// A whole state was taken in.
    #[inline(never)]
    pub(super) fn tell_full(
        &mut self,
        place: u32,
        arrival: &Arrival,
        state: &State<'_>,
        kind: FullKind,
    ) {
        let state = &state.values();
        let is_modern = state.dialect.is_modern();
        self.tell(Event::Full {
            place,
            sender: arrival.sender,
            pftm: state.timeout,
            expire: if is_modern { state.expire } else { 0 },
            is_activity: match kind {
                FullKind::Insert => true,
                FullKind::Update => !is_modern && arrival.is_pfsync0,
                FullKind::Delete => false,
            },
            has_counters: is_modern || kind != FullKind::Insert,
        });
    }

    /// Somebody asks for a state.
    pub(super) fn tell_request(&mut self, arrival: &Arrival, id: StateId) {
        if self.events.is_none() {
            return;
        }
        let sender = arrival.sender;
        self.tell(match self.find(id) {
            Some(place) => Event::Requested { place, sender },
            None => Event::RequestedOther { sender },
        });
    }
}
