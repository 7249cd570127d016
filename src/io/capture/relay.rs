//! A capture that another process reads. Captures are opened in this way when this process has
//! already given up its rights.
//!
//! ```text
//! reader process: Live --> turns --> socket --> Relayed: batches like any other
//! ```
//! | field           | octets | of an opening | of a turn             | of a failure |
//! |-----------------|--------|---------------|-----------------------|--------------|
//! | kind            | 4      | 1             | 2                     | 3            |
//! | first           | 4      | link type     | dropped by the kernel | 0            |
//! | second          | 4      | 0             | by the interface      | 0            |
//! | frames          | 4      | 0             | how many follow       | 0            |
//! | octets          | 4      | 0             | how many follow       | of the text  |
//!
//! Numbers are big-endian. A frame has seconds (8 octets), then nanoseconds, octets captured and
//! octets on the wire (4 octets each). All frames of a turn come first, and then their octets in
//! the same order. The reader sends nothing while no packets come. It ends when nobody listens any
//! more.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use byteorder::{BigEndian, ByteOrder, ReadBytesExt, WriteBytesExt};

use super::{Batch, Error, Live, More, Source};
use crate::io::sys;
use crate::time::Wall;
use crate::wire::link::LinkType;
use crate::wire::savefile::Frame;

const OPENED: u32 = 1;
const TURN: u32 = 2;
const FAILED: u32 = 3;
/// Octets of the header of each message.
const HEADER: usize = 20;
/// Octets of a frame.
const FRAME: usize = 20;
/// Most frames of a turn: a batch holds as many if all are as small as pfsync can be.
const MAX_FRAMES: usize = 1 << 16;
/// Longest text of a failure, octets.
const MAX_TEXT: usize = 1024;
/// Longest wait for the rest of a message, and for the other side to take a message.
const STREAM_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest wait before the thread looks whether it must stop.
const LOOK: Duration = Duration::from_millis(200);

/// The side that gets the packets.
pub struct Relayed {
    stream: UnixStream,
    link: LinkType,
    table: Vec<u8>,
}

impl Relayed {
    /// Reads what a [`Relay`] writes to the other end of `stream`.
    ///
    /// # Errors
    /// The system refuses a timeout.
    pub fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_read_timeout(Some(STREAM_TIMEOUT))?;
        Ok(Self {
            stream,
            link: LinkType(0),
            table: Vec::new(),
        })
    }

    fn turn(&mut self, batch: &mut Batch, header: &[u8; HEADER]) -> Result<(), Error> {
        let [_, kernel, interface, frames, octets] = fields(header);
        let frames = usize::try_from(frames).unwrap_or(usize::MAX);
        let octets = usize::try_from(octets).unwrap_or(usize::MAX);
        let (true, Some(room)) = (frames <= MAX_FRAMES, batch.octets.get_mut(..octets)) else {
            return Err(nonsense());
        };
        self.table.resize(frames * FRAME, 0);
        self.stream.read_exact(&mut self.table)?;
        self.stream.read_exact(room)?;
        let mut start = 0;
        for entry in self.table.chunks_exact(FRAME) {
            let frame = read_frame(entry, self.link, start)?;
            start += frame.captured;
            if start > octets {
                return Err(nonsense());
            }
            batch.frames.push(frame);
        }
        batch.counters.kernel_dropped += u64::from(kernel);
        batch.counters.interface_dropped += u64::from(interface);
        Ok(())
    }
}

impl Source for Relayed {
    fn read(&mut self, batch: &mut Batch) -> Result<More, Error> {
        if !sys::wait_readable(&self.stream, LOOK)? {
            return Ok(More::Maybe);
        }
        let mut header = [0; HEADER];
        self.stream.read_exact(&mut header).map_err(|error| {
            Error::Io(match error.kind() {
                io::ErrorKind::UnexpectedEof => io::Error::other("the process that read it ended"),
                _ => error,
            })
        })?;
        let [kind, first, _, _, octets] = fields(&header);
        match kind {
            OPENED => {
                self.link = LinkType(first);
                batch.is_opened = true;
                batch.counters.reopened += 1;
                Ok(More::Maybe)
            }
            TURN => self.turn(batch, &header).map(|()| More::Maybe),
            FAILED => {
                let len = usize::try_from(octets).unwrap_or(MAX_TEXT);
                let mut text = vec![0; len.min(MAX_TEXT)];
                self.stream.read_exact(&mut text)?;
                let text = String::from_utf8_lossy(&text).into_owned();
                Err(Error::Io(io::Error::other(text)))
            }
            _ => Err(nonsense()),
        }
    }
}

