//! Who hears what a packet says.

use super::dialect::Dialect;
use super::message::{Action, Message};
use crate::state::StateId;

/// Who is told of the messages in a packet.
pub trait Listener {
    /// A packet of version 5 begins whose sender is not known. Its messages come with one of
    /// several dialects, in all of which they read alike.
    fn any_v5(&mut self) {}

    /// Messages of one action come, written in `dialect`: whether it wants to be told what is
    /// [`Self::coming`].
    fn begin(&mut self, dialect: Dialect, action: Action) -> bool {
        let _ = (dialect, action);
        false
    }

    /// One of the next [`AHEAD`] messages, which are of `action`, is about this state, unless it makes
    /// no sense. Memory may fetch the state now, together with the others.
    fn coming(&mut self, action: Action, id: StateId) {
        let _ = (action, id);
    }

    /// The listener was told of all of them. Memory may fetch what the first look led to.
    fn told(&mut self, action: Action) {
        let _ = action;
    }

    /// A message that makes sense.
    fn message(&mut self, dialect: Dialect, message: Message<'_>);

    /// Whether the message that just came must be dealt with before the next. This is asked after a
    /// CLR, because it may end any number of states.
    fn is_paused(&self) -> bool {
        false
    }

    /// The messages since [`Self::begin`], which were of `action`, are over.
    fn end(&mut self, action: Action) {
        let _ = action;
    }
}

/// Most messages that a [`Listener`] is told of before they come.
pub const AHEAD: usize = 8;
