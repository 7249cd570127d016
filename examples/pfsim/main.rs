//! pfsim: pf firewalls with traffic and a sync network, for tests and a demonstration.
//!
//! ```text
//! pfsim [options] -w sync.pcap -t truth.json      a scenario into files, at simulated time
//! pfsim [options] -i eth1 -t truth.json           the same on an interface, in real time
//! pfsim collect [-s seconds] address:port         a collector: records received, as JSON
//! pfsim compare truth.json flows.json [got.json]  truth, what pflow made of it, what arrived
//! pfsim connections truth.json flows.json         joined states, and what pflow made of them
//! pfsim check golden                              octets against those of the kernels' code
//! ```
//! The model is in `model/`; everything else here is files, sockets and words.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::indexing_slicing,
    reason = "a tool for tests: it may end where it is wrong"
)]

mod check;
mod collect;
mod compare;
mod connections;
mod live;
mod model;
mod options;
mod truth;

use std::error::Error;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::process::ExitCode;

use model::pcap;
use model::state::SECOND;
use model::world::World;
use options::{Framing, Options};

/// What goes wrong ends the program with its text.
pub(crate) type Outcome = Result<(), Box<dyn Error>>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["collect", rest @ ..] => collect::run(rest),
        ["compare", rest @ ..] => compare::run(rest),
        ["connections", rest @ ..] => connections::run(rest),
        ["check", rest @ ..] => check::run(rest),
        _ => simulate(&words),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pfsim: {error}");
            ExitCode::FAILURE
        }
    }
}

fn simulate(words: &[&str]) -> Outcome {
    let Some(options) = Options::parse(words)? else {
        return Ok(());
    };
    let mut world = World::new(options.settings.clone());
    match &options.interface {
        Some(interface) => live::run(&mut world, &options, interface)?,
        None => replay(&mut world, &options)?,
    }
    if let Some(path) = &options.truth {
        let mut out = BufWriter::new(File::create(path)?);
        truth::write(&mut out, &options.settings, &world)?;
        out.flush()?;
    }
    summary(&world);
    Ok(())
}

/// A scenario as fast as it goes.
fn replay(world: &mut World, options: &Options) -> Outcome {
    let mut out: Box<dyn Write> = match &options.file {
        Some(path) => Box::new(BufWriter::new(File::create(path)?)),
        None => Box::new(std::io::sink()),
    };
    let link = match options.framing {
        Framing::Ethernet => pcap::ETHERNET,
        Framing::Raw => pcap::RAW,
        Framing::Pfsync => options.settings.dialect.link,
    };
    pcap::header(&mut out, link)?;
    let mut frame = Vec::new();
    for second in 1..=options.settings.seconds {
        world.run_until(second * SECOND);
        if options.settings.is_asked {
            world.ask_for_silent(second * SECOND);
        }
        while let Some((at, packet)) = world.poll_packet() {
            frame.clear();
            if options.framing == Framing::Ethernet {
                // the group's address, some station's, IPv4
                frame.extend_from_slice(&[0x01, 0, 0x5e, 0, 0, 0xf0]);
                frame.extend_from_slice(&[0x02, 0, 0, 0, 0, 0x01, 0x08, 0x00]);
            }
            frame.extend_from_slice(&packet);
            pcap::record(&mut out, world.stamp(at), &frame)?;
        }
    }
    out.flush()?;
    Ok(())
}

/// What the firewalls did, on standard error.
fn summary(world: &World) {
    for (number, node) in world.nodes.iter().enumerate() {
        let counters = node.counters;
        eprintln!(
            "firewall {}: {} states made or learned, {} alive; {} packets with {} messages sent; \
             {} states asked for ({} unknown), {} bulks, {} bad packets",
            number + 1,
            node.accounts.len(),
            node.len(),
            counters.packets,
            counters.messages,
            counters.requests,
            counters.unknown,
            counters.bulks,
            counters.bad,
        );
    }
    if world.lost > 0 {
        eprintln!("{} packets lost on the sync network", world.lost);
    }
}
