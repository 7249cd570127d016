//! How a live capture starts, in one order in one place:
//!
//! ```text
//! configuration, user       what is wrong is told before anything is opened
//! background                fork; the shell waits
//! pidfile                   locked: a second start ends here
//! control sockets           bound, served by nobody yet
//! parent | child            fork; the parent goes on in parent.rs
//!          syslog           a socket
//!          captures         pcap handles
//!          chroot, user     from here on as anybody
//!          sandbox          from here on as nobody
//!          threads          in live.rs: signals, taps, control, captures, output
//! ```
//! No thread is started before the last line: fork(2) would lose them, and on Linux each would
//! have rights of its own.

use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::Duration;

use super::commands;
use super::live_config;
use super::parent::{Captures, Directories, Guardian, Holder, Limits, Parent};
use crate::config::Config;
use crate::io::capture::{Live, Numbered};
use crate::io::clock::Clock;
use crate::io::control::Listening;
use crate::io::daemon::{self, Detached, Null, PidFile};
use crate::io::keep::Files;
use crate::io::link::Link;
use crate::io::log::Log;
use crate::io::privileges::{self, User};
use crate::options::{DEFAULT_PIDFILE, DEFAULT_SOCKET, DEFAULT_USER, Options};
use crate::time::Uptime;

/// Which process came out of it.
pub(super) enum Started {
    /// This is the first process or the parent. The program has ended, or it runs in the
    /// background.
    Over(ExitCode),
    /// The one that captures.
    Child(Box<Child>),
}

/// Everything open, and no right left to open more.
pub(super) struct Child {
    pub(super) config: Config,
    pub(super) clock: Clock,
    pub(super) log: Log,
    pub(super) parent: Parent,
    /// Ends with the parent.
    pub(super) lifeline: UnixStream,
    pub(super) captures: Vec<Vec<Numbered>>,
    pub(super) listening: Listening,
    /// What standard input, output and error become when all is well.
    pub(super) null: Option<Null>,
}

/// Whether only this host's own packets are captured. pfsync(4) shows no others.
fn is_all_local(config: &Config) -> bool {
    let mut names = config.captures.iter();
    names.all(|name| name.starts_with("pfsync"))
}

/// A header has one uptime. If all packets come from one firewall whose uptime is known, it is that
/// firewall's.
fn clock_of(config: &Config) -> Result<Clock, String> {
    let clock = match config.boottime {
        None if !is_all_local(config) => Clock::of_no_machine(),
        boot => Clock::new(boot),
    };
    if clock.now().uptime < Uptime::default() {
        return Err("the boot time lies in the future".to_owned());
    }
    Ok(clock)
}

fn log_of(options: &Options) -> Log {
    match options.is_foreground {
        true => Log::stderr(options.verbosity > 0),
        false => Log::syslog(options.verbosity > 0),
    }
}

/// Starts.
pub(super) fn start(options: &Options) -> Result<Started, String> {
    let config = live_config(options)?;
    let clock = clock_of(&config)?;
    let user = find_user(&config)?;
    let mut background = None;
    if !options.is_foreground {
        let null = Null::open().map_err(|error| format!("/dev/null: {error}"))?;
        match daemon::detach().map_err(|error| format!("fork: {error}"))? {
            Detached::Shell(code) => return Ok(Started::Over(code)),
            Detached::Daemon(waiting) => background = Some((waiting, null)),
        }
    }
    let pidfile = take_pidfile(options)?;
    let mut log = log_of(options);
    let listening = listen(&config, &mut log)?;
    let process = |error: std::io::Error| format!("second process: {error}");
    let (ours, theirs) = Link::pair().map_err(process)?;
    let (life, lifeline) = UnixStream::pair().map_err(process)?;
    if let Some(child) = daemon::fork().map_err(process)? {
        drop((theirs, lifeline));
        let _files = listening.into_files();
        let guardian = Guardian {
            options,
            keep: config.keep.file.as_deref().map(Files::new),
            captures: Captures::new(&config, user),
            holder: Holder::default(),
            directories: Directories::default(),
            life: Some(life),
            config,
            link: ours,
            child,
            log,
            background,
            limits: Limits::default(),
        };
        let outcome = guardian.run();
        drop(pidfile);
        return outcome.map(Started::Over);
    }
    drop((ours, life));
    if let Some(pidfile) = pidfile {
        pidfile.leave();
    }
    let mut captures = open_captures(&config, &mut log)?;
    let null = background.map(|(_, null)| null);
    log.debug(&give_up_rights(user.as_ref(), &mut captures)?);
    let parent = Parent::new(theirs);
    let connect = parent.clone();
    log.connect_by(Box::new(move || connect.log()));
    Ok(Started::Child(Box::new(Child {
        captures: number(captures),
        config,
        clock,
        log,
        parent,
        lifeline,
        listening: listening.without_files(),
        null,
    })))
}

