//! What can be wrong with a packet, and the lengths that it must have at least.

use std::fmt;

/// Octets of the header of v2.
pub(super) const HEADER_V2: usize = 4;
/// Octets of the header of every later version.
pub(super) const HEADER: usize = 20;
/// Octets of a subheader.
pub(super) const SUBHEADER: usize = 4;

/// What a value of a message can be wrong in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Invalid {
    /// Neither AF_INET nor any system's AF_INET6.
    Af,
    /// Creator 0.
    Creatorid,
    /// Neither PF_IN nor PF_OUT.
    Direction,
    /// A peer state that the protocol does not have in its dialect.
    PeerState,
}

impl Invalid {
    const fn name(self) -> &'static str {
        match self {
            Self::Af => "address family",
            Self::Creatorid => "creatorid",
            Self::Direction => "direction",
            Self::PeerState => "peer state",
        }
    }
}

/// Why a packet was not read whole. Offsets are octets from the pfsync header's start.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Error {
    /// Shorter than a header.
    Header {
        /// Octets there are.
        have: usize,
    },
    /// Version 1: OpenBSD 3.3 and 3.4 sent kernel memory, pointers included.
    OldVersion,
    /// A version that is none.
    Version(u8),
    /// `len` is less than a header, or more than the packet has.
    Length {
        /// What the header says.
        len: usize,
        /// Octets there are.
        have: usize,
    },
    /// A subheader with no room, or in v6 with a count or a length of 0.
    Subheader {
        /// Where it stands.
        offset: usize,
    },
    /// An action that v5 or older does not have: without its size the rest cannot be found.
    Action {
        /// The number.
        action: u8,
        /// Where its subheader, or header, stands.
        offset: usize,
    },
    /// Messages that reach beyond the packet's end.
    Messages {
        /// Where the first that does not fit stands.
        offset: usize,
        /// Octets that were needed.
        need: usize,
        /// Octets there are.
        have: usize,
    },
    /// v6: messages shorter than their action's.
    Size {
        /// The action.
        action: u8,
        /// Octets of each, by the subheader.
        len: usize,
    },
    /// A message with a value that means nothing; it was passed over.
    Value {
        /// Which.
        field: Invalid,
        /// Where the message stands.
        offset: usize,
    },
    /// The capture cut the packet off; what is whole was read.
    Cut {
        /// Octets missing.
        missing: usize,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Header { have } => write!(f, "{have} octets are no pfsync header"),
            Self::OldVersion => write!(f, "version 1 (OpenBSD 3.3 and 3.4) cannot be read"),
            Self::Version(version) => write!(f, "unknown version {version}"),
            Self::Length { len, have } => write!(f, "header says {len} octets, there are {have}"),
            Self::Subheader { offset } => write!(f, "bad subheader at {offset}"),
            Self::Action { action, offset } => write!(f, "unknown action {action} at {offset}"),
            Self::Messages { offset, need, have } => {
                write!(
                    f,
                    "message at {offset} needs {need} octets, there are {have}"
                )
            }
            Self::Size { action, len } => {
                write!(
                    f,
                    "messages of {len} octets are too short for action {action}"
                )
            }
            Self::Value { field, offset } => {
                write!(f, "bad {} in the message at {offset}", field.name())
            }
            Self::Cut { missing } => write!(f, "{missing} octets were not captured"),
        }
    }
}

/// Keeps the first error of a packet.
#[derive(Default)]
pub(super) struct FirstError(Option<Error>);

impl FirstError {
    pub(super) fn note(&mut self, error: Error) {
        self.0.get_or_insert(error);
    }

    pub(super) fn result(self) -> Result<(), Error> {
        self.0.map_or(Ok(()), Err)
    }
}

/// What is wrong with a packet of `have` octets, fewer than its header has.
pub(super) fn no_header(have: usize, missing: usize) -> Error {
    match missing {
        0 => Error::Header { have },
        _ => Error::Cut { missing },
    }
}
