//! The messages of pfsync and the numbers of their actions.
//!
//! The numbers moved between versions: 2, 3, 5, 7 to 10 mean other things before v5, and FreeBSD's
//! 13 to 16 clash with OpenBSD's v6 (if_pfsync.h of each).

use std::fmt;

use byteorder::{BigEndian, ByteOrder};

use super::dialect::Dialect;
use super::error::Invalid;
use super::peer::Peer;
use super::state::State;
use crate::state::{Address, Af, IfName, StateId};

/// What a message is about, whatever its number.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Action {
    /// Forget all states of a creator.
    Clear,
    /// A new state.
    Insert,
    /// An imported state is in place.
    InsertAck,
    /// A state, whole.
    Update,
    /// What changed of a state.
    UpdateCompressed,
    /// Please send a state.
    UpdateRequest,
    /// A state is gone, whole.
    Delete,
    /// A state is gone.
    DeleteCompressed,
    /// A bulk transfer starts or ends.
    Bus,
    /// An IPsec counter.
    Tdb,
    /// End of a v5 packet.
    Eof,
    /// v6: something newer.
    Unknown,
}

impl Action {
    /// Every action, in the order of v5's numbers.
    pub const ALL: &'static [Self] = &[
        Self::Clear,
        Self::Insert,
        Self::InsertAck,
        Self::Update,
        Self::UpdateCompressed,
        Self::UpdateRequest,
        Self::Delete,
        Self::DeleteCompressed,
        Self::Bus,
        Self::Tdb,
        Self::Eof,
        Self::Unknown,
    ];

    /// Its short name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Clear => "CLR",
            Self::Insert => "INS",
            Self::InsertAck => "IACK",
            Self::Update => "UPD",
            Self::UpdateCompressed => "UPD_C",
            Self::UpdateRequest => "UREQ",
            Self::Delete => "DEL",
            Self::DeleteCompressed => "DEL_C",
            Self::Bus => "BUS",
            Self::Tdb => "TDB",
            Self::Eof => "EOF",
            Self::Unknown => "unknown",
        }
    }

    /// Its place in [`Self::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// v2 to v4. 6 and 7, INS_F and DEL_F, no kernel ever sent.
    pub(super) const fn of_flat(number: u8) -> Option<Self> {
        Some(match number {
            0 => Self::Clear,
            1 => Self::Insert,
            2 => Self::Update,
            3 => Self::Delete,
            4 => Self::UpdateCompressed,
            5 => Self::DeleteCompressed,
            8 => Self::UpdateRequest,
            9 => Self::Bus,
            10 => Self::Tdb,
            _ => return None,
        })
    }

    /// v5. 8 and 9, INS_F and DEL_F, no kernel ever sent.
    pub(super) const fn of_v5(number: u8) -> Option<Self> {
        Some(match number {
            0 => Self::Clear,
            1 | 13 | 15 => Self::Insert,
            2 => Self::InsertAck,
            3 | 14 | 16 => Self::Update,
            4 => Self::UpdateCompressed,
            5 => Self::UpdateRequest,
            6 => Self::Delete,
            7 => Self::DeleteCompressed,
            10 => Self::Bus,
            11 => Self::Tdb,
            12 => Self::Eof,
            _ => return None,
        })
    }

    /// v6, whose subheaders say how long messages of `size` octets are, so that unknown ones can
    /// be passed over. TDB is 11 with 48 octets to OpenBSD 5.1, 15 with 52 since.
    pub(super) const fn of_v6(number: u8, size: usize) -> Self {
        match number {
            0 => Self::Clear,
            2 => Self::InsertAck,
            4 => Self::UpdateCompressed,
            5 => Self::UpdateRequest,
            6 => Self::Delete,
            7 => Self::DeleteCompressed,
            10 => Self::Bus,
            11 => Self::Tdb,
            13 => Self::Insert,
            14 => Self::Update,
            15 if size >= 52 => Self::Tdb,
            _ => Self::Unknown,
        }
    }

    /// Where in a message `id` and `creatorid` of the state are that it changes.
    #[inline(always)]
    pub(super) fn places_of_id(self, dialect: Dialect) -> Option<(usize, usize)> {
        match self {
            Self::Insert | Self::Update | Self::Delete => {
                let layout = dialect.layout();
                Some((layout.id, layout.creatorid))
            }
            Self::UpdateCompressed => Some((0, 72)),
            Self::DeleteCompressed => Some((0, 8)),
            _ => None,
        }
    }

    /// Octets of one message.
    #[inline(always)]
    pub(super) fn size_in(self, dialect: Dialect) -> usize {
        let flat = !dialect.is_modern();
        match self {
            Self::Clear if flat => 24,
            Self::Clear => 20,
            Self::Insert | Self::Update | Self::Delete => dialect.layout().len,
            Self::UpdateCompressed if flat => 88,
            Self::UpdateCompressed => 84,
            Self::InsertAck | Self::UpdateRequest | Self::DeleteCompressed | Self::Bus if flat => {
                16
            }
            Self::InsertAck | Self::UpdateRequest | Self::DeleteCompressed | Self::Bus => 12,
            Self::Tdb => 48,
            Self::Eof | Self::Unknown => 0,
        }
    }
}

