//! What a firewall says of its states, and when: pfsync's queues, buffers and bulks.
//!
//! ```text
//! v2 to v4    one buffer of messages of one action, made when it happened; out after 1 s, when
//!             the action changes, when full, when one state was updated 128 times
//! v5, v6      queues of states, made into messages when they go out: after 1 s, when full, when
//!             a TCP state had 128 packets, when somebody asked
//! ```
//! Source: sys/net/if_pfsync.c `pfsync_pack_state` (old), `pfsync_update_state`,
//! `pfsync_delete_state`, `pfsync_update_state_req`, `pfsync_bulk_update`, `pfsync_sendout`.

use std::collections::VecDeque;

use super::dialect::{Era, Layout};
use super::firewall::{Firewall, Sent};
use super::state::{Micros, Queued, SECOND, State, TCP};
use super::wire::{self, HEADER, IP_HEADER, Image, Kind, Message};

/// How long a message waits at most.
const HOLD: Micros = SECOND;
/// How long after the partner spoke of a state updates are sent at once.
const ASYMMETRIC: Micros = 2 * SECOND;
/// A tick of the clock, at which a bulk goes on (v2 to 7.3, FreeBSD).
const TICK: Micros = 10_000;
/// The same from 7.4 on.
const BULK_STEP: Micros = 20_000;

/// Queues that work on their own.
#[derive(Debug, Default)]
pub struct Slice {
    inserts: Vec<usize>,
    updates: Vec<usize>,
    compressed: Vec<usize>,
    deletes: Vec<usize>,
    /// What rides along: requests, clears, bulk status.
    extra: Vec<Message>,
    /// When they go out.
    pub due: Option<Micros>,
}

impl Slice {
    fn queue(&mut self, queued: Queued) -> Option<&mut Vec<usize>> {
        match queued {
            Queued::No => None,
            Queued::Insert => Some(&mut self.inserts),
            Queued::Update => Some(&mut self.updates),
            Queued::UpdateCompressed => Some(&mut self.compressed),
            Queued::Delete => Some(&mut self.deletes),
        }
    }
}

/// The buffer of v2 to v4.
#[derive(Debug, Default)]
pub struct Old {
    /// Messages of one kind, with the state they are of.
    messages: Vec<(usize, Message)>,
    pub due: Option<Micros>,
}

/// A bulk under way.
#[derive(Debug)]
pub struct Bulk {
    states: VecDeque<usize>,
    /// Asked for then.
    started: Micros,
    is_first: bool,
    pub next: Micros,
}

/// Which message a queue becomes.
fn kind(queued: Queued) -> Kind {
    match queued {
        Queued::Insert => Kind::Insert,
        Queued::Update => Kind::Update,
        Queued::Delete => Kind::DeleteCompressed,
        Queued::UpdateCompressed | Queued::No => Kind::UpdateCompressed,
    }
}

fn message(queued: Queued, image: Image) -> Message {
    let (id, creator) = (image.id, image.creator);
    match queued {
        Queued::Insert => Message::Insert(image),
        Queued::Update => Message::Update(image),
        Queued::Delete => Message::DeleteCompressed { id, creator },
        Queued::UpdateCompressed | Queued::No => Message::UpdateCompressed(image),
    }
}

impl Firewall {
    pub(super) fn is_old(&self) -> bool {
        self.settings.dialect.era == Era::Old
    }

    /// The slice of a state: by its id on FreeBSD, by its key on OpenBSD.
    fn slice(&self, state: &State) -> usize {
        let ports = state.path.wire.port;
        let hash = match self.settings.dialect.layout {
            Layout::V6(_) => u64::from(ports[0].wrapping_add(ports[1])),
            _ => state.id,
        };
        (hash % self.slices.len() as u64) as usize
    }

    /// A state is new.
    pub(super) fn announce(&mut self, slot: usize, now: Micros) {
        if self.is_old() {
            self.note_old(slot, Kind::Insert, 0, now);
        } else {
            self.enqueue(slot, Queued::Insert, now);
        }
    }

