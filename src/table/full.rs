//! Full states: INS, UPD and DEL.
//!
//! A state that is not held is learned (`insert`). A state that is held is compared with what is known
//! of it (`full_held`).
//!
//! A busy firewall mostly sends INS, so an INS is one function from its octets to its slot. All that
//! is marked so is inlined into `insert_state`, once for OpenBSD's dialect and once for the others.
//! Functions that are called from there do not get the values that were read. So the values go from
//! the packet to the slot and are stored nowhere between: 50 instructions fewer a state. Values are
//! read again where they are used, because registers are few: 30 instructions fewer, and a twentieth
//! of the time.

use super::arrival::{Arrival, FullKind};
use super::clock::AGE_SLACK;
use super::clocks::{CUT, DRIFT};
use super::identity::Identity;
use super::ifnames;
use super::recently_ended::{self, RecentEnd};
use super::slot::{Birth, Counts, EXPORTED, KeyPair, Second, Share, Slot, is_plain};
use super::store::Table;
use crate::counters::count;
use crate::flow::{End, Flow};
use crate::slab::NONE;
use crate::state::{StateId, StateKey};
use crate::time::Now;
use crate::wire::pfsync::{Dialect, State, Values};

/// How long after a packet its message may come, in seconds: one in the sender's queue, and one
/// because times are cut to seconds. So the last packet of a full state may be that much earlier
/// than the arrival taken as its time.
const TOLD_LATE: i64 = 2;

/// How long after a state's last packet it may be asked for, in seconds. The `expire` of an answer
/// is less than the timeout by that much.
const ASKED_LATE: i64 = 10;

/// Largest `expire` believed, seconds: thirty days.
const MAX_EXPIRE: u32 = 30 * 86400;

/// A state's age in seconds. A kernel sends -1 if it read its clock before it made the state. Old
/// kernels send more absurd ages for states they imported. Such ages tell nothing.
fn age(state: &Values<'_>) -> Option<u32> {
    Some(state.age).filter(|age| *age <= i32::MAX.unsigned_abs())
}

/// Whether the state is dying, by its timeout: of one that a DEL is about it may say so already.
fn is_dead(state: &Values<'_>, kind: FullKind) -> bool {
    kind != FullKind::Delete && state.dialect.is_dead(state.timeout, state.wire.proto)
}

/// Whether a creation `by` seconds later than the one known is no longer explained: by cutting to
/// seconds, by drift over the `age` of the state known, or by a step that may reach so far.
fn is_age_anew(by: i64, age: i64, reach: i64) -> bool {
    by > AGE_SLACK + age.max(0) / DRIFT + reach
}

/// Whether a full state counts less than its sender counted before, or is an INS that never counts
/// anything, so that one that came again tells nothing else.
fn began_anew(state: &Values<'_>, kind: FullKind, before: Option<Counts>) -> bool {
    if kind == FullKind::Insert && !state.dialect.is_modern() {
        return true;
    }
    let counts = Counts {
        packets: state.packets,
        octets: state.octets,
    };
    before.is_some_and(|before| match state.dialect {
        Dialect::V2 => counts.unwrapped(&before).went_down(&before),
        _ => counts.went_down(&before),
    })
}

impl Table {
    /// Takes an INS in: [`Self::full_state`] of what there is most of, apart.
    #[inline(never)]
    pub(super) fn insert_state(
        &mut self,
        arrival: &mut Arrival,
        state: &State<'_>,
        done: &mut impl FnMut(&Now, &Flow),
    ) {
        self.full_state(arrival, state, FullKind::Insert, done);
    }

    #[inline(always)]
    pub(super) fn full_state(
        &mut self,
        arrival: &mut Arrival,
        state: &State<'_>,
        kind: FullKind,
        done: &mut impl FnMut(&Now, &Flow),
    ) {
        let place = if state.dialect() == Dialect::OpenBsd47 {
            let id = state.values_of_v6().id;
            let is_new = self.id_watermark.is_beyond(id);
            match self.find_full(id, is_new) {
                Some(place) => self.full_held(place, arrival, state, kind, done),
                None => self.full_new(
                    arrival,
                    #[inline(always)]
                    || state.values_of_v6(),
                    kind,
                    is_new,
                    done,
                ),
            }
        } else {
            let id = state.state_id();
            let is_new = self.id_watermark.is_beyond(id);
            match self.find_full(id, is_new) {
                Some(place) => self.full_held(place, arrival, state, kind, done),
                None => {
                    let values = state.values();
                    self.full_new(
                        arrival,
                        #[inline(always)]
                        || values,
                        kind,
                        is_new,
                        done,
                    )
                }
            }
        };
        self.full_taken(place, arrival, state, kind, done);
    }

