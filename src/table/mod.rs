//! Floor 3: the state table: what pfsync said, made into states that end as flows.
//!
//! ```text
//!            INS, UPD (unknown)          DEL, DEL_C, CLR, silence, no room, another key
//!   (none) ---------------------> held ---------------------------------------------> Flow
//!                                 ^  |  UPD, UPD_C, INS again: counters, last packet, PFTM
//!                                 +--+
//! ```
//! A state that was not heard of for its timeout and 20 s is overdue: its delete was lost, or its
//! timeout is longer than we know. It stays for an hour more, then it ends.
//!
//! Identity is (creatorid, id). Counters belong to their sender: a state's total is the sum of
//! what each sender last said. Times are whole seconds of uptime.
//!
//! Everything is bounded: states by -m, or their memory (`memory.rs`), further senders of a state,
//! senders, names. What a bound costs is counted. Nothing here allocates per message once the table
//! has grown, and nothing iterates in the order of a hash.
//!
//! The way of an INS and that of a DEL_C, which every state goes, are a function each: `insert_state`,
//! and the loop over DEL_C, up to the flow. All that is marked so is inlined into them: as calls, with
//! their arguments in memory, it took a fifth more time.

mod active;
mod ahead;
mod clocks;
mod connections;
mod counting;
mod departed;
mod details;
mod ending;
mod estimates;
mod full;
mod held;
mod host_ids;
mod index;
mod joined;
mod keep;
mod memory;
mod names;
mod nat_events;
mod newest;
mod partners;
mod places;
mod queues;
mod senders;
mod slot;
mod transfers;
mod watch;

use std::collections::BTreeMap;
use std::time::Duration;

pub use connections::Connection;
pub use ending::DELETED;
pub use held::Held;
pub use host_ids::SharedHostId;
pub use keep::{KeepCursor, Restore};
pub use memory::{Bound, MIN_OCTETS};
pub use nat_events::NatEvent;
pub use senders::{CreatorRecord, MAX_CREATORS, MAX_SENDERS, Sender, SenderId, SenderRecord};
pub use watch::{Event, WATCHER_OCTETS};

use crate::accounting::{Counting, TCP};
use crate::counters::{TableCounters, count};
use crate::flow::{Boot, End, Floor, Flow, Times};
use crate::slab::{NONE, Slab};
use crate::state::{StateId, Timeouts};
use crate::time::{Now, Uptime};
use crate::wire::pfsync::{Clear, Compressed, Dialect, Message};
use active::Active;
use ahead::Ahead;
use clocks::Clock;
use connections::Connections;
use departed::Departed;
use details::Details;
use full::Kind;
use host_ids::HostIds;
use index::Index;
use memory::Memory;
use names::Names;
use nat_events::NatEvents;
use newest::Newest;
use places::Places;
use queues::{Class, Links, Queues};
use senders::{LOCAL, Senders};
use slot::{KeyPair, LEFT_OUT, Moment, Second, Share, Slot, Slots, UNSETTLED};
use transfers::Transfers;

/// How long after its timeout a state may still be deleted: one purge pass of 10 s, a second in
/// the sender's queue, and the network.
const GRACE: Duration = Duration::from_secs(20);

/// How long a state that is overdue is kept back. Its timeout may be longer than the one reckoned
/// with, because rules have timeouts of their own and UPD_C tells none. A message within this time
/// shows that it lives.
const DOUBT: Duration = Duration::from_secs(3600);

/// More states than this are more than a processor's cache holds, seven megabytes.
const LARGE: usize = 1 << 16;

/// Bounds and habits of a table.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Most states held.
    pub states: Bound,
    /// pf's timeouts.
    pub timeouts: Timeouts,
    /// Whether it is known when firewalls came up.
    pub boot: Boot,
    /// Which counters flows get.
    pub counting: Counting,
}

