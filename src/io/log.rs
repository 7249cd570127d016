//! The log: standard error in the foreground, syslog(3)'s LOG_DAEMON otherwise. The log never makes
//! the caller wait, and a line that cannot be written is lost. On standard error this holds only
//! after [`Log::write_behind`]. When the reader of standard error reads again, a line tells how
//! many were lost.
//!
//! The syslog crate's own logger blocks, and it stamps lines in UTC. So pflow gives it a socket
//! that does not block and a formatter without a stamp. syslogd(8) adds the stamp.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::os::unix::net::UnixDatagram;
use std::process;
use std::time::Duration;

use syslog::{Facility, LogFormat, Logger, LoggerBackend, Severity};

use super::output::OutputThread;
use crate::time::Uptime;

/// How long the end of the program waits for lines that standard error does not take.
const LAST: Duration = Duration::from_millis(500);

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
    Behind(Behind),
    Syslog {
        #[cfg_attr(target_os = "openbsd", expect(dead_code, reason = "always none"))]
        logger: Option<Logger<LoggerBackend, Unstamped>>,
        connect: Connect,
    },
}

/// Standard error by a thread.
struct Behind {
    output: OutputThread,
    /// Lines lost since the last that was taken.
    lost: u64,
}

impl Behind {
    fn line(&mut self, line: &str) {
        let mut text = String::new();
        if self.lost > 0 {
            let lost = self.lost;
            text = format!("pflow: {lost} lines of the log lost: its reader is too slow\n");
        }
        text += &format!("pflow: {line}\n");
        match self.output.write(text.as_bytes()) {
            true => self.lost = 0,
            false => self.lost += 1,
        }
    }
}

impl Drop for Behind {
    fn drop(&mut self) {
        self.output.finish(LAST);
    }
}

/// A writer that goes on after a failed write, because a full disk may get room again. The next
/// line that is written tells how many were lost.
struct Persistent<W> {
    to: W,
    lost: u64,
    problem: String,
    /// Whether what was written last is half a line.
    is_cut: bool,
}

impl<W: Write> Persistent<W> {
    fn new(to: W) -> Self {
        Self {
            to,
            lost: 0,
            problem: String::new(),
            is_cut: false,
        }
    }

    /// How much was written, and what kept the rest from it.
    fn put(&mut self, octets: &[u8]) -> (usize, io::Result<()>) {
        let mut put = 0;
        while let Some(rest) = octets.get(put..).filter(|rest| !rest.is_empty()) {
            match self.to.write(rest) {
                Ok(0) => return (put, Err(io::ErrorKind::WriteZero.into())),
                Ok(written) => put += written,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return (put, Err(error)),
            }
        }
        (put, Ok(()))
    }
}

impl<W: Write> Write for Persistent<W> {
    /// Takes whole lines.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut text = Vec::new();
        if self.is_cut {
            text.push(b'\n');
        }
        if self.lost > 0 {
            let (lost, problem) = (self.lost, &self.problem);
            text.extend(format!("pflow: {lost} lines of the log lost: {problem}\n").bytes());
        }
        text.extend_from_slice(line);
        match self.put(&text) {
            (_, Ok(())) => (self.lost, self.is_cut) = (0, false),
            (_, Err(error)) if error.kind() == io::ErrorKind::BrokenPipe => return Err(error),
            (put, Err(error)) => {
                self.lost += 1;
                self.problem = error.to_string();
                self.is_cut |= put > 0;
            }
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
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

    /// Gets new sockets to syslogd by `other` from now on, because this process cannot make them
    /// any more. The present socket stays as long as it works.
    pub fn connect_by(&mut self, other: Connect) {
        if let Backend::Syslog { connect, .. } = &mut self.backend {
            *connect = other;
        }
    }

    /// Has a thread write the lines to standard error from now on. So a reader that does not read
    /// makes nobody wait. Call it only after the last fork(2).
    ///
    /// # Errors
    /// The system refuses a thread.
    pub fn write_behind(&mut self) -> io::Result<()> {
        if matches!(self.backend, Backend::Stderr) {
            self.write_behind_to(io::stderr())?;
        }
        Ok(())
    }

    /// A log to `to`.
    #[cfg(test)]
    pub fn written_to<W: Write + Send + 'static>(to: W) -> Self {
        let mut log = Self::stderr(false);
        log.write_behind_to(to).unwrap();
        log
    }

