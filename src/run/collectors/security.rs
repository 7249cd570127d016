//! What an interface's sessions with TLS or DTLS need: files that the parent reads, and the
//! collectors to accept.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::export::{Carrier, IPV4_UDP, IPV6_UDP, Settings};
use crate::io::files;
use crate::io::tls::{Credentials, Name, TlsClient, TlsKind, TlsPeer};
use crate::run::parent::Parent;

/// Octets of the longest file of certificates.
pub(in crate::run) const MAX_PEM: u64 = 1 << 20;

/// Credentials and who a collector must prove to be.
#[derive(Clone, Debug)]
pub(super) struct Security {
    credentials: Credentials,
    servername: Option<String>,
    pins: Vec<[u8; 32]>,
    kind: TlsKind,
    pub(super) client: Arc<TlsClient>,
}

impl PartialEq for Security {
    /// Whether the sessions of one setting may go on under the other.
    fn eq(&self, other: &Self) -> bool {
        let key = |of: &Self| (of.kind, of.servername.clone(), of.pins.clone());
        self.credentials == other.credentials && key(self) == key(other)
    }
}

impl Eq for Security {}

/// The files of an interface, each with its word.
pub(in crate::run) fn files_of(settings: &Settings) -> impl Iterator<Item = (&'static str, &str)> {
    let files = [
        ("ca", &settings.ca),
        ("cert", &settings.cert),
        ("key", &settings.key),
    ];
    files
        .into_iter()
        .filter_map(|(word, file)| Some((word, file.as_deref()?)))
}

/// Reads one of them.
///
/// # Errors
/// The file and what is wrong with it.
pub(in crate::run) fn read(file: &str) -> Result<String, String> {
    files::read_text(file, MAX_PEM).map_err(|error| format!("{file}: {error}"))
}

impl Security {
    /// What `settings` ask for, if it is secure.
    ///
    /// # Errors
    /// The word of the file that is wrong and what is wrong with it.
    pub(super) fn load(
        settings: &Settings,
        parent: Option<&Parent>,
    ) -> Result<Option<Self>, String> {
        if !settings.carrier.is_secure() {
            return Ok(None);
        }
        let read_as = |word: &str, file: &Option<String>| {
            let Some(file) = file else {
                return Ok(None);
            };
            let text = match parent {
                Some(parent) => parent.read_pem(file),
                None => read(file),
            };
            text.map(|text| Some(text.into_bytes()))
                .map_err(|problem| format!("{word}: {problem}"))
        };
        let ca = read_as("ca", &settings.ca)?.unwrap_or_default();
        let cert = read_as("cert", &settings.cert)?;
        let key = read_as("key", &settings.key)?;
        let credentials = Credentials {
            ca,
            own: cert.zip(key),
        };
        let kind = match settings.carrier {
            Carrier::Dtls => {
                let is_ipv6 = settings.collectors().any(|to| to.is_ipv6());
                let ip_udp = if is_ipv6 { IPV6_UDP } else { IPV4_UDP };
                let ip_udp = u16::try_from(ip_udp).unwrap_or(0);
                TlsKind::Dtls(settings.mtu.saturating_sub(ip_udp))
            }
            _ => TlsKind::Tls,
        };
        let client =
            TlsClient::new(kind, &credentials).map_err(|problem| name(settings, &problem))?;
        Ok(Some(Self {
            credentials,
            servername: settings.servername.clone(),
            pins: settings.pins.iter().map(|pin| pin.0).collect(),
            kind,
            client: Arc::new(client),
        }))
    }

    /// Who the collector at `to` must prove to be.
    pub(super) fn peer(&self, to: SocketAddr) -> TlsPeer {
        let name = self.servername.clone().map(Name::Dns);
        TlsPeer {
            name: name.unwrap_or(Name::Address(to.ip())),
            pins: self.pins.clone(),
        }
    }
}

/// A problem that begins with the word of a file, with the file's name behind it.
fn name(settings: &Settings, problem: &str) -> String {
    let mut files = files_of(settings);
    let named = files.find_map(|(word, file)| {
        let rest = problem.strip_prefix(word)?.strip_prefix(": ")?;
        Some(format!("{word}: {file}: {rest}"))
    });
    named.unwrap_or_else(|| problem.to_owned())
}
