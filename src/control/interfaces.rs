//! Interfaces as ifconfig(8) of OpenBSD shows them, as pflowctl(8) of FreeBSD lists them, and as
//! JSON.
//!
//! ```text
//! pflow0: flags=41<UP,RUNNING> mtu 1448
//!         priority: 0
//!         pflow: sender: 192.0.2.1 receiver: 192.0.2.2:4739 version: 10
//!         groups: pflow
//!         collector: nobody listens                         if that was reported
//!         file: /var/flows/f.1764504000.current, 4711 octets         of one that writes files
//!         file: cannot be written: No space left on device           if it is so
//!         spool: 1048576 octets, 60 s behind                where there is one
//!         settings: hold 10 tap "/var/log/pflow0.pcap"      what ifconfig has no words for
//! ```
//! Sources: ifconfig.c, `status`, `printb`, `pflow_status`; pflowctl.c, `get`.

use std::fmt::{self, Display};
use std::net::SocketAddr;

use super::view::{AnswerForm, View, put};
use crate::config::{self, Shown};
use crate::export::{Connection, FileState, Format, Interface, Settings, shown_mtu};
use crate::output::json::Object;
use crate::time::Wall;

/// IFF_UP and IFF_RUNNING.
const FLAGS: [(u32, &str); 2] = [(0x1, "UP"), (0x40, "RUNNING")];

fn flags(interface: &Interface) -> (u32, Vec<&'static str>) {
    let is_set = [interface.settings().is_up, interface.is_running()];
    let set = FLAGS.iter().zip(is_set).filter(|(_, is_set)| *is_set);
    set.fold((0, Vec::new()), |(bits, mut names), ((bit, name), _)| {
        names.push(*name);
        (bits | bit, names)
    })
}

/// The kernel's words for what is not set.
const INVALID: &str = "INVALID";

/// `A:P`, with INVALID for an address or a port that is 0 or not set.
struct Receiver(Option<SocketAddr>);

impl Display for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(to) = self.0 else {
            return write!(f, "{INVALID}:{INVALID}");
        };
        match to {
            to if to.ip().is_unspecified() => f.write_str(INVALID)?,
            SocketAddr::V4(to) => write!(f, "{}", to.ip())?,
            SocketAddr::V6(to) => write!(f, "[{}]", to.ip())?,
        }
        match to.port() {
            0 => write!(f, ":{INVALID}"),
            port => write!(f, ":{port}"),
        }
    }
}

fn version(settings: &Settings) -> &'static str {
    let mut formats = Format::VALUES.iter();
    formats
        .find(|(_, format)| *format == settings.format)
        .map_or("", |(name, _)| name)
}

/// The interfaces asked for.
fn chosen<'a>(view: &View<'a>, unit: Option<u32>) -> Result<Vec<&'a Interface>, String> {
    let interfaces = view.engine.interfaces().iter();
    let chosen: Vec<_> = interfaces
        .filter(|interface| unit.is_none_or(|unit| interface.unit() == unit))
        .collect();
    match unit {
        Some(unit) if chosen.is_empty() => Err(no_such(unit)),
        _ => Ok(chosen),
    }
}

/// ifconfig's words for an interface that is not there.
pub(crate) fn no_such(unit: u32) -> String {
    format!("pflow{unit}: no such interface")
}

/// Appends one interface, or all.
pub(super) fn show(
    view: &View<'_>,
    unit: Option<u32>,
    form: AnswerForm,
    out: &mut Vec<u8>,
) -> Result<(), String> {
    for interface in chosen(view, unit)? {
        match form {
            AnswerForm::Text => text(view, interface, out),
            AnswerForm::Json => json(view, interface, out),
        }
    }
    Ok(())
}

/// What is known of the way to the collector; `None`: nothing worth a word.
fn collector(interface: &Interface) -> Option<String> {
    let connection = interface.connection().map(ToString::to_string);
    let problem = || interface.session().state().problem().map(str::to_owned);
    connection.or_else(problem)
}

/// FreeBSD's words for a socket, and what is known beyond them.
fn socket(interface: &Interface) -> String {
    let is_connected = match interface.connection() {
        Some(connection) => matches!(connection, Connection::Connected(_)),
        None => interface.is_running(),
    };
    let words = if is_connected {
        "connected"
    } else {
        "disconnected"
    };
    match collector(interface) {
        Some(_) if is_connected && interface.connection().is_some() => words.to_owned(),
        Some(state) => format!("{words}, {state}"),
        None => words.to_owned(),
    }
}

