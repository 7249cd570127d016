//! `struct pfsync_state` as data: where each dialect keeps each field.
//!
//! A [`Layout`] is laid out in the order of the kernel's header so that it can be checked against
//! it line by line. The instances stand in the dialects' own files.
//!
//! Sources: sys/net/if_pfsync.h and sys/net/pfvar.h of the systems named in each dialect's file.

/// Where the two keys of a state are.
#[derive(Clone, Copy, Debug)]
pub(super) enum Keys {
    /// v2, v3: `lan`, `gwy`, `ext`, each an address and a port (`struct pfsync_state_host`).
    Hosts {
        /// The inside host's own address.
        lan: usize,
        /// What translation shows of it.
        gwy: usize,
        /// The outside host.
        ext: usize,
    },
    /// v4 and later: `key[PF_SK_WIRE]`, `key[PF_SK_STACK]`: two addresses, two ports.
    Keys {
        /// `key[PF_SK_WIRE]`.
        wire: usize,
        /// `key[PF_SK_STACK]`.
        stack: usize,
        /// Whether ports are followed by `rdomain` and, since OpenBSD 5.1, `af`.
        rdomain_and_af: bool,
    },
}

/// Where the state flags are, whose bit 0x0004 is PFSTATE_PFLOW on some systems.
#[derive(Clone, Copy, Debug)]
pub(super) enum Flags {
    /// No such field, or one that says nothing of pflow (`allow_opts`).
    None,
    /// One octet.
    U8(usize),
    /// Two octets, big-endian.
    U16(usize),
    /// OpenBSD v6: two octets at the first offset since 5.0, one at the second before 5.3; the
    /// latter is `rt` since 6.9, which never reaches 4.
    Both(usize, usize),
}

/// Offsets of the fields of one dialect's `struct pfsync_state`. `None`: it has no such field.
#[derive(Debug)]
pub(super) struct Layout {
    /// `sizeof(struct pfsync_state)`.
    pub(super) len: usize,
    /// `id`.
    pub(super) id: usize,
    /// `ifname`.
    pub(super) ifname: usize,
    /// `lan`, `gwy`, `ext`, or `key[2]`.
    pub(super) keys: Keys,
    /// `src`.
    pub(super) src: usize,
    /// `dst`.
    pub(super) dst: usize,
    /// `rt_addr`.
    pub(super) rt_addr: usize,
    /// `rt_af`: family of `rt_addr`.
    pub(super) rt_af: Option<usize>,
    /// `rule`.
    pub(super) rule: usize,
    /// `anchor`.
    pub(super) anchor: usize,
    /// `nat_rule`.
    pub(super) nat_rule: usize,
    /// `creation`: age in seconds.
    pub(super) creation: usize,
    /// `expire`: seconds left.
    pub(super) expire: usize,
    /// `packets[2]`.
    pub(super) packets: [usize; 2],
    /// `bytes[2]`.
    pub(super) octets: [usize; 2],
    /// Octets of one counter: 4 in v2, 8 since.
    pub(super) counter: usize,
    /// `creatorid`.
    pub(super) creatorid: usize,
    /// `af`, or `wire_af` and `stack_af`.
    pub(super) af: [usize; 2],
    /// `proto`, or `wire_proto` and `stack_proto`.
    pub(super) proto: [usize; 2],
    /// `direction`.
    pub(super) direction: usize,
    /// `log`.
    pub(super) log: usize,
    /// `state_flags`.
    pub(super) state_flags: Flags,
    /// `timeout`.
    pub(super) timeout: usize,
    /// `sync_flags`.
    pub(super) sync_flags: Option<usize>,
    /// `updates`.
    pub(super) updates: Option<usize>,
    /// `rtableid[]`.
    pub(super) rtableid: [Option<usize>; 2],
    /// `max_mss`.
    pub(super) max_mss: Option<usize>,
    /// `min_ttl`.
    pub(super) min_ttl: Option<usize>,
    /// `set_tos`.
    pub(super) set_tos: Option<usize>,
    /// `set_prio[2]`.
    pub(super) set_prio: Option<usize>,
    /// `rt`.
    pub(super) rt: Option<usize>,
    /// `qid`, `pqid`, `dnpipe`, `dnrpipe`.
    pub(super) queues: Option<usize>,
    /// `rt_ifname`.
    pub(super) rt_ifname: Option<usize>,
    /// `orig_ifname`.
    pub(super) orig_ifname: Option<usize>,
    /// `tagname`, 64 octets.
    pub(super) tagname: Option<usize>,
}
