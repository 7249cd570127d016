//! A run cut in two, with a keep file between, is as one run; after a crash nothing goes out twice.
//!
//! Captures are the kernels' own; time is the packets'.

#![allow(
    clippy::cast_possible_truncation,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    missing_docs,
    reason = "a test that is wrong may panic"
)]

#[path = "../common/mod.rs"]
mod common;

mod damaged;
mod restarts;

use std::fmt::Debug;
use std::path::PathBuf;
use std::time::Duration;

use common::{A, B, CREATOR, D, M, OTHER_CREATOR, Run as Sim, St};
use pflow::engine::{Engine, Packet, Settings};
use pflow::export::{Order, Session};
use pflow::table::KeepCursor;
use pflow::time::{Now, Wall};
use pflow::wire::keep::{self, Error, HEADER_LEN, Header};
use pflow::wire::link::LinkType;

const CAPTURES: [&str; 4] = [
    "mix200.openbsd-v6.pcap",
    "mix200.openbsd45-v5.pcap",
    "mix200.freebsd-1301.pcap",
    "mix200.freebsd-1500.pcap",
];

const BOOT: Wall = Wall::from_nanos(1_699_900_000_000_000_000);

/// A packet: link type, stamp, octets.
type Frame = (LinkType, Wall, Vec<u8>);

/// The packets of a capture: link type, stamp, octets.
fn frames(name: &str) -> Vec<Frame> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("testdata")
        .join(name);
    let file = std::fs::read(path).unwrap();
    let at = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap());
    let unit = match at(0) {
        0xa1b2_c3d4 => 1000,
        0xa1b2_3c4d => 1,
        _ => panic!("not a pcap of this byte order"),
    };
    let (mut offset, mut frames) = (24, Vec::new());
    while offset < file.len() {
        let len = at(offset + 8) as usize;
        let stamp = Wall::new(at(offset).into(), at(offset + 4) * unit);
        offset += 16;
        frames.push((LinkType(at(20)), stamp, file[offset..offset + len].to_vec()));
        offset += len;
    }
    frames
}

/// One pflow, from start to end.
struct Run {
    engine: Engine,
    boot: Wall,
    now: Now,
    /// NetFlow v5 records of pflow0, and messages of pflow1 with their sequence numbers.
    records: Vec<Vec<u8>>,
    sequences: Vec<(u32, usize)>,
}

impl Run {
    fn new(boot: Wall) -> Self {
        Self::with(boot, 100_000, "")
    }

    fn with(boot: Wall, states: u32, more: &str) -> Self {
        let config = common::config(&format!(
            "pflow0 flowdst 192.0.2.1:2055 active 3\n\
             pflow1 flowdst 192.0.2.1:4739 pflowproto 10 template openbsd78\n{more}"
        ));
        let settings = Settings {
            states,
            is_all: true,
            ..common::settings()
        };
        Self {
            engine: Engine::new(settings, config),
            boot,
            now: Now::with_boot(BOOT, boot),
            records: Vec::new(),
            sequences: Vec::new(),
        }
    }

    fn start(&mut self, stamp: Wall) {
        self.now = Now::with_boot(stamp, self.boot);
        self.engine.start(self.now);
        self.take();
    }

    fn wait(&mut self, by: Duration) {
        self.now = Now::with_boot(self.now.wall.after(by), self.boot);
        self.engine.handle_timeout(self.now, self.now.uptime);
        self.take();
    }

    fn hear(&mut self, frames: &[Frame]) {
        for (link, stamp, frame) in frames {
            self.now = Now::with_boot(self.now.wall.max(*stamp), self.boot);
            self.engine.handle_timeout(self.now, self.now.uptime);
            let packet = Packet {
                stamp: *stamp,
                link: *link,
                frame,
                wire_len: frame.len(),
            };
            self.engine.handle_packet(self.now, &packet);
            self.take();
        }
    }

