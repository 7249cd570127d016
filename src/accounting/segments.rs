//! The packets that it takes to send so many octets: a model of a state's segments.

use super::position::{LEAST_MSS, SYN_OPTIONS, Sent, Shape};
use crate::state::Af;

/// Octets of a TCP header without options.
const TCP_HEADER: u64 = 20;
/// Octets that time stamps take in every packet (RFC 7323, 3.2, padded).
const TIMESTAMPS: u64 = 12;
/// Octets of IP packet that an Ethernet frame takes.
const ETHERNET_MTU: u64 = 1500;
/// Packets with data that exact counters must cover to show the size of segments.
pub const LEARNED_PACKETS: u64 = 4;
/// Packets with data from which on their size holds, whatever comes. Fewer packets, such as a
/// handshake's, do not show the segments of a transfer that is larger than all of them. Such a
/// transfer comes in full segments.
const SETTLED_PACKETS: u64 = 16;
/// Packets that exact counters must cover to show time stamps: more than two SYN.
const STAMPED_PACKETS: u64 = 2;
/// A segment is this many times its headers at least.
const SEGMENT_HEADERS: u32 = 4;
/// Counters from here on are absurd, and tell nothing. Below, no product overflows.
const ABSURD: u64 = 1 << 48;
/// Segments acknowledged by one packet.
const SEGMENTS_AN_ACK: u64 = 2;

/// What the packets of a state are taken to look like.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Model {
    /// Octets of IP and TCP headers.
    header: u64,
    /// Octets of data in a full segment.
    mss: u64,
    /// Packets that were counted from initiator to responder and back.
    packets: [u64; 2],
    /// Octets of data in them, about.
    counted: [u64; 2],
}

impl Model {
    /// For a state whose sender counted `packets` and `octets` so far, and whose peers offered
    /// segments so long, 0 where that is not known.
    #[inline(always)]
    pub fn new(
        af: Af,
        shape: Shape,
        offers: [u16; 2],
        packets: [u64; 2],
        octets: [u64; 2],
    ) -> Self {
        let ip = match af {
            Af::Inet => 20,
            Af::Inet6 => 40,
        };
        let bare = ip + TCP_HEADER;
        let ([ahead, back], [octets_ahead, octets_back]) = (packets, octets);
        if ahead | back | octets_ahead | octets_back >= ABSURD {
            return Self::of_absurd(af, shape, offers);
        }
        let options = if shape.has_timestamps() || are_stamped(bare, packets, octets) {
            TIMESTAMPS
        } else {
            0
        };
        let header = bare + options;
        let offers = offers.into_iter().filter(|mss| *mss >= LEAST_MSS);
        let mss = offers
            .chain(shape.max_mss())
            .map(|mss| u64::from(mss).saturating_sub(options))
            .fold(ETHERNET_MTU - header, u64::min);
        let data = |octets: u64, packets: u64| octets_of_data(octets, packets, header);
        Self {
            header,
            mss,
            packets,
            counted: [data(octets_ahead, ahead), data(octets_back, back)],
        }
    }

    /// For a state whose counters make no sense.
    #[cold]
    fn of_absurd(af: Af, shape: Shape, offers: [u16; 2]) -> Self {
        Self::new(af, shape, offers, [0; 2], [0; 2])
    }

    /// Packets and octets that it takes to send what initiator and responder sent.
    pub fn traffic(&self, sent: [Sent; 2]) -> ([u64; 2], [u64; 2]) {
        let [size, size_back] = self.data_packets();
        let [counted, counted_back] = self.counted;
        let data = |sent: Sent, packets: u64, counted: u64| {
            let payload = sent.payload.min(ABSURD);
            if payload == 0 {
                return sent.control;
            }
            let size = self.segment(payload, packets, counted);
            payload.div_ceil(size) + sent.control
        };
        let [ahead, back] = sent;
        let segments = [
            data(ahead, size, counted),
            data(back, size_back, counted_back),
        ];
        with_acks(self.header, sent, segments)
    }

    /// Packets counted each way that carried data: without the SYN, and without what only
    /// acknowledges the other way's.
    #[inline(always)]
    fn data_packets(&self) -> [u64; 2] {
        let ([packets, packets_back], [counted, counted_back]) = (self.packets, self.counted);
        let (there, here) = (packets.saturating_sub(1), packets_back.saturating_sub(1));
        if counted >= counted_back {
            [there, here.saturating_sub(there / SEGMENTS_AN_ACK)]
        } else {
            [there.saturating_sub(here / SEGMENTS_AN_ACK), here]
        }
    }

    /// What most messages need of this model, if its peers' offers were not known.
    #[inline(always)]
    pub fn segments(&self) -> Segments {
        let cut = |octets: u64| u16::try_from(octets).unwrap_or(u16::MAX);
        let learned = |packets: u64, counted: u64| {
            if counted == 0 || packets < LEARNED_PACKETS {
                Segments::FULL
            } else {
                let size = cut(counted / packets).clamp(1, Segments::LARGEST);
                if packets < SETTLED_PACKETS {
                    size | Segments::UNSETTLED
                } else {
                    size
                }
            }
        };
        let ([ahead, back], [counted, counted_back]) = (self.data_packets(), self.counted);
        Segments {
            header: u8::try_from(self.header).unwrap_or(u8::MAX),
            mss: cut(self.mss),
            learned: [learned(ahead, counted), learned(back, counted_back)],
        }
    }

