//! Floor 1: bytes to values and back. No clock, no I/O, no panic.
pub mod bpf;
pub mod link;
pub mod pfsync;
pub mod savefile;
