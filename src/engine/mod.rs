//! Floor 6: everything between a captured packet and a datagram to send.
//!
//! ```text
//! packet -> link, pfsync -> table --flow--> filters -> every pflowN -> Outbox
//!                |                    |
//!                +-> messages --------+-> Printer (-o)
//!           receive.rs      timers.rs    export.rs                 sent.rs
//! ```
//! commit.rs changes the configuration, keep.rs reads and writes keep files, and sent.rs counts what
//! became of what was sent.
//!
//! The engine is handed packets, commands and the time; it reads no clock and touches no socket.
//! After any call, what there is to send is had by [`Engine::transmit`], what there is to print in
//! [`Engine::printed`], what there is to log in [`Engine::notices`], and
//! [`Engine::poll_timeout`] says when to come back.

mod commit;
mod export;
mod handed;
mod keep;
mod meant;
mod parts;
mod receive;
mod reception;
mod sent;
mod timers;

pub use handed::{Packet, Settings};
pub use parts::Engine;
pub use sent::Sent;
