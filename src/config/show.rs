//! A configuration as text that parses back to the same.

use std::fmt;
use std::net::IpAddr;

use super::values::Quoted;
use super::{Config, DEFAULT_KEEP_INTERVAL};
use crate::accounting::Counting;
use crate::flow::Records;
use crate::solicit;
use crate::state::Timeouts;

/// The name of `value` in its table.
fn name_of<T: PartialEq>(values: &[(&'static str, T)], value: &T) -> &'static str {
    values
        .iter()
        .find(|(_, other)| other == value)
        .map_or("", |(name, _)| name)
}

impl fmt::Display for Config {
    /// One line a setting that is not the default. Interfaces come last, each on a line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fmt_states(f)?;
        self.fmt_program(f)?;
        for (unit, settings) in &self.interfaces {
            writeln!(f, "pflow{unit} {settings}")?;
        }
        Ok(())
    }
}

impl Config {
    /// What is captured, and what is made of it.
    fn fmt_states(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for name in &self.captures {
            writeln!(f, "interface {}", Quoted(name))?;
        }
        if let Some(states) = self.states {
            writeln!(f, "states {states}")?;
        }
        if let Some(time) = self.boottime {
            match time.subsec_nanos() {
                0 => writeln!(f, "boottime {}", time.secs())?,
                nanos => writeln!(f, "boottime {}.{nanos:09}", time.secs())?,
            }
        }
        for ((name, seconds), (_, default)) in self.timeouts.iter().zip(Timeouts::default().iter())
        {
            if seconds != default {
                writeln!(f, "timeout {name} {seconds}")?;
            }
        }
        for (name, index) in &self.ifindexes {
            writeln!(
                f,
                "ifindex {} {index}",
                Quoted(&String::from_utf8_lossy(name))
            )?;
        }
        if self.is_ifindex_auto {
            writeln!(f, "ifindex auto")?;
        }
        if self.counting != Counting::default() {
            writeln!(f, "counters {}", name_of(Counting::VALUES, &self.counting))?;
        }
        if self.records != Records::default() {
            writeln!(f, "records {}", self.records)?;
        }
        if self.is_flush_active {
            writeln!(f, "flush active")?;
        }
        if self.is_join_off {
            writeln!(f, "join off")?;
        }
        Ok(())
    }

    /// How the program deals with its surroundings.
    fn fmt_program(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.socket {
            writeln!(f, "socket {}", Quoted(file))?;
        }
        if let Some(file) = &self.socket_readonly {
            writeln!(f, "socket ro {}", Quoted(file))?;
        }
        if let Some(name) = &self.solicit.interface {
            writeln!(f, "solicit on {}", Quoted(name))?;
        }
        if self.solicit.rate != solicit::DEFAULT_RATE {
            writeln!(f, "solicit rate {}", self.solicit.rate)?;
        }
        for peer in &self.solicit.peers {
            match peer {
                IpAddr::V4(address) => writeln!(f, "solicit peer {address}")?,
                IpAddr::V6(address) => writeln!(f, "solicit peer [{address}]")?,
            }
        }
        if let Some(name) = &self.user {
            writeln!(f, "user {}", Quoted(name))?;
        }
        if let Some(file) = &self.keep.file {
            writeln!(f, "keep file {}", Quoted(file))?;
        }
        if self.keep.interval != DEFAULT_KEEP_INTERVAL {
            writeln!(f, "keep interval {}", self.keep.interval)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Place, apply_line, apply_text};
    use super::*;

    fn config(text: &str) -> Config {
        let mut config = Config::default();
        apply_text(&mut config, "test", text).unwrap();
        config
    }

    #[test]
    fn what_is_printed_parses_back_to_the_same() {
        let text = "\
interface em1
interface \"odd name\"
interface \"=$odd\"
states 5000
boottime 1699900000.000000250
timeout tcp.established 3600
ifindex em0 3
ifindex auto
counters exact
flush active
join off
solicit on em1
solicit rate 50
solicit peer 192.0.2.1
solicit peer [2001:db8::1]
user _pflow
keep file /var/db/pflow/keep
keep interval 5
pflow0 create flowsrc 10.0.0.1:7 flowdst 10.0.0.2:1234 pflowproto 10 mtu 1400 template freebsd \
domain 7 engine 1 255 icmp iana hold 5 refresh 600 active 1800 direction out rate 900 down
pflow1 create flowdst 10.0.0.2:4739 pflowproto 10 transport tcp backup 10.0.0.3:4739 \
backup 10.0.0.4:4739 reconnect 5 queue 64k spool \"/var/spool/a b\" 64M
pflow3 create flowsrc [::1] pflowproto 10 domain creatorid rate none
pflow4 create pflowproto 10 template full enterprise 32473 statistics 60 biflow on events nat delay 9 \
file /var/flows/%Y%m%d%H%M%z.ipfix rotate 300 compress gzip retain 288
pflow5 create pflowproto 10 down only (host 10.0.0.5 or net 2001:db8::/32) and not port 53 and octets > 1000
";
        assert_eq!(config(text).to_string(), text);
    }

    #[test]
    fn nat_events_need_the_full_template_and_the_reason_is_told() {
        let full = "pflow0 pflowproto 10 template full events nat\n";
        for (text, problem) in [
            (
                "pflow0 events nat\n",
                "needs pflowproto 10 and template full",
            ),
            (
                "pflow0 pflowproto 9 template full events nat\n",
                "needs pflowproto 10",
            ),
            ("pflow0 pflowproto 10 events nat\n", "needs template full"),
            (
                "pflow0 pflowproto 10 template freebsd events nat\n",
                "template freebsd has NAT events of its own",
            ),
            (
                &format!("{full}pflow0 template openbsd78\n"),
                "needs template full",
            ),
            (
                &format!("{full}pflow0 pflowproto 5\n"),
                "needs pflowproto 10",
            ),
        ] {
            let error = apply_text(&mut Config::default(), "test", text).unwrap_err();
            let error = error.to_string();
            assert!(
                error.contains("events: nat: ") && error.contains(problem),
                "{error}"
            );
        }
        let off = config(&format!(
            "{full}pflow0 events none delay 3 template freebsd\n"
        ));
        let warned = ["pflow0: delay: means nothing without events nat"];
        assert_eq!(off.warnings(), warned);
        assert_eq!(
            config(&format!("{full}pflow0 delay 3\n")).warnings(),
            [""; 0]
        );
    }

    #[test]
    fn memory_is_printed_in_its_largest_whole_unit() {
        let printed = [
            ("states 256M", "states 256M\n"),
            ("states 256m", "states 256M\n"),
            ("states 1024M", "states 1G\n"),
            ("states 2097152K", "states 2G\n"),
            ("states 5000k", "states 5000k\n"),
            ("states 256", "states 256\n"),
        ];
        for (text, expected) in printed {
            let config = config(text);
            assert_eq!(config.to_string(), expected);
            assert_eq!(self::config(expected), config);
        }
    }

    fn line() -> impl Strategy<Value = String> {
        let address = prop_oneof![
            any::<[u8; 4]>().prop_map(|a| std::net::Ipv4Addr::from(a).to_string()),
            any::<[u8; 16]>().prop_map(|a| format!("[{}]", std::net::Ipv6Addr::from(a))),
        ];
        let word = prop_oneof![
            (address.clone(), any::<u16>()).prop_map(|(a, p)| format!("flowdst {a}:{p}")),
            (address.clone(), any::<u16>()).prop_map(|(a, p)| format!("flowsrc {a}:{p}")),
            address.prop_map(|a| format!("flowsrc {a}")),
            Just("-flowsrc".to_owned()),
            Just("down".to_owned()),
            prop::sample::select(vec!["5", "10"]).prop_map(|p| format!("pflowproto {p}")),
            prop::sample::select(vec!["openbsd", "openbsd78", "freebsd", "full"])
                .prop_map(|t| format!("template {t}")),
            (72u16..=2048).prop_map(|n| format!("mtu {n}")),
            (1u32..).prop_map(|n| format!("domain {n}")),
            Just("domain creatorid".to_owned()),
            (1u32..29305, 0u32..=86400).prop_map(|(e, s)| format!("enterprise {e} statistics {s}")),
            prop::sample::select(vec!["-enterprise", "biflow on", "biflow off", "icmp iana"])
                .prop_map(str::to_owned),
            Just("pflowproto 10 template full events nat".to_owned()),
            Just("events none".to_owned()),
            (0u32..=86400).prop_map(|n| format!("delay {n}")),
            any::<[u8; 2]>().prop_map(|[kind, id]| format!("engine {kind} {id}")),
            (1u32..=30).prop_map(|n| format!("hold {n}")),
            (0u32..=86400).prop_map(|n| format!("active {n}")),
            (1u32..=1_000_000).prop_map(|n| format!("rate {n}")),
            prop::sample::select(vec![
                "transport tcp",
                "transport udp",
                "-backup",
                "queue 3M"
            ])
            .prop_map(str::to_owned),
            (0u8..12).prop_map(|n| format!("backup 192.0.2.{n}:4739")),
            (1u32..=86400).prop_map(|n| format!("reconnect {n}")),
            (65536u32..=1 << 30).prop_map(|n| format!("queue {n}")),
            (1u64 << 20..=64 << 30).prop_map(|n| format!("spool /var/spool {n}")),
            Just("-spool".to_owned()),
            prop::sample::select(vec![
                "rate none",
                "-rate",
                "-flowdst",
                "-file",
                "compress gzip"
            ])
            .prop_map(str::to_owned),
            prop::sample::select(vec!["/f/%s", "/f/a b-%Y%%", "flows"])
                .prop_map(|f| format!("file \"{f}\"")),
            (1u32..=86_400, 0u32..=1_000_000).prop_map(|(r, n)| format!("rotate {r} retain {n}")),
            prop::sample::select(vec!["in", "out", "any"]).prop_map(|d| format!("direction {d}")),
        ];
        (0u32..4, prop::collection::vec(word, 0..8))
            .prop_map(|(unit, words)| format!("pflow{unit} {}", words.join(" ")))
    }

    proptest! {
        #[test]
        fn any_configuration_survives_printing(lines in prop::collection::vec(line(), 0..12)) {
            let mut config = Config::default();
            for line in &lines {
                let before = config.clone();
                if apply_line(&mut config, line, || Place::CommandLine).is_err() {
                    prop_assert_eq!(&config, &before);
                }
            }
            let mut again = Config::default();
            apply_text(&mut again, "printed", &config.to_string()).unwrap();
            prop_assert_eq!(again, config);
        }

        #[test]
        fn no_line_panics(line in "\\PC{0,80}") {
            let _ = apply_line(&mut Config::default(), &line, || Place::CommandLine);
        }
    }
}