    /// [`Self::full_state`] of a state that the table knows by another identity than was sent.
    /// `values` has the table's identity.
    pub(super) fn full_as(
        &mut self,
        arrival: &mut Arrival,
        state: &State<'_>,
        values: Values<'_>,
        kind: FullKind,
        done: &mut impl FnMut(&Now, &Flow),
    ) {
        let place = match self.index.find(values.id) {
            Some(place) => self.values_held(place, arrival, &values, kind, done),
            None => self.full_new(arrival, || values, kind, false, done),
        };
        self.full_taken(place, arrival, state, kind, done);
    }

    /// A full state was taken in and is held at `place`, unless it was old news.
    #[inline(always)]
    fn full_taken(
        &mut self,
        place: Option<u32>,
        arrival: &Arrival,
        state: &State<'_>,
        kind: FullKind,
        done: &mut impl FnMut(&Now, &Flow),
    ) {
        let Some(place) = place else { return };
        if self.is_observed {
            self.observe_full(place, arrival, state, kind);
        }
        if kind == FullKind::Delete {
            self.end(place, arrival.clock, End::Deleted, done);
        }
    }

    /// The place of a state that is held. With `is_new` its id was never heard, and nobody looks.
    #[inline(always)]
    fn find_full(&self, id: StateId, is_new: bool) -> Option<u32> {
        if is_new {
            return None;
        }
        self.index.find_nearby(id)
    }