/// How many seconds the collector is behind by what its spool has.
pub(super) fn spool_behind(view: &View<'_>, interface: &Interface) -> Option<u64> {
    let oldest = interface.spool()?.oldest?;
    let now = view.now?.wall;
    Some(now.since(Wall::new(oldest.into(), 0)).as_secs())
}

fn text(view: &View<'_>, interface: &Interface, out: &mut Vec<u8>) {
    let (unit, settings) = (interface.unit(), interface.settings());
    let (bits, names) = flags(interface);
    put!(
        out,
        "pflow{unit}: flags={bits:x}<{}> mtu {}\n\tpriority: 0\n\tpflow: ",
        names.join(","),
        shown_mtu(settings)
    );
    if let Some(sender) = settings.flowsrc {
        put!(out, "sender: {sender} ");
    }
    put!(
        out,
        "receiver: {} version: {}\n\tgroups: pflow\n",
        Receiver(settings.flowdst),
        version(settings)
    );
    if let Some(state) = collector(interface) {
        put!(out, "\tcollector: {state}\n");
    }
    file_lines(interface, out);
    if let Some(spool) = interface.spool() {
        put!(out, "\tspool: {} octets", spool.octets);
        if let Some(seconds) = spool_behind(view, interface) {
            put!(out, ", {seconds} s behind");
        }
        out.push(b'\n');
    }
    let more = config::further_words(settings);
    if !more.is_empty() {
        put!(out, "\tsettings:{more}\n");
    }
}

/// Appends what there is to say of the files of an interface.
fn file_lines(interface: &Interface, out: &mut Vec<u8>) {
    let FileState { current, problem } = interface.file();
    if let Some((name, octets)) = current {
        put!(out, "\tfile: {name}, {octets} octets\n");
    }
    if let Some(problem) = problem {
        put!(out, "\tfile: cannot be written: {problem}\n");
    }
}

fn json(view: &View<'_>, interface: &Interface, out: &mut Vec<u8>) {
    let (unit, settings) = (interface.unit(), interface.settings());
    let mut object = Object::new(out);
    object.string("interface", format_args!("pflow{unit}"));
    object.strings("flags", flags(interface).1);
    object.number("mtu", shown_mtu(settings));
    for (name, value) in config::shown(settings) {
        // The name mtu is taken above, by the value that ifconfig shows.
        let name = if name == "mtu" { "requestedMtu" } else { name };
        match value {
            Shown::Number(number) | Shown::Octets(number) => object.number(name, number),
            Shown::List(values) => object.strings(name, values),
            Shown::Word(word) | Shown::Words(word) => object.string(name, word),
        }
    }
    if let Some(state) = collector(interface) {
        object.string("collector", state);
    }
    let FileState { current, problem } = interface.file();
    if let Some((name, octets)) = current {
        object.string("currentFile", name);
        object.number("currentFileOctets", *octets);
    }
    if let Some(problem) = problem {
        object.string("fileProblem", problem);
    }
    if let Some(spool) = interface.spool() {
        object.number("spoolOctets", spool.octets);
        let behind = spool_behind(view, interface);
        object.number("spoolSecondsBehind", behind.unwrap_or(0));
    }
    object.end();
    out.push(b'\n');
}

