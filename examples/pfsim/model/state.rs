//! A state of pf, and how packets change it.
//!
//! ```text
//! first packet -> create() -> pass() for each that matches -> nothing for its time-out -> purged
//! ```
//! Sources: sys/net/pf.c `pf_create_state`, `pf_tcp_track_full`, `pf_test_state`,
//! `pf_state_expires`; default time-outs: sys/net/pfvar.h.

use super::burst::{ACK, Burst, FIN, RST, SYN, Side, Tcp};
use super::clock::Clock;
use super::ways::Path;
use super::wire::{Image, Peer};

/// Microseconds since the simulation began.
pub type Micros = u64;
/// A second of them.
pub const SECOND: Micros = 1_000_000;

/// `PFTM_*`.
pub mod pftm {
    pub const TCP_FIRST: u8 = 0;
    pub const TCP_OPENING: u8 = 1;
    pub const TCP_ESTABLISHED: u8 = 2;
    pub const TCP_CLOSING: u8 = 3;
    pub const TCP_FIN_WAIT: u8 = 4;
    pub const TCP_CLOSED: u8 = 5;
    pub const UDP_FIRST: u8 = 6;
    pub const UDP_SINGLE: u8 = 7;
    pub const UDP_MULTIPLE: u8 = 8;
    pub const ICMP_FIRST: u8 = 9;
    pub const ICMP_ERROR: u8 = 10;
    pub const OTHER_FIRST: u8 = 11;
    pub const OTHER_SINGLE: u8 = 12;
    pub const OTHER_MULTIPLE: u8 = 13;
}

/// Default time-outs in seconds, by number.
pub const TIMEOUTS: [u32; 14] = [120, 30, 86400, 900, 45, 90, 60, 30, 60, 20, 10, 60, 30, 60];

/// States of a TCP peer.
mod tcps {
    pub(super) const CLOSED: u8 = 0;
    pub(super) const SYN_SENT: u8 = 2;
    pub(super) const ESTABLISHED: u8 = 4;
    pub(super) const CLOSING: u8 = 7;
    pub(super) const FIN_WAIT_2: u8 = 9;
    pub(super) const TIME_WAIT: u8 = 10;
}

/// "Single" and "multiple" of what is not TCP.
const SINGLE: u8 = 1;
const MULTIPLE: u8 = 2;

/// Protocol numbers.
pub const ICMP: u8 = 1;
pub const TCP: u8 = 6;
pub const UDP: u8 = 17;
pub const ICMP6: u8 = 58;

/// `PFSTATE_PFLOW`.
pub const PFLOW: u16 = 0x0004;
/// `PFSTATE_SCRUB_TCP`.
pub const SCRUB_TCP: u16 = 0x0100;

/// In which queue of pfsync a state is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Queued {
    No,
    Insert,
    Update,
    UpdateCompressed,
    Delete,
}

/// A state.
#[derive(Clone, Debug)]
pub struct State {
    pub id: u64,
    pub creator: u32,
    pub path: Path,
    pub src: Peer,
    pub dst: Peer,
    pub timeout: u8,
    /// Most seconds of any time-out.
    pub longest: u32,
    /// When the first packet came.
    pub creation: Micros,
    /// When the last one did, on any node that told.
    pub last: Micros,
    /// Forward, reverse; this node's own.
    pub packets: [u64; 2],
    pub octets: [u64; 2],
    pub queued: Queued,
    /// Packets since it was queued.
    pub updates: u32,
    /// When the partner last spoke of it.
    pub partner: Option<Micros>,
    /// No more is to be said of it.
    pub is_silent: bool,
    /// No longer in the table; kept until its message is out.
    pub is_unlinked: bool,
    /// Its line in the ledger of the node.
    pub account: usize,
}

/// Seconds, as pf's clock has them.
fn seconds(at: Micros) -> u64 {
    at / SECOND
}