    fn write_behind_to<W: Write + Send + 'static>(&mut self, to: W) -> io::Result<()> {
        let output = OutputThread::start_on("log", Persistent::new(to))?;
        self.backend = Backend::Behind(Behind { output, lost: 0 });
        Ok(())
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
                let _ = writeln!(io::stderr(), "pflow: {line}");
            }
            Backend::Behind(behind) => behind.line(line),
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
    /// Lines kept back of causes that are not told apart any more, or were beyond the bound.
    others: u64,
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
            let mut line = match *kept_back {
                0 => cause.to_owned(),
                n => format!("{cause} (and {n} times more since the last line)"),
            };
            tell_others(&mut self.others, &mut line);
            (*last, *kept_back) = (now, 0);
            return Some(line);
        }
        if self.causes.len() >= MAX_CAUSES {
            let others = &mut self.others;
            self.causes.retain(|_, (last, kept_back)| {
                let is_recent = now.since(*last) < QUIET;
                *others += if is_recent { 0 } else { *kept_back };
                is_recent
            });
        }
        if self.causes.len() >= MAX_CAUSES {
            self.others += 1;
            return None;
        }
        self.causes.insert(cause.to_owned(), (now, 0));
        let mut line = cause.to_owned();
        tell_others(&mut self.others, &mut line);
        Some(line)
    }

    /// The lines that are still kept back, one for each cause. They are written at the end of the
    /// program, because nothing would tell them later.
    pub fn rest(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        for (cause, (_, kept_back)) in std::mem::take(&mut self.causes) {
            if kept_back > 0 {
                lines.push(format!(
                    "{cause} ({kept_back} times more since the last line)"
                ));
            }
        }
        if self.others > 0 {
            lines.push(format!("{} lines about other things", self.others));
            self.others = 0;
        }
        lines
    }
}

/// Something that fails again and again: told once when it begins and once when it is over.
#[derive(Debug)]
pub struct LoggedTrouble {
    what: &'static str,
    since: Option<Uptime>,
}

impl LoggedTrouble {
    /// One of `what`, which works so far.
    pub fn new(what: &'static str) -> Self {
        Self { what, since: None }
    }

    /// It failed: the line to write, if it worked before.
    pub fn begin(&mut self, now: Uptime, problem: &impl std::fmt::Display) -> Option<String> {
        if self.since.is_some() {
            return None;
        }
        self.since = Some(now);
        Some(format!("{}: {problem}; tried again", self.what))
    }

    /// How long it has failed.
    pub fn lasts(&self, now: Uptime) -> Duration {
        self.since.map_or(Duration::ZERO, |since| now.since(since))
    }

    /// It worked: the line to write, if it failed before.
    pub fn end(&mut self, now: Uptime) -> Option<String> {
        let since = self.since.take()?;
        let millis = now.since(since).as_millis();
        Some(format!("{}: works again after {millis} ms", self.what))
    }
}

