//! Lines, parsed into commands: the words, and what follows each.
//!
//! ```text
//! line       = interface *( word ) | program-word
//! interface  = "pflow" number
//! word       = "create" | "destroy" | "up" | "down" | "-flowsrc" | "-flowdst"
//!            | ( "flowsrc" | "src" ) address[:port] | ( "flowdst" | "dst" ) address:port
//!            | ( "pflowproto" | "proto" ) ( "5" | "9" | "10" ) | "mtu" n | "template" name
//!            | "domain" ( n | "creatorid" ) | "engine" n n | "hold" n | "refresh" n
//!            | "refreshpackets" n | "active" n
//!            | "enterprise" n | "-enterprise" | "statistics" n | "biflow" ( "on" | "off" )
//!            | "events" ( "nat" | "none" ) | "delay" n | "icmp" ( "kernel" | "iana" )
//!            | "direction" ( "in" | "out" | "any" ) | "records" ( "state" | "connection" ) | "-records"
//!            | "tap" file | "-tap"
//!            | "rate" ( n | "none" ) | "-rate"
//!            | "transport" ( "udp" | "tcp" | "tls" | "dtls" | "sctp" ) | ( "ca" | "cert" | "key" ) file
//!            | "servername" name | "pin" sha256 | "renew" n | "-ca" | "-cert" | "-key" | "-servername"
//!            | "-pin" | "backup" address:port | "-backup" | "reconnect" n
//!            | "queue" ( n | amount ) | "spool" directory ( n | amount ) | "-spool" | "rdomain" ( n | name ) | "-rdomain"
//!            | "file" pattern | "-file" | "rotate" n | "compress" ( "none" | "gzip" ) | "retain" n
//! program-word = "interface" name | "states" ( n | amount ) | "boottime" time | "timeout" name n
//!            | "ifindex" ( name n | "auto" ) | "counters" ( "exact" | "estimate" )
//!            | "records" ( "state" | "connection" )
//!            | "flush" ( "active" | "none" ) | "join" ( "on" | "off" )
//!            | "socket" [ "ro" ] file
//!            | "keep" ( "file" file | "interval" n )
//!            | "solicit" ( "on" name | "off" | "rate" n | "peer" address )
//! ```
//! The settings of interfaces stand in words.rs, and what values look like in values.rs. The words
//! are ifconfig(8)'s and, as synonyms, pflowctl(8)'s of FreeBSD.

use std::net::IpAddr;

use super::Error;
use super::values::{
    MAX_KEEP_INTERVAL, MAX_TIMEOUT, boottime, bound, capture_name, file_name, interface_name,
    number, one_of, socket_name, source, user_name,
};
use super::words::{self, Setting};
use crate::accounting::Counting;
use crate::export::{Settings, Source};
use crate::flow::Records;
use crate::solicit;
use crate::table::Bound;
use crate::time::Wall;
pub use crate::word::Spelling;
pub(crate) use crate::word::lookup;

/// Largest N of pflowN.
pub(crate) const MAX_UNIT: u32 = 65535;
/// A line that makes sense by itself.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Words for one interface.
    Interface {
        /// N of pflowN.
        unit: u32,
        /// In order.
        words: Vec<InterfaceWord>,
    },
    /// A setting of the program.
    Program(ProgramWord),
}

/// One word for an interface, with its value.
#[derive(Clone, Debug, PartialEq)]
#[expect(
    missing_docs,
    reason = "each is the word of its name, explained in the file's grammar"
)]
pub enum InterfaceWord {
    Create,
    Destroy,
    Up,
    Down,
    Set(Setting),
}

impl InterfaceWord {
    /// Sets what it says. `Destroy` is the caller's.
    pub(super) fn apply(&self, settings: &mut Settings) {
        match self {
            Self::Create | Self::Destroy => {}
            Self::Up => settings.is_up = true,
            Self::Down => settings.is_up = false,
            Self::Set(setting) => setting.apply(settings),
        }
    }
}

/// A setting of the program.
#[derive(Clone, Debug, PartialEq)]
#[expect(
    missing_docs,
    reason = "each is the word of its name, explained in the file's grammar"
)]
pub enum ProgramWord {
    Interface(String),
    States(Bound),
    BootTime(Wall),
    Timeout {
        name: String,
        seconds: u32,
    },
    IfIndex {
        name: String,
        index: u16,
    },
    IfIndexAuto,
    Counters(Counting),
    /// `records`.
    Records(Records),
    FlushActive(bool),
    Join(bool),
    Socket {
        file: String,
        is_readonly: bool,
    },
    Solicit(SolicitWord),
    User(String),
    KeepFile(String),
    KeepInterval(u32),
}

