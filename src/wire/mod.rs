//! Floor 1: bytes to values and back. No clock, no I/O, no panic.
pub mod bpf;
pub mod elements;
pub mod full;
pub mod gzip;
pub mod ipfix;
pub mod keep;
pub mod layout;
pub mod link;
pub mod netflow5;
pub mod netflow9;
pub mod options;
pub mod pf;
pub mod pfsync;
pub mod record;
pub mod savefile;
pub mod spool;
pub mod udp;
