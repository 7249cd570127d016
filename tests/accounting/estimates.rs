//! TCP estimated from what sequence numbers advance.

use super::*;

#[test]
fn tcp_is_estimated_from_what_sequence_numbers_advance() {
    for d in D::MODERN {
        let mut run = Run::new();
        let mut st = connection(1);
        run.send(0, A, d, &[M::Ins(st)]);
        for s in 1..=5 {
            st = down(st, 1_000_000);
            run.send(s * 1000, A, d, &[M::upd_c(&st)]);
        }
        run.send(5000 + 86_400_000, A, d, &[M::del_c(&st)]);
        let (flow, quality) = ended(&mut run);
        assert_eq!(
            (flow.packets, flow.octets),
            with_download(&[1_000_000; 5]),
            "{d:?}"
        );
        assert_eq!(quality, "estimated", "{d:?}");
    }
}

#[test]
fn ipv6_has_larger_headers() {
    let st = connection(1).keyed(Key::new("2001:db8::1", 40000, "2001:db8::2", 443));
    let mut run = Run::new();
    run.send(0, A, D::Obsd74, &[M::Ins(st)]);
    run.send(
        1000,
        A,
        D::Obsd74,
        &[M::upd_c(&down(st, 1440 * 10)), M::del_c(&st)],
    );
    let flow = run.flow();
    assert_eq!(flow.octets, [60 + 2 * H + 5 * 60, 60 + H + 10 * 1500]);
}

#[test]
fn a_hundred_gigabytes_go_round_the_sequence_numbers_many_times() {
    let mut run = Run::new();
    let mut st = connection(1);
    run.send(0, A, D::Obsd74, &[M::Ins(st)]);
    // Ten gigabits a second, a message a second; each tenth is lost.
    for s in 1..=80 {
        st = down(st, 1_250_000_000);
        if s % 10 != 5 {
            run.send(s * 1000, A, D::Obsd74, &[M::upd_c(&st)]);
        }
    }
    run.send(81_000, A, D::Obsd74, &[M::del_c(&st)]);
    let octets = run.flow().octets[1];
    let payload = 100_000_000_000;
    assert!((payload..payload / 100 * 103).contains(&octets), "{octets}");
}

#[test]
fn syn_and_fin_are_no_data() {
    let mut run = Run::new();
    let mut st = connection(1).count([1, 1], [60, 60]);
    run.send(0, A, D::Obsd74, &[M::Ins(st)]);
    // The initiator's SYN is not in seqlo before its next packet.
    st = up(st, 1);
    run.send(1000, A, D::Obsd74, &[M::upd_c(&st)]);
    st = down(up(st, 1), 1);
    (st.src.state, st.dst.state) = (CLOSING, FIN_WAIT_2);
    run.send(2000, A, D::Obsd74, &[M::upd_c(&st)]);
    st.src.state = FIN_WAIT_2;
    run.send(3000, A, D::Obsd74, &[M::upd_c(&st), M::del_c(&st)]);
    let flow = run.flow();
    // A FIN each way in packets of their own.
    assert_eq!((flow.packets, flow.octets), ([2, 2], [60 + H, 60 + H]));
}

#[test]
fn a_refused_connection_is_one_packet_back() {
    let mut run = Run::new();
    let mut st = connection(1).count([1, 0], [60, 0]);
    (st.dst.seqlo, st.dst.seqhi, st.dst.state, st.src.state) = (0, 1, 0, 2);
    run.send(0, A, D::Obsd74, &[M::Ins(st)]);
    (st.dst.state, st.src.state) = (TIME_WAIT, TIME_WAIT);
    run.send(
        1000,
        A,
        D::Obsd74,
        &[M::upd_c(&st), M::upd_c(&st), M::del_c(&st)],
    );
    let flow = run.flow();
    assert_eq!((flow.packets, flow.octets), ([1, 1], [60, H]));
}

#[test]
fn modulated_sequence_numbers_change_nothing() {
    let play = |seqdiff: u32| {
        let mut run = Run::new();
        let mut st = connection(1);
        (st.src.seqdiff, st.dst.seqdiff) = (seqdiff, !seqdiff);
        run.send(0, A, D::Obsd74, &[M::Ins(st)]);
        run.send(
            1000,
            A,
            D::Obsd74,
            &[M::upd_c(&down(st, 5_000_000)), M::del_c(&st)],
        );
        run.flow()
    };
    assert_eq!(play(0), play(0x1234_5678));
    assert_eq!(
        (play(0).packets, play(0).octets),
        with_download(&[5_000_000])
    );
}

