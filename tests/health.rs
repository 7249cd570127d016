//! `show health` and `show metrics` of an engine: what is wrong is found, said in the room there is,
//! and everything that is counted is there for programs.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test that is wrong may panic"
)]

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::{A, B, D, From, Key, M, OTHER_CREATOR, PFLOW, Run, St, settings};
use pflow::control::{AnswerForm, Exposition, Listing, Progress, Question, Source, View};
use pflow::counters::{ControlCounters, Reports, SourceCounters};
use pflow::engine::Settings;
use pflow::time::{Now, Uptime};
use pflow::troubles::{News, Troubles};

const IPFIX: &str = "pflow0 flowdst 192.0.2.9:4739 pflowproto 10\n";

/// An engine, what captures, and what is wrong.
struct Place {
    run: Run,
    sources: Vec<Source>,
    troubles: Troubles,
    lines: Vec<String>,
}

impl Place {
    fn new(lines: &str, is_all: bool) -> Self {
        let settings = Settings {
            is_all,
            output: pflow::output::Output {
                form: pflow::output::Form::None,
                ..settings().output
            },
            ..settings()
        };
        let source = Source {
            name: "em1".to_owned(),
            ..Source::default()
        };
        let mut place = Self {
            run: Run::with(settings, common::config(lines)),
            sources: vec![source],
            troubles: Troubles::default(),
            lines: Vec::new(),
        };
        place.run.advance(0);
        place
    }

    fn now(&self) -> Now {
        self.run.now()
    }

    /// Firewall A says this.
    fn hear(&mut self, ms: i64, messages: &[M]) {
        self.run.send(ms, A, D::Obsd74, messages);
    }

    /// Both firewalls say this in each of these seconds; then it looks.
    fn hear_both<S>(&mut self, seconds: std::ops::Range<i64>, say: S)
    where
        S: Fn(u32) -> (Vec<M>, Vec<M>),
    {
        for second in seconds {
            let (a, b) = say(u32::try_from(second).unwrap());
            self.hear(second * 1000, &a);
            self.run.send(second * 1000 + 1, B, D::Obsd74, &b);
            self.look(second * 1000 + 2);
        }
    }

    /// Moves the clock and looks.
    fn look(&mut self, ms: i64) {
        self.run.advance(ms);
        let now = self.now();
        for news in self.troubles.look(&self.run.engine, &self.sources, now) {
            let (News::Begun(line) | News::Over(line)) = news;
            self.lines.push(line);
        }
    }

    /// Looks every second from `from` on.
    fn watch(&mut self, seconds: std::ops::Range<i64>) {
        for second in seconds {
            self.look(second * 1000);
        }
    }

    fn causes(&self) -> Vec<&'static str> {
        self.troubles
            .lasting()
            .map(|one| one.cause().name())
            .collect()
    }

    fn ask(&self, question: Question, form: AnswerForm) -> String {
        let view = View {
            engine: &self.run.engine,
            sources: &self.sources,
            waiting: 0,
            troubles: &self.troubles,
            control: &ControlCounters::default(),
            now: Some(self.now()),
        };
        let mut listing = Listing::new(question, form);
        let mut octets = Vec::new();
        while listing.step(&view, &mut octets).unwrap() == Progress::More {}
        String::from_utf8(octets).unwrap()
    }

    fn health(&self) -> Vec<String> {
        let text = self.ask(Question::Health, AnswerForm::Text);
        let lines: Vec<_> = text.lines().map(str::to_owned).collect();
        assert!(lines.len() <= 15, "{text}");
        assert!(
            lines.iter().all(|line| line.chars().count() <= 80),
            "{text}"
        );
        lines
    }
}

fn state(id: u64, flags: u16) -> St {
    let far = Key::new(
        &format!("198.51.100.{}", id % 250 + 1),
        40_000,
        "192.0.2.7",
        443,
    );
    St {
        flags,
        ..St::tcp(id).keyed(far).count([1, 1], [100, 200])
    }
}

fn learned(ids: std::ops::Range<u64>, flags: u16) -> Vec<M> {
    ids.map(|id| M::Ins(state(id, flags))).collect()
}

