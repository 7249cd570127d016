//! pflow beside a model of pf firewalls whose traffic is known (examples/pfsim).
//!
//! ```text
//! World --packets--> Engine --flows--> compared with World::truth()
//!   ^                   |
//!   +---- inject() -----+   for requests
//! ```
//! [`play`] drives both by simulated time; nothing here waits.

#![allow(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    clippy::unwrap_used,
    reason = "a test that is wrong may panic"
)]

mod common;
#[path = "../examples/pfsim/model/mod.rs"]
mod model;

use std::collections::HashMap;
use std::net::Ipv4Addr;

use common::{Out, Run, T0};
use model::clock::Clock;
use model::dialect::{DIALECTS, Dialect};
use model::firewall::Ended;
use model::rng::Rng;
use model::state::SECOND;
use model::traffic::Mix;
use model::wire::{self, Message};
use model::world::{Incident, Settings, Truth, World};
use pflow::wire::link::LinkType;

/// A small scenario: some hundred states in five minutes.
fn small(name: &str) -> Settings {
    Settings {
        states: 600,
        seconds: 300,
        downloads: 1,
        download_octets: 50_000_000,
        wall: T0 as u64,
        ..Settings::new(Dialect::named(name).unwrap())
    }
}

/// Lets a listener hear what a world sends, to the end of it, and calls `step` in between, every
/// simulated second. The flows that came out.
fn play(world: &mut World, seconds: u64, step: &mut dyn FnMut(&mut World, u64)) -> Vec<Out> {
    play_into(&mut Run::new(), world, seconds, step)
}

/// [`play`] for a listener that is there.
fn play_into(
    run: &mut Run,
    world: &mut World,
    seconds: u64,
    step: &mut dyn FnMut(&mut World, u64),
) -> Vec<Out> {
    let mut flows = Vec::new();
    for second in 1..=seconds {
        let now = second * SECOND;
        world.run_until(now);
        while let Some((at, packet)) = world.poll_packet() {
            let ms = (at / 1000) as i64;
            run.frame(ms, LinkType::RAW, &packet, packet.len());
        }
        step(world, now);
        flows.append(&mut run.flows());
    }
    flows
}

/// States that ended and were announced, by id and creator.
fn ended(world: &World) -> HashMap<(u64, u32), Truth> {
    let truth = world.truth().into_iter();
    let told =
        truth.filter(|truth| truth.account.ended != Ended::Alive && truth.account.is_announced);
    told.map(|truth| ((truth.account.id, truth.account.creator), truth))
        .collect()
}

/// The numbers of a flow beside the truth.
fn assert_right(name: &str, flow: &Out, truth: &HashMap<(u64, u32), Truth>) {
    let account = &truth[&(flow.id, flow.creator)].account;
    assert_eq!(
        (flow.packets, flow.octets),
        (account.packets, account.octets),
        "{name}: {flow:?}, {account:?}"
    );
}

/// v2 to v4 announce a state before they count its first packet, and nobody asked: what there is are
/// sequence numbers.
fn assert_estimated(name: &str, flows: &[Out], truth: &HashMap<(u64, u32), Truth>) {
    let tcp: HashMap<_, _> = truth
        .iter()
        .filter(|(_, truth)| truth.account.path.proto == 6)
        .collect();
    let octets = |octets: [u64; 2]| octets.iter().sum::<u64>() as f64;
    let all: f64 = tcp.values().map(|truth| octets(truth.account.octets)).sum();
    let told: f64 = flows.iter().map(|flow| octets(flow.octets)).sum();
    let share = told / all;
    assert!((0.95..1.05).contains(&share), "{name}: {share:.3}");
    let is_most = flows.len() * 3 > tcp.len() * 2;
    assert!(is_most, "{name}: {} of {}", flows.len(), tcp.len());
    assert!(
        flows
            .iter()
            .all(|flow| tcp.contains_key(&(flow.id, flow.creator)))
    );
}

