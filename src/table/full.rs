//! Full states: INS, UPD and DEL.
//!
//! One that is not held is learned (`insert`), one that is held is held against what is known of it
//! (`full_held`). Learning is most of what a busy firewall has us do, and an INS is one function
//! from its octets to its slot: all that is marked so is inlined into `insert_state`, for OpenBSD's
//! dialect and for the others apart, and what is called from there is not handed the values read.
//! So those of OpenBSD's go from the packet to the slot without having a place of their own on the
//! way: 50 instructions fewer, and none of them waits for what another just wrote. They are read
//! again where they are used, for registers are few: 30 fewer still, and a twentieth of the time.

use super::departed::{Departure, Identity};
use super::slot::{Birth, EXPORTED, KeyPair, Second, Share, Slot, is_plain};
use super::{Arrival, Table, names};
use crate::counters::count;
use crate::flow::{End, Flow};
use crate::slab::NONE;
use crate::state::{StateId, StateKey};
use crate::time::Now;
use crate::wire::pfsync::{Dialect, State, Values};

/// Ages of one state may differ by this between messages, seconds: they are cut to seconds on one
/// machine and put on another clock here.
const AGE_SLACK: u64 = 2;

/// How long before a state's creation its last packet may seem to have been, seconds: a state that
/// was imported may be given so (pflow(4), BUGS).
const MAX_HEAD_START: i64 = 3600;

/// Largest `expire` believed, seconds: thirty days.
const MAX_EXPIRE: u32 = 30 * 86400;

/// Which full state.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Insert,
    Update,
    Delete,
}

/// A state's age in seconds. A kernel whose clock was read before the state was made sends -1, and
/// old ones more absurd ages for states they imported (pfsync.md 7, trap 20): those tell nothing.
fn age(state: &Values<'_>) -> Option<u32> {
    Some(state.age).filter(|age| *age <= i32::MAX.unsigned_abs())
}

/// Whether the state is dying, by its timeout: of one that a DEL is about it may say so already.
fn is_dead(state: &Values<'_>, kind: Kind) -> bool {
    kind != Kind::Delete && state.dialect.is_dead(state.timeout, state.wire.proto)
}

impl Table {
    /// Takes an INS in: [`Self::full_state`] of what there is most of, apart.
    #[inline(never)]
    pub(super) fn insert_state(
        &mut self,
        arrival: &Arrival,
        state: &State<'_>,
        done: &mut impl FnMut(Now, &Flow),
    ) {
        self.full_state(arrival, state, Kind::Insert, done);
    }

