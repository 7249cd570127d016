//! Filters in all their places: -F, `only`, `show states`, over captures and from the wire's octets.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    missing_docs,
    reason = "a test that is wrong may panic"
)]

mod common;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use common::{A, B, D, M, Run, St};
use pflow::config::{Config, apply_text};
use pflow::control::{Access, Listing, Progress, View, request};
use pflow::counters::ControlCounters;
use pflow::filter::Filter;
use pflow::troubles::Troubles;
use serde_json::Value;

/// What pflow prints of a capture, and what it says.
fn replay(capture: &str, arguments: &[&str]) -> (Vec<Value>, String, i32) {
    let output = Command::new(env!("CARGO_BIN_EXE_pflow"))
        .args(["-a", "-r", capture])
        .args(arguments)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let values = text.lines().map(|line| serde_json::from_str(line).unwrap());
    let said = String::from_utf8(output.stderr).unwrap();
    (values.collect(), said, output.status.code().unwrap())
}

/// Addresses of a record, before and after translation.
fn addresses(record: &Value) -> Vec<IpAddr> {
    let members = record.as_object().unwrap().iter();
    let members = members.filter(|(name, _)| {
        name.starts_with("source") || name.starts_with("destination") || name.starts_with("postN")
    });
    let texts = members.filter_map(|(_, value)| value.as_str());
    texts.map(|text| text.parse().unwrap()).collect()
}

fn number(record: &Value, name: &str) -> u64 {
    record[name].as_u64().unwrap_or(u64::MAX)
}

/// A state of a record.
fn state(record: &Value) -> (String, String) {
    let text = |name: &str| record[name].as_str().unwrap().to_owned();
    (text("stateId"), text("creatorId"))
}

const V6: &str = "mix200.openbsd-v6.pcap";

/// Whether a record meets a filter.
type Meets = fn(&Value) -> bool;

#[test]
fn a_replay_prints_the_flows_that_a_filter_takes_and_its_negation_all_others() {
    let (all, ..) = replay(V6, &["-o", "json"]);
    let filters: [(&str, Meets); 8] = [
        ("proto udp", |r| number(r, "protocolIdentifier") == 17),
        ("net 10.1.203.0/24 or nat", |r| {
            let is_in = |ip: &IpAddr| ip.to_string().starts_with("10.1.203.");
            addresses(r).iter().any(is_in)
                || r.as_object()
                    .unwrap()
                    .keys()
                    .any(|name| name.starts_with("postN"))
        }),
        ("port 443", |r| {
            ["sourceTransportPort", "destinationTransportPort"]
                .iter()
                .any(|name| number(r, name) == 443)
        }),
        ("quality exact and out", |r| {
            r["quality"] == "exact" && r["direction"] == "out"
        }),
        ("duration >= 10", |r| {
            number(r, "flowEndMilliseconds") - number(r, "flowStartMilliseconds") >= 10_000
        }),
        ("from 2023-11-14T22:13:40Z", |r| {
            number(r, "flowEndMilliseconds") >= 1_700_000_020_000
        }),
        ("to 2023-11-14T22:13:40Z", |r| {
            number(r, "flowStartMilliseconds") <= 1_700_000_020_000
        }),
        ("rule 1", |r| number(r, "pfRule") == 1),
    ];
    for (filter, meets) in filters {
        let (taken, said, code) = replay(V6, &["-o", "json", "-F", filter]);
        let expected: Vec<_> = all.iter().filter(|r| meets(r)).cloned().collect();
        assert_eq!((taken, code), (expected, 0), "{filter}");
        let negated = format!("not ({filter})");
        let (others, ..) = replay(V6, &["-o", "json", "-F", &negated]);
        let expected: Vec<_> = all.iter().filter(|r| !meets(r)).cloned().collect();
        assert_eq!(others, expected, "{negated}");
        assert!(said.contains("left out"), "{said}");
    }
}

