//! The states that a connection makes on its way through a firewall, by every kind of translation.
//!
//! ```text
//! client c:p --> s:q   IN state  wire c:p s:q     stack c:p s':q'    rdr-to
//!                      OUT state stack c:p s':q'  wire  c':p' s':q'  nat-to
//! ```
//! What ends on the firewall, or begins there, has one of them. af-to has the IN state alone, because
//! pf does not look again at a packet that it made itself (pf.c, `PF_TAG_GENERATED`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::rng::Rng;
use super::state::{SCRUB_TCP, TCP, UDP};
use super::wire::{Direction, Key};

/// What happens to a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Way {
    /// It ends on the firewall.
    ToFirewall,
    /// The firewall began it.
    FromFirewall,
    Plain,
    Nat,
    Rdr,
    Both,
    /// IPv6 here, IPv4 there.
    AfTo,
}

const WAYS: [(f64, Way); 7] = [
    (0.1, Way::ToFirewall),
    (0.1, Way::FromFirewall),
    (0.2, Way::Plain),
    (0.25, Way::Nat),
    (0.15, Way::Rdr),
    (0.1, Way::Both),
    (0.1, Way::AfTo),
];

/// A state that a conversation makes on the firewall.
#[derive(Clone, Debug)]
pub struct Path {
    pub proto: u8,
    pub direction: Direction,
    pub wire: Key,
    pub stack: Key,
    pub ifname: &'static str,
    /// The interface of its first packet.
    pub origin: &'static str,
    /// The connection that it was made for, where that is known.
    pub connection: Option<usize>,
    pub rule: u32,
    pub flags: u16,
    pub max_mss: u16,
    /// What sequence modulation adds for each side; 0 without.
    pub seqdiff: [u32; 2],
}

impl Path {
    /// The key before translation, by which pf finds the state.
    pub fn key(&self) -> Key {
        match self.direction {
            Direction::In => self.wire,
            Direction::Out => self.stack,
        }
    }
}

/// Source and destination.
type Ends = [(IpAddr, u16); 2];

/// What all states of a connection have.
#[derive(Clone, Copy, Debug)]
pub struct Common {
    pub proto: u8,
    pub flags: u16,
    /// Whether the dialect can tell of two families in a state.
    pub has_af_to: bool,
    pub seqdiff: [u32; 2],
}

/// The states of a connection between these ends, as its client names them.
pub fn paths(rng: &mut Rng, common: &Common, ends: Ends) -> Vec<Path> {
    let has_ports = matches!(common.proto, TCP | UDP);
    let is_v6 = ends[0].0.is_ipv6();
    let way = match rng.pick(&WAYS) {
        Way::AfTo if !(has_ports && is_v6 && common.has_af_to) => Way::Plain,
        way => way,
    };
    let is_outward = rng.is(0.7);
    let is_bound = rng.is(0.6);
    let rule = rng.below(100) as u32;
    let (inside, outside) = translated(rng, way, ends, has_ports);
    let [near, far] = match is_outward {
        true => ["em1", "em0"],
        false => ["em0", "em1"],
    };
    let is_tcp = common.proto == TCP;
    let arrives = Path {
        proto: common.proto,
        direction: Direction::In,
        wire: key(ends),
        // af-to: the translated ends are the other way round
        stack: if way == Way::AfTo {
            key([inside[1], inside[0]])
        } else {
            key(inside)
        },
        ifname: if is_bound { near } else { "all" },
        origin: near,
        connection: None,
        rule,
        flags: common.flags | if is_tcp { SCRUB_TCP } else { 0 },
        max_mss: if is_tcp { 1440 } else { 0 },
        seqdiff: [0; 2],
    };
    let leaves = Path {
        direction: Direction::Out,
        wire: key([outside[1], outside[0]]),
        stack: key([inside[1], inside[0]]),
        ifname: if is_bound { far } else { "all" },
        origin: far,
        flags: common.flags,
        max_mss: 0,
        seqdiff: common.seqdiff,
        ..arrives.clone()
    };
    match way {
        Way::ToFirewall | Way::AfTo => vec![arrives],
        Way::FromFirewall => vec![leaves],
        _ => vec![arrives, leaves],
    }
}

/// The ends inside and outside of the firewall.
fn translated(rng: &mut Rng, way: Way, ends: Ends, has_ports: bool) -> (Ends, Ends) {
    let is_v6 = ends[0].0.is_ipv6();
    let (mut inside, mut outside) = (ends, ends);
    if matches!(way, Way::Rdr | Way::Both) {
        inside[1] = server(rng, is_v6, ends[1].1, has_ports);
        outside[1] = inside[1];
    }
    if matches!(way, Way::Nat | Way::Both) {
        outside[0] = firewall(rng, is_v6, ends[0].1, has_ports);
    }
    if way == Way::AfTo {
        inside = [
            firewall(rng, false, ends[0].1, true),
            (
                Ipv4Addr::from(0x0b00_0000 + rng.word() % 0x7400_0000).into(),
                ends[1].1,
            ),
        ];
    }
    (inside, outside)
}

fn key([source, destination]: Ends) -> Key {
    Key {
        addr: [source.0, destination.0],
        port: [source.1, destination.1],
    }
}

/// Where a connection is redirected to.
fn server(rng: &mut Rng, is_v6: bool, port: u16, has_ports: bool) -> (IpAddr, u16) {
    let host = rng.range(1, 250) as u16;
    let addr: IpAddr = match is_v6 {
        true => Ipv6Addr::new(0x2001, 0xdb8, 3, 0, 0, 0, 0, host).into(),
        false => Ipv4Addr::new(10, 2, 0, host as u8).into(),
    };
    let port = if has_ports && rng.is(0.5) { 8443 } else { port };
    (addr, port)
}

/// What the firewall makes of a source.
fn firewall(rng: &mut Rng, is_v6: bool, port: u16, has_ports: bool) -> (IpAddr, u16) {
    let host = rng.range(1, 4) as u16;
    let addr: IpAddr = match is_v6 {
        true => Ipv6Addr::new(0x2001, 0xdb8, 4, 0, 0, 0, 0, host).into(),
        false => Ipv4Addr::new(198, 51, 100, host as u8).into(),
    };
    let port = if has_ports {
        rng.range(50_000, 65_000) as u16
    } else {
        port
    };
    (addr, port)
}
