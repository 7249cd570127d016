//! A state that ended, as its one or two records: which addresses, which counters, which times.
//!
//! ```text
//! direction   exported key        its source   forward record     reverse record
//! in          WIRE                index 0      packets[0] ...     packets[1] ..., mirrored
//! out         STACK               index 1      likewise
//! ```
//! So records carry the addresses before translation, as the kernel's do (if_pflow.c,
//! `export_pflow`). Times are whole seconds of uptime; what a format cannot tell of them is cut here.
//!
//! Encoders are left the layout of records; what a flow's counters are worth is `accounting`'s.

use std::fmt;
use std::net::IpAddr;

use crate::icmp::{Icmp, is_icmp};
use crate::state::{Address, Af, Direction, IfName, Route, StateId, StateKey};
use crate::time::{Now, Seconds};

/// IP protocol of TCP.
const TCP: u8 = 6;

/// Both ends of a flow under one key, the initiator first.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Tuple {
    /// Family of both addresses.
    pub af: Af,
    /// IP protocol.
    pub proto: u8,
    /// The initiator's address.
    pub src: Address,
    /// The responder's address.
    pub dst: Address,
    /// The initiator's port, or what pf keeps in its place.
    pub sport: u16,
    /// The responder's.
    pub dport: u16,
}

impl Tuple {
    /// The ends of `key` whose initiator is at `source`.
    #[expect(clippy::indexing_slicing, reason = "one of two")]
    #[inline(always)]
    pub fn of(key: &StateKey, source: usize) -> Self {
        let (source, other) = (source & 1, source & 1 ^ 1);
        Self {
            af: key.af,
            proto: key.proto,
            src: key.addr[source],
            dst: key.addr[other],
            sport: key.port[source],
            dport: key.port[other],
        }
    }

    /// The same ends seen from the responder.
    pub fn reversed(self) -> Self {
        Self {
            src: self.dst,
            dst: self.src,
            sport: self.dport,
            dport: self.sport,
            ..self
        }
    }
}

/// The exported key of a state and, if something is translated, the other one.
#[inline(always)]
pub fn tuples(direction: Direction, wire: &StateKey, stack: &StateKey) -> (Tuple, Option<Tuple>) {
    let (before, after) = match direction {
        Direction::In => (wire, stack),
        Direction::Out => (stack, wire),
    };
    let source = direction.source_index();
    // An af-to state's translated key has its ends swapped (pf.c, pf_state_key_setup).
    let translated_source = if before.af == after.af {
        source
    } else {
        1 - source
    };
    let translated = before
        .translates_to(after)
        .then(|| Tuple::of(after, translated_source));
    (Tuple::of(before, source), translated)
}

/// Whether it is known when the machine came up. A replay without -b does not know, and live only
/// this host's own boot is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Boot {
    /// Uptime 0 is when it came up; nothing can have happened before.
    Known,
    /// It came up when this second of uptime began.
    At(i64),
    /// Uptime counts from an instant of our own choice.
    Unknown,
}

/// What a [`Boot`] comes to for times, without a choice left.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Floor {
    /// Nothing was before this second of uptime.
    second: i64,
    /// Whether uptime counts from boot.
    is_boot: bool,
}

impl From<Boot> for Floor {
    fn from(boot: Boot) -> Self {
        let (second, is_boot) = match boot {
            Boot::Known => (0, true),
            Boot::At(second) => (second, false),
            Boot::Unknown => (i64::MIN, false),
        };
        Self { second, is_boot }
    }
}

/// What a flow is of.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Records {
    /// A state.
    #[default]
    State,
    /// A connection: where a firewall forwards it, both its states.
    Connection,
}

impl Records {
    /// Each with its name.
    pub const VALUES: &[(&str, Self)] = &[("state", Self::State), ("connection", Self::Connection)];
}

impl fmt::Display for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::State => "state",
            Self::Connection => "connection",
        })
    }
}

