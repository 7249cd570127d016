//! IPFIX: a buffer for each layout of records, one message a set, templates by the clock.
//!
//! The sequence counts data records in messages sent, over all buffers; a template message carries
//! it and adds nothing (RFC 7011 3.1; if_pflow.c, `pflow_sendout_ipfix`).

use super::netflow5::Sink;
use super::{Capacity, MAX_RECORDS, Settings, records_that_fit};
use crate::flow::{Flow, Tuple};
use crate::state::{Address, Af};
use crate::time::{Now, Uptime};
use crate::wire::ipfix::{self as wire, Layout};

/// Which kernel's templates.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TemplateSet {
    /// OpenBSD 7.9 and later: 256 IPv4, 257 IPv4 with NAT, 258 IPv6.
    OpenBsd,
    /// OpenBSD up to 7.8: 256 IPv4, 257 IPv6.
    OpenBsd78,
    /// FreeBSD: 256 IPv4, 257 IPv6, 258 NAT44 events of RFC 8158.
    FreeBsd,
}

impl TemplateSet {
    /// Every set with its name.
    pub const VALUES: &'static [(&'static str, Self)] = &[
        ("openbsd", Self::OpenBsd),
        ("openbsd78", Self::OpenBsd78),
        ("freebsd", Self::FreeBsd),
    ];

    /// Template ids and layouts, in the order they are announced in.
    pub const fn templates(self) -> &'static [(u16, Layout)] {
        match self {
            Self::OpenBsd => &[
                (256, Layout::Ipv4),
                (257, Layout::Ipv4Nat),
                (258, Layout::Ipv6),
            ],
            Self::OpenBsd78 => &[(256, Layout::Ipv4), (257, Layout::Ipv6)],
            Self::FreeBsd => &[
                (256, Layout::Ipv4),
                (257, Layout::Ipv6),
                (258, Layout::Nat44Event),
            ],
        }
    }

    /// Octets of the records that the kernel works its mtu out from, IPv4's and IPv6's: OpenBSD
    /// 7.9 takes the larger NAT record for both IPv4 buffers.
    pub(super) const fn sizes_for_mtu(self) -> [usize; 2] {
        match self {
            Self::OpenBsd => [Layout::Ipv4Nat.record_len(), Layout::Ipv6.record_len()],
            _ => [Layout::Ipv4.record_len(), Layout::Ipv6.record_len()],
        }
    }
}

/// Octets of the longest message: IPv6's records are the longest.
const MAX_LEN: usize =
    wire::HEADER_LEN + wire::SET_HEADER_LEN + MAX_RECORDS * Layout::Ipv6.record_len();
const _: () = assert!(Layout::Ipv6.record_len() >= Layout::Ipv4Nat.record_len());

/// The buffer of one layout.
#[derive(Debug)]
struct Buffer {
    layout: Layout,
    /// The message being filled; what is behind `len` is left from earlier ones.
    octets: Box<[u8; MAX_LEN]>,
    len: usize,
    count: usize,
    /// Records the message takes, worked out when it was begun.
    capacity: usize,
    deadline: Option<Uptime>,
}

impl Buffer {
    fn new(layout: Layout) -> Self {
        Self {
            layout,
            octets: Box::new([0; MAX_LEN]),
            len: wire::HEADER_LEN + wire::SET_HEADER_LEN,
            count: 0,
            capacity: 0,
            deadline: None,
        }
    }

    /// Begins a message of records of `layout`.
    #[cold]
    fn begin(&mut self, now: Now, settings: &Settings, layout: Layout) {
        self.layout = layout;
        self.capacity = capacity(settings, layout);
        self.deadline = Some(now.uptime.after(settings.hold));
    }

    fn discard(&mut self) {
        self.len = wire::HEADER_LEN + wire::SET_HEADER_LEN;
        self.count = 0;
        self.deadline = None;
    }
}

/// The encoder of one interface.
#[derive(Debug)]
pub struct Ipfix {
    ipv4: Buffer,
    /// IPv4 with NAT (OpenBSD) or NAT44 events (FreeBSD).
    nat: Buffer,
    ipv6: Buffer,
    /// Data records sent.
    sequence: u32,
    /// When templates are due; `None` while nothing is to be sent.
    templates_due: Option<Uptime>,
}

impl Default for Ipfix {
    fn default() -> Self {
        Self {
            ipv4: Buffer::new(Layout::Ipv4),
            nat: Buffer::new(Layout::Ipv4Nat),
            ipv6: Buffer::new(Layout::Ipv6),
            sequence: 0,
            templates_due: None,
        }
    }
}

