//! The control sockets: a thread that takes lines from clients and gives them answers, so that the
//! export loop never waits for any of them.
//!
//! ```text
//! client --line--> thread --Ask--> export loop          one line of a client at a time,
//! client <-octets- thread <-Answer-                     one step of an answer at a time
//! ```
//! An answer is its lines, each behind a blank, and then `ok` or `error: ...` without one. The next
//! step of a long answer is asked for when the last is written, so a client that does not read
//! holds up nobody and nothing grows. Lines, clients and times have bounds.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded};
use nix::sys::stat::{Mode, SFlag, umask};
use socket2::{Domain, SockAddr, Socket, Type};

use super::clock::Clock;
use super::files::Entry;
use super::log::Trouble;
use super::sys::{self, Polled};
use crate::control::{Access, Listing};
use crate::counters::ControlCounters;
use crate::time::Uptime;

/// Most clients of one socket; a further one takes the place of the one silent the longest.
pub const MAX_CLIENTS: usize = 64;
/// Longest line, octets with its end.
pub const MAX_LINE: usize = 4096;
/// Longest time for a line once begun, and for a client to take anything of an answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often bounds of time are looked at.
const TURN: Duration = Duration::from_secs(5);
/// How often it is looked whether an answer has come that nobody could be woken for.
const LOOK: Duration = Duration::from_millis(200);
/// How long nobody is let in after the system had no descriptor for a client.
const REST: Duration = Duration::from_secs(1);
/// Connections waiting to be let in.
const BACKLOG: i32 = 16;

/// A client's number.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ClientId(u64);

/// What the export loop is asked.
#[derive(Debug)]
pub enum Ask {
    /// A client's line.
    Line {
        /// Whose.
        client: ClientId,
        /// Without its end.
        line: String,
        /// What may be asked.
        access: Access,
    },
    /// The next step of an answer.
    More {
        /// Whose.
        client: ClientId,
        /// Where it is.
        listing: Listing,
    },
    /// A client that is to get what an interface sends, and nothing else any more.
    Stream {
        /// N of pflowN.
        unit: u32,
        /// Its connection, which blocks.
        stream: UnixStream,
    },
    /// A line for the log.
    Log(String),
}

/// What a client gets.
#[derive(Debug)]
pub struct Answer {
    /// Whose.
    pub client: ClientId,
    /// Lines.
    pub lines: Vec<u8>,
    /// What follows them.
    pub then: Then,
}

/// What follows the lines of an answer.
#[derive(Debug)]
pub enum Then {
    /// Nothing: it worked, or why it did not.
    Done(Result<(), String>),
    /// More lines.
    More(Listing),
    /// What interface N sends.
    Stream(u32),
}

/// Control sockets that nobody serves yet: clients wait to be let in.
pub struct Listening {
    listeners: Vec<(UnixListener, Access)>,
    files: Vec<SocketFile>,
}

/// Why a control socket could not be opened.
#[derive(Debug)]
pub struct NotOpened {
    /// Which and why.
    pub problem: String,
    /// Whether another program listens there, perhaps one that is about to end.
    pub is_taken: bool,
}

impl Listening {
    /// Opens the sockets of `files`, each with what may be asked there.
    ///
    /// # Errors
    /// Which socket could not be opened and why; then none is.
    pub fn open(files: &[(&str, Access)]) -> Result<Self, NotOpened> {
        let mut listening = Self {
            listeners: Vec::new(),
            files: Vec::new(),
        };
        for (name, access) in files {
            let (listener, file) = listen(Path::new(name), *access).map_err(|error| NotOpened {
                problem: format!("{name}: {error}"),
                is_taken: error.kind() == io::ErrorKind::AddrInUse,
            })?;
            listening.files.push(file);
            listening.listeners.push((listener, *access));
        }
        Ok(listening)
    }

    /// Leaves the sockets to the other process and keeps their files, which it may not remove.
    pub fn into_files(self) -> Vec<SocketFile> {
        self.files
    }

    /// Leaves the files to the other process and keeps the sockets. After this nothing here looks
    /// at a file any more: a process that gave up its rights would be killed for it (pledge(2)).
    #[must_use]
    pub fn without_files(mut self) -> Self {
        for file in &mut self.files {
            file.remover = Remover::OtherProcess;
        }
        self
    }
}

