//! `records connection`: the two states of a forwarded connection are one flow, and every packet is
//! counted once, whatever ends first.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    missing_docs,
    reason = "a test that is wrong may panic"
)]

mod common;

use std::collections::BTreeMap;

use common::{A, D, Key, M, OUT, Out, Run, St, name, settings};
use pflow::config::{Config, apply_text};
use pflow::export::Order;
use pflow::table::KeepCursor;
use pflow::wire::keep;
use proptest::prelude::*;

const SERVER: &str = "198.51.100.7";

/// What the configuration says, with pflow0 and an active timeout.
fn config(active: u32) -> Config {
    common::config(&format!(
        "records connection\nifindex em0 1\nifindex em1 2\npflow0 flowdst 127.0.0.1:9 active {active}\n"
    ))
}

fn run() -> Run {
    Run::with(settings(), config(0))
}

/// The states of connection `n`: in on em0 from a client of ours, out on em1, there translated.
fn forwarded(n: u16) -> [St; 2] {
    let client = format!("10.0.{}.{}", n >> 8, n & 255);
    let inner = Key::new(&client, 4000, SERVER, 443);
    let arrives = St::udp(u64::from(n) * 2 + 1).keyed(inner).named("em0");
    let leaves = St {
        id: arrives.id + 1,
        ifname: name("em1"),
        direction: OUT,
        stack: Key::new(SERVER, 443, &client, 4000),
        wire: Key::new(SERVER, 443, "203.0.113.1", 50000 + n),
        ..arrives
    };
    [arrives, leaves]
}

fn counted(halves: [St; 2], packets: [u64; 2], octets: [u64; 2]) -> [St; 2] {
    halves.map(|half| half.count(packets, octets))
}

fn inserted(run: &mut Run, ms: i64, halves: [St; 2]) {
    run.send(ms, A, D::Obsd74, &halves.map(M::Ins));
}

fn sums(flows: &[Out]) -> ([u64; 2], [u64; 2]) {
    flows
        .iter()
        .fold(([0; 2], [0; 2]), |(packets, octets), flow| {
            let add = |one: [u64; 2], other: [u64; 2]| [one[0] + other[0], one[1] + other[1]];
            (add(packets, flow.packets), add(octets, flow.octets))
        })
}

#[test]
fn two_states_are_one_flow_with_both_interfaces_and_both_ends_of_the_translation() {
    for first in [0, 1] {
        let mut run = run();
        let halves = counted(forwarded(5), [10, 8], [1000, 8000]);
        inserted(&mut run, 0, halves);
        run.send(5000, A, D::Obsd74, &[M::Del(halves[first].aged(5))]);
        assert_eq!(run.flows(), [], "it waits for the other");
        run.send(6000, A, D::Obsd74, &[M::Del(halves[1 - first].aged(6))]);
        let flows = run.flows();
        let [flow] = &flows[..] else {
            panic!("{flows:#?}")
        };
        assert_eq!(
            (&*flow.src, &*flow.dst),
            ("10.0.0.5:4000", "198.51.100.7:443")
        );
        let after = (
            "203.0.113.1:50005".to_owned(),
            "198.51.100.7:443".to_owned(),
        );
        assert_eq!(flow.nat, Some(after));
        assert_eq!(
            (&*flow.ifname, flow.egress.as_deref()),
            ("em0", Some("em1"))
        );
        assert_eq!((flow.packets, flow.octets), ([10, 8], [1000, 8000]));
        assert_eq!(flow.id, halves[0].id, "it is known by its IN state");
        assert_eq!(run.counters().joined, 1);
    }
}