#[test]
fn every_dialect_is_read_whole_and_each_state_that_ends_is_a_flow() {
    for dialect in &DIALECTS {
        let settings = small(dialect.name);
        let mut world = World::new(settings.clone());
        let flows = play(&mut world, settings.seconds, &mut |_, _| {});
        let truth = ended(&world);
        assert!(truth.len() > 300, "{}: {}", dialect.name, truth.len());
        for flow in &flows {
            let key = (flow.id, flow.creator);
            let account = &truth.get(&key).expect(dialect.name).account;
            assert_eq!(
                flow.proto,
                u64::from(account.path.proto),
                "{}",
                dialect.name
            );
        }
        if dialect.version < 5 {
            assert_estimated(dialect.name, &flows, &truth);
            continue;
        }
        // the last packets are still on their way
        let missing = truth.len().abs_diff(flows.len());
        assert!(
            missing <= 10,
            "{}: {missing} of {}",
            dialect.name,
            truth.len()
        );
    }
}

#[test]
fn asked_in_time_the_counters_of_every_dialect_are_exact() {
    for dialect in &DIALECTS {
        let settings = small(dialect.name);
        let mut world = World::new(settings.clone());
        let ask = &mut World::ask_for_silent;
        let flows = play(&mut world, settings.seconds, ask);
        let truth = ended(&world);
        assert!(flows.len() > 300, "{}: {}", dialect.name, flows.len());
        for flow in &flows {
            assert_right(dialect.name, flow, &truth);
        }
    }
}

#[test]
fn after_a_failover_a_flow_is_the_sum_over_both_firewalls() {
    let dialect = Dialect::named("obsd74").unwrap();
    let settings = Settings {
        // most connections are over in a moment
        states: 6000,
        nodes: 2,
        incidents: vec![(150 * SECOND, Incident::Failover)],
        ..small(dialect.name)
    };
    let mut world = World::new(settings.clone());
    let ask = &mut World::ask_for_silent;
    let flows = play(&mut world, settings.seconds, ask);
    let truth = ended(&world);
    let shared = flows
        .iter()
        .filter(|flow| truth[&(flow.id, flow.creator)].nodes == 2);
    assert!(shared.count() > 5);
    for flow in &flows {
        assert_right("failover", flow, &truth);
    }
}

/// How late a flow may come that is due: a message waits a second in the sender's queue, and here
/// flows are taken each second.
const LATE: u64 = 3 * SECOND;
/// How long a state that ended waits for the other of its connection.
const PATIENCE: u64 = 60 * SECOND;

#[test]
fn a_connection_is_one_flow_of_what_passed_as_soon_as_both_its_states_ended() {
    let settings = Settings {
        states: 3000,
        has_every_way: true,
        ..small("obsd74")
    };
    let mut world = World::new(settings.clone());
    let config = common::config("records connection\n");
    let mut run = Run::with(common::settings(), config);
    let mut flows: HashMap<(u64, u32), Vec<(u64, Out)>> = HashMap::new();
    for second in 1..=settings.seconds {
        let now = second * SECOND;
        let ask = &mut World::ask_for_silent;
        world.run_until(now);
        while let Some((at, packet)) = world.poll_packet() {
            run.frame((at / 1000) as i64, LinkType::RAW, &packet, packet.len());
        }
        ask(&mut world, now);
        for flow in run.flows() {
            flows
                .entry((flow.id, flow.creator))
                .or_default()
                .push((now, flow));
        }
    }
    let mut connections: HashMap<usize, Vec<Truth>> = HashMap::new();
    for truth in world.truth() {
        let number = truth.account.path.connection.unwrap();
        connections.entry(number).or_default().push(truth);
    }
    let horizon = settings.seconds * SECOND - LATE;
    let (mut alone, mut joined) = (0, 0);
    for states in connections.values() {
        let accounts: Vec<_> = states.iter().map(|truth| &truth.account).collect();
        let is_told = |ended: &Option<u64>| ended.is_some_and(|ended| ended < horizon);
        if !accounts
            .iter()
            .all(|one| one.is_announced && is_told(&one.removed))
        {
            continue;
        }
        let due = match &*accounts {
            [one] => one.removed,
            [one, other] if one.path.direction != other.path.direction => {
                let ends = [one.removed, other.removed].map(Option::unwrap);
                Some(ends[0].max(ends[1]).min(ends[0].min(ends[1]) + PATIENCE))
            }
            // made anew: the example compares those
            _ => continue,
        };
        let [(at, flow)] = &flows[&(accounts[0].id, accounts[0].creator)][..] else {
            panic!("{accounts:?}");
        };
        assert_eq!(
            (flow.packets, flow.octets),
            (accounts[0].packets, accounts[0].octets),
            "{accounts:?}"
        );
        assert!(*at <= due.unwrap() + LATE, "{at}: {flow:?} {accounts:?}");
        assert_eq!(flow.egress.is_some(), accounts.len() == 2);
        alone += usize::from(accounts.len() == 1);
        joined += usize::from(accounts.len() == 2);
    }
    assert!(alone > 200 && joined > 600, "{alone}, {joined}");
}

