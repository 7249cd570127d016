//! Active timeouts: flows that are exported while they go on, for each interface that asks.
//!
//! ```text
//! a state is learned --> lane of an interface, due one timeout later
//! due, and something new was counted: a part goes out, due again one timeout later
//! due, and nothing was:               it leaves the lane until a message about it comes
//! ```
//! All states of a lane wait equally long, so that its list is in the order of their due times and
//! nothing is walked. A part has what was counted since the one before; what went out is kept on
//! the side, so that parts add up to the flow. Where an estimate turns out to have been too high,
//! nothing goes out until the counters have caught up.
//!
//! With no interface that asks there are no lanes, and nothing here takes memory or time.

use std::time::Duration;

use super::connections::Connection;
use super::slot::{Counts, Second};
use super::store::{PIECE, Table};
use crate::flow::{Detail, End, Flow, Times};
use crate::slab::{NONE, Slab};
use crate::time::Now;
use crate::time::Uptime;

/// Places that are looked at in one step when an active timeout is switched on or off.
const SWEEP: u32 = 1 << 12;

/// What went out of a state to one interface.
#[derive(Clone, Copy, Debug)]
struct Shown {
    counts: Counts,
    /// Where the last part ended.
    last: Second,
    /// How many parts that was; not kept either.
    parts: u32,
    /// [`Now::rounds_up`] at the first, by which all are told; it is not kept.
    rounds_up: Option<bool>,
}

/// A state in a lane.
#[derive(Clone, Copy, Debug)]
struct Entry {
    /// When it began to wait.
    since: Uptime,
    prev: u32,
    next: u32,
    /// Place of what went out, or NONE.
    shown: u32,
    is_listed: bool,
}

const NO_ENTRY: Entry = Entry {
    since: Uptime::from_nanos(0),
    prev: NONE,
    next: NONE,
    shown: NONE,
    is_listed: false,
};

/// The states of one interface.
struct Lane {
    /// N of pflowN.
    unit: u32,
    /// Zero: switched off; what went out before is still known.
    period: Duration,
    /// By place of the state.
    entries: Slab<Entry>,
    head: u32,
    tail: u32,
    shown: Slab<Shown>,
    /// While all states are put into the list or taken out of it: the next place, and when that began.
    sweep: Option<(u32, Uptime)>,
}

impl Lane {
    fn new(unit: u32) -> Self {
        Self {
            unit,
            period: Duration::ZERO,
            entries: Slab::default(),
            head: NONE,
            tail: NONE,
            shown: Slab::default(),
            sweep: None,
        }
    }

    fn entry(&mut self, place: u32) -> Option<&mut Entry> {
        (place < self.entries.places()).then(|| &mut self.entries[place])
    }

    fn look(&self, place: u32) -> Option<&Entry> {
        (place < self.entries.places()).then(|| &self.entries[place])
    }

    /// Makes an entry for each place up to `place`, as the table has made slots.
    fn reach(&mut self, place: u32) {
        while place >= self.entries.places() {
            self.entries.insert(NO_ENTRY);
        }
    }

    /// When it has something to do.
    fn due(&self) -> Option<Uptime> {
        let begun = self.sweep.map(|(_, begun)| begun);
        begun.or_else(|| Some(self.due_of(self.look(self.head)?)))
    }

    /// When a state that is in the list is due.
    fn due_of(&self, entry: &Entry) -> Uptime {
        entry.since.after(self.period)
    }

    /// Puts a state at the end of the list, if it is in none.
    fn enlist(&mut self, place: u32, now: Uptime) {
        if self.period == Duration::ZERO {
            return;
        }
        let tail = self.tail;
        self.reach(place);
        match self.entry(place) {
            Some(entry) if !entry.is_listed => {
                (entry.since, entry.prev, entry.next) = (now, tail, NONE);
                entry.is_listed = true;
            }
            _ => return,
        }
        self.tail = place;
        match self.entry(tail) {
            Some(entry) => entry.next = place,
            None => self.head = place,
        }
    }

