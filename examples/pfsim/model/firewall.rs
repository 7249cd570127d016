//! One firewall: pf's table, its purge, its ledger. What it says of it is in `sender.rs`.
//!
//! ```text
//! pass(burst) --> states --> sender --> poll_packet()          to the sync network
//! advance(now): purge, flushes, bulk      ^
//! receive(packet): UPD_REQ of anybody ----+
//! hear(messages): the partner, as it reads its messages
//! ```
//! No clock, no socket: time is an argument. Timeouts are pf.conf(5)'s defaults.
//!
//! Not modelled: adaptive time-outs, deferral (and so `INS_ACK`), stale updates, no-sync rules.

use std::collections::{HashMap, VecDeque};
use std::net::Ipv4Addr;

use super::burst::{Burst, SYN, Side};
use super::clock::Clock;
use super::dialect::Dialect;
use super::sender::{Bulk, Old, Slice};
use super::state::{Micros, Queued, SECOND, State};
use super::ways::Path;
use super::wire::{self, Bad, Direction, Image, Key, Message};

/// Seconds that a pass of the purge takes over the whole table.
const INTERVAL: u64 = 10;

/// What a firewall is set to.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub dialect: Dialect,
    /// On the sync network.
    pub address: Ipv4Addr,
    pub hostid: u32,
    /// Of pfsync0.
    pub mtu: usize,
    /// Packets of a TCP state after which its update goes out at once.
    pub max_updates: u32,
    /// Most seconds of any time-out, as `set timeout` makes it; `u32::MAX` leaves the defaults.
    pub longest: u32,
    /// UNIX seconds of time 0, from which ids are counted.
    pub wall: u64,
    /// Whether what its own pfsync0 shows is wanted, not what the wire does.
    pub is_pfsync0: bool,
}

/// How a state ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ended {
    Alive,
    Timeout,
    /// A SYN for the same addresses.
    Replaced,
    /// The partner said so.
    Partner,
    /// `pfctl -F states`.
    Cleared,
    /// The firewall came up anew.
    Reboot,
}

/// What really passed: a line of the ledger for each state of this node.
#[derive(Clone, Debug)]
pub struct Account {
    pub id: u64,
    pub creator: u32,
    pub path: Path,
    pub created: Micros,
    /// The last packet that passed here.
    pub last: Option<Micros>,
    pub packets: [u64; 2],
    pub octets: [u64; 2],
    pub ended: Ended,
    pub removed: Option<Micros>,
    /// Whether the whole state was ever sent from here.
    pub is_announced: bool,
}

/// A packet that it sent.
#[derive(Clone, Debug)]
pub struct Sent {
    pub at: Micros,
    /// The messages in it, for the partner, which has no decoder.
    pub messages: Vec<Message>,
    /// With IPv4 header.
    pub packet: Vec<u8>,
}

/// What happened, in numbers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counters {
    pub packets: u64,
    pub messages: u64,
    /// States asked for, and those of them that were not known.
    pub requests: u64,
    pub unknown: u64,
    pub bulks: u64,
    /// Packets that were dropped on receipt.
    pub bad: u64,
    /// Packets of the traffic that no state and no rule let through.
    pub blocked: u64,
}

/// A firewall.
pub struct Firewall {
    pub(super) settings: Settings,
    /// What ages are told by.
    pub(super) clock: Clock,
    /// States by slot.
    pub(super) states: Vec<Option<State>>,
    free: Vec<usize>,
    by_key: HashMap<(u8, Direction, Key), usize>,
    pub(super) by_id: HashMap<(u64, u32), usize>,
    next_id: u64,
    next_second: Micros,
    pub(super) slices: Vec<Slice>,
    pub(super) old: Old,
    pub(super) bulk: Option<Bulk>,
    pub(super) out: VecDeque<Sent>,
    pub(super) ident: u16,
    pub accounts: Vec<Account>,
    pub counters: Counters,
}