impl Ipfix {
    /// Records that go into one message: IPv4, IPv4 with NAT or NAT44 events, IPv6.
    pub fn records_per_datagram(settings: &Settings) -> [usize; 3] {
        let nat = match settings.templates {
            TemplateSet::FreeBsd => Layout::Nat44Event,
            _ => Layout::Ipv4Nat,
        };
        [Layout::Ipv4, nat, Layout::Ipv6].map(|layout| capacity(settings, layout))
    }

    /// Data records sent.
    pub(crate) fn sequence(&self) -> u32 {
        self.sequence
    }

    /// Goes on from a number.
    pub(crate) fn set_sequence(&mut self, sequence: u32) {
        self.sequence = sequence;
    }

    /// Packs a flow's records.
    pub(crate) fn push(
        &mut self,
        now: Now,
        settings: &Settings,
        flow: &Flow,
        ifindex: u16,
        sink: &mut Sink<'_>,
    ) {
        let times = [flow.times.start_ms(), flow.times.end_ms()];
        self.direction::<false>(now, settings, flow, ifindex, times, sink);
        self.direction::<true>(now, settings, flow, ifindex, times, sink);
    }

    /// Packs the record of one direction, if octets went that way.
    // A function for each direction: which end comes first is then no question when it runs.
    #[inline(always)]
    fn direction<const REVERSE: bool>(
        &mut self,
        now: Now,
        settings: &Settings,
        flow: &Flow,
        ifindex: u16,
        times: [u64; 2],
        sink: &mut Sink<'_>,
    ) {
        let ([packets, packets_back], [octets, octets_back]) = (flow.packets, flow.octets);
        let record = RecordOctets {
            flow,
            ifindexes: flow.interfaces(ifindex, REVERSE),
            times,
            packets: if REVERSE { packets_back } else { packets },
            octets: if REVERSE { octets_back } else { octets },
        };
        if record.octets == 0 {
            return;
        }
        let tuple = &flow.tuple;
        let translated = flow.translated.as_ref();
        match (settings.templates, tuple.af, translated) {
            (_, Af::Inet6, _) => {
                let ends = Ends::new(tuple, |address| address.0).seen_from(REVERSE);
                self.pack(now, settings, Layout::Ipv6, sink, |to| {
                    record.plain(to, &ends);
                });
            }
            (TemplateSet::OpenBsd, Af::Inet, Some(translated)) if translated.af == Af::Inet => {
                let ends = Ends::new(tuple, Address::v4).seen_from(REVERSE);
                let post = Ends::new(translated, Address::v4).seen_from(REVERSE);
                self.pack(now, settings, Layout::Ipv4Nat, sink, |to| {
                    record.translated(to, &ends, &post);
                });
            }
            (templates, Af::Inet, translated) => {
                let ends = Ends::new(tuple, Address::v4).seen_from(REVERSE);
                self.pack(now, settings, Layout::Ipv4, sink, |to| {
                    record.plain(to, &ends);
                });
                if let Some(translated) = translated
                    && templates == TemplateSet::FreeBsd
                    && translated.af == Af::Inet
                    && differs_in_addresses_or_ports(tuple, translated)
                {
                    let post = Ends::new(translated, Address::v4).seen_from(REVERSE);
                    self.nat_events(now, settings, &record, [ends, post], sink);
                }
            }
        }
    }

    /// The events of RFC 8158 that FreeBSD sends with a record: 4, NAT44 session create, and 5,
    /// its delete. `ends` are those before translation and after.
    fn nat_events(
        &mut self,
        now: Now,
        settings: &Settings,
        record: &RecordOctets<'_>,
        ends: [Ends<4>; 2],
        sink: &mut Sink<'_>,
    ) {
        let [start, end] = record.times;
        for (event, at) in [(4, start), (5, end)] {
            self.pack(now, settings, Layout::Nat44Event, sink, |to| {
                record.nat44_event(to, &ends, event, at);
            });
        }
    }

