//! Bulk transfers: a state of a firewall that its own transfer did not have has ended.
//!
//! ```text
//!           BUS START              BUS END            2 s
//!   (none) -----------> running --------------> told -----> the table is looked through
//!     ^                    | packets were lost,    |        for states not heard of since START
//!     +--------------------+ or none had a state   +-> (none)
//! ```
//! Only two kinds of states are ended: those overdue before the transfer began, and those read back
//! before it and not heard of since. Others may have been told of in a message that was lost
//! unnoticed. Up to OpenBSD 7.3 END goes before the last states in its packet, so what END ends
//! waits a little.
//!
//! The table is looked through a piece at a time and seldom, so forged transfers cost a bounded
//! share.

use crate::time::Uptime;

/// A sender's transfer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Transfer {
    pub(super) creatorid: u32,
    pub(super) began: Uptime,
    /// Updates that had come before it.
    pub(super) updates: u64,
    /// When to look what it did not have, if its END came.
    pub(super) due: Option<Uptime>,
}

/// A look through the table for states that a transfer did not have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    pub(super) creatorid: u32,
    pub(super) began: Uptime,
    /// The next place.
    pub(super) place: u32,
}

/// What is known of all transfers.
#[derive(Debug, Default)]
pub(super) struct Transfers {
    /// When states were read back.
    pub(super) restored: Option<Uptime>,
    pub(super) look: Option<Look>,
    /// When the last look began.
    pub(super) looked: Option<Uptime>,
    /// When the next one begins or goes on.
    pub(super) due: Option<Uptime>,
}

impl Transfers {
    /// Nothing happens before this.
    #[inline(always)]
    pub(super) fn poll_timeout(&self) -> Option<Uptime> {
        self.due
    }

    /// States were read back at `now`.
    pub(super) fn note_restore(&mut self, now: Uptime) {
        self.restored = Some(now);
    }
}