/// What is estimated of a state that counted `packets` and `octets` and then sent `down` octets.
fn estimated_of(packets: [u64; 2], octets: [u64; 2], payload: u32) -> [(u64, u64); 2] {
    let st = connection(1).count(packets, octets);
    let mut run = Run::new();
    run.send(0, A, D::Obsd74, &[M::Ins(st)]);
    let later = down(st, payload);
    run.send(1000, A, D::Obsd74, &[M::upd_c(&later)]);
    run.send(1000 + 86_400_000, A, D::Obsd74, &[M::del_c(&later)]);
    let (out, _) = ended(&mut run);
    let more = |n: usize| (out.packets[n] - packets[n], out.octets[n] - octets[n]);
    [more(0), more(1)]
}

#[test]
fn counted_packets_show_whether_they_have_time_stamps() {
    // Ten segments; the other way acknowledges five times.
    let stamped = estimated_of([20, 3], [20 * 52 + 8, 60 + 52 * 2], 14_480);
    assert_eq!(stamped, [(5, 5 * 52), (10, 14_480 + 10 * 52)]);
    let bare = estimated_of([20, 3], [20 * H + 20, 60 + 2 * H], 14_600);
    assert_eq!(bare, [(5, 5 * H), (10, 14_600 + 10 * H)]);
}

#[test]
fn a_handshake_does_not_show_how_long_the_segments_of_a_transfer_are() {
    // Ten packets back with 50 octets each, then a hundred full segments.
    let [ahead, back] = estimated_of([10, 11], [10 * H + 20, 11 * H + 20 + 500], 146_000);
    assert_eq!(back, (100, 146_000 + 100 * H));
    assert_eq!(ahead, (50, 50 * H));
}

#[test]
fn segments_are_as_long_as_the_counted_ones() {
    let mut run = Run::new();
    // 20 packets of 500 octets of data, and 10 that acknowledge them.
    let st = connection(1).count([11, 21], [60 + 10 * H, 60 + 20 * (500 + H)]);
    run.send(0, A, D::Obsd74, &[M::Ins(st)]);
    run.send(
        1000,
        A,
        D::Obsd74,
        &[M::upd_c(&down(st, 50_000)), M::del_c(&st)],
    );
    let flow = run.flow();
    assert_eq!(
        (flow.packets, flow.octets[1]),
        ([61, 121], 60 + 120 * (500 + H))
    );
}

/// A state after a second of a download of which nothing can be told.
fn untold(base: St, then: impl Fn(&mut St)) -> (Out, String) {
    let mut run = Run::new();
    run.send(0, A, D::Obsd74, &[M::Ins(base)]);
    let mut st = base;
    then(&mut st);
    run.send(1000, A, D::Obsd74, &[M::upd_c(&st), M::del_c(&st)]);
    ended(&mut run)
}

#[test]
fn what_sequence_numbers_do_not_tell_is_left_partial() {
    let counted = connection(1);
    let sloppy = |base: St| St {
        flags: base.flags | 2,
        ..base
    };
    let unheard = |mut base: St| {
        (base.dst.seqlo, base.dst.seqhi) = (0, 1);
        base
    };
    let step = |st: &mut St| *st = down(*st, 100_000);
    let cases: [(&str, (Out, String)); 6] = [
        ("sloppy by its flag", untold(sloppy(counted), step)),
        (
            "sloppy by what it does not track",
            untold(unheard(counted), |st| st.src.state = 4),
        ),
        (
            "synproxy",
            untold(counted, |st| {
                step(st);
                st.src.state = 11;
            }),
        ),
        (
            "behind",
            untold(counted, |st| *st = down(*st, 5_000_u32.wrapping_neg())),
        ),
        (
            "beyond its window",
            untold(counted, |st| st.dst.seqlo ^= 0x2000_0000),
        ),
        ("no news", untold(counted, |_| {})),
    ];
    for (name, (flow, quality)) in cases {
        assert_eq!(
            (flow.packets, flow.octets),
            (counted.packets, counted.octets),
            "{name}"
        );
        assert_eq!(quality, "partial", "{name}");
    }
}

#[test]
fn no_damaged_octet_of_a_sequence_number_adds_more_than_a_window() {
    let st = connection(1);
    for bit in 0..32 {
        let (flow, _) = untold(st, |st| st.dst.seqlo ^= 1 << bit);
        let most = u64::from(u16::MAX) << 7;
        assert!(
            flow.octets[1] < 2 * most + 200_000,
            "bit {bit}: {}",
            flow.octets[1]
        );
    }
}

