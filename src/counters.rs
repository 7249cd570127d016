//! Counters: plain numbers. Each set has one table of names and help texts, which the log, the
//! closing summary and the control program all read.
//!
//! Whatever is dropped, skipped or refused anywhere in the program has a counter here.

use std::io;

use crate::wire::link::Skip;
use crate::wire::pfsync::{Action, Error};

/// One counter as it is shown: its name, what it counts, its value.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Counter {
    /// Name, as in JSON.
    pub name: &'static str,
    /// What it counts.
    pub help: &'static str,
    /// Whether it only goes up.
    pub kind: Kind,
    /// How many.
    pub value: u64,
}

/// What can become of a counter's value.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Kind {
    /// It goes up until the program ends.
    #[default]
    Counter,
    /// It goes up and down: the value now, or the greatest so far.
    Gauge,
}

impl Counter {
    /// What is now.
    pub fn gauge((name, help, value): (&'static str, &'static str, u64)) -> Self {
        let kind = Kind::Gauge;
        Self {
            name,
            help,
            kind,
            value,
        }
    }

    /// What was counted.
    pub fn total((name, help, value): (&'static str, &'static str, u64)) -> Self {
        let kind = Kind::Counter;
        Self {
            name,
            help,
            kind,
            value,
        }
    }
}

macro_rules! kind {
    () => {
        Kind::Counter
    };
    (gauge) => {
        Kind::Gauge
    };
}

macro_rules! counters {
    ($(#[$doc:meta])* $name:ident { $($field:ident: $($kind:ident)? $help:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
        pub struct $name { $(#[doc = $help] pub $field: u64,)* }

        impl $name {
            /// Every counter, in the order of the table.
            pub fn iter(&self) -> impl Iterator<Item = Counter> + '_ {
                [$(Counter {
                    name: stringify!($field),
                    help: $help,
                    kind: kind!($($kind)?),
                    value: self.$field,
                },)*]
                    .into_iter()
            }

            /// Every value, in the order of the table.
            pub fn values_mut(&mut self) -> Vec<&mut u64> {
                vec![$(&mut self.$field,)*]
            }
        }
    };
}

counters! {
    /// What the sources handed over.
    SourceCounters {
        packets: "packets captured",
        octets: "octets captured",
        kernel_dropped: "packets dropped by the kernel's capture buffer",
        interface_dropped: "packets dropped by the interface",
        lost: "captures lost",
        reopened: "captures opened again",
    }
}

counters! {
    /// The state table.
    TableCounters {
        inserted: "states learned",
        joined: "connections whose two states were exported as one flow",
        unjoined: "states exported by themselves where connections are",
        waited_out: "states that ended a minute before the other of their connection",
        deleted: "states ended by DEL or DEL_C",
        cleared: "states ended by CLR",
        expired: "states ended by their timeout, their delete was missed",
        evicted: "states ended to make room",
        replaced: "states ended because their id came with another key or age",
        flushed: "states ended by the end of the program, as flush active asks",
        dead: "messages about states that were dead already",
        unknown_update: "UPD_C of states not known",
        unknown_delete: "DEL_C of states not known",
        late: "full states older than what was known",
        restarted: "counters that began again at their sender",
        steps: "steps that senders' clocks made",
        ended_too_early: "overdue states heard of again",
        shares_refused: "counters of further senders of a state and estimates, left out for a bound",
        routes_refused: "addresses that states are routed to, beyond the bound, not told",
        senders_refused: "senders beyond the bound, counted as one",
        names_refused: "interface names beyond the bound, forgotten",
        host_ids_shared: "host ids that two firewalls use, their states told apart by sender",
        host_ids_refused: "states with the id of another firewall's, beyond the bound not told apart",
        restored: "states read back from the keep file",
        not_restored: "states in the keep file for which there was no room",
        unconfirmed: "states read back after a crash and not heard of again, dropped",
    }
}

impl TableCounters {
    /// States that came in: each is held, made a flow or was dropped.
    pub fn came(&self) -> u64 {
        self.inserted + self.restored
    }

    /// States that made a flow: each was exported or left out.
    pub fn ended(&self) -> u64 {
        let told = self.deleted + self.cleared + self.replaced;
        told + self.expired + self.evicted + self.flushed
    }

    /// States that were dropped without a flow.
    pub fn dropped(&self) -> u64 {
        self.unconfirmed
    }
}

counters! {
    /// What the states of one sender showed.
    SenderCounters {
        learned: "states learned from it",
        unmarked: "states learned from it whose rule does not say pflow",
        unknown_updates: "UPD_C of states not known",
    }
}

mod asking;

pub use asking::{PfCounters, SolicitCounters};

counters! {
    /// Flows on their way from the table to the interfaces.
    FlowCounters {
        exported: "flows exported",
        records: "records they made: one a direction with octets",
        octets: "octets in flows exported",
        exact: "flows as their firewalls counted them",
        exact_octets: "octets in flows as their firewalls counted them",
        estimated: "flows of which a part is estimated",
        estimated_octets: "octets in flows of which a part is estimated",
        partial: "flows known to be short",
        partial_octets: "octets in flows known to be short",
        unflagged: "flows left out: their rule does not say pflow (-a exports them)",
        direction: "flows left out by -S",
        filtered: "flows left out by -F",
        empty: "flows left out: no octets either way",
        clamped: "flows with times clamped: before boot, or the first packet after the last",
    }
}

impl FlowCounters {
    /// Flows that are no interface's to export.
    pub fn left_out(&self) -> u64 {
        self.unflagged + self.direction + self.filtered + self.empty
    }
}

/// Protocols whose flows are counted apart, by quality, and the IP protocol numbers of each. The last
/// has all others.
const PROTOCOLS: [(&str, &[u8]); 5] = [
    ("tcp", &[6]),
    ("udp", &[17]),
    ("icmp", &[1, 58]),
    ("sctp", &[132]),
    ("other", &[]),
];

/// The place in [`PROTOCOLS`] of each IP protocol.
const PLACES: [u8; 256] = places();

#[expect(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "places and numbers are below the lengths of their tables"
)]
const fn places() -> [u8; 256] {
    let mut places = [PROTOCOLS.len() as u8 - 1; 256];
    let mut place = 0;
    while place < PROTOCOLS.len() {
        let mut n = 0;
        while n < PROTOCOLS[place].1.len() {
            places[PROTOCOLS[place].1[n] as usize] = place as u8;
            n += 1;
        }
        place += 1;
    }
    places
}

