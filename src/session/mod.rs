//! The public face: what an application is written with.

pub mod static_files;
