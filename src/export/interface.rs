//! One pflow interface: its settings, whether it runs, its encoder, what its collector knows, and
//! its counters.
//!
//! ```text
//!            flowdst with address and port, up
//!   UP  ------------------------------------------->  UP,RUNNING     flows are packed
//!       <-------------------------------------------
//!                down, -flowdst                       flows are counted, nothing else
//! ```
//! The flags, and what makes an interface RUNNING, are pflow(4)'s (if_pflow.c, `pflow_set`,
//! `pflowioctl`). Sequence numbers live as long as the interface.

use super::by_creator::COMMON;
use super::encoder::{Encoder, Packed};
use super::netflow9::NetFlow9;
use super::outbox::{Header, To};
use super::session::{Session, State};
use super::statistics::Statistics;
use super::{
    Connection, Domain, Format, IcmpPorts, Order, Outbox, Settings, SpoolState, Templates,
    Transmit, Way,
};
use std::io;

use crate::counters::{InterfaceCounters, Reports, count};
use crate::filter::Subject;
use crate::flow::{Flow, Passage, Records, Translation};
use crate::icmp::is_icmp;
use crate::state::Af;
use crate::time::{Now, Uptime};
use crate::wire;
use crate::wire::options::Options;

/// How it stands with an interface's files.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct FileState {
    /// The file that is written, and its octets.
    pub current: Option<(String, u64)>,
    /// Why nothing can be written.
    pub problem: Option<String>,
}

/// Which flows an interface packs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Takes {
    /// It does not run.
    Nothing,
    States,
    Connections,
}

/// One pflowN.
#[derive(Debug)]
pub struct Interface {
    unit: u32,
    settings: Settings,
    /// Which flows are packed.
    takes: Takes,
    /// Whether templates are sent from here.
    is_told: bool,
    /// Whether some flows are left out, or have ports of their own.
    is_choosy: bool,
    /// Records of statistics made, and when records were lost as those were made.
    statistics: Statistics,
    encoder: Encoder,
    /// What its collector knows.
    session: Session,
    /// Data records in datagrams that wait for their turn.
    pub(crate) delayed: u64,
    /// Octets of messages that wait for a connection.
    pub(crate) octets_waiting: u64,
    /// What its connection is at, if it has one.
    pub(crate) connection: Option<Connection>,
    /// Of one that writes files.
    pub(crate) file: FileState,
    /// What its spool is at, if it has one.
    pub(crate) spool: Option<SpoolState>,
    /// Why its last datagram could not be sent.
    pub(crate) send_problem: Option<(io::ErrorKind, String)>,
    /// What it did.
    pub counters: InterfaceCounters,
}

impl Interface {
    /// A new pflow`unit`, which [`Self::configure`] starts.
    pub fn new(unit: u32, settings: Settings) -> Self {
        Self {
            unit,
            encoder: Encoder::new(&settings),
            settings,
            takes: Takes::Nothing,
            is_told: false,
            is_choosy: false,
            statistics: Statistics::default(),
            session: Session::default(),
            delayed: 0,
            octets_waiting: 0,
            connection: None,
            file: FileState::default(),
            spool: None,
            send_problem: None,
            counters: InterfaceCounters::default(),
        }
    }

    /// N of pflowN.
    pub fn unit(&self) -> u32 {
        self.unit
    }

    /// What it is set to.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Whether flows are packed.
    pub fn is_running(&self) -> bool {
        self.takes != Takes::Nothing
    }

    /// Whether it exports connections, where `default` says what an interface does that is not told.
    pub fn has_connections(&self, default: Records) -> bool {
        self.settings.records.unwrap_or(default) == Records::Connection
    }

    /// Whether what it sends is datagrams, which are numbered at once.
    pub fn has_datagrams(&self) -> bool {
        self.settings.datagrams_to().is_some()
    }

    /// What its connection is at, if it has one.
    pub fn connection(&self) -> Option<&Connection> {
        self.connection.as_ref()
    }

