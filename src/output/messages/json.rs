//! A message as a JSON object.

use std::fmt::{self, Display};

use super::{
    Context, Detail, SenderName, StateEnds, States, flags, has_expire, icmp, is_bulk, or_none,
    proto_of_timeout, queues, rt_addr, rt_name, timeout_name, wscale,
};
use crate::output::json::{Number, Object};
use crate::state::{Af, Escaped, StateId};
use crate::time::{NANOS, Wall};
use crate::wire::pfsync::{Bus, Compressed, Dialect, Message, Peer, State, Tdb};

/// Appends `message` to `out` as a line that is one JSON object.
pub fn json(out: &mut Vec<u8>, context: &Context<'_>, message: &Message<'_>, detail: Detail) {
    let dialect = context.dialect;
    let mut object = Object::new(out);
    object.number("ts", Seconds(context.stamp));
    object.number("packet", context.packet);
    object.string("sender", SenderName(context.sender));
    object.string("dialect", context.dialect_name());
    object.number("version", dialect.version());
    object.string("msg", message.action().name());
    match message {
        Message::Insert(state) | Message::Update(state) | Message::Delete(state) => {
            add_state(&mut object, state, detail);
        }
        Message::UpdateCompressed(update) => {
            add_compressed(&mut object, update, dialect, detail);
            add_held(&mut object, context);
        }
        Message::UpdateRequest(id) => {
            add_id(&mut object, *id);
            object.boolean("bulk", is_bulk(*id));
            add_held(&mut object, context);
        }
        Message::DeleteCompressed(id) | Message::InsertAck(id) => {
            add_id(&mut object, *id);
            add_held(&mut object, context);
        }
        Message::Clear(clear) => {
            object.string("ifname", clear.ifname);
            add_creator(&mut object, clear.creatorid);
        }
        Message::Bus(bus) => add_bus(&mut object, bus),
        Message::Tdb(tdb) => add_tdb(&mut object, tdb),
        Message::Unknown { action, len } => {
            object.number("action", *action);
            object.number("len", *len);
        }
    }
    object.end();
    out.push(b'\n');
}

fn add_creator(object: &mut Object<'_>, creatorid: u32) {
    object.string("creatorid", format_args!("{creatorid:08x}"));
}

fn add_id(object: &mut Object<'_>, id: StateId) {
    object.string("id", format_args!("{:016x}", id.id));
    add_creator(object, id.creatorid);
}

/// The state that a message tells only the id of.
fn add_held(object: &mut Object<'_>, context: &Context<'_>) {
    if let Some(held) = context.held {
        let ends = StateEnds::of_held(held);
        object.string("ifname", held.ifname);
        object.number("proto", ends.before.proto);
        object.string("direction", ends.direction.name());
        add_ends(object, &ends);
    }
}

fn add_bus(object: &mut Object<'_>, bus: &Bus) {
    object.string("status", bus.status);
    add_creator(object, bus.creatorid);
    object.number("endtime", bus.endtime);
}

