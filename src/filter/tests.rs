use jiff::tz::TimeZone;
use proptest::prelude::*;

use super::*;
use crate::state::{Address, Af, StateId};
use crate::time::Now;
use crate::word::Spelling;

fn parse(text: &str) -> Filter {
    Filter::parse(text, Spelling::Whole).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn error(text: &str) -> String {
    Filter::parse(text, Spelling::Whole)
        .unwrap_err()
        .to_string()
}

fn tuple(src: &str, sport: u16, dst: &str, dport: u16) -> Tuple {
    let ip = |text: &str| text.parse::<IpAddr>().unwrap();
    let address = |text: &str| {
        let mut octets = [0; 16];
        match ip(text) {
            IpAddr::V4(v4) => octets[..4].copy_from_slice(&v4.octets()),
            IpAddr::V6(v6) => octets = v6.octets(),
        }
        Address(octets)
    };
    Tuple {
        af: if ip(src).is_ipv4() {
            Af::Inet
        } else {
            Af::Inet6
        },
        proto: 6,
        src: address(src),
        dst: address(dst),
        sport,
        dport,
    }
}

/// 10.0.0.5:40000 > 198.51.100.3:50000 > 192.0.2.1:443 for 90 s from 22:13:20 UTC on.
fn flow() -> Flow {
    let now = Now::with_boot(Wall::new(1_700_000_090, 0), Wall::new(1_699_900_000, 0));
    Flow {
        id: StateId {
            id: 7,
            creatorid: 0x5f3a_9c01,
        },
        direction: Direction::Out,
        ifname: IfName::from("em0"),
        tuple: tuple("10.0.0.5", 40000, "192.0.2.1", 443),
        translated: Some(tuple("198.51.100.3", 50000, "192.0.2.1", 443)),
        packets: [10, 20],
        octets: [4000, 6000],
        times: crate::flow::Times::new(100_000, 100_090, now, crate::flow::Boot::Known),
        quality: Quality::Estimated,
        ..Flow::default()
    }
}

fn is_met(text: &str) -> bool {
    let flow = flow();
    let passage = Passage::of_state(0);
    let filter = parse(text).resolved(Wall::new(1_700_000_000, 0), &TimeZone::UTC);
    filter.admits(&Subject::of_flow(&flow, &passage))
}

#[test]
fn each_test_holds_for_what_it_names_and_for_nothing_else() {
    for (yes, no) in [
        ("host 10.0.0.5", "host 10.0.0.6"),
        ("host 198.51.100.3", "host 2001:db8::1"),
        ("net 10.0.0.0/8", "net 11.0.0.0/8"),
        ("net 0.0.0.0/0", "net ::/0"),
        ("src 10.0.0.5", "src 192.0.2.1"),
        ("src 198.51.100.0/24", "src net 192.0.2.0/24"),
        ("dst host 192.0.2.1", "dst 10.0.0.5"),
        ("port 443", "port 80"),
        ("port https", "port http"),
        ("port 400:450", "port 444:39999"),
        ("dst port 443", "src port 443"),
        ("src port 50000", "dst port 50000"),
        ("proto tcp", "proto udp"),
        ("proto 6", "proto 17"),
        ("out", "in"),
        ("direction out", "direction in"),
        ("interface em0", "interface em"),
        ("creatorid 5f3a9c01", "creatorid 5f3a9c02"),
        ("quality estimated", "quality exact"),
        ("nat", "not nat"),
        ("octets > 9999", "octets > 10k"),
        ("octets = 10k", "octets < 10k"),
        ("octets>=10k", "octets >= 10001"),
        ("packets <= 30", "packets <= 29"),
        ("duration = 90", "duration > 90s"),
        ("duration > 1m", "duration > 2m"),
        ("age 90", "age 91"),
        ("from 22:14:50", "from 22:14:51"),
        ("to 22:13:20", "to 22:13:19"),
        ("from 2023-11-14T22:14:50Z", "from 2023-11-14T22:14:51Z"),
        (
            "to 2023-11-14T23:13:20+01:00",
            "to 2023-11-14T22:13:20+01:00",
        ),
        ("from 22:00 to 22:30", "from 22:00 to 22:13"),
    ] {
        assert!(is_met(yes), "{yes}");
        assert!(!is_met(no), "{no}");
    }
}

#[test]
fn what_a_subject_does_not_tell_is_not_met_and_its_negation_is() {
    for test in ["rule 7", "firewall local", "sender 192.0.2.9"] {
        assert!(!is_met(test), "{test}");
        assert!(is_met(&format!("not {test}")), "{test}");
    }
    let nothing = Subject::default();
    for test in [
        "host 10.0.0.5",
        "port 0:65535",
        "octets >= 0",
        "from 00:00",
        "in",
        "nat",
    ] {
        assert!(!parse(test).admits(&nothing), "{test}");
    }
}

#[test]
fn and_binds_closer_than_or_not_closest_and_words_in_a_row_are_joined_by_and() {
    for (text, is) in [
        ("host 10.0.0.5 or port 80 and proto udp", true),
        ("(host 10.0.0.5 or port 80) and proto udp", false),
        ("not host 10.0.0.6 and port 443", true),
        ("not (host 10.0.0.5 and port 443)", false),
        ("! port 80 ! port 81", true),
        ("not not nat", true),
        ("proto tcp port 443 out", true),
        ("address 10.0.0.5 proto udp", false),
        ("((nat))", true),
    ] {
        assert_eq!(is_met(text), is, "{text}");
    }
}

#[test]
fn a_connection_has_both_directions_and_both_interfaces() {
    let flow = flow();
    let passage = Passage {
        ifindex: 1,
        egress: Some((IfName::from("em1"), 2)),
    };
    let subject = Subject::of_flow(&flow, &passage);
    for text in ["in", "out", "interface em0", "interface em1"] {
        assert!(parse(text).admits(&subject), "{text}");
    }
}

#[test]
fn an_error_names_the_word_and_where_it_stands() {
    for (text, expected) in [
        ("", "no test follows"),
        ("host", "host: no address follows"),
        ("host 10.0.0.5 and", "and: no test follows"),
        ("proto tpc", "tpc: not a protocol"),
        (
            "host 10.0.0.256",
            "10.0.0.256: not an address; names are not looked up",
        ),
        (
            "host 10.0.0.0/8",
            "10.0.0.0/8: not an address; names are not looked up",
        ),
        (
            "net 10.0.0.0/33",
            "10.0.0.0/33: not a net, as 10.0.0.0/8 or 2001:db8::/32",
        ),
        (
            "port 70000",
            "70000: not a port, as 443, 1024:65535 or https",
        ),
        ("port 9:8", "9:8: ends before it begins"),
        ("octets 5", "5: expected one of: < <= = >= >"),
        ("octets >", ">: no number follows"),
        ("octets > 5T", "5T: not a number, as 1500, 10k, 10M or 1G"),
        (
            "octets > 18446744073709551615k",
            "18446744073709551615k: not a number, as 1500, 10k, 10M or 1G",
        ),
        (
            "duration > 5w",
            "5w: not a duration, as 90, 90s, 5m, 2h or 1d",
        ),
        ("(host 10.0.0.5", "(: not closed"),
        ("host 10.0.0.5)", "): no parenthesis is open"),
        ("quality good", "good: not one of: exact estimated partial"),
        ("creatorid xyz", "xyz: not a creatorid, as 5f3a9c01"),
        (
            "interface averylongifname0",
            "averylongifname0: not the name of an interface",
        ),
        ("rule x", "x: not the number of a rule"),
        ("firewall fw1", "fw1: not an address, and not local"),
    ] {
        assert_eq!(error(text), expected, "{text}");
    }
    assert!(error("hots 10.0.0.5").starts_with("hots: unknown word, expected one of: not host"));
    assert!(error("from 25:00").starts_with("25:00: not a time, as 22:00"));
    assert!(error("from yesterday").starts_with("yesterday: not a time"));
    let deep = "(".repeat(100) + "nat" + &")".repeat(100);
    assert_eq!(error(&deep), "(: more than 64 deep");
    let wrong = Filter::parse("nat and  (proto tpc)", Spelling::Whole).unwrap_err();
    assert_eq!(wrong.at, 16);
}

#[test]
fn words_may_be_cut_short_where_people_type_them() {
    let short = |text| Filter::parse(text, Spelling::Abbreviated);
    assert_eq!(
        short("addr 10.0.0.5 prot tcp"),
        Ok(parse("host 10.0.0.5 and proto tcp"))
    );
    let wrong = short("p 6").unwrap_err().to_string();
    assert_eq!(wrong, "p: ambiguous, one of: port proto packets");
    assert!(Filter::parse("addr 10.0.0.5", Spelling::Whole).is_err());
}

#[test]
fn times_without_a_zone_are_of_the_zone_and_the_day_of_the_capture() {
    let berlin = TimeZone::fixed(jiff::tz::offset(1));
    let at = |text: &str, day: i64| {
        let resolved = parse(text).resolved(Wall::new(day, 0), &berlin);
        let Expr::Is(Test::From(when)) = resolved.0 else {
            panic!("{text}")
        };
        when.instant().unwrap().secs()
    };
    // 2023-11-14 22:13:20 UTC is 23:13:20 in that zone, and 2 hours later it is the next day.
    assert_eq!(at("from 23:00", 1_700_000_000), 1_699_999_200);
    assert_eq!(at("from 23:00", 1_700_007_200), 1_699_999_200 + 86_400);
    assert_eq!(at("from 2023-11-14T23:00", 0), 1_699_999_200);
    assert_eq!(at("from 2023-11-14T22:00:00Z", 0), 1_699_999_200);
    assert!(parse("from 23:00").local_time().is_some());
    assert!(parse("nat or to 2023-11-14T23:00").local_time().is_some());
    assert!(parse("from 2023-11-14T22:00:00Z").local_time().is_none());
}

/// Any filter.
fn filters() -> impl Strategy<Value = Expr> {
    let end = prop_oneof![
        Just(Side::Either),
        Just(Side::Source),
        Just(Side::Destination)
    ];
    let net = (any::<IpAddr>(), 0..=128u8)
        .prop_map(|(address, bits)| Net::new(address, bits).unwrap_or(Net::of(address)));
    let how = (0..5usize).prop_map(|n| Comparison::VALUES[n].1);
    let quantity = prop_oneof![
        Just(Quantity::Octets),
        Just(Quantity::Packets),
        Just(Quantity::Duration)
    ];
    let time = prop_oneof![
        Just("22:00"),
        Just("02:03:04"),
        Just("2026-11-30T22:00:00Z"),
        Just("2026-11-30T22:00:00.5Z"),
        Just("2026-11-30T01:02:03")
    ]
    .prop_map(|text| When::parse(text).unwrap());
    let test = prop_oneof![
        (end.clone(), net).prop_map(|(end, net)| Test::Address(end, net)),
        (end, any::<u16>(), any::<u16>()).prop_map(|(end, a, b)| Test::Port(
            end,
            a.min(b),
            a.max(b)
        )),
        any::<u8>().prop_map(Test::Protocol),
        prop_oneof![Just(Direction::In), Just(Direction::Out)].prop_map(Test::Direction),
        "[a-z]{1,8}[0-9]{0,3}(\\.[0-9]{1,3})?"
            .prop_map(|name| Test::Interface(IfName::from(&*name))),
        any::<u32>().prop_map(Test::Rule),
        any::<Option<IpAddr>>().prop_map(|address| Test::Firewall(address.into())),
        any::<u32>().prop_map(Test::Creatorid),
        prop_oneof![
            Just(Quality::Exact),
            Just(Quality::Estimated),
            Just(Quality::Partial)
        ]
        .prop_map(Test::Quality),
        Just(Test::Nat),
        (quantity, how, any::<u64>()).prop_map(|(what, how, n)| Test::Compare(what, how, n)),
        time.clone().prop_map(Test::From),
        time.prop_map(Test::To),
    ]
    .prop_map(Expr::Is);
    test.prop_recursive(5, 40, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 2..4).prop_map(Expr::All),
            proptest::collection::vec(inner.clone(), 2..4).prop_map(Expr::Any),
            inner.prop_map(|one| Expr::Not(Box::new(one))),
        ]
    })
}

