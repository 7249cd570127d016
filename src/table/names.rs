//! Interface names, each creator's for itself, as small numbers. They are counted, so that unused
//! ones make room and a CLR for none costs nothing.

use std::collections::HashMap;

use crate::state::{IfName, WireName};

/// Most names remembered, of all creators together; states with further ones lose theirs.
pub(super) const MAX_NAMES: usize = 4096;

/// Most creators whose states are counted while names are forgotten; a CLR of a further one ends
/// nothing.
const MAX_CREATORS: usize = 1 << 14;

/// The number of a name that found no room; its name is empty.
pub(super) const FORGOTTEN: u16 = 0;

/// A name and whose states bear it.
type Bound = (u32, IfName);

/// A name that was looked up, as it was asked for.
#[derive(Default)]
struct Latest {
    creatorid: u32,
    name: WireName,
    number: u16,
}

/// Names by number.
pub(super) struct Names {
    /// With the number of states that bear each.
    names: Vec<(Bound, u32)>,
    /// By creator: its names, and its states whose name was forgotten. Changes with names, not with
    /// states, and tells a CLR for none from others at once: one that walked the table would let
    /// whoever sends it stop the export.
    creators: HashMap<u32, u32>,
    numbers: HashMap<Bound, u16>,
    free: Vec<u16>,
    /// The one that a state bore last: they come in runs.
    latest: Latest,
}

impl Default for Names {
    fn default() -> Self {
        Self {
            names: vec![(Bound::default(), 0)],
            creators: HashMap::new(),
            numbers: HashMap::new(),
            free: Vec::new(),
            latest: Latest::default(),
        }
    }
}

impl Names {
    /// The number of a creator's `name` for one more state; [`FORGOTTEN`] if there is no room.
    #[inline(always)]
    pub(super) fn acquire(&mut self, creatorid: u32, name: WireName) -> u16 {
        let latest = &self.latest;
        if latest.name == name
            && latest.creatorid == creatorid
            && latest.number != FORGOTTEN
            && let Some((_, states)) = self.names.get_mut(usize::from(latest.number))
        {
            // As many as there are places.
            *states = states.wrapping_add(1);
            return latest.number;
        }
        self.acquire_other(creatorid, name)
    }

    #[cold]
    fn acquire_other(&mut self, creatorid: u32, wire_name: WireName) -> u16 {
        let name = wire_name.into();
        let number = self
            .find(creatorid, name)
            .or_else(|| self.add((creatorid, name)))
            .unwrap_or(FORGOTTEN);
        if number == FORGOTTEN {
            if self.creators.len() < MAX_CREATORS || self.has_states(creatorid) {
                *self.creators.entry(creatorid).or_default() += 1;
            }
        } else if let Some((_, states)) = self.names.get_mut(usize::from(number)) {
            *states += 1;
        }
        self.latest = Latest {
            creatorid,
            name: wire_name,
            number,
        };
        number
    }

    /// The number of a creator's `name`, if any of its states has it.
    pub(super) fn find(&self, creatorid: u32, name: IfName) -> Option<u16> {
        self.numbers.get(&(creatorid, name)).copied()
    }

    /// Whether there are states of a creator.
    pub(super) fn has_states(&self, creatorid: u32) -> bool {
        self.creators.contains_key(&creatorid)
    }

    fn add(&mut self, bound: Bound) -> Option<u16> {
        let number = match self.free.pop() {
            Some(number) => number,
            None if self.names.len() > MAX_NAMES => return None,
            None => {
                self.names.push((bound, 0));
                u16::try_from(self.names.len() - 1).ok()?
            }
        };
        if let Some(entry) = self.names.get_mut(usize::from(number)) {
            *entry = (bound, 0);
        }
        self.numbers.insert(bound, number);
        *self.creators.entry(bound.0).or_default() += 1;
        Some(number)
    }

    /// One state of a creator less with `number`.
    #[inline(always)]
    pub(super) fn release(&mut self, creatorid: u32, number: u16) {
        if number == FORGOTTEN {
            self.count_down(creatorid);
            return;
        }
        let Some((bound, states)) = self.names.get_mut(usize::from(number)) else {
            return;
        };
        *states = states.saturating_sub(1);
        if *states == 0 {
            self.numbers.remove(bound);
            self.free.push(number);
            self.latest = Latest::default();
            self.count_down(creatorid);
        }
    }

    fn count_down(&mut self, creatorid: u32) {
        if let Some(count) = self.creators.get_mut(&creatorid) {
            *count -= 1;
            if *count == 0 {
                self.creators.remove(&creatorid);
            }
        }
    }

    /// The name of `number`.
    #[inline(always)]
    pub(super) fn name(&self, number: u16) -> IfName {
        self.names
            .get(usize::from(number))
            .map(|((_, name), _)| *name)
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> WireName {
        IfName::from(name).into()
    }

    #[test]
    fn names_beyond_the_bound_are_forgotten_until_others_leave() {
        let mut names = Names::default();
        let numbers: Vec<u16> = (0..MAX_NAMES)
            .map(|n| names.acquire(1, name(&format!("vlan{n}"))))
            .collect();
        assert!(!numbers.contains(&FORGOTTEN));
        assert_eq!(names.acquire(1, name("em0")), FORGOTTEN);
        names.release(1, numbers[7]);
        let em0 = names.acquire(1, name("em0"));
        assert_eq!(em0, numbers[7]);
        assert_eq!(names.name(em0), "em0".into());
        assert_eq!(names.find(1, "vlan7".into()), None);
    }

    #[test]
    fn a_creator_has_states_while_one_bears_a_name_of_its_or_its_name_was_forgotten() {
        let mut names = Names::default();
        let em0 = names.acquire(1, name("em0"));
        let em1 = names.acquire(1, name("em1"));
        assert_ne!(em0, names.acquire(2, name("em0")));
        let mut garbage = name("em1");
        garbage.0[7..].fill(0xee);
        for wire_name in [garbage, name("em1"), garbage] {
            assert_eq!(names.acquire(1, wire_name), em1);
            names.release(1, em1);
        }
        names.release(1, em1);
        assert!(names.has_states(1) && names.has_states(2) && !names.has_states(3));
        names.release(1, em0);
        assert!(!names.has_states(1) && names.has_states(2));
        assert_eq!(names.find(1, "em0".into()), None);
        for n in 0..MAX_NAMES {
            names.acquire(4, name(&format!("vlan{n}")));
        }
        assert_eq!(names.acquire(5, name("em0")), FORGOTTEN);
        assert_eq!(names.acquire(5, name("em1")), FORGOTTEN);
        names.release(5, FORGOTTEN);
        assert!(names.has_states(5));
        assert!(
            !names.has_states(3),
            "a forgotten name makes no CLR walk the table that has nothing to end"
        );
        names.release(5, FORGOTTEN);
        assert!(!names.has_states(5));
    }
}
