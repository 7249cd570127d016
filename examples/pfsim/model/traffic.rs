//! Connections, and the packets they consist of.
//!
//! A [`Conversation`] is a plan of phases that yields a [`Burst`] at a time: packets of one side
//! that follow each other so closely that a firewall sees them at one instant. Sizes follow
//! mixtures that were measured at a university, AGH in Kraków, in 2015; rates, pauses and the
//! share of NAT are invented.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::rng::Rng;
use super::state::{ICMP, ICMP6, Micros, PFLOW, SCRUB_TCP, SECOND, TCP, UDP};
use super::ways;
use super::wire::{Direction, Key};

/// Flags of TCP.
pub const FIN: u8 = 0x01;
pub const SYN: u8 = 0x02;
pub const RST: u8 = 0x04;
pub const ACK: u8 = 0x10;

/// Who sends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Side {
    Initiator = 0,
    Responder = 1,
}

impl Side {
    fn other(self) -> Self {
        match self {
            Self::Initiator => Self::Responder,
            Self::Responder => Self::Initiator,
        }
    }
}

/// What TCP says in a burst.
#[derive(Clone, Copy, Debug)]
pub struct Tcp {
    /// Of the first octet.
    pub seq: u32,
    /// New payload; what is sent again is none.
    pub len: u64,
    pub ack: u32,
    pub flags: u8,
    pub window: u16,
    /// The option, on a SYN.
    pub wscale: Option<u8>,
}

/// Packets of one side at one instant.
#[derive(Clone, Copy, Debug)]
pub struct Burst {
    pub from: Side,
    pub packets: u64,
    /// IP octets of all of them.
    pub octets: u64,
    pub tcp: Option<Tcp>,
}

impl Burst {
    /// Takes so many packets off the front; all of them if there are no more.
    pub fn take(&mut self, packets: u64) -> Self {
        if packets >= self.packets {
            let all = *self;
            self.packets = 0;
            return all;
        }
        let share = |all: u64| all * packets / self.packets;
        let (octets, len) = (share(self.octets), share(self.tcp.map_or(0, |tcp| tcp.len)));
        let front = Self {
            packets,
            octets,
            tcp: self.tcp.map(|tcp| Tcp { len, ..tcp }),
            ..*self
        };
        self.packets -= packets;
        self.octets -= octets;
        if let Some(tcp) = &mut self.tcp {
            tcp.seq = tcp.seq.wrapping_add(len as u32);
            tcp.len -= len;
        }
        front
    }
}

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

/// How TCP ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Ending {
    Fin,
    Reset,
    /// Never: both ends fall silent.
    Silence,
}

/// What comes next.
#[derive(Clone, Debug)]
enum Phase {
    /// So many packets of octets each, then a pause.
    Packets {
        from: Side,
        packets: u64,
        octets: u64,
        then: Micros,
    },
    Syn,
    SynAck,
    /// An RST instead of a SYN+ACK.
    Refuse,
    /// Data one way, acknowledged the other.
    Data {
        from: Side,
        payload: u64,
    },
    Pause(Micros),
    Fin(Side),
    Reset(Side),
    /// A pure acknowledgement.
    Ack(Side),
}

/// Numbers of a TCP connection.
#[derive(Clone, Debug, Default)]
struct Ends {
    /// Next sequence number of each side.
    seq: [u32; 2],
    /// Octets of headers of each packet.
    header: u64,
    /// Most payload of a packet.
    mss: u64,
    wscale: Option<u8>,
    /// Octets a second.
    rate: f64,
    /// Share of packets that are sent again.
    loss: f64,
    rtt: Micros,
}

/// A connection: the states it makes, and what is still to come.
#[derive(Clone, Debug)]
pub struct Conversation {
    pub paths: Vec<Path>,
    phases: VecDeque<Phase>,
    ends: Ends,
    rng: Rng,
    /// Segments not yet acknowledged, for every other one is.
    unacknowledged: u64,
    /// When its ends fall silent, whatever is still to come.
    pub until: Micros,
}

/// Components of a mixture: weight, then a distribution.
#[derive(Clone, Copy)]
enum Component {
    /// From 0 up to.
    Uniform(f64),
    /// Sigma and scale.
    Lognormal(f64, f64),
}
use Component::{Lognormal, Uniform};

