//! What each dialect puts where: headers, families, keys, flags, framings.

use super::*;

#[test]
fn pfsync0_comes_bare_or_with_an_ip_header_under_three_numbers() {
    for link in [18, 121, 246] {
        for from in [From::Bare(link), From::Header(link)] {
            for d in D::ALL {
                let mut run = Run::new();
                run.send(0, from, d, &[M::Upd(counted(1)), M::del_c(&counted(1))]);
                assert_eq!(run.flow().octets, [300, 2000], "{from:?} {d:?}");
                let senders = run.engine.table().senders();
                assert_eq!(senders.len(), 1, "{from:?}: all of it is local");
                assert_eq!(senders[0].sender, Sender::Local);
            }
        }
    }
    // Nothing but 1 to 6 and 0x45 is an answer.
    let mut run = Run::new();
    run.frame(0, LinkType(18), &[0x46; 40], 40);
    assert_eq!((run.reason("bad_version"), run.alive()), (1, 0));
}

#[test]
fn both_families_of_v5_are_told_apart() {
    for d in [D::Obsd45, D::Obsd46, D::Fbsd9, D::Fbsd1301] {
        for states in 1..=6 {
            let mut run = Run::new();
            let all: Vec<St> = (1..=states).map(counted).collect();
            let upd: Vec<M> = all.iter().copied().map(M::Upd).collect();
            let del: Vec<M> = all.iter().map(M::del_c).collect();
            run.send(0, A, d, &[upd, del].concat());
            let flows = run.flows();
            assert_eq!(ids(&flows), (1..=states).collect::<Vec<_>>(), "{d:?}");
            assert!(flows.iter().all(|flow| flow.octets == [300, 2000]));
            assert!(flows.iter().all(|flow| flow.dst == "198.51.100.7:443"));
        }
    }
}

#[test]
fn a_cut_v5_packet_is_read_as_its_sender_wrote_before() {
    for d in [D::Obsd45, D::Obsd46, D::Fbsd9, D::Fbsd1301] {
        let mut run = Run::new();
        run.send(0, A, d, &[M::Ins(counted(1)), M::Ins(counted(2))]);
        let three = [M::Upd(counted(3)), M::Upd(counted(4)), M::Upd(counted(5))];
        let (link, frame) = A.frame(&packets(d, &three)[0]);
        let cut = 14 + 20 + 20 + 4 + 2 * d.state_len() + 100;
        run.frame(1000, link, &frame[..cut], frame.len());
        assert_eq!((run.alive(), run.reason("cut")), (4, 1), "{d:?}");
        run.send(2000, A, d, &[M::del_c(&counted(4))]);
        assert_eq!(run.flow().octets, [300, 2000], "{d:?}");
        // One whole state makes sense in either size: only memory tells what its flags are.
        let plain = St {
            flags: 0,
            ..counted(6)
        };
        let (link, frame) = A.frame(&packets(d, &[M::Upd(plain), M::Upd(plain)])[0]);
        run.frame(
            3000,
            link,
            &frame[..34 + 24 + d.state_len() + 9],
            frame.len(),
        );
        run.send(4000, A, d, &[M::del_c(&plain)]);
        let is_exported = !d.carries_pflow();
        assert_eq!(run.flows().len(), usize::from(is_exported), "{d:?}");
        assert_eq!(run.counters().deleted, 2, "{d:?}");
    }
}

#[test]
fn actions_13_to_16_are_states_in_v5_and_v6_alike() {
    for d in [D::Fbsd1400, D::Fbsd1500, D::Obsd47, D::Obsd74] {
        let mut run = Run::new();
        let other = counted(2);
        run.send(
            0,
            A,
            d,
            &[M::Ins(counted(1)), M::Upd(other), M::Upd(counted(3))],
        );
        assert_eq!(run.messages(Action::Insert), 1, "{d:?}");
        assert_eq!(run.messages(Action::Update), 2, "{d:?}");
        run.send(1000, A, d, &[M::del_c(&other)]);
        assert_eq!(run.flow().octets, [300, 2000], "{d:?}");
    }
    // 15 is a state of 360 octets in v5 and a TDB of 52 in v6.
    let mut run = Run::new();
    run.send(0, A, D::Obsd74, &[M::Tdb]);
    assert_eq!(
        (run.messages(Action::Tdb), run.messages(Action::Insert)),
        (1, 0)
    );
}

