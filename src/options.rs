//! Floor 8: the command line: one table of flags that getopts, the usage line and the manual
//! page's test read.

use std::ffi::OsString;
use std::path::Path;

use getopts::{Matches, ParsingStyle};

use crate::config::{Config, Loader, Place, PlacedError, apply_line, apply_words};
use crate::filter::Filter;
use crate::io::files;
use crate::output::Form;
use crate::output::messages::Detail;
use crate::output::top::Top;
use crate::state::Direction;
use crate::table::Bound;
use crate::time::Wall;
use crate::word::Spelling;

/// A flag: its letter, the name of its argument if it takes one, whether it may be repeated, and
/// what it does.
#[derive(Clone, Copy, Debug)]
pub struct Flag {
    /// Letter.
    pub letter: &'static str,
    /// Argument.
    pub argument: Option<&'static str>,
    /// Whether it may be given more than once.
    pub is_repeatable: bool,
    /// What it does.
    pub help: &'static str,
}

pub(crate) const fn flag(letter: &'static str, help: &'static str) -> Flag {
    Flag {
        letter,
        argument: None,
        is_repeatable: false,
        help,
    }
}

pub(crate) const fn option(
    letter: &'static str,
    argument: &'static str,
    help: &'static str,
) -> Flag {
    Flag {
        letter,
        argument: Some(argument),
        is_repeatable: false,
        help,
    }
}

pub(crate) const fn repeatable(flag: Flag) -> Flag {
    Flag {
        is_repeatable: true,
        ..flag
    }
}

/// Every flag.
pub const FLAGS: &[Flag] = &[
    flag(
        "a",
        "export every state, not only those whose rule says pflow",
    ),
    flag("d", "stay in the foreground, log to standard error"),
    flag("h", "print this and exit"),
    flag("n", "check the configuration, print it, exit"),
    flag("V", "print the version and exit"),
    repeatable(flag("v", "with -o messages print more, twice: all")),
    option(
        "b",
        "boottime",
        "when the machine came up, seconds since 1970",
    ),
    repeatable(option("e", "line", "a configuration line")),
    option(
        "F",
        "filter",
        "only flows and messages that it takes, as 'host 10.0.0.5'",
    ),
    option("f", "file", "configuration file"),
    repeatable(option("i", "interface", "capture there; default pfsync0")),
    option(
        "m",
        "states",
        "most states held, or memory for them, as 256M; default 1000000",
    ),
    option(
        "o",
        "output",
        "print text, json, csv, top, html, messages, messages-json, none",
    ),
    option("p", "pidfile", "file to put the process number in"),
    repeatable(option("r", "file", "read a savefile, - for standard input")),
    option("S", "direction", "export in, out or any states"),
    option("s", "socket", "control socket"),
    option("u", "user", "run as this user; default _pflow if root"),
    option(
        "x",
        "speed",
        "replay at this multiple of real time; 0: as fast as possible",
    ),
];

/// Configuration read if no other is named.
pub const DEFAULT_CONFIG: &str = "/etc/pflow.conf";
/// Most states held if nothing is said.
pub const DEFAULT_STATES: u32 = 1_000_000;
/// Control socket of a live capture if nothing is said.
pub const DEFAULT_SOCKET: &str = "/var/run/pflow.sock";
/// Control socket of the systemd unit, whose pflow is not root and has a directory of its own.
pub const SERVICE_SOCKET: &str = "/run/pflow/pflow.sock";
/// Process number of a daemon if nothing is said.
pub const DEFAULT_PIDFILE: &str = "/var/run/pflow.pid";
/// Whom to run as if started as root and nothing is said.
pub const DEFAULT_USER: &str = "_pflow";
/// Captured on if nothing is said.
pub const DEFAULT_INTERFACE: &str = "pfsync0";

/// What -S takes.
pub(crate) const DIRECTIONS: &[(&str, Option<Direction>)] = &[
    ("in", Some(Direction::In)),
    ("out", Some(Direction::Out)),
    ("any", None),
];

/// What the command line asks for.
#[derive(Clone, Debug)]
pub enum Action {
    /// -h.
    Help,
    /// -V.
    Version,
    /// Anything else.
    Run(Box<Options>),
}

