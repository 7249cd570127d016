//! Floor 2: what TCP carried, estimated from the sequence numbers that pf tracks.
//!
//! Since OpenBSD 4.5 and FreeBSD 9 the messages about a living state carry no counters. They carry
//! both peers' `seqlo`, the highest sequence number pf let pass plus one (pf.c,
//! `pf_tcp_track_full`).
//! ```text
//! full state   UPD_C        UPD_C            each peer, from message to message, modulo 2^32:
//! counters C   seqlo        seqlo            payload = advance, less 1 for SYN and for FIN
//!     |----------|------------|-----> total = C + payload + headers of the packets it takes
//! ```
//! `seqlo` counts what the peer itself sends. So modulation (`seqdiff`) and window scaling do not
//! change differences. The packets are assumed to be these:
//!
//! - A packet has an IP header without options and a TCP header. It has time stamps if pf's scrub
//!   saw some, or if the counted packets are large enough for them in both directions.
//! - Data comes in segments as large as the exact counters show, once they cover
//!   [`LEARNED_PACKETS`] of them. A transfer larger than all that a few packets showed comes in
//!   full segments. Without such counters a segment is as large as `max_mss` or the peers' `mss`
//!   allow, or else Ethernet. Headers are held to a quarter of the data. So keystrokes and other
//!   small segments get too few headers, but no estimate is half as large again as the truth.
//! - A peer with nothing to send acknowledges every second segment (RFC 9293, 3.8.6.3).
//! - FIN has a packet of its own, and so has the responder's SYN with its options.
//! - A responder may have sent data before it was first heard of in an UPD_C. If it had been sent
//!   no data by then, or had acknowledged none, it sent nothing. Otherwise it sent as much as in
//!   the next update, or in proportion to the time if that came within a second. Bounds are
//!   [`MOST_HEAD`] and [`HEAD_PERCENT`] of all that follows. Nothing is guessed where the other
//!   state of the connection counted it (table/partners.rs).
//! - Nothing is sent twice. Packets of neither data nor acknowledgement, such as keepalives and
//!   resets, do not occur.
//!
//! No estimate is made of states without sequence numbers: those of `synproxy` before both ends
//! are connected, and `sloppy` ones. A message whose numbers are behind what is known, or whose
//! windows do not fit its numbers, adds nothing. Scrub memory is read of full states only: in
//! UPD_C of OpenBSD 4.5 to 4.7 it is garbage.
//!
//! What a responder sent first can only be guessed. If the INS leaves before the responder's SYN,
//! no message has its first sequence number. Whether it sent data at all is known, because its
//! windows end in the initiator's `seqhi`. The window of the SYN is the first, and ends at
//! ```text
//! initiator's first number + 1 + window            pf_tcp_track_full: seqhi = ack + (win << scale)
//! ```
//! No window may end before one that was offered earlier (RFC 9293, 3.8.6). A peer that answers has
//! read the question, so its window ends behind that. Hence, while a responder has acknowledged
//! nothing but the SYN, the initiator's `seqhi` is not beyond its largest window from there.

mod counting;

use std::time::Duration;

use crate::state::Af;
use crate::wire::pfsync::Peer;
pub use counting::Counting;

/// IP protocol number of TCP.
pub const TCP: u8 = 6;

/// Octets of a TCP header without options.
const TCP_HEADER: u64 = 20;
/// Octets that time stamps take in every packet (RFC 7323, 3.2, padded).
const TIMESTAMPS: u64 = 12;
/// Octets of options in a SYN: mss, scaling, selective acknowledgement, time stamps.
const SYN_OPTIONS: u64 = 20;
/// Octets of IP packet that an Ethernet frame takes.
const ETHERNET_MTU: u64 = 1500;
/// Segment sizes below this are no TCP's (pf.c, `pf_calc_mss`).
const LEAST_MSS: u16 = 64;
/// Packets with data that exact counters must cover to show the size of segments.
pub const LEARNED_PACKETS: u64 = 4;
/// Packets with data behind which their size holds whatever comes. Of fewer, such as a handshake's, a
/// transfer that is larger than all of them tells nothing, and comes in full segments.
const SETTLED_PACKETS: u64 = 16;
/// Packets that exact counters must cover to show time stamps: more than two SYN.
const STAMPED_PACKETS: u64 = 2;
/// A segment is this many times its headers at least.
const SEGMENT_HEADERS: u32 = 4;
/// Counters from here on are absurd, and tell nothing. Below, no product overflows.
const ABSURD: u64 = 1 << 48;
/// Segments acknowledged by one packet.
const SEGMENTS_AN_ACK: u64 = 2;

