//! NetFlow version 9 (RFC 3954).
//!
//! ```text
//! header, 20 octets                         flowset: id | length | records | zeros up to 4 octets
//!  0 version 9     | 2 records of any kind    0 templates: id | fields | (type | length) ...
//!  4 sysUpTime, ms | 8 UNIX seconds           1 options templates: id | octets of scopes | octets of
//! 12 packets sent  | 16 source id               options | (type | length) ...
//!                                             256 and above: data records of that template
//! ```
//! Types are IPFIX's of the same number, as far as IANA kept them. A record's times are uptimes by
//! the clock of its message ([`Clock`]).

use super::elements as ie;
use super::elements::Element;
use super::record::Shape;
use crate::state::Af;

/// Octets of the header.
pub const HEADER_LEN: usize = 20;
/// Octets of a flowset's header.
pub const SET_HEADER_LEN: usize = 4;
/// Flowset of templates.
const TEMPLATES: u16 = 0;
/// Flowset of options templates.
const OPTIONS_TEMPLATES: u16 = 1;
/// Template of the first [`Shape`]; the others follow in their order. The kernels' are below.
const FIRST_TEMPLATE: u16 = 300;
/// Options template: how packets were sampled, not at all.
const SAMPLING: u16 = 400;
/// Options template: the name of an interface.
const INTERFACES: u16 = 401;
/// Scope: the whole system (RFC 3954 6.1).
const SCOPE_SYSTEM: Element = ie::SCOPE_SYSTEM;
/// Scope: an interface.
const SCOPE_INTERFACE: Element = ie::SCOPE_INTERFACE;
/// Octets of an interface's name: there are no strings of variable length.
const NAME_LEN: usize = 16;

/// Seconds of uptime in half of what a header can count: 2^31 ms.
const HALF: i64 = (1 << 31) / 1000;

/// What the uptimes of a message count from: sysUpTime and those in its records.
///
/// 32 bits hold 49.7 days in milliseconds. If sysUpTime then went on from 0, it would be less than
/// the times of flows that began or ended before. So it goes on from the middle, 2^31 ms. The
/// instant that it counts from moves on as much. A collector works that instant out of each header
/// (its UNIX seconds less its sysUpTime), so that times stay true.
///
/// ```text
/// uptime, days   0 ... 24.9 ... 49.7 | 49.7 ... 74.6 | 74.6 ... 99.4
/// sysUpTime      0 ... 2^31 ... 2^32 | 2^31 ... 2^32 | 2^31 ... 2^32
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Clock {
    /// Seconds of uptime at its 0.
    zero: i64,
}

impl Clock {
    /// The one of messages that are begun at this second of uptime.
    pub fn at(uptime: i64) -> Self {
        let halves = uptime.div_euclid(HALF);
        Self {
            zero: if halves == 0 { 0 } else { (halves - 1) * HALF },
        }
    }

    /// The last second of uptime that it counts.
    pub fn last(self) -> i64 {
        self.zero + 2 * HALF - 1
    }

    /// Whether a second of uptime is before its 0.
    pub fn is_before(self, uptime: i64) -> bool {
        uptime < self.zero
    }

    /// A second of uptime in milliseconds, or the nearest there is.
    pub fn millis(self, uptime: i64) -> u32 {
        let secs = uptime.clamp(self.zero, self.last()) - self.zero;
        u32::try_from(secs * 1000).unwrap_or(u32::MAX)
    }
}

/// The fields of a header that vary.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Header {
    /// Records of any kind.
    pub count: u16,
    /// Uptime in milliseconds by the message's [`Clock`].
    pub sys_uptime: u32,
    /// Wall clock, seconds.
    pub unix_secs: u32,
    /// Packets sent before this one for this source id.
    pub sequence: u32,
    /// Which part of the exporter.
    pub source: u32,
}