/// The command line, checked.
#[derive(Clone, Debug)]
pub struct Options {
    /// -a.
    pub is_all: bool,
    /// -d.
    pub is_foreground: bool,
    /// -n.
    pub is_check: bool,
    /// How often -v.
    pub verbosity: usize,
    /// -S; `None`: any.
    pub direction: Option<Direction>,
    /// -F; `None`: all are meant.
    pub filter: Option<Filter>,
    /// -o, if given.
    pub form: Option<Form>,
    /// -r, in order.
    pub files: Vec<String>,
    /// -x; 0: as fast as possible.
    pub speed: f64,
    /// -p, if given.
    pub pidfile: Option<String>,
    boottime: Option<Wall>,
    user: Option<String>,
    socket: Option<String>,
    states: Option<Bound>,
    captures: Vec<String>,
    config_file: Option<String>,
    lines: Vec<String>,
    words: Vec<String>,
}

/// `usage: ...`, wrapped.
pub fn usage() -> String {
    let bare = FLAGS.iter().filter(|flag| flag.argument.is_none());
    let bare: String = bare.map(|flag| flag.letter).collect();
    let mut line = format!("usage: pflow [-{bare}]");
    let mut text = String::new();
    let options = FLAGS
        .iter()
        .filter_map(|flag| Some((flag.letter, flag.argument?)));
    let words = options.map(|(letter, argument)| format!("[-{letter} {argument}]"));
    for word in words.chain(["[pflowN parameter ...]".to_owned()]) {
        if line.len() + 1 + word.len() > 79 {
            text += &line;
            text.push('\n');
            line = " ".repeat(12);
        }
        line.push(' ');
        line += &word;
    }
    text + &line + "\n"
}

/// The usage and a line for each flag.
pub fn help() -> String {
    usage() + &help_of(FLAGS)
}

/// A line for each of a program's flags.
pub(crate) fn help_of(flags: &[Flag]) -> String {
    let line = |flag: &Flag| {
        let name = format!("-{} {}", flag.letter, flag.argument.unwrap_or_default());
        format!("  {name:<14} {}\n", flag.help)
    };
    flags.iter().map(line).collect()
}

/// The arguments of this program without its name.
///
/// # Errors
/// One that is not UTF-8.
pub fn arguments() -> Result<Vec<String>, String> {
    let arguments = std::env::args_os().skip(1).map(OsString::into_string);
    arguments
        .map(|argument| argument.map_err(|wrong| format!("{} is not UTF-8", wrong.display())))
        .collect()
}

/// Which of a program's `flags` there are; what follows them is free.
pub(crate) fn matches(flags: &[Flag], arguments: &[String]) -> Result<Matches, String> {
    let mut parser = getopts::Options::new();
    parser.parsing_style(ParsingStyle::StopAtFirstFree);
    for flag in flags {
        match (flag.argument, flag.is_repeatable) {
            (None, false) => parser.optflag(flag.letter, "", flag.help),
            (None, true) => parser.optflagmulti(flag.letter, "", flag.help),
            (Some(argument), false) => parser.optopt(flag.letter, "", flag.help, argument),
            (Some(argument), true) => parser.optmulti(flag.letter, "", flag.help, argument),
        };
    }
    parser.parse(arguments).map_err(|error| error.to_string())
}

/// Parses the command line without the program's name.
///
/// # Errors
/// What is wrong with it, for the user; the usage comes behind it.
pub fn parse(arguments: &[String]) -> Result<Action, String> {
    let matches = matches(FLAGS, arguments)?;
    if matches.opt_present("h") {
        return Ok(Action::Help);
    }
    if matches.opt_present("V") {
        return Ok(Action::Version);
    }
    checked(&matches).map(|options| Action::Run(Box::new(options)))
}

