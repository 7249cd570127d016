use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::export::{Domain, Format, Interface, Order, Outbox, transmit};
use crate::flow::{Boot, End, Quality, Times};
use crate::state::{Address, Af, IfName, StateId};
use crate::time::Wall;

const BOOT: i64 = 1_700_000_000;

fn now(uptime: i64) -> Now {
    Now::with_boot(Wall::new(BOOT + uptime, 250_000_000), Wall::new(BOOT, 0))
}

fn tuple(af: Af, n: u8, proto: u8) -> Tuple {
    Tuple {
        af,
        proto,
        src: Address([n; 16]).of(af),
        dst: Address([n + 1; 16]).of(af),
        sport: 4660,
        dport: 8,
    }
}

fn flow(at: i64, proto: u8, af: Af, post: Option<Af>) -> Flow {
    Flow {
        id: StateId {
            id: 5,
            creatorid: 6,
        },
        direction: Direction::In,
        ifname: IfName::from("em0"),
        pflow: true,
        tuple: tuple(af, 1, proto),
        translated: post.map(|af| tuple(af, 3, proto)),
        packets: [1, 2],
        octets: [100, 200],
        times: Times::new(at - 5, at, now(at), Boot::Known),
        end: End::Deleted,
        quality: Quality::Exact,
        detail: None,
        only: None,
    }
}

fn running(mtu: u16) -> (Interface, Outbox) {
    let mut outbox = Outbox::default();
    let mut interface = Interface::new(0, Settings::default());
    let settings = Settings {
        flowdst: Some("127.0.0.1:9995".parse().unwrap()),
        format: Format::NetFlow9,
        mtu,
        ..Settings::default()
    };
    interface.configure(now(1), settings, &mut outbox);
    (interface, outbox)
}

fn sent(interface: &mut Interface, outbox: &mut Outbox) -> Vec<Vec<u8>> {
    let interfaces = std::slice::from_mut(interface);
    let transmit = transmit(outbox, interfaces, Order::ByLength);
    transmit.iter().map(|(_, octets)| octets.to_vec()).collect()
}

fn number(octets: &[u8]) -> u64 {
    octets.iter().fold(0, |n, octet| n << 8 | u64::from(*octet))
}

/// What a collector makes of messages: records by type of field.
#[derive(Default)]
struct Collector {
    templates: HashMap<u64, Vec<(u64, usize)>>,
    records: Vec<HashMap<u64, u64>>,
    names: HashMap<u64, String>,
    next: u64,
    /// Numbers of the messages that told templates.
    told: Vec<usize>,
    /// When records began and ended, milliseconds since 1970.
    epochs: Vec<(i64, i64)>,
    /// What the uptimes of the message count from, likewise.
    zero: i64,
}

impl Collector {
    fn read(&mut self, message: &[u8]) {
        assert_eq!(number(&message[..2]), 9);
        assert_eq!(number(&message[12..16]), self.next, "a message is missing");
        self.next += 1;
        let (mut count, uptime) = (number(&message[2..4]), number(&message[4..8]));
        let [wall, up] = [&message[8..12], &message[4..8]]
            .map(number)
            .map(u64::cast_signed);
        self.zero = wall * 1000 - up;
        if number(&message[20..22]) == 0 {
            self.told.push(usize::try_from(self.next).unwrap() - 1);
        }
        let mut rest = &message[20..];
        while !rest.is_empty() {
            let (id, len) = (number(&rest[..2]), number(&rest[2..4]));
            let (set, others) = rest.split_at(usize::try_from(len).unwrap());
            count -= self.read_set(id, &set[4..], uptime);
            rest = others;
        }
        assert_eq!(count, 0, "the header tells of others");
    }

