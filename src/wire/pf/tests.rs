//! States of both systems, and what becomes of them.

use byteorder::LittleEndian;
use proptest::prelude::*;

use super::frames::{Answer, MAX_IDS, MAX_OCTETS, read_request, write_requests};
use super::room::ROOM;
use super::*;
use crate::state::{Address, Direction, IfName};
use crate::wire::pfsync::Invalid;

/// A struct with another number in each octet of a field that is not 0.
fn export<E: ByteOrder>() -> Vec<u8> {
    let mut octets = vec![0; export::LEN];
    for (at, octet) in octets.iter_mut().enumerate() {
        let mut fields = export::FIELDS.iter();
        if fields.any(|(from, _, len)| (*from..from + len).contains(&at)) {
            *octet = u8::try_from(at % 251).unwrap();
        }
    }
    E::write_u64(&mut octets[export::VERSION..], export::KNOWN_VERSION);
    for (n, counter) in [3, 1 << 40, 5_000_000_001, 7].into_iter().enumerate() {
        E::write_u64(&mut octets[export::COUNTERS + 8 * n..], counter);
    }
    octets[16..32].copy_from_slice(b"all\0\0\0\0\0\0\0\0\0\0\0\0\0");
    octets[32..48].copy_from_slice(b"igb1\0\0\0\0\0\0\0\0\0\0\0\0");
    octets[export::AF] = 2;
    octets[265] = 6; // proto
    octets[266] = 2; // direction
    octets[269] = 4; // timeout
    octets[144] = 4; // src.state
    octets[176] = 9; // dst.state
    octets
}

#[test]
fn a_state_of_freebsd_is_read_field_by_field_on_hosts_of_both_byte_orders() {
    for octets in [export::<LittleEndian>(), export::<BigEndian>()] {
        let is_big = octets[0] == 0;
        let mut room = Room::default();
        let state = match is_big {
            true => read_in::<BigEndian>(Form::FreeBsd, &octets, None, &mut room),
            false => read_in::<LittleEndian>(Form::FreeBsd, &octets, None, &mut room),
        };
        let state = state.unwrap();
        let be = |at: usize| BigEndian::read_u32(&octets[at..]);
        assert_eq!(Some(state.state_id()), Form::FreeBsd.state_id(&octets));
        assert_eq!(state.state_id().creatorid, be(256));
        assert_eq!(state.packets(), [3, 1 << 40]);
        assert_eq!(state.octets(), [5_000_000_001, 7]);
        assert_eq!(state.ifname(), IfName::from("all"));
        assert_eq!(state.orig_ifname(), Some(IfName::from("igb1")));
        assert_eq!(state.values().ifname.0, *b"igb1\0\0\0\0\0\0\0\0\0\0\0\0");
        assert_eq!(state.direction(), Some(Direction::Out));
        assert_eq!((state.age(), state.expire()), (be(212), be(216)));
        let rules = (state.rule(), state.anchor(), state.nat_rule());
        assert_eq!(rules, (be(200), be(204), be(208)));
        assert_eq!((state.proto(), state.timeout()), (6, 4));
        assert_eq!(state.log(), 16);
        assert_eq!(state.state_flags(), Some(u16::from_be_bytes([21, 22])));
        assert_eq!(state.queues().unwrap()[3], u16::from_be_bytes([29, 30]));
        assert_eq!(state.rtableid()[0], Some(be(284)));
        assert_eq!((state.min_ttl(), state.set_tos()), (Some(37), Some(38)));
        assert_eq!(state.max_mss(), Some(u16::from_be_bytes([39, 40])));
        assert_eq!((state.set_prio(), state.rt()), (Some([41, 42]), Some(43)));
        assert_eq!(state.rt_ifname().unwrap().as_bytes()[0], 44);
        let (wire, stack) = (state.wire_key(), state.stack_key());
        let v4 = |at: usize| Address::from_v4(octets[at..at + 4].try_into().unwrap());
        assert_eq!((wire.addr, wire.port), ([v4(48), v4(64)], [0x5051, 0x5253]));
        assert_eq!(stack.addr, [v4(84), v4(100)]);
        assert_eq!((state.src().state(), state.dst().state()), (4, 9));
    }
}

