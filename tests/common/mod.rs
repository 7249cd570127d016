//! pfsync packets from scratch, in every dialect and framing, and a clock to feed them to an engine.
//!
//! Offsets were counted in the kernels' headers once more on purpose: nothing here
//! looks at how the program reads them.

#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "a test that is wrong may panic, and each test crate uses a part of this"
)]

use std::net::IpAddr;

use pflow::config::Config;
use pflow::counters::TableCounters;
use pflow::engine::{Engine, Packet, Settings};
use pflow::flow::Boot;
use pflow::output::messages::Detail;
use pflow::output::{Form, Output};
use pflow::time::{Now, Wall};
use pflow::wire::keep;
use pflow::wire::link::LinkType;
use pflow::wire::pfsync::Action;

/// Who writes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum D {
    V2,
    V3,
    V4,
    Obsd45,
    Obsd46,
    Fbsd9,
    Fbsd1301,
    Fbsd1400,
    Fbsd1500,
    /// v6 of 4.7: flags at 254, no `key.af`.
    Obsd47,
    /// 5.0: flags at 254 and 260, no `key.af`.
    Obsd50,
    /// 5.1: `key.af`.
    Obsd51,
    /// 5.3: flags at 260 only.
    Obsd53,
    /// 6.9: 254 is `rt`.
    Obsd69,
    /// 7.4: no checksum.
    Obsd74,
}

impl D {
    pub const ALL: [Self; 15] = [
        Self::V2,
        Self::V3,
        Self::V4,
        Self::Obsd45,
        Self::Obsd46,
        Self::Fbsd9,
        Self::Fbsd1301,
        Self::Fbsd1400,
        Self::Fbsd1500,
        Self::Obsd47,
        Self::Obsd50,
        Self::Obsd51,
        Self::Obsd53,
        Self::Obsd69,
        Self::Obsd74,
    ];

    pub fn version(self) -> u8 {
        match self {
            Self::V2 => 2,
            Self::V3 => 3,
            Self::V4 => 4,
            Self::Obsd45
            | Self::Obsd46
            | Self::Fbsd9
            | Self::Fbsd1301
            | Self::Fbsd1400
            | Self::Fbsd1500 => 5,
            _ => 6,
        }
    }

    /// v2 to v4: one action a packet.
    pub fn is_flat(self) -> bool {
        self.version() < 5
    }

    pub fn is_freebsd(self) -> bool {
        matches!(
            self,
            Self::Fbsd9 | Self::Fbsd1301 | Self::Fbsd1400 | Self::Fbsd1500
        )
    }

    pub fn carries_pflow(self) -> bool {
        self.version() >= 5 && !matches!(self, Self::Fbsd1301 | Self::Fbsd1400 | Self::Fbsd1500)
    }

    /// The first PFTM number that means dead.
    pub fn pftm_max(self) -> u8 {
        match self {
            Self::Fbsd1400 | Self::Fbsd1500 => 25,
            _ => 20,
        }
    }

    pub fn state_len(self) -> usize {
        match self {
            Self::V2 => 224,
            Self::V3 | Self::V4 | Self::Obsd45 | Self::Obsd46 => 240,
            Self::Fbsd9 | Self::Fbsd1301 => 242,
            Self::Fbsd1400 => 277,
            Self::Fbsd1500 => 360,
            _ => 264,
        }
    }

    fn af_inet6(self) -> u8 {
        if self.is_freebsd() { 28 } else { 24 }
    }
}

/// A key: far and near address, far and near port.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Key {
    pub addr: [IpAddr; 2],
    pub port: [u16; 2],
    pub rdomain: u16,
}

impl Key {
    pub fn new(far: &str, far_port: u16, near: &str, near_port: u16) -> Self {
        Self {
            addr: [far.parse().unwrap(), near.parse().unwrap()],
            port: [far_port, near_port],
            rdomain: 0,
        }
    }

    fn is_v6(&self) -> bool {
        self.addr[0].is_ipv6()
    }
}

/// A peer.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Peer {
    pub scrub: [u8; 8],
    pub seqlo: u32,
    pub seqhi: u32,
    pub seqdiff: u32,
    pub max_win: u16,
    pub mss: u16,
    pub state: u8,
    pub wscale: u8,
    pub pad: [u8; 6],
}

