//! Which states are exported, in which order, and what a gap does to it.

use super::*;

/// Many states end, and late copies of all of them come.
fn many_ends() -> (u64, u64, u64) {
    let mut run = Run::new();
    let ids: Vec<u64> = (1..=40_000).collect();
    for chunk in ids.chunks(200) {
        let whole: Vec<M> = chunk.iter().map(|id| M::Upd(counted(*id))).collect();
        let gone: Vec<M> = chunk.iter().map(|id| M::DelC(*id, CREATOR)).collect();
        run.send(0, A, RICH, &whole);
        run.send(0, A, RICH, &gone);
    }
    for chunk in ids.chunks(200) {
        let late: Vec<M> = chunk
            .iter()
            .map(|id| M::Upd(counted(*id).aged(1)))
            .collect();
        run.send(1000, A, RICH, &late);
    }
    run.send(2000, A, RICH, &[M::clr(CREATOR)]);
    let counters = run.counters();
    let octets = run.engine.flow_counters().octets;
    (counters.late, counters.inserted, octets)
}

#[test]
fn the_same_messages_give_the_same_flows_every_time() {
    let first = many_ends();
    assert_eq!(many_ends(), first);
    assert_eq!(many_ends(), first);
}

#[test]
fn only_marked_states_are_exported_where_the_dialect_tells() {
    for d in D::ALL {
        let mut run = Run::new();
        let plain = St {
            flags: 0x00fb,
            ..counted(1)
        };
        // 254 is rt since 6.9; before, it is the flags' low octet.
        let plain = St { rt: 3, ..plain };
        run.send(0, A, d, &[M::Upd(plain), M::Upd(counted(2))]);
        run.send(1000, A, d, &[M::clr(CREATOR)]);
        let flows = run.flows();
        if d.carries_pflow() {
            assert_eq!(ids(&flows), [2], "{d:?}");
            assert_eq!(run.engine.flow_counters().unflagged, 1);
        } else {
            assert_eq!(ids(&flows), [1, 2], "{d:?}");
        }
        let all = Settings {
            is_all: true,
            ..settings()
        };
        let mut run = Run::with(all, Config::default());
        run.send(0, A, d, &[M::Upd(plain), M::clr(CREATOR)]);
        assert_eq!(ids(&run.flows()), [1], "{d:?}");
    }
}

#[test]
fn s_exports_one_direction() {
    for (direction, id) in [(Direction::In, 1), (Direction::Out, 2)] {
        let only = Settings {
            direction: Some(direction),
            ..settings()
        };
        let mut run = Run::with(only, Config::default());
        run.send(
            0,
            A,
            RICH,
            &[M::Ins(counted(1)), M::Ins(nat_out(2)), M::clr(CREATOR)],
        );
        assert_eq!(run.flow().id, id);
        assert_eq!(run.engine.flow_counters().direction, 1);
    }
    assert_eq!((counted(1).direction, nat_out(1).direction), (IN, OUT));
}

#[test]
fn in_a_gap_of_over_an_hour_templates_go_once_and_data_in_order() {
    let mut run = exporting(Format::Ipfix);
    run.send(
        0,
        A,
        RICH,
        &[
            M::Ins(counted(1)),
            M::Ins(St::udp(2).count([1, 0], [60, 0])),
        ],
    );
    run.send(1000, A, RICH, &[M::del_c(&counted(1))]);
    assert_eq!(sent(&mut run).len(), 1, "the templates of the start");
    run.advance(100_000_000);
    // Nothing told whether it was a step: for a minute none ends by it.
    assert_eq!(run.alive(), 1);
    run.advance(100_060_000);
    assert_eq!(run.alive(), 0);
    run.advance(100_091_000);
    let messages: Vec<_> = sent(&mut run)
        .iter()
        .map(|d| (export_time(d), d[17] == 2))
        .collect();
    let templates: Vec<_> = messages.iter().filter(|m| m.1).collect();
    let data: Vec<_> = messages.iter().filter(|m| !m.1).map(|m| m.0).collect();
    let first: Vec<_> = templates.iter().take_while(|m| m.0 < 100_000).collect();
    assert_eq!(first, [&&(30, true)], "{messages:?}");
    assert_eq!(data, [31, 100_090], "{messages:?}");
    assert!(messages.is_sorted_by_key(|m| m.0), "{messages:?}");
    assert!(templates.len() > first.len(), "and on as before");
}

/// A savefile of one state that ends before a gap of two hours, and a packet after it.
fn savefile_with_a_gap() -> Vec<u8> {
    let mut file = 0xa1b2_c3d4_u32.to_be_bytes().to_vec();
    file.extend([0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1]);
    let said = [
        (0, M::Ins(counted(1))),
        (1, M::del_c(&counted(1))),
        (7201, M::Bus(CREATOR, 1)),
    ];
    for (s, message) in said {
        let (_, frame) = A.frame(&packets(RICH, &[message])[0]);
        let len = frame.len() as u32;
        for word in [u32::try_from(T0 + s).unwrap(), 0, len, len] {
            file.extend(word.to_be_bytes());
        }
        file.extend(frame);
    }
    file
}

#[test]
fn a_gap_gives_the_same_datagrams_at_any_speed() {
    let directory = std::env::temp_dir().join(format!("pflow-traps-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let file = directory.join("gap.pcap");
    std::fs::write(&file, savefile_with_a_gap()).unwrap();
    let sent_at = |speed: &str| {
        let collector = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        collector.set_nonblocking(true).unwrap();
        let to = collector.local_addr().unwrap().to_string();
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_pflow"))
            .args(["-x", speed, "-r"])
            .arg(&file)
            .args(["pflow0", "flowdst", &to, "pflowproto", "10"])
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let mut octets = [0; 2048];
        let mut datagrams = Vec::new();
        while let Ok(len) = collector.recv(&mut octets) {
            datagrams.push(octets[..len].to_vec());
        }
        datagrams
    };
    let (fast, paced) = (sent_at("0"), sent_at("1000000000"));
    std::fs::remove_dir_all(&directory).unwrap();
    assert_eq!(
        fast.len(),
        3,
        "templates at the start and in the gap, and the data"
    );
    assert_eq!(paced.len(), fast.len());
    assert_eq!(paced, fast);
}

#[test]
fn states_alive_at_the_end_are_exported_only_if_asked_for() {
    for is_flush_active in [false, true] {
        let config = Config {
            is_flush_active,
            ..Config::default()
        };
        let mut run = Run::with(settings(), config);
        run.send(0, A, RICH, &[M::Ins(counted(1))]);
        run.send(9000, A, RICH, &[M::upd_c(&counted(1))]);
        let flows = run.finish();
        if is_flush_active {
            assert_eq!((sum(&flows), flows[0].times()), ([300, 2000], (0, 9)));
            assert_eq!(run.alive(), 0);
        } else {
            assert_eq!((flows, run.alive()), (vec![], 1));
        }
    }
}

#[test]
fn records_held_at_the_end_go_out_with_the_last_clock() {
    let mut run = exporting(Format::Ipfix);
    run.send(0, A, RICH, &[M::Ins(counted(1))]);
    run.send(5000, A, RICH, &[M::del_c(&counted(1))]);
    run.advance(7000);
    sent(&mut run);
    run.finish();
    let times: Vec<_> = sent(&mut run).iter().map(|d| export_time(d)).collect();
    assert_eq!(times, [7]);
}
