//! Floor 8: start order and the two loops: a replay's, whose clock is the packets', and the live
//! one, whose clock is the system's.
//!
//! ```text
//!   readers --batches--+
//!   signals -----------+--> loop --> Engine --> sockets, standard output, log
//!   clock, deadlines --+
//! ```

mod live;
mod replay;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::process::ExitCode;

use crate::config::Config;
use crate::engine::{self, Engine};
use crate::export::Outbox;
use crate::flow::Boot;
use crate::io::clock::Clock;
use crate::io::log::{Limiter, Log};
use crate::io::transport::{Transport, Udp, WhenFull};
use crate::options::{DEFAULT_STATES, Options};
use crate::output::{Form, Output};

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
    let config = options.config()?;
    if options.is_check {
        return print_config(&config);
    }
    if options.is_replay() {
        replay::run(options, config)
    } else {
        live::run(options, config)
    }
}

fn print_config(config: &Config) -> Result<ExitCode, String> {
    match write!(io::stdout(), "{config}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(format!("standard output: {error}"))
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// The engine that the command line asks for.
fn engine(options: &Options, config: Config, form: Form, boot: Boot, is_live: bool) -> Engine {
    let settings = engine::Settings {
        states: DEFAULT_STATES,
        is_all: options.is_all,
        direction: options.direction,
        boot,
        local_addresses: if is_live {
            crate::io::capture::local_addresses()
        } else {
            Vec::new()
        },
        output: Output {
            form,
            detail: options.detail(),
        },
    };
    Engine::new(settings, config)
}

/// What the program writes to: sockets, standard output, the log.
struct Outside {
    transports: BTreeMap<u32, Box<dyn Transport>>,
    log: Log,
    limiter: Limiter,
    clock: Clock,
}

/// Whether standard output still takes what is printed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Printed {
    Yes,
    /// Its reader has gone: time to end, quietly.
    BrokenPipe,
}

impl Outside {
    /// Opens a socket for every interface that runs.
    fn open(config: &Config, when_full: WhenFull, log: Log) -> Result<Self, String> {
        let mut transports: BTreeMap<u32, Box<dyn Transport>> = BTreeMap::new();
        for (unit, settings) in &config.interfaces {
            if let Some(to) = settings.running_to() {
                let udp = Udp::open(settings, to, when_full).map_err(|error| {
                    let source = settings.flowsrc.map(|source| format!("flowsrc {source}"));
                    format!(
                        "pflow{unit}: {}: {error}",
                        source.unwrap_or_else(|| "socket".to_owned())
                    )
                })?;
                transports.insert(*unit, Box::new(udp));
            }
        }
        Ok(Self {
            transports,
            log,
            limiter: Limiter::default(),
            clock: Clock::new(None),
        })
    }

    /// Sends, prints and logs what the engine has.
    fn drain(&mut self, engine: &mut Engine) -> Result<Printed, String> {
        self.send(engine);
        for line in engine.notices() {
            self.log.warn(&line);
        }
        self.print(engine)
    }

    fn send(&mut self, engine: &mut Engine) {
        if engine.outbox().is_empty() {
            return;
        }
        let mut outbox: Outbox = std::mem::take(engine.outbox());
        for (unit, datagram) in outbox.iter() {
            let Some(transport) = self.transports.get_mut(&unit) else {
                continue;
            };
            let outcome = transport.send(datagram);
            engine.handle_sent(unit, datagram.len(), outcome.is_ok());
            if let Err(error) = outcome {
                let now = self.clock.now().uptime;
                if let Some(line) = self
                    .limiter
                    .admit(now, &format!("pflow{unit}: send: {error}"))
                {
                    self.log.warn(&line);
                }
            }
        }
        outbox.clear();
        *engine.outbox() = outbox;
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
