//! A trouble with a connection, told now and then while it lasts.

use std::time::Duration;

use crate::time::Uptime;

/// Time between two lines about a trouble that lasts.
const TELL: Duration = Duration::from_secs(60);

/// No connection, or one that is lost soon after it is made.
pub(super) struct Outage {
    pub(super) since: Uptime,
    told: Option<Uptime>,
    /// Failures since it was told.
    failures: u64,
}

impl Outage {
    pub(super) fn new(now: Uptime) -> Self {
        Self {
            since: now,
            told: None,
            failures: 0,
        }
    }

    /// Notes a failure. If it is to be logged, returns the words that follow the failure in the
    /// line.
    pub(super) fn tell(&mut self, now: Uptime, is_last: bool) -> Option<String> {
        let is_told = |told: Uptime| now.since(told) < TELL;
        if self.told.is_some_and(is_told) && !is_last {
            self.failures += 1;
            return None;
        }
        let more = match self.failures {
            0 => String::new(),
            failures => format!(" (and {failures} times more since the last line)"),
        };
        (self.told, self.failures) = (Some(now), 0);
        Some(more)
    }
}
