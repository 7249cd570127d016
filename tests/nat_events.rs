//! `events nat`: each translation is told once when its state is first heard of, and once when it ends.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    missing_docs,
    reason = "a test that is wrong may panic"
)]

mod common;

use std::collections::BTreeMap;

use common::{A, B, D, Key, M, OTHER_CREATOR, OUT, Run, St, T0, name, settings};
use pflow::config::{Config, apply_text};
use pflow::export::Order;
use pflow::table::KeepCursor;
use pflow::wire::keep;
use proptest::prelude::*;

const SERVER: &str = "198.51.100.7";

fn config(words: &str) -> Config {
    common::config(&format!(
        "pflow0 flowdst 127.0.0.1:9 pflowproto 10 template full events nat {words}\n\
         pflow1 flowdst 127.0.0.1:10 pflowproto 10 template full\n"
    ))
}

fn run(words: &str) -> Run {
    Run::with(settings(), config(words))
}

/// A state that leaves through a translation, `n` of them.
fn nat(n: u16) -> St {
    St {
        ifname: name("em1"),
        direction: OUT,
        stack: Key::new(SERVER, 443, "10.0.0.5", 4000 + n),
        wire: Key::new(SERVER, 443, "203.0.113.1", 50000 + n),
        ..St::udp(u64::from(n) + 1)
    }
}

fn ended(state: St) -> M {
    M::DelC(state.id, state.creator)
}

/// An event: natEvent, milliseconds since [`T0`], flowId, and all values by element.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Event {
    what: u64,
    at: i64,
    flow: u64,
    values: BTreeMap<u16, Vec<u8>>,
}

impl Event {
    fn number(&self, element: u16) -> u64 {
        number(&self.values[&element])
    }
}

fn number(octets: &[u8]) -> u64 {
    octets.iter().fold(0, |n, octet| n << 8 | u64::from(*octet))
}

/// What a collector has read of an interface.
#[derive(Default)]
struct Reader {
    /// Elements and lengths by template.
    templates: BTreeMap<u16, Vec<(u16, usize)>>,
    events: Vec<Event>,
    /// flowId of each record of a flow.
    flows: Vec<u64>,
}

impl Reader {
    fn read(&mut self, message: &[u8]) {
        let word = |at: usize| u16::from_be_bytes([message[at], message[at + 1]]);
        let (id, end) = (word(16), 16 + usize::from(word(18)));
        assert_eq!(end, message.len(), "one set a message");
        if id == 2 {
            let mut at = 20;
            while at < end {
                let (template, count) = (word(at), word(at + 2));
                let field = |n: usize| (word(at + 4 + n * 4), usize::from(word(at + 6 + n * 4)));
                let fields: Vec<_> = (0..usize::from(count)).map(field).collect();
                at += 4 + fields.len() * 4;
                self.templates.insert(template, fields);
            }
        }
        if (300..400).contains(&id) {
            let mut at = 20;
            while at < end {
                let mut values = BTreeMap::new();
                for (element, len) in &self.templates[&id] {
                    values.insert(*element, message[at..at + len].to_vec());
                    at += len;
                }
                self.take(values);
            }
        }
    }

    fn take(&mut self, values: BTreeMap<u16, Vec<u8>>) {
        let flow = number(&values[&148]);
        let Some(what) = values.get(&230) else {
            self.flows.push(flow);
            return;
        };
        self.events.push(Event {
            what: number(what),
            at: i64::try_from(number(&values[&323])).unwrap() - T0 * 1000,
            flow,
            values,
        });
    }

    /// Takes what the interface `unit` sent, and holds.
    fn take_from(&mut self, run: &mut Run, unit: u32) {
        let now = run.now();
        run.engine.flush_interfaces(now, &[0, 1]);
        for (message, payload) in run.engine.transmit(Order::Packed).iter() {
            if message == unit {
                self.read(payload);
            }
        }
    }
}

/// A run and who reads what pflow0 sends.
struct Watched {
    run: Run,
    reader: Reader,
}

impl Watched {
    fn new(words: &str) -> Self {
        Self::of(run(words))
    }

    fn of(run: Run) -> Self {
        let reader = Reader::default();
        Self { run, reader }
    }

    fn send(&mut self, ms: i64, messages: &[M]) {
        self.run.send(ms, A, D::Obsd74, messages);
    }

    /// Events since the last call: which, and when.
    fn events(&mut self) -> Vec<(u64, i64)> {
        self.whole().iter().map(|one| (one.what, one.at)).collect()
    }

