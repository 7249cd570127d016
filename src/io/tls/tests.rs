use std::net::UdpSocket;
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;

use openssl::asn1::{Asn1Integer, Asn1Time};
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::nid::Nid;
use openssl::ssl::SslAcceptor;
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::{X509Builder, X509NameBuilder};

use super::*;
use crate::export::DTLS_OVERHEAD;

// RFC 7011, 11, and what shows it here and in .ci/secure.py:
//
// 11.1 versions            what_is_offered_is_..., records_arrive_by_..., dtls_sends_again_...; matrix
// 11.1 collector restarts  secure.py: datagrams (renew stands for a heartbeat)
// 11.3 both prove it       both_prove_..., what_a_collector_says_against_...; refusals
// 11.3 DNS-ID and no CN    a_collector_that_does_not_prove_...; refusals
// 11.3 listed peers        only_a_pinned_...; refusals
// 11.3 no NULL ciphers     what_is_offered_is_...
// RFC 5153, 8.4 overhead   dtls_sends_again_what_its_handshake_lost_and_keeps_to_the_mtu

/// A certificate and its key.
#[derive(Clone)]
struct Identity {
    certificate: X509,
    key: PKey<Private>,
}

/// What stands in a certificate.
struct Asked<'a> {
    name: &'a str,
    is_authority: bool,
    dns: Option<&'a str>,
    address: Option<&'a str>,
    /// UNIX seconds.
    from: i64,
    until: i64,
}

const LONG_AGO: i64 = 1_000_000_000;
const FAR: i64 = 4_000_000_000;

impl Default for Asked<'_> {
    fn default() -> Self {
        Self {
            name: "somebody",
            is_authority: false,
            dns: None,
            address: None,
            from: LONG_AGO,
            until: FAR,
        }
    }
}

/// A certificate that `by` signed, or its own key.
fn identity(asked: &Asked<'_>, by: Option<&Identity>) -> Identity {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    let key = PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
    let mut name = X509NameBuilder::new().unwrap();
    name.append_entry_by_text("CN", asked.name).unwrap();
    let name = name.build();
    let mut builder = X509Builder::new().unwrap();
    builder.set_version(2).unwrap();
    let mut serial = BigNum::new().unwrap();
    serial
        .rand(64, openssl::bn::MsbOption::MAYBE_ZERO, false)
        .unwrap();
    builder
        .set_serial_number(&Asn1Integer::from_bn(&serial).unwrap())
        .unwrap();
    builder.set_subject_name(&name).unwrap();
    let issuer = by.map_or(&*name, |by| by.certificate.subject_name());
    builder.set_issuer_name(issuer).unwrap();
    builder.set_pubkey(&key).unwrap();
    builder
        .set_not_before(&Asn1Time::from_unix(asked.from).unwrap())
        .unwrap();
    builder
        .set_not_after(&Asn1Time::from_unix(asked.until).unwrap())
        .unwrap();
    let mut constraints = BasicConstraints::new();
    if asked.is_authority {
        constraints.critical().ca();
    }
    builder
        .append_extension(constraints.build().unwrap())
        .unwrap();
    if asked.dns.is_some() || asked.address.is_some() {
        let mut names = SubjectAlternativeName::new();
        asked.dns.map(|name| names.dns(name));
        asked.address.map(|address| names.ip(address));
        let names = names.build(&builder.x509v3_context(None, None)).unwrap();
        builder.append_extension(names).unwrap();
    }
    let signer = by.map_or(&key, |by| &by.key);
    builder.sign(signer, MessageDigest::sha256()).unwrap();
    Identity {
        certificate: builder.build(),
        key,
    }
}

fn authority(name: &str, by: Option<&Identity>) -> Identity {
    let asked = Asked {
        name,
        is_authority: true,
        ..Asked::default()
    };
    identity(&asked, by)
}

fn collector(by: &Identity) -> Identity {
    let asked = Asked {
        dns: Some("collector.example"),
        address: Some("127.0.0.1"),
        ..Asked::default()
    };
    identity(&asked, Some(by))
}

