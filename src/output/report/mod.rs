//! A report of all flows as one HTML file: `-o html`.
//!
//! ```text
//! flows -> sums by protocol and quality, by key (tally), by time (bins)
//!       -> the largest and the longest, in heaps that are bounded
//! end   -> <style> page.css, uPlot </style> page.html
//!          <script type="application/json"> all of that </script>
//!          <script> uPlot, page.js </script>
//! ```
//! Data enters the page in one place, as JSON in which `<` is escaped, and the script puts it in as
//! text. The page's policy lets nothing but its own two scripts and its style in, so that it asks
//! no network. uPlot is by Leon Sorokin, its licence stands beside it.

mod bins;

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::fmt::{self, Display};
use std::io::Write;

use self::bins::Bins;
use super::flows::ends;
use super::json::{Object, quote};
use super::page::Page;
use super::tally::{By, Carried, Measure, Tally, TallyKey};
use super::words::Protocol;
use crate::counters::ProtocolCounters;
use crate::flow::{Flow, Passage, Tuple};
use crate::icmp::is_icmp;
use crate::state::IfName;
use crate::time::Wall;

/// Flows in the table: those with most octets.
pub const MAX_ROWS: usize = 100_000;
/// Flows in the list of those that lasted longest.
const LONGEST: usize = 10;
/// Lines of a list of most octets.
const LINES: usize = 10;
/// Keys held for each of those lists, and twice as many for a while.
pub const MAX_KEYS: usize = 16_384;
/// Flows that are printed at a time.
const PIECE: usize = 4096;

const HTML: &str = include_str!("page.html");
const CSS: [&str; 2] = [
    include_str!("uplot/uPlot.min.css"),
    include_str!("page.css"),
];
/// With uPlot's licence, which goes where it goes.
const SCRIPT: [&str; 5] = [
    "/*!\n",
    include_str!("uplot/LICENSE"),
    "\n*/\n",
    include_str!("uplot/uPlot.iife.min.js"),
    include_str!("page.js"),
];

/// The lists: a name, what goes before a key to find its rows, what it is of.
const TOPS: [(&str, &str, By); 6] = [
    ("Hosts", "=", By::Host),
    ("Ports of responders", "=:", By::Port),
    ("Addresses after translation", "", By::Nat),
    ("Firewalls", "=", By::Firewall),
    ("Interfaces", "=", By::Interface),
    ("Rules", "=rule:", By::Rule),
];

/// A flow in the table.
#[derive(Clone, Debug)]
struct Row {
    /// Milliseconds since 1970, and how many seconds it lasted.
    begin: u64,
    seconds: u64,
    direction: &'static str,
    tuple: Tuple,
    translated: Option<Tuple>,
    packets: [u64; 2],
    octets: [u64; 2],
    interface: IfName,
    egress: Option<IfName>,
    rule: Option<TallyKey>,
    firewall: Option<TallyKey>,
    quality: u8,
    end: u8,
}

impl Row {
    fn of(flow: &Flow, passage: &Passage) -> Self {
        let (mut packets, mut octets) = ([0; 2], [0; 2]);
        for record in flow.records() {
            let [forward, back] = [&mut packets, &mut octets];
            let (sent, received) = (record.packets, record.octets);
            let place = usize::from(record.reverse);
            for (counts, count) in [(forward, sent), (back, received)] {
                if let Some(at) = counts.get_mut(place) {
                    *at = count;
                }
            }
        }
        let egress = passage.egress.map(|(name, _)| name);
        Self {
            begin: flow.times.start_ms(),
            seconds: seconds(flow),
            direction: match egress {
                Some(_) => "fwd",
                None => flow.direction.name(),
            },
            tuple: flow.tuple,
            translated: flow.translated,
            packets,
            octets,
            interface: flow.ifname,
            egress,
            rule: flow.detail.as_ref().and_then(TallyKey::rule),
            firewall: flow.detail.map(|detail| TallyKey::Firewall(detail.sender)),
            quality: flow.quality as u8,
            end: flow.end_reason(),
        }
    }