/// The control sockets, for as long as it lives.
pub struct Control {
    asks: Receiver<Ask>,
    answers: Sender<Answer>,
    waker: UnixStream,
    counters: Arc<Mutex<ControlCounters>>,
    files: Vec<SocketFile>,
}

impl Control {
    /// Serves sockets, unless there are none.
    ///
    /// # Errors
    /// The system refuses the thread.
    pub fn start(listening: Listening) -> Result<Option<Self>, String> {
        let Listening { listeners, files } = listening;
        if listeners.is_empty() {
            return Ok(None);
        }
        let thread = |error: io::Error| format!("thread: {error}");
        let (waker, woken) = UnixStream::pair().map_err(thread)?;
        woken.set_nonblocking(true).map_err(thread)?;
        waker.set_nonblocking(true).map_err(thread)?;
        // A client has one line or one answer on its way, and its stream at most.
        let room = 2 * MAX_CLIENTS * files.len().max(1);
        let (to_loop, asks) = bounded(room);
        let (answers, from_loop) = bounded(room);
        let counters = Arc::new(Mutex::new(ControlCounters::default()));
        let mut server = Server {
            listeners,
            clients: Vec::new(),
            next: 0,
            woken,
            asks: to_loop,
            answers: from_loop,
            counters: Arc::clone(&counters),
            clock: Clock::new(None),
            rests_until: Uptime::default(),
            waits: Trouble::new("control sockets: poll"),
            accepts: Trouble::new("control sockets: accept"),
        };
        std::thread::Builder::new()
            .name("control".to_owned())
            .spawn(move || server.run())
            .map_err(thread)?;
        Ok(Some(Self {
            asks,
            answers,
            waker,
            counters,
            files,
        }))
    }

    /// What the export loop is asked.
    pub fn asks(&self) -> &Receiver<Ask> {
        &self.asks
    }

    /// Hands an answer over. If its client has gone it is lost.
    pub fn answer(&self, answer: Answer) {
        // There is room for one of each client; a thread that is gone has none.
        let _ = self.answers.try_send(answer);
        // A full pipe wakes, too, and where the system has no room for an octet the thread looks
        // by itself soon.
        while let Err(error) = (&self.waker).write(&[0])
            && error.kind() == io::ErrorKind::Interrupted
        {}
    }

    /// What was counted.
    pub fn counters(&self) -> ControlCounters {
        *self.counters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The sockets' names.
    pub fn names(&self) -> impl Iterator<Item = String> + '_ {
        self.files
            .iter()
            .map(|file| file.path.display().to_string())
    }
}

/// A socket's file, removed with it unless another has taken its place.
pub struct SocketFile {
    path: PathBuf,
    inode: u64,
    remover: Remover,
}

/// Who removes a socket's file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Remover {
    ThisProcess,
    OtherProcess,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.remover == Remover::OtherProcess {
            return;
        }
        if fs::symlink_metadata(&self.path).is_ok_and(|data| data.ino() == self.inode) {
            // The program ends: there is nobody to tell.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Who may connect: the owner, or everybody who can reach the file.
fn mode(access: Access) -> libc::mode_t {
    match access {
        Access::Full => 0o600,
        Access::ReadOnly => 0o666,
    }
}

/// Listens on `path`, whose place a dead program's socket may hold.
fn listen(path: &Path, access: Access) -> io::Result<(UnixListener, SocketFile)> {
    let entry = Entry::find(path)?;
    match entry.kind() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
        Ok(SFlag::S_IFSOCK) => {
            if is_listened_to(path)? {
                let problem = "another program listens there";
                return Err(io::Error::new(io::ErrorKind::AddrInUse, problem));
            }
        }
        Ok(_) => return Err(io::Error::other("exists and is not a socket")),
    }
    // Nobody can connect before it listens, which it does when its mode is right and under a name
    // of its own; rename(2) then takes the old one's place at once.
    let ending = format!(".{}.tmp", std::process::id());
    let own = entry.beside(&ending)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    let made = (|| {
        let mut name = path.as_os_str().to_owned();
        name.push(&ending);
        bind(&socket, Path::new(&name), access)?;
        // bind(2) takes no directory's descriptor: what it made must be found in this one.
        let stat = own.stat()?;
        if own.kind()? != SFlag::S_IFSOCK || stat.st_mode & 0o777 != mode(access) {
            return Err(io::Error::other("its mode is not what it was made with"));
        }
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        own.rename(&entry)?;
        Ok(stat.st_ino)
    })();
    match made {
        Ok(inode) => Ok((
            socket.into(),
            SocketFile {
                path: path.to_owned(),
                inode,
                remover: Remover::ThisProcess,
            },
        )),
        Err(error) => {
            // It may not have been made.
            let _ = own.remove();
            Err(error)
        }
    }
}

