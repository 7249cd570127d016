//! One state in a packet: a view that copies nothing and reads a field only when a caller asks for
//! it.

use std::ops::Range;

use byteorder::{BigEndian, ByteOrder};

use super::dialect::Dialect;
use super::layout::{Flags, Keys, Layout};
use super::peer::Peer;
use crate::state::{Address, Af, Direction, IfName, StateId, StateKey, WireName};

/// The kif of floating states (pf_if.c, `pfi_all`).
const FLOATING: &[u8; 16] = b"all\0\0\0\0\0\0\0\0\0\0\0\0\0";

/// Octets of `tagname` (PF_TAG_NAME_SIZE).
const TAG_LEN: usize = 64;

/// One state in a packet.
#[derive(Clone, Copy)]
pub struct State<'a> {
    pub(super) layout: &'static Layout,
    pub(super) dialect: Dialect,
    pub(super) octets: &'a [u8],
}

impl<'a> State<'a> {
    /// A view of the first `layout.len` octets of `octets`. `None` if `octets` is shorter.
    pub fn new(dialect: Dialect, octets: &'a [u8]) -> Option<Self> {
        let layout = dialect.layout();
        octets.get(..layout.len).map(|octets| Self {
            layout,
            dialect,
            octets,
        })
    }

    /// Which dialect the state is written in.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Identity.
    #[inline(always)]
    pub fn state_id(&self) -> StateId {
        StateId {
            id: self.u64(self.layout.id),
            creatorid: self.creatorid(),
        }
    }

    #[inline(always)]
    pub(super) fn creatorid(&self) -> u32 {
        self.u32(self.layout.creatorid)
    }

    /// The kif the state is bound to: `all` for a floating one.
    pub fn ifname(&self) -> IfName {
        self.name(self.layout.ifname)
    }

    /// The interface that the state's packets pass, as the message has it: of a floating state that
    /// which it was made on, where the dialect tells.
    #[inline(always)]
    pub(super) fn wire_name(&self) -> WireName {
        let name = self.wire_name_at(self.layout.ifname);
        match self.layout.orig_ifname {
            Some(at) if IfName::from(name) == IfName::new(*FLOATING) => {
                let original = self.wire_name_at(at);
                if IfName::from(original).is_empty() {
                    name
                } else {
                    original
                }
            }
            _ => name,
        }
    }

    #[inline(always)]
    fn wire_name_at(&self, at: usize) -> WireName {
        let mut name = WireName::default();
        name.0.copy_from_slice(&self.octets[at..at + 16]);
        name
    }

    /// `direction`, if it is one a state can have.
    #[inline(always)]
    pub fn direction(&self) -> Option<Direction> {
        match self.u8(self.layout.direction) {
            1 => Some(Direction::In),
            2 => Some(Direction::Out),
            _ => None,
        }
    }

    /// Key WIRE. Call [`Self::check`] first: an unknown family reads as AF_INET.
    #[inline(always)]
    pub fn wire_key(&self) -> StateKey {
        self.key(0)
    }

    /// Key STACK.
    #[inline(always)]
    pub fn stack_key(&self) -> StateKey {
        self.key(1)
    }

    /// Whether both keys hold the same octets in the same family, so that nothing is translated.
    /// Cheaper than comparing the keys' values.
    #[inline(always)]
    pub fn is_untranslated(&self) -> bool {
        match self.layout.keys {
            Keys::Hosts { lan, gwy, .. } => {
                self.octets[lan..lan + 18] == self.octets[gwy..gwy + 18]
            }
            Keys::Keys {
                wire,
                stack,
                rdomain_and_af,
            } => {
                // In pieces that are compared in place; the whole would be a call.
                self.octets[wire..wire + 32] == self.octets[stack..stack + 32]
                    && self.u32(wire + 32) == self.u32(stack + 32)
                    && (!rdomain_and_af
                        || self.u16(wire + 36) == self.u16(stack + 36)
                            && self.u8(wire + 38) == self.u8(stack + 38))
                    && self.u8(self.layout.af[0]) == self.u8(self.layout.af[1])
            }
        }
    }

