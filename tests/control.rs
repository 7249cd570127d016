//! The control sockets under clients that mean no good, and listings while states come and go.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test that is wrong may panic"
)]

mod common;
mod running;

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use common::{A, D, Key, M, Run, St};
use pflow::config::{Config, Place, apply_line, interface_word_names, program_word_names};
use pflow::control::request::{FILTERS, REQUESTS, SHOWN};
use pflow::control::{AnswerForm, Listing, Progress, Question, View};
use pflow::counters::ControlCounters;
use pflow::engine::Sent;
use pflow::export::Order;
use pflow::io::control::{MAX_CLIENTS, MAX_LINE};
use pflow::troubles::Troubles;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use running::{Client, Collectors, Directory, Pflow, Statistics, file_header, record};

/// Most microseconds that a step of an answer may keep the export loop.
const LONGEST_STEP: u64 = 10_000;

/// State number `id`: each has its own addresses.
fn state(id: u64) -> St {
    let [.., a, b] = id.to_be_bytes();
    let key = Key::new(&format!("198.51.{a}.{b}"), 40_000, "192.0.2.7", 443);
    St::udp(id).keyed(key).count([1, 2], [100, 200])
}

fn learned(ids: std::ops::Range<u64>) -> Vec<M> {
    ids.map(|id| M::Ins(state(id))).collect()
}

fn ended(ids: impl Iterator<Item = u64>) -> Vec<M> {
    ids.map(|id| M::del_c(&state(id))).collect()
}

/// What hostile clients do, by their number.
const TEMPERS: [fn(UnixStream, &str, &AtomicBool); 8] = [
    silent,
    half_a_line,
    asks_and_reads_nothing,
    leaves_in_the_middle,
    talks_garbage,
    talks_too_long,
    talks_no_utf8,
    asks_and_reads,
];

fn silent(stream: UnixStream, _: &str, is_over: &AtomicBool) {
    hold(stream, is_over);
}

/// Keeps a connection until all is over: it takes what comes only then.
fn hold(stream: UnixStream, is_over: &AtomicBool) {
    while !is_over.load(Ordering::Relaxed) {
        std::thread::park();
    }
    drop(stream);
}

fn half_a_line(mut stream: UnixStream, _: &str, is_over: &AtomicBool) {
    let _ = stream.write_all(b"json show stat");
    hold(stream, is_over);
}

fn asks_and_reads_nothing(mut stream: UnixStream, _: &str, is_over: &AtomicBool) {
    let _ = stream.write_all("show states\n".repeat(20).as_bytes());
    hold(stream, is_over);
}

fn leaves_in_the_middle(stream: UnixStream, path: &str, is_over: &AtomicBool) {
    let mut stream = Some(stream);
    while !is_over.load(Ordering::Relaxed) {
        let next = stream.take().map_or_else(|| UnixStream::connect(path), Ok);
        let Ok(mut next) = next else { break };
        let _ = next.write_all(b"show states\n");
        let _ = next.read(&mut [0; 1000]);
    }
}

/// Says `octets` again and again, whatever the answer, and comes back if it is thrown out.
fn flood(stream: UnixStream, path: &str, is_over: &AtomicBool, octets: &[u8]) {
    let mut stream = stream;
    let mut answer = [0; 4096];
    while !is_over.load(Ordering::Relaxed) {
        let alive = stream.write_all(octets).is_ok();
        if !alive || stream.read(&mut answer).is_ok_and(|read| read == 0) {
            let Ok(next) = UnixStream::connect(path) else {
                break;
            };
            stream = next;
        }
    }
}

fn talks_garbage(stream: UnixStream, path: &str, is_over: &AtomicBool) {
    flood(
        stream,
        path,
        is_over,
        b"pflow0 \"mtu\n}{\x01\x02#\nshow \\\n",
    );
}

fn talks_too_long(stream: UnixStream, path: &str, is_over: &AtomicBool) {
    flood(stream, path, is_over, &vec![b'a'; 2 * MAX_LINE]);
}