#[test]
fn the_family_of_the_key_stack_is_that_of_the_state_known() {
    let octets = export::<NativeEndian>();
    for (known, expected) in [
        (None, Af::Inet),
        (Some(Af::Inet), Af::Inet),
        (Some(Af::Inet6), Af::Inet6),
    ] {
        let mut room = Room::default();
        let state = read(Form::FreeBsd, &octets, known, &mut room).unwrap();
        assert_eq!(
            (state.wire_key().af, state.stack_key().af),
            (Af::Inet, expected)
        );
    }
}

#[test]
fn another_version_or_length_and_impossible_values_are_no_state() {
    let good = export::<NativeEndian>();
    let problem = |octets: &[u8]| {
        let mut room = Room::default();
        read(Form::FreeBsd, octets, None, &mut room).err()
    };
    assert_eq!(problem(&good), None);
    let mut other = good.clone();
    NativeEndian::write_u64(&mut other, 20_210_706);
    assert_eq!(problem(&other), Some(Problem::Version(20_210_706)));
    for (at, value, invalid) in [
        (264, 7, Invalid::Af),
        (266, 3, Invalid::Direction),
        (144, 99, Invalid::PeerState),
    ] {
        let mut octets = good.clone();
        octets[at] = value;
        assert_eq!(problem(&octets), Some(Problem::Invalid(invalid)), "{at}");
    }
    let mut nobodys = good.clone();
    nobodys[256..260].fill(0);
    assert_eq!(
        problem(&nobodys),
        Some(Problem::Invalid(Invalid::Creatorid))
    );
    for len in 0..good.len() {
        assert_eq!(problem(&good[..len]), Some(Problem::Length { have: len }));
    }
}

#[test]
fn openbsd_tells_a_state_as_the_wire_does() {
    let mut octets = vec![0; 264];
    octets[0..8].copy_from_slice(&77_u64.to_be_bytes());
    octets[236..240].copy_from_slice(&9_u32.to_be_bytes());
    octets[228..236].copy_from_slice(&5_000_000_000_u64.to_be_bytes());
    (octets[250], octets[251], octets[252]) = (24, 17, 1);
    let mut room = Room::default();
    let state = read(Form::OpenBsd, &octets, None, &mut room).unwrap();
    assert_eq!(
        state.state_id(),
        StateId {
            id: 77,
            creatorid: 9
        }
    );
    assert_eq!(Form::OpenBsd.state_id(&octets), Some(state.state_id()));
    assert_eq!(state.octets(), [0, 5_000_000_000]);
    assert_eq!(state.wire_key().af, Af::Inet6);
    octets.push(0);
    let problem = read(Form::OpenBsd, &octets, None, &mut room).err();
    assert_eq!(problem, Some(Problem::Length { have: 265 }));
}

#[test]
fn no_field_is_written_over_another_or_beyond_the_end() {
    let mut used = vec![0_u8; ROOM];
    let mut from = vec![0_u8; export::LEN];
    for (at, to, len) in export::FIELDS {
        used[to..to + len].iter_mut().for_each(|octet| *octet += 1);
        from[at..at + len].iter_mut().for_each(|octet| *octet += 1);
    }
    assert!(used.iter().all(|times| *times <= 1));
    // `proto` is that of both keys.
    let twice = from.iter().position(|times| *times > 1);
    assert_eq!((twice, from[265]), (Some(265), 2));
}

fn ids(count: u64) -> Vec<StateId> {
    let id = |id| StateId { id, creatorid: 7 };
    (0..count).map(id).collect()
}

