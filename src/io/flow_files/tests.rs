//! The thread against a place that is played.

use std::io::{Read, Seek};
use std::sync::mpsc;

use super::*;
use crate::time::Now;
use crate::wire::ipfix;

/// What a place was asked.
#[derive(Debug, Eq, PartialEq)]
enum Asked {
    Left,
    Create(i64),
    /// Records and first sequence numbers of the file, from export times to.
    Finish(Vec<(u32, u32, u16)>),
}

/// Files that are in no directory.
struct Played {
    asked: mpsc::Sender<Asked>,
    file: Option<File>,
    /// Files that cannot be made before one can.
    refusals: u32,
    left: Option<File>,
}

/// A file without a name.
fn nameless() -> File {
    use std::sync::atomic::{AtomicU32, Ordering};
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    let name = std::env::temp_dir().join(format!("pflow-played-{}-{number}", std::process::id()));
    let mut options = File::options();
    let file = options.read(true).write(true).create_new(true).open(&name);
    std::fs::remove_file(&name).unwrap();
    file.unwrap()
}

impl Place for Played {
    fn create(&mut self, begin: i64) -> io::Result<(File, String)> {
        if let Some(left) = self.refusals.checked_sub(1) {
            self.refusals = left;
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.asked.send(Asked::Create(begin)).unwrap();
        let file = nameless();
        self.file = Some(file.try_clone().unwrap());
        Ok((file, begin.to_string()))
    }

    fn left(&mut self) -> io::Result<Option<(File, String)>> {
        self.asked.send(Asked::Left).unwrap();
        self.file = self.left.take();
        let file = self.file.as_ref().map(|file| file.try_clone().unwrap());
        Ok(file.map(|file| (file, "left".to_owned())))
    }

    fn finish(&mut self) -> io::Result<u64> {
        let mut file = self.file.take().unwrap();
        let mut octets = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut octets).unwrap();
        if octets.starts_with(&[0x1f, 0x8b]) {
            let packed = std::mem::take(&mut octets);
            let mut reader = flate2::read::MultiGzDecoder::new(&*packed);
            reader.read_to_end(&mut octets).unwrap();
        }
        self.asked.send(Asked::Finish(read(&octets))).unwrap();
        Ok(0)
    }
}

/// Export time, sequence and records of each message; the first must be templates.
fn read(mut octets: &[u8]) -> Vec<(u32, u32, u16)> {
    let mut messages = Vec::new();
    while octets.len() > 19 {
        let u16_at = |at: usize| u16::from_be_bytes([octets[at], octets[at + 1]]);
        let u32_at = |at: usize| u32::from_be_bytes(octets[at..at + 4].try_into().unwrap());
        let (set, len) = (u16_at(16), usize::from(u16_at(2)));
        let records = if set == 2 { 0 } else { u16_at(18) - 4 };
        messages.push((u32_at(4), u32_at(8), records));
        let Some(rest) = octets.get(len..) else {
            break;
        };
        octets = rest;
    }
    if !octets.is_empty() {
        // No panic: who waits for this thread would wait for ever.
        messages.push((0, 0, u16::MAX));
    }
    messages
}

/// Messages of as many records as there are octets in them, made at these times.
fn push(files: &FlowFiles, made: &[(i64, u16)]) -> (u64, Amount) {
    let octets: Vec<_> = made
        .iter()
        .map(|(_, records)| {
            let mut octets = vec![0; ipfix::HEADER_LEN];
            octets.extend(ipfix::set_header(256, 4 + records));
            octets.resize(octets.len() + usize::from(*records), 0);
            octets
        })
        .collect();
    let messages = made.iter().zip(&octets).map(|((at, records), octets)| {
        let boot = Wall::new(0, 0);
        Outgoing {
            domain: 1,
            records: *records,
            options: 0,
            at: Now::with_boot(Wall::new(*at, 0), boot),
            octets,
        }
    });
    files.push(messages, crate::export::TemplateSet::OpenBsd.into())
}

struct Play {
    files: FlowFiles,
    asked: mpsc::Receiver<Asked>,
}

fn play(rotate: Option<u32>, compression: Compression, set: impl FnOnce(&mut Played)) -> Play {
    let (asked, receiver) = mpsc::channel();
    let mut place = Played {
        asked,
        file: None,
        refusals: 0,
        left: None,
    };
    set(&mut place);
    let plan = Plan {
        rotate,
        compression,
        when_full: WhenFull::Wait,
    };
    let files = FlowFiles::start(Box::new(place), plan).unwrap();
    files.begin();
    Play {
        files,
        asked: receiver,
    }
}

impl Play {
    /// Closes it: what was asked in all, and the last news.
    fn end(self) -> (Vec<Asked>, News) {
        self.files.close();
        assert_eq!(self.files.wait(None), Amount::default());
        let news = self.files.news().unwrap();
        drop(self.files);
        let mut asked: Vec<_> = self.asked.iter().collect();
        assert_eq!(asked.remove(0), Asked::Left);
        (asked, news)
    }
}

