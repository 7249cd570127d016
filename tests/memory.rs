//! A bound in octets: what the table takes for states stays below it, whatever comes; what has to go
//! is exported; and of what there is no room for no flow is marked exact.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    missing_docs,
    reason = "a test that is wrong may panic"
)]

mod common;

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::process::{Command, Stdio};

use common::{A, B, CREATOR, D, From, Key, M, OTHER_CREATOR, OUT, Run, St, packets, settings};
use pflow::config::{Config, Place, apply_line, apply_text};
use pflow::output::Form;
use pflow::table::KeepCursor;
use pflow::wire::keep;

const MB: u64 = 1 << 20;

fn run_of(text: &str) -> Run {
    Run::with(settings(), common::config(text))
}

/// Numbers that look random, the same each time.
struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) % sides
    }
}

fn plain(id: u64) -> Key {
    let near = format!("10.{}.{}.{}", id >> 16 & 255, id >> 8 & 255, id & 255);
    Key::new("192.0.2.1", 443, &near, 5000)
}

/// A state as its number has it: a third each IPv4, translated and IPv6 unless only that is wanted.
fn state(id: u64, only: Option<u64>) -> St {
    let st = if id.is_multiple_of(2) {
        St::tcp(id)
    } else {
        St::udp(id)
    };
    let st = st.count([1 + id % 7, id % 5], [100 + id, id % 5 * 1000]);
    let st = match id % 11 {
        0 => st.named(&format!("vlan{}", id % 6000)),
        _ => st,
    };
    let st = match id % 13 {
        0 => St {
            creator: OTHER_CREATOR + (id % 40_000) as u32,
            ..st
        },
        _ => st,
    };
    match only.unwrap_or(id % 3) {
        0 => st.keyed(plain(id)),
        1 => St {
            stack: Key::new("192.0.2.1", 443, "203.0.113.9", (id % 60_000) as u16),
            ..st.keyed(plain(id))
        },
        _ => st.keyed(Key::new(
            "2001:db8::1",
            443,
            &format!("2001:db8:1::{:x}:{:x}", id >> 16 & 0xffff, id & 0xffff),
            5000,
        )),
    }
}

/// Some messages about some of the latest states, mostly new ones; their ids are that far `apart`.
fn messages(dice: &mut Dice, next: &mut u64, only: Option<u64>, apart: u64) -> Vec<M> {
    let mut list = Vec::new();
    for _ in 0..5 {
        let old = next.saturating_sub((1 + dice.throw(30_000)) * apart);
        let old = state(old, only);
        let mut moved = old;
        moved.src.seqlo = 1000 + dice.throw(100_000) as u32;
        list.push(match dice.throw(20) {
            0..12 => {
                *next += apart;
                M::Ins(state(*next, only))
            }
            12..15 => M::upd_c(&moved),
            15 => M::Upd(old.count([500, 400], [90_000, 80_000])),
            16 => M::Upd(old.count([0, 1], [0, 40])),
            17 => M::del_c(&old),
            18 => M::Del(old),
            _ if dice.throw(4000) == 0 => M::clr(CREATOR),
            _ => M::Ureq(old.id, old.creator),
        });
    }
    list
}

fn check(run: &Run, bound: u64) {
    let table = run.engine.table();
    let (counted, taken) = (table.counted_octets(), run.engine.state_octets());
    assert!(counted <= bound, "{counted} of {bound}");
    assert!(taken <= counted, "{taken} taken, {counted} counted");
    assert!(table.len() <= table.bound() as usize);
}

/// What ended, and an outline of all that was exported.
fn hostile(text: &str, bound: u64, seed: u64, only: [Option<u64>; 2], apart: u64) -> (Run, u64) {
    let mut run = run_of(&format!("states {}k\n{text}", bound >> 10));
    let soliciting = run.engine.config().soliciting();
    run.advance(0);
    run.engine.set_soliciting(run.now(), soliciting);
    let (mut dice, mut next) = (Dice(seed), 0);
    let mut outline = DefaultHasher::new();
    for turn in 0..24_000 {
        let only = only[usize::from(turn >= 12_000)];
        let list = messages(&mut dice, &mut next, only, apart);
        let from = match dice.throw(16) {
            0 => From::Ether([10, 1, dice.throw(8) as u8, dice.throw(256) as u8]),
            1..5 => B,
            _ => A,
        };
        run.send(turn * 5, from, D::Obsd74, &list);
        if turn % 64 == 0 {
            check(&run, bound);
            run.engine.printed().hash(&mut outline);
            run.engine.printed().clear();
            if let Some(solicitor) = run.engine.solicitor() {
                solicitor.requests().clear();
            }
        }
    }
    check(&run, bound);
    (run, outline.finish())
}

