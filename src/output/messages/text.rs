//! A message as a line of text.

use std::fmt::{self, Display};
use std::io::Write as _;

use super::{
    Context, Detail, NO_NUMBER, SenderName, StateEnds, States, flags, has_expire, icmp, is_bulk,
    or_none, proto_of_timeout, queues, rt_addr, rt_name, timeout_name, wscale,
};
use crate::output::words::Protocol;
use crate::state::{Escaped, IfName, StateId};
use crate::time::Wall;
use crate::wire::pfsync::{Clear, Compressed, Dialect, Message, Peer, State, Tdb};

/// Writes to a Vec, which takes everything: the result says nothing.
macro_rules! put {
    ($out:expr, $($arg:tt)+) => {{ let _ = write!($out, $($arg)+); }};
}

/// Appends `message` to `out` as a line of text.
pub fn text(out: &mut Vec<u8>, context: &Context<'_>, message: &Message<'_>, detail: Detail) {
    let is_verbose = detail >= Detail::Verbose;
    if is_verbose {
        put!(out, "{} ", Date(context.stamp));
    }
    let (sender, dialect) = (SenderName(context.sender), context.dialect);
    put!(
        out,
        "{} {sender} {} {}",
        TimeOfDay(context.stamp),
        context.dialect_name(),
        message.action().name()
    );
    match message {
        Message::Insert(state) | Message::Update(state) | Message::Delete(state) => {
            put_state(out, state, detail);
        }
        Message::UpdateCompressed(update) => {
            put_held(out, context);
            put_compressed(out, update, dialect, detail);
        }
        Message::UpdateRequest(id) if is_bulk(*id) => put!(out, " bulk request"),
        Message::DeleteCompressed(id) | Message::InsertAck(id) | Message::UpdateRequest(id) => {
            put_held(out, context);
            put_id(out, *id);
        }
        Message::Clear(clear) => put_clear(out, clear),
        Message::Bus(bus) => put!(
            out,
            " {} creatorid {:08x} endtime {}",
            bus.status,
            bus.creatorid,
            HoursMinutesSeconds(bus.endtime)
        ),
        Message::Tdb(tdb) => put_tdb(out, tdb, is_verbose),
        Message::Unknown { action, len } => put!(out, " action {action}, {len} octets"),
    }
    if is_verbose {
        put!(out, " packet {}", context.packet);
    }
    out.push(b'\n');
}

fn put_id(out: &mut Vec<u8>, id: StateId) {
    put!(out, " id {:016x} creatorid {:08x}", id.id, id.creatorid);
}

/// The state that a message tells only the id of.
fn put_held(out: &mut Vec<u8>, context: &Context<'_>) {
    if let Some(held) = context.held {
        let ends = StateEnds::of_held(held);
        put_who(out, held.ifname, &ends);
    }
}

fn put_who(out: &mut Vec<u8>, ifname: IfName, ends: &StateEnds) {
    put!(
        out,
        " {} {} {}",
        Name(ifname),
        Protocol(ends.before.proto),
        ends.direction.name()
    );
    put_ends(out, ends);
}

fn put_clear(out: &mut Vec<u8>, clear: &Clear) {
    put!(out, " creatorid {:08x}", clear.creatorid);
    if clear.ifname.is_empty() {
        put!(out, " on every interface");
    } else {
        put!(out, " on {}", clear.ifname);
    }
}

fn put_tdb(out: &mut Vec<u8>, tdb: &Tdb, is_verbose: bool) {
    put!(out, " {} spi {:08x}", Protocol(tdb.sproto), tdb.spi);
    if let Some((af, address)) = tdb.dst {
        put!(out, " dst {}", address.ip(af));
    }
    put!(out, " rpl {} {} bytes", tdb.rpl, tdb.cur_bytes);
    if is_verbose {
        put_some(out, "updates", u32::from(tdb.updates));
        put_some(out, "rdomain", u32::from(tdb.rdomain));
    }
}

fn put_compressed(out: &mut Vec<u8>, update: &Compressed<'_>, dialect: Dialect, detail: Detail) {
    let states = States {
        src: update.src,
        dst: update.dst,
        proto: proto_of_timeout(dialect, update.timeout),
        timeout: update.timeout,
    };
    put!(
        out,
        " {states} timeout {}",
        timeout_name(dialect, update.timeout, states.proto)
    );
    if update.expire > 0 {
        put!(out, " expires in {}", HoursMinutesSeconds(update.expire));
    }
    put_id(out, update.state);
    if detail >= Detail::VeryVerbose {
        put_peer(out, "src", update.src);
        put_peer(out, "dst", update.dst);
    }
}

