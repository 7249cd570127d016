//! Asking firewalls for states, from the octets they send to the octets that ask them.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "a test that is wrong may panic"
)]

mod common;

use std::collections::BTreeMap;
use std::net::IpAddr;

use common::{CREATOR, D, From, M, PFSYNC0, Run, St, settings};
use pflow::counters::SolicitCounters;
use pflow::engine::Settings;
use pflow::solicit::Destination;
use pflow::state::StateId;
use pflow::wire::pfsync::{Dialect, Message, decode};

/// A live engine that asks.
struct Live {
    run: Run,
    asked: Vec<(Destination, Vec<u8>)>,
    ms: i64,
}

const A: From = From::Ether([192, 0, 2, 1]);
const B: From = From::Ether([192, 0, 2, 2]);
const OWN: From = From::Ether([192, 0, 2, 9]);

impl Live {
    fn new(lines: &str) -> Self {
        let config = common::config(&format!("solicit on em1\n{lines}"));
        let soliciting = config.soliciting();
        let settings = Settings {
            local_addresses: vec![[192, 0, 2, 9].into()],
            ..settings()
        };
        let mut run = Run::with(settings, config);
        run.advance(0);
        run.engine.set_soliciting(run.now(), soliciting);
        Self {
            run,
            asked: Vec::new(),
            ms: 0,
        }
    }

    /// Lets time pass, a tick at a time.
    fn to(&mut self, ms: i64) {
        while self.ms < ms {
            self.ms = ms.min(self.ms + 100);
            self.run.advance(self.ms);
            self.collect();
        }
    }

    fn collect(&mut self) {
        let requests = self.run.engine.solicitor().unwrap().requests();
        let packets = requests.iter().map(|(to, packet)| (to, packet.to_vec()));
        self.asked.extend(packets);
        requests.clear();
    }

    fn send(&mut self, ms: i64, from: From, d: D, messages: &[M]) {
        self.to(ms);
        self.run.send(ms, from, d, messages);
        self.collect();
    }

    fn counters(&self) -> SolicitCounters {
        *self.run.engine.solicit_counters().unwrap()
    }

    /// Packets since the last call that ask for some states, not for all.
    fn packets(&mut self) -> Vec<Vec<u8>> {
        let packets = std::mem::take(&mut self.asked).into_iter();
        let packets = packets.map(|(_, packet)| packet);
        packets
            .filter(|packet| ids(packet)[0].creatorid != 0)
            .collect()
    }

    /// The same of one state.
    fn ids_of(&mut self, id: u64) -> Vec<StateId> {
        let ids = self.ids().into_iter();
        ids.filter(|other| other.id == id).collect()
    }

    /// The states asked for since the last call, bulk requests left out.
    fn ids(&mut self) -> Vec<StateId> {
        self.packets()
            .iter()
            .flat_map(|packet| ids(packet))
            .collect()
    }
}

/// What a packet asks for.
fn ids(packet: &[u8]) -> Vec<StateId> {
    let mut ids = Vec::new();
    let outcome = decode(packet, 0, None, &mut |_, message| match message {
        Message::UpdateRequest(id) => ids.push(id),
        other => panic!("{:?}", other.action()),
    });
    assert_eq!(outcome.result, Ok(()));
    ids
}

fn state_id(st: &St) -> StateId {
    StateId {
        id: st.id,
        creatorid: st.creator,
    }
}

/// A flow of one packet, then three more that no counters tell.
fn udp(id: u64) -> St {
    St::udp(id).count([1, 1], [100, 100])
}

