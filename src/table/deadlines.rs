//! When a state that is not heard of any more is given up.

use std::time::Duration;

use super::expiry_lists::Class;
use super::senders::Senders;
use super::slot::DELETED;
use crate::state::Timeouts;
use crate::time::Uptime;

/// How long after its timeout a state may still be deleted: one purge pass of 10 s, a second in
/// the sender's queue, and the network.
const GRACE: Duration = Duration::from_secs(20);

/// How long an overdue state is kept. Its real timeout may be longer than the one assumed, because
/// rules have timeouts of their own and UPD_C tells none. A message within this time shows that the
/// state lives.
pub(super) const DOUBT: Duration = Duration::from_secs(3600);

/// How long an end is held back: an update waits a second at most in its sender's queue, and a
/// second for a tick of its clock and the network.
pub(super) const HELD_BACK: Duration = Duration::from_secs(2);

/// When a state of `class` last heard of at `seen` is given up. Its timeout is the greater of ours
/// and the largest `expire` its sender showed.
pub(super) fn deadline(
    timeouts: &Timeouts,
    senders: &Senders,
    class: Class,
    seen: Uptime,
) -> Uptime {
    let record = &senders[class.sender];
    if class.pftm == DELETED {
        return record.clock.due(seen.after(HELD_BACK));
    }
    let largest = record.largest_expire(usize::from(class.pftm));
    let timeout = Duration::from_secs(timeouts.seconds(class.pftm).max(largest).into());
    let doubt = if class.is_overdue {
        DOUBT
    } else {
        Duration::ZERO
    };
    record.clock.due(seen.after(timeout + GRACE + doubt))
}
