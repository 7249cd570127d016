//! `pfsim check golden`: the encoder against octets that others wrote for the same states.
//!
//! ```text
//! golden/states/NAME.script.gz    what pf did  --> our octets  == NAME.DIALECT.eth.pcap.gz
//! golden/dialects/D-ether.json    what it means --> our octets == D-ether.pcap
//! ```
//! In `states/` whole packets are compared, IPv4 header and all, and nothing is taken from the
//! capture but the IP id: the v6 ones were written by OpenBSD's own code, the 242- and 277-octet
//! states by FreeBSD's. In `dialects/` what the JSON does not tell (sequence numbers, windows,
//! routing, log, ...: [`untold`]) is taken from the capture; those were written by a tool.

use std::collections::HashMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::Range;
use std::process::Command;

use serde_json::Value;

use crate::Outcome;
use crate::model::dialect::{At254, DIALECTS, Dialect, Era, Layout};
use crate::model::state::TIMEOUTS;
use crate::model::wire::{self, Direction, HEADER, IP_HEADER, Image, Key, Kind, Message, Peer};

/// Octets of an Ethernet header.
const ETHERNET: usize = 14;
/// What the scripts call time 0, in nanoseconds, and the uptime then.
const WALL: u64 = 1_700_000_000_000_000_000;
const UPTIME: u64 = 100_000;

/// By how much a stamp may be early, in nanoseconds: they were summed up in floating point.
const ROUNDING: u64 = 1000;

/// Files of `states/`, and who would write so.
const CAPTURES: [(&str, &str); 5] = [
    ("openbsd-v6", "obsd74"),
    ("openbsd45-v5", "obsd46"),
    ("freebsd-1301", "fbsd14_1301"),
    ("freebsd-1400", "fbsd14"),
    ("freebsd-1500", "fbsd15"),
];

/// Compares everything under the folder named.
pub(crate) fn run(words: &[&str]) -> Outcome {
    let [folder] = words else {
        return Err("usage: pfsim check golden".into());
    };
    let mut bad = 0;
    for name in ["mix200", "agh5k-final", "agh5k-nofinal"] {
        let script = gunzip(&format!("{folder}/states/{name}.script.gz"))?;
        let script = Script::parse(std::str::from_utf8(&script)?)?;
        for (capture, dialect) in CAPTURES {
            let path = format!("{folder}/states/{name}.{capture}.eth.pcap.gz");
            if fs::exists(&path)? {
                let dialect = Dialect {
                    // 4.6 says in UPD_C when the state expires, which that capture's writer left out
                    has_expire: false,
                    ..Dialect::named(dialect).ok_or("no dialect")?
                };
                bad += script.compare(&format!("{name}.{capture}"), &gunzip(&path)?, &dialect)?;
            }
        }
    }
    for dialect in &DIALECTS {
        bad += compare_meaning(folder, dialect)?;
    }
    if bad > 0 {
        return Err(format!("{bad} differences").into());
    }
    Ok(())
}

