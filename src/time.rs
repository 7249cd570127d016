//! Clocks as plain values. Nothing here reads a clock: `io/clock.rs` does, or a capture's stamps.
//!
//! Two scales are kept apart by type: [`Wall`] counts from the UNIX epoch and may be stepped by
//! an operator, [`Uptime`] counts from the boot of "the machine" and never goes back. A state's
//! times are whole seconds of uptime, as in the kernel (`getuptime()` in if_pflow.c and pf.c), so
//! that a step of the wall clock does not move them.

use std::fmt;
use std::time::Duration;

/// Nanoseconds in a second.
pub const NANOS: i64 = 1_000_000_000;

macro_rules! nanosecond_scale {
    ($name:ident) => {
        impl $name {
            /// From nanoseconds since the scale's zero.
            pub const fn from_nanos(nanos: i64) -> Self {
                Self(nanos)
            }

            /// From whole seconds and nanoseconds since the scale's zero; saturates.
            pub const fn new(secs: i64, nanos: u32) -> Self {
                Self(secs.saturating_mul(NANOS).saturating_add(nanos as i64))
            }

            /// Nanoseconds since the scale's zero.
            pub const fn nanos(self) -> i64 {
                self.0
            }

            /// Whole seconds since the scale's zero, rounded down.
            #[inline]
            pub const fn secs(self) -> i64 {
                // The result is the same, but cheaper: rounding down a negative number takes more
                // than the division.
                if self.0 >= 0 {
                    self.0 / NANOS
                } else {
                    self.0.div_euclid(NANOS)
                }
            }

            /// The nanoseconds that [`Self::secs`] leaves out: 0..=999_999_999.
            #[expect(
                clippy::cast_possible_truncation,
                reason = "a remainder of 10^9 fits, and const fn has no try_from"
            )]
            pub const fn subsec_nanos(self) -> u32 {
                self.0.rem_euclid(NANOS) as u32
            }

            /// This time and `by` more; saturates.
            pub fn after(self, by: Duration) -> Self {
                Self(self.0.saturating_add(nanos_of(by)))
            }

            /// How long ago `earlier` was; zero if it was not.
            pub fn since(self, earlier: Self) -> Duration {
                Duration::from_nanos(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
            }
        }
    };
}

fn nanos_of(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

/// A reading of the wall clock: nanoseconds since 1970-01-01 00:00 UTC.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Wall(i64);

/// A time on the machine's uptime clock: nanoseconds since its boot; negative before it.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Uptime(i64);

nanosecond_scale!(Wall);
nanosecond_scale!(Uptime);

impl Uptime {
    /// Whether what is due at `due`, if at all, is due now.
    #[inline]
    pub fn is_past(self, due: Option<Self>) -> bool {
        due.is_some_and(|due| due <= self)
    }

    /// The earlier of two times that may not come.
    #[inline]
    pub fn earliest(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        match (one, other) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        }
    }
}

impl Wall {
    /// The reading so many milliseconds after 1970, as far as the scale reaches.
    pub fn from_millis(millis: i64) -> Self {
        Self(millis.saturating_mul(NANOS / 1000))
    }

    /// This stamp if it lies between 1970 and 2116, else the nearer end of that. A capture may
    /// claim any stamp; with these no deadline reaches the end of the scale.
    pub fn sane(self) -> Self {
        Self(self.0.clamp(0, 1 << 62))
    }
}

/// One reading of both clocks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Now {
    /// What the wall clock says.
    pub wall: Wall,
    /// How long the machine has been up.
    pub uptime: Uptime,
    /// Worked out with the reading: each state of a packet asks.
    seconds: Seconds,
}

impl Now {
    /// Both clocks as they stand.
    pub const fn new(wall: Wall, uptime: Uptime) -> Self {
        Self {
            wall,
            uptime,
            seconds: Seconds {
                boot: wall.secs() - uptime.secs(),
                uptime: uptime.secs(),
            },
        }
    }

    /// The reading at wall time `wall` of a machine that came up at `boot`.
    pub const fn with_boot(wall: Wall, boot: Wall) -> Self {
        Self::new(wall, Uptime(wall.0.saturating_sub(boot.0)))
    }

    /// The uptime that belongs to another wall stamp of about this time, such as a packet's.
    pub const fn uptime_at(self, stamp: Wall) -> Uptime {
        // In a replay it mostly is of this time.
        if self.wall.0 == stamp.0 {
            return self.uptime;
        }
        Uptime(
            self.uptime
                .0
                .saturating_sub(self.wall.0.saturating_sub(stamp.0)),
        )
    }

    /// A live packet's stamp. If the stamp is over a minute older than this reading, or over a
    /// second newer, it is this reading. Then the wall clock was set since the packet was captured.
    pub fn plausible(self, stamp: Wall) -> Wall {
        let is_old = self.wall.since(stamp) > Duration::from_secs(60);
        let is_ahead = stamp.since(self.wall) > Duration::from_secs(1);
        if is_old || is_ahead { self.wall } else { stamp }
    }

