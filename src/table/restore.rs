//! The records of a keep file as a table again: see [`super::keep`].

use super::active::KeptParts;
use super::identity::Identity;
use super::keep::KEPT_DELETED;
use super::nat_events;
use super::senders::Sender;
use super::slot::DELETED;
use super::slot::{Birth, Counts, EXPORTED, Moment, Share, Slot, UNSETTLED, is_plain};
use super::store::Table;
use crate::accounting::{Head, Shape};
use crate::slab::NONE;
use crate::state::{IfName, StateId};
use crate::time::{NANOS, Now, Uptime, Wall};
use crate::wire::keep as wire;

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

    fn sender(&self, number: u16) -> u16 {
        let sender = self.senders.get(usize::from(number));
        sender.copied().unwrap_or(number)
    }

    /// Whole seconds of uptime: the second that begins at `wall`, give or take what the clocks
    /// moved against each other.
    fn secs(&self, wall: Wall) -> i64 {
        let nanos = self.now.uptime_at(wall).nanos();
        nanos.saturating_add(NANOS / 2).div_euclid(NANOS)
    }
}

/// What a state that is read back has elsewhere or anew.
struct Own {
    id: StateId,
    ifname: u16,
    keys: u32,
}

impl From<wire::Counts> for Counts {
    fn from(wire::Counts { packets, octets }: wire::Counts) -> Self {
        Self { packets, octets }
    }
}

impl Table {
    /// Takes a record back, of a file that was checked.
    pub fn restore(&mut self, restore: &mut Restore, record: &wire::Record) {
        self.epoch.get_or_insert(restore.now.uptime.secs());
        match record {
            wire::Record::Sender(sender) => self.restore_sender(restore, sender),
            wire::Record::State(state) => {
                self.id_watermark.go_blind();
                self.restore_state(restore, state);
            }
            wire::Record::Share(share) => self.restore_share(restore, share),
            wire::Record::Deleted { .. } | wire::Record::Dropped { .. } => {
                self.restore_recently_ended(restore, record);
            }
            wire::Record::HostId {
                creatorid,
                is_told_apart,
            } => self.restore_host_id(*creatorid, *is_told_apart, restore.now.uptime),
            wire::Record::Part(_)
            | wire::Record::Connection { .. }
            | wire::Record::Translation { .. }
            | wire::Record::Detail(_) => {
                if let Some(place) = restore.place {
                    self.restore_aside(restore, place, record);
                }
            }
            wire::Record::Interface { .. }
            | wire::Record::Domain { .. }
            | wire::Record::Source { .. }
            | wire::Record::IfIndex { .. } => {}
        }
    }

    fn restore_share(&mut self, restore: &mut Restore, share: &wire::KeptShare) {
        // Without room to remember what was exported, the same would be exported again.
        if share.sender == EXPORTED && !self.has_room_for_share() {
            self.counters.shares_refused += 1;
            self.unrestore(restore);
        }
        let Some(place) = restore.place else { return };
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

    /// Takes back what was kept beside the state at `place`.
    fn restore_aside(&mut self, restore: &Restore, place: u32, record: &wire::Record) {
        match record {
            wire::Record::Part(part) => self.restore_part(restore, place, part),
            wire::Record::Connection { exported } => {
                self.restore_exported(place, (*exported).into());
            }
            wire::Record::Translation { unit, due } => {
                let (unit, due) = (*unit, due.map(|due| restore.now.uptime_at(due)));
                self.restore_translation(place, nat_events::KeptTranslation { unit, due });
            }
            wire::Record::Detail(detail) => self.restore_detail(place, detail),
            _ => {}
        }
    }

    /// Takes back what is known of a state that ended.
    fn restore_recently_ended(&mut self, restore: &Restore, record: &wire::Record) {
        self.id_watermark.go_blind();
        match record {
            wire::Record::Deleted {
                set,
                tag,
                creation,
                at,
            } => {
                let creation = self.second(restore.secs(*creation));
                let at = restore.secs(*at);
                self.recently_ended
                    .restore_deleted(usize::from(*set), *tag, creation, at);
            }
            wire::Record::Dropped {
                id,
                fingerprint,
                creation,
                exported,
            } => {
                let creation = self.second(restore.secs(*creation));
                let identity = Identity::kept(*id, *fingerprint);
                self.recently_ended
                    .dropped(identity, creation, (*exported).into());
            }
            _ => {}
        }
    }

    fn restore_part(&mut self, restore: &Restore, place: u32, part: &wire::KeptPart) {
        let is_doubtful = self.doubtful.has(place);
        let last = |wall| self.second(restore.secs(wall));
        let kept = KeptParts {
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
            self.remove_restored(place);
        }
        let is_plain = is_plain(&state.wire, state.stack.as_ref());
        let ifname = self.restored_name(id.creatorid, state.ifname);
        // This asks as an insert asks. Asking counts a chunk more, which others might have had.
        let has_room = (self.index.len() < self.ceiling || self.has_room_for_state())
            && self.has_room_for_page(id, ifname)
            && (is_plain || self.has_room_for_keys());
        if !has_room {
            self.ifnames.release(ifname);
            self.counters.not_restored += 1;
            return;
        }
        let keys = if is_plain {
            NONE
        } else {
            self.add_keys(&state.wire, state.stack.as_ref())
        };
        let slot = self.restored_slot(restore, state, Own { id, ifname, keys });
        let seen = slot.seen;
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

    /// The slot of a state that is read back, which has its place in the index, its name and its keys.
    fn restored_slot(&self, restore: &Restore, state: &wire::KeptState, own: Own) -> Slot {
        let seen = restore.now.uptime_at(state.seen);
        let mut slot = Slot::new(Birth {
            id: own.id,
            wire: &state.wire,
            direction: state.direction,
            pflow: false,
            ifname: own.ifname,
            creation: self.second(restore.secs(state.creation)),
            sender: restore.sender(state.sender),
            pftm: match state.pftm {
                KEPT_DELETED => DELETED,
                pftm => pftm,
            },
            seen,
            full: Moment::new(seen),
            keys: own.keys,
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
        slot
    }

    /// Takes a state out that was read back.
    fn remove_restored(&mut self, place: u32) {
        self.active.forget(place);
        self.forget_connection(place);
        self.forget_translation(place);
        self.doubtful.take(place);
        self.index.take(self.slots[place].state_id());
        self.remove_unlisted(place);
        self.counters.restored = self.counters.restored.saturating_sub(1);
    }

    /// Forgets the state that was read back last.
    fn unrestore(&mut self, restore: &mut Restore) {
        if let Some(place) = restore.place.take() {
            restore.places.pop();
            self.remove_restored(place);
            self.counters.not_restored += 1;
        }
    }

    fn restored_name(&mut self, creatorid: u32, name: IfName) -> u16 {
        let number = self.ifnames.acquire(creatorid, name.into());
        if number == super::ifnames::FORGOTTEN {
            self.counters.names_refused += 1;
        }
        number
    }

    /// Puts what was read back in order, so that it ends in its time.
    pub fn end_restore(&mut self, mut restore: Restore) {
        self.transfers.note_restore(restore.now.uptime);
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
