//! Floor 5: what `-o` prints. Flows or messages become text for people, or JSON and CSV for
//! programs, in a buffer.
//!
//! ```text
//! flow ----> Printer::flow ----> text, JSON, CSV      a record at a time
//!                          \---> top, html            sums, and all at the end
//! message -> Printer::message -> text, JSON
//! ```
//! The caller writes the buffer to standard output. It also finds out what standard output is
//! ([`Page`]).

pub mod flows;
pub mod json;
pub mod messages;
pub mod page;
pub mod quality;
pub mod report;
pub mod tally;
pub mod text;
pub mod top;
pub(crate) mod words;

use std::net::IpAddr;

use crate::flow::{Flow, Passage};
use crate::table::Held;
use crate::time::Wall;
use crate::wire::pfsync::{Dialect, Message};
use messages::{Context, Detail};
use page::Page;
use report::Report;
use top::{Top, TopTable};

/// What -o can ask for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Form {
    /// Nothing.
    None,
    /// Lines for people.
    Text,
    /// One JSON object a record.
    Json,
    /// One line of CSV a record.
    Csv,
    /// Who carried most, at the end.
    Top(Top),
    /// All of it as a page for a browser, at the end.
    Html,
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
        ("top", Self::Top(Top::DEFAULT)),
        ("html", Self::Html),
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

/// What is printed at the end.
#[derive(Debug)]
enum Collected {
    Nothing,
    Table(Box<TopTable>),
    Report(Box<Report>),
}

/// Prints flows and messages into a buffer.
#[derive(Debug)]
pub struct Printer {
    output: Output,
    /// Whether flows are printed: each flow asks.
    is_of_flows: bool,
    page: Page,
    buffer: Vec<u8>,
    /// Whether the dialect of the messages that come is one of several.
    is_any_v5: bool,
    /// Whether the columns were named.
    is_headed: bool,
    collected: Collected,
}

impl Printer {
    /// A printer of `output`, on a page without a terminal.
    pub fn new(output: Output) -> Self {
        Self {
            output,
            is_of_flows: matches!(
                output.form,
                Form::Text | Form::Json | Form::Csv | Form::Top(_) | Form::Html
            ),
            page: Page::default(),
            buffer: Vec::new(),
            is_any_v5: false,
            is_headed: false,
            collected: match output.form {
                Form::Top(top) => Collected::Table(Box::new(TopTable::new(top))),
                Form::Html => Collected::Report(Box::new(Report::new())),
                _ => Collected::Nothing,
            },
        }
    }

    /// Changes what is printed on.
    pub fn set_page(&mut self, page: Page) {
        self.page = page;
    }

    /// Nothing was printed yet, and `stamp` is the time of what will be.
    pub fn begin(&mut self, stamp: Wall) {
        if let Collected::Report(report) = &mut self.collected {
            report.begin(stamp);
        }
    }

    /// Notes that a packet begins, and whether its version 5 could be any system's.
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
        if self.prints_flows() {
            self.print_flow(flow, passage);
        }
    }

    #[inline(never)]
    fn print_flow(&mut self, flow: &Flow, passage: &Passage) {
        match &mut self.collected {
            Collected::Nothing => {}
            Collected::Table(table) => return table.add(flow),
            Collected::Report(report) => return report.add(flow, passage),
        }
        let is_headed = std::mem::replace(&mut self.is_headed, true);
        let Self { buffer, page, .. } = self;
        match self.output.form {
            Form::Text => {
                if !is_headed {
                    text::header(buffer, page, flow.times.start_ms());
                }
                text::text(buffer, page, flow, passage);
            }
            Form::Json => flows::json(buffer, flow, passage),
            Form::Csv => {
                if !is_headed {
                    flows::csv_header(buffer);
                }
                flows::csv(buffer, flow, passage);
            }
            Form::Top(_) | Form::Html | Form::None | Form::Messages | Form::MessagesJson => {}
        }
    }

    /// Prints the next piece of the output that comes at the end. Returns whether there is more.
    #[must_use]
    pub fn finish_some(&mut self) -> bool {
        match &mut self.collected {
            Collected::Nothing => {
                let is_headed = std::mem::replace(&mut self.is_headed, true);
                if self.output.form == Form::Csv && !is_headed {
                    flows::csv_header(&mut self.buffer);
                }
                false
            }
            Collected::Table(table) => {
                table.print(&mut self.buffer, &self.page);
                self.collected = Collected::Nothing;
                false
            }
            Collected::Report(report) => report.print_some(&mut self.buffer, &self.page),
        }
    }

    /// Whether flows are.
    #[inline(always)]
    pub fn prints_flows(&self) -> bool {
        self.is_of_flows
    }

    /// Whether anything is.
    pub fn is_printing(&self) -> bool {
        self.output.form != Form::None
    }

    /// Whether it shows what only full states tell.
    pub fn shows_details(&self) -> bool {
        match self.output.form {
            Form::Json | Form::Csv | Form::Html => true,
            Form::Top(top) => top.by.is_detail(),
            Form::None | Form::Text | Form::Messages | Form::MessagesJson => false,
        }
    }

    /// Whether messages are asked for.
    #[inline(always)]
    pub fn prints_messages(&self) -> bool {
        matches!(self.output.form, Form::Messages | Form::MessagesJson)
    }

    /// Prints a message, if messages are asked for. `held` is the state that it is about, if that is
    /// held, as it was before the message.
    #[inline(never)]
    pub fn message(
        &mut self,
        stamp: Wall,
        packet: u64,
        (sender, dialect): (Option<IpAddr>, Dialect),
        message: &Message<'_>,
        held: Option<&Held<'_>>,
    ) {
        let context = Context {
            stamp,
            packet,
            sender,
            dialect,
            is_any: self.is_any_v5,
            held,
        };
        let Self { buffer, output, .. } = self;
        match output.form {
            Form::Messages => messages::text(buffer, &context, message, output.detail),
            Form::MessagesJson => messages::json(buffer, &context, message, output.detail),
            Form::None | Form::Text | Form::Json | Form::Csv | Form::Top(_) | Form::Html => {}
        }
    }
}
