//! What one collector knows: which numbers it saw, and when it was told the templates.
//!
//! A session stamps the header of each message as it leaves. It writes the time at which the
//! message was made, and the number of data records that went before it.
//!
//! ```text
//! NetFlow v5   flow_sequence    records of the interface, of either format   (if_pflow.c, sc_gcounter)
//! NetFlow v9   sequence         messages of the source id, of any kind       (RFC 3954 5.1)
//! IPFIX        sequence         data records of the observation domain       (RFC 7011 3.1)
//! ```
//! A template message carries the number of its domain and adds nothing. The session does not ask
//! whether sending works. Over UDP the sequence goes on after a failure, and the gap tells the
//! collector.

use std::collections::BTreeMap;
use std::time::Duration;

use super::announcements::Announcements;
use super::format::{Format, IPV6_UDP, TemplateSet, seconds_32};
use super::outbox::{Message, Stamp, To};
use super::settings::{Domain, Settings};
use super::templates::Templates;
use crate::flow::Flow;
use crate::state::IfName;
use crate::time::{Now, Uptime};
use crate::wire::netflow9::Clock;
use crate::wire::{ipfix, netflow5, netflow9};

/// After which time NetFlow v9's templates are sent the second time.
const FIRST_PACE: Duration = Duration::from_secs(1);
/// By how much more the wall clock may go ahead of the uptime before it was set, nanoseconds.
const CLOCK_STEP: u64 = 1_000_000_000;

/// Whether what is sent gets there, as far as that is told.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Reachability {
    /// Nothing else was reported.
    #[default]
    Up,
    /// Nobody listens.
    Refused,
    /// There is no way to it.
    Unreachable,
}

impl Reachability {
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
    /// NetFlow v9's messages by source id, in the ids' order.
    sources: Vec<(u32, u32)>,
    /// Names of interfaces by the indexes in records: NetFlow v9's options tell them.
    interfaces: BTreeMap<u16, IfName>,
    /// What it is told in options.
    announcements: Announcements,
    /// Domains whose templates it is told.
    told: Vec<u32>,
    /// When templates are due; `None` while nothing is to be sent.
    templates_due: Option<Uptime>,
    /// When statistics are due; `None` while none are to be sent.
    statistics_due: Option<Uptime>,
    /// The earlier of the two.
    due: Option<Uptime>,
    /// After which time NetFlow v9's templates are sent next, if not after `refresh`.
    pace: Duration,
    /// When the machine came up as NetFlow v9's last header has it, nanoseconds since 1970.
    boot: Option<i64>,
    state: Reachability,
}

impl Session {
    /// Whether what is sent gets there.
    pub fn state(&self) -> Reachability {
        self.state
    }

    pub(super) fn set_state(&mut self, state: Reachability) {
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
        number_of(&mut self.domains, domain)
    }

    /// NetFlow v9's messages by source id.
    pub fn messages(&self) -> &[(u32, u32)] {
        &self.sources
    }

    /// Goes on from a number of messages of a source id.
    pub fn set_messages(&mut self, source: u32, messages: u32) {
        *number_of(&mut self.sources, source) = messages;
    }

    /// Notes that records have `index` for an interface, if they do; whether that is news.
    #[inline]
    pub(super) fn note_interface(&mut self, index: u16, name: IfName) -> bool {
        let is_new = index != 0 && self.interfaces.get(&index) != Some(&name);
        if is_new {
            self.interfaces.insert(index, name);
        }
        is_new
    }

    /// Fills in what a stream does not know of a message's header. The stream numbers the message
    /// later.
    pub(super) fn stamp_for_stream(message: &Message, octets: &mut [u8]) {
        if let Stamp::NetFlow9 {
            source,
            count,
            clock,
        } = message.stamp()
            && let Some(front) = octets.first_chunk_mut()
        {
            *front = netflow9_header(message.at(), (source, count, clock), 0).octets();
        }
    }

