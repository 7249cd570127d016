//! FreeBSD's `struct pf_state_export`, and how it becomes `struct pfsync_state_1500`.
//!
//! Both have the same fields in another order. Numbers are in network order in both, but for
//! `version`, `packets` and `bytes`: the kernel copies those as it keeps them (`pf_state_export`).

use byteorder::{BigEndian, ByteOrder};

use super::room::{Problem, Room};
use crate::state::Af;

/// `sizeof(struct pf_state_export)`.
pub(super) const LEN: usize = 384;
/// `version`: it stands for this layout.
pub(super) const VERSION: usize = 0;
/// `id`.
pub(super) const ID: usize = 8;
/// `packets[2]`, then `bytes[2]`, 8 octets each.
pub(super) const COUNTERS: usize = 224;
/// `creatorid`.
pub(super) const CREATORID: usize = 256;
/// `af`, of the key WIRE.
pub(super) const AF: usize = 264;

/// The version that has this layout: PF_STATE_VERSION of FreeBSD 14 and 15.
pub(super) const KNOWN_VERSION: u64 = 20_230_404;

/// `packets[2]` and `bytes[2]` of `struct pfsync_state_1500`.
const COUNTERS_TO: usize = 196;
/// `wire_af` and `stack_af`, likewise.
const AFS_TO: [usize; 2] = [344, 345];

/// AF_INET and AF_INET6 of FreeBSD.
const INET: u8 = 2;
const INET6: u8 = 28;

/// Where a field is, where it goes, and how many octets it has.
type Field = (usize, usize, usize);

/// What is copied as it is.
pub(super) const FIELDS: [Field; 27] = [
    (ID, 0, 8),          // id
    (16, 8, 16),         // ifname
    (32, 312, 16),       // orig_ifname
    (48, 24, 36),        // key[PF_SK_WIRE]
    (84, 60, 36),        // key[PF_SK_STACK]
    (120, 96, 32),       // src
    (152, 128, 32),      // dst
    (184, 160, 16),      // rt_addr
    (200, 176, 4),       // rule
    (204, 180, 4),       // anchor
    (208, 184, 4),       // nat_rule
    (212, 188, 4),       // creation
    (216, 192, 4),       // expire
    (CREATORID, 228, 4), // creatorid
    (265, 347, 1),       // proto, as wire_proto
    (265, 348, 1),       // proto, as stack_proto
    (266, 351, 1),       // direction
    (267, 349, 1),       // log
    (269, 350, 1),       // timeout
    (272, 332, 2),       // state_flags
    (274, 334, 8),       // qid, pqid, dnpipe, dnrpipe
    (284, 328, 4),       // rtableid
    (288, 353, 2),       // min_ttl, set_tos
    (290, 342, 2),       // max_mss
    (292, 355, 2),       // set_prio[2]
    (294, 352, 1),       // rt
    (295, 296, 16),      // rt_ifname
];

/// Writes a state of `octets`, which are [`LEN`], from a host whose numbers are `E`.
pub(super) fn rewrite<E: ByteOrder>(
    octets: &[u8],
    stack: Option<Af>,
    room: &mut Room,
) -> Result<(), Problem> {
    let length = Problem::Length { have: octets.len() };
    let octets: &[u8; LEN] = octets.try_into().map_err(|_| length)?;
    let version = E::read_u64(&octets[VERSION..]);
    if version != KNOWN_VERSION {
        return Err(Problem::Version(version));
    }
    let to = &mut room.0;
    to.fill(0);
    for (from, at, len) in FIELDS {
        to[at..at + len].copy_from_slice(&octets[from..from + len]);
    }
    for step in [0, 8, 16, 24] {
        let counter = E::read_u64(&octets[COUNTERS + step..]);
        BigEndian::write_u64(&mut to[COUNTERS_TO + step..], counter);
    }
    let [wire_to, stack_to] = AFS_TO;
    to[wire_to] = octets[AF];
    to[stack_to] = match stack {
        None => octets[AF],
        Some(Af::Inet) => INET,
        Some(Af::Inet6) => INET6,
    };
    Ok(())
}