    fn whole(&mut self) -> Vec<Event> {
        self.reader.take_from(&mut self.run, 0);
        std::mem::take(&mut self.reader.events)
    }
}

#[test]
fn a_translation_is_told_when_it_is_first_heard_of_and_when_it_ends() {
    let mut seen = Watched::new("");
    // It was made 3 seconds before.
    seen.send(10_000, &[M::Ins(nat(1).aged(3))]);
    let events = seen.whole();
    let [created] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!((created.what, created.at), (4, 7000));
    let ports = [7, 11, 227, 228].map(|element| created.number(element));
    assert_eq!(ports, [4001, 443, 50001, 443]);
    let address = |element| created.values[&element].clone();
    assert_eq!(address(8), [10, 0, 0, 5], "before");
    assert_eq!(address(225), [203, 0, 113, 1], "after");
    assert_eq!((address(12), address(226)), (address(226), address(12)));
    assert_eq!(created.number(405), u64::from(nat(1).creator));
    assert_eq!(created.number(4), 17);
    // Neither an update nor the same again makes another.
    seen.send(11_000, &[M::upd_c(&nat(1)), M::Ins(nat(1).aged(4))]);
    assert_eq!(seen.events(), []);
    let counted = nat(1).aged(5).count([1, 1], [60, 60]);
    seen.send(12_345, &[M::Upd(counted), ended(nat(1))]);
    let events = seen.whole();
    let [deleted] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!((deleted.what, deleted.at), (5, 12_345));
    let but_time = |event: &Event| {
        let mut values = event.values.clone();
        values.retain(|element, _| ![323, 230].contains(element));
        values
    };
    assert_eq!(but_time(deleted), but_time(created));
    assert_eq!(
        seen.reader.flows, [created.flow; 2],
        "of the flow's records"
    );
    let counters = seen.run.engine.interfaces()[0].counters;
    assert_eq!((counters.events, counters.records), (2, 4));
}

#[test]
fn an_interface_that_does_not_ask_is_told_nothing_and_knows_no_templates_of_events() {
    let mut run = run("");
    run.send(0, A, D::Obsd74, &[M::Ins(nat(1)), ended(nat(1))]);
    let mut reader = Reader::default();
    reader.take_from(&mut run, 1);
    assert_eq!(reader.events, []);
    assert_eq!(run.engine.interfaces()[1].counters.events, 0);
    assert!(!reader.templates.is_empty());
    assert!(
        reader
            .templates
            .values()
            .flatten()
            .all(|(id, _)| *id != 230)
    );
}

#[test]
fn what_is_not_translated_or_only_into_another_routing_domain_is_told_nothing() {
    let mut seen = Watched::new("");
    let plain = St::udp(1);
    let mut routed = St::udp(2);
    routed.stack.rdomain = 7;
    seen.send(0, &[M::Ins(plain), M::Ins(routed)]);
    seen.send(1000, &[ended(plain), ended(routed)]);
    assert_eq!(seen.events(), []);
}

#[test]
fn families_have_events_of_their_own() {
    let inside = Key::new(SERVER, 443, "10.0.0.5", 4000);
    let v6 = |near: &str| Key::new("2001:db8::7", 443, near, 4000);
    let pairs = [
        (inside, Key::new(SERVER, 443, "203.0.113.1", 4000), [4, 5]),
        (v6("2001:db8::1"), v6("2001:db8::2"), [6, 7]),
    ];
    for (n, (stack, wire, expected)) in (1..).zip(pairs) {
        let mut seen = Watched::new("");
        let state = St {
            stack,
            wire,
            ..nat(n)
        };
        seen.send(0, &[M::Ins(state)]);
        seen.send(1000, &[ended(state)]);
        let events: Vec<_> = seen.events().iter().map(|(what, _)| *what).collect();
        assert_eq!(events, expected);
    }
}

#[test]
fn what_ends_within_the_delay_is_told_nothing() {
    let mut seen = Watched::new("delay 10");
    seen.send(0, &[M::Ins(nat(1)), M::Ins(nat(2)), M::Ins(nat(3))]);
    seen.send(9999, &[ended(nat(1))]);
    assert_eq!(seen.events(), []);
    seen.run.advance(10_000);
    assert_eq!(seen.events(), [(4, 0), (4, 0)], "as of when pf made it");
    seen.send(10_001, &[ended(nat(2)), M::clr(nat(3).creator)]);
    assert_eq!(seen.events(), [(5, 10_001), (5, 10_001)]);
    // One that was made long before pflow heard of it is past its delay.
    seen.send(20_000, &[M::Upd(nat(4).aged(10)), M::Upd(nat(5).aged(9))]);
    assert_eq!(seen.events(), [(4, 10_000)]);
    seen.run.advance(29_999);
    assert_eq!(seen.events(), []);
    seen.run.advance(30_000);
    assert_eq!(seen.events(), [(4, 11_000)]);
}

