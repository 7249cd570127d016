//! The other state of a forwarded connection, asked where it knows what this state does not.
//!
//! ```text
//! first packet --> IN state, id n --> OUT state, id n + 1 --> on its way
//!                  ends as they are inside: its STACK key = the other's STACK key
//! ```
//! pf makes both states while it forwards one packet (pf.c, `pf_create_state`), so their ids follow
//! each other. If several processors forward, a few other ids come between. Nothing else leads from
//! one state to the other. No index is kept, because the partner is found by the ids next to this
//! state's.
//!
//! Both states count the same packets. Both show the same sequence numbers, unless one of them
//! modulates. The messages about the two states leave at different times. So the insert of one may
//! lack the responder's beginning, which the other's counters have.

use super::slot::{KeyPair, Slot};
use super::store::Table;
use crate::accounting::{Head, Position, Sent, TCP};
use crate::state::{Direction, StateId, StateKey};
use crate::time::Uptime;

/// Ids looked at for a partner.
const NEIGHBOURS: u64 = 4;
/// How far apart the sequence numbers of partners may be, octets: the packets of an update that pf
/// sends at once, in the largest segments. Modulated ones are further apart, but one in 65 000.
const NEAR: u32 = 1 << 23;

impl Table {
    /// A packet ends: partners that it told of are known now.
    #[inline(always)]
    pub fn end_packet(&mut self, now: Uptime) {
        if !self.headless.is_empty() {
            self.ask_partners(now);
        }
    }

    #[cold]
    fn ask_partners(&mut self, now: Uptime) {
        let mut headless = std::mem::take(&mut self.headless);
        for id in headless.drain(..) {
            if let Some(place) = self.index.find(id)
                && let Some(partner) = self.find_partner(place)
            {
                self.learn_from_partner(place, partner, now);
            }
        }
        self.headless = headless;
    }

    /// Takes over what the partner of the TCP state at `place` counted and where the peers were then,
    /// if that is the whole of it. Something of the state was estimated.
    fn learn_from_partner(&mut self, place: u32, partner: u32, now: Uptime) {
        let (slot, partner) = (self.slots[place], self.slots[partner]);
        let unknown = Position::UNTRACKED | Position::UNSURE | Position::HEADLESS;
        if slot.counted_by != partner.counted_by
            || partner.marks & unknown != 0
            || !self.settings.counting.has_estimates()
            || !self.is_of_one_sender(&slot)
            || !self.is_of_one_sender(&partner)
        {
            return;
        }
        let (counted, _) = self.total(&partner);
        let ([lo, lo_back], [theirs, theirs_back]) = (slot.seqlo, partner.seqlo);
        let (Some(advance), Some(advance_back), Some(at)) = (
            ahead(lo, theirs),
            ahead(lo_back, theirs_back),
            self.find_estimate(place, slot.counted_by),
        ) else {
            return;
        };
        if counted.went_down(&slot.counts) {
            return;
        }
        let sent = [advance, advance_back].map(|payload| Sent {
            payload,
            ..Sent::default()
        });
        let since = self.estimated(&slot, &counted, sent);
        let share = &mut self.shares[at];
        share.counts = counted.plus(&since).minus(&slot.counts);
        (share.head, share.full) = (Head::default(), now);
        let position = slot.position().completed_by(partner.position());
        self.slots[place].set_position(position);
    }

    /// Whether all that is known of a state was counted by, or well estimated of, one sender.
    fn is_of_one_sender(&self, slot: &Slot) -> bool {
        let mut shares = self.shares_of_slot(slot).map(|at| &self.shares[at]);
        shares.all(|share| {
            share.is_estimate && share.sender == slot.counted_by && !share.is_doubtful()
        }) && !self.is_left_out(slot)
    }

    /// The place of the other state of a connection.
    fn find_partner(&self, place: u32) -> Option<u32> {
        let slot = &self.slots[place];
        let mine = slot.key_pair(&self.keys);
        let neighbours = 1..=NEIGHBOURS;
        let mut places = neighbours.filter_map(|n| {
            let id = match slot.direction {
                Direction::In => slot.id.wrapping_add(n),
                Direction::Out => slot.id.wrapping_sub(n),
            };
            let creatorid = slot.creatorid;
            self.index.find(StateId { id, creatorid })
        });
        places.find(|place| {
            let other = &self.slots[*place];
            other.direction != slot.direction && are_partners(&mine, &other.key_pair(&self.keys))
        })
    }
}

/// Whether two states of different directions have the same ends inside. What is far from an IN
/// state is near to an OUT state.
fn are_partners(one: &KeyPair, other: &KeyPair) -> bool {
    let StateKey { addr, port, .. } = other.stack;
    let [far, near] = addr;
    let [far_port, near_port] = port;
    one.stack.proto == TCP
        && one.wire.af == other.wire.af
        && one.stack
            == (StateKey {
                addr: [near, far],
                port: [near_port, far_port],
                ..other.stack
            })
}

/// Octets by which sequence number `one` is ahead of `other`, 0 if it is behind; `None` if they have
/// nothing to do with each other.
fn ahead(one: u32, other: u32) -> Option<u64> {
    let step = one.wrapping_sub(other).cast_signed();
    let is_near = one != 0 && other != 0 && step.unsigned_abs() < NEAR;
    is_near.then(|| step.max(0).unsigned_abs().into())
}
