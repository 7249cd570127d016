//! The keep file on the disk: read once at the start, written by a thread of its own, so that a
//! slow disk never stalls the export.
//!
//! ```text
//! export loop --pieces--> thread: path.new, header last, fsync, rename to path, fsync directory
//! ```
//! What is at `path` is always one whole file, the old one until the new one is on the disk. A
//! disk that is full costs the new one.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use crate::time::Wall;
use crate::wire::keep::{Crc, HEADER_LEN, Header};

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

/// A keep file that is written.
pub struct KeepFile {
    path: PathBuf,
    orders: Option<Sender<Order>>,
    outcomes: Receiver<Outcome>,
    thread: Option<JoinHandle<()>>,
}

/// Reads the file at `path`; `None` if there is none.
///
/// # Errors
/// Why it cannot be read.
pub fn read(path: &str) -> io::Result<Option<Vec<u8>>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    if metadata.len() > MAX_FILE {
        return Err(io::Error::other("larger than any that pflow reads"));
    }
    let mut octets = Vec::new();
    file.read_to_end(&mut octets)?;
    Ok(Some(octets))
}

/// Puts another header on the file at `path`: that it was read is in it before anything goes on
/// from there.
///
/// # Errors
/// Why not.
pub fn put_header(path: &str, header: &Header) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(path)?;
    file.write_all_at(&header.encode(), 0)?;
    file.sync_all()
}

impl KeepFile {
    /// Starts the thread, after it was seen that a file can be made where it is to be.
    ///
    /// # Errors
    /// Why not.
    pub fn open(path: &str) -> io::Result<Self> {
        let path = PathBuf::from(path);
        drop(create(&path)?);
        std::fs::remove_file(beside(&path))?;
        let (orders, to_do) = bounded(PIECES);
        let (outcome, outcomes) = bounded(PIECES);
        let file = path.clone();
        let thread = std::thread::Builder::new()
            .name("keep".to_owned())
            .spawn(move || write_files(&file, &to_do, &outcome))?;
        Ok(Self {
            path,
            orders: Some(orders),
            outcomes,
            thread: Some(thread),
        })
    }

    /// Its name.
    pub fn name(&self) -> String {
        self.path.display().to_string()
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

    /// A disk that takes nothing for so long costs the file: what is missing in it, [`Self::wait`]
    /// tells.
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
    /// The thread ends after what it was told; nobody waits for a disk that hangs.
    fn drop(&mut self) {
        self.orders = None;
        drop(self.thread.take());
    }
}

/// The name that a file has until it is whole.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

/// Makes the file beside; never follows a link that somebody put there.
fn create(path: &Path) -> io::Result<File> {
    let name = beside(path);
    match std::fs::remove_file(&name) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(name)
}

/// A file on its way.
struct Writing {
    file: File,
    crc: Crc,
    length: u64,
}

impl Writing {
    fn begin(path: &Path) -> io::Result<Self> {
        let mut file = create(path)?;
        file.write_all(&[0; HEADER_LEN])?;
        Ok(Self {
            file,
            crc: Crc::default(),
            length: 0,
        })
    }

    fn piece(&mut self, piece: &[u8]) -> io::Result<()> {
        self.crc.update(piece);
        self.length += piece.len() as u64;
        self.file.write_all(piece)
    }

    fn end(mut self, path: &Path, is_clean: bool, written: Wall) -> io::Result<u64> {
        let header = Header {
            is_clean,
            checksum: self.crc.value(),
            length: self.length,
            written,
        };
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(&header.encode())?;
        self.file.sync_all()?;
        std::fs::rename(beside(path), path)?;
        if let Some(directory) = path.parent().filter(|parent| *parent != Path::new("")) {
            File::open(directory)?.sync_all()?;
        }
        Ok(self.length + HEADER_LEN as u64)
    }
}

fn write_files(path: &Path, orders: &Receiver<Order>, outcomes: &Sender<Outcome>) {
    let mut writing: io::Result<Writing> = Err(io::Error::other("not begun"));
    for order in orders {
        match order {
            Order::Begin => writing = Writing::begin(path),
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
                    .and_then(|file| file.end(path, is_clean, written));
                if ended.is_err() {
                    // What is there of it is of no use, and takes room.
                    let _ = std::fs::remove_file(beside(path));
                }
                let outcome = ended.map_err(|error| error.to_string());
                if outcomes.send(outcome).is_err() {
                    return;
                }
            }
        }
    }
}
