//! The child's end against a process that is a thread, and a pf that is made up.

use std::io;
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;

use super::*;
use crate::control::Source;
use crate::engine::Settings;
use crate::flow::Boot;
use crate::io::pf::Ioctl;
use crate::output::messages::Detail;
use crate::output::{Form, Output};
use crate::time::Wall;
use crate::troubles::{News, Troubles};
use crate::wire::pf;

/// A pf that knows the states with even numbers.
struct Even;

impl Ioctl for Even {
    fn form(&self) -> pf::Form {
        pf::Form::OpenBsd
    }

    fn get_state(&mut self, state: &mut [u8]) -> io::Result<bool> {
        let id = self.form().state_id(state).unwrap();
        // An IPv4 state of UDP, that came in.
        for (at, octet) in [(250, 2), (251, 17), (252, 1), (255, 8)] {
            *state.get_mut(at).unwrap() = octet;
        }
        Ok(id.id.is_multiple_of(2))
    }

    fn get_states(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

fn now(secs: i64) -> Now {
    Now::new(Wall::new(1_700_000_000 + secs, 0), Uptime::new(secs, 0))
}

fn engine() -> Engine {
    let config = Config {
        counting: Counting::Pf,
        ..Config::default()
    };
    let soliciting = config.soliciting();
    let settings = Settings {
        states: 100,
        is_all: true,
        direction: None,
        boot: Boot::Unknown,
        local_addresses: Vec::new(),
        output: Output {
            form: Form::None,
            detail: Detail::Brief,
        },
    };
    let mut engine = Engine::new(settings, config);
    engine.start(now(0));
    engine.set_soliciting(now(0), soliciting);
    engine
}

/// The child's end, and the process.
fn started() -> (Pf, JoinHandle<()>) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let process = std::thread::spawn(move || crate::io::pf::run(theirs, Even));
    let mut pf = Pf::new(None);
    pf.commit(OpenedPf::Other(Some(Client::start(ours).unwrap())));
    assert!(pf.is_on());
    (pf, process)
}

fn ids(numbers: std::ops::Range<u64>) -> Vec<StateId> {
    let id = |id| StateId { id, creatorid: 5 };
    numbers.map(id).collect()
}

fn ask(engine: &mut Engine, pf: &mut Pf, ids: &[StateId]) {
    let solicitor = engine.solicitor().unwrap();
    solicitor.pf_requests().extend_from_slice(ids);
    pf.send(engine);
}

/// Takes in answers until nothing waits.
fn take_all(engine: &mut Engine, pf: &mut Pf, at: Now) {
    while !pf.waiting.is_empty() {
        let answers = pf.answers().recv_timeout(Duration::from_secs(60));
        pf.take(engine, answers.unwrap(), at);
        pf.send(engine);
    }
}

#[test]
fn what_the_engine_asks_for_comes_back_as_states_of_local_or_as_gone() {
    let (mut engine, (mut pf, process)) = (engine(), started());
    ask(&mut engine, &mut pf, &ids(1..31));
    // One that waits is not asked for twice.
    ask(&mut engine, &mut pf, &ids(1..3));
    take_all(&mut engine, &mut pf, now(1));
    let counters = *engine.pf_counters().unwrap();
    assert_eq!(
        (counters.asked, counters.answered, counters.gone),
        (30, 15, 15)
    );
    assert_eq!(
        (counters.failed, counters.refused, counters.unreadable),
        (0, 0, 0)
    );
    assert_eq!(engine.table().len(), 15);
    assert_eq!(engine.table().senders()[0].sender.to_string(), "local");
    drop(pf);
    process.join().unwrap();
}

#[test]
fn what_is_no_state_is_counted_and_said_once() {
    let mut engine = engine();
    for form in pf::Form::ALL {
        let octets = vec![0xff; form.octets()];
        engine.handle_pf(now(1), &Answer::State(*form, &octets));
    }
    assert_eq!(engine.pf_counters().unwrap().unreadable, 2);
    assert_eq!(engine.notices().len(), 1);
    assert_eq!(engine.table().len(), 0);
    engine.handle_pf(now(1), &Answer::Gone(ids(1..2)[0]));
    assert_eq!(engine.pf_counters().unwrap().gone, 1);
    // The next read of all states is due later the more the last one cost.
    let nanos = 40_000_000;
    engine.handle_pf(now(1), &Answer::Read { states: 5, nanos });
    let counters = *engine.pf_counters().unwrap();
    assert_eq!((counters.reads, counters.read_states), (1, 5));
    assert_eq!(counters.read_micros, 40_000);
}

/// Lines of the log about pf.
fn look(troubles: &mut Troubles, engine: &Engine, at: Now) -> Vec<String> {
    let news = troubles.look(engine, &[Source::default()], at);
    let lines = news.into_iter().map(|news| match news {
        News::Begun(line) | News::Over(line) => line,
    });
    lines.filter(|line| line.contains("pf ")).collect()
}

#[test]
fn more_than_may_wait_is_refused_and_all_that_waits_fails_with_the_process() {
    let mut engine = engine();
    // A process that reads nothing.
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut pf = Pf::new(None);
    pf.commit(OpenedPf::Other(Some(Client::start(ours).unwrap())));
    let most = MAX_WAITING as u64;
    ask(&mut engine, &mut pf, &ids(0..most + 7));
    let counters = *engine.pf_counters().unwrap();
    assert_eq!((counters.asked, counters.refused), (most, 7));
    assert!(pf.is_sending());
    let mut troubles = Troubles::default();
    assert_eq!(look(&mut troubles, &engine, now(1)), [""; 0]);
    drop(theirs);
    take_all(&mut engine, &mut pf, now(1));
    assert_eq!(engine.pf_counters().unwrap().failed, most);
    let mut lines = Vec::new();
    for secs in 2..9 {
        // Asked for in vain as long as there is nobody to ask.
        ask(&mut engine, &mut pf, &ids(0..1));
        pf.come_back(&mut engine, Uptime::new(secs, 0));
        lines.extend(look(&mut troubles, &engine, now(secs)));
    }
    assert_eq!(engine.pf_counters().unwrap().failed, most + 7);
    let (mut other, process) = started();
    pf.client = other.client.take();
    ask(&mut engine, &mut pf, &ids(2..3));
    take_all(&mut engine, &mut pf, now(20));
    lines.extend(look(&mut troubles, &engine, now(20)));
    lines.extend(look(&mut troubles, &engine, now(40)));
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].contains("the process that asks pf ended"));
    assert!(lines[1].contains("pf answers again"), "{lines:?}");
    drop(pf);
    process.join().unwrap();
}
