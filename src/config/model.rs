//! What is configured, and how a command changes it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use super::checks::check;
use super::{
    Command, Error, InterfaceWord, MAX_CAPTURES, MAX_IFINDEXES, MAX_INTERFACES, MAX_PEERS,
    ProgramWord, SolicitWord,
};
use crate::accounting::Counting;
use crate::export::Settings;
use crate::flow::Records;
use crate::solicit;
use crate::state::{IfName, Timeouts};
use crate::table::Bound;
use crate::time::Wall;

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
        self.solicit.interface.as_ref()?;
        Some(solicit::Settings {
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
