//! IPFIX: a buffer for each layout of records, one set a message (if_pflow.c,
//! `pflow_sendout_ipfix`).

use super::format::{MAX_RECORDS, Packed, TemplateSet};
use super::mtu::{Capacity, records_that_fit};
use super::outbox::{Stamp, To};
use super::settings::Settings;
use crate::flow::{Flow, Passage, Tuple};
use crate::state::{Address, Af};
use crate::time::{Now, Uptime};
use crate::wire::ipfix as wire;
use crate::wire::layout::{Ends, EventRecord, FlowRecord, Layout, NatRecord};

/// Octets of the longest message: IPv6's records are the longest.
const MAX_LEN: usize =
    wire::HEADER_LEN + wire::SET_HEADER_LEN + MAX_RECORDS * Layout::Ipv6.record_len();
const _: () = assert!(Layout::Ipv6.record_len() >= Layout::Ipv4Nat.record_len());

/// Octets before the records of a message.
const FRONT_LEN: usize = wire::HEADER_LEN + wire::SET_HEADER_LEN;

/// The buffer of one layout.
#[derive(Debug)]
struct Buffer {
    layout: Layout,
    /// The message being filled; what is behind `len` is left from earlier ones.
    octets: Box<[u8; MAX_LEN]>,
    len: usize,
    /// Octets it has when it is full, worked out when it was begun.
    full_len: usize,
    deadline: Option<Uptime>,
}

impl Buffer {
    fn new(layout: Layout) -> Self {
        Self {
            layout,
            octets: Box::new([0; MAX_LEN]),
            len: FRONT_LEN,
            full_len: 0,
            deadline: None,
        }
    }

    fn is_empty(&self) -> bool {
        self.len == FRONT_LEN
    }

    /// Records in it.
    fn records(&self) -> usize {
        (self.len - FRONT_LEN) / self.layout.record_len()
    }

    /// Begins a message of records of `layout`.
    #[cold]
    fn begin(&mut self, now: Now, settings: &Settings, layout: Layout) {
        self.layout = layout;
        self.full_len = FRONT_LEN + capacity(settings, layout) * layout.record_len();
        self.deadline = Some(now.uptime.after(settings.hold()));
    }

    /// Sends what it holds.
    #[cold]
    fn send(&mut self, now: Now, settings: &Settings, domain: u32, to: &mut To<'_>) {
        if self.is_empty() {
            return;
        }
        let records = u16::try_from(self.records()).unwrap_or(u16::MAX);
        let id = settings.templates.id_of(self.layout);
        let set_len = u16::try_from(self.len - wire::HEADER_LEN).unwrap_or(u16::MAX);
        if let Some((_, rest)) = self.octets.split_first_chunk_mut::<{ wire::HEADER_LEN }>()
            && let Some(set) = rest.first_chunk_mut()
        {
            *set = wire::set_header(id, set_len);
        }
        let message = self.octets.get(..self.len).unwrap_or_default();
        to.push(Stamp::Ipfix { domain }, now, records, message);
        self.len = FRONT_LEN;
        self.deadline = None;
    }
}

/// The encoder of one observation domain.
#[derive(Debug)]
pub(super) struct Ipfix {
    domain: u32,
    ipv4: Buffer,
    /// IPv4 with NAT (OpenBSD) or NAT44 events (FreeBSD).
    nat: Buffer,
    ipv6: Buffer,
}

impl Ipfix {
    /// An encoder for `domain`.
    pub(super) fn new(domain: u32) -> Self {
        Self {
            domain,
            ipv4: Buffer::new(Layout::Ipv4),
            nat: Buffer::new(Layout::Ipv4Nat),
            ipv6: Buffer::new(Layout::Ipv6),
        }
    }

    /// Packs a flow's records.
    #[inline(always)]
    pub(super) fn push(
        &mut self,
        now: Now,
        settings: &Settings,
        flow: &Flow,
        passage: &Passage,
        to: &mut To<'_>,
    ) -> Packed {
        let times = [flow.times.start_ms(), flow.times.end_ms()];
        let forward = self.direction::<false>(now, settings, flow, passage, times, to);
        let back = self.direction::<true>(now, settings, flow, passage, times, to);
        Packed {
            records: forward + back,
            is_clipped: false,
        }
    }

