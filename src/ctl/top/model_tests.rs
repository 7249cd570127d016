use super::*;
use crate::output::words::Endpoint;

/// A state of 10 seconds with `octets`.
pub(in super::super) fn row(id: u64, octets: u64) -> Row {
    let end = |ip: &str, port| Endpoint {
        ip: ip.parse().unwrap(),
        port,
    };
    let state = ShownState {
        id: StateId { id, creatorid: 1 },
        interface: "em0".to_owned(),
        proto: "tcp".to_owned(),
        direction: "out".to_owned(),
        source: end("10.0.0.5", 50000),
        gateway: None,
        destination: end("192.0.2.1", 443),
        timeout: "tcp.established".to_owned(),
        age: 10,
        silent: 1,
        ends_in: 86_400,
        is_overdue: false,
        quality: "exact".to_owned(),
        packets: octets / 100,
        octets,
        sender: "10.0.0.2".to_owned(),
        rate: octets / 10,
    };
    Row {
        rate: state.rate,
        state,
    }
}

/// An answer at this second with these octets by id.
pub(in super::super) fn answer(second: i64, octets: &[(u64, u64)]) -> TopAnswer {
    let states: Vec<ShownState> = octets
        .iter()
        .map(|(id, octets)| row(*id, *octets).state)
        .collect();
    TopAnswer {
        totals: Totals {
            states: states.len() as u64,
            packets: 9,
            octets: octets.iter().map(|(_, octets)| octets).sum(),
        },
        uptime_millis: second * 1000,
        states,
    }
}

fn at(second: i64) -> Uptime {
    Uptime::new(second, 0)
}

pub(in super::super) fn model(octets: &[(u64, u64)]) -> TopModel {
    let mut model = TopModel::new(Query::default(), None, answer(0, octets), at(0));
    model.handle_size(20);
    model
}

fn press(model: &mut TopModel, keys: &str) -> Reaction {
    let keys = keys.chars().map(|key| match key {
        '\n' => KeyCode::Enter,
        '\x08' => KeyCode::Backspace,
        '\x1b' => KeyCode::Esc,
        key => KeyCode::Char(key),
    });
    keys.map(|key| model.handle_key(KeyEvent::new(key, KeyModifiers::NONE)))
        .last()
        .unwrap()
}

fn control(model: &mut TopModel, letter: char) -> Reaction {
    model.handle_key(KeyEvent::new(KeyCode::Char(letter), KeyModifiers::CONTROL))
}

fn ids(model: &TopModel) -> Vec<u64> {
    model.shown().iter().map(|row| row.state.id.id).collect()
}

fn rates(model: &TopModel) -> Vec<(u64, u64)> {
    let rates = model.rows.iter().map(|row| (row.state.id.id, row.rate));
    rates.collect()
}

/// Asks what is due at `second`, and answers it.
fn turn(model: &mut TopModel, second: i64, octets: &[(u64, u64)]) {
    let query = model.poll(at(second)).unwrap();
    model.handle_answer(&query, Ok(answer(second, octets)), at(second));
}

#[test]
fn a_rate_is_of_two_answers_and_before_that_the_average() {
    let mut model = model(&[(1, 1000), (2, 500)]);
    assert_eq!(
        rates(&model),
        [(1, 100), (2, 50)],
        "octets over the age of 10 s"
    );
    turn(&mut model, 5, &[(1, 1000), (2, 10_500), (3, 3000)]);
    assert_eq!(rates(&model), [(2, 2000), (3, 300), (1, 0)], "3 is new");
    // An active timeout took what it exported off: the rate stays what it was.
    turn(&mut model, 10, &[(2, 20), (1, 2000)]);
    assert_eq!(rates(&model), [(2, 2000), (1, 200)]);
}

