//! Every pfsync message as one line: `-o messages` and `-o messages-json`.
//!
//! ```text
//! time  sender|local  dialect  MSG  ...
//!   INS UPD DEL      ifname proto in|out src (translated) -> dst (translated) state:state
//!                    age t expires in t f:r pkts f:r bytes rule n id x creatorid x [flags]
//!   UPD_C            state:state timeout word id x creatorid x
//!   DEL_C IACK UREQ  id x creatorid x                      or UREQ bulk request
//!   CLR              creatorid x on ifname                 or on every interface
//!   BUS              start|end creatorid x endtime t
//!   TDB              proto spi x dst address rpl n n bytes
//! ```
//! Initiator and its numbers always come first, whatever the direction; its address is the one
//! before translation, with the one after it in parentheses. Otherwise the words are those of
//! pfctl(8) -ss -vv and tcpdump(8) on OpenBSD. [`Detail`] adds words at the end of a line.
//!
//! JSON is one object a line. A member is there whenever the dialect has the field, and then
//! always of one type; what is left out says nothing: `expire` in v2 and v3, and in UPD_C where it
//! is 0; `icmp_*` of other protocols; `rt_addr` that is all zero; `nat_af`, `nat_proto` and
//! `nat_rdomain` that do not differ. Rules and routing tables that are none are -1. Octets off the
//! wire (ifname, tag) are escaped as in the text. Times are UTC.
//!
//! Sources: pfsync.md 3 and 4 for the meaning of fields; what pfctl and OpenBSD's tcpdump print
//! for the words. What a packet is, which dialect, and errors in it are `wire/pfsync`'s.

use std::fmt::{self, Display};
use std::io::Write as _;
use std::net::IpAddr;

use super::json::{Number, Object};
use crate::state::{Address, Af, Direction, Escaped, IfName, PFTM, StateId, StateKey};
use crate::time::{NANOS, Wall};
use crate::wire::pfsync::{Bus, BusStatus, Clear, Compressed, Dialect, Message, Peer, State, Tdb};

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;
const SCTP: u8 = 132;

/// A rule or a routing table that is none.
const NONE: u32 = u32::MAX;