fn talks_no_utf8(stream: UnixStream, path: &str, is_over: &AtomicBool) {
    flood(stream, path, is_over, b"show \xff\xfe\n");
}

fn asks_and_reads(stream: UnixStream, _: &str, is_over: &AtomicBool) {
    let questions = ["show states port 443 address 198.51.7.7", "show senders"];
    let mut reader = std::io::BufReader::new(stream.try_clone().unwrap());
    let mut stream = stream;
    for question in questions.iter().cycle() {
        let said = writeln!(stream, "{question}");
        if is_over.load(Ordering::Relaxed) || said.is_err() {
            break;
        }
        let mut line = String::new();
        while !line.starts_with('o') {
            line.clear();
            match std::io::BufRead::read_line(&mut reader, &mut line) {
                Ok(read) if read > 0 => {}
                _ => return,
            }
        }
    }
}

/// States of the replay under torture.
const STATES: u64 = 20_000;
/// States a packet.
const RUN: u64 = 25;
/// Milliseconds it takes to learn the states, and to end them.
const TIMES: (i64, i64) = (500, 3000);

/// A capture in which states are learned, then end a few at a time.
fn capture() -> Vec<u8> {
    let mut file = file_header();
    let runs = STATES / RUN;
    for (begin, length, is_end) in [(0, TIMES.0, false), (TIMES.0, TIMES.1, true)] {
        for run in 0..runs {
            let ids = run * RUN..(run + 1) * RUN;
            let messages = if is_end { ended(ids) } else { learned(ids) };
            let share = i64::try_from(run).unwrap() * length / i64::try_from(runs).unwrap();
            for packet in common::packets(D::Obsd74, &messages) {
                let (_, frame) = A.frame(&packet);
                file.extend(record(begin + share, &frame));
            }
        }
    }
    file
}

#[test]
fn sixty_four_hostile_clients_cost_a_replay_no_record_and_no_time() {
    let directory = Directory::new();
    let (file, socket) = (directory.file("capture"), directory.file("sock"));
    std::fs::write(&file, capture()).unwrap();
    let collectors = Collectors::new();
    let to = collectors.add("127.0.0.1:0").to_string();
    let mut child = Command::new(env!("CARGO_BIN_EXE_pflow"))
        .args(["-a", "-o", "none", "-x", "1", "-s", &socket, "-r", &file])
        .args(["pflow0", "flowdst", &to])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let connect = || loop {
        if let Ok(stream) = UnixStream::connect(&socket) {
            return stream;
        }
        std::thread::yield_now();
    };
    let is_over = Arc::new(AtomicBool::new(false));
    let connections: Vec<_> = (0..MAX_CLIENTS).map(|_| connect()).collect();
    let clients: Vec<_> = connections
        .into_iter()
        .zip(TEMPERS.iter().cycle())
        .map(|(stream, temper)| {
            let (socket, is_over) = (socket.clone(), Arc::clone(&is_over));
            std::thread::spawn(move || temper(stream, &socket, &is_over))
        })
        .collect();
    // One more than there may be, who is served until the capture ends.
    let mut client = Client::new(connect());
    let (mut last, mut answers) = (client.statistics(), 0_u32);
    let sent = STATES * 2;
    while last.get("interface", Some("pflow0"), "records") < sent * 9 / 10 {
        last = client.statistics();
        last.check_sums();
        answers += 1;
    }
    let mut log = String::new();
    let mut stderr = child.stderr.take().unwrap();
    stderr.read_to_string(&mut log).unwrap();
    let status = child.wait().unwrap();
    is_over.store(true, Ordering::Relaxed);
    for client in clients {
        client.thread().unpark();
        client.join().unwrap();
    }
    assert!(status.success(), "{log}");
    let mut records = 0;
    while records < sent {
        let payload = collectors.next().payload;
        records += u64::from(u16::from_be_bytes([payload[2], payload[3]]));
    }
    assert_eq!((records, collectors.rest()), (sent, Vec::new()));
    let count = |name| last.get("control", None, name);
    println!(
        "{answers} answers, the longest step {} us",
        count("longest_step")
    );
    assert!(count("longest_step") < LONGEST_STEP);
    for name in ["requests", "refused", "too_long"] {
        assert_ne!(count(name), 0, "{name}");
    }
}

