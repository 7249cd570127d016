//! `show top`: of the states that a filter lets through the few that are first by something, and
//! how many there are in all.
//!
//! ```text
//! table --held, admitted--> totals                        a bounded number of places a step
//!                       `-> heap of the n best --> sorted --> lines, a bounded number a step
//! ```
//! However many states are held, at most [`MAX_SHOWN`] are carried to whoever asks, who may ask
//! again each second. A state that ends while the others are looked at is left out of the lines.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt::Write as _;

use super::states;
use super::view::{AnswerForm, Progress, STEP_OCTETS, STEP_PLACES, View, put};
use crate::config::{Spelling, lookup};
use crate::filter::Filter;
use crate::output::json::Object;
use crate::output::words::Protocol;
use crate::state::{Direction, StateId};
use crate::table::Held;
use crate::time::{Now, Uptime};

/// Most states that one answer shows.
pub const MAX_SHOWN: usize = 1000;
/// States shown if no number is given: what fits a terminal of 24 lines.
pub const SHOWN_UNASKED: usize = 20;

/// What states are put in order by.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Key {
    /// Octets a second, the average over the age.
    #[default]
    Rate,
    /// Octets of both directions.
    Octets,
    /// Packets of both directions.
    Packets,
    /// Seconds since the first packet.
    Age,
    /// Seconds since the last message.
    Silent,
    /// Seconds until the state is given up.
    Expiry,
}

impl Key {
    /// Every key by its word, with what comes first.
    pub const VALUES: &'static [(&'static str, Self, &'static str)] = &[
        ("rate", Self::Rate, "most octets a second"),
        ("octets", Self::Octets, "most octets"),
        ("packets", Self::Packets, "most packets"),
        ("age", Self::Age, "the oldest"),
        ("silent", Self::Silent, "longest without a message"),
        ("expiry", Self::Expiry, "those that end last"),
    ];

    /// Its word.
    pub fn name(self) -> &'static str {
        let mut all = Self::VALUES.iter();
        all.find(|(_, key, _)| *key == self)
            .map_or("", |(name, ..)| name)
    }
}

/// A key, and which end of it comes first.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct SortOrder {
    /// What counts.
    pub key: Key,
    /// Whether the least comes first.
    pub is_reversed: bool,
}

impl SortOrder {
    /// Parses `key` or `-key`.
    ///
    /// # Errors
    /// No such key.
    pub fn parse(word: &str) -> Result<Self, String> {
        let (is_reversed, key) = match word.strip_prefix('-') {
            Some(key) => (true, key),
            None => (false, word),
        };
        let names = Key::VALUES.iter().map(|(name, ..)| *name);
        let name = lookup(names, key, Spelling::Abbreviated)
            .map_err(|problem| format!("{word}: {problem}"))?;
        let mut all = Key::VALUES.iter();
        let key = all.find(|(other, ..)| *other == name);
        Ok(Self {
            key: key.map_or(Key::default(), |(_, key, _)| *key),
            is_reversed,
        })
    }
}

impl std::fmt::Display for SortOrder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.is_reversed { "-" } else { "" })?;
        f.write_str(self.key.name())
    }
}

/// Splits the words behind `show top`: the order, how many, and the filter's words.
///
/// # Errors
/// The word that is wrong and what was expected.
pub fn split<'a, 'w>(
    words: &'a [&'w str],
) -> Result<(SortOrder, Option<usize>, &'a [&'w str]), String> {
    let (order, rest) = match words {
        ["by", key, rest @ ..] => (SortOrder::parse(key)?, rest),
        ["by"] => {
            return Err(
                SortOrder::parse("").map_or_else(|error| format!("by{error}"), |_| String::new())
            );
        }
        rest => (SortOrder::default(), rest),
    };
    let Some((number, filter)) = rest.split_first().filter(|(word, _)| is_number(word)) else {
        return Ok((order, None, rest));
    };
    let count = number.parse().ok();
    let count = count.filter(|count| (1..=MAX_SHOWN).contains(count));
    let count = count.ok_or_else(|| format!("{number}: is not a number from 1 to {MAX_SHOWN}"))?;
    Ok((order, Some(count), filter))
}

