//! Who carried most: `-o top`, a table at the end.
//!
//! ```text
//! host               flows  packets   octets  share  exact
//! 10.1.203.150          12     1234  1234567  76.2%  99.0%
//! 41 others             31      310    12345   0.7% 100.0%
//! total                 43     1544  1618165
//! ```

use std::io::Write;

use super::page::{Digits, Page};
use super::tally::{By, Carried, Measure, Tally};
use crate::flow::Flow;

/// Keys that are held, and twice as many for a while.
pub const MAX_KEYS: usize = 65_536;
/// Rows that can be asked for.
pub const MAX_ROWS: usize = 10_000;

/// What `-o top` shows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Top {
    /// What rows are of.
    pub by: By,
    /// How many rows there are at most.
    pub rows: usize,
    /// What they are ordered by.
    pub measure: Measure,
}

impl Top {
    /// Ten hosts by their octets.
    pub const DEFAULT: Self = Self {
        by: By::Host,
        rows: 10,
        measure: Measure::Octets,
    };

    /// What `top=words` asks for: `key[,n][,order]`.
    ///
    /// # Errors
    /// Which word is wrong, and what it could be.
    pub fn parse(words: &str) -> Result<Self, String> {
        let mut top = Self::DEFAULT;
        let mut rest = words.split(',');
        let key = rest.next().unwrap_or_default();
        top.by = named(By::VALUES, key).ok_or_else(|| expected(key, By::VALUES, ""))?;
        let mut word = rest.next();
        if let Some(digits) = word.filter(|word| word.starts_with(|c: char| c.is_ascii_digit())) {
            let rows = digits
                .parse()
                .ok()
                .filter(|rows| (1..=MAX_ROWS).contains(rows));
            top.rows =
                rows.ok_or_else(|| format!("top: {digits} is not a number from 1 to {MAX_ROWS}"))?;
            word = rest.next();
        }
        if let Some(order) = word {
            top.measure = named(Measure::VALUES, order)
                .ok_or_else(|| expected(order, Measure::VALUES, " or a number of rows"))?;
        }
        match rest.next() {
            Some(word) => Err(format!("top: nothing can follow the order: {word}")),
            None => Ok(top),
        }
    }
}

fn named<T: Copy>(values: &[(&str, T)], text: &str) -> Option<T> {
    let found = values.iter().find(|(name, _)| *name == text);
    found.map(|(_, value)| *value)
}

fn expected<T>(word: &str, values: &[(&str, T)], more: &str) -> String {
    let names: Vec<_> = values.iter().map(|(name, _)| *name).collect();
    format!("top: {word} is not one of: {}{more}", names.join(" "))
}

/// Sums until the table is printed.
#[derive(Clone, Debug)]
pub(super) struct TopTable {
    top: Top,
    tally: Tally,
    total: Carried,
}

impl TopTable {
    pub(super) fn new(top: Top) -> Self {
        Self {
            top,
            tally: Tally::new(top.by, top.measure, MAX_KEYS),
            total: Carried::default(),
        }
    }

    pub(super) fn add(&mut self, flow: &Flow) {
        self.total.add(&Carried::of_flow(flow));
        self.tally.add(flow);
    }

    /// Appends the table.
    pub(super) fn print(&self, out: &mut Vec<u8>, page: &Page) {
        let largest = self.tally.largest(self.top.rows);
        let mut rows: Vec<(String, Carried)> = Vec::new();
        let named = largest.rows.iter();
        rows.extend(named.map(|(key, amount)| (key.to_string(), *amount)));
        if largest.other_keys > 0 {
            rows.push((format!("{} others", largest.other_keys), largest.others));
        }
        let keyless = self.tally.keyless();
        if keyless.flows > 0 {
            let name = match self.top.by {
                By::Nat => "not translated",
                _ => "not told",
            };
            rows.push((name.to_owned(), *keyless));
        }
        let names = rows.iter().map(|(name, _)| name.len());
        let width = names.max().unwrap_or(0).clamp(15, 39);
        self.put_line(
            out,
            page,
            (self.top.by.name(), width),
            ["flows", "pkts", "bytes", "share", "exact"].map(str::to_owned),
        );
        for (name, amount) in &rows {
            self.line(out, page, (name, width), amount, true);
        }
        self.line(out, page, ("total", width), &self.total, false);
        if self.tally.falls() > 0 {
            let _ = writeln!(
                out,
                "{} keys fell out, {MAX_KEYS} are held: a row may lack {} {}",
                self.tally.falls(),
                self.tally.lacking(),
                self.unit()
            );
        }
    }

