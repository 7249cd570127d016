//! An interface's flows in files, one after the other.
//!
//! ```text
//! export loop --push--> Stream, bounded --> thread --append--> NAME.current
//!             <--news--                             new period --> NAME, and the next NAME.current
//! ```
//! The thread has all to do with disks, so that the export loop never waits for one, unless it is a
//! replay that is to lose nothing. Each file is a session of its own (RFC 5655 7.2): templates
//! first, sequence from 0. A file has what was made in one period of the flows' clock; periods begin
//! at multiples of their length. A period without messages has no file.
//!
//! A clock that goes back by less than a period changes nothing: the file goes on, and so does its
//! export time, which never goes back. One that goes back further ends the file.
//!
//! What cannot be written waits and is tried again every second. Where too much waits the oldest
//! messages go, and the sequence has a gap.
//!
//! Left to others: names (`config/pattern.rs`), what a file looks like (`io/ipfix_file.rs`), and
//! the log.

mod directory;

use std::fs::File;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub use directory::Directory;

use super::clock::Clock;
use super::ipfix_file::{IpfixFile, cut_to_whole};
use super::transport::WhenFull;
use crate::config::Pattern;
use crate::export::{Amount, Compression, FileState, Outgoing, Settings, Stream, Templates};
use crate::time::{Uptime, Wall};

/// Most octets that wait to be written; more are dropped, or waited for.
const WAITING: usize = 8 << 20;
/// What is written at once, octets, but for the last message of it.
const BLOCK: usize = 1 << 18;
/// How long messages of a live capture wait for others to be compressed with.
const GATHER: Duration = Duration::from_secs(1);
/// How long after a failure it is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// How long after its end a period may still get messages.
const LATE: Duration = Duration::from_secs(2);
/// Longest wait for the end of a period: the clock may be set meanwhile.
const LOOK: Duration = Duration::from_secs(60);
/// Most files that are finished at the start because a program was killed.
const MAX_LEFT: usize = 1000;
/// Most lines for the log that wait.
const MAX_LINES: usize = 16;

/// Where files are made.
pub trait Place: Send {
    /// Makes the file that begins at so many seconds since the epoch: it, and what it is called
    /// while it is written.
    ///
    /// # Errors
    /// Why not.
    fn create(&mut self, begin: i64) -> io::Result<(File, String)>;

    /// A file that a program left unfinished that is gone; now it is the one that is written.
    ///
    /// # Errors
    /// Why none can be looked for.
    fn left(&mut self) -> io::Result<Option<(File, String)>>;

    /// Gives the file that is written its name, and removes what are too many; how many were.
    ///
    /// # Errors
    /// Why not.
    fn finish(&mut self) -> io::Result<u64>;
}

/// What decides about files.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Seconds that a file is for; `None`: all.
    pub rotate: Option<u32>,
    /// How they are compressed.
    pub compression: Compression,
    /// Whether the flows' clock is this host's, or all is to be written.
    pub when_full: WhenFull,
}

/// What happened since this was asked last.
#[derive(Debug, Default)]
pub struct News {
    /// What was written.
    pub taken: Amount,
    /// What was given up.
    pub lost: Amount,
    /// Files that are whole.
    pub files: u64,
    /// Files that were too many and are gone.
    pub removed: u64,
    /// Lines for the log.
    pub lines: Vec<String>,
    /// How it stands now.
    pub state: FileState,
}

/// Files, seen from the export loop.
pub struct FlowFiles {
    shared: Arc<Shared>,
    when_full: WhenFull,
}

struct Shared {
    state: Mutex<State>,
    /// The thread waits for it.
    work: Condvar,
    /// Who pushes, or waits for the end, waits for it.
    progress: Condvar,
}

struct State {
    stream: Stream,
    stage: Stage,
    /// Whether a configuration that has it was ever in force.
    is_begun: bool,
    /// Its state is always true.
    news: News,
    /// Whether the news are any.
    is_new: bool,
    /// Records lost since nothing can be written.
    lost: u64,
}

