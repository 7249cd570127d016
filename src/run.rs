//! Floor 8: start order and the two loops: a replay's, whose clock is the packets', and the live
//! one, whose clock is the system's.
//!
//! ```text
//!   readers --batches--+
//!   signals -----------+--> loop --> Engine --> sockets, standard output, log
//!   clock, deadlines --+
//! ```

mod collectors;
mod comeback;
mod commands;
mod files;
mod keep;
mod live;
mod parent;
mod pf;
mod ports;
mod replay;
mod solicit;
mod spools;
mod start;
mod taps;

use std::io::{self, Write};
use std::net::IpAddr;
use std::process::ExitCode;
use std::time::Duration;

use crate::config::Config;
use crate::control;
use crate::counters::SourceCounters;
use crate::engine::{self, Engine};
use crate::export::Order;
use crate::flow::Boot;
use crate::io::clock::Clock;
use crate::io::keep::KeepFile;
use crate::io::log::{Limiter, Log};
use crate::io::transport::WhenFull;
use crate::options::{DEFAULT_INTERFACE, DEFAULT_STATES, Options};
use crate::output::page::Page;
use crate::output::{Form, Output};
use crate::time::Now;
use crate::troubles::{News, Troubles};
use collectors::{Collectors, OpenedFeeds};
use files::{OpenedFiles, UnitFiles};
use keep::Keeper;
use parent::Parent;
use pf::{OpenedPf, Pf};
use ports::{OpenedPorts, Ports};
use solicit::{OpenedRaw, Soliciting};
use taps::{OpenedTaps, Taps};

