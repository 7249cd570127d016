//! Feeds with transports that do as they are told, on a clock that the test moves.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use super::feed::{Attempt, Feed, OpenedFor};
use super::turn::Turn;
use crate::export::{Carrier, Connections, Format, Outgoing, Settings, TemplateSet};
use crate::io::transport::{Transport, WhenFull, source_address};
use crate::time::{Now, Uptime, Wall};

/// A collector's system, as a transport sees it.
#[derive(Default)]
struct Peer {
    /// Whether it takes connections; `None`: it says nothing.
    answers: Option<bool>,
    /// Whether it ends each connection at once.
    hangs_up: bool,
    /// Messages that it takes still.
    room: usize,
    /// Octets not acknowledged.
    unacknowledged: usize,
    /// Whether nobody tells that.
    is_silent: bool,
    records: usize,
    sequences: Vec<u32>,
    tries: Vec<i64>,
}

type Shared = Rc<RefCell<Peer>>;

struct Line {
    peer: Shared,
    is_up: bool,
}

impl Transport for Line {
    fn establish(&mut self, _: Uptime) -> io::Result<bool> {
        let peer = self.peer.borrow();
        match (peer.answers, self.is_up) {
            (Some(true), true) if peer.hangs_up => Err(io::ErrorKind::UnexpectedEof.into()),
            (Some(true), _) => {
                self.is_up = true;
                Ok(true)
            }
            (Some(false), true) => Err(io::ErrorKind::ConnectionReset.into()),
            (Some(false), false) => Err(io::ErrorKind::ConnectionRefused.into()),
            (None, is_up) => Ok(is_up),
        }
    }

    fn send(&mut self, _: Uptime, messages: &[&[u8]]) -> io::Result<usize> {
        let mut peer = self.peer.borrow_mut();
        let count = messages.len().min(peer.room);
        peer.room -= count;
        for message in messages.iter().take(count) {
            let sequence = u32::from_be_bytes(message[8..12].try_into().unwrap());
            peer.sequences.push(sequence);
            peer.records += usize::from(message[17] != 2);
        }
        Ok(count)
    }

    fn unacknowledged(&self) -> Option<usize> {
        let peer = self.peer.borrow();
        (!peer.is_silent).then_some(peer.unacknowledged)
    }

    fn ends(&self) -> (SocketAddr, SocketAddr) {
        let any = source_address(None, false);
        (any, any)
    }
}

/// Octets of a message of the tests.
const SIZE: usize = 70;

/// A feed, its collectors, and what became of it.
struct World {
    feed: Feed,
    peers: Vec<Shared>,
    turn: Turn,
    seconds: f64,
    lost: u64,
}

impl World {
    fn new(collectors: usize, reconnect: u32, when_full: WhenFull) -> Self {
        Self::by(Carrier::Tcp, collectors, reconnect, when_full)
    }

    fn by(carrier: Carrier, collectors: usize, reconnect: u32, when_full: WhenFull) -> Self {
        let address = |n| SocketAddr::from(([192, 0, 2, n], 4739));
        let numbers = 1..=u8::try_from(collectors).unwrap();
        let mut all = numbers.map(address);
        let settings = Settings {
            flowdst: all.next(),
            backups: all.collect(),
            format: Format::Ipfix,
            carrier,
            reconnect,
            queue: 10 * u32::try_from(SIZE).unwrap(),
            ..Settings::default()
        };
        let peers: Vec<_> = (0..collectors).map(|_| Shared::default()).collect();
        peers[0].borrow_mut().tries.push(0);
        let first = Attempt::Begun(Box::new(Line {
            peer: Rc::clone(&peers[0]),
            is_up: false,
        }));
        Self {
            feed: Feed::new(
                &settings,
                OpenedFor::new(&settings, None),
                first,
                when_full,
                at(0.0).uptime,
            ),
            peers,
            turn: Turn::default(),
            seconds: 0.0,
            lost: 0,
        }
    }

    fn peer(&self, number: usize) -> std::cell::RefMut<'_, Peer> {
        self.peers[number].borrow_mut()
    }

    /// Lets so many seconds pass, with a turn each tenth of one.
    fn pass(&mut self, seconds: f64) {
        let until = self.seconds + seconds;
        while self.seconds < until {
            self.seconds += 0.1;
            self.step();
        }
    }

    fn step(&mut self) {
        let (now, peers) = (at(self.seconds), &self.peers);
        let second = now.uptime.secs();
        let mut open = |_: &OpenedFor, to: SocketAddr| {
            let SocketAddr::V4(to) = to else { panic!() };
            let peer = &peers[usize::from(to.ip().octets()[3]) - 1];
            peer.borrow_mut().tries.push(second);
            Attempt::Begun(Box::new(Line {
                peer: Rc::clone(peer),
                is_up: false,
            }))
        };
        self.feed.turn(now, &mut open, &mut self.turn);
    }

    /// Messages of one record.
    fn push(&mut self, count: usize) {
        for _ in 0..count {
            let mut octets = [0; SIZE];
            octets[16] = 1;
            let message = Outgoing {
                domain: 42,
                records: 1,
                options: 0,
                at: at(self.seconds),
                octets: &octets,
            };
            let now = at(self.seconds);
            let lost = self.feed.push(now, &message, TemplateSet::OpenBsd.into());
            self.lost += lost.records;
        }
    }

    fn lines(&self) -> Vec<&str> {
        self.turn.lines.iter().map(|(_, line)| &**line).collect()
    }
}

