//! pfsync packets from scratch (pfsync/), in every framing, and a clock to feed them to an engine.

#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "a test that is wrong may panic, and each test crate uses a part of this"
)]

mod pfsync;

pub use pfsync::*;

use pflow::config::{Config, apply_text};
use pflow::counters::TableCounters;
use pflow::engine::{Engine, Packet, Settings};
use pflow::flow::Boot;
use pflow::output::messages::Detail;
use pflow::output::{Form, Output};
use pflow::time::{Now, Wall};
use pflow::wire::keep;
use pflow::wire::link::LinkType;
use pflow::wire::pfsync::Action;

/// What stands before a pfsync packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum From {
    /// Ethernet and IPv4.
    Ether([u8; 4]),
    /// Ethernet, an 802.1Q tag and IPv4.
    Vlan([u8; 4]),
    /// Ethernet and IPv6.
    Ether6,
    /// IPv4.
    Raw([u8; 4]),
    /// IPv6.
    Raw6,
    /// pfsync0: nothing, under this link type.
    Bare(u32),
    /// pfsync0 since OpenBSD 7.4: an IPv4 header from 0.0.0.0, under this link type.
    Header(u32),
}

pub const A: From = From::Ether([10, 0, 0, 1]);
pub const B: From = From::Ether([10, 0, 0, 2]);
pub const PFSYNC0: From = From::Bare(246);

impl From {
    pub fn frame(self, pfsync: &[u8]) -> (LinkType, Vec<u8>) {
        match self {
            Self::Ether(source) => (LinkType(1), ether(&[8, 0], &ipv4(source, pfsync))),
            Self::Vlan(source) => {
                let tagged = [0x81, 0, 0, 7, 8, 0];
                (LinkType(1), ether(&tagged, &ipv4(source, pfsync)))
            }
            Self::Ether6 => (LinkType(1), ether(&[0x86, 0xdd], &ipv6(pfsync))),
            Self::Raw(source) => (LinkType(101), ipv4(source, pfsync)),
            Self::Raw6 => (LinkType(101), ipv6(pfsync)),
            Self::Bare(link) => (LinkType(link), pfsync.to_vec()),
            Self::Header(link) => (LinkType(link), ipv4([0; 4], pfsync)),
        }
    }
}

/// Second 0 of the tests.
pub const T0: i64 = 1_700_000_000;

/// A flow that came out; times are seconds since [`T0`].
#[derive(Clone, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Out {
    pub id: u64,
    pub creator: u32,
    pub start: i64,
    pub end: i64,
    /// The initiator, `address:port`, and the responder.
    pub src: String,
    pub dst: String,
    /// Both after translation.
    pub nat: Option<(String, String)>,
    pub proto: u64,
    pub packets: [u64; 2],
    pub octets: [u64; 2],
    pub ifname: String,
    /// Of a connection: where it leaves.
    pub egress: Option<String>,
    /// Of a state.
    pub direction: String,
    pub icmp: (Option<u64>, Option<u64>),
}

impl Out {
    /// Seconds of the first and the last packet.
    pub fn times(&self) -> (i64, i64) {
        (self.start, self.end)
    }
}

fn hex(value: &serde_json::Value) -> u64 {
    u64::from_str_radix(value.as_str().unwrap(), 16).unwrap()
}