impl Peer {
    fn write(&self, at: &mut [u8]) {
        at[..8].copy_from_slice(&self.scrub);
        put32(at, 8, self.seqlo);
        put32(at, 12, self.seqhi);
        put32(at, 16, self.seqdiff);
        put16(at, 20, self.max_win);
        put16(at, 22, self.mss);
        (at[24], at[25]) = (self.state, self.wscale);
        at[26..32].copy_from_slice(&self.pad);
    }
}

pub const IN: u8 = 1;
pub const OUT: u8 = 2;
pub const PFLOW: u16 = 4;

/// A whole state.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct St {
    pub id: u64,
    pub creator: u32,
    pub ifname: [u8; 16],
    pub wire: Key,
    pub stack: Key,
    pub src: Peer,
    pub dst: Peer,
    pub rule: u32,
    pub anchor: u32,
    pub nat_rule: u32,
    pub age: u32,
    pub expire: u32,
    pub packets: [u64; 2],
    pub octets: [u64; 2],
    /// Number of the address family instead of the dialect's own.
    pub af: Option<u8>,
    pub proto: u8,
    pub direction: u8,
    pub log: u8,
    pub flags: u16,
    pub timeout: u8,
    pub sync_flags: u8,
    pub updates: u8,
    pub rt: u8,
}

pub fn name(text: &str) -> [u8; 16] {
    let mut octets = [0; 16];
    octets[..text.len()].copy_from_slice(text.as_bytes());
    octets
}

/// Two firewalls.
pub const CREATOR: u32 = 0x5f3a_9c01;
pub const OTHER_CREATOR: u32 = 0x5f3a_9c02;

impl St {
    /// A TCP connection in, whose rule says pflow, without translation, floating, established.
    pub fn tcp(id: u64) -> Self {
        let key = Key::new("192.0.2.1", 40000, "198.51.100.7", 443);
        Self {
            id,
            creator: CREATOR,
            ifname: name("all"),
            wire: key,
            stack: key,
            src: Peer {
                state: 4,
                ..Peer::default()
            },
            dst: Peer {
                state: 4,
                ..Peer::default()
            },
            rule: 12,
            anchor: u32::MAX,
            nat_rule: u32::MAX,
            age: 0,
            expire: 0,
            packets: [0, 0],
            octets: [0, 0],
            af: None,
            proto: 6,
            direction: IN,
            log: 0,
            flags: PFLOW,
            timeout: 2,
            sync_flags: 0,
            updates: 0,
            rt: 0,
        }
    }

    /// The same over UDP, seen both ways.
    pub fn udp(id: u64) -> Self {
        Self {
            proto: 17,
            timeout: 8,
            src: Peer {
                state: 2,
                ..Peer::default()
            },
            dst: Peer {
                state: 2,
                ..Peer::default()
            },
            ..Self::tcp(id)
        }
    }

    /// With these counters.
    pub fn count(self, packets: [u64; 2], octets: [u64; 2]) -> Self {
        Self {
            packets,
            octets,
            ..self
        }
    }

    pub fn aged(self, age: u32) -> Self {
        Self { age, ..self }
    }

    pub fn named(self, ifname: &str) -> Self {
        Self {
            ifname: name(ifname),
            ..self
        }
    }

    pub fn keyed(self, key: Key) -> Self {
        Self {
            wire: key,
            stack: key,
            ..self
        }
    }

    fn write(&self, d: D) -> Vec<u8> {
        let mut b = vec![0; d.state_len()];
        b[..8].copy_from_slice(&self.id.to_be_bytes());
        b[8..24].copy_from_slice(&self.ifname);
        self.write_keys(d, &mut b);
        let (peers, rest) = if d.version() == 6 {
            (104, 184)
        } else {
            (96, 176)
        };
        self.src.write(&mut b[peers..peers + 32]);
        self.dst.write(&mut b[peers + 32..peers + 64]);
        for (n, value) in [self.rule, self.anchor, self.nat_rule, self.age, self.expire]
            .into_iter()
            .enumerate()
        {
            put32(&mut b, rest + 4 * n, value);
        }
        let counters = rest + 20;
        let values = [
            self.packets[0],
            self.packets[1],
            self.octets[0],
            self.octets[1],
        ];
        for (n, value) in values.into_iter().enumerate() {
            if d == D::V2 {
                put32(&mut b, counters + 4 * n, value as u32);
            } else {
                b[counters + 8 * n..counters + 8 * n + 8].copy_from_slice(&value.to_be_bytes());
            }
        }
        let creator = if d == D::V2 { 212 } else { counters + 32 };
        put32(&mut b, creator, self.creator);
        self.write_tail(d, &mut b);
        b
    }

