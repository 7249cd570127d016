//! The keep file on the disk. It is read once at the start. A thread of its own writes it, so a
//! slow disk never stops the export.
//!
//! ```text
//! export loop --pieces--> thread: path.new, header last, fsync, rename to path, fsync directory
//! ```
//! At `path` there is always one whole file: the old one, until the new one is on the disk. If the
//! disk is full, only the new file is lost. A [`Place`] opens and renames the files. So a process
//! that may not do so can have another process do it.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::thread::JoinHandle;
use std::time::Duration;

use crc32fast::Hasher;
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use nix::fcntl::OFlag;

use super::files::Entry;
use super::sys;
use crate::time::Wall;
use crate::wire::keep::{HEADER_LEN, Header};

/// Pieces that may wait to be written.
const PIECES: usize = 16;
/// Octets of a piece, about.
pub const PIECE: usize = 1 << 16;
/// Largest file read, octets: thirty million states.
const MAX_FILE: u64 = 4 << 30;
/// How long the end of the program waits for the last file.
const LAST: Duration = Duration::from_secs(20);

/// What the thread is told.
enum Order {
    Begin,
    Piece(Vec<u8>),
    End { is_clean: bool, written: Wall },
}

/// How writing a file ended: its octets.
pub type Outcome = Result<u64, String>;

/// Where keep files are.
pub trait Place: Send {
    /// Its name.
    fn name(&self) -> String;

    /// Opens the file to be read and to get another header; `None` if there is none.
    ///
    /// # Errors
    /// Why it cannot be opened.
    fn read(&self) -> io::Result<Option<File>>;

    /// Makes the file beside, empty.
    ///
    /// # Errors
    /// Why not.
    fn create(&self) -> io::Result<File>;

    /// Puts the file beside, which is on the disk, where the old one is.
    ///
    /// # Errors
    /// Why not; then the old one stays.
    fn install(&self) -> io::Result<()>;

    /// Removes the file beside.
    ///
    /// # Errors
    /// Why not.
    fn discard(&self) -> io::Result<()>;
}

/// Files at a path, and beside it.
#[derive(Debug)]
pub struct Files {
    path: PathBuf,
    /// The file that was begun, and the one whose place it takes.
    begun: RefCell<Option<(Entry, Entry)>>,
}

impl Files {
    /// Those of `path`.
    pub fn new(path: &str) -> Self {
        Self {
            path: PathBuf::from(path),
            begun: RefCell::default(),
        }
    }
}

