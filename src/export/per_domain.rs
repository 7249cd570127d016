//! An encoder for each observation domain of an interface, or for each source id of NetFlow v9.
//!
//! ```text
//! domain 42         flow of any creatorid                     --> the encoder of domain 42
//! domain creatorid  flow of creatorid 7                       --> the encoder of domain 7
//!                   flow of creatorid 0, or one of too many   --> the encoder of domain 0
//! ```
//! Domain 0 stands for no domain in particular (RFC 7011 3.1).

use std::slice;

use super::Domain;
use crate::time::Uptime;

/// Most domains beside domain 0. Creatorids are whatever a packet says, so there must be a bound.
pub(super) const MAX_DOMAINS: usize = 64;

/// The domain of flows whose creatorid has no domain of its own.
pub(super) const COMMON: u32 = 0;

/// The encoders of an interface, each with its domain.
#[derive(Debug)]
pub(super) enum PerDomain<E> {
    /// There is one domain.
    One((u32, E)),
    /// Each firewall has a domain, which is its creatorid.
    ByCreator(ByCreator<E>),
}

/// The encoders of the firewalls.
#[derive(Debug)]
pub(super) struct ByCreator<E> {
    /// In the order of their domains.
    encoders: Vec<(u32, E)>,
    /// Makes the encoder of a domain.
    make: fn(u32) -> E,
}

/// The encoder of a flow.
pub(super) struct Chosen<'a, E> {
    pub(super) domain: u32,
    pub(super) encoder: &'a mut E,
    /// Whether this is the first flow of its domain.
    pub(super) is_new: bool,
    /// Whether there are too many creatorids for this one to have a domain.
    pub(super) is_crowded: bool,
}

impl<E> PerDomain<E> {
    /// The encoders for `domain`, which `make` makes.
    pub(super) fn new(domain: Domain, make: fn(u32) -> E) -> Self {
        match domain {
            Domain::Number(domain) => Self::One((domain, make(domain))),
            Domain::Creatorid => Self::ByCreator(ByCreator {
                encoders: Vec::new(),
                make,
            }),
        }
    }

    /// The encoders there are.
    #[inline]
    pub(super) fn iter(&self) -> impl Iterator<Item = &E> {
        let all = match self {
            Self::One(one) => slice::from_ref(one),
            Self::ByCreator(all) => &all.encoders,
        };
        all.iter().map(|(_, encoder)| encoder)
    }

    /// The encoders there are, to change them.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut E> {
        let all = match self {
            Self::One(one) => slice::from_mut(one),
            Self::ByCreator(all) => &mut all.encoders,
        };
        all.iter_mut().map(|(_, encoder)| encoder)
    }

    /// Whether one of the encoders is what `is_so` says.
    // One encoder is asked without a loop, because this is asked for each state that ends.
    #[inline(always)]
    pub(super) fn any(&self, is_so: impl Fn(&E) -> bool) -> bool {
        match self {
            Self::One((_, encoder)) => is_so(encoder),
            Self::ByCreator(all) => all.encoders.iter().any(|(_, encoder)| is_so(encoder)),
        }
    }

    /// The earliest of the times that `due` gives for the encoders.
    #[inline(always)]
    pub(super) fn earliest(&self, due: impl Fn(&E) -> Option<Uptime>) -> Option<Uptime> {
        match self {
            Self::One((_, encoder)) => due(encoder),
            Self::ByCreator(_) => self.iter().map(due).fold(None, Uptime::earliest),
        }
    }
}

impl<E> ByCreator<E> {
    /// The encoder for flows of `creatorid`.
    #[inline(never)]
    pub(super) fn choose(&mut self, creatorid: u32) -> Chosen<'_, E> {
        let is_known = self.find(creatorid).is_ok();
        let own = self.encoders.iter().filter(|(of, _)| *of != COMMON).count();
        let is_crowded = !is_known && creatorid != COMMON && own >= MAX_DOMAINS;
        let domain = if is_crowded { COMMON } else { creatorid };
        let found = self.find(domain);
        let place = found.unwrap_or_else(|place| {
            self.encoders.insert(place, (domain, (self.make)(domain)));
            place
        });
        #[expect(clippy::indexing_slicing, reason = "found there, or just put there")]
        let (_, encoder) = &mut self.encoders[place];
        Chosen {
            domain,
            encoder,
            is_new: found.is_err(),
            is_crowded,
        }
    }

    fn find(&self, domain: u32) -> Result<usize, usize> {
        self.encoders.binary_search_by_key(&domain, |(of, _)| *of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_creatorid_has_its_domain_until_there_are_too_many() {
        let mut encoders = PerDomain::new(Domain::Creatorid, |domain| domain);
        let mut choose = |creatorid| {
            let PerDomain::ByCreator(all) = &mut encoders else {
                panic!("one domain for all");
            };
            let chosen = all.choose(creatorid);
            (chosen.domain, chosen.is_new, chosen.is_crowded)
        };
        assert_eq!(choose(0), (0, true, false));
        for creatorid in 1..=64 {
            assert_eq!(choose(creatorid * 7), (creatorid * 7, true, false));
        }
        assert_eq!(choose(3), (0, false, true));
        assert_eq!(choose(7), (7, false, false));
        assert_eq!(choose(0), (0, false, false));
        assert_eq!(encoders.iter().count(), 65);
    }
}
