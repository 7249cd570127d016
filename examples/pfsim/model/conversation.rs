//! Connections, and the packets they consist of.
//!
//! A [`Conversation`] is a plan of phases that yields a [`Burst`] at a time: packets of one side
//! that follow each other so closely that a firewall sees them at one instant. Sizes follow
//! mixtures that were measured at a university, AGH in Kraków, in 2015; rates and pauses are
//! invented.

use std::collections::VecDeque;

use super::burst::{ACK, Burst, FIN, RST, SYN, Side, Tcp};
use super::rng::Rng;
use super::state::{Micros, SECOND};
use super::ways::Path;

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

impl Conversation {
    /// One that makes these states and has no plan yet.
    pub(super) fn new(paths: Vec<Path>, rng: &mut Rng) -> Self {
        Self {
            paths,
            phases: VecDeque::new(),
            ends: Ends::default(),
            rng: rng.fork(),
            unacknowledged: 0,
            until: Micros::MAX,
        }
    }

    /// Has its data take about so many seconds.
    pub(super) fn slow_down(&mut self, payload: u64, seconds: u32) {
        self.ends.rate = payload as f64 / f64::from(seconds);
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
    pub(super) fn plan_tcp(&mut self, download: Option<u64>) {
        self.ends = self.draw_ends(download);
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
            self.plan_download(payload, rtt);
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

    /// Numbers of a connection that begins.
    fn draw_ends(&mut self, download: Option<u64>) -> Ends {
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
        Ends {
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
        }
    }

    /// One request, and an answer of so many octets.
    fn plan_download(&mut self, payload: u64, rtt: f64) {
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

    pub(super) fn plan_udp(&mut self, bursty: f64) {
        if self.rng.is(bursty) {
            return self.plan_bursty();
        }
        self.plan_datagrams();
    }

    /// Datagrams, evenly; answers to most.
    pub(super) fn plan_datagrams(&mut self) {
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

    pub(super) fn plan_icmp(&mut self) {
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
