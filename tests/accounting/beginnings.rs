//! What a responder sent before it was first heard of.

use super::*;

#[test]
fn a_responder_first_heard_of_in_an_update_makes_its_flow_partial() {
    let mut first = connection(1).count([1, 0], [60, 0]);
    (first.dst.seqlo, first.dst.seqhi, first.dst.state) = (0, 1, 0);
    let mut run = Run::new();
    run.send(0, A, D::Obsd74, &[M::Ins(first)]);
    let mut st = connection(1);
    run.send(1000, A, D::Obsd74, &[M::upd_c(&st)]);
    st = down(st, 14_600);
    run.send(2000, A, D::Obsd74, &[M::upd_c(&st), M::del_c(&st)]);
    let (flow, quality) = ended(&mut run);
    // Its SYN, with options, and what it sent after the first update.
    assert_eq!(flow.octets[1], 60 + 10 * 1500);
    assert_eq!(quality, "partial");
}

/// A forwarded connection: its IN state, as the SYN made it, and its OUT state, which was told of when
/// the responder had sent seventy full segments.
fn forwarded() -> [St; 3] {
    let inside = ("192.0.2.1", 40000, "10.0.0.7", 8443);
    let mut first = St {
        stack: Key::new(inside.0, inside.1, inside.2, inside.3),
        ..connection(7).count([1, 0], [60, 0])
    };
    let heard = St {
        stack: first.stack,
        ..up(down(connection(7), 70 * 1460), 100)
    };
    (first.dst.seqlo, first.dst.seqhi, first.dst.state) = (0, 1, 0);
    let partner = St {
        id: 8,
        direction: OUT,
        wire: Key::new(inside.2, inside.3, "203.0.113.9", 51000),
        stack: Key::new(inside.2, inside.3, inside.0, inside.1),
        ..heard
    };
    let partner = partner.count([40, 71], [40 * H + 120, 71 * H + 20 + 70 * MSS]);
    [first, heard, partner]
}

/// The flow of the IN state of a connection of which a packet tells both, the OUT state behind it as
/// OpenBSD does; `more` comes later.
fn beside(first: St, heard: St, from: (From, St), more: &[M]) -> (Out, String) {
    let mut run = Run::new();
    run.send(0, A, D::Obsd74, &[M::Ins(first)]);
    let (sender, partner) = from;
    if sender == A {
        run.send(1000, A, D::Obsd74, &[M::upd_c(&heard), M::Ins(partner)]);
    } else {
        run.send(1000, A, D::Obsd74, &[M::upd_c(&heard)]);
        run.send(1000, sender, D::Obsd74, &[M::Ins(partner)]);
    }
    run.send(2000, A, D::Obsd74, more);
    run.send(86_403_000, A, D::Obsd74, &[M::del_c(&first)]);
    ended(&mut run)
}

#[test]
fn what_a_responder_sent_first_is_known_from_the_other_state_of_its_connection() {
    let [first, heard, partner] = forwarded();
    let (flow, quality) = beside(first, heard, (A, partner), &[]);
    assert_eq!(
        (flow.packets, flow.octets),
        (partner.packets, partner.octets)
    );
    assert_eq!(quality, "estimated");
    // Whatever is between their ids, if little is.
    let later = St { id: 11, ..partner };
    let (flow, quality) = beside(first, heard, (A, later), &[]);
    assert_eq!(flow.octets, partner.octets);
    assert_eq!(quality, "estimated");
}

#[test]
fn an_estimate_goes_on_from_what_the_other_state_knew() {
    let [first, heard, partner] = forwarded();
    // Ten segments later, another ten after that.
    let heard = down(heard, 14_600);
    let more = [M::upd_c(&down(heard, 14_600))];
    let (flow, quality) = beside(first, heard, (A, partner), &more);
    assert_eq!(flow.octets[1], partner.octets[1] + 20 * 1500);
    assert_eq!(flow.octets[0], partner.octets[0] + 10 * H);
    assert_eq!(quality, "estimated");
    // The other state was told of when it was further.
    let ahead = down(partner, 14_600).count([45, 81], [45 * H + 120, 81 * H + 20 + 80 * MSS]);
    let [first, heard, _] = forwarded();
    let (flow, quality) = beside(first, heard, (A, ahead), &[M::upd_c(&down(heard, 14_600))]);
    assert_eq!((flow.packets, flow.octets), (ahead.packets, ahead.octets));
    assert_eq!(quality, "estimated");
}

