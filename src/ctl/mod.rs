//! Floor 8: pflowctl(8): its command line, and the talk with the control socket.
//!
//! ```text
//! arguments -> one line, or for FreeBSD's flags one or two -> socket -> " line" ... "ok" | "error: ..."
//! ```
//! Words are sent as they are: pflow knows them, abbreviates them and complains.

mod complete;
mod connect;
mod flags;
mod hear;
mod http;
mod line;
#[cfg(feature = "top")]
mod top;

use std::io::{self, BufReader, BufWriter, IsTerminal, Write};
use std::process::ExitCode;

use getopts::Matches;

use crate::options::{help_of, matches};
pub use complete::SHELLS;
pub use flags::FLAGS;
use hear::{AnswerTo, Ending, complain, hear};
use line::joined;

/// The usage.
pub fn usage() -> String {
    "usage: pflowctl [-ajv] [-s socket] [command ...]
       pflowctl [-clv] [-d id] [-s id word ...]
       pflowctl [-s socket] metrics http
       pflowctl -C shell
"
    .to_owned()
}

/// The usage and a line for each flag.
pub fn help() -> String {
    let mut text = usage() + &help_of(FLAGS);
    text += "Commands, which pflow lists when asked for help, are lines of pflow.conf(5) and:\n";
    text + &crate::control::request::help()
}

/// What the command line asks for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Action {
    /// Print this.
    Print(String),
    /// Answer requests for metrics by HTTP.
    Serve {
        /// The socket; `None`: where pflow usually has it.
        socket: Option<String>,
    },
    /// Say lines to the control socket.
    Say {
        /// The socket; `None`: where pflow usually has it.
        socket: Option<String>,
        /// What to say, in order; an error ends it.
        lines: Vec<Line>,
    },
}

/// Something to say, and what to do with the answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Line {
    text: String,
    answer: AnswerTo,
}

impl Line {
    /// What is said.
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// Parses the command line without the program's name.
///
/// # Errors
/// What is wrong with it, for the user; the usage comes behind it.
pub fn parse(arguments: &[String]) -> Result<Action, String> {
    let matches = matches(FLAGS, arguments)?;
    if matches.opt_present("h") {
        return Ok(Action::Print(help()));
    }
    if matches.opt_present("V") {
        return Ok(Action::Print(format!(
            "pflowctl {}\n",
            env!("CARGO_PKG_VERSION")
        )));
    }
    if let Some(shell) = matches.opt_str("C") {
        return complete::script(&shell).map(Action::Print);
    }
    let is_file = |text: &String| text.contains('/');
    let (files, ids): (Vec<_>, Vec<_>) = matches.opt_strs("s").into_iter().partition(is_file);
    let socket = match &*files {
        [] => None,
        [file] => Some(file.clone()),
        _ => return Err("-s: one socket only".to_owned()),
    };
    if matches.free.first().is_some_and(|word| word == "metrics") {
        return match &*matches.free {
            [_, how] if how == "http" => Ok(Action::Serve { socket }),
            _ => Err("metrics: expected http; show metrics prints them".to_owned()),
        };
    }
    let lines = lines(&matches, &ids)?;
    Ok(Action::Say { socket, lines })
}

fn lines(matches: &Matches, ids: &[String]) -> Result<Vec<Line>, String> {
    let json = if matches.opt_present("j") {
        "json "
    } else {
        ""
    };
    let print = |text: &str| Line {
        text: format!("{json}{text}"),
        answer: AnswerTo::Print,
    };
    let mut lines = Vec::new();
    if matches.opt_present("c") {
        lines.push(print("pflow create"));
    }
    if let Some(id) = matches.opt_str("d") {
        lines.push(print(&format!("{} destroy", interface(&id))));
    }
    match (ids, &*matches.free) {
        ([], _) => {}
        ([id], words) if !words.is_empty() => {
            let name = interface(id);
            // What FreeBSD's pflowctl sets has to be there.
            lines.push(Line {
                text: format!("list {name}"),
                answer: AnswerTo::Check,
            });
            lines.push(print(&format!("{name} {}", line(words)?)));
        }
        ([id], _) => return Err(format!("-s {id}: expected words for it behind")),
        _ => return Err("-s: one interface only".to_owned()),
    }
    if matches.opt_present("l") {
        let verbose = if matches.opt_present("v") {
            " verbose"
        } else {
            ""
        };
        lines.push(print(&format!("list{verbose}")));
    }
    match &*matches.free {
        [] if lines.is_empty() => lines.push(print("show interfaces")),
        [] => {}
        _ if !lines.is_empty() && ids.is_empty() => {
            return Err("-c, -d and -l go without a command".to_owned());
        }
        _ if !ids.is_empty() => {}
        words => {
            let line = line(words)?;
            lines.push(Line {
                answer: match line.split_whitespace().next() {
                    Some(word) if is_tap(word) => AnswerTo::Stream,
                    Some(word) if is_top(word) && json.is_empty() => AnswerTo::Screen,
                    _ => AnswerTo::Print,
                },
                ..print(&line)
            });
        }
    }
    Ok(lines)
}

/// Whether a request's first word is `tap`, which can be cut to `ta` at most: `t` could be
/// `timeout`.
fn is_tap(word: &str) -> bool {
    matches!(word, "tap" | "ta")
}

/// Whether a request's first word is `top`, which can be cut to `to` at most.
fn is_top(word: &str) -> bool {
    matches!(word, "top" | "to")
}

/// `pflowN` of `pflowN` or `N`.
fn interface(id: &str) -> String {
    match id.bytes().all(|octet| octet.is_ascii_digit()) {
        true => format!("pflow{id}"),
        false => id.to_owned(),
    }
}

/// Words as a line that splits into the same.
fn line(words: &[String]) -> Result<String, String> {
    match words {
        // One argument may be a whole line.
        [whole] if !whole.contains(['"', '\n', '\r']) => Ok(whole.clone()),
        words => joined(words),
    }
}

/// Answers requests for metrics on standard input by HTTP on standard output.
pub fn serve(socket: Option<&str>) -> ExitCode {
    http::serve(socket)
}

/// What is printed at once, octets.
const OUTPUT: usize = 1 << 16;

/// Says the lines and prints the answers; without a `socket` pflow is looked for where it usually is.
pub fn say(socket: Option<&str>, lines: &[Line]) -> ExitCode {
    if let [
        Line {
            text,
            answer: AnswerTo::Screen,
        },
    ] = lines
        && io::stdout().is_terminal()
    {
        #[cfg(feature = "top")]
        return top::run(socket, text);
        #[cfg(not(feature = "top"))]
        complain(&format!("built without the screen of {text}: one answer"));
    }
    match try_say(socket, lines) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Ending::BrokenPipe) => ExitCode::SUCCESS,
        Err(Ending::Failed(problem) | Ending::Refused(problem)) => {
            complain(&problem);
            ExitCode::FAILURE
        }
    }
}