#[test]
fn a_rate_is_by_the_daemons_clock_and_not_of_two_answers_at_once() {
    let mut model = model(&[(1, 1000)]);
    let query = model.poll(at(5)).unwrap();
    // A replay at 12 times real time.
    model.handle_answer(&query, Ok(answer(60, &[(1, 7000)])), at(5));
    assert_eq!(rates(&model), [(1, 100)]);
    // A key asks again at once: half a second is too short, the next counts from before it.
    press(&mut model, "B");
    let query = model.poll(at(5)).unwrap();
    let soon = TopAnswer {
        uptime_millis: 60_500,
        ..answer(0, &[(1, 9000)])
    };
    model.handle_answer(&query, Ok(soon), at(5));
    assert_eq!(rates(&model), [(1, 100)]);
    let query = model.poll(at(10)).unwrap();
    model.handle_answer(&query, Ok(answer(64, &[(1, 9000)])), at(10));
    assert_eq!(rates(&model), [(1, 500)], "2000 octets in 4 s");
    // The daemon began again: its clock may stand before.
    turn(&mut model, 15, &[(1, 9000)]);
    turn(&mut model, 20, &[(1, 9500)]);
    assert_eq!(rates(&model), [(1, 100)]);
}

#[test]
fn keys_put_the_rows_in_order_at_once_and_ask_for_others() {
    let mut model = model(&[(1, 100), (2, 900), (3, 500)]);
    assert_eq!(ids(&model), [2, 3, 1]);
    assert_eq!(model.poll(at(1)), None, "nothing is due");
    press(&mut model, "r");
    assert_eq!(ids(&model), [1, 3, 2]);
    let query = model.poll(at(1)).unwrap();
    assert_eq!(query.order.to_string(), "-rate");
    press(&mut model, "r");
    assert_eq!(model.poll(at(1)), None, "one question at a time");
    model.handle_answer(&query, Ok(answer(1, &[(1, 100)])), at(1));
    assert!(model.poll(at(1)).is_some());
    // All around, and back.
    let mut names = Vec::new();
    for _ in Key::VALUES {
        press(&mut model, "o");
        names.push(model.order.to_string());
    }
    assert_eq!(
        names,
        ["octets", "packets", "age", "silent", "expiry", "rate"]
    );
    press(&mut model, "O");
    assert_eq!(model.order.key, Key::Expiry);
    press(&mut model, "P");
    assert_eq!(model.order.key, Key::Packets);
}

#[test]
fn a_filter_is_in_force_when_the_daemon_took_it() {
    let mut model = model(&[(1, 100)]);
    press(&mut model, "fport 7x\n");
    assert_eq!(model.filter, "");
    let query = model.poll(at(1)).unwrap();
    assert_eq!(query.filter, "port 7x");
    let refused = Err(Failure::Refused("port: 7x is no port".to_owned()));
    model.handle_answer(&query, refused, at(1));
    assert_eq!(model.refusal.as_deref(), Some("port: 7x is no port"));
    // What is asked next is the filter that was good; what is edited, the one that was not.
    turn(&mut model, 6, &[(1, 100), (2, 50)]);
    assert_eq!((ids(&model), &*model.filter), (vec![2, 1], ""));
    assert!(model.refusal.is_some(), "until a key");
    press(&mut model, "f");
    assert_eq!(model.refusal, None);
    press(&mut model, "\x08\n");
    let query = model.poll(at(7)).unwrap();
    assert_eq!(query.filter, "port 7");
    model.handle_answer(&query, Ok(answer(7, &[(2, 50)])), at(7));
    assert_eq!((ids(&model), &*model.filter), (vec![2], "port 7"));
    // Nothing is typed into the keys' meaning.
    press(&mut model, "fq\x1b");
    assert_eq!((&model.mode, &*model.filter), (&Mode::List, "port 7"));
}

#[test]
fn an_answer_to_a_filter_before_is_not_shown() {
    let mut model = model(&[(1, 100)]);
    let query = model.poll(at(5)).unwrap();
    press(&mut model, "fproto udp\n");
    model.handle_answer(&query, Ok(answer(5, &[(9, 9)])), at(5));
    assert_eq!((ids(&model), &*model.filter), (vec![1], ""));
    turn(&mut model, 5, &[(2, 9)]);
    assert_eq!((ids(&model), &*model.filter), (vec![2], "proto udp"));
}

