//! Signals as messages on a channel.

use std::io;

use crossbeam_channel::{Receiver, TrySendError, bounded};
use signal_hook::consts::signal::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;

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

/// Requests from signals, from now on.
///
/// # Errors
/// The system refuses the handlers.
pub fn listen() -> io::Result<Receiver<Request>> {
    #[cfg_attr(target_os = "linux", allow(unused_mut, reason = "no SIGINFO"))]
    let mut wanted = vec![SIGHUP, SIGINT, SIGTERM, SIGUSR1];
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    wanted.push(libc::SIGINFO);
    let mut signals = Signals::new(&wanted)?;
    let (sender, receiver) = bounded(16);
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
