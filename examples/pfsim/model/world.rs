//! Everything together, an event at a time: connections, firewalls, what a listener hears.
//!
//! ```text
//! connections -> active firewall -> sync network --+--> partner (loss, delay)
//!                                                  +--> listener: poll_packet() (loss, delay)
//!                                 inject() --------+--> every firewall (loss, delay)
//! ```
//! [`World::run_until`] advances it; between its steps a listener may take packets and inject its
//! own. The same settings give the same packets.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::net::Ipv4Addr;

use super::burst::{Burst, Side};
use super::clock::Clock;
use super::conversation::Conversation;
use super::dialect::{Dialect, Era};
use super::firewall::{self, Account, Ended, Firewall, Sent};
use super::rng::Rng;
use super::state::{Micros, SECOND};
use super::traffic::Mix;
use super::wire::{self, IP_HEADER, Message};

/// What happens once.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Incident {
    /// The other firewall takes over.
    Failover,
    /// The active one loses everything; the other, if there is one, takes over.
    Reboot,
    /// `pfctl -F states` on the active one.
    Clear,
    /// The listener hears nothing from here on, or hears again.
    Deaf(bool),
}

/// A scenario.
#[derive(Clone, Debug)]
pub struct Settings {
    pub seed: u64,
    pub dialect: Dialect,
    /// How many states to make, about.
    pub states: usize,
    pub seconds: u64,
    /// Firewalls, 1 or 2.
    pub nodes: usize,
    /// Big downloads, and the octets of the smallest of them.
    pub downloads: usize,
    pub download_octets: u64,
    /// Share of packets of the sync network that each receiver loses.
    pub loss: f64,
    /// From sender to receiver, and by how much it varies.
    pub delay: Micros,
    pub jitter: Micros,
    /// Share of connections whose rule says `pflow`.
    pub flagged: f64,
    /// Share of UDP connections that come in bursts with pauses.
    pub bursty: f64,
    /// Whether there is every kind of translation, beside source NAT and none.
    pub has_every_way: bool,
    /// Whether each state is asked for 3 s after its last packet, so that its counters are known.
    pub is_asked: bool,
    /// Most seconds of a connection, after which its ends are silent, and of a time-out, so that
    /// the number of states alive does not grow for ever: none is older than twice that and the
    /// time of a purge.
    pub longest: Option<u32>,
    /// UNIX seconds of the beginning.
    pub wall: u64,
    /// What pfsync0 of the first firewall shows, instead of the wire.
    pub is_pfsync0: bool,
    pub incidents: Vec<(Micros, Incident)>,
    /// Of each firewall; of those not named it is right.
    pub clocks: [Clock; 2],
}

impl Settings {
    /// 20 000 states in 20 minutes, on one firewall.
    pub fn new(dialect: Dialect) -> Self {
        Self {
            seed: 1,
            dialect,
            states: 20_000,
            seconds: 1200,
            nodes: 1,
            downloads: 2,
            download_octets: 4_500_000_000,
            loss: 0.0,
            delay: 200,
            jitter: 100,
            flagged: 1.0,
            bursty: 0.05,
            has_every_way: false,
            is_asked: false,
            longest: None,
            wall: 1_760_000_000,
            is_pfsync0: false,
            incidents: Vec::new(),
            clocks: Default::default(),
        }
    }
}

/// What a state carried, over all firewalls.
#[derive(Clone, Debug)]
pub struct Truth {
    /// The ledger's first line of it; counters and times are of all lines.
    pub account: Account,
    /// Firewalls that passed some of it.
    pub nodes: u32,
}

/// Something on its way on the sync network.
enum Transit {
    /// To the partner of `node`.
    Partner { node: usize, messages: Vec<Message> },
    /// To all firewalls.
    Injected(Vec<u8>),
}