#[test]
fn a_redirected_connection_shows_where_it_was_sent_to() {
    let mut run = run();
    let outside = Key::new("192.0.2.1", 40000, "203.0.113.1", 80);
    let inside = Key::new("192.0.2.1", 40000, "10.0.0.8", 8080);
    let arrives = St {
        wire: outside,
        stack: inside,
        ..St::tcp(7).named("em1").count([1, 1], [60, 60])
    };
    let key = Key::new("10.0.0.8", 8080, "192.0.2.1", 40000);
    let leaves = St {
        direction: OUT,
        ..St::tcp(8).keyed(key).named("em0").count([1, 1], [60, 60])
    };
    inserted(&mut run, 0, [arrives, leaves]);
    run.send(
        1000,
        A,
        D::Obsd74,
        &[M::DelC(7, arrives.creator), M::DelC(8, arrives.creator)],
    );
    let flow = run.flow();
    assert_eq!(
        (&*flow.src, &*flow.dst),
        ("192.0.2.1:40000", "203.0.113.1:80")
    );
    let after = ("192.0.2.1:40000".to_owned(), "10.0.0.8:8080".to_owned());
    assert_eq!(flow.nat, Some(after));
    assert_eq!(
        (&*flow.ifname, flow.egress.as_deref()),
        ("em1", Some("em0"))
    );
}

#[test]
fn a_state_without_another_goes_at_once() {
    let mut run = run();
    let local = St::tcp(3).count([1, 1], [60, 60]);
    run.send(0, A, D::Obsd74, &[M::Ins(local)]);
    run.send(1000, A, D::Obsd74, &[M::DelC(3, local.creator)]);
    let flow = run.flow();
    assert_eq!((flow.egress, flow.octets), (None, [60, 60]));
    assert_eq!((run.counters().joined, run.counters().unjoined), (0, 1));
}

#[test]
fn states_of_two_firewalls_are_not_joined() {
    let mut run = run();
    let [arrives, leaves] = counted(forwarded(1), [1, 1], [60, 60]);
    let leaves = St {
        creator: common::OTHER_CREATOR,
        ..leaves
    };
    inserted(&mut run, 0, [arrives, leaves]);
    run.send(
        1000,
        A,
        D::Obsd74,
        &[M::Del(arrives.aged(1)), M::Del(leaves.aged(1))],
    );
    assert_eq!(run.flows().len(), 2);
}

#[test]
fn the_better_counters_are_the_connections() {
    let mut run = run();
    let [arrives, leaves] = forwarded(1);
    inserted(&mut run, 0, [arrives, leaves]);
    let leaves = leaves.count([5, 5], [500, 700]).aged(3);
    // What passed is not told of the first but that something did.
    run.send(2000, A, D::Obsd74, &[M::upd_c(&arrives)]);
    run.send(
        3000,
        A,
        D::Obsd74,
        &[M::DelC(arrives.id, arrives.creator), M::Del(leaves)],
    );
    assert_eq!(run.flow().octets, [500, 700]);
}

#[test]
fn a_clear_ends_both_as_one() {
    let mut run = run();
    for n in 0..700 {
        inserted(&mut run, 0, counted(forwarded(n), [2, 1], [100, 50]));
    }
    run.send(1000, A, D::Obsd74, &[M::Clr([0; 16], common::CREATOR)]);
    let flows = run.flows();
    assert_eq!(flows.len(), 700);
    assert!(flows.iter().all(|flow| flow.egress.is_some()));
    assert_eq!(sums(&flows), ([1400, 700], [70_000, 35_000]));
}

#[test]
fn none_waits_longer_than_a_minute_and_what_comes_later_is_no_more_than_that() {
    let mut run = run();
    let halves = counted(forwarded(1), [10, 10], [1000, 1000]);
    inserted(&mut run, 0, halves);
    run.send(1000, A, D::Obsd74, &[M::Del(halves[0].aged(1))]);
    run.advance(60_900);
    assert_eq!(run.flows(), []);
    run.advance(61_000);
    let flow = run.flow();
    assert_eq!(
        (flow.egress.as_deref(), flow.octets),
        (Some("em1"), [1000, 1000])
    );
    let later = halves[1].count([12, 11], [1200, 1060]).aged(70);
    run.send(70_000, A, D::Obsd74, &[M::Del(later)]);
    let flow = run.flow();
    assert_eq!((flow.packets, flow.octets), ([2, 1], [200, 60]));
    assert_eq!(run.counters().waited_out, 1);
}