/// What `parse` makes of the value of `-letter`, if that is there.
fn value<T>(
    matches: &Matches,
    letter: &str,
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> Result<Option<T>, String> {
    let value = matches.opt_str(letter).map(|text| parse(&text));
    value
        .transpose()
        .map_err(|problem| format!("-{letter}: {problem}"))
}

fn checked(matches: &Matches) -> Result<Options, String> {
    let files = matches.opt_strs("r");
    let captures = matches.opt_strs("i");
    if !files.is_empty() && !captures.is_empty() {
        return Err("-i and -r cannot be combined".to_owned());
    }
    if files.is_empty() && matches.opt_present("x") {
        return Err("-x needs -r".to_owned());
    }
    if files.iter().filter(|file| *file == "-").count() > 1 {
        return Err("-r: standard input can be read once only".to_owned());
    }
    if let Some(word) = matches.free.first().filter(|word| is_file(word)) {
        return Err(format!("{word}: a file is read with -r: -r {word}"));
    }
    let form = value(matches, "o", form)?;
    let is_foreground = matches.opt_present("d");
    if files.is_empty() && !is_foreground && form.is_some_and(|form| form != Form::None) {
        return Err("-o needs -d or -r: a daemon has no standard output".to_owned());
    }
    Ok(Options {
        is_all: matches.opt_present("a"),
        is_foreground,
        is_check: matches.opt_present("n"),
        verbosity: matches.opt_count("v"),
        direction: value(matches, "S", |text| one_of(DIRECTIONS, text))?.flatten(),
        filter: value(matches, "F", filter)?,
        form,
        files,
        speed: value(matches, "x", speed)?.unwrap_or(0.0),
        pidfile: matches.opt_str("p"),
        boottime: value(matches, "b", crate::config::boottime)?,
        user: value(matches, "u", crate::config::user)?,
        socket: value(matches, "s", crate::config::socket)?,
        states: value(matches, "m", crate::config::states)?,
        captures,
        config_file: matches.opt_str("f"),
        lines: matches.opt_strs("e"),
        words: matches.free.clone(),
    })
}

/// Whether a word at the beginning of a line of configuration is probably a file: none of those
/// begins with a word that has a dot or a slash in it.
fn is_file(word: &str) -> bool {
    word.contains(['.', '/']) || Path::new(word).is_file()
}

fn form(text: &str) -> Result<Form, String> {
    match text.split_once('=') {
        Some(("top", words)) => Top::parse(words).map(Form::Top),
        _ => one_of(Form::VALUES, text),
    }
}

fn one_of<T: Copy>(values: &[(&str, T)], text: &str) -> Result<T, String> {
    values
        .iter()
        .find(|(name, _)| *name == text)
        .map(|(_, value)| *value)
        .ok_or_else(|| {
            let names: Vec<_> = values.iter().map(|(name, _)| *name).collect();
            format!("{text} is not one of: {}", names.join(" "))
        })
}

/// Reads a filter. An error has the text, with a mark below the wrong word.
fn filter(text: &str) -> Result<Filter, String> {
    Filter::parse(text, Spelling::Whole).map_err(|error| {
        let before = text.get(..error.at).unwrap_or_default();
        let mark = " ".repeat(before.chars().count());
        format!("{error}\n    {text}\n    {mark}^")
    })
}

fn speed(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(speed) if speed.is_finite() && speed >= 0.0 => Ok(speed),
        _ => Err(format!("{text} is not a speed: 0, 1, 2.5 ...")),
    }
}

impl Options {
    /// Whether savefiles are read.
    pub fn is_replay(&self) -> bool {
        !self.files.is_empty()
    }

    /// How much -o messages prints.
    pub fn detail(&self) -> Detail {
        match self.verbosity {
            0 => Detail::Brief,
            1 => Detail::Verbose,
            _ => Detail::VeryVerbose,
        }
    }

    /// The configuration: the file's lines, then those of -e, then the rest of the command line;
    /// flags go over what they set.
    ///
    /// # Errors
    /// The first line that is refused, or a file that cannot be read.
    pub fn config(&self) -> Result<Config, String> {
        let mut config = Config::default();
        if let Some((name, text)) = self.read_config_file()? {
            let mut read = files::read_config;
            Loader::new(&mut read)
                .apply(&mut config, &name, &text)
                .map_err(|error| error.to_string())?;
        }
        let located = |error: PlacedError| error.to_string();
        for (line, n) in self.lines.iter().zip(1..) {
            apply_line(&mut config, line, || Place::Option(n)).map_err(located)?;
        }
        if !self.words.is_empty() {
            apply_words(&mut config, &self.words, || Place::CommandLine).map_err(located)?;
        }
        config.boottime = self.boottime.or(config.boottime);
        config.states = self.states.or(config.states);
        config.user = self.user.clone().or(config.user);
        config.socket = self.socket.clone().or(config.socket);
        if !self.captures.is_empty() {
            config.captures.clear();
            for name in &self.captures {
                apply_words(&mut config, &["interface", name], || Place::Flag("i"))
                    .map_err(located)?;
            }
        }
        Ok(config)
    }

