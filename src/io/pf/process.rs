//! The process that holds /dev/pf: what it is asked, and what it answers.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::{Asker, Ioctl, wait};
use crate::io::clock::Clock;
use crate::io::sys;
use crate::wire::pf::frames::{Answer, read_request};

/// Octets read at once.
const PIECE: usize = 1 << 16;
/// Octets of answers that are sent at once.
const MUCH: usize = 1 << 16;
/// Longest wait for the other side to take an answer.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// Serves requests that come by `stream`, until nobody is there or what comes makes no sense.
pub fn run(stream: UnixStream, ioctl: impl Ioctl) {
    // Whoever asks sees that it ended.
    let _ = serve(stream, ioctl);
}

fn serve(mut stream: UnixStream, ioctl: impl Ioctl) -> io::Result<()> {
    stream.set_write_timeout(Some(WRITE_TIMEOUT))?;
    let clock = Clock::new(None);
    let mut asker = Asker::new(ioctl, clock.now().uptime);
    let mut room = vec![0; PIECE];
    let (mut incoming, mut out) = (Vec::new(), Vec::new());
    loop {
        let due = asker.poll_timeout();
        if sys::wait_readable(&stream, wait(due, clock.now().uptime))? {
            match stream.read(&mut room) {
                Ok(0) => return Ok(()),
                Ok(read) => incoming.extend_from_slice(room.get(..read).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            take_requests(&mut incoming, &mut asker)?;
        }
        let mut sent = Ok(());
        asker.handle_timeout(&mut || clock.now().uptime, &mut |answer: Answer<'_>| {
            answer.write(&mut out);
            if out.len() >= MUCH && sent.is_ok() {
                sent = stream.write_all(&out);
                out.clear();
            }
        });
        sent?;
        stream.write_all(&out)?;
        out.clear();
    }
}

/// Takes whole requests out of what came.
fn take_requests(incoming: &mut Vec<u8>, asker: &mut Asker<impl Ioctl>) -> io::Result<()> {
    let (mut ids, mut start) = (Vec::new(), 0);
    let nonsense = || io::Error::from(io::ErrorKind::InvalidData);
    loop {
        let rest = incoming.get(start..).unwrap_or_default();
        match read_request(rest, &mut ids) {
            Ok(Some(taken)) => start += taken,
            Ok(None) => break,
            Err(_) => return Err(nonsense()),
        }
    }
    incoming.drain(..start);
    match asker.ask(&ids) {
        true => Ok(()),
        false => Err(nonsense()),
    }
}
