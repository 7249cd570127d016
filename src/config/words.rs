//! The settings of an interface. Each stands in one row, from which come the parser, the printer,
//! JSON, the help and the completions.

use std::fmt::{self, Display};
use std::net::SocketAddr;
use std::str::FromStr;

use super::values::{
    MAX_ACTIVE, MAX_DELAY, MAX_QUEUE, MAX_RATE, MAX_RECONNECT, MAX_REFRESH, MAX_REFRESH_PACKETS,
    MAX_RENEW, MAX_STATISTICS, MIN_QUEUE, MIN_RENEW, Quoted, WithUnit, destination, enterprise,
    file_name, file_pattern, number, octets, one_of, pin, rdomain, server_name, source,
};
use crate::export::SpoolSettings;
use crate::export::spool::{MAX_SPOOL, MIN_SPOOL};
use crate::export::{
    Carrier, Compression, Domain, EngineId, Events, Format, IcmpPorts, MAX_HOLD, MAX_MTU,
    MAX_RETAIN, MAX_ROTATE, MIN_MTU, Pin, Rate, Rdomain, Settings, Source, TemplateSet,
};
use crate::filter::Filter;
use crate::flow::Records;
use crate::state::Direction;
use crate::word::Spelling;

/// What values of a type look like.
trait Kind<T> {
    /// Reads one.
    fn parse(&self, word: &str) -> Result<T, String>;

    /// Shows one; `None`: there is none.
    fn show(&self, value: &T) -> Option<Shown>;

    /// Sets one.
    fn set(&self, field: &mut T, value: &T)
    where
        T: Clone,
    {
        field.clone_from(value);
    }

    /// What the word with a minus before it sets, if there is such a word.
    fn unset(&self) -> Option<T> {
        None
    }

    /// How many words it is.
    fn words(&self) -> usize {
        1
    }

    /// All there are, if they are few.
    fn values(&self) -> Vec<&'static str> {
        Vec::new()
    }
}

/// A value as it is shown.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Shown {
    /// A number.
    Number(u64),
    /// A word.
    Word(String),
    /// Words.
    Words(String),
    /// Octets.
    Octets(u64),
    /// Values, each behind a word of its own.
    List(Vec<String>),
}

impl Shown {
    /// The words of a line that set it, each behind a blank.
    fn write(&self, name: &str, f: &mut impl fmt::Write) -> fmt::Result {
        match self {
            Self::List(values) => values
                .iter()
                .try_for_each(|value| write!(f, " {name} {value}")),
            other => write!(f, " {name} {other}"),
        }
    }
}

impl Display for Shown {
    /// As it stands in a line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Word(word) => Quoted(word).fmt(f),
            Self::Words(words) => words.fmt(f),
            Self::Octets(octets) => WithUnit(*octets).fmt(f),
            Self::List(values) => values.join(" ").fmt(f),
        }
    }
}

/// Numbers of a range.
struct Number<T> {
    least: T,
    most: T,
}

impl<T> Kind<T> for Number<T>
where
    T: Copy + Display + FromStr + PartialOrd + Into<u64>,
{
    fn parse(&self, word: &str) -> Result<T, String> {
        number(word, self.least, self.most)
    }

    fn show(&self, value: &T) -> Option<Shown> {
        Some(Shown::Number((*value).into()))
    }
}

