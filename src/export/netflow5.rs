//! NetFlow v5: one buffer; splits what 32 bits cannot count; leaves IPv6 out.

use super::format::Packed;
use super::mtu::{Capacity, records_that_fit};
use super::outbox::{Stamp, To};
use super::settings::Settings;
use crate::flow::{Flow, Passage, Record, Tuple};
use crate::time::{Now, Uptime};
use crate::wire::netflow5::{self as wire, millis_mod_32};

/// Most octets in one record: larger flows are split (PFLOW_MAXBYTES).
const MAX_OCTETS: u64 = 0xffff_ffff;

/// Most records that the flows of one turn are split into beyond their first: 256 TiB. A turn is
/// one packet or one timer. A flow that claims more than is left is cut to that, so that no packet
/// can make pflow send without end.
const MAX_PIECES: u64 = 1 << 16;

/// Octets of the longest datagram.
const MAX_LEN: usize = wire::HEADER_LEN + wire::MAX_RECORDS * wire::RECORD_LEN;

/// The encoder of one interface.
#[derive(Debug)]
pub(super) struct NetFlow5 {
    /// The datagram being filled; what is behind its records is left from earlier ones.
    buffer: Box<[u8; MAX_LEN]>,
    /// Octets of it so far.
    len: usize,
    /// Octets it has when it is full.
    full_len: usize,
    deadline: Option<Uptime>,
    /// Type and id of the engine.
    engine: [u8; 2],
    /// Records that flows may still be split into in this turn.
    pieces: u64,
}

/// How a flow of one direction goes into records.
struct Pieces {
    full: u64,
    rest: u64,
    packets: u64,
    octets: u64,
}

impl Pieces {
    /// `left` is how many full pieces there may be; what is used is taken from it.
    fn new(record: &Record, left: &mut u64) -> Self {
        let octets = record.octets.min((*left + 1) * MAX_OCTETS);
        // A multiple of the most leaves a remainder of the most, never one of 0.
        let full = (octets - 1) / MAX_OCTETS;
        *left -= full;
        Self {
            full,
            rest: octets - full * MAX_OCTETS,
            packets: record.packets,
            octets,
        }
    }

    /// Packets of one full piece: in proportion to its octets, at least one while they last.
    fn packets_of_full(&self) -> u64 {
        let share = u128::from(self.packets) * u128::from(MAX_OCTETS) / u128::from(self.octets);
        u64::try_from(share).unwrap_or(u64::MAX).max(1)
    }
}

