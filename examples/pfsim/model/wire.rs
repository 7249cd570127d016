//! States and messages as octets, and requests from octets.
//!
//! A second opinion: nothing here looks at `src/wire`. Offsets were
//! counted in the kernels' if_pfsync.h and pfvar.h.

use std::net::{IpAddr, Ipv4Addr};

use super::dialect::{At254, Dialect, Eof, Era, Layout, Tail};

/// IP protocol number of pfsync.
pub const PROTOCOL: u8 = 240;
/// TTL that a receiver insists on.
pub const TTL: u8 = 255;
/// Where pfsync goes.
pub const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 240);
/// Octets of an IPv4 header without options.
pub const IP_HEADER: usize = 20;
/// Octets of a pfsync header, v3 and later.
pub const HEADER: usize = 20;
/// "None" in rule numbers.
pub const NONE: u32 = u32::MAX;

/// A direction of pf.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Direction {
    In = 1,
    Out = 2,
}

/// Index 0 is the far side of the interface, 1 the near side.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Key {
    pub addr: [IpAddr; 2],
    pub port: [u16; 2],
}

/// What a peer's packets had to say of time stamps (`pfsync_state_scrub`).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Scrub {
    pub flags: u16,
    pub ttl: u8,
    pub ts_mod: u32,
}

/// One end of a state.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Peer {
    pub scrub: Option<Scrub>,
    pub seqlo: u32,
    pub seqhi: u32,
    pub seqdiff: u32,
    pub max_win: u16,
    pub mss: u16,
    pub state: u8,
    pub wscale: u8,
}

/// A state at an instant, as it is exported.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Image {
    pub id: u64,
    pub creator: u32,
    pub ifname: &'static str,
    /// Where the first packet was seen; only FreeBSD 15 says.
    pub origin: &'static str,
    pub wire: Key,
    pub stack: Key,
    pub src: Peer,
    pub dst: Peer,
    pub rule: u32,
    /// Seconds since its creation.
    pub age: u32,
    /// Seconds left.
    pub expire: u32,
    pub packets: [u64; 2],
    pub octets: [u64; 2],
    pub proto: u8,
    pub direction: Direction,
    pub log: u8,
    pub timeout: u8,
    pub sync_flags: u8,
    pub updates: u8,
    pub flags: u16,
    pub max_mss: u16,
}

/// Messages of the wire. Old ones have their own numbers, see [`Kind::action`].
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Kind {
    Clear,
    Insert,
    InsertAck,
    Update,
    UpdateCompressed,
    UpdateRequest,
    Delete,
    DeleteCompressed,
    Bus,
}

/// What a message says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Message {
    Clear {
        ifname: &'static str,
        creator: u32,
    },
    Insert(Image),
    Update(Image),
    UpdateCompressed(Image),
    UpdateRequest {
        id: u64,
        creator: u32,
    },
    Delete(Image),
    DeleteCompressed {
        id: u64,
        creator: u32,
    },
    /// A bulk begins, or ends.
    Bus {
        creator: u32,
        endtime: u32,
        is_end: bool,
    },
}

impl Message {
    /// What it is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Clear { .. } => Kind::Clear,
            Self::Insert(_) => Kind::Insert,
            Self::Update(_) => Kind::Update,
            Self::UpdateCompressed(_) => Kind::UpdateCompressed,
            Self::UpdateRequest { .. } => Kind::UpdateRequest,
            Self::Delete(_) => Kind::Delete,
            Self::DeleteCompressed { .. } => Kind::DeleteCompressed,
            Self::Bus { .. } => Kind::Bus,
        }
    }

    /// Its octets.
    pub fn encode(&self, dialect: &Dialect) -> Vec<u8> {
        let mut out = vec![0; self.kind().len(dialect)];
        match *self {
            Self::Clear { ifname, creator } => {
                put(&mut out, 0, ifname.as_bytes());
                put(&mut out, 16, &creator.to_be_bytes());
            }
            Self::Insert(ref image) | Self::Update(ref image) | Self::Delete(ref image) => {
                state(&mut out, image, dialect);
            }
            Self::UpdateCompressed(ref image) => compressed(&mut out, image, dialect),
            Self::UpdateRequest { id, creator } | Self::DeleteCompressed { id, creator } => {
                put(&mut out, 0, &id.to_be_bytes());
                put(&mut out, 8, &creator.to_be_bytes());
            }
            Self::Bus {
                creator,
                endtime,
                is_end,
            } => {
                put(&mut out, 0, &creator.to_be_bytes());
                put(&mut out, 4, &endtime.to_be_bytes());
                out[8] = if is_end { 2 } else { 1 };
            }
        }
        out
    }
}