/// A few values with a name each.
struct OneOf<T: 'static>(&'static [(&'static str, T)]);

impl<T: Clone + PartialEq> Kind<T> for OneOf<T> {
    fn parse(&self, word: &str) -> Result<T, String> {
        one_of(self.0, word)
    }

    fn show(&self, value: &T) -> Option<Shown> {
        let found = self.0.iter().find(|(_, other)| other == value);
        found.map(|(name, _)| Shown::Word((*name).to_owned()))
    }

    fn values(&self) -> Vec<&'static str> {
        self.0.iter().map(|(name, _)| *name).collect()
    }
}

/// What a function reads, or nothing.
struct Optional<T>(fn(&str) -> Result<T, String>);

impl<T: Display> Kind<Option<T>> for Optional<T> {
    fn parse(&self, word: &str) -> Result<Option<T>, String> {
        (self.0)(word).map(Some)
    }

    fn show(&self, value: &Option<T>) -> Option<Shown> {
        value.as_ref().map(|value| Shown::Word(value.to_string()))
    }

    fn unset(&self) -> Option<Option<T>> {
        Some(None)
    }
}

/// `n` or `none`. The usual rate has no word.
struct RateKind;

impl Kind<Rate> for RateKind {
    fn parse(&self, word: &str) -> Result<Rate, String> {
        match word {
            "none" => Ok(Rate::Unlimited),
            word => number(word, 1, MAX_RATE)
                .map(Rate::PerSecond)
                .map_err(|problem| format!("{problem}, or none")),
        }
    }

    fn show(&self, value: &Rate) -> Option<Shown> {
        match value {
            Rate::Usual => None,
            Rate::PerSecond(rate) => Some(Shown::Number((*rate).into())),
            Rate::Unlimited => Some(Shown::Word("none".to_owned())),
        }
    }

    fn unset(&self) -> Option<Rate> {
        Some(Rate::Usual)
    }
}

/// Values, each behind a word of its own.
struct List<T>(fn(&str) -> Result<T, String>);

impl<T: Clone + Display + PartialEq> Kind<Vec<T>> for List<T> {
    fn parse(&self, word: &str) -> Result<Vec<T>, String> {
        (self.0)(word).map(|value| vec![value])
    }

    fn show(&self, value: &Vec<T>) -> Option<Shown> {
        let values = value.iter().map(ToString::to_string).collect();
        (!value.is_empty()).then_some(Shown::List(values))
    }

    fn set(&self, field: &mut Vec<T>, value: &Vec<T>) {
        if value.is_empty() {
            field.clear();
        }
        for one in value {
            if !field.contains(one) {
                field.push(one.clone());
            }
        }
    }

    fn unset(&self) -> Option<Vec<T>> {
        Some(Vec::new())
    }
}

/// Octets, with k, M or G.
struct Octets {
    least: u32,
    most: u32,
}

impl Kind<u32> for Octets {
    fn parse(&self, word: &str) -> Result<u32, String> {
        let octets = octets(word, self.least.into(), self.most.into())?;
        u32::try_from(octets).map_err(|error| error.to_string())
    }

    fn show(&self, value: &u32) -> Option<Shown> {
        Some(Shown::Octets((*value).into()))
    }
}

/// A directory and octets.
struct SpoolKind;

impl Kind<Option<SpoolSettings>> for SpoolKind {
    fn parse(&self, words: &str) -> Result<Option<SpoolSettings>, String> {
        let expected = || "expected a directory and a size".to_owned();
        let (directory, size) = words.rsplit_once(' ').ok_or_else(expected)?;
        Ok(Some(SpoolSettings {
            directory: file_name(directory)?,
            octets: octets(size, MIN_SPOOL, MAX_SPOOL)?,
        }))
    }

    fn show(&self, value: &Option<SpoolSettings>) -> Option<Shown> {
        let spool = value.as_ref()?;
        let (directory, octets) = (Quoted(&spool.directory), WithUnit(spool.octets));
        Some(Shown::Words(format!("{directory} {octets}")))
    }

    fn unset(&self) -> Option<Option<SpoolSettings>> {
        Some(None)
    }

    fn words(&self) -> usize {
        2
    }
}

/// A filter: the rest of the line.
struct FilterKind;

impl Kind<Option<Filter>> for FilterKind {
    fn parse(&self, words: &str) -> Result<Option<Filter>, String> {
        let filter = Filter::parse(words, Spelling::Whole).map_err(|error| error.to_string())?;
        match filter.local_time() {
            None => Ok(Some(filter)),
            Some(time) => Err(format!(
                "{time}: a time that lasts needs its day and its zone, as 2026-11-30T22:00:00Z"
            )),
        }
    }

    fn show(&self, value: &Option<Filter>) -> Option<Shown> {
        value
            .as_ref()
            .map(|filter| Shown::Words(filter.to_string()))
    }

    fn unset(&self) -> Option<Option<Filter>> {
        Some(None)
    }

    fn words(&self) -> usize {
        usize::MAX
    }
}

/// `n` or `creatorid`.
struct DomainKind;

impl Kind<Domain> for DomainKind {
    fn parse(&self, word: &str) -> Result<Domain, String> {
        match word {
            "creatorid" => Ok(Domain::Creatorid),
            word => number(word, 1, u32::MAX)
                .map(Domain::Number)
                .map_err(|problem| format!("{problem}, or creatorid")),
        }
    }

    fn show(&self, value: &Domain) -> Option<Shown> {
        Some(match value {
            Domain::Number(domain) => Shown::Number((*domain).into()),
            Domain::Creatorid => Shown::Word("creatorid".to_owned()),
        })
    }
}

/// Type and id.
struct EngineKind;

impl Kind<EngineId> for EngineKind {
    fn parse(&self, words: &str) -> Result<EngineId, String> {
        match words.split(' ').collect::<Vec<_>>()[..] {
            [kind, id] => Ok(EngineId([
                number(kind, 0, u8::MAX)?,
                number(id, 0, u8::MAX)?,
            ])),
            _ => Err("expected a type and an id".to_owned()),
        }
    }

    fn show(&self, EngineId([kind, id]): &EngineId) -> Option<Shown> {
        Some(Shown::Words(format!("{kind} {id}")))
    }

    fn words(&self) -> usize {
        2
    }
}

/// A setting of an interface: its words, and how its value is read and shown.
struct Row {
    name: &'static str,
    /// pflowctl(8)'s word of FreeBSD.
    synonym: Option<&'static str>,
    /// The word that unsets it.
    unsets: Option<&'static str>,
    parse: fn(&str) -> Result<Setting, String>,
    unset: fn() -> Option<Setting>,
    /// Words of its value.
    words: fn() -> usize,
    values: fn() -> Vec<&'static str>,
    show: fn(&Settings) -> Option<Shown>,
    is_default: fn(&Settings) -> bool,
}

macro_rules! optional {
    () => {
        None
    };
    ($word:literal) => {
        Some($word)
    };
}

/// The rows: name, FreeBSD's synonym, the word that unsets; the setting; its field and type; what
/// its values look like.
macro_rules! settings {
    ($($name:literal $(| $synonym:literal)? $(, unset $unsets:literal)? =>
        $setting:ident, $field:ident: $type:ty, $kind:expr;)*) => {
        /// A setting of an interface with its value.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Setting {
            $(#[doc = concat!("`", $name, "`.")] $setting($type),)*
        }

        impl Setting {
            /// Sets it.
            pub(super) fn apply(&self, settings: &mut Settings) {
                match self {
                    $(Self::$setting(value) => Kind::<$type>::set(&$kind, &mut settings.$field, value),)*
                }
            }
        }

        const ROWS: &[Row] = &[$(Row {
            name: $name,
            synonym: optional!($($synonym)?),
            unsets: optional!($($unsets)?),
            parse: |word| Kind::<$type>::parse(&$kind, word).map(Setting::$setting),
            unset: || Kind::<$type>::unset(&$kind).map(Setting::$setting),
            words: || Kind::<$type>::words(&$kind),
            values: || Kind::<$type>::values(&$kind),
            show: |settings| Kind::<$type>::show(&$kind, &settings.$field),
            is_default: |settings| settings.$field == Settings::default().$field,
        },)*];
    };
}

settings! {
    "flowsrc" | "src", unset "-flowsrc" => FlowSrc, flowsrc: Option<Source>, Optional(source);
    "flowdst" | "dst", unset "-flowdst" => FlowDst, flowdst: Option<SocketAddr>, Optional(destination);
    "pflowproto" | "proto" => Protocol, format: Format, OneOf(Format::VALUES);
    "mtu" => Mtu, mtu: u16, Number { least: MIN_MTU, most: MAX_MTU };
    "template" => Template, templates: TemplateSet, OneOf(TemplateSet::VALUES);
    "domain" => Domain, domain: Domain, DomainKind;
    "engine" => EngineId, engine: EngineId, EngineKind;
    "enterprise", unset "-enterprise" => Enterprise, enterprise: Option<u32>, Optional(enterprise);
    "statistics" => Statistics, statistics: u32, Number { least: 0, most: MAX_STATISTICS };
    "biflow" => Biflow, is_biflow: bool, OneOf(ON_OFF);
    "events" => Events, events: Events, OneOf(Events::VALUES);
    "delay" => Delay, delay: u32, Number { least: 0, most: MAX_DELAY };
    "icmp" => Icmp, icmp: IcmpPorts, OneOf(IcmpPorts::VALUES);
    "hold" => Hold, hold: u32, Number { least: 1, most: MAX_HOLD };
    "refresh" => Refresh, refresh: u32, Number { least: 1, most: MAX_REFRESH };
    "refreshpackets" => RefreshPackets, refresh_packets: u32, Number { least: 1, most: MAX_REFRESH_PACKETS };
    "active" => Active, active: u32, Number { least: 0, most: MAX_ACTIVE };
    "direction" => Direction, direction: Option<Direction>, OneOf(DIRECTIONS);
    "records", unset "-records" => Records, records: Option<Records>, Optional(records);
    "transport" => Transport, carrier: Carrier, OneOf(Carrier::VALUES);
    "backup", unset "-backup" => Backup, backups: Vec<SocketAddr>, List(destination);
    "reconnect" => Reconnect, reconnect: u32, Number { least: 1, most: MAX_RECONNECT };
    "queue" => Queue, queue: u32, Octets { least: MIN_QUEUE, most: MAX_QUEUE };
    "spool", unset "-spool" => Spool, spool: Option<SpoolSettings>, SpoolKind;
    "rdomain", unset "-rdomain" => Rdomain, rdomain: Option<Rdomain>, Optional(rdomain);
    "ca", unset "-ca" => Ca, ca: Option<String>, Optional(file_name);
    "cert", unset "-cert" => Cert, cert: Option<String>, Optional(file_name);
    "key", unset "-key" => Key, key: Option<String>, Optional(file_name);
    "servername", unset "-servername" => ServerName, servername: Option<String>, Optional(server_name);
    "pin", unset "-pin" => Pin, pins: Vec<Pin>, List(pin);
    "renew" => Renew, renew: u32, Number { least: MIN_RENEW, most: MAX_RENEW };
    "file", unset "-file" => File, file: Option<String>, Optional(file_pattern);
    "rotate" => Rotate, rotate: u32, Number { least: 1, most: MAX_ROTATE };
    "compress" => Compress, compression: Compression, OneOf(Compression::VALUES);
    "retain" => Retain, retain: u32, Number { least: 0, most: MAX_RETAIN };
    "rate", unset "-rate" => Rate, rate: Rate, RateKind;
    "tap", unset "-tap" => Tap, tap: Option<String>, Optional(file_name);
    "only", unset "-only" => Only, only: Option<Filter>, FilterKind;
}

fn records(word: &str) -> Result<Records, String> {
    one_of(Records::VALUES, word)
}

/// What a setting is that is on or off.
const ON_OFF: &[(&str, bool)] = &[("on", true), ("off", false)];

/// Names of directions.
const DIRECTIONS: &[(&str, Option<Direction>)] = &[
    ("in", Some(Direction::In)),
    ("out", Some(Direction::Out)),
    ("any", None),
];

/// A setting that has no value for "not set". So it is always shown.
const SHOWN_ALWAYS: &str = "pflowproto";
/// The setting, the last of them, that takes the rest of a line.
const REST: &str = "only";
/// The settings that ifconfig(8) shows in its own words.
const IFCONFIG: [&str; 3] = ["flowsrc", "flowdst", "pflowproto"];

/// The words that take no value and unset something.
pub(super) fn unset_words() -> impl Iterator<Item = &'static str> + Clone {
    ROWS.iter().filter_map(|row| row.unsets)
}

