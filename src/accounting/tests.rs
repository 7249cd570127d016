//! The short way of a message that tells of data only comes to what the long one does.

use proptest::prelude::*;

use super::*;
use crate::state::Af;
use crate::wire::pfsync::{Dialect, Peer};

/// A peer's octets.
fn peer(seqlo: u32, seqhi: u32, window: u16, state: u8, scale: u8) -> [u8; Peer::LEN] {
    let mut octets = [0; Peer::LEN];
    octets[8..12].copy_from_slice(&seqlo.to_be_bytes());
    octets[12..16].copy_from_slice(&seqhi.to_be_bytes());
    octets[20..22].copy_from_slice(&window.to_be_bytes());
    (octets[24], octets[25]) = (state, scale);
    octets
}

/// Counters such as firewalls tell, and now and then absurd ones.
fn counter() -> impl Strategy<Value = u64> {
    prop_oneof![8 => 0..40_u64, 4 => 0..100_000_u64, 1 => any::<u64>()]
}

proptest! {
    #[test]
    fn segments_carry_what_their_model_carries(
        (is_ipv6, shape) in (any::<bool>(), any::<u8>()),
        offers in prop::array::uniform2(prop_oneof![0..80_u16, 500..1600_u16]),
        packets in prop::array::uniform2(counter()),
        octets in prop::array::uniform2(counter()),
        data in prop::array::uniform2(prop_oneof![0..5000_u32, any::<u32>()]),
    ) {
        let af = if is_ipv6 { Af::Inet6 } else { Af::Inet };
        let shape = Shape::from_bits(shape);
        let sent = data.map(|data| Sent { payload: data.into(), ..Sent::default() });
        let model = Model::new(af, shape, offers, packets, octets);
        let segments = Model::new(af, shape, [0; 2], packets, octets).segments();
        prop_assert!(!segments.is_unknown());
        prop_assert_eq!(segments.traffic(offers, data, (packets, octets)), model.traffic(sent));
    }

    #[test]
    fn data_is_followed_as_a_message_is(
        (heard, marks, shape) in (prop::array::uniform2(prop::array::uniform2(prop::bool::weighted(0.9))), 0..=Position::MARKS, any::<u8>()),
        steps in prop::array::uniform2(prop_oneof![0..3_u32, 0..100_000_u32, any::<u32>()]),
        beyond in prop::array::uniform2(prop_oneof![0..100_000_u32, any::<u32>()]),
        (states, windows, scales) in (prop::array::uniform2(prop_oneof![6 => 3..7_u8, 1 => 0..14_u8]), any::<[u16; 2]>(), any::<[u8; 2]>()),
    ) {
        let begin = |[is_heard, is_far]: [bool; 2]| match (is_heard, is_far) {
            (false, _) => 0,
            (true, false) => 1000,
            (true, true) => u32::MAX - 500,
        };
        let seqlo = heard.map(begin);
        let before = Position { seqlo, marks, shape: Shape::from_bits(shape) };
        let at = [seqlo[0].wrapping_add(steps[0]), seqlo[1].wrapping_add(steps[1])];
        let octets = [0, 1].map(|n| {
            peer(at[n], at[n].wrapping_add(beyond[n]), windows[n], states[n], scales[n])
        });
        let peers = [0, 1].map(|n| Peer::new(&octets[n], Dialect::OpenBsd47));
        let (mut quick, mut whole) = (before, before);
        match quick.follow_data(peers) {
            None => prop_assert_eq!(quick, before),
            Some(data) => {
                let sent = data.map(|data| Sent { payload: data.into(), ..Sent::default() });
                let expected = Some(sent).filter(|sent| *sent != [Sent::default(); 2]);
                prop_assert_eq!(whole.follow(peers, [0; 2]), expected);
                prop_assert_eq!(quick, whole);
            }
        }
    }
}
