//! JSON objects written as they are made, member by member, into a buffer of the caller's.
//!
//! ```text
//! Object::new(out)   {
//!   .number(k, 6)      "k":6
//!   .string(k, ..)     ,"k":"em0"        anything that can be displayed, escaped on its way
//!   .array(k, ..)      ,"k":[1,0]
//!   .object(k, |o| ..) ,"k":{..}
//! dropped            }
//! ```
//! No white space, no allocation but the buffer's growth. Members stand in the order of the calls;
//! that no key comes twice is left to the caller, as is the end of the line. Keys are escaped like
//! values. Octets off the wire go through [`crate::state::Escaped`], so that a string is always
//! UTF-8 and survives the way back.
//!
//! Source: RFC 8259 (4 objects, 6 numbers, 7 strings).

use std::fmt::{self, Display, Write as _};
use std::io::Write as _;

/// A type that prints as a JSON number. Floating point is none, because some of its values are no
/// JSON.
pub trait Number: Display {}

macro_rules! numbers {
    ($($integer:ty),+) => { $(impl Number for $integer {})+ };
}

numbers!(u8, u16, u32, u64, usize, i32, i64);

/// An object that is open. Dropping it closes it.
pub struct Object<'a> {
    out: &'a mut Vec<u8>,
    is_empty: bool,
}

impl<'a> Object<'a> {
    /// Opens an object at the end of `out`.
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Self {
            out,
            is_empty: true,
        }
    }

    /// Closes it.
    pub fn end(self) {}

    /// A string.
    pub fn string(&mut self, key: &str, value: impl Display) {
        self.key(key);
        quote(self.out, value);
    }

    /// A number.
    pub fn number(&mut self, key: &str, value: impl Number) {
        self.key(key);
        display(self.out, value);
    }

    /// `true` or `false`.
    pub fn boolean(&mut self, key: &str, value: bool) {
        self.key(key);
        display(self.out, value);
    }

    /// An array of numbers.
    pub fn array<N: Number>(&mut self, key: &str, values: impl IntoIterator<Item = N>) {
        self.list(key, values, display);
    }

    /// An array of strings.
    pub fn strings<S: Display>(&mut self, key: &str, values: impl IntoIterator<Item = S>) {
        self.list(key, values, quote);
    }

    /// An object in the object, with the members that `fill` gives it.
    pub fn object(&mut self, key: &str, fill: impl FnOnce(&mut Object<'_>)) {
        self.key(key);
        fill(&mut Object::new(self.out));
    }

    /// An array of objects, each with the members that `fill` gives it.
    pub fn objects<T>(
        &mut self,
        key: &str,
        values: impl IntoIterator<Item = T>,
        mut fill: impl FnMut(&mut Object<'_>, T),
    ) {
        self.key(key);
        self.out.push(b'[');
        for (n, value) in values.into_iter().enumerate() {
            if n > 0 {
                self.out.push(b',');
            }
            fill(&mut Object::new(self.out), value);
        }
        self.out.push(b']');
    }

    /// A value that `write` writes.
    pub(super) fn raw(&mut self, key: &str, write: impl FnOnce(&mut Vec<u8>)) {
        self.key(key);
        write(self.out);
    }

    fn list<T>(
        &mut self,
        key: &str,
        values: impl IntoIterator<Item = T>,
        write: impl Fn(&mut Vec<u8>, T),
    ) {
        self.key(key);
        self.out.push(b'[');
        for (n, value) in values.into_iter().enumerate() {
            if n > 0 {
                self.out.push(b',');
            }
            write(self.out, value);
        }
        self.out.push(b']');
    }

    fn key(&mut self, key: &str) {
        if !self.is_empty {
            self.out.push(b',');
        }
        self.is_empty = false;
        quote(self.out, key);
        self.out.push(b':');
    }
}

impl Drop for Object<'_> {
    fn drop(&mut self) {
        self.out.push(b'}');
    }
}

// A Vec takes every write, so the results below say nothing.

fn display(out: &mut Vec<u8>, value: impl Display) {
    let _ = write!(out, "{value}");
}

pub(super) fn quote(out: &mut Vec<u8>, value: impl Display) {
    out.push(b'"');
    let _ = write!(Escape(out), "{value}");
    out.push(b'"');
}

/// Escapes what is written through it.
struct Escape<'a>(&'a mut Vec<u8>);

impl fmt::Write for Escape<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for &octet in text.as_bytes() {
            match octet {
                b'"' | b'\\' => self.0.extend([b'\\', octet]),
                0..=0x1f | 0x7f => display(self.0, format_args!("\\u{octet:04x}")),
                _ => self.0.push(octet),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn parse(out: &[u8]) -> Value {
        serde_json::from_slice(out).unwrap()
    }

    #[test]
    fn every_kind_of_member_reads_back_and_nothing_else_is_written() {
        let mut out = b"before ".to_vec();
        let mut object = Object::new(&mut out);
        object.number("id", u64::MAX);
        object.number("low", i64::MIN);
        object.boolean("yes", true);
        object.array("packets", [1u64, 0]);
        object.array::<u8>("none", []);
        object.strings("flags", ["a", "b"]);
        object.object("empty", |_| ());
        object.object("peer", |peer| {
            peer.object("scrub", |s| s.number("ttl", 64u8))
        });
        object.end();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            concat!(
                r#"before {"id":18446744073709551615,"low":-9223372036854775808,"yes":true,"#,
                r#""packets":[1,0],"none":[],"flags":["a","b"],"empty":{},"#,
                r#""peer":{"scrub":{"ttl":64}}}"#
            )
        );
    }

    #[test]
    fn every_character_survives_in_values_and_keys() {
        let all: String = (0..=0x2fff)
            .chain(0x1_f600..0x1_f610)
            .filter_map(char::from_u32)
            .collect();
        let mut out = Vec::new();
        Object::new(&mut out).string(&all, &all);
        assert_eq!(parse(&out), json!({ all.clone(): all }));
        assert!(!out.iter().any(u8::is_ascii_control));
    }
}