    /// Why its last datagram could not be sent.
    pub fn send_problem(&self) -> Option<(io::ErrorKind, &str)> {
        let (kind, problem) = self.send_problem.as_ref()?;
        Some((*kind, problem))
    }

    /// What its spool is at, if it has one.
    pub fn spool(&self) -> Option<SpoolState> {
        self.spool
    }

    /// Octets of messages that wait for a connection.
    pub fn octets_waiting(&self) -> u64 {
        self.octets_waiting
    }

    /// How it stands with its files.
    pub fn file(&self) -> &FileState {
        &self.file
    }

    /// Records held now.
    pub fn held(&self) -> usize {
        self.encoder.held()
    }

    /// What its collector knows.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Data records in a datagram that it made.
    pub fn records_in(&self, datagram: &[u8]) -> u64 {
        match self.settings.format {
            Format::NetFlow5 => wire::netflow5::records_in(datagram),
            Format::NetFlow9 => wire::netflow9::records_in(datagram),
            Format::Ipfix => Templates::from(&self.settings).records_in(datagram),
        }
    }

    /// What its collector knows, to go on from a keep file.
    pub(crate) fn session_mut(&mut self) -> &mut Session {
        &mut self.session
    }

    /// Takes new settings: sends what is held under the old ones, then templates if they are to
    /// be sent at all.
    pub fn configure(&mut self, now: Now, settings: Settings, outbox: &mut Outbox) {
        self.flush(now, outbox);
        self.encoder = Encoder::new(&settings);
        self.takes = match settings.way() {
            Some(_) => Takes::States,
            None => Takes::Nothing,
        };
        self.settings = settings;
        if !matches!(self.settings.way(), Some(Way::Connection(_))) {
            self.connection = None;
            self.spool = None;
        }
        self.session.stop_templates();
        self.session.clear_announcements();
        self.session.set_state(State::Up);
        self.is_choosy = self.settings.direction.is_some()
            || self.settings.only.is_some()
            || self.settings.icmp != IcmpPorts::Kernel;
        if self.is_running() {
            self.session.begin_statistics(now, &self.settings);
        }
        // Whoever has a stream or a file tells it templates when it begins.
        self.is_told = self.settings.format != Format::NetFlow5 && self.has_datagrams();
        if self.is_told {
            let to = &mut To::new(self.unit, outbox);
            self.counters.templates += self.session.begin_templates(now, &self.settings, to);
            if let (Format::Ipfix, Domain::Number(domain)) =
                (self.settings.format, self.settings.domain)
            {
                let told = self
                    .session
                    .announce_domain(now, &self.settings, domain, to);
                self.counters.templates += told;
            }
        }
    }

    /// Has it take connections in place of states, if it is to.
    pub(crate) fn set_records(&mut self, default: Records) {
        self.takes = match self.takes {
            Takes::Nothing => Takes::Nothing,
            _ if self.has_connections(default) => Takes::Connections,
            _ => Takes::States,
        };
    }

    /// Begins a turn: what one packet or one timer may make is bounded.
    pub fn begin_turn(&mut self) {
        self.encoder.begin_turn();
    }

    /// Packs a flow's records, if it is one for this interface.
    #[inline(never)]
    pub fn offer(&mut self, now: Now, flow: &Flow, ifindex: u16, outbox: &mut Outbox) {
        if self.takes != Takes::States {
            return self.note_idle();
        }
        count(&mut self.counters.flows, 1);
        let passage = &Passage::of_state(ifindex);
        if self.is_choosy && !self.chooses(now, flow, passage, outbox) {
            return;
        }
        self.pack(now, flow, passage, outbox);
    }

    /// Packs a connection's records, if it is one for this interface. One of two states has both
    /// directions.
    pub fn offer_connection(
        &mut self,
        now: Now,
        flow: &Flow,
        passage: &Passage,
        outbox: &mut Outbox,
    ) {
        if self.takes != Takes::Connections {
            return;
        }
        count(&mut self.counters.flows, 1);
        if self.is_choosy && !self.chooses(now, flow, passage, outbox) {
            return;
        }
        self.pack(now, flow, passage, outbox);
    }

