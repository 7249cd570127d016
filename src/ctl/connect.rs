//! Finds the running pflow: the socket of `-s`, or the first that answers of those it usually has.

use std::io;
use std::os::unix::net::UnixStream;

use crate::options::{DEFAULT_SOCKET, SERVICE_SOCKET};

/// Where it is looked for, in this order.
const USUAL: [&str; 2] = [DEFAULT_SOCKET, SERVICE_SOCKET];

/// The connection, and the name of the socket that took it.
pub(super) fn connect(socket: Option<&str>) -> Result<(UnixStream, String), String> {
    match socket {
        Some(socket) => first(&[socket]),
        None => first(&USUAL),
    }
}

/// The first that answers; else what is wrong with each.
fn first(sockets: &[&str]) -> Result<(UnixStream, String), String> {
    let mut errors = Vec::new();
    for socket in sockets {
        match UnixStream::connect(socket) {
            Ok(stream) => return Ok((stream, (*socket).to_owned())),
            Err(error) => errors.push((*socket, error)),
        }
    }
    let is_absent = |error: &io::Error| {
        matches!(
            error.kind(),
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
        )
    };
    let hint = if errors.iter().all(|(_, error)| is_absent(error)) {
        " (is pflow running?)"
    } else {
        ""
    };
    let errors: Vec<_> = errors
        .iter()
        .map(|(socket, error)| format!("{socket}: {error}"))
        .collect();
    Err(errors.join("; ") + hint)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn the_first_socket_that_answers_is_taken() {
        let directory = std::env::temp_dir().join(format!("pflow-usual-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let name = |file: &str| directory.join(file).to_str().unwrap().to_owned();
        let (missing, dead, alive) = (name("missing"), name("dead"), name("alive"));
        drop(UnixListener::bind(&dead).unwrap());
        let listener = UnixListener::bind(&alive).unwrap();
        let (_, socket) = first(&[&missing, &dead, &alive]).unwrap();
        assert_eq!(socket, alive);
        drop(listener);
        std::fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn without_any_the_error_names_each() {
        let error = first(&["/nonexistent/a.sock", "/nonexistent/b.sock"]).unwrap_err();
        assert_eq!(
            error,
            "/nonexistent/a.sock: No such file or directory (os error 2); \
             /nonexistent/b.sock: No such file or directory (os error 2) (is pflow running?)"
        );
    }

    #[test]
    fn the_systemd_units_socket_is_a_usual_one() {
        let unit = include_str!("../../packaging/systemd/pflow.service");
        assert!(unit.contains(&format!(" -s {SERVICE_SOCKET} ")));
        assert!(USUAL.contains(&SERVICE_SOCKET));
    }
}