#[test]
fn a_client_that_does_not_read_keeps_no_other_waiting() {
    let mut pflow = Pflow::start(&["-a"]);
    for run in 0..40 {
        pflow.send(&learned(run * 100..(run + 1) * 100));
    }
    pflow.settle();
    let mut patient = pflow.connect();
    for _ in 0..3 {
        patient.say(b"show states\n");
    }
    // The other's answer is more than a socket holds, and it is whole while that one waits.
    let states = |text: String| text.matches("creatorid").count();
    assert_eq!(states(pflow.ask("show states").unwrap()), 4000);
    pflow.send(&ended(0..1));
    pflow.settle();
    assert_eq!(states(pflow.ask("show states").unwrap()), 3999);
    // The one that waited has lost nothing by it.
    for _ in 0..3 {
        let listed = states(patient.hear().unwrap());
        assert!((3999..=4000).contains(&listed), "{listed}");
    }
    pflow.finish();
}

#[test]
fn one_client_too_many_takes_the_place_of_the_one_silent_longest() {
    let mut pflow = Pflow::start(&[]);
    let mut clients: Vec<_> = (0..MAX_CLIENTS).map(|_| pflow.connect()).collect();
    for client in &mut clients {
        assert_eq!(client.ask("pflow0 create"), Ok(String::new()));
    }
    let mut further = pflow.connect();
    assert_eq!(
        further.ask("list"),
        Ok("pflow0: version 5 domain 42\n".into())
    );
    let statistics = further.statistics();
    assert_eq!(statistics.get("control", None, "made_room"), 1);
    let mut left = Vec::new();
    let (first, others) = clients.split_first_mut().unwrap();
    first.stream.read_to_end(&mut left).unwrap();
    assert_eq!(left, b"");
    for client in others {
        assert_eq!(client.ask("pflow0 create"), Ok(String::new()));
    }
    pflow.finish();
}

#[test]
fn lines_are_refused_one_by_one_and_the_connection_goes_on() {
    let mut pflow = Pflow::start(&[]);
    let mut client = pflow.connect();
    client.say(b"show \xff\nnothing\n\npflow create\r\npflow0 mtu 71\n");
    assert_eq!(client.hear(), Err("not UTF-8".to_owned()));
    assert!(client.hear().unwrap_err().starts_with("nothing: "));
    assert_eq!(client.hear(), Ok(String::new()), "an empty line");
    assert_eq!(client.hear(), Ok("pflow0\n".to_owned()), "with a CR");
    assert!(client.hear().unwrap_err().starts_with("mtu: "));
    // A line as long as may be, and one octet more.
    client.say(format!("{:1$}\n", "", MAX_LINE - 1).as_bytes());
    assert_eq!(client.hear(), Ok(String::new()));
    client.say(format!("{:1$}\n", "", MAX_LINE).as_bytes());
    let problem = client.hear().unwrap_err();
    assert_eq!(problem, format!("line longer than {MAX_LINE} octets"));
    let statistics = pflow.statistics();
    let count = |name| statistics.get("control", None, name);
    assert_eq!((count("too_long"), count("timed_out")), (1, 0));
    // What was said before a connection's sending half closes is answered.
    let mut client = pflow.connect();
    client.say(b"pflow0 down\nshow config");
    client.stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(client.hear(), Ok(String::new()));
    let mut rest = Vec::new();
    (&client.stream).read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"", "half a line is no request");
    let timed_out = pflow.counter("control", None, "timed_out");
    assert_eq!(
        timed_out, 0,
        "and is not waited for when nothing can follow"
    );
    pflow.finish();
}

/// States of the listings.
const MANY: u64 = 50_000;

