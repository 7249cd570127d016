//! The keep file carries the table over a restart. It is read at the start, and written every
//! interval and at the end.
//!
//! A turn of the export loop makes one bounded step of a file. If the disk is slow, the next step
//! waits, but the loop does not. If a file is not finished when the next is due, the next is left
//! out.

use std::time::Duration;

use super::Outside;
use super::parent::Parent;
use crate::config::Config;
use crate::engine::Engine;
use crate::io::keep::{self, Files, KeepFile, PIECE, Place};
use crate::io::log::{Limiter, Log};
use crate::table::KeepCursor;
use crate::time::{Now, Uptime};
use crate::wire::keep::{self as wire, Header};

/// An older file is not read, because its connections say nothing about the present.
const MAX_AGE: Duration = Duration::from_secs(3600);
/// How far in the future a file may have been written, because clocks are set back.
const MAX_AHEAD: Duration = Duration::from_secs(60);
/// How long to wait for a disk that is busy.
const BREATH: Duration = Duration::from_millis(10);

/// A file that is being made.
#[derive(Default)]
struct Making {
    cursor: KeepCursor,
    /// Octets that the writer does not have yet.
    piece: Vec<u8>,
    /// Whether the last record is in the piece.
    is_last: bool,
    /// Whether the writer has all of the file.
    is_given: bool,
}

/// Keeps the table.
#[derive(Default)]
pub(super) struct Keeper {
    file: Option<KeepFile>,
    making: Option<Making>,
    due: Uptime,
    interval: Duration,
}

impl Keeper {
    /// Opens what is not open yet, by the parent if there is one.
    pub(super) fn prepare(
        &self,
        config: &Config,
        parent: Option<&Parent>,
    ) -> Result<Option<KeepFile>, String> {
        let (None, Some(path)) = (&self.file, &config.keep.file) else {
            return Ok(None);
        };
        let file = KeepFile::open(place(path, parent));
        file.map(Some)
            .map_err(|error| format!("keep file {path}: {error}"))
    }

    /// Takes into use what [`Self::prepare`] opened.
    pub(super) fn commit(&mut self, config: &Config, opened: Option<KeepFile>) {
        if opened.is_some() {
            self.file = opened;
        }
        let interval = Duration::from_secs(config.keep.interval.into());
        if self.making.is_none() && interval < self.interval {
            // The new interval counts from the start of the old one.
            let begun = self.due.nanos().saturating_sub(nanos(self.interval));
            self.due = Uptime::from_nanos(begun).after(interval);
        }
        self.interval = interval;
    }

    /// Whether there is a file to keep.
    pub(super) fn is_on(&self) -> bool {
        self.file.is_some()
    }

    /// How long the loop may wait for other things.
    pub(super) fn wait(&self, now: Uptime) -> Option<Duration> {
        self.file.as_ref()?;
        Some(match &self.making {
            Some(making) if making.is_given => BREATH,
            Some(making) if making.piece.len() >= PIECE || making.is_last => BREATH,
            Some(_) => Duration::ZERO,
            None => self.due.since(now),
        })
    }

    /// Reads the file. If something is wrong with it, the log tells, and pflow begins without it.
    pub(super) fn restore(
        &mut self,
        engine: &mut Engine,
        now: Now,
        parent: Option<&Parent>,
        log: &mut Log,
    ) {
        let Some(file) = &self.file else { return };
        self.due = now.uptime.after(self.interval);
        let name = file.name();
        match restore(engine, now, &*place(name, parent)) {
            Ok(Some(line)) => log.info(&line),
            Ok(None) => log.info(&format!("keep file {name}: none yet, a fresh start")),
            Err(problem) => log.warn(&format!("keep file {name}: {problem}; a fresh start")),
        }
    }

    /// Notes how files ended.
    fn collect(&mut self, engine: &mut Engine, now: Uptime, limiter: &mut Limiter, log: &mut Log) {
        let Some(file) = &self.file else { return };
        while let Some(outcome) = file.outcome() {
            self.making = None;
            note(engine, &outcome);
            if let Err(problem) = outcome {
                let line = format!("keep file {}: {problem}; the old one stays", file.name());
                if let Some(line) = limiter.admit(now, &line) {
                    log.warn(&line);
                }
            }
        }
    }

    /// Begins a file if one is due.
    fn begin(&mut self, engine: &mut Engine, now: Uptime) {
        let Some(file) = &self.file else { return };
        if now < self.due {
            return;
        }
        self.due = now.after(self.interval);
        if self.making.is_none() && file.begin() {
            self.making = Some(Making::default());
        } else {
            engine.keep_counters_mut().skipped += 1;
        }
    }
}

