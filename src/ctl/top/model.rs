//! What is on the screen and what is asked next: answers, keys and `now` in, rows and questions
//! out. No terminal, no socket, no clock.
//!
//! ```text
//! answer --rates, order--> rows                key -> order, filter, interval, pause, scroll
//! poll(now) -> Query, when one is due and none is on its way
//! ```
//! A rate is what a state's octets grew by between two answers, by the daemon's clock. Where there
//! is no earlier answer with the state in it, it is the average over the state's age.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::time::Duration;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::answer::{ShownState, TopAnswer, Totals, printable};
use super::client::{Failure, Query};
use super::keys::{Field, KeyAction, Neighbour, Scroll, action};
use crate::control::top::{Key, MAX_SHOWN, SortOrder};
use crate::state::StateId;
use crate::time::Uptime;

/// Time between two answers if none is asked for: pftop's.
const INTERVAL: Duration = Duration::from_secs(5);
/// Longest interval, seconds.
const MAX_INTERVAL: u64 = 3600;
/// Most characters that can be typed.
const MAX_TYPED: usize = 500;
/// Least time between two answers that rates are worked out from, milliseconds: over less, whole
/// packets are too coarse.
const LEAST_SPAN: i64 = 1000;

/// A state and its rate now.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) state: ShownState,
    /// Octets a second.
    pub(super) rate: u64,
}

/// What the keys go to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Mode {
    List,
    Help,
    Edit(Field, String),
}

/// What the caller has to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Reaction {
    Go,
    Redraw,
    Quit,
    Suspend,
}

/// An answer that later ones are compared with.
#[derive(Debug, Default)]
struct Baseline {
    uptime_millis: i64,
    octets: HashMap<StateId, u64>,
}

/// All of it.
#[derive(Debug)]
pub(super) struct TopModel {
    pub(super) order: SortOrder,
    /// The filter that the rows went through.
    pub(super) filter: String,
    /// A filter that was typed and not answered.
    candidate: Option<String>,
    /// The filter that was typed last, perhaps refused: it is what is edited next.
    typed: String,
    pub(super) interval: Duration,
    /// Most states shown.
    pub(super) most: usize,
    pub(super) is_paused: bool,
    pub(super) mode: Mode,
    pub(super) totals: Totals,
    pub(super) rows: Vec<Row>,
    /// The first row on the screen.
    pub(super) first: usize,
    /// Rows that the screen has room for.
    page: usize,
    /// What the daemon refused.
    pub(super) refusal: Option<String>,
    /// Why there are no answers.
    pub(super) trouble: Option<String>,
    /// When the last answer came.
    pub(super) answered: Uptime,
    baseline: Baseline,
    /// When the next question is due.
    due: Uptime,
    is_asking: bool,
    /// Whether the next question is asked though the screen is paused.
    is_urgent: bool,
}

impl TopModel {
    /// Shows the answer to `query`.
    pub(super) fn new(query: Query, most: Option<usize>, answer: TopAnswer, now: Uptime) -> Self {
        let mut model = Self {
            order: query.order,
            filter: query.filter.clone(),
            candidate: None,
            typed: query.filter.clone(),
            interval: INTERVAL,
            most: most.unwrap_or(MAX_SHOWN),
            is_paused: false,
            mode: Mode::List,
            totals: Totals::default(),
            rows: Vec::new(),
            first: 0,
            page: 1,
            refusal: None,
            trouble: None,
            answered: now,
            baseline: Baseline::default(),
            due: now.after(INTERVAL),
            is_asking: false,
            is_urgent: false,
        };
        model.handle_answer(&query, Ok(answer), now);
        model
    }

    fn query(&self) -> Query {
        Query {
            order: self.order,
            filter: self.candidate.as_ref().unwrap_or(&self.filter).clone(),
        }
    }

    /// The question that is due, which has to be asked now.
    pub(super) fn poll(&mut self, now: Uptime) -> Option<Query> {
        let is_due = self.is_urgent || (!self.is_paused && self.due <= now);
        if self.is_asking || !is_due {
            return None;
        }
        (self.is_asking, self.is_urgent) = (true, false);
        self.due = now.after(self.interval);
        Some(self.query())
    }

