//! Floor 4: one pflow interface: its settings, whether it runs, its encoders, its counters.
//!
//! ```text
//!            flowdst with address and port, up
//!   UP  ------------------------------------------->  UP,RUNNING     flows are packed
//!       <-------------------------------------------
//!                down, -flowdst                       flows are counted, nothing else
//! ```
//! The flags, and what makes an interface RUNNING, are pflow(4)'s (if_pflow.c, `pflow_set`,
//! `pflowioctl`). Sequence numbers live as long as the interface.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::counters::{InterfaceCounters, count};
use crate::export::{self, Format, Ipfix, MAX_PIECES, NetFlow5, Outbox, Sink, TemplateSet};
use crate::flow::Flow;
use crate::state::{Af, Direction};
use crate::time::{Now, Uptime};
use crate::wire;

/// Least `mtu` (PFLOW_MINMTU): a v5 header and one record.
pub const MIN_MTU: u16 = 72;
/// Largest `mtu` (MCLBYTES).
pub const MAX_MTU: u16 = 2048;
/// Largest `hold`, seconds (PFLOW_TIMEOUT).
pub const MAX_HOLD: u32 = 30;

/// Where datagrams come from: an address and, if given, a port.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Source {
    /// Local address.
    pub address: IpAddr,
    /// Local port; `None`: any.
    pub port: Option<u16>,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.address, self.port) {
            (address, Some(port)) => SocketAddr::new(address, port).fmt(f),
            (IpAddr::V4(address), None) => address.fmt(f),
            (IpAddr::V6(address), None) => write!(f, "[{address}]"),
        }
    }
}

/// What an interface is set to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Settings {
    /// `flowsrc`.
    pub flowsrc: Option<Source>,
    /// `flowdst`.
    pub flowdst: Option<SocketAddr>,
    /// `pflowproto`.
    pub format: Format,
    /// `mtu`, octets, as asked for.
    pub mtu: u16,
    /// `template`.
    pub templates: TemplateSet,
    /// `domain`.
    pub domain: u32,
    /// `hold`, seconds.
    pub hold: u32,
    /// `refresh`, seconds.
    pub refresh: u32,
    /// `active`, seconds; 0: flows are exported when they end.
    pub active: u32,
    /// `direction`; `None`: any.
    pub direction: Option<Direction>,
    /// `up` or `down`.
    pub is_up: bool,
}

impl Default for Settings {
    /// A fresh interface: up, protocol 5, no addresses, the kernel's timers.
    fn default() -> Self {
        Self {
            flowsrc: None,
            flowdst: None,
            format: Format::NetFlow5,
            mtu: 1500,
            templates: TemplateSet::OpenBsd,
            domain: 42,
            hold: MAX_HOLD,
            refresh: 30,
            active: 0,
            direction: None,
            is_up: true,
        }
    }
}

impl Settings {
    /// Where datagrams go if the interface runs: it is up and has a collector's address and port.
    pub fn running_to(&self) -> Option<SocketAddr> {
        self.flowdst
            .filter(|dst| self.is_up && dst.port() != 0 && !dst.ip().is_unspecified())
    }

    fn export(&self) -> export::Settings {
        export::Settings {
            format: self.format,
            templates: self.templates,
            domain: self.domain,
            mtu: self.mtu,
            is_ipv6: self.flowdst.is_some_and(|dst| dst.is_ipv6()),
            hold: Duration::from_secs(self.hold.into()),
            refresh: Duration::from_secs(self.refresh.into()),
        }
    }
}

/// One pflowN.
#[derive(Debug)]
pub struct Interface {
    unit: u32,
    settings: Settings,
    export: export::Settings,
    is_running: bool,
    netflow5: NetFlow5,
    ipfix: Ipfix,
    /// Records packed, of either protocol (`sc_gcounter`).
    packed: u32,
    /// Records that v5 may still split flows into in this turn.
    pieces: u64,
    /// What it did.
    pub counters: InterfaceCounters,
}

