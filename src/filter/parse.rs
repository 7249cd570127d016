//! A filter out of its text.

use std::fmt::{self, Display};
use std::net::IpAddr;

use super::times::FORMS;
use super::{Comparison, Expr, Filter, Firewall, Net, Quality, Quantity, Side, Test, WORDS, When};
use crate::protocols::{port_number, protocol_number};
use crate::state::{Direction, IfName};
use crate::word::{Spelling, lookup};

/// Deepest that parentheses and `not` may stand in each other.
const MAX_DEPTH: usize = 64;
/// Longest name of an interface that pf has, octets.
const MAX_NAME: usize = 15;

/// What is wrong with a filter, and where.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Error {
    /// The word that is wrong, or behind which one is missing.
    pub word: String,
    /// Where it begins in the text, octets.
    pub at: usize,
    /// What is wrong.
    pub problem: String,
}

impl Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.word.is_empty() {
            true => f.write_str(&self.problem),
            false => write!(f, "{}: {}", self.word, self.problem),
        }
    }
}

/// A word and where it begins.
#[derive(Clone, Copy)]
struct Token<'a> {
    text: &'a str,
    at: usize,
}

impl Token<'_> {
    fn wrong(self, problem: impl Into<String>) -> Error {
        Error {
            word: self.text.to_owned(),
            at: self.at,
            problem: problem.into(),
        }
    }
}

/// The words of `text`: parentheses and signs need no blanks around them.
fn tokens(text: &str) -> Vec<Token<'_>> {
    let is_sign = |c: char| matches!(c, '<' | '>' | '=');
    let kind = |c: char| match c {
        '(' | ')' | '!' => 0,
        c if is_sign(c) => 1,
        c if c.is_whitespace() => 2,
        _ => 3,
    };
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let len = match kind(first) {
            0 => first.len_utf8(),
            of => rest.find(|c| kind(c) != of).unwrap_or(rest.len()),
        };
        let (word, behind) = rest.split_at(len);
        if kind(first) != 2 {
            tokens.push(Token {
                text: word,
                at: text.len() - rest.len(),
            });
        }
        rest = behind;
    }
    tokens
}

impl Filter {
    /// Reads a filter.
    ///
    /// # Errors
    /// The first word that is wrong, and what was expected.
    pub fn parse(text: &str, spelling: Spelling) -> Result<Self, Error> {
        let tokens = tokens(text);
        let mut parser = Parser {
            rest: &tokens,
            last: Token { text: "", at: 0 },
            spelling,
        };
        let expr = parser.any(0)?;
        match parser.rest.first() {
            None => Ok(Self(expr)),
            Some(extra) => Err(extra.wrong("no parenthesis is open")),
        }
    }
}

struct Parser<'a, 'b> {
    rest: &'b [Token<'a>],
    /// The one taken last.
    last: Token<'a>,
    spelling: Spelling,
}

