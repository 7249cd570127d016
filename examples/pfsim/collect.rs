//! `pfsim collect [-s seconds] address:port`: a collector as small as one can be.
//!
//! It receives NetFlow v5 and IPFIX over UDP until nothing has come for so many seconds (2; 60
//! before the first datagram), and then prints what it got by protocol, one JSON object a line.
//! Sources: RFC 7011 (3.1, 3.3, 3.4); if_pflow.h for v5. It shares nothing with `src/wire`.

use std::collections::{BTreeMap, HashMap};
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use serde_json::json;
use socket2::{Domain, Socket, Type};

use crate::Outcome;

/// What the kernel may queue for us, if it lets us.
const RECEIVE_BUFFER: usize = 8 << 20;
/// How long to wait for the first datagram.
const PATIENCE: Duration = Duration::from_secs(60);

/// Of one protocol.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Totals {
    records: u64,
    packets: u64,
    octets: u64,
}

/// Elements of a template: number, octets.
type Template = Vec<(u16, usize)>;

/// What came, so far.
#[derive(Debug, Default)]
struct Collector {
    templates: HashMap<u16, Template>,
    totals: BTreeMap<u8, Totals>,
    /// Datagrams, or sets in them, that made no sense or came before their template.
    bad: u64,
}

pub(crate) fn run(words: &[&str]) -> Outcome {
    let mut table = getopts::Options::new();
    table.optopt("s", "", "seconds of silence that end it", "seconds");
    let matches = table.parse(words)?;
    let [address] = matches.free.as_slice() else {
        return Err("usage: pfsim collect [-s seconds] address:port".into());
    };
    let address: SocketAddr = address.parse()?;
    let silence = matches.opt_get_default("s", 2.0)?;
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, None)?;
    // less than asked for is all right
    socket.set_recv_buffer_size(RECEIVE_BUFFER).ok();
    socket.bind(&address.into())?;
    let socket = UdpSocket::from(socket);
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut collector = Collector::default();
    let mut buffer = vec![0; 65_536];
    loop {
        match socket.recv(&mut buffer) {
            Ok(len) => collector.datagram(&buffer[..len]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                break;
            }
            Err(error) => return Err(error.into()),
        }
        socket.set_read_timeout(Some(Duration::from_secs_f64(silence)))?;
    }
    for (proto, totals) in &collector.totals {
        let line = json!({
            "protocolIdentifier": proto,
            "records": totals.records,
            "packets": totals.packets,
            "octets": totals.octets,
        });
        println!("{line}");
    }
    if collector.bad > 0 {
        eprintln!(
            "collector: {} datagrams or sets not understood",
            collector.bad
        );
    }
    Ok(())
}

/// A big-endian number of up to eight octets.
fn number(octets: &[u8]) -> u64 {
    octets
        .iter()
        .fold(0, |sum, octet| sum << 8 | u64::from(*octet))
}

impl Collector {
    fn datagram(&mut self, datagram: &[u8]) {
        let version = datagram.get(..2).map(number);
        let understood = match version {
            Some(5) => self.netflow5(datagram),
            Some(10) => self.ipfix(datagram),
            _ => None,
        };
        if understood.is_none() {
            self.bad += 1;
        }
    }

    fn note(&mut self, proto: u8, packets: u64, octets: u64) {
        let totals = self.totals.entry(proto).or_default();
        totals.records += 1;
        totals.packets += packets;
        totals.octets += octets;
    }

    /// A header of 24 octets, records of 48.
    fn netflow5(&mut self, datagram: &[u8]) -> Option<()> {
        let count = number(datagram.get(2..4)?) as usize;
        let records = datagram.get(24..24 + count * 48)?;
        for record in records.chunks(48) {
            self.note(record[38], number(&record[16..20]), number(&record[20..24]));
        }
        Some(())
    }

    /// A header of 16 octets, sets: id, length, and then records or templates.
    fn ipfix(&mut self, datagram: &[u8]) -> Option<()> {
        let len = number(datagram.get(2..4)?) as usize;
        let mut rest = datagram.get(16..len)?;
        while rest.len() >= 4 {
            let (id, len) = (number(&rest[..2]) as u16, number(&rest[2..4]) as usize);
            let set = rest.get(4..len)?;
            match id {
                2 => self.template_set(set)?,
                256.. => self.data_set(id, set)?,
                _ => {}
            }
            rest = rest.get(len..)?;
        }
        Some(())
    }

    fn template_set(&mut self, mut set: &[u8]) -> Option<()> {
        while set.len() >= 4 {
            let (id, count) = (number(&set[..2]) as u16, number(&set[2..4]) as usize);
            set = set.get(4..)?;
            let mut template = Template::new();
            for _ in 0..count {
                let (element, len) = (number(set.get(..2)?) as u16, number(set.get(2..4)?));
                // with an enterprise number behind it, it is nobody we know
                let skip = if element & 0x8000 == 0 { 4 } else { 8 };
                template.push((element, len as usize));
                set = set.get(skip..)?;
            }
            self.templates.insert(id, template);
        }
        Some(())
    }

    fn data_set(&mut self, id: u16, set: &[u8]) -> Option<()> {
        let template = self.templates.get(&id)?.clone();
        let len: usize = template.iter().map(|(_, len)| len).sum();
        if len == 0 {
            return None;
        }
        for record in set.chunks_exact(len) {
            let (mut proto, mut packets, mut octets, mut at) = (0, None, None, 0);
            for (element, len) in &template {
                let value = &record[at..at + len];
                match element {
                    1 => octets = Some(number(value)),
                    2 => packets = Some(number(value)),
                    4 => proto = number(value) as u8,
                    _ => {}
                }
                at += len;
            }
            // a NAT event counts nothing
            if let (Some(packets), Some(octets)) = (packets, octets) {
                self.note(proto, packets, octets);
            }
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_by_its_template() {
        let mut message = vec![0, 10, 0, 54];
        message.extend_from_slice(&[0; 12]);
        message.extend_from_slice(&[0, 2, 0, 20, 1, 0, 0, 3]);
        message.extend_from_slice(&[0, 4, 0, 1, 0, 1, 0, 8, 0, 2, 0, 4]);
        message.extend_from_slice(&[1, 0, 0, 18, 17]);
        message.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3]);
        // octets that fill a set up
        message.push(0);
        let mut collector = Collector::default();
        collector.datagram(&message);
        let totals = Totals {
            records: 1,
            packets: 3,
            octets: (1 << 32) + 2,
        };
        assert_eq!(collector.bad, 0);
        assert_eq!(collector.totals, BTreeMap::from([(17, totals)]));
    }

    #[test]
    fn a_record_before_its_template_is_counted_as_bad() {
        let mut collector = Collector::default();
        collector.datagram(&[
            0, 10, 0, 21, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 5, 1,
        ]);
        assert_eq!(collector.bad, 1);
        assert!(collector.totals.is_empty());
    }
}
