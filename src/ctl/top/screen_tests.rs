use ratatui::Terminal;
use ratatui::backend::{Backend, TestBackend};
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::super::client::{Failure, Query};
use super::super::model::tests::{answer, model};
use super::*;
use crate::output::words::Endpoint;

/// The lines of a screen of this size.
fn shown(width: u16, height: u16, model: &mut TopModel, second: i64) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    model.handle_size(page(height));
    terminal
        .draw(|frame| draw(frame, model, Uptime::new(second, 0)))
        .unwrap();
    let buffer = terminal.backend().buffer();
    let line = |y| {
        (0..width)
            .map(|x| buffer[(x, y)].symbol())
            .collect::<String>()
    };
    (0..height)
        .map(line)
        .map(|line| line.trim_end().to_owned())
        .collect()
}

fn press(model: &mut TopModel, keys: &str) {
    for key in keys.chars() {
        model.handle_key(KeyEvent::new(KeyCode::Char(key), KeyModifiers::NONE));
    }
}

/// Two states: one of IPv4 that is translated, one of IPv6.
fn two() -> TopModel {
    let end = |ip: &str, port| Endpoint {
        ip: ip.parse().unwrap(),
        port,
    };
    let mut answer = answer(0, &[(1, 12_345_678), (2, 999)]);
    let [first, second] = &mut *answer.states else {
        panic!();
    };
    first.gateway = Some(end("198.51.100.1", 61000));
    first.quality = "estimated".to_owned();
    second.source = end("2001:db8:85a3:1234:5678:8a2e:370:7334", 546);
    second.destination = end("2001:db8::1", 547);
    (second.proto, second.timeout) = ("udp".to_owned(), "udp.multiple".to_owned());
    TopModel::new(Query::default(), None, answer, Uptime::new(0, 0))
}

#[test]
fn a_screen_of_80_columns() {
    assert_eq!(
        shown(80, 7, &mut two(), 0),
        [
            "2 states, 12.3M octets, 9 packets; by rate; every 5 s                    h: help",
            "",
            "PR   D SRC                      DEST             STATE  AGE  EXP PKTS BYTES RATE",
            "tcp  o 10.0.0.5:50000           192.0.2.1:443    estab  10s  24h 123K   12M 1.2M",
            "udp  o 2001:db8..370:7334[546]  2001:db8::1[547] multi  10s  24h    9   999   99",
            "",
            "",
        ]
    );
}

#[test]
fn a_screen_of_200_columns() {
    assert_eq!(
        shown(200, 6, &mut two(), 0)[2..5],
        [
            "PR        DIR SRC                                              GATEWAY            DEST             STATE                AGE      EXP    PKTS   BYTES    RATE IF       SENDER          QUALITY     SILENT",
            "tcp       out 10.0.0.5:50000                                   198.51.100.1:61000 192.0.2.1:443    tcp.established 00:00:10 24:00:00  123456   12.3M 1234567 em0      10.0.0.2        estimated 00:00:01",
            "udp       out 2001:db8:85a3:1234:5678:8a2e:370:7334[546]                          2001:db8::1[547] udp.multiple    00:00:10 24:00:00       9     999      99 em0      10.0.0.2        exact     00:00:01",
        ]
    );
}

#[test]
fn no_size_is_too_small() {
    let mut model = two();
    for mode in ["", "h", "f"] {
        press(&mut model, mode);
        for width in 1..=130 {
            for height in [1, 2, 3, 4, 24] {
                let lines = shown(width, height, &mut model, 0);
                assert_eq!(lines.len(), usize::from(height));
            }
        }
    }
}

#[test]
fn the_second_line_tells_what_is_typed_what_is_wrong_or_what_is_filtered() {
    let second = |model: &mut TopModel| shown(80, 5, model, 0)[1].clone();
    let mut typing = two();
    press(&mut typing, "fproto tcp");
    assert_eq!(second(&mut typing), "filter: proto tcp");
    let mut terminal = Terminal::new(TestBackend::new(80, 5)).unwrap();
    terminal
        .draw(|frame| draw(frame, &typing, Uptime::new(0, 0)))
        .unwrap();
    let cursor = terminal.backend_mut().get_cursor_position().unwrap();
    assert_eq!((cursor.x, cursor.y), (17, 1));
    press(&mut typing, &"x".repeat(100));
    assert_eq!(second(&mut typing), format!("filter: {}", "x".repeat(71)));
    let mut lost = two();
    let failure = Failure::Lost("/s: Connection refused (os error 111)".to_owned());
    lost.handle_answer(&Query::default(), Err(failure), Uptime::new(5, 0));
    assert_eq!(
        second(&mut lost),
        "/s: Connection refused (os error 111); asked again every 5 s"
    );
    assert!(shown(80, 5, &mut lost, 30)[0].contains(", 30s old"));
    let mut refused = two();
    let failure = Failure::Refused("port: 7x is no port".to_owned());
    refused.handle_answer(&Query::default(), Err(failure), Uptime::new(5, 0));
    assert_eq!(second(&mut refused), "port: 7x is no port");
}

#[test]
fn the_help_fits_24_lines() {
    let mut model = model(&[(1, 1)]);
    press(&mut model, "h");
    let lines = shown(80, 30, &mut model, 0);
    assert!(lines[2].contains("next order"), "{lines:?}");
    let used = lines.iter().rposition(|line| !line.is_empty()).unwrap();
    assert!(used < 24, "{used}");
    assert!(lines[used].starts_with("pf tells no counters"));
    assert!(lines.iter().all(|line| line.len() <= 80), "{lines:?}");
}
