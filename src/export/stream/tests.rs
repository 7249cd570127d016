use proptest::prelude::*;

use super::*;
use crate::export::{Format, Settings, TemplateSet};
use crate::wire::netflow9;
use crate::wire::record::Shape;

fn now(secs: i64) -> Now {
    Now::with_boot(Wall::new(secs, 0), Wall::new(1, 0))
}

/// The templates of NetFlow v9.
fn netflow9() -> Templates {
    Templates::from(&Settings {
        format: Format::NetFlow9,
        ..Settings::default()
    })
}

/// A message of `records` records of the first template of `templates`; of NetFlow v9 with its
/// header but for the number.
fn message(domain: u32, templates: Templates, records: u16) -> Vec<u8> {
    if templates.is_netflow9() {
        let shape = Shape::all().next().unwrap();
        let elements = netflow9::elements_of(shape);
        let record_len: u16 = elements.iter().map(|element| element.len).sum();
        let header = netflow9::Header {
            count: records,
            sys_uptime: 6000,
            unix_secs: 7,
            sequence: 0,
            source: domain,
        };
        let mut octets = header.octets().to_vec();
        octets.extend(netflow9::pair(netflow9::template_of(shape), 0));
        octets.resize(octets.len() + usize::from(records * record_len), 7);
        netflow9::close_set(&mut octets, netflow9::HEADER_LEN);
        return octets;
    }
    let (id, layout) = templates.set().templates()[0];
    let len = u16::try_from(layout.record_len()).unwrap() * records;
    let mut octets = vec![0; ipfix::HEADER_LEN];
    octets.extend(ipfix::set_header(id, 4 + len));
    octets.resize(octets.len() + usize::from(len), 7);
    octets
}

fn push(stream: &mut Stream, domain: u32, templates: impl Into<Templates>, records: u16) -> Amount {
    let templates = templates.into();
    let octets = message(domain, templates, records);
    let outgoing = Outgoing {
        domain,
        records,
        options: 0,
        at: now(7),
        octets: &octets,
    };
    stream.push(&outgoing, templates)
}

/// A collector that obeys RFC 7011 and trusts nobody.
#[derive(Default)]
pub(in crate::export) struct Collector {
    /// Record lengths by domain and template.
    pub(in crate::export) templates: BTreeMap<(u32, u16), usize>,
    expected: BTreeMap<u32, u32>,
    /// The same of source ids of NetFlow v9.
    messages: BTreeMap<u32, u32>,
    export_time: u32,
    pub(in crate::export) records: u64,
    pub(in crate::export) missed: u64,
    netflow9: BTreeMap<(u32, u16), usize>,
    netflow9_records: u64,
    netflow9_messages: u64,
    missed_messages: u64,
}

impl Collector {
    fn u16_at(octets: &[u8], at: usize) -> u16 {
        u16::from_be_bytes([octets[at], octets[at + 1]])
    }

    fn u32_at(octets: &[u8], at: usize) -> u32 {
        u32::from_be_bytes(octets[at..at + 4].try_into().unwrap())
    }

    pub(in crate::export) fn read(&mut self, message: &[u8]) {
        if Self::u16_at(message, 0) == 9 {
            return self.read_netflow9(message);
        }
        assert_eq!(Self::u16_at(message, 0), 10);
        assert_eq!(usize::from(Self::u16_at(message, 2)), message.len());
        let time = Self::u32_at(message, 4);
        assert!(time >= self.export_time, "the export time went back");
        self.export_time = time;
        let (sequence, domain) = (Self::u32_at(message, 8), Self::u32_at(message, 12));
        let expected = self.expected.entry(domain).or_default();
        self.missed += u64::from(sequence.wrapping_sub(*expected));
        *expected = sequence;
        let mut sets = &message[ipfix::HEADER_LEN..];
        while !sets.is_empty() {
            let (id, len) = (Self::u16_at(sets, 0), usize::from(Self::u16_at(sets, 2)));
            let (set, rest) = sets.split_at(len);
            sets = rest;
            if id == 2 {
                self.learn(domain, &set[4..]);
                continue;
            }
            let len = self.templates[&(domain, id)];
            assert_eq!((set.len() - 4) % len, 0);
            let records = (set.len() - 4) / len;
            self.records += records as u64;
            let expected = self.expected.entry(domain).or_default();
            *expected = expected.wrapping_add(u32::try_from(records).unwrap());
        }
    }