/// One message.
#[derive(Clone, Copy)]
pub enum Message<'a> {
    /// INS.
    Insert(State<'a>),
    /// UPD.
    Update(State<'a>),
    /// DEL.
    Delete(State<'a>),
    /// UPD_C.
    UpdateCompressed(Compressed<'a>),
    /// DEL_C.
    DeleteCompressed(StateId),
    /// INS_ACK.
    InsertAck(StateId),
    /// UPD_REQ; id 0 of creator 0 asks for a bulk transfer.
    UpdateRequest(StateId),
    /// CLR.
    Clear(Clear),
    /// BUS.
    Bus(Bus),
    /// TDB.
    Tdb(Tdb),
    /// v6: an action this program does not know.
    Unknown {
        /// Its number.
        action: u8,
        /// Its octets.
        len: usize,
    },
}

/// UPD_C: what changed of a state. It has neither counters nor addresses.
#[derive(Clone, Copy)]
pub struct Compressed<'a> {
    /// Whose.
    pub state: StateId,
    /// The initiator.
    pub src: Peer<'a>,
    /// The responder.
    pub dst: Peer<'a>,
    /// Seconds left; 0 in most dialects, where it says nothing.
    pub expire: u32,
    /// PFTM number.
    pub timeout: u8,
}

/// CLR: the states of a creator are gone.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Clear {
    /// Only those bound to this interface, unless empty.
    pub ifname: IfName,
    /// Whose.
    pub creatorid: u32,
}

/// Where a bulk transfer is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BusStatus {
    /// 1.
    Start,
    /// 2.
    End,
    /// Any other number.
    Other(u8),
}

impl fmt::Display for BusStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start => f.write_str("start"),
            Self::End => f.write_str("end"),
            Self::Other(number) => write!(f, "{number}"),
        }
    }
}

/// BUS: status of a bulk transfer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Bus {
    /// Who sends it.
    pub creatorid: u32,
    /// Seconds since the request; always 0 from OpenBSD 7.4.
    pub endtime: u32,
    /// Start or end.
    pub status: BusStatus,
}

/// TDB: replay counter of an IPsec association.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Tdb {
    /// Security parameters index.
    pub spi: u32,
    /// Its destination, if the family is one.
    pub dst: Option<(Af, Address)>,
    /// Replay counter.
    pub rpl: u64,
    /// Octets so far.
    pub cur_bytes: u64,
    /// IP protocol: 50 ESP, 51 AH, 4 or 108.
    pub sproto: u8,
    /// Merged updates.
    pub updates: u8,
    /// Routing domain, since OpenBSD 4.8.
    pub rdomain: u16,
}

impl<'a> Message<'a> {
    /// Reads one message; `octets` are at least the action's size. Inlined where the action is
    /// known, nothing is left of it but that action's.
    #[inline(always)]
    pub(super) fn read(
        action: Action,
        number: u8,
        dialect: Dialect,
        octets: &'a [u8],
    ) -> Result<Self, Invalid> {
        Ok(match action {
            Action::Clear => Self::Clear(Clear::read(octets)),
            Action::Insert => Self::Insert(full_state(dialect, octets)?),
            Action::InsertAck => Self::InsertAck(state_id(octets)),
            Action::Update => Self::Update(full_state(dialect, octets)?),
            Action::UpdateCompressed => Self::UpdateCompressed(Compressed::read(dialect, octets)?),
            Action::UpdateRequest => Self::UpdateRequest(state_id(octets)),
            Action::Delete => Self::Delete(full_state(dialect, octets)?),
            Action::DeleteCompressed => Self::DeleteCompressed(state_id(octets)),
            Action::Bus => Self::Bus(Bus::read(octets)),
            Action::Tdb => Self::Tdb(Tdb::read(octets)),
            Action::Eof | Action::Unknown => Self::Unknown {
                action: number,
                len: octets.len(),
            },
        })
    }

    /// What it is about.
    pub const fn action(&self) -> Action {
        match self {
            Self::Insert(_) => Action::Insert,
            Self::Update(_) => Action::Update,
            Self::Delete(_) => Action::Delete,
            Self::UpdateCompressed(_) => Action::UpdateCompressed,
            Self::DeleteCompressed(_) => Action::DeleteCompressed,
            Self::InsertAck(_) => Action::InsertAck,
            Self::UpdateRequest(_) => Action::UpdateRequest,
            Self::Clear(_) => Action::Clear,
            Self::Bus(_) => Action::Bus,
            Self::Tdb(_) => Action::Tdb,
            Self::Unknown { .. } => Action::Unknown,
        }
    }
}

