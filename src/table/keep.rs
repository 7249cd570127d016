//! The table as records of a keep file, and back.
//!
//! ```text
//! keep_step, a bounded piece at a time    senders as they appear, places, departed
//! restore, record by record               senders, states with their shares and parts, departed
//! end_restore                             lists in the order of their times
//! ```
//! A state is written as it is when its turn comes. After a stop in good order nothing happened
//! since, and all of it goes on. After any other, whatever ended since was exported then: what is
//! read back is doubtful until a message about it comes, and without one it is dropped, not
//! exported. Its counters are not exact until a full state comes.

use super::active::Kept;
use super::departed::{self, Identity};
use super::ending::DELETED;
use super::nat_events;
use super::senders::Sender;
use super::slot::{
    Birth, Counts, EXPORTED, Moment, SETTLED, Second, Share, Slot, UNSETTLED, is_plain,
};
use super::store::Table;
use crate::accounting::{Head, Shape};
use crate::slab::NONE;
use crate::state::{IfName, PFTM_COUNT};
use crate::time::{NANOS, Now, Uptime, Wall};
use crate::wire::keep as wire;

/// Places looked at in one step, and sets of departed states: about a tenth of a millisecond.
const STEP: u32 = 512;

/// [`DELETED`] in a record: behind the PFTM numbers.
const KEPT_DELETED: u8 = 25;
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
    /// The next set of departed states.
    set: usize,
}

/// A table that is being read back.
#[derive(Debug)]
pub struct Restore {
    now: Now,
    is_clean: bool,
    /// Numbers here of the senders there.
    senders: Vec<u16>,
    /// The state that shares and parts belong to, unless there was no room for it.
    place: Option<u32>,
    /// Every state, to be put in order.
    places: Vec<(Uptime, u32)>,
}

impl Restore {
    /// Begins to read back at `now` what was written when pflow stopped, in good order or not.
    pub fn new(now: Now, is_clean: bool) -> Self {
        Self {
            now,
            is_clean,
            senders: Vec::new(),
            place: None,
            places: Vec::new(),
        }
    }

    /// When it began.
    pub(super) fn now(&self) -> Now {
        self.now
    }

    fn sender(&self, number: u16) -> u16 {
        let sender = self.senders.get(usize::from(number));
        sender.copied().unwrap_or(number)
    }