/// Both states of a connection are made; that of direction `anew` ends twice and is made again, while
/// the other lives on and counts all of it: what then comes out.
fn made_anew(run: &mut Run, anew: usize, step: &mut dyn FnMut(&mut Run)) {
    let halves = forwarded(1);
    let mut counts = [[40, 2], [50, 20], [277, 160]].into_iter();
    let (mut all, mut begun) = ([0; 2], 0);
    for (n, until) in [(0, 30), (1, 65), (2, 200)] {
        let [sent, answered] = counts.next().unwrap();
        all = [all[0] + sent, all[1] + answered];
        let one = St {
            id: halves[anew].id + n * 10,
            ..halves[anew]
        };
        let one = one.count([sent, answered], [sent * 100, answered * 100]);
        let lasting = halves[1 - anew].count(all, [all[0] * 100, all[1] * 100]);
        let told = if n == 0 {
            M::Ins(lasting)
        } else {
            M::Upd(lasting.aged(begun))
        };
        run.send(i64::from(begun) * 1000, A, D::Obsd74, &[M::Ins(one), told]);
        for second in begun + 1..until {
            run.advance(i64::from(second) * 1000);
            step(run);
        }
        let end = M::Del(one.aged(until - begun));
        let at = i64::from(until) * 1000;
        match n {
            2 => run.send(at, A, D::Obsd74, &[M::Del(lasting.aged(until)), end]),
            _ => run.send(at, A, D::Obsd74, &[end]),
        }
        begun = until + 1;
    }
    step(run);
}

#[test]
fn a_state_that_is_made_anew_while_the_other_lives_is_counted_once() {
    for anew in [0, 1] {
        let mut run = run();
        made_anew(&mut run, anew, &mut |_| {});
        let sums = sums(&run.flows());
        assert_eq!(sums, ([367, 182], [36_700, 18_200]), "{anew}");
    }
}

#[test]
fn parts_of_a_connection_one_state_of_which_is_made_anew_add_up() {
    for (anew, active) in [(0, 10), (1, 10), (0, 60), (1, 60)] {
        let mut run = Run::with(settings(), config(active));
        let mut received = Received::default();
        made_anew(&mut run, anew, &mut |run| received.take(run));
        run.finish();
        received.take(&mut run);
        assert_eq!(
            received.octets[&[10, 0, 0, 1]],
            [36_700, 18_200],
            "{anew} {active}"
        );
    }
}

#[test]
fn one_marked_half_suffices() {
    let mut run = run();
    let [arrives, leaves] = counted(forwarded(1), [1, 1], [60, 60]);
    inserted(
        &mut run,
        0,
        [
            St {
                flags: 0,
                ..arrives
            },
            leaves,
        ],
    );
    let ends = [arrives, leaves].map(|half| M::DelC(half.id, half.creator));
    run.send(1000, A, D::Obsd74, &ends);
    assert_eq!(run.flow().octets, [60, 60]);
    let [arrives, leaves] = [arrives, leaves].map(|half| St {
        flags: 0,
        id: half.id + 10,
        ..half
    });
    inserted(&mut run, 2000, [arrives, leaves]);
    let ends = [arrives, leaves].map(|half| M::DelC(half.id, half.creator));
    run.send(3000, A, D::Obsd74, &ends);
    assert_eq!(run.flows(), []);
}

#[test]
fn an_interface_that_wants_states_has_them_beside_one_that_wants_connections() {
    let mut config = config(0);
    let text = "pflow1 flowdst 127.0.0.1:10 records state\n";
    apply_text(&mut config, "test", text).unwrap();
    let mut run = Run::with(settings(), config);
    let halves = counted(forwarded(1), [1, 1], [60, 60]);
    inserted(&mut run, 0, halves);
    run.send(
        1000,
        A,
        D::Obsd74,
        &halves.map(|half| M::DelC(half.id, half.creator)),
    );
    let flows: Vec<u64> = run
        .engine
        .interfaces()
        .iter()
        .map(|one| one.counters.flows)
        .collect();
    assert_eq!(flows, [1, 2]);
}

#[test]
fn an_evicted_half_and_its_other_count_once() {
    let mut config = config(0);
    apply_text(&mut config, "test", "states 10\n").unwrap();
    let mut run = Run::with(settings(), config);
    let halves = counted(forwarded(0), [10, 10], [1000, 1000]);
    inserted(&mut run, 0, halves);
    for n in 1..11 {
        run.send(
            i64::from(n) * 1000,
            A,
            D::Obsd74,
            &[M::Ins(forwarded(n)[0])],
        );
    }
    let octets: [u64; 2] = sums(&run.finish()).1;
    assert_eq!(octets, [1000, 1000]);
}

