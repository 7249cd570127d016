//! What the schedule knows of a state, and of all in one PFTM.

use super::super::wheel::{Link, Linked, Tick};
use crate::table::{SenderId, WATCHER_OCTETS};

/// Known, and has not ended.
pub(super) const HELD: u16 = 1;
/// Activity came since its last full state.
pub(super) const OWED: u16 = 1 << 1;
/// Asked for, not answered yet.
pub(super) const WAITING: u16 = 1 << 2;
/// Asked for a second time.
pub(super) const REPEATED: u16 = 1 << 3;
/// Nothing more is to be done in this silence.
pub(super) const DONE: u16 = 1 << 4;
/// Asked for in this silence.
pub(super) const ASKED: u16 = 1 << 5;
/// That was early.
pub(super) const EARLY: u16 = 1 << 6;
/// Asked for in some silence.
pub(super) const EVER: u16 = 1 << 7;
/// Went on after that.
pub(super) const RESUMED: u16 = 1 << 8;
/// A second sender showed activity while it was owed: only an answer from all is enough.
pub(super) const SHARED: u16 = 1 << 9;

/// What is known of a state: 40 octets, by its place in the table.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Entry {
    pub(super) link: Link,
    /// When its last activity came, rounded up.
    pub(super) last: Tick,
    /// When it was asked for last, rounded up.
    pub(super) asked: Tick,
    /// When to ask though it goes on.
    pub(super) active: Tick,
    /// How long it lives after its last packet, seconds; 0 if it did not tell.
    pub(super) timeout: u32,
    pub(super) flags: u16,
    /// Who showed activity last.
    pub(super) sender: SenderId,
    pub(super) pftm: u8,
}

// The table counts this memory, because there is an entry for each of its places.
const _: () = assert!(size_of::<Entry>() <= WATCHER_OCTETS);

impl Linked for Entry {
    fn link(&mut self) -> &mut Link {
        &mut self.link
    }
}

impl Entry {
    pub(super) fn has(&self, flags: u16) -> bool {
        self.flags & flags != 0
    }

    pub(super) fn set_pftm(&mut self, pftm: u8) {
        if self.pftm != pftm {
            (self.pftm, self.timeout) = (pftm, 0);
        }
    }
}

/// What is known of the states in one PFTM.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Class {
    /// How many of those asked early went on, in parts of 1024, mostly the latest.
    pub(super) resumed: u16,
    /// How long the latest to tell lives, seconds; 0 if none did.
    pub(super) timeout: u32,
}

impl Class {
    pub(super) fn note(&mut self, is_resumed: bool) {
        let part = |of: u16| of.div_ceil(32);
        if is_resumed {
            self.resumed += part(1024_u16.saturating_sub(self.resumed));
        } else {
            self.resumed -= part(self.resumed);
        }
    }

    pub(super) fn is_early_vain(&self) -> bool {
        self.resumed > 256
    }
}
