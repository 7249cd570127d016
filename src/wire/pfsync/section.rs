//! A run of messages of one action: what a subheader of v5 and v6 announces, or the whole of an
//! older packet.
//!
//! Every message goes through this loop, so it must be fast. Frequent actions have loops of their
//! own ([`Section::messages`]). The listener hears before a run which messages come
//! ([`Listener::coming`]).

use byteorder::{BigEndian, ByteOrder};

use super::dialect::Dialect;
use super::error::{Error, FirstError, SUBHEADER};
use super::listener::{AHEAD, Listener};
use super::message::{Action, Message};
use crate::state::StateId;

/// How far a section was read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Walked {
    /// To its end.
    Whole,
    /// The packet ended before it did.
    Cut,
    /// The listener paused after so many of its messages.
    Paused { messages: usize },
}

/// A run of messages of one action.
#[derive(Clone, Copy)]
pub(super) struct Section {
    pub(super) action: Action,
    pub(super) number: u8,
    /// Where the first message stands.
    pub(super) offset: usize,
    /// Octets from one message to the next.
    pub(super) size: usize,
    pub(super) count: usize,
}

impl Section {
    /// Reads the subheader at `offset`. `None` is the EOF of v5, which ends a packet whatever
    /// follows. OpenBSD 4.5 and FreeBSD 9 leave twenty octets of stale memory there.
    #[inline(always)]
    pub(super) fn at(
        dialect: Dialect,
        packet: &[u8],
        missing: usize,
        offset: usize,
    ) -> Result<Option<Self>, Error> {
        let Some(subheader) = packet.get(offset..offset + SUBHEADER) else {
            return Err(if missing > 0 {
                Error::Cut { missing }
            } else {
                Error::Subheader { offset }
            });
        };
        let number = subheader[0];
        let count = usize::from(BigEndian::read_u16(&subheader[2..]));
        if dialect == Dialect::OpenBsd47 {
            let size = usize::from(subheader[1]) * 4;
            if count == 0 || size == 0 {
                return Err(Error::Subheader { offset });
            }
            let action = Action::of_v6(number, size);
            return Ok(Some(Self {
                action,
                number,
                offset: offset + SUBHEADER,
                size,
                count,
            }));
        }
        let action = Action::of_v5(number).ok_or(Error::Action {
            action: number,
            offset,
        })?;
        if action == Action::Eof {
            return Ok(None);
        }
        let size = action.size_in(state_dialect(dialect, number));
        Ok(Some(Self {
            action,
            number,
            offset: offset + SUBHEADER,
            size,
            count,
        }))
    }

    pub(super) fn end(&self) -> usize {
        self.offset + self.size * self.count
    }

    /// The section without its first `done` messages.
    #[cold]
    pub(super) fn after(self, done: usize) -> Self {
        let done = done.min(self.count);
        Self {
            offset: self.offset + done * self.size,
            count: self.count - done,
            ..self
        }
    }

    /// Hands out the messages.
    pub(super) fn messages(
        &self,
        dialect: Dialect,
        packet: &[u8],
        missing: usize,
        errors: &mut FirstError,
        each: &mut impl Listener,
    ) -> Walked {
        let dialect = state_dialect(dialect, self.number);
        if self.action != Action::Unknown && self.size < self.action.size_in(dialect) {
            errors.note(Error::Size {
                action: self.number,
                len: self.size,
            });
            return match self.end() <= packet.len() {
                true => Walked::Whole,
                false => Walked::Cut,
            };
        }
        // The most frequent actions have loops of their own. So a section asks once what kind its
        // messages are, and not each message.
        let walked = match self.action {
            Action::Insert if dialect == Dialect::OpenBsd47 => {
                let dialect = Dialect::OpenBsd47;
                self.walk(Action::Insert, dialect, packet, missing, errors, each)
            }
            Action::UpdateCompressed if dialect == Dialect::OpenBsd47 => {
                let (action, dialect) = (Action::UpdateCompressed, Dialect::OpenBsd47);
                self.walk(action, dialect, packet, missing, errors, each)
            }
            Action::UpdateCompressed => {
                let action = Action::UpdateCompressed;
                self.walk(action, dialect, packet, missing, errors, each)
            }
            Action::DeleteCompressed => {
                let action = Action::DeleteCompressed;
                self.walk(action, dialect, packet, missing, errors, each)
            }
            action => self.walk(action, dialect, packet, missing, errors, each),
        };
        each.end(self.action);
        walked
    }

    /// [`Self::messages`] of `action`.
    #[inline(always)]
    fn walk(
        &self,
        action: Action,
        dialect: Dialect,
        packet: &[u8],
        missing: usize,
        errors: &mut FirstError,
        each: &mut impl Listener,
    ) -> Walked {
        let mut ahead = if each.begin(dialect, action) {
            0
        } else {
            usize::MAX
        };
        let mut rest = packet.get(self.offset..).unwrap_or_default();
        for n in 0..self.count {
            if n == ahead {
                let count = (self.count - n).min(AHEAD);
                let next = rest.chunks_exact(self.size.max(1)).take(count);
                announce(action, dialect, next, each);
                ahead += AHEAD;
            }
            // Where there is no error it need not be known.
            let offset = || self.offset + n * self.size;
            let Some((octets, behind)) = rest.split_at_checked(self.size) else {
                errors.note(if missing > 0 {
                    Error::Cut { missing }
                } else {
                    Error::Messages {
                        offset: offset(),
                        need: self.size,
                        have: rest.len(),
                    }
                });
                return Walked::Cut;
            };
            rest = behind;
            match Message::read(action, self.number, dialect, octets) {
                Ok(message) => each.message(dialect, message),
                Err(field) => errors.note(Error::Value {
                    field,
                    offset: offset(),
                }),
            }
            if action == Action::Clear && each.is_paused() {
                return Walked::Paused { messages: n + 1 };
            }
        }
        Walked::Whole
    }
}

/// Says which states these messages are about.
#[inline(always)]
fn announce<'a>(
    action: Action,
    dialect: Dialect,
    messages: impl Iterator<Item = &'a [u8]>,
    each: &mut impl Listener,
) {
    let Some((id, creatorid)) = action.places_of_id(dialect) else {
        return;
    };
    for octets in messages {
        let id = StateId {
            id: BigEndian::read_u64(&octets[id..]),
            creatorid: BigEndian::read_u32(&octets[creatorid..]),
        };
        each.coming(action, id);
    }
    each.told(action);
}

/// The dialect of a v5 section's states. FreeBSD's newer states have actions of their own. Actions
/// 1, 3 and 6 of FreeBSD 14 or 15 mean states of the older size.
fn state_dialect(packet: Dialect, action: u8) -> Dialect {
    if packet.version() != 5 {
        return packet;
    }
    match (packet, action) {
        (_, 13 | 14) => Dialect::FreeBsd1400,
        (_, 15 | 16) => Dialect::FreeBsd1500,
        (Dialect::FreeBsd1400 | Dialect::FreeBsd1500, 1 | 3 | 6) => Dialect::FreeBsd1301,
        _ => packet,
    }
}
