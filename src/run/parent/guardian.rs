//! The parent serves the child until the child ends. Then the parent ends as the child did.

use std::io;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::captures::Captures;
use super::files::Directories;
use super::pf::Holder;
use super::watch::Watch;
use super::{READY, REFUSED};
use crate::config::Config;
use crate::io::daemon::{self, Ended, Null, Waiting, status_of};
use crate::io::keep::Files;
use crate::io::link::{self, Link, Passed, Pulled};
use crate::io::log::Log;
use crate::io::signals::Waiter;
use crate::options::Options;

/// How long the parent waits for the child's end.
#[derive(Clone, Copy, Debug)]
pub(in crate::run) struct Limits {
    /// After the child's end of the link was closed. The system closes it first when a process
    /// ends.
    pub(in crate::run) closed: Duration,
    /// After the child was told to end. The child still sends what it holds, and writes the keep
    /// file.
    pub(in crate::run) told: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            closed: Duration::from_secs(2),
            told: Duration::from_secs(60),
        }
    }
}

/// Why the parent stops serving.
enum Over {
    /// The child's end of the link is closed.
    Closed,
    /// The link cannot be used any more.
    Broken(String),
    /// The child was told to end and did not.
    Late,
}

/// The parent's side.
pub(in crate::run) struct Guardian<'a> {
    pub(in crate::run) options: &'a Options,
    /// The configuration as it was read last. It says what may be opened.
    pub(in crate::run) config: Config,
    /// The keep file. A reload does not change it.
    pub(in crate::run) keep: Option<Files>,
    pub(in crate::run) captures: Captures,
    pub(in crate::run) holder: Holder,
    pub(in crate::run) directories: Directories,
    pub(in crate::run) link: Link,
    /// The child's lifeline: when this socket closes, the child knows that the parent has ended.
    pub(in crate::run) life: Option<UnixStream>,
    pub(in crate::run) child: Pid,
    pub(in crate::run) log: Log,
    /// The shell that waits, and what replaces its terminal.
    pub(in crate::run) background: Option<(Waiting, Null)>,
    pub(in crate::run) limits: Limits,
}

impl Guardian<'_> {
    /// Serves the child until it ends.
    pub(in crate::run) fn run(self) -> Result<ExitCode, String> {
        match Waiter::new() {
            Ok(waiter) => Ok(self.serve(waiter)),
            Err(error) => {
                // The child has no state yet, so nothing is lost.
                let _ = kill(self.child, Signal::SIGKILL);
                status_of(self.child);
                Err(format!("signals: {error}"))
            }
        }
    }

    pub(super) fn serve(mut self, waiter: Waiter) -> ExitCode {
        let mut watch = Watch::new(self.child, waiter);
        let why = loop {
            let left = watch.left(self.limits.told);
            if left.is_zero() {
                break Over::Late;
            }
            if !watch.wait(Some(&self.link), left, &mut self.log) {
                continue;
            }
            match self.talk(&mut watch) {
                Ok(true) => {}
                Ok(false) => break Over::Closed,
                Err(problem) => break Over::Broken(problem),
            }
        };
        self.see_off(watch, &why)
    }

    /// Goes on with the child's request, or with the answer to it, without waiting. Returns false
    /// if the child's end of the link is closed.
    ///
    /// # Errors
    /// The link cannot be used any more.
    fn talk(&mut self, watch: &mut Watch) -> Result<bool, String> {
        let outcome = self.step(watch);
        let now = watch.now();
        let line = match &outcome {
            Ok(_) => watch.talks.end(now),
            Err(error) => watch.talks.begin(now, error),
        };
        match outcome {
            Err(error) if is_closed(&error) => return Ok(false),
            Err(error) if link::is_fatal(&error) => return Err(error.to_string()),
            _ => line.into_iter().for_each(|line| self.log.warn(&line)),
        }
        match outcome {
            Ok(is_open) => Ok(is_open),
            // A link that fails for so long is given up.
            Err(error) if watch.talks.lasts(now) >= self.limits.told => Err(error.to_string()),
            Err(_) => {
                daemon::pause();
                Ok(true)
            }
        }
    }

    fn step(&mut self, watch: &mut Watch) -> io::Result<bool> {
        if !self.push()? {
            return Ok(true);
        }
        match self.link.pull()? {
            Pulled::Ended => return Ok(false),
            Pulled::Nothing => {}
            Pulled::Message(message) if message.octets == READY.as_bytes() => {
                watch.set_ready();
                self.release_shell();
            }
            // One request a turn, because signals are served between turns.
            Pulled::Message(message) => {
                self.answer(&message)?;
                self.push()?;
            }
        }
        Ok(true)
    }

    /// Sends as much of an answer as goes at once. Returns whether that was all. If a descriptor
    /// cannot be passed, only this request fails.
    fn push(&mut self) -> io::Result<bool> {
        let error = match self.link.push() {
            Err(error) if !link::is_fatal(&error) => error,
            outcome => return outcome,
        };
        let Some(message) = self.link.take_back() else {
            return Err(error);
        };
        if let Passed::Nothing = message.passed {
            self.link.put(message.number, &message.octets, None)?;
            return Err(error);
        }
        let problem = format!("the descriptor cannot be passed: {error}");
        self.log.warn(&format!("child process: {problem}"));
        self.refuse(message.number, &problem)?;
        self.link.push()
    }

    pub(super) fn refuse(&mut self, number: u32, problem: &str) -> io::Result<()> {
        let octets = [&[REFUSED], problem.as_bytes()].concat();
        self.link.put(number, &octets, None)
    }

    /// Waits for the child's end. Tells or kills the child if it does not end.
    fn see_off(self, mut watch: Watch, why: &Over) -> ExitCode {
        let Self {
            link,
            mut log,
            child,
            limits,
            life,
            ..
        } = self;
        // A child that still asks must not wait for an answer.
        drop(link);
        let mut ended = None;
        if let Over::Closed = why {
            ended = watch.end_within(limits.closed, &mut log);
        }
        match why {
            Over::Broken(problem) => log.warn(&format!(
                "link to the child process: {problem}; both processes end"
            )),
            Over::Closed if ended.is_none() => {
                log.warn("the child process closed its link and did not end: it is told to");
            }
            Over::Closed | Over::Late => {}
        }
        if ended.is_none() && !matches!(why, Over::Late) {
            let _ = kill(child, Signal::SIGTERM);
            ended = watch.end_within(limits.told, &mut log);
        }
        let Some(ended) = ended else {
            let secs = limits.told.as_secs();
            log.warn(&format!(
                "the child process was told to end and did not within {secs} s: it is killed"
            ));
            let _ = kill(child, Signal::SIGKILL);
            status_of(child);
            return ExitCode::FAILURE;
        };
        // Kept open until now, because closing it tells the child to stop.
        drop(life);
        match (ended, why) {
            (_, Over::Broken(_)) => ExitCode::FAILURE,
            // The signal came before the child could handle signals, so it ended the child.
            (Ended::Signal(libc::SIGTERM | libc::SIGINT), _) if watch.asked.is_some() => {
                ExitCode::SUCCESS
            }
            (Ended::Signal(signal), _) => {
                log.warn(&format!("ended by signal {signal}"));
                ended.code()
            }
            (Ended::Status(_), _) => ended.code(),
        }
    }

    fn release_shell(&mut self) {
        if let Some((shell, null)) = self.background.take() {
            if let Err(error) = null.replace_standard() {
                self.log.warn(&format!("/dev/null: {error}"));
            }
            shell.release();
        }
    }
}

/// Whether the other side has closed its end. The system does this when a process ends.
fn is_closed(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
    )
}
