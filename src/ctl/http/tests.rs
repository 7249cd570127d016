use super::*;

fn parse(text: &str) -> Result<Option<Head>, Status> {
    Head::parse(text.as_bytes())
}

fn status(text: &str) -> Status {
    match parse(text) {
        Ok(Some(head)) => head.status,
        Ok(None) => panic!("{text:?} is not whole"),
        Err(status) => status,
    }
}

#[test]
fn a_scrape_is_understood_however_it_is_cut() {
    let text = "GET /metrics?x=1 HTTP/1.1\r\nHost: a\r\nAccept: text/plain;version=0.0.4;q=0.5,\
                application/openmetrics-text;version=1.0.0;q=0.8\r\n\r\nGET";
    let whole = text.len() - 3;
    for end in 0..whole {
        assert_eq!(parse(&text[..end]), Ok(None), "{end}");
    }
    let head = parse(text).unwrap().unwrap();
    let expected = Head {
        len: whole,
        status: Status::Ok,
        is_head: false,
        is_kept: true,
        exposition: Exposition::OpenMetrics,
    };
    assert_eq!(head, expected);
}

#[test]
fn what_is_no_request_for_metrics_gets_the_status_that_says_why() {
    let cases = [
        ("GET /metrics HTTP/1.1\nHost: a\n\n", Status::Ok),
        (
            "\r\nHEAD http://a:1/metrics HTTP/1.1\r\nHost: a\r\n\r\n",
            Status::Ok,
        ),
        ("GET /metrics HTTP/1.0\r\n\r\n", Status::Ok),
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", Status::NotFound),
        (
            "GET /metricsx HTTP/1.1\r\nHost: a\r\n\r\n",
            Status::NotFound,
        ),
        (
            "POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
            Status::MethodNotAllowed,
        ),
        (
            "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
            Status::MethodNotAllowed,
        ),
        (
            "POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
            Status::BadRequest,
        ),
        (
            "GET /metrics HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
            Status::BadRequest,
        ),
        ("GET /metrics HTTP/1.1\r\n\r\n", Status::BadRequest),
        (
            "GET /metrics HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            Status::BadRequest,
        ),
        (
            "GET /metrics HTTP/1.1\r\nHost : a\r\n\r\n",
            Status::BadRequest,
        ),
        (
            "GET /metrics HTTP/1.1\r\nHost: a\r\n more\r\n\r\n",
            Status::BadRequest,
        ),
        (
            "GET  /metrics HTTP/1.1\r\nHost: a\r\n\r\n",
            Status::BadRequest,
        ),
        ("GET /metrics\r\n\r\n", Status::BadRequest),
        (
            "GET metrics HTTP/1.1\r\nHost: a\r\n\r\n",
            Status::BadRequest,
        ),
        (
            "G\x01T /metrics HTTP/1.1\r\nHost: a\r\n\r\n",
            Status::BadRequest,
        ),
        (
            "GET /metrics FTP/1.1\r\nHost: a\r\n\r\n",
            Status::BadRequest,
        ),
        (
            "GET /metrics HTTP/2.0\r\nHost: a\r\n\r\n",
            Status::VersionNotSupported,
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(status(text), expected, "{text:?}");
    }
    assert_eq!(
        Head::parse(b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n"),
        Err(Status::BadRequest)
    );
}

#[test]
fn a_head_beyond_the_bound_is_refused_before_it_ends() {
    let line = "GET /metrics HTTP/1.1\r\nHost: a\r\n";
    assert_eq!(parse(&"x".repeat(HEAD - 1)), Ok(None));
    assert_eq!(parse(&"x".repeat(HEAD)), Err(Status::HeadersTooLarge));
    let long = format!("{line}X: {}\r\n\r\n", "y".repeat(HEAD));
    assert_eq!(parse(&long), Err(Status::HeadersTooLarge));
    assert_eq!(parse(&"\n".repeat(HEAD + 1)), Err(Status::HeadersTooLarge));
}

#[test]
fn a_connection_lasts_as_the_client_says() {
    let kept = |text: &str| parse(text).unwrap().unwrap().is_kept;
    assert!(kept("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n"));
    assert!(!kept(
        "GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n"
    ));
    assert!(!kept("GET /metrics HTTP/1.0\r\n\r\n"));
    assert!(kept(
        "GET /metrics HTTP/1.0\r\nconnection: Keep-Alive\r\n\r\n"
    ));
}

#[test]
fn open_metrics_are_for_those_who_accept_them() {
    for (value, expected) in [
        ("application/openmetrics-text", true),
        (
            "text/html, Application/OpenMetrics-Text; version=1.0.0; q=0.1",
            true,
        ),
        ("application/openmetrics-text;q=0.000", false),
        ("*/*", false),
        ("text/plain", false),
    ] {
        assert_eq!(accepts_open_metrics(value), expected, "{value}");
    }
}

#[test]
fn a_date_is_written_as_http_wants_it() {
    // RFC 9110 5.6.7, and days around the end of February.
    for (secs, expected) in [
        (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
        (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
        (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
        (1_709_251_199, "Thu, 29 Feb 2024 23:59:59 GMT"),
        (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
    ] {
        assert_eq!(date(Wall::new(secs, 0)), expected);
    }
}

#[test]
fn a_head_has_what_the_whole_would_and_no_body() {
    let request = "HEAD /metrics HTTP/1.1\r\nHost: a\r\n\r\n";
    let head = parse(request).unwrap().unwrap();
    let octets = response(Status::Ok, Some(&head), Wall::new(0, 0), b"12345");
    let text = String::from_utf8(octets).unwrap();
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
    assert!(text.contains("\r\nContent-Length: 5\r\n"), "{text}");
    assert!(text.contains("text/plain; version=0.0.4"), "{text}");
    assert!(text.ends_with("Connection: keep-alive\r\n\r\n"), "{text}");
    let refused = response(Status::MethodNotAllowed, None, Wall::new(0, 0), b"x");
    let text = String::from_utf8(refused).unwrap();
    assert!(text.contains("\r\nAllow: GET, HEAD\r\n"), "{text}");
    assert!(text.ends_with("Connection: close\r\n\r\nx"), "{text}");
}
