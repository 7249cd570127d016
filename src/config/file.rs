//! Lines of text: words, quotes, comments, and errors that say where.
//!
//! `#` begins a comment, double quotes keep blanks in a word.

use std::fmt;

use super::{Config, Error, parse};

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

/// Applies every line of `text`, a file called `name`.
///
/// # Errors
/// The first line that is refused; `config` has then changed in part: apply to a copy.
pub fn apply_text(config: &mut Config, name: &str, text: &str) -> Result<(), PlacedError> {
    for (line, number) in text.lines().zip(1..) {
        apply_line(config, line, || Place::File(name.to_owned(), number))?;
    }
    Ok(())
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
    let words = split(line).map_err(|error| PlacedError {
        place: place(),
        error,
    })?;
    if words.is_empty() {
        return Ok(());
    }
    apply_words(config, &words, place)
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
    parse(words)
        .and_then(|command| config.apply(&command))
        .map_err(|error| PlacedError {
            place: place(),
            error,
        })
}

/// The words of a line without its comment.
fn split(line: &str) -> Result<Vec<String>, Error> {
    if line.len() > MAX_LINE {
        return Err(Error::new("line", format!("longer than {MAX_LINE} octets")));
    }
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
            "pflow7 pflowproto 9",
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
        let settings = config.interfaces[&0];
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
        assert_eq!(split("a \"b # c\"d # e").unwrap(), ["a", "b # cd"]);
        assert_eq!(split("\"\"").unwrap(), [""]);
    }
}
