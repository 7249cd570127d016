//! What each key does: one table that the screen and its help read. The keys are pftop's.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use crate::control::top::Key;

/// What a key asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Action {
    Quit,
    Help,
    /// The next order, or the one before.
    Order(Step),
    By(Key),
    Reverse,
    Pause,
    Edit(Field),
    Scroll(Scroll),
    Redraw,
    Suspend,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Step {
    Next,
    Previous,
}

/// What can be typed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Field {
    Filter,
    Interval,
    Number,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Scroll {
    Line(Step),
    Page(Step),
    Begin,
    End,
}

/// Keys, their action, what the help says: a key, how it is written, what it does. What is
/// said with the line before has none.
const KEYS: &[(&[KeyCode], Action, &str, &str)] = &[
    (
        &[KeyCode::Char('o')],
        Action::Order(Step::Next),
        "o O",
        "next order, previous order",
    ),
    (&[KeyCode::Char('O')], Action::Order(Step::Previous), "", ""),
    (
        &[KeyCode::Char('r')],
        Action::Reverse,
        "r",
        "reverse the order",
    ),
    (
        &[KeyCode::Char('R')],
        Action::By(Key::Rate),
        "R",
        "by octets a second",
    ),
    (
        &[KeyCode::Char('B')],
        Action::By(Key::Octets),
        "B",
        "by octets",
    ),
    (
        &[KeyCode::Char('P')],
        Action::By(Key::Packets),
        "P",
        "by packets",
    ),
    (&[KeyCode::Char('A')], Action::By(Key::Age), "A", "by age"),
    (
        &[KeyCode::Char('I')],
        Action::By(Key::Silent),
        "I",
        "by silence: time without a message",
    ),
    (
        &[KeyCode::Char('E')],
        Action::By(Key::Expiry),
        "E",
        "by when they end",
    ),
    (
        &[KeyCode::Char('f'), KeyCode::Char('/')],
        Action::Edit(Field::Filter),
        "f /",
        "filter, the words of show states; empty: all",
    ),
    (
        &[KeyCode::Char('n')],
        Action::Edit(Field::Number),
        "n",
        "number of states shown; empty: all",
    ),
    (
        &[KeyCode::Char('s')],
        Action::Edit(Field::Interval),
        "s",
        "seconds between two answers",
    ),
    (
        &[KeyCode::Char('p'), KeyCode::Char(' ')],
        Action::Pause,
        "p space",
        "pause and go on",
    ),
    (
        &[KeyCode::Down, KeyCode::Char('j')],
        Action::Scroll(Scroll::Line(Step::Next)),
        "j k",
        "a line down, up; the arrows, too",
    ),
    (
        &[KeyCode::Up, KeyCode::Char('k')],
        Action::Scroll(Scroll::Line(Step::Previous)),
        "",
        "",
    ),
    (
        &[KeyCode::PageDown],
        Action::Scroll(Scroll::Page(Step::Next)),
        "pgdn up",
        "a page down, up",
    ),
    (
        &[KeyCode::PageUp],
        Action::Scroll(Scroll::Page(Step::Previous)),
        "",
        "",
    ),
    (
        &[KeyCode::Home],
        Action::Scroll(Scroll::Begin),
        "home end",
        "to the first, to the last",
    ),
    (&[KeyCode::End], Action::Scroll(Scroll::End), "", ""),
    (
        &[KeyCode::Char('h'), KeyCode::Char('?')],
        Action::Help,
        "h ?",
        "this help; any key ends it",
    ),
    (&[KeyCode::Char('q')], Action::Quit, "q", "quit"),
];

/// Keys that go with control, of a shell's habit.
const CONTROL: &[(char, Action)] = &[
    ('c', Action::Quit),
    ('l', Action::Redraw),
    ('z', Action::Suspend),
];

/// What `key` asks for, if anything.
pub(super) fn action(key: KeyEvent) -> Option<Action> {
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        let mut control = CONTROL.iter();
        let found = control.find(|(letter, _)| key.code == KeyCode::Char(*letter));
        return found.map(|(_, action)| *action);
    }
    let mut keys = KEYS.iter();
    let found = keys.find(|(codes, ..)| codes.contains(&key.code));
    found.map(|(_, action, ..)| *action)
}

/// The help, a key or two a line.
pub(super) fn help() -> impl Iterator<Item = String> {
    let lines = KEYS.iter().filter(|(.., help)| !help.is_empty());
    lines.map(|(_, _, key, help)| format!("  {key:<8} {help}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_means_one_thing_and_every_order_has_one() {
        let codes: Vec<KeyCode> = KEYS
            .iter()
            .flat_map(|(codes, ..)| codes.iter().copied())
            .collect();
        for (at, code) in codes.iter().enumerate() {
            assert!(!codes[..at].contains(code), "{code:?}");
        }
        for (name, key, _) in Key::VALUES {
            let is_by = |entry: &&(_, Action, _, _)| entry.1 == Action::By(*key);
            assert_eq!(KEYS.iter().filter(is_by).count(), 1, "{name}");
        }
    }

    #[test]
    fn control_is_not_a_letter() {
        let key = |code, modifiers| action(KeyEvent::new(code, modifiers));
        let c = KeyCode::Char('c');
        assert_eq!(key(c, KeyModifiers::CONTROL), Some(Action::Quit));
        assert_eq!(key(c, KeyModifiers::NONE), None);
        let q = KeyCode::Char('q');
        assert_eq!(key(q, KeyModifiers::CONTROL), None);
        assert_eq!(key(q, KeyModifiers::NONE), Some(Action::Quit));
        assert_eq!(
            key(KeyCode::Char('R'), KeyModifiers::SHIFT),
            Some(Action::By(Key::Rate))
        );
    }
}
