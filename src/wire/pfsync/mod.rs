//! pfsync packets: what dialect, which messages.
//!
//! ```text
//! v2      version | af | action | count                                     then count messages
//! v3, v4  version | af | action | count | pf_chksum[16]                     then count messages
//! v5, v6  version | pad | len u16 | pfcksum[16]      then subheaders, each before its messages:
//!         v5: action | pad | count u16               v6: action | len / 4 | count u16
//! ```
//! [`decode`] walks a packet by the lengths on the wire and hands each message to the caller as a
//! view of the packet's octets. It is total: any octets give messages, or messages and then one
//! [`Error`] that says what was wrong and where. Nothing is allocated.
//!
//! One message that makes no sense is passed over and the rest is read, as the kernels do
//! (`pfsync_in_ins`: badval); a length that makes no sense ends the packet.
//!
//! Sources: sys/net/if_pfsync.h and if_pfsync.c (`pfsync_input`) of the systems in the dialects'
//! files.

#![allow(
    clippy::indexing_slicing,
    reason = "views are cut to their layout's length when made"
)]

mod detect;
mod dragonfly;
mod freebsd;
mod layout;
mod message;
mod old;
mod openbsd;
mod peer;
pub mod request;
mod section;
#[cfg(test)]
pub(crate) mod tests;
mod values;

use detect::Evidence;
use std::fmt;

use byteorder::{BigEndian, ByteOrder};

pub use layout::State;
pub use message::{Action, Bus, BusStatus, Clear, Compressed, Message, Tdb};
pub use peer::{OTHER_STATES, Peer, SCTP_STATES, Scrub, TCP_STATES};
pub use values::Values;

use crate::state::StateId;
use layout::Layout;
use section::{Section, Walked};

/// Octets of the header of v2.
const HEADER_V2: usize = 4;
/// Octets of the header of every later version.
const HEADER: usize = 20;
/// Octets of a subheader.
const SUBHEADER: usize = 4;

/// A dialect: who writes states how. The version octet alone does not tell: v5 has two sizes
/// of a state, and v6 grew without a new number.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Dialect {
    /// OpenBSD 3.5 to 3.8, FreeBSD 5.3 to 6.
    V2,
    /// OpenBSD 3.9 to 4.3, NetBSD, FreeBSD 7 and 8.
    V3,
    /// OpenBSD 4.4.
    V4,
    /// OpenBSD 4.5 and 4.6: v5 with states of 240 octets.
    OpenBsd45,
    /// FreeBSD 9: v5 with states of 242 octets and twenty octets after EOF.
    FreeBsd9,
    /// FreeBSD 10 to 13, and later ones asked to: v5 with states of 242 octets.
    FreeBsd1301,
    /// FreeBSD 14: v5 with states of 277 octets.
    FreeBsd1400,
    /// FreeBSD 15: v5 with states of 360 octets.
    FreeBsd1500,
    /// OpenBSD 4.7 and later.
    OpenBsd47,
    /// DragonFly 2 and 3: v4 with states of 240 octets and TCP states of its own numbers.
    DragonFly2,
    /// DragonFly 4.0 and later: likewise with states of 300 octets.
    DragonFly4,
}

impl Dialect {
    /// Its number where dialects are numbered, from 1 up; 0 stands for none.
    pub fn number(self) -> u8 {
        let place = Self::ALL.iter().position(|other| *other == self);
        place
            .and_then(|place| u8::try_from(place + 1).ok())
            .unwrap_or(0)
    }

