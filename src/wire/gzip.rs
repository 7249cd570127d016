//! Gzip, unpacked piece by piece as it comes from a file or a pipe (RFC 1952).
//!
//! ```text
//! member   1f 8b 08 flags mtime xfl os | len extra | name 00 | comment 00 | crc16
//!          deflate (RFC 1951) | crc32 | octets modulo 2^32
//! file     member member ... 00 00 ...
//! ```
//! Several members may follow each other; gzip(1) and zcat(1) take such files, too. Zeros behind
//! the last member are padding. The data before a damage come out, and then the error. Memory does
//! not depend on how much comes out, so a file may unpack to any length.
//!
//! This module does not read the file. The crate flate2 unpacks the deflate data.

use std::fmt;

use crc32fast::Hasher;
use flate2::{Decompress, FlushDecompress, Status};

/// The first octets of a member: the magic number, and deflate as the method.
const START: [u8; 3] = [0x1f, 0x8b, 8];
/// Octets of the fixed part of a member's header.
const HEADER: usize = 10;
/// Octets of a member behind its data: checksum and length.
const TRAILER: usize = 8;

const HAS_CRC: u8 = 1 << 1;
const HAS_EXTRA: u8 = 1 << 2;
const HAS_NAME: u8 = 1 << 3;
const HAS_COMMENT: u8 = 1 << 4;

/// Whether a file that begins with `start` is gzip. `None`: more octets are needed to tell.
pub fn is_gzip(start: &[u8]) -> Option<bool> {
    match start {
        [] => None,
        [first] if START.starts_with(&[*first]) => None,
        [first, second, ..] => Some(START.starts_with(&[*first, *second])),
        [_] => Some(false),
    }
}

/// What is wrong with a file, and where.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Error {
    /// Offset into the packed file.
    pub offset: u64,
    /// What is wrong there.
    pub kind: ErrorKind,
}

/// What is wrong with a file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ErrorKind {
    /// The file ends inside a member.
    CutOff,
    /// The octets behind a member are neither a member nor padding, or the method is not deflate.
    NoMember,
    /// The data are not valid deflate data.
    Deflate,
    /// The checksum at the end of a member does not match its data.
    Checksum,
    /// The length at the end of a member does not match its data.
    Length,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.offset;
        match self.kind {
            ErrorKind::CutOff => write!(f, "file ends inside gzip data at offset {at}"),
            ErrorKind::NoMember => write!(f, "no gzip data at offset {at}"),
            ErrorKind::Deflate => write!(f, "damaged gzip data at offset {at}"),
            ErrorKind::Checksum => {
                write!(f, "gzip checksum at offset {at} is not that of the data")
            }
            ErrorKind::Length => write!(f, "gzip length at offset {at} is not that of the data"),
        }
    }
}

impl std::error::Error for Error {}

/// The outcome of unpacking one piece of a file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Unpacked {
    /// Octets of the input used up.
    pub consumed: usize,
    /// Octets put out.
    pub produced: usize,
    /// Why no more octets will come out.
    pub error: Option<Error>,
}

/// What comes next in a file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Part {
    Header,
    ExtraLen,
    Extra(u16),
    Name,
    Comment,
    HeaderCrc,
    Data,
    Trailer,
    Padding,
}

/// Unpacks one file.
#[derive(Debug)]
pub struct Gzip {
    part: Part,
    flags: u8,
    /// The octets that have come so far of a field of a fixed length.
    field: [u8; HEADER],
    have: usize,
    deflate: Decompress,
    crc: Hasher,
    length: u32,
    /// Octets of the file used up.
    offset: u64,
    is_any: bool,
    failed: Option<Error>,
}

impl Default for Gzip {
    fn default() -> Self {
        Self {
            part: Part::Header,
            flags: 0,
            field: [0; HEADER],
            have: 0,
            deflate: Decompress::new(false),
            crc: Hasher::new(),
            length: 0,
            offset: 0,
            is_any: false,
            failed: None,
        }
    }
}