/// Binds `socket`, whose file has its mode from its first instant. The mask is the process's:
/// nothing else makes files meanwhile, because no thread has been started yet.
fn bind(socket: &Socket, path: &Path, access: Access) -> io::Result<()> {
    let address = SockAddr::unix(path)?;
    let before = umask(Mode::from_bits_truncate(0o777 & !mode(access)));
    let outcome = socket.bind(&address);
    umask(before);
    outcome
}

/// Whether a program listens on `path`, even one that lets nobody in.
fn is_listened_to(path: &Path) -> io::Result<bool> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    match socket.connect(&SockAddr::unix(path)?) {
        Ok(()) => Ok(true),
        Err(error) => Ok(error.kind() == io::ErrorKind::WouldBlock),
    }
}

/// What a client is at.
#[derive(Debug)]
enum Stage {
    /// It may say something.
    Listening,
    /// The export loop has its line.
    Asked,
    /// It is being written to; then comes this.
    Writing(After),
}

/// What comes when a client has taken what there is.
#[derive(Debug)]
enum After {
    Listen,
    Ask(Listing),
    Stream(u32),
    Close,
}

struct Client {
    id: ClientId,
    stream: UnixStream,
    access: Access,
    /// What it said and was not looked at.
    input: Vec<u8>,
    /// What it is to be told, and how much of that is written.
    output: Vec<u8>,
    written: usize,
    stage: Stage,
    /// When it last did what it was waited for.
    since: Uptime,
    /// Whether it will say nothing more.
    is_ended: bool,
    is_gone: bool,
}

/// The thread's side.
struct Server {
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
    waits: Trouble,
    accepts: Trouble,
}

impl Server {
    /// Serves until the export loop has gone.
    fn run(&mut self) {
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
            if is_waited_for && !client.is_gone && now.since(client.since) >= PATIENCE {
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
        let same = self.clients.iter().filter(|client| client.access == access);
        if same.count() >= MAX_CLIENTS {
            let candidates = self.clients.iter().enumerate();
            let longest = candidates
                .filter(|(_, client)| client.access == access)
                .min_by_key(|(_, client)| {
                    (!matches!(client.stage, Stage::Listening), client.since)
                });
            if let Some((place, _)) = longest {
                self.clients.remove(place);
                self.count(|counters| counters.made_room += 1);
            }
        }
        self.next += 1;
        self.clients.push(Client {
            id: ClientId(self.next),
            stream,
            access,
            input: Vec::new(),
            output: Vec::new(),
            written: 0,
            stage: Stage::Listening,
            since: now,
            is_ended: false,
            is_gone: false,
        });
        self.count(|counters| counters.accepted += 1);
    }
}

impl Client {
    fn start_writing(&mut self, after: After, now: Uptime) {
        self.since = now;
        self.stage = Stage::Writing(after);
    }

    fn may_speak(&self) -> bool {
        matches!(self.stage, Stage::Listening) && !self.is_ended
    }

    fn is_written_to(&self) -> bool {
        matches!(self.stage, Stage::Writing(_))
    }

    /// Takes what came, no more than a line may be long.
    fn read(&mut self, now: Uptime) {
        let mut octets = [0; MAX_LINE];
        let room = MAX_LINE.saturating_sub(self.input.len());
        let Some(octets) = octets.get_mut(..room).filter(|octets| !octets.is_empty()) else {
            return;
        };
        match self.stream.read(octets) {
            Ok(0) => self.is_ended = true,
            Ok(read) => {
                if self.input.is_empty() {
                    self.since = now;
                }
                self.input
                    .extend_from_slice(octets.get(..read).unwrap_or(&[]));
            }
            Err(error) => {
                let again = [io::ErrorKind::WouldBlock, io::ErrorKind::Interrupted];
                self.is_gone |= !again.contains(&error.kind());
            }
        }
    }

