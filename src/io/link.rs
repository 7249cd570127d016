//! The link between the parent and the child: a pair of sockets that do not block. It carries
//! messages, and a message may carry a descriptor.
//!
//! ```text
//! length, 4 octets (a descriptor comes with the first) | number, 4 octets | octets
//! ```
//! A reply has the number of its request. So a late reply, for which nobody waits any more, is
//! recognized.
//!
//! The child asks and waits ([`Link::ask`]). The parent does not wait, because it must serve
//! signals, too. It puts an answer in the queue, and sends and reads what goes at once
//! ([`Link::push`], [`Link::pull`]).
//!
//! Both sides keep a message that went or came in part, and go on with it later. So only two things
//! are fatal ([`is_fatal`]): the end of the other side, and octets that are no message. Any other
//! failure costs one request.

use std::collections::VecDeque;
use std::io::{self, IoSlice, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

use super::clock::Clock;
pub use super::sys::Passed;
use super::sys::{self, Polled};
use crate::time::Uptime;

/// Octets of the longest answer. No printed configuration is longer.
const MAX_ANSWER: usize = 16 << 20;
/// Octets of the longest request. No file name is longer.
const MAX_REQUEST: usize = 1 << 16;
/// Length and number.
const HEADER: usize = 8;
/// Octets read at once. So a false length in a header makes no room for octets that never come.
const PIECE: usize = 1 << 16;
/// How long the child waits for an answer that does not depend on a disk.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// A message.
#[derive(Debug)]
pub struct Message {
    /// The number of the request, or of the request that this message answers.
    pub number: u32,
    /// The message's octets.
    pub octets: Vec<u8>,
    /// The descriptor that came with the message.
    pub passed: Passed,
}

/// What [`Link::pull`] found.
#[derive(Debug)]
pub enum Pulled {
    /// A whole message.
    Message(Message),
    /// No whole message. A part of one is kept.
    Nothing,
    /// The other side has gone.
    Ended,
}

/// Which end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Side {
    /// The parent's end takes no descriptors, because a child gone wrong could fill the parent's
    /// table.
    Parent,
    Child,
}

/// The message that is being received.
#[derive(Debug)]
struct Incoming {
    /// The octets that came so far, with the header.
    octets: Vec<u8>,
    passed: Passed,
}

/// A message in the queue.
#[derive(Debug)]
struct Outgoing {
    octets: Vec<u8>,
    sent: usize,
    descriptor: Option<OwnedFd>,
}

/// One end.
#[derive(Debug)]
pub struct Link {
    stream: UnixStream,
    side: Side,
    clock: Clock,
    incoming: Incoming,
    outgoing: VecDeque<Outgoing>,
}

/// Whether the link cannot be used any more. Any other error costs one request.
pub fn is_fatal(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof
            | io::ErrorKind::InvalidData
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::NotConnected
    )
}

impl Link {
    /// The parent's end and the child's.
    ///
    /// # Errors
    /// The system refuses the sockets.
    pub fn pair() -> io::Result<(Self, Self)> {
        let (parent, child) = UnixStream::pair()?;
        Ok((
            Self::new(parent, Side::Parent)?,
            Self::new(child, Side::Child)?,
        ))
    }