fn pem(chain: &[&Identity]) -> Vec<u8> {
    let certificates = chain.iter().map(|one| one.certificate.to_pem().unwrap());
    certificates.flatten().collect()
}

fn key(of: &Identity) -> Vec<u8> {
    of.key.private_key_to_pem_pkcs8().unwrap()
}

fn by_name(name: &str) -> TlsPeer {
    TlsPeer {
        name: Name::Dns(name.to_owned()),
        pins: Vec::new(),
    }
}

/// How a collector of the tests is set up.
struct Collector<'a> {
    chain: Vec<&'a Identity>,
    /// Whose certificates it takes, if it wants one.
    clients: Option<&'a Identity>,
    version: SslVersion,
    tickets: usize,
}

impl Collector<'_> {
    /// Takes one session on `stream` and reads it to its end: what came, or the problem.
    fn serve(&self, stream: UnixStream) -> JoinHandle<Result<Vec<u8>, String>> {
        let mut acceptor = SslAcceptor::mozilla_modern_v5(SslMethod::tls_server()).unwrap();
        acceptor.set_min_proto_version(Some(self.version)).unwrap();
        acceptor.set_max_proto_version(Some(self.version)).unwrap();
        let (leaf, rest) = self.chain.split_first().unwrap();
        acceptor.set_certificate(&leaf.certificate).unwrap();
        acceptor.set_private_key(&leaf.key).unwrap();
        for one in rest {
            acceptor
                .add_extra_chain_cert(one.certificate.clone())
                .unwrap();
        }
        acceptor.set_num_tickets(self.tickets).unwrap();
        if let Some(authority) = self.clients {
            acceptor
                .cert_store_mut()
                .add_cert(authority.certificate.clone())
                .unwrap();
            acceptor.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
        }
        acceptor.set_session_id_context(b"pflow").unwrap();
        let acceptor = acceptor.build();
        std::thread::spawn(move || {
            let mut session = acceptor.accept(stream).map_err(|error| error.to_string())?;
            let mut all = Vec::new();
            session
                .read_to_end(&mut all)
                .map_err(|error| error.to_string())?;
            Ok(all)
        })
    }
}

fn usual<'a>(chain: &[&'a Identity]) -> Collector<'a> {
    Collector {
        chain: chain.to_vec(),
        clients: None,
        version: SslVersion::TLS1_3,
        tickets: 2,
    }
}

fn trusting(authority: &Identity) -> Credentials {
    Credentials {
        ca: pem(&[authority]),
        own: None,
    }
}

fn at(secs: i64) -> Uptime {
    Uptime::new(secs, 0)
}

/// Goes on with a session at `now` until it is ready; or its problem.
fn ready(session: &mut TlsSession<UnixStream>, now: Uptime) -> Result<(), String> {
    for _ in 0..2000 {
        match session.advance(now) {
            Ok(true) => return Ok(()),
            Ok(false) => std::thread::sleep(Duration::from_millis(1)),
            Err(error) => return Err(error.to_string()),
        }
    }
    Err("still waiting".to_owned())
}

/// A session with a collector: what the client met, and what the collector read.
fn meet(
    collector: &Collector<'_>,
    credentials: &Credentials,
    peer: &TlsPeer,
) -> (Result<String, String>, Result<Vec<u8>, String>) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    let served = collector.serve(theirs);
    let client = TlsClient::new(TlsKind::Tls, credentials).unwrap();
    let mut session = client.open(peer, ours).unwrap();
    let outcome = ready(&mut session, at(0)).map(|()| {
        session.write(b"records").unwrap();
        session.close();
        session.agreed()
    });
    drop(session);
    (outcome, served.join().unwrap())
}