#[test]
fn each_period_of_the_flows_clock_has_a_file_that_begins_a_session_and_an_empty_one_has_none() {
    for compression in [Compression::None, Compression::Gzip] {
        let play = play(Some(60), compression, |_| {});
        push(&play.files, &[(119, 3), (120, 5), (179, 2)]);
        push(&play.files, &[(300, 7)]);
        let (asked, news) = play.end();
        let expected = [
            Asked::Create(60),
            Asked::Finish(vec![(119, 0, 0), (119, 0, 3)]),
            Asked::Create(120),
            Asked::Finish(vec![(120, 0, 0), (120, 0, 5), (179, 5, 2)]),
            Asked::Create(300),
            Asked::Finish(vec![(300, 0, 0), (300, 0, 7)]),
        ];
        assert_eq!(asked, expected);
        assert_eq!((news.files, news.taken.records), (3, 17));
        assert_eq!((news.taken.messages, news.taken.templates), (7, 3));
        assert_eq!(news.state, FileState::default());
    }
}

#[test]
fn a_clock_that_goes_back_a_little_changes_nothing_and_one_that_goes_far_ends_the_file() {
    let play = play(Some(60), Compression::None, |_| {});
    push(
        &play.files,
        &[(130, 1), (119, 1), (60, 1), (59, 1), (61, 1)],
    );
    let (asked, _) = play.end();
    let expected = [
        Asked::Create(120),
        Asked::Finish(vec![(130, 0, 0), (130, 0, 1), (130, 1, 1), (130, 2, 1)]),
        Asked::Create(0),
        Asked::Finish(vec![(59, 0, 0), (59, 0, 1)]),
        Asked::Create(60),
        Asked::Finish(vec![(61, 0, 0), (61, 0, 1)]),
    ];
    assert_eq!(asked, expected);
}

#[test]
fn a_file_without_a_period_takes_everything() {
    let play = play(None, Compression::None, |_| {});
    push(&play.files, &[(130, 1), (9000, 1), (5, 1)]);
    let (asked, _) = play.end();
    let file = vec![(130, 0, 0), (130, 0, 1), (9000, 1, 1), (9000, 2, 1)];
    assert_eq!(asked, [Asked::Create(130), Asked::Finish(file)]);
}

#[test]
fn what_cannot_be_written_waits_and_the_log_hears_of_the_begin_and_the_end() {
    let play = play(Some(60), Compression::None, |place| place.refusals = 1);
    push(&play.files, &[(60, 1)]);
    let (asked, news) = play.end();
    let file = vec![(60, 0, 0), (60, 0, 1)];
    assert_eq!(asked, [Asked::Create(60), Asked::Finish(file)]);
    let problem = "no file can be made: no storage space";
    let lines = [
        format!("{problem}; flows wait"),
        "60: written again, 0 records were lost".to_owned(),
    ];
    assert_eq!(news.lines, lines);
}

#[test]
fn what_cannot_be_written_to_the_end_is_given_up_and_counted() {
    let play = play(Some(60), Compression::None, |place| {
        place.refusals = u32::MAX
    });
    assert_eq!(
        push(&play.files, &[(60, 4), (70, 3)]),
        (7, Amount::default())
    );
    let (asked, news) = play.end();
    assert_eq!(asked, []);
    assert_eq!((news.lost.records, news.lost.messages), (7, 2));
    assert_eq!(news.taken, Amount::default());
    assert_eq!(news.lines.len(), 1);
}

#[test]
fn where_nothing_can_be_written_a_replay_does_not_wait_and_the_oldest_go() {
    let play = play(Some(60), Compression::None, |place| {
        place.refusals = u32::MAX
    });
    let message = (60, 60_000);
    let most = WAITING / (60_000 + 20);
    let (mut pushed, mut lost) = (0, 0);
    for _ in 0..most + 10 {
        let (records, dropped) = push(&play.files, &[message]);
        (pushed, lost) = (pushed + records, lost + dropped.records);
    }
    assert_eq!(lost, 10 * 60_000);
    let (_, news) = play.end();
    assert_eq!(news.lost.records + lost, pushed);
}

#[test]
fn what_a_program_left_is_cut_to_whole_messages_and_finished() {
    let play = play(Some(60), Compression::None, |place| {
        let mut left = nameless();
        let message = [&[0, 10, 0, 20][..], &[0; 14], &[0, 4]].concat();
        let torn = &message[..19];
        io::Write::write_all(&mut left, &[&message[..], torn].concat()).unwrap();
        place.left = Some(left);
    });
    play.files.close();
    play.files.wait(None);
    let news = play.files.news().unwrap();
    assert_eq!(
        news.lines,
        ["left: left by a program that was killed, finished"]
    );
    drop(play.files);
    let asked: Vec<_> = play.asked.iter().collect();
    // Its set has no record and no template.
    assert_eq!(
        asked,
        [Asked::Left, Asked::Finish(vec![(0, 0, 0)]), Asked::Left]
    );
}

#[test]
fn what_was_prepared_for_a_configuration_that_was_refused_does_nothing() {
    let (asked, receiver) = mpsc::channel();
    let place = Played {
        asked,
        file: None,
        refusals: 0,
        left: None,
    };
    let plan = Plan {
        rotate: None,
        compression: Compression::None,
        when_full: WhenFull::Drop,
    };
    drop(FlowFiles::start(Box::new(place), plan).unwrap());
    assert_eq!(receiver.iter().count(), 0);
}
