//! Who carried how much: sums by a key, in memory that is bounded.
//!
//! ```text
//! flow -> one or two (key, amount) -> amounts, at most twice `limit` keys
//!                                       full: the smaller half falls out -> others
//! ```
//! Keys that fall out stay in the sums as `others`. A key that fell out and came back lacks its
//! earlier amount. That amount is at most `Tally::lacking`, the sum of the largest amount of each
//! fall.

use std::collections::HashMap;
use std::fmt::{self, Display};
use std::net::IpAddr;

use super::words::Protocol;
use crate::flow::{Detail, Flow, Quality, Tuple};
use crate::state::IfName;

/// What sums are made by.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum By {
    /// Source address of a record, before translation.
    Source,
    /// Destination address of a record, before translation.
    Destination,
    /// Either: a flow counts for both its ends.
    Host,
    /// The responder's port.
    Port,
    /// IP protocol.
    Protocol,
    /// Interface that the state is bound to, or that a connection came in on.
    Interface,
    /// Rule that made the state.
    Rule,
    /// Firewall that spoke of it last.
    Firewall,
    /// Address that was put in the place of the initiator's, or else of the responder's.
    Nat,
}

impl By {
    /// Every key with its name.
    pub const VALUES: &'static [(&'static str, Self)] = &[
        ("src", Self::Source),
        ("dst", Self::Destination),
        ("host", Self::Host),
        ("port", Self::Port),
        ("proto", Self::Protocol),
        ("interface", Self::Interface),
        ("rule", Self::Rule),
        ("firewall", Self::Firewall),
        ("nat", Self::Nat),
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        let found = Self::VALUES.iter().find(|(_, by)| *by == self);
        found.map_or("", |(name, _)| name)
    }

    /// Whether it is told by full states only.
    pub fn is_detail(self) -> bool {
        matches!(self, Self::Rule | Self::Firewall)
    }

    /// Gives each key of `flow` with what the flow adds to it. `None`: it has no such key.
    pub(super) fn each(self, flow: &Flow, mut take: impl FnMut(Option<TallyKey>, Carried)) {
        if let Self::Source | Self::Destination = self {
            for record in flow.records() {
                let Tuple { af, src, dst, .. } = record.tuple;
                let address = if self == Self::Source { src } else { dst };
                let amount = Carried::of(flow, record.packets, record.octets);
                take(Some(TallyKey::Address(address.ip(af))), amount);
            }
            return;
        }
        let amount = Carried::of_flow(flow);
        let Tuple { af, src, dst, .. } = flow.tuple;
        match self {
            Self::Source | Self::Destination => {}
            Self::Host => {
                take(Some(TallyKey::Address(src.ip(af))), amount);
                if dst != src {
                    take(Some(TallyKey::Address(dst.ip(af))), amount);
                }
            }
            Self::Port => take(Some(TallyKey::port(&flow.tuple)), amount),
            Self::Protocol => take(Some(TallyKey::Protocol(flow.tuple.proto)), amount),
            Self::Interface => take(Some(TallyKey::Interface(flow.ifname)), amount),
            Self::Rule => take(flow.detail.as_ref().and_then(TallyKey::rule), amount),
            Self::Firewall => {
                let sender = flow.detail.map(|detail| TallyKey::Firewall(detail.sender));
                take(sender, amount);
            }
            Self::Nat => {
                let after = flow.translated.as_ref();
                take(
                    after.and_then(|after| translated(&flow.tuple, after)),
                    amount,
                );
            }
        }
    }
}

/// The address that was put in the place of the initiator's, or else of the responder's.
fn translated(before: &Tuple, after: &Tuple) -> Option<TallyKey> {
    let ends = [(before.src, after.src), (before.dst, after.dst)];
    let mut changed = ends
        .into_iter()
        .filter(|(old, new)| before.af != after.af || old != new);
    changed
        .next()
        .map(|(_, new)| TallyKey::Address(new.ip(after.af)))
}

/// What an amount is of.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(super) enum TallyKey {
    Address(IpAddr),
    /// Of a protocol that has ports.
    Port(u8, u16),
    Protocol(u8),
    Interface(IfName),
    /// Anchor, all ones for the main ruleset, and number.
    Rule(u32, u32),
    Firewall(Option<IpAddr>),
}

impl TallyKey {
    fn port(tuple: &Tuple) -> Self {
        // TCP, UDP, DCCP, SCTP, UDP-Lite.
        match tuple.proto {
            proto @ (6 | 17 | 33 | 132 | 136) => Self::Port(proto, tuple.dport),
            proto => Self::Protocol(proto),
        }
    }

    pub(super) fn rule(detail: &Detail) -> Option<Self> {
        (detail.dialect != 0).then_some(Self::Rule(detail.anchor, detail.rule))
    }
}