/// Where a message came from.
#[derive(Clone, Copy, Debug)]
pub struct Context {
    /// When its packet was captured.
    pub stamp: Wall,
    /// Number of the packet in its source, from 1.
    pub packet: u64,
    /// Outer source address; `None` where there is no IP header, or 0.0.0.0 in it.
    pub sender: Option<IpAddr>,
    /// What the packet is written in.
    pub dialect: Dialect,
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

/// Writes to a Vec, which takes everything: the result says nothing.
macro_rules! put {
    ($out:expr, $($arg:tt)+) => {{ let _ = write!($out, $($arg)+); }};
}

/// Appends `message` to `out` as a line of text.
pub fn text(out: &mut Vec<u8>, context: &Context, message: &Message<'_>, detail: Detail) {
    let is_verbose = detail >= Detail::Verbose;
    if is_verbose {
        put!(out, "{} ", Date(context.stamp));
    }
    let (sender, dialect) = (Sender(context.sender), context.dialect);
    put!(
        out,
        "{} {sender} {} {}",
        TimeOfDay(context.stamp),
        dialect.name(),
        message.action().name()
    );
    match message {
        Message::Insert(state) | Message::Update(state) | Message::Delete(state) => {
            text_state(out, state, detail);
        }
        Message::UpdateCompressed(update) => text_compressed(out, update, dialect, detail),
        Message::UpdateRequest(id) if is_bulk(*id) => put!(out, " bulk request"),
        Message::DeleteCompressed(id) | Message::InsertAck(id) | Message::UpdateRequest(id) => {
            text_id(out, *id);
        }
        Message::Clear(clear) => text_clear(out, clear),
        Message::Bus(bus) => put!(
            out,
            " {} creatorid {:08x} endtime {}",
            Status(bus.status),
            bus.creatorid,
            Clock(bus.endtime)
        ),
        Message::Tdb(tdb) => text_tdb(out, tdb, is_verbose),
        Message::Unknown { action, len } => put!(out, " action {action}, {len} octets"),
    }
    if is_verbose {
        put!(out, " packet {}", context.packet);
    }
    out.push(b'\n');
}

fn text_id(out: &mut Vec<u8>, id: StateId) {
    put!(out, " id {:016x} creatorid {:08x}", id.id, id.creatorid);
}

fn text_clear(out: &mut Vec<u8>, clear: &Clear) {
    put!(out, " creatorid {:08x}", clear.creatorid);
    if clear.ifname.is_empty() {
        put!(out, " on every interface");
    } else {
        put!(out, " on {}", clear.ifname);
    }
}

fn text_tdb(out: &mut Vec<u8>, tdb: &Tdb, is_verbose: bool) {
    put!(out, " {} spi {:08x}", Protocol(tdb.sproto), tdb.spi);
    if let Some((af, address)) = tdb.dst {
        put!(out, " dst {}", address.ip(af));
    }
    put!(out, " rpl {} {} bytes", tdb.rpl, tdb.cur_bytes);
    if is_verbose {
        text_some(out, "updates", u32::from(tdb.updates));
        text_some(out, "rdomain", u32::from(tdb.rdomain));
    }
}

fn text_compressed(out: &mut Vec<u8>, update: &Compressed<'_>, dialect: Dialect, detail: Detail) {
    let states = States {
        src: update.src,
        dst: update.dst,
        proto: proto_of_timeout(dialect, update.timeout),
    };
    put!(
        out,
        " {states} timeout {}",
        timeout_name(dialect, update.timeout, states.proto)
    );
    if update.expire > 0 {
        put!(out, " expires in {}", Clock(update.expire));
    }
    text_id(out, update.state);
    if detail >= Detail::VeryVerbose {
        text_peer(out, "src", update.src);
        text_peer(out, "dst", update.dst);
    }
}

fn text_state(out: &mut Vec<u8>, state: &State<'_>, detail: Detail) {
    let ends = Ends::of(state);
    let (dialect, proto) = (state.dialect(), ends.before.proto);
    put!(
        out,
        " {} {} {}",
        Name(state.ifname()),
        Protocol(proto),
        ends.direction.name()
    );
    text_ends(out, &ends);
    if let Some(icmp) = Icmp::of(dialect, &ends) {
        put!(out, " icmp-id {}", icmp.id);
        if let Some(kind) = icmp.kind {
            put!(out, " icmp-type {kind}");
        }
    }
    let states = States {
        src: state.src(),
        dst: state.dst(),
        proto: Some(proto),
    };
    put!(out, " {states} age {}", Clock(state.age()));
    if has_expire(dialect) {
        put!(out, " expires in {}", Clock(state.expire()));
    }
    let ([sent, received], [out_octets, in_octets]) = (state.packets(), state.octets());
    put!(
        out,
        " {sent}:{received} pkts {out_octets}:{in_octets} bytes"
    );
    text_number(out, "anchor", state.anchor());
    text_number(out, "rule", state.rule());
    text_id(out, state.state_id());
    text_flags(out, state);
    if detail >= Detail::Verbose || dialect.is_dead(state.timeout(), proto) {
        let word = timeout_name(dialect, state.timeout(), Some(proto));
        put!(out, " timeout {word}");
    }
    if detail >= Detail::Verbose {
        text_rest(out, state, &ends);
    }
    if detail >= Detail::VeryVerbose {
        text_peer(out, "src", state.src());
        text_peer(out, "dst", state.dst());
    }
}

/// `src (translated) -> dst (translated)`, the parentheses where there is something to say.
fn text_ends(out: &mut Vec<u8>, ends: &Ends) {
    put!(out, " {}", ends.src);
    if ends.nat_src != ends.src {
        put!(out, " ({})", ends.nat_src);
    }
    put!(out, " -> {}", ends.dst);
    if ends.nat_dst != ends.dst {
        put!(out, " ({})", ends.nat_dst);
    }
}

/// ` [pflow,no-df]`.
fn text_flags(out: &mut Vec<u8>, state: &State<'_>) {
    for (n, flag) in flags(state).enumerate() {
        put!(out, "{}{flag}", if n == 0 { " [" } else { "," });
    }
    if flags(state).next().is_some() {
        out.push(b']');
    }
}

/// What else the state has, where it says something.
fn text_rest(out: &mut Vec<u8>, state: &State<'_>, ends: &Ends) {
    if state.dialect().version() > 3 {
        text_number(out, "nat-rule", state.nat_rule());
    }
    text_some(out, "log", u32::from(state.log()));
    text_some(
        out,
        "sync-flags",
        u32::from(state.sync_flags().unwrap_or(0)),
    );
    text_some(out, "updates", u32::from(state.updates().unwrap_or(0)));
    text_rtable(out, state);
    text_some(out, "rdomain", u32::from(ends.before.rdomain));
    if ends.after.rdomain != ends.before.rdomain {
        put!(out, " nat-rdomain {}", ends.after.rdomain);
    }
    text_some(out, "max-mss", u32::from(state.max_mss().unwrap_or(0)));
    text_some(out, "min-ttl", u32::from(state.min_ttl().unwrap_or(0)));
    text_some(out, "set-tos", u32::from(state.set_tos().unwrap_or(0)));
    if let Some([prio, low_delay]) = state.set_prio().filter(|prio| *prio != [0, 0]) {
        put!(out, " set-prio {prio},{low_delay}");
    }
    if let Some(rt) = rt_name(state).filter(|rt| *rt != "none") {
        put!(out, " {rt}");
    }
    if let Some(address) = rt_addr(state, ends) {
        put!(out, " rt-addr {address}");
    }
    text_name(out, "rt-ifname", state.rt_ifname());
    for (key, queue) in queues(state).into_iter().flatten() {
        text_some(out, key, u32::from(queue));
    }
    text_name(out, "orig-ifname", state.orig_ifname());
    if let Some(tag) = state.tagname().filter(|tag| !tag.is_empty()) {
        put!(out, " tag {}", Escaped(tag));
    }
}

/// The routing tables, unless they are the default one or none.
fn text_rtable(out: &mut Vec<u8>, state: &State<'_>) {
    let [Some(first), second] = state.rtableid() else {
        return;
    };
    let second = second.unwrap_or(first);
    if [first, second]
        .iter()
        .all(|table| matches!(*table, 0 | NONE))
    {
        return;
    }
    put!(out, " rtable {}", or_none(first));
    if second != first {
        put!(out, ":{}", or_none(second));
    }
}

/// A number that is none when all ones.
fn text_number(out: &mut Vec<u8>, key: &str, value: u32) {
    if value != NONE {
        put!(out, " {key} {value}");
    }
}

/// A number that says nothing when 0.
fn text_some(out: &mut Vec<u8>, key: &str, value: u32) {
    if value != 0 {
        put!(out, " {key} {value}");
    }
}

fn text_name(out: &mut Vec<u8>, key: &str, name: Option<IfName>) {
    if let Some(name) = name.filter(|name| !name.is_empty()) {
        put!(out, " {key} {name}");
    }
}

/// The window as pfctl prints it, `[seqlo + room](+seqdiff)`, for a peer that has one.
fn text_peer(out: &mut Vec<u8>, key: &str, peer: Peer<'_>) {
    let (seqlo, seqhi) = (peer.seqlo(), peer.seqhi());
    if seqlo != 0 || seqhi != 0 || peer.max_win() != 0 {
        put!(out, " {key} [{seqlo} + {}]", seqhi.wrapping_sub(seqlo));
        if peer.seqdiff() != 0 {
            put!(out, "(+{})", peer.seqdiff());
        }
        text_some(out, "win", u32::from(peer.max_win()));
        text_some(out, "mss", u32::from(peer.mss()));
        text_some(out, "wscale", u32::from(wscale(peer)));
    }
    if let Some(scrub) = peer.scrub() {
        put!(
            out,
            " {key}-scrub flags {:#06x} ttl {} ts-mod {:08x}",
            scrub.flags,
            scrub.ttl,
            scrub.ts_mod
        );
    }
}

/// Appends `message` to `out` as a line that is one JSON object.
pub fn json(out: &mut Vec<u8>, context: &Context, message: &Message<'_>, detail: Detail) {
    let dialect = context.dialect;
    let mut object = Object::new(out);
    object.number("ts", Seconds(context.stamp));
    object.number("packet", context.packet);
    object.string("sender", Sender(context.sender));
    object.string("dialect", dialect.name());
    object.number("version", dialect.version());
    object.string("msg", message.action().name());
    match message {
        Message::Insert(state) | Message::Update(state) | Message::Delete(state) => {
            json_state(&mut object, state, detail);
        }
        Message::UpdateCompressed(update) => {
            json_compressed(&mut object, update, dialect, detail);
        }
        Message::UpdateRequest(id) => {
            json_id(&mut object, *id);
            object.boolean("bulk", is_bulk(*id));
        }
        Message::DeleteCompressed(id) | Message::InsertAck(id) => json_id(&mut object, *id),
        Message::Clear(clear) => {
            object.string("ifname", clear.ifname);
            json_creator(&mut object, clear.creatorid);
        }
        Message::Bus(bus) => json_bus(&mut object, bus),
        Message::Tdb(tdb) => json_tdb(&mut object, tdb),
        Message::Unknown { action, len } => {
            object.number("action", *action);
            object.number("len", *len);
        }
    }
    object.end();
    out.push(b'\n');
}

fn json_creator(object: &mut Object<'_>, creatorid: u32) {
    object.string("creatorid", format_args!("{creatorid:08x}"));
}

fn json_id(object: &mut Object<'_>, id: StateId) {
    object.string("id", format_args!("{:016x}", id.id));
    json_creator(object, id.creatorid);
}

fn json_bus(object: &mut Object<'_>, bus: &Bus) {
    object.string("status", Status(bus.status));
    json_creator(object, bus.creatorid);
    object.number("endtime", bus.endtime);
}

fn json_tdb(object: &mut Object<'_>, tdb: &Tdb) {
    object.string("spi", format_args!("{:08x}", tdb.spi));
    if let Some((af, address)) = tdb.dst {
        object.string("dst", address.ip(af));
    }
    object.number("rpl", tdb.rpl);
    object.number("cur_bytes", tdb.cur_bytes);
    object.number("sproto", tdb.sproto);
    object.number("updates", tdb.updates);
    object.number("rdomain", tdb.rdomain);
}

fn json_compressed(
    object: &mut Object<'_>,
    update: &Compressed<'_>,
    dialect: Dialect,
    detail: Detail,
) {
    json_id(object, update.state);
    let proto = proto_of_timeout(dialect, update.timeout);
    object.number("timeout", update.timeout);
    object.string("timeout_name", timeout_name(dialect, update.timeout, proto));
    object.number("src_state", update.src.state());
    object.number("dst_state", update.dst.state());
    if update.expire > 0 {
        object.number("expire", update.expire);
    }
    json_peers(object, update.src, update.dst, detail);
}

fn json_state(object: &mut Object<'_>, state: &State<'_>, detail: Detail) {
    let ends = Ends::of(state);
    let (dialect, proto) = (state.dialect(), ends.before.proto);
    json_id(object, state.state_id());
    object.string("ifname", state.ifname());
    object.number("proto", proto);
    object.string("direction", ends.direction.name());
    object.number("age", state.age());
    object.number("timeout", state.timeout());
    let word = timeout_name(dialect, state.timeout(), Some(proto));
    object.string("timeout_name", word);
    if has_expire(dialect) {
        object.number("expire", state.expire());
    }
    object.number("rule", or_none(state.rule()));
    object.array("packets", state.packets());
    object.array("bytes", state.octets());
    object.number("src_state", state.src().state());
    object.number("dst_state", state.dst().state());
    json_ends(object, &ends);
    if let Some(icmp) = Icmp::of(dialect, &ends) {
        object.number("icmp_id", icmp.id);
        if let Some(kind) = icmp.kind {
            object.number("icmp_type", kind);
        }
    }
    json_rule(object, state, &ends);
    json_routing(object, state, &ends);
    json_peers(object, state.src(), state.dst(), detail);
}

fn json_ends(object: &mut Object<'_>, ends: &Ends) {
    let (before, after) = (&ends.before, &ends.after);
    object.string("af", af_name(before.af));
    object.string("src", ends.src.ip);
    object.number("sport", ends.src.port);
    object.string("dst", ends.dst.ip);
    object.number("dport", ends.dst.port);
    object.string("nat_src", ends.nat_src.ip);
    object.number("nat_sport", ends.nat_src.port);
    object.string("nat_dst", ends.nat_dst.ip);
    object.number("nat_dport", ends.nat_dst.port);
    if after.af != before.af {
        object.string("nat_af", af_name(after.af));
    }
    if after.proto != before.proto {
        object.number("nat_proto", after.proto);
    }
}

/// What the rule that made the state left in it.
fn json_rule(object: &mut Object<'_>, state: &State<'_>, ends: &Ends) {
    if let Some(bits) = state.state_flags() {
        object.number("state_flags", bits);
        object.strings("flags", flags(state));
    }
    object.number("anchor", or_none(state.anchor()));
    object.number("nat_rule", or_none(state.nat_rule()));
    object.number("log", state.log());
    json_some(object, "sync_flags", state.sync_flags());
    json_some(object, "updates", state.updates());
    if let [Some(_), _] = state.rtableid() {
        let tables = state.rtableid().into_iter().flatten();
        object.array("rtableid", tables.map(or_none));
    }
    if state.dialect() == Dialect::OpenBsd47 {
        object.number("rdomain", ends.before.rdomain);
    }
    if ends.after.rdomain != ends.before.rdomain {
        object.number("nat_rdomain", ends.after.rdomain);
    }
    json_some(object, "max_mss", state.max_mss());
    json_some(object, "min_ttl", state.min_ttl());
    json_some(object, "set_tos", state.set_tos());
    if let Some(prio) = state.set_prio() {
        object.array("set_prio", prio);
    }
}

/// Where the state's packets are sent: route-to, queues, and names that travel with it.
fn json_routing(object: &mut Object<'_>, state: &State<'_>, ends: &Ends) {
    if let Some(rt) = rt_name(state) {
        object.string("rt", rt);
    }
    if let Some(address) = rt_addr(state, ends) {
        object.string("rt_addr", address);
    }
    if let Some(queues) = queues(state) {
        object.object("queues", |object| {
            for (key, queue) in queues {
                object.number(key, queue);
            }
        });
    }
    if let Some(name) = state.rt_ifname() {
        object.string("rt_ifname", name);
    }
    if let Some(name) = state.orig_ifname() {
        object.string("orig_ifname", name);
    }
    if let Some(tag) = state.tagname() {
        object.string("tag", Escaped(tag));
    }
}

fn json_some(object: &mut Object<'_>, key: &str, value: Option<impl Number>) {
    if let Some(value) = value {
        object.number(key, value);
    }
}

fn json_peers(object: &mut Object<'_>, src: Peer<'_>, dst: Peer<'_>, detail: Detail) {
    if detail < Detail::VeryVerbose {
        return;
    }
    for (key, peer) in [("src_peer", src), ("dst_peer", dst)] {
        object.object(key, |object| {
            object.number("seqlo", peer.seqlo());
            object.number("seqhi", peer.seqhi());
            object.number("seqdiff", peer.seqdiff());
            object.number("max_win", peer.max_win());
            object.number("mss", peer.mss());
            object.number("wscale", wscale(peer));
            if let Some(scrub) = peer.scrub() {
                object.object("scrub", |object| {
                    object.number("flags", scrub.flags);
                    object.number("ttl", scrub.ttl);
                    object.number("ts_mod", scrub.ts_mod);
                });
            }
        });
    }
}

/// Both ends of a state before and after translation, initiator first.
struct Ends {
    direction: Direction,
    before: StateKey,
    after: StateKey,
    src: End,
    dst: End,
    nat_src: End,
    nat_dst: End,
}

impl Ends {
    fn of(state: &State<'_>) -> Self {
        let direction = state.direction().unwrap_or(Direction::In); // decode() lets no other pass
        let (wire, stack) = (state.wire_key(), state.stack_key());
        let (before, after) = match direction {
            Direction::In => (wire, stack),
            Direction::Out => (stack, wire),
        };
        let is_far = direction.source_index() == 0;
        let (src, dst) = End::pair(&before, is_far);
        // af-to keeps the translated key the other way round (pf.c, pf_state_key_setup).
        let (nat_src, nat_dst) = End::pair(&after, is_far == (before.af == after.af));
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

/// One end of a key. Prints as pfctl does: `192.0.2.1:80`, `2001:db8::1[80]`, no port 0.
#[derive(Clone, Copy, Eq, PartialEq)]
struct End {
    ip: IpAddr,
    port: u16,
}

impl End {
    /// The ends of `key`, the far one first if `is_far`.
    fn pair(key: &StateKey, is_far: bool) -> (Self, Self) {
        let end = |address: Address, port| Self {
            ip: address.ip(key.af),
            port,
        };
        let ([far, near], [far_port, near_port]) = (key.addr, key.port);
        let (far, near) = (end(far, far_port), end(near, near_port));
        if is_far { (far, near) } else { (near, far) }
    }
}

impl Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ip {
            ip if self.port == 0 => write!(f, "{ip}"),
            IpAddr::V4(ip) => write!(f, "{ip}:{}", self.port),
            IpAddr::V6(ip) => write!(f, "{ip}[{}]", self.port),
        }
    }
}

/// What the ports of an ICMP state hold (pfsync.md 3.3).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Icmp {
    id: u16,
    kind: Option<u8>,
}

