//! The parent against a child that is played: another process that stands for it, and its end of
//! the link in the hands of the test.

use std::fs::File;
use std::io;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::allowed::*;
use super::answers::*;
use super::files::{MAX_DIRECTORIES, files_words};
use super::*;
use crate::config::{Config, apply_text};
use crate::io::link::{ANSWER_TIMEOUT, Link, Pulled};
use crate::io::log::Log;
use crate::io::signals::{Raiser, Waiter};
use crate::run::live_config;

#[test]
fn the_parent_opens_what_its_own_configuration_names_and_nothing_else() {
    let mut config = Config::default();
    let text = "pflow0 flowsrc 10.0.0.1:500 flowdst 10.0.0.2:9995 tap /var/tmp/a\n\
                pflow1 flowsrc [::1]:7 flowdst [::1]:9995\n";
    apply_text(&mut config, "test", text).unwrap();
    assert_eq!(check_tap(&config, "/var/tmp/a"), Ok(()));
    assert!(check_solicit(&config, "em0").is_err());
    config.solicit.interface = Some("em0".to_owned());
    assert_eq!(check_solicit(&config, "em0"), Ok(()));
    for name in ["em1", "em0 ", ""] {
        assert!(check_solicit(&config, name).is_err(), "{name:?}");
    }
    for name in [
        "/etc/passwd",
        "/var/tmp/a/",
        "/var/tmp/../tmp/a",
        "",
        "/var/tmp/a\n",
    ] {
        assert!(check_tap(&config, name).is_err(), "{name:?}");
    }
    for address in ["10.0.0.1:500", "[::1]:7", "10.0.0.2:1024", "[::1]:0"] {
        assert!(check_source(&config, address).is_ok(), "{address}");
    }
    for address in [
        "10.0.0.1:501",
        "10.0.0.2:500",
        "0.0.0.0:500",
        "[::1]:8",
        "x",
    ] {
        assert!(check_source(&config, address).is_err(), "{address}");
    }
}

#[test]
fn the_parent_connects_to_collectors_of_its_own_configuration_by_their_rdomain_only() {
    let rdomain = if cfg!(target_os = "linux") {
        "blue"
    } else {
        "3"
    };
    let mut config = Config::default();
    let text = format!(
        "pflow0 flowdst 10.0.0.2:4739 backup [::1]:4740 pflowproto 10 transport tcp\n\
         pflow1 flowdst 10.0.0.3:4739 pflowproto 10 transport tcp rdomain {rdomain}\n\
         pflow2 flowdst 10.0.0.4:4739\n"
    );
    apply_text(&mut config, "test", &text).unwrap();
    let check = |to, rdomain| check_collector(&config, Some("tcp"), Some(to), rdomain).map(|_| ());
    assert_eq!(check("10.0.0.2:4739", None), Ok(()));
    assert_eq!(check("[::1]:4740", None), Ok(()));
    assert_eq!(check("10.0.0.3:4739", Some(rdomain)), Ok(()));
    for to in ["10.0.0.2:4740", "10.0.0.4:4739", "10.0.0.9:4739", "x", ""] {
        assert!(check(to, None).is_err(), "{to}");
    }
    for (to, rdomain) in [
        ("10.0.0.2:4739", Some(rdomain)),
        ("10.0.0.3:4739", None),
        ("10.0.0.3:4739", Some("green")),
    ] {
        let problem = check(to, rdomain).unwrap_err();
        assert!(problem.contains("rdomain"), "{problem}");
    }
    for carrier in ["udp", "tls", "sctp", ""] {
        let other = check_collector(&config, Some(carrier), Some("10.0.0.2:4739"), None);
        assert!(other.is_err(), "{carrier}");
    }
    assert!(check_rdomain(&config, Some(rdomain)).is_ok_and(|named| named.is_some()));
    assert!(check_rdomain(&config, Some("green")).is_err());
    // A source below 1024 must be named, too.
    for from in ["10.0.0.1:500", "x", ""] {
        assert!(
            connect(&config, &format!("tcp 10.0.0.2:4739 {from}")).is_err(),
            "{from}"
        );
    }
}

#[test]
fn the_parent_reads_certificates_and_keys_of_its_own_configuration_only() {
    let mut config = Config::default();
    let text = "pflow0 flowdst 10.0.0.2:4740 pflowproto 10 transport tls ca /a cert /b key /c\n\
                pflow1 flowdst 10.0.0.2:4739 tap /d\n";
    apply_text(&mut config, "test", text).unwrap();
    for file in ["/a", "/b", "/c"] {
        assert_eq!(check_pem(&config, file), Ok(()), "{file}");
    }
    for file in ["/d", "/etc/passwd", ""] {
        let problem = check_pem(&config, file).unwrap_err();
        assert!(problem.starts_with("only files"), "{file}");
    }
}