    /// A state has seen packets.
    pub(super) fn update(&mut self, slot: usize, packets: u32, now: Micros) {
        if self.is_old() {
            let kind = match self.settings.is_pfsync0 {
                true => Kind::Update,
                false => Kind::UpdateCompressed,
            };
            return self.note_old(slot, kind, packets, now);
        }
        let Some(state) = self.states[slot].as_mut() else {
            return;
        };
        let is_tcp = state.path.proto == TCP;
        let is_shared = state.partner.is_some_and(|then| now - then < ASYMMETRIC);
        match state.queued {
            Queued::No => {
                state.updates = packets - 1;
                self.enqueue(slot, Queued::UpdateCompressed, now);
            }
            Queued::Delete => return,
            // from 7.4 on only updates are counted
            Queued::Insert if self.settings.dialect.era == Era::Slices => {}
            _ => state.updates += packets,
        }
        let max = self.settings.max_updates;
        let Some(state) = self.states[slot].as_ref() else {
            return;
        };
        if is_shared || (is_tcp && state.updates >= max) {
            let slice = self.slice(state);
            self.flush(slice, now);
        }
    }

    /// After how many more packets of a state it is told of at once.
    pub(super) fn packets_to_flush(&self, slot: usize) -> u64 {
        let Some(state) = self.states[slot].as_ref() else {
            return u64::MAX;
        };
        let max = u64::from(self.settings.max_updates);
        match state.queued {
            _ if self.is_old() || state.path.proto != TCP => u64::MAX,
            Queued::Insert if self.settings.dialect.era == Era::Slices => u64::MAX,
            // the one that queues it is not counted
            Queued::No => max + 1,
            _ => max.saturating_sub(state.updates.into()),
        }
    }

    /// A state is gone from the table.
    pub(super) fn withdraw(&mut self, slot: usize, now: Micros) {
        let Some(state) = self.states[slot].as_ref() else {
            return;
        };
        let (queued, is_silent) = (state.queued, state.is_silent);
        if self.is_old() {
            // only its creator says so
            if !is_silent && state.creator == self.settings.hostid {
                let kind = match self.settings.is_pfsync0 {
                    true => Kind::Delete,
                    false => Kind::DeleteCompressed,
                };
                self.note_old(slot, kind, 0, now);
            }
            return;
        }
        if is_silent && self.settings.dialect.era == Era::Slices {
            // what was queued still goes out
            return;
        }
        self.dequeue(slot);
        // a state that was never announced needs no farewell
        if !is_silent && queued != Queued::Insert {
            self.enqueue(slot, Queued::Delete, now);
        }
    }

    fn enqueue(&mut self, slot: usize, queued: Queued, now: Micros) {
        let Some(state) = self.states[slot].as_ref() else {
            return;
        };
        let slice = self.slice(state);
        let dialect = self.settings.dialect;
        let len = kind(queued).len(&dialect);
        let is_new = self.slices[slice]
            .queue(queued)
            .is_some_and(|queue| queue.is_empty());
        let more = if is_new { len + 4 } else { len };
        let filled = self.slice_len(slice);
        if dialect.era == Era::Queues && filled == IP_HEADER + wire::overhead(&dialect) {
            // what goes out meanwhile because it is full does not stop this
            self.slices[slice].due = Some(now + HOLD);
        }
        if filled + more > self.settings.mtu {
            let due = self.slices[slice].due;
            self.flush(slice, now);
            if dialect.era == Era::Queues {
                self.slices[slice].due = due;
            }
        }
        if let Some(state) = self.states[slot].as_mut() {
            state.queued = queued;
        }
        let slice = &mut self.slices[slice];
        if let Some(queue) = slice.queue(queued) {
            queue.push(slot);
        }
        slice.due.get_or_insert(now + HOLD);
    }

    fn dequeue(&mut self, slot: usize) {
        let Some(state) = self.states[slot].as_ref() else {
            return;
        };
        let (slice, queued) = (self.slice(state), state.queued);
        if let Some(queue) = self.slices[slice].queue(queued) {
            queue.retain(|queued| *queued != slot);
        }
        if let Some(state) = self.states[slot].as_mut() {
            state.queued = Queued::No;
        }
    }

    /// Octets of the packet that a slice would make, IP header included.
    fn slice_len(&self, slice: usize) -> usize {
        let dialect = &self.settings.dialect;
        let slice = &self.slices[slice];
        let queues = [
            (Kind::Insert, slice.inserts.len()),
            (Kind::Update, slice.updates.len()),
            (Kind::UpdateCompressed, slice.compressed.len()),
            (Kind::DeleteCompressed, slice.deletes.len()),
        ];
        let messages: usize = queues
            .iter()
            .filter(|(_, count)| *count > 0)
            .map(|(kind, count)| 4 + count * kind.len(dialect))
            .sum();
        let extra: usize = slice
            .extra
            .iter()
            .map(|more| 4 + more.kind().len(dialect))
            .sum();
        IP_HEADER + wire::overhead(dialect) + messages + extra
    }

