//! The states, with all that is kept of them and beside them.

use super::active::Active;
use super::ahead::Ahead;
use super::clock::SenderClock;
use super::connections::{Connection, Connections};
use super::details::Details;
use super::expiry_lists::ExpiryLists;
use super::host_ids::HostIds;
use super::id_watermark::IdWatermark;
use super::ifnames::IfNames;
use super::index::Index;
use super::memory::{Bound, Memory};
use super::nat_events::NatEvents;
use super::places::Places;
use super::recently_ended::RecentlyEnded;
use super::senders::{LOCAL, Sender, SenderId, SenderRecord, Senders};
use super::slot::{DELETED, KeyPair, Second, Shares, Slots};
use super::transfers::Transfers;
use super::watch::Event;
use crate::accounting::Counting;
use crate::counters::{TableCounters, count};
use crate::flow::{Boot, Floor};
use crate::slab::Slab;
use crate::state::{StateId, Timeouts};
use crate::time::Uptime;
use crate::wire::pfsync::{Clear, Values};

/// More states than this are more than a processor's cache holds, seven megabytes.
const LARGE: usize = 1 << 16;

/// States that are ended at a time: what they make is then sent, and others have their turn.
pub const PIECE: u32 = 256;

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

/// What a CLR has to do.
#[derive(Clone, Copy, Debug)]
pub(super) enum Clearing {
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
    pub(super) settings: Settings,
    /// When other machines came up, and this host, as far as that is known.
    pub(super) boots: [Floor; 2],
    pub(super) slots: Slots,
    pub(super) index: Index,
    /// Where the states are that the next UPD_C are about.
    pub(super) ahead: Ahead,
    pub(super) expiry_lists: ExpiryLists,
    /// States beyond this need a look whether there is room for them.
    pub(super) ceiling: usize,
    pub(super) memory: Memory,
    /// The key pair looked at last when there was no room for one more.
    pub(super) key_hand: u32,
    pub(super) keys: Slab<KeyPair>,
    pub(super) shares: Shares,
    pub(super) ifnames: IfNames,
    pub(super) senders: Senders,
    pub(super) recently_ended: RecentlyEnded,
    pub(super) id_watermark: IdWatermark,
    pub(super) active: Active,
    /// The states of connections, for whoever exports those.
    pub(super) connections: Option<Box<Connections>>,
    /// What was left of them when nobody did any more.
    pub(super) left_connections: Vec<Connection>,
    /// Translations, for whoever is told of those.
    pub(super) nat_events: Option<Box<NatEvents>>,
    pub(super) details: Details,
    /// Whether somebody wants to hear of each message about a state.
    pub(super) is_observed: bool,
    /// Whether something is kept beside each state that its end has to do with.
    pub(super) has_asides: bool,
    /// Whether some of that makes more than flows.
    pub(super) has_more_than_flows: bool,
    /// States read back after a crash that nothing was heard of yet.
    pub(super) doubtful: Places,
    /// States whose creation another sender told than their last.
    pub(super) told_by_another: Places,
    /// All packets' stamps, as a sender's.
    pub(super) stamps: SenderClock,
    /// Whether any sender's clock made a step.
    pub(super) is_any_off: bool,
    /// Up to when it was known last that nothing was heard.
    pub(super) horizon: Option<Uptime>,
    /// Steps of senders' clocks that were not told of yet, seconds.
    pub(super) steps: Vec<(SenderId, i64)>,
    /// The last CLR, while it has states to end.
    pub(super) clearing: Option<Clearing>,
    /// Bulk transfers, and what they did not have.
    pub(super) transfers: Transfers,
    /// What is to be cleared after that.
    pub(super) next_clear: Option<Clear>,
    /// Creators whose states are told apart by sender.
    pub(super) host_ids: HostIds,
    /// States of this packet whose responder was heard of late.
    pub(super) headless: Vec<StateId>,
    /// Uptime in seconds that slots count from: when the first state was learned.
    pub(super) epoch: Option<i64>,
    /// States learned whose rule does not say pflow.
    pub(super) unmarked: u64,
    /// States learned, and of them unmarked, by the end of the last packet.
    pub(super) learned: [u64; 2],
    /// What happened lately, if somebody watches.
    pub(super) events: Option<Vec<Event>>,
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
            expiry_lists: ExpiryLists::default(),
            keys: Slab::default(),
            shares: Shares::default(),
            ifnames: IfNames::default(),
            senders: Senders::default(),
            recently_ended: RecentlyEnded::default(),
            id_watermark: IdWatermark::default(),
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
            stamps: SenderClock::default(),
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

