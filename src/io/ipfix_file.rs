//! An IPFIX file (RFC 5655): messages one behind the other. All of them are whole, even if the disk
//! fails.
//!
//! ```text
//! plain   | message | message | message |
//! gzip    | member: message message ... | member: message ... |     RFC 1952 2.2: members follow
//! ```
//! Messages that are appended together are one write, or with gzip one member. After a failed write
//! the file is cut back to its last whole message or member. So the file can be read at any time.
//! After a crash it can be read up to the last append.
//!
//! Left to others: the messages and their session (`export/stream.rs`), and the file's name.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};

use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;

use super::tap::put;
use crate::export::Compression;
use crate::wire::ipfix;

/// Cuts a file to a length and goes on writing there.
type Cut<W> = fn(&mut W, u64) -> io::Result<()>;

/// A file that messages are appended to.
#[derive(Debug)]
pub struct IpfixFile<W = File> {
    out: W,
    cut: Cut<W>,
    compression: Compression,
    /// Octets of whole messages.
    whole: u64,
    /// Whether the file has further octets that could not be cut off.
    is_torn: bool,
    /// What is written at once.
    block: Vec<u8>,
}

impl IpfixFile {
    /// One to write to `file`, which is empty and nobody else's.
    pub fn new(file: File, compression: Compression) -> Self {
        let cut: Cut<File> = |file, len| {
            file.set_len(len)?;
            file.seek(SeekFrom::Start(len)).map(drop)
        };
        Self::with(file, cut, compression)
    }

    /// Has it on the disk.
    ///
    /// # Errors
    /// What fsync(2) reports.
    pub fn sync(&self) -> io::Result<()> {
        self.out.sync_all()
    }
}

impl<W: Write> IpfixFile<W> {
    fn with(out: W, cut: Cut<W>, compression: Compression) -> Self {
        Self {
            out,
            cut,
            compression,
            whole: 0,
            is_torn: false,
            block: Vec::new(),
        }
    }

    /// Octets in it.
    pub fn octets(&self) -> u64 {
        self.whole
    }

    /// Appends `messages`, which have their headers. How many of them are in the file, and why not
    /// the others.
    pub fn append(&mut self, messages: &[u8], ends: &[usize]) -> (usize, io::Result<()>) {
        if self.is_torn
            && let Err(error) = self.cut_back()
        {
            return (0, Err(error));
        }
        let (written, outcome) = match self.compression {
            Compression::None => put(&mut self.out, messages),
            Compression::Gzip => match compress(messages, &mut self.block) {
                Ok(()) => put(&mut self.out, &self.block),
                Err(error) => return (0, Err(error)),
            },
        };
        let Err(error) = outcome else {
            self.whole += written as u64;
            return (ends.len(), Ok(()));
        };
        let count = match self.compression {
            Compression::None => ends.iter().take_while(|end| **end <= written).count(),
            Compression::Gzip => 0,
        };
        let kept = ends
            .get(..count)
            .and_then(<[_]>::last)
            .copied()
            .unwrap_or(0);
        self.whole += kept as u64;
        if written > kept {
            // It may be possible later: the next message tries again.
            let _ = self.cut_back();
        }
        (count, Err(error))
    }

    fn cut_back(&mut self) -> io::Result<()> {
        self.is_torn = true;
        (self.cut)(&mut self.out, self.whole)?;
        self.is_torn = false;
        Ok(())
    }
}

/// A gzip member of `octets`, without time or name.
fn compress(octets: &[u8], member: &mut Vec<u8>) -> io::Result<()> {
    member.clear();
    let mut encoder = GzEncoder::new(member, flate2::Compression::default());
    encoder.write_all(octets)?;
    encoder.finish().map(drop)
}

/// Cuts `file`, which a program that was killed wrote, back to the last message that is whole, or
/// the last gzip member; what is left, octets.
///
/// # Errors
/// What the system reports.
pub fn cut_to_whole(file: &mut File) -> io::Result<u64> {
    let len = file.seek(SeekFrom::End(0))?;
    file.rewind()?;
    let mut magic = [0; 2];
    let is_gzip = file.read(&mut magic)? == 2 && magic == [0x1f, 0x8b];
    file.rewind()?;
    let mut reader = BufReader::new(&*file);
    let whole = match is_gzip {
        true => whole_members(&mut reader)?,
        false => whole_messages(&mut reader, len)?,
    };
    if whole < len {
        file.set_len(whole)?;
    }
    Ok(whole)
}

/// Octets of the messages that are whole.
fn whole_messages(reader: &mut BufReader<&File>, len: u64) -> io::Result<u64> {
    let mut whole = 0;
    let mut header = [0; ipfix::HEADER_LEN];
    while len - whole >= header.len() as u64 {
        reader.read_exact(&mut header)?;
        let [v0, v1, l0, l1, ..] = header;
        let message = u16::from_be_bytes([l0, l1]);
        let is_message = u16::from_be_bytes([v0, v1]) == ipfix::VERSION;
        let Some(rest) = usize::from(message).checked_sub(header.len()) else {
            break;
        };
        if !is_message || len - whole < u64::from(message) {
            break;
        }
        whole += u64::from(message);
        reader.seek_relative(i64::try_from(rest).unwrap_or(0))?;
    }
    Ok(whole)
}

