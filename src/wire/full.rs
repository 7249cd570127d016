//! The records of `template full`: each layout is a list of elements. The templates come from these
//! lists.
//!
//! ```text
//! 300 and up   flows: a template for each shape                 the kernels' templates are below
//! 380 and up   NAT events, likewise
//! 400 and up   options, see `options`
//! ```
//! A shape has the elements for which its records have values. Few states have a next hop, a
//! routing domain or an IPv6 address of the firewall. They have shapes of their own.

mod kind;

use super::elements as ie;
use super::elements::{Element, Registry};
use super::ipfix::{OPTIONS_TEMPLATE_SET, SET_HEADER_LEN, TEMPLATE_SET, set_header};
use super::options::{self, Options};
use super::record;
use crate::state::Af;
pub use kind::Kind;

/// Template of the first [`FullShape`]; the others follow in their order.
pub const FIRST_TEMPLATE: u16 = 300;
/// Template of the first [`EventShape`].
pub const FIRST_EVENT_TEMPLATE: u16 = 380;
/// The enterprise number of RFC 5103's elements for the way back.
pub const REVERSE_ENTERPRISE: u32 = 29305;
/// The bit of a field specifier that an enterprise number follows.
const ENTERPRISE_BIT: u16 = 0x8000;

/// Which layout a record has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FullShape {
    /// Addresses and protocol.
    pub base: record::Shape,
    /// Whether it has what few records have.
    pub has_extras: bool,
    /// Whether it has counters of the way back.
    pub is_biflow: bool,
}

/// Shapes there are.
pub const SHAPES: usize = record::SHAPES * 4;

impl FullShape {
    /// Every shape that records of `kind` may have, in the order of [`Self::number`].
    pub fn all(kind: Kind) -> impl Iterator<Item = Self> {
        let of_base = move |base| {
            let of = |(has_extras, is_biflow)| Self {
                base,
                has_extras,
                is_biflow,
            };
            [(false, false), (false, true), (true, false), (true, true)].map(of)
        };
        let all = record::Shape::all().flat_map(of_base);
        all.filter(move |shape| kind.is_biflow || !shape.is_biflow)
    }

    /// Which one it is.
    pub fn number(self) -> usize {
        self.base.number() * 4 + usize::from(self.has_extras) * 2 + usize::from(self.is_biflow)
    }

    /// The template of its records.
    pub fn template(self) -> u16 {
        FIRST_TEMPLATE + u16::try_from(self.number()).unwrap_or(0)
    }

    /// Its elements, in order.
    pub fn elements(self, kind: Kind) -> Vec<Element> {
        let Self {
            base,
            has_extras,
            is_biflow,
        } = self;
        let mut elements = vec![ie::FLOW_ID, ie::ORIGINAL_DOMAIN, ie::ORIGINAL_EXPORTER_IPV4];
        if has_extras {
            elements.push(ie::ORIGINAL_EXPORTER_IPV6);
        }
        elements.extend([ie::FLOW_START, ie::FLOW_END]);
        elements.extend(match base.af {
            Af::Inet => [ie::SOURCE_IPV4, ie::DESTINATION_IPV4],
            Af::Inet6 => [ie::SOURCE_IPV6, ie::DESTINATION_IPV6],
        });
        elements.extend([
            ie::SOURCE_PORT,
            ie::DESTINATION_PORT,
            ie::PROTOCOL,
            ie::CLASS_OF_SERVICE,
            ie::PACKET_DELTA_COUNT,
            ie::OCTET_DELTA_COUNT,
            ie::INGRESS_INTERFACE,
            ie::EGRESS_INTERFACE,
            ie::FLOW_DIRECTION,
            ie::FLOW_END_REASON,
        ]);
        if base.is_icmp {
            elements.push(match base.af {
                Af::Inet => ie::ICMP_TYPE_CODE_IPV4,
                Af::Inet6 => ie::ICMP_TYPE_CODE_IPV6,
            });
        }
        if has_extras {
            let next_hop = match base.post.unwrap_or(base.af) {
                Af::Inet => ie::NEXT_HOP_IPV4,
                Af::Inet6 => ie::NEXT_HOP_IPV6,
            };
            elements.extend([ie::POST_CLASS_OF_SERVICE, next_hop]);
            elements.extend([ie::INGRESS_VRF, ie::EGRESS_VRF]);
        }
        self.add_translated(&mut elements);
        if kind.is_biflow {
            elements.push(ie::BIFLOW_DIRECTION);
        }
        if is_biflow {
            elements.extend([ie::REVERSE_PACKETS, ie::REVERSE_OCTETS]);
        }
        if is_biflow && base.is_icmp {
            elements.push(match base.af {
                Af::Inet => ie::REVERSE_ICMP_IPV4,
                Af::Inet6 => ie::REVERSE_ICMP_IPV6,
            });
        }
        if kind.enterprise.is_some() {
            elements.extend_from_slice(ie::OWN);
        }
        elements
    }