    fn take(&mut self) {
        for (unit, datagram) in self.engine.transmit(Order::Packed).iter() {
            if unit == 0 {
                let records = datagram[24..].chunks_exact(48);
                self.records.extend(records.map(<[u8]>::to_vec));
            } else {
                let number =
                    |at: usize| u32::from_be_bytes(datagram[at..at + 4].try_into().unwrap());
                let set = u16::from_be_bytes([datagram[16], datagram[17]]);
                let count = match set {
                    256 => (datagram.len() - 20) / 53,
                    257 => (datagram.len() - 20) / 77,
                    _ => 0,
                };
                self.sequences.push((number(8), count));
            }
        }
    }

    /// The records of a keep file.
    fn keep(&mut self) -> Vec<u8> {
        let (mut cursor, mut body) = (KeepCursor::default(), Vec::new());
        while !self.engine.keep_step(self.now, &mut cursor, &mut body) {}
        self.take();
        body
    }

    fn restore(&mut self, file: &[u8], now: Wall) {
        self.now = Now::with_boot(now, self.boot);
        let (header, records) = keep::parse(file).unwrap();
        self.engine.restore(self.now, header.is_clean, records);
    }

    /// The flows printed, in no order.
    fn flows(&mut self) -> Vec<String> {
        let printed = String::from_utf8(std::mem::take(self.engine.printed())).unwrap();
        let mut flows: Vec<_> = printed.lines().map(str::to_owned).collect();
        flows.sort();
        flows
    }

    fn finish(&mut self) -> Vec<String> {
        self.engine.finish(self.now);
        self.take();
        self.flows()
    }
}

fn captures() -> impl Iterator<Item = (&'static str, Vec<Frame>)> {
    CAPTURES.iter().map(|name| (*name, frames(name)))
}

fn sorted<T: Ord>(mut values: Vec<T>) -> Vec<T> {
    values.sort();
    values
}

/// The first place where two sorted lists are not the same, and what stands there.
fn difference<T: Ord + Clone>(one: &[T], other: &[T]) -> Option<(Option<T>, Option<T>)> {
    let len = one.len().max(other.len());
    let at = (0..len).find(|at| one.get(*at) != other.get(*at))?;
    Some((one.get(at).cloned(), other.get(at).cloned()))
}

#[test]
fn a_run_cut_at_any_packet_is_as_one_run() {
    for (name, frames) in captures() {
        let mut whole = Run::with(BOOT, 100_000, "flush active");
        whole.start(frames[0].1);
        whole.hear(&frames);
        let flows = whole.finish();
        assert!(flows.len() >= 200, "{name}");
        let records = sorted(whole.records);
        assert!(whole.engine.interfaces()[0].counters.parts > 20, "{name}");
        // Of the first at any, of the others here and there.
        let step = if name == CAPTURES[0] { 1 } else { 9 };
        for cut in (1..frames.len()).step_by(step) {
            let mut first = Run::with(BOOT, 100_000, "flush active");
            first.start(frames[0].1);
            first.hear(&frames[..cut]);
            let file = keep::file(true, first.now.wall, &first.keep());
            let mut second = Run::with(BOOT, 100_000, "flush active");
            second.restore(&file, first.now.wall);
            second.start(first.now.wall);
            second.hear(&frames[cut..]);
            let both = [first.flows(), second.finish()].concat();
            assert_eq!(
                difference(&sorted(both), &sorted(flows.clone())),
                None,
                "{name} cut at {cut}"
            );
            let both = sorted([first.records, second.records].concat());
            assert_eq!(difference(&both, &records), None, "{name} cut at {cut}");
        }
    }
}

#[test]
fn sequence_numbers_go_on() {
    let frames = frames("mix200.openbsd-v6.pcap");
    let mut first = Run::new(BOOT);
    first.start(frames[0].1);
    first.hear(&frames[..120]);
    let file = keep::file(true, first.now.wall, &first.keep());
    let mut second = Run::new(BOOT);
    second.restore(&file, first.now.wall);
    second.start(first.now.wall);
    second.hear(&frames[120..]);
    second.finish();
    let messages = [first.sequences, second.sequences].concat();
    assert!(messages.iter().filter(|(_, count)| *count == 0).count() >= 2);
    let ends: Vec<_> = messages.iter().map(|(sequence, _)| *sequence).collect();
    assert!(ends.is_sorted(), "{ends:?}");
    assert!(ends[ends.len() - 1] > 100, "{ends:?}");
    let last = second.engine.interfaces()[0].session().records();
    assert_eq!(last as usize, first.records.len() + second.records.len());
}