/// What flows' counters can be worth, in the order of [`QualityCounters`].
pub const QUALITIES: usize = 3;

counters! {
    /// Flows of one protocol by what their counters are worth.
    QualityCounters {
        exact: "flows as their firewalls counted them",
        exact_octets: "octets in flows as their firewalls counted them",
        estimated: "flows of which a part is estimated",
        estimated_octets: "octets in flows of which a part is estimated",
        partial: "flows known to be short",
        partial_octets: "octets in flows known to be short",
    }
}

/// Flows and their octets.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Tally {
    /// Flows.
    pub flows: u64,
    /// Octets in them.
    pub octets: u64,
}

/// Flows by protocol and quality. Nothing else is counted of each flow's worth, because the numbers
/// of a protocol, of a quality and of all flows are sums of these.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ProtocolCounters([[Tally; QUALITIES]; PROTOCOLS.len()]);

impl ProtocolCounters {
    /// How many protocols are told apart, all others being one.
    pub const COUNT: usize = PROTOCOLS.len();

    /// The place of IP protocol `proto` among those.
    pub fn place(proto: u8) -> usize {
        let place = PLACES.get(usize::from(proto)).copied();
        place.unwrap_or_default().into()
    }

    /// Counts a flow of IP protocol `proto`, of the quality with this number and of so many octets.
    #[inline(always)]
    #[expect(
        clippy::indexing_slicing,
        reason = "there are counters for every place, and a quality is less than their number"
    )]
    pub fn add(&mut self, proto: u8, quality: usize, octets: u64) {
        let tally = &mut self.0[usize::from(PLACES[usize::from(proto)])][quality % QUALITIES];
        count(&mut tally.flows, 1);
        tally.octets = tally.octets.saturating_add(octets);
    }

    /// The name of each protocol and its counters.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, QualityCounters)> {
        let counters = self.0.iter().map(QualityCounters::from);
        PROTOCOLS.iter().map(|(name, _)| *name).zip(counters)
    }

    /// Those of all protocols together.
    pub fn all(&self) -> QualityCounters {
        let mut all = [Tally::default(); QUALITIES];
        for protocol in &self.0 {
            for (all, tally) in all.iter_mut().zip(protocol) {
                all.flows += tally.flows;
                all.octets = all.octets.saturating_add(tally.octets);
            }
        }
        QualityCounters::from(&all)
    }
}

impl From<&[Tally; QUALITIES]> for QualityCounters {
    fn from([exact, estimated, partial]: &[Tally; QUALITIES]) -> Self {
        Self {
            exact: exact.flows,
            exact_octets: exact.octets,
            estimated: estimated.flows,
            estimated_octets: estimated.octets,
            partial: partial.flows,
            partial_octets: partial.octets,
        }
    }
}

impl QualityCounters {
    /// Flows of every quality.
    pub fn flows(&self) -> u64 {
        self.exact + self.estimated + self.partial
    }

    /// Octets in them.
    pub fn octets(&self) -> u64 {
        let both = self.exact_octets.saturating_add(self.estimated_octets);
        both.saturating_add(self.partial_octets)
    }
}

