//! The fields of a keep file's records, written and read, in the order of the file.

use std::net::IpAddr;

use super::record::{Counts, KeptDetail, KeptPart, KeptSender, KeptShare, KeptState, Record, Who};
use crate::state::{Address, Af, Direction, IfName, PFTM_COUNT, Route, StateId, StateKey};
use crate::time::Wall;
use crate::wire::pfsync::Dialect;

/// Stands for no time: earlier than any.
const NO_TIME: Wall = Wall::from_nanos(i64::MIN);

/// Octets of a key that is IPv4 in routing domain 0, in a state.
const PLAIN_KEY: usize = 13;

/// Fields to write.
pub(super) struct Put<'a>(pub(super) &'a mut Vec<u8>);

impl Put<'_> {
    fn octets(&mut self, octets: impl IntoIterator<Item = u8>) {
        self.0.extend(octets);
    }

    fn wall(&mut self, at: Wall) {
        self.octets(at.nanos().to_be_bytes());
    }

    fn counts(&mut self, counts: &Counts) {
        let ([a, b], [c, d]) = (counts.packets, counts.octets);
        for count in [a, b, c, d] {
            self.octets(count.to_be_bytes());
        }
    }

    fn id(&mut self, id: StateId) {
        self.octets(id.id.to_be_bytes());
        self.octets(id.creatorid.to_be_bytes());
    }

    fn ports(&mut self, key: &StateKey) {
        self.octets(key.port.into_iter().flat_map(u16::to_be_bytes));
    }

    fn key(&mut self, key: &StateKey) {
        let af = match key.af {
            Af::Inet => 4,
            Af::Inet6 => 6,
        };
        self.octets([af, key.proto]);
        self.octets(key.rdomain.to_be_bytes());
        self.octets(key.addr.into_iter().flat_map(|address| address.0));
        self.ports(key);
    }

    fn sender(&mut self, sender: &KeptSender) {
        let (kind, address) = match sender.who {
            Who::Local => (0, [0; 16]),
            Who::Other => (1, [0; 16]),
            Who::Address(ip @ IpAddr::V4(_)) => (4, Address::from(ip).0),
            Who::Address(ip @ IpAddr::V6(_)) => (6, Address::from(ip).0),
        };
        let place = |dialect| Dialect::ALL.iter().position(|other| *other == dialect);
        let number = sender.dialect.and_then(place).map_or(0, |place| place + 1);
        self.octets([kind, u8::try_from(number).unwrap_or(0)]);
        self.octets(address);
        self.octets(sender.largest_expire.into_iter().flat_map(u32::to_be_bytes));
    }

    fn state(&mut self, state: &KeptState) {
        self.id(state.id);
        let flags = u8::from(state.direction == Direction::Out)
            | u8::from(state.is_overdue) << 1
            | u8::from(state.is_doubtful) << 2;
        self.octets([flags, state.pftm, state.marks, state.shape]);
        self.octets(state.sender.to_be_bytes());
        self.octets(state.counted_by.to_be_bytes());
        self.octets(state.ifname.octets());
        for at in [state.seen, state.full, state.creation] {
            self.wall(at);
        }
        self.wall(state.last.unwrap_or(NO_TIME));
        self.counts(&state.counts);
        self.octets(state.seqlo.into_iter().flat_map(u32::to_be_bytes));
        match &state.stack {
            Some(stack) => {
                self.key(&state.wire);
                self.key(stack);
            }
            None => {
                self.octets([state.wire.proto]);
                self.octets(state.wire.addr.into_iter().flat_map(Address::v4));
                self.ports(&state.wire);
            }
        }
    }

    pub(super) fn fields(&mut self, record: &Record) {
        match record {
            Record::Sender(sender) => self.sender(sender),
            Record::State(state) => self.state(state),
            Record::Share(share) => self.share(share),
            Record::Part(part) => self.part(part),
            Record::Deleted {
                set,
                tag,
                creation,
                at,
            } => {
                self.octets(set.to_be_bytes());
                self.octets(tag.to_be_bytes());
                self.wall(*creation);
                self.wall(*at);
            }
            Record::Dropped {
                id,
                fingerprint,
                creation,
                exported,
            } => {
                self.id(*id);
                self.octets(fingerprint.to_be_bytes());
                self.wall(*creation);
                self.counts(exported);
            }
            Record::Interface {
                unit,
                packed,
                sequence,
            } => self.u32s([*unit, *packed, *sequence]),
            Record::Domain {
                unit,
                domain,
                sequence,
            } => self.u32s([*unit, *domain, *sequence]),
            Record::Source {
                unit,
                source,
                messages,
            } => self.u32s([*unit, *source, *messages]),
            Record::IfIndex { name, index } => {
                self.octets(name.octets());
                self.octets(index.to_be_bytes());
            }
            Record::Connection { exported } => self.counts(exported),
            Record::Translation { unit, due } => self.due(*unit, *due),
            Record::Detail(detail) => self.detail(detail),
            Record::HostId {
                creatorid,
                is_told_apart,
            } => {
                self.octets(creatorid.to_be_bytes());
                self.octets([u8::from(*is_told_apart)]);
            }
        }
    }

    /// When something of an interface is due, if it is.
    fn due(&mut self, unit: u32, due: Option<Wall>) {
        self.octets(unit.to_be_bytes());
        self.wall(due.unwrap_or(NO_TIME));
    }

    fn share(&mut self, share: &KeptShare) {
        self.octets(share.sender.to_be_bytes());
        self.octets([u8::from(share.is_estimate)]);
        self.octets(share.head.to_be_bytes());
        self.counts(&share.counts);
        self.wall(share.full);
    }

    fn part(&mut self, part: &KeptPart) {
        self.due(part.unit, part.due);
        let (counts, last) = part.shown.unwrap_or((Counts::default(), NO_TIME));
        self.counts(&counts);
        self.wall(last);
    }

    fn detail(&mut self, detail: &KeptDetail) {
        self.u32s(detail.rules);
        self.octets(detail.state_flags.to_be_bytes());
        self.octets(detail.peers);
        self.octets([detail.tos, detail.dialect]);
        if let Some(route) = &detail.route {
            let af = match route.af {
                Af::Inet => 4,
                Af::Inet6 => 6,
            };
            self.octets([af, u8::from(route.is_reply)]);
            self.octets(route.address.0);
        }
    }

    fn u32s(&mut self, fields: [u32; 3]) {
        self.octets(fields.into_iter().flat_map(u32::to_be_bytes));
    }
}