#[test]
fn every_dialect_is_asked_in_its_own_version_and_its_answer_is_exported() {
    for d in D::ALL {
        let mut live = Live::new("");
        let st = udp(7);
        live.send(1000, A, d, &[M::Ins(st)]);
        live.send(2000, A, d, &[M::upd_c(&st)]);
        live.to(12_500);
        let versions: Vec<u8> = live.asked.iter().map(|(_, packet)| packet[0]).collect();
        let first = live.asked.first().map(|(to, _)| *to);
        assert_eq!(first, Some(Destination::Group4), "{d:?}");
        assert!(versions.iter().all(|version| *version == d.version()));
        assert_eq!(live.ids(), [state_id(&st)], "{d:?}");
        let answer = st.count([4, 3], [1234, 567]);
        live.send(12_600, A, d, &[M::Upd(answer.aged(11))]);
        live.send(70_000, A, d, &[M::del_c(&st)]);
        assert_eq!(live.run.flow().octets, [1234, 567], "{d:?}");
        assert_eq!(
            (live.counters().requested, live.counters().answered),
            (1, 1)
        );
        assert_eq!(live.ids(), []);
    }
}

#[test]
fn many_states_share_a_packet_and_each_is_asked_for_once() {
    let mut live = Live::new("");
    for id in 1..=300 {
        live.send(1000, A, D::Obsd74, &[M::Ins(udp(id)), M::upd_c(&udp(id))]);
    }
    live.to(11_900);
    let packets = live.packets();
    assert!(packets.len() <= 4, "{}", packets.len());
    assert!(packets.iter().all(|packet| packet.len() <= 1480));
    let mut asked: Vec<u64> = packets
        .iter()
        .flat_map(|packet| ids(packet))
        .map(|id| id.id)
        .collect();
    asked.sort_unstable();
    assert_eq!(asked, (1..=300).collect::<Vec<_>>());
}

#[test]
fn the_sender_that_showed_activity_last_is_asked_in_what_it_speaks() {
    let mut live = Live::new("");
    let st = udp(7);
    live.send(1000, B, D::Obsd45, &[M::Ins(udp(8))]);
    live.send(1000, A, D::Obsd74, &[M::Ins(st)]);
    live.send(2000, B, D::Obsd45, &[M::upd_c(&st)]);
    live.to(12_500);
    let packets = live.packets();
    assert_eq!(packets.len(), 1);
    assert_eq!(packets[0][0], 5);
    assert_eq!(ids(&packets[0]), [state_id(&st)]);
}

#[test]
fn firewalls_over_ipv6_are_asked_over_ipv6() {
    let mut live = Live::new("");
    let st = udp(7);
    live.send(1000, From::Ether6, D::Fbsd1400, &[M::Ins(st)]);
    live.send(1500, From::Ether6, D::Fbsd1400, &[M::upd_c(&st)]);
    live.to(12_000);
    assert!(live.asked.iter().all(|(to, _)| *to == Destination::Group6));
    assert_eq!(live.ids(), [state_id(&st)]);
}

#[test]
fn with_peers_they_alone_are_asked_each_at_its_address() {
    let mut live = Live::new("solicit peer 192.0.2.2\n");
    live.send(1000, A, D::Obsd74, &[M::Ins(udp(7)), M::upd_c(&udp(7))]);
    live.send(1000, B, D::Obsd74, &[M::Ins(udp(8)), M::upd_c(&udp(8))]);
    live.to(15_000);
    let peer: IpAddr = [192, 0, 2, 2].into();
    assert!(
        live.asked
            .iter()
            .all(|(to, _)| *to == Destination::Address(peer))
    );
    assert!(!live.ids().iter().any(|id| id.id == 7));
    assert_eq!(
        (live.counters().requested, live.counters().unaskable),
        (1, 1)
    );
}

#[test]
fn this_hosts_own_firewall_is_not_asked() {
    let mut live = Live::new("");
    live.send(1000, OWN, D::Obsd74, &[M::Ins(udp(7)), M::upd_c(&udp(7))]);
    live.send(
        1000,
        PFSYNC0,
        D::Obsd74,
        &[M::Ins(udp(8)), M::upd_c(&udp(8))],
    );
    live.to(60_000);
    assert!(live.asked.is_empty());
    assert_eq!(live.counters().unaskable, 2);
}