impl Kind {
    /// Its number.
    pub fn action(self, dialect: &Dialect) -> u8 {
        let (insert, update) = match dialect.layout {
            Layout::V2 | Layout::V3 => (1, 2),
            Layout::V4 if dialect.version == 4 => (1, 2),
            Layout::V4 | Layout::F1301 => (1, 3),
            Layout::F1400 | Layout::V6(_) => (13, 14),
            Layout::F1500 => (15, 16),
        };
        let is_old = dialect.era == Era::Old;
        match self {
            Self::Clear => 0,
            Self::Insert => insert,
            Self::Update => update,
            Self::InsertAck => 2,
            Self::UpdateCompressed => 4,
            Self::Delete if is_old => 3,
            Self::Delete => 6,
            Self::UpdateRequest if is_old => 8,
            Self::UpdateRequest => 5,
            Self::DeleteCompressed if is_old => 5,
            Self::DeleteCompressed => 7,
            Self::Bus if is_old => 9,
            Self::Bus => 10,
        }
    }

    /// Octets of one.
    pub fn len(self, dialect: &Dialect) -> usize {
        let pad = if dialect.era == Era::Old { 4 } else { 0 };
        match self {
            Self::Clear => 20 + pad,
            Self::Insert | Self::Update | Self::Delete => dialect.state_len(),
            Self::UpdateCompressed => 84 + pad,
            Self::InsertAck | Self::UpdateRequest | Self::DeleteCompressed | Self::Bus => 12 + pad,
        }
    }
}

fn put(out: &mut [u8], at: usize, octets: &[u8]) {
    out[at..at + octets.len()].copy_from_slice(octets);
}

fn address(out: &mut [u8], at: usize, address: IpAddr) {
    match address {
        IpAddr::V4(address) => put(out, at, &address.octets()),
        IpAddr::V6(address) => put(out, at, &address.octets()),
    }
}

fn family(address: IpAddr, dialect: &Dialect) -> u8 {
    if address.is_ipv6() { dialect.inet6 } else { 2 }
}

fn key(out: &mut [u8], at: usize, key: &Key) {
    address(out, at, key.addr[0]);
    address(out, at + 16, key.addr[1]);
    put(out, at + 32, &key.port[0].to_be_bytes());
    put(out, at + 34, &key.port[1].to_be_bytes());
}

fn peer(out: &mut [u8], at: usize, peer: &Peer, dialect: &Dialect) {
    if let Some(scrub) = peer.scrub {
        if dialect.has_scrub {
            put(out, at, &scrub.flags.to_be_bytes());
            out[at + 2] = scrub.ttl;
            out[at + 3] = 1;
            put(out, at + 4, &scrub.ts_mod.to_be_bytes());
        } else {
            out[at + 26] = 1;
        }
    }
    put(out, at + 8, &peer.seqlo.to_be_bytes());
    put(out, at + 12, &peer.seqhi.to_be_bytes());
    put(out, at + 16, &peer.seqdiff.to_be_bytes());
    put(out, at + 20, &peer.max_win.to_be_bytes());
    put(out, at + 22, &peer.mss.to_be_bytes());
    out[at + 24] = peer.state;
    out[at + 25] = peer.wscale;
}