#[test]
fn a_seed_gives_the_same_packets_each_time_and_another_gives_others() {
    let packets = |seed| {
        let mut world = World::new(Settings {
            seed,
            seconds: 60,
            ..small("obsd74")
        });
        world.run_until(60 * SECOND);
        let mut all = Vec::new();
        while let Some(packet) = world.poll_packet() {
            all.push(packet);
        }
        all
    };
    assert!(packets(1).len() > 50);
    assert_eq!(packets(1), packets(1));
    assert_ne!(packets(1), packets(2));
}

#[test]
fn with_a_bound_on_connections_and_time_outs_the_number_of_states_alive_levels_off() {
    let longest = 10;
    let mut world = World::new(Settings {
        states: 4000,
        seconds: 200,
        longest: Some(longest),
        ..small("obsd74")
    });
    // Twice the bound, a purge's pass over the table, and the second it begins in.
    let oldest = (u64::from(longest) * 2 + 11) * SECOND;
    let mut alive = Vec::new();
    for second in 1..=160 {
        world.run_until(second * SECOND);
        alive.push(world.nodes[0].len());
        for account in &world.nodes[0].accounts {
            let end = account.removed.unwrap_or(second * SECOND);
            assert!(end <= account.created + oldest, "{account:?}");
        }
    }
    let most = |part: &[usize]| part.iter().copied().max().unwrap();
    let (first, second) = (most(&alive[40..100]), most(&alive[100..]));
    assert!(first > 200, "{first}");
    assert!(first.abs_diff(second) < first / 5, "{first}, {second}");
}

#[test]
fn a_firewall_takes_no_request_from_further_away_and_none_in_another_version() {
    let mut world = World::new(small("obsd74"));
    world.run_until(30 * SECOND);
    let account = &world.nodes[0].accounts[0];
    let request = Message::UpdateRequest {
        id: account.id,
        creator: account.creator,
    };
    let source = Ipv4Addr::new(192, 0, 2, 9);
    let of = |name| wire::packet(&[request], &Dialect::named(name).unwrap());
    let mut far = wire::ip(source, 1, &of("obsd74"));
    far[8] = 254;
    let firewall = &mut world.nodes[0];
    let now = 30 * SECOND;
    assert_eq!(firewall.receive(&far, now), Err(wire::Bad::Ttl));
    let old = wire::ip(source, 1, &of("obsd46"));
    assert_eq!(firewall.receive(&old, now), Err(wire::Bad::Version));
    let good = wire::ip(source, 1, &of("obsd74"));
    assert_eq!(firewall.receive(&good, now), Ok(1));
}

/// Asks for every state that lives, so seldom that clocks are seconds apart from one time to the next.
fn ask_all(world: &mut World, now: u64) {
    if !now.is_multiple_of(4 * 3600 * SECOND) {
        return;
    }
    let all = world.nodes.iter().flat_map(|node| &node.accounts);
    let alive = all.filter(|account| account.removed.is_none());
    let requests: Vec<Message> = alive
        .map(|account| Message::UpdateRequest {
            id: account.id,
            creator: account.creator,
        })
        .collect();
    let dialect = Dialect::named("obsd74").unwrap();
    for requests in requests.chunks(80) {
        let pfsync = wire::packet(requests, &dialect);
        world.inject(wire::ip(Ipv4Addr::new(192, 0, 2, 9), 7, &pfsync), now);
    }
}