fn gunzip(path: &str) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let output = Command::new("gzip").args(["-dc", path]).output()?;
    if !output.status.success() {
        return Err(format!("{path}: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(output.stdout)
}

/// The messages of a packet, by the lengths of the dialect: action, octets.
fn walk<'a>(pfsync: &'a [u8], dialect: &Dialect) -> Vec<(u8, &'a [u8])> {
    let mut found = Vec::new();
    if dialect.era == Era::Old {
        let header = if dialect.version == 2 { 4 } else { HEADER };
        let len = len(pfsync[2], dialect);
        let count = usize::from(pfsync[3]).max(1);
        let body = &pfsync[header..header + count * len];
        found.extend(body.chunks(len).map(|octets| (pfsync[2], octets)));
        return found;
    }
    let end = usize::from(u16::from_be_bytes([pfsync[2], pfsync[3]]));
    let mut at = HEADER;
    while at + 4 <= end {
        let action = pfsync[at];
        if dialect.version == 5 && action == 12 {
            break;
        }
        let len = match dialect.version {
            6 => usize::from(pfsync[at + 1]) * 4,
            _ => len(action, dialect),
        };
        let count = usize::from(u16::from_be_bytes([pfsync[at + 2], pfsync[at + 3]]));
        at += 4;
        for _ in 0..count {
            found.push((action, &pfsync[at..at + len]));
            at += len;
        }
    }
    found
}

const KINDS: [Kind; 9] = [
    Kind::Clear,
    Kind::Insert,
    Kind::InsertAck,
    Kind::Update,
    Kind::UpdateCompressed,
    Kind::UpdateRequest,
    Kind::Delete,
    Kind::DeleteCompressed,
    Kind::Bus,
];

/// What an action is; None for those that pfsim does not write.
fn kind(action: u8, dialect: &Dialect) -> Option<Kind> {
    let is_old = dialect.era == Era::Old;
    let kinds = KINDS.iter().copied();
    let mut kinds = kinds.filter(|kind| !(is_old && *kind == Kind::InsertAck));
    kinds.find(|kind| kind.action(dialect) == action)
}

fn len(action: u8, dialect: &Dialect) -> usize {
    // a TDB of v3 to v5
    kind(action, dialect).map_or(48, |kind| kind.len(dialect))
}

/// The states of a script, each as it was from when on.
struct Script {
    states: HashMap<u64, Vec<(u64, Image)>>,
}

/// What follows `name=` in a line.
fn word<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    line.split(' ')
        .find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
}

/// Nanoseconds of decimal seconds.
fn nanoseconds(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let fraction: u64 = format!("{fraction:0<9}").parse().ok()?;
    Some(whole.parse::<u64>().ok()? * 1_000_000_000 + fraction)
}

fn pair(text: &str) -> Option<[u64; 2]> {
    let (a, b) = text.split_once(',')?;
    Some([a.parse().ok()?, b.parse().ok()?])
}

fn end(text: &str) -> Option<(IpAddr, u16)> {
    let (address, port) = text.rsplit_once(':')?;
    let address = address.trim_matches(['[', ']']);
    Some((address.parse().ok()?, port.parse().ok()?))
}

fn keyed(a: (IpAddr, u16), b: (IpAddr, u16)) -> Key {
    Key {
        addr: [a.0, b.0],
        port: [a.1, b.1],
    }
}

fn ifname(text: &str) -> &'static str {
    ["em0", "em1", "all"]
        .into_iter()
        .find(|name| *name == text)
        .unwrap_or("")
}

fn peer(text: &str) -> Option<Peer> {
    let numbers: Vec<u32> = text
        .split(',')
        .map_while(|number| number.parse().ok())
        .collect();
    let [state, wscale, seqlo, seqhi, seqdiff] = numbers[..] else {
        return None;
    };
    Some(Peer {
        state: state as u8,
        wscale: wscale as u8,
        seqlo,
        seqhi,
        seqdiff,
        ..Peer::default()
    })
}

/// A `state` line. `age` and `expire` hold the uptimes of the first and the last packet.
fn scripted(line: &str) -> Option<Image> {
    let wire = keyed(end(word(line, "wire0")?)?, end(word(line, "wire1")?)?);
    let stack = match (word(line, "stack0"), word(line, "stack1")) {
        (Some(far), Some(near)) => keyed(end(far)?, end(near)?),
        _ => wire,
    };
    let ifname = ifname(word(line, "if")?);
    Some(Image {
        id: u64::from_str_radix(word(line, "id")?, 16).ok()?,
        creator: u32::from_str_radix(word(line, "creator")?, 16).ok()?,
        ifname,
        origin: ifname,
        wire,
        stack,
        src: peer(word(line, "src")?)?,
        dst: peer(word(line, "dst")?)?,
        rule: word(line, "rule")?.parse().ok()?,
        age: word(line, "creation")?.parse().ok()?,
        expire: word(line, "expire")?.parse().ok()?,
        packets: pair(word(line, "pkts")?)?,
        octets: pair(word(line, "bytes")?)?,
        proto: word(line, "proto")?.parse().ok()?,
        direction: match word(line, "dir")? {
            "in" => Direction::In,
            _ => Direction::Out,
        },
        log: 0,
        timeout: word(line, "timeout")?.parse().ok()?,
        sync_flags: 0,
        updates: 0,
        flags: 0,
        max_mss: 0,
    })
}