    fn put(&self, out: &mut Vec<u8>) {
        let mut array = Array::new(out);
        array.number(self.begin / 1000);
        array.number(self.seconds);
        array.text(Protocol(self.tuple.proto));
        array.text(self.direction);
        let (src, dst) = ends(&self.tuple);
        for end in [src, dst] {
            array.text(end.ip);
            let port = if is_icmp(self.tuple.proto) {
                0
            } else {
                end.port
            };
            array.number(port.into());
        }
        array.text(Translated(self));
        let ([octets, octets_back], [packets, packets_back]) = (self.octets, self.packets);
        for number in [octets, octets_back, packets, packets_back] {
            array.number(number);
        }
        match &self.egress {
            Some(egress) => array.text(format_args!("{} > {egress}", self.interface)),
            None => array.text(self.interface),
        }
        for key in [&self.rule, &self.firewall] {
            match key {
                Some(key) => array.text(key),
                None => array.text(""),
            }
        }
        array.number(self.quality.into());
        array.number(self.end.into());
        array.end();
    }
}

/// The ends that translation changed: `198.51.100.1:61952`, `> 10.0.0.5:80`, or both.
struct Translated<'a>(&'a Row);

impl Display for Translated<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(after) = &self.0.translated else {
            return Ok(());
        };
        let (src, dst) = ends(after);
        let (src_before, dst_before) = ends(&self.0.tuple);
        match (src == src_before, dst == dst_before) {
            (false, true) => src.fmt(f),
            (true, false) => write!(f, "> {dst}"),
            _ => write!(f, "{src} > {dst}"),
        }
    }
}

fn seconds(flow: &Flow) -> u64 {
    let times = flow.times;
    times.end_ms().saturating_sub(times.start_ms()) / 1000
}

/// A flow and its rank. Of equal flows, the one that ended first is the larger.
#[derive(Clone, Debug)]
struct Ranked {
    rank: (u64, Reverse<u64>),
    row: Row,
}

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.rank == other.rank
    }
}

impl Eq for Ranked {}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> Ordering {
        self.rank.cmp(&other.rank)
    }
}

/// The flows of the highest ranks.
#[derive(Clone, Debug)]
struct Highest {
    most: usize,
    heap: BinaryHeap<Reverse<Ranked>>,
}

impl Highest {
    fn new(most: usize) -> Self {
        let heap = BinaryHeap::new();
        Self { most, heap }
    }

    fn offer(&mut self, value: u64, number: u64, row: impl FnOnce() -> Row) {
        let rank = (value, Reverse(number));
        if self.heap.len() >= self.most {
            match self.heap.peek() {
                Some(Reverse(least)) if least.rank < rank => drop(self.heap.pop()),
                _ => return,
            }
        }
        self.heap.push(Reverse(Ranked { rank, row: row() }));
    }

    /// Those, the highest first.
    fn take(&mut self) -> Vec<Row> {
        let sorted = std::mem::take(&mut self.heap).into_sorted_vec();
        sorted.into_iter().map(|Reverse(one)| one.row).collect()
    }
}

/// How far it is printed.
#[derive(Clone, Debug)]
enum Stage {
    Collecting,
    /// So many rows are printed.
    Rows(Vec<Row>, usize),
    Done,
}

/// Everything that the page shows.
#[derive(Clone, Debug)]
pub(super) struct Report {
    total: Carried,
    records: u64,
    protocols: ProtocolCounters,
    /// Packets by the same protocols.
    packets: Vec<u64>,
    /// Milliseconds of the earliest begin and the latest end.
    span: Option<(u64, u64)>,
    bins: Bins,
    tallies: Vec<Tally>,
    largest: Highest,
    longest: Highest,
    stage: Stage,
}

impl Report {
    pub(super) fn new() -> Self {
        Self::with_rows(MAX_ROWS)
    }

