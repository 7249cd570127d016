//! States as pf gives them through /dev/pf: the structs that ioctl(2) copies out.
//!
//! ```text
//! OpenBSD  DIOCGETSTATE     struct pfsync_state     264 octets: as on the wire in v6
//! FreeBSD  DIOCGETSTATESV2  struct pf_state_export  384 octets: rewritten as the 360 of FreeBSD 15
//! ```
//! What the kernel writes is read like what comes from the network: every octet may be anything,
//! and gives a state or a [`Problem`].
//!
//! Sources: sys/net/pfvar.h and sys/net/pf_ioctl.c of OpenBSD; sys/net/pfvar.h and
//! `pf_state_export` in sys/netpfil/pf/pf_ioctl.c of FreeBSD 14.

#![allow(
    clippy::indexing_slicing,
    reason = "lengths are compared before, and every place lies inside them: tests walk all"
)]

mod export;
pub mod frames;
mod room;

use byteorder::{BigEndian, ByteOrder, NativeEndian};

use crate::state::{Af, StateId};
use crate::wire::pfsync::{Dialect, State};
pub use room::{Problem, Room};

/// What a system's pf tells states in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Form {
    /// `struct pfsync_state` of OpenBSD.
    OpenBsd,
    /// `struct pf_state_export` of FreeBSD.
    FreeBsd,
}

impl Form {
    /// All of them.
    pub const ALL: &'static [Self] = &[Self::OpenBsd, Self::FreeBsd];

    /// Octets of a state.
    pub const fn octets(self) -> usize {
        match self {
            Self::OpenBsd => 264,
            Self::FreeBsd => export::LEN,
        }
    }

    /// Writes which state is asked for, where [`Self::state_id`] reads it, if there is room.
    pub fn name(self, id: StateId, octets: &mut [u8]) {
        let (at, creatorid) = self.places();
        if octets.len() >= self.octets() {
            BigEndian::write_u64(&mut octets[at..], id.id);
            BigEndian::write_u32(&mut octets[creatorid..], id.creatorid);
        }
    }

    /// Where `id` and `creatorid` are.
    const fn places(self) -> (usize, usize) {
        match self {
            Self::OpenBsd => (0, 236),
            Self::FreeBsd => (export::ID, export::CREATORID),
        }
    }

    /// Which state `octets` are about; `None` if there are too few.
    pub fn state_id(self, octets: &[u8]) -> Option<StateId> {
        let (id, creatorid) = self.places();
        Some(StateId {
            id: BigEndian::read_u64(octets.get(id..id + 8)?),
            creatorid: BigEndian::read_u32(octets.get(creatorid..creatorid + 4)?),
        })
    }
}

/// Reads a state. `stack` is the family of its key STACK, if the state is known: FreeBSD tells
/// only that of the key WIRE, and af-to makes them differ.
///
/// # Errors
/// It is no state.
pub fn read<'a>(
    form: Form,
    octets: &'a [u8],
    stack: Option<Af>,
    room: &'a mut Room,
) -> Result<State<'a>, Problem> {
    read_in::<NativeEndian>(form, octets, stack, room)
}

/// [`read`], of a host whose numbers are `E`.
fn read_in<'a, E: ByteOrder>(
    form: Form,
    octets: &'a [u8],
    stack: Option<Af>,
    room: &'a mut Room,
) -> Result<State<'a>, Problem> {
    let length = Problem::Length { have: octets.len() };
    if octets.len() != form.octets() {
        return Err(length);
    }
    let state = match form {
        Form::OpenBsd => State::new(Dialect::OpenBsd47, octets),
        Form::FreeBsd => {
            export::rewrite::<E>(octets, stack, room)?;
            State::new(Dialect::FreeBsd1500, &room.0)
        }
    };
    let state = state.ok_or(length)?;
    state.check().map_err(Problem::Invalid)?;
    Ok(state)
}

#[cfg(test)]
mod tests;
