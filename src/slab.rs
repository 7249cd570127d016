//! Values in numbered places that are used again. A place is a `u32`: four octets where a pointer
//! takes eight. A value stays in its place.
//!
//! Places come in chunks, so that growing never copies what is there. Memory is taken with a chunk
//! and at no other time. Each chunk also brings room for all its places in the list of free places.
//! No chunk is given back.

use std::fmt;
use std::marker::PhantomData;

/// log2 of the places in a chunk.
const CHUNK_BITS: u32 = 12;
/// Places in a chunk.
pub(crate) const CHUNK: usize = 1 << CHUNK_BITS;

/// No place.
pub(crate) const NONE: u32 = u32::MAX;

/// What names a place of a [`Slab`]: its number, or a [`Handle`].
pub(crate) trait Place: Copy {
    /// The place of this number.
    fn of(number: u32) -> Self;

    /// Its number.
    fn number(self) -> u32;
}

impl Place for u32 {
    #[inline(always)]
    fn of(number: u32) -> Self {
        number
    }

    #[inline(always)]
    fn number(self) -> u32 {
        self
    }
}

/// The place of a `T`, so that the place of something else is not taken for it.
pub(crate) struct Handle<T>(u32, PhantomData<fn() -> T>);

impl<T> Clone for Handle<T> {
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Handle<T> {}

impl<T> PartialEq for Handle<T> {
    #[inline(always)]
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<T> Eq for Handle<T> {}

impl<T> fmt::Debug for Handle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<T> Place for Handle<T> {
    #[inline(always)]
    fn of(number: u32) -> Self {
        Self::new(number)
    }

    #[inline(always)]
    fn number(self) -> u32 {
        self.0
    }
}

impl<T> Handle<T> {
    /// The place of this number.
    #[inline(always)]
    pub(crate) const fn new(number: u32) -> Self {
        Self(number, PhantomData)
    }
}

/// A chunk. As an array of known length it needs no test where in it a place is.
type Chunk<T> = Box<[T; CHUNK]>;

/// How many chunks the lists beside the chunks have room for. Whenever the lists are made anew,
/// they grow by an eighth.
fn roomy(chunks: usize) -> usize {
    let mut room = 0;
    while room < chunks {
        room += (room / 8).max(1);
    }
    room
}

/// Values by place, which a number names, or a [`Handle`].
#[derive(Debug)]
pub(crate) struct Slab<T, P = u32> {
    chunks: Vec<Chunk<T>>,
    free: Vec<u32>,
    next: u32,
    places: PhantomData<P>,
}

impl<T, P> Default for Slab<T, P> {
    fn default() -> Self {
        Self {
            chunks: Vec::new(),
            free: Vec::new(),
            next: 0,
            places: PhantomData,
        }
    }
}

impl<T: Copy, P: Place> Slab<T, P> {
    /// Puts `value` into a free place, the last freed first.
    #[inline(always)]
    pub(crate) fn insert(&mut self, value: T) -> P {
        // Nothing here points to `value`, so its fields go from registers straight to their place.
        // By way of the stack, they would be written one by one and then read sixteen octets at a
        // time. A processor cannot read so before the writes have reached its cache.
        let place = P::of(match self.free.pop() {
            Some(place) => place,
            None => self.new_place(value),
        });
        self[place] = value;
        place
    }

    /// A place never used before. Whatever is in it stands there till it is.
    #[cold]
    #[inline(never)]
    fn new_place(&mut self, filler: T) -> u32 {
        let place = self.next;
        if (place as usize).is_multiple_of(CHUNK) {
            // Through a vector, because a chunk is too large for the stack.
            if let Ok(chunk) = vec![filler; CHUNK].into_boxed_slice().try_into() {
                let room = roomy(self.chunks.len() + 1);
                self.chunks.reserve_exact(room - self.chunks.len());
                self.chunks.push(chunk);
                if self.free.capacity() < self.chunks.len() * CHUNK {
                    // There is none in it, so that nothing need be copied.
                    self.free = Vec::new();
                    self.free = Vec::with_capacity(room * CHUNK);
                }
            }
        }
        self.next += 1;
        place
    }