/// Runs pflow as the command line asks.
pub fn run(options: &Options) -> ExitCode {
    match checked_run(options) {
        Ok(code) => code,
        Err(problem) => {
            // Nobody is left to be told if this fails.
            let _ = writeln!(io::stderr(), "pflow: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn checked_run(options: &Options) -> Result<ExitCode, String> {
    if options.is_check {
        return print_config(&options.config()?);
    }
    if options.is_replay() {
        replay::run(options, options.config()?)
    } else {
        live::run(options)
    }
}

fn print_config(config: &Config) -> Result<ExitCode, String> {
    for warning in config.warnings() {
        // The configuration is what was asked for.
        let _ = writeln!(io::stderr(), "pflow: warning: {warning}");
    }
    match write!(io::stdout(), "{config}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(format!("standard output: {error}"))
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// The engine that the command line asks for.
fn engine(
    options: &Options,
    config: Config,
    (form, page): (Form, Page),
    boot: Boot,
    local_addresses: Vec<IpAddr>,
) -> Engine {
    let settings = engine::Settings {
        states: DEFAULT_STATES,
        is_all: options.is_all,
        direction: options.direction,
        boot,
        local_addresses,
        output: Output {
            form,
            detail: options.detail(),
        },
    };
    let mut engine = Engine::new(settings, config);
    engine.set_filter(options.filter.clone(), page.local.clone());
    engine.set_page(page);
    engine
}

/// Sources of these names that have counted nothing yet.
fn sources(names: &[String]) -> Vec<control::Source> {
    let sources = names.iter().map(|name| control::Source {
        name: name.clone(),
        ..control::Source::default()
    });
    sources.collect()
}

/// The configuration of a live capture, whose interface needs no naming.
fn live_config(options: &Options) -> Result<Config, String> {
    let mut config = options.config()?;
    if config.captures.is_empty() {
        config.captures.push(DEFAULT_INTERFACE.to_owned());
    }
    Ok(config)
}

/// What all sources counted.
fn total(sources: &[control::Source]) -> SourceCounters {
    let mut total = SourceCounters::default();
    for source in sources {
        for (sum, counter) in total.values_mut().into_iter().zip(source.counters.iter()) {
            *sum += counter.value;
        }
    }
    total
}

/// Refuses what cannot be changed while the program runs.
fn check_fixed(old: &Config, new: &Config) -> Result<(), String> {
    let fixed = [
        ("interface", new.captures == old.captures),
        ("boottime", new.boottime == old.boottime),
        ("join", new.is_join_off == old.is_join_off),
        ("user", new.user == old.user),
        (
            "socket",
            new.socket == old.socket && new.socket_readonly == old.socket_readonly,
        ),
        ("keep file", new.keep.file == old.keep.file),
    ];
    match fixed.iter().find(|(_, is_same)| !is_same) {
        Some((word, _)) => Err(format!("{word}: cannot be changed while pflow runs")),
        None => Ok(()),
    }
}

/// So many octets are collected before they are sent: enough for a few system calls, and few enough
/// to stay in the cache.
const SEND_BUFFER: usize = 1 << 17;
/// So many octets a replay sends in the order in which they were packed. After that it sorts IPFIX
/// messages by length. A shorter replay is fast enough in any order.
const IN_ORDER: usize = 4 << 20;
/// With many interfaces, each collects so many octets before they are sent. Fewer would not fill a
/// buffer that the kernel cuts into datagrams.
const SEND_SHARE: usize = 1 << 16;

/// What the program writes to: sockets, standard output, the log.
struct Outside {
    /// The parent, which opens what this process may not open.
    parent: Option<Parent>,
    ports: Ports,
    collectors: Collectors,
    /// Octets to send before IPFIX messages are put together by length; `None`: they never are.
    in_order: Option<usize>,
    log: Log,
    limiter: Limiter,
    clock: Clock,
    taps: Taps,
    files: UnitFiles,
    /// Where requests for states go.
    solicit: Soliciting,
    /// Who asks this host's pf.
    pf: Pf,
    keeper: Keeper,
    /// What is wrong.
    troubles: Troubles,
}

/// Sockets and files opened for a configuration that is not in force yet.
struct Opened {
    ports: OpenedPorts,
    feeds: OpenedFeeds,
    taps: OpenedTaps,
    files: OpenedFiles,
    solicit: OpenedRaw,
    pf: OpenedPf,
    keep: Option<KeepFile>,
}

/// Whether standard output still takes what is printed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Printed {
    Yes,
    /// The reader of standard output has gone, so the program ends without a message.
    BrokenPipe,
}

impl Outside {
    /// Opens a socket for every interface that runs.
    fn open(
        config: &Config,
        when_full: WhenFull,
        log: Log,
        parent: Option<Parent>,
    ) -> Result<Self, String> {
        let mut outside = Self {
            pf: Pf::new(parent.clone()),
            parent,
            ports: Ports::new(when_full),
            collectors: Collectors::new(when_full),
            in_order: None,
            log,
            limiter: Limiter::default(),
            clock: Clock::new(None),
            taps: Taps::new(when_full),
            files: UnitFiles::new(when_full),
            solicit: Soliciting::new(when_full),
            keeper: Keeper::default(),
            troubles: Troubles::default(),
        };
        let opened = outside.prepare(config)?;
        outside.commit(config, opened, None);
        outside.warn_of(&config.warnings());
        Ok(outside)
    }

    /// Opens the sockets and files that `config` needs and that are not there.
    fn prepare(&self, config: &Config) -> Result<Opened, String> {
        let now = self.clock.now().uptime;
        Ok(Opened {
            ports: self.ports.prepare(config, self.parent.as_ref(), now)?,
            feeds: self.collectors.prepare(config, self.parent.as_ref())?,
            taps: self.taps.prepare(config, self.parent.as_ref())?,
            files: self.files.prepare(config, self.parent.as_ref())?,
            solicit: self.solicit.prepare(config, self.parent.as_ref())?,
            pf: self.pf.prepare(config)?,
            keep: self.keeper.prepare(config, self.parent.as_ref())?,
        })
    }

    /// Takes what [`Self::prepare`] opened into use and closes what is not needed any more.
    fn commit(&mut self, config: &Config, opened: Opened, engine: Option<&mut Engine>) {
        let now = self.clock.now().uptime;
        self.ports.commit(config, opened.ports, now);
        self.commit_feeds(config, opened.feeds, engine);
        self.taps.commit(config, opened.taps);
        self.files.commit(config, opened.files);
        self.solicit.commit(opened.solicit);
        self.pf.commit(opened.pf);
        self.keeper.commit(config, opened.keep);
    }

    /// Puts the whole of `config` in force, or nothing of it. So it first opens everything that
    /// must be opened. Records that changed interfaces hold go to their old collectors. `touched`
    /// is an interface to configure again even if nothing about it is new.
    fn configure(
        &mut self,
        engine: &mut Engine,
        now: Now,
        config: Config,
        touched: Option<u32>,
    ) -> Result<(), String> {
        let opened = self.prepare(&config)?;
        let changed = engine.changed_interfaces(&config, touched);
        engine.flush_interfaces(now, &changed);
        self.send(engine);
        self.pump_units(&changed, engine);
        self.pump_feeds(engine);
        self.commit(&config, opened, Some(engine));
        engine.commit(now, config, &changed);
        self.set_soliciting(engine, now);
        self.send(engine);
        Ok(())
    }

    /// Has the engine ask for states as its configuration says, if sockets for that are open.
    fn set_soliciting(&self, engine: &mut Engine, now: Now) {
        let soliciting = engine.config().soliciting();
        let soliciting = soliciting.map(|settings| crate::solicit::Settings {
            is_network: settings.is_network && self.solicit.is_on(),
            is_pf: settings.is_pf && self.pf.is_on(),
            ..settings
        });
        let soliciting = soliciting.filter(|settings| settings.is_network || settings.is_pf);
        engine.set_soliciting(now, soliciting);
    }

    /// Sends the requests for states.
    fn send_requests(&mut self, engine: &mut Engine) {
        let Self {
            solicit,
            limiter,
            log,
            clock,
            pf,
            ..
        } = self;
        pf.send(engine);
        let Some(solicitor) = engine.solicitor() else {
            return;
        };
        solicit.send(solicitor, &mut |problem| {
            if let Some(line) = limiter.admit(clock.now().uptime, &problem) {
                log.warn(&line);
            }
        });
    }

    /// Sends, prints and logs what the engine has.
    fn drain(&mut self, engine: &mut Engine) -> Result<Printed, String> {
        self.send(engine);
        self.log_notices(engine);
        self.print(engine)
    }

    /// Reads the configuration again, as a whole or not at all. The table stays.
    fn reload(&mut self, engine: &mut Engine, options: &Options, now: Now) -> Result<(), String> {
        let config = match &self.parent {
            Some(parent) => parent.config()?,
            None => live_config(options)?,
        };
        let old = engine.config();
        check_fixed(old, &config)?;
        let warnings = config.warnings();
        self.configure(engine, now, config, None)?;
        self.warn_of(&warnings);
        Ok(())
    }

    /// Logs what in a configuration is probably not meant.
    fn warn_of(&mut self, warnings: &[String]) {
        for warning in warnings {
            self.log.warn(&format!("warning: {warning}"));
        }
    }

    fn log_notices(&mut self, engine: &mut Engine) {
        for line in engine.notices() {
            self.log.warn(&line);
        }
        self.note_files(engine);
        for (unit, lost) in self.taps.losses() {
            engine.handle_tap_lost(unit, lost);
        }
        for problem in self.taps.problems() {
            let now = self.clock.now().uptime;
            if let Some(line) = self.limiter.admit(now, &problem) {
                self.log.warn(&line);
            }
        }
    }

    /// Looks for troubles, and tells the log what began and what is over.
    fn look_for_troubles(&mut self, engine: &Engine, sources: &[control::Source], now: Now) {
        for news in self.troubles.look(engine, sources, now) {
            match news {
                News::Begun(line) => self.log.warn(&line),
                News::Over(line) => self.log.info(&line),
            }
        }
    }

    /// Has what waits for taps written, and counts what was not.
    fn finish_taps(&mut self, engine: &mut Engine) {
        self.taps.finish(&mut self.log, &self.clock);
        for (unit, lost) in self.taps.losses() {
            engine.handle_tap_lost(unit, lost);
        }
    }

    /// Logs what the limiter keeps back, because nothing would tell it later.
    fn log_rest(&mut self) {
        for line in self.limiter.rest() {
            self.log.warn(&line);
        }
    }

    /// Sends if there is enough to send.
    fn send_much(&mut self, engine: &mut Engine) {
        let octets = engine.waiting();
        if octets < SEND_BUFFER.max((self.ports.len() + self.collectors.len()) * SEND_SHARE) {
            return;
        }
        let order = match &mut self.in_order {
            Some(0) => Order::ByLength,
            Some(left) => {
                *left = left.saturating_sub(octets);
                Order::Packed
            }
            None => Order::Packed,
        };
        self.send_in(order, engine);
    }

    fn send(&mut self, engine: &mut Engine) {
        self.send_in(Order::Packed, engine);
    }

    fn send_in(&mut self, order: Order, engine: &mut Engine) {
        if engine.waiting() == 0 {
            return;
        }
        let transmit = engine.transmit(order);
        for (unit, datagrams) in transmit.by_interface() {
            match self.collectors.has(unit) {
                true => self.queue(unit, &transmit, engine),
                false if self.files.has(unit) => {}
                false => self.send_from(unit, &datagrams, engine),
            }
        }
        self.write_files(&transmit, engine);
        engine.recycle(transmit);
    }

    /// Whether something waits to be sent by a replay.
    fn is_waiting(&self) -> bool {
        self.ports.is_waiting() || self.collectors.is_waiting()
    }

    /// Sends waiting datagrams in a replay, as far as that goes. Returns how long the rest has to
    /// wait, if some is left.
    fn pump_or_wait(&mut self, engine: &mut Engine) -> Option<Duration> {
        let ports = self.pump(engine);
        let feeds = self.wait_for_feeds(engine);
        ports.into_iter().chain(feeds).min()
    }

    fn print(&mut self, engine: &mut Engine) -> Result<Printed, String> {
        let buffer = engine.printed();
        if buffer.is_empty() {
            return Ok(Printed::Yes);
        }
        let mut stdout = io::stdout().lock();
        let outcome = stdout.write_all(buffer).and_then(|()| stdout.flush());
        buffer.clear();
        match outcome {
            Ok(()) => Ok(Printed::Yes),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Printed::BrokenPipe),
            Err(error) => Err(format!("standard output: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::config::apply_text;
    use std::net::SocketAddr;

    use crate::counters::Reports;
    use crate::io::transport::{Transport, source_address};
    use crate::output::messages::Detail;
    use crate::time::Uptime;

    /// Refuses two datagrams of three, as a full queue of the interface does, and takes one.
    struct Full {
        turn: u32,
        taken: Arc<Mutex<Vec<u8>>>,
    }

    impl Transport for Full {
        fn send(&mut self, _: Uptime, datagrams: &[&[u8]]) -> io::Result<usize> {
            self.turn += 1;
            if !self.turn.is_multiple_of(3) {
                return Err(io::Error::from_raw_os_error(libc::ENOBUFS));
            }
            self.taken.lock().unwrap().extend(datagrams[0]);
            Ok(1)
        }

        fn take_reports(&mut self) -> Reports {
            Reports::default()
        }

        fn redirect(&mut self, _: Uptime, _: SocketAddr) {}

        fn ends(&self) -> (SocketAddr, SocketAddr) {
            let to = "127.0.0.1:9".parse().unwrap();
            (source_address(None, false), to)
        }
    }

    fn running(line: &str) -> (Engine, Outside) {
        let mut config = Config::default();
        apply_text(&mut config, "test", line).unwrap();
        let settings = engine::Settings {
            states: 10,
            is_all: true,
            direction: None,
            boot: Boot::Unknown,
            local_addresses: Vec::new(),
            output: Output {
                form: Form::None,
                detail: Detail::Brief,
            },
        };
        let engine = Engine::new(settings, config.clone());
        let outside = Outside::open(&config, WhenFull::Drop, Log::stderr(false), None);
        (engine, outside.unwrap())
    }

    // Linux keeps ENOBUFS of a plain UDP socket to itself (.ci/faults.py shows that); the BSDs
    // report it whenever the interface's queue is full.
    #[test]
    fn enobufs_is_counted_by_its_name_logged_once_and_the_rest_is_sent() {
        let (mut engine, mut outside) = running("pflow0 flowdst 127.0.0.1:9\n");
        let taken = Arc::new(Mutex::new(Vec::new()));
        let full = Full {
            turn: 0,
            taken: taken.clone(),
        };
        outside.ports.replace(0, Box::new(full));
        let numbers: Vec<[u8; 1]> = (0..9).map(|number| [number]).collect();
        let datagrams: Vec<&[u8]> = numbers.iter().map(|number| &number[..]).collect();
        outside.send_from(0, &datagrams, &mut engine);
        assert_eq!(*taken.lock().unwrap(), [2, 5, 8]);
        let counters = engine.interfaces()[0].counters;
        assert_eq!((counters.datagrams, counters.no_memory), (3, 6));
        assert_eq!(counters.send_errors, 0);
        let rest = outside.limiter.rest();
        assert_eq!(rest.len(), 1, "{rest:?}");
        assert!(rest[0].starts_with("pflow0: send: "), "{rest:?}");
        assert!(
            rest[0].ends_with("(5 times more since the last line)"),
            "{rest:?}"
        );
    }

    /// Sends, and does not know from where.
    struct Sourceless;

    impl Transport for Sourceless {
        fn send(&mut self, _: Uptime, datagrams: &[&[u8]]) -> io::Result<usize> {
            Ok(datagrams.len())
        }

        fn take_reports(&mut self) -> Reports {
            Reports::default()
        }

        fn redirect(&mut self, _: Uptime, _: SocketAddr) {}

        fn ends(&self) -> (SocketAddr, SocketAddr) {
            let to = "127.0.0.1:9".parse().unwrap();
            (source_address(None, false), to)
        }
    }

    #[test]
    fn a_datagram_whose_source_is_not_known_is_tapped_with_none_and_counted() {
        let name = std::env::temp_dir().join(format!("pflow-sourceless-{}", std::process::id()));
        let line = format!("pflow0 flowdst 127.0.0.1:9 tap {}\n", name.display());
        let (mut engine, mut outside) = running(&line);
        outside.ports.replace(0, Box::new(Sourceless));
        outside.send_from(0, &[b"one", b"two"], &mut engine);
        outside.finish_taps(&mut engine);
        let counters = engine.interfaces()[0].counters;
        let counted = [
            counters.datagrams,
            counters.tapped,
            counters.tap_dropped,
            counters.tap_sourceless,
        ];
        assert_eq!(counted, [2, 2, 0, 2]);
        let file = std::fs::read(&name).unwrap();
        std::fs::remove_file(&name).unwrap();
        // The headers of the file and of the record, 12 octets of IPv4's.
        assert_eq!(file[24 + 16 + 12..][..8], [0, 0, 0, 0, 127, 0, 0, 1]);
        assert!(file.ends_with(b"two"));
    }
}
