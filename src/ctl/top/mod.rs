//! Floor 8: `pflowctl top`: the first states by rate, octets, age, on a full screen, as pftop has
//! them.
//!
//! ```text
//! terminal --events--> channel --.
//! signals  -----------> channel --> model --> screen          no thread waits for another
//! daemon   <-questions- thread <-'    ^
//!          --answers--> channel ------'
//! ```
//! It asks `show top`, which a read-only socket answers, too. An answer is at most a thousand
//! states, however many there are.

mod answer;
mod client;
mod columns;
mod keys;
mod model;
mod screen;
mod terminal;

use std::io;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, select};
use ratatui::crossterm::event::{self, Event, KeyEventKind};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGTSTP};
use signal_hook::iterator::Signals;

use self::answer::TopAnswer;
use self::client::{Failure, Query, TopClient};
use self::model::{Reaction, TopModel};
use self::terminal::Screen;
use super::hear::complain;
use super::line::joined;
use crate::config;
use crate::control::top::split;
use crate::io::clock::Clock;

/// Longest time without a look at the clock: the screen says how old it is.
const TURN: Duration = Duration::from_secs(1);

/// Shows states until the user has enough. `line` is `top` and what may follow it.
pub(super) fn run(socket: Option<&str>, line: &str) -> ExitCode {
    match try_run(socket, line) {
        Ok(End::Quit) => ExitCode::SUCCESS,
        Ok(End::Signal(signal)) => {
            // As it would have ended without a handler; if that fails, as a failure.
            let _ = signal_hook::low_level::emulate_default_handler(signal);
            ExitCode::FAILURE
        }
        Err(problem) => {
            complain(&problem);
            ExitCode::FAILURE
        }
    }
}

/// What ended it.
enum End {
    Quit,
    Signal(i32),
}

/// What comes of a question.
type Answered = (Query, Result<TopAnswer, Failure>);

fn try_run(socket: Option<&str>, line: &str) -> Result<End, String> {
    let words = config::words(line).map_err(|error| error.to_string())?;
    let words: Vec<&str> = words.iter().skip(1).map(String::as_str).collect();
    let (order, most, filter) = split(&words)?;
    let query = Query {
        order,
        filter: joined(filter)?,
    };
    // What is wrong from the beginning is told without a screen.
    let mut client = TopClient::new(socket);
    let answer = client.ask(&query).map_err(|failure| match failure {
        Failure::Refused(problem) | Failure::Lost(problem) => problem,
    })?;
    let clock = Clock::new(None);
    let mut model = TopModel::new(query, most, answer, clock.now().uptime);
    let failed = |error: io::Error| format!("terminal: {error}");
    let thread = |error: io::Error| format!("thread: {error}");
    let signals = signals().map_err(thread)?;
    let mut screen = Screen::enter().map_err(failed)?;
    let events = events().map_err(thread)?;
    let (queries, answers) = talk(client).map_err(thread)?;
    loop {
        let now = clock.now().uptime;
        screen.draw(&mut model, now).map_err(failed)?;
        if let Some(query) = model.poll(now) {
            queries
                .send(query)
                .map_err(|_| "the asking thread has ended")?;
        }
        let timeout = model
            .poll_timeout()
            .map_or(TURN, |due| due.since(now).min(TURN));
        let flow = select! {
            recv(events) -> event => {
                let event = event.map_err(|_| "the reading thread has ended")?;
                match event.map_err(failed)? {
                    Event::Key(key) if key.kind != KeyEventKind::Release => model.handle_key(key),
                    _ => Reaction::Go,
                }
            }
            recv(answers) -> answered => {
                let (query, outcome) = answered.map_err(|_| "the asking thread has ended")?;
                model.handle_answer(&query, outcome, clock.now().uptime);
                Reaction::Go
            }
            recv(signals) -> signal => match signal {
                Ok(SIGTSTP) => Reaction::Suspend,
                Ok(signal) => return Ok(End::Signal(signal)),
                Err(_) => return Err("the signal thread has ended".to_owned()),
            },
            default(timeout) => Reaction::Go,
        };
        match flow {
            Reaction::Go => {}
            Reaction::Redraw => screen.clear().map_err(failed)?,
            Reaction::Suspend => screen.suspend().map_err(failed)?,
            Reaction::Quit => return Ok(End::Quit),
        }
    }
}

/// Signals, as they come.
fn signals() -> io::Result<Receiver<i32>> {
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM, SIGTSTP])?;
    let (sender, receiver) = bounded(1);
    let wait = move || {
        for signal in signals.forever() {
            if sender.send(signal).is_err() {
                break;
            }
        }
    };
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(wait)?;
    Ok(receiver)
}

/// What happens to the terminal; an error is the last.
fn events() -> io::Result<Receiver<io::Result<Event>>> {
    let (sender, receiver) = bounded(1);
    let read = move || {
        loop {
            let event = event::read();
            let is_last = event.is_err();
            if sender.send(event).is_err() || is_last {
                break;
            }
        }
    };
    thread::Builder::new()
        .name("terminal".to_owned())
        .spawn(read)?;
    Ok(receiver)
}

/// Questions to the daemon, and what comes of them.
fn talk(mut client: TopClient) -> io::Result<(Sender<Query>, Receiver<Answered>)> {
    let (queries, asked) = bounded::<Query>(1);
    let (answered, answers) = bounded(1);
    let talk = move || {
        for query in asked {
            let outcome = client.ask(&query);
            if answered.send((query, outcome)).is_err() {
                break;
            }
        }
    };
    thread::Builder::new()
        .name("asking".to_owned())
        .spawn(talk)?;
    Ok((queries, answers))
}
