//! The files of spools, as the export loop uses them. The parent opens them, if there is one. The
//! loop writes, reads and cuts them by their descriptors.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::parent::{Parent, SpoolFiles};
use crate::export::SpoolSettings;
use crate::export::spool::{Spool, Spooled, Store};
use crate::io::spool::{SpoolDirectory, segment_name};

/// Most segments of a spool that are open: the one that is written, the one that is read, a spare,
/// and one that is to be removed.
const OPEN: usize = 4;

/// Who opens files.
enum Opener {
    Parent(SpoolFiles),
    Own(SpoolDirectory),
}

/// The segments of one spool.
pub(super) struct Segments {
    opener: Opener,
    unit: u32,
    directory: String,
    position: File,
    open: BTreeMap<u32, File>,
    /// Whether the program still starts. Only then it waits for a parent that is busy.
    is_start: bool,
}

/// Opens the spool of pflow`unit`.
///
/// # Errors
/// It cannot be used.
pub(super) fn open(
    unit: u32,
    settings: &SpoolSettings,
    parent: Option<&Parent>,
) -> io::Result<Spooled<Segments>> {
    let directory = settings.directory.clone();
    let (opener, position) = match parent {
        Some(parent) => {
            let files = parent.spool(unit, &directory);
            let position = files.position()?;
            (Opener::Parent(files), position)
        }
        None => {
            let own = SpoolDirectory::new(&directory, unit);
            let position = own.position()?;
            (Opener::Own(own), position)
        }
    };
    let segments = Segments {
        opener,
        unit,
        directory,
        position,
        open: BTreeMap::new(),
        is_start: true,
    };
    let mut spool = Spool::open(segments, settings.octets)?;
    spool.store_mut().is_start = false;
    Ok(Spooled::new(spool))
}

impl Segments {
    fn keep(&mut self, segment: u32, file: File) {
        while self.open.len() >= OPEN {
            // What is read moves up, and so does what is written.
            self.open.pop_first();
        }
        self.open.insert(segment, file);
    }

    fn file(&mut self, segment: u32) -> io::Result<&File> {
        if !self.open.contains_key(&segment) {
            let file = match &self.opener {
                Opener::Parent(parent) => parent.open(segment, self.is_start)?,
                Opener::Own(directory) => directory.open(segment)?,
            };
            self.keep(segment, file);
        }
        self.open
            .get(&segment)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Store for Segments {
    fn name(&self) -> String {
        self.directory.clone()
    }

    fn name_of(&self, segment: u32) -> String {
        segment_name(self.unit, segment)
    }

    fn list(&mut self) -> io::Result<Vec<(u32, u64)>> {
        match &self.opener {
            Opener::Parent(parent) => parent.list(),
            Opener::Own(directory) => directory.list(),
        }
    }

    fn create(&mut self, segment: u32) -> io::Result<()> {
        let file = match &self.opener {
            Opener::Parent(parent) => parent.create(segment, self.is_start)?,
            Opener::Own(directory) => directory.create(segment)?,
        };
        self.keep(segment, file);
        Ok(())
    }

    fn read_at(&mut self, segment: u32, at: u64, octets: &mut [u8]) -> io::Result<usize> {
        self.file(segment)?.read_at(octets, at)
    }

    fn write_at(&mut self, segment: u32, at: u64, octets: &[u8]) -> io::Result<usize> {
        self.file(segment)?.write_at(octets, at)
    }

    fn cut(&mut self, segment: u32, len: u64) -> io::Result<()> {
        self.file(segment)?.set_len(len)
    }

    fn remove(&mut self, segment: u32) -> io::Result<()> {
        self.open.remove(&segment);
        match &self.opener {
            Opener::Parent(parent) => parent.remove(segment),
            Opener::Own(directory) => directory.remove(segment),
        }
    }

    fn set_aside(&mut self, segment: u32) -> io::Result<String> {
        self.open.remove(&segment);
        match &self.opener {
            Opener::Parent(parent) => parent.set_aside(segment),
            Opener::Own(directory) => directory.set_aside(segment),
        }
    }

    fn noted(&mut self) -> io::Result<Vec<u8>> {
        let mut octets = vec![0; 64];
        let read = self.position.read_at(&mut octets, 0)?;
        octets.truncate(read);
        Ok(octets)
    }

    fn note(&mut self, octets: &[u8]) -> io::Result<()> {
        self.position.write_all_at(octets, 0)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::export::spool::MIN_SPOOL;
    use crate::export::{Outgoing, TemplateSet};
    use crate::time::{Now, Wall};
    use crate::wire::ipfix;

    #[test]
    fn a_spool_without_a_parent_is_read_again_by_the_next_run() {
        let path = std::env::temp_dir().join(format!("pflow-own-spool-{}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
        let settings = SpoolSettings {
            directory: path.to_str().unwrap().to_owned(),
            octets: MIN_SPOOL,
        };
        let now = Now::with_boot(Wall::new(1000, 0), Wall::new(0, 0));
        let mut octets = vec![0; ipfix::HEADER_LEN];
        octets.extend(ipfix::set_header(256, 4 + 54));
        octets.resize(octets.len() + 54, 7);
        let outgoing = Outgoing {
            domain: 42,
            records: 1,
            options: 0,
            at: now,
            octets: &octets,
        };
        for run in 1..=3 {
            let mut spooled = open(0, &settings, None).unwrap();
            assert!(open(0, &settings, None).is_err(), "it is in use");
            for _ in 0..100 {
                spooled.push(now, &outgoing, TemplateSet::OpenBsd);
                spooled.settle(now);
            }
            assert_eq!(spooled.take_tally().spooled, 100);
            if run == 3 {
                spooled.begin();
                spooled.prepare(now, usize::MAX);
                while !spooled.is_settled() {
                    spooled.prepare(now, usize::MAX);
                    let count = spooled.prepared().count();
                    spooled.take(count);
                    spooled.acknowledge(Some(0), now.uptime);
                }
                let tally = spooled.take_tally();
                assert_eq!((tally.sent, tally.found, tally.lost), (300, 200, 0));
            }
            spooled.finish();
        }
        let left = std::fs::read_dir(&path).unwrap();
        let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["pflow0.position"]);
        std::fs::remove_dir_all(&path).unwrap();
    }
}
