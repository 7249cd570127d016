//! The model: traffic, one or two firewalls, the sync network between them.
//!
//! ```text
//! rng     chance that can be repeated          traffic   which connections
//! burst   packets at one instant               conversation  one, packet by packet
//! dialect who writes how                       state     a state of pf
//! wire    octets                               firewall  pf's table; sender: pfsync
//! world   all of it, an event at a time        pcap      savefiles
//! ways    states of a connection, by every kind of translation
//! ```
//! It stands alone: no clock, no socket, nothing of the library, so that it is a second opinion.
//! tests/pfsim.rs takes it in by its path.

#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::indexing_slicing,
    reason = "a model of what is known, fed by itself: it may panic where it is wrong, and it is \
              taken into tests, each of which uses a part"
)]

pub mod burst;
pub mod clock;
pub mod conversation;
pub mod dialect;
pub mod firewall;
pub mod pcap;
pub mod rng;
pub mod sender;
pub mod state;
pub mod traffic;
pub mod ways;
pub mod wire;
pub mod world;
