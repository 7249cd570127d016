//! The timers of the table, the interfaces and the solicitor, and the end of the program.

use std::time::Duration;

use super::export::Exporter;
use super::parts::Engine;
use crate::export::Interface;
use crate::flow::Flow;
use crate::solicit::Solicitor;
use crate::time::{Now, Uptime};

/// A longer silence is a gap. In a gap, templates are sent only once.
const GAP: Duration = Duration::from_secs(3600);

/// So many pieces of [`crate::table::PIECE`] states take some milliseconds.
const PIECES: u32 = 16;

impl Engine {
    /// Whether [`Self::poll_timeout`] is not later than `now`. Each packet asks this, so the answer
    /// must be cheap.
    #[inline(always)]
    pub(super) fn is_due(&self, now: Uptime) -> bool {
        let solicitor = self.solicitor.as_ref();
        let mut interfaces = self.exporter.interfaces.iter();
        self.table.is_due(now)
            || solicitor.is_some_and(|solicitor| now.is_past(solicitor.poll_timeout()))
            || interfaces.any(|interface| interface.is_due(now))
    }

    /// When [`Self::handle_timeout`] has something to do.
    pub fn poll_timeout(&self) -> Option<Uptime> {
        let solicitor = self.solicitor.as_ref().and_then(Solicitor::poll_timeout);
        let due = Uptime::earliest(self.table.poll_timeout(), solicitor);
        let interfaces = self.exporter.interfaces.iter();
        interfaces
            .map(Interface::poll_timeout)
            .fold(due, Uptime::earliest)
    }

    /// Does what is due up to `now`, in order, each at its own due time. The caller promises no
    /// packet before `horizon`. It is `now`, unless the future is known, as in a replay.
    pub fn handle_timeout(&mut self, now: Now, horizon: Uptime) {
        while self.handle_some_timeouts(now, horizon) {}
    }

    /// Like [`Self::handle_timeout`], but it stops when there is much to send or after some
    /// milliseconds. Then it returns true, and there may be more to do.
    #[must_use]
    #[inline(always)]
    pub fn handle_some_timeouts(&mut self, now: Now, horizon: Uptime) -> bool {
        if self.is_behind() {
            self.go_on();
            return true;
        }
        let latest = self.latest.replace(now);
        if latest.is_some_and(|then| horizon > then.uptime.after(GAP)) {
            self.gap_until = Some(horizon);
        }
        self.table.note_horizon(horizon);
        let is_more = self.is_due(now.uptime) && self.handle_due(now, horizon);
        if !is_more {
            self.settled = now.uptime;
        }
        is_more
    }

    /// Does some of what is due. Returns whether there may be more to do.
    #[inline(never)]
    pub(super) fn handle_due(&mut self, now: Now, horizon: Uptime) -> bool {
        // Messages carry the clock's time, which must not go back. So nothing is done at an earlier
        // time than before.
        let earliest = self.settled.min(now.uptime);
        let mut pieces = 0;
        while let Some(due) = self.poll_timeout().filter(|due| *due <= now.uptime) {
            pieces += 1;
            let is_gap = self.gap_until.is_some_and(|until| until >= horizon);
            let then = now.at(due.max(earliest));
            self.exporter.begin_turn();
            let Self {
                table, exporter, ..
            } = self;
            let later = |now: &Now| if now.uptime < then.uptime { then } else { *now };
            table.handle_timeout(then, horizon, &mut |now, flow| {
                exporter.flow(&later(now), flow);
            });
            exporter.take_more(then, table);
            // The table's timers of one moment go before the interfaces' timers of that moment.
            while table.poll_timeout().is_some_and(|next| next <= due) {
                if exporter.has_much() || pieces >= PIECES {
                    self.take_events(then);
                    return true;
                }
                pieces += 1;
                table.handle_timeout(then, horizon, &mut |now, flow| {
                    exporter.flow(&later(now), flow);
                });
                exporter.take_more(then, table);
            }
            let Exporter {
                interfaces, outbox, ..
            } = exporter;
            for interface in interfaces {
                let templates = interface.counters.templates;
                interface.handle_timeout(then, outbox);
                if is_gap && interface.counters.templates != templates {
                    interface.skip_templates(horizon);
                }
            }
            if let Some(solicitor) = &mut self.solicitor {
                solicitor.take(then, &mut self.table);
                solicitor.handle_timeout(then, &self.table);
            }
            if self.exporter.has_much() || pieces >= PIECES {
                return true;
            }
        }
        false
    }

    /// Ends all that the program's end ends: states that are overdue, states that are alive if
    /// `flush active` is set, and then the records held.
    pub fn finish(&mut self, now: Now) {
        while self.finish_some(now) {}
    }

    /// Like [`Self::finish`], but it stops when there is much to send. Then it returns true, and
    /// there is more to do.
    #[must_use]
    pub fn finish_some(&mut self, now: Now) -> bool {
        if self.is_behind() {
            self.go_on();
            return true;
        }
        if self.flushed == 0 {
            self.table.release();
            if self.handle_some_timeouts(now, now.uptime) {
                return true;
            }
        }
        let Self {
            table, exporter, ..
        } = self;
        exporter.begin_turn();
        let is_active = exporter.config.is_flush_active;
        let done = &mut |now: &Now, flow: &Flow| exporter.flow(now, flow);
        let is_more = table.flush(now, is_active, &mut self.flushed, done);
        exporter.take_more(now, table);
        if is_more {
            return true;
        }
        let is_more = table.give_up_connections();
        exporter.take_more(now, table);
        if is_more {
            return true;
        }
        self.flushed = 0;
        let Exporter {
            interfaces, outbox, ..
        } = exporter;
        for interface in interfaces {
            interface.flush(now, outbox);
        }
        false
    }
}