    /// Frees `place`. The value stays until the place is used again, so the caller must keep no
    /// number of the place.
    #[inline]
    pub(crate) fn free(&mut self, place: P) {
        self.free.push(place.number());
    }

    /// The place that [`Self::insert`] is about to use.
    #[inline(always)]
    pub(crate) fn upcoming(&self) -> P {
        P::of(self.free.last().copied().unwrap_or(self.next))
    }

    /// How many places are or were in use: every number below is one.
    pub(crate) fn places(&self) -> u32 {
        self.next
    }

    /// Whether no place that was used before is free.
    #[inline(always)]
    pub(crate) fn is_short(&self) -> bool {
        self.free.is_empty()
    }

    /// Whether the next value takes a new chunk.
    pub(crate) fn is_out(&self) -> bool {
        // A chunk is taken with its first place.
        self.is_short() && (self.next as usize).is_multiple_of(CHUNK)
    }

    /// Chunks taken.
    pub(crate) fn chunks(&self) -> usize {
        self.chunks.len()
    }

    /// Places in them.
    pub(crate) fn capacity(&self) -> usize {
        self.chunks.len() * CHUNK
    }

    /// Octets of memory taken.
    pub(crate) fn octets(&self) -> usize {
        self.chunks.len() * size_of::<[T; CHUNK]>()
            + self.chunks.capacity() * size_of::<Chunk<T>>()
            + self.free.capacity() * size_of::<u32>()
    }
}

impl<T> Slab<T> {
    /// What [`Self::octets`] are with so many chunks, however their places are named.
    pub(crate) fn octets_of(chunks: usize) -> usize {
        let room = roomy(chunks);
        chunks * size_of::<[T; CHUNK]>() + room * (size_of::<Chunk<T>>() + CHUNK * size_of::<u32>())
    }
}

#[expect(
    clippy::indexing_slicing,
    reason = "only numbers that insert gave out come back here"
)]
impl<T, P: Place> std::ops::Index<P> for Slab<T, P> {
    type Output = T;

    #[inline]
    fn index(&self, place: P) -> &T {
        let place = place.number();
        &self.chunks[(place >> CHUNK_BITS) as usize][place as usize % CHUNK]
    }
}

#[expect(
    clippy::indexing_slicing,
    reason = "only numbers that insert gave out come back here"
)]
impl<T, P: Place> std::ops::IndexMut<P> for Slab<T, P> {
    #[inline]
    fn index_mut(&mut self, place: P) -> &mut T {
        let place = place.number();
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
        assert_eq!(slab.upcoming() as usize, 3 * CHUNK);
        for (value, &place) in places.iter().enumerate() {
            assert_eq!(slab[place], value);
        }
        slab.free(places[5]);
        assert_eq!(slab.upcoming(), places[5]);
        assert_eq!(slab.insert(99), places[5]);
        assert_eq!(slab[places[6]], 6);
        assert_eq!(slab.places() as usize, 3 * CHUNK);
    }

    #[test]
    fn memory_is_taken_with_a_chunk_and_only_then() {
        let mut slab = Slab::<_, u32>::default();
        assert_eq!(slab.octets(), 0);
        for chunks in 1..=40 {
            for n in 0..CHUNK {
                assert_eq!(slab.is_out(), n == 0);
                slab.insert([chunks as u64; 2]);
                assert_eq!(slab.octets(), Slab::<[u64; 2]>::octets_of(chunks));
            }
        }
        assert!(
            slab.octets() < 40 * CHUNK * 21,
            "lists that double take more"
        );
        for place in 0..slab.places() {
            slab.free(place);
        }
        assert_eq!(slab.octets(), Slab::<[u64; 2]>::octets_of(40));
        assert_eq!((slab.chunks(), slab.capacity()), (40, 40 * CHUNK));
    }
}