    /// The next line without its end, if it is whole.
    fn take_line(&mut self) -> Option<Result<String, &'static str>> {
        let end = self.input.iter().position(|octet| *octet == b'\n')?;
        let mut line: Vec<u8> = self.input.drain(..=end).collect();
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Some(String::from_utf8(line).map_err(|_| "not UTF-8"))
    }

    fn refuse(&mut self, problem: &str) {
        self.output.extend_from_slice(b"error: ");
        // An answer's end is one line.
        let octets = problem.bytes().map(|octet| match octet {
            octet if octet.is_ascii_control() => b' ',
            octet => octet,
        });
        self.output.extend(octets);
        self.output.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
    use std::sync::{Mutex, PoisonError};

    use super::*;

    /// umask(2) is of the whole process: tests that bind take turns.
    static MASK: Mutex<()> = Mutex::new(());

    #[test]
    fn a_socket_has_its_mode_when_it_is_bound_and_the_mask_stays() {
        let _turn = MASK.lock().unwrap_or_else(PoisonError::into_inner);
        let mask = umask(Mode::from_bits_truncate(0o022));
        for access in [Access::Full, Access::ReadOnly] {
            let name = format!("pflow-bound-{}-{access:?}", std::process::id());
            let path = std::env::temp_dir().join(name);
            let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
            bind(&socket, &path, access).unwrap();
            let data = fs::symlink_metadata(&path).unwrap();
            fs::remove_file(&path).unwrap();
            assert_eq!(data.permissions().mode() & 0o777, mode(access));
        }
        assert_eq!(umask(mask).bits(), 0o022);
    }

    #[test]
    fn a_link_at_a_sockets_place_is_neither_followed_nor_replaced() {
        let _turn = MASK.lock().unwrap_or_else(PoisonError::into_inner);
        let name = format!("pflow-listen-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        symlink("/nowhere", &path).unwrap();
        let refused = listen(&path, Access::Full).err().unwrap();
        assert_eq!(refused.to_string(), "exists and is not a socket");
        assert!(fs::symlink_metadata(&path).unwrap().is_symlink());
        fs::remove_file(&path).unwrap();
        let (listener, file) = listen(&path, Access::Full).unwrap();
        let refused = listen(&path, Access::Full).err().unwrap();
        assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
        drop(listener);
        // What a program left that was killed is replaced.
        let (_again, other) = listen(&path, Access::Full).unwrap();
        drop(file);
        assert!(fs::symlink_metadata(&path).unwrap().file_type().is_socket());
        drop(other);
        assert!(!path.exists());
    }

    #[test]
    fn only_those_are_cut_off_who_are_waited_for() {
        let (_waker, woken) = UnixStream::pair().unwrap();
        let (asks, _to_loop) = bounded(1);
        let (_from_loop, answers) = bounded(1);
        let mut ends = Vec::new();
        let mut client = |id, input: &[u8], stage| {
            let (stream, end) = UnixStream::pair().unwrap();
            ends.push(end);
            Client {
                id: ClientId(id),
                stream,
                access: Access::Full,
                input: input.to_vec(),
                output: Vec::new(),
                written: 0,
                stage,
                since: Uptime::default(),
                is_ended: false,
                is_gone: false,
            }
        };
        let clients = vec![
            client(1, b"", Stage::Listening),
            client(2, b"sho", Stage::Listening),
            client(3, b"", Stage::Writing(After::Listen)),
            client(4, b"show", Stage::Asked),
        ];
        let mut server = Server {
            listeners: Vec::new(),
            clients,
            next: 5,
            woken,
            asks,
            answers,
            counters: Arc::default(),
            clock: Clock::new(None),
            rests_until: Uptime::default(),
            waits: Trouble::new("control sockets: poll"),
            accepts: Trouble::new("control sockets: accept"),
        };
        server.close(Uptime::default().after(PATIENCE - Duration::from_nanos(1)));
        assert_eq!(server.clients.len(), 4);
        server.close(Uptime::default().after(PATIENCE));
        let left: Vec<_> = server.clients.iter().map(|client| client.id.0).collect();
        assert_eq!(
            left,
            [1, 4],
            "the silent one, and the one that waits itself"
        );
        assert_eq!(server.counters.lock().unwrap().timed_out, 2);
    }
}