#[test]
fn the_parent_makes_files_by_its_own_pattern_and_the_child_names_none() {
    let directory = std::env::temp_dir().join(format!("pflow-parent-{}", std::process::id()));
    std::fs::create_dir(&directory).unwrap();
    let pattern = directory.join("f.%s").display().to_string();
    let mut config = Config::default();
    let text = format!("pflow0 pflowproto 10 file {pattern} retain 3\npflow1 pflowproto 10\n");
    apply_text(&mut config, "test", &text).unwrap();
    let mut directories = Directories::default();
    let mut ask = |request: &str| directories.handle(&config, request);
    let own = files_words(&config.interfaces[&0]);
    for (unit, words) in [
        (0, own.replace("f.%s", "g.%s")),
        (0, own.replace("retain 3", "retain 1")),
        (0, own.replace(" retain 3", "")),
        (0, format!("{own} compress gzip")),
        (1, own.clone()),
        (1, files_words(&config.interfaces[&1])),
        (2, own.clone()),
    ] {
        let refused = ask(&format!("open {unit} {words}")).err();
        assert!(refused.unwrap().starts_with("only files"), "{unit} {words}");
    }
    let Ok(Opened::Text(number)) = ask(&format!("open 0 {own}")) else {
        panic!("refused");
    };
    for request in [
        format!("new {number} /etc/passwd"),
        format!("new {number}"),
        "new 9 60".to_owned(),
        "left 9".to_owned(),
        format!("done {number}"),
        format!("rename {number} x"),
        "new".to_owned(),
    ] {
        assert!(ask(&request).is_err(), "{request}");
    }
    let Ok(Opened::Both(name, file)) = ask(&format!("new {number} 60")) else {
        panic!("refused");
    };
    assert_eq!(name, directory.join("f.60.current").display().to_string());
    assert!(ask(&format!("new {number} 120")).is_err(), "one at a time");
    io::Write::write_all(&mut File::from(file), b"flows").unwrap();
    assert!(matches!(ask(&format!("done {number}")), Ok(Opened::Text(removed)) if removed == "0"));
    assert!(ask(&format!("close {number}")).is_ok());
    assert!(ask(&format!("new {number} 60")).is_err(), "it is closed");
    assert_eq!(std::fs::read(directory.join("f.60")).unwrap(), b"flows");
    for _ in 0..MAX_DIRECTORIES {
        assert!(ask(&format!("open 0 {own}")).is_ok());
    }
    assert!(ask(&format!("open 0 {own}")).is_err(), "a bound");
    std::fs::remove_dir_all(&directory).unwrap();
}

/// What stands for the child: it says which signals it gets, and ends by SIGTERM with status 7.
const CHILD: &str = "trap 'echo HUP' HUP; trap 'echo USR1' USR1; trap 'echo TERM; exit 7' TERM
    echo begun; while :; do sleep 0.01; done";
/// What ends by the first signal that comes.
const NEW: &str = "echo begun; exec sleep 1000";

/// Where the parent's log goes.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A parent that runs, and what is played to it.
struct Play {
    link: Link,
    raiser: Raiser,
    said: Lined,
    process: std::process::Child,
    log: Lines,
    parent: Option<std::thread::JoinHandle<ExitCode>>,
}

type Lined = io::Lines<io::BufReader<std::process::ChildStdout>>;

impl Play {
    fn start(script: &str, command_line: &[&str], limits: Limits) -> Self {
        let mut process = std::process::Command::new("sh")
            .args(["-c", script])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let child = Pid::from_raw(i32::try_from(process.id()).unwrap());
        let said = io::BufReader::new(process.stdout.take().unwrap());
        let (ours, link) = Link::pair().unwrap();
        let (waiter, raiser) = Waiter::played(&[libc::SIGHUP, libc::SIGUSR1, libc::SIGTERM]);
        let log = Lines::default();
        let words: Vec<_> = command_line.iter().map(|word| (*word).to_owned()).collect();
        let lines = log.clone();
        let parent = std::thread::spawn(move || {
            let options = match crate::options::parse(&words) {
                Ok(crate::options::Action::Run(options)) => *options,
                other => panic!("{other:?}"),
            };
            let config = live_config(&options).unwrap();
            let guardian = Guardian {
                options: &options,
                keep: None,
                captures: Captures::new(&config, None),
                directories: Directories::default(),
                config,
                link: ours,
                life: None,
                child,
                log: Log::written_to(lines),
                background: None,
                limits,
            };
            guardian.serve(waiter)
        });
        let mut play = Self {
            link,
            raiser,
            said: io::BufRead::lines(said),
            process,
            log,
            parent: Some(parent),
        };
        assert_eq!(play.said(), "begun");
        play
    }

