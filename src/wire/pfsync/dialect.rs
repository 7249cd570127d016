//! The dialects, and their differences apart from the layout of a state.

use super::layout::Layout;
use super::{dragonfly, freebsd, old, openbsd};

/// A dialect: who writes states how. The version octet alone does not tell: v5 has two sizes
/// of a state, and v6 grew without a new number.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Dialect {
    /// OpenBSD 3.5 to 3.8, FreeBSD 5.3 to 6.
    V2,
    /// OpenBSD 3.9 to 4.3, NetBSD, FreeBSD 7 and 8.
    V3,
    /// OpenBSD 4.4.
    V4,
    /// OpenBSD 4.5 and 4.6: v5 with states of 240 octets.
    OpenBsd45,
    /// FreeBSD 9: v5 with states of 242 octets and twenty octets after EOF.
    FreeBsd9,
    /// FreeBSD 10 to 13, and later ones asked to: v5 with states of 242 octets.
    FreeBsd1301,
    /// FreeBSD 14: v5 with states of 277 octets.
    FreeBsd1400,
    /// FreeBSD 15: v5 with states of 360 octets.
    FreeBsd1500,
    /// OpenBSD 4.7 and later.
    OpenBsd47,
    /// DragonFly 2 and 3: v4 with states of 240 octets and TCP states of its own numbers.
    DragonFly2,
    /// DragonFly 4.0 and later: likewise with states of 300 octets.
    DragonFly4,
}

impl Dialect {
    /// Its number where dialects are numbered, from 1 up; 0 stands for none.
    pub fn number(self) -> u8 {
        let place = Self::ALL.iter().position(|other| *other == self);
        place
            .and_then(|place| u8::try_from(place + 1).ok())
            .unwrap_or(0)
    }

    /// Every dialect.
    pub const ALL: &'static [Self] = &[
        Self::V2,
        Self::V3,
        Self::V4,
        Self::OpenBsd45,
        Self::FreeBsd9,
        Self::FreeBsd1301,
        Self::FreeBsd1400,
        Self::FreeBsd1500,
        Self::OpenBsd47,
        // Keep files have a dialect's place in this list as its number. So new dialects come last.
        Self::DragonFly2,
        Self::DragonFly4,
    ];

    /// What output calls it: the protocol version, then the first system that spoke it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::V2 => "v2",
            Self::V3 => "v3",
            Self::V4 => "v4",
            Self::OpenBsd45 => "v5-openbsd45",
            Self::FreeBsd9 => "v5-freebsd9",
            Self::FreeBsd1301 => "v5-freebsd1301",
            Self::FreeBsd1400 => "v5-freebsd1400",
            Self::FreeBsd1500 => "v5-freebsd1500",
            Self::OpenBsd47 => "v6",
            Self::DragonFly2 => "v4-dragonfly2",
            Self::DragonFly4 => "v4-dragonfly4",
        }
    }

    /// The version octet.
    pub const fn version(self) -> u8 {
        match self {
            Self::V2 => 2,
            Self::V3 => 3,
            Self::V4 | Self::DragonFly2 | Self::DragonFly4 => 4,
            Self::OpenBsd47 => 6,
            _ => 5,
        }
    }

    /// Where it keeps each field of a state.
    pub(super) fn layout(self) -> &'static Layout {
        match self {
            Self::V2 => &old::V2,
            Self::V3 => &old::V3,
            Self::V4 | Self::OpenBsd45 | Self::DragonFly2 => &openbsd::V4,
            Self::DragonFly4 => &dragonfly::V4,
            Self::FreeBsd9 | Self::FreeBsd1301 => &freebsd::V1301,
            Self::FreeBsd1400 => &freebsd::V1400,
            Self::FreeBsd1500 => &freebsd::V1500,
            Self::OpenBsd47 => &openbsd::V6,
        }
    }

    /// Whether TCP states have DragonFly's numbers, one higher than the others'.
    #[inline(always)]
    pub const fn is_dragonfly(self) -> bool {
        matches!(self, Self::DragonFly2 | Self::DragonFly4)
    }

    /// Whether it is a FreeBSD of version 5, some of which track SCTP.
    pub const fn is_freebsd(self) -> bool {
        matches!(
            self,
            Self::FreeBsd9 | Self::FreeBsd1301 | Self::FreeBsd1400 | Self::FreeBsd1500
        )
    }

    /// Whether `state_flags` has PFSTATE_PFLOW: OpenBSD 4.5 and later, FreeBSD 9. Where it has
    /// not, every state is one to export.
    pub const fn carries_pflow(self) -> bool {
        matches!(self, Self::OpenBsd45 | Self::FreeBsd9 | Self::OpenBsd47)
    }

    /// Whether INS and full UPD were built when the packet was sent, so that an INS has counters
    /// and a full UPD comes only when asked for (v5, v6); before, INS was all zero and each packet
    /// of a state made a full UPD on pfsync0 (if_pfsync.c, `pfsync_pack_state`).
    pub const fn is_modern(self) -> bool {
        self.version() >= 5
    }

    /// Whether PFTM number `timeout` of a state of protocol `proto` marks it as dead: PFTM_MAX
    /// and beyond. FreeBSD 14 put SCTP's at 20 to 24, and may send them in the 242-octet state
    /// that older releases share; those have no SCTP timeouts and use 20 to 22 for the dead.
    pub const fn is_dead(self, timeout: u8, proto: u8) -> bool {
        match self {
            Self::FreeBsd1400 | Self::FreeBsd1500 => timeout >= 25,
            Self::FreeBsd1301 if proto == 132 => timeout >= 25,
            _ => timeout >= 20,
        }
    }
}
