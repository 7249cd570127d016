//! Spaces datagrams evenly, so that a collector's receive buffer does not overflow.
//!
//! ```text
//! 1/rate  |.....|.....|.....|.....|      each datagram has its time
//! asked        x       x          x      those whose time has come go together
//! ```
//! A caller that asks late may catch up, but at most `LATE`, because a longer burst would overflow
//! the buffer.

use std::time::Duration;

use crate::time::Uptime;

/// Most time that a late caller catches up.
const LATE: Duration = Duration::from_millis(4);
/// Shortest wait, because shorter timers cost more than they gain.
const TURN: Duration = Duration::from_millis(1);

/// Says how many datagrams may go.
#[derive(Clone, Debug)]
pub struct Pacer {
    rate: u32,
    /// Nanoseconds that one datagram takes.
    interval: u64,
    /// When the next may go.
    next: Uptime,
}

impl Pacer {
    /// At most `rate` datagrams a second from `now` on.
    pub fn new(rate: u32, now: Uptime) -> Self {
        let rate = rate.max(1);
        Self {
            rate,
            interval: (1_000_000_000 / u64::from(rate)).max(1),
            next: now,
        }
    }

    /// Datagrams a second.
    pub fn rate(&self) -> u32 {
        self.rate
    }

    /// How many of `waiting` may go at `now`; they are taken to have gone.
    pub fn allow(&mut self, now: Uptime, waiting: usize) -> usize {
        if self.next > now {
            return 0;
        }
        let earliest = Uptime::from_nanos(now.nanos().saturating_sub(nanos(LATE)));
        self.next = self.next.max(earliest);
        let late = u64::try_from(now.since(self.next).as_nanos()).unwrap_or(u64::MAX);
        let allowed = late / self.interval + 1;
        let count = u64::try_from(waiting).unwrap_or(u64::MAX).min(allowed);
        let taken = Duration::from_nanos(self.interval.saturating_mul(count));
        self.next = self.next.after(taken);
        usize::try_from(count).unwrap_or(waiting)
    }

    /// How long to wait at `now` before asking again.
    pub fn wait(&self, now: Uptime) -> Duration {
        self.next.since(now).max(TURN)
    }
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: i64) -> Uptime {
        Uptime::from_nanos(micros * 1000)
    }

    #[test]
    fn a_second_lets_the_rate_go_however_often_is_asked() {
        for rate in [1, 7, 1000, 5000, 250_000] {
            for step in [50, 330, 1000, 3900] {
                let mut pacer = Pacer::new(rate, at(0));
                let asked = (0..1_000_000).step_by(step);
                let gone: usize = asked.map(|now| pacer.allow(at(now as i64), 1 << 20)).sum();
                let (least, most) = (f64::from(rate) * 0.99, f64::from(rate) + 1.0);
                let gone = gone as f64;
                assert!(
                    (least - 1.0..=most).contains(&gone),
                    "{rate} {step}: {gone}"
                );
            }
        }
    }

    #[test]
    fn after_a_pause_few_go_at_once() {
        let mut pacer = Pacer::new(5000, at(0));
        assert_eq!(pacer.allow(at(0), 100), 1);
        assert_eq!(pacer.allow(at(0), 100), 0);
        assert_eq!(pacer.allow(at(60_000_000), 1000), 21);
        assert_eq!(pacer.allow(at(60_000_000), 1000), 0);
    }

    #[test]
    fn what_does_not_wait_takes_no_time() {
        let mut pacer = Pacer::new(1000, at(0));
        assert_eq!(pacer.allow(at(4000), 2), 2);
        assert_eq!(pacer.allow(at(4000), 9), 3);
    }

    #[test]
    fn the_wait_ends_when_the_next_may_go() {
        let mut pacer = Pacer::new(10, at(0));
        pacer.allow(at(0), 5);
        let wait = pacer.wait(at(1000));
        assert_eq!(wait, Duration::from_micros(99_000));
        assert_eq!(pacer.allow(at(99_999), 5), 0);
        assert_eq!(pacer.allow(at(100_000), 5), 1);
    }
}
