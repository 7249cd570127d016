//! The messages between this program and the process that holds /dev/pf.
//!
//! ```text
//! kind, 4 octets | octets that follow, 4 | those octets
//! ```
//! | kind        | number | octets that follow                                            |
//! |-------------|--------|---------------------------------------------------------------|
//! | please tell | 1      | states, 12 each: id 8, creatorid 4                            |
//! | a state     | 2, 3   | as OpenBSD's or FreeBSD's pf told it                          |
//! | gone        | 4      | a state that pf does not know, 12                             |
//! | read        | 5      | all states were read: how many 8, nanoseconds it took 8       |
//! | failed      | 6      | why what was asked before has no answer, text                 |
//!
//! Numbers are big-endian. Nothing longer than [`MAX_OCTETS`] is taken, and nothing of another
//! length than its kind has.

use byteorder::{BigEndian, ByteOrder};

use super::Form;
use crate::state::StateId;

/// Octets of kind and length.
const HEADER: usize = 8;
/// Octets of a state's id and creatorid.
const ID: usize = 12;
/// Most states of one request.
pub const MAX_IDS: usize = 1024;
/// Longest text.
const MAX_TEXT: usize = 512;
/// Longest message, without its header.
pub const MAX_OCTETS: usize = MAX_IDS * ID;

const ASK: u32 = 1;
const STATE_OPENBSD: u32 = 2;
const STATE_FREEBSD: u32 = 3;
const GONE: u32 = 4;
const READ: u32 = 5;
const FAILED: u32 = 6;

/// What the process that holds /dev/pf says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Answer<'a> {
    /// A state.
    State(Form, &'a [u8]),
    /// A state that pf does not know any more.
    Gone(StateId),
    /// All states were read, for all that were asked for before.
    Read {
        /// How many there are.
        states: u64,
        /// How long it took.
        nanos: u64,
    },
    /// What was asked before, and not answered, will not be.
    Failed(&'a str),
}

/// Octets that are no message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Nonsense;

/// The first message of some octets.
struct Split<'a> {
    kind: u32,
    message: &'a [u8],
    /// Octets that it takes, its header included.
    taken: usize,
}

/// The first message, or `None` until it is whole.
fn split(octets: &[u8]) -> Result<Option<Split<'_>>, Nonsense> {
    let Some(header) = octets.get(..HEADER) else {
        return Ok(None);
    };
    let kind = BigEndian::read_u32(header);
    let len = usize::try_from(BigEndian::read_u32(&header[4..])).unwrap_or(usize::MAX);
    if !is_length_of(kind, len) {
        return Err(Nonsense);
    }
    let message = octets.get(HEADER..HEADER + len);
    Ok(message.map(|message| Split {
        kind,
        message,
        taken: HEADER + len,
    }))
}

/// Whether a message of this kind can have so many octets.
fn is_length_of(kind: u32, len: usize) -> bool {
    match kind {
        ASK => len > 0 && len <= MAX_IDS * ID && len.is_multiple_of(ID),
        STATE_OPENBSD => len == Form::OpenBsd.octets(),
        STATE_FREEBSD => len == Form::FreeBsd.octets(),
        GONE => len == ID,
        READ => len == 16,
        FAILED => len <= MAX_TEXT,
        _ => false,
    }
}

fn begin(out: &mut Vec<u8>, kind: u32, len: usize) {
    out.extend_from_slice(&kind.to_be_bytes());
    // Nothing that is written is longer than MAX_OCTETS.
    out.extend_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes());
}

fn write_id(out: &mut Vec<u8>, id: StateId) {
    out.extend_from_slice(&id.id.to_be_bytes());
    out.extend_from_slice(&id.creatorid.to_be_bytes());
}

fn read_id(octets: &[u8]) -> Option<StateId> {
    let (id, creatorid) = octets.get(..ID)?.split_at(8);
    Some(StateId {
        id: BigEndian::read_u64(id),
        creatorid: BigEndian::read_u32(creatorid),
    })
}

/// Appends requests for `ids`.
pub fn write_requests(ids: &[StateId], out: &mut Vec<u8>) {
    for ids in ids.chunks(MAX_IDS) {
        begin(out, ASK, ids.len() * ID);
        for id in ids {
            write_id(out, *id);
        }
    }
}

/// Reads the first request in `octets` into `ids`: how many octets it took, or `None` until it is
/// whole.
///
/// # Errors
/// It is no request.
pub fn read_request(octets: &[u8], ids: &mut Vec<StateId>) -> Result<Option<usize>, Nonsense> {
    match split(octets)? {
        Some(split) if split.kind == ASK => {
            ids.extend(split.message.chunks_exact(ID).filter_map(read_id));
            Ok(Some(split.taken))
        }
        Some(_) => Err(Nonsense),
        None => Ok(None),
    }
}

impl<'a> Answer<'a> {
    /// Appends it.
    pub fn write(&self, out: &mut Vec<u8>) {
        match *self {
            Self::State(form, octets) => {
                let kind = match form {
                    Form::OpenBsd => STATE_OPENBSD,
                    Form::FreeBsd => STATE_FREEBSD,
                };
                begin(out, kind, octets.len());
                out.extend_from_slice(octets);
            }
            Self::Gone(id) => {
                begin(out, GONE, ID);
                write_id(out, id);
            }
            Self::Read { states, nanos } => {
                begin(out, READ, 16);
                out.extend_from_slice(&states.to_be_bytes());
                out.extend_from_slice(&nanos.to_be_bytes());
            }
            Self::Failed(text) => {
                let ends = text.char_indices().map(|(at, char)| at + char.len_utf8());
                let end = ends.take_while(|end| *end <= MAX_TEXT).last();
                let text = &text.as_bytes()[..end.unwrap_or(0)];
                begin(out, FAILED, text.len());
                out.extend_from_slice(text);
            }
        }
    }

    /// Reads the first answer in `octets`, and how many octets it took; `None` until it is whole.
    ///
    /// # Errors
    /// It is no answer.
    pub fn read(octets: &'a [u8]) -> Result<Option<(Self, usize)>, Nonsense> {
        let Some(split) = split(octets)? else {
            return Ok(None);
        };
        let message = split.message;
        let answer = match split.kind {
            STATE_OPENBSD => Self::State(Form::OpenBsd, message),
            STATE_FREEBSD => Self::State(Form::FreeBsd, message),
            GONE => Self::Gone(read_id(message).ok_or(Nonsense)?),
            READ => Self::Read {
                states: BigEndian::read_u64(message),
                nanos: BigEndian::read_u64(&message[8..]),
            },
            FAILED => Self::Failed(std::str::from_utf8(message).map_err(|_| Nonsense)?),
            _ => return Err(Nonsense),
        };
        Ok(Some((answer, split.taken)))
    }
}
