//! What a collector gets on a transport that keeps order and loses nothing while it lasts: TCP, a
//! file.
//!
//! ```text
//!              push                  prepare                     take
//! messages  --------->  waiting  ---------------->  prepared  --------->  gone
//! without numbers       at most `bound` octets      numbered
//!                          ^                            |  end: the numbers are void
//!                          +----------------------------+
//! ```
//! A session lasts from [`Stream::begin`] to [`Stream::end`]. It tells each observation domain's
//! templates before the first data, and never again (RFC 7011 8.1). It begins with sequence 0. Where
//! too much waits the oldest messages go. Their records are added to the sequence, so that the
//! collector sees a gap for each. NetFlow v9's sequence counts messages instead (RFC 3954 5.1).
//!
//! What is told of options is kept, for each session is told it behind the templates.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::ops::AddAssign;

use super::{Outgoing, Templates};
use crate::counters::InterfaceCounters;
use crate::time::{Now, Wall};
use crate::wire::ipfix;
use crate::wire::netflow9::{self, Clock};

/// A session of IPFIX and what waits for it.
#[derive(Debug)]
pub struct Stream {
    messages: VecDeque<Queued>,
    /// How many of the first are numbered.
    prepared: usize,
    /// Octets of data messages.
    octets: usize,
    /// Most of them that wait.
    bound: usize,
    /// What the sequence misses before the next message of each.
    gaps: BTreeMap<Numbered, u32>,
    options: KeptOptions,
    session: Option<Session>,
}

/// What has a sequence: an observation domain, and whether it is a source id of NetFlow v9.
type Numbered = (u32, bool);

/// Options of each observation domain, a set a message, in the order that they came in.
#[derive(Debug, Default)]
pub(super) struct KeptOptions(BTreeMap<u32, Vec<KeptOption>>);

/// A set of options records.
#[derive(Debug, Eq, PartialEq)]
struct KeptOption {
    templates: Templates,
    records: u16,
    set: Vec<u8>,
}

/// Takes a set of options: its domain, what they go with, its records, and itself.
type TakeOption<'a> = dyn FnMut(u32, Templates, u16, &[u8]) + 'a;

impl KeptOptions {
    /// Keeps what a message tells, once.
    pub(super) fn keep(&mut self, message: &Outgoing<'_>, templates: Templates) {
        let kept = KeptOption {
            templates,
            records: message.options,
            set: message
                .octets
                .get(ipfix::HEADER_LEN..)
                .unwrap_or_default()
                .to_vec(),
        };
        let all = self.0.entry(message.domain).or_default();
        if !all.contains(&kept) {
            all.push(kept);
        }
    }

    /// The next set of `domain` behind the first `told`, with the number of its records and how many
    /// are told then.
    pub(super) fn next(
        &self,
        domain: u32,
        templates: Templates,
        told: usize,
    ) -> Option<(&[u8], u16, usize)> {
        let all = self.0.get(&domain)?.iter().enumerate().skip(told);
        let mut own = all.filter(|(_, one)| one.templates == templates);
        own.next().map(|(n, one)| (&*one.set, one.records, n + 1))
    }

    /// All of them, as they came in.
    fn each(&self, take: &mut TakeOption<'_>) {
        for (domain, all) in &self.0 {
            for one in all {
                take(*domain, one.templates, one.records, &one.set);
            }
        }
    }
}

/// What the collector knows.
#[derive(Debug, Default)]
struct Session {
    domains: BTreeMap<Numbered, Told>,
    /// The latest export time: it never goes back.
    export_time: u32,
    /// Whether it is over datagrams.
    is_by_datagrams: bool,
}

/// What it knows of an observation domain.
#[derive(Debug)]
struct Told {
    templates: Templates,
    sequence: u32,
    /// Whether they are to be told again.
    is_due: bool,
    /// Sets of them that are still to be told, with the records of types in each, or of NetFlow v9
    /// with all.
    rest: VecDeque<(Vec<u8>, u16)>,
    /// How many of the options kept are told.
    options: usize,
}

