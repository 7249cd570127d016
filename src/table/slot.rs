//! A state as the table keeps it: 112 octets, with what few states need on the side.

use std::time::Duration;

use super::identity::Identity;
use crate::accounting::{Head, Position, Segments, Shape};
use crate::flow::{self, Flow, Tuple};
use crate::slab::{Handle, NONE, Place, Slab};
use crate::state::{Address, Af, Direction, StateId, StateKey};
use crate::time::Uptime;

/// In the place of a PFTM number: the state is deleted.
pub const DELETED: u8 = u8::MAX;

/// All states, by place.
pub(super) type Slots = Slab<Slot>;

/// A time in whole seconds of uptime, counted from the table's first state so that it fits into
/// four octets: 68 years either way, further ones cut to that.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Second(i32);

impl Second {
    /// Before all others: nothing known.
    pub(super) const NEVER: Self = Self(i32::MIN);

    #[inline(always)]
    pub(super) fn new(uptime_secs: i64, epoch: i64) -> Self {
        let secs = uptime_secs
            .saturating_sub(epoch)
            .clamp(i32::MIN as i64 + 1, i32::MAX as i64);
        Self(i32::try_from(secs).unwrap_or(i32::MAX))
    }

    /// So many seconds earlier, cut likewise.
    #[inline(always)]
    pub(super) fn before(self, secs: u32) -> Self {
        Self(self.0.saturating_sub_unsigned(secs).max(i32::MIN + 1))
    }

    /// So many seconds later or, if less than 0, earlier, cut likewise; what is not known stays so.
    #[inline(always)]
    pub(super) fn moved(self, secs: i64) -> Self {
        if secs == 0 || self == Self::NEVER {
            return self;
        }
        Self::new(i64::from(self.0).saturating_add(secs), 0)
    }

    /// Seconds since `earlier`, less than 0 if that was later.
    #[inline(always)]
    pub(super) fn since(self, earlier: Self) -> i64 {
        i64::from(self.0) - i64::from(earlier.0)
    }

    #[inline(always)]
    pub(super) fn uptime(self, epoch: i64) -> i64 {
        // Uptime is counted in nanoseconds of 64 bits: its seconds are far from the end of theirs.
        i64::from(self.0).wrapping_add(epoch)
    }
}

/// A time of uptime in whole milliseconds modulo 2^32, seven weeks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Moment(u32);

impl Moment {
    #[inline(always)]
    pub(super) fn new(uptime: Uptime) -> Self {
        let millis = uptime.nanos().div_euclid(1_000_000);
        Self(u32::try_from(millis.rem_euclid(1 << 32)).unwrap_or(0))
    }

    /// The millisecond whose beginning is nearest to `uptime`.
    pub(super) fn nearest(uptime: Uptime) -> Self {
        Self::new(uptime.after(Duration::from_micros(500)))
    }

    /// So many seconds later.
    pub(super) fn moved(self, secs: i64) -> Self {
        let millis = secs.saturating_mul(1000).rem_euclid(1 << 32);
        Self(self.0.wrapping_add(u32::try_from(millis).unwrap_or(0)))
    }

    /// How long ago it was, if that is less than six weeks. What is to come, because it was noted
    /// before a clock was known to have made a step, is now.
    pub(super) fn until(self, now: Self) -> Duration {
        const TO_COME: u32 = 7 << 29;
        let millis = now.0.wrapping_sub(self.0);
        Duration::from_millis(if millis < TO_COME { millis.into() } else { 0 })
    }
}

/// Packets and octets, each from initiator to responder and back.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Counts {
    pub(super) packets: [u64; 2],
    pub(super) octets: [u64; 2],
}

impl Counts {
    fn each(&self) -> [u64; 4] {
        let ([a, b], [c, d]) = (self.packets, self.octets);
        [a, b, c, d]
    }

    /// Whether any of them went down since `earlier`.
    pub(super) fn went_down(&self, earlier: &Self) -> bool {
        self.each()
            .iter()
            .zip(earlier.each())
            .any(|(new, old)| *new < old)
    }