#[test]
fn paused_it_asks_only_for_what_a_key_wants() {
    let mut model = model(&[(1, 100)]);
    press(&mut model, " ");
    assert!(model.is_paused && model.poll_timeout().is_none());
    assert_eq!(model.poll(at(100)), None);
    press(&mut model, "f\n");
    assert!(model.poll(at(100)).is_some());
    assert_eq!(model.poll(at(200)), None);
    press(&mut model, "p");
    assert!(!model.is_paused);
}

#[test]
fn the_interval_is_whole_seconds_within_bounds() {
    let mut model = model(&[(1, 100)]);
    assert_eq!(model.poll_timeout(), Some(at(5)));
    press(&mut model, "s\x082\n");
    assert_eq!(model.interval, Duration::from_secs(2));
    turn(&mut model, 1, &[(1, 100)]);
    assert_eq!(model.poll_timeout(), Some(at(3)));
    for (typed, problem) in [
        ("0", "0: is not a number from 1 to 3600"),
        ("3601", "3601: is not a number from 1 to 3600"),
        ("x", "x: is not a number from 1 to 3600"),
    ] {
        press(&mut model, &format!("s\x08{typed}\n"));
        assert_eq!(model.refusal.as_deref(), Some(problem));
        assert_eq!(model.interval, Duration::from_secs(2));
    }
}

#[test]
fn the_list_scrolls_within_its_rows() {
    let many: Vec<(u64, u64)> = (1..=50).map(|id| (id, 1000 - id)).collect();
    let mut model = model(&many);
    let mut scroll = |code| {
        model.handle_key(KeyEvent::new(code, KeyModifiers::NONE));
        model.first
    };
    assert_eq!(scroll(KeyCode::Up), 0);
    assert_eq!(scroll(KeyCode::Down), 1);
    assert_eq!(scroll(KeyCode::PageDown), 21);
    assert_eq!(scroll(KeyCode::End), 30, "20 rows of 50 on a page");
    assert_eq!(scroll(KeyCode::PageDown), 30);
    assert_eq!(scroll(KeyCode::PageUp), 10);
    press(&mut model, "n25\n");
    assert_eq!((model.first, model.shown().len()), (5, 25));
    // Fewer rows come, and a larger screen.
    turn(&mut model, 5, &many[..3]);
    assert_eq!(model.first, 0);
    model.handle_size(0);
    assert_eq!(model.first, 0);
}

#[test]
fn a_daemon_that_is_away_is_asked_again_and_the_rows_stay() {
    let mut model = model(&[(1, 100)]);
    for second in [5, 10] {
        let query = model.poll(at(second)).unwrap();
        let lost = Err(Failure::Lost("/s: \x1b[2J gone".to_owned()));
        model.handle_answer(&query, lost, at(second));
        assert_eq!(model.trouble.as_deref(), Some("/s: ?[2J gone"));
        assert_eq!((ids(&model), model.answered), (vec![1], at(0)));
        assert_eq!(model.poll_timeout(), Some(at(second + 5)));
    }
    turn(&mut model, 15, &[(2, 100)]);
    assert_eq!((ids(&model), &model.trouble), (vec![2], &None));
}

#[test]
fn quitting_and_stopping_work_in_every_mode() {
    for keys in ["j", "f", "fport", "h", "s"] {
        let mut model = model(&[(1, 100)]);
        press(&mut model, keys);
        assert_eq!(control(&mut model, 'z'), Reaction::Suspend, "{keys}");
        assert_eq!(control(&mut model, 'c'), Reaction::Quit, "{keys}");
    }
    let mut model = model(&[(1, 100)]);
    assert_eq!(press(&mut model, "h"), Reaction::Go);
    assert_eq!(model.mode, Mode::Help);
    assert_eq!(press(&mut model, "o"), Reaction::Go);
    assert_eq!(
        (&model.mode, model.order.key),
        (&Mode::List, Key::Rate),
        "a key ends the help only"
    );
    assert_eq!(press(&mut model, "q"), Reaction::Quit);
    assert_eq!(control(&mut model, 'l'), Reaction::Redraw);
}
