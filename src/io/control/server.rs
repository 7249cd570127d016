//! The thread that serves clients. Nothing in it blocks but poll(2).

use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TryRecvError};

use super::asks::{Answer, Ask, ClientId, MAX_CLIENTS, MAX_LINE, Then};
use super::client::{After, Client, Stage};
use crate::control::Access;
use crate::counters::ControlCounters;
use crate::io::clock::Clock;
use crate::io::log::LoggedTrouble;
use crate::io::sys::{self, Polled};
use crate::time::Uptime;

/// Longest time for a line once begun, and for a client to take anything of an answer.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(30);
/// How often bounds of time are looked at.
const TURN: Duration = Duration::from_secs(5);
/// How often it is looked whether an answer has come that nobody could be woken for.
const LOOK: Duration = Duration::from_millis(200);
/// How long nobody is let in after the system had no descriptor for a client.
const REST: Duration = Duration::from_secs(1);

/// The thread's side.
pub(super) struct Server {
    listeners: Vec<(UnixListener, Access)>,
    clients: Vec<Client>,
    next: u64,
    woken: UnixStream,
    asks: Sender<Ask>,
    answers: Receiver<Answer>,
    counters: Arc<Mutex<ControlCounters>>,
    clock: Clock,
    /// Nobody is let in before this.
    rests_until: Uptime,
    waits: LoggedTrouble,
    accepts: LoggedTrouble,
}

impl Server {
    pub(super) fn new(
        listeners: Vec<(UnixListener, Access)>,
        woken: UnixStream,
        asks: Sender<Ask>,
        answers: Receiver<Answer>,
        counters: Arc<Mutex<ControlCounters>>,
    ) -> Self {
        Self {
            listeners,
            clients: Vec::new(),
            next: 0,
            woken,
            asks,
            answers,
            counters,
            clock: Clock::new(None),
            rests_until: Uptime::default(),
            waits: LoggedTrouble::new("control sockets: poll"),
            accepts: LoggedTrouble::new("control sockets: accept"),
        }
    }

    /// Serves until the export loop has gone.
    pub(super) fn run(&mut self) {
        loop {
            let is_resting = self.clock.now().uptime < self.rests_until;
            let mut polled = self.polled(is_resting);
            let mut clients = self.clients.iter();
            let is_asked = clients.any(|client| matches!(client.stage, Stage::Asked));
            let turn = match is_asked {
                true => LOOK,
                false if is_resting => REST,
                false => TURN,
            };
            let is_known = self.wait(&mut polled, turn);
            let now = self.clock.now().uptime;
            let (own, theirs) = polled.split_at(1 + self.listeners.len());
            let mut clients = std::mem::take(&mut self.clients);
            for (client, polled) in clients.iter_mut().zip(theirs) {
                client.is_gone |= polled.is_dead() && !polled.is_readable();
                if polled.is_readable() || (!is_known && client.may_speak()) {
                    client.read(now);
                }
                if polled.is_writable() || (!is_known && client.is_written_to()) {
                    self.write(client, now);
                }
            }
            self.clients = clients;
            let is_woken = !is_known || own.first().is_some_and(Polled::is_readable);
            if (is_woken || is_asked) && !self.hear_loop(now) {
                return;
            }
            self.look_at_lines(now);
            self.close(now);
            for (at, polled) in own.iter().skip(1).enumerate() {
                if polled.is_readable() || (!is_known && !is_resting) {
                    self.accept(at, now);
                }
            }
        }
    }

    /// Waits for any of them; false if nothing is known of them. Nothing here blocks, so all can be
    /// looked at then.
    fn wait(&mut self, polled: &mut [Polled], turn: Duration) -> bool {
        let outcome = sys::poll(polled, turn);
        let now = self.clock.now().uptime;
        let line = match &outcome {
            Ok(_) => self.waits.end(now),
            Err(error) => self.waits.begin(now, error),
        };
        self.tell(line);
        if outcome.is_err() {
            sys::pause();
        }
        outcome.is_ok()
    }

    /// Has the export loop log a line. If it has no room for it, it has more to do.
    fn tell(&self, line: Option<String>) {
        if let Some(line) = line {
            let _ = self.asks.try_send(Ask::Log(line));
        }
    }