impl Place for Files {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn read(&self) -> io::Result<Option<File>> {
        let opened = Entry::find(&self.path).and_then(|entry| entry.open(OFlag::O_RDWR));
        match opened {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn create(&self) -> io::Result<File> {
        let whole = Entry::find(&self.path)?;
        let beside = whole.beside(".new")?;
        match beside.remove() {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = beside.open(OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL)?;
        self.begun.replace(Some((beside, whole)));
        Ok(file)
    }

    fn install(&self) -> io::Result<()> {
        let begun = self.begun.borrow();
        let (beside, whole) = begun.as_ref().ok_or(io::ErrorKind::NotFound)?;
        beside.rename(whole)?;
        whole.sync_directory()
    }

    fn discard(&self) -> io::Result<()> {
        let (beside, _) = self.begun.take().ok_or(io::ErrorKind::NotFound)?;
        beside.remove()
    }
}

/// Reads all of `file`.
///
/// # Errors
/// Why it cannot be read.
pub fn read(file: &mut File) -> io::Result<Vec<u8>> {
    let Some(len) = sys::regular_len(file)? else {
        return Err(io::Error::other("not a regular file"));
    };
    if len > MAX_FILE {
        return Err(io::Error::other("larger than any that pflow reads"));
    }
    let mut octets = Vec::with_capacity(usize::try_from(len).unwrap_or(0));
    file.read_to_end(&mut octets)?;
    Ok(octets)
}

/// Replaces the header of `file`. So the file says that it was read before the program goes on from
/// it.
///
/// # Errors
/// Why not.
pub fn put_header(file: &File, header: &Header) -> io::Result<()> {
    file.write_all_at(&header.encode(), 0)?;
    file.sync_all()
}

/// A keep file that is written.
pub struct KeepFile {
    name: String,
    orders: Option<Sender<Order>>,
    outcomes: Receiver<Outcome>,
    thread: Option<JoinHandle<()>>,
}

impl KeepFile {
    /// Checks that a file can be made at the place, and starts the thread.
    ///
    /// # Errors
    /// Why not.
    pub fn open(place: Box<dyn Place>) -> io::Result<Self> {
        drop(place.create()?);
        place.discard()?;
        let name = place.name();
        let (orders, to_do) = bounded(PIECES);
        let (outcome, outcomes) = bounded(PIECES);
        let thread = std::thread::Builder::new()
            .name("keep".to_owned())
            .spawn(move || write_files(&*place, &to_do, &outcome))?;
        Ok(Self {
            name,
            orders: Some(orders),
            outcomes,
            thread: Some(thread),
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Begins a file; false if that is not possible now.
    pub fn begin(&self) -> bool {
        self.give(Order::Begin).is_ok()
    }

    /// Has a piece written, or gives it back if there is no room for it now.
    ///
    /// # Errors
    /// The piece.
    pub fn piece(&self, piece: Vec<u8>) -> Result<(), Vec<u8>> {
        match self.give(Order::Piece(piece)) {
            Err(Some(Order::Piece(piece))) => Err(piece),
            _ => Ok(()),
        }
    }

    /// Ends the file; false if there is no room for that order now.
    pub fn end(&self, is_clean: bool, written: Wall) -> bool {
        self.give(Order::End { is_clean, written }).is_ok()
    }

    /// How a file ended, if one did since the last call.
    pub fn outcome(&self) -> Option<Outcome> {
        self.outcomes.try_recv().ok()
    }

    /// Waits a little for the end of a file.
    pub fn wait(&self) -> Outcome {
        let outcome = self.outcomes.recv_timeout(LAST);
        outcome.unwrap_or_else(|_| Err(format!("not written within {} s", LAST.as_secs())))
    }

    /// [`Self::begin`], waiting until it is possible.
    pub fn begin_now(&self) {
        self.give_now(Order::Begin);
    }

    /// [`Self::piece`], waiting for room.
    pub fn piece_now(&self, piece: Vec<u8>) {
        self.give_now(Order::Piece(piece));
    }

    /// [`Self::end`], waiting for room.
    pub fn end_now(&self, is_clean: bool, written: Wall) {
        self.give_now(Order::End { is_clean, written });
    }

    /// If the disk takes nothing for so long, the file is lost, and [`Self::wait`] tells it.
    fn give_now(&self, order: Order) {
        if let Some(orders) = &self.orders {
            let _ = orders.send_timeout(order, LAST);
        }
    }

    /// The order, if there is no room for it; nothing, if the thread is gone.
    fn give(&self, order: Order) -> Result<(), Option<Order>> {
        let orders = self.orders.as_ref().ok_or(None)?;
        orders.try_send(order).map_err(|error| match error {
            TrySendError::Full(order) => Some(order),
            TrySendError::Disconnected(_) => None,
        })
    }
}

impl Drop for KeepFile {
    /// The thread ends after its last order. Nobody waits for it, because the disk may hang.
    fn drop(&mut self) {
        self.orders = None;
        drop(self.thread.take());
    }
}

/// A file on its way.
struct Writing {
    file: File,
    crc: Hasher,
    length: u64,
}

impl Writing {
    fn begin(place: &dyn Place) -> io::Result<Self> {
        let mut file = place.create()?;
        file.write_all(&[0; HEADER_LEN])?;
        Ok(Self {
            file,
            crc: Hasher::new(),
            length: 0,
        })
    }

    fn piece(&mut self, piece: &[u8]) -> io::Result<()> {
        self.crc.update(piece);
        self.length += piece.len() as u64;
        self.file.write_all(piece)
    }

    fn end(mut self, place: &dyn Place, is_clean: bool, written: Wall) -> io::Result<u64> {
        let header = Header {
            is_clean,
            checksum: self.crc.finalize(),
            length: self.length,
            written,
        };
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(&header.encode())?;
        self.file.sync_all()?;
        place.install()?;
        Ok(self.length + HEADER_LEN as u64)
    }
}

fn write_files(place: &dyn Place, orders: &Receiver<Order>, outcomes: &Sender<Outcome>) {
    let mut writing: io::Result<Writing> = Err(io::Error::other("not begun"));
    for order in orders {
        match order {
            Order::Begin => writing = Writing::begin(place),
            Order::Piece(piece) => {
                if let Ok(file) = &mut writing
                    && let Err(error) = file.piece(&piece)
                {
                    writing = Err(error);
                }
            }
            Order::End { is_clean, written } => {
                let next = Err(io::Error::other("not begun"));
                let ended = std::mem::replace(&mut writing, next)
                    .and_then(|file| file.end(place, is_clean, written));
                if ended.is_err() {
                    // The unfinished file is removed, because it only takes room.
                    let _ = place.discard();
                }
                let outcome = ended.map_err(|error| error.to_string());
                if outcomes.send(outcome).is_err() {
                    return;
                }
            }
        }
    }
}
