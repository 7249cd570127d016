//! Numbers for the names of interfaces: `ifindex`.
//!
//! ```text
//! ifindex em0 3    3, whatever else is known
//! ifindex auto     this host's own number where it listens on pfsync0 and has the interface,
//!                  else numbers from 1 up, as names are first heard
//! ```

use std::collections::{BTreeMap, BTreeSet};

use crate::state::IfName;

/// Most numbers that are given; names beyond have 0.
const MOST: usize = 4096;

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct IfIndexes {
    /// Whether no name has a number.
    is_idle: bool,
    is_auto: bool,
    /// As they are set.
    set: BTreeMap<IfName, u16>,
    /// This host's.
    system: BTreeMap<IfName, u16>,
    given: BTreeMap<IfName, u16>,
    /// Numbers that are not to be given.
    taken: BTreeSet<u16>,
    /// The name asked for last: they come in runs.
    latest: Option<(IfName, u16)>,
    /// Names that there was no number for.
    pub(crate) refused: u64,
}

impl IfIndexes {
    /// Numbers as `set`, and others if `is_auto`. Those given stay.
    pub(crate) fn configure(&mut self, set: impl Iterator<Item = (IfName, u16)>, is_auto: bool) {
        self.set = set.collect();
        self.is_auto = is_auto;
        self.is_idle = self.set.is_empty() && !is_auto;
        self.settle();
    }

    /// The interfaces that this host has.
    pub(crate) fn set_system(&mut self, interfaces: impl Iterator<Item = (IfName, u16)>) {
        self.system = interfaces.collect();
        self.settle();
    }

    /// A name was given a number before.
    pub(crate) fn restore(&mut self, name: IfName, index: u16) {
        if self.given.len() < MOST && index != 0 {
            self.given.insert(name, index);
            self.settle();
        }
    }

    /// Names with the numbers that were given to them.
    pub(crate) fn given(&self) -> impl Iterator<Item = (IfName, u16)> {
        self.given.iter().map(|(name, index)| (*name, *index))
    }

    fn settle(&mut self) {
        let Self {
            set, system, given, ..
        } = self;
        let all = set.values().chain(system.values()).chain(given.values());
        self.taken = all.copied().collect();
        self.latest = None;
    }

    /// The number of `name`; 0: it has none.
    #[inline(always)]
    pub(crate) fn number(&mut self, name: IfName) -> u16 {
        if self.is_idle {
            return 0;
        }
        self.number_of(name)
    }

    #[inline(never)]
    fn number_of(&mut self, name: IfName) -> u16 {
        match self.latest {
            Some((latest, index)) if latest == name => index,
            _ => {
                let find = |some: &BTreeMap<IfName, u16>| some.get(&name).copied();
                let known = find(&self.set).or_else(|| find(&self.system));
                let index = match known.or_else(|| find(&self.given)) {
                    Some(index) => index,
                    None => self.give(name),
                };
                self.latest = Some((name, index));
                index
            }
        }
    }

    /// A number for a name that has none: the least that is free.
    #[cold]
    fn give(&mut self, name: IfName) -> u16 {
        if !self.is_auto || name.is_empty() {
            return 0;
        }
        let free = (1..u16::MAX).find(|index| !self.taken.contains(index));
        let Some(index) = free.filter(|_| self.given.len() < MOST) else {
            self.refused += 1;
            return 0;
        };
        self.given.insert(name, index);
        self.taken.insert(index);
        index
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> IfName {
        IfName::from(text)
    }

    #[test]
    fn names_get_numbers_as_they_are_heard_and_keep_them() {
        let mut indexes = IfIndexes::default();
        indexes.configure([(name("em0"), 2)].into_iter(), true);
        let numbers = |indexes: &mut IfIndexes| {
            ["em1", "em0", "em2", "em1", ""].map(|text| indexes.number(name(text)))
        };
        assert_eq!(numbers(&mut indexes), [1, 2, 3, 1, 0]);
        let mut again = IfIndexes::default();
        again.configure([].into_iter(), true);
        for (name, index) in indexes.given() {
            again.restore(name, index);
        }
        assert_eq!(again.number(name("em2")), 3);
        assert_eq!(again.number(name("em9")), 2, "the least that is free");
    }

    #[test]
    fn a_host_that_has_the_interface_numbers_it() {
        let mut indexes = IfIndexes::default();
        indexes.configure([].into_iter(), true);
        indexes.set_system([(name("em0"), 1), (name("em1"), 7)].into_iter());
        assert_eq!(indexes.number(name("em1")), 7);
        assert_eq!(indexes.number(name("gone0")), 2);
    }

    #[test]
    fn without_auto_only_what_is_set_has_a_number() {
        let mut indexes = IfIndexes::default();
        indexes.configure([(name("em0"), 9)].into_iter(), false);
        assert_eq!(
            [indexes.number(name("em0")), indexes.number(name("em1"))],
            [9, 0]
        );
    }

    #[test]
    fn numbers_have_an_end() {
        let mut indexes = IfIndexes::default();
        indexes.configure([].into_iter(), true);
        for n in 0..=MOST {
            indexes.number(name(&format!("v{n}")));
        }
        assert_eq!((indexes.given().count(), indexes.refused), (MOST, 1));
    }
}