#[test]
fn clr_and_bus_before_v5_carry_one_message_at_count_0() {
    for d in [D::V2, D::V3, D::V4] {
        let mut run = Run::new();
        run.send(0, A, d, &[M::Upd(counted(1))]);
        let (bus, clr) = (
            packets(d, &[M::Bus(CREATOR, 2)]),
            packets(d, &[M::clr(CREATOR)]),
        );
        assert_eq!((bus[0][3], clr[0][3]), (0, 0));
        run.packet(1000, A, &bus[0]);
        run.packet(2000, A, &clr[0]);
        assert_eq!(run.flow().octets, [300, 2000], "{d:?}");
        assert_eq!(
            (run.messages(Action::Clear), run.messages(Action::Bus)),
            (1, 1)
        );
        let (bus, _) = run.engine.table().senders()[1].bus.unwrap();
        assert_eq!(
            (bus.status, bus.creatorid, bus.endtime),
            (BusStatus::End, CREATOR, 7)
        );
    }
}

#[test]
fn what_follows_eof_is_nothing() {
    for d in [D::Obsd45, D::Fbsd9] {
        let mut run = Run::new();
        run.send(0, A, d, &[M::Upd(counted(1)), M::Iack(1, CREATOR)]);
        let counters = run.engine.packet_counters();
        assert_eq!((counters.whole, counters.messages()), (1, 2), "{d:?}");
        assert_eq!(run.alive(), 1);
        assert_eq!(eof(d).len(), 24);
    }
}

#[test]
fn freebsd_1400_has_flags_at_an_odd_place_and_states_of_277_octets() {
    let mut run = messages_json(Detail::VeryVerbose);
    let states = [0x4321, 0x8004].map(|flags| St {
        flags,
        log: 3,
        ..counted(u64::from(flags))
    });
    run.send(0, A, D::Fbsd1400, &states.map(M::Upd));
    let printed = printed(&mut run);
    let flags: Vec<_> = printed.iter().map(|m| m["state_flags"].as_u64()).collect();
    assert_eq!(flags, [Some(0x4321), Some(0x8004)]);
    assert!(printed.iter().all(|m| m["log"] == 3 && m["timeout"] == 2));
    run.send(1000, A, D::Fbsd1400, &states.map(|st| M::del_c(&st)));
    assert_eq!(run.engine.flow_counters().octets, 4600);
}

#[test]
fn every_systems_inet6_is_ipv6() {
    for d in D::ALL {
        for af in [24, 28, 30] {
            let mut run = Run::new();
            let st = St {
                af: Some(af),
                ..counted(1).keyed(v6_key())
            };
            run.send(0, A, d, &[M::Upd(st), M::del_c(&st)]);
            let flow = run.flow();
            assert_eq!(flow.src, "2001:db8::1:1000", "{d:?} {af}");
            assert_eq!((flow.dst.as_str(), flow.nat), ("2001:db8:1::2:53", None));
        }
        let mut run = Run::new();
        let linux = St {
            af: Some(10),
            ..counted(1).keyed(v6_key())
        };
        run.send(0, A, d, &[M::Upd(linux), M::Upd(counted(2))]);
        assert_eq!(
            run.alive(),
            1,
            "{d:?}: the one of no known family is passed over"
        );
    }
}

#[test]
fn an_empty_key_af_is_the_states() {
    for d in [D::Obsd47, D::Obsd50] {
        let st = counted(1).keyed(v6_key());
        let octets = M::Upd(st).write(d);
        assert_eq!((octets[24 + 38], octets[64 + 38], octets[250]), (0, 0, 24));
        let mut run = Run::new();
        run.send(0, A, d, &[M::Upd(st), M::del_c(&st)]);
        assert_eq!(run.flow().src, "2001:db8::1:1000");
    }
}

#[test]
fn af_to_swaps_the_ends_and_the_icmp() {
    for d in [D::Obsd51, D::Obsd53, D::Obsd74, D::Fbsd1500] {
        let mut run = Run::new();
        // IN: WIRE[0] is the source; STACK[1] the new source, STACK[0] the new destination.
        let tcp = St {
            wire: Key::new("2001:db8::1", 1000, "64:ff9b::c000:201", 80),
            stack: Key::new("192.0.2.1", 80, "203.0.113.5", 61000),
            ..counted(1)
        };
        let ping = St {
            id: 2,
            proto: 58,
            timeout: 9,
            wire: Key::new("2001:db8::1", 77, "64:ff9b::c000:201", 128),
            stack: Key::new("192.0.2.1", 8, "203.0.113.5", 78),
            ..counted(2)
        };
        run.send(
            0,
            A,
            d,
            &[M::Upd(tcp), M::Upd(ping), M::del_c(&tcp), M::del_c(&ping)],
        );
        let flows = run.flows();
        assert_eq!(flows.len(), 2);
        assert_eq!(flows[0].src, "2001:db8::1:1000");
        let nat = ("203.0.113.5:61000".to_owned(), "192.0.2.1:80".to_owned());
        assert_eq!(flows[0].nat, Some(nat), "{d:?}");
        assert_eq!((flows[1].proto, flows[1].icmp), (58, (Some(77), Some(128))));
        let nat = ("203.0.113.5:78".to_owned(), "192.0.2.1:8".to_owned());
        assert_eq!(flows[1].nat, Some(nat), "{d:?}");
    }
}