    fn read_netflow9(&mut self, message: &[u8]) {
        let (count, source) = (Self::u16_at(message, 2), Self::u32_at(message, 16));
        let sequence = Self::u32_at(message, 12);
        let expected = self.messages.entry(source).or_default();
        self.missed_messages += u64::from(sequence.wrapping_sub(*expected));
        *expected = sequence.wrapping_add(1);
        let mut sets = &message[netflow9::HEADER_LEN..];
        let mut records = 0;
        while !sets.is_empty() {
            let (id, len) = (Self::u16_at(sets, 0), usize::from(Self::u16_at(sets, 2)));
            let (set, rest) = sets.split_at(len);
            sets = rest;
            records += match id {
                0 => {
                    let mut rest = &set[4..];
                    let mut templates = 0;
                    while !rest.is_empty() {
                        let fields = usize::from(Self::u16_at(rest, 2));
                        let len = (0..fields).map(|n| usize::from(Self::u16_at(rest, 4 * n + 6)));
                        let key = (source, Self::u16_at(rest, 0));
                        self.netflow9.insert(key, len.sum());
                        rest = &rest[4 + 4 * fields..];
                        templates += 1;
                    }
                    templates
                }
                // Options: of templates, of sampling, or of an interface.
                1 | 400 | 401 => 1,
                _ => {
                    let records = (set.len() - 4) / self.netflow9[&(source, id)];
                    self.records += records as u64;
                    self.netflow9_records += records as u64;
                    self.netflow9_messages += 1;
                    records
                }
            };
        }
        assert_eq!(
            records,
            usize::from(count),
            "records and the header's count"
        );
    }

