//! What clients of the control sockets ask, done between two batches of packets.

use std::time::Duration;

use crossbeam_channel::{Receiver, never};

use super::{Outside, check_fixed};
use crate::config::{Command, Config, InterfaceWord, MAX_INTERFACES};
use crate::control::request::{self, Request};
use crate::control::{self, Access, AnswerForm, Listing, Progress, Source, View};
use crate::counters::ControlCounters;
use crate::engine::Engine;
use crate::io::control::{Answer, Ask, Control, Listening, NotOpened, Then};
use crate::io::log::Log;
use crate::io::thread_cpu;
use crate::options::Options;
use crate::time::Now;

/// What a request may look at and change.
pub(super) struct Desk<'a> {
    pub(super) engine: &'a mut Engine,
    pub(super) outside: &'a mut Outside,
    pub(super) sources: &'a [Source],
    /// Packets that the sources counted and the engine has not read yet.
    pub(super) waiting: u64,
    /// `None` in a replay that has not begun.
    pub(super) now: Option<Now>,
    /// What a reload reads again; `None` in a replay.
    pub(super) options: Option<&'a Options>,
}

/// Opens the sockets that the configuration names.
pub(super) fn listen(config: &Config) -> Result<Listening, NotOpened> {
    let full = config.socket.iter().map(|file| (&**file, Access::Full));
    let readonly = config.socket_readonly.iter();
    let files: Vec<_> = full
        .chain(readonly.map(|file| (&**file, Access::ReadOnly)))
        .collect();
    Listening::open(&files)
}

/// The control sockets, if there are any.
#[derive(Default)]
pub(super) struct Commands {
    control: Option<Control>,
    /// Processor time of the longest step. The export loop does nothing else during a step.
    longest_step: Duration,
}

impl Commands {
    /// Serves the sockets.
    pub(super) fn start(listening: Listening) -> Result<Self, String> {
        Ok(Self {
            control: Control::start(listening)?,
            longest_step: Duration::ZERO,
        })
    }

    /// The sockets' names.
    pub(super) fn names(&self) -> Vec<String> {
        self.control.iter().flat_map(Control::names).collect()
    }

    /// What is asked.
    pub(super) fn asks(&self) -> Receiver<Ask> {
        let asks = self.control.as_ref().map(Control::asks);
        asks.cloned().unwrap_or_else(never)
    }

    /// Does what is asked and answers it, or gives the first step of the answer.
    pub(super) fn handle(&mut self, ask: Ask, desk: &mut Desk<'_>) {
        let Some(control) = &self.control else { return };
        let begin = thread_cpu();
        // Files are written by other threads, so their counters are fetched first.
        desk.outside.note_files(desk.engine);
        let longest_step = u64::try_from(self.longest_step.as_micros()).unwrap_or(u64::MAX);
        let counters = ControlCounters {
            longest_step,
            ..control.counters()
        };
        match ask {
            Ask::Line {
                client,
                line,
                access,
            } => {
                let mut lines = Vec::new();
                let then = match request::parse(&line, access) {
                    Ok(None) => Then::Done(Ok(())),
                    Err(problem) => Then::Done(Err(problem)),
                    Ok(Some((form, Request::Ask(question)))) => {
                        desk.step(Listing::new(question, form), &counters, &mut lines)
                    }
                    Ok(Some((form, request))) => desk.act(request, form, &mut lines),
                };
                control.answer(Answer {
                    client,
                    lines,
                    then,
                });
            }
            Ask::More { client, listing } => {
                let mut lines = Vec::new();
                let then = desk.step(listing, &counters, &mut lines);
                control.answer(Answer {
                    client,
                    lines,
                    then,
                });
            }
            Ask::Stream { unit, stream } => {
                if let Err(problem) = desk.outside.taps.add_stream(unit, stream) {
                    let line = format!("tap of pflow{unit} for a client: {problem}");
                    desk.outside.log.warn(&line);
                }
            }
            Ask::Log(line) => desk.outside.log.warn(&line),
        }
        self.longest_step = self.longest_step.max(thread_cpu().saturating_sub(begin));
    }
}

