//! A firewall pair as a model: what two nodes do to their states, told to the program in a dialect
//! picked at random, over a network that loses, doubles and reorders; and one scenario in every
//! dialect.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    missing_docs,
    reason = "a test that is wrong may panic"
)]

mod common;

use std::collections::BTreeMap;

use common::{A, B, CREATOR, D, From, Key, M, OTHER_CREATOR, OUT, Out, PFSYNC0, Run, St};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{RngSeed, TestRunner};

/// Two nodes, each with an address and a creator id.
const NODES: [From; 2] = [A, B];
const CREATORS: [u32; 2] = [CREATOR, OTHER_CREATOR];
const INTERFACES: [&str; 3] = ["all", "em0", "em1"];

/// Something that happens at the firewalls; numbers pick among what is alive.
#[derive(Clone, Copy, Debug)]
enum Op {
    /// The active node makes a state.
    Insert { kind: u8, interface: u8 },
    /// Packets pass the active node.
    Traffic {
        state: u8,
        packets: u8,
        octets: u16,
        reverse: u16,
    },
    /// A node sends a state whole.
    Update { state: u8, node: u8 },
    /// The state ends; some node says so.
    Delete { state: u8, node: u8 },
    /// `pfctl -F states` on a node: its own states, perhaps of one interface only.
    Clear { creator: u8, interface: Option<u8> },
    /// The other node carries the traffic from now on.
    Failover,
    /// Time passes.
    Pass { ms: u16 },
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => (any::<u8>(), 0..3_u8).prop_map(|(kind, interface)| Op::Insert { kind, interface }),
        6 => (any::<u8>(), 1..9_u8, any::<u16>(), any::<u16>()).prop_map(
            |(state, packets, octets, reverse)| Op::Traffic { state, packets, octets, reverse }
        ),
        4 => (any::<u8>(), 0..2_u8).prop_map(|(state, node)| Op::Update { state, node }),
        2 => (any::<u8>(), 0..2_u8).prop_map(|(state, node)| Op::Delete { state, node }),
        1 => (0..2_u8, prop::option::of(0..3_u8))
            .prop_map(|(creator, interface)| Op::Clear { creator, interface }),
        1 => Just(Op::Failover),
        4 => (0..20_000_u16).prop_map(|ms| Op::Pass { ms }),
    ]
}

/// What the network does with a packet.
#[derive(Clone, Copy, Debug)]
struct Fate {
    is_lost: bool,
    /// Comes this much later, ms.
    delay: u16,
    /// Comes once more, this much later than sent, ms.
    copy: Option<u16>,
}

const KIND: Fate = Fate {
    is_lost: false,
    delay: 0,
    copy: None,
};

/// Losses, copies and delays within a second.
fn fate() -> impl Strategy<Value = Fate> {
    let delay = prop_oneof![3 => Just(0_u16), 1 => 0..1000_u16];
    let copy = prop_oneof![4 => Just(None), 1 => (0..1000_u16).prop_map(Some)];
    (prop::bool::weighted(0.15), delay, copy).prop_map(|(is_lost, delay, copy)| Fate {
        is_lost,
        delay,
        copy,
    })
}

fn dialect() -> impl Strategy<Value = D> {
    prop::sample::select(D::ALL.to_vec())
}

/// Packets and octets, forward and reverse.
type Counts = ([u64; 2], [u64; 2]);

/// A state of the model.
#[derive(Clone, Copy)]
struct State {
    st: St,
    born: i64,
    /// What each node counted.
    counts: [Counts; 2],
}

impl State {
    /// As `node` sends it at `now`.
    fn seen_by(&self, node: usize, now: i64) -> St {
        let (packets, octets) = self.counts[node];
        let age = u32::try_from(now / 1000 - self.born / 1000).unwrap();
        self.st.count(packets, octets).aged(age)
    }
}

struct Model {
    d: D,
    now: i64,
    active: usize,
    next_id: u64,
    alive: Vec<State>,
    /// All there ever was, by id: what both nodes counted together.
    truth: BTreeMap<u64, Counts>,
    /// Time, sender and message of everything sent.
    sent: Vec<(i64, usize, M)>,
}