/// Appends one line an interface, and with `is_verbose` another for its socket.
pub(super) fn list(
    view: &View<'_>,
    unit: Option<u32>,
    is_verbose: bool,
    out: &mut Vec<u8>,
) -> Result<(), String> {
    for interface in chosen(view, unit)? {
        let (unit, settings) = (interface.unit(), interface.settings());
        let version = version(settings);
        put!(
            out,
            "pflow{unit}: version {version} domain {}",
            settings.domain
        );
        if let Some(src) = settings.flowsrc {
            put!(out, " src {src}");
        }
        if let Some(dst) = settings.flowdst {
            put!(out, " dst {dst}");
        }
        if let Some(file) = &settings.file {
            put!(out, " file {file}");
        }
        out.push(b'\n');
        file_lines(interface, out);
        if is_verbose && settings.file.is_none() {
            put!(out, "\tsocket: {}\n", socket(interface));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::config::{Config, apply_text, interface_word_names};
    use crate::control::Source;
    use crate::counters::ControlCounters;
    use crate::engine::{self, Engine};
    use crate::flow::Boot;
    use crate::output::messages::Detail;
    use crate::output::{Form as Printed, Output};
    use crate::troubles::Troubles;

    /// A value of each setting that is not the default.
    const SET: &[(&str, &str)] = &[
        ("flowsrc", "127.0.0.1:7"),
        ("flowdst", "127.0.0.1:9"),
        ("pflowproto", "10"),
        ("mtu", "1400"),
        ("template", "freebsd"),
        ("domain", "7"),
        ("engine", "3 4"),
        ("enterprise", "32473"),
        ("statistics", "300"),
        ("biflow", "on"),
        ("icmp", "iana"),
        ("hold", "8"),
        ("refresh", "600"),
        ("refreshpackets", "9"),
        ("active", "90"),
        ("direction", "out"),
        ("records", "connection"),
        ("transport", "tls"),
        ("backup", "127.0.0.1:10"),
        ("reconnect", "5"),
        ("spool", "/tmp/s 64M"),
        ("queue", "100001"),
        ("ca", "/etc/ssl/ca.pem"),
        ("cert", "/etc/ssl/own.pem"),
        ("key", "/etc/ssl/own.key"),
        ("servername", "collector.example"),
        (
            "pin",
            "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
        ),
        ("renew", "60"),
        ("rate", "900"),
        ("tap", "/tmp/t"),
        ("only", "host 10.0.0.5 and not port 53"),
    ];
    /// The same of an interface that has no collector.
    const SET_OF_FILES: &[(&str, &str)] = &[
        ("pflowproto", "10"),
        ("template", "full"),
        ("events", "nat"),
        ("delay", "7"),
        ("file", "/tmp/f-%s"),
        ("rotate", "600"),
        ("compress", "gzip"),
        ("retain", "9"),
    ];
    /// What each system has values of its own for.
    const SET_HERE: &[(&str, &str)] = if cfg!(target_os = "linux") {
        &[("rdomain", "vrf-blue")]
    } else {
        &[("rdomain", "3")]
    };
    /// FreeBSD's words for three of them.
    const SYNONYMS: [&str; 3] = ["src", "dst", "proto"];

    #[test]
    fn every_setting_is_shown_in_text_and_json_before_anything_is_heard() {
        let valued = interface_word_names().filter(|(_, has_value)| *has_value);
        let names: BTreeSet<_> = valued.map(|(name, _)| name).collect();
        let all = [SET, SET_OF_FILES, SET_HERE].concat();
        let set = all.iter().map(|(name, _)| *name).chain(SYNONYMS);
        assert_eq!(names, set.collect());
        check_shown(&[SET_HERE, SET].concat());
        check_shown(SET_OF_FILES);
    }

    fn check_shown(set: &[(&str, &str)]) {
        let words: String = set.iter().map(|(a, b)| format!(" {a} {b}")).collect();
        let mut config = Config::default();
        apply_text(&mut config, "test", &format!("pflow3{words}\n")).unwrap();
        let settings = engine::Settings {
            states: 10,
            is_all: true,
            direction: None,
            boot: Boot::Unknown,
            local_addresses: Vec::new(),
            output: Output {
                form: Printed::None,
                detail: Detail::Brief,
            },
        };
        let engine = Engine::new(settings, config);
        let sources: [Source; 0] = [];
        let view = View {
            engine: &engine,
            sources: &sources,
            troubles: &Troubles::default(),
            control: &ControlCounters::default(),
            now: None,
            waiting: 0,
        };
        let shown = |form| {
            let mut out = Vec::new();
            show(&view, Some(3), form, &mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        let text = shown(AnswerForm::Text);
        let json: serde_json::Value = serde_json::from_str(&shown(AnswerForm::Json)).unwrap();
        for (name, value) in set {
            let in_text = match *name {
                "flowsrc" => format!("sender: {value} "),
                "flowdst" => format!("receiver: {value} "),
                "pflowproto" => format!("version: {value}\n"),
                name => format!(" {name} {value}"),
            };
            assert!(text.contains(&in_text), "{in_text} is not in {text}");
            let member = match *name {
                "mtu" => &json["requestedMtu"],
                name => &json[name],
            };
            let shown = match member {
                serde_json::Value::String(word) => word.clone(),
                serde_json::Value::Array(words) => words[0].as_str().unwrap().to_owned(),
                other => other.to_string(),
            };
            assert_eq!(shown, *value, "{name}");
        }
    }
}
