//! The truth as JSON, one object a line: what each state carried, summed over the firewalls.
//!
//! ```text
//! {"type":"meta", ...}
//! {"type":"state","id":..,"creatorid":..,"dir":..,"proto":..,"src":..,..,"packets":[f,r],..}
//! ```
//! `connection` is the same of the states that one made, null if no firewall that made them tells.
//! Addresses are those before translation, `nat_*` those after; times are UNIX seconds; `ended` is
//! how, and `invisible` that no firewall ever sent the whole state.

use std::io::{self, Write};

use serde_json::{Value, json};

use crate::model::dialect::Layout;
use crate::model::firewall::Ended;
use crate::model::state::PFLOW;
use crate::model::wire::{Direction, Key};
use crate::model::world::{Settings, Truth, World};

/// Source and destination of a key: address and port of each.
fn ends(key: &Key, direction: Direction) -> [(String, u16); 2] {
    let (src, dst) = match direction {
        Direction::In => (0, 1),
        Direction::Out => (1, 0),
    };
    [src, dst].map(|side| (key.addr[side].to_string(), key.port[side]))
}

fn ended(how: Ended) -> &'static str {
    match how {
        Ended::Alive => "alive",
        Ended::Timeout => "timeout",
        Ended::Replaced => "replaced",
        Ended::Partner => "partner",
        Ended::Cleared => "cleared",
        Ended::Reboot => "reboot",
    }
}

fn state(truth: &Truth, world: &World, settings: &Settings) -> Value {
    let account = &truth.account;
    let path = &account.path;
    let after = match path.direction {
        Direction::In => &path.stack,
        Direction::Out => &path.wire,
    };
    let [(src, sport), (dst, dport)] = ends(&path.key(), path.direction);
    let mut translated = ends(after, path.direction);
    if after.addr[0].is_ipv4() != path.key().addr[0].is_ipv4() {
        // af-to: the translated ends are the other way round
        translated.reverse();
    }
    let [(nat_src, nat_sport), (nat_dst, nat_dport)] = translated;
    // pfsync of FreeBSD 15 tells where a floating state began
    let interface = match settings.dialect.layout {
        Layout::F1500 => path.origin,
        _ => path.ifname,
    };
    let seconds = |at: u64| world.stamp(at) as f64 / 1e6;
    json!({
        "type": "state",
        "id": format!("{:016x}", account.id),
        "creatorid": format!("{:08x}", account.creator),
        "ifname": path.ifname,
        "connection": path.connection,
        "interface": interface,
        "dir": match path.direction { Direction::In => "in", Direction::Out => "out" },
        "proto": path.proto,
        "src": src, "sport": sport, "dst": dst, "dport": dport,
        "nat_src": nat_src, "nat_sport": nat_sport, "nat_dst": nat_dst, "nat_dport": nat_dport,
        "start_s": seconds(account.created),
        "last_s": account.last.map(seconds),
        "removed_s": account.removed.map(seconds),
        "packets": account.packets,
        "octets": account.octets,
        "pflow_flag": path.flags & PFLOW != 0,
        "ended": ended(account.ended),
        "nodes": truth.nodes,
        "invisible": !account.is_announced,
    })
}

/// Writes all of it.
pub(crate) fn write(out: &mut dyn Write, settings: &Settings, world: &World) -> io::Result<()> {
    let meta = json!({
        "type": "meta",
        "dialect": settings.dialect.name,
        "seed": settings.seed,
        "wall0": settings.wall,
        "seconds": settings.seconds,
        "nodes": settings.nodes,
        "loss": settings.loss,
        "carries_pflow": settings.dialect.carries_pflow(),
    });
    writeln!(out, "{meta}")?;
    for truth in world.truth() {
        writeln!(out, "{}", state(&truth, world, settings))?;
    }
    Ok(())
}
