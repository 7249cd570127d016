//! The replay's loop. The same files give the same bytes in each run.
//!
//! The replay's clock shows the highest stamp so far, so it never goes back. Timers that are due
//! before a packet fire before it, each at its own time.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvError, never, select_biased};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::commands::{self, Commands, Desk};
use super::{IN_ORDER, Outside, Printed};
use crate::config::Config;
use crate::control::Source;
use crate::engine::{Engine, Packet};
use crate::flow::Boot;
use crate::io::capture::{self, Batch, InTurn, Numbered, Readers};
use crate::io::clock::Pace;
use crate::io::control::Ask;
use crate::io::daemon::PidFile;
use crate::io::log::Log;
use crate::io::signals::{self, SignalRequest};
use crate::io::terminal;
use crate::io::transport::WhenFull;
use crate::options::Options;
use crate::output::Form;
use crate::summary;
use crate::time::{Now, Wall};

/// If no boot time is known, uptime counts from so many milliseconds before the first packet. The
/// number is the middle of what the 32 bits of NetFlow v5 hold.
const UNKNOWN_BOOT_MS: i64 = 1 << 31;

/// Files of this size or more, in octets, get a progress bar.
const LONG_FILE: u64 = 32 << 20;

/// So many octets of text are collected before they are written out.
const PRINT_BUFFER: usize = 1 << 16;

/// Why the loop ended.
enum Ending {
    /// Every file was read.
    Done,
    /// A signal asked the program to stop.
    Stopped,
    /// The reader of standard output has gone.
    BrokenPipe,
}

/// Replays the files of the command line.
pub(super) fn run(options: &Options, config: Config) -> Result<ExitCode, String> {
    let form = options.form.unwrap_or(match config.interfaces.is_empty() {
        true => Form::Text,
        false => Form::None,
    });
    let page = terminal::page(options.files.join(", "));
    let boot = config.boottime;
    let pidfile = options.pidfile.as_deref();
    let _pidfile = pidfile.map(|name| PidFile::take(name, 0)).transpose()?;
    let log = Log::stderr(options.verbosity > 0);
    let mut outside = Outside::open(&config, WhenFull::Wait, log, None)?;
    let listening = commands::listen(&config).map_err(|error| error.problem)?;
    let commands = Commands::start(listening)?;
    let known = if boot.is_some() {
        Boot::Known
    } else {
        Boot::Unknown
    };
    let signals = signals::listen(None).map_err(|error| format!("signals: {error}"))?;
    let (sources, bar, total) = open(&options.files)?;
    // All packets are there and are read as fast as possible. So the packets alone decide what is
    // sent together.
    let is_all_there = total.is_some() && options.speed == 0.0;
    outside.in_order = is_all_there.then_some(IN_ORDER);
    let mut replay = Replay {
        engine: super::engine(options, config, (form, page), known, Vec::new()),
        outside,
        boot,
        clock: None,
        speed: options.speed,
        pace: None,
        signals,
        asks: commands.asks(),
        commands,
        bar,
        sources: super::sources(&options.files),
        positions: vec![0; options.files.len()],
        captured: 0,
        is_damaged: false,
    };
    let connected = replay.connect()?;
    let ending = if let Some(ending) = connected {
        ending
    } else if total.is_some() {
        replay.read_files(&mut InTurn::new(sources))?
    } else {
        let readers = Readers::start(vec![sources]).map_err(|error| format!("thread: {error}"))?;
        let ending = replay.read_streams(&readers)?;
        readers.stop();
        ending
    };
    replay.finish(ending)
}

/// Opens the files. Returns them, a progress bar, and the octets of all of them. The bar is hidden
/// for short files. The octets are `None` if a file does not tell its length.
fn open(files: &[String]) -> Result<(Vec<Numbered>, ProgressBar, Option<u64>), String> {
    let mut sources: Vec<Numbered> = Vec::new();
    let mut total = Some(0);
    for (number, name) in files.iter().enumerate() {
        let file = capture::File::open(name).map_err(|error| format!("{name}: {error}"))?;
        total = total.zip(file.len()).map(|(total, len)| total + len);
        sources.push((number, Box::new(file)));
    }
    let bar = match total {
        Some(total) if total >= LONG_FILE && std::io::stderr().is_terminal() => {
            let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
            if let Ok(style) = ProgressStyle::with_template(
                "{bar:40} {bytes}/{total_bytes} {bytes_per_sec} {eta} left, {msg}",
            ) {
                bar.set_style(style);
            }
            bar
        }
        _ => ProgressBar::hidden(),
    };
    Ok((sources, bar, total))
}

