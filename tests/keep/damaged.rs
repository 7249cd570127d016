//! Files that are cut, damaged, or of another version.

use super::*;

fn some_file() -> Vec<u8> {
    let frames = frames("mix200.openbsd-v6.pcap");
    let mut run = Run::new(BOOT);
    run.start(frames[0].1);
    run.hear(&frames[..40]);
    keep::file(true, run.now.wall, &run.keep())
}

#[test]
fn a_file_that_is_cut_or_longer_is_refused_whole() {
    let file = some_file();
    assert!(keep::parse(&file).is_ok());
    for len in 0..file.len() {
        assert!(keep::parse(&file[..len]).is_err(), "{len}");
    }
    let longer = [&file[..], &[0]].concat();
    assert_eq!(
        keep::parse(&longer).unwrap_err(),
        Error::Length {
            expected: file.len() as u64,
            have: longer.len() as u64
        }
    );
}

#[test]
fn a_file_with_any_bit_turned_is_refused_whole() {
    let file = some_file();
    for at in 0..file.len() {
        let mut damaged = file.clone();
        damaged[at] ^= 1 << (at % 8);
        assert!(keep::parse(&damaged).is_err(), "octet {at}");
    }
}

#[test]
fn other_versions_and_other_files_are_refused_by_name() {
    let mut file = some_file();
    let error = |file: &[u8]| keep::parse(file).unwrap_err().to_string();
    file[9] = 2;
    assert_eq!(
        error(&file),
        "version 2, of a newer pflow; this one reads 1"
    );
    file[9] = 0;
    assert_eq!(
        error(&file),
        "version 0, of an older pflow; this one reads 1"
    );
    assert_eq!(
        error(b"#!/bin/sh\necho hello"),
        "not a file that pflow kept"
    );
    assert_eq!(error(b""), "not a file that pflow kept");
}

#[test]
fn the_mark_of_a_stop_in_good_order_is_taken_back_in_the_header_alone() {
    let mut file = some_file();
    let header = Header::decode(&file).unwrap();
    assert!(header.is_clean);
    let used = Header {
        is_clean: false,
        ..header
    };
    file[..HEADER_LEN].copy_from_slice(&used.encode());
    let (again, records) = keep::parse(&file).unwrap();
    assert_eq!(again, used);
    assert!(records.count() > 10);
}
