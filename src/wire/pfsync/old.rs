//! States of versions 2 and 3: a connection as three hosts instead of two keys.
//!
//! ```text
//!           lan                    gwy                        ext
//! PF_OUT    the initiator itself   as translation shows it    the responder
//! PF_IN     the responder itself   as the initiator named it  the initiator
//! ```
//! (pf.c of OpenBSD 4.3, `pf_test_rule`). So key WIRE is (ext, gwy) and key STACK is (ext, lan).
//!
//! ```text
//! v2   OpenBSD 3.5 - 3.8, FreeBSD 5.3 - 6.x, DragonFly   224 octets, counters of 32 bits
//! v3   OpenBSD 3.9 - 4.3, NetBSD, FreeBSD 7 and 8        240 octets, counters of 64 bits
//! ```

use super::layout::{Flags, Keys, Layout};
use super::openbsd;

/// `struct pfsync_state` of OpenBSD 3.9 to 4.3.
pub(super) static V3: Layout = Layout {
    keys: Keys::Hosts {
        lan: 24,
        gwy: 48,
        ext: 72,
    },
    state_flags: Flags::None, // 236 is allow_opts
    ..openbsd::V4
};

/// `struct pf_state_wire` of OpenBSD 3.5 to 3.8.
pub(super) static V2: Layout = Layout {
    len: 224,
    packets: [196, 200],
    octets: [204, 208],
    counter: 4,
    creatorid: 212,
    af: [216, 216],
    proto: [217, 217],
    direction: 218,
    log: 219,
    timeout: 221, // 220 is allow_opts
    sync_flags: Some(222),
    updates: Some(223),
    ..V3
};
