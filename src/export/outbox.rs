//! Messages on their way from the encoders to the sockets.
//!
//! ```text
//! encoder --message: records of one set, how many, domain--> Outbox --stamped--> Transmit
//!                                            sequence and time by the session of its collector
//! ```
//! A message has room for its header from the start. The header is filled in last, because messages
//! may change their order before they are numbered.

use std::cmp::Reverse;
use std::ops::Range;

use crate::time::Now;
use crate::wire::netflow9::Clock;

/// Octets that an outbox always keeps room for.
const USUAL_OCTETS: usize = 1 << 20;

/// The header that a message is to get.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Stamp {
    /// NetFlow version 5.
    NetFlow5 {
        /// Type and id of the engine.
        engine: [u8; 2],
    },
    /// NetFlow version 9.
    NetFlow9 {
        /// Source id.
        source: u32,
        /// Records of any kind.
        count: u16,
        /// What its uptimes count from.
        clock: Clock,
    },
    /// IPFIX.
    Ipfix {
        /// Observation domain.
        domain: u32,
    },
    /// Of templates and options that are told again and again: IPFIX, or NetFlow v9 for a stream.
    Options {
        /// Observation domain.
        domain: u32,
        /// Records of options.
        count: u16,
    },
}

/// A message in an [`Outbox`].
#[derive(Clone, Debug)]
pub(super) struct Message {
    /// Number of its interface: the N of pflowN.
    unit: u32,
    stamp: Stamp,
    /// When it was made: the time that its header carries.
    at: Now,
    /// Data records; 0: templates.
    records: u16,
    range: Range<usize>,
}

impl Message {
    /// Number of its interface.
    pub(super) fn unit(&self) -> u32 {
        self.unit
    }

    /// The header that it is to get.
    pub(super) fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// When it was made.
    pub(super) fn at(&self) -> Now {
        self.at
    }

    /// Data records.
    pub(super) fn records(&self) -> u16 {
        self.records
    }

    /// Whether messages like it may change places. NetFlow v5's need not, because they have one
    /// length.
    fn is_movable(&self) -> bool {
        self.records > 0 && matches!(self.stamp, Stamp::Ipfix { .. })
    }
}

/// How messages of an interface leave.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Order {
    /// As they were packed.
    Packed,
    /// IPFIX messages with data records that follow each other by their lengths, the longest
    /// first. Nothing passes templates.
    ///
    /// Full messages of one template have one length. The kernel takes many datagrams of one length
    /// in a row for little more than the cost of one (see `io::transport`).
    ByLength,
}

/// Messages ready to be numbered, in order.
#[derive(Debug, Default)]
pub struct Outbox {
    octets: Vec<u8>,
    messages: Vec<Message>,
    /// How many of them have their headers.
    stamped: usize,
}

/// Where the messages of one interface go.
pub(super) struct To<'a> {
    unit: u32,
    outbox: &'a mut Outbox,
}

impl<'a> To<'a> {
    /// Those of interface `unit` go to `outbox`.
    pub(super) fn new(unit: u32, outbox: &'a mut Outbox) -> Self {
        Self { unit, outbox }
    }

    /// Number of the interface.
    pub(super) fn unit(&self) -> u32 {
        self.unit
    }

    /// Messages in the outbox so far.
    pub(super) fn messages(&self) -> usize {
        self.outbox.messages.len()
    }

    /// Messages without data records behind the first so many.
    pub(super) fn templates_behind(&self, messages: usize) -> u64 {
        let new = self.outbox.messages.get(messages..).unwrap_or_default();
        let templates = new.iter().filter(|message| message.records == 0);
        templates.count() as u64
    }

    /// Appends a message with so many data records, made at `at`. Its first octets are room for
    /// its header.
    pub(super) fn push(&mut self, stamp: Stamp, at: Now, records: u16, octets: &[u8]) {
        let Self { unit, outbox } = self;
        let start = outbox.octets.len();
        outbox.octets.extend_from_slice(octets);
        outbox.messages.push(Message {
            unit: *unit,
            stamp,
            at,
            records,
            range: start..outbox.octets.len(),
        });
    }
}