    fn write_keys(&self, d: D, b: &mut [u8]) {
        let af = self.family(d, &self.wire);
        match d.version() {
            2 | 3 => {
                // lan: before translation, gwy: after, ext: the far side.
                for (at, addr, port) in [
                    (24, self.stack.addr[1], self.stack.port[1]),
                    (48, self.wire.addr[1], self.wire.port[1]),
                    (72, self.wire.addr[0], self.wire.port[0]),
                ] {
                    put_addr(b, at, addr);
                    put16(b, at + 16, port);
                }
            }
            6 => {
                for (at, key) in [(24, &self.wire), (64, &self.stack)] {
                    put_key(b, at, key);
                    put16(b, at + 36, key.rdomain);
                    if !matches!(d, D::Obsd47 | D::Obsd50) {
                        b[at + 38] = self.family(d, key);
                    }
                }
            }
            _ => {
                put_key(b, 24, &self.wire);
                put_key(b, 60, &self.stack);
            }
        }
        let at = match d {
            D::V2 => 216,
            D::Fbsd1500 => 344,
            _ if d.version() == 6 => 250,
            _ => 232,
        };
        b[at] = af;
        if d == D::Fbsd1500 {
            b[345] = self.family(d, &self.stack);
        }
    }

    fn family(&self, d: D, key: &Key) -> u8 {
        match self.af {
            Some(af) => af,
            None if key.is_v6() => d.af_inet6(),
            None => 2,
        }
    }

    /// proto, direction, log, flags, timeout, `sync_flags`, updates, rt.
    fn write_tail(&self, d: D, b: &mut [u8]) {
        let low = self.flags as u8;
        match d {
            D::V2 => self.put_tail(b, [217, 218, 219, 221, 222, 223]),
            D::V3 => self.put_tail(b, [233, 234, 235, 237, 238, 239]),
            D::V4 | D::Obsd45 | D::Obsd46 => {
                self.put_tail(b, [233, 234, 235, 237, 238, 239]);
                b[236] = low;
            }
            D::Fbsd9 | D::Fbsd1301 => {
                self.put_tail(b, [233, 234, 237, 239, 240, 241]);
                b[238] = low;
            }
            D::Fbsd1400 => {
                self.put_tail(b, [233, 234, 237, 239, 240, 241]);
                put16(b, 235, self.flags);
                b[260] = self.rt;
            }
            D::Fbsd1500 => {
                put16(b, 332, self.flags);
                (b[347], b[349], b[350], b[351]) =
                    (self.proto, self.log, self.timeout, self.direction);
                b[348] = match (self.proto, self.wire.is_v6(), self.stack.is_v6()) {
                    (58, true, false) => 1,
                    (1, false, true) => 58,
                    (proto, ..) => proto,
                };
                b[352] = self.rt;
            }
            _ => {
                self.put_tail(b, [251, 252, 253, 255, 256, 257]);
                if matches!(d, D::Obsd47 | D::Obsd50 | D::Obsd51) {
                    b[254] = low;
                }
                if matches!(d, D::Obsd69 | D::Obsd74) {
                    b[254] = self.rt;
                }
                if d != D::Obsd47 {
                    put16(b, 260, self.flags);
                }
            }
        }
    }

    fn put_tail(&self, b: &mut [u8], at: [usize; 6]) {
        let values = [
            self.proto,
            self.direction,
            self.log,
            self.timeout,
            self.sync_flags,
            self.updates,
        ];
        for (at, value) in at.into_iter().zip(values) {
            b[at] = value;
        }
    }
}