fn out(record: &serde_json::Value) -> (bool, Out) {
    let reverse = record["reverse"].as_bool().unwrap();
    let end = |names: [&str; 3]| {
        let [four, six, port] = names;
        let address = record[four].as_str().or_else(|| record[six].as_str())?;
        Some(format!("{address}:{}", record[port]))
    };
    let mut ends = [
        end([
            "sourceIPv4Address",
            "sourceIPv6Address",
            "sourceTransportPort",
        ]),
        end([
            "destinationIPv4Address",
            "destinationIPv6Address",
            "destinationTransportPort",
        ]),
    ];
    let mut nat = [
        end([
            "postNATSourceIPv4Address",
            "postNATSourceIPv6Address",
            "postNAPTSourceTransportPort",
        ]),
        end([
            "postNATDestinationIPv4Address",
            "postNATDestinationIPv6Address",
            "postNAPTDestinationTransportPort",
        ]),
    ];
    if reverse {
        ends.reverse();
        nat.reverse();
    }
    let [src, dst] = ends;
    let [nat_src, nat_dst] = nat;
    let which = usize::from(reverse);
    let number = |key: &str| record[key].as_u64();
    let seconds = |key: &str| i64::try_from(number(key).unwrap() / 1000).unwrap() - T0;
    let mut flow = Out {
        id: hex(&record["stateId"]),
        creator: u32::try_from(hex(&record["creatorId"])).unwrap(),
        start: seconds("flowStartMilliseconds"),
        end: seconds("flowEndMilliseconds"),
        src: src.unwrap(),
        dst: dst.unwrap(),
        nat: nat_src.zip(nat_dst),
        proto: number("protocolIdentifier").unwrap(),
        ifname: record["interfaceName"].as_str().unwrap().to_owned(),
        egress: record["egressInterfaceName"].as_str().map(str::to_owned),
        direction: record["direction"].as_str().unwrap_or_default().to_owned(),
        icmp: (
            number("icmpId"),
            number("icmpTypeIPv4").or_else(|| number("icmpTypeIPv6")),
        ),
        ..Out::default()
    };
    flow.packets[which] = number("packetDeltaCount").unwrap();
    flow.octets[which] = number("octetDeltaCount").unwrap();
    (reverse, flow)
}

/// Both records of each flow as one.
pub fn flows(json: &[u8]) -> Vec<Out> {
    let mut flows: Vec<Out> = Vec::new();
    let mut wants_reverse = false;
    for line in json.split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
        let (reverse, flow) = out(&serde_json::from_slice(line).unwrap());
        if reverse && wants_reverse {
            let forward = flows.last_mut().unwrap();
            let same = |flow: &Out| Out {
                packets: [0; 2],
                octets: [0; 2],
                ..flow.clone()
            };
            if same(forward) == same(&flow) {
                forward.packets[1] = flow.packets[1];
                forward.octets[1] = flow.octets[1];
                wants_reverse = false;
                continue;
            }
        }
        wants_reverse = !reverse;
        flows.push(flow);
    }
    flows
}

/// Settings of a replay without -b that prints flows as JSON.
pub fn settings() -> Settings {
    Settings {
        states: 1_000_000,
        is_all: false,
        direction: None,
        boot: Boot::Unknown,
        local_addresses: Vec::new(),
        output: Output {
            form: Form::Json,
            detail: Detail::Brief,
        },
    }
}

/// What `text` configures.
pub fn config(text: &str) -> Config {
    let mut config = Config::default();
    apply_text(&mut config, "test", text).unwrap();
    config
}

/// An engine and its clock, which is the packets' as in a replay.
pub struct Run {
    pub engine: Engine,
    clock: Option<Wall>,
    boot: Option<Wall>,
}

/// Milliseconds after [`T0`].
pub fn wall(ms: i64) -> Wall {
    Wall::from_nanos((T0 * 1000 + ms) * 1_000_000)
}

impl Default for Run {
    fn default() -> Self {
        Self::new()
    }
}

impl Run {
    pub fn new() -> Self {
        Self::with(settings(), Config::default())
    }

    pub fn with(settings: Settings, config: Config) -> Self {
        Self {
            engine: Engine::new(settings, config),
            clock: None,
            boot: None,
        }
    }

    /// With a boot time, in seconds after [`T0`].
    pub fn booted(boot: i64) -> Self {
        Self::booted_at(boot * 1000)
    }

    /// With a boot time, in milliseconds after [`T0`].
    pub fn booted_at(boot: i64) -> Self {
        let settings = Settings {
            boot: Boot::Known,
            ..settings()
        };
        Self {
            boot: Some(wall(boot)),
            ..Self::with(settings, Config::default())
        }
    }

    /// At most `states` of them.
    pub fn bounded(states: u32) -> Self {
        Self::with(
            Settings {
                states,
                ..settings()
            },
            Config::default(),
        )
    }

    pub fn now(&self) -> Now {
        Now::with_boot(self.clock.unwrap(), self.boot.unwrap())
    }

