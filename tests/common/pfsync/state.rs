//! A state, whole, as each dialect lays it out.

use std::net::IpAddr;

use super::D;

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
    pub(super) fn write(&self, at: &mut [u8]) {
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

    /// All fields 0 but its identity: an IPv4 state without ends.
    pub fn blank(id: u64, creator: u32) -> Self {
        let key = Key::new("0.0.0.0", 0, "0.0.0.0", 0);
        Self {
            creator,
            ifname: [0; 16],
            wire: key,
            stack: key,
            src: Peer::default(),
            dst: Peer::default(),
            rule: 0,
            anchor: 0,
            nat_rule: 0,
            proto: 0,
            direction: 0,
            flags: 0,
            timeout: 0,
            ..Self::tcp(id)
        }
    }

    /// With both peers ESTABLISHED.
    pub fn established(mut self) -> Self {
        (self.src.state, self.dst.state) = (4, 4);
        self
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

    /// Its octets.
    pub fn write(&self, d: D) -> Vec<u8> {
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

pub(super) fn put16(b: &mut [u8], at: usize, value: u16) {
    b[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

pub(super) fn put32(b: &mut [u8], at: usize, value: u32) {
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