impl NetFlow5 {
    /// An encoder for an interface with `settings`.
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            buffer: Box::new([0; MAX_LEN]),
            len: wire::HEADER_LEN,
            full_len: wire::HEADER_LEN + Self::records_per_datagram(settings) * wire::RECORD_LEN,
            deadline: None,
            engine: settings.engine.0,
            pieces: MAX_PIECES,
        }
    }

    /// Records that go into one datagram.
    pub(super) fn records_per_datagram(settings: &Settings) -> usize {
        let capacity = Capacity {
            header: wire::HEADER_LEN,
            record: wire::RECORD_LEN,
        };
        records_that_fit(settings, capacity, capacity)
    }

    /// Allows as many pieces again.
    pub(super) fn begin_turn(&mut self) {
        self.pieces = MAX_PIECES;
    }

    /// Packs a flow's records.
    #[inline(always)]
    pub(super) fn push(
        &mut self,
        now: Now,
        settings: &Settings,
        flow: &Flow,
        passage: &Passage,
        to: &mut To<'_>,
    ) -> Packed {
        let ([packets, packets_back], [octets, octets_back]) = (flow.packets, flow.octets);
        let (Ok(octets), Ok(octets_back)) = (u32::try_from(octets), u32::try_from(octets_back))
        else {
            return self.push_each(now, settings, [flow, flow], passage, to);
        };
        let ifindexes = flow.interfaces(passage, false);
        let forward = wire_record(flow, &flow.tuple, ifindexes, (packets, octets));
        if octets > 0 {
            self.pack(now, settings, &forward, to);
        }
        if octets_back > 0 {
            let back = forward.reversed(clamped(packets_back), octets_back);
            self.pack(now, settings, &back, to);
        }
        Packed {
            records: u32::from(octets > 0) + u32::from(octets_back > 0),
            is_clipped: false,
        }
    }

    /// [`Self::push`] of a flow whose directions are told apart, or whose octets 32 bits cannot
    /// count. `flow` gives the records of its way forth, and `back` those of its way back.
    #[cold]
    pub(super) fn push_each(
        &mut self,
        now: Now,
        settings: &Settings,
        [flow, back]: [&Flow; 2],
        passage: &Passage,
        to: &mut To<'_>,
    ) -> Packed {
        let mut packed = Packed {
            records: 0,
            is_clipped: false,
        };
        let mut last = [None, None];
        // The kernel's order: full pieces forward, full pieces back, then what is left of both.
        let records = flow.record(false).into_iter().chain(back.record(true));
        for (record, last) in records.zip(&mut last) {
            let ifindexes = flow.interfaces(passage, record.reverse);
            let pieces = Pieces::new(&record, &mut self.pieces);
            packed.is_clipped |= pieces.octets < record.octets;
            let each = pieces.packets_of_full();
            let mut packets = pieces.packets;
            for _ in 0..pieces.full {
                let some = each.min(packets);
                packets -= some;
                let counts = (some, u32::MAX);
                let piece = wire_record(flow, &record.tuple, ifindexes, counts);
                self.pack(now, settings, &piece, to);
                packed.records += 1;
            }
            let counts = (packets, clamped(pieces.rest));
            *last = Some(wire_record(flow, &record.tuple, ifindexes, counts));
        }
        for record in last.iter().flatten() {
            self.pack(now, settings, record, to);
            packed.records += 1;
        }
        packed
    }

    /// Adds one record and sends the datagram if it is full.
    #[inline(always)]
    fn pack(&mut self, now: Now, settings: &Settings, record: &wire::Record, to: &mut To<'_>) {
        if self.is_empty() {
            self.deadline = Some(now.uptime.after(settings.hold()));
        }
        let rest = self.buffer.get_mut(self.len..).unwrap_or_default();
        let Some(octets) = rest.first_chunk_mut() else {
            return;
        };
        record.write(octets);
        // No more than there is room.
        self.len = self.len.wrapping_add(wire::RECORD_LEN);
        if self.len >= self.full_len {
            self.flush(now, to);
        }
    }

    /// Whether the datagram has no records yet.
    fn is_empty(&self) -> bool {
        self.len == wire::HEADER_LEN
    }

    /// Sends what is held long enough.
    pub(super) fn handle_timeout(&mut self, now: Now, to: &mut To<'_>) {
        if self.deadline.is_some_and(|at| at <= now.uptime) {
            self.flush(now, to);
        }
    }

    /// Sends what is held.
    #[cold]
    pub(super) fn flush(&mut self, now: Now, to: &mut To<'_>) {
        if self.is_empty() {
            return;
        }
        let records = u16::try_from(self.held()).unwrap_or(u16::MAX);
        let datagram = self.buffer.get(..self.len).unwrap_or_default();
        let engine = self.engine;
        to.push(Stamp::NetFlow5 { engine }, now, records, datagram);
        self.len = wire::HEADER_LEN;
        self.deadline = None;
    }

    /// When what is held must go.
    #[inline]
    pub(super) fn poll_timeout(&self) -> Option<Uptime> {
        self.deadline
    }

    /// Records held.
    pub(super) fn held(&self) -> usize {
        (self.len - wire::HEADER_LEN) / wire::RECORD_LEN
    }
}

/// A record of `flow` with the ends of `tuple`, packets and octets.
#[inline]
fn wire_record(
    flow: &Flow,
    tuple: &Tuple,
    ifindexes: [u16; 2],
    counts: (u64, u32),
) -> wire::Record {
    let (packets, octets) = counts;
    let (first, last) = flow.times.uptimes();
    wire::Record {
        src: tuple.src.v4(),
        dst: tuple.dst.v4(),
        ifindexes,
        packets: clamped(packets),
        octets,
        first: millis_mod_32(first),
        last: millis_mod_32(last),
        sport: tuple.sport,
        dport: tuple.dport,
        proto: tuple.proto,
    }
}