    /// Sends what a slice holds.
    pub(super) fn flush(&mut self, slice: usize, now: Micros) {
        let taken = std::mem::take(&mut self.slices[slice]);
        let mut messages = Vec::new();
        let Slice {
            inserts,
            updates,
            compressed,
            deletes,
            extra,
            ..
        } = taken;
        let is_v6 = self.settings.dialect.version == 6;
        if is_v6 {
            messages.extend_from_slice(&extra);
            self.take(&compressed, Queued::UpdateCompressed, now, &mut messages);
            self.take(&deletes, Queued::Delete, now, &mut messages);
        }
        self.take(&inserts, Queued::Insert, now, &mut messages);
        self.take(&updates, Queued::Update, now, &mut messages);
        if !is_v6 {
            self.take(&compressed, Queued::UpdateCompressed, now, &mut messages);
            self.take(&deletes, Queued::Delete, now, &mut messages);
            messages.extend_from_slice(&extra);
        }
        self.send(messages, now);
    }

    fn take(&mut self, slots: &[usize], queued: Queued, now: Micros, out: &mut Vec<Message>) {
        for &slot in slots {
            let Some(state) = self.states[slot].as_mut() else {
                continue;
            };
            state.queued = Queued::No;
            state.updates = 0;
            if matches!(queued, Queued::Insert | Queued::Update) && !state.is_unlinked {
                self.accounts[state.account].is_announced = true;
            }
            out.push(message(queued, state.image(now, &self.clock)));
            if state.is_unlinked {
                self.release(slot);
            }
        }
    }

    fn send(&mut self, messages: Vec<Message>, now: Micros) {
        if messages.is_empty() {
            return;
        }
        self.ident = self.ident.wrapping_add(1);
        let payload = wire::packet(&messages, &self.settings.dialect);
        self.counters.packets += 1;
        self.counters.messages += messages.len() as u64;
        self.out.push_back(Sent {
            at: now,
            packet: wire::ip(self.settings.address, self.ident, &payload),
            messages,
        });
    }

    /// Sends one message that waits for nothing, and what may ride along with it.
    pub(super) fn send_now(&mut self, message: Message, now: Micros) {
        match self.settings.dialect.era {
            Era::Old => {
                self.flush_old(now);
                self.send(vec![message], now);
            }
            Era::Queues => {
                if self.slice_len(0) + 28 > self.settings.mtu {
                    self.flush(0, now);
                }
                self.slices[0].extra.push(message);
                self.flush(0, now);
            }
            Era::Slices => self.send(vec![message], now),
        }
    }

    /// Puts a message into the buffer of v2 to v4, or renews the one that is there.
    fn note_old(&mut self, slot: usize, kind: Kind, packets: u32, now: Micros) {
        let Some(state) = self.states[slot].as_ref() else {
            return;
        };
        let image = state.image(now, &self.clock);
        let account = state.account;
        let max_count = (self.settings.mtu - IP_HEADER - HEADER) / 240;
        let holds = self.old.messages.first().map(|(_, held)| held.kind());
        if holds.is_some_and(|holds| holds != kind) {
            self.flush_old(now);
        }
        let held = self.old.messages.iter_mut().find(|(held, _)| *held == slot);
        if let Some((_, Message::Update(held) | Message::UpdateCompressed(held))) = held {
            // the counters stay as they were
            held.src = image.src;
            held.dst = image.dst;
            held.timeout = image.timeout;
            held.expire = 0;
            let updates = u32::from(held.updates) + packets;
            held.updates = updates.min(255) as u8;
            if updates >= self.settings.max_updates {
                self.flush_old(now);
            }
            return;
        }
        let (id, creator) = (image.id, image.creator);
        let image = Image {
            updates: packets.min(255) as u8,
            ..image
        };
        self.accounts[account].is_announced = true;
        let message = match kind {
            Kind::Insert => Message::Insert(image),
            Kind::Update => Message::Update(image),
            Kind::Delete => Message::Delete(image),
            Kind::DeleteCompressed => Message::DeleteCompressed { id, creator },
            _ => Message::UpdateCompressed(image),
        };
        self.old.messages.push((slot, message));
        self.old.due.get_or_insert(now + HOLD);
        if self.old.messages.len() >= max_count || packets >= self.settings.max_updates {
            self.flush_old(now);
        }
    }

    /// Sends the buffer of v2 to v4.
    pub(super) fn flush_old(&mut self, now: Micros) {
        let old = std::mem::take(&mut self.old);
        let messages = old.messages.into_iter().map(|(_, message)| message);
        self.send(messages.collect(), now);
    }