impl Gzip {
    /// Unpacks `input` into `output` until one of them is at its end. The caller drops what was
    /// consumed, takes out what was produced and calls again.
    pub fn unpack(&mut self, input: &[u8], output: &mut [u8]) -> Unpacked {
        let (mut consumed, mut produced) = (0, 0);
        let mut error = self.failed;
        while error.is_none() && produced < output.len() {
            let (rest, room) = (input.get(consumed..), output.get_mut(produced..));
            let (rest, room) = (rest.unwrap_or_default(), room.unwrap_or_default());
            let outcome = match self.part {
                Part::Data => self.unpack_data(rest, room),
                _ if rest.is_empty() => break,
                _ => self.read_field(rest).map(|used| (used, 0)),
            };
            match outcome {
                // The member needs more input or more room.
                Ok((0, 0)) => break,
                Ok((used, made)) => {
                    consumed += used;
                    produced += made;
                }
                Err((used, made, kind)) => {
                    consumed += used;
                    produced += made;
                    // The offset of a wrong field is where the field begins.
                    let ahead = if self.part == Part::Data {
                        0
                    } else {
                        self.have
                    };
                    let offset = self.offset - ahead as u64;
                    error = Some(Error { offset, kind });
                }
            }
        }
        self.failed = error;
        Unpacked {
            consumed,
            produced,
            error,
        }
    }

    /// Whether the file may end here.
    ///
    /// # Errors
    /// The file ends inside a member. If [`Self::unpack`] returned an error, it is returned again.
    pub fn finish(&self) -> Result<(), Error> {
        let is_between = self.part == Part::Header && self.have == 0 && self.is_any;
        match self.failed {
            Some(error) => Err(error),
            None if is_between || self.part == Part::Padding => Ok(()),
            None => Err(Error {
                offset: self.offset,
                kind: ErrorKind::CutOff,
            }),
        }
    }

    fn unpack_data(&mut self, input: &[u8], output: &mut [u8]) -> Outcome {
        let before = (self.deflate.total_in(), self.deflate.total_out());
        let status = self
            .deflate
            .decompress(input, output, FlushDecompress::None);
        let used = usize::try_from(self.deflate.total_in() - before.0).unwrap_or(input.len());
        let made = usize::try_from(self.deflate.total_out() - before.1).unwrap_or(0);
        let data = output.get(..made).unwrap_or_default();
        self.crc.update(data);
        // The trailer has the length modulo 2^32.
        #[expect(clippy::cast_possible_truncation, reason = "it is meant")]
        let more = made as u32;
        self.length = self.length.wrapping_add(more);
        self.offset += used as u64;
        match status {
            Ok(Status::StreamEnd) => {
                self.begin(Part::Trailer);
                // Not nothing, though nothing may have moved.
                if (used, made) == (0, 0) {
                    return self.read_field(input).map(|used| (used, 0));
                }
                Ok((used, made))
            }
            Ok(Status::Ok | Status::BufError) => Ok((used, made)),
            Err(_) => Err((used, made, ErrorKind::Deflate)),
        }
    }

    fn begin(&mut self, part: Part) {
        self.part = part;
        self.have = 0;
    }

    /// Takes at most one octet of a header or trailer. Returns how many octets it took.
    fn read_field(&mut self, input: &[u8]) -> Result<usize, (usize, usize, ErrorKind)> {
        let Some(octet) = input.first() else {
            return Ok(0);
        };
        if self.part == Part::Header && self.have == 0 && self.is_any && *octet == 0 {
            self.part = Part::Padding;
        }
        if let Some(place) = self.field.get_mut(self.have) {
            *place = *octet;
        }
        match self.part {
            Part::Header => {
                if START.get(self.have).is_some_and(|start| start != octet) {
                    return Err((0, 0, ErrorKind::NoMember));
                }
                if self.have == 3 {
                    self.flags = *octet;
                }
                self.field_of(HEADER, Part::ExtraLen);
            }
            Part::ExtraLen => self.field_of(2, Part::Extra(0)),
            Part::Extra(left) => self.part = Part::Extra(left.saturating_sub(1)),
            Part::Name if *octet == 0 => self.part = Part::Comment,
            Part::Comment if *octet == 0 => self.part = Part::HeaderCrc,
            Part::HeaderCrc => self.field_of(2, Part::Data),
            Part::Trailer => {
                self.have += 1;
                if self.have == TRAILER {
                    self.check()?;
                }
            }
            Part::Padding if *octet != 0 => return Err((0, 0, ErrorKind::NoMember)),
            Part::Name | Part::Comment | Part::Data | Part::Padding => {}
        }
        self.offset += 1;
        self.skip_absent();
        Ok(1)
    }