/// The words that a value follows, synonyms last.
pub(super) fn value_words() -> impl Iterator<Item = &'static str> + Clone {
    let names = ROWS.iter().map(|row| row.name);
    names.chain(ROWS.iter().filter_map(|row| row.synonym))
}

fn row(word: &str) -> Option<&'static Row> {
    ROWS.iter()
        .find(|row| row.name == word || row.synonym == Some(word))
}

/// The setting that `word` unsets.
pub(super) fn unset(word: &str) -> Option<Setting> {
    let row = ROWS.iter().find(|row| row.unsets == Some(word))?;
    (row.unset)()
}

/// Reads the value of `word` off `words`; `None` if it is no word that has one.
///
/// # Errors
/// What is wrong with the value.
pub(super) fn parse<'a>(
    word: &str,
    words: &mut impl Iterator<Item = &'a str>,
) -> Option<Result<Setting, String>> {
    let row = row(word)?;
    let value: Vec<&str> = words.take((row.words)()).collect();
    Some(match value.is_empty() {
        true => Err("no value".to_owned()),
        false => (row.parse)(&value.join(" ")),
    })
}

/// The values that a word for an interface can have, if they are few.
pub fn values_of(word: &str) -> Vec<&'static str> {
    row(word).map_or_else(Vec::new, |row| (row.values)())
}