impl Desk<'_> {
    /// The next step of an answer.
    fn step(&self, mut listing: Listing, control: &ControlCounters, lines: &mut Vec<u8>) -> Then {
        let view = View {
            engine: self.engine,
            sources: self.sources,
            waiting: self.waiting,
            troubles: &self.outside.troubles,
            control,
            now: self.now,
        };
        match listing.step(&view, lines) {
            Ok(Progress::More) => Then::More(listing),
            Ok(Progress::Done) => Then::Done(Ok(())),
            Err(problem) => Then::Done(Err(problem)),
        }
    }

    fn act(&mut self, request: Request, form: AnswerForm, lines: &mut Vec<u8>) -> Then {
        let outcome = match request {
            Request::Ask(_) => Ok(()),
            Request::Tap(unit) => {
                return match self.check_tap(unit) {
                    Ok(()) => Then::Stream(unit),
                    Err(problem) => Then::Done(Err(problem)),
                };
            }
            Request::Configure(command) => self.configure(&command),
            Request::Create(words) => self.create(words).map(|unit| {
                let name = format!("pflow{unit}\n");
                match form {
                    AnswerForm::Text => lines.extend(name.bytes()),
                    AnswerForm::Json => {
                        lines.extend(format!("{{\"interface\":\"{}\"}}\n", name.trim()).bytes())
                    }
                }
            }),
            Request::Flush => self.flush(),
            Request::Reload => self.reload(),
            Request::Log { is_verbose } => {
                self.outside.log.set_verbose(is_verbose);
                Ok(())
            }
        };
        Then::Done(outcome)
    }

    fn configure(&mut self, command: &Command) -> Result<(), String> {
        let now = self.now.ok_or("the replay has not begun")?;
        let old = self.engine.config();
        let touched = match command {
            Command::Interface { unit, words } => {
                let is_there = old.interfaces.contains_key(unit);
                if !is_there && words.first() == Some(&InterfaceWord::Destroy) {
                    return Err(control::no_such_interface(*unit));
                }
                Some(*unit)
            }
            Command::Program(_) => None,
        };
        let mut config = old.clone();
        config.apply(command).map_err(|error| error.to_string())?;
        check_fixed(old, &config)?;
        self.outside.configure(self.engine, now, config, touched)
    }

    /// Makes the interface of the lowest number that is free.
    fn create(&mut self, words: Vec<InterfaceWord>) -> Result<u32, String> {
        let taken = &self.engine.config().interfaces;
        let unit = (0..=u32::MAX).find(|unit| !taken.contains_key(unit));
        let unit = unit.ok_or_else(|| format!("more than {MAX_INTERFACES} interfaces"))?;
        self.configure(&Command::Interface { unit, words })?;
        Ok(unit)
    }

    fn flush(&mut self) -> Result<(), String> {
        let now = self.now.ok_or("the replay has not begun")?;
        let units: Vec<u32> = self.engine.config().interfaces.keys().copied().collect();
        self.engine.flush_interfaces(now, &units);
        self.outside.send(self.engine);
        Ok(())
    }

    fn reload(&mut self) -> Result<(), String> {
        let options = self.options.ok_or("a replay is not configured again")?;
        let now = self.now.ok_or("the replay has not begun")?;
        let outcome = self.outside.reload(self.engine, options, now);
        log_reload(&mut self.outside.log, outcome.clone());
        outcome
    }

    fn check_tap(&mut self, unit: u32) -> Result<(), String> {
        let Some(settings) = self.engine.config().interfaces.get(&unit) else {
            return Err(control::no_such_interface(unit));
        };
        if settings.file.is_some() {
            return Err(format!("pflow{unit} writes files, it sends nothing to tap"));
        }
        self.outside.taps.check_streams()
    }
}

/// Tells the log how a reload went.
pub(super) fn log_reload(log: &mut Log, outcome: Result<(), String>) {
    match outcome {
        Ok(()) => log.info("configuration read again"),
        Err(problem) => log.warn(&format!("{problem}; the configuration stays as it was")),
    }
}
