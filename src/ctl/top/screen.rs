//! The model as a screen of any size.
//!
//! ```text
//! 1234 states, 1.2G octets, 9.8M packets; by rate; every 5 s                  h: help
//! filter: proto tcp                          or what is typed, or what is wrong
//! PR   D SRC                  DEST                 STATE  AGE ...
//! tcp  o 10.0.0.5:51515       192.0.2.1:443        estab  22m ...
//! ```

use ratatui::Frame;
use ratatui::layout::{Position, Rect};
use ratatui::style::{Modifier, Style};

use super::columns::{Placed, amount, duration, layout};
use super::keys::{Field, help};
use super::model::{Mode, TopModel};
use crate::control::top::MAX_SHOWN;
use crate::time::Uptime;

/// Lines above the list.
const HEAD: u16 = 3;
/// Answers that may be missed before the screen says how old it is.
const MISSED: u32 = 2;
/// Where the words of the first line are rounded to.
const WORD: usize = 6;

/// How many rows there is room for.
pub(super) fn page(height: u16) -> usize {
    usize::from(height.saturating_sub(HEAD))
}

/// Draws all.
pub(super) fn draw(frame: &mut Frame<'_>, model: &TopModel, now: Uptime) {
    let area = frame.area();
    let bold = Style::new().add_modifier(Modifier::BOLD);
    put(
        frame,
        area,
        0,
        &summary(model, now, usize::from(area.width)),
        bold,
    );
    let (line, cursor) = status(model, usize::from(area.width));
    let style = match cursor {
        None if model.refusal.is_some() || model.trouble.is_some() => bold,
        _ => Style::new(),
    };
    put(frame, area, 1, &line, style);
    if let Some(cursor) = cursor
        && area.height > 1
    {
        let x = u16::try_from(cursor).unwrap_or(u16::MAX);
        frame.set_cursor_position(Position::new(x.min(area.width.saturating_sub(1)), 1));
    }
    match model.mode {
        Mode::Help => draw_help(frame, area),
        _ => draw_list(frame, area, model),
    }
}

/// A line of the screen, if it has that many; what is too long is cut.
fn put(frame: &mut Frame<'_>, area: Rect, y: u16, text: &str, style: Style) {
    if y < area.height {
        let width = usize::from(area.width);
        frame.buffer_mut().set_stringn(0, y, text, width, style);
    }
}

fn summary(model: &TopModel, now: Uptime, width: usize) -> String {
    let totals = &model.totals;
    let [states, octets, packets] =
        [totals.states, totals.octets, totals.packets].map(|n| amount(n, WORD));
    let reversed = if model.order.is_reversed {
        ", least first"
    } else {
        ""
    };
    let mut line = format!(
        "{states} states, {octets} octets, {packets} packets; by {}{reversed}",
        model.order.key.name()
    );
    let old = now.since(model.answered);
    if model.is_paused {
        line += "; paused";
    } else {
        line += &format!("; every {} s", model.interval.as_secs());
    }
    if model.is_paused || old > model.interval.saturating_mul(MISSED) {
        line += &format!(", {} old", duration(old.as_secs(), 4));
    }
    const HINT: &str = "h: help";
    match width.checked_sub(line.len() + HINT.len()) {
        Some(blanks) if blanks > 0 => line + &" ".repeat(blanks) + HINT,
        _ => line,
    }
}

/// The second line, and where the cursor is in it.
fn status(model: &TopModel, width: usize) -> (String, Option<usize>) {
    match (&model.mode, &model.refusal, &model.trouble) {
        (Mode::Edit(field, text), ..) => {
            let prompt = match field {
                Field::Filter => "filter: ",
                Field::Interval => "seconds: ",
                Field::Number => "states shown: ",
            };
            // The end of what is typed has to be seen.
            let room = width.saturating_sub(prompt.len() + 1);
            let from = text.len().saturating_sub(room);
            let line = format!("{prompt}{}", text.get(from..).unwrap_or_default());
            let cursor = line.len();
            (line, Some(cursor))
        }
        (_, Some(refusal), _) => (refusal.clone(), None),
        (_, None, Some(trouble)) => (
            format!(
                "{trouble}; asked again every {} s",
                model.interval.as_secs()
            ),
            None,
        ),
        (_, None, None) => {
            let mut parts = Vec::new();
            if !model.filter.is_empty() {
                parts.push(format!("filter: {}", model.filter));
            }
            if model.first > 0 {
                let (first, all) = (model.first + 1, model.shown().len());
                parts.push(format!("from {first} of {all}"));
            }
            (parts.join("; "), None)
        }
    }
}

fn draw_list(frame: &mut Frame<'_>, area: Rect, model: &TopModel) {
    let page = page(area.height);
    let rows = model.shown();
    let rows = rows.get(model.first..).unwrap_or_default();
    let rows = rows.get(..page.min(rows.len())).unwrap_or_default();
    let columns = layout(usize::from(area.width), rows);
    let title = |placed: &Placed| placed.column.title(placed.width).to_owned();
    let heads = line(&columns, title);
    let heads = format!("{heads:<width$}", width = usize::from(area.width));
    put(
        frame,
        area,
        HEAD - 1,
        &heads,
        Style::new().add_modifier(Modifier::REVERSED),
    );
    // Rows of a daemon that is away are of the past.
    let style = match model.trouble {
        Some(_) => Style::new().add_modifier(Modifier::DIM),
        None => Style::new(),
    };
    for (y, row) in (HEAD..).zip(rows) {
        let text = line(&columns, |placed| placed.column.cell(row, placed.width));
        put(frame, area, y, &text, style);
    }
}

/// A line of cells, each in its column.
fn line(columns: &[Placed], cell: impl Fn(&Placed) -> String) -> String {
    let cells = columns.iter().map(|placed| {
        let (cell, width) = (cell(placed), placed.width);
        match placed.column.is_number() {
            true => format!("{cell:>width$}"),
            false => format!("{cell:<width$}"),
        }
    });
    cells.collect::<Vec<_>>().join(" ")
}

fn draw_help(frame: &mut Frame<'_>, area: Rect) {
    let notes = [
        String::new(),
        format!("At most {MAX_SHOWN} states are asked for; the sums are of all."),
        "RATE is octets a second since the answer before. Between full updates".to_owned(),
        "pf tells no counters: TCP's are estimated, those of others jump.".to_owned(),
    ];
    for (y, text) in (HEAD - 1..).zip(help().chain(notes)) {
        put(frame, area, y, &text, Style::new());
    }
}

#[cfg(test)]
#[path = "screen_tests.rs"]
mod tests;