/// What `solicit` is followed by.
#[derive(Clone, Debug, PartialEq)]
pub enum SolicitWord {
    /// Ask, on an interface.
    On(String),
    /// Do not ask.
    Off,
    /// States asked for in a second at most.
    Rate(u32),
    /// A firewall that does not hear the group.
    Peer(IpAddr),
}

/// Words for an interface that stand alone.
const BARE_WORDS: &[(&str, InterfaceWord)] = &[
    ("create", InterfaceWord::Create),
    ("destroy", InterfaceWord::Destroy),
    ("up", InterfaceWord::Up),
    ("down", InterfaceWord::Down),
];

/// Words that set the program.
const PROGRAM_WORDS: &[&str] = &[
    "interface",
    "states",
    "boottime",
    "timeout",
    "ifindex",
    "counters",
    "records",
    "flush",
    "join",
    "socket",
    "solicit",
    "user",
    "keep",
];

/// Every word for an interface, with whether a value follows it.
pub fn interface_word_names() -> impl Iterator<Item = (&'static str, bool)> + Clone {
    let bare = BARE_WORDS.iter().map(|(name, _)| *name);
    let bare = bare.chain(words::unset_words()).map(|name| (name, false));
    bare.chain(words::value_words().map(|name| (name, true)))
}

/// Every word that sets the program.
pub fn program_word_names() -> impl Iterator<Item = &'static str> + Clone {
    PROGRAM_WORDS.iter().copied()
}

/// Whether a line may begin with `word`, so that no macro can be called that.
pub(super) fn is_first_word(word: &str) -> bool {
    word == "include" || word.starts_with("pflow") || PROGRAM_WORDS.contains(&word)
}

/// Parses the words of a line, of which there is at least one.
///
/// # Errors
/// The word that is wrong and what was expected.
pub fn parse<S: AsRef<str>>(words: &[S], spelling: Spelling) -> Result<Command, Error> {
    let mut words = words.iter().map(AsRef::as_ref);
    let Some(first) = words.next() else {
        return Err(Error::new("line", "empty"));
    };
    match first.strip_prefix("pflow") {
        Some(unit) => {
            let unit = unit_number(unit).map_err(|problem| Error::new(first, problem))?;
            interface_words(unit, &mut words, spelling)
        }
        None => program_word(first, &mut words, spelling).map(Command::Program),
    }
}

/// Parses words for interface `unit`.
///
/// # Errors
/// The word that is wrong and what was expected.
pub(crate) fn parse_interface<S: AsRef<str>>(
    unit: u32,
    words: &[S],
    spelling: Spelling,
) -> Result<Command, Error> {
    interface_words(unit, &mut words.iter().map(AsRef::as_ref), spelling)
}

/// N of pflowN.
///
/// # Errors
/// It is none.
pub(crate) fn unit_number(text: &str) -> Result<u32, String> {
    let canonical =
        text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    match text.parse() {
        Ok(unit) if canonical && unit <= MAX_UNIT => Ok(unit),
        _ => Err(format!("interfaces are pflow0 to pflow{MAX_UNIT}")),
    }
}

fn interface_words<'a>(
    unit: u32,
    words: &mut impl Iterator<Item = &'a str>,
    spelling: Spelling,
) -> Result<Command, Error> {
    let names = interface_word_names().map(|(name, _)| name);
    let mut parsed = Vec::new();
    while let Some(word) = words.next() {
        let wrong = |problem| Error::new(word, problem);
        let name = lookup(names.clone(), word, spelling).map_err(wrong)?;
        let bare = BARE_WORDS.iter().find(|(bare, _)| *bare == name);
        if let Some((_, bare)) = bare {
            parsed.push(bare.clone());
        } else if let Some(setting) = words::unset(name) {
            parsed.push(InterfaceWord::Set(setting));
        } else if let Some(setting) = words::parse(name, words) {
            let setting = setting.map_err(|problem| Error::new(name, problem))?;
            parsed.push(InterfaceWord::Set(setting));
        }
    }
    if parsed.is_empty() {
        parsed.push(InterfaceWord::Create);
    }
    Ok(Command::Interface {
        unit,
        words: parsed,
    })
}