fn try_say(socket: Option<&str>, lines: &[Line]) -> Result<(), Ending> {
    let is_stream = |line: &Line| line.answer == AnswerTo::Stream;
    if lines.iter().any(is_stream) && io::stdout().is_terminal() {
        let problem = "tap: not to a terminal; try | tcpdump -n -r -";
        return Err(Ending::Failed(problem.to_owned()));
    }
    let (stream, socket) = connect::connect(socket).map_err(Ending::Failed)?;
    let failed = |error: io::Error| Ending::Failed(format!("{socket}: {error}"));
    let mut reader = BufReader::new(stream.try_clone().map_err(failed)?);
    // Standard output alone is written a line at a time, which is slow for a million states.
    let mut stdout = BufWriter::with_capacity(OUTPUT, io::stdout().lock());
    for Line { text, answer } in lines {
        writeln!(&stream, "{text}").map_err(failed)?;
        hear(&mut reader, *answer, &mut stdout, &socket)?;
    }
    stdout.flush().map_err(|error| Ending::of_output(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(line: &str) -> Result<Action, String> {
        let words: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
        parse(&words)
    }

    fn said(line: &str) -> (Option<String>, Vec<String>) {
        match run(line) {
            Ok(Action::Say { socket, lines }) => {
                (socket, lines.into_iter().map(|line| line.text).collect())
            }
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn without_a_command_all_interfaces_are_shown() {
        let all = (None, vec!["show interfaces".to_owned()]);
        assert_eq!(said(""), all);
        assert_eq!(said("-a"), all);
        assert_eq!(said("-j").1, ["json show interfaces"]);
    }

    #[test]
    fn a_commands_words_stay_words() {
        assert_eq!(
            said("-s /tmp/s pflow0 -flowdst"),
            (
                Some("/tmp/s".to_owned()),
                vec!["pflow0 -flowdst".to_owned()]
            )
        );
        let words = ["pflow0", "tap", "a file#1"].map(str::to_owned);
        assert_eq!(line(&words).unwrap(), "pflow0 tap \"a file#1\"");
        assert_eq!(
            line(&["show states port 53".to_owned()]).unwrap(),
            "show states port 53"
        );
        assert!(line(&["a".to_owned(), "b\nc".to_owned()]).is_err());
    }

    #[test]
    fn a_tap_is_one_in_whatever_words_it_comes() {
        for words in [&["tap", "pflow0"][..], &["ta", "pflow0"], &["tap pflow0"]] {
            let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
            let Ok(Action::Say { lines, .. }) = parse(&words) else {
                panic!("{words:?}");
            };
            assert_eq!(lines[0].answer, AnswerTo::Stream, "{words:?}");
        }
    }

    #[test]
    fn freebsds_flags_become_lines() {
        assert_eq!(said("-c").1, ["pflow create"]);
        assert_eq!(said("-d 3").1, ["pflow3 destroy"]);
        assert_eq!(
            said("-s pflow1 dst 192.0.2.2:4000 proto 10").1,
            ["list pflow1", "pflow1 dst 192.0.2.2:4000 proto 10"]
        );
        assert_eq!(said("-lv").1, ["list verbose"]);
        assert_eq!(said("-lc").1, ["pflow create", "list"]);
        assert!(run("-s pflow1").unwrap_err().contains("expected words"));
        assert!(run("-l show states").is_err());
    }
}
