//! The date for HTTP responses (RFC 9110 section 6.6.1).

use std::{
    fmt::Write,
    time::{SystemTime, UNIX_EPOCH},
};

use httpdate::HttpDate;

/// A date, formatted once a second.
#[derive(Debug, Default)]
pub(crate) struct Date {
    second: u64,
    text: String,
}

impl Date {
    /// The date as text.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn set(&mut self, time: SystemTime) {
        let second = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        if second != self.second {
            self.second = second;
            self.text.clear();
            // Writing to a string does not fail.
            let _ = write!(self.text, "{}", HttpDate::from(time));
        }
    }
}
