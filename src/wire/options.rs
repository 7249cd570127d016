//! Options of IPFIX (RFC 7011, 3.4.2.2 and 4): data for a collector that are no flows.
//!
//! ```text
//! 400 exporter     observation domain -> sampling, which is none; init time; name
//! 401 interface    ingressInterface -> name
//! 402 firewall     originalObservationDomainId -> IPv4 address
//! 403              the same of IPv6
//! 404 metering     observation domain -> messages, records, octets so far      (RFC 7011 4.1)
//! 405 exporting    exporting process -> records not sent; since when, when last (RFC 7011 4.3)
//! 406 keys         template -> which of its elements are the flow's key        (RFC 7011 4.4)
//! 407 type         element of ours -> type, semantics, range, name             (RFC 5610)
//! 408 ignored      observation domain -> packets of pfsync not read; since when, when last (RFC 7011 4.2)
//! ```

use super::elements as ie;
use super::elements::{Element, VARIABLE};
use super::full::Kind;
use super::ipfix::{SET_HEADER_LEN, set_header};

const EXPORTER: u16 = 400;
const INTERFACE: u16 = 401;
const FIREWALL: u16 = 402;
const FIREWALL6: u16 = 403;
const METERING: u16 = 404;
const EXPORTING: u16 = 405;
const KEYS: u16 = 406;
const TYPE: u16 = 407;
const IGNORED: u16 = 408;

/// The layout of an options record.
#[derive(Clone, Debug)]
pub(super) struct OptionsLayout {
    pub(super) template: u16,
    pub(super) scopes: Vec<Element>,
    pub(super) fields: Vec<Element>,
}

/// Every one that goes with flows of `kind`.
pub(super) fn all(kind: Kind) -> impl Iterator<Item = OptionsLayout> {
    let dialect = kind.enterprise.map(|_| ie::DIALECT);
    let of = |template, scopes: &[Element], fields: &[Element]| OptionsLayout {
        template,
        scopes: scopes.to_vec(),
        fields: fields.to_vec(),
    };
    let firewall = |template, address| {
        let fields: Vec<_> = std::iter::once(address).chain(dialect).collect();
        of(template, &[ie::ORIGINAL_DOMAIN], &fields)
    };
    let mut all = vec![
        of(EXPORTER, &[ie::OBSERVATION_DOMAIN], &EXPORTER_FIELDS),
        of(INTERFACE, &[ie::INGRESS_INTERFACE], &INTERFACE_FIELDS),
        firewall(FIREWALL, ie::ORIGINAL_EXPORTER_IPV4),
        firewall(FIREWALL6, ie::ORIGINAL_EXPORTER_IPV6),
        of(METERING, &[ie::OBSERVATION_DOMAIN], &METERING_FIELDS),
        of(EXPORTING, &[ie::EXPORTING_PROCESS], &EXPORTING_FIELDS),
        of(KEYS, &[ie::TEMPLATE], &[ie::FLOW_KEYS]),
        of(IGNORED, &[ie::OBSERVATION_DOMAIN], &IGNORED_FIELDS),
    ];
    if kind.enterprise.is_some() {
        all.push(of(
            TYPE,
            &[ie::ENTERPRISE_NUMBER, ie::ELEMENT_ID],
            &TYPE_FIELDS,
        ));
    }
    all.into_iter()
}

const EXPORTER_FIELDS: [Element; 5] = [
    ie::SAMPLING_PACKETS,
    ie::SAMPLING_SPACE,
    ie::SELECTOR_ALGORITHM,
    ie::SYSTEM_INIT,
    ie::OBSERVATION_DOMAIN_NAME,
];
const INTERFACE_FIELDS: [Element; 2] = [ie::INTERFACE_NAME, ie::INTERFACE_DESCRIPTION];
const METERING_FIELDS: [Element; 3] = [
    ie::EXPORTED_MESSAGES,
    ie::EXPORTED_RECORDS,
    ie::EXPORTED_OCTETS,
];
const EXPORTING_FIELDS: [Element; 3] = [
    ie::NOT_SENT_RECORDS,
    ie::OBSERVATION_TIME,
    ie::OBSERVATION_TIME,
];
const IGNORED_FIELDS: [Element; 3] = [
    ie::IGNORED_PACKETS,
    ie::OBSERVATION_TIME,
    ie::OBSERVATION_TIME,
];
const TYPE_FIELDS: [Element; 7] = [
    ie::ELEMENT_TYPE,
    ie::ELEMENT_SEMANTICS,
    ie::ELEMENT_UNITS,
    ie::ELEMENT_RANGE_BEGIN,
    ie::ELEMENT_RANGE_END,
    ie::ELEMENT_NAME,
    ie::ELEMENT_DESCRIPTION,
];

