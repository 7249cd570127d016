//! The forms of values: numbers, amounts, names, addresses and times, and the ranges of numbers.
//!
//! Addresses are numeric, IPv6 in brackets: nothing is ever resolved.

use std::fmt::{self, Display};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use super::Pattern;
use crate::accounting::Counting;
use crate::export::{Pin, Rdomain, Source};
use crate::solicit::pf;
use crate::table::{Bound, MIN_OCTETS};
use crate::time::Wall;
use crate::wire::full::REVERSE_ENTERPRISE;

/// Largest `refresh`, seconds: a day.
pub(super) const MAX_REFRESH: u32 = 86400;
/// Largest `refreshpackets`.
pub(super) const MAX_REFRESH_PACKETS: u32 = 1_000_000;
/// Largest `active`, seconds: a day.
pub(super) const MAX_ACTIVE: u32 = 86400;
/// Largest `delay`, seconds: a day.
pub(super) const MAX_DELAY: u32 = 86400;
/// Largest `statistics`, seconds: a day.
pub(super) const MAX_STATISTICS: u32 = 86400;
/// Largest `reconnect`, seconds: a day.
pub(super) const MAX_RECONNECT: u32 = 86400;
/// Least `renew`, seconds.
pub(super) const MIN_RENEW: u32 = 10;
/// Largest `renew`, seconds: a day.
pub(super) const MAX_RENEW: u32 = 86400;
/// Least `queue`, octets: some dozens of messages.
pub(super) const MIN_QUEUE: u32 = 1 << 16;
/// Largest `queue`, octets.
pub(super) const MAX_QUEUE: u32 = 1 << 30;
/// Largest `rate`, datagrams a second.
pub(super) const MAX_RATE: u32 = 1_000_000;
/// Largest `keep interval`, seconds: half of what a file may be old.
pub(super) const MAX_KEEP_INTERVAL: u32 = 1800;
/// Largest `timeout`, seconds.
pub(super) const MAX_TIMEOUT: u32 = 0x7fff_ffff;

/// Most states that `states` and -m may ask for: places are numbered in 32 bits.
const MAX_STATES: u32 = 1 << 30;
/// Most memory that they may ask for, octets.
const MAX_OCTETS: u64 = 1 << 44;

/// How flows get counters if the counters that were heard are not exact.
pub(super) fn counting(text: &str) -> Result<Counting, String> {
    let counting = one_of(Counting::VALUES, text)?;
    match counting == Counting::Pf && !pf::CAN_BE_ASKED {
        true => Err("pf can be asked on OpenBSD and FreeBSD only".to_owned()),
        false => Ok(counting),
    }
}

/// How many states to hold at most: a number of them, or memory with its unit. The argument of -m.
///
/// # Errors
/// What is wrong with it.
pub fn bound(text: &str) -> Result<Bound, String> {
    let (digits, Some(unit)) = split_unit(text) else {
        return number(text, 1, MAX_STATES).map(Bound::States);
    };
    if !is_digits(digits) {
        return Err(format!("{text} is not an amount of memory, as 256M"));
    }
    match octets_of(digits, unit) {
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

/// `text` without the letter of its unit, and the octets that the unit has.
fn split_unit(text: &str) -> (&str, Option<u64>) {
    let mut digits = text.chars();
    let unit = match digits.next_back() {
        Some('k' | 'K') => 1 << 10,
        Some('m' | 'M') => 1 << 20,
        Some('g' | 'G') => 1 << 30,
        _ => return (text, None),
    };
    (digits.as_str(), Some(unit))
}

/// So many units, if the octets fit a u64.
fn octets_of(digits: &str, unit: u64) -> Option<u64> {
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// One of a few values, by its name.
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
    T: FromStr + PartialOrd + Display,
{
    match text.parse::<T>() {
        Ok(number) if is_digits(text) && number >= least && number <= most => Ok(number),
        _ => Err(format!("{text} is not a number from {least} to {most}")),
    }
}

/// Octets from `least` to `most`, with a unit or without.
pub(super) fn octets(text: &str, least: u64, most: u64) -> Result<u64, String> {
    let (digits, unit) = split_unit(text);
    match octets_of(digits, unit.unwrap_or(1)) {
        Some(octets) if is_digits(digits) && (least..=most).contains(&octets) => Ok(octets),
        _ => Err(format!(
            "{text} is not a number of octets from {} to {}",
            WithUnit(least),
            WithUnit(most)
        )),
    }
}

/// A word in quotes if it needs them.
pub(super) struct Quoted<'a>(pub(super) &'a str);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_special = |c: char| c.is_whitespace() || matches!(c, '#' | '$' | '=');
        let is_plain = !self.0.is_empty() && !self.0.contains(is_special);
        if is_plain {
            f.write_str(self.0)
        } else {
            write!(f, "\"{}\"", self.0)
        }
    }
}