/// A message in a [`Stream`].
#[derive(Debug)]
struct Queued {
    domain: u32,
    /// Data records; 0: templates or options.
    records: u16,
    /// Records of options; of NetFlow v9 of templates, too.
    options: u16,
    /// What its records are described by.
    templates: Templates,
    octets: Vec<u8>,
    /// When it was made.
    at: Now,
    /// What the sequence misses before it, while it is numbered.
    gap: u32,
}

impl Queued {
    /// What it is numbered in.
    fn numbered(&self) -> Numbered {
        (self.domain, self.templates.is_netflow9())
    }

    /// By how much it moves the sequence on.
    fn steps(&self) -> u32 {
        match self.templates.is_netflow9() {
            true => 1,
            false => u32::from(self.records) + u32::from(self.options),
        }
    }

    /// Gives it its number in its header, and the rest of that to what is made here.
    fn number_netflow9(&mut self, sequence: u32) {
        let Some(front) = self.octets.first_chunk_mut() else {
            return;
        };
        if self.records == 0 {
            let uptime = self.at.uptime.secs();
            let header = netflow9::Header {
                count: self.options,
                sys_uptime: Clock::at(uptime).millis(uptime),
                unix_secs: u32::try_from(self.at.wall.secs().rem_euclid(1 << 32)).unwrap_or(0),
                sequence,
                source: self.domain,
            };
            *front = header.octets();
        } else {
            netflow9::number(front, sequence);
        }
    }
}

/// Messages and what they hold.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Amount {
    /// Messages, templates included.
    pub messages: u64,
    /// Those of them that are templates or options.
    pub templates: u64,
    /// Data records.
    pub records: u64,
    /// Octets.
    pub octets: u64,
}

impl Amount {
    fn add(&mut self, message: &Queued) {
        self.messages += 1;
        self.templates += u64::from(message.records == 0);
        self.records += u64::from(message.records);
        self.octets += message.octets.len() as u64;
    }
}

impl InterfaceCounters {
    /// Adds what a stream or a file took.
    pub(crate) fn add_taken(&mut self, taken: Amount) {
        self.datagrams += taken.messages;
        self.templates += taken.templates;
        self.octets += taken.octets;
        self.records_sent += taken.records;
    }

    /// Adds what no stream and no file took.
    pub(crate) fn add_lost(&mut self, lost: Amount) {
        self.unqueued += lost.messages;
        self.records_refused += lost.records;
    }
}

impl AddAssign for Amount {
    fn add_assign(&mut self, other: Self) {
        self.messages += other.messages;
        self.templates += other.templates;
        self.records += other.records;
        self.octets += other.octets;
    }
}

impl Stream {
    /// A stream without a session, for which at most `bound` octets wait.
    pub fn new(bound: usize) -> Self {
        Self {
            messages: VecDeque::new(),
            prepared: 0,
            octets: 0,
            bound,
            gaps: BTreeMap::new(),
            options: KeptOptions::default(),
            session: None,
        }
    }

    /// Changes how many octets wait at most, from the next message on.
    pub fn set_bound(&mut self, bound: usize) {
        self.bound = bound;
    }

    /// Whether there is a session.
    pub fn is_begun(&self) -> bool {
        self.session.is_some()
    }

