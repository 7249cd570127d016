//! Messages of creators whose states are told apart by sender: see [`super::host_ids`].

use super::arrival::{Arrival, FullKind};
use super::held::Held;
use super::host_ids::{HostIds, SharedHostId, Stage};
use super::senders::SenderId;
use super::store::{Clearing, Table};
use crate::flow::Flow;
use crate::state::StateId;
use crate::time::Now;
use crate::wire::pfsync::{Clear, Compressed, Message, State, Values};
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
}
