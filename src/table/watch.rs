//! Tells whoever solicits what happens in the table: activity, whole states, and ends. Nothing is
//! kept unless somebody watches.

use super::senders::SenderId;
use crate::state::StateId;
use crate::wire::pfsync::BusStatus;

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
