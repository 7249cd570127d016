//! The bodies of the fuzz targets in fuzz/, each from octets to claims that must hold for any.
//!
//! ```text
//! packet     link | cut | sender's dialect | frame          link and pfsync layer, both printers
//! savefile   size of a piece | file                         in pieces or whole, the same frames
//! bpf        buffer                                         both alignments
//! engine     form | table | interfaces | [step | kind | len 2 | frame] ..   one turn each
//! keep       states | records of a keep file   refused, or restored and kept again the same
//! config     text                              a line, or +the+words+of+one, at a time; as printed
//! control    len 2 | frame | text                     a line a request, on both sockets; its answer
//! pf         struct | family of a key | octets            as a state, an answer, a request
//! spool      number | len 1 | note | files            what makes sense is sent, then what is new
//! ```
//! They stand here so that `cargo test` can run what the fuzzers found (tests/corpus.rs). They
//! panic where a claim fails; nothing else of the program uses them.

mod pf;
mod spool;

pub use pf::pf;
pub use spool::spool;

use std::io::ErrorKind;
use std::time::Duration;

use crate::config::{Config, Loader, Place, apply_line, apply_text, apply_words};
use crate::control::request::{self, Request};
use crate::control::{Access, AnswerForm, Listing, Progress, Question, View};
use crate::counters::ControlCounters;
use crate::engine::{Engine, Packet, Settings};
use crate::export::Order;
use crate::flow::Boot;
use crate::output::messages::Detail;
use crate::output::top::Top;
use crate::output::{Form, Output, Printer};
use crate::solicit::Requests;
use crate::state::Direction;
use crate::table::{KeepCursor, MAX_SENDERS};
use crate::time::{Now, Wall};
use crate::troubles::Troubles;
use crate::wire::bpf;
use crate::wire::keep as wire_keep;
use crate::wire::link::{self, LinkType};
use crate::wire::pfsync::{self, Dialect, Message};
use crate::wire::savefile::{self, Frame, MAX_RECORD, Savefile};

/// A fuzz target's body.
pub type Target = fn(&[u8]);

/// Every target by the name of its corpus directory.
pub const TARGETS: &[(&str, Target)] = &[
    ("packet", packet),
    ("savefile", savefile),
    ("bpf", bpf),
    ("engine", engine),
    ("keep", keep),
    ("config", config),
    ("control", control),
    ("pf", pf),
    ("spool", spool),
];

const LINKS: &[LinkType] = &[
    LinkType::EN10MB,
    LinkType::PFSYNC,
    LinkType::PFSYNC_18,
    LinkType::PFSYNC_121,
    LinkType::RAW,
    LinkType::RAW_12,
    LinkType::RAW_14,
    LinkType::IPV4,
    LinkType::IPV6,
    LinkType::NULL,
    LinkType::LOOP,
    LinkType::LINUX_SLL,
    LinkType::LINUX_SLL2,
    LinkType(117),
    LinkType::ENC_13,
    LinkType::ENC,
];

const FORMS: &[Form] = &[
    Form::Text,
    Form::Json,
    Form::Messages,
    Form::MessagesJson,
    Form::None,
    Form::Csv,
    Form::Top(Top::DEFAULT),
    Form::Html,
];

/// Nanoseconds in one.
const SECOND: i64 = 1_000_000_000;

/// When everything begins.
const START: Wall = Wall::new(1_700_000_000, 0);

fn choose<T: Copy>(values: &[T], number: u8) -> Option<T> {
    values.get(usize::from(number) % values.len()).copied()
}