    #[cold]
    fn note_idle(&mut self) {
        if self.takes == Takes::Nothing {
            self.counters.flows += 1;
            self.counters.idle += 1;
        }
    }

    #[inline(always)]
    fn pack(&mut self, now: Now, flow: &Flow, passage: &Passage, outbox: &mut Outbox) {
        let Self {
            unit,
            settings,
            encoder,
            session,
            counters,
            is_told,
            ..
        } = self;
        let to = &mut To::new(*unit, outbox);
        // One place that packs for IPFIX, so that it is inlined.
        let ipfix = match encoder {
            Encoder::NetFlow5(_) if flow.tuple.af == Af::Inet6 => {
                counters.ipv6 += 1;
                return;
            }
            Encoder::NetFlow5(netflow5) => {
                counters.clamped += u64::from(flow.times.is_cut());
                let packed = netflow5.push(now, settings, flow, passage, to);
                note_packed(counters, packed);
                return;
            }
            Encoder::NetFlow9(_) | Encoder::NetFlow9ByCreator(_) => {
                return self.offer_netflow9(now, flow, passage, outbox);
            }
            Encoder::Full(_) | Encoder::FullByCreator(_) => {
                return self.offer_full(now, flow, passage, outbox);
            }
            Encoder::Ipfix(ipfix) => ipfix,
            Encoder::ByCreator(all) => {
                let chosen = all.choose(flow.id.creatorid);
                if chosen.is_new && *is_told {
                    counters.templates += session.tell(now, settings, chosen.domain, to);
                }
                counters.crowded += u64::from(chosen.is_crowded);
                chosen.encoder
            }
        };
        let packed = ipfix.push(now, settings, flow, passage, to);
        note_packed(counters, packed);
    }

    /// Whether a flow is packed as any other: it may be left out, or be packed here.
    #[cold]
    #[inline(never)]
    fn chooses(&mut self, now: Now, flow: &Flow, passage: &Passage, outbox: &mut Outbox) -> bool {
        let direction = self.settings.direction;
        // A connection of two states has both.
        if passage.egress.is_none()
            && direction.is_some_and(|direction| direction != flow.direction)
        {
            self.counters.direction += 1;
            return false;
        }
        if let Some(only) = &self.settings.only
            && !only.admits(&Subject::of_flow(flow, passage))
        {
            self.counters.filtered += 1;
            return false;
        }
        if self.settings.icmp == IcmpPorts::Kernel || !is_icmp(flow.tuple.proto) {
            return true;
        }
        let to = &mut To::new(self.unit, outbox);
        let [forward, back] = flow.with_icmp_ports();
        let settings = &self.settings;
        let packed = match &mut self.encoder {
            Encoder::NetFlow5(netflow5) if flow.tuple.af == Af::Inet => {
                self.counters.clamped += u64::from(flow.times.is_cut());
                netflow5.push_each(now, settings, [&forward, &back], passage, to)
            }
            Encoder::Ipfix(ipfix) => ipfix.push_each(now, settings, [&forward, &back], passage, to),
            Encoder::ByCreator(all) => {
                let chosen = all.choose(flow.id.creatorid);
                if chosen.is_new && self.is_told {
                    let told = self.session.tell(now, settings, chosen.domain, to);
                    self.counters.templates += told;
                }
                self.counters.crowded += u64::from(chosen.is_crowded);
                let flows = [&forward, &back];
                chosen.encoder.push_each(now, settings, flows, passage, to)
            }
            // The others have an element for it, and no IPv6.
            _ => return true,
        };
        note_packed(&mut self.counters, packed);
        false
    }

    /// So many packets of pfsync were lost before they could be read, as far as that is known.
    pub(crate) fn note_ignored(&mut self, now: Now, packets: u64) {
        self.statistics.note_ignored(packets, now);
    }