/// Adds to a line how many of other causes were left out.
fn tell_others(others: &mut u64, line: &mut String) {
    if *others > 0 {
        *line += &format!(" (and {others} lines about other things before)");
        *others = 0;
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::os::unix::net::UnixStream;
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Takes so many octets, then refuses so many writes.
    struct Disk {
        taken: Arc<Mutex<Vec<u8>>>,
        room: usize,
        refusals: usize,
    }

    impl Write for Disk {
        fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
            if self.room == 0 && self.refusals > 0 {
                self.refusals -= 1;
                return Err(io::Error::from_raw_os_error(libc::ENOSPC));
            }
            let taken = match self.room {
                0 => octets.len(),
                room => room.min(octets.len()),
            };
            self.room -= taken.min(self.room);
            self.taken.lock().unwrap().extend(&octets[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_log_whose_disk_was_full_goes_on_and_says_what_is_missing() {
        let taken = Arc::<Mutex<Vec<u8>>>::default();
        let disk = Disk {
            taken: Arc::clone(&taken),
            room: 14,
            refusals: 2,
        };
        let mut log = Log::written_to(disk);
        for line in ["one", "two", "three", "four", "five"] {
            log.warn(line);
        }
        drop(log);
        let text = String::from_utf8(taken.lock().unwrap().clone()).unwrap();
        let problem = io::Error::from_raw_os_error(libc::ENOSPC);
        assert_eq!(
            text,
            format!(
                "pflow: one\npfl\npflow: 2 lines of the log lost: {problem}\npflow: four\npflow: five\n"
            )
        );
    }

    #[test]
    fn a_trouble_is_told_once_when_it_begins_and_once_when_it_is_over() {
        let at = |secs| Uptime::new(secs, 0);
        let mut trouble = LoggedTrouble::new("poll");
        assert_eq!(trouble.end(at(1)), None);
        let line = "poll: no memory; tried again";
        assert_eq!(trouble.begin(at(2), &"no memory").as_deref(), Some(line));
        assert_eq!(trouble.begin(at(3), &"no memory"), None);
        assert_eq!(trouble.lasts(at(4)), Duration::from_secs(2));
        let line = "poll: works again after 3000 ms";
        assert_eq!(trouble.end(at(5)).as_deref(), Some(line));
        assert_eq!(
            (trouble.end(at(6)), trouble.lasts(at(6))),
            (None, Duration::ZERO)
        );
    }

    #[test]
    fn a_reader_that_does_not_read_holds_nobody_up_and_is_told_what_it_missed() {
        let (reader, writer) = UnixStream::pair().unwrap();
        let mut log = Log::stderr(false);
        log.write_behind_to(writer).unwrap();
        // Far more than a socket and the queue hold: this ends only if nothing waits.
        let long = "x".repeat(1000);
        for _ in 0..20_000 {
            log.warn(&long);
        }
        let mut lines = BufReader::new(reader).lines().map(Result::unwrap);
        let (mut taken, mut lost) = (0_u64, 0_u64);
        // Each turn adds a line or finds the queue full, so there is always one to read.
        while taken + lost < 20_000 {
            log.warn("later");
            let line = lines.next().unwrap();
            taken += u64::from(line.ends_with(&long));
            if line.ends_with("lines of the log lost: its reader is too slow") {
                lost += line.split(' ').nth(1).unwrap().parse::<u64>().unwrap();
            }
        }
        assert!(lost > 10_000, "{lost} lost, {taken} taken");
        drop(log);
        assert!(lines.all(|line| !line.ends_with(&long)), "told too early");
    }

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
    fn the_end_tells_what_is_kept_back() {
        let mut limiter = Limiter::default();
        let at = |secs| Uptime::new(secs, 0);
        for secs in 0..5 {
            limiter.admit(at(secs), "a");
        }
        limiter.admit(at(5), "b");
        // "c" was told of again, so that only what came after that is left.
        for secs in [6, 7, 66, 67] {
            limiter.admit(at(secs), "c");
        }
        let rest = [
            "a (4 times more since the last line)",
            "c (1 times more since the last line)",
        ];
        assert_eq!(limiter.rest(), rest);
        assert!(limiter.rest().is_empty(), "told twice");
    }

    #[test]
    fn the_end_tells_of_causes_beyond_the_bound() {
        let mut limiter = Limiter::default();
        for n in 0..MAX_CAUSES + 3 {
            limiter.admit(Uptime::default(), &n.to_string());
        }
        assert_eq!(limiter.rest(), ["3 lines about other things"]);
    }

    #[test]
    fn causes_are_bounded() {
        let mut limiter = Limiter::default();
        let admitted =
            (0..1000).filter(|n| limiter.admit(Uptime::default(), &n.to_string()).is_some());
        assert_eq!(admitted.count(), MAX_CAUSES);
        // "0" was kept back once more; that its entry goes loses nothing.
        assert_eq!(limiter.admit(Uptime::new(1, 0), "0"), None);
        assert_eq!(
            limiter.admit(Uptime::new(61, 0), "late").as_deref(),
            Some("late (and 937 lines about other things before)")
        );
        assert_eq!(
            limiter.admit(Uptime::new(61, 0), "later").as_deref(),
            Some("later")
        );
    }
}
