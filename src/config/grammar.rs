//! The words: tables of them, and lines parsed into commands.
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
//! The settings of interfaces stand in words.rs. The words are ifconfig(8)'s and, as synonyms, pflowctl(8)'s of FreeBSD. Addresses are numeric,
//! IPv6 in brackets: nothing is ever resolved.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use super::show::Amount;
use super::words::{self, Setting};
use super::{Error, Pattern};
use crate::accounting::Counting;
use crate::export::{Pin, Rdomain, Settings, Source};
use crate::flow::Records;
use crate::solicit;
use crate::table::{Bound, MIN_OCTETS};
use crate::time::Wall;
use crate::wire::full::REVERSE_ENTERPRISE;
pub use crate::word::Spelling;
pub(crate) use crate::word::lookup;

/// Largest N of pflowN.
pub(crate) const MAX_UNIT: u32 = 65535;
/// Largest `refresh`, seconds: a day.
pub(crate) const MAX_REFRESH: u32 = 86400;
/// Largest `refreshpackets`.
pub(crate) const MAX_REFRESH_PACKETS: u32 = 1_000_000;
/// Largest `active`, seconds: a day.
pub(crate) const MAX_ACTIVE: u32 = 86400;
/// Largest `delay`, seconds: a day.
pub(crate) const MAX_DELAY: u32 = 86400;
/// Largest `statistics`, seconds: a day.
pub(crate) const MAX_STATISTICS: u32 = 86400;
/// Largest `reconnect`, seconds: a day.
pub(crate) const MAX_RECONNECT: u32 = 86400;
/// Least `renew`, seconds.
pub(crate) const MIN_RENEW: u32 = 10;
/// Largest `renew`, seconds: a day.
pub(crate) const MAX_RENEW: u32 = 86400;
/// Least `queue`, octets: some dozens of messages.
pub(crate) const MIN_QUEUE: u32 = 1 << 16;
/// Largest `queue`, octets.
pub(crate) const MAX_QUEUE: u32 = 1 << 30;
/// Largest `rate`, datagrams a second.
pub(crate) const MAX_RATE: u32 = 1_000_000;
/// Largest `keep interval`, seconds: half of what a file may be old.
pub(crate) const MAX_KEEP_INTERVAL: u32 = 1800;
/// Largest `timeout`, seconds.
pub(crate) const MAX_TIMEOUT: u32 = 0x7fff_ffff;

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

/// Most states that `states` and -m may ask for: places are numbered in 32 bits.
const MAX_STATES: u32 = 1 << 30;
/// Most memory that they may ask for, octets.
const MAX_OCTETS: u64 = 1 << 44;

/// How many states to hold at most: a number of them, or memory with its unit.
pub(super) fn bound(text: &str) -> Result<Bound, String> {
    let mut digits = text.chars();
    let unit = match digits.next_back() {
        Some('k' | 'K') => 1 << 10,
        Some('m' | 'M') => 1 << 20,
        Some('g' | 'G') => 1 << 30,
        _ => return number(text, 1, MAX_STATES).map(Bound::States),
    };
    let digits = digits.as_str();
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(format!("{text} is not an amount of memory, as 256M"));
    }
    let octets = digits.parse().ok().and_then(|n: u64| n.checked_mul(unit));
    match octets {
        Some(octets) if octets < MIN_OCTETS => {
            let least = Bound::Octets(MIN_OCTETS);
            Err(format!("{text} is less than {least}"))
        }
        Some(octets) if octets <= MAX_OCTETS => Ok(Bound::Octets(octets)),
        _ => {
            let most = Bound::Octets(MAX_OCTETS);
            Err(format!("{text} is more than {most}"))
        }
    }
}

pub(super) fn one_of<T: Clone>(values: &[(&str, T)], text: &str) -> Result<T, String> {
    values
        .iter()
        .find(|(name, _)| *name == text)
        .map(|(_, value)| value.clone())
        .ok_or_else(|| {
            let names: Vec<_> = values.iter().map(|(name, _)| *name).collect();
            format!("{text} is not one of: {}", names.join(" "))
        })
}

/// A number from `least` to `most`.
pub(super) fn number<T>(text: &str, least: T, most: T) -> Result<T, String>
where
    T: std::str::FromStr + PartialOrd + std::fmt::Display,
{
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match text.parse::<T>() {
        Ok(number) if digits && number >= least && number <= most => Ok(number),
        _ => Err(format!("{text} is not a number from {least} to {most}")),
    }
}

