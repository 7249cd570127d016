//! What a restart finds: bulk transfers that say which restored states are alive, and clocks that
//! step.

use super::*;

/// A pflow started at `ms` from what `first` kept when it stopped, in good order or not.
fn restarted(first: &mut Sim, ms: i64, is_clean: bool) -> Sim {
    let (mut cursor, mut body) = (KeepCursor::default(), Vec::new());
    let now = first.now();
    while !first.engine.keep_step(now, &mut cursor, &mut body) {}
    let file = keep::file(is_clean, now.wall, &body);
    let mut second = Sim::new();
    second.advance(ms);
    let (header, records) = keep::parse(&file).unwrap();
    let now = second.now();
    second.engine.restore(now, header.is_clean, records);
    second
}

const DIALECT: D = D::Obsd74;

fn counted(id: u64) -> St {
    St::tcp(id).count([4, 3], [400, 3000])
}

/// Three states of A, one of them told by B, and one of B, when pflow stopped at 60 s.
fn before() -> Sim {
    let others = St {
        creator: OTHER_CREATOR,
        ..counted(4)
    };
    let mut first = Sim::new();
    first.send(0, A, DIALECT, &[1, 2, 3].map(|id| M::Ins(counted(id))));
    first.send(0, B, DIALECT, &[M::Ins(others), M::Upd(counted(3))]);
    first.advance(60_000);
    first
}

fn bulk(second: &mut Sim, ms: i64, ids: &[u64]) {
    let age = u32::try_from(ms / 1000).unwrap();
    second.send(ms, A, DIALECT, &[M::Bus(CREATOR, 1)]);
    let states: Vec<M> = ids
        .iter()
        .map(|id| M::Upd(counted(*id).aged(age)))
        .collect();
    second.send(ms + 1000, A, DIALECT, &states);
    second.send(ms + 2000, A, DIALECT, &[M::Bus(CREATOR, 2)]);
}

fn ended(run: &mut Sim) -> Vec<u64> {
    sorted(run.flows().iter().map(|flow| flow.id).collect())
}

#[test]
fn what_a_bulk_transfer_after_a_restart_does_not_have_ends_at_once() {
    let mut second = restarted(&mut before(), 90_000, true);
    bulk(&mut second, 100_000, &[2]);
    assert_eq!(
        second.flows(),
        vec![],
        "the last states may come after its end"
    );
    second.advance(105_000);
    let flows = second.flows();
    let ids = sorted(flows.iter().map(|flow| flow.id).collect());
    assert_eq!(ids, [1, 3]);
    assert!(flows.iter().all(|flow| flow.times().1 == 0), "{flows:?}");
    assert_eq!((second.alive(), second.counters().expired), (2, 2));
    // A state that comes back all the same is told no octet twice.
    let back = counted(1).count([5, 3], [500, 3000]).aged(110);
    second.send(110_000, A, DIALECT, &[M::Upd(back), M::del_c(&back)]);
    assert_eq!(second.flow().octets, [100, 0]);
}

#[test]
fn after_a_crash_what_a_bulk_transfer_does_not_have_is_dropped_at_once() {
    let mut second = restarted(&mut before(), 90_000, false);
    bulk(&mut second, 100_000, &[2]);
    second.advance(105_000);
    assert_eq!(second.flows(), vec![]);
    assert_eq!((second.alive(), second.counters().unconfirmed), (2, 2));
}

#[test]
fn a_bulk_transfer_that_is_not_known_to_be_complete_ends_nothing() {
    type Case<'a> = (&'a str, &'a [M], &'a dyn Fn(&mut Sim), &'a [M]);
    let start = M::Bus(CREATOR, 1);
    let (end, update) = (M::Bus(CREATOR, 2), M::Upd(counted(2).aged(100)));
    let lost = |run: &mut Sim| {
        let now = run.now();
        run.engine.note_loss(now, 0);
    };
    let cut = |run: &mut Sim| run.packet(100_500, A, &[6, 0, 0, 200]);
    let nothing = |_: &mut Sim| {};
    let cases: [Case<'_>; 6] = [
        ("no state", &[start], &nothing, &[end]),
        ("no start", &[], &nothing, &[update, end]),
        ("no end", &[start], &nothing, &[update]),
        (
            "another's end",
            &[start],
            &nothing,
            &[update, M::Bus(OTHER_CREATOR, 2)],
        ),
        ("lost packets", &[start], &lost, &[update, end]),
        ("a damaged packet", &[start], &cut, &[update, end]),
    ];
    for (name, before_it, meanwhile, after_it) in cases {
        let mut second = restarted(&mut before(), 90_000, true);
        second.send(100_000, A, DIALECT, before_it);
        meanwhile(&mut second);
        second.send(101_000, A, DIALECT, after_it);
        second.advance(130_000);
        assert_eq!((ended(&mut second), second.alive()), (vec![], 4), "{name}");
    }
}

