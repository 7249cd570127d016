//! Asks this host's pf through another process. The process is started as the configuration says,
//! and started again when it has ended. A replay has none.

use std::collections::HashSet;
use std::time::Duration;

use crossbeam_channel::{Receiver, never};
use foldhash::fast::RandomState;

use super::parent::Parent;
use crate::accounting::Counting;
use crate::config::Config;
use crate::engine::Engine;
use crate::io::pf::{Answers, Client, MAX_WAITING};
use crate::state::StateId;
use crate::time::{Now, Uptime};
use crate::wire::pf::frames::Answer;

/// Time between the end of the process and the start of the next one.
const PAUSE: Duration = Duration::from_secs(10);

/// The process to ask, if there is one.
pub(super) struct Pf {
    parent: Option<Parent>,
    /// Whether the configuration wants it.
    is_on: bool,
    client: Option<Client>,
    /// States that were asked for and are not answered yet.
    waiting: HashSet<StateId, RandomState>,
    /// When to start the process again.
    again: Option<Uptime>,
}

/// What a configuration needs.
pub(super) enum OpenedPf {
    /// The process that runs, or none.
    Same,
    /// A process, or none.
    Other(Option<Client>),
}

impl Pf {
    pub(super) fn new(parent: Option<Parent>) -> Self {
        Self {
            parent,
            is_on: false,
            client: None,
            waiting: HashSet::default(),
            again: None,
        }
    }

    /// Whether pf is to be asked.
    pub(super) fn is_on(&self) -> bool {
        self.is_on
    }

    /// Starts the process, if `config` wants it and it is not wanted already.
    pub(super) fn prepare(&self, config: &Config) -> Result<OpenedPf, String> {
        let wanted = config.counting == Counting::Pf;
        match &self.parent {
            Some(parent) if wanted && !self.is_on => {
                let client = parent.open_pf();
                let client = client.map_err(|problem| format!("counters pf: {problem}"))?;
                Ok(OpenedPf::Other(Some(client)))
            }
            Some(_) if !wanted && self.is_on => Ok(OpenedPf::Other(None)),
            _ => Ok(OpenedPf::Same),
        }
    }

    /// Takes into use what was prepared.
    pub(super) fn commit(&mut self, opened: OpenedPf) {
        if let OpenedPf::Other(client) = opened {
            self.is_on = client.is_some();
            self.client = client;
            self.waiting.clear();
            self.again = None;
        }
    }

    /// What the process answers.
    pub(super) fn answers(&self) -> Receiver<Answers> {
        match &self.client {
            Some(client) => client.answers().clone(),
            None => never(),
        }
    }

    /// Asks for what the engine wants.
    pub(super) fn send(&mut self, engine: &mut Engine) {
        let Some(solicitor) = engine.solicitor() else {
            return;
        };
        let ids = std::mem::take(solicitor.pf_requests());
        let Some(client) = &mut self.client else {
            solicitor.pf.failed += ids.len() as u64;
            return;
        };
        let mut fresh = Vec::with_capacity(ids.len());
        for id in ids {
            if self.waiting.len() >= MAX_WAITING {
                solicitor.pf.refused += 1;
            } else if self.waiting.insert(id) {
                solicitor.pf.asked += 1;
                fresh.push(id);
            }
        }
        client.ask(&fresh);
        client.push();
    }

    /// Whether requests wait to be sent.
    pub(super) fn is_sending(&self) -> bool {
        self.client.as_ref().is_some_and(Client::is_sending)
    }

    /// Takes in what came.
    pub(super) fn take(&mut self, engine: &mut Engine, answers: Answers, now: Now) {
        let octets = match answers {
            Ok(octets) => octets,
            Err(problem) => return self.lose(engine, problem, now.uptime),
        };
        let mut rest = octets.as_slice();
        while let Ok(Some((answer, taken))) = Answer::read(rest) {
            match answer {
                Answer::Failed(_) => self.fail_waiting(engine),
                Answer::State(form, state) => {
                    if let Some(id) = form.state_id(state) {
                        self.waiting.remove(&id);
                    }
                }
                Answer::Gone(id) => {
                    self.waiting.remove(&id);
                }
                Answer::Read { .. } => {}
            }
            engine.handle_pf(now, &answer);
            rest = rest.get(taken..).unwrap_or_default();
        }
    }

    /// Tells the engine that the waiting requests will not be answered.
    fn fail_waiting(&mut self, engine: &mut Engine) {
        if let Some(solicitor) = engine.solicitor() {
            solicitor.pf.failed += self.waiting.len() as u64;
        }
        self.waiting.clear();
    }

    /// The process has ended.
    fn lose(&mut self, engine: &mut Engine, problem: String, now: Uptime) {
        self.fail_waiting(engine);
        self.client = None;
        self.again = Some(now.after(PAUSE));
        tell(engine, problem);
    }

    /// Starts the process again, if it is time.
    pub(super) fn come_back(&mut self, engine: &mut Engine, now: Uptime) {
        if self.again.is_none_or(|again| again > now) {
            return;
        }
        self.again = None;
        match self.parent.as_ref().map(Parent::open_pf) {
            Some(Ok(client)) => self.client = Some(client),
            Some(Err(problem)) => {
                self.again = Some(now.after(PAUSE));
                tell(engine, problem);
            }
            None => {}
        }
    }
}

/// Tells why pf does not answer: what is wrong is logged and shown as other troubles are.
fn tell(engine: &mut Engine, problem: String) {
    if let Some(solicitor) = engine.solicitor() {
        solicitor.pf_problem = Some(problem);
    }
}

#[cfg(test)]
mod tests;