#[test]
fn requests_are_read_as_they_were_written_in_pieces_of_any_size() {
    let asked = ids(2 * MAX_IDS as u64 + 5);
    let mut octets = Vec::new();
    write_requests(&asked, &mut octets);
    let (mut read, mut start, mut requests) = (Vec::new(), 0, 0);
    while start < octets.len() {
        let end = (start..=octets.len())
            .find(|end| read_request(&octets[start..*end], &mut Vec::new()) != Ok(None));
        let rest = &octets[start..end.unwrap()];
        start += read_request(rest, &mut read).unwrap().unwrap();
        requests += 1;
    }
    assert_eq!((read, requests), (asked, 3));
}

#[test]
fn a_message_that_is_too_long_or_of_no_kind_is_refused_before_it_is_whole() {
    let header = |kind: u32, len: u32| [kind.to_be_bytes(), len.to_be_bytes()].concat();
    for (kind, len) in [
        (0, 0),
        (7, 12),
        (1, 0),
        (1, 13),
        (1, u32::try_from(MAX_OCTETS).unwrap() + 12),
        (2, 384),
        (3, 264),
        (4, 11),
        (5, 17),
        (6, 513),
        (6, u32::MAX),
    ] {
        assert!(Answer::read(&header(kind, len)).is_err(), "{kind} {len}");
        assert!(read_request(&header(kind, len), &mut Vec::new()).is_err());
    }
    // Neither side takes what only itself may say.
    assert!(Answer::read(&[header(1, 12), vec![0; 12]].concat()).is_err());
    assert!(read_request(&[header(4, 12), vec![0; 12]].concat(), &mut Vec::new()).is_err());
    // Text that is none.
    assert!(Answer::read(&[header(6, 1), vec![0xff]].concat()).is_err());
}

#[test]
fn a_long_problem_is_cut_between_two_characters() {
    let long = "\u{e4}".repeat(600);
    let mut octets = Vec::new();
    Answer::Failed(&long).write(&mut octets);
    let (answer, taken) = Answer::read(&octets).unwrap().unwrap();
    assert_eq!(answer, Answer::Failed(&long[..512]));
    assert_eq!(taken, octets.len());
}

proptest! {
    #[test]
    fn answers_are_read_as_they_were_written(
        kinds in prop::collection::vec((0_u8..5, any::<u64>(), any::<u32>()), 1..20),
    ) {
        let state = [vec![3; 264], vec![5; 384]];
        let answers: Vec<_> = kinds.iter().map(|(kind, id, creatorid)| match kind {
            0 => Answer::State(Form::OpenBsd, &state[0]),
            1 => Answer::State(Form::FreeBsd, &state[1]),
            2 => Answer::Gone(StateId { id: *id, creatorid: *creatorid }),
            3 => Answer::Read { states: *id, nanos: 17 },
            _ => Answer::Failed("pf went away"),
        }).collect();
        let mut octets = Vec::new();
        for answer in &answers {
            answer.write(&mut octets);
        }
        let (mut rest, mut read) = (&octets[..], Vec::new());
        while let Some((answer, taken)) = Answer::read(rest).unwrap() {
            for len in 0..taken {
                prop_assert_eq!(Answer::read(&rest[..len]), Ok(None));
            }
            read.push(answer);
            rest = &rest[taken..];
        }
        prop_assert_eq!(read, answers);
        prop_assert!(rest.is_empty());
    }

    #[test]
    fn any_octets_are_a_state_or_none(
        form in prop::sample::select(Form::ALL),
        flips in prop::collection::vec((0_usize..384, any::<u8>()), 0..40),
        stack in prop::option::of(prop::sample::select(vec![Af::Inet, Af::Inet6])),
    ) {
        let mut octets = export::<NativeEndian>();
        octets.truncate(form.octets());
        for (at, octet) in flips {
            let len = octets.len();
            octets[at % len] = octet;
        }
        let mut room = Room::default();
        if let Ok(state) = read(form, &octets, stack, &mut room) {
            prop_assert_eq!(Some(state.values().id), form.state_id(&octets));
        }
    }
}