    #[inline(always)]
    pub(super) fn full_state(
        &mut self,
        arrival: &Arrival,
        state: &State<'_>,
        kind: Kind,
        done: &mut impl FnMut(Now, &Flow),
    ) {
        let place = if state.dialect() == Dialect::OpenBsd47 {
            let id = state.values_of_v6().id;
            let is_new = self.newest.is_beyond(id);
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
            let is_new = self.newest.is_beyond(id);
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

    /// [`Self::full_state`] of a state that the table knows by another identity than was sent:
    /// that of its `values`.
    pub(super) fn full_as(
        &mut self,
        arrival: &Arrival,
        state: &State<'_>,
        values: Values<'_>,
        kind: Kind,
        done: &mut impl FnMut(Now, &Flow),
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
        kind: Kind,
        done: &mut impl FnMut(Now, &Flow),
    ) {
        let Some(place) = place else { return };
        if self.events.is_some() {
            self.tell_full(place, arrival, state, kind);
        }
        if kind == Kind::Delete {
            self.end(place, arrival.now, End::Deleted, done);
        }
    }

    /// The place of a state, which `is_new` says there never was.
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
        kind: Kind,
        is_new: bool,
        done: &mut impl FnMut(Now, &Flow),
    ) -> Option<u32> {
        let state = &values();
        if is_dead(state, kind) {
            self.counters.dead += 1;
            return None;
        }
        let creation = arrival.second.before(age(state).unwrap_or(0));
        if !is_new
            && let Some(departure) =
                self.departure(arrival.now, state.id, || values().wire, creation)
        {
            return self.full_departed(arrival, &values(), kind, creation, departure, done);
        }
        Some(self.insert(arrival, values, kind, creation, done))
    }

    /// Takes in a full state that is not held but of which it is known what became; its place unless
    /// it was old news.
    #[cold]
    fn full_departed(
        &mut self,
        arrival: &Arrival,
        state: &Values<'_>,
        kind: Kind,
        creation: Second,
        departure: Departure,
        done: &mut impl FnMut(Now, &Flow),
    ) -> Option<u32> {
        let exported = match departure {
            Departure::Late => {
                self.counters.late += 1;
                return None;
            }
            Departure::Exported(counts) => counts,
        };
        // Without room to remember what was exported that would be exported again.
        if !self.has_room_for_share() {
            self.counters.shares_refused += 1;
            return None;
        }
        let place = self.insert(arrival, || *state, kind, creation, done);
        self.add_share(place, Share::new(EXPORTED, exported, arrival.now.uptime));
        Some(place)
    }

    /// Takes in a full state with the id of one that is held at `place`, be it that or another; its
    /// place unless it was old news.
    #[inline(never)]
    fn full_held(
        &mut self,
        place: u32,
        arrival: &Arrival,
        state: &State<'_>,
        kind: Kind,
        done: &mut impl FnMut(Now, &Flow),
    ) -> Option<u32> {
        self.values_held(place, arrival, &state.values(), kind, done)
    }

    /// [`Self::full_held`] of a state that was read.
    #[inline(always)]
    fn values_held(
        &mut self,
        place: u32,
        arrival: &Arrival,
        state: &Values<'_>,
        kind: Kind,
        done: &mut impl FnMut(Now, &Flow),
    ) -> Option<u32> {
        if is_dead(state, kind) {
            self.counters.dead += 1;
            return None;
        }
        let age = age(state);
        let creation = arrival.second.before(age.unwrap_or(0));
        if self.is_same_state(place, state, age.map(|_| creation)) {
            self.full_again(place, arrival, state, kind)
                .then_some(place)
        } else if self.is_anothers(place, arrival, state, kind)
            && let Some(id) = self.suspect(place, arrival, state.id)
        {
            let values = Values { id, ..*state };
            match self.index.find(id) {
                Some(place) => self
                    .full_again(place, arrival, &values, kind)
                    .then_some(place),
                None => Some(self.insert(arrival, || values, kind, creation, done)),
            }
        } else {
            let departure = self.departure(arrival.now, state.id, || state.wire, creation);
            if departure != Some(Departure::Late) {
                self.end(place, arrival.now, End::Replaced, done);
            }
            match departure {
                None => Some(self.insert(arrival, || *state, kind, creation, done)),
                Some(departure) => {
                    self.full_departed(arrival, state, kind, creation, departure, done)
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
        kind: Kind,
    ) -> bool {
        let is_copy = self.is_copy(place, arrival, state);
        if !self.count(place, arrival, state, kind) {
            self.counters.late += 1;
            // A delete is one whatever it counts.
            if kind != Kind::Delete {
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
    fn departure(
        &self,
        now: Now,
        id: StateId,
        wire: impl Fn() -> StateKey,
        creation: Second,
    ) -> Option<Departure> {
        let identity = || Identity::new(id, &wire());
        let is_same_age = |then| self.is_same_age(then, creation);
        let now = now.seconds().uptime;
        self.departed.find(id, identity, now, is_same_age)
    }

    fn is_same_age(&self, one: Second, other: Second) -> bool {
        let epoch = self.epoch.unwrap_or(0);
        one.uptime(epoch).abs_diff(other.uptime(epoch)) <= AGE_SLACK
    }

    /// Whether a full state is the one held: the same key and, if it tells one, the same age.
    fn is_same_state(&self, place: u32, state: &Values<'_>, creation: Option<Second>) -> bool {
        let slot = &self.slots[place];
        let is_same_age = creation.is_none_or(|new| self.is_same_age(slot.creation, new));
        if !is_same_age || state.direction != slot.direction {
            return false;
        }
        let KeyPair { wire, stack, .. } = slot.key_pair(&self.keys);
        state.wire == wire && state.stack.unwrap_or(state.wire) == stack
    }

    /// Puts a state in as its first full message tells of it. What [`Self::count`] and
    /// [`Self::note_full`] would do with nothing known before is done to the slot before it has its
    /// place, where nothing must be looked up.
    #[inline(always)]
    fn insert<'a>(
        &mut self,
        arrival: &Arrival,
        values: impl Fn() -> Values<'a>,
        kind: Kind,
        creation: Second,
        done: &mut impl FnMut(Now, &Flow),
    ) -> u32 {
        let id = values().id;
        self.epoch.get_or_insert(arrival.secs);
        if self.index.len() >= self.ceiling {
            self.make_room(arrival.now, done);
        }
        let Values {
            wire,
            stack,
            ifname,
            ..
        } = values();
        // Before its keys, which name the place that is free next.
        let ifname = self.names.acquire(id.creatorid, ifname);
        if self.index.may_take_chunk_for(id, ifname) {
            self.make_page_room(id, ifname, arrival.now, done);
        }
        let keys = if is_plain(&wire, stack.as_ref()) {
            NONE
        } else {
            if self.keys.is_short() {
                self.make_key_room(arrival.now, done);
            }
            self.add_keys(&wire, stack.as_ref())
        };
        if ifname == names::FORGOTTEN {
            self.counters.names_refused += 1;
        }
        let state = &values();
        let mut slot = Slot::new(Birth {
            id,
            wire: &state.wire,
            direction: state.direction,
            pflow: state.pflow.unwrap_or(true),
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
        if kind == Kind::Insert {
            slot.last = arrival.second;
        }
        let place = self.place(slot);
        self.index.insert(id, ifname, place);
        self.newest.note(id);
        self.active.enlist(place, arrival.now.uptime);
        count(&mut self.counters.inserted, 1);
        match kind {
            Kind::Insert => {
                self.note_expire(arrival, state);
            }
            Kind::Update | Kind::Delete => self.note_activity(place, arrival, state, kind),
        }
        place
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

    /// When the state's last packet was, as far as a full state tells (spec 3.8).
    #[inline(always)]
    fn note_activity(&mut self, place: u32, arrival: &Arrival, state: &Values<'_>, kind: Kind) {
        let arrived = arrival.second;
        let expire = self.note_expire(arrival, state);
        let is_activity = match kind {
            Kind::Insert => true,
            Kind::Update => !state.dialect.is_modern() && arrival.is_pfsync0,
            Kind::Delete => false,
        };
        let slot = &mut self.slots[place];
        if is_activity {
            slot.last = slot.last.max(arrived);
            return;
        }
        let Some(expire) = expire else { return };
        let pftm = state.timeout;
        let configured = self.settings.timeouts.seconds(pftm);
        // Nothing else known, a timeout longer than ours is better than none.
        let lifetime = if slot.last == Second::NEVER {
            let sender = &self.senders[arrival.sender.0];
            configured.max(sender.largest_expire(usize::from(pftm)))
        } else {
            configured
        };
        let told = arrival.secs - i64::from(lifetime) + i64::from(expire);
        // With nothing known of its packets, one long before its first is no packet of its but a
        // sign that the firewall's timeout is shorter than ours.
        let epoch = self.epoch.unwrap_or(0);
        let earliest = slot.creation.uptime(epoch).saturating_sub(MAX_HEAD_START);
        let told_second = Second::new(told, epoch);
        if told >= earliest && (slot.last..=arrived).contains(&told_second) {
            slot.last = told_second;
        }
    }
}