/// A whole state: keys here, what follows them in [`body`], the end in the layout's own.
fn state(out: &mut [u8], image: &Image, dialect: &Dialect) {
    put(out, 0, &image.id.to_be_bytes());
    put(out, 8, image.ifname.as_bytes());
    let (wire, stack) = (&image.wire, &image.stack);
    match dialect.layout {
        Layout::V2 | Layout::V3 => {
            for (at, key, side) in [(24, stack, 1), (48, wire, 1), (72, wire, 0)] {
                address(out, at, key.addr[side]);
                put(out, at + 16, &key.port[side].to_be_bytes());
            }
            body(out, 96, image, dialect);
        }
        Layout::V6(tail) => {
            key(out, 24, wire);
            key(out, 64, stack);
            if tail.has_key_af {
                out[24 + 38] = family(wire.addr[0], dialect);
                out[64 + 38] = family(stack.addr[0], dialect);
            }
            body(out, 104, image, dialect);
            tail_v6(out, image, dialect, tail);
        }
        _ => {
            key(out, 24, wire);
            key(out, 60, stack);
            body(out, 96, image, dialect);
        }
    }
    match dialect.layout {
        Layout::V2 => tail_old(out, 216, image, dialect),
        Layout::V3 | Layout::V4 => tail_old(out, 232, image, dialect),
        Layout::F1301 => tail_1301(out, image, dialect),
        Layout::F1400 => tail_1400(out, image, dialect),
        Layout::F1500 => tail_1500(out, image, dialect),
        Layout::V6(_) => {}
    }
}

/// From the peers to the creator, which every dialect has in the same order.
fn body(out: &mut [u8], at: usize, image: &Image, dialect: &Dialect) {
    peer(out, at, &image.src, dialect);
    peer(out, at + 32, &image.dst, dialect);
    let is_v2_or_v3 = dialect.version < 4;
    let nat_rule = if is_v2_or_v3 { 0 } else { NONE };
    let expire = if is_v2_or_v3 { 0 } else { image.expire };
    for (i, word) in [image.rule, NONE, nat_rule, image.age, expire]
        .iter()
        .enumerate()
    {
        put(out, at + 80 + 4 * i, &word.to_be_bytes());
    }
    let counters = image.packets.into_iter().chain(image.octets);
    let creator = image.creator.to_be_bytes();
    if dialect.version == 2 {
        for (i, counter) in counters.enumerate() {
            put(out, at + 100 + 4 * i, &(counter as u32).to_be_bytes());
        }
        put(out, at + 116, &creator);
    } else {
        for (i, counter) in counters.enumerate() {
            put(out, at + 100 + 8 * i, &counter.to_be_bytes());
        }
        put(out, at + 132, &creator);
    }
}

fn tail_old(out: &mut [u8], at: usize, image: &Image, dialect: &Dialect) {
    // allow_opts of v2 and v3 is no set of flags
    let flags = match dialect.version {
        2 | 3 => image.flags as u8 & 1,
        _ => image.flags as u8,
    };
    put(
        out,
        at,
        &[
            family(image.wire.addr[0], dialect),
            image.proto,
            image.direction as u8,
            image.log,
            flags,
            image.timeout,
            image.sync_flags,
            image.updates,
        ],
    );
}

fn tail_1301(out: &mut [u8], image: &Image, dialect: &Dialect) {
    out[232] = family(image.wire.addr[0], dialect);
    out[233] = image.proto;
    out[234] = image.direction as u8;
    out[237] = image.log;
    out[238] = image.flags as u8;
    out[239] = image.timeout;
    out[240] = image.sync_flags;
    out[241] = image.updates;
}

fn tail_1400(out: &mut [u8], image: &Image, dialect: &Dialect) {
    out[232] = family(image.wire.addr[0], dialect);
    out[233] = image.proto;
    out[234] = image.direction as u8;
    put(out, 235, &image.flags.to_be_bytes());
    out[237] = image.log;
    out[239] = image.timeout;
    out[240] = image.sync_flags;
    out[241] = image.updates;
    put(out, 250, &(-1_i32).to_be_bytes());
    put(out, 256, &image.max_mss.to_be_bytes());
}

