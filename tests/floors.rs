//! The house rules that the compiler does not know: imports go down, one file reads the clocks,
//! one module has unsafe code.
//!
//! Source files are read as tokens, so that comments and strings do not count.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that is wrong may panic"
)]

use std::path::{Path, PathBuf};

/// The modules of the library, lowest floor first, with the floor's number. One may name those of
/// rows above its own, and itself.
const FLOORS: &[(usize, &[&str])] = &[
    (0, &["word", "time", "state", "slab", "icmp"]),
    (0, &["protocols"]),
    (1, &["wire"]),
    (2, &["accounting", "counters", "flow", "ifindexes"]),
    (2, &["filter"]),
    (3, &["table", "export"]),
    (4, &["solicit"]),
    (5, &["config", "output"]),
    (6, &["engine"]),
    (6, &["troubles"]),
    (7, &["control", "summary"]),
    (7, &["io", "fuzzing"]),
    (8, &["options"]),
    (8, &["ctl"]),
    (8, &["run"]),
    (8, &["bin"]),
];

/// The only module with unsafe code.
const UNSAFE: &str = "src/io/sys/";

/// The only file that reads a clock.
const CLOCK: &str = "src/io/clock.rs";

/// The row of a module, and the number of its floor.
fn floor(module: &str) -> Option<(usize, usize)> {
    let mut rows = FLOORS.iter().enumerate();
    let (row, (number, _)) = rows.find(|(_, (_, row))| row.contains(&module))?;
    Some((row, *number))
}

/// One source file as tokens.
struct Source {
    /// Relative to the repository.
    path: PathBuf,
    /// Where the file stands in the tree of modules.
    module: Vec<String>,
    tokens: Vec<Token>,
}

struct Token {
    line: usize,
    text: String,
}

impl Source {
    fn new(path: &Path, text: &str) -> Self {
        let mut module: Vec<String> = path
            .with_extension("")
            .components()
            .skip(1)
            .map(|part| part.as_os_str().to_string_lossy().into_owned())
            .collect();
        module.pop_if(|last| *last == "mod");
        if module == ["lib"] {
            module.clear();
        }
        Self {
            path: path.to_owned(),
            module,
            tokens: tokens(text),
        }
    }

    fn at(&self, line: usize) -> String {
        format!("{}:{line}", self.path.display())
    }

    /// The modules right below the root that the file names, and where.
    fn named(&self) -> Vec<(usize, String)> {
        let mut named = Vec::new();
        let mut path = self.module.clone();
        // For each open brace, whether it is a module's.
        let mut braces = Vec::new();
        let mut at = 0;
        while let Some(token) = self.tokens.get(at) {
            let next = |n: usize| self.tokens.get(at + n).map(|token| &*token.text);
            match &*token.text {
                "mod" if next(2) == Some("{") => {
                    path.extend(next(1).map(str::to_owned));
                    braces.push(true);
                    at += 2;
                }
                "{" => braces.push(false),
                "}" if braces.pop() == Some(true) => drop(path.pop()),
                "crate" | "super" | "self" | "pflow" if next(1) == Some("::") => {
                    at = self.tree(at, &path, &mut named);
                    continue;
                }
                _ => {}
            }
            at += 1;
        }
        named
    }

    /// Follows a path, or a tree of them, from the token `at` on, which is looked up in `inside`;
    /// returns the token behind it.
    fn tree(&self, mut at: usize, inside: &[String], named: &mut Vec<(usize, String)>) -> usize {
        let mut inside = inside.to_vec();
        while let Some(token) = self.tokens.get(at) {
            match &*token.text {
                "crate" | "pflow" => inside.clear(),
                "super" => drop(inside.pop()),
                "self" | "::" => {}
                "{" => {
                    at += 1;
                    while let Some(token) = self.tokens.get(at).filter(|token| token.text != "}") {
                        at = match &*token.text {
                            "," => at + 1,
                            _ => self.tree(at, &inside, named),
                        };
                    }
                    return at + 1;
                }
                name if inside.is_empty() => {
                    named.push((token.line, name.to_owned()));
                    inside.push(name.to_owned());
                }
                _ => {}
            }
            at += 1;
            let is_end = |token: &Token| {
                let text = &*token.text;
                text != "::" && self.tokens[at - 1].text != "::"
            };
            if self.tokens.get(at).is_none_or(is_end) {
                break;
            }
        }
        at
    }
}

/// Words, `::`, and all else character by character; no comments, no text of strings.
fn tokens(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let (mut at, mut line) = (0, 1);
    while at < chars.len() {
        let start = at;
        let rest = &chars[at..];
        let skipped = match rest {
            ['/', '/', ..] => rest.iter().take_while(|c| **c != '\n').count(),
            ['/', '*', ..] => block_comment(rest),
            ['"', ..] => string(rest),
            ['\'', '\\', ..] => 2 + rest[3..].iter().take_while(|c| **c != '\'').count() + 2,
            ['\'', _, '\'', ..] => 3,
            [c, ..] if c.is_alphanumeric() || *c == '_' => {
                let len = rest
                    .iter()
                    .take_while(|c| c.is_alphanumeric() || **c == '_')
                    .count();
                let word: String = rest[..len].iter().collect();
                let raw = matches!(&*word, "r" | "br" | "cr").then(|| raw_string(&rest[len..]));
                match raw.flatten() {
                    Some(raw) => len + raw,
                    None => {
                        tokens.push(Token { line, text: word });
                        len
                    }
                }
            }
            [':', ':', ..] => {
                tokens.push(Token {
                    line,
                    text: "::".to_owned(),
                });
                2
            }
            [c, ..] => {
                if !c.is_whitespace() {
                    tokens.push(Token {
                        line,
                        text: c.to_string(),
                    });
                }
                1
            }
            [] => 1,
        };
        at = (at + skipped).min(chars.len());
        line += chars[start..at].iter().filter(|c| **c == '\n').count();
    }
    tokens
}