impl Display for TallyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) | Self::Firewall(Some(address)) => address.fmt(f),
            Self::Firewall(None) => f.pad("local"),
            Self::Port(proto, port) => f.pad(&format!("{port}/{}", Protocol(*proto))),
            Self::Protocol(proto) => Protocol(*proto).fmt(f),
            Self::Interface(name) if name.is_empty() => f.pad("-"),
            Self::Interface(name) => f.pad(&name.to_string()),
            Self::Rule(_, u32::MAX) => f.pad("-"),
            Self::Rule(u32::MAX, rule) => f.pad(&rule.to_string()),
            Self::Rule(anchor, rule) => f.pad(&format!("{anchor}/{rule}")),
        }
    }
}

/// What sums are ordered by.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Measure {
    /// Octets.
    Octets,
    /// Packets.
    Packets,
    /// Flows.
    Flows,
}

impl Measure {
    /// Each with its name.
    pub const VALUES: &'static [(&'static str, Self)] = &[
        ("octets", Self::Octets),
        ("packets", Self::Packets),
        ("flows", Self::Flows),
    ];
}

/// So much was carried.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Carried {
    pub(super) flows: u64,
    pub(super) packets: u64,
    pub(super) octets: u64,
    /// Octets of flows whose counters are exact.
    pub(super) exact: u64,
}

impl Carried {
    fn of(flow: &Flow, packets: u64, octets: u64) -> Self {
        Self {
            flows: 1,
            packets,
            octets,
            exact: if flow.quality == Quality::Exact {
                octets
            } else {
                0
            },
        }
    }

    /// What the records of `flow` carried.
    pub(super) fn of_flow(flow: &Flow) -> Self {
        let (mut packets, mut octets) = (0_u64, 0_u64);
        for record in flow.records() {
            packets = packets.saturating_add(record.packets);
            octets = octets.saturating_add(record.octets);
        }
        Self::of(flow, packets, octets)
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.flows = self.flows.saturating_add(other.flows);
        self.packets = self.packets.saturating_add(other.packets);
        self.octets = self.octets.saturating_add(other.octets);
        self.exact = self.exact.saturating_add(other.exact);
    }

    pub(super) fn by(&self, measure: Measure) -> u64 {
        match measure {
            Measure::Octets => self.octets,
            Measure::Packets => self.packets,
            Measure::Flows => self.flows,
        }
    }
}

/// Sums by key.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    by: By,
    measure: Measure,
    /// Keys that stay when some fall out.
    limit: usize,
    amounts: HashMap<TallyKey, Carried, foldhash::fast::RandomState>,
    /// What has no key.
    keyless: Carried,
    /// What fell out.
    fallen: Carried,
    /// Keys that fell out, each as often as it did.
    falls: u64,
    lacking: u64,
}

/// The largest sums, and the rest.
pub(super) struct Largest {
    pub(super) rows: Vec<(TallyKey, Carried)>,
    /// The keys behind those, and what fell out.
    pub(super) others: Carried,
    pub(super) other_keys: u64,
}

impl Tally {
    pub(super) fn new(by: By, measure: Measure, limit: usize) -> Self {
        Self {
            by,
            measure,
            limit,
            amounts: HashMap::default(),
            keyless: Carried::default(),
            fallen: Carried::default(),
            falls: 0,
            lacking: 0,
        }
    }

    /// Flows without a key.
    pub(super) fn keyless(&self) -> &Carried {
        &self.keyless
    }

    /// Keys that fell out, each as often as it did.
    pub(super) fn falls(&self) -> u64 {
        self.falls
    }

    /// How much a row may lack, in its measure, because its key fell out before.
    pub(super) fn lacking(&self) -> u64 {
        self.lacking
    }

    pub(super) fn add(&mut self, flow: &Flow) {
        let Self {
            by,
            amounts,
            keyless,
            ..
        } = self;
        by.each(flow, |key, amount| match key {
            Some(key) => amounts.entry(key).or_default().add(&amount),
            None => keyless.add(&amount),
        });
        if self.amounts.len() >= 2 * self.limit {
            self.shed();
        }
    }

    /// Lets the smaller half fall out.
    #[cold]
    fn shed(&mut self) {
        let mut sums: Vec<_> = self.amounts.drain().collect();
        let measure = self.measure;
        sums.select_nth_unstable_by(self.limit, |one, other| order(measure, one, other));
        let gone = sums.split_off(self.limit);
        self.falls += gone.len() as u64;
        let most = gone.iter().map(|(_, amount)| amount.by(measure)).max();
        self.lacking = self.lacking.saturating_add(most.unwrap_or(0));
        gone.iter().for_each(|(_, amount)| self.fallen.add(amount));
        self.amounts.extend(sums);
    }