#[test]
fn octets_are_those_of_both_directions() {
    let (all, ..) = replay(V6, &["-o", "json"]);
    let octets = |of: &(String, String)| -> u64 {
        let records = all.iter().filter(|r| state(r) == *of);
        records.map(|r| number(r, "octetDeltaCount")).sum()
    };
    let large = all.iter().map(state).filter(|id| octets(id) > 10_000);
    let large: BTreeSet<_> = large.collect();
    let (taken, ..) = replay(V6, &["-o", "json", "-F", "octets > 10k"]);
    assert!(!large.is_empty());
    assert_eq!(taken.iter().map(state).collect::<BTreeSet<_>>(), large);
}

#[test]
fn messages_are_those_of_the_states_that_a_filter_takes() {
    let (all, ..) = replay(V6, &["-o", "messages-json"]);
    let of = |message: &Value| message["id"].as_str().map(str::to_owned);
    let inserts = all.iter().filter(|message| message["msg"] == "INS");
    let tcp: BTreeSet<_> = inserts.filter(|m| m["proto"] == 6).filter_map(of).collect();
    let (taken, ..) = replay(V6, &["-o", "messages-json", "-F", "proto tcp"]);
    let expected = all
        .iter()
        .filter(|m| of(m).is_some_and(|id| tcp.contains(&id)));
    let expected: Vec<_> = expected.cloned().collect();
    // UPD_C and DEL_C are among them, which tell no protocol.
    assert!(expected.iter().any(|message| message["msg"] == "UPD_C"));
    assert!(expected.iter().any(|message| message["msg"] == "DEL_C"));
    assert_eq!(taken, expected);
}

#[test]
fn a_wrong_word_is_marked_and_the_usage_follows() {
    let (_, said, code) = replay(V6, &["-F", "host 10.0.0.5 and prot tcp"]);
    let mut lines = said.lines();
    let first = lines.next().unwrap();
    assert!(
        first.contains("-F: prot: unknown word, expected one of: "),
        "{said}"
    );
    assert_eq!(lines.next(), Some("    host 10.0.0.5 and prot tcp"));
    assert_eq!(lines.next(), Some("                      ^"));
    assert!(said.contains("usage: "), "{said}");
    assert_eq!(code, 2);
}

/// A run with interfaces set up by `text`.
fn run(text: &str) -> Run {
    // JSON would ask for rules.
    let mut settings = common::settings();
    settings.output.form = pflow::output::Form::None;
    Run::with(settings, common::config(text))
}

#[test]
fn only_and_its_negation_share_the_flows_between_two_interfaces() {
    let mut run = run(
        "pflow0 flowdst 127.0.0.1:9 only net 10.0.0.0/8 and firewall 10.0.0.1\n\
         pflow1 flowdst 127.0.0.1:9 only not (net 10.0.0.0/8 and firewall 10.0.0.1)\n\
         pflow2 flowdst 127.0.0.1:9\n",
    );
    for id in 0..40 {
        let from = if id % 3 == 0 { A } else { B };
        let st = match id % 4 {
            0 => St::tcp(id),
            _ => St::udp(id),
        };
        let st = St {
            wire: common::Key::new("10.9.0.1", 1000, "192.0.2.7", 53),
            stack: common::Key::new("10.9.0.1", 1000, "192.0.2.7", 53),
            ..st.count([1, 1], [100, 100])
        };
        run.send(0, from, D::Obsd74, &[M::Ins(st)]);
        run.send(1000, from, D::Obsd74, &[M::del_c(&st)]);
    }
    let counters = run.engine.interfaces().iter().map(|one| &one.counters);
    let [a, b, all] = counters.collect::<Vec<_>>()[..] else {
        panic!("three interfaces");
    };
    assert_eq!((a.records, a.filtered), (28, 26));
    assert_eq!((b.records, b.filtered), (52, 14));
    assert_eq!((all.records, all.filtered), (80, 0));
}