impl Model {
    fn new(d: D) -> Self {
        Self {
            d,
            now: 0,
            active: 0,
            next_id: 1,
            alive: Vec::new(),
            truth: BTreeMap::new(),
            sent: Vec::new(),
        }
    }

    fn say(&mut self, node: usize, message: M) {
        self.sent.push((self.now, node, message));
    }

    /// All that nodes know of a state, before it goes.
    fn say_all(&mut self, state: &State) {
        for node in 0..2 {
            if state.counts[node] != Counts::default() {
                self.say(node, M::Upd(state.seen_by(node, self.now)));
            }
        }
    }

    fn pick(&self, state: u8) -> Option<usize> {
        (!self.alive.is_empty()).then(|| usize::from(state) % self.alive.len())
    }

    fn insert(&mut self, kind: u8, interface: u8) {
        let id = self.next_id;
        self.next_id += 1;
        let port = 1024 + id as u16;
        let key = Key::new("192.0.2.1", port, "198.51.100.7", 443);
        let base = if kind & 1 == 0 {
            St::tcp(id)
        } else {
            St::udp(id)
        };
        let mut st = base.keyed(key).named(INTERFACES[usize::from(interface)]);
        st.creator = CREATORS[self.active];
        match kind >> 1 & 3 {
            0 => {
                st.direction = OUT;
                st.stack = Key::new("198.51.100.7", 443, "10.0.0.9", port);
            }
            1 => st = st.keyed(Key::new("2001:db8::1", port, "2001:db8::2", 53)),
            _ => {}
        }
        // Since v5 an INS has the first packet in it; before, it is built too early for that.
        let mut counts = [Counts::default(); 2];
        if !self.d.is_flat() {
            counts[self.active] = ([1, 0], [60, 0]);
        }
        let state = State {
            st,
            born: self.now,
            counts,
        };
        self.alive.push(state);
        self.truth.insert(id, counts[self.active]);
        self.say(self.active, M::Ins(state.seen_by(self.active, self.now)));
    }

    fn step(&mut self, op: Op) {
        match op {
            Op::Insert { kind, interface } => self.insert(kind, interface),
            Op::Traffic {
                state,
                packets,
                octets,
                reverse,
            } => {
                let Some(at) = self.pick(state) else { return };
                let more = (
                    [u64::from(packets), 1],
                    [u64::from(octets), u64::from(reverse)],
                );
                let state = &mut self.alive[at];
                add(&mut state.counts[self.active], &more);
                add(self.truth.get_mut(&state.st.id).unwrap(), &more);
                let message = M::upd_c(&state.st);
                self.say(self.active, message);
            }
            Op::Update { state, node } => {
                let Some(at) = self.pick(state) else { return };
                let node = usize::from(node);
                self.say(node, M::Upd(self.alive[at].seen_by(node, self.now)));
            }
            Op::Delete { state, node } => {
                let Some(at) = self.pick(state) else { return };
                let state = self.alive.swap_remove(at);
                self.delete(&state, usize::from(node));
            }
            Op::Clear { creator, interface } => self.clear(creator, interface),
            Op::Failover => self.active = 1 - self.active,
            Op::Pass { ms } => self.now += i64::from(ms),
        }
    }

    fn delete(&mut self, state: &State, node: usize) {
        self.say_all(state);
        self.say(node, M::del_c(&state.st));
    }

    fn clear(&mut self, creator: u8, interface: Option<u8>) {
        let creator = usize::from(creator);
        let interface = interface.map(|n| INTERFACES[usize::from(n)]);
        let (gone, alive): (Vec<_>, Vec<_>) = std::mem::take(&mut self.alive)
            .into_iter()
            .partition(|state| {
                state.st.creator == CREATORS[creator]
                    && interface.is_none_or(|name| state.st.ifname == common::name(name))
            });
        self.alive = alive;
        for state in &gone {
            self.say_all(state);
        }
        let message = match interface {
            Some(name) => M::clr_if(name, CREATORS[creator]),
            None => M::clr(CREATORS[creator]),
        };
        self.say(creator, message);
    }