/// One frame through the link and the pfsync layer, whatever its link type.
pub fn packet(data: &[u8]) {
    let Some(([link, cut, remembered], frame)) = data.split_first_chunk() else {
        return;
    };
    let Some(link) = choose(LINKS, *link) else {
        return;
    };
    let remembered = choose(Dialect::ALL, *remembered).filter(|_| *remembered != 0);
    let wire_len = frame.len() + usize::from(*cut);
    let Ok(datagram) = link::datagram(link, frame, wire_len) else {
        return;
    };
    assert!(datagram.payload.len() <= frame.len());
    let mut printers = [Form::Messages, Form::MessagesJson].map(|form| {
        Printer::new(Output {
            form,
            detail: Detail::VeryVerbose,
        })
    });
    let mut messages = 0;
    let outcome = pfsync::decode(
        datagram.payload,
        datagram.missing,
        remembered,
        &mut |dialect, message| {
            messages += 1;
            for printer in &mut printers {
                printer.message(START, messages, (datagram.source, dialect), &message, None);
                assert_eq!(lines(printer.buffer()), 1);
                printer.buffer().clear();
            }
        },
    );
    // The shortest message is a word.
    assert!(messages <= datagram.payload.len() as u64 / 4);
    assert!(outcome.dialect.is_some() || outcome.result.is_err());
}

/// How many lines there are, of printable ASCII all of them.
fn lines(text: &[u8]) -> usize {
    assert!(
        text.iter()
            .all(|octet| matches!(octet, b'\n' | b' '..=b'~'))
    );
    text.split_inclusive(|octet| *octet == b'\n')
        .inspect(|line| assert!(line.ends_with(b"\n")))
        .count()
}

/// A savefile, read whole and in pieces.
pub fn savefile(data: &[u8]) {
    let Some((piece, file)) = data.split_first() else {
        return;
    };
    let whole = read(file, file.len());
    let pieces = read(file, usize::from(*piece) + 1);
    assert_eq!(whole, pieces);
}

/// Reads `file` as a source does: what is left over stays in the buffer before the next piece.
/// Each frame comes with its place in the file.
fn read(file: &[u8], piece: usize) -> (Vec<(u64, Frame)>, Result<(), savefile::Error>) {
    let mut parser = Savefile::new();
    let (mut frames, mut start, mut end) = (Vec::new(), 0, 0);
    loop {
        let buffer = file.get(start..end).unwrap_or_default();
        let offset = parser.offset();
        assert_eq!(offset, start as u64);
        let outcome = parser.scan(buffer, &mut |frame| {
            assert!(frame.start + frame.captured <= buffer.len());
            frames.push((offset + frame.start as u64, Frame { start: 0, ..frame }));
        });
        match outcome {
            Ok(used) => {
                assert!(used <= buffer.len());
                start += used;
            }
            Err(error) => {
                assert_eq!(parser.finish(&[]), Err(error));
                return (frames, Err(error));
            }
        }
        let rest = file.get(start..end).unwrap_or_default();
        assert!((rest.len() + 1..=MAX_RECORD).contains(&parser.wanted(rest)));
        if end == file.len() {
            return (frames, parser.finish(rest));
        }
        end = (end + piece.max(1)).min(file.len());
    }
}

/// What a BSD kernel's bpf hands over.
pub fn bpf(data: &[u8]) {
    for alignment in [4, 8] {
        let mut end = 0;
        let outcome = bpf::walk(data, LinkType::EN10MB, alignment, &mut |frame| {
            assert!(frame.start > end);
            end = frame.start + frame.captured;
            assert!(end <= data.len());
        });
        assert!(outcome.is_ok() || !data.is_empty());
    }
}