    fn unit(&self) -> &'static str {
        match self.top.measure {
            Measure::Octets => "bytes",
            Measure::Packets => "packets",
            Measure::Flows => "flows",
        }
    }

    fn line(
        &self,
        out: &mut Vec<u8>,
        page: &Page,
        (name, width): (&str, usize),
        amount: &Carried,
        is_part: bool,
    ) {
        let told = |number| match page.is_terminal {
            true => Digits::Short(number),
            false => Digits::Exact(number),
        };
        let measure = self.top.measure;
        let share = match is_part {
            true => percent(amount.by(measure), self.total.by(measure)),
            false => String::new(),
        };
        let numbers =
            [amount.flows, amount.packets, amount.octets].map(|number| told(number).to_string());
        let [flows, packets, octets] = numbers;
        let exact = percent(amount.exact, amount.octets);
        self.put_line(
            out,
            page,
            (name, width),
            [flows, packets, octets, share, exact],
        );
    }

    fn put_line(
        &self,
        out: &mut Vec<u8>,
        page: &Page,
        (name, width): (&str, usize),
        cells: [String; 5],
    ) {
        // As wide as short numbers, or as exact ones mostly are.
        let widths = match page.is_terminal {
            true => [6; 5],
            false => [7, 9, 13, 6, 6],
        };
        // Writing to a Vec does not fail.
        let _ = write!(out, "{name:<width$}");
        for (cell, width) in cells.iter().zip(widths) {
            let _ = write!(out, " {cell:>width$}");
        }
        out.push(b'\n');
    }
}

/// The share of `all`, cut to tenths of a percent. So only all of it shows as 100.
pub(super) fn percent(part: u64, all: u64) -> String {
    if all == 0 {
        return "-".to_owned();
    }
    let tenths = u128::from(part) * 1000 / u128::from(all);
    format!("{}.{}%", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_top_are_a_key_a_number_and_an_order() {
        let host = Top::DEFAULT;
        assert_eq!(Top::parse("host"), Ok(host));
        assert_eq!(Top::parse("host,20"), Ok(Top { rows: 20, ..host }));
        let measure = Measure::Flows;
        assert_eq!(Top::parse("host,flows"), Ok(Top { measure, ..host }));
        let all = Top {
            by: By::Nat,
            rows: 3,
            measure,
        };
        assert_eq!(Top::parse("nat,3,flows"), Ok(all));
        let keys = "src dst host port proto interface rule firewall nat";
        let wrong = [
            ("", format!("top:  is not one of: {keys}")),
            ("hosts", format!("top: hosts is not one of: {keys}")),
            (
                "host,0",
                "top: 0 is not a number from 1 to 10000".to_owned(),
            ),
            (
                "host,3x",
                "top: 3x is not a number from 1 to 10000".to_owned(),
            ),
            (
                "host,bytes",
                "top: bytes is not one of: octets packets flows or a number of rows".to_owned(),
            ),
            (
                "host,octets,3",
                "top: nothing can follow the order: 3".to_owned(),
            ),
        ];
        for (words, problem) in wrong {
            assert_eq!(Top::parse(words), Err(problem), "{words}");
        }
    }

    #[test]
    fn a_share_is_never_rounded_up_to_all() {
        assert_eq!(percent(999_999, 1_000_000), "99.9%");
        assert_eq!(percent(5, 5), "100.0%");
        assert_eq!(percent(0, 0), "-");
        assert_eq!(percent(u64::MAX, u64::MAX), "100.0%");
    }
}