    /// Everything still alive goes.
    fn end(&mut self) {
        for state in std::mem::take(&mut self.alive) {
            self.delete(&state, self.active);
        }
    }
}

fn add(counts: &mut Counts, more: &Counts) {
    for n in 0..2 {
        counts.0[n] += more.0[n];
        counts.1[n] += more.1[n];
    }
}

/// What was exported of each state.
fn sums(flows: &[Out]) -> BTreeMap<u64, Counts> {
    let mut sums = BTreeMap::new();
    for flow in flows {
        add(
            sums.entry(flow.id).or_default(),
            &(flow.packets, flow.octets),
        );
    }
    sums
}

fn play(d: D, ops: &[Op]) -> Model {
    let mut model = Model::new(d);
    for op in ops {
        model.step(*op);
    }
    model.end();
    model
}

/// Everything sent, as it arrives.
fn deliver(model: &Model, fates: &[Fate]) -> Vec<(i64, usize, M)> {
    let mut arriving = Vec::new();
    for (n, &(at, node, message)) in model.sent.iter().enumerate() {
        let fate = fates.get(n % fates.len().max(1)).copied().unwrap_or(KIND);
        if !fate.is_lost {
            arriving.push((at + i64::from(fate.delay), node, message));
        }
        if let Some(copy) = fate.copy {
            arriving.push((at + i64::from(copy), node, message));
        }
    }
    arriving.sort_by_key(|(at, ..)| *at);
    arriving
}

/// Feeds it all to `run`, which holds at most `bound` states; the flows of it.
fn feed(run: &mut Run, d: D, arriving: &[(i64, usize, M)], bound: usize) -> Vec<Out> {
    for (at, node, message) in arriving {
        run.send(*at, NODES[*node], d, &[*message]);
        assert!(run.alive() <= bound, "{} of {bound}", run.alive());
    }
    let counters = run.engine.packet_counters();
    assert_eq!(
        counters.whole,
        counters.packets(),
        "every packet makes sense"
    );
    run.flows()
}

/// Fails if more was exported of a state than there was.
fn none_twice(model: &Model, flows: &[Out]) -> Result<(), TestCaseError> {
    for (id, (packets, octets)) in sums(flows) {
        let truth = model.truth[&id];
        for n in 0..2 {
            prop_assert!(octets[n] <= truth.1[n], "{id}: {octets:?} of {truth:?}");
            prop_assert!(packets[n] <= truth.0[n], "{id}: {packets:?} of {truth:?}");
        }
    }
    Ok(())
}

fn without_empty(truth: &BTreeMap<u64, Counts>) -> BTreeMap<u64, Counts> {
    let mut truth = truth.clone();
    truth.retain(|_, counts| counts.1 != [0, 0]);
    // A direction without octets makes no record, so its packets are not seen.
    for counts in truth.values_mut() {
        for n in 0..2 {
            if counts.1[n] == 0 {
                counts.0[n] = 0;
            }
        }
    }
    truth
}

/// Forty days.
const LONG: i64 = 40 * 86_400_000;

fn config() -> ProptestConfig {
    ProptestConfig {
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(0x0070_6673_796e_6321),
        ..ProptestConfig::default()
    }
}

/// A step forward that the clock of the capture makes: before which packet, and by how many ms.
fn step() -> impl Strategy<Value = (usize, i64)> {
    prop_oneof![
        (0..150_usize, 0..7_200_000_i64),
        (0..150_usize, 0..10_000_i64)
    ]
}

/// Puts the stamps of what arrives on a clock that drifts by `ppm` and makes steps.
fn distort(arriving: &mut [(i64, usize, M)], ppm: i64, steps: &[(usize, i64)]) {
    for (number, (at, ..)) in arriving.iter_mut().enumerate() {
        let before = steps.iter().filter(|(first, _)| *first <= number);
        *at += *at * ppm / 1_000_000 + before.map(|(_, ms)| ms).sum::<i64>();
    }
}

/// Longer than the end of a state of two firewalls is held back.
const HELD_BACK: i64 = 4000;

/// So much time passes that everything ends: a minute after a silence it is no step of a clock.
fn pass_long(run: &mut Run, from: i64) {
    run.advance(from + LONG);
    run.advance(from + LONG + 60_000);
}

