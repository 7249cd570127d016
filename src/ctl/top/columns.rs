//! Which columns a width has room for, and what stands in them.
//!
//! ```text
//!  80  PR   D SRC        DEST       STATE  AGE  EXP PKTS BYTES RATE
//! 200  PR        DIR SRC        GATEWAY    DEST       STATE ... RATE SILENT IF SENDER QUALITY
//! ```
//! Nothing is wider than its column: numbers are rounded, words cut, of an address the middle left
//! out. Ports stay, because they tell connections of two hosts apart.

use std::net::IpAddr;

use super::model::Row;
use crate::output::words::Endpoint;

/// A column.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Column {
    Proto,
    Direction,
    Source,
    Gateway,
    Destination,
    Timeout,
    Age,
    Expiry,
    Packets,
    Octets,
    Rate,
    Silent,
    Interface,
    Sender,
    Quality,
}

/// A column on the screen.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Placed {
    pub(super) column: Column,
    pub(super) width: usize,
}

/// From this width on columns are wide.
const WIDE: usize = 120;
/// What an IPv4 address with its port takes.
const END: usize = 21;
/// What is left of an end at least before columns go.
const LEAST_END: usize = 12;

use Column::{
    Age, Destination, Direction, Expiry, Gateway, Interface, Octets, Packets, Proto, Quality, Rate,
    Sender, Silent, Source, Timeout,
};

/// Columns of every screen in their order, each with its width on a narrow and on a wide one. The
/// widths of the ends are worked out.
const COLUMNS: &[(Column, usize, usize)] = &[
    (Proto, 4, 9),
    (Direction, 1, 3),
    (Source, 0, 0),
    (Destination, 0, 0),
    (Timeout, 5, 15),
    (Age, 4, 8),
    (Expiry, 4, 8),
    (Packets, 4, 7),
    (Octets, 5, 7),
    (Rate, 4, 7),
];

/// What goes first where even narrow columns leave the ends no room.
const DISPENSABLE: &[Column] = &[
    Timeout, Expiry, Direction, Packets, Proto, Age, Octets, Rate,
];

/// What there may be room for, the most wanted first.
const FURTHER: &[(Column, usize)] = &[
    (Gateway, END),
    (Interface, 8),
    (Sender, 15),
    (Quality, 9),
    (Silent, 8),
];

impl Column {
    pub(super) fn title(self, width: usize) -> &'static str {
        match self {
            Self::Proto => "PR",
            Self::Direction if width < 3 => "D",
            Self::Direction => "DIR",
            Self::Source => "SRC",
            Self::Gateway => "GATEWAY",
            Self::Destination => "DEST",
            Self::Timeout => "STATE",
            Self::Age => "AGE",
            Self::Expiry => "EXP",
            Self::Packets => "PKTS",
            Self::Octets => "BYTES",
            Self::Rate => "RATE",
            Self::Silent => "SILENT",
            Self::Interface => "IF",
            Self::Sender => "SENDER",
            Self::Quality => "QUALITY",
        }
    }

    /// Whether it stands at the right of its column.
    pub(super) fn is_number(self) -> bool {
        matches!(self, Age | Expiry | Packets | Octets | Rate | Silent)
    }

    fn is_end(self) -> bool {
        matches!(self, Source | Destination | Gateway)
    }

    /// What stands in it, no wider than `width`.
    pub(super) fn cell(self, Row { state, rate }: &Row, width: usize) -> String {
        match self {
            Proto if state.proto == "ipv6-icmp" && width < 9 => cut("icmp6", width),
            Proto => cut(&state.proto, width),
            Direction => cut(&state.direction, width),
            Source => end(&state.source, width),
            Gateway => state
                .gateway
                .map_or(String::new(), |gateway| end(&gateway, width)),
            Destination => end(&state.destination, width),
            Timeout => {
                // The protocol stands in a column of its own.
                let name = match state.timeout.split_once('.') {
                    Some((_, name)) if state.timeout.len() > width => name,
                    _ => &state.timeout,
                };
                cut(name, width)
            }
            Age => duration(state.age, width),
            Expiry => duration(state.ends_in, width),
            Silent => duration(state.silent, width),
            Packets => amount(state.packets, width),
            Octets => amount(state.octets, width),
            Rate => amount(*rate, width),
            Interface => cut(&state.interface, width),
            Sender => match state.sender.parse() {
                Ok(ip) => end(&Endpoint { ip, port: 0 }, width),
                Err(_) => cut(&state.sender, width),
            },
            Quality if state.is_overdue => cut("overdue", width),
            Quality => cut(&state.quality, width),
        }
    }
}