/// What a message came with.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// The clock, which never goes back.
    clock: Now,
    /// The same, with the uptime on the clock of its sender's states.
    now: Now,
    /// Uptime that belongs to the packet's own stamp.
    at: Uptime,
    /// The same in whole seconds on the clock of its sender's states: each message of the packet
    /// asks.
    secs: i64,
    /// And as states keep them.
    second: Second,
    /// `now` as states keep it.
    moment: Moment,
    sender: SenderId,
    /// What the messages that come now are written in.
    pub dialect: Dialect,
    /// Whether it was seen on pfsync0 itself, without an IP header: there v2 to v4 show a full
    /// update for each packet of a state (if_pfsync.c, `pfsync_pack_state`).
    is_pfsync0: bool,
}

/// States that are ended at a time: what they make is then sent, and others have their turn.
pub const PIECE: u32 = 256;

/// What a CLR has to do.
#[derive(Clone, Copy, Debug)]
enum Clearing {
    /// End states.
    End {
        creatorid: u32,
        /// The number of its interface's name, if it has one.
        only: Option<u16>,
    },
    /// Tell a creator's states apart by sender, then end its own sender's.
    Separate { creatorid: u32, clear: Clear },
}

/// The states.
pub struct Table {
    settings: Settings,
    /// When other machines came up, and this host, as far as that is known.
    boots: [Floor; 2],
    slots: Slots,
    index: Index,
    /// Where the states are that the next UPD_C are about.
    ahead: Ahead,
    queues: Queues,
    /// States beyond this need a look whether there is room for them.
    ceiling: usize,
    memory: Memory,
    /// The key pair looked at last when there was no room for one more.
    key_hand: u32,
    keys: Slab<KeyPair>,
    shares: Slab<Share>,
    names: Names,
    senders: Senders,
    departed: Departed,
    newest: Newest,
    active: Active,
    /// The states of connections, for whoever exports those.
    connections: Option<Box<Connections>>,
    /// What was left of them when nobody did any more.
    left_connections: Vec<Connection>,
    /// Translations, for whoever is told of those.
    nat_events: Option<Box<NatEvents>>,
    details: Details,
    /// Whether somebody wants to hear of each message about a state.
    is_observed: bool,
    /// Whether something is kept beside each state that its end has to do with.
    has_asides: bool,
    /// Whether some of that makes more than flows.
    has_more_than_flows: bool,
    /// States read back after a crash that nothing was heard of yet.
    doubtful: Places,
    /// States whose creation another sender told than their last.
    told_by_another: Places,
    /// All packets' stamps, as a sender's.
    stamps: Clock,
    /// Whether any sender's clock made a step.
    is_any_off: bool,
    /// Up to when it was known last that nothing was heard.
    horizon: Option<Uptime>,
    /// Steps of senders' clocks that were not told of yet, seconds.
    steps: Vec<(SenderId, i64)>,
    /// The last CLR, while it has states to end.
    clearing: Option<Clearing>,
    /// Bulk transfers, and what they did not have.
    transfers: Transfers,
    /// What is to be cleared after that.
    next_clear: Option<Clear>,
    /// Creators whose states are told apart by sender.
    host_ids: HostIds,
    /// States of this packet whose responder was heard of late.
    headless: Vec<StateId>,
    /// Uptime in seconds that slots count from: when the first state was learned.
    epoch: Option<i64>,
    /// States learned whose rule does not say pflow.
    unmarked: u64,
    /// States learned, and of them unmarked, by the end of the last packet.
    learned: [u64; 2],
    /// What happened lately, if somebody watches.
    events: Option<Vec<Event>>,
    /// What happened.
    pub counters: TableCounters,
}