/// How far from its window a sequence number may be. pf lets pass what is 67035 beyond (pf.c,
/// MAXACKWINDOW); more than that for acknowledgements that take another way. A damaged number
/// can add as much.
const WINDOW_SLACK: i64 = 1 << 20;
/// Most that is added for a beginning not seen, percent of what follows: should there have been
/// none, the whole comes out less than half as large again.
pub const HEAD_PERCENT: u64 = 45;
/// Most octets of such a beginning. An UPD_C leaves when its state had 128 packets (if_pfsync.c,
/// `sc_maxupdates`), of which a third acknowledge.
pub const MOST_HEAD: u64 = 128 * 2 / 3 * 1460;
/// How long a message waits at most to be sent (if_pfsync.c, `pfsync_q_ins`): a responder that is
/// first heard of was silent until that long ago.
const LONGEST_HOLD: Duration = Duration::from_secs(1);
/// Half of all sequence numbers: what advanced by more is behind.
const HALF: u32 = 1 << 31;

/// PFSTATE_SLOPPY.
const SLOPPY: u16 = 0x0002;
/// TCP peer states of pf (tcp_fsm.h, pfvar.h).
const SYN_SENT: u8 = 2;
const CLOSING: u8 = 7;
const FIN_WAIT_2: u8 = 9;
const TIME_WAIT: u8 = 10;
const PROXY_SRC: u8 = 11;

/// What is yet to be added for a responder's beginning that was not seen: octets, or with
/// the top bit how long it took at most, milliseconds.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Head(u32);

/// How long before a message of a state others were.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Before {
    /// The full state that was its last.
    pub full: Duration,
    /// The last message.
    pub seen: Duration,
    /// The last in which either end had sent more.
    pub grown: Duration,
}

impl Head {
    /// Waits for the first data.
    const WANTED: u32 = 1 << 31;

    /// As a number, to be kept.
    pub fn bits(self) -> u32 {
        self.0
    }

    /// What [`Self::bits`] gave.
    pub fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// Adds to what initiator and responder sent what is due of the beginning. `before` is seldom
    /// asked.
    pub fn complete(&mut self, [sent, back]: &mut [Sent; 2], before: impl FnOnce() -> Before) {
        if back.options > 0 && sent.payload > 0 {
            if back.is_answer {
                self.0 = Self::WANTED | millis(before().full.min(LONGEST_HOLD));
            }
        } else if back.payload > 0 && self.0 != 0 {
            if self.0 & Self::WANTED != 0 {
                let took = self.0 & !Self::WANTED;
                self.0 = beginning(back.payload, took, before());
            }
            let more = u64::from(self.0).min(back.payload.saturating_mul(HEAD_PERCENT) / 100);
            self.0 = self
                .0
                .saturating_sub(u32::try_from(more).unwrap_or(u32::MAX));
            back.payload = back.payload.saturating_add(more);
        }
    }
}

/// Octets of a beginning that took `took` milliseconds at most, by the `next` that came behind it.
/// Of a state that goes on more is heard within a second; what comes later is another exchange,
/// and the beginning was one, too.
fn beginning(next: u64, took: u32, before: Before) -> u32 {
    let goes_on = before.grown < LONGEST_HOLD;
    let octets = match u64::from(millis(before.seen)) {
        paced if goes_on && paced > u64::from(took) => next.saturating_mul(took.into()) / paced,
        _ => next,
    };
    u32::try_from(octets.min(MOST_HEAD)).unwrap_or(0)
}

fn millis(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}

