//! States as FreeBSD sends them since release 9, all in version 5 of the protocol.
//!
//! ```text
//! 1301 (9 - 13; 14 and 15 on request)   242 octets   actions 1, 3
//! 1400 (14)                             277 octets   actions 13, 14   state_flags unaligned at 235
//! 1500 (15)                             360 octets   actions 15, 16   af and proto of each key
//! ```
//! 1301 is OpenBSD's 240 octets with two more behind `direction`. The numbers are those of
//! `ifconfig pfsync0 version`; the structs stand in sys/net/pfvar.h (`struct pfsync_state_1301`
//! and so on). PFSTATE_PFLOW was there in 9.x only.

use super::layout::{Flags, Layout};
use super::openbsd;

/// `struct pfsync_state_1301`.
pub(super) static V1301: Layout = Layout {
    len: 242,
    log: 237,
    state_flags: Flags::U8(238),
    timeout: 239,
    sync_flags: Some(240),
    updates: Some(241),
    ..openbsd::V4
};

/// `struct pfsync_state_1400`.
pub(super) static V1400: Layout = Layout {
    len: 277,
    state_flags: Flags::U16(235),
    queues: Some(242),
    rtableid: [Some(250), None],
    min_ttl: Some(254),
    set_tos: Some(255),
    max_mss: Some(256),
    set_prio: Some(258),
    rt: Some(260),
    rt_ifname: Some(261),
    ..V1301
};

/// `struct pfsync_state_1500`.
pub(super) static V1500: Layout = Layout {
    len: 360,
    tagname: Some(232),
    rt_ifname: Some(296),
    orig_ifname: Some(312),
    rtableid: [Some(328), None],
    state_flags: Flags::U16(332),
    queues: Some(334),
    max_mss: Some(342),
    af: [344, 345],
    rt_af: Some(346),
    proto: [347, 348],
    log: 349,
    timeout: 350,
    direction: 351,
    rt: Some(352),
    min_ttl: Some(353),
    set_tos: Some(354),
    set_prio: Some(355),
    sync_flags: None,
    updates: None,
    ..V1400
};