fn put16(b: &mut [u8], at: usize, value: u16) {
    b[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

fn put32(b: &mut [u8], at: usize, value: u32) {
    b[at..at + 4].copy_from_slice(&value.to_be_bytes());
}

fn put_addr(b: &mut [u8], at: usize, addr: IpAddr) {
    match addr {
        IpAddr::V4(a) => b[at..at + 4].copy_from_slice(&a.octets()),
        IpAddr::V6(a) => b[at..at + 16].copy_from_slice(&a.octets()),
    }
}

fn put_key(b: &mut [u8], at: usize, key: &Key) {
    put_addr(b, at, key.addr[0]);
    put_addr(b, at + 16, key.addr[1]);
    put16(b, at + 32, key.port[0]);
    put16(b, at + 34, key.port[1]);
}

/// UPD_C.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct UpdC {
    pub id: u64,
    pub creator: u32,
    pub src: Peer,
    pub dst: Peer,
    pub expire: u32,
    pub timeout: u8,
    /// What follows the timeout.
    pub rest: [u8; 7],
}

/// A message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum M {
    Ins(St),
    Upd(St),
    Del(St),
    UpdC(UpdC),
    DelC(u64, u32),
    Iack(u64, u32),
    Ureq(u64, u32),
    Clr([u8; 16], u32),
    Bus(u32, u8),
    Tdb,
}

impl M {
    /// UPD_C of a state as it is.
    pub fn upd_c(st: &St) -> Self {
        Self::UpdC(UpdC {
            id: st.id,
            creator: st.creator,
            src: st.src,
            dst: st.dst,
            expire: 0,
            timeout: st.timeout,
            rest: [0; 7],
        })
    }

    pub fn del_c(st: &St) -> Self {
        Self::DelC(st.id, st.creator)
    }

    /// CLR of everything a creator made.
    pub fn clr(creator: u32) -> Self {
        Self::Clr([0; 16], creator)
    }

    pub fn clr_if(ifname: &str, creator: u32) -> Self {
        Self::Clr(name(ifname), creator)
    }

    pub fn action(&self, d: D) -> u8 {
        let freebsd = |old, newer, newest| match d {
            D::Fbsd1400 => newer,
            D::Fbsd1500 => newest,
            _ => old,
        };
        match (d.version(), self) {
            (_, Self::Clr(..)) => 0,
            (6, Self::Ins(_)) => 13,
            (6, Self::Upd(_)) => 14,
            (5, Self::Ins(_)) => freebsd(1, 13, 15),
            (5, Self::Upd(_)) => freebsd(3, 14, 16),
            (2..=4, Self::Ins(_)) => 1,
            (2..=4, Self::Upd(_)) => 2,
            (2..=4, Self::Del(_)) => 3,
            (_, Self::Del(_)) => 6,
            (_, Self::UpdC(_)) => 4,
            (2..=4, Self::DelC(..)) => 5,
            (_, Self::DelC(..)) => 7,
            (2..=4, Self::Ureq(..)) => 8,
            (_, Self::Ureq(..)) => 5,
            (2..=4, Self::Bus(..)) => 9,
            (_, Self::Bus(..)) => 10,
            (_, Self::Iack(..)) => 2,
            (2..=4, Self::Tdb) => 10,
            (6, Self::Tdb) if !matches!(d, D::Obsd47 | D::Obsd50 | D::Obsd51) => 15,
            (_, Self::Tdb) => 11,
            (version, _) => panic!("version {version}"),
        }
    }

