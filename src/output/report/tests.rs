use std::net::IpAddr;

use serde_json::Value;

use super::*;
use crate::flow::{Boot, Detail, Quality, Times};
use crate::state::{Address, Af};
use crate::time::Now;

const START: i64 = 1_700_000_000;

fn flow(host: u8, octets: [u64; 2]) -> Flow {
    let address = |last| Address::from(IpAddr::from([10, 0, 0, last]));
    let now = Now::with_boot(Wall::new(START + 100, 0), Wall::new(START, 0));
    Flow {
        ifname: IfName::from("em0"),
        tuple: Tuple {
            af: Af::Inet,
            proto: if host.is_multiple_of(2) { 6 } else { 17 },
            src: address(host),
            dst: address(host.wrapping_add(1)),
            sport: 4000,
            dport: 443,
        },
        octets,
        packets: octets.map(|octets| octets / 100 + 1),
        times: Times::new(10, 10 + i64::from(host), now, Boot::Unknown),
        quality: if host.is_multiple_of(3) {
            Quality::Partial
        } else {
            Quality::Exact
        },
        detail: Some(Detail {
            sender: None,
            dialect: 9,
            rule: 7,
            anchor: u32::MAX,
            nat_rule: u32::MAX,
            state_flags: 0,
            peers: [0; 2],
            tos: 0,
            route: None,
            rdomains: [0; 2],
            part: 0,
        }),
        ..Flow::default()
    }
}

fn page_of(report: &mut Report, title: &str) -> String {
    let page = Page {
        title: title.to_owned(),
        ..Page::default()
    };
    let mut out = Vec::new();
    while report.print_some(&mut out, &page) {
        assert!(out.len() < 1 << 20);
    }
    String::from_utf8(out).unwrap()
}

fn data_of(page: &str) -> Value {
    let (_, rest) = page
        .split_once("<script type=\"application/json\" id=\"data\">")
        .unwrap();
    let (data, _) = rest.split_once("</script>").unwrap();
    serde_json::from_str(data).unwrap()
}

fn sum(values: &Value) -> u64 {
    let values = values.as_array().unwrap().iter();
    values
        .map(|value| value.as_u64().unwrap_or_else(|| sum(value)))
        .sum()
}

#[test]
fn every_sum_in_the_page_is_that_of_its_flows() {
    let mut report = Report::new();
    report.begin(Wall::new(START + 20, 0));
    let (mut octets, mut packets, mut records) = (0, 0, 0);
    for host in 0..60 {
        let flow = flow(host, [u64::from(host) * 1000, u64::from(host % 5)]);
        for record in flow.records() {
            octets += record.octets;
            packets += record.packets;
            records += 1;
        }
        report.add(&flow, &Passage::of_state(0));
    }
    let data = data_of(&page_of(&mut report, ""));
    let number = |name: &str| data[name].as_u64().unwrap();
    assert_eq!(number("octets"), octets);
    assert_eq!(number("packets"), packets);
    assert_eq!((number("flows"), number("records")), (60, records));
    let protocols = data["protocols"].as_array().unwrap();
    let of_all = |name: &str| protocols.iter().map(|one| sum(&one[name])).sum::<u64>();
    assert_eq!((of_all("octets"), of_all("flows")), (octets, 60));
    let by_packets = protocols.iter().map(|one| one["packets"].as_u64().unwrap());
    assert_eq!(by_packets.sum::<u64>(), packets);
    let chart = &data["chart"];
    let before = chart["before"].as_u64().unwrap();
    assert!(before > 0);
    assert_eq!(sum(&chart["series"]) + before, octets);
    let rows = data["rows"].as_array().unwrap();
    let of_rows = |place: usize| {
        rows.iter()
            .map(|row| row[place].as_u64().unwrap())
            .sum::<u64>()
    };
    assert_eq!(
        (of_rows(9) + of_rows(10), of_rows(11) + of_rows(12)),
        (octets, packets)
    );
    for top in data["tops"].as_array().unwrap() {
        let rows = top["rows"].as_array().unwrap();
        let shown: u64 = rows.iter().map(|row| row[3].as_u64().unwrap()).sum();
        let all = shown + top["others"][1].as_u64().unwrap() + top["keyless"].as_u64().unwrap();
        let times = if top["name"] == "Hosts" { 2 } else { 1 };
        assert_eq!(all, times * octets, "{}", top["name"]);
    }
    let longest = data["longest"].as_array().unwrap();
    assert_eq!((longest.len(), longest[0][1].as_u64()), (LONGEST, Some(59)));
}

