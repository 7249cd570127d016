//! Who sends: each sender's dialect, how long its states live, and what came from it.
//!
//! A sender is an outer source address. All input without one is one sender, `local`.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;

use super::clock::SenderClock;
use super::transfers::Transfer;
use crate::counters::{MessageCounters, PacketCounters, SenderCounters};
use crate::state::PFTM_COUNT;
use crate::time::Wall;
use crate::wire::pfsync::{Action, Bus, Dialect};

/// Most senders told apart; further ones count as one.
pub const MAX_SENDERS: usize = 1024;

/// Most creators told apart for one sender; messages about further ones count for creator 0, which
/// no firewall has.
pub const MAX_CREATORS: usize = 64;

/// The number of [`Sender::Local`].
pub(super) const LOCAL: u16 = 0;

/// What a sender said about the states of one creator.
#[derive(Clone, Debug)]
pub struct CreatorRecord {
    /// Which.
    pub creatorid: u32,
    messages: MessageCounters,
}

impl CreatorRecord {
    /// Messages by action.
    pub fn actions(&self) -> impl Iterator<Item = (Action, u64)> + '_ {
        self.messages.by_action()
    }
}

/// A sender's number.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct SenderId(pub(super) u16);

impl SenderId {
    /// Its place in [`super::Table::senders`].
    pub fn index(self) -> usize {
        self.0.into()
    }

    /// Whether it is [`Sender::Local`].
    pub fn is_local(self) -> bool {
        self.0 == LOCAL
    }
}

/// Where packets come from.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Sender {
    /// This host, or a capture without source addresses.
    Local,
    /// A firewall on the sync network.
    Address(IpAddr),
    /// One of those beyond [`MAX_SENDERS`].
    Other,
}

impl fmt::Display for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local => f.write_str("local"),
            Self::Address(address) => address.fmt(f),
            Self::Other => f.write_str("other"),
        }
    }
}

/// So many states in a row must begin at another time than another sender says before the two
/// clocks are taken to differ. As many must begin at the same time before the clocks are taken to
/// agree.
const ALIKE: u8 = 3;

/// How far the beginnings that a sender tells are from those that other senders tell of the same
/// states.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Apart {
    /// States in turn that were off, at most [`ALIKE`].
    off: u8,
    /// Whether it is certain.
    is_off: bool,
    /// Seconds that the last one was off.
    by: i64,
}

impl Apart {
    /// Another sender told that a state began `by` seconds earlier; `is_off` if that is more than
    /// rounding makes.
    pub(super) fn note(&mut self, by: i64, is_off: bool) {
        if is_off {
            (self.off, self.by) = (ALIKE.min(self.off + 1), by);
        } else {
            self.off = self.off.saturating_sub(1);
        }
        self.is_off = match self.off {
            0 => false,
            ALIKE => true,
            _ => self.is_off,
        };
    }
}

/// What is known of a sender.
#[derive(Clone, Debug)]
pub struct SenderRecord {
    /// Which.
    pub sender: Sender,
    /// What its last packet that showed it was written in.
    pub dialect: Option<Dialect>,
    /// Its packets and messages.
    pub packets: PacketCounters,
    /// What its states showed.
    pub counters: SenderCounters,
    /// How its states' beginnings compare with what other senders tell of them.
    pub(super) apart: Apart,
    /// What it said about whose states.
    creators: Vec<CreatorRecord>,
    /// The record in `creators` of those that its last messages about anybody's states were about.
    latest: usize,
    /// Stamp of its last packet.
    pub last: Wall,
    /// The last bulk status it sent, and when.
    pub bus: Option<(Bus, Wall)>,
    /// Whether its version was complained about already.
    pub is_version_logged: bool,
    /// The largest `expire` seen in each PFTM, seconds: a timeout is at least that.
    pub(super) largest_expire: [u32; PFTM_COUNT],
    /// Its clock against ours.
    pub(super) clock: SenderClock,
    /// Its bulk transfer that runs, or whose end nobody looked at yet.
    pub(super) transfer: Option<Transfer>,
}

impl SenderRecord {
    fn new(sender: Sender) -> Self {
        Self {
            sender,
            dialect: None,
            packets: PacketCounters::default(),
            counters: SenderCounters::default(),
            apart: Apart::default(),
            creators: Vec::new(),
            latest: 0,
            last: Wall::default(),
            bus: None,
            is_version_logged: false,
            largest_expire: [0; PFTM_COUNT],
            clock: SenderClock::default(),
            transfer: None,
        }
    }

    /// Counts so many messages of `action`, which are about the states of `creatorid` if of
    /// anybody's.
    pub fn add_messages(&mut self, creatorid: Option<u32>, action: Action, messages: u64) {
        self.packets.add_messages(action, messages);
        let Some(creatorid) = creatorid else { return };
        match self.creators.get_mut(self.latest) {
            Some(latest) if latest.creatorid == creatorid => latest.messages.add(action, messages),
            _ => self.add_others_messages(creatorid, action, messages),
        }
    }

