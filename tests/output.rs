//! What -o prints of whole captures: every form tells the same flows.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

const CAPTURES: [&str; 4] = [
    "mix200.openbsd-v6.pcap",
    "mix200.freebsd-1400.pcap.gz",
    "mix200.openbsd45-v5.pcap",
    "dialects/fbsd15-ether6.pcap",
];

fn capture(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/testdata")).join(name)
}

fn pflow(output: &str, more: &[&str], name: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pflow"));
    command.args(["-a", "-o", output]).args(more).arg("-r");
    command.arg(capture(name)).output().unwrap()
}

fn printed(output: &str, name: &str) -> String {
    let output = pflow(output, &[], name);
    assert!(output.status.success(), "{name}");
    String::from_utf8(output.stdout).unwrap()
}

fn records(name: &str) -> Vec<Value> {
    let lines = printed("json", name);
    let records = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    records.collect()
}

/// Packets and octets of all records.
fn sums(records: &[Value]) -> [u64; 2] {
    ["packetDeltaCount", "octetDeltaCount"].map(|name| {
        let numbers = records.iter().map(|record| record[name].as_u64().unwrap());
        numbers.sum()
    })
}

/// The name of a row and its flows, packets and octets.
fn row(line: &str) -> (String, [u64; 3]) {
    let words: Vec<_> = line.split_whitespace().collect();
    let numbers = words.iter().rev().filter(|word| !word.ends_with('%'));
    let numbers: Vec<u64> = numbers
        .map_while(|word| word.parse().ok())
        .take(3)
        .collect();
    let name = line.split_whitespace().take_while(|word| {
        // The first number behind the name.
        word.parse::<u64>() != Ok(numbers[2]) || words[0] == *word
    });
    let name = name.collect::<Vec<_>>().join(" ");
    (name, [numbers[2], numbers[1], numbers[0]])
}

#[test]
fn top_adds_up_to_what_json_tells_whatever_it_is_by() {
    let keys = "src dst host port proto interface rule firewall nat";
    for name in CAPTURES {
        let [packets, octets] = sums(&records(name));
        assert!(octets > 0, "{name}");
        for key in keys.split(' ') {
            for words in ["2", "10000", "3,packets", "3,flows"] {
                let table = printed(&format!("top={key},{words}"), name);
                let rows: Vec<_> = table.lines().skip(1).map(row).collect();
                let (total, parts) = rows.split_last().unwrap();
                assert_eq!(
                    (total.0.as_str(), total.1[1], total.1[2]),
                    ("total", packets, octets)
                );
                let sum = |place: usize| parts.iter().map(|(_, of)| of[place]).sum::<u64>();
                let times = if key == "host" { 2 } else { 1 };
                let what = format!("{name} {key},{words}\n{table}");
                assert_eq!(
                    [sum(1), sum(2)],
                    [times * packets, times * octets],
                    "{what}"
                );
                if !matches!(key, "src" | "dst") {
                    assert_eq!(sum(0), times * total.1[0], "{what}");
                }
                let asked: usize = words.split(',').next().unwrap().parse().unwrap();
                assert!(parts.len() <= asked + 2, "{what}");
            }
        }
    }
}

#[test]
fn top_by_source_is_the_sum_of_the_records_with_that_source() {
    let name = CAPTURES[0];
    let mut by_source: BTreeMap<String, u64> = BTreeMap::new();
    for record in records(name) {
        let source = record
            .get("sourceIPv4Address")
            .or(record.get("sourceIPv6Address"));
        let octets = record["octetDeltaCount"].as_u64().unwrap();
        *by_source
            .entry(source.unwrap().as_str().unwrap().to_owned())
            .or_default() += octets;
    }
    let table = printed("top=src,10000", name);
    let rows: Vec<_> = table.lines().skip(1).map(row).collect();
    let (_, rows) = rows.split_last().unwrap();
    assert_eq!(rows.len(), by_source.len());
    for (source, [_, _, octets]) in rows {
        assert_eq!(by_source[source], *octets, "{source}");
    }
    assert!(rows.is_sorted_by(|one, other| one.1[2] >= other.1[2]));
}

#[test]
fn the_page_has_the_flows_of_json() {
    for name in CAPTURES {
        let records = records(name);
        let page = printed("html", name);
        let (_, data) = page.split_once("id=\"data\">").unwrap();
        let (data, _) = data.split_once("</script>").unwrap();
        let data: Value = serde_json::from_str(data).unwrap();
        let told = ["packets", "octets"].map(|name| data[name].as_u64().unwrap());
        assert_eq!(told, sums(&records), "{name}");
        assert_eq!(data["records"], records.len());
        let rows = data["rows"].as_array().unwrap();
        let number = |row: &Value, place: usize| row[place].as_u64().unwrap();
        let octets: u64 = rows
            .iter()
            .map(|row| number(row, 9) + number(row, 10))
            .sum();
        assert_eq!(octets, sums(&records)[1], "{name}");
        assert!(data["title"].as_str().unwrap().ends_with(name));
    }
}

