//! Savefiles (pcap and pcapng). pflow's own reader reads them on every system.
//!
//! libpcap's reader was measured: it takes three to four times as long for a packet. It cuts
//! nanoseconds off unless asked, refuses pcapng with several link types, and does not tell where in
//! the file an error is. On OpenBSD the pcap crate cannot read packets at all.
//!
//! A file that begins as gzip is unpacked a piece at a time. So memory does not depend on how much
//! comes out.

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::FileTypeExt;

use super::{Batch, Error, More, Source};
use crate::wire::gzip::{Gzip, Unpacked, is_gzip};
use crate::wire::savefile::{self, Savefile};

/// Octets to read at once, unless a record is longer. So few octets are still in the cache when
/// their packets are processed.
const READ: usize = 1 << 17;

/// How a file is packed.
enum Packing {
    /// The file's first octets, which do not yet tell how it is packed.
    Unknown(Vec<u8>),
    Plain,
    Gzip(Box<Packed>),
}

/// A gzip file being unpacked.
struct Packed {
    gzip: Gzip,
    /// Octets of the file that are not used up yet.
    octets: Vec<u8>,
    used: usize,
}

/// A savefile being read.
pub struct File {
    input: Box<dyn Read + Send>,
    packing: Packing,
    parser: Savefile,
    /// The beginning of a record that the last batch left over.
    rest: Vec<u8>,
    len: Option<u64>,
    position: u64,
}

impl File {
    /// Opens `path`, `-` for standard input.
    ///
    /// # Errors
    /// The system refuses it, or it is a directory.
    pub fn open(path: &str) -> io::Result<Self> {
        let (input, len): (Box<dyn Read + Send>, _) = if path == "-" {
            (Box::new(io::stdin()), None)
        } else {
            if fs::metadata(path)?.file_type().is_fifo() {
                let fifo = Fifo::Path(path.to_owned());
                return Ok(Self::new(Box::new(fifo), None));
            }
            let file = fs::File::open(path)?;
            let metadata = file.metadata()?;
            if metadata.is_dir() {
                return Err(io::Error::from(io::ErrorKind::IsADirectory));
            }
            let len = metadata.is_file().then_some(metadata.len());
            (Box::new(file), len)
        };
        Ok(Self::new(input, len))
    }

    fn new(input: Box<dyn Read + Send>, len: Option<u64>) -> Self {
        Self {
            input,
            packing: Packing::Unknown(Vec::new()),
            parser: Savefile::new(),
            rest: Vec::new(),
            len,
            position: 0,
        }
    }

    /// Octets of the file, if it is a regular file.
    pub fn len(&self) -> Option<u64> {
        self.len
    }

    /// Whether the file is known to have nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len == Some(0)
    }

    /// Reads some octets of the savefile, and unpacks them if it is packed. Returns 0 at the end.
    fn fill(&mut self, octets: &mut [u8]) -> Result<usize, Error> {
        loop {
            match &mut self.packing {
                Packing::Plain => {
                    let read = read_once(&mut *self.input, octets)?;
                    self.position += read as u64;
                    return Ok(read);
                }
                Packing::Gzip(packed) => {
                    return packed.fill(&mut *self.input, &mut self.position, octets);
                }
                Packing::Unknown(start) => {
                    let mut room = [0; 4];
                    let read = read_once(&mut *self.input, &mut room)?;
                    self.position += read as u64;
                    start.extend(room.get(..read).unwrap_or_default());
                    let is_packed = is_gzip(start);
                    if is_packed.is_none() && read > 0 {
                        continue;
                    }
                    let start = std::mem::take(start);
                    if is_packed == Some(true) {
                        self.packing = Packing::Gzip(Box::new(Packed::new(start)));
                        continue;
                    }
                    self.packing = Packing::Plain;
                    // The room suffices, because a batch is longer than the header of a file.
                    if let Some(to) = octets.get_mut(..start.len()) {
                        to.copy_from_slice(&start);
                    }
                    return Ok(start.len());
                }
            }
        }
    }
}

impl File {
    fn damage(&self, error: savefile::Error) -> Error {
        match self.packing {
            Packing::Gzip(_) => Error::Unpacked(error),
            _ => Error::Savefile(error),
        }
    }
}

