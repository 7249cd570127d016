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

/// A chunk. As an array of known length it needs no test where in it a place is.
type Chunk<T> = Box<[T; CHUNK]>;

/// Values by place.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    chunks: Vec<Chunk<T>>,
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

impl<T: Copy> Slab<T> {
    /// Puts `value` into a free place, the last freed first.
    #[inline(always)]
    pub(crate) fn insert(&mut self, value: T) -> u32 {
        // Nothing here points to `value`, so that its fields go from registers to their place. By
        // way of the stack they would be written one by one and read sixteen octets at a time,
        // which a processor cannot do before the writes have reached its cache.
        let place = match self.free.pop() {
            Some(place) => place,
            None => self.new_place(value),
        };
        self[place] = value;
        place
    }

    /// A place never used before. Whatever is in it stands there till it is.
    #[cold]
    #[inline(never)]
    fn new_place(&mut self, filler: T) -> u32 {
        let place = self.next;
        if (place as usize).is_multiple_of(CHUNK) {
            // By way of a vector, for a chunk is more than should be on the stack.
            if let Ok(chunk) = vec![filler; CHUNK].into_boxed_slice().try_into() {
                self.chunks.push(chunk);
            }
        }
        self.next += 1;
        place
    }

    /// Frees `place`. Its value stays until the place is used again: the caller keeps no number
    /// of it.
    #[inline]
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

    #[inline]
    fn index(&self, place: u32) -> &T {
        &self.chunks[(place >> CHUNK_BITS) as usize][place as usize % CHUNK]
    }
}

#[expect(
    clippy::indexing_slicing,
    reason = "only numbers that insert gave out come back here"
)]
impl<T> std::ops::IndexMut<u32> for Slab<T> {
    #[inline]
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
