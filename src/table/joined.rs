//! Whose counters a connection has, and whose interfaces.

use std::cmp::Ordering;

use crate::flow::{End, Flow};
use crate::state::{Direction, IfName};

/// Two halves as one.
pub(super) struct Joined {
    pub(super) flow: Flow,
    /// The interface that the OUT half left through; `None`: there is one half.
    pub(super) egress: Option<IfName>,
    /// Whether the counters are those of the half that ended later, or goes on.
    pub(super) is_of_other: bool,
    /// Whether one packet made both, so that they count the same.
    pub(super) are_twins: bool,
}

impl Joined {
    /// Joins two halves. `other` is the one that ended later, or goes on. The better counters are
    /// taken. If both are as good, those of the half of direction `preferred` are.
    pub(super) fn new(one: &Flow, other: &Flow, preferred: Direction) -> Self {
        let (into, out) = match one.direction {
            Direction::In => (one, other),
            Direction::Out => (other, one),
        };
        let counted_by = match (into.quality as u8).cmp(&(out.quality as u8)) {
            Ordering::Less => Direction::In,
            Ordering::Equal => preferred,
            Ordering::Greater => Direction::Out,
        };
        let joined = into.joined(out, counted_by);
        let end = match other.end {
            End::Active => one.end,
            end => end,
        };
        Self {
            flow: Flow { end, ..joined },
            egress: Some(out.ifname),
            is_of_other: counted_by == other.direction,
            are_twins: one.times.began_with(&other.times),
        }
    }
}
