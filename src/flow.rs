//! A state that ended, as its one or two records: which addresses, which counters, which times.
//!
//! ```text
//! direction   exported key        its source   forward record     reverse record
//! in          WIRE                index 0      packets[0] ...     packets[1] ..., mirrored
//! out         STACK               index 1      likewise
//! ```
//! So records carry the addresses before translation, as the kernel's do (if_pflow.c,
//! `export_pflow`). Times are whole seconds of uptime; what a format cannot tell of them is cut here.
//!
//! Encoders only lay out records. What a flow's counters are worth, `accounting` decides.

mod detail;
mod times;
mod tuple;

use std::fmt;

use crate::icmp::{Icmp, is_icmp};
use crate::state::{Af, Direction, IfName, StateId};
pub use detail::Detail;
pub use times::{Boot, Floor, Times};
pub use tuple::{Tuple, tuples};

/// IP protocol of TCP.
const TCP: u8 = 6;

/// What a flow is of.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Records {
    /// A state.
    #[default]
    State,
    /// A connection: where a firewall forwards it, both its states.
    Connection,
}

impl Records {
    /// Each with its name.
    pub const VALUES: &[(&str, Self)] = &[("state", Self::State), ("connection", Self::Connection)];
}

impl fmt::Display for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::State => "state",
            Self::Connection => "connection",
        })
    }
}

/// Why a state ended.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum End {
    /// DEL or DEL_C.
    #[default]
    Deleted,
    /// CLR.
    Cleared,
    /// Nothing was heard for its timeout and more.
    Expired,
    /// The table was full.
    Evicted,
    /// Its id came with another key or another age.
    Replaced,
    /// The program stops and was asked to export what is alive.
    Flushed,
    /// It did not: it has been alive for an interface's active timeout.
    Active,
}

/// What happened to a translation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Translation {
    /// A translated state was heard of for the first time.
    Created,
    /// It ended.
    Deleted,
}

/// What a flow's counters are worth.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Quality {
    /// As its firewalls counted: a full state followed everything they told of.
    #[default]
    Exact,
    /// What they counted, and what was estimated since.
    Estimated,
    /// Known to be short.
    Partial,
}

impl Quality {
    /// `exact`, `estimated` or `partial`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Estimated => "estimated",
            Self::Partial => "partial",
        }
    }
}

/// A flow: a state that ended, or will have, as it is exported.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Flow {
    /// Which state.
    pub id: StateId,
    /// Its direction on its interface.
    pub direction: Direction,
    /// The kif it was bound to: `all` for a floating one.
    pub ifname: IfName,
    /// Whether its rule says pflow, or its dialect cannot tell.
    pub pflow: bool,
    /// Before translation.
    pub tuple: Tuple,
    /// After translation, if anything is translated.
    pub translated: Option<Tuple>,
    /// Packets from initiator to responder, and back.
    pub packets: [u64; 2],
    /// IP octets, likewise.
    pub octets: [u64; 2],
    /// First and last packet.
    pub times: Times,
    /// Why it ended.
    pub end: End,
    /// What its counters are worth.
    pub quality: Quality,
    /// What else is known, where somebody asks.
    pub detail: Option<Detail>,
    /// The one pflowN that this part of a flow is for: it exports flows before they end, and this
    /// is what it did not export yet. `None`: the whole flow, for all the others.
    pub only: Option<u32>,
}

/// The interfaces that a flow passed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Passage {
    /// Number of its state's; 0: it has none. Of a connection: of the one that it came in on.
    pub ifindex: u16,
    /// The one that a connection left through, with its number. `None`: it is a state's flow.
    pub egress: Option<(IfName, u16)>,
}

impl Passage {
    /// That of a state's flow.
    pub const fn of_state(ifindex: u16) -> Self {
        Self {
            ifindex,
            egress: None,
        }
    }
}

/// One direction of a flow.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Record {
    /// From responder to initiator.
    pub reverse: bool,
    /// Before translation, seen from this direction's sender.
    pub tuple: Tuple,
    /// After translation, mirrored likewise.
    pub translated: Option<Tuple>,
    /// Packets.
    pub packets: u64,
    /// IP octets: above 0.
    pub octets: u64,
}

impl Flow {
    /// The connection whose IN state made this flow and whose OUT state made `out`: the addresses
    /// before translation are those that came in, the ones after it those that went out. Its
    /// counters are those of the half of this direction.
    pub(crate) fn joined(&self, out: &Self, counted_by: Direction) -> Self {
        let better = match counted_by {
            Direction::In => self,
            Direction::Out => out,
        };
        let after = out.translated.unwrap_or(out.tuple);
        Self {
            pflow: self.pflow || out.pflow,
            translated: (after != self.tuple).then_some(after),
            packets: better.packets,
            octets: better.octets,
            quality: better.quality,
            times: self.times.joined(&out.times),
            detail: match (self.detail, out.detail) {
                (Some(one), Some(out)) => Some(one.joined(&out)),
                (one, out) => one.or(out),
            },
            ..*self
        }
    }

