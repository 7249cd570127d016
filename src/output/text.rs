//! Exported flows as lines for people, as wide as the page.
//!
//! ```text
//! 2023 CET       sec pr   pkts bytes initiator > responder
//! 11-14 23:13:25  0s udp     1  1110 10.1.203.150:42491 > 151.15.176.72:443
//!     nat 198.51.100.3:50338 > 151.15.176.72:443
//! 11-14 23:13:25  0s udp     2   152 10.1.203.150:42491 < 151.15.176.72:443
//! ```
//! The initiator always stands first. The arrow shows the direction of the record's packets. Text
//! that does not fit goes on in the next line behind an indent, so no line is longer than the page.
//! From [`WIDE`] columns on there are the year, seconds in full, and the direction of the state.

use std::fmt::{Arguments, Display};
use std::io::Write;

use super::flows::{ends, icmp};
use super::page::{Digits, InYear, Local, MIN_COLUMNS, Page};
use super::words::Protocol;
use crate::flow::{Flow, Passage, Quality, Record};

/// Columns from which lines have all there is.
pub const WIDE: usize = 110;

/// What begins a line that goes on with another.
const INDENT: &str = "    ";

/// Widths of numbers: seconds, packets, octets. A number that needs more takes it.
#[derive(Clone, Copy)]
struct Widths {
    seconds: usize,
    packets: usize,
    octets: usize,
}

/// With these a record of TCP over IPv4 has 80 columns at most on a terminal.
const TIGHT: Widths = Widths {
    seconds: 3,
    packets: 4,
    octets: 5,
};
/// With these exact numbers mostly stand below each other.
const LOOSE: Widths = Widths {
    seconds: 4,
    packets: 5,
    octets: 8,
};
const FULL: Widths = Widths {
    seconds: 6,
    packets: 9,
    octets: 12,
};

fn widths(page: &Page) -> Widths {
    match (page.columns >= WIDE, page.is_terminal) {
        (true, _) => FULL,
        (false, true) => TIGHT,
        (false, false) => LOOSE,
    }
}

/// Appends the line that names the columns; `millis` is the time of the first record.
pub fn header(out: &mut Vec<u8>, page: &Page, millis: u64) {
    let zone = Local::new(page, millis).year_and_zone(page);
    let Widths {
        seconds,
        packets,
        octets,
    } = widths(page);
    // Writing to a Vec does not fail.
    let _ = if page.columns >= WIDE {
        let begin = format!("begin, {}", zone.get(5..).unwrap_or_default());
        write!(
            out,
            "{begin:<19} {:>seconds$} {:<9} {:<3} {:>packets$} {:>octets$}",
            "sec", "pr", "dir", "pkts", "bytes"
        )
    } else {
        write!(
            out,
            "{zone:<14} {:>seconds$} {:<4} {:>packets$} {:>octets$}",
            "sec", "pr", "pkts", "bytes"
        )
    };
    out.extend(b" initiator > responder\n");
}

/// Appends the records of `flow`.
pub fn text(out: &mut Vec<u8>, page: &Page, flow: &Flow, passage: &Passage) {
    for record in flow.records() {
        let start = out.len();
        let widths = widths(page);
        let lines = put_record(out, page, widths, flow, &record, passage);
        // Numbers move together before words move down.
        if lines > 1 && widths.octets == LOOSE.octets {
            let loose = out.split_off(start);
            if put_record(out, page, TIGHT, flow, &record, passage) == lines {
                out.truncate(start);
                out.extend(loose);
            }
        }
    }
}

/// Appends a record; how many lines it takes.
fn put_record(
    out: &mut Vec<u8>,
    page: &Page,
    widths: Widths,
    flow: &Flow,
    record: &Record,
    passage: &Passage,
) -> usize {
    let mut line = Line::new(out, page);
    put_columns(&mut line, page, widths, flow, record, passage);
    let arrow = if record.reverse { '<' } else { '>' };
    // As the state has them, whichever way the record goes.
    let (mut src, mut dst) = ends(&flow.tuple);
    let icmp = icmp(flow);
    if icmp.is_some() {
        (src.port, dst.port) = (0, 0);
    }
    line.ends("", src, arrow, dst);
    if let Some(icmp) = icmp {
        line.put(format_args!("icmp-id {}", icmp.id));
        if let Some(kind) = icmp.kind {
            line.put(format_args!("icmp-type {kind}"));
        }
    }
    if let Some(translated) = &flow.translated {
        let (src, dst) = ends(translated);
        line.ends("nat ", src, arrow, dst);
    }
    if flow.quality != Quality::Exact {
        line.put(format_args!("{}", flow.quality.name()));
    }
    line.end()
}

