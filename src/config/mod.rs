//! Floor 5: one grammar for /etc/pflow.conf, -e and the rest of the command line, and what it
//! makes.
//!
//! A line is taken whole or not at all: [`Config::apply`] works on a copy and keeps it only if
//! every word was good and the outcome makes sense.

mod file;
mod grammar;
mod pattern;
mod show;
mod words;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

pub use file::{Loader, Place, PlacedError, ReadFile, apply_line, apply_text, apply_words, words};
pub use grammar::{
    Command, InterfaceWord, ProgramWord, SolicitWord, Spelling, interface_word_names, parse,
    program_word_names,
};
pub(crate) use grammar::{lookup, parse_interface, unit_number};
pub use pattern::{MAX_NUMBER, Pattern, Rank, numbered};

use crate::accounting::Counting;
use crate::export::{
    Carrier, Events, Format, MAX_BACKUPS, MAX_PINS, MIN_DTLS_MTU, Settings, TemplateSet, is_whole,
};
use crate::flow::Records;
use crate::solicit;
use crate::state::{IfName, Timeouts};
use crate::table::Bound;
use crate::time::Wall;
pub use words::{Setting, Shown, further_words, shown, values_of};

/// Most interfaces there may be.
pub const MAX_INTERFACES: usize = 256;
/// Most capture interfaces.
pub const MAX_CAPTURES: usize = 64;
/// Most `ifindex` settings.
pub const MAX_IFINDEXES: usize = 4096;
/// Most `solicit peer` settings.
pub const MAX_PEERS: usize = 16;

/// What is wrong with a line: the word it is about and what is wrong with it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Error {
    /// The word.
    pub word: String,
    /// What is wrong.
    pub problem: String,
}

impl Error {
    fn new(word: impl fmt::Display, problem: impl fmt::Display) -> Self {
        Self {
            word: word.to_string(),
            problem: problem.to_string(),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.word, self.problem)
    }
}

/// Everything that can be set by a line.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Config {
    /// pflow interfaces by number.
    pub interfaces: BTreeMap<u32, Settings>,
    /// Where to capture, in the order named.
    pub captures: Vec<String>,
    /// Most states held, or the memory for them.
    pub states: Option<Bound>,
    /// When the machine came up.
    pub boottime: Option<Wall>,
    /// pf's timeouts.
    pub timeouts: Timeouts,
    /// Which counters flows get that are not exact.
    pub counting: Counting,
    /// `records`: what is printed, and the default of interfaces.
    pub records: Records,
    /// Indexes to export for interface names.
    pub ifindexes: BTreeMap<Vec<u8>, u16>,
    /// Whether other names get numbers as they are heard.
    pub is_ifindex_auto: bool,
    /// Whether states alive at the end are exported.
    pub is_flush_active: bool,
    /// Whether to stay out of the multicast group.
    pub is_join_off: bool,
    /// The control socket.
    pub socket: Option<String>,
    /// The control socket that answers `show` only.
    pub socket_readonly: Option<String>,
    /// Asking firewalls for whole states.
    pub solicit: Solicit,
    /// Whom to run as once everything is open.
    pub user: Option<String>,
    /// Keeping the table over a restart.
    pub keep: Keep,
}

/// What `keep` sets.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Keep {
    /// Where, if at all.
    pub file: Option<String>,
    /// How often, seconds.
    pub interval: u32,
}

/// How often the table is kept unless the configuration says, seconds.
pub const DEFAULT_KEEP_INTERVAL: u32 = 60;

impl Default for Keep {
    fn default() -> Self {
        Self {
            file: None,
            interval: DEFAULT_KEEP_INTERVAL,
        }
    }
}

/// What `solicit` sets.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Solicit {
    /// Where to ask, if at all.
    pub interface: Option<String>,
    /// States asked for in a second at most.
    pub rate: u32,
    /// Firewalls that do not hear the group.
    pub peers: Vec<IpAddr>,
}