fn at(seconds: f64) -> Now {
    let wall = Wall::from_nanos((seconds * 1e9) as i64 + 1_700_000_000_000_000_000);
    Now::new(wall, Uptime::from_nanos((seconds * 1e9) as i64))
}

#[test]
fn backups_are_tried_in_turn_at_once_and_all_again_after_reconnect() {
    let mut world = World::new(3, 60, WhenFull::Drop);
    for number in 0..3 {
        world.peer(number).answers = Some(false);
    }
    world.pass(1.0);
    world.push(1);
    assert_eq!(world.turn.connections.failed, 3);
    world.pass(58.0);
    assert_eq!(world.turn.connections.failed, 3, "not before its time");
    world.peer(1).answers = Some(true);
    world.peer(1).room = 9;
    world.pass(2.0);
    assert_eq!(
        (world.turn.connections.failed, world.turn.connections.made),
        (4, 1)
    );
    assert_eq!((world.peer(1).records, world.peer(2).tries.len()), (1, 1));
    assert!(world.feed.is_up());
}

#[test]
fn a_collector_is_never_tried_more_often_than_it_may_be() {
    let mut world = World::new(2, 60, WhenFull::Drop);
    for number in 0..2 {
        let mut peer = world.peer(number);
        (peer.answers, peer.hangs_up) = (Some(true), true);
    }
    world.push(1);
    world.pass(601.0);
    for number in 0..2 {
        let tries = world.peer(number).tries.clone();
        assert!((10..=11).contains(&tries.len()), "{tries:?}");
        assert!(
            tries.windows(2).all(|pair| pair[1] - pair[0] >= 60),
            "{tries:?}"
        );
    }
}

#[test]
fn a_trouble_is_told_once_a_minute_and_its_end_once() {
    let mut world = World::new(1, 1, WhenFull::Drop);
    world.peer(0).answers = Some(false);
    world.pass(150.0);
    let lines = world.lines();
    let line = "192.0.2.1:4739: connection refused; tried again in 1 s";
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert_eq!(lines[0], line);
    assert!(lines[1].starts_with(line) && lines[1].ends_with("times more since the last line)"));
    world.peer(0).answers = Some(true);
    world.pass(30.0);
    let lines = world.lines();
    assert_eq!(lines.len(), 4, "{lines:?}");
    assert!(
        lines[3].starts_with("connected to 192.0.2.1:4739 after 15"),
        "{lines:?}"
    );
}

#[test]
fn a_connection_that_is_not_answered_ends_after_ten_seconds() {
    let mut world = World::new(1, 60, WhenFull::Drop);
    world.pass(9.5);
    assert_eq!(world.turn.connections.failed, 0);
    world.pass(1.5);
    assert_eq!(world.turn.connections.failed, 1);
    let line = "192.0.2.1:4739: no answer in 10 s; tried again in 60 s";
    assert_eq!(world.lines(), [line]);
}

#[test]
fn what_was_taken_and_not_acknowledged_is_in_doubt_and_the_rest_waits_again() {
    let mut world = World::new(1, 1, WhenFull::Drop);
    world.peer(0).answers = Some(true);
    world.peer(0).room = 5;
    world.peer(0).unacknowledged = SIZE + 1;
    world.push(8);
    world.pass(0.5);
    // The templates, and four messages with a record each.
    assert_eq!(
        (world.turn.taken.messages, world.turn.taken.records),
        (5, 4)
    );
    world.peer(0).answers = Some(false);
    world.pass(0.5);
    assert_eq!(world.turn.connections.in_doubt, 2);
    world.peer(0).answers = Some(true);
    world.peer(0).unacknowledged = 0;
    world.peer(0).room = 100;
    world.pass(2.0);
    assert_eq!((world.turn.taken.records, world.lost), (8, 0));
    // A new session begins with templates and sequence 0.
    assert_eq!(world.peer(0).sequences, [0, 0, 1, 2, 3, 0, 0, 1, 2, 3]);
}

