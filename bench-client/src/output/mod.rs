//! How results are shown: the summary for people, and files for programs.

pub(crate) mod progress;
pub(crate) mod text;