impl Default for Solicit {
    fn default() -> Self {
        Self {
            interface: None,
            rate: solicit::DEFAULT_RATE,
            peers: Vec::new(),
        }
    }
}

impl Solicit {
    fn apply(&mut self, word: &SolicitWord) -> Result<(), Error> {
        match word {
            SolicitWord::On(name) => self.interface = Some(name.clone()),
            SolicitWord::Off => self.interface = None,
            SolicitWord::Rate(rate) => self.rate = *rate,
            SolicitWord::Peer(peer) if self.peers.contains(peer) => {}
            SolicitWord::Peer(peer) => {
                if self.peers.len() >= MAX_PEERS {
                    return Err(Error::new(peer, format!("more than {MAX_PEERS} peers")));
                }
                self.peers.push(*peer);
            }
        }
        Ok(())
    }
}

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

    /// Does what a command says.
    ///
    /// # Errors
    /// What cannot be done; then nothing was.
    pub fn apply(&mut self, command: &Command) -> Result<(), Error> {
        match command {
            Command::Interface { unit, words } => self.apply_to_interface(*unit, words),
            Command::Program(word) => self.apply_to_program(word),
        }
    }

    /// How to ask firewalls for states, if they are to be asked.
    pub fn soliciting(&self) -> Option<solicit::Settings> {
        let is_network = self.solicit.interface.is_some();
        let is_pf = self.counting == Counting::Pf;
        (is_network || is_pf).then(|| solicit::Settings {
            is_network,
            is_pf,
            rate: self.solicit.rate,
            peers: self.solicit.peers.clone(),
            timeouts: self.timeouts,
            active: self.shortest_active(),
        })
    }

    /// The shortest active timeout of an interface.
    fn shortest_active(&self) -> Option<Duration> {
        let periods = self.interfaces.values().map(|settings| settings.active);
        let shortest = periods.filter(|period| *period > 0).min()?;
        Some(Duration::from_secs(shortest.into()))
    }

    fn apply_to_interface(&mut self, unit: u32, words: &[InterfaceWord]) -> Result<(), Error> {
        if !self.interfaces.contains_key(&unit) && self.interfaces.len() >= MAX_INTERFACES {
            let problem = format!("more than {MAX_INTERFACES} interfaces");
            return Err(Error::new(format_args!("pflow{unit}"), problem));
        }
        let mut settings = self.interfaces.get(&unit).cloned();
        for word in words {
            match word {
                InterfaceWord::Destroy => settings = None,
                other => other.apply(settings.get_or_insert_default()),
            }
        }
        if let Some(settings) = &settings {
            check(settings)?;
            self.check_tap(unit, settings)?;
            self.check_file(unit, settings)?;
        }
        match settings {
            Some(settings) => drop(self.interfaces.insert(unit, settings)),
            None => drop(self.interfaces.remove(&unit)),
        }
        Ok(())
    }

    /// Two taps would spoil each other's file.
    fn check_tap(&self, unit: u32, settings: &Settings) -> Result<(), Error> {
        let Some(file) = &settings.tap else {
            return Ok(());
        };
        match self
            .taps()
            .find(|(other, name)| *other != unit && name == file)
        {
            Some((other, _)) => Err(Error::new("tap", format!("{file} is pflow{other}'s"))),
            None => Ok(()),
        }
    }

    /// Two interfaces would take each other's names.
    fn check_file(&self, unit: u32, settings: &Settings) -> Result<(), Error> {
        let Some(file) = &settings.file else {
            return Ok(());
        };
        let mut others = self.interfaces.iter();
        let is_same = |other: &Settings| other.file.as_ref() == Some(file);
        match others.find(|(other, settings)| **other != unit && is_same(settings)) {
            Some((other, _)) => Err(Error::new("file", format!("{file} is pflow{other}'s"))),
            None => Ok(()),
        }
    }

    /// Savefiles that take what interfaces send, with the interface's number.
    pub fn taps(&self) -> impl Iterator<Item = (u32, &str)> {
        let interfaces = self.interfaces.iter();
        interfaces.filter_map(|(unit, settings)| Some((*unit, settings.tap.as_deref()?)))
    }

    /// The savefile that takes what pflow`unit` sends.
    pub fn tap(&self, unit: u32) -> Option<&str> {
        self.interfaces.get(&unit)?.tap.as_deref()
    }

    fn apply_to_program(&mut self, word: &ProgramWord) -> Result<(), Error> {
        match word {
            ProgramWord::Interface(name) => {
                if self.captures.len() >= MAX_CAPTURES {
                    return Err(Error::new(
                        name,
                        format!("more than {MAX_CAPTURES} captures"),
                    ));
                }
                if !self.captures.contains(name) {
                    self.captures.push(name.clone());
                }
            }
            ProgramWord::States(states) => self.states = Some(*states),
            ProgramWord::BootTime(time) => self.boottime = Some(*time),
            ProgramWord::Timeout { name, seconds } => {
                if !self.timeouts.set(name, *seconds) {
                    return Err(Error::new(name, "not a timeout of pf's states"));
                }
            }
            ProgramWord::IfIndex { name, index } => {
                let name_octets = IfName::from(&**name).as_bytes().to_vec();
                let is_new = !self.ifindexes.contains_key(&name_octets);
                if is_new && self.ifindexes.len() >= MAX_IFINDEXES {
                    return Err(Error::new(
                        name,
                        format!("more than {MAX_IFINDEXES} indexes"),
                    ));
                }
                self.ifindexes
                    .insert(IfName::from(&**name).as_bytes().to_vec(), *index);
            }
            ProgramWord::IfIndexAuto => self.is_ifindex_auto = true,
            ProgramWord::Counters(counting) => self.counting = *counting,
            ProgramWord::Records(records) => self.records = *records,
            ProgramWord::FlushActive(on) => self.is_flush_active = *on,
            ProgramWord::Join(on) => self.is_join_off = !on,
            ProgramWord::Socket { file, is_readonly } => {
                let (socket, other) = match is_readonly {
                    false => (&mut self.socket, &self.socket_readonly),
                    true => (&mut self.socket_readonly, &self.socket),
                };
                if other.as_ref() == Some(file) {
                    return Err(Error::new("socket", format!("{file} is the other one")));
                }
                *socket = Some(file.clone());
            }
            ProgramWord::Solicit(word) => self.solicit.apply(word)?,
            ProgramWord::User(name) => self.user = Some(name.clone()),
            ProgramWord::KeepFile(file) => self.keep.file = Some(file.clone()),
            ProgramWord::KeepInterval(seconds) => self.keep.interval = *seconds,
        }
        Ok(())
    }
}