    fn ready(script: &str) -> Self {
        let mut play = Self::start(script, &["-i", "em0"], Limits::default());
        play.link.tell(READY.as_bytes(), ANSWER_TIMEOUT).unwrap();
        play
    }

    /// The next line that the child says.
    fn said(&mut self) -> String {
        self.said.next().expect("it has ended").unwrap()
    }

    fn signal(&mut self, signal: i32) {
        self.raiser.raise(signal);
    }

    fn answers_signals(&mut self) {
        for (signal, name) in [(libc::SIGHUP, "HUP"), (libc::SIGUSR1, "USR1")] {
            self.signal(signal);
            assert_eq!(self.said(), name);
        }
    }

    /// Status and log of the parent, which ends.
    fn end(&mut self) -> (ExitCode, String) {
        let code = self.parent.take().unwrap().join().unwrap();
        let text = String::from_utf8(self.log.0.lock().unwrap().clone()).unwrap();
        (code, text)
    }

    /// SIGTERM, which ends the child, which closes its end of the link.
    fn stop(mut self) {
        self.signal(libc::SIGTERM);
        assert_eq!(self.said(), "TERM");
        let (_, other) = Link::pair().unwrap();
        self.link = other;
        assert_eq!(self.end(), (ExitCode::from(7), String::new()));
    }
}

impl Drop for Play {
    fn drop(&mut self) {
        // If the parent has waited for it, there is no such process any more.
        if self.parent.is_some() {
            let _ = self.process.kill();
        }
    }
}

#[test]
fn octets_that_are_no_message_end_both_processes_with_a_line() {
    let mut play = Play::ready(CHILD);
    play.link.write_raw(&[0xff; 12]).unwrap();
    assert_eq!(play.said(), "TERM");
    let (code, text) = play.end();
    assert_eq!(code, ExitCode::FAILURE);
    let line = "link to the child process: a message of 4294967295 octets came";
    assert!(text.contains(line) && text.lines().count() == 1, "{text}");
}

#[test]
fn a_request_that_nobody_knows_is_refused_and_nothing_ends() {
    let mut play = Play::ready(CHILD);
    for request in ["", "taps", "\u{fffd}", "capture ", "bind x"] {
        let answer = play
            .link
            .ask(5, request.as_bytes(), ANSWER_TIMEOUT)
            .unwrap();
        assert_eq!(answer.octets[0], REFUSED, "{request:?}");
    }
    play.stop();
}

#[test]
fn half_a_message_keeps_the_parent_from_nothing() {
    let mut play = Play::ready(CHILD);
    play.link.write_raw(&[0, 0, 0, 6, 0, 0]).unwrap();
    play.answers_signals();
    play.link.write_raw(&[0, 9]).unwrap();
    play.link.write_raw(CONFIG.as_bytes()).unwrap();
    // The answer to it comes before that to the next.
    let answer = play.link.ask(9, CONFIG.as_bytes(), ANSWER_TIMEOUT).unwrap();
    assert_eq!(answer.octets[0], DONE);
    play.link.write_raw(&[0, 0]).unwrap();
    play.stop();
}

