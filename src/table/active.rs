//! Active timeouts: flows that are exported while they go on, for each interface that asks.
//!
//! ```text
//! a state is learned --> lane of an interface, due one timeout later
//! due, and something new was counted: a part goes out, due again one timeout later
//! due, and nothing was:               it leaves the lane until a message about it comes
//! ```
//! All states of a lane wait equally long. So its list is in the order of their due times, and no
//! search is needed. A part has what was counted since the part before. The table keeps what went
//! out, so that the parts add up to the flow. If an estimate was too high, nothing goes out until
//! the counters have caught up.
//!
//! If no interface asks, there are no lanes, and this module takes neither memory nor time.

use std::time::Duration;

use super::due_list::DueList;
use super::slot::{Counts, Second};
use crate::flow::{Detail, End, Flow, Times};
use crate::slab::{NONE, Slab};
use crate::time::{Now, Uptime};

/// What went out of a state to one interface.
#[derive(Clone, Copy, Debug)]
pub(super) struct ShownParts {
    pub(super) counts: Counts,
    /// Where the last part ended.
    pub(super) last: Second,
    /// How many parts that was; not kept either.
    pub(super) parts: u32,
    /// [`Now::rounds_up`] at the first, by which all are told; it is not kept.
    pub(super) rounds_up: Option<bool>,
}

/// The states of one interface.
pub(super) struct Lane {
    /// N of pflowN.
    pub(super) unit: u32,
    /// States that wait for the timeout, each with the place of what went out, or NONE. A timeout
    /// of zero is switched off. What went out before is still known then.
    list: DueList<u32>,
    shown: Slab<ShownParts>,
    /// While all states are put into the list or taken out of it: the next place, and when that began.
    pub(super) sweep: Option<(u32, Uptime)>,
}

impl Lane {
    pub(super) fn new(unit: u32) -> Self {
        Self {
            unit,
            list: DueList::new(NONE),
            shown: Slab::default(),
            sweep: None,
        }
    }

    /// When it has something to do.
    fn due(&self) -> Option<Uptime> {
        let begun = self.sweep.map(|(_, begun)| begun);
        begun.or_else(|| self.list.due())
    }

    /// Puts a state at the end of the list, if it is in none.
    pub(super) fn enlist(&mut self, place: u32, now: Uptime) {
        if self.list.wait() > Duration::ZERO {
            self.list.enlist(place, now);
        }
    }

    /// Takes a state out of the list.
    pub(super) fn unlist(&mut self, place: u32) {
        self.list.unlist(place);
    }

    /// What went out of a state.
    pub(super) fn shown(&self, place: u32) -> Option<ShownParts> {
        let at = self.list.beside(place);
        (at != NONE).then(|| self.shown[at])
    }

    pub(super) fn set_shown(&mut self, place: u32, shown: ShownParts) {
        match self.list.beside(place) {
            NONE => {
                let at = self.shown.insert(shown);
                self.list.set_beside(place, at);
            }
            at => self.shown[at] = shown,
        }
    }

    fn forget(&mut self, place: u32) {
        self.unlist(place);
        let at = self.list.beside(place);
        if at != NONE {
            self.list.set_beside(place, NONE);
            self.shown.free(at);
        }
    }

    /// Changes the timeout at `now`. States that wait keep the time they have waited. If the
    /// timeout is switched on or off, all states have to be put into the list or taken out of it.
    pub(super) fn set_period(&mut self, period: Duration, now: Uptime) {
        if (self.list.wait() == Duration::ZERO) != (period == Duration::ZERO) {
            self.sweep = Some((0, now));
        }
        self.list.set_wait(period);
    }
}

/// What went out of a connection to one interface.
#[derive(Clone, Copy, Debug)]
pub(super) struct ToldParts {
    /// N of pflowN.
    pub(super) unit: u32,
    pub(super) counts: Counts,
    /// Uptime in whole seconds at which the last part ended.
    pub(super) last: i64,
    pub(super) parts: u32,
    /// As in [`ShownParts`].
    pub(super) rounds_up: Option<bool>,
}

