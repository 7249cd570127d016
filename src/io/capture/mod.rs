//! Packets come from capture handles and savefiles.
//!
//! ```text
//! live, pipes   Source::read --> Batch --bounded channel--> export loop
//!                      ^                                        |
//!                      +-------- emptied batches ---------------+
//! files         export loop --> InTurn::read --> Batch
//! ```
//! Each source that may make its reader wait has a thread of its own. Files make nobody wait, so
//! the export loop reads them itself. With a thread for files, the octets had to come from the
//! other processor's cache. That took a sixth of a replay's processor time, and the replay ended no
//! sooner.
//!
//! A batch is what one read of the handle gave. It has the octets as they are in the file or in the
//! kernel's buffer, and the place of each packet in them.
//!
//! If the export loop is slow, the channel fills and the thread waits. Then the kernel's buffer
//! fills, and the kernel drops packets and counts them.

mod file;
mod group;
#[cfg(not(target_os = "openbsd"))]
mod live;
#[cfg(target_os = "openbsd")]
#[path = "live_bpf.rs"]
mod live;
mod relay;
mod turn;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded};

pub use file::File;
pub(super) use group::{GROUP_V4, GROUP_V6, addresses_of};
pub use group::{local_addresses, local_interfaces, problem_of};
pub use live::Live;
pub use relay::{Relay, Relayed};

use crate::counters::SourceCounters;
use crate::wire::gzip;
use crate::wire::savefile::{self, Frame};

/// Octets of a batch.
const BATCH_OCTETS: usize = savefile::MAX_RECORD;
/// Batches that may wait in the channel for each group of sources.
const BATCHES: usize = 4;

/// What one read gave.
pub struct Batch {
    /// The place of the source in the order in which the sources were given.
    pub source: usize,
    /// Captured octets.
    pub octets: Box<[u8]>,
    /// Where in the octets each packet is.
    pub frames: Vec<Frame>,
    /// What the source has counted so far.
    pub counters: SourceCounters,
    /// Octets of the file read so far.
    pub position: u64,
    /// Whether this is the first batch after the source was opened again.
    pub is_opened: bool,
    /// Set in the last batch of a source: why it ended.
    pub end: Option<Result<(), Error>>,
}

impl Batch {
    fn new(source: usize) -> Self {
        Self {
            source,
            octets: vec![0; BATCH_OCTETS].into_boxed_slice(),
            frames: Vec::new(),
            counters: SourceCounters::default(),
            position: 0,
            is_opened: false,
            end: None,
        }
    }

    /// Reads once from `source`. `number` is its place, and `counters` are what it has counted so
    /// far.
    fn fill(&mut self, number: usize, source: &mut dyn Source, counters: SourceCounters) {
        self.source = number;
        self.frames.clear();
        self.counters = counters;
        self.position = 0;
        self.is_opened = false;
        let outcome = source.read(self);
        self.counters.packets += self.frames.len() as u64;
        self.counters.octets += self
            .frames
            .iter()
            .map(|frame| frame.captured as u64)
            .sum::<u64>();
        self.end = match outcome {
            Ok(More::Maybe) => None,
            Ok(More::No) => Some(Ok(())),
            Err(error) => Some(Err(error)),
        };
    }

