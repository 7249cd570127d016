//! Lines of text: words, quotes, comments, macros, included files, and errors that say where.
//!
//! ```text
//! name = "value"          a macro; $name stands for its value's words, but not inside quotes
//! include "file"          the lines of another file
//! word "a word" # rest    quotes keep blanks in a word, # begins a comment
//! ```
//! The rules are those of pf.conf(5). This module reads no file: the caller says how files are
//! read.

use std::collections::BTreeMap;
use std::fmt;
use std::io;

use super::grammar::is_first_word;
use super::{Config, Error, Spelling, parse};

/// Longest line, octets.
const MAX_LINE: usize = 4096;

/// Where a line stands.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Place {
    /// In a file, at a line counted from 1.
    File(String, usize),
    /// The argument of the n-th -e, counted from 1.
    Option(usize),
    /// The argument of a flag of this letter.
    Flag(&'static str),
    /// The rest of the command line.
    CommandLine,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(name, line) => write!(f, "{name}:{line}"),
            Self::Option(n) => write!(f, "-e {n}"),
            Self::Flag(letter) => write!(f, "-{letter}"),
            Self::CommandLine => f.write_str("command line"),
        }
    }
}

/// An error and where it is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PlacedError {
    /// Where.
    pub place: Place,
    /// What.
    pub error: Error,
}

impl fmt::Display for PlacedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.error)
    }
}

/// Deepest nesting of included files.
const MAX_DEPTH: usize = 16;
/// Most lines of a configuration, all files together.
const MAX_LINES: usize = 1 << 20;
/// Most macros.
const MAX_MACROS: usize = 4096;

/// How a file is read by its name.
pub type ReadFile<'a> = &'a mut dyn FnMut(&str) -> io::Result<String>;

/// Applies files to a configuration, with the macros they define.
pub struct Loader<'a> {
    read: ReadFile<'a>,
    macros: BTreeMap<String, String>,
    lines: usize,
}

impl<'a> Loader<'a> {
    /// A loader that knows no macro yet.
    pub fn new(read: ReadFile<'a>) -> Self {
        Self {
            read,
            macros: BTreeMap::new(),
            lines: 0,
        }
    }

    /// Applies every line of `text`, a file called `name`.
    ///
    /// # Errors
    /// The first line that is refused; `config` has then changed in part: apply to a copy.
    pub fn apply(
        &mut self,
        config: &mut Config,
        name: &str,
        text: &str,
    ) -> Result<(), PlacedError> {
        self.apply_nested(config, name, text, 0)
    }

    fn apply_nested(
        &mut self,
        config: &mut Config,
        name: &str,
        text: &str,
        depth: usize,
    ) -> Result<(), PlacedError> {
        for (line, number) in text.lines().zip(1..) {
            let placed = |error| PlacedError {
                place: Place::File(name.to_owned(), number),
                error,
            };
            self.lines += 1;
            if self.lines > MAX_LINES {
                return Err(placed(Error::new(
                    "line",
                    format!("more than {MAX_LINES} lines"),
                )));
            }
            if self.define(line).map_err(placed)? {
                continue;
            }
            let words = split(line, &self.macros).map_err(placed)?;
            match &*words {
                [] => {}
                [word, file] if word == "include" => {
                    if depth >= MAX_DEPTH {
                        let problem = format!("nested more than {MAX_DEPTH} deep");
                        return Err(placed(Error::new("include", problem)));
                    }
                    let text = (self.read)(file).map_err(|error| {
                        placed(Error::new("include", format_args!("{file}: {error}")))
                    })?;
                    self.apply_nested(config, file, &text, depth + 1)?;
                }
                [word, ..] if word == "include" => {
                    return Err(placed(Error::new("include", "expected one file name")));
                }
                words => apply_words(config, words, || Place::File(name.to_owned(), number))?,
            }
        }
        Ok(())
    }

