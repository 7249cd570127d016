//! Both ends of a flow, from one key of a state.

use crate::state::{Address, Af, Direction, StateKey};

/// Both ends of a flow under one key, the initiator first.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Tuple {
    /// Family of both addresses.
    pub af: Af,
    /// IP protocol.
    pub proto: u8,
    /// The initiator's address.
    pub src: Address,
    /// The responder's address.
    pub dst: Address,
    /// The initiator's port, or what pf keeps in its place.
    pub sport: u16,
    /// The responder's.
    pub dport: u16,
}

impl Tuple {
    /// The ends of `key` whose initiator is at `source`.
    #[expect(clippy::indexing_slicing, reason = "one of two")]
    #[inline(always)]
    pub fn of(key: &StateKey, source: usize) -> Self {
        let (source, other) = (source & 1, source & 1 ^ 1);
        Self {
            af: key.af,
            proto: key.proto,
            src: key.addr[source],
            dst: key.addr[other],
            sport: key.port[source],
            dport: key.port[other],
        }
    }

    /// The same ends seen from the responder.
    pub fn reversed(self) -> Self {
        Self {
            src: self.dst,
            dst: self.src,
            sport: self.dport,
            dport: self.sport,
            ..self
        }
    }
}

/// The exported key of a state and, if something is translated, the other one.
#[inline(always)]
pub fn tuples(direction: Direction, wire: &StateKey, stack: &StateKey) -> (Tuple, Option<Tuple>) {
    let (before, after) = match direction {
        Direction::In => (wire, stack),
        Direction::Out => (stack, wire),
    };
    let source = direction.source_index();
    // An af-to state's translated key has its ends swapped (pf.c, pf_state_key_setup).
    let translated_source = if before.af == after.af {
        source
    } else {
        1 - source
    };
    let translated = before
        .translates_to(after)
        .then(|| Tuple::of(after, translated_source));
    (Tuple::of(before, source), translated)
}