    /// These counts of 32 bits as what followed `before`: a counter that wrapped goes on above 2^32.
    /// One that would have advanced by more than half its range went down.
    pub(super) fn unwrapped(&self, before: &Self) -> Self {
        let unwrap = |new: u64, old: u64| {
            let advance = new.wrapping_sub(old) & 0xffff_ffff;
            if advance < 1 << 31 {
                old.saturating_add(advance)
            } else {
                new
            }
        };
        let both = |[a, b]: [u64; 2], [c, d]: [u64; 2]| [unwrap(a, c), unwrap(b, d)];
        Self {
            packets: both(self.packets, before.packets),
            octets: both(self.octets, before.octets),
        }
    }

    pub(super) fn minus(&self, other: &Self) -> Self {
        let sub = |[a, b]: [u64; 2], [c, d]: [u64; 2]| [a.saturating_sub(c), b.saturating_sub(d)];
        Self {
            packets: sub(self.packets, other.packets),
            octets: sub(self.octets, other.octets),
        }
    }

    /// The greater of each.
    pub(super) fn at_least(&self, other: &Self) -> Self {
        let max = |[a, b]: [u64; 2], [c, d]: [u64; 2]| [a.max(c), b.max(d)];
        Self {
            packets: max(self.packets, other.packets),
            octets: max(self.octets, other.octets),
        }
    }

    pub(super) fn plus(&self, other: &Self) -> Self {
        let add = |[a, b]: [u64; 2], [c, d]: [u64; 2]| [a.saturating_add(c), b.saturating_add(d)];
        Self {
            packets: add(self.packets, other.packets),
            octets: add(self.octets, other.octets),
        }
    }
}

/// Both keys of a state that is translated or speaks IPv6.
#[derive(Clone, Copy, Debug)]
pub(super) struct KeyPair {
    pub(super) wire: StateKey,
    pub(super) stack: StateKey,
    /// Place of the state that they are of.
    pub(super) owner: u32,
}

/// What a further sender counted for a state, or what senders had counted before they began again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    pub(super) sender: u16,
    /// What follows of the same state.
    pub(super) next: ShareLink,
    /// Whether it is no count, but what was estimated since the sender's last full state. The
    /// sender was active since then. [`SETTLED`] stands for activity that no full state followed or
    /// can follow any more.
    pub(super) is_estimate: bool,
    /// What the estimate lacks at its beginning.
    pub(super) head: Head,
    /// The segments that it is reckoned in.
    pub(super) segments: Segments,
    /// Messages refused one after the other since the last that the estimate took.
    pub(super) refusals: u8,
    /// What passed while messages were refused, units of 1024 octets rounded up.
    pub(super) refused: u32,
    pub(super) counts: Counts,
    /// When its last full state came, or of an estimate, when it last grew.
    pub(super) full: Uptime,
}

impl Share {
    /// What `sender` counted, told at `full`.
    pub(super) fn new(sender: u16, counts: Counts, full: Uptime) -> Self {
        Self {
            sender,
            next: ShareLink::NONE,
            is_estimate: false,
            head: Head::default(),
            segments: Segments::UNKNOWN,
            refusals: 0,
            refused: 0,
            counts,
            full,
        }
    }
}

impl Share {
    /// Whether an estimate refused messages for more than a tenth of its octets.
    pub(super) fn is_doubtful(&self) -> bool {
        let [ahead, back] = self.counts.octets;
        (u64::from(self.refused) << 10) > ahead.saturating_add(back) / 10
    }
}

/// The sender of a share that is the sum of those settled for good.
pub(super) const SETTLED: u16 = u16::MAX;
/// The sender of a share that was exported before and is no part of the sum.
pub(super) const EXPORTED: u16 = u16::MAX - 1;

/// All shares, by place.
pub(super) type Shares = Slab<Share, Handle<Share>>;

/// What follows in the list of a state's shares: one more, or the end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct ShareLink(Handle<Share>);

impl ShareLink {
    /// The end.
    pub(super) const NONE: Self = Self(Handle::new(NONE));

    /// The end of a list that lacks something: there was no room for one more share. So what the
    /// state's senders counted is not all there.
    pub(super) const LEFT_OUT: Self = Self(Handle::new(NONE - 1));

