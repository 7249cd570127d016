use super::*;
use crate::export::{Domain, EngineId, TemplateSet};
use crate::flow::{Boot, End, Flow, Quality, Times, Tuple};
use crate::state::{Address, Af, Direction, IfName, StateId};
use crate::time::Wall;

fn now(uptime: i64) -> Now {
    Now::with_boot(
        Wall::new(1_700_000_000 + uptime, 250_000_000),
        Wall::new(1_700_000_000, 0),
    )
}

fn flow(af: Af) -> Flow {
    Flow {
        id: StateId::default(),
        direction: Direction::In,
        ifname: IfName::default(),
        pflow: true,
        tuple: Tuple {
            af,
            proto: 17,
            src: Address([1; 16]),
            dst: Address([2; 16]),
            sport: 3,
            dport: 4,
        },
        translated: None,
        packets: [1, 1],
        octets: [100, 200],
        times: Times::new(1, 2, now(2), Boot::Known),
        end: End::Deleted,
        quality: Quality::Exact,
        detail: None,
        only: None,
    }
}

fn running(format: Format) -> (Interface, Outbox) {
    let mut outbox = Outbox::default();
    let mut interface = Interface::new(3, Settings::default());
    let flowdst = Some("127.0.0.1:9995".parse().unwrap());
    interface.configure(
        now(10),
        Settings {
            flowdst,
            format,
            ..Settings::default()
        },
        &mut outbox,
    );
    (interface, outbox)
}

fn u32_at(payload: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(payload[at..at + 4].try_into().unwrap())
}

/// What there is to send; it is gone then.
fn sent(interface: &mut Interface, outbox: &mut Outbox) -> Vec<Vec<u8>> {
    let interfaces = std::slice::from_mut(interface);
    let transmit = transmit(outbox, interfaces, Order::Packed);
    transmit.iter().map(|(_, octets)| octets.to_vec()).collect()
}

#[test]
fn templates_go_at_configuration_and_every_thirty_seconds() {
    let (mut interface, mut outbox) = running(Format::Ipfix);
    assert_eq!(sent(&mut interface, &mut outbox).len(), 1);
    assert_eq!(interface.poll_timeout(), Some(Uptime::new(40, 250_000_000)));
    interface.handle_timeout(now(39), &mut outbox);
    assert!(outbox.is_empty());
    interface.handle_timeout(now(40), &mut outbox);
    assert_eq!(sent(&mut interface, &mut outbox).len(), 1);
    assert_eq!(interface.counters.templates, 2);
}

#[test]
fn a_record_is_held_thirty_seconds_at_most() {
    for format in [Format::NetFlow5, Format::Ipfix] {
        let (mut interface, mut outbox) = running(format);
        sent(&mut interface, &mut outbox);
        interface.offer(now(15), &flow(Af::Inet), 0, &mut outbox);
        interface.handle_timeout(now(44), &mut outbox);
        let templates = sent(&mut interface, &mut outbox);
        assert!(
            templates.iter().all(|message| message[17] == 2),
            "{format:?}"
        );
        interface.handle_timeout(now(45), &mut outbox);
        let lens: Vec<_> = sent(&mut interface, &mut outbox)
            .iter()
            .map(Vec::len)
            .collect();
        let len = if format == Format::Ipfix {
            20 + 2 * 54
        } else {
            24 + 2 * 48
        };
        assert_eq!(lens, [len], "{format:?}");
        assert_eq!(interface.held(), 0);
    }
}

#[test]
fn headers_carry_the_clock_of_sending_and_the_sequence_of_the_buffers_begin() {
    let (mut interface, mut outbox) = running(Format::NetFlow5);
    for _ in 0..16 {
        interface.offer(now(15), &flow(Af::Inet), 0, &mut outbox);
    }
    interface.flush(now(17), &mut outbox);
    let sent = sent(&mut interface, &mut outbox);
    assert_eq!(
        sent.iter().map(Vec::len).collect::<Vec<_>>(),
        [24 + 30 * 48, 24 + 2 * 48]
    );
    assert_eq!((u32_at(&sent[0], 4), u32_at(&sent[1], 4)), (15_000, 17_000));
    assert_eq!(u32_at(&sent[1], 8), 1_700_000_017);
    assert_eq!(u32_at(&sent[1], 12), 250_000_000);
    assert_eq!((u32_at(&sent[0], 16), u32_at(&sent[1], 16)), (0, 30));
}