#[test]
fn records_arrive_by_either_version_and_name() {
    let ca = authority("ca", None);
    let server = collector(&ca);
    let address = TlsPeer {
        name: Name::Address("127.0.0.1".parse().unwrap()),
        pins: Vec::new(),
    };
    for (version, named) in [
        (SslVersion::TLS1_2, "TLSv1.2"),
        (SslVersion::TLS1_3, "TLSv1.3"),
    ] {
        for peer in [by_name("collector.example"), address.clone()] {
            let served = Collector {
                version,
                ..usual(&[&server])
            };
            let (outcome, read) = meet(&served, &trusting(&ca), &peer);
            assert!(outcome.unwrap().starts_with(named));
            assert_eq!(read.unwrap(), b"records");
        }
    }
}

#[test]
fn both_prove_who_they_are_through_an_intermediate_authority() {
    let ca = authority("ca", None);
    let middle = authority("middle", Some(&ca));
    let (server, client) = (
        collector(&middle),
        identity(&Asked::default(), Some(&middle)),
    );
    for version in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
        let served = Collector {
            clients: Some(&ca),
            version,
            ..usual(&[&server, &middle])
        };
        let credentials = Credentials {
            ca: pem(&[&ca]),
            own: Some((pem(&[&client, &middle]), key(&client))),
        };
        let (outcome, read) = meet(&served, &credentials, &by_name("collector.example"));
        outcome.unwrap();
        assert_eq!(read.unwrap(), b"records");
    }
}

#[test]
fn a_collector_that_does_not_prove_who_it_is_gets_nothing() {
    let (ca, other) = (authority("ca", None), authority("other", None));
    let with = |asked: Asked<'_>| identity(&asked, Some(&ca));
    let named = Asked {
        dns: Some("collector.example"),
        ..Asked::default()
    };
    let expired = with(Asked {
        until: LONG_AGO + 1,
        ..named
    });
    let early = with(Asked {
        from: FAR - 1,
        dns: Some("collector.example"),
        ..Asked::default()
    });
    let unnamed = with(Asked {
        name: "collector.example",
        ..Asked::default()
    });
    let by_address = with(Asked {
        name: "collector.example",
        address: Some("127.0.0.1"),
        ..Asked::default()
    });
    let self_signed = identity(
        &Asked {
            dns: Some("collector.example"),
            ..Asked::default()
        },
        None,
    );
    let table = [
        (
            collector(&ca),
            "elsewhere.example",
            "not for elsewhere.example",
        ),
        (
            collector(&other),
            "collector.example",
            "unable to get local issuer",
        ),
        (expired, "collector.example", "has expired"),
        (early, "collector.example", "not yet valid"),
        (self_signed, "collector.example", "self-signed"),
        (unnamed, "collector.example", "not for collector.example"),
        (by_address, "collector.example", "not for collector.example"),
    ];
    for (server, name, problem) in &table {
        for version in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
            let served = Collector {
                version,
                ..usual(&[server])
            };
            let (outcome, read) = meet(&served, &trusting(&ca), &by_name(name));
            let told = outcome.unwrap_err().replace("self signed", "self-signed");
            assert!(told.contains(problem), "{told}, expected {problem}");
            assert!(read.is_err() || read.unwrap().is_empty());
        }
    }
}

#[test]
fn only_a_pinned_certificate_is_taken_where_pins_are_set() {
    let ca = authority("ca", None);
    let (server, other) = (collector(&ca), collector(&ca));
    let pin = |of: &Identity| -> Pin {
        let digest = of.certificate.digest(MessageDigest::sha256()).unwrap();
        digest.as_ref().try_into().unwrap()
    };
    let peer = |pins: Vec<Pin>| TlsPeer {
        pins,
        ..by_name("collector.example")
    };
    let pins = peer(vec![pin(&other), pin(&server)]);
    meet(&usual(&[&server]), &trusting(&ca), &pins).0.unwrap();
    let (outcome, read) = meet(&usual(&[&server]), &trusting(&ca), &peer(vec![pin(&other)]));
    assert!(outcome.unwrap_err().contains("none that pin names"));
    assert!(read.is_err() || read.unwrap().is_empty());
}

