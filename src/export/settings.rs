//! What an interface is set to.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::format::{Format, IPV6_UDP, TemplateSet, USUAL_LEN};
use crate::filter::Filter;
use crate::flow::Records;
use crate::state::Direction;
use crate::wire::ipfix::HEADER_LEN;
use crate::wire::netflow5::ENGINE;

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

/// How many datagrams go in a second at most.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Rate {
    /// In a replay [`Rate::USUAL`], which a usual collector takes. In a live capture as many as
    /// there are.
    #[default]
    Usual,
    /// So many.
    PerSecond(u32),
    /// As many as there are.
    Unlimited,
}

impl Rate {
    /// What a replay sends unless it is told. Debian gives nfcapd a receive buffer of 212 kB, which
    /// holds 92 full datagrams. At this rate nfcapd may be kept from reading for 23 ms.
    pub const USUAL: u32 = 4000;
}

/// IPFIX's observation domain.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Domain {
    /// One for all that an interface exports.
    Number(u32),
    /// One for each firewall, of its creatorid.
    Creatorid,
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Creatorid => f.write_str("creatorid"),
        }
    }
}

/// Most `backup` collectors of an interface.
pub const MAX_BACKUPS: usize = 8;

/// Where a socket looks for its routes: `rdomain`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Rdomain {
    /// A routing table: OpenBSD's routing domain, FreeBSD's fib.
    Table(u32),
    /// Linux's VRF device, or any other interface.
    Device(String),
}

impl fmt::Display for Rdomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Table(number) => number.fmt(f),
            Self::Device(name) => name.fmt(f),
        }
    }
}

/// What the ports of ICMP are: `icmp`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum IcmpPorts {
    /// As pf keeps them: an id and a type.
    #[default]
    Kernel,
    /// As NetFlow has them: 0, and type times 256 and code.
    Iana,
}

impl IcmpPorts {
    /// Each with its word.
    pub const VALUES: &'static [(&'static str, Self)] =
        &[("kernel", Self::Kernel), ("iana", Self::Iana)];
}

/// What is told beside flows: `events`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Events {
    /// Nothing.
    #[default]
    None,
    /// That translations begin and end (RFC 8158).
    Nat,
}

impl Events {
    /// Each with its word.
    pub const VALUES: &'static [(&'static str, Self)] = &[("nat", Self::Nat), ("none", Self::None)];
}

/// Type and id of a NetFlow v5 engine.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct EngineId(pub [u8; 2]);

/// What carries messages to the collector: `transport`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Carrier {
    /// Datagrams.
    #[default]
    Udp,
    /// A connection, with IPFIX only: messages of NetFlow do not tell their length.
    Tcp,
    /// A connection with TLS.
    Tls,
    /// Datagrams with DTLS.
    Dtls,
    /// An SCTP association.
    Sctp,
}

impl Carrier {
    /// Every one with its word.
    pub const VALUES: &'static [(&'static str, Self)] = &[
        ("udp", Self::Udp),
        ("tcp", Self::Tcp),
        ("tls", Self::Tls),
        ("dtls", Self::Dtls),
        ("sctp", Self::Sctp),
    ];

    /// Its word.
    pub fn name(self) -> &'static str {
        let found = Self::VALUES.iter().find(|(_, carrier)| *carrier == self);
        found.map_or("", |(name, _)| name)
    }

    /// Whether collectors prove who they are.
    pub fn is_secure(self) -> bool {
        matches!(self, Self::Tls | Self::Dtls)
    }
}

/// How files are compressed: `compress`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// gzip (RFC 1952), a member for each write.
    Gzip,
}

impl Compression {
    /// Every one with its word.
    pub const VALUES: &'static [(&'static str, Self)] =
        &[("none", Self::None), ("gzip", Self::Gzip)];
}

/// Longest time from one file to the next, seconds.
pub const MAX_ROTATE: u32 = 86_400;
/// Most files that `retain` can ask for.
pub const MAX_RETAIN: u32 = 1_000_000;

/// SHA-256 of a collector's certificate in DER: `pin`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Pin(pub [u8; 32]);

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

/// Octets that a record of DTLS 1.2 adds: header 13, explicit nonce 8, tag 16 (RFC 6347 4.1, RFC
/// 5288 3).
pub const DTLS_OVERHEAD: u16 = 37;
/// Least `mtu` with DTLS: the datagram that every IPv4 host takes (RFC 791 3.1). DTLS cuts a
/// handshake into pieces, but it does not cut a template message.
pub const MIN_DTLS_MTU: u16 = 576;

/// Most `pin`s of an interface.
pub const MAX_PINS: usize = 16;

/// Where messages are kept that a collector does not take: `spool`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SpoolSettings {
    /// A directory.
    pub directory: String,
    /// Most octets.
    pub octets: u64,
}

/// Where an interface that runs sends to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Way<'a> {
    /// Datagrams to an address.
    Datagrams(SocketAddr),
    /// A connection to an address.
    Connection(SocketAddr),
    /// Files of a pattern.
    Files(&'a str),
}