#[test]
fn the_ipfix_sequence_counts_data_records_of_all_buffers_and_no_templates() {
    let (mut interface, mut outbox) = running(Format::Ipfix);
    for af in [Af::Inet, Af::Inet6, Af::Inet] {
        interface.offer(now(15), &flow(af), 0, &mut outbox);
    }
    interface.handle_timeout(now(45), &mut outbox);
    let settings = interface.settings().clone();
    interface.configure(now(50), settings, &mut outbox);
    let sent = sent(&mut interface, &mut outbox);
    let sequences: Vec<_> = sent.iter().map(|payload| u32_at(payload, 8)).collect();
    let sets: Vec<_> = sent
        .iter()
        .map(|p| u16::from_be_bytes([p[16], p[17]]))
        .collect();
    assert_eq!(sets, [2, 256, 258, 2, 2]);
    assert_eq!(sequences, [0, 0, 4, 6, 6]);
}

#[test]
fn each_firewall_has_a_domain_with_templates_and_a_sequence_of_its_own() {
    let (mut interface, mut outbox) = running(Format::Ipfix);
    sent(&mut interface, &mut outbox);
    let domain = Domain::Creatorid;
    let settings = Settings {
        domain,
        ..interface.settings().clone()
    };
    interface.configure(now(11), settings, &mut outbox);
    let mut of = flow(Af::Inet);
    for creatorid in [7, 9, 7] {
        of.id.creatorid = creatorid;
        interface.offer(now(15), &of, 0, &mut outbox);
        interface.flush(now(15), &mut outbox);
    }
    interface.handle_timeout(now(41), &mut outbox);
    let told: Vec<_> = sent(&mut interface, &mut outbox)
        .iter()
        .map(|message| (message[17], u32_at(message, 12), u32_at(message, 8)))
        .collect();
    // Templates are set 2, and told anew after 30 seconds.
    let data = [(2, 7, 0), (0, 7, 0), (2, 9, 0), (0, 9, 0), (0, 7, 2)];
    assert_eq!(told[..5], data);
    assert_eq!(told[5..], [(2, 7, 4), (2, 9, 2)]);
    assert_eq!(interface.session().sequences(), [(7, 4), (9, 2), (42, 0)]);
}

#[test]
fn a_v5_header_has_the_engine_that_is_set() {
    let (mut interface, mut outbox) = running(Format::NetFlow5);
    interface.offer(now(15), &flow(Af::Inet), 0, &mut outbox);
    let engine = EngineId([1, 255]);
    let settings = Settings {
        engine,
        ..interface.settings().clone()
    };
    interface.configure(now(16), settings, &mut outbox);
    interface.offer(now(17), &flow(Af::Inet), 0, &mut outbox);
    interface.flush(now(17), &mut outbox);
    let engines: Vec<_> = sent(&mut interface, &mut outbox)
        .iter()
        .map(|datagram| [datagram[20], datagram[21]])
        .collect();
    assert_eq!(engines, [[42, 42], [1, 255]]);
}

