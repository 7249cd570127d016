//! Every message of the dialect captures in testdata, as -o messages-json prints it, against what
//! the program that wrote the captures says they mean.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that is wrong may panic"
)]

use std::path::Path;
use std::process::Command;

use serde_json::Value;

fn printed(capture: &Path) -> Vec<Value> {
    let output = Command::new(env!("CARGO_BIN_EXE_pflow"))
        .args(["-o", "messages-json", "-vv", "-r"])
        .arg(capture)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let lines = output.stdout.split(|octet| *octet == b'\n');
    lines
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}

/// The messages of a truth file, each with its packet's time and version.
fn truth(path: &Path) -> Vec<Value> {
    let packets: Vec<Value> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let mut messages = Vec::new();
    for packet in packets {
        for message in packet["messages"].as_array().unwrap() {
            let mut message = message.clone();
            message["version"] = packet["version"].clone();
            message["ts"] = packet["ts"].clone();
            messages.push(message);
        }
    }
    messages
}

#[test]
fn every_message_of_every_dialect_means_what_its_writer_says() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/dialects");
    let mut captures = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "pcap") {
            continue;
        }
        captures += 1;
        let (ours, theirs) = (printed(&path), truth(&path.with_extension("json")));
        assert_eq!(ours.len(), theirs.len(), "{path:?}");
        for (ours, theirs) in ours.iter().zip(&theirs) {
            for (key, value) in theirs.as_object().unwrap() {
                let same = match (ours[key].as_f64(), value.as_f64()) {
                    (Some(a), Some(b)) => (a - b).abs() < 1e-3,
                    _ => ours[key] == *value,
                };
                assert!(same, "{path:?}: {key} is not {value} in {ours}");
            }
        }
    }
    assert!(captures >= 12, "{captures} captures");
}