/// Octets told and octets there were, each of all states that ended in a day and of those among them
/// that lived for more than four hours; and how many steps of clocks were seen.
struct Day {
    told: [f64; 2],
    truth: [f64; 2],
    flows: usize,
    steps: u64,
}

fn day(clocks: [Clock; 2]) -> Day {
    let settings = Settings {
        states: 800,
        seconds: 86_400,
        nodes: 2,
        downloads: 0,
        clocks,
        ..small("obsd74")
    };
    let mut world = World::new(settings.clone());
    let mut rng = Rng::new(18);
    let mix = Mix {
        flagged: 1.0,
        inet6: 0.2,
        bursty: 0.0,
        icmp: settings.dialect.icmp,
        has_every_way: false,
        has_af_to: false,
    };
    for hours in [5, 8, 12, 16, 20, 23] {
        let download = mix.slow_download(&mut rng, 200_000_000, hours * 3600);
        world.add(download, 60 * SECOND);
    }
    let mut run = Run::new();
    let flows = play_into(&mut run, &mut world, settings.seconds, &mut ask_all);
    let truth = ended(&world);
    let sum = |octets: [u64; 2]| octets.iter().sum::<u64>() as f64;
    let is_long = |truth: &Truth| {
        let account = &truth.account;
        account.removed.unwrap_or(0) > account.created + 4 * 3600 * SECOND
    };
    let longs = truth.values().filter(|truth| is_long(truth));
    assert!(longs.clone().count() >= 6);
    let of_long = flows
        .iter()
        .filter(|flow| truth.get(&(flow.id, flow.creator)).is_some_and(is_long));
    Day {
        told: [
            flows.iter().map(|flow| sum(flow.octets)).sum(),
            of_long.map(|flow| sum(flow.octets)).sum(),
        ],
        truth: [
            truth.values().map(|truth| sum(truth.account.octets)).sum(),
            longs.map(|truth| sum(truth.account.octets)).sum(),
        ],
        flows: flows.len(),
        steps: run.counters().steps,
    }
}

#[test]
fn over_a_day_firewalls_whose_clocks_drift_count_what_passed() {
    let right = day(Default::default());
    for ppm in [50, 200, -200] {
        let drifting = Clock {
            offset: 12_345_678,
            ppm,
            ..Clock::default()
        };
        let other = Clock {
            ppm: -50,
            ..Clock::default()
        };
        let drifted = day([drifting, other]);
        assert_eq!(drifted.flows, right.flows, "{ppm}");
        assert_eq!(drifted.steps, 0, "{ppm}: drift is no step");
        for n in 0..2 {
            let share = drifted.told[n] / drifted.truth[n];
            assert!((0.995..1.005).contains(&share), "{ppm}: {n}: {share}");
        }
    }
}

#[test]
fn at_ten_times_the_speed_ages_and_silences_are_those_of_a_listeners_clock() {
    const SPEED: u64 = 10;
    let clock = Clock {
        speed: SPEED as f64,
        ..Clock::default()
    };
    let settings = Settings {
        nodes: 2,
        incidents: vec![(150 * SECOND, Incident::Failover)],
        clocks: [clock.clone(), clock],
        ..small("obsd74")
    };
    let mut world = World::new(settings.clone());
    let mut run = Run::new();
    let mut flows = Vec::new();
    for second in 1..=settings.seconds {
        world.run_until(second * SECOND);
        while let Some((at, packet)) = world.poll_packet() {
            let ms = (at / 1000 / SPEED) as i64;
            run.frame(ms, LinkType::RAW, &packet, packet.len());
        }
        world.ask_for_silent(second * SECOND);
        flows.append(&mut run.flows());
    }
    let truth = ended(&world);
    assert!(flows.len() > 300, "{}", flows.len());
    assert_eq!(run.counters().steps, 0);
    let listened = |simulated: u64| (simulated / SPEED / SECOND) as i64;
    for flow in &flows {
        let account = &truth[&(flow.id, flow.creator)].account;
        let begun = listened(account.created);
        assert!((flow.start - begun).abs() <= 2, "{flow:?}: {begun}");
        let removed = listened(account.removed.unwrap());
        assert!(flow.end <= removed + 1, "{flow:?}: {removed}");
    }
}