    fn learn(&mut self, domain: u32, mut set: &[u8]) {
        while !set.is_empty() {
            let (id, fields) = (Self::u16_at(set, 0), usize::from(Self::u16_at(set, 2)));
            set = &set[4..];
            if fields == 0 {
                assert_eq!(id, 2, "all templates");
                let before = self.templates.len();
                self.templates.retain(|(of, _), _| *of != domain);
                assert!(self.templates.len() < before, "nothing to withdraw");
                continue;
            }
            let len = (0..fields).map(|n| usize::from(Self::u16_at(set, 4 * n + 2)));
            let told = self.templates.insert((domain, id), len.sum());
            assert!(told.is_none(), "told twice");
            set = &set[4 * fields..];
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Push(u32, Templates, u16),
    Begin,
    End,
    /// The transport takes so many messages.
    Take(usize),
    Bound(usize),
    Clock(i64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let set = prop_oneof![
        Just(TemplateSet::OpenBsd.into()),
        Just(TemplateSet::OpenBsd78.into()),
        Just(TemplateSet::FreeBsd.into()),
        Just(netflow9()),
    ];
    let step = prop_oneof![
        8 => (1_u32..4, set, 1_u16..27).prop_map(|(a, b, c)| Step::Push(a, b, c)),
        1 => Just(Step::Begin),
        1 => Just(Step::End),
        4 => (0_usize..6).prop_map(Step::Take),
        1 => (0_usize..20_000).prop_map(Step::Bound),
        1 => (0_i64..1000).prop_map(Step::Clock),
    ];
    proptest::collection::vec(step, 0..200)
}

proptest! {
    #[test]
    fn a_collector_reads_every_record_that_arrived_and_sees_what_was_lost(steps in steps()) {
        let mut stream = Stream::new(10_000);
        let mut collector = Collector::default();
        let (mut clock, mut pushed, mut lost) = (500, 0, 0);
        let (mut sent, mut sessions) = (0, Vec::new());
        // Records and messages of NetFlow v9.
        let mut of_netflow9 = (0, 0);
        for step in steps.into_iter().chain([
            Step::Begin,
            Step::Push(1, TemplateSet::OpenBsd.into(), 1),
            Step::Push(2, netflow9(), 1),
            Step::Push(3, TemplateSet::OpenBsd.into(), 1),
            Step::Bound(usize::MAX),
            Step::Take(usize::MAX),
        ]) {
            match step {
                Step::Push(domain, templates, records) => {
                    pushed += u64::from(records);
                    if templates.is_netflow9() {
                        of_netflow9.0 += u64::from(records);
                        of_netflow9.1 += 1;
                    }
                    lost += push(&mut stream, domain, templates, records).records;
                }
                Step::Begin | Step::End => {
                    if matches!(step, Step::Begin) { stream.begin() } else { stream.end() }
                    sessions.push(std::mem::take(&mut collector));
                }
                Step::Take(count) => {
                    let is_all = count == usize::MAX;
                    stream.prepare(now(clock), if is_all { count } else { 3000 });
                    let count = count.min(stream.prepared().count());
                    for message in stream.prepared().take(count) {
                        collector.read(message);
                    }
                    sent += stream.take(count).records;
                }
                Step::Bound(bound) => stream.set_bound(bound),
                Step::Clock(secs) => clock = secs,
            }
        }
        prop_assert!(stream.is_empty());
        prop_assert_eq!(stream.octets(), 0);
        sessions.push(collector);
        let sum = |of: fn(&Collector) -> u64| sessions.iter().map(of).sum::<u64>();
        prop_assert_eq!(sum(|one| one.records), sent);
        prop_assert_eq!(sent + lost, pushed);
        // What was lost at the end of a domain, no later message of it tells.
        prop_assert!(stream.gaps.is_empty() || lost > 0);
        let untold = |version9: bool| -> u64 {
            let gaps = stream.gaps.iter().filter(|(key, _)| key.is_netflow9 == version9);
            gaps.map(|(_, gap)| u64::from(*gap)).sum()
        };
        let lost_of_netflow9 = of_netflow9.0 - sum(|one| one.netflow9_records);
        prop_assert_eq!(sum(|one| one.missed) + untold(false), lost - lost_of_netflow9);
        let messages = sum(|one| one.netflow9_messages) + sum(|one| one.missed_messages);
        prop_assert_eq!(messages + untold(true), of_netflow9.1);
    }
}

#[test]
fn templates_go_once_a_session_and_domain() {
    let mut stream = Stream::new(1 << 20);
    for domain in [7, 9, 7] {
        push(&mut stream, domain, TemplateSet::OpenBsd, 2);
    }
    let sets = |stream: &Stream| -> Vec<(u8, u8)> {
        let prepared = stream.prepared();
        prepared.map(|message| (message[17], message[15])).collect()
    };
    stream.prepare(now(2), usize::MAX);
    assert!(sets(&stream).is_empty(), "there is no session");
    for _ in 0..2 {
        stream.begin();
        stream.prepare(now(2), usize::MAX);
        let all = [(2, 7), (0, 7), (2, 9), (0, 9), (0, 7)];
        assert_eq!(sets(&stream), all);
    }
    assert_eq!(stream.take(5).templates, 2);
    push(&mut stream, 9, TemplateSet::FreeBsd, 2);
    stream.prepare(now(2), usize::MAX);
    let messages: Vec<_> = stream.prepared().collect();
    assert_eq!(messages[0][16..24], [0, 2, 0, 8, 0, 2, 0, 0]);
}

#[test]
fn over_datagrams_other_templates_are_told_and_none_withdrawn() {
    let mut stream = Stream::new(1 << 20);
    stream.begin();
    stream.set_by_datagrams();
    push(&mut stream, 9, TemplateSet::OpenBsd, 2);
    push(&mut stream, 9, TemplateSet::FreeBsd, 2);
    stream.prepare(now(2), usize::MAX);
    let sets: Vec<_> = stream
        .prepared()
        .map(|message| message[16..22].to_vec())
        .collect();
    let fields_of_first = [&sets[0][4..], &sets[2][4..]];
    assert_eq!(
        fields_of_first,
        [[1, 0], [1, 0]],
        "template 256 and no withdrawal"
    );
    stream.tell_again();
    push(&mut stream, 9, TemplateSet::FreeBsd, 2);
    stream.take(4);
    stream.prepare(now(2), usize::MAX);
    assert_eq!(stream.take(9).templates, 1);
}

#[test]
fn the_oldest_go_where_too_much_waits_and_what_is_prepared_stays() {
    let size = message(1, TemplateSet::OpenBsd.into(), 2).len();
    let mut stream = Stream::new(2 * size);
    stream.begin();
    push(&mut stream, 1, TemplateSet::OpenBsd, 2);
    stream.prepare(now(2), 1);
    assert_eq!(stream.prepared().count(), 1);
    stream.prepare(now(2), usize::MAX);
    assert_eq!(push(&mut stream, 1, TemplateSet::OpenBsd, 2).records, 0);
    assert_eq!(push(&mut stream, 1, TemplateSet::OpenBsd, 2).records, 2);
    stream.prepare(now(2), usize::MAX);
    let mut collector = Collector::default();
    stream
        .prepared()
        .for_each(|message| collector.read(message));
    assert_eq!((collector.records, collector.missed), (4, 2));
    assert_eq!(stream.clear().records, 4);
}

#[test]
fn netflow_v9_is_told_its_templates_and_names_in_each_session_and_numbered_by_messages() {
    let mut stream = Stream::new(1 << 20);
    let mut named = vec![0; ipfix::HEADER_LEN];
    named.extend(netflow9::interfaces([(3, &b"em0"[..])].into_iter()));
    let name = Outgoing {
        domain: 42,
        records: 0,
        options: 1,
        at: now(7),
        octets: &named,
    };
    stream.push(&name, netflow9());
    push(&mut stream, 42, netflow9(), 2);
    for _ in 0..2 {
        stream.begin();
        stream.prepare(now(9), usize::MAX);
        let is_many = stream.prepared().count() > 3;
        assert!(is_many, "the templates are more than one message");
        for (n, message) in stream.prepared().enumerate() {
            assert_eq!(message[..2], [0, 9]);
            // Uptime and time of the data, not of the connection.
            assert_eq!(message[4..12], [0, 0, 0x17, 0x70, 0, 0, 0, 7]);
            assert_eq!(usize::from(message[15]), n);
            assert_eq!(message[16..20], [0, 0, 0, 42]);
            assert!(message.len() <= 496);
        }
        let all: Vec<_> = stream.prepared().collect();
        let [.., name, _] = &all[..] else { panic!() };
        assert_eq!(name[20..22], [1, 145], "the option 401 before the data");
        let mut collector = Collector::default();
        all.iter().for_each(|message| collector.read(message));
        assert_eq!((collector.records, collector.missed_messages), (2, 0));
    }
}
