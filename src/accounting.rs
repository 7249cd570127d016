//! Floor 2: what TCP carried, estimated from the sequence numbers that pf tracks.
//!
//! Since OpenBSD 4.5 and FreeBSD 9 the messages about a living state carry no counters. They carry
//! both peers' `seqlo`, the highest sequence number pf let pass plus one (pf.c,
//! `pf_tcp_track_full`).
//! ```text
//! full state   UPD_C        UPD_C            each peer, from message to message, modulo 2^32:
//! counters C   seqlo        seqlo            payload = advance, less 1 for SYN and for FIN
//!     |----------|------------|-----> total = C + payload + headers of the packets it takes
//! ```
//! `seqlo` counts what the peer itself sends. So modulation (`seqdiff`) and window scaling do not
//! change differences. The packets are assumed to be these:
//!
//! - A packet has an IP header without options and a TCP header. It has time stamps if pf's scrub
//!   saw some, or if the counted packets are large enough for them in both directions.
//! - Data comes in segments as large as the exact counters show, once they cover
//!   [`LEARNED_PACKETS`] of them. A transfer larger than all that a few packets showed comes in
//!   full segments. Without such counters a segment is as large as `max_mss` or the peers' `mss`
//!   allow, or else Ethernet. Headers are held to a quarter of the data. So keystrokes and other
//!   small segments get too few headers, but no estimate is half as large again as the truth.
//! - A peer with nothing to send acknowledges every second segment (RFC 9293, 3.8.6.3).
//! - FIN has a packet of its own, and so has the responder's SYN with its options.
//! - A responder may have sent data before it was first heard of in an UPD_C. If it had been sent
//!   no data by then, or had acknowledged none, it sent nothing. Otherwise it sent as much as in
//!   the next update, or in proportion to the time if that came within a second. Bounds are
//!   [`MOST_HEAD`] and [`HEAD_PERCENT`] of all that follows. Nothing is guessed where the other
//!   state of the connection counted it (table/partners.rs).
//! - Nothing is sent twice. Packets of neither data nor acknowledgement, such as keepalives and
//!   resets, do not occur.
//!
//! No estimate is made of states without sequence numbers: those of `synproxy` before both ends
//! are connected, and `sloppy` ones. A message whose numbers are behind what is known, or whose
//! windows do not fit its numbers, adds nothing. Scrub memory is read of full states only: in
//! UPD_C of OpenBSD 4.5 to 4.7 it is garbage.
//!
//! What a responder sent first can only be guessed. If the INS leaves before the responder's SYN,
//! no message has its first sequence number. Whether it sent data at all is known, because its
//! windows end in the initiator's `seqhi`. The window of the SYN is the first, and ends at
//! ```text
//! initiator's first number + 1 + window            pf_tcp_track_full: seqhi = ack + (win << scale)
//! ```
//! No window may end before one that was offered earlier (RFC 9293, 3.8.6). A peer that answers has
//! read the question, so its window ends behind that. Hence, while a responder has acknowledged
//! nothing but the SYN, the initiator's `seqhi` is not beyond its largest window from there.

mod counting;
mod head;
mod position;
mod segments;
#[cfg(test)]
mod tests;

pub use counting::Counting;
pub use head::{Before, HEAD_PERCENT, Head, MOST_HEAD};
pub use position::{Position, Sent, Shape, with_rounds};
pub use segments::{LEARNED_PACKETS, Model, Segments};

/// IP protocol number of TCP.
pub const TCP: u8 = 6;