/// What `of` tells of pflow1's session before a restart, which is the same after it.
fn read_back<T: PartialEq + Debug>(more: &str, of: impl Fn(&Session) -> T) -> T {
    let frames = frames(CAPTURES[0]);
    let mut first = Run::with(BOOT, 100_000, more);
    first.start(frames[0].1);
    first.hear(&frames);
    let file = keep::file(true, first.now.wall, &first.keep());
    let before = of(first.engine.interfaces()[1].session());
    let mut second = Run::with(BOOT, 100_000, more);
    second.restore(&file, first.now.wall);
    second.start(first.now.wall);
    assert_eq!(of(second.engine.interfaces()[1].session()), before);
    before
}

#[test]
fn each_firewalls_sequence_goes_on_in_its_domain() {
    let sequences = read_back("pflow1 domain creatorid", |session| {
        session.sequences().to_vec()
    });
    assert!(
        sequences.iter().any(|(_, records)| *records > 100),
        "{sequences:?}"
    );
}

#[test]
fn netflow_v9_goes_on_counting_the_messages_of_each_source_id() {
    let more = "pflow1 pflowproto 9 domain creatorid";
    let messages = read_back(more, |session| session.messages().to_vec());
    assert!(
        messages.iter().any(|(_, number)| *number > 2),
        "{messages:?}"
    );
}

#[test]
fn what_is_read_back_is_kept_the_same() {
    for (name, frames) in captures() {
        for cut in (1..frames.len()).step_by(17) {
            let mut first = Run::new(BOOT);
            first.start(frames[0].1);
            first.hear(&frames[..cut]);
            let body = first.keep();
            let mut second = Run::new(BOOT);
            second.restore(&keep::file(true, first.now.wall, &body), first.now.wall);
            assert!(second.keep() == body, "{name} cut at {cut}");
        }
    }
}

#[test]
fn another_machine_or_a_reboot_changes_no_time() {
    let frames = frames("mix200.openbsd-v6.pcap");
    let flows = |later: Wall| {
        let mut first = Run::new(BOOT);
        first.start(frames[0].1);
        first.hear(&frames[..80]);
        let file = keep::file(true, first.now.wall, &first.keep());
        let mut second = Run::new(later);
        second.restore(&file, first.now.wall);
        second.start(first.now.wall);
        second.hear(&frames[80..]);
        [first.flows(), second.finish()].concat()
    };
    let as_before = flows(BOOT);
    let just_now = Wall::new(frames[79].1.secs(), 0);
    for boot in [just_now, Wall::new(BOOT.secs() - 900_000_000, 0)] {
        assert!(flows(boot) == as_before, "with boot at {boot}");
    }
}

/// A crash when `kept` packets were in the file and `lost` more were heard of and exported.
fn crash(frames: &[Frame], kept: usize, lost: usize) -> (Run, Run) {
    let mut first = Run::new(BOOT);
    first.start(frames[0].1);
    first.hear(&frames[..kept]);
    let file = keep::file(false, first.now.wall, &first.keep());
    first.hear(&frames[kept..kept + lost]);
    let mut second = Run::new(BOOT);
    second.restore(&file, first.now.wall);
    second.start(first.now.wall);
    (first, second)
}

/// What stands more than once in a sorted list.
fn repeated(ids: &[String]) -> Vec<String> {
    let pairs = ids.windows(2).filter(|pair| pair[0] == pair[1]);
    pairs.map(|pair| pair[0].clone()).collect()
}

/// Which flows, and with `is_by_record` which of their two directions.
fn ids(flows: &[String], is_by_record: bool) -> Vec<String> {
    let id = |line: &String| {
        let flow: serde_json::Value = serde_json::from_str(line).unwrap();
        let end = flow["reverse"].as_bool().unwrap() && is_by_record;
        format!("{}/{} {end}", flow["stateId"], flow["creatorId"])
    };
    sorted(flows.iter().map(id).collect())
}