#[test]
fn what_works_is_ok_in_a_few_lines() {
    let mut place = Place::new(IPFIX, false);
    place.hear(1, &learned(0..20, PFLOW));
    place.sources[0].last = Some(place.now().uptime);
    place.sources[0].counters.packets = 4;
    place.watch(1..25);
    let health = place.health();
    assert_eq!(health[0], "ok", "{health:#?}");
    assert_eq!(health[1], "em1: 4 packets, 0 dropped, last 23 s ago");
    assert!(health[2].starts_with("10.0.0.1: v6"), "{health:#?}");
    assert!(
        health[2].contains(", 20 states, 100% pflow, clock +0 s"),
        "{health:#?}"
    );
    assert_eq!(place.lines, [""; 0]);
}

#[test]
fn a_silence_is_told_after_ten_seconds_at_the_start_and_after_thirty_later() {
    let mut place = Place::new(IPFIX, false);
    place.watch(0..10);
    assert_eq!(place.causes(), [""; 0]);
    place.watch(10..12);
    assert_eq!(place.causes(), ["silent"]);
    place.hear(12_000, &learned(0..1, PFLOW));
    place.watch(13..43);
    assert_eq!(place.causes(), [""; 0]);
    place.watch(43..60);
    assert_eq!(place.causes(), ["silent"]);
    assert_eq!(place.lines.len(), 3, "{:#?}", place.lines);
    assert!(place.lines[0].starts_with("no pfsync packets on em1 for 10 seconds: "));
    assert_eq!(place.lines[1], "em1: pfsync packets come, after 3 s");
}

#[test]
fn states_that_are_not_marked_are_a_trouble_unless_all_are_exported() {
    let mut place = Place::new(IPFIX, false);
    place.hear(1, &learned(0..9, 0));
    place.look(1000);
    assert_eq!(place.causes(), [""; 0], "too few to say");
    place.hear(1001, &learned(9..24, 0));
    place.look(2000);
    assert_eq!(place.causes(), ["unmarked"]);
    let health = place.health();
    assert_eq!(health[0], "1 trouble");
    let words = "! none of the last 24 states of 10.0.0.1 is marked pflow: say";
    assert!(health[1].starts_with(words), "{health:#?}");
    assert!(
        health.iter().any(|line| line.contains(", 0% pflow,")),
        "{health:#?}"
    );
    place.hear(2001, &learned(24..25, PFLOW));
    place.look(3000);
    assert_eq!(place.causes(), [""; 0]);
    // Some were marked: now it takes a minute.
    place.hear(3001, &learned(25..225, 0));
    place.look(40_000);
    assert!(!place.causes().contains(&"unmarked"));
    place.hear(63_900, &learned(225..226, 0));
    place.look(64_000);
    assert_eq!(place.causes(), ["unmarked"]);
    let mut all = Place::new(IPFIX, true);
    all.hear(1, &learned(0..50, 0));
    // A dialect without the flag says nothing of it.
    let mut none = Place::new(IPFIX, false);
    none.run.send(1, A, D::Fbsd1400, &learned(0..50, 0));
    for place in [&mut all, &mut none] {
        place.watch(1..9);
        assert_eq!(place.causes(), [""; 0]);
    }
}

#[test]
fn updates_of_states_that_began_before_are_a_trouble_until_most_are_known() {
    let mut place = Place::new(IPFIX, false);
    let updates = |ids: std::ops::Range<u64>| -> Vec<M> {
        ids.map(|id| M::upd_c(&state(id, PFLOW))).collect()
    };
    place.hear(1, &updates(0..30));
    place.look(1000);
    assert_eq!(place.causes(), ["unknown"]);
    place.hear(1001, &learned(0..12, PFLOW));
    place.hear(1002, &updates(0..20));
    place.look(2000);
    assert_eq!(place.causes(), [""; 0], "12 of 20 are known");
    place.hear(2001, &updates(0..30));
    place.look(3000);
    assert_eq!(place.causes(), [""; 0], "60% is too few to begin with");
    assert!(place.lines[0].contains("100% of the updates of 10.0.0.1 are of states not known"));
    let over = "10.0.0.1: most updates are of states known, after 1 s";
    assert_eq!(place.lines[1], over);
}