impl Icmp {
    fn of(dialect: Dialect, ends: &Ends) -> Option<Self> {
        let key = &ends.before;
        if !matches!(key.proto, ICMP | ICMPV6) {
            return None;
        }
        let [_, near] = key.port;
        let (src, dst) = (ends.src.port, ends.dst.port);
        let only = |id| Some(Self { id, kind: None });
        match dialect {
            // The outside host's port is the id or 0.
            Dialect::V2 | Dialect::V3 => only(near),
            Dialect::V4 | Dialect::FreeBsd9 => only(src),
            // OpenBSD 4.5 and FreeBSD to 13 put the id in both, 4.6 and 14 speak the same dialect.
            Dialect::OpenBsd45 | Dialect::FreeBsd1301 if src == dst => only(src),
            _ => match (u8::try_from(dst), u8::try_from(src)) {
                (Ok(kind), _) => Some(Self {
                    id: src,
                    kind: Some(kind),
                }),
                // A reply made the state.
                (_, Ok(kind)) => Some(Self {
                    id: dst,
                    kind: Some(kind),
                }),
                _ => None,
            },
        }
    }
}

/// The peers' states, by pf's names where the protocol has some.
struct States<'a> {
    src: Peer<'a>,
    dst: Peer<'a>,
    proto: Option<u8>,
}