    /// How many packets there are.
    pub fn len(&self) -> u64 {
        self.frames.len() as u64
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// The packets, with their octets.
    pub fn packets(&self) -> impl Iterator<Item = (&Frame, &[u8])> {
        self.frames.iter().filter_map(|frame| {
            let octets = self.octets.get(frame.start..)?.get(..frame.captured)?;
            Some((frame, octets))
        })
    }
}

/// Why a source cannot go on.
#[derive(Debug)]
pub enum Error {
    /// The system says so.
    Io(io::Error),
    /// The savefile is damaged. The packets before the damage were read.
    Savefile(savefile::Error),
    /// The savefile inside a gzip file is damaged. The offset counts unpacked octets.
    Unpacked(savefile::Error),
    /// The gzip file is damaged. The packets before the damage were read.
    Gzip(gzip::Error),
    /// libpcap says so.
    Pcap(pcap::Error),
    /// The buffer of a bpf device makes no sense.
    Bpf(crate::wire::bpf::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Savefile(error) => error.fmt(f),
            Self::Unpacked(error) => write!(f, "unpacked: {error}"),
            Self::Gzip(error) => error.fmt(f),
            Self::Pcap(error) => error.fmt(f),
            Self::Bpf(error) => error.fmt(f),
        }
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<pcap::Error> for Error {
    fn from(error: pcap::Error) -> Self {
        Self::Pcap(error)
    }
}

/// Whether a source has more.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum More {
    /// It may have.
    Maybe,
    /// It ended.
    No,
}

/// Something that gives packets.
pub trait Source: Send {
    /// Reads once into `batch`, whose `frames` are empty. A live source returns after a while even
    /// without packets, so that its thread can be stopped.
    ///
    /// # Errors
    /// Why the source gives no more packets. Those in `batch` are good.
    fn read(&mut self, batch: &mut Batch) -> Result<More, Error>;
}

/// A source and its place among those given.
pub type Numbered = (usize, Box<dyn Source>);

/// Sources that never make their reader wait, read one after the other. The caller reads them in
/// its own thread, so the octets are in the cache of its processor.
pub struct InTurn {
    /// In reverse order: the source that is being read is the last.
    sources: Vec<Numbered>,
    counters: SourceCounters,
    batch: Batch,
}

impl InTurn {
    /// Reads `sources` in their order.
    pub fn new(mut sources: Vec<Numbered>) -> Self {
        sources.reverse();
        Self {
            sources,
            counters: SourceCounters::default(),
            batch: Batch::new(0),
        }
    }

    /// The next batch; `None` when every source has ended.
    pub fn read(&mut self) -> Option<&Batch> {
        let (number, source) = self.sources.last_mut()?;
        self.batch.fill(*number, &mut **source, self.counters);
        self.counters = self.batch.counters;
        if self.batch.end.is_some() {
            self.sources.pop();
            self.counters = SourceCounters::default();
        }
        Some(&self.batch)
    }
}

/// Reader threads and what they send.
pub struct Readers {
    batches: Receiver<Batch>,
    emptied: Sender<Batch>,
    is_stopped: Arc<AtomicBool>,
}

/// Starts further threads beside those that [`Readers::start`] did.
pub struct Adder(Reader);

impl Adder {
    /// Reads `source` in a thread of its own. `number` is its place, and `counters` are what it has
    /// counted so far.
    ///
    /// # Errors
    /// The system refuses a thread.
    pub fn add(
        &self,
        number: usize,
        source: Box<dyn Source>,
        counters: SourceCounters,
    ) -> io::Result<()> {
        let reader = self.0.clone();
        thread::Builder::new()
            .name("capture".to_owned())
            .spawn(move || reader.run(number, source, counters))
            .map(drop)
    }
}

impl Readers {
    /// Reads `sources` one after the other in one thread (savefiles), or each in its own (live).
    ///
    /// # Errors
    /// The system refuses a thread.
    pub fn start(groups: Vec<Vec<Numbered>>) -> io::Result<Self> {
        Self::start_open(groups).map(|(readers, _)| readers)
    }

    /// Like [`Self::start`], but also returns an [`Adder`] for further sources. The channel stays
    /// open as long as the [`Adder`] lives.
    ///
    /// # Errors
    /// The system refuses a thread.
    pub fn start_open(groups: Vec<Vec<Numbered>>) -> io::Result<(Self, Adder)> {
        let count = BATCHES * groups.len().max(1);
        let (batches, from_readers) = bounded(count);
        let (emptied, to_readers) = bounded::<Batch>(2 * count);
        let is_stopped = Arc::new(AtomicBool::new(false));
        let template = Reader {
            batches,
            emptied: to_readers,
            pool: emptied.clone(),
            is_stopped: Arc::clone(&is_stopped),
        };
        for group in groups {
            let reader = template.clone();
            thread::Builder::new()
                .name("capture".to_owned())
                .spawn(move || {
                    for (number, source) in group {
                        if !reader.run(number, source, SourceCounters::default()) {
                            return;
                        }
                    }
                })?;
        }
        let readers = Self {
            batches: from_readers,
            emptied,
            is_stopped,
        };
        Ok((readers, Adder(template)))
    }

