//! Says in words how exact the flows' counters are, for each protocol. So TCP's exact counters do
//! not hide what UDP lacks.

use std::fmt::Write;

use super::top::percent;
use crate::counters::{ProtocolCounters, QualityCounters};
use crate::flow::Quality;

/// What partial counters mean, with the figures of README's simulation.
pub const PARTIAL: &str = "partial flows are short of what passed: where it was simulated, \
                           UDP that was only listened to told 38 % of its octets, ICMP 18 %";

/// A line for each protocol that there were flows of, and one that says what partial means, if some
/// were.
pub fn lines(counters: &ProtocolCounters) -> Vec<String> {
    let used = counters.iter().filter(|(_, of)| of.flows() > 0);
    let mut lines: Vec<_> = used.map(|(name, of)| line(name, &of)).collect();
    if counters.all().partial > 0 {
        lines.push(PARTIAL.to_owned());
    }
    lines
}

/// `udp: 12 flows, 900 octets: 9 exact of 700 octets, 3 partial of 200 octets; not exact: 25.0% of
/// flows, 22.2% of octets`.
fn line(name: &str, counters: &QualityCounters) -> String {
    let (flows, octets) = (counters.flows(), counters.octets());
    let mut line = format!(
        "{name}: {flows} flows, {octets} octets{}",
        by_quality(counters)
    );
    if let Some([flows, octets]) = inexact(counters) {
        let _ = write!(line, "; not exact: {flows} of flows, {octets} of octets");
    }
    line
}

/// The shares of flows and of octets that are not exact, in percent; `None`: all are.
pub fn inexact(counters: &QualityCounters) -> Option<[String; 2]> {
    let flows = counters.estimated + counters.partial;
    let octets = counters
        .estimated_octets
        .saturating_add(counters.partial_octets);
    (flows > 0).then(|| {
        [
            percent(flows, counters.flows()),
            percent(octets, counters.octets()),
        ]
    })
}

/// `: 7 exact of 1200 octets, 1 partial of 90 octets`. Qualities without flows are left out.
pub fn by_quality(counters: &QualityCounters) -> String {
    let qualities = [
        (Quality::Exact, counters.exact, counters.exact_octets),
        (
            Quality::Estimated,
            counters.estimated,
            counters.estimated_octets,
        ),
        (Quality::Partial, counters.partial, counters.partial_octets),
    ];
    let mut text = String::new();
    let qualities = qualities.into_iter();
    for (quality, flows, octets) in qualities.filter(|(_, flows, _)| *flows > 0) {
        let separator = if text.is_empty() { ':' } else { ',' };
        let name = quality.name();
        let _ = write!(text, "{separator} {flows} {name} of {octets} octets");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_protocol_tells_what_share_is_not_exact_and_the_end_what_partial_means() {
        let mut counters = ProtocolCounters::default();
        assert!(lines(&counters).is_empty());
        counters.add(6, Quality::Exact as usize, 1000);
        let exact = "tcp: 1 flows, 1000 octets: 1 exact of 1000 octets";
        assert_eq!(lines(&counters), [exact]);
        for (quality, octets) in [(Quality::Exact, 700), (Quality::Partial, 200)] {
            counters.add(17, quality as usize, octets);
        }
        let udp = "udp: 2 flows, 900 octets: 1 exact of 700 octets, 1 partial of 200 octets; \
                   not exact: 50.0% of flows, 22.2% of octets";
        assert_eq!(lines(&counters), [exact, udp, PARTIAL]);
    }

    #[test]
    fn an_estimate_is_not_exact_and_not_called_short() {
        let mut counters = ProtocolCounters::default();
        counters.add(6, Quality::Estimated as usize, 9);
        let expected = "tcp: 1 flows, 9 octets: 1 estimated of 9 octets; \
                        not exact: 100.0% of flows, 100.0% of octets";
        assert_eq!(lines(&counters), [expected]);
    }
}