#[test]
fn each_interface_has_its_delay_and_a_change_of_it_counts_at_once() {
    let mut config = config("delay 10");
    let line = "pflow1 events nat delay 2\n";
    apply_text(&mut config, "test", line).unwrap();
    let mut run = Run::with(settings(), config);
    run.send(0, A, D::Obsd74, &[M::Ins(nat(1))]);
    run.advance(2000);
    let told = |run: &Run| [0, 1].map(|n| run.engine.interfaces()[n].counters.events);
    assert_eq!(told(&run), [0, 1]);
    let mut config = run.engine.config().clone();
    apply_text(&mut config, "test", "pflow0 delay 3\n").unwrap();
    let now = run.now();
    run.engine.commit(now, config, &[0]);
    run.advance(2999);
    assert_eq!(told(&run), [0, 1]);
    run.advance(3000);
    assert_eq!(told(&run), [1, 1]);
    run.send(4000, A, D::Obsd74, &[ended(nat(1))]);
    assert_eq!(told(&run), [2, 2]);
}

#[test]
fn after_a_failover_the_same_state_is_told_once_and_its_end_when_it_is_sure() {
    let mut seen = Watched::new("");
    let state = nat(1).count([1, 1], [60, 60]);
    seen.send(0, &[M::Ins(state)]);
    for ms in [1000, 2000] {
        let again = state.count([2, 2], [120, 120]).aged(1);
        seen.run.send(ms, B, D::Obsd74, &[M::Ins(again)]);
    }
    assert_eq!(seen.events(), [(4, 0)]);
    // The first deletes it while the second has packets of it: held back, then over.
    seen.send(3000, &[ended(state)]);
    assert_eq!(seen.events(), []);
    seen.run.advance(5000);
    let events = seen.events();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].0, 5);
}

#[test]
fn an_end_that_is_held_back_is_none_that_outlived_the_delay() {
    let mut seen = Watched::new("delay 10");
    let state = nat(1).count([1, 1], [60, 60]);
    seen.send(0, &[M::Ins(state)]);
    let again = state.count([2, 2], [120, 120]).aged(1);
    seen.run.send(1000, B, D::Obsd74, &[M::Ins(again)]);
    seen.send(9000, &[ended(state)]);
    seen.run.advance(10_000);
    assert_eq!(seen.run.alive(), 1, "it is held back");
    seen.run.advance(30_000);
    assert_eq!((seen.run.alive(), seen.events()), (0, Vec::new()));
}

#[test]
fn what_is_known_of_translations_counts_against_the_bound_and_is_nothing_without_events() {
    let taken = |words: &str| {
        let mut config = config("delay 60");
        apply_text(
            &mut config,
            "test",
            &format!("states 64M\npflow0 {words}\n"),
        )
        .unwrap();
        let mut run = Run::with(settings(), config);
        let states: Vec<_> = (0..9000).map(|n| M::Ins(nat(n))).collect();
        for some in states.chunks(200) {
            run.send(0, A, D::Obsd74, some);
        }
        run.advance(61_000);
        assert_eq!(run.alive(), 9000);
        let taken = run.engine.state_octets();
        assert!(taken <= run.engine.table().counted_octets());
        taken
    };
    let [without, with] = ["events none", "up"].map(taken);
    // Entries in three chunks, with their lists of free places, and a bit each.
    let more = with - without;
    assert!((9000 * 24..3 * 4096 * 34).contains(&more), "{more}");
}

#[test]
fn another_state_under_the_id_ends_the_one_before() {
    let mut seen = Watched::new("");
    let other = St {
        id: nat(1).id,
        ..nat(2)
    };
    seen.send(0, &[M::Ins(nat(1))]);
    seen.send(1000, &[M::Ins(other)]);
    let events = seen.whole();
    let what: Vec<_> = events.iter().map(|one| one.what).collect();
    assert_eq!(what, [4, 5, 4]);
    assert_eq!(events[0].flow, events[1].flow);
    assert_ne!(events[1].flow, events[2].flow);
}

