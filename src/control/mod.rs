//! Floor 7: what the control sockets and pflowctl(8) say and are told, without the sockets.
//!
//! ```text
//! line -> request::parse -> Request -> a change: the run loop's          -> "ok", "error ..."
//!                                   -> a question: Listing, step by step -> lines of text or JSON
//! ```
//! A long answer is made in steps of bounded size, so that a million states are listed while flows
//! go on being exported. Nothing here changes anything.

mod health;
mod interfaces;
mod metrics;
pub mod request;
mod senders;
mod states;
mod statistics;
pub mod top;

use crate::counters::ControlCounters;
use crate::engine::Engine;
use crate::filter::Filter;
use crate::time::Now;
pub use crate::troubles::Source;
use crate::troubles::Troubles;
pub(crate) use interfaces::no_such as no_such_interface;
pub use metrics::Exposition;

/// What may be asked on a socket.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Access {
    /// Everything.
    Full,
    /// `show` only.
    ReadOnly,
}

/// How an answer is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Form {
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

/// A question.
#[derive(Clone, Debug, PartialEq)]
pub enum Question {
    /// The configuration as lines.
    Config,
    /// Interfaces as ifconfig(8) shows them: one, or all.
    Interfaces(Option<u32>),
    /// Interfaces as pflowctl(8) of FreeBSD lists them.
    List {
        /// One, or all.
        unit: Option<u32>,
        /// With -v.
        is_verbose: bool,
    },
    /// Whether anything is wrong, and what.
    Health,
    /// Every counter and gauge, for programs that watch.
    Metrics(Exposition),
    /// Every counter.
    Statistics,
    /// States, all or those that the filter takes.
    States(Option<Filter>),
    /// Of those the first few by something.
    Top(top::Top),
    /// Where packets come from.
    Sources,
    /// Who sends, and whose states.
    Senders,
    /// pf's timeouts.
    Timeouts,
    /// The requests there are.
    Help,
}

/// An answer that is being made.
#[derive(Clone, Debug)]
pub struct Listing {
    question: Question,
    form: Form,
    at: At,
}

/// How far an answer is.
#[derive(Clone, Debug)]
enum At {
    /// A part, a sender, a place in the table: whatever the question goes through.
    Item(u32),
    /// States are being counted by sender, and this place comes next.
    Counting(u32, Vec<u64>),
    /// They are counted, and this sender comes next.
    Counted(u32, Vec<u64>),
    /// States are being put in order.
    Ranking(top::Ranking),
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
const STEP_OCTETS: usize = 1 << 15;
/// Places of the table after which a step ends.
const STEP_PLACES: u32 = 1 << 12;

impl Listing {
    /// The answer to `question`, not begun.
    pub fn new(question: Question, form: Form) -> Self {
        let at = match question {
            Question::Health | Question::Senders => At::Counting(0, Vec::new()),
            Question::Top(_) => At::Ranking(top::Ranking::default()),
            _ => At::Item(0),
        };
        Self { question, form, at }
    }

    /// Appends the next lines to `out`.
    ///
    /// # Errors
    /// What the question is about does not exist.
    pub fn step(&mut self, view: &View<'_>, out: &mut Vec<u8>) -> Result<Progress, String> {
        let Self { question, form, at } = self;
        match question {
            Question::Config => out.extend(view.engine.config().to_string().bytes()),
            Question::Interfaces(unit) => interfaces::show(view, *unit, *form, out)?,
            // There is one form for programs.
            Question::List { unit, .. } if *form == Form::Json => {
                interfaces::show(view, *unit, *form, out)?;
            }
            Question::List { unit, is_verbose } => {
                interfaces::list(view, *unit, *is_verbose, out)?;
            }
            Question::Health => return Ok(health::step(view, at, *form, out)),
            Question::Metrics(exposition) => {
                return Ok(metrics::step(view, *exposition, at, out));
            }
            Question::Statistics => return Ok(statistics::step(view, at, *form, out)),
            Question::States(filter) => {
                if let (Some(asked), At::Item(0)) = (&mut *filter, &*at) {
                    *asked = states::resolved(view, asked)?;
                }
                return Ok(states::step(view, filter.as_ref(), at, *form, out));
            }
            Question::Top(top) => {
                if let At::Ranking(ranking) = at {
                    if ranking.is_new() {
                        top.resolve(view)?;
                    }
                    return Ok(top::step(view, top, ranking, *form, out));
                }
            }
            Question::Sources => senders::sources(view, *form, out),
            Question::Senders => return Ok(senders::step(view, at, *form, out)),
            Question::Timeouts => senders::timeouts(view, *form, out),
            Question::Help => out.extend(request::help().bytes()),
        }
        Ok(Progress::Done)
    }
}

/// Writes to a `Vec<u8>`, which takes everything: the result says nothing.
macro_rules! put {
    ($out:expr, $($arg:tt)+) => {{
        use std::io::Write as _;
        let _ = write!($out, $($arg)+);
    }};
}
use put;
