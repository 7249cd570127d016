//! `show states`: like pfctl -ss -v, narrowed down by a filter, in steps.
//!
//! ```text
//! em0 tcp 192.0.2.1:443 <- 198.51.100.7:51515       tcp.established
//!    age 00:01:22, silent 00:00:03, ends in 24:00:17, 14:12 pkts, 1200:9000 bytes
//!    id: 6553f10000000001 creatorid: 5f3a9c01 sender: 10.0.0.2
//! ```
//! Ends stand as pfctl prints them (pf_print_state.c, `print_state`): the near one first. pfsync's
//! peers' states are not kept, so the timeout a state is in stands where pfctl has those.

use std::fmt::{self, Display};
use std::net::IpAddr;

use super::{At, Form, Progress, STEP_OCTETS, STEP_PLACES, View, put};
use crate::config::{Spelling, lookup};
use crate::output::json::Object;
use crate::output::words::{Endpoint, Protocol, protocol_number};
use crate::state::{Af, Direction, IfName, PFTM, StateKey};
use crate::table::{DELETED, Held, Sender};
use crate::time::{Now, Uptime};

/// What must be true of a state to be listed: all that is given.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    address: Option<(IpAddr, u8)>,
    age: Option<u32>,
    direction: Option<Direction>,
    interface: Option<IfName>,
    port: Option<u16>,
    proto: Option<u8>,
    sender: Option<Sender>,
}

impl Filter {
    /// Parses the words behind `show states`: a name and a value each.
    ///
    /// # Errors
    /// The word that is wrong and what was expected.
    pub(super) fn parse(words: &[&str]) -> Result<Self, String> {
        let mut filter = Self::default();
        let mut words = words.iter().copied();
        while let Some(word) = words.next() {
            let names = super::request::FILTERS.iter().map(|(name, ..)| *name);
            let name = lookup(names, word, Spelling::Abbreviated)
                .map_err(|problem| format!("{word}: {problem}"))?;
            let value = words.next().ok_or_else(|| format!("{name}: no value"))?;
            filter
                .set(name, value)
                .ok_or_else(|| format!("{name}: {value} is no {name}"))?;
        }
        Ok(filter)
    }

    fn set(&mut self, name: &str, value: &str) -> Option<()> {
        match name {
            "address" => self.address = Some(prefix(value)?),
            "age" => self.age = Some(value.parse().ok()?),
            "direction" => {
                let mut both = [Direction::In, Direction::Out].into_iter();
                self.direction = Some(both.find(|direction| direction.name() == value)?);
            }
            "interface" => self.interface = Some(IfName::from(value)),
            "port" => self.port = Some(value.parse().ok()?),
            "proto" => self.proto = Some(protocol_number(value)?),
            _ => {
                self.sender = Some(match value {
                    "local" => Sender::Local,
                    address => Sender::Address(address.parse().ok()?),
                });
            }
        }
        Some(())
    }

    pub(super) fn admits(&self, state: &Held<'_>, now: Uptime) -> bool {
        let keys = [&state.wire, &state.stack];
        let is_within = |(address, bits)| {
            let within = |key: &StateKey| {
                key.addr
                    .iter()
                    .any(|end| is_in_prefix(end.ip(key.af), address, bits))
            };
            keys.into_iter().any(within)
        };
        let age = now.secs().saturating_sub(state.creation);
        self.address.is_none_or(is_within)
            && self.age.is_none_or(|least| age >= i64::from(least))
            && self
                .direction
                .is_none_or(|direction| state.direction == direction)
            && self.interface.is_none_or(|name| state.ifname == name)
            && self
                .port
                .is_none_or(|port| keys.iter().any(|key| key.port.contains(&port)))
            && self
                .proto
                .is_none_or(|proto| keys.iter().any(|key| key.proto == proto))
            && self
                .sender
                .is_none_or(|sender| state.sender.sender == sender)
    }
}

/// `address` or `address/bits`.
fn prefix(text: &str) -> Option<(IpAddr, u8)> {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits)),
        None => (text, None),
    };
    let address: IpAddr = address.trim_matches(['[', ']']).parse().ok()?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let bits = bits.map_or(Some(most), |bits| bits.parse().ok())?;
    (bits <= most).then_some((address, bits))
}

fn is_in_prefix(address: IpAddr, prefix: IpAddr, bits: u8) -> bool {
    let differs = match (address, prefix) {
        (IpAddr::V4(a), IpAddr::V4(b)) => u128::from(u32::from(a) ^ u32::from(b)) << 96,
        (IpAddr::V6(a), IpAddr::V6(b)) => u128::from(a) ^ u128::from(b),
        _ => return false,
    };
    u32::from(bits) <= differs.leading_zeros()
}

/// Appends the next states.
pub(super) fn step(
    view: &View<'_>,
    filter: &Filter,
    at: &mut At,
    form: Form,
    out: &mut Vec<u8>,
) -> Progress {
    let At::Item(place) = at else {
        return Progress::Done;
    };
    let table = view.engine.table();
    let Some(now) = view.now else {
        return Progress::Done;
    };
    let end = table.places().min(place.saturating_add(STEP_PLACES));
    let start = out.len();
    while *place < end && out.len() - start < STEP_OCTETS {
        if let Some(state) = table
            .held(*place)
            .filter(|state| filter.admits(state, now.uptime))
        {
            match form {
                Form::Text => text(&state, now, out),
                Form::Json => json(&state, now, out),
            }
        }
        *place += 1;
    }
    match *place < table.places() {
        true => Progress::More,
        false => Progress::Done,
    }
}

