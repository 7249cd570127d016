//! What pf knows of a state, as plain values: identity, keys, direction, timeouts.
//!
//! Names are pf's own (sys/net/pfvar.h). Numbers that differ between systems, such as AF_INET6 or
//! the end of the PFTM range, are resolved in `wire/pfsync`; here they mean one thing.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Identity of a state on the sync network: never its addresses, which two states may share.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct StateId {
    /// The creator's counter, read as a big-endian number.
    pub id: u64,
    /// `pf_status.hostid` of the firewall that made the state.
    pub creatorid: u32,
}

impl fmt::Display for StateId {
    /// As pfctl(8) -vv prints it: `6553f10000000001/5f3a9c01`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}/{:08x}", self.id, self.creatorid)
    }
}

/// The direction of the packet that created a state (PF_IN, PF_OUT).
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Direction {
    /// It came in on the interface.
    #[default]
    In,
    /// It left through the interface.
    Out,
}

impl Direction {
    /// `in` or `out`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::In => "in",
            Self::Out => "out",
        }
    }

    /// Index of the initiator in a key's addresses: `sidx` of pf.c, `pf_setup_pdesc`.
    pub const fn source_index(self) -> usize {
        match self {
            Self::In => 0,
            Self::Out => 1,
        }
    }
}

/// Address family of a key.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Af {
    /// AF_INET.
    #[default]
    Inet,
    /// AF_INET6, whatever its number on the sender.
    Inet6,
}

/// An address as pf keeps it (`struct pf_addr`): 16 octets, IPv4 in the first four.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Address(pub [u8; 16]);

impl Address {
    /// The IPv4 address in the first four octets.
    pub fn v4(self) -> [u8; 4] {
        let [a, b, c, d, ..] = self.0;
        [a, b, c, d]
    }

    /// The address with nothing but zeros behind what `af` uses.
    #[must_use]
    pub fn of(self, af: Af) -> Self {
        // In one number, not octet by octet: a register written in parts and read whole stalls.
        let used = match af {
            Af::Inet6 => u128::MAX,
            Af::Inet => 0xffff_ffff,
        };
        Self((u128::from_le_bytes(self.0) & used).to_le_bytes())
    }

    /// The address whose first four octets are these.
    pub fn from_v4(octets: [u8; 4]) -> Self {
        Self(u128::from(u32::from_le_bytes(octets)).to_le_bytes())
    }

    /// The address as family `af` reads it.
    pub fn ip(self, af: Af) -> IpAddr {
        match af {
            Af::Inet => Ipv4Addr::from(self.v4()).into(),
            Af::Inet6 => Ipv6Addr::from(self.0).into(),
        }
    }
}

impl From<IpAddr> for Address {
    fn from(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(ip) => Self::from_v4(ip.octets()),
            IpAddr::V6(ip) => Self(ip.octets()),
        }
    }
}

/// Where route-to or reply-to send packets.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Route {
    /// To whom.
    pub address: Address,
    /// Family of that.
    pub af: Af,
    /// Whether it is for the way back: reply-to.
    pub is_reply: bool,
}

/// One of a state's two keys: WIRE is what its interface's cable carries, STACK what the host's
/// own stack sees. Index 0 is the far side of the interface, index 1 the near side
/// (pf.c, `pf_state_key_setup`).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct StateKey {
    /// Family of both addresses.
    pub af: Af,
    /// IP protocol; differs between the keys of an af-to ICMP state.
    pub proto: u8,
    /// Routing domain; 0 where the dialect has none.
    pub rdomain: u16,
    /// Far and near address.
    pub addr: [Address; 2],
    /// Far and near port, or what pf keeps in its place for ICMP.
    pub port: [u16; 2],
}

