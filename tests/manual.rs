//! The manual pages against the program: pflow.8, pflow.conf.5 and pflowctl.8 and the tables that
//! the program parses with name the same flags, words, commands and forms, neither more nor less,
//! and the pages' examples run.
//!
//! A page is read as mdoc source. Words are found by their macros: `.It Fl` a flag, `.It Ic` a word
//! of the configuration or a command, `.It Cm` a form of -o, a filter or what can be shown, `Va` a
//! member of JSON, `$ ` or `# ` in a display of EXAMPLES a command line.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

mod common;

use std::collections::BTreeSet;
use std::net::UdpSocket;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use common::{D, From, Key, M, Run, St, settings};
use pflow::accounting::Counting;
use pflow::config::{Config, Place, apply_line, apply_text};
use pflow::control::request::{self, FILTERS, REQUESTS, Request, SHOWN};
use pflow::control::{Access, Listing, Progress, Source, View};
use pflow::counters::{ControlCounters, Reports};
use pflow::ctl;
use pflow::export::{
    Carrier, Compression, Events, FileState, Format, IcmpPorts, SpoolState, TemplateSet,
};
use pflow::flow::Records;
use pflow::options::{FLAGS, Flag};
use pflow::output::Form;
use pflow::state::Timeouts;
use pflow::troubles::Troubles;

const PFLOW: &str = include_str!("../pflow.8");
const CONF: &str = include_str!("../pflow.conf.5");
const CTL: &str = include_str!("../pflowctl.8");
const ROOT: &str = env!("CARGO_MANIFEST_DIR");

type Words = BTreeSet<String>;

fn words<'a>(words: impl IntoIterator<Item = &'a str>) -> Words {
    words.into_iter().map(str::to_owned).collect()
}

/// The lines from `.Sh NAME` to the next section.
fn section(page: &'static str, name: &str) -> impl Iterator<Item = &'static str> {
    let heading = format!(".Sh {name}");
    let mut lines = page.lines();
    assert!(lines.any(|line| line == heading), "no section {name}");
    lines.take_while(|line| !line.starts_with(".Sh "))
}

/// The words of a macro line, `None` if `line` is text.
fn macro_words(line: &str) -> Option<impl Iterator<Item = &str>> {
    line.strip_prefix('.').map(str::split_whitespace)
}

/// The first word behind each `name` on macro lines, at their beginning or called by others.
fn called<'a>(
    name: &'a str,
    lines: impl Iterator<Item = &'a str> + 'a,
) -> impl Iterator<Item = &'a str> {
    lines.filter_map(macro_words).flat_map(move |line| {
        let line: Vec<_> = line.collect();
        let pairs: Vec<_> = line.windows(2).map(|pair| (pair[0], pair[1])).collect();
        pairs
            .into_iter()
            .filter(move |(caller, _)| *caller == name)
            .map(|(_, word)| word)
    })
}

/// The words of list items `.It NAME word`.
fn items<'a>(
    name: &'a str,
    lines: impl Iterator<Item = &'a str> + 'a,
) -> impl Iterator<Item = &'a str> {
    lines.filter_map(macro_words).filter_map(move |mut line| {
        (line.next() == Some("It") && line.next() == Some(name))
            .then(|| line.next())
            .flatten()
    })
}

/// What the program says it would have taken instead of a wrong word behind `before`.
fn expected_words(before: &str) -> Words {
    let wrong = format!("{before}no-such-word");
    let error = apply_line(&mut Config::default(), &wrong, || Place::CommandLine).unwrap_err();
    let problem = error.error.problem;
    let list = problem
        .strip_prefix("unknown word, expected one of: ")
        .unwrap();
    words(list.split_whitespace())
}

/// Letters in a synopsis: `.Op Fl abc`, `.Op Fl s Ar socket`, `.Fl h | V`.
fn synopsis(page: &'static str) -> Words {
    let lines = section(page, "SYNOPSIS");
    let lines = lines.filter_map(|line| {
        let line = line.strip_prefix(".Op ").unwrap_or(line);
        line.trim_start_matches('.').strip_prefix("Fl ")
    });
    let letters = lines.flat_map(|line| line.split(" Ar ").next().unwrap().chars());
    letters
        .filter(char::is_ascii_alphabetic)
        .map(String::from)
        .collect()
}