    /// Adds one record to the buffer of its layout and sends the buffer if it is full.
    // Inlined, so that the layout, and with it the length of the record, is a constant where
    // `write` fills it: no field is then asked whether it fits.
    #[inline(always)]
    fn pack(
        &mut self,
        now: Now,
        settings: &Settings,
        layout: Layout,
        sink: &mut Sink<'_>,
        write: impl FnOnce(&mut Fields<'_>),
    ) {
        let buffer = match layout {
            Layout::Ipv4 => &mut self.ipv4,
            Layout::Ipv4Nat | Layout::Nat44Event => &mut self.nat,
            Layout::Ipv6 => &mut self.ipv6,
        };
        if buffer.count == 0 {
            buffer.begin(now, settings, layout);
        }
        let rest = buffer.octets.get_mut(buffer.len..).unwrap_or_default();
        if let Some((rest, _)) = rest.split_at_mut_checked(layout.record_len()) {
            write(&mut Fields { rest });
        }
        buffer.len += layout.record_len();
        buffer.count += 1;
        *sink.packed = sink.packed.wrapping_add(1);
        if buffer.count >= buffer.capacity {
            send(buffer, &mut self.sequence, now, settings, sink);
        }
    }

    /// Sends what is held.
    pub(crate) fn flush(&mut self, now: Now, settings: &Settings, sink: &mut Sink<'_>) {
        let Self {
            ipv4,
            nat,
            ipv6,
            sequence,
            ..
        } = self;
        for buffer in [ipv4, nat, ipv6] {
            send(buffer, sequence, now, settings, sink);
        }
    }

    /// Sends the templates and takes the next time for them from now.
    pub(crate) fn send_templates(&mut self, now: Now, settings: &Settings, sink: &mut Sink<'_>) {
        let set = wire::template_set(settings.templates.templates());
        let mut message = header(now, settings, self.sequence, set.len()).to_vec();
        message.extend_from_slice(&set);
        sink.outbox.push(sink.unit, &message);
        // At the end of the scale there is no later.
        self.templates_due =
            Some(now.uptime.after(settings.refresh)).filter(|due| *due > now.uptime);
    }

    /// No templates until [`Self::send_templates`] is called again.
    pub(crate) fn stop_templates(&mut self) {
        self.templates_due = None;
    }

    /// Moves templates that are due before `until` behind it, in their rhythm: after a long
    /// silence they need to go once only.
    pub(crate) fn skip_templates(&mut self, until: Uptime, settings: &Settings) {
        if let Some(due) = &mut self.templates_due
            && *due < until
        {
            let refresh = settings.refresh.as_nanos().max(1);
            let late = until.since(*due).as_nanos() % refresh;
            let ahead = if late == 0 { 0 } else { refresh - late };
            let ahead = u64::try_from(ahead).unwrap_or(u64::MAX);
            *due = until.after(std::time::Duration::from_nanos(ahead));
        }
    }

    /// When something must go.
    pub(crate) fn poll_timeout(&self) -> Option<Uptime> {
        let ipv4 = Uptime::earliest(self.ipv4.deadline, self.nat.deadline);
        Uptime::earliest(
            ipv4,
            Uptime::earliest(self.ipv6.deadline, self.templates_due),
        )
    }

    /// Sends what is due: buffers held long enough, then templates. Returns template messages
    /// sent.
    pub(crate) fn handle_timeout(
        &mut self,
        now: Now,
        settings: &Settings,
        sink: &mut Sink<'_>,
    ) -> u64 {
        let is_due = |deadline: Option<Uptime>| deadline.is_some_and(|at| at <= now.uptime);
        let Self {
            ipv4,
            nat,
            ipv6,
            sequence,
            ..
        } = self;
        for buffer in [ipv4, nat, ipv6] {
            if is_due(buffer.deadline) {
                send(buffer, sequence, now, settings, sink);
            }
        }
        if is_due(self.templates_due) {
            self.send_templates(now, settings, sink);
            return 1;
        }
        0
    }

    /// Records held.
    pub(crate) fn held(&self) -> usize {
        self.ipv4.count + self.nat.count + self.ipv6.count
    }
}

fn capacity(settings: &Settings, layout: Layout) -> usize {
    let header = wire::HEADER_LEN;
    let [ipv4, _] = settings.templates.sizes_for_mtu();
    let kernel = match layout {
        Layout::Ipv4 | Layout::Ipv4Nat => ipv4,
        Layout::Ipv6 | Layout::Nat44Event => layout.record_len(),
    };
    records_that_fit(
        settings,
        Capacity {
            header,
            record: kernel,
        },
        Capacity {
            header: header + wire::SET_HEADER_LEN,
            record: layout.record_len(),
        },
    )
}

/// FreeBSD compares the first 36 octets of the keys.
fn differs_in_addresses_or_ports(a: &Tuple, b: &Tuple) -> bool {
    (a.src, a.dst, a.sport, a.dport) != (b.src, b.dst, b.sport, b.dport)
}

fn header(now: Now, settings: &Settings, sequence: u32, set_len: usize) -> [u8; wire::HEADER_LEN] {
    wire::Header {
        length: u16::try_from(wire::HEADER_LEN + set_len).unwrap_or(u16::MAX),
        export_time: seconds_32(now),
        sequence,
        domain: settings.domain,
    }
    .octets()
}

/// Seconds since the epoch as headers have them; they wrap in 2106.
pub(super) fn seconds_32(now: Now) -> u32 {
    u32::try_from(now.wall.secs().rem_euclid(1 << 32)).unwrap_or(0)
}

#[cold]
fn send(
    buffer: &mut Buffer,
    sequence: &mut u32,
    now: Now,
    settings: &Settings,
    sink: &mut Sink<'_>,
) {
    if buffer.count == 0 {
        return;
    }
    let set_len = buffer.len - wire::HEADER_LEN;
    let templates = settings.templates.templates();
    let id = templates
        .iter()
        .find(|(_, layout)| *layout == buffer.layout)
        .map_or(0, |(id, _)| *id);
    let mut front = Fields {
        rest: &mut buffer.octets[..],
    };
    front.put(header(now, settings, *sequence, set_len));
    front.put(wire::set_header(
        id,
        u16::try_from(set_len).unwrap_or(u16::MAX),
    ));
    let message = buffer.octets.get(..buffer.len).unwrap_or_default();
    let records = u16::try_from(buffer.count).unwrap_or(0);
    sink.outbox.push_data(sink.unit, message, records);
    *sequence = sequence.wrapping_add(records.into());
    buffer.discard();
}

/// What is still to be filled of a message, or of a record in it: fields go one behind the other.
struct Fields<'a> {
    rest: &'a mut [u8],
}