/// An engine that holds many states.
fn full() -> Run {
    let mut run = Run::new();
    for begin in (0..MANY).step_by(200) {
        run.send(0, A, D::Obsd74, &learned(begin..begin + 200));
    }
    assert_eq!(run.alive() as u64, MANY);
    run
}

/// The next lines of `listing`.
fn step(run: &Run, listing: &mut Listing, out: &mut Vec<u8>) -> Progress {
    let view = View {
        engine: &run.engine,
        sources: &[],
        waiting: 0,
        troubles: &Troubles::default(),
        control: &ControlCounters::default(),
        now: Some(run.now()),
    };
    listing.step(&view, out).unwrap()
}

/// The first step of `show statistics`, without packets.
fn first_step(run: &Run) -> Statistics {
    let mut out = Vec::new();
    let mut listing = Listing::new(Question::Statistics, AnswerForm::Json);
    assert_eq!(step(run, &mut listing, &mut out), Progress::More);
    let lines = std::str::from_utf8(&out).unwrap().lines();
    let parts = lines.map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    Statistics(parts.filter(|part| part["part"] != "packets").collect())
}

#[test]
fn the_first_step_of_statistics_is_of_one_instant_whatever_waits_to_be_sent() {
    let mut config = Config::default();
    for line in [
        "pflow0 flowdst 192.0.2.1:9995",
        "pflow1 flowdst 192.0.2.1:9995 pflowproto 10",
        "pflow2 flowdst 192.0.2.1:9995 pflowproto 10 template freebsd direction in",
    ] {
        apply_line(&mut config, line, || Place::CommandLine).unwrap();
    }
    let mut run = Run::with(common::settings(), config);
    for begin in (0..1000).step_by(200) {
        run.send(0, A, D::Obsd74, &learned(begin..begin + 200));
        run.send(0, A, D::Obsd74, &ended(begin..begin + 150));
        first_step(&run).check_sums();
    }
    let counted = first_step(&run);
    assert_eq!(counted.get("interface", Some("pflow1"), "held"), 2 * 750);
    // What could not be sent is refused.
    let transmit = run.engine.transmit(Order::Packed);
    let datagrams: Vec<(u32, Vec<u8>)> = transmit
        .iter()
        .map(|(unit, octets)| (unit, octets.to_vec()))
        .collect();
    for (n, (unit, datagram)) in datagrams.iter().enumerate() {
        let outcome = [Sent::Yes, Sent::NoMemory, Sent::Failed][n % 3];
        run.engine.handle_sent(*unit, datagram, outcome);
    }
    let counted = first_step(&run);
    counted.check_sums();
    for unit in ["pflow0", "pflow1"] {
        for name in ["records_sent", "records_refused"] {
            assert!(counted.get("interface", Some(unit), name) > 200, "{name}");
        }
    }
}

/// What a step may add: a bound that octets passed, and the state that did.
const STEP_OCTETS: usize = (1 << 16) + 1024;

/// The ids listed; `between` is done after each step.
fn listed(run: &mut Run, mut between: impl FnMut(&mut Run)) -> Vec<u64> {
    let question = Question::States(None);
    let mut listing = Listing::new(question, AnswerForm::Json);
    let mut ids = Vec::new();
    loop {
        let mut out = Vec::new();
        let progress = step(run, &mut listing, &mut out);
        assert!(out.len() <= STEP_OCTETS, "{}", out.len());
        for line in out.split_inclusive(|octet| *octet == b'\n') {
            let value: serde_json::Value = serde_json::from_slice(line).unwrap();
            let id = value["id"].as_str().unwrap();
            ids.push(u64::from_str_radix(id, 16).unwrap());
        }
        if progress == Progress::Done {
            return ids;
        }
        between(run);
    }
}

