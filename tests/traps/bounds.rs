//! What happens at a bound: senders, names, and states that end at once.

use super::*;

#[test]
fn senders_beyond_the_bound_are_one_and_their_states_are_kept() {
    let mut run = Run::new();
    for n in 0..1500_u16 {
        let [high, low] = n.to_be_bytes();
        let st = counted(u64::from(n) + 1);
        run.send(0, From::Ether([10, 1, high, low]), RICH, &[M::Ins(st)]);
    }
    assert!(run.engine.table().senders().len() <= MAX_SENDERS + 1);
    assert!(run.counters().senders_refused > 0);
    run.send(1000, From::Ether([10, 1, 0, 0]), RICH, &[M::clr(CREATOR)]);
    let flows = run.flows();
    assert_eq!((flows.len(), sum(&flows)), (1500, [450_000, 3_000_000]));
}

#[test]
fn a_clear_of_many_states_leaves_in_pieces_and_what_follows_it_in_its_packet_waits() {
    const STATES: u64 = 3000;
    let mut run = Run::new();
    for n in 1..=STATES {
        run.send(0, A, RICH, &[M::Ins(counted(n))]);
    }
    // The same ids come again behind the CLR: those states are new ones, and stay.
    let again = [1, 2, 3].map(|n| M::Ins(counted(n)));
    let messages: Vec<M> = [M::clr(CREATOR)].into_iter().chain(again).collect();
    let all = packets(RICH, &messages);
    assert_eq!(all.len(), 1, "one packet");
    // A firewall that spoke all the time shows that no clock made a step: the ages began anew.
    for second in 1..=20 {
        run.send(second * 1000, A, RICH, &[M::DelC(STATES + 1, CREATOR)]);
    }
    let (link, frame) = A.frame(&all[0]);
    let packet = pflow::engine::Packet {
        stamp: pflow::time::Wall::from_nanos(run.now().wall.nanos()),
        link,
        frame: &frame,
        wire_len: frame.len(),
    };
    let now = run.now();
    run.engine.handle_packet(now, &packet);
    let (mut pieces, mut ended) = (0, 0);
    while run.engine.is_behind() {
        let flows = run.flows();
        assert!(flows.len() <= 300, "{} at a time", flows.len());
        ended += flows.len();
        pieces += 1;
        run.engine.go_on();
    }
    ended += run.flows().len();
    assert_eq!((ended as u64, run.alive()), (STATES, 3));
    assert!(pieces >= 10);
    assert_eq!(run.counters().cleared, STATES);
}

#[test]
fn names_beyond_the_bound_are_counted_and_their_states_kept() {
    let mut run = Run::new();
    for n in 1..=5000 {
        run.send(0, A, RICH, &[M::Ins(counted(n).named(&format!("vlan{n}")))]);
    }
    assert_eq!(
        (run.alive(), run.counters().names_refused),
        (5000, 5000 - 4096)
    );
    run.send(1000, A, RICH, &[M::clr_if("vlan7", CREATOR)]);
    assert_eq!(run.flow().ifname, "vlan7");
    run.send(1000, A, RICH, &[M::clr_if("vlan4999", CREATOR)]);
    assert_eq!(run.flows(), [], "a name that was forgotten is no other's");
    // Room again.
    run.send(
        1000,
        A,
        RICH,
        &[
            M::Ins(counted(6000).named("em0")),
            M::clr_if("em0", CREATOR),
        ],
    );
    assert_eq!(run.flow().ifname, "em0");
}

#[test]
fn many_senders_of_one_state_are_not_counted_twice() {
    let mut run = Run::new();
    let senders = 12;
    for round in 0..10_u32 {
        for n in 0..senders {
            let st = counted(1).aged(round * 10);
            run.send(
                i64::from(round) * 10_000,
                From::Ether([10, 2, 0, n]),
                RICH,
                &[M::Upd(st)],
            );
        }
    }
    run.send(100_000, A, RICH, &[M::del_c(&counted(1))]);
    let [forward, reverse] = run.flow().octets;
    let most = [300, 2000].map(|octets| octets * u64::from(senders));
    assert!(
        forward <= most[0] && reverse <= most[1],
        "{forward} {reverse} of {most:?}"
    );
}