#[test]
fn a_state_without_the_pflow_flag_or_of_the_other_direction_is_told_nothing() {
    let unmarked = St { flags: 0, ..nat(1) };
    for (words, state) in [("", unmarked), ("direction in", nat(1))] {
        let mut seen = Watched::new(words);
        seen.send(0, &[M::Ins(state)]);
        seen.send(1000, &[ended(state)]);
        assert_eq!(seen.events(), []);
    }
    let all = pflow::engine::Settings {
        is_all: true,
        ..settings()
    };
    let mut seen = Watched::of(Run::with(all, config("")));
    seen.send(0, &[M::Ins(unmarked)]);
    assert_eq!(seen.events(), [(4, 0)]);
}

#[test]
fn what_makes_room_is_told_as_ended_and_begins_anew_if_it_is_heard_of_again() {
    let mut config = config("");
    apply_text(&mut config, "test", "states 2\n").unwrap();
    let mut seen = Watched::of(Run::with(settings(), config));
    for n in 1..=3 {
        seen.send(i64::from(n) * 1000, &[M::Ins(nat(n))]);
    }
    let events = seen.whole();
    let what: Vec<_> = events.iter().map(|one| one.what).collect();
    assert_eq!(what, [4, 4, 5, 4]);
    assert_eq!(events[2].flow, events[0].flow, "the longest silent");
    seen.send(4000, &[M::Upd(nat(1).aged(3))]);
    let what: Vec<_> = seen.whole().iter().map(|one| one.what).collect();
    assert_eq!(what, [5, 4]);
}

#[test]
fn a_state_that_is_alive_at_the_end_has_not_ended() {
    for words in ["", "flush active\n"] {
        let mut config = config("");
        apply_text(&mut config, "test", words).unwrap();
        let mut seen = Watched::of(Run::with(settings(), config));
        seen.send(0, &[M::Ins(nat(1).count([1, 1], [60, 60]))]);
        seen.run.finish();
        assert_eq!(seen.events(), [(4, 0)], "{words}");
    }
}

#[test]
fn of_a_forwarded_connection_each_translated_state_is_told() {
    let mut config = config("records connection");
    apply_text(&mut config, "test", "records connection\n").unwrap();
    let mut seen = Watched::of(Run::with(settings(), config));
    let leaves = nat(1).count([1, 1], [60, 60]);
    let arrives = St {
        id: leaves.id + 1,
        ifname: name("em0"),
        ..St::udp(0).keyed(Key::new("10.0.0.5", 4001, SERVER, 443))
    };
    let arrives = arrives.count([1, 1], [60, 60]);
    seen.send(0, &[M::Ins(arrives), M::Ins(leaves)]);
    seen.send(1000, &[ended(arrives), ended(leaves)]);
    assert_eq!(seen.events(), [(4, 0), (5, 1000)]);
}

#[test]
fn each_firewall_has_its_events_in_its_own_domain() {
    let mut run = run("domain creatorid");
    let other = St {
        creator: OTHER_CREATOR,
        ..nat(2)
    };
    run.send(0, A, D::Obsd74, &[M::Ins(nat(1)), M::Ins(other)]);
    let now = run.now();
    run.engine.flush_interfaces(now, &[0]);
    let transmit = run.engine.transmit(Order::Packed);
    let messages = transmit.iter().filter(|(unit, _)| *unit == 0);
    let mut told: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for (_, message) in messages {
        let sets = told.entry(number(&message[12..16])).or_default();
        sets.push(number(&message[16..18]));
    }
    for creator in [nat(1).creator, OTHER_CREATOR] {
        let sets = &told[&u64::from(creator)];
        assert_eq!(sets[0], 2, "templates first");
        assert_eq!(sets.last(), Some(&380));
    }
}

/// A keep file of `run`, and another run that goes on from it.
fn kept(run: &mut Run, config: Config, is_clean: bool, ms: i64) -> Run {
    let mut records = Vec::new();
    let now = run.now();
    let mut cursor = KeepCursor::default();
    while !run.engine.keep_step(now, &mut cursor, &mut records) {}
    let file = keep::file(is_clean, now.wall, &records);
    let (_, records) = keep::parse(&file).unwrap();
    let mut next = Run::with(settings(), config);
    next.restore(ms, is_clean, records);
    next
}

