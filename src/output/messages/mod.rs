//! Every pfsync message as one line: `-o messages` and `-o messages-json`.
//!
//! ```text
//! time  sender|local  dialect  MSG  ...
//!   INS UPD DEL      ifname proto in|out src (translated) -> dst (translated) state:state
//!                    age t expires in t f:r pkts f:r bytes rule n id x creatorid x [flags]
//!   UPD_C            [state] state:state timeout word id x creatorid x
//!   DEL_C IACK UREQ  [state] id x creatorid x              or UREQ bulk request
//!   CLR              creatorid x on ifname                 or on every interface
//!   BUS              start|end creatorid x endtime t
//!   TDB              proto spi x dst address rpl n n bytes
//! ```
//! `[state]` is there if the state is held: ifname proto in|out src (translated) -> dst (translated).
//! Initiator and its numbers always come first, whatever the direction; its address is the one
//! before translation, with the one after it in parentheses. Otherwise the words are those of
//! pfctl(8) -ss -vv and tcpdump(8) on OpenBSD. [`Detail`] adds words at the end of a line.
//!
//! JSON is one object a line. A member is there whenever the dialect has the field, and then
//! always of one type; of a state that a message tells only the id of, interface, protocol and ends
//! are there if it is held. What is left out says nothing: names of peer states that the protocol does
//! not name; `expire` in v2 and v3, and in UPD_C where it is 0; `icmp_*` of other protocols; `rt_addr` that is all zero; `nat_af`, `nat_proto` and
//! `nat_rdomain` that do not differ. Rules and routing tables that are none are -1. Octets off the
//! wire (ifname, tag) are escaped as in the text. Times are UTC.
//!
//! Sources: if_pfsync.h and pfvar.h for the meaning of fields; what pfctl and OpenBSD's tcpdump print
//! for the words. What a packet is, which dialect, and errors in it are `wire/pfsync`'s.

mod json;
#[cfg(test)]
mod tests;
mod text;

use std::fmt::{self, Display};
use std::net::IpAddr;

pub use json::json;
pub use text::text;

use super::words::{Endpoint, SCTP, TCP, UDP};
use crate::icmp::{ICMP, ICMPV6, Icmp};
use crate::state::{Address, Direction, PFTM, StateId, StateKey};
use crate::table::Held;
use crate::time::Wall;
use crate::wire::pfsync::{Dialect, Peer, State};

/// A rule or a routing table that is none.
const NO_NUMBER: u32 = u32::MAX;

/// Where a message came from.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// When its packet was captured.
    pub stamp: Wall,
    /// Number of the packet in its source, from 1.
    pub packet: u64,
    /// Outer source address; `None` where there is no IP header, or 0.0.0.0 in it.
    pub sender: Option<IpAddr>,
    /// What the packet is written in.
    pub dialect: Dialect,
    /// Whether the dialect could be any of its version, because neither this packet nor an earlier
    /// one showed it.
    pub is_any: bool,
    /// The state that the message is about, if it is held. Some messages tell only the state's id.
    pub held: Option<&'a Held<'a>>,
}

impl Context<'_> {
    /// The dialect's name, or its version alone.
    fn dialect_name(&self) -> &'static str {
        match self.is_any {
            true => "v5",
            false => self.dialect.name(),
        }
    }
}

/// How much to say.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Detail {
    /// What a flow needs.
    Brief,
    /// Everything but the peers (-v). JSON has it always.
    Verbose,
    /// The peers' windows and scrub memory, too (-vv).
    VeryVerbose,
}

/// Both ends of a state before and after translation, initiator first.
struct StateEnds {
    direction: Direction,
    before: StateKey,
    after: StateKey,
    src: Endpoint,
    dst: Endpoint,
    nat_src: Endpoint,
    nat_dst: Endpoint,
}

impl StateEnds {
    fn of(state: &State<'_>) -> Self {
        let direction = state.direction().unwrap_or(Direction::In); // decode() lets no other pass
        Self::of_keys(direction, state.wire_key(), state.stack_key())
    }