/// What a run exports of what arrives, to the end of its last state.
fn all_of(d: D, arriving: &[(i64, usize, M)], last: i64) -> Vec<Out> {
    let mut run = Run::new();
    let mut flows = feed(&mut run, d, arriving, usize::MAX);
    pass_long(&mut run, last);
    assert_eq!(run.alive(), 0, "whoever is not heard of ends");
    flows.extend(run.finish());
    flows
}

/// The same after the clock of the capture went wrong.
fn all_of_distorted(
    d: D,
    mut arriving: Vec<(i64, usize, M)>,
    ppm: i64,
    steps: &[(usize, i64)],
) -> Vec<Out> {
    distort(&mut arriving, ppm, steps);
    let last = arriving.last().map_or(0, |(at, ..)| *at);
    all_of(d, &arriving, last)
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn without_losses_totals_are_exact_and_the_table_ends_empty(
        d in dialect(),
        ops in prop::collection::vec(op(), 1..80),
    ) {
        let model = play(d, &ops);
        let mut run = Run::new();
        let mut flows = feed(&mut run, d, &deliver(&model, &[]), usize::MAX);
        run.advance(model.now + HELD_BACK);
        flows.extend(run.flows());
        prop_assert_eq!(run.alive(), 0);
        prop_assert_eq!(run.finish(), vec![]);
        prop_assert_eq!(sums(&flows), without_empty(&model.truth));
        prop_assert_eq!(flows.len(), sums(&flows).len(), "one flow a state");
        let counters = run.counters();
        prop_assert_eq!((counters.late, counters.restarted, counters.replaced), (0, 0, 0));
        prop_assert_eq!(counters.inserted, counters.deleted + counters.cleared);
    }

    #[test]
    fn full_deletes_of_pfsync0_before_v5_give_exact_totals(
        d in prop::sample::select(vec![D::V2, D::V3, D::V4]),
        ops in prop::collection::vec(op(), 1..80),
    ) {
        // One node, all it says in full; its DEL is the last word.
        let ops: Vec<Op> = ops.into_iter().filter(|op| !matches!(op, Op::Failover | Op::Clear { .. })).collect();
        let model = play(d, &ops);
        let mut run = Run::new();
        let last: BTreeMap<u64, St> = model.sent.iter().filter_map(|(_, node, message)| match message {
            M::Upd(st) if *node == 0 => Some((st.id, *st)),
            _ => None,
        }).collect();
        for (at, node, message) in &model.sent {
            match message {
                M::DelC(id, _) => {
                    let whole = last.get(id).copied().map(M::Del);
                    run.send(*at, PFSYNC0, d, &[whole.unwrap_or(*message)]);
                }
                M::Upd(_) => {}
                M::UpdC(_) | M::Ins(_) if *node == 0 => run.send(*at, PFSYNC0, d, &[*message]),
                _ => {}
            }
        }
        prop_assert_eq!(sums(&run.flows()), without_empty(&model.truth));
        prop_assert_eq!(run.alive(), 0);
    }

    #[test]
    fn losses_never_make_more_of_a_state_than_there_was(
        d in dialect(),
        ops in prop::collection::vec(op(), 1..80),
        lost in prop::collection::vec(prop::bool::weighted(0.25), 1..40),
    ) {
        let fates: Vec<Fate> = lost.into_iter().map(|is_lost| Fate { is_lost, ..KIND }).collect();
        let model = play(d, &ops);
        let flows = all_of(d, &deliver(&model, &fates), model.now);
        none_twice(&model, &flows)?;
    }

    #[test]
    fn copies_and_reordering_while_states_live_change_no_total(
        d in dialect(),
        ops in prop::collection::vec(op(), 1..80),
        fates in prop::collection::vec(fate(), 1..40),
    ) {
        // What ends a state comes last and alone, two seconds after all else.
        let fates: Vec<Fate> = fates.into_iter().map(|fate| Fate { is_lost: false, ..fate }).collect();
        let ops: Vec<Op> = ops.into_iter().filter(|op| !matches!(op, Op::Delete { .. } | Op::Clear { .. })).collect();
        let mut model = Model::new(d);
        for op in &ops {
            model.step(*op);
        }
        let mut arriving = deliver(&model, &fates);
        model.now += 5000;
        model.sent.clear();
        model.end();
        arriving.extend(deliver(&model, &[]));
        let mut run = Run::new();
        let mut flows = feed(&mut run, d, &arriving, usize::MAX);
        run.advance(model.now + HELD_BACK);
        flows.extend(run.flows());
        prop_assert_eq!(run.alive(), 0);
        prop_assert_eq!(sums(&flows), without_empty(&model.truth));
    }

    #[test]
    fn no_octet_is_counted_twice_whatever_the_network_does(
        d in dialect(),
        ops in prop::collection::vec(op(), 1..80),
        fates in prop::collection::vec(fate(), 1..40),
    ) {
        let model = play(d, &ops);
        let flows = all_of(d, &deliver(&model, &fates), model.now + 2000);
        none_twice(&model, &flows)?;
    }

    #[test]
    fn no_octet_is_counted_twice_whatever_the_clock_of_the_capture_does(
        d in dialect(),
        ops in prop::collection::vec(op(), 1..80),
        lost in prop::collection::vec(prop::bool::weighted(0.15), 1..40),
        ppm in -500..=500_i64,
        steps in prop::collection::vec(step(), 1..10),
    ) {
        let fates: Vec<Fate> = lost.into_iter().map(|is_lost| Fate { is_lost, ..KIND }).collect();
        let model = play(d, &ops);
        let flows = all_of_distorted(d, deliver(&model, &fates), ppm, &steps);
        none_twice(&model, &flows)?;
    }

    #[test]
    fn without_losses_totals_are_exact_whatever_the_clock_of_the_capture_does(
        d in dialect(),
        ops in prop::collection::vec(op(), 1..80),
        ppm in -500..=500_i64,
        steps in prop::collection::vec(step(), 1..10),
    ) {
        let model = play(d, &ops);
        let flows = all_of_distorted(d, deliver(&model, &[]), ppm, &steps);
        prop_assert_eq!(sums(&flows), without_empty(&model.truth));
    }

    #[test]
    fn bounds_hold_and_what_is_evicted_is_exported(
        d in dialect(),
        ops in prop::collection::vec(op(), 1..120),
        fates in prop::collection::vec(fate(), 1..40),
        states in 1..6_u32,
    ) {
        let model = play(d, &ops);
        let mut run = Run::bounded(states);
        feed(&mut run, d, &deliver(&model, &fates), states as usize);
        let counters = run.counters();
        let ended = counters.deleted + counters.cleared + counters.evicted
            + counters.expired + counters.replaced;
        prop_assert_eq!(counters.inserted, ended + run.alive() as u64);
        let flows = run.engine.flow_counters();
        prop_assert_eq!(flows.exported + flows.empty, ended);
        pass_long(&mut run, model.now + 2000);
        prop_assert_eq!(run.alive(), 0);
    }
}

