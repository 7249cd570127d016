//! Floor 7: descriptors, clocks and threads: everything that is not pure.
//!
//! The seams where a test or another system can put something else are [`capture::Source`],
//! [`transport::Transport`] and [`pf::Ioctl`].

pub mod capture;
pub mod clock;
pub mod control;
pub mod daemon;
pub mod files;
pub mod flow_files;
pub mod ipfix_file;
pub mod keep;
pub mod link;
pub mod log;
pub mod output;
pub mod pacer;
pub mod pf;
pub mod privileges;
pub mod raw;
#[cfg(target_os = "linux")]
mod sandbox;
#[cfg(all(
    target_os = "linux",
    any(
        target_arch = "x86_64",
        target_arch = "aarch64",
        target_arch = "riscv64"
    )
))]
mod seccomp;
pub mod signals;
pub mod spool;
mod sys;
pub mod tap;
pub mod terminal;
pub mod tls;
pub mod transport;

pub use sys::{children_cpu, process_cpu, thread_cpu};
