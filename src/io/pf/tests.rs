//! Asking a pf that is made up, of both kinds; and the process that asks it, by its socket.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use super::*;
use crate::wire::pf::frames::{MAX_IDS, write_requests};

/// A pf with these states, each told in octets of this number.
struct MadeUp {
    form: Form,
    states: BTreeMap<StateId, u8>,
    /// Octets told of the size of all.
    size: Option<usize>,
    problem: Option<i32>,
    reads: usize,
}

fn id(id: u64) -> StateId {
    StateId { id, creatorid: 9 }
}

impl MadeUp {
    fn new(form: Form, ids: impl Iterator<Item = u64>) -> Self {
        Self {
            form,
            states: ids.map(|n| (id(n), 7)).collect(),
            size: None,
            problem: None,
            reads: 0,
        }
    }

    fn fails(&self) -> io::Result<()> {
        match self.problem {
            Some(code) => Err(io::Error::from_raw_os_error(code)),
            None => Ok(()),
        }
    }
}

impl Ioctl for MadeUp {
    fn form(&self) -> Form {
        self.form
    }

    fn get_state(&mut self, state: &mut [u8]) -> io::Result<bool> {
        self.fails()?;
        assert_eq!((self.form, state.len()), (Form::OpenBsd, 264));
        let id = self.form.state_id(state).unwrap();
        let Some(octet) = self.states.get(&id) else {
            return Ok(false);
        };
        state[8..16].fill(*octet);
        Ok(true)
    }

    fn get_states(&mut self, states: &mut [u8]) -> io::Result<usize> {
        self.fails()?;
        assert_eq!(self.form, Form::FreeBsd);
        let len = self.form.octets();
        if states.is_empty() {
            return Ok(self.size.unwrap_or(len * self.states.len()));
        }
        self.reads += 1;
        let mut told = 0;
        for ((id, octet), room) in self.states.iter().zip(states.chunks_exact_mut(len)) {
            self.form.name(*id, room);
            room[16..24].fill(*octet);
            told += len;
        }
        Ok(told)
    }
}

/// What was told: states by id, ids gone, and the rest in words.
#[derive(Debug, Default, Eq, PartialEq)]
struct Told {
    states: Vec<u64>,
    gone: Vec<u64>,
    words: Vec<String>,
}

impl Told {
    fn take(&mut self, answer: Answer<'_>) {
        match answer {
            Answer::State(form, octets) => {
                assert_eq!(octets.len(), form.octets());
                assert!(octets.contains(&7));
                self.states.push(form.state_id(octets).unwrap().id);
            }
            Answer::Gone(id) => self.gone.push(id.id),
            Answer::Read { states, nanos } => self.words.push(format!("{states} in {nanos}")),
            Answer::Failed(text) => self.words.push(text.to_owned()),
        }
        self.states.sort_unstable();
        self.gone.sort_unstable();
    }
}

/// Asks at `secs`, a read takes `cost` milliseconds.
fn answers(asker: &mut Asker<MadeUp>, secs: i64, cost: u64) -> Told {
    let (mut told, mut calls) = (Told::default(), 0);
    let mut clock = || {
        calls += 1;
        let gone = if calls > 1 { cost } else { 0 };
        Uptime::new(secs, 0).after(Duration::from_millis(gone))
    };
    asker.handle_timeout(&mut clock, &mut |answer| told.take(answer));
    told
}

#[test]
fn openbsd_is_asked_for_each_state_at_once() {
    let pf = MadeUp::new(Form::OpenBsd, 0..10);
    let mut asker = Asker::new(pf, Uptime::new(0, 0));
    assert_eq!(asker.poll_timeout(), None);
    assert!(asker.ask(&[id(3), id(11), id(4), id(3)]));
    let told = answers(&mut asker, 0, 0);
    assert_eq!((told.states, told.gone), (vec![3, 4], vec![11]));
    assert_eq!((told.words, asker.poll_timeout()), (vec![], None));
    asker.ask(&[id(5)]);
    assert_eq!(answers(&mut asker, 0, 0).states, [5]);
}

#[test]
fn freebsd_is_read_once_for_all_that_wait_and_as_seldom_as_a_read_costs() {
    let pf = MadeUp::new(Form::FreeBsd, 0..1000);
    let mut asker = Asker::new(pf, Uptime::new(0, 0));
    asker.ask(&[id(3), id(1000), id(4)]);
    let told = answers(&mut asker, 0, 50);
    assert_eq!((told.states, told.gone), (vec![3, 4], vec![1000]));
    assert_eq!(told.words, ["1000 in 50000000"]);
    // 50 ms are a hundredth of 5 s.
    for n in 5..900 {
        asker.ask(&[id(n)]);
        assert_eq!(answers(&mut asker, 4, 1), Told::default());
    }
    assert_eq!(asker.poll_timeout(), Some(Uptime::new(5, 0)));
    assert_eq!(answers(&mut asker, 5, 1).states, Vec::from_iter(5..900));
    assert_eq!(asker.ioctl.reads, 2);
    // Nobody asked: nothing is read.
    assert_eq!(answers(&mut asker, 100, 1), Told::default());
    assert_eq!(asker.ioctl.reads, 2);
}