    fn of_held(held: &Held<'_>) -> Self {
        Self::of_keys(held.direction, held.wire, held.stack)
    }

    fn of_keys(direction: Direction, wire: StateKey, stack: StateKey) -> Self {
        let (before, after) = match direction {
            Direction::In => (wire, stack),
            Direction::Out => (stack, wire),
        };
        let is_far = direction.source_index() == 0;
        let (src, dst) = pair(&before, is_far);
        // af-to keeps the translated key the other way round (pf.c, pf_state_key_setup).
        let (nat_src, nat_dst) = pair(&after, is_far == (before.af == after.af));
        Self {
            direction,
            before,
            after,
            src,
            dst,
            nat_src,
            nat_dst,
        }
    }
}

/// The ends of `key`, the far one first if `is_far`.
fn pair(key: &StateKey, is_far: bool) -> (Endpoint, Endpoint) {
    let ([far, near], [far_port, near_port]) = (key.addr, key.port);
    let (far, near) = (
        Endpoint::new(key.af, far, far_port),
        Endpoint::new(key.af, near, near_port),
    );
    if is_far { (far, near) } else { (near, far) }
}

/// What the ports of an ICMP state hold, by the era of its dialect.
fn icmp(dialect: Dialect, ends: &StateEnds) -> Option<Icmp> {
    let key = &ends.before;
    if !matches!(key.proto, ICMP | ICMPV6) {
        return None;
    }
    let [_, near] = key.port;
    let (src, dst) = (ends.src.port, ends.dst.port);
    match dialect {
        // The outside host's port is the id or 0.
        Dialect::V2 | Dialect::V3 => Some(Icmp::of_id(near)),
        Dialect::V4 | Dialect::DragonFly2 | Dialect::DragonFly4 | Dialect::FreeBsd9 => {
            Some(Icmp::of_id(src))
        }
        // OpenBSD 4.5 and FreeBSD to 13 put the id in both, 4.6 and 14 speak the same dialect.
        Dialect::OpenBsd45 | Dialect::FreeBsd1301 => Icmp::of_ports(key.proto, src, dst),
        _ => Icmp::of_query(key.proto, src, dst),
    }
}

/// The peers' states, by pf's names where the protocol has some.
struct States<'a> {
    src: Peer<'a>,
    dst: Peer<'a>,
    proto: Option<u8>,
    /// PFTM number.
    timeout: u8,
}

impl States<'_> {
    /// The names, where both peers' states have one.
    fn names(&self) -> Option<[&'static str; 2]> {
        let proto = self
            .proto
            .filter(|proto| !matches!(*proto, ICMP | ICMPV6))?;
        let name = |peer: Peer<'_>| peer.state_name(proto, self.timeout);
        Some([name(self.src)?, name(self.dst)?])
    }
}

impl Display for States<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.names() {
            Some([src, dst]) => write!(f, "{src}:{dst}"),
            None => write!(f, "{}:{}", self.src.state(), self.dst.state()),
        }
    }
}

/// The protocol that a living state with PFTM number `timeout` must be of; UDP stands for every
/// one whose states have UDP's names.
fn proto_of_timeout(dialect: Dialect, timeout: u8) -> Option<u8> {
    match timeout {
        _ if dialect.is_dead(timeout, 0) => None,
        0..=5 => Some(TCP),
        9 | 10 => Some(ICMP),
        20..=24 => Some(SCTP),
        _ => Some(UDP),
    }
}

/// pf.conf's word for PFTM number `timeout`, or `dead` for what no living state is in.
fn timeout_name(dialect: Dialect, timeout: u8, proto: Option<u8>) -> &'static str {
    if dialect.is_dead(timeout, proto.unwrap_or(0)) {
        return "dead";
    }
    PFTM.get(usize::from(timeout))
        .map_or("dead", |(word, _)| *word)
}

