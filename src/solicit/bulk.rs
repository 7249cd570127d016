//! Asking for everything: once of each kind of firewall when it is first heard of, and again after
//! a gap in which states may have come and gone unheard.
//!
//! ```text
//!             first heard, or heard after a gap               BUS START
//!   (quiet) --------------------------------------> asked ----------------> (quiet)
//!                                                   |  ^ |
//!                                 5 s without START +--+ +-- a third time --> failed
//! ```
//! All firewalls of one dialect that hear one address answer together. So a request belongs to a
//! route and not to a sender. BUS START says that a transfer is on its way (if_pfsync.c,
//! `pfsync_bulk_start`). The states of a transfer are full updates like any others.

use std::time::Duration;

use super::Route;
use crate::counters::SolicitCounters;
use crate::time::Uptime;
use crate::wire::pfsync::BusStatus;

/// Most routes told apart.
const MAX_ROUTES: usize = 64;
/// How long to wait for a BUS START (the kernels wait 5 s or 2 s).
const START_WAIT: Duration = Duration::from_secs(5);
/// How often to ask in all.
const TRIES: u8 = 3;
/// A silence of a route's firewalls worth asking again.
const GAP: Duration = Duration::from_secs(60);
/// Shortest time from one request to the next for another reason. A transfer costs the firewalls a
/// packet for each few states. It also keeps alive states that their partners would let go.
const INTERVAL: Duration = Duration::from_secs(600);

/// How long a transfer that began is taken to go on at most: its END may be lost.
const TRANSFER: Duration = Duration::from_secs(60);

/// Firewalls that answer together.
#[derive(Clone, Copy, Debug)]
struct Track {
    route: Route,
    /// When one of them was heard last.
    heard: Uptime,
    /// When it was decided last to ask them.
    asked: Uptime,
    /// How often they were asked, and when to ask again or to give up; `None` once they answered
    /// or are given up.
    waiting: Option<(u8, Uptime)>,
    /// How many of their transfers began and did not end, and when the latest began.
    running: (u8, Uptime),
}