fn is_number(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|octet| octet.is_ascii_digit())
}

/// The question.
#[derive(Clone, Debug, PartialEq)]
pub struct TopQuestion {
    order: SortOrder,
    count: usize,
    filter: Option<Filter>,
}

impl TopQuestion {
    /// Parses the words behind `show top`.
    ///
    /// # Errors
    /// The word that is wrong and what was expected.
    pub(super) fn parse(words: &[&str]) -> Result<Self, String> {
        let (order, count, filter) = split(words)?;
        Ok(Self {
            order,
            count: count.unwrap_or(SHOWN_UNASKED),
            filter: states::filter(filter)?,
        })
    }
}

impl TopQuestion {
    /// Puts the filter's times of day on today.
    ///
    /// # Errors
    /// It asks for what is not kept.
    pub(super) fn resolve(&mut self, view: &View<'_>) -> Result<(), String> {
        if let Some(filter) = &self.filter {
            self.filter = Some(states::resolved(view, filter)?);
        }
        Ok(())
    }

    fn admits(&self, state: &Held<'_>, now: Option<Now>) -> bool {
        let (Some(filter), Some(now)) = (&self.filter, now) else {
            return true;
        };
        state.with_subject(now, |subject| filter.admits(subject))
    }
}

/// A state's rank: greater is better, and of equals the one in the earlier place.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Rank {
    score: u64,
    place: Reverse<u32>,
    id: [u64; 2],
}

impl Rank {
    fn id(&self) -> StateId {
        let [id, creatorid] = self.id;
        StateId {
            id,
            creatorid: u32::try_from(creatorid).unwrap_or(0),
        }
    }
}

/// What all that match have in sum.
#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    states: u64,
    packets: u64,
    octets: u64,
}

/// How far the answer is.
#[derive(Clone, Debug, Default)]
pub(super) struct Ranking {
    /// The place that is looked at next.
    place: u32,
    totals: Totals,
    /// The best so far, the worst of them on top.
    best: BinaryHeap<Reverse<Rank>>,
    /// Once all places were looked at: the states to show, best first, and which comes next.
    shown: Option<Shown>,
}

#[derive(Clone, Debug)]
struct Shown {
    ranks: Vec<Rank>,
    next: usize,
    /// Widths of both ends in text.
    widths: [usize; 2],
}

impl Ranking {
    /// Whether no place was looked at yet.
    pub(super) fn is_new(&self) -> bool {
        self.place == 0 && self.shown.is_none()
    }

    fn add(&mut self, top: &TopQuestion, place: u32, state: &Held<'_>, now: Uptime) {
        let sum = |[one, other]: [u64; 2]| one.saturating_add(other);
        let totals = &mut self.totals;
        totals.states += 1;
        totals.packets = totals.packets.saturating_add(sum(state.packets));
        totals.octets = totals.octets.saturating_add(sum(state.octets));
        let score = score(top.order.key, state, now);
        let rank = Rank {
            score: if top.order.is_reversed { !score } else { score },
            place: Reverse(place),
            id: [state.id.id, u64::from(state.id.creatorid)],
        };
        if self.best.len() < top.count {
            self.best.push(Reverse(rank));
        } else if let Some(mut worst) = self.best.peek_mut()
            && rank > worst.0
        {
            *worst = Reverse(rank);
        }
    }
}

