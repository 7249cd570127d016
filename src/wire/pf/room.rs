//! Where a state is rewritten, and why one cannot be read.

use std::fmt;

use crate::wire::pfsync::Invalid;

/// Most octets of a state, as the table reads it.
pub(super) const ROOM: usize = 360;

/// Why a state of pf's cannot be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Problem {
    /// Other than [`super::Form::octets`].
    Length {
        /// How many there are.
        have: usize,
    },
    /// A struct of another version than is known.
    Version(u64),
    /// A value that no state has.
    Invalid(Invalid),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { have } => write!(f, "pf told a state in {have} octets"),
            Self::Version(version) => write!(f, "pf told a state in version {version}"),
            Self::Invalid(_) => f.write_str("pf told a state with a value that no state has"),
        }
    }
}

/// Room for a state of pf that must be rewritten before the table can read it.
#[derive(Debug)]
pub struct Room(pub(super) [u8; ROOM]);

impl Default for Room {
    fn default() -> Self {
        Self([0; ROOM])
    }
}
