//! `pflowctl metrics http`: HTTP/1.1 on standard input and output, for inetd(8) and socket units. The
//! daemon has no server; this asks it over its read-only socket and ends with the connection.
//!
//! ```text
//! octets --Head::parse--> GET or HEAD of /metrics --> "show metrics" --> 200, its form by Accept
//!                   \---> 400 404 405 431 505, and 408 and 503 for what lasts too long
//! ```
//! Everything has a bound: the head of a request, how long it may take, the answer, how long its
//! reader may take for each piece of it. A request with a body is refused.
//!
//! Source: RFC 9110 (methods, status, Accept), RFC 9112 (messages, 3 request line, 9.3 persistence).

use std::io::{self, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use super::connect::connect;
use super::hear::{AnswerTo, Ending, hear};
use crate::control::Exposition;
use crate::io::clock::Clock;
use crate::time::{Uptime, Wall};

/// Longest head of a request, octets.
const HEAD: usize = 8192;
/// Longest answer of pflow, octets.
const BODY: usize = 64 << 20;
/// Octets that are read or written at once.
const PIECE: usize = 1 << 14;
/// How long a connection may be without a request.
const IDLE: Duration = Duration::from_secs(120);
/// How long a head may take from its first octet on.
const HEAD_WITHIN: Duration = Duration::from_secs(10);
/// How long pflow may be silent.
const PFLOW_WITHIN: Duration = Duration::from_secs(10);
/// How long a reader may take for a piece of an answer.
const PIECE_WITHIN: Duration = Duration::from_secs(30);

/// Where the metrics are.
const PATH: &str = "/metrics";

/// What is answered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Status {
    Ok,
    BadRequest,
    NotFound,
    MethodNotAllowed,
    RequestTimeout,
    HeadersTooLarge,
    ServiceUnavailable,
    VersionNotSupported,
}

impl Status {
    fn line(self) -> &'static str {
        match self {
            Self::Ok => "200 OK",
            Self::BadRequest => "400 Bad Request",
            Self::NotFound => "404 Not Found",
            Self::MethodNotAllowed => "405 Method Not Allowed",
            Self::RequestTimeout => "408 Request Timeout",
            Self::HeadersTooLarge => "431 Request Header Fields Too Large",
            Self::ServiceUnavailable => "503 Service Unavailable",
            Self::VersionNotSupported => "505 HTTP Version Not Supported",
        }
    }
}

/// A request that makes sense, whatever it is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Head {
    /// Octets that it took.
    len: usize,
    status: Status,
    is_head: bool,
    /// Whether more requests may follow.
    is_kept: bool,
    exposition: Exposition,
}

impl Head {
    /// The first request in `octets`; `None`: it is not whole yet.
    ///
    /// # Errors
    /// It makes no sense, and nothing behind it can.
    fn parse(octets: &[u8]) -> Result<Option<Self>, Status> {
        let mut lines = Vec::new();
        let mut at = 0;
        loop {
            let rest = octets.get(at..).unwrap_or_default();
            let Some(end) = rest.iter().position(|octet| *octet == b'\n') else {
                return match octets.len() < HEAD {
                    true => Ok(None),
                    false => Err(Status::HeadersTooLarge),
                };
            };
            at += end + 1;
            let line = rest.get(..end).unwrap_or_default();
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if at > HEAD {
                return Err(Status::HeadersTooLarge);
            }
            match (line.is_empty(), lines.is_empty()) {
                // Empty lines before a request are left over of the last (RFC 9112 2.2).
                (true, true) => {}
                (true, false) => break,
                (false, _) => {
                    let line = std::str::from_utf8(line).map_err(|_| Status::BadRequest)?;
                    if line.contains(['\r', '\0']) {
                        return Err(Status::BadRequest);
                    }
                    lines.push(line);
                }
            }
        }
        let (request, fields) = lines.split_first().ok_or(Status::BadRequest)?;
        Self::of(request, fields, at).map(Some)
    }

    fn of(request: &str, fields: &[&str], len: usize) -> Result<Self, Status> {
        let words: Vec<_> = request.split(' ').collect();
        let [method, target, version] = *words else {
            return Err(Status::BadRequest);
        };
        let is_1_1 = match version {
            "HTTP/1.1" => true,
            "HTTP/1.0" => false,
            _ if version.starts_with("HTTP/") => return Err(Status::VersionNotSupported),
            _ => return Err(Status::BadRequest),
        };
        if method.is_empty() || !method.bytes().all(is_token) {
            return Err(Status::BadRequest);
        }
        let mut head = Self {
            len,
            status: status_of(method, target)?,
            is_head: method == "HEAD",
            is_kept: is_1_1,
            exposition: Exposition::Prometheus,
        };
        let mut hosts = 0;
        for field in fields {
            let (name, value) = field.split_once(':').ok_or(Status::BadRequest)?;
            if name.is_empty() || !name.bytes().all(is_token) {
                return Err(Status::BadRequest);
            }
            let value = value.trim_matches([' ', '\t']);
            match &*name.to_ascii_lowercase() {
                "host" => hosts += 1,
                "connection" => head.note_connection(value),
                "accept" if accepts_open_metrics(value) => {
                    head.exposition = Exposition::OpenMetrics;
                }
                "content-length" if value != "0" => return Err(Status::BadRequest),
                "transfer-encoding" => return Err(Status::BadRequest),
                _ => {}
            }
        }
        if hosts > 1 || is_1_1 && hosts == 0 {
            return Err(Status::BadRequest);
        }
        Ok(head)
    }