/// Packets of a TCP flow.
const TCP_PACKETS: [(f64, Component); 10] = [
    (0.058_043_75, Uniform(1.0)),
    (0.310_525, Uniform(2.0)),
    (0.055_097_32, Uniform(3.0)),
    (0.047_754_04, Uniform(4.0)),
    (0.005_882_528, Uniform(5.0)),
    (0.125_291_1, Uniform(6.0)),
    (0.206_543_3, Lognormal(0.512_238_2, 7.954_332)),
    (0.121_895_8, Lognormal(0.750_762_7, 21.741_57)),
    (0.052_507_44, Lognormal(1.108_544, 115.968_9)),
    (0.016_459_68, Lognormal(1.993_212, 845.912_2)),
];

/// Packets of a UDP flow. The heaviest component, 1 in 7 million, is left out.
const UDP_PACKETS: [(f64, Component); 12] = [
    (0.582_734_1, Uniform(1.0)),
    (0.187_225_9, Uniform(2.0)),
    (0.091_470_52, Uniform(3.0)),
    (0.056_223_52, Uniform(4.0)),
    (0.029_447_54, Lognormal(0.489_467_6, 9.674_436)),
    (0.040_227_84, Lognormal(0.260_264_7, 4.883_836)),
    (0.004_722_553, Lognormal(0.449_429_9, 29.410_91)),
    (0.005_631_264, Lognormal(0.924_717_3, 67.481_22)),
    (0.001_811_827, Lognormal(1.049_809, 594.492_2)),
    (0.000_320_770_2, Lognormal(1.854_773, 7892.504)),
    (0.000_156_499_3, Lognormal(1.126_364, 19824.0)),
    (0.000_027_567_17, Lognormal(0.401_289_7, 90369.61)),
];

fn packets(rng: &mut Rng, mixture: &[(f64, Component)]) -> u64 {
    let value = match rng.pick(mixture) {
        Uniform(width) => rng.uniform(0.0, width),
        Lognormal(sigma, scale) => rng.lognormal(sigma, scale),
    };
    value.min(2e6) as u64 + 1
}

/// Most segments in a burst: with their acknowledgements, fewer than pfsync's 128.
const BURST: u64 = 64;
/// What is sent within so many seconds is one burst.
const MOMENT: f64 = 0.01;