/// A download of `steps` seconds whose windows make no sense in those that `is_odd` names.
fn with_odd_windows(steps: i64, is_odd: impl Fn(i64) -> bool) -> (Out, String) {
    let mut run = Run::new();
    let mut st = connection(1);
    run.send(0, A, D::Obsd74, &[M::Ins(st)]);
    for s in 1..=steps {
        st = down(st, 1_000_000);
        let mut told = st;
        if is_odd(s) {
            told.dst.seqhi = told.dst.seqlo.wrapping_add(1 << 30);
        }
        run.send(s * 1000, A, D::Obsd74, &[M::upd_c(&told)]);
    }
    run.send(steps * 1000 + 86_400_000, A, D::Obsd74, &[M::del_c(&st)]);
    ended(&mut run)
}

#[test]
fn what_refused_messages_told_of_shows_in_the_quality() {
    assert_eq!(with_odd_windows(40, |s| s == 20).1, "estimated");
    assert_eq!(with_odd_windows(40, |s| (20..25).contains(&s)).1, "partial");
}

#[test]
fn windows_that_never_make_sense_are_not_looked_at_for_long() {
    let (flow, quality) = with_odd_windows(40, |_| true);
    assert!(flow.octets[1] > 40_000_000, "{flow:?}");
    assert_eq!(quality, "partial");
    let (flow, quality) = with_odd_windows(100, |s| s > 10);
    assert!(flow.octets[1] > 100_000_000, "{flow:?}");
    assert_eq!(quality, "estimated");
}

#[test]
fn stale_memory_of_upd_c_is_no_time_stamps() {
    let play = |scrub| {
        let (flow, _) = untold(connection(1), |st| {
            *st = down(*st, 1_000_000);
            (st.src.scrub, st.dst.scrub) = (scrub, scrub);
        });
        flow
    };
    assert_eq!(play([0, 1, 64, 1, 0, 0, 0, 9]), play([0; 8]));
    // In a full state they are.
    let mut st = connection(1);
    st.src.scrub = [0, 1, 64, 1, 0, 0, 0, 9];
    let (flow, _) = untold(st, |st| *st = down(*st, 14_480));
    assert_eq!(flow.octets[1], 60 + H + 10 * 1500);
}

#[test]
fn a_full_state_takes_the_place_of_the_estimate() {
    for d in D::MODERN {
        let mut run = Run::new();
        let st = connection(1);
        run.send(0, A, d, &[M::Ins(st)]);
        let st = down(st, 1_000_000);
        run.send(1000, A, d, &[M::upd_c(&st)]);
        let st = st.aged(4).count([500, 900], [20_000, 1_000_000]);
        run.send(4000, A, d, &[M::Upd(st)]);
        run.send(1000 + 86_400_000, A, d, &[M::del_c(&st)]);
        let (flow, quality) = ended(&mut run);
        assert_eq!(
            (flow.packets, flow.octets),
            ([500, 900], [20_000, 1_000_000]),
            "{d:?}"
        );
        assert_eq!(quality, "exact", "{d:?}");
    }
}

#[test]
fn counters_exact_leaves_estimates_out() {
    let mut run = Run::with(settings(), config(&["counters exact"]));
    let st = connection(1);
    run.send(0, A, D::Obsd74, &[M::Ins(st)]);
    run.send(
        1000,
        A,
        D::Obsd74,
        &[M::upd_c(&down(st, 1_000_000)), M::del_c(&st)],
    );
    let (flow, quality) = ended(&mut run);
    assert_eq!((flow.octets, &*quality), (st.octets, "partial"));
}

#[test]
fn after_a_failover_each_node_has_an_estimate_of_its_own() {
    let mut run = Run::new();
    let st = connection(1);
    run.send(0, A, D::Obsd74, &[M::Ins(st)]);
    let st = down(st, 14_600);
    run.send(1000, A, D::Obsd74, &[M::upd_c(&st)]);
    let st = down(st, 14_600);
    run.send(2000, B, D::Obsd74, &[M::upd_c(&st)]);
    let so_far = with_download(&[14_600, 14_600]);
    // The second node tells what it carried; of the first one's nothing is heard.
    let full = st.aged(5).count([7, 12], [300, 17_000]);
    run.send(5000, B, D::Obsd74, &[M::Upd(full)]);
    run.send(6000, A, D::Obsd74, &[M::del_c(&st)]);
    run.advance(8000);
    let (flow, quality) = ended(&mut run);
    let first = with_download(&[14_600]);
    assert_eq!(flow.octets, [first.1[0] + 300, first.1[1] + 17_000]);
    assert!(flow.octets[1] > so_far.1[1]);
    assert_eq!(quality, "estimated");
}
