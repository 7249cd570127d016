//! Two firewalls with one host id: their states are told apart by sender. pf.conf(5) lets it be set
//! (`set hostid`), and a configuration that was copied has the other one's.
//!
//! ```text
//!               B shows another key for a state of A        A shows its key again, or both another
//!   (a creator) ------------------------------> suspected -------------------------> told apart
//!                                                   |
//!                nothing more of it for an hour     v
//!   (a creator) <-----------------------------------+
//! ```
//! While a creator is suspected, only the state that B showed is kept by sender. Once the creator
//! is told apart, all its states are. Creator and sender together then have a number of their own,
//! an alias, that stands for the creatorid in the table. Whatever leaves the table has the
//! creatorid that was sent ([`super::Table::wire_id`]).
//!
//! States that were learned before are moved when their sender speaks of them, and before a CLR.
//! The sender of a state is whoever counted it first. Messages of a creator that is suspected or
//! told apart have a function of their own, [`super::Table::apply_by_sender`]. So all other
//! messages cost nothing more.

use std::collections::HashMap;

use super::senders::SenderId;
use crate::time::Uptime;

/// Most creators suspected or told apart; states of further ones replace each other.
pub(super) const MAX_CREATORS_APART: usize = 64;

/// Most senders of one creator told apart; further ones count as one.
pub(super) const MAX_SENDERS_APART: usize = 64;

/// In the place of a sender: those beyond [`MAX_SENDERS_APART`].
pub(super) const FURTHER: u16 = u16::MAX;

/// How far it has come with a creator.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Stage {
    Suspected { since: Uptime },
    ToldApart,
}

/// A creator whose states are kept by sender, some or all.
#[derive(Debug)]
pub(super) struct Creator {
    pub(super) stage: Stage,
    /// The alias of each sender.
    pub(super) aliases: Vec<(u16, u32)>,
}

/// What a creator's messages are to be taken for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SharedHostId {
    /// The host id.
    pub creatorid: u32,
    /// Who was first heard to use it, both.
    pub senders: [SenderId; 2],
}

/// All such creators; almost always none.
#[derive(Debug, Default)]
pub(super) struct HostIds {
    pub(super) creators: HashMap<u32, Creator>,
    /// The creator that each alias stands for.
    pub(super) aliases: HashMap<u32, u32>,
    /// Told apart, at most [`MAX_CREATORS_APART`].
    pub(super) shared: Vec<SharedHostId>,
    /// How many of those [`super::Table::take_shared_host_ids`] has told of.
    pub(super) told: usize,
    /// Counts up with every change that a keep file holds.
    pub(super) changes: u32,
}

impl HostIds {
    #[inline(always)]
    pub(super) fn is_empty(&self) -> bool {
        self.creators.is_empty()
    }

    /// The creators, in order, and whether they are told apart.
    pub(super) fn kept(&self) -> Vec<(u32, bool)> {
        let is_alias = |creatorid: &u32| self.aliases.contains_key(creatorid);
        let creators = self.creators.iter().filter(|(id, _)| !is_alias(id));
        let mut kept: Vec<_> = creators
            .map(|(creatorid, creator)| (*creatorid, creator.stage == Stage::ToldApart))
            .collect();
        kept.sort_unstable();
        kept
    }

    /// Whether there is no room for one more creator. Of those, aliases are none.
    pub(super) fn is_full(&self) -> bool {
        let creators = self.creators.len();
        creators.saturating_sub(self.aliases.len()) >= MAX_CREATORS_APART
    }

    pub(super) fn stage(&self, creatorid: u32) -> Option<Stage> {
        self.creators.get(&creatorid).map(|creator| creator.stage)
    }

    /// The alias of a creator's `sender`, if it has one.
    pub(super) fn alias(&self, creatorid: u32, sender: u16) -> Option<u32> {
        let aliases = &self.creators.get(&creatorid)?.aliases;
        let of = |sender| aliases.iter().find(|(one, _)| *one == sender);
        of(sender).or_else(|| of(FURTHER)).map(|(_, alias)| *alias)
    }
}
