//! What the tests' builder writes is what was written by hand, octet for octet. So a wrong offset of
//! the builder fails here, whatever the decoder makes of it.

use std::ops::Range;

use super::builder::{D, Key, M, Peer, St, UpdC, packets};
use super::*;

/// The state of these tests as the builder has it, with flags and rt as the dialect carries them.
fn built(d: D) -> St {
    let (flags, rt) = match d {
        D::Fbsd1400 | D::Fbsd1500 => (0x8004, 2),
        D::Obsd69 | D::Obsd74 => (0x0204, 2),
        _ => (4, 0),
    };
    let mut stack = Key::new("198.51.100.7", 443, "192.168.1.10", 40_000);
    if d.version() == 6 {
        stack.rdomain = 3;
    }
    St {
        ifname: octets(IFNAME).try_into().unwrap(),
        wire: Key::new("198.51.100.7", 443, "203.0.113.5", 51_000),
        stack,
        src: Peer {
            scrub: [0, 1, 0x40, 1, 1, 2, 3, 4],
            seqlo: 0x1111_1111,
            seqhi: 0x2222_2222,
            seqdiff: 0x3333_3333,
            max_win: 0xffff,
            mss: 1460,
            state: 4,
            wscale: 0x86,
            pad: [0; 6],
        },
        dst: Peer {
            seqlo: 0x4444_4444,
            seqhi: 0x5555_5555,
            max_win: 1,
            mss: 1500,
            state: 9,
            ..Peer::default()
        },
        rule: 12,
        anchor: 3,
        nat_rule: u32::MAX,
        age: 77,
        expire: 119,
        packets: [0x1_0000_0002, 3],
        octets: [0x4_0000_0005, 6],
        proto: 6,
        direction: 2,
        log: 1,
        flags,
        timeout: 2,
        sync_flags: 4,
        updates: 5,
        rt,
        ..St::blank(0x0102_0304_0506_0708, 0x5f3a_9c01)
    }
}

/// `octets` with 0 where the builder has no field.
fn without(mut octets: Vec<u8>, fields: &[Range<usize>]) -> Vec<u8> {
    for field in fields {
        octets[field.clone()].fill(0);
    }
    octets
}

/// Who writes, the state by hand, and where the builder has no field.
type Case<'a> = (D, Vec<u8>, &'a [Range<usize>]);

#[test]
fn the_builders_states_are_those_written_by_hand() {
    // rt_addr, and what follows updates or stands for allow_opts.
    let rt_addr = 160..176;
    let cases: [Case<'_>; 9] = [
        (D::V2, state_v2(), &[rt_addr.clone(), 220..221]),
        (D::V3, state_v3(), &[rt_addr.clone(), 236..237]),
        (D::V4, state_240(), std::slice::from_ref(&rt_addr)),
        (D::Obsd46, state_240(), std::slice::from_ref(&rt_addr)),
        (D::Fbsd9, state_242(), std::slice::from_ref(&rt_addr)),
        (D::Fbsd1301, state_242(), std::slice::from_ref(&rt_addr)),
        (
            D::Fbsd1400,
            state_1400(),
            &[rt_addr.clone(), 242..260, 261..277],
        ),
        (
            D::Fbsd1500,
            state_1500(),
            &[rt_addr.clone(), 232..332, 334..344, 346..347, 353..360],
        ),
        (
            D::Obsd69,
            state_v6(),
            &[168..184, 240..250, 258..260, 262..264],
        ),
    ];
    for (d, by_hand, left_out) in cases {
        assert_eq!(built(d).write(d), without(by_hand, left_out), "{d:?}");
    }
}

#[test]
fn the_builders_messages_are_those_written_by_hand() {
    let st = built(D::Obsd69);
    let (id, creator) = (st.id, st.creator);
    let update = M::UpdC(UpdC {
        id,
        creator,
        src: st.src,
        dst: st.dst,
        expire: 119,
        timeout: 2,
        rest: [0; 7],
    });
    let clear_em1 = M::Clr(st.ifname, creator);
    let cases = [
        (update, compressed()),
        (M::DelC(id, creator), self::id()),
        (M::Iack(id, creator), self::id()),
        (M::Ureq(id, creator), self::id()),
        (clear_em1, clear(IFNAME)),
        (M::Bus(creator, 2), over(bus("02"), &[(4, "00000007")])),
    ];
    for (message, by_hand) in cases {
        assert_eq!(message.write(D::Obsd69), by_hand, "{message:?}");
        // v2 to v4 have four octets more.
        let mut padded = by_hand;
        padded.extend([0; 4]);
        assert_eq!(message.write(D::V3), padded, "{message:?}");
    }
}

#[test]
fn the_builders_packets_are_those_written_by_hand() {
    let (st, old) = (built(D::Obsd69), built(D::V3));
    let (state, del_c) = (st.write(D::Obsd69), M::del_c(&st).write(D::Obsd69));
    let two = [M::del_c(&st), M::del_c(&st), M::Ins(st)];
    let by_hand = sections(
        6,
        &[
            ("07 03 0002", &[del_c.clone(), del_c.clone()]),
            ("0d 42 0001", std::slice::from_ref(&state)),
        ],
    );
    assert_eq!(packets(D::Obsd69, &two), [by_hand]);
    let one = [old.write(D::V3)];
    assert_eq!(packets(D::V3, &[M::Upd(old)]), [flat(3, 2, 1, &one)]);
    let cleared = [clear("").into_iter().chain([0; 4]).collect()];
    let clear_all = M::clr(old.creator);
    assert_eq!(packets(D::V4, &[clear_all]), [flat(4, 0, 0, &cleared)]);
}
