//! The command line of a simulation.

use std::error::Error;

use crate::model::clock::Clock;
use crate::model::dialect::{DIALECTS, Dialect};
use crate::model::state::{Micros, SECOND};
use crate::model::world::{Incident, Settings};

/// What is around a packet in the file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Framing {
    Ethernet,
    Raw,
    /// What the first firewall's pfsync0 shows.
    Pfsync,
}

/// All of it.
pub(crate) struct Options {
    pub(crate) settings: Settings,
    pub(crate) framing: Framing,
    pub(crate) file: Option<String>,
    pub(crate) truth: Option<String>,
    pub(crate) interface: Option<String>,
    /// Times as fast as real time, on an interface.
    pub(crate) speed: f64,
}

/// A number after an option, or what it is without.
fn number<T: std::str::FromStr>(
    matches: &getopts::Matches,
    name: &str,
    default: T,
) -> Result<T, Box<dyn Error>> {
    match matches.opt_str(name) {
        None => Ok(default),
        Some(text) => {
            let parsed = text.parse();
            parsed.map_err(|_| format!("-{name}: not a number: {text}").into())
        }
    }
}

/// `seconds=what`.
fn incident(text: &str) -> Result<(Micros, Incident), Box<dyn Error>> {
    let (at, what) = text.split_once('=').ok_or("-e: not seconds=what")?;
    let at: f64 = at.parse().map_err(|_| format!("-e: not a time: {at}"))?;
    let what = match what {
        "failover" => Incident::Failover,
        "reboot" => Incident::Reboot,
        "clear" => Incident::Clear,
        "deaf" => Incident::Deaf(true),
        "hearing" => Incident::Deaf(false),
        _ => return Err(format!("-e: failover, reboot, clear, deaf or hearing: {what}").into()),
    };
    Ok(((at * SECOND as f64) as Micros, what))
}

/// `firewall=offset,ppm[,seconds:step...]`, in seconds.
fn clock(text: &str, clocks: &mut [Clock; 2]) -> Result<(), Box<dyn Error>> {
    let bad = || format!("-C: not firewall=offset,ppm[,seconds:step...]: {text}");
    let (firewall, rest) = text.split_once('=').ok_or_else(bad)?;
    let number: usize = firewall.parse().map_err(|_| bad())?;
    let clock = number.checked_sub(1).and_then(|at| clocks.get_mut(at));
    let clock = clock.ok_or_else(bad)?;
    let micros = |text: &str| -> Result<i64, String> {
        let seconds: f64 = text.parse().map_err(|_| bad())?;
        Ok((seconds * SECOND as f64) as i64)
    };
    let mut words = rest.split(',');
    clock.offset = micros(words.next().unwrap_or_default())?;
    let ppm = words.next().ok_or_else(bad)?;
    clock.ppm = ppm.parse().map_err(|_| bad())?;
    for step in words {
        let (at, by) = step.split_once(':').ok_or_else(bad)?;
        let at = u64::try_from(micros(at)?).map_err(|_| bad())?;
        clock.steps.push((at, micros(by)?));
    }
    Ok(())
}

fn table() -> getopts::Options {
    let mut table = getopts::Options::new();
    table.optopt(
        "c",
        "",
        "most seconds of a connection and of a time-out (no bound)",
        "seconds",
    );
    table.optmulti(
        "C",
        "",
        "clock of a firewall: seconds ahead, parts in a million too fast, steps",
        "firewall=offset,ppm[,seconds:step...]",
    );
    table.optopt("d", "", "dialect (obsd74)", "name");
    table.optmulti(
        "e",
        "",
        "failover, reboot, clear, deaf, hearing",
        "seconds=what",
    );
    table.optflag(
        "f",
        "",
        "every kind of translation, not source NAT and none alone",
    );
    table.optflag("h", "", "this");
    table.optopt("i", "", "send there, in real time", "interface");
    table.optopt("l", "", "ether, raw or pfsync", "framing");
    table.optopt("L", "", "share of pfsync packets lost (0)", "share");
    table.optopt("n", "", "states to make (20000)", "states");
    table.optopt("N", "", "firewalls, 1 or 2 (1)", "firewalls");
    table.optopt("P", "", "share of states marked pflow (1)", "share");
    table.optopt("g", "", "big downloads (2)", "downloads");
    table.optopt(
        "G",
        "",
        "octets of the smallest of them (4500000000)",
        "octets",
    );
    table.optflag(
        "q",
        "",
        "states are asked for 3 s after their last packets (not with -i)",
    );
    table.optopt("s", "", "seed (1)", "seed");
    table.optopt("T", "", "simulated seconds (1200)", "seconds");
    table.optopt("t", "", "write the truth there", "file");
    table.optopt("u", "", "UNIX time of the beginning", "seconds");
    table.optopt("w", "", "write packets there", "file");
    table.optopt(
        "x",
        "",
        "times real time, with -i (1): ages and silences are told in real seconds, time-outs are \
         the simulation's, so that what is silent ends early",
        "speed",
    );
    table
}

