//! What an interface does with a flow: whether it takes the flow, and which encoder packs it.
//!
//! ```text
//!         not RUNNING,           direction, only          of the domain of
//!         or the other kind      say no                   its creatorid
//! flow -------+-----------------------+-----------------> encoder --> records
//!             v                       v                      |  the first of its domain
//!           idle             direction, filtered             +-----> templates
//! ```

use super::{Encoder, Interface, Takes};
use crate::counters::{InterfaceCounters, count};
use crate::export::format::Packed;
use crate::export::full::Full;
use crate::export::netflow9::NetFlow9;
use crate::export::outbox::To;
use crate::export::per_domain::{Chosen, PerDomain};
use crate::export::session::Session;
use crate::export::{IcmpPorts, Outbox, Settings};
use crate::filter::Subject;
use crate::flow::{Flow, Passage, Translation};
use crate::icmp::is_icmp;
use crate::state::Af;
use crate::time::Now;

impl Interface {
    /// Packs a flow's records, if it is one for this interface.
    #[inline(never)]
    pub fn offer(&mut self, now: Now, flow: &Flow, ifindex: u16, outbox: &mut Outbox) {
        if self.takes != Takes::States {
            return self.note_idle();
        }
        count(&mut self.counters.flows, 1);
        let passage = &Passage::of_state(ifindex);
        if self.is_choosy && !self.chooses(now, flow, passage, outbox) {
            return;
        }
        self.pack(now, flow, passage, outbox);
    }

    /// Packs a connection's records, if it is one for this interface. A connection of two states
    /// has both directions.
    pub fn offer_connection(
        &mut self,
        now: Now,
        flow: &Flow,
        passage: &Passage,
        outbox: &mut Outbox,
    ) {
        if self.takes != Takes::Connections {
            return;
        }
        count(&mut self.counters.flows, 1);
        if self.is_choosy && !self.chooses(now, flow, passage, outbox) {
            return;
        }
        self.pack(now, flow, passage, outbox);
    }

    /// Packs a NAT event, if it is one for this interface.
    #[cold]
    pub fn offer_event(
        &mut self,
        now: Now,
        event: (Now, Translation),
        flow: &Flow,
        outbox: &mut Outbox,
    ) {
        let is_other = |direction| direction != flow.direction;
        if self.takes == Takes::Nothing || self.settings.direction.is_some_and(is_other) {
            return;
        }
        if !self.is_in_only(flow, &Passage::of_state(0)) {
            return;
        }
        let to = &mut To::new(self.unit, outbox);
        let (encoder, mut packing) = self.packing(now, to);
        if let Encoder::Full(all) = encoder {
            packing.push_event(all, event, flow);
        }
    }

    #[cold]
    fn note_idle(&mut self) {
        if self.takes == Takes::Nothing {
            self.counters.flows += 1;
            self.counters.idle += 1;
        }
    }

    /// Whether `only` admits a flow.
    fn is_in_only(&self, flow: &Flow, passage: &Passage) -> bool {
        let only = self.settings.only.as_ref();
        only.is_none_or(|only| only.admits(&Subject::of_flow(flow, passage)))
    }

    /// Whether a flow is still to be packed. It may be left out, or be packed here because its ICMP
    /// ports are NetFlow's.
    #[cold]
    #[inline(never)]
    fn chooses(&mut self, now: Now, flow: &Flow, passage: &Passage, outbox: &mut Outbox) -> bool {
        let direction = self.settings.direction;
        // A connection of two states has both directions.
        if passage.egress.is_none()
            && direction.is_some_and(|direction| direction != flow.direction)
        {
            self.counters.direction += 1;
            return false;
        }
        if !self.is_in_only(flow, passage) {
            self.counters.filtered += 1;
            return false;
        }
        if self.settings.icmp == IcmpPorts::Kernel || !is_icmp(flow.tuple.proto) {
            return true;
        }
        !self.pack_icmp(now, flow, passage, outbox)
    }

    /// Packs an ICMP flow with the ports that NetFlow gives it, if its records have no element for
    /// type and code; whether it did.
    fn pack_icmp(&mut self, now: Now, flow: &Flow, passage: &Passage, outbox: &mut Outbox) -> bool {
        let to = &mut To::new(self.unit, outbox);
        let (encoder, mut packing) = self.packing(now, to);
        let [forward, back] = flow.with_icmp_ports();
        let flows = [&forward, &back];
        let packed = match encoder {
            Encoder::NetFlow5(netflow5) if flow.tuple.af == Af::Inet => {
                packing.counters.clamped += u64::from(flow.times.is_cut());
                netflow5.push_each(now, packing.settings, flows, passage, packing.to)
            }
            Encoder::Ipfix(all) => {
                let ipfix = packing.encoder_of_flow(all, flow);
                ipfix.push_each(now, packing.settings, flows, passage, packing.to)
            }
            Encoder::NetFlow5(_) | Encoder::NetFlow9(_) | Encoder::Full(_) => return false,
        };
        packing.note(packed);
        true
    }

