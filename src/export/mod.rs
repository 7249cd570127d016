//! Floor 3: from flows to datagrams.
//!
//! ```text
//! flow -> Interface -> Encoder: records in the buffer of their layout
//!                          |   full, or held long enough
//!                          v
//!                  message, numberless -> Outbox -> Session: sequence, time -> Transmit
//!                                            \---> Stream: waits, then the same
//! ```
//! Datagrams are numbered at once. What goes to a stream or a file waits for it without a number,
//! because a session begins anew with each connection. Nothing here reads a clock or touches a
//! socket, and an encoder does not ask whether sending works.

mod amount;
mod announcements;
mod connection;
mod encoder;
mod format;
pub(crate) mod full;
mod interface;
mod ipfix;
mod kept_options;
mod mtu;
mod netflow5;
mod netflow9;
mod outbox;
mod per_domain;
mod session;
mod settings;
pub mod spool;
mod statistics;
mod stream;
mod templates;

pub use amount::Amount;
pub use connection::{Connection, Connections, FileState, SpoolState};
use format::seconds_32;
pub use format::{Format, TemplateSet};
pub(crate) use format::{IPV4_UDP, IPV6_UDP};
pub use interface::{Interface, stamp, transmit};
pub use mtu::shown_mtu;
pub use outbox::{Order, Outbox, Outgoing, Transmit};
pub use session::{Reachability, Session};
pub use settings::{
    Carrier, Compression, DTLS_OVERHEAD, Domain, EngineId, Events, IcmpPorts, MAX_BACKUPS,
    MAX_HOLD, MAX_MTU, MAX_PINS, MAX_RETAIN, MAX_ROTATE, MIN_DTLS_MTU, MIN_MTU, Pin, Rate, Rdomain,
    Settings, Source, SpoolSettings, Way, is_whole,
};
pub use stream::Stream;
pub use templates::Templates;