/// Records are refused or make a table; what that keeps makes one that keeps the same.
pub fn keep(data: &[u8]) {
    let Some(([states, flags], body)) = data.split_first_chunk() else {
        return;
    };
    let file = wire_keep::file(flags & 1 != 0, START, body);
    let Ok((header, records)) = wire_keep::parse(&file) else {
        return;
    };
    let mut again = Vec::new();
    for record in records.clone() {
        record.encode(&mut again);
    }
    assert_eq!(again, body, "what decodes encodes to the same octets");
    let begin = |header: wire_keep::Header, records| {
        let run = Run::new(0, states & 0x1f | 0x80, *flags >> 1);
        run.map(|mut run| {
            run.engine.restore(run.now, header.is_clean, records);
            run
        })
    };
    let Some(mut first) = begin(header, records) else {
        return;
    };
    first.check();
    let kept = first.keep();
    let file = wire_keep::file(true, START, &kept);
    let parsed = wire_keep::parse(&file);
    let (header, records) = parsed.unwrap_or_else(|error| panic!("{error}"));
    let Some(mut second) = begin(header, records) else {
        return;
    };
    assert_eq!(second.engine.table().len(), first.engine.table().len());
    second.keep();
    for step in [1, 130, 255] {
        second.turn(step, 0, &[]);
    }
    second.finish();
}

/// A machine that hears frames while time goes on by as much as the input says.
pub fn engine(data: &[u8]) {
    let Some(([form, table, interfaces], mut rest)) = data.split_first_chunk() else {
        return;
    };
    let Some(mut run) = Run::new(*form, *table, *interfaces) else {
        return;
    };
    while let Some(([step, kind, len @ ..], frame)) = rest.split_first_chunk::<4>() {
        let len = usize::from(u16::from_be_bytes(*len)).min(frame.len());
        let (frame, behind) = frame.split_at(len);
        run.turn(*step, *kind, frame);
        rest = behind;
    }
    run.finish();
}

/// An engine, its clock, and what must stay true of it.
struct Run {
    engine: Engine,
    now: Now,
    form: Form,
    states: usize,
    mtu: usize,
    packets: u64,
    /// By how many nanoseconds the stamps of the capture are off.
    clock: i64,
}

impl Run {
    fn new(form: u8, table: u8, interfaces: u8) -> Option<Self> {
        let detail = choose(&[Detail::Brief, Detail::VeryVerbose], form / 5)?;
        let form = choose(FORMS, form)?;
        let templates = choose(&["openbsd", "openbsd78", "freebsd"], interfaces)?;
        let mtu = choose(&[1500, 600, 2048], interfaces / 3)?;
        let hold = choose(&[30, 1], interfaces / 9)?;
        let solicit = choose(&["", "solicit on em1\nsolicit rate 10\n"], interfaces / 18)?;
        let text = format!(
            "pflow0 flowdst 192.0.2.1:2055 pflowproto 5 mtu {mtu} hold {hold}\n\
             pflow1 flowdst [2001:db8::1]:2055 pflowproto 10 mtu {mtu} template {templates}\n\
             ifindex em1 7\ntimeout udp.multiple 3600\n{solicit}"
        );
        let mut config = Config::default();
        assert_eq!(apply_text(&mut config, "fuzz", &text), Ok(()));
        config.is_flush_active = table & 0x80 != 0;
        let soliciting = config.soliciting();
        let states = table & 0x0f;
        let settings = Settings {
            states: u32::from(states) + 1,
            is_all: table & 0x10 == 0,
            direction: choose(&[None, Some(Direction::Out)], table >> 5)?,
            boot: choose(&[Boot::Known, Boot::Unknown], table >> 6)?,
            local_addresses: vec![[192, 0, 2, 1].into()],
            output: Output { form, detail },
        };
        let mut run = Self {
            engine: Engine::new(settings, config),
            now: Now::with_boot(START, Wall::new(START.secs() - 100_000, 0)),
            form,
            states: usize::from(states) + 1,
            mtu,
            packets: 0,
            clock: 0,
        };
        run.engine.start(run.now);
        run.engine.set_soliciting(run.now, soliciting);
        run.check();
        Some(run)
    }

