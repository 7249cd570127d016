//! What the table tells whoever solicits: where there was activity, where a whole state came, what
//! ended. Nothing is kept unless somebody watches.

use super::arrival::{Arrival, FullKind};
use super::senders::{LOCAL, SenderId, SenderRecord};
use super::store::Table;
use crate::state::{Af, StateId};
use crate::wire::pfsync::{BusStatus, State};

/// Events that the buffer keeps room for; a CLR can end a million states at once.
const USUAL_EVENTS: usize = 1 << 16;

/// Octets that whoever watches keeps for each place, at most.
pub const WATCHER_OCTETS: usize = 40;

/// Something that happened to a state, or a word about asking for states. A state is known by its
/// place, which the next state may take once it has ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Event {
    /// A sender showed that packets passed, but not how many.
    Activity {
        /// The state's place.
        place: u32,
        /// Who.
        sender: SenderId,
        /// PFTM number that the state is in.
        pftm: u8,
    },
    /// A whole state came from a sender.
    Full {
        /// The state's place.
        place: u32,
        /// Who.
        sender: SenderId,
        /// PFTM number that the state is in.
        pftm: u8,
        /// Seconds that it has left; 0 if that is not told.
        expire: u32,
        /// Whether that is activity, too.
        is_activity: bool,
        /// Whether its counters are what its sender had counted: an INS before v5 has none.
        has_counters: bool,
    },
    /// A state ended.
    Ended {
        /// The place it had.
        place: u32,
    },
    /// Somebody asked for a state that is known.
    Requested {
        /// The state's place.
        place: u32,
        /// Who.
        sender: SenderId,
    },
    /// Somebody asked for a state that is not known, or for all.
    RequestedOther {
        /// Who.
        sender: SenderId,
    },
    /// A sender showed that packets of a state passed that is not known.
    Unknown {
        /// Which state.
        id: StateId,
        /// Who.
        sender: SenderId,
    },
    /// A state ended that is not known.
    UnknownEnded {
        /// Which state.
        id: StateId,
    },
    /// A bulk transfer began or ended.
    Bus {
        /// Who sends it.
        sender: SenderId,
        /// Which of the two.
        status: BusStatus,
    },
}

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

    /// Whether somebody watches.
    pub(super) fn is_watched(&self) -> bool {
        self.events.is_some()
    }

    pub(super) fn tell(&mut self, event: Event) {
        if let Some(events) = &mut self.events {
            events.push(event);
        }
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
