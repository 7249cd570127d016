//! What the thread and the export loop hand each other, and how much of it.

use std::os::unix::net::UnixStream;

use crate::control::{Access, Listing};

/// Most clients of one socket. A further one takes the place of the one silent the longest.
pub const MAX_CLIENTS: usize = 64;
/// Longest line, octets with its end.
pub const MAX_LINE: usize = 4096;

/// A client's number.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ClientId(pub(super) u64);

/// What the export loop is asked.
#[derive(Debug)]
pub enum Ask {
    /// A client's line.
    Line {
        /// Whose.
        client: ClientId,
        /// Without its end.
        line: String,
        /// What may be asked.
        access: Access,
    },
    /// The next step of an answer.
    More {
        /// Whose.
        client: ClientId,
        /// Where it is.
        listing: Listing,
    },
    /// A client that is to get what an interface sends, and nothing else any more.
    Stream {
        /// N of pflowN.
        unit: u32,
        /// Its connection, which blocks.
        stream: UnixStream,
    },
    /// A line for the log.
    Log(String),
}

/// What a client gets.
#[derive(Debug)]
pub struct Answer {
    /// Whose.
    pub client: ClientId,
    /// Lines.
    pub lines: Vec<u8>,
    /// What follows them.
    pub then: Then,
}

/// What follows the lines of an answer.
#[derive(Debug)]
pub enum Then {
    /// Nothing: it worked, or why it did not.
    Done(Result<(), String>),
    /// More lines.
    More(Listing),
    /// What interface N sends.
    Stream(u32),
}
