//! The only reader of clocks.

use std::time::Duration;

use super::sys;
use crate::time::{Now, Uptime, Wall};

/// The live clocks: the wall clock, and the uptime of "the machine".
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// What the machine's uptime is ahead of this host's, nanoseconds: not 0 with -b.
    ahead: i64,
}

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

    /// Both, read once.
    pub fn now(&self) -> Now {
        let (secs, nanos) = sys::since_epoch();
        let wall = Wall::new(secs, nanos);
        let (secs, nanos) = sys::since_boot();
        let uptime = Uptime::new(secs, nanos).nanos().saturating_add(self.ahead);
        Now {
            wall,
            uptime: Uptime::from_nanos(uptime),
        }
    }
}

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
    /// Longest sleep for one gap in the capture.
    const MAX_WAIT: Duration = Duration::from_secs(60);

    /// A replay at `speed` times real time whose clock shows `from` now.
    pub fn new(speed: f64, from: Wall) -> Self {
        Self {
            speed,
            from,
            since: Clock::new(None).now().uptime,
        }
    }

    /// How long to wait until the replay's clock may show `stamp`. A longer gap than
    /// a minute is cut to that, and the pace goes on from behind it.
    pub fn wait_for(&mut self, stamp: Wall) -> Duration {
        let ahead = stamp.since(self.from).as_secs_f64() / self.speed;
        let gone = Clock::new(None)
            .now()
            .uptime
            .since(self.since)
            .as_secs_f64();
        let wait = Duration::try_from_secs_f64((ahead - gone).max(0.0)).unwrap_or(Duration::MAX);
        if wait <= Self::MAX_WAIT {
            return wait;
        }
        let now = Clock::new(None).now().uptime;
        *self = Self {
            from: stamp,
            since: now.after(Self::MAX_WAIT),
            ..*self
        };
        Self::MAX_WAIT
    }
}
