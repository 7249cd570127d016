//! What one collector knows: which numbers it saw, and when it was told the templates.
//!
//! A session stamps the header of each message as it leaves: the time at which the message was
//! made, and how many data records went before it.
//!
//! ```text
//! NetFlow v5   flow_sequence    records of the interface, of either format   (if_pflow.c, sc_gcounter)
//! IPFIX        sequence         data records of the observation domain       (RFC 7011 3.1)
//! ```
//! A template message carries the number of its domain and adds nothing. Whether sending works is
//! not asked: over UDP the sequence goes on as if it had, and the gap tells the collector.

use std::time::Duration;

use super::outbox::{Header, Message, To};
use super::settings::{Domain, Settings};
use crate::time::{Now, Uptime};
use crate::wire::{ipfix, netflow5};

/// Whether what is sent gets there, as far as that is told.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum State {
    /// Nothing else was reported.
    #[default]
    Up,
    /// Nobody listens.
    Refused,
    /// There is no way to it.
    Unreachable,
}

impl State {
    /// In words; `None`: all is well.
    pub fn problem(self) -> Option<&'static str> {
        match self {
            Self::Up => None,
            Self::Refused => Some("nobody listens"),
            Self::Unreachable => Some("cannot be reached"),
        }
    }
}

/// One collector's view.
#[derive(Clone, Debug, Default)]
pub struct Session {
    /// Data records of either format.
    records: u32,
    /// IPFIX data records by observation domain, in the domains' order.
    domains: Vec<(u32, u32)>,
    /// Domains whose templates it is told.
    told: Vec<u32>,
    /// When templates are due; `None` while nothing is to be sent.
    templates_due: Option<Uptime>,
    state: State,
}

impl Session {
    /// Whether what is sent gets there.
    pub fn state(&self) -> State {
        self.state
    }

    pub(super) fn set_state(&mut self, state: State) {
        self.state = state;
    }

    /// Data records of either format sent so far.
    pub fn records(&self) -> u32 {
        self.records
    }

    /// IPFIX data records of an observation domain sent so far.
    pub fn sequence(&self, domain: u32) -> u32 {
        let place = self.domains.binary_search_by_key(&domain, |(of, _)| *of);
        let found = place.ok().and_then(|place| self.domains.get(place));
        found.map_or(0, |(_, sequence)| *sequence)
    }

    /// IPFIX data records by observation domain.
    pub fn sequences(&self) -> &[(u32, u32)] {
        &self.domains
    }

    /// Goes on from a number of data records.
    pub fn set_records(&mut self, records: u32) {
        self.records = records;
    }

    /// Goes on from a sequence number of an observation domain.
    pub fn set_sequence(&mut self, domain: u32, sequence: u32) {
        *self.sequence_mut(domain) = sequence;
    }

    fn sequence_mut(&mut self, domain: u32) -> &mut u32 {
        let place = self.domains.binary_search_by_key(&domain, |(of, _)| *of);
        let place = place.unwrap_or_else(|place| {
            self.domains.insert(place, (domain, 0));
            place
        });
        #[expect(clippy::indexing_slicing, reason = "found there, or just put there")]
        &mut self.domains[place].1
    }

    /// Fills in the header of a message.
    pub(super) fn stamp(&mut self, message: &Message, octets: &mut [u8]) {
        let records = message.records();
        let number = self.records;
        self.records = number.wrapping_add(records.into());
        match message.header() {
            Header::NetFlow5 { engine } => {
                let header = netflow5_header(message.at(), records, number, engine);
                if let Some(front) = octets.first_chunk_mut() {
                    *front = header.octets();
                }
            }
            Header::Ipfix { domain } => {
                let sequence = self.sequence_mut(domain);
                let header = ipfix::Header {
                    length: u16::try_from(octets.len()).unwrap_or(u16::MAX),
                    export_time: seconds_32(message.at()),
                    sequence: *sequence,
                    domain,
                };
                *sequence = sequence.wrapping_add(records.into());
                if let Some(front) = octets.first_chunk_mut() {
                    *front = header.octets();
                }
            }
        }
    }

    /// Begins to send templates, of the one domain there is or of those that are told later;
    /// messages made.
    pub(super) fn begin_templates(
        &mut self,
        now: Now,
        settings: &Settings,
        to: &mut To<'_>,
    ) -> u64 {
        self.told = match settings.domain {
            Domain::Number(domain) => vec![domain],
            Domain::Creatorid => Vec::new(),
        };
        self.send_templates(now, settings, to)
    }

    /// Sends the templates of one more domain; messages made.
    pub(super) fn tell(
        &mut self,
        now: Now,
        settings: &Settings,
        domain: u32,
        to: &mut To<'_>,
    ) -> u64 {
        self.told.push(domain);
        to.push(
            Header::Ipfix { domain },
            now,
            0,
            &template_message(settings),
        );
        1
    }

    /// Sends the templates and takes the next time for them from now; messages made.
    fn send_templates(&mut self, now: Now, settings: &Settings, to: &mut To<'_>) -> u64 {
        let message = template_message(settings);
        for domain in &self.told {
            to.push(Header::Ipfix { domain: *domain }, now, 0, &message);
        }
        // At the end of the scale there is no later.
        self.templates_due =
            Some(now.uptime.after(settings.refresh())).filter(|due| *due > now.uptime);
        self.told.len() as u64
    }

    /// No templates until [`Self::begin_templates`] is called again.
    pub(super) fn stop_templates(&mut self) {
        self.templates_due = None;
    }

    /// Moves templates that are due before `until` behind it, in their rhythm: after a long
    /// silence they need to go once only.
    pub(super) fn skip_templates(&mut self, until: Uptime, settings: &Settings) {
        if let Some(due) = &mut self.templates_due
            && *due < until
        {
            let refresh = settings.refresh().as_nanos().max(1);
            let late = until.since(*due).as_nanos() % refresh;
            let ahead = if late == 0 { 0 } else { refresh - late };
            let ahead = u64::try_from(ahead).unwrap_or(u64::MAX);
            *due = until.after(Duration::from_nanos(ahead));
        }
    }

    /// When templates must go.
    #[inline]
    pub(super) fn poll_timeout(&self) -> Option<Uptime> {
        self.templates_due
    }

    /// Sends templates if they are due; messages made.
    pub(super) fn handle_timeout(&mut self, now: Now, settings: &Settings, to: &mut To<'_>) -> u64 {
        match self.templates_due {
            Some(due) if due <= now.uptime => self.send_templates(now, settings, to),
            _ => 0,
        }
    }
}

/// The templates, with room for the header.
fn template_message(settings: &Settings) -> Vec<u8> {
    let mut message = vec![0; ipfix::HEADER_LEN];
    message.extend(ipfix::template_set(settings.templates.templates()));
    message
}

fn netflow5_header(at: Now, count: u16, flow_sequence: u32, engine: [u8; 2]) -> netflow5::Header {
    netflow5::Header {
        count,
        sys_uptime: netflow5::millis_mod_32(at.uptime.secs()),
        unix_secs: seconds_32(at),
        unix_nsecs: at.wall.subsec_nanos(),
        flow_sequence,
        engine,
    }
}

/// Seconds since the epoch as headers have them; they wrap in 2106.
fn seconds_32(now: Now) -> u32 {
    u32::try_from(now.wall.secs().rem_euclid(1 << 32)).unwrap_or(0)
}
