//! Floor 5: one grammar for /etc/pflow.conf, -e and the rest of the command line, and what it
//! makes.
//!
//! A line is taken whole or not at all: [`Config::apply`] works on a copy and keeps it only if
//! every word was good and the outcome makes sense.

mod checks;
mod file;
mod grammar;
mod model;
mod pattern;
mod show;
mod values;
mod warnings;
mod words;

use std::fmt;

pub use file::{Loader, Place, PlacedError, ReadFile, apply_line, apply_text, apply_words, words};
pub use grammar::{
    Command, InterfaceWord, ProgramWord, SolicitWord, Spelling, interface_word_names, parse,
    program_word_names,
};
pub(crate) use grammar::{lookup, parse_interface, unit_number};
pub use model::{Config, DEFAULT_KEEP_INTERVAL, Keep, Solicit};
pub use pattern::{MAX_NUMBER, Pattern, Rank, numbered};
pub use values::{boottime, bound as states, socket_name as socket, user_name as user};
pub use words::{Setting, Shown, further_words, shown, values_of};

/// Most interfaces there may be.
pub const MAX_INTERFACES: usize = 256;
/// Most capture interfaces.
pub const MAX_CAPTURES: usize = 64;
/// Most `ifindex` settings.
pub const MAX_IFINDEXES: usize = 4096;
/// Most `solicit peer` settings.
pub const MAX_PEERS: usize = 16;

/// What is wrong with a line: the word it is about and what is wrong with it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Error {
    /// The word.
    pub word: String,
    /// What is wrong.
    pub problem: String,
}

impl Error {
    fn new(word: impl fmt::Display, problem: impl fmt::Display) -> Self {
        Self {
            word: word.to_string(),
            problem: problem.to_string(),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.word, self.problem)
    }
}