    /// Octets of data in the segments that `payload` comes in, where `packets` with `counted` octets
    /// of data were counted.
    #[inline(always)]
    fn segment(&self, payload: u64, packets: u64, counted: u64) -> u64 {
        let is_settled = packets >= SETTLED_PACKETS;
        if counted == 0 || packets < LEARNED_PACKETS || !is_settled && payload > counted {
            return self.mss;
        }
        let least = (u64::from(SEGMENT_HEADERS) * self.header).min(self.mss);
        (counted / packets).clamp(least, self.mss)
    }
}

/// Adds to `segments` of data what acknowledges those of the other way: packets and octets.
#[inline(always)]
fn with_acks(
    header: u64,
    [ahead, back]: [Sent; 2],
    [segments, segments_back]: [u64; 2],
) -> ([u64; 2], [u64; 2]) {
    let acks = |segments: u64| segments.div_ceil(SEGMENTS_AN_ACK);
    let packets = [
        segments.max(acks(segments_back)) + ahead.refusals,
        segments_back.max(acks(segments)) + back.refusals,
    ];
    let octets =
        |packets: u64, sent: Sent| sent.payload.saturating_add(packets * header + sent.options);
    let [packets_ahead, packets_back] = packets;
    (
        packets,
        [octets(packets_ahead, ahead), octets(packets_back, back)],
    )
}

/// What a [`Model`] comes to between two full states, kept with the estimate. Without this, each
/// message divided counters, which took a third of its cost.
#[derive(Clone, Copy, Debug)]
pub struct Segments {
    /// Octets of data in a full one, unless the peers offer less.
    mss: u16,
    /// Octets of data in one, each way, as the counters show; or one of the constants.
    learned: [u16; 2],
    /// Octets of IP and TCP headers. Those without options have a multiple of 20.
    header: u8,
}

impl Segments {
    /// What octets of headers without options are a multiple of: 40 and 60.
    const BARE: u8 = 20;
    /// Nothing is known: it takes a model.
    pub const UNKNOWN: Self = Self {
        mss: 0,
        learned: [Self::FULL; 2],
        header: 0,
    };
    /// In [`Self::learned`]: the counters show nothing, and segments are full.
    const FULL: u16 = 0;
    /// There: it holds for no more octets than were counted.
    const UNSETTLED: u16 = 1 << 15;
    /// The largest size there, more than any segment has.
    const LARGEST: u16 = Self::UNSETTLED - 1;

    /// Whether nothing is known.
    #[inline(always)]
    pub fn is_unknown(self) -> bool {
        self.header == 0
    }

    /// [`Model::traffic`] of octets of data, where the peers of a message offer segments so long, and
    /// their sender counted these packets and octets.
    #[inline(always)]
    pub fn traffic(
        self,
        offers: [u16; 2],
        data: [u32; 2],
        counted: ([u64; 2], [u64; 2]),
    ) -> ([u64; 2], [u64; 2]) {
        let header = u32::from(self.header);
        let options = u16::from(self.header % Self::BARE);
        let offer = |mss: u16| {
            if mss >= LEAST_MSS {
                mss - options
            } else {
                u16::MAX
            }
        };
        let [one, other] = offers.map(offer);
        let mss = u32::from(self.mss.min(one).min(other)).max(1);
        let least = (SEGMENT_HEADERS * header).min(mss);
        let segments = |data: u32, learned: u16, packets: u64, octets: u64| {
            let size = u32::from(learned & !Self::UNSETTLED).clamp(least, mss);
            let is_full = learned == Self::FULL
                || learned & Self::UNSETTLED != 0
                    && u64::from(data) > octets_of_data(octets, packets, header.into());
            u64::from(data.div_ceil(if is_full { mss } else { size }))
        };
        let ([ahead, back], [learned, learned_back]) = (data, self.learned);
        let ([packets, packets_back], [octets, octets_back]) = counted;
        let segments = [
            segments(ahead, learned, packets, octets),
            segments(back, learned_back, packets_back, octets_back),
        ];
        let sent = data.map(|data| Sent {
            payload: data.into(),
            ..Sent::default()
        });
        with_acks(header.into(), sent, segments)
    }
}

/// Octets of data in so many packets with so many octets, about.
#[inline(always)]
fn octets_of_data(octets: u64, packets: u64, header: u64) -> u64 {
    octets.saturating_sub(packets.saturating_mul(header).saturating_add(SYN_OPTIONS))
}

/// Whether exact counters show time stamps: no way's packets are too small for them. A SYN alone
/// does not tell whether the other end agrees.
fn are_stamped(bare: u64, packets: [u64; 2], octets: [u64; 2]) -> bool {
    let [ahead, back] = packets;
    let [octets_ahead, octets_back] = octets;
    let least = |packets: u64| packets * (bare + TIMESTAMPS);
    ahead + back > STAMPED_PACKETS
        && ahead > 0
        && back > 0
        && octets_ahead >= least(ahead)
        && octets_back >= least(back)
}
