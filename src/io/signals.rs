//! Signals as messages on a channel.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use nix::sys::signal::Signal;
use signal_hook::consts::signal::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};

use super::link::Link;
use super::sys::{self, Disposition, Polled};

/// What a signal asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SignalRequest {
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
pub fn listen(lifeline: Option<UnixStream>) -> io::Result<Receiver<SignalRequest>> {
    let mut waiter = Waiter::new()?;
    let (sender, receiver) = bounded(16);
    if let Some(lifeline) = lifeline {
        let sender = sender.clone();
        std::thread::Builder::new()
            .name("lifeline".to_owned())
            .spawn(move || {
                wait_for_end(&lifeline);
                // If nobody receives it, the program ends already.
                let _ = sender.send(SignalRequest::Stop);
            })?;
    }
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            loop {
                let woken = waiter.wait(None, LONGEST);
                if woken
                    .signals
                    .iter()
                    .any(|signal| !pass_on(*signal, &sender))
                {
                    return;
                }
            }
        })?;
    Ok(receiver)
}

/// Waits until the other end is closed. Nobody writes to the lifeline, so any other result of a
/// read tells nothing about the other end.
fn wait_for_end(mut lifeline: &UnixStream) {
    loop {
        match lifeline.read(&mut [0]) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if sys::is_passing(&error) => sys::pause(),
            Err(_) => return,
        }
    }
}

/// Makes a request of a signal; false if nobody wants requests any more.
fn pass_on(signal: i32, sender: &Sender<SignalRequest>) -> bool {
    let request = match signal {
        SIGINT | SIGTERM => SignalRequest::Stop,
        SIGHUP => SignalRequest::Reload,
        _ => SignalRequest::Statistics,
    };
    // If the channel is full, a request may be dropped. A request to stop must not be.
    if request == SignalRequest::Stop {
        sender.send(request).is_ok()
    } else {
        !matches!(sender.try_send(request), Err(TrySendError::Disconnected(_)))
    }
}

/// Waits for signals, and for a link at the same time.
pub struct Waiter(Vec<Caught>);

struct Caught {
    signal: i32,
    /// Whether the signal came and was not looked at yet.
    is_raised: Arc<AtomicBool>,
    /// Only wakes the waiter. `is_raised` tells of the signal, because a handler may find the pipe
    /// full.
    pipe: UnixStream,
}

/// What a [`Waiter`] has seen.
#[derive(Debug, Default)]
pub struct Woken {
    /// Signals, each once however often it came.
    pub signals: Vec<i32>,
    /// Whether the link is to be looked at, if only because it has ended.
    pub is_link_ready: bool,
    /// Why waiting failed. Everything was looked at, and then the waiter paused.
    pub problem: Option<io::Error>,
}

/// Longest wait if nothing is due. A signal whose handler could not wake the waiter waits no
/// longer.
pub const LONGEST: Duration = Duration::from_secs(2);

impl Waiter {
    /// Takes the signals from now on.
    ///
    /// # Errors
    /// The system refuses the handlers.
    pub fn new() -> io::Result<Self> {
        let mut caught = Vec::new();
        for signal in WANTED {
            let (pipe, write) = UnixStream::pair()?;
            pipe.set_nonblocking(true)?;
            write.set_nonblocking(true)?;
            let is_raised = Arc::new(AtomicBool::new(false));
            // Handlers run in this order.
            signal_hook::flag::register(*signal, Arc::clone(&is_raised))?;
            signal_hook::low_level::pipe::register(*signal, write)?;
            caught.push(Caught {
                signal: *signal,
                is_raised,
                pipe,
            });
        }
        Ok(Self(caught))
    }

    /// Takes signals that a test raises.
    #[cfg(test)]
    pub fn played(signals: &[i32]) -> (Self, Raiser) {
        let (mut caught, mut raiser) = (Vec::new(), Vec::new());
        for signal in signals {
            let (pipe, write) = UnixStream::pair().unwrap();
            pipe.set_nonblocking(true).unwrap();
            let is_raised = Arc::new(AtomicBool::new(false));
            raiser.push((*signal, Arc::clone(&is_raised), write));
            caught.push(Caught {
                signal: *signal,
                is_raised,
                pipe,
            });
        }
        (Self(caught), Raiser(raiser))
    }