    /// Every dialect.
    pub const ALL: &'static [Self] = &[
        Self::V2,
        Self::V3,
        Self::V4,
        Self::OpenBsd45,
        Self::FreeBsd9,
        Self::FreeBsd1301,
        Self::FreeBsd1400,
        Self::FreeBsd1500,
        Self::OpenBsd47,
        // Keep files number dialects by their place here: new ones come last.
        Self::DragonFly2,
        Self::DragonFly4,
    ];

    /// What output calls it: the protocol version, then the first system that spoke it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::V2 => "v2",
            Self::V3 => "v3",
            Self::V4 => "v4",
            Self::OpenBsd45 => "v5-openbsd45",
            Self::FreeBsd9 => "v5-freebsd9",
            Self::FreeBsd1301 => "v5-freebsd1301",
            Self::FreeBsd1400 => "v5-freebsd1400",
            Self::FreeBsd1500 => "v5-freebsd1500",
            Self::OpenBsd47 => "v6",
            Self::DragonFly2 => "v4-dragonfly2",
            Self::DragonFly4 => "v4-dragonfly4",
        }
    }

    /// The version octet.
    pub const fn version(self) -> u8 {
        match self {
            Self::V2 => 2,
            Self::V3 => 3,
            Self::V4 | Self::DragonFly2 | Self::DragonFly4 => 4,
            Self::OpenBsd47 => 6,
            _ => 5,
        }
    }

    fn layout(self) -> &'static Layout {
        match self {
            Self::V2 => &old::V2,
            Self::V3 => &old::V3,
            Self::V4 | Self::OpenBsd45 | Self::DragonFly2 => &openbsd::V4,
            Self::DragonFly4 => &dragonfly::V4,
            Self::FreeBsd9 | Self::FreeBsd1301 => &freebsd::V1301,
            Self::FreeBsd1400 => &freebsd::V1400,
            Self::FreeBsd1500 => &freebsd::V1500,
            Self::OpenBsd47 => &openbsd::V6,
        }
    }

    /// Whether TCP states have DragonFly's numbers, one higher than the others'.
    #[inline(always)]
    pub const fn is_dragonfly(self) -> bool {
        matches!(self, Self::DragonFly2 | Self::DragonFly4)
    }

    /// Whether it is a FreeBSD of version 5, some of which track SCTP.
    pub const fn is_freebsd(self) -> bool {
        matches!(
            self,
            Self::FreeBsd9 | Self::FreeBsd1301 | Self::FreeBsd1400 | Self::FreeBsd1500
        )
    }

    /// Whether `state_flags` has PFSTATE_PFLOW: OpenBSD 4.5 and later, FreeBSD 9. Where it has
    /// not, every state is one to export.
    pub const fn carries_pflow(self) -> bool {
        matches!(self, Self::OpenBsd45 | Self::FreeBsd9 | Self::OpenBsd47)
    }

    /// Whether INS and full UPD were built when the packet was sent (v5, v6). Then an INS has
    /// counters, and a full UPD comes only when asked for. Before, an INS was all zero, and each
    /// packet of a state made a full UPD on pfsync0 (if_pfsync.c, `pfsync_pack_state`).
    pub const fn is_modern(self) -> bool {
        self.version() >= 5
    }

    /// Whether PFTM number `timeout` of a state of protocol `proto` marks it as dead: PFTM_MAX
    /// and beyond. FreeBSD 14 put SCTP's at 20 to 24, and may send them in the 242-octet state
    /// that older releases share; those have no SCTP timeouts and use 20 to 22 for the dead.
    pub const fn is_dead(self, timeout: u8, proto: u8) -> bool {
        match self {
            Self::FreeBsd1400 | Self::FreeBsd1500 => timeout >= 25,
            Self::FreeBsd1301 if proto == 132 => timeout >= 25,
            _ => timeout >= 20,
        }
    }
}

/// What a value of a message can be wrong in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Invalid {
    /// Neither AF_INET nor any system's AF_INET6.
    Af,
    /// Creator 0.
    Creatorid,
    /// Neither PF_IN nor PF_OUT.
    Direction,
    /// A peer state that the protocol does not have in its dialect.
    PeerState,
}

impl Invalid {
    const fn name(self) -> &'static str {
        match self {
            Self::Af => "address family",
            Self::Creatorid => "creatorid",
            Self::Direction => "direction",
            Self::PeerState => "peer state",
        }
    }
}

/// Why a packet was not read whole. Offsets are octets from the pfsync header's start.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Error {
    /// Shorter than a header.
    Header {
        /// Octets there are.
        have: usize,
    },
    /// Version 1: OpenBSD 3.3 and 3.4 sent kernel memory, pointers included.
    OldVersion,
    /// A version that is none.
    Version(u8),
    /// `len` is less than a header, or more than the packet has.
    Length {
        /// What the header says.
        len: usize,
        /// Octets there are.
        have: usize,
    },
    /// A subheader with no room, or in v6 with a count or a length of 0.
    Subheader {
        /// Where it stands.
        offset: usize,
    },
    /// An action that v5 or older does not have: without its size the rest cannot be found.
    Action {
        /// The number.
        action: u8,
        /// Where its subheader, or header, stands.
        offset: usize,
    },
    /// Messages that reach beyond the packet's end.
    Messages {
        /// Where the first that does not fit stands.
        offset: usize,
        /// Octets that were needed.
        need: usize,
        /// Octets there are.
        have: usize,
    },
    /// v6: messages shorter than their action's.
    Size {
        /// The action.
        action: u8,
        /// Octets of each, by the subheader.
        len: usize,
    },
    /// A message with a value that means nothing; it was passed over.
    Value {
        /// Which.
        field: Invalid,
        /// Where the message stands.
        offset: usize,
    },
    /// The capture cut the packet off; what is whole was read.
    Cut {
        /// Octets missing.
        missing: usize,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Header { have } => write!(f, "{have} octets are no pfsync header"),
            Self::OldVersion => write!(f, "version 1 (OpenBSD 3.3 and 3.4) cannot be read"),
            Self::Version(version) => write!(f, "unknown version {version}"),
            Self::Length { len, have } => write!(f, "header says {len} octets, there are {have}"),
            Self::Subheader { offset } => write!(f, "bad subheader at {offset}"),
            Self::Action { action, offset } => write!(f, "unknown action {action} at {offset}"),
            Self::Messages { offset, need, have } => {
                write!(
                    f,
                    "message at {offset} needs {need} octets, there are {have}"
                )
            }
            Self::Size { action, len } => {
                write!(
                    f,
                    "messages of {len} octets are too short for action {action}"
                )
            }
            Self::Value { field, offset } => {
                write!(f, "bad {} in the message at {offset}", field.name())
            }
            Self::Cut { missing } => write!(f, "{missing} octets were not captured"),
        }
    }
}