impl Outbox {
    /// Puts messages by interface and in `order`, and has `stamp` fill in the headers of those
    /// that have none. A message for which it says false is dropped.
    pub(super) fn stamp(
        &mut self,
        order: Order,
        mut stamp: impl FnMut(&Message, &mut [u8]) -> bool,
    ) {
        let Self {
            octets,
            messages,
            stamped,
        } = self;
        let unstamped = messages.get_mut(*stamped..).unwrap_or_default();
        // Stable: what one interface sends stays in order.
        unstamped.sort_by_key(Message::unit);
        if order == Order::ByLength {
            let is_together =
                |a: &Message, b: &Message| a.unit == b.unit && a.is_movable() && b.is_movable();
            for run in unstamped.chunk_by_mut(is_together) {
                run.sort_by_key(|message| Reverse(message.range.len()));
            }
        }
        for message in unstamped {
            let octets = octets.get_mut(message.range.clone()).unwrap_or_default();
            if !stamp(message, octets) {
                message.range = 0..0;
            }
        }
        messages.retain(|message| !message.range.is_empty());
        *stamped = messages.len();
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Data records of interface `unit` that wait.
    pub fn records_of(&self, unit: u32) -> u64 {
        let own = self.messages.iter().filter(|message| message.unit == unit);
        own.map(|message| u64::from(message.records)).sum()
    }

    /// Octets that wait.
    pub fn len(&self) -> usize {
        self.octets.len()
    }

    /// Takes back the room of datagrams that are done with, if it has got nothing meanwhile.
    pub fn recycle(&mut self, transmit: Transmit) {
        if self.is_empty() {
            *self = transmit.0;
            self.clear();
        }
    }

    /// Forgets what was sent. What a burst took is given back when less was sent again.
    fn clear(&mut self) {
        let usual = self.octets.len().max(USUAL_OCTETS);
        self.octets.clear();
        self.messages.clear();
        self.stamped = 0;
        self.octets.shrink_to(usual);
        self.messages.shrink_to(usual / 1024);
    }
}

/// A message for a stream or a file: IPFIX without number and time, or NetFlow v9 without number.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// Observation domain, or source id.
    pub domain: u32,
    /// Data records.
    pub records: u16,
    /// Records of options that each session is told; then it has no others.
    pub options: u16,
    /// When it was made.
    pub at: Now,
    /// All of it, with room for the header.
    pub octets: &'a [u8],
}

/// Whole datagrams, to be sent.
#[derive(Debug)]
pub struct Transmit(Outbox);

impl From<Outbox> for Transmit {
    /// What is left of `outbox` once every message is stamped.
    fn from(mut outbox: Outbox) -> Self {
        outbox.messages.sort_by_key(Message::unit);
        Self(outbox)
    }
}