    /// Notes that an octet of a field of `len` octets has come. `next` follows the field.
    fn field_of(&mut self, len: usize, next: Part) {
        self.have += 1;
        if self.have == len {
            let [low, high, ..] = self.field;
            let next = match next {
                Part::Extra(_) => Part::Extra(u16::from_le_bytes([low, high])),
                next => next,
            };
            self.begin(next);
        }
    }

    /// Goes on to the next field that this member has.
    fn skip_absent(&mut self) {
        let has = |flag| self.flags & flag != 0;
        let part = match (self.part, self.have) {
            (Part::ExtraLen, 0) if !has(HAS_EXTRA) => Part::Name,
            (Part::Extra(0), _) => Part::Name,
            (part, _) => part,
        };
        let part = match part {
            Part::Name if !has(HAS_NAME) => Part::Comment,
            part => part,
        };
        let part = match part {
            Part::Comment if !has(HAS_COMMENT) => Part::HeaderCrc,
            part => part,
        };
        self.part = match (part, self.have) {
            (Part::HeaderCrc, 0) if !has(HAS_CRC) => Part::Data,
            (part, _) => part,
        };
    }

    /// Compares the trailer with what came out, and begins another member.
    fn check(&mut self) -> Result<(), (usize, usize, ErrorKind)> {
        let [a, b, c, d, e, f, g, h, ..] = self.field;
        let crc = std::mem::take(&mut self.crc).finalize();
        // The offset of an error is where the field begins. The field's last octet is not counted
        // yet.
        self.have -= 1;
        if u32::from_le_bytes([a, b, c, d]) != crc {
            return Err((0, 0, ErrorKind::Checksum));
        }
        if u32::from_le_bytes([e, f, g, h]) != self.length {
            return Err((0, 0, ErrorKind::Length));
        }
        self.deflate.reset(false);
        self.length = 0;
        self.is_any = true;
        self.begin(Part::Header);
        Ok(())
    }
}