    pub fn write(&self, d: D) -> Vec<u8> {
        let flat = d.is_flat();
        let by_id = |id: u64, creator: u32| {
            let mut b = vec![0; if flat { 16 } else { 12 }];
            b[..8].copy_from_slice(&id.to_be_bytes());
            put32(&mut b, 8, creator);
            b
        };
        match self {
            Self::Ins(st) | Self::Upd(st) => st.write(d),
            Self::Del(st) => st.write(match d {
                D::Fbsd1400 | D::Fbsd1500 => D::Fbsd1301,
                other => other,
            }),
            Self::UpdC(update) => {
                let mut b = vec![0; if flat { 88 } else { 84 }];
                b[..8].copy_from_slice(&update.id.to_be_bytes());
                update.src.write(&mut b[8..40]);
                update.dst.write(&mut b[40..72]);
                put32(&mut b, 72, update.creator);
                put32(&mut b, 76, update.expire);
                b[80] = update.timeout;
                let rest = b.len() - 81;
                b[81..].copy_from_slice(&update.rest[..rest]);
                b
            }
            Self::DelC(id, creator) | Self::Iack(id, creator) | Self::Ureq(id, creator) => {
                by_id(*id, *creator)
            }
            Self::Clr(ifname, creator) => {
                let mut b = vec![0; if flat { 24 } else { 20 }];
                b[..16].copy_from_slice(ifname);
                put32(&mut b, 16, *creator);
                b
            }
            Self::Bus(creator, status) => {
                let mut b = vec![0; if flat { 16 } else { 12 }];
                put32(&mut b, 0, *creator);
                put32(&mut b, 4, 7);
                b[8] = *status;
                b
            }
            Self::Tdb => {
                let is_wide = self.action(d) == 15;
                let mut b = vec![0; if is_wide { 52 } else { 48 }];
                put32(&mut b, 0, 0x1234_5678);
                (b[4], b[5]) = (16, 2);
                b[8..12].copy_from_slice(&[192, 0, 2, 9]);
                b[if is_wide { 48 } else { 44 }] = 50;
                b
            }
        }
    }
}

/// A section of a v5 or v6 packet: subheader and octets as given.
pub fn section(action: u8, len: u8, count: u16, octets: &[u8]) -> Vec<u8> {
    let [high, low] = count.to_be_bytes();
    let mut b = vec![action, len, high, low];
    b.extend_from_slice(octets);
    b
}

/// The header of v5 and v6 before what is in a packet.
pub fn modern(version: u8, body: &[u8]) -> Vec<u8> {
    let mut b = vec![0; 20];
    b[0] = version;
    put16(&mut b, 2, (20 + body.len()) as u16);
    b.extend_from_slice(body);
    b
}

/// How a v5 packet ends.
pub fn eof(d: D) -> Vec<u8> {
    match d {
        D::Obsd45 | D::Fbsd9 => {
            // Stale memory that looks like sections.
            let mut b = section(12, 0, 1, &[]);
            b.extend_from_slice(&[
                13, 66, 0, 1, 0x0c, 0, 0, 1, 0, 0, 0, 1, 7, 3, 0xff, 0xff, 6, 5, 4, 3,
            ]);
            b
        }
        _ if d.version() == 5 => section(12, 0, 1, &[]),
        _ => Vec::new(),
    }
}

/// A run of messages of one action as the body of a packet: sections, without header and EOF.
pub fn sections(d: D, messages: &[M]) -> Vec<u8> {
    let mut body = Vec::new();
    for run in messages.chunk_by(|a, b| a.action(d) == b.action(d)) {
        let octets: Vec<u8> = run.iter().flat_map(|message| message.write(d)).collect();
        let len = if d.version() == 6 {
            (octets.len() / run.len() / 4) as u8
        } else {
            0
        };
        body.extend(section(run[0].action(d), len, run.len() as u16, &octets));
    }
    body
}

/// Messages as packets: in v2 to v4 one for each run of one action, else one.
pub fn packets(d: D, messages: &[M]) -> Vec<Vec<u8>> {
    if !d.is_flat() {
        let mut body = sections(d, messages);
        body.extend(eof(d));
        let mut packet = modern(d.version(), &body);
        if d != D::Obsd74 {
            packet[4..20].copy_from_slice(&[0xc5; 16]);
        }
        return vec![packet];
    }
    let alone = |message: &M| matches!(message, M::Clr(..) | M::Bus(..));
    messages
        .chunk_by(|a, b| a.action(d) == b.action(d) && !alone(a))
        .flat_map(|run| run.chunks(200))
        .map(|run| {
            let count = if alone(&run[0]) { 0 } else { run.len() as u8 };
            let mut b = vec![d.version(), 0, run[0].action(d), count];
            if d != D::V2 {
                b.extend_from_slice(&[0xc5; 16]);
            }
            b.extend(run.iter().flat_map(|message| message.write(d)));
            b
        })
        .collect()
}