/// Every setting that is set, by its name.
pub fn shown(settings: &Settings) -> impl Iterator<Item = (&'static str, Shown)> {
    ROWS.iter()
        .filter_map(|row| Some((row.name, (row.show)(settings)?)))
}

impl Display for Settings {
    /// `create` and the words for what is not the default.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("create")?;
        for row in ROWS {
            // A filter takes the rest of the line.
            if row.name == REST && !self.is_up {
                f.write_str(" down")?;
            }
            if (row.is_default)(self) && row.name != SHOWN_ALWAYS {
                continue;
            }
            if let Some(shown) = (row.show)(self) {
                shown.write(row.name, f)?;
            }
        }
        Ok(())
    }
}

/// The words for what is not the default and has no words of ifconfig(8)'s, each behind a blank.
pub fn further_words(settings: &Settings) -> String {
    let rows = ROWS.iter();
    let rows = rows.filter(|row| !IFCONFIG.contains(&row.name) && !(row.is_default)(settings));
    let mut words = String::new();
    for (row, shown) in rows.filter_map(|row| Some((row, (row.show)(settings)?))) {
        // A string takes whatever is written.
        let _ = shown.write(row.name, &mut words);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_word_stands_twice_and_every_setting_with_an_unset_word_has_something_to_unset() {
        let mut words: Vec<_> = value_words().chain(unset_words()).collect();
        let count = words.len();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), count);
        for row in ROWS {
            assert_eq!(
                row.unsets.is_some(),
                (row.unset)().is_some(),
                "{}",
                row.name
            );
        }
    }
}
