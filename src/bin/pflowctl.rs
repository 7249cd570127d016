//! pflowctl(8): looks into a running pflow and sets it.

use std::io::Write;
use std::process::ExitCode;

use pflow::ctl;
use pflow::options;

/// Exit status of wrong usage.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    match options::arguments().and_then(|arguments| ctl::parse(&arguments)) {
        Ok(ctl::Action::Print(text)) => {
            // A reader that has gone wants no complaint.
            let _ = std::io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Ok(ctl::Action::Serve { socket }) => ctl::serve(socket.as_deref()),
        Ok(ctl::Action::Say { socket, lines }) => ctl::say(socket.as_deref(), &lines),
        Err(problem) => wrong_usage(&problem),
    }
}

fn wrong_usage(problem: &str) -> ExitCode {
    let _ = write!(std::io::stderr(), "pflowctl: {problem}\n{}", ctl::usage());
    ExitCode::from(USAGE)
}
