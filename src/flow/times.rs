//! When a flow began and ended, with a known boot and without one.

use crate::time::{Now, Seconds};

/// Whether it is known when the machine came up. A replay without -b does not know. Live, only this
/// host's own boot is known.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Boot {
    /// Uptime 0 is when it came up; nothing can have happened before.
    Known,
    /// It came up when this second of uptime began.
    At(i64),
    /// Uptime counts from an instant of our own choice.
    Unknown,
}

/// What a [`Boot`] comes to for times, without a choice left.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Floor {
    /// Nothing was before this second of uptime.
    second: i64,
    /// Whether uptime counts from boot.
    is_boot: bool,
}

impl From<Boot> for Floor {
    fn from(boot: Boot) -> Self {
        let (second, is_boot) = match boot {
            Boot::Known => (0, true),
            Boot::At(second) => (second, false),
            Boot::Unknown => (i64::MIN, false),
        };
        Self { second, is_boot }
    }
}

/// Seconds of uptime that a v5 header can count: 2^32 ms.
pub(super) const V5_SECONDS: i64 = (1 << 32) / 1000;

/// When a flow began and ended. Each format has its own way to tell, and works it out itself.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Times {
    /// Uptime in whole seconds of the first packet.
    start: i64,
    /// Likewise of the last.
    end: i64,
    /// When the flow ended.
    now: Seconds,
    /// Whether uptime counts from boot.
    is_boot: bool,
    /// Whether a time was put at boot, or the first packet's at the last's.
    is_clamped: bool,
}

impl Times {
    /// The times of a state made at `creation` whose last packet was at `last`, both in whole
    /// seconds of uptime and either possibly before boot, as it ends at `now`.
    ///
    /// With a known boot, what lies before it happened at boot, and so did a creation after the
    /// last packet (pflow(4), BUGS; if_pflow.c, `copy_flow_data`). Always start <= end <= now.
    #[inline(always)]
    pub fn new(creation: i64, last: i64, now: Now, boot: impl Into<Floor>) -> Self {
        let Floor { second, is_boot } = boot.into();
        let now = now.seconds();
        let mut times = Self {
            start: creation,
            end: last.min(now.uptime),
            now,
            is_boot,
            is_clamped: false,
        };
        if second > times.start || times.start > times.end {
            times.clamp(second);
        }
        times
    }

    /// The times of what had these of both: from the earlier first packet to the later last.
    pub(super) fn joined(mut self, other: &Self) -> Self {
        self.start = self.start.min(other.start);
        self.end = self.end.max(other.end);
        if other.now.uptime > self.now.uptime {
            self.now = other.now;
        }
        self.is_clamped |= other.is_clamped;
        self
    }

    /// The times of what is left since the last packet of an earlier part, told as at `now`.
    pub(crate) fn since(mut self, last: i64, now: Now) -> Self {
        self.start = last.min(self.end);
        self.now = now.seconds();
        self
    }

    /// Whether both may be of states that one packet made, because each time is cut to seconds.
    pub(crate) fn began_with(&self, other: &Self) -> bool {
        self.start.abs_diff(other.start) <= 2
    }

    /// Uptime in whole seconds of the last packet.
    pub(crate) fn last_second(&self) -> i64 {
        self.end
    }

    #[cold]
    fn clamp(&mut self, boot: i64) {
        self.is_clamped = true;
        self.end = self.end.max(boot);
        self.start = if boot == i64::MIN { self.end } else { boot };
    }

    /// Uptime in whole seconds of the first packet and of the last, as v5 has them: without a known
    /// boot no earlier than its 32 bits hold.
    #[inline]
    pub fn uptimes(&self) -> (i64, i64) {
        let oldest = self.oldest();
        (self.start.max(oldest), self.end.max(oldest))
    }

    /// Uptime in whole seconds of the first packet and of the last.
    #[inline]
    pub fn seconds(&self) -> (i64, i64) {
        (self.start, self.end)
    }

    /// The earliest that v5 can tell.
    #[inline]
    fn oldest(&self) -> i64 {
        if self.is_boot {
            return 0;
        }
        let oldest = self.now.uptime.saturating_sub(V5_SECONDS);
        oldest.saturating_add(1).max(0)
    }

    /// Whether the first packet's or the last's is not what the state told: it was before boot, or
    /// the first after the last.
    #[inline]
    pub fn is_clamped(&self) -> bool {
        self.is_clamped
    }

    /// Whether [`Self::uptimes`] are later than the flow's times.
    #[inline]
    pub fn is_cut(&self) -> bool {
        self.start < self.oldest()
    }

    /// Milliseconds since the epoch of the first packet, a multiple of 1000, as IPFIX has it.
    #[inline]
    pub fn start_ms(&self) -> u64 {
        self.millis(self.start)
    }

    /// Likewise of the last packet.
    #[inline]
    pub fn end_ms(&self) -> u64 {
        self.millis(self.end)
    }

    #[inline]
    fn millis(&self, secs: i64) -> u64 {
        u64::try_from(self.now.epoch_millis(secs)).unwrap_or(0)
    }
}
