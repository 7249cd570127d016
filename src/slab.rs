//! Values in numbered places that are used again: a place is a `u32`, four octets where a pointer
//! takes eight, and stays where it is.
//!
//! Places come in chunks, so that growing never copies what is there.

/// log2 of the places in a chunk.
const CHUNK_BITS: u32 = 12;
/// Places in a chunk.
const CHUNK: usize = 1 << CHUNK_BITS;

/// No place.
pub(crate) const NONE: u32 = u32::MAX;

/// Values by place.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    chunks: Vec<Vec<T>>,
    free: Vec<u32>,
    next: u32,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self {
            chunks: Vec::new(),
            free: Vec::new(),
            next: 0,
        }
    }
}

impl<T> Slab<T> {
    /// Puts `value` into a free place, the last freed first.
    pub(crate) fn insert(&mut self, value: T) -> u32 {
        if let Some(place) = self.free.pop() {
            self[place] = value;
            return place;
        }
        let place = self.next;
        if (place as usize).is_multiple_of(CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        if let Some(chunk) = self.chunks.last_mut() {
            chunk.push(value);
        }
        self.next += 1;
        place
    }

    /// Frees `place`. Its value stays until the place is used again: the caller keeps no number
    /// of it.
    pub(crate) fn free(&mut self, place: u32) {
        self.free.push(place);
    }

    /// How many places are or were in use: every number below is one.
    pub(crate) fn places(&self) -> u32 {
        self.next
    }
}

#[expect(
    clippy::indexing_slicing,
    reason = "only numbers that insert gave out come back here"
)]
impl<T> std::ops::Index<u32> for Slab<T> {
    type Output = T;

    fn index(&self, place: u32) -> &T {
        &self.chunks[(place >> CHUNK_BITS) as usize][place as usize % CHUNK]
    }
}

#[expect(
    clippy::indexing_slicing,
    reason = "only numbers that insert gave out come back here"
)]
impl<T> std::ops::IndexMut<u32> for Slab<T> {
    fn index_mut(&mut self, place: u32) -> &mut T {
        &mut self.chunks[(place >> CHUNK_BITS) as usize][place as usize % CHUNK]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_used_again_and_values_stay_in_theirs() {
        let mut slab = Slab::default();
        let places: Vec<u32> = (0..3 * CHUNK).map(|value| slab.insert(value)).collect();
        for (value, &place) in places.iter().enumerate() {
            assert_eq!(slab[place], value);
        }
        slab.free(places[5]);
        assert_eq!(slab.insert(99), places[5]);
        assert_eq!(slab[places[6]], 6);
        assert_eq!(slab.places() as usize, 3 * CHUNK);
    }
}