    fn with_rows(rows: usize) -> Self {
        let tallies = TOPS
            .iter()
            .map(|(.., by)| Tally::new(*by, Measure::Octets, MAX_KEYS));
        Self {
            total: Carried::default(),
            records: 0,
            protocols: ProtocolCounters::default(),
            packets: vec![0; ProtocolCounters::COUNT],
            span: None,
            bins: Bins::default(),
            tallies: tallies.collect(),
            largest: Highest::new(rows),
            longest: Highest::new(LONGEST),
            stage: Stage::Collecting,
        }
    }

    /// The first packet came at `stamp`: the chart begins there.
    pub(super) fn begin(&mut self, stamp: Wall) {
        self.bins.begin(stamp.secs());
    }

    pub(super) fn add(&mut self, flow: &Flow, passage: &Passage) {
        let number = self.total.flows;
        let amount = Carried::of_flow(flow);
        self.total.add(&amount);
        self.records += flow.records().count() as u64;
        let proto = flow.tuple.proto;
        let class = ProtocolCounters::place(proto);
        self.protocols
            .add(proto, flow.quality as usize, amount.octets);
        if let Some(packets) = self.packets.get_mut(class) {
            *packets = packets.saturating_add(amount.packets);
        }
        let (start, end) = (flow.times.start_ms(), flow.times.end_ms());
        let (first, last) = self.span.unwrap_or((start, end));
        self.span = Some((first.min(start), last.max(end)));
        self.bins
            .add(class, (start / 1000, end / 1000), amount.octets);
        for tally in &mut self.tallies {
            tally.add(flow);
        }
        let row = || Row::of(flow, passage);
        self.largest.offer(amount.octets, number, row);
        self.longest.offer(seconds(flow), number, row);
    }

    /// Appends the next piece of the page; whether there is more.
    pub(super) fn print_some(&mut self, out: &mut Vec<u8>, page: &Page) -> bool {
        let mut json = Vec::new();
        match &mut self.stage {
            Stage::Collecting => {
                let rows = self.largest.take();
                self.put_head(out);
                self.put_sums(&mut json, page, &rows);
                json.extend(b",\"rows\":[");
                self.stage = Stage::Rows(rows, 0);
            }
            Stage::Rows(rows, done) => {
                let left = rows.get(*done..).unwrap_or_default();
                for row in left.iter().take(PIECE) {
                    if *done > 0 {
                        json.push(b',');
                    }
                    row.put(&mut json);
                    json.push(b'\n');
                    *done += 1;
                }
                if *done == rows.len() {
                    json.extend(b"]}");
                    put_data(out, &json);
                    put_tail(out);
                    self.stage = Stage::Done;
                    return false;
                }
            }
            Stage::Done => return false,
        }
        put_data(out, &json);
        true
    }

    fn put_head(&self, out: &mut Vec<u8>) {
        let hash = |text: &str| {
            let digest = openssl::sha::sha256(text.as_bytes());
            openssl::base64::encode_block(&digest)
        };
        // Writing to a Vec does not fail.
        let _ = write!(
            out,
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; \
             img-src data:; style-src 'sha256-{}'; script-src 'sha256-{}'\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <link rel=\"icon\" href=\"data:,\">\n<title>pflow</title>\n\
             <style>{}</style>\n</head>\n<body>\n{HTML}<script type=\"application/json\" id=\"data\">",
            hash(&CSS.concat()),
            hash(&SCRIPT.concat()),
            CSS.concat(),
        );
    }

