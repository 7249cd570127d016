//! What each dialect's state says.

use super::*;

#[test]
fn a_state_of_v2_has_counters_of_32_bits_and_no_flags() {
    states(&flat(2, 1, 1, &[state_v2()]), 1, |state| {
        check_common(&state);
        check_counters(&state, ([2, 3], [5, 6]));
        assert_eq!((state.state_flags(), state.pflow()), (None, None));
        assert_eq!((state.sync_flags(), state.updates()), (Some(4), Some(5)));
    });
}

#[test]
fn a_state_of_v3_has_counters_of_64_bits_and_no_flags() {
    states(&flat(3, 2, 1, &[state_v3()]), 1, |state| {
        check_common(&state);
        check_counters(&state, COUNTED);
        assert_eq!((state.state_flags(), state.pflow()), (None, None));
        assert_eq!((state.sync_flags(), state.updates()), (Some(4), Some(5)));
    });
}

#[test]
fn lan_and_gwy_are_the_near_ends_whatever_the_direction() {
    for (version, state) in [(2, state_v2()), (3, state_v3())] {
        let at = if version == 2 { 218 } else { 234 };
        let incoming = over(state, &[(at, "01")]);
        states(&flat(version, 1, 1, &[incoming]), 1, |state| {
            assert_eq!(state.direction(), Some(Direction::In));
            assert_eq!(state.wire_key().port, [443, 51000]);
            assert_eq!(state.stack_key().port, [443, 40000]);
        });
    }
}

#[test]
fn states_of_240_octets_carry_pflow_in_v5_only() {
    let carriers = [
        (flat(4, 1, 1, &[state_240()]), None),
        (v5(1, &[state_240()], 0), Some(true)),
        (v5(1, &[over(state_240(), &[(236, "0b")])], 20), Some(false)),
    ];
    for (packet, pflow) in carriers {
        states(&packet, 1, |state| {
            check_common(&state);
            check_counters(&state, COUNTED);
            assert_eq!(state.pflow(), pflow);
            assert_eq!((state.sync_flags(), state.updates()), (Some(4), Some(5)));
            assert_eq!((state.rt(), state.max_mss()), (None, None));
        });
    }
}

#[test]
fn states_of_242_octets_carry_pflow_in_freebsd_9_only() {
    for (stale, pflow) in [(20, Some(true)), (0, None)] {
        states(&v5(1, &[state_242()], stale), 1, |state| {
            check_common(&state);
            check_counters(&state, COUNTED);
            assert_eq!((state.state_flags(), state.pflow()), (Some(4), pflow));
            assert_eq!((state.sync_flags(), state.updates()), (Some(4), Some(5)));
        });
    }
}

/// What FreeBSD 14 added and 15 moved.
fn check_freebsd_14(state: &State<'_>) {
    check_common(state);
    check_counters(state, COUNTED);
    assert_eq!((state.state_flags(), state.pflow()), (Some(0x8004), None));
    assert_eq!(state.queues(), Some([7, 8, 9, 10]));
    assert_eq!(state.rtableid(), [Some(3), None]);
    assert_eq!((state.min_ttl(), state.set_tos()), (Some(64), Some(16)));
    assert_eq!(
        (state.max_mss(), state.set_prio()),
        (Some(1440), Some([1, 2]))
    );
    assert_eq!(
        (state.rt(), state.rt_ifname()),
        (Some(2), Some(IfName::from("em2")))
    );
}

#[test]
fn a_state_of_freebsd_14_has_what_is_behind_the_older_one() {
    states(&v5(14, &[state_1400(), state_1400()], 0), 2, |state| {
        check_freebsd_14(&state);
        assert_eq!((state.sync_flags(), state.updates()), (Some(4), Some(5)));
        assert_eq!((state.orig_ifname(), state.tagname()), (None, None));
    });
}

#[test]
fn a_state_of_freebsd_15_has_its_own_tail() {
    states(&v5(15, &[state_1500()], 0), 1, |state| {
        check_freebsd_14(&state);
        assert_eq!((state.sync_flags(), state.updates()), (None, None));
        assert_eq!(state.orig_ifname(), Some(IfName::from("em3")));
        assert_eq!(state.tagname(), Some(&b"tag"[..]));
    });
    // A family and a protocol of each key: NAT64 of an echo.
    let afto = [(344, "1c 02 02 3a 01")];
    states(&v5(15, &[over(state_1500(), &afto)], 0), 1, |state| {
        let (wire, stack) = (state.wire_key(), state.stack_key());
        assert_eq!((wire.af, wire.proto), (Af::Inet6, 58));
        assert_eq!((stack.af, stack.proto), (Af::Inet, 1));
    });
}

