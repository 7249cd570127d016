//! Signals as messages on a channel.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crossbeam_channel::{Receiver, TrySendError, bounded};
use signal_hook::consts::signal::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;

use super::link::Link;
use super::sys::{self, Polled};

/// What a signal asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Request {
    /// SIGTERM, SIGINT: flush and stop.
    Stop,
    /// SIGUSR1, and SIGINFO where there is one: statistics to the log.
    Statistics,
    /// SIGHUP.
    Reload,
}

/// The signals that mean something.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const WANTED: &[i32] = &[SIGHUP, SIGINT, SIGTERM, SIGUSR1, libc::SIGINFO];
#[cfg(any(target_os = "linux", target_os = "android"))]
const WANTED: &[i32] = &[SIGHUP, SIGINT, SIGTERM, SIGUSR1];

/// Requests from signals, from now on. The end of `lifeline`, which the other process holds, is a
/// request to stop.
///
/// # Errors
/// The system refuses the handlers or a thread.
pub fn listen(lifeline: Option<UnixStream>) -> io::Result<Receiver<Request>> {
    let mut signals = Signals::new(WANTED)?;
    let (sender, receiver) = bounded(16);
    if let Some(mut lifeline) = lifeline {
        let sender = sender.clone();
        std::thread::Builder::new()
            .name("lifeline".to_owned())
            .spawn(move || {
                // Nothing is ever written to it.
                let _ = lifeline.read(&mut [0]);
                // If nobody receives it, the program ends already.
                let _ = sender.send(Request::Stop);
            })?;
    }
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            for signal in signals.forever() {
                let request = match signal {
                    SIGINT | SIGTERM => Request::Stop,
                    SIGHUP => Request::Reload,
                    _ => Request::Statistics,
                };
                // A full channel holds as many requests already, but to stop must not be missed.
                let is_gone = if request == Request::Stop {
                    sender.send(request).is_err()
                } else {
                    matches!(sender.try_send(request), Err(TrySendError::Disconnected(_)))
                };
                if is_gone {
                    return;
                }
            }
        })?;
    Ok(receiver)
}

/// Signals as readable descriptors, for a process without threads that waits for a link, too.
pub struct Waiter(Vec<(i32, UnixStream)>);

/// What a [`Waiter`] has seen.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Woken {
    /// Signals, each once however often it came.
    pub signals: Vec<i32>,
    /// Whether the link has something to say, if only that it has ended.
    pub is_link_ready: bool,
}

/// Longest wait; nothing is due then.
const LONGEST: Duration = Duration::from_secs(3600);

impl Waiter {
    /// Takes the signals from now on.
    ///
    /// # Errors
    /// The system refuses the handlers.
    pub fn new() -> io::Result<Self> {
        let mut pipes = Vec::new();
        for signal in WANTED {
            let (read, write) = UnixStream::pair()?;
            read.set_nonblocking(true)?;
            write.set_nonblocking(true)?;
            signal_hook::low_level::pipe::register(*signal, write)?;
            pipes.push((*signal, read));
        }
        Ok(Self(pipes))
    }

    /// Waits for a signal or the link.
    ///
    /// # Errors
    /// What poll(2) reports.
    pub fn wait(&mut self, link: &Link) -> io::Result<Woken> {
        let mut polled = vec![Polled::new(link, true, false)];
        let pipes = self.0.iter();
        polled.extend(pipes.map(|(_, pipe)| Polled::new(pipe, true, false)));
        sys::poll(&mut polled, LONGEST)?;
        let mut woken = Woken::default();
        let mut polled = polled.iter();
        let link = polled.next();
        woken.is_link_ready = link.is_some_and(|link| link.is_readable() || link.is_dead());
        for ((signal, pipe), polled) in self.0.iter_mut().zip(polled) {
            if polled.is_readable() {
                // More octets are the same signal again.
                let _ = pipe.read(&mut [0; 64]);
                woken.signals.push(*signal);
            }
        }
        Ok(woken)
    }
}