/// The lot.
pub struct World {
    settings: Settings,
    pub nodes: Vec<Firewall>,
    active: usize,
    conversations: Vec<Option<Conversation>>,
    /// When each of them goes on.
    due: BinaryHeap<Reverse<(Micros, usize)>>,
    incidents: VecDeque<(Micros, Incident)>,
    /// In the order of arrival, because delays are nearly the same.
    transit: VecDeque<(Micros, Transit)>,
    heard: VecDeque<(Micros, Vec<u8>)>,
    is_deaf: bool,
    rng: Rng,
    now: Micros,
    /// Packets that did not arrive somewhere.
    pub lost: u64,
}

impl World {
    /// A world at time 0.
    pub fn new(settings: Settings) -> Self {
        let mut rng = Rng::new(settings.seed);
        let nodes = (0..settings.nodes)
            .map(|node| {
                let clock = settings.clocks[node % 2].clone();
                let settings = firewall::Settings {
                    dialect: settings.dialect,
                    address: Ipv4Addr::new(192, 0, 2, 1 + node as u8),
                    hostid: [0x5f3a_9c01, 0x0bad_cafe][node % 2],
                    mtu: 1500,
                    max_updates: 128,
                    longest: settings.longest.unwrap_or(u32::MAX),
                    wall: settings.wall,
                    is_pfsync0: settings.is_pfsync0,
                };
                Firewall::new(settings, clock)
            })
            .collect();
        let mut incidents = settings.incidents.clone();
        incidents.sort_by_key(|(at, _)| *at);
        let mut world = Self {
            nodes,
            active: 0,
            conversations: Vec::new(),
            due: BinaryHeap::new(),
            incidents: incidents.into(),
            transit: VecDeque::new(),
            heard: VecDeque::new(),
            is_deaf: false,
            rng: rng.fork(),
            now: 0,
            lost: 0,
            settings,
        };
        world.plan(&mut rng);
        world
    }

    fn plan(&mut self, rng: &mut Rng) {
        let Settings {
            states,
            seconds,
            downloads,
            flagged,
            bursty,
            dialect,
            ..
        } = self.settings;
        let mix = Mix {
            flagged,
            inet6: 0.18,
            bursty,
            icmp: dialect.icmp,
            has_every_way: self.settings.has_every_way,
            has_af_to: dialect.has_af_to(),
        };
        for number in 0..downloads {
            let more = 0.8 * rng.unit();
            let payload = self.settings.download_octets as f64 * (1.0 + more);
            let made = mix.download(rng, payload as u64);
            let start = SECOND + number as u64 * seconds * SECOND / (4 * downloads as u64 + 1);
            self.add(made, start);
        }
        let mut made = 0;
        while made < states {
            let conversation = mix.conversation(rng);
            made += conversation.paths.len();
            let start = rng.below(seconds * SECOND * 9 / 10);
            self.add(conversation, start);
        }
    }

    /// Adds a connection.
    pub fn add(&mut self, mut conversation: Conversation, start: Micros) {
        if let Some(longest) = self.settings.longest {
            conversation.until = start + u64::from(longest) * SECOND;
        }
        let number = self.conversations.len();
        for path in &mut conversation.paths {
            path.connection = Some(number);
        }
        self.due.push(Reverse((start, number)));
        self.conversations.push(Some(conversation));
    }

    /// When something happens next; None at the end of the scenario.
    pub fn poll_timeout(&self) -> Option<Micros> {
        let nodes = self.nodes.iter().map(Firewall::poll_timeout);
        let due = self.due.peek().map(|Reverse((at, _))| *at);
        let incident = self.incidents.front().map(|(at, _)| *at);
        let transit = self.transit.front().map(|(at, _)| *at);
        let next = nodes.chain(due).chain(incident).chain(transit).min()?;
        (next <= self.settings.seconds * SECOND).then_some(next)
    }