impl Table {
    /// An empty table.
    pub fn new(settings: Settings) -> Self {
        let mut table = Self {
            settings,
            boots: [settings.boot.into(); 2],
            ceiling: 0,
            memory: Memory::default(),
            key_hand: 0,
            slots: Slab::default(),
            index: Index::default(),
            ahead: Ahead::default(),
            queues: Queues::default(),
            keys: Slab::default(),
            shares: Slab::default(),
            names: Names::default(),
            senders: Senders::default(),
            departed: Departed::default(),
            newest: Newest::default(),
            active: Active::default(),
            connections: None,
            left_connections: Vec::new(),
            nat_events: None,
            details: Details::default(),
            is_observed: false,
            has_asides: false,
            has_more_than_flows: false,
            doubtful: Places::default(),
            told_by_another: Places::default(),
            stamps: Clock::default(),
            is_any_off: false,
            horizon: None,
            steps: Vec::new(),
            clearing: None,
            transfers: Transfers::default(),
            next_clear: None,
            host_ids: HostIds::default(),
            headless: Vec::new(),
            epoch: None,
            unmarked: 0,
            learned: [0; 2],
            events: None,
            counters: TableCounters::default(),
        };
        table.measure();
        table
    }

    /// States held now.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether none is held.
    pub fn is_empty(&self) -> bool {
        self.index.len() == 0
    }

    /// Octets of memory a state takes in the table itself, beside its share of the index.
    pub const SLOT_OCTETS: usize = size_of::<Slot>();

    /// The number of `sender`.
    pub fn sender(&mut self, sender: Sender) -> SenderId {
        let (number, fits) = self.senders.number(sender);
        self.counters.senders_refused += u64::from(!fits);
        number
    }

    /// What is known of a sender.
    pub fn sender_record(&mut self, sender: SenderId) -> &mut SenderRecord {
        &mut self.senders[sender.0]
    }

    /// A state was learned whose rule does not say pflow.
    #[cold]
    #[inline(never)]
    fn note_unmarked(&mut self) {
        self.unmarked += 1;
    }

    /// Counts the states learned since the last call as those of `sender`, whose packet it was: once a
    /// packet, which costs less than once a state.
    #[inline(always)]
    pub fn note_learned(&mut self, sender: SenderId) {
        let now = [self.counters.inserted, self.unmarked];
        let before = std::mem::replace(&mut self.learned, now);
        if now != before {
            let counters = &mut self.senders[sender.0].counters;
            count(&mut counters.learned, now[0].wrapping_sub(before[0]));
            count(&mut counters.unmarked, now[1].wrapping_sub(before[1]));
        }
    }

    /// All senders heard of; `local` comes first and may not have been.
    pub fn senders(&self) -> &[SenderRecord] {
        self.senders.all()
    }

    /// How many states each sender spoke of last, by creator. Walks the whole table.
    pub fn states_by_sender(&self) -> BTreeMap<(SenderId, u32), u64> {
        let mut states = BTreeMap::new();
        for place in (0..self.slots.places()).filter(|place| self.is_held(*place)) {
            let slot = &self.slots[place];
            let creatorid = self.wire_id(slot.state_id()).creatorid;
            *states
                .entry((SenderId(slot.sender), creatorid))
                .or_default() += 1;
        }
        states
    }

    /// Whether it is known when this host came up.
    pub fn set_local_boot(&mut self, boot: Boot) {
        let [_, local] = &mut self.boots;
        *local = boot.into();
    }

    /// The boot of the machine that a sender is.
    #[inline(always)]
    fn boot_of(&self, sender: u16) -> Floor {
        let [others, local] = self.boots;
        if sender == LOCAL { local } else { others }
    }

    /// Changes pf's timeouts.
    pub fn set_timeouts(&mut self, timeouts: Timeouts) {
        self.settings.timeouts = timeouts;
        let Self {
            queues,
            slots,
            senders,
            ..
        } = self;
        queues.rebuild(slots, |class, seen| {
            deadline(&timeouts, senders, class, seen)
        });
    }

    /// Changes which counters flows get that are not exact.
    pub fn set_counting(&mut self, counting: Counting) {
        self.settings.counting = counting;
    }

    /// Whether [`Self::poll_timeout`] is not later than `now`.
    #[inline(always)]
    pub fn is_due(&self, now: Uptime) -> bool {
        now.is_past(self.queues.poll_timeout())
            || self.has_asides && now.is_past(self.asides_due())
            || now.is_past(self.transfers.poll_timeout())
    }