#[test]
fn two_firewalls_whose_clocks_differ_by_three_seconds_are_told_apart() {
    let mut place = Place::new(IPFIX, false);
    let told = |age: u32| -> Vec<M> {
        let states = (0..5).map(|id| state(id, PFLOW).aged(age));
        states.map(M::Upd).collect()
    };
    let apart = |by: u32| move |second: u32| (told(100 + second), told(100 + second - by));
    place.hear_both(1..6, apart(3));
    assert!(place.causes().contains(&"clocks"), "{:#?}", place.lines);
    let said = "clocks differ: 10.0.0.2 has states begin 3 s later than its peer";
    assert!(
        place.lines.iter().any(|line| line.starts_with(said)),
        "{:#?}",
        place.lines
    );
    // A second of difference is cutting.
    let mut place = Place::new(IPFIX, false);
    place.hear_both(1..6, apart(1));
    assert_eq!(place.causes(), [""; 0]);
}

#[test]
fn a_host_id_given_twice_is_a_trouble_while_both_use_it() {
    let mut place = Place::new(IPFIX, false);
    let other = St {
        wire: Key::new("203.0.113.9", 1, "192.0.2.8", 80),
        stack: Key::new("203.0.113.9", 1, "192.0.2.8", 80),
        ..state(3, PFLOW)
    };
    let upd = |st: St| vec![M::Upd(st)];
    let mine = state(3, PFLOW);
    place.hear_both(1..5, |_| (upd(mine), upd(other)));
    assert_eq!(place.causes(), ["host_id"], "{:#?}", place.lines);
    let moved = St {
        creator: OTHER_CREATOR,
        ..other
    };
    place.hear_both(5..50, |_| (upd(mine), upd(moved)));
    assert_eq!(place.causes(), [""; 0]);
    // That it began the engine says, as it is found.
    let over = "host id 5f3a9c01: one firewall is heard with it, after 32 s";
    assert_eq!(place.lines, [over]);
}

#[test]
fn an_interface_that_goes_nowhere_is_told_of() {
    let mut place = Place::new(
        "pflow0 pflowproto 10\npflow1 flowdst 192.0.2.9:1 down\n",
        false,
    );
    place.hear(1, &learned(0..3, PFLOW));
    place.watch(1..8);
    assert_eq!(place.causes(), ["idle", "idle"]);
    let health = place.health().join("\n");
    assert!(health.contains("! pflow0 has no flowdst: it sends nothing: pflowctl pflow0 flowdst"));
    assert!(
        health.contains("! pflow1 is down: it sends nothing: pflowctl pflow1 up"),
        "{health}"
    );
    let mut place = Place::new("", false);
    place.hear(1, &learned(0..3, PFLOW));
    place.watch(1..8);
    assert_eq!(place.causes(), ["no_interface"]);
}

/// Eight sources, forty firewalls, twenty interfaces.
fn crowded() -> Place {
    let lines: String = (0..20)
        .map(|unit| {
            format!("pflow{unit} flowdst [2001:db8:ffff:ffff:ffff:ffff:ffff:{unit:x}]:4739\n")
        })
        .collect();
    let mut place = Place::new(&lines, false);
    for firewall in 0..40 {
        let flags = if firewall == 33 { 0 } else { PFLOW };
        let from = From::Ether([10, 0, 1, firewall]);
        let ids = u64::from(firewall) * 100..u64::from(firewall) * 100 + 12;
        place.run.send(1, from, D::Obsd74, &learned(ids, flags));
    }
    for unit in [17, 18] {
        let reports = Reports {
            refused: 1,
            unreachable: 0,
        };
        place.run.engine.handle_reports(unit, reports);
    }
    let source = |name: &str, problem: Option<&str>| Source {
        name: name.to_owned(),
        problem: problem.map(str::to_owned),
        ..Source::default()
    };
    let names = (1..9).filter(|number| *number != 3);
    let sources = names.map(|number| source(&format!("em{number}"), None));
    place.sources = sources.collect();
    place
        .sources
        .push(source("em3", Some("the interface has gone")));
    place.look(500);
    place
}