    /// Does everything up to `now`.
    pub fn run_until(&mut self, now: Micros) {
        while let Some(next) = self.poll_timeout().filter(|next| *next <= now) {
            self.now = next;
            self.deliver(next);
            for node in 0..self.nodes.len() {
                self.nodes[node].advance(next);
            }
            while self.incidents.front().is_some_and(|(at, _)| *at <= next) {
                if let Some((_, incident)) = self.incidents.pop_front() {
                    self.happen(incident, next);
                }
            }
            while self.due.peek().is_some_and(|Reverse((at, _))| *at <= next) {
                if let Some(Reverse((_, number))) = self.due.pop() {
                    self.go_on(number, next);
                }
            }
            self.collect();
        }
        self.now = now;
    }

    fn deliver(&mut self, now: Micros) {
        while self.transit.front().is_some_and(|(at, _)| *at <= now) {
            match self.transit.pop_front() {
                Some((at, Transit::Partner { node, messages })) => {
                    self.nodes[node].hear(&messages, at);
                }
                Some((at, Transit::Injected(packet))) => {
                    for node in &mut self.nodes {
                        // a bad packet is counted there
                        let _requests = node.receive(&packet, at);
                    }
                }
                None => break,
            }
        }
    }

    fn happen(&mut self, incident: Incident, now: Micros) {
        match incident {
            Incident::Failover => self.active = (self.active + 1) % self.nodes.len(),
            Incident::Clear => self.nodes[self.active].clear(now),
            Incident::Deaf(is_deaf) => self.is_deaf = is_deaf,
            Incident::Reboot => {
                self.nodes[self.active].reboot(now);
                self.nodes[self.active].request_bulk(now);
                self.active = (self.active + 1) % self.nodes.len();
            }
        }
    }

    /// The next packets of a connection.
    fn go_on(&mut self, number: usize, now: Micros) {
        let Some(conversation) = self.conversations[number].as_mut() else {
            return;
        };
        let next = conversation.next().filter(|_| now <= conversation.until);
        let Some((bursts, wait)) = next else {
            self.conversations[number] = None;
            return;
        };
        let firewall = &mut self.nodes[self.active];
        let is_through = bursts
            .iter()
            .all(|burst| pass(firewall, conversation, burst, now));
        if is_through {
            self.due.push(Reverse((now + wait, number)));
        } else {
            // its ends give up
            self.conversations[number] = None;
        }
    }

    /// Puts what the firewalls sent on the wire.
    fn collect(&mut self) {
        for node in 0..self.nodes.len() {
            while let Some(sent) = self.nodes[node].poll_packet() {
                self.transmit(node, sent);
            }
        }
    }

    fn transmit(&mut self, node: usize, sent: Sent) {
        let Sent {
            at,
            messages,
            packet,
        } = sent;
        if self.nodes.len() > 1 {
            let partner = (node + 1) % self.nodes.len();
            if let Some(at) = self.arrival(at, self.transit.back().map(|(at, _)| *at)) {
                self.transit.push_back((
                    at,
                    Transit::Partner {
                        node: partner,
                        messages,
                    },
                ));
            }
        }
        if self.is_deaf {
            return;
        }
        if self.settings.is_pfsync0 {
            if node == 0 {
                self.heard.push_back((at, self.tapped(packet)));
            }
        } else if let Some(at) = self.arrival(at, self.heard.back().map(|(at, _)| *at)) {
            self.heard.push_back((at, packet));
        }
    }

    /// When something sent at `at` arrives behind `last`, if it does.
    fn arrival(&mut self, at: Micros, last: Option<Micros>) -> Option<Micros> {
        if self.rng.is(self.settings.loss) {
            self.lost += 1;
            return None;
        }
        let late = self.settings.delay + self.rng.below(self.settings.jitter + 1);
        Some((at + late).max(last.unwrap_or(0)))
    }

    /// What bpf on pfsync0 shows: no IP header, but from 7.4 on one that is not filled in yet.
    fn tapped(&self, mut packet: Vec<u8>) -> Vec<u8> {
        if self.settings.dialect.era == Era::Slices {
            packet[10..16].fill(0);
        } else {
            packet.drain(..IP_HEADER);
        }
        packet
    }