#[test]
fn thirty_records_of_any_layout_fit_however_large_the_mtu() {
    let (mut interface, mut outbox) = running(Format::Ipfix);
    let mtu = u16::MAX;
    let templates = TemplateSet::FreeBsd;
    let settings = Settings {
        mtu,
        templates,
        ..interface.settings().clone()
    };
    interface.configure(now(11), settings, &mut outbox);
    sent(&mut interface, &mut outbox);
    for af in [Af::Inet, Af::Inet6] {
        let mut flow = flow(af);
        flow.translated = Some(flow.tuple.reversed());
        for _ in 0..15 {
            interface.offer(now(15), &flow, 0, &mut outbox);
        }
    }
    let sent = sent(&mut interface, &mut outbox);
    let lens: Vec<_> = sent.iter().map(Vec::len).collect();
    let events = 20 + 30 * 34;
    assert_eq!(lens, [events, 20 + 30 * 54, events, 20 + 30 * 78]);
    let ends = sent.iter().map(|message| message[message.len() - 1]);
    assert_eq!(ends.collect::<Vec<_>>(), [3, 17, 4, 17]);
}

#[test]
fn the_v5_sequence_counts_records_of_either_protocol() {
    let (mut interface, mut outbox) = running(Format::Ipfix);
    interface.offer(now(15), &flow(Af::Inet6), 0, &mut outbox);
    let v5 = Settings {
        format: Format::NetFlow5,
        ..interface.settings().clone()
    };
    interface.configure(now(16), v5, &mut outbox);
    interface.offer(now(17), &flow(Af::Inet), 0, &mut outbox);
    sent(&mut interface, &mut outbox);
    interface.flush(now(18), &mut outbox);
    assert_eq!(u32_at(&sent(&mut interface, &mut outbox)[0], 16), 2);
}

#[test]
fn what_is_held_at_a_change_goes_out_under_the_old_settings() {
    let (mut interface, mut outbox) = running(Format::NetFlow5);
    interface.offer(now(15), &flow(Af::Inet), 0, &mut outbox);
    let ipfix = Settings {
        format: Format::Ipfix,
        ..interface.settings().clone()
    };
    interface.configure(now(16), ipfix, &mut outbox);
    let versions: Vec<_> = sent(&mut interface, &mut outbox)
        .iter()
        .map(|payload| payload[1])
        .collect();
    assert_eq!(versions, [5, 10]);
}

#[test]
fn an_interface_that_does_not_run_counts_flows_and_sends_nothing() {
    let (mut interface, mut outbox) = running(Format::Ipfix);
    let down = Settings {
        is_up: false,
        ..interface.settings().clone()
    };
    interface.configure(now(16), down, &mut outbox);
    sent(&mut interface, &mut outbox);
    interface.offer(now(17), &flow(Af::Inet), 0, &mut outbox);
    interface.handle_timeout(now(500), &mut outbox);
    assert!(outbox.is_empty());
    assert_eq!(
        (interface.counters.idle, interface.poll_timeout()),
        (1, None)
    );
    for dst in ["0.0.0.0:9995", "127.0.0.1:0"] {
        let flowdst = Some(dst.parse().unwrap());
        assert_eq!(
            Settings {
                flowdst,
                ..Settings::default()
            }
            .datagrams_to(),
            None
        );
    }
}

#[test]
fn v5_leaves_ipv6_out_and_counts_it() {
    let (mut interface, mut outbox) = running(Format::NetFlow5);
    interface.offer(now(15), &flow(Af::Inet6), 0, &mut outbox);
    assert_eq!((interface.held(), interface.counters.ipv6), (0, 1));
}

#[test]
fn an_interface_takes_flows_of_its_direction() {
    let (mut interface, mut outbox) = running(Format::NetFlow5);
    let out = Settings {
        direction: Some(Direction::Out),
        ..interface.settings().clone()
    };
    interface.configure(now(11), out, &mut outbox);
    interface.offer(now(15), &flow(Af::Inet), 0, &mut outbox);
    assert_eq!((interface.held(), interface.counters.direction), (0, 1));
}

#[test]
fn after_a_long_silence_templates_go_once_and_keep_their_rhythm() {
    let (mut interface, mut outbox) = running(Format::Ipfix);
    interface.handle_timeout(now(40), &mut outbox);
    interface.skip_templates(Uptime::new(8000, 0));
    assert_eq!(
        interface.poll_timeout(),
        Some(Uptime::new(8020, 250_000_000))
    );
}