    /// Takes in a full state that is not held, or never was; its place unless it was old news.
    /// `values` reads it.
    #[inline(always)]
    fn full_new<'a>(
        &mut self,
        arrival: &Arrival,
        values: impl Fn() -> Values<'a>,
        kind: FullKind,
        is_new: bool,
        done: &mut impl FnMut(&Now, &Flow),
    ) -> Option<u32> {
        let state = &values();
        if is_dead(state, kind) {
            self.counters.dead += 1;
            return None;
        }
        let creation = arrival.second.before(age(state).unwrap_or(0));
        if !is_new
            && let Some(recent_end) = self.recent_end(arrival, state.id, &values, kind, creation)
        {
            return self.full_ended(arrival, &values(), kind, creation, recent_end, done);
        }
        Some(self.insert(arrival, values, kind, creation, done))
    }

    /// Takes in a full state that is not held but of which it is known what became; its place unless
    /// it was old news.
    #[cold]
    fn full_ended(
        &mut self,
        arrival: &Arrival,
        state: &Values<'_>,
        kind: FullKind,
        creation: Second,
        recent_end: RecentEnd,
        done: &mut impl FnMut(&Now, &Flow),
    ) -> Option<u32> {
        let exported = match recent_end {
            RecentEnd::Late => {
                self.counters.late += 1;
                return None;
            }
            RecentEnd::Exported(counts) => counts,
        };
        // Without room to remember what was exported, the same would be exported again.
        if !self.has_room_for_share() {
            self.counters.shares_refused += 1;
            return None;
        }
        let place = self.insert(arrival, || *state, kind, creation, done);
        self.add_share(place, Share::new(EXPORTED, exported, arrival.now.uptime));
        Some(place)
    }

    /// Takes in a full state whose id is held at `place`, be it the same state or another. Returns
    /// its place, unless it was old news.
    #[inline(never)]
    fn full_held(
        &mut self,
        place: u32,
        arrival: &mut Arrival,
        state: &State<'_>,
        kind: FullKind,
        done: &mut impl FnMut(&Now, &Flow),
    ) -> Option<u32> {
        self.values_held(place, arrival, &state.values(), kind, done)
    }

    /// [`Self::full_held`] of a state that was read.
    #[inline(always)]
    fn values_held(
        &mut self,
        place: u32,
        arrival: &mut Arrival,
        state: &Values<'_>,
        kind: FullKind,
        done: &mut impl FnMut(&Now, &Flow),
    ) -> Option<u32> {
        if is_dead(state, kind) {
            self.counters.dead += 1;
            return None;
        }
        let age = age(state);
        let creation = arrival.second.before(age.unwrap_or(0));
        if self.is_anothers(place, arrival, state, kind)
            && let Some(id) = self.suspect(place, arrival, state.id)
        {
            let values = Values { id, ..*state };
            return match self.index.find(id) {
                Some(place) => self
                    .full_again(place, arrival, &values, kind)
                    .then_some(place),
                None => Some(self.insert(arrival, || values, kind, creation, done)),
            };
        }
        self.adopt(place, arrival);
        let is_another = || age.is_some() && self.is_another(place, arrival, state, kind, creation);
        if self.has_key(place, state) && !is_another() {
            if let Some(age) = age {
                self.follow(place, arrival, age);
            }
            let was_anothers = self.slots[place].sender != arrival.sender.0;
            let is_taken = self.full_again(place, arrival, state, kind);
            if was_anothers && is_taken {
                self.told_by_another.take(place);
            }
            is_taken.then_some(place)
        } else {
            let recent_end = self.recent_end(arrival, state.id, || *state, kind, creation);
            if recent_end != Some(RecentEnd::Late) {
                self.end(place, arrival.clock, End::Replaced, done);
            }
            match recent_end {
                None => Some(self.insert(arrival, || *state, kind, creation, done)),
                Some(recent_end) => {
                    self.full_ended(arrival, state, kind, creation, recent_end, done)
                }
            }
        }
    }

    /// Takes in what is held already; false if that was old news.
    fn full_again(
        &mut self,
        place: u32,
        arrival: &Arrival,
        state: &Values<'_>,
        kind: FullKind,
    ) -> bool {
        let is_copy = self.is_copy(place, arrival, state);
        if !self.count(place, arrival, state, kind) {
            self.counters.late += 1;
            // A delete is one whatever it counts.
            if kind != FullKind::Delete {
                return false;
            }
        }
        if !is_copy {
            self.note_full(place, arrival, state, kind);
        }
        self.note_activity(place, arrival, state, kind);
        self.refresh(place, arrival, state.timeout);
        true
    }

    /// What became of the very state that a full message is about, if that is remembered.
    #[inline(always)]
    fn recent_end<'a>(
        &self,
        arrival: &Arrival,
        id: StateId,
        values: impl Fn() -> Values<'a>,
        kind: FullKind,
        creation: Second,
    ) -> Option<RecentEnd> {
        let identity = || Identity::new(id, &values().wire);
        let now = arrival.clock.seconds().uptime;
        let is_late = |then, elapsed| self.is_late(arrival, creation, then, elapsed);
        let goes_on = |then, exported: &Counts| {
            let state = &values();
            self.goes_on(arrival, state, kind, creation, then, exported)
        };
        self.recently_ended.find(identity, now, is_late, goes_on)
    }

    /// Whether a full state of `creation` is old news of the state that was made at `then` and
    /// deleted `elapsed` seconds ago. A state made after the delete is another, even if clocks made
    /// steps since `then`. If a step explains the creation, the state is the same.
    fn is_late(&self, arrival: &Arrival, creation: Second, then: Second, elapsed: u32) -> bool {
        let deleted = arrival.clock.seconds().uptime - i64::from(elapsed);
        let reach = self.past_reach_since(arrival.sender, deleted);
        let told = creation.uptime(self.epoch_of(arrival.sender.0));
        let then = then.uptime(self.epoch.unwrap_or(0));
        let is_unsure = self.is_unsure_of(arrival.sender, then);
        let by = told.saturating_sub(then.min(deleted));
        let is_anew = by > AGE_SLACK
            && told.saturating_sub(reach) >= deleted - 1
            && by > AGE_SLACK + self.past_reach_since(arrival.sender, then);
        let stepped = if is_unsure { reach } else { by.clamp(0, reach) };
        let stepped = stepped.max(self.stepped_since(arrival.sender, deleted));
        !is_anew && i64::from(elapsed) - stepped <= i64::from(recently_ended::LATE)
    }

    /// Whether a full state of `creation` is the one made at `then` that was given up when so much
    /// of it was exported: its age or its counters would have begun anew.
    fn goes_on(
        &self,
        arrival: &Arrival,
        state: &Values<'_>,
        kind: FullKind,
        creation: Second,
        then: Second,
        exported: &Counts,
    ) -> bool {
        let epoch = self.epoch.unwrap_or(0);
        let (told, then) = (
            creation.uptime(self.epoch_of(arrival.sender.0)),
            then.uptime(epoch),
        );
        let now = arrival.clock.seconds().uptime;
        let reach = self.past_reach_since(arrival.sender, then);
        let is_anew = is_age_anew(told - then, now - then, reach);
        !(is_anew && began_anew(state, kind, Some(*exported)))
    }

    /// Whether a full state with the key of the one held is another, by its creation: its age began
    /// anew, more than drift and a step of a clock would explain, and so did its counters.
    fn is_another(
        &self,
        place: u32,
        arrival: &Arrival,
        state: &Values<'_>,
        kind: FullKind,
        creation: Second,
    ) -> bool {
        let (by, reach) = self.shift(place, arrival, creation);
        let age = arrival.second.since(self.slots[place].creation);
        is_age_anew(by, age, reach)
            && began_anew(state, kind, self.counts_of(place, arrival.sender.0))
    }

    /// Puts a state in as its first full message tells of it. [`Self::count`] and
    /// [`Self::note_full`] would do the same with nothing known before. Here it is done to the slot
    /// before the slot has its place, where nothing must be looked up.
    #[inline(always)]
    fn insert<'a>(
        &mut self,
        arrival: &Arrival,
        values: impl Fn() -> Values<'a>,
        kind: FullKind,
        creation: Second,
        done: &mut impl FnMut(&Now, &Flow),
    ) -> u32 {
        let id = values().id;
        self.epoch.get_or_insert(arrival.secs);
        if self.index.len() >= self.ceiling {
            self.make_room(arrival.clock, done);
        }
        let Values {
            wire,
            stack,
            ifname,
            ..
        } = values();
        // Before its keys, which name the place that is free next.
        let ifname = self.ifnames.acquire(id.creatorid, ifname);
        if self.index.may_take_chunk_for(id, ifname) {
            self.make_page_room(id, ifname, arrival.clock, done);
        }
        let keys = if is_plain(&wire, stack.as_ref()) {
            NONE
        } else {
            if self.keys.is_short() {
                self.make_key_room(arrival.clock, done);
            }
            self.add_keys(&wire, stack.as_ref())
        };
        let state = &values();
        let is_marked = state.pflow.unwrap_or(true);
        let mut slot = Slot::new(Birth {
            id,
            wire: &state.wire,
            direction: state.direction,
            pflow: is_marked,
            ifname,
            creation,
            sender: arrival.sender.0,
            pftm: state.timeout,
            seen: arrival.now.uptime,
            full: arrival.moment,
            keys,
        });
        slot.count_first(state, kind);
        slot.note_first(arrival, state, kind);
        if kind == FullKind::Insert {
            slot.last = self.last_of_first(arrival, state, creation);
        }
        let place = self.place(slot);
        self.index.insert(id, ifname, place);
        self.note_inserted(place, arrival, id, ifname, is_marked);
        if kind != FullKind::Insert {
            self.note_activity(place, arrival, state, kind);
        }
        place
    }

    /// When the last packet was of a state that an INS tells of. If the INS does not tell, it is
    /// now.
    #[inline(always)]
    fn last_of_first(&mut self, arrival: &Arrival, state: &Values<'_>, creation: Second) -> Second {
        let expire = self.note_expire(arrival, state);
        let told =
            expire.and_then(|expire| self.last_told(arrival, state.timeout, expire, creation));
        told.map_or(arrival.second, |told| told.at)
    }

    /// A state was put in: notes that wherever else it matters.
    #[inline(always)]
    fn note_inserted(
        &mut self,
        place: u32,
        arrival: &Arrival,
        id: StateId,
        ifname: u16,
        is_marked: bool,
    ) {
        self.id_watermark.note(id);
        if self.has_asides {
            self.begin_asides(place, arrival);
        }
        count(&mut self.counters.inserted, 1);
        if ifname == ifnames::FORGOTTEN {
            self.counters.names_refused += 1;
        }
        if !is_marked {
            self.note_unmarked();
        }
    }

    /// Puts in the keys of the state that comes next, for which there is room.
    #[inline(always)]
    pub(super) fn add_keys(&mut self, wire: &StateKey, stack: Option<&StateKey>) -> u32 {
        let owner = self.slots.upcoming();
        // What is chosen by reference has to stand in memory, so it is not.
        match stack {
            None => self.keys.insert(KeyPair {
                wire: *wire,
                stack: *wire,
                owner,
            }),
            Some(stack) => self.keys.insert(KeyPair {
                wire: *wire,
                stack: *stack,
                owner,
            }),
        }
    }

    /// Remembers how long the state has left, seconds, if that is told: an `expire` of 0 says only
    /// that it is due.
    #[inline(always)]
    fn note_expire(&mut self, arrival: &Arrival, state: &Values<'_>) -> Option<u32> {
        let expire = state.expire.min(MAX_EXPIRE);
        if !state.dialect.is_modern() || expire == 0 {
            return None;
        }
        self.senders[arrival.sender.0].note_expire(state.timeout, expire);
        Some(expire)
    }

    /// When the state's last packet was, as far as a full state tells: its timeout less what is left
    /// of it ago. Only activity not known yet can have been later, and it came in a message up to
    /// [`TOLD_LATE`] after its packet. FreeBSD's second is not better than that of a message: it cuts
    /// milliseconds (`pf_state_expires`).
    #[inline(always)]
    fn note_activity(&mut self, place: u32, arrival: &Arrival, state: &Values<'_>, kind: FullKind) {
        let arrived = arrival.second;
        let is_activity = match kind {
            FullKind::Insert => true,
            FullKind::Update => !state.dialect.is_modern() && arrival.is_pfsync0,
            FullKind::Delete => false,
        };
        let expire = self.note_expire(arrival, state);
        let slot = &self.slots[place];
        let (creation, last) = (slot.creation, slot.last);
        let earliest = creation.max(last.moved(-TOLD_LATE));
        let told = expire.and_then(|expire| {
            let told = self.last_told(arrival, state.timeout, expire, earliest)?;
            // Cutting to seconds moved the creation and this time alike.
            let cut = age(state).map_or(0, |age| arrived.before(age).since(creation));
            let cut = if cut.abs() <= CUT { cut } else { 0 };
            let at = told.at.moved(-cut).max(creation);
            // This timeout may not be all of it. So it counts only if more was missed.
            let is_news = match told.is_sure {
                true => !(state.dialect.is_freebsd() && last.since(at) == 1 && last > creation),
                false => last == Second::NEVER || told.at.since(last) > ASKED_LATE,
            };
            is_news.then_some(at)
        });
        let slot = &mut self.slots[place];
        match told {
            Some(told) => slot.last = told,
            None if is_activity => slot.last = slot.last.max(arrived),
            None => {}
        }
    }

    /// When the last packet of a state was that has `expire` seconds left of the timeout `pftm`: by
    /// the timeout configured or, where it would have been before `earliest` or after the arrival,
    /// by what is seen of its sender's. `None` if both are wrong.
    #[inline(always)]
    fn last_told(
        &self,
        arrival: &Arrival,
        pftm: u8,
        expire: u32,
        earliest: Second,
    ) -> Option<Told> {
        let before = |timeout: u32| {
            let at = arrival.second.before(timeout.checked_sub(expire)?);
            (at >= earliest).then_some(at)
        };
        if let Some(at) = before(self.settings.timeouts.seconds(pftm)) {
            return Some(Told { at, is_sure: true });
        }
        let seen = self.senders[arrival.sender.0].largest_expire(usize::from(pftm));
        let at = before(seen)?;
        Some(Told { at, is_sure: false })
    }
}

/// What a full state tells of its last packet.
#[derive(Clone, Copy)]
struct Told {
    at: Second,
    /// Whether it is by a timeout configured.
    is_sure: bool,
}