/// Where the file called `path` is.
fn place(path: &str, parent: Option<&Parent>) -> Box<dyn Place> {
    match parent {
        Some(parent) => Box::new(parent.keep_place(path)),
        None => Box::new(Files::new(path)),
    }
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

fn note(engine: &mut Engine, outcome: &keep::Outcome) {
    engine.handle_kept(match outcome {
        Ok(octets) => Ok(*octets),
        Err(problem) => Err(problem.to_string()),
    });
}

/// Reads the file back; what to log of it.
fn restore(engine: &mut Engine, now: Now, place: &dyn Place) -> Result<Option<String>, String> {
    let name = place.name();
    let Some(mut file) = place.read().map_err(|error| error.to_string())? else {
        return Ok(None);
    };
    let octets = keep::read(&mut file).map_err(|error| error.to_string())?;
    let (header, records) = wire::parse(&octets).map_err(|error| error.to_string())?;
    let age = now.wall.since(header.written);
    if age > MAX_AGE {
        return Err(format!("{} s old, more than an hour", age.as_secs()));
    }
    let ahead = header.written.since(now.wall);
    if ahead > MAX_AHEAD {
        return Err(format!("written {} s in the future", ahead.as_secs()));
    }
    if header.is_clean {
        // The header is marked as used, because a later crash would leave this file out of date.
        let used = Header {
            is_clean: false,
            ..header
        };
        keep::put_header(&file, &used).map_err(|error| error.to_string())?;
    }
    engine.restore(now, header.is_clean, records);
    let stop = match header.is_clean {
        true => "a stop in good order",
        false => "a crash: states not heard of again are dropped",
    };
    let (states, secs) = (engine.table().len(), age.as_secs());
    Ok(Some(format!(
        "keep file {name}: {states} states of {secs} s ago, after {stop}"
    )))
}

impl Outside {
    /// Makes a step of a file, if one is due or begun.
    pub(super) fn keep(&mut self, engine: &mut Engine, now: Now) {
        self.keeper
            .collect(engine, now.uptime, &mut self.limiter, &mut self.log);
        self.keeper.begin(engine, now.uptime);
        if self.keep_step(engine, now) {
            // The interfaces' records go out before the file says that they did.
            self.send(engine);
        }
        let Keeper { file, making, .. } = &mut self.keeper;
        let (Some(file), Some(making)) = (file, making) else {
            return;
        };
        let is_ready = making.piece.len() >= PIECE || making.is_last;
        if is_ready && !making.piece.is_empty() {
            match file.piece(std::mem::take(&mut making.piece)) {
                Ok(()) => {}
                Err(piece) => making.piece = piece,
            }
        }
        if making.is_last && making.piece.is_empty() && !making.is_given {
            making.is_given = file.end(false, now.wall);
        }
    }

    /// The next records; true if they are the last.
    fn keep_step(&mut self, engine: &mut Engine, now: Now) -> bool {
        let Some(making) = &mut self.keeper.making else {
            return false;
        };
        if making.is_last || making.piece.len() >= PIECE {
            return false;
        }
        making.is_last = engine.keep_step(now, &mut making.cursor, &mut making.piece);
        making.is_last
    }

    /// Makes a whole file if one is due. Only a replay does so, because its clock stands still
    /// meanwhile.
    pub(super) fn keep_whole(&mut self, engine: &mut Engine, now: Now) {
        if self.keeper.is_on() && now.uptime >= self.keeper.due {
            self.keeper.due = now.uptime.after(self.keeper.interval);
            self.keep_all(engine, now, false);
        }
    }

    /// Ends states at the end of the program. With a keep file it ends none, because they live on
    /// in the file; only the records that interfaces hold go out. Returns true if there is
    /// something to send and more to do.
    #[must_use]
    pub(super) fn finish_some(&mut self, engine: &mut Engine, now: Now) -> bool {
        if self.keeper.is_on() {
            self.finish_making();
            self.keeper
                .collect(engine, now.uptime, &mut self.limiter, &mut self.log);
            self.keep_all(engine, now, true);
            false
        } else {
            engine.finish_some(now)
        }
    }

    /// A half-made file is given up for the last one. A file that only has to be written is waited
    /// for.
    fn finish_making(&mut self) {
        let Keeper { file, making, .. } = &mut self.keeper;
        if let (Some(file), Some(making)) = (file, making.take())
            && making.is_given
        {
            // The outcome does not matter, because the next file replaces this one.
            let _ = file.wait();
        }
    }

    fn keep_all(&mut self, engine: &mut Engine, now: Now, is_clean: bool) {
        let mut cursor = KeepCursor::default();
        let mut piece = Vec::new();
        let Some(file) = &self.keeper.file else {
            return;
        };
        file.begin_now();
        while !engine.keep_step(now, &mut cursor, &mut piece) {
            if piece.len() >= PIECE {
                file.piece_now(std::mem::take(&mut piece));
            }
        }
        file.piece_now(piece);
        self.send(engine);
        let Some(file) = &self.keeper.file else {
            return;
        };
        file.end_now(is_clean, now.wall);
        let outcome = file.wait();
        note(engine, &outcome);
        if let Err(problem) = outcome {
            let line = format!("keep file {}: {problem}; the old one stays", file.name());
            self.log.warn(&line);
        }
    }
}