#[test]
fn what_a_collector_says_against_our_certificate_is_told_before_anything_is_sent() {
    let (ca, other) = (authority("ca", None), authority("other", None));
    let server = collector(&ca);
    let stranger = identity(&Asked::default(), Some(&other));
    let late = Asked {
        until: LONG_AGO + 1,
        ..Asked::default()
    };
    let late = identity(&late, Some(&ca));
    let own = |of: &Identity| Some((pem(&[of]), key(of)));
    let table = [
        (None, "wants a certificate of ours", "ends the session"),
        (
            own(&stranger),
            "refuses our certificate: its authority",
            "refuses",
        ),
        (
            own(&late),
            "refuses our certificate: certificate expired",
            "refuses",
        ),
    ];
    for (own, problem, problem_12) in table {
        for version in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
            let served = Collector {
                clients: Some(&ca),
                version,
                ..usual(&[&server])
            };
            let credentials = Credentials {
                ca: pem(&[&ca]),
                own: own.clone(),
            };
            let (outcome, read) = meet(&served, &credentials, &by_name("collector.example"));
            let told = outcome.unwrap_err();
            let expected = match version {
                SslVersion::TLS1_3 => problem,
                _ => problem_12,
            };
            assert!(told.contains(expected), "{told}, expected {expected}");
            assert!(read.is_err());
        }
    }
}

#[test]
fn a_silent_server_of_tls_13_is_taken_to_agree_after_a_second() {
    let ca = authority("ca", None);
    let server = collector(&ca);
    let served = Collector {
        tickets: 0,
        ..usual(&[&server])
    };
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    let served = served.serve(theirs);
    let client = TlsClient::new(TlsKind::Tls, &trusting(&ca)).unwrap();
    let mut session = client.open(&by_name("collector.example"), ours).unwrap();
    assert_eq!(ready(&mut session, at(5)), Err("still waiting".to_owned()));
    assert!(session.advance(at(6)).unwrap());
    session.write(b"late").unwrap();
    session.close();
    drop(session);
    assert_eq!(served.join().unwrap().unwrap(), b"late");
}

#[test]
fn files_that_do_not_serve_are_named_by_their_words() {
    let ca = authority("ca", None);
    let (one, other) = (collector(&ca), collector(&ca));
    let problem = |ca: &[u8], own: Option<(Vec<u8>, Vec<u8>)>| {
        let credentials = Credentials {
            ca: ca.to_vec(),
            own,
        };
        TlsClient::new(TlsKind::Tls, &credentials).unwrap_err()
    };
    let trusted = pem(&[&ca]);
    assert_eq!(problem(b"", None), "ca: no certificate in it");
    assert!(problem(b"-----BEGIN CERTIFICATE-----\nx\n", None).starts_with("ca: "));
    let own = |cert: &[u8], key: &[u8]| Some((cert.to_vec(), key.to_vec()));
    assert_eq!(
        problem(&trusted, own(b"x", &key(&one))),
        "cert: no certificate in it"
    );
    let told = problem(&trusted, own(&pem(&[&one]), b"x"));
    assert!(told.starts_with("key: no private key in it"), "{told}");
    assert_eq!(
        problem(&trusted, own(&pem(&[&one]), &key(&other))),
        "key: not the key of the certificate in cert"
    );
    let cipher = openssl::symm::Cipher::aes_128_cbc();
    let locked = one
        .key
        .private_key_to_pem_pkcs8_passphrase(cipher, b"secret");
    assert_eq!(
        problem(&trusted, own(&pem(&[&one]), &locked.unwrap())),
        "key: it has a passphrase"
    );
    let late = Asked {
        until: LONG_AGO + 1,
        ..Asked::default()
    };
    let late = identity(&late, Some(&ca));
    let credentials = Credentials {
        ca: trusted,
        own: own(&pem(&[&late]), &key(&late)),
    };
    let client = TlsClient::new(TlsKind::Tls, &credentials).unwrap();
    assert!(client.warning().unwrap().starts_with("cert: expired on "));
    assert_eq!(format!("{credentials:?}"), "Credentials");
}

/// Two octets at a place, as a number.
fn number(octets: &[u8], at: usize) -> usize {
    usize::from(u16::from_be_bytes([octets[at], octets[at + 1]]))
}