impl Options {
    /// None if only help was wanted.
    pub(crate) fn parse(words: &[&str]) -> Result<Option<Self>, Box<dyn Error>> {
        let table = table();
        let matches = table.parse(words)?;
        if matches.opt_present("h") || !matches.free.is_empty() {
            let names: Vec<&str> = DIALECTS.iter().map(|dialect| dialect.name).collect();
            let brief = "usage: pfsim [options], or pfsim collect|compare|connections|check ...";
            println!("{}\ndialects: {}", table.usage(brief), names.join(" "));
            return Ok(None);
        }
        let name = matches.opt_str("d").unwrap_or_else(|| "obsd74".to_owned());
        let dialect = Dialect::named(&name).ok_or_else(|| format!("-d: no dialect {name}"))?;
        let framing = framing(&matches)?;
        let speed = number(&matches, "x", 1.0)?;
        if !(speed > 0.0 && f64::is_finite(speed)) {
            return Err(format!("-x: not a speed: {speed}").into());
        }
        Ok(Some(Self {
            settings: settings(&matches, dialect, framing, speed)?,
            framing,
            file: matches.opt_str("w"),
            truth: matches.opt_str("t"),
            interface: matches.opt_str("i"),
            speed,
        }))
    }
}

fn framing(matches: &getopts::Matches) -> Result<Framing, Box<dyn Error>> {
    match matches.opt_str("l").as_deref() {
        None | Some("ether") => Ok(Framing::Ethernet),
        Some("raw") => Ok(Framing::Raw),
        Some("pfsync") => Ok(Framing::Pfsync),
        Some(other) => Err(format!("-l: ether, raw or pfsync: {other}").into()),
    }
}

/// What the simulation is told.
fn settings(
    matches: &getopts::Matches,
    dialect: Dialect,
    framing: Framing,
    speed: f64,
) -> Result<Settings, Box<dyn Error>> {
    let base = Settings::new(dialect);
    let texts = matches.opt_strs("e");
    let incidents: Result<Vec<_>, _> = texts.iter().map(|text| incident(text)).collect();
    let incidents = incidents?;
    let mut clocks = base.clocks.clone();
    for text in matches.opt_strs("C") {
        clock(&text, &mut clocks)?;
    }
    // Files are stamped by simulated time, at any speed.
    if matches.opt_present("i") {
        for clock in &mut clocks {
            clock.speed = speed;
        }
    }
    let settings = Settings {
        seed: number(matches, "s", base.seed)?,
        states: number(matches, "n", base.states)?,
        seconds: number(matches, "T", base.seconds)?,
        nodes: number(matches, "N", base.nodes)?,
        downloads: number(matches, "g", base.downloads)?,
        download_octets: number(matches, "G", base.download_octets)?,
        loss: number(matches, "L", base.loss)?,
        flagged: number(matches, "P", base.flagged)?,
        wall: number(matches, "u", base.wall)?,
        longest: match number(matches, "c", 0)? {
            0 => None,
            seconds => Some(seconds),
        },
        has_every_way: matches.opt_present("f"),
        is_asked: matches.opt_present("q"),
        is_pfsync0: framing == Framing::Pfsync,
        incidents,
        clocks,
        ..base
    };
    if !(1..=2).contains(&settings.nodes) {
        return Err("-N: 1 or 2".into());
    }
    Ok(settings)
}
