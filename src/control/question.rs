//! What can be asked, and who may ask it.

use super::metrics::Exposition;
use super::top::TopQuestion;
use crate::filter::Filter;

/// What may be asked on a socket.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Access {
    /// Everything.
    Full,
    /// `show` only.
    ReadOnly,
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
    /// The first few states in some order.
    Top(TopQuestion),
    /// Where packets come from.
    Sources,
    /// Who sends, and whose states.
    Senders,
    /// pf's timeouts.
    Timeouts,
    /// The requests there are.
    Help,
}