fn block_comment(rest: &[char]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        match &rest[at..] {
            ['/', '*', ..] => depth += 1,
            ['*', '/', ..] => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            break;
        }
    }
    at
}

fn string(rest: &[char]) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != '"' {
        at += if rest[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

/// The length of `#"..."#` with any number of `#`, if that is what it is.
fn raw_string(rest: &[char]) -> Option<usize> {
    let marks = rest.iter().take_while(|c| **c == '#').count();
    if rest.get(marks) != Some(&'"') {
        return None;
    }
    let end: Vec<char> = std::iter::once('"')
        .chain(std::iter::repeat_n('#', marks))
        .collect();
    let body = &rest[marks + 1..];
    let len = body.windows(end.len()).position(|window| window == end)?;
    Some(marks + 1 + len + end.len())
}

/// Every file below src/.
fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = Vec::new();
    let mut directories = vec![PathBuf::from("src")];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(root.join(&directory)).unwrap() {
            let path = directory.join(entry.unwrap().file_name());
            if root.join(&path).is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(root.join(&path)).unwrap();
                sources.push(Source::new(&path, &text));
            }
        }
    }
    assert!(sources.len() > 20, "{} source files", sources.len());
    sources
}

/// What `source` names that is not below it.
fn upward(source: &Source) -> Vec<String> {
    let Some(own) = source.module.first() else {
        return Vec::new(); // the library's root names every module
    };
    let Some((own_row, own_floor)) = floor(own) else {
        return vec![format!("{}: {own} is on no floor", source.at(1))];
    };
    let named = source.named().into_iter();
    named
        .filter(|(_, other)| other != own && floor(other).is_none_or(|(row, _)| row >= own_row))
        .map(|(line, other)| match floor(&other) {
            Some((_, floor)) => format!(
                "{}: {own} (floor {own_floor}) names {other} (floor {floor})",
                source.at(line)
            ),
            None => format!("{}: {other} is on no floor", source.at(line)),
        })
        .collect()
}

/// The files in which `words` stand in a row, each with the first line of it.
fn places(words: &[&str]) -> Vec<String> {
    let sources = sources().into_iter();
    let places = sources.filter_map(|source| {
        let tokens = source.tokens.windows(words.len());
        let mut found = tokens.filter(|window| {
            let window = window.iter().map(|token| &*token.text);
            window.eq(words.iter().copied())
        });
        found.next().map(|window| source.at(window[0].line))
    });
    places.collect()
}

#[test]
fn a_module_names_lower_floors_only() {
    let wrong: Vec<_> = sources().iter().flat_map(upward).collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn unsafe_code_stands_in_one_module() {
    let places = places(&["unsafe"]);
    assert!(
        !places.is_empty() && places.iter().all(|place| place.starts_with(UNSAFE)),
        "{places:?}"
    );
}

#[test]
fn one_file_reads_the_clocks() {
    let readers: [&[&str]; 5] = [
        &["Instant", "::", "now"],
        &["SystemTime", "::", "now"],
        &["OffsetDateTime", "::", "now_utc"],
        &["sys", "::", "since_boot"],
        &["sys", "::", "since_epoch"],
    ];
    let places: Vec<_> = readers.iter().flat_map(|words| places(words)).collect();
    assert!(!places.is_empty());
    assert!(
        places.iter().all(|place| place.starts_with(CLOCK)),
        "{places:?}"
    );
}

#[test]
fn a_name_counts_however_it_is_written() {
    let text = r##"//! crate::run
        use crate::{wire::link, engine::{self, Engine}, table};
        /* crate::run /* nested */ crate::io */ use super::super::io::{clock, log};
        const TEXT: &str = "crate::run \" crate::run"; const RAW: &str = r#"" crate::run"#;
        fn f<'a>(x: &'a str) -> char { '"' } // crate::run
        pub(crate) fn g() { let _ = ('\'', crate::export::shown()); self::h(); }
        mod tests { use super::super::State; use super::super::super::config; mod deep {} }
        mod outside { use super::super::super::{summary, time::Wall}; }
        "##;
    let source = Source::new(Path::new("src/flow/deep.rs"), text);
    let named: Vec<_> = source
        .named()
        .into_iter()
        .map(|(line, name)| format!("{line} {name}"))
        .collect();
    assert_eq!(
        named,
        [
            "2 wire",
            "2 engine",
            "2 table",
            "3 io",
            "6 export",
            "7 config",
            "8 summary",
            "8 time"
        ]
    );
    let wrong = upward(&source);
    assert_eq!(
        wrong.first().map(String::as_str),
        Some("src/flow/deep.rs:2: flow (floor 2) names engine (floor 6)")
    );
    assert_eq!(wrong.len(), 6, "{wrong:?}");
}