    /// No state ends by its timeout, and none is exported in part, before this.
    pub fn poll_timeout(&self) -> Option<Uptime> {
        let due = Uptime::earliest(self.queues.poll_timeout(), self.asides_due());
        Uptime::earliest(due, self.transfers.poll_timeout())
    }

    fn asides_due(&self) -> Option<Uptime> {
        let due = Uptime::earliest(self.active.poll_timeout(), self.connections_due());
        Uptime::earliest(due, self.translations_due())
    }

    /// Whether there may be connections to take, or NAT events.
    #[inline(always)]
    pub fn has_more_than_flows(&self) -> bool {
        self.has_more_than_flows
    }

    /// A state was learned.
    #[cold]
    fn begin_asides(&mut self, place: u32, arrival: &Arrival) {
        self.active.enlist(place, arrival.clock.uptime);
        self.enter_connection(place);
        self.begin_translation(place, arrival.clock);
    }

    /// A state ends and makes `flow`.
    #[cold]
    fn end_asides(
        &mut self,
        place: u32,
        now: Now,
        flow: &Flow,
        done: &mut impl FnMut(&Now, &Flow),
    ) {
        self.end_half(place, now, flow);
        self.end_translation(place, now, flow);
        if self.active.is_any() {
            self.end_parts(place, now, flow, done);
        }
    }

    /// Exports parts of flows that are due at `now`.
    /// Gives up the states that are due then, the earliest first, each at its own due time.
    /// `horizon` is how far the clock is about to move with nothing to be heard in between: a
    /// state that will not be heard of for an hour has ended when it was due, any other is kept
    /// back for that long.
    /// At most [`PIECE`] states are looked at; then [`Self::poll_timeout`] is still not later than `now`.
    pub fn handle_timeout(
        &mut self,
        now: Now,
        horizon: Uptime,
        done: &mut impl FnMut(&Now, &Flow),
    ) {
        if !self.handle_connections(now.uptime)
            || !self.handle_active(now, done)
            || !self.handle_translations(now)
            || !self.handle_transfers(now, done)
        {
            return;
        }
        for _ in 0..PIECE {
            let Self {
                queues,
                slots,
                senders,
                settings,
                ..
            } = self;
            let due = queues.pop_due(slots, now.uptime, |class, seen| {
                deadline(&settings.timeouts, senders, class, seen)
            });
            let Some((place, due)) = due else { return };
            if self.is_over(place) || horizon.since(due) > DOUBT {
                self.end(place, now.at(due), self.end_of_over(place), done);
            } else {
                self.queues.unlink(&mut self.slots, place);
                self.slots[place].is_overdue = true;
                self.push(place);
            }
        }
    }

    /// Takes a message in; `done` gets the flows that end with it. Inlined into the loop over a
    /// section's messages, which knows which kind they are.
    #[inline(always)]
    pub fn apply(
        &mut self,
        arrival: &mut Arrival,
        message: Message<'_>,
        done: &mut impl FnMut(&Now, &Flow),
    ) {
        match message {
            Message::Insert(state) => self.insert_state(arrival, &state, done),
            Message::Update(state) => self.full_state(arrival, &state, Kind::Update, done),
            Message::Delete(state) => self.full_state(arrival, &state, Kind::Delete, done),
            Message::UpdateCompressed(update) => self.update_compressed(arrival, &update),
            Message::DeleteCompressed(id) => {
                self.delete_compressed(arrival, id, Slot::state_id, done);
            }
            Message::Clear(clear) => self.clear(arrival.clock, &clear, done),
            Message::Bus(bus) => {
                let stamp = arrival.clock.at(arrival.at).wall;
                self.senders[arrival.sender.0].bus = Some((bus, stamp));
                self.note_bus(arrival, &bus);
                let (sender, status) = (arrival.sender, bus.status);
                self.tell(Event::Bus { sender, status });
            }
            Message::UpdateRequest(id) => self.tell_request(arrival, id),
            Message::InsertAck(_) | Message::Tdb(_) | Message::Unknown { .. } => {}
        }
    }

