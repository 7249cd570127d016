//! What the messages of a packet come with.

use super::senders::SenderId;
use super::slot::{Moment, Second};
use crate::time::{Now, Uptime};
use crate::wire::pfsync::Dialect;

/// What a message came with.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// The clock, which never goes back.
    pub(super) clock: Now,
    /// The same, with the uptime on the clock of its sender's states.
    pub(super) now: Now,
    /// Uptime that belongs to the packet's own stamp.
    pub(super) at: Uptime,
    /// The same in whole seconds on the clock of its sender's states: each message of the packet
    /// asks.
    pub(super) secs: i64,
    /// And as states keep them.
    pub(super) second: Second,
    /// `now` as states keep it.
    pub(super) moment: Moment,
    pub(super) sender: SenderId,
    /// What the messages that come now are written in.
    pub dialect: Dialect,
    /// Whether it was seen on pfsync0 itself, without an IP header: there v2 to v4 show a full
    /// update for each packet of a state (if_pfsync.c, `pfsync_pack_state`).
    pub(super) is_pfsync0: bool,
}

/// Which full state.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum FullKind {
    Insert,
    Update,
    Delete,
}
