//! NetFlow version 5 as pflow(4) fills it.
//!
//! ```text
//! header, 24 octets                              record, 48 octets
//!  0 version 5      | 2 count                     0 srcaddr | 4 dstaddr | 8 nexthop 0
//!  4 SysUptime, ms  | 8 unix_secs                12 input | 14 output
//! 12 unix_nsecs     | 16 flow_sequence           16 dPkts | 20 dOctets | 24 First | 28 Last
//! 20 engine_type | 21 engine_id, both 42         32 srcport | 34 dstport
//! 22 sampling 0                                  36 pad | tcp_flags 0 | prot | tos 0 | AS, masks 0
//! ```
//! All big-endian (if_pflow.h, `struct pflow_header`, `struct pflow_flow`).

#![allow(
    clippy::indexing_slicing,
    reason = "arrays of constant length at constant offsets"
)]

use byteorder::{BigEndian, ByteOrder};

/// Octets of the header.
pub const HEADER_LEN: usize = 24;
/// Octets of a record.
pub const RECORD_LEN: usize = 48;
/// Most records in a datagram (PFLOW_MAXFLOWS).
pub const MAX_RECORDS: usize = 30;
/// Both engine octets of the kernels (PFLOW_ENGINE_TYPE, PFLOW_ENGINE_ID).
pub const ENGINE: u8 = 42;

/// The fields of a header that vary.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Header {
    /// Records that follow.
    pub count: u16,
    /// Uptime in milliseconds, modulo 2^32.
    pub sys_uptime: u32,
    /// Wall clock, seconds.
    pub unix_secs: u32,
    /// Wall clock, the rest in nanoseconds.
    pub unix_nsecs: u32,
    /// Records packed before this datagram.
    pub flow_sequence: u32,
    /// Type and id of the engine.
    pub engine: [u8; 2],
}

impl Header {
    /// Its octets.
    pub fn octets(&self) -> [u8; HEADER_LEN] {
        let mut b = [0; HEADER_LEN];
        BigEndian::write_u16(&mut b[0..], 5);
        BigEndian::write_u16(&mut b[2..], self.count);
        BigEndian::write_u32(&mut b[4..], self.sys_uptime);
        BigEndian::write_u32(&mut b[8..], self.unix_secs);
        BigEndian::write_u32(&mut b[12..], self.unix_nsecs);
        BigEndian::write_u32(&mut b[16..], self.flow_sequence);
        b[20..22].copy_from_slice(&self.engine);
        b
    }
}

/// The fields of a record that vary.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Record {
    /// Source address.
    pub src: [u8; 4],
    /// Destination address.
    pub dst: [u8; 4],
    /// Indexes of the interfaces in and out.
    pub ifindexes: [u16; 2],
    /// Packets.
    pub packets: u32,
    /// IP octets.
    pub octets: u32,
    /// Uptime of the first packet, milliseconds modulo 2^32.
    pub first: u32,
    /// Uptime of the last packet.
    pub last: u32,
    /// Source port.
    pub sport: u16,
    /// Destination port.
    pub dport: u16,
    /// IP protocol.
    pub proto: u8,
}

impl Record {
    /// Writes its octets, zeros where pflow sets nothing.
    // The octets are written in place and in order. A record that is made on the stack in small
    // stores and copied by large loads waits for those stores.
    #[inline(always)]
    pub fn write(&self, b: &mut [u8; RECORD_LEN]) {
        let pair = |first: u32, second: u32| u64::from(first) << 32 | u64::from(second);
        b[0..4].copy_from_slice(&self.src);
        b[4..8].copy_from_slice(&self.dst);
        // The rest eight octets at a time, which is half the writes. No next hop; in and out.
        let [input, output] = self.ifindexes.map(u64::from);
        BigEndian::write_u64(&mut b[8..], input << 16 | output);
        BigEndian::write_u64(&mut b[16..], pair(self.packets, self.octets));
        BigEndian::write_u64(&mut b[24..], pair(self.first, self.last));
        let ports = u32::from(self.sport) << 16 | u32::from(self.dport);
        // No TCP flags before the protocol, no class of service behind it.
        BigEndian::write_u64(&mut b[32..], pair(ports, u32::from(self.proto) << 8));
        b[40..].fill(0);
    }

    /// The record of the other direction, which carried this much.
    #[inline]
    #[must_use]
    pub fn reversed(self, packets: u32, octets: u32) -> Self {
        Self {
            src: self.dst,
            dst: self.src,
            sport: self.dport,
            dport: self.sport,
            ifindexes: {
                let [input, output] = self.ifindexes;
                [output, input]
            },
            packets,
            octets,
            ..self
        }
    }
}

/// Whole seconds of uptime as v5's milliseconds, which wrap every 49.7 days.
pub fn millis_mod_32(secs: i64) -> u32 {
    let millis = secs.wrapping_mul(1000).rem_euclid(1 << 32);
    u32::try_from(millis).unwrap_or(0)
}

/// Records that the header of a datagram announces.
pub fn records_in(datagram: &[u8]) -> u64 {
    let count = datagram.get(2..).and_then(<[u8]>::first_chunk);
    count.map_or(0, |count| u16::from_be_bytes(*count).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_has_the_kernels_constants() {
        let header = Header {
            count: 30,
            sys_uptime: 0x0102_0304,
            unix_secs: 0x1112_1314,
            unix_nsecs: 0x2122_2324,
            flow_sequence: 0x3132_3334,
            engine: [ENGINE; 2],
        };
        let expected = [
            0, 5, 0, 30, 1, 2, 3, 4, 0x11, 0x12, 0x13, 0x14, 0x21, 0x22, 0x23, 0x24, 0x31, 0x32,
            0x33, 0x34, 42, 42, 0, 0,
        ];
        assert_eq!(header.octets(), expected);
    }

    #[test]
    fn a_record_is_zero_where_pflow_sets_nothing() {
        let record = Record {
            src: [1, 2, 3, 4],
            dst: [5, 6, 7, 8],
            ifindexes: [0x090a, 0x0b0c],
            packets: 0x1011_1213,
            octets: 0x2021_2223,
            first: 0x3031_3233,
            last: 0x4041_4243,
            sport: 0x5051,
            dport: 0x6061,
            proto: 17,
        };
        let expected = [
            1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0, 9, 10, 11, 12, 0x10, 0x11, 0x12, 0x13, 0x20, 0x21,
            0x22, 0x23, 0x30, 0x31, 0x32, 0x33, 0x40, 0x41, 0x42, 0x43, 0x50, 0x51, 0x60, 0x61, 0,
            0, 17, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        ];
        let mut octets = [0xff; RECORD_LEN];
        record.write(&mut octets);
        assert_eq!(octets, expected);
    }

    #[test]
    fn uptimes_wrap_at_32_bits() {
        assert_eq!(millis_mod_32(4_294_968), 704);
        assert_eq!(millis_mod_32(-1), u32::MAX - 999);
    }
}