impl Header {
    /// Its octets.
    pub fn octets(&self) -> [u8; HEADER_LEN] {
        let mut octets = [0; HEADER_LEN];
        let fields = [
            u32::from(self.count) | 9 << 16,
            self.sys_uptime,
            self.unix_secs,
            self.sequence,
            self.source,
        ];
        for (place, field) in octets.chunks_exact_mut(4).zip(fields) {
            place.copy_from_slice(&field.to_be_bytes());
        }
        octets
    }
}

/// Puts a sequence number into a header.
pub fn number(header: &mut [u8; HEADER_LEN], sequence: u32) {
    let [.., a, b, c, d, _, _, _, _] = header;
    [*a, *b, *c, *d] = sequence.to_be_bytes();
}

/// The template of records of a shape.
pub fn template_of(shape: Shape) -> u16 {
    FIRST_TEMPLATE + u16::try_from(shape.number()).unwrap_or(0)
}

/// The elements of records of a shape, in order.
pub fn elements_of(shape: Shape) -> Vec<Element> {
    let mut elements = match shape.af {
        Af::Inet => vec![ie::SOURCE_IPV4, ie::DESTINATION_IPV4],
        Af::Inet6 => vec![ie::SOURCE_IPV6, ie::DESTINATION_IPV6],
    };
    match shape.is_icmp {
        true => elements.push(ie::ICMP_TYPE_CODE_IPV4),
        false => elements.extend([ie::SOURCE_PORT, ie::DESTINATION_PORT]),
    }
    elements.extend([
        ie::PROTOCOL,
        ie::CLASS_OF_SERVICE,
        ie::OCTET_DELTA_COUNT,
        ie::PACKET_DELTA_COUNT,
        ie::INGRESS_INTERFACE,
        ie::EGRESS_INTERFACE,
        ie::FLOW_START_UPTIME,
        ie::FLOW_END_UPTIME,
        ie::FLOW_DIRECTION,
        ie::FLOW_END_REASON,
        ie::FLOW_ID,
    ]);
    match shape.post {
        None => return elements,
        Some(Af::Inet) => {
            elements.extend([ie::POST_NAT_SOURCE_IPV4, ie::POST_NAT_DESTINATION_IPV4]);
        }
        Some(Af::Inet6) => {
            elements.extend([ie::POST_NAT_SOURCE_IPV6, ie::POST_NAT_DESTINATION_IPV6]);
        }
    }
    if !shape.is_icmp {
        elements.extend([ie::POST_NAPT_SOURCE_PORT, ie::POST_NAPT_DESTINATION_PORT]);
    }
    elements
}

/// A flowset.
fn set(id: u16, records: &[u8]) -> Vec<u8> {
    let mut octets = pair(id, 0).to_vec();
    octets.extend_from_slice(records);
    close_set(&mut octets, 0);
    octets
}

/// Puts zeros behind the flowset that begins at `start` and the length into its header.
pub fn close_set(to: &mut Vec<u8>, start: usize) {
    while !(to.len() - start).is_multiple_of(4) {
        to.push(0);
    }
    let length = u16::try_from(to.len() - start).unwrap_or(u16::MAX);
    if let Some(place) = to.get_mut(start + 2..start + 4) {
        place.copy_from_slice(&length.to_be_bytes());
    }
}

/// Data records in a message that is made here: it has one flowset, or none of data.
pub fn records_in(message: &[u8]) -> u64 {
    let number = |at: usize| {
        let octets = message.get(at..).and_then(<[u8]>::first_chunk);
        octets.map_or(0, |octets| u16::from_be_bytes(*octets))
    };
    match number(HEADER_LEN) {
        FIRST_TEMPLATE..SAMPLING => number(2).into(),
        _ => 0,
    }
}

/// Two numbers.
pub fn pair(first: u16, second: u16) -> [u8; 4] {
    let ([a, b], [c, d]) = (first.to_be_bytes(), second.to_be_bytes());
    [a, b, c, d]
}