/// Why a state ended.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum End {
    /// DEL or DEL_C.
    #[default]
    Deleted,
    /// CLR.
    Cleared,
    /// Nothing was heard for its timeout and more.
    Expired,
    /// The table was full.
    Evicted,
    /// Its id came with another key or another age.
    Replaced,
    /// The program stops and was asked to export what is alive.
    Flushed,
    /// It did not: it has been alive for an interface's active timeout.
    Active,
}

/// What happened to a translation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Translation {
    /// A translated state was heard of for the first time.
    Created,
    /// It ended.
    Deleted,
}

/// Seconds of uptime that a v5 header can count: 2^32 ms.
const V5_SECONDS: i64 = (1 << 32) / 1000;

/// What a flow's counters are worth.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Quality {
    /// As its firewalls counted: a full state followed everything they told of.
    #[default]
    Exact,
    /// What they counted, and what was estimated since.
    Estimated,
    /// Known to be short.
    Partial,
}

impl Quality {
    /// `exact`, `estimated` or `partial`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Estimated => "estimated",
            Self::Partial => "partial",
        }
    }
}

/// When a flow began and ended. Each format has its own way to tell, and works it out itself.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Times {
    /// Uptime in whole seconds of the first packet.
    start: i64,
    /// Likewise of the last.
    end: i64,
    /// When the flow ended.
    now: Seconds,
    /// Whether uptime counts from boot.
    is_boot: bool,
    /// Whether a time was put at boot, or the first packet's at the last's.
    is_clamped: bool,
}

impl Times {
    /// The times of a state made at `creation` whose last packet was at `last`, both in whole
    /// seconds of uptime and either possibly before boot, as it ends at `now`.
    ///
    /// With a known boot, what lies before it happened at boot, and so did a creation after the
    /// last packet (pflow(4), BUGS; if_pflow.c, `copy_flow_data`). Always start <= end <= now.
    #[inline(always)]
    pub fn new(creation: i64, last: i64, now: Now, boot: impl Into<Floor>) -> Self {
        let Floor { second, is_boot } = boot.into();
        let now = now.seconds();
        let mut times = Self {
            start: creation,
            end: last.min(now.uptime),
            now,
            is_boot,
            is_clamped: false,
        };
        if second > times.start || times.start > times.end {
            times.clamp(second);
        }
        times
    }

    /// The times of what had these of both: from the earlier first packet to the later last.
    fn joined(mut self, other: &Self) -> Self {
        self.start = self.start.min(other.start);
        self.end = self.end.max(other.end);
        if other.now.uptime > self.now.uptime {
            self.now = other.now;
        }
        self.is_clamped |= other.is_clamped;
        self
    }

    /// The times of what is left since the last packet of an earlier part, told as at `now`.
    pub(crate) fn since(mut self, last: i64, now: Now) -> Self {
        self.start = last.min(self.end);
        self.now = now.seconds();
        self
    }

    /// Whether both may be of states that one packet made: seconds are cut off of each.
    pub(crate) fn began_with(&self, other: &Self) -> bool {
        self.start.abs_diff(other.start) <= 2
    }

    /// Uptime in whole seconds of the last packet.
    pub(crate) fn last_second(&self) -> i64 {
        self.end
    }

    #[cold]
    fn clamp(&mut self, boot: i64) {
        self.is_clamped = true;
        self.end = self.end.max(boot);
        self.start = if boot == i64::MIN { self.end } else { boot };
    }

    /// Uptime in whole seconds of the first packet and of the last, as v5 has them: without a known
    /// boot no earlier than its 32 bits hold.
    #[inline]
    pub fn uptimes(&self) -> (i64, i64) {
        let oldest = self.oldest();
        (self.start.max(oldest), self.end.max(oldest))
    }

    /// Uptime in whole seconds of the first packet and of the last.
    #[inline]
    pub fn seconds(&self) -> (i64, i64) {
        (self.start, self.end)
    }

    /// The earliest that v5 can tell.
    #[inline]
    fn oldest(&self) -> i64 {
        if self.is_boot {
            return 0;
        }
        let oldest = self.now.uptime.saturating_sub(V5_SECONDS);
        oldest.saturating_add(1).max(0)
    }

