//! Messages, their packets, and the headers before those.

use super::state::{put16, put32};
use super::{D, Peer, St, name};

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
