//! Times with and without a boot, tuples of translated states, records.

use super::times::V5_SECONDS;
use super::*;
use crate::state::{Address, StateKey};
use crate::time::{Now, Wall};

const BOOT: Wall = Wall::new(1_700_000_000, 0);

fn at(uptime: i64) -> Now {
    Now::with_boot(Wall::new(1_700_000_000 + uptime, 500_000_000), BOOT)
}

fn key(af: Af, proto: u8, far: u8, near: u8, port: [u16; 2]) -> StateKey {
    let address = |n| Address([n; 16]);
    StateKey {
        af,
        proto,
        rdomain: 0,
        addr: [address(far), address(near)],
        port,
    }
}

#[test]
fn the_interface_of_a_direction_that_no_packet_went_is_not_known() {
    let wire = key(Af::Inet, 17, 1, 2, [10, 20]);
    let flow = |direction, octets| Flow {
        id: StateId {
            id: 1,
            creatorid: 1,
        },
        direction,
        ifname: IfName::from("em0"),
        pflow: true,
        tuple: Tuple::of(&wire, 0),
        translated: None,
        packets: [1, 1],
        octets,
        times: Times::new(1, 2, at(3), Boot::Known),
        end: End::Deleted,
        quality: Quality::Exact,
        detail: None,
        only: None,
    };
    let both = |direction, octets| {
        let flow = flow(direction, octets);
        [false, true].map(|reverse| flow.interfaces(&Passage::of_state(7), reverse))
    };
    assert_eq!(both(Direction::In, [60, 60]), [[7, 7], [7, 7]]);
    assert_eq!(both(Direction::In, [60, 0])[0], [7, 0]);
    assert_eq!(both(Direction::In, [0, 60])[1], [7, 0]);
    assert_eq!(both(Direction::Out, [60, 0])[0], [0, 7]);
    assert_eq!(both(Direction::Out, [0, 60])[1], [0, 7]);
    assert_eq!(
        flow(Direction::In, [60, 60]).interfaces(&Passage::of_state(0), false),
        [0, 0]
    );
}

#[test]
fn created_before_boot_is_boot_if_boot_is_known() {
    let times = Times::new(-50, 10, at(100), Boot::Known);
    assert_eq!(times.uptimes(), (0, 10));
    assert_eq!(
        (times.start_ms(), times.end_ms()),
        (1_700_000_000_000, 1_700_000_010_000)
    );
}

#[test]
fn ended_before_boot_is_boot_if_boot_is_known() {
    let times = Times::new(-50, -10, at(100), Boot::Known);
    assert_eq!(times.uptimes(), (0, 0));
    assert_eq!(
        (times.start_ms(), times.end_ms()),
        (1_700_000_000_000, 1_700_000_000_000)
    );
}

#[test]
fn a_boot_at_another_uptime_clamps_likewise() {
    let times = |creation, last| {
        let times = Times::new(creation, last, at(100), Boot::At(20));
        (times.uptimes(), times.is_clamped())
    };
    assert_eq!(times(30, 40), ((30, 40), false));
    assert_eq!(times(10, 40), ((20, 40), true));
    assert_eq!(times(10, 15), ((20, 20), true));
    assert_eq!(times(40, 30), ((20, 30), true));
}

#[test]
fn created_after_the_last_packet_is_boot_if_boot_is_known() {
    let times = Times::new(40, 30, at(100), Boot::Known);
    assert_eq!(times.uptimes(), (0, 30));
    assert_eq!(
        (times.start_ms(), times.end_ms()),
        (1_700_000_000_000, 1_700_000_030_000)
    );
}

#[test]
fn a_replay_that_knows_no_boot_clamps_nothing_in_ipfix() {
    let times = Times::new(-50, -10, at(100), Boot::Unknown);
    assert_eq!(
        (times.start_ms(), times.end_ms()),
        (1_699_999_950_000, 1_699_999_990_000)
    );
    assert_eq!(
        times.uptimes(),
        (0, 0),
        "v5 cannot hold what is before its zero"
    );
    let times = Times::new(40, 30, at(100), Boot::Unknown);
    assert_eq!(
        (times.start_ms(), times.end_ms()),
        (1_700_000_030_000, 1_700_000_030_000)
    );
}

#[test]
fn without_a_boot_v5_keeps_to_what_32_bits_hold() {
    let late = 2 * V5_SECONDS;
    let times = Times::new(5, late - 10, at(late), Boot::Unknown);
    assert_eq!(times.uptimes().0, late - V5_SECONDS + 1);
    assert_eq!(times.start_ms(), 1_700_000_005_000);
}

#[test]
fn an_end_after_now_is_now_and_ages_beyond_the_epoch_are_the_epoch() {
    let times = Times::new(90, 200, at(100), Boot::Known);
    assert_eq!(times.uptimes(), (90, 100));
    let times = Times::new(i64::MIN / 2, 1, at(100), Boot::Unknown);
    assert_eq!(times.start_ms(), 0);
}

#[test]
fn an_in_state_shows_its_wire_key_and_an_out_state_its_stack_key() {
    let wire = key(Af::Inet, 6, 1, 2, [10, 20]);
    let stack = key(Af::Inet, 6, 1, 3, [10, 30]);
    let (before, after) = tuples(Direction::In, &wire, &stack);
    assert_eq!(
        (before.src.0[0], before.dst.0[0], before.sport, before.dport),
        (1, 2, 10, 20)
    );
    let after = after.unwrap();
    assert_eq!(
        (after.src.0[0], after.dst.0[0], after.sport, after.dport),
        (1, 3, 10, 30)
    );
    let (before, after) = tuples(Direction::Out, &wire, &stack);
    assert_eq!(
        (before.src.0[0], before.dst.0[0], before.sport, before.dport),
        (3, 1, 30, 10)
    );
    assert_eq!(after.unwrap().src.0[0], 2);
    assert!(tuples(Direction::In, &wire, &wire).1.is_none());
}

#[test]
fn an_af_to_state_has_its_translated_ends_swapped() {
    let wire = key(Af::Inet6, 58, 1, 2, [77, 128]);
    let stack = key(Af::Inet, 1, 9, 8, [8, 77]);
    let (before, after) = tuples(Direction::In, &wire, &stack);
    assert_eq!((before.src.0[0], before.dst.0[0]), (1, 2));
    let after = after.unwrap();
    assert_eq!((after.src.0[0], after.dst.0[0], after.proto), (8, 9, 1));
    assert_eq!((after.sport, after.dport), (77, 8));
}