/// What stands before a pfsync packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum From {
    /// Ethernet and IPv4.
    Ether([u8; 4]),
    /// Ethernet, an 802.1Q tag and IPv4.
    Vlan([u8; 4]),
    /// Ethernet and IPv6.
    Ether6,
    /// IPv4.
    Raw([u8; 4]),
    /// IPv6.
    Raw6,
    /// pfsync0: nothing, under this link type.
    Bare(u32),
    /// pfsync0 since OpenBSD 7.4: an IPv4 header from 0.0.0.0, under this link type.
    Header(u32),
}

pub const A: From = From::Ether([10, 0, 0, 1]);
pub const B: From = From::Ether([10, 0, 0, 2]);
pub const PFSYNC0: From = From::Bare(246);

pub fn ipv4(source: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let mut b = vec![0x45, 0x10, 0, 0, 0x12, 0x34, 0x40, 0, 255, 240, 0, 0];
    put16(&mut b, 2, (20 + payload.len()) as u16);
    b.extend_from_slice(&source);
    b.extend_from_slice(&[224, 0, 0, 240]);
    b.extend_from_slice(payload);
    b
}

pub fn ipv6(payload: &[u8]) -> Vec<u8> {
    let mut b = vec![0x60, 0, 0, 0, 0, 0, 240, 255];
    put16(&mut b, 4, payload.len() as u16);
    b.extend_from_slice(&[0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    b.extend_from_slice(&[0xff, 0x12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xf0]);
    b.extend_from_slice(payload);
    b
}

pub fn ether(ethertype: &[u8], packet: &[u8]) -> Vec<u8> {
    let mut b = vec![1, 0, 0x5e, 0, 0, 0xf0, 2, 0, 0, 0, 0, 1];
    b.extend_from_slice(ethertype);
    b.extend_from_slice(packet);
    b.resize(b.len().max(60), 0xee);
    b
}

impl From {
    pub fn frame(self, pfsync: &[u8]) -> (LinkType, Vec<u8>) {
        match self {
            Self::Ether(source) => (LinkType(1), ether(&[8, 0], &ipv4(source, pfsync))),
            Self::Vlan(source) => {
                let tagged = [0x81, 0, 0, 7, 8, 0];
                (LinkType(1), ether(&tagged, &ipv4(source, pfsync)))
            }
            Self::Ether6 => (LinkType(1), ether(&[0x86, 0xdd], &ipv6(pfsync))),
            Self::Raw(source) => (LinkType(101), ipv4(source, pfsync)),
            Self::Raw6 => (LinkType(101), ipv6(pfsync)),
            Self::Bare(link) => (LinkType(link), pfsync.to_vec()),
            Self::Header(link) => (LinkType(link), ipv4([0; 4], pfsync)),
        }
    }
}

/// Second 0 of the tests.
pub const T0: i64 = 1_700_000_000;

/// A flow that came out; times are seconds since [`T0`].
#[derive(Clone, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Out {
    pub id: u64,
    pub creator: u32,
    pub start: i64,
    pub end: i64,
    /// The initiator, `address:port`, and the responder.
    pub src: String,
    pub dst: String,
    /// Both after translation.
    pub nat: Option<(String, String)>,
    pub proto: u64,
    pub packets: [u64; 2],
    pub octets: [u64; 2],
    pub ifname: String,
    /// Of a connection: where it leaves.
    pub egress: Option<String>,
    /// Of a state.
    pub direction: String,
    pub icmp: (Option<u64>, Option<u64>),
}

impl Out {
    /// Seconds of the first and the last packet.
    pub fn times(&self) -> (i64, i64) {
        (self.start, self.end)
    }
}

fn hex(value: &serde_json::Value) -> u64 {
    u64::from_str_radix(value.as_str().unwrap(), 16).unwrap()
}

fn out(record: &serde_json::Value) -> (bool, Out) {
    let reverse = record["reverse"].as_bool().unwrap();
    let end = |names: [&str; 3]| {
        let [four, six, port] = names;
        let address = record[four].as_str().or_else(|| record[six].as_str())?;
        Some(format!("{address}:{}", record[port]))
    };
    let mut ends = [
        end([
            "sourceIPv4Address",
            "sourceIPv6Address",
            "sourceTransportPort",
        ]),
        end([
            "destinationIPv4Address",
            "destinationIPv6Address",
            "destinationTransportPort",
        ]),
    ];
    let mut nat = [
        end([
            "postNATSourceIPv4Address",
            "postNATSourceIPv6Address",
            "postNAPTSourceTransportPort",
        ]),
        end([
            "postNATDestinationIPv4Address",
            "postNATDestinationIPv6Address",
            "postNAPTDestinationTransportPort",
        ]),
    ];
    if reverse {
        ends.reverse();
        nat.reverse();
    }
    let [src, dst] = ends;
    let [nat_src, nat_dst] = nat;
    let which = usize::from(reverse);
    let number = |key: &str| record[key].as_u64();
    let seconds = |key: &str| i64::try_from(number(key).unwrap() / 1000).unwrap() - T0;
    let mut flow = Out {
        id: hex(&record["stateId"]),
        creator: u32::try_from(hex(&record["creatorId"])).unwrap(),
        start: seconds("flowStartMilliseconds"),
        end: seconds("flowEndMilliseconds"),
        src: src.unwrap(),
        dst: dst.unwrap(),
        nat: nat_src.zip(nat_dst),
        proto: number("protocolIdentifier").unwrap(),
        ifname: record["interfaceName"].as_str().unwrap().to_owned(),
        egress: record["egressInterfaceName"].as_str().map(str::to_owned),
        direction: record["direction"].as_str().unwrap_or_default().to_owned(),
        icmp: (
            number("icmpId"),
            number("icmpTypeIPv4").or_else(|| number("icmpTypeIPv6")),
        ),
        ..Out::default()
    };
    flow.packets[which] = number("packetDeltaCount").unwrap();
    flow.octets[which] = number("octetDeltaCount").unwrap();
    (reverse, flow)
}

/// Both records of each flow as one.
pub fn flows(json: &[u8]) -> Vec<Out> {
    let mut flows: Vec<Out> = Vec::new();
    let mut wants_reverse = false;
    for line in json.split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
        let (reverse, flow) = out(&serde_json::from_slice(line).unwrap());
        if reverse && wants_reverse {
            let forward = flows.last_mut().unwrap();
            let same = |flow: &Out| Out {
                packets: [0; 2],
                octets: [0; 2],
                ..flow.clone()
            };
            if same(forward) == same(&flow) {
                forward.packets[1] = flow.packets[1];
                forward.octets[1] = flow.octets[1];
                wants_reverse = false;
                continue;
            }
        }
        wants_reverse = !reverse;
        flows.push(flow);
    }
    flows
}