#[test]
fn the_table_keeps_the_flows_with_most_octets_and_says_how_many_it_left_out() {
    let mut report = Report::with_rows(3);
    for octets in [5, 900, 7, 900, 30, 2] {
        report.add(&flow(2, [octets, 0]), &Passage::of_state(0));
    }
    let data = data_of(&page_of(&mut report, ""));
    let rows = data["rows"].as_array().unwrap().iter();
    let octets: Vec<_> = rows.map(|row| row[9].as_u64().unwrap()).collect();
    assert_eq!(octets, [900, 900, 30]);
    assert_eq!(data["left_out"], serde_json::json!([3, 14]));
}

#[test]
fn nothing_off_the_wire_ends_the_script_that_it_is_in() {
    let mut report = Report::new();
    for name in ["</script><!", "<!--<script>", "'\"&<b>", "\u{7f}\\</SCRIPT"] {
        let mut flow = flow(2, [5, 5]);
        flow.ifname = IfName::from(name);
        let egress = Some((IfName::from(name), 0));
        let passage = Passage { ifindex: 0, egress };
        report.add(&flow, &passage);
    }
    let title = "</script><script>alert(1)</script>";
    let page = page_of(&mut report, title);
    let (_, rest) = page.split_once("id=\"data\">").unwrap();
    let (data, _) = rest.split_once("</script>\n<script>").unwrap();
    assert!(!data.contains('<'), "{data}");
    let data = data_of(&page);
    assert_eq!(data["title"], title);
    assert_eq!(data["rows"][0][13], "</script><! > </script><!");
    assert_eq!(
        page.matches("<script").count() - HTML.matches("<script").count(),
        2
    );
}

#[test]
fn the_policy_lets_in_the_scripts_and_the_style_that_are_there_and_no_others() {
    let page = page_of(&mut Report::new(), "");
    let hash = |text: &str| openssl::base64::encode_block(&openssl::sha::sha256(text.as_bytes()));
    let between = |from: &str, to: &str| {
        let (_, rest) = page.split_once(from).unwrap();
        rest.split_once(to).unwrap().0
    };
    let policy = between("Content-Security-Policy\" content=\"", "\"");
    let style = hash(between("<style>", "</style>"));
    let script = hash(between("</script>\n<script>", "</script>"));
    let expected = format!(
        "default-src 'none'; img-src data:; style-src 'sha256-{style}'; script-src 'sha256-{script}'"
    );
    assert_eq!(policy, expected);
    assert!(page.contains("The MIT License (MIT)\n\nCopyright (c) 2022 Leon Sorokin"));
    // Nothing that a browser would fetch.
    for attribute in ["src=", "href=\"h", "url(", "@import"] {
        assert!(!HTML.contains(attribute) && !CSS.concat().contains(attribute));
    }
    assert!(!CSS.concat().contains("</style") && !SCRIPT.concat().contains("</script"));
}

#[test]
fn a_page_without_flows_is_whole() {
    let page = page_of(&mut Report::new(), "nothing.pcap");
    assert!(page.starts_with("<!doctype html>") && page.ends_with("</html>\n"));
    let data = data_of(&page);
    assert_eq!(
        (
            data["flows"].as_u64(),
            data["rows"].as_array().unwrap().len()
        ),
        (Some(0), 0)
    );
}
