//! Which flows, states and messages are meant: one grammar for -F, `only`, `show states` and `top`.
//!
//! ```text
//! filter   = both *( "or" both )
//! both     = one *( [ "and" ] one )
//! one      = ( "not" | "!" ) one | "(" filter ")" | test
//! test     = [ "src" | "dst" ] ( "host" address | "net" address/bits | "port" n[:n] )
//!          | ( "src" | "dst" ) address[/bits] | "proto" name | "in" | "out" | "interface" name
//!          | "rule" n | "firewall" ( address | "local" ) | "creatorid" hex | "quality" name | "nat"
//!          | ( "octets" | "packets" | "duration" ) ( "<" | "<=" | "=" | ">=" | ">" ) n[unit]
//!          | ( "from" | "to" ) time
//! ```
//! The words are those of pfctl(8) and tcpdump(8). Whoever asks makes a [`Subject`] of what it has;
//! a test of something that a subject does not tell is not met.

mod parse;
#[cfg(test)]
mod tests;
mod times;

use std::fmt::{self, Display};
use std::net::IpAddr;

use jiff::tz::TimeZone;

use crate::flow::{Flow, Passage, Quality, Tuple};
use crate::protocols::Protocol;
use crate::state::{Direction, IfName};
use crate::time::Wall;
pub use parse::Error;
pub use times::When;

/// A word of the grammar, what follows it, what it is for.
pub type WordHelp = (&'static str, &'static str, &'static str);

/// Every word. Those that mean the same stand beside each other in the help.
pub const WORDS: &[WordHelp] = &[
    ("and", "", "both of its sides; may be left out"),
    ("or", "", "one of its sides at least"),
    ("not", "", "not what follows"),
    ("host", "address", "either end, before or after translation"),
    (
        "src",
        "address[/bits]",
        "the initiator's end; also src port n",
    ),
    ("dst", "address[/bits]", "the responder's end, likewise"),
    (
        "net",
        "address/bits",
        "either end, before or after translation",
    ),
    (
        "port",
        "n | n:n | name",
        "either end's, before or after translation",
    ),
    ("proto", "name | number", "of this protocol"),
    ("in", "", "of states of this direction"),
    ("out", "", "of states of this direction"),
    ("interface", "name", "bound to this interface"),
    ("rule", "number", "made by this rule"),
    (
        "firewall",
        "address | local",
        "last heard of from this firewall",
    ),
    ("creatorid", "hex", "made by this firewall"),
    ("quality", "name", "exact, estimated or partial"),
    ("nat", "", "translated"),
    ("octets", "> n[k|M|G]", "of both directions; also < <= = >="),
    ("packets", "> n[k|M|G]", "likewise"),
    ("duration", "> n[s|m|h|d]", "from the first packet on"),
    ("from", "time", "not over before it"),
    ("to", "time", "begun by then"),
    ("address", "address[/bits]", "as host or net"),
    ("age", "seconds", "at least that old"),
    ("direction", "in | out", "as in or out"),
    ("sender", "address | local", "as firewall"),
];

/// What must hold, as it was written. [`Filter::resolved`] gives its times of day their day.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Filter(Expr);

#[derive(Clone, Debug, Eq, PartialEq)]
enum Expr {
    /// All of two or more.
    All(Vec<Self>),
    /// One of two or more at least.
    Any(Vec<Self>),
    Not(Box<Self>),
    Is(Test),
}

/// Which end is meant.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Side {
    Either,
    Source,
    Destination,
}

/// How a number is compared.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Comparison {
    Less,
    AtMost,
    Equal,
    AtLeast,
    More,
}

impl Comparison {
    const VALUES: [(&'static str, Self); 5] = [
        ("<=", Self::AtMost),
        (">=", Self::AtLeast),
        ("<", Self::Less),
        (">", Self::More),
        ("=", Self::Equal),
    ];

    fn holds(self, number: u64, bound: u64) -> bool {
        match self {
            Self::Less => number < bound,
            Self::AtMost => number <= bound,
            Self::Equal => number == bound,
            Self::AtLeast => number >= bound,
            Self::More => number > bound,
        }
    }
}

/// What is compared.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Quantity {
    Octets,
    Packets,
    /// Seconds.
    Duration,
}