fn put_state(out: &mut Vec<u8>, state: &State<'_>, detail: Detail) {
    let ends = StateEnds::of(state);
    let (dialect, proto) = (state.dialect(), ends.before.proto);
    put_who(out, state.ifname(), &ends);
    if let Some(icmp) = icmp(dialect, &ends) {
        put!(out, " icmp-id {}", icmp.id);
        if let Some(kind) = icmp.kind {
            put!(out, " icmp-type {kind}");
        }
    }
    let states = States {
        src: state.src(),
        dst: state.dst(),
        proto: Some(proto),
        timeout: state.timeout(),
    };
    put!(out, " {states} age {}", HoursMinutesSeconds(state.age()));
    if has_expire(dialect) {
        put!(out, " expires in {}", HoursMinutesSeconds(state.expire()));
    }
    let ([sent, received], [out_octets, in_octets]) = (state.packets(), state.octets());
    put!(
        out,
        " {sent}:{received} pkts {out_octets}:{in_octets} bytes"
    );
    put_number(out, "anchor", state.anchor());
    put_number(out, "rule", state.rule());
    put_id(out, state.state_id());
    put_flags(out, state);
    if detail >= Detail::Verbose || dialect.is_dead(state.timeout(), proto) {
        let word = timeout_name(dialect, state.timeout(), Some(proto));
        put!(out, " timeout {word}");
    }
    if detail >= Detail::Verbose {
        put_rest(out, state, &ends);
    }
    if detail >= Detail::VeryVerbose {
        put_peer(out, "src", state.src());
        put_peer(out, "dst", state.dst());
    }
}

/// `src (translated) -> dst (translated)`, the parentheses where there is something to say.
fn put_ends(out: &mut Vec<u8>, ends: &StateEnds) {
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
fn put_flags(out: &mut Vec<u8>, state: &State<'_>) {
    for (n, flag) in flags(state).enumerate() {
        put!(out, "{}{flag}", if n == 0 { " [" } else { "," });
    }
    if flags(state).next().is_some() {
        out.push(b']');
    }
}

/// What else the state has, where it says something.
fn put_rest(out: &mut Vec<u8>, state: &State<'_>, ends: &StateEnds) {
    if state.dialect().version() > 3 {
        put_number(out, "nat-rule", state.nat_rule());
    }
    put_some(out, "log", u32::from(state.log()));
    put_some(
        out,
        "sync-flags",
        u32::from(state.sync_flags().unwrap_or(0)),
    );
    put_some(out, "updates", u32::from(state.updates().unwrap_or(0)));
    put_rtable(out, state);
    put_some(out, "rdomain", u32::from(ends.before.rdomain));
    if ends.after.rdomain != ends.before.rdomain {
        put!(out, " nat-rdomain {}", ends.after.rdomain);
    }
    put_some(out, "max-mss", u32::from(state.max_mss().unwrap_or(0)));
    put_some(out, "min-ttl", u32::from(state.min_ttl().unwrap_or(0)));
    put_some(out, "set-tos", u32::from(state.set_tos().unwrap_or(0)));
    if let Some([prio, low_delay]) = state.set_prio().filter(|prio| *prio != [0, 0]) {
        put!(out, " set-prio {prio},{low_delay}");
    }
    if let Some(rt) = rt_name(state).filter(|rt| *rt != "none") {
        put!(out, " {rt}");
    }
    if let Some(address) = rt_addr(state, ends) {
        put!(out, " rt-addr {address}");
    }
    put_name(out, "rt-ifname", state.rt_ifname());
    for (key, queue) in queues(state).into_iter().flatten() {
        put_some(out, key, u32::from(queue));
    }
    put_name(out, "orig-ifname", state.orig_ifname());
    if let Some(tag) = state.tagname().filter(|tag| !tag.is_empty()) {
        put!(out, " tag {}", Escaped(tag));
    }
}

/// The routing tables, unless they are the default one or none.
fn put_rtable(out: &mut Vec<u8>, state: &State<'_>) {
    let [Some(first), second] = state.rtableid() else {
        return;
    };
    let second = second.unwrap_or(first);
    if [first, second]
        .iter()
        .all(|table| matches!(*table, 0 | NO_NUMBER))
    {
        return;
    }
    put!(out, " rtable {}", or_none(first));
    if second != first {
        put!(out, ":{}", or_none(second));
    }
}

/// A number that is none when all ones.
fn put_number(out: &mut Vec<u8>, key: &str, value: u32) {
    if value != NO_NUMBER {
        put!(out, " {key} {value}");
    }
}

/// A number that says nothing when 0.
fn put_some(out: &mut Vec<u8>, key: &str, value: u32) {
    if value != 0 {
        put!(out, " {key} {value}");
    }
}

fn put_name(out: &mut Vec<u8>, key: &str, name: Option<IfName>) {
    if let Some(name) = name.filter(|name| !name.is_empty()) {
        put!(out, " {key} {name}");
    }
}

/// The window of a peer that has one, as pfctl prints it: `[seqlo + room](+seqdiff)`.
fn put_peer(out: &mut Vec<u8>, key: &str, peer: Peer<'_>) {
    let (seqlo, seqhi) = (peer.seqlo(), peer.seqhi());
    if seqlo != 0 || seqhi != 0 || peer.max_win() != 0 {
        put!(out, " {key} [{seqlo} + {}]", seqhi.wrapping_sub(seqlo));
        if peer.seqdiff() != 0 {
            put!(out, "(+{})", peer.seqdiff());
        }
        put_some(out, "win", u32::from(peer.max_win()));
        put_some(out, "mss", u32::from(peer.mss()));
        put_some(out, "wscale", u32::from(wscale(peer)));
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

/// Seconds as hh:mm:ss; as many hours as it takes.
struct HoursMinutesSeconds(u32);

impl Display for HoursMinutesSeconds {
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

#[cfg(test)]
mod tests {
    use super::super::tests::{WORKED, as_text, context, insert, read, state};
    use super::*;
    use crate::output::words::{SCTP, TCP};

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
    }

    #[test]
    fn stamps_before_1970_are_on_the_day_before() {
        let stamp = Wall::new(-1, 500_000_000);
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
}