/// What an interface is set to.
#[derive(Clone, Debug, Eq, PartialEq)]
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
    pub domain: Domain,
    /// `engine`.
    pub engine: EngineId,
    /// `enterprise`: the number that our own elements are under; `None`: there are none.
    pub enterprise: Option<u32>,
    /// `statistics`, seconds from one time that they are told to the next; 0: never.
    pub statistics: u32,
    /// `biflow`: whether a record is of both directions.
    pub is_biflow: bool,
    /// `events`.
    pub events: Events,
    /// `delay`, seconds from when a translated state is heard of until that is told.
    pub delay: u32,
    /// `icmp`.
    pub icmp: IcmpPorts,
    /// `hold`, seconds.
    pub hold: u32,
    /// `refresh`, seconds.
    pub refresh: u32,
    /// `refreshpackets`: data messages of NetFlow v9 after which templates are sent again.
    pub refresh_packets: u32,
    /// `active`, seconds; 0: flows are exported when they end.
    pub active: u32,
    /// `direction`; `None`: any.
    pub direction: Option<Direction>,
    /// `records`; `None`: what the program's are.
    pub records: Option<Records>,
    /// `only`: which flows it exports; `None`: all.
    pub only: Option<Filter>,
    /// `rate`.
    pub rate: Rate,
    /// `transport`.
    pub carrier: Carrier,
    /// `backup`: collectors of a connection, where `flowdst` cannot be connected to.
    pub backups: Vec<SocketAddr>,
    /// `reconnect`, seconds.
    pub reconnect: u32,
    /// `queue`, octets that wait for a connection at most.
    pub queue: u32,
    /// `rdomain`.
    pub rdomain: Option<Rdomain>,
    /// `ca`: a file of the certificates that a collector's must lead to.
    pub ca: Option<String>,
    /// `cert`: a file of our certificate and those above it.
    pub cert: Option<String>,
    /// `key`: a file of its key.
    pub key: Option<String>,
    /// `servername`: whom a collector's certificate must name; `None`: its address.
    pub servername: Option<String>,
    /// `pin`: certificates of which a collector must have one; none: any.
    pub pins: Vec<Pin>,
    /// `renew`, seconds that a DTLS session lasts.
    pub renew: u32,
    /// `spool`.
    pub spool: Option<SpoolSettings>,
    /// `file`: a pattern of names, in place of `flowdst`.
    pub file: Option<String>,
    /// `rotate`, seconds of the flows' clock that a file is for.
    pub rotate: u32,
    /// `compress`.
    pub compression: Compression,
    /// `retain`: most files that are kept; 0: all.
    pub retain: u32,
    /// `tap`: a savefile that takes what is sent.
    pub tap: Option<String>,
    /// `up` or `down`.
    pub is_up: bool,
}

/// Whether there is an address and a port to send to.
pub fn is_whole(to: &SocketAddr) -> bool {
    to.port() != 0 && !to.ip().is_unspecified()
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
            domain: Domain::Number(42),
            engine: EngineId([ENGINE; 2]),
            enterprise: None,
            statistics: 0,
            is_biflow: false,
            events: Events::None,
            delay: 0,
            icmp: IcmpPorts::Kernel,
            hold: MAX_HOLD,
            refresh: 30,
            refresh_packets: 500,
            active: 0,
            direction: None,
            records: None,
            only: None,
            rate: Rate::Usual,
            carrier: Carrier::Udp,
            backups: Vec::new(),
            reconnect: 60,
            queue: 16 << 20,
            rdomain: None,
            ca: None,
            cert: None,
            key: None,
            servername: None,
            pins: Vec::new(),
            renew: 300,
            spool: None,
            file: None,
            rotate: 3600,
            compression: Compression::None,
            retain: 0,
            tap: None,
            is_up: true,
        }
    }
}

impl Settings {
    /// Where messages go if the interface runs: it is up and has files or a collector's address and
    /// port.
    pub fn way(&self) -> Option<Way<'_>> {
        if !self.is_up {
            return None;
        }
        if let Some(pattern) = &self.file {
            return Some(Way::Files(pattern));
        }
        let to = self.flowdst.filter(is_whole)?;
        Some(match self.carrier {
            Carrier::Udp => Way::Datagrams(to),
            Carrier::Tcp | Carrier::Tls | Carrier::Dtls | Carrier::Sctp => Way::Connection(to),
        })
    }

    /// Where datagrams go, if any do.
    pub fn datagrams_to(&self) -> Option<SocketAddr> {
        match self.way()? {
            Way::Datagrams(to) => Some(to),
            Way::Connection(_) | Way::Files(_) => None,
        }
    }

    /// Where a connection keeps what its collector does not take, if it does.
    pub fn spool(&self) -> Option<&SpoolSettings> {
        match self.way()? {
            Way::Connection(_) => self.spool.as_ref(),
            Way::Datagrams(_) | Way::Files(_) => None,
        }
    }

    /// The collectors of a connection, the one to try first in front.
    pub fn collectors(&self) -> impl Iterator<Item = SocketAddr> {
        let first = match self.way() {
            Some(Way::Connection(to)) => Some(to),
            Some(Way::Datagrams(_) | Way::Files(_)) | None => None,
        };
        let backups = self.backups.iter().copied();
        first
            .into_iter()
            .chain(backups.filter(move |_| first.is_some()))
    }

    /// How long a record is held at most.
    pub(super) fn hold(&self) -> Duration {
        Duration::from_secs(self.hold.into())
    }

    /// Octets that a message of options may have behind its header. Over datagrams the mtu says how
    /// many. Elsewhere the path is not known, so any path must take them.
    pub(super) fn room_of_message(&self) -> usize {
        let longest = match self.datagrams_to() {
            Some(_) => usize::from(self.mtu).saturating_sub(IPV6_UDP),
            None => USUAL_LEN,
        };
        longest.saturating_sub(HEADER_LEN)
    }

    /// How often statistics are told.
    pub(super) fn statistics(&self) -> Duration {
        Duration::from_secs(self.statistics.into())
    }

    /// How often templates are sent.
    pub(super) fn refresh(&self) -> Duration {
        Duration::from_secs(self.refresh.into())
    }
}
