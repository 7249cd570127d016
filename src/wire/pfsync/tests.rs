//! What must be read from packets made by hand, in every dialect.

#[path = "../../../tests/common/pfsync/mod.rs"]
pub(crate) mod builder;
mod built;
mod detection;
mod errors;
mod hand;
mod states;

use super::error::SUBHEADER;
use super::layout::Keys;
use super::*;
use crate::state::{Af, Direction, IfName, StateId, StateKey};
use builder::{D, M, packets as packets_of};
use hand::*;

pub(crate) use hand::{WORKED, octets};

/// Calls `each` with every message of `packet`, of which all must be good.
fn read(packet: &[u8], mut each: impl FnMut(Dialect, &Message<'_>)) {
    let outcome = decode(packet, 0, None, &mut |dialect, message| {
        each(dialect, &message)
    });
    assert_eq!(outcome.result, Ok(()));
}

/// Calls `each` with every state of `packet`, of which there must be `count`.
fn states(packet: &[u8], count: usize, mut each: impl FnMut(State<'_>)) {
    let mut seen = 0;
    read(packet, |_, message| match message {
        Message::Insert(state) | Message::Update(state) | Message::Delete(state) => {
            each(*state);
            seen += 1;
        }
        _ => {}
    });
    assert_eq!(seen, count);
}

fn key(af: Af, proto: u8, addr: [&str; 2], port: [u16; 2]) -> StateKey {
    let addr = addr.map(|ip| ip.parse::<std::net::IpAddr>().unwrap().into());
    StateKey {
        af,
        proto,
        rdomain: 0,
        addr,
        port,
    }
}

const STATE_ID: StateId = StateId {
    id: 0x0102_0304_0506_0708,
    creatorid: 0x5f3a_9c01,
};

/// What the state says in every dialect.
fn check_common(state: &State<'_>) {
    assert_eq!(state.state_id(), STATE_ID);
    assert_eq!(state.ifname(), IfName::from("em1"));
    assert_eq!(state.direction(), Some(Direction::Out));
    assert_eq!(state.proto(), 6);
    let (wire, mut stack) = (state.wire_key(), state.stack_key());
    let ends = |near, port| key(Af::Inet, 6, ["198.51.100.7", near], [443, port]);
    assert_eq!(wire, ends("203.0.113.5", 51000));
    assert_eq!(
        stack.rdomain,
        if state.dialect() == Dialect::OpenBsd47 {
            3
        } else {
            0
        }
    );
    stack.rdomain = 0;
    assert_eq!(stack, ends("192.168.1.10", 40000));
    assert!(!state.is_untranslated());
    let (src, dst) = (state.src(), state.dst());
    assert_eq!(
        (src.seqlo(), src.seqhi(), src.seqdiff()),
        (0x1111_1111, 0x2222_2222, 0x3333_3333)
    );
    assert_eq!(
        (src.max_win(), src.mss(), src.state(), src.wscale()),
        (65535, 1460, 4, 0x86)
    );
    assert_eq!(
        (dst.seqlo(), dst.seqhi(), dst.mss(), dst.state()),
        (0x4444_4444, 0x5555_5555, 1500, 9)
    );
    let scrub = Scrub {
        flags: 1,
        ttl: 64,
        ts_mod: 0x0102_0304,
    };
    assert_eq!(
        src.scrub(),
        (state.dialect() != Dialect::V2).then_some(scrub)
    );
    assert_eq!(dst.scrub(), None);
    assert_eq!(state.rt_addr().v4(), [192, 0, 2, 1]);
    assert_eq!(
        (state.rule(), state.anchor(), state.nat_rule()),
        (12, 3, u32::MAX)
    );
    assert_eq!((state.age(), state.expire()), (77, 119));
    assert_eq!((state.timeout(), state.log()), (2, 1));
}

const COUNTED: ([u64; 2], [u64; 2]) = ([0x1_0000_0002, 3], [0x4_0000_0005, 6]);

fn check_counters(state: &State<'_>, counted: ([u64; 2], [u64; 2])) {
    assert_eq!((state.packets(), state.octets()), counted);
}

#[test]
fn every_packet_has_its_dialect_and_its_messages() {
    for (packet, dialect, actions) in packets() {
        let mut seen = Vec::new();
        let outcome = decode(&packet, 0, None, &mut |of, message| {
            seen.push(message.action());
            assert_eq!(of, dialect);
        });
        assert_eq!((outcome.dialect, outcome.result), (Some(dialect), Ok(())));
        assert_eq!(seen, actions, "{dialect:?}");
    }
}

#[test]
fn what_is_not_a_state_has_its_values() {
    let mut seen = 0;
    read(&v6(), |_, message| {
        seen += 1;
        match message {
            Message::UpdateRequest(id) | Message::InsertAck(id) | Message::DeleteCompressed(id) => {
                assert_eq!(*id, STATE_ID);
            }
            Message::UpdateCompressed(update) => {
                assert_eq!(
                    (update.state, update.expire, update.timeout),
                    (STATE_ID, 119, 2)
                );
                assert_eq!((update.src.state(), update.dst.state()), (4, 9));
                assert_eq!((update.src.mss(), update.dst.mss()), (1460, 1500));
            }
            Message::Clear(clear) => {
                assert!(clear.ifname.is_empty());
                assert_eq!(clear.creatorid, 0x5f3a_9c01);
            }
            Message::Bus(bus) => {
                assert_eq!((bus.creatorid, bus.endtime), (0x5f3a_9c01, 3600));
                assert_eq!(bus.status, BusStatus::Start);
            }
            Message::Unknown { action, len } => assert_eq!((*action, *len), (99, 8)),
            Message::Insert(state) | Message::Update(state) | Message::Delete(state) => {
                check_common(state);
            }
            Message::Tdb(_) => {}
        }
    });
    assert_eq!(seen, 14);
}

#[test]
fn replay_counters_grew_to_64_bits_in_5_2() {
    let dst = Some((Af::Inet, std::net::IpAddr::from([192, 0, 2, 9]).into()));
    let mut rpls = Vec::new();
    read(&v6(), |_, message| {
        if let Message::Tdb(tdb) = message {
            assert_eq!((tdb.spi, tdb.dst), (0x1000, dst));
            assert_eq!((tdb.cur_bytes, tdb.sproto), (0x1_0000_0004, 50));
            assert_eq!((tdb.updates, tdb.rdomain), (5, 6));
            rpls.push(tdb.rpl);
        }
    });
    assert_eq!(rpls, [3, 0x2_0000_0003]);
    // The new number with the old size is nothing known.
    let odd = sections(6, &[("0f 0c 0001", &[tdb(48)])]);
    read(&odd, |_, message| {
        assert_eq!(message.action(), Action::Unknown)
    });
}

#[test]
fn clear_and_bus_of_old_versions_are_one_message_with_a_count_of_0() {
    for version in 2..=4 {
        for count in [0, 1, 7] {
            let mut seen = 0;
            read(
                &flat(version, 0, count, &[pad(clear(IFNAME), 4)]),
                |_, message| {
                    let Message::Clear(clear) = message else {
                        panic!("{:?}", message.action())
                    };
                    assert_eq!(clear.ifname, IfName::from("em1"));
                    seen += 1;
                },
            );
            read(
                &flat(version, 9, count, &[pad(bus("02"), 4)]),
                |_, message| {
                    let Message::Bus(bus) = message else {
                        panic!("{:?}", message.action())
                    };
                    assert_eq!(bus.status, BusStatus::End);
                    seen += 1;
                },
            );
            assert_eq!(seen, 2);
        }
    }
}

#[test]
fn the_worked_example_is_read_as_the_fact_sheet_says() {
    let id = |low: u64| StateId {
        id: 0x6553_f100_0000_0000 + low,
        creatorid: 0x5f3a_9c01,
    };
    let mut seen = Vec::new();
    read(&octets(WORKED), |_, message| {
        seen.push(message.action());
        match message {
            Message::UpdateCompressed(update) => {
                assert_eq!((update.state, update.timeout, update.expire), (id(2), 8, 0));
                assert_eq!(
                    (
                        update.src.state_name(17, update.timeout),
                        update.dst.state()
                    ),
                    (Some("MULTIPLE"), 2)
                );
            }
            Message::DeleteCompressed(deleted) => assert_eq!(*deleted, id(3)),
            Message::Insert(state) => {
                assert_eq!(
                    (state.state_id(), state.wire_name()),
                    (id(1), IfName::from("all").into())
                );
                let ends = |near, port| key(Af::Inet, 6, ["198.51.100.7", near], [443, port]);
                assert_eq!(state.wire_key(), ends("203.0.113.5", 51000));
                assert_eq!(state.stack_key(), ends("192.168.1.10", 40000));
                assert_eq!((state.rule(), state.anchor()), (12, u32::MAX));
                assert_eq!((state.age(), state.expire(), state.timeout()), (1, 119, 0));
                check_counters(state, ([1, 0], [60, 0]));
                assert_eq!((state.src().state(), state.dst().seqhi()), (2, 1));
                assert_eq!(
                    (state.max_mss(), state.rt(), state.pflow()),
                    (Some(1440), Some(0), Some(true))
                );
            }
            other => panic!("{:?}", other.action()),
        }
    });
    assert_eq!(
        seen,
        [
            Action::UpdateCompressed,
            Action::DeleteCompressed,
            Action::Insert
        ]
    );
}

/// Reads every field, which must not panic.
fn touch(message: &Message<'_>) {
    let _ = message.creatorid();
    let (Message::Insert(state) | Message::Update(state) | Message::Delete(state)) = message else {
        return;
    };
    let _ = (
        state.state_id(),
        state.wire_key(),
        state.stack_key(),
        state.is_untranslated(),
    );
    let _ = (
        state.ifname().to_string(),
        state.rt_addr(),
        state.packets(),
        state.octets(),
    );
    let _ = (
        state.state_flags(),
        state.pflow(),
        state.rt(),
        state.queues(),
        state.tagname(),
    );
    let _ = (
        state.src().scrub(),
        state.dst().state_name(state.proto(), state.timeout()),
    );
}

/// How many messages `packet` gives, and how its reading ended.
fn total(packet: &[u8], missing: usize, remembered: Option<Dialect>) -> (usize, Outcome) {
    let mut seen = 0;
    let outcome = decode(packet, missing, remembered, &mut |_, message| {
        touch(&message);
        seen += 1;
    });
    // No message of any dialect is shorter than a word, and all stand behind a header.
    assert!(
        seen <= packet.len().saturating_sub(HEADER_V2) / 4,
        "{seen} messages"
    );
    (seen, outcome)
}

#[test]
fn every_prefix_and_every_byte_flip_is_total() {
    for (mut packet, dialect, actions) in packets() {
        let stale = packet.len() - packet.iter().rposition(|octet| *octet != 0xee).unwrap() - 1;
        let is_v5 = dialect.version() == 5;
        for len in 0..packet.len() {
            let missing = packet.len() - len;
            let (seen, outcome) = total(&packet[..len], 0, None);
            // States of 300 octets can be cut to as many of 240.
            let is_shorter_v4 =
                dialect == Dialect::DragonFly4 && len >= HEADER + 240 * actions.len();
            assert!(
                outcome.result.is_err() || is_shorter_v4,
                "{dialect:?} {len}"
            );
            assert!(seen <= actions.len(), "{dialect:?} {len}");
            let (seen, outcome) = total(&packet[..len], missing, Some(dialect));
            assert!(seen <= actions.len(), "{dialect:?} {len}");
            // What follows the EOF is no loss.
            let is_whole = is_v5 && missing <= stale;
            assert_eq!(outcome.result.is_ok(), is_whole, "{dialect:?} {len}");
        }
        for at in 0..packet.len() {
            for flip in [0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0xff] {
                packet[at] ^= flip;
                total(&packet, 0, None);
                total(&packet, 3, Some(dialect));
                packet[at] ^= flip;
            }
        }
    }
}

#[test]
fn what_is_read_at_once_is_what_the_fields_say() {
    let mut dialects = Vec::new();
    let check = |state: &State<'_>| {
        let values = state.values();
        assert_eq!(values.dialect, state.dialect());
        assert_eq!(
            (values.id, values.ifname),
            (state.state_id(), state.wire_name())
        );
        assert_eq!(Some(values.direction), state.direction());
        assert_eq!(values.wire, state.wire_key());
        assert_eq!(values.stack.unwrap_or(values.wire), state.stack_key());
        assert_eq!(values.stack.is_none(), state.is_untranslated());
        assert_eq!((values.age, values.expire), (state.age(), state.expire()));
        assert_eq!(
            (values.packets, values.octets),
            (state.packets(), state.octets())
        );
        assert_eq!(
            (values.timeout, values.pflow),
            (state.timeout(), state.pflow())
        );
        assert_eq!(
            (values.max_mss, values.state_flags),
            (state.max_mss(), state.state_flags())
        );
        for (peer, of_state) in values.peers.into_iter().zip([state.src(), state.dst()]) {
            assert_eq!(
                (peer.state(), peer.seqlo()),
                (of_state.state(), of_state.seqlo())
            );
        }
    };
    for (packet, dialect, _) in packets() {
        read(&packet, |_, message| {
            if let Message::Insert(state) | Message::Update(state) | Message::Delete(state) =
                message
            {
                check(state);
                dialects.push(dialect);
                // The same state, not translated.
                if let Keys::Keys { wire, stack, .. } = state.layout.keys {
                    let mut octets = state.octets.to_vec();
                    octets.copy_within(wire..stack, stack);
                    let state = State::new(state.dialect(), &octets).unwrap();
                    assert!(state.is_untranslated());
                    check(&state);
                }
            }
        });
    }
    assert!(
        Dialect::ALL
            .iter()
            .all(|dialect| dialects.contains(dialect)),
        "{dialects:?}"
    );
}

/// Keeps what it is told, in order: the state that is coming, or that of a message.
#[derive(Default)]
struct Told(Vec<Result<StateId, StateId>>);

impl Listener for Told {
    fn begin(&mut self, _: Dialect, _: Action) -> bool {
        true
    }

    fn coming(&mut self, _: Action, id: StateId) {
        self.0.push(Err(id));
    }

    fn message(&mut self, _: Dialect, message: Message<'_>) {
        self.0.extend(match message {
            Message::Insert(state) | Message::Update(state) | Message::Delete(state) => {
                Some(Ok(state.state_id()))
            }
            Message::UpdateCompressed(update) => Some(Ok(update.state)),
            Message::DeleteCompressed(id) => Some(Ok(id)),
            _ => None,
        });
    }
}

#[test]
fn a_state_is_told_of_before_its_message_and_not_long_before() {
    for (packet, dialect, _) in packets() {
        let mut told = Told::default();
        decode_to(&packet, 0, None, Position::default(), &mut told);
        let coming: Vec<_> = told.0.iter().filter_map(|id| id.err()).collect();
        let came: Vec<_> = told.0.iter().filter_map(|id| id.ok()).collect();
        assert_eq!(coming, came, "{dialect:?}");
    }
    let count = 2 * AHEAD + 3;
    let deletes: Vec<M> = (0..count as u64).map(|id| M::DelC(id, 1)).collect();
    let packet = packets_of(D::Obsd74, &deletes).remove(0);
    let mut told = Told::default();
    assert_eq!(
        decode_to(&packet, 0, None, Position::default(), &mut told).result,
        Ok(())
    );
    let (mut coming, mut came) = (0, 0);
    for id in told.0 {
        match id {
            Err(id) => coming += u64::from(id.id == coming),
            Ok(id) => came += u64::from(id.id == came),
        }
        assert!((came..=came + AHEAD as u64).contains(&coming));
    }
    assert_eq!((coming, came), (count as u64, count as u64));
}
