//! The live loop: it reads capture handles and goes by the system's clocks.

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use crossbeam_channel::{Receiver, never, select_biased};

use super::Outside;
use super::comeback::Comeback;
use super::commands::{self, Commands, Desk};
use super::parent::Parent;
use super::start::{self, Child, Started};
use crate::control::Source;
use crate::counters::SourceCounters;
use crate::engine::{Engine, Packet};
use crate::flow::Boot;
use crate::io::capture::{Adder, Batch, Readers};
use crate::io::clock::Clock;
use crate::io::control::Ask;
use crate::io::output::{self, OutputThread};
use crate::io::pf;
use crate::io::signals::{self, SignalRequest};
use crate::io::terminal;
use crate::io::transport::WhenFull;
use crate::options::Options;
use crate::output::Form;
use crate::output::page::Page;
use crate::summary;
use crate::time::{Now, Uptime};

/// How often troubles are looked for.
const LOOK: Duration = Duration::from_secs(1);
/// How often this host's addresses are read.
const ADDRESSES: Duration = Duration::from_secs(30);
/// Longest work before signals and clients are served.
const SPELL: Duration = Duration::from_millis(5);
/// Packets between two looks at the clock, which show how long the work took.
const SPELL_PACKETS: usize = 16;
/// How soon requests to pf are tried again that could not be sent at once.
const AGAIN: Duration = Duration::from_millis(50);
/// Longest wait of the loop. It is bounded so that a silence is noticed.
const TURN: Duration = Duration::from_secs(1);

/// Captures until a signal, or until nobody reads what the program prints. Lost captures do not end
/// the program.
pub(super) fn run(options: &Options) -> Result<ExitCode, String> {
    // The page needs the time zone, whose files cannot be read after `start`.
    let page = terminal::page(String::new());
    let mut child = match start::start(options)? {
        Started::Over(code) => return Ok(code),
        Started::Child(child) => *child,
    };
    let null = child.null.take();
    let (mut live, readers) = LiveRun::open(options, child, page)?;
    live.begin();
    if let Some(null) = null {
        let replaced = null.replace_standard();
        replaced.map_err(|error| format!("/dev/null: {error}"))?;
    }
    live.parent.tell_ready()?;
    live.run(&readers);
    Ok(ExitCode::SUCCESS)
}

struct LiveRun {
    options: Options,
    output: OutputThread,
    /// When this host's addresses were read last.
    addresses_read: Uptime,
    engine: Engine,
    outside: Outside,
    clock: Clock,
    signals: Receiver<SignalRequest>,
    commands: Commands,
    /// Where packets come from, and what each source has counted.
    sources: Vec<Source>,
    /// Packets that the sources counted. The engine may not have read the last batch's packets yet.
    captured: u64,
    /// When troubles were looked for last.
    looked: Uptime,
    parent: Parent,
    adder: Adder,
    /// Captures that are lost.
    comeback: Comeback,
    /// How long until the next waiting datagram may be sent. `None`: no datagram waits.
    pump_due: Option<Duration>,
    /// Whether a signal to stop came while a packet was half read.
    is_stopping: bool,
}

impl LiveRun {
    /// Opens everything that `child` begins with, and starts the threads.
    fn open(options: &Options, child: Child, page: Page) -> Result<(Self, Readers), String> {
        let Child {
            config,
            clock,
            mut log,
            parent,
            lifeline,
            captures,
            listening,
            null: _,
        } = child;
        let thread = |error: io::Error| format!("thread: {error}");
        log.write_behind().map_err(thread)?;
        let names = config.captures.clone();
        let signals = signals::listen(Some(lifeline));
        let signals = signals.map_err(|error| format!("signals: {error}"))?;
        let addresses = parent.addresses();
        let addresses = addresses.map_err(|problem| format!("this host's addresses: {problem}"))?;
        let outside = Outside::open(&config, WhenFull::Drop, log, Some(parent.clone()))?;
        let commands = Commands::start(listening)?;
        let form = options.form.unwrap_or(Form::None);
        let (readers, adder) = Readers::start_open(captures).map_err(thread)?;
        let now = clock.now();
        let (boot, local) = match config.boottime {
            Some(_) => (Boot::Known, Boot::Known),
            None => (Boot::Unknown, Boot::At(clock.host_boot())),
        };
        let mut engine = super::engine(options, config, (form, page), boot, addresses);
        engine.set_local_boot(local);
        let live = Self {
            options: options.clone(),
            output: OutputThread::start().map_err(thread)?,
            addresses_read: now.uptime,
            engine,
            outside,
            clock,
            signals,
            sources: super::sources(&names),
            captured: 0,
            commands,
            looked: now.uptime,
            parent,
            adder,
            comeback: Comeback::default(),
            pump_due: None,
            is_stopping: false,
        };
        Ok((live, readers))
    }