    /// The records that were in it.
    fn read_set(&mut self, id: u64, mut set: &[u8], uptime: u64) -> u64 {
        let mut count = 0;
        loop {
            let (kind, fields) = match (id, set.len()) {
                (0 | 1, ..6) => return count,
                (0, _) => (4, usize::try_from(number(&set[2..4])).unwrap()),
                (1, _) => (6, usize::try_from(number(&set[4..6])).unwrap() / 4 + 1),
                _ => (0, self.templates[&id].len()),
            };
            if kind > 0 {
                let of = |n: usize| {
                    let field = &set[kind + 4 * n..][..4];
                    (
                        number(&field[..2]),
                        usize::try_from(number(&field[2..])).unwrap(),
                    )
                };
                self.templates
                    .insert(number(&set[..2]), (0..fields).map(of).collect());
                set = &set[kind + 4 * fields..];
            } else {
                let template = self.templates[&id].clone();
                if set.len() < template.iter().map(|(_, len)| len).sum() {
                    assert!(set.len() < 4 && set.iter().all(|octet| *octet == 0));
                    return count;
                }
                let mut record = HashMap::new();
                for (field, len) in template {
                    record.insert(field, number(&set[..len]));
                    if field == 82 {
                        let name = String::from_utf8(set[..len].to_vec()).unwrap();
                        let name = name.trim_end_matches('\0').to_owned();
                        self.names.insert(record[&2], name);
                    }
                    set = &set[len..];
                }
                if id < 400 {
                    let (first, last) = (record[&22], record[&21]);
                    assert!(first <= last && last <= uptime, "{first} {last} {uptime}");
                    let epoch = |millis: u64| self.zero + millis.cast_signed();
                    self.epochs.push((epoch(first), epoch(last)));
                    self.records.push(record);
                }
            }
            count += 1;
        }
    }
}

#[test]
fn a_collector_reads_every_shape_and_misses_no_message() {
    let (mut interface, mut outbox) = running(1500);
    let mut collector = Collector::default();
    for shape in Shape::all() {
        let proto = if shape.is_icmp { 1 } else { 17 };
        let flow = flow(50, proto, shape.af, shape.post);
        interface.offer(now(50), &flow, 7, &mut outbox);
    }
    interface.handle_timeout(now(80), &mut outbox);
    let messages = sent(&mut interface, &mut outbox);
    messages.iter().for_each(|message| collector.read(message));
    assert_eq!(collector.records.len(), 2 * SHAPES);
    assert_eq!(collector.names[&7], "em0");
    let first = &collector.records[0];
    let expected = [
        (8, 0x0101_0101),
        (12, 0x0202_0202),
        (7, 4660),
        (11, 8),
        (4, 17),
        (1, 100),
        (2, 1),
        (10, 7),
        (14, 7),
        (22, 45_000),
        (21, 50_000),
        (61, 0),
        (136, 1),
    ];
    for (field, value) in expected {
        assert_eq!(first[&field], value, "{field}");
    }
    let icmp: Vec<_> = collector
        .records
        .iter()
        .filter_map(|one| one.get(&32))
        .collect();
    assert_eq!(icmp[..2], [&0x0800, &0]);
    let ids: Vec<_> = collector.records.iter().map(|one| one[&148]).collect();
    assert_eq!(ids[0], ids[1], "both directions are one flow");
    assert_ne!(ids[0], 0);
}

#[test]
fn no_message_is_longer_than_the_mtu_holds() {
    for mtu in [600, 1280, 1500, 2048] {
        let (mut interface, mut outbox) = running(mtu);
        let first = sent(&mut interface, &mut outbox);
        for n in 0..200_u16 {
            let mut flow = flow(50, 17, Af::Inet6, Some(Af::Inet6));
            flow.ifname = IfName::from(&*format!("vlan{n}"));
            interface.offer(now(50), &flow, 1 + n, &mut outbox);
        }
        interface.handle_timeout(now(80), &mut outbox);
        let mut collector = Collector::default();
        for message in first.into_iter().chain(sent(&mut interface, &mut outbox)) {
            // Templates stay together.
            assert!(
                message.len() + 28 <= usize::from(mtu.max(1100)),
                "{}",
                message.len()
            );
            collector.read(&message);
        }
        assert_eq!((collector.records.len(), collector.names.len()), (400, 200));
    }
}

/// Has `interface` do what is due up to `to`, each at its time, and reads what it sends.
/// Templates go once.
fn pass(interface: &mut Interface, outbox: &mut Outbox, collector: &mut Collector, to: Now) {
    interface.skip_templates(to.uptime);
    while let Some(due) = interface.poll_timeout()
        && due <= to.uptime
    {
        interface.handle_timeout(to.at(due), outbox);
        read(interface, outbox, collector);
        interface.skip_templates(to.uptime);
    }
}

fn read(interface: &mut Interface, outbox: &mut Outbox, collector: &mut Collector) {
    for message in sent(interface, outbox) {
        collector.read(&message);
    }
}

