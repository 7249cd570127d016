//! pflow(4) in userland: pfsync packets in, NetFlow v5 and IPFIX out.
pub mod state;
pub mod time;
pub mod wire;
