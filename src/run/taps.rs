//! Where the datagrams that interfaces send go, too: savefiles and clients of the control socket.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::parent::Parent;
use crate::config::Config;
use crate::io::clock::Clock;
use crate::io::log::Log;
use crate::io::tap::{Pushed, Tap};
use crate::io::transport::WhenFull;
use crate::time::Wall;
use crate::wire::{savefile, udp};

/// Most clients that follow interfaces.
const MAX_STREAMS: usize = 8;
/// How long the end of a live capture waits for what all taps have not written yet.
const LAST: Duration = Duration::from_secs(1);

/// All taps.
pub(super) struct Taps {
    files: BTreeMap<u32, FileTap>,
    streams: Vec<(u32, Tap)>,
    when_full: WhenFull,
    /// The next IPv4 id.
    id: u16,
    packet: Vec<u8>,
}

/// A savefile that takes what an interface sends.
struct FileTap {
    name: String,
    tap: Tap,
}

/// Taps opened for a configuration that is not in force yet: their files are as they were.
pub(super) struct OpenedTaps(BTreeMap<u32, FileTap>);

/// What taps did with a datagram.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tapped {
    pub(super) taken: u64,
    pub(super) dropped: u64,
}

impl Taps {
    pub(super) fn new(when_full: WhenFull) -> Self {
        Self {
            files: BTreeMap::new(),
            streams: Vec::new(),
            when_full,
            id: 0,
            packet: Vec::new(),
        }
    }

    /// Opens the files that `config` names and that are not being written to, or has them opened.
    pub(super) fn prepare(
        &self,
        config: &Config,
        parent: Option<&Parent>,
    ) -> Result<OpenedTaps, String> {
        let mut opened = BTreeMap::new();
        for (unit, name) in config.taps() {
            if self.files.get(&unit).is_some_and(|tap| tap.name == name) {
                continue;
            }
            if let Some((other, _)) = self.files.iter().find(|(_, tap)| tap.name == name) {
                return Err(format!("pflow{unit}: tap: {name} is pflow{other}'s"));
            }
            let problem = |problem: String| format!("pflow{unit}: tap: {name}: {problem}");
            let file = match parent {
                Some(parent) => parent.open_tap(name).map_err(problem)?,
                None => open(name).map_err(|error| problem(error.to_string()))?,
            };
            let tap = Tap::to_file(file, name, self.when_full)
                .map_err(|error| problem(error.to_string()))?;
            let name = name.to_owned();
            opened.insert(unit, FileTap { name, tap });
        }
        Ok(OpenedTaps(opened))
    }

    /// Takes the files of [`Self::prepare`] into use and closes those that are not wanted any more.
    pub(super) fn commit(&mut self, config: &Config, opened: OpenedTaps) {
        let files = std::mem::take(&mut self.files).into_iter();
        let (kept, closed): (BTreeMap<_, _>, BTreeMap<_, _>) =
            files.partition(|(unit, tap)| config.tap(*unit) == Some(&tap.name));
        self.files = kept;
        if self.when_full == WhenFull::Wait {
            for tap in closed.into_values() {
                tap.tap.finish(None);
            }
        } // else what they have is written while the export goes on
        for (unit, mut tap) in opened.0 {
            tap.tap.begin();
            self.files.insert(unit, tap);
        }
        let stays = |unit: &u32| config.interfaces.contains_key(unit);
        self.streams.retain(|(unit, _)| stays(unit));
    }

    /// Whether there is room for one more client.
    pub(super) fn check_streams(&mut self) -> Result<(), String> {
        self.streams.retain(|(_, tap)| !tap.is_gone());
        match self.streams.len() {
            MAX_STREAMS.. => Err(format!("{MAX_STREAMS} clients follow interfaces already")),
            _ => Ok(()),
        }
    }

    /// Lets a client follow interface `unit`. If it cannot, its connection ends.
    pub(super) fn add_stream(&mut self, unit: u32, stream: UnixStream) {
        if self.check_streams().is_err() {
            return;
        }
        if let Ok(mut tap) = Tap::to_stream(stream, &format!("pflow{unit}")) {
            tap.begin();
            self.streams.push((unit, tap));
        }
    }

    /// Whether somebody wants what interface `unit` sends.
    pub(super) fn wants(&self, unit: u32) -> bool {
        let mut streams = self.streams.iter();
        self.files.contains_key(&unit) || streams.any(|(other, _)| *other == unit)
    }

    /// Hands over what interface `unit` sent.
    pub(super) fn push(
        &mut self,
        unit: u32,
        (from, to): (SocketAddr, SocketAddr),
        stamp: Wall,
        payload: &[u8],
    ) -> Tapped {
        let mut tapped = Tapped::default();
        self.packet.clear();
        let Some(ends) = udp::Ends::new(from, to) else {
            return tapped;
        };
        self.id = self.id.wrapping_add(1);
        if udp::packet(&ends, self.id, payload, &mut self.packet).is_err() {
            return tapped;
        }
        let mut record = Vec::with_capacity(self.packet.len() + savefile::write::RECORD_HEADER);
        savefile::write::record(stamp, &self.packet, &mut record);
        let mut give = |tap: &mut Tap| match tap.push(record.clone()) {
            Pushed::Taken => tapped.taken += 1,
            Pushed::Dropped | Pushed::Gone => tapped.dropped += 1,
        };
        if let Some(file) = self.files.get_mut(&unit) {
            give(&mut file.tap);
        }
        let mut streams = self.streams.iter_mut();
        for (_, tap) in streams.by_ref().filter(|(other, _)| *other == unit) {
            if !tap.is_gone() {
                give(tap);
            }
        }
        self.streams.retain(|(_, tap)| !tap.is_gone());
        tapped
    }

    /// Why datagrams could not be written.
    pub(super) fn problems(&mut self) -> impl Iterator<Item = String> + '_ {
        let mut files = self.files.values_mut();
        std::iter::from_fn(move || files.find_map(|file| file.tap.take_problem()))
    }

    /// Interfaces, and how many datagrams their files took and could not write since this was asked
    /// last.
    pub(super) fn failures(&mut self) -> impl Iterator<Item = (u32, u64)> + '_ {
        let files = self.files.iter_mut();
        files.map(|(unit, file)| (*unit, file.tap.take_failed()))
    }

    /// Has what waits written, by a replay however long that takes, and tells the log what was
    /// not.
    pub(super) fn finish(&mut self, log: &mut Log, clock: &Clock) {
        let end = clock.now().uptime.after(LAST);
        let left = || end.since(clock.now().uptime);
        for problem in self.problems() {
            log.warn(&problem);
        }
        let is_live = self.when_full == WhenFull::Drop;
        for file in std::mem::take(&mut self.files).into_values() {
            let lost = file.tap.finish(is_live.then(left));
            if lost > 0 {
                log.warn(&format!("{}: {lost} datagrams not written", file.name));
            }
        }
        for (_, tap) in self.streams.drain(..) {
            tap.finish(Some(left()));
        }
    }
}

/// Opens a regular file for writing, nobody else's to read if it is new. What is in it stays.
pub(super) fn open(name: &str) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    // A FIFO would hold the program up until it has a reader.
    options.write(true).create(true).truncate(false);
    options.mode(0o600).custom_flags(libc::O_NONBLOCK);
    let file = options.open(name)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(std::io::Error::other("not a regular file")),
    }
}
