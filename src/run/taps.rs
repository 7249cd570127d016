//! Taps get a copy of the datagrams that interfaces send. A tap is a savefile or a client of the
//! control socket.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use nix::fcntl::OFlag;

use super::parent::Parent;
use crate::config::Config;
use crate::io::clock::Clock;
use crate::io::files::Entry;
use crate::io::log::Log;
use crate::io::tap::{Pushed, Tap};
use crate::io::transport::WhenFull;
use crate::time::Wall;
use crate::wire::{savefile, udp};

/// Most clients that follow interfaces.
const MAX_STREAMS: usize = 8;
/// How long the end of a live capture waits for the taps to write the rest.
const LAST: Duration = Duration::from_secs(1);

/// All taps.
pub(super) struct Taps {
    files: BTreeMap<u32, FileTap>,
    streams: Vec<(u32, Tap)>,
    /// Files that are not wanted any more and write what they have.
    closed: Vec<(u32, FileTap)>,
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

/// Taps opened for a configuration that is not in force yet. Nothing was written to their files.
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
            closed: Vec::new(),
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
        for (unit, mut tap) in closed {
            match self.when_full {
                WhenFull::Wait => drop(tap.tap.finish(None)),
                WhenFull::Drop => tap.tap.close(),
            }
            self.closed.push((unit, tap));
        }
        for (unit, mut tap) in opened.0 {
            tap.tap.begin();
            self.files.insert(unit, tap);
        }
        let stays = |unit: &u32| config.interfaces.contains_key(unit);
        self.streams.retain(|(unit, _)| stays(unit));
        self.closed.retain(|(unit, _)| stays(unit));
    }

    /// Whether there is room for one more client.
    pub(super) fn check_streams(&self) -> Result<(), String> {
        match self
            .streams
            .iter()
            .filter(|(_, tap)| !tap.is_gone())
            .count()
        {
            MAX_STREAMS.. => Err(format!("{MAX_STREAMS} clients follow interfaces already")),
            _ => Ok(()),
        }
    }

    /// Lets a client follow interface `unit`. If it cannot, its connection ends.
    ///
    /// # Errors
    /// There are too many, or the system refuses what it takes.
    pub(super) fn add_stream(&mut self, unit: u32, stream: UnixStream) -> Result<(), String> {
        self.check_streams()?;
        let tap = Tap::to_stream(stream, &format!("pflow{unit}"));
        let mut tap = tap.map_err(|error| error.to_string())?;
        tap.begin();
        self.streams.push((unit, tap));
        Ok(())
    }

    /// Whether somebody wants what interface `unit` sends.
    pub(super) fn wants(&self, unit: u32) -> bool {
        let mut streams = self.streams.iter();
        self.files.contains_key(&unit) || streams.any(|(other, _)| *other == unit)
    }

    /// Hands over what interface `unit` sent: each of its taps takes or drops it.
    pub(super) fn push(
        &mut self,
        unit: u32,
        (from, to): (SocketAddr, SocketAddr),
        stamp: Wall,
        payload: &[u8],
    ) -> Tapped {
        let mut tapped = Tapped::default();
        self.packet.clear();
        self.id = self.id.wrapping_add(1);
        // A packet cannot be made if the addresses are of two families, or if the payload is too
        // long for IP.
        let is_packet = udp::Ends::new(from, to)
            .is_some_and(|ends| udp::packet(&ends, self.id, payload, &mut self.packet).is_ok());
        let mut record = Vec::with_capacity(self.packet.len() + savefile::write::RECORD_HEADER);
        savefile::write::record(stamp, &self.packet, &mut record);
        let mut give = |tap: &mut Tap| {
            let is_taken = is_packet && tap.push(record.clone()) == Pushed::Taken;
            let counter = match is_taken {
                true => &mut tapped.taken,
                false => &mut tapped.dropped,
            };
            *counter += 1;
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
        tapped
    }

    /// Why datagrams could not be written.
    pub(super) fn problems(&mut self) -> impl Iterator<Item = String> + '_ {
        let closed = self.closed.iter_mut().map(|(_, file)| file);
        let mut files = self.files.values_mut().chain(closed);
        std::iter::from_fn(move || files.find_map(|file| file.tap.take_problem()))
    }

    /// Returns interfaces, and how many datagrams their taps took and then lost since the last
    /// call. Forgets taps that are gone once their losses were told.
    pub(super) fn losses(&mut self) -> Vec<(u32, u64)> {
        let mut losses = Vec::new();
        let mut tell = |unit: u32, tap: &mut Tap| {
            // The order matters: a tap that is gone loses nothing more, so its losses are read
            // after that.
            let is_gone = tap.is_gone();
            match tap.take_failed() {
                0 => {}
                lost => losses.push((unit, lost)),
            }
            !is_gone
        };
        for (unit, file) in &mut self.files {
            tell(*unit, &mut file.tap);
        }
        self.closed
            .retain_mut(|(unit, file)| tell(*unit, &mut file.tap));
        self.streams.retain_mut(|(unit, tap)| tell(*unit, tap));
        losses
    }

    /// Waits until the taps have written what waits, and logs what they did not write. A replay
    /// waits however long that takes. [`Self::losses`] tells the rest.
    pub(super) fn finish(&mut self, log: &mut Log, clock: &Clock) {
        let end = clock.now().uptime.after(LAST);
        let left = || end.since(clock.now().uptime);
        for problem in self.problems() {
            log.warn(&problem);
        }
        let is_live = self.when_full == WhenFull::Drop;
        self.closed.extend(std::mem::take(&mut self.files));
        for (_, file) in &mut self.closed {
            let lost = file.tap.finish(is_live.then(left));
            if lost > 0 {
                log.warn(&format!("{}: {lost} datagrams not written", file.name));
            }
        }
        for (_, tap) in &mut self.streams {
            tap.finish(Some(left()));
        }
    }
}