    /// Fills in the header of a message.
    pub(super) fn stamp(&mut self, message: &Message, octets: &mut [u8]) {
        let records = message.records();
        let number = self.records;
        self.records = number.wrapping_add(records.into());
        match message.stamp() {
            Stamp::NetFlow5 { engine } => {
                let header = netflow5_header(message.at(), records, number, engine);
                if let Some(front) = octets.first_chunk_mut() {
                    *front = header.octets();
                }
            }
            Stamp::NetFlow9 {
                source,
                count,
                clock,
            } => {
                self.note_boot(message.at());
                let sequence = number_of(&mut self.sources, source);
                let header = netflow9_header(message.at(), (source, count, clock), *sequence);
                *sequence = sequence.wrapping_add(1);
                if let Some(front) = octets.first_chunk_mut() {
                    *front = header.octets();
                }
            }
            Stamp::Ipfix { domain } | Stamp::Options { domain, .. } => {
                let records = match message.stamp() {
                    Stamp::Options { count, .. } => count,
                    _ => records,
                };
                let sequence = self.sequence_mut(domain);
                let header = ipfix::Header {
                    length: u16::try_from(octets.len()).unwrap_or(u16::MAX),
                    export_time: seconds_32(message.at().wall),
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
        self.pace = FIRST_PACE;
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
        self.tell_domain(now, settings, domain, to)
    }

    /// Tells what options there are of a domain itself, where there are some; messages made.
    pub(super) fn announce_domain(
        &mut self,
        now: Now,
        settings: &Settings,
        domain: u32,
        to: &mut To<'_>,
    ) -> u64 {
        match settings.templates {
            TemplateSet::Full => self.announcements.begin(now, settings, domain, to),
            _ => 0,
        }
    }

    /// Sends the templates and takes the next time for them from now; messages made.
    fn send_templates(&mut self, now: Now, settings: &Settings, to: &mut To<'_>) -> u64 {
        let told = self.told.iter();
        let messages = told.map(|domain| self.tell_domain(now, settings, *domain, to));
        let messages = messages.sum();
        let next = self.next_templates(settings);
        // At the end of the scale there is no later.
        self.templates_due = Some(now.uptime.after(next)).filter(|due| *due > now.uptime);
        self.note_due();
        messages
    }

    /// How long after these templates are the next. NetFlow v9's are sent more often at first and
    /// after the clock was set (RFC 3954 7.2, 7.4). The time between them doubles until it is
    /// `refresh`.
    fn next_templates(&mut self, settings: &Settings) -> Duration {
        if settings.format != Format::NetFlow9 {
            return settings.refresh();
        }
        let next = self.pace.min(settings.refresh());
        self.pace = next.saturating_mul(2);
        next
    }

    /// Has templates sent at once if the wall clock was set.
    fn note_boot(&mut self, at: Now) {
        let boot = at.wall.nanos().saturating_sub(at.uptime.nanos());
        let before = self.boot.replace(boot);
        if before.is_some_and(|before| before.abs_diff(boot) > CLOCK_STEP)
            && let Some(due) = &mut self.templates_due
        {
            self.pace = FIRST_PACE;
            *due = at.uptime.min(*due);
            self.note_due();
        }
    }

    /// No templates until [`Self::begin_templates`] is called again.
    pub(super) fn stop_templates(&mut self) {
        (self.templates_due, self.statistics_due) = (None, None);
        self.note_due();
    }

    fn note_due(&mut self) {
        self.due = Uptime::earliest(self.templates_due, self.statistics_due);
    }

    /// Begins to tell statistics, if `settings` ask for them.
    pub(super) fn begin_statistics(&mut self, now: Now, settings: &Settings) {
        let is_full = settings.format == Format::Ipfix && settings.templates == TemplateSet::Full;
        let is_asked = is_full && settings.statistics > 0;
        let due = now.uptime.after(settings.statistics());
        self.statistics_due = Some(due).filter(|due| is_asked && *due > now.uptime);
        self.note_due();
    }

    /// Whether statistics are due; the next time for them is taken from now.
    pub(super) fn take_statistics(&mut self, now: Now, settings: &Settings) -> bool {
        let is_due = self.statistics_due.is_some_and(|due| due <= now.uptime);
        if is_due {
            self.begin_statistics(now, settings);
        }
        is_due
    }

    /// Sends the templates of a domain that was not told; messages made.
    pub(super) fn tell_new(
        &mut self,
        now: Now,
        settings: &Settings,
        domain: u32,
        to: &mut To<'_>,
    ) -> u64 {
        match self.told.contains(&domain) {
            true => 0,
            false => self.tell(now, settings, domain, to),
        }
    }

    /// Moves templates that are due before `until` behind it and keeps their rhythm. After a long
    /// silence they go once.
    pub(super) fn skip_templates(&mut self, until: Uptime, settings: &Settings) {
        let skip = |due: &mut Option<Uptime>, period: Duration| {
            if let Some(due) = due
                && *due < until
            {
                let period = period.as_nanos().max(1);
                let late = until.since(*due).as_nanos() % period;
                let ahead = if late == 0 { 0 } else { period - late };
                let ahead = u64::try_from(ahead).unwrap_or(u64::MAX);
                *due = until.after(Duration::from_nanos(ahead));
            }
        };
        skip(&mut self.templates_due, settings.refresh());
        skip(&mut self.statistics_due, settings.statistics());
        self.note_due();
    }

    /// When templates or statistics must go.
    #[inline]
    pub(super) fn poll_timeout(&self) -> Option<Uptime> {
        self.due
    }

    /// Sends templates if they are due; messages made.
    pub(super) fn handle_timeout(&mut self, now: Now, settings: &Settings, to: &mut To<'_>) -> u64 {
        match self.templates_due {
            Some(due) if due <= now.uptime => self.send_templates(now, settings, to),
            _ => 0,
        }
    }

    /// Sends the templates of a domain, and what else its collector is told now and then; messages
    /// made.
    fn tell_domain(&self, now: Now, settings: &Settings, domain: u32, to: &mut To<'_>) -> u64 {
        if settings.format == Format::NetFlow9 {
            return self.tell_source(now, settings, domain, to);
        }
        let mut messages = 0;
        for (set, count) in Templates::from(settings).sets_in(settings.room_of_message()) {
            let mut message = vec![0; ipfix::HEADER_LEN];
            message.extend(set);
            to.push(Stamp::Options { domain, count }, now, 0, &message);
            messages += 1;
        }
        messages + self.announcements.tell(now, settings, domain, to)
    }

    /// Forgets what was told in options.
    pub(super) fn clear_announcements(&mut self) {
        self.announcements.clear();
    }

    /// Tells in options what is new with a flow of a domain; messages made.
    #[inline]
    pub(super) fn announce(
        &mut self,
        now: Now,
        settings: &Settings,
        domain: u32,
        news: (&Flow, IfName, u16),
        to: &mut To<'_>,
    ) -> u64 {
        self.announcements.note(now, settings, domain, news, to)
    }

    /// Tells the templates of a source id of NetFlow v9 once more, if they are told from here.
    pub(super) fn tell_again(&self, now: Now, settings: &Settings, source: u32, to: &mut To<'_>) {
        if self.templates_due.is_some() {
            self.tell_source(now, settings, source, to);
        }
    }

    /// Sends the templates of a source id of NetFlow v9; messages made. Options follow them: that
    /// nothing is sampled, and the names of interfaces, as many a message as fit.
    fn tell_source(&self, now: Now, settings: &Settings, source: u32, to: &mut To<'_>) -> u64 {
        let room = usize::from(settings.mtu).saturating_sub(IPV6_UDP + netflow9::HEADER_LEN);
        let mut messages = netflow9::announcement(room);
        let interfaces = self.interfaces.iter();
        let names: Vec<_> = interfaces
            .map(|(index, name)| (*index, name.as_bytes()))
            .collect();
        netflow9::add_interfaces(&mut messages, &names, room);
        for (sets, count) in &messages {
            let header = Stamp::NetFlow9 {
                source,
                count: *count,
                clock: Clock::at(now.uptime.secs()),
            };
            let mut message = vec![0; netflow9::HEADER_LEN];
            message.extend(sets);
            to.push(header, now, 0, &message);
        }
        messages.len() as u64
    }
}

/// The number of `of` in a list that is in order; 0 if it had none yet.
fn number_of(numbers: &mut Vec<(u32, u32)>, of: u32) -> &mut u32 {
    let place = numbers.binary_search_by_key(&of, |(of, _)| *of);
    let place = place.unwrap_or_else(|place| {
        numbers.insert(place, (of, 0));
        place
    });
    #[expect(clippy::indexing_slicing, reason = "found there, or just put there")]
    &mut numbers[place].1
}

fn netflow5_header(at: Now, count: u16, flow_sequence: u32, engine: [u8; 2]) -> netflow5::Header {
    netflow5::Header {
        count,
        sys_uptime: netflow5::millis_mod_32(at.uptime.secs()),
        unix_secs: seconds_32(at.wall),
        unix_nsecs: at.wall.subsec_nanos(),
        flow_sequence,
        engine,
    }
}

/// The header of a NetFlow v9 message made at `at`.
pub(super) fn netflow9_header(
    at: Now,
    (source, count, clock): (u32, u16, Clock),
    sequence: u32,
) -> netflow9::Header {
    netflow9::Header {
        count,
        sys_uptime: clock.millis(at.uptime.secs()),
        unix_secs: seconds_32(at.wall),
        sequence,
        source,
    }
}