    /// Whether the first packet's or the last's is not what the state told: it was before boot, or
    /// the first after the last.
    #[inline]
    pub fn is_clamped(&self) -> bool {
        self.is_clamped
    }

    /// Whether [`Self::uptimes`] are later than the flow's times.
    #[inline]
    pub fn is_cut(&self) -> bool {
        self.start < self.oldest()
    }

    /// Milliseconds since the epoch of the first packet, a multiple of 1000, as IPFIX has it.
    #[inline]
    pub fn start_ms(&self) -> u64 {
        self.millis(self.start)
    }

    /// Likewise of the last packet.
    #[inline]
    pub fn end_ms(&self) -> u64 {
        self.millis(self.end)
    }

    #[inline]
    fn millis(&self, secs: i64) -> u64 {
        u64::try_from(self.now.epoch_millis(secs)).unwrap_or(0)
    }
}

/// What full states tell beside addresses, counters and times. Rules have pf's numbers; 0xffffffff
/// stands for none.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Detail {
    /// Who spoke of the state last; `None`: this host, or a capture without addresses.
    pub sender: Option<IpAddr>,
    /// Number of the dialect that told it; 0: it was not told whole.
    pub dialect: u8,
    /// Rule that made it.
    pub rule: u32,
    /// Anchor of that; none is the main ruleset.
    pub anchor: u32,
    /// NAT rule.
    pub nat_rule: u32,
    /// pf's flags of the state.
    pub state_flags: u16,
    /// Protocol states of the initiator and the responder.
    pub peers: [u8; 2],
    /// Type of service that pf sets; 0: it does not.
    pub tos: u8,
    /// Where pf sends its packets.
    pub route: Option<Route>,
    /// Routing domains before and after.
    pub rdomains: [u16; 2],
    /// 0: the whole flow; else which part of one that went on.
    pub part: u32,
}

impl Detail {
    /// What is known of a connection whose IN state told this and whose OUT state `out`.
    fn joined(&self, out: &Self) -> Self {
        let ([before, _], [_, after]) = (self.rdomains, out.rdomains);
        Self {
            tos: if self.tos == 0 { out.tos } else { self.tos },
            route: self.route.or(out.route),
            rdomains: [before, after],
            ..*self
        }
    }
}

/// A flow: a state that ended, or will have, as it is exported.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Flow {
    /// Which state.
    pub id: StateId,
    /// Its direction on its interface.
    pub direction: Direction,
    /// The kif it was bound to: `all` for a floating one.
    pub ifname: IfName,
    /// Whether its rule says pflow, or its dialect cannot tell.
    pub pflow: bool,
    /// Before translation.
    pub tuple: Tuple,
    /// After translation, if anything is translated.
    pub translated: Option<Tuple>,
    /// Packets from initiator to responder, and back.
    pub packets: [u64; 2],
    /// IP octets, likewise.
    pub octets: [u64; 2],
    /// First and last packet.
    pub times: Times,
    /// Why it ended.
    pub end: End,
    /// What its counters are worth.
    pub quality: Quality,
    /// What else is known, where somebody asks.
    pub detail: Option<Detail>,
    /// The one pflowN that this part of a flow is for: it exports flows before they end, and this
    /// is what it did not export yet. `None`: the whole flow, for all the others.
    pub only: Option<u32>,
}

/// The interfaces that a flow passed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Passage {
    /// Number of its state's; 0: it has none. Of a connection: of the one that it came in on.
    pub ifindex: u16,
    /// The one that a connection left through, with its number. `None`: it is a state's flow.
    pub egress: Option<(IfName, u16)>,
}

impl Passage {
    /// That of a state's flow.
    pub const fn of_state(ifindex: u16) -> Self {
        Self {
            ifindex,
            egress: None,
        }
    }
}

/// One direction of a flow.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Record {
    /// From responder to initiator.
    pub reverse: bool,
    /// Before translation, seen from this direction's sender.
    pub tuple: Tuple,
    /// After translation, mirrored likewise.
    pub translated: Option<Tuple>,
    /// Packets.
    pub packets: u64,
    /// IP octets: above 0.
    pub octets: u64,
}