/// Settings of a replay without -b that prints flows as JSON.
pub fn settings() -> Settings {
    Settings {
        states: 1_000_000,
        is_all: false,
        direction: None,
        boot: Boot::Unknown,
        local_addresses: Vec::new(),
        output: Output {
            form: Form::Json,
            detail: Detail::Brief,
        },
    }
}

/// An engine and its clock, which is the packets' as in a replay.
pub struct Run {
    pub engine: Engine,
    clock: Option<Wall>,
    boot: Option<Wall>,
}

/// Milliseconds after [`T0`].
pub fn wall(ms: i64) -> Wall {
    Wall::from_nanos((T0 * 1000 + ms) * 1_000_000)
}

impl Default for Run {
    fn default() -> Self {
        Self::new()
    }
}

impl Run {
    pub fn new() -> Self {
        Self::with(settings(), Config::default())
    }

    pub fn with(settings: Settings, config: Config) -> Self {
        Self {
            engine: Engine::new(settings, config),
            clock: None,
            boot: None,
        }
    }

    /// With a boot time, in seconds after [`T0`].
    pub fn booted(boot: i64) -> Self {
        Self::booted_at(boot * 1000)
    }

    /// With a boot time, in milliseconds after [`T0`].
    pub fn booted_at(boot: i64) -> Self {
        let settings = Settings {
            boot: Boot::Known,
            ..settings()
        };
        Self {
            boot: Some(wall(boot)),
            ..Self::with(settings, Config::default())
        }
    }

