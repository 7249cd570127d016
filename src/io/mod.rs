//! Floor 7: descriptors, clocks and threads: everything that is not pure.
//!
//! The two seams where a test or another system can put something else are
//! [`capture::Source`] and [`transport::Transport`].

pub mod capture;
pub mod clock;
pub mod control;
pub mod log;
pub mod output;
pub mod raw;
pub mod signals;
mod sys;
pub mod tap;
pub mod transport;

pub use sys::{children_cpu, process_cpu, thread_cpu};