    /// When [`Self::poll`] is worth the next call, if nothing else happens.
    pub(super) fn poll_timeout(&self) -> Option<Uptime> {
        (!self.is_asking && !self.is_paused).then_some(self.due)
    }

    /// Takes what came of a question.
    pub(super) fn handle_answer(
        &mut self,
        query: &Query,
        outcome: Result<TopAnswer, Failure>,
        now: Uptime,
    ) {
        self.is_asking = false;
        match outcome {
            Ok(answer) => {
                self.trouble = None;
                // An answer to an older filter is not what is waited for.
                if *query.filter == *self.query().filter {
                    if let Some(filter) = self.candidate.take() {
                        (self.filter, self.first) = (filter, 0);
                    }
                    self.answered = now;
                    self.show(answer);
                }
            }
            Err(Failure::Refused(problem)) => {
                self.trouble = None;
                if self.candidate.as_deref() == Some(&*query.filter) {
                    self.candidate = None;
                }
                self.refusal = Some(printable(&problem));
            }
            Err(Failure::Lost(problem)) => self.trouble = Some(printable(&problem)),
        }
    }

    fn show(&mut self, answer: TopAnswer) {
        let span = answer
            .uptime_millis
            .saturating_sub(self.baseline.uptime_millis);
        let is_late = span >= LEAST_SPAN;
        let former: HashMap<StateId, u64> = self
            .rows
            .iter()
            .map(|row| (row.state.id, row.rate))
            .collect();
        let rate = |state: &ShownState| {
            let before = self.baseline.octets.get(&state.id);
            let grown = before.and_then(|before| state.octets.checked_sub(*before));
            match (grown, u64::try_from(span)) {
                (Some(grown), Ok(span)) if is_late => grown.saturating_mul(1000) / span.max(1),
                // The octets of an active timeout's record are taken off; two answers in quick
                // succession say nothing.
                _ => former.get(&state.id).copied().unwrap_or(state.rate),
            }
        };
        let rows = answer.states.iter().map(|state| Row {
            rate: rate(state),
            state: state.clone(),
        });
        self.rows = rows.collect();
        self.totals = answer.totals;
        if is_late || self.baseline.octets.is_empty() || span < 0 {
            let octets = answer.states.iter().map(|state| (state.id, state.octets));
            self.baseline = Baseline {
                uptime_millis: answer.uptime_millis,
                octets: octets.collect(),
            };
        }
        self.sort();
    }

    fn sort(&mut self) {
        let SortOrder { key, is_reversed } = self.order;
        let value = |row: &Row| match key {
            Key::Rate => row.rate,
            Key::Octets => row.state.octets,
            Key::Packets => row.state.packets,
            Key::Age => row.state.age,
            Key::Silent => row.state.silent,
            Key::Expiry => row.state.ends_in,
        };
        let tie = |row: &Row| (row.state.id.creatorid, row.state.id.id);
        self.rows.sort_by(|one, other| {
            let ordering = value(other).cmp(&value(one));
            let ordering = if is_reversed {
                ordering.reverse()
            } else {
                ordering
            };
            match ordering {
                Ordering::Equal => tie(one).cmp(&tie(other)),
                unequal => unequal,
            }
        });
        self.clamp();
    }

    /// The rows that may be shown.
    pub(super) fn shown(&self) -> &[Row] {
        self.rows
            .get(..self.most.min(self.rows.len()))
            .unwrap_or_default()
    }

    /// Takes in how many rows there is room for.
    pub(super) fn handle_size(&mut self, page: usize) {
        self.page = page.max(1);
        self.clamp();
    }

    fn clamp(&mut self) {
        let last = self.shown().len().saturating_sub(self.page);
        self.first = self.first.min(last);
    }

    /// Takes a key.
    pub(super) fn handle_key(&mut self, key: KeyEvent) -> Reaction {
        let action = action(key);
        if let Some(KeyAction::Suspend) = action {
            return Reaction::Suspend;
        }
        let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
        match std::mem::replace(&mut self.mode, Mode::List) {
            Mode::Edit(field, text) if action != Some(KeyAction::Quit) || !is_control => {
                self.edit(field, text, key);
                Reaction::Go
            }
            Mode::Help if action != Some(KeyAction::Quit) => Reaction::Go,
            _ => {
                self.refusal = None;
                action.map_or(Reaction::Go, |action| self.act(action))
            }
        }
    }

