//! What can be asked: one table of words that the parser, the help, pflowctl's completions and the
//! manual page's test read.
//!
//! ```text
//! line    = [ "json" ] request
//! request = configuration-line | "pflowN" | "pflow create" *( word )
//!         | "show" what | "list" [ "pflowN" ] [ "verbose" ] | "tap" "pflowN"
//!         | "top" *( word )
//!         | "flush" | "reload" | "log" ( "verbose" | "brief" ) | "help"
//! ```
//! Words may be abbreviated as long as one only can be meant.

use super::metrics::Exposition;
use super::question::{Access, Question};
use super::states;
use super::top::TopQuestion;
use super::view::AnswerForm;
use crate::config::{
    self, Command, InterfaceWord, Spelling, interface_word_names, lookup, program_word_names,
};

pub use crate::filter::WordHelp;

/// Requests beside configuration lines.
pub const REQUESTS: &[WordHelp] = &[
    ("flush", "", "send the records that interfaces hold"),
    ("help", "", "list the requests"),
    (
        "list",
        "[pflowN] [verbose]",
        "interfaces as FreeBSD's pflowctl lists them",
    ),
    ("log", "verbose | brief", "how much to log"),
    ("reload", "", "read the configuration again"),
    ("show", "what ...", "show something, see below"),
    ("tap", "pflowN", "the datagrams sent, as a savefile"),
    (
        "top",
        "[by [-]key] [n] [filter ...]",
        "as show top; on a terminal a full screen",
    ),
];

/// What can be shown.
pub const SHOWN: &[WordHelp] = &[
    ("config", "", "the configuration, as lines of it"),
    ("health", "", "what is wrong, and what to do about it"),
    ("interfaces", "[pflowN]", "interfaces, as ifconfig does"),
    (
        "metrics",
        "[openmetrics | prometheus]",
        "every counter and gauge, for monitoring",
    ),
    ("senders", "", "firewalls heard, and of whose states"),
    ("sources", "", "where packets are captured"),
    ("states", "[filter ...]", "states held"),
    ("statistics", "", "every counter"),
    ("timeouts", "", "pf's timeouts"),
    (
        "top",
        "[by [-]key] [n] [filter ...]",
        "the first n states by rate, octets, ...",
    ),
];

/// What `show states` can be narrowed down by.
pub const FILTERS: &[WordHelp] = crate::filter::WORDS;

/// A line that makes sense.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// Something to answer.
    Ask(Question),
    /// A configuration line.
    Configure(Command),
    /// Create the free interface of the lowest number, with these words.
    Create(Vec<InterfaceWord>),
    /// Follow what interface N sends.
    Tap(u32),
    /// Send records held.
    Flush,
    /// Read the configuration again.
    Reload,
    /// Log more, or less.
    Log {
        /// Whether more.
        is_verbose: bool,
    },
}

/// Parses a line; an empty one asks for nothing.
///
/// # Errors
/// What is wrong with it, or that it may not be asked here.
pub fn parse(line: &str, access: Access) -> Result<Option<(AnswerForm, Request)>, String> {
    let words = config::words(line).map_err(|error| error.to_string())?;
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (form, words) = match &*words {
        ["json", rest @ ..] => (AnswerForm::Json, rest),
        all => (AnswerForm::Text, all),
    };
    if words.is_empty() && form == AnswerForm::Text {
        return Ok(None);
    }
    let request = request(words)?;
    if access == Access::ReadOnly && !matches!(request, Request::Ask(_)) {
        return Err("this socket answers show only".to_owned());
    }
    Ok(Some((form, request)))
}