    /// Octets of data messages that wait.
    pub fn octets(&self) -> usize {
        self.octets
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Appends a message of an interface that exports by `templates`. What had to go to make room
    /// is lost.
    pub fn push(&mut self, message: &Outgoing<'_>, templates: impl Into<Templates>) -> Amount {
        let templates = templates.into();
        if message.options > 0 {
            self.options.keep(message, templates);
            return Amount::default();
        }
        self.octets += message.octets.len();
        self.messages.push_back(Queued {
            domain: message.domain,
            records: message.records,
            options: 0,
            templates,
            octets: message.octets.to_vec(),
            at: message.at,
            gap: 0,
        });
        let mut lost = Amount::default();
        while self.octets > self.bound {
            // What is numbered may have gone in part.
            let Some(oldest) = self.messages.remove(self.prepared) else {
                break;
            };
            self.octets -= oldest.octets.len();
            lost.add(&oldest);
            let gap = self.gaps.entry(oldest.numbered()).or_default();
            *gap = gap.wrapping_add(oldest.steps());
        }
        lost
    }

    /// Data records of `domain`, which is IPFIX's, were lost elsewhere: its next message tells the
    /// collector.
    pub fn note_lost(&mut self, domain: u32, records: u32) {
        let gap = self.gaps.entry((domain, false)).or_default();
        *gap = gap.wrapping_add(records);
    }

    /// Gives up all that waits; what that was.
    pub fn clear(&mut self) -> Amount {
        let mut lost = Amount::default();
        for message in self.messages.drain(..) {
            if message.records > 0 {
                lost.add(&message);
            }
        }
        (self.prepared, self.octets) = (0, 0);
        lost
    }

    /// Hands on what waits, without a session.
    pub fn into_waiting(mut self, take: &mut dyn FnMut(&Outgoing<'_>, Templates)) {
        self.end();
        self.options.each(&mut |domain, templates, options, set| {
            let mut octets = vec![0; ipfix::HEADER_LEN];
            octets.extend_from_slice(set);
            let outgoing = Outgoing {
                domain,
                records: 0,
                options,
                at: Now::with_boot(Wall::default(), Wall::default()),
                octets: &octets,
            };
            take(&outgoing, templates);
        });
        for message in &self.messages {
            let outgoing = Outgoing {
                domain: message.domain,
                records: message.records,
                options: 0,
                at: message.at,
                octets: &message.octets,
            };
            take(&outgoing, message.templates);
        }
    }

    /// Begins a session: nothing is told yet.
    pub fn begin(&mut self) {
        self.end();
        self.session = Some(Session::default());
    }

    /// Says that the session is over datagrams: there no template is withdrawn (RFC 7011 8.4).
    pub fn set_by_datagrams(&mut self) {
        if let Some(session) = &mut self.session {
            session.is_by_datagrams = true;
        }
    }

    /// Has the templates told again before the next data, as over datagrams must be done.
    pub fn tell_again(&mut self) {
        if let Some(session) = &mut self.session {
            for told in session.domains.values_mut() {
                told.is_due = true;
            }
        }
    }

    /// Ends the session. What was prepared and not taken waits again.
    pub fn end(&mut self) {
        self.session = None;
        let rest = self.messages.split_off(self.prepared);
        let mut messages = std::mem::replace(&mut self.messages, rest);
        self.prepared = 0;
        while let Some(mut message) = messages.pop_back() {
            if message.records == 0 {
                continue;
            }
            let gap = self.gaps.entry(message.numbered()).or_default();
            *gap = gap.wrapping_add(std::mem::take(&mut message.gap));
            self.messages.push_front(message);
        }
    }

    /// Numbers messages until `octets` are prepared or nothing waits. They leave at `now`. The
    /// prepared ones are [`Self::prepared`].
    pub fn prepare(&mut self, now: Now, octets: usize) {
        self.prepare_while(octets, |_| Some(now));
    }

    /// The same with the time at which each was made, as long as `is_now` says so of that: the time
    /// that is read later does not depend on when it was written. Octets that are prepared.
    pub fn prepare_as_made(&mut self, octets: usize, is_now: impl Fn(Wall) -> bool) -> usize {
        self.prepare_while(octets, |at| is_now(at.wall).then_some(at))
    }

    /// When the first message that is not prepared was made.
    pub fn next_made(&self) -> Option<Wall> {
        Some(self.messages.get(self.prepared)?.at.wall)
    }

    fn prepare_while(&mut self, octets: usize, time: impl Fn(Now) -> Option<Now>) -> usize {
        let prepared = self.messages.iter().take(self.prepared);
        let mut ready: usize = prepared.map(|message| message.octets.len()).sum();
        let Some(session) = &mut self.session else {
            return ready;
        };
        while ready < octets
            && let Some(next) = self.messages.get_mut(self.prepared)
            && let Some(now) = time(next.at)
        {
            let secs = u32::try_from(now.wall.secs().rem_euclid(1 << 32)).unwrap_or(0);
            session.export_time = session.export_time.max(secs);
            let told = session.tell(next.domain, next.templates, next.at, &self.options);
            if let Some(told) = told {
                ready += told.octets.len();
                self.messages.insert(self.prepared, told);
                self.prepared += 1;
                continue;
            }
            next.gap = self.gaps.remove(&next.numbered()).unwrap_or(0);
            session.stamp(next);
            ready += next.octets.len();
            self.prepared += 1;
        }
        ready
    }

    /// The messages that are prepared, in order.
    pub fn prepared(&self) -> impl Iterator<Item = &[u8]> {
        let messages = self.messages.iter().take(self.prepared);
        messages.map(|message| &*message.octets)
    }

    /// What each of the prepared messages holds, in order.
    pub fn prepared_amounts(&self) -> impl Iterator<Item = Amount> {
        self.messages.iter().take(self.prepared).map(|message| {
            let mut amount = Amount::default();
            amount.add(message);
            amount
        })
    }

    /// Takes the first `count` of the prepared messages out: the transport has them.
    pub fn take(&mut self, count: usize) -> Amount {
        let count = count.min(self.prepared);
        self.prepared -= count;
        let mut taken = Amount::default();
        for message in self.messages.drain(..count) {
            if message.records > 0 {
                self.octets -= message.octets.len();
            }
            taken.add(&message);
        }
        taken
    }
}

impl Session {
    /// What is to be told before a message of `domain`: its templates, then options. Where others
    /// were told by a connection, they are withdrawn first.
    fn tell(
        &mut self,
        domain: u32,
        templates: Templates,
        at: Now,
        options: &KeptOptions,
    ) -> Option<Queued> {
        let is_netflow9 = templates.is_netflow9();
        let mut octets = vec![0; templates.header_len()];
        let told = self.domains.entry((domain, is_netflow9));
        let is_new = matches!(told, Entry::Vacant(_));
        let told = told.or_insert_with(|| Told {
            templates,
            sequence: 0,
            is_due: true,
            rest: VecDeque::new(),
            options: 0,
        });
        if told.is_due || told.templates != templates {
            if !is_new && told.templates != templates && !self.is_by_datagrams {
                octets.extend(told.templates.withdrawal());
            }
            (told.templates, told.is_due) = (templates, false);
            (told.rest, told.options) = (templates.sets().into(), 0);
        }
        let records = if let Some((set, count)) = told.rest.pop_front() {
            octets.extend(set);
            count
        } else {
            let (set, count, behind) = options.next(domain, templates, told.options)?;
            octets.extend_from_slice(set);
            told.options = behind;
            count
        };
        let mut message = Queued {
            domain,
            records: 0,
            options: records,
            templates,
            octets,
            at,
            gap: 0,
        };
        self.stamp(&mut message);
        Some(message)
    }

    /// Fills in the header of a message whose domain is told.
    fn stamp(&mut self, message: &mut Queued) {
        let Some(told) = self.domains.get_mut(&message.numbered()) else {
            return;
        };
        told.sequence = told.sequence.wrapping_add(message.gap);
        let sequence = told.sequence;
        told.sequence = sequence.wrapping_add(message.steps());
        if message.templates.is_netflow9() {
            return message.number_netflow9(sequence);
        }
        let header = ipfix::Header {
            length: u16::try_from(message.octets.len()).unwrap_or(u16::MAX),
            export_time: self.export_time,
            sequence,
            domain: message.domain,
        };
        if let Some(front) = message.octets.first_chunk_mut() {
            *front = header.octets();
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::export::{Format, Settings, TemplateSet};
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

    fn push(
        stream: &mut Stream,
        domain: u32,
        templates: impl Into<Templates>,
        records: u16,
    ) -> Amount {
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
                            let len =
                                (0..fields).map(|n| usize::from(Self::u16_at(rest, 4 * n + 6)));
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
                let gaps = stream.gaps.iter().filter(|((_, of), _)| *of == version9);
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
}
