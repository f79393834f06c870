//! Finds the end of a request head that arrives in pieces, and refuses what cannot become one
//! as early as possible. It looks at every byte once, however small the pieces are
//! (CVE-2023-43669 is the quadratic alternative).

use super::{error::RequestError, syntax::is_token_byte};

/// RFC 9112 2.2: a server should ignore at least one empty line before the request line. Two
/// cover the CRLF that old clients send after a body; more are not an HTTP client's.
const BLANK_LINES_MAX: u8 = 2;

/// What a request line has beside its target: method, two spaces, version. The longest method
/// served needs 17 bytes; the rest is room for an unknown method to be told that it is unknown.
const LINE_OVERHEAD: usize = 64;

/// The bounds of a request head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most bytes from the first to the empty line; beyond it, 431.
    pub head_bytes: usize,
    /// The most header lines, at most [`MAX_HEADERS`](super::MAX_HEADERS); beyond it, 431.
    pub headers: usize,
    /// The longest request target; beyond it, 414. RFC 9112 3 recommends at least 8000.
    pub target_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { head_bytes: 16_384, headers: 100, target_bytes: 8_000 }
    }
}

/// Remembers how far the head of one request has been searched.
///
/// Call [`scan`](Self::scan) with everything received so far, each time more has arrived.
#[derive(Clone, Copy, Debug, Default)]
pub struct HeadScanner {
    /// Bytes known to hold no line end that has not been counted; `line_start <= scanned`.
    scanned: usize,
    /// Where the line that is not complete yet starts.
    line_start: usize,
    /// Where the header lines start; 0 until the request line is complete.
    fields_start: usize,
    /// Empty lines skipped before the request line.
    blank_lines: u8,
}

/// The bytes of one complete head: a request line and header lines, each ended by CRLF, and the
/// empty line. Nothing is known yet about what the lines say.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    bytes: &'a [u8],
    fields_start: usize,
}

impl HeadScanner {
    /// Looks for the end of the head in `input`, which must start with the bytes of earlier
    /// calls. `None` asks for more input; an error is final.
    pub fn scan<'a>(
        &mut self,
        input: &'a [u8],
        limits: &Limits,
    ) -> Result<Option<Head<'a>>, RequestError> {
        let window = &input[..input.len().min(limits.head_bytes)];
        while let Some(line_feed) = self.next_line_feed(window) {
            self.scanned = line_feed + 1;
            if self.end_line(window, line_feed, limits)? {
                let bytes = &window[..=line_feed];
                return Ok(Some(Head { bytes, fields_start: self.fields_start }));
            }
        }
        self.scanned = window.len();
        self.check_line(window.get(self.line_start..).unwrap_or_default(), limits)?;
        if window.len() < limits.head_bytes { Ok(None) } else { Err(RequestError::HeadTooLarge) }
    }

    /// [`scan`](Self::scan) for a caller that only wants the length of the head.
    pub fn complete(
        &mut self,
        input: &[u8],
        limits: &Limits,
    ) -> Result<Option<usize>, RequestError> {
        self.scan(input, limits).map(|head| head.map(|head| head.len()))
    }

    fn next_line_feed(&self, window: &[u8]) -> Option<usize> {
        let rest = window.get(self.scanned..)?;
        rest.iter().position(|&byte| byte == b'\n').map(|offset| self.scanned + offset)
    }

    /// Takes note of the line that ends at `line_feed`; true if it ends the head.
    fn end_line(
        &mut self,
        window: &[u8],
        line_feed: usize,
        limits: &Limits,
    ) -> Result<bool, RequestError> {
        let line = window.get(self.line_start..line_feed).unwrap_or_default();
        // Before the line end is judged, so that the answer is that to an incomplete line.
        self.check_line(line, limits)?;
        let line = line.strip_suffix(b"\r").ok_or(RequestError::BareLineFeed)?;
        self.line_start = line_feed + 1;
        if self.fields_start > 0 {
            return Ok(line.is_empty());
        }
        if !line.is_empty() {
            self.fields_start = self.line_start;
            return Ok(false);
        }
        self.blank_lines += 1;
        if self.blank_lines > BLANK_LINES_MAX { Err(RequestError::RequestLine) } else { Ok(false) }
    }

    /// Refuses a request line, be it complete or not, that cannot become a good one: a TLS
    /// hello, say, has no line end for which it would be worth waiting.
    fn check_line(&self, line: &[u8], limits: &Limits) -> Result<(), RequestError> {
        if self.fields_start > 0 || matches!(line, [] | [b'\r']) {
            return Ok(());
        }
        if !line.first().copied().is_some_and(is_token_byte) {
            return Err(RequestError::RequestLine);
        }
        if line.len() > limits.target_bytes.saturating_add(LINE_OVERHEAD) {
            return Err(RequestError::TargetTooLong);
        }
        Ok(())
    }
}

/// Whether this is the start of a HEAD request, valid or not: its response has no body, whatever
/// is wrong with it (RFC 9110 9.3.2).
#[must_use]
pub fn is_head_request(mut input: &[u8]) -> bool {
    while let Some(rest) = input.strip_prefix(b"\r\n") {
        input = rest;
    }
    input.starts_with(b"HEAD ")
}

impl<'a> Head<'a> {
    /// The bytes the head takes in the input, with the empty lines before and after it.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a complete head is never empty")]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The request line, without its CRLF.
    pub(super) fn request_line(&self) -> &'a [u8] {
        let mut line = self.bytes.get(..self.fields_start).unwrap_or_default();
        while let Some(rest) = line.strip_prefix(b"\r\n") {
            line = rest;
        }
        line.strip_suffix(b"\r\n").unwrap_or(line)
    }

    /// The header lines and the empty line.
    pub(super) fn fields(&self) -> &'a [u8] {
        self.bytes.get(self.fields_start..).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