    fn act(&mut self, action: KeyAction) -> Reaction {
        match action {
            KeyAction::Quit => return Reaction::Quit,
            KeyAction::Redraw => return Reaction::Redraw,
            KeyAction::Suspend => return Reaction::Suspend,
            KeyAction::Help => self.mode = Mode::Help,
            KeyAction::Order(step) => self.reorder(SortOrder {
                key: neighbour(self.order.key, step),
                ..self.order
            }),
            KeyAction::By(key) => self.reorder(SortOrder { key, ..self.order }),
            KeyAction::Reverse => self.reorder(SortOrder {
                is_reversed: !self.order.is_reversed,
                ..self.order
            }),
            KeyAction::Pause => self.is_paused = !self.is_paused,
            KeyAction::Edit(field) => {
                let text = match field {
                    Field::Filter => self.typed.clone(),
                    Field::Interval => self.interval.as_secs().to_string(),
                    Field::Number => String::new(),
                };
                self.mode = Mode::Edit(field, text);
            }
            KeyAction::Scroll(scroll) => self.scroll(scroll),
        }
        Reaction::Go
    }

    /// What is there is put in order at once; the daemon may know others that come first.
    fn reorder(&mut self, order: SortOrder) {
        self.order = order;
        self.first = 0;
        self.sort();
        self.is_urgent = true;
    }

    fn scroll(&mut self, scroll: Scroll) {
        self.first = match scroll {
            Scroll::Line(Neighbour::Next) => self.first.saturating_add(1),
            Scroll::Line(Neighbour::Previous) => self.first.saturating_sub(1),
            Scroll::Page(Neighbour::Next) => self.first.saturating_add(self.page),
            Scroll::Page(Neighbour::Previous) => self.first.saturating_sub(self.page),
            Scroll::Begin => 0,
            Scroll::End => usize::MAX,
        };
        self.clamp();
    }

    /// A key while something is typed.
    fn edit(&mut self, field: Field, mut text: String, key: KeyEvent) {
        let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Esc => return,
            KeyCode::Enter => return self.entered(field, text.trim()),
            KeyCode::Backspace => {
                text.pop();
            }
            KeyCode::Char('u') if is_control => text.clear(),
            // The socket takes any text in a line; the screen printable ASCII.
            KeyCode::Char(c @ ' '..='~') if !is_control && text.len() < MAX_TYPED => text.push(c),
            _ => {}
        }
        self.mode = Mode::Edit(field, text);
    }

    fn entered(&mut self, field: Field, text: &str) {
        let number = |least: u64, most: u64| {
            let number = text.parse().ok();
            let number = number.filter(|number| (least..=most).contains(number));
            number.ok_or_else(|| format!("{text}: is not a number from {least} to {most}"))
        };
        self.refusal = None;
        match field {
            Field::Filter => {
                text.clone_into(&mut self.typed);
                self.candidate = Some(self.typed.clone());
                self.is_urgent = true;
            }
            Field::Interval => match number(1, MAX_INTERVAL) {
                Ok(seconds) => {
                    self.interval = Duration::from_secs(seconds);
                    self.is_urgent = !self.is_paused;
                }
                Err(problem) => self.refusal = Some(problem),
            },
            Field::Number if text.is_empty() => self.most = MAX_SHOWN,
            Field::Number => match number(1, MAX_SHOWN as u64) {
                Ok(most) => {
                    self.most = usize::try_from(most).unwrap_or(MAX_SHOWN);
                    self.clamp();
                }
                Err(problem) => self.refusal = Some(problem),
            },
        }
    }
}

/// The key behind or before `key`, all around.
fn neighbour(key: Key, step: Neighbour) -> Key {
    let keys: Vec<Key> = Key::VALUES.iter().map(|(_, key, _)| *key).collect();
    let at = keys.iter().position(|other| *other == key).unwrap_or(0);
    let by = match step {
        Neighbour::Next => 1,
        Neighbour::Previous => keys.len() - 1,
    };
    keys.get((at + by) % keys.len())
        .copied()
        .unwrap_or_default()
}

#[cfg(test)]
#[path = "model_tests.rs"]
pub(super) mod tests;
