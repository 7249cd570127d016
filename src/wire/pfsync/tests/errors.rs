//! Each error, with what it says and where, and what is read in spite of it.

use super::*;

/// How many messages are read, and the error.
fn error(packet: &[u8], missing: usize) -> (usize, Error) {
    let (seen, outcome) = total(packet, missing, None);
    (seen, outcome.result.unwrap_err())
}

#[test]
fn a_packet_shorter_than_its_header_is_none() {
    assert_eq!(error(&[], 0), (0, Error::Header { have: 0 }));
    let cases = [
        (flat(2, 1, 1, &[]), 3),
        (flat(3, 1, 1, &[]), 19),
        (flat(4, 1, 1, &[]), 4),
        (sections(5, &[]), 19),
        (sections(6, &[]), 1),
    ];
    for (packet, have) in cases {
        assert_eq!(error(&packet[..have], 0), (0, Error::Header { have }));
        assert_eq!(error(&packet[..have], 9), (0, Error::Cut { missing: 9 }));
    }
}

#[test]
fn versions_that_are_not_read_have_no_dialect() {
    for version in [0, 7, 0x45, 255] {
        let outcome = decode(&[version; 64], 0, None, &mut |_, _| ());
        assert_eq!((outcome.dialect, outcome.is_certain), (None, false));
        assert_eq!(outcome.result, Err(Error::Version(version)));
    }
    assert_eq!(error(&[1; 64], 0), (0, Error::OldVersion));
}

#[test]
fn a_length_must_hold_the_header_and_fit_what_was_sent() {
    for version in [5, 6] {
        let packet = sections(version, &[("07 03 0001", &[id()])]);
        let have = packet.len();
        for len in [0_u8, 19, 37, 255] {
            let packet = over(packet.clone(), &[(2, &format!("00{len:02x}"))]);
            let len = usize::from(len);
            assert_eq!(error(&packet, 0), (0, Error::Length { len, have }));
        }
        // Captured short, but sent whole.
        let cut = over(packet.clone(), &[(2, "0030")]);
        assert_eq!(error(&cut, 12).1, Error::Cut { missing: 12 });
        let error = error(&cut, 11);
        let have = have + 11;
        assert_eq!(error, (0, Error::Length { len: 48, have }));
        // Longer than it says: the rest is padding.
        let (seen, outcome) = total(&pad(packet, 10), 0, None);
        assert_eq!((seen, outcome.result), (1, Ok(())));
    }
}

#[test]
fn a_subheader_must_be_whole_and_in_v6_say_something() {
    for version in [5, 6] {
        let packet = relen(pad(sections(version, &[("07 03 0001", &[id()])]), 3));
        assert_eq!(error(&packet, 0), (1, Error::Subheader { offset: 36 }));
    }
    for subheader in ["04 15 0000", "04 00 0001", "63 00 0000"] {
        let packet = sections(6, &[("07 03 0001", &[id()]), (subheader, &[compressed()])]);
        assert_eq!(error(&packet, 0), (1, Error::Subheader { offset: 36 }));
    }
}

#[test]
fn an_action_without_a_size_ends_a_packet() {
    for action in [8, 9, 17, 255] {
        let unknown = format!("{action:02x} 00 0001");
        let packet = sections(5, &[("07 00 0001", &[id()]), (&unknown, &[id()])]);
        let offset = 36;
        assert_eq!(error(&packet, 0), (1, Error::Action { action, offset }));
    }
    for action in [6, 7, 11, 255] {
        let packet = flat(3, action, 1, &[id()]);
        assert_eq!(error(&packet, 0), (0, Error::Action { action, offset: 0 }));
    }
}

#[test]
fn messages_that_reach_beyond_the_end_are_read_as_far_as_they_go() {
    let short = |offset, need, have| Error::Messages { offset, need, have };
    let packet = flat(2, 1, 3, &[state_v2(), state_v2(), vec![0; 100]]);
    assert_eq!(error(&packet, 0), (2, short(452, 224, 100)));
    let packet = flat(4, 1, 2, &[state_240()]);
    assert_eq!(error(&packet, 0), (1, short(260, 240, 0)));
    let packet = sections(6, &[("0d 42 0002", &[state_v6(), vec![0; 20]])]);
    assert_eq!(error(&packet, 0), (1, short(288, 264, 20)));
    let packet = sections(6, &[("63 ff ffff", &[vec![0; 1020]])]);
    assert_eq!(error(&packet, 0), (1, short(1044, 1020, 0)));
    let packet = sections(5, &[("04 00 ffff", &[compressed()])]);
    assert_eq!(error(&packet, 0), (1, short(108, 84, 0)));
}

