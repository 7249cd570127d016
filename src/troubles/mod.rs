//! Floor 7: what is wrong, since when, and what an operator does about it. The log and `show health`
//! both read it.
//!
//! ```text
//! engine, sources --Senses--> signs of now --Troubles--> begun, lasting, over --> log, show health
//!
//!            a sign                   lasts for `begins`
//!   (none) ----------> suspected ------------------------> lasting: one line
//!      ^                   |  no sign                        |  no sign for `ends`: one line
//!      +-------------------+---------------------------------+
//! ```
//! Signs are read off counters once a second, so that nothing is counted for this a state. Troubles
//! that a system call reports are logged where they are met, in the system's words and at once
//! ([`Told`]): here they only last.

mod rates;
mod senses;
mod sign;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::engine::Engine;
use crate::time::{Now, Uptime};
use senses::Senses;
use sign::Sign;
pub use sign::{Cause, Source, Told};

/// Most troubles told apart; of more it is only known how many there are.
pub const MAX_TROUBLES: usize = 64;

/// A trouble.
#[derive(Clone, Debug)]
pub struct Trouble {
    sign: Sign,
    /// Of the first sign.
    since: Uptime,
    /// Of the latest.
    seen: Uptime,
    is_begun: bool,
}

impl Trouble {
    /// Why.
    pub fn cause(&self) -> Cause {
        self.sign.cause
    }

    /// What it is about: an interface, a firewall, a host id.
    pub fn subject(&self) -> &str {
        &self.sign.subject
    }

    /// What is wrong.
    pub fn what(&self) -> &str {
        &self.sign.what
    }

    /// What to do about it.
    pub fn remedy(&self) -> &str {
        &self.sign.remedy
    }

    /// How long there have been signs of it.
    pub fn lasts(&self, now: Uptime) -> Duration {
        now.since(self.since)
    }
}

/// How a line for the log is meant.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum News {
    /// Something is wrong.
    Begun(String),
    /// It is no more.
    Over(String),
}

/// All troubles.
#[derive(Debug, Default)]
pub struct Troubles {
    senses: Senses,
    troubles: BTreeMap<(Cause, String), Trouble>,
    /// Signs of the last look for which there was no room.
    beyond: usize,
}

impl Troubles {
    /// Looks at what there is at `now`; lines for the log.
    pub fn look(&mut self, engine: &Engine, sources: &[Source], now: Now) -> Vec<News> {
        let signs = self.senses.signs(engine, sources, now);
        self.take(signs, now.uptime)
    }

    /// Those that have begun and are not over, what matters most first.
    pub fn lasting(&self) -> impl Iterator<Item = &Trouble> {
        self.troubles.values().filter(|trouble| trouble.is_begun)
    }

    /// How many more troubles there are than [`MAX_TROUBLES`].
    pub fn beyond(&self) -> usize {
        self.beyond
    }

    /// When interface `unit` sent something last, as far as that was seen.
    pub fn last_sent(&self, unit: u32) -> Option<Uptime> {
        self.senses.last_sent(unit)
    }

    /// What was wrong with the way to the collector of interface `unit` last, and when.
    pub fn last_problem(&self, unit: u32) -> Option<(&str, Uptime)> {
        self.senses.last_problem(unit)
    }

    /// How much of a sender's latest updates were of states not known, percent.
    pub fn unknown_share(&self, sender: usize) -> Option<u64> {
        self.senses.unknown_share(sender)
    }

    fn take(&mut self, signs: Vec<Sign>, now: Uptime) -> Vec<News> {
        let mut news = Vec::new();
        self.beyond = 0;
        for sign in signs {
            let key = (sign.cause, sign.subject.clone());
            if let Some(trouble) = self.troubles.get_mut(&key) {
                (trouble.sign, trouble.seen) = (sign, now);
            } else if self.troubles.len() < MAX_TROUBLES {
                let trouble = Trouble {
                    sign,
                    since: now,
                    seen: now,
                    is_begun: false,
                };
                self.troubles.insert(key, trouble);
            } else {
                self.beyond += 1;
            }
        }
        self.troubles.retain(|(cause, _), trouble| {
            let sign = &trouble.sign;
            if trouble.seen == now {
                if !trouble.is_begun && trouble.lasts(now) >= cause.begins() {
                    trouble.is_begun = true;
                    if sign.told == Told::Nothing {
                        news.push(News::Begun(format!("{}: {}", sign.what, sign.remedy)));
                    }
                }
                return true;
            }
            if trouble.is_begun && now.since(trouble.seen) < cause.ends() {
                return true;
            }
            if trouble.is_begun && sign.told != Told::Both {
                let (subject, over) = (&sign.subject, cause.over());
                let secs = trouble.lasts(now).as_secs();
                news.push(News::Over(format!("{subject}: {over}, after {secs} s")));
            }
            false
        });
        news
    }
}

#[cfg(test)]
mod tests;