impl Transmit {
    /// The datagrams by interface, in the order of the interfaces' numbers, each with its own.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &[u8])> {
        let Outbox {
            octets, messages, ..
        } = &self.0;
        let octets = |range: &Range<usize>| octets.get(range.clone()).unwrap_or(&[]);
        let messages = messages.iter();
        messages.map(move |message| (message.unit, octets(&message.range)))
    }

    /// What interface `unit` has for a stream or a file, as it was packed, without numbers.
    pub fn messages_of(&self, unit: u32) -> impl Iterator<Item = Outgoing<'_>> {
        let Outbox {
            octets, messages, ..
        } = &self.0;
        let own = messages.iter().filter(move |message| message.unit == unit);
        let mut own: Vec<_> = own.collect();
        // Messages stand together by length for the kernel's sake. A stream wants them as they were
        // packed, because its time must not go back.
        own.sort_by_key(|message| message.range.start);
        own.into_iter().filter_map(|message| {
            let (domain, options) = match message.stamp {
                Stamp::Ipfix { domain } => (domain, 0),
                Stamp::Options { domain, count } => (domain, count),
                Stamp::NetFlow9 { source, .. } => (source, 0),
                Stamp::NetFlow5 { .. } => return None,
            };
            Some(Outgoing {
                domain,
                records: message.records,
                options,
                at: message.at,
                octets: octets.get(message.range.clone())?,
            })
        })
    }

    /// The same, the datagrams of each interface together.
    pub fn by_interface(&self) -> Vec<(u32, Vec<&[u8]>)> {
        let datagrams: Vec<(u32, &[u8])> = self.iter().collect();
        datagrams
            .chunk_by(|(a, _), (b, _)| a == b)
            .filter_map(|some| {
                let (unit, _) = some.first()?;
                Some((*unit, some.iter().map(|(_, datagram)| *datagram).collect()))
            })
            .collect()
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Wall;

    const DATA: Stamp = Stamp::Ipfix { domain: 42 };
    const V5: Stamp = Stamp::NetFlow5 { engine: [42; 2] };

    fn now() -> Now {
        Now::with_boot(Wall::new(2, 0), Wall::new(1, 0))
    }

    /// Takes everything and numbers it from 0 on, in the last octet.
    fn numbered(mut outbox: Outbox, order: Order) -> Transmit {
        let mut next = 0;
        outbox.stamp(order, |_, octets| {
            *octets.last_mut().unwrap() = next;
            next += 1;
            true
        });
        outbox.into()
    }

    /// Lengths and numbers of what an interface sends.
    fn sent(transmit: &Transmit, unit: u32) -> Vec<(usize, u8)> {
        let own = transmit.iter().filter(|(of, _)| *of == unit);
        own.map(|(_, octets)| (octets.len(), *octets.last().unwrap()))
            .collect()
    }

    #[test]
    fn an_outbox_gives_each_interface_its_own_in_order() {
        let mut outbox = Outbox::default();
        for (unit, payload) in [(7, 1), (3, 2), (7, 3), (3, 4), (7, 5)] {
            To::new(unit, &mut outbox).push(DATA, now(), 0, &[payload, 0]);
        }
        let transmit = numbered(outbox, Order::Packed);
        let all: Vec<(u32, Vec<&[u8]>)> = vec![
            (3, vec![&[2, 0], &[4, 1]]),
            (7, vec![&[1, 2], &[3, 3], &[5, 4]]),
        ];
        assert_eq!(transmit.by_interface(), all);
    }

    #[test]
    fn an_outbox_gives_a_bursts_room_back_when_less_is_sent_again() {
        let mut outbox = Outbox::default();
        let burst = vec![0; 4 * USUAL_OCTETS];
        To::new(0, &mut outbox).push(DATA, now(), 0, &burst);
        let transmit = Transmit::from(outbox);
        let mut outbox = Outbox::default();
        outbox.recycle(transmit);
        assert!(outbox.octets.capacity() >= burst.len());
        To::new(0, &mut outbox).push(DATA, now(), 0, &[0]);
        let transmit = Transmit::from(std::mem::take(&mut outbox));
        outbox.recycle(transmit);
        assert!(outbox.octets.capacity() < burst.len());
    }

    #[test]
    fn messages_are_numbered_as_they_leave_together_by_length() {
        let mut outbox = Outbox::default();
        for len in [54, 66, 78, 54] {
            To::new(1, &mut outbox).push(DATA, now(), 22, &vec![0; len]);
            To::new(9, &mut outbox).push(V5, now(), 22, &vec![0; len]);
        }
        let transmit = numbered(outbox, Order::ByLength);
        assert_eq!(sent(&transmit, 1), [(78, 0), (66, 1), (54, 2), (54, 3)]);
        let v5 = [(54, 4), (66, 5), (78, 6), (54, 7)];
        assert_eq!(sent(&transmit, 9), v5, "v5 stays as it was packed");
    }

    #[test]
    fn a_stream_gets_its_messages_as_they_were_packed() {
        let mut outbox = Outbox::default();
        for len in [54, 66, 78, 54] {
            To::new(1, &mut outbox).push(DATA, now(), 22, &vec![0; len]);
        }
        let transmit = numbered(outbox, Order::ByLength);
        let lens: Vec<_> = transmit.messages_of(1).map(|m| m.octets.len()).collect();
        assert_eq!(lens, [54, 66, 78, 54]);
    }

    #[test]
    fn nothing_passes_a_template() {
        let mut outbox = Outbox::default();
        for (records, len) in [(2, 54), (3, 66), (0, 100), (4, 54), (5, 66)] {
            To::new(1, &mut outbox).push(DATA, now(), records, &vec![0; len]);
        }
        let transmit = numbered(outbox, Order::ByLength);
        let lens = [(66, 0), (54, 1), (100, 2), (66, 3), (54, 4)];
        assert_eq!(sent(&transmit, 1), lens);
    }

    #[test]
    fn what_has_its_header_stays_where_it_is() {
        let mut outbox = Outbox::default();
        let number = |outbox: &mut Outbox, first| {
            let mut next = first;
            outbox.stamp(Order::ByLength, |_, octets| {
                *octets.last_mut().unwrap() = next;
                next += 1;
                true
            });
        };
        To::new(1, &mut outbox).push(DATA, now(), 1, &[0; 54]);
        number(&mut outbox, 7);
        To::new(1, &mut outbox).push(DATA, now(), 1, &[0; 78]);
        number(&mut outbox, 8);
        assert_eq!(sent(&Transmit::from(outbox), 1), [(54, 7), (78, 8)]);
    }

    #[test]
    fn a_message_that_nobody_numbers_is_dropped() {
        let mut outbox = Outbox::default();
        To::new(1, &mut outbox).push(DATA, now(), 1, &[0; 54]);
        outbox.stamp(Order::Packed, |_, _| false);
        assert!(Transmit::from(outbox).is_empty());
    }
}