#[test]
fn messages_shorter_than_their_action_are_passed_over() {
    for (subheader, messages, action, len) in [
        ("07 02 0002", vec![vec![0; 8]; 2], 7, 8),
        ("0d 3c 0001", vec![state_240()], 13, 240),
        ("00 04 0001", vec![vec![0; 16]], 0, 16),
        ("0b 0b 0001", vec![vec![0; 44]], 11, 44),
    ] {
        let packet = sections(6, &[(subheader, &messages), ("07 03 0001", &[id()])]);
        assert_eq!(error(&packet, 0), (1, Error::Size { action, len }));
        // Nothing is read behind ones that reach beyond the end.
        let beyond = sections(6, &[(&subheader.replace(" 000", " 00f"), &messages)]);
        assert_eq!(error(&beyond, 0), (0, Error::Size { action, len }));
    }
}

#[test]
fn a_value_that_means_nothing_costs_its_message_only() {
    let wrong = [
        (236, "00000000", Invalid::Creatorid),
        (252, "00", Invalid::Direction),
        (252, "03", Invalid::Direction),
        (250, "0a", Invalid::Af),
        (62, "07", Invalid::Af),
        (102, "ff", Invalid::Af),
        (128, "0d", Invalid::PeerState),
        (160, "ff", Invalid::PeerState),
    ];
    for (at, octets, field) in wrong {
        // A key's own family hides the state's.
        let clear: &[_] = if at == 250 {
            &[(62, "00"), (102, "00")]
        } else {
            &[]
        };
        let bad = over(over(state_v6(), clear), &[(at, octets)]);
        let packet = sections(6, &[("0d 42 0003", &[state_v6(), bad, state_v6()])]);
        let offset = HEADER + SUBHEADER + 264;
        assert_eq!(
            error(&packet, 0),
            (2, Error::Value { field, offset }),
            "{at}"
        );
    }
    for at in [32, 64] {
        let bad = over(compressed(), &[(at, "0d")]);
        let packet = sections(6, &[("04 15 0002", &[bad, compressed()])]);
        let field = Invalid::PeerState;
        assert_eq!(error(&packet, 0), (1, Error::Value { field, offset: 24 }));
    }
    let bad = over(state_v2(), &[(216, "63")]);
    let packet = flat(2, 1, 2, &[bad, state_v2()]);
    let field = Invalid::Af;
    assert_eq!(error(&packet, 0), (1, Error::Value { field, offset: 4 }));
}

#[test]
fn the_first_of_several_errors_is_told() {
    let bad = over(compressed(), &[(32, "0d")]);
    let packet = sections(6, &[("04 15 0002", &[bad]), ("07 03 0001", &[vec![0; 4]])]);
    let field = Invalid::PeerState;
    assert_eq!(error(&packet, 0).1, Error::Value { field, offset: 24 });
}

#[test]
fn errors_say_what_and_where() {
    let cases = [
        (Error::Header { have: 3 }, "3 octets are no pfsync header"),
        (Error::Version(9), "unknown version 9"),
        (
            Error::Length { len: 9, have: 30 },
            "header says 9 octets, there are 30",
        ),
        (Error::Subheader { offset: 20 }, "bad subheader at 20"),
        (
            Error::Action {
                action: 8,
                offset: 36,
            },
            "unknown action 8 at 36",
        ),
        (
            Error::Messages {
                offset: 24,
                need: 84,
                have: 9,
            },
            "message at 24 needs 84 octets, there are 9",
        ),
        (
            Error::Size { action: 7, len: 8 },
            "messages of 8 octets are too short for action 7",
        ),
        (
            Error::Value {
                field: Invalid::Af,
                offset: 24,
            },
            "bad address family in the message at 24",
        ),
        (Error::Cut { missing: 5 }, "5 octets were not captured"),
    ];
    for (error, text) in cases {
        assert_eq!(error.to_string(), text);
    }
}
