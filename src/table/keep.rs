//! The table as records of a keep file, and back.
//!
//! ```text
//! keep_step, a bounded piece at a time    senders as they appear, places, recent ends
//! restore, record by record               senders, states with their shares and parts, recent ends
//! end_restore                             lists in the order of their times
//! ```
//! Each state is written as it is when its turn comes. After a stop in good order nothing happened
//! since, and all states go on. After any other stop, what ended since was exported then. So a
//! state that is read back is doubtful until a message about it comes. Without a message the state
//! is dropped, not exported. Its counters are not exact until a full state comes.

use super::recently_ended;
use super::senders::Sender;
use super::slot::{Counts, Moment, SETTLED, Second};
use super::store::Table;
use crate::accounting::Head;
use crate::slab::NONE;
use crate::state::PFTM_COUNT;
use crate::time::{NANOS, Now, Uptime, Wall};
use crate::wire::keep as wire;

/// Places looked at in one step, and sets of states that ended recently: about a tenth of a millisecond.
const STEP: u32 = 512;

/// `DELETED` in a record: behind the PFTM numbers.
pub(super) const KEPT_DELETED: u8 = 25;
const _: () = assert!(KEPT_DELETED as usize == PFTM_COUNT);

/// How far the table has been written.
#[derive(Clone, Copy, Debug, Default)]
pub struct KeepCursor {
    /// Senders written.
    senders: usize,
    /// Whether host ids were, and as of which change.
    host_ids: Option<u32>,
    /// The next place.
    place: u32,
    /// The next set of states that ended recently.
    set: usize,
}

/// The wall time at which the uptime second `secs` began.
fn wall_of(now: Now, secs: i64) -> Wall {
    now.at(Uptime::new(secs, 0)).wall
}

impl From<Counts> for wire::Counts {
    fn from(Counts { packets, octets }: Counts) -> Self {
        Self { packets, octets }
    }
}

impl Table {
    /// Appends the next records to `out`; true if they are the last.
    pub fn keep_step(&self, cursor: &mut KeepCursor, now: Now, out: &mut Vec<u8>) -> bool {
        let senders = self.senders.all();
        for sender in senders.iter().skip(cursor.senders) {
            wire::Record::Sender(wire::KeptSender {
                who: match sender.sender {
                    Sender::Local => wire::Who::Local,
                    Sender::Other => wire::Who::Other,
                    Sender::Address(address) => wire::Who::Address(address),
                },
                dialect: sender.dialect,
                largest_expire: sender.largest_expire,
            })
            .encode(out);
        }
        cursor.senders = senders.len();
        if cursor.host_ids.replace(self.host_ids.changes) != Some(self.host_ids.changes) {
            for (creatorid, is_told_apart) in self.host_ids.kept() {
                wire::Record::HostId {
                    creatorid,
                    is_told_apart,
                }
                .encode(out);
            }
        }
        let places = self.slots.places();
        if cursor.place < places {
            let end = cursor.place.saturating_add(STEP).min(places);
            for place in (cursor.place..end).filter(|place| self.is_held(*place)) {
                self.keep_state(place, now, out);
            }
            cursor.place = end;
            return false;
        }
        let end = cursor.set + STEP as usize;
        self.keep_recently_ended(cursor.set..end, now, out);
        cursor.set = end;
        end >= recently_ended::SETS
    }

