//! A responder's beginning that was not seen, and what is added for it.

use std::time::Duration;

use super::position::Sent;

/// Most that is added for a beginning not seen, percent of what follows: should there have been
/// none, the whole comes out less than half as large again.
pub const HEAD_PERCENT: u64 = 45;
/// Most octets of such a beginning. An UPD_C leaves when its state had 128 packets (if_pfsync.c,
/// `sc_maxupdates`). A third of those acknowledge.
pub const MOST_HEAD: u64 = 128 * 2 / 3 * 1460;
/// How long a message waits at most to be sent (if_pfsync.c, `pfsync_q_ins`): a responder that is
/// first heard of was silent until that long ago.
const LONGEST_HOLD: Duration = Duration::from_secs(1);

/// What is yet to be added for a responder's beginning that was not seen: octets, or with
/// the top bit how long it took at most, milliseconds.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Head(u32);

/// How long before a message of a state others were.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Before {
    /// The full state that was its last.
    pub full: Duration,
    /// The last message.
    pub seen: Duration,
    /// The last in which either end had sent more.
    pub grown: Duration,
}

impl Head {
    /// Waits for the first data.
    const WANTED: u32 = 1 << 31;

    /// As a number, to be kept.
    pub fn bits(self) -> u32 {
        self.0
    }

    /// What [`Self::bits`] gave.
    pub fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// Adds to what initiator and responder sent what is due of the beginning. `before` is seldom
    /// asked.
    pub fn complete(&mut self, [sent, back]: &mut [Sent; 2], before: impl FnOnce() -> Before) {
        if back.options > 0 && sent.payload > 0 {
            if back.is_answer {
                self.0 = Self::WANTED | millis(before().full.min(LONGEST_HOLD));
            }
        } else if back.payload > 0 && self.0 != 0 {
            if self.0 & Self::WANTED != 0 {
                let took = self.0 & !Self::WANTED;
                self.0 = beginning(back.payload, took, before());
            }
            let more = u64::from(self.0).min(back.payload.saturating_mul(HEAD_PERCENT) / 100);
            self.0 = self
                .0
                .saturating_sub(u32::try_from(more).unwrap_or(u32::MAX));
            back.payload = back.payload.saturating_add(more);
        }
    }
}

/// Octets of a beginning that took `took` milliseconds at most, by the `next` that came behind it.
/// A state that goes on is heard of again within a second. What comes later is another exchange,
/// and so the beginning was an exchange, too.
fn beginning(next: u64, took: u32, before: Before) -> u32 {
    let goes_on = before.grown < LONGEST_HOLD;
    let octets = match u64::from(millis(before.seen)) {
        paced if goes_on && paced > u64::from(took) => next.saturating_mul(took.into()) / paced,
        _ => next,
    };
    u32::try_from(octets.min(MOST_HEAD)).unwrap_or(0)
}

fn millis(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}
