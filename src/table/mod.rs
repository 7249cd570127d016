//! Floor 3: the state table: what pfsync said, made into states that end as flows.
//!
//! ```text
//!            INS, UPD (unknown)          DEL, DEL_C, CLR, silence, no room, another key
//!   (none) ---------------------> held ---------------------------------------------> Flow
//!                                 ^  |  UPD, UPD_C, INS again: counters, last packet, PFTM
//!                                 +--+
//! ```
//! A state that was not heard of for its timeout and 20 s is overdue: its delete was lost, or its
//! timeout is longer than we know. It stays for an hour more, then it ends.
//!
//! Identity is (creatorid, id). Counters belong to their sender: a state's total is the sum of
//! what each sender last said. Times are whole seconds of uptime.
//!
//! Everything is bounded: states by -m, or their memory (`memory.rs`), further senders of a state,
//! senders, names. What a bound costs is counted. Nothing here allocates per message once the table
//! has grown, and nothing iterates in the order of a hash.
//!
//! Every state needs an INS and a DEL_C. Each of the two has one function up to the flow:
//! `insert_state`, and the loop over DEL_C. All that is marked so is inlined into them. As calls,
//! with their arguments in memory, the work took a fifth more time.

mod active;
mod ahead;
mod arrival;
mod asides;
mod by_sender;
mod clear;
mod clock;
mod clocks;
mod connections;
mod counting;
mod deadlines;
mod details;
mod due_list;
mod end;
mod ending;
mod estimates;
mod expiry;
mod expiry_lists;
mod full;
mod halves;
mod held;
mod host_ids;
mod id_watermark;
mod identity;
mod ifnames;
mod index;
mod joined;
mod keep;
mod look_ahead;
mod memory;
mod missing;
mod nat_events;
mod observe;
mod partners;
mod parts;
mod places;
mod recently_ended;
mod restore;
mod room;
mod senders;
mod slot;
mod store;
mod suspicion;
mod tell;
mod transfers;
mod translations;
mod update;
mod watch;

pub use arrival::Arrival;
pub use connections::Connection;
pub use held::Held;
pub use host_ids::SharedHostId;
pub use keep::KeepCursor;
pub use memory::{Bound, MIN_OCTETS};
pub use nat_events::NatEvent;
pub use restore::Restore;
pub use senders::{CreatorRecord, MAX_CREATORS, MAX_SENDERS, Sender, SenderId, SenderRecord};
pub use slot::DELETED;
pub use store::{PIECE, Settings, Table};
pub use watch::{Event, WATCHER_OCTETS};
