//! Notes what full states tell beside their counters, and tells it with their flows.

use super::arrival::Arrival;
use super::details::{Details, Kept, NOTHING, SET_TOS, route_of};
use super::senders::Sender;
use super::store::Table;
use crate::flow::Detail;
use crate::wire::keep::KeptDetail;
use crate::wire::pfsync::{Compressed, State};

impl Table {
    /// Begins or stops to keep what [`crate::flow::Flow::detail`] tells.
    pub fn set_details(&mut self, is_on: bool) {
        if self.details.is_on != is_on {
            self.details = Details {
                is_on,
                ..Details::default()
            };
        }
        self.measure();
        self.note_asides();
    }

    /// What is kept of the state at `place`, to be written; `None`: nothing is known.
    pub(super) fn kept_detail(&self, place: u32) -> Option<KeptDetail> {
        if !self.details.is_on || place >= self.details.kept.places() {
            return None;
        }
        let kept = self.details.kept[place];
        let is_known = kept.dialect != 0 || kept.peers != [0; 2];
        is_known.then(|| KeptDetail {
            rules: [kept.rule, kept.anchor, kept.nat_rule],
            state_flags: kept.state_flags,
            peers: kept.peers,
            tos: kept.tos,
            dialect: kept.dialect,
            route: self.details.route(kept.route),
        })
    }

    /// Nothing is known of the state at `place`, which was read back.
    pub(super) fn clear_detail(&mut self, place: u32) {
        if place < self.details.kept.places() {
            self.details.kept[place] = NOTHING;
        }
    }

    /// What is known of it.
    pub(super) fn restore_detail(&mut self, place: u32, detail: &KeptDetail) {
        if !self.details.is_on {
            return;
        }
        let [rule, anchor, nat_rule] = detail.rules;
        let route = detail.route.map(|route| self.details.number(route));
        *self.details.entry(place) = Kept {
            rule,
            anchor,
            nat_rule,
            state_flags: detail.state_flags,
            route: route.flatten().unwrap_or(0),
            peers: detail.peers,
            tos: detail.tos,
            dialect: detail.dialect,
        };
    }

    /// Notes what a full state tells that was taken in at `place`.
    pub(super) fn note_details(&mut self, place: u32, state: &State<'_>) {
        if !self.details.is_on {
            return;
        }
        let route = route_of(state).map(|route| self.details.number(route));
        if route == Some(None) {
            self.counters.routes_refused += 1;
        }
        let state_flags = state.state_flags().unwrap_or(0);
        let tos = state.set_tos().filter(|_| state_flags & SET_TOS != 0);
        *self.details.entry(place) = Kept {
            rule: state.rule(),
            anchor: state.anchor(),
            nat_rule: state.nat_rule(),
            state_flags,
            route: route.flatten().unwrap_or(0),
            peers: [state.src().state(), state.dst().state()],
            tos: tos.unwrap_or(0),
            dialect: state.dialect().number(),
        };
    }

    /// Notes what a UPD_C tells of the state at `place`.
    pub(super) fn note_peers(&mut self, place: u32, update: &Compressed<'_>) {
        if self.details.is_on {
            self.details.entry(place).peers = [update.src.state(), update.dst.state()];
        }
    }

    /// What else is known of the state at `place`.
    pub(super) fn detail_of(&self, place: u32) -> Option<Detail> {
        if !self.details.is_on {
            return None;
        }
        let known = place < self.details.kept.places();
        let kept = if known {
            self.details.kept[place]
        } else {
            NOTHING
        };
        let slot = &self.slots[place];
        let keys = slot.key_pair(&self.keys);
        let (before, after) = match slot.direction {
            crate::state::Direction::In => (keys.wire, keys.stack),
            crate::state::Direction::Out => (keys.stack, keys.wire),
        };
        Some(Detail {
            sender: match self.senders[slot.sender].sender {
                Sender::Address(address) => Some(address),
                Sender::Local | Sender::Other => None,
            },
            dialect: kept.dialect,
            rule: kept.rule,
            anchor: kept.anchor,
            nat_rule: kept.nat_rule,
            state_flags: kept.state_flags,
            peers: kept.peers,
            tos: kept.tos,
            route: self.details.route(kept.route),
            rdomains: [before.rdomain, after.rdomain],
            part: 0,
        })
    }

    /// Tells whoever observes that a whole state was taken in.
    #[cold]
    #[inline(never)]
    pub(super) fn observe_full(
        &mut self,
        place: u32,
        arrival: &Arrival,
        state: &State<'_>,
        kind: super::arrival::FullKind,
    ) {
        self.note_details(place, state);
        if self.is_watched() {
            self.tell_full(place, arrival, state, kind);
        }
    }
}
