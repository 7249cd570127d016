//! What standard output is: a terminal and how wide, or none.

use std::io::{self, IsTerminal};

use jiff::tz::TimeZone;

use super::sys;
use crate::output::page::Page;

/// What is printed on, as it is now. `title` is what will be shown. Reads TZ and the system's time
/// zones, which cannot be read any more once the program is caged.
pub fn page(title: String) -> Page {
    let stdout = io::stdout();
    let local = TimeZone::system();
    let without = Page {
        title,
        local: local.clone(),
        ..Page::default()
    };
    if !stdout.is_terminal() {
        return without;
    }
    Page {
        // A terminal that does not know its size says 0.
        columns: sys::columns(&stdout)
            .filter(|columns| *columns > 0)
            .map_or(without.columns, usize::from),
        is_terminal: true,
        zone: local,
        ..without
    }
}