/// Whether `expire` of a state says something.
fn has_expire(dialect: Dialect) -> bool {
    dialect.version() > 3
}

/// Whether an UPD_REQ asks for everything.
fn is_bulk(id: StateId) -> bool {
    id == StateId::default()
}

/// PFSTATE_* in pf.conf's words where it has some, else pfvar.h's.
const FLAGS: [(u16, &str); 13] = [
    (0x0001, "allow-opts"),
    (0x0002, "sloppy"),
    (0x0004, "pflow"),
    (0x0008, "no-sync"),
    (0x0010, "ack"),
    (0x0020, "no-df"),
    (0x0040, "set-tos"),
    (0x0080, "random-id"),
    (0x0100, "scrub-tcp"),
    (0x0200, "set-prio"),
    (0x0400, "inp-unlinked"),
    (0x4000, "dn-pipe"),
    (0x8000, "dn-queue"),
];

/// One bit of `state_flags`; a number where the dialect has no name for it.
struct Flag {
    bit: u16,
    dialect: Dialect,
}

impl Display for Flag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match (self.dialect, self.bit) {
            // OpenBSD 4.4 has neither.
            (Dialect::DragonFly2 | Dialect::DragonFly4, 0x0004) => Some("stack-global"),
            (Dialect::DragonFly2 | Dialect::DragonFly4, 0x0008) => Some("createinprog"),
            // FreeBSD 10 and later no longer mean pflow by it.
            (dialect, 0x0004) if !dialect.carries_pflow() => None,
            (_, bit) => FLAGS
                .iter()
                .find(|(flag, _)| *flag == bit)
                .map(|(_, name)| *name),
        };
        match name {
            Some(name) => f.write_str(name),
            None => write!(f, "{:#06x}", self.bit),
        }
    }
}

/// The bits that are set.
fn flags(state: &State<'_>) -> impl Iterator<Item = Flag> + use<> {
    let (bits, dialect) = (state.state_flags().unwrap_or(0), state.dialect());
    (0..u16::BITS)
        .map(|shift| 1u16 << shift)
        .filter(move |bit| bits & bit != 0)
        .map(move |bit| Flag { bit, dialect })
}

/// Kind of policy routing; the systems number them differently. Before OpenBSD 5.3 the octet is
/// `state_flags`, but there is no routing without an address.
fn rt_name(state: &State<'_>) -> Option<&'static str> {
    let names: &[&str] = match state.dialect() {
        Dialect::OpenBsd47 if state.rt_addr() == Address::default() => return Some("none"),
        Dialect::OpenBsd47 => &["none", "route-to", "dup-to", "reply-to"],
        _ => &["none", "fastroute", "route-to", "dup-to", "reply-to"],
    };
    names.get(usize::from(state.rt()?)).copied()
}

/// Where policy routing sends, unless nowhere. Where the dialect tells no family it is the
/// translated one, that of packets that leave.
fn rt_addr(state: &State<'_>, ends: &StateEnds) -> Option<IpAddr> {
    let address = state.rt_addr();
    (address != Address::default()).then(|| address.ip(state.rt_af().unwrap_or(ends.after.af)))
}

fn queues(state: &State<'_>) -> Option<[(&'static str, u16); 4]> {
    let [qid, pqid, dnpipe, dnrpipe] = state.queues()?;
    Some([
        ("qid", qid),
        ("pqid", pqid),
        ("dnpipe", dnpipe),
        ("dnrpipe", dnrpipe),
    ])
}

/// A rule or table as a number, -1 for none.
fn or_none(number: u32) -> i64 {
    if number == NO_NUMBER {
        -1
    } else {
        i64::from(number)
    }
}

/// The shift, without PF_WSCALE_FLAG and PF_WSCALE_UNKNOWN.
fn wscale(peer: Peer<'_>) -> u8 {
    peer.wscale() & 0x0f
}

struct SenderName(Option<IpAddr>);

impl Display for SenderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(ip) => write!(f, "{ip}"),
            None => f.write_str("local"),
        }
    }
}