impl Flow {
    /// The connection whose IN state made this flow and whose OUT state made `out`: the addresses
    /// before translation are those that came in, the ones after it those that went out. Its
    /// counters are those of the half of this direction.
    pub(crate) fn joined(&self, out: &Self, counted_by: Direction) -> Self {
        let better = match counted_by {
            Direction::In => self,
            Direction::Out => out,
        };
        let after = out.translated.unwrap_or(out.tuple);
        Self {
            pflow: self.pflow || out.pflow,
            translated: (after != self.tuple).then_some(after),
            packets: better.packets,
            octets: better.octets,
            quality: better.quality,
            times: self.times.joined(&out.times),
            detail: match (self.detail, out.detail) {
                (Some(one), Some(out)) => Some(one.joined(&out)),
                (one, out) => one.or(out),
            },
            ..*self
        }
    }

    /// Its records: forward if octets went forward, then reverse if any came back.
    pub fn records(&self) -> impl Iterator<Item = Record> {
        [false, true]
            .into_iter()
            .filter_map(|reverse| self.record(reverse))
    }

    /// Its record of one direction, if octets went that way.
    #[inline]
    pub fn record(&self, reverse: bool) -> Option<Record> {
        let [packets, packets_back] = self.packets;
        let [octets, octets_back] = self.octets;
        let record = if reverse {
            Record {
                reverse,
                tuple: self.tuple.reversed(),
                translated: self.translated.map(Tuple::reversed),
                packets: packets_back,
                octets: octets_back,
            }
        } else {
            Record {
                reverse,
                tuple: self.tuple,
                translated: self.translated,
                packets,
                octets,
            }
        };
        (record.octets > 0).then_some(record)
    }

    /// Numbers of the interfaces that the record of one direction came in on and left through. A
    /// connection has those of its two states. pf notes a state's when the first packet passes that
    /// way, so that of a state whose packets went one way only the other is 0 (pf.c, `pf_test`:
    /// `if_index_in`, `if_index_out`).
    #[inline]
    pub fn interfaces(&self, passage: &Passage, reverse: bool) -> [u16; 2] {
        let ifindex = passage.ifindex;
        if let Some((_, egress)) = passage.egress {
            return match reverse {
                true => [egress, ifindex],
                false => [ifindex, egress],
            };
        }
        // Mostly none is known.
        if ifindex == 0 {
            return [0, 0];
        }
        let [forth, back] = self
            .octets
            .map(|octets| if octets > 0 { ifindex } else { 0 });
        // What goes the state's own way comes in on an in state's interface.
        let is_in = matches!(self.direction, Direction::In);
        let (input, output) = if is_in { (forth, back) } else { (back, forth) };
        if reverse {
            [output, input]
        } else {
            [input, output]
        }
    }

    /// A flow of ICMP as each direction's record tells it to who wants the port of its destination to
    /// be type times 256 and code, and that of its source 0.
    pub fn with_icmp_ports(&self) -> [Self; 2] {
        [false, true].map(|reverse| {
            let code = self.icmp_type_code(reverse);
            let (sport, dport) = if reverse { (code, 0) } else { (0, code) };
            let with = |tuple: Tuple| Tuple {
                sport,
                dport,
                ..tuple
            };
            Self {
                tuple: with(self.tuple),
                translated: self.translated.map(with),
                ..*self
            }
        })
    }

    /// Type times 256 and code of what went in one direction; 0: not known, or not ICMP.
    pub fn icmp_type_code(&self, reverse: bool) -> u16 {
        let Tuple {
            proto,
            sport,
            dport,
            ..
        } = self.tuple;
        let icmp = Icmp::of_ports(proto, sport, dport).filter(|_| is_icmp(proto));
        icmp.map_or(0, |icmp| icmp.type_code(proto, reverse))
    }

    /// flowEndReason (IANA): 1 idle timeout, 2 active timeout, 3 end detected, 4 forced end, 5 lack of
    /// resources. pf deletes a TCP state after its end, the others when their timeout is over.
    pub fn end_reason(&self) -> u8 {
        match self.end {
            End::Deleted if self.tuple.proto == TCP => 3,
            End::Deleted | End::Expired => 1,
            End::Active => 2,
            End::Cleared | End::Flushed | End::Replaced => 4,
            End::Evicted => 5,
        }
    }

