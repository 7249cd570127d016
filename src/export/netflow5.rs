//! NetFlow v5: one buffer; splits what 32 bits cannot count; leaves IPv6 out.
//!
//! `flow_sequence` is the number of records packed before the buffer was begun (if_pflow.c,
//! `pflow_get_mbuf`).

use super::{Capacity, Outbox, Settings, records_that_fit};
use crate::flow::{Flow, Record, Tuple};
use crate::time::{Now, Uptime};
use crate::wire::netflow5 as wire;

/// Most octets in one record: larger flows are split (PFLOW_MAXBYTES).
const MAX_OCTETS: u64 = 0xffff_ffff;

/// Most records that the flows of one turn, a packet's or a timer's, are split into beyond their
/// first: 256 TiB. A flow that claims more than is left is cut to that, so that no packet can make
/// pflow send without end.
pub(crate) const MAX_PIECES: u64 = 1 << 16;

/// Octets of the longest datagram.
const MAX_LEN: usize = wire::HEADER_LEN + wire::MAX_RECORDS * wire::RECORD_LEN;

/// The encoder of one interface.
#[derive(Debug)]
pub struct NetFlow5 {
    /// The datagram being filled; what is behind its records is left from earlier ones.
    buffer: Box<[u8; MAX_LEN]>,
    /// Octets of it so far.
    len: usize,
    /// Octets it has when it is full, worked out when it was begun.
    full_len: usize,
    /// Sequence when the buffer was begun.
    begun_at: u32,
    deadline: Option<Uptime>,
}

impl Default for NetFlow5 {
    fn default() -> Self {
        Self {
            buffer: Box::new([0; MAX_LEN]),
            len: wire::HEADER_LEN,
            full_len: 0,
            begun_at: 0,
            deadline: None,
        }
    }
}