impl Display for States<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |peer: Peer<'_>| {
            let proto = self
                .proto
                .filter(|proto| !matches!(*proto, ICMP | ICMPV6))?;
            peer.state_name(proto)
        };
        match (name(self.src), name(self.dst)) {
            (Some(src), Some(dst)) => write!(f, "{src}:{dst}"),
            _ => write!(f, "{}:{}", self.src.state(), self.dst.state()),
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
            // DragonFly; OpenBSD 4.4 has neither.
            (Dialect::V4, 0x0004) => Some("stack-global"),
            (Dialect::V4, 0x0008) => Some("createinprog"),
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

/// Where policy routing sends, unless nowhere. Packets that leave are of the translated family.
fn rt_addr(state: &State<'_>, ends: &Ends) -> Option<IpAddr> {
    let address = state.rt_addr();
    (address != Address::default()).then(|| address.ip(ends.after.af))
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
    if number == NONE {
        -1
    } else {
        i64::from(number)
    }
}

/// The shift, without PF_WSCALE_FLAG and PF_WSCALE_UNKNOWN.
fn wscale(peer: Peer<'_>) -> u8 {
    peer.wscale() & 0x0f
}

fn af_name(af: Af) -> &'static str {
    match af {
        Af::Inet => "inet",
        Af::Inet6 => "inet6",
    }
}

