//! The `wireloop` binary.

fn main() {}