/// The columns for rows on a screen of this width.
pub(super) fn layout(width: usize, rows: &[Row]) -> Vec<Placed> {
    let is_wide = width >= WIDE;
    let mut columns: Vec<Placed> = COLUMNS
        .iter()
        .map(|(column, narrow, wide)| Placed {
            column: *column,
            width: if is_wide { *wide } else { *narrow },
        })
        .collect();
    for column in DISPENSABLE {
        if left(width, &columns) >= 2 * LEAST_END {
            break;
        }
        columns.retain(|placed| placed.column != *column);
    }
    for (column, wanted) in FURTHER {
        let is_of_use = *column != Gateway || rows.iter().any(|row| row.state.gateway.is_some());
        if is_of_use && left(width, &columns) > 2 * END + *wanted {
            let placed = Placed {
                column: *column,
                width: *wanted,
            };
            let before = columns
                .iter()
                .position(|placed| placed.column == Destination);
            match before {
                Some(before) if *column == Gateway => columns.insert(before, placed),
                _ => columns.push(placed),
            }
        }
    }
    let gateway = columns.iter().find(|placed| placed.column == Gateway);
    let room = left(width, &columns) + gateway.map_or(0, |placed| placed.width);
    share(room, rows, &mut columns);
    columns
}

/// Room that columns and the blanks between them leave.
fn left(width: usize, columns: &[Placed]) -> usize {
    let used: usize = columns.iter().map(|placed| placed.width).sum();
    width.saturating_sub(used + columns.len().saturating_sub(1))
}

/// Gives `room` to the ends, an equal share to each, so that columns stay where they are. An end
/// that needs more gets what the others leave.
fn share(mut room: usize, rows: &[Row], columns: &mut [Placed]) {
    let ends = columns.iter_mut().filter(|placed| placed.column.is_end());
    let mut ends: Vec<(usize, &mut Placed)> = ends
        .map(|placed| {
            let cells = rows
                .iter()
                .map(|row| placed.column.cell(row, usize::MAX).len());
            (cells.max().unwrap_or(0), placed)
        })
        .collect();
    let equal = room / ends.len().max(1);
    let is_enough = ends.iter().all(|(need, _)| *need <= equal);
    ends.sort_by_key(|(need, _)| *need);
    let mut count = ends.len();
    for (need, placed) in ends {
        let equal = room / count;
        placed.width = match count {
            1 => room,
            _ if is_enough => equal,
            _ => need.min(equal),
        };
        room -= placed.width;
        count -= 1;
    }
}

/// The beginning of a word.
fn cut(word: &str, width: usize) -> String {
    word.chars().take(width).collect()
}

/// A number, rounded down to what fits: 12.3M.
pub(super) fn amount(number: u64, width: usize) -> String {
    let exact = number.to_string();
    if exact.len() <= width {
        return exact;
    }
    let mut unit: u64 = 1;
    for letter in ["K", "M", "G", "T", "P", "E"] {
        unit *= 1000;
        let (whole, tenth) = (number / unit, number % unit / (unit / 10));
        if whole < 10 && width >= 4 || whole < 1000 && width > 5 {
            return format!("{whole}.{tenth}{letter}");
        }
        if whole < 1000 {
            return cut(&format!("{whole}{letter}"), width);
        }
    }
    cut(&exact, width)
}