fn put_columns(
    line: &mut Line<'_>,
    page: &Page,
    widths: Widths,
    flow: &Flow,
    record: &Record,
    passage: &Passage,
) {
    let (start, end) = (flow.times.start_ms(), flow.times.end_ms());
    let seconds = end.saturating_sub(start) / 1000;
    let time = Local::new(page, start);
    let proto = Protocol(record.tuple.proto);
    let told = |number, short: fn(u64) -> Digits| match page.is_terminal {
        true => short(number),
        false => Digits::Exact(number),
    };
    if page.columns >= WIDE {
        let direction = match passage.egress {
            Some(_) => "fwd",
            None => flow.direction.name(),
        };
        line.put(format_args!("{time}"));
        line.put(format_args!("{seconds:>0$}", widths.seconds));
        line.put(format_args!("{proto:<9}"));
        line.put(format_args!("{direction:<3}"));
        line.put(format_args!("{:>1$}", record.packets, widths.packets));
    } else {
        let seconds = told(seconds, Digits::Span);
        let packets = told(record.packets, Digits::Shorter);
        line.put(format_args!("{}", InYear(time)));
        line.put(format_args!("{seconds:>0$}", widths.seconds));
        line.put(format_args!("{proto:<4}"));
        line.put(format_args!("{packets:>0$}", widths.packets));
    }
    let octets = told(record.octets, Digits::Short);
    line.put(format_args!("{octets:>0$}", widths.octets));
}

/// A line that is written word by word, and goes on in the next where a word does not fit.
struct Line<'a> {
    out: &'a mut Vec<u8>,
    columns: usize,
    /// How many of them are used.
    at: usize,
    lines: usize,
}

impl<'a> Line<'a> {
    fn new(out: &'a mut Vec<u8>, page: &Page) -> Self {
        Self {
            out,
            columns: page.columns.max(MIN_COLUMNS),
            at: 0,
            lines: 1,
        }
    }

    /// Puts a word behind a space.
    fn put(&mut self, word: Arguments<'_>) {
        let start = self.out.len();
        if self.at > 0 {
            self.out.push(b' ');
        }
        // A Vec takes every write, and what is written is ASCII.
        let _ = self.out.write_fmt(word);
        let len = self.out.len() - start;
        if self.at > 0 && self.at + len > self.columns {
            let broken = b"\n".iter().chain(INDENT.as_bytes()).copied();
            self.out.splice(start..=start, broken);
            self.at = INDENT.len() + len - 1;
            self.lines += 1;
        } else {
            self.at += len;
        }
    }

    /// Puts two ends, which stay together where a line has room for both.
    fn ends(&mut self, label: &str, src: impl Display, arrow: char, dst: impl Display) {
        let (start, at, lines) = (self.out.len(), self.at, self.lines);
        self.put(format_args!("{label}{src} {arrow} {dst}"));
        if self.at > self.columns {
            self.out.truncate(start);
            (self.at, self.lines) = (at, lines);
            self.put(format_args!("{label}{src} {arrow}"));
            self.put(format_args!("{dst}"));
        }
    }