    /// Sends what there is of statistics.
    fn send_statistics(&mut self, now: Now, outbox: &mut Outbox) {
        let to = &mut To::new(self.unit, outbox);
        let domain = match self.settings.domain {
            Domain::Number(domain) => domain,
            Domain::Creatorid => COMMON,
        };
        if self.is_told {
            self.counters.templates += self.session.tell_new(now, &self.settings, domain, to);
        }
        let told = self
            .session
            .announce_domain(now, &self.settings, domain, to);
        self.counters.templates += if self.is_told { told } else { 0 };
        let counters = &mut self.counters;
        self.statistics.note_lost(counters.records_refused, now);
        let records = counters
            .records_sent
            .saturating_sub(self.statistics.records);
        let (messages, octets) = (counters.datagrams, counters.octets);
        let mut all = vec![Options::metering(domain, messages, records, octets)];
        all.extend(self.statistics.reliability(domain, self.unit));
        for options in &all {
            let mut message = vec![0; wire::ipfix::HEADER_LEN];
            message.extend(options.set());
            to.push(Header::Ipfix { domain }, now, 1, &message);
            counters.records += 1;
            self.statistics.records += 1;
        }
    }

    /// Packs a flow's records with all that is known.
    #[inline(never)]
    fn offer_full(&mut self, now: Now, flow: &Flow, passage: &Passage, outbox: &mut Outbox) {
        let Self {
            unit,
            settings,
            encoder,
            session,
            counters,
            is_told,
            ..
        } = self;
        let to = &mut To::new(*unit, outbox);
        let full = match encoder {
            Encoder::Full(full) => full,
            Encoder::FullByCreator(all) => {
                let chosen = all.choose(flow.id.creatorid);
                if chosen.is_new && *is_told {
                    counters.templates += session.tell(now, settings, chosen.domain, to);
                }
                counters.crowded += u64::from(chosen.is_crowded);
                chosen.encoder
            }
            _ => return,
        };
        let domain = full.domain();
        let mut told = 0;
        for (ifname, ifindex) in flow.interface_names(passage) {
            let news = (flow, ifname, ifindex);
            told += session.announce(now, settings, domain, news, to);
        }
        // What a stream or a file is told it counts itself.
        counters.templates += if *is_told { told } else { 0 };
        let packed = full.push(now, settings, flow, passage, to);
        note_packed(counters, packed);
    }

    /// Packs a NAT event, if it is one for this interface.
    #[cold]
    pub fn offer_event(
        &mut self,
        now: Now,
        (observed, what): (Now, Translation),
        flow: &Flow,
        outbox: &mut Outbox,
    ) {
        let Self {
            unit,
            settings,
            encoder,
            session,
            counters,
            is_told,
            takes,
            ..
        } = self;
        let is_other = |direction| direction != flow.direction;
        if *takes == Takes::Nothing || settings.direction.is_some_and(is_other) {
            return;
        }
        let passage = &Passage::of_state(0);
        if let Some(only) = &settings.only
            && !only.admits(&Subject::of_flow(flow, passage))
        {
            return;
        }
        let to = &mut To::new(*unit, outbox);
        let full = match encoder {
            Encoder::Full(full) => full,
            Encoder::FullByCreator(all) => {
                let chosen = all.choose(flow.id.creatorid);
                if chosen.is_new && *is_told {
                    counters.templates += session.tell(now, settings, chosen.domain, to);
                }
                chosen.encoder
            }
            _ => return,
        };
        full.push_event((now, settings), (observed, what), flow, to);
        count(&mut counters.records, 1);
        count(&mut counters.events, 1);
    }