/// Appends the next lines, or looks at the next places.
pub(super) fn step(
    view: &View<'_>,
    top: &TopQuestion,
    ranking: &mut Ranking,
    form: AnswerForm,
    out: &mut Vec<u8>,
) -> Progress {
    let table = view.engine.table();
    let Some(shown) = &mut ranking.shown else {
        let end = table
            .places()
            .min(ranking.place.saturating_add(STEP_PLACES));
        // A replay that has not begun holds no states.
        let uptime = view.now.map_or(Uptime::default(), |now| now.uptime);
        for place in ranking.place..end {
            let state = table.held(place);
            if let Some(state) = state.filter(|state| top.admits(state, view.now)) {
                ranking.add(top, place, &state, uptime);
            }
        }
        ranking.place = end;
        if end == table.places() {
            let best = std::mem::take(&mut ranking.best).into_sorted_vec();
            let ranks: Vec<Rank> = best.into_iter().map(|Reverse(rank)| rank).collect();
            let widths = match form {
                AnswerForm::Text => widths(view, &ranks),
                AnswerForm::Json => [0; 2],
            };
            header(top, &ranking.totals, ranks.len(), widths, uptime, form, out);
            ranking.shown = Some(Shown {
                ranks,
                next: 0,
                widths,
            });
        }
        return Progress::More;
    };
    let Some(now) = view.now else {
        return Progress::Done;
    };
    let start = out.len();
    while out.len() - start < STEP_OCTETS {
        let Some(rank) = shown.ranks.get(shown.next) else {
            return Progress::Done;
        };
        shown.next += 1;
        if let Some(state) = found(view, rank) {
            match form {
                AnswerForm::Text => text(&state, now, shown.widths, out),
                AnswerForm::Json => json(&state, now, out),
            }
        }
    }
    Progress::More
}

/// The state that was ranked, if it is still there.
fn found<'a>(view: &View<'a>, rank: &Rank) -> Option<Held<'a>> {
    let state = view.engine.table().held(rank.place.0);
    state.filter(|state| state.id == rank.id())
}

fn seconds(later: i64, earlier: i64) -> u64 {
    u64::try_from(later.saturating_sub(earlier)).unwrap_or(0)
}

/// Octets in a thousand seconds, the average over the age. An age under a second counts as one.
fn millirate(state: &Held<'_>, now: Uptime) -> u64 {
    let octets = state.octets[0].saturating_add(state.octets[1]);
    octets.saturating_mul(1000) / seconds(now.secs(), state.creation).max(1)
}

fn score(key: Key, state: &Held<'_>, now: Uptime) -> u64 {
    match key {
        Key::Rate => millirate(state, now),
        Key::Octets => state.octets[0].saturating_add(state.octets[1]),
        Key::Packets => state.packets[0].saturating_add(state.packets[1]),
        Key::Age => seconds(now.secs(), state.creation),
        Key::Silent => seconds(now.secs(), state.seen.secs()),
        Key::Expiry => seconds(state.due.secs(), now.secs()),
    }
}

/// The initiator and the responder, as text.
fn ends(state: &Held<'_>) -> [String; 2] {
    let [near, far] = states::ends(state);
    match state.direction {
        Direction::Out => [near.to_string(), far.to_string()],
        Direction::In => [far.to_string(), near.to_string()],
    }
}

fn widths(view: &View<'_>, ranks: &[Rank]) -> [usize; 2] {
    let states = ranks.iter().filter_map(|rank| found(view, rank));
    states.fold(["SRC".len(), "DEST".len()], |[one, other], state| {
        let [src, dest] = ends(&state);
        [one.max(src.len()), other.max(dest.len())]
    })
}

fn header(
    top: &TopQuestion,
    totals: &Totals,
    shown: usize,
    widths: [usize; 2],
    uptime: Uptime,
    form: AnswerForm,
    out: &mut Vec<u8>,
) {
    let Totals {
        states,
        packets,
        octets,
    } = *totals;
    match form {
        AnswerForm::Text => {
            put!(
                out,
                "{shown} of {states} states by {}; in all {packets} packets, {octets} octets\n",
                top.order
            );
            let heads = ["SRC", "DEST"].map(str::to_owned);
            let numbers = ["AGE", "EXP", "PKTS", "BYTES", "RATE"].map(str::to_owned);
            row("PR", "DIR", &heads, widths, "STATE", &numbers, out);
        }
        AnswerForm::Json => {
            let mut object = Object::new(out);
            object.string("by", top.order);
            object.number("states", states);
            object.number("packets", packets);
            object.number("octets", octets);
            object.number("uptimeMilliseconds", uptime.nanos() / 1_000_000);
            object.end();
            out.push(b'\n');
        }
    }
}

