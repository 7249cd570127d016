//! pflow(8): pfsync in, NetFlow v5 and IPFIX out.

use std::io::Write;
use std::process::ExitCode;

use pflow::options;
use pflow::run;

/// Exit status of wrong usage.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    match options::arguments().and_then(|arguments| options::parse(&arguments)) {
        Ok(options::Action::Help) => print(&options::help()),
        Ok(options::Action::Version) => print(concat!("pflow ", env!("CARGO_PKG_VERSION"), "\n")),
        Ok(options::Action::Run(options)) => run::run(&options),
        Err(problem) => wrong_usage(&problem),
    }
}

fn print(text: &str) -> ExitCode {
    // A reader that has gone wants no complaint.
    let _ = std::io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

fn wrong_usage(problem: &str) -> ExitCode {
    let _ = write!(std::io::stderr(), "pflow: {problem}\n{}", options::usage());
    ExitCode::from(USAGE)
}