    /// Packs a flow's records for NetFlow v9.
    #[cold]
    #[inline(never)]
    fn offer_netflow9(&mut self, now: Now, flow: &Flow, passage: &Passage, outbox: &mut Outbox) {
        let Self {
            unit,
            settings,
            encoder,
            session,
            counters,
            is_told,
            ..
        } = self;
        let first = outbox.messages();
        let to = &mut To::new(*unit, outbox);
        let names = flow.interface_names(passage);
        let new: Vec<_> = names
            .filter(|(name, index)| session.note_interface(*index, *name))
            .collect();
        let netflow9 = match encoder {
            Encoder::NetFlow9(netflow9) => netflow9,
            Encoder::NetFlow9ByCreator(all) => {
                let chosen = all.choose(flow.id.creatorid);
                if chosen.is_new && *is_told {
                    session.tell(now, settings, chosen.domain, to);
                }
                counters.crowded += u64::from(chosen.is_crowded);
                chosen.encoder
            }
            _ => return,
        };
        // A stream keeps each name for all its sessions. Datagrams have them with the templates.
        for (name, index) in new.into_iter().filter(|_| !*is_told) {
            netflow9.tell_interface(now, index, name, to);
        }
        let packed = netflow9.push(now, (&*settings, &*session), flow, passage, to);
        counters.clamped += u64::from(NetFlow9::is_cut(now, flow));
        if *is_told {
            counters.templates += outbox.templates_behind(first);
        }
        note_packed(counters, packed);
    }

    /// Whether [`Self::poll_timeout`] is not later than `now`.
    #[inline]
    pub fn is_due(&self, now: Uptime) -> bool {
        self.encoder.is_due(now) || now.is_past(self.session.poll_timeout())
    }

    /// When [`Self::handle_timeout`] has something to do.
    #[inline]
    pub fn poll_timeout(&self) -> Option<Uptime> {
        Uptime::earliest(self.encoder.poll_timeout(), self.session.poll_timeout())
    }

    /// Sends what is due: records held long enough, then templates.
    pub fn handle_timeout(&mut self, now: Now, outbox: &mut Outbox) {
        let first = outbox.messages();
        let to = &mut To::new(self.unit, outbox);
        let of_interface = (&self.settings, &self.session);
        self.encoder.handle_timeout(now, of_interface, to);
        if self.session.handle_timeout(now, &self.settings, to) > 0 {
            self.encoder.note_told();
        }
        self.counters.templates += outbox.templates_behind(first);
        if self.session.take_statistics(now, &self.settings) {
            self.send_statistics(now, outbox);
        }
    }

    /// Moves templates that are due before `until` behind it: after a long silence they go once.
    pub fn skip_templates(&mut self, until: Uptime) {
        self.session.skip_templates(until, &self.settings);
    }

    /// Notes what was reported of datagrams sent earlier; nothing: no longer.
    pub(crate) fn handle_reports(&mut self, reports: Reports) {
        self.counters.refused += reports.refused;
        self.counters.unreachable += reports.unreachable;
        self.session.set_state(match reports {
            Reports { refused: 1.., .. } => State::Refused,
            Reports {
                unreachable: 1.., ..
            } => State::Unreachable,
            _ => State::Up,
        });
    }

    /// Sends what is held.
    pub fn flush(&mut self, now: Now, outbox: &mut Outbox) {
        let first = outbox.messages();
        let to = &mut To::new(self.unit, outbox);
        self.encoder.flush(now, (&self.settings, &self.session), to);
        self.counters.templates += outbox.templates_behind(first);
    }
}

#[inline(always)]
fn note_packed(counters: &mut InterfaceCounters, packed: Packed) {
    count(&mut counters.records, packed.records.into());
    counters.clipped += u64::from(packed.is_clipped);
}

/// Has the sessions of `interfaces`, which are in the order of their numbers, stamp what `outbox`
/// has for them. Messages of an interface that is gone have nobody to number them and are dropped.
pub fn stamp(outbox: &mut Outbox, interfaces: &mut [Interface], order: Order) {
    outbox.stamp(order, |message, octets| {
        let place = interfaces.binary_search_by_key(&message.unit(), Interface::unit);
        let Some(interface) = place.ok().and_then(|place| interfaces.get_mut(place)) else {
            return false;
        };
        if interface.has_datagrams() {
            interface.session.stamp(message, octets);
        } else {
            Session::stamp_for_stream(message, octets);
        }
        true
    });
}

