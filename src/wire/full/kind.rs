//! Which records there are.

/// Which records an interface's collector is sent.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Kind {
    /// The enterprise number of our own elements, if they are sent.
    pub enterprise: Option<u32>,
    /// Whether both directions of a flow are one record.
    pub is_biflow: bool,
    /// Whether there are NAT events.
    pub has_events: bool,
}