impl ToldParts {
    /// What was told of a connection, in the counters of `one` half. Twins count the same packets.
    /// If the halves are no twins, what was told of `other` is none of `one`'s.
    pub(super) fn of_both(one: &[Self], other: &[Self], are_twins: bool) -> Vec<Self> {
        let mut all = one.to_vec();
        for told in other {
            match all.iter_mut().find(|known| known.unit == told.unit) {
                Some(known) => {
                    known.last = known.last.max(told.last);
                    known.parts = known.parts.max(told.parts);
                    if are_twins {
                        known.counts = known.counts.at_least(&told.counts);
                    }
                }
                None => {
                    let counts = if are_twins {
                        told.counts
                    } else {
                        Counts::default()
                    };
                    all.push(Self { counts, ..*told });
                }
            }
        }
        all
    }

    pub(super) fn shown(&self) -> ShownParts {
        ShownParts {
            counts: self.counts,
            last: Second::NEVER,
            parts: self.parts,
            rounds_up: self.rounds_up,
        }
    }

    /// What is left of a connection's flow that is told at `now`.
    pub(super) fn rest_of(&self, flow: &Flow, now: Now) -> Flow {
        let now = now.rounded(rounds_up(Some(self.shown()), now));
        let times = |_| flow.times.since(self.last, now);
        part(flow, self.unit, Some(self.shown()), times)
    }
}

/// What a lane knows of a state, to be kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct KeptParts {
    pub(super) unit: u32,
    /// When its next part is due, if it is in the list.
    pub(super) due: Option<Uptime>,
    /// What went out, and where the last part ended.
    pub(super) shown: Option<(Counts, Second)>,
}

/// All lanes, in the order of their interfaces.
#[derive(Default)]
pub(super) struct Active {
    pub(super) lanes: Vec<Lane>,
}

impl Active {
    /// What is known of the state at `place`.
    pub(super) fn kept(&self, place: u32) -> impl Iterator<Item = KeptParts> + '_ {
        let kept = self.lanes.iter().map(move |lane| KeptParts {
            unit: lane.unit,
            due: lane.list.due_of(place),
            shown: lane.shown(place).map(|shown| (shown.counts, shown.last)),
        });
        kept.filter(|kept| kept.due.is_some() || kept.shown.is_some())
    }

    /// Takes back what was known of the state at `place`. If the interface has no active timeout
    /// any more, what went out is still known. An interface that is gone comes back without a
    /// timeout, until timeouts are set.
    pub(super) fn restore(&mut self, place: u32, kept: KeptParts) {
        let at = self.lanes.iter().position(|lane| lane.unit == kept.unit);
        let at = at.unwrap_or_else(|| {
            self.lanes.push(Lane::new(kept.unit));
            self.lanes.len() - 1
        });
        let Some(lane) = self.lanes.get_mut(at) else {
            return;
        };
        if let Some((counts, last)) = kept.shown {
            lane.set_shown(
                place,
                ShownParts {
                    counts,
                    last,
                    parts: 0,
                    rounds_up: None,
                },
            );
        }
        if let Some(due) = kept.due {
            lane.enlist(place, lane.list.since(due));
        }
    }

    /// Puts what was read back into the order of the due times. No timeout is longer than its interface's is now.
    pub(super) fn end_restore(&mut self, now: Uptime) {
        for lane in &mut self.lanes {
            lane.list.sort(now);
        }
    }
}

impl Active {
    /// Octets of memory taken.
    pub(super) fn octets(&self) -> usize {
        let lanes = self.lanes.iter();
        lanes
            .map(|lane| lane.list.octets() + lane.shown.octets())
            .sum()
    }

    /// What [`Self::octets`] never exceed with so many chunks of slots.
    pub(super) fn octets_of(&self, slots: usize) -> usize {
        self.lanes.len() * (DueList::<u32>::octets_of(slots) + Slab::<ShownParts>::octets_of(slots))
    }

    /// Whether any interface exports parts of flows.
    #[inline(always)]
    pub(super) fn is_any(&self) -> bool {
        !self.lanes.is_empty()
    }

    /// Nothing is due before this.
    #[inline]
    pub(super) fn poll_timeout(&self) -> Option<Uptime> {
        self.lanes.iter().filter_map(Lane::due).min()
    }

    /// A message about a state came: it may have something new.
    pub(super) fn enlist(&mut self, place: u32, now: Uptime) {
        for lane in &mut self.lanes {
            lane.enlist(place, now);
        }
    }

    /// Puts a state into the list of one interface.
    pub(super) fn enlist_in(&mut self, unit: u32, place: u32, since: Uptime) {
        if let Some(lane) = self.lanes.iter_mut().find(|lane| lane.unit == unit) {
            lane.enlist(place, since);
        }
    }

