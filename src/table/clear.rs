//! CLR: the end of all states of a creator, or of those bound to an interface.

use super::store::{Clearing, PIECE, Table};
use crate::flow::{End, Flow};
use crate::time::Now;
use crate::wire::pfsync::Clear;

impl Table {
    /// CLR ends the states of its creator, bound to its interface if it names one
    /// (pf_ioctl.c, `pf_states_clr` on the sender). It ends a piece of them, see
    /// [`Self::continue_clear`].
    pub(super) fn clear(&mut self, now: Now, clear: &Clear, done: &mut impl FnMut(&Now, &Flow)) {
        let only = if clear.ifname.is_empty() {
            None
        } else {
            match self.ifnames.find(clear.creatorid, clear.ifname) {
                None => return,
                only => only,
            }
        };
        self.clearing = Some(Clearing::End {
            creatorid: clear.creatorid,
            only,
        });
        self.continue_clear(now, done);
    }

    /// Whether the last CLR has more states to end. No further message may be taken in before.
    #[inline]
    pub fn is_clearing(&self) -> bool {
        self.clearing.is_some()
    }

    /// Ends the next states of the last CLR: about [`PIECE`], so that what waits to be sent has a
    /// bound. One interface follows the other, each with its oldest page of states first.
    pub fn continue_clear(&mut self, now: Now, done: &mut impl FnMut(&Now, &Flow)) {
        let (creatorid, only) = match self.clearing {
            Some(Clearing::End { creatorid, only }) => (creatorid, only),
            Some(Clearing::Separate { creatorid, clear }) => {
                if !self.separate_some(creatorid, PIECE, now, done) {
                    self.clearing = None;
                    self.clear(now, &clear, done);
                }
                return;
            }
            None => return,
        };
        let mut ended = 0;
        while ended < PIECE {
            let ifname = only.unwrap_or_else(|| self.ifnames.first_of(creatorid));
            let before = ended;
            for place in self.index.oldest_of(creatorid, ifname) {
                self.end(place, now, End::Cleared, done);
                ended += 1;
            }
            if ended == before {
                return self.end_clear(now, done);
            }
            // A name goes with its last state, and another name may soon get its number.
            if only.is_some_and(|only| self.ifnames.is_unused(only)) {
                return self.end_clear(now, done);
            }
        }
    }

    /// Goes on with what is to be cleared next.
    fn end_clear(&mut self, now: Now, done: &mut impl FnMut(&Now, &Flow)) {
        self.clearing = None;
        if let Some(next) = self.next_clear.take() {
            self.clear(now, &next, done);
        }
    }
}
