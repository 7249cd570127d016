//! The parent waits for signals, the link and the child's end. It never waits for the child alone,
//! so a child that hangs cannot stop it.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::io::clock::Clock;
use crate::io::daemon::{self, Ended};
use crate::io::link::Link;
use crate::io::log::{Log, LoggedTrouble};
use crate::io::signals::{LONGEST, Waiter};
use crate::time::Uptime;

/// Time between two looks at a child that is to end.
const LOOK: Duration = Duration::from_millis(10);

/// Waits, and knows how far the child is.
pub(super) struct Watch {
    child: Pid,
    waiter: Waiter,
    clock: Clock,
    /// Whether the child handles signals. Before that a signal would end it.
    is_ready: bool,
    /// Signals that wait until the child is ready.
    waiting: Vec<Signal>,
    /// When the child was first told to end.
    pub(super) asked: Option<Uptime>,
    waits: LoggedTrouble,
    /// What is wrong with the link.
    pub(super) talks: LoggedTrouble,
}

impl Watch {
    pub(super) fn new(child: Pid, waiter: Waiter) -> Self {
        Self {
            child,
            waiter,
            clock: Clock::new(None),
            is_ready: false,
            waiting: Vec::new(),
            asked: None,
            waits: LoggedTrouble::new("poll"),
            talks: LoggedTrouble::new("link to the child process"),
        }
    }

    pub(super) fn now(&self) -> Uptime {
        self.clock.now().uptime
    }

    /// Waits for a signal or for `link`, but not longer than `longest`. Passes signals on to the
    /// child. Returns whether the link is ready.
    pub(super) fn wait(&mut self, link: Option<&Link>, longest: Duration, log: &mut Log) -> bool {
        let woken = self.waiter.wait(link, longest);
        let now = self.now();
        let line = match &woken.problem {
            Some(problem) => self.waits.begin(now, problem),
            None => self.waits.end(now),
        };
        line.into_iter().for_each(|line| log.warn(&line));
        let signals = woken.signals.into_iter();
        for signal in signals.filter_map(|signal| Signal::try_from(signal).ok()) {
            let is_end = matches!(signal, Signal::SIGTERM | Signal::SIGINT);
            if is_end {
                self.asked.get_or_insert(now);
            }
            if self.is_ready || is_end {
                // If the child has ended, kill(2) fails; the caller finds the end soon.
                let _ = kill(self.child, signal);
            } else if !self.waiting.contains(&signal) {
                self.waiting.push(signal);
            }
        }
        woken.is_link_ready
    }

    /// How long until the child must have ended, if it was told to.
    pub(super) fn left(&self, told: Duration) -> Duration {
        let left = |asked: Uptime| told.saturating_sub(self.now().since(asked));
        self.asked.map_or(LONGEST, left)
    }

    /// Notes that the child handles signals, and passes on those that have waited.
    pub(super) fn set_ready(&mut self) {
        self.is_ready = true;
        for signal in self.waiting.drain(..) {
            let _ = kill(self.child, signal);
        }
    }

    /// Waits for the child to end, but not longer than `patience`.
    pub(super) fn end_within(&mut self, patience: Duration, log: &mut Log) -> Option<Ended> {
        let until = self.now().after(patience);
        loop {
            let ended = daemon::ended(self.child);
            if ended.is_some() || self.now() >= until {
                return ended;
            }
            self.wait(None, LOOK, log);
        }
    }
}