/// What is remembered of the shape of a state's packets, in one octet:
/// largest segment / 32 | time stamps 0x40 | windows make no sense 0x80.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Shape(u8);

impl Shape {
    const STAMPS: u8 = 0x40;
    const LOOSE: u8 = 0x80;
    const UNIT: u16 = 32;

    /// As a number, to be kept.
    pub fn bits(self) -> u8 {
        self.0
    }

    /// What [`Self::bits`] gave.
    pub fn from_bits(bits: u8) -> Self {
        Self(bits)
    }

    #[inline(always)]
    fn new(max_mss: Option<u16>, src: Peer<'_>, dst: Peer<'_>) -> Self {
        let mss = max_mss.filter(|mss| *mss >= LEAST_MSS).unwrap_or(0);
        let mut bits = u8::try_from(mss / Self::UNIT).unwrap_or(0) & 0x3f;
        let is_stamped = |peer: Peer<'_>| peer.scrub().is_some_and(|scrub| scrub.flags & 1 != 0);
        if is_stamped(src) || is_stamped(dst) {
            bits |= Self::STAMPS;
        }
        if !windows_fit(src, dst) {
            bits |= Self::LOOSE;
        }
        Self(bits)
    }

    /// Makes windows tell nothing from now on.
    pub fn loosen(&mut self) {
        self.0 |= Self::LOOSE;
    }

    /// `max_mss` of the rule, rounded down; `None` if it has none.
    fn max_mss(self) -> Option<u16> {
        Some(u16::from(self.0 & 0x3f) * Self::UNIT).filter(|mss| *mss > 0)
    }

    fn has_timestamps(self) -> bool {
        self.0 & Self::STAMPS != 0
    }

    fn is_loose(self) -> bool {
        self.0 & Self::LOOSE != 0
    }
}

/// Where the peers of a TCP state are.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Position {
    /// `seqlo` of initiator and responder; 0: not heard of yet.
    pub seqlo: [u32; 2],
    /// Marks below.
    pub marks: u8,
    /// The shape of its packets.
    pub shape: Shape,
}

/// What a peer showed to have sent since the message before.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Sent {
    /// Octets of data.
    pub payload: u64,
    /// Packets of a SYN or FIN.
    pub control: u64,
    /// Octets of options in those.
    pub options: u64,
    /// Packets that nobody acknowledges.
    pub refusals: u64,
    /// Of a responder first heard of: whether it acknowledged more than a SYN.
    pub is_answer: bool,
}

impl Position {
    /// Sequence numbers tell nothing about the state.
    pub const UNTRACKED: u8 = 0x01;
    /// The last message's did not: something was sent that is not in the estimate.
    pub const UNSURE: u8 = 0x02;
    /// What the responder sent first is not known.
    pub const HEADLESS: u8 = 0x04;
    /// `seqlo` of the initiator stands before its SYN.
    const BEFORE_SYN: u8 = 0x08;
    /// The initiator's end is in `seqlo`, and in the next bit the responder's.
    const CLOSED: u8 = 0x10;
    /// All of them.
    pub const MARKS: u8 = 0x3f;