fn request(words: &[&str]) -> Result<Request, String> {
    let Some((first, rest)) = words.split_first() else {
        return Ok(Request::Ask(Question::Interfaces(None)));
    };
    if *first == "pflow" {
        return create(rest);
    }
    if first.starts_with("pflow") {
        return match rest {
            [] => Ok(Request::Ask(Question::Interfaces(Some(unit(first)?)))),
            _ => configure(words),
        };
    }
    // `flush` alone sends what is held, with a word behind it is a setting.
    let names = std::iter::once("pflowN")
        .chain(REQUESTS.iter().map(|(name, ..)| *name))
        .chain(program_word_names().filter(|name| *name != "flush"));
    let name = found(lookup(names, first, Spelling::Abbreviated), first)?;
    match (name, rest) {
        ("flush", []) => Ok(Request::Flush),
        ("help", []) => Ok(Request::Ask(Question::Help)),
        ("list", rest) => list(rest),
        ("log", [how]) => {
            let how = found(
                lookup(["verbose", "brief"].into_iter(), how, Spelling::Abbreviated),
                how,
            )?;
            Ok(Request::Log {
                is_verbose: how == "verbose",
            })
        }
        ("log", []) => Err("log: expected verbose or brief".to_owned()),
        ("reload", []) => Ok(Request::Reload),
        ("show", rest) => show(rest).map(Request::Ask),
        ("tap", [interface]) => unit(interface).map(Request::Tap),
        ("top", rest) => TopQuestion::parse(rest).map(|top| Request::Ask(Question::Top(top))),
        ("tap", []) => Err("tap: expected an interface".to_owned()),
        ("help" | "log" | "reload" | "tap", [.., extra]) => {
            Err(format!("{extra}: nothing may follow here"))
        }
        _ => configure(words),
    }
}

/// An error that names the word.
fn found<T>(outcome: Result<T, String>, word: &str) -> Result<T, String> {
    outcome.map_err(|problem| format!("{word}: {problem}"))
}

/// N of `pflowN`.
fn unit(word: &str) -> Result<u32, String> {
    let number = word.strip_prefix("pflow").unwrap_or(word);
    found(config::unit_number(number), word)
}

fn configure(words: &[&str]) -> Result<Request, String> {
    config::parse(words, Spelling::Abbreviated)
        .map(Request::Configure)
        .map_err(|error| error.to_string())
}