#[test]
fn a_state_of_v6_has_rdomains_and_two_routing_tables() {
    states(&sections(6, &[("0d 42 0001", &[state_v6()])]), 1, |state| {
        check_common(&state);
        check_counters(&state, COUNTED);
        assert_eq!(
            (state.state_flags(), state.pflow()),
            (Some(0x0204), Some(true))
        );
        assert_eq!(
            (state.rt(), state.rtableid()),
            (Some(2), [Some(1), Some(2)])
        );
        assert_eq!((state.max_mss(), state.min_ttl()), (Some(1440), Some(64)));
        assert_eq!(
            (state.set_tos(), state.set_prio()),
            (Some(16), Some([1, 2]))
        );
        assert_eq!((state.sync_flags(), state.updates()), (Some(4), Some(5)));
    });
}

/// v6 with `fields` changed.
fn one_v6(fields: &[(usize, &str)]) -> Vec<u8> {
    sections(6, &[("0e 42 0001", &[over(state_v6(), fields)])])
}

#[test]
fn flags_of_v6_are_at_254_before_5_3_and_at_260_since_5_0_and_rt_is_none() {
    // What is at 254 and 260, and then flags and rt. 4.7 to 4.9; 5.0 to 5.2; 5.3; 6.9.
    let cases = [
        ("05", "0000", 0x0005, None),
        ("04", "0000", 0x0004, None),
        ("07", "0407", 0x0407, None),
        ("00", "0204", 0x0204, Some(0)),
        ("02", "0004", 0x0004, Some(2)),
        ("03", "0000", 0x0000, Some(3)),
    ];
    for (narrow, wide, flags, rt) in cases {
        states(&one_v6(&[(254, narrow), (260, wide)]), 1, |state| {
            assert_eq!(
                (state.state_flags(), state.rt()),
                (Some(flags), rt),
                "{narrow} {wide}"
            );
            assert_eq!(state.pflow(), Some(flags & 4 != 0));
        });
    }
}

#[test]
fn a_key_of_v6_without_its_own_family_has_the_states() {
    let unset = [(62, "00"), (102, "00")];
    states(&one_v6(&unset), 1, |state| check_common(&state));
    for inet6 in ["18", "1c", "1e"] {
        let unset = [&unset[..], &[(250, inet6)]].concat();
        states(&one_v6(&unset), 1, |state| {
            assert_eq!(
                (state.wire_key().af, state.stack_key().af),
                (Af::Inet6, Af::Inet6)
            );
        });
    }
    // 5.1 and later: WIRE is IPv6, STACK IPv4, and an echo changes its protocol.
    let afto = [(62, "18"), (250, "18 3a")];
    states(&one_v6(&afto), 1, |state| {
        let (wire, stack) = (state.wire_key(), state.stack_key());
        assert_eq!((wire.af, wire.proto), (Af::Inet6, 58));
        assert_eq!((stack.af, stack.proto), (Af::Inet, 1));
        assert!(!state.is_untranslated());
    });
}

#[test]
fn equal_keys_are_untranslated_and_an_rdomain_is_a_translation() {
    let same = [(80, NAT), (98, "c738"), (100, "0000")];
    states(&one_v6(&same), 1, |state| assert!(state.is_untranslated()));
    let moved = [&same[..], &[(100, "0003")]].concat();
    states(&one_v6(&moved), 1, |state| {
        assert!(!state.is_untranslated())
    });
}

/// The peer states of TCP, UDP and SCTP that a packet may have, by dialect: 256 each.
fn allowed(dialect: Dialect, state: Vec<u8>, proto_at: usize) -> [Vec<u8>; 3] {
    [6, 17, 132].map(|proto| {
        let is_allowed = |value: &u8| {
            let mut octets = state.clone();
            octets[proto_at] = proto;
            for peer in [dialect.layout().src, dialect.layout().dst] {
                octets[peer + 24] = *value;
            }
            State::new(dialect, &octets).unwrap().check().is_ok()
        };
        (0..=255).filter(is_allowed).collect()
    })
}

