//! Which v4 and which v5 a packet is.

use super::*;

/// Hears whether a packet's messages read alike in every v5.
#[derive(Default)]
struct Any(bool);

impl Listener for Any {
    fn any_v5(&mut self) {
        self.0 = true;
    }

    fn message(&mut self, _: Dialect, _: Message<'_>) {}
}

#[test]
fn only_a_packet_that_nothing_tells_of_could_be_any_v5() {
    let request = v5(8, &[compressed()[..12].to_vec()], 0);
    let with_state = v5(14, &[state_1400()], 0);
    for (packet, remembered, is_any) in [
        (&request, None, true),
        (&request, Some(Dialect::OpenBsd47), true),
        (&request, Some(Dialect::FreeBsd1400), false),
        (&with_state, None, false),
    ] {
        let mut any = Any::default();
        decode_to(packet, 0, remembered, Position::default(), &mut any);
        assert_eq!(any.0, is_any, "{remembered:?}");
    }
}

/// The dialect that is found and whether the packet itself showed it.
fn found(packet: &[u8], missing: usize, remembered: Option<Dialect>) -> (Option<Dialect>, bool) {
    let outcome = decode(packet, missing, remembered, &mut |_, _| ());
    (outcome.dialect, outcome.is_certain)
}

#[test]
fn the_size_of_a_state_and_what_follows_the_eof_tell() {
    let cases = [
        (state_240(), 0, Dialect::OpenBsd45),
        (state_240(), 20, Dialect::OpenBsd45),
        (state_242(), 0, Dialect::FreeBsd1301),
        (state_242(), 20, Dialect::FreeBsd9),
    ];
    for (state, stale, dialect) in cases {
        for count in 1..6 {
            for action in [1, 3, 6] {
                let packet = v5(action, &vec![state.clone(); count], stale);
                // Whatever was believed of the sender before.
                for remembered in
                    std::iter::once(None).chain(Dialect::ALL.iter().copied().map(Some))
                {
                    assert_eq!(found(&packet, 0, remembered), (Some(dialect), true));
                }
            }
        }
    }
}

#[test]
fn freebsds_newer_states_have_actions_of_their_own() {
    let cases = [
        (13, state_1400(), Dialect::FreeBsd1400),
        (14, state_1400(), Dialect::FreeBsd1400),
        (15, state_1500(), Dialect::FreeBsd1500),
        (16, state_1500(), Dialect::FreeBsd1500),
    ];
    for (action, state, dialect) in cases {
        let packet = v5(action, &[state], 0);
        assert_eq!(found(&packet, 0, None), (Some(dialect), true));
        assert_eq!(
            found(&packet, 0, Some(Dialect::OpenBsd45)),
            (Some(dialect), true)
        );
    }
}

#[test]
fn older_states_of_a_newer_freebsd_are_read_by_their_own_size() {
    for (newer, state, dialect) in [
        ("0d 00 0001", state_1400(), Dialect::FreeBsd1400),
        ("0f 00 0001", state_1500(), Dialect::FreeBsd1500),
    ] {
        let newer: (_, &[_]) = (newer, &[state]);
        let older: (_, &[_]) = ("01 00 0001", &[state_242()]);
        let eof: (_, &[_]) = ("0c 00 0001", &[]);
        for order in [[newer, older, eof], [older, newer, eof]] {
            let mut seen = Vec::new();
            states(&sections(5, &order), 2, |state| {
                check_common(&state);
                seen.push(state.dialect());
            });
            seen.sort_by_key(|of| *of == dialect);
            assert_eq!(seen, [Dialect::FreeBsd1301, dialect]);
        }
    }
}

#[test]
fn without_states_the_sender_is_what_it_was() {
    let packet = v5(4, &[compressed(), compressed()], 0);
    assert_eq!(found(&packet, 0, None), (Some(Dialect::FreeBsd1301), false));
    for dialect in [Dialect::OpenBsd45, Dialect::FreeBsd9, Dialect::FreeBsd1500] {
        assert_eq!(found(&packet, 0, Some(dialect)), (Some(dialect), false));
    }
    // A sender that was another version's says nothing about v5.
    let other = Some(Dialect::OpenBsd47);
    assert_eq!(
        found(&packet, 0, other),
        (Some(Dialect::FreeBsd1301), false)
    );
}

#[test]
fn a_cut_off_packet_is_told_by_its_second_state_or_by_memory() {
    for (state, dialect) in [
        (state_240(), Dialect::OpenBsd45),
        (state_242(), Dialect::FreeBsd1301),
    ] {
        let packet = v5(1, &vec![state.clone(); 3], 20);
        let second = HEADER + SUBHEADER + 2 * state.len() + 10;
        let cut = |to: usize| (&packet[..to], packet.len() - to);
        let (captured, missing) = cut(second);
        assert_eq!(found(captured, missing, None).0, Some(dialect));
        // One state looks alike in both.
        let (captured, missing) = cut(HEADER + SUBHEADER + state.len() + 10);
        assert_eq!(
            found(captured, missing, None),
            (Some(Dialect::FreeBsd1301), false)
        );
        for remembered in [Dialect::OpenBsd45, Dialect::FreeBsd9, Dialect::FreeBsd1301] {
            let of = found(captured, missing, Some(remembered));
            assert_eq!(of, (Some(remembered), false));
        }
    }
}

#[test]
fn messages_of_a_cut_off_packet_are_read_as_far_as_they_go() {
    let packet = v5(1, &vec![state_240(); 3], 0);
    let to = HEADER + SUBHEADER + 2 * 240 + 10;
    let mut seen = 0;
    let outcome = decode(
        &packet[..to],
        packet.len() - to,
        None,
        &mut |dialect, message| {
            let Message::Insert(state) = message else {
                panic!("{:?}", message.action())
            };
            assert_eq!(dialect, Dialect::OpenBsd45);
            check_common(&state);
            seen += 1;
        },
    );
    let missing = packet.len() - to;
    assert_eq!((seen, outcome.result), (2, Err(Error::Cut { missing })));
}

#[test]
fn the_length_of_a_v4_packet_tells_dragonflys_states_of_300_octets() {
    for count in 1..=254_u8 {
        for (state, dialect) in [
            (state_240(), Dialect::V4),
            (state_300(), Dialect::DragonFly4),
        ] {
            let packet = flat(4, 1, count, &vec![state; count.into()]);
            assert_eq!(found(&packet, 0, None).0, Some(dialect), "{count}");
            // Cut off by the capture its length is still known.
            let captured = &packet[..packet.len() - 100];
            assert_eq!(found(captured, 100, None).0, Some(dialect), "{count}");
        }
    }
    states(&flat(4, 3, 3, &vec![state_300(); 3]), 3, |state| {
        check_common(&state);
        check_counters(&state, COUNTED);
        assert_eq!(state.state_flags(), Some(4));
    });
}

#[test]
fn dragonflys_older_states_are_told_by_values_that_openbsd_does_not_have() {
    let of =
        |fields: &[(usize, &str)]| found(&flat(4, 1, 1, &[over(state_240(), fields)]), 0, None).0;
    let peers = |src: &'static str, dst: &'static str| [(96 + 24, src), (128 + 24, dst)];
    for (fields, dialect) in [
        (peers("04", "04"), Dialect::V4),
        (peers("02", "00"), Dialect::V4),
        // OpenBSD's synproxy speaks for the initiator only.
        (peers("0b", "00"), Dialect::V4),
        (peers("0c", "00"), Dialect::V4),
        (peers("03", "01"), Dialect::DragonFly2),
        (peers("0d", "01"), Dialect::DragonFly2),
        (peers("0b", "0b"), Dialect::DragonFly2),
    ] {
        assert_eq!(of(&fields), Some(dialect), "{fields:?}");
    }
    assert_eq!(of(&[(232, "1c")]), Some(Dialect::DragonFly2));
    assert_eq!(of(&[(232, "18")]), Some(Dialect::V4));
}

#[test]
fn a_v4_sender_stays_a_dragonfly_until_it_shows_otherwise() {
    let compressed = |state| pad(over(compressed(), &[(8 + 24, state)]), 4);
    let update = flat(4, 4, 1, &[compressed("04")]);
    let delete = flat(4, 5, 1, &[pad(id(), 4)]);
    let full = flat(4, 2, 1, &[state_240()]);
    let syn = [(96 + 24, "02"), (128 + 24, "00")];
    let syn = flat(4, 1, 1, &[over(state_240(), &syn)]);
    for of in [Dialect::DragonFly2, Dialect::DragonFly4] {
        for packet in [&update, &delete] {
            assert_eq!(found(packet, 0, Some(of)).0, Some(of));
            assert_eq!(found(packet, 0, Some(Dialect::V3)).0, Some(Dialect::V4));
        }
        assert_eq!(found(&full, 0, Some(of)).0, Some(Dialect::DragonFly2));
        assert_eq!(found(&syn, 0, Some(of)).0, Some(Dialect::V4));
    }
    let proxied = flat(4, 4, 1, &[compressed("0d")]);
    assert_eq!(found(&proxied, 0, None), (Some(Dialect::DragonFly2), true));
}