#[test]
fn after_a_crash_no_flow_goes_out_twice_and_only_the_interval_is_lost() {
    for (name, frames) in captures() {
        let mut whole = Run::new(BOOT);
        whole.start(frames[0].1);
        whole.hear(&frames);
        let all = whole.flows();
        for kept in (10..frames.len() - 20).step_by(13) {
            let (mut first, mut second) = crash(&frames, kept, 10);
            second.hear(&frames[kept + 10..]);
            // Long enough for all that is doubtful to be given up.
            for _ in 0..50 {
                second.wait(Duration::from_secs(3600));
            }
            let both = [first.flows(), second.flows()].concat();
            let twice = repeated(&ids(&both, true));
            let usual = repeated(&ids(&all, true));
            assert_eq!(difference(&twice, &usual), None, "{name}, kept at {kept}");
            let both = ids(&both, false);
            let mut lost = ids(&all, false);
            lost.dedup();
            lost.retain(|flow| !both.contains(flow));
            let learned = |run: &Run| run.engine.table().counters.inserted;
            let in_window = learned(&first) - learned(&crash(&frames, kept, 0).0);
            // Whose beginning was not kept.
            assert!(
                lost.len() as u64 <= in_window,
                "{name}, kept at {kept}: {lost:?} lost, {in_window} began"
            );
        }
    }
}

#[test]
fn a_state_not_heard_of_after_a_crash_is_dropped_and_counted() {
    let frames = frames("mix200.openbsd-v6.pcap");
    let (_, mut second) = crash(&frames, 60, 0);
    let restored = second.engine.table().len();
    assert!(restored > 20);
    // Kept once more, now in good order, it is as doubtful as before.
    let file = keep::file(true, second.now.wall, &second.keep());
    let mut third = Run::with(BOOT, 100_000, "flush active");
    third.restore(&file, second.now.wall);
    third.start(second.now.wall);
    third.wait(Duration::from_secs(60));
    assert_eq!(third.finish(), Vec::<String>::new());
    assert_eq!(third.records.len(), 0);
    let counters = third.engine.table().counters;
    assert_eq!(counters.unconfirmed as usize, restored);
    assert_eq!(counters.restored as usize, restored);
    assert!(third.engine.table().is_empty());
}

#[test]
fn a_state_heard_of_after_a_crash_is_exported_but_not_as_exact() {
    let frames = frames("mix200.openbsd-v6.pcap");
    let (_, mut second) = crash(&frames, 120, 0);
    let restored = second.engine.table().len() as u64;
    second.hear(&frames[120..]);
    let counters = second.engine.flow_counters();
    let mut first = Run::new(BOOT);
    first.start(frames[0].1);
    first.hear(&frames[..120]);
    let before = first.engine.flow_counters();
    first.hear(&frames[120..]);
    let whole = first.engine.flow_counters();
    assert_eq!(counters.exported, whole.exported - before.exported);
    assert!(restored > 5 && counters.exact < whole.exact - before.exact);
}

#[test]
fn more_states_than_there_is_room_for_are_counted() {
    let frames = frames("mix200.openbsd-v6.pcap");
    let mut first = Run::new(BOOT);
    first.start(frames[0].1);
    first.hear(&frames[..80]);
    let held = first.engine.table().len();
    let file = keep::file(true, first.now.wall, &first.keep());
    let mut second = Run::with(BOOT, 7, "");
    second.restore(&file, first.now.wall);
    assert_eq!(second.engine.table().len(), 7);
    let not_restored = second.engine.table().counters.not_restored;
    assert_eq!(not_restored as usize, held - 7);
}

#[test]
fn a_state_takes_about_150_octets_and_30_more_for_what_rules_tell() {
    let frames = frames("mix200.openbsd-v6.pcap");
    let mut run = Run::new(BOOT);
    run.start(frames[0].1);
    run.hear(&frames[..60]);
    let states = run.engine.table().len();
    let body = run.keep();
    assert!(body.len() / states < 245, "{} for {states}", body.len());
}