    /// Takes a DEL_C of the state `id` in, whose identity as it was sent `sent` tells.
    #[inline(always)]
    fn delete_compressed(
        &mut self,
        arrival: &Arrival,
        id: StateId,
        sent: impl Fn(&Slot) -> StateId,
        done: &mut impl FnMut(&Now, &Flow),
    ) {
        match self.index.take(id) {
            Some(place) => {
                self.confirm(place);
                self.adopt(place, arrival);
                if self.is_ended_by(place, arrival) {
                    count(&mut self.counters.deleted, 1);
                    self.finish_confirmed(place, sent, &arrival.clock, End::Deleted, done);
                } else {
                    let ifname = self.slots[place].ifname;
                    self.index.insert(id, ifname, place);
                }
            }
            None => {
                self.counters.unknown_delete += 1;
                self.tell(Event::UnknownEnded { id });
            }
        }
    }

    /// Ends the states that are deleted or overdue, because nothing more will be heard of them, and
    /// with `is_active` all others, too; in the order of their places. Looks at [`PIECE`] places
    /// from `cursor` on and moves it behind them; true if there are more.
    pub fn flush(
        &mut self,
        now: Now,
        is_active: bool,
        cursor: &mut u32,
        done: &mut impl FnMut(&Now, &Flow),
    ) -> bool {
        let end = cursor.saturating_add(PIECE).min(self.slots.places());
        for place in std::mem::replace(cursor, end)..end {
            if !self.is_held(place) {
                continue;
            }
            let end = match self.is_over(place) {
                true => self.end_of_over(place),
                false if is_active => End::Flushed,
                false => continue,
            };
            self.end(place, now, end, done);
        }
        *cursor < self.slots.places()
    }

    /// Takes a UPD_C in. Most tell only that a state goes on as it did: its sender told of it before,
    /// and counted it; its timeout is the same; nobody watches; and of TCP there is more data.
    #[inline(always)]
    fn update_compressed(&mut self, arrival: &Arrival, update: &Compressed<'_>) {
        let Some(place) = self.find_ahead(update.state) else {
            return self.update_unknown(arrival, update);
        };
        let is_alone = !self.is_observed && !self.has_asides && self.doubtful.is_empty();
        let Self {
            slots,
            shares,
            queues,
            ..
        } = self;
        let slot = &mut slots[place];
        let sender = arrival.sender.0;
        let goes_on = slot.pftm == update.timeout
            && slot.sender == sender
            && slot.counted_by == sender
            && !slot.is_overdue
            && !arrival.dialect.is_dead(update.timeout, slot.proto);
        if !(is_alone && goes_on && slot.add_data(shares, arrival, update)) {
            return self.update_any(place, arrival, update);
        }
        slot.marks |= UNSETTLED;
        slot.last = slot.last.max(arrival.second);
        slot.seen = arrival.now.uptime;
        let links = Links::of(slot);
        queues.move_to_tail(slots, place, links);
    }

    /// Takes in a UPD_C of a state that is not held.
    #[cold]
    #[inline(never)]
    fn update_unknown(&mut self, arrival: &Arrival, update: &Compressed<'_>) {
        self.counters.unknown_update += 1;
        self.senders[arrival.sender.0].counters.unknown_updates += 1;
        // The protocol, which is not known, matters for SCTP only.
        if !arrival.dialect.is_dead(update.timeout, TCP) {
            self.tell(Event::Unknown {
                id: update.state,
                sender: arrival.sender,
            });
        }
    }