    /// [`Self::add_messages`] about others' states than the last messages were.
    #[cold]
    fn add_others_messages(&mut self, creatorid: u32, action: Action, messages: u64) {
        let find = |records: &[CreatorRecord], creatorid| {
            let mut records = records.iter();
            records.position(|record| record.creatorid == creatorid)
        };
        let known = find(&self.creators, creatorid);
        let (creatorid, known) = match known {
            None if self.creators.len() >= MAX_CREATORS => (0, find(&self.creators, 0)),
            known => (creatorid, known),
        };
        self.latest = known.unwrap_or_else(|| {
            self.creators.push(CreatorRecord {
                creatorid,
                messages: MessageCounters::default(),
            });
            self.creators.len() - 1
        });
        if let Some(record) = self.creators.get_mut(self.latest) {
            record.messages.add(action, messages);
        }
    }

    /// Whose states its last messages about anybody's were about.
    pub fn latest_creator(&self) -> Option<u32> {
        self.creators
            .get(self.latest)
            .map(|record| record.creatorid)
    }

    /// Seconds that its clock stepped in all.
    pub fn clock_offset(&self) -> i64 {
        self.clock.offset
    }

    /// Seconds that its states begin later than another sender says, if that is more than rounding
    /// makes.
    pub fn seconds_apart(&self) -> Option<i64> {
        self.apart.is_off.then_some(self.apart.by)
    }

    /// What it said about whose states, in the order first heard of.
    pub fn creators(&self) -> &[CreatorRecord] {
        &self.creators
    }

    /// Remembers an `expire` seen in `pftm`.
    pub(super) fn note_expire(&mut self, pftm: u8, expire: u32) {
        if let Some(largest) = self.largest_expire.get_mut(usize::from(pftm)) {
            *largest = expire.max(*largest);
        }
    }

    /// The largest `expire` seen in `pftm`.
    pub(super) fn largest_expire(&self, pftm: usize) -> u32 {
        self.largest_expire.get(pftm).copied().unwrap_or(0)
    }
}

/// All senders.
pub(super) struct Senders {
    records: Vec<SenderRecord>,
    numbers: HashMap<Sender, u16>,
    /// The sender asked for last, because packets come in runs.
    latest: (Sender, u16),
}

impl Default for Senders {
    fn default() -> Self {
        Self {
            records: vec![SenderRecord::new(Sender::Local)],
            numbers: HashMap::from([(Sender::Local, LOCAL)]),
            latest: (Sender::Local, LOCAL),
        }
    }
}

impl Senders {
    /// The number of `sender`, a new one if it is not known; false if it had to be `Other`.
    #[inline]
    pub(super) fn number(&mut self, sender: Sender) -> (SenderId, bool) {
        if self.latest.0 == sender {
            return (SenderId(self.latest.1), true);
        }
        self.find_number(sender)
    }

    /// [`Self::number`] of another sender than the last.
    #[cold]
    fn find_number(&mut self, sender: Sender) -> (SenderId, bool) {
        let (sender, fits) = match self.numbers.contains_key(&sender) {
            false if self.records.len() >= MAX_SENDERS => (Sender::Other, false),
            _ => (sender, true),
        };
        let number = match self.numbers.get(&sender) {
            Some(number) => *number,
            None => {
                let number = u16::try_from(self.records.len()).unwrap_or(u16::MAX - 1);
                self.records.push(SenderRecord::new(sender));
                self.numbers.insert(sender, number);
                number
            }
        };
        self.latest = (sender, number);
        (SenderId(number), fits)
    }

    pub(super) fn all(&self) -> &[SenderRecord] {
        &self.records
    }

    pub(super) fn all_mut(&mut self) -> &mut [SenderRecord] {
        &mut self.records
    }
}

#[expect(
    clippy::indexing_slicing,
    reason = "numbers come from number() and records stay"
)]
impl std::ops::Index<u16> for Senders {
    type Output = SenderRecord;

    fn index(&self, number: u16) -> &SenderRecord {
        &self.records[usize::from(number)]
    }
}

#[expect(
    clippy::indexing_slicing,
    reason = "numbers come from number() and records stay"
)]
impl std::ops::IndexMut<u16> for Senders {
    fn index_mut(&mut self, number: u16) -> &mut SenderRecord {
        &mut self.records[usize::from(number)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn creators_beyond_the_bound_are_one() {
        let mut record = SenderRecord::new(Sender::Local);
        for creatorid in 1..=200 {
            record.add_messages(Some(creatorid), Action::Insert, 1);
        }
        record.add_messages(Some(3), Action::Clear, 1);
        let inserts = |record: &CreatorRecord| record.actions().map(|(_, n)| n).sum::<u64>();
        assert_eq!(record.creators().len(), MAX_CREATORS + 1);
        assert_eq!(record.creators().iter().map(inserts).sum::<u64>(), 201);
        assert_eq!(inserts(&record.creators()[2]), 2);
        assert_eq!(record.creators()[MAX_CREATORS].creatorid, 0);
    }

    #[test]
    fn senders_beyond_the_bound_are_one() {
        let mut senders = Senders::default();
        let address = |n: u32| Sender::Address(IpAddr::from(n.to_be_bytes()));
        let mut refused = 0_usize;
        for n in 0..3000 {
            refused += usize::from(!senders.number(address(n)).1);
        }
        assert_eq!(senders.all().len(), MAX_SENDERS + 1);
        assert_eq!(refused, 3000 - (MAX_SENDERS - 1));
        assert_eq!(senders.number(address(0)).0, SenderId(1));
        let other = senders.number(address(2999)).0;
        assert_eq!(senders[other.0].sender, Sender::Other);
    }
}