    /// Its records: forward if octets went forward, then reverse if any came back.
    pub fn records(&self) -> impl Iterator<Item = Record> {
        [false, true]
            .into_iter()
            .filter_map(|reverse| self.record(reverse))
    }

    /// Its record of one direction, if octets went that way.
    #[inline]
    pub fn record(&self, reverse: bool) -> Option<Record> {
        let [packets, packets_back] = self.packets;
        let [octets, octets_back] = self.octets;
        let record = if reverse {
            Record {
                reverse,
                tuple: self.tuple.reversed(),
                translated: self.translated.map(Tuple::reversed),
                packets: packets_back,
                octets: octets_back,
            }
        } else {
            Record {
                reverse,
                tuple: self.tuple,
                translated: self.translated,
                packets,
                octets,
            }
        };
        (record.octets > 0).then_some(record)
    }

    /// Numbers of the interfaces that the record of one direction came in on and left through. A
    /// connection has those of its two states. pf notes an interface when the first packet passes
    /// that way. So if a state's packets went one way only, the other number is 0 (pf.c, `pf_test`:
    /// `if_index_in`, `if_index_out`).
    #[inline]
    pub fn interfaces(&self, passage: &Passage, reverse: bool) -> [u16; 2] {
        let ifindex = passage.ifindex;
        if let Some((_, egress)) = passage.egress {
            return match reverse {
                true => [egress, ifindex],
                false => [ifindex, egress],
            };
        }
        // Mostly none is known.
        if ifindex == 0 {
            return [0, 0];
        }
        let [forth, back] = self
            .octets
            .map(|octets| if octets > 0 { ifindex } else { 0 });
        // What goes the state's own way comes in on an in state's interface.
        let is_in = matches!(self.direction, Direction::In);
        let (input, output) = if is_in { (forth, back) } else { (back, forth) };
        if reverse {
            [output, input]
        } else {
            [input, output]
        }
    }

    /// A flow of ICMP as each direction's record tells it. It is for readers who want the
    /// destination port to be type times 256 and code, and the source port 0.
    pub fn with_icmp_ports(&self) -> [Self; 2] {
        [false, true].map(|reverse| {
            let code = self.icmp_type_code(reverse);
            let (sport, dport) = if reverse { (code, 0) } else { (0, code) };
            let with = |tuple: Tuple| Tuple {
                sport,
                dport,
                ..tuple
            };
            Self {
                tuple: with(self.tuple),
                translated: self.translated.map(with),
                ..*self
            }
        })
    }

    /// Type times 256 and code of what went in one direction; 0: not known, or not ICMP.
    pub fn icmp_type_code(&self, reverse: bool) -> u16 {
        let Tuple {
            proto,
            sport,
            dport,
            ..
        } = self.tuple;
        let icmp = Icmp::of_ports(proto, sport, dport).filter(|_| is_icmp(proto));
        icmp.map_or(0, |icmp| icmp.type_code(proto, reverse))
    }

    /// flowEndReason (IANA): 1 idle timeout, 2 active timeout, 3 end detected, 4 forced end, 5 lack of
    /// resources. pf deletes a TCP state after its end, the others when their timeout is over.
    pub fn end_reason(&self) -> u8 {
        match self.end {
            End::Deleted if self.tuple.proto == TCP => 3,
            End::Deleted | End::Expired => 1,
            End::Active => 2,
            End::Cleared | End::Flushed | End::Replaced => 4,
            End::Evicted => 5,
        }
    }

    /// flowId: the same for a state whoever heard of it. It is FNV-1a, of 64 bits, of creatorid, id,
    /// protocol, and the ends of its WIRE key, the initiator first, all in network order.
    pub fn flow_id(&self) -> u64 {
        const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
        const PRIME: u64 = 0x0100_0000_01b3;
        let wire = match self.direction {
            Direction::In => self.tuple,
            Direction::Out => self.translated.unwrap_or(self.tuple),
        };
        let mut hash = BASIS;
        let mut add = |octets: &[u8]| {
            for octet in octets {
                hash = (hash ^ u64::from(*octet)).wrapping_mul(PRIME);
            }
        };
        add(&self.id.creatorid.to_be_bytes());
        add(&self.id.id.to_be_bytes());
        add(&[wire.proto]);
        for (address, port) in [(wire.src, wire.sport), (wire.dst, wire.dport)] {
            match wire.af {
                Af::Inet => add(&address.v4()),
                Af::Inet6 => add(&address.0),
            }
            add(&port.to_be_bytes());
        }
        hash
    }

    /// The interfaces that it passed, by name and number.
    pub fn interface_names(&self, passage: &Passage) -> impl Iterator<Item = (IfName, u16)> {
        std::iter::once((self.ifname, passage.ifindex)).chain(passage.egress)
    }

    /// Whether it makes no record.
    pub fn is_empty(&self) -> bool {
        self.octets == [0, 0]
    }
}

#[cfg(test)]
mod tests;