    fn note_connection(&mut self, value: &str) {
        for option in value.split(',').map(str::trim) {
            if option.eq_ignore_ascii_case("close") {
                self.is_kept = false;
                return;
            }
            self.is_kept |= option.eq_ignore_ascii_case("keep-alive");
        }
    }
}

/// Whether an octet may be part of a name (RFC 9110 5.6.2).
fn is_token(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&octet)
}

fn status_of(method: &str, target: &str) -> Result<Status, Status> {
    // A server takes what a proxy is asked for, too (RFC 9112 3.2.2).
    let path = match target.strip_prefix("http://") {
        Some(rest) => rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/"),
        None => target,
    };
    if !path.starts_with('/') && path != "*" {
        return Err(Status::BadRequest);
    }
    let path = path.split('?').next().unwrap_or_default();
    Ok(match method {
        "GET" | "HEAD" if path == PATH => Status::Ok,
        "GET" | "HEAD" => Status::NotFound,
        _ => Status::MethodNotAllowed,
    })
}

/// Whether OpenMetrics is among what a client takes, which Prometheus then likes best.
fn accepts_open_metrics(value: &str) -> bool {
    value.split(',').any(|range| {
        let mut words = range.split(';').map(str::trim);
        let is_it = words
            .next()
            .is_some_and(|name| name.eq_ignore_ascii_case("application/openmetrics-text"));
        let weight = words.find_map(|word| word.strip_prefix("q="));
        let is_refused = |weight: &str| weight.trim_end_matches(['0', '.']).is_empty();
        is_it && !weight.is_some_and(is_refused)
    })
}

/// The names that an exposition has in pflow's requests and in HTTP.
fn names(exposition: Exposition) -> (&'static str, &'static str) {
    match exposition {
        Exposition::OpenMetrics => (
            "openmetrics",
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        ),
        Exposition::Prometheus => ("prometheus", "text/plain; version=0.0.4; charset=utf-8"),
    }
}

/// A response, head and body.
fn response(status: Status, head: Option<&Head>, now: Wall, body: &[u8]) -> Vec<u8> {
    let is_kept = head.is_some_and(|head| head.is_kept);
    let form = match (status, head) {
        (Status::Ok, Some(head)) => names(head.exposition).1,
        _ => "text/plain; charset=utf-8",
    };
    let mut text = format!(
        "HTTP/1.1 {}\r\nDate: {}\r\nContent-Type: {form}\r\nContent-Length: {}\r\nVary: Accept\r\n",
        status.line(),
        date(now),
        body.len(),
    );
    if status == Status::MethodNotAllowed {
        text += "Allow: GET, HEAD\r\n";
    }
    text += match is_kept {
        true => "Connection: keep-alive\r\n\r\n",
        false => "Connection: close\r\n\r\n",
    };
    let mut octets = text.into_bytes();
    if !head.is_some_and(|head| head.is_head) {
        octets.extend(body);
    }
    octets
}

/// A time as RFC 9110 5.6.7 wants it.
fn date(now: Wall) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [(&str, i64); 12] = [
        ("Mar", 0),
        ("Apr", 31),
        ("May", 61),
        ("Jun", 92),
        ("Jul", 122),
        ("Aug", 153),
        ("Sep", 184),
        ("Oct", 214),
        ("Nov", 245),
        ("Dec", 275),
        ("Jan", 306),
        ("Feb", 337),
    ];
    let (days, secs) = (now.secs().div_euclid(86400), now.secs().rem_euclid(86400));
    let weekday = usize::try_from(days.rem_euclid(7)).unwrap_or(0);
    // Years of 400 that begin in March, so that the day that is not always there is the last.
    let since = days + 719_468;
    let (era, of_era) = (since.div_euclid(146_097), since.rem_euclid(146_097));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let months = MONTHS.iter().rev();
    let mut months = months.filter(|(_, first)| *first <= of_year);
    let (month, first) = months.next().copied().unwrap_or(("Mar", 0));
    let year = era * 400 + year + i64::from(matches!(month, "Jan" | "Feb"));
    format!(
        "{}, {:02} {month} {year:04} {:02}:{:02}:{:02} GMT",
        DAYS.get(weekday).unwrap_or(&"Thu"),
        of_year - first + 1,
        secs / 3600,
        secs / 60 % 60,
        secs % 60,
    )
}