/// What no single word can see.
fn check(settings: &Settings) -> Result<(), Error> {
    if settings.backups.len() > MAX_BACKUPS {
        let problem = format!("more than {MAX_BACKUPS} of them");
        return Err(Error::new("backup", problem));
    }
    if let Some(wrong) = settings.backups.iter().find(|to| !is_whole(to)) {
        return Err(Error::new(
            "backup",
            format!("{wrong} has no address or no port"),
        ));
    }
    if settings.file.is_some() && settings.flowdst.is_some() {
        return Err(Error::new("file", "there is a flowdst already"));
    }
    if settings.file.is_some() && settings.tap.is_some() {
        let problem = "there is a file already, which has the same messages";
        return Err(Error::new("tap", problem));
    }
    let word = match settings.carrier {
        _ if settings.file.is_some() => Some("file"),
        Carrier::Udp => None,
        Carrier::Tcp | Carrier::Tls | Carrier::Dtls | Carrier::Sctp => Some("transport"),
    };
    if let Some(word) = word
        && settings.format != Format::Ipfix
    {
        // These two keep messages apart.
        let keeps_apart = matches!(settings.carrier, Carrier::Dtls | Carrier::Sctp);
        match settings.format {
            Format::NetFlow9 if keeps_apart && settings.file.is_none() => {
                if settings.spool.is_some() {
                    return Err(Error::new("spool", "IPFIX only (pflowproto 10)"));
                }
            }
            Format::NetFlow5 if keeps_apart => {
                let problem = "not with pflowproto 5, which goes over UDP";
                return Err(Error::new(word, problem));
            }
            _ => {
                let problem = "IPFIX only (pflowproto 10): other messages do not tell their length";
                return Err(Error::new(word, problem));
            }
        }
    }
    check_carrier(settings)?;
    check_events(settings)?;
    let Some(src) = settings.flowsrc else {
        return Ok(());
    };
    let is_other = |to: &SocketAddr| to.is_ipv4() != src.address.is_ipv4();
    if settings.flowdst.as_ref().is_some_and(is_other) {
        return Err(Error::new("flowsrc", "another address family than flowdst"));
    }
    match settings.backups.iter().find(|to| is_other(to)) {
        Some(to) => Err(Error::new(
            "flowsrc",
            format!("another address family than backup {to}"),
        )),
        None => Ok(()),
    }
}

