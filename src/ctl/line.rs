//! Words of the shell as a line for the control socket.

/// Words as a line of which each is one word.
pub(super) fn joined(words: &[impl AsRef<str>]) -> Result<String, String> {
    let mut line = String::new();
    for word in words.iter().map(AsRef::as_ref) {
        if word.contains(['"', '\n', '\r']) {
            return Err(format!("{word:?} cannot be part of a line"));
        }
        let is_plain = !word.is_empty()
            && !word.contains(|c: char| c.is_whitespace() || matches!(c, '#' | '$'));
        if !line.is_empty() {
            line.push(' ');
        }
        if is_plain {
            line += word;
        } else {
            line += &format!("\"{word}\"");
        }
    }
    Ok(line)
}
