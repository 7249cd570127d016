//! Packets of one side at one instant.

/// Flags of TCP.
pub const FIN: u8 = 0x01;
pub const SYN: u8 = 0x02;
pub const RST: u8 = 0x04;
pub const ACK: u8 = 0x10;

/// Who sends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Side {
    Initiator = 0,
    Responder = 1,
}

impl Side {
    pub(super) fn other(self) -> Self {
        match self {
            Self::Initiator => Self::Responder,
            Self::Responder => Self::Initiator,
        }
    }
}

/// What TCP says in a burst.
#[derive(Clone, Copy, Debug)]
pub struct Tcp {
    /// Of the first octet.
    pub seq: u32,
    /// New payload; what is sent again is none.
    pub len: u64,
    pub ack: u32,
    pub flags: u8,
    pub window: u16,
    /// The option, on a SYN.
    pub wscale: Option<u8>,
}

/// Packets of one side at one instant.
#[derive(Clone, Copy, Debug)]
pub struct Burst {
    pub from: Side,
    pub packets: u64,
    /// IP octets of all of them.
    pub octets: u64,
    pub tcp: Option<Tcp>,
}

impl Burst {
    /// Takes so many packets off the front; all of them if there are no more.
    pub fn take(&mut self, packets: u64) -> Self {
        if packets >= self.packets {
            let all = *self;
            self.packets = 0;
            return all;
        }
        let share = |all: u64| all * packets / self.packets;
        let (octets, len) = (share(self.octets), share(self.tcp.map_or(0, |tcp| tcp.len)));
        let front = Self {
            packets,
            octets,
            tcp: self.tcp.map(|tcp| Tcp { len, ..tcp }),
            ..*self
        };
        self.packets -= packets;
        self.octets -= octets;
        if let Some(tcp) = &mut self.tcp {
            tcp.seq = tcp.seq.wrapping_add(len as u32);
            tcp.len -= len;
        }
        front
    }
}
