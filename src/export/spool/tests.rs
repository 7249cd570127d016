#![allow(clippy::indexing_slicing, reason = "a test that is wrong may panic")]

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::rc::Rc;

use proptest::prelude::*;

use super::session::{SpoolTally, Spooled};
use super::*;
use crate::export::Outgoing;
use crate::export::TemplateSet;
use crate::export::stream::tests::Collector;
use crate::time::{Now, Wall};
use crate::wire::ipfix;

const BOUND: u64 = MIN_SPOOL;

fn now(secs: i64) -> Now {
    Now::with_boot(Wall::new(1_000_000 + secs, 0), Wall::new(1_000_000, 0))
}

/// A directory that outlives who writes to it, and whatever may become of it.
#[derive(Clone, Debug, Default)]
struct Disk(Rc<RefCell<Files>>);

#[derive(Debug, Default)]
struct Files {
    segments: BTreeMap<u32, Vec<u8>>,
    note: Vec<u8>,
    aside: Vec<u32>,
    /// Octets that still fit.
    room: Option<u64>,
    /// Calls until the writer is killed in the middle of one.
    calls: Option<u32>,
    /// Whoever makes and removes files has no time.
    is_busy: bool,
    /// Segments that cannot be read.
    unreadable: BTreeSet<u32>,
}

impl Disk {
    /// One call; false: this one is cut short by the end of the process.
    fn call(&self) -> io::Result<bool> {
        let mut files = self.0.borrow_mut();
        match &mut files.calls {
            Some(0) => Err(io::Error::other("killed")),
            Some(calls) => {
                *calls -= 1;
                Ok(*calls > 0)
            }
            None => Ok(true),
        }
    }

    fn change(&self) -> io::Result<bool> {
        if self.0.borrow().is_busy {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.call()
    }

    fn segments(&self) -> Vec<(u32, usize)> {
        let files = self.0.borrow();
        let segments = files.segments.iter();
        segments
            .map(|(number, octets)| (*number, octets.len()))
            .collect()
    }

    fn octets(&self) -> u64 {
        self.segments().iter().map(|(_, len)| *len as u64).sum()
    }
}

impl Store for Disk {
    fn name(&self) -> String {
        "/spool".to_owned()
    }

    fn name_of(&self, segment: u32) -> String {
        format!("pflow0.{segment:06}.ipfix")
    }

    fn list(&mut self) -> io::Result<Vec<(u32, u64)>> {
        let segments = self.segments().into_iter();
        Ok(segments.map(|(number, len)| (number, len as u64)).collect())
    }

    fn create(&mut self, segment: u32) -> io::Result<()> {
        if self.change()? {
            let new = self.0.borrow_mut().segments.insert(segment, Vec::new());
            assert_eq!(new, None, "segment {segment} was there");
        }
        Ok(())
    }

