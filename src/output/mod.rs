//! Floor 5: what -o prints: flows or messages, as text or JSON, into a buffer.
//!
//! Writing the buffer to standard output is the shell's.

pub mod flows;
pub mod json;
pub mod messages;
pub(crate) mod words;

use std::net::IpAddr;

use crate::flow::Flow;
use crate::time::Wall;
use crate::wire::pfsync::{Dialect, Message};
use messages::{Context, Detail};

/// What -o can ask for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Form {
    /// Nothing.
    None,
    /// One aligned line a record.
    Text,
    /// One JSON object a record.
    Json,
    /// One line a pfsync message.
    Messages,
    /// One JSON object a pfsync message.
    MessagesJson,
}

impl Form {
    /// Every form with its name.
    pub const VALUES: &'static [(&'static str, Self)] = &[
        ("text", Self::Text),
        ("json", Self::Json),
        ("messages", Self::Messages),
        ("messages-json", Self::MessagesJson),
        ("none", Self::None),
    ];
}

/// What to print and how much of it.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    /// What.
    pub form: Form,
    /// How much of a message.
    pub detail: Detail,
}

/// Prints flows and messages into a buffer.
#[derive(Debug)]
pub struct Printer {
    output: Output,
    buffer: Vec<u8>,
    /// Whether the dialect of the messages that come is one of several.
    is_any_v5: bool,
}

impl Printer {
    /// A printer of `output`.
    pub fn new(output: Output) -> Self {
        Self {
            output,
            buffer: Vec::new(),
            is_any_v5: false,
        }
    }

    /// A packet begins: whether nothing tells whose version 5 its messages are in.
    pub fn begin_packet(&mut self, is_any_v5: bool) {
        self.is_any_v5 = is_any_v5;
    }

    /// What was printed; the caller clears it.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// Prints the records of a flow, if flows are asked for.
    #[inline(always)]
    pub fn flow(&mut self, flow: &Flow, ifindex: u16) {
        if matches!(self.output.form, Form::Text | Form::Json) {
            self.print_flow(flow, ifindex);
        }
    }

    #[inline(never)]
    fn print_flow(&mut self, flow: &Flow, ifindex: u16) {
        match self.output.form {
            Form::Text => flows::text(&mut self.buffer, flow),
            Form::Json => flows::json(&mut self.buffer, flow, ifindex),
            Form::None | Form::Messages | Form::MessagesJson => {}
        }
    }

    /// Whether messages are asked for.
    #[inline(always)]
    pub fn prints_messages(&self) -> bool {
        matches!(self.output.form, Form::Messages | Form::MessagesJson)
    }

    /// Prints a message, if messages are asked for.
    #[inline(never)]
    pub fn message(
        &mut self,
        stamp: Wall,
        packet: u64,
        sender: Option<IpAddr>,
        dialect: Dialect,
        message: &Message<'_>,
    ) {
        let context = || Context {
            stamp,
            packet,
            sender,
            dialect,
            is_any: self.is_any_v5,
        };
        match self.output.form {
            Form::Messages => {
                messages::text(&mut self.buffer, &context(), message, self.output.detail);
            }
            Form::MessagesJson => {
                messages::json(&mut self.buffer, &context(), message, self.output.detail);
            }
            Form::None | Form::Text | Form::Json => {}
        }
    }
}