    /// Takes in whatever a UPD_C tells of the state at `place`.
    #[inline(never)]
    fn update_any(&mut self, place: u32, arrival: &Arrival, update: &Compressed<'_>) {
        let proto = self.slots[place].proto;
        if arrival.dialect.is_dead(update.timeout, proto) {
            self.counters.dead += 1;
            // From 7.4 on it was queued before its sender learned of the end.
            if self.is_deleted(place) {
                self.note_compressed(place, arrival, update);
            }
            return;
        }
        self.adopt(place, arrival);
        self.note_compressed(place, arrival, update);
        let slot = &mut self.slots[place];
        slot.last = slot.last.max(arrival.second);
        self.refresh(place, arrival, update.timeout);
        if self.is_observed {
            self.note_peers(place, update);
            self.tell(Event::Activity {
                place,
                sender: arrival.sender,
                pftm: update.timeout,
            });
        }
    }

    /// CLR ends the states of its creator, bound to its interface if it names one
    /// (pf_ioctl.c, `pf_states_clr` on the sender). It ends a piece of them, see
    /// [`Self::continue_clear`].
    fn clear(&mut self, now: Now, clear: &Clear, done: &mut impl FnMut(&Now, &Flow)) {
        let only = if clear.ifname.is_empty() {
            None
        } else {
            match self.names.find(clear.creatorid, clear.ifname) {
                None => return,
                only => only,
            }
        };
        self.clearing = Some(Clearing::End {
            creatorid: clear.creatorid,
            only,
        });
        self.continue_clear(now, done);
    }

    /// Whether the last CLR has more states to end. No further message may be taken in before.
    #[inline]
    pub fn is_clearing(&self) -> bool {
        self.clearing.is_some()
    }

    /// Ends the next states of the last CLR: about [`PIECE`], so that what waits to be sent has a
    /// bound. The oldest page of states comes first, one interface after the other.
    pub fn continue_clear(&mut self, now: Now, done: &mut impl FnMut(&Now, &Flow)) {
        let (creatorid, only) = match self.clearing {
            Some(Clearing::End { creatorid, only }) => (creatorid, only),
            Some(Clearing::Separate { creatorid, clear }) => {
                if !self.separate_some(creatorid, PIECE, now, done) {
                    self.clearing = None;
                    self.clear(now, &clear, done);
                }
                return;
            }
            None => return,
        };
        let mut ended = 0;
        while ended < PIECE {
            let ifname = only.unwrap_or_else(|| self.names.first_of(creatorid));
            let before = ended;
            for place in self.index.oldest_of(creatorid, ifname) {
                self.end(place, now, End::Cleared, done);
                ended += 1;
            }
            if ended == before {
                return self.end_clear(now, done);
            }
            // With its last state a name goes, and its number may soon be another's.
            if only.is_some_and(|only| self.names.is_unused(only)) {
                return self.end_clear(now, done);
            }
        }
    }

    /// Goes on with what is to be cleared next.
    fn end_clear(&mut self, now: Now, done: &mut impl FnMut(&Now, &Flow)) {
        self.clearing = None;
        if let Some(next) = self.next_clear.take() {
            self.clear(now, &next, done);
        }
    }

    fn evict(&mut self, now: Now, done: &mut impl FnMut(&Now, &Flow)) {
        if let Some(place) = self.queues.longest_idle(&self.slots) {
            self.end(place, now, End::Evicted, done);
        }
    }

    /// Notes that a message about the state came, which now is in `pftm`.
    fn refresh(&mut self, place: u32, arrival: &Arrival, pftm: u8) {
        self.confirm(place);
        self.active.enlist(place, arrival.clock.uptime);
        let slot = &mut self.slots[place];
        let stays = slot.sender == arrival.sender.0 && slot.pftm == pftm && !slot.is_overdue;
        if stays && pftm != DELETED {
            slot.seen = arrival.now.uptime;
            let links = Links::of(slot);
            self.queues.move_to_tail(&mut self.slots, place, links);
        } else {
            self.change_class(place, arrival, pftm);
        }
    }

