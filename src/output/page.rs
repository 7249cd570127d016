//! What standard output is: its width, whether it is a terminal, and its time zone.
//!
//! Asking the system is left to the shell.

use std::fmt::{self, Display};

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// Columns where there is no terminal.
pub const COLUMNS: usize = 80;
/// Fewest columns that lines are laid out for: the longest words fit behind an indent.
pub const MIN_COLUMNS: usize = 60;

/// What is printed on.
#[derive(Clone, Debug)]
pub struct Page {
    /// How many characters fit into a line.
    pub columns: usize,
    /// Whether a person reads the output directly. Then large numbers are shortened.
    pub is_terminal: bool,
    /// Times are told in it.
    pub zone: TimeZone,
    /// The system's zone: times that people write are in it, whatever is printed on.
    pub local: TimeZone,
    /// What is shown, such as the names of files.
    pub title: String,
}

impl Default for Page {
    /// No terminal: 80 columns, exact numbers, UTC.
    fn default() -> Self {
        Self {
            columns: COLUMNS,
            is_terminal: false,
            zone: TimeZone::UTC,
            local: TimeZone::UTC,
            title: String::new(),
        }
    }
}

/// A time as its zone tells it.
#[derive(Clone, Copy)]
pub(super) struct Local {
    millis: u64,
    /// `None` beyond the years that calendars have.
    civil: Option<DateTime>,
}

impl Local {
    /// `millis` since 1970 in the zone of `page`.
    pub(super) fn new(page: &Page, millis: u64) -> Self {
        let stamp = i64::try_from(millis).ok();
        let stamp = stamp.and_then(|millis| Timestamp::from_millisecond(millis).ok());
        Self {
            millis,
            civil: stamp.map(|stamp| page.zone.to_datetime(stamp)),
        }
    }

    /// The year, and what the zone calls itself then: `2023 CET`.
    pub(super) fn year_and_zone(self, page: &Page) -> String {
        let stamp = i64::try_from(self.millis).unwrap_or_default();
        let stamp = Timestamp::from_millisecond(stamp).unwrap_or_default();
        let info = page.zone.to_offset_info(stamp);
        let year = self.civil.map_or(1970, DateTime::year);
        format!("{year:04} {}", info.abbreviation())
    }
}

/// `11-14 22:13:25`.
pub(super) struct InYear(pub(super) Local);

impl Display for InYear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(t) = self.0.civil else {
            return write!(f, "{:>14}", self.0.millis / 1000);
        };
        let (month, day) = (t.month(), t.day());
        let (hour, minute, second) = (t.hour(), t.minute(), t.second());
        write!(f, "{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
    }
}

impl Display for Local {
    /// `2023-11-14 22:13:25`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.civil {
            Some(t) => write!(f, "{:04}-{}", t.year(), InYear(*self)),
            None => write!(f, "{:>19}", self.millis / 1000),
        }
    }
}

/// A number as it is told.
pub(super) enum Digits {
    /// All its digits.
    Exact(u64),
    /// [`Short`].
    Short(u64),
    /// [`Shorter`].
    Shorter(u64),
    /// [`Span`].
    Span(u64),
}

impl Display for Digits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(number) => number.fmt(f),
            Self::Short(number) => Short(*number).fmt(f),
            Self::Shorter(number) => Shorter(*number).fmt(f),
            Self::Span(number) => Span(*number).fmt(f),
        }
    }
}

/// A number cut to three digits and a letter: `999`, `9999`, `12.3M`. At most five characters.
pub(super) struct Short(pub(super) u64);

impl Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((whole, tenths, letter)) = scaled(self.0) else {
            return f.pad(&self.0.to_string());
        };
        f.pad(&match whole {
            0..=99 => format!("{whole}.{tenths}{letter}"),
            _ => format!("{whole}{letter}"),
        })
    }
}

/// Likewise in four characters: `9999`, `12k`, `1.2M`.
pub(super) struct Shorter(pub(super) u64);

impl Display for Shorter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((whole, tenths, letter)) = scaled(self.0) else {
            return f.pad(&self.0.to_string());
        };
        f.pad(&match whole {
            0..=9 => format!("{whole}.{tenths}{letter}"),
            _ => format!("{whole}{letter}"),
        })
    }
}

/// Thousands, or millions, or more of `number`, cut, with their tenths and letter; `None`: it has
/// four digits or fewer.
fn scaled(number: u64) -> Option<(u64, u64, char)> {
    if number < 10_000 {
        return None;
    }
    let mut unit = 1000;
    let mut letters = "kMGTPE".chars();
    let mut letter = letters.next()?;
    while number / unit >= 1000 {
        unit *= 1000;
        letter = letters.next()?;
    }
    Some((number / unit, number % unit / (unit / 10), letter))
}

/// Seconds in three characters while they are fewer than a hundred days: `12s`, `99m`, `3h`, `2d`.
pub(super) struct Span(pub(super) u64);

impl Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0;
        f.pad(&match seconds {
            0..100 => format!("{seconds}s"),
            100..6_000 => format!("{}m", seconds / 60),
            6_000..360_000 => format!("{}h", seconds / 3600),
            _ => format!("{}d", seconds / 86_400),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_cut_to_a_few_characters_and_never_rounded_up() {
        let short = |number| (Short(number).to_string(), Shorter(number).to_string());
        let pair = |one: &str, other: &str| (one.to_owned(), other.to_owned());
        assert_eq!(short(0), pair("0", "0"));
        assert_eq!(short(9_999), pair("9999", "9999"));
        assert_eq!(short(10_000), pair("10.0k", "10k"));
        assert_eq!(short(999_999), pair("999k", "999k"));
        assert_eq!(short(1_000_000), pair("1.0M", "1.0M"));
        assert_eq!(short(12_399_999), pair("12.3M", "12M"));
        assert_eq!(short(u64::MAX), pair("18.4E", "18E"));
        for digits in 1..20 {
            let number = 10_u64.pow(digits) - 1;
            assert!(Short(number).to_string().len() <= 5, "{number}");
            assert!(Shorter(number).to_string().len() <= 4, "{number}");
        }
    }

    #[test]
    fn spans_have_three_characters() {
        let spans = [0, 99, 100, 5_999, 6_000, 359_999, 360_000, 8_639_999];
        let text = spans.map(|span| Span(span).to_string());
        assert_eq!(text, ["0s", "99s", "1m", "99m", "1h", "99h", "4d", "99d"]);
    }

    #[test]
    fn times_are_told_in_the_zone_of_the_page() {
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let page = Page {
            zone,
            ..Page::default()
        };
        let winter = Local::new(&page, 1_700_000_000_000);
        assert_eq!(InYear(winter).to_string(), "11-14 23:13:20");
        assert_eq!(winter.year_and_zone(&page), "2023 CET");
        let summer = Local::new(&page, 1_690_000_000_000);
        assert_eq!(summer.to_string(), "2023-07-22 06:26:40");
        assert_eq!(summer.year_and_zone(&page), "2023 CEST");
        let never = Local::new(&page, u64::MAX);
        assert_eq!(InYear(never).to_string().len(), 17);
    }
}