    /// The members of the data but the rows; the object stays open.
    fn put_sums(&mut self, json: &mut Vec<u8>, page: &Page, rows: &[Row]) {
        let (begin, end) = self.span.unwrap_or_default();
        let mut object = Object::new(json);
        object.string("title", &page.title);
        object.string("program", concat!("pflow ", env!("CARGO_PKG_VERSION")));
        object.number("flows", self.total.flows);
        object.number("records", self.records);
        object.number("packets", self.total.packets);
        object.number("octets", self.total.octets);
        object.number("begin", begin / 1000);
        object.number("end", end / 1000);
        let shown = rows.iter().flat_map(|row| row.octets);
        let shown = shown.fold(0, u64::saturating_add);
        let left_out = [
            self.total.flows - rows.len() as u64,
            self.total.octets.saturating_sub(shown),
        ];
        object.array("left_out", left_out);
        self.put_protocols(&mut object);
        object.object("chart", |object| self.put_chart(object));
        let tallies = TOPS.iter().zip(&self.tallies);
        object.objects("tops", tallies, |object, ((name, prefix, _), tally)| {
            object.string("name", name);
            object.string("prefix", prefix);
            put_top(object, tally);
        });
        let longest = self.longest.take();
        object.raw("longest", |out| {
            let mut array = Array::new(out);
            longest.iter().for_each(|row| array.raw(|out| row.put(out)));
        });
        object.end();
        // Rows follow in the same object.
        json.pop();
    }

    fn put_protocols(&self, object: &mut Object<'_>) {
        let protocols = self.protocols.iter().zip(&self.packets);
        object.objects(
            "protocols",
            protocols,
            |object, ((name, counters), packets)| {
                object.string("name", name);
                object.number("packets", *packets);
                let flows = [counters.exact, counters.estimated, counters.partial];
                object.array("flows", flows);
                let octets = [
                    counters.exact_octets,
                    counters.estimated_octets,
                    counters.partial_octets,
                ];
                object.array("octets", octets);
            },
        );
    }

    fn put_chart(&self, object: &mut Object<'_>) {
        object.number("start", self.bins.start());
        object.number("step", self.bins.step());
        object.number("before", self.bins.before());
        object.raw("series", |out| {
            let mut series = Array::new(out);
            for class in 0..ProtocolCounters::COUNT {
                series.raw(|out| {
                    let mut octets = Array::new(out);
                    self.bins.of(class).for_each(|number| octets.number(number));
                });
            }
        });
    }
}

/// The largest sums of one key.
fn put_top(object: &mut Object<'_>, tally: &Tally) {
    let largest = tally.largest(LINES);
    object.array("others", [largest.other_keys, largest.others.octets]);
    object.number("keyless", tally.keyless().octets);
    object.number("lacking", tally.lacking());
    object.raw("rows", |out| {
        let mut lines = Array::new(out);
        for (key, amount) in &largest.rows {
            lines.raw(|out| {
                let mut line = Array::new(out);
                line.text(key);
                line.number(amount.flows);
                line.number(amount.packets);
                line.number(amount.octets);
                line.number(amount.exact);
            });
        }
    });
}

fn put_tail(out: &mut Vec<u8>) {
    // Writing to a Vec does not fail.
    let _ = write!(
        out,
        "</script>\n<script>{}</script>\n</body>\n</html>\n",
        SCRIPT.concat()
    );
}

/// Puts JSON into the page: without a `<` nothing in it can end the element that it is in. One stands
/// in strings only, where it can be escaped.
fn put_data(out: &mut Vec<u8>, json: &[u8]) {
    for octet in json {
        match octet {
            b'<' => out.extend(b"\\u003c"),
            octet => out.push(*octet),
        }
    }
}

/// An array of JSON that is open. Dropping it closes it.
struct Array<'a> {
    out: &'a mut Vec<u8>,
    is_empty: bool,
}

impl<'a> Array<'a> {
    fn new(out: &'a mut Vec<u8>) -> Self {
        out.push(b'[');
        Self {
            out,
            is_empty: true,
        }
    }

    fn raw(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        if !std::mem::replace(&mut self.is_empty, false) {
            self.out.push(b',');
        }
        write(self.out);
    }

    fn number(&mut self, number: u64) {
        self.raw(|out| {
            // Writing to a Vec does not fail.
            let _ = write!(out, "{number}");
        });
    }

    fn text(&mut self, text: impl Display) {
        self.raw(|out| quote(out, text));
    }

    fn end(self) {}
}

impl Drop for Array<'_> {
    fn drop(&mut self) {
        self.out.push(b']');
    }
}

#[cfg(test)]
mod tests;