impl Firewall {
    /// One that came up at time 0.
    pub fn new(settings: Settings, clock: Clock) -> Self {
        let slices = usize::from(settings.dialect.slices);
        Self {
            settings,
            clock,
            states: Vec::new(),
            free: Vec::new(),
            by_key: HashMap::new(),
            by_id: HashMap::new(),
            next_id: (settings.wall << 32) + 1,
            next_second: SECOND,
            slices: (0..slices).map(|_| Slice::default()).collect(),
            old: Old::default(),
            bulk: None,
            out: VecDeque::new(),
            ident: 0,
            accounts: Vec::new(),
            counters: Counters::default(),
        }
    }

    /// When [`Self::advance`] has something to do.
    pub fn poll_timeout(&self) -> Micros {
        let due = self.slices.iter().filter_map(|slice| slice.due);
        let bulk = self.bulk.as_ref().map(|bulk| bulk.next);
        let all = due.chain(self.old.due).chain(bulk);
        all.min()
            .map_or(self.next_second, |due| due.min(self.next_second))
    }

    /// Does what is due up to `now`, each at its time.
    pub fn advance(&mut self, now: Micros) {
        loop {
            let due = self.poll_timeout();
            if due > now {
                break;
            }
            for slice in 0..self.slices.len() {
                if self.slices[slice].due.is_some_and(|then| then <= due) {
                    self.flush(slice, due);
                }
            }
            if self.old.due.is_some_and(|then| then <= due) {
                self.flush_old(due);
            }
            if self.bulk.as_ref().is_some_and(|bulk| bulk.next <= due) {
                self.bulk_step(due);
            }
            if self.next_second <= due {
                self.purge(due);
                self.next_second += SECOND;
            }
        }
    }

    /// What it sends next.
    pub fn poll_packet(&mut self) -> Option<Sent> {
        self.out.pop_front()
    }

    /// States in the table.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// What its /dev/pf tells of a state.
    pub fn image_of(&self, id: u64, creator: u32, now: Micros) -> Option<Image> {
        let state = self.states[*self.by_id.get(&(id, creator))?].as_ref()?;
        Some(state.image(now, &self.clock))
    }

    /// What its /dev/pf tells of all states.
    pub fn images(&self, now: Micros) -> impl Iterator<Item = Image> {
        let known = self
            .states
            .iter()
            .flatten()
            .filter(|state| !state.is_unlinked);
        known.map(move |state| state.image(now, &self.clock))
    }

    /// One second's share of the table.
    fn purge(&mut self, now: Micros) {
        let second = now / SECOND;
        let first = (second % INTERVAL) as usize;
        for slot in (first..self.states.len()).step_by(INTERVAL as usize) {
            let is_due = self.states[slot]
                .as_ref()
                .is_some_and(|state| !state.is_unlinked && state.expires() <= second);
            if is_due {
                self.unlink(slot, Ended::Timeout, now);
            }
        }
    }

    /// Packets on `path`: whether they passed.
    pub fn pass(&mut self, path: &Path, burst: &Burst, now: Micros) -> bool {
        let key = (path.proto, path.direction, path.key());
        let is_syn = burst.tcp.is_none_or(|tcp| tcp.flags == SYN);
        if let Some(&slot) = self.by_key.get(&key) {
            let is_closed = self.states[slot].as_ref().is_some_and(State::is_closed);
            if !(is_closed && burst.tcp.is_some() && is_syn) {
                self.pass_known(slot, burst, now);
                return true;
            }
            self.unlink(slot, Ended::Replaced, now);
        }
        if !is_syn || burst.from == Side::Responder {
            self.counters.blocked += burst.packets;
            return false;
        }
        let state = State::create(self.next_id, self.settings.hostid, path, burst, now);
        self.next_id += 1;
        let slot = self.link(state, now);
        self.announce(slot, now);
        if burst.packets > 1 {
            // the rest of them finds the state
            let octets = burst.octets / burst.packets;
            self.count(slot, burst, 1, octets, now);
            let rest = Burst {
                packets: burst.packets - 1,
                octets: burst.octets - octets,
                ..*burst
            };
            self.pass_known(slot, &rest, now);
        } else {
            self.count(slot, burst, 1, burst.octets, now);
        }
        true
    }

