use super::*;

#[test]
fn lines_are_shared_fairly_and_none_is_given_away() {
    assert_eq!(shared(9, [1, 1, 1]), [1, 1, 1]);
    assert_eq!(shared(9, [100, 1, 100]), [4, 1, 4]);
    assert_eq!(shared(6, [9, 9, 9]), [2, 2, 2]);
    assert_eq!(shared(2, [9, 9, 9]), [1, 1, 0]);
}

#[test]
fn a_text_is_wrapped_at_words_and_a_long_word_cut() {
    let text = "! ".to_owned() + &"word ".repeat(30);
    let lines = wrapped(text.trim_end());
    assert_eq!(lines.len(), 2);
    assert!(lines.iter().all(|line| line.len() <= COLUMNS), "{lines:?}");
    assert!(lines[1].starts_with("  word"), "{lines:?}");
    let long = wrapped(&"x".repeat(200));
    assert_eq!(long[0].len(), COLUMNS);
    assert!(long[0].ends_with("..."));
}

#[test]
fn what_does_not_fit_is_counted() {
    let mut out = Vec::new();
    cut(
        (0..9).map(|n| n.to_string()).collect(),
        3,
        "firewalls",
        &mut out,
    );
    assert_eq!(out, ["0", "1", "... and 7 more firewalls"]);
}
