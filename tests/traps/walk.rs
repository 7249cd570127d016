//! How a packet is walked: names, sections, lengths, and packets that are cut.

use super::*;

#[test]
fn a_name_ends_at_its_nul() {
    for d in D::ALL {
        let mut run = Run::new();
        let mut state_name = name("em0");
        state_name[5..].copy_from_slice(b"stack trash");
        let st = St {
            ifname: state_name,
            ..counted(1)
        };
        run.send(0, A, d, &[M::Upd(st), M::Upd(counted(2).named("em1"))]);
        let mut clr_name = name("em0");
        clr_name[4..].copy_from_slice(&[0xde; 12]);
        run.send(1000, A, d, &[M::Clr(clr_name, CREATOR)]);
        let flow = run.flow();
        assert_eq!((flow.id, flow.ifname.as_str()), (1, "em0"), "{d:?}");
        // No name at all, and garbage behind it: everything.
        let mut empty = [0xde; 16];
        empty[0] = 0;
        run.send(2000, A, d, &[M::Clr(empty, CREATOR)]);
        assert_eq!(run.flow().id, 2, "{d:?}");
    }
}

#[test]
fn stale_memory_in_upd_c_is_nothing() {
    for d in D::ALL {
        let mut run = Run::new();
        run.send(0, A, d, &[M::Upd(counted(1))]);
        let peer = Peer {
            scrub: [0xff, 0xff, 0xff, 1, 0xff, 0xff, 0xff, 0xff],
            pad: [0xff; 6],
            ..counted(1).src
        };
        let stale = UpdC {
            id: 1,
            creator: CREATOR,
            src: peer,
            dst: peer,
            expire: 0xffff_ffff,
            timeout: 2,
            rest: [0xff; 7],
        };
        run.send(9000, A, d, &[M::UpdC(stale)]);
        // An expire that is no more than garbage keeps nothing alive for ever.
        run.send(10_000, A, d, &[M::del_c(&counted(1))]);
        let flow = run.flow();
        assert_eq!((flow.octets, flow.times()), ([300, 2000], (0, 9)), "{d:?}");
        assert_eq!(run.reason("bad_value"), 0);
    }
}

#[test]
fn sections_behind_odd_states_are_read() {
    for d in [
        D::Fbsd9,
        D::Fbsd1301,
        D::Fbsd1400,
        D::Obsd46,
        D::Fbsd1500,
        D::Obsd47,
    ] {
        let mut run = Run::new();
        let (a, b) = (counted(1), counted(2));
        run.send(
            0,
            A,
            d,
            &[
                M::Ins(a),
                M::Iack(9, CREATOR),
                M::Upd(b),
                M::upd_c(&a),
                M::del_c(&a),
                M::del_c(&b),
                M::Ureq(0, 0),
                M::clr(7),
            ],
        );
        assert_eq!(ids(&run.flows()), [1, 2], "{d:?}");
        let counters = run.engine.packet_counters();
        assert_eq!((counters.whole, counters.messages()), (1, 8), "{d:?}");
    }
}

#[test]
fn several_clr_of_one_section_are_all_read() {
    for d in [D::Obsd46, D::Fbsd1301, D::Fbsd1500, D::Obsd69] {
        let mut run = Run::new();
        let states = [1, 2, 3].map(|n| St {
            creator: n,
            ..counted(u64::from(n))
        });
        run.send(0, A, d, &states.map(M::Upd));
        run.send(1000, A, d, &[1, 2, 3].map(M::clr));
        assert_eq!(ids(&run.flows()), [1, 2, 3], "{d:?}");
    }
}

#[test]
fn v6_passes_over_unknown_actions_and_short_messages() {
    let mut run = Run::new();
    let body = [
        section(99, 3, 2, &[0xaa; 24]),
        // A state of 260 octets is none; DEL_C of 8 neither.
        section(13, 65, 1, &M::Ins(counted(9)).write(RICH)[..260]),
        section(7, 2, 1, &[0; 8]),
        section(1, 66, 1, &M::Ins(counted(8)).write(RICH)),
        sections(RICH, &[M::Ins(counted(1)), M::del_c(&counted(1))]),
    ];
    run.packet(0, A, &modern(6, &body.concat()));
    assert_eq!(run.flow().id, 1);
    assert_eq!((run.alive(), run.counters().unknown_delete), (0, 0));
    assert_eq!(run.messages(Action::Unknown), 3);
    assert_eq!(run.reason("bad_size"), 1);
}