fn tail_1500(out: &mut [u8], image: &Image, dialect: &Dialect) {
    put(out, 312, image.origin.as_bytes());
    put(out, 328, &(-1_i32).to_be_bytes());
    put(out, 332, &image.flags.to_be_bytes());
    put(out, 342, &image.max_mss.to_be_bytes());
    out[344] = family(image.wire.addr[0], dialect);
    out[345] = family(image.stack.addr[0], dialect);
    out[347] = image.proto;
    out[348] = image.proto;
    out[349] = image.log;
    out[350] = image.timeout;
    out[351] = image.direction as u8;
}

fn tail_v6(out: &mut [u8], image: &Image, dialect: &Dialect, tail: Tail) {
    // 240..248: routing tables of the two keys, table 0
    put(out, 248, &image.max_mss.to_be_bytes());
    out[250] = family(image.wire.addr[0], dialect);
    out[251] = image.proto;
    out[252] = image.direction as u8;
    out[253] = image.log;
    if tail.at254 == At254::Flags {
        out[254] = image.flags as u8;
    }
    out[255] = image.timeout;
    out[256] = image.sync_flags;
    out[257] = image.updates;
    if tail.has_flags {
        put(out, 260, &image.flags.to_be_bytes());
    }
}

fn compressed(out: &mut [u8], image: &Image, dialect: &Dialect) {
    put(out, 0, &image.id.to_be_bytes());
    peer(out, 8, &image.src, dialect);
    peer(out, 40, &image.dst, dialect);
    put(out, 72, &image.creator.to_be_bytes());
    let has_expire = dialect.has_expire || dialect.version == 4;
    let expire = if has_expire { image.expire } else { 0 };
    put(out, 76, &expire.to_be_bytes());
    out[80] = image.timeout;
    if dialect.era == Era::Old {
        out[81] = image.updates;
    }
}

/// The pfsync part of a packet: neighbours of one kind share a subheader. For an old dialect all
/// are of one kind.
pub fn packet(messages: &[Message], dialect: &Dialect) -> Vec<u8> {
    if dialect.era == Era::Old {
        return packet_old(messages, dialect);
    }
    let mut out = vec![dialect.version, 0, 0, 0];
    out.extend_from_slice(&checksum(dialect));
    for run in messages.chunk_by(|a, b| a.kind() == b.kind()) {
        let kind = run[0].kind();
        let words = match dialect.version {
            6 => (kind.len(dialect) / 4) as u8,
            _ => 0,
        };
        out.extend_from_slice(&[kind.action(dialect), words]);
        out.extend_from_slice(&(run.len() as u16).to_be_bytes());
        for message in run {
            out.extend_from_slice(&message.encode(dialect));
        }
    }
    if dialect.eof != Eof::None {
        out.extend_from_slice(&[12, 0, 0, 1]);
    }
    if dialect.eof == Eof::Stale {
        out.extend_from_slice(&STALE);
    }
    let len = (out.len() as u16).to_be_bytes();
    put(&mut out, 2, &len);
    out
}

fn packet_old(messages: &[Message], dialect: &Dialect) -> Vec<u8> {
    let kind = messages[0].kind();
    // count is never raised for these
    let count = match kind {
        Kind::Clear | Kind::Bus => 0,
        _ => messages.len() as u8,
    };
    let mut out = vec![dialect.version, 0, kind.action(dialect), count];
    if dialect.version > 2 {
        out.extend_from_slice(&checksum(dialect));
    }
    for message in messages {
        out.extend_from_slice(&message.encode(dialect));
    }
    out
}

/// Octets of a packet without messages, IP header excluded.
pub fn overhead(dialect: &Dialect) -> usize {
    let header = if dialect.version == 2 { 4 } else { HEADER };
    match dialect.eof {
        Eof::None => header,
        Eof::Plain => header + 4,
        Eof::Stale => header + 4 + STALE.len(),
    }
}

/// What the kernels that leave `pfsync_eof.hmac` as it is may leave.
const STALE: [u8; 20] = *b"stale mbuf memory!!\0";