fn clamped(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::{Outbox, Transmit};
    use crate::flow::{Boot, End, Quality, Times};
    use crate::state::{Address, Af, Direction, IfName, StateId};
    use crate::time::Wall;

    fn flow(packets: [u64; 2], octets: [u64; 2]) -> Flow {
        Flow {
            id: StateId::default(),
            direction: Direction::In,
            ifname: IfName::default(),
            pflow: true,
            tuple: Tuple {
                af: Af::Inet,
                proto: 6,
                src: Address([1; 16]),
                dst: Address([2; 16]),
                sport: 3,
                dport: 4,
            },
            translated: None,
            packets,
            octets,
            times: Times::new(
                1,
                2,
                Now::with_boot(Wall::new(2, 0), Wall::default()),
                Boot::Known,
            ),
            end: End::Deleted,
            quality: Quality::Exact,
            detail: None,
            only: None,
        }
    }

    /// Packets, octets and source port of the records that a flow makes.
    fn records(flow: &Flow) -> Vec<(u64, u64, u16)> {
        let mut outbox = Outbox::default();
        let settings = Settings::default();
        let mut encoder = NetFlow5::new(&settings);
        let now = Now::with_boot(Wall::new(100, 0), Wall::new(0, 0));
        let to = &mut To::new(0, &mut outbox);
        let packed = encoder.push(now, &settings, flow, &Passage::of_state(0), to);
        encoder.flush(now, to);
        let transmit = Transmit::from(outbox);
        let u32_at = |b: &[u8], at: usize| {
            u64::from(u32::from_be_bytes([b[at], b[at + 1], b[at + 2], b[at + 3]]))
        };
        let all: Vec<_> = transmit
            .iter()
            .flat_map(|(_, datagram)| datagram[24..].chunks(48))
            .map(|b| {
                (
                    u32_at(b, 16),
                    u32_at(b, 20),
                    u16::from_be_bytes([b[32], b[33]]),
                )
            })
            .collect();
        assert_eq!(all.len(), packed.records as usize);
        all
    }

    #[test]
    fn flows_above_32_bits_are_split_in_the_kernels_order_with_packets_in_proportion() {
        let big = flow([100, 7], [MAX_OCTETS * 2 + 5, MAX_OCTETS + 1]);
        assert_eq!(
            records(&big),
            [
                (49, MAX_OCTETS, 3),
                (49, MAX_OCTETS, 3),
                (6, MAX_OCTETS, 4),
                (2, 5, 3),
                (1, 1, 4)
            ]
        );
    }

    #[test]
    fn a_total_of_exactly_32_bits_is_one_record() {
        assert_eq!(
            records(&flow([9, 0], [MAX_OCTETS, 0])),
            [(9, MAX_OCTETS, 3)]
        );
        assert_eq!(
            records(&flow([9, 0], [MAX_OCTETS * 2, 0])),
            [(4, MAX_OCTETS, 3), (5, MAX_OCTETS, 3)]
        );
    }

    #[test]
    fn each_piece_has_a_packet_while_they_last() {
        assert_eq!(
            records(&flow([1, 0], [MAX_OCTETS * 2 + 1, 0])),
            [(1, MAX_OCTETS, 3), (0, MAX_OCTETS, 3), (0, 1, 3)]
        );
    }

    #[test]
    fn octets_without_packets_are_a_record_and_packets_without_octets_none() {
        assert_eq!(records(&flow([0, 5], [60, 0])), [(0, 60, 3)]);
    }

    #[test]
    fn a_flow_that_lies_about_its_octets_is_cut() {
        let lie = flow([1, 0], [u64::MAX, u64::MAX]);
        assert_eq!(records(&lie).len() as u64, MAX_PIECES + 2);
    }
}
