//! The raw sockets that send requests for states. They are opened, changed and closed as the
//! configuration says. A replay has none.

use super::parent::Parent;
use crate::config::Config;
use crate::io::raw::Raw;
use crate::io::transport::WhenFull;
use crate::solicit::{Requests, Solicitor};

/// Where requests go, if any do.
pub(super) struct Soliciting {
    is_live: bool,
    /// The interface, and its sockets.
    raw: Option<(String, Raw)>,
}

/// What a configuration needs.
pub(super) enum OpenedRaw {
    /// What there is.
    Same,
    /// Something else, or nothing.
    Other(Option<(String, Raw)>),
}

impl Soliciting {
    pub(super) fn new(when_full: WhenFull) -> Self {
        Self {
            is_live: when_full == WhenFull::Drop,
            raw: None,
        }
    }

    /// Whether there is something to ask by.
    pub(super) fn is_on(&self) -> bool {
        self.raw.is_some()
    }

    /// Opens the sockets that `config` needs and that are not open, or has the parent open them.
    pub(super) fn prepare(
        &self,
        config: &Config,
        parent: Option<&Parent>,
    ) -> Result<OpenedRaw, String> {
        let wanted = config.solicit.interface.as_ref().filter(|_| self.is_live);
        if self.raw.as_ref().map(|(name, _)| name) == wanted {
            return Ok(OpenedRaw::Same);
        }
        let Some(name) = wanted else {
            return Ok(OpenedRaw::Other(None));
        };
        // Answers come by the captures.
        let mut captures = config.captures.iter();
        if !captures.any(|other| other == name || other == "any") {
            return Err(format!("solicit on {name}: nothing is captured there"));
        }
        let raw = match parent {
            Some(parent) => parent.open_raw(name),
            None => Raw::open(name).map_err(|error| error.to_string()),
        };
        let raw = raw.map_err(|problem| format!("solicit on {name}: {problem}"))?;
        Ok(OpenedRaw::Other(Some((name.clone(), raw))))
    }

    /// Takes what was opened into use, and closes what was used before.
    pub(super) fn commit(&mut self, opened: OpenedRaw) {
        if let OpenedRaw::Other(raw) = opened {
            self.raw = raw;
        }
    }

    /// Opens the sockets on interface `name` again. The interface went away and came back with
    /// another number.
    pub(super) fn reopen(&mut self, name: &str, parent: &Parent) -> Result<(), String> {
        match &mut self.raw {
            Some((interface, raw)) if interface == name => *raw = parent.open_raw(name)?,
            _ => {}
        }
        Ok(())
    }

    /// Sends the requests that wait. Calls `report` for those that could not be sent.
    pub(super) fn send(&self, solicitor: &mut Solicitor, report: &mut dyn FnMut(String)) {
        let Some((_, raw)) = &self.raw else { return };
        if solicitor.requests().is_empty() {
            return;
        }
        let requests: Requests = std::mem::take(solicitor.requests());
        for (to, packet) in requests.iter() {
            let outcome = raw.send(to, packet);
            solicitor.handle_sent(packet.len(), outcome.is_ok());
            if let Err(error) = outcome {
                report(format!("solicit: {error}"));
            }
        }
    }
}
