//! A connection that could not be made or was lost.

use std::time::Duration;

use super::outage::Outage;
use super::{Feed, State};
use crate::export::Connection;
use crate::io::log::Level;
use crate::io::transport::WhenFull;
use crate::run::collectors::turn::{Turn, add};
use crate::time::Uptime;

impl Feed {
    /// A connection could not be made.
    pub(super) fn fail(&mut self, at: usize, problem: &str, now: Uptime, turn: &mut Turn) {
        turn.connections.failed += 1;
        self.fall(at, problem, now, turn);
    }

    /// A connection was lost.
    pub(super) fn lose(&mut self, at: usize, problem: &str, now: Uptime, turn: &mut Turn) {
        self.stream.end();
        let doubt = std::mem::take(&mut self.doubt);
        turn.connections.lost += 1;
        turn.connections.in_doubt += doubt.records();
        self.fall(at, problem, now, turn);
    }

    /// Sets the time before which the collector is not tried again, and tells of the failure. A
    /// replay may give up.
    fn fall(&mut self, at: usize, problem: &str, now: Uptime, turn: &mut Turn) {
        self.state = State::Waiting;
        self.failures += 1;
        if let Some(due) = self.due.get_mut(at) {
            *due = now.after(Duration::from_secs(self.reconnect.into()));
        }
        if self.when_full == WhenFull::Wait && self.failures >= self.most_failures() {
            self.state = State::GivenUp;
            turn.lost = add(turn.lost, self.stream.clear());
        }
        let Some(to) = self.address(at) else { return };
        let next = self.next(now).and_then(|next| self.address(next));
        let connection = Connection::Down {
            to,
            problem: problem.to_owned(),
            reconnect: (!self.is_given_up()).then_some(self.reconnect),
        };
        let line = match next {
            Some(next) if !self.is_given_up() => format!("{to}: {problem}; {next} is tried"),
            _ => connection.to_string(),
        };
        turn.connection = Some(connection);
        let is_last = self.is_given_up();
        if is_last && !self.was_up {
            // The replay ends with the problem.
            return;
        }
        let outage = self.outage.get_or_insert_with(|| Outage::new(now));
        if let Some(more) = outage.tell(now, is_last) {
            turn.line(Level::Warning, line + &more);
        }
    }

    /// How many failures without a message taken make a replay give up. At the start it is one
    /// failure for each collector. After a connection it is two for each.
    fn most_failures(&self) -> usize {
        let rounds = if self.was_up { 2 } else { 1 };
        rounds * self.opened_for.collectors.len()
    }

    /// The collector to try, if the time of one has come.
    pub(super) fn next(&self, now: Uptime) -> Option<usize> {
        self.due.iter().position(|due| *due <= now)
    }
}