fn program_word<'a>(
    word: &'a str,
    words: &mut impl Iterator<Item = &'a str>,
    spelling: Spelling,
) -> Result<ProgramWord, Error> {
    let names = std::iter::once("pflowN").chain(PROGRAM_WORDS.iter().copied());
    let word = lookup(names, word, spelling).map_err(|problem| Error::new(word, problem))?;
    let mut value = || words.next().ok_or_else(|| Error::new(word, "no value"));
    let wrong = |problem| Error::new(word, problem);
    let parsed = match word {
        "interface" => ProgramWord::Interface(capture_name(value()?).map_err(wrong)?),
        "user" => ProgramWord::User(user_name(value()?).map_err(wrong)?),
        "states" => ProgramWord::States(bound(value()?).map_err(wrong)?),
        "boottime" => ProgramWord::BootTime(boottime(value()?).map_err(wrong)?),
        "timeout" => {
            let name = value()?.to_owned();
            let seconds = number(value()?, 0, MAX_TIMEOUT).map_err(wrong)?;
            ProgramWord::Timeout { name, seconds }
        }
        "ifindex" => match value()? {
            "auto" => ProgramWord::IfIndexAuto,
            name => ProgramWord::IfIndex {
                name: interface_name(name).map_err(wrong)?,
                index: number(value()?, 0, u16::MAX).map_err(wrong)?,
            },
        },
        "counters" => ProgramWord::Counters(one_of(Counting::VALUES, value()?).map_err(wrong)?),
        "records" => ProgramWord::Records(one_of(Records::VALUES, value()?).map_err(wrong)?),
        "flush" => {
            let active = one_of(&[("active", true), ("none", false)], value()?);
            ProgramWord::FlushActive(active.map_err(wrong)?)
        }
        "socket" => {
            let first = value()?;
            let is_readonly = first == "ro";
            let file = if is_readonly { value()? } else { first };
            ProgramWord::Socket {
                file: socket_name(file).map_err(wrong)?,
                is_readonly,
            }
        }
        "keep" => keep(value()?, value()?).map_err(wrong)?,
        "solicit" => {
            let first = value()?;
            let value = if first == "off" { "" } else { value()? };
            ProgramWord::Solicit(solicit(first, value).map_err(wrong)?)
        }
        _ => {
            let on = one_of(&[("on", true), ("off", false)], value()?).map_err(wrong)?;
            ProgramWord::Join(on)
        }
    };
    match words.next() {
        None => Ok(parsed),
        Some(extra) => Err(Error::new(extra, format!("nothing may follow {word}"))),
    }
}

/// What follows `keep`.
fn keep(word: &str, value: &str) -> Result<ProgramWord, String> {
    match word {
        "file" => Ok(ProgramWord::KeepFile(file_name(value)?)),
        "interval" => number(value, 1, MAX_KEEP_INTERVAL).map(ProgramWord::KeepInterval),
        _ => Err(format!("{word} is not one of: file interval")),
    }
}

