//! What is allowed and hardly meant.

use super::{Config, Pattern};
use crate::export::{Carrier, Events, Format, Settings, TemplateSet};

impl Config {
    /// What is allowed and hardly meant.
    pub fn warnings(&self) -> Vec<String> {
        let interfaces = self.interfaces.iter();
        let running: Vec<_> = interfaces
            .filter(|(_, settings)| settings.datagrams_to().is_some())
            .collect();
        let mut warnings = Vec::new();
        for (unit, settings) in &self.interfaces {
            for (word, needs) in foreign_words(settings) {
                warnings.push(format!(
                    "pflow{unit}: {word}: only transport {needs} has a use for it"
                ));
            }
        }
        for (number, (unit, settings)) in running.iter().enumerate() {
            let mut before = running.iter().take(number);
            if let Some((other, _)) = before.find(|(_, other)| is_one_exporter(settings, other)) {
                let word = match settings.format {
                    Format::NetFlow5 => "engine",
                    Format::NetFlow9 | Format::Ipfix => "domain",
                };
                warnings.push(format!(
                    "pflow{unit}: the same collector and {word} as pflow{other}: \
                     most collectors cannot tell them apart"
                ));
            }
        }
        for (unit, settings) in &self.interfaces {
            for (word, of) in idle_words(settings) {
                warnings.push(format!("pflow{unit}: {word}: means nothing {of}"));
            }
        }
        warnings
    }
}

/// Whether a collector takes two interfaces for one.
fn is_one_exporter(one: &Settings, other: &Settings) -> bool {
    let address = |settings: &Settings| settings.flowsrc.map(|source| source.address);
    let is_one_source = match (address(one), address(other)) {
        (Some(one), Some(other)) => one == other,
        // The route's may be any.
        _ => true,
    };
    let is_one_domain = match one.format {
        Format::NetFlow5 => one.engine == other.engine,
        Format::NetFlow9 | Format::Ipfix => one.domain == other.domain,
    };
    one.flowdst == other.flowdst && one.format == other.format && is_one_source && is_one_domain
}

/// Words of other transports than the one that is set, with what each would need.
fn foreign_words(settings: &Settings) -> impl Iterator<Item = (&'static str, &'static str)> {
    let default = Settings::default();
    let is_udp = settings.carrier == Carrier::Udp || settings.file.is_some();
    let is_dtls = settings.carrier == Carrier::Dtls && settings.file.is_none();
    let is_secure = settings.carrier.is_secure() && settings.file.is_none();
    let has_refresh = is_udp || is_dtls;
    let words = [
        ("backup", is_udp && !settings.backups.is_empty(), CONNECTED),
        (
            "reconnect",
            is_udp && settings.reconnect != default.reconnect,
            CONNECTED,
        ),
        (
            "queue",
            is_udp && settings.queue != default.queue,
            CONNECTED,
        ),
        ("spool", is_udp && settings.spool.is_some(), CONNECTED),
        ("rate", !is_udp && settings.rate != default.rate, "udp"),
        (
            "refresh",
            !has_refresh && settings.refresh != default.refresh,
            "udp or dtls",
        ),
        (
            "refreshpackets",
            !is_udp
                && settings.format == Format::NetFlow9
                && settings.refresh_packets != default.refresh_packets,
            "udp",
        ),
        ("ca", !is_secure && settings.ca.is_some(), SECURE),
        ("cert", !is_secure && settings.cert.is_some(), SECURE),
        (
            "servername",
            !is_secure && settings.servername.is_some(),
            SECURE,
        ),
        ("pin", !is_secure && !settings.pins.is_empty(), SECURE),
        ("renew", !is_dtls && settings.renew != default.renew, "dtls"),
    ];
    let words = words.into_iter().filter(|(_, is_idle, _)| *is_idle);
    words.map(|(word, _, needs)| (word, needs))
}

/// Transports that have connections.
const CONNECTED: &str = "tcp, tls, dtls or sctp";
/// Transports whose collectors prove who they are.
const SECURE: &str = "tls or dtls";

/// Words that are set and change nothing, and why.
fn idle_words(settings: &Settings) -> impl Iterator<Item = (&'static str, &'static str)> {
    let usual = Settings::default();
    let rotates = settings.rotate != usual.rotate;
    let (of_files, of_collectors) = match &settings.file {
        None => ("without file", ""),
        Some(_) => ("", "with file"),
    };
    let is_full = settings.format == Format::Ipfix && settings.templates == TemplateSet::Full;
    let of_full = if is_full { "" } else { "without template full" };
    let has_time = |file: &String| Pattern::new(file).is_ok_and(|pattern| pattern.has_time());
    let is_timeless = settings.file.as_ref().is_some_and(|file| !has_time(file));
    let words = [
        ("rotate", rotates, of_files),
        (
            "compress",
            settings.compression != usual.compression,
            of_files,
        ),
        ("retain", settings.retain != usual.retain, of_files),
        ("enterprise", settings.enterprise.is_some(), of_full),
        ("statistics", settings.statistics > 0, of_full),
        ("biflow", settings.is_biflow, of_full),
        (
            "delay",
            settings.delay > 0 && settings.events == Events::None,
            "without events nat",
        ),
        ("flowsrc", settings.flowsrc.is_some(), of_collectors),
        (
            "transport",
            settings.carrier != usual.carrier,
            of_collectors,
        ),
        ("rate", settings.rate != usual.rate, of_collectors),
        (
            "refreshpackets",
            settings.refresh_packets != usual.refresh_packets
                && settings.format != Format::NetFlow9,
            "without pflowproto 9",
        ),
        (
            "rotate",
            rotates && is_timeless,
            "in a file whose name has no time",
        ),
    ];
    let idle = words.into_iter();
    let idle = idle.filter(|(_, is_set, why)| *is_set && !why.is_empty());
    idle.map(|(word, _, why)| (word, why))
}
