//! What counters are worth: quality, TCP estimated from sequence numbers, and flows exported in
//! parts while they go on.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    missing_docs,
    reason = "a test that is wrong may panic"
)]

mod common;

use std::collections::BTreeMap;

use common::{A, B, D, From, Key, M, OUT, Out, PFSYNC0, Peer, Run, St, settings};
use pflow::config::{Config, Place, apply_line};
use pflow::engine::Settings;
use pflow::export::Order;
use proptest::prelude::*;

/// Dialects whose UPD_C and DEL_C are all that is said of a living state.
const MODERN: [D; 6] = [
    D::Obsd46,
    D::Fbsd9,
    D::Fbsd1301,
    D::Fbsd1400,
    D::Fbsd1500,
    D::Obsd74,
];

/// Headers of IPv4 and TCP.
const H: u64 = 40;
/// Data in a full packet.
const MSS: u64 = 1460;

const CLOSING: u8 = 7;
const FIN_WAIT_2: u8 = 9;
const TIME_WAIT: u8 = 10;

fn config(lines: &[&str]) -> Config {
    let mut config = Config::default();
    for line in lines {
        apply_line(&mut config, line, || Place::CommandLine).unwrap();
    }
    config
}

/// The flow that ends and its quality.
fn ended(run: &mut Run) -> (Out, String) {
    let printed = String::from_utf8(run.engine.printed().clone()).unwrap();
    let qualities: Vec<String> = printed
        .lines()
        .map(|line| {
            let record: serde_json::Value = serde_json::from_str(line).unwrap();
            record["quality"].as_str().unwrap().to_owned()
        })
        .collect();
    assert!(
        qualities.windows(2).all(|pair| pair[0] == pair[1]),
        "{qualities:?}"
    );
    (run.flow(), qualities[0].clone())
}

/// A connection after its handshake, as pf keeps it: windows of 65535 << 7 both ways.
fn connection(id: u64) -> St {
    let peer = |seqlo: u32| {
        let peer = Peer {
            seqlo,
            max_win: 65535,
            state: 4,
            wscale: 0x87,
            ..Peer::default()
        };
        allowed(peer)
    };
    let st = St {
        src: peer(0xffff_ff00),
        dst: peer(0xffff_fff0),
        ..St::tcp(id)
    };
    st.count([3, 2], [60 + 2 * H, 60 + H])
}

/// With the `seqhi` that belongs to where it is.
fn allowed(peer: Peer) -> Peer {
    Peer {
        seqhi: peer.seqlo.wrapping_add(65535 << 7),
        ..peer
    }
}

fn sent(peer: Peer, octets: u32) -> Peer {
    allowed(Peer {
        seqlo: peer.seqlo.wrapping_add(octets),
        ..peer
    })
}

/// The state after its responder sent so much.
fn down(st: St, octets: u32) -> St {
    St {
        dst: sent(st.dst, octets),
        ..st
    }
}

fn up(st: St, octets: u32) -> St {
    St {
        src: sent(st.src, octets),
        ..st
    }
}

/// What `messages` of so much data downwards take, on top of [`connection`]'s counters.
fn with_download(steps: &[u64]) -> ([u64; 2], [u64; 2]) {
    let mut counts = (connection(1).packets, connection(1).octets);
    for step in steps {
        let packets = step.div_ceil(MSS);
        let acks = packets.div_ceil(2);
        counts.0[1] += packets;
        counts.0[0] += acks;
        counts.1[1] += step + packets * H;
        counts.1[0] += acks * H;
    }
    counts
}