fn check_flags(page: &'static str, flags: &[Flag]) {
    let known = words(flags.iter().map(|flag| flag.letter));
    assert_eq!(words(items("Fl", page.lines())), known, "described");
    assert_eq!(synopsis(page), known, "synopsis");
    for flag in flags {
        let argument = flag
            .argument
            .map(|name| format!(" Ar {name}"))
            .unwrap_or_default();
        let item = format!(".It Fl {}{argument}", flag.letter);
        assert!(page.lines().any(|line| line == item), "no line {item}");
    }
}

#[test]
fn synopses_and_lists_have_every_flag_with_its_argument_and_no_other() {
    check_flags(PFLOW, FLAGS);
    check_flags(CTL, ctl::FLAGS);
    let letters = words(FLAGS.iter().map(|flag| flag.letter));
    for page in [PFLOW, CONF] {
        let elsewhere = page.lines().filter(|line| !line.starts_with(".Op Fl "));
        let mentioned = words(called("Fl", elsewhere));
        assert!(mentioned.is_subset(&letters), "mentioned: {mentioned:?}");
    }
}

/// Every word of a line of configuration.
fn configuration_words() -> Words {
    let mut known = expected_words("");
    assert!(known.remove("pflowN"));
    known.extend(expected_words("pflow0 "));
    known
}

fn names(table: &[request::WordHelp]) -> Words {
    words(table.iter().map(|(name, ..)| *name))
}

#[test]
fn every_word_of_the_configuration_is_described_and_no_other() {
    let mut known = configuration_words();
    assert_eq!(words(items("Ic", CONF.lines())), known);
    known.extend(["pflow".to_owned(), "include".to_owned()]);
    let mentioned = words(called("Ic", PFLOW.lines()));
    assert!(mentioned.is_subset(&known), "mentioned: {mentioned:?}");
    known.extend(names(REQUESTS));
    for page in [CONF, CTL] {
        let mentioned = words(called("Ic", page.lines()));
        assert!(mentioned.is_subset(&known), "mentioned: {mentioned:?}");
    }
}

#[test]
fn every_command_and_all_that_can_be_shown_is_described_and_nothing_else() {
    let mut commands = words(items("Ic", section(CTL, "COMMANDS")));
    assert!(commands.remove("pflow"));
    assert_eq!(commands, names(REQUESTS));
    let shown = section(CTL, "WHAT CAN BE SHOWN");
    assert_eq!(words(items("Cm", shown)), names(SHOWN));
    let shells = words(ctl::SHELLS.iter().map(|(name, _)| *name));
    assert_eq!(words(items("Cm", section(CTL, "COMPLETIONS"))), shells);
}

#[test]
fn every_word_of_a_filter_is_described_and_no_other() {
    let mut described = words(items("Cm", section(PFLOW, "FILTER EXPRESSIONS")));
    // Synonyms stand in a sentence of their own.
    described.extend(words(["address", "age", "direction", "sender"]));
    assert_eq!(described, names(FILTERS));
}

#[test]
fn every_form_of_output_is_described_and_no_other() {
    let known = words(Form::VALUES.iter().map(|(name, _)| *name));
    assert_eq!(words(items("Cm", section(PFLOW, "OUTPUT"))), known);
}

#[test]
fn every_value_of_a_word_is_described_and_no_other() {
    let mentioned = words(called("Cm", CONF.lines()));
    let timeouts = Timeouts::default();
    let mut known = words(timeouts.iter().map(|(name, _)| name));
    known.extend(words(TemplateSet::VALUES.iter().map(|(name, _)| *name)));
    known.extend(words(Format::VALUES.iter().map(|(name, _)| *name)));
    known.extend(words(Carrier::VALUES.iter().map(|(name, _)| *name)));
    known.extend(words(Compression::VALUES.iter().map(|(name, _)| *name)));
    known.extend(words(Counting::VALUES.iter().map(|(name, _)| *name)));
    known.extend(words(["in", "out", "any", "active", "none", "on", "off"]));
    known.extend(words(["rate", "peer", "ro", "file", "interval"]));
    known.extend(words(IcmpPorts::VALUES.iter().map(|(name, _)| *name)));
    known.extend(words(Events::VALUES.iter().map(|(name, _)| *name)));
    known.extend(words(["creatorid", "auto"]));
    known.extend(words(Records::VALUES.iter().map(|(name, _)| *name)));
    // `.Ic flush Cm active | none`: the macro is called once for both.
    let mut both = mentioned;
    both.extend(words(["none", "off", "estimate", "connection"]));
    assert_eq!(both, known);
}