#[test]
fn copies_and_reordering_around_a_step_of_the_clock_hardly_ever_count_an_octet_twice() {
    // Ages are cut to seconds, so that now and then several steps and late packets look like a
    // state that began anew.
    const CASES: usize = 2000;
    const MOST: usize = CASES / 500;
    let cases = (
        dialect(),
        prop::collection::vec(op(), 1..80),
        prop::collection::vec(fate(), 1..40),
        -500..=500_i64,
        prop::collection::vec(step(), 1..10),
    );
    let mut runner = TestRunner::new(config());
    let mut twice = 0;
    for _ in 0..CASES {
        let (d, ops, fates, ppm, steps) = cases.new_tree(&mut runner).unwrap().current();
        let model = play(d, &ops);
        let flows = all_of_distorted(d, deliver(&model, &fates), ppm, &steps);
        twice += usize::from(none_twice(&model, &flows).is_err());
    }
    assert!(twice <= MOST, "{twice} of {CASES}");
}

/// One scenario: NAT out, redirection in, IPv6, a failover, CLR by interface and by creator.
fn scenario(d: D) -> Vec<Out> {
    let nat = St {
        direction: OUT,
        wire: Key::new("198.51.100.7", 443, "203.0.113.5", 51000),
        stack: Key::new("198.51.100.7", 443, "192.168.1.10", 40000),
        ..St::tcp(1)
    };
    let rdr = St {
        stack: Key::new("198.51.100.9", 5555, "192.168.1.20", 8080),
        ..St::tcp(2).keyed(Key::new("198.51.100.9", 5555, "203.0.113.5", 80))
    };
    let six = St::udp(3)
        .keyed(Key::new("2001:db8::1", 1000, "2001:db8:1::2", 53))
        .named("em0");
    let foreign = St {
        creator: OTHER_CREATOR,
        ..St::udp(1).named("em0")
    };
    let all = [nat, rdr, six, foreign];
    let counted =
        |st: St, age: u32, n: u64| M::Upd(st.aged(age).count([n, n / 2], [n * 100, n / 2 * 1400]));
    let mut run = Run::new();
    run.send(0, A, d, &all.map(M::Ins));
    run.send(4000, A, d, &all.map(|st| M::upd_c(&st)));
    run.send(9000, A, d, &all.map(|st| counted(st, 9, 10)));
    // The other node takes over.
    run.send(15_000, B, d, &all.map(|st| M::upd_c(&st)));
    run.send(20_000, B, d, &all.map(|st| counted(st, 20, 4)));
    run.send(21_000, B, d, &[M::del_c(&nat)]);
    run.send(22_000, A, d, &[M::clr_if("em0", CREATOR)]);
    run.send(23_000, A, d, &[M::clr(OTHER_CREATOR)]);
    run.send(
        24_000,
        A,
        d,
        &[M::Bus(CREATOR, 1), counted(rdr, 24, 11), M::Bus(CREATOR, 2)],
    );
    run.send(25_000, A, d, &[M::del_c(&rdr)]);
    run.advance(25_000 + HELD_BACK);
    assert_eq!(run.alive(), 0, "{d:?}");
    let mut flows = run.flows();
    flows.sort_by_key(|flow| (flow.creator, flow.id));
    flows
}

