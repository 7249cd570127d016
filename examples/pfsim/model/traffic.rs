//! What kinds of connections a scenario has, and in which shares. The share of NAT is invented.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::conversation::Conversation;
use super::rng::Rng;
use super::state::{ICMP, ICMP6, PFLOW, SCRUB_TCP, TCP, UDP};
use super::ways::{self, Path};
use super::wire::{Direction, Key};

/// What the connections of a scenario have in common.
#[derive(Clone, Copy, Debug)]
pub struct Mix {
    /// Share of connections whose rule says `pflow`.
    pub flagged: f64,
    /// Share of IPv6.
    pub inet6: f64,
    /// Share of UDP that comes in bursts with pauses.
    pub bursty: f64,
    /// What the ports of an ICMP query are.
    pub icmp: super::dialect::Icmp,
    /// Whether there is every kind of translation, beside source NAT and none.
    pub has_every_way: bool,
    /// Whether the dialect can tell of two families in a state.
    pub has_af_to: bool,
}

impl Mix {
    /// A connection by those shares.
    pub fn conversation(&self, rng: &mut Rng) -> Conversation {
        let kinds = [
            (0.53, TCP),
            (0.435, UDP),
            (0.024, ICMP),
            (0.007, 50),
            (0.004, 47),
        ];
        let proto = rng.pick(&kinds);
        let paths = self.paths(rng, proto);
        let mut made = Conversation::new(paths, rng);
        match proto {
            TCP => made.plan_tcp(None),
            UDP => made.plan_udp(self.bursty),
            ICMP => made.plan_icmp(),
            _ => made.plan_datagrams(),
        }
        made
    }

    /// A download of so many octets.
    pub fn download(&self, rng: &mut Rng, payload: u64) -> Conversation {
        let paths = self.paths(rng, TCP);
        let mut made = Conversation::new(paths, rng);
        made.plan_tcp(Some(payload));
        made
    }

    /// A download of so many octets that takes about so many seconds.
    pub fn slow_download(&self, rng: &mut Rng, payload: u64, seconds: u32) -> Conversation {
        let mut made = self.download(rng, payload);
        made.slow_down(payload, seconds);
        made
    }

    fn paths(&self, rng: &mut Rng, proto: u8) -> Vec<Path> {
        let is_v6 = proto != 50 && proto != 47 && rng.is(self.inet6);
        let proto = if proto == ICMP && is_v6 { ICMP6 } else { proto };
        let (client, server) = addresses(rng, is_v6);
        let (sport, dport) = self.ports(rng, proto);
        let flags = if rng.is(self.flagged) { PFLOW } else { 0 };
        let is_modulated = proto == TCP && rng.is(0.03);
        let seqdiff = if is_modulated {
            [rng.word(), rng.word()]
        } else {
            [0; 2]
        };
        let common = ways::Common {
            proto,
            flags,
            has_af_to: self.has_af_to,
            seqdiff,
        };
        let ends = [(client, sport), (server, dport)];
        if self.has_every_way {
            return ways::paths(rng, &common, ends);
        }
        self.usual_paths(rng, &common, ends)
    }

    /// In by em1, out by em0, most of IPv4 with source NAT.
    fn usual_paths(
        &self,
        rng: &mut Rng,
        common: &ways::Common,
        [(client, sport), (server, dport)]: [(IpAddr, u16); 2],
    ) -> Vec<Path> {
        let (proto, is_tcp) = (common.proto, common.proto == TCP);
        let key = Key {
            addr: [client, server],
            port: [sport, dport],
        };
        let is_bound = rng.is(0.1);
        let inbound = Path {
            proto,
            direction: Direction::In,
            wire: key,
            stack: key,
            ifname: if is_bound { "em1" } else { "all" },
            origin: "em1",
            connection: None,
            rule: rng.below(100) as u32,
            flags: common.flags | if is_tcp { SCRUB_TCP } else { 0 },
            max_mss: if is_tcp { 1440 } else { 0 },
            seqdiff: [0; 2],
        };
        let near = Key {
            addr: [server, client],
            port: [dport, sport],
        };
        let mut wire = near;
        if client.is_ipv4() && rng.is(0.9) {
            wire.addr[1] = IpAddr::V4(Ipv4Addr::new(198, 51, 100, rng.range(1, 4) as u8));
            // the id of a query is translated as a port is
            wire.port[1] = match proto {
                TCP | UDP | ICMP => rng.range(50_000, 65_000) as u16,
                _ => 0,
            };
            if proto == ICMP && self.icmp == super::dialect::Icmp::Id {
                wire.port[0] = wire.port[1];
            }
        }
        let outbound = Path {
            direction: Direction::Out,
            wire,
            stack: near,
            ifname: if is_bound { "em0" } else { "all" },
            origin: "em0",
            flags: common.flags,
            max_mss: 0,
            seqdiff: common.seqdiff,
            ..inbound.clone()
        };
        match rng.below(4) {
            0 => vec![inbound],
            1 => vec![outbound],
            _ => vec![inbound, outbound],
        }
    }

    fn ports(&self, rng: &mut Rng, proto: u8) -> (u16, u16) {
        let ephemeral = rng.range(10_000, 49_999) as u16;
        let other = rng.range(1024, 65_535) as u16;
        match proto {
            TCP => {
                let ports = [
                    (0.62, 443),
                    (0.18, 80),
                    (0.03, 8080),
                    (0.02, 22),
                    (0.02, 993),
                ];
                let known: f64 = ports.iter().map(|(weight, _)| weight).sum();
                let is_known = rng.is(known);
                (ephemeral, if is_known { rng.pick(&ports) } else { other })
            }
            UDP => {
                let ports = [(0.45, 53), (0.25, 443), (0.04, 123), (0.03, 3478)];
                let known: f64 = ports.iter().map(|(weight, _)| weight).sum();
                let is_known = rng.is(known);
                (ephemeral, if is_known { rng.pick(&ports) } else { other })
            }
            ICMP | ICMP6 => match (self.icmp, proto) {
                (super::dialect::Icmp::Id, _) => (ephemeral, ephemeral),
                (super::dialect::Icmp::IdAndZero, _) => (ephemeral, 0),
                (_, ICMP) => (ephemeral, 8),
                _ => (ephemeral, 128),
            },
            _ => (0, 0),
        }
    }
}

fn addresses(rng: &mut Rng, is_v6: bool) -> (IpAddr, IpAddr) {
    if is_v6 {
        let mut side = |net: u16| {
            let host = rng.next();
            let words = [
                0x2001,
                0xdb8,
                net,
                (host >> 48) as u16,
                0,
                0,
                (host >> 16) as u16,
                host as u16,
            ];
            IpAddr::V6(Ipv6Addr::from(words))
        };
        return (side(1), side(2));
    }
    let client = rng.word();
    let server = rng.word();
    (
        IpAddr::V4(Ipv4Addr::new(10, 1, (client >> 8) as u8, client as u8)),
        // 11.0.0.0 to 126.255.255.255
        IpAddr::V4(Ipv4Addr::from(0x0b00_0000 + server % 0x7400_0000)),
    )
}
