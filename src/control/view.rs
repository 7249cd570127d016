//! What answers are made from, and how they are written.

use crate::counters::ControlCounters;
use crate::engine::Engine;
use crate::time::Now;
use crate::troubles::{Source, Troubles};

/// How an answer is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AnswerForm {
    /// For people.
    Text,
    /// A JSON object a line.
    Json,
}

/// What questions are answered from.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// States, interfaces, counters.
    pub engine: &'a Engine,
    /// Where packets come from.
    pub sources: &'a [Source],
    /// Packets that the sources counted and the engine has not read yet.
    pub waiting: u64,
    /// What is wrong.
    pub troubles: &'a Troubles,
    /// What the control sockets counted.
    pub control: &'a ControlCounters,
    /// The time; `None` in a replay that has not begun.
    pub now: Option<Now>,
}

/// Whether an answer is whole.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Progress {
    /// There is more.
    More,
    /// That was all.
    Done,
}

/// Octets after which a step ends.
pub(super) const STEP_OCTETS: usize = 1 << 15;
/// Places of the table after which a step ends.
pub(super) const STEP_PLACES: u32 = 1 << 12;

/// Writes to a `Vec<u8>`, which takes everything: the result says nothing.
macro_rules! put {
    ($out:expr, $($arg:tt)+) => {{
        use std::io::Write as _;
        let _ = write!($out, $($arg)+);
    }};
}
pub(super) use put;