    /// Time passes, then a frame comes. Its stamp may be off, alone or with all that follow.
    fn turn(&mut self, step: u8, kind: u8, frame: &[u8]) {
        let step = match u64::from(step) {
            short @ 0..128 => Duration::from_millis(short * 100),
            long => Duration::from_secs((long - 127).pow(2) * 10), // up to 45 hours
        };
        self.now = Now::new(self.now.wall.after(step), self.now.uptime.after(step));
        let now = self.now;
        self.engine.handle_timeout(now, now.uptime);
        let due = self.engine.poll_timeout();
        assert!(due.is_none_or(|due| due > now.uptime));
        self.check();
        let Some(link) = choose(LINKS, kind & 0x0f) else {
            return;
        };
        let off = 1_i64 << (4 * (kind >> 4)); // up to 36 years
        self.clock += match kind >> 4 {
            1 => 3 * SECOND,
            2 => -3 * SECOND,
            4 => 3600 * SECOND,
            5 => -3600 * SECOND,
            _ => 0,
        };
        let nanos = now.wall.nanos().saturating_add(self.clock);
        let stamp = Wall::from_nanos(match kind >> 4 {
            0..8 => nanos,
            8..12 => nanos - off,
            _ => nanos.saturating_add(off),
        });
        let packet = Packet {
            stamp,
            link,
            frame,
            wire_len: frame.len(),
        };
        self.engine.handle_packet(now, &packet);
        self.packets += 1;
        self.check();
    }

    fn keep(&mut self) -> Vec<u8> {
        let (mut cursor, mut body) = (KeepCursor::default(), Vec::new());
        while !self.engine.keep_step(self.now, &mut cursor, &mut body) {}
        self.check();
        body
    }

    fn finish(mut self) {
        self.engine.finish(self.now);
        self.check();
        while self.engine.finish_printing_some() {}
        self.check();
    }

    fn check(&mut self) {
        let engine = &mut self.engine;
        assert_eq!(engine.packet_counters().packets(), self.packets);
        let table = engine.table();
        assert!(table.len() <= self.states);
        assert!(table.senders().len() <= MAX_SENDERS + 1);
        let by_sender = table.senders().iter();
        let by_sender: u64 = by_sender.map(|sender| sender.packets.packets()).sum();
        assert!(by_sender <= self.packets);
        let counters = table.counters;
        let gone = counters.ended() + counters.dropped();
        assert_eq!(counters.came(), gone + table.len() as u64);
        let flows = engine.flow_counters();
        assert_eq!(counters.ended(), flows.exported + flows.left_out());
        let transmit = engine.transmit(Order::Packed);
        assert!(transmit.iter().all(|(_, data)| data.len() + 28 <= self.mtu));
        engine.recycle(transmit);
        let printed = engine.printed();
        match self.form {
            // CSV ends lines with both, and a page has tabs in its script.
            Form::Csv | Form::Html => {
                let is_text = |octet: &u8| matches!(octet, b'\t' | b'\r' | b'\n' | b' '..=b'~');
                assert!(printed.iter().all(is_text));
            }
            form => assert!(lines(printed) == 0 || form != Form::None),
        }
        printed.clear();
        engine.notices();
        if let Some(solicitor) = engine.solicitor() {
            check_requests(solicitor.requests());
        }
    }
}

/// Requests are whole packets of nothing else, as another firewall reads them.
fn check_requests(requests: &mut Requests) {
    for (_, packet) in requests.iter() {
        assert!(packet.len() + 20 <= 1500);
        let outcome = pfsync::decode(packet, 0, None, &mut |_, message| {
            assert!(matches!(message, Message::UpdateRequest(_)));
        });
        assert_eq!(outcome.result, Ok(()));
        assert!(outcome.dialect.is_some());
    }
    requests.clear();
}

