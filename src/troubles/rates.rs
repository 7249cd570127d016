//! How counters move between two looks.

use std::time::Duration;

use crate::time::Uptime;

/// A counter that is looked at now and then.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rise {
    value: Option<u64>,
    pub(super) rose: Option<Uptime>,
}

impl Rise {
    /// Notes its value. A first value other than 0 is a rise.
    pub(super) fn note(&mut self, value: u64, now: Uptime) {
        let before = self.value.replace(value);
        if before.unwrap_or(0) < value {
            self.rose = Some(now);
        }
    }

    /// Whether it rose so lately.
    pub(super) fn is_within(&self, now: Uptime, span: Duration) -> bool {
        self.rose.is_some_and(|rose| now.since(rose) < span)
    }
}

/// Some out of all, counted anew as soon as there are enough.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Portion {
    begun: Uptime,
    some: u64,
    all: u64,
    pub(super) percent: Option<u64>,
}

impl Portion {
    /// Notes both: with enough of them, or after so long, it begins anew.
    pub(super) fn note(&mut self, some: u64, all: u64, enough: u64, within: Duration, now: Uptime) {
        let (more, of) = (some.saturating_sub(self.some), all.saturating_sub(self.all));
        if of >= enough {
            self.percent = Some(more.min(of) * 100 / of);
        } else if now.since(self.begun) < within {
            return;
        }
        (self.begun, self.some, self.all) = (now, some, all);
    }
}