/// How far it is with the thread.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stage {
    /// The configuration is not in force yet.
    Prepared,
    Running,
    /// What waits is written, and then it ends.
    Closing,
    Ended,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A thread that panicked has ended the process.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FlowFiles {
    /// Starts the thread. It does nothing before [`Self::begin`].
    ///
    /// # Errors
    /// The system refuses it.
    pub fn start(place: Box<dyn Place>, plan: Plan) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                stream: Stream::new(WAITING),
                stage: Stage::Prepared,
                is_begun: false,
                news: News::default(),
                is_new: false,
                lost: 0,
            }),
            work: Condvar::new(),
            progress: Condvar::new(),
        });
        let writer = Writer::new(Arc::clone(&shared), place, plan);
        std::thread::Builder::new()
            .name("files".to_owned())
            .spawn(move || writer.run())?;
        Ok(Self {
            shared,
            when_full: plan.when_full,
        })
    }

    /// Lets it write.
    pub fn begin(&self) {
        self.shared.lock().is_begun = true;
        self.set_stage(Stage::Running);
    }

    fn set_stage(&self, stage: Stage) {
        let mut state = self.shared.lock();
        if state.stage != Stage::Ended {
            state.stage = stage;
        }
        drop(state);
        self.shared.work.notify_one();
    }

    /// Has messages of an interface that exports by `templates` written; the records that they have,
    /// and what had to go to make room.
    pub fn push<'a>(
        &self,
        messages: impl Iterator<Item = Outgoing<'a>>,
        templates: Templates,
    ) -> (u64, Amount) {
        let (mut records, mut lost) = (0, Amount::default());
        let mut state = self.shared.lock();
        for message in messages {
            while self.when_full == WhenFull::Wait
                && state.stream.octets() + message.octets.len() > WAITING
                && state.news.state.problem.is_none()
                && state.stage == Stage::Running
            {
                self.shared.work.notify_one();
                let waited = self.shared.progress.wait(state);
                state = waited.unwrap_or_else(PoisonError::into_inner);
            }
            records += u64::from(message.records);
            lost += state.stream.push(&message, templates);
        }
        state.lost += lost.records;
        drop(state);
        self.shared.work.notify_one();
        (records, lost)
    }

    /// What happened, if something did.
    pub fn news(&self) -> Option<News> {
        let mut state = self.shared.lock();
        if !std::mem::take(&mut state.is_new) {
            return None;
        }
        let next = News {
            state: state.news.state.clone(),
            ..News::default()
        };
        Some(std::mem::replace(&mut state.news, next))
    }

    /// Takes no more messages. What waits is written, or given up if it cannot be, and the file gets
    /// its name.
    pub fn close(&self) {
        self.set_stage(Stage::Closing);
    }

    /// Whether nothing is written any more.
    pub fn is_ended(&self) -> bool {
        self.shared.lock().stage == Stage::Ended
    }

    /// Waits until nothing is written any more, at most `limit`; what is lost because that was too
    /// short.
    pub fn wait(&self, limit: Option<Duration>) -> Amount {
        let is_busy = |state: &mut State| state.stage != Stage::Ended;
        let progress = &self.shared.progress;
        let state = self.shared.lock();
        let mut state = match limit {
            None => progress
                .wait_while(state, is_busy)
                .unwrap_or_else(PoisonError::into_inner),
            Some(limit) => progress
                .wait_timeout_while(state, limit, is_busy)
                .map_or_else(|error| error.into_inner().0, |(state, _)| state),
        };
        state.stage = Stage::Ended;
        state.stream.clear()
    }
}

impl Drop for FlowFiles {
    fn drop(&mut self) {
        self.close();
    }
}

/// What the thread does next.
enum Step {
    /// Writes messages: their octets, and where each ends.
    Write(Vec<u8>, Vec<usize>),
    /// Makes a file that begins then.
    Create(Wall),
    /// Gives the file its name.
    Finish,
    /// Waits for more, at most so long.
    Wait(Option<Duration>),
    /// There is nothing more to do.
    End,
}

/// The thread.
struct Writer {
    shared: Arc<Shared>,
    place: Box<dyn Place>,
    plan: Plan,
    clock: Clock,
    open: Option<Open>,
    /// When it is tried again after a failure.
    retry: Option<Uptime>,
    /// Since when messages wait for others.
    gathering: Option<Uptime>,
    /// Whether it is tried for the last time.
    is_last_try: bool,
}

/// A file that is written.
struct Open {
    file: IpfixFile,
    name: String,
    period: Period,
}

/// What a file is for: seconds since the epoch, from and to before; `None`: all.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Period(Option<(i64, i64)>);

