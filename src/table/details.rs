//! What else full states tell, where an interface or -o asks for it: rules, flags, peers, routes.
//!
//! ```text
//! INS, UPD, DEL --note_full--> by place of the state --detail_of--> Flow::detail
//! UPD_C         --note_peers->      20 octets
//! ```
//! Where nobody asks nothing here takes memory or time. What a state told before somebody asked is
//! not known.

use std::collections::HashMap;

use super::arrival::Arrival;
use super::senders::Sender;
use super::store::Table;
use crate::flow::Detail;
use crate::slab::Slab;
use crate::state::Address;
use crate::state::Route;
use crate::wire::keep::KeptDetail;
use crate::wire::pfsync::{Compressed, Dialect, State};

/// Most addresses that states are routed to; further ones are not told.
const MAX_ROUTES: usize = 1024;
/// PFSTATE_SETTOS of `state_flags`.
const SET_TOS: u16 = 0x0040;
/// pf's number for no rule.
const NO_RULE: u32 = u32::MAX;

/// What is kept of a state.
#[derive(Clone, Copy, Debug)]
struct Kept {
    rule: u32,
    anchor: u32,
    nat_rule: u32,
    state_flags: u16,
    /// Number of its route, behind 0, which is none.
    route: u16,
    peers: [u8; 2],
    tos: u8,
    /// [`Dialect::number`]; 0: no full state was heard of.
    dialect: u8,
}

const NOTHING: Kept = Kept {
    rule: NO_RULE,
    anchor: NO_RULE,
    nat_rule: NO_RULE,
    state_flags: 0,
    route: 0,
    peers: [0; 2],
    tos: 0,
    dialect: 0,
};

/// By place of the state.
#[derive(Default)]
pub(super) struct Details {
    is_on: bool,
    kept: Slab<Kept>,
    routes: Vec<Route>,
    numbers: HashMap<Route, u16>,
}

impl Details {
    /// Whether somebody asks.
    pub(super) fn is_on(&self) -> bool {
        self.is_on
    }

    /// Octets of memory taken.
    pub(super) fn octets(&self) -> usize {
        self.kept.octets()
    }

    /// What [`Self::octets`] never exceed with so many chunks of slots.
    pub(super) fn octets_of(&self, slots: usize) -> usize {
        match self.is_on {
            true => Slab::<Kept>::octets_of(slots),
            false => 0,
        }
    }

    fn entry(&mut self, place: u32) -> &mut Kept {
        while place >= self.kept.places() {
            self.kept.insert(NOTHING);
        }
        &mut self.kept[place]
    }

    /// What a number of a route stands for.
    fn route(&self, number: u16) -> Option<Route> {
        let at = usize::from(number).checked_sub(1)?;
        self.routes.get(at).copied()
    }

    /// The number of a route; `None`: there is no room for it.
    fn number(&mut self, route: Route) -> Option<u16> {
        if let Some(number) = self.numbers.get(&route) {
            return Some(*number);
        }
        if self.routes.len() >= MAX_ROUTES {
            return None;
        }
        self.routes.push(route);
        let number = u16::try_from(self.routes.len()).ok()?;
        self.numbers.insert(route, number);
        Some(number)
    }
}

const _: () = assert!(MAX_ROUTES < u16::MAX as usize);

/// Where a state's packets are sent by its rule; a copy of them (dup-to) is not told.
fn route_of(state: &State<'_>) -> Option<Route> {
    let address = state.rt_addr();
    // Route-to and reply-to in the numbers of OpenBSD (pfvar.h), and of FreeBSD (pf.h).
    let [to, reply] = match state.dialect() {
        Dialect::OpenBsd47 => [1, 3],
        _ => [2, 4],
    };
    let is_reply = match state.rt() {
        Some(kind) if kind == to => false,
        Some(kind) if kind == reply => true,
        Some(_) => return None,
        None => false,
    };
    let af = state.rt_af().unwrap_or(state.wire_key().af);
    let address = address.of(af);
    (address != Address::default()).then_some(Route {
        address,
        af,
        is_reply,
    })
}

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

    /// Notes whether what is kept beside a state asks for a look at its messages and its end.
    pub(super) fn note_asides(&mut self) {
        self.is_observed = self.is_watched() || self.details.is_on;
        self.has_more_than_flows = self.connections.is_some() || self.nat_events.is_some();
        self.has_asides = self.active.is_any() || self.details.is_on || self.has_more_than_flows;
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
