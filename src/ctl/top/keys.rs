//! What each key does: one table that the screen and its help read. The keys are pftop's.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use crate::control::top::Key;

/// What a key asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum KeyAction {
    Quit,
    Help,
    /// The next order, or the one before.
    Order(Neighbour),
    By(Key),
    Reverse,
    Pause,
    Edit(Field),
    Scroll(Scroll),
    Redraw,
    Suspend,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Neighbour {
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
    Line(Neighbour),
    Page(Neighbour),
    Begin,
    End,
}

/// Keys, their action, what the help says: a key, how it is written, what it does. What is
/// said with the line before has none.
const KEYS: &[(&[KeyCode], KeyAction, &str, &str)] = &[
    (
        &[KeyCode::Char('o')],
        KeyAction::Order(Neighbour::Next),
        "o O",
        "next order, previous order",
    ),
    (
        &[KeyCode::Char('O')],
        KeyAction::Order(Neighbour::Previous),
        "",
        "",
    ),
    (
        &[KeyCode::Char('r')],
        KeyAction::Reverse,
        "r",
        "reverse the order",
    ),
    (
        &[KeyCode::Char('R')],
        KeyAction::By(Key::Rate),
        "R",
        "by octets a second",
    ),
    (
        &[KeyCode::Char('B')],
        KeyAction::By(Key::Octets),
        "B",
        "by octets",
    ),
    (
        &[KeyCode::Char('P')],
        KeyAction::By(Key::Packets),
        "P",
        "by packets",
    ),
    (
        &[KeyCode::Char('A')],
        KeyAction::By(Key::Age),
        "A",
        "by age",
    ),
    (
        &[KeyCode::Char('I')],
        KeyAction::By(Key::Silent),
        "I",
        "by silence: time without a message",
    ),
    (
        &[KeyCode::Char('E')],
        KeyAction::By(Key::Expiry),
        "E",
        "by when they end",
    ),
    (
        &[KeyCode::Char('f'), KeyCode::Char('/')],
        KeyAction::Edit(Field::Filter),
        "f /",
        "filter, the words of show states; empty: all",
    ),
    (
        &[KeyCode::Char('n')],
        KeyAction::Edit(Field::Number),
        "n",
        "number of states shown; empty: all",
    ),
    (
        &[KeyCode::Char('s')],
        KeyAction::Edit(Field::Interval),
        "s",
        "seconds between two answers",
    ),
    (
        &[KeyCode::Char('p'), KeyCode::Char(' ')],
        KeyAction::Pause,
        "p space",
        "pause and go on",
    ),
    (
        &[KeyCode::Down, KeyCode::Char('j')],
        KeyAction::Scroll(Scroll::Line(Neighbour::Next)),
        "j k",
        "a line down, up; the arrows, too",
    ),
    (
        &[KeyCode::Up, KeyCode::Char('k')],
        KeyAction::Scroll(Scroll::Line(Neighbour::Previous)),
        "",
        "",
    ),
    (
        &[KeyCode::PageDown],
        KeyAction::Scroll(Scroll::Page(Neighbour::Next)),
        "pgdn up",
        "a page down, up",
    ),
    (
        &[KeyCode::PageUp],
        KeyAction::Scroll(Scroll::Page(Neighbour::Previous)),
        "",
        "",
    ),
    (
        &[KeyCode::Home],
        KeyAction::Scroll(Scroll::Begin),
        "home end",
        "to the first, to the last",
    ),
    (&[KeyCode::End], KeyAction::Scroll(Scroll::End), "", ""),
    (
        &[KeyCode::Char('h'), KeyCode::Char('?')],
        KeyAction::Help,
        "h ?",
        "this help; any key ends it",
    ),
    (&[KeyCode::Char('q')], KeyAction::Quit, "q", "quit"),
];

/// Keys that go with control, of a shell's habit.
const CONTROL: &[(char, KeyAction)] = &[
    ('c', KeyAction::Quit),
    ('l', KeyAction::Redraw),
    ('z', KeyAction::Suspend),
];

/// What `key` asks for, if anything.
pub(super) fn action(key: KeyEvent) -> Option<KeyAction> {
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
            let is_by = |entry: &&(_, KeyAction, _, _)| entry.1 == KeyAction::By(*key);
            assert_eq!(KEYS.iter().filter(is_by).count(), 1, "{name}");
        }
    }

    #[test]
    fn control_is_not_a_letter() {
        let key = |code, modifiers| action(KeyEvent::new(code, modifiers));
        let c = KeyCode::Char('c');
        assert_eq!(key(c, KeyModifiers::CONTROL), Some(KeyAction::Quit));
        assert_eq!(key(c, KeyModifiers::NONE), None);
        let q = KeyCode::Char('q');
        assert_eq!(key(q, KeyModifiers::CONTROL), None);
        assert_eq!(key(q, KeyModifiers::NONE), Some(KeyAction::Quit));
        assert_eq!(
            key(KeyCode::Char('R'), KeyModifiers::SHIFT),
            Some(KeyAction::By(Key::Rate))
        );
    }
}