impl Script {
    fn parse(text: &str) -> Result<Self, String> {
        let mut now = WALL;
        let mut states: HashMap<u64, Vec<(u64, Image)>> = HashMap::new();
        for line in text.lines() {
            let odd = || format!("odd line in a script: {line}");
            if line.starts_with("tick ") {
                let by = word(line, "sec").and_then(nanoseconds);
                now += by.ok_or_else(odd)?;
            } else if line.starts_with("state ") {
                let image = scripted(line).ok_or_else(odd)?;
                states.entry(image.id).or_default().push((now, image));
            }
        }
        Ok(Self { states })
    }

    /// Our message for one of a capture: of the state as it was then or, when a packet went out
    /// at the very instant of a change, just before.
    fn message(&self, kind: Kind, octets: &[u8], at: u64, dialect: &Dialect) -> Option<Message> {
        let id = u64::from_be_bytes(octets[..8].try_into().ok()?);
        let at = at + ROUNDING;
        let uptime = UPTIME + (at - WALL) / 1_000_000_000;
        let known = self.states.get(&id)?;
        let until = known.partition_point(|(since, _)| *since <= at);
        let mut last = None;
        for (_, image) in known[..until].iter().rev().take(2) {
            let timeout = TIMEOUTS.get(usize::from(image.timeout))?;
            let expires = u64::from(image.expire) + u64::from(*timeout);
            let image = Image {
                // the scripts' first second has states of the next one, and the kernel wraps
                age: (uptime as u32).wrapping_sub(image.age),
                expire: expires.saturating_sub(uptime) as u32,
                ..*image
            };
            let message = match kind {
                Kind::Insert => Message::Insert(image),
                Kind::Update => Message::Update(image),
                Kind::UpdateCompressed => Message::UpdateCompressed(image),
                _ => Message::DeleteCompressed {
                    id,
                    creator: image.creator,
                },
            };
            if message.encode(dialect) == octets {
                return Some(message);
            }
            last.get_or_insert(message);
        }
        last
    }

    /// Compares whole packets; how many differ.
    fn compare(&self, name: &str, file: &[u8], dialect: &Dialect) -> Result<u64, String> {
        let (_, records) = crate::model::pcap::read(file).ok_or("no pcap")?;
        let (mut messages, mut bad) = (0, 0);
        let count = records.len();
        for (at, frame) in records {
            let packet = &frame[ETHERNET..];
            let walked = walk(&packet[IP_HEADER..], dialect);
            messages += walked.len();
            let ours: Option<Vec<Message>> = walked
                .iter()
                .map(|(action, octets)| self.message(kind(*action, dialect)?, octets, at, dialect))
                .collect();
            let ident = u16::from_be_bytes([packet[4], packet[5]]);
            let ours = ours.map(|ours| {
                let source = Ipv4Addr::new(192, 0, 2, 1);
                wire::ip(source, ident, &wire::packet(&ours, dialect))
            });
            if ours.as_deref() != Some(packet) {
                bad += 1;
                if bad == 1 {
                    report(name, at, ours.as_deref().unwrap_or_default(), packet);
                }
            }
        }
        println!("{name}: {count} packets, {messages} messages, {bad} packets differ");
        Ok(bad)
    }
}

