//! Other programs that export flows, given packets that make as many flows with two records each as
//! a capture has states: softflowd and nfpcapd, as Debian has them. Whoever loses records is no
//! rival, so that they are counted.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use pflow::io::children_cpu;

/// What a rival took at least in five runs, or why it cannot be told.
pub(crate) type Outcome = Result<Duration, String>;

/// softflowd, exporting by `protocol`: 5, 9, or 10, which is IPFIX.
pub(crate) fn softflowd(packets: &str, flows: u64, protocol: &str, to: SocketAddr) -> Outcome {
    let to = to.to_string();
    // In the foreground, with no control socket.
    let arguments = ["-d", "-c", "none", "-v", protocol, "-n", &to, "-r", packets];
    best(|| {
        let (spent, output) = run("softflowd", &arguments)?;
        // "Flows exported: 200000 (400000 records) in 12710 packets (0 failures)"
        check(number_before(&output, " records)"), flows)?;
        Ok(spent)
    })
}

/// nfpcapd, which writes nfdump's files into `directory`.
pub(crate) fn nfpcapd(packets: &str, flows: u64, directory: &str) -> Outcome {
    best(|| {
        if Path::new(directory).exists() {
            std::fs::remove_dir_all(directory).map_err(|error| error.to_string())?;
        }
        std::fs::create_dir(directory).map_err(|error| error.to_string())?;
        let (spent, _) = run("nfpcapd", &["-r", packets, "-w", directory])?;
        let (_, output) = run("nfdump", &["-R", directory, "-I"])?;
        let found = output.lines().find_map(|line| line.strip_prefix("Flows: "));
        check(found.and_then(|number| number.trim().parse().ok()), flows)?;
        Ok(spent)
    })
}

fn best(once: impl Fn() -> Outcome) -> Outcome {
    let mut least = once()?;
    for _ in 1..5 {
        least = least.min(once()?);
    }
    Ok(least)
}

/// Processor time of one run, and what was printed.
fn run(program: &str, arguments: &[&str]) -> Result<(Duration, String), String> {
    let before = children_cpu();
    let output = output(program, arguments)
        .or_else(|_| output(&format!("/usr/sbin/{program}"), arguments))
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => format!("{program} is not installed"),
            _ => format!("{program}: {error}"),
        })?;
    let spent = children_cpu() - before;
    if !output.status.success() {
        return Err(format!("{program}: {}", output.status));
    }
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    Ok((spent, text))
}

fn output(program: &str, arguments: &[&str]) -> io::Result<Output> {
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
}

/// The number that stands before `what` in `text`.
fn number_before(text: &str, what: &str) -> Option<u64> {
    let (before, _) = text.split_once(what)?;
    before
        .rsplit(|c: char| !c.is_ascii_digit())
        .next()?
        .parse()
        .ok()
}

/// Two records a flow, or the rival is none.
fn check(records: Option<u64>, flows: u64) -> Result<(), String> {
    match records {
        Some(records) if records == 2 * flows => Ok(()),
        Some(records) => Err(format!("made {records} records of {}", 2 * flows)),
        None => Err("did not say how many records it made".to_owned()),
    }
}