    /// flowId: the same for a state whoever heard of it. It is FNV-1a, of 64 bits, of creatorid, id,
    /// protocol, and the ends of its WIRE key, the initiator first, all in network order.
    pub fn flow_id(&self) -> u64 {
        const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
        const PRIME: u64 = 0x0100_0000_01b3;
        let wire = match self.direction {
            Direction::In => self.tuple,
            Direction::Out => self.translated.unwrap_or(self.tuple),
        };
        let mut hash = BASIS;
        let mut add = |octets: &[u8]| {
            for octet in octets {
                hash = (hash ^ u64::from(*octet)).wrapping_mul(PRIME);
            }
        };
        add(&self.id.creatorid.to_be_bytes());
        add(&self.id.id.to_be_bytes());
        add(&[wire.proto]);
        for (address, port) in [(wire.src, wire.sport), (wire.dst, wire.dport)] {
            match wire.af {
                Af::Inet => add(&address.v4()),
                Af::Inet6 => add(&address.0),
            }
            add(&port.to_be_bytes());
        }
        hash
    }

    /// The interfaces that it passed, by name and number.
    pub fn interface_names(&self, passage: &Passage) -> impl Iterator<Item = (IfName, u16)> {
        std::iter::once((self.ifname, passage.ifindex)).chain(passage.egress)
    }

