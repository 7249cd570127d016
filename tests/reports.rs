//! What operators' reports and kernels' sources say is on the wire, beside the plain scenarios: each
//! capture of testdata/reports, its records and its messages.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that is wrong may panic"
)]

use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// The lines that pflow prints of a capture, and what it logs.
fn lines(name: &str, output: &str) -> (Vec<Value>, String) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/reports");
    let output = Command::new(env!("CARGO_BIN_EXE_pflow"))
        .args(["-a", "-o", output, "-e", "ifindex em0 5", "-r"])
        .arg(directory.join(name).with_extension("pcap"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let lines = output.stdout.split(|octet| *octet == b'\n');
    let lines = lines.filter(|line| !line.is_empty());
    (
        lines
            .map(|line| serde_json::from_slice(line).unwrap())
            .collect(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

/// The packets, octets and seconds of each record, all of which are exact; and what is logged.
fn exact(name: &str) -> (Vec<[u64; 3]>, String) {
    let (records, log) = lines(name, "json");
    let number = |record: &Value, key: &str| record[key].as_u64().unwrap();
    let record = |record: &Value| {
        assert_eq!(record["quality"], "exact", "{record}");
        let (start, end) = ("flowStartMilliseconds", "flowEndMilliseconds");
        [
            number(record, "packetDeltaCount"),
            number(record, "octetDeltaCount"),
            (number(record, end) - number(record, start)) / 1000,
        ]
    };
    (records.iter().map(record).collect(), log)
}

/// A value of each message that has it.
fn told(name: &str, key: &str) -> Vec<String> {
    let (messages, _) = lines(name, "messages-json");
    let values = messages
        .iter()
        .map(|message| &message[key])
        .filter(|value| !value.is_null());
    values
        .map(|value| {
            value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned)
        })
        .collect()
}

#[test]
fn an_sctp_association_of_freebsd_14_ends_when_it_was_shut_down() {
    for name in ["sctp-shutdown-fbsd14", "sctp-shutdown-fbsd15"] {
        let (records, log) = exact(name);
        assert_eq!(records, [[300, 30_000, 21], [400, 40_000, 21]], "{name}");
        assert!(!log.contains("impossible"), "{log}");
        let (up, shut, closed) = ("ESTABLISHED", "SHUTDOWN_PENDING", "CLOSED");
        assert_eq!(
            told(name, "src_state_name"),
            [up, up, shut, closed, closed],
            "{name}"
        );
        assert_eq!(
            told(name, "dst_state_name"),
            [up, up, shut, shut, shut],
            "{name}"
        );
    }
}

#[test]
fn states_of_300_octets_are_dragonflys() {
    let (records, log) = exact("dragonfly-300");
    let (there, back) = ([100, 10_000, 1], [120, 120_000, 1]);
    assert_eq!(records, [there, back, there, back]);
    assert!(log.contains("3 read whole"), "{log}");
    let ids = ["6553f10000000046", "6553f10000000047"];
    assert_eq!(told("dragonfly-300", "id"), [ids, ids, ids].concat());
}

#[test]
fn tcp_states_of_dragonfly_are_one_higher() {
    let name = "dragonfly-proxy-dst";
    let (_, log) = exact(name);
    assert!(log.contains("1 packets, 1 read whole"), "{log}");
    assert_eq!(told(name, "src_state"), ["13"]);
    assert_eq!(told(name, "src_state_name"), ["PROXY_DST"]);
}

#[test]
fn pfsync_is_found_behind_enc() {
    let (_, log) = exact("enc0-dlt13");
    assert!(
        log.contains("1 packets, 1 read whole, 1 messages: 1 INS"),
        "{log}"
    );
    assert_eq!(told("enc0-dlt13", "sender"), ["192.0.2.1"]);
}

#[test]
fn what_v4_tells_on_the_wire_is_estimated() {
    let (records, _) = lines("v4-wire-2MB", "json");
    assert_eq!(records.len(), 2);
    for (record, octets) in records.iter().zip([28_000..40_000, 2_050_000..2_070_000]) {
        assert_eq!(record["quality"], "estimated");
        let estimate = record["octetDeltaCount"].as_u64().unwrap();
        assert!(octets.contains(&estimate), "{record}");
    }
    assert_eq!(told("v4-wire-2MB", "bytes"), ["[0,0]"]);
}

#[test]
fn an_icmp6_id_of_0_is_no_type() {
    let (records, _) = lines("icmp6-na-id0", "json");
    let record = &records[0];
    assert_eq!(
        (&record["icmpTypeIPv6"], &record["icmpId"]),
        (&135.into(), &0.into())
    );
    let (from, to) = ("sourceTransportPort", "destinationTransportPort");
    assert_eq!((&record[from], &record[to]), (&135.into(), &0.into()));
    assert_eq!(told("icmp6-na-id0", "icmp_type"), ["135"]);
    assert_eq!(told("icmp6-na-id0", "icmp_id"), ["0"]);
}

#[test]
fn a_floating_state_of_freebsd_15_has_the_interface_it_was_made_on() {
    let (records, _) = lines("fbsd15-orig-ifname", "json");
    assert_eq!(records.len(), 2);
    for record in &records {
        assert_eq!(record["interfaceName"], "em0");
    }
    assert_eq!(records[0]["ingressInterface"], 5);
    assert_eq!(told("fbsd15-orig-ifname", "orig_ifname"), ["em0"]);
    // The messages that name it by its id alone have the interface that the table holds.
    assert_eq!(told("fbsd15-orig-ifname", "ifname"), ["all", "em0"]);
}

#[test]
fn a_host_id_given_twice_makes_states_of_two_firewalls() {
    let (records, log) = exact("same-hostid");
    let (one, two) = ([99, 9900, 40], [55, 5500, 40]);
    assert_eq!(records, [one, one, two, two]);
    let line = "192.0.2.1 and 192.0.2.2 both use host id 5f3a9c01";
    assert_eq!(log.matches(line).count(), 1, "{log}");
    assert!(log.contains("udp: 2 flows, 30800 octets: 2 exact of 30800 octets"));
    assert_eq!(told("same-hostid", "msg").len(), 26);
}