impl Fields<'_> {
    #[inline(always)]
    fn put<const LEN: usize>(&mut self, field: [u8; LEN]) {
        // There is room: a record's length is the sum of its layout's elements, which these are.
        if let Some((to, rest)) = std::mem::take(&mut self.rest).split_first_chunk_mut() {
            *to = field;
            self.rest = rest;
        }
    }
}

/// The ends of a record, its sender first, with addresses as its layout has them.
#[derive(Clone, Copy)]
struct Ends<const LEN: usize> {
    src: [u8; LEN],
    dst: [u8; LEN],
    sport: [u8; 2],
    dport: [u8; 2],
}

impl<const LEN: usize> Ends<LEN> {
    #[inline(always)]
    fn new(tuple: &Tuple, octets: impl Fn(Address) -> [u8; LEN]) -> Self {
        Self {
            src: octets(tuple.src),
            dst: octets(tuple.dst),
            sport: tuple.sport.to_be_bytes(),
            dport: tuple.dport.to_be_bytes(),
        }
    }

    /// The same as the responder sees them, if it is a record of the `reverse` direction.
    #[inline(always)]
    fn seen_from(self, reverse: bool) -> Self {
        if !reverse {
            return self;
        }
        Self {
            src: self.dst,
            dst: self.src,
            sport: self.dport,
            dport: self.sport,
        }
    }
}

/// A record about to be written, in the order of its layout's elements.
struct RecordOctets<'a> {
    flow: &'a Flow,
    /// Where it came in and where it left.
    ifindexes: [u16; 2],
    /// Of its first packet and its last, milliseconds since the epoch.
    times: [u64; 2],
    packets: u64,
    octets: u64,
}

impl RecordOctets<'_> {
    #[inline(always)]
    fn plain<const LEN: usize>(&self, to: &mut Fields<'_>, ends: &Ends<LEN>) {
        to.put(ends.src);
        to.put(ends.dst);
        self.middle(to);
        self.end(to, ends);
    }

    #[inline(always)]
    fn translated(&self, to: &mut Fields<'_>, ends: &Ends<4>, post: &Ends<4>) {
        to.put(ends.src);
        to.put(ends.dst);
        self.middle(to);
        to.put(post.src);
        to.put(post.dst);
        to.put(post.sport);
        to.put(post.dport);
        self.end(to, ends);
    }

    #[inline(always)]
    fn nat44_event(&self, to: &mut Fields<'_>, ends: &[Ends<4>; 2], event: u8, at_ms: u64) {
        let [pre, post] = ends;
        to.put(at_ms.to_be_bytes());
        to.put([event, self.flow.tuple.proto]);
        to.put(pre.src);
        to.put(pre.sport);
        to.put(post.src);
        to.put(post.sport);
        to.put(pre.dst);
        to.put(pre.dport);
        to.put(post.dst);
        to.put(post.dport);
    }

    /// Interfaces, counters, times.
    #[inline(always)]
    fn middle(&self, to: &mut Fields<'_>) {
        let [start, end] = self.times;
        let [input, output] = self.ifindexes.map(u32::from);
        to.put(input.to_be_bytes());
        to.put(output.to_be_bytes());
        for value in [self.packets, self.octets, start, end] {
            to.put(value.to_be_bytes());
        }
    }

    /// Ports, class of service, protocol.
    #[inline(always)]
    fn end<const LEN: usize>(&self, to: &mut Fields<'_>, ends: &Ends<LEN>) {
        to.put(ends.sport);
        to.put(ends.dport);
        to.put([0, self.flow.tuple.proto]);
    }
}
