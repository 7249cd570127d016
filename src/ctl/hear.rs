//! Answers of the control socket: read, and printed.

use std::io::{self, BufRead, Write};

/// What is done with an answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum AnswerTo {
    /// Print it.
    Print,
    /// Only whether it is an error counts.
    Check,
    /// Print it and all octets behind it.
    Stream,
    /// Print it, or on a terminal go on showing it.
    Screen,
}

/// Says what is wrong on standard error.
pub(super) fn complain(problem: &str) {
    // Nobody is left to be told if this fails.
    let _ = writeln!(io::stderr(), "pflowctl: {problem}");
}

/// Why the talk ended early.
pub(super) enum Ending {
    /// Whoever read standard output has gone.
    BrokenPipe,
    /// pflow's answer is an error.
    Refused(String),
    Failed(String),
}

impl Ending {
    /// Standard output took no more.
    pub(super) fn of_output(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::BrokenPipe,
            _ => Self::Failed(format!("standard output: {error}")),
        }
    }
}

/// Reads an answer.
pub(super) fn hear(
    reader: &mut impl BufRead,
    answer: AnswerTo,
    out: &mut impl Write,
    socket: &str,
) -> Result<(), Ending> {
    let failed = |error: io::Error| Ending::Failed(format!("{socket}: {error}"));
    let wrong = |error: io::Error| Ending::of_output(&error);
    let mut line = Vec::new();
    loop {
        line.clear();
        reader.read_until(b'\n', &mut line).map_err(failed)?;
        match &*line {
            [b' ', text @ ..] => {
                if answer != AnswerTo::Check {
                    out.write_all(text).map_err(wrong)?;
                }
            }
            b"ok\n" => break,
            [] => {
                return Err(Ending::Failed(format!(
                    "{socket}: the connection was closed"
                )));
            }
            text => {
                out.flush().map_err(wrong)?;
                let text = String::from_utf8_lossy(text);
                let problem = text.strip_prefix("error: ").unwrap_or(&text);
                return Err(Ending::Refused(problem.trim_end().to_owned()));
            }
        }
    }
    if answer == AnswerTo::Stream {
        loop {
            let octets = reader.fill_buf().map_err(failed)?;
            if octets.is_empty() {
                break;
            }
            // A reader such as tcpdump wants each packet as it comes.
            out.write_all(octets)
                .and_then(|()| out.flush())
                .map_err(wrong)?;
            let len = octets.len();
            reader.consume(len);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_ends_with_ok_or_an_error() {
        let hear = |text: &str, answer| {
            let mut out = Vec::new();
            let outcome = hear(&mut text.as_bytes(), answer, &mut out, "socket");
            let problem = match outcome {
                Ok(()) => None,
                Err(Ending::Failed(problem) | Ending::Refused(problem)) => Some(problem),
                Err(Ending::BrokenPipe) => panic!("broken pipe"),
            };
            (String::from_utf8(out).unwrap(), problem)
        };
        assert_eq!(
            hear(" a\n  b\nok\n", AnswerTo::Print),
            ("a\n b\n".to_owned(), None)
        );
        assert_eq!(hear(" a\nok\n", AnswerTo::Check), (String::new(), None));
        assert_eq!(
            hear(" a\nerror: no\n", AnswerTo::Print),
            ("a\n".to_owned(), Some("no".to_owned()))
        );
        assert!(hear(" a\n", AnswerTo::Print).1.unwrap().contains("closed"));
        assert_eq!(
            hear("ok\n\x01\x02", AnswerTo::Stream),
            ("\x01\x02".to_owned(), None)
        );
    }
}
