//! What is read of every full state, read at once.
//!
//! To read one field alone costs a look into its dialect's layout and a test whether the field lies
//! inside the state. Here the dialect is asked once for all fields, and the rest is compiled for
//! its layout. That saves 525 instructions a state.

use super::dialect::Dialect;
use super::error::Invalid;
use super::peer::Peer;
use super::state::State;
use super::{dragonfly, freebsd, old, openbsd};
use crate::state::{Direction, StateId, StateKey, WireName};

/// Values of a full state.
#[derive(Clone, Copy)]
pub struct Values<'a> {
    /// Which dialect it was written in.
    pub dialect: Dialect,
    /// Identity.
    pub id: StateId,
    /// The kif it is bound to.
    pub ifname: WireName,
    /// Direction of the packet that made it.
    pub direction: Direction,
    /// Key WIRE.
    pub wire: StateKey,
    /// Key STACK if it is another.
    pub stack: Option<StateKey>,
    /// Initiator and responder.
    pub peers: [Peer<'a>; 2],
    /// Seconds since its first packet.
    pub age: u32,
    /// Seconds until it would be purged.
    pub expire: u32,
    /// Packets from the initiator and back.
    pub packets: [u64; 2],
    /// Octets, likewise.
    pub octets: [u64; 2],
    /// PFTM number.
    pub timeout: u8,
    /// Whether the rule says `pflow`; `None` where the dialect cannot tell.
    pub pflow: Option<bool>,
    /// `max_mss`, where the dialect has it.
    pub max_mss: Option<u16>,
    /// `state_flags`, likewise.
    pub state_flags: Option<u16>,
}

impl<'a> State<'a> {
    /// Refuses what the kernels' pfsync_in_ins() refuses, and what this program cannot represent.
    ///
    /// # Errors
    /// The first field whose value means nothing.
    #[inline(always)]
    pub fn check(&self) -> Result<(), Invalid> {
        if self.dialect == Dialect::OpenBsd47 {
            self.of_v6().check_fields()
        } else {
            self.check_any()
        }
    }

    fn check_any(&self) -> Result<(), Invalid> {
        self.with_layout(
            #[inline(always)]
            |state| state.check_fields(),
        )
    }

    #[inline(always)]
    fn check_fields(&self) -> Result<(), Invalid> {
        if self.creatorid() == 0 {
            return Err(Invalid::Creatorid);
        }
        if self.direction().is_none() {
            return Err(Invalid::Direction);
        }
        if self.af(0).is_none() || self.af(1).is_none() {
            return Err(Invalid::Af);
        }
        if !self.src().is_common() || !self.dst().is_common() {
            return self.check_peers();
        }
        Ok(())
    }

    /// Whether peer states that not all protocols have in all dialects are this one's.
    #[cold]
    fn check_peers(self) -> Result<(), Invalid> {
        let proto = self.proto();
        match self.src().is_valid(proto) && self.dst().is_valid(proto) {
            true => Ok(()),
            false => Err(Invalid::PeerState),
        }
    }

    /// Whose it is: its creatorid.
    #[inline(always)]
    pub(super) fn owner(&self) -> u32 {
        if self.dialect == Dialect::OpenBsd47 {
            self.of_v6().creatorid()
        } else {
            self.creatorid()
        }
    }

    /// What the table reads, at once.
    #[inline]
    pub fn values(&self) -> Values<'a> {
        self.with_layout(
            #[inline(always)]
            |state| state.read_values(),
        )
    }

    /// [`Self::values`] of a state of [`Dialect::OpenBsd47`], without asking which dialect it is.
    #[inline(always)]
    pub fn values_of_v6(&self) -> Values<'a> {
        self.of_v6().read_values()
    }

    /// This state with its layout spelled out, which is that of [`Dialect::OpenBsd47`].
    #[inline(always)]
    fn of_v6(&self) -> Self {
        debug_assert_eq!(self.dialect, Dialect::OpenBsd47);
        Self {
            layout: &openbsd::V6,
            dialect: Dialect::OpenBsd47,
            // As long as `new` made it.
            octets: self.octets.get(..openbsd::V6.len).unwrap_or_default(),
        }
    }

    #[inline(always)]
    fn read_values(self) -> Values<'a> {
        Values {
            dialect: self.dialect(),
            id: self.state_id(),
            ifname: self.wire_name(),
            // `Self::check` saw that it is one of the two.
            direction: self.direction().unwrap_or(Direction::In),
            wire: self.wire_key(),
            stack: (!self.is_untranslated()).then(|| self.stack_key()),
            peers: [self.src(), self.dst()],
            age: self.age(),
            expire: self.expire(),
            packets: self.packets(),
            octets: self.octets(),
            timeout: self.timeout(),
            pflow: self.pflow(),
            max_mss: self.max_mss(),
            state_flags: self.state_flags(),
        }
    }

    /// Calls `read` with the state's layout spelled out. Inlined, its loads are from fixed places
    /// in a slice of fixed length and have no tests left; through [`Dialect::layout`] each field
    /// costs a look into the table and a test. All that `read` calls must be inlined for that.
    #[inline(always)]
    fn with_layout<R>(self, read: impl Fn(Self) -> R) -> R {
        macro_rules! read_by {
            ($dialect:ident, $layout:path) => {{
                // As long as `new` made it.
                let octets = self.octets.get(..$layout.len).unwrap_or_default();
                read(Self {
                    layout: &$layout,
                    dialect: Dialect::$dialect,
                    octets,
                })
            }};
        }
        match self.dialect {
            Dialect::V2 => read_by!(V2, old::V2),
            Dialect::V3 => read_by!(V3, old::V3),
            Dialect::V4 => read_by!(V4, openbsd::V4),
            Dialect::OpenBsd45 => read_by!(OpenBsd45, openbsd::V4),
            Dialect::FreeBsd9 => read_by!(FreeBsd9, freebsd::V1301),
            Dialect::FreeBsd1301 => read_by!(FreeBsd1301, freebsd::V1301),
            Dialect::FreeBsd1400 => read_by!(FreeBsd1400, freebsd::V1400),
            Dialect::FreeBsd1500 => read_by!(FreeBsd1500, freebsd::V1500),
            Dialect::OpenBsd47 => read_by!(OpenBsd47, openbsd::V6),
            Dialect::DragonFly2 => read_by!(DragonFly2, openbsd::V4),
            Dialect::DragonFly4 => read_by!(DragonFly4, dragonfly::V4),
        }
    }
}