#[test]
fn states_of_other_connections_tell_nothing() {
    let [first, heard, partner] = forwarded();
    let moved = |peer: Peer| sent(peer, 1 << 30);
    let elsewhere = Key::new("10.0.0.7", 8443, "192.0.2.1", 40001);
    let others = [
        St {
            direction: 1,
            ..partner
        },
        St {
            stack: elsewhere,
            ..partner
        },
        St { id: 12, ..partner },
        St { id: 6, ..partner },
        // What modulates sequence numbers.
        St {
            src: moved(partner.src),
            dst: moved(partner.dst),
            ..partner
        },
        // What knows no more of the responder.
        St {
            dst: first.dst,
            ..partner
        },
        St {
            creator: common::OTHER_CREATOR,
            ..partner
        },
    ];
    for other in others {
        let (flow, quality) = beside(first, heard, (A, other), &[]);
        assert_eq!((flow.octets[1], &*quality), (60, "partial"), "{other:?}");
    }
    // What another firewall counted.
    let (flow, quality) = beside(first, heard, (B, partner), &[]);
    assert_eq!((flow.octets[1], &*quality), (60, "partial"));
}

/// Octets of a responder whose SYN came after the INS: it is first heard of, when it had offered
/// `window` octets beyond the initiator's first, `after` milliseconds later; then at each time it
/// has sent so much more.
fn with_beginning(window: u32, after: i64, steps: &[(i64, u32)]) -> u64 {
    let mut first = connection(1).count([1, 0], [60, 0]);
    (first.dst.seqlo, first.dst.seqhi, first.dst.state) = (0, 1, 0);
    let mut run = Run::new();
    run.send(0, A, D::Obsd74, &[M::Ins(first)]);
    // The request is there, so part of the answer may be.
    let mut st = up(connection(1), 501);
    st.src.seqhi = first.src.seqlo.wrapping_add(1 + window);
    run.send(after, A, D::Obsd74, &[M::upd_c(&st)]);
    for (at, step) in steps {
        st = down(st, *step);
        run.send(*at, A, D::Obsd74, &[M::upd_c(&st)]);
    }
    run.send(90_000, A, D::Obsd74, &[M::del_c(&st)]);
    run.flow().octets[1]
}

/// The largest window that [`connection`]'s responder offered.
fn largest_window() -> u32 {
    let dst = connection(1).dst;
    u32::from(dst.max_win) << (dst.wscale & 0x0f)
}

#[test]
fn a_beginning_not_seen_is_like_what_followed_but_less_than_half_of_it() {
    let play = |steps: &[(i64, u32)]| with_beginning(largest_window() + 500, 1000, steps);
    let step = 14_600;
    assert_eq!(play(&[]), 60);
    // 45 % more, the last packet half full.
    assert_eq!(play(&[(2000, step)]), 60 + 21_170 + 15 * 40);
    let steps = [(2000, step), (3000, step), (4000, step)];
    assert_eq!(play(&steps), 60 + 4 * 14_600 + (15 + 15 + 11) * 40);
    // No more than pf lets pass without a word.
    let steps = [(2000, 1_460_000), (3000, 1_460_000)];
    let most = 128 * 2 / 3;
    assert_eq!(play(&steps), 60 + (2000 + most) * 1500);
}

#[test]
fn a_beginning_not_seen_is_at_the_pace_of_what_followed_at_once() {
    let play = |steps: &[(i64, u32)]| with_beginning(largest_window() + 500, 200, steps);
    // A fifth of a second, beside one twice as long; then it waits, and pace means nothing.
    let steps = [(600, 14_600), (1600, 14_600)];
    assert_eq!(play(&steps), 60 + 36_500 + (15 + 11) * 40);
    let steps = [(5200, 14_600), (6200, 14_600)];
    assert_eq!(play(&steps), 60 + 2 * 21_170 + 2 * 15 * 40);
}

#[test]
fn a_responder_that_acknowledged_no_data_had_sent_none() {
    let steps = [(2000, 14_600), (3000, 14_600)];
    assert_eq!(
        with_beginning(largest_window(), 1000, &steps),
        60 + 20 * 1500
    );
}