/// `pflow create ...`, as ifconfig(8) of FreeBSD has it.
fn create(words: &[&str]) -> Result<Request, String> {
    let ["create", rest @ ..] = words else {
        return Err("pflow: expected create, or a number right behind pflow".to_owned());
    };
    match config::parse_interface(0, rest, Spelling::Abbreviated) {
        Ok(Command::Interface { words, .. }) => Ok(Request::Create(words)),
        Ok(Command::Program(_)) => Err("create: expected words for an interface".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn list(words: &[&str]) -> Result<Request, String> {
    let (mut of, mut is_verbose) = (None, false);
    for word in words {
        if word.starts_with("pflow") {
            of = Some(unit(word)?);
        } else {
            let name = lookup(std::iter::once("verbose"), word, Spelling::Abbreviated);
            is_verbose = found(name, word)? == "verbose";
        }
    }
    Ok(Request::Ask(Question::List {
        unit: of,
        is_verbose,
    }))
}

fn show(words: &[&str]) -> Result<Question, String> {
    let names = SHOWN.iter().map(|(name, ..)| *name);
    let Some((what, rest)) = words.split_first() else {
        let names: Vec<_> = names.collect();
        return Err(format!("show: expected one of: {}", names.join(" ")));
    };
    let name = found(lookup(names, what, Spelling::Abbreviated), what)?;
    match (name, rest) {
        ("states", rest) => states::filter(rest).map(Question::States),
        ("top", rest) => TopQuestion::parse(rest).map(Question::Top),
        ("metrics", [exposition]) => {
            let names = Exposition::VALUES.iter();
            let name = lookup(
                names.map(|(name, _)| *name),
                exposition,
                Spelling::Abbreviated,
            );
            Ok(Question::Metrics(Exposition::named(found(
                name, exposition,
            )?)))
        }
        ("interfaces", [interface]) => unit(interface).map(|unit| Question::Interfaces(Some(unit))),
        (_, [extra, ..]) => Err(format!("{extra}: nothing may follow {name}")),
        ("config", _) => Ok(Question::Config),
        ("health", _) => Ok(Question::Health),
        ("metrics", _) => Ok(Question::Metrics(Exposition::default())),
        ("interfaces", _) => Ok(Question::Interfaces(None)),
        ("senders", _) => Ok(Question::Senders),
        ("sources", _) => Ok(Question::Sources),
        ("timeouts", _) => Ok(Question::Timeouts),
        _ => Ok(Question::Statistics),
    }
}

/// The requests, a line each.
pub fn help() -> String {
    let line = |prefix: &str, (name, arguments, help): &WordHelp| {
        let words = format!("{prefix}{name} {arguments}");
        match words.trim_end() {
            // What is too long for its column has a line of its own.
            long if long.len() >= 36 => format!("{long}\n{:<36}{help}\n", ""),
            short => format!("{short:<36}{help}\n"),
        }
    };
    let mut text = line(
        "",
        &("pflowN", "[word ...]", "show an interface, or set it:"),
    );
    let interface: Vec<_> = interface_word_names().map(|(name, _)| name).collect();
    text += &wrapped(&interface);
    text += &REQUESTS
        .iter()
        .map(|word| line("", word))
        .collect::<String>();
    text += &SHOWN
        .iter()
        .map(|word| line("show ", word))
        .collect::<String>();
    text += "where a filter is words joined by and, or, not and parentheses:\n";
    text += &FILTERS
        .iter()
        .map(|word| line("  ", word))
        .collect::<String>();
    text += "and these lines of configuration:\n";
    text += &wrapped(&program_word_names().collect::<Vec<_>>());
    text
}

/// Words in lines of less than 80 characters, indented.
fn wrapped(words: &[&str]) -> String {
    let (mut text, mut width) = (String::new(), 80);
    for word in words {
        if width + 1 + word.len() >= 80 {
            text += if text.is_empty() { "   " } else { "\n   " };
            width = 3;
        }
        text.push(' ');
        text += word;
        width += 1 + word.len();
    }
    text + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(line: &str) -> Question {
        match parse(line, Access::ReadOnly) {
            Ok(Some((_, Request::Ask(question)))) => question,
            other => panic!("{line}: {other:?}"),
        }
    }

    fn error(line: &str, access: Access) -> String {
        parse(line, access).unwrap_err()
    }

    #[test]
    fn words_may_be_abbreviated_while_one_only_is_meant() {
        assert_eq!(asked("sh stati"), Question::Statistics);
        assert_eq!(asked("show i pflow3"), Question::Interfaces(Some(3)));
        assert_eq!(asked("json"), Question::Interfaces(None));
        assert_eq!(
            asked("list v pflow2"),
            Question::List {
                unit: Some(2),
                is_verbose: true
            }
        );
        assert_eq!(
            error("show stat", Access::Full),
            "stat: ambiguous, one of: states statistics"
        );
        assert_eq!(
            error("s", Access::Full),
            "s: ambiguous, one of: show states socket solicit"
        );
        assert_eq!(parse("", Access::Full), Ok(None));
    }

    #[test]
    fn a_wrong_word_is_answered_with_those_there_are() {
        let list = error("frobnicate", Access::Full);
        for (name, ..) in REQUESTS {
            assert!(list.contains(name), "{list}");
        }
        assert!(error("show", Access::Full).contains("senders"));
        assert_eq!(
            error("show timeouts now", Access::Full),
            "now: nothing may follow timeouts"
        );
        assert_eq!(
            error("pflowx", Access::Full),
            "pflowx: interfaces are pflow0 to pflow65535"
        );
    }

    #[test]
    fn the_readonly_socket_changes_nothing() {
        for line in [
            "pflow0 up",
            "pflow create",
            "flush",
            "flush active",
            "reload",
            "log verbose",
            "tap pflow0",
            "states 7",
        ] {
            assert!(parse(line, Access::Full).is_ok(), "{line}");
            assert_eq!(
                error(line, Access::ReadOnly),
                "this socket answers show only"
            );
        }
    }

    #[test]
    fn flush_alone_is_a_request_and_with_a_word_a_setting() {
        let request = |line| parse(line, Access::Full).unwrap().unwrap().1;
        assert_eq!(request("flush"), Request::Flush);
        assert!(matches!(
            request("flush active"),
            Request::Configure(Command::Program(_))
        ));
        assert!(matches!(
            request("pflow create dst 127.0.0.1:1"),
            Request::Create(_)
        ));
    }

    #[test]
    fn the_help_names_everything_and_fits_a_terminal() {
        let help = help();
        assert!(help.lines().all(|line| line.len() <= 80), "{help}");
        let words = REQUESTS
            .iter()
            .chain(SHOWN)
            .chain(FILTERS)
            .map(|(name, ..)| *name);
        for word in words.chain(program_word_names()) {
            assert!(help.contains(word), "{word}");
        }
    }
}