    /// The channel of batches. It is disconnected when every source has ended.
    pub fn batches(&self) -> &Receiver<Batch> {
        &self.batches
    }

    /// Gives a batch back to be filled again.
    pub fn recycle(&self, batch: Batch) {
        // If the channel of empty batches is full, this one is not needed.
        let _ = self.emptied.try_send(batch);
    }

    /// Asks the threads to stop at their next turn.
    pub fn stop(&self) {
        self.is_stopped.store(true, Ordering::Relaxed);
    }
}

#[derive(Clone)]
struct Reader {
    batches: Sender<Batch>,
    emptied: Receiver<Batch>,
    pool: Sender<Batch>,
    is_stopped: Arc<AtomicBool>,
}

impl Reader {
    /// Reads one source to its end. Returns false if nobody wants more.
    fn run(
        &self,
        number: usize,
        mut source: Box<dyn Source>,
        mut counters: SourceCounters,
    ) -> bool {
        loop {
            if self.is_stopped.load(Ordering::Relaxed) {
                return false;
            }
            let mut batch = self
                .emptied
                .try_recv()
                .unwrap_or_else(|_| Batch::new(number));
            batch.fill(number, &mut *source, counters);
            counters = batch.counters;
            let is_end = batch.end.is_some();
            let is_news = is_end || batch.is_opened || batch.position > 0;
            if batch.frames.is_empty() && !is_news {
                // A live source had no packets. The batch goes back, and the next turn takes it
                // again.
                let _ = self.pool.try_send(batch);
                continue;
            }
            if self.batches.send(batch).is_err() {
                return false;
            }
            if is_end {
                return true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Wall;
    use crate::wire::link::LinkType;

    /// Gives packets of one octet. `reads` has the number for each read, the next one last.
    /// `fails`: it ends with an error.
    struct Packets {
        reads: Vec<usize>,
        fails: bool,
    }

    impl Source for Packets {
        fn read(&mut self, batch: &mut Batch) -> Result<More, Error> {
            let Some(count) = self.reads.pop() else {
                return match self.fails {
                    true => Err(io::Error::from(io::ErrorKind::InvalidData).into()),
                    false => Ok(More::No),
                };
            };
            batch.frames.extend((0..count).map(|start| Frame {
                stamp: Wall::default(),
                link: LinkType::PFSYNC,
                start,
                captured: 1,
                wire_len: 1,
            }));
            Ok(More::Maybe)
        }
    }

    #[test]
    fn sources_in_turn_count_for_themselves_and_one_that_fails_is_followed_by_the_next() {
        let packets = |reads: &[usize], fails| {
            let reads = reads.to_vec();
            Box::new(Packets { reads, fails })
        };
        let sources: Vec<Numbered> = vec![
            (0, packets(&[2, 1], true)),
            (7, packets(&[], false)),
            (3, packets(&[4], false)),
        ];
        let mut files = InTurn::new(sources);
        let mut read = Vec::new();
        while let Some(batch) = files.read() {
            let end = batch.end.as_ref().map(Result::is_ok);
            assert_eq!(batch.packets().count(), batch.frames.len());
            read.push((batch.source, batch.counters.packets, end));
        }
        assert_eq!(
            read,
            [
                (0, 1, None),
                (0, 3, None),
                (0, 3, Some(false)),
                (7, 0, Some(true)),
                (3, 4, None),
                (3, 4, Some(true)),
            ]
        );
    }
}