impl Period {
    /// The one that `at` is in.
    fn of(at: Wall, rotate: Option<u32>) -> Self {
        Self(rotate.map(|rotate| {
            let begin = at.secs() - at.secs().rem_euclid(rotate.into());
            (begin, begin + i64::from(rotate))
        }))
    }

    /// Whether a message that was made at `at` belongs to it: not to a later one, and not to one
    /// before the last.
    fn has(self, at: Wall) -> bool {
        self.0
            .is_none_or(|(begin, end)| (2 * begin - end..end).contains(&at.secs()))
    }
}

impl Writer {
    fn new(shared: Arc<Shared>, place: Box<dyn Place>, plan: Plan) -> Self {
        Self {
            shared,
            place,
            plan,
            clock: Clock::new(None),
            open: None,
            retry: None,
            gathering: None,
            is_last_try: false,
        }
    }

    fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let state = shared
            .work
            .wait_while(shared.lock(), |state| state.stage == Stage::Prepared)
            .unwrap_or_else(PoisonError::into_inner);
        let is_begun = state.is_begun;
        drop(state);
        if is_begun {
            self.finish_left();
            while self.go_on() {}
        }
        let mut state = shared.lock();
        state.stage = Stage::Ended;
        drop(state);
        shared.progress.notify_all();
    }

    /// Does the next step; false at the end.
    fn go_on(&mut self) -> bool {
        let shared = Arc::clone(&self.shared);
        let mut state = shared.lock();
        match self.step(&mut state) {
            Step::Wait(limit) => {
                let state = match limit {
                    None => shared.work.wait(state).map(drop).map_err(drop),
                    Some(limit) => shared
                        .work
                        .wait_timeout(state, limit)
                        .map(drop)
                        .map_err(drop),
                };
                // A thread that panicked has ended the process.
                let _ = state;
            }
            Step::Write(octets, ends) => {
                drop(state);
                self.write(&octets, &ends);
            }
            Step::Create(at) => {
                drop(state);
                self.create(at);
            }
            Step::Finish => {
                drop(state);
                self.finish();
            }
            Step::End => return false,
        }
        true
    }

    fn step(&mut self, state: &mut State) -> Step {
        let now = self.clock.now();
        let is_closing = state.stage != Stage::Running;
        if let Some(retry) = self.retry {
            if !is_closing && retry > now.uptime {
                return Step::Wait(Some(retry.since(now.uptime)));
            }
            if self.is_last_try {
                let lost = state.stream.clear();
                state.lost += lost.records;
                state.news.lost += lost;
                state.is_new = true;
            }
            self.is_last_try = is_closing;
        }
        let Some(open) = &self.open else {
            return match state.stream.next_made() {
                Some(at) => Step::Create(at),
                None if is_closing => Step::End,
                None => Step::Wait(None),
            };
        };
        if !state.stream.is_begun() {
            state.stream.begin();
        }
        let period = open.period;
        let ready = state.stream.prepare_as_made(BLOCK, |at| period.has(at));
        let next = state.stream.next_made();
        if ready == 0 {
            return self.when_written(period, next.is_some() || is_closing, now.wall);
        }
        let is_whole = ready >= BLOCK || next.is_some() || is_closing;
        if !is_whole && let Some(wait) = self.gather(now.uptime) {
            return wait;
        }
        self.gathering = None;
        let (mut octets, mut ends) = (Vec::with_capacity(ready), Vec::new());
        for message in state.stream.prepared() {
            octets.extend_from_slice(message);
            ends.push(octets.len());
        }
        Step::Write(octets, ends)
    }

    /// What follows when nothing waits for the file that is open. `is_last`: nothing more will.
    fn when_written(&self, period: Period, is_last: bool, now: Wall) -> Step {
        let is_live = self.plan.when_full == WhenFull::Drop;
        match period.0 {
            _ if is_last => Step::Finish,
            Some((_, end)) if is_live => match Wall::new(end, 0).after(LATE).since(now) {
                Duration::ZERO => Step::Finish,
                left => Step::Wait(Some(left.min(LOOK))),
            },
            _ => Step::Wait(None),
        }
    }

    /// How long to wait for more, because a longer block is compressed better.
    fn gather(&mut self, now: Uptime) -> Option<Step> {
        if self.plan.compression == Compression::None {
            return None;
        }
        let since = *self.gathering.get_or_insert(now);
        match self.plan.when_full {
            // What is written together depends on nothing but the flows.
            WhenFull::Wait => Some(Step::Wait(None)),
            WhenFull::Drop => {
                let left = GATHER.saturating_sub(now.since(since));
                (!left.is_zero()).then_some(Step::Wait(Some(left)))
            }
        }
    }

    fn write(&mut self, octets: &[u8], ends: &[usize]) {
        let Some(open) = &mut self.open else { return };
        let (count, outcome) = open.file.append(octets, ends);
        let (name, octets) = (open.name.clone(), open.file.octets());
        let mut state = self.shared.lock();
        let taken = state.stream.take(count);
        state.news.taken += taken;
        state.news.state.current = Some((name.clone(), octets));
        state.is_new = true;
        drop(state);
        match outcome {
            Ok(()) => self.succeed(&name),
            Err(error) => self.fail(&format!("{name}: {error}")),
        }
        self.shared.progress.notify_all();
    }

    fn create(&mut self, at: Wall) {
        let period = Period::of(at, self.plan.rotate);
        let begin = period.0.map_or(at.secs(), |(begin, _)| begin);
        match self.place.create(begin) {
            Ok((file, name)) => {
                self.retry = None;
                self.open = Some(Open {
                    file: IpfixFile::new(file, self.plan.compression),
                    name: name.clone(),
                    period,
                });
                let mut state = self.shared.lock();
                state.stream.begin();
                state.news.state.current = Some((name, 0));
                state.is_new = true;
            }
            Err(error) => self.fail(&format!("no file can be made: {error}")),
        }
        self.shared.progress.notify_all();
    }

    fn finish(&mut self) {
        let Some(open) = self.open.take() else { return };
        let mut outcome = Ok(());
        if self.plan.when_full == WhenFull::Drop {
            outcome = open.file.sync();
        }
        let has_messages = open.file.octets() > 0;
        drop(open.file);
        let named = self.place.finish();
        let mut state = self.shared.lock();
        state.stream.end();
        state.news.state.current = None;
        state.is_new = true;
        match named {
            Ok(removed) => {
                state.news.files += u64::from(has_messages);
                state.news.removed += removed;
            }
            Err(error) => outcome = outcome.and(Err(error)),
        }
        if let Err(error) = outcome {
            state.say(format!("{}: {error}", open.name));
        }
    }

    /// Finishes what programs left that were killed.
    fn finish_left(&mut self) {
        for _ in 0..MAX_LEFT {
            let (outcome, name) = match self.place.left() {
                Ok(None) => return,
                Err(error) => (Err(error), "files that were left".to_owned()),
                Ok(Some((mut file, name))) => {
                    let cut = cut_to_whole(&mut file);
                    (cut.and_then(|_| self.place.finish()), name)
                }
            };
            let is_done = outcome.is_ok();
            let mut state = self.shared.lock();
            match outcome {
                Ok(removed) => {
                    state.news.removed += removed;
                    state.say(format!(
                        "{name}: left by a program that was killed, finished"
                    ));
                }
                Err(error) => state.say(format!("{name}: {error}")),
            }
            if !is_done {
                return;
            }
        }
    }

    /// Notes that something cannot be written now.
    fn fail(&mut self, problem: &str) {
        self.retry = Some(self.clock.now().uptime.after(RETRY));
        let mut state = self.shared.lock();
        if state.news.state.problem.is_none() {
            state.say(format!("{problem}; flows wait"));
            state.lost = 0;
            state.news.state.problem = Some(problem.to_owned());
        }
    }

    /// Notes that something was written.
    fn succeed(&mut self, name: &str) {
        self.retry = None;
        let mut state = self.shared.lock();
        if state.news.state.problem.take().is_some() {
            let lost = std::mem::take(&mut state.lost);
            state.say(format!("{name}: written again, {lost} records were lost"));
        }
    }
}

impl State {
    /// Leaves a line for the log.
    fn say(&mut self, line: String) {
        self.is_new = true;
        if self.news.lines.len() < MAX_LINES {
            self.news.lines.push(line);
        }
    }
}

impl Plan {
    /// That of `settings`.
    pub fn new(settings: &Settings, when_full: WhenFull) -> Self {
        let pattern = settings.file.as_deref().map(Pattern::new);
        let has_time = matches!(pattern, Some(Ok(pattern)) if pattern.has_time());
        Self {
            rotate: has_time.then_some(settings.rotate),
            compression: settings.compression,
            when_full,
        }
    }
}

#[cfg(test)]
mod tests;
