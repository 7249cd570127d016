//! What the fuzzers found interesting, run again without them.

#![allow(clippy::unwrap_used, reason = "a test that is wrong may panic")]

use std::path::{Path, PathBuf};

use pflow::fuzzing::TARGETS;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus")
}

/// The paths in a directory, in order.
fn entries(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

#[test]
fn every_input_of_every_corpus_keeps_its_targets_claims() {
    for (name, body) in TARGETS {
        let inputs = entries(&corpus().join(name));
        assert!(!inputs.is_empty(), "no corpus for {name}");
        for input in inputs {
            let data = std::fs::read(&input).unwrap();
            println!("{}", input.display()); // shown if the body panics
            body(&data);
        }
    }
}

#[test]
fn every_corpus_has_its_target_and_its_program() {
    let programs = corpus().with_file_name("fuzz_targets");
    let stems = |paths: Vec<PathBuf>| -> Vec<String> {
        let stem = |path: PathBuf| path.file_stem().unwrap().to_string_lossy().into_owned();
        paths.into_iter().map(stem).collect()
    };
    let mut names: Vec<_> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    names.sort();
    assert_eq!(stems(entries(&corpus())), names);
    assert_eq!(stems(entries(&programs)), names);
}
