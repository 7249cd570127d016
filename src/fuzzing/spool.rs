//! `spool`: any octets as the files of a spool.

use std::collections::BTreeMap;
use std::io;

use crate::export::spool::{MIN_SPOOL, Spool, Spooled, Store};
use crate::export::{Outgoing, TemplateSet};
use crate::time::{Now, Wall};
use crate::wire::ipfix;

/// Files in memory.
#[derive(Debug, Default)]
struct Files {
    segments: BTreeMap<u32, Vec<u8>>,
    note: Vec<u8>,
}

impl Files {
    fn segment(&mut self, number: u32) -> io::Result<&mut Vec<u8>> {
        let segment = self.segments.get_mut(&number);
        segment.ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// Where a segment's octets begin and how many of them are meant.
fn place(at: u64) -> usize {
    usize::try_from(at).unwrap_or(usize::MAX)
}

impl Store for Files {
    fn name(&self) -> String {
        String::new()
    }

    fn name_of(&self, segment: u32) -> String {
        segment.to_string()
    }

    fn list(&mut self) -> io::Result<Vec<(u32, u64)>> {
        let segments = self.segments.iter();
        Ok(segments
            .map(|(number, octets)| (*number, octets.len() as u64))
            .collect())
    }

    fn create(&mut self, segment: u32) -> io::Result<()> {
        let old = self.segments.insert(segment, Vec::new());
        assert!(old.is_none());
        Ok(())
    }

    fn read_at(&mut self, segment: u32, at: u64, octets: &mut [u8]) -> io::Result<usize> {
        let whole = self.segment(segment)?;
        let rest = whole.get(place(at)..).unwrap_or_default();
        let mut count = 0;
        for (to, from) in octets.iter_mut().zip(rest) {
            *to = *from;
            count += 1;
        }
        Ok(count)
    }

    fn write_at(&mut self, segment: u32, at: u64, octets: &[u8]) -> io::Result<usize> {
        let whole = self.segment(segment)?;
        whole.truncate(place(at));
        whole.extend(octets);
        Ok(octets.len())
    }

    fn cut(&mut self, segment: u32, len: u64) -> io::Result<()> {
        self.segment(segment)?.truncate(place(len));
        Ok(())
    }

    fn remove(&mut self, segment: u32) -> io::Result<()> {
        self.segments.remove(&segment);
        Ok(())
    }

    fn set_aside(&mut self, segment: u32) -> io::Result<String> {
        self.segments.remove(&segment);
        Ok(String::new())
    }

    fn noted(&mut self) -> io::Result<Vec<u8>> {
        Ok(self.note.clone())
    }

    fn note(&mut self, octets: &[u8]) -> io::Result<()> {
        self.note = octets.to_vec();
        Ok(())
    }
}

/// Two segments and the note of what was sent: all that makes sense is sent once, and so is what
/// comes after it.
pub fn spool(data: &[u8]) {
    let Some(([number, note_len, half], rest)) = data.split_first_chunk() else {
        return;
    };
    let (note, rest) = rest.split_at(usize::from(*note_len).min(rest.len()));
    let (one, other) = rest.split_at((usize::from(*half) << 4).min(rest.len()));
    let number = u32::from(*number);
    let files = Files {
        segments: BTreeMap::from([(number, one.to_vec()), (number + 1, other.to_vec())]),
        note: note.to_vec(),
    };
    // Numbers that are used up are the only reason.
    let Ok(spool) = Spool::open(files, MIN_SPOOL) else {
        return;
    };
    let mut spooled = Spooled::new(spool);
    let now = Now::with_boot(Wall::new(1_700_000_000, 0), Wall::new(1_700_000_000, 0));
    let mut own = vec![0; ipfix::HEADER_LEN];
    own.extend(ipfix::set_header(256, 4 + 54));
    own.resize(own.len() + 54, 0xa5);
    let outgoing = Outgoing {
        domain: 7,
        records: 1,
        options: 0,
        at: now,
        octets: &own,
    };
    spooled.push(now, &outgoing, TemplateSet::OpenBsd);
    spooled.settle(now);
    spooled.begin();
    let (mut sent, mut last) = (0, Vec::new());
    // Each turn sends something, or there is nothing left.
    for _ in 0..=rest.len() / ipfix::HEADER_LEN + 2 {
        spooled.prepare(now, 1 << 16);
        let messages: Vec<_> = spooled.prepared().map(<[u8]>::to_vec).collect();
        sent += messages.iter().map(Vec::len).sum::<usize>();
        last = messages.last().cloned().unwrap_or(last);
        spooled.take(messages.len());
        spooled.acknowledge(Some(0), now.uptime);
        spooled.settle(now);
    }
    assert!(spooled.is_settled());
    assert!(last.ends_with(&[0xa5; 54]));
    // Templates of a domain may be told again with every message.
    assert!(sent <= 12 * (rest.len() + own.len()));
    let tally = spooled.take_tally();
    assert_eq!(tally.queued + tally.found, tally.sent + tally.lost);
}