/// Seconds as microseconds.
fn micros(seconds: f64) -> Micros {
    (seconds * SECOND as f64) as Micros
}

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
        let mut made = Conversation::new(self, rng, proto);
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
        let mut made = Conversation::new(self, rng, TCP);
        made.plan_tcp(Some(payload));
        made
    }

    /// A download of so many octets that takes about so many seconds.
    pub fn slow_download(&self, rng: &mut Rng, payload: u64, seconds: u32) -> Conversation {
        let mut made = self.download(rng, payload);
        made.ends.rate = payload as f64 / f64::from(seconds);
        made
    }

    fn paths(&self, rng: &mut Rng, proto: u8) -> Vec<Path> {
        let is_v6 = proto != 50 && proto != 47 && rng.is(self.inet6);
        let proto = if proto == ICMP && is_v6 { ICMP6 } else { proto };
        let (client, server) = addresses(rng, is_v6);
        let (sport, dport) = self.ports(rng, proto);
        let key = Key {
            addr: [client, server],
            port: [sport, dport],
        };
        let flags = if rng.is(self.flagged) { PFLOW } else { 0 };
        let is_modulated = proto == TCP && rng.is(0.03);
        let seqdiff = if is_modulated {
            [rng.word(), rng.word()]
        } else {
            [0; 2]
        };
        if self.has_every_way {
            let common = ways::Common {
                proto,
                flags,
                has_af_to: self.has_af_to,
                seqdiff,
            };
            return ways::paths(rng, &common, [(client, sport), (server, dport)]);
        }
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
            flags: flags | if proto == TCP { SCRUB_TCP } else { 0 },
            max_mss: if proto == TCP { 1440 } else { 0 },
            seqdiff: [0; 2],
        };
        let near = Key {
            addr: [server, client],
            port: [dport, sport],
        };
        let mut wire = near;
        if !is_v6 && rng.is(0.9) {
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
            flags,
            max_mss: 0,
            seqdiff,
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

impl Conversation {
    fn new(mix: &Mix, rng: &mut Rng, proto: u8) -> Self {
        Self {
            paths: mix.paths(rng, proto),
            phases: VecDeque::new(),
            ends: Ends::default(),
            rng: rng.fork(),
            unacknowledged: 0,
            until: Micros::MAX,
        }
    }

    fn push(&mut self, phase: Phase) {
        self.phases.push_back(phase);
    }

    fn pause(&mut self, seconds: f64) {
        self.push(Phase::Pause(micros(seconds)));
    }

    fn is_v6(&self) -> bool {
        self.paths[0].wire.addr[0].is_ipv6()
    }

    /// Handshake, requests and answers, an ending.
    fn plan_tcp(&mut self, download: Option<u64>) {
        let is_v6 = self.is_v6();
        let rng = &mut self.rng;
        let has_stamps = rng.is(0.6);
        let ip = if is_v6 { 60 } else { 40 };
        let path_mtu = rng.pick(&[(0.85, 1500), (0.1, 1492), (0.05, 1400)]);
        let header = ip + if has_stamps { 12 } else { 0 };
        let near_wrap = rng.is(0.05);
        let isn = if near_wrap {
            u32::MAX - (rng.word() >> 17)
        } else {
            rng.word()
        };
        self.ends = Ends {
            seq: [isn, rng.word()],
            header,
            mss: path_mtu - header,
            wscale: if rng.is(0.95) {
                Some(rng.range(6, 8) as u8)
            } else {
                None
            },
            rate: match download {
                Some(_) => rng.uniform(4e7, 1.2e8),
                None => rng.lognormal(1.2, 1e6).clamp(2e3, 1.2e8),
            },
            loss: if rng.is(0.6) {
                0.0
            } else {
                rng.uniform(0.0, 0.02)
            },
            rtt: micros(rng.lognormal(0.7, 0.03).min(1.0)),
        };
        let rtt = self.ends.rtt as f64 / SECOND as f64;
        let total = match download {
            Some(_) => 0,
            None => packets(&mut self.rng, &TCP_PACKETS),
        };
        self.push(Phase::Syn);
        self.pause(rtt);
        match (download, total) {
            (None, 1) => {
                // nobody there: the SYN again, at most twice
                for pause in [1.0, 2.0].iter().take(self.rng.below(3) as usize) {
                    self.pause(*pause);
                    self.push(Phase::Syn);
                }
                return;
            }
            (None, 2) => {
                self.push(Phase::Refuse);
                return;
            }
            _ => {}
        }
        self.push(Phase::SynAck);
        self.pause(rtt);
        self.push(Phase::Ack(Side::Initiator));
        if let Some(payload) = download {
            self.push(Phase::Data {
                from: Side::Initiator,
                payload: 320,
            });
            self.pause(rtt);
            self.push(Phase::Ack(Side::Responder));
            self.push(Phase::Data {
                from: Side::Responder,
                payload,
            });
        } else if self.rng.is(0.03) {
            self.plan_typing(total);
        } else {
            self.plan_requests(total, rtt);
        }
        let endings = [
            (0.8, Ending::Fin),
            (0.16, Ending::Reset),
            (0.04, Ending::Silence),
        ];
        self.plan_ending(rtt, self.rng.clone().pick(&endings));
        self.rng.next();
    }

    /// Requests and answers, about so many packets.
    fn plan_requests(&mut self, total: u64, rtt: f64) {
        let data = total.saturating_sub(7) * 2 / 3;
        let rounds = self.rng.range(1, 4).min(data / 2 + 1);
        let is_upload = self.rng.is(0.15);
        let (ask, answer) = if is_upload {
            (Side::Responder, Side::Initiator)
        } else {
            (Side::Initiator, Side::Responder)
        };
        for round in 0..rounds {
            if round > 0 {
                let think = self.rng.lognormal(1.4, 0.8).min(90.0);
                self.pause(think);
            }
            let payload = self.rng.lognormal(0.6, 420.0).min(4000.0) as u64 + 1;
            self.push(Phase::Data { from: ask, payload });
            self.pause(rtt);
            // acknowledged at once, answered a little later
            self.push(Phase::Ack(answer));
            let work = self.rng.lognormal(1.0, 0.005).min(1.0);
            self.pause(work);
            let full = (data / rounds) * self.ends.mss;
            let payload = full + self.rng.below(self.ends.mss) + 1;
            self.push(Phase::Data {
                from: answer,
                payload,
            });
        }
    }

    /// Little packets both ways, as of a remote shell.
    fn plan_typing(&mut self, total: u64) {
        for _ in 0..(total / 3).clamp(1, 2000) {
            let payload = self.rng.range(4, 90);
            let from = if self.rng.is(0.5) {
                Side::Initiator
            } else {
                Side::Responder
            };
            self.push(Phase::Data { from, payload });
            let pause = self.rng.lognormal(1.3, 0.25).min(60.0);
            self.pause(pause);
        }
    }

    fn plan_ending(&mut self, rtt: f64, ending: Ending) {
        let idle = self.rng.lognormal(1.5, 0.5).min(240.0);
        self.pause(idle);
        let first = if self.rng.is(0.5) {
            Side::Initiator
        } else {
            Side::Responder
        };
        match ending {
            Ending::Fin => {
                self.push(Phase::Fin(first));
                self.pause(rtt);
                self.push(Phase::Ack(first.other()));
                self.push(Phase::Fin(first.other()));
                self.pause(rtt);
                self.push(Phase::Ack(first));
            }
            Ending::Reset => self.push(Phase::Reset(first)),
            Ending::Silence => {}
        }
    }

    fn datagram_size(&mut self) -> u64 {
        let rng = &mut self.rng;
        match rng.below(3) {
            0 => rng.range(52, 120),
            1 => rng.range(100, 700),
            _ => rng.range(900, 1480),
        }
    }

    fn plan_udp(&mut self, bursty: f64) {
        if self.rng.is(bursty) {
            return self.plan_bursty();
        }
        self.plan_datagrams();
    }

    /// Datagrams, evenly; answers to most.
    fn plan_datagrams(&mut self) {
        let total = packets(&mut self.rng, &UDP_PACKETS);
        let share = if self.rng.is(0.8) {
            self.rng.uniform(0.2, 1.5)
        } else {
            0.0
        };
        let duration = self.rng.lognormal(1.6, 0.3) * (1.0 + total as f64 / 60.0);
        let chunks = total.min((duration * 20.0) as u64 + 1);
        let (size, back) = (self.datagram_size(), self.datagram_size());
        let mut sent = 0;
        for chunk in 1..=chunks {
            let packets = total * chunk / chunks - sent;
            sent += packets;
            self.push(Phase::Packets {
                from: Side::Initiator,
                packets,
                octets: size,
                then: micros(0.02),
            });
            let answers = (packets as f64 * share).round() as u64;
            if answers > 0 {
                self.push(Phase::Packets {
                    from: Side::Responder,
                    packets: answers,
                    octets: back,
                    then: 0,
                });
            }
            if chunk < chunks {
                self.pause(duration.min(1000.0) / chunks as f64);
            }
        }
    }

    /// Bursts with pauses, some longer than the state lives.
    fn plan_bursty(&mut self) {
        let (size, back) = (self.datagram_size(), self.datagram_size());
        for _ in 0..self.rng.range(3, 15) {
            let packets = self.rng.range(5, 60);
            self.push(Phase::Packets {
                from: Side::Initiator,
                packets,
                octets: size,
                then: micros(0.05),
            });
            let packets = self.rng.range(1, packets);
            self.push(Phase::Packets {
                from: Side::Responder,
                packets,
                octets: back,
                then: 0,
            });
            let pause = self.rng.uniform(3.0, 65.0);
            self.pause(pause);
        }
    }

    fn plan_icmp(&mut self) {
        let is_answered = self.rng.is(0.85);
        for _ in 0..self.rng.range(1, 12) {
            self.push(Phase::Packets {
                from: Side::Initiator,
                packets: 1,
                octets: 84,
                then: micros(0.02),
            });
            if is_answered {
                self.push(Phase::Packets {
                    from: Side::Responder,
                    packets: 1,
                    octets: 84,
                    then: 0,
                });
            }
            self.pause(1.0);
        }
    }

    /// What comes next, and how long after it the next call is due. None: it is over.
    pub fn next(&mut self) -> Option<(Vec<Burst>, Micros)> {
        let phase = self.phases.pop_front()?;
        Some(match phase {
            Phase::Pause(time) => (Vec::new(), time),
            Phase::Packets {
                from,
                packets,
                octets,
                then,
            } => {
                let burst = Burst {
                    from,
                    packets,
                    octets: packets * octets,
                    tcp: None,
                };
                (vec![burst], then)
            }
            Phase::Syn => (vec![self.control(Side::Initiator, SYN)], 0),
            Phase::SynAck => {
                // the SYN took a number, and so does this
                self.ends.seq[0] = self.ends.seq[0].wrapping_add(1);
                let burst = self.control(Side::Responder, SYN | ACK);
                self.ends.seq[1] = self.ends.seq[1].wrapping_add(1);
                (vec![burst], 0)
            }
            Phase::Refuse => {
                self.ends.seq = [self.ends.seq[0].wrapping_add(1), 0];
                (vec![self.control(Side::Responder, RST | ACK)], 0)
            }
            Phase::Ack(from) => (vec![self.control(from, ACK)], 0),
            Phase::Reset(from) => (vec![self.control(from, RST | ACK)], 0),
            Phase::Fin(from) => {
                let burst = self.control(from, FIN | ACK);
                let seq = &mut self.ends.seq[from as usize];
                *seq = seq.wrapping_add(1);
                (vec![burst], 0)
            }
            Phase::Data { from, payload } => self.data(from, payload),
        })
    }

    /// A packet without payload.
    fn control(&self, from: Side, flags: u8) -> Burst {
        // options of a SYN: mss, window scale, stamps, selective acknowledgement
        let options = if flags & SYN != 0 { 20 } else { 0 };
        let base = if self.is_v6() { 60 } else { 40 };
        let octets = if flags & (SYN | RST) != 0 {
            base + options
        } else {
            self.ends.header
        };
        Burst {
            from,
            packets: 1,
            octets,
            tcp: Some(self.tcp(from, flags, 0)),
        }
    }

    fn tcp(&self, from: Side, flags: u8, len: u64) -> Tcp {
        Tcp {
            seq: self.ends.seq[from as usize],
            len,
            ack: self.ends.seq[from.other() as usize],
            flags,
            window: self.window(flags),
            wscale: self.ends.wscale.filter(|_| flags & SYN != 0),
        }
    }

    /// Whether the plan has `from` acknowledge what is sent now, a round trip later.
    fn is_acknowledged_later(&self, from: Side) -> bool {
        let mut next = self.phases.iter();
        let is_pause = matches!(next.next(), Some(Phase::Pause(_)));
        is_pause && matches!(next.next(), Some(Phase::Ack(side)) if *side == from)
    }

    /// As large from the beginning; nobody takes back what was offered (RFC 9293, 3.8.6).
    fn window(&self, flags: u8) -> u16 {
        match self.ends.wscale {
            Some(_) if flags & SYN == 0 => 2048,
            _ => 65_535,
        }
    }

    /// Some of the data that is to go, its acknowledgements, and how long it takes.
    fn data(&mut self, from: Side, payload: u64) -> (Vec<Burst>, Micros) {
        let (mss, rate) = (self.ends.mss, self.ends.rate);
        let in_a_moment = (rate * MOMENT / mss as f64) as u64;
        let most = in_a_moment.clamp(1, BURST);
        let len = payload.min(most * mss);
        let segments = len.div_ceil(mss);
        let loss = self.ends.loss;
        let again = (0..segments).filter(|_| self.rng.is(loss)).count() as u64;
        let octets = len + (segments + again) * self.ends.header + again * len.min(mss);
        let mut bursts = vec![Burst {
            from,
            packets: segments + again,
            octets,
            tcp: Some(self.tcp(from, ACK, len)),
        }];
        let seq = &mut self.ends.seq[from as usize];
        *seq = seq.wrapping_add(len as u32);
        let rest = payload - len;
        let rest_is_answered = rest == 0 && self.is_acknowledged_later(from.other());
        if rest_is_answered {
            self.unacknowledged = 0;
            return (bursts, 1);
        }
        self.unacknowledged += segments;
        // every other segment at once, the last one a little later; a lost one by itself
        let mut acks = self.unacknowledged / 2 + again;
        self.unacknowledged %= 2;
        if rest == 0 && self.unacknowledged == 1 {
            self.unacknowledged = 0;
            acks += 1;
        }
        if acks > 0 {
            bursts.push(Burst {
                from: from.other(),
                packets: acks,
                octets: acks * self.ends.header,
                tcp: Some(self.tcp(from.other(), ACK, 0)),
            });
        }
        if rest > 0 {
            self.phases.push_front(Phase::Data {
                from,
                payload: rest,
            });
        }
        (bursts, micros(octets as f64 / rate).max(1))
    }
}
