//! `show states`: like pfctl -ss -v, narrowed down by a filter, in steps.
//!
//! ```text
//! em0 tcp 192.0.2.1:443 <- 198.51.100.7:51515       tcp.established
//!    age 00:01:22, silent 00:00:03, ends in 24:00:17, 14:12 pkts, 1200:9000 bytes
//!    id: 6553f10000000001 creatorid: 5f3a9c01 sender: 10.0.0.2
//! ```
//! Ends stand as pfctl prints them (pf_print_state.c, `print_state`): the near one first. pfsync's
//! peers' states are not kept. Where pfctl has them, the name of the state's timeout stands.

use std::fmt::{self, Display};

use super::view::{AnswerForm, Progress, STEP_OCTETS, STEP_PLACES, View, put};
use crate::filter::Filter;
use crate::output::json::Object;
use crate::output::words::{Endpoint, Protocol};
use crate::state::{Af, Direction, PFTM, StateKey};
use crate::table::{DELETED, Held};
use crate::time::Now;
use crate::word::Spelling;

/// Reads the filter behind `show states`; `None`: there is none.
///
/// # Errors
/// The word that is wrong and what was expected.
pub(super) fn filter(words: &[&str]) -> Result<Option<Filter>, String> {
    match words {
        [] => Ok(None),
        words => Filter::parse(&words.join(" "), Spelling::Abbreviated)
            .map(Some)
            .map_err(|error| error.to_string()),
    }
}

/// A filter with its times of day on today.
///
/// # Errors
/// It asks for what is not kept.
pub(super) fn resolved(view: &View<'_>, filter: &Filter) -> Result<Filter, String> {
    if filter.needs_rules() && !view.engine.table().has_details() {
        return Err(
            "rule: rules are not kept, because no interface with template full or only asks"
                .to_owned(),
        );
    }
    let today = view.now.map_or_else(Default::default, |now| now.wall);
    Ok(filter.resolved(today, view.engine.zone()))
}

/// Appends the next states.
pub(super) fn step(
    view: &View<'_>,
    filter: Option<&Filter>,
    place: &mut u32,
    form: AnswerForm,
    out: &mut Vec<u8>,
) -> Progress {
    let table = view.engine.table();
    let Some(now) = view.now else {
        return Progress::Done;
    };
    let end = table.places().min(place.saturating_add(STEP_PLACES));
    let start = out.len();
    while *place < end && out.len() - start < STEP_OCTETS {
        let is_meant = |state: &Held<'_>| {
            filter.is_none_or(|filter| state.with_subject(now, |subject| filter.admits(subject)))
        };
        if let Some(state) = table.held(*place).filter(is_meant) {
            match form {
                AnswerForm::Text => text(&state, now, out),
                AnswerForm::Json => json(&state, now, out),
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
