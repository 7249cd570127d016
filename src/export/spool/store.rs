//! What a spool needs of the files that its segments are.

use std::io;

/// Where segments are kept. A refusal of kind `WouldBlock` means: later.
pub trait Store {
    /// What the spool is called in messages.
    fn name(&self) -> String;

    /// The name of a segment's file.
    fn name_of(&self, segment: u32) -> String;

    /// The segments that are there, with their octets, the lowest number first.
    ///
    /// # Errors
    /// Why that cannot be told.
    fn list(&mut self) -> io::Result<Vec<(u32, u64)>>;

    /// Makes a segment, empty.
    ///
    /// # Errors
    /// Why not; one of this number is there.
    fn create(&mut self, segment: u32) -> io::Result<()>;

    /// Reads from `at` on.
    ///
    /// # Errors
    /// Why not.
    fn read_at(&mut self, segment: u32, at: u64, octets: &mut [u8]) -> io::Result<usize>;

    /// Writes from `at` on: how many of the octets.
    ///
    /// # Errors
    /// Why none of them.
    fn write_at(&mut self, segment: u32, at: u64, octets: &[u8]) -> io::Result<usize>;

    /// Cuts a segment off.
    ///
    /// # Errors
    /// Why not.
    fn cut(&mut self, segment: u32, len: u64) -> io::Result<()>;

    /// Removes a segment.
    ///
    /// # Errors
    /// Why not.
    fn remove(&mut self, segment: u32) -> io::Result<()>;

    /// Gives a segment a name that is no segment's: what the file is called now.
    ///
    /// # Errors
    /// Why not.
    fn set_aside(&mut self, segment: u32) -> io::Result<String>;

    /// What was noted last.
    ///
    /// # Errors
    /// Why it cannot be read.
    fn noted(&mut self) -> io::Result<Vec<u8>>;

    /// Notes how far the spool is sent.
    ///
    /// # Errors
    /// Why not.
    fn note(&mut self, octets: &[u8]) -> io::Result<()>;
}
