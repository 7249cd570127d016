//! Says in words what went wrong with a session, and whose certificate is meant.

use std::io;
use std::net::IpAddr;

use openssl::asn1::Asn1Time;
use openssl::error::ErrorStack;
use openssl::ssl::ErrorCode;
use openssl::x509::{X509Ref, X509VerifyResult};

/// A name of a certificate's subjectAltName.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Name {
    /// A host's name.
    Dns(String),
    /// An address.
    Address(IpAddr),
}

/// OpenSSL's reason for an alert is the alert's number plus this (SSL_AD_REASON_OFFSET).
const ALERTS: i32 = 1000;

/// OpenSSL's verdicts that a certificate does not have the name (X509_V_ERR_HOSTNAME_MISMATCH,
/// X509_V_ERR_IP_ADDRESS_MISMATCH).
const NOT_NAMED: [i32; 2] = [62, 64];

/// Alerts of the collector about our certificate (RFC 8446, 6.2).
const ABOUT_OURS: &[(i32, &str)] = &[
    (42, "bad certificate"),
    (43, "unsupported certificate"),
    (44, "certificate revoked"),
    (45, "certificate expired"),
    (46, "certificate unknown"),
    (48, "its authority is not trusted"),
    (49, "access denied"),
    (51, "its signature is wrong"),
];

/// The alert that says that a certificate is missing.
const CERTIFICATE_REQUIRED: i32 = 116;

/// Alerts about anything else.
const OTHERS: &[(i32, &str)] = &[
    (10, "unexpected message"),
    (20, "bad record"),
    (40, "nothing both sides can do"),
    (47, "illegal parameter"),
    (50, "decode error"),
    (70, "protocol version"),
    (71, "insufficient security"),
    (80, "internal error"),
    (90, "user canceled"),
    (109, "missing extension"),
    (110, "unsupported extension"),
    (112, "unrecognized name"),
    (120, "no application protocol"),
];

/// OpenSSL's reasons for octets that are not TLS.
const NOT_TLS: [&str; 4] = [
    "wrong version number",
    "unsupported protocol",
    "packet length too long",
    "unknown protocol",
];

/// The first reason of an error.
pub(super) fn reason(error: &ErrorStack) -> String {
    let first = error.errors().first();
    let reason = first.and_then(|error| error.reason());
    reason.unwrap_or("nothing is said").to_owned()
}

/// Octets in hexadecimal.
pub(super) fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// What is wrong with a certificate's time, if something is.
pub(super) fn out_of_time(certificate: &X509Ref) -> Option<String> {
    let now = Asn1Time::days_from_now(0).ok()?;
    if certificate.not_after() < now {
        Some(format!("expired on {}", certificate.not_after()))
    } else if certificate.not_before() > now {
        Some(format!("not valid before {}", certificate.not_before()))
    } else {
        None
    }
}

/// Says that a certificate does not have the name.
pub(super) fn not_named(name: &Name) -> String {
    match name {
        Name::Dns(name) => format!("the collector's certificate is not for {name}"),
        Name::Address(address) => format!("the collector's certificate is not for {address}"),
    }
}

/// The alert that the collector sent, if the error is one.
fn alert(error: &openssl::ssl::Error) -> Option<i32> {
    let errors = error.ssl_error()?.errors();
    let codes = errors.iter().map(|error| error.reason_code() - ALERTS);
    codes.into_iter().find(|code| (0..256).contains(code))
}

/// What an alert says.
fn alert_words(alert: i32) -> String {
    let of = |table: &[(i32, &'static str)]| {
        table
            .iter()
            .find(|(code, _)| *code == alert)
            .map(|(_, words)| *words)
    };
    if alert == CERTIFICATE_REQUIRED {
        return "the collector wants a certificate of ours: set cert and key".to_owned();
    }
    if let Some(words) = of(ABOUT_OURS) {
        return format!("the collector refuses our certificate: {words}");
    }
    match of(OTHERS) {
        Some(words) => format!("the collector ends the session: {words}"),
        None => format!("the collector ends the session: alert {alert}"),
    }
}

/// Why a handshake failed.
pub(super) fn handshake_problem(
    error: &openssl::ssl::Error,
    verdict: X509VerifyResult,
    name: &Name,
) -> io::Error {
    if NOT_NAMED.contains(&verdict.as_raw()) {
        return io::Error::other(not_named(name));
    }
    if verdict != X509VerifyResult::OK {
        let problem = verdict.error_string();
        return io::Error::other(format!("the collector's certificate: {problem}"));
    }
    problem(
        error,
        "the collector closed the connection during the handshake",
    )
}

/// Why a session ended.
pub(super) fn session_problem(error: openssl::ssl::Error) -> io::Error {
    problem(&error, "the collector closed the session")
}

fn problem(error: &openssl::ssl::Error, at_end: &str) -> io::Error {
    if let Some(alert) = alert(error) {
        return io::Error::other(alert_words(alert));
    }
    if let Some(error) = error.io_error() {
        return io::Error::new(error.kind(), error.to_string());
    }
    if error.code() == ErrorCode::ZERO_RETURN || error.code() == ErrorCode::SYSCALL {
        return closed(at_end);
    }
    match error.ssl_error() {
        Some(stack) if reason(stack) == "unexpected eof while reading" => closed(at_end),
        Some(stack) if NOT_TLS.contains(&&*reason(stack)) => {
            io::Error::other("what the collector sends is not TLS")
        }
        Some(stack) => io::Error::other(reason(stack)),
        None => io::Error::other(error.to_string()),
    }
}

/// The error that says why the session has ended.
pub(super) fn closed(problem: &str) -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, problem)
}