    /// Answers requests of one packet. (0, 0) is for everything.
    pub(super) fn answer(&mut self, requests: &[(u64, u32)], now: Micros) {
        let mut touched = vec![false; self.slices.len()];
        for &(id, creator) in requests {
            if (id, creator) == (0, 0) {
                self.bulk_start(now);
                continue;
            }
            self.counters.requests += 1;
            let Some(&slot) = self.by_id.get(&(id, creator)) else {
                self.counters.unknown += 1;
                continue;
            };
            if let Some(slice) = self.answer_state(slot, now) {
                touched[slice] = true;
            }
        }
        self.flush_touched(&touched, now);
    }

    /// Queues a full update; which slice holds it.
    fn answer_state(&mut self, slot: usize, now: Micros) -> Option<usize> {
        let state = self.states[slot].as_ref()?;
        if self.is_old() {
            self.note_old(slot, Kind::Update, 0, now);
            return None;
        }
        let (slice, queued) = (self.slice(state), state.queued);
        match queued {
            Queued::Insert | Queued::Update | Queued::Delete => return None,
            Queued::UpdateCompressed => self.dequeue(slot),
            Queued::No => {}
        }
        self.enqueue(slot, Queued::Update, now);
        Some(slice)
    }

    fn bulk_start(&mut self, now: Micros) {
        if self.bulk.is_some() && self.settings.dialect.era == Era::Slices {
            // noted, and forgotten
            return;
        }
        self.counters.bulks += 1;
        let slots = 0..self.states.len();
        let states = slots.filter(|slot| self.states[*slot].is_some()).collect();
        let next = match self.settings.dialect.era {
            Era::Old => now + SECOND,
            Era::Queues => now + TICK,
            Era::Slices => now,
        };
        self.bulk = Some(Bulk {
            states,
            started: now,
            is_first: true,
            next,
        });
        if self.settings.dialect.era != Era::Slices {
            let bus = self.bus(now, now, false);
            self.send_now(bus, now);
        }
    }

    fn bus(&self, started: Micros, now: Micros, is_end: bool) -> Message {
        let endtime = match self.settings.dialect.era {
            Era::Slices => 0,
            _ => (now / SECOND - started / SECOND) as u32,
        };
        Message::Bus {
            creator: self.settings.hostid,
            endtime,
            is_end,
        }
    }

    /// One packet of a bulk.
    pub(super) fn bulk_step(&mut self, now: Micros) {
        let Some(mut bulk) = self.bulk.take() else {
            return;
        };
        let dialect = self.settings.dialect;
        let empty = IP_HEADER + wire::overhead(&dialect);
        // room for a bus message, too
        let room = self.settings.mtu - empty - 24;
        let most = room / dialect.state_len();
        let is_slices = dialect.era == Era::Slices;
        let mut messages = Vec::new();
        if is_slices && bulk.is_first {
            messages.push(self.bus(bulk.started, now, false));
        }
        bulk.is_first = false;
        let mut sent = 0;
        let mut touched = vec![false; self.slices.len()];
        while sent < most {
            let Some(slot) = bulk.states.pop_front() else {
                break;
            };
            let Some(state) = self.states[slot].as_ref() else {
                continue;
            };
            let account = state.account;
            if is_slices {
                messages.push(Message::Update(state.image(now, &self.clock)));
                self.accounts[account].is_announced = true;
                sent += 1;
                continue;
            }
            let is_his = state.partner.is_some_and(|then| then >= bulk.started);
            if state.is_unlinked || state.queued != Queued::No || is_his {
                continue;
            }
            if let Some(slice) = self.answer_state(slot, now) {
                touched[slice] = true;
            }
            sent += 1;
        }
        let is_end = bulk.states.is_empty();
        let bus = self.bus(bulk.started, now, true);
        if is_slices {
            if is_end {
                messages.push(bus);
            }
            self.send(messages, now);
        } else {
            self.flush_touched(&touched, now);
            if is_end {
                self.send_now(bus, now);
            }
        }
        if !is_end {
            bulk.next = now + if is_slices { BULK_STEP } else { TICK };
            self.bulk = Some(bulk);
        }
    }

    fn flush_touched(&mut self, touched: &[bool], now: Micros) {
        for (slice, is_touched) in touched.iter().enumerate() {
            if *is_touched {
                self.flush(slice, now);
            }
        }
        self.flush_old(now);
    }
}
