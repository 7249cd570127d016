//! Interface names as small numbers, counted so that unused ones make room.

use std::collections::HashMap;

use crate::state::IfName;

/// Most names remembered; states with further ones lose theirs.
pub(super) const MAX_NAMES: usize = 4096;

/// The number of a name that found no room; its name is empty.
pub(super) const FORGOTTEN: u16 = 0;

/// Names by number.
pub(super) struct Names {
    names: Vec<(IfName, u32)>,
    numbers: HashMap<IfName, u16>,
    free: Vec<u16>,
    latest: (IfName, u16),
}

impl Default for Names {
    fn default() -> Self {
        Self {
            names: vec![(IfName::default(), 0)],
            numbers: HashMap::new(),
            free: Vec::new(),
            latest: (IfName::default(), FORGOTTEN),
        }
    }
}

impl Names {
    /// The number of `name` for one more user; [`FORGOTTEN`] if there is no room.
    pub(super) fn acquire(&mut self, name: IfName) -> u16 {
        let number = match self.find(name) {
            Some(number) => number,
            None => match self.add(name) {
                Some(number) => number,
                None => return FORGOTTEN,
            },
        };
        if let Some((_, users)) = self.names.get_mut(usize::from(number)) {
            *users += 1;
        }
        self.latest = (name, number);
        number
    }

    /// The number of `name`, if any state has it.
    pub(super) fn find(&self, name: IfName) -> Option<u16> {
        if self.latest.0 == name && self.latest.1 != FORGOTTEN {
            return Some(self.latest.1);
        }
        self.numbers.get(&name).copied()
    }

    fn add(&mut self, name: IfName) -> Option<u16> {
        if name.is_empty() {
            return None;
        }
        let number = match self.free.pop() {
            Some(number) => number,
            None if self.names.len() > MAX_NAMES => return None,
            None => {
                self.names.push((name, 0));
                u16::try_from(self.names.len() - 1).ok()?
            }
        };
        if let Some(entry) = self.names.get_mut(usize::from(number)) {
            *entry = (name, 0);
        }
        self.numbers.insert(name, number);
        Some(number)
    }

    /// One user of `number` less.
    pub(super) fn release(&mut self, number: u16) {
        if number == FORGOTTEN {
            return;
        }
        let Some((name, users)) = self.names.get_mut(usize::from(number)) else {
            return;
        };
        *users = users.saturating_sub(1);
        if *users == 0 {
            self.numbers.remove(name);
            self.free.push(number);
            self.latest = (IfName::default(), FORGOTTEN);
        }
    }

    /// The name of `number`.
    pub(super) fn name(&self, number: u16) -> IfName {
        self.names
            .get(usize::from(number))
            .map(|(name, _)| *name)
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_beyond_the_bound_are_forgotten_until_others_leave() {
        let mut names = Names::default();
        let numbers: Vec<u16> = (0..MAX_NAMES)
            .map(|n| names.acquire(IfName::from(&*format!("vlan{n}"))))
            .collect();
        assert!(!numbers.contains(&FORGOTTEN));
        assert_eq!(names.acquire("em0".into()), FORGOTTEN);
        names.release(numbers[7]);
        let em0 = names.acquire("em0".into());
        assert_eq!(em0, numbers[7]);
        assert_eq!(names.name(em0), "em0".into());
        assert_eq!(names.find("vlan7".into()), None);
    }
}