/// Octets from `least` to `most`, with a unit or without.
pub(super) fn octets(text: &str, least: u64, most: u64) -> Result<u64, String> {
    let (digits, unit) = match text.strip_suffix(['k', 'K', 'm', 'M', 'g', 'G']) {
        Some(digits) => match text.as_bytes().last() {
            Some(b'k' | b'K') => (digits, 1 << 10),
            Some(b'm' | b'M') => (digits, 1 << 20),
            _ => (digits, 1 << 30),
        },
        None => (text, 1),
    };
    let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    let octets = digits.parse().ok().and_then(|n: u64| n.checked_mul(unit));
    match octets {
        Some(octets) if is_number && (least..=most).contains(&octets) => Ok(octets),
        _ => Err(format!(
            "{text} is not a number of octets from {} to {}",
            Amount(least),
            Amount(most)
        )),
    }
}

/// Largest number of a routing table of this system: RT_TABLEID_MAX of OpenBSD's sys/socket.h,
/// RT_MAXFIBS of FreeBSD's net/route.h.
const MAX_TABLE: u32 = if cfg!(target_os = "openbsd") {
    255
} else {
    65535
};
/// Longest name of an interface of Linux (IFNAMSIZ without its NUL).
const MAX_DEVICE_NAME: usize = 15;

/// A private enterprise number that can be somebody's: not the one that RFC 5103 uses up.
pub(super) fn enterprise(text: &str) -> Result<u32, String> {
    match number(text, 1, u32::MAX)? {
        REVERSE_ENTERPRISE => Err(format!("{text} stands for the way back (RFC 5103)")),
        number => Ok(number),
    }
}

/// What this system calls a routing domain.
pub(super) fn rdomain(text: &str) -> Result<Rdomain, String> {
    if cfg!(any(target_os = "openbsd", target_os = "freebsd")) {
        return number(text, 0, MAX_TABLE).map(Rdomain::Table);
    }
    if !cfg!(target_os = "linux") {
        return Err("this system has no routing domains for sockets".to_owned());
    }
    let is_wrong = |c: char| c == '/' || c == '"' || c.is_whitespace() || c.is_control();
    if !(1..=MAX_DEVICE_NAME).contains(&text.len()) || text.contains(is_wrong) {
        return Err(format!("{text:?} is not the name of an interface"));
    }
    Ok(Rdomain::Device(text.to_owned()))
}

/// Longest name of a capture device, octets.
const MAX_CAPTURE_NAME: usize = 255;

/// Whether a line may begin with `word`, so that no macro can be called that.
pub(super) fn is_first_word(word: &str) -> bool {
    word == "include" || word.starts_with("pflow") || PROGRAM_WORDS.contains(&word)
}

/// A capture device: any name that a line can hold.
fn capture_name(text: &str) -> Result<String, String> {
    let is_wrong = |c: char| c == '"' || c.is_control();
    if !(1..=MAX_CAPTURE_NAME).contains(&text.len()) || text.contains(is_wrong) {
        return Err(format!("{text:?} is not the name of an interface"));
    }
    Ok(text.to_owned())
}

/// Longest name of a file (PATH_MAX without its NUL on the BSDs).
const MAX_FILE_NAME: usize = 1023;
/// Longest name of a socket: what `sun_path` holds on the BSDs, without its NUL.
const MAX_SOCKET_NAME: usize = 103;

/// A file: any name that a line can hold.
pub(super) fn file_name(text: &str) -> Result<String, String> {
    let is_wrong = |c: char| c == '"' || c.is_control();
    if !(1..=MAX_FILE_NAME).contains(&text.len()) || text.contains(is_wrong) {
        return Err(format!("{text:?} is not the name of a file"));
    }
    Ok(text.to_owned())
}

/// A pattern of names of files.
pub(super) fn file_pattern(text: &str) -> Result<String, String> {
    let name = file_name(text)?;
    Pattern::new(&name).map(|_| name)
}

/// Octets of the longest name of a host (RFC 1035 2.3.4).
const MAX_HOST_NAME: usize = 253;

/// The name of a host, as a certificate has it.
pub(super) fn server_name(text: &str) -> Result<String, String> {
    let is_right = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    let is_address = text.parse::<IpAddr>().is_ok();
    match (1..=MAX_HOST_NAME).contains(&text.len()) && text.bytes().all(is_right) && !is_address {
        true => Ok(text.to_owned()),
        false => Err(format!("{text:?} is not the name of a host")),
    }
}