#[test]
fn memory_stays_below_the_bound_and_what_has_to_go_is_exported() {
    for (text, mb, only, apart) in [
        ("", 4, [None; 2], 1),
        ("", 9, [None; 2], 1),
        ("pflow0 flowdst 192.0.2.1:2055 active 20", 8, [None; 2], 1),
        ("solicit on em1", 8, [None; 2], 1),
        // IPv4 first, so that key pairs have what is left; and the other way round.
        ("", 6, [Some(0), Some(2)], 1),
        ("", 6, [Some(1), Some(0)], 1),
        // Each state has a page of the index for itself.
        ("", 6, [None; 2], 17),
        ("", 6, [Some(0), Some(2)], 1 << 40),
    ] {
        let (run, _) = hostile(text, mb * MB, mb, only, apart);
        let (counters, flows) = (run.counters(), run.engine.flow_counters());
        assert!(counters.evicted > 1000, "{text} {mb} {counters:?}");
        assert!(run.alive() > 4000, "{text} {mb}: {}", run.alive());
        let ended = counters.deleted
            + counters.cleared
            + counters.expired
            + counters.evicted
            + counters.replaced;
        assert_eq!(counters.inserted, ended + run.alive() as u64);
        let handed_over = flows.exported + flows.unflagged + flows.direction + flows.empty;
        assert_eq!(handed_over, ended, "{text} {mb}");
        let whole = run.engine.table().octets_bound().unwrap();
        assert_eq!(whole, mb * MB);
    }
}

#[test]
fn what_has_to_go_is_the_same_in_every_run() {
    let outline = |_| hostile("", 5 * MB, 7, [None, Some(2)], 5).1;
    let [one, other] = [0, 1].map(outline);
    assert_eq!(one, other);
}

#[test]
fn as_many_states_are_held_as_fit() {
    // The last one's each have a page of the index for themselves. JSON has what rules tell, 20
    // octets a state.
    for (only, apart, octets_a_state) in [(0, 1, 209), (1, 1, 300), (2, 1, 300), (0, 16, 310)] {
        let mut run = run_of("states 40M");
        for first in (0..300_000).step_by(5) {
            let list: Vec<M> = (first..first + 5)
                .map(|id| M::Ins(state(id * apart, Some(only))))
                .collect();
            run.send(0, A, D::Obsd74, &list);
            run.engine.printed().clear();
        }
        let (alive, bound) = (run.alive() as u64, u64::from(run.engine.table().bound()));
        assert!(run.counters().evicted > 0);
        assert!(alive * octets_a_state > 40 * MB, "{only} {apart}: {alive}");
        if (only, apart) == (0, 1) {
            assert_eq!(alive, bound);
        }
        check(&run, 40 * MB);
    }
}

#[test]
fn a_lowered_bound_is_reached_two_states_for_one() {
    let mut run = run_of("states 32M");
    let mut id = 0;
    let mut insert = |run: &mut Run, n: u64| {
        for _ in 0..n {
            id += 1;
            run.send(0, A, D::Obsd74, &[M::Ins(state(id, None))]);
        }
    };
    insert(&mut run, 60_000);
    let before = run.alive();
    assert_eq!(run.counters().evicted, 0);
    let set = |run: &mut Run, line: &str| {
        let mut config = run.engine.config().clone();
        apply_line(&mut config, line, || Place::CommandLine).unwrap();
        run.engine.commit(run.now(), config, &[]);
    };
    set(&mut run, "states 4M");
    assert_eq!(run.alive(), before, "nothing goes before something comes");
    let bound = run.engine.table().bound() as usize;
    assert!(bound < before / 2, "{bound} of {before}");
    insert(&mut run, 1000);
    assert_eq!(run.alive(), before - 1000);
    insert(&mut run, 60_000);
    assert_eq!(run.alive(), bound);
    set(&mut run, "states 64M");
    insert(&mut run, 100_000);
    assert_eq!(run.alive(), bound + 100_000);
    check(&run, 64 * MB);
    set(&mut run, "states 10");
    insert(&mut run, 1);
    assert_eq!(run.alive(), bound + 99_999);
}