/// Who spoke.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Firewall {
    /// This host, or a capture without addresses.
    Local,
    /// The outer source address.
    Address(IpAddr),
}

impl From<Option<IpAddr>> for Firewall {
    fn from(address: Option<IpAddr>) -> Self {
        address.map_or(Self::Local, Self::Address)
    }
}

/// Addresses that begin alike.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Net {
    /// Zero behind its bits.
    address: IpAddr,
    bits: u8,
}

impl Net {
    /// The net of `address`; `None`: an address has not so many bits.
    fn new(address: IpAddr, bits: u8) -> Option<Self> {
        let address = match address {
            IpAddr::V4(v4) if bits <= 32 => {
                let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
                IpAddr::from((u32::from(v4) & mask).to_be_bytes())
            }
            IpAddr::V6(v6) if bits <= 128 => {
                let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
                IpAddr::from((u128::from(v6) & mask).to_be_bytes())
            }
            _ => return None,
        };
        Some(Self { address, bits })
    }

    fn of(address: IpAddr) -> Self {
        let bits = if address.is_ipv4() { 32 } else { 128 };
        Self { address, bits }
    }

    fn is_host(&self) -> bool {
        self.bits == Self::of(self.address).bits
    }

    fn has(&self, other: IpAddr) -> bool {
        let differs = match (self.address, other) {
            (IpAddr::V4(a), IpAddr::V4(b)) => u128::from(u32::from(a) ^ u32::from(b)) << 96,
            (IpAddr::V6(a), IpAddr::V6(b)) => u128::from(a) ^ u128::from(b),
            _ => return false,
        };
        u32::from(self.bits) <= differs.leading_zeros()
    }
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Test {
    Address(Side, Net),
    /// The first port and the last.
    Port(Side, u16, u16),
    Protocol(u8),
    Direction(Direction),
    Interface(IfName),
    Rule(u32),
    Firewall(Firewall),
    Creatorid(u32),
    Quality(Quality),
    Nat,
    Compare(Quantity, Comparison, u64),
    From(When),
    To(When),
}

/// What a filter is asked about. What is not known, or does not apply, is `None`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Subject<'a> {
    /// The initiator and the responder before translation.
    pub before: Option<&'a Tuple>,
    /// After it, if something is translated.
    pub after: Option<&'a Tuple>,
    /// Directions of its states: in, out.
    pub directions: [bool; 2],
    /// Interfaces of its states.
    pub interfaces: [Option<IfName>; 2],
    /// Number of the rule that made it.
    pub rule: Option<u32>,
    /// Who spoke of it last.
    pub firewall: Option<Firewall>,
    /// Whose states.
    pub creatorid: Option<u32>,
    /// What its counters are worth.
    pub quality: Option<Quality>,
    /// Octets from the initiator and back.
    pub octets: Option<[u64; 2]>,
    /// Packets from the initiator and back.
    pub packets: Option<[u64; 2]>,
    /// Seconds from its first packet on.
    pub duration: Option<u64>,
    /// When it began and ended.
    pub span: Option<(Wall, Wall)>,
}

impl<'a> Subject<'a> {
    /// A flow.
    pub fn of_flow(flow: &'a Flow, passage: &Passage) -> Self {
        let (start, end) = (flow.times.start_ms(), flow.times.end_ms());
        let wall = |ms: u64| {
            let ms = i64::try_from(ms).unwrap_or(i64::MAX);
            Wall::from_millis(ms)
        };
        let is_joined = passage.egress.is_some();
        let is = |direction| is_joined || flow.direction == direction;
        let detail = flow.detail.as_ref();
        Self {
            before: Some(&flow.tuple),
            after: flow.translated.as_ref(),
            directions: [is(Direction::In), is(Direction::Out)],
            interfaces: [
                Some(flow.ifname),
                passage.egress.map(|(interface, _)| interface),
            ],
            rule: detail.map(|detail| detail.rule),
            firewall: detail.map(|detail| detail.sender.into()),
            creatorid: Some(flow.id.creatorid),
            quality: Some(flow.quality),
            octets: Some(flow.octets),
            packets: Some(flow.packets),
            duration: Some(end.saturating_sub(start) / 1000),
            span: Some((wall(start), wall(end))),
        }
    }