impl StateKey {
    /// Whether two keys are one and the same to pf, so that nothing is translated
    /// (if_pflow.c asks `sk != skw`, pf shares equal keys).
    #[inline(always)]
    pub fn translates_to(&self, other: &Self) -> bool {
        self.addr != other.addr
            || self.port != other.port
            || self.af != other.af
            || self.rdomain != other.rdomain
    }
}

/// An interface's name as a message has it. Whatever follows the first NUL may be garbage. Many
/// messages in a row have the same name, and to compare a name is quicker than to clean it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct WireName(pub [u8; 16]);

impl From<WireName> for IfName {
    fn from(name: WireName) -> Self {
        Self::new(name.0)
    }
}

impl From<IfName> for WireName {
    fn from(name: IfName) -> Self {
        Self(name.0)
    }
}

/// An interface name: up to 16 octets, ended by NUL unless all are used.
#[derive(Clone, Copy, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct IfName([u8; 16]);

impl IfName {
    /// The name in `octets`. What follows the first NUL is dropped, because it may be garbage.
    #[inline]
    pub fn new(octets: [u8; 16]) -> Self {
        // The name as one number, its first octet the lowest. A subtraction of 1 borrows at a NUL.
        // A borrow only reaches octets behind it, so the first NUL is found right.
        const ONES: u128 = u128::from_ne_bytes([0x01; 16]);
        const TOPS: u128 = u128::from_ne_bytes([0x80; 16]);
        let name = u128::from_le_bytes(octets);
        let nuls = name.wrapping_sub(ONES) & !name & TOPS;
        let kept = match nuls.trailing_zeros() / 8 {
            16 => u128::MAX,
            len => (1 << (8 * len)) - 1,
        };
        Self((name & kept).to_le_bytes())
    }

    /// The name without its NULs.
    pub fn as_bytes(&self) -> &[u8] {
        let len = self
            .0
            .iter()
            .position(|octet| *octet == 0)
            .unwrap_or(self.0.len());
        self.0.get(..len).unwrap_or_default()
    }

    /// All 16 octets, with NULs behind the name.
    pub fn octets(&self) -> [u8; 16] {
        self.0
    }

    /// Whether there is no name, as in a CLR for every interface.
    pub fn is_empty(&self) -> bool {
        self.as_bytes().is_empty()
    }
}

impl IfName {
    /// The first 16 octets of `name`.
    pub fn from_bytes(name: &[u8]) -> Self {
        let mut octets = [0; 16];
        for (to, from) in octets.iter_mut().zip(name) {
            *to = *from;
        }
        Self::new(octets)
    }
}

impl From<&str> for IfName {
    /// The first 16 octets of `name`.
    fn from(name: &str) -> Self {
        Self::from_bytes(name.as_bytes())
    }
}

impl fmt::Display for IfName {
    /// The name with anything but printable ASCII escaped: it comes off the wire and goes to
    /// terminals.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Escaped(self.as_bytes()))
    }
}

impl fmt::Debug for IfName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IfName({self})")
    }
}

/// Octets off the wire made safe to print: anything but graphic ASCII, and the backslash and
/// double quote, become `\xNN`.
pub struct Escaped<'a>(pub &'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for &octet in self.0 {
            match octet {
                b'"' | b'\\' => write!(f, "\\x{octet:02x}")?,
                0x21..=0x7e => write!(f, "{}", char::from(octet))?,
                _ => write!(f, "\\x{octet:02x}")?,
            }
        }
        Ok(())
    }
}

/// How many PFTM numbers mean a timeout that a living state can be in: 0..=24.
pub const PFTM_COUNT: usize = 25;