impl Message<'_> {
    /// The state that it names by id alone, where it does.
    pub fn named_state(&self) -> Option<StateId> {
        match self {
            Self::UpdateCompressed(update) => Some(update.state),
            Self::DeleteCompressed(id) | Self::InsertAck(id) | Self::UpdateRequest(id) => Some(*id),
            _ => None,
        }
    }

    /// Whose states it is about, or who sends it; `None` for TDB and unknown ones, and for the
    /// request for everything.
    #[inline(always)]
    pub fn creatorid(&self) -> Option<u32> {
        match self {
            Self::Insert(state) | Self::Update(state) | Self::Delete(state) => Some(state.owner()),
            Self::UpdateCompressed(update) => Some(update.state.creatorid),
            Self::DeleteCompressed(id) | Self::InsertAck(id) => Some(id.creatorid),
            Self::UpdateRequest(id) => Some(id.creatorid).filter(|creatorid| *creatorid != 0),
            Self::Clear(clear) => Some(clear.creatorid),
            Self::Bus(bus) => Some(bus.creatorid),
            Self::Tdb(_) | Self::Unknown { .. } => None,
        }
    }
}

/// A full state whose values mean something.
#[inline(always)]
fn full_state(dialect: Dialect, octets: &[u8]) -> Result<State<'_>, Invalid> {
    // `Section::messages` compared the size, so the view is always there.
    let state = State::new(dialect, octets).ok_or(Invalid::Creatorid)?;
    state.check()?;
    Ok(state)
}

/// `id` and `creatorid`, which UPD_REQ, DEL_C and INS_ACK begin with.
#[inline(always)]
fn state_id(octets: &[u8]) -> StateId {
    let octets = &octets[..12];
    StateId {
        id: BigEndian::read_u64(octets),
        creatorid: BigEndian::read_u32(&octets[8..]),
    }
}

impl<'a> Compressed<'a> {
    /// `id 0, src 8, dst 40, creatorid 72, expire 76, timeout 80` in every dialect. What follows
    /// is never filled in.
    #[inline(always)]
    pub(super) fn read(dialect: Dialect, octets: &'a [u8]) -> Result<Self, Invalid> {
        let octets = &octets[..84];
        let peer = |at: usize| Peer::new(&octets[at..at + Peer::LEN], dialect);
        let (src, dst, timeout) = (peer(8), peer(40), octets[80]);
        let is_common = src.is_common() && dst.is_common();
        if !(is_common || src.is_valid_in(timeout) && dst.is_valid_in(timeout)) {
            return Err(Invalid::PeerState);
        }
        let state = StateId {
            id: BigEndian::read_u64(octets),
            creatorid: BigEndian::read_u32(&octets[72..]),
        };
        let expire = BigEndian::read_u32(&octets[76..]);
        Ok(Self {
            state,
            src,
            dst,
            expire,
            timeout,
        })
    }
}

impl Clear {
    fn read(octets: &[u8]) -> Self {
        let mut name = [0; 16];
        name.copy_from_slice(&octets[..16]);
        Self {
            ifname: IfName::new(name),
            creatorid: BigEndian::read_u32(&octets[16..]),
        }
    }
}

impl Bus {
    fn read(octets: &[u8]) -> Self {
        let status = match octets[8] {
            1 => BusStatus::Start,
            2 => BusStatus::End,
            other => BusStatus::Other(other),
        };
        let (creatorid, endtime) = (
            BigEndian::read_u32(octets),
            BigEndian::read_u32(&octets[4..]),
        );
        Self {
            creatorid,
            endtime,
            status,
        }
    }
}

impl Tdb {
    /// `spi 0, dst 4 (a BSD sockaddr), rpl 32`, then 48 octets with `rpl` of 32 bits or 52 with 64.
    fn read(octets: &[u8]) -> Self {
        let (rpl, rest) = if octets.len() >= 52 {
            (BigEndian::read_u64(&octets[32..]), &octets[40..])
        } else {
            (u64::from(BigEndian::read_u32(&octets[32..])), &octets[36..])
        };
        Self {
            spi: BigEndian::read_u32(octets),
            dst: sockaddr(&octets[4..32]),
            rpl,
            cur_bytes: BigEndian::read_u64(rest),
            sproto: rest[8],
            updates: rest[9],
            rdomain: BigEndian::read_u16(&rest[10..]),
        }
    }
}

/// The address of a BSD sockaddr: `sa_len, sa_family`, then port and address.
fn sockaddr(octets: &[u8]) -> Option<(Af, Address)> {
    let mut address = Address::default();
    let af = match octets[1] {
        2 => {
            address.0[..4].copy_from_slice(&octets[4..8]);
            Af::Inet
        }
        24 | 28 | 30 => {
            address.0.copy_from_slice(&octets[8..24]);
            Af::Inet6
        }
        _ => return None,
    };
    Some((af, address))
}