#[test]
fn a_listing_of_many_states_is_whole_and_in_bounded_steps() {
    let mut run = full();
    let mut steps = 0;
    let mut ids = listed(&mut run, |_| steps += 1);
    ids.sort_unstable();
    assert!(ids.into_iter().eq(0..MANY));
    assert!(steps > 100, "{steps}");
    // A filter that nothing passes takes bounded steps, too, and ends.
    let filter = "port 9";
    let line = format!("show states {filter}");
    let asked = pflow::control::request::parse(&line, pflow::control::Access::ReadOnly);
    let Ok(Some((form, pflow::control::request::Request::Ask(question)))) = asked else {
        panic!("{asked:?}");
    };
    let (mut listing, mut out, mut steps) = (Listing::new(question, form), Vec::new(), 1);
    while step(&run, &mut listing, &mut out) == Progress::More {
        steps += 1;
    }
    assert_eq!((out.len(), steps), (0, 13), "4096 places a step");
}

/// The objects of the answer to `line`; `between` is done after each step.
fn answered(
    run: &mut Run,
    line: &str,
    mut between: impl FnMut(&mut Run),
) -> Vec<serde_json::Value> {
    let asked = pflow::control::request::parse(line, pflow::control::Access::ReadOnly);
    let Ok(Some((form, pflow::control::request::Request::Ask(question)))) = asked else {
        panic!("{asked:?}");
    };
    let mut listing = Listing::new(question, form);
    let mut objects = Vec::new();
    loop {
        let mut out = Vec::new();
        let progress = step(run, &mut listing, &mut out);
        assert!(out.len() <= STEP_OCTETS, "{}", out.len());
        let lines = out.split_inclusive(|octet| *octet == b'\n');
        objects
            .extend(lines.map(|line| serde_json::from_slice::<serde_json::Value>(line).unwrap()));
        if progress == Progress::Done {
            return objects;
        }
        between(run);
    }
}

#[test]
fn top_is_the_best_of_many_states_in_bounded_steps() {
    let mut run = full();
    // Three states carry more than all others.
    for (id, octets) in [(7, 1_000_000), (49_999, 3_000_000), (20_000, 2_000_000)] {
        let state = state(id).aged(1).count([3000, 2], [octets, 200]);
        run.send(1000, A, D::Obsd74, &[M::Upd(state)]);
    }
    let mut steps = 0;
    let best = answered(&mut run, "json show top by octets 3", |_| steps += 1);
    assert!(steps >= 13, "4096 places a step: {steps}");
    let ids: Vec<_> = best[1..]
        .iter()
        .map(|state| u64::from_str_radix(state["id"].as_str().unwrap(), 16).unwrap())
        .collect();
    assert_eq!(ids, [49_999, 20_000, 7]);
    assert_eq!(
        (best[0]["states"].as_u64(), best[0]["by"].as_str()),
        (Some(MANY), Some("octets"))
    );
    let all = answered(&mut run, "json show states", |_| {});
    let sum = |state: &serde_json::Value| {
        state["octets"][0].as_u64().unwrap() + state["octets"][1].as_u64().unwrap()
    };
    assert_eq!(best[0]["octets"].as_u64(), Some(all.iter().map(sum).sum()));
    // The most that may be asked for, and the least first.
    let most = answered(&mut run, "json show top by -octets 1000", |_| {});
    let mut sums: Vec<u64> = all.iter().map(sum).collect();
    sums.sort_unstable();
    assert_eq!(most[1..].iter().map(sum).collect::<Vec<_>>(), sums[..1000]);
    // A filter that nothing passes.
    let none = answered(&mut run, "json top port 9", |_| {});
    assert_eq!((none.len(), none[0]["states"].as_u64()), (1, Some(0)));
}

#[test]
fn a_state_that_ends_while_top_is_made_is_left_out_and_no_other_takes_its_place() {
    let mut run = full();
    let mut next = 0;
    let best = answered(&mut run, "json show top by age 1000", |run| {
        run.send(0, A, D::Obsd74, &ended(next..next + 60));
        let begin = MANY + next;
        run.send(0, A, D::Obsd74, &learned(begin..begin + 60));
        next += 60;
    });
    assert!(next > 600, "{next}");
    let ids: BTreeSet<_> = best[1..]
        .iter()
        .map(|state| u64::from_str_radix(state["id"].as_str().unwrap(), 16).unwrap())
        .collect();
    assert_eq!(ids.len(), best.len() - 1, "none twice");
    assert!(
        ids.len() < 1000 && ids.iter().all(|id| (60..1000).contains(id)),
        "{ids:?}"
    );
}