    /// Where a full state's peers are, of which the initiator's packets number `forward`.
    #[inline(always)]
    pub fn new(
        peers: [Peer<'_>; 2],
        max_mss: Option<u16>,
        state_flags: Option<u16>,
        forward: u64,
    ) -> Self {
        let [src, dst] = peers;
        let mut marks = 0;
        let is_sloppy = state_flags.is_some_and(|flags| flags & SLOPPY != 0);
        if is_sloppy || is_proxied(src) || is_proxied(dst) {
            marks |= Self::UNTRACKED;
        }
        // pf_create_state() does not count the SYN that makes the state.
        if forward <= 1 {
            marks |= Self::BEFORE_SYN;
        }
        if has_finished(src) || src.tcp_state() == TIME_WAIT {
            marks |= Self::CLOSED;
        }
        if has_finished(dst) || dst.tcp_state() == TIME_WAIT {
            marks |= Self::CLOSED << 1;
        }
        Self {
            seqlo: [src.seqlo(), dst.seqlo()],
            marks,
            shape: Shape::new(max_mss, src, dst),
        }
    }

    /// This position, but not behind `other` where both have been heard of: of two nodes one may
    /// know less.
    #[must_use]
    pub fn not_behind(self, other: Self) -> Self {
        let [a, b] = self.seqlo;
        let [c, d] = other.seqlo;
        let later = |mine: u32, theirs: u32| {
            let is_behind = mine == 0 || mine.wrapping_sub(theirs) >= HALF;
            if theirs != 0 && is_behind {
                theirs
            } else {
                mine
            }
        };
        let sticky = other.marks & (Self::CLOSED | Self::CLOSED << 1 | Self::HEADLESS);
        Self {
            seqlo: [later(a, c), later(b, d)],
            marks: self.marks | sticky,
            ..self
        }
    }

    /// This position, which lacks the responder's beginning, and that of a state of the same
    /// connection, which does not: whichever is further.
    #[must_use]
    pub fn completed_by(self, other: Self) -> Self {
        let both = self.not_behind(other);
        Self {
            marks: both.marks & !(Self::HEADLESS | Self::BEFORE_SYN),
            ..both
        }
    }

    /// Moves to where a message's peers are. `expected` is how far each should have come, octets,
    /// if that is known: so that at many gigabits a second a lost message does no harm.
    pub fn follow(&mut self, peers: [Peer<'_>; 2], expected: [u64; 2]) -> Option<[Sent; 2]> {
        let [src, dst] = peers;
        if is_proxied(src) || is_proxied(dst) {
            self.marks |= Self::UNTRACKED;
        }
        if self.marks & Self::UNTRACKED != 0 {
            return None;
        }
        let is_lost = is_unheard_of(src) || is_unheard_of(dst);
        if is_lost || !self.shape.is_loose() && !windows_fit(src, dst) {
            self.marks |= Self::UNSURE;
            return None;
        }
        self.marks &= !Self::UNSURE;
        let [ahead, back] = expected;
        let [lo, lo_back] = self.seqlo;
        let first = lo.wrapping_add(u32::from(self.marks & Self::BEFORE_SYN != 0));
        let (lo, sent) = self.follow_end(0, lo, src, ahead);
        let (lo_back, mut sent_back) = self.follow_end(1, lo_back, dst, back);
        if let Some(back) = sent_back.as_mut().filter(|back| back.options > 0) {
            back.is_answer = src.seqhi().wrapping_sub(first) > window(dst);
        }
        self.seqlo = [lo, lo_back];
        let is_behind = sent.is_none() || sent_back.is_none();
        let advance = [sent, sent_back].map(Option::unwrap_or_default);
        if advance != [Sent::default(); 2] {
            return Some(advance);
        }
        if is_behind {
            self.marks |= Self::UNSURE;
        }
        None
    }

    /// [`Self::follow`] of a message that tells of data only, as most do: the octets of each way.
    /// `None`, with nothing moved: it may tell more.
    #[inline(always)]
    pub fn follow_data(&mut self, [src, dst]: [Peer<'_>; 2]) -> Option<[u32; 2]> {
        let [lo, lo_back] = self.seqlo;
        let [at, at_back] = [src.seqlo(), dst.seqlo()];
        let [ahead, back] = [at.wrapping_sub(lo), at_back.wrapping_sub(lo_back)];
        let are_open = src.tcp_state() < CLOSING && dst.tcp_state() < CLOSING;
        let are_heard = lo != 0 && lo_back != 0 && at != 0 && at_back != 0;
        let are_ahead = (ahead | back) < HALF;
        let is_tracked = self.marks & Self::UNTRACKED == 0;
        let is_data = are_open && are_heard && are_ahead && is_tracked;
        if !is_data || !self.shape.is_loose() && !windows_fit(src, dst) {
            return None;
        }
        self.seqlo = [at, at_back];
        self.marks &= !Self::UNSURE;
        if ahead > 0 && self.marks & Self::BEFORE_SYN != 0 {
            self.marks &= !Self::BEFORE_SYN;
            return Some([ahead - 1, back]);
        }
        Some([ahead, back])
    }

    /// Whether [`Self::follow`] takes nothing of a message because its numbers make no sense.
    pub fn refuses(&self, [src, dst]: [Peer<'_>; 2]) -> bool {
        self.marks & Self::UNTRACKED == 0
            && (is_unheard_of(src)
                || is_unheard_of(dst)
                || !self.shape.is_loose() && !windows_fit(src, dst))
    }

    /// Follows end `n`, 0 the initiator, from `lo` to `peer`: where it is now and what it sent;
    /// `None` if the message is behind.
    fn follow_end(&mut self, n: u8, lo: u32, peer: Peer<'_>, expected: u64) -> (u32, Option<Sent>) {
        let closed = Self::CLOSED << n;
        let is_open = self.marks & closed == 0;
        let seqlo = peer.seqlo();
        let mut sent = Sent::default();
        if lo == 0 && seqlo != 0 {
            self.marks |= Self::HEADLESS;
            (sent.control, sent.options) = (1, SYN_OPTIONS);
        } else if lo == 0 {
            // A connection refused: one packet, whose sequence number is 0.
            if peer.tcp_state() == TIME_WAIT && is_open {
                self.marks |= closed;
                sent.refusals = 1;
            }
        } else {
            let step = seqlo.wrapping_sub(lo);
            if step >= HALF && !is_expected(step, expected) {
                return (lo, None);
            }
            sent.payload = step.into();
        }
        if n == 0 && sent.payload > 0 && self.marks & Self::BEFORE_SYN != 0 {
            self.marks &= !Self::BEFORE_SYN;
            sent.payload -= 1;
        }
        if sent.payload > 0 && has_finished(peer) && is_open {
            self.marks |= closed;
            sent.payload -= 1;
            sent.control += 1;
        }
        (seqlo, Some(sent))
    }
}

/// Whether a step of more than half the sequence numbers is one forward after all.
fn is_expected(step: u32, expected: u64) -> bool {
    u64::from(step).abs_diff(expected) <= expected / 2
}

/// Adds to `step`, which is modulo 2^32, the rounds that bring it nearest to `expected`.
pub fn with_rounds(step: u64, expected: u64) -> u64 {
    let rounds = (expected.saturating_sub(step).saturating_add(1 << 31)) >> 32;
    step.saturating_add(rounds << 32)
}

/// Whether a peer's end of the connection is closed, by a FIN that is in its `seqlo`.
fn has_finished(peer: Peer<'_>) -> bool {
    (CLOSING..=FIN_WAIT_2).contains(&peer.tcp_state())
}

/// Whether pf itself speaks for this peer (synproxy).
fn is_proxied(peer: Peer<'_>) -> bool {
    peer.tcp_state() >= PROXY_SRC
}

/// Whether a peer did something of which there is no sequence number: the state is not tracked.
fn is_unheard_of(peer: Peer<'_>) -> bool {
    peer.seqlo() == 0 && (SYN_SENT..TIME_WAIT).contains(&peer.tcp_state())
}

/// Whether each peer may send as far as it does: `seqhi` is the other's window beyond what that
/// acknowledged, which is not beyond `seqlo`, both give or take what pf tolerates.
#[inline(always)]
fn windows_fit(src: Peer<'_>, dst: Peer<'_>) -> bool {
    window_fits(src, dst) && window_fits(dst, src)
}

#[inline(always)]
fn window_fits(peer: Peer<'_>, other: Peer<'_>) -> bool {
    let (lo, hi) = (peer.seqlo(), peer.seqhi());
    let window = i64::from(window(other));
    let ahead = i64::from(hi.wrapping_sub(lo).cast_signed());
    lo == 0 || (-WINDOW_SLACK..=window + WINDOW_SLACK).contains(&ahead)
}

/// Octets of the largest window that a peer offered, at most 2^16 << 15.
fn window(peer: Peer<'_>) -> u32 {
    u32::from(peer.max_win()) << (peer.wscale() & 0x0f)
}

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

/// What a [`Model`] comes to between two full states, kept with the estimate. To divide counters once
/// a message took a third of what a message costs.
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

#[cfg(test)]
mod tests;