    /// The times of a state moved by so many seconds.
    pub(super) fn move_shown(&mut self, place: u32, by: i64) {
        for lane in &mut self.lanes {
            if let Some(shown) = lane.shown(place) {
                let last = shown.last.moved(by);
                lane.set_shown(place, ShownParts { last, ..shown });
            }
        }
    }

    /// A state is gone.
    pub(super) fn forget(&mut self, place: u32) {
        for lane in &mut self.lanes {
            lane.forget(place);
        }
    }

    /// Takes out the state that is due first, with the number of its lane.
    pub(super) fn pop_due(&mut self, now: Uptime) -> Option<(usize, u32, Uptime)> {
        let dues = self.lanes.iter().enumerate();
        let dues = dues.filter_map(|(n, lane)| lane.list.due().map(|due| (due, n)));
        let (_, n) = dues.min()?;
        let (place, due) = self.lanes.get_mut(n)?.list.pop_due(now)?;
        Some((n, place, due))
    }
}

/// What is left of `total` when `shown` went out, by direction. No record has packets without
/// octets, so such packets stay. Octets without packets stay while the flow goes on.
fn rest(total: &Counts, shown: Option<ShownParts>, end: End) -> Counts {
    let mut rest = match shown {
        Some(shown) => total.minus(&shown.counts),
        None => *total,
    };
    for (packets, octets) in rest.packets.iter_mut().zip(&mut rest.octets) {
        if *octets == 0 {
            *packets = 0;
        } else if *packets == 0 && end == End::Active {
            *octets = 0;
        }
    }
    rest
}

/// How the boot is rounded in the times of a flow's parts: as in the first.
pub(super) fn rounds_up(shown: Option<ShownParts>, now: Now) -> bool {
    shown
        .and_then(|shown| shown.rounds_up)
        .unwrap_or(now.rounds_up())
}

/// How many parts there are with the one that comes next.
pub(super) fn parts_with(shown: Option<ShownParts>) -> u32 {
    shown.map_or(0, |shown| shown.parts).saturating_add(1)
}

/// The part of a flow that one interface has not had. It begins where the part before ended. In the
/// kernel's arithmetic one time may come out a second apart, depending on when it is told. So
/// `times` are [`Now::rounded`] as those of the first part are.
pub(super) fn part(
    flow: &Flow,
    unit: u32,
    shown: Option<ShownParts>,
    times: impl Fn(ShownParts) -> Times,
) -> Flow {
    let total = Counts {
        packets: flow.packets,
        octets: flow.octets,
    };
    let Counts { packets, octets } = rest(&total, shown, flow.end);
    let times = shown.map_or(flow.times, times);
    let part = parts_with(shown);
    Flow {
        detail: flow.detail.map(|detail| Detail { part, ..detail }),
        packets,
        octets,
        times,
        only: Some(unit),
        ..*flow
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_without_octets_wait_for_the_next_part() {
        let total = Counts {
            packets: [5, 7],
            octets: [900, 400],
        };
        let shown = ShownParts {
            counts: Counts {
                packets: [3, 4],
                octets: [500, 400],
            },
            last: Second::NEVER,
            parts: 1,
            rounds_up: None,
        };
        let left = Counts {
            packets: [2, 0],
            octets: [400, 0],
        };
        assert_eq!(rest(&total, Some(shown), End::Active), left);
        assert_eq!(rest(&total, None, End::Active), total);
    }

    #[test]
    fn octets_without_packets_wait_for_a_part_that_has_some_or_for_the_end() {
        let counts = |octets: u64| Counts {
            packets: [3, 4],
            octets: [octets, 400],
        };
        let shown = Some(ShownParts {
            counts: counts(500),
            last: Second::NEVER,
            parts: 1,
            rounds_up: None,
        });
        let nothing = Counts::default();
        assert_eq!(rest(&counts(900), shown, End::Active), nothing);
        let left = Counts {
            octets: [400, 0],
            ..nothing
        };
        assert_eq!(rest(&counts(900), shown, End::Deleted), left);
        let all = Counts {
            octets: [400, 0],
            ..nothing
        };
        assert_eq!(rest(&all, None, End::Active), nothing);
        assert_eq!(rest(&all, None, End::Deleted), all);
    }
}