#[test]
fn states_that_come_and_go_while_they_are_listed_do_no_harm() {
    let mut run = full();
    let mut next = 0;
    let ids = listed(&mut run, |run| {
        // Every third ends, from both ends of the table, and others take the places.
        let gone = (next..next + 60).step_by(3).chain([MANY - 1 - next]);
        let gone = gone.filter(|id| id % 3 == 0);
        run.send(0, A, D::Obsd74, &ended(gone));
        let begin = MANY + next;
        run.send(0, A, D::Obsd74, &learned(begin..begin + 60));
        next += 60;
    });
    assert!(next > 3000);
    let distinct: BTreeSet<_> = ids.iter().copied().collect();
    assert_eq!(distinct.len(), ids.len(), "none twice");
    let stayed = (0..MANY).filter(|id| id % 3 != 0);
    let missing: Vec<_> = stayed.filter(|id| !distinct.contains(id)).collect();
    assert_eq!(missing, Vec::<u64>::new(), "all that stayed");
    assert!(distinct.iter().all(|id| *id < MANY + next));
}

#[test]
fn senders_are_counted_in_steps_while_states_come_and_go() {
    let mut run = full();
    let mut listing = Listing::new(Question::Senders, AnswerForm::Json);
    let (mut out, mut steps, mut next) = (Vec::new(), 0, 0);
    while step(&run, &mut listing, &mut out) == Progress::More {
        steps += 1;
        run.send(0, common::B, D::Obsd74, &ended(next..next + 10));
        next += 10;
    }
    let text = String::from_utf8(out).unwrap();
    let lines = text.lines();
    let values: Vec<serde_json::Value> = lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(values[0]["sender"], "10.0.0.1");
    let states = values[0]["states"].as_u64().unwrap();
    assert!((MANY - next..=MANY).contains(&states), "{states}");
    assert!(steps > 12, "{steps}");
}

/// A word that means something somewhere, a value, or anything at all.
fn word() -> impl Strategy<Value = String> {
    let names = REQUESTS.iter().chain(SHOWN).chain(FILTERS);
    let names: Vec<_> = names
        .map(|(name, ..)| *name)
        .chain(interface_word_names().map(|(name, _)| name))
        .chain(program_word_names())
        .collect();
    let values = "json pflow pflow0 pflow1 pflow9 192.0.2.1:4739 [::1]:4739 127.0.0.1 5 10 72 600 freebsd in any em0 udp.multiple active off ro /tmp/x";
    let values: Vec<_> = values.split(' ').collect();
    prop_oneof![
        6 => prop::sample::select(names).prop_map(str::to_owned),
        4 => prop::sample::select(values).prop_map(str::to_owned),
        1 => any::<u32>().prop_map(|number| number.to_string()),
        1 => "\\PC{0,6}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, rng_seed: RngSeed::Fixed(4), ..ProptestConfig::default() })]

    /// What the fuzz target claims of any lines: no panic, answers that end, a configuration that
    /// reads back as it is shown.
    #[test]
    fn lines_of_known_words_keep_the_fuzz_targets_claims(
        lines in prop::collection::vec(prop::collection::vec(word(), 0..6), 1..12),
    ) {
        let lines: Vec<_> = lines.iter().map(|words| words.join(" ")).collect();
        let packet = common::packets(D::Obsd74, &learned(0..5)).concat();
        let (_, frame) = A.frame(&packet);
        let len = u16::try_from(frame.len()).unwrap().to_be_bytes();
        pflow::fuzzing::control(&[&len, &*frame, lines.join("\n").as_bytes()].concat());
    }
}
