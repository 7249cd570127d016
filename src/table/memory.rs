//! How many states there may be: a number, or as many as fit into an amount of memory.
//!
//! ```text
//! -m 256M   slots + key pairs + shares + index + what watchers and active timeouts keep <= 256M
//!
//! an insert   below the ceiling                             nothing is looked at
//!             at it, one more chunk of slots fits           the ceiling rises by a chunk
//!             at it, none fits                              the longest silent state goes
//! pages       none free, one more chunk does not fit        the longest silent state goes, and with
//!                                                           it those that share its page
//! key pairs   none free, one more chunk does not fit        the longest silent of 64 that have one goes
//! shares      none free, one more chunk does not fit        the share is left out, its flow is partial
//! ```
//! The memory of a `Slab` is known to the octet, and changes only when the slab takes a chunk. The
//! index's hash tables count with the most that so many pages can make them take. What grows with
//! the number of places counts likewise: entries of active timeouts, and what the solicitor keeps.
//! The sum depends on the input alone, not on the hashes of this run, because a replay must end the
//! same states each time.
//!
//! No chunk changes its kind. While slots are taken, room is left for some pages, key pairs and
//! shares (`SLOTS_TO_PAGES`, `SLOTS_TO_KEYS`, `SLOTS_TO_SHARES`). Beyond that, the kind that asks
//! first gets the room. At least one chunk of each kind is taken, whatever the bound.
//!
//! Some memory has bounds of its own and is not counted, because it does not depend on the number
//! of states: senders and their lists, interface names, and states that ended recently. Together
//! that is about 6 MB. What a keep file takes while it is read back at the start is not counted
//! either.

use std::fmt;

/// The least amount of memory that makes sense as a bound, octets.
pub const MIN_OCTETS: u64 = 4 << 20;

/// What bounds the table.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Bound {
    /// This many states; at least 1.
    States(u32),
    /// This much memory, octets; at least [`MIN_OCTETS`].
    Octets(u64),
}

/// As it is written: octets with the largest of k, M and G of which there is a whole number.
impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::States(states) => write!(f, "{states}"),
            Self::Octets(octets) => match octets.trailing_zeros() {
                30.. => write!(f, "{}G", octets >> 30),
                20..30 => write!(f, "{}M", octets >> 20),
                _ => write!(f, "{}k", octets >> 10),
            },
        }
    }
}

/// Chunks by what is in them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Chunks {
    pub(super) slots: usize,
    pub(super) pages: usize,
    pub(super) keys: usize,
    pub(super) shares: usize,
}

/// What the table has taken and may take.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Memory {
    /// Chunks taken, or about to be.
    pub(super) taken: Chunks,
    /// Most states: in whole chunks unless that is the bound.
    pub(super) most: usize,
    /// Whether one more chunk of pages would not fit. No memory is given back, so none will fit
    /// later.
    pub(super) is_out_of_pages: bool,
}