    /// Takes a state out of the list.
    fn unlist(&mut self, place: u32) {
        let Some(entry) = self.entry(place).filter(|entry| entry.is_listed) else {
            return;
        };
        entry.is_listed = false;
        let (prev, next) = (entry.prev, entry.next);
        match self.entry(prev) {
            Some(entry) => entry.next = next,
            None => self.head = next,
        }
        match self.entry(next) {
            Some(entry) => entry.prev = prev,
            None => self.tail = prev,
        }
    }

    /// What went out of a state.
    fn shown(&self, place: u32) -> Option<Shown> {
        let at = self.look(place)?.shown;
        (at != NONE).then(|| self.shown[at])
    }

    fn set_shown(&mut self, place: u32, shown: Shown) {
        let Some(at) = self.entry(place).map(|entry| entry.shown) else {
            return;
        };
        if at != NONE {
            self.shown[at] = shown;
            return;
        }
        let at = self.shown.insert(shown);
        if let Some(entry) = self.entry(place) {
            entry.shown = at;
        }
    }

    fn forget(&mut self, place: u32) {
        self.unlist(place);
        let shown = self
            .entry(place)
            .map(|entry| std::mem::replace(&mut entry.shown, NONE));
        if let Some(at) = shown.filter(|at| *at != NONE) {
            self.shown.free(at);
        }
    }

    /// Changes the timeout at `now`: who waits has waited as long as before. If it is switched on or
    /// off, all states have to be put into the list or taken out of it.
    fn set_period(&mut self, period: Duration, now: Uptime) {
        if (self.period == Duration::ZERO) != (period == Duration::ZERO) {
            self.sweep = Some((0, now));
        }
        self.period = period;
    }

    /// When a state began to wait that is due at `due`.
    fn since(&self, due: Uptime) -> Uptime {
        let period = i64::try_from(self.period.as_nanos()).unwrap_or(i64::MAX);
        Uptime::from_nanos(due.nanos().saturating_sub(period))
    }
}

/// What went out of a connection to one interface.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told {
    /// N of pflowN.
    pub(super) unit: u32,
    pub(super) counts: Counts,
    /// Uptime in whole seconds at which the last part ended.
    last: i64,
    parts: u32,
    /// As in [`Shown`].
    rounds_up: Option<bool>,
}

impl Told {
    /// What was told of a connection, in the counters of `one` half. Twins count the same packets; of
    /// others what was told of `other` is none of `one`'s.
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