    fn add_translated(self, elements: &mut Vec<Element>) {
        elements.extend(match self.base.post {
            None => return,
            Some(Af::Inet) => [ie::POST_NAT_SOURCE_IPV4, ie::POST_NAT_DESTINATION_IPV4],
            Some(Af::Inet6) => [ie::POST_NAT_SOURCE_IPV6, ie::POST_NAT_DESTINATION_IPV6],
        });
        if !self.base.is_icmp {
            elements.extend([ie::POST_NAPT_SOURCE_PORT, ie::POST_NAPT_DESTINATION_PORT]);
        }
    }

    /// The elements of a record that are the flow's key (flowKeyIndicator). Each element has a bit,
    /// and the first element has the lowest.
    fn keys(self, kind: Kind) -> u64 {
        let keys = [
            ie::FLOW_ID,
            ie::ORIGINAL_DOMAIN,
            ie::SOURCE_IPV4,
            ie::DESTINATION_IPV4,
            ie::SOURCE_IPV6,
            ie::DESTINATION_IPV6,
            ie::SOURCE_PORT,
            ie::DESTINATION_PORT,
            ie::PROTOCOL,
            ie::ICMP_TYPE_CODE_IPV4,
            ie::ICMP_TYPE_CODE_IPV6,
        ];
        let elements = self.elements(kind).into_iter().enumerate();
        let elements = elements.filter(|(_, element)| keys.contains(element));
        elements.fold(0, |bits, (n, _)| bits | 1 << n)
    }
}

/// Which layout a NAT event has (RFC 8158 4.4 and 4.5): one for create and delete.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct EventShape {
    /// Family of the addresses before translation.
    pub af: Af,
    /// Family after translation.
    pub post: Af,
    /// Whether it has what few records have.
    pub has_extras: bool,
}

/// Shapes of events that there are.
pub const EVENT_SHAPES: usize = 8;
const _: () = assert!(FIRST_TEMPLATE as usize + SHAPES <= FIRST_EVENT_TEMPLATE as usize);

impl EventShape {
    /// Every shape that events of `kind` may have, in the order of [`Self::number`].
    pub fn all(kind: Kind) -> impl Iterator<Item = Self> {
        let families = [Af::Inet, Af::Inet6];
        let pairs = families.map(|af| families.map(|post| (af, post)));
        let all = pairs.into_iter().flatten().flat_map(|(af, post)| {
            [false, true].map(|has_extras| Self {
                af,
                post,
                has_extras,
            })
        });
        all.filter(move |_| kind.has_events)
    }

    /// Which one it is.
    pub fn number(self) -> usize {
        let is_inet6 = |af| usize::from(af == Af::Inet6);
        is_inet6(self.af) * 4 + is_inet6(self.post) * 2 + usize::from(self.has_extras)
    }

    /// The template of its records.
    pub fn template(self) -> u16 {
        FIRST_EVENT_TEMPLATE + u16::try_from(self.number()).unwrap_or(0)
    }