fn add_tdb(object: &mut Object<'_>, tdb: &Tdb) {
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

fn add_compressed(
    object: &mut Object<'_>,
    update: &Compressed<'_>,
    dialect: Dialect,
    detail: Detail,
) {
    add_id(object, update.state);
    let proto = proto_of_timeout(dialect, update.timeout);
    object.number("timeout", update.timeout);
    object.string("timeout_name", timeout_name(dialect, update.timeout, proto));
    let states = States {
        src: update.src,
        dst: update.dst,
        proto,
        timeout: update.timeout,
    };
    add_states(object, &states);
    if update.expire > 0 {
        object.number("expire", update.expire);
    }
    add_peers(object, update.src, update.dst, detail);
}

/// The numbers as they were sent, and what pfctl(8) calls them.
fn add_states(object: &mut Object<'_>, states: &States<'_>) {
    object.number("src_state", states.src.state());
    object.number("dst_state", states.dst.state());
    if let Some([src, dst]) = states.names() {
        object.string("src_state_name", src);
        object.string("dst_state_name", dst);
    }
}

fn add_state(object: &mut Object<'_>, state: &State<'_>, detail: Detail) {
    let ends = StateEnds::of(state);
    let (dialect, proto) = (state.dialect(), ends.before.proto);
    add_id(object, state.state_id());
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
    let states = States {
        src: state.src(),
        dst: state.dst(),
        proto: Some(proto),
        timeout: state.timeout(),
    };
    add_states(object, &states);
    add_ends(object, &ends);
    if let Some(icmp) = icmp(dialect, &ends) {
        object.number("icmp_id", icmp.id);
        if let Some(kind) = icmp.kind {
            object.number("icmp_type", kind);
        }
    }
    add_rule(object, state, &ends);
    add_routing(object, state, &ends);
    add_peers(object, state.src(), state.dst(), detail);
}

fn add_ends(object: &mut Object<'_>, ends: &StateEnds) {
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
fn add_rule(object: &mut Object<'_>, state: &State<'_>, ends: &StateEnds) {
    if let Some(bits) = state.state_flags() {
        object.number("state_flags", bits);
        object.strings("flags", flags(state));
    }
    object.number("anchor", or_none(state.anchor()));
    object.number("nat_rule", or_none(state.nat_rule()));
    object.number("log", state.log());
    add_some(object, "sync_flags", state.sync_flags());
    add_some(object, "updates", state.updates());
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
    add_some(object, "max_mss", state.max_mss());
    add_some(object, "min_ttl", state.min_ttl());
    add_some(object, "set_tos", state.set_tos());
    if let Some(prio) = state.set_prio() {
        object.array("set_prio", prio);
    }
}

/// Where the state's packets are sent: route-to, queues, and names that travel with it.
fn add_routing(object: &mut Object<'_>, state: &State<'_>, ends: &StateEnds) {
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

fn add_some(object: &mut Object<'_>, key: &str, value: Option<impl Number>) {
    if let Some(value) = value {
        object.number(key, value);
    }
}

fn add_peers(object: &mut Object<'_>, src: Peer<'_>, dst: Peer<'_>, detail: Detail) {
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

fn af_name(af: Af) -> &'static str {
    match af {
        Af::Inet => "inet",
        Af::Inet6 => "inet6",
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
    use serde_json::Value;

    use super::super::tests::{WORKED, as_json, context, insert, read, state};
    use super::*;
    use crate::output::words::TCP;

    #[test]
    fn a_state_in_json_has_every_field_of_its_dialect() {
        let (_, insert) = read(WORKED, Detail::Brief).remove(2);
        let all = r#"{
            "ts": 1700000000.9, "packet": 7, "sender": "192.0.2.1", "dialect": "v6",
            "version": 6, "msg": "INS", "id": "6553f10000000001", "creatorid": "5f3a9c01",
            "ifname": "all", "proto": 6, "direction": "out", "age": 1, "timeout": 0,
            "timeout_name": "tcp.first", "expire": 119, "rule": 12, "packets": [1, 0],
            "bytes": [60, 0], "src_state": 2, "dst_state": 0, "src_state_name": "SYN_SENT",
            "dst_state_name": "CLOSED", "af": "inet",
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
    fn a_packet_that_could_be_any_v5_is_called_so() {
        let id = StateId {
            id: 1,
            creatorid: 2,
        };
        let any = Context {
            is_any: true,
            ..context(Dialect::FreeBsd1301)
        };
        let mut out = Vec::new();
        let request = Message::UpdateRequest(id);
        json(&mut out, &any, &request, Detail::Brief);
        let object: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(object["dialect"], "v5");
    }

    #[test]
    fn packets_without_a_sender_are_local_and_stamps_have_nine_decimals() {
        let id = StateId {
            id: 1,
            creatorid: 2,
        };
        let local = Context {
            sender: None,
            ..context(Dialect::V3)
        };
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
        assert_eq!(
            Seconds(Wall::new(-1, 500_000_000)).to_string(),
            "-0.500000000"
        );
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
}