    /// Packs a flow's records.
    #[inline(always)]
    fn pack(&mut self, now: Now, flow: &Flow, passage: &Passage, outbox: &mut Outbox) {
        let Self {
            unit,
            settings,
            encoder,
            counters,
            ..
        } = self;
        let to = &mut To::new(*unit, outbox);
        // NetFlow v5 and one domain of IPFIX are packed here, where everything is inlined.
        match encoder {
            Encoder::NetFlow5(_) if flow.tuple.af == Af::Inet6 => counters.ipv6 += 1,
            Encoder::NetFlow5(netflow5) => {
                counters.clamped += u64::from(flow.times.is_cut());
                let packed = netflow5.push(now, settings, flow, passage, to);
                note_packed(counters, packed);
            }
            Encoder::Ipfix(PerDomain::One((_, ipfix))) => {
                let packed = ipfix.push(now, settings, flow, passage, to);
                note_packed(counters, packed);
            }
            _ => self.pack_elsewhere(now, flow, passage, outbox),
        }
    }

    /// Packs the records of a flow that [`Self::pack`] leaves.
    #[inline(never)]
    fn pack_elsewhere(&mut self, now: Now, flow: &Flow, passage: &Passage, outbox: &mut Outbox) {
        let to = &mut To::new(self.unit, outbox);
        let (encoder, mut packing) = self.packing(now, to);
        match encoder {
            Encoder::NetFlow5(_) => {}
            Encoder::NetFlow9(all) => packing.push_netflow9(all, flow, passage),
            Encoder::Ipfix(all) => {
                let ipfix = packing.encoder_of_flow(all, flow);
                let packed = ipfix.push(now, packing.settings, flow, passage, packing.to);
                packing.note(packed);
            }
            Encoder::Full(all) => packing.push_full(all, flow, passage),
        }
    }

    /// The encoder, and what goes with it.
    fn packing<'a, 'o>(
        &'a mut self,
        now: Now,
        to: &'a mut To<'o>,
    ) -> (&'a mut Encoder, Packing<'a, 'o>) {
        let packing = Packing {
            now,
            settings: &self.settings,
            session: &mut self.session,
            counters: &mut self.counters,
            is_told: self.is_told,
            to,
        };
        (&mut self.encoder, packing)
    }
}

/// What an encoder of an interface needs to pack a flow.
struct Packing<'a, 'o> {
    now: Now,
    settings: &'a Settings,
    session: &'a mut Session,
    counters: &'a mut InterfaceCounters,
    /// Whether templates are sent from here.
    is_told: bool,
    to: &'a mut To<'o>,
}

impl Packing<'_, '_> {
    /// The encoder of a flow's domain.
    fn encoder_of_flow<'e, E>(&mut self, all: &'e mut PerDomain<E>, flow: &Flow) -> &'e mut E {
        match all {
            PerDomain::One((_, encoder)) => encoder,
            PerDomain::ByCreator(all) => {
                let chosen = all.choose(flow.id.creatorid);
                self.counters.crowded += u64::from(chosen.is_crowded);
                self.told(chosen)
            }
        }
    }

    /// The chosen encoder. If its domain is new, the collector is told the templates.
    fn told<'e, E>(&mut self, chosen: Chosen<'e, E>) -> &'e mut E {
        if chosen.is_new && self.is_told {
            let told = self
                .session
                .tell(self.now, self.settings, chosen.domain, self.to);
            self.counters.templates += told;
        }
        chosen.encoder
    }

    /// Packs a flow's records with all that is known.
    fn push_full(&mut self, all: &mut PerDomain<Full>, flow: &Flow, passage: &Passage) {
        let full = self.encoder_of_flow(all, flow);
        let domain = full.domain();
        let mut told = 0;
        for (ifname, ifindex) in flow.interface_names(passage) {
            let news = (flow, ifname, ifindex);
            told += self
                .session
                .announce(self.now, self.settings, domain, news, self.to);
        }
        // What a stream or a file is told it counts itself.
        self.counters.templates += if self.is_told { told } else { 0 };
        let packed = full.push(self.now, self.settings, flow, passage, self.to);
        self.note(packed);
    }

    /// Packs a NAT event.
    fn push_event(
        &mut self,
        all: &mut PerDomain<Full>,
        (observed, what): (Now, Translation),
        flow: &Flow,
    ) {
        // An event is no flow, so `crowded` does not count it.
        let full = match all {
            PerDomain::One((_, full)) => full,
            PerDomain::ByCreator(all) => self.told(all.choose(flow.id.creatorid)),
        };
        full.push_event((self.now, self.settings), (observed, what), flow, self.to);
        count(&mut self.counters.records, 1);
        count(&mut self.counters.events, 1);
    }

    /// Packs a flow's records for NetFlow v9.
    fn push_netflow9(&mut self, all: &mut PerDomain<NetFlow9>, flow: &Flow, passage: &Passage) {
        let names = flow.interface_names(passage);
        let new: Vec<_> = names
            .filter(|(name, index)| self.session.note_interface(*index, *name))
            .collect();
        let netflow9 = self.encoder_of_flow(all, flow);
        let first = self.to.messages();
        // A stream keeps each name for all its sessions. Datagrams have them with the templates.
        for (name, index) in new.into_iter().filter(|_| !self.is_told) {
            netflow9.tell_interface(self.now, index, name, self.to);
        }
        let of_interface = (self.settings, &*self.session);
        let packed = netflow9.push(self.now, of_interface, flow, passage, self.to);
        self.counters.clamped += u64::from(NetFlow9::is_cut(self.now, flow));
        if self.is_told {
            self.counters.templates += self.to.templates_behind(first);
        }
        self.note(packed);
    }

    fn note(&mut self, packed: Packed) {
        note_packed(self.counters, packed);
    }
}

#[inline(always)]
fn note_packed(counters: &mut InterfaceCounters, packed: Packed) {
    count(&mut counters.records, packed.records.into());
    counters.clipped += u64::from(packed.is_clipped);
}