impl State {
    /// What the first packet of a connection makes (`pf_create_state`). It is not counted yet.
    pub fn create(id: u64, creator: u32, path: &Path, burst: &Burst, now: Micros) -> Self {
        let mut state = Self {
            id,
            creator,
            path: path.clone(),
            src: Peer::default(),
            dst: Peer::default(),
            timeout: pftm::OTHER_FIRST,
            longest: u32::MAX,
            creation: now,
            last: now,
            packets: [0; 2],
            octets: [0; 2],
            queued: Queued::No,
            updates: 0,
            partner: None,
            is_silent: false,
            is_unlinked: false,
            account: 0,
        };
        match path.proto {
            TCP => {
                if let Some(tcp) = &burst.tcp {
                    state.create_tcp(tcp);
                }
            }
            ICMP | ICMP6 => state.timeout = pftm::ICMP_FIRST,
            proto => {
                state.src.state = SINGLE;
                if proto == UDP {
                    state.timeout = pftm::UDP_FIRST;
                }
            }
        }
        state
    }

    fn create_tcp(&mut self, tcp: &Tcp) {
        self.timeout = pftm::TCP_FIRST;
        self.src = Peer {
            // the SYN itself is not in seqlo until the next packet
            seqlo: tcp.seq,
            seqhi: tcp.seq.wrapping_add(tcp.len as u32).wrapping_add(2),
            seqdiff: self.path.seqdiff[0],
            max_win: unscaled(tcp.window.max(1).into(), tcp.wscale.unwrap_or(0)) as u16,
            state: tcps::SYN_SENT,
            wscale: tcp.wscale.map_or(0, |shift| SCALED | shift),
            ..Peer::default()
        };
        self.dst = Peer {
            seqhi: 1,
            max_win: 1,
            state: tcps::CLOSED,
            ..Peer::default()
        };
    }

    /// Takes note of packets that match. They are counted by [`Self::count`].
    pub fn pass(&mut self, burst: &Burst, now: Micros) {
        self.last = now;
        let (src, dst) = match burst.from {
            Side::Initiator => (&mut self.src, &mut self.dst),
            Side::Responder => (&mut self.dst, &mut self.src),
        };
        match (self.path.proto, &burst.tcp) {
            (TCP, Some(tcp)) => {
                let side = burst.from as usize;
                track(src, dst, tcp, self.path.seqdiff[side]);
                self.timeout = tcp_timeout(src.state, dst.state);
            }
            (ICMP | ICMP6, _) => self.timeout = pftm::ICMP_ERROR,
            (proto, _) => {
                src.state = src.state.max(SINGLE);
                if dst.state == SINGLE {
                    dst.state = MULTIPLE;
                }
                let is_multiple = src.state == MULTIPLE && dst.state == MULTIPLE;
                self.timeout = match (proto, is_multiple) {
                    (UDP, true) => pftm::UDP_MULTIPLE,
                    (UDP, false) => pftm::UDP_SINGLE,
                    (_, true) => pftm::OTHER_MULTIPLE,
                    (_, false) => pftm::OTHER_SINGLE,
                };
            }
        }
    }

    /// Counts packets.
    pub fn count(&mut self, from: Side, packets: u64, octets: u64) {
        self.packets[from as usize] += packets;
        self.octets[from as usize] += octets;
    }

    /// How long it may be silent.
    fn patience(&self) -> u64 {
        let timeout = TIMEOUTS.get(usize::from(self.timeout));
        timeout.map_or(0, |timeout| u64::from(self.longest.min(*timeout)))
    }

    /// When it is due to be purged, whole seconds.
    pub fn expires(&self) -> u64 {
        seconds(self.last) + self.patience()
    }

    /// What is left of its time-out, by `clock`: a time-out is as long at any speed, and a silence is not.
    fn expire(&self, now: Micros, clock: &Clock) -> u32 {
        let due = seconds(clock.scaled(self.last)) + self.patience();
        due.saturating_sub(seconds(clock.scaled(now))) as u32
    }

    /// Whether a SYN for the same addresses may take its place (`pf_test_state`).
    pub fn is_closed(&self) -> bool {
        self.path.proto == TCP
            && self.src.state >= tcps::FIN_WAIT_2
            && self.dst.state >= tcps::FIN_WAIT_2
    }

