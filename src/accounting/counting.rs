//! What `counters` chooses.

/// Which counters are exported of flows that are not exact.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Counting {
    /// The last exact ones.
    Exact,
    /// With what was estimated.
    #[default]
    Estimate,
    /// As pf of this host counted; with what was estimated where it could not be asked.
    Pf,
}

impl Counting {
    /// Their words in the configuration.
    pub const VALUES: &'static [(&'static str, Self)] = &[
        ("exact", Self::Exact),
        ("estimate", Self::Estimate),
        ("pf", Self::Pf),
    ];

    /// Whether what was estimated is exported.
    pub fn has_estimates(self) -> bool {
        self != Self::Exact
    }
}