#[test]
fn a_bulk_transfer_ends_no_state_that_was_heard_of_since_the_restart_or_is_another_firewalls() {
    let mut second = restarted(&mut before(), 90_000, true);
    second.send(95_000, A, DIALECT, &[M::upd_c(&counted(1))]);
    bulk(&mut second, 100_000, &[2]);
    second.advance(130_000);
    assert_eq!(
        ended(&mut second),
        [3],
        "1 may be one that the transfer skipped"
    );
    assert_eq!(second.alive(), 3);
}

#[test]
fn a_state_that_fell_due_before_a_bulk_transfer_ends_with_it() {
    let (first, second) = (St::udp(1).count([1, 1], [60, 60]), counted(2));
    let mut run = Sim::new();
    run.send(0, A, DIALECT, &[M::Ins(first), M::Ins(second)]);
    let due = 81_000;
    run.advance(due - 2000);
    bulk(&mut run, due - 2000, &[2]);
    run.advance(due + 10_000);
    assert_eq!(run.flows(), vec![], "the transfer began before it was due");
    bulk(&mut run, due + 10_000, &[2]);
    run.advance(due + 20_000);
    assert_eq!(ended(&mut run), [1]);
    assert_eq!(run.alive(), 1);
}

/// Three states of A at 0 whose UPD comes at 50 s by the sender's clock, told by stamps `by` ms later
/// from `step` on, ms; pflow starts again at 40 s, and they end at 60 s.
fn cut_across(step: i64, by: i64) -> (Vec<common::Out>, u64, usize) {
    let stamp = |ms: i64| if ms < step { ms } else { ms + by };
    let more = |id, age: u32| counted(id).count([9, 9], [900, 9000]).aged(age);
    let all = [1, 2, 3];
    let mut first = Sim::new();
    first.send(0, A, DIALECT, &all.map(|id| M::Ins(counted(id))));
    let told = all.map(|id| M::Upd(counted(id).aged(30)));
    for message in told {
        first.send(stamp(30_000), A, DIALECT, &[message]);
    }
    first.advance(stamp(39_000));
    let mut second = restarted(&mut first, stamp(40_000), true);
    let restored = second.alive();
    // Of the third no full state comes again: it moves with the others, or the file tells.
    for id in [1, 2] {
        second.send(stamp(50_000), A, DIALECT, &[M::Upd(more(id, 50))]);
    }
    second.send(stamp(50_000), A, DIALECT, &[M::upd_c(&counted(3))]);
    for id in [1, 2] {
        second.send(stamp(60_000), A, DIALECT, &[M::Upd(more(id, 60))]);
    }
    for id in all {
        second.send(stamp(60_000), A, DIALECT, &[M::del_c(&counted(id))]);
    }
    second.advance(stamp(63_000));
    let mut flows = first.flows();
    flows.extend(second.flows());
    let steps = first.counters().steps + second.counters().steps;
    (flows, steps, restored)
}

#[test]
fn a_step_of_a_clock_before_or_after_the_file_was_written_makes_no_other_states() {
    let (usual, steps, _) = cut_across(0, 0);
    assert_eq!((usual.len(), steps), (3, 0));
    for step in [20_000, 39_500, 45_000, 55_000] {
        for by in [3000, 45_000, 3_000_000] {
            let (flows, _, restored) = cut_across(step, by);
            let octets = |flows: &[common::Out]| -> Vec<_> {
                sorted(
                    flows
                        .iter()
                        .map(|flow| (flow.id, flow.packets, flow.octets))
                        .collect(),
                )
            };
            assert_eq!(restored, 3, "{by} ms at {step}");
            assert_eq!(octets(&flows), octets(&usual), "{by} ms at {step}");
            // A step between the last packet before the stop and the first after it is not seen:
            // only full states tell.
            let is_told = |flow: &&common::Out| [20_000, 55_000].contains(&step) || flow.id != 3;
            let lengths = flows.iter().filter(is_told);
            let lengths = lengths.map(|flow| flow.times().1 - flow.times().0);
            let longest = lengths.max().unwrap();
            assert!(longest <= 62, "{by} ms at {step}: {longest} s");
        }
    }
}