/// What a ClientHello offers: its versions and its ciphers.
fn offer(hello: &[u8], is_dtls: bool) -> (Vec<usize>, Vec<usize>) {
    let version = number(hello, 0);
    // Version and random number, then the session's id and, in DTLS, a cookie.
    let mut at = 34;
    for _ in 0..1 + usize::from(is_dtls) {
        at += 1 + usize::from(hello[at]);
    }
    let pairs = |octets: &[u8]| octets.chunks(2).map(|pair| number(pair, 0)).collect();
    let len = number(hello, at);
    let ciphers = pairs(&hello[at + 2..at + 2 + len]);
    at += 2 + len;
    // How it is compressed, and the length of the extensions.
    at += 1 + usize::from(hello[at]) + 2;
    while at < hello.len() {
        let (kind, len) = (number(hello, at), number(hello, at + 2));
        if kind == 43 {
            return (pairs(&hello[at + 5..at + 4 + len]), ciphers);
        }
        at += 4 + len;
    }
    (vec![version], ciphers)
}

#[test]
fn what_is_offered_is_tls_12_and_13_and_dtls_12_with_ephemeral_keys_and_no_null_cipher() {
    let ca = authority("ca", None);
    // TLS 1.3's, then ECDHE with AES-GCM and ChaCha20 of RFC 5289 and RFC 7905; what is no cipher.
    let good = [
        0x1301, 0x1302, 0x1303, 0xc02b, 0xc02c, 0xc02f, 0xc030, 0xcca8, 0xcca9, 0x00ff,
    ];
    let check = |octets: &[u8], head: usize, is_dtls: bool, versions: &[usize]| {
        let (offered, ciphers) = offer(&octets[head..], is_dtls);
        assert_eq!(offered, versions);
        assert!(ciphers.len() > 2);
        for cipher in ciphers {
            assert!(good.contains(&cipher), "{cipher:#06x}");
        }
    };
    let mut octets = [0; 4096];
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    let client = TlsClient::new(TlsKind::Tls, &trusting(&ca)).unwrap();
    let mut session = client.open(&by_name("x"), ours).unwrap();
    assert!(!session.advance(at(0)).unwrap());
    let len = theirs.read(&mut octets).unwrap();
    check(&octets[..len], 9, false, &[0x0304, 0x0303]);
    let (ours, theirs) = datagrams();
    let client = TlsClient::new(TlsKind::Dtls(1400), &trusting(&ca)).unwrap();
    let mut session = client.open(&by_name("x"), Datagrams(ours)).unwrap();
    assert!(!session.advance(at(0)).unwrap());
    let len = theirs.recv(&mut octets).unwrap();
    check(&octets[..len], 25, true, &[0xfefd]);
}

#[test]
fn a_collector_that_does_not_stop_talking_is_read_in_pieces() {
    let ca = authority("ca", None);
    let server = collector(&ca);
    let mut acceptor = SslAcceptor::mozilla_modern_v5(SslMethod::tls_server()).unwrap();
    acceptor.set_certificate(&server.certificate).unwrap();
    acceptor.set_private_key(&server.key).unwrap();
    let acceptor = acceptor.build();
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    let talking = std::thread::spawn(move || {
        let mut session = acceptor.accept(theirs).unwrap();
        // Several records, because one may be read before the session is ready.
        session.write_all(&[7; 1 << 16]).unwrap();
        // Until the client is gone.
        let _ = session.read(&mut [0]);
    });
    let client = TlsClient::new(TlsKind::Tls, &trusting(&ca)).unwrap();
    let mut session = client.open(&by_name("collector.example"), ours).unwrap();
    ready(&mut session, at(0)).unwrap();
    let is_left = (0..2000).any(|_| {
        std::thread::sleep(Duration::from_millis(1));
        session.hear().unwrap();
        session.stream.ssl().pending() > 0
    });
    assert!(is_left);
    drop(session);
    talking.join().unwrap();
}