#[test]
fn a_raised_bound_has_room_for_states_far_apart_again() {
    let mut run = run_of("states 4M");
    let mut id = 0;
    let mut insert = |run: &mut Run, n: u64| {
        for _ in 0..n {
            id += 100;
            run.send(0, A, D::Obsd74, &[M::Ins(state(id, Some(0)))]);
        }
    };
    insert(&mut run, 30_000);
    let (held, evicted) = (run.alive(), run.counters().evicted);
    assert!(evicted > 1000, "{evicted}");
    let mut config = run.engine.config().clone();
    apply_line(&mut config, "states 16M", || Place::CommandLine).unwrap();
    run.engine.commit(run.now(), config, &[]);
    insert(&mut run, 10_000);
    assert_eq!(run.counters().evicted, evicted);
    assert_eq!(run.alive(), held + 10_000);
    check(&run, 16 * MB);
}

#[test]
fn a_clean_restart_under_the_same_bound_loses_nothing_however_ids_lie() {
    for (mb, apart) in [(4, 3), (6, 1), (6, 12), (9, 6), (9, 40)] {
        let bound = format!("states {mb}M");
        let mut first = run_of(&bound);
        for id in 0..48_000 {
            let ins = M::Ins(state(id * apart, Some(id % 5 / 4)));
            first.send(0, A, D::Obsd74, &[ins]);
        }
        let (mut cursor, mut body) = (KeepCursor::default(), Vec::new());
        while !first.engine.keep_step(first.now(), &mut cursor, &mut body) {}
        let file = keep::file(true, first.now().wall, &body);
        let mut second = run_of(&bound);
        let (header, records) = keep::parse(&file).unwrap();
        second.advance(0);
        second
            .engine
            .restore(second.now(), header.is_clean, records);
        assert_eq!(second.counters().not_restored, 0, "{mb} {apart}");
        assert_eq!(second.alive(), first.alive(), "{mb} {apart}");
        check(&second, mb * MB);
    }
}

#[test]
fn a_keep_file_of_more_than_fits_is_read_back_up_to_the_bound() {
    let mut first = run_of("states 32M");
    for id in 0..60_000 {
        first.send(0, A, D::Obsd74, &[M::Ins(state(id, None))]);
    }
    let held = first.alive();
    let (mut cursor, mut body) = (KeepCursor::default(), Vec::new());
    while !first.engine.keep_step(first.now(), &mut cursor, &mut body) {}
    let file = keep::file(true, first.now().wall, &body);
    let mut second = run_of("states 4M");
    let (header, records) = keep::parse(&file).unwrap();
    second.advance(0);
    second
        .engine
        .restore(second.now(), header.is_clean, records);
    check(&second, 4 * MB);
    let restored = second.alive();
    assert!(restored > 10_000, "{restored}");
    assert_eq!(
        second.counters().not_restored as usize,
        held - restored,
        "each that there is no room for is counted"
    );
    // It goes on as any other that is full.
    for id in 60_000..61_000 {
        second.send(0, A, D::Obsd74, &[M::Ins(state(id, None))]);
    }
    check(&second, 4 * MB);
    assert!(second.counters().evicted > 0);
}

/// Octets of each state's flows as they stood with each flow, and its quality.
fn records(run: &mut Run, exported: &mut BTreeMap<u64, [u64; 2]>) -> Vec<(u64, [u64; 2], String)> {
    let printed = std::mem::take(run.engine.printed());
    let mut last = BTreeMap::new();
    for line in printed
        .split(|b| *b == b'\n')
        .filter(|line| !line.is_empty())
    {
        let record: serde_json::Value = serde_json::from_slice(line).unwrap();
        let quality = record["quality"].as_str().unwrap().to_owned();
        for flow in common::flows(&[line, b"\n"].concat()) {
            let sum = exported.entry(flow.id).or_default();
            *sum = [sum[0] + flow.octets[0], sum[1] + flow.octets[1]];
            last.insert(flow.id, quality.clone());
        }
    }
    last.into_iter()
        .map(|(id, quality)| (id, exported[&id], quality))
        .collect()
}