/// Names of /etc/protocols, which pfctl prints, of what pf is likely to keep states of.
const PROTOCOLS: [(u8, &str); 20] = [
    (ICMP, "icmp"),
    (2, "igmp"),
    (4, "ipencap"),
    (TCP, "tcp"),
    (UDP, "udp"),
    (41, "ipv6"),
    (46, "rsvp"),
    (47, "gre"),
    (50, "esp"),
    (51, "ah"),
    (ICMPV6, "ipv6-icmp"),
    (89, "ospf"),
    (97, "etherip"),
    (103, "pim"),
    (108, "ipcomp"),
    (112, "carp"),
    (SCTP, "sctp"),
    (136, "udplite"),
    (137, "mpls"),
    (240, "pfsync"),
];

struct Protocol(u8);

impl Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match PROTOCOLS.iter().find(|(number, _)| *number == self.0) {
            Some((_, name)) => f.write_str(name),
            None => write!(f, "proto-{}", self.0),
        }
    }
}

/// An interface's name as a word: `-` for one that is empty.
struct Name(IfName);

impl Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("-");
        }
        write!(f, "{}", self.0)
    }
}

struct Status(BusStatus);

impl Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            BusStatus::Start => f.write_str("start"),
            BusStatus::End => f.write_str("end"),
            BusStatus::Other(number) => write!(f, "{number}"),
        }
    }
}

struct Sender(Option<IpAddr>);

impl Display for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(ip) => write!(f, "{ip}"),
            None => f.write_str("local"),
        }
    }
}

/// Seconds as hh:mm:ss; as many hours as it takes.
struct Clock(u32);

impl Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (minutes, seconds) = (self.0 / 60, self.0 % 60);
        write!(f, "{:02}:{:02}:{seconds:02}", minutes / 60, minutes % 60)
    }
}

/// `2023-11-14`.
struct Date(Wall);

impl Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // 64 bits of nanoseconds end in 2262, so that there always is a date.
        match ::time::OffsetDateTime::from_unix_timestamp(self.0.secs()) {
            Ok(t) => write!(
                f,
                "{:04}-{:02}-{:02}",
                t.year(),
                u8::from(t.month()),
                t.day()
            ),
            Err(_) => f.write_str("-"),
        }
    }
}

/// `22:13:20.900000`.
struct TimeOfDay(Wall);

impl Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (minutes, seconds) = (self.0.secs().div_euclid(60), self.0.secs().rem_euclid(60));
        write!(
            f,
            "{:02}:{:02}:{seconds:02}.{:06}",
            minutes.div_euclid(60).rem_euclid(24),
            minutes.rem_euclid(60),
            self.0.subsec_nanos() / 1000
        )
    }
}

/// Seconds since 1970 with all nine decimals: `1700000000.900000000`.
struct Seconds(Wall);

impl Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.nanos();
        let (sign, size, unit) = (
            if nanos < 0 { "-" } else { "" },
            nanos.unsigned_abs(),
            NANOS.unsigned_abs(),
        );
        write!(f, "{sign}{}.{:09}", size / unit, size % unit)
    }
}

