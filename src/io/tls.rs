//! TLS and DTLS over an open connection, without waiting: the client's side of RFC 7011, section
//! 11.
//!
//! ```text
//! PEM files, read by the parent --> TlsClient --open--> TlsSession:
//!
//! handshake --certificate, name, pin good--> verdict --> ready --> closed
//!                                            TLS 1.3 only: does the collector take our certificate?
//! ```
//! With TLS 1.3 the handshake ends for the client before the server has seen the client's
//! certificate. So pflow sends nothing until the server's first message after the handshake, or
//! until a second has passed. So a collector that refuses the certificate got no records.
//!
//! Only the certificates of `ca` are trusted, never the system's store. A name must be in the
//! certificate's subjectAltName (RFC 6125, 6.4.4; RFC 9525).

mod datagrams;
mod words;

use std::fmt;
use std::io::{self, Read, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use openssl::error::ErrorStack;
use openssl::ex_data::Index;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{
    ErrorCode, Ssl, SslContext, SslContextBuilder, SslMethod, SslMode, SslOptions, SslRef,
    SslSessionCacheMode, SslStream, SslVerifyMode, SslVersion,
};
use openssl::x509::verify::X509CheckFlags;
use openssl::x509::{X509, X509Ref};

pub use datagrams::Datagrams;
pub use words::Name;
use words::closed;

use crate::time::Uptime;

/// How long pflow waits, after a handshake of TLS 1.3, for the server to refuse our certificate.
const VERDICT: Duration = Duration::from_secs(1);

/// Most reads at a time. A collector sends no data, so few are needed.
const MAX_READS: usize = 16;

/// The ciphers that TLS 1.2 may use. Those of TLS 1.3 are all good.
const CIPHERS: &str = "ECDHE+AESGCM:ECDHE+CHACHA20";

/// SHA-256 of a certificate in DER.
pub type Pin = [u8; 32];

/// TLS or DTLS.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TlsKind {
    /// Over a stream: TLS 1.2 and 1.3.
    Tls,
    /// Over datagrams: DTLS 1.2. The number is the most octets of a datagram, without UDP's header.
    Dtls(u16),
}

/// The content of the files that a session needs (PEM).
#[derive(Clone, Eq, PartialEq)]
pub struct Credentials {
    /// The trusted certificates. One of them must be at the end of the collector's chain.
    pub ca: Vec<u8>,
    /// Our certificate with those between it and its authority, and then its key.
    pub own: Option<(Vec<u8>, Vec<u8>)>,
}

impl fmt::Debug for Credentials {
    /// Does not write the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials")
    }
}

/// Who a collector must prove to be.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TlsPeer {
    /// The name that the collector's certificate must have.
    pub name: Name,
    /// The certificate must be one of these. If the list is empty, any certificate with the name is
    /// good.
    pub pins: Vec<Pin>,
}

/// Makes sessions with one set of credentials.
pub struct TlsClient {
    context: SslContext,
    kind: TlsKind,
    /// A warning about something that is allowed but will hardly work.
    warning: Option<String>,
}

impl fmt::Debug for TlsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsClient")
            .field("kind", &self.kind)
            .finish()
    }
}

/// The place in a session's [`Ssl`] that tells whether the server sent a message after the
/// handshake.
fn heard_index() -> Result<Index<Ssl, AtomicBool>, ErrorStack> {
    static INDEX: OnceLock<Index<Ssl, AtomicBool>> = OnceLock::new();
    if let Some(index) = INDEX.get() {
        return Ok(*index);
    }
    let index = Ssl::new_ex_index()?;
    Ok(*INDEX.get_or_init(|| index))
}

impl TlsClient {
    /// A client with `credentials`.
    ///
    /// # Errors
    /// The configuration's word for the file that is wrong, and what is wrong with the file.
    pub fn new(kind: TlsKind, credentials: &Credentials) -> Result<Self, String> {
        let broken = |error: ErrorStack| format!("OpenSSL: {}", words::reason(&error));
        let mut builder = match kind {
            TlsKind::Tls => builder(SslMethod::tls_client(), SslVersion::TLS1_2),
            TlsKind::Dtls(_) => builder(SslMethod::dtls_client(), SslVersion::DTLS1_2),
        }
        .map_err(broken)?;
        for certificate in
            certificates(&credentials.ca).map_err(|problem| format!("ca: {problem}"))?
        {
            builder
                .cert_store_mut()
                .add_cert(certificate)
                .map_err(|error| format!("ca: {}", words::reason(&error)))?;
        }
        let warning = match &credentials.own {
            Some((chain, key)) => set_own(&mut builder, chain, key)?,
            None => None,
        };
        let heard = heard_index().map_err(broken)?;
        builder.set_session_cache_mode(
            SslSessionCacheMode::CLIENT | SslSessionCacheMode::NO_INTERNAL_STORE,
        );
        builder.set_new_session_callback(move |ssl, _| note_heard(ssl, heard));
        Ok(Self {
            context: builder.build(),
            kind,
            warning,
        })
    }