    /// Takes a line that defines a macro; false if it is another.
    fn define(&mut self, line: &str) -> Result<bool, Error> {
        let Some((name, value)) = line.split_once('=') else {
            return Ok(false);
        };
        let name = name.trim();
        let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        if !starts_well || !name.chars().all(is_macro_character) {
            return Ok(false);
        }
        if is_first_word(name) {
            return Err(Error::new(name, "no macro can be called that"));
        }
        let words = split(value, &self.macros)?;
        if words.is_empty() {
            return Err(Error::new(name, "a macro without a value"));
        }
        if self.macros.len() >= MAX_MACROS {
            return Err(Error::new(name, format!("more than {MAX_MACROS} macros")));
        }
        self.macros.insert(name.to_owned(), words.join(" "));
        Ok(true)
    }
}

fn is_macro_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// Applies every line of `text`, a file called `name` that includes no other.
///
/// # Errors
/// The first line that is refused; `config` has then changed in part: apply to a copy.
pub fn apply_text(config: &mut Config, name: &str, text: &str) -> Result<(), PlacedError> {
    let mut none = |_: &str| Err(io::Error::from(io::ErrorKind::Unsupported));
    Loader::new(&mut none).apply(config, name, text)
}

/// Applies one line.
///
/// # Errors
/// Why it is refused; then nothing changed.
pub fn apply_line(
    config: &mut Config,
    line: &str,
    place: impl Fn() -> Place,
) -> Result<(), PlacedError> {
    let words = words(line).map_err(|error| PlacedError {
        place: place(),
        error,
    })?;
    if words.is_empty() {
        return Ok(());
    }
    apply_words(config, &words, place)
}

/// The words of a line that has no macros.
///
/// # Errors
/// What is wrong with it.
pub fn words(line: &str) -> Result<Vec<String>, Error> {
    split(line, &BTreeMap::new())
}

/// Applies a line that is words already.
///
/// # Errors
/// Why it is refused; then nothing changed.
pub fn apply_words<S: AsRef<str>>(
    config: &mut Config,
    words: &[S],
    place: impl Fn() -> Place,
) -> Result<(), PlacedError> {
    parse(words, Spelling::Whole)
        .and_then(|command| config.apply(&command))
        .map_err(|error| PlacedError {
            place: place(),
            error,
        })
}

