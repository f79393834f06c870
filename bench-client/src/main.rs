//! The `wireloop-bench` binary.

fn main() {}
