//! What counters are worth: quality, TCP estimated from sequence numbers, and flows exported in
//! parts while they go on.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    missing_docs,
    reason = "a test that is wrong may panic"
)]

#[path = "../common/mod.rs"]
mod common;

mod absurd;
mod before_v5;
mod beginnings;
mod estimates;
mod parts;
mod quality;

use std::collections::BTreeMap;

use common::{A, B, D, From, Key, M, OUT, Out, PFSYNC0, Peer, Run, St, settings};
use pflow::config::Config;
use pflow::engine::Settings;
use pflow::export::Order;
use proptest::prelude::*;

/// Headers of IPv4 and TCP.
const H: u64 = 40;

/// Data in a full packet.
const MSS: u64 = 1460;

const CLOSING: u8 = 7;

const FIN_WAIT_2: u8 = 9;

const TIME_WAIT: u8 = 10;

fn config(lines: &[&str]) -> Config {
    common::config(&lines.join("\n"))
}

/// The flow that ends and its quality.
fn ended(run: &mut Run) -> (Out, String) {
    let qualities = run.qualities();
    assert!(
        qualities.windows(2).all(|pair| pair[0] == pair[1]),
        "{qualities:?}"
    );
    (run.flow(), qualities[0].clone())
}

/// A connection after its handshake, as pf keeps it: windows of 65535 << 7 both ways.
fn connection(id: u64) -> St {
    let peer = |seqlo: u32| {
        let peer = Peer {
            seqlo,
            max_win: 65535,
            state: 4,
            wscale: 0x87,
            ..Peer::default()
        };
        allowed(peer)
    };
    let st = St {
        src: peer(0xffff_ff00),
        dst: peer(0xffff_fff0),
        ..St::tcp(id)
    };
    st.count([3, 2], [60 + 2 * H, 60 + H])
}

/// With the `seqhi` that belongs to where it is.
fn allowed(peer: Peer) -> Peer {
    Peer {
        seqhi: peer.seqlo.wrapping_add(65535 << 7),
        ..peer
    }
}

fn sent(peer: Peer, octets: u32) -> Peer {
    allowed(Peer {
        seqlo: peer.seqlo.wrapping_add(octets),
        ..peer
    })
}

/// The state after its responder sent so much.
fn down(st: St, octets: u32) -> St {
    St {
        dst: sent(st.dst, octets),
        ..st
    }
}

fn up(st: St, octets: u32) -> St {
    St {
        src: sent(st.src, octets),
        ..st
    }
}

/// What `messages` of so much data downwards take, on top of [`connection`]'s counters.
fn with_download(steps: &[u64]) -> ([u64; 2], [u64; 2]) {
    let mut counts = (connection(1).packets, connection(1).octets);
    for step in steps {
        let packets = step.div_ceil(MSS);
        let acks = packets.div_ceil(2);
        counts.0[1] += packets;
        counts.0[0] += acks;
        counts.1[1] += step + packets * H;
        counts.1[0] += acks * H;
    }
    counts
}

/// A record of IPv4 on the wire: interface, initiator's port, start and end in seconds after T0,
/// packets, octets.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Record {
    unit: u32,
    port: u16,
    reverse: bool,
    times: (i64, i64),
    packets: u64,
    octets: u64,
}

/// The IPFIX records of IPv4 that were sent since the last call.
fn records(run: &mut Run) -> Vec<Record> {
    let mut records = Vec::new();
    for (unit, payload) in run.engine.transmit(Order::Packed).iter() {
        let u16_at = |at: usize| u16::from_be_bytes(payload[at..at + 2].try_into().unwrap());
        let u64_at = |at: usize| u64::from_be_bytes(payload[at..at + 8].try_into().unwrap());
        let seconds = |at: usize| (u64_at(at) / 1000).cast_signed() - common::T0;
        if u16_at(16) != 256 {
            continue;
        }
        for at in (20..16 + usize::from(u16_at(18))).step_by(54) {
            let (sport, dport) = (u16_at(at + 48), u16_at(at + 50));
            let reverse = dport != 443;
            records.push(Record {
                unit,
                port: if reverse { dport } else { sport },
                reverse,
                packets: u64_at(at + 16),
                octets: u64_at(at + 24),
                times: (seconds(at + 32), seconds(at + 40)),
            });
        }
    }
    records
}

const COLLECTOR: &str = "flowdst 127.0.0.1:4739 pflowproto 10 hold 1";

fn udp(id: u64) -> St {
    St::udp(id).count([1, 1], [80, 200])
}
