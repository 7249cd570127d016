//! pflow
fn main() {}