    /// What pfsync exports of it, with its age and expiry by `clock`.
    pub fn image(&self, now: Micros, clock: &Clock) -> Image {
        let path = &self.path;
        Image {
            id: self.id,
            creator: self.creator,
            ifname: path.ifname,
            origin: path.origin,
            wire: path.wire,
            stack: path.stack,
            src: self.src,
            dst: self.dst,
            rule: path.rule,
            age: clock.seconds(self.creation, now),
            expire: self.expire(now, clock),
            packets: self.packets,
            octets: self.octets,
            proto: path.proto,
            direction: path.direction,
            log: 0,
            timeout: self.timeout,
            sync_flags: 0,
            updates: 0,
            flags: path.flags,
            max_mss: path.max_mss,
        }
    }
}

/// Moves `src`, whose packet it is, and its peer (`pf_tcp_track_full`). `diff` modulates what
/// `src` sends, if not 0.
fn track(src: &mut Peer, dst: &mut Peer, tcp: &Tcp, diff: u32) {
    let syn = u32::from(tcp.flags & SYN != 0);
    let fin = u32::from(tcp.flags & FIN != 0);
    let end = tcp
        .seq
        .wrapping_add(tcp.len as u32)
        .wrapping_add(syn)
        .wrapping_add(fin);
    let mut window = u32::from(tcp.window);
    let is_scaled = src.wscale & dst.wscale & SCALED != 0 && syn == 0;
    let (mut scale, mut other) = (0, 0);
    if is_scaled {
        (scale, other) = (shift(src), shift(dst));
    }
    if src.seqlo == 0 {
        // the first packet from this end
        if syn != 0 && dst.wscale & SCALED != 0 {
            if let Some(shift) = tcp.wscale {
                src.wscale = SCALED | shift;
                (scale, other) = (u32::from(shift), self::shift(dst));
                window = unscaled(window, shift);
            } else {
                dst.max_win = (u32::from(dst.max_win) << shift(dst)).min(0xffff) as u16;
                dst.wscale = 0;
            }
        }
        src.seqlo = tcp.seq;
        src.seqdiff = diff;
        src.state = src.state.max(tcps::SYN_SENT);
        src.seqhi = end.wrapping_add((u32::from(dst.max_win) << other).max(1));
    }
    src.max_win = src.max_win.max(window as u16);
    if end.wrapping_sub(src.seqlo) as i32 > 0 {
        src.seqlo = end;
    }
    if tcp.flags & ACK != 0 {
        let reach = tcp.ack.wrapping_add((window << scale).max(1));
        if reach.wrapping_sub(dst.seqhi) as i32 >= 0 {
            dst.seqhi = reach;
        }
    }
    if fin != 0 {
        src.state = src.state.max(tcps::CLOSING);
    }
    if tcp.flags & ACK != 0 {
        if dst.state == tcps::SYN_SENT {
            dst.state = tcps::ESTABLISHED;
        } else if dst.state == tcps::CLOSING {
            dst.state = tcps::FIN_WAIT_2;
        }
    }
    if tcp.flags & RST != 0 {
        src.state = tcps::TIME_WAIT;
        dst.state = tcps::TIME_WAIT;
    }
}

/// `PF_WSCALE_FLAG`.
const SCALED: u8 = 0x80;

/// A peer's window scale (`PF_WSCALE_MASK`).
fn shift(peer: &Peer) -> u32 {
    u32::from(peer.wscale & 0x0f)
}

/// The window of a SYN, which is never scaled, in the units of those that are.
fn unscaled(window: u32, shift: u8) -> u32 {
    window.div_ceil(1 << shift)
}

fn tcp_timeout(src: u8, dst: u8) -> u8 {
    let (less, more) = (src.min(dst), src.max(dst));
    if less >= tcps::FIN_WAIT_2 {
        pftm::TCP_CLOSED
    } else if less >= tcps::CLOSING {
        pftm::TCP_FIN_WAIT
    } else if less < tcps::ESTABLISHED {
        pftm::TCP_OPENING
    } else if more >= tcps::CLOSING {
        pftm::TCP_CLOSING
    } else {
        pftm::TCP_ESTABLISHED
    }
}