/// A data record of options.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Options {
    template: u16,
    octets: Vec<u8>,
}

impl Options {
    /// Its set, alone.
    pub fn set(&self) -> Vec<u8> {
        let set = Self::set_of(std::slice::from_ref(self), usize::MAX);
        set.map_or_else(Vec::new, |(set, _)| set)
    }

    /// A set of the first of `options` and those behind it, and how many they are. It ends before
    /// an option of another template, or where there is no more room. The first is always in it.
    fn set_of(options: &[Self], room: usize) -> Option<(Vec<u8>, usize)> {
        let first = options.first()?;
        let mut set = vec![0; SET_HEADER_LEN];
        let mut count = 0;
        for one in options {
            let fits = count == 0 || set.len() + one.octets.len() <= room;
            if one.template != first.template || !fits {
                break;
            }
            set.extend(&one.octets);
            count += 1;
        }
        let len = u16::try_from(set.len()).unwrap_or(u16::MAX);
        if let Some(front) = set.first_chunk_mut() {
            *front = set_header(first.template, len);
        }
        Some((set, count))
    }

    fn new(template: u16) -> Self {
        let octets = Vec::new();
        Self { template, octets }
    }

    fn put(mut self, octets: impl IntoIterator<Item = u8>) -> Self {
        self.octets.extend(octets);
        self
    }

    /// A string (RFC 7011 7), of at most 254 octets.
    fn put_string(self, text: &str) -> Self {
        let mut end = text.len().min(254);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let octets = text.bytes().take(end);
        self.put([u8::try_from(end).unwrap_or(0)]).put(octets)
    }

    /// What exports an observation domain: nothing is sampled.
    pub fn exporter(domain: u32, init_ms: u64, name: &str) -> Self {
        Self::new(EXPORTER)
            .put(domain.to_be_bytes())
            .put(1_u32.to_be_bytes())
            .put(0_u32.to_be_bytes())
            // 1: systematic, by count (RFC 5477).
            .put(1_u16.to_be_bytes())
            .put(init_ms.to_be_bytes())
            .put_string(name)
    }

    /// The name of an interface.
    pub fn interface(index: u16, name: &str) -> Self {
        Self::new(INTERFACE)
            .put(u32::from(index).to_be_bytes())
            .put_string(name)
            .put_string(name)
    }

    /// Where a firewall speaks from, and with `kind`'s own elements in which dialect.
    pub fn firewall(creatorid: u32, address: std::net::IpAddr, dialect: u8, kind: Kind) -> Self {
        let options = match address {
            std::net::IpAddr::V4(address) => Self::new(FIREWALL)
                .put(creatorid.to_be_bytes())
                .put(address.octets()),
            std::net::IpAddr::V6(address) => Self::new(FIREWALL6)
                .put(creatorid.to_be_bytes())
                .put(address.octets()),
        };
        options.put(kind.enterprise.map(|_| dialect))
    }

    /// What was sent so far.
    pub fn metering(domain: u32, messages: u64, records: u64, octets: u64) -> Self {
        let counts = [messages, records, octets];
        Self::new(METERING)
            .put(domain.to_be_bytes())
            .put(counts.into_iter().flat_map(u64::to_be_bytes))
    }

    /// Packets of pfsync that were lost before they could be read, and when the first and the last
    /// were lost, milliseconds since the epoch. Their octets are not known.
    pub fn ignored(domain: u32, packets: u64, times: [u64; 2]) -> Self {
        Self::new(IGNORED)
            .put(domain.to_be_bytes())
            .put(packets.to_be_bytes())
            .put(times.into_iter().flat_map(u64::to_be_bytes))
    }

    /// Records that could not be sent, and when the first and the last of them were, milliseconds
    /// since the epoch.
    pub fn exporting(process: u32, records: u64, times: [u64; 2]) -> Self {
        Self::new(EXPORTING)
            .put(process.to_be_bytes())
            .put(records.to_be_bytes())
            .put(times.into_iter().flat_map(u64::to_be_bytes))
    }

