//! Times of the tries to open lost captures again. The first try is a second after the loss. Then
//! the wait doubles after each try, up to [`LONGEST`].

use std::collections::BTreeMap;
use std::time::Duration;

use crate::time::Uptime;

/// Time between the loss of a capture and the first try.
const FIRST: Duration = Duration::from_secs(1);
/// Longest time between two tries. After an interface is back, packets may be missed for so long.
const LONGEST: Duration = Duration::from_secs(8);

/// Lost captures, by their place among the sources.
#[derive(Debug, Default)]
pub(super) struct Comeback(BTreeMap<usize, Trial>);

#[derive(Debug)]
struct Trial {
    /// Time between the last try and the next.
    wait: Duration,
    /// The next try; `None` while one is under way.
    due: Option<Uptime>,
}

impl Comeback {
    /// Notes that a capture has ended, or that a try has failed. Returns true if the capture was
    /// there until now.
    pub(super) fn fail(&mut self, source: usize, now: Uptime) -> bool {
        let is_new = !self.0.contains_key(&source);
        let trial = self.0.entry(source).or_insert(Trial {
            wait: FIRST / 2,
            due: None,
        });
        trial.wait = (trial.wait * 2).min(LONGEST);
        trial.due = Some(now.after(trial.wait));
        is_new
    }

    /// The next capture to try; it is under way from now on.
    pub(super) fn next(&mut self, now: Uptime) -> Option<usize> {
        let is_due = |trial: &Trial| trial.due.is_some_and(|due| due <= now);
        let (source, trial) = self.0.iter_mut().find(|(_, trial)| is_due(trial))?;
        trial.due = None;
        Some(*source)
    }

    /// A capture is there again.
    pub(super) fn succeed(&mut self, source: usize) {
        self.0.remove(&source);
    }

    /// Whether every capture is there.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: i64) -> Uptime {
        Uptime::new(secs, 0)
    }

    #[test]
    fn a_lost_capture_is_tried_after_a_second_and_then_ever_more_seldom() {
        let mut comeback = Comeback::default();
        assert!(comeback.is_empty());
        assert!(comeback.fail(3, at(100)));
        let mut tries = Vec::new();
        for now in 100..140 {
            if let Some(source) = comeback.next(at(now)) {
                assert_eq!(source, 3);
                assert_eq!(comeback.next(at(now)), None, "one is under way");
                tries.push(now - 100);
                assert!(!comeback.fail(3, at(now)), "known to be lost");
            }
        }
        assert_eq!(tries, [1, 3, 7, 15, 23, 31, 39]);
        comeback.succeed(3);
        assert!(comeback.is_empty());
        assert!(comeback.fail(3, at(300)));
        assert_eq!(comeback.next(at(301)), Some(3), "the waits begin again");
    }

    #[test]
    fn captures_wait_each_for_themselves() {
        let mut comeback = Comeback::default();
        comeback.fail(0, at(0));
        comeback.fail(1, at(1));
        assert_eq!(comeback.next(at(1)), Some(0));
        assert_eq!(comeback.next(at(1)), None);
        comeback.succeed(0);
        assert_eq!(comeback.next(at(2)), Some(1));
        assert!(!comeback.is_empty());
    }
}