    fn tuples(&self) -> impl Iterator<Item = &'a Tuple> {
        self.before.into_iter().chain(self.after)
    }
}

/// Both directions together.
fn sum([forward, back]: [u64; 2]) -> u64 {
    forward.saturating_add(back)
}

impl Filter {
    /// Whether `subject` is meant.
    pub fn admits(&self, subject: &Subject<'_>) -> bool {
        self.0.admits(subject)
    }

    /// The same filter with instants for all its times: a time of day is of the local day of `day`,
    /// and a time without an offset is in `zone`.
    pub fn resolved(&self, day: Wall, zone: &TimeZone) -> Self {
        let change = |test: &Test| match test {
            Test::From(when) => Test::From(when.resolved(day, zone)),
            Test::To(when) => Test::To(when.resolved(day, zone)),
            other => other.clone(),
        };
        Self(self.0.map(&change))
    }

    /// The first time in it whose day or zone is not written.
    pub fn local_time(&self) -> Option<&When> {
        let is_local =
            |test: &Test| matches!(test, Test::From(when) | Test::To(when) if when.is_local());
        match self.0.find(&is_local) {
            Some(Test::From(when) | Test::To(when)) => Some(when),
            _ => None,
        }
    }

    /// Whether it asks for what only full states tell ([`Flow::detail`]).
    pub fn needs_details(&self) -> bool {
        let is = |test: &Test| matches!(test, Test::Rule(_) | Test::Firewall(_));
        self.0.find(&is).is_some()
    }

    /// Whether it asks for rules.
    pub fn needs_rules(&self) -> bool {
        let is = |test: &Test| matches!(test, Test::Rule(_));
        self.0.find(&is).is_some()
    }
}

impl Expr {
    fn admits(&self, subject: &Subject<'_>) -> bool {
        match self {
            Self::All(all) => all.iter().all(|one| one.admits(subject)),
            Self::Any(any) => any.iter().any(|one| one.admits(subject)),
            Self::Not(one) => !one.admits(subject),
            Self::Is(test) => test.is_met(subject),
        }
    }

    /// The first of its tests that `is` holds for.
    fn find(&self, is: &dyn Fn(&Test) -> bool) -> Option<&Test> {
        match self {
            Self::All(several) | Self::Any(several) => several.iter().find_map(|one| one.find(is)),
            Self::Not(one) => one.find(is),
            Self::Is(test) => Some(test).filter(|test| is(test)),
        }
    }

    /// The same with each test changed by `change`.
    fn map(&self, change: &dyn Fn(&Test) -> Test) -> Self {
        let each = |several: &[Self]| several.iter().map(|one| one.map(change)).collect();
        match self {
            Self::All(all) => Self::All(each(all)),
            Self::Any(any) => Self::Any(each(any)),
            Self::Not(one) => Self::Not(Box::new(one.map(change))),
            Self::Is(test) => Self::Is(change(test)),
        }
    }
}