#[test]
fn what_does_not_fit_is_said_to_be_more_and_the_troubled_come_first() {
    let place = crowded();
    let health = place.health();
    assert_eq!(health.len(), 15, "{health:#?}");
    assert_eq!(health[0], "4 troubles");
    assert!(
        health[1].starts_with("! em3: capture lost: the interface has gone: "),
        "{health:#?}"
    );
    let text = health.join("\n");
    for words in [
        "\nem3: 0 packets, 0 dropped, lost: the interface has gone",
        "\n... and 6 more sources",
        "\n10.0.1.33: v6",
        "\n... and 39 more firewalls",
        "\npflow17: nobody listens, none yet, 0 lost: udp [2001:db8:",
        "\n... and 19 more interfaces",
        "\n! ... and 2 more: pflowctl -j show health",
    ] {
        assert!(text.contains(words), "{words:?}: {text}");
    }
}

#[test]
fn json_has_all_of_it_and_members_that_say_what() {
    let place = crowded();
    let text = place.ask(Question::Health, AnswerForm::Json);
    let parts: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let count = |part: &str| parts.iter().filter(|one| one["part"] == part).count();
    assert_eq!(parts[0]["troubles"], 4);
    assert_eq!(parts[0]["ok"], false);
    assert_eq!(
        ["trouble", "source", "firewall", "interface", "flows"].map(count),
        [4, 8, 40, 20, 1]
    );
    let trouble = parts.iter().find(|one| one["cause"] == "unmarked").unwrap();
    assert_eq!(trouble["subject"], "10.0.1.33");
}

/// Families of an exposition: type, help and samples by name, in order; checked for form.
fn families(text: &str, exposition: Exposition) -> BTreeMap<String, (String, Vec<String>)> {
    let mut families = BTreeMap::new();
    let mut current: Option<(String, String, Vec<String>)> = None;
    let mut samples = BTreeSet::new();
    let mut lines: Vec<&str> = text.lines().collect();
    if exposition == Exposition::OpenMetrics {
        assert_eq!(lines.pop(), Some("# EOF"));
    }
    for line in lines {
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        match *words {
            ["#", "HELP", name, help] => {
                if let Some((name, kind, samples)) = current.take() {
                    assert!(
                        families.insert(name, (kind, samples)).is_none(),
                        "twice: {line}"
                    );
                }
                assert!(help.ends_with('.') && help.len() > 5, "{line}");
                current = Some((name.to_owned(), String::new(), Vec::new()));
            }
            ["#", "TYPE", name, kind] => {
                let (known, of, _) = current.as_mut().unwrap();
                assert_eq!(known, name);
                *of = kind.to_owned();
            }
            ["#", "UNIT", name, unit] => {
                assert_eq!(exposition, Exposition::OpenMetrics);
                assert!(name.ends_with(unit), "{line}");
            }
            _ => {
                let (name, kind, all) = current.as_mut().unwrap();
                let sample = line.split(['{', ' ']).next().unwrap();
                let is_counter = kind == "counter";
                let expected = match (exposition, is_counter) {
                    (Exposition::OpenMetrics, true) => format!("{name}_total"),
                    _ => name.clone(),
                };
                assert_eq!(sample, expected, "{line}");
                assert_eq!(sample.ends_with("_total"), is_counter, "{line}");
                assert!(
                    samples.insert(line.rsplit_once(' ').unwrap().0.to_owned()),
                    "{line}"
                );
                all.push(line.to_owned());
            }
        }
    }
    let (name, kind, last) = current.unwrap();
    families.insert(name, (kind, last));
    families
}