    /// Ends it; how many lines it became.
    fn end(self) -> usize {
        self.out.push(b'\n');
        self.lines
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::flow::{Boot, Times, Tuple};
    use crate::state::{Address, Af, Direction};
    use crate::time::{Now, Wall};

    fn tuple(src: (&str, u16), dst: (&str, u16), proto: u8) -> Tuple {
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let af = if address(src.0).is_ipv4() {
            Af::Inet
        } else {
            Af::Inet6
        };
        Tuple {
            af,
            proto,
            src: Address::from(address(src.0)),
            dst: Address::from(address(dst.0)),
            sport: src.1,
            dport: dst.1,
        }
    }

    fn flow(tuple: Tuple, counts: u64) -> Flow {
        let boot = Wall::new(1_600_000_000, 0);
        let now = Now::with_boot(Wall::new(1_700_000_020, 0), boot);
        Flow {
            direction: Direction::Out,
            tuple,
            packets: [counts; 2],
            octets: [counts; 2],
            times: Times::new(100_000_001, 100_000_013, now, Boot::Unknown),
            ..Flow::default()
        }
    }

    fn page(columns: usize, is_terminal: bool) -> Page {
        Page {
            columns,
            is_terminal,
            ..Page::default()
        }
    }

    fn lines(page: &Page, flow: &Flow) -> Vec<String> {
        let mut out = Vec::new();
        header(&mut out, page, flow.times.start_ms());
        text(&mut out, page, flow, &Passage::of_state(0));
        let text = String::from_utf8(out).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    const LONG: (&str, u16) = ("255.255.255.255", 65535);
    const LONG6: (&str, u16) = ("1111:2222:3333:4444:5555:6666:7777:8888", 65535);

    #[test]
    fn any_record_of_tcp_over_ipv4_is_one_line_of_a_terminal_of_80_columns() {
        for counts in [1, 9_999, 10_000, 1_234_567_890, u64::MAX >> 1] {
            let lines = lines(&page(80, true), &flow(tuple(LONG, LONG, 6), counts));
            assert_eq!(lines.len(), 3, "{lines:#?}");
            assert!(lines.iter().all(|line| line.len() <= 80), "{lines:#?}");
        }
    }

    #[test]
    fn without_a_terminal_numbers_are_exact_and_a_usual_record_is_one_line() {
        let flow = flow(
            tuple(("10.1.203.150", 42491), ("151.15.176.72", 443), 6),
            12_345_678,
        );
        let expected = [
            "2023 UTC        sec pr    pkts    bytes initiator > responder",
            "11-14 22:13:21   12 tcp  12345678 12345678 10.1.203.150:42491 > 151.15.176.72:443",
        ];
        let lines = lines(&Page::default(), &flow);
        assert_eq!(lines[0], expected[0]);
        // One column more than the page has, because numbers move together before an address moves
        // to the next line.
        assert_eq!(lines[1].len(), 80);
        assert!(lines[1].ends_with(" 12345678 12345678 10.1.203.150:42491 > 151.15.176.72:443"));
        assert!(
            lines[2].ends_with(" 10.1.203.150:42491 < 151.15.176.72:443"),
            "{lines:#?}"
        );
        assert_eq!(lines.len(), 3);
    }

    #[test]
    fn a_wide_terminal_has_everything_in_one_line() {
        let mut flow = flow(tuple(("10.1.2.3", 4000), ("192.0.2.1", 443), 6), 12_345_678);
        flow.translated = Some(tuple(("198.51.100.1", 61952), ("192.0.2.1", 443), 6));
        flow.quality = Quality::Estimated;
        let expected = [
            "begin, UTC             sec pr        dir      pkts        bytes initiator > responder",
            "2023-11-14 22:13:21     12 tcp       out  12345678        12.3M 10.1.2.3:4000 > \
             192.0.2.1:443 nat 198.51.100.1:61952 > 192.0.2.1:443 estimated",
            "2023-11-14 22:13:21     12 tcp       out  12345678        12.3M 10.1.2.3:4000 < \
             192.0.2.1:443 nat 198.51.100.1:61952 < 192.0.2.1:443 estimated",
        ];
        assert_eq!(lines(&page(200, true), &flow), expected);
    }

    #[test]
    fn what_does_not_fit_goes_on_behind_an_indent_and_no_line_is_longer_than_the_page() {
        for columns in [60, 80, 109, 110, 132, 200] {
            for is_terminal in [false, true] {
                for (proto, counts) in [(6, 1), (17, u64::MAX >> 1), (58, 10_000_000)] {
                    for ends in [[LONG, LONG], [LONG6, LONG6], [("::1", 1), LONG6]] {
                        let mut flow = flow(tuple(ends[0], ends[1], proto), counts);
                        flow.translated = Some(flow.tuple.reversed());
                        flow.quality = Quality::Partial;
                        let page = page(columns, is_terminal);
                        let lines = lines(&page, &flow);
                        let is_too_long = |line: &String| line.len() > columns;
                        assert!(!lines.iter().skip(1).any(is_too_long), "{lines:#?}");
                        let began = lines
                            .iter()
                            .skip(1)
                            .filter(|line| !line.starts_with(INDENT));
                        assert_eq!(began.count(), 2, "{lines:#?}");
                        // Nothing is lost where lines break.
                        let words = lines.iter().flat_map(|line| line.split(' '));
                        let count =
                            |wanted: &str| words.clone().filter(|word| *word == wanted).count();
                        assert_eq!((count("nat"), count("partial")), (2, 2), "{lines:#?}");
                        let (src, dst) = super::ends(&flow.tuple);
                        // What ports of ICMP mean is told elsewhere.
                        let least = if proto == 58 { 2 } else { 4 };
                        assert!(count(&src.to_string()) >= least);
                        assert!(count(&dst.to_string()) >= least);
                    }
                }
            }
        }
    }

    #[test]
    fn a_translation_that_does_not_fit_has_a_line_of_its_own() {
        let mut flow = flow(
            tuple(("10.1.203.150", 42491), ("151.15.176.72", 443), 17),
            152,
        );
        flow.translated = Some(tuple(("198.51.100.3", 50338), ("151.15.176.72", 443), 17));
        let lines = lines(&page(80, true), &flow);
        assert_eq!(lines[2], "    nat 198.51.100.3:50338 > 151.15.176.72:443");
        assert_eq!(lines[4], "    nat 198.51.100.3:50338 < 151.15.176.72:443");
    }

    #[test]
    fn icmp_ports_are_told_as_id_and_type() {
        let icmp = flow(tuple(("10.1.2.3", 4660), ("192.0.2.1", 8), 1), 5);
        let lines = lines(&Page::default(), &icmp);
        for (line, arrow) in lines.iter().skip(1).zip(['>', '<']) {
            let end = format!(" 10.1.2.3 {arrow} 192.0.2.1 icmp-id 4660 icmp-type 8");
            assert!(line.ends_with(&end), "{lines:#?}");
        }
    }
}
