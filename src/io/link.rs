//! What the two processes say to each other: messages, a descriptor with each if need be, over a
//! pair of sockets.
//!
//! ```text
//! length, 4 octets (a descriptor comes with these) | number, 4 octets | octets
//! ```
//! A reply has the number of its request: one that comes when nobody waits any more is known by it.

use std::io::{self, IoSlice, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

use super::sys;

/// Longest message, octets: more than any configuration printed.
const MAX_MESSAGE: usize = 16 << 20;
/// Longest wait for the other side to take or to go on with a message it has begun.
const PATIENCE: Duration = Duration::from_secs(2);

/// A message.
#[derive(Debug)]
pub struct Message {
    /// Of the request, or of the request that this is the reply to.
    pub number: u32,
    /// What is said.
    pub octets: Vec<u8>,
    /// What is handed over.
    pub descriptor: Option<OwnedFd>,
}

/// One end.
#[derive(Debug)]
pub struct Link(UnixStream);

impl Link {
    /// Both ends.
    ///
    /// # Errors
    /// The system refuses the sockets.
    pub fn pair() -> io::Result<(Self, Self)> {
        let (one, other) = UnixStream::pair()?;
        for end in [&one, &other] {
            end.set_write_timeout(Some(PATIENCE))?;
            end.set_read_timeout(Some(PATIENCE))?;
        }
        Ok((Self(one), Self(other)))
    }

    /// Says something.
    ///
    /// # Errors
    /// Nobody is there, or does not listen. Then the link is of no use any more.
    pub fn send(
        &mut self,
        number: u32,
        octets: &[u8],
        with: Option<BorrowedFd<'_>>,
    ) -> io::Result<()> {
        let too_long = |_| io::Error::from(io::ErrorKind::InvalidInput);
        if octets.len() > MAX_MESSAGE {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let len = u32::try_from(octets.len()).map_err(too_long)?.to_be_bytes();
        let descriptors = with.map(|descriptor| [descriptor.as_raw_fd()]);
        let with: Vec<_> = descriptors
            .iter()
            .map(|one| ControlMessage::ScmRights(one))
            .collect();
        // Four octets go whole or not at all.
        let parts = [IoSlice::new(&len)];
        loop {
            match sendmsg::<()>(self.0.as_raw_fd(), &parts, &with, MsgFlags::empty(), None) {
                Err(nix::errno::Errno::EINTR) => {}
                other => break other.map(drop)?,
            }
        }
        self.0.write_all(&number.to_be_bytes())?;
        self.0.write_all(octets)
    }

    /// What the other side says next, `None` if it has gone.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`]: nothing in time. Else the link is of no use any more.
    pub fn receive(&mut self) -> io::Result<Option<Message>> {
        let mut len = [0; 4];
        let (read, descriptor) = sys::receive(&self.0, &mut len)?;
        if read == 0 {
            return Ok(None);
        }
        let stalled = |error: io::Error| match error.kind() {
            io::ErrorKind::WouldBlock => io::Error::from(io::ErrorKind::TimedOut),
            _ => error,
        };
        if let Some(rest) = len.get_mut(read..) {
            self.0.read_exact(rest).map_err(stalled)?;
        }
        let len = usize::try_from(u32::from_be_bytes(len)).unwrap_or(usize::MAX);
        if len > MAX_MESSAGE {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut number = [0; 4];
        self.0.read_exact(&mut number).map_err(stalled)?;
        let mut octets = vec![0; len];
        self.0.read_exact(&mut octets).map_err(stalled)?;
        Ok(Some(Message {
            number: u32::from_be_bytes(number),
            octets,
            descriptor,
        }))
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Link {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.0.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_comes_whole_with_its_descriptor() {
        let (mut one, mut other) = Link::pair().unwrap();
        let (mine, theirs) = UnixStream::pair().unwrap();
        one.send(7, b"take it", Some(theirs.as_fd())).unwrap();
        one.send(8, b"", None).unwrap();
        drop((theirs, one));
        let first = other.receive().unwrap().unwrap();
        assert_eq!((first.number, &*first.octets), (7, &b"take it"[..]));
        let mut passed = UnixStream::from(first.descriptor.unwrap());
        passed.write_all(b"x").unwrap();
        let mut octet = [0];
        (&mine).read_exact(&mut octet).unwrap();
        assert_eq!(octet, *b"x");
        let second = other.receive().unwrap().unwrap();
        assert_eq!((second.number, second.octets.len()), (8, 0));
        assert!(second.descriptor.is_none());
        assert!(other.receive().unwrap().is_none(), "the end");
    }

    #[test]
    fn a_length_beyond_the_bound_is_refused_before_room_is_made_for_it() {
        let (one, mut other) = Link::pair().unwrap();
        (&one.0).write_all(&[0xff; 12]).unwrap();
        assert_eq!(
            other.receive().unwrap_err().kind(),
            io::ErrorKind::InvalidData
        );
    }
}