    /// The next packet that the listener hears: when, and what, from the IP header on.
    pub fn poll_packet(&mut self) -> Option<(Micros, Vec<u8>)> {
        self.heard.pop_front()
    }

    /// A packet of a third party, IPv4 header and all, for every firewall.
    pub fn inject(&mut self, packet: Vec<u8>, at: Micros) {
        if let Some(at) = self.arrival(at, self.transit.back().map(|(at, _)| *at)) {
            self.transit.push_back((at, Transit::Injected(packet)));
        }
    }

    /// Asks for the states whose last packet is 3 s old, as a listener would. It is to be called each
    /// second. It does not ask for all states: an answer renews the partner's copy, so that two
    /// firewalls would keep each other's states alive for ever.
    pub fn ask_for_silent(&mut self, now: Micros) {
        let is_silent = |account: &Account| {
            let last = account.last.unwrap_or(now);
            (3..4).contains(&((now - last) / SECOND))
        };
        let accounts = self.nodes.iter().flat_map(|node| {
            let states = node.states.iter().flatten();
            states.map(|state| &node.accounts[state.account])
        });
        let silent = accounts.filter(|account| is_silent(account));
        let ids: BTreeSet<(u64, u32)> = silent
            .map(|account| (account.id, account.creator))
            .collect();
        let requests: Vec<Message> = ids
            .into_iter()
            .map(|(id, creator)| Message::UpdateRequest { id, creator })
            .collect();
        for requests in requests.chunks(80) {
            let pfsync = wire::packet(requests, &self.settings.dialect);
            self.inject(wire::ip(Ipv4Addr::new(192, 0, 2, 9), 7, &pfsync), now);
        }
    }

    /// Microseconds since 1970.
    pub fn stamp(&self, at: Micros) -> u64 {
        self.settings.wall * SECOND + at
    }

    /// What really passed, by state, in the order of the states.
    pub fn truth(&self) -> Vec<Truth> {
        let mut all: BTreeMap<(Micros, u64, u32), Truth> = BTreeMap::new();
        let mut keys: BTreeMap<(u64, u32), (Micros, u64, u32)> = BTreeMap::new();
        for account in self.nodes.iter().flat_map(|node| &node.accounts) {
            let id = (account.id, account.creator);
            let key = *keys.entry(id).or_insert((account.created, id.0, id.1));
            let truth = all.entry(key).or_insert_with(|| Truth {
                account: Account {
                    packets: [0; 2],
                    octets: [0; 2],
                    ..account.clone()
                },
                nodes: 0,
            });
            truth.add(account);
        }
        all.into_values().collect()
    }
}

impl Truth {
    fn add(&mut self, line: &Account) {
        let sum = &mut self.account;
        for side in [Side::Initiator as usize, Side::Responder as usize] {
            sum.packets[side] += line.packets[side];
            sum.octets[side] += line.octets[side];
        }
        self.nodes += u32::from(line.packets != [0; 2]);
        sum.last = sum.last.max(line.last);
        if line.path.connection.is_some() {
            // the node that made it knows when, and what for
            (sum.created, sum.path) = (line.created, line.path.clone());
        }
        sum.is_announced |= line.is_announced;
        sum.removed = sum.removed.max(line.removed);
        // the node that ended it knows why; its partner only heard of it
        if matches!(sum.ended, Ended::Partner | Ended::Alive | Ended::Reboot)
            && line.ended != Ended::Partner
        {
            sum.ended = line.ended;
        }
    }
}

/// One burst through all that a connection has on the firewall, in the order of its way.
fn pass(firewall: &mut Firewall, conversation: &Conversation, burst: &Burst, now: Micros) -> bool {
    let mut paths: Vec<_> = conversation.paths.iter().collect();
    if burst.from == Side::Responder {
        paths.reverse();
    }
    paths
        .into_iter()
        .all(|path| firewall.pass(path, burst, now))
}
