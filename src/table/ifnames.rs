//! Interface names as small numbers, separately for each creator. Names are counted, so that unused
//! ones make room. They are listed by creator, so that a CLR finds those of its creator.

use std::collections::HashMap;

use crate::state::{IfName, WireName};

/// Most names remembered, of all creators together; states with further ones lose theirs.
pub(super) const MAX_NAMES: usize = 4096;

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

/// A name, at an address that is quick to work out: each INS and each DEL_C asks for one.
#[derive(Clone, Copy, Default)]
#[repr(align(32))]
struct Name {
    bound: Bound,
    /// How many states bear it.
    states: u32,
    /// Neighbours among the names of its creator; FORGOTTEN: none.
    before: u16,
    behind: u16,
}

/// Names by number.
pub(super) struct IfNames {
    names: Vec<Name>,
    /// The first name of each creator.
    creators: HashMap<u32, u16>,
    numbers: HashMap<Bound, u16>,
    free: Vec<u16>,
    /// The one that a state bore last: they come in runs.
    latest: Latest,
}

impl Default for IfNames {
    fn default() -> Self {
        Self {
            names: vec![Name::default()],
            creators: HashMap::new(),
            numbers: HashMap::new(),
            free: Vec::new(),
            latest: Latest::default(),
        }
    }
}

impl IfNames {
    /// The number of a creator's `name` for one more state; [`FORGOTTEN`] if there is no room.
    #[inline(always)]
    pub(super) fn acquire(&mut self, creatorid: u32, name: WireName) -> u16 {
        let latest = &self.latest;
        if latest.name == name
            && latest.creatorid == creatorid
            && latest.number != FORGOTTEN
            && let Some(latest) = self.names.get_mut(usize::from(latest.number))
        {
            // As many as there are places.
            latest.states = latest.states.wrapping_add(1);
            return self.latest.number;
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
        if number != FORGOTTEN
            && let Some(name) = self.names.get_mut(usize::from(number))
        {
            name.states += 1;
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

    /// A name that states of a creator bear; [`FORGOTTEN`]: there is none.
    pub(super) fn first_of(&self, creatorid: u32) -> u16 {
        self.creators.get(&creatorid).copied().unwrap_or(FORGOTTEN)
    }

    fn add(&mut self, bound: Bound) -> Option<u16> {
        let number = match self.free.pop() {
            Some(number) => number,
            None if self.names.len() > MAX_NAMES => return None,
            None => {
                self.names.push(Name::default());
                u16::try_from(self.names.len() - 1).ok()?
            }
        };
        self.numbers.insert(bound, number);
        let behind = self.creators.insert(bound.0, number).unwrap_or(FORGOTTEN);
        if let Some(entry) = self.names.get_mut(usize::from(number)) {
            *entry = Name {
                bound,
                states: 0,
                before: FORGOTTEN,
                behind,
            };
        }
        if behind != FORGOTTEN
            && let Some(entry) = self.names.get_mut(usize::from(behind))
        {
            entry.before = number;
        }
        Some(number)
    }

    /// One state less with `number`.
    #[inline(always)]
    pub(super) fn release(&mut self, number: u16) {
        if number == FORGOTTEN {
            return;
        }
        let Some(name) = self.names.get_mut(usize::from(number)) else {
            return;
        };
        // It was counted when it came.
        name.states = name.states.wrapping_sub(1);
        if name.states == 0 {
            self.remove(number);
        }
    }

    #[cold]
    fn remove(&mut self, number: u16) {
        let Some(name) = self.names.get(usize::from(number)).copied() else {
            return;
        };
        self.numbers.remove(&name.bound);
        self.free.push(number);
        self.latest = Latest::default();
        let Name {
            bound: (creatorid, _),
            before,
            behind,
            ..
        } = name;
        match (before, behind) {
            (FORGOTTEN, FORGOTTEN) => {
                self.creators.remove(&creatorid);
            }
            (FORGOTTEN, behind) => {
                self.creators.insert(creatorid, behind);
            }
            (before, _) => {
                if let Some(entry) = self.names.get_mut(usize::from(before)) {
                    entry.behind = behind;
                }
            }
        }
        if behind != FORGOTTEN
            && let Some(entry) = self.names.get_mut(usize::from(behind))
        {
            entry.before = before;
        }
    }

    /// Whether no state bears the name of `number` any more.
    pub(super) fn is_unused(&self, number: u16) -> bool {
        let name = self.names.get(usize::from(number));
        name.is_none_or(|name| name.states == 0)
    }

    /// The name of `number`.
    #[inline(always)]
    pub(super) fn name(&self, number: u16) -> IfName {
        self.names
            .get(usize::from(number))
            .map(|name| name.bound.1)
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
        let mut names = IfNames::default();
        let numbers: Vec<u16> = (0..MAX_NAMES)
            .map(|n| names.acquire(1, name(&format!("vlan{n}"))))
            .collect();
        assert!(!numbers.contains(&FORGOTTEN));
        assert_eq!(names.acquire(1, name("em0")), FORGOTTEN);
        names.release(numbers[7]);
        let em0 = names.acquire(1, name("em0"));
        assert_eq!(em0, numbers[7]);
        assert_eq!(names.name(em0), "em0".into());
        assert_eq!(names.find(1, "vlan7".into()), None);
    }

    #[test]
    fn the_names_of_a_creator_are_found_while_states_bear_them() {
        let mut names = IfNames::default();
        let em0 = names.acquire(1, name("em0"));
        let em1 = names.acquire(1, name("em1"));
        let em2 = names.acquire(1, name("em2"));
        let other = names.acquire(2, name("em0"));
        assert_ne!(em0, other);
        let mut garbage = name("em1");
        garbage.0[7..].fill(0xee);
        for wire_name in [garbage, name("em1"), garbage] {
            assert_eq!(names.acquire(1, wire_name), em1);
            names.release(em1);
        }
        // From the middle, the end and the beginning of the list.
        let mut left = vec![em0, em1, em2];
        for number in [em1, em0, em2] {
            assert!(left.contains(&names.first_of(1)));
            names.release(number);
            left.retain(|other| *other != number);
            let mut walked = 0;
            let mut at = names.first_of(1);
            while at != FORGOTTEN {
                assert!(left.contains(&at));
                at = names.names[usize::from(at)].behind;
                walked += 1;
            }
            assert_eq!(walked, left.len());
        }
        assert_eq!(names.first_of(1), FORGOTTEN);
        assert_eq!(names.find(1, "em0".into()), None);
        assert_eq!(names.first_of(2), other);
        assert_eq!(names.first_of(3), FORGOTTEN);
    }
}