/// The MD5 of the ruleset, or what stands there.
fn checksum(dialect: &Dialect) -> [u8; 16] {
    let mut sum = [0; 16];
    if dialect.has_checksum {
        for (octet, value) in sum.iter_mut().zip(0xc0..) {
            *octet = value;
        }
    }
    sum
}

/// The IPv4 header before `payload`.
pub fn ip(source: Ipv4Addr, ident: u16, payload: &[u8]) -> Vec<u8> {
    let len = (IP_HEADER + payload.len()) as u16;
    let mut out = vec![0x45, 0x10];
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(&ident.to_be_bytes());
    out.extend_from_slice(&[0x40, 0, TTL, PROTOCOL, 0, 0]);
    out.extend_from_slice(&source.octets());
    out.extend_from_slice(&GROUP.octets());
    let mut sum: u32 = out
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    put(&mut out, 10, &(!sum as u16).to_be_bytes());
    out.extend_from_slice(payload);
    out
}

/// Why a packet that came was of no use.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Bad {
    /// No IPv4, not protocol 240, cut.
    Packet,
    Ttl,
    Version,
    Length,
}

/// The update requests of a packet, IPv4 header and all, as a firewall would read them. Other
/// messages are skipped.
pub fn requests(packet: &[u8], dialect: &Dialect) -> Result<Vec<(u64, u32)>, Bad> {
    let first = *packet.first().ok_or(Bad::Packet)?;
    let start = usize::from(first & 0x0f) * 4;
    if first >> 4 != 4 || start < IP_HEADER || packet.len() < start || packet[9] != PROTOCOL {
        return Err(Bad::Packet);
    }
    if packet[8] != TTL {
        return Err(Bad::Ttl);
    }
    let total = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
    let pfsync = packet.get(start..total).ok_or(Bad::Packet)?;
    if *pfsync.first().ok_or(Bad::Packet)? != dialect.version {
        return Err(Bad::Version);
    }
    if dialect.era == Era::Old {
        requests_old(pfsync, dialect)
    } else {
        requests_new(pfsync, dialect)
    }
}

fn requests_old(pfsync: &[u8], dialect: &Dialect) -> Result<Vec<(u64, u32)>, Bad> {
    let header = if dialect.version == 2 { 4 } else { HEADER };
    let body = pfsync.get(header..).ok_or(Bad::Length)?;
    if pfsync[2] != Kind::UpdateRequest.action(dialect) {
        return Ok(Vec::new());
    }
    let len = Kind::UpdateRequest.len(dialect);
    let count = usize::from(pfsync[3]);
    let body = body.get(..count * len).ok_or(Bad::Length)?;
    Ok(body.chunks(len).map(request).collect())
}

fn requests_new(pfsync: &[u8], dialect: &Dialect) -> Result<Vec<(u64, u32)>, Bad> {
    let mut found = Vec::new();
    if pfsync.len() < HEADER {
        return Err(Bad::Length);
    }
    let len = usize::from(u16::from_be_bytes([pfsync[2], pfsync[3]]));
    let mut rest = pfsync.get(HEADER..len).ok_or(Bad::Length)?;
    while let Some((head, after)) = rest.split_first_chunk::<4>() {
        let [action, words, high, low] = *head;
        let count = usize::from(u16::from_be_bytes([high, low]));
        let size = match (dialect.version, action) {
            (6, _) => usize::from(words) * 4,
            (_, 5) => 12,
            // an end of packet needs none, another message is no request
            _ => break,
        };
        let body = after.get(..size * count).ok_or(Bad::Length)?;
        if action == 5 && size >= 12 {
            found.extend(body.chunks(size).map(request));
        }
        rest = &after[size * count..];
    }
    Ok(found)
}

fn request(octets: &[u8]) -> (u64, u32) {
    let mut id = [0; 8];
    id.copy_from_slice(&octets[..8]);
    let mut creator = [0; 4];
    creator.copy_from_slice(&octets[8..12]);
    (u64::from_be_bytes(id), u32::from_be_bytes(creator))
}
