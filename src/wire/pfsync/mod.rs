//! pfsync packets: what dialect, which messages.
//!
//! ```text
//! v2      version | af | action | count                                     then count messages
//! v3, v4  version | af | action | count | pf_chksum[16]                     then count messages
//! v5, v6  version | pad | len u16 | pfcksum[16]      then subheaders, each before its messages:
//!         v5: action | pad | count u16               v6: action | len / 4 | count u16
//! ```
//! [`decode`] walks a packet by the lengths on the wire and hands each message to the caller as a
//! view of the packet's octets. Any octets are accepted: they give messages, or messages and then
//! one [`Error`] that says what is wrong and where. Nothing is allocated.
//!
//! A message that makes no sense is skipped, and the rest is read, as the kernels do
//! (`pfsync_in_ins`: badval). A length that makes no sense ends the packet.
//!
//! Sources: sys/net/if_pfsync.h and if_pfsync.c (`pfsync_input`) of the systems in the dialects'
//! files.

#![allow(
    clippy::indexing_slicing,
    reason = "views are cut to their layout's length when made"
)]

mod detect;
mod dialect;
mod dragonfly;
mod error;
mod freebsd;
mod layout;
mod listener;
mod message;
mod old;
mod openbsd;
mod peer;
pub mod request;
mod section;
mod state;
#[cfg(test)]
pub(crate) mod tests;
mod values;

use byteorder::{BigEndian, ByteOrder};

pub use dialect::Dialect;
pub use error::{Error, Invalid};
pub use listener::{AHEAD, Listener};
pub use message::{Action, Bus, BusStatus, Clear, Compressed, Message, Tdb};
pub use peer::{OTHER_STATES, Peer, SCTP_STATES, Scrub, TCP_STATES};
pub use state::State;
pub use values::Values;

use detect::Evidence;
use error::{FirstError, HEADER, HEADER_V2, no_header};
use section::{Section, Walked};

/// What a packet turned out to be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Outcome {
    /// The packet's dialect. `None` if this program does not read the version.
    pub dialect: Option<Dialect>,
    /// Whether the packet itself showed the dialect. Then the dialect is remembered for the
    /// sender's later packets. A v5 packet without states does not show it.
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
    /// The place behind `messages` messages of the section whose subheader is at `section`.
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