    /// Whole seconds of uptime: the second whose beginning `wall` is, give or take what the clocks
    /// moved against each other.
    fn secs(&self, wall: Wall) -> i64 {
        let nanos = self.now.uptime_at(wall).nanos();
        nanos.saturating_add(NANOS / 2).div_euclid(NANOS)
    }
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

impl From<wire::Counts> for Counts {
    fn from(wire::Counts { packets, octets }: wire::Counts) -> Self {
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
        self.keep_departed(cursor.set..end, now, out);
        cursor.set = end;
        end >= departed::SETS
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
            ifname: self.names.name(slot.ifname),
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
        // Read back, each comes before the one before it.
        let mut shares: Vec<u32> = self.shares_of(place).collect();
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
                full: now.at(slot.seen.moved(offset)).wall,
            })
            .encode(out);
        }
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

    fn keep_departed(&self, sets: std::ops::Range<usize>, now: Now, out: &mut Vec<u8>) {
        let epoch = self.epoch.unwrap_or(0);
        for number in sets {
            for (tag, creation, age) in self.departed.kept_deleted(number, now.seconds().uptime) {
                let at = now.seconds().uptime - i64::from(age);
                wire::Record::Deleted {
                    set: u16::try_from(number).unwrap_or(u16::MAX),
                    tag,
                    creation: wall_of(now, creation.uptime(epoch)),
                    at: wall_of(now, at),
                }
                .encode(out);
            }
            for (identity, creation, exported) in self.departed.kept_dropped(number) {
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

    /// Takes a record back, of a file that was checked.
    pub fn restore(&mut self, restore: &mut Restore, record: &wire::Record) {
        self.epoch.get_or_insert(restore.now.uptime.secs());
        match record {
            wire::Record::Sender(sender) => self.restore_sender(restore, sender),
            wire::Record::State(state) => {
                self.newest.go_blind();
                self.restore_state(restore, state);
            }
            wire::Record::Share(share) => {
                // Without room to remember what was exported that would be exported again.
                if share.sender == EXPORTED && !self.has_room_for_share() {
                    self.counters.shares_refused += 1;
                    self.unrestore(restore);
                }
                if let Some(place) = restore.place {
                    let sender = match share.sender {
                        wire::OWN_SENDERS.. => share.sender,
                        number => restore.sender(number),
                    };
                    let full = restore.now.uptime_at(share.full);
                    let told = Share::new(sender, share.counts.into(), full);
                    self.add_share(
                        place,
                        Share {
                            is_estimate: share.is_estimate,
                            head: Head::from_bits(share.head),
                            ..told
                        },
                    );
                }
            }
            wire::Record::Part(part) => self.restore_part(restore, part),
            wire::Record::Connection { exported } => {
                if let Some(place) = restore.place {
                    self.restore_exported(place, (*exported).into());
                }
            }
            wire::Record::Translation { unit, due } => {
                let (unit, due) = (*unit, due.map(|due| restore.now.uptime_at(due)));
                if let Some(place) = restore.place {
                    self.restore_translation(place, nat_events::Kept { unit, due });
                }
            }
            wire::Record::Detail(detail) => {
                if let Some(place) = restore.place {
                    self.restore_detail(place, detail);
                }
            }
            wire::Record::Deleted {
                set,
                tag,
                creation,
                at,
            } => {
                self.newest.go_blind();
                let creation = self.second(restore.secs(*creation));
                let at = restore.secs(*at);
                self.departed
                    .restore_deleted(usize::from(*set), *tag, creation, at);
            }
            wire::Record::Dropped {
                id,
                fingerprint,
                creation,
                exported,
            } => {
                self.newest.go_blind();
                let creation = self.second(restore.secs(*creation));
                let identity = Identity::kept(*id, *fingerprint);
                self.departed
                    .dropped(identity, creation, (*exported).into());
            }
            wire::Record::HostId {
                creatorid,
                is_told_apart,
            } => self.restore_host_id(*creatorid, *is_told_apart, restore.now.uptime),
            wire::Record::Interface { .. }
            | wire::Record::Domain { .. }
            | wire::Record::Source { .. }
            | wire::Record::IfIndex { .. } => {}
        }
    }

    fn restore_part(&mut self, restore: &Restore, part: &wire::KeptPart) {
        let Some(place) = restore.place else { return };
        let is_doubtful = self.doubtful.has(place);
        let last = |wall| self.second(restore.secs(wall));
        let kept = Kept {
            unit: part.unit,
            due: part
                .due
                .filter(|_| !is_doubtful)
                .map(|due| restore.now.uptime_at(due)),
            shown: part.shown.map(|(counts, wall)| (counts.into(), last(wall))),
        };
        self.active.restore(place, kept);
        self.note_asides();
    }

    fn restore_sender(&mut self, restore: &mut Restore, kept: &wire::KeptSender) {
        let number = self.sender(match kept.who {
            wire::Who::Local => Sender::Local,
            wire::Who::Other => Sender::Other,
            wire::Who::Address(address) => Sender::Address(address),
        });
        let record = self.sender_record(number);
        record.dialect = kept.dialect;
        record.largest_expire = kept.largest_expire;
        restore.senders.push(number.0);
    }

    fn restore_state(&mut self, restore: &mut Restore, state: &wire::KeptState) {
        restore.place = None;
        let id = self.restored_id(state.id, restore.sender(state.counted_by));
        // The file was written while states went on, so an id can be in it twice. The later one counts.
        if let Some(place) = self.find(id) {
            self.active.forget(place);
            self.forget_connection(place);
            self.forget_translation(place);
            self.doubtful.take(place);
            self.index.take(id);
            self.remove_unlisted(place);
            self.counters.restored = self.counters.restored.saturating_sub(1);
        }
        let is_plain = is_plain(&state.wire, state.stack.as_ref());
        let ifname = self.restored_name(id.creatorid, state.ifname);
        // As an insert asks: asking counts a chunk more, which others might have had.
        let has_room = (self.index.len() < self.ceiling || self.has_room_for_state())
            && self.has_room_for_page(id, ifname)
            && (is_plain || self.has_room_for_keys());
        if !has_room {
            self.names.release(ifname);
            self.counters.not_restored += 1;
            return;
        }
        let keys = if is_plain {
            NONE
        } else {
            self.add_keys(&state.wire, state.stack.as_ref())
        };
        let seen = restore.now.uptime_at(state.seen);
        let mut slot = Slot::new(Birth {
            id,
            wire: &state.wire,
            direction: state.direction,
            pflow: false,
            ifname,
            creation: self.second(restore.secs(state.creation)),
            sender: restore.sender(state.sender),
            pftm: match state.pftm {
                KEPT_DELETED => DELETED,
                pftm => pftm,
            },
            seen,
            full: Moment::new(seen),
            keys,
        });
        slot.counted_by = restore.sender(state.counted_by);
        slot.marks = state.marks;
        slot.shape = Shape::from_bits(state.shape);
        slot.seqlo = state.seqlo;
        slot.counts = state.counts.into();
        slot.is_overdue = state.is_overdue;
        slot.full = Moment::nearest(restore.now.uptime_at(state.full));
        if let Some(last) = state.last {
            slot.last = self.second(restore.secs(last));
        }
        if !restore.is_clean {
            slot.marks |= UNSETTLED;
        }
        let place = self.slots.insert(slot);
        self.clear_detail(place);
        self.index.insert(id, ifname, place);
        if !restore.is_clean || state.is_doubtful {
            self.doubtful.set(place);
        }
        self.counters.restored += 1;
        restore.places.push((seen, place));
        restore.place = Some(place);
    }

    /// Forgets the state that was read back last.
    fn unrestore(&mut self, restore: &mut Restore) {
        if let Some(place) = restore.place.take() {
            restore.places.pop();
            self.active.forget(place);
            self.forget_connection(place);
            self.forget_translation(place);
            self.doubtful.take(place);
            self.index.take(self.slots[place].state_id());
            self.remove_unlisted(place);
            self.counters.restored = self.counters.restored.saturating_sub(1);
            self.counters.not_restored += 1;
        }
    }

    fn restored_name(&mut self, creatorid: u32, name: IfName) -> u16 {
        let number = self.names.acquire(creatorid, name.into());
        if number == super::names::FORGOTTEN {
            self.counters.names_refused += 1;
        }
        number
    }

    /// Puts what was read back in order, so that it ends in its time.
    pub fn end_restore(&mut self, mut restore: Restore) {
        self.transfers.note_restore(&restore);
        restore.places.sort_unstable();
        // A place that was used again stands there for its last state only.
        restore.places.dedup();
        for (seen, place) in restore.places {
            if self.slots[place].seen == seen && self.is_held(place) {
                self.push(place);
                self.enter_connection(place);
            }
        }
        self.active.end_restore(restore.now.uptime);
        self.end_restore_translations(restore.now.uptime);
    }
}