/// Opens a regular file for writing, nobody else's to read if it is new. What is in it stays.
pub(super) fn open(name: &str) -> std::io::Result<File> {
    Entry::find(Path::new(name))?.open(OFlag::O_WRONLY | OFlag::O_CREAT)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Taps of which interface 0 writes to `file`.
    fn taps(file: File, when_full: WhenFull) -> Taps {
        let mut taps = Taps::new(when_full);
        let name = "tap".to_owned();
        let tap = Tap::to_file(file, &name, when_full).unwrap();
        taps.files.insert(0, FileTap { name, tap });
        taps
    }

    fn push(taps: &mut Taps, ends: [&str; 2], payload: &[u8]) -> (u64, u64) {
        let [from, to] = ends.map(|end| end.parse().unwrap());
        let tapped = taps.push(0, (from, to), Wall::default(), payload);
        (tapped.taken, tapped.dropped)
    }

    #[test]
    fn a_datagram_that_makes_no_packet_is_dropped_not_forgotten() {
        let null = File::options().write(true).open("/dev/null").unwrap();
        let mut taps = taps(null, WhenFull::Wait);
        let ends = ["10.0.0.1:1", "10.0.0.2:2"];
        assert_eq!(push(&mut taps, ends, &[0; 9]), (1, 0));
        assert_eq!(push(&mut taps, ends, &[0; 65_536]), (0, 1));
        assert_eq!(push(&mut taps, ["0.0.0.0:1", "[::1]:2"], &[0; 9]), (0, 1));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn every_datagram_taken_and_lost_is_told_of_once_whenever_the_tap_is_closed() {
        for is_closed_first in [false, true] {
            let full = File::options().write(true).open("/dev/full").unwrap();
            let mut taps = taps(full, WhenFull::Wait);
            let (mut taken, mut lost) = (0, 0);
            for _ in 0..3000 {
                taken += push(&mut taps, ["10.0.0.1:1", "10.0.0.2:2"], &[0; 90]).0;
                lost += taps.losses().into_iter().map(|(_, lost)| lost).sum::<u64>();
            }
            assert_eq!(taken, 3000);
            if is_closed_first {
                let mut config = Config::default();
                config.interfaces.insert(0, Default::default());
                taps.commit(&config, OpenedTaps(BTreeMap::new()));
                assert!(taps.files.is_empty() && !taps.wants(0));
            }
            let clock = Clock::new(None);
            taps.finish(&mut Log::stderr(false), &clock);
            lost += taps.losses().into_iter().map(|(_, lost)| lost).sum::<u64>();
            assert_eq!(lost, 3000);
            assert!(taps.losses().is_empty());
        }
    }
}
