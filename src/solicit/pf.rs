//! Asking this host's own pf, which answers with what it counted, without a packet on the wire.
//!
//! ```text
//! OpenBSD  each state that is asked for is read by itself, at once
//! FreeBSD  all states are read, for all that were asked for since the last time
//! ```
//! A read of all states costs what all of them cost. So reads may take a hundredth of the time, and
//! begin at least a second apart. They begin at most 15 seconds apart, even if they take more
//! than that. The reason is that a UDP state of one packet lives 30 and is asked for after 10.

use std::time::Duration;

/// Whether this system's pf is known well enough to be asked.
pub const CAN_BE_ASKED: bool = cfg!(any(target_os = "openbsd", target_os = "freebsd"));

/// Shortest time between two reads of all states.
pub const LEAST_PAUSE: Duration = Duration::from_secs(1);
/// Longest time between two reads of all states.
pub const MOST_PAUSE: Duration = Duration::from_secs(15);
/// A read may take one in so many parts of the time.
const PART: u32 = 100;

/// How long after the beginning of a read of all states, which took so long, the next one begins.
pub fn pause_after(cost: Duration) -> Duration {
    cost.saturating_mul(PART).clamp(LEAST_PAUSE, MOST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_take_a_hundredth_of_the_time_within_bounds() {
        let pause = |millis| pause_after(Duration::from_millis(millis)).as_secs();
        assert_eq!([0, 10, 11, 50, 149].map(pause), [1, 1, 1, 5, 14]);
        assert_eq!([150, 400, 60_000].map(pause), [15, 15, 15]);
        assert_eq!(pause_after(Duration::MAX), MOST_PAUSE);
    }
}
