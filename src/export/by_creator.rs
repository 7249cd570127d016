//! An observation domain, or a source id of NetFlow v9, for each firewall, of its creatorid.
//!
//! ```text
//! flow of creatorid 7                        --> encoder of domain 7
//! flow of creatorid 0, or beyond MAX_DOMAINS --> encoder of domain 0
//! ```
//! Domain 0 is no domain in particular (RFC 7011 3.1).

/// Most domains beside domain 0: creatorids are whatever a packet says.
pub(super) const MAX_DOMAINS: usize = 64;

/// The domain of those that have none of their own.
pub(super) const COMMON: u32 = 0;

/// An encoder a domain.
#[derive(Debug)]
pub(super) struct ByCreator<E> {
    /// In the order of their domains.
    encoders: Vec<(u32, E)>,
    /// Makes the encoder of a domain.
    make: fn(u32) -> E,
}

/// Where a flow goes.
pub(super) struct Chosen<'a, E> {
    pub(super) domain: u32,
    pub(super) encoder: &'a mut E,
    /// Whether it is the first of its domain.
    pub(super) is_new: bool,
    /// Whether its creatorid found no domain of its own.
    pub(super) is_crowded: bool,
}

impl<E> ByCreator<E> {
    /// None yet; `make` makes them.
    pub(super) fn new(make: fn(u32) -> E) -> Self {
        Self {
            encoders: Vec::new(),
            make,
        }
    }

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

    /// All there are.
    pub(super) fn iter(&self) -> impl Iterator<Item = &E> {
        self.encoders.iter().map(|(_, encoder)| encoder)
    }

    /// The same, to change them.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut E> {
        self.encoders.iter_mut().map(|(_, encoder)| encoder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_creatorid_has_its_domain_until_there_are_too_many() {
        let mut encoders = ByCreator::new(|domain| domain);
        let mut choose = |creatorid| {
            let chosen = encoders.choose(creatorid);
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
