//! Times in a filter: an instant, a date and time in the local zone, or a time of the capture's day.

use std::fmt::{self, Display};

use jiff::Timestamp;
use jiff::civil::{DateTime, Time};
use jiff::tz::TimeZone;

use crate::time::Wall;

/// A time as it was written, and the instant that it is once that is known.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct When {
    written: Written,
    instant: Option<Wall>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Written {
    /// RFC 3339.
    Instant(Timestamp),
    /// Without an offset: in the local zone.
    Local(DateTime),
    /// Of the capture's day in the local zone.
    OfDay(Time),
}

/// What a time looks like.
pub(super) const FORMS: &str = "22:00, 22:00:30, 2026-11-30T22:00:00Z or 2026-11-30T22:00";

impl When {
    /// Reads a time; `None`: it is none.
    pub(super) fn parse(text: &str) -> Option<Self> {
        // jiff takes much that nobody would call a time of day, as T22.
        let is_plain = |c: char| c.is_ascii_digit() || matches!(c, ':' | '.');
        let written = if text.contains(is_plain) && text.chars().all(is_plain) {
            Written::OfDay(text.contains(':').then(|| text.parse().ok()).flatten()?)
        } else if let Ok(instant) = text.parse() {
            Written::Instant(instant)
        } else {
            Written::Local(text.contains(':').then(|| text.parse().ok()).flatten()?)
        };
        let instant = match &written {
            Written::Instant(instant) => Some(wall(*instant)),
            _ => None,
        };
        Some(Self { written, instant })
    }

    /// The instant that it is; `None`: its day is not known.
    pub(super) fn instant(&self) -> Option<Wall> {
        self.instant
    }

    /// Whether its day or its zone is not written.
    pub(super) fn is_local(&self) -> bool {
        !matches!(self.written, Written::Instant(_))
    }

    /// The same with its instant, where `day` is one of the capture's day.
    pub(super) fn resolved(&self, day: Wall, zone: &TimeZone) -> Self {
        let local = match self.written {
            Written::Instant(_) => return self.clone(),
            Written::Local(local) => local,
            Written::OfDay(time) => {
                let day = Timestamp::from_nanosecond(day.nanos().into()).unwrap_or_default();
                zone.to_datetime(day).date().to_datetime(time)
            }
        };
        // A change of the clock skips a time: then the time after the change is meant. Or it brings a
        // time twice: then the first is meant.
        let instant = zone.to_ambiguous_timestamp(local).compatible();
        Self {
            written: self.written.clone(),
            instant: instant.ok().map(wall),
        }
    }
}

/// As far as its scale reaches.
fn wall(instant: Timestamp) -> Wall {
    Wall::from_nanos(i64::try_from(instant.as_nanosecond()).unwrap_or(i64::MAX))
}

impl Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.written {
            Written::Instant(instant) => instant.fmt(f),
            Written::Local(local) => local.fmt(f),
            Written::OfDay(time) => time.fmt(f),
        }
    }
}