#[test]
fn a_black_hole_is_left_after_a_minute_and_one_that_only_stands_still_for_less_is_not() {
    let mut world = World::new(1, 60, WhenFull::Drop);
    world.peer(0).answers = Some(true);
    world.peer(0).room = 3;
    world.peer(0).unacknowledged = 2 * SIZE;
    world.push(2);
    world.pass(51.0);
    world.peer(0).unacknowledged = SIZE;
    world.pass(58.0);
    assert!(world.feed.is_up());
    world.pass(3.0);
    assert!(!world.feed.is_up());
    assert_eq!(world.turn.connections.in_doubt, 1);
    let lines = world.lines();
    assert!(
        lines[1].contains(": nothing acknowledged for 60 s; "),
        "{lines:?}"
    );
}

#[test]
fn a_connection_on_which_nothing_waits_lasts() {
    let mut world = World::new(1, 60, WhenFull::Drop);
    world.peer(0).answers = Some(true);
    world.pass(600.0);
    assert!(world.feed.is_up());
    world.peer(0).hangs_up = true;
    world.pass(0.2);
    assert_eq!(world.turn.connections.lost, 1, "before the next record");
}

#[test]
fn while_nobody_takes_them_the_oldest_messages_go() {
    let mut world = World::new(1, 60, WhenFull::Drop);
    world.push(25);
    assert_eq!((world.lost, world.feed.stream.octets()), (15, 10 * SIZE));
}

#[test]
fn a_replay_gives_up_after_one_round_without_a_connection_and_two_after_one() {
    let mut world = World::new(2, 5, WhenFull::Wait);
    world.peer(0).answers = Some(false);
    world.peer(1).answers = Some(false);
    world.pass(1.0);
    assert!(world.feed.is_given_up());
    let mut world = World::new(2, 5, WhenFull::Wait);
    world.peer(0).answers = Some(true);
    world.peer(1).answers = Some(false);
    world.push(30);
    assert_eq!(world.lost, 0, "a replay waits instead");
    world.pass(1.0);
    assert!(world.feed.is_up());
    world.peer(0).answers = Some(false);
    world.pass(4.0);
    assert!(!world.feed.is_given_up());
    world.pass(6.0);
    assert!(world.feed.is_given_up());
    assert_eq!(world.turn.lost.records, 30);
    world.push(1);
    assert_eq!(world.lost, 1);
}

#[test]
fn a_session_over_datagrams_is_renewed_in_time_and_nothing_is_lost_by_it() {
    let mut world = World::by(Carrier::Dtls, 2, 60, WhenFull::Drop);
    for number in 0..2 {
        let mut peer = world.peer(number);
        (peer.answers, peer.room) = (Some(true), 1000);
    }
    world.push(2);
    world.pass(299.0);
    let tries = world.peer(0).tries.len();
    assert_eq!((tries, world.turn.connections.renewed), (1, 0));
    world.push(1);
    world.pass(2.0);
    world.push(1);
    world.pass(2.0);
    let tries = [0, 1].map(|number| world.peer(number).tries.len());
    assert_eq!(tries, [2, 0], "the same collector, at once");
    let Connections {
        made,
        lost,
        renewed,
        ..
    } = world.turn.connections;
    assert_eq!((made, lost, renewed), (2, 0, 1));
    assert_eq!((world.peer(0).records, world.lost), (4, 0));
    // The templates had been told again before the third; then a session begins.
    assert_eq!(world.peer(0).sequences, [0, 0, 1, 2, 2, 0, 0]);
    assert_eq!(world.lines().len(), 1, "a renewal is no news");
}

#[test]
fn over_datagrams_templates_are_told_again_and_over_a_connection_never() {
    for (carrier, told) in [(Carrier::Dtls, 4), (Carrier::Tcp, 1)] {
        let mut world = World::by(carrier, 1, 60, WhenFull::Drop);
        world.peer(0).answers = Some(true);
        world.peer(0).room = 1000;
        for _ in 0..10 {
            world.push(1);
            world.pass(10.0);
        }
        let messages = world.peer(0).sequences.len();
        assert_eq!(messages - world.peer(0).records, told, "{carrier:?}");
    }
}

/// A replay by DTLS spun for a second after each 65 536 messages.
#[test]
fn where_nobody_acknowledges_any_number_of_messages_goes_at_once() {
    const MANY: usize = 70_000;
    for is_silent in [true, false] {
        let mut world = World::by(Carrier::Dtls, 1, 60, WhenFull::Wait);
        {
            let mut peer = world.peer(0);
            (peer.answers, peer.room) = (Some(true), 2 * MANY);
            (peer.is_silent, peer.unacknowledged) = (is_silent, MANY * SIZE);
        }
        world.push(MANY);
        for _ in 0..10 {
            world.step();
        }
        let is_all = world.peer(0).records == MANY;
        assert_eq!(is_all, is_silent, "{}", world.peer(0).records);
    }
}
