//! The two processes of a live capture. The parent keeps its rights and opens what the
//! configuration names. The child does everything else, and asks the parent.
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
//!        --pf------------->           if the configuration has counters pf: a process that holds
//!                                    /dev/pf, and what asks it
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
//! The parent believes nothing that the child says. The parent reads the configuration's files
//! itself, and they alone say what it may open. It sees no packet and no client.
//!
//! When the child ends, the parent removes the files of the control sockets and the pidfile, and
//! ends as the child did. If the parent ends, its end of the child's lifeline closes, and the child
//! stops.

mod allowed;
mod answers;
mod asking;
mod captures;
mod files;
mod guardian;
mod pf;
mod spool;
mod watch;

use std::time::Duration;

use answers::Opened;
pub(super) use asking::Parent;
pub(super) use captures::Captures;
pub(super) use files::Directories;
pub(super) use guardian::{Guardian, Limits};
pub(super) use pf::Holder;
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
const PF: &str = "pf";
const KEEP: &str = "keep";
// The words behind `keep`.
const READ: &str = "read";
const NEW: &str = "new";
const INSTALL: &str = "install";
const DISCARD: &str = "discard";
/// How long the child waits for an answer that depends on a disk.
const DISK_TIMEOUT: Duration = Duration::from_secs(20);
/// First octet of an answer that gives what was asked for.
const DONE: u8 = b'+';
/// First octet of an answer that says what is wrong.
const REFUSED: u8 = b'-';

#[cfg(test)]
mod tests;