#[test]
fn bounds_in_the_page_are_the_programs() {
    let text = CONF.lines().collect::<Vec<_>>().join(" ");
    let check = |line: &str, (least, most): (u64, u64), in_text: &str| {
        let apply = |n: u64| {
            let line = format!("{line} {n}");
            apply_line(&mut Config::default(), &line, || Place::CommandLine)
        };
        assert!(apply(least).is_ok() && apply(most).is_ok(), "{line}");
        assert!(apply(most + 1).is_err(), "{line}");
        assert!(least == 0 || apply(least - 1).is_err(), "{line}");
        assert!(text.contains(in_text), "{in_text}");
    };
    check("pflow0 mtu", (72, 2048), "72 to 2048");
    check("pflow0 hold", (1, 30), "1 to 30");
    check("pflow0 refresh", (1, 86400), "1 to 86400");
    check("pflow0 refreshpackets", (1, 1_000_000), "1 to 1000000");
    check("pflow0 active", (0, 86400), "0 to 86400");
    check("pflow0 rotate", (1, 86400), "1 to 86400");
    check("pflow0 retain", (0, 1_000_000), "1 to 1000000");
    check("pflow0 domain", (1, u32::MAX.into()), "1 to 4294967295");
    check("pflow0 reconnect", (1, 86400), "1 to 86400");
    check("pflow0 queue", (1 << 16, 1 << 30), "64k to 1G");
    check("pflow0 spool /tmp/s", (1 << 20, 64 << 30), "1M to 64G");
    check("solicit rate", (1, 100_000), "1 to 100000");
    check("keep interval", (1, 1800), "1 to 1800 seconds");
    check("states", (1, 1 << 30), "1 to 1073741824");
    check(
        "timeout udp.first",
        (0, 0x7fff_ffff),
        "0 to 2147483647 seconds",
    );
    check(
        "ifindex em0",
        (0, u16::MAX.into()),
        "0 to 65535, as the index",
    );
}

#[test]
fn every_member_of_json_records_is_named() {
    let named = words(called("Va", section(PFLOW, "OUTPUT")));
    for file in ["mix200.openbsd-v6.pcap", "dialects/obsd74-ether.pcap"] {
        let line = format!("pflow -a -o json -r testdata/{file}");
        let output = shell(&line);
        let printed = String::from_utf8(output.stdout).unwrap();
        assert!(!printed.is_empty(), "{file}");
        for record in printed.lines() {
            let record: serde_json::Value = serde_json::from_str(record).unwrap();
            for member in record.as_object().unwrap().keys() {
                assert!(named.contains(member), "{member}");
            }
        }
    }
}

/// The README's commands behind a dollar, and what it shows of what each prints.
#[test]
fn the_readmes_commands_print_what_it_shows() {
    let readme = include_str!("../README.md");
    let mut lines = readme.lines().peekable();
    let mut commands = 0;
    while let Some(line) = lines.next() {
        let Some(command) = line.strip_prefix("    $ ") else {
            continue;
        };
        let mut shown = String::new();
        while let Some(line) = lines.next_if(|line| line.starts_with("    ")) {
            shown += &line[4..];
            shown += "\n";
        }
        let output = shell(&format!("TZ=UTC {command}"));
        assert_eq!(
            String::from_utf8(output.stdout).unwrap(),
            shown,
            "{command}"
        );
        commands += 1;
    }
    assert_eq!(commands, 2);
}