#[test]
fn what_shares_had_no_room_for_is_partial() {
    let mut run = run_of("states 5M");
    // All that fit, so that there is no more room for shares than what is kept free.
    run.advance(0);
    let states = u64::from(run.engine.table().bound());
    let st = |id: u64| St::udp(id).keyed(plain(id)).count([3, 0], [1000 + id, 0]);
    let b = |id: u64| st(id).count([0, 2], [0, 500 + id]);
    let again = |id: u64| st(id).count([1, 0], [40, 0]);
    for id in 0..states {
        run.send(0, A, D::Obsd74, &[M::Ins(st(id))]);
    }
    for id in 0..states {
        match id % 4 {
            // Another firewall counts, too.
            0 | 1 => run.send(5000, B, D::Obsd74, &[M::Upd(b(id).aged(5))]),
            // Packets pass another firewall, which does not tell how many.
            2 => run.send(5000, B, D::Obsd74, &[M::upd_c(&st(id))]),
            // The firewall counts from 0 again.
            _ => run.send(5000, A, D::Obsd74, &[M::Upd(again(id).aged(5))]),
        }
    }
    assert_eq!(run.counters().evicted, 0);
    let refused = run.counters().shares_refused;
    assert!((100..states).contains(&refused), "{refused}");
    for id in 0..states {
        let last = if id % 4 == 3 { again(id) } else { st(id) };
        run.send(10_000, A, D::Obsd74, &[M::Del(last.aged(10))]);
    }
    let mut counts = BTreeMap::<_, u64>::new();
    for (id, octets, quality) in records(&mut run, &mut BTreeMap::new()) {
        let truth = match id % 4 {
            0 | 1 => Some([1000 + id, 500 + id]),
            2 => None,
            _ => Some([1040 + id, 0]),
        };
        assert!(
            quality != "exact" || truth == Some(octets),
            "{id} {octets:?}"
        );
        *counts.entry(quality).or_default() += 1;
    }
    // All of which a share was refused, and those that B told nothing of.
    let at_least = refused.max(states / 4);
    assert!(counts["partial"] >= at_least, "{counts:?} {refused}");
    assert!(counts["exact"] > 1000, "{counts:?}");
    assert!(!counts.contains_key("estimated"));
}

#[test]
fn what_tcp_carried_is_not_estimated_from_the_middle() {
    let mut run = run_of("states 5M");
    let st = |id: u64, n: u32| {
        let mut st = St::tcp(id).keyed(plain(id)).count([3, 3], [200, 200]);
        (st.src.seqlo, st.dst.seqlo) = (1 + n, 5 + n * 2);
        (st.src.seqhi, st.dst.seqhi) = (60_000 + n, 60_000 + n * 2);
        (st.src.max_win, st.dst.max_win) = (60_000, 60_000);
        st
    };
    // All that fit, so that there is no more room for shares than what is kept free.
    run.advance(0);
    let states = u64::from(run.engine.table().bound());
    for id in 0..states {
        run.send(0, A, D::Obsd74, &[M::Ins(st(id, 0))]);
    }
    for id in 0..states {
        run.send(1000, A, D::Obsd74, &[M::upd_c(&st(id, 20_000))]);
    }
    let refused = run.counters().shares_refused;
    assert!((100..states).contains(&refused), "{refused}");
    // Those that have estimates go, so that there is room for the others.
    for id in 0..states - refused {
        let last = st(id, 20_000).count([30, 40], [21_000, 41_000]);
        run.send(2000, A, D::Obsd74, &[M::Del(last.aged(2))]);
    }
    assert!(run.engine.flow_counters().exact >= states - refused);
    run.engine.printed().clear();
    for id in states - refused..states {
        run.send(3000, A, D::Obsd74, &[M::upd_c(&st(id, 40_000))]);
        run.send(4000, A, D::Obsd74, &[M::del_c(&st(id, 40_000))]);
    }
    assert_eq!(run.counters().shares_refused, refused);
    let records = records(&mut run, &mut BTreeMap::new());
    assert_eq!(records.len() as u64, refused);
    assert!(records.iter().all(|(_, _, quality)| quality == "partial"));
}