counters! {
    /// One pflow interface.
    InterfaceCounters {
        flows: "flows and parts of them offered",
        parts: "parts of flows, which have an active timeout",
        idle: "flows passed over, not RUNNING",
        direction: "flows passed over, of the other direction",
        filtered: "flows passed over, not those of only",
        ipv6: "IPv6 flows that NetFlow v5 cannot carry",
        clipped: "flows with more octets than can be split over v5 records",
        clamped: "flows with times earlier than v5's 32 bits can tell",
        events: "NAT events packed, counted among the records",
        crowded: "flows in domain 0 because there are too many creatorids",
        records: "records packed: sent, refused or held",
        records_sent: "records in datagrams sent",
        records_refused: "records in datagrams that could not be sent",
        datagrams: "datagrams sent, templates included",
        templates: "messages of templates and options made",
        octets: "octets of UDP payload sent",
        send_errors: "datagrams that could not be sent",
        no_memory: "datagrams that could not be sent for want of buffers",
        overtaken: "datagrams dropped because the rate let too few go",
        unqueued: "messages that waited for a collector and were dropped: too many, or at the end",
        connected: "connections made",
        disconnected: "connections lost",
        unconnected: "connections that could not be made",
        renewed: "DTLS sessions ended for their age, others began",
        spooled: "records written to the spool",
        unspooled: "records sent from the spool and acknowledged",
        spool_found: "records of an earlier run found in the spool",
        spool_left: "records left in the spool by an interface that gave it up",
        spool_dropped: "records dropped because the spool or its disk was full, or damaged",
        in_doubt: "records sent by connections that were lost, not acknowledged",
        files: "files finished",
        files_removed: "files removed, more than are to be retained",
        refused: "reports that nobody listens at the collector",
        unreachable: "reports that the collector cannot be reached",
        tapped: "datagrams handed to taps and not lost there",
        tap_dropped: "datagrams that taps lost, their reader or disk was too slow or full",
        tap_sourceless: "datagrams tapped with source address 0.0.0.0 or ::, the system did not tell it",
    }
}

impl InterfaceCounters {
    /// Datagrams made, whether they could be sent or not (`pflow_opackets`).
    pub fn built(&self) -> u64 {
        self.datagrams + self.send_errors + self.no_memory + self.overtaken + self.unqueued
    }

    /// Datagrams that were sent and of which nothing bad was reported.
    pub fn unreported(&self) -> u64 {
        self.datagrams
            .saturating_sub(self.refused + self.unreachable)
    }

    /// Adds what another interface counted.
    pub fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.values_mut().into_iter().zip(other.iter()) {
            *mine += theirs.value;
        }
    }
}

/// What the system reported of datagrams sent earlier.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Reports {
    /// That nobody listens.
    pub refused: u64,
    /// That there is no way to the collector.
    pub unreachable: u64,
}

impl Reports {
    /// Counts one.
    pub fn note(&mut self, report: &io::Error) {
        match report.kind() {
            io::ErrorKind::ConnectionRefused => self.refused += 1,
            _ => self.unreachable += 1,
        }
    }
}

counters! {
    /// Keeping the table over a restart.
    KeepCounters {
        written: "keep files written",
        skipped: "keep files left out, the one before was not written yet",
        failed: "keep files that could not be written",
        octets: gauge "octets of the last keep file written",
    }
}

counters! {
    /// The control sockets.
    ControlCounters {
        accepted: "clients let in",
        requests: "requests answered",
        refused: "requests refused with an error",
        made_room: "clients closed to make room for others, silent the longest",
        timed_out: "clients closed because they were too slow",
        too_long: "clients closed because of lines beyond the bound",
        longest_step: gauge "microseconds of processor time that the longest step of an answer took",
    }
}

/// Reasons for which a packet was not read, or not whole, with their names and help texts.
pub const REASONS: [(&str, &str); Reason::COUNT] = [
    ("not_ip", "neither IPv4 nor IPv6"),
    ("not_pfsync", "another protocol than 240"),
    ("fragment", "IP fragments"),
    ("bad_ip", "malformed IP headers"),
    ("bad_ttl", "TTL or hop limit is not 255"),
    ("unknown_link", "link type not known"),
    ("short_frame", "capture ends inside a header"),
    ("bad_header", "too short for a pfsync header"),
    ("old_version", "pfsync version 1"),
    ("bad_version", "unknown pfsync version"),
    ("bad_length", "length does not fit the packet"),
    ("bad_subheader", "subheader makes no sense"),
    ("bad_action", "unknown action"),
    ("bad_message", "messages reach beyond the packet"),
    ("bad_size", "messages shorter than their action's"),
    ("bad_value", "a message with impossible values"),
    ("cut", "cut off by the capture, read as far as it goes"),
];

