//! States as OpenBSD sends them since version 4 of the protocol.
//!
//! ```text
//! v4, v5 (4.4 - 4.6)   240 octets: two keys of 36 octets, one octet of state_flags
//! v6 (4.7 - today)     264 octets: two keys of 40 octets with rdomain and af
//! ```
//! v6 changed inside without a new number: `key.af` is filled since 5.1, `state_flags` grew to two
//! octets at 260 in 5.0 and left 254 in 5.3, `set_prio` came in 5.7, and 254 is `rt` since 6.9
//! (pfvar.h of each). NetBSD keeps to v3, DragonFly to v4.

use super::layout::{Flags, Keys, Layout};

/// `struct pfsync_state` of sys/net/if_pfsync.h 1.66 (264 octets).
pub(super) static V6: Layout = Layout {
    len: 264,
    id: 0,
    ifname: 8,
    keys: Keys::Keys {
        wire: 24,
        stack: 64,
        rdomain_and_af: true,
    },
    src: 104,
    dst: 136,
    rt_addr: 168,
    rt_af: None,
    rule: 184,
    anchor: 188,
    nat_rule: 192,
    creation: 196,
    expire: 200,
    packets: [204, 212],
    octets: [220, 228],
    counter: 8,
    creatorid: 236,
    rtableid: [Some(240), Some(244)],
    max_mss: Some(248),
    af: [250, 250],
    proto: [251, 251],
    direction: 252,
    log: 253,
    rt: Some(254),
    timeout: 255,
    sync_flags: Some(256),
    updates: Some(257),
    min_ttl: Some(258),
    set_tos: Some(259),
    state_flags: Flags::Both(260, 254),
    set_prio: Some(262),
    queues: None,
    rt_ifname: None,
    orig_ifname: None,
    tagname: None,
};

/// `struct pfsync_state` of OpenBSD 4.4 to 4.6 and of DragonFly 2 and 3 (240 octets).
pub(super) static V4: Layout = Layout {
    len: 240,
    id: 0,
    ifname: 8,
    keys: Keys::Keys {
        wire: 24,
        stack: 60,
        rdomain_and_af: false,
    },
    src: 96,
    dst: 128,
    rt_addr: 160,
    rt_af: None,
    rule: 176,
    anchor: 180,
    nat_rule: 184,
    creation: 188,
    expire: 192,
    packets: [196, 204],
    octets: [212, 220],
    counter: 8,
    creatorid: 228,
    af: [232, 232],
    proto: [233, 233],
    direction: 234,
    log: 235,
    state_flags: Flags::U8(236),
    timeout: 237,
    sync_flags: Some(238),
    updates: Some(239),
    rtableid: [None, None],
    max_mss: None,
    min_ttl: None,
    set_tos: None,
    set_prio: None,
    rt: None,
    queues: None,
    rt_ifname: None,
    orig_ifname: None,
    tagname: None,
};