/// Where two packets part.
fn report(name: &str, at: u64, ours: &[u8], theirs: &[u8]) {
    let place = ours.iter().zip(theirs).position(|(a, b)| a != b);
    let place = place.unwrap_or(ours.len().min(theirs.len()));
    let from = place.saturating_sub(4);
    let show = |octets: &[u8]| {
        format!(
            "{:02x?}",
            octets.iter().skip(from).take(16).collect::<Vec<_>>()
        )
    };
    println!(
        "{name}: at {at} octet {place} of {}, {}: ours {}, theirs {}",
        ours.len(),
        theirs.len(),
        show(ours),
        show(theirs)
    );
}

/// Where a state, or a compressed update, has what the JSON of `dialects/` does not tell.
fn untold(kind: Kind, dialect: &Dialect) -> Vec<Range<usize>> {
    let peers = |at: usize| {
        // all but the state of each
        [at..at + 24, at + 25..at + 56, at + 57..at + 64]
    };
    if kind == Kind::UpdateCompressed {
        let mut ranges = peers(8).to_vec();
        ranges.push(76..80);
        ranges.push(81..kind.len(dialect));
        return ranges;
    }
    let at = if matches!(dialect.layout, Layout::V6(_)) {
        104
    } else {
        96
    };
    let mut ranges = peers(at).to_vec();
    // rt_addr, anchor
    ranges.extend([at + 64..at + 80, at + 84..at + 88]);
    let tail: &[Range<usize>] = match dialect.layout {
        // log, allow_opts, sync_flags, updates
        Layout::V2 => &[219..221, 222..224],
        Layout::V3 => &[235..237, 238..240],
        Layout::V4 => &[235..236, 238..240],
        Layout::F1301 => &[237..238, 240..242],
        Layout::F1400 => &[237..239, 240..277],
        // all but flags, families, protocols, timeout, direction
        Layout::F1500 => &[232..332, 334..344, 346..347, 349..350, 352..360],
        Layout::V6(tail) if tail.at254 == At254::Flags => &[240..250, 253..254, 256..260, 262..264],
        Layout::V6(_) => &[240..250, 253..255, 256..260, 262..264],
    };
    ranges.extend_from_slice(tail);
    ranges
}

/// The end of a state that the JSON calls so.
fn told_end(told: &Value, address: &str, port: &str) -> Option<(IpAddr, u16)> {
    let address = told[address].as_str()?.parse().ok()?;
    Some((address, told[port].as_u64()? as u16))
}

fn hex<T: TryFrom<u64>>(told: &Value, name: &str) -> Option<T> {
    u64::from_str_radix(told[name].as_str()?, 16)
        .ok()?
        .try_into()
        .ok()
}

/// A state as the JSON tells it.
fn told_state(told: &Value) -> Option<Image> {
    let source = told_end(told, "src", "sport")?;
    let destination = told_end(told, "dst", "dport")?;
    let mut after = [
        told_end(told, "nat_src", "nat_sport")?,
        told_end(told, "nat_dst", "nat_dport")?,
    ];
    // af-to: the key after translation has its ends the other way round
    if source.0.is_ipv4() != after[0].0.is_ipv4() {
        after.reverse();
    }
    let number = |name: &str| told[name].as_u64().unwrap_or(0);
    let two = |name: &str| Some([told[name][0].as_u64()?, told[name][1].as_u64()?]);
    let (direction, wire, stack) = match told["direction"].as_str()? {
        "in" => (
            Direction::In,
            keyed(source, destination),
            keyed(after[0], after[1]),
        ),
        _ => (
            Direction::Out,
            keyed(after[1], after[0]),
            keyed(destination, source),
        ),
    };
    let peer = |name: &str| Peer {
        state: number(name) as u8,
        ..Peer::default()
    };
    Some(Image {
        id: hex(told, "id")?,
        creator: hex(told, "creatorid")?,
        ifname: ifname(told["ifname"].as_str()?),
        origin: "",
        wire,
        stack,
        src: peer("src_state"),
        dst: peer("dst_state"),
        rule: number("rule") as u32,
        age: number("age") as u32,
        expire: number("expire") as u32,
        packets: two("packets")?,
        octets: two("bytes")?,
        proto: number("proto") as u8,
        direction,
        log: 0,
        timeout: number("timeout") as u8,
        sync_flags: 0,
        updates: 0,
        flags: number("state_flags") as u16,
        max_mss: 0,
    })
}