/// pf.conf's word and default seconds of each PFTM (pfvar.h of OpenBSD, pf.h of FreeBSD 14 for the
/// SCTP ones). 14 to 19 are limits, not timeouts of states.
pub const PFTM: [(&str, u32); PFTM_COUNT] = [
    ("tcp.first", 120),
    ("tcp.opening", 30),
    ("tcp.established", 86400),
    ("tcp.closing", 900),
    ("tcp.finwait", 45),
    ("tcp.closed", 90),
    ("udp.first", 60),
    ("udp.single", 30),
    ("udp.multiple", 60),
    ("icmp.first", 20),
    ("icmp.error", 10),
    ("other.first", 60),
    ("other.single", 30),
    ("other.multiple", 60),
    ("frag", 60),
    ("interval", 10),
    ("adaptive.start", 60000),
    ("adaptive.end", 120000),
    ("src.track", 0),
    ("tcp.tsdiff", 30),
    ("sctp.first", 120),
    ("sctp.opening", 30),
    ("sctp.established", 86400),
    ("sctp.closing", 900),
    ("sctp.closed", 90),
];

/// Seconds a state of each PFTM lives after its last packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Timeouts([u32; PFTM_COUNT]);

impl Default for Timeouts {
    fn default() -> Self {
        Self(PFTM.map(|(_, seconds)| seconds))
    }
}

impl Timeouts {
    /// Seconds of `pftm`; 0 for numbers beyond the table.
    pub fn seconds(&self, pftm: u8) -> u32 {
        self.0.get(usize::from(pftm)).copied().unwrap_or(0)
    }

    /// Sets the timeout that pf.conf calls `word`. False if no state has such a timeout.
    pub fn set(&mut self, word: &str, seconds: u32) -> bool {
        let found = PFTM.iter().position(|(name, _)| *name == word);
        match found
            .filter(|at| is_state_timeout(*at))
            .and_then(|at| self.0.get_mut(at))
        {
            Some(slot) => {
                *slot = seconds;
                true
            }
            None => false,
        }
    }

    /// The words and seconds of every timeout a state can have.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u32)> + '_ {
        PFTM.iter()
            .zip(self.0)
            .enumerate()
            .filter(|(at, _)| is_state_timeout(*at))
            .map(|(_, ((name, _), seconds))| (*name, seconds))
    }
}

/// Whether PFTM number `at` is a timeout of states rather than a limit of pf's.
fn is_state_timeout(at: usize) -> bool {
    !(14..20).contains(&at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_name_ends_at_its_nul_and_never_reaches_a_terminal_raw() {
        let mut octets = *b"em0\0\x1b[2Jgarbage!";
        assert_eq!(IfName::new(octets), IfName::from("em0"));
        octets[3] = 0x1b;
        assert_eq!(
            IfName::new(octets).to_string(),
            "em0\\x1b\\x1b[2Jgarbage!"[..7].to_owned() + "\\x1b[2Jgarbage!"
        );
        for len in 0..=16 {
            let mut octets = *b"\x01\x80\xff0\x01\x01\x01\x0189abcdef";
            if let Some(nul) = octets.get_mut(len) {
                *nul = 0;
            }
            let name = IfName::new(octets);
            assert_eq!(name.as_bytes(), &octets[..len]);
            assert_eq!(name.0[len..], [0; 16][len..]);
        }
    }

    #[test]
    fn keys_that_differ_in_rdomain_alone_translate_but_not_those_of_another_protocol() {
        let key = StateKey {
            af: Af::Inet,
            proto: 6,
            rdomain: 0,
            addr: [Address::default(); 2],
            port: [1, 2],
        };
        assert!(key.translates_to(&StateKey { rdomain: 1, ..key }));
        assert!(!key.translates_to(&StateKey { proto: 17, ..key }));
    }

    #[test]
    fn only_timeouts_of_states_can_be_set() {
        let mut timeouts = Timeouts::default();
        assert!(timeouts.set("tcp.established", 3600));
        assert_eq!(timeouts.seconds(2), 3600);
        assert!(!timeouts.set("interval", 1));
        assert!(!timeouts.set("tcp.nonsense", 1));
        assert_eq!(timeouts.seconds(200), 0);
        assert_eq!(timeouts.iter().count(), 19);
    }
}