    /// Sets the wall clock forward, or back; the machine's uptime does not change.
    pub fn set_clock(&mut self, ms: i64) {
        let set =
            |wall: Option<Wall>| wall.map(|wall| Wall::from_nanos(wall.nanos() + ms * 1_000_000));
        (self.clock, self.boot) = (set(self.clock), set(self.boot));
    }

    /// Moves the clock to `ms` after [`T0`], if that is later.
    pub fn advance(&mut self, ms: i64) {
        let stamp = wall(ms);
        if self.clock.is_none() {
            self.clock = Some(stamp);
            self.boot
                .get_or_insert(Wall::from_nanos(stamp.nanos() - (1 << 31) * 1_000_000));
            let now = self.now();
            self.engine.start(now);
        } else if Some(stamp) > self.clock {
            self.clock = Some(stamp);
            let now = self.now();
            self.engine.handle_timeout(now, now.uptime);
        }
    }

    /// Starts with what a keep file has, `ms` after [`T0`].
    pub fn restore(&mut self, ms: i64, is_clean: bool, records: keep::Records<'_>) {
        let stamp = wall(ms);
        self.clock = Some(stamp);
        self.boot = Some(Wall::from_nanos(stamp.nanos() - (1 << 31) * 1_000_000));
        let now = self.now();
        self.engine.restore(now, is_clean, records);
        self.engine.start(now);
    }

    /// Takes in a frame of which `frame` was captured.
    pub fn frame(&mut self, ms: i64, link: LinkType, frame: &[u8], wire_len: usize) {
        self.advance(ms);
        let packet = Packet {
            stamp: wall(ms),
            link,
            frame,
            wire_len,
        };
        let now = self.now();
        self.engine.handle_packet(now, &packet);
        while self.engine.is_behind() {
            self.engine.go_on();
        }
    }

    /// Takes in a pfsync packet.
    pub fn packet(&mut self, ms: i64, from: From, pfsync: &[u8]) {
        let (link, frame) = from.frame(pfsync);
        self.frame(ms, link, &frame, frame.len());
    }

    /// Takes in messages.
    pub fn send(&mut self, ms: i64, from: From, d: D, messages: &[M]) {
        for packet in packets(d, messages) {
            self.packet(ms, from, &packet);
        }
    }

    /// The flows that came out since the last call.
    pub fn flows(&mut self) -> Vec<Out> {
        let flows = flows(self.engine.printed());
        self.engine.printed().clear();
        flows
    }

    /// The quality of each record that came out since [`Run::flows`] was asked.
    pub fn qualities(&mut self) -> Vec<String> {
        let lines = self.engine.printed().split(|b| *b == b'\n');
        let quality = |line: &[u8]| {
            let record: serde_json::Value = serde_json::from_slice(line).unwrap();
            record["quality"].as_str().unwrap().to_owned()
        };
        lines.filter(|line| !line.is_empty()).map(quality).collect()
    }

    /// The only flow that came out since the last call, or comes when ends are held back no more.
    pub fn flow(&mut self) -> Out {
        if self.engine.printed().is_empty() {
            self.clock = self
                .clock
                .map(|clock| Wall::from_nanos(clock.nanos() + 2_000_000_000));
            let now = self.now();
            self.engine.handle_timeout(now, now.uptime);
        }
        let flows = self.flows();
        assert_eq!(flows.len(), 1, "{flows:#?}");
        flows.into_iter().next().unwrap()
    }

    /// Ends the input; the flows that came out since the last call.
    pub fn finish(&mut self) -> Vec<Out> {
        if self.clock.is_some() {
            let now = self.now();
            self.engine.finish(now);
        }
        self.flows()
    }

    pub fn counters(&self) -> TableCounters {
        self.engine.table().counters
    }

    pub fn alive(&self) -> usize {
        self.engine.table().len()
    }

    /// Packets that were not read whole, for this reason.
    pub fn reason(&self, name: &str) -> u64 {
        let mut reasons = self.engine.packet_counters().reasons();
        reasons.find(|counter| counter.name == name).unwrap().value
    }

    /// Messages read of this kind.
    pub fn messages(&self, action: Action) -> u64 {
        let mut actions = self.engine.packet_counters().actions();
        actions.find(|(this, _)| *this == action).unwrap().1
    }
}