    #[inline(always)]
    fn key(&self, which: usize) -> StateKey {
        let af = self.af(which).unwrap_or(Af::Inet);
        let proto = self.key_proto(which, af);
        match self.layout.keys {
            Keys::Hosts { lan, gwy, ext } => {
                let near = if which == 0 { gwy } else { lan };
                StateKey {
                    af,
                    proto,
                    rdomain: 0,
                    addr: [ext, near].map(|at| self.address(at).of(af)),
                    port: [self.u16(ext + 16), self.u16(near + 16)],
                }
            }
            Keys::Keys {
                wire,
                stack,
                rdomain_and_af,
            } => {
                let at = if which == 0 { wire } else { stack };
                StateKey {
                    af,
                    proto,
                    rdomain: if rdomain_and_af { self.u16(at + 36) } else { 0 },
                    addr: [at, at + 16].map(|at| self.address(at).of(af)),
                    port: self.ports(at + 32),
                }
            }
        }
    }

    /// Two ports that follow each other.
    #[inline(always)]
    fn ports(&self, at: usize) -> [u16; 2] {
        // Both ports are read and stored as one number, because they are read again as one. A number
        // that was stored in parts has to reach the cache first.
        let [a, b, c, d] = self.u32(at).to_be_bytes();
        [u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])]
    }

    /// Family of a key: its own where the dialect has one and it is filled, else the state's.
    #[inline(always)]
    pub(super) fn af(&self, which: usize) -> Option<Af> {
        if let Keys::Keys {
            wire,
            stack,
            rdomain_and_af: true,
        } = self.layout.keys
        {
            let own = self.u8(if which == 0 { wire } else { stack } + 38);
            if own != 0 {
                return family(own);
            }
        }
        family(self.u8(self.layout.af[which]))
    }

    /// The sender's number of the state's address family.
    pub(super) fn af_number(&self) -> u8 {
        self.u8(self.layout.af[0])
    }

    /// Protocol of a key. v6 sends the WIRE key's only: in an af-to state ICMP and ICMPv6 change
    /// places with the family (pf.c, `pf_state_key_setup`).
    #[inline(always)]
    fn key_proto(&self, which: usize, af: Af) -> u8 {
        let proto = self.u8(self.layout.proto[which]);
        match (proto, af) {
            (1, Af::Inet6) if which == 1 && self.af(0) == Some(Af::Inet) => 58,
            (58, Af::Inet) if which == 1 && self.af(0) == Some(Af::Inet6) => 1,
            _ => proto,
        }
    }

    /// IP protocol, of key WIRE.
    #[inline(always)]
    pub fn proto(&self) -> u8 {
        self.u8(self.layout.proto[0])
    }

    /// The initiator.
    #[inline(always)]
    pub fn src(&self) -> Peer<'a> {
        self.peer(self.layout.src)
    }

    /// The responder.
    #[inline(always)]
    pub fn dst(&self) -> Peer<'a> {
        self.peer(self.layout.dst)
    }

    /// Address that route-to, reply-to or dup-to send to.
    pub fn rt_addr(&self) -> Address {
        self.address(self.layout.rt_addr)
    }

    /// Its family, where the dialect tells it.
    pub fn rt_af(&self) -> Option<Af> {
        self.layout.rt_af.and_then(|at| family(self.u8(at)))
    }

    /// Rule number on the sender; 0xffffffff: none.
    pub fn rule(&self) -> u32 {
        self.u32(self.layout.rule)
    }

    /// Anchor number; 0xffffffff: the main ruleset.
    pub fn anchor(&self) -> u32 {
        self.u32(self.layout.anchor)
    }

    /// NAT rule number; 0 in v2 and v3 and 0xffffffff later both say nothing.
    pub fn nat_rule(&self) -> u32 {
        self.u32(self.layout.nat_rule)
    }

    /// `creation`: seconds since the state's first packet, at sending.
    #[inline(always)]
    pub fn age(&self) -> u32 {
        self.u32(self.layout.creation)
    }

    /// `expire`: seconds until the sender would purge the state.
    #[inline(always)]
    pub fn expire(&self) -> u32 {
        self.u32(self.layout.expire)
    }

    /// Packets from initiator to responder and back, as this sender counted them.
    #[inline(always)]
    pub fn packets(&self) -> [u64; 2] {
        let [ahead, back] = self.layout.packets;
        [self.counter(ahead), self.counter(back)]
    }

    /// IP octets, likewise.
    #[inline(always)]
    pub fn octets(&self) -> [u64; 2] {
        let [ahead, back] = self.layout.octets;
        [self.counter(ahead), self.counter(back)]
    }

    #[inline(always)]
    fn counter(&self, at: usize) -> u64 {
        if self.layout.counter == 4 {
            u64::from(self.u32(at))
        } else {
            self.u64(at)
        }
    }

    /// PFTM number.
    #[inline(always)]
    pub fn timeout(&self) -> u8 {
        self.u8(self.layout.timeout)
    }

    /// Log flags of the rule.
    pub fn log(&self) -> u8 {
        self.u8(self.layout.log)
    }

    /// `state_flags`, where the dialect has them.
    #[inline(always)]
    pub fn state_flags(&self) -> Option<u16> {
        match self.layout.state_flags {
            Flags::None => None,
            Flags::U8(at) => Some(u16::from(self.u8(at))),
            Flags::U16(at) => Some(self.u16(at)),
            Flags::Both(wide, narrow) => {
                let narrow = self.u8(narrow);
                Some(self.u16(wide) | if narrow > 3 { u16::from(narrow) } else { 0 })
            }
        }
    }

    /// Whether the rule says `pflow`; `None` where the dialect cannot tell.
    #[inline(always)]
    pub fn pflow(&self) -> Option<bool> {
        if !self.dialect.carries_pflow() {
            return None;
        }
        self.state_flags().map(|flags| flags & 0x0004 != 0)
    }

    /// `sync_flags`.
    pub fn sync_flags(&self) -> Option<u8> {
        self.layout.sync_flags.map(|at| self.u8(at))
    }

    /// `updates`.
    pub fn updates(&self) -> Option<u8> {
        self.layout.updates.map(|at| self.u8(at))
    }

    /// `rtableid`: one or two routing tables; -1 none.
    pub fn rtableid(&self) -> [Option<u32>; 2] {
        self.layout.rtableid.map(|at| at.map(|at| self.u32(at)))
    }

    /// `max_mss`.
    #[inline(always)]
    pub fn max_mss(&self) -> Option<u16> {
        self.layout.max_mss.map(|at| self.u16(at))
    }

    /// `min_ttl`.
    pub fn min_ttl(&self) -> Option<u8> {
        self.layout.min_ttl.map(|at| self.u8(at))
    }

    /// `set_tos`.
    pub fn set_tos(&self) -> Option<u8> {
        self.layout.set_tos.map(|at| self.u8(at))
    }

    /// `set_prio`.
    pub fn set_prio(&self) -> Option<[u8; 2]> {
        self.layout
            .set_prio
            .map(|at| [self.u8(at), self.u8(at + 1)])
    }

    /// `rt`: kind of policy routing, in the sender's numbers. OpenBSD's are 0 to 3, and the octet
    /// was flags before.
    pub fn rt(&self) -> Option<u8> {
        let most = if self.dialect == Dialect::OpenBsd47 {
            3
        } else {
            u8::MAX
        };
        self.layout
            .rt
            .map(|at| self.u8(at))
            .filter(|rt| *rt <= most)
    }

    /// `qid`, `pqid`, `dnpipe`, `dnrpipe`.
    pub fn queues(&self) -> Option<[u16; 4]> {
        self.layout
            .queues
            .map(|at| [0, 2, 4, 6].map(|step| self.u16(at + step)))
    }

    /// `rt_ifname`.
    pub fn rt_ifname(&self) -> Option<IfName> {
        self.layout.rt_ifname.map(|at| self.name(at))
    }

    /// `orig_ifname`: where a floating state was made.
    pub fn orig_ifname(&self) -> Option<IfName> {
        self.layout.orig_ifname.map(|at| self.name(at))
    }

    /// `tagname` up to its NUL.
    pub fn tagname(&self) -> Option<&'a [u8]> {
        let at = self.layout.tagname?;
        let tag = self.slice(at..at + TAG_LEN);
        tag.split(|octet| *octet == 0).next()
    }

    // `new` made the slice layout.len long, and every offset of a layout lies inside it: a test
    // walks all of them. These, and what is read by `with_layout`, are inlined whatever the compiler
    // thinks of it.

    #[inline(always)]
    fn peer(&self, at: usize) -> Peer<'a> {
        Peer::new(self.slice(at..at + Peer::LEN), self.dialect)
    }

    #[inline(always)]
    fn slice(&self, at: Range<usize>) -> &'a [u8] {
        &self.octets[at]
    }

    #[inline(always)]
    fn u8(&self, at: usize) -> u8 {
        self.octets[at]
    }

    #[inline(always)]
    fn u16(&self, at: usize) -> u16 {
        BigEndian::read_u16(&self.octets[at..])
    }

    #[inline(always)]
    fn u32(&self, at: usize) -> u32 {
        BigEndian::read_u32(&self.octets[at..])
    }

    #[inline(always)]
    fn u64(&self, at: usize) -> u64 {
        BigEndian::read_u64(&self.octets[at..])
    }

    #[inline(always)]
    fn address(&self, at: usize) -> Address {
        let mut address = Address::default();
        address.0.copy_from_slice(&self.octets[at..at + 16]);
        address
    }

    fn name(&self, at: usize) -> IfName {
        let mut name = [0; 16];
        name.copy_from_slice(&self.octets[at..at + 16]);
        IfName::new(name)
    }
}