#[test]
fn v6_reads_the_front_of_longer_messages() {
    let mut run = Run::new();
    let longer = |message: M, by: usize| {
        let mut octets = message.write(RICH);
        octets.resize(octets.len() + by, 0xff);
        octets
    };
    let states = [
        longer(M::Ins(counted(1)), 16),
        longer(M::Ins(counted(2)), 16),
    ];
    let deletes = [
        longer(M::del_c(&counted(1)), 4),
        longer(M::del_c(&counted(2)), 4),
    ];
    let body = [
        section(13, 70, 2, &states.concat()),
        section(7, 4, 2, &deletes.concat()),
    ];
    run.packet(0, A, &modern(6, &body.concat()));
    assert_eq!(ids(&run.flows()), [1, 2]);
    assert_eq!(run.engine.packet_counters().whole, 1);
}

#[test]
fn v6_stops_at_a_length_or_count_of_zero() {
    for (len, count) in [(0, 1), (3, 0)] {
        let mut run = Run::new();
        let body = [
            sections(RICH, &[M::Ins(counted(1))]),
            section(7, len, count, &[]),
            sections(RICH, &[M::del_c(&counted(1))]),
        ];
        run.packet(0, A, &modern(6, &body.concat()));
        assert_eq!(
            (run.alive(), run.reason("bad_subheader")),
            (1, 1),
            "{len} {count}"
        );
    }
}

#[test]
fn a_truncated_capture_is_read_as_far_as_it_goes() {
    for d in D::ALL {
        let mut run = Run::new();
        let messages = [M::Upd(counted(1)), M::Upd(counted(2)), M::Upd(counted(3))];
        let packet = packets(d, &messages).concat();
        let (link, frame) = A.frame(&packet);
        let header = if d == D::V2 { 4 } else { 20 };
        let subheader = if d.is_flat() { 0 } else { 4 };
        let two = 34 + header + subheader + 2 * d.state_len();
        run.frame(0, link, &frame[..two + 50], frame.len());
        assert_eq!((run.alive(), run.reason("cut")), (2, 1), "{d:?}");
        // Inside the headers, too.
        run.frame(1000, link, &frame[..34 + 2], frame.len());
        run.frame(1000, link, &frame[..20], frame.len());
        assert_eq!((run.alive(), run.reason("short_frame")), (2, 1), "{d:?}");
        assert_eq!(run.engine.packet_counters().packets(), 3);
    }
}

#[test]
fn a_len_beyond_the_packet_itself_is_refused() {
    for d in [D::Obsd46, D::Fbsd1301, D::Obsd74] {
        let mut run = Run::new();
        let mut packet = packets(d, &[M::Upd(counted(1))])[0].clone();
        packet[3] += 1;
        run.packet(0, A, &packet);
        assert_eq!((run.alive(), run.reason("bad_length")), (0, 1), "{d:?}");
        // Longer than its len: what follows is not looked at.
        let mut packet = packets(d, &[M::Upd(counted(1))])[0].clone();
        packet.extend(sections(d, &[M::Upd(counted(2))]));
        run.packet(0, A, &packet);
        assert_eq!((run.alive(), run.reason("bad_length")), (1, 1), "{d:?}");
    }
}

/// A UPD_C of a state with a peer state that no protocol has.
fn nonsense(st: &St) -> M {
    let peer = Peer {
        state: 99,
        ..st.src
    };
    M::upd_c(&St { src: peer, ..*st })
}

#[test]
fn an_update_that_makes_no_sense_moves_none_of_the_next_to_another_state() {
    for d in D::MODERN {
        let mut run = Run::new();
        let [one, other] = [counted(1), counted(2)];
        run.send(0, A, d, &[M::Ins(one), M::Ins(other)]);
        run.send(5000, A, d, &[nonsense(&one), M::upd_c(&other)]);
        assert_eq!(run.reason("bad_value"), 1, "{d:?}");
        run.send(9000, A, d, &[M::del_c(&one), M::del_c(&other)]);
        let last: Vec<_> = run.flows().iter().map(|flow| flow.times().1).collect();
        assert_eq!(last, [0, 5], "{d:?}");
    }
}

#[test]
fn an_update_finds_no_state_that_ended_since_one_that_made_no_sense() {
    for d in D::MODERN {
        let mut run = Run::new();
        let st = counted(1);
        run.send(0, A, d, &[M::Ins(st)]);
        run.send(5000, A, d, &[nonsense(&st)]);
        run.send(6000, A, d, &[M::del_c(&st)]);
        assert_eq!(run.flows().len(), 1, "{d:?}");
        run.send(7000, A, d, &[M::upd_c(&st)]);
        assert_eq!(run.counters().unknown_update, 1, "{d:?}");
        assert_eq!((run.alive(), run.flows().len()), (0, 0), "{d:?}");
    }
}
