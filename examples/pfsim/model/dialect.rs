//! Who writes how: one line a dialect.

/// How the octets of a state are laid out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Layout {
    /// 224 octets: OpenBSD 3.5 to 3.8, FreeBSD 5.3 to 6.
    V2,
    /// 240 octets with lan, gwy, ext: OpenBSD 3.9 to 4.3, NetBSD.
    V3,
    /// 240 octets with two keys: OpenBSD 4.4 to 4.6.
    V4,
    /// 242 octets: FreeBSD 9 to 13.
    F1301,
    /// 277 octets: FreeBSD 14.
    F1400,
    /// 360 octets: FreeBSD 15.
    F1500,
    /// 264 octets: OpenBSD 4.7 and later.
    V6(Tail),
}

/// What the tail of a 264-octet state holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Tail {
    /// The octet at 254.
    pub at254: At254,
    /// Whether the flags stand at 260.
    pub has_flags: bool,
    /// Whether `key.af` is filled.
    pub has_key_af: bool,
    /// Whether `set_prio` stands at 262.
    pub has_prio: bool,
}

/// The octet at 254 of a 264-octet state.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum At254 {
    /// The low flags, to 5.2.
    Flags,
    /// Nothing, 5.3 to 6.8.
    Zero,
    /// How the packets are routed, 6.9 and later.
    Route,
}

/// What ends a packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Eof {
    /// Nothing.
    None,
    /// A subheader.
    Plain,
    /// A subheader and 20 octets of stale memory.
    Stale,
}

/// When messages are sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Era {
    /// v2 to v4: one action a packet, a state in a packet as it was when it happened.
    Old,
    /// v5, and v6 to 7.3: queues of states, packed when the packet is built.
    Queues,
    /// 7.4 and later: as before, with requests, bulks and clears in packets of their own.
    Slices,
}

/// What stands for the ports of an ICMP query.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Icmp {
    /// The id, in every place.
    Id,
    /// The id at the near side, 0 at the far one.
    IdAndZero,
    /// The id as the source's port, the type of the request as the destination's.
    IdAndType,
}

/// A dialect.
#[derive(Clone, Copy, Debug)]
pub struct Dialect {
    pub name: &'static str,
    pub version: u8,
    pub layout: Layout,
    /// `AF_INET6` of the system.
    pub inet6: u8,
    pub eof: Eof,
    pub era: Era,
    /// Whether a compressed update tells when the state expires.
    pub has_expire: bool,
    /// Whether the checksum of the ruleset is filled in.
    pub has_checksum: bool,
    /// Whether `scrub` of a peer is sent.
    pub has_scrub: bool,
    pub icmp: Icmp,
    /// Queues that work on their own.
    pub slices: u8,
    /// Savefile link type of its pfsync0.
    pub link: u32,
}

/// Savefile link type of pfsync0 on OpenBSD.
const OPENBSD: u32 = 18;
/// Savefile link type of pfsync0 on FreeBSD.
const FREEBSD: u32 = 121;

const fn v6(at254: At254, has_flags: bool, has_key_af: bool, has_prio: bool) -> Layout {
    Layout::V6(Tail {
        at254,
        has_flags,
        has_key_af,
        has_prio,
    })
}

const fn openbsd(name: &'static str, version: u8, layout: Layout) -> Dialect {
    Dialect {
        name,
        version,
        layout,
        inet6: 24,
        eof: Eof::None,
        era: if version < 5 { Era::Old } else { Era::Queues },
        has_expire: false,
        has_checksum: true,
        has_scrub: true,
        icmp: if version < 6 {
            Icmp::Id
        } else {
            Icmp::IdAndType
        },
        slices: 1,
        link: OPENBSD,
    }
}

const fn freebsd(name: &'static str, layout: Layout) -> Dialect {
    Dialect {
        inet6: 28,
        eof: Eof::Plain,
        link: FREEBSD,
        slices: 4,
        ..openbsd(name, 5, layout)
    }
}

/// All of them, oldest first within a system.
pub const DIALECTS: [Dialect; 18] = [
    Dialect {
        has_scrub: false,
        ..openbsd("obsd35", 2, Layout::V2)
    },
    Dialect {
        icmp: Icmp::IdAndZero,
        ..openbsd("obsd38", 2, Layout::V2)
    },
    Dialect {
        icmp: Icmp::IdAndZero,
        ..openbsd("obsd39", 3, Layout::V3)
    },
    openbsd("obsd44", 4, Layout::V4),
    Dialect {
        eof: Eof::Stale,
        has_expire: true,
        ..openbsd("obsd45", 5, Layout::V4)
    },
    Dialect {
        eof: Eof::Plain,
        has_expire: true,
        icmp: Icmp::IdAndType,
        ..openbsd("obsd46", 5, Layout::V4)
    },
    Dialect {
        has_expire: true,
        ..openbsd("obsd47", 6, v6(At254::Flags, false, false, false))
    },
    Dialect {
        has_expire: true,
        ..openbsd("obsd50", 6, v6(At254::Flags, true, false, false))
    },
    openbsd("obsd51", 6, v6(At254::Flags, true, true, false)),
    openbsd("obsd53", 6, v6(At254::Zero, true, true, false)),
    openbsd("obsd60", 6, v6(At254::Zero, true, true, true)),
    openbsd("obsd73", 6, v6(At254::Route, true, true, true)),
    Dialect {
        era: Era::Slices,
        has_checksum: false,
        slices: 2,
        ..openbsd("obsd74", 6, v6(At254::Route, true, true, true))
    },
    Dialect {
        eof: Eof::Stale,
        has_expire: true,
        slices: 1,
        ..freebsd("fbsd9", Layout::F1301)
    },
    Dialect {
        slices: 1,
        ..freebsd("fbsd10", Layout::F1301)
    },
    Dialect {
        icmp: Icmp::IdAndType,
        ..freebsd("fbsd14_1301", Layout::F1301)
    },
    Dialect {
        icmp: Icmp::IdAndType,
        ..freebsd("fbsd14", Layout::F1400)
    },
    Dialect {
        icmp: Icmp::IdAndType,
        ..freebsd("fbsd15", Layout::F1500)
    },
];

impl Dialect {
    /// The dialect of this name.
    pub fn named(name: &str) -> Option<Self> {
        DIALECTS.iter().copied().find(|known| known.name == name)
    }

    /// Octets of a state.
    pub fn state_len(&self) -> usize {
        match self.layout {
            Layout::V2 => 224,
            Layout::V3 | Layout::V4 => 240,
            Layout::F1301 => 242,
            Layout::F1400 => 277,
            Layout::F1500 => 360,
            Layout::V6(_) => 264,
        }
    }

    /// Whether a state tells that its rule says `pflow`.
    pub fn carries_pflow(&self) -> bool {
        match self.layout {
            Layout::V2 | Layout::V3 | Layout::F1400 | Layout::F1500 => false,
            Layout::V4 => self.version == 5,
            Layout::F1301 => self.eof == Eof::Stale,
            Layout::V6(_) => true,
        }
    }

    /// Whether a state can tell of two families: af-to.
    pub fn has_af_to(&self) -> bool {
        match self.layout {
            Layout::V6(tail) => tail.has_key_af,
            layout => layout == Layout::F1500,
        }
    }

    /// The time-out number that a state has once it is unlinked.
    pub fn unlinked(&self) -> u8 {
        match self.layout {
            Layout::F1400 | Layout::F1500 => 27,
            _ => 22,
        }
    }
}
