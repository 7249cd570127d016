//! The log: standard error in the foreground, syslog(3)'s LOG_DAEMON otherwise. It never holds
//! the caller up: a line that cannot be written is lost.
//!
//! The syslog crate's own logger blocks and stamps in UTC, so it gets a socket that does not block
//! and a formatter without a stamp: syslogd(8) puts its own.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::net::UnixDatagram;
use std::process;
use std::time::Duration;

use syslog::{Facility, LogFormat, Logger, LoggerBackend, Severity};

use crate::time::Uptime;

/// Where syslogd listens.
const SOCKETS: [&str; 3] = ["/dev/log", "/var/run/log", "/var/run/syslog"];

/// How serious a line is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Level {
    /// Something failed.
    Warning,
    /// Something an operator wants to know.
    Info,
    /// With -v.
    Debug,
}

#[cfg(target_os = "openbsd")]
impl Level {
    fn severity(self) -> libc::c_int {
        match self {
            Self::Warning => libc::LOG_WARNING,
            Self::Info => libc::LOG_INFO,
            Self::Debug => libc::LOG_DEBUG,
        }
    }
}

/// `<priority>pflow[pid]: line`.
struct Unstamped;

impl LogFormat<&str> for Unstamped {
    fn format<W: Write>(&self, w: &mut W, severity: Severity, line: &str) -> syslog::Result<()> {
        let priority = Facility::LOG_DAEMON as u8 | severity as u8;
        // One write a line: it is a datagram.
        let line = format!("<{priority}>pflow[{}]: {line}", process::id());
        w.write_all(line.as_bytes()).map_err(syslog::Error::Write)
    }
}

/// Where a new socket to syslogd comes from.
pub type Connect = Box<dyn FnMut() -> Option<UnixDatagram>>;

enum Backend {
    Stderr,
    Syslog {
        #[cfg_attr(target_os = "openbsd", expect(dead_code, reason = "always none"))]
        logger: Option<Logger<LoggerBackend, Unstamped>>,
        connect: Connect,
    },
}

/// The log.
pub struct Log {
    backend: Backend,
    is_verbose: bool,
}

impl Log {
    /// A log on standard error.
    pub fn stderr(is_verbose: bool) -> Self {
        Self {
            backend: Backend::Stderr,
            is_verbose,
        }
    }

    /// A log to syslogd. If it is not there, it is looked for again with each line.
    pub fn syslog(is_verbose: bool) -> Self {
        Self {
            backend: Backend::Syslog {
                logger: connect().map(logger),
                connect: Box::new(connect),
            },
            is_verbose,
        }
    }

    /// Has sockets to syslogd come from elsewhere from now on, where this process cannot make them
    /// any more. The one that is there stays as long as it is good.
    pub fn connect_by(&mut self, other: Connect) {
        if let Backend::Syslog { connect, .. } = &mut self.backend {
            *connect = other;
        }
    }

    /// Writes more, or less, from now on.
    pub fn set_verbose(&mut self, is_verbose: bool) {
        self.is_verbose = is_verbose;
    }

    /// Writes a line.
    pub fn line(&mut self, level: Level, line: &str) {
        if level == Level::Debug && !self.is_verbose {
            return;
        }
        match &mut self.backend {
            Backend::Stderr => {
                // Nobody is left to be told if this fails.
                let _ = writeln!(std::io::stderr(), "pflow: {line}");
            }
            #[cfg(target_os = "openbsd")]
            Backend::Syslog { .. } => super::sys::syslog(level.severity(), line),
            #[cfg(not(target_os = "openbsd"))]
            Backend::Syslog { logger, connect } => {
                let is_sent = |logger: &mut Logger<_, _>| match level {
                    Level::Warning => logger.warning(line).is_ok(),
                    Level::Info => logger.info(line).is_ok(),
                    Level::Debug => logger.debug(line).is_ok(),
                };
                // syslogd may have been started again: one more try on a new socket.
                if !logger.as_mut().is_some_and(is_sent) {
                    *logger = connect().map(self::logger);
                    let _ = logger.as_mut().is_some_and(is_sent);
                }
            }
        }
    }

    /// Writes a warning.
    pub fn warn(&mut self, line: &str) {
        self.line(Level::Warning, line);
    }

    /// Writes a line if -v was given.
    pub fn debug(&mut self, line: &str) {
        self.line(Level::Debug, line);
    }

    /// Writes a line for the operator.
    pub fn info(&mut self, line: &str) {
        self.line(Level::Info, line);
    }
}

/// A socket to syslogd that does not block.
pub fn connect() -> Option<UnixDatagram> {
    if cfg!(target_os = "openbsd") {
        return None; // sendsyslog(2) needs none
    }
    let socket = UnixDatagram::unbound().ok()?;
    SOCKETS.iter().find(|path| socket.connect(path).is_ok())?;
    socket.set_nonblocking(true).ok()?;
    Some(socket)
}

fn logger(socket: UnixDatagram) -> Logger<LoggerBackend, Unstamped> {
    Logger::new(LoggerBackend::Unix(socket), Unstamped)
}

/// Longest time a cause is kept quiet.
const QUIET: Duration = Duration::from_secs(60);
/// Most causes told apart.
const MAX_CAUSES: usize = 64;

/// Lets one line a cause a minute through and counts the rest.
#[derive(Debug, Default)]
pub struct Limiter {
    causes: BTreeMap<String, (Uptime, u64)>,
}

impl Limiter {
    /// The line to write about `cause` at `now`, if one is to be written: it says how many were
    /// kept back since the last.
    pub fn admit(&mut self, now: Uptime, cause: &str) -> Option<String> {
        if let Some((last, kept_back)) = self.causes.get_mut(cause) {
            if now.since(*last) < QUIET {
                *kept_back += 1;
                return None;
            }
            let line = match *kept_back {
                0 => cause.to_owned(),
                n => format!("{cause} (and {n} times more since the last line)"),
            };
            (*last, *kept_back) = (now, 0);
            return Some(line);
        }
        if self.causes.len() >= MAX_CAUSES {
            self.causes.retain(|_, (last, _)| now.since(*last) < QUIET);
        }
        if self.causes.len() >= MAX_CAUSES {
            return None;
        }
        self.causes.insert(cause.to_owned(), (now, 0));
        Some(cause.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_cause_a_minute_with_a_count_of_the_rest() {
        let mut limiter = Limiter::default();
        let at = |secs| Uptime::new(secs, 0);
        assert_eq!(limiter.admit(at(0), "a").as_deref(), Some("a"));
        assert_eq!(limiter.admit(at(1), "a"), None);
        assert_eq!(limiter.admit(at(1), "b").as_deref(), Some("b"));
        assert_eq!(limiter.admit(at(59), "a"), None);
        assert_eq!(
            limiter.admit(at(60), "a").as_deref(),
            Some("a (and 2 times more since the last line)")
        );
        assert_eq!(limiter.admit(at(120), "a").as_deref(), Some("a"));
    }

    #[test]
    fn causes_are_bounded() {
        let mut limiter = Limiter::default();
        let admitted =
            (0..1000).filter(|n| limiter.admit(Uptime::default(), &n.to_string()).is_some());
        assert_eq!(admitted.count(), MAX_CAUSES);
        assert!(limiter.admit(Uptime::new(61, 0), "late").is_some());
    }
}