    /// Whether it makes no record.
    pub fn is_empty(&self) -> bool {
        self.octets == [0, 0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Wall;

    const BOOT: Wall = Wall::new(1_700_000_000, 0);

    fn at(uptime: i64) -> Now {
        Now::with_boot(Wall::new(1_700_000_000 + uptime, 500_000_000), BOOT)
    }

    fn key(af: Af, proto: u8, far: u8, near: u8, port: [u16; 2]) -> StateKey {
        let address = |n| Address([n; 16]);
        StateKey {
            af,
            proto,
            rdomain: 0,
            addr: [address(far), address(near)],
            port,
        }
    }

    #[test]
    fn the_interface_of_a_direction_that_no_packet_went_is_not_known() {
        let wire = key(Af::Inet, 17, 1, 2, [10, 20]);
        let flow = |direction, octets| Flow {
            id: StateId {
                id: 1,
                creatorid: 1,
            },
            direction,
            ifname: IfName::from("em0"),
            pflow: true,
            tuple: Tuple::of(&wire, 0),
            translated: None,
            packets: [1, 1],
            octets,
            times: Times::new(1, 2, at(3), Boot::Known),
            end: End::Deleted,
            quality: Quality::Exact,
            detail: None,
            only: None,
        };
        let both = |direction, octets| {
            let flow = flow(direction, octets);
            [false, true].map(|reverse| flow.interfaces(&Passage::of_state(7), reverse))
        };
        assert_eq!(both(Direction::In, [60, 60]), [[7, 7], [7, 7]]);
        assert_eq!(both(Direction::In, [60, 0])[0], [7, 0]);
        assert_eq!(both(Direction::In, [0, 60])[1], [7, 0]);
        assert_eq!(both(Direction::Out, [60, 0])[0], [0, 7]);
        assert_eq!(both(Direction::Out, [0, 60])[1], [0, 7]);
        assert_eq!(
            flow(Direction::In, [60, 60]).interfaces(&Passage::of_state(0), false),
            [0, 0]
        );
    }

    #[test]
    fn created_before_boot_is_boot_if_boot_is_known() {
        let times = Times::new(-50, 10, at(100), Boot::Known);
        assert_eq!(times.uptimes(), (0, 10));
        assert_eq!(
            (times.start_ms(), times.end_ms()),
            (1_700_000_000_000, 1_700_000_010_000)
        );
    }

    #[test]
    fn ended_before_boot_is_boot_if_boot_is_known() {
        let times = Times::new(-50, -10, at(100), Boot::Known);
        assert_eq!(times.uptimes(), (0, 0));
        assert_eq!(
            (times.start_ms(), times.end_ms()),
            (1_700_000_000_000, 1_700_000_000_000)
        );
    }

    #[test]
    fn a_boot_at_another_uptime_clamps_likewise() {
        let times = |creation, last| {
            let times = Times::new(creation, last, at(100), Boot::At(20));
            (times.uptimes(), times.is_clamped())
        };
        assert_eq!(times(30, 40), ((30, 40), false));
        assert_eq!(times(10, 40), ((20, 40), true));
        assert_eq!(times(10, 15), ((20, 20), true));
        assert_eq!(times(40, 30), ((20, 30), true));
    }

    #[test]
    fn created_after_the_last_packet_is_boot_if_boot_is_known() {
        let times = Times::new(40, 30, at(100), Boot::Known);
        assert_eq!(times.uptimes(), (0, 30));
        assert_eq!(
            (times.start_ms(), times.end_ms()),
            (1_700_000_000_000, 1_700_000_030_000)
        );
    }

    #[test]
    fn a_replay_that_knows_no_boot_clamps_nothing_in_ipfix() {
        let times = Times::new(-50, -10, at(100), Boot::Unknown);
        assert_eq!(
            (times.start_ms(), times.end_ms()),
            (1_699_999_950_000, 1_699_999_990_000)
        );
        assert_eq!(
            times.uptimes(),
            (0, 0),
            "v5 cannot hold what is before its zero"
        );
        let times = Times::new(40, 30, at(100), Boot::Unknown);
        assert_eq!(
            (times.start_ms(), times.end_ms()),
            (1_700_000_030_000, 1_700_000_030_000)
        );
    }

    #[test]
    fn without_a_boot_v5_keeps_to_what_32_bits_hold() {
        let late = 2 * V5_SECONDS;
        let times = Times::new(5, late - 10, at(late), Boot::Unknown);
        assert_eq!(times.uptimes().0, late - V5_SECONDS + 1);
        assert_eq!(times.start_ms(), 1_700_000_005_000);
    }

    #[test]
    fn an_end_after_now_is_now_and_ages_beyond_the_epoch_are_the_epoch() {
        let times = Times::new(90, 200, at(100), Boot::Known);
        assert_eq!(times.uptimes(), (90, 100));
        let times = Times::new(i64::MIN / 2, 1, at(100), Boot::Unknown);
        assert_eq!(times.start_ms(), 0);
    }

    #[test]
    fn an_in_state_shows_its_wire_key_and_an_out_state_its_stack_key() {
        let wire = key(Af::Inet, 6, 1, 2, [10, 20]);
        let stack = key(Af::Inet, 6, 1, 3, [10, 30]);
        let (before, after) = tuples(Direction::In, &wire, &stack);
        assert_eq!(
            (before.src.0[0], before.dst.0[0], before.sport, before.dport),
            (1, 2, 10, 20)
        );
        let after = after.unwrap();
        assert_eq!(
            (after.src.0[0], after.dst.0[0], after.sport, after.dport),
            (1, 3, 10, 30)
        );
        let (before, after) = tuples(Direction::Out, &wire, &stack);
        assert_eq!(
            (before.src.0[0], before.dst.0[0], before.sport, before.dport),
            (3, 1, 30, 10)
        );
        assert_eq!(after.unwrap().src.0[0], 2);
        assert!(tuples(Direction::In, &wire, &wire).1.is_none());
    }

    #[test]
    fn an_af_to_state_has_its_translated_ends_swapped() {
        let wire = key(Af::Inet6, 58, 1, 2, [77, 128]);
        let stack = key(Af::Inet, 1, 9, 8, [8, 77]);
        let (before, after) = tuples(Direction::In, &wire, &stack);
        assert_eq!((before.src.0[0], before.dst.0[0]), (1, 2));
        let after = after.unwrap();
        assert_eq!((after.src.0[0], after.dst.0[0], after.proto), (8, 9, 1));
        assert_eq!((after.sport, after.dport), (77, 8));
    }
}
