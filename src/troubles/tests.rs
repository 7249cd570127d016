use super::sign::CAUSES;
use super::*;

fn at(secs: i64) -> Uptime {
    Uptime::new(secs, 0)
}

fn sign(cause: Cause, subject: &str, told: Told) -> Sign {
    Sign {
        cause,
        subject: subject.to_owned(),
        what: format!("{subject} is wrong"),
        remedy: "mend it".to_owned(),
        told,
    }
}

fn idle(told: Told) -> Vec<Sign> {
    vec![sign(Cause::Idle, "pflow0", told)]
}

#[test]
fn every_cause_has_its_row_and_its_name() {
    let mut names: Vec<_> = CAUSES.iter().map(|(_, name, ..)| *name).collect();
    let causes: Vec<_> = CAUSES.iter().map(|(cause, ..)| *cause).collect();
    assert!(causes.is_sorted(), "in the order of what matters");
    // The last is the last of the enum, and none is twice.
    assert_eq!(CAUSES.len(), Cause::Clocks as usize + 1);
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), CAUSES.len());
}

#[test]
fn a_trouble_has_one_line_when_it_begins_and_one_when_it_is_over() {
    let mut troubles = Troubles::default();
    let mut lines = Vec::new();
    for secs in 0..20 {
        let signs = if secs < 12 {
            idle(Told::Nothing)
        } else {
            Vec::new()
        };
        lines.extend(troubles.take(signs, at(secs)));
        let is_lasting = troubles.lasting().count() == 1;
        assert_eq!(is_lasting, (5..12).contains(&secs), "{secs}");
    }
    let expected = [
        News::Begun("pflow0 is wrong: mend it".to_owned()),
        News::Over("pflow0: it runs, after 12 s".to_owned()),
    ];
    assert_eq!(lines, expected);
}

#[test]
fn a_sign_that_does_not_last_is_no_trouble() {
    let mut troubles = Troubles::default();
    for secs in 0..100 {
        let signs = if secs % 5 == 4 {
            Vec::new()
        } else {
            idle(Told::Nothing)
        };
        assert_eq!(troubles.take(signs, at(secs)), [], "{secs}");
    }
}

#[test]
fn a_trouble_lasts_over_moments_without_a_sign() {
    let mut troubles = Troubles::default();
    let dropping = |secs| match secs % 15 {
        0 if secs < 60 => vec![sign(Cause::Dropping, "em1", Told::Nothing)],
        _ => Vec::new(),
    };
    let lines: Vec<_> = (0..100)
        .flat_map(|secs| troubles.take(dropping(secs), at(secs)))
        .collect();
    let over = "em1: no more packets are dropped, after 65 s";
    let expected = [
        News::Begun("em1 is wrong: mend it".to_owned()),
        News::Over(over.to_owned()),
    ];
    assert_eq!(lines, expected);
}

#[test]
fn what_is_logged_where_it_is_met_is_not_logged_twice() {
    for (told, expected) in [(Told::Begin, 1), (Told::Both, 0)] {
        let mut troubles = Troubles::default();
        let lines: Vec<_> = (0..9)
            .flat_map(|secs| {
                let signs = if secs < 7 { idle(told) } else { Vec::new() };
                troubles.take(signs, at(secs))
            })
            .collect();
        let over = matches!(&*lines, [] | [News::Over(_)]);
        assert!(over && lines.len() == expected, "{lines:?}");
    }
}

#[test]
fn troubles_are_bounded_and_those_beyond_are_counted() {
    let mut troubles = Troubles::default();
    let signs = || {
        let subjects = (0..MAX_TROUBLES + 7).map(|number| number.to_string());
        let signs = subjects.map(|subject| sign(Cause::Unmarked, &subject, Told::Nothing));
        signs.collect::<Vec<_>>()
    };
    assert_eq!(troubles.take(signs(), at(0)).len(), MAX_TROUBLES);
    assert_eq!(
        (troubles.lasting().count(), troubles.beyond()),
        (MAX_TROUBLES, 7)
    );
    assert_eq!(troubles.take(Vec::new(), at(1)).len(), MAX_TROUBLES);
    assert_eq!((troubles.lasting().count(), troubles.beyond()), (0, 0));
}
