//! Names of files by the time at which each begins: the pattern of `file`.
//!
//! ```text
//! /var/flows/pflow0.%Y%m%d%H%M.ipfix      the pattern: a directory, and strftime(3)'s words
//!            pflow0.202611301200.ipfix           a name by it
//!            pflow0.202611301200.ipfix.1         the second of that time
//!            pflow0.202611301200.ipfix.1.gz      the same with `compress gzip`
//! ```
//! Only words whose value is digits are allowed. So a name is the same in every language. A name
//! that a pattern made can be told from others, so only such files are removed when they are old.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Longest name in a directory that a pattern makes, octets: with all endings it is a name on
/// every system.
const MAX_NAME: usize = 200;
/// Behind the name of a file that gzip made.
const GZIP: &str = ".gz";
/// Largest number behind a name.
pub const MAX_NUMBER: u32 = 9999;

/// A directory and what names in it look like.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Pattern {
    directory: PathBuf,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Part {
    Text(String),
    Conversion(Conversion),
}

/// What stands for a time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Conversion {
    Year,
    YearOfCentury,
    Month,
    Day,
    DayOfYear,
    Hour,
    Minute,
    Second,
    SinceEpoch,
    Zone,
}

/// strftime(3)'s letters, and what each stands for.
const LETTERS: &[(char, Conversion)] = &[
    ('Y', Conversion::Year),
    ('y', Conversion::YearOfCentury),
    ('m', Conversion::Month),
    ('d', Conversion::Day),
    ('j', Conversion::DayOfYear),
    ('H', Conversion::Hour),
    ('M', Conversion::Minute),
    ('S', Conversion::Second),
    ('s', Conversion::SinceEpoch),
    ('z', Conversion::Zone),
];

/// Where a name that a pattern made stands among the others, if they were written at one time: its
/// numbers from left to right, then the one behind.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Rank(Vec<u64>, u32);

impl Pattern {
    /// Reads one.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(text: &str) -> Result<Self, String> {
        let (directory, name) = match text.rsplit_once('/') {
            Some(("", name)) => ("/", name),
            Some((directory, name)) => (directory, name),
            None => (".", text),
        };
        if directory.contains('%') {
            return Err("only the name of the file can have words of time".to_owned());
        }
        if matches!(name, "" | "." | "..") {
            return Err(format!("{text:?} names no file"));
        }
        let pattern = Self {
            directory: PathBuf::from(directory),
            parts: parts(name)?,
        };
        let len = pattern.name(0, &TimeZone::UTC).map_or(0, |name| name.len());
        match len > MAX_NAME {
            true => Err(format!("a name is longer than {MAX_NAME} octets")),
            false => Ok(pattern),
        }
    }

    /// Where the files are.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Whether a name depends on the time.
    pub fn has_time(&self) -> bool {
        self.parts
            .iter()
            .any(|part| matches!(part, Part::Conversion(_)))
    }

    /// The name of a file that begins at `secs` since the epoch, in the time of `zone`; `None` if
    /// no calendar has that time.
    pub fn name(&self, secs: i64, zone: &TimeZone) -> Option<String> {
        let time = Timestamp::from_second(secs)
            .ok()?
            .to_zoned_datetime(zone.clone());
        let mut name = String::new();
        for part in &self.parts {
            let done = match part {
                Part::Text(text) => write!(name, "{text}"),
                Part::Conversion(word) => match word {
                    Conversion::Year => write!(name, "{:04}", time.year()),
                    Conversion::YearOfCentury => write!(name, "{:02}", time.year().rem_euclid(100)),
                    Conversion::Month => write!(name, "{:02}", time.month()),
                    Conversion::Day => write!(name, "{:02}", time.day()),
                    Conversion::DayOfYear => write!(name, "{:03}", time.day_of_year()),
                    Conversion::Hour => write!(name, "{:02}", time.hour()),
                    Conversion::Minute => write!(name, "{:02}", time.minute()),
                    Conversion::Second => write!(name, "{:02}", time.second()),
                    Conversion::SinceEpoch => write!(name, "{secs}"),
                    Conversion::Zone => {
                        let minutes = time.offset().seconds() / 60;
                        let sign = if minutes < 0 { '-' } else { '+' };
                        let minutes = minutes.abs();
                        write!(name, "{sign}{:02}{:02}", minutes / 60, minutes % 60)
                    }
                },
            };
            // A string takes everything.
            done.ok()?;
        }
        Some(name)
    }

    /// Whether `name` is one of this pattern, with or without its endings, and its rank then.
    pub fn recognize(&self, name: &str) -> Option<Rank> {
        let name = name.strip_suffix(GZIP).unwrap_or(name);
        let mut rest = name;
        let mut numbers = Vec::new();
        for part in &self.parts {
            rest = match part {
                Part::Text(text) => rest.strip_prefix(&**text)?,
                Part::Conversion(word) => {
                    let (number, behind) = word.read(rest)?;
                    numbers.push(number);
                    behind
                }
            };
        }
        let number = match rest.strip_prefix('.') {
            None if rest.is_empty() => 0,
            Some(digits) if is_number(digits) => digits.parse().ok().filter(|n| *n > 0)?,
            _ => return None,
        };
        Some(Rank(numbers, number))
    }
}

/// `name` as the file of that name with this number is called.
pub fn numbered(name: &str, number: u32, is_gzip: bool) -> String {
    let ending = if is_gzip { GZIP } else { "" };
    match number {
        0 => format!("{name}{ending}"),
        number => format!("{name}.{number}{ending}"),
    }
}

/// Digits as a number is printed.
fn is_number(text: &str) -> bool {
    text.bytes().all(|octet| octet.is_ascii_digit()) && !text.starts_with('0')
}

