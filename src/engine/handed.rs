//! What the engine is handed.

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
    /// Whether it is known when the machine came up.
    pub boot: Boot,
    /// Addresses of this host: what comes from them is `local`. Empty in a replay.
    pub local_addresses: Vec<IpAddr>,
    /// What to print.
    pub output: Output,
}

/// A packet as captured.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// When.
    pub stamp: Wall,
    /// On what.
    pub link: LinkType,
    /// What was captured of it.
    pub frame: &'a [u8],
    /// How long it was.
    pub wire_len: usize,
}