    /// [`Self::push`] of a flow whose directions are told apart. `flow` gives the record of its way
    /// forth, and `back` the record of its way back.
    #[cold]
    #[inline(never)]
    pub(super) fn push_each(
        &mut self,
        now: Now,
        settings: &Settings,
        [flow, back]: [&Flow; 2],
        passage: &Passage,
        to: &mut To<'_>,
    ) -> Packed {
        let times = [flow.times.start_ms(), flow.times.end_ms()];
        let forward = self.direction::<false>(now, settings, flow, passage, times, to);
        let back = self.direction::<true>(now, settings, back, passage, times, to);
        Packed {
            records: forward + back,
            is_clipped: false,
        }
    }

    /// Packs the records of one direction, if octets went that way: how many.
    // Each direction has its own code, so that no record asks which end comes first. It is one long
    // function, because two shorter ones took 10 instructions more a state.
    #[inline(always)]
    fn direction<const REVERSE: bool>(
        &mut self,
        now: Now,
        settings: &Settings,
        flow: &Flow,
        passage: &Passage,
        times: [u64; 2],
        to: &mut To<'_>,
    ) -> u32 {
        let ([packets, packets_back], [octets, octets_back]) = (flow.packets, flow.octets);
        let tuple = &flow.tuple;
        let [start_ms, end_ms] = times;
        // All but the ends.
        let counts = FlowRecord::<0> {
            ends: ends::<0, false>(tuple, |_| []),
            ifindexes: flow.interfaces(passage, REVERSE).map(u32::from),
            packets: if REVERSE { packets_back } else { packets },
            octets: if REVERSE { octets_back } else { octets },
            start_ms,
            end_ms,
            proto: tuple.proto,
        };
        if counts.octets == 0 {
            return 0;
        }
        let translated = flow.translated.as_ref();
        match (settings.templates, tuple.af, translated) {
            (_, Af::Inet6, _) => {
                let record = counts.between(ends::<16, REVERSE>(tuple, |address| address.0));
                self.pack(
                    now,
                    settings,
                    Layout::Ipv6,
                    to,
                    #[inline(always)]
                    |octets| record.write(octets),
                );
            }
            (TemplateSet::OpenBsd, Af::Inet, Some(translated)) if translated.af == Af::Inet => {
                let record = NatRecord {
                    flow: counts.between(ends::<4, REVERSE>(tuple, Address::v4)),
                    post: ends::<4, REVERSE>(translated, Address::v4),
                };
                self.pack(
                    now,
                    settings,
                    Layout::Ipv4Nat,
                    to,
                    #[inline(always)]
                    |octets| record.write(octets),
                );
            }
            (templates, Af::Inet, translated) => {
                let record = counts.between(ends::<4, REVERSE>(tuple, Address::v4));
                self.pack(
                    now,
                    settings,
                    Layout::Ipv4,
                    to,
                    #[inline(always)]
                    |octets| record.write(octets),
                );
                if let Some(translated) = translated
                    && templates == TemplateSet::FreeBsd
                    && translated.af == Af::Inet
                    && differs_in_addresses_or_ports(tuple, translated)
                {
                    let post = ends::<4, REVERSE>(translated, Address::v4);
                    return 1 + self.nat_events(now, settings, record, post, to);
                }
            }
        }
        1
    }

    /// The events of RFC 8158 that FreeBSD sends with a record: 4, NAT44 session create, and 5,
    /// its delete. How many there are.
    #[cold]
    fn nat_events(
        &mut self,
        now: Now,
        settings: &Settings,
        record: FlowRecord<4>,
        post: Ends<4>,
        to: &mut To<'_>,
    ) -> u32 {
        for (event, at_ms) in [(4, record.start_ms), (5, record.end_ms)] {
            let event = EventRecord {
                at_ms,
                event,
                proto: record.proto,
                pre: record.ends,
                post,
            };
            self.pack(now, settings, Layout::Nat44Event, to, |octets| {
                event.write(octets);
            });
        }
        2
    }