    /// Its elements, in order. The first are those of [`Event`], the others a flow's record has, too.
    pub fn elements(self) -> Vec<Element> {
        let mut elements = vec![ie::OBSERVATION_TIME, ie::NAT_EVENT];
        elements.extend([ie::FLOW_ID, ie::ORIGINAL_DOMAIN, ie::ORIGINAL_EXPORTER_IPV4]);
        if self.has_extras {
            elements.push(ie::ORIGINAL_EXPORTER_IPV6);
        }
        elements.extend(match self.af {
            Af::Inet => [ie::SOURCE_IPV4, ie::DESTINATION_IPV4],
            Af::Inet6 => [ie::SOURCE_IPV6, ie::DESTINATION_IPV6],
        });
        elements.extend(match self.post {
            Af::Inet => [ie::POST_NAT_SOURCE_IPV4, ie::POST_NAT_DESTINATION_IPV4],
            Af::Inet6 => [ie::POST_NAT_SOURCE_IPV6, ie::POST_NAT_DESTINATION_IPV6],
        });
        elements.push(ie::PROTOCOL);
        elements.extend([ie::SOURCE_PORT, ie::DESTINATION_PORT]);
        elements.extend([ie::POST_NAPT_SOURCE_PORT, ie::POST_NAPT_DESTINATION_PORT]);
        if self.has_extras {
            elements.extend([ie::INGRESS_VRF, ie::EGRESS_VRF]);
        }
        elements
    }
}

/// A NAT event, apart from the ends that it is of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Event {
    /// When it happened, milliseconds since the epoch.
    pub observed_ms: u64,
    /// Which it was: natEvent.
    pub nat_event: u8,
}

impl Event {
    /// Appends the event and then `record`, as the elements of an [`EventShape`] say. Values that
    /// only events have are not fields of [`record::Record`], because they would make all flows
    /// slower.
    pub fn write(&self, record: &record::Record, elements: &[Element], to: &mut Vec<u8>) {
        to.extend(self.observed_ms.to_be_bytes());
        to.push(self.nat_event);
        record.write(elements.get(2..).unwrap_or_default(), to);
    }
}

/// Every template of flows and events, with its elements. The first is a flow's, and it tells
/// whether both directions are one record. Events follow it. So the first set tells the kind.
fn templates(kind: Kind) -> impl Iterator<Item = (u16, Vec<Element>)> {
    let mut flows = FullShape::all(kind).map(move |shape| (shape.template(), shape.elements(kind)));
    let events = EventShape::all(kind).map(|shape| (shape.template(), shape.elements()));
    flows.next().into_iter().chain(events).chain(flows)
}

/// Appends a field specifier (RFC 7011 3.2).
fn put_field(to: &mut Vec<u8>, element: Element, kind: Kind) {
    let enterprise = match element.registry {
        Registry::Iana => None,
        Registry::Reverse => Some(REVERSE_ENTERPRISE),
        Registry::Own => kind.enterprise,
    };
    match enterprise {
        None => to.extend(set_header(element.id, element.len)),
        Some(number) => {
            to.extend(set_header(element.id | ENTERPRISE_BIT, element.len));
            to.extend(number.to_be_bytes());
        }
    }
}

/// Sets of templates, each as long as a message of so many octets may have, or one template long;
/// with the data records that are in it.
///
/// The types of our own elements come before the templates that have those: readers look at types
/// when they read a template.
pub fn template_sets(kind: Kind, room: usize) -> Vec<(Vec<u8>, u16)> {
    let mut sets = Vec::new();
    let (types, others): (Vec<_>, Vec<_>) =
        options::all(kind).partition(|layout| options::is_type(layout.template));
    let options = |layouts: Vec<options::OptionsLayout>| {
        layouts.into_iter().map(move |layout| {
            let fields = count(layout.scopes.len() + layout.fields.len());
            let mut template = set_header(layout.template, fields).to_vec();
            template.extend(count(layout.scopes.len()).to_be_bytes());
            for element in layout.scopes.iter().chain(&layout.fields) {
                put_field(&mut template, *element, kind);
            }
            template
        })
    };
    put_sets(&mut sets, OPTIONS_TEMPLATE_SET, options(types), room);
    let types: Vec<_> = kind
        .enterprise
        .into_iter()
        .flat_map(Options::types)
        .collect();
    sets.extend(options::sets_of(&types, room));
    let flows = templates(kind).map(|(id, elements)| {
        let mut template = set_header(id, count(elements.len())).to_vec();
        for element in elements {
            put_field(&mut template, element, kind);
        }
        template
    });
    put_sets(&mut sets, TEMPLATE_SET, flows, room);
    put_sets(&mut sets, OPTIONS_TEMPLATE_SET, options(others), room);
    sets
}

