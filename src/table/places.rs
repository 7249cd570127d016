//! A set of places, a bit for each. The set takes no memory until the first place is put in.

/// Which.
#[derive(Debug, Default)]
pub(super) struct Places(Vec<u64>);

impl Places {
    /// Whether none was ever put in.
    #[inline(always)]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Octets of memory taken.
    pub(super) fn octets(&self) -> usize {
        self.0.capacity() * size_of::<u64>()
    }

    pub(super) fn set(&mut self, place: u32) {
        let word = place as usize / 64;
        if word >= self.0.len() {
            self.0.resize(word + 1, 0);
        }
        if let Some(bits) = self.0.get_mut(word) {
            *bits |= 1 << (place % 64);
        }
    }

    pub(super) fn has(&self, place: u32) -> bool {
        let bits = self.0.get(place as usize / 64);
        bits.is_some_and(|bits| bits >> (place % 64) & 1 == 1)
    }

    /// Takes a place out: whether it was in.
    pub(super) fn take(&mut self, place: u32) -> bool {
        let was = self.has(place);
        if let Some(bits) = self.0.get_mut(place as usize / 64) {
            *bits &= !(1 << (place % 64));
        }
        was
    }
}