    /// Waits for a signal or `link`, at most so long.
    pub fn wait(&mut self, link: Option<&Link>, timeout: Duration) -> Woken {
        let mut polled: Vec<_> = link.iter().map(|link| link.polled()).collect();
        let pipes = self.0.iter().map(|caught| &caught.pipe);
        polled.extend(pipes.map(|pipe| Polled::new(pipe, true, false)));
        let outcome = sys::poll(&mut polled, timeout);
        let is_ready = |polled: &Polled| {
            outcome.is_err() || polled.is_readable() || polled.is_writable() || polled.is_dead()
        };
        let mut woken = Woken {
            is_link_ready: link.is_some() && polled.first().is_some_and(is_ready),
            ..Woken::default()
        };
        let of_pipes = polled.iter().skip(usize::from(link.is_some()));
        for (caught, polled) in self.0.iter_mut().zip(of_pipes) {
            if is_ready(polled) {
                match caught.pipe.read(&mut [0; 64]) {
                    Err(error) if !sys::is_passing(&error) => woken.problem = Some(error),
                    // Octets that stay in the pipe wake the waiter again.
                    _ => {}
                }
            }
            // This must come after the pipe is read: a later signal writes to the pipe again.
            if caught.is_raised.swap(false, Ordering::SeqCst) {
                woken.signals.push(caught.signal);
            }
        }
        if let Err(error) = outcome {
            woken.problem = Some(error);
        }
        if woken.problem.is_some() {
            sys::pause();
        }
        woken
    }
}

/// Raises what a played [`Waiter`] takes.
#[cfg(test)]
pub struct Raiser(Vec<(i32, Arc<AtomicBool>, UnixStream)>);

#[cfg(test)]
impl Raiser {
    /// As a handler does.
    pub fn raise(&mut self, signal: i32) {
        self.raise_unheard(signal);
        for (other, _, pipe) in &mut self.0 {
            if *other == signal {
                io::Write::write_all(pipe, &[0]).unwrap();
            }
        }
    }

    /// As a handler that cannot wake anybody.
    pub fn raise_unheard(&mut self, signal: i32) {
        for (other, is_raised, _) in &self.0 {
            if *other == signal {
                is_raised.store(true, Ordering::SeqCst);
            }
        }
    }
}

/// Sets the signals for a process that only reads: SIGTERM ends it, and it ignores the signals that
/// are meant for pflow. It also ends when nobody listens any more.
///
/// # Errors
/// What sigaction(2) reports.
pub(super) fn leave() -> io::Result<()> {
    for signal in wanted() {
        let disposition = match signal {
            Signal::SIGTERM => Disposition::Default,
            _ => Disposition::Ignore,
        };
        sys::set_disposition(signal, disposition)?;
    }
    Ok(())
}

/// The signals that mean something.
pub(super) fn wanted() -> impl Iterator<Item = Signal> {
    WANTED
        .iter()
        .filter_map(|signal| Signal::try_from(*signal).ok())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_signal_is_one_however_often_it_came_and_a_link_that_ended_is_ready() {
        let (mut waiter, mut raiser) = Waiter::played(&[SIGHUP, SIGTERM]);
        let (parent, child) = Link::pair().unwrap();
        for _ in 0..3 {
            raiser.raise(SIGHUP);
        }
        let woken = waiter.wait(Some(&parent), LONGEST);
        assert_eq!(
            (&*woken.signals, woken.is_link_ready),
            (&[SIGHUP][..], false)
        );
        let woken = waiter.wait(Some(&parent), Duration::ZERO);
        assert!(woken.signals.is_empty(), "once");
        drop(child);
        let woken = waiter.wait(Some(&parent), LONGEST);
        assert_eq!((&*woken.signals, woken.is_link_ready), (&[][..], true));
        assert!(woken.problem.is_none());
    }

    #[test]
    fn a_signal_that_could_wake_nobody_is_seen_at_the_next_look() {
        let (mut waiter, mut raiser) = Waiter::played(&[SIGHUP, SIGTERM]);
        raiser.raise_unheard(SIGTERM);
        assert_eq!(waiter.wait(None, Duration::ZERO).signals, [SIGTERM]);
    }

    #[test]
    fn only_the_end_of_the_lifeline_is_its_end() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let (told, ended) = bounded(1);
        let thread = std::thread::spawn(move || {
            wait_for_end(&ours);
            told.send(()).unwrap();
        });
        // It has nothing to read (EAGAIN), then an octet, and neither is the end.
        assert!(ended.recv_timeout(Duration::from_millis(60)).is_err());
        theirs.write_all(&[1]).unwrap();
        assert!(ended.recv_timeout(Duration::from_millis(60)).is_err());
        drop(theirs);
        ended.recv_timeout(Duration::from_secs(10)).unwrap();
        thread.join().unwrap();
    }
}
