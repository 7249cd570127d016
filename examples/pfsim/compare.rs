pub(crate) fn run(_words: &[&str]) -> crate::Outcome {
    Ok(())
}