    fn pass_known(&mut self, slot: usize, burst: &Burst, now: Micros) {
        let mut rest = *burst;
        while rest.packets > 0 {
            let most = self.packets_to_flush(slot).max(1);
            let some = rest.take(most);
            self.pass_some(slot, &some, now);
        }
    }

    /// Packets of a burst after none of which but the last the state is told of at once.
    fn pass_some(&mut self, slot: usize, burst: &Burst, now: Micros) {
        if let Some(state) = self.states[slot].as_mut() {
            state.pass(burst, now);
        }
        // a kernel of old tells of a packet before it counts it; in later ones what is sent is
        // made after the packet is through
        let early = burst.octets / burst.packets * (burst.packets - 1);
        self.count(slot, burst, burst.packets - 1, early, now);
        if !self.is_old() {
            self.count(slot, burst, 1, burst.octets - early, now);
        }
        self.update(slot, burst.packets as u32, now);
        if self.is_old() {
            self.count(slot, burst, 1, burst.octets - early, now);
        }
    }

    fn count(&mut self, slot: usize, burst: &Burst, packets: u64, octets: u64, now: Micros) {
        let Some(state) = self.states[slot].as_mut() else {
            return;
        };
        state.count(burst.from, packets, octets);
        let account = &mut self.accounts[state.account];
        account.packets[burst.from as usize] += packets;
        account.octets[burst.from as usize] += octets;
        account.last = Some(now);
    }

    /// Puts a state into the table and opens its account.
    fn link(&mut self, mut state: State, now: Micros) -> usize {
        state.account = self.accounts.len();
        state.longest = self.settings.longest;
        self.accounts.push(Account {
            id: state.id,
            creator: state.creator,
            path: state.path.clone(),
            created: state.creation.min(now),
            last: None,
            packets: [0; 2],
            octets: [0; 2],
            ended: Ended::Alive,
            removed: None,
            is_announced: false,
        });
        let path = &state.path;
        let key = (path.proto, path.direction, path.key());
        let id = (state.id, state.creator);
        let slot = self.free.pop().unwrap_or(self.states.len());
        if slot == self.states.len() {
            self.states.push(None);
        }
        self.states[slot] = Some(state);
        self.by_key.insert(key, slot);
        self.by_id.insert(id, slot);
        slot
    }

    /// Takes a state out of the table and says so, unless it is to be silent.
    pub(super) fn unlink(&mut self, slot: usize, ended: Ended, now: Micros) {
        let unlinked = self.settings.dialect.unlinked();
        let Some(state) = self.states[slot].as_mut() else {
            return;
        };
        let path = &state.path;
        let key = (path.proto, path.direction, path.key());
        if self.by_key.get(&key) == Some(&slot) {
            self.by_key.remove(&key);
        }
        self.by_id.remove(&(state.id, state.creator));
        let account = &mut self.accounts[state.account];
        account.ended = ended;
        account.removed = Some(now);
        state.is_unlinked = true;
        self.withdraw(slot, now);
        if let Some(state) = self.states[slot].as_mut() {
            state.timeout = unlinked;
            if state.queued == Queued::No {
                self.release(slot);
            }
        }
    }

    /// Gives the slot of an unlinked state back.
    pub(super) fn release(&mut self, slot: usize) {
        self.states[slot] = None;
        self.free.push(slot);
    }

    /// `pfctl -F states`.
    pub fn clear(&mut self, now: Micros) {
        for slot in 0..self.states.len() {
            if let Some(state) = self.states[slot]
                .as_mut()
                .filter(|state| !state.is_unlinked)
            {
                state.is_silent = true;
                self.unlink(slot, Ended::Cleared, now);
            }
        }
        let creator = self.settings.hostid;
        self.send_now(
            Message::Clear {
                ifname: "",
                creator,
            },
            now,
        );
    }