impl Track {
    /// Asks once more, if no request is under way or was not long ago.
    fn ask_again(&mut self, now: Uptime) {
        if self.waiting.is_none() && now.since(self.asked) >= INTERVAL {
            self.asked = now;
            self.waiting = Some((0, now));
        }
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Bulk {
    tracks: Vec<Track>,
}

impl Bulk {
    /// One of a route's firewalls was heard.
    pub(super) fn heard(&mut self, now: Uptime, route: Route, counters: &mut SolicitCounters) {
        let Some(track) = self.tracks.iter_mut().find(|track| track.route == route) else {
            if self.tracks.len() >= MAX_ROUTES {
                counters.bulk_refused += 1;
                return;
            }
            self.tracks.push(Track {
                route,
                heard: now,
                asked: now,
                waiting: Some((0, now)),
                running: (0, now),
            });
            return;
        };
        let is_gap = now.since(track.heard) > GAP;
        track.heard = now;
        if is_gap {
            track.ask_again(now);
        }
    }

    /// Packets were lost before they could be read.
    pub(super) fn lost(&mut self, now: Uptime) {
        for track in &mut self.tracks {
            track.ask_again(now);
        }
    }

    /// One of a route's firewalls says where its transfer is.
    pub(super) fn bus(
        &mut self,
        now: Uptime,
        route: Route,
        status: BusStatus,
        counters: &mut SolicitCounters,
    ) {
        let mut tracks = self.tracks.iter_mut();
        let track = tracks.find(|track| track.route == route);
        match status {
            BusStatus::Start => {
                counters.bulk_started += 1;
                if let Some(track) = track {
                    track.waiting = None;
                    track.running = (track.running.0.saturating_add(1), now);
                }
            }
            BusStatus::End => {
                counters.bulk_ended += 1;
                if let Some(track) = track {
                    track.running.0 = track.running.0.saturating_sub(1);
                }
            }
            BusStatus::Other(_) => {}
        }
    }

    /// Whether all that a route's firewalls know is on its way, or will be.
    pub(super) fn is_under_way(&self, now: Uptime, route: Route) -> bool {
        let track = self.tracks.iter().find(|track| track.route == route);
        track.is_some_and(|track| {
            let (running, since) = track.running;
            track.waiting.is_some() || (running > 0 && now.since(since) < TRANSFER)
        })
    }

    /// When [`Self::handle_timeout`] has something to do.
    pub(super) fn poll_timeout(&self) -> Option<Uptime> {
        let waiting = self.tracks.iter().filter_map(|track| track.waiting);
        waiting.map(|(_, due)| due).min()
    }

    /// Asks those that are to be asked, and repeats requests that no transfer followed.
    pub(super) fn handle_timeout(
        &mut self,
        now: Uptime,
        counters: &mut SolicitCounters,
        ask: &mut dyn FnMut(Route),
    ) {
        for track in &mut self.tracks {
            let Some((tries, _)) = track.waiting.filter(|(_, due)| *due <= now) else {
                continue;
            };
            if tries >= TRIES {
                track.waiting = None;
                counters.bulk_failed += 1;
                continue;
            }
            track.waiting = Some((tries + 1, now.after(START_WAIT)));
            match tries {
                0 => counters.bulk_requested += 1,
                _ => counters.bulk_repeated += 1,
            }
            ask(track.route);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Destination;
    use super::*;
    use crate::wire::pfsync::Dialect;

    const ROUTE: Route = Route {
        dialect: Dialect::OpenBsd47,
        to: Destination::Group4,
    };

    fn at(secs: i64) -> Uptime {
        Uptime::new(secs, 0)
    }

    /// How many requests go out at a time.
    fn asked(bulk: &mut Bulk, secs: i64, counters: &mut SolicitCounters) -> usize {
        let mut asked = 0;
        bulk.handle_timeout(at(secs), counters, &mut |_| asked += 1);
        asked
    }

    #[test]
    fn a_transfer_is_asked_for_once_and_three_times_if_none_begins() {
        let (mut bulk, mut counters) = (Bulk::default(), SolicitCounters::default());
        for secs in 0..60 {
            bulk.heard(at(secs), ROUTE, &mut counters);
            let expected = usize::from(matches!(secs, 0 | 5 | 10));
            assert_eq!(asked(&mut bulk, secs, &mut counters), expected, "{secs}");
        }
        let counters = SolicitCounters {
            bulk_requested: counters.bulk_requested - 1,
            bulk_repeated: counters.bulk_repeated - 2,
            bulk_failed: counters.bulk_failed - 1,
            ..counters
        };
        assert_eq!(counters, SolicitCounters::default());
    }

    #[test]
    fn a_transfer_that_began_is_not_asked_for_again() {
        let (mut bulk, mut counters) = (Bulk::default(), SolicitCounters::default());
        bulk.heard(at(0), ROUTE, &mut counters);
        assert_eq!(asked(&mut bulk, 0, &mut counters), 1);
        bulk.bus(at(0), ROUTE, BusStatus::Start, &mut counters);
        assert!(bulk.is_under_way(at(20), ROUTE));
        assert_eq!(bulk.poll_timeout(), None);
        assert_eq!(asked(&mut bulk, 30, &mut counters), 0);
        bulk.bus(at(30), ROUTE, BusStatus::End, &mut counters);
        assert!(!bulk.is_under_way(at(30), ROUTE));
        assert_eq!((counters.bulk_started, counters.bulk_ended), (1, 1));
    }

    #[test]
    fn a_transfer_is_under_way_from_the_request_on_and_a_lost_end_does_not_make_it_endless() {
        let (mut bulk, mut counters) = (Bulk::default(), SolicitCounters::default());
        bulk.heard(at(0), ROUTE, &mut counters);
        assert!(bulk.is_under_way(at(0), ROUTE));
        // two firewalls
        bulk.bus(at(1), ROUTE, BusStatus::Start, &mut counters);
        bulk.bus(at(1), ROUTE, BusStatus::Start, &mut counters);
        bulk.bus(at(2), ROUTE, BusStatus::End, &mut counters);
        assert!(bulk.is_under_way(at(60), ROUTE));
        assert!(!bulk.is_under_way(at(61), ROUTE));
    }

    #[test]
    fn a_gap_and_lost_packets_ask_again_but_not_twice_in_ten_minutes() {
        let (mut bulk, mut counters) = (Bulk::default(), SolicitCounters::default());
        let mut heard = |bulk: &mut Bulk, secs| {
            bulk.heard(at(secs), ROUTE, &mut counters);
            let asked = asked(bulk, secs, &mut counters);
            bulk.bus(at(secs), ROUTE, BusStatus::Start, &mut counters);
            asked
        };
        assert_eq!(heard(&mut bulk, 0), 1);
        assert_eq!(heard(&mut bulk, 100), 0); // a gap, but not long after
        assert_eq!(heard(&mut bulk, 650), 1);
        assert_eq!(heard(&mut bulk, 700), 0);
        bulk.lost(at(1000));
        assert_eq!(bulk.poll_timeout(), None);
        bulk.lost(at(1250));
        assert_eq!(bulk.poll_timeout(), Some(at(1250)));
    }

    #[test]
    fn routes_beyond_the_bound_are_counted() {
        let (mut bulk, mut counters) = (Bulk::default(), SolicitCounters::default());
        for n in 0..=u8::try_from(MAX_ROUTES).unwrap() {
            let to = Destination::Address([192, 0, 2, n].into());
            bulk.heard(at(0), Route { to, ..ROUTE }, &mut counters);
        }
        assert_eq!(counters.bulk_refused, 1);
        assert_eq!(asked(&mut bulk, 0, &mut counters), MAX_ROUTES);
    }
}