/// Why a packet was not read, or not whole: an index into [`REASONS`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Reason(usize);

impl Reason {
    /// How many there are.
    pub const COUNT: usize = 17;

    /// Its name.
    pub fn name(self) -> &'static str {
        REASONS.get(self.0).map_or("", |(name, _)| name)
    }
}

impl From<Skip> for Reason {
    fn from(skip: Skip) -> Self {
        Self(match skip {
            Skip::NotIp => 0,
            Skip::NotPfsync => 1,
            Skip::Fragment => 2,
            Skip::BadIp => 3,
            Skip::BadTtl => 4,
            Skip::UnknownLink => 5,
            Skip::Truncated => 6,
        })
    }
}

impl From<Error> for Reason {
    fn from(error: Error) -> Self {
        Self(match error {
            Error::Header { .. } => 7,
            Error::OldVersion => 8,
            Error::Version(_) => 9,
            Error::Length { .. } => 10,
            Error::Subheader { .. } => 11,
            Error::Action { .. } => 12,
            Error::Messages { .. } => 13,
            Error::Size { .. } => 14,
            Error::Value { .. } => 15,
            Error::Cut { .. } => 16,
        })
    }
}

/// Counts `more`. A counter of 64 bits does not overflow in a thousand years, so nothing tests for
/// that. The test would make five instructions of one.
#[inline(always)]
pub fn count(counter: &mut u64, more: u64) {
    *counter = counter.wrapping_add(more);
}

/// Messages by action.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct MessageCounters([u64; Action::ALL.len()]);

impl MessageCounters {
    /// Counts so many messages of `action`.
    pub fn add(&mut self, action: Action, messages: u64) {
        if let Some(counter) = self.0.get_mut(action.index()) {
            count(counter, messages);
        }
    }

    /// How many there were of each action.
    pub fn by_action(&self) -> impl Iterator<Item = (Action, u64)> + '_ {
        Action::ALL.iter().copied().zip(self.0)
    }
}

/// What became of packets: each is read whole or counted under one reason.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct PacketCounters {
    /// Packets read whole.
    pub whole: u64,
    reasons: [u64; Reason::COUNT],
    messages: MessageCounters,
}

impl PacketCounters {
    /// Counts a packet that was not read whole.
    pub fn note(&mut self, reason: Reason) {
        if let Some(count) = self.reasons.get_mut(reason.0) {
            *count += 1;
        }
    }

    /// Counts so many messages of `action`.
    pub fn add_messages(&mut self, action: Action, messages: u64) {
        self.messages.add(action, messages);
    }

    /// Packets by reason.
    pub fn reasons(&self) -> impl Iterator<Item = Counter> + '_ {
        REASONS
            .iter()
            .zip(self.reasons)
            .map(|(&(name, help), value)| Counter::total((name, help, value)))
    }

    /// Messages by action.
    pub fn actions(&self) -> impl Iterator<Item = (Action, u64)> + '_ {
        self.messages.by_action()
    }

    /// All packets seen.
    pub fn packets(&self) -> u64 {
        self.whole + self.reasons.iter().sum::<u64>()
    }

    /// All messages read.
    pub fn messages(&self) -> u64 {
        self.messages.by_action().map(|(_, count)| count).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_name() {
        let mut names: Vec<_> = REASONS.iter().map(|(name, _)| name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Reason::COUNT);
        assert_eq!(Reason::from(Error::Cut { missing: 1 }).name(), "cut");
        assert_eq!(Reason::from(Skip::Truncated).name(), "short_frame");
        assert_eq!(Reason::from(Error::Header { have: 1 }).name(), "bad_header");
    }

    #[test]
    fn each_protocol_has_its_flows() {
        let mut counters = ProtocolCounters::default();
        for proto in 0..=255 {
            counters.add(proto, 0, 10);
        }
        counters.add(17, 2, 5);
        assert_eq!(
            (counters.all().exact, counters.all().partial_octets),
            (256, 5)
        );
        assert_eq!(
            (counters.all().flows(), counters.all().octets()),
            (257, 2565)
        );
        let flows: Vec<_> = counters.iter().map(|(name, of)| (name, of.exact)).collect();
        let expected = [
            ("tcp", 1),
            ("udp", 1),
            ("icmp", 2),
            ("sctp", 1),
            ("other", 251),
        ];
        assert_eq!(flows, expected);
    }

    #[test]
    fn a_packet_is_whole_or_has_one_reason() {
        let mut counters = PacketCounters::default();
        counters.whole += 2;
        counters.note(Reason::from(Error::OldVersion));
        assert_eq!(counters.packets(), 3);
        assert_eq!(counters.reasons().map(|c| c.value).sum::<u64>(), 1);
    }
}