    /// [`Self::refresh`] of a state that may change its list.
    #[inline(never)]
    fn change_class(&mut self, place: u32, arrival: &Arrival, pftm: u8) {
        if self.overlaps(place, arrival.now.uptime) {
            return;
        }
        self.queues.unlink(&mut self.slots, place);
        let slot = &mut self.slots[place];
        if slot.sender != arrival.sender.0 {
            self.told_by_another.set(place);
        }
        let was_overdue = std::mem::replace(&mut slot.is_overdue, false);
        (slot.sender, slot.pftm, slot.seen) = (arrival.sender.0, pftm, arrival.now.uptime);
        self.counters.ended_too_early += u64::from(was_overdue);
        self.push(place);
    }

    /// A message about the state came: it did not end before pflow crashed.
    fn confirm(&mut self, place: u32) {
        if !self.doubtful.is_empty() {
            self.doubtful.take(place);
        }
    }

    /// Puts the state at `place` at the end of its list.
    fn push(&mut self, place: u32) {
        let slot = &self.slots[place];
        let prev = self.append(place, Class::of(slot), slot.seen);
        let slot = &mut self.slots[place];
        (slot.prev, slot.next) = (prev, NONE);
    }

    /// Puts a new state into its place and at the end of its list.
    #[inline(always)]
    fn place(&mut self, mut slot: Slot) -> u32 {
        let place = self.slots.upcoming();
        slot.prev = self.append(place, Class::of(&slot), slot.seen);
        self.slots.insert(slot)
    }

    #[inline(always)]
    fn append(&mut self, place: u32, class: Class, seen: Uptime) -> u32 {
        let Self {
            queues,
            slots,
            senders,
            settings,
            ..
        } = self;
        queues.append(slots, place, class, seen, |class, seen| {
            deadline(&settings.timeouts, senders, class, seen)
        })
    }

    /// Takes a state out, counts what ended it and hands its flow over. Whether that of a doubtful
    /// state was exported before is not known: such a one is dropped.
    #[inline(never)]
    fn end(&mut self, place: u32, now: Now, cause: End, done: &mut impl FnMut(&Now, &Flow)) {
        self.index.take(self.slots[place].state_id());
        if !self.doubtful.is_empty() && self.doubtful.take(place) {
            self.counters.unconfirmed += 1;
            self.active.forget(place);
            self.forget_connection(place);
            self.forget_translation(place);
            self.remove(place);
            return;
        }
        self.count_end(cause);
        let end = self.end_of(place, cause);
        let sent = self.wire_id(self.slots[place].state_id());
        self.finish_confirmed(place, |_| sent, &now, end, done);
    }

    /// Ends a state that is in the index no more and is not doubtful, whose identity `sent` tells.
    #[inline(always)]
    fn finish_confirmed(
        &mut self,
        place: u32,
        sent: impl Fn(&Slot) -> StateId,
        now: &Now,
        end: End,
        done: &mut impl FnMut(&Now, &Flow),
    ) {
        let slot = &self.slots[place];
        let offset = self.offset(slot.sender);
        let mut flow = self.bare_flow(slot, sent(slot), now, end, offset);
        let identity = slot.write_keys(&self.keys, &mut flow);
        let counts = self.unexported(slot);
        (flow.packets, flow.octets) = (counts.packets, counts.octets);
        let creation = slot.creation.moved(offset);
        if matches!(end, End::Deleted | End::Cleared | End::Replaced) {
            self.departed
                .deleted(identity, creation, now.seconds().uptime);
        }
        // A CLR may overtake what was said of states before it.
        if matches!(end, End::Expired | End::Evicted | End::Cleared) {
            let slot = &self.slots[place];
            let (total, exported) = self.total(slot);
            let exported = total.at_least(&exported);
            self.departed.dropped(identity, creation, exported);
        }
        if self.has_asides {
            flow.detail = self.detail_of(place);
            self.end_asides(place, *now, &flow, done);
        }
        self.remove(place);
        done(now, &flow);
    }