    /// The file of -f; without it /etc/pflow.conf, if it exists and this is no replay.
    fn read_config_file(&self) -> Result<Option<(String, String)>, String> {
        let (name, is_optional) = match &self.config_file {
            Some(name) => (name.as_str(), false),
            None if self.is_replay() => return Ok(None),
            None => (DEFAULT_CONFIG, true),
        };
        match files::read_config(name) {
            Ok(text) => Ok(Some((name.to_owned(), text))),
            Err(error) if is_optional && error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(format!("{name}: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(line: &str) -> Result<Action, String> {
        parse(
            &line
                .split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>(),
        )
    }

    fn options(line: &str) -> Options {
        match run(line) {
            Ok(Action::Run(options)) => *options,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn everything_behind_the_first_word_belongs_to_the_interface() {
        let options = options("-a -r x.pcap pflow0 -flowsrc flowdst 127.0.0.1:9995");
        let config = options.config().unwrap();
        assert!(options.is_all);
        assert_eq!(
            config.interfaces[&0].flowdst,
            Some("127.0.0.1:9995".parse().unwrap())
        );
    }

    #[test]
    fn flags_go_over_lines() {
        let line = options("-r x -m 5 -b 10.5").config().unwrap();
        assert_eq!(
            (line.states, line.boottime),
            (Some(Bound::States(5)), Some(Wall::new(10, 500_000_000)))
        );
        let mut both = options("-r x -m 5");
        both.lines.push("states 7".to_owned());
        assert_eq!(both.config().unwrap().states, Some(Bound::States(5)));
        let memory = options("-r x -m 256M").config().unwrap();
        assert_eq!(memory.states, Some(Bound::Octets(256 << 20)));
    }

    #[test]
    fn wrong_usage_is_told_by_the_flag() {
        let expected = [
            (
                "-o yaml",
                "-o: yaml is not one of: text json csv top html messages messages-json none",
            ),
            ("-S up", "-S: up is not one of: in out any"),
            ("-x 2", "-x needs -r"),
            (
                "-o json",
                "-o needs -d or -r: a daemon has no standard output",
            ),
            (
                "-u a:b",
                "-u: \"a:b\" is not a user's name of 1 to 31 characters",
            ),
            ("-r f -x fast", "-x: fast is not a speed: 0, 1, 2.5 ..."),
            ("-m 0", "-m: 0 is not a number from 1 to 1073741824"),
            ("-m 100k", "-m: 100k is less than 4M"),
            ("-i em0 -r x", "-i and -r cannot be combined"),
            ("x.pcap", "x.pcap: a file is read with -r: -r x.pcap"),
            (
                "-r x.pcap y.pcap",
                "y.pcap: a file is read with -r: -r y.pcap",
            ),
            (
                "Cargo.toml",
                "Cargo.toml: a file is read with -r: -r Cargo.toml",
            ),
            (
                "-r x -o top=hosts",
                "-o: top: hosts is not one of: src dst host port proto interface rule firewall nat",
            ),
            ("-r - -r -", "-r: standard input can be read once only"),
        ];
        for (line, problem) in expected {
            assert_eq!(run(line).unwrap_err(), problem, "{line}");
        }
        assert!(run("-Z").is_err());
    }

    #[test]
    fn errors_of_lines_say_which() {
        let mut wrong = options("-r x pflow0 flowdst 1.2.3.4");
        assert_eq!(
            wrong.config().unwrap_err(),
            "command line: flowdst: no port"
        );
        wrong.lines = vec!["pflow0 up".to_owned(), "pflow0 mtu 1".to_owned()];
        assert_eq!(
            wrong.config().unwrap_err(),
            "-e 2: mtu: 1 is not a number from 72 to 2048"
        );
        wrong.config_file = Some("/nonexistent".to_owned());
        assert!(wrong.config().unwrap_err().starts_with("/nonexistent: "));
    }

    #[test]
    fn the_usage_fits_a_terminal_and_names_every_flag() {
        let usage = usage();
        assert!(usage.lines().all(|line| line.len() < 80), "{usage}");
        for flag in FLAGS {
            assert!(usage.contains(flag.letter));
        }
    }
}