/// One end, and what it is translated to.
pub(super) struct End {
    shown: Endpoint,
    translated: Option<Endpoint>,
}

impl Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shown.fmt(f)?;
        match self.translated {
            Some(translated) => write!(f, " ({translated})"),
            None => Ok(()),
        }
    }
}

/// Both ends, the near one first.
pub(super) fn ends(state: &Held<'_>) -> [End; 2] {
    let (shown, other) = match state.direction {
        Direction::Out => (&state.wire, &state.stack),
        Direction::In => (&state.stack, &state.wire),
    };
    let end = |key: &StateKey, at: usize| {
        let ([a0, a1], [p0, p1]) = (key.addr, key.port);
        let (address, port) = if at == 0 { (a0, p0) } else { (a1, p1) };
        Endpoint::new(key.af, address, port)
    };
    [1, 0].map(|at| {
        let (shown, other) = (end(shown, at), end(other, at));
        End {
            shown,
            translated: (shown != other).then_some(other),
        }
    })
}

/// `hh:mm:ss`.
pub(super) struct Clock(pub(super) i64);

impl Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secs = self.0.max(0);
        write!(
            f,
            "{:02}:{:02}:{:02}",
            secs / 3600,
            secs / 60 % 60,
            secs % 60
        )
    }
}

/// The word of a timeout.
pub(super) fn timeout_name(pftm: u8) -> &'static str {
    let name = PFTM.get(usize::from(pftm)).map_or("", |(name, _)| name);
    if pftm == DELETED { "deleted" } else { name }
}

fn text(state: &Held<'_>, now: Now, out: &mut Vec<u8>) {
    let uptime = now.uptime;
    let [near, far] = ends(state);
    let arrow = match state.direction {
        Direction::Out => "->",
        Direction::In => "<-",
    };
    let ([p0, p1], [o0, o1]) = (state.packets, state.octets);
    put!(
        out,
        "{} {} {near} {arrow} {far}       {}\n   \
         age {}, silent {}, {} {}, {p0}:{p1} pkts, {o0}:{o1} bytes{}\n   \
         id: {:016x} creatorid: {:08x} sender: {}\n",
        state.ifname,
        Protocol(state.wire.proto),
        timeout_name(state.pftm),
        Clock(uptime.secs().saturating_sub(state.creation)),
        Clock(uptime.secs().saturating_sub(state.seen.secs())),
        if state.is_overdue {
            "overdue, ends in"
        } else {
            "ends in"
        },
        Clock(state.due.secs().saturating_sub(uptime.secs())),
        if state.pflow { ", pflow" } else { "" },
        state.id.id,
        state.id.creatorid,
        state.sender.sender,
    );
}

fn json(state: &Held<'_>, now: Now, out: &mut Vec<u8>) {
    let mut object = Object::new(out);
    members(&mut object, state, now);
    object.end();
    out.push(b'\n');
}

/// What is told of a state in JSON.
pub(super) fn members(object: &mut Object<'_>, state: &Held<'_>, now: Now) {
    let uptime = now.uptime;
    object.string("interface", state.ifname);
    object.string("proto", Protocol(state.wire.proto));
    object.string("direction", state.direction.name());
    for (name, key) in [("wire", &state.wire), ("stack", &state.stack)] {
        if name == "wire" || state.wire.translates_to(key) {
            object.object(name, |object| put_key(object, key));
        }
    }
    object.string("timeout", timeout_name(state.pftm));
    object.number("age", uptime.secs().saturating_sub(state.creation).max(0));
    object.number(
        "silent",
        uptime.secs().saturating_sub(state.seen.secs()).max(0),
    );
    object.number(
        "endsIn",
        state.due.secs().saturating_sub(uptime.secs()).max(0),
    );
    object.boolean("overdue", state.is_overdue);
    object.boolean("pflow", state.pflow);
    object.array("packets", state.packets);
    object.array("octets", state.octets);
    object.string("id", format_args!("{:016x}", state.id.id));
    object.string("creatorid", format_args!("{:08x}", state.id.creatorid));
    object.string("sender", state.sender.sender);
}

fn put_key(object: &mut Object<'_>, key: &StateKey) {
    object.string("family", if key.af == Af::Inet { "inet" } else { "inet6" });
    object.strings("addresses", key.addr.map(|address| address.ip(key.af)));
    object.array("ports", key.port);
    if key.rdomain != 0 {
        object.number("rdomain", key.rdomain);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_of_either_family_and_no_longer_than_an_address() {
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        for (text, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
            ("10.0.0.1", "10.0.0.1", "10.0.0.2"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::1"),
            ("[2001:db8::1]", "2001:db8::1", "2001:db8::2"),
            ("0.0.0.0/0", "192.0.2.1", "::"),
        ] {
            let (prefix, bits) = prefix(text).unwrap();
            assert!(is_in_prefix(address(inside), prefix, bits), "{text}");
            assert!(!is_in_prefix(address(outside), prefix, bits), "{text}");
        }
        for text in ["10.0.0.0/33", "10.0.0", "::/129", "10.0.0.0/", "host"] {
            assert_eq!(prefix(text), None, "{text}");
        }
    }

    #[test]
    fn a_filter_names_the_word_that_is_wrong() {
        let error =
            |line: &str| Filter::parse(&line.split_whitespace().collect::<Vec<_>>()).unwrap_err();
        assert_eq!(error("port 70000"), "port: 70000 is no port");
        assert_eq!(error("proto"), "proto: no value");
        assert_eq!(error("a 1"), "a: ambiguous, one of: address age");
        assert!(error("colour red").starts_with("colour: unknown word, expected one of: address"));
    }
}