#[test]
fn tcp_is_estimated_from_what_sequence_numbers_advance() {
    for d in MODERN {
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
    for d in MODERN {
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

fn udp(id: u64) -> St {
    St::udp(id).count([1, 1], [80, 200])
}

#[test]
fn activity_without_a_full_state_after_it_is_not_exact() {
    for d in MODERN {
        let end = |messages: &[(i64, M)], at: i64| {
            let mut run = Run::new();
            run.send(0, A, d, &[M::Ins(udp(1))]);
            for (at, message) in messages {
                run.send(*at, A, d, &[*message]);
            }
            run.send(at, A, d, &[M::del_c(&udp(1))]);
            ended(&mut run).1
        };
        let active = (5000, M::upd_c(&udp(1)));
        let full = (8000, M::Upd(udp(1).aged(8).count([4, 4], [320, 800])));
        assert_eq!(end(&[], 65_000), "exact", "{d:?}");
        assert_eq!(end(&[active], 70_000), "partial", "{d:?}");
        assert_eq!(end(&[active, full], 70_000), "exact", "{d:?}");
        assert_eq!(
            end(&[active, full, (9000, active.1)], 74_000),
            "partial",
            "{d:?}"
        );
    }
}

#[test]
fn a_delete_at_another_time_than_a_timeout_after_the_last_activity_shows_a_loss() {
    let end = |st: St, at: i64| {
        let mut run = Run::new();
        run.send(0, A, D::Obsd74, &[M::Ins(st)]);
        run.send(at * 1000, A, D::Obsd74, &[M::del_c(&st)]);
        ended(&mut run).1
    };
    // udp.multiple is a minute.
    for (at, quality) in [
        (30, "partial"),
        (57, "partial"),
        (59, "exact"),
        (72, "exact"),
        (75, "partial"),
    ] {
        assert_eq!(end(udp(1), at), quality, "{at}");
    }
    let closed = St {
        timeout: 5,
        ..connection(1)
    };
    for (at, quality) in [
        (1, "exact"),
        (90, "exact"),
        (102, "exact"),
        (104, "partial"),
    ] {
        assert_eq!(end(closed, at), quality, "{at}");
    }
}

#[test]
fn a_late_delete_shows_no_loss_behind_a_full_state() {
    let end = |full: i64| {
        let mut run = Run::new();
        run.send(0, A, D::Obsd74, &[M::Ins(udp(1))]);
        let told = udp(1)
            .aged(u32::try_from(full).unwrap())
            .count([4, 4], [320, 800]);
        run.send(full * 1000, A, D::Obsd74, &[M::Upd(told)]);
        run.send(79_000, A, D::Obsd74, &[M::del_c(&udp(1))]);
        ended(&mut run).1
    };
    // The last activity was between seconds 6 and 20, so that it is in the later one.
    assert_eq!((&*end(5), &*end(40)), ("partial", "exact"));
}

#[test]
fn a_shorter_timeout_that_the_sender_shows_is_believed() {
    let mut run = Run::new();
    let shown = St {
        expire: 25,
        ..udp(1)
    };
    run.send(0, A, D::Obsd74, &[M::Ins(shown)]);
    run.send(30_000, A, D::Obsd74, &[M::del_c(&shown)]);
    assert_eq!(ended(&mut run).1, "exact");
}

#[test]
fn a_copy_of_the_last_full_state_settles_nothing() {
    let mut run = Run::new();
    run.send(0, A, D::Obsd74, &[M::Ins(udp(1))]);
    run.send(1000, A, D::Obsd74, &[M::upd_c(&udp(1))]);
    run.send(1100, A, D::Obsd74, &[M::Ins(udp(1))]);
    run.send(63_000, A, D::Obsd74, &[M::del_c(&udp(1))]);
    assert_eq!(ended(&mut run).1, "partial");
}

#[test]
fn what_a_sender_counted_before_it_began_again_is_not_known_to_the_end() {
    let mut run = Run::new();
    run.send(0, A, D::Obsd74, &[M::Ins(udp(1))]);
    run.send(1000, A, D::Obsd74, &[M::upd_c(&udp(1))]);
    run.send(
        9000,
        A,
        D::Obsd74,
        &[M::Upd(udp(1).aged(9).count([1, 0], [70, 0]))],
    );
    run.send(70_000, A, D::Obsd74, &[M::del_c(&udp(1))]);
    let (flow, quality) = ended(&mut run);
    assert_eq!((flow.octets, &*quality), ([150, 200], "partial"));
}

#[test]
fn before_v5_only_a_full_delete_is_exact() {
    for d in [D::V2, D::V3, D::V4] {
        let st = udp(1).count([5, 5], [500, 500]);
        let mut run = Run::new();
        run.send(0, PFSYNC0, d, &[M::Ins(udp(1)), M::Upd(udp(1)), M::Del(st)]);
        let (flow, quality) = ended(&mut run);
        assert_eq!((flow.octets, &*quality), ([500, 500], "exact"), "{d:?}");
        run.send(20_000, PFSYNC0, d, &[M::Ins(udp(2)), M::Upd(udp(2))]);
        run.send(80_000, PFSYNC0, d, &[M::del_c(&udp(2))]);
        assert_eq!(ended(&mut run).1, "partial", "{d:?}");
    }
}

#[test]
fn flows_are_counted_by_quality() {
    let mut run = Run::new();
    run.send(
        0,
        A,
        D::Obsd74,
        &[M::Ins(udp(1)), M::Ins(udp(2)), M::Ins(connection(3))],
    );
    let down = down(connection(3), 1000);
    run.send(1000, A, D::Obsd74, &[M::upd_c(&udp(2)), M::upd_c(&down)]);
    run.send(
        61_000,
        A,
        D::Obsd74,
        &[1, 2, 3].map(|id| M::del_c(&udp(id))),
    );
    let counters = run.engine.flow_counters();
    assert_eq!(
        (counters.exact, counters.estimated, counters.partial),
        (1, 1, 1)
    );
    assert_eq!((counters.exact_octets, counters.partial_octets), (280, 280));
    assert_eq!(counters.octets, 560 + counters.estimated_octets);
}

/// A record of IPv4 on the wire: interface, initiator's port, start and end in seconds after T0,
/// packets, octets.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Record {
    unit: u32,
    port: u16,
    reverse: bool,
    times: (i64, i64),
    packets: u64,
    octets: u64,
}

/// The IPFIX records of IPv4 that were sent since the last call.
fn records(run: &mut Run) -> Vec<Record> {
    let mut records = Vec::new();
    for (unit, payload) in run.engine.transmit(Order::Packed).iter() {
        let u16_at = |at: usize| u16::from_be_bytes(payload[at..at + 2].try_into().unwrap());
        let u64_at = |at: usize| u64::from_be_bytes(payload[at..at + 8].try_into().unwrap());
        let seconds = |at: usize| (u64_at(at) / 1000).cast_signed() - common::T0;
        if u16_at(16) != 256 {
            continue;
        }
        for at in (20..16 + usize::from(u16_at(18))).step_by(54) {
            let (sport, dport) = (u16_at(at + 48), u16_at(at + 50));
            let reverse = dport != 443;
            records.push(Record {
                unit,
                port: if reverse { dport } else { sport },
                reverse,
                packets: u64_at(at + 16),
                octets: u64_at(at + 24),
                times: (seconds(at + 32), seconds(at + 40)),
            });
        }
    }
    records
}

const COLLECTOR: &str = "flowdst 127.0.0.1:4739 pflowproto 10 hold 1";

fn parts_of(run: &mut Run, unit: u32) -> Vec<(bool, (i64, i64), u64, u64)> {
    records(run)
        .into_iter()
        .filter(|record| record.unit == unit)
        .map(|r| (r.reverse, r.times, r.packets, r.octets))
        .collect()
}

#[test]
fn a_long_flow_is_exported_in_parts_to_the_interface_that_asks() {
    let lines = [
        format!("pflow0 {COLLECTOR} active 10"),
        format!("pflow1 {COLLECTOR}"),
    ];
    let mut run = Run::with(settings(), config(&lines.each_ref().map(|line| &**line)));
    run.send(0, A, D::Obsd74, &[M::Ins(udp(1))]);
    run.send(
        5000,
        A,
        D::Obsd74,
        &[M::Upd(udp(1).aged(5).count([3, 1], [240, 200]))],
    );
    run.send(5000, A, D::Obsd74, &[M::upd_c(&udp(1))]);
    run.advance(12_000);
    assert_eq!(
        parts_of(&mut run, 0),
        [(false, (0, 5), 3, 240), (true, (0, 5), 1, 200)]
    );
    // Nothing new at 20 seconds; at 25 there is, and it is due ten seconds later.
    run.send(
        25_000,
        A,
        D::Obsd74,
        &[
            M::upd_c(&udp(1)),
            M::Upd(udp(1).aged(25).count([5, 1], [400, 200])),
        ],
    );
    run.advance(34_500);
    assert_eq!(parts_of(&mut run, 0), []);
    run.advance(37_000);
    assert_eq!(parts_of(&mut run, 0), [(false, (5, 25), 2, 160)]);
    run.send(
        40_000,
        A,
        D::Obsd74,
        &[
            M::Upd(udp(1).aged(40).count([6, 2], [480, 300])),
            M::del_c(&udp(1)),
        ],
    );
    run.advance(42_000);
    let last = records(&mut run);
    let of = |unit| last.iter().filter(move |record| record.unit == unit);
    assert_eq!(
        of(0)
            .map(|r| (r.reverse, r.packets, r.octets))
            .collect::<Vec<_>>(),
        [(false, 1, 80), (true, 1, 100)]
    );
    assert_eq!(
        of(1)
            .map(|r| (r.reverse, r.packets, r.octets))
            .collect::<Vec<_>>(),
        [(false, 6, 480), (true, 2, 300)]
    );
    assert_eq!(run.flow().octets, [480, 300], "printed whole");
    assert_eq!(run.engine.interfaces()[0].counters.parts, 3);
}

#[test]
fn each_part_begins_in_the_second_in_which_the_one_before_ended() {
    let line = format!("pflow0 {COLLECTOR} active 10");
    // The boot is at some fraction of a second, parts go out before and behind it.
    for ends in [42_000, 42_300, 42_400, 42_900] {
        let mut run = Run::with(settings(), config(&[&line]));
        run.send(0, A, D::Obsd74, &[M::Ins(udp(1))]);
        let told = |s: u32| {
            let told = udp(1)
                .aged(s)
                .count([3 + u64::from(s), 1], [240 + u64::from(s), 200]);
            [M::upd_c(&udp(1)), M::Upd(told)]
        };
        run.send(5000, A, D::Obsd74, &told(5));
        run.send(25_700, A, D::Obsd74, &told(25));
        run.advance(38_000);
        run.send(ends, A, D::Obsd74, &told(42));
        run.send(ends, A, D::Obsd74, &[M::del_c(&udp(1))]);
        run.advance(50_000);
        let parts = parts_of(&mut run, 0);
        let ahead: Vec<_> = parts.iter().filter(|part| !part.0).collect();
        assert!(ahead.len() >= 3, "{ahead:?}");
        for pair in ahead.windows(2) {
            assert_eq!(pair[0].1.1, pair[1].1.0, "{ends} {ahead:?}");
        }
    }
}

#[test]
fn a_flow_that_has_nothing_left_at_its_end_makes_no_record() {
    let line = format!("pflow0 {COLLECTOR} active 10");
    let mut run = Run::with(settings(), config(&[&line]));
    run.send(0, A, D::Obsd74, &[M::Ins(udp(1))]);
    run.advance(12_000);
    assert_eq!(parts_of(&mut run, 0).len(), 2);
    run.send(60_000, A, D::Obsd74, &[M::del_c(&udp(1))]);
    run.advance(63_000);
    assert_eq!(parts_of(&mut run, 0), []);
    assert_eq!(run.flow().octets, [80, 200]);
}

#[test]
fn parts_go_out_at_their_due_time_however_late_the_next_packet_is() {
    let line = format!("pflow0 {COLLECTOR} active 10");
    let mut run = Run::with(settings(), config(&[&line]));
    run.send(0, A, D::Obsd74, &[M::Ins(connection(1))]);
    run.engine.transmit(Order::Packed);
    run.advance(500_000);
    let first = run
        .engine
        .transmit(Order::Packed)
        .iter()
        .map(|(_, payload)| payload.to_vec())
        .find(|payload| payload[16..18] == [1, 0])
        .unwrap();
    let sent = i64::from(u32::from_be_bytes(first[4..8].try_into().unwrap()));
    assert_eq!(sent - common::T0, 11, "ten seconds, and held for one");
}

#[test]
fn what_an_estimate_had_too_much_is_not_exported_again() {
    let line = format!("pflow0 {COLLECTOR} active 10");
    let mut run = Run::with(settings(), config(&[&line]));
    let st = connection(1);
    run.send(0, A, D::Obsd74, &[M::Ins(st)]);
    let st = down(st, 146_000);
    run.send(9000, A, D::Obsd74, &[M::upd_c(&st)]);
    run.advance(12_000);
    let (packets, octets) = with_download(&[146_000]);
    let first = parts_of(&mut run, 0);
    assert_eq!((first[1].2, first[1].3), (packets[1], octets[1]));
    // The estimate was 1000 octets too high; then 5000 more are counted.
    let full = st.aged(13).count(packets, [octets[0], octets[1] - 1000]);
    run.send(13_000, A, D::Obsd74, &[M::Upd(full)]);
    let more = full
        .aged(29)
        .count([packets[0], packets[1] + 4], [octets[0], octets[1] + 4000]);
    run.send(29_000, A, D::Obsd74, &[M::Upd(more), M::del_c(&st)]);
    run.advance(31_000);
    let rest: u64 = parts_of(&mut run, 0)
        .iter()
        .filter(|part| part.0)
        .map(|part| part.3)
        .sum();
    assert_eq!(rest, 4000, "so that parts add up to what was counted");
}

#[test]
fn switching_the_timeout_off_leaves_the_rest_for_the_end() {
    let on = config(&[&format!("pflow0 {COLLECTOR} active 10")]);
    let off = config(&[&format!("pflow0 {COLLECTOR}")]);
    let mut run = Run::with(settings(), on);
    run.send(0, A, D::Obsd74, &[M::Ins(udp(1)), M::Ins(connection(2))]);
    run.advance(12_000);
    assert_eq!(parts_of(&mut run, 0).len(), 4);
    let now = pflow::time::Now::with_boot(common::wall(12_000), common::wall(-(1 << 31)));
    run.engine.commit(now, off, &[0]);
    let more = udp(1).aged(20).count([9, 9], [800, 900]);
    run.send(20_000, A, D::Obsd74, &[M::Upd(more)]);
    run.advance(40_000);
    assert_eq!(parts_of(&mut run, 0), []);
    run.send(41_000, A, D::Obsd74, &[M::del_c(&udp(1))]);
    run.advance(43_000);
    let octets: Vec<u64> = parts_of(&mut run, 0).iter().map(|part| part.3).collect();
    assert_eq!(octets, [720, 700]);
}

#[test]
fn a_timeout_switched_on_and_off_reaches_every_state_though_not_at_once() {
    const STATES: u64 = 10_000;
    let on = || config(&[&format!("pflow0 {COLLECTOR} active 10")]);
    let off = || config(&[&format!("pflow0 {COLLECTOR}")]);
    let mut run = Run::with(settings(), off());
    for begin in (0..STATES).step_by(100) {
        let some: Vec<M> = (begin..begin + 100).map(|id| M::Ins(udp(id))).collect();
        run.send(0, A, D::Obsd74, &some);
    }
    let commit = |run: &mut Run, config, ms| {
        run.advance(ms);
        let now = run.now();
        run.engine.commit(now, config, &[0]);
        let is_more_to_do = run
            .engine
            .poll_timeout()
            .is_some_and(|due| due <= now.uptime);
        assert!(is_more_to_do, "not all at once");
        while run.engine.handle_some_timeouts(now, now.uptime) {}
    };
    commit(&mut run, on(), 1000);
    assert_eq!(parts_of(&mut run, 0), []);
    run.advance(10_500);
    assert_eq!(parts_of(&mut run, 0), [], "none waited for ten seconds");
    run.advance(12_100);
    let parts = parts_of(&mut run, 0);
    assert_eq!(parts.len() as u64, 2 * STATES);
    // Each has something new, and none is asked for it any more.
    for begin in (0..STATES).step_by(100) {
        let more = |id| M::Upd(udp(id).aged(13).count([9, 9], [800, 900]));
        let some: Vec<M> = (begin..begin + 100).map(more).collect();
        run.send(13_000, A, D::Obsd74, &some);
    }
    commit(&mut run, off(), 13_500);
    run.advance(50_000);
    assert_eq!(parts_of(&mut run, 0), []);
}

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
    for d in MODERN {
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

/// Dialects whose INS has no counters.
const FLAT: [D; 3] = [D::V2, D::V3, D::V4];

#[test]
fn what_v2_to_v4_tell_on_the_wire_is_estimated_as_the_same_is_of_v6() {
    let told = |d: D| {
        let mut run = Run::new();
        let mut st = connection(1).count([0, 0], [0, 0]);
        run.send(0, A, d, &[M::Ins(st)]);
        for s in 1..=20 {
            st = up(down(st, 100_000), 300);
            run.send(s * 1000, A, d, &[M::upd_c(&st)]);
        }
        run.send(20_000 + 86_400_000, A, d, &[M::del_c(&st)]);
        ended(&mut run)
    };
    let (flow, quality) = told(D::Obsd74);
    assert_eq!(quality, "estimated");
    for d in FLAT {
        assert_eq!(told(d), (flow.clone(), quality.clone()), "{d:?}");
    }
    let octets = flow.octets[1];
    assert!((2_000_000..2_100_000).contains(&octets), "{octets}");
}

#[test]
fn a_full_update_that_v2_to_v4_were_asked_for_is_exact_and_an_estimate_goes_on_from_it() {
    for d in FLAT {
        for goes_on in [false, true] {
            let mut run = Run::new();
            let mut st = connection(1).count([0, 0], [0, 0]);
            run.send(0, A, d, &[M::Ins(st)]);
            st = down(st, 1_000_000);
            run.send(1000, A, d, &[M::upd_c(&st)]);
            let counted = st.count([343, 685], [13_720, 1_027_400]);
            run.send(2000, A, d, &[M::Upd(counted.aged(2))]);
            if goes_on {
                st = down(st, 14_600);
                run.send(3000, A, d, &[M::upd_c(&st)]);
            }
            let last = if goes_on { 3000 } else { 1000 };
            run.send(last + 86_400_000, A, d, &[M::del_c(&st)]);
            let (flow, quality) = ended(&mut run);
            if goes_on {
                assert_eq!(flow.packets, [348, 695], "{d:?}");
                assert_eq!(flow.octets, [13_920, 1_042_400], "{d:?}");
                assert_eq!(quality, "estimated", "{d:?}");
            } else {
                assert_eq!(
                    (flow.packets, flow.octets),
                    (counted.packets, counted.octets)
                );
                assert_eq!(quality, "exact", "{d:?}");
            }
        }
    }
}

#[test]
fn what_pfsync0_and_the_wire_both_tell_of_v2_to_v4_counts_once() {
    for d in FLAT {
        let settings = Settings {
            local_addresses: vec![[10, 0, 0, 1].into()],
            ..settings()
        };
        let mut run = Run::with(settings, Config::default());
        let mut st = connection(1).count([0, 0], [0, 0]);
        for from in [PFSYNC0, A] {
            run.send(0, from, d, &[M::Ins(st)]);
        }
        for n in 1..=20 {
            st = down(st, 14_600).count([5 * n, 10 * n], [200 * n, 15_000 * n]);
            let ms = 1000 * i64::try_from(n).unwrap();
            run.send(ms, PFSYNC0, d, &[M::Upd(st.aged(n as u32))]);
            run.send(ms, A, d, &[M::upd_c(&st)]);
        }
        run.send(60_000, PFSYNC0, d, &[M::Del(st.aged(60))]);
        let (flow, quality) = ended(&mut run);
        assert_eq!(
            (flow.packets, flow.octets),
            (st.packets, st.octets),
            "{d:?}"
        );
        assert_eq!(quality, "exact", "{d:?}");
    }
}
