//! pflow.8 against the program: the page and the tables that the program parses with name the
//! same flags, words and forms, neither more nor less, and the page's examples run.
//!
//! The page is read as mdoc source. Words are found by their macros: `.Fl` a flag, `.It Ic` a word
//! of the configuration, `.It Cm` in OUTPUT a form of -o, `Va` a member of JSON, `$ ` or `# ` in a
//! display of EXAMPLES a command line.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use pflow::accounting::Counting;
use pflow::config::{Config, Place, apply_line, apply_text};
use pflow::export::{Format, TemplateSet};
use pflow::options::FLAGS;
use pflow::output::Form;
use pflow::state::Timeouts;

const PAGE: &str = include_str!("../pflow.8");
const ROOT: &str = env!("CARGO_MANIFEST_DIR");

type Words = BTreeSet<String>;

fn words<'a>(words: impl IntoIterator<Item = &'a str>) -> Words {
    words.into_iter().map(str::to_owned).collect()
}

/// The lines from `.Sh NAME` to the next section.
fn section(name: &str) -> impl Iterator<Item = &'static str> {
    let heading = format!(".Sh {name}");
    let mut lines = PAGE.lines();
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

#[test]
fn the_synopsis_and_the_list_have_every_flag_and_no_other() {
    let known = words(FLAGS.iter().map(|flag| flag.letter));
    assert_eq!(words(items("Fl", PAGE.lines())), known, "described");
    let mut synopsis = Words::new();
    for line in section("SYNOPSIS").filter_map(|line| line.strip_prefix(".Op Fl ")) {
        match line.split_once(" Ar ") {
            Some((letter, argument)) => {
                let flag = FLAGS.iter().find(|flag| flag.letter == letter).unwrap();
                assert_eq!(Some(argument), flag.argument, "-{letter}");
                synopsis.insert(letter.to_owned());
            }
            None => synopsis.extend(line.chars().map(String::from)),
        }
    }
    assert_eq!(synopsis, known, "synopsis");
    let elsewhere = PAGE.lines().filter(|line| !line.starts_with(".Op Fl "));
    let mentioned = words(called("Fl", elsewhere));
    assert!(mentioned.is_subset(&known), "mentioned: {mentioned:?}");
}

#[test]
fn every_flag_has_the_argument_it_takes() {
    for flag in FLAGS {
        let argument = flag
            .argument
            .map(|name| format!(" Ar {name}"))
            .unwrap_or_default();
        let item = format!(".It Fl {}{argument}", flag.letter);
        assert!(PAGE.lines().any(|line| line == item), "no line {item}");
    }
}

#[test]
fn every_word_of_the_configuration_is_described_and_no_other() {
    let mut known = expected_words("");
    assert!(known.remove("pflowN"));
    known.extend(expected_words("pflow0 "));
    assert_eq!(words(items("Ic", section("CONFIGURATION"))), known);
    known.extend(["pflow".to_owned(), "include".to_owned()]);
    let mentioned = words(called("Ic", PAGE.lines()));
    assert!(mentioned.is_subset(&known), "mentioned: {mentioned:?}");
}

#[test]
fn every_form_of_output_is_described_and_no_other() {
    let known = words(Form::VALUES.iter().map(|(name, _)| *name));
    assert_eq!(words(items("Cm", section("OUTPUT"))), known);
}

#[test]
fn every_value_of_a_word_is_described_and_no_other() {
    let mentioned = words(called("Cm", section("CONFIGURATION")));
    let timeouts = Timeouts::default();
    let mut known = words(timeouts.iter().map(|(name, _)| name));
    known.extend(words(TemplateSet::VALUES.iter().map(|(name, _)| *name)));
    known.extend(words(Format::VALUES.iter().map(|(name, _)| *name)));
    known.extend(words(Counting::VALUES.iter().map(|(name, _)| *name)));
    known.extend(words(["in", "out", "any", "active", "none", "on", "off"]));
    known.extend(words(["rate", "peer"]));
    // `.Ic flush Cm active | none`: the macro is called once for both.
    let mut both = mentioned;
    both.extend(words(["none", "off", "estimate"]));
    assert_eq!(both, known);
}

#[test]
fn bounds_in_the_page_are_the_programs() {
    let text = PAGE.lines().collect::<Vec<_>>().join(" ");
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
    check("pflow0 active", (0, 86400), "0 to 86400");
    check("pflow0 domain", (1, u32::MAX.into()), "1 to 4294967295");
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
    let named = words(called("Va", section("OUTPUT")));
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
fn examples() -> Vec<String> {
    let mut displays = Vec::new();
    let mut lines = section("EXAMPLES");
    while lines.by_ref().any(|line| line.starts_with(".Bd -literal")) {
        let display = lines.by_ref().take_while(|line| *line != ".Ed");
        displays.push(display.collect::<Vec<_>>().join("\n").replace("\\e", "\\"));
    }
    displays
}

#[test]
fn examples_work_when_pasted() {
    let displays = examples();
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
    for line in shown {
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
    let configs: Vec<String> = examples().into_iter().filter(is_config).collect();
    assert_eq!(configs.len(), 1);
    let mut config = Config::default();
    apply_text(&mut config, "example", &configs[0]).unwrap();
    assert_eq!(config.interfaces.len(), 2);
}
