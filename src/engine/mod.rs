//! Floor 6: everything between a captured packet and a datagram to send.
//!
//! ```text
//! packet -> link, pfsync -> table --flow--> filters -> every pflowN -> Outbox
//!                |                    |
//!                +-> messages --------+-> Printer (-o)
//!           receive.rs      timers.rs    export.rs                 sent.rs
//! ```
//! pf.rs takes in what this host's pf answers, commit.rs changes the configuration, keep.rs reads
//! and writes keep files, and sent.rs counts what became of what was sent.
//!
//! The engine is handed packets, commands and the time. It reads no clock and touches no socket.
//! After any call, [`Engine::transmit`] gives what to send, [`Engine::printed`] what to print, and
//! [`Engine::notices`] what to log. [`Engine::poll_timeout`] says when to call again.

mod commit;
mod export;
mod handed;
mod keep;
mod meant;
mod parts;
mod pf;
mod receive;
mod reception;
mod sent;
mod timers;

pub use handed::{Packet, Settings};
pub use parts::Engine;
pub use sent::Sent;
