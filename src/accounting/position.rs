//! Where the peers of a TCP state are, and what each message shows that they sent.

use crate::wire::pfsync::Peer;

/// Octets of options in a SYN: mss, scaling, selective acknowledgement, time stamps.
pub(super) const SYN_OPTIONS: u64 = 20;
/// Segment sizes below this are no TCP's (pf.c, `pf_calc_mss`).
pub(super) const LEAST_MSS: u16 = 64;
/// How far from its window a sequence number may be. pf lets pass what is 67035 beyond (pf.c,
/// MAXACKWINDOW); more than that for acknowledgements that take another way. A damaged number
/// can add as much.
const WINDOW_SLACK: i64 = 1 << 20;
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
    pub(super) fn max_mss(self) -> Option<u16> {
        Some(u16::from(self.0 & 0x3f) * Self::UNIT).filter(|mss| *mss > 0)
    }

    pub(super) fn has_timestamps(self) -> bool {
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

    /// Where the peers of a full state are. The initiator sent `forward` packets.
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

    /// Completes this position, which lacks the responder's beginning. `other` is that of a state
    /// of the same connection, which has it. Whichever is further counts.
    #[must_use]
    pub fn completed_by(self, other: Self) -> Self {
        let both = self.not_behind(other);
        Self {
            marks: both.marks & !(Self::HEADLESS | Self::BEFORE_SYN),
            ..both
        }
    }

    /// Moves to where a message's peers are. `expected` is how far each should have come, in
    /// octets, if that is known. With it a lost message does no harm, even at many gigabits a
    /// second.
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