    /// A warning about something that is allowed but will hardly work: our certificate is out of
    /// its time.
    pub fn warning(&self) -> Option<&str> {
        self.warning.as_deref()
    }

    /// Opens a session over `stream`, which must not block. [`TlsSession::advance`] begins its
    /// handshake.
    ///
    /// # Errors
    /// The name is not a valid one.
    pub fn open<S: Read + Write>(
        &self,
        peer: &TlsPeer,
        stream: S,
    ) -> Result<TlsSession<S>, String> {
        let opened = self
            .ssl(&peer.name)
            .and_then(|ssl| SslStream::new(ssl, stream));
        Ok(TlsSession {
            stream: opened.map_err(|error| words::reason(&error))?,
            peer: peer.clone(),
            stage: Stage::Handshake,
        })
    }

    fn ssl(&self, name: &Name) -> Result<Ssl, ErrorStack> {
        let mut ssl = Ssl::new(&self.context)?;
        ssl.set_connect_state();
        ssl.set_ex_data(heard_index()?, AtomicBool::new(false));
        let check = ssl.param_mut();
        check.set_hostflags(X509CheckFlags::NO_PARTIAL_WILDCARDS);
        match name {
            Name::Dns(name) => {
                check.set_host(name)?;
                ssl.set_hostname(name)?;
            }
            Name::Address(address) => check.set_ip(*address)?,
        }
        if let TlsKind::Dtls(mtu) = self.kind {
            ssl.set_mtu(mtu.into())?;
        }
        Ok(ssl)
    }
}

fn builder(method: SslMethod, least: SslVersion) -> Result<SslContextBuilder, ErrorStack> {
    let mut builder = SslContext::builder(method)?;
    builder.set_min_proto_version(Some(least))?;
    builder.set_cipher_list(CIPHERS)?;
    builder.set_verify(SslVerifyMode::PEER);
    // A message is tried again whole, and may then be at another address.
    builder.set_mode(SslMode::ACCEPT_MOVING_WRITE_BUFFER);
    builder.set_options(SslOptions::NO_COMPRESSION | SslOptions::NO_QUERY_MTU);
    Ok(builder)
}

/// Sets our certificate and its key. Returns what is wrong with the certificate's time, if
/// something is.
fn set_own(
    builder: &mut SslContextBuilder,
    chain: &[u8],
    key: &[u8],
) -> Result<Option<String>, String> {
    let of_cert = |error: ErrorStack| format!("cert: {}", words::reason(&error));
    let mut chain = certificates(chain)
        .map_err(|problem| format!("cert: {problem}"))?
        .into_iter();
    let Some(leaf) = chain.next() else {
        return Err("cert: no certificate in it".to_owned());
    };
    builder.set_certificate(&leaf).map_err(of_cert)?;
    for certificate in chain {
        builder.add_extra_chain_cert(certificate).map_err(of_cert)?;
    }
    let key = private_key(key).map_err(|problem| format!("key: {problem}"))?;
    if !leaf.public_key().is_ok_and(|public| public.public_eq(&key)) {
        return Err("key: not the key of the certificate in cert".to_owned());
    }
    builder
        .set_private_key(&key)
        .map_err(|error| format!("key: {}", words::reason(&error)))?;
    Ok(words::out_of_time(&leaf).map(|problem| format!("cert: {problem}")))
}

/// All certificates of a PEM file. Fails if it has none.
fn certificates(pem: &[u8]) -> Result<Vec<X509>, String> {
    let all = X509::stack_from_pem(pem).map_err(|error| words::reason(&error))?;
    match all.is_empty() {
        true => Err("no certificate in it".to_owned()),
        false => Ok(all),
    }
}

/// The key of a PEM file. A key with a passphrase is refused.
fn private_key(pem: &[u8]) -> Result<PKey<Private>, String> {
    let mut is_encrypted = false;
    let key = PKey::private_key_from_pem_callback(pem, |_| {
        is_encrypted = true;
        Err(ErrorStack::get())
    });
    key.map_err(|error| match is_encrypted {
        true => "it has a passphrase".to_owned(),
        false => format!("no private key in it: {}", words::reason(&error)),
    })
}

fn note_heard(ssl: &mut SslRef, heard: Index<Ssl, AtomicBool>) {
    if let Some(heard) = ssl.ex_data(heard) {
        heard.store(true, Ordering::Relaxed);
    }
}

/// The stage of a session.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stage {
    Handshake,
    /// The handshake is done. Until this time the server may still refuse our certificate.
    Verdict {
        until: Uptime,
    },
    Ready,
}

/// A session over `S`.
pub struct TlsSession<S> {
    stream: SslStream<S>,
    peer: TlsPeer,
    stage: Stage,
}

impl<S: fmt::Debug> fmt::Debug for TlsSession<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("TlsSession");
        shown.field("stage", &self.stage).finish_non_exhaustive()
    }
}