#[test]
fn one_scenario_gives_the_same_flows_in_every_dialect() {
    let expected = scenario(D::Obsd74);
    let octets: Vec<_> = expected.iter().map(|flow| (flow.id, flow.octets)).collect();
    let both = [1400, 7 * 1400];
    assert_eq!(
        octets,
        [(1, both), (2, [1500, 7 * 1400]), (3, both), (1, both)]
    );
    assert!(
        expected.iter().all(|flow| flow.times() == (0, 15)),
        "{expected:#?}"
    );
    for d in D::ALL {
        assert_eq!(scenario(d), expected, "{d:?}");
    }
}

#[test]
fn a_state_that_a_silence_ended_is_no_other_when_one_node_but_not_the_other_is_known_to_have_stepped()
 {
    let d = D::Obsd45;
    let own = |id| St::udp(id).count([1, 0], [60, 0]);
    let (first, second) = (own(1), own(2));
    let others = St {
        creator: OTHER_CREATOR,
        ..own(3)
    };
    let mut run = Run::new();
    run.send(0, A, d, &[M::Ins(first), M::Ins(second)]);
    run.send(6000, B, d, &[M::Ins(others)]);
    // The clock of the capture steps by an hour. Of A that is learned, and then taken for told.
    let step = 3_626_000;
    run.send(step, A, d, &[M::Upd(first.aged(6))]);
    run.send(step + 2000, A, d, &[M::Upd(second.aged(8))]);
    run.advance(step + 60_000);
    let ended: Vec<_> = run.flows().iter().map(|flow| flow.id).collect();
    assert_eq!(ended, [3], "nothing told that it was a step of B's, too");
    let copy = others.count([0, 0], [0, 0]).aged(60);
    run.send(step + 60_000, A, d, &[M::Upd(copy)]);
    run.send(step + 60_000, B, d, &[M::Upd(others.aged(60))]);
    run.send(step + 60_000, B, d, &[M::del_c(&others)]);
    run.advance(step + 60_000 + HELD_BACK);
    assert_eq!(run.flows(), vec![], "all of it was exported");
    assert_eq!(run.counters().steps, 1);
}