/// Where an encoder's datagrams go and how they are numbered.
pub(crate) struct Sink<'a> {
    /// Number of the interface.
    pub(crate) unit: u32,
    /// Records of NetFlow v5 and IPFIX alike that the interface packed (`sc_gcounter`).
    pub(crate) packed: &'a mut u32,
    /// Records that flows may still be split into in this turn.
    pub(crate) pieces: &'a mut u64,
    /// Where datagrams go.
    pub(crate) outbox: &'a mut Outbox,
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
        // A multiple of the most is not split to nothing: the remainder is never 0.
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
    /// Records that go into one datagram.
    pub fn records_per_datagram(settings: &Settings) -> usize {
        let capacity = Capacity {
            header: wire::HEADER_LEN,
            record: wire::RECORD_LEN,
        };
        records_that_fit(settings, capacity, capacity)
    }

    /// Packs a flow's records; true if it claimed more octets than can be split.
    pub(crate) fn push(
        &mut self,
        now: Now,
        settings: &Settings,
        flow: &Flow,
        ifindex: u16,
        sink: &mut Sink<'_>,
    ) -> bool {
        let ([packets, packets_back], [octets, octets_back]) = (flow.packets, flow.octets);
        let (Ok(octets), Ok(octets_back)) = (u32::try_from(octets), u32::try_from(octets_back))
        else {
            return self.push_large(now, settings, flow, ifindex, sink);
        };
        let ifindexes = flow.interfaces(ifindex, false);
        let forward = wire_record(flow, &flow.tuple, ifindexes, (packets, octets));
        if octets > 0 {
            self.pack(now, settings, &forward, sink);
        }
        if octets_back > 0 {
            let back = forward.reversed(clamped(packets_back), octets_back);
            self.pack(now, settings, &back, sink);
        }
        false
    }

    /// [`Self::push`] for what 32 bits cannot count.
    #[cold]
    fn push_large(
        &mut self,
        now: Now,
        settings: &Settings,
        flow: &Flow,
        ifindex: u16,
        sink: &mut Sink<'_>,
    ) -> bool {
        let mut is_clipped = false;
        let mut last = [None, None];
        // The kernel's order: full pieces forward, full pieces back, then what is left of both.
        for (record, last) in flow.records().zip(&mut last) {
            let pieces = Pieces::new(&record, sink.pieces);
            let ifindexes = flow.interfaces(ifindex, record.reverse);
            is_clipped |= pieces.octets < record.octets;
            let each = pieces.packets_of_full();
            let mut packets = pieces.packets;
            for _ in 0..pieces.full {
                let some = each.min(packets);
                packets -= some;
                let counts = (some, u32::MAX);
                let piece = wire_record(flow, &record.tuple, ifindexes, counts);
                self.pack(now, settings, &piece, sink);
            }
            let counts = (packets, clamped(pieces.rest));
            *last = Some(wire_record(flow, &record.tuple, ifindexes, counts));
        }
        for record in last.iter().flatten() {
            self.pack(now, settings, record, sink);
        }
        is_clipped
    }

    /// Adds one record and sends the datagram if it is full.
    #[inline(always)]
    fn pack(&mut self, now: Now, settings: &Settings, record: &wire::Record, sink: &mut Sink<'_>) {
        if self.is_empty() {
            self.begin(now, settings, *sink.packed);
        }
        let rest = self.buffer.get_mut(self.len..).unwrap_or_default();
        let Some(to) = rest.first_chunk_mut() else {
            return;
        };
        record.write(to);
        // No more than there is room.
        self.len = self.len.wrapping_add(wire::RECORD_LEN);
        *sink.packed = sink.packed.wrapping_add(1);
        if self.len >= self.full_len {
            self.flush(now, sink);
        }
    }

    /// Begins a datagram after `packed` records.
    #[cold]
    fn begin(&mut self, now: Now, settings: &Settings, packed: u32) {
        self.full_len = wire::HEADER_LEN + Self::records_per_datagram(settings) * wire::RECORD_LEN;
        self.begun_at = packed;
        self.deadline = Some(now.uptime.after(settings.hold));
    }

    /// Whether the datagram has no records yet.
    fn is_empty(&self) -> bool {
        self.len == wire::HEADER_LEN
    }

    /// Sends what is held.
    #[cold]
    pub(crate) fn flush(&mut self, now: Now, sink: &mut Sink<'_>) {
        if self.is_empty() {
            return;
        }
        let header = wire::Header {
            count: u16::try_from(self.held()).unwrap_or(u16::MAX),
            sys_uptime: millis_mod_32(now.uptime.secs()),
            unix_secs: super::ipfix::seconds_32(now),
            unix_nsecs: now.wall.subsec_nanos(),
            flow_sequence: self.begun_at,
        };
        if let Some(front) = self.buffer.first_chunk_mut() {
            *front = header.octets();
        }
        let datagram = self.buffer.get(..self.len).unwrap_or_default();
        sink.outbox.push(sink.unit, datagram);
        self.len = wire::HEADER_LEN;
        self.deadline = None;
    }

    /// When what is held must go.
    pub(crate) fn poll_timeout(&self) -> Option<Uptime> {
        self.deadline
    }

    /// Records held.
    pub(crate) fn held(&self) -> usize {
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

/// Whole seconds of uptime as v5's milliseconds, which wrap every 49.7 days.
fn millis_mod_32(secs: i64) -> u32 {
    let millis = secs.wrapping_mul(1000).rem_euclid(1 << 32);
    u32::try_from(millis).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::{Format, TemplateSet};
    use crate::flow::{Boot, End, Quality, Times};
    use crate::state::{Address, Af, Direction, IfName, StateId};
    use crate::time::Wall;
    use std::time::Duration;

    const SETTINGS: Settings = Settings {
        format: Format::NetFlow5,
        templates: TemplateSet::OpenBsd,
        domain: 42,
        mtu: 1500,
        is_ipv6: false,
        hold: Duration::from_secs(30),
        refresh: Duration::from_secs(30),
    };

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
            only: None,
        }
    }

    /// Packets, octets and source port of the records that a flow makes.
    fn records(flow: &Flow) -> Vec<(u64, u64, u16)> {
        let mut outbox = Outbox::default();
        let mut encoder = NetFlow5::default();
        let (mut packed, mut pieces) = (0, MAX_PIECES);
        let now = Now::with_boot(Wall::new(100, 0), Wall::new(0, 0));
        let mut sink = Sink {
            unit: 0,
            packed: &mut packed,
            pieces: &mut pieces,
            outbox: &mut outbox,
        };
        encoder.push(now, &SETTINGS, flow, 0, &mut sink);
        encoder.flush(now, &mut sink);
        let u32_at = |b: &[u8], at: usize| {
            u64::from(u32::from_be_bytes([b[at], b[at + 1], b[at + 2], b[at + 3]]))
        };
        let all: Vec<_> = outbox
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
        assert_eq!(all.len(), packed as usize);
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

    #[test]
    fn uptimes_wrap_at_32_bits() {
        assert_eq!(millis_mod_32(4_294_968), 704);
        assert_eq!(millis_mod_32(-1), u32::MAX - 999);
    }
}
