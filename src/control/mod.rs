//! Floor 7: what the control sockets and pflowctl(8) say and are told, without the sockets.
//!
//! ```text
//! line -> request::parse -> Request -> a change: the run loop's          -> "ok", "error ..."
//!                                   -> a question: Listing, step by step -> lines of text or JSON
//! ```
//! A long answer is made in steps of bounded size. So a million states are listed while flows go on
//! being exported. Nothing here changes anything.

mod health;
mod interfaces;
mod metrics;
mod question;
pub mod request;
mod senders;
mod states;
mod statistics;
pub mod top;
mod view;

pub use crate::troubles::Source;
pub(crate) use interfaces::no_such as no_such_interface;
pub use metrics::Exposition;
pub use question::{Access, Question};
use senders::SenderCount;
pub use view::{AnswerForm, Progress, View};

/// An answer that is being made.
#[derive(Clone, Debug)]
pub struct Listing {
    question: Question,
    form: AnswerForm,
    at: At,
}

/// How far an answer is.
#[derive(Clone, Debug)]
enum At {
    /// A part, a family, a place in the table: what comes next of what the question goes through.
    Item(u32),
    /// States are counted by sender, or were.
    Senders(SenderCount),
    /// States are being put in order.
    Ranking(top::Ranking),
}

impl Listing {
    /// The answer to `question`, not begun.
    pub fn new(question: Question, form: AnswerForm) -> Self {
        let at = match question {
            Question::Health | Question::Senders => At::Senders(SenderCount::default()),
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
        let form = *form;
        match (question, at) {
            (Question::Health, At::Senders(states)) => {
                return Ok(health::step(view, states, form, out));
            }
            (Question::Senders, At::Senders(states)) => {
                return Ok(senders::step(view, states, form, out));
            }
            (Question::Metrics(exposition), At::Item(next)) => {
                return Ok(metrics::step(view, *exposition, next, out));
            }
            (Question::Statistics, At::Item(next)) => {
                return Ok(statistics::step(view, next, form, out));
            }
            (Question::States(filter), At::Item(place)) => {
                if let (Some(asked), 0) = (&mut *filter, &*place) {
                    *asked = states::resolved(view, asked)?;
                }
                return Ok(states::step(view, filter.as_ref(), place, form, out));
            }
            (Question::Top(top), At::Ranking(ranking)) => {
                if ranking.is_new() {
                    top.resolve(view)?;
                }
                return Ok(top::step(view, top, ranking, form, out));
            }
            (question, _) => at_once(view, question, form, out)?,
        }
        Ok(Progress::Done)
    }
}

/// Appends the answer to a question that needs no steps.
fn at_once(
    view: &View<'_>,
    question: &Question,
    form: AnswerForm,
    out: &mut Vec<u8>,
) -> Result<(), String> {
    match question {
        Question::Config => out.extend(view.engine.config().to_string().bytes()),
        Question::Interfaces(unit) => interfaces::show(view, *unit, form, out)?,
        // There is one form for programs.
        Question::List { unit, .. } if form == AnswerForm::Json => {
            interfaces::show(view, *unit, form, out)?;
        }
        Question::List { unit, is_verbose } => interfaces::list(view, *unit, *is_verbose, out)?,
        Question::Sources => senders::sources(view, form, out),
        Question::Timeouts => senders::timeouts(view, form, out),
        Question::Help => out.extend(request::help().bytes()),
        // They have steps.
        Question::Health
        | Question::Metrics(_)
        | Question::Senders
        | Question::States(_)
        | Question::Statistics
        | Question::Top(_) => {}
    }
    Ok(())
}
