//! What else full states tell, where an interface or -o asks for it: rules, flags, peers, routes.
//!
//! ```text
//! INS, UPD, DEL --note_full--> by place of the state --detail_of--> Flow::detail
//! UPD_C         --note_peers->      20 octets
//! ```
//! If nobody asks, this module takes neither memory nor time. What a state told before somebody
//! asked is not known.

use std::collections::HashMap;

use crate::slab::Slab;
use crate::state::Address;
use crate::state::Route;
use crate::wire::pfsync::{Dialect, State};

/// Most addresses that states are routed to; further ones are not told.
pub(super) const MAX_ROUTES: usize = 1024;
/// PFSTATE_SETTOS of `state_flags`.
pub(super) const SET_TOS: u16 = 0x0040;
/// pf's number for no rule.
pub(super) const NO_RULE: u32 = u32::MAX;

/// What is kept of a state.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kept {
    pub(super) rule: u32,
    pub(super) anchor: u32,
    pub(super) nat_rule: u32,
    pub(super) state_flags: u16,
    /// Number of its route, behind 0, which is none.
    pub(super) route: u16,
    pub(super) peers: [u8; 2],
    pub(super) tos: u8,
    /// [`Dialect::number`]; 0: no full state was heard of.
    pub(super) dialect: u8,
}

pub(super) const NOTHING: Kept = Kept {
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
    pub(super) is_on: bool,
    pub(super) kept: Slab<Kept>,
    pub(super) routes: Vec<Route>,
    pub(super) numbers: HashMap<Route, u16>,
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

    pub(super) fn entry(&mut self, place: u32) -> &mut Kept {
        while place >= self.kept.places() {
            self.kept.insert(NOTHING);
        }
        &mut self.kept[place]
    }

    /// What a number of a route stands for.
    pub(super) fn route(&self, number: u16) -> Option<Route> {
        let at = usize::from(number).checked_sub(1)?;
        self.routes.get(at).copied()
    }

    /// The number of a route; `None`: there is no room for it.
    pub(super) fn number(&mut self, route: Route) -> Option<u16> {
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
pub(super) fn route_of(state: &State<'_>) -> Option<Route> {
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
