//! The highest id of each creator. A state with a higher one is new: it is neither held, nor was it
//! deleted or dropped before, and nobody needs to look.
//!
//! Kernels count the ids of their states up, so most states that are learned are new in this sense.
//! An answer that a state is new is certain. Where the highest id is not known, no state is called
//! new. That is so for creators beyond the number that is kept. After a restart it is so for all,
//! because a keep file has no ids of deleted states.

use std::collections::HashMap;

use crate::state::StateId;

/// Most creators whose highest id is known.
const MAX_CREATORS: usize = 64;

/// The highest id of each creator's states.
pub(super) struct IdWatermark {
    /// The creator whose state came last, and that creator's highest id. States of one creator come
    /// in runs. At first this is creator 0, which nobody is.
    creatorid: u32,
    highest: u64,
    /// The highest of the others, and of that one when its run began.
    known: HashMap<u32, u64>,
    /// Whether states were read back, about which nothing is known here.
    is_blind: bool,
}

impl Default for IdWatermark {
    fn default() -> Self {
        Self {
            creatorid: 0,
            highest: u64::MAX,
            known: HashMap::from([(0, u64::MAX)]),
            is_blind: false,
        }
    }
}

impl IdWatermark {
    /// Whether no state with this id was ever heard, nor one with a higher id of the same creator. Only
    /// the creator that was heard last is looked at.
    #[inline(always)]
    pub(super) fn is_beyond(&self, id: StateId) -> bool {
        id.creatorid == self.creatorid && id.id > self.highest
    }

    /// A state is held from now on.
    #[inline(always)]
    pub(super) fn note(&mut self, id: StateId) {
        if id.creatorid != self.creatorid {
            self.turn_to(id.creatorid);
        }
        self.highest = self.highest.max(id.id);
    }

    /// A run of another creator's states begins.
    #[cold]
    fn turn_to(&mut self, creatorid: u32) {
        if let Some(highest) = self.known.get_mut(&self.creatorid) {
            *highest = self.highest;
        }
        let has_room = self.known.len() < MAX_CREATORS && !self.is_blind;
        self.creatorid = creatorid;
        self.highest = match self.known.get(&creatorid) {
            Some(highest) => *highest,
            // It had no state ever.
            None if has_room => {
                self.known.insert(creatorid, 0);
                0
            }
            None => u64::MAX,
        };
    }

    /// States come, or are known to be gone, that are not noted.
    pub(super) fn go_blind(&mut self) {
        if !self.is_blind {
            *self = Self {
                is_blind: true,
                ..Self::default()
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(id: u64, creatorid: u32) -> StateId {
        StateId { id, creatorid }
    }

    #[test]
    fn an_id_is_beyond_if_its_creator_had_none_as_high_whoever_else_counts() {
        let mut watermark = IdWatermark::default();
        for (number, creatorid) in [(9, 1), (5, 1), (70, 2), (3, 1), (60, 2), (4, 1)] {
            watermark.note(id(number, creatorid));
        }
        assert!(watermark.is_beyond(id(10, 1)));
        assert!(!watermark.is_beyond(id(9, 1)) && !watermark.is_beyond(id(5, 1)));
        assert!(!watermark.is_beyond(id(71, 2)), "another creator's run");
        watermark.note(id(61, 2));
        assert!(watermark.is_beyond(id(71, 2)) && !watermark.is_beyond(id(70, 2)));
        assert!(!watermark.is_beyond(id(10, 1)) && !watermark.is_beyond(id(1, 3)));
    }

    #[test]
    fn nothing_is_known_of_creator_0_which_stands_for_nobody() {
        let mut watermark = IdWatermark::default();
        for (number, creatorid) in [(100, 0), (7, 5), (1, 0)] {
            watermark.note(id(number, creatorid));
        }
        assert!(!watermark.is_beyond(id(100, 0)));
    }

    #[test]
    fn nothing_is_beyond_for_a_creator_that_found_no_room() {
        let mut watermark = IdWatermark::default();
        for creatorid in 1..=200 {
            watermark.note(id(7, creatorid));
        }
        assert_eq!(watermark.known.len(), MAX_CREATORS);
        watermark.note(id(8, 200));
        assert!(!watermark.is_beyond(id(9, 200)));
        watermark.note(id(3, 1));
        assert!(watermark.is_beyond(id(8, 1)) && !watermark.is_beyond(id(7, 1)));
    }

    #[test]
    fn nothing_is_beyond_once_states_were_read_back() {
        let mut watermark = IdWatermark::default();
        watermark.note(id(7, 1));
        watermark.go_blind();
        for number in [1, 2] {
            watermark.note(id(number, 1));
            assert!(!watermark.is_beyond(id(number + 1, 1)));
        }
    }
}