impl<S: Read + Write> TlsSession<S> {
    /// The stream that the session is over.
    pub fn stream(&self) -> &S {
        self.stream.get_ref()
    }

    /// Whether data can be written.
    pub fn is_ready(&self) -> bool {
        self.stage == Stage::Ready
    }

    /// The version and cipher that were agreed on: `TLSv1.3 TLS_AES_256_GCM_SHA384`.
    pub fn agreed(&self) -> String {
        let ssl = self.stream.ssl();
        let cipher = ssl.current_cipher().map_or("", |cipher| cipher.name());
        format!("{} {cipher}", ssl.version_str())
    }

    /// Goes on with the handshake. With DTLS it also sends lost messages of the handshake again.
    /// Returns whether data can be written.
    ///
    /// # Errors
    /// Which side refuses what, in words. The session is over.
    pub fn advance(&mut self, now: Uptime) -> io::Result<bool> {
        if self.stage == Stage::Handshake {
            match self.stream.do_handshake() {
                Ok(()) => {}
                Err(error) if is_waiting(&error) => return Ok(false),
                Err(error) => return Err(self.handshake_problem(&error)),
            }
            self.check_certificate().map_err(io::Error::other)?;
            self.stage = match self.stream.ssl().version2() {
                Some(SslVersion::TLS1_3) => Stage::Verdict {
                    until: now.after(VERDICT),
                },
                _ => Stage::Ready,
            };
        }
        if let Stage::Verdict { until } = self.stage {
            self.hear()?;
            if self.has_heard() || now >= until {
                self.stage = Stage::Ready;
            }
        }
        Ok(self.stage == Stage::Ready)
    }

    /// Whether the server sent a message after the handshake.
    fn has_heard(&self) -> bool {
        let ssl = self.stream.ssl();
        let heard = heard_index().ok().and_then(|heard| ssl.ex_data(heard));
        heard.is_some_and(|heard| heard.load(Ordering::Relaxed))
    }

    /// Reads what the collector sends. A collector sends no data, so only the end of the session
    /// matters.
    ///
    /// # Errors
    /// How the session ended, in words.
    pub fn hear(&mut self) -> io::Result<()> {
        let mut ignored = [0; 512];
        for _ in 0..MAX_READS {
            match self.stream.ssl_read(&mut ignored) {
                Ok(0) => return Err(closed("the collector closed the session")),
                Ok(_) => {}
                Err(error) if is_waiting(&error) => return Ok(()),
                Err(error) => return Err(words::session_problem(error)),
            }
        }
        Ok(())
    }

    /// Writes a message as a whole or not at all. After `WouldBlock` the caller must try the same
    /// message again.
    ///
    /// # Errors
    /// `WouldBlock`, or how the session ended, in words.
    pub fn write(&mut self, message: &[u8]) -> io::Result<()> {
        match self.stream.ssl_write(message) {
            Ok(_) => Ok(()),
            Err(error) if is_waiting(&error) => Err(io::ErrorKind::WouldBlock.into()),
            Err(error) => Err(words::session_problem(error)),
        }
    }

    /// Tells the collector that the session ends (close_notify), if that goes without waiting.
    pub fn close(&mut self) {
        // A failure does not matter, because the session is over.
        let _ = self.stream.shutdown();
    }

    /// Why a handshake failed.
    fn handshake_problem(&self, error: &openssl::ssl::Error) -> io::Error {
        words::handshake_problem(error, self.stream.ssl().verify_result(), &self.peer.name)
    }

    /// Checks the certificate's name and pin. OpenSSL has checked its chain to `ca`.
    fn check_certificate(&self) -> Result<(), String> {
        let certificate = self.stream.ssl().peer_certificate();
        let certificate = certificate.ok_or("the collector has no certificate")?;
        if !is_named(&certificate, &self.peer.name) {
            return Err(words::not_named(&self.peer.name));
        }
        if self.peer.pins.is_empty() {
            return Ok(());
        }
        let digest = certificate.digest(MessageDigest::sha256());
        let digest = digest.map_err(|error| words::reason(&error))?;
        match self.peer.pins.iter().any(|pin| pin[..] == digest[..]) {
            true => Ok(()),
            false => Err(format!(
                "the collector's certificate is none that pin names: its pin is {}",
                words::hex(&digest)
            )),
        }
    }
}

/// Whether a certificate's subjectAltName has a name of this kind. If it has none, OpenSSL took the
/// subject's common name for the name.
fn is_named(certificate: &X509Ref, name: &Name) -> bool {
    let names = certificate.subject_alt_names();
    names.is_some_and(|names| {
        names.iter().any(|one| match name {
            Name::Dns(_) => one.dnsname().is_some(),
            Name::Address(_) => one.ipaddress().is_some(),
        })
    })
}

fn is_waiting(error: &openssl::ssl::Error) -> bool {
    matches!(error.code(), ErrorCode::WANT_READ | ErrorCode::WANT_WRITE)
}

#[cfg(test)]
mod tests;