/// What follows `solicit`.
fn solicit(word: &str, value: &str) -> Result<SolicitWord, String> {
    match word {
        "on" => Ok(SolicitWord::On(capture_name(value)?)),
        "rate" => Ok(SolicitWord::Rate(number(value, 1, solicit::MAX_RATE)?)),
        "peer" => match source(value)? {
            Source {
                port: None,
                address,
            } => Ok(SolicitWord::Peer(address)),
            _ => Err(format!("{value} has a port, which pfsync has not")),
        },
        "off" => Ok(SolicitWord::Off),
        _ => Err(format!("{word} is not one of: on off rate peer")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(line: &str) -> String {
        let words: Vec<_> = line.split_whitespace().collect();
        parse(&words, Spelling::Whole).unwrap_err().to_string()
    }

    #[test]
    fn errors_name_the_word_and_what_was_expected() {
        let expected = [
            ("pflow0 flowdst 127.0.0.1", "flowdst: no port"),
            ("pflow0 flowdst", "flowdst: no value"),
            (
                "pflow0 flowdst localhost:9995",
                "flowdst: localhost:9995 is not a numeric address, IPv6 in brackets",
            ),
            (
                "pflow0 flowdst 256.0.0.1:4000",
                "flowdst: 256.0.0.1:4000 is not a numeric address, IPv6 in brackets",
            ),
            (
                "pflow0 flowdst 192.0.0.2:400000",
                "flowdst: port 400000 is not a number from 0 to 65535",
            ),
            ("pflow0 pflowproto 7", "pflowproto: 7 is not one of: 5 9 10"),
            ("pflow0 mtu 71", "mtu: 71 is not a number from 72 to 2048"),
            (
                "pflow0 template cisco",
                "template: cisco is not one of: openbsd openbsd78 freebsd full",
            ),
            ("pflow00 up", "pflow00: interfaces are pflow0 to pflow65535"),
            ("pflowx up", "pflowx: interfaces are pflow0 to pflow65535"),
            ("pflow0 hold 31", "hold: 31 is not a number from 1 to 30"),
            (
                "boottime -5",
                "boottime: -5 is not a time in seconds since 1970",
            ),
            ("states 0", "states: 0 is not a number from 1 to 1073741824"),
            ("flush active now", "now: nothing may follow flush"),
            ("solicit off now", "now: nothing may follow solicit"),
            ("solicit on", "solicit: no value"),
            (
                "solicit em1 on",
                "solicit: em1 is not one of: on off rate peer",
            ),
            (
                "solicit peer 192.0.2.1:1",
                "solicit: 192.0.2.1:1 has a port, which pfsync has not",
            ),
            (
                "solicit rate 0",
                "solicit: 0 is not a number from 1 to 100000",
            ),
            (
                "interface a\"b",
                "interface: \"a\\\"b\" is not the name of an interface",
            ),
            (
                "ifindex sixteen-letters! 1",
                "ifindex: sixteen-letters! is not an interface name of 1 to 15 characters",
            ),
        ];
        for (line, problem) in expected {
            assert_eq!(error(line), problem, "{line}");
        }
        assert!(
            error("pflow0 frobnicate")
                .starts_with("frobnicate: unknown word, expected one of: create")
        );
        assert!(
            error("frobnicate").starts_with("frobnicate: unknown word, expected one of: pflowN")
        );
    }

    #[test]
    fn errors_about_connections_tell_the_range() {
        let expected = [
            (
                "pflow0 reconnect 0",
                "reconnect: 0 is not a number from 1 to 86400",
            ),
            (
                "pflow0 queue 63k",
                "queue: 63k is not a number of octets from 64k to 1G",
            ),
            (
                "pflow0 queue 5G",
                "queue: 5G is not a number of octets from 64k to 1G",
            ),
            (
                "pflow0 queue M",
                "queue: M is not a number of octets from 64k to 1G",
            ),
            ("pflow0 backup 192.0.2.1", "backup: no port"),
            (
                "pflow0 transport quic",
                "transport: quic is not one of: udp tcp tls dtls sctp",
            ),
        ];
        for (line, problem) in expected {
            assert_eq!(error(line), problem, "{line}");
        }
    }

    #[test]
    fn errors_about_memory_say_what_an_amount_is() {
        let expected = [
            ("states 100k", "states: 100k is less than 4M"),
            ("states 4095K", "states: 4095K is less than 4M"),
            ("states 16385G", "states: 16385G is more than 16384G"),
            (
                "states 99999999999999999999g",
                "states: 99999999999999999999g is more than 16384G",
            ),
            ("states M", "states: M is not an amount of memory, as 256M"),
            (
                "states 1.5G",
                "states: 1.5G is not an amount of memory, as 256M",
            ),
            (
                "states -8M",
                "states: -8M is not an amount of memory, as 256M",
            ),
            (
                "states 256MB",
                "states: 256MB is not a number from 1 to 1073741824",
            ),
        ];
        for (line, problem) in expected {
            assert_eq!(error(line), problem, "{line}");
        }
    }

    #[test]
    fn freebsds_words_are_synonyms() {
        let ifconfig = [
            "pflow1",
            "flowsrc",
            "10.0.0.1",
            "flowdst",
            "[::1]:2055",
            "pflowproto",
            "10",
        ];
        let pflowctl = [
            "pflow1",
            "src",
            "10.0.0.1",
            "dst",
            "[::1]:2055",
            "proto",
            "10",
        ];
        let parse = |words: &[&str]| parse(words, Spelling::Whole);
        assert_eq!(parse(&ifconfig), parse(&pflowctl));
    }

    #[test]
    fn words_can_be_abbreviated_where_that_is_allowed_and_one_is_meant() {
        let parse = |line: &str, spelling| {
            let words: Vec<_> = line.split_whitespace().collect();
            parse(&words, spelling).map_err(|error| error.to_string())
        };
        assert_eq!(
            parse(
                "pflow0 flowd 127.0.0.1:1 temp freebsd do 7",
                Spelling::Abbreviated
            ),
            Err("do: ambiguous, one of: down domain".to_owned())
        );
        assert_eq!(
            parse(
                "pflow0 flowd 127.0.0.1:1 temp freebsd dom 7",
                Spelling::Abbreviated
            ),
            parse(
                "pflow0 flowdst 127.0.0.1:1 template freebsd domain 7",
                Spelling::Whole
            )
        );
        assert_eq!(
            parse("sta 7", Spelling::Abbreviated),
            Ok(Command::Program(ProgramWord::States(Bound::States(7))))
        );
        assert!(parse("pflow0 flowd 127.0.0.1:1", Spelling::Whole).is_err());
        assert!(parse("", Spelling::Abbreviated).is_err());
    }
}
