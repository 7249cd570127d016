//! Datagrams on their way from the encoders to the sockets.

use std::cmp::Reverse;
use std::ops::Range;

use crate::wire::ipfix;

/// Octets that an outbox always keeps room for.
const USUAL_OCTETS: usize = 1 << 20;

/// Datagrams ready to be sent, in order.
#[derive(Debug, Default)]
pub struct Outbox {
    octets: Vec<u8>,
    datagrams: Vec<Datagram>,
}

/// A datagram in an [`Outbox`].
#[derive(Clone, Debug)]
struct Datagram {
    /// Number of its interface: the N of pflowN.
    unit: u32,
    range: Range<usize>,
    /// Data records of an IPFIX message; 0: something else.
    records: u16,
}

impl Outbox {
    /// Appends a datagram of interface `unit`.
    pub fn push(&mut self, unit: u32, payload: &[u8]) {
        self.push_data(unit, payload, 0);
    }

    /// Appends an IPFIX message with one data set of so many `records`, of interface `unit`.
    pub(super) fn push_data(&mut self, unit: u32, message: &[u8], records: u16) {
        let start = self.octets.len();
        self.octets.extend_from_slice(message);
        self.datagrams.push(Datagram {
            unit,
            range: start..self.octets.len(),
            records,
        });
    }

    /// The datagrams, each with its interface's number.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &[u8])> {
        self.datagrams.iter().map(|datagram| {
            (
                datagram.unit,
                self.octets.get(datagram.range.clone()).unwrap_or(&[]),
            )
        })
    }

    /// The datagrams by interface, in the order of the interfaces' numbers, each one's in order.
    pub fn by_interface(&self) -> Vec<(u32, Vec<&[u8]>)> {
        let mut datagrams: Vec<(u32, &[u8])> = self.iter().collect();
        // Stable: what one interface sends stays in order.
        datagrams.sort_by_key(|(unit, _)| *unit);
        datagrams
            .chunk_by(|(a, _), (b, _)| a == b)
            .filter_map(|some| {
                let (unit, _) = some.first()?;
                Some((*unit, some.iter().map(|(_, datagram)| *datagram).collect()))
            })
            .collect()
    }

    /// Puts each interface's IPFIX messages with data records that follow each other in the order
    /// of their lengths, the longest first, and numbers them again as they now stand. Everything
    /// else, templates above all, stays where it is, and nothing passes it.
    ///
    /// Messages of one template are of one length when they are full, and the kernel takes many
    /// datagrams of one length for little more than the cost of one, if they follow each other
    /// (see `io::transport`).
    pub fn group_by_length(&mut self) {
        let Self { octets, datagrams } = self;
        datagrams.sort_by_key(|datagram| datagram.unit);
        let is_together =
            |a: &Datagram, b: &Datagram| a.unit == b.unit && a.records > 0 && b.records > 0;
        for run in datagrams.chunk_by_mut(is_together) {
            let Some(first) = run.first().filter(|first| first.records > 0) else {
                continue;
            };
            let first = octets.get(first.range.clone()).unwrap_or_default();
            let mut sequence = ipfix::sequence(first);
            run.sort_by_key(|datagram| Reverse(datagram.range.len()));
            for datagram in run {
                let message = octets.get_mut(datagram.range.clone()).unwrap_or_default();
                ipfix::set_sequence(message, sequence);
                sequence = sequence.wrapping_add(datagram.records.into());
            }
        }
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.datagrams.is_empty()
    }

    /// Octets that wait.
    pub fn len(&self) -> usize {
        self.octets.len()
    }

    /// Forgets what was sent. What a burst took is given back when less was sent again.
    pub fn clear(&mut self) {
        let usual = self.octets.len().max(USUAL_OCTETS);
        self.octets.clear();
        self.datagrams.clear();
        self.octets.shrink_to(usual);
        self.datagrams.shrink_to(usual / 1024);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outbox_gives_each_interface_its_own_in_order() {
        let mut outbox = Outbox::default();
        for (unit, payload) in [(7, 1), (3, 2), (7, 3), (3, 4), (7, 5)] {
            outbox.push(unit, &[payload]);
        }
        let all: Vec<(u32, Vec<&[u8]>)> = vec![(3, vec![&[2], &[4]]), (7, vec![&[1], &[3], &[5]])];
        assert_eq!(outbox.by_interface(), all);
    }

    #[test]
    fn an_outbox_gives_a_bursts_room_back_when_less_is_sent_again() {
        let mut outbox = Outbox::default();
        let burst = vec![0; 4 * USUAL_OCTETS];
        outbox.push(0, &burst);
        outbox.clear();
        assert!(outbox.octets.capacity() >= burst.len());
        outbox.push(0, &[0]);
        outbox.clear();
        assert!(outbox.octets.capacity() < burst.len());
    }

    /// A message of `records` records of `size` octets.
    fn message(sequence: u32, records: u16, size: usize) -> Vec<u8> {
        let mut message = vec![0; 20 + usize::from(records) * size];
        ipfix::set_sequence(&mut message, sequence);
        message
    }

    /// Lengths and sequence numbers of what an interface sends.
    fn sent(outbox: &Outbox, unit: u32) -> Vec<(usize, u32)> {
        let own = outbox.iter().filter(|(of, _)| *of == unit);
        own.map(|(_, octets)| (octets.len(), ipfix::sequence(octets)))
            .collect()
    }

    #[test]
    fn messages_put_together_by_length_are_numbered_as_they_go() {
        let mut outbox = Outbox::default();
        let first = u32::MAX - 40;
        for (sequence, records, size) in [(0, 22, 54), (22, 22, 66), (44, 18, 78), (62, 22, 54)] {
            let message = message(first.wrapping_add(sequence), records, size);
            outbox.push_data(1, &message, records);
            outbox.push(9, &message);
        }
        outbox.group_by_length();
        let (ipv4, nat, ipv6) = (20 + 22 * 54, 20 + 22 * 66, 20 + 18 * 78);
        let after = |records| first.wrapping_add(records);
        assert_eq!(
            sent(&outbox, 1),
            [
                (nat, first),
                (ipv6, after(22)),
                (ipv4, after(40)),
                (ipv4, after(62))
            ]
        );
        let others = [(ipv4, 0), (nat, 22), (ipv6, 44), (ipv4, 62)];
        assert_eq!(
            sent(&outbox, 9),
            others.map(|(len, sequence)| (len, first.wrapping_add(sequence))),
            "what is not known to be data stays as it is"
        );
    }

    #[test]
    fn nothing_passes_a_template() {
        let mut outbox = Outbox::default();
        let mut sequence = 0;
        for (records, size) in [(2, 54), (3, 66), (0, 100), (4, 54), (5, 66)] {
            let message = message(sequence, records, size);
            outbox.push_data(1, &message, records);
            sequence += u32::from(records);
        }
        outbox.group_by_length();
        assert_eq!(
            sent(&outbox, 1),
            [(218, 0), (128, 3), (20, 5), (350, 5), (236, 10)]
        );
    }
}