/// Octets of the records of pflow0's NetFlow v5 datagrams by client, and of ingress and egress.
#[derive(Default)]
struct Received {
    octets: BTreeMap<[u8; 4], [u64; 2]>,
    records: usize,
    interfaces: Vec<[u16; 2]>,
}

impl Received {
    fn take(&mut self, run: &mut Run) {
        for (_, payload) in run.engine.transmit(Order::Packed).iter() {
            let count = usize::from(payload[3]);
            for record in payload[24..24 + 48 * count].chunks(48) {
                let word = |at: usize| u32::from_be_bytes(record[at..at + 4].try_into().unwrap());
                let index = |at: usize| u16::from_be_bytes([record[at], record[at + 1]]);
                let back = usize::from(record[0] != 10);
                let client = if back == 1 {
                    &record[4..8]
                } else {
                    &record[..4]
                };
                let sum = self.octets.entry(client.try_into().unwrap()).or_default();
                sum[back] += u64::from(word(20));
                self.records += 1;
                self.interfaces.push([index(12), index(14)]);
            }
        }
    }
}

#[test]
fn records_of_a_connection_name_the_interface_it_came_in_on_and_the_one_it_left_by() {
    let mut run = run();
    let halves = counted(forwarded(1), [1, 1], [60, 60]);
    inserted(&mut run, 0, halves);
    run.send(
        1000,
        A,
        D::Obsd74,
        &halves.map(|half| M::DelC(half.id, half.creator)),
    );
    run.finish();
    let mut received = Received::default();
    received.take(&mut run);
    assert_eq!(received.interfaces, [[1, 2], [2, 1]]);
}

#[test]
fn parts_are_of_the_connection_and_add_up_to_it() {
    let mut run = Run::with(settings(), config(60));
    let mut received = Received::default();
    let halves = forwarded(1);
    inserted(&mut run, 0, counted(halves, [1, 1], [60, 60]));
    for second in 1..=300_u32 {
        let octets = u64::from(second) * 1000;
        let told = counted(halves, [1 + u64::from(second), 1], [60 + octets, 60]);
        let told = told.map(|half| M::Upd(half.aged(second)));
        run.send(i64::from(second) * 1000, A, D::Obsd74, &told);
        received.take(&mut run);
    }
    let ends = halves.map(|half| M::DelC(half.id, half.creator));
    run.send(301_000, A, D::Obsd74, &ends);
    run.finish();
    received.take(&mut run);
    assert_eq!(received.octets[&[10, 0, 0, 1]], [300_060, 60]);
    assert!((5..=7).contains(&received.records), "{}", received.records);
    assert!(
        received
            .interfaces
            .iter()
            .all(|both| *both == [1, 2] || *both == [2, 1])
    );
}

/// What happens to connections.
#[derive(Clone, Debug)]
enum Op {
    /// So many octets pass, and both states are told of.
    Traffic(u16, u16),
    /// One of its states is told to have ended: nothing passes any more.
    End(u16, bool),
    /// Time passes.
    Pass(u32),
    /// `pfctl -F states`, perhaps of one interface.
    Clear(Option<bool>),
    /// pflow stops in good order and starts again.
    Restart,
}

const COUNT: u16 = 6;

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (0..COUNT, any::<u16>()).prop_map(|(n, octets)| Op::Traffic(n, octets)),
        4 => (0..COUNT, any::<bool>()).prop_map(|(n, is_out)| Op::End(n, is_out)),
        4 => (1..100_u32).prop_map(Op::Pass),
        1 => proptest::option::of(any::<bool>()).prop_map(Op::Clear),
        1 => Just(Op::Restart),
    ]
}

/// Connections, as a firewall has them.
struct Model {
    run: Run,
    received: Received,
    printed: Vec<Out>,
    /// Of each: whether its states are alive, and their counters.
    alive: Vec<[bool; 2]>,
    octets: Vec<u64>,
    seconds: u32,
    active: u32,
}