    /// The flow that a state makes whose identity is `sent`, as of `now`; the clock of its sender is
    /// ahead by `offset`. Its keys and its counters are written later, each in its place: if all
    /// were kept till the last is known, there would not be registers enough.
    #[inline(always)]
    fn bare_flow(&self, slot: &Slot, sent: StateId, now: &Now, end: End, offset: i64) -> Flow {
        let epoch = self.epoch.unwrap_or(0) + offset;
        let (creation, last) = (
            slot.creation.uptime(epoch),
            slot.last_packet().uptime(epoch),
        );
        Flow {
            id: sent,
            direction: slot.direction,
            ifname: self.names.name(slot.ifname),
            pflow: slot.is_pflow(),
            times: Times::new(creation, last, *now, self.boot_of(slot.sender)),
            end,
            quality: self.quality(slot, end),
            ..Flow::default()
        }
    }

    #[inline(always)]
    fn remove(&mut self, place: u32) {
        let slot = &self.slots[place];
        let (links, belongings) = (Links::of(slot), Belongings::of(slot));
        self.queues.unlink_between(&mut self.slots, links);
        self.free(place, &belongings);
    }

    /// [`Self::remove`] of a state that is in no list.
    fn remove_unlisted(&mut self, place: u32) {
        let belongings = Belongings::of(&self.slots[place]);
        self.free(place, &belongings);
    }

    /// Frees a place and what the state in it had elsewhere.
    #[inline(always)]
    fn free(&mut self, place: u32, belongings: &Belongings) {
        let Belongings {
            ifname,
            keys,
            mut shares,
        } = *belongings;
        self.names.release(ifname);
        if keys != NONE {
            self.keys.free(keys);
        }
        while shares < LEFT_OUT {
            let next = self.shares[shares].next;
            self.shares.free(shares);
            shares = next;
        }
        self.slots.free(place);
        if !self.told_by_another.is_empty() {
            self.told_by_another.take(place);
        }
        self.tell(Event::Ended { place });
    }

    /// Whether the states are so many that a processor's cache holds few of them, and it pays to
    /// [`Self::fetch`]: where it holds most, that costs more than it saves.
    #[inline(always)]
    pub fn is_large(&self) -> bool {
        self.index.len() > LARGE
    }

    /// Reads what a message about `id` will need, so that it is in the cache then. Nothing waits
    /// for what is read here: one such read goes on beside the others and beside what comes next.
    #[inline(always)]
    pub fn fetch(&self, id: StateId) {
        if let Some(place) = self.index.find_nearby(id) {
            // A slot is not aligned: its last octets may be in another line.
            std::hint::black_box(self.slots[place].pftm);
        }
    }

    #[inline(always)]
    fn find(&self, id: StateId) -> Option<u32> {
        self.index.find(id)
    }

    /// Whether `place` holds a state: freed places keep their last one's octets.
    fn is_held(&self, place: u32) -> bool {
        self.find(self.slots[place].state_id()) == Some(place)
    }

    fn second(&self, uptime_secs: i64) -> Second {
        Second::new(uptime_secs, self.epoch.unwrap_or(0))
    }
}

/// What a state has elsewhere than in its slot.
struct Belongings {
    ifname: u16,
    keys: u32,
    shares: u32,
}

impl Belongings {
    #[inline(always)]
    fn of(slot: &Slot) -> Self {
        Self {
            ifname: slot.ifname,
            keys: slot.keys,
            shares: slot.shares,
        }
    }
}

/// When a state of `class` last heard of at `seen` is given up. Its timeout is the greater of ours
/// and the largest `expire` its sender showed.
fn deadline(timeouts: &Timeouts, senders: &Senders, class: Class, seen: Uptime) -> Uptime {
    let record = &senders[class.sender];
    if class.pftm == DELETED {
        return record.clock.due(seen.after(ending::HELD_BACK));
    }
    let largest = record.largest_expire(usize::from(class.pftm));
    let timeout = Duration::from_secs(timeouts.seconds(class.pftm).max(largest).into());
    let doubt = if class.is_overdue {
        DOUBT
    } else {
        Duration::ZERO
    };
    record.clock.due(seen.after(timeout + GRACE + doubt))
}