    /// Restores the table from the keep file, and starts the engine.
    fn begin(&mut self) {
        let now = self.clock.now();
        self.read_interfaces();
        self.outside.keeper.restore(
            &mut self.engine,
            now,
            Some(&self.parent),
            &mut self.outside.log,
        );
        self.engine.start(now);
        self.outside.set_soliciting(&mut self.engine, now);
        let names = self.engine.config().captures.clone();
        self.tell_start(&names);
    }

    fn tell_start(&mut self, names: &[String]) {
        let log = &mut self.outside.log;
        log.info(&format!("capturing on {}", names.join(", ")));
        let sockets = self.commands.names();
        if !sockets.is_empty() {
            log.info(&format!("control socket {}", sockets.join(", ")));
        }
    }

    fn run(&mut self, readers: &Readers) {
        let mut asks = self.commands.asks();
        loop {
            self.drain();
            if self.is_stopping || self.output.is_broken() {
                // The program ends on a signal, and when nobody reads its output.
                break;
            }
            let now = self.clock.now();
            self.look_for_troubles(now);
            if !self.comeback.is_empty() {
                self.try_captures(now);
            }
            self.outside.keep(&mut self.engine, now);
            self.outside.pf.come_back(&mut self.engine, now.uptime);
            let told = self.outside.pf.answers();
            let wait = self.wait(now.uptime);
            select_biased! {
                recv(self.signals) -> request => match request {
                    Ok(SignalRequest::Stop) => break,
                    Ok(SignalRequest::Statistics) => self.log_statistics(),
                    Ok(SignalRequest::Reload) => self.reload(),
                    Err(_) => self.signals = never(),
                },
                recv(readers.batches()) -> batch => match batch {
                    Ok(batch) => {
                        self.handle_batch(&batch);
                        readers.recycle(batch);
                        // One answer of pf and one client's request follow each batch. So nobody
                        // starves.
                        if let Ok(answers) = told.try_recv() {
                            self.take_pf(answers);
                        }
                        if let Ok(ask) = asks.try_recv() {
                            self.answer(ask);
                        }
                    }
                    // This cannot happen as long as `adder` lives.
                    Err(_) => break,
                },
                recv(told) -> answers => {
                    let ended = |_| Err(pf::ENDED.to_owned());
                    self.take_pf(answers.unwrap_or_else(ended));
                }
                recv(asks) -> ask => match ask {
                    Ok(ask) => self.answer(ask),
                    Err(_) => asks = never(),
                },
                default(wait) => {
                    let now = self.clock.now();
                    self.handle_timeouts(now);
                    self.watch_addresses(now);
                    self.outside.collect_reports(&mut self.engine);
                }
            }
        }
        readers.stop();
        self.stop(readers);
    }

    /// How long the loop may wait if nothing comes.
    fn wait(&self, now: Uptime) -> Duration {
        let due = self.engine.poll_timeout();
        let due = due.map(|due| due.since(now));
        let keep = self.outside.keeper.wait(now);
        let again = self.outside.pf.is_sending().then_some(AGAIN);
        let waits = [due, keep, self.pump_due, again];
        waits.into_iter().flatten().fold(TURN, Duration::min)
    }

    /// Takes in what pf answered.
    fn take_pf(&mut self, answers: pf::Answers) {
        let now = self.clock.now();
        self.handle_timeouts(now);
        self.outside.pf.take(&mut self.engine, answers, now);
    }