/// What a packet turned out to be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Outcome {
    /// Whose dialect; `None` if the version octet says none this program reads.
    pub dialect: Option<Dialect>,
    /// Whether the packet itself showed that. Then it is remembered for the sender's later packets.
    /// A v5 packet without states does not show it.
    pub is_certain: bool,
    /// Whether all of it was read.
    pub result: Result<(), Error>,
    /// Where to go on, if the listener [paused](Listener::is_paused).
    pub paused: Option<Position>,
}

/// A place between two messages of a packet.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Position {
    /// Octets before the subheader of the section; 0 is the beginning of the packet.
    section: u32,
    /// Messages of the section that were handed out.
    messages: u32,
}

impl Position {
    /// After so many messages of the section whose subheader stands at `section`.
    fn new(section: usize, messages: usize) -> Self {
        // A packet has 65535 octets at most.
        let narrow = |number| u32::try_from(number).unwrap_or(u32::MAX);
        Self {
            section: narrow(section),
            messages: narrow(messages),
        }
    }

    fn section(self) -> usize {
        usize::try_from(self.section).unwrap_or(usize::MAX)
    }

    fn messages(self) -> usize {
        usize::try_from(self.messages).unwrap_or(usize::MAX)
    }
}

impl Outcome {
    fn failed(error: Error) -> Self {
        Self {
            dialect: None,
            is_certain: false,
            result: Err(error),
            paused: None,
        }
    }
}

/// Who is told of the messages in a packet.
pub trait Listener {
    /// A packet of version 5 begins whose sender is not known. Its messages come with one of
    /// several dialects, in all of which they read alike.
    fn any_v5(&mut self) {}

    /// Messages of one action come, written in `dialect`: whether it wants to be told what is
    /// [`Self::coming`].
    fn begin(&mut self, dialect: Dialect, action: Action) -> bool {
        let _ = (dialect, action);
        false
    }

    /// One of the next [`AHEAD`] messages, which are of `action`, is about this state, unless it makes
    /// no sense. Memory may fetch the state now, together with the others.
    fn coming(&mut self, action: Action, id: StateId) {
        let _ = (action, id);
    }

    /// The listener was told of all of them. Memory may fetch what the first look led to.
    fn told(&mut self, action: Action) {
        let _ = action;
    }

