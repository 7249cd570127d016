//! States as DragonFly sends them, in version 4 of the protocol.
//!
//! ```text
//! 2 and 3     240 octets: those of OpenBSD 4.4
//! 4.0 on      300 octets: the same, then pickup_mode u8 at 240, cpuid u16 at 242, and spare ones
//! ```
//! The version number stayed. TCP peer states are one higher than everybody else's, because
//! sys/netinet/tcp_fsm.h begins with TCPS_TERMINATING.
//!
//! Sources: sys/net/pf/pfvar.h and if_pfsync.h of DragonFly, its commit 5f2a38e875.

use super::layout::Layout;
use super::openbsd;

/// `struct pfsync_state` since DragonFly 4.0.
pub(super) static V4: Layout = Layout {
    len: 300,
    ..openbsd::V4
};