    /// The waker, the listeners, the clients.
    fn polled(&self, is_resting: bool) -> Vec<Polled> {
        let mut polled = vec![Polled::new(&self.woken, true, false)];
        let listeners = self.listeners.iter();
        polled.extend(listeners.map(|(listener, _)| Polled::new(listener, !is_resting, false)));
        polled.extend(
            self.clients.iter().map(|client| {
                Polled::new(&client.stream, client.may_speak(), client.is_written_to())
            }),
        );
        polled
    }

    /// Takes the export loop's answers; false if it has gone.
    fn hear_loop(&mut self, now: Uptime) -> bool {
        let mut octets = [0; 256];
        while self
            .woken
            .read(&mut octets)
            .is_ok_and(|read| read == octets.len())
        {}
        loop {
            match self.answers.try_recv() {
                Ok(answer) => self.deliver(answer, now),
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    fn count(&self, count: impl FnOnce(&mut ControlCounters)) {
        count(&mut self.counters.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn deliver(&mut self, answer: Answer, now: Uptime) {
        let mut clients = std::mem::take(&mut self.clients);
        if let Some(client) = clients.iter_mut().find(|client| client.id == answer.client) {
            for line in answer.lines.split_inclusive(|octet| *octet == b'\n') {
                client.output.push(b' ');
                client.output.extend_from_slice(line);
            }
            let after = match answer.then {
                Then::More(listing) => After::Ask(listing),
                Then::Stream(unit) => {
                    client.output.extend_from_slice(b"ok\n");
                    After::Stream(unit)
                }
                Then::Done(Ok(())) => {
                    self.count(|counters| counters.requests += 1);
                    client.output.extend_from_slice(b"ok\n");
                    After::Listen
                }
                Then::Done(Err(problem)) => {
                    self.count(|counters| counters.refused += 1);
                    client.refuse(&problem);
                    After::Listen
                }
            };
            client.start_writing(after, now);
            self.write(client, now);
        }
        self.clients = clients;
    }

    /// Writes what a client takes, and goes on if that is all.
    fn write(&self, client: &mut Client, now: Uptime) {
        while let Some(rest) = client
            .output
            .get(client.written..)
            .filter(|rest| !rest.is_empty())
        {
            match client.stream.write(rest) {
                Ok(0) => client.is_gone = true,
                Ok(written) => {
                    client.written += written;
                    client.since = now;
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => client.is_gone = true,
            }
            return;
        }
        client.output.clear();
        client.written = 0;
        let Stage::Writing(after) = std::mem::replace(&mut client.stage, Stage::Listening) else {
            return;
        };
        match after {
            After::Listen => {}
            After::Close => client.is_gone = true,
            After::Ask(listing) => {
                client.stage = Stage::Asked;
                let client_id = client.id;
                let ask = Ask::More {
                    client: client_id,
                    listing,
                };
                client.is_gone |= self.asks.try_send(ask).is_err();
            }
            After::Stream(unit) => {
                client.is_gone = true;
                let stream = client.stream.try_clone().and_then(|stream| {
                    stream.set_nonblocking(false)?;
                    Ok(stream)
                });
                // If the loop has no room for it, the connection ends.
                let _ = match stream {
                    Ok(stream) => self.asks.try_send(Ask::Stream { unit, stream }),
                    Err(error) => self.asks.try_send(Ask::Log(format!(
                        "tap of pflow{unit} for a client: {error}"
                    ))),
                };
            }
        }
    }

    /// Hands the next whole line of each client that may speak to the export loop.
    fn look_at_lines(&mut self, now: Uptime) {
        let mut clients = std::mem::take(&mut self.clients);
        for client in &mut clients {
            if !matches!(client.stage, Stage::Listening) || client.is_gone {
                continue;
            }
            match client.take_line() {
                Some(Ok(line)) => {
                    client.stage = Stage::Asked;
                    let ask = Ask::Line {
                        client: client.id,
                        line,
                        access: client.access,
                    };
                    client.is_gone |= self.asks.try_send(ask).is_err();
                }
                Some(Err(problem)) => {
                    self.count(|counters| counters.refused += 1);
                    client.refuse(problem);
                    client.start_writing(After::Listen, now);
                }
                None if client.input.len() >= MAX_LINE => {
                    self.count(|counters| counters.too_long += 1);
                    client.refuse(&format!("line longer than {MAX_LINE} octets"));
                    client.start_writing(After::Close, now);
                }
                // Half a line is never done: what it was to become is not known.
                None => client.is_gone |= client.is_ended,
            }
        }
        self.clients = clients;
    }

    /// Lets go of clients that have gone and of those that take too long.
    fn close(&mut self, now: Uptime) {
        let mut timed_out = 0;
        for client in &mut self.clients {
            let is_waited_for = match client.stage {
                Stage::Listening => !client.input.is_empty(),
                Stage::Writing(_) => true,
                Stage::Asked => false,
            };
            if is_waited_for && !client.is_gone && now.since(client.since) >= CLIENT_TIMEOUT {
                timed_out += 1;
                client.is_gone = true;
            }
        }
        self.count(|counters| counters.timed_out += timed_out);
        self.clients.retain(|client| !client.is_gone);
    }

    /// Lets clients in. If there are too many, the one that has been silent longest goes.
    fn accept(&mut self, listener: usize, now: Uptime) {
        let Some((listener, access)) = self.listeners.get(listener) else {
            return;
        };
        let access = *access;
        let stream = match listener.accept() {
            Ok((stream, _)) => {
                let line = self.accepts.end(now);
                self.tell(line);
                stream
            }
            Err(error) => {
                let is_passing = [
                    io::ErrorKind::WouldBlock,
                    io::ErrorKind::Interrupted,
                    io::ErrorKind::ConnectionAborted,
                ];
                if !is_passing.contains(&error.kind()) {
                    // It would be ready at once again.
                    self.rests_until = now.after(REST);
                    let line = self.accepts.begin(now, &error);
                    self.tell(line);
                }
                return;
            }
        };
        if let Err(error) = stream.set_nonblocking(true) {
            let line = self.accepts.begin(now, &error);
            return self.tell(line);
        }
        self.make_room(access);
        self.next += 1;
        let id = ClientId(self.next);
        self.clients.push(Client::new(id, stream, access, now));
        self.count(|counters| counters.accepted += 1);
    }

    /// Lets the client go that has been silent longest, if a socket has as many as it may.
    fn make_room(&mut self, access: Access) {
        let same = self.clients.iter().filter(|client| client.access == access);
        if same.count() < MAX_CLIENTS {
            return;
        }
        let candidates = self.clients.iter().enumerate();
        let longest = candidates
            .filter(|(_, client)| client.access == access)
            .min_by_key(|(_, client)| (!matches!(client.stage, Stage::Listening), client.since));
        if let Some((place, _)) = longest {
            self.clients.remove(place);
            self.count(|counters| counters.made_room += 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::bounded;

    use super::*;

    #[test]
    fn only_those_are_cut_off_who_are_waited_for() {
        let (_waker, woken) = UnixStream::pair().unwrap();
        let (asks, _to_loop) = bounded(1);
        let (_from_loop, answers) = bounded(1);
        let mut ends = Vec::new();
        let mut client = |id, input: &[u8], stage| {
            let (stream, end) = UnixStream::pair().unwrap();
            ends.push(end);
            let mut client = Client::new(ClientId(id), stream, Access::Full, Uptime::default());
            client.input = input.to_vec();
            client.stage = stage;
            client
        };
        let clients = vec![
            client(1, b"", Stage::Listening),
            client(2, b"sho", Stage::Listening),
            client(3, b"", Stage::Writing(After::Listen)),
            client(4, b"show", Stage::Asked),
        ];
        let mut server = Server::new(Vec::new(), woken, asks, answers, Arc::default());
        server.clients = clients;
        server.close(Uptime::default().after(CLIENT_TIMEOUT - Duration::from_nanos(1)));
        assert_eq!(server.clients.len(), 4);
        server.close(Uptime::default().after(CLIENT_TIMEOUT));
        let left: Vec<_> = server.clients.iter().map(|client| client.id.0).collect();
        assert_eq!(
            left,
            [1, 4],
            "the silent one, and the one that waits itself"
        );
        assert_eq!(server.counters.lock().unwrap().timed_out, 2);
    }
}