fn nonsense() -> Error {
    let text = "the process that reads it makes no sense";
    Error::Io(io::Error::other(text))
}

fn fields(header: &[u8; HEADER]) -> [u32; 5] {
    let mut fields = [0; 5];
    BigEndian::read_u32_into(header, &mut fields);
    fields
}

fn read_frame(mut entry: &[u8], link: LinkType, start: usize) -> io::Result<Frame> {
    let stamp = Wall::new(
        entry.read_i64::<BigEndian>()?,
        entry.read_u32::<BigEndian>()?,
    );
    let captured = usize::try_from(entry.read_u32::<BigEndian>()?).unwrap_or(usize::MAX);
    let wire_len = usize::try_from(entry.read_u32::<BigEndian>()?).unwrap_or(usize::MAX);
    Ok(Frame {
        stamp,
        link,
        start,
        // The bound is more than any batch has, and small enough that sums do not overflow.
        captured: captured.min(1 << 30),
        wire_len,
    })
}

/// The side that reads the capture.
pub struct Relay {
    stream: UnixStream,
    message: Vec<u8>,
}

impl Relay {
    /// Writes to `stream`.
    ///
    /// # Errors
    /// The system refuses a timeout.
    pub fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_write_timeout(Some(STREAM_TIMEOUT))?;
        Ok(Self {
            stream,
            message: Vec::new(),
        })
    }

    /// Tells the other side why no more packets come. A failure is ignored, because the other side
    /// may have ended.
    pub fn fail(&mut self, problem: &str) {
        let text = problem.as_bytes();
        let text = text.get(..MAX_TEXT).unwrap_or(text);
        let _ = self
            .begin([FAILED, 0, 0, 0, u32::try_from(text.len()).unwrap_or(0)])
            .and_then(|()| {
                self.message.extend_from_slice(text);
                self.stream.write_all(&self.message)
            });
    }

    /// Passes packets of `live` on, until `live` ends or nobody wants them.
    pub fn run(&mut self, live: &mut Live) {
        let outcome = self.relay(live);
        if let Err(error) = outcome {
            self.fail(&error.to_string());
        }
    }

    fn relay(&mut self, live: &mut Live) -> Result<(), Error> {
        self.begin([OPENED, live.link().0, 0, 0, 0])?;
        self.stream.write_all(&self.message)?;
        let mut batch = Batch::new(0);
        loop {
            batch.frames.clear();
            batch.counters = Default::default();
            // The packets before an error are good.
            let outcome = live.read(&mut batch);
            let counters = &batch.counters;
            if !batch.frames.is_empty() || counters.kernel_dropped + counters.interface_dropped > 0
            {
                self.send(&batch)?;
            } else if sys::wait_readable(&self.stream, Duration::ZERO)? {
                // The other side never writes, so a readable stream means that it was closed.
                return Ok(());
            }
            if outcome? == More::No {
                return Err(Error::Io(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }

    fn begin(&mut self, fields: [u32; 5]) -> io::Result<()> {
        self.message.clear();
        for field in fields {
            self.message.write_u32::<BigEndian>(field)?;
        }
        Ok(())
    }

    fn send(&mut self, batch: &Batch) -> io::Result<()> {
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let drops = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
        let octets = batch.packets().map(|(_, octets)| octets.len()).sum();
        self.begin([
            TURN,
            drops(batch.counters.kernel_dropped),
            drops(batch.counters.interface_dropped),
            number(batch.frames.len()),
            number(octets),
        ])?;
        let message = &mut self.message;
        for (frame, _) in batch.packets() {
            let (secs, nanos) = (frame.stamp.secs(), frame.stamp.subsec_nanos());
            message.write_i64::<BigEndian>(secs)?;
            message.write_u32::<BigEndian>(nanos)?;
            message.write_u32::<BigEndian>(number(frame.captured))?;
            message.write_u32::<BigEndian>(number(frame.wire_len))?;
        }
        for (_, octets) in batch.packets() {
            message.extend_from_slice(octets);
        }
        self.stream.write_all(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counters::SourceCounters;

    fn pair() -> (Relay, Relayed) {
        let (one, other) = UnixStream::pair().unwrap();
        (Relay::new(one).unwrap(), Relayed::new(other).unwrap())
    }

    fn frame(start: usize, captured: usize, nanos: u32) -> Frame {
        Frame {
            stamp: Wall::new(1_700_000_000, nanos),
            link: LinkType::EN10MB,
            start,
            captured,
            wire_len: captured + 100,
        }
    }

    fn turn(frames: &[Frame], octets: &[u8]) -> Batch {
        let mut batch = Batch::new(0);
        batch.octets[..octets.len()].copy_from_slice(octets);
        batch.frames.extend_from_slice(frames);
        batch.counters.kernel_dropped = 7;
        batch
    }

    #[test]
    fn what_is_read_there_is_what_arrives_here() {
        let (mut relay, mut relayed) = pair();
        let frames = [frame(0, 3, 5), frame(8, 0, 6), frame(10, 2, 7)];
        let sent = turn(&frames, b"abc.....__de");
        relay
            .begin([OPENED, LinkType::EN10MB.0, 0, 0, 0])
            .and_then(|()| relay.stream.write_all(&relay.message))
            .unwrap();
        relay.send(&sent).unwrap();
        relay.fail("the interface is down");
        let mut batch = Batch::new(4);
        assert_eq!(relayed.read(&mut batch).unwrap(), More::Maybe);
        assert!(batch.is_opened && batch.frames.is_empty());
        assert_eq!(relayed.read(&mut batch).unwrap(), More::Maybe);
        let arrived: Vec<_> = batch.packets().collect();
        for ((frame, octets), (one, other)) in arrived.iter().zip(sent.packets()) {
            assert_eq!(*octets, other);
            let (stamp, link, wire_len) = (frame.stamp, frame.link, frame.wire_len);
            assert_eq!((stamp, link, wire_len), (one.stamp, one.link, one.wire_len));
        }
        assert_eq!(arrived.len(), 3);
        let counters = SourceCounters {
            kernel_dropped: 7,
            reopened: 1,
            ..SourceCounters::default()
        };
        assert_eq!(batch.counters, counters);
        let error = relayed.read(&mut batch).unwrap_err();
        assert_eq!(error.to_string(), "the interface is down");
        drop(relay);
        let error = relayed.read(&mut batch).unwrap_err();
        assert_eq!(error.to_string(), "the process that read it ended");
    }

    #[test]
    fn numbers_that_make_no_sense_are_refused_before_room_is_made_for_them() {
        for fields in [
            [9, 0, 0, 0, 0],
            [TURN, 0, 0, u32::MAX, 0],
            [TURN, 0, 0, 0, u32::MAX],
            // A frame longer than the octets that come with it.
            [TURN, 0, 0, 1, 4],
        ] {
            let (mut relay, mut relayed) = pair();
            relay.begin(fields).unwrap();
            relay.message.extend_from_slice(&[0xff; FRAME + 4]);
            relay.stream.write_all(&relay.message).unwrap();
            drop(relay);
            let mut batch = Batch::new(0);
            let error = relayed.read(&mut batch).unwrap_err();
            let expected = "the process that reads it makes no sense";
            assert_eq!(error.to_string(), expected, "{fields:?}");
        }
    }

    #[test]
    fn a_message_that_breaks_off_is_an_error_wherever_it_does() {
        let (mut relay, _) = pair();
        let sent = turn(&[frame(0, 3, 5)], b"abc");
        relay.send(&sent).unwrap_err();
        let message = relay.message.clone();
        for len in 0..message.len() {
            let (mut relay, mut relayed) = pair();
            relay.stream.write_all(&message[..len]).unwrap();
            drop(relay);
            assert!(relayed.read(&mut Batch::new(0)).is_err(), "{len}");
        }
    }
}