impl Number for Seconds {}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::wire::pfsync;

    /// pfsync.md 8: UPD_C, DEL_C, INS of v6.
    const WORKED: &str = "
        06000188 00000000 00000000 00000000 00000000 04150001 6553f100 00000002
        00000000 00000000 00000000 00000000 00000000 00000000 02000000 00000000
        00000000 00000000 00000000 00000000 00000000 00000000 02000000 00000000
        5f3a9c01 00000000 08000000 07030001 6553f100 00000003 5f3a9c01 0d420001
        6553f100 00000001 616c6c00 00000000 00000000 00000000 c6336407 00000000
        00000000 00000000 cb007105 00000000 00000000 00000000 01bbc738 00000200
        c6336407 00000000 00000000 00000000 c0a8010a 00000000 00000000 00000000
        01bb9c40 00000200 00014001 01020304 11111111 11112222 00000000 ffff05b4
        02860000 00000000 00000000 00000000 00000000 00000001 00000000 00010000
        00000000 00000000 00000000 00000000 00000000 00000000 0000000c ffffffff
        ffffffff 00000001 00000077 00000000 00000001 00000000 00000000 00000000
        0000003c 00000000 00000000 5f3a9c01 ffffffff ffffffff 05a00206 02000000
        00000000 00040000";

    fn octets(hex: &str) -> Vec<u8> {
        let digits: Vec<char> = hex.split_whitespace().flat_map(str::chars).collect();
        digits
            .chunks(2)
            .map(|pair| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap())
            .collect()
    }

    fn context(dialect: Dialect) -> Context {
        Context {
            stamp: Wall::new(1_700_000_000, 900_000_000),
            packet: 7,
            sender: Some([192, 0, 2, 1].into()),
            dialect,
        }
    }

    fn as_text(dialect: Dialect, message: &Message<'_>, detail: Detail) -> String {
        let mut out = Vec::new();
        text(&mut out, &context(dialect), message, detail);
        let line = String::from_utf8(out).unwrap();
        assert!(
            line.bytes()
                .all(|octet| (b' '..=b'~').contains(&octet) || octet == b'\n')
        );
        assert_eq!(line.find('\n'), Some(line.len() - 1));
        line.trim_end().to_owned()
    }

    fn as_json(dialect: Dialect, message: &Message<'_>) -> Value {
        let mut out = Vec::new();
        json(&mut out, &context(dialect), message, Detail::VeryVerbose);
        assert_eq!(
            out.iter().position(|octet| *octet == b'\n'),
            Some(out.len() - 1)
        );
        serde_json::from_slice(&out).unwrap()
    }

    /// The text, from the message's name on, and the JSON of every message of `packet`.
    fn read(packet: &str, detail: Detail) -> Vec<(String, Value)> {
        let mut all = Vec::new();
        let outcome = pfsync::decode(&octets(packet), 0, None, &mut |dialect, message| {
            let line = as_text(dialect, &message, detail);
            let start = line.find(message.action().name()).unwrap();
            all.push((line[start..].to_owned(), as_json(dialect, &message)));
        });
        outcome.result.unwrap();
        all
    }

    /// A section of v6 alone in its packet.
    fn section(subheader: &str, messages: &str) -> (String, Value) {
        let len = 20 + octets(subheader).len() + octets(messages).len();
        let packet = format!("0600{len:04x} {} {subheader} {messages}", "0".repeat(32));
        read(&packet, Detail::Brief).remove(0)
    }

    /// A state of creator 5f3a9c01, `direction` and `proto`, with `fields` laid over it.
    fn state(dialect: Dialect, direction: u8, proto: u8, fields: &[(usize, &[u8])]) -> Vec<u8> {
        let (len, creatorid, af, timeout) = match dialect {
            Dialect::V2 => (224, 212, 216, 221),
            Dialect::V3 | Dialect::V4 | Dialect::OpenBsd45 => (240, 228, 232, 237),
            Dialect::FreeBsd9 | Dialect::FreeBsd1301 => (242, 228, 232, 239),
            Dialect::FreeBsd1400 => (277, 228, 232, 239),
            Dialect::FreeBsd1500 => (360, 228, 344, 350),
            Dialect::OpenBsd47 => (264, 236, 250, 255),
        };
        let mut state = vec![0; len];
        state[creatorid..creatorid + 4].copy_from_slice(&[0x5f, 0x3a, 0x9c, 0x01]);
        if dialect == Dialect::FreeBsd1500 {
            state[af..af + 8].copy_from_slice(&[
                2,
                2,
                0,
                proto,
                proto,
                0,
                timeout_of(proto),
                direction,
            ]);
        } else {
            state[af..af + 3].copy_from_slice(&[2, proto, direction]);
            state[timeout] = timeout_of(proto);
        }
        for (at, octets) in fields {
            state[*at..at + octets.len()].copy_from_slice(octets);
        }
        state
    }

    fn timeout_of(proto: u8) -> u8 {
        match proto {
            ICMP | ICMPV6 => 9,
            TCP => 2,
            _ => 6,
        }
    }

    fn insert(dialect: Dialect, state: &[u8]) -> Message<'_> {
        Message::Insert(State::new(dialect, state).unwrap())
    }

    #[test]
    fn the_worked_example_reads_as_the_fact_sheet_says() {
        let lines = |detail| read(WORKED, detail).into_iter().map(|(line, _)| line);
        let brief = [
            "UPD_C MULTIPLE:MULTIPLE timeout udp.multiple id 6553f10000000002 creatorid 5f3a9c01",
            "DEL_C id 6553f10000000003 creatorid 5f3a9c01",
            "INS all tcp out 192.168.1.10:40000 (203.0.113.5:51000) -> 198.51.100.7:443 \
             SYN_SENT:CLOSED age 00:00:01 expires in 00:01:59 1:0 pkts 60:0 bytes rule 12 \
             id 6553f10000000001 creatorid 5f3a9c01 [pflow]",
        ];
        assert!(lines(Detail::Brief).eq(brief));
        let verbose = [
            format!("{} packet 7", brief[0]),
            format!("{} packet 7", brief[1]),
            format!("{} timeout tcp.first max-mss 1440 packet 7", brief[2]),
        ];
        assert!(lines(Detail::Verbose).eq(verbose));
        let peers = " src [286331153 + 4369] win 65535 mss 1460 wscale 6 src-scrub flags 0x0001 \
                     ttl 64 ts-mod 01020304 dst [0 + 1] win 1 packet 7";
        assert!(lines(Detail::VeryVerbose).nth(2).unwrap().ends_with(peers));
    }

    #[test]
    fn a_state_in_json_has_every_field_of_its_dialect() {
        let (_, insert) = read(WORKED, Detail::Brief).remove(2);
        let all = r#"{
            "ts": 1700000000.9, "packet": 7, "sender": "192.0.2.1", "dialect": "v6",
            "version": 6, "msg": "INS", "id": "6553f10000000001", "creatorid": "5f3a9c01",
            "ifname": "all", "proto": 6, "direction": "out", "age": 1, "timeout": 0,
            "timeout_name": "tcp.first", "expire": 119, "rule": 12, "packets": [1, 0],
            "bytes": [60, 0], "src_state": 2, "dst_state": 0, "af": "inet",
            "src": "192.168.1.10", "sport": 40000, "dst": "198.51.100.7", "dport": 443,
            "nat_src": "203.0.113.5", "nat_sport": 51000, "nat_dst": "198.51.100.7",
            "nat_dport": 443, "state_flags": 4, "flags": ["pflow"], "anchor": -1,
            "nat_rule": -1, "log": 0, "sync_flags": 0, "updates": 0, "rtableid": [-1, -1],
            "rdomain": 0, "max_mss": 1440, "min_ttl": 0, "set_tos": 0, "set_prio": [0, 0],
            "rt": "none",
            "src_peer": {"seqlo": 286331153, "seqhi": 286335522, "seqdiff": 0, "max_win": 65535,
                "mss": 1460, "wscale": 6, "scrub": {"flags": 1, "ttl": 64, "ts_mod": 16909060}},
            "dst_peer": {"seqlo": 0, "seqhi": 1, "seqdiff": 0, "max_win": 1, "mss": 0,
                "wscale": 0}
        }"#;
        assert_eq!(insert, serde_json::from_str::<Value>(all).unwrap());
    }

    #[test]
    fn every_other_kind_of_message_has_its_line() {
        let id = "6553f100 00000009 5f3a9c01";
        let name = |name: &str| format!("{name:0<32} 5f3a9c01");
        let cases = [
            (
                "05030001",
                id.to_owned(),
                "UREQ id 6553f10000000009 creatorid 5f3a9c01",
            ),
            ("05030001", "0".repeat(24), "UREQ bulk request"),
            (
                "02030001",
                id.to_owned(),
                "IACK id 6553f10000000009 creatorid 5f3a9c01",
            ),
            (
                "07030001",
                id.to_owned(),
                "DEL_C id 6553f10000000009 creatorid 5f3a9c01",
            ),
            (
                "00050001",
                name(""),
                "CLR creatorid 5f3a9c01 on every interface",
            ),
            ("00050001", name("656d31"), "CLR creatorid 5f3a9c01 on em1"),
            (
                "0a030001",
                "5f3a9c01 00000e10 01000000".to_owned(),
                "BUS start creatorid 5f3a9c01 endtime 01:00:00",
            ),
            (
                "0a030001",
                "5f3a9c01 00000000 09000000".to_owned(),
                "BUS 9 creatorid 5f3a9c01 endtime 00:00:00",
            ),
            ("63020001", "0".repeat(16), "unknown action 99, 8 octets"),
        ];
        for (subheader, message, line) in cases {
            assert_eq!(section(subheader, &message).0, line);
        }
        let (_, bulk) = section("05030001", &"0".repeat(24));
        assert_eq!(
            (&bulk["bulk"], &bulk["id"]),
            (&json!(true), &json!("0000000000000000"))
        );
        let (_, clear) = section("00050001", &name(""));
        assert_eq!(
            (&clear["msg"], &clear["ifname"]),
            (&json!("CLR"), &json!(""))
        );
        let (_, bus) = section("0a030001", "5f3a9c01 00000000 02000000");
        assert_eq!(
            (&bus["status"], &bus["endtime"]),
            (&json!("end"), &json!(0))
        );
        let (_, unknown) = section("63020001", &"0".repeat(16));
        assert_eq!(
            (&unknown["action"], &unknown["len"]),
            (&json!(99), &json!(8))
        );
    }

    #[test]
    fn a_replay_counter_of_ipsec_has_its_line() {
        let (line, tdb) = section(
            "0f0d0001",
            "00001000 1c020000 c0000209 00000000 00000000 00000000 00000000 00000000
             00000000 00000099 00000001 00000000 32010002",
        );
        assert_eq!(
            line,
            "TDB esp spi 00001000 dst 192.0.2.9 rpl 153 4294967296 bytes"
        );
        assert_eq!(
            (&tdb["spi"], &tdb["rpl"]),
            (&json!("00001000"), &json!(153))
        );
        assert_eq!(
            (&tdb["dst"], &tdb["rdomain"]),
            (&json!("192.0.2.9"), &json!(2))
        );
    }

    #[test]
    fn packets_without_a_sender_are_local_and_only_v_shows_the_day() {
        let id = StateId {
            id: 1,
            creatorid: 2,
        };
        let local = Context {
            sender: None,
            ..context(Dialect::V3)
        };
        let mut out = Vec::new();
        text(
            &mut out,
            &local,
            &Message::DeleteCompressed(id),
            Detail::Brief,
        );
        text(
            &mut out,
            &local,
            &Message::DeleteCompressed(id),
            Detail::Verbose,
        );
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "22:13:20.900000 local v3 DEL_C id 0000000000000001 creatorid 00000002\n\
             2023-11-14 22:13:20.900000 local v3 DEL_C id 0000000000000001 creatorid 00000002 \
             packet 7\n"
        );
        let mut out = Vec::new();
        json(
            &mut out,
            &local,
            &Message::DeleteCompressed(id),
            Detail::Brief,
        );
        let start = br#"{"ts":1700000000.900000000,"packet":7,"sender":"local","dialect":"v3","#;
        assert!(out.starts_with(start));
    }

    #[test]
    fn stamps_before_1970_keep_their_sign() {
        let stamp = Wall::new(-1, 500_000_000);
        assert_eq!(Seconds(stamp).to_string(), "-0.500000000");
        assert_eq!(
            format!("{} {}", Date(stamp), TimeOfDay(stamp)),
            "1969-12-31 23:59:59.500000"
        );
        let _ = (
            Date(Wall::from_nanos(i64::MIN)).to_string(),
            Date(Wall::from_nanos(i64::MAX)),
        );
    }

    #[test]
    fn hostile_names_stay_inside_their_field() {
        let name = b"em0\" \\\n\x1b[2J\xff{}";
        for &dialect in Dialect::ALL {
            let octets = state(dialect, 1, UDP, &[(8, name)]);
            let escaped = r"em0\x22\x20\x5c\x0a\x1b[2J\xff{}";
            let line = as_text(dialect, &insert(dialect, &octets), Detail::VeryVerbose);
            assert_eq!(line.split_whitespace().nth(5), Some(escaped), "{line}");
            assert_eq!(
                as_json(dialect, &insert(dialect, &octets))["ifname"],
                escaped
            );
        }
        let tag = state(Dialect::FreeBsd1500, 1, UDP, &[(232, b"a b\xc3\0c")]);
        let insert = insert(Dialect::FreeBsd1500, &tag);
        assert!(
            as_text(Dialect::FreeBsd1500, &insert, Detail::Verbose).contains(r" tag a\x20b\xc3 ")
        );
        assert_eq!(as_json(Dialect::FreeBsd1500, &insert)["tag"], r"a\x20b\xc3");
    }

    #[test]
    fn whatever_octets_a_state_has_each_dialect_prints_it() {
        let mut seed = 1u32;
        for &dialect in Dialect::ALL {
            for _ in 0..200 {
                let octets: Vec<u8> = std::iter::repeat_with(|| {
                    seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    seed.to_be_bytes()[0]
                })
                .take(400)
                .collect();
                let message = insert(dialect, &octets);
                for detail in [Detail::Brief, Detail::Verbose, Detail::VeryVerbose] {
                    as_text(dialect, &message, detail);
                }
                assert_eq!(as_json(dialect, &message)["dialect"], dialect.name());
            }
        }
    }

    #[test]
    fn fields_that_say_nothing_in_a_dialect_are_left_out() {
        for &dialect in Dialect::ALL {
            let octets = state(dialect, 2, TCP, &[]);
            let object = as_json(dialect, &insert(dialect, &octets));
            let has = |key| object.get(key).is_some();
            assert_eq!(has("expire"), dialect.version() > 3);
            assert_eq!(has("state_flags"), dialect.version() > 3);
            assert_eq!(has("flags"), dialect.version() > 3);
            assert_eq!(has("rdomain"), dialect.version() > 5);
            assert_eq!(has("tag"), dialect == Dialect::FreeBsd1500);
            let queues = matches!(dialect, Dialect::FreeBsd1400 | Dialect::FreeBsd1500);
            assert_eq!(has("queues"), queues);
            assert_eq!(object["direction"], "out");
            assert_eq!(object["timeout_name"], "tcp.established");
        }
    }

    #[test]
    fn a_dead_state_says_so_and_sctp_of_freebsd_14_is_not_dead() {
        let line = |dialect, proto, at: usize, timeout: u8| {
            let octets = state(dialect, 1, proto, &[(at, &[timeout])]);
            let line = as_text(dialect, &insert(dialect, &octets), Detail::Brief);
            line.split_once(" timeout ")
                .map(|(_, word)| word.to_owned())
        };
        assert_eq!(
            line(Dialect::OpenBsd47, TCP, 255, 22).as_deref(),
            Some("dead")
        );
        assert_eq!(line(Dialect::FreeBsd1400, SCTP, 239, 22), None);
        assert_eq!(
            timeout_name(Dialect::FreeBsd1400, 22, None),
            "sctp.established"
        );
        assert_eq!(timeout_name(Dialect::FreeBsd1301, 22, None), "dead");
    }

    #[test]
    fn ports_of_icmp_are_read_by_era() {
        // Ports of the outside host and of the inside one, of a state that goes out.
        let icmp = |dialect, far: u16, near: u16| {
            let (far, near) = (far.to_be_bytes(), near.to_be_bytes());
            let at = match dialect {
                Dialect::V2 | Dialect::V3 => [88, 40],
                Dialect::OpenBsd47 => [96, 98],
                _ => [92, 94],
            };
            let octets = state(dialect, 2, ICMP, &[(at[0], &far), (at[1], &near)]);
            let object = as_json(dialect, &insert(dialect, &octets));
            (object["icmp_id"].as_u64(), object["icmp_type"].as_u64())
        };
        for dialect in [Dialect::V2, Dialect::V3] {
            assert_eq!(icmp(dialect, 0, 4660), (Some(4660), None));
        }
        for dialect in [
            Dialect::V4,
            Dialect::FreeBsd9,
            Dialect::OpenBsd45,
            Dialect::FreeBsd1301,
        ] {
            assert_eq!(icmp(dialect, 4660, 4660), (Some(4660), None));
        }
        for dialect in [
            Dialect::OpenBsd45,
            Dialect::FreeBsd1301,
            Dialect::FreeBsd1400,
            Dialect::FreeBsd1500,
            Dialect::OpenBsd47,
        ] {
            assert_eq!(icmp(dialect, 8, 4660), (Some(4660), Some(8)));
            assert_eq!(icmp(dialect, 4660, 8), (Some(4660), Some(8)));
        }
        assert_eq!(icmp(Dialect::OpenBsd47, 4660, 4661), (None, None));
    }

    #[test]
    fn af_to_turns_the_translated_key_round() {
        let (wire, stack) = (24, 64);
        let octets = state(
            Dialect::OpenBsd47,
            1,
            ICMPV6,
            &[
                (
                    wire,
                    &octets(
                        "20010db8 00010000 00000000 00000010 0064ff9b 00000000 00000000 c0000221",
                    ),
                ),
                (wire + 32, &[0x12, 0x34, 0, 128, 0, 0, 24]),
                (stack, &[192, 0, 2, 33]),
                (stack + 16, &[203, 0, 113, 5]),
                (stack + 32, &[0, 128, 0x12, 0x34, 0, 3, 2]),
                (250, &[24]),
            ],
        );
        let line = as_text(
            Dialect::OpenBsd47,
            &insert(Dialect::OpenBsd47, &octets),
            Detail::Verbose,
        );
        let ends = " - ipv6-icmp in 2001:db8:1::10[4660] (203.0.113.5:4660) -> \
                    64:ff9b::c000:221[128] (192.0.2.33:128) icmp-id 4660 icmp-type 128 0:0 age";
        assert!(line.contains(ends), "{line}");
        assert!(line.contains(" nat-rdomain 3 "), "{line}");
        let object = as_json(Dialect::OpenBsd47, &insert(Dialect::OpenBsd47, &octets));
        assert_eq!(
            (&object["af"], &object["nat_af"]),
            (&json!("inet6"), &json!("inet"))
        );
        assert_eq!(
            (&object["proto"], &object["nat_proto"]),
            (&json!(58), &json!(1))
        );
    }

    #[test]
    fn flags_and_routing_have_the_names_of_the_system_that_sent_them() {
        let object = |dialect, at: usize, octets: &[u8]| {
            let octets = state(dialect, 1, TCP, &[(at, octets)]);
            as_json(dialect, &insert(dialect, &octets))
        };
        let flags = |dialect, at, octets: &[u8]| object(dialect, at, octets)["flags"].clone();
        assert_eq!(
            flags(Dialect::OpenBsd47, 260, &[0x02, 0x05]),
            json!(["allow-opts", "pflow", "set-prio"])
        );
        assert_eq!(
            flags(Dialect::FreeBsd1400, 235, &[0x88, 0x04]),
            json!(["0x0004", "0x0800", "dn-queue"])
        );
        assert_eq!(
            flags(Dialect::V4, 236, &[0x0c]),
            json!(["stack-global", "createinprog"])
        );
        assert_eq!(object(Dialect::OpenBsd47, 254, &[3])["rt"], "none");
        let routed = [(168, &[192, 0, 2, 7][..]), (254, &[3])];
        let routed = state(Dialect::OpenBsd47, 1, TCP, &routed);
        let line = as_text(
            Dialect::OpenBsd47,
            &insert(Dialect::OpenBsd47, &routed),
            Detail::Verbose,
        );
        assert!(line.contains(" reply-to rt-addr 192.0.2.7 "), "{line}");
        assert_eq!(object(Dialect::FreeBsd1400, 260, &[3])["rt"], "dup-to");
        assert_eq!(
            object(Dialect::OpenBsd47, 168, &[192, 0, 2, 7])["rt_addr"],
            "192.0.2.7"
        );
        let tables = state(
            Dialect::OpenBsd47,
            1,
            TCP,
            &[(240, &[0, 0, 0, 1, 0, 0, 0, 2])],
        );
        let line = as_text(
            Dialect::OpenBsd47,
            &insert(Dialect::OpenBsd47, &tables),
            Detail::Verbose,
        );
        assert!(line.contains(" rtable 1:2 "), "{line}");
    }
}