    /// The share at `place`.
    #[inline(always)]
    pub(super) fn to(place: Handle<Share>) -> Self {
        Self(place)
    }

    /// Where the next share is; `None`: this is the end, of either kind.
    #[inline(always)]
    pub(super) fn share(self) -> Option<Handle<Share>> {
        (self.0.number() < Self::LEFT_OUT.0.number()).then_some(self.0)
    }

    /// Whether it is the end of a list that lacks nothing. A state whose list begins so has one sender.
    #[inline(always)]
    pub(super) fn is_none(self) -> bool {
        self == Self::NONE
    }
}

/// A state.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    pub(super) id: u64,
    /// When the last message about it came.
    pub(super) seen: Uptime,
    /// What `counted_by` counted.
    pub(super) counts: Counts,
    pub(super) creatorid: u32,
    /// When the last full state from `counted_by` came.
    pub(super) full: Moment,
    /// Of TCP: where its peers' sequence numbers are.
    pub(super) seqlo: [u32; 2],
    /// First packet.
    pub(super) creation: Second,
    /// Last packet, or NEVER.
    pub(super) last: Second,
    /// Place of its [`KeyPair`], or NONE: both keys are IPv4 and alike, and stand in `addr`, `port`.
    pub(super) keys: u32,
    addr: [[u8; 4]; 2],
    port: [u16; 2],
    /// Its further shares.
    pub(super) shares: ShareLink,
    /// Neighbours in its list.
    pub(super) prev: u32,
    pub(super) next: u32,
    /// Who sent the last message about it: its list.
    pub(super) sender: u16,
    /// Whose `counts` are.
    pub(super) counted_by: u16,
    /// Number of its interface's name.
    pub(super) ifname: u16,
    pub(super) proto: u8,
    /// PFTM number of its timeout.
    pub(super) pftm: u8,
    pub(super) direction: Direction,
    /// [`Position::MARKS`], [`UNSETTLED`], [`PFLOW`].
    pub(super) marks: u8,
    /// Of TCP: what its packets look like.
    pub(super) shape: Shape,
    /// Whether its timeout is long over: it has ended unless a message says otherwise.
    pub(super) is_overdue: bool,
}

/// Mark of a state that was active since the last full state from `counted_by`.
pub(super) const UNSETTLED: u8 = 0x40;
/// Mark of a state to export as far as its rule goes.
pub(super) const PFLOW: u8 = 0x80;
const _: () = assert!(UNSETTLED & PFLOW & Position::MARKS == 0);

/// What a slot is made from.
pub(super) struct Birth<'a> {
    pub(super) id: StateId,
    pub(super) wire: &'a StateKey,
    pub(super) direction: Direction,
    pub(super) pflow: bool,
    pub(super) ifname: u16,
    pub(super) creation: Second,
    pub(super) sender: u16,
    pub(super) pftm: u8,
    pub(super) seen: Uptime,
    /// The same as it is kept of the last full state.
    pub(super) full: Moment,
    /// Place of its [`KeyPair`], or NONE.
    pub(super) keys: u32,
}

/// Whether a state needs no [`KeyPair`].
#[inline(always)]
pub(super) fn is_plain(wire: &StateKey, stack: Option<&StateKey>) -> bool {
    stack.is_none() && wire.af == Af::Inet && wire.rdomain == 0
}

impl Slot {
    #[inline(always)]
    pub(super) fn new(birth: Birth<'_>) -> Self {
        let Birth { id, wire, keys, .. } = birth;
        let [far, near] = wire.addr;
        Self {
            id: id.id,
            creatorid: id.creatorid,
            seen: birth.seen,
            full: birth.full,
            seqlo: [0; 2],
            counts: Counts::default(),
            creation: birth.creation,
            last: Second::NEVER,
            keys,
            addr: [far.v4(), near.v4()],
            port: wire.port,
            shares: ShareLink::NONE,
            prev: NONE,
            next: NONE,
            sender: birth.sender,
            counted_by: birth.sender,
            ifname: birth.ifname,
            proto: wire.proto,
            pftm: birth.pftm,
            direction: birth.direction,
            marks: if birth.pflow { PFLOW } else { 0 },
            shape: Shape::default(),
            is_overdue: false,
        }
    }

