//! The child's end of the socket: a thread reads what the process answers, because the loop must
//! not wait for it.

use std::io::{self, Read};
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

use crossbeam_channel::{Receiver, Sender, bounded};
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, send};

use crate::state::StateId;
use crate::wire::pf::frames::{Answer, write_requests};

/// Octets read at once.
const PIECE: usize = 1 << 16;
/// Pieces that wait for the loop at most; then the process waits, too.
const PIECES: usize = 16;

/// Why there are no more answers.
pub const ENDED: &str = "the process that asks pf ended";

/// What came.
pub type Answers = Result<Vec<u8>, String>;

/// Who asks the process.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
    outgoing: Vec<u8>,
    answers: Receiver<Answers>,
}

impl Client {
    /// Asks the process at the other end of `stream`.
    ///
    /// # Errors
    /// The system refuses a descriptor or a thread.
    pub fn start(stream: UnixStream) -> io::Result<Self> {
        let (sender, answers) = bounded(PIECES);
        let reading = stream.try_clone()?;
        let thread = std::thread::Builder::new().name("pf".to_owned());
        thread.spawn(move || read(reading, &sender))?;
        Ok(Self {
            stream,
            outgoing: Vec::new(),
            answers,
        })
    }

    /// Whole answers in order, or why there are no more.
    pub fn answers(&self) -> &Receiver<Answers> {
        &self.answers
    }

    /// Puts requests in the queue.
    pub fn ask(&mut self, ids: &[StateId]) {
        write_requests(ids, &mut self.outgoing);
    }

    /// Sends what goes at once. What cannot be sent to a process that ended stays here: its end is
    /// seen where it is read.
    pub fn push(&mut self) {
        while !self.outgoing.is_empty() {
            let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
            match send(self.stream.as_raw_fd(), &self.outgoing, flags) {
                Ok(sent) => drop(self.outgoing.drain(..sent)),
                Err(Errno::EINTR) => {}
                Err(_) => return,
            }
        }
        self.outgoing.shrink_to(PIECE);
    }

    /// Whether something waits to be sent.
    pub fn is_sending(&self) -> bool {
        !self.outgoing.is_empty()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // So that the thread ends, and the process. One that has gone needs no word.
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

/// Hands on whole answers, until there are no more or nobody wants them.
fn read(mut stream: UnixStream, sender: &Sender<Answers>) {
    let (mut octets, mut room) = (Vec::new(), vec![0; PIECE]);
    let problem = loop {
        match stream.read(&mut room) {
            Ok(0) => break ENDED.to_owned(),
            Ok(read) => octets.extend_from_slice(room.get(..read).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            // It ended without reading what it was asked.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => break ENDED.to_owned(),
            Err(error) => break format!("the process that asks pf: {error}"),
        }
        let Some(whole) = whole_answers(&octets) else {
            break "the process that asks pf makes no sense".to_owned();
        };
        let rest = octets.split_off(whole);
        let whole = std::mem::replace(&mut octets, rest);
        if !whole.is_empty() && sender.send(Ok(whole)).is_err() {
            return;
        }
    };
    // Nobody may be there any more.
    let _ = sender.send(Err(problem));
}

/// Octets of the answers that are whole; `None`: something is no answer.
fn whole_answers(octets: &[u8]) -> Option<usize> {
    let mut whole = 0;
    while let Some((_, taken)) = Answer::read(octets.get(whole..)?).ok()? {
        whole += taken;
    }
    Some(whole)
}