/// What the program takes beside what is bounded, octets: itself, its buffers, and what of the table
/// has bounds of its own.
const BESIDE: u64 = 20 * MB;

#[cfg(target_os = "linux")]
#[test]
fn the_program_stays_below_the_bound_but_for_what_it_takes_beside() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_pflow"))
        .args(["-o", "none", "-m", "16M", "-r", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut octets = Vec::from(0xa1b2_c3d4_u32.to_le_bytes());
    octets.extend([
        2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 0, 0, 1, 0, 0, 0,
    ]);
    for first in (0..300_000).step_by(5) {
        let list: Vec<M> = (first..first + 5)
            .map(|id| M::Ins(state(id, Some(2))))
            .collect();
        for packet in packets(D::Obsd74, &list) {
            let (_, frame) = A.frame(&packet);
            let len = (frame.len() as u32).to_le_bytes();
            octets.extend((common::T0 as u32).to_le_bytes());
            octets.extend(((first / 5) as u32).to_le_bytes());
            octets.extend([len, len].concat());
            octets.extend(frame);
        }
        if octets.len() > 1 << 16 {
            stdin.write_all(&octets).unwrap();
            octets.clear();
        }
    }
    stdin.write_all(&octets).unwrap();
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak: u64 = peak
        .unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{log}");
    assert!(peak * 1024 > 16 * MB, "{peak} kB: the table was never full");
    assert!(peak * 1024 < 16 * MB + BESIDE, "{peak} kB");
    assert!(
        log.contains("to make room") || log.contains("evicted"),
        "{log}"
    );
}

#[test]
fn what_firewalls_beyond_the_bound_counted_makes_a_flow_partial() {
    let mut run = Run::new();
    let st = St::udp(1).count([3, 2], [300, 200]);
    run.send(0, A, D::Obsd74, &[M::Ins(st)]);
    for n in 2..=11 {
        let from = From::Ether([10, 0, 0, n]);
        let now = i64::from(n) * 100;
        run.send(now, from, D::Obsd74, &[M::upd_c(&st)]);
        run.send(now + 50, from, D::Obsd74, &[M::Upd(st.aged(1))]);
    }
    run.send(5000, A, D::Obsd74, &[M::Del(st.aged(5))]);
    assert_eq!(run.counters().shares_refused, 2);
    let records = records(&mut run, &mut BTreeMap::new());
    assert_eq!(records, [(1, [2700, 1800], "partial".to_owned())]);
}

/// Octets of the table a state, with a million alive that come in pairs, each of one connection.
fn octets_a_state(text: &str) -> u64 {
    const STATES: u64 = 1_000_000;
    let mut config = Config::default();
    apply_text(
        &mut config,
        "test",
        &format!("{text}\npflow0 flowdst 127.0.0.1:9\n"),
    )
    .unwrap();
    let mut settings = settings();
    settings.output.form = Form::None;
    let mut run = Run::with(settings, config);
    for first in (0..STATES).step_by(4) {
        let pairs = (first / 2..first / 2 + 2).flat_map(|n| {
            let client = format!("10.{}.{}.{}", n >> 16 & 255, n >> 8 & 255, n & 255);
            let key = |far: &str, far_port, near: &str, near_port| {
                St::udp(0).keyed(Key::new(far, far_port, near, near_port))
            };
            let arrives = St {
                id: n * 2,
                ..key(&client, 5000, "192.0.2.1", 443)
            };
            let leaves = St {
                id: n * 2 + 1,
                direction: OUT,
                ..key("192.0.2.1", 443, &client, 5000)
            };
            [arrives, leaves]
        });
        let pairs: Vec<M> = pairs.map(M::Ins).collect();
        run.send(0, A, D::Obsd74, &pairs);
    }
    assert_eq!(run.alive() as u64, STATES);
    run.engine.table().octets() / STATES
}

#[test]
fn a_million_states_take_what_is_promised() {
    let states = octets_a_state("states 2000000");
    assert!(states <= 128, "{states}");
    println!("{states} octets a state");
    let connections = octets_a_state("states 2000000\nrecords connection");
    println!("{connections} with connections");
    assert!(connections <= 160 && connections > states, "{connections}");
}