impl Conversion {
    /// Reads a value off the front of `text`: the value, and what is behind.
    fn read(self, text: &str) -> Option<(u64, &str)> {
        let is_other = |c: char| !c.is_ascii_digit();
        let (text, len, range) = match self {
            Self::Year => (text, 4, 0..=9999),
            Self::YearOfCentury => (text, 2, 0..=99),
            Self::Month => (text, 2, 1..=12),
            Self::Day => (text, 2, 1..=31),
            Self::DayOfYear => (text, 3, 1..=366),
            Self::Hour => (text, 2, 0..=23),
            Self::Minute => (text, 2, 0..=59),
            Self::Second => (text, 2, 0..=60),
            Self::SinceEpoch => {
                let len = text.find(is_other).unwrap_or(text.len());
                (text, len, 0..=u64::MAX)
            }
            Self::Zone => (text.strip_prefix(['+', '-'])?, 4, 0..=9999),
        };
        let (digits, behind) = text.split_at_checked(len)?;
        if digits.is_empty() || digits.contains(is_other) {
            return None;
        }
        let number = digits.parse().ok().filter(|n| range.contains(n))?;
        Some((number, behind))
    }
}

fn parts(name: &str) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut text = String::new();
    let mut letters = name.chars();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            text.push(letter);
            continue;
        }
        match letters.next() {
            Some('%') => text.push('%'),
            Some(letter) => {
                let row = LETTERS.iter().find(|(other, _)| *other == letter);
                let Some((_, word)) = row else {
                    let known: String = LETTERS.iter().map(|(l, _)| format!("%{l} ")).collect();
                    return Err(format!("%{letter} is not among {known}and %%"));
                };
                if !text.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut text)));
                }
                parts.push(Part::Conversion(*word));
            }
            None => return Err("% at the end".to_owned()),
        }
    }
    if !text.is_empty() {
        parts.push(Part::Text(text));
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::new(text).unwrap()
    }

    /// Berlin's, without a database of zones.
    fn berlin() -> TimeZone {
        TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap()
    }

    #[test]
    fn names_have_local_time_and_only_the_zone_tells_the_hour_that_comes_twice() {
        // 2026-10-25 00:30 UTC and an hour later: 02:30 in Berlin, twice.
        let (first, second) = (1_792_888_200, 1_792_891_800);
        let name = |text: &str, secs, zone: &TimeZone| pattern(text).name(secs, zone).unwrap();
        let text = "/f/a-%Y%m%d%H%M%S";
        assert_eq!(name(text, first, &TimeZone::UTC), "a-20261025003000");
        assert_eq!(name(text, first, &berlin()), "a-20261025023000");
        assert_eq!(name(text, second, &berlin()), "a-20261025023000");
        let text = "%y-%j-%H.%s%z%%";
        assert_eq!(name(text, first, &berlin()), "26-298-02.1792888200+0200%");
        assert_eq!(name(text, second, &berlin()), "26-298-02.1792891800+0100%");
        let west = TimeZone::posix("NST3:30").unwrap();
        assert_eq!(name("%H%M%z", 0, &west), "2030-0330");
        assert_eq!(pattern("%Y").name(i64::MAX, &berlin()), None);
    }

    #[test]
    fn a_pattern_is_a_directory_and_a_name_of_words_with_digits() {
        let refused = |text: &str| Pattern::new(text).unwrap_err();
        assert_eq!(
            refused("/var/%Y/flows"),
            "only the name of the file can have words of time"
        );
        assert!(refused("a%B").starts_with("%B is not among %Y %y %m "));
        assert_eq!(refused("a%"), "% at the end");
        for none in ["/var/", "..", "/var/.", ""] {
            assert!(refused(none).ends_with("names no file"), "{none}");
        }
        assert!(Pattern::new(&"x".repeat(200)).is_ok());
        assert!(Pattern::new(&"x".repeat(201)).is_err());
        assert_eq!(pattern("/a").directory(), Path::new("/"));
        assert_eq!(pattern("a").directory(), Path::new("."));
        assert_eq!(pattern("b/c/a").directory(), Path::new("b/c"));
        assert!(pattern("%S").has_time() && !pattern("a%%b").has_time());
    }

    #[test]
    fn names_of_a_pattern_are_told_from_all_others() {
        let hourly = pattern("/f/a.%Y%m%d%H.ipfix");
        for (number, is_gzip) in [(0, false), (0, true), (7, false), (9999, true)] {
            let name = hourly.name(1_792_888_200, &berlin()).unwrap();
            let name = numbered(&name, number, is_gzip);
            let rank = hourly.recognize(&name);
            assert_eq!(rank, Some(Rank(vec![2026, 10, 25, 2], number)), "{name}");
        }
        for other in [
            "a.2026102502.ipfix.current",
            "a.2026102502.ipfix.0",
            "a.2026102502.ipfix.01",
            "a.2026102502.ipfix.",
            "a.2026102502.ipfix.gz.1",
            "a.2026102502.ipfix~",
            "a.2026132502.ipfix",
            "a.2026102524.ipfix",
            "a.202610250.ipfix",
            "a.20261025021.ipfix",
            "a.2026102\u{664}02.ipfix",
            "ba.2026102502.ipfix",
            "notes.txt",
            "",
        ] {
            assert_eq!(hourly.recognize(other), None, "{other}");
        }
        let zoned = pattern("%s%z");
        for secs in [0, 1_792_888_200] {
            let name = zoned.name(secs, &berlin()).unwrap();
            assert!(zoned.recognize(&name).is_some());
        }
        assert!(pattern("%H").recognize("07").unwrap() < pattern("%H").recognize("07.1").unwrap());
    }
}