/// Grows up to a bound.
struct Bounded(Vec<u8>);

impl Write for Bounded {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        if self.0.len() + octets.len() > BODY {
            return Err(io::Error::other(format!("more than {BODY} octets")));
        }
        self.0.extend_from_slice(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What pflow answers.
fn fetch(socket: Option<&str>, exposition: Exposition) -> Result<Vec<u8>, String> {
    let (stream, socket) = connect(socket)?;
    let failed = |error: io::Error| format!("{socket}: {error}");
    for set in [UnixStream::set_read_timeout, UnixStream::set_write_timeout] {
        set(&stream, Some(PFLOW_WITHIN)).map_err(failed)?;
    }
    writeln!(&stream, "show metrics {}", names(exposition).0).map_err(failed)?;
    let mut body = Bounded(Vec::new());
    match hear(
        &mut BufReader::new(stream),
        AnswerTo::Print,
        &mut body,
        &socket,
    ) {
        Ok(()) => Ok(body.0),
        Err(Ending::Failed(problem) | Ending::Refused(problem)) => Err(problem),
        Err(Ending::BrokenPipe) => Err(format!("{socket}: broken pipe")),
    }
}

/// Both ways of a connection, each with a thread, so that neither is waited for too long.
struct Way {
    clock: Clock,
    input: Receiver<Vec<u8>>,
    output: SyncSender<Vec<u8>>,
    written: Receiver<bool>,
    /// Read and not used.
    buffer: Vec<u8>,
}

/// The other side has gone, or takes too long.
struct Gone;

impl Way {
    fn new(mut from: impl Read + Send + 'static, mut to: impl Write + Send + 'static) -> Self {
        let (give, input) = sync_channel(1);
        thread::spawn(move || {
            let mut piece = vec![0; PIECE];
            while let Ok(len @ 1..) = from.read(&mut piece) {
                let octets = piece.get(..len).unwrap_or_default().to_vec();
                if give.send(octets).is_err() {
                    break;
                }
            }
        });
        let (output, take) = sync_channel::<Vec<u8>>(0);
        let (tell, written) = sync_channel(1);
        thread::spawn(move || {
            while let Ok(piece) = take.recv() {
                let outcome = to.write_all(&piece).and_then(|()| to.flush());
                if tell.send(outcome.is_ok()).is_err() || outcome.is_err() {
                    break;
                }
            }
        });
        Self {
            clock: Clock::new(None),
            input,
            output,
            written,
            buffer: Vec::new(),
        }
    }

    fn now(&self) -> Uptime {
        self.clock.now().uptime
    }

    fn write(&self, octets: &[u8]) -> Result<(), Gone> {
        for piece in octets.chunks(PIECE) {
            self.output.send(piece.to_vec()).map_err(|_| Gone)?;
            match self.written.recv_timeout(PIECE_WITHIN) {
                Ok(true) => {}
                _ => return Err(Gone),
            }
        }
        Ok(())
    }

    /// The next request.
    fn request(&mut self) -> Result<Result<Head, Status>, Gone> {
        let mut until = None;
        loop {
            match Head::parse(&self.buffer) {
                Ok(Some(head)) => {
                    self.buffer.drain(..head.len);
                    return Ok(Ok(head));
                }
                Err(status) => return Ok(Err(status)),
                Ok(None) => {}
            }
            let now = self.now();
            let is_begun = !self.buffer.is_empty();
            let wait = match is_begun {
                true => (*until.get_or_insert(now.after(HEAD_WITHIN))).since(now),
                false => IDLE,
            };
            match self.input.recv_timeout(wait) {
                Ok(octets) => self.buffer.extend(octets),
                Err(RecvTimeoutError::Timeout) if is_begun => {
                    return Ok(Err(Status::RequestTimeout));
                }
                Err(_) => return Err(Gone),
            }
        }
    }

    /// Answers until the connection ends.
    fn serve(&mut self, socket: Option<&str>) -> Result<(), Gone> {
        loop {
            let asked = self.request()?;
            let head = asked.as_ref().ok();
            let mut status = asked.map_or_else(|status| status, |head| head.status);
            let body = match (status, head) {
                (Status::Ok, Some(head)) => {
                    fetch(socket, head.exposition).unwrap_or_else(|error| {
                        status = Status::ServiceUnavailable;
                        format!("{error}\n").into_bytes()
                    })
                }
                _ => format!("{}\n", status.line()).into_bytes(),
            };
            let now = self.clock.now().wall;
            self.write(&response(status, head, now, &body))?;
            if !head.is_some_and(|head| head.is_kept) {
                return Ok(());
            }
        }
    }
}

/// Speaks HTTP on standard input and output until the connection ends.
pub(super) fn serve(socket: Option<&str>) -> ExitCode {
    // A client that has gone is no failure of ours.
    let _ = Way::new(io::stdin(), io::stdout()).serve(socket);
    ExitCode::SUCCESS
}

#[cfg(test)]
mod tests;