#[test]
fn a_peer_state_is_refused_where_its_protocol_does_not_have_it_in_its_dialect() {
    let common: Vec<u8> = (0..=12).collect();
    let sctp = [&common[..], &[0x10, 0x20, 0x40, 0x80]].concat();
    let dragonfly: Vec<u8> = (0..=13).collect();
    for (dialect, state, proto_at) in [
        (Dialect::FreeBsd9, state_242(), 233),
        (Dialect::FreeBsd1301, state_242(), 233),
        (Dialect::FreeBsd1400, state_1400(), 233),
        (Dialect::FreeBsd1500, state_1500(), 347),
    ] {
        let allowed = allowed(dialect, state, proto_at);
        assert_eq!(allowed, [&common, &common, &sctp].map(Clone::clone));
    }
    for (dialect, state) in [
        (Dialect::DragonFly2, state_240()),
        (Dialect::DragonFly4, state_300()),
    ] {
        let allowed = allowed(dialect, state, 233);
        assert_eq!(allowed, [&dragonfly, &common, &common].map(Clone::clone));
    }
    for (dialect, state, proto_at) in [
        (Dialect::V4, state_240(), 233),
        (Dialect::OpenBsd45, state_240(), 233),
        (Dialect::OpenBsd47, state_v6(), 251),
    ] {
        let allowed = allowed(dialect, state, proto_at);
        assert_eq!(allowed, [&common, &common, &common].map(Clone::clone));
    }
}

#[test]
fn in_upd_c_the_timeout_tells_whose_a_peer_state_is() {
    let is_read = |dialect, state: &'static str, timeout: &'static str| {
        let update = over(compressed(), &[(8 + 24, state), (80, timeout)]);
        let packet = match dialect {
            Dialect::OpenBsd47 => sections(6, &[("04 15 0001", &[update])]),
            dialect if dialect.is_modern() => v5(4, &[update], 0),
            _ => flat(4, 4, 1, &[pad(update, 4)]),
        };
        decode(&packet, 0, Some(dialect), &mut |_, _| ())
            .result
            .is_ok()
    };
    for dialect in [
        Dialect::FreeBsd1301,
        Dialect::FreeBsd1400,
        Dialect::FreeBsd1500,
    ] {
        for state in ["10", "20", "40", "80"] {
            assert!(is_read(dialect, state, "14"));
            assert!(is_read(dialect, state, "18"));
            // Dead, of any protocol.
            assert!(is_read(dialect, state, "1a"));
            assert!(!is_read(dialect, state, "02"));
            assert!(!is_read(dialect, state, "08"));
        }
        assert!(!is_read(dialect, "30", "16"));
    }
    assert!(is_read(Dialect::DragonFly4, "0d", "02"));
    assert!(!is_read(Dialect::DragonFly4, "0e", "02"));
    for dialect in [Dialect::OpenBsd45, Dialect::OpenBsd47] {
        assert!(!is_read(dialect, "80", "16"));
        assert!(!is_read(dialect, "0d", "02"));
    }
}

#[test]
fn peer_states_have_the_names_that_the_senders_pfctl_gives_them() {
    let name = |dialect, state, proto, timeout| {
        let mut octets = [0; Peer::LEN];
        octets[24] = state;
        Peer::new(&octets, dialect).state_name(proto, timeout)
    };
    for (dialect, shift) in [
        (Dialect::V4, 0),
        (Dialect::DragonFly2, 1),
        (Dialect::DragonFly4, 1),
    ] {
        assert_eq!(name(dialect, 4 + shift, 6, 2), Some("ESTABLISHED"));
        assert_eq!(name(dialect, 10 + shift, 6, 2), Some("TIME_WAIT"));
        assert_eq!(name(dialect, 12 + shift, 6, 2), Some("PROXY_DST"));
        assert_eq!(name(dialect, 2, 17, 8), Some("MULTIPLE"));
    }
    for dialect in [
        Dialect::FreeBsd1301,
        Dialect::FreeBsd1400,
        Dialect::FreeBsd1500,
    ] {
        for (state, word) in SCTP_STATES {
            assert_eq!(name(dialect, state, 132, 22), Some(word));
        }
        assert_eq!(name(dialect, 1, 132, 22), None);
        // Earlier releases treat SCTP as they do what they do not know.
        assert_eq!(name(dialect, 1, 132, 12), Some("SINGLE"));
    }
    assert_eq!(name(Dialect::OpenBsd47, 2, 132, 13), Some("MULTIPLE"));
}

#[test]
fn a_floating_state_is_on_the_interface_that_it_was_made_on() {
    let of = |fields: &[_]| {
        let octets = over(state_1500(), fields);
        let state = State::new(Dialect::FreeBsd1500, &octets).unwrap();
        (IfName::from(state.values().ifname), state.ifname())
    };
    let (all, em3) = (IfName::from("all"), IfName::from("em3"));
    const ALL: &str = "616c6c00 00000000 00000000 00000000";
    assert_eq!(of(&[(8, ALL)]), (em3, all));
    // What a kernel leaves behind the NUL is no part of the name.
    assert_eq!(of(&[(8, "616c6c00 deadbeef")]), (em3, all));
    assert_eq!(of(&[(8, ALL), (312, "00000000")]), (all, all));
    assert_eq!(of(&[]), (IfName::from("em1"), IfName::from("em1")));
}