/// What has NAT events.
fn check_events(settings: &Settings) -> Result<(), Error> {
    if settings.events == Events::None {
        return Ok(());
    }
    let problem = match (settings.format, settings.templates) {
        (Format::Ipfix, TemplateSet::Full) => return Ok(()),
        (Format::Ipfix, TemplateSet::FreeBsd) => {
            "nat: needs template full; template freebsd has NAT events of its own"
        }
        (Format::Ipfix, TemplateSet::OpenBsd | TemplateSet::OpenBsd78) => {
            "nat: needs template full"
        }
        (Format::NetFlow5 | Format::NetFlow9, _) => "nat: needs pflowproto 10 and template full",
    };
    Err(Error::new("events", problem))
}

/// What a transport needs.
fn check_carrier(settings: &Settings) -> Result<(), Error> {
    let wrong = |problem: String| Err(Error::new("transport", problem));
    if settings.carrier == Carrier::Sctp && !HAS_SCTP {
        return wrong("sctp: this system has no SCTP".to_owned());
    }
    if settings.pins.len() > MAX_PINS {
        return Err(Error::new("pin", format!("more than {MAX_PINS} of them")));
    }
    if settings.cert.is_some() != settings.key.is_some() {
        return Err(Error::new("cert", "cert and key go together"));
    }
    if settings.carrier.is_secure() && settings.ca.is_none() {
        return wrong("it needs ca: whom to trust".to_owned());
    }
    if settings.carrier == Carrier::Dtls && settings.mtu < MIN_DTLS_MTU {
        return Err(Error::new(
            "mtu",
            format!("with transport dtls at least {MIN_DTLS_MTU}"),
        ));
    }
    Ok(())
}

/// Whether sockets can be SCTP's here.
const HAS_SCTP: bool = cfg!(any(target_os = "linux", target_os = "freebsd"));

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

/// Parses the argument of -b: UNIX seconds with an optional fraction.
///
/// # Errors
/// What is wrong with it.
pub fn boottime(text: &str) -> Result<Wall, String> {
    grammar::boottime(text)
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

/// Parses the argument of -m.
///
/// # Errors
/// What is wrong with it.
pub fn states(text: &str) -> Result<Bound, String> {
    grammar::bound(text)
}

/// Parses the argument of -s.
///
/// # Errors
/// What is wrong with it.
pub fn socket(text: &str) -> Result<String, String> {
    grammar::socket_name(text)
}

/// Parses the argument of -u.
///
/// # Errors
/// What is wrong with it.
pub fn user(text: &str) -> Result<String, String> {
    grammar::user_name(text)
}