#[test]
fn octets_that_are_no_tls_end_a_session_and_nothing_else() {
    let ca = authority("ca", None);
    let client = TlsClient::new(TlsKind::Tls, &trusting(&ca)).unwrap();
    for octets in [
        &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
        &[0x16; 300],
        &[0; 64],
        &[21, 3, 3, 0, 2, 2, 40],
    ] {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let mut session = client.open(&by_name("x"), ours).unwrap();
        assert!(!session.advance(at(0)).unwrap());
        theirs.write_all(octets).unwrap();
        drop(theirs);
        ready(&mut session, at(0)).unwrap_err();
    }
}

/// Two connected sockets.
fn datagrams() -> (UdpSocket, UdpSocket) {
    let [one, other] = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
    one.connect(other.local_addr().unwrap()).unwrap();
    other.connect(one.local_addr().unwrap()).unwrap();
    one.set_nonblocking(true).unwrap();
    let patience = Some(Duration::from_secs(10));
    other.set_read_timeout(patience).unwrap();
    (one, other)
}

/// Loses the datagrams with these numbers.
struct Lossy {
    through: Datagrams,
    lost: Vec<usize>,
    written: usize,
    longest: usize,
}

impl Read for Lossy {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        self.through.read(room)
    }
}

impl Write for Lossy {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.written += 1;
        self.longest = self.longest.max(octets.len());
        match self.lost.contains(&self.written) {
            true => Ok(octets.len()),
            false => self.through.write(octets),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn dtls_sends_again_what_its_handshake_lost_and_keeps_to_the_mtu() {
    const MTU: u16 = 1200;
    let ca = authority("ca", None);
    let (server, own) = (collector(&ca), identity(&Asked::default(), Some(&ca)));
    let mut acceptor = SslContext::builder(SslMethod::dtls_server()).unwrap();
    acceptor.set_certificate(&server.certificate).unwrap();
    acceptor.set_private_key(&server.key).unwrap();
    acceptor
        .cert_store_mut()
        .add_cert(ca.certificate.clone())
        .unwrap();
    acceptor.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
    let acceptor = acceptor.build();
    let (ours, theirs) = datagrams();
    let served = std::thread::spawn(move || {
        let ssl = Ssl::new(&acceptor).unwrap();
        let mut session = SslStream::new(ssl, Datagrams(theirs)).unwrap();
        session.accept().unwrap();
        let mut message = vec![0; 2000];
        let len = session.ssl_read(&mut message).unwrap();
        let end = session.ssl_read(&mut message);
        assert_eq!(end.unwrap_err().code(), ErrorCode::ZERO_RETURN);
        len
    });
    let credentials = Credentials {
        ca: pem(&[&ca]),
        own: Some((pem(&[&own]), key(&own))),
    };
    let client = TlsClient::new(TlsKind::Dtls(MTU), &credentials).unwrap();
    let lossy = Lossy {
        through: Datagrams(ours),
        lost: vec![1, 3],
        written: 0,
        longest: 0,
    };
    let mut session = client.open(&by_name("collector.example"), lossy).unwrap();
    let mut tries = 0;
    while !session.advance(at(0)).unwrap() {
        tries += 1;
        assert!(tries < 10_000);
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(
        session.agreed().starts_with("DTLSv1.2 "),
        "{}",
        session.agreed()
    );
    let message = vec![7; usize::from(MTU - DTLS_OVERHEAD)];
    session.write(&message).unwrap();
    assert_eq!(session.stream().longest, usize::from(MTU));
    session.close();
    assert_eq!(served.join().unwrap(), message.len());
}

#[test]
fn a_dtls_collector_that_is_not_there_is_told_by_its_system() {
    let ca = authority("ca", None);
    let (ours, theirs) = datagrams();
    drop(theirs);
    let client = TlsClient::new(TlsKind::Dtls(1400), &trusting(&ca)).unwrap();
    let mut session = client.open(&by_name("x"), Datagrams(ours)).unwrap();
    let problem = (0..100).find_map(|_| session.advance(at(0)).err());
    assert_eq!(problem.unwrap().kind(), io::ErrorKind::ConnectionRefused);
}
