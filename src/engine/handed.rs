//! The values that the engine is handed.

use std::net::IpAddr;

use crate::flow::Boot;
use crate::output::Output;
use crate::state::Direction;
use crate::time::Wall;
use crate::wire::link::LinkType;

/// What the command line says of the engine.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Most states held, unless the configuration says.
    pub states: u32,
    /// Whether states whose rule does not say pflow are exported too (-a).
    pub is_all: bool,
    /// Export states of this direction only (-S).
    pub direction: Option<Direction>,
    /// What is known of the machine's boot time.
    pub boot: Boot,
    /// Addresses of this host. Packets from them are `local`. Empty in a replay.
    pub local_addresses: Vec<IpAddr>,
    /// What to print.
    pub output: Output,
}

/// A packet as captured.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// The time of the capture.
    pub stamp: Wall,
    /// The link type of the frame.
    pub link: LinkType,
    /// The captured octets.
    pub frame: &'a [u8],
    /// Octets of the frame on the wire.
    pub wire_len: usize,
}