fn count(n: usize) -> u16 {
    u16::try_from(n).unwrap_or(u16::MAX)
}

/// Appends sets of `id` with `templates`.
fn put_sets(
    sets: &mut Vec<(Vec<u8>, u16)>,
    id: u16,
    templates: impl Iterator<Item = Vec<u8>>,
    room: usize,
) {
    let mut set: Vec<u8> = Vec::new();
    for template in templates {
        if set.len() + template.len() > room && !set.is_empty() {
            sets.push((std::mem::take(&mut set), 0));
        }
        if set.is_empty() {
            set.extend([0; SET_HEADER_LEN]);
        }
        set.extend(template);
        let header = set_header(id, count(set.len()));
        if let Some(front) = set.first_chunk_mut() {
            *front = header;
        }
    }
    if !set.is_empty() {
        sets.push((set, 0));
    }
}

/// The keys of every template, to be told as options: template and indicator.
pub fn keys(kind: Kind) -> impl Iterator<Item = (u16, u64)> {
    FullShape::all(kind).map(move |shape| (shape.template(), shape.keys(kind)))
}

/// The kind of records of `set`'s templates. `set` must be the first of [`template_sets`] or the
/// first of flows. If the set does not show the enterprise number, the kind may have 0.
pub fn recognise(set: &[u8], room: usize) -> Option<Kind> {
    let enterprises = enterprises_of(set)?;
    let mut own = enterprises
        .iter()
        .filter(|number| **number != REVERSE_ENTERPRISE);
    let enterprise = own.next().copied();
    let words = [(false, false), (false, true), (true, false), (true, true)];
    let mut kinds = words.into_iter().flat_map(|(has_events, is_biflow)| {
        [enterprise, None, Some(0)].map(|enterprise| Kind {
            enterprise,
            is_biflow,
            has_events,
        })
    });
    kinds.find(|kind| {
        let sets = template_sets(*kind, room);
        let is_of_flows = |set: &[u8]| set.starts_with(&TEMPLATE_SET.to_be_bytes());
        let of_flows = sets.iter().find(|(one, _)| is_of_flows(one));
        let mut firsts = sets.first().into_iter().chain(of_flows);
        firsts.any(|(first, _)| first == set)
    })
}

/// The enterprise numbers that a set of templates has, in order.
fn enterprises_of(set: &[u8]) -> Option<Vec<u32>> {
    let number = |at: usize| {
        let octets = set.get(at..)?.first_chunk()?;
        Some(u16::from_be_bytes(*octets))
    };
    let is_options = number(0)? == OPTIONS_TEMPLATE_SET;
    let mut at = SET_HEADER_LEN;
    let mut found = Vec::new();
    while at < set.len() {
        let fields = number(at + 2)?;
        at += if is_options { 6 } else { 4 };
        for _ in 0..fields {
            if number(at)? & ENTERPRISE_BIT != 0 {
                let octets = set.get(at + 4..)?.first_chunk()?;
                found.push(u32::from_be_bytes(*octets));
                at += 4;
            }
            at += 4;
        }
    }
    Some(found)
}

/// Octets of the records of a template of flows or events.
pub fn record_len(template: u16, kind: Kind) -> Option<usize> {
    // This runs for each message, so only this template's elements are listed.
    let flow = FullShape::all(kind).find(|shape| shape.template() == template);
    let event = || EventShape::all(kind).find(|shape| shape.template() == template);
    let elements = match flow {
        Some(shape) => shape.elements(kind),
        None => event()?.elements(),
    };
    let lens = elements.iter().map(|element| usize::from(element.len));
    Some(lens.sum())
}