impl Test {
    fn is_met(&self, subject: &Subject<'_>) -> bool {
        match self {
            Self::Address(end, net) => subject.tuples().any(|tuple| {
                let has = |address: crate::state::Address| net.has(address.ip(tuple.af));
                match end {
                    Side::Either => has(tuple.src) || has(tuple.dst),
                    Side::Source => has(tuple.src),
                    Side::Destination => has(tuple.dst),
                }
            }),
            Self::Port(end, least, most) => subject.tuples().any(|tuple| {
                let has = |port| (*least..=*most).contains(&port);
                match end {
                    Side::Either => has(tuple.sport) || has(tuple.dport),
                    Side::Source => has(tuple.sport),
                    Side::Destination => has(tuple.dport),
                }
            }),
            Self::Protocol(proto) => subject.tuples().any(|tuple| tuple.proto == *proto),
            Self::Direction(direction) => {
                let [is_in, is_out] = subject.directions;
                match direction {
                    Direction::In => is_in,
                    Direction::Out => is_out,
                }
            }
            Self::Interface(name) => subject.interfaces.contains(&Some(*name)),
            Self::Rule(rule) => subject.rule == Some(*rule),
            Self::Firewall(firewall) => subject.firewall == Some(*firewall),
            Self::Creatorid(creatorid) => subject.creatorid == Some(*creatorid),
            Self::Quality(quality) => subject.quality == Some(*quality),
            Self::Nat => subject.after.is_some(),
            Self::Compare(quantity, how, bound) => {
                let number = match quantity {
                    Quantity::Octets => subject.octets.map(sum),
                    Quantity::Packets => subject.packets.map(sum),
                    Quantity::Duration => subject.duration,
                };
                number.is_some_and(|number| how.holds(number, *bound))
            }
            Self::From(when) => match (subject.span, when.instant()) {
                (Some((_, end)), Some(from)) => end >= from,
                _ => false,
            },
            Self::To(when) => match (subject.span, when.instant()) {
                (Some((start, _)), Some(to)) => start <= to,
                _ => false,
            },
        }
    }
}

impl Display for Filter {
    /// As it parses back to the same.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (several, joint) = match self {
            Self::All(all) => (all, " and "),
            Self::Any(any) => (any, " or "),
            Self::Not(one) => {
                f.write_str("not ")?;
                return one.fmt_inside(f);
            }
            Self::Is(test) => return test.fmt(f),
        };
        for (n, one) in several.iter().enumerate() {
            if n > 0 {
                f.write_str(joint)?;
            }
            one.fmt_inside(f)?;
        }
        Ok(())
    }
}

impl Expr {
    /// In parentheses where it is several.
    fn fmt_inside(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All(_) | Self::Any(_) => write!(f, "({self})"),
            Self::Not(_) | Self::Is(_) => self.fmt(f),
        }
    }
}

impl Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(end, net) => {
                f.write_str(match end {
                    Side::Either if net.is_host() => "host ",
                    Side::Either => "net ",
                    Side::Source => "src ",
                    Side::Destination => "dst ",
                })?;
                write!(f, "{}", net.address)?;
                match net.is_host() {
                    true => Ok(()),
                    false => write!(f, "/{}", net.bits),
                }
            }
            Self::Port(end, least, most) => {
                f.write_str(match end {
                    Side::Either => "port ",
                    Side::Source => "src port ",
                    Side::Destination => "dst port ",
                })?;
                match least == most {
                    true => least.fmt(f),
                    false => write!(f, "{least}:{most}"),
                }
            }
            Self::Protocol(proto) => match Protocol(*proto).to_string() {
                unnamed if unnamed.starts_with("proto-") => write!(f, "proto {proto}"),
                name => write!(f, "proto {name}"),
            },
            Self::Direction(direction) => f.write_str(direction.name()),
            Self::Interface(name) => write!(f, "interface {name}"),
            Self::Rule(rule) => write!(f, "rule {rule}"),
            Self::Firewall(Firewall::Local) => f.write_str("firewall local"),
            Self::Firewall(Firewall::Address(address)) => write!(f, "firewall {address}"),
            Self::Creatorid(creatorid) => write!(f, "creatorid {creatorid:08x}"),
            Self::Quality(quality) => write!(f, "quality {}", quality.name()),
            Self::Nat => f.write_str("nat"),
            Self::Compare(quantity, how, bound) => {
                let name = match quantity {
                    Quantity::Octets => "octets",
                    Quantity::Packets => "packets",
                    Quantity::Duration => "duration",
                };
                let sign = Comparison::VALUES.iter().find(|(_, other)| other == how);
                write!(f, "{name} {} {bound}", sign.map_or("=", |(sign, _)| sign))
            }
            Self::From(when) => write!(f, "from {when}"),
            Self::To(when) => write!(f, "to {when}"),
        }
    }
}
