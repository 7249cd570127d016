//! The two processes of a live capture: the parent, which keeps its rights and opens what the
//! configuration names, and the child, which does everything else and asks it.
//!
//! ```text
//! child  --config--------> parent    reads the configuration's files, answers with its lines
//!        --tap FILE------>           if the configuration names it: opens it, passes the descriptor
//!        --bind ADDRESS--->          if anybody may bind its port, or it is a flowsrc of the
//!                                    configuration: a UDP socket. RDOMAIN behind it, and
//!                                    behind the next two, is one of the configuration
//!        --connect tcp TO FROM>      if the configuration exports to TO by tcp, tls ...: a socket
//!                                    that is being connected, or why it cannot be
//!        --reach tcp TO--->          whether it does
//!        --pem FILE------->          if the configuration has it as ca, cert or key: what is in it
//!        --addresses------>          this host's addresses
//!        --trouble NAME--->          if the configuration captures there: what is wrong with it
//!        --raw4, raw6 IF->           if the configuration solicits there: the same, with the
//!                                    number of the interface for raw6
//!        --capture NAME--->          if the configuration names it: a process that reads it, and
//!                                    what that writes to
//!        --keep read, new->          opens the keep file, or the one beside it: the same
//!        --keep install--->          puts the new one in the place of the old one
//!        --files open N P->          if pflowN's file is P: its directory, by a number
//!        --files new, left->         makes the file of a time there, or looks for one that was
//!                                    left: passes the descriptor
//!        --files done, close->       gives that file its name, or closes the directory
//!        --spool N .. ---->          if the configuration has pflowN spool: a file of it by number,
//!                                    made, opened, renamed or removed
//!        --log------------>          a socket to syslogd
//!        --ready---------->          no answer: lets the shell go
//! child <-signals--------- parent
//! ```
//! The parent believes nothing that the child says: what may be opened it takes from the files it
//! read itself. It sees no packet and no client. When the child ends, it removes the files of the
//! control sockets and of the process number, and ends as the child did. If the parent ends, the
//! child sees the end of its lifeline and stops.

mod allowed;
mod answers;
mod asking;
mod captures;
mod files;
mod guardian;
mod spool;
mod watch;

use std::time::Duration;

use answers::Opened;
pub(super) use asking::Parent;
pub(super) use captures::Captures;
pub(super) use files::Directories;
pub(super) use guardian::{Guardian, Limits};
pub(super) use spool::SpoolFiles;

// The words of requests.
const CONFIG: &str = "config";
const LOG: &str = "log";
const READY: &str = "ready";
const TAP: &str = "tap";
const BIND: &str = "bind";
const CONNECT: &str = "connect";
const REACH: &str = "reach";
const PEM: &str = "pem";
const ADDRESSES: &str = "addresses";
const INTERFACES: &str = "interfaces";
const TROUBLE: &str = "trouble";
const RAW4: &str = "raw4";
const RAW6: &str = "raw6";
const CAPTURE: &str = "capture";
const KEEP: &str = "keep";
// What `keep` asks for.
const READ: &str = "read";
const NEW: &str = "new";
const INSTALL: &str = "install";
const DISCARD: &str = "discard";
/// How long the child waits for an answer that a disk has to give.
const DISK_TIMEOUT: Duration = Duration::from_secs(20);
/// First octet of an answer, before what was asked for.
const DONE: u8 = b'+';
/// The same of an answer that says what is wrong.
const REFUSED: u8 = b'-';

#[cfg(test)]
mod tests;
