//! Files that the command line and the configuration name, with the real binary: what pflow opens,
//! what it refuses, and that it waits for none of them without looking at signals.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    missing_docs,
    reason = "a test that is wrong may panic, and waits for processes"
)]

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};

const CAPTURE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/testdata/mix200.openbsd-v6.pcap"
);
/// How long a machine may take that has much to do. What waits for ever takes longer.
const PATIENCE: Duration = Duration::from_secs(20);

/// A directory of one test.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let name = format!("pflow-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn start(words: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_pflow"))
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// What a program that ends soon has said.
fn end(mut child: Child) -> Output {
    let begin = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if begin.elapsed() > PATIENCE {
            child.kill().unwrap();
            panic!("it waits: {:?}", child.wait_with_output());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    child.wait_with_output().unwrap()
}

/// The one line of a pflow that does not start.
fn refusal(words: &[&str]) -> String {
    let output = end(start(words));
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

fn fifo(path: &str) {
    mkfifo(Path::new(path), Mode::S_IRWXU).unwrap();
}

#[test]
fn a_replay_of_a_fifo_that_nobody_writes_ends_when_it_is_told_to() {
    let place = Place::new("fifo");
    let name = place.path("fifo");
    fifo(&name);
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        // It has opened what it opens itself when its control socket is there.
        let socket = place.path("socket");
        let child = start(&["-s", &socket, "-r", &name]);
        let begin = Instant::now();
        while !Path::new(&socket).exists() && begin.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(5));
        }
        std::thread::sleep(Duration::from_millis(50));
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
        kill(pid, signal).unwrap();
        let output = end(child);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let log = String::from_utf8(output.stderr).unwrap();
        assert!(log.contains("0 packets"), "{log}");
    }
}

#[test]
fn what_is_written_to_a_fifo_is_replayed_as_the_file_is() {
    let place = Place::new("written");
    let name = place.path("fifo");
    fifo(&name);
    let child = start(&["-o", "messages", "-r", &name]);
    let octets = fs::read(CAPTURE).unwrap();
    let writer = std::thread::spawn(move || {
        let mut fifo = fs::OpenOptions::new().write(true).open(&name).unwrap();
        for piece in octets.chunks(10_000) {
            fifo.write_all(piece).unwrap();
        }
    });
    let from_fifo = child.wait_with_output().unwrap();
    writer.join().unwrap();
    let from_file = start(&["-o", "messages", "-r", CAPTURE]);
    let from_file = from_file.wait_with_output().unwrap();
    assert_eq!(from_fifo.status.code(), Some(0));
    assert!(!from_file.stdout.is_empty());
    assert_eq!(from_fifo.stdout, from_file.stdout);
}

#[test]
fn a_configuration_that_is_no_file_or_has_no_end_is_refused_at_once() {
    let place = Place::new("conf");
    let (pipe, directory) = (place.path("fifo"), place.path("directory"));
    fifo(&pipe);
    fs::create_dir(&directory).unwrap();
    let including = place.path("including");
    fs::write(&including, format!("include \"{pipe}\"\n")).unwrap();
    let no_file = "not a regular file";
    for (name, problem) in [
        (&*pipe, format!("pflow: {pipe}: {no_file}\n")),
        (&directory, format!("pflow: {directory}: {no_file}\n")),
        (
            "/dev/zero",
            "pflow: /dev/zero: larger than 1048576 octets\n".to_owned(),
        ),
        (
            &including,
            format!("pflow: {including}:1: include: {pipe}: {no_file}\n"),
        ),
    ] {
        assert_eq!(refusal(&["-n", "-f", name]), problem);
    }
    let output = end(start(&["-n", "-f", "/dev/null"]));
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

#[test]
fn taps_and_keep_files_do_not_follow_links() {
    let place = Place::new("links");
    let (victim, link) = (place.path("victim"), place.path("link"));
    fs::write(&victim, "secret").unwrap();
    symlink(&victim, &link).unwrap();
    let problem = "a link, which is not followed\n";
    let tap = format!("pflow0 flowdst 127.0.0.1:9 tap {link}");
    assert_eq!(
        refusal(&["-r", CAPTURE, "-e", &tap]),
        format!("pflow: pflow0: tap: {link}: {problem}")
    );
    // A keep file that is read is not followed, and the new one takes the link's place.
    let keep = format!("keep file {link}");
    let output = end(start(&["-r", CAPTURE, "-e", &keep]));
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(
        log.contains(&format!("keep file {link}: {}", problem.trim_end())),
        "{log}"
    );
    assert_eq!(fs::read_to_string(&victim).unwrap(), "secret");
    assert!(fs::symlink_metadata(&link).unwrap().is_file());
}
