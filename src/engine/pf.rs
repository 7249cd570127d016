//! Takes in the answers of this host's pf. A whole state goes the way of a full update from
//! `local`. pf also answers that a state is gone.

use std::time::Duration;

use super::Engine;
use crate::counters::PfCounters;
use crate::flow::Flow;
use crate::table::Sender;
use crate::time::Now;
use crate::wire::pf::frames::Answer;
use crate::wire::pf::{self, Form, Problem, Room};
use crate::wire::pfsync::Message;

impl Engine {
    /// Takes in an answer of pf. If a clear is half read, the answer waits until the clear is done,
    /// as a packet would.
    pub fn handle_pf(&mut self, now: Now, answer: &Answer<'_>) {
        while self.is_behind() {
            self.go_on();
        }
        let Some(solicitor) = &mut self.solicitor else {
            return;
        };
        match *answer {
            Answer::State(form, octets) => {
                solicitor.pf_problem = None;
                if let Err(problem) = self.handle_pf_state(now, form, octets) {
                    self.note_unreadable(&problem);
                }
            }
            Answer::Gone(id) => {
                solicitor.pf_problem = None;
                solicitor.handle_gone(&self.table, id);
            }
            Answer::Read { states, nanos } => {
                solicitor.note_pf_read(states, Duration::from_nanos(nanos));
            }
            // The solicitor stops waiting for the answer by itself.
            Answer::Failed(problem) => solicitor.pf_problem = Some(problem.to_owned()),
        }
    }

    /// A state that pf told.
    fn handle_pf_state(&mut self, now: Now, form: Form, octets: &[u8]) -> Result<(), Problem> {
        let Self {
            table, exporter, ..
        } = self;
        let id = form.state_id(octets);
        let place = id.and_then(|id| table.place_of_local(id));
        let stack = place.map(|place| table.stack_family(place));
        let mut room = Room::default();
        let state = pf::read(form, octets, stack, &mut room)?;
        let sender = table.sender(Sender::Local);
        let mut arrival = table.arrival(now, now.uptime, sender, false);
        arrival.dialect = state.dialect();
        exporter.begin_turn();
        let is_by_sender = table.is_by_sender(state.state_id().creatorid);
        let message = Message::Update(state);
        let done = &mut |now: &Now, flow: &Flow| exporter.flow(now, flow);
        match is_by_sender {
            true => table.apply_by_sender(&mut arrival, &message, done),
            false => table.apply(&mut arrival, message, done),
        }
        table.end_packet(now.uptime);
        table.note_learned(sender);
        exporter.take_more(now, table);
        if let Some(solicitor) = &mut self.solicitor {
            solicitor.pf.answered += 1;
            solicitor.take(now, &mut self.table);
        }
        Ok(())
    }

    /// Counts an answer of pf that is no state. The log tells of the first one.
    #[cold]
    fn note_unreadable(&mut self, problem: &Problem) {
        let Some(solicitor) = &mut self.solicitor else {
            return;
        };
        solicitor.pf.unreadable += 1;
        if solicitor.pf.unreadable == 1 {
            self.notice(format!("{problem}: it counts for nothing"));
        }
    }

    /// Why this host's pf does not answer. `None` if it answers or is not asked.
    pub fn pf_problem(&self) -> Option<&str> {
        self.solicitor.as_ref()?.pf_problem.as_deref()
    }

    /// What this host's pf was asked, if it is to be.
    pub fn pf_counters(&self) -> Option<&PfCounters> {
        let solicitor = self.solicitor.as_ref()?;
        solicitor.asks_pf().then_some(&solicitor.pf)
    }
}
