//! Which v5 a packet is.

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