    /// At most `states` of them.
    pub fn bounded(states: u32) -> Self {
        Self::with(
            Settings {
                states,
                ..settings()
            },
            Config::default(),
        )
    }

    pub fn now(&self) -> Now {
        Now::with_boot(self.clock.unwrap(), self.boot.unwrap())
    }

    /// Sets the wall clock forward, or back; the machine's uptime does not change.
    pub fn set_clock(&mut self, ms: i64) {
        let set =
            |wall: Option<Wall>| wall.map(|wall| Wall::from_nanos(wall.nanos() + ms * 1_000_000));
        (self.clock, self.boot) = (set(self.clock), set(self.boot));
    }

    /// Moves the clock to `ms` after [`T0`], if that is later.
    pub fn advance(&mut self, ms: i64) {
        let stamp = wall(ms);
        if self.clock.is_none() {
            self.clock = Some(stamp);
            self.boot
                .get_or_insert(Wall::from_nanos(stamp.nanos() - (1 << 31) * 1_000_000));
            let now = self.now();
            self.engine.start(now);
        } else if Some(stamp) > self.clock {
            self.clock = Some(stamp);
            let now = self.now();
            self.engine.handle_timeout(now, now.uptime);
        }
    }

    /// Starts with what a keep file has, `ms` after [`T0`].
    pub fn restore(&mut self, ms: i64, is_clean: bool, records: keep::Records<'_>) {
        let stamp = wall(ms);
        self.clock = Some(stamp);
        self.boot = Some(Wall::from_nanos(stamp.nanos() - (1 << 31) * 1_000_000));
        let now = self.now();
        self.engine.restore(now, is_clean, records);
        self.engine.start(now);
    }

    /// Takes in a frame of which `frame` was captured.
    pub fn frame(&mut self, ms: i64, link: LinkType, frame: &[u8], wire_len: usize) {
        self.advance(ms);
        let packet = Packet {
            stamp: wall(ms),
            link,
            frame,
            wire_len,
        };
        let now = self.now();
        self.engine.handle_packet(now, &packet);
        while self.engine.is_behind() {
            self.engine.go_on();
        }
    }

    /// Takes in a pfsync packet.
    pub fn packet(&mut self, ms: i64, from: From, pfsync: &[u8]) {
        let (link, frame) = from.frame(pfsync);
        self.frame(ms, link, &frame, frame.len());
    }

    /// Takes in messages.
    pub fn send(&mut self, ms: i64, from: From, d: D, messages: &[M]) {
        for packet in packets(d, messages) {
            self.packet(ms, from, &packet);
        }
    }

    /// The flows that came out since the last call.
    pub fn flows(&mut self) -> Vec<Out> {
        let flows = flows(self.engine.printed());
        self.engine.printed().clear();
        flows
    }

    /// The only flow that came out since the last call, or comes when ends are held back no more.
    pub fn flow(&mut self) -> Out {
        if self.engine.printed().is_empty() {
            self.clock = self
                .clock
                .map(|clock| Wall::from_nanos(clock.nanos() + 2_000_000_000));
            let now = self.now();
            self.engine.handle_timeout(now, now.uptime);
        }
        let flows = self.flows();
        assert_eq!(flows.len(), 1, "{flows:#?}");
        flows.into_iter().next().unwrap()
    }

    /// Ends the input; the flows that came out since the last call.
    pub fn finish(&mut self) -> Vec<Out> {
        if self.clock.is_some() {
            let now = self.now();
            self.engine.finish(now);
        }
        self.flows()
    }

    pub fn counters(&self) -> TableCounters {
        self.engine.table().counters
    }

    pub fn alive(&self) -> usize {
        self.engine.table().len()
    }

    /// Packets that were not read whole, for this reason.
    pub fn reason(&self, name: &str) -> u64 {
        let mut reasons = self.engine.packet_counters().reasons();
        reasons.find(|counter| counter.name == name).unwrap().value
    }

    /// Messages read of this kind.
    pub fn messages(&self, action: Action) -> u64 {
        let mut actions = self.engine.packet_counters().actions();
        actions.find(|(this, _)| *this == action).unwrap().1
    }
}
