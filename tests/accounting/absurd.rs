//! Counters as absurd as can be.

use super::*;

/// Something that is heard of one of a few states.
#[derive(Clone, Copy, Debug)]
enum Heard {
    Full { counted: [u16; 2], from_b: bool },
    Activity { sent: [u32; 2], from_b: bool },
    Deleted,
    Silence { ms: u16 },
}

fn heard() -> impl Strategy<Value = (u8, Heard)> {
    let what = prop_oneof![
        4 => (any::<[u16; 2]>(), any::<bool>()).prop_map(|(counted, from_b)| Heard::Full { counted, from_b }),
        4 => ([0..3_000_000_u32, 0..3_000_000_u32], any::<bool>())
            .prop_map(|(sent, from_b)| Heard::Activity { sent, from_b }),
        1 => Just(Heard::Deleted),
        4 => (0..20_000_u16).prop_map(|ms| Heard::Silence { ms }),
    ];
    (0..3_u8, what)
}

type Sums = BTreeMap<(u16, bool), (u64, u64)>;

/// Plays what is heard, in this order; what went out to an interface with an active timeout, and
/// to one without.
fn play(counting: &str, all: &[(u8, Heard)]) -> [Sums; 2] {
    let lines = [
        format!("counters {counting}"),
        "flush active".to_owned(),
        format!("pflow0 {COLLECTOR} active 7"),
        format!("pflow1 {COLLECTOR}"),
    ];
    let mut run = Run::with(settings(), config(&lines.each_ref().map(|line| &**line)));
    let (mut now, mut next) = (0, 0);
    // For each state its id, what it is, and what both nodes counted.
    let mut states: [Option<(St, [[u64; 2]; 2])>; 3] = [None; 3];
    let mut sums: [Sums; 2] = [Sums::new(), Sums::new()];
    let collect = |run: &mut Run, sums: &mut [Sums; 2]| {
        for record in records(run) {
            let sum = sums[record.unit as usize]
                .entry((record.port, record.reverse))
                .or_default();
            sum.0 += record.packets;
            sum.1 += record.octets;
        }
    };
    for &(which, what) in all {
        let (st, counts) = states[usize::from(which)].get_or_insert_with(|| {
            next += 1;
            let key = Key::new("192.0.2.1", 1000 + next, "198.51.100.7", 443);
            (connection(u64::from(next)).keyed(key), [[0; 2]; 2])
        });
        let node = |from_b| if from_b { B } else { A };
        match what {
            Heard::Full { counted, from_b } => {
                let count = &mut counts[usize::from(from_b)];
                for (sum, more) in count.iter_mut().zip(counted) {
                    *sum += u64::from(more);
                }
                let packets = count.map(|octets| octets / 100);
                let full = St {
                    age: u32::MAX,
                    ..st.count(packets, *count)
                };
                run.send(now, node(from_b), D::Obsd74, &[M::Upd(full)]);
            }
            Heard::Activity { sent, from_b } => {
                *st = down(up(*st, sent[0]), sent[1]);
                run.send(now, node(from_b), D::Obsd74, &[M::upd_c(st)]);
            }
            Heard::Deleted => {
                run.send(now, A, D::Obsd74, &[M::del_c(st)]);
                states[usize::from(which)] = None;
            }
            Heard::Silence { ms } => {
                now += i64::from(ms);
                run.advance(now);
            }
        }
        collect(&mut run, &mut sums);
    }
    run.advance(now + 2000);
    run.finish();
    collect(&mut run, &mut sums);
    sums
}

/// Whoever is on the sync network can say that any number of packets and octets passed.
#[test]
fn counters_as_absurd_as_can_be_are_estimated_on_without_an_overflow() {
    let absurd = [0, 1, 60, 1 << 32, u64::MAX / 40, u64::MAX - 1, u64::MAX];
    for d in D::MODERN {
        for packets in absurd {
            for octets in absurd {
                let mut run = Run::new();
                let mut st = connection(1).count([packets, octets], [octets, packets]);
                run.send(0, A, d, &[M::Ins(st)]);
                for s in 1..=3 {
                    st = up(down(st, i32::MAX.unsigned_abs()), i32::MAX.unsigned_abs());
                    run.send(s * 1000, A, d, &[M::upd_c(&st)]);
                    run.send(s * 1000, B, d, &[M::upd_c(&st)]);
                }
                run.send(3000, A, d, &[M::del_c(&st)]);
                run.advance(10_000);
                assert!(!run.engine.printed().is_empty(), "{d:?} {packets} {octets}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn parts_add_up_to_the_flow_whatever_order_messages_come_in(
        all in prop::collection::vec(heard(), 1..60).prop_shuffle(),
    ) {
        let [parts, whole] = play("exact", &all);
        prop_assert_eq!(parts, whole);
    }

    #[test]
    fn parts_of_estimates_are_never_less_than_the_flow(
        all in prop::collection::vec(heard(), 1..60),
    ) {
        let [parts, whole] = play("estimate", &all);
        for (key, (_, octets)) in whole {
            let sum = parts.get(&key).copied().unwrap_or_default();
            prop_assert!(sum.1 >= octets, "{key:?}: {sum:?} of {octets}");
        }
    }

    #[test]
    fn parts_of_estimates_that_nobody_corrects_add_up_to_the_flow(
        all in prop::collection::vec(heard(), 1..60),
    ) {
        let mut seen = [false; 3];
        let only_first = all.into_iter().filter(|(which, what)| match what {
            Heard::Full { .. } => !std::mem::replace(&mut seen[usize::from(*which)], true),
            Heard::Deleted => false,
            _ => true,
        });
        let [parts, whole] = play("estimate", &only_first.collect::<Vec<_>>());
        prop_assert_eq!(parts, whole);
    }
}