#[test]
fn what_a_read_that_was_too_short_did_not_tell_is_not_gone() {
    let mut pf = MadeUp::new(Form::FreeBsd, 0..1000);
    // As if all but a few had come since pf was asked how many there are.
    pf.size = Some(384);
    let mut asker = Asker::new(pf, Uptime::new(0, 0));
    asker.ask(&[id(1), id(999), id(5000)]);
    let told = answers(&mut asker, 0, 0);
    assert_eq!((told.states, told.gone), (vec![1], vec![]));
    asker.ioctl.size = None;
    let told = answers(&mut asker, 1, 0);
    assert_eq!((told.states, told.gone), (vec![999], vec![5000]));
}

#[test]
fn a_failure_is_told_and_what_comes_later_is_asked_for() {
    let mut pf = MadeUp::new(Form::OpenBsd, 0..10);
    pf.problem = Some(libc::EBUSY);
    let mut asker = Asker::new(pf, Uptime::new(0, 0));
    asker.ask(&[id(1), id(2)]);
    let told = answers(&mut asker, 0, 0);
    assert_eq!(told.words.len(), 1);
    assert!(told.words[0].contains("busy"), "{told:?}");
    assert_eq!(asker.poll_timeout(), None);
    asker.ioctl.problem = None;
    asker.ask(&[id(1)]);
    // Not at once: what fails may fail again.
    assert_eq!(answers(&mut asker, 0, 0), Told::default());
    assert_eq!(answers(&mut asker, 1, 0).states, [1]);
}

#[test]
fn more_states_than_can_be_read_and_more_requests_than_may_wait_are_refused() {
    let mut pf = MadeUp::new(Form::FreeBsd, 0..1);
    pf.size = Some(384 * 2_000_000);
    let mut asker = Asker::new(pf, Uptime::new(0, 0));
    asker.ask(&[id(0)]);
    let told = answers(&mut asker, 0, 0);
    assert_eq!(told.words, ["pf has 2000000 states, too many to be read"]);
    assert_eq!(asker.ioctl.reads, 0);
    let many: Vec<_> = (0..=MAX_WAITING as u64).map(id).collect();
    assert!(asker.ask(&many[1..]));
    assert!(!asker.ask(&many));
}

/// Reads answers until as many states came or are gone, or the process ended.
fn read_answers(stream: &mut UnixStream, count: usize) -> Option<Told> {
    let (mut told, mut octets, mut room) = (Told::default(), Vec::new(), [0; 4096]);
    while told.states.len() + told.gone.len() < count {
        match stream.read(&mut room) {
            Ok(0) | Err(_) => return None,
            Ok(read) => octets.extend_from_slice(&room[..read]),
        }
        while let Ok(Some((answer, taken))) = Answer::read(&octets) {
            told.take(answer);
            octets.drain(..taken);
        }
    }
    Some(told)
}

#[test]
fn the_process_answers_what_its_socket_asks_and_ends_with_it() {
    for form in [Form::OpenBsd, Form::FreeBsd] {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        let process = std::thread::spawn(move || run(theirs, MadeUp::new(form, 0..3000)));
        let ids: Vec<_> = (1000..4000).map(id).collect();
        let mut octets = Vec::new();
        write_requests(&ids, &mut octets);
        assert!(ids.len() > 2 * MAX_IDS);
        // In pieces that no message ends with.
        for piece in octets.chunks(1000) {
            ours.write_all(piece).unwrap();
        }
        let told = read_answers(&mut ours, ids.len()).unwrap();
        assert_eq!(told.states, Vec::from_iter(1000..3000), "{form:?}");
        assert_eq!(told.gone, Vec::from_iter(3000..4000), "{form:?}");
        drop(ours);
        process.join().unwrap();
    }
}

#[test]
fn the_process_ends_when_it_is_told_nonsense() {
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let process = std::thread::spawn(move || run(theirs, MadeUp::new(Form::OpenBsd, 0..1)));
    ours.write_all(&[0xff; 8]).unwrap();
    process.join().unwrap();
    assert_eq!(read_answers(&mut ours, 1), None);
}