/// What a collector is told first: the templates of all shapes and options, and the option that
/// every packet is counted. Each message has at most `room` octets behind its header, if one
/// flowset fits. The number of its records comes with it.
pub fn announcement(room: usize) -> Vec<(Vec<u8>, u16)> {
    let mut messages: Vec<(Vec<u8>, u16)> = Vec::new();
    let mut templates = Vec::new();
    let mut count = 0;
    for shape in Shape::all() {
        let template = template(shape);
        if count > 0 && SET_HEADER_LEN + templates.len() + template.len() > room {
            messages.push((set(TEMPLATES, &templates), count));
            templates.clear();
            count = 0;
        }
        templates.extend(template);
        count += 1;
    }
    messages.push((set(TEMPLATES, &templates), count));
    // Each has a flowset of its own, because some readers expect zeros behind each of them.
    for set in [
        options_template(SAMPLING, SCOPE_SYSTEM, &SAMPLING_FIELDS),
        options_template(INTERFACES, SCOPE_INTERFACE, &[ie::NETFLOW9_INTERFACE_NAME]),
        sampling(),
    ] {
        match messages.last_mut() {
            Some((last, count)) if last.len() + set.len() <= room => {
                last.extend(set);
                *count += 1;
            }
            _ => messages.push((set, 1)),
        }
    }
    messages
}

/// The template of a shape.
fn template(shape: Shape) -> Vec<u8> {
    let elements = elements_of(shape);
    let fields = u16::try_from(elements.len()).unwrap_or(u16::MAX);
    let mut octets = pair(template_of(shape), fields).to_vec();
    put_fields(&mut octets, &elements);
    octets
}

/// The flowset of an options template.
fn options_template(id: u16, scope: Element, fields: &[Element]) -> Vec<u8> {
    let mut octets = id.to_be_bytes().to_vec();
    let len = 4 * u16::try_from(fields.len()).unwrap_or(u16::MAX);
    octets.extend(pair(4, len));
    put_fields(&mut octets, &[scope]);
    put_fields(&mut octets, fields);
    set(OPTIONS_TEMPLATES, &octets)
}

/// What the sampling options say.
const SAMPLING_FIELDS: [Element; 2] = [ie::SAMPLING_INTERVAL, ie::SAMPLING_ALGORITHM];

fn put_fields(to: &mut Vec<u8>, elements: &[Element]) {
    for element in elements {
        to.extend(pair(element.id, element.len));
    }
}

/// The option that every packet is counted: an interval of 1, deterministic.
fn sampling() -> Vec<u8> {
    set(SAMPLING, &[0, 0, 0, 0, 0, 0, 0, 1, 1])
}

/// Octets of the option that names an interface.
const INTERFACE_LEN: usize = 4 + NAME_LEN;

/// Adds the names of interfaces to messages of at most `room` octets behind their headers. The last
/// message takes as many as fit, and the others go into new ones. A new message has at least one
/// name, even if it does not fit.
pub fn add_interfaces(messages: &mut Vec<(Vec<u8>, u16)>, names: &[(u16, &[u8])], room: usize) {
    let names_in = |room: usize| room.saturating_sub(SET_HEADER_LEN) / INTERFACE_LEN;
    let count = |some: &[_]| u16::try_from(some.len()).unwrap_or(u16::MAX);
    let mut rest = names;
    if let Some((octets, records)) = messages.last_mut() {
        let fit = names_in(room.saturating_sub(octets.len()));
        let (some, others) = names.split_at(fit.min(names.len()));
        if !some.is_empty() {
            octets.extend(interfaces(some.iter().copied()));
            *records += count(some);
        }
        rest = others;
    }
    for some in rest.chunks(names_in(room).max(1)) {
        messages.push((interfaces(some.iter().copied()), count(some)));
    }
}

