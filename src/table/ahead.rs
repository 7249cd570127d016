//! Where the states are that the next UPD_C of a packet are about: found before the first of them is
//! taken in, so that what is not in a processor's cache is waited for together.
//!
//! ```text
//! ids of the next UPD_C --index--> places --> slots, then the estimates and list neighbours they name
//! ```
//! A UPD_C is mostly about another state than the one before. One after the other, each would wait
//! four times for memory.

use crate::slab::NONE;
use crate::wire::pfsync::AHEAD;

/// The states that come next.
pub(super) struct Ahead {
    /// The place of each, or NONE, in the order of their messages.
    pub(super) places: [u32; AHEAD],
    /// How many there are.
    pub(super) told: usize,
    /// Which comes next.
    pub(super) next: usize,
}

impl Default for Ahead {
    fn default() -> Self {
        Self {
            places: [NONE; AHEAD],
            told: 0,
            next: 0,
        }
    }
}