struct Replay {
    engine: Engine,
    outside: Outside,
    boot: Option<Wall>,
    /// The replay's clock, and when uptime began. `None` before the first packet.
    clock: Option<(Wall, Wall)>,
    speed: f64,
    pace: Option<Pace>,
    signals: Receiver<SignalRequest>,
    commands: Commands,
    asks: Receiver<Ask>,
    bar: ProgressBar,
    /// The files and what they have counted.
    sources: Vec<Source>,
    positions: Vec<u64>,
    /// Packets that the files counted. The engine may not have read the last batch's packets yet.
    captured: u64,
    is_damaged: bool,
}

impl Replay {
    /// Waits for the connections of the collectors that need one. Returns why the loop ends, if it
    /// does.
    ///
    /// # Errors
    /// A collector cannot be connected to.
    fn connect(&mut self) -> Result<Option<Ending>, String> {
        while self.outside.is_connecting(&mut self.engine)? {
            if let Ok(request) = self.signals.try_recv()
                && let Some(ending) = self.handle_request(Ok(request))
            {
                return Ok(Some(ending));
            }
        }
        Ok(None)
    }

    /// Reads files, which never make the loop wait. Serves signals and clients between batches.
    fn read_files(&mut self, files: &mut InTurn) -> Result<Ending, String> {
        while let Some(batch) = files.read() {
            if let Some(ending) = self.take(batch)? {
                return Ok(ending);
            }
            if let Ok(request) = self.signals.try_recv()
                && let Some(ending) = self.handle_request(Ok(request))
            {
                return Ok(ending);
            }
        }
        Ok(Ending::Done)
    }

    /// Reads pipes, whose packets come at any time.
    fn read_streams(&mut self, readers: &Readers) -> Result<Ending, String> {
        loop {
            let ending = select_biased! {
                recv(self.signals) -> request => self.handle_request(request),
                recv(readers.batches()) -> batch => match batch {
                    Ok(batch) => {
                        let ending = self.take(&batch)?;
                        readers.recycle(batch);
                        ending
                    }
                    Err(_) => return Ok(Ending::Done),
                },
                recv(self.asks) -> ask => {
                    self.answer(ask);
                    self.pump()?
                }
            };
            if let Some(ending) = ending {
                return Ok(ending);
            }
        }
    }

    /// Takes in a batch, and then one command of a client. So neither packets nor clients starve.
    fn take(&mut self, batch: &Batch) -> Result<Option<Ending>, String> {
        self.note(batch);
        let ending = self.handle_batch(batch)?;
        if ending.is_none()
            && let Ok(ask) = self.asks.try_recv()
        {
            self.answer(Ok(ask));
        }
        Ok(ending)
    }

    fn handle_request(&mut self, request: Result<SignalRequest, RecvError>) -> Option<Ending> {
        match request {
            Ok(SignalRequest::Stop) => return Some(Ending::Stopped),
            Err(_) => self.signals = never(),
            Ok(SignalRequest::Statistics) => {
                let total = super::total(&self.sources);
                for line in summary::lines(&self.engine, &total) {
                    self.outside.log.info(&line);
                }
            }
            Ok(SignalRequest::Reload) => self
                .outside
                .log
                .warn("SIGHUP: a replay is not configured again"),
        }
        None
    }

    fn answer(&mut self, ask: Result<Ask, RecvError>) {
        let Ok(ask) = ask else {
            self.asks = never();
            return;
        };
        let now = self.now();
        if let Some(now) = now {
            // Only clients that ask hear of troubles, because a replay ends with its own summary.
            let troubles = &mut self.outside.troubles;
            troubles.look(&self.engine, &self.sources, now);
        }
        let waiting = self.captured - self.engine.packet_counters().packets();
        let mut desk = Desk {
            engine: &mut self.engine,
            outside: &mut self.outside,
            sources: &self.sources,
            waiting,
            now,
            options: None,
        };
        self.commands.handle(ask, &mut desk);
    }