/// A configuration: refused lines change nothing, and it reads back as it prints.
pub fn config(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut config = Config::default();
    for line in text.split('\n') {
        let before = config.clone();
        let outcome = match line.strip_prefix('+') {
            // As on the command line, where words may hold anything.
            Some(words) => {
                let words: Vec<_> = words.split('+').collect();
                apply_words(&mut config, &words, || Place::CommandLine)
            }
            None => apply_line(&mut config, line, || Place::Option(1)),
        };
        if outcome.is_err() {
            assert_eq!(config, before);
        }
    }
    check_reads_back(&config);
    // As a file, which includes itself a few times.
    let mut left = 3_u8;
    let mut read = |_: &str| {
        left = left.checked_sub(1).ok_or(ErrorKind::NotFound)?;
        Ok(text.clone().into_owned())
    };
    let mut config = Config::default();
    if Loader::new(&mut read)
        .apply(&mut config, "fuzz", &text)
        .is_ok()
    {
        check_reads_back(&config);
    }
}

fn check_reads_back(config: &Config) {
    let printed = config.to_string();
    let mut again = Config::default();
    let outcome = apply_text(&mut again, "printed", &printed);
    assert_eq!(outcome, Ok(()), "{printed}");
    assert_eq!(again, *config, "{printed}");
}

/// Requests to an engine that has heard one frame. What one socket answers the other does, too, and
/// a configuration that changes reads back.
pub fn control(data: &[u8]) {
    let Some((len, rest)) = data.split_first_chunk() else {
        return;
    };
    let len = usize::from(u16::from_be_bytes(*len)).min(rest.len());
    let (frame, text) = rest.split_at(len);
    // All states, at most 16; nothing is printed.
    let Some(mut run) = Run::new(4, 0x0f, 0) else {
        return;
    };
    run.turn(0, 0, frame);
    let Run {
        mut engine, now, ..
    } = run;
    for line in String::from_utf8_lossy(text).split('\n') {
        let full = request::parse(line, Access::Full);
        let readonly = request::parse(line, Access::ReadOnly);
        match &full {
            Ok(Some((_, Request::Ask(_))) | None) => assert_eq!(readonly, full),
            _ => assert!(readonly.is_err()),
        }
        match full {
            Ok(Some((form, Request::Ask(question)))) => answer(&engine, now, question, form),
            Ok(Some((_, Request::Configure(command)))) => {
                let mut config = engine.config().clone();
                if config.apply(&command).is_err() {
                    assert_eq!(config, *engine.config());
                    continue;
                }
                check_reads_back(&config);
                let changed = engine.changed_interfaces(&config, None);
                engine.flush_interfaces(now, &changed);
                engine.commit(now, config, &changed);
                engine.transmit(Order::Packed);
            }
            Ok(_) => {}
            Err(problem) => assert!(!problem.is_empty()),
        }
    }
}

/// Goes through a whole answer.
fn answer(engine: &Engine, now: Now, question: Question, form: AnswerForm) {
    // Configuration, help and metrics have one form each, whatever is asked for.
    let is_text = matches!(
        question,
        Question::Config | Question::Help | Question::Metrics(_)
    );
    let is_json = form == AnswerForm::Json && !is_text;
    let mut listing = Listing::new(question, form);
    // Senders come one a step.
    let most = 2 * MAX_SENDERS;
    for _ in 0..most {
        let mut out = Vec::new();
        let view = View {
            engine,
            sources: &[],
            waiting: 0,
            troubles: &Troubles::default(),
            control: &ControlCounters::default(),
            now: Some(now),
        };
        let progress = listing.step(&view, &mut out);
        assert!(out.is_empty() || out.ends_with(b"\n"));
        if is_json {
            // Names of files are the operator's and may be in any script.
            let text = str::from_utf8(&out).unwrap_or("\0");
            assert!(text.chars().all(|c| c == '\n' || !c.is_control()));
            assert!(
                out.split(|octet| *octet == b'\n')
                    .all(|line| line.is_empty() || line.starts_with(b"{"))
            );
        }
        match progress {
            Ok(Progress::More) => {}
            Ok(Progress::Done) => return,
            Err(problem) => {
                assert!(problem.ends_with("no such interface"));
                return;
            }
        }
    }
    panic!("an answer without an end");
}