/// Octets used and octets made. On failure, what is wrong behind them, too.
type Outcome = Result<(usize, usize), (usize, usize, ErrorKind)>;

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, GzBuilder};
    use proptest::prelude::*;

    use super::*;

    fn packed(data: &[u8], builder: GzBuilder) -> Vec<u8> {
        let mut encoder = builder.write(Vec::new(), Compression::default());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn plain(data: &[u8]) -> Vec<u8> {
        packed(data, GzBuilder::new())
    }

    /// Unpacks `file` with `piece` octets of input and `room` octets of output a call. Returns all
    /// that comes out.
    fn unpacked(file: &[u8], piece: usize, room: usize) -> (Vec<u8>, Result<(), Error>) {
        let (mut gzip, mut all) = (Gzip::default(), Vec::new());
        let mut output = vec![0; room];
        let (mut from, mut to) = (0, 0);
        loop {
            let Unpacked {
                consumed,
                produced,
                error,
            } = gzip.unpack(&file[from..to], &mut output);
            from += consumed;
            all.extend(&output[..produced]);
            if error.is_some() || (consumed, produced) == (0, 0) && to == file.len() {
                return (all, gzip.finish());
            }
            if from == to || (consumed, produced) == (0, 0) {
                to = file.len().min(to + piece);
            }
        }
    }

    fn fails(offset: usize, kind: ErrorKind) -> Result<(), Error> {
        let offset = offset as u64;
        Err(Error { offset, kind })
    }

    proptest! {
        #[test]
        fn what_was_packed_comes_out_however_the_pieces_fall(
            members in proptest::collection::vec(proptest::collection::vec(0..4_u8, 0..2000), 1..4),
            zeros in 0..20_usize,
            piece in 1..100_usize,
            room in 1..300_usize,
        ) {
            let mut file = Vec::new();
            for member in &members {
                file.extend(plain(member));
            }
            file.extend(vec![0; zeros]);
            prop_assert_eq!(unpacked(&file, piece, room), (members.concat(), Ok(())));
        }

        #[test]
        fn any_octets_end_in_an_error_or_not_and_the_same_in_pieces(
            mut file in proptest::collection::vec(any::<u8>(), 0..400),
            is_begun in any::<bool>(),
        ) {
            if is_begun {
                file.splice(..file.len().min(3), START);
            }
            let whole = unpacked(&file, file.len().max(1), 1 << 16);
            let pieces = unpacked(&file, 1, 7);
            prop_assert_eq!(whole.1, pieces.1);
        }
    }

    #[test]
    fn every_field_that_a_header_can_have_is_passed_over() {
        let data = b"some octets";
        for flags in 0..8 {
            let mut builder = GzBuilder::new();
            if flags & 1 != 0 {
                builder = builder.extra("xx\0yy");
            }
            if flags & 2 != 0 {
                builder = builder.filename("a name");
            }
            if flags & 4 != 0 {
                builder = builder.comment("a word");
            }
            let file = packed(data, builder);
            assert_eq!(unpacked(&file, 3, 5), (data.to_vec(), Ok(())), "{flags}");
        }
        // flate2 writes no checksum of the header, and no empty field.
        let mut file = plain(data);
        file[3] = HAS_CRC | HAS_EXTRA;
        file.splice(10..10, [0, 0, 0xab, 0xcd]);
        assert_eq!(unpacked(&file, 1, 5), (data.to_vec(), Ok(())));
    }

    #[test]
    fn a_file_that_is_cut_off_gives_what_was_there_and_says_where_it_ends() {
        let data: Vec<u8> = (0..400_u16).flat_map(u16::to_be_bytes).collect();
        let two = [plain(&data), plain(&data)].concat();
        for len in 0..two.len() {
            let (all, outcome) = unpacked(&two[..len], 50, 100);
            assert!(data.repeat(2).starts_with(&all), "{len}");
            match len {
                _ if len == two.len() / 2 => assert_eq!(outcome, Ok(())),
                _ => assert_eq!(outcome, fails(len, ErrorKind::CutOff), "{len}"),
            }
            // The trailer is not needed for the data.
            if len >= two.len() / 2 - TRAILER {
                assert!(all.len() >= data.len(), "{len}");
            }
        }
    }

    #[test]
    fn what_is_damaged_is_named_with_its_place_behind_what_is_whole() {
        let data = [7; 100];
        let good = plain(&data);
        let end = good.len();
        let damaged = |at: usize, octet: u8| {
            let mut file = good.clone();
            file[at] ^= octet;
            unpacked(&file, 9, 33)
        };
        let all = data.to_vec();
        assert_eq!(
            damaged(end - 8, 1),
            (all.clone(), fails(end - 8, ErrorKind::Checksum))
        );
        assert_eq!(
            damaged(end - 1, 1),
            (all.clone(), fails(end - 8, ErrorKind::Length))
        );
        assert_eq!(damaged(2, 1), (Vec::new(), fails(0, ErrorKind::NoMember)));
        // A block of a kind that deflate does not have.
        let (_, outcome) = damaged(10, 4);
        assert!(
            matches!(
                outcome,
                Err(Error {
                    kind: ErrorKind::Deflate,
                    ..
                })
            ),
            "{outcome:?}"
        );
        let behind = [&good[..], b"\0\0x"].concat();
        assert_eq!(
            unpacked(&behind, 9, 33),
            (all.clone(), fails(end + 2, ErrorKind::NoMember))
        );
        let behind = [&good[..], b"\x1f\x8bx"].concat();
        assert_eq!(
            unpacked(&behind, 9, 33),
            (all, fails(end, ErrorKind::NoMember))
        );
    }

    #[test]
    fn two_octets_tell_gzip() {
        assert_eq!(is_gzip(&[]), None);
        assert_eq!(is_gzip(&[0x1f]), None);
        assert_eq!(is_gzip(&[0xa1]), Some(false));
        assert_eq!(is_gzip(&[0x1f, 0x8b]), Some(true));
        assert_eq!(is_gzip(&[0x1f, 0x8c, 0]), Some(false));
    }
}
