//! The only reader of clocks.

use std::time::Duration;

use super::sys;
use crate::time::{NANOS, Now, Uptime, Wall};

/// The live clocks: the wall clock, and the uptime of "the machine".
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// Nanoseconds by which the uptime told is ahead of this host's. Not 0 with -b, or if the
    /// uptime is no machine's.
    ahead: i64,
}

/// Uptime at the start, in whole seconds, if the uptime is no machine's. It is the middle of what
/// v5's 32 bits of milliseconds hold.
const UNKNOWN: i64 = (1 << 31) / 1000;

impl Clock {
    /// This host's clocks, or those of a machine that came up at `boot`.
    pub fn new(boot: Option<Wall>) -> Self {
        let host = Self { ahead: 0 };
        match boot {
            None => host,
            Some(boot) => {
                let now = host.now();
                let uptime = now.wall.nanos().saturating_sub(boot.nanos());
                Self {
                    ahead: uptime.saturating_sub(now.uptime.nanos()),
                }
            }
        }
    }

    /// This host's clocks with an uptime that is no machine's. It is whole seconds off this host's,
    /// whose boot may still be known.
    pub fn of_no_machine() -> Self {
        let ahead = UNKNOWN.saturating_sub(Self { ahead: 0 }.now().uptime.secs());
        Self {
            ahead: ahead.saturating_mul(NANOS),
        }
    }

    /// Uptime in whole seconds when this host came up.
    pub fn host_boot(&self) -> i64 {
        self.ahead.div_euclid(NANOS)
    }

    /// Both, read once.
    pub fn now(&self) -> Now {
        let (secs, nanos) = sys::since_epoch();
        let wall = Wall::new(secs, nanos);
        let (secs, nanos) = sys::since_boot();
        let uptime = Uptime::new(secs, nanos).nanos().saturating_add(self.ahead);
        Now::new(wall, Uptime::from_nanos(uptime))
    }
}

/// Longest time that one gap in a capture takes.
const MAX_GAP: Duration = Duration::from_secs(60);

/// Real time for -x: how far a replay may have come.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Multiple of real time.
    speed: f64,
    /// Where the replay's clock was at `since`.
    from: Wall,
    since: Uptime,
}

impl Pace {
    /// A replay at `speed` times real time whose clock shows `from` now.
    pub fn new(speed: f64, from: Wall) -> Self {
        Self {
            speed,
            from,
            since: Clock::new(None).now().uptime,
        }
    }

    /// Before a gap that ends at `stamp`: one that would take longer than a minute passes in
    /// a minute.
    pub fn shorten_gap(&mut self, stamp: Wall) {
        let ahead = self.real_time_of(stamp);
        let longest = self.gone() + MAX_GAP.as_secs_f64();
        if ahead > longest {
            // Moves the replay's beginning by so much, which has the same effect.
            let skipped = Duration::try_from_secs_f64((ahead - longest) * self.speed);
            self.from = self.from.after(skipped.unwrap_or(Duration::MAX));
        }
    }

    /// How long to wait until the replay's clock may show `stamp`.
    pub fn wait_for(&self, stamp: Wall) -> Duration {
        let wait = self.real_time_of(stamp) - self.gone();
        Duration::try_from_secs_f64(wait.max(0.0)).unwrap_or(MAX_GAP)
    }

    /// Seconds from the start until the clock may show `stamp`.
    fn real_time_of(&self, stamp: Wall) -> f64 {
        stamp.since(self.from).as_secs_f64() / self.speed
    }

    /// Seconds since the start.
    fn gone(&self) -> f64 {
        Clock::new(None)
            .now()
            .uptime
            .since(self.since)
            .as_secs_f64()
    }
}