/// A message as the JSON tells it; None for those that pfsim does not write.
fn told_message(told: &Value) -> Option<Message> {
    let id = || hex::<u64>(told, "id");
    let creator = || hex::<u32>(told, "creatorid");
    Some(match told["msg"].as_str()? {
        "INS" => Message::Insert(told_state(told)?),
        "UPD" => Message::Update(told_state(told)?),
        "DEL" => Message::Delete(told_state(told)?),
        "DEL_C" => Message::DeleteCompressed {
            id: id()?,
            creator: creator()?,
        },
        "UREQ" => Message::UpdateRequest {
            id: id()?,
            creator: creator()?,
        },
        "CLR" => Message::Clear {
            ifname: ifname(told["ifname"].as_str()?),
            creator: creator()?,
        },
        "BUS" => Message::Bus {
            creator: creator()?,
            endtime: told["endtime"].as_u64()? as u32,
            is_end: told["status"] == "end",
        },
        "UPD_C" => {
            let nobody = (IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
            let peer = |name: &str| Peer {
                state: told[name].as_u64().unwrap_or(0) as u8,
                ..Peer::default()
            };
            Message::UpdateCompressed(Image {
                id: id()?,
                creator: creator()?,
                ifname: "",
                origin: "",
                wire: keyed(nobody, nobody),
                stack: keyed(nobody, nobody),
                src: peer("src_state"),
                dst: peer("dst_state"),
                rule: 0,
                age: 0,
                expire: 0,
                packets: [0; 2],
                octets: [0; 2],
                proto: 0,
                direction: Direction::In,
                log: 0,
                timeout: told["timeout"].as_u64()? as u8,
                sync_flags: 0,
                updates: 0,
                flags: 0,
                max_mss: 0,
            })
        }
        _ => return None,
    })
}

/// Compares the messages of `dialects/`; how many differ.
fn compare_meaning(folder: &str, dialect: &Dialect) -> Result<u64, Box<dyn std::error::Error>> {
    let name = dialect.name;
    let file = fs::read(format!("{folder}/dialects/{name}-ether.pcap"))?;
    let told: Value =
        serde_json::from_slice(&fs::read(format!("{folder}/dialects/{name}-ether.json"))?)?;
    let (_, records) = crate::model::pcap::read(&file).ok_or("no pcap")?;
    let told = told.as_array().ok_or("no packets")?;
    let (mut messages, mut skipped, mut bad) = (0, 0, 0);
    for ((at, frame), told) in records.into_iter().zip(told) {
        let walked = walk(&frame[ETHERNET + IP_HEADER..], dialect);
        let told = told["messages"].as_array().ok_or("no messages")?;
        if walked.len() != told.len() {
            return Err(format!(
                "{name}: a packet of {} has {} messages",
                told.len(),
                walked.len()
            )
            .into());
        }
        for ((action, theirs), told) in walked.into_iter().zip(told) {
            let Some(message) = told_message(told) else {
                skipped += 1;
                continue;
            };
            messages += 1;
            let mut ours = message.encode(dialect);
            let kind = message.kind();
            let is_told = !matches!(
                kind,
                Kind::Insert | Kind::Update | Kind::Delete | Kind::UpdateCompressed
            );
            for range in if is_told {
                Vec::new()
            } else {
                untold(kind, dialect)
            } {
                ours[range.clone()].copy_from_slice(&theirs[range]);
            }
            if ours != theirs || kind.action(dialect) != action {
                bad += 1;
                report(&format!("{name} {kind:?}"), at, &ours, theirs);
            }
        }
    }
    println!("dialects/{name}: {messages} messages, {skipped} of other kinds, {bad} differ");
    Ok(bad)
}