/// The names of interfaces, an option each.
pub fn interfaces<'a>(interfaces: impl Iterator<Item = (u16, &'a [u8])>) -> Vec<u8> {
    let mut octets = Vec::new();
    for (index, name) in interfaces {
        octets.extend(u32::from(index).to_be_bytes());
        let end = octets.len() + NAME_LEN;
        octets.extend(name.iter().take(NAME_LEN));
        octets.resize(end, 0);
    }
    set(INTERFACES, &octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(octets: &[u8], at: usize) -> u16 {
        u16::from_be_bytes([octets[at], octets[at + 1]])
    }

    #[test]
    fn a_header_is_rfc_3954s() {
        let header = Header {
            count: 0x0102,
            sys_uptime: 3,
            unix_secs: 4,
            sequence: 5,
            source: 42,
        };
        let hex: String = header.octets().iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, "000901020000000300000004000000050000002a");
    }

    #[test]
    fn uptimes_have_room_behind_them_and_are_never_more_than_32_bits_hold() {
        let half = 2_147_483;
        for (uptime, millis) in [
            (0, 0),
            (5, 5000),
            (half, 2_147_483_000),
            (2 * half - 1, 4_294_965_000),
            (2 * half, 2_147_483_000),
            (3 * half - 1, 4_294_965_000),
            (3 * half, 2_147_483_000),
            (1000 * half + 7, 2_147_490_000),
            // Before a boot that is said to be.
            (-1, 4_294_965_000),
        ] {
            let clock = Clock::at(uptime);
            assert_eq!(clock.millis(uptime), millis, "{uptime}");
            assert!(uptime <= clock.last());
            assert!(uptime < half || !clock.is_before(uptime - half), "{uptime}");
        }
        let clock = Clock::at(2 * half);
        assert_eq!(clock.millis(half - 1), 0);
        assert_eq!(clock.millis(half + 1), 1000);
        assert!(clock.is_before(half - 1) && !clock.is_before(half));
    }

    #[test]
    fn flowsets_are_whole_words_and_tell_their_lengths() {
        let [(octets, count)] = &mut announcement(1472 - 28 - HEADER_LEN)[..] else {
            panic!("the usual mtu holds them");
        };
        octets.extend(interfaces([(3, &b"em0"[..])].into_iter()));
        assert_eq!(*count, 15);
        let (mut sets, mut rest) = (Vec::new(), &octets[..]);
        while !rest.is_empty() {
            let (id, len) = (number(rest, 0), usize::from(number(rest, 2)));
            assert!(len.is_multiple_of(4), "{id}");
            sets.push((id, len));
            rest = &rest[len..];
        }
        let templates: usize = Shape::all()
            .map(|shape| 4 + 4 * elements_of(shape).len())
            .sum();
        // Two options templates: 6 octets, a scope, and 2 fields or 1; two zeros behind each.
        let options = [(1, 4 + 18 + 2), (1, 4 + 14 + 2), (400, 16), (401, 24)];
        assert_eq!(sets[0], (0, 4 + templates));
        assert_eq!(sets[1..], options);
    }

    #[test]
    fn templates_go_in_as_many_messages_as_there_is_room_for() {
        let whole: usize = announcement(usize::MAX)[0].0.len();
        for room in 1..whole + 10 {
            let messages = announcement(room);
            let (mut told, mut records) = (0, 0);
            for (octets, count) in &messages {
                assert!(octets.len() <= room.max(100), "{room}");
                told += octets.len();
                records += count;
            }
            assert_eq!(records, 15);
            assert!(messages.len() <= 15 && told >= whole);
            assert_eq!(messages.len() == 1, room >= whole);
        }
    }

    #[test]
    fn the_data_records_of_a_message_are_those_of_its_header() {
        let header = Header {
            count: 7,
            sys_uptime: 0,
            unix_secs: 0,
            sequence: 0,
            source: 0,
        };
        let mut octets = header.octets().to_vec();
        assert_eq!(records_in(&octets), 0);
        octets.extend(set(template_of(Shape::all().last().unwrap()), &[]));
        assert_eq!(records_in(&octets), 7);
        octets.truncate(HEADER_LEN);
        octets.extend(announcement(usize::MAX).remove(0).0);
        assert_eq!(records_in(&octets), 0);
    }
}