#[test]
fn af_to_of_an_out_state() {
    // OUT: STACK is before translation, its source at 1; WIRE is translated, its source at 0.
    let mut run = Run::new();
    let st = St {
        direction: OUT,
        stack: Key::new("192.0.2.80", 80, "10.1.1.1", 4000),
        wire: Key::new("2001:db8::5", 61000, "2001:db8::80", 80),
        ..counted(1)
    };
    run.send(0, A, RICH, &[M::Upd(st), M::del_c(&st)]);
    let flow = run.flow();
    assert_eq!(
        (flow.src.as_str(), flow.dst.as_str()),
        ("10.1.1.1:4000", "192.0.2.80:80")
    );
    let nat = ("2001:db8::5:61000".to_owned(), "2001:db8::80:80".to_owned());
    assert_eq!(flow.nat, Some(nat));
}

#[test]
fn dragonflys_flags_of_v4_do_not_hide_a_state() {
    for (n, flags) in [0, 0x04, 0x08, 0x0c].into_iter().enumerate() {
        let mut run = Run::new();
        let st = St {
            flags,
            ..counted(n as u64)
        };
        run.send(0, A, D::V4, &[M::Upd(st), M::del_c(&st)]);
        assert_eq!(run.flow().octets, [300, 2000]);
    }
}

#[test]
fn icmp_ports_go_out_as_the_key_has_them() {
    let ping = |ports: [u16; 2]| St {
        proto: 1,
        timeout: 9,
        ..counted(1).keyed(Key::new("192.0.2.1", ports[0], "198.51.100.7", ports[1]))
    };
    let exported = |d: D, st: St| {
        let mut run = Run::new();
        run.send(0, A, d, &[M::Upd(st), M::del_c(&st)]);
        run.flow()
    };
    for d in [D::Obsd46, D::Obsd74, D::Fbsd1400, D::Fbsd1500] {
        let flow = exported(d, ping([4660, 8]));
        assert_eq!(
            (flow.src.as_str(), flow.dst.as_str()),
            ("192.0.2.1:4660", "198.51.100.7:8")
        );
        assert_eq!(flow.icmp, (Some(4660), Some(8)), "{d:?}");
        // A state that a reply made.
        assert_eq!(
            exported(d, ping([8, 4660])).icmp,
            (Some(4660), Some(8)),
            "{d:?}"
        );
    }
    for d in [D::V4, D::Obsd45, D::Fbsd9, D::Fbsd1301] {
        let flow = exported(d, ping([4660, 4660]));
        assert_eq!(
            (flow.src.as_str(), flow.dst.as_str()),
            ("192.0.2.1:4660", "198.51.100.7:4660")
        );
        assert_eq!(flow.icmp, (Some(4660), None), "{d:?}");
    }
    // OpenBSD 3.8 to 4.3: ext.port is 0, the id in lan and gwy.
    for d in [D::V2, D::V3] {
        let flow = exported(d, ping([0, 4660]));
        assert_eq!(
            (flow.src.as_str(), flow.dst.as_str()),
            ("192.0.2.1:0", "198.51.100.7:4660")
        );
        assert_eq!(flow.icmp.0, Some(4660), "{d:?}");
    }
}

#[test]
fn every_framing_of_a_dialect_gives_the_same_flow() {
    for d in D::ALL {
        let mut flows = Vec::new();
        for from in [
            A,
            From::Vlan([10, 0, 0, 1]),
            From::Ether6,
            From::Raw([10, 0, 0, 1]),
            From::Raw6,
            PFSYNC0,
            From::Header(18),
        ] {
            let mut run = Run::new();
            run.send(0, from, d, &[M::Upd(nat_out(1)), M::del_c(&nat_out(1))]);
            flows.push(run.flow());
        }
        flows.dedup();
        assert_eq!(flows.len(), 1, "{d:?}: {flows:#?}");
    }
}
