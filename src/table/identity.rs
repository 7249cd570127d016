//! What tells one state with an id from another that had it before.

use crate::state::{StateId, StateKey};

/// 2^64 / golden ratio: multiplying by it spreads ids that follow each other, the same in every run.
pub(super) const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// What tells one state with an id from another.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Identity {
    pub(super) id: StateId,
    /// Stands for its key.
    fingerprint: u32,
}

impl Identity {
    #[expect(clippy::cast_possible_truncation, reason = "folding is meant to cut")]
    pub(super) fn new(id: StateId, wire: &StateKey) -> Self {
        let [far, near] = wire.addr.map(|address| u128::from_ne_bytes(address.0));
        let [p0, p1] = wire.port;
        let ports = u32::from(p0) << 16 | u32::from(p1);
        let folded = far ^ near.rotate_left(13);
        let halves = (folded ^ folded >> 64) as u64;
        let fingerprint = (halves ^ halves >> 32) as u32 ^ ports ^ u32::from(wire.proto);
        Self { id, fingerprint }
    }

    /// The identity in eight octets, never 0. Two states of one creator get the same tag only if
    /// their ids, spread over 64 bits, differ by exactly what their keys do.
    pub(super) fn tag(&self) -> u64 {
        (spread(self.id) ^ u64::from(self.fingerprint)).max(1)
    }

    /// One that was kept.
    pub(super) fn kept(id: StateId, fingerprint: u32) -> Self {
        Self { id, fingerprint }
    }

    /// What stands for its key.
    pub(super) fn fingerprint(&self) -> u32 {
        self.fingerprint
    }
}

/// What an id gives to a tag.
fn spread(id: StateId) -> u64 {
    id.id.wrapping_mul(SPREAD) ^ u64::from(id.creatorid) << 32
}