/// Octets in the largest unit of which they are a whole number.
pub(super) struct WithUnit(pub(super) u64);

impl Display for WithUnit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(1 << 30, "G"), (1 << 20, "M"), (1 << 10, "k")];
        let is_whole = |(unit, _): &&(u64, &str)| self.0 >= *unit && self.0.is_multiple_of(*unit);
        match units.iter().find(is_whole) {
            Some((unit, name)) => write!(f, "{}{name}", self.0 / unit),
            None => self.0.fmt(f),
        }
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

/// A private enterprise number that an organization can have. RFC 5103 uses one number itself.
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
    name(text, MAX_DEVICE_NAME, is_wrong, "an interface").map(Rdomain::Device)
}

/// Longest name of a capture device, octets.
const MAX_CAPTURE_NAME: usize = 255;

/// `text` as the name of `what`: not empty, no longer than `most` octets, no character wrong.
fn name(
    text: &str,
    most: usize,
    is_wrong: impl Fn(char) -> bool,
    what: &str,
) -> Result<String, String> {
    match (1..=most).contains(&text.len()) && !text.contains(is_wrong) {
        true => Ok(text.to_owned()),
        false => Err(format!("{text:?} is not the name of {what}")),
    }
}

/// A character that no line can hold inside of quotes.
fn is_unquotable(c: char) -> bool {
    c == '"' || c.is_control()
}

/// A capture device: any name that a line can hold.
pub(super) fn capture_name(text: &str) -> Result<String, String> {
    name(text, MAX_CAPTURE_NAME, is_unquotable, "an interface")
}

/// Longest name of a file (PATH_MAX without its NUL on the BSDs).
const MAX_FILE_NAME: usize = 1023;
/// Longest name of a socket: what `sun_path` holds on the BSDs, without its NUL.
const MAX_SOCKET_NAME: usize = 103;

/// A file: any name that a line can hold.
pub(super) fn file_name(text: &str) -> Result<String, String> {
    name(text, MAX_FILE_NAME, is_unquotable, "a file")
}

/// A pattern of names of files.
pub(super) fn file_pattern(text: &str) -> Result<String, String> {
    let pattern = file_name(text)?;
    Pattern::new(&pattern).map(|_| pattern)
}

/// Octets of the longest name of a host (RFC 1035 2.3.4).
const MAX_HOST_NAME: usize = 253;

/// The name of a host, as a certificate has it.
pub(super) fn server_name(text: &str) -> Result<String, String> {
    let is_wrong = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_'));
    match text.parse::<IpAddr>() {
        Ok(_) => Err(format!("{text:?} is not the name of a host")),
        Err(_) => name(text, MAX_HOST_NAME, is_wrong, "a host"),
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

/// A UNIX-domain socket. The argument of -s.
///
/// # Errors
/// What is wrong with it.
pub fn socket_name(text: &str) -> Result<String, String> {
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

/// A user. The argument of -u.
///
/// # Errors
/// What is wrong with it.
pub fn user_name(text: &str) -> Result<String, String> {
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
pub(super) fn interface_name(text: &str) -> Result<String, String> {
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

/// UNIX seconds with an optional fraction. The argument of -b.
///
/// # Errors
/// It is none.
pub fn boottime(text: &str) -> Result<Wall, String> {
    let wrong = || format!("{text} is not a time in seconds since 1970");
    let (secs, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let secs = number::<i64>(secs, 0, 1 << 32).map_err(|_| wrong())?;
    if fraction.len() > 9 || !is_digits(fraction) {
        return Err(wrong());
    }
    let nanos = format!("{fraction:0<9}").parse().map_err(|_| wrong())?;
    Ok(Wall::new(secs, nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

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