    /// The `rows` largest sums, and the rest.
    pub(super) fn largest(&self, rows: usize) -> Largest {
        let mut sums: Vec<_> = self.amounts.iter().map(|(key, sum)| (*key, *sum)).collect();
        sums.sort_unstable_by(|one, other| order(self.measure, one, other));
        let rest = sums.split_off(rows.min(sums.len()));
        let mut others = self.fallen;
        rest.iter().for_each(|(_, amount)| others.add(amount));
        Largest {
            rows: sums,
            others,
            other_keys: rest.len() as u64 + self.falls,
        }
    }
}

/// The largest first; of equals the one whose key is less.
fn order(
    measure: Measure,
    one: &(TallyKey, Carried),
    other: &(TallyKey, Carried),
) -> std::cmp::Ordering {
    let by = |of: &(TallyKey, Carried)| (of.1.by(measure), of.1.octets, of.1.flows);
    by(other).cmp(&by(one)).then(one.0.cmp(&other.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{Address, Af};
    use proptest::prelude::*;

    fn flow(host: u8, octets: [u64; 2]) -> Flow {
        let address = |last| Address::from(IpAddr::from([10, 0, 0, last]));
        Flow {
            tuple: Tuple {
                af: Af::Inet,
                proto: 6,
                src: address(host),
                dst: address(host.wrapping_add(1)),
                sport: 1024 + u16::from(host),
                dport: u16::from(host % 7),
            },
            octets,
            packets: octets.map(|octets| octets / 100),
            ..Flow::default()
        }
    }

    proptest! {
        #[test]
        fn sums_of_rows_and_others_are_those_of_all_whatever_falls_out(
            flows in proptest::collection::vec((any::<u8>(), 0..5000_u64, 0..5000_u64), 0..300),
            limit in 1..20_usize,
            rows in 0..30_usize,
        ) {
            let flows: Vec<_> = flows.iter().map(|(host, to, fro)| flow(*host, [*to, *fro])).collect();
            for (_, by) in By::VALUES {
                let mut tally = Tally::new(*by, Measure::Octets, limit);
                let mut truth: HashMap<TallyKey, u64> = HashMap::new();
                let (mut octets, mut packets) = (0, 0);
                for flow in &flows {
                    tally.add(flow);
                    let of_flow = Carried::of_flow(flow);
                    octets += of_flow.octets;
                    packets += of_flow.packets;
                    by.each(flow, |key, amount| {
                        key.into_iter().for_each(|key| *truth.entry(key).or_default() += amount.octets);
                    });
                    prop_assert!(tally.amounts.len() < 2 * limit);
                }
                let largest = tally.largest(rows);
                prop_assert!(largest.rows.len() <= rows);
                let mut all = largest.others;
                all.add(tally.keyless());
                largest.rows.iter().for_each(|(_, amount)| all.add(amount));
                let times = if *by == By::Host { 2 } else { 1 };
                prop_assert_eq!((all.octets, all.packets), (times * octets, times * packets));
                for (key, amount) in &largest.rows {
                    let short = truth[key] - amount.octets;
                    prop_assert!(short <= tally.lacking(), "{} lacks {}", key, short);
                }
            }
        }
    }

    #[test]
    fn a_translated_flow_counts_once_for_the_address_that_took_the_place_of_another() {
        let keys = |after: Tuple| {
            let mut flow = flow(1, [10, 10]);
            flow.translated = Some(after);
            let mut keys = Vec::new();
            By::Nat.each(&flow, |key, _| keys.push(key.map(|key| key.to_string())));
            keys
        };
        let plain = flow(1, [10, 10]).tuple;
        let pool = Address::from(IpAddr::from([192, 0, 2, 1]));
        let named = |address: &str| Some(address.to_owned());
        assert_eq!(keys(Tuple { src: pool, ..plain }), [named("192.0.2.1")]);
        assert_eq!(keys(Tuple { dst: pool, ..plain }), [named("192.0.2.1")]);
        let other = Address::from(IpAddr::from([192, 0, 2, 2]));
        let both = Tuple {
            src: pool,
            dst: other,
            ..plain
        };
        assert_eq!(keys(both), [named("192.0.2.1")]);
        // A port alone is no address.
        assert_eq!(keys(Tuple { sport: 9, ..plain }), [None]);
    }

    #[test]
    fn keys_read_as_pf_writes_them() {
        let keys = [
            TallyKey::Port(6, 443),
            TallyKey::Protocol(1),
            TallyKey::Interface(IfName::default()),
            TallyKey::Rule(u32::MAX, 12),
            TallyKey::Rule(3, 12),
            TallyKey::Rule(u32::MAX, u32::MAX),
            TallyKey::Firewall(None),
        ];
        let text: Vec<_> = keys.iter().map(TallyKey::to_string).collect();
        assert_eq!(text, ["443/tcp", "icmp", "-", "12", "3/12", "-", "local"]);
    }
}
