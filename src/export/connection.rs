//! The state of an interface's connection, files and spool, as commands and metrics show it.

use std::fmt;
use std::net::SocketAddr;

/// The state of a connection.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Connection {
    /// It is being made.
    Connecting(SocketAddr),
    /// It is there.
    Connected(SocketAddr),
    /// There is none.
    Down {
        /// The collector that was tried last.
        to: SocketAddr,
        /// Why there is none, in words.
        problem: String,
        /// How many seconds after its failure a collector is tried again; `None`: never.
        reconnect: Option<u32>,
    },
}

impl fmt::Display for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connecting(to) => write!(f, "connecting to {to}"),
            Self::Connected(to) => write!(f, "connected to {to}"),
            Self::Down {
                to,
                problem,
                reconnect: Some(seconds),
            } => write!(f, "{to}: {problem}; tried again in {seconds} s"),
            Self::Down {
                to,
                problem,
                reconnect: None,
            } => write!(f, "{to}: {problem}; given up"),
        }
    }
}

/// How it stands with an interface's files.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct FileState {
    /// The file that is written, and its octets.
    pub current: Option<(String, u64)>,
    /// Why nothing can be written.
    pub problem: Option<String>,
}

/// What a spool is at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SpoolState {
    /// Octets on the disk.
    pub octets: u64,
    /// When the oldest message that is not sent was written, seconds since the epoch.
    pub oldest: Option<u32>,
    /// Whether the disk refuses what is written.
    pub is_refused: bool,
}

/// What became of connections since this was told last.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Connections {
    /// Made.
    pub made: u64,
    /// Lost.
    pub lost: u64,
    /// Sessions that were ended for their age, so that another could begin.
    pub renewed: u64,
    /// That could not be made.
    pub failed: u64,
    /// Records that the system had taken of those lost and the peer's had not acknowledged.
    pub in_doubt: u64,
}