#[test]
fn times_stay_true_where_uptime_is_more_than_32_bits_hold() {
    let full = 2 * 2_147_483;
    let (mut interface, mut outbox) = running(1500);
    let mut collector = Collector::default();
    // The message of the last two is begun at the end of the scale and held beyond it.
    let flows = [
        (full - 7, full - 9, full - 8),
        (full - 2, full - 600_000, full - 3),
        (full - 2, full - 600_000, full - 3),
        (full + 1, full - 600_001, full - 1),
        (full + 1, 5, full + 1),
    ];
    for (at, first, last) in flows {
        let mut flow = flow(at, 6, Af::Inet, None);
        flow.times = Times::new(first, last, now(at), Boot::Known);
        let until = now(at);
        pass(&mut interface, &mut outbox, &mut collector, until);
        interface.offer(until, &flow, 0, &mut outbox);
    }
    interface.flush(now(full + 2), &mut outbox);
    read(&mut interface, &mut outbox, &mut collector);
    let times = collector.epochs.chunks(2).map(|record| record[0]);
    let told: Vec<_> = times
        .map(|(first, last)| (first / 1000 - BOOT, last / 1000 - BOOT))
        .collect();
    let [.., cut] = &flows;
    let mut expected: Vec<_> = flows
        .iter()
        .map(|(_, first, last)| (*first, *last))
        .collect();
    // 49.7 days do not fit any more.
    expected[4] = (full / 2, cut.2);
    assert_eq!(told, expected);
    assert_eq!(interface.counters.clamped, 1);
    assert_eq!(collector.records[0][&136], 3);
}

#[test]
fn a_program_that_slept_over_the_end_of_the_scale_sends_what_it_held_with_its_time() {
    let full = 2 * 2_147_483;
    let (mut interface, mut outbox) = running(1500);
    let mut collector = Collector::default();
    interface.offer(
        now(full - 9),
        &flow(full - 9, 6, Af::Inet, None),
        0,
        &mut outbox,
    );
    interface.offer(
        now(full + 90),
        &flow(full + 90, 6, Af::Inet, None),
        0,
        &mut outbox,
    );
    interface.flush(now(full + 5000), &mut outbox);
    read(&mut interface, &mut outbox, &mut collector);
    let lasts: Vec<_> = collector
        .epochs
        .iter()
        .map(|(_, last)| last / 1000 - BOOT)
        .collect();
    assert_eq!(lasts, [full - 9, full - 9, full + 90, full + 90]);
}

#[test]
fn templates_are_told_again_after_so_many_messages() {
    for packets in [1, 3] {
        let (mut interface, mut outbox) = running(1500);
        let settings = Settings {
            refresh_packets: packets,
            hold: 30,
            refresh: 86_400,
            ..interface.settings().clone()
        };
        interface.configure(now(2), settings, &mut outbox);
        let mut collector = Collector::default();
        for _ in 0..10 {
            for shape in Shape::all() {
                let proto = if shape.is_icmp { 1 } else { 17 };
                interface.offer(
                    now(2),
                    &flow(2, proto, shape.af, shape.post),
                    7,
                    &mut outbox,
                );
            }
            // Many messages of one turn.
            interface.flush(now(2), &mut outbox);
        }
        read(&mut interface, &mut outbox, &mut collector);
        let between = collector.told.windows(2).map(|two| two[1] - two[0] - 1);
        let expected = usize::try_from(packets).unwrap();
        // Told by the configurations first.
        assert_eq!(between.clone().next(), Some(0));
        assert_eq!(between.clone().skip(1).min(), Some(expected), "{packets}");
        assert_eq!(between.max(), Some(expected), "{packets}");
        let data = 10 * SHAPES;
        assert_eq!(collector.told.len(), 2 + data / expected);
        let templates = u64::try_from(collector.told.len()).unwrap();
        assert_eq!(interface.counters.templates, templates);
    }
}

#[test]
fn templates_are_told_more_often_at_first_and_after_the_clock_was_set() {
    let (mut interface, mut outbox) = running(1500);
    let mut due = Vec::new();
    let step = |interface: &mut Interface, outbox: &mut Outbox, due: &mut Vec<i64>, to: Now| {
        while let Some(at) = interface.poll_timeout()
            && at <= to.uptime
        {
            interface.handle_timeout(to.at(at), outbox);
            due.push(at.secs());
        }
        sent(interface, outbox);
    };
    sent(&mut interface, &mut outbox);
    step(&mut interface, &mut outbox, &mut due, now(100));
    assert_eq!(due, [2, 4, 8, 16, 32, 62, 92]);
    due.clear();
    // Two hours back.
    let set = |uptime| {
        let boot = BOOT - 7200;
        Now::with_boot(Wall::new(boot + uptime, 250_000_000), Wall::new(boot, 0))
    };
    interface.offer(set(100), &flow(100, 17, Af::Inet, None), 0, &mut outbox);
    interface.flush(set(101), &mut outbox);
    sent(&mut interface, &mut outbox);
    step(&mut interface, &mut outbox, &mut due, set(170));
    assert_eq!(due, [101, 102, 104, 108, 116, 132, 162]);
}