    /// What is the key of the flows of a template.
    pub fn keys(template: u16, indicator: u64) -> Self {
        Self::new(KEYS)
            .put(template.to_be_bytes())
            .put(indicator.to_be_bytes())
    }

    /// The elements of our own, under `enterprise`.
    pub fn types(enterprise: u32) -> impl Iterator<Item = Self> {
        ie::OWN.iter().zip(TYPES).map(move |(element, of)| {
            let (begin, end) = of.range;
            // unsigned8 is 1, unsigned16 2, unsigned32 3.
            let kind = match element.len {
                1 => 1,
                2 => 2,
                _ => 3,
            };
            Self::new(TYPE)
                .put(enterprise.to_be_bytes())
                .put(element.id.to_be_bytes())
                .put([kind, of.semantics])
                .put(0_u16.to_be_bytes())
                .put(begin.to_be_bytes())
                .put(end.to_be_bytes())
                .put_string(element.name)
                .put_string(of.description)
        })
    }
}

/// What RFC 5610 tells of an element beside its length and name.
struct Type {
    /// 0 default, 1 quantity, 4 identifier, 5 flags.
    semantics: u8,
    range: (u64, u64),
    description: &'static str,
}

/// Of [`ie::OWN`], in its order.
const TYPES: [Type; 9] = [
    Type {
        semantics: 4,
        range: (1, 3),
        description: "What the counters are worth: 1 exact, 2 estimated, 3 partial",
    },
    Type {
        semantics: 4,
        range: (0, 0xffff_ffff),
        description: "0 a whole flow, else which part of one",
    },
    Type {
        semantics: 4,
        range: (0, 0xffff_ffff),
        description: "Number of the pf rule, 4294967295 none",
    },
    Type {
        semantics: 4,
        range: (0, 0xffff_ffff),
        description: "Number of its anchor, 4294967295 the main ruleset",
    },
    Type {
        semantics: 4,
        range: (0, 0xffff_ffff),
        description: "Number of the NAT rule, 4294967295 none",
    },
    Type {
        semantics: 5,
        range: (0, 0xffff),
        description: "Flags of the pf state",
    },
    Type {
        semantics: 4,
        range: (0, 0xff),
        description: "Protocol state of the initiator, in pf's numbers",
    },
    Type {
        semantics: 4,
        range: (0, 0xff),
        description: "Protocol state of the responder, in pf's numbers",
    },
    Type {
        semantics: 4,
        range: (0, 0xff),
        description: "Dialect of pfsync, 0 not known",
    },
];

/// Sets of `options`, those of one template together as far as there is room; with how many are in
/// each.
pub fn sets_of(options: &[Options], room: usize) -> Vec<(Vec<u8>, u16)> {
    let (mut rest, mut sets) = (options, Vec::new());
    while let Some((set, taken)) = Options::set_of(rest, room) {
        sets.push((set, u16::try_from(taken).unwrap_or(u16::MAX)));
        rest = rest.get(taken..).unwrap_or_default();
    }
    sets
}

/// Whether records of `template` tell types, and so go with templates.
pub fn is_type(template: u16) -> bool {
    template == TYPE
}

/// Whether `template` is one of options.
pub fn is_options(template: u16) -> bool {
    (EXPORTER..=IGNORED).contains(&template)
}

/// Whether records of `template` are told once, when they are: statistics.
pub fn is_statistics(template: u16) -> bool {
    matches!(template, METERING | EXPORTING | IGNORED)
}

/// Records of options in a set, whose header is left out; `None`: it is none of ours.
pub fn records_in(template: u16, records: &[u8], kind: Kind) -> Option<u16> {
    let layout = all(kind).find(|layout| layout.template == template)?;
    let (mut rest, mut count) = (records, 0_u16);
    while !rest.is_empty() {
        for element in layout.scopes.iter().chain(&layout.fields) {
            let len = match element.len {
                VARIABLE => {
                    let (len, others) = rest.split_first()?;
                    rest = others;
                    usize::from(*len)
                }
                len => usize::from(len),
            };
            rest = rest.get(len..)?;
        }
        count = count.checked_add(1)?;
    }
    (count > 0).then_some(count)
}
