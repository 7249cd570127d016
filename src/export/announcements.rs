//! What a collector is told in options beside templates: what exports, interfaces, firewalls and
//! keys.
//!
//! ```text
//! flow --> is its domain, interface, firewall known? --no--> kept, and sent at once
//!                                      refresh over datagrams --> all that is kept, again
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use super::outbox::{Stamp, To};
use super::per_domain::COMMON;
use super::{Domain, Settings, Templates};
use crate::flow::Flow;
use crate::state::IfName;
use crate::time::Now;
use crate::wire::full;
use crate::wire::ipfix;
use crate::wire::options::{Options, sets_of};

/// Most interfaces and firewalls that are told of a domain, each.
const MOST: usize = 1024;

/// What is told, by observation domain.
#[derive(Clone, Debug, Default)]
pub(super) struct Announcements {
    domains: BTreeMap<u32, ToldOptions>,
    /// What the flow before told. Most flows tell nothing else.
    latest: Option<(u32, News)>,
}

/// What may be new with a flow.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct News {
    ifindex: u16,
    ifname: IfName,
    creatorid: u32,
    sender: IpAddr,
    dialect: u8,
}

/// What is told of one domain.
#[derive(Clone, Debug, Default)]
struct ToldOptions {
    options: Vec<Options>,
    interfaces: BTreeMap<u16, IfName>,
    firewalls: BTreeSet<(u32, IpAddr, u8)>,
}

impl Announcements {
    /// Forgets all.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Tells what is new with a flow; messages made.
    #[inline]
    pub(super) fn note(
        &mut self,
        now: Now,
        settings: &Settings,
        domain: u32,
        (flow, ifname, ifindex): (&Flow, IfName, u16),
        to: &mut To<'_>,
    ) -> u64 {
        let detail = flow.detail.as_ref();
        let news = News {
            ifindex,
            ifname,
            creatorid: flow.id.creatorid,
            sender: detail
                .and_then(|detail| detail.sender)
                .unwrap_or(Ipv4Addr::UNSPECIFIED.into()),
            dialect: detail.map_or(0, |detail| detail.dialect),
        };
        if self.latest == Some((domain, news)) {
            return 0;
        }
        self.latest = Some((domain, news));
        let begun = self.begin(now, settings, domain, to);
        begun + self.add(now, settings, domain, news, to)
    }

    /// Tells the options of a domain itself, once; messages made.
    pub(super) fn begin(
        &mut self,
        now: Now,
        settings: &Settings,
        domain: u32,
        to: &mut To<'_>,
    ) -> u64 {
        if self.domains.contains_key(&domain) {
            return 0;
        }
        let kind = Templates::from(settings).full().unwrap_or_default();
        let init = now.at(crate::time::Uptime::from_nanos(0)).wall;
        let init_ms = u64::try_from(init.nanos().div_euclid(1_000_000)).unwrap_or(0);
        let name = match settings.domain {
            Domain::Creatorid if domain != COMMON => format!("creatorid {domain:08x}"),
            _ => format!("pflow{}", to.unit()),
        };
        let mut options = vec![Options::exporter(domain, init_ms, &name)];
        options.extend(full::keys(kind).map(|(template, keys)| Options::keys(template, keys)));
        let messages = send(now, settings, domain, &options, to);
        let told = ToldOptions {
            options,
            ..ToldOptions::default()
        };
        self.domains.insert(domain, told);
        messages
    }

    #[cold]
    fn add(
        &mut self,
        now: Now,
        settings: &Settings,
        domain: u32,
        news: News,
        to: &mut To<'_>,
    ) -> u64 {
        let Some(told) = self.domains.get_mut(&domain) else {
            return 0;
        };
        let kind = Templates::from(settings).full().unwrap_or_default();
        let mut options = Vec::new();
        let index = news.ifindex;
        let is_known = told.interfaces.get(&index) == Some(&news.ifname);
        if index != 0 && !is_known && told.interfaces.len() < MOST {
            told.interfaces.insert(index, news.ifname);
            options.push(Options::interface(index, &news.ifname.to_string()));
        }
        let firewall = (news.creatorid, news.sender, news.dialect);
        if told.firewalls.len() < MOST && told.firewalls.insert(firewall) {
            let (creatorid, address, dialect) = firewall;
            options.push(Options::firewall(creatorid, address, dialect, kind));
        }
        let messages = send(now, settings, domain, &options, to);
        told.options.extend(options);
        messages
    }

    /// Tells all of a domain again; messages made.
    pub(super) fn tell(&self, now: Now, settings: &Settings, domain: u32, to: &mut To<'_>) -> u64 {
        let told = self.domains.get(&domain);
        told.map_or(0, |told| send(now, settings, domain, &told.options, to))
    }
}

/// Sends options, those of one template together as far as a message goes; messages made.
fn send(now: Now, settings: &Settings, domain: u32, options: &[Options], to: &mut To<'_>) -> u64 {
    let room = settings.room_of_message();
    let sets = sets_of(options, room);
    let messages = sets.len() as u64;
    for (set, count) in sets {
        let mut message = vec![0; ipfix::HEADER_LEN];
        message.extend(set);
        to.push(Stamp::Options { domain, count }, now, 0, &message);
    }
    messages
}
