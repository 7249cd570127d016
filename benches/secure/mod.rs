//! Collectors with TLS and DTLS: openssl s_server(1), which reads what comes and does nothing with it.

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A collector, and the file of the authority that made its certificate.
pub(crate) struct Collector {
    server: Child,
    pub(crate) to: SocketAddr,
    pub(crate) ca: String,
}

impl Drop for Collector {
    fn drop(&mut self) {
        // Either fails only where it has ended.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// Whether openssl(1) is there.
pub(crate) fn is_here() -> bool {
    let version = Command::new("openssl").arg("version").output();
    version.is_ok_and(|version| version.status.success())
}

/// One that speaks what `option` of s_server says, with its files in `directory`.
pub(crate) fn collector(directory: &str, option: &str) -> Collector {
    fs::create_dir_all(directory).unwrap();
    let (ca, key) = (
        format!("{directory}/cert.pem"),
        format!("{directory}/key.pem"),
    );
    // The certificate is its own authority and names the address.
    let words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=x \
                 -addext subjectAltName=IP:127.0.0.1";
    let mut request = Command::new("openssl");
    request.args(words.split_whitespace());
    request.args(["-keyout", &key, "-out", &ca]);
    assert!(request.output().unwrap().status.success());
    // Free for datagrams a moment ago, and most likely for connections, too.
    let to = UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let mut server = Command::new("openssl");
    server.args(["s_server", option, "-quiet", "-accept", &to.to_string()]);
    server.args(["-cert", &ca, "-key", &key]);
    // It ends with its input.
    server.stdin(Stdio::piped());
    server.stdout(Stdio::null()).stderr(Stdio::null());
    let server = server.spawn().unwrap();
    std::thread::sleep(Duration::from_millis(500));
    Collector { server, to, ca }
}