    fn keep_state(&self, place: u32, now: Now, out: &mut Vec<u8>) {
        let slot = &self.slots[place];
        let offset = self.offset(slot.sender);
        let epoch = self.epoch_of(slot.sender);
        let keys = slot.key_pair(&self.keys);
        let full_now = now.uptime.moved(-self.offset(slot.counted_by));
        let full_age = slot.full.until(Moment::new(full_now)).as_millis();
        let full_age = i64::try_from(full_age).unwrap_or(0);
        let millis = now.uptime.nanos().div_euclid(NANOS / 1000) - full_age;
        wire::Record::State(wire::KeptState {
            id: self.wire_id(slot.state_id()),
            wire: keys.wire,
            stack: (slot.keys != NONE).then_some(keys.stack),
            direction: slot.direction,
            is_overdue: slot.is_overdue,
            is_doubtful: self.doubtful.has(place),
            pftm: slot.pftm.min(KEPT_DELETED),
            marks: slot.marks,
            shape: slot.shape.bits(),
            sender: slot.sender,
            counted_by: slot.counted_by,
            ifname: self.ifnames.name(slot.ifname),
            seen: now.at(slot.seen.moved(offset)).wall,
            full: now
                .at(Uptime::from_nanos(millis.saturating_mul(NANOS / 1000)))
                .wall,
            creation: wall_of(now, slot.creation.uptime(epoch)),
            last: (slot.last != Second::NEVER).then(|| wall_of(now, slot.last.uptime(epoch))),
            counts: slot.counts.into(),
            seqlo: slot.seqlo,
        })
        .encode(out);
        self.keep_shares(place, now, out);
        self.keep_asides(place, now, out);
    }

    /// The shares of the state at `place`. Read back, each comes before the one before it.
    fn keep_shares(&self, place: u32, now: Now, out: &mut Vec<u8>) {
        let slot = &self.slots[place];
        let mut shares: Vec<_> = self.shares_of(place).collect();
        shares.reverse();
        for share in shares.into_iter().map(|at| &self.shares[at]) {
            wire::Record::Share(wire::KeptShare {
                sender: share.sender,
                is_estimate: share.is_estimate,
                head: share.head.bits(),
                counts: share.counts.into(),
                full: now.at(share.full.moved(self.share_offset(share))).wall,
            })
            .encode(out);
        }
        if self.is_left_out(slot) {
            // An empty estimate keeps the state from being exact once it is read back.
            wire::Record::Share(wire::KeptShare {
                sender: SETTLED,
                is_estimate: true,
                head: Head::default().bits(),
                counts: Counts::default().into(),
                full: now.at(slot.seen.moved(self.offset(slot.sender))).wall,
            })
            .encode(out);
        }
    }

    /// What is kept beside the state at `place`.
    fn keep_asides(&self, place: u32, now: Now, out: &mut Vec<u8>) {
        let epoch = self.epoch_of(self.slots[place].sender);
        if let Some(exported) = self.exported_of_connection(place) {
            let exported = exported.into();
            wire::Record::Connection { exported }.encode(out);
        }
        for kept in self.kept_translation(place) {
            let (unit, due) = (kept.unit, kept.due.map(|due| now.at(due).wall));
            wire::Record::Translation { unit, due }.encode(out);
        }
        if let Some(detail) = self.kept_detail(place) {
            wire::Record::Detail(detail).encode(out);
        }
        for kept in self.active.kept(place) {
            wire::Record::Part(wire::KeptPart {
                unit: kept.unit,
                due: kept.due.map(|due| now.at(due).wall),
                shown: kept
                    .shown
                    .map(|(counts, last)| (counts.into(), wall_of(now, last.uptime(epoch)))),
            })
            .encode(out);
        }
    }

    fn keep_recently_ended(&self, sets: std::ops::Range<usize>, now: Now, out: &mut Vec<u8>) {
        let epoch = self.epoch.unwrap_or(0);
        for number in sets {
            for (tag, creation, age) in self
                .recently_ended
                .kept_deleted(number, now.seconds().uptime)
            {
                let at = now.seconds().uptime - i64::from(age);
                wire::Record::Deleted {
                    set: u16::try_from(number).unwrap_or(u16::MAX),
                    tag,
                    creation: wall_of(now, creation.uptime(epoch)),
                    at: wall_of(now, at),
                }
                .encode(out);
            }
            for (identity, creation, exported) in self.recently_ended.kept_dropped(number) {
                wire::Record::Dropped {
                    id: identity.id,
                    fingerprint: identity.fingerprint(),
                    creation: wall_of(now, creation.uptime(epoch)),
                    exported: exported.into(),
                }
                .encode(out);
            }
        }
    }
}
