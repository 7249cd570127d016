//! The control sockets. A thread takes lines from clients and gives them answers, so that the
//! export loop never waits for a client.
//!
//! ```text
//! client --line--> thread --Ask--> export loop          one line of a client at a time,
//! client <-octets- thread <-Answer-                     one step of an answer at a time
//! ```
//! Each line of an answer begins with a blank. Then `ok` or `error: ...` follows without one. The
//! next step of a long answer is asked for when the last one is written. So a client that does not
//! read makes nobody wait, and no buffer grows. Lines, clients and times have bounds.

mod asks;
mod client;
mod listen;
mod server;

use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::counters::ControlCounters;
pub use asks::{Answer, Ask, ClientId, MAX_CLIENTS, MAX_LINE, Then};
pub use listen::{Listening, NotOpened, SocketFile};
use server::Server;

/// The control sockets, for as long as it lives.
pub struct Control {
    asks: Receiver<Ask>,
    answers: Sender<Answer>,
    waker: UnixStream,
    counters: Arc<Mutex<ControlCounters>>,
    files: Vec<SocketFile>,
}

impl Control {
    /// Serves sockets, unless there are none.
    ///
    /// # Errors
    /// The system refuses the thread.
    pub fn start(listening: Listening) -> Result<Option<Self>, String> {
        let Listening { listeners, files } = listening;
        if listeners.is_empty() {
            return Ok(None);
        }
        let thread = |error: io::Error| format!("thread: {error}");
        let (waker, woken) = UnixStream::pair().map_err(thread)?;
        woken.set_nonblocking(true).map_err(thread)?;
        waker.set_nonblocking(true).map_err(thread)?;
        // A client has one line or one answer on its way, and its stream at most.
        let room = 2 * MAX_CLIENTS * files.len().max(1);
        let (to_loop, asks) = bounded(room);
        let (answers, from_loop) = bounded(room);
        let counters = Arc::new(Mutex::new(ControlCounters::default()));
        let mut server = Server::new(listeners, woken, to_loop, from_loop, Arc::clone(&counters));
        std::thread::Builder::new()
            .name("control".to_owned())
            .spawn(move || server.run())
            .map_err(thread)?;
        Ok(Some(Self {
            asks,
            answers,
            waker,
            counters,
            files,
        }))
    }

    /// What the export loop is asked.
    pub fn asks(&self) -> &Receiver<Ask> {
        &self.asks
    }

    /// Hands an answer over. If its client has gone it is lost.
    pub fn answer(&self, answer: Answer) {
        // There is room for one of each client; a thread that is gone has none.
        let _ = self.answers.try_send(answer);
        // A full pipe wakes, too, and where the system has no room for an octet the thread looks
        // by itself soon.
        while let Err(error) = (&self.waker).write(&[0])
            && error.kind() == io::ErrorKind::Interrupted
        {}
    }

    /// What was counted.
    pub fn counters(&self) -> ControlCounters {
        *self.counters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The sockets' names.
    pub fn names(&self) -> impl Iterator<Item = String> + '_ {
        self.files
            .iter()
            .map(|file| file.path.display().to_string())
    }
}