    fn handle_batch(&mut self, batch: &Batch) -> Result<Option<Ending>, String> {
        for (frame, octets) in batch.packets() {
            let stamp = frame.stamp.sane();
            let now = match self.advance(stamp)? {
                Ok(now) => now,
                Err(ending) => return Ok(Some(ending)),
            };
            self.outside.keep_whole(&mut self.engine, now);
            let packet = Packet {
                stamp,
                link: frame.link,
                frame: octets,
                wire_len: frame.wire_len,
            };
            self.engine.handle_packet(now, &packet);
            while self.engine.is_behind() {
                if let Some(ending) = self.look()? {
                    return Ok(Some(ending));
                }
                self.engine.go_on();
            }
            match self.pace {
                None => self.outside.send_much(&mut self.engine),
                Some(_) => self.outside.send(&mut self.engine),
            }
            if self.outside.is_waiting()
                && let Some(ending) = self.pump()?
            {
                return Ok(Some(ending));
            }
            let is_much = self.engine.printed().len() >= PRINT_BUFFER || self.pace.is_some();
            if is_much && self.outside.print(&mut self.engine)? == Printed::BrokenPipe {
                return Ok(Some(Ending::BrokenPipe));
            }
        }
        // If all packets are there, much is sent at a time, and so not after each batch.
        if self.outside.in_order.is_none() {
            self.outside.send(&mut self.engine);
            if let Some(ending) = self.pump()? {
                return Ok(Some(ending));
            }
        }
        self.outside.log_notices(&mut self.engine);
        match self.outside.print(&mut self.engine)? {
            Printed::Yes => Ok(None),
            Printed::BrokenPipe => Ok(Some(Ending::BrokenPipe)),
        }
    }

    /// Interrupts long work: sends and prints if there is much, and serves a signal and a client.
    /// Returns why the loop ends, if it does.
    fn look(&mut self) -> Result<Option<Ending>, String> {
        self.outside.send_much(&mut self.engine);
        if let Some(ending) = self.pump()? {
            return Ok(Some(ending));
        }
        if self.engine.printed().len() >= PRINT_BUFFER
            && self.outside.print(&mut self.engine)? == Printed::BrokenPipe
        {
            return Ok(Some(Ending::BrokenPipe));
        }
        if let Ok(ask) = self.asks.try_recv() {
            self.answer(Ok(ask));
        }
        match self.signals.try_recv() {
            Ok(request) => Ok(self.handle_request(Ok(request))),
            Err(_) => Ok(None),
        }
    }

    /// The time on the replay's clock.
    fn now(&self) -> Option<Now> {
        self.clock.map(|(clock, boot)| Now::with_boot(clock, boot))
    }

    /// Moves the clock on to `stamp`, if that is later, and does what is due before. Returns the
    /// time that the clock then shows, or why the loop ended.
    fn advance(&mut self, stamp: Wall) -> Result<Result<Now, Ending>, String> {
        let Some((clock, boot)) = self.clock else {
            return Ok(Ok(self.start(stamp)));
        };
        let target = Now::with_boot(clock.max(stamp), boot);
        if stamp <= clock {
            return Ok(Ok(target));
        }
        if let Some(pace) = &mut self.pace {
            pace.shorten_gap(stamp);
            while let Some(due) = self
                .engine
                .poll_timeout()
                .filter(|due| *due <= target.uptime)
            {
                let then = target.at(due);
                if let Some(ending) = self.wait_until(then.wall)? {
                    return Ok(Err(ending));
                }
                while self.engine.handle_some_timeouts(then, target.uptime) {
                    if let Some(ending) = self.look()? {
                        return Ok(Err(ending));
                    }
                }
                self.clock = Some((clock.max(then.wall), boot));
                self.outside.send(&mut self.engine);
            }
            if let Some(ending) = self.wait_until(stamp)? {
                return Ok(Err(ending));
            }
        }
        self.clock = Some((stamp, boot));
        while self.engine.handle_some_timeouts(target, target.uptime) {
            if let Some(ending) = self.look()? {
                return Ok(Err(ending));
            }
        }
        Ok(Ok(target))
    }

    /// Sets the clock to the first packet's stamp.
    fn start(&mut self, stamp: Wall) -> Now {
        let unknown = || stamp.nanos().saturating_sub(UNKNOWN_BOOT_MS * 1_000_000);
        let boot = self.boot.unwrap_or_else(|| Wall::from_nanos(unknown()));
        if stamp < boot {
            let line = format!("the first packet ({stamp}) is from before the boot time ({boot})");
            self.outside.log.warn(&line);
        }
        self.clock = Some((stamp, boot));
        self.pace = (self.speed > 0.0).then(|| Pace::new(self.speed, stamp));
        let now = Now::with_boot(stamp, boot);
        self.outside
            .keeper
            .restore(&mut self.engine, now, None, &mut self.outside.log);
        self.engine.start(now);
        now
    }