#[test]
fn each_firewall_has_a_source_id_that_counts_its_own_messages() {
    let (mut interface, mut outbox) = running(1500);
    sent(&mut interface, &mut outbox);
    let settings = Settings {
        domain: Domain::Creatorid,
        ..interface.settings().clone()
    };
    interface.configure(now(2), settings, &mut outbox);
    let mut flow = flow(2, 17, Af::Inet, None);
    for creatorid in [7, 9, 7] {
        flow.id.creatorid = creatorid;
        interface.offer(now(2), &flow, 0, &mut outbox);
        interface.flush(now(2), &mut outbox);
    }
    let messages = sent(&mut interface, &mut outbox);
    let told = messages.iter().map(|message| {
        let set = number(&message[20..22]);
        (
            number(&message[16..20]),
            number(&message[12..16]),
            set < 256,
        )
    });
    let expected = [
        (7, 0, true),
        (7, 1, false),
        (9, 0, true),
        (9, 1, false),
        (7, 2, false),
    ];
    assert_eq!(told.collect::<Vec<_>>(), expected);
    assert_eq!(interface.counters.templates, 3);
    assert_eq!(interface.session().messages(), [(7, 3), (9, 2), (42, 1)]);
}

/// What may happen to an interface.
#[derive(Clone, Debug)]
enum Step {
    /// Seconds of uptime go by.
    Pass(i64),
    /// The program is not run for so long.
    Sleep(i64),
    /// The wall clock is set, by so many seconds.
    Set(i64),
    /// A flow ends that began and ended so many seconds ago, by its state.
    Flow(i64, i64, bool),
    Flush,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let seconds = || prop_oneof![0..90_i64, 0..3_000_000_i64, 0..5_000_000_i64];
    let one = prop_oneof![
        2 => seconds().prop_map(Step::Pass),
        1 => seconds().prop_map(Step::Sleep),
        1 => (-4000..4000_i64).prop_map(Step::Set),
        8 => (-9..9_000_000_i64, -9..9_000_000_i64, any::<bool>())
            .prop_map(|(first, last, is_six)| Step::Flow(first, last, is_six)),
        1 => Just(Step::Flush),
    ];
    prop::collection::vec(one, 1..60)
}

proptest! {
    #[test]
    fn no_record_is_later_than_its_header_and_none_is_missing(
        steps in steps(),
        begin in prop_oneof![Just(1), 2_147_400..2_147_600_i64, 4_294_800..4_295_100_i64],
        boot in prop_oneof![Just(Boot::Known), Just(Boot::Unknown), Just(Boot::At(77))],
    ) {
        let (mut interface, mut outbox) = running(1500);
        let mut collector = Collector::default();
        let (mut uptime, mut wall, mut records) = (begin, BOOT + begin, 0);
        for step in steps.into_iter().chain([Step::Flush]) {
            let now = Now::with_boot(Wall::new(wall, 500_000_000), Wall::new(wall - uptime, 0));
            match step {
                Step::Pass(secs) => {
                    (uptime, wall) = (uptime + secs, wall + secs);
                    let to = now.at(Uptime::new(uptime, 0));
                    pass(&mut interface, &mut outbox, &mut collector, to);
                }
                Step::Sleep(secs) => {
                    (uptime, wall) = (uptime + secs, wall + secs);
                    let to = now.at(Uptime::new(uptime, 0));
                    interface.handle_timeout(to, &mut outbox);
                }
                Step::Set(secs) => wall += secs,
                Step::Flow(first, last, is_six) => {
                    let af = if is_six { Af::Inet6 } else { Af::Inet };
                    let mut flow = flow(uptime, 6, af, None);
                    flow.times = Times::new(uptime - first, uptime - last, now, boot);
                    interface.offer(now, &flow, 0, &mut outbox);
                    records += 2;
                }
                Step::Flush => interface.flush(now, &mut outbox),
            }
            read(&mut interface, &mut outbox, &mut collector);
        }
        // The collector compares each record with its header.
        prop_assert_eq!(collector.records.len(), records);
    }
}
