//! Which v5 a packet is: OpenBSD 4.5 and 4.6 and FreeBSD share version 5 but not the size of a
//! state, and no field says which (pfsync.md 2.4).
//!
//! The packet is walked once for each size, 240 and 242 octets. The right one ends at an EOF
//! subheader exactly where `len` says, or twenty octets earlier (OpenBSD 4.5, FreeBSD 9), and has
//! an address family and a direction in each state. FreeBSD's later states have actions of their
//! own, but a walk of the wrong size can stumble over their numbers: they count if their walk is
//! the one to believe.

use byteorder::{BigEndian, ByteOrder};

use super::message::Action;
use super::{Dialect, HEADER, SUBHEADER, State};

/// Octets of `struct pfsync_eof` after EOF in OpenBSD 4.5 and FreeBSD 9.
const EOF_DATA: usize = 20;

/// How a walk under one hypothesis went.
#[derive(Clone, Copy, Default)]
struct Walk {
    /// Octets after EOF, if the walk came to one.
    after_eof: Option<usize>,
    /// Whole states with values that mean something.
    sound: usize,
    /// Whole states without.
    unsound: usize,
    /// Dialect of FreeBSD's later states, if there are any.
    newer: Option<Dialect>,
}

impl Walk {
    /// Order of belief: an end in the right place, then states that make sense.
    fn belief(&self) -> (bool, bool, usize) {
        let ends = matches!(self.after_eof, Some(0 | EOF_DATA));
        (ends && self.unsound == 0, self.unsound == 0, self.sound)
    }
}

/// What a dialect is known by.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Evidence {
    /// The packet itself showed it.
    Packet,
    /// The packet fits it, or what its sender spoke before.
    Likely,
    /// Nothing: the packet reads alike in each v5, and its sender was not heard before.
    Nothing,
}

/// The dialect of a v5 packet of which `packet` was captured and which is `len` octets long, and
/// what it is known by.
pub(super) fn v5(packet: &[u8], len: usize, remembered: Option<Dialect>) -> (Dialect, Evidence) {
    let certain = |is_certain| match is_certain {
        true => Evidence::Packet,
        false => Evidence::Likely,
    };
    let remembered = remembered.filter(|dialect| dialect.version() == 5);
    let openbsd = walk(packet, len, Dialect::OpenBsd45);
    if openbsd.sound + openbsd.unsound == 0 && openbsd.newer.is_none() {
        // Nothing here depends on it. FreeBSD is the likelier stranger today.
        return match remembered {
            Some(dialect) => (dialect, Evidence::Likely),
            None => (Dialect::FreeBsd1301, Evidence::Nothing),
        };
    }
    let freebsd = walk(packet, len, Dialect::FreeBsd1301);
    let says_freebsd = match freebsd.belief().cmp(&openbsd.belief()) {
        std::cmp::Ordering::Less => false,
        std::cmp::Ordering::Greater => true,
        std::cmp::Ordering::Equal => remembered != Some(Dialect::OpenBsd45),
    };
    let believed = if says_freebsd { freebsd } else { openbsd };
    let (belief, after_eof) = (believed.belief(), believed.after_eof);
    if let Some(newer) = believed.newer {
        return (newer, certain(belief.0));
    }
    let dialect = match (says_freebsd, after_eof) {
        (false, _) => Dialect::OpenBsd45,
        (true, Some(EOF_DATA)) => Dialect::FreeBsd9,
        (true, Some(_)) => Dialect::FreeBsd1301,
        // Cut off before its EOF: what the sender was before, if it was a FreeBSD.
        (true, None) => match remembered {
            Some(Dialect::FreeBsd9) => Dialect::FreeBsd9,
            _ => Dialect::FreeBsd1301,
        },
    };
    let is_certain = belief.0 && freebsd.belief() != openbsd.belief();
    (dialect, certain(is_certain))
}

/// Walks `packet` as if its states were `dialect`'s.
fn walk(packet: &[u8], len: usize, dialect: Dialect) -> Walk {
    let mut walk = Walk::default();
    let mut offset = HEADER;
    while let Some(subheader) = packet.get(offset..offset + SUBHEADER) {
        offset += SUBHEADER;
        let count = usize::from(BigEndian::read_u16(&subheader[2..]));
        match (Action::of_v5(subheader[0]), subheader[0]) {
            (Some(Action::Eof), _) => {
                walk.after_eof = len.checked_sub(offset);
                return walk;
            }
            (Some(action @ (Action::Insert | Action::Update | Action::Delete)), number) => {
                let dialect = match number {
                    13 | 14 => Dialect::FreeBsd1400,
                    15 | 16 => Dialect::FreeBsd1500,
                    _ => dialect,
                };
                if matches!(dialect, Dialect::FreeBsd1400 | Dialect::FreeBsd1500) {
                    walk.newer = Some(dialect);
                }
                let size = action.size_in(dialect);
                for n in 0..count {
                    let Some(octets) = packet.get(offset + n * size..) else {
                        break;
                    };
                    match State::new(dialect, octets).map(|state| state.check()) {
                        Some(Ok(())) => walk.sound += 1,
                        Some(Err(_)) => walk.unsound += 1,
                        None => break,
                    }
                }
                offset += size * count;
            }
            (Some(action), _) => offset += action.size_in(dialect) * count,
            (None, _) => return walk,
        }
    }
    walk
}