#[test]
fn a_child_that_asks_and_does_not_read_waits_for_itself() {
    let mut play = Play::ready(CHILD);
    // More than the sockets hold, both ways.
    let mut asked = 0;
    let mut turns = 0;
    while turns < 20 {
        play.link.put(asked, CONFIG.as_bytes(), None).unwrap();
        asked += 1;
        assert!(asked < 100_000, "the parent reads without an end");
        while !play.link.push().unwrap() && turns < 20 {
            turns += 1;
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    play.answers_signals();
    let mut answered = 0;
    while answered < asked {
        play.link.push().unwrap();
        match play.link.pull().unwrap() {
            Pulled::Message(message) => {
                assert_eq!((message.number, message.octets[0]), (answered, DONE));
                answered += 1;
            }
            Pulled::Nothing => std::thread::sleep(Duration::from_millis(1)),
            Pulled::Ended => panic!("ended after {answered} of {asked}"),
        }
    }
    play.stop();
}

#[test]
fn a_child_that_stands_still_is_killed_when_it_was_told_to_end() {
    let limits = Limits {
        told: Duration::from_millis(300),
        ..Limits::default()
    };
    let mut play = Play::start(CHILD, &["-i", "em0"], limits);
    let child = Pid::from_raw(i32::try_from(play.process.id()).unwrap());
    kill(child, Signal::SIGSTOP).unwrap();
    play.signal(libc::SIGTERM);
    let (code, text) = play.end();
    assert_eq!(code, ExitCode::FAILURE);
    assert!(text.contains("did not within 0 s: it is killed"), "{text}");
    assert!(kill(child, None).is_err(), "it is there still");
}

#[test]
fn a_child_that_closes_its_link_and_goes_on_is_told_to_end() {
    let limits = Limits {
        closed: Duration::from_millis(50),
        ..Limits::default()
    };
    let mut play = Play::start(CHILD, &["-i", "em0"], limits);
    let (_, other) = Link::pair().unwrap();
    play.link = other;
    assert_eq!(play.said(), "TERM");
    let (code, text) = play.end();
    assert_eq!(code, ExitCode::from(7));
    assert!(text.contains("closed its link and did not end"), "{text}");
}

#[test]
fn signals_wait_for_a_child_that_does_not_know_them_yet_but_for_those_that_end_it() {
    let mut play = Play::start(CHILD, &["-i", "em0"], Limits::default());
    for _ in 0..3 {
        play.signal(libc::SIGHUP);
    }
    // It has been looked at: an answer comes after it.
    play.link.ask(1, CONFIG.as_bytes(), ANSWER_TIMEOUT).unwrap();
    play.signal(libc::SIGUSR1);
    play.link.ask(2, CONFIG.as_bytes(), ANSWER_TIMEOUT).unwrap();
    play.link.tell(READY.as_bytes(), ANSWER_TIMEOUT).unwrap();
    let mut said = [play.said(), play.said()];
    said.sort();
    assert_eq!(said, ["HUP", "USR1"]);
    play.stop();

    let mut play = Play::start(NEW, &["-i", "em0"], Limits::default());
    play.signal(libc::SIGTERM);
    let (_, other) = Link::pair().unwrap();
    play.link = other;
    assert_eq!(play.end(), (ExitCode::SUCCESS, String::new()));
}

#[test]
fn a_child_that_was_killed_shows_in_status_and_log() {
    let mut play = Play::ready(NEW);
    let child = Pid::from_raw(i32::try_from(play.process.id()).unwrap());
    kill(child, Signal::SIGSEGV).unwrap();
    let (_, other) = Link::pair().unwrap();
    play.link = other;
    let (code, text) = play.end();
    assert_eq!(code, ExitCode::FAILURE);
    assert_eq!(text, "pflow: ended by signal 11\n");
}

#[test]
fn a_fifo_in_the_place_of_the_configuration_keeps_nobody_waiting() {
    let name = std::env::temp_dir().join(format!("pflow-conf-fifo-{}", std::process::id()));
    // A run that was killed may have left one, which nobody reads.
    let _ = std::fs::remove_file(&name);
    std::fs::write(&name, "interface em0\n").unwrap();
    let path = name.to_str().unwrap();
    let mut play = Play::start(CHILD, &["-f", path], Limits::default());
    play.link.tell(READY.as_bytes(), ANSWER_TIMEOUT).unwrap();
    let answer = play.link.ask(1, CONFIG.as_bytes(), ANSWER_TIMEOUT).unwrap();
    assert_eq!(answer.octets[0], DONE);
    std::fs::remove_file(&name).unwrap();
    let made = std::process::Command::new("mkfifo").arg(&name).status();
    assert!(made.unwrap().success());
    let answer = play.link.ask(2, CONFIG.as_bytes(), ANSWER_TIMEOUT).unwrap();
    assert_eq!(answer.octets[0], REFUSED);
    let text = String::from_utf8_lossy(&answer.octets[1..]).into_owned();
    assert_eq!(text, format!("{path}: not a regular file"));
    play.answers_signals();
    play.stop();
    std::fs::remove_file(&name).unwrap();
}

#[test]
fn a_capture_has_one_reader() {
    let mut captures = Captures::new(&Config::default(), None);
    assert!(captures.is_free("em0"));
    let mut process = std::process::Command::new("sleep");
    let process = process
        .arg("1000")
        .stdout(std::process::Stdio::null())
        .spawn();
    let reader = Pid::from_raw(i32::try_from(process.unwrap().id()).unwrap());
    captures.readers.insert("em0".to_owned(), reader);
    assert!(captures.is_free("em1"), "another capture");
    assert!(!captures.is_free("em0"), "its reader runs");
    let mut looks = 0;
    while !captures.is_free("em0") {
        looks += 1;
        assert!(looks < 1000, "it is not killed");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(captures.readers.is_empty());
}