    /// Sleeps until the pace allows `stamp`, or until a signal ends the replay.
    fn wait_until(&mut self, stamp: Wall) -> Result<Option<Ending>, String> {
        let Some(pace) = &mut self.pace else {
            return Ok(None);
        };
        let wait = pace.wait_for(stamp);
        if wait.is_zero() {
            return Ok(None);
        }
        if self.outside.drain(&mut self.engine)? == Printed::BrokenPipe {
            return Ok(Some(Ending::BrokenPipe));
        }
        self.wait(wait)
    }

    /// Sends the datagrams that wait for their turn. Serves signals and clients between them.
    fn pump(&mut self) -> Result<Option<Ending>, String> {
        while let Some(wait) = self.outside.pump_or_wait(&mut self.engine) {
            if let Some(ending) = self.wait(wait)? {
                return Ok(Some(ending));
            }
        }
        Ok(None)
    }

    /// Waits for `wait`. Serves only signals and clients meanwhile.
    fn wait(&mut self, wait: Duration) -> Result<Option<Ending>, String> {
        let deadline = crossbeam_channel::after(wait);
        loop {
            select_biased! {
                recv(self.signals) -> request => {
                    let ending = self.handle_request(request);
                    if ending.is_some() {
                        return Ok(ending);
                    }
                }
                recv(deadline) -> _ => return Ok(None),
                recv(self.asks) -> ask => self.answer(ask),
            }
        }
    }

    /// Takes over what a batch tells beside its packets: counters, the position, the end.
    fn note(&mut self, batch: &Batch) {
        self.captured = self.engine.packet_counters().packets() + batch.len();
        let mut name = "";
        if let Some(source) = self.sources.get_mut(batch.source) {
            source.counters = batch.counters;
            name = &source.name;
        }
        if let Some(position) = self.positions.get_mut(batch.source) {
            *position = batch.position.max(*position);
        }
        self.bar.set_position(self.positions.iter().sum());
        if !self.bar.is_hidden() {
            self.bar
                .set_message(format!("{} flows", self.engine.flow_counters().exported));
        }
        if let Some(Err(error)) = &batch.end {
            self.is_damaged = true;
            let line = format!("{name}: {error}");
            self.bar.suspend(|| self.outside.log.warn(&line));
        }
    }

    /// Sends the datagrams that wait for their turn. After a signal to stop, it sends all of them
    /// at once.
    fn pump_to_the_end(&mut self, ending: &mut Ending) -> Result<(), String> {
        if matches!(ending, Ending::Done)
            && let Some(other) = self.pump()?
        {
            *ending = other;
        }
        self.outside.pump_all(&mut self.engine);
        Ok(())
    }

    fn finish(mut self, mut ending: Ending) -> Result<ExitCode, String> {
        self.bar.finish_and_clear();
        if let Some(now) = self.now() {
            while self.outside.finish_some(&mut self.engine, now) {
                self.outside.send_much(&mut self.engine);
                self.pump_to_the_end(&mut ending)?;
                if self.engine.printed().len() >= PRINT_BUFFER
                    && self.outside.print(&mut self.engine)? == Printed::BrokenPipe
                {
                    break;
                }
            }
        }
        let mut printed = self.outside.drain(&mut self.engine)?;
        while printed == Printed::Yes && self.engine.finish_printing_some() {
            printed = self.outside.print(&mut self.engine)?;
        }
        if printed == Printed::Yes {
            printed = self.outside.print(&mut self.engine)?;
        }
        self.pump_to_the_end(&mut ending)?;
        self.outside.finish_files(&mut self.engine);
        let has_sent_nothing = self.outside.has_sent_nothing(&mut self.engine);
        let has_given_up = self.outside.collectors.has_given_up();
        self.outside.finish_feeds(&mut self.engine);
        self.outside.finish_taps(&mut self.engine);
        self.outside.log_rest();
        if matches!(ending, Ending::BrokenPipe) || printed == Printed::BrokenPipe {
            return Ok(ExitCode::SUCCESS);
        }
        for line in summary::lines(&self.engine, &super::total(&self.sources)) {
            self.outside.log.info(&line);
        }
        let has_lost = has_given_up || self.outside.files.has_lost();
        Ok(if self.is_damaged || has_sent_nothing || has_lost {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        })
    }
}