    /// The reading when the uptime clock showed `uptime`, by the same boot time.
    pub const fn at(self, uptime: Uptime) -> Self {
        let since = self.uptime.0.saturating_sub(uptime.0);
        Self::new(Wall(self.wall.0.saturating_sub(since)), uptime)
    }

    /// Whether the boot comes out rounded up if both clocks are cut to seconds. The answer differs
    /// from reading to reading.
    pub const fn rounds_up(self) -> bool {
        self.seconds.boot > self.boot_secs()
    }

    /// The reading with its boot rounded up or down, for times that must agree with those told at
    /// another.
    pub const fn rounded(self, up: bool) -> Self {
        let boot = self.boot_secs() + if up { 1 } else { 0 };
        let uptime = self.uptime.secs();
        Self {
            seconds: Seconds { boot, uptime },
            ..self
        }
    }

    const fn boot_secs(self) -> i64 {
        Wall(self.wall.0.saturating_sub(self.uptime.0)).secs()
    }

    /// Both clocks cut to seconds.
    pub const fn seconds(self) -> Seconds {
        self.seconds
    }
}

/// One reading of both clocks in whole seconds.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Seconds {
    /// From the epoch to boot.
    boot: i64,
    /// Since boot.
    pub uptime: i64,
}

impl Seconds {
    /// Whole seconds of uptime as milliseconds since the epoch, in the kernel's arithmetic: both
    /// clocks are cut to seconds first (if_pflow.c, `copy_flow_ipfix_4_data`).
    #[inline]
    pub fn epoch_millis(self, uptime_secs: i64) -> i64 {
        let secs = self.boot.checked_add(uptime_secs);
        let millis = secs.and_then(|secs| secs.checked_mul(1000));
        match millis {
            Some(millis) => millis,
            None if uptime_secs < 0 => i64::MIN,
            None => i64::MAX,
        }
    }
}

impl fmt::Display for Wall {
    /// UTC, `2023-11-14 22:13:20.900`; years outside 0..=9999 as seconds since the epoch.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match ::time::OffsetDateTime::from_unix_timestamp(self.secs()) {
            Ok(t) if (0..=9999).contains(&t.year()) => write!(
                f,
                "{:04}-{:02}-{:02} {:02}:{:02}:{:02}.{:03}",
                t.year(),
                u8::from(t.month()),
                t.day(),
                t.hour(),
                t.minute(),
                t.second(),
                self.subsec_nanos() / 1_000_000
            ),
            _ => write!(f, "{}", self.secs()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_round_down_on_both_sides_of_zero() {
        assert_eq!(Wall::new(5, 999_999_999).secs(), 5);
        assert_eq!(Uptime::from_nanos(-1).secs(), -1);
        assert_eq!(Uptime::from_nanos(-1).subsec_nanos(), 999_999_999);
    }

    #[test]
    fn a_stamp_from_before_the_clock_was_set_is_not_believed() {
        let now = Now::with_boot(Wall::new(10_000, 0), Wall::new(0, 0));
        for stamp in [
            Wall::new(9_940, 0),
            Wall::new(10_000, 0),
            Wall::new(10_001, 0),
        ] {
            assert_eq!(now.plausible(stamp), stamp);
        }
        for stamp in [
            Wall::new(9_939, 999_999_999),
            Wall::new(10_001, 1),
            Wall::new(0, 0),
        ] {
            assert_eq!(now.plausible(stamp), now.wall);
        }
    }

    #[test]
    fn a_state_time_keeps_its_second_however_the_clocks_fractions_fall() {
        let now = Now::with_boot(
            Wall::new(1_700_000_100, 200_000_000),
            Wall::new(1_700_000_000, 900_000_000),
        );
        assert_eq!(now.uptime.secs(), 99);
        assert_eq!(now.seconds().epoch_millis(99), 1_700_000_100_000);
        assert_eq!(now.seconds().epoch_millis(-5), 1_699_999_996_000);
    }

    #[test]
    fn a_wall_stamp_and_an_uptime_lead_back_to_each_other() {
        let now = Now::with_boot(Wall::new(1000, 5), Wall::new(400, 0));
        let stamp = Wall::new(990, 7);
        assert_eq!(now.at(now.uptime_at(stamp)).wall, stamp);
    }

    #[test]
    fn arithmetic_saturates_at_the_ends_of_the_scale() {
        let end = Wall::new(i64::MAX, 0);
        assert_eq!(end.after(Duration::MAX), end);
        assert_eq!(Wall::new(0, 0).since(end), Duration::ZERO);
    }

    #[test]
    fn wall_prints_as_utc() {
        assert_eq!(
            Wall::new(1_700_000_000, 900_000_000).to_string(),
            "2023-11-14 22:13:20.900"
        );
        assert_eq!(Wall::new(-1, 0).to_string(), "1969-12-31 23:59:59.000");
    }
}
