//! Finds the dialect of a packet of version 4 or 5.
//!
//! OpenBSD 4.4 and DragonFly send v4. Only DragonFly has states of 300 octets. The header counts
//! the states, so the packet's length tells 300 octets from 240. DragonFly 2 and 3 send 240 octets,
//! as OpenBSD 4.4 does. [`is_dragonfly`] knows their states by values that OpenBSD 4.4 never sends.
//!
//! OpenBSD 4.5, OpenBSD 4.6 and FreeBSD send v5. Their states differ in size, and no field tells
//! the size.
//!
//! So the packet is walked once for each size, 240 and 242 octets. The walk of the right size ends
//! at an EOF subheader. That subheader ends where `len` says, or twenty octets earlier (OpenBSD
//! 4.5, FreeBSD 9). The right walk also finds an address family and a direction in each state.
//!
//! FreeBSD 14 and 15 gave their states actions of their own. A walk of the wrong size can meet the
//! numbers of these actions by chance. So they count only in the walk that is believed.

use byteorder::{BigEndian, ByteOrder};

use super::dialect::Dialect;
use super::error::{HEADER, SUBHEADER};
use super::message::{Action, Compressed};
use super::peer::STATE_MAX;
use super::state::State;

/// Octets of `struct pfsync_eof` after EOF in OpenBSD 4.5 and FreeBSD 9.
const EOF_DATA: usize = 20;

/// IP protocol number of TCP.
const TCP: u8 = 6;
/// AF_INET6 of DragonFly; OpenBSD's is 24.
const DRAGONFLY_INET6: u8 = 28;
/// PF_TCPS_PROXY_SRC on every system but DragonFly. DragonFly's TCPS_TIME_WAIT has the same number.
const PROXY_SRC: u8 = 11;

/// The dialect of a v4 packet of which the capture cut `missing` octets off.
pub(super) fn v4(packet: &[u8], missing: usize, remembered: Option<Dialect>) -> Dialect {
    let (Some(&[number, count]), Some(body)) = (packet.get(2..4), packet.get(HEADER..)) else {
        return Dialect::V4;
    };
    let count = usize::from(count);
    let action = Action::of_flat(number);
    let is_dragonfly = match action {
        Some(Action::Insert | Action::Update | Action::Delete) => {
            let size_of = |dialect: Dialect| Action::Insert.size_in(dialect);
            if count > 0 && body.len() + missing == size_of(Dialect::DragonFly4) * count {
                return Dialect::DragonFly4;
            }
            let states = body.chunks_exact(size_of(Dialect::DragonFly2)).take(count);
            let mut states = states.filter_map(|octets| State::new(Dialect::DragonFly2, octets));
            states.find_map(|state| is_dragonfly(&state, action == Some(Action::Insert)))
        }
        Some(Action::UpdateCompressed) => {
            let size = Action::UpdateCompressed.size_in(Dialect::DragonFly2);
            let mut updates = body.chunks_exact(size).take(count);
            let is_it = |octets| Compressed::read(Dialect::DragonFly2, octets).is_ok_and(is_beyond);
            updates.any(is_it).then_some(true)
        }
        _ => None,
    };
    let is_full = matches!(
        action,
        Some(Action::Insert | Action::Update | Action::Delete)
    );
    match (is_dragonfly, remembered) {
        (Some(false), _) => Dialect::V4,
        // A packet without states reads alike in both dialects of DragonFly.
        (_, Some(Dialect::DragonFly4)) if !is_full => Dialect::DragonFly4,
        (Some(true), _) | (None, Some(Dialect::DragonFly2 | Dialect::DragonFly4)) => {
            Dialect::DragonFly2
        }
        (None, _) => Dialect::V4,
    }
}

/// Whether a v4 state of 240 octets is DragonFly's; `None` if the state does not show it.
///
/// A SYN makes a TCP state, and the kernel sends that state while it is SYN_SENT:CLOSED
/// (if_pfsync.c, `pfsync_insert_state`). The two systems number these two states differently. On
/// OpenBSD the side that answers is never proxied.
fn is_dragonfly(state: &State<'_>, is_insert: bool) -> Option<bool> {
    let (src, dst) = (state.src().state(), state.dst().state());
    let is_tcp = state.proto() == TCP;
    match (is_tcp && is_insert, src, dst) {
        (true, 2, 0) => return Some(false),
        (true, 3, 1) => return Some(true),
        _ => {}
    }
    let is_other =
        state.af_number() == DRAGONFLY_INET6 || is_tcp && (src > STATE_MAX || dst >= PROXY_SRC);
    is_other.then_some(true)
}

/// Whether an UPD_C has a peer state that OpenBSD 4.4 never sends.
fn is_beyond(update: Compressed<'_>) -> bool {
    update.src.state() > STATE_MAX || update.dst.state() >= PROXY_SRC
}

/// What a walk found that took one size of states for granted.
#[derive(Clone, Copy, Default)]
struct Walk {
    /// Octets after EOF, if the walk came to one.
    after_eof: Option<usize>,
    /// Whole states whose values make sense.
    sound: usize,
    /// Whole states whose values make no sense.
    unsound: usize,
    /// Dialect of FreeBSD's later states, if there are any.
    newer: Option<Dialect>,
}

impl Walk {
    /// Orders walks by how far they are believed: an end in the right place comes first, then
    /// states that make sense.
    fn belief(&self) -> (bool, bool, usize) {
        let ends = matches!(self.after_eof, Some(0 | EOF_DATA));
        (ends && self.unsound == 0, self.unsound == 0, self.sound)
    }
}

/// How sure a dialect is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Evidence {
    /// The packet itself showed it.
    Packet,
    /// The packet fits the dialect, or its sender used the dialect before.
    Likely,
    /// Nothing shows the dialect: the packet reads alike in each v5, and its sender was not heard
    /// before.
    Nothing,
}

/// The dialect of a v5 packet of `len` octets, of which `packet` was captured, and what shows it.
pub(super) fn v5(packet: &[u8], len: usize, remembered: Option<Dialect>) -> (Dialect, Evidence) {
    let certain = |is_certain| match is_certain {
        true => Evidence::Packet,
        false => Evidence::Likely,
    };
    let remembered = remembered.filter(|dialect| dialect.version() == 5);
    let openbsd = walk(packet, len, Dialect::OpenBsd45);
    if openbsd.sound + openbsd.unsound == 0 && openbsd.newer.is_none() {
        // The packet has no states, so nothing in it depends on the dialect. Of unknown senders
        // FreeBSD is the likelier one today.
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
        // The capture cut the EOF off. The sender keeps its dialect from before if that is
        // FreeBSD's.
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