#[test]
fn an_end_alone_or_soon_after_an_update_asks_for_nothing() {
    let mut live = Live::new("");
    live.send(1000, A, D::Obsd74, &[M::upd_c(&udp(7)), M::del_c(&udp(8))]);
    live.send(1500, A, D::Obsd74, &[M::del_c(&udp(7))]);
    live.to(60_000);
    assert_eq!(live.ids(), []);
}

#[test]
fn requests_on_the_wire_are_told_apart() {
    let mut live = Live::new("");
    let st = udp(7);
    live.send(1000, A, D::Obsd74, &[M::Ins(st), M::upd_c(&st)]);
    let request = [M::Ureq(st.id, st.creator)];
    live.send(1100, OWN, D::Obsd74, &request);
    live.to(10_500);
    live.send(10_500, B, D::Obsd74, &request);
    live.to(12_000);
    let counters = live.counters();
    assert_eq!((counters.heard_own, counters.heard_others), (1, 1));
    assert_eq!((counters.adopted, counters.requested), (1, 0));
    assert_eq!(live.ids(), []);
}

#[test]
fn everything_is_asked_for_once_and_again_if_no_transfer_begins() {
    let mut live = Live::new("");
    live.send(1000, A, D::Obsd74, &[M::Ins(udp(7))]);
    live.send(1000, B, D::Obsd74, &[M::Ins(udp(8))]);
    live.to(5900);
    assert_eq!(live.asked.len(), 1);
    assert_eq!(
        ids(&live.asked[0].1),
        [StateId {
            id: 0,
            creatorid: 0
        }]
    );
    live.to(6100);
    assert_eq!(live.asked.len(), 2);
    live.send(6200, A, D::Obsd74, &[M::Bus(CREATOR, 1)]);
    live.send(6300, A, D::Obsd74, &[M::Bus(CREATOR, 2)]);
    live.to(50_000);
    assert_eq!(live.asked.len(), 2);
    let counters = live.counters();
    let bulk = (
        counters.bulk_requested,
        counters.bulk_repeated,
        counters.bulk_failed,
    );
    assert_eq!(bulk, (1, 1, 0));
    assert_eq!((counters.bulk_started, counters.bulk_ended), (1, 1));
}

#[test]
fn a_start_on_a_busy_network_neither_invents_nor_loses_flows() {
    let mut live = Live::new("");
    let d = D::Obsd74;
    // Ten states that were there before, of which nothing but updates and one end is heard.
    live.send(1000, A, d, &[M::upd_c(&udp(3))]);
    live.send(1100, A, d, &[M::del_c(&udp(4))]);
    assert_eq!(live.asked.len(), 1, "the first packet asks for everything");
    let table: Vec<M> = (1..=10)
        .filter(|id| *id != 4)
        .map(|id| M::Upd(udp(id).aged(100 + id as u32)))
        .collect();
    live.send(1200, A, d, &[M::Bus(CREATOR, 1)]);
    live.send(1300, A, d, &table);
    // The partner has the same states, with nothing counted, and one that has ended.
    let partners: Vec<M> = (1..=10)
        .map(|id| M::Upd(udp(id).count([0, 0], [0, 0]).aged(100 + id as u32)))
        .collect();
    live.send(1400, B, d, &partners);
    live.send(1500, A, d, &[M::Bus(CREATOR, 2)]);
    for id in 1..=10 {
        live.send(30_000 + id as i64, A, d, &[M::del_c(&udp(id))]);
        live.send(30_000 + id as i64, B, d, &[M::del_c(&udp(id))]);
    }
    let mut octets: BTreeMap<u64, u64> = BTreeMap::new();
    for flow in live.run.finish() {
        *octets.entry(flow.id).or_default() += flow.octets.iter().sum::<u64>();
    }
    let expected = (1..=10).filter(|id| *id != 4).map(|id| (id, 200));
    assert_eq!(octets, expected.collect());
}