/// The family of a sender's `sa_family_t`: AF_INET6 is 24 on OpenBSD and NetBSD, 28 on FreeBSD
/// and DragonFly, 30 on Darwin.
#[inline(always)]
fn family(number: u8) -> Option<Af> {
    // A set of numbers to test against; a match becomes a jump that is hard to predict.
    const INET6: u32 = 1 << 24 | 1 << 28 | 1 << 30;
    if number == 2 {
        Some(Af::Inet)
    } else if number < 32 && INET6 >> number & 1 == 1 {
        Some(Af::Inet6)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_offset_of_every_layout_lies_inside_its_state() {
        for &dialect in Dialect::ALL {
            let octets = vec![0xff; dialect.layout().len];
            let state = State::new(dialect, &octets).unwrap();
            // Each accessor would panic if its field reached beyond the end.
            let _ = (
                state.state_id(),
                state.ifname(),
                state.wire_key(),
                state.stack_key(),
            );
            let _ = (
                state.src().is_valid(state.proto()),
                state.dst().is_valid(state.proto()),
                state.rt_addr(),
                state.rule(),
            );
            let _ = (
                state.anchor(),
                state.nat_rule(),
                state.age(),
                state.expire(),
                state.packets(),
            );
            let _ = (
                state.octets(),
                state.direction(),
                state.log(),
                state.state_flags(),
            );
            let _ = (
                state.timeout(),
                state.sync_flags(),
                state.updates(),
                state.rtableid(),
            );
            let _ = (
                state.max_mss(),
                state.min_ttl(),
                state.set_tos(),
                state.set_prio(),
                state.rt(),
            );
            let _ = (
                state.queues(),
                state.rt_ifname(),
                state.orig_ifname(),
                state.tagname(),
            );
            assert!(state.is_untranslated());
            assert!(State::new(dialect, &octets[1..]).is_none());
        }
    }
}