    fn answer(&mut self, ask: Ask) {
        let now = self.clock.now();
        let waiting = self.waiting();
        let mut desk = Desk {
            engine: &mut self.engine,
            outside: &mut self.outside,
            sources: &self.sources,
            waiting,
            now: Some(now),
            options: Some(&self.options),
        };
        self.commands.handle(ask, &mut desk);
    }

    /// Sends, prints and logs what the engine has.
    fn drain(&mut self) {
        self.outside.send(&mut self.engine);
        let ports = self.outside.pump(&mut self.engine);
        let feeds = self.outside.pump_feeds(&mut self.engine);
        self.pump_due = ports.into_iter().chain(feeds).min();
        self.outside.send_requests(&mut self.engine);
        self.outside.log_notices(&mut self.engine);
        let printed = self.engine.printed();
        if !printed.is_empty() {
            self.output.write(printed);
            printed.clear();
        }
    }

    /// Does what is due. Sends, and serves signals and clients, between the steps.
    fn handle_timeouts(&mut self, now: Now) {
        while self.engine.handle_some_timeouts(now, now.uptime) {
            self.look();
        }
    }

    /// Interrupts long work: sends what there is, and serves a signal and a client.
    fn look(&mut self) {
        self.drain();
        match self.signals.try_recv() {
            // The packet that is half read is read to its end first.
            Ok(SignalRequest::Stop) => self.is_stopping = true,
            Ok(SignalRequest::Statistics) => self.log_statistics(),
            Ok(SignalRequest::Reload) => self.reload(),
            Err(_) => {}
        }
        if let Ok(ask) = self.commands.asks().try_recv() {
            self.answer(ask);
        }
    }

    fn handle_batch(&mut self, batch: &Batch) {
        let now = self.clock.now();
        self.note_counters(batch, now);
        self.handle_timeouts(now);
        let mut begun = self.clock.now().uptime;
        for (number, (frame, octets)) in batch.packets().enumerate() {
            if number % SPELL_PACKETS == 0 && self.clock.now().uptime.since(begun) >= SPELL {
                self.look();
                begun = self.clock.now().uptime;
            }
            let packet = Packet {
                stamp: now.plausible(frame.stamp.sane()),
                link: frame.link,
                frame: octets,
                wire_len: frame.wire_len,
            };
            self.engine.handle_packet(now, &packet);
            while self.engine.is_behind() {
                self.look();
                self.engine.go_on();
            }
            self.outside.send_much(&mut self.engine);
        }
        if batch.is_opened {
            self.regain(batch.source, now);
        }
        match &batch.end {
            None => {}
            Some(Ok(())) => self.lose(batch.source, "it ended", now),
            Some(Err(error)) => {
                // In the sandbox libpcap cannot ask what is wrong, so its message misleads. The
                // parent can ask.
                let source = self.sources.get(batch.source);
                let trouble = source.and_then(|source| self.parent.trouble(&source.name));
                let problem = trouble.unwrap_or_else(|| error.to_string());
                self.lose(batch.source, &problem, now);
            }
        }
    }

    /// Packets that the sources counted and the engine has not read yet.
    fn waiting(&self) -> u64 {
        self.captured - self.engine.packet_counters().packets()
    }

    /// Takes over the counters that came with a batch.
    fn note_counters(&mut self, batch: &Batch, now: Now) {
        self.captured = self.engine.packet_counters().packets() + batch.len();
        let Some(source) = self.sources.get_mut(batch.source) else {
            return;
        };
        let lost = |read: &SourceCounters| read.kernel_dropped + read.interface_dropped;
        let more = lost(&batch.counters).saturating_sub(lost(&source.counters));
        source.counters = batch.counters;
        if !batch.is_empty() {
            source.last = Some(now.uptime);
        }
        if more > 0 {
            self.engine.note_loss(now, more);
        }
    }