/// Octets of the gzip members that are whole.
fn whole_members(reader: &mut BufReader<&File>) -> io::Result<u64> {
    let mut whole = 0;
    loop {
        let mut member = GzDecoder::new(&mut *reader);
        match io::copy(&mut member, &mut io::sink()) {
            Ok(1..) => whole = reader.stream_position()?,
            Ok(0) => return Ok(whole),
            Err(error) => {
                return match error.kind() {
                    io::ErrorKind::UnexpectedEof
                    | io::ErrorKind::InvalidInput
                    | io::ErrorKind::InvalidData => Ok(whole),
                    _ => Err(error),
                };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use flate2::read::MultiGzDecoder;
    use proptest::prelude::*;

    use super::*;

    /// A file on a disk of its own, which can be as full as a test wants.
    #[derive(Default)]
    struct Disk {
        file: Cursor<Vec<u8>>,
        size: usize,
        cannot_cut: bool,
    }

    impl Write for Disk {
        fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
            let at = usize::try_from(self.file.position()).unwrap();
            match octets.len().min(self.size.saturating_sub(at)) {
                0 => Err(io::ErrorKind::StorageFull.into()),
                room => self.file.write(&octets[..room.min(700)]),
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn file(size: usize, compression: Compression) -> IpfixFile<Disk> {
        let disk = Disk {
            size,
            ..Disk::default()
        };
        let cut: Cut<Disk> = |disk, len| {
            if disk.cannot_cut {
                return Err(io::ErrorKind::ReadOnlyFilesystem.into());
            }
            disk.file.get_mut().truncate(usize::try_from(len).unwrap());
            disk.file.set_position(len);
            Ok(())
        };
        IpfixFile::with(disk, cut, compression)
    }

    fn message(number: u8, len: u16) -> Vec<u8> {
        let mut message = vec![number; usize::from(len)];
        message[..2].copy_from_slice(&ipfix::VERSION.to_be_bytes());
        message[2..4].copy_from_slice(&len.to_be_bytes());
        message
    }

    /// Numbers of the messages in a file that has nothing else.
    fn numbers(mut octets: &[u8]) -> Vec<u8> {
        let mut numbers = Vec::new();
        while !octets.is_empty() {
            assert_eq!(octets[..2], ipfix::VERSION.to_be_bytes());
            let len = usize::from(u16::from_be_bytes([octets[2], octets[3]]));
            numbers.push(octets[len - 1]);
            octets = &octets[len..];
        }
        numbers
    }

    fn append(file: &mut IpfixFile<Disk>, of: &[(u8, u16)]) -> (usize, bool) {
        let (mut octets, mut ends) = (Vec::new(), Vec::new());
        for (number, len) in of {
            octets.extend(message(*number, *len));
            ends.push(octets.len());
        }
        let (count, outcome) = file.append(&octets, &ends);
        (count, outcome.is_ok())
    }

    #[test]
    fn a_full_disk_leaves_whole_messages_and_the_file_goes_on_when_there_is_room() {
        let mut file = file(250, Compression::None);
        assert_eq!(
            append(&mut file, &[(1, 100), (2, 100), (3, 100)]),
            (2, false)
        );
        assert_eq!(numbers(file.out.file.get_ref()), [1, 2]);
        assert_eq!(file.octets(), 200);
        file.out.size = 10_000;
        assert_eq!(append(&mut file, &[(3, 100), (4, 2000)]), (2, true));
        assert_eq!(numbers(file.out.file.get_ref()), [1, 2, 3, 4]);
    }

    #[test]
    fn what_cannot_be_cut_off_is_cut_off_before_the_next_message() {
        let mut file = file(150, Compression::None);
        file.out.cannot_cut = true;
        assert_eq!(append(&mut file, &[(1, 100), (2, 100)]), (1, false));
        assert_eq!(file.out.file.get_ref().len(), 150);
        file.out.size = 10_000;
        assert_eq!(append(&mut file, &[(2, 100)]), (0, false));
        file.out.cannot_cut = false;
        assert_eq!(append(&mut file, &[(2, 100)]), (1, true));
        assert_eq!(numbers(file.out.file.get_ref()), [1, 2]);
    }

    #[test]
    fn a_gzip_member_is_in_the_file_as_a_whole_or_not_at_all() {
        let mut file = file(usize::MAX, Compression::Gzip);
        assert_eq!(append(&mut file, &[(1, 900), (2, 900)]), (2, true));
        file.out.size = file.out.file.get_ref().len() + 5;
        assert_eq!(append(&mut file, &[(3, 900)]), (0, false));
        file.out.size = usize::MAX;
        assert_eq!(append(&mut file, &[(4, 900)]), (1, true));
        let octets = file.out.file.into_inner();
        assert_eq!(octets.len() as u64, file.whole);
        let mut plain = Vec::new();
        MultiGzDecoder::new(&*octets)
            .read_to_end(&mut plain)
            .unwrap();
        assert_eq!(numbers(&plain), [1, 2, 4]);
    }

    proptest! {
        #[test]
        fn what_a_crash_left_is_cut_to_what_is_whole(
            lens in prop::collection::vec(16u16..3000, 1..20),
            is_gzip: bool,
            cut: prop::sample::Index,
        ) {
            let compression = match is_gzip {
                true => Compression::Gzip,
                false => Compression::None,
            };
            let mut written = file(usize::MAX, compression);
            let mut wholes = vec![0];
            for (number, len) in lens.iter().enumerate() {
                append(&mut written, &[(u8::try_from(number).unwrap(), *len)]);
                wholes.push(written.octets());
            }
            let octets = written.out.file.into_inner();
            let len = cut.index(octets.len() + 1);
            let name = std::env::temp_dir().join(format!("pflow-cut-{}", std::process::id()));
            std::fs::write(&name, &octets[..len]).unwrap();
            let mut torn = File::options().read(true).write(true).open(&name).unwrap();
            std::fs::remove_file(&name).unwrap();
            let whole = *wholes.iter().rfind(|whole| **whole <= len as u64).unwrap();
            prop_assert_eq!(cut_to_whole(&mut torn).unwrap(), whole);
            prop_assert_eq!(torn.metadata().unwrap().len(), whole);
        }
    }
}
