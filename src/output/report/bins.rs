//! Octets over time, in steps that grow with the time there is to show.
//!
//! ```text
//! before | bin 0 | bin 1 | ... | bin n       at most MAX_BINS of `step` seconds
//!        ^ the first packet
//! ```
//! A flow is spread evenly over its seconds. Octets before the first packet are counted apart.
//! Otherwise one state that is days old would make an hour's capture a single step.

use crate::counters::ProtocolCounters;

/// Steps at most; twice as long ones take their place when there would be more.
pub(super) const MAX_BINS: usize = 1024;

/// Octets of each class of protocols.
type Octets = [u64; ProtocolCounters::COUNT];

/// Octets by time.
#[derive(Clone, Debug)]
pub(super) struct Bins {
    /// The second that they begin with.
    start: Option<u64>,
    step: u64,
    bins: Vec<Octets>,
    before: u64,
}

impl Default for Bins {
    fn default() -> Self {
        Self {
            start: None,
            step: 1,
            bins: Vec::new(),
            before: 0,
        }
    }
}

impl Bins {
    /// Makes them begin at second `start`, if nothing was added.
    pub(super) fn begin(&mut self, start: i64) {
        if self.bins.is_empty() {
            self.start = u64::try_from(start).ok();
        }
    }

    pub(super) fn start(&self) -> u64 {
        self.start.unwrap_or(0)
    }

    pub(super) fn step(&self) -> u64 {
        self.step
    }

    /// Octets before [`Self::start`].
    pub(super) fn before(&self) -> u64 {
        self.before
    }

    /// The octets of a class of protocols, step by step.
    pub(super) fn of(&self, class: usize) -> impl Iterator<Item = u64> + '_ {
        let bins = self.bins.iter();
        bins.map(move |octets| octets.get(class).copied().unwrap_or(0))
    }

    /// Adds `octets` that were carried from second `first` to second `last`.
    pub(super) fn add(&mut self, class: usize, (first, last): (u64, u64), octets: u64) {
        let start = *self.start.get_or_insert(first);
        if octets == 0 {
            return;
        }
        if last < start {
            self.before = self.before.saturating_add(octets);
            return;
        }
        self.reach(last - start);
        let spread = Spread {
            first,
            seconds: last - first + 1,
            octets,
        };
        let before = spread.until(start);
        self.before = self.before.saturating_add(before);
        let mut told = before;
        let step = self.step;
        let bin_of = |second: u64| usize::try_from((second - start) / step).unwrap_or(usize::MAX);
        let (from, to) = (bin_of(first.max(start)), bin_of(last));
        for (bin, place) in self.bins.iter_mut().zip(0_u64..).take(to + 1).skip(from) {
            let now = spread.until(start + (place + 1) * step);
            if let Some(sum) = bin.get_mut(class) {
                *sum = sum.saturating_add(now - told);
            }
            told = now;
        }
    }

    /// Makes room for what was `after` seconds after the start.
    fn reach(&mut self, after: u64) {
        while after / self.step >= MAX_BINS as u64 {
            self.step *= 2;
            let joined = self.bins.chunks(2).map(|pair| {
                let mut sum = Octets::default();
                for octets in pair {
                    for (sum, octets) in sum.iter_mut().zip(octets) {
                        *sum = sum.saturating_add(*octets);
                    }
                }
                sum
            });
            self.bins = joined.collect();
        }
        let needed = usize::try_from(after / self.step).unwrap_or(0) + 1;
        if self.bins.len() < needed {
            self.bins.resize(needed, Octets::default());
        }
    }
}

/// Octets spread over seconds.
struct Spread {
    first: u64,
    seconds: u64,
    octets: u64,
}

impl Spread {
    /// Those carried before `second`.
    fn until(&self, second: u64) -> u64 {
        let passed = second.saturating_sub(self.first).min(self.seconds);
        let part = u128::from(self.octets) * u128::from(passed) / u128::from(self.seconds);
        u64::try_from(part).unwrap_or(self.octets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_octet_is_lost_or_told_twice_however_long_flows_are(
            flows in proptest::collection::vec((0..2_000_000_u64, 0..2_000_000_u64, any::<u32>()), 0..60),
            start in 0..1_000_000_i64,
        ) {
            let mut bins = Bins::default();
            bins.begin(start);
            let mut all = 0;
            for (first, seconds, octets) in flows {
                bins.add(1, (first, first + seconds), octets.into());
                all += u64::from(octets);
                prop_assert!(bins.bins.len() <= MAX_BINS);
            }
            prop_assert_eq!(bins.of(1).sum::<u64>() + bins.before(), all);
            prop_assert_eq!(bins.of(0).sum::<u64>(), 0);
        }
    }

    #[test]
    fn a_flow_is_spread_evenly_over_its_time_and_what_was_before_is_apart() {
        let mut bins = Bins::default();
        bins.begin(100);
        bins.add(0, (98, 101), 400);
        bins.add(0, (101, 101), 7);
        assert_eq!(bins.before(), 200);
        assert_eq!(bins.of(0).collect::<Vec<_>>(), [100, 107]);
        bins.add(0, (10, 20), 5);
        assert_eq!((bins.before(), bins.start()), (205, 100));
    }

    #[test]
    fn steps_grow_until_the_end_is_reached() {
        let mut bins = Bins::default();
        bins.begin(0);
        bins.add(0, (0, 0), 3);
        bins.add(0, (86_400, 86_400), 4);
        assert_eq!(bins.step(), 128);
        let shown: Vec<_> = bins.of(0).collect();
        assert_eq!(
            (shown.first(), shown.last(), shown.len()),
            (Some(&3), Some(&4), 676)
        );
    }

    #[test]
    fn times_at_the_end_of_the_scale_do_no_harm() {
        let mut bins = Bins::default();
        bins.begin(-1);
        bins.add(0, (0, u64::MAX / 1000), 9);
        bins.add(0, (u64::MAX / 1000, u64::MAX / 1000), 9);
        assert_eq!(bins.of(0).sum::<u64>(), 18);
    }
}