    /// A capture has ended, or could not be opened again.
    fn lose(&mut self, number: usize, problem: &str, now: Now) {
        let Some(source) = self.sources.get_mut(number) else {
            return;
        };
        source.problem = Some(problem.to_owned());
        let name = &source.name;
        let line = if self.comeback.fail(number, now.uptime) {
            source.counters.lost += 1;
            format!("{name}: capture lost: {problem}")
        } else {
            format!("{name}: not opened again yet: {problem}")
        };
        let limited = self.outside.limiter.admit(now.uptime, &line);
        if let Some(line) = limited {
            self.outside.log.warn(&line);
        }
    }

    /// Tries to open lost captures again, when their time has come.
    fn try_captures(&mut self, now: Now) {
        while let Some(number) = self.comeback.next(now.uptime) {
            let Some(source) = self.sources.get(number) else {
                continue;
            };
            let counters = source.counters;
            let opened = self.parent.open_capture(&source.name).and_then(|relayed| {
                let added = self.adder.add(number, Box::new(relayed), counters);
                added.map_err(|error| format!("thread: {error}"))
            });
            if let Err(problem) = opened {
                self.lose(number, &problem, now);
            }
        }
    }

    /// A capture that was lost is there again.
    fn regain(&mut self, number: usize, now: Now) {
        self.comeback.succeed(number);
        let Some(source) = self.sources.get_mut(number) else {
            return;
        };
        source.problem = None;
        let line = format!("{}: capturing again", source.name);
        let line = self.outside.limiter.admit(now.uptime, &line);
        let log = &mut self.outside.log;
        if let Some(line) = line {
            log.info(&line);
        }
        if let Err(problem) = self.outside.solicit.reopen(&source.name, &self.parent) {
            log.warn(&format!("solicit on {}: {problem}", source.name));
        }
        // How many, nobody knows.
        self.engine.note_loss(now, 0);
    }

    fn reload(&mut self) {
        let now = self.clock.now();
        let outcome = self.outside.reload(&mut self.engine, &self.options, now);
        commands::log_reload(&mut self.outside.log, outcome);
    }

    /// Reads this host's addresses again now and then: one that is new is its own, too.
    fn watch_addresses(&mut self, now: Now) {
        if now.uptime.since(self.addresses_read) >= ADDRESSES {
            self.addresses_read = now.uptime;
            if let Ok(addresses) = self.parent.addresses() {
                self.engine.set_local_addresses(addresses);
            }
            self.read_interfaces();
        }
    }

    /// Reads the numbers of this host's interfaces, if this host is the firewall that pflow listens
    /// to.
    fn read_interfaces(&mut self) {
        let mut sources = self.sources.iter();
        let is_firewall = sources.any(|source| source.name.starts_with("pfsync"));
        if self.engine.is_ifindex_auto()
            && is_firewall
            && let Ok(interfaces) = self.parent.interfaces()
        {
            self.engine.set_local_interfaces(interfaces.into_iter());
        }
    }

    /// Looks for troubles now and then.
    fn look_for_troubles(&mut self, now: Now) {
        if now.uptime.since(self.looked) >= LOOK {
            self.looked = now.uptime;
            let Self {
                outside,
                engine,
                sources,
                ..
            } = self;
            outside.look_for_troubles(engine, sources, now);
        }
    }

    fn log_statistics(&mut self) {
        let total = super::total(&self.sources);
        for line in summary::lines(&self.engine, &total) {
            self.outside.log.info(&line);
        }
    }

    /// Ends the run: takes in the batches that were read already, sends what is held, and logs what
    /// was done.
    fn stop(&mut self, readers: &Readers) {
        while let Ok(batch) = readers.batches().try_recv() {
            self.handle_batch(&batch);
        }
        let now = self.clock.now();
        while self.outside.finish_some(&mut self.engine, now) {
            self.drain();
        }
        while self.engine.finish_printing_some() {
            self.drain();
        }
        self.drain();
        self.outside.pump_all(&mut self.engine);
        self.outside.finish_feeds(&mut self.engine);
        self.outside.finish_files(&mut self.engine);
        self.outside.finish_taps(&mut self.engine);
        let dropped = self.output.finish(output::LAST);
        self.outside.log_rest();
        self.log_statistics();
        if dropped > 0 {
            let line = format!("{dropped} octets of output dropped: its reader is too slow");
            self.outside.log.warn(&line);
        }
    }
}
