//! Finds the states of a packet's next UPD_C before the first UPD_C is taken in. So the processor
//! waits only once for all that is not in its cache.
//!
//! ```text
//! ids of the next UPD_C --index--> places --> slots, then the estimates and list neighbours they name
//! ```
//! Two UPD_C in a row are mostly about different states. Without this, each would wait four times
//! for memory.

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