impl Model {
    fn new(active: u32) -> Self {
        let mut run = Run::with(settings(), config(active));
        for n in 0..COUNT {
            inserted(&mut run, 0, counted(forwarded(n), [1, 0], [100, 0]));
        }
        Self {
            run,
            received: Received::default(),
            printed: Vec::new(),
            alive: vec![[true; 2]; COUNT.into()],
            octets: vec![100; COUNT.into()],
            seconds: 0,
            active,
        }
    }

    fn half(&self, n: u16, which: usize) -> St {
        let packets = self.octets[usize::from(n)].div_ceil(100);
        let half = counted(forwarded(n), [packets, 0], [self.octets[usize::from(n)], 0])[which];
        half.aged(self.seconds)
    }

    fn send(&mut self, messages: &[M]) {
        self.run
            .send(i64::from(self.seconds) * 1000, A, D::Obsd74, messages);
    }

    fn apply(&mut self, op: &Op) {
        match *op {
            Op::Traffic(n, octets) if self.alive[usize::from(n)] == [true; 2] => {
                self.octets[usize::from(n)] += u64::from(octets);
                let told = [M::Upd(self.half(n, 0)), M::Upd(self.half(n, 1))];
                self.send(&told);
            }
            Op::End(n, is_out) if self.alive[usize::from(n)][usize::from(is_out)] => {
                self.alive[usize::from(n)][usize::from(is_out)] = false;
                let end = M::Del(self.half(n, is_out.into()));
                self.send(&[end]);
            }
            Op::Pass(seconds) => {
                // States that are alive are heard of.
                self.seconds += seconds;
                for n in 0..COUNT {
                    for which in 0..2 {
                        if self.alive[usize::from(n)][which] {
                            let told = M::Upd(self.half(n, which));
                            self.send(&[told]);
                        }
                    }
                }
            }
            Op::Clear(only) => {
                let ifname = match only {
                    None => [0; 16],
                    Some(is_out) => name(if is_out { "em1" } else { "em0" }),
                };
                for alive in &mut self.alive {
                    for (which, alive) in alive.iter_mut().enumerate() {
                        *alive &= only.is_some_and(|is_out| usize::from(is_out) != which);
                    }
                }
                self.send(&[M::Clr(ifname, common::CREATOR)]);
            }
            Op::Restart => self.restart(),
            _ => {}
        }
        self.collect();
    }

    fn collect(&mut self) {
        self.printed.extend(self.run.flows());
        self.received.take(&mut self.run);
    }

    fn restart(&mut self) {
        self.run.advance(i64::from(self.seconds) * 1000);
        let printed = self.run.finish();
        self.printed.extend(printed);
        let now = self.run.now();
        let (mut cursor, mut body) = (KeepCursor::default(), Vec::new());
        while !self.run.engine.keep_step(now, &mut cursor, &mut body) {}
        self.collect();
        let file = keep::file(true, now.wall, &body);
        let mut next = Run::with(settings(), config(self.active));
        let (header, records) = keep::parse(&file).unwrap();
        next.engine.restore(now, header.is_clean, records);
        self.run = next;
        self.run.advance(i64::from(self.seconds) * 1000);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn every_octet_of_a_connection_is_counted_once(
        ops in prop::collection::vec(op(), 1..60),
        active in prop::sample::select(vec![0, 5, 60]),
    ) {
        let mut model = Model::new(active);
        for op in &ops {
            model.apply(op);
        }
        // All ends.
        model.apply(&Op::Clear(None));
        let last = model.run.finish();
        model.printed.extend(last);
        model.collect();
        for n in 0..COUNT {
            let client = format!("10.0.0.{n}:4000");
            let printed = model.printed.iter().filter(|flow| flow.src == client);
            let printed: u64 = printed.map(|flow| flow.octets[0]).sum();
            prop_assert_eq!(printed, model.octets[usize::from(n)], "printed of {}: {:#?}", n, &model.printed);
            let sent = model.received.octets.get(&[10, 0, 0, n.to_be_bytes()[1]]);
            prop_assert_eq!(sent.copied().unwrap_or_default()[0], model.octets[usize::from(n)], "sent of {}", n);
        }
    }
}