/// Fields to read; `None` from any: there is no more, or it cannot be.
pub(super) struct Get<'a>(pub(super) &'a [u8]);

impl Get<'_> {
    pub(super) fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*head)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.take().map(u8::from_be_bytes)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_be_bytes)
    }

    /// A time; [`NO_TIME`] is one.
    pub(super) fn wall(&mut self) -> Option<Wall> {
        self.take().map(i64::from_be_bytes).map(Wall::from_nanos)
    }

    fn time(&mut self) -> Option<Wall> {
        self.wall().filter(|at| *at != NO_TIME)
    }

    fn no_time_or(&mut self) -> Option<Option<Wall>> {
        self.wall().map(|at| (at != NO_TIME).then_some(at))
    }

    fn counts(&mut self) -> Option<Counts> {
        Some(Counts {
            packets: [self.u64()?, self.u64()?],
            octets: [self.u64()?, self.u64()?],
        })
    }

    fn id(&mut self) -> Option<StateId> {
        Some(StateId {
            id: self.u64()?,
            creatorid: self.u32()?,
        })
    }

    fn key(&mut self) -> Option<StateKey> {
        let af = match self.u8()? {
            4 => Af::Inet,
            6 => Af::Inet6,
            _ => return None,
        };
        Some(StateKey {
            af,
            proto: self.u8()?,
            rdomain: self.u16()?,
            addr: [Address(self.take()?), Address(self.take()?)],
            port: [self.u16()?, self.u16()?],
        })
    }

    fn plain_key(&mut self) -> Option<StateKey> {
        let proto = self.u8()?;
        let mut address = || {
            self.take::<4>()
                .map(|octets| Address::from(IpAddr::from(octets)))
        };
        let addr = [address()?, address()?];
        Some(StateKey {
            af: Af::Inet,
            proto,
            rdomain: 0,
            addr,
            port: [self.u16()?, self.u16()?],
        })
    }

    fn sender(&mut self) -> Option<KeptSender> {
        let (kind, dialect) = (self.u8()?, self.u8()?);
        let octets: [u8; 16] = self.take()?;
        let address = Address(octets);
        let who = match kind {
            0 if octets == [0; 16] => Who::Local,
            1 if octets == [0; 16] => Who::Other,
            4 if address.of(Af::Inet) == address => Who::Address(address.ip(Af::Inet)),
            6 => Who::Address(address.ip(Af::Inet6)),
            _ => return None,
        };
        let dialect = match dialect.checked_sub(1) {
            None => None,
            Some(place) => Some(*Dialect::ALL.get(usize::from(place))?),
        };
        let mut largest_expire = [0; PFTM_COUNT];
        for expire in &mut largest_expire {
            *expire = self.u32()?;
        }
        Some(KeptSender {
            who,
            dialect,
            largest_expire,
        })
    }

    fn detail(&mut self) -> Option<KeptDetail> {
        let rules = [self.u32()?, self.u32()?, self.u32()?];
        let state_flags = self.u16()?;
        let peers = self.take()?;
        let [tos, dialect] = self.take()?;
        let route = match self.0.is_empty() {
            true => None,
            false => Some(self.route()?),
        };
        Some(KeptDetail {
            rules,
            state_flags,
            peers,
            tos,
            dialect,
            route,
        })
    }

    fn route(&mut self) -> Option<Route> {
        let af = match self.u8()? {
            4 => Af::Inet,
            6 => Af::Inet6,
            _ => return None,
        };
        let is_reply = match self.u8()? {
            0 => false,
            1 => true,
            _ => return None,
        };
        let address = Address(self.take()?);
        (address.of(af) == address).then_some(Route {
            address,
            af,
            is_reply,
        })
    }

    fn state(&mut self) -> Option<KeptState> {
        let id = self.id()?;
        let [flags, pftm, marks, shape] = self.take()?;
        if flags > 7 || usize::from(pftm) > PFTM_COUNT {
            return None;
        }
        let (sender, counted_by) = (self.u16()?, self.u16()?);
        let name: [u8; 16] = self.take()?;
        let ifname = IfName::new(name);
        let (seen, full, creation) = (self.time()?, self.time()?, self.time()?);
        let last = self.no_time_or()?;
        let counts = self.counts()?;
        let seqlo = [self.u32()?, self.u32()?];
        let (wire, stack) = match self.0.len() {
            PLAIN_KEY => (self.plain_key()?, None),
            _ => (self.key()?, Some(self.key()?)),
        };
        (ifname.octets() == name).then_some(KeptState {
            id,
            wire,
            stack,
            direction: match flags & 1 {
                0 => Direction::In,
                _ => Direction::Out,
            },
            is_overdue: flags & 2 != 0,
            is_doubtful: flags & 4 != 0,
            pftm,
            marks,
            shape,
            sender,
            counted_by,
            ifname,
            seen,
            full,
            creation,
            last,
            counts,
            seqlo,
        })
    }

    fn share(&mut self) -> Option<KeptShare> {
        Some(KeptShare {
            sender: self.u16()?,
            is_estimate: match self.u8()? {
                0 => false,
                1 => true,
                _ => return None,
            },
            head: self.u32()?,
            counts: self.counts()?,
            full: self.time()?,
        })
    }

    fn part(&mut self) -> Option<KeptPart> {
        let (unit, due, counts) = (self.u32()?, self.no_time_or()?, self.counts()?);
        let shown = match self.no_time_or()? {
            None if counts != Counts::default() => return None,
            last => last.map(|last| (counts, last)),
        };
        Some(KeptPart { unit, due, shown })
    }

    pub(super) fn record(&mut self, kind: u8) -> Option<Record> {
        Some(match kind {
            1 => Record::Sender(self.sender()?),
            2 => Record::State(self.state()?),
            3 => Record::Share(self.share()?),
            4 => Record::Part(self.part()?),
            5 => Record::Deleted {
                set: self.u16()?,
                tag: self.u64()?,
                creation: self.time()?,
                at: self.time()?,
            },
            6 => Record::Dropped {
                id: self.id()?,
                fingerprint: self.u32()?,
                creation: self.time()?,
                exported: self.counts()?,
            },
            7 => Record::Interface {
                unit: self.u32()?,
                packed: self.u32()?,
                sequence: self.u32()?,
            },
            8 => Record::HostId {
                creatorid: self.u32()?,
                is_told_apart: match self.u8()? {
                    0 => false,
                    1 => true,
                    _ => return None,
                },
            },
            9 => Record::Domain {
                unit: self.u32()?,
                domain: self.u32()?,
                sequence: self.u32()?,
            },
            10 => Record::Source {
                unit: self.u32()?,
                source: self.u32()?,
                messages: self.u32()?,
            },
            11 => {
                let octets: [u8; 16] = self.take()?;
                let name = IfName::new(octets);
                let index = self.u16()?;
                (name.octets() == octets).then_some(Record::IfIndex { name, index })?
            }
            12 => Record::Connection {
                exported: self.counts()?,
            },
            13 => Record::Translation {
                unit: self.u32()?,
                due: self.no_time_or()?,
            },
            14 => Record::Detail(self.detail()?),
            _ => return None,
        })
    }
}