impl<'a> Parser<'a, '_> {
    fn peek(&self) -> Option<&'a str> {
        self.rest.first().map(|token| token.text)
    }

    fn next(&mut self, expected: &str) -> Result<Token<'a>, Error> {
        match self.rest.split_first() {
            Some((token, rest)) => {
                self.rest = rest;
                self.last = *token;
                Ok(*token)
            }
            None => Err(self.last.wrong(format!("no {expected} follows"))),
        }
    }

    /// Whether `word` comes next; then it is taken.
    fn takes(&mut self, word: &str) -> bool {
        let is_next = self.peek() == Some(word);
        if is_next {
            // There is one.
            let _ = self.next(word);
        }
        is_next
    }

    fn any(&mut self, depth: usize) -> Result<Expr, Error> {
        let mut any = vec![self.all(depth)?];
        while self.takes("or") {
            any.push(self.all(depth)?);
        }
        Ok(joined(any, Expr::Any, |expr| match expr {
            Expr::Any(several) => Ok(several),
            other => Err(other),
        }))
    }

    fn all(&mut self, depth: usize) -> Result<Expr, Error> {
        let mut all = vec![self.one(depth)?];
        while !matches!(self.peek(), None | Some("or" | ")")) {
            self.takes("and");
            all.push(self.one(depth)?);
        }
        Ok(joined(all, Expr::All, |expr| match expr {
            Expr::All(several) => Ok(several),
            other => Err(other),
        }))
    }

    fn one(&mut self, depth: usize) -> Result<Expr, Error> {
        let token = self.next("test")?;
        if depth >= MAX_DEPTH {
            return Err(token.wrong(format!("more than {MAX_DEPTH} deep")));
        }
        match token.text {
            "!" => self.not(depth),
            "(" => {
                let expr = self.any(depth + 1)?;
                match self.takes(")") {
                    true => Ok(expr),
                    false => Err(token.wrong("not closed")),
                }
            }
            _ => self.test(token, depth),
        }
    }

    fn not(&mut self, depth: usize) -> Result<Expr, Error> {
        self.one(depth + 1).map(|one| Expr::Not(Box::new(one)))
    }

    fn test(&mut self, token: Token<'a>, depth: usize) -> Result<Expr, Error> {
        let names = WORDS.iter().map(|(name, ..)| *name);
        let names = names.filter(|name| !matches!(*name, "and" | "or"));
        let name = lookup(names, token.text, self.spelling).map_err(|why| token.wrong(why))?;
        let quantity = match name {
            "not" => return self.not(depth),
            "nat" => return Ok(Expr::Is(Test::Nat)),
            "in" => return Ok(Expr::Is(Test::Direction(Direction::In))),
            "out" => return Ok(Expr::Is(Test::Direction(Direction::Out))),
            "src" => return self.end(Side::Source).map(Expr::Is),
            "dst" => return self.end(Side::Destination).map(Expr::Is),
            "octets" => Some(Quantity::Octets),
            "packets" => Some(Quantity::Packets),
            "duration" => Some(Quantity::Duration),
            _ => None,
        };
        if let Some(quantity) = quantity {
            return self.comparison(quantity).map(Expr::Is);
        }
        let value = self.next(argument(name))?;
        let test = test(name, value.text).map_err(|problem| value.wrong(problem))?;
        Ok(Expr::Is(test))
    }

    /// What follows `src` and `dst`.
    fn end(&mut self, end: Side) -> Result<Test, Error> {
        let mut value = self.next("address")?;
        let word = value.text;
        if matches!(word, "host" | "net" | "port") {
            value = self.next(argument(word))?;
        }
        let test = match word {
            "port" => port(end, value.text),
            "host" => host(end, value.text),
            _ => net(end, value.text),
        };
        test.map_err(|problem| value.wrong(problem))
    }

    fn comparison(&mut self, quantity: Quantity) -> Result<Test, Error> {
        let sign = self.next("comparison")?;
        let how = Comparison::VALUES
            .iter()
            .find(|(name, _)| *name == sign.text);
        let (_, how) = how.ok_or_else(|| sign.wrong("expected one of: < <= = >= >"))?;
        let value = self.next("number")?;
        let number = match quantity {
            Quantity::Duration => amount(
                value.text,
                &[('s', 1), ('m', 60), ('h', 3600), ('d', 86400)],
            )
            .ok_or("not a duration, as 90, 90s, 5m, 2h or 1d"),
            _ => amount(
                value.text,
                &[
                    ('k', 1000),
                    ('K', 1000),
                    ('M', 1_000_000),
                    ('G', 1_000_000_000),
                ],
            )
            .ok_or("not a number, as 1500, 10k, 10M or 1G"),
        };
        let number = number.map_err(|problem| value.wrong(problem))?;
        Ok(Test::Compare(quantity, *how, number))
    }
}

/// `several` as one: what is of the same kind inside comes up, and one alone is itself.
fn joined(
    several: Vec<Expr>,
    make: fn(Vec<Expr>) -> Expr,
    open: fn(Expr) -> Result<Vec<Expr>, Expr>,
) -> Expr {
    let mut flat = Vec::new();
    for one in several {
        match open(one) {
            Ok(inside) => flat.extend(inside),
            Err(one) => flat.push(one),
        }
    }
    match flat.len() {
        1 => flat.remove(0),
        _ => make(flat),
    }
}

/// What follows a word.
fn argument(name: &str) -> &'static str {
    let found = WORDS.iter().find(|(word, ..)| *word == name);
    found.map_or("value", |(_, argument, _)| argument)
}