    pub(super) fn state_id(&self) -> StateId {
        StateId {
            id: self.id,
            creatorid: self.creatorid,
        }
    }

    /// Keys WIRE and STACK.
    pub(super) fn key_pair(&self, keys: &Slab<KeyPair>) -> KeyPair {
        if self.keys != NONE {
            return keys[self.keys];
        }
        let wire = self.plain_key();
        KeyPair {
            wire,
            stack: wire,
            owner: NONE,
        }
    }

    /// Both keys of a state that has no [`KeyPair`].
    fn plain_key(&self) -> StateKey {
        let [far, near] = self.addr.map(Address::from_v4);
        StateKey {
            af: Af::Inet,
            proto: self.proto,
            rdomain: 0,
            addr: [far, near],
            port: self.port,
        }
    }

    /// [`Tuple::of`] that key.
    #[expect(clippy::indexing_slicing, reason = "one of two")]
    #[inline(always)]
    fn plain_tuple(&self) -> Tuple {
        let source = self.direction.source_index();
        let other = source ^ 1;
        Tuple {
            af: Af::Inet,
            proto: self.proto,
            src: Address::from_v4(self.addr[source]),
            dst: Address::from_v4(self.addr[other]),
            sport: self.port[source],
            dport: self.port[other],
        }
    }

    /// Writes its exported key into its flow and, if translated, the other. What tells it from
    /// another state with its id is made of the same octets.
    #[inline(always)]
    pub(super) fn write_keys(&self, keys: &Slab<KeyPair>, flow: &mut Flow) -> Identity {
        if self.keys == NONE {
            flow.tuple = self.plain_tuple();
            return Identity::new(self.state_id(), &self.plain_key());
        }
        let KeyPair { wire, stack, .. } = &keys[self.keys];
        let (before, translated) = flow::tuples(self.direction, wire, stack);
        flow.tuple = before;
        if translated.is_some() {
            flow.translated = translated;
        }
        Identity::new(self.state_id(), wire)
    }

    /// Whether its rule says pflow, or its dialect cannot tell.
    pub(super) fn is_pflow(&self) -> bool {
        self.marks & PFLOW != 0
    }

    /// When its last packet was, as far as that is known.
    #[inline]
    pub(super) fn last_packet(&self) -> Second {
        if self.last == Second::NEVER {
            self.creation
        } else {
            self.last
        }
    }

    /// Where its peers are.
    pub(super) fn position(&self) -> Position {
        Position {
            seqlo: self.seqlo,
            marks: self.marks & Position::MARKS,
            shape: self.shape,
        }
    }

    pub(super) fn set_position(&mut self, position: Position) {
        self.seqlo = position.seqlo;
        self.marks = self.marks & !Position::MARKS | position.marks;
        self.shape = position.shape;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_keeps_within_its_octets() {
        assert!(size_of::<Slot>() <= 112, "{}", size_of::<Slot>());
    }

    #[test]
    fn a_share_is_one_line_of_the_cache() {
        assert!(size_of::<Share>() <= 64, "{}", size_of::<Share>());
    }

    #[test]
    fn a_moment_to_come_is_now_and_not_seven_weeks_ago() {
        let moment = |secs: i64| Moment::new(Uptime::from_nanos(secs * 1_000_000_000));
        let before = |secs: i64| moment(5_000_000 - secs).until(moment(5_000_000)).as_secs();
        assert_eq!([before(0), before(7), before(3_000_000)], [0, 7, 3_000_000]);
        assert_eq!([before(-1), before(-7200)], [0, 0]);
        assert_eq!(moment(5_000_000).moved(7200), moment(5_007_200));
    }

    #[test]
    fn seconds_far_away_are_cut_not_wrapped() {
        assert!(Second::new(-(1 << 40), 0) > Second::NEVER);
        assert_eq!(Second::new(-5, 100).uptime(100), -5);
        assert_eq!(Second::new(1 << 40, 0).uptime(0), i64::from(i32::MAX));
    }
}
