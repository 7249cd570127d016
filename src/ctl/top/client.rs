//! The talk: a question on the control socket, its whole answer or why there is none.
//!
//! It runs in a thread of its own, so that the screen answers keys whatever the daemon does.

use std::io::{BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::super::connect::connect;
use super::super::hear::{AnswerTo, Ending, hear};
use super::answer::TopAnswer;
use crate::control::top::{MAX_SHOWN, SortOrder};

/// Longest time that an answer may take to go on.
const STREAM_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest answer, octets: several times what [`MAX_SHOWN`] states take.
const MAX_ANSWER: u64 = 4 << 20;

/// What is asked.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Query {
    pub(super) order: SortOrder,
    /// The words of a filter, as they were typed.
    pub(super) filter: String,
}

impl Query {
    /// As many states as may be asked for. pflow orders by the average rate over a state's age. The
    /// screen shows the rate of now, and its highest may stand anywhere in the answer.
    fn line(&self) -> String {
        let Self { order, filter } = self;
        format!("json show top by {order} {MAX_SHOWN} {filter}\n")
    }
}

/// Why there is no answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Failure {
    /// The daemon says what is wrong with the question.
    Refused(String),
    /// The daemon cannot be reached, or does not talk sense.
    Lost(String),
}

/// A connection that is made when there is something to ask.
pub(super) struct TopClient {
    /// The socket that -s names, if it does.
    asked: Option<String>,
    /// The one that was connected to last.
    socket: String,
    connection: Option<BufReader<UnixStream>>,
}

impl TopClient {
    pub(super) fn new(socket: Option<&str>) -> Self {
        Self {
            asked: socket.map(str::to_owned),
            socket: String::new(),
            connection: None,
        }
    }

    /// Asks; connects first if need be.
    pub(super) fn ask(&mut self, query: &Query) -> Result<TopAnswer, Failure> {
        let outcome = self.try_ask(query);
        if matches!(outcome, Err(Failure::Lost(_))) {
            self.connection = None;
        }
        outcome
    }

    fn try_ask(&mut self, query: &Query) -> Result<TopAnswer, Failure> {
        if self.connection.is_none() {
            let (stream, socket) = connect(self.asked.as_deref()).map_err(Failure::Lost)?;
            self.socket = socket;
            let lost = |error: std::io::Error| Failure::Lost(format!("{}: {error}", self.socket));
            stream
                .set_read_timeout(Some(STREAM_TIMEOUT))
                .map_err(lost)?;
            stream
                .set_write_timeout(Some(STREAM_TIMEOUT))
                .map_err(lost)?;
            self.connection = Some(BufReader::new(stream));
        }
        let lost = |error: std::io::Error| Failure::Lost(format!("{}: {error}", self.socket));
        let Some(reader) = &mut self.connection else {
            return Err(Failure::Lost(self.socket.clone()));
        };
        // One write, because what is left of a line would be another's beginning.
        let line = query.line();
        reader.get_mut().write_all(line.as_bytes()).map_err(lost)?;
        let mut text = Vec::new();
        let mut bounded = reader.take(MAX_ANSWER);
        match hear(&mut bounded, AnswerTo::Print, &mut text, &self.socket) {
            Ok(()) => {}
            Err(Ending::Refused(problem)) => return Err(Failure::Refused(problem)),
            Err(Ending::Failed(problem)) => return Err(Failure::Lost(problem)),
            // A Vec takes everything.
            Err(Ending::BrokenPipe) => return Err(Failure::Lost(self.socket.clone())),
        }
        TopAnswer::parse(&text)
            .map_err(|problem| Failure::Lost(format!("{}: {problem}", self.socket)))
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufRead;
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn a_connection_that_is_lost_is_made_again_and_a_refusal_keeps_it() {
        let path = std::env::temp_dir().join(format!("pflow-top-{}", std::process::id()));
        let listener = UnixListener::bind(&path).unwrap();
        let daemon = std::thread::spawn(move || {
            let mut asked = Vec::new();
            for answers in [
                &["error: port: 7x is no port\n", " {\n"][..],
                &[" {}\nok\n"],
            ] {
                let (stream, _) = listener.accept().unwrap();
                let mut reader = BufReader::new(stream);
                for answer in answers {
                    let mut line = String::new();
                    reader.read_line(&mut line).unwrap();
                    asked.push(line);
                    reader.get_mut().write_all(answer.as_bytes()).unwrap();
                }
            }
            asked
        });
        let mut client = TopClient::new(path.to_str());
        let mut ask = |filter: &str| {
            let query = Query {
                order: SortOrder::parse("-age").unwrap(),
                filter: filter.to_owned(),
            };
            client.ask(&query).unwrap_err()
        };
        let refused = Failure::Refused("port: 7x is no port".to_owned());
        assert_eq!(ask("port 7x"), refused);
        let Failure::Lost(closed) = ask("") else {
            panic!()
        };
        assert!(closed.ends_with("the connection was closed"), "{closed}");
        let Failure::Lost(senseless) = ask("") else {
            panic!()
        };
        assert!(
            senseless.ends_with("line 1 of the answer: no states"),
            "{senseless}"
        );
        let asked = daemon.join().unwrap();
        assert_eq!(asked[0], "json show top by -age 1000 port 7x\n");
        assert_eq!(asked.len(), 3);
        std::fs::remove_file(&path).unwrap();
        let Failure::Lost(gone) = ask("") else {
            panic!()
        };
        assert!(gone.ends_with("(is pflow running?)"), "{gone}");
    }
}
