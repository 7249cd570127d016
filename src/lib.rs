//! pflow(4) in userland: pfsync packets in, NetFlow v5 and IPFIX out.
pub mod config;
pub mod counters;
pub mod engine;
pub mod export;
pub mod flow;
pub mod interface;
pub mod io;
pub mod options;
pub mod output;
pub mod run;
mod slab;
pub mod state;
pub mod summary;
pub mod table;
pub mod time;
pub mod wire;