    /// Adds one record to the buffer of its layout and sends the buffer if it is full.
    // Inlined, so that the layout is a constant.
    #[inline(always)]
    fn pack<const LEN: usize>(
        &mut self,
        now: Now,
        settings: &Settings,
        layout: Layout,
        to: &mut To<'_>,
        write: impl FnOnce(&mut [u8; LEN]),
    ) {
        let domain = self.domain;
        let buffer = match layout {
            Layout::Ipv4 => &mut self.ipv4,
            Layout::Ipv4Nat | Layout::Nat44Event => &mut self.nat,
            Layout::Ipv6 => &mut self.ipv6,
        };
        if buffer.is_empty() {
            buffer.begin(now, settings, layout);
        }
        let rest = buffer.octets.get_mut(buffer.len..).unwrap_or_default();
        if let Some(octets) = rest.first_chunk_mut() {
            write(octets);
        }
        // No more than there is room.
        buffer.len = buffer.len.wrapping_add(LEN);
        if buffer.len >= buffer.full_len {
            buffer.send(now, settings, domain, to);
        }
    }

    /// Sends what is held.
    pub(super) fn flush(&mut self, now: Now, settings: &Settings, to: &mut To<'_>) {
        let domain = self.domain;
        for buffer in [&mut self.ipv4, &mut self.nat, &mut self.ipv6] {
            buffer.send(now, settings, domain, to);
        }
    }

    /// Whether something must go now.
    #[inline]
    pub(super) fn is_due(&self, now: Uptime) -> bool {
        now.is_past(self.ipv4.deadline)
            || now.is_past(self.nat.deadline)
            || now.is_past(self.ipv6.deadline)
    }

    /// When something must go.
    #[inline]
    pub(super) fn poll_timeout(&self) -> Option<Uptime> {
        let ipv4 = Uptime::earliest(self.ipv4.deadline, self.nat.deadline);
        Uptime::earliest(ipv4, self.ipv6.deadline)
    }

    /// Sends what is held long enough.
    pub(super) fn handle_timeout(&mut self, now: Now, settings: &Settings, to: &mut To<'_>) {
        let domain = self.domain;
        for buffer in [&mut self.ipv4, &mut self.nat, &mut self.ipv6] {
            if buffer.deadline.is_some_and(|at| at <= now.uptime) {
                buffer.send(now, settings, domain, to);
            }
        }
    }

    /// Records held.
    pub(super) fn held(&self) -> usize {
        self.ipv4.records() + self.nat.records() + self.ipv6.records()
    }
}

/// Records that go into one message: IPv4, IPv4 with NAT or NAT44 events, IPv6.
#[cfg(test)]
pub(super) fn records_per_datagram(settings: &Settings) -> [usize; 3] {
    let nat = match settings.templates {
        TemplateSet::FreeBsd => Layout::Nat44Event,
        _ => Layout::Ipv4Nat,
    };
    [Layout::Ipv4, nat, Layout::Ipv6].map(|layout| capacity(settings, layout))
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

/// The ends of a record of one direction, with addresses as its layout has them.
#[inline(always)]
fn ends<const LEN: usize, const REVERSE: bool>(
    tuple: &Tuple,
    octets: impl Fn(Address) -> [u8; LEN],
) -> Ends<LEN> {
    let ends = Ends {
        src: octets(tuple.src),
        dst: octets(tuple.dst),
        sport: tuple.sport,
        dport: tuple.dport,
    };
    if REVERSE { ends.reversed() } else { ends }
}

/// FreeBSD compares the first 36 octets of the keys.
fn differs_in_addresses_or_ports(a: &Tuple, b: &Tuple) -> bool {
    (a.src, a.dst, a.sport, a.dport) != (b.src, b.dst, b.sport, b.dport)
}
