//! Interfaces that write files in place of sending. Their directories are opened before a
//! configuration is in force. This module also counts what becomes of their messages.
//!
//! ```text
//! messages --> FlowFiles, a thread each --> files
//!                   \--> counters, status, lines for the log
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use super::Outside;
use super::parent::Parent;
use crate::config::Config;
use crate::engine::Engine;
use crate::export::{Amount, Settings, Templates, Transmit, Way};
use crate::io::flow_files::{Directory, FlowFiles, Place, Plan};
use crate::io::transport::WhenFull;

/// How long the end of a live capture waits for what files have not taken yet.
const LAST: Duration = Duration::from_secs(5);

/// All of them.
pub(super) struct UnitFiles {
    when_full: WhenFull,
    ways: BTreeMap<u32, FileWay>,
    /// Files that are not wanted any more and still write what they have. Each has the number of
    /// its interface, if that is still there.
    closed: Vec<(Option<u32>, FlowFiles)>,
    /// Records that could not be written.
    lost: u64,
}

/// The files of an interface.
struct FileWay {
    opened_for: OpenedFor,
    files: FlowFiles,
}

/// What files are opened for.
#[derive(Clone, Debug, Eq, PartialEq)]
struct OpenedFor(Settings);

/// Files opened for a configuration that is not in force yet: nothing is written.
pub(super) struct OpenedFiles(BTreeMap<u32, FileWay>);

impl OpenedFor {
    /// The part of `settings` that decides about files. `None`: the interface writes none.
    fn new(settings: &Settings) -> Option<Self> {
        let Way::Files(pattern) = settings.way()? else {
            return None;
        };
        Some(Self(Settings {
            file: Some(pattern.to_owned()),
            rotate: settings.rotate,
            compression: settings.compression,
            retain: settings.retain,
            ..Settings::default()
        }))
    }
}

impl UnitFiles {
    pub(super) fn new(when_full: WhenFull) -> Self {
        Self {
            when_full,
            ways: BTreeMap::new(),
            closed: Vec::new(),
            lost: 0,
        }
    }

    /// Whether interface `unit` writes files.
    #[inline]
    pub(super) fn has(&self, unit: u32) -> bool {
        self.ways.contains_key(&unit)
    }

    /// Opens the directories that `config` names and that are not written to.
    pub(super) fn prepare(
        &self,
        config: &Config,
        parent: Option<&Parent>,
    ) -> Result<OpenedFiles, String> {
        let mut opened = BTreeMap::new();
        for (unit, settings) in &config.interfaces {
            let Some(opened_for) = OpenedFor::new(settings) else {
                continue;
            };
            let is_same = |way: &FileWay| way.opened_for == opened_for;
            if self.ways.get(unit).is_some_and(is_same) {
                continue;
            }
            let pattern = settings.file.as_deref().unwrap_or_default();
            let problem = |problem: String| format!("pflow{unit}: file: {pattern}: {problem}");
            let place: Box<dyn Place> = match parent {
                Some(parent) => Box::new(parent.open_files(*unit, settings).map_err(problem)?),
                None => {
                    let directory = Directory::open(settings);
                    Box::new(directory.map_err(|error| problem(error.to_string()))?)
                }
            };
            let plan = Plan::new(settings, self.when_full);
            let files = FlowFiles::start(place, plan);
            let files = files.map_err(|error| problem(error.to_string()))?;
            opened.insert(*unit, FileWay { opened_for, files });
        }
        Ok(OpenedFiles(opened))
    }

    /// Takes what [`Self::prepare`] opened into use and closes what is not needed any more.
    pub(super) fn commit(&mut self, config: &Config, mut opened: OpenedFiles) {
        for (unit, way) in std::mem::take(&mut self.ways) {
            let settings = config.interfaces.get(&unit);
            let opened_for = settings.and_then(OpenedFor::new);
            if opened_for.as_ref() == Some(&way.opened_for) {
                self.ways.insert(unit, way);
                continue;
            }
            way.files.close();
            // A replay waits here, so that its bytes do not depend on which thread is faster.
            if self.when_full == WhenFull::Wait {
                way.files.wait(None);
            }
            self.closed.push((settings.map(|_| unit), way.files));
        }
        for (unit, _) in &mut self.closed {
            unit.take_if(|unit| !config.interfaces.contains_key(unit));
        }
        for way in opened.0.values() {
            way.files.begin();
        }
        self.ways.append(&mut opened.0);
    }

    /// Whether there are records that could not be written.
    pub(super) fn has_lost(&self) -> bool {
        self.lost > 0
    }
}

impl Outside {
    /// Has what interfaces made that write files written.
    pub(super) fn write_files(&mut self, transmit: &Transmit, engine: &mut Engine) {
        let Self { files, .. } = self;
        for (unit, way) in &files.ways {
            let mut interfaces = engine.interfaces().iter();
            let Some(interface) = interfaces.find(|interface| interface.unit() == *unit) else {
                continue;
            };
            let templates = Templates::from(interface.settings());
            let (records, lost) = way.files.push(transmit.messages_of(*unit), templates);
            engine.handle_queued(*unit, records);
            engine.handle_lost(*unit, lost);
            files.lost += lost.records;
        }
    }

    /// Notes what became of messages and files, and tells the log.
    pub(super) fn note_files(&mut self, engine: &mut Engine) {
        let Self { files, .. } = self;
        let mut lines = Vec::new();
        // Closed files come first, because their interface may have others by now.
        files.closed.retain(|(unit, of)| {
            let is_ended = of.is_ended();
            lines.extend(note(*unit, of, &mut files.lost, engine));
            !is_ended
        });
        for (unit, way) in &files.ways {
            lines.extend(note(Some(*unit), &way.files, &mut files.lost, engine));
        }
        for line in lines {
            self.complain(&line);
        }
    }

    /// Waits until the files have taken what waits for them, and counts what they did not take. A
    /// replay waits however long that takes.
    pub(super) fn finish_files(&mut self, engine: &mut Engine) {
        let end = self.clock.now().uptime.after(LAST);
        let ways = std::mem::take(&mut self.files.ways).into_iter();
        let ways = ways.map(|(unit, way)| (Some(unit), way.files));
        self.files.closed.extend(ways);
        self.files.closed.iter().for_each(|(_, of)| of.close());
        let is_live = self.files.when_full == WhenFull::Drop;
        let mut rest = Vec::new();
        for (unit, of) in &self.files.closed {
            let left = end.since(self.clock.now().uptime);
            rest.push((*unit, of.wait(is_live.then_some(left))));
        }
        self.note_files(engine);
        for (unit, lost) in rest {
            self.files.lost += lost.records;
            match unit {
                Some(unit) => engine.handle_lost(unit, lost),
                None => engine.handle_left(Amount::default(), lost),
            }
        }
        if self.files.lost > 0 {
            let line = format!("files: {} records not written", self.files.lost);
            self.log.warn(&line);
        }
    }
}

/// Notes what happened to the files of one interface, or of one that is gone. Returns lines for the
/// log.
fn note(unit: Option<u32>, of: &FlowFiles, lost: &mut u64, engine: &mut Engine) -> Vec<String> {
    let Some(news) = of.news() else {
        return Vec::new();
    };
    *lost += news.lost.records;
    let Some(unit) = unit else {
        engine.handle_left(news.taken, news.lost);
        return news.lines;
    };
    engine.handle_taken(unit, news.taken);
    engine.handle_lost(unit, news.lost);
    engine.handle_files(unit, news.files, news.removed, news.state);
    let lines = news.lines.into_iter();
    lines
        .map(|line| format!("pflow{unit}: file: {line}"))
        .collect()
}