impl Interface {
    /// A new pflow`unit`, not yet configured.
    pub fn new(unit: u32) -> Self {
        let settings = Settings::default();
        Self {
            unit,
            settings,
            export: settings.export(),
            is_running: false,
            netflow5: NetFlow5::default(),
            ipfix: Ipfix::default(),
            packed: 0,
            pieces: MAX_PIECES,
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
        self.is_running
    }

    /// Records held now.
    pub fn held(&self) -> usize {
        self.netflow5.held() + self.ipfix.held()
    }

    /// Data records in a datagram that it made.
    pub fn records_in(&self, datagram: &[u8]) -> u64 {
        match self.export.format {
            Format::NetFlow5 => wire::netflow5::records_in(datagram),
            Format::Ipfix => wire::ipfix::records_in(datagram, self.export.templates.templates()),
        }
    }

    /// Records packed, and the IPFIX sequence number.
    pub fn sequences(&self) -> (u32, u32) {
        (self.packed, self.ipfix.sequence())
    }

    /// Goes on from what [`Self::sequences`] was before a restart.
    pub fn restore(&mut self, packed: u32, sequence: u32) {
        self.packed = packed;
        self.ipfix.set_sequence(sequence);
    }

    /// Takes new settings: sends what is held under the old ones, then templates if they are to
    /// be sent at all.
    pub fn configure(&mut self, now: Now, settings: Settings, outbox: &mut Outbox) {
        self.flush(now, outbox);
        self.settings = settings;
        self.export = settings.export();
        self.is_running = settings.running_to().is_some();
        self.ipfix.stop_templates();
        if self.is_running && settings.format == Format::Ipfix {
            let (ipfix, export, mut sink) = self.ipfix_parts(outbox);
            ipfix.send_templates(now, export, &mut sink);
            self.counters.templates += 1;
        }
    }

    /// Begins a turn: what one packet or one timer may make is bounded.
    pub fn begin_turn(&mut self) {
        self.pieces = MAX_PIECES;
    }

    /// Packs a flow's records, if it is one for this interface.
    #[inline]
    pub fn offer(&mut self, now: Now, flow: &Flow, ifindex: u16, outbox: &mut Outbox) {
        count(&mut self.counters.flows, 1);
        if !self.is_running {
            self.counters.idle += 1;
            return;
        }
        if self
            .settings
            .direction
            .is_some_and(|direction| direction != flow.direction)
        {
            self.counters.direction += 1;
            return;
        }
        let before = self.packed;
        let Self {
            unit,
            export,
            netflow5,
            ipfix,
            packed,
            pieces,
            counters,
            ..
        } = self;
        let mut sink = Sink {
            unit: *unit,
            packed,
            pieces,
            outbox,
        };
        match export.format {
            Format::NetFlow5 if flow.tuple.af == Af::Inet6 => counters.ipv6 += 1,
            Format::NetFlow5 => {
                let is_clipped = netflow5.push(now, export, flow, ifindex, &mut sink);
                counters.clipped += u64::from(is_clipped);
            }
            Format::Ipfix => ipfix.push(now, export, flow, ifindex, &mut sink),
        }
        let records = self.packed.wrapping_sub(before);
        count(&mut self.counters.records, records.into());
    }

    /// When [`Self::handle_timeout`] has something to do.
    #[inline]
    pub fn poll_timeout(&self) -> Option<Uptime> {
        Uptime::earliest(self.netflow5.poll_timeout(), self.ipfix.poll_timeout())
    }

    /// Sends what is due.
    pub fn handle_timeout(&mut self, now: Now, outbox: &mut Outbox) {
        let Self {
            unit,
            export,
            netflow5,
            ipfix,
            packed,
            pieces,
            counters,
            ..
        } = self;
        let mut sink = Sink {
            unit: *unit,
            packed,
            pieces,
            outbox,
        };
        if netflow5.poll_timeout().is_some_and(|at| at <= now.uptime) {
            netflow5.flush(now, &mut sink);
        }
        if ipfix.poll_timeout().is_some_and(|at| at <= now.uptime) {
            counters.templates += ipfix.handle_timeout(now, export, &mut sink);
        }
    }

    /// Moves templates that are due before `until` behind it: after a long silence they go once.
    pub fn skip_templates(&mut self, until: Uptime) {
        self.ipfix.skip_templates(until, &self.export);
    }

    /// Sends what is held.
    pub fn flush(&mut self, now: Now, outbox: &mut Outbox) {
        let Self {
            unit,
            netflow5,
            packed,
            pieces,
            ..
        } = self;
        netflow5.flush(
            now,
            &mut Sink {
                unit: *unit,
                packed,
                pieces,
                outbox,
            },
        );
        let (ipfix, export, mut sink) = self.ipfix_parts(outbox);
        ipfix.flush(now, export, &mut sink);
    }

    fn ipfix_parts<'a>(
        &'a mut self,
        outbox: &'a mut Outbox,
    ) -> (&'a mut Ipfix, &'a export::Settings, Sink<'a>) {
        let Self {
            unit,
            export,
            ipfix,
            packed,
            pieces,
            ..
        } = self;
        (
            ipfix,
            export,
            Sink {
                unit: *unit,
                packed,
                pieces,
                outbox,
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::{Boot, End, Quality, Times, Tuple};
    use crate::state::{Address, IfName, StateId};
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
            only: None,
        }
    }

    fn running(format: Format) -> (Interface, Outbox) {
        let mut outbox = Outbox::default();
        let mut interface = Interface::new(3);
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

    fn payloads(outbox: &Outbox) -> Vec<Vec<u8>> {
        outbox.iter().map(|(_, payload)| payload.to_vec()).collect()
    }

    #[test]
    fn templates_go_at_configuration_and_every_thirty_seconds() {
        let (mut interface, mut outbox) = running(Format::Ipfix);
        assert_eq!(payloads(&outbox).len(), 1);
        assert_eq!(interface.poll_timeout(), Some(Uptime::new(40, 250_000_000)));
        interface.handle_timeout(now(39), &mut outbox);
        assert_eq!(payloads(&outbox).len(), 1);
        interface.handle_timeout(now(40), &mut outbox);
        assert_eq!(payloads(&outbox).len(), 2);
        assert_eq!(interface.counters.templates, 2);
    }

    #[test]
    fn a_record_is_held_thirty_seconds_at_most() {
        for format in [Format::NetFlow5, Format::Ipfix] {
            let (mut interface, mut outbox) = running(format);
            outbox.clear();
            interface.offer(now(15), &flow(Af::Inet), 0, &mut outbox);
            interface.handle_timeout(now(44), &mut outbox);
            let data =
                |outbox: &Outbox| payloads(outbox).iter().any(|p| p[17] != 2 && p.len() > 130);
            assert!(!data(&outbox), "{format:?}");
            interface.handle_timeout(now(45), &mut outbox);
            assert!(outbox.iter().any(|(_, payload)| payload.len()
                == match format {
                    Format::NetFlow5 => 24 + 2 * 48,
                    Format::Ipfix => 20 + 2 * 54,
                }));
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
        let sent = payloads(&outbox);
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
        interface.configure(now(50), *interface.settings(), &mut outbox);
        let sent = payloads(&outbox);
        let sequences: Vec<_> = sent.iter().map(|payload| u32_at(payload, 8)).collect();
        let sets: Vec<_> = sent
            .iter()
            .map(|p| u16::from_be_bytes([p[16], p[17]]))
            .collect();
        assert_eq!(sets, [2, 256, 258, 2, 2]);
        assert_eq!(sequences, [0, 0, 4, 6, 6]);
    }

    #[test]
    fn thirty_records_of_any_layout_fit_however_large_the_mtu() {
        let (mut interface, mut outbox) = running(Format::Ipfix);
        let mtu = u16::MAX;
        let templates = TemplateSet::FreeBsd;
        let settings = Settings {
            mtu,
            templates,
            ..*interface.settings()
        };
        interface.configure(now(11), settings, &mut outbox);
        outbox.clear();
        for af in [Af::Inet, Af::Inet6] {
            let mut flow = flow(af);
            flow.translated = Some(flow.tuple.reversed());
            for _ in 0..15 {
                interface.offer(now(15), &flow, 0, &mut outbox);
            }
        }
        let lens: Vec<_> = payloads(&outbox).iter().map(Vec::len).collect();
        let events = 20 + 30 * 34;
        assert_eq!(lens, [events, 20 + 30 * 54, events, 20 + 30 * 78]);
        let ends = outbox.iter().map(|(_, message)| message[message.len() - 1]);
        assert_eq!(ends.collect::<Vec<_>>(), [3, 17, 4, 17]);
    }

    #[test]
    fn the_v5_sequence_counts_records_of_either_protocol() {
        let (mut interface, mut outbox) = running(Format::Ipfix);
        interface.offer(now(15), &flow(Af::Inet6), 0, &mut outbox);
        let v5 = Settings {
            format: Format::NetFlow5,
            ..*interface.settings()
        };
        interface.configure(now(16), v5, &mut outbox);
        interface.offer(now(17), &flow(Af::Inet), 0, &mut outbox);
        outbox.clear();
        interface.flush(now(18), &mut outbox);
        assert_eq!(u32_at(&payloads(&outbox)[0], 16), 2);
    }

    #[test]
    fn what_is_held_at_a_change_goes_out_under_the_old_settings() {
        let (mut interface, mut outbox) = running(Format::NetFlow5);
        interface.offer(now(15), &flow(Af::Inet), 0, &mut outbox);
        let ipfix = Settings {
            format: Format::Ipfix,
            ..*interface.settings()
        };
        interface.configure(now(16), ipfix, &mut outbox);
        let versions: Vec<_> = payloads(&outbox).iter().map(|payload| payload[1]).collect();
        assert_eq!(versions, [5, 10]);
    }

    #[test]
    fn an_interface_that_does_not_run_counts_flows_and_sends_nothing() {
        let (mut interface, mut outbox) = running(Format::Ipfix);
        let down = Settings {
            is_up: false,
            ..*interface.settings()
        };
        interface.configure(now(16), down, &mut outbox);
        outbox.clear();
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
                .running_to(),
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
            ..*interface.settings()
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
