//! `struct pfsync_state_peer`, 32 octets: one end of a state as pf tracks it.
//!
//! ```text
//!  0  scrub: pfss_flags u16 | pfss_ttl u8 | scrub_flag u8 | pfss_ts_mod u32
//!  8  seqlo u32 | seqhi u32 | seqdiff u32
//! 20  max_win u16 | mss u16 | state u8 | wscale u8 | pad
//! ```
//! All big-endian (sys/net/pfvar.h). v2 before OpenBSD 3.8 keeps `scrub_flag` in the pad and leaves
//! the first eight octets zero.

use byteorder::{BigEndian, ByteOrder};

use crate::wire::pfsync::Dialect;

/// The largest TCP peer state, PF_TCPS_PROXY_DST; kernels refuse more.
pub(super) const STATE_MAX: u8 = 12;

/// DragonFly's largest TCP peer state. DragonFly's tcp_fsm.h begins with TCPS_TERMINATING.
pub(super) const DRAGONFLY_STATE_MAX: u8 = 13;

/// IP protocol numbers whose peers have states of their own.
const TCP: u8 = 6;
const SCTP: u8 = 132;

/// The first PFTM number of SCTP on FreeBSD 14 and later. Of other systems' states it is beyond the
/// last one.
const SCTP_FIRST: u8 = 20;

/// pf's names of TCP peer states, by number (`tcpstates` of OpenBSD's pfctl, PF_TCPS_PROXY_*).
pub const TCP_STATES: [&str; 13] = [
    "CLOSED",
    "LISTEN",
    "SYN_SENT",
    "SYN_RCVD",
    "ESTABLISHED",
    "CLOSE_WAIT",
    "FIN_WAIT_1",
    "CLOSING",
    "LAST_ACK",
    "FIN_WAIT_2",
    "TIME_WAIT",
    "PROXY_SRC",
    "PROXY_DST",
];

/// pf's names of the peer states of UDP and all else, by number.
pub const OTHER_STATES: [&str; 3] = ["NO_TRAFFIC", "SINGLE", "MULTIPLE"];

/// pf's names of SCTP peer states on FreeBSD 14 and later, with their numbers (netinet/sctp.h,
/// `sctp_state_name` of pfctl).
pub const SCTP_STATES: [(u8, &str); 8] = [
    (0x00, "CLOSED"),
    (0x02, "COOKIE_WAIT"),
    (0x04, "COOKIE_ECHOED"),
    (0x08, "ESTABLISHED"),
    (0x10, "SHUTDOWN_SENT"),
    (0x20, "SHUTDOWN_RECEIVED"),
    (0x40, "SHUTDOWN_ACK_SENT"),
    (0x80, "SHUTDOWN_PENDING"),
];

/// Scrub memory of a peer, sent for TCP with `scrub reassemble tcp`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Scrub {
    /// `pfss_flags`: 0x0001 time stamps seen.
    pub flags: u16,
    /// `pfss_ttl`: least TTL seen.
    pub ttl: u8,
    /// `pfss_ts_mod`: what time stamps are modulated by.
    pub ts_mod: u32,
}

/// A view of one peer.
#[derive(Clone, Copy)]
pub struct Peer<'a> {
    octets: &'a [u8; Peer::LEN],
    dialect: Dialect,
}

impl<'a> Peer<'a> {
    /// Octets of a peer on the wire, in every dialect.
    pub const LEN: usize = 32;

    /// A view of `octets`, which are [`Self::LEN`] long.
    #[inline(always)]
    pub(crate) fn new(octets: &'a [u8], dialect: Dialect) -> Self {
        const NONE: &[u8; Peer::LEN] = &[0; Peer::LEN];
        debug_assert_eq!(octets.len(), Self::LEN);
        // An array, so that no field's place needs a test.
        let octets = octets.first_chunk().unwrap_or(NONE);
        Self { octets, dialect }
    }

    /// Whether every protocol has the state, in every dialect.
    #[inline(always)]
    pub fn is_common(&self) -> bool {
        self.state() <= STATE_MAX
    }

    /// Whether the state is one that a peer of IP protocol `proto` can have in its dialect.
    pub fn is_valid(&self, proto: u8) -> bool {
        self.is_common()
            || match proto {
                TCP => self.dialect.is_dragonfly() && self.state() <= DRAGONFLY_STATE_MAX,
                SCTP => self.dialect.is_freebsd() && self.sctp_name().is_some(),
                _ => false,
            }
    }

    /// [`Self::is_valid`] where PFTM number `timeout` is all that tells the protocol, as in UPD_C. A
    /// dead state may be of any.
    pub fn is_valid_in(&self, timeout: u8) -> bool {
        self.is_valid(match timeout {
            0..=5 => TCP,
            6..SCTP_FIRST => 0,
            _ if self.dialect.is_dragonfly() => TCP,
            _ => SCTP,
        })
    }

    /// `seqlo`: the highest sequence number sent, plus one.
    pub fn seqlo(&self) -> u32 {
        BigEndian::read_u32(&self.octets[8..])
    }

    /// `seqhi`: the highest the other side allows.
    pub fn seqhi(&self) -> u32 {
        BigEndian::read_u32(&self.octets[12..])
    }

    /// `seqdiff`: what sequence numbers are modulated by.
    pub fn seqdiff(&self) -> u32 {
        BigEndian::read_u32(&self.octets[16..])
    }

    /// `max_win`: largest window, before scaling.
    pub fn max_win(&self) -> u16 {
        BigEndian::read_u16(&self.octets[20..])
    }

    /// `mss`: maximum segment size option.
    pub fn mss(&self) -> u16 {
        BigEndian::read_u16(&self.octets[22..])
    }

    /// `state` as it is sent: a TCP state, an SCTP state of FreeBSD 14, or 0 to 2 for others.
    pub fn state(&self) -> u8 {
        self.octets[24]
    }

    /// `state` of a TCP peer, in the numbers of all systems but DragonFly, whose are one higher.
    /// DragonFly's TCPS_TERMINATING counts as CLOSED.
    #[inline(always)]
    pub fn tcp_state(&self) -> u8 {
        self.state()
            .saturating_sub(u8::from(self.dialect.is_dragonfly()))
    }

    /// `wscale`: 0x80 flag, 0x0f shift.
    pub fn wscale(&self) -> u8 {
        self.octets[25]
    }

    /// Scrub memory, if the sender has any for this peer.
    pub fn scrub(&self) -> Option<Scrub> {
        (self.octets[3] == 1 && self.dialect != Dialect::V2).then(|| Scrub {
            flags: BigEndian::read_u16(self.octets),
            ttl: self.octets[2],
            ts_mod: BigEndian::read_u32(&self.octets[4..]),
        })
    }

    /// pf's name of the peer's state for IP protocol `proto` in a state with PFTM number `timeout`.
    /// FreeBSD 14 tracks SCTP otherwise than earlier releases. The timeout shows which of them sent
    /// the state.
    pub fn state_name(&self, proto: u8, timeout: u8) -> Option<&'static str> {
        match proto {
            TCP => TCP_STATES.get(usize::from(self.tcp_state())).copied(),
            SCTP if self.dialect.is_freebsd() && timeout >= SCTP_FIRST => self.sctp_name(),
            _ => OTHER_STATES.get(usize::from(self.state())).copied(),
        }
    }

    fn sctp_name(&self) -> Option<&'static str> {
        let known = SCTP_STATES.iter().find(|(state, _)| *state == self.state());
        known.map(|(_, name)| *name)
    }
}