/// Seconds as `hh:mm:ss` where that fits, else in the greatest unit that has two digits.
pub(super) fn duration(seconds: u64, width: usize) -> String {
    let clock = format!(
        "{:02}:{:02}:{:02}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    );
    if clock.len() <= width {
        return clock;
    }
    let text = match seconds {
        0..100 => format!("{seconds}s"),
        100..6000 => format!("{}m", seconds / 60),
        6000..360_000 => format!("{}h", seconds / 3600),
        360_000..86_400_000 => format!("{}d", seconds / 86400),
        _ => format!("{}y", seconds / (365 * 86400)),
    };
    cut(&text, width)
}

/// An end; where there is no room for all of it, `..` stands for the middle of its address.
pub(super) fn end(end: &Endpoint, width: usize) -> String {
    let whole = end.to_string();
    if whole.len() <= width {
        return whole;
    }
    let address = end.ip.to_string();
    let port = whole.get(address.len()..).unwrap_or_default();
    let room = width.saturating_sub(port.len());
    if room < "2..1".len() {
        return cut(port, width);
    }
    format!("{}{port}", shortened(&end.ip, &address, room))
}

/// The last characters of an address.
fn tail_of(address: &str, len: usize) -> &str {
    let from = address.len().saturating_sub(len);
    address.get(from..).unwrap_or_default()
}

/// An address in `room` characters: of an IPv6 address as many groups at both ends as fit, because
/// the first tell the network and the last the host.
fn shortened(ip: &IpAddr, address: &str, room: usize) -> String {
    const GAP: &str = "..";
    let IpAddr::V6(_) = ip else {
        // The last octets of an IPv4 address tell hosts of a network apart.
        let tail = tail_of(address, room - GAP.len());
        return format!("{GAP}{}", tail.trim_start_matches('.'));
    };
    let groups: Vec<&str> = address.split(':').collect();
    let text = |head: usize, tail: usize| {
        let (first, last) = (
            groups.get(..head),
            groups.get(groups.len().saturating_sub(tail)..),
        );
        let join = |groups: Option<&[&str]>| groups.unwrap_or_default().join(":");
        format!("{}{GAP}{}", join(first), join(last))
    };
    let (mut head, mut tail) = (0, 0);
    // By turns, the host first.
    loop {
        let (more_tail, more_head) = (text(head, tail + 1), text(head + 1, tail));
        if tail <= head && more_tail.len() <= room {
            tail += 1;
        } else if more_head.len() <= room {
            head += 1;
        } else if more_tail.len() <= room {
            tail += 1;
        } else {
            break;
        }
    }
    match (head, tail) {
        // A single group is too long: its end.
        (0, 0) => format!("{GAP}{}", tail_of(address, room - GAP.len())),
        _ => text(head, tail),
    }
}

#[cfg(test)]
mod tests {
    use super::super::model::tests::row;
    use super::*;

    fn endpoint(ip: &str, port: u16) -> Endpoint {
        Endpoint {
            ip: ip.parse().unwrap(),
            port,
        }
    }

    #[test]
    fn nothing_is_wider_than_its_column() {
        let mut row = row(1, 0);
        let states = &mut row.state;
        states.source = endpoint("2001:db8:1111:2222:3333:4444:5555:6666", 65535);
        states.destination = endpoint("255.255.255.255", 65535);
        states.gateway = Some(endpoint("::ffff:255.255.255.255", 65535));
        (states.proto, states.sender) = (
            "ipv6-icmp".to_owned(),
            "fe80::1111:2222:3333:4444".to_owned(),
        );
        (states.interface, states.timeout) = ("\\x00".repeat(16), "other.multiple".to_owned());
        for n in [
            0,
            9,
            99,
            100,
            999,
            9999,
            99999,
            123_456,
            86_400_000,
            u64::MAX,
        ] {
            let states = &mut row.state;
            (states.age, states.ends_in, states.silent) = (n, n, n);
            (states.packets, states.octets, row.rate) = (n, n, n);
            for width in 0..250 {
                let rows = [row.clone()];
                let columns = layout(width, &rows);
                for Placed { column, width } in &columns {
                    let cell = column.cell(&row, *width);
                    assert!(cell.len() <= *width, "{column:?} {width}: {cell}");
                    assert!(*width < 4 || !cell.is_empty(), "{column:?} {width} {n}");
                }
                let used: usize = columns.iter().map(|placed| placed.width + 1).sum();
                assert!(width < 20 || used - 1 == width, "{width}: {columns:?}");
            }
        }
    }

    #[test]
    fn numbers_keep_the_digits_there_is_room_for() {
        for (number, width, text) in [
            (9999, 4, "9999"),
            (12_345, 4, "12K"),
            (12_345, 5, "12345"),
            (1_234_567, 4, "1.2M"),
            (12_345_678, 5, "12M"),
            (12_345_678, 7, "12.3M"),
            (999_999, 4, "999K"),
            (u64::MAX, 4, "18E"),
            (u64::MAX, 7, "18.4E"),
        ] {
            assert_eq!(amount(number, width), text);
        }
        for (seconds, width, text) in [
            (0, 4, "0s"),
            (99, 4, "99s"),
            (100, 4, "1m"),
            (7200, 4, "2h"),
            (86_399, 8, "23:59:59"),
            (400_000, 8, "4d"),
            (4_000_000, 8, "46d"),
            (u64::from(u32::MAX), 4, "136y"),
        ] {
            assert_eq!(duration(seconds, width), text);
        }
    }

    #[test]
    fn a_long_address_keeps_its_port_its_network_and_its_host() {
        let long = endpoint("2001:db8:85a3:1234:5678:8a2e:370:7334", 443);
        for (width, text) in [
            (42, "2001:db8:85a3:1234:5678:8a2e:370:7334[443]"),
            (41, "2001:db8:85a3..5678:8a2e:370:7334[443]"),
            (20, "2001..370:7334[443]"),
            (19, "2001..370:7334[443]"),
            (18, "2001..7334[443]"),
            (12, "..7334[443]"),
            (9, "..34[443]"),
            (8, "[443]"),
            (3, "[44"),
        ] {
            assert_eq!(end(&long, width), text, "{width}");
        }
        let short = endpoint("192.168.100.200", 50000);
        assert_eq!(end(&short, 21), "192.168.100.200:50000");
        assert_eq!(end(&short, 20), "..168.100.200:50000");
        assert_eq!(end(&endpoint("2001:db8::1", 0), 20), "2001:db8::1");
    }

    #[test]
    fn narrow_screens_keep_the_ends_and_wide_ones_tell_more() {
        let titles = |width: usize, rows: &[Row]| {
            let columns = layout(width, rows);
            let titles = columns
                .iter()
                .map(|placed| placed.column.title(placed.width));
            titles.collect::<Vec<_>>().join(" ")
        };
        let plain = [row(1, 0)];
        let mut translated = row(2, 0);
        translated.state.gateway = Some(endpoint("198.51.100.1", 50000));
        let translated = [translated];
        let all = "PR D SRC DEST STATE AGE EXP PKTS BYTES RATE";
        assert_eq!(titles(80, &plain), all);
        assert_eq!(titles(80, &translated), all);
        assert_eq!(titles(50, &plain), "PR SRC DEST AGE BYTES RATE");
        assert_eq!(titles(30, &plain), "SRC DEST RATE");
        assert_eq!(titles(10, &plain), "SRC DEST");
        assert_eq!(
            titles(200, &translated),
            "PR DIR SRC GATEWAY DEST STATE AGE EXP PKTS BYTES RATE IF SENDER QUALITY SILENT"
        );
        assert_eq!(
            titles(200, &plain),
            "PR DIR SRC DEST STATE AGE EXP PKTS BYTES RATE IF SENDER QUALITY SILENT"
        );
    }
}
