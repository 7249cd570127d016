//! A feed's turn: collectors are tried, connections are made and renewed, messages are sent.

use std::net::SocketAddr;
use std::time::Duration;

use super::{Attempt, Feed, LOOK, OpenedFor, State};
use crate::export::Connection;
use crate::io::log::Level;
use crate::io::transport::tcp;
use crate::run::collectors::in_doubt::InDoubt;
use crate::run::collectors::turn::Turn;
use crate::time::{Now, Uptime};

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(10);
/// How soon a parent that is busy is asked again.
const BUSY: Duration = Duration::from_millis(50);

impl Feed {
    /// Does what there is to do at `now`: tries collectors, sends.
    pub(in crate::run::collectors) fn turn(
        &mut self,
        now: Now,
        open: &mut dyn FnMut(&OpenedFor, SocketAddr) -> Attempt,
        turn: &mut Turn,
    ) {
        let at = now.uptime;
        if let Some(first) = self.first.take() {
            self.start(0, first, at, turn);
        }
        // The loop ends, because each failure moves a collector's time.
        while matches!(self.state, State::Waiting)
            && let Some(next) = self.next(at)
            && let Some(to) = self.address(next)
        {
            let attempt = open(&self.opened_for, to);
            let is_busy = matches!(attempt, Attempt::Busy);
            self.start(next, attempt, at, turn);
            if is_busy {
                break;
            }
            self.connect(at, turn);
        }
        self.connect(at, turn);
        self.renew(at, turn);
        let is_idle = self.stream.is_empty() && at.since(self.checked) < LOOK[1];
        if self.is_up() && at >= self.look && !is_idle {
            self.send(now, turn);
        }
        self.settle(now, turn);
    }

    fn start(&mut self, at: usize, attempt: Attempt, now: Uptime, turn: &mut Turn) {
        match attempt {
            Attempt::Begun(transport) => {
                self.state = State::Connecting {
                    transport,
                    at,
                    until: now.after(CONNECT),
                };
                self.look_at_once(now);
                turn.connection = self.address(at).map(Connection::Connecting);
            }
            Attempt::Failed(problem) => self.fail(at, &problem, now, turn),
            Attempt::Busy => {
                if let Some(due) = self.due.get_mut(at) {
                    *due = now.after(BUSY);
                }
            }
        }
    }

    /// Goes on with a connection that is being made.
    fn connect(&mut self, now: Uptime, turn: &mut Turn) {
        if now < self.look {
            return;
        }
        let outcome = match &mut self.state {
            State::Connecting {
                transport,
                at,
                until,
            } => (*at, *until, transport.establish(now)),
            _ => return,
        };
        match outcome {
            (at, _, Err(error)) => self.fail(at, &tcp::words_of(&error), now, turn),
            (at, until, Ok(false)) if now >= until => {
                let problem = format!("no answer in {} s", CONNECT.as_secs());
                self.fail(at, &problem, now, turn);
            }
            (_, _, Ok(false)) => self.look_later(now),
            (at, _, Ok(true)) => self.rise(at, now, turn),
        }
    }

    /// A connection is made.
    fn rise(&mut self, at: usize, now: Uptime, turn: &mut Turn) {
        if let State::Connecting { transport, .. } =
            std::mem::replace(&mut self.state, State::Waiting)
        {
            self.state = State::Up {
                transport,
                at,
                since: now,
            };
        }
        self.was_up = true;
        self.stream.begin();
        if self.datagrams.is_some() {
            self.stream.set_by_datagrams();
        }
        self.doubt = InDoubt::default();
        self.progress = now;
        self.look_at_once(now);
        turn.connections.made += 1;
        let Some(to) = self.address(at) else { return };
        turn.connection = Some(Connection::Connected(to));
        self.told = now;
        let is_renewed = std::mem::take(&mut self.is_renewing);
        if self.outage.is_none() && !is_renewed {
            turn.line(Level::Info, format!("connected to {to}"));
        }
    }

    /// For sessions over datagrams: tells the templates again when it is time, and ends a session
    /// that is old. The next turn begins a new one.
    fn renew(&mut self, now: Uptime, turn: &mut Turn) {
        let (
            Some(datagrams),
            State::Up {
                transport,
                at,
                since,
            },
        ) = (self.datagrams, &mut self.state)
        else {
            return;
        };
        if now.since(*since) >= datagrams.renew {
            transport.shut_down();
            let at = *at;
            self.state = State::Waiting;
            self.stream.end();
            self.doubt = InDoubt::default();
            self.is_renewing = true;
            if let Some(due) = self.due.get_mut(at) {
                *due = now;
            }
            turn.connections.renewed += 1;
        } else if now.since(self.told) >= datagrams.refresh {
            self.stream.tell_again();
            self.told = now;
        }
    }

    /// Puts what the collector did not take into its spool.
    fn settle(&mut self, now: Now, turn: &mut Turn) {
        turn.note_spool(self.stream.settle(now));
    }
}