/// Runs a command line in the source's folder, with this build as `pflow`.
fn shell(line: &str) -> Output {
    let bin = Path::new(env!("CARGO_BIN_EXE_pflow")).parent().unwrap();
    let path = format!(
        "{}:{}",
        bin.display(),
        std::env::var("PATH").unwrap_or_default()
    );
    let mut command = Command::new("sh");
    command
        .args(["-c", line])
        .current_dir(ROOT)
        .env("PATH", path)
        .stdin(Stdio::null());
    command.output().unwrap()
}

/// Displays of EXAMPLES, with the escaped backslashes of mdoc undone.
fn examples(page: &'static str) -> Vec<String> {
    let mut displays = Vec::new();
    let mut lines = section(page, "EXAMPLES");
    while lines.by_ref().any(|line| line.starts_with(".Bd -literal")) {
        let display = lines.by_ref().take_while(|line| *line != ".Ed");
        displays.push(display.collect::<Vec<_>>().join("\n").replace("\\e", "\\"));
    }
    displays
}

#[test]
fn examples_work_when_pasted() {
    let displays = examples(PFLOW);
    let joined = displays.iter().map(|display| display.replace("\\\n", ""));
    let lines: Vec<String> = joined
        .flat_map(|display| display.lines().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    let commands: Vec<&str> = lines
        .iter()
        .filter_map(|line| line.strip_prefix("$ "))
        .collect();
    let shown: Vec<&str> = commands
        .iter()
        .filter(|line| line.contains("testdata/"))
        .copied()
        .collect();
    assert!(shown.len() >= 4, "{commands:?}");
    // The collector of the examples.
    let collector = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = collector.local_addr().unwrap().port();
    for line in shown {
        let line = &line.replace("127.0.0.1:4739", &format!("127.0.0.1:{port}"));
        let output = shell(line);
        let log = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{line}: {log}");
        assert!(
            !output.stdout.is_empty() || log.contains(" datagrams"),
            "{line}: {log}"
        );
    }
    // What needs a network and root is checked as far as -n does; the empty -f keeps this
    // machine's /etc/pflow.conf out.
    let live: Vec<&str> = lines
        .iter()
        .filter_map(|line| line.strip_prefix("# pflow "))
        .collect();
    assert!(live.len() >= 2);
    for rest in live {
        let output = shell(&format!("pflow -n -f /dev/null {rest}"));
        let log = String::from_utf8(output.stderr).unwrap();
        assert!(
            output.status.success() && !output.stdout.is_empty(),
            "{rest}: {log}"
        );
    }
}

#[test]
fn the_example_configuration_is_one() {
    let is_config = |display: &String| !display.starts_with(['$', '#']);
    let configs: Vec<String> = [PFLOW, CONF]
        .into_iter()
        .flat_map(examples)
        .filter(is_config)
        .collect();
    assert_eq!(configs.len(), 3);
    for (text, interfaces) in configs.iter().zip([2, 2, 1]) {
        let mut config = Config::default();
        apply_text(&mut config, "example", text).unwrap();
        assert_eq!(config.interfaces.len(), interfaces);
    }
}

#[test]
fn pflowctls_examples_are_commands() {
    let displays = examples(CTL);
    let lines = displays.iter().flat_map(|display| display.lines());
    let commands: Vec<_> = lines
        .map(|line| line.trim_start_matches(['$', '#', ' ']))
        .collect();
    assert!(commands.len() >= 8, "{commands:?}");
    for command in commands {
        let command = command.split(['|', '>']).next().unwrap();
        let mut arguments = command.split_whitespace().map(str::to_owned);
        assert_eq!(arguments.next().as_deref(), Some("pflowctl"));
        let arguments: Vec<_> = arguments.collect();
        match ctl::parse(&arguments).unwrap() {
            ctl::Action::Print(text) => assert!(!text.is_empty(), "{command}"),
            ctl::Action::Serve { socket } => assert!(
                socket.is_none_or(|socket| socket.contains('/')),
                "{command}"
            ),
            ctl::Action::Say { lines, .. } => {
                for line in lines {
                    let request = request::parse(line.text(), Access::Full);
                    assert!(matches!(request, Ok(Some(_))), "{command}: {request:?}");
                }
            }
        }
    }
}

/// The names of members, those of nested objects included.
fn members(value: &serde_json::Value, into: &mut Words) {
    for (name, value) in value.as_object().into_iter().flatten() {
        into.insert(name.clone());
        members(value, into);
    }
}

/// Members of the JSON answer to `line`, of an engine that has something of everything.
fn answered(line: &str) -> Words {
    let mut config = Config::default();
    let place = || Place::CommandLine;
    let interface = "pflow0 flowsrc 127.0.0.1 flowdst 127.0.0.1:4739 backup 127.0.0.1:4740 \
                     spool /tmp/s 1M rdomain 3 rate 9 tap /tmp/x ca /a cert /b key /c \
                     servername x enterprise 32473";
    apply_line(&mut config, interface, place).unwrap();
    let pin = format!("pflow0 pin {:064}", 0);
    apply_line(&mut config, &pin, place).unwrap();
    apply_line(&mut config, "pflow1 proto 10 file /f", place).unwrap();
    let mut run = Run::with(settings(), config);
    let written = FileState {
        current: Some(("f.current".to_owned(), 1)),
        problem: Some("full".to_owned()),
    };
    run.engine.handle_files(1, 0, 0, written);
    let mut translated = St::tcp(1);
    translated.stack = Key {
        rdomain: 3,
        ..Key::new("192.0.2.7", 443, "10.9.9.9", 50000)
    };
    let messages = [M::Ins(translated), M::Bus(7, 1)];
    let unknown = (0..10).map(|id| M::upd_c(&St::tcp(100 + id)));
    let messages: Vec<_> = messages.into_iter().chain(unknown).collect();
    run.send(0, From::Ether([192, 0, 2, 1]), D::Obsd74, &messages);
    let reports = Reports {
        refused: 1,
        unreachable: 0,
    };
    run.engine.handle_reports(0, reports);
    let spool = SpoolState {
        octets: 1,
        oldest: None,
        is_refused: false,
    };
    run.engine.handle_spool_state(0, Some(spool));
    let sources = [Source {
        name: "em1".to_owned(),
        problem: Some("the interface has gone".to_owned()),
        last: Some(run.now().uptime),
        ..Source::default()
    }];
    let mut troubles = Troubles::default();
    troubles.look(&run.engine, &sources, run.now());
    let view = View {
        engine: &run.engine,
        sources: &sources,
        waiting: 0,
        troubles: &troubles,
        control: &ControlCounters::default(),
        now: Some(run.now()),
    };
    let request = request::parse(line, Access::ReadOnly).unwrap().unwrap();
    let (form, Request::Ask(question)) = request else {
        panic!("{line}");
    };
    let mut listing = Listing::new(question, form);
    let mut octets = Vec::new();
    while listing.step(&view, &mut octets).unwrap() == Progress::More {}
    let mut names = Words::new();
    for line in String::from_utf8(octets).unwrap().lines() {
        members(&serde_json::from_str(line).unwrap(), &mut names);
    }
    names
}

/// Members that counters, timeouts, reasons, creators and kinds of message have of themselves: the
/// page says so of all of them at once.
fn is_counters(shown: &str, member: &str) -> bool {
    match shown {
        "statistics" => !matches!(member, "part" | "of"),
        // Flows left out, and those of each protocol by quality.
        "health" => {
            let counted = ["exported", "unflagged", "direction", "empty"];
            let mut parts = ["exact", "estimated", "partial"].into_iter();
            counted.contains(&member) || parts.any(|quality| member.starts_with(quality))
        }
        "sources" => member != "source",
        "timeouts" => true,
        "senders" => {
            member.chars().all(|c| c.is_ascii_uppercase() || c == '_')
                || (member.len() == 8 && u32::from_str_radix(member, 16).is_ok())
        }
        _ => false,
    }
}

#[test]
fn every_member_of_pflowctls_json_is_named_and_no_other() {
    let mut known = Words::new();
    for (shown, ..) in SHOWN {
        if !matches!(*shown, "config" | "metrics") {
            let members = answered(&format!("json show {shown}"));
            assert!(!members.is_empty(), "{shown}");
            known.extend(members.into_iter().filter(|name| !is_counters(shown, name)));
        }
    }
    assert_eq!(words(called("Va", section(CTL, "JSON"))), known);
}
