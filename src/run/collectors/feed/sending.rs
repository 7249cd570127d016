//! What goes by a connection, and what of it is acknowledged.

use std::time::Duration;

use super::{Feed, State};
use crate::export::Stream;
use crate::io::log::Level;
use crate::io::transport::{Transport, tcp};
use crate::run::collectors::backlog::Backlog;
use crate::run::collectors::in_doubt::InDoubt;
use crate::run::collectors::turn::{Turn, add};
use crate::time::{Now, Uptime};

/// How long a connection may acknowledge nothing while something waits for it.
const STALL: Duration = Duration::from_secs(60);
/// How long a connection lasts before a trouble counts as over.
const STEADY: Duration = Duration::from_secs(2);
/// Octets that are numbered at a time.
const BATCH: usize = 1 << 16;
/// Most octets that one turn sends.
const BUDGET: usize = 1 << 20;
/// Most messages in doubt. Then no more are sent until some are acknowledged, if the system tells
/// that.
const DOUBTFUL: usize = 1 << 16;

impl Feed {
    /// Sends what goes at once.
    pub(super) fn send(&mut self, now: Now, turn: &mut Turn) {
        let State::Up {
            transport,
            at,
            since,
        } = &mut self.state
        else {
            return;
        };
        let (at, since) = (*at, *since);
        let outcome = send(
            transport.as_mut(),
            &mut self.stream,
            &mut self.doubt,
            now,
            turn,
        );
        let now = now.uptime;
        match outcome {
            Err(error) => {
                if TELLS_AFTER_THE_END {
                    let octets = transport.unacknowledged();
                    self.doubt.acknowledge(octets, now);
                    self.stream.acknowledge(octets, now);
                }
                self.lose(at, &tcp::words_of(&error), now, turn);
                return;
            }
            Ok(sent) => {
                if sent.messages > 0 {
                    self.failures = 0;
                }
                if sent.messages > 0 || sent.is_acknowledged || self.is_done() {
                    self.progress = now;
                }
                if sent.messages > 0 || self.stream.is_empty() {
                    // The next message is sent at once. So is the rest that one turn did not send.
                    self.look_at_once(now);
                }
                if sent.is_full {
                    self.look_later(now);
                }
                self.checked = now;
            }
        }
        if now.since(self.progress) >= STALL {
            let problem = format!("nothing acknowledged for {} s", STALL.as_secs());
            self.lose(at, &problem, now, turn);
        } else if now.since(since) >= STEADY
            && let Some(outage) = self.outage.take()
            && let Some(to) = self.address(at)
        {
            let seconds = since.since(outage.since).as_secs();
            turn.line(Level::Info, format!("connected to {to} after {seconds} s"));
        }
    }

    /// Ends the connection in good order. What waits still is lost, unless another feed inherits the
    /// stream; what is not acknowledged is in doubt if `is_over`.
    pub(in crate::run::collectors) fn close(
        &mut self,
        is_over: bool,
        now: Uptime,
        turn: &mut Turn,
    ) -> Backlog {
        if let State::Up { transport, .. } = &mut self.state {
            self.stream.acknowledge(transport.unacknowledged(), now);
            transport.shut_down();
            if is_over {
                self.doubt.acknowledge(transport.unacknowledged(), now);
                turn.connections.in_doubt += self.doubt.records();
            }
        }
        self.state = State::GivenUp;
        std::mem::replace(&mut self.stream, Backlog::Queue(Stream::new(0)))
    }
}

/// Whether the system tells what was not acknowledged of a connection that has ended.
const TELLS_AFTER_THE_END: bool = !cfg!(any(target_os = "freebsd", target_os = "netbsd"));

/// What a transport took.
struct Sent {
    messages: u64,
    /// Whether it takes no more now.
    is_full: bool,
    /// Whether something was acknowledged.
    is_acknowledged: bool,
}

/// Sends what `transport` takes at once of `stream`, at most [`BUDGET`] octets.
fn send(
    transport: &mut dyn Transport,
    stream: &mut Backlog,
    doubt: &mut InDoubt,
    now: Now,
    turn: &mut Turn,
) -> std::io::Result<Sent> {
    // The system is asked for unacknowledged octets before the connection is checked. So the number
    // is true.
    let unacknowledged = match doubt.len() {
        0 => None,
        _ => Some(transport.unacknowledged()),
    };
    transport.establish(now.uptime)?;
    if let Some(octets) = unacknowledged {
        stream.acknowledge(octets, now.uptime);
    }
    let mut sent = Sent {
        messages: 0,
        is_full: false,
        is_acknowledged: unacknowledged.is_some_and(|some| doubt.acknowledge(some, now.uptime)),
    };
    let is_told = matches!(unacknowledged, Some(Some(_)));
    let mut octets = 0;
    while octets < BUDGET {
        if is_told && doubt.len() >= DOUBTFUL {
            sent.is_full = true;
            break;
        }
        stream.prepare(now, BATCH);
        let messages = stream.prepared(tcp::MAX_MESSAGES);
        if messages.is_empty() {
            break;
        }
        let count = transport.send(now.uptime, &messages)?;
        if let Some(taken) = &mut turn.messages {
            let ends = transport.ends();
            let copies = messages.iter().take(count);
            taken.extend(copies.map(|message| (ends, message.to_vec())));
        }
        sent.is_full = count < messages.len();
        for _ in 0..count {
            let taken = stream.take(1);
            doubt.take(taken.octets, taken.records, now.uptime);
            turn.taken = add(turn.taken, stream.counted(taken));
            sent.messages += 1;
            octets += usize::try_from(taken.octets).unwrap_or(usize::MAX);
        }
        if sent.is_full {
            break;
        }
    }
    Ok(sent)
}