/// A line of the list.
fn row(
    proto: &str,
    direction: &str,
    [src, dest]: &[String; 2],
    [src_width, dest_width]: [usize; 2],
    timeout: &str,
    [age, expiry, packets, octets, rate]: &[String; 5],
    out: &mut Vec<u8>,
) {
    put!(
        out,
        "{proto:<4} {direction:<3} {src:<src_width$} {dest:<dest_width$} {timeout:<15} \
         {age:>8} {expiry:>8} {packets:>8} {octets:>10} {rate:>9}\n"
    );
}

fn text(state: &Held<'_>, now: Now, widths: [usize; 2], out: &mut Vec<u8>) {
    let uptime = now.uptime;
    let mut proto = String::new();
    // A String takes everything.
    let _ = write!(proto, "{}", Protocol(state.wire.proto));
    let numbers = [
        states::Clock(uptime.secs().saturating_sub(state.creation)).to_string(),
        states::Clock(state.due.secs().saturating_sub(uptime.secs())).to_string(),
        score(Key::Packets, state, uptime).to_string(),
        score(Key::Octets, state, uptime).to_string(),
        (millirate(state, uptime) / 1000).to_string(),
    ];
    row(
        &proto,
        state.direction.name(),
        &ends(state),
        widths,
        states::timeout_name(state.pftm),
        &numbers,
        out,
    );
}

fn json(state: &Held<'_>, now: Now, out: &mut Vec<u8>) {
    let mut object = Object::new(out);
    states::members(&mut object, state, now);
    object.string("quality", state.quality.name());
    object.number("rate", millirate(state, now.uptime) / 1000);
    object.end();
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_before_the_filter_are_told_apart_from_it() {
        let split = |line: &'static str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            split(&words).map(|(order, count, filter)| (order.to_string(), count, filter.join(" ")))
        };
        let parts =
            |order: &str, count, filter: &str| Ok((order.to_owned(), count, filter.to_owned()));
        assert_eq!(split(""), parts("rate", None, ""));
        assert_eq!(split("by oct 5"), parts("octets", Some(5), ""));
        // `age` is a key and a filter's word.
        assert_eq!(split("by -age age 60"), parts("-age", None, "age 60"));
        assert_eq!(
            split("1000 proto tcp"),
            parts("rate", Some(1000), "proto tcp")
        );
        for (line, problem) in [
            (
                "by",
                "by: unknown word, expected one of: rate octets packets age silent expiry",
            ),
            (
                "by size",
                "size: unknown word, expected one of: rate octets packets age silent expiry",
            ),
            ("0", "0: is not a number from 1 to 1000"),
            ("by age 1001", "1001: is not a number from 1 to 1000"),
            (
                "99999999999999999999999",
                "99999999999999999999999: is not a number from 1 to 1000",
            ),
        ] {
            assert_eq!(split(line).unwrap_err(), problem, "{line}");
        }
        let wrong = TopQuestion::parse(&["by", "age", "5", "port", "70000"]);
        assert_eq!(
            wrong.unwrap_err(),
            "70000: not a port, as 443, 1024:65535 or https"
        );
    }

    #[test]
    fn keys_are_named_once_and_in_the_order_they_are_gone_through() {
        for (name, key, _) in Key::VALUES {
            assert_eq!(key.name(), *name);
            let order = SortOrder::parse(&format!("-{name}")).unwrap();
            assert_eq!((order.key, order.is_reversed), (*key, true));
            assert_eq!(order.to_string(), format!("-{name}"));
        }
    }
}
