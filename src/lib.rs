//! pflow(4) in userland: pfsync packets in, NetFlow v5 and IPFIX out.
//!
//! # One packet's journey
//!
//! A firewall deletes a state and says so in a pfsync packet. A `pflow0` exports NetFlow v5 over
//! UDP. Ten functions take the packet to the collector, in this order:
//!
//! 1. [`io::capture::Source::read`] copies packets from the capture buffer into a batch.
//!    Each source has a thread that reads.
//! 2. [`engine::Engine::handle_packet`] takes each packet of the batch in the export loop, with
//!    the time.
//! 3. [`wire::link::datagram`] takes the link layer and the IP header off.
//! 4. [`wire::pfsync::decode_to`] finds out which version of pf wrote the packet. It reads one
//!    message after the other, here a `DEL_C`.
//! 5. [`table::Table::apply`] takes the message in. `DEL_C` ends the state, and the table hands
//!    over a [`flow::Flow`].
//! 6. [`flow::Times::new`] keeps the start and the end of the flow between boot and now.
//! 7. [`export::Interface::offer`] takes the flow for one pflowN, and its encoder makes records.
//!    Every pflowN has its turn.
//! 8. [`wire::netflow5::Record::write`] writes a record, one for each direction with octets. A
//!    message waits until it is full or was held long enough.
//! 9. [`export::stamp`] writes the header when [`engine::Engine::transmit`] takes the message out.
//!    The session of its collector knows the sequence number.
//! 10. [`io::transport::Transport::send`] hands the message to the socket. The system says whether
//!     it took it, and [`engine::Engine::handle_sent`] counts that.
//!
//! # How it is built
//!
//! A pure core, [`engine::Engine`], is handed packets, configurations and the time, and hands back
//! datagrams, lines to print and lines to log. Around it [`run`] and [`io`] own every descriptor,
//! thread, clock and system call. Modules stand on floors and import from lower ones only;
//! docs/design.md draws them, a test holds them to it.
//!
//! ```
//! use pflow::config::{Config, Place, apply_line};
//! use pflow::engine::{Engine, Packet, Settings};
//! use pflow::export::Order;
//! use pflow::flow::Boot;
//! use pflow::output::{Form, Output, messages::Detail};
//! use pflow::time::{Now, Wall};
//! use pflow::wire::link::LinkType;
//!
//! let mut config = Config::default();
//! apply_line(&mut config, "pflow0 flowdst 127.0.0.1:4739 pflowproto 10", || Place::CommandLine)
//!     .unwrap();
//! let settings = Settings {
//!     states: 1000,
//!     is_all: false,
//!     direction: None,
//!     boot: Boot::Known,
//!     local_addresses: Vec::new(),
//!     output: Output { form: Form::None, detail: Detail::Brief },
//! };
//! let mut engine = Engine::new(settings, config);
//! let now = Now::with_boot(Wall::new(1_700_000_000, 0), Wall::new(1_699_900_000, 0));
//! engine.start(now);
//! let frame = [0x45; 20];
//! let packet = Packet { stamp: now.wall, link: LinkType::RAW, frame: &frame, wire_len: 20 };
//! engine.handle_packet(now, &packet);
//! assert_eq!(engine.packet_counters().packets(), 1);
//! // The templates wait to be sent.
//! assert_eq!(engine.transmit(Order::Packed).iter().count(), 1);
//! ```
pub mod accounting;
pub mod config;
pub mod control;
pub mod counters;
pub mod ctl;
pub mod engine;
pub mod export;
pub mod filter;
pub mod flow;
#[doc(hidden)]
pub mod fuzzing;
mod icmp;
mod ifindexes;
pub mod io;
pub mod options;
pub mod output;
mod protocols;
pub mod run;
mod slab;
pub mod solicit;
pub mod state;
pub mod summary;
pub mod table;
pub mod time;
pub mod troubles;
pub mod wire;
mod word;
