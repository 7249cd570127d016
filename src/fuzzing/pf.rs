//! What /dev/pf, and the process that holds it, may say.

use crate::state::{Af, StateId};
use crate::wire::pf::frames::{Answer, MAX_IDS, MAX_OCTETS, read_request, write_requests};
use crate::wire::pf::{self, Form, Room};

/// Octets of kind and length.
const HEADER: usize = 8;

/// Octets are a state that can be read, or none; messages are read as they are written.
pub fn pf(data: &[u8]) {
    let Some(([form, family], octets)) = data.split_first_chunk() else {
        return;
    };
    let form = match form & 1 {
        0 => Form::OpenBsd,
        _ => Form::FreeBsd,
    };
    let stack = match family % 3 {
        0 => None,
        1 => Some(Af::Inet),
        _ => Some(Af::Inet6),
    };
    let mut room = Room::default();
    if let Ok(state) = pf::read(form, octets, stack, &mut room) {
        let values = state.values();
        assert_eq!(Some(values.id), form.state_id(octets));
        assert_ne!(values.id.creatorid, 0);
        let _ = (state.rt_ifname(), state.orig_ifname(), state.queues());
    }
    answers(octets);
    requests(octets);
}

/// Each answer is written as it was read, and none is longer than it may be.
fn answers(mut octets: &[u8]) {
    while let Ok(Some((answer, taken))) = Answer::read(octets) {
        assert!(taken <= HEADER + MAX_OCTETS);
        let mut again = Vec::new();
        answer.write(&mut again);
        let (read, rest) = octets.split_at(taken);
        assert_eq!(again, read);
        octets = rest;
    }
}

/// A request of all that was read asks for the same.
fn requests(mut octets: &[u8]) {
    let mut ids: Vec<StateId> = Vec::new();
    while let Ok(Some(taken)) = read_request(octets, &mut ids) {
        let (read, rest) = octets.split_at(taken);
        let mut again = Vec::new();
        write_requests(&ids, &mut again);
        assert!(ids.len() <= MAX_IDS);
        assert_eq!(again, read);
        ids.clear();
        octets = rest;
    }
}