/// SHA-256 of a certificate: 64 hexadecimal digits, with or without colons.
pub(super) fn pin(text: &str) -> Result<Pin, String> {
    let wrong = || format!("{text} is not a SHA-256: 64 hexadecimal digits");
    let digits: Vec<u8> = text.bytes().filter(|b| *b != b':').collect();
    let mut pin = [0; 32];
    if digits.len() != 2 * pin.len() {
        return Err(wrong());
    }
    for (octet, pair) in pin.iter_mut().zip(digits.chunks_exact(2)) {
        let pair = str::from_utf8(pair).map_err(|_| wrong())?;
        let is_hex = pair.bytes().all(|b| b.is_ascii_hexdigit());
        *octet = u8::from_str_radix(pair, 16)
            .ok()
            .filter(|_| is_hex)
            .ok_or_else(wrong)?;
    }
    Ok(Pin(pin))
}

/// A UNIX-domain socket.
pub(super) fn socket_name(text: &str) -> Result<String, String> {
    if text.len() > MAX_SOCKET_NAME {
        return Err(format!(
            "{text} is longer than {MAX_SOCKET_NAME} octets, which is all a socket's name can be"
        ));
    }
    match text {
        "ro" => Err("no name".to_owned()), // `socket ro` would mean something else
        text => file_name(text),
    }
}

/// Longest name of a user, octets (LOGIN_NAME_MAX of the BSDs without its NUL).
const MAX_USER_NAME: usize = 31;

/// A user.
pub(super) fn user_name(text: &str) -> Result<String, String> {
    let is_plain = text
        .bytes()
        .all(|b| b.is_ascii_graphic() && !b"\"#:$=".contains(&b));
    match text.len() {
        1..=MAX_USER_NAME if is_plain => Ok(text.to_owned()),
        _ => Err(format!(
            "{text:?} is not a user's name of 1 to {MAX_USER_NAME} characters"
        )),
    }
}

/// A name as pfsync carries it.
fn interface_name(text: &str) -> Result<String, String> {
    let is_plain = text
        .bytes()
        .all(|b| b.is_ascii_graphic() && b != b'"' && b != b'#');
    match text.len() {
        1..=15 if is_plain => Ok(text.to_owned()),
        _ => Err(format!(
            "{text} is not an interface name of 1 to 15 characters"
        )),
    }
}

/// `a.b.c.d:port` or `[v6]:port`.
pub(super) fn destination(text: &str) -> Result<SocketAddr, String> {
    let Source { address, port } = source(text)?;
    let port = port.ok_or("no port")?;
    Ok(SocketAddr::new(address, port))
}

/// `a.b.c.d`, `a.b.c.d:port`, `[v6]` or `[v6]:port`.
pub(super) fn source(text: &str) -> Result<Source, String> {
    let wrong = || format!("{text} is not a numeric address, IPv6 in brackets");
    let (address, rest) = if let Some(bracketed) = text.strip_prefix('[') {
        let (address, rest) = bracketed.split_once(']').ok_or_else(wrong)?;
        let address: Ipv6Addr = address.parse().map_err(|_| wrong())?;
        (IpAddr::V6(address), rest)
    } else {
        let end = text.find(':').unwrap_or(text.len());
        let (address, rest) = text.split_at(end);
        (IpAddr::V4(address.parse().map_err(|_| wrong())?), rest)
    };
    let port = match rest.strip_prefix(':') {
        Some(port) => Some(number(port, 0, u16::MAX).map_err(|problem| format!("port {problem}"))?),
        None if rest.is_empty() => None,
        None => return Err(wrong()),
    };
    Ok(Source { address, port })
}

/// UNIX seconds with an optional fraction.
pub(super) fn boottime(text: &str) -> Result<Wall, String> {
    let wrong = || format!("{text} is not a time in seconds since 1970");
    let (secs, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let secs = number::<i64>(secs, 0, 1 << 32).map_err(|_| wrong())?;
    if fraction.is_empty() || fraction.len() > 9 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return Err(wrong());
    }
    let nanos = format!("{fraction:0<9}").parse().map_err(|_| wrong())?;
    Ok(Wall::new(secs, nanos))
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

    #[test]
    fn a_boot_time_has_up_to_nine_digits_of_fraction() {
        assert_eq!(boottime("1699900000"), Ok(Wall::new(1_699_900_000, 0)));
        assert_eq!(
            boottime("1699900000.25"),
            Ok(Wall::new(1_699_900_000, 250_000_000))
        );
        assert!(boottime("1.0123456789").is_err());
        assert!(boottime("1.").is_err());
    }
}