    /// Loses everything, and comes up; ids go on from the clock.
    pub fn reboot(&mut self, now: Micros) {
        for slot in 0..self.states.len() {
            let Some(state) = self.states[slot].take() else {
                continue;
            };
            if !state.is_unlinked {
                let account = &mut self.accounts[state.account];
                account.ended = Ended::Reboot;
                account.removed = Some(now);
            }
            self.free.push(slot);
        }
        self.by_key.clear();
        self.by_id.clear();
        for slice in &mut self.slices {
            *slice = Slice::default();
        }
        self.old = Old::default();
        self.bulk = None;
        self.next_id = ((self.settings.wall + now / SECOND) << 32) + 1;
    }

    /// Asks the partner for all its states, as a node does that comes up.
    pub fn request_bulk(&mut self, now: Micros) {
        self.send_now(Message::UpdateRequest { id: 0, creator: 0 }, now);
    }

    /// A packet from the sync network, IPv4 header and all, of which requests are answered. How
    /// many there were.
    pub fn receive(&mut self, packet: &[u8], now: Micros) -> Result<usize, Bad> {
        self.advance(now);
        let requests = wire::requests(packet, &self.settings.dialect);
        match &requests {
            Ok(requests) => self.answer(requests, now),
            Err(_) => self.counters.bad += 1,
        }
        requests.map(|requests| requests.len())
    }

    /// A packet of the partner.
    pub fn hear(&mut self, messages: &[Message], now: Micros) {
        self.advance(now);
        for message in messages {
            match *message {
                Message::Insert(ref image) | Message::Update(ref image) => {
                    self.hear_state(image, true, now);
                }
                Message::UpdateCompressed(ref image) => self.hear_state(image, false, now),
                Message::Delete(Image { id, creator, .. })
                | Message::DeleteCompressed { id, creator } => {
                    let slot = self.by_id.get(&(id, creator)).copied();
                    self.forget(slot, now);
                }
                Message::Clear { creator, .. } => {
                    for slot in 0..self.states.len() {
                        let state = self.states[slot].as_ref();
                        let is_his = state
                            .is_some_and(|state| state.creator == creator && !state.is_unlinked);
                        self.forget(is_his.then_some(slot), now);
                    }
                }
                Message::UpdateRequest { id, creator } => self.answer(&[(id, creator)], now),
                Message::Bus { .. } => {}
            }
        }
    }

    fn forget(&mut self, slot: Option<usize>, now: Micros) {
        let Some(slot) = slot else {
            return;
        };
        if let Some(state) = self.states[slot].as_mut() {
            state.is_silent = true;
            self.unlink(slot, Ended::Partner, now);
        }
    }

    /// Merges, or imports, what the partner said of a state. Counters are not imported.
    fn hear_state(&mut self, image: &Image, is_whole: bool, now: Micros) {
        let (id, creator) = (image.id, image.creator);
        if let Some(&slot) = self.by_id.get(&(id, creator)) {
            if let Some(state) = self.states[slot].as_mut() {
                state.src = image.src;
                state.dst = image.dst;
                state.timeout = image.timeout;
                state.last = now;
                state.partner = Some(now);
            }
            return;
        }
        if image.timeout == self.settings.dialect.unlinked() {
            return;
        }
        if !is_whole {
            self.send_now(Message::UpdateRequest { id, creator }, now);
            return;
        }
        let state = State {
            id,
            creator,
            path: Path {
                proto: image.proto,
                direction: image.direction,
                wire: image.wire,
                stack: image.stack,
                ifname: image.ifname,
                origin: image.origin,
                connection: None,
                rule: image.rule,
                flags: image.flags,
                max_mss: image.max_mss,
                seqdiff: [image.src.seqdiff, image.dst.seqdiff],
            },
            src: image.src,
            dst: image.dst,
            timeout: image.timeout,
            longest: self.settings.longest,
            creation: now.saturating_sub(self.clock.simulated(image.age)),
            last: now,
            packets: [0; 2],
            octets: [0; 2],
            queued: Queued::No,
            updates: 0,
            partner: Some(now),
            is_silent: false,
            is_unlinked: false,
            account: 0,
        };
        self.link(state, now);
    }
}