/// Whether both mean the same, however they are nested.
fn shown_twice(expr: &Expr) -> (String, String) {
    let shown = expr.to_string();
    let again = parse(&shown).to_string();
    (shown, again)
}

proptest! {
    #[test]
    fn what_is_shown_reads_back_and_shows_the_same_again(expr in filters()) {
        let (_, once) = shown_twice(&expr);
        let filter = parse(&once);
        prop_assert_eq!(&parse(&filter.to_string()), &filter);
        // The nested and the flat one mean the same.
        let (flow, passage) = (flow(), Passage::of_state(0));
        let subject = Subject::of_flow(&flow, &passage);
        prop_assert_eq!(Filter(expr).admits(&subject), filter.admits(&subject));
    }

    #[test]
    fn any_text_is_a_filter_or_an_error_inside_it(text in "[ a-z0-9():.<>=!/\\-é]{0,60}") {
        if let Err(error) = Filter::parse(&text, Spelling::Abbreviated) {
            prop_assert!(text.get(error.at..).is_some_and(|rest| rest.starts_with(&error.word)));
        }
    }

    #[test]
    fn words_in_any_order_are_a_filter_or_an_error_inside_them(
        words in proptest::collection::vec(proptest::sample::select(
            WORDS.iter().map(|(name, ..)| *name)
                .chain(["(", ")", "!", ">", "10.0.0.5", "5", "443", "22:00", "10.0.0.0/8"])
                .collect::<Vec<_>>()), 0..12)
    ) {
        let text = words.join(" ");
        match Filter::parse(&text, Spelling::Whole) {
            Ok(filter) => prop_assert_eq!(parse(&filter.to_string()), filter),
            Err(error) => prop_assert!(text[error.at..].starts_with(&error.word)),
        }
    }
}
