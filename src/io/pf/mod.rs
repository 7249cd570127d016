//! This host's pf, asked for states by ioctl(2) on /dev/pf, in a process of its own.
//!
//! ```text
//! child --requests--> socket --> Asker: the states that wait --ioctl(2)--> pf
//!       <--answers--- socket <---- what it told, what is gone
//! ```
//! Neither the child's loop nor the parent waits for a read of all states, which may be a million.
//! OpenBSD tells one state at a time, at once. FreeBSD tells all: they are read for all that wait,
//! as seldom as [`crate::solicit::pf`] says. The process answers with the octets of the states that
//! were asked for, and the child, which has no rights, makes sense of them.

mod client;
mod device;
mod process;

use std::collections::HashSet;
use std::io;
use std::time::Duration;

use foldhash::fast::RandomState;

use crate::solicit::pf;
use crate::state::StateId;
use crate::time::Uptime;
use crate::wire::pf::Form;
use crate::wire::pf::frames::Answer;
pub use client::{Answers, Client, ENDED};
pub use device::Device;
pub use process::run;

/// Most states that wait for an answer: 16 seconds of most requests that can be set would be more,
/// and are refused by the child.
pub const MAX_WAITING: usize = 1 << 16;
/// Most octets of all states that are read: 1.4 million of FreeBSD's.
const MAX_OCTETS: usize = 512 << 20;
/// Octets to read more than pf has: states that come meanwhile, and what one row of its table has.
const SLACK: usize = 64 << 10;

/// What ioctl(2) on /dev/pf does, in the form that this system's has.
pub trait Ioctl {
    /// What states are told in.
    fn form(&self) -> Form;

    /// OpenBSD's DIOCGETSTATE: writes a state to `state`, whose first octets name it; false if pf
    /// does not know it.
    ///
    /// # Errors
    /// What the system reports.
    fn get_state(&mut self, state: &mut [u8]) -> io::Result<bool>;

    /// FreeBSD's DIOCGETSTATESV2: writes states to `states`, as many as there is room for, and says
    /// how many octets that are; without room how many octets all have.
    ///
    /// # Errors
    /// What the system reports.
    fn get_states(&mut self, states: &mut [u8]) -> io::Result<usize>;
}

/// What waits to be asked, and when.
#[derive(Debug)]
pub struct Asker<I> {
    ioctl: I,
    waiting: HashSet<StateId, RandomState>,
    /// When all states may be read again.
    next: Uptime,
}

impl<I: Ioctl> Asker<I> {
    /// One that was asked for nothing yet.
    pub fn new(ioctl: I, now: Uptime) -> Self {
        Self {
            ioctl,
            waiting: HashSet::default(),
            next: now,
        }
    }

    /// Takes requests in; false if more wait than may.
    pub fn ask(&mut self, ids: &[StateId]) -> bool {
        self.waiting.extend(ids);
        self.waiting.len() <= MAX_WAITING
    }

    /// When [`Self::handle_timeout`] has something to do.
    pub fn poll_timeout(&self) -> Option<Uptime> {
        (!self.waiting.is_empty()).then_some(self.next)
    }

    /// Asks pf for what waits, if it is time, and hands each answer to `tell`; `clock` tells the
    /// time.
    pub fn handle_timeout(
        &mut self,
        clock: &mut dyn FnMut() -> Uptime,
        tell: &mut dyn FnMut(Answer<'_>),
    ) {
        let now = clock();
        if self.poll_timeout().is_none_or(|due| due > now) {
            return;
        }
        let outcome = match self.ioctl.form() {
            Form::OpenBsd => self.ask_each(tell),
            Form::FreeBsd => self.read_all(now, clock, tell),
        };
        if let Err(error) = outcome {
            self.waiting.clear();
            self.next = now.after(pf::LEAST_PAUSE);
            tell(Answer::Failed(&error.to_string()));
        }
    }

    fn ask_each(&mut self, tell: &mut dyn FnMut(Answer<'_>)) -> io::Result<()> {
        let form = self.ioctl.form();
        let mut state = vec![0; form.octets()];
        for id in std::mem::take(&mut self.waiting) {
            state.fill(0);
            form.name(id, &mut state);
            match self.ioctl.get_state(&mut state)? {
                true => tell(Answer::State(form, &state)),
                false => tell(Answer::Gone(id)),
            }
        }
        Ok(())
    }

    fn read_all(
        &mut self,
        now: Uptime,
        clock: &mut dyn FnMut() -> Uptime,
        tell: &mut dyn FnMut(Answer<'_>),
    ) -> io::Result<()> {
        let form = self.ioctl.form();
        let all = self.ioctl.get_states(&mut [])?;
        if all > MAX_OCTETS {
            let count = all / form.octets();
            let problem = format!("pf has {count} states, too many to be read");
            return Err(io::Error::other(problem));
        }
        // Given back after each read.
        let mut states = vec![0; all + all / 8 + SLACK];
        let read = self.ioctl.get_states(&mut states)?;
        let is_whole = read + SLACK <= states.len();
        states.truncate(read);
        let mut count = 0;
        for state in states.chunks_exact(form.octets()) {
            count += 1;
            let id = form.state_id(state);
            if id.is_some_and(|id| self.waiting.remove(&id)) {
                tell(Answer::State(form, state));
            }
        }
        // Of a table that grew too fast what was not told waits for the next time.
        if is_whole {
            for id in self.waiting.drain() {
                tell(Answer::Gone(id));
            }
        }
        let cost = clock().since(now);
        self.next = now.after(pf::pause_after(cost).max(cost));
        tell(Answer::Read {
            states: count,
            nanos: u64::try_from(cost.as_nanos()).unwrap_or(u64::MAX),
        });
        Ok(())
    }
}

/// How long there is nothing to do.
fn wait(due: Option<Uptime>, now: Uptime) -> Duration {
    const LONG: Duration = Duration::from_secs(3600);
    due.map_or(LONG, |due| due.since(now))
}

#[cfg(test)]
mod tests;