/// A test that is a word and a value.
fn test(name: &str, value: &str) -> Result<Test, String> {
    let none = |what: &str| format!("not {what}");
    match name {
        "host" => host(Side::Either, value),
        "net" | "address" => net(Side::Either, value),
        "port" => port(Side::Either, value),
        "proto" => {
            let proto = protocol_number(value).ok_or_else(|| none("a protocol"))?;
            Ok(Test::Protocol(proto))
        }
        "direction" => match value {
            "in" => Ok(Test::Direction(Direction::In)),
            "out" => Ok(Test::Direction(Direction::Out)),
            _ => Err(none("a direction, which is in or out")),
        },
        "interface" => interface(value),
        "rule" => {
            let rule = value.parse().map_err(|_| none("the number of a rule"))?;
            Ok(Test::Rule(rule))
        }
        "firewall" | "sender" => Ok(Test::Firewall(match value {
            "local" => Firewall::Local,
            address => {
                let address = ip(address).ok_or_else(|| none("an address, and not local"))?;
                Firewall::Address(address)
            }
        })),
        "creatorid" => {
            let digits = value.strip_prefix("0x").unwrap_or(value);
            let is_hex = digits.bytes().all(|octet| octet.is_ascii_hexdigit());
            let creatorid = u32::from_str_radix(digits, 16).ok().filter(|_| is_hex);
            let creatorid = creatorid.ok_or_else(|| none("a creatorid, as 5f3a9c01"))?;
            Ok(Test::Creatorid(creatorid))
        }
        "quality" => {
            let all = [Quality::Exact, Quality::Estimated, Quality::Partial];
            let quality = all.into_iter().find(|quality| quality.name() == value);
            let quality = quality.ok_or("not one of: exact estimated partial")?;
            Ok(Test::Quality(quality))
        }
        "age" => {
            let age = value.parse().map_err(|_| none("a number of seconds"))?;
            Ok(Test::Compare(Quantity::Duration, Comparison::AtLeast, age))
        }
        _ => {
            let when = When::parse(value).ok_or_else(|| format!("not a time, as {FORMS}"))?;
            Ok(match name {
                "from" => Test::From(when),
                _ => Test::To(when),
            })
        }
    }
}

fn interface(name: &str) -> Result<Test, String> {
    // Those that a configuration line takes for something else cannot be shown again.
    let is_plain = |octet: u8| octet.is_ascii_graphic() && !b"#$\"".contains(&octet);
    match name.len() <= MAX_NAME && name.bytes().all(is_plain) {
        true => Ok(Test::Interface(IfName::from(name))),
        false => Err("not the name of an interface".to_owned()),
    }
}

/// An address, IPv6 with or without brackets.
fn ip(text: &str) -> Option<IpAddr> {
    let bare = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    bare.unwrap_or(text).parse().ok()
}

fn host(end: Side, text: &str) -> Result<Test, String> {
    let address = ip(text).ok_or("not an address; names are not looked up")?;
    Ok(Test::Address(end, Net::of(address)))
}

/// `address` or `address/bits`.
fn net(end: Side, text: &str) -> Result<Test, String> {
    let Some((address, bits)) = text.split_once('/') else {
        return host(end, text);
    };
    let net = ip(address).zip(bits.parse().ok());
    let net = net.and_then(|(address, bits)| Net::new(address, bits));
    let net = net.ok_or("not a net, as 10.0.0.0/8 or 2001:db8::/32")?;
    Ok(Test::Address(end, net))
}

/// `n`, `n:n` or a name.
fn port(end: Side, text: &str) -> Result<Test, String> {
    let range = match text.split_once(':') {
        Some((least, most)) => port_number(least).zip(port_number(most)),
        None => port_number(text).map(|port| (port, port)),
    };
    match range {
        Some((least, most)) if least <= most => Ok(Test::Port(end, least, most)),
        Some(_) => Err("ends before it begins".to_owned()),
        None => Err("not a port, as 443, 1024:65535 or https".to_owned()),
    }
}

/// A number with one of `units` behind it, or none.
fn amount(text: &str, units: &[(char, u64)]) -> Option<u64> {
    let unit = units.iter().find(|(letter, _)| text.ends_with(*letter));
    let (digits, unit) = match unit {
        Some((letter, unit)) => (text.strip_suffix(*letter)?, *unit),
        None => (text, 1),
    };
    let is_digits = digits.bytes().all(|octet| octet.is_ascii_digit());
    digits
        .parse::<u64>()
        .ok()
        .filter(|_| is_digits)?
        .checked_mul(unit)
}