#[test]
fn what_was_told_before_a_restart_is_not_told_again_and_its_end_is() {
    for is_clean in [true, false] {
        let mut run = run("delay 5");
        run.send(0, A, D::Obsd74, &[M::Ins(nat(1)), M::Ins(St::udp(9))]);
        run.advance(5000);
        run.send(6000, A, D::Obsd74, &[M::Ins(nat(2)), M::Ins(nat(3))]);
        let mut seen = Watched::of(kept(&mut run, config("delay 5"), is_clean, 8000));
        assert_eq!(seen.events(), []);
        // The third is not heard of again.
        seen.send(9000, &[M::Upd(nat(1).aged(9)), M::Upd(nat(2).aged(3))]);
        seen.run.advance(10_999);
        assert_eq!(seen.events(), []);
        seen.run.advance(16_000);
        let created = if is_clean { 2 } else { 1 };
        assert_eq!(seen.events().len(), created, "{is_clean}");
        seen.send(17_000, &[1, 2, 3].map(|n| ended(nat(n))));
        let ended = seen.events();
        assert!(ended.iter().all(|(what, _)| *what == 5));
        assert_eq!(ended.len(), created + 1, "{is_clean}");
    }
}

/// What happens to one of a few states.
#[derive(Clone, Copy, Debug)]
enum Step {
    Insert(u16),
    Update(u16),
    Delete(u16),
    /// Another with the id of this.
    Replace(u16),
    Clear,
    Wait(i64),
    /// pflow stops and goes on.
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0u16..12).prop_map(Step::Insert),
        2 => (0u16..12).prop_map(Step::Update),
        3 => (0u16..12).prop_map(Step::Delete),
        1 => (0u16..12).prop_map(Step::Replace),
        1 => Just(Step::Clear),
        3 => (1i64..9000).prop_map(Step::Wait),
        1 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn each_translation_is_told_at_most_once_and_its_end_just_if_it_was(
        steps in steps(),
        delay in 0i64..6,
        states in 2u32..14,
    ) {
        let config = || {
            let mut config = config(&format!("delay {delay}"));
            apply_text(&mut config, "test", &format!("states {states}\n")).unwrap();
            config
        };
        let mut seen = Watched::of(Run::with(settings(), config()));
        // Every third is not translated. All names differ, so that none is another's late news.
        let (mut ms, mut life) = (0, [0u16; 12]);
        let state = |n: u16, life: &[u16; 12]| {
            let number = n + life[usize::from(n)] * 12;
            let plain = St::udp(u64::from(number) + 1);
            match n % 3 {
                0 => plain.keyed(Key::new("10.0.0.5", 4000 + number, SERVER, 443)),
                _ => nat(number),
            }
        };
        let mut all = Vec::new();
        for step in steps {
            ms += 10;
            match step {
                Step::Insert(n) => seen.send(ms, &[M::Ins(state(n, &life))]),
                Step::Update(n) => seen.send(ms, &[M::upd_c(&state(n, &life))]),
                Step::Delete(n) => {
                    seen.send(ms, &[ended(state(n, &life))]);
                    life[usize::from(n)] += 1;
                }
                Step::Replace(n) => {
                    let old = state(n, &life);
                    life[usize::from(n)] += 1;
                    let other = St { id: old.id, ..state(n, &life) };
                    seen.send(ms, &[M::Ins(other), ended(other)]);
                    life[usize::from(n)] += 1;
                }
                Step::Clear => {
                    seen.send(ms, &[M::clr(nat(0).creator)]);
                    life.iter_mut().for_each(|life| *life += 1);
                }
                Step::Wait(by) => {
                    ms += by;
                    seen.run.advance(ms);
                }
                Step::Restart => {
                    if seen.run.alive() == 0 {
                        continue;
                    }
                    all.extend(seen.whole());
                    let next = kept(&mut seen.run, config(), true, ms);
                    seen = Watched::of(next);
                }
            }
        }
        ms += 20_000;
        seen.run.advance(ms);
        seen.send(ms, &[M::clr(nat(0).creator)]);
        all.extend(seen.whole());
        let mut open: BTreeMap<u64, u32> = BTreeMap::new();
        for event in &all {
            prop_assert_ne!(&event.values[&225], &event.values[&8], "translated");
            let told = open.entry(event.flow).or_default();
            match event.what {
                4 => {
                    prop_assert_eq!(*told, 0, "told twice");
                    *told += 1;
                }
                _ => {
                    prop_assert_eq!(*told, 1, "an end without a beginning");
                    *told -= 1;
                }
            }
        }
        prop_assert!(open.values().all(|told| *told == 0), "each has its end");
    }
}