    fn read_at(&mut self, segment: u32, at: u64, octets: &mut [u8]) -> io::Result<usize> {
        self.call()?;
        let files = self.0.borrow();
        if files.unreadable.contains(&segment) {
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        let whole = files
            .segments
            .get(&segment)
            .ok_or(io::ErrorKind::NotFound)?;
        let rest = whole
            .get(usize::try_from(at).unwrap()..)
            .unwrap_or_default();
        let count = rest.len().min(octets.len());
        octets[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn write_at(&mut self, segment: u32, at: u64, octets: &[u8]) -> io::Result<usize> {
        let is_whole = self.call()?;
        let mut files = self.0.borrow_mut();
        let mut count = if is_whole {
            octets.len()
        } else {
            octets.len() / 2
        };
        if let Some(room) = &mut files.room {
            count = count.min(usize::try_from(*room).unwrap());
            *room -= count as u64;
            if count == 0 {
                return Err(io::Error::from_raw_os_error(libc::ENOSPC));
            }
        }
        let file = files.segments.get_mut(&segment).unwrap();
        file.truncate(usize::try_from(at).unwrap());
        file.extend(&octets[..count]);
        Ok(count)
    }

    fn cut(&mut self, segment: u32, len: u64) -> io::Result<()> {
        if self.call()? {
            let mut files = self.0.borrow_mut();
            let file = files.segments.get_mut(&segment).unwrap();
            file.truncate(usize::try_from(len).unwrap());
        }
        Ok(())
    }

    fn remove(&mut self, segment: u32) -> io::Result<()> {
        if self.change()? {
            let mut files = self.0.borrow_mut();
            files
                .segments
                .remove(&segment)
                .ok_or(io::ErrorKind::NotFound)?;
        }
        Ok(())
    }

    fn set_aside(&mut self, segment: u32) -> io::Result<String> {
        if self.change()? {
            let mut files = self.0.borrow_mut();
            files
                .segments
                .remove(&segment)
                .ok_or(io::ErrorKind::NotFound)?;
            files.aside.push(segment);
        }
        Ok(format!("pflow0.{segment:06}.damaged"))
    }

    fn noted(&mut self) -> io::Result<Vec<u8>> {
        self.call()?;
        Ok(self.0.borrow().note.clone())
    }

    fn note(&mut self, octets: &[u8]) -> io::Result<()> {
        if self.call()? {
            self.0.borrow_mut().note = octets.to_vec();
        }
        Ok(())
    }
}

/// A message whose records have the numbers from `first` on.
fn message(templates: TemplateSet, first: u64, records: u16) -> Vec<u8> {
    let (id, layout) = templates.templates()[0];
    let len = u16::try_from(layout.record_len()).unwrap() * records;
    let mut octets = vec![0; ipfix::HEADER_LEN];
    octets.extend(ipfix::set_header(id, 4 + len));
    for number in first..first + u64::from(records) {
        octets.extend(number.to_be_bytes());
        octets.resize(octets.len() + layout.record_len() - 8, 7);
    }
    octets
}

/// The numbers of the records in a message.
fn numbers(message: &[u8], templates: &BTreeMap<(u32, u16), usize>) -> Vec<u64> {
    let id = u16::from_be_bytes([message[16], message[17]]);
    let domain = u32::from_be_bytes(message[12..16].try_into().unwrap());
    if id < 256 {
        return Vec::new();
    }
    let len = templates[&(domain, id)];
    let records = message[20..].chunks_exact(len);
    records
        .map(|record| u64::from_be_bytes(record[..8].try_into().unwrap()))
        .collect()
}

/// The export loop around a session, and the collector.
struct Loop {
    disk: Disk,
    spooled: Spooled<Disk>,
    bound: u64,
    clock: i64,
    collector: Collector,
    /// Messages that the socket took and the collector's system has not acknowledged, each with
    /// where it ends.
    on_the_way: Vec<(u64, Vec<u8>)>,
    wire: u64,
    next: u64,
    received: Vec<u64>,
    tally: SpoolTally,
    lines: Vec<String>,
}

impl Loop {
    fn new(disk: Disk, bound: u64) -> Self {
        let spool = Spool::open(disk.clone(), bound).unwrap();
        Self {
            disk,
            spooled: Spooled::new(spool),
            bound,
            clock: 0,
            collector: Collector::default(),
            on_the_way: Vec::new(),
            wire: 0,
            next: 0,
            received: Vec::new(),
            tally: SpoolTally::default(),
            lines: Vec::new(),
        }
    }

    fn push(&mut self, domain: u32, templates: TemplateSet, records: u16) {
        let octets = message(templates, self.next, records);
        self.next += u64::from(records);
        let outgoing = Outgoing {
            domain,
            records,
            options: 0,
            at: now(self.clock),
            octets: &octets,
        };
        self.spooled.push(now(self.clock), &outgoing, templates);
    }

    fn push_many(&mut self, count: u32) {
        for _ in 0..count {
            self.push(1, TemplateSet::OpenBsd, 20);
            self.settle();
        }
    }

    /// The socket takes so many messages.
    fn take(&mut self, count: usize) {
        self.spooled.prepare(now(self.clock), 1 << 16);
        let taken: Vec<_> = self
            .spooled
            .prepared()
            .take(count)
            .map(<[u8]>::to_vec)
            .collect();
        self.spooled.take(taken.len());
        for message in taken {
            self.wire += message.len() as u64;
            self.on_the_way.push((self.wire, message));
        }
    }

    /// The collector's system acknowledges so many octets.
    fn acknowledge(&mut self, octets: u64) {
        let arrived = self.on_the_way.partition_point(|(end, _)| *end <= octets);
        self.arrive(arrived);
        let rest = usize::try_from(self.wire - octets.min(self.wire)).unwrap();
        self.spooled.acknowledge(Some(rest), now(self.clock).uptime);
    }

    fn records_on_the_way(&self) -> u64 {
        let messages = self.on_the_way.iter();
        messages.map(|(_, octets)| octets.len() as u64 / 54).sum()
    }

    fn arrive(&mut self, count: usize) {
        for (_, message) in self.on_the_way.drain(..count) {
            self.collector.read(&message);
            self.received
                .extend(numbers(&message, &self.collector.templates));
        }
    }

    fn settle(&mut self) {
        self.spooled.settle(now(self.clock));
        self.count();
    }

    fn count(&mut self) {
        let tally = self.spooled.take_tally();
        self.tally.queued += tally.queued;
        self.tally.found += tally.found;
        self.tally.sent += tally.sent;
        self.tally.unspooled += tally.unspooled;
        self.tally.spooled += tally.spooled;
        self.tally.lost += tally.lost;
        self.tally.left += tally.left;
        self.tally.again += tally.again;
        self.lines.extend(self.spooled.take_lines());
    }

    fn begin(&mut self) {
        self.spooled.begin();
        self.on_the_way.clear();
        self.wire = 0;
        self.collector = Collector::default();
        self.settle();
    }

    /// The connection breaks. What was on the way arrives, or not.
    fn end(&mut self, arrives: bool) {
        self.arrive(if arrives { self.on_the_way.len() } else { 0 });
        self.on_the_way.clear();
        self.spooled.end();
        self.settle();
    }

    /// Sends all there is.
    fn drain(&mut self) {
        for turn in 0.. {
            self.take(usize::MAX);
            self.acknowledge(self.wire);
            self.settle();
            if self.spooled.is_settled() {
                return;
            }
            assert!(turn < 100_000, "it never ends");
            self.clock += 1;
        }
    }

    /// The process is gone; the next begins.
    fn restart(&mut self) {
        let mut next = Self::new(self.disk.clone(), self.bound);
        (next.clock, next.next) = (self.clock, self.next);
        next.received = std::mem::take(&mut self.received);
        *self = next;
        self.settle();
    }

    fn distinct(&self) -> BTreeSet<u64> {
        self.received.iter().copied().collect()
    }

    fn doubled(&self) -> u64 {
        (self.received.len() - self.distinct().len()) as u64
    }
}

#[test]
fn as_long_as_the_collector_takes_everything_the_disk_is_not_used() {
    let mut run = Loop::new(Disk::default(), BOUND);
    run.begin();
    for _ in 0..50 {
        run.push(1, TemplateSet::OpenBsd, 20);
        run.take(usize::MAX);
        run.settle();
        run.acknowledge(run.wire);
        run.settle();
    }
    assert_eq!(run.disk.octets(), 0);
    assert_eq!(run.received, (0..1000).collect::<Vec<_>>());
    assert_eq!(
        (run.tally.sent, run.tally.spooled, run.tally.lost),
        (1000, 0, 0)
    );
}

#[test]
fn what_the_socket_does_not_take_is_on_the_disk_in_the_same_turn_and_goes_in_order() {
    let mut run = Loop::new(Disk::default(), BOUND);
    run.begin();
    run.push(1, TemplateSet::OpenBsd, 20);
    run.push(1, TemplateSet::OpenBsd, 20);
    run.take(2); // templates and the first
    run.settle();
    // The first goes before the second, since neither is acknowledged.
    assert_eq!(run.tally.spooled, 40);
    run.push(1, TemplateSet::FreeBsd, 20);
    run.settle();
    run.drain();
    assert_eq!(run.received, (0..60).collect::<Vec<_>>());
    assert_eq!((run.tally.sent, run.doubled()), (60, 0));
    assert!(run.spooled.spool().is_drained());
}

#[test]
fn what_is_not_acknowledged_soon_is_on_the_disk() {
    let mut run = Loop::new(Disk::default(), BOUND);
    run.begin();
    run.push(1, TemplateSet::OpenBsd, 20);
    run.take(usize::MAX);
    run.settle();
    assert_eq!(run.disk.octets(), 0);
    run.clock = 1;
    run.settle();
    assert_eq!(run.tally.spooled, 20);
    // Killed; the peer never had it.
    run.restart();
    run.begin();
    run.drain();
    assert_eq!(run.received.len(), 20);
    assert_eq!((run.tally.found, run.tally.sent), (20, 20));
}

#[test]
fn a_connection_that_breaks_doubles_only_what_was_in_doubt() {
    for arrives in [false, true] {
        let mut run = Loop::new(Disk::default(), BOUND);
        run.begin();
        for _ in 0..10 {
            run.push(1, TemplateSet::OpenBsd, 20);
        }
        run.take(usize::MAX);
        run.settle();
        let (half, _) = run.on_the_way[5];
        run.acknowledge(half + 1);
        run.settle();
        run.end(arrives);
        assert_eq!(run.tally.again, 100);
        run.begin();
        run.drain();
        assert_eq!(run.distinct().len(), 200);
        assert_eq!(run.doubled(), if arrives { 100 } else { 0 });
    }
}

#[test]
fn without_a_collector_the_oldest_segment_goes_and_its_records_are_counted_and_told() {
    let mut run = Loop::new(Disk::default(), BOUND);
    run.push_many(2000);
    assert!(run.disk.octets() <= BOUND, "{}", run.disk.octets());
    assert!(run.disk.octets() > BOUND - 2 * MIN_SEGMENT);
    assert!(run.tally.lost > 0);
    assert_eq!(run.tally.spooled, 40_000);
    run.begin();
    run.drain();
    assert_eq!(run.received.len() as u64, 40_000 - run.tally.lost);
    assert_eq!(run.received[0], run.tally.lost, "the oldest go");
    assert_eq!(
        run.collector.missed, run.tally.lost,
        "the collector sees the gap"
    );
    let lost = run.tally.lost;
    let expected = [
        format!(
            "full, {} octets: the oldest records are dropped",
            16 * 65_536
        ),
        format!("all is sent; {lost} records were dropped"),
    ];
    assert!(run.lines[0].starts_with("full, "), "{:?}", run.lines);
    assert_eq!(run.lines[1..], expected[1..]);
}

#[test]
fn a_full_disk_is_told_once_and_again_when_it_is_over_and_costs_what_it_refused() {
    let mut run = Loop::new(Disk::default(), BOUND);
    run.disk.0.borrow_mut().room = Some(100_000);
    run.push_many(200);
    let refused = run.tally.lost;
    assert!(refused > 0 && run.tally.spooled + refused == 4000);
    run.disk.0.borrow_mut().room = None;
    run.push_many(1);
    assert_eq!(run.lines.len(), 1, "a little may fit into a full disk");
    run.clock += 2;
    run.push_many(9);
    let expected = [
        "No space left on device (os error 28): what the collector does not take is dropped",
        &format!("written again; {refused} records were dropped"),
    ];
    assert_eq!(run.lines, expected);
    run.restart();
    run.begin();
    run.drain();
    assert_eq!(run.received.len() as u64, 4200 - refused);
    assert!(run.lines.is_empty(), "{:?}", run.lines);
}

#[test]
fn a_parent_that_is_busy_costs_nothing() {
    let mut run = Loop::new(Disk::default(), BOUND);
    run.push_many(1);
    run.disk.0.borrow_mut().is_busy = true;
    run.push_many(200);
    run.disk.0.borrow_mut().is_busy = false;
    run.clock = 10;
    run.push_many(1);
    assert_eq!(run.tally.lost, 0);
    run.begin();
    run.drain();
    assert_eq!(run.received.len(), 202 * 20);
    assert!(run.lines.is_empty(), "{:?}", run.lines);
}

#[test]
fn what_is_sent_is_removed_and_a_stop_in_good_order_leaves_only_what_is_not() {
    let mut run = Loop::new(Disk::default(), BOUND);
    run.push_many(300);
    run.begin();
    run.drain();
    assert_eq!(run.disk.segments().len(), 1, "the spare");
    run.clock += 11;
    run.settle();
    run.settle();
    assert_eq!(run.disk.octets(), 0);
    run.push_many(1);
    run.end(false);
    run.spooled.finish();
    run.count();
    let tally = run.tally;
    assert_eq!(
        (tally.queued, tally.sent, tally.lost, tally.left),
        (6020, 6000, 0, 20)
    );
    run.restart();
    assert_eq!(run.disk.segments().len(), 2);
    run.begin();
    run.drain();
    assert_eq!(run.received.len(), 301 * 20);
    run.spooled.finish();
    assert_eq!(run.disk.segments(), []);
    assert_eq!(run.doubled(), 0);
}

#[test]
fn the_age_of_the_oldest_is_known() {
    let mut run = Loop::new(Disk::default(), BOUND);
    assert_eq!(run.spooled.spool().oldest(), None);
    for secs in [5, 6, 7] {
        run.clock = secs;
        run.push_many(1);
    }
    let oldest = |run: &Loop| run.spooled.spool().oldest().map(|at| at - 1_000_000);
    assert_eq!(oldest(&run), Some(5));
    run.restart();
    assert_eq!(oldest(&run), Some(5));
    run.begin();
    run.take(3);
    run.acknowledge(run.on_the_way[1].0);
    assert_eq!(oldest(&run), Some(6));
    run.drain();
    assert_eq!(oldest(&run), None);
}

#[test]
fn a_message_that_was_cut_off_is_told_with_its_records_and_the_rest_is_sent() {
    let mut run = Loop::new(Disk::default(), BOUND);
    run.push_many(3);
    let (number, len) = run.disk.segments()[0];
    run.disk
        .0
        .borrow_mut()
        .segments
        .get_mut(&number)
        .unwrap()
        .truncate(len - 1);
    run.restart();
    let message = 20 + 20 * 54;
    let expected = format!(
        "pflow0.{number:06}.ipfix: the last message is cut off at offset {}: \
         {} octets, 20 records are lost",
        len - message,
        message - 1
    );
    assert_eq!(run.lines, [expected]);
    assert_eq!((run.tally.lost, run.tally.found), (20, 20));
    run.begin();
    run.drain();
    assert_eq!(run.received, (0..40).collect::<Vec<_>>());
}

#[test]
fn another_template_set_after_a_restart_is_told_when_its_turn_comes() {
    let mut run = Loop::new(Disk::default(), BOUND);
    run.push_many(2);
    run.push(7, TemplateSet::OpenBsd78, 3);
    run.settle();
    run.restart();
    for templates in [TemplateSet::FreeBsd, TemplateSet::OpenBsd] {
        run.push(1, templates, 5);
        run.settle();
    }
    run.begin();
    run.drain();
    assert_eq!(run.received, (0..53).collect::<Vec<_>>());
}

#[test]
fn a_segment_that_cannot_be_read_is_given_up_after_ten_tries_and_set_aside() {
    let mut run = Loop::new(Disk::default(), BOUND);
    run.push_many(100);
    let (number, _) = run.disk.segments()[0];
    run.disk.0.borrow_mut().unreadable.insert(number);
    run.begin();
    run.drain();
    assert!(run.clock >= 10);
    assert_eq!(run.disk.0.borrow().aside, [number]);
    assert!(run.received.len() < 2000 && run.received.ends_with(&[1999]));
    let name = format!("pflow0.{number:06}.ipfix");
    let begin = format!("{name}: Input/output error (os error 5); tried again");
    assert_eq!(run.lines[0], begin);
    assert!(
        run.lines[1].starts_with(&format!("{name}: offset 0: ")),
        "{:?}",
        run.lines
    );
}

/// Segments of three domains' messages, and their records.
fn written() -> (Disk, u64) {
    let mut run = Loop::new(Disk::default(), BOUND);
    for number in 0..4 {
        run.push(number % 3, TemplateSet::VALUES[number as usize % 3].1, 3);
    }
    run.settle();
    run.restart();
    run.push(1, TemplateSet::OpenBsd, 2);
    run.settle();
    let files = std::mem::take(&mut *run.disk.0.borrow_mut());
    (Disk(Rc::new(RefCell::new(files))), run.next)
}

/// Opens what there is and sends it, with new records behind.
fn sent_from(disk: Disk, written: u64) -> Loop {
    let mut run = Loop::new(disk, BOUND);
    run.next = written;
    run.push_many(1);
    run.begin();
    run.drain();
    run.push_many(1);
    run.drain();
    let new: Vec<_> = (written..written + 40).collect();
    assert!(run.received.ends_with(&new), "{:?}", run.lines);
    assert_eq!(
        run.tally.found + run.tally.queued,
        run.tally.sent + run.tally.lost
    );
    run
}

#[test]
fn every_prefix_and_every_flipped_bit_of_a_segment_is_sent_as_far_as_it_makes_sense() {
    let (disk, records) = written();
    let whole = disk.0.borrow().segments.clone();
    let note = disk.0.borrow().note.clone();
    let sent = |number: u32, octets: Vec<u8>| {
        let disk = Disk::default();
        {
            let mut files = disk.0.borrow_mut();
            files.segments = whole.clone();
            files.note.clone_from(&note);
            files.segments.insert(number, octets);
        }
        sent_from(disk, records)
    };
    let mut told = 0;
    for (&number, octets) in &whole {
        for len in 0..octets.len() {
            let run = sent(number, octets[..len].to_vec());
            assert!(run.received.len() as u64 <= records + 40);
        }
        for bit in 0..8 * octets.len() {
            let mut flipped = octets.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let run = sent(number, flipped);
            if (run.received.len() as u64) < records + 40 {
                assert!(
                    run.lines.iter().any(|line| line.contains("offset ")),
                    "{:?}",
                    run.lines
                );
                told += 1;
            }
        }
    }
    assert!(told > 1000, "{told}");
}

#[test]
fn a_damaged_note_sends_all_again_and_says_so() {
    let (disk, records) = written();
    disk.0.borrow_mut().note = b"nonsense".to_vec();
    let run = sent_from(disk, records);
    assert_eq!(run.received.len() as u64, records + 40);
    assert!(
        run.lines[0].starts_with("the note of what was sent is damaged"),
        "{:?}",
        run.lines
    );
}

#[derive(Clone, Debug)]
enum Action {
    Push(u32, TemplateSet, u16),
    Begin,
    End(bool),
    Take(usize),
    Acknowledge(u64),
    Later(i64),
    Full(bool),
    Busy(bool),
    /// Killed in the middle of a call, while something is pushed and acknowledged.
    Killed {
        calls: u32,
        arrives: bool,
    },
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let set = prop_oneof![Just(TemplateSet::OpenBsd), Just(TemplateSet::FreeBsd)];
    let action = prop_oneof![
        12 => (1_u32..3, set, 1_u16..27).prop_map(|(a, b, c)| Action::Push(a, b, c)),
        2 => Just(Action::Begin),
        1 => any::<bool>().prop_map(Action::End),
        6 => (0_usize..9).prop_map(Action::Take),
        4 => (0_u64..=100).prop_map(Action::Acknowledge),
        1 => (0_i64..3).prop_map(Action::Later),
        1 => any::<bool>().prop_map(Action::Full),
        1 => any::<bool>().prop_map(Action::Busy),
        1 => (1_u32..12, any::<bool>())
            .prop_map(|(calls, arrives)| Action::Killed { calls, arrives }),
    ];
    prop::collection::vec(action, 0..120)
}

/// Numbers of records that no disk has.
fn in_memory(run: &Loop) -> BTreeSet<u64> {
    let kept = run.spooled.in_memory();
    kept.flat_map(|octets| {
        let count = (octets.len() - 20) / 54;
        (0..count).map(move |at| {
            let place = 20 + at * 54;
            u64::from_be_bytes(octets[place..place + 8].try_into().unwrap())
        })
    })
    .collect()
}

proptest! {
    #[test]
    fn whatever_happens_a_record_arrives_or_is_counted_and_only_doubt_doubles(actions in actions()) {
        let mut run = Loop::new(Disk::default(), BOUND);
        let (mut lost, mut may_be_lost, mut doubt) = (0, BTreeSet::new(), 0);
        // What breaks with a connection and a full disk may have arrived.
        let mut uncertain = 0;
        for action in actions {
            match action {
                Action::Push(domain, templates, records) => run.push(domain, templates, records),
                Action::Begin if run.spooled.is_begun() => {}
                Action::Begin => run.begin(),
                Action::End(arrives) => {
                    uncertain += run.records_on_the_way();
                    run.end(arrives);
                }
                Action::Take(count) => run.take(count),
                Action::Acknowledge(percent) => run.acknowledge(run.wire * percent / 100),
                Action::Later(secs) => run.clock += secs,
                Action::Full(is_full) => {
                    run.disk.0.borrow_mut().room = is_full.then_some(2000);
                }
                Action::Busy(is_busy) => run.disk.0.borrow_mut().is_busy = is_busy,
                Action::Killed { calls, arrives } => {
                    doubt += run.records_on_the_way();
                    run.disk.0.borrow_mut().calls = Some(calls);
                    let begin = run.next;
                    run.push(1, TemplateSet::OpenBsd, 9);
                    run.push(2, TemplateSet::OpenBsd, 9);
                    may_be_lost.extend(in_memory(&run));
                    may_be_lost.extend(begin..run.next);
                    run.settle();
                    run.acknowledge(run.wire / 2);
                    run.settle();
                    if arrives {
                        run.arrive(run.on_the_way.len());
                    }
                    (lost, doubt) = (lost + run.tally.lost, doubt + run.tally.again);
                    let mut files = run.disk.0.borrow_mut();
                    (files.calls, files.room, files.is_busy) = (None, None, false);
                    drop(files);
                    run.restart();
                }
            }
            run.settle();
            prop_assert!(run.disk.octets() <= BOUND + 4000);
        }
        let mut files = run.disk.0.borrow_mut();
        (files.room, files.is_busy) = (None, false);
        drop(files);
        run.clock += 2;
        run.settle();
        if !run.spooled.is_begun() {
            run.begin();
        }
        run.drain();
        prop_assert_eq!(run.tally.found + run.tally.queued, run.tally.sent + run.tally.lost);
        lost += run.tally.lost;
        doubt += run.tally.again;
        let received = run.distinct();
        let missing: Vec<_> = (0..run.next).filter(|number| !received.contains(number)).collect();
        let unexplained = missing.iter().filter(|number| !may_be_lost.contains(number)).count() as u64;
        prop_assert!(unexplained <= lost, "{} missing, {} counted", unexplained, lost);
        prop_assert!(may_be_lost.len() as u64 + missing.len() as u64 + uncertain >= lost);
        prop_assert!(run.doubled() <= doubt, "{} doubled, {} in doubt", run.doubled(), doubt);
    }
}
