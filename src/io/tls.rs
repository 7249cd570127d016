//! TLS and DTLS over a connection that is there, without waiting: the client's side of RFC 7011 11.
//!
//! ```text
//! PEM files, read by the parent --> TlsClient --open--> TlsSession:
//!
//! handshake --certificate, name, pin good--> verdict --> ready --> closed
//!                                            TLS 1.3 only: does the collector take our certificate?
//! ```
//! TLS 1.3 lets a client think that it is done before the server has seen the client's certificate.
//! So nothing is sent before the server's first message after the handshake, or before a second
//! has passed: what a collector refuses was never given to it.
//!
//! Whom to trust is told by `ca` alone; the system's store is not asked. A name is looked for in the
//! certificate's subjectAltName only (RFC 6125 6.4.4, RFC 9525).

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

/// How long after a handshake of TLS 1.3 a server's verdict on our certificate is waited for.
const VERDICT: Duration = Duration::from_secs(1);

/// How often what the collector says, which is nothing, is read at once.
const MAX_READS: usize = 16;

/// What TLS 1.2 may agree on; TLS 1.3 has good ones only.
const CIPHERS: &str = "ECDHE+AESGCM:ECDHE+CHACHA20";

/// SHA-256 of a certificate in DER.
pub type Pin = [u8; 32];

/// Which of the two.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TlsKind {
    /// Over a stream: TLS 1.2 and 1.3.
    Tls,
    /// Over datagrams: DTLS 1.2. The octets that one of them may have, without UDP's header.
    Dtls(u16),
}

/// What a session needs, as its files have it (PEM).
#[derive(Clone, Eq, PartialEq)]
pub struct Credentials {
    /// Whom to trust: certificates, of which one must be at the end of the collector's chain.
    pub ca: Vec<u8>,
    /// Our certificate and those between it and its authority, and its key.
    pub own: Option<(Vec<u8>, Vec<u8>)>,
}

impl fmt::Debug for Credentials {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials")
    }
}

/// Who a collector must prove to be.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TlsPeer {
    /// By its name.
    pub name: Name,
    /// By its certificate, too: one of these. None: any that has the name.
    pub pins: Vec<Pin>,
}

/// Makes sessions with one set of credentials.
pub struct TlsClient {
    context: SslContext,
    kind: TlsKind,
    /// What is allowed and will hardly work.
    warning: Option<String>,
}

impl fmt::Debug for TlsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsClient")
            .field("kind", &self.kind)
            .finish()
    }
}

/// Where a session's [`Ssl`] keeps whether its server has said something after the handshake.
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
    /// Which of the files is wrong, by its word in the configuration, and what is wrong with it.
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

    /// What is allowed and will hardly work: a certificate of ours whose time is over.
    pub fn warning(&self) -> Option<&str> {
        self.warning.as_deref()
    }

    /// A session over `stream`, which does not wait. [`TlsSession::advance`] begins its handshake.
    ///
    /// # Errors
    /// The name cannot be one.
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
    // A message is tried again whole, from wherever it stands then.
    builder.set_mode(SslMode::ACCEPT_MOVING_WRITE_BUFFER);
    builder.set_options(SslOptions::NO_COMPRESSION | SslOptions::NO_QUERY_MTU);
    Ok(builder)
}

/// Sets our certificate and its key; what is wrong with the certificate's time.
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

/// All certificates of a PEM file, at least one.
fn certificates(pem: &[u8]) -> Result<Vec<X509>, String> {
    let all = X509::stack_from_pem(pem).map_err(|error| words::reason(&error))?;
    match all.is_empty() {
        true => Err("no certificate in it".to_owned()),
        false => Ok(all),
    }
}

/// The key of a PEM file. Nobody is asked for a passphrase.
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

/// How far a session is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stage {
    Handshake,
    /// The handshake is done, and the server may still refuse our certificate until then.
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
    /// What it is over.
    pub fn stream(&self) -> &S {
        self.stream.get_ref()
    }

    /// Whether data can be written.
    pub fn is_ready(&self) -> bool {
        self.stage == Stage::Ready
    }

    /// What was agreed on, in words: `TLSv1.3 TLS_AES_256_GCM_SHA384`.
    pub fn agreed(&self) -> String {
        let ssl = self.stream.ssl();
        let cipher = ssl.current_cipher().map_or("", |cipher| cipher.name());
        format!("{} {cipher}", ssl.version_str())
    }

    /// Goes on with the handshake, which sends again what was lost of a DTLS handshake; whether data
    /// can be written.
    ///
    /// # Errors
    /// Who refuses what, in words. The session is over.
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

    /// Whether the server said something after the handshake.
    fn has_heard(&self) -> bool {
        let ssl = self.stream.ssl();
        let heard = heard_index().ok().and_then(|heard| ssl.ex_data(heard));
        heard.is_some_and(|heard| heard.load(Ordering::Relaxed))
    }

    /// Reads what the collector says: it has nothing to say but that it ends.
    ///
    /// # Errors
    /// How it ended, in words.
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

    /// Writes a message as a whole or not at all. After `WouldBlock` it has to be the same again.
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

    /// Tells the collector that this is the end (close_notify), as far as that goes without waiting.
    pub fn close(&mut self) {
        // Nobody is left to be told if this fails.
        let _ = self.stream.shutdown();
    }

    /// Why a handshake failed.
    fn handshake_problem(&self, error: &openssl::ssl::Error) -> io::Error {
        words::handshake_problem(error, self.stream.ssl().verify_result(), &self.peer.name)
    }

    /// What is asked of a certificate beyond a chain to `ca`.
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

/// Whether a certificate has a name of the kind that was looked for: otherwise OpenSSL took the
/// subject's common name for one.
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
