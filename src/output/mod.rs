//! Floor 5: what -o prints: flows or messages, as text or JSON, into a buffer.
//!
//! Writing the buffer to standard output is the shell's.

pub mod flows;
pub mod json;
pub mod messages;
pub(crate) mod words;

use std::net::IpAddr;

use crate::flow::{Flow, Passage};
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
    /// One line of CSV a record.
    Csv,
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
        ("csv", Self::Csv),
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
    /// Whether the columns of CSV were named.
    is_headed: bool,
}

impl Printer {
    /// A printer of `output`.
    pub fn new(output: Output) -> Self {
        Self {
            output,
            buffer: Vec::new(),
            is_any_v5: false,
            is_headed: false,
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
    pub fn flow(&mut self, flow: &Flow, passage: &Passage) {
        if matches!(self.output.form, Form::Text | Form::Json | Form::Csv) {
            self.print_flow(flow, passage);
        }
    }

    #[inline(never)]
    fn print_flow(&mut self, flow: &Flow, passage: &Passage) {
        match self.output.form {
            Form::Text => flows::text(&mut self.buffer, flow, passage),
            Form::Json => flows::json(&mut self.buffer, flow, passage),
            Form::Csv => {
                if !std::mem::replace(&mut self.is_headed, true) {
                    flows::csv_header(&mut self.buffer);
                }
                flows::csv(&mut self.buffer, flow, passage);
            }
            Form::None | Form::Messages | Form::MessagesJson => {}
        }
    }

    /// Whether flows are.
    pub fn prints_flows(&self) -> bool {
        matches!(self.output.form, Form::Text | Form::Json)
    }

    /// Whether anything is.
    pub fn is_printing(&self) -> bool {
        self.output.form != Form::None
    }

    /// Whether it shows what only full states tell.
    pub fn shows_details(&self) -> bool {
        matches!(self.output.form, Form::Json | Form::Csv)
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
            Form::None | Form::Text | Form::Json | Form::Csv => {}
        }
    }
}