#[test]
fn only_stays_last_on_its_line_and_takes_no_time_that_moves() {
    let mut config = Config::default();
    let line = "pflow0 flowdst 127.0.0.1:9 only nat and port 53 down\n";
    let error = apply_text(&mut config, "test", line)
        .unwrap_err()
        .to_string();
    assert!(error.contains("only: down: unknown word"), "{error}");
    for (time, is_taken) in [
        ("22:00", false),
        ("2026-11-30T22:00", false),
        ("2026-11-30T22:00:00Z", true),
    ] {
        let line = format!("pflow0 only from {time}\n");
        let outcome = apply_text(&mut Config::default(), "test", &line);
        assert_eq!(outcome.is_ok(), is_taken, "{outcome:?}");
    }
}

/// What `line` is answered.
fn asked(run: &Run, line: &str) -> Result<String, String> {
    let asked = request::parse(line, Access::ReadOnly)?;
    let Some((form, request::Request::Ask(question))) = asked else {
        panic!("{asked:?}");
    };
    let view = View {
        engine: &run.engine,
        sources: &[],
        troubles: &Troubles::default(),
        waiting: 0,
        control: &ControlCounters::default(),
        now: Some(run.now()),
    };
    let (mut listing, mut out) = (Listing::new(question, form), Vec::new());
    while listing.step(&view, &mut out)? == Progress::More {}
    Ok(String::from_utf8(out).unwrap())
}

#[test]
fn states_are_shown_by_the_same_words_and_rules_are_known_where_somebody_keeps_them() {
    let fill = |run: &mut Run| {
        for id in 1..=4 {
            let st = St {
                rule: u32::try_from(id).unwrap(),
                ..St::tcp(id).count([10, 10], [1000 * id, 0])
            };
            run.send(0, A, D::Obsd74, &[M::Ins(st)]);
        }
    };
    let mut bare = run("pflow0 flowdst 127.0.0.1:9\n");
    fill(&mut bare);
    let shown = |run: &Run, filter: &str| {
        let text = asked(run, &format!("json show states {filter}"))?;
        Ok(text.lines().count())
    };
    assert_eq!(shown(&bare, ""), Ok(4));
    assert_eq!(shown(&bare, "octets > 2k and not proto udp"), Ok(2));
    assert_eq!(shown(&bare, "oct >= 2k prot tcp"), Ok(3));
    assert_eq!(shown(&bare, "quality partial"), Ok(0));
    let error: Result<usize, String> = shown(&bare, "rule 3");
    assert!(error.unwrap_err().starts_with("rule: rules are not kept"));
    let mut full = run("pflow0 flowdst 127.0.0.1:9 pflowproto 10 template full\n");
    fill(&mut full);
    assert_eq!(shown(&full, "rule 3"), Ok(1));
    assert_eq!(shown(&full, "from 00:00 to 23:59:59 rule 3"), Ok(1));
    assert_eq!(shown(&full, "to 1970-01-01T00:00:00Z"), Ok(0));
}

#[test]
fn a_filter_of_the_program_leaves_flows_out_at_every_interface_and_counts_them() {
    let mut run = run("pflow0 flowdst 127.0.0.1:9\n");
    let filter = Filter::parse("proto tcp", pflow::config::Spelling::Whole).unwrap();
    run.engine.set_filter(Some(filter), jiff::tz::TimeZone::UTC);
    for st in [St::tcp(1), St::udp(2)] {
        let st = st.count([1, 1], [100, 100]);
        run.send(0, A, D::Obsd74, &[M::Ins(st)]);
        run.send(1000, A, D::Obsd74, &[M::del_c(&st)]);
    }
    let counters = run.engine.flow_counters();
    assert_eq!((counters.exported, counters.filtered), (1, 1));
    assert_eq!(counters.left_out(), 1);
    assert_eq!(run.engine.interfaces()[0].counters.flows, 1);
    let text = asked(&run, "show statistics").unwrap();
    assert!(
        text.contains("1 flows left out by -F") || text.contains("1 flow left out by -F"),
        "{text}"
    );
}
