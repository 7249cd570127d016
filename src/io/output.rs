//! Standard output and standard error for the live loop, which must not wait for their readers: a
//! thread writes, and what it does not get to is dropped and counted.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

/// Pieces that may wait.
const PIECES: usize = 256;
/// How long the end of the program waits for them.
pub const LAST: Duration = Duration::from_secs(1);

/// A writer that is never waited for.
pub struct OutputThread {
    pieces: Option<Sender<Vec<u8>>>,
    ended: Receiver<()>,
    is_broken: Arc<AtomicBool>,
    /// Octets that were dropped.
    dropped: u64,
}

impl OutputThread {
    /// Starts the thread that writes to standard output.
    ///
    /// # Errors
    /// The system refuses it.
    pub fn start() -> io::Result<Self> {
        Self::start_on("output", io::stdout())
    }

    /// Starts a thread of this name that writes to `to`.
    ///
    /// # Errors
    /// The system refuses it.
    pub fn start_on<W: Write + Send + 'static>(name: &str, mut to: W) -> io::Result<Self> {
        let (pieces, to_write) = bounded::<Vec<u8>>(PIECES);
        let (end, ended) = bounded(1);
        let is_broken = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&is_broken);
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                for piece in to_write {
                    if to.write_all(&piece).and_then(|()| to.flush()).is_err() {
                        flag.store(true, Ordering::Relaxed);
                        break;
                    }
                }
                // Nobody may be waiting for it.
                let _ = end.send(());
            })?;
        Ok(Self {
            pieces: Some(pieces),
            ended,
            is_broken,
            dropped: 0,
        })
    }

    /// Has `octets` written, or drops them: whether they are taken.
    pub fn write(&mut self, octets: &[u8]) -> bool {
        let Some(pieces) = &self.pieces else {
            return false;
        };
        match pieces.try_send(octets.to_vec()) {
            Ok(()) => true,
            Err(TrySendError::Full(piece)) => {
                self.dropped += piece.len() as u64;
                false
            }
            Err(TrySendError::Disconnected(_)) => false,
        }
    }

    /// Whether what it writes to takes no more.
    pub fn is_broken(&self) -> bool {
        self.is_broken.load(Ordering::Relaxed)
    }

    /// Waits so long for what is still to be written; the octets that were dropped.
    pub fn finish(&mut self, patience: Duration) -> u64 {
        self.pieces = None;
        // If it is not over by then, its reader does not read.
        let _ = self.ended.recv_timeout(patience);
        self.dropped
    }
}