/// Reads once. Returns 0 at the end.
fn read_once(input: &mut dyn Read, octets: &mut [u8]) -> io::Result<usize> {
    loop {
        match input.read(octets) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

impl Packed {
    fn new(start: Vec<u8>) -> Self {
        Self {
            gzip: Gzip::default(),
            octets: start,
            used: 0,
        }
    }

    /// Unpacks until some octets come out. Returns 0 at the end.
    fn fill(
        &mut self,
        input: &mut dyn Read,
        position: &mut u64,
        octets: &mut [u8],
    ) -> Result<usize, Error> {
        loop {
            let rest = self.octets.get(self.used..).unwrap_or_default();
            let Unpacked {
                consumed,
                produced,
                error,
            } = self.gzip.unpack(rest, octets);
            self.used += consumed;
            if produced > 0 {
                // The next call returns the error again.
                return Ok(produced);
            }
            if let Some(error) = error {
                return Err(Error::Gzip(error));
            }
            if consumed > 0 {
                continue;
            }
            self.octets.resize(READ, 0);
            let read = read_once(input, &mut self.octets)?;
            self.octets.truncate(read);
            self.used = 0;
            *position += read as u64;
            if read == 0 {
                return self.gzip.finish().map(|()| 0).map_err(Error::Gzip);
            }
        }
    }
}

/// A FIFO. Its open(2) waits until a writer opens it, too. So the reading thread opens it, and the
/// thread that serves signals does not wait.
enum Fifo {
    Path(String),
    Open(fs::File),
}

impl Read for Fifo {
    fn read(&mut self, octets: &mut [u8]) -> io::Result<usize> {
        if let Self::Path(path) = self {
            *self = Self::Open(fs::File::open(path)?);
        }
        match self {
            Self::Open(file) => file.read(octets),
            Self::Path(_) => Ok(0),
        }
    }
}

impl Source for File {
    fn read(&mut self, batch: &mut Batch) -> Result<More, Error> {
        let mut rest = std::mem::take(&mut self.rest);
        let kept = rest.len();
        // There is always room, because scan() reports a record that does not fit as an error.
        let Some((front, room)) = batch.octets.split_at_mut_checked(kept) else {
            return Err(Error::Io(io::Error::from(io::ErrorKind::InvalidData)));
        };
        front.copy_from_slice(&rest);
        let some = READ.max(self.parser.wanted(&rest)).min(room.len());
        let read = match self.fill(room.get_mut(..some).unwrap_or_default()) {
            Ok(0) => {
                let left = batch.octets.get(..kept).unwrap_or_default();
                let finished = self.parser.finish(left).map(|()| More::No);
                return finished.map_err(|error| self.damage(error));
            }
            Ok(read) => read,
            Err(error) => return Err(error),
        };
        batch.position = self.position;
        let filled = batch.octets.get(..kept + read).unwrap_or_default();
        let frames = &mut batch.frames;
        let scanned = self.parser.scan(filled, &mut |frame| frames.push(frame));
        let consumed = scanned.map_err(|error| self.damage(error))?;
        rest.clear();
        rest.extend_from_slice(filled.get(consumed..).unwrap_or_default());
        self.rest = rest;
        Ok(More::Maybe)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counters::SourceCounters;

    /// Gives its octets a few at a time, as a pipe may.
    struct Trickle(Vec<u8>, usize);

    impl Read for Trickle {
        fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
            let n = self.1.min(to.len()).min(self.0.len());
            to[..n].copy_from_slice(&self.0[..n]);
            self.0.drain(..n);
            Ok(n)
        }
    }

    fn batch() -> Batch {
        Batch {
            source: 0,
            octets: vec![0; super::super::BATCH_OCTETS].into_boxed_slice(),
            frames: Vec::new(),
            counters: SourceCounters::default(),
            position: 0,
            is_opened: false,
            end: None,
        }
    }

    fn savefile(packets: u8) -> Vec<u8> {
        let mut file = Vec::new();
        for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65535, 246] {
            file.extend(word.to_le_bytes());
        }
        for n in 0..packets {
            for word in [u32::from(n), 0, 5, 5] {
                file.extend(word.to_le_bytes());
            }
            file.extend([n; 5]);
        }
        file
    }

    fn read_all(file: Vec<u8>, step: usize) -> (Vec<Vec<u8>>, Result<(), Error>) {
        let mut source = File::new(Box::new(Trickle(file, step)), None);
        let mut packets = Vec::new();
        loop {
            let mut batch = batch();
            let outcome = source.read(&mut batch);
            packets.extend(batch.packets().map(|(_, octets)| octets.to_vec()));
            match outcome {
                Ok(More::Maybe) => {}
                Ok(More::No) => return (packets, Ok(())),
                Err(error) => return (packets, Err(error)),
            }
        }
    }

    #[test]
    fn packets_come_out_the_same_however_the_octets_trickle_in() {
        for step in [1, 3, 17, 4096] {
            let (packets, outcome) = read_all(savefile(9), step);
            assert!(outcome.is_ok());
            assert_eq!(packets, (0..9).map(|n| vec![n; 5]).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_record_longer_than_what_is_read_at_once_comes_out_whole() {
        let long = READ + READ / 2;
        let mut file = savefile(1);
        for word in [1, 0, long, long] {
            file.extend(u32::try_from(word).unwrap().to_le_bytes());
        }
        file.resize(file.len() + long, 7);
        file.extend(&savefile(2)[24..]);
        let (packets, outcome) = read_all(file, usize::MAX);
        assert!(outcome.is_ok());
        let lens: Vec<_> = packets.iter().map(Vec::len).collect();
        assert_eq!(lens, [5, long, 5, 5]);
        assert!(packets[1].iter().all(|octet| *octet == 7));
    }

    #[test]
    fn a_cut_off_file_gives_its_whole_packets_and_then_where_it_ends() {
        let mut file = savefile(3);
        file.truncate(file.len() - 2);
        let (packets, outcome) = read_all(file, 64);
        assert_eq!(packets.len(), 2);
        let text = outcome.unwrap_err().to_string();
        assert!(text.contains("offset 66"), "{text}");
    }

    fn packed(file: &[u8]) -> Vec<u8> {
        use io::Write;
        let level = flate2::Compression::default();
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
        encoder.write_all(file).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn a_gzip_file_is_read_as_what_is_in_it_however_it_trickles_in() {
        for step in [1, 3, 17, 4096] {
            let (packets, outcome) = read_all(packed(&savefile(9)), step);
            assert!(outcome.is_ok(), "{outcome:?}");
            assert_eq!(packets, (0..9).map(|n| vec![n; 5]).collect::<Vec<_>>());
            // In two members, the second beginning inside a packet.
            let file = savefile(9);
            let (one, other) = file.split_at(30);
            let (packets, outcome) = read_all([packed(one), packed(other)].concat(), step);
            assert_eq!((packets.len(), outcome.is_ok()), (9, true));
        }
    }

    #[test]
    fn a_gzip_file_cut_off_anywhere_gives_its_whole_packets_and_then_where_it_ends() {
        let file = packed(&savefile(9));
        let mut most = 0;
        for len in 2..file.len() {
            let (packets, outcome) = read_all(file[..len].to_vec(), 7);
            assert!(packets.len() >= most, "{len}");
            most = packets.len();
            assert!(packets.iter().zip(0..).all(|(packet, n)| *packet == [n; 5]));
            let text = outcome.unwrap_err().to_string();
            assert_eq!(text, format!("file ends inside gzip data at offset {len}"));
        }
        assert_eq!(most, 9);
    }

    #[test]
    fn damage_inside_a_gzip_file_is_told_as_of_what_it_unpacks_to() {
        let mut file = savefile(3);
        file.truncate(file.len() - 2);
        let (packets, outcome) = read_all(packed(&file), 64);
        assert_eq!(packets.len(), 2);
        let text = outcome.unwrap_err().to_string();
        let expected = "unpacked: file ends inside a record: 19 of 21 octets at offset 66";
        assert_eq!(text, expected);
        let (_, outcome) = read_all(packed(b"neither"), 64);
        let text = outcome.unwrap_err().to_string();
        assert_eq!(text, "unpacked: not a pcap or pcapng file");
    }

    #[test]
    fn a_file_of_one_octet_or_none_is_no_gzip() {
        for (file, expected) in [
            (&[][..], "empty file"),
            (
                &[0x1f],
                "file ends inside a record: 1 of 4 octets at offset 0",
            ),
        ] {
            let (_, outcome) = read_all(file.to_vec(), 64);
            assert_eq!(outcome.unwrap_err().to_string(), expected);
        }
    }
}