/// [`stamp`]s what `outbox` has and takes it out, to be sent.
pub fn transmit(outbox: &mut Outbox, interfaces: &mut [Interface], order: Order) -> Transmit {
    stamp(outbox, interfaces, order);
    Transmit::from(std::mem::take(outbox))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::{Domain, Engine, TemplateSet};
    use crate::flow::{Boot, End, Quality, Times, Tuple};
    use crate::state::{Address, Direction, IfName, StateId};
    use crate::time::Wall;

    fn now(uptime: i64) -> Now {
        Now::with_boot(
            Wall::new(1_700_000_000 + uptime, 250_000_000),
            Wall::new(1_700_000_000, 0),
        )
    }

    fn flow(af: Af) -> Flow {
        Flow {
            id: StateId::default(),
            direction: Direction::In,
            ifname: IfName::default(),
            pflow: true,
            tuple: Tuple {
                af,
                proto: 17,
                src: Address([1; 16]),
                dst: Address([2; 16]),
                sport: 3,
                dport: 4,
            },
            translated: None,
            packets: [1, 1],
            octets: [100, 200],
            times: Times::new(1, 2, now(2), Boot::Known),
            end: End::Deleted,
            quality: Quality::Exact,
            detail: None,
            only: None,
        }
    }

    fn running(format: Format) -> (Interface, Outbox) {
        let mut outbox = Outbox::default();
        let mut interface = Interface::new(3, Settings::default());
        let flowdst = Some("127.0.0.1:9995".parse().unwrap());
        interface.configure(
            now(10),
            Settings {
                flowdst,
                format,
                ..Settings::default()
            },
            &mut outbox,
        );
        (interface, outbox)
    }

    fn u32_at(payload: &[u8], at: usize) -> u32 {
        u32::from_be_bytes(payload[at..at + 4].try_into().unwrap())
    }

    /// What there is to send; it is gone then.
    fn sent(interface: &mut Interface, outbox: &mut Outbox) -> Vec<Vec<u8>> {
        let interfaces = std::slice::from_mut(interface);
        let transmit = transmit(outbox, interfaces, Order::Packed);
        transmit.iter().map(|(_, octets)| octets.to_vec()).collect()
    }

    #[test]
    fn templates_go_at_configuration_and_every_thirty_seconds() {
        let (mut interface, mut outbox) = running(Format::Ipfix);
        assert_eq!(sent(&mut interface, &mut outbox).len(), 1);
        assert_eq!(interface.poll_timeout(), Some(Uptime::new(40, 250_000_000)));
        interface.handle_timeout(now(39), &mut outbox);
        assert!(outbox.is_empty());
        interface.handle_timeout(now(40), &mut outbox);
        assert_eq!(sent(&mut interface, &mut outbox).len(), 1);
        assert_eq!(interface.counters.templates, 2);
    }

    #[test]
    fn a_record_is_held_thirty_seconds_at_most() {
        for format in [Format::NetFlow5, Format::Ipfix] {
            let (mut interface, mut outbox) = running(format);
            sent(&mut interface, &mut outbox);
            interface.offer(now(15), &flow(Af::Inet), 0, &mut outbox);
            interface.handle_timeout(now(44), &mut outbox);
            let templates = sent(&mut interface, &mut outbox);
            assert!(
                templates.iter().all(|message| message[17] == 2),
                "{format:?}"
            );
            interface.handle_timeout(now(45), &mut outbox);
            let lens: Vec<_> = sent(&mut interface, &mut outbox)
                .iter()
                .map(Vec::len)
                .collect();
            let len = if format == Format::Ipfix {
                20 + 2 * 54
            } else {
                24 + 2 * 48
            };
            assert_eq!(lens, [len], "{format:?}");
            assert_eq!(interface.held(), 0);
        }
    }

    #[test]
    fn headers_carry_the_clock_of_sending_and_the_sequence_of_the_buffers_begin() {
        let (mut interface, mut outbox) = running(Format::NetFlow5);
        for _ in 0..16 {
            interface.offer(now(15), &flow(Af::Inet), 0, &mut outbox);
        }
        interface.flush(now(17), &mut outbox);
        let sent = sent(&mut interface, &mut outbox);
        assert_eq!(
            sent.iter().map(Vec::len).collect::<Vec<_>>(),
            [24 + 30 * 48, 24 + 2 * 48]
        );
        assert_eq!((u32_at(&sent[0], 4), u32_at(&sent[1], 4)), (15_000, 17_000));
        assert_eq!(u32_at(&sent[1], 8), 1_700_000_017);
        assert_eq!(u32_at(&sent[1], 12), 250_000_000);
        assert_eq!((u32_at(&sent[0], 16), u32_at(&sent[1], 16)), (0, 30));
    }

    #[test]
    fn the_ipfix_sequence_counts_data_records_of_all_buffers_and_no_templates() {
        let (mut interface, mut outbox) = running(Format::Ipfix);
        for af in [Af::Inet, Af::Inet6, Af::Inet] {
            interface.offer(now(15), &flow(af), 0, &mut outbox);
        }
        interface.handle_timeout(now(45), &mut outbox);
        let settings = interface.settings().clone();
        interface.configure(now(50), settings, &mut outbox);
        let sent = sent(&mut interface, &mut outbox);
        let sequences: Vec<_> = sent.iter().map(|payload| u32_at(payload, 8)).collect();
        let sets: Vec<_> = sent
            .iter()
            .map(|p| u16::from_be_bytes([p[16], p[17]]))
            .collect();
        assert_eq!(sets, [2, 256, 258, 2, 2]);
        assert_eq!(sequences, [0, 0, 4, 6, 6]);
    }

    #[test]
    fn each_firewall_has_a_domain_with_templates_and_a_sequence_of_its_own() {
        let (mut interface, mut outbox) = running(Format::Ipfix);
        sent(&mut interface, &mut outbox);
        let domain = Domain::Creatorid;
        let settings = Settings {
            domain,
            ..interface.settings().clone()
        };
        interface.configure(now(11), settings, &mut outbox);
        let mut of = flow(Af::Inet);
        for creatorid in [7, 9, 7] {
            of.id.creatorid = creatorid;
            interface.offer(now(15), &of, 0, &mut outbox);
            interface.flush(now(15), &mut outbox);
        }
        interface.handle_timeout(now(41), &mut outbox);
        let told: Vec<_> = sent(&mut interface, &mut outbox)
            .iter()
            .map(|message| (message[17], u32_at(message, 12), u32_at(message, 8)))
            .collect();
        // Templates are set 2, and told anew after 30 seconds.
        let data = [(2, 7, 0), (0, 7, 0), (2, 9, 0), (0, 9, 0), (0, 7, 2)];
        assert_eq!(told[..5], data);
        assert_eq!(told[5..], [(2, 7, 4), (2, 9, 2)]);
        assert_eq!(interface.session().sequences(), [(7, 4), (9, 2), (42, 0)]);
    }

    #[test]
    fn a_v5_header_has_the_engine_that_is_set() {
        let (mut interface, mut outbox) = running(Format::NetFlow5);
        interface.offer(now(15), &flow(Af::Inet), 0, &mut outbox);
        let engine = Engine([1, 255]);
        let settings = Settings {
            engine,
            ..interface.settings().clone()
        };
        interface.configure(now(16), settings, &mut outbox);
        interface.offer(now(17), &flow(Af::Inet), 0, &mut outbox);
        interface.flush(now(17), &mut outbox);
        let engines: Vec<_> = sent(&mut interface, &mut outbox)
            .iter()
            .map(|datagram| [datagram[20], datagram[21]])
            .collect();
        assert_eq!(engines, [[42, 42], [1, 255]]);
    }

    #[test]
    fn thirty_records_of_any_layout_fit_however_large_the_mtu() {
        let (mut interface, mut outbox) = running(Format::Ipfix);
        let mtu = u16::MAX;
        let templates = TemplateSet::FreeBsd;
        let settings = Settings {
            mtu,
            templates,
            ..interface.settings().clone()
        };
        interface.configure(now(11), settings, &mut outbox);
        sent(&mut interface, &mut outbox);
        for af in [Af::Inet, Af::Inet6] {
            let mut flow = flow(af);
            flow.translated = Some(flow.tuple.reversed());
            for _ in 0..15 {
                interface.offer(now(15), &flow, 0, &mut outbox);
            }
        }
        let sent = sent(&mut interface, &mut outbox);
        let lens: Vec<_> = sent.iter().map(Vec::len).collect();
        let events = 20 + 30 * 34;
        assert_eq!(lens, [events, 20 + 30 * 54, events, 20 + 30 * 78]);
        let ends = sent.iter().map(|message| message[message.len() - 1]);
        assert_eq!(ends.collect::<Vec<_>>(), [3, 17, 4, 17]);
    }

    #[test]
    fn the_v5_sequence_counts_records_of_either_protocol() {
        let (mut interface, mut outbox) = running(Format::Ipfix);
        interface.offer(now(15), &flow(Af::Inet6), 0, &mut outbox);
        let v5 = Settings {
            format: Format::NetFlow5,
            ..interface.settings().clone()
        };
        interface.configure(now(16), v5, &mut outbox);
        interface.offer(now(17), &flow(Af::Inet), 0, &mut outbox);
        sent(&mut interface, &mut outbox);
        interface.flush(now(18), &mut outbox);
        assert_eq!(u32_at(&sent(&mut interface, &mut outbox)[0], 16), 2);
    }

    #[test]
    fn what_is_held_at_a_change_goes_out_under_the_old_settings() {
        let (mut interface, mut outbox) = running(Format::NetFlow5);
        interface.offer(now(15), &flow(Af::Inet), 0, &mut outbox);
        let ipfix = Settings {
            format: Format::Ipfix,
            ..interface.settings().clone()
        };
        interface.configure(now(16), ipfix, &mut outbox);
        let versions: Vec<_> = sent(&mut interface, &mut outbox)
            .iter()
            .map(|payload| payload[1])
            .collect();
        assert_eq!(versions, [5, 10]);
    }

    #[test]
    fn an_interface_that_does_not_run_counts_flows_and_sends_nothing() {
        let (mut interface, mut outbox) = running(Format::Ipfix);
        let down = Settings {
            is_up: false,
            ..interface.settings().clone()
        };
        interface.configure(now(16), down, &mut outbox);
        sent(&mut interface, &mut outbox);
        interface.offer(now(17), &flow(Af::Inet), 0, &mut outbox);
        interface.handle_timeout(now(500), &mut outbox);
        assert!(outbox.is_empty());
        assert_eq!(
            (interface.counters.idle, interface.poll_timeout()),
            (1, None)
        );
        for dst in ["0.0.0.0:9995", "127.0.0.1:0"] {
            let flowdst = Some(dst.parse().unwrap());
            assert_eq!(
                Settings {
                    flowdst,
                    ..Settings::default()
                }
                .datagrams_to(),
                None
            );
        }
    }

    #[test]
    fn v5_leaves_ipv6_out_and_counts_it() {
        let (mut interface, mut outbox) = running(Format::NetFlow5);
        interface.offer(now(15), &flow(Af::Inet6), 0, &mut outbox);
        assert_eq!((interface.held(), interface.counters.ipv6), (0, 1));
    }

    #[test]
    fn an_interface_takes_flows_of_its_direction() {
        let (mut interface, mut outbox) = running(Format::NetFlow5);
        let out = Settings {
            direction: Some(Direction::Out),
            ..interface.settings().clone()
        };
        interface.configure(now(11), out, &mut outbox);
        interface.offer(now(15), &flow(Af::Inet), 0, &mut outbox);
        assert_eq!((interface.held(), interface.counters.direction), (0, 1));
    }

    #[test]
    fn after_a_long_silence_templates_go_once_and_keep_their_rhythm() {
        let (mut interface, mut outbox) = running(Format::Ipfix);
        interface.handle_timeout(now(40), &mut outbox);
        interface.skip_templates(Uptime::new(8000, 0));
        assert_eq!(
            interface.poll_timeout(),
            Some(Uptime::new(8020, 250_000_000))
        );
    }
}