#[test]
fn csv_names_its_columns_where_there_is_no_record() {
    let empty = pflow(
        "csv",
        &["-S", "in", "-m", "1", "-e", "timeout tcp.first 1"],
        "reports/sctp-shutdown-fbsd14.pcap",
    );
    let header = String::from_utf8(empty.stdout).unwrap();
    assert!(header.starts_with("flowStartMilliseconds,") && header.contains("\r\n"));
    // Not even a packet.
    let mut child = Command::new(env!("CARGO_BIN_EXE_pflow"))
        .args(["-o", "csv", "-r", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let file = std::fs::read(capture(CAPTURES[0])).unwrap();
    child.stdin.take().unwrap().write_all(&file[..24]).unwrap();
    let output = child.wait_with_output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert_eq!(printed.lines().count(), 1);
    assert!(printed.starts_with("flowStartMilliseconds,") && printed.ends_with("\r\n"));
}

#[test]
fn csv_tells_connections_as_json_does() {
    let lines = |output| {
        let output = pflow(output, &["-e", "records connection"], CAPTURES[0]);
        output
            .stdout
            .iter()
            .filter(|octet| **octet == b'\n')
            .count()
    };
    assert!(lines("json") > 0);
    assert_eq!(lines("csv"), lines("json") + 1);
}

#[test]
fn a_damaged_gzip_file_is_exported_as_far_as_it_is_whole_and_named_with_the_place() {
    let file = std::fs::read(capture("mix200.freebsd-1400.pcap.gz")).unwrap();
    let path = std::env::temp_dir().join(format!("pflow-cut-{}.pcap.gz", std::process::id()));
    let cut = file.len() / 2;
    std::fs::write(&path, &file[..cut]).unwrap();
    let output = pflow("json", &[], path.to_str().unwrap());
    std::fs::remove_file(&path).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(!output.stdout.is_empty());
    let log = String::from_utf8(output.stderr).unwrap();
    let expected = format!(
        "{}: file ends inside gzip data at offset {cut}",
        path.display()
    );
    assert!(log.contains(&expected), "{log}");
}

#[test]
fn a_packed_capture_gives_the_flows_of_the_plain_one_from_a_file_and_from_a_pipe() {
    let packed = printed("json", "mix200.openbsd-v6.dlt246-iphdr.pcap.gz");
    assert!(!packed.is_empty());
    let file = std::fs::read(capture("mix200.openbsd-v6.dlt246-iphdr.pcap.gz")).unwrap();
    let mut plain = Vec::new();
    std::io::Read::read_to_end(
        &mut flate2::read::MultiGzDecoder::new(&file[..]),
        &mut plain,
    )
    .unwrap();
    for octets in [file, plain] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_pflow"))
            .args(["-a", "-o", "json", "-r", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let writer = std::thread::spawn(move || stdin.write_all(&octets));
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), packed);
    }
}

#[test]
fn messages_that_tell_only_an_id_show_the_state_if_it_is_held() {
    let printed = printed("messages-json", CAPTURES[0]);
    let mut held: BTreeMap<String, [Value; 5]> = BTreeMap::new();
    let (mut with, mut without) = (0, 0);
    for line in printed.lines() {
        let message: Value = serde_json::from_str(line).unwrap();
        let id = format!("{}/{}", message["id"], message["creatorid"]);
        let ends = ["ifname", "src", "dport", "nat_src", "direction"];
        let ends = ends.map(|name| message[name].clone());
        match message["msg"].as_str().unwrap() {
            "INS" | "UPD" => drop(held.insert(id, ends)),
            kind @ ("UPD_C" | "DEL_C") => {
                match held.get(&id) {
                    Some(state) => {
                        assert_eq!(ends, *state, "{line}");
                        with += 1;
                    }
                    None => {
                        assert!(ends.iter().all(Value::is_null), "{line}");
                        without += 1;
                    }
                }
                if kind == "DEL_C" {
                    held.remove(&id);
                }
            }
            _ => {}
        }
    }
    assert!(with > 200, "{with} with, {without} without");
    let text = self::printed("messages", CAPTURES[0]);
    let ends = text
        .lines()
        .filter(|line| line.contains(" DEL_C em") && line.contains(" -> "));
    assert_eq!(ends.count(), 200);
}

#[test]
fn lines_of_text_keep_to_80_columns_without_a_terminal() {
    for name in CAPTURES {
        let text = printed("text", name);
        assert!(text.lines().all(|line| line.len() <= 80), "{name}");
        let flows = text.lines().skip(1).filter(|line| !line.starts_with(' '));
        assert_eq!(flows.count(), records(name).len(), "{name}");
    }
}
