//! The records of a keep file, as values.

use std::net::IpAddr;

use crate::state::{Direction, IfName, PFTM_COUNT, Route, StateId, StateKey};
use crate::time::Wall;
use crate::wire::pfsync::Dialect;

/// Packets and octets, each from initiator to responder and back.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counts {
    /// Packets.
    pub packets: [u64; 2],
    /// Octets.
    pub octets: [u64; 2],
}

/// Who sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Who {
    /// This host.
    Local,
    /// Senders beyond a bound.
    Other,
    /// A firewall.
    Address(IpAddr),
}

/// What is known of a sender.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct KeptSender {
    /// Which.
    pub who: Who,
    /// What it speaks.
    pub dialect: Option<Dialect>,
    /// The largest `expire` seen in each PFTM, seconds.
    pub largest_expire: [u32; PFTM_COUNT],
}

/// A state. Senders are numbered in the order of their records.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct KeptState {
    /// Identity.
    pub id: StateId,
    /// Key WIRE.
    pub wire: StateKey,
    /// Key STACK; `None`: as WIRE, which is IPv4 in routing domain 0.
    pub stack: Option<StateKey>,
    /// Direction of the packet that made it.
    pub direction: Direction,
    /// Whether its timeout is over and its delete was probably lost.
    pub is_overdue: bool,
    /// Whether nothing was heard of it since a stop that was not in good order.
    pub is_doubtful: bool,
    /// PFTM number of its timeout; the number behind the last for a state that is deleted.
    pub pftm: u8,
    /// What the table knows of its activity and sequence numbers.
    pub marks: u8,
    /// Of TCP: what its packets look like.
    pub shape: u8,
    /// Who sent the last message about it.
    pub sender: u16,
    /// Whose `counts` are.
    pub counted_by: u16,
    /// Interface it is bound to.
    pub ifname: IfName,
    /// When the last message about it came.
    pub seen: Wall,
    /// When the last full state from `counted_by` came.
    pub full: Wall,
    /// First packet.
    pub creation: Wall,
    /// Last packet, if one is known.
    pub last: Option<Wall>,
    /// What `counted_by` counted.
    pub counts: Counts,
    /// Of TCP: where its peers' sequence numbers are.
    pub seqlo: [u32; 2],
}

/// What another sender counted for the state before, or what stands beside counters.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct KeptShare {
    /// Number of the sender, or one of the table's own beyond all.
    pub sender: u16,
    /// Whether it is an estimate.
    pub is_estimate: bool,
    /// What the estimate lacks at its beginning.
    pub head: u32,
    /// How much.
    pub counts: Counts,
    /// When it was told.
    pub full: Wall,
}

/// What went out of the state before to an interface with an active timeout.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct KeptPart {
    /// N of pflowN.
    pub unit: u32,
    /// When the next part is due.
    pub due: Option<Wall>,
    /// What went out, and where the last part ended.
    pub shown: Option<(Counts, Wall)>,
}

/// A record.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(
    missing_docs,
    reason = "each is the record of its name, drawn at the file's head"
)]
pub enum Record {
    Sender(KeptSender),
    State(KeptState),
    Share(KeptShare),
    Part(KeptPart),
    Deleted {
        set: u16,
        tag: u64,
        creation: Wall,
        at: Wall,
    },
    Dropped {
        id: StateId,
        fingerprint: u32,
        creation: Wall,
        exported: Counts,
    },
    Interface {
        unit: u32,
        packed: u32,
        sequence: u32,
    },
    Domain {
        unit: u32,
        domain: u32,
        sequence: u32,
    },
    Source {
        unit: u32,
        source: u32,
        messages: u32,
    },
    IfIndex {
        name: IfName,
        index: u16,
    },
    HostId {
        creatorid: u32,
        is_told_apart: bool,
    },
    Connection {
        exported: Counts,
    },
    Translation {
        unit: u32,
        due: Option<Wall>,
    },
    Detail(KeptDetail),
}

/// What else full states told of a state.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct KeptDetail {
    /// Numbers of its rule, that rule's anchor, and its NAT rule.
    pub rules: [u32; 3],
    /// pf's flags.
    pub state_flags: u16,
    /// Protocol states of the initiator and the responder.
    pub peers: [u8; 2],
    /// Type of service that pf sets; 0: it does not.
    pub tos: u8,
    /// Number of the dialect that told it; 0: it was not told whole.
    pub dialect: u8,
    /// Where pf sends its packets.
    pub route: Option<Route>,
}

/// Sender numbers from here on are the table's own. They stand for no firewall.
pub const OWN_SENDERS: u16 = u16::MAX - 1;