/// The words of a line without its comment, macros replaced.
fn split(line: &str, macros: &BTreeMap<String, String>) -> Result<Vec<String>, Error> {
    if line.len() > MAX_LINE {
        return Err(Error::new("line", format!("longer than {MAX_LINE} octets")));
    }
    let line = expand(line, macros)?;
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut is_quoted = false;
    for c in line.chars() {
        match c {
            '"' => {
                is_quoted = !is_quoted;
                word.get_or_insert_default();
            }
            '#' if !is_quoted => break,
            c if c.is_whitespace() && !is_quoted => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    if is_quoted {
        return Err(Error::new(word.unwrap_or_default(), "quote not closed"));
    }
    words.extend(word);
    Ok(words)
}

/// `line` with each `$name` outside quotes and comments replaced.
fn expand(line: &str, macros: &BTreeMap<String, String>) -> Result<String, Error> {
    let mut out = String::new();
    let mut is_quoted = false;
    let mut rest = line;
    while let Some(c) = rest.chars().next() {
        rest = rest.get(c.len_utf8()..).unwrap_or_default();
        match c {
            '#' if !is_quoted => break,
            '$' if !is_quoted => {
                let len = rest.find(|c| !is_macro_character(c)).unwrap_or(rest.len());
                let (name, behind) = rest.split_at(len);
                let value = macros.get(name);
                out += value.ok_or_else(|| Error::new(format_args!("${name}"), "no such macro"))?;
                rest = behind;
            }
            c => {
                is_quoted ^= c == '"';
                out.push(c);
            }
        }
        if out.len() > MAX_LINE {
            let problem = format!("longer than {MAX_LINE} octets with its macros");
            return Err(Error::new("line", problem));
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_file_and_line() {
        let text =
            "# collectors\n\npflow0 flowdst 127.0.0.1:9995 # ours\npflow1 flowdst 127.0.0.1\n";
        let error = apply_text(&mut Config::default(), "pflow.conf", text).unwrap_err();
        assert_eq!(error.to_string(), "pflow.conf:4: flowdst: no port");
    }

    #[test]
    fn a_refused_line_changes_nothing() {
        let mut config = Config::default();
        let place = || Place::Option(1);
        apply_line(&mut config, "pflow0 mtu 600 flowdst 127.0.0.1:1", place).unwrap();
        let before = config.clone();
        for line in [
            "pflow0 mtu 700 hold 99",
            "pflow0 mtu 700 flowsrc [::1]",
            "pflow0 up \"mtu",
            "pflow7 pflowproto 7",
            "timeout interval 5",
        ] {
            assert!(apply_line(&mut config, line, place).is_err(), "{line}");
            assert_eq!(config, before, "{line}");
        }
    }

    #[test]
    fn words_apply_left_to_right() {
        let mut config = Config::default();
        apply_line(&mut config, "pflow0 mtu 600 down mtu 700 up", || {
            Place::CommandLine
        })
        .unwrap();
        let settings = &config.interfaces[&0];
        assert_eq!((settings.mtu, settings.is_up), (700, true));
        apply_line(&mut config, "pflow0 mtu 800 destroy create", || {
            Place::CommandLine
        })
        .unwrap();
        assert_eq!(config.interfaces[&0].mtu, 1500);
        apply_line(&mut config, "pflow0 destroy", || Place::CommandLine).unwrap();
        assert!(config.interfaces.is_empty());
    }

    #[test]
    fn quotes_keep_blanks_and_hashes() {
        let split = |line| split(line, &BTreeMap::new()).unwrap();
        assert_eq!(split("a \"b # c\"d # e"), ["a", "b # cd"]);
        assert_eq!(split("\"\""), [""]);
    }

    /// Applies the first of `files`, from which the others can be included.
    fn load(files: &[(&str, &str)]) -> Result<Config, String> {
        let mut read = |name: &str| {
            let found = files.iter().find(|(other, _)| *other == name);
            found
                .map(|(_, text)| (*text).to_owned())
                .ok_or(io::ErrorKind::NotFound.into())
        };
        let mut config = Config::default();
        let (name, text) = files[0];
        Loader::new(&mut read)
            .apply(&mut config, name, text)
            .map(|()| config)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_macro_stands_for_its_words_outside_quotes() {
        let text = "\
collector = \"127.0.0.1:9995\"
how = \"flowdst $collector\" # not inside quotes
v10 = flowdst $collector pflowproto 10
pflow0 $v10
interface \"$collector\"
";
        let config = load(&[("a", text)]).unwrap();
        assert_eq!(
            config.interfaces[&0].flowdst,
            Some("127.0.0.1:9995".parse().unwrap())
        );
        assert_eq!(config.captures, ["$collector"]);
        assert_eq!(
            load(&[("a", "pflow0 $nothing")]).unwrap_err(),
            "a:1: $nothing: no such macro"
        );
        assert_eq!(
            load(&[("a", "\nx =")]).unwrap_err(),
            "a:2: x: a macro without a value"
        );
    }

    #[test]
    fn an_included_files_errors_are_its_own() {
        let main = "port = 9995\ninclude \"b\"\n";
        let config = load(&[("a", main), ("b", "pflow0 flowdst 127.0.0.1:$port")]).unwrap();
        assert_eq!(config.interfaces[&0].flowdst.unwrap().port(), 9995);
        let error = load(&[("a", main), ("b", "\n\npflow0 mtu 3")]).unwrap_err();
        assert_eq!(error, "b:3: mtu: 3 is not a number from 72 to 2048");
        assert_eq!(
            load(&[("a", main)]).unwrap_err(),
            "a:2: include: b: entity not found"
        );
        assert!(
            load(&[("a", "include a")])
                .unwrap_err()
                .contains("nested more than 16 deep")
        );
    }

    #[test]
    fn macros_cannot_blow_a_line_up() {
        let mut text = String::from("m0 = xxxxxxxxxx\n");
        for n in 1..20 {
            let m = n - 1;
            text += &format!("m{n} = $m{m}$m{m}$m{m}$m{m}\n");
        }
        assert!(
            load(&[("a", &text)])
                .unwrap_err()
                .contains("longer than 4096 octets")
        );
    }
}
