//! Floor 0: words of command lines and configuration lines: whole, or cut short.

/// How words have to be written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Spelling {
    /// Whole.
    Whole,
    /// So far that only one word can be meant.
    Abbreviated,
}

/// The one of `names` that `word` stands for.
///
/// # Errors
/// None or several, with what was expected.
pub(crate) fn lookup<'a>(
    names: impl Iterator<Item = &'a str> + Clone,
    word: &str,
    spelling: Spelling,
) -> Result<&'a str, String> {
    if let Some(name) = names.clone().find(|name| *name == word) {
        return Ok(name);
    }
    if spelling == Spelling::Abbreviated && !word.is_empty() {
        let matches: Vec<_> = names
            .clone()
            .filter(|name| name.starts_with(word))
            .collect();
        match &*matches {
            [] => {}
            [name] => return Ok(name),
            several => return Err(format!("ambiguous, one of: {}", several.join(" "))),
        }
    }
    Err(format!(
        "unknown word, expected one of: {}",
        names.collect::<Vec<_>>().join(" ")
    ))
}
