//! What is kept beside states for whoever asks: active timeouts, connections, NAT events, details.

use super::arrival::Arrival;
use super::store::Table;
use crate::flow::Flow;
use crate::time::{Now, Uptime};

impl Table {
    pub(super) fn asides_due(&self) -> Option<Uptime> {
        let due = Uptime::earliest(self.active.poll_timeout(), self.connections_due());
        Uptime::earliest(due, self.translations_due())
    }

    /// Whether there may be connections to take, or NAT events.
    #[inline(always)]
    pub fn has_more_than_flows(&self) -> bool {
        self.has_more_than_flows
    }

    /// A state was learned.
    #[cold]
    pub(super) fn begin_asides(&mut self, place: u32, arrival: &Arrival) {
        self.active.enlist(place, arrival.clock.uptime);
        self.enter_connection(place);
        self.begin_translation(place, arrival.clock);
    }

    /// A state ends and makes `flow`.
    #[cold]
    pub(super) fn end_asides(
        &mut self,
        place: u32,
        now: Now,
        flow: &Flow,
        done: &mut impl FnMut(&Now, &Flow),
    ) {
        self.end_half(place, now, flow);
        self.end_translation(place, now, flow);
        if self.active.is_any() {
            self.end_parts(place, now, flow, done);
        }
    }
}
