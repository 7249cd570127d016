//! What the table reads of a full state, read at once.
//!
//! A field that is asked for by itself costs a look into its dialect's layout and a test whether
//! it lies inside the state. Here the layout is looked up once for all of them.

use super::Dialect;
use super::layout::State;
use super::peer::Peer;
use crate::state::{Direction, IfName, StateId, StateKey};

/// Values of a full state.
#[derive(Clone, Copy)]
pub struct Values<'a> {
    /// Which dialect it was written in.
    pub dialect: Dialect,
    /// Identity.
    pub id: StateId,
    /// The kif it is bound to.
    pub ifname: IfName,
    /// Direction of the packet that made it.
    pub direction: Direction,
    /// Key WIRE.
    pub wire: StateKey,
    /// Key STACK if it is another.
    pub stack: Option<StateKey>,
    /// Initiator and responder.
    pub peers: [Peer<'a>; 2],
    /// Seconds since its first packet.
    pub age: u32,
    /// Seconds until it would be purged.
    pub expire: u32,
    /// Packets from the initiator and back.
    pub packets: [u64; 2],
    /// Octets, likewise.
    pub octets: [u64; 2],
    /// PFTM number.
    pub timeout: u8,
    /// Whether the rule says `pflow`; `None` where the dialect cannot tell.
    pub pflow: Option<bool>,
    /// `max_mss`, where the dialect has it.
    pub max_mss: Option<u16>,
    /// `state_flags`, likewise.
    pub state_flags: Option<u16>,
}

impl<'a> State<'a> {
    /// What the table reads, at once.
    #[inline]
    pub fn values(&self) -> Values<'a> {
        self.with_layout(
            #[inline(always)]
            |state| Values {
                dialect: state.dialect(),
                id: state.state_id(),
                ifname: state.ifname(),
                // `State::check` saw that it is one of the two.
                direction: state.direction().unwrap_or(Direction::In),
                wire: state.wire_key(),
                stack: (!state.is_untranslated()).then(|| state.stack_key()),
                peers: [state.src(), state.dst()],
                age: state.age(),
                expire: state.expire(),
                packets: state.packets(),
                octets: state.octets(),
                timeout: state.timeout(),
                pflow: state.pflow(),
                max_mss: state.max_mss(),
                state_flags: state.state_flags(),
            },
        )
    }
}