    /// Whether it is known when this host came up.
    pub fn set_local_boot(&mut self, boot: Boot) {
        let [_, local] = &mut self.boots;
        *local = boot.into();
    }

    /// The boot of the machine that a sender is.
    #[inline(always)]
    pub(super) fn boot_of(&self, sender: u16) -> Floor {
        let [others, local] = self.boots;
        if sender == LOCAL { local } else { others }
    }

    /// Changes which counters flows get that are not exact.
    pub fn set_counting(&mut self, counting: Counting) {
        self.settings.counting = counting;
    }

    /// Whether there are so many states that a processor's cache holds few of them. Then it pays to
    /// [`Self::fetch`]. If the cache holds most states, fetching costs more than it saves.
    #[inline(always)]
    pub fn is_large(&self) -> bool {
        self.index.len() > LARGE
    }

    /// Reads what a message about `id` will need, so that it is in the cache by then. Nothing waits
    /// for this read, which goes on beside other such reads and beside the work that follows.
    #[inline(always)]
    pub fn fetch(&self, id: StateId) {
        if let Some(place) = self.index.find_nearby(id) {
            // A slot is not aligned: its last octets may be in another line.
            std::hint::black_box(self.slots[place].pftm);
        }
    }

    #[inline(always)]
    pub(super) fn find(&self, id: StateId) -> Option<u32> {
        self.index.find(id)
    }

    /// Whether `place` holds a state: freed places keep their last one's octets.
    pub(super) fn is_held(&self, place: u32) -> bool {
        self.find(self.slots[place].state_id()) == Some(place)
    }

    pub(super) fn second(&self, uptime_secs: i64) -> Second {
        Second::new(uptime_secs, self.epoch.unwrap_or(0))
    }

    /// Whether this creator's are: then its messages go to [`Self::apply_by_sender`].
    pub fn is_by_sender(&self, creatorid: u32) -> bool {
        self.host_ids.creators.contains_key(&creatorid)
    }

    /// The identity that was sent of a state that the table knows as `id`.
    pub fn wire_id(&self, id: StateId) -> StateId {
        let creatorid = self.host_ids.aliases.get(&id.creatorid);
        StateId {
            creatorid: creatorid.copied().unwrap_or(id.creatorid),
            ..id
        }
    }

    /// Whether a full state has the key of the one held at `place`.
    pub(super) fn has_key(&self, place: u32, state: &Values<'_>) -> bool {
        let slot = &self.slots[place];
        let KeyPair { wire, stack, .. } = slot.key_pair(&self.keys);
        state.direction == slot.direction
            && state.wire == wire
            && state.stack.unwrap_or(state.wire) == stack
    }

    /// Whether somebody watches.
    pub(super) fn is_watched(&self) -> bool {
        self.events.is_some()
    }

    pub(super) fn tell(&mut self, event: Event) {
        if let Some(events) = &mut self.events {
            events.push(event);
        }
    }

    /// Notes whether what is kept beside a state asks for a look at its messages and its end.
    pub(super) fn note_asides(&mut self) {
        self.is_observed = self.is_watched() || self.details.is_on;
        self.has_more_than_flows = self.connections.is_some() || self.nat_events.is_some();
        self.has_asides = self.active.is_any() || self.details.is_on || self.has_more_than_flows;
    }

    /// Whether nothing more is expected of a state: it is deleted or overdue.
    pub(super) fn is_over(&self, place: u32) -> bool {
        self.is_deleted(place) || self.slots[place].is_overdue
    }

    /// Whether a state's end is held back.
    #[inline]
    pub(super) fn is_deleted(&self, place: u32) -> bool {
        self.slots[place].pftm == DELETED
    }

    /// Seconds that uptime is ahead of the times in a slot whose last sender this is.
    #[inline(always)]
    pub(super) fn offset(&self, sender: u16) -> i64 {
        // Mostly no clock made a step, and nothing is looked up.
        if self.is_any_off {
            self.senders[sender].clock.offset
        } else {
            0
        }
    }

    /// Uptime in seconds that the times in slots of a sender's states count from.
    #[inline(always)]
    pub(super) fn epoch_of(&self, sender: u16) -> i64 {
        self.epoch.unwrap_or(0) + self.offset(sender)
    }
}