#[test]
fn every_counter_of_the_statistics_is_in_the_metrics_with_its_value() {
    let mut place = crowded();
    place.sources[0].counters = SourceCounters {
        packets: 7,
        octets: 700,
        ..SourceCounters::default()
    };
    let statistics = place.ask(Question::Statistics, AnswerForm::Json);
    let text = place.ask(Question::Metrics(Exposition::Prometheus), AnswerForm::Text);
    let samples: BTreeSet<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let mut counters = 0;
    for line in statistics.lines() {
        let part: serde_json::Value = serde_json::from_str(line).unwrap();
        let kind = part["part"].as_str().unwrap();
        for (name, value) in part.as_object().unwrap() {
            if name == "part" || name == "of" {
                continue;
            }
            counters += 1;
            let labels = match part.get("of") {
                Some(of) => format!("{{{kind}={of}}}"),
                None => String::new(),
            };
            let prefix = if kind == "pflow" { "stats" } else { kind };
            let sample = match (kind, &**name) {
                ("messages", name) => format!("pflow_messages_total{{action=\"{name}\"}} {value}"),
                ("control", "longest_step") => {
                    "pflow_control_longest_step_seconds 0.000000".to_owned()
                }
                ("interface", "spool_behind") => {
                    format!("pflow_interface_spool_behind_seconds{labels} {value}")
                }
                ("interface", "octets_waiting") => {
                    format!("pflow_interface_waiting_octets{labels} {value}")
                }
                (_, "held" | "bound" | "octets" | "waiting" | "spool_octets")
                    if !matches!(kind, "source" | "flows")
                        && (kind != "interface" || name != "octets") =>
                {
                    format!("pflow_{prefix}_{name}{labels} {value}")
                }
                _ => format!("pflow_{prefix}_{name}_total{labels} {value}"),
            };
            assert!(samples.contains(&*sample), "{sample} of {line}");
        }
    }
    assert!(counters > 1000, "{counters}");
}

#[test]
fn both_expositions_have_the_same_families_whose_samples_stand_together() {
    let place = crowded();
    let known = |exposition| {
        let text = place.ask(Question::Metrics(exposition), AnswerForm::Text);
        let families = families(&text, exposition);
        assert!(families.len() > 150, "{}", families.len());
        let samples = families.values().flat_map(|(_, samples)| samples.clone());
        samples.collect::<BTreeSet<_>>()
    };
    assert_eq!(
        known(Exposition::OpenMetrics),
        known(Exposition::Prometheus)
    );
    let text = place.ask(Question::Metrics(Exposition::OpenMetrics), AnswerForm::Text);
    for sample in [
        "\npflow_trouble{cause=\"unmarked\",subject=\"10.0.1.33\"} 1\n",
        "\npflow_source_up{source=\"em3\"} 0\n",
        "\npflow_interface_collector_up{interface=\"pflow17\"} 0\n",
        "\n# UNIT pflow_flows_exact_octets octets\n",
        "\npflow_creator_messages_total{sender=\"10.0.1.3\",creatorid=\"5f3a9c01\",action=\"INS\"} 12\n",
    ] {
        assert!(text.contains(sample), "{sample:?}: {text}");
    }
}

#[test]
fn whatever_is_counted_in_octets_or_seconds_has_its_unit() {
    let place = crowded();
    let text = place.ask(Question::Metrics(Exposition::OpenMetrics), AnswerForm::Text);
    let mut lines = text.lines().peekable();
    let mut units = 0;
    while let Some(line) = lines.next() {
        let Some(rest) = line.strip_prefix("# HELP ") else {
            continue;
        };
        let (name, help) = rest.split_once(' ').unwrap();
        let unit = match help.split(' ').next().unwrap() {
            "Octets" => "octets",
            "Seconds" | "Microseconds" => "seconds",
            _ => continue,
        };
        lines.next();
        let told = format!("# UNIT {name} {unit}");
        assert_eq!(lines.next(), Some(&*told), "{line}");
        units += 1;
    }
    assert!(units > 12, "{units}");
}

#[test]
fn a_last_time_is_of_the_clock_of_now() {
    let mut place = Place::new(IPFIX, false);
    place.hear(1, &learned(0..1, PFLOW));
    place.look(9000);
    place.sources[0].last = Some(Uptime::from_nanos(
        place.now().uptime.nanos() - 4_000_000_000,
    ));
    let health = place.health();
    assert!(health[1].ends_with("last 4 s ago"), "{health:#?}");
    assert!(health[2].ends_with(", 8 s ago"), "{health:#?}");
}