    fn shown(&self) -> Shown {
        Shown {
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
pub(super) struct Kept {
    pub(super) unit: u32,
    /// When its next part is due, if it is in the list.
    pub(super) due: Option<Uptime>,
    /// What went out, and where the last part ended.
    pub(super) shown: Option<(Counts, Second)>,
}

/// All lanes, in the order of their interfaces.
#[derive(Default)]
pub(super) struct Active {
    lanes: Vec<Lane>,
    /// States that are read back, before they are in the order of their due times: lane, due,
    /// place.
    restored: Vec<(usize, Uptime, u32)>,
}

impl Active {
    /// What is known of the state at `place`.
    pub(super) fn kept(&self, place: u32) -> impl Iterator<Item = Kept> + '_ {
        let kept = self.lanes.iter().map(move |lane| {
            let entry = lane.look(place);
            Kept {
                unit: lane.unit,
                due: entry
                    .filter(|entry| entry.is_listed)
                    .map(|entry| lane.due_of(entry)),
                shown: lane.shown(place).map(|shown| (shown.counts, shown.last)),
            }
        });
        kept.filter(|kept| kept.due.is_some() || kept.shown.is_some())
    }

    /// Takes back what was known of the state at `place`. Of an interface that has no active
    /// timeout any more, what went out is still known; one that is gone comes back for nothing,
    /// until timeouts are set.
    pub(super) fn restore(&mut self, place: u32, kept: Kept) {
        let at = self.lanes.iter().position(|lane| lane.unit == kept.unit);
        let at = at.unwrap_or_else(|| {
            self.lanes.push(Lane::new(kept.unit));
            self.lanes.len() - 1
        });
        let Some(lane) = self.lanes.get_mut(at) else {
            return;
        };
        lane.reach(place);
        if let Some((counts, last)) = kept.shown {
            lane.set_shown(
                place,
                Shown {
                    counts,
                    last,
                    parts: 0,
                    rounds_up: None,
                },
            );
        }
        if let Some(due) = kept.due {
            self.restored.push((at, due, place));
        }
    }

    /// Makes the lists of what was read back. No timeout is longer than its interface's is now.
    pub(super) fn end_restore(&mut self, now: Uptime) {
        let mut restored = std::mem::take(&mut self.restored);
        restored.sort_by_key(|(at, due, _)| (*at, *due));
        for (at, due, place) in restored {
            if let Some(lane) = self.lanes.get_mut(at) {
                lane.enlist(place, now);
                let since = lane.since(due).min(now);
                if let Some(entry) = lane.entry(place).filter(|entry| entry.is_listed) {
                    entry.since = since;
                }
            }
        }
    }
}

impl Active {
    /// Octets of memory taken.
    pub(super) fn octets(&self) -> usize {
        let lanes = self.lanes.iter();
        lanes
            .map(|lane| lane.entries.octets() + lane.shown.octets())
            .sum()
    }

    /// What [`Self::octets`] never exceed with so many chunks of slots.
    pub(super) fn octets_of(&self, slots: usize) -> usize {
        self.lanes.len() * (Slab::<Entry>::octets_of(slots) + Slab::<Shown>::octets_of(slots))
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
                lane.set_shown(place, Shown { last, ..shown });
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
    fn pop_due(&mut self, now: Uptime) -> Option<(usize, u32, Uptime)> {
        let dues = self.lanes.iter().enumerate();
        let dues = dues.filter_map(|(n, lane)| lane.due().map(|due| (due, n)));
        let (due, n) = dues.min().filter(|(due, _)| *due <= now)?;
        let lane = self.lanes.get_mut(n)?;
        let place = lane.head;
        lane.unlist(place);
        Some((n, place, due))
    }
}

/// What is left of `total` when `shown` went out, by direction: there is no record of packets
/// without octets, so those stay. So do octets without packets while the flow goes on.
fn rest(total: &Counts, shown: Option<Shown>, end: End) -> Counts {
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

impl Table {
    /// Sets the active timeouts: interfaces by number, each with its seconds, 0 for none.
    /// Interfaces that are not named are gone.
    pub fn set_active(&mut self, now: Uptime, interfaces: &[(u32, u32)]) {
        let mut old = std::mem::take(&mut self.active.lanes);
        for &(unit, seconds) in interfaces {
            let period = Duration::from_secs(seconds.into());
            let place = old.iter().position(|lane| lane.unit == unit);
            let mut lane = match place {
                Some(place) => old.swap_remove(place),
                None if seconds == 0 => continue,
                None => Lane::new(unit),
            };
            lane.set_period(period, now);
            self.active.lanes.push(lane);
        }
        self.measure();
        self.note_asides();
        self.sweep();
    }

    /// What went out of a state to interfaces that export connections.
    pub(super) fn told_of(&self, place: u32) -> Vec<Told> {
        let epoch = self.epoch_of(self.slots[place].sender);
        let lanes = self.active.lanes.iter();
        let lanes = lanes.filter(|lane| self.has_connection_parts(lane.unit));
        let told = lanes.filter_map(|lane| {
            let shown = lane.shown(place)?;
            Some(Told {
                unit: lane.unit,
                counts: shown.counts,
                last: shown.last.uptime(epoch),
                parts: shown.parts,
                rounds_up: shown.rounds_up,
            })
        });
        told.collect()
    }

    /// So much of the connection of the state at `place` has gone out to all that export connections:
    /// `told` with their parts, `exported` without.
    pub(super) fn note_all_told(&mut self, place: u32, told: &[Told], exported: Counts, last: i64) {
        let last = Second::new(last, self.epoch_of(self.slots[place].sender));
        let mut lanes = std::mem::take(&mut self.active.lanes);
        for lane in &mut lanes {
            if self.has_connection_parts(lane.unit) {
                let shown = lane.shown(place);
                let rounds_up = shown.and_then(|shown| shown.rounds_up);
                let told = told.iter().find(|told| told.unit == lane.unit);
                let counts = told.map_or(exported, |told| told.counts);
                let parts = shown.map_or(0, |shown| shown.parts);
                lane.reach(place);
                lane.set_shown(
                    place,
                    Shown {
                        counts,
                        last,
                        parts,
                        rounds_up,
                    },
                );
            }
        }
        self.active.lanes = lanes;
    }

    /// The state at `place` is due in the lane of an interface that exports connections: the part of
    /// its connection that goes out, if there is something new. It is noted with both halves.
    fn part_of_connection(
        &mut self,
        n: usize,
        place: u32,
        due: Uptime,
        now: Now,
    ) -> Option<Connection> {
        let unit = self.active.lanes.get(n)?.unit;
        let other = self.other_of(place);
        if std::iter::once(place)
            .chain(other)
            .any(|half| self.is_waited_for(half))
        {
            // Its end is a minute away at most.
            self.active.enlist_in(unit, place, due);
            return None;
        }
        let told_before = [Some(place), other].map(|half| {
            let mut told = half.map_or_else(Vec::new, |half| self.told_of(half));
            told.retain(|told| told.unit == unit);
            told
        });
        let [mine, others] = &told_before;
        let begun = [mine, others].into_iter().flatten().next();
        let rounds_up = rounds_up(begun.map(Told::shown), now.at(due));
        let then = now.at(due).rounded(rounds_up);
        let so_far = self.connection_so_far(place, other, &then);
        let (flow, egress) = (so_far.flow, so_far.egress);
        let [told_mine, told_others] = [(mine, others), (others, mine)]
            .map(|(one, other)| Told::of_both(one, other, so_far.are_twins).first().copied());
        let told = if so_far.is_of_other {
            told_others
        } else {
            told_mine
        };
        let shown = told.map(|told| told.shown());
        let times = |_| match told {
            Some(told) => flow.times.since(told.last, then),
            None => flow.times,
        };
        let part = part(&flow, unit, shown, times);
        if part.is_empty() {
            return None;
        }
        let news = Counts {
            packets: part.packets,
            octets: part.octets,
        };
        let halves = [Some(place), other]
            .into_iter()
            .zip([told_mine, told_others]);
        for (half, told) in halves.filter_map(|(half, told)| Some((half?, told))) {
            let counts = told.map_or(news, |told| told.counts.plus(&news));
            let last = Second::new(
                flow.times.last_second(),
                self.epoch_of(self.slots[half].sender),
            );
            let lane = self.active.lanes.get_mut(n)?;
            lane.reach(half);
            lane.set_shown(
                half,
                Shown {
                    counts,
                    last,
                    parts: parts_with(shown),
                    rounds_up: Some(rounds_up),
                },
            );
            lane.unlist(half);
            lane.enlist(half, due);
        }
        Some(Connection {
            now: now.at(due),
            flow: part,
            egress,
        })
    }

    /// Puts the states of the next places into the lanes that were switched on, and takes them out of
    /// those that were switched off: whether those were all.
    fn sweep(&mut self) -> bool {
        let mut lanes = std::mem::take(&mut self.active.lanes);
        let mut is_done = true;
        for lane in &mut lanes {
            let Some((begin, begun)) = lane.sweep else {
                continue;
            };
            let end = begin.saturating_add(SWEEP).min(self.slots.places());
            for place in begin..end {
                lane.unlist(place);
                if self.is_held(place) {
                    lane.enlist(place, begun);
                }
            }
            lane.sweep = (end < self.slots.places()).then_some((end, begun));
            is_done &= lane.sweep.is_none();
        }
        self.active.lanes = lanes;
        is_done
    }

    /// Hands over parts of the flows whose time it is, of [`PIECE`] states at most: whether those
    /// were all.
    pub(super) fn handle_active(&mut self, now: Now, done: &mut impl FnMut(&Now, &Flow)) -> bool {
        if !self.sweep() {
            return false;
        }
        for _ in 0..PIECE {
            let Some((n, place, due)) = self.active.pop_due(now.uptime) else {
                return true;
            };
            if self.is_connection_lane(n) {
                if let Some(part) = self.part_of_connection(n, place, due, now) {
                    self.hand_over_part(part);
                }
                continue;
            }
            let (total, exported) = self.total(&self.slots[place]);
            let counts = total.minus(&exported);
            let slot = &self.slots[place];
            let sent = self.wire_id(slot.state_id());
            let shown = self.active.lanes.get(n).and_then(|lane| lane.shown(place));
            let rounds_up = rounds_up(shown, now.at(due));
            let told = now.at(due).rounded(rounds_up);
            let offset = self.offset(slot.sender);
            let mut flow = self.bare_flow(slot, sent, &told, End::Active, offset);
            slot.write_keys(&self.keys, &mut flow);
            flow.detail = self.detail_of(place);
            (flow.packets, flow.octets) = (counts.packets, counts.octets);
            let (last, epoch, boot) = (
                self.slots[place].last_packet(),
                self.epoch_of(self.slots[place].sender),
                self.boot_of(self.slots[place].sender),
            );
            let Some(lane) = self.active.lanes.get_mut(n) else {
                continue;
            };
            let times = |shown: Shown| {
                let (start, end) = (shown.last.uptime(epoch), last.uptime(epoch));
                Times::new(start, end, told, boot)
            };
            let part = part(&flow, lane.unit, shown, times);
            let parts = parts_with(shown);
            if part.is_empty() {
                continue;
            }
            let news = Counts {
                packets: part.packets,
                octets: part.octets,
            };
            let counts = shown.map_or(news, |shown| shown.counts.plus(&news));
            let rounds_up = Some(rounds_up);
            lane.set_shown(
                place,
                Shown {
                    counts,
                    last,
                    parts,
                    rounds_up,
                },
            );
            lane.enlist(place, due);
            done(&now.at(due), &part);
        }
        false
    }

    fn is_connection_lane(&self, n: usize) -> bool {
        let lane = self.active.lanes.get(n);
        lane.is_some_and(|lane| self.has_connection_parts(lane.unit))
    }

    /// Hands over what interfaces that exported parts of a flow that ends did not export yet.
    #[cold]
    pub(super) fn end_parts(
        &mut self,
        place: u32,
        now: Now,
        flow: &Flow,
        done: &mut impl FnMut(&Now, &Flow),
    ) {
        let (last, epoch, boot) = (
            self.slots[place].last_packet(),
            self.epoch_of(self.slots[place].sender),
            self.boot_of(self.slots[place].sender),
        );
        for lane in &self.active.lanes {
            if let Some(shown) = lane.shown(place)
                && !self.has_connection_parts(lane.unit)
            {
                let times = |shown: Shown| {
                    let (start, end) = (shown.last.uptime(epoch), last.uptime(epoch));
                    Times::new(start, end, now.rounded(rounds_up(Some(shown), now)), boot)
                };
                done(&now, &part(flow, lane.unit, Some(shown), times));
            }
        }
        self.active.forget(place);
    }
}

/// How the boot is rounded in the times of a flow's parts: as in the first.
fn rounds_up(shown: Option<Shown>, now: Now) -> bool {
    shown
        .and_then(|shown| shown.rounds_up)
        .unwrap_or(now.rounds_up())
}

/// How many parts there are with the one that comes next.
fn parts_with(shown: Option<Shown>) -> u32 {
    shown.map_or(0, |shown| shown.parts).saturating_add(1)
}

/// The part of a flow that one interface has not had. It begins where the one before ended: in the
/// kernel's arithmetic one time may be told a second apart, by when it is told, so that `times` are
/// [`Now::rounded`] as those of the first part are.
fn part(flow: &Flow, unit: u32, shown: Option<Shown>, times: impl Fn(Shown) -> Times) -> Flow {
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
        let shown = Shown {
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
        let shown = Some(Shown {
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