#[test]
fn an_answer_from_each_node_is_its_own_count() {
    let mut live = Live::new("");
    let (d, st) = (D::Obsd74, udp(7));
    live.send(1000, A, d, &[M::Ins(st)]);
    live.send(2000, A, d, &[M::upd_c(&st)]);
    live.send(3000, B, d, &[M::upd_c(&st)]); // it failed over
    live.to(13_500);
    assert_eq!(live.ids(), [state_id(&st)]);
    live.send(
        13_600,
        A,
        d,
        &[M::Upd(st.count([3, 3], [300, 300]).aged(12))],
    );
    live.send(13_600, B, d, &[M::Upd(st.count([1, 1], [50, 60]).aged(12))]);
    live.send(70_000, B, d, &[M::del_c(&st)]);
    assert_eq!(live.run.flow().octets, [350, 360]);
    assert_eq!(
        (live.counters().answered, live.counters().unanswered),
        (1, 0)
    );
}

#[test]
fn a_replay_asks_nobody_and_what_is_switched_off_says_nothing_more() {
    let config = common::config("solicit on em1\n");
    let mut run = Run::with(settings(), config);
    run.send(1000, A, D::Obsd74, &[M::Ins(udp(7)), M::upd_c(&udp(7))]);
    run.advance(60_000);
    assert!(run.engine.solicitor().is_none());
    let mut live = Live::new("");
    live.send(1000, A, D::Obsd74, &[M::Ins(udp(7)), M::upd_c(&udp(7))]);
    let now = live.run.now();
    live.run.engine.set_soliciting(now, None);
    live.run.advance(60_000);
    assert!(live.run.engine.solicitor().is_none());
}

#[test]
fn the_first_request_is_of_the_octets_that_the_facts_list() {
    let mut live = Live::new("");
    live.send(1000, A, D::Fbsd1400, &[M::Ins(udp(0x6553_f100_0000_0001))]);
    live.to(1100);
    let mut expected = vec![5, 0, 0, 0x28];
    expected.extend([0; 16]);
    expected.extend([5, 0, 0, 1]);
    expected.extend([0; 12]);
    expected.extend([12, 0, 0, 1]);
    assert_eq!(live.asked, [(Destination::Group4, expected)]);
    assert_eq!(Dialect::FreeBsd1400.version(), 5);
}

#[test]
fn a_state_whose_insert_was_lost_is_asked_for_and_its_answer_is_exported() {
    for d in D::ALL {
        let mut live = Live::new("");
        let st = udp(7);
        // An update alone does not tell every dialect.
        live.send(1000, A, d, &[M::Ins(udp(9)), M::upd_c(&st)]);
        // No transfer of all states begins.
        live.to(15_900);
        assert_eq!(live.ids_of(7), []);
        live.to(30_000);
        assert_eq!(live.ids_of(7), [state_id(&st); 2], "{d:?}");
        assert_eq!(live.counters().unknown, 1, "{d:?}");
        live.send(600_000, A, d, &[M::upd_c(&st)]);
        live.to(620_000);
        live.packets();
        live.send(630_000, A, d, &[M::upd_c(&st)]);
        live.to(631_200);
        assert_eq!(live.ids_of(7), [state_id(&st)], "{d:?}");
        let answer = st.count([4, 3], [1234, 567]);
        live.send(631_300, A, d, &[M::Upd(answer.aged(631))]);
        live.send(690_000, A, d, &[M::del_c(&st)]);
        assert_eq!(live.run.flow().octets, [1234, 567], "{d:?}");
        assert_eq!(live.counters().answered, 1);
    }
}

#[test]
fn a_state_that_a_transfer_brings_is_not_asked_for_besides() {
    let mut live = Live::new("");
    let st = udp(7);
    live.send(1000, A, D::Obsd74, &[M::upd_c(&st)]);
    live.send(1100, A, D::Obsd74, &[M::Bus(CREATOR, 1)]);
    for second in 2..20 {
        live.send(second * 1000, A, D::Obsd74, &[M::upd_c(&st)]);
    }
    let answer = M::Upd(st.aged(19));
    live.send(20_000, A, D::Obsd74, &[answer, M::Bus(CREATOR, 2)]);
    live.to(29_000);
    assert_eq!(live.ids(), []);
    assert_eq!(live.counters().unknown, 0);
}