/// The user to become. `None`: the program is not root and keeps its user.
fn find_user(config: &Config) -> Result<Option<User>, String> {
    match (&config.user, privileges::is_root()) {
        (None, false) => Ok(None),
        (None, true) => User::find(DEFAULT_USER)
            .map(Some)
            .map_err(|problem| format!("{problem}; -u or user in the configuration names another")),
        (Some(name), true) => User::find(name).map(Some),
        (Some(name), false) => {
            let user = User::find(name)?;
            match user.is_current() {
                true => Ok(None),
                false => Err(format!("user {name}: only root can become another user")),
            }
        }
    }
}

/// Takes the pidfile of -p. Without -p a daemon has the usual one, and a program in the foreground
/// has none.
fn take_pidfile(options: &Options) -> Result<Option<PidFile>, String> {
    let usual = (!options.is_foreground).then_some(DEFAULT_PIDFILE);
    let name = options.pidfile.as_deref().or(usual);
    name.map(|name| PidFile::take(name, TRIES)).transpose()
}

/// Opens the control sockets that are asked for. If none is, it opens the usual one, if possible.
fn listen(config: &Config, log: &mut Log) -> Result<Listening, String> {
    if config.socket.is_some() {
        return listen_after_another(config);
    }
    let mut usual = config.clone();
    usual.socket = Some(DEFAULT_SOCKET.to_owned());
    listen_after_another(&usual).or_else(|problem| {
        log.warn(&format!("no control socket: {problem}"));
        listen_after_another(config)
    })
}

/// How often a locked pidfile is tried. The child of a killed program may still send what it holds.
const TRIES: u32 = 20;
const BETWEEN_TRIES: Duration = Duration::from_millis(50);

fn listen_after_another(config: &Config) -> Result<Listening, String> {
    let mut outcome = commands::listen(config);
    for _ in 0..TRIES {
        if !outcome.as_ref().is_err_and(|error| error.is_taken) {
            break;
        }
        std::thread::sleep(BETWEEN_TRIES);
        outcome = commands::listen(config);
    }
    outcome.map_err(|error| error.problem)
}

fn open_captures(config: &Config, log: &mut Log) -> Result<Vec<Live>, String> {
    let names = config.captures.iter();
    names
        .map(|name| open_live(name, !config.is_join_off, log))
        .collect()
}

fn open_live(name: &str, joins: bool, log: &mut Log) -> Result<Live, String> {
    let live = Live::open(name, joins).map_err(|error| format!("{name}: {error}"))?;
    if let Some(problem) = live.join_problem() {
        log.warn(&format!("{name}: multicast group not joined: {problem}"));
    }
    #[cfg(not(target_os = "linux"))]
    if let Some((given, asked)) = live.short_buffer() {
        log.info(&format!(
            "{name}: kernel buffer of {given} octets, not {asked}: net.bpf.maxbufsize is less"
        ));
    }
    Ok(live)
}

/// Opens the capture called `name` and gives up all rights, in a process of its own.
pub(super) fn open_capture(name: &str, by: &Captures, log: &mut Log) -> Result<Live, String> {
    let mut live = open_live(name, by.joins, log)?;
    give_up_rights(by.user.as_ref(), std::slice::from_mut(&mut live))?;
    Ok(live)
}

/// What was done, for the log.
fn give_up_rights(user: Option<&User>, captures: &mut [Live]) -> Result<String, String> {
    for live in captures.iter() {
        live.confine()
            .map_err(|error| format!("capture: {error}"))?;
    }
    if let Some(user) = user {
        privileges::become_user(user)?;
    }
    let sandbox = privileges::enter_sandbox()?;
    for live in captures {
        live.confined();
    }
    let user = user.map_or_else(
        || "no change of user".to_owned(),
        |user| format!("user {}, empty root directory", user.name),
    );
    Ok(format!("{user}; {sandbox}"))
}

/// Captures, each for a thread of its own.
fn number(captures: Vec<Live>) -> Vec<Vec<Numbered>> {
    let numbered = captures.into_iter().enumerate();
    numbered
        .map(|(number, live)| -> Vec<Numbered> { vec![(number, Box::new(live))] })
        .collect()
}