    /// A message that makes sense.
    fn message(&mut self, dialect: Dialect, message: Message<'_>);

    /// Whether the message that just came must be dealt with before the next. This is asked after a
    /// CLR, because it may end any number of states.
    fn is_paused(&self) -> bool {
        false
    }

    /// The messages since [`Self::begin`], which were of `action`, are over.
    fn end(&mut self, action: Action) {
        let _ = action;
    }
}

/// Most messages that a [`Listener`] is told of before they come.
pub const AHEAD: usize = 8;

/// A [`Listener`] that is a closure.
struct Each<F>(F);

impl<F: FnMut(Dialect, Message<'_>)> Listener for Each<F> {
    fn message(&mut self, dialect: Dialect, message: Message<'_>) {
        self.0(dialect, message);
    }
}

/// [`decode_to`] with a closure that is called for every message that makes sense.
pub fn decode(
    packet: &[u8],
    missing: usize,
    remembered: Option<Dialect>,
    each: &mut impl FnMut(Dialect, Message<'_>),
) -> Outcome {
    let from = Position::default();
    decode_to(packet, missing, remembered, from, &mut Each(each))
}

/// Reads `packet`, which begins with the pfsync header, and tells `each` of every message that
/// makes sense. The capture cut `missing` octets off it. `remembered` is what this sender's earlier
/// v4 or v5 packets turned out to be. It begins at `from`: the beginning, or where it paused.
#[inline(always)] // there is one hot caller
pub fn decode_to(
    packet: &[u8],
    missing: usize,
    remembered: Option<Dialect>,
    from: Position,
    each: &mut impl Listener,
) -> Outcome {
    let Some(&version) = packet.first() else {
        return Outcome::failed(Error::Header { have: 0 });
    };
    match version {
        1 => Outcome::failed(Error::OldVersion),
        2..=4 => decode_flat(version, packet, missing, remembered, from, each),
        5 | 6 => decode_sections(version, packet, missing, remembered, from, each),
        _ => Outcome::failed(Error::Version(version)),
    }
}

/// Keeps the first error of a packet.
#[derive(Default)]
struct FirstError(Option<Error>);

impl FirstError {
    fn note(&mut self, error: Error) {
        self.0.get_or_insert(error);
    }

    fn result(self) -> Result<(), Error> {
        self.0.map_or(Ok(()), Err)
    }
}

/// What is wrong with a packet of `have` octets, fewer than its header has.
fn no_header(have: usize, missing: usize) -> Error {
    match missing {
        0 => Error::Header { have },
        _ => Error::Cut { missing },
    }
}

/// v2 to v4: one action, `count` messages of its size. CLR and BUS carry one message and a count
/// of 0 (`pfsync_clear_states`, `pfsync_send_bus` of OpenBSD 4.4).
fn decode_flat(
    version: u8,
    packet: &[u8],
    missing: usize,
    remembered: Option<Dialect>,
    from: Position,
    each: &mut impl Listener,
) -> Outcome {
    let (dialect, header) = match version {
        2 => (Dialect::V2, HEADER_V2),
        3 => (Dialect::V3, HEADER),
        _ => (detect::v4(packet, missing, remembered), HEADER),
    };
    let outcome = |result| Outcome {
        dialect: Some(dialect),
        is_certain: true,
        result,
        paused: None,
    };
    if packet.len() < header {
        return outcome(Err(no_header(packet.len(), missing)));
    }
    let (number, count) = (packet[2], usize::from(packet[3]));
    let Some(action) = Action::of_flat(number) else {
        return outcome(Err(Error::Action {
            action: number,
            offset: 0,
        }));
    };
    let count = if matches!(action, Action::Clear | Action::Bus) {
        1
    } else {
        count
    };
    let mut errors = FirstError::default();
    let section = Section {
        action,
        number,
        offset: header,
        size: action.size_in(dialect),
        count,
    };
    // What may pause, CLR, is alone in its packet.
    let section = if from == Position::default() {
        section
    } else {
        section.after(from.messages())
    };
    let walked = section.messages(dialect, packet, missing, &mut errors, each);
    Outcome {
        paused: match walked {
            Walked::Paused { messages } => Some(Position::new(0, messages)),
            Walked::Whole | Walked::Cut => None,
        },
        ..outcome(errors.result())
    }
}

/// v5 and v6: subheaders and their messages until `len` is used up.
#[inline(always)]
fn decode_sections(
    version: u8,
    packet: &[u8],
    missing: usize,
    remembered: Option<Dialect>,
    from: Position,
    each: &mut impl Listener,
) -> Outcome {
    if packet.len() < HEADER {
        return Outcome::failed(no_header(packet.len(), missing));
    }
    let len = usize::from(BigEndian::read_u16(&packet[2..]));
    let have = packet.len().saturating_add(missing);
    if len < HEADER || len > have {
        return Outcome::failed(Error::Length { len, have });
    }
    let missing = len.saturating_sub(packet.len());
    let packet = &packet[..len - missing];
    let (dialect, evidence) = if version == 6 {
        (Dialect::OpenBsd47, Evidence::Packet)
    } else {
        detect::v5(packet, len, remembered)
    };
    if evidence == Evidence::Nothing {
        each.any_v5();
    }
    let mut errors = FirstError::default();
    let mut offset = from.section().max(HEADER);
    let mut done = from.messages();
    let mut paused = None;
    while offset < len {
        match Section::at(dialect, packet, missing, offset) {
            Ok(Some(mut section)) => {
                if done > 0 {
                    section = section.after(done);
                }
                match section.messages(dialect, packet, missing, &mut errors, each) {
                    Walked::Whole => (offset, done) = (section.end(), 0),
                    Walked::Cut => break,
                    Walked::Paused { messages } => {
                        paused = Some(Position::new(offset, done + messages));
                        break;
                    }
                }
            }
            Ok(None) => break, // EOF
            Err(error) => {
                errors.note(error);
                break;
            }
        }
    }
    Outcome {
        dialect: Some(dialect),
        is_certain: evidence == Evidence::Packet,
        result: errors.result(),
        paused,
    }
}