    fn new(stream: UnixStream, side: Side) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream,
            side,
            clock: Clock::new(None),
            incoming: Incoming {
                octets: Vec::new(),
                passed: Passed::Nothing,
            },
            outgoing: VecDeque::new(),
        })
    }

    fn now(&self) -> Uptime {
        self.clock.now().uptime
    }

    /// Puts a message in the queue.
    ///
    /// # Errors
    /// It is too long.
    pub fn put(
        &mut self,
        number: u32,
        octets: &[u8],
        descriptor: Option<OwnedFd>,
    ) -> io::Result<()> {
        let longest = match self.side {
            Side::Parent => MAX_ANSWER,
            Side::Child => MAX_REQUEST,
        };
        let len = u32::try_from(octets.len()).unwrap_or(u32::MAX);
        if octets.len() > longest {
            let problem = format!("a message of {len} octets: longer than {longest}");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
        }
        let octets = [&len.to_be_bytes(), &number.to_be_bytes(), octets].concat();
        self.outgoing.push_back(Outgoing {
            octets,
            sent: 0,
            descriptor,
        });
        Ok(())
    }

    /// Sends what goes at once. Returns whether that was all.
    ///
    /// # Errors
    /// What sendmsg(2) reports; the message stays in the queue.
    pub fn push(&mut self) -> io::Result<bool> {
        while let Some(message) = self.outgoing.front_mut() {
            let rest = message.octets.get(message.sent..).unwrap_or_default();
            let descriptor = message.descriptor.as_ref().map(|one| [one.as_raw_fd()]);
            let control: Vec<_> = descriptor
                .iter()
                .map(|one| ControlMessage::ScmRights(one))
                .collect();
            let parts = [IoSlice::new(rest)];
            let flags = MsgFlags::MSG_DONTWAIT;
            match sendmsg::<()>(self.stream.as_raw_fd(), &parts, &control, flags, None) {
                Ok(sent) => {
                    message.sent += sent;
                    // The descriptor went with the first octets.
                    message.descriptor = None;
                    if message.sent >= message.octets.len() {
                        self.outgoing.pop_front();
                    }
                }
                Err(nix::errno::Errno::EINTR) => {}
                Err(nix::errno::Errno::EAGAIN) => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }

    /// Whether something waits to be sent.
    pub fn is_sending(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Takes the last message out of the queue, if none of its octets went.
    pub fn take_back(&mut self) -> Option<Message> {
        if self.outgoing.back()?.sent > 0 {
            return None;
        }
        let message = self.outgoing.pop_back()?;
        let passed = message.descriptor.map_or(Passed::Nothing, Passed::One);
        Some(parse(&message.octets, passed))
    }

    /// Reads what has come, and returns a message if it is whole.
    ///
    /// # Errors
    /// What the system reports. The octets that came before are kept.
    pub fn pull(&mut self) -> io::Result<Pulled> {
        loop {
            let wanted = self.wanted()?;
            if wanted == 0 {
                return Ok(Pulled::Message(self.take_message()));
            }
            match self.read(wanted.min(PIECE)) {
                Ok(0) => return Ok(Pulled::Ended),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(Pulled::Nothing);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Octets that are missing from the message that is being received, or from its header. Never
    /// more, because a read into the next message would lose its descriptor.
    fn wanted(&self) -> io::Result<usize> {
        let octets = &self.incoming.octets;
        let (Some(len), HEADER..) = (octets.first_chunk(), octets.len()) else {
            return Ok(HEADER - octets.len());
        };
        let len = usize::try_from(u32::from_be_bytes(*len)).unwrap_or(usize::MAX);
        let longest = match self.side {
            Side::Parent => MAX_REQUEST,
            Side::Child => MAX_ANSWER,
        };
        if len > longest {
            let problem = format!("a message of {len} octets came: longer than {longest}");
            return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
        }
        Ok((HEADER + len).saturating_sub(octets.len()))
    }

    fn read(&mut self, wanted: usize) -> io::Result<usize> {
        let Incoming { octets, passed } = &mut self.incoming;
        let before = octets.len();
        octets.resize(before + wanted, 0);
        let room = octets.get_mut(before..).unwrap_or_default();
        let outcome = match self.side {
            Side::Child if before == 0 => sys::receive(&self.stream, room).map(|(read, came)| {
                *passed = came;
                read
            }),
            // Plain read(2) takes no descriptor. The kernel closes one that came.
            Side::Child | Side::Parent => (&self.stream).read(room),
        };
        octets.truncate(before + outcome.as_ref().copied().unwrap_or(0));
        outcome
    }

    fn take_message(&mut self) -> Message {
        let Incoming { octets, passed } = &mut self.incoming;
        let passed = std::mem::replace(passed, Passed::Nothing);
        parse(&std::mem::take(octets), passed)
    }

    /// Sends a request and waits for its answer, but not longer than `patience`. Drops late answers
    /// to earlier requests.
    ///
    /// # Errors
    /// [`io::ErrorKind::TimedOut`]: no answer in time. Otherwise what the system reports.
    pub fn ask(&mut self, number: u32, octets: &[u8], patience: Duration) -> io::Result<Message> {
        self.put(number, octets, None)?;
        let until = self.now().after(patience);
        let outcome = loop {
            match self.step(number) {
                Ok(Some(message)) => break Ok(message),
                Ok(None) => {}
                Err(error) => break Err(error),
            }
            if let Err(error) = self.wait(until) {
                break Err(error);
            }
        };
        if outcome.is_err() {
            // A request of which nothing went is taken back, because it needs no answer.
            self.take_back();
        }
        outcome
    }

    fn step(&mut self, number: u32) -> io::Result<Option<Message>> {
        self.push()?;
        loop {
            match self.pull()? {
                Pulled::Message(message) if message.number == number => return Ok(Some(message)),
                Pulled::Message(_) => {}
                Pulled::Nothing => return Ok(None),
                Pulled::Ended => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
    }

    /// Sends a message that has no answer.
    ///
    /// # Errors
    /// [`io::ErrorKind::TimedOut`]: the message did not go in time. Otherwise what the system
    /// reports.
    pub fn tell(&mut self, octets: &[u8], patience: Duration) -> io::Result<()> {
        self.put(0, octets, None)?;
        let until = self.now().after(patience);
        loop {
            match self.push() {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(error) if sys::is_passing(&error) => sys::pause(),
                Err(error) => return Err(error),
            }
            self.wait(until)?;
        }
    }

    /// Waits until something can be read or, if the queue has a message, sent.
    fn wait(&self, until: Uptime) -> io::Result<()> {
        let left = until.since(self.now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        // poll(2) counts in milliseconds, so less than one must not become none.
        let left = left + Duration::from_millis(1);
        sys::poll_or_pause(&mut [self.polled()], left).map(drop)
    }

    /// What to wait for. While an answer waits to be sent, the parent reads nothing. So a child
    /// that asks without reading answers only makes itself wait.
    pub(super) fn polled(&self) -> Polled {
        let reads = !self.is_sending() || self.side == Side::Child;
        Polled::new(&self.stream, reads, self.is_sending())
    }
}

fn parse(octets: &[u8], passed: Passed) -> Message {
    let number = octets.get(4..HEADER).and_then(|part| part.try_into().ok());
    Message {
        number: number.map_or(0, u32::from_be_bytes),
        octets: octets.get(HEADER..).unwrap_or_default().to_vec(),
        passed,
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl AsRawFd for Link {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.stream.as_raw_fd()
    }
}

#[cfg(test)]
impl Link {
    /// Writes any octets, also such that are no message.
    pub fn write_raw(&mut self, octets: &[u8]) -> io::Result<()> {
        io::Write::write_all(&mut &self.stream, octets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(30);

    fn message(link: &mut Link) -> Message {
        match link.pull().unwrap() {
            Pulled::Message(message) => message,
            other => panic!("{other:?}"),
        }
    }

    fn descriptor(message: Message) -> UnixStream {
        match message.passed {
            Passed::One(descriptor) => descriptor.into(),
            other => panic!("{other:?}"),
        }
    }

    fn is_closed(mut end: &UnixStream) -> bool {
        end.set_nonblocking(true).unwrap();
        matches!(end.read(&mut [0]), Ok(0))
    }

    #[test]
    fn messages_come_whole_each_with_its_own_descriptor() {
        let (mut parent, mut child) = Link::pair().unwrap();
        let (first, theirs) = UnixStream::pair().unwrap();
        parent.put(7, b"take it", Some(theirs.into())).unwrap();
        let (second, theirs) = UnixStream::pair().unwrap();
        parent.put(8, b"", Some(theirs.into())).unwrap();
        parent.put(9, b"nothing", None).unwrap();
        assert!(parent.push().unwrap() && !parent.is_sending());
        drop(parent);
        for (number, octets, end) in [(7, &b"take it"[..], &first), (8, b"", &second)] {
            let message = message(&mut child);
            assert_eq!((message.number, &*message.octets), (number, octets));
            let passed = descriptor(message);
            assert!(!is_closed(end));
            drop(passed);
            assert!(is_closed(end), "it was another one");
        }
        let last = message(&mut child);
        assert!(matches!(last.passed, Passed::Nothing) && last.octets == b"nothing");
        assert!(matches!(child.pull().unwrap(), Pulled::Ended));
    }

    #[test]
    fn a_message_that_comes_in_parts_is_kept_until_it_is_whole() {
        let (mut parent, mut child) = Link::pair().unwrap();
        for octet in [0, 0, 0, 2, 0, 0, 0, 5, b'h'] {
            child.write_raw(&[octet]).unwrap();
            assert!(matches!(parent.pull().unwrap(), Pulled::Nothing));
        }
        child.write_raw(b"i").unwrap();
        let message = message(&mut parent);
        assert_eq!((message.number, &*message.octets), (5, &b"hi"[..]));
    }

    #[test]
    fn a_length_beyond_the_bound_is_refused_before_room_is_made_for_it() {
        let (mut parent, mut child) = Link::pair().unwrap();
        child.write_raw(&[0xff; 12]).unwrap();
        let error = parent.pull().unwrap_err();
        assert!(is_fatal(&error), "{error}");
        let longest = vec![0; MAX_REQUEST + 1];
        let error = child.put(1, &longest, None).unwrap_err();
        assert!(!is_fatal(&error) && !child.is_sending(), "{error}");
    }

    #[test]
    fn an_answer_that_is_late_is_dropped_and_the_next_one_is_found() {
        let (mut parent, mut child) = Link::pair().unwrap();
        let error = child.ask(1, b"a", Duration::ZERO).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(!is_fatal(&error));
        assert_eq!(message(&mut parent).number, 1);
        for number in [1, 2] {
            parent.put(number, &[0; 5], None).unwrap();
        }
        // Part of an answer may have come before.
        let whole = parent.push().unwrap();
        assert!(whole);
        assert_eq!(child.ask(2, b"b", SOON).unwrap().number, 2);
        parent.put(3, b"c", None).unwrap();
        drop(parent.take_back());
        drop(parent);
        assert!(
            is_fatal(&child.ask(3, b"c", SOON).unwrap_err()),
            "it has gone"
        );
    }

    #[test]
    fn a_request_that_cannot_go_is_taken_back_and_one_that_went_in_part_goes_on() {
        let (mut parent, mut child) = Link::pair().unwrap();
        let long = vec![b'x'; MAX_REQUEST];
        let mut asked = 0;
        while !child.is_sending() {
            asked += 1;
            let error = child.ask(asked, &long, Duration::ZERO).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
            if asked == 100 {
                break;
            }
        }
        // A request that went in part stays in the queue, and no other waits behind it.
        let waiting = child.outgoing.len();
        for number in 200..210 {
            child.ask(number, b"more", Duration::ZERO).unwrap_err();
        }
        assert_eq!(child.outgoing.len(), waiting);
        assert!(waiting <= 1);
        let mut numbers = Vec::new();
        loop {
            let is_all = child.push().unwrap();
            match parent.pull().unwrap() {
                Pulled::Message(message) => {
                    assert!(message.octets == long);
                    numbers.push(message.number);
                }
                _ if is_all => break,
                _ => {}
            }
        }
        let last = *numbers.last().unwrap();
        assert_eq!(numbers, (1..=last).collect::<Vec<_>>());
    }

    #[test]
    fn a_descriptor_there_is_no_room_for_costs_its_message_only() {
        let (mut parent, mut child) = Link::pair().unwrap();
        // More descriptors than the receiver has room for (MSG_CTRUNC), as in a process whose table
        // is full.
        let ends: Vec<_> = (0..8).map(|_| UnixStream::pair().unwrap().0).collect();
        let numbers: Vec<_> = ends.iter().map(AsRawFd::as_raw_fd).collect();
        let octets = [0, 0, 0, 1, 0, 0, 0, 1, b'+'];
        let rights = [ControlMessage::ScmRights(&numbers)];
        let (flags, parts) = (MsgFlags::empty(), [IoSlice::new(&octets)]);
        sendmsg::<()>(parent.as_raw_fd(), &parts, &rights, flags, None).unwrap();
        parent.put(2, b"+", None).unwrap();
        assert!(parent.push().unwrap());
        let first = message(&mut child);
        assert!(matches!(first.passed, Passed::Lost), "{first:?}");
        let second = message(&mut child);
        assert_eq!(second.number, 2);
        assert!(matches!(second.passed, Passed::Nothing), "{second:?}");
    }

    #[test]
    fn the_parent_takes_no_descriptors() {
        let (mut parent, mut child) = Link::pair().unwrap();
        let (ours, theirs) = UnixStream::pair().unwrap();
        child.put(1, b"config", Some(theirs.into())).unwrap();
        assert!(child.push().unwrap());
        let message = message(&mut parent);
        assert!(matches!(message.passed, Passed::Nothing));
        assert!(is_closed(&ours), "the parent holds it");
    }

    #[test]
    fn a_parent_whose_answer_is_not_taken_is_not_woken_by_the_next_request() {
        let (mut parent, mut child) = Link::pair().unwrap();
        parent.put(1, &vec![0; 4 << 20], None).unwrap();
        assert!(!parent.push().unwrap());
        child.put(2, b"config", None).unwrap();
        assert!(child.push().unwrap());
        let mut polled = [parent.polled()];
        assert_eq!(sys::poll(&mut polled, SOON).unwrap(), 0);
        while !matches!(child.pull().unwrap(), Pulled::Message(_)) {
            parent.push().unwrap();
        }
        assert_eq!(sys::poll(&mut [parent.polled()], SOON).unwrap(), 1);
    }

    #[test]
    fn only_an_end_or_nonsense_is_fatal() {
        for code in [
            libc::EINTR,
            libc::EAGAIN,
            libc::ENOMEM,
            libc::ENOBUFS,
            libc::EMFILE,
            libc::EIO,
        ] {
            assert!(!is_fatal(&io::Error::from_raw_os_error(code)), "{code}");
        }
        for code in [libc::EPIPE, libc::ECONNRESET] {
            assert!(is_fatal(&io::Error::from_raw_os_error(code)), "{code}");
        }
    }
}
